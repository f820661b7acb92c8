//! Tables as the JSON that the interfaces take: values from files and variables filled in, and each field's place.
//!
//! Fields are named as in problems of [`bootstrap_json`](crate::northbound::bootstrap_json): `servers[0].psk_key`,
//! `writes./21/0/1`.

use serde_json::{Map, Value as Json};

use super::section::{Reader, read_secret};
use super::tree::{Node, NodeValue, Origin, Table};

/// Keys whose value may be `{ file = ".." }` or `{ env = ".." }`: secrets, keys and certificates.
const SOURCED: [&str; 9] = [
    "psk_key",
    "client_public_key",
    "client_certificate",
    "client_private_key",
    "server_public_key",
    "server_certificate",
    "sms_binding_key_parameters",
    "sms_binding_secret_key",
    "password",
];

/// Values by path, which may all come from elsewhere.
const WRITES: &str = "writes";

/// A field that has no JSON, and why.
pub(super) struct Unreadable<'a> {
    pub(super) field: String,
    pub(super) origin: &'a Origin,
    pub(super) message: String,
    pub(super) hint: String,
}

/// Turns tables into JSON.
pub(super) struct Converter<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// What could not be read; its JSON is null.
    pub(super) unreadable: Vec<Unreadable<'a>>,
}

impl<'r, 'a> Converter<'r, 'a> {
    pub(super) const fn new(reader: &'r mut Reader<'a>) -> Self {
        Self { reader, unreadable: Vec::new() }
    }

    // The parser of TOML bounds the depth of nesting, and with it this recursion.
    /// A table whose fields stand behind `prefix`.
    pub(super) fn table(&mut self, table: &'a Table, prefix: &str) -> Json {
        let fields = table.iter().map(|(key, node)| {
            let field = format!("{prefix}{key}");
            let sourced = SOURCED.contains(&key.as_str()) || is_below_writes(prefix);
            (key.clone(), self.value(node, field, sourced))
        });
        Json::Object(fields.collect::<Map<_, _>>())
    }

    fn value(&mut self, node: &'a Node, field: String, sourced: bool) -> Json {
        match &node.value {
            NodeValue::Table(table) if sourced && is_source(table) => match read_secret(self.reader, node) {
                Ok(secret) => secret.expose().into(),
                Err((message, hint)) => self.wrong(node, field, message, hint),
            },
            NodeValue::Table(table) => self.table(table, &format!("{field}.")),
            NodeValue::Array(items) => {
                let item = |(index, item)| self.value(item, format!("{field}[{index}]"), false);
                items.iter().enumerate().map(item).collect()
            }
            NodeValue::String(text) => text.as_str().into(),
            NodeValue::Integer(number) => (*number).into(),
            NodeValue::Boolean(boolean) => (*boolean).into(),
            NodeValue::Float(number) if number.is_finite() => (*number).into(),
            NodeValue::Float(_) => self.wrong(node, field, "is no finite number".to_owned(), String::new()),
            NodeValue::Datetime => {
                let hint = "write seconds since 1970, or a text".to_owned();
                self.wrong(node, field, "is a date or time".to_owned(), hint)
            }
        }
    }

    fn wrong(&mut self, node: &'a Node, field: String, message: String, hint: String) -> Json {
        self.unreadable.push(Unreadable { field, origin: &node.origin, message, hint });
        Json::Null
    }
}

fn is_below_writes(prefix: &str) -> bool {
    prefix.strip_prefix(WRITES).is_some_and(|rest| rest.starts_with('.'))
}

fn is_source(table: &Table) -> bool {
    table.contains_key("file") || table.contains_key("env")
}

/// Where a field stands, or the innermost table or list around it that is there.
pub(super) fn origin_of<'a>(table: &'a Table, field: &str, around: &'a Origin) -> &'a Origin {
    // A name may hold dots; the longest that fits is meant.
    let fits = |key: &str| {
        let rest = field.strip_prefix(key)?;
        (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
    };
    let found = table.iter().filter_map(|(key, node)| Some((key.len(), node, fits(key)?)));
    match found.max_by_key(|(length, ..)| *length) {
        Some((_, node, rest)) => origin_below(node, rest),
        None => around,
    }
}

fn origin_below<'a>(node: &'a Node, rest: &str) -> &'a Origin {
    match &node.value {
        NodeValue::Table(table) => match rest.strip_prefix('.') {
            Some(field) => origin_of(table, field, &node.origin),
            None => &node.origin,
        },
        NodeValue::Array(items) => {
            let index = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            let item = index.and_then(|(index, rest)| Some((items.get(index.parse::<usize>().ok()?)?, rest)));
            item.map_or(&node.origin, |(item, rest)| origin_below(item, rest))
        }
        _ => &node.origin,
    }
}

/// The first place at which something of a node was written: a later file that changes a part does not move it.
pub(super) fn first_origin(node: &Node) -> &Origin {
    let inside: Option<&Origin> = match &node.value {
        NodeValue::Table(table) => table.values().map(first_origin).min(),
        NodeValue::Array(items) => items.iter().map(first_origin).min(),
        _ => None,
    };
    inside.map_or(&node.origin, |inside| inside.min(&node.origin))
}
