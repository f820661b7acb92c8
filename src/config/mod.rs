//! From text to component configurations, with all problems at once.
//!
//! `config.toml`, the files of `conf.d` beside it and environment variables are laid over one another ([`load`]) and
//! read key by key into [`Settings`]. Nothing here opens a file or reads the environment: both come in by [`Sources`],
//! so the same texts always give the same settings. Settings exist only if there is no problem at all.

mod bootstrap_keys;
mod environment;
mod in_force;
mod json;
mod models;
mod problem;
mod read;
mod read_bootstrap;
mod read_http;
mod read_sink;
mod schema;
mod secret;
mod section;
mod security;
mod settings;
mod tree;
mod url;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use environment::PREFIX as OVERRIDE_PREFIX;
pub use in_force::HIDDEN;
pub use models::{MAX_MODEL_FILES, read_models};
pub use problem::Problem;
pub use schema::json_schema;
pub use secret::{KeySource, PemFile, Secret};
pub use security::SecuritySettings;
pub use settings::{
    BootstrapSettings, BrokerSettings, GatewaySettings, HttpSettings, HttpToken, Listener, LogFormat, LogSettings,
    Lwm2mSettings, MqttVersion, Settings, SinkSettings, StoreSettings, Warning,
};
pub use url::{BrokerUrl, Transport};

use crate::mapping::{DEFAULT_MAPPING, MappingFile};
use section::Reader;
use tree::{Origin, Placed, Table};

/// Environment variable that names the configuration file.
pub const FILE_VARIABLE: &str = "LWM2MQTT_CONFIG";

/// Where a configuration file is looked for when nobody names one.
pub const USUAL_FILES: [&str; 2] = ["/etc/lwm2mqtt/config.toml", "config.toml"];

/// Why a file or folder could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// It is not there.
    NotFound,
    /// Anything else, in words.
    Other(String),
}

/// The world outside, as far as a configuration needs it.
pub struct Sources<'a> {
    /// Reads a UTF-8 file.
    pub read_text: &'a dyn Fn(&Path) -> Result<String, ReadError>,
    /// Lists the files of a folder.
    pub list_folder: &'a dyn Fn(&Path) -> Result<Vec<PathBuf>, ReadError>,
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// Name of this machine.
    pub host_name: String,
}

/// The outcome of [`load`].
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The settings, if nothing is wrong.
    pub settings: Option<Settings>,
    /// Everything that is wrong, by file and line.
    pub problems: Vec<Problem>,
    /// The main file; `None`: there is none and everything has its default.
    pub file: Option<PathBuf>,
}

/// Finds, reads and checks the configuration.
///
/// The main file is `named`, else the one in `$LWM2MQTT_CONFIG`, else the first of [`USUAL_FILES`] that exists.
pub fn load(named: Option<&Path>, sources: &Sources<'_>) -> Loaded {
    let from_variable = sources.variables.get(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let wanted = named.map(Path::to_path_buf).or(from_variable);
    let must_exist = wanted.is_some();
    let candidates = wanted.map_or_else(|| USUAL_FILES.iter().map(PathBuf::from).collect(), |path| vec![path]);
    for path in candidates {
        match (sources.read_text)(&path) {
            Ok(text) => return load_with(path, &text, sources),
            Err(ReadError::NotFound) if !must_exist => {}
            Err(error) => {
                let (message, hint) = match error {
                    ReadError::NotFound => ("there is no such file".to_owned(), "see --config and $LWM2MQTT_CONFIG"),
                    ReadError::Other(reason) => (format!("cannot be read: {reason}"), ""),
                };
                let file = path.display().to_string();
                let problem = Problem { file, line: None, message, hint: hint.to_owned() };
                return Loaded { settings: None, problems: vec![problem], file: Some(path) };
            }
        }
    }
    let (settings, problems) = read(Table::new(), Vec::new(), PathBuf::new(), "built-in defaults", 0, sources);
    Loaded { settings, problems, file: None }
}

fn load_with(path: PathBuf, text: &str, sources: &Sources<'_>) -> Loaded {
    let name = path.display().to_string();
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let (mut table, mut problems) = tree::parse_toml(0, &name, text);
    let mut order = 0;
    for further in further_files(&folder, sources, &mut problems) {
        order += 1;
        let file = further.display().to_string();
        match (sources.read_text)(&further) {
            Ok(text) => {
                let (later, more) = tree::parse_toml(order, &file, &text);
                tree::merge(&mut table, later);
                problems.extend(more);
            }
            Err(error) => problems.push(unreadable(order, &file, &error)),
        }
    }
    let (settings, problems) = read(table, problems, folder, &name, order, sources);
    Loaded { settings, problems, file: Some(path) }
}

/// The files of `conf.d`, in name order.
fn further_files(folder: &Path, sources: &Sources<'_>, problems: &mut Vec<Placed>) -> Vec<PathBuf> {
    let folder = folder.join("conf.d");
    match (sources.list_folder)(&folder) {
        Ok(files) => toml_files(files),
        Err(ReadError::NotFound) => Vec::new(),
        Err(error) => {
            problems.push(unreadable(0, &folder.display().to_string(), &error));
            Vec::new()
        }
    }
}

fn toml_files(files: Vec<PathBuf>) -> Vec<PathBuf> {
    let visible = |path: &PathBuf| {
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        !hidden && path.extension().is_some_and(|extension| extension == "toml")
    };
    let mut files: Vec<PathBuf> = files.into_iter().filter(visible).collect();
    files.sort();
    files
}

fn unreadable(order: usize, file: &str, error: &ReadError) -> Placed {
    let origin = Origin { order, file: file.into(), line: None };
    let reason = match error {
        ReadError::NotFound => "it is not there",
        ReadError::Other(reason) => reason,
    };
    tree::placed(&origin, format!("cannot be read: {reason}"), "")
}

/// Lays the environment over a table and reads it.
fn read(
    mut table: Table,
    mut problems: Vec<Placed>,
    folder: PathBuf,
    name: &str,
    last_order: usize,
    sources: &Sources<'_>,
) -> (Option<Settings>, Vec<Problem>) {
    environment::override_with(&mut table, &sources.variables, last_order + 1, &mut problems);
    let broken: Vec<Origin> = problems.iter().map(|(origin, _)| origin.clone()).collect();
    let mut reader = Reader {
        sources,
        folder,
        problems: Vec::new(),
        described: Vec::new(),
        describing: false,
        in_force: serde_json::Value::Null,
    };
    let origin = Origin { order: 0, file: name.into(), line: None };
    let mut settings = reader.root(&table, origin, read::read_settings);
    settings.in_force = std::mem::take(&mut reader.in_force);
    if settings.bootstrap.is_none() {
        settings.in_force["bootstrap"] = "off".into();
    }
    settings.in_force["gateway"]["name"] = settings.gateway.name.clone().into();
    // What was misread on a broken line is no second mistake.
    problems.extend(reader.problems.into_iter().filter(|(origin, _)| !broken.contains(origin)));
    problems.sort_by(|left, right| left.0.cmp(&right.0));
    let problems: Vec<Problem> = problems.into_iter().map(|(_, problem)| problem).collect();
    (problems.is_empty().then_some(settings), problems)
}

/// Reads the mapping files of the settings, in name order.
///
/// A folder that is not there has no files; what cannot be read is a problem.
pub fn read_mappings(settings: &Settings, sources: &Sources<'_>) -> (Vec<MappingFile>, Vec<Problem>) {
    let folder = &settings.gateway.mappings;
    let paths = match (sources.list_folder)(folder) {
        Ok(paths) => toml_files(paths),
        Err(ReadError::NotFound) => Vec::new(),
        Err(error) => return (Vec::new(), vec![unreadable(0, &folder.display().to_string(), &error).1]),
    };
    let mut files = Vec::with_capacity(paths.len());
    let mut problems = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        match (sources.read_text)(&path) {
            // A copy of the built-in mapping, as it stands in a checkout, says nothing that is not known.
            Ok(text) if text == DEFAULT_MAPPING => {}
            Ok(text) => files.push(MappingFile { name, text }),
            Err(error) => problems.push(unreadable(0, &name, &error).1),
        }
    }
    (files, problems)
}

#[cfg(test)]
mod tests;
