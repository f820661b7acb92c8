//! Reading of tables key by key: each call names a key, its kind, default and meaning, and gets its value.
//!
//! The same calls serve three purposes: they read a configuration, they tell unknown keys from known ones, and, run
//! over an empty tree by [`super::schema`], they describe the file format. So no list of keys can fall behind another.
//! A wrong value is noted as a problem and its default returned; nobody uses settings with problems.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bootstrap_keys::BootstrapKind;
use super::in_force;
use super::problem::nearest;
use super::secret::{KeySource, PemFile, Secret};
use super::tree::{Node, NodeValue, Origin, Placed, Table, placed};
use super::{ReadError, Sources};
use crate::model::units::{format_duration, format_size, parse_duration, parse_size};

/// What kind of value a key takes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Text,
    Path,
    Boolean,
    Integer(RangeInclusive<i64>),
    Duration(RangeInclusive<Duration>),
    Size(RangeInclusive<u64>),
    Choice(Vec<&'static str>),
    Listener,
    Secret,
    /// A path, or a secret from elsewhere than the configuration itself.
    KeyFile,
    TextList,
    PathList,
    /// What only accounts and entries of the bootstrap server have.
    Bootstrap(BootstrapKind),
}

/// One key of the format.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KeyDescription {
    /// Its section, with `*` for a name of the user's choice: `sink.*`.
    pub(super) section: String,
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Option<serde_json::Value>,
    pub(super) meaning: &'static str,
}

/// What all sections share while a configuration is read.
pub(super) struct Reader<'a> {
    pub(super) sources: &'a Sources<'a>,
    /// Folder that relative paths count from.
    pub(super) folder: PathBuf,
    pub(super) problems: Vec<Placed>,
    pub(super) described: Vec<KeyDescription>,
    /// Whether the format is described, not a configuration read.
    pub(super) describing: bool,
    /// Every key with its value, without secrets.
    pub(super) in_force: serde_json::Value,
}

/// One table of the configuration.
pub(super) struct Section<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// Dotted name of the table; empty for the root.
    path: String,
    /// The same with `*` for names of the user's choice.
    pattern: String,
    /// `None`: the table is not there.
    table: Option<&'a Table>,
    /// Where the table stands.
    origin: Origin,
    known: Vec<&'static str>,
}

/// What is wrong with a value, and what to do.
pub(super) type Wrong = (String, String);

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl<'a> Reader<'a> {
    /// Reads a whole tree.
    pub(super) fn root<T>(
        &mut self,
        table: &'a Table,
        origin: Origin,
        read: impl FnOnce(&mut Section<'_, 'a>) -> T,
    ) -> T {
        let mut section = Section {
            reader: self,
            path: String::new(),
            pattern: String::new(),
            table: Some(table),
            origin,
            known: Vec::new(),
        };
        let settings = read(&mut section);
        section.refuse_unknown_keys();
        settings
    }

    fn absolute(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}

impl<'a> Section<'_, 'a> {
    /// Whether the file has this table.
    pub(super) const fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the table has this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// What all sections share.
    pub(super) const fn sources(&self) -> &'a Sources<'a> {
        self.reader.sources
    }

    /// Whether the format is described, not a configuration read.
    pub(super) const fn is_describing(&self) -> bool {
        self.reader.describing
    }

    /// Notes a problem of a key, or of the whole table for an empty one.
    pub(super) fn problem(&mut self, key: &str, message: impl AsRef<str>, hint: impl Into<String>) {
        let origin = self.table.and_then(|table| table.get(key)).map_or(&self.origin, |node| &node.origin);
        let name = if key.is_empty() { self.path.clone() } else { joined(&self.path, key) };
        let separator = if name.is_empty() { "" } else { ": " };
        self.reader.problems.push(placed(origin, format!("{name}{separator}{}", message.as_ref()), hint));
    }

    /// Refuses a key whose part is still to come, if it is there.
    pub(super) fn not_yet_served(&mut self, key: &str, what: &str) {
        if self.has(key) {
            self.problem(key, format!("{what} not yet served"), "leave this key out");
        }
    }

    /// Reads a table below this one.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_, 'a>) -> T) -> T {
        self.known.push(key);
        self.child(key, key, read)
    }

    /// The names in a table whose keys are of the user's choice.
    pub(super) fn names(&mut self, key: &'static str) -> Vec<String> {
        let names = self.keys_below(key);
        for name in &names {
            let fits =
                name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            if (!fits || name.is_empty()) && !self.reader.describing {
                let hint = "use up to 64 letters, digits, '-' and '_'";
                self.problem(key, format!("'{}' cannot be a name", name.escape_debug()), hint);
            }
        }
        names
    }

    /// The same, whatever the names are.
    pub(super) fn keys_below(&mut self, key: &'static str) -> Vec<String> {
        self.known.push(key);
        if self.reader.describing {
            return vec!["*".to_owned()];
        }
        match self.table.and_then(|table| table.get(key)).map(|node| &node.value) {
            Some(NodeValue::Table(table)) => table.keys().cloned().collect(),
            Some(other) => {
                let found = other.kind();
                self.problem(
                    key,
                    format!("is {found}, not a table"),
                    format!("write [{}.NAME]", joined(&self.path, key)),
                );
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Reads the table `key.name`, whose name [`Self::names`] gave; an absent one reads as empty.
    pub(super) fn named<T>(
        &mut self,
        key: &'static str,
        name: &str,
        read: impl FnOnce(&mut Section<'_, 'a>) -> T,
    ) -> T {
        let middle = self.table.and_then(|table| table.get(key));
        let table = middle.and_then(|node| match &node.value {
            NodeValue::Table(table) => Some(table),
            _ => None,
        });
        let mut section = Section {
            reader: self.reader,
            path: joined(&self.path, key),
            pattern: joined(&self.pattern, key),
            table,
            origin: middle.map_or_else(|| self.origin.clone(), |node| node.origin.clone()),
            known: Vec::new(),
        };
        section.child(name, "*", read)
    }

    fn child<T>(&mut self, key: &str, pattern: &str, read: impl FnOnce(&mut Section<'_, 'a>) -> T) -> T {
        let node = self.table.and_then(|table| table.get(key));
        let table = match node.map(|node| &node.value) {
            Some(NodeValue::Table(table)) => Some(table),
            Some(other) => {
                let found = other.kind();
                self.problem(key, format!("is {found}, not a table"), format!("write [{}]", joined(&self.path, key)));
                None
            }
            None => None,
        };
        let mut section = Section {
            reader: self.reader,
            path: joined(&self.path, &key.escape_debug().to_string()),
            pattern: joined(&self.pattern, pattern),
            table,
            origin: node.map_or_else(|| self.origin.clone(), |node| node.origin.clone()),
            known: Vec::new(),
        };
        let value = read(&mut section);
        section.refuse_unknown_keys();
        value
    }

    fn refuse_unknown_keys(&mut self) {
        let Some(table) = self.table else { return };
        for key in table.keys() {
            if self.known.contains(&key.as_str()) {
                continue;
            }
            let elsewhere = super::schema::sections_with(key);
            let hint = match nearest(key, self.known.iter().copied()) {
                Some(known) => format!("did you mean '{known}'?"),
                None if !elsewhere.is_empty() => format!("it belongs to {elsewhere}"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.problem(key, "unknown key", hint);
        }
    }

    /// The one place where values are taken: describes the key, then reads it if it is there.
    fn take<T>(
        &mut self,
        key: &'static str,
        kind: Kind,
        default: Option<serde_json::Value>,
        meaning: &'static str,
        read: impl FnOnce(&mut Reader<'a>, &'a Node) -> Result<T, Wrong>,
    ) -> Option<T> {
        self.known.push(key);
        let node = self.table.and_then(|table| table.get(key));
        if self.reader.describing {
            self.reader.described.push(KeyDescription { section: self.pattern.clone(), key, kind, default, meaning });
        } else {
            let shown = match node {
                Some(node) => in_force::shown(&kind, key, node, &self.reader.folder),
                None => in_force::shown_default(&kind, default, &self.reader.folder),
            };
            in_force::put(&mut self.reader.in_force, &self.path, key, shown);
        }
        let node = node?;
        match read(self.reader, node) {
            Ok(value) => Some(value),
            Err((message, hint)) => {
                self.problem(key, message, hint);
                None
            }
        }
    }

    /// The table, and what all sections share, for tables that are read as a whole.
    pub(super) const fn whole(&mut self) -> (Option<&'a Table>, &mut Reader<'a>) {
        (self.table, self.reader)
    }

    /// Where the table stands.
    pub(super) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Describes a key of a table that is read as a whole.
    pub(super) fn describe(
        &mut self,
        key: &'static str,
        kind: Kind,
        default: Option<serde_json::Value>,
        meaning: &'static str,
    ) {
        self.known.push(key);
        if self.reader.describing {
            self.reader.described.push(KeyDescription { section: self.pattern.clone(), key, kind, default, meaning });
        }
    }

    /// Notes a problem of a field somewhere in a table that is read as a whole.
    pub(super) fn problem_at(&mut self, origin: &Origin, field: &str, message: &str, hint: &str) {
        let name = if field.is_empty() { self.path.clone() } else { joined(&self.path, field) };
        self.reader.problems.push(placed(origin, format!("{name}: {message}"), hint));
    }

    /// Says what is in force of the table `key.name`.
    pub(super) fn show(&mut self, key: &str, name: &str, value: serde_json::Value) {
        in_force::put(&mut self.reader.in_force, &joined(&self.path, key), name, value);
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static str, default: &str, meaning: &'static str) -> String {
        let read = |_: &mut Reader<'a>, node: &'a Node| text_of(node).map(str::to_owned);
        self.take(key, Kind::Text, Some(default.into()), meaning, read).unwrap_or_else(|| default.to_owned())
    }

    /// A text without default.
    pub(super) fn optional_text(&mut self, key: &'static str, meaning: &'static str) -> Option<String> {
        self.take(key, Kind::Text, None, meaning, |_, node| text_of(node).map(str::to_owned))
    }

    /// A list of texts, empty by default; one text alone is a list of one.
    pub(super) fn texts(&mut self, key: &'static str, meaning: &'static str) -> Vec<String> {
        let default = serde_json::Value::Array(Vec::new());
        self.take(key, Kind::TextList, Some(default), meaning, |_, node| texts_of(node)).unwrap_or_default()
    }

    /// A truth value.
    pub(super) fn boolean(&mut self, key: &'static str, default: bool, meaning: &'static str) -> bool {
        let read = |_: &mut Reader<'a>, node: &'a Node| match node.value {
            NodeValue::Boolean(boolean) => Ok(boolean),
            ref other => Err(mismatch("true or false", other, "write true or false without quotes")),
        };
        self.take(key, Kind::Boolean, Some(default.into()), meaning, read).unwrap_or(default)
    }

    /// A whole number within bounds.
    pub(super) fn integer(
        &mut self,
        key: &'static str,
        default: u32,
        bounds: RangeInclusive<u32>,
        meaning: &'static str,
    ) -> u32 {
        let wide = i64::from(*bounds.start())..=i64::from(*bounds.end());
        let kind = Kind::Integer(wide.clone());
        let read = |_: &mut Reader<'a>, node: &'a Node| match node.value {
            NodeValue::Integer(number) => u32::try_from(number)
                .ok()
                .filter(|number| bounds.contains(number))
                .ok_or_else(|| (format!("{number} is not between {} and {}", wide.start(), wide.end()), String::new())),
            ref other => Err(mismatch("a whole number", other, "write digits without quotes")),
        };
        self.take(key, kind, Some(default.into()), meaning, read).unwrap_or(default)
    }

    /// A duration within bounds.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        bounds: RangeInclusive<Duration>,
        meaning: &'static str,
    ) -> Duration {
        let kind = Kind::Duration(bounds.clone());
        let read = |_: &mut Reader<'a>, node: &'a Node| {
            let NodeValue::String(text) = &node.value else {
                return Err(mismatch("a duration", &node.value, "write a text such as \"30s\", \"100ms\" or \"12h\""));
            };
            let duration = parse_duration(text).map_err(|error| (error.to_string(), String::new()))?;
            if bounds.contains(&duration) {
                return Ok(duration);
            }
            let (least, most) = (format_duration(*bounds.start()), format_duration(*bounds.end()));
            Err((format!("\"{text}\" is not between {least} and {most}"), String::new()))
        };
        let written = format_duration(default).into();
        self.take(key, kind, Some(written), meaning, read).unwrap_or(default)
    }

    /// A size in bytes within bounds.
    pub(super) fn size(
        &mut self,
        key: &'static str,
        default: u64,
        bounds: RangeInclusive<u64>,
        meaning: &'static str,
    ) -> u64 {
        let kind = Kind::Size(bounds.clone());
        let read = |_: &mut Reader<'a>, node: &'a Node| {
            let NodeValue::String(text) = &node.value else {
                return Err(mismatch("a size", &node.value, "write a text such as \"64MiB\""));
            };
            let size = parse_size(text).map_err(|error| (error.to_string(), String::new()))?;
            if bounds.contains(&size) {
                return Ok(size);
            }
            let (least, most) = (format_size(*bounds.start()), format_size(*bounds.end()));
            Err((format!("\"{text}\" is not between {least} and {most}"), String::new()))
        };
        let written = format_size(default).into();
        self.take(key, kind, Some(written), meaning, read).unwrap_or(default)
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        default: &'static str,
        words: &[(&'static str, T)],
        meaning: &'static str,
    ) -> Option<T> {
        let names: Vec<&'static str> = words.iter().map(|(name, _)| *name).collect();
        let kind = Kind::Choice(names.clone());
        let read = |_: &mut Reader<'a>, node: &'a Node| {
            let text = text_of(node)?;
            words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
                let near = nearest(text, names.iter().copied()).map(|near| format!("did you mean \"{near}\"? "));
                let hint = format!("{}possible: {}", near.unwrap_or_default(), names.join(", "));
                (format!("\"{}\" is none of its values", text.escape_debug()), hint)
            })
        };
        let chosen = self.take(key, kind, Some(default.into()), meaning, read);
        chosen.or_else(|| words.iter().find(|(name, _)| *name == default).map(|(_, value)| *value))
    }

    /// Listening addresses: one, a list, or `"off"`.
    pub(super) fn listeners(&mut self, key: &'static str, default: &str, meaning: &'static str) -> Vec<SocketAddr> {
        let read = |_: &mut Reader<'a>, node: &'a Node| addresses_of(node);
        let taken = self.take(key, Kind::Listener, Some(default.into()), meaning, read);
        taken.unwrap_or_else(|| default.parse().into_iter().collect())
    }

    /// A path, relative ones from the folder of the configuration.
    pub(super) fn path(&mut self, key: &'static str, default: &str, meaning: &'static str) -> PathBuf {
        let read = |reader: &mut Reader<'a>, node: &'a Node| text_of(node).map(|text| reader.absolute(text));
        let taken = self.take(key, Kind::Path, Some(default.into()), meaning, read);
        taken.unwrap_or_else(|| self.reader.absolute(default))
    }

    /// A PEM file; it is read at once, so that a missing one is found by `check`.
    pub(super) fn pem_file(&mut self, key: &'static str, meaning: &'static str) -> Option<PemFile> {
        let read = |reader: &mut Reader<'a>, node: &'a Node| read_pem(reader, text_of(node)?);
        self.take(key, Kind::Path, None, meaning, read)
    }

    /// A private key in PEM: the path of a file, `{ file = ".." }` or `{ env = ".." }`.
    pub(super) fn key_source(&mut self, key: &'static str, meaning: &'static str) -> Option<KeySource> {
        self.take(key, Kind::KeyFile, None, meaning, read_key)
    }

    /// PEM files and folders of them: the paths, and the files that they stand for now.
    pub(super) fn pem_files(&mut self, key: &'static str, meaning: &'static str) -> (Vec<PathBuf>, Vec<PemFile>) {
        let read = |reader: &mut Reader<'a>, node: &'a Node| {
            let paths: Vec<PathBuf> = texts_of(node)?.iter().map(|text| reader.absolute(text)).collect();
            let files = read_pem_files(reader.sources, &paths)?;
            Ok((paths, files))
        };
        let default = serde_json::Value::Array(Vec::new());
        self.take(key, Kind::PathList, Some(default), meaning, read).unwrap_or_default()
    }

    /// A secret: a text, `{ file = ".." }` or `{ env = ".." }`.
    pub(super) fn secret(&mut self, key: &'static str, meaning: &'static str) -> Option<Secret> {
        self.take(key, Kind::Secret, None, meaning, read_secret)
    }
}

fn mismatch(expected: &str, found: &NodeValue, hint: &str) -> Wrong {
    (format!("is {}, not {expected}", found.kind()), hint.to_owned())
}

fn text_of(node: &Node) -> Result<&str, Wrong> {
    match &node.value {
        NodeValue::String(text) if text.is_empty() => {
            Err(("is empty".to_owned(), "leave the key out instead".to_owned()))
        }
        NodeValue::String(text) => Ok(text),
        other => Err(mismatch("a string", other, "put it in quotes")),
    }
}

fn texts_of(node: &Node) -> Result<Vec<String>, Wrong> {
    match &node.value {
        NodeValue::Array(items) => items.iter().map(|item| text_of(item).map(str::to_owned)).collect(),
        NodeValue::String(_) => text_of(node).map(|text| vec![text.to_owned()]),
        other => Err(mismatch("a list of strings", other, "write [\"..\"]")),
    }
}

fn addresses_of(node: &Node) -> Result<Vec<SocketAddr>, Wrong> {
    const HINT: &str =
        "write an IP address and a port, such as \"[::]:5683\" or \"127.0.0.1:8080\", a list of them, or \"off\"";
    let address = |text: &str| {
        text.parse::<SocketAddr>()
            .map_err(|_| (format!("\"{}\" is no address to listen on", text.escape_debug()), HINT.to_owned()))
    };
    match &node.value {
        NodeValue::String(text) if text == "off" => Ok(Vec::new()),
        NodeValue::String(text) => Ok(vec![address(text)?]),
        NodeValue::Array(items) => {
            let mut addresses = Vec::with_capacity(items.len());
            for item in items {
                let next = address(text_of(item)?)?;
                if addresses.contains(&next) && next.port() != 0 {
                    return Err((format!("{next} stands there twice"), String::new()));
                }
                addresses.push(next);
            }
            Ok(addresses)
        }
        other => Err(mismatch("an address", other, HINT)),
    }
}

fn read_file(sources: &Sources<'_>, path: &Path) -> Result<String, Wrong> {
    (sources.read_text)(path).map_err(|error| match error {
        ReadError::NotFound => (
            format!("there is no file {}", path.display()),
            "relative paths count from the folder of the configuration file".to_owned(),
        ),
        ReadError::Other(reason) => (format!("cannot read {}: {reason}", path.display()), String::new()),
    })
}

/// What every PEM text has.
pub(super) const PEM_MARK: &str = "-----BEGIN ";

/// Reads a PEM file.
pub(super) fn read_pem_file(sources: &Sources<'_>, path: &Path) -> Result<PemFile, Wrong> {
    let contents = read_file(sources, path)?;
    if !contents.contains(PEM_MARK) {
        return Err((format!("{} is no PEM file", path.display()), "it has no line -----BEGIN ..".to_owned()));
    }
    Ok(PemFile::new(path.to_path_buf(), contents))
}

/// Reads PEM files, and those with the endings of certificates in folders, in name order.
pub(super) fn read_pem_files(sources: &Sources<'_>, paths: &[PathBuf]) -> Result<Vec<PemFile>, Wrong> {
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        // What cannot be listed is a file, or is not there, which reading it will tell.
        let Ok(mut inside) = (sources.list_folder)(path) else {
            files.push(read_pem_file(sources, path)?);
            continue;
        };
        inside.retain(|file| {
            let hidden = file.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
            let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            !hidden && ["pem", "crt", "cer"].contains(&ending)
        });
        inside.sort();
        for file in inside {
            files.push(read_pem_file(sources, &file)?);
        }
    }
    Ok(files)
}

fn read_pem(reader: &Reader<'_>, text: &str) -> Result<PemFile, Wrong> {
    if text.contains(PEM_MARK) {
        // An error about a missing file would show the key.
        return Err(("is PEM itself, not the path of a file".to_owned(), "write it to a file, name that".to_owned()));
    }
    read_pem_file(reader.sources, &reader.absolute(text))
}

fn read_key<'a>(reader: &mut Reader<'a>, node: &'a Node) -> Result<KeySource, Wrong> {
    let NodeValue::Table(table) = &node.value else {
        return Ok(KeySource::File(read_pem(reader, text_of(node)?)?));
    };
    let secret = read_secret(reader, node)?;
    if !secret.expose().contains(PEM_MARK) {
        return Err(("is no PEM".to_owned(), "it has no line -----BEGIN ..".to_owned()));
    }
    let text = |source: &str| table.get(source).and_then(|node| text_of(node).ok());
    Ok(match text("file") {
        Some(path) => KeySource::File(PemFile::new(reader.absolute(path), secret.expose().to_owned())),
        None => KeySource::Variable { name: text("env").unwrap_or_default().to_owned(), text: secret },
    })
}

pub(super) fn read_secret<'a>(reader: &mut Reader<'a>, node: &'a Node) -> Result<Secret, Wrong> {
    const HINT: &str = "write a text, { file = \"/path\" } or { env = \"NAME\" }";
    let table = match &node.value {
        NodeValue::String(text) if text.is_empty() => return Err(("is empty".to_owned(), HINT.to_owned())),
        NodeValue::String(text) => return Ok(Secret::new(text)),
        // A number or date would be shown by the usual message with its kind only, never with its text.
        NodeValue::Table(table) => table,
        other => return Err(mismatch("a secret", other, HINT)),
    };
    let mut entries = table.iter();
    let (Some((source, node)), None) = (entries.next(), entries.next()) else {
        return Err(("names not exactly one source".to_owned(), HINT.to_owned()));
    };
    let text = text_of(node)?;
    let secret = match source.as_str() {
        "file" => {
            let path = reader.absolute(text);
            let contents = read_file(reader.sources, &path)?;
            let secret = contents.trim_end_matches(['\r', '\n']);
            if secret.is_empty() {
                return Err((format!("{} is empty", path.display()), String::new()));
            }
            secret.to_owned()
        }
        "env" => match reader.sources.variables.get(text) {
            Some(value) if !value.is_empty() => value.clone(),
            _ => return Err((format!("the environment variable {text} is not set"), String::new())),
        },
        other => return Err((format!("'{}' is no source of secrets", other.escape_debug()), HINT.to_owned())),
    };
    Ok(Secret::new(secret))
}
