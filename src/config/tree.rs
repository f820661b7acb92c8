//! Tables and values with the place where each was written, so that every message can name it.
//!
//! TOML files and environment variables become one [`Table`]; a later source replaces the values of an earlier one key
//! by key.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    /// Rank of the source, for the order of messages.
    pub(super) order: usize,
    /// The file as it was named, or `environment variable NAME`.
    pub(super) file: Arc<str>,
    /// Line, counted from 1.
    pub(super) line: Option<usize>,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: NodeValue,
}

/// Keys and values; the origin of a value in a table is the line of its key.
pub(super) type Table = BTreeMap<String, Node>;

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum NodeValue {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime,
    Array(Vec<Node>),
    Table(Table),
}

impl NodeValue {
    /// What it is, with its article.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime => "a date or time",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

/// A problem with its rank, to be sorted later.
pub(super) type Placed = (Origin, Problem);

/// Puts a problem at its place.
pub(super) fn placed(origin: &Origin, message: impl Into<String>, hint: impl Into<String>) -> Placed {
    let problem =
        Problem { file: origin.file.to_string(), line: origin.line, message: message.into(), hint: hint.into() };
    (origin.clone(), problem)
}

/// Turns positions of one text into origins.
struct Places {
    order: usize,
    file: Arc<str>,
    line_ends: Vec<usize>,
}

impl Places {
    fn at(&self, offset: usize) -> Origin {
        let line = self.line_ends.partition_point(|end| *end < offset) + 1;
        Origin { order: self.order, file: Arc::clone(&self.file), line: Some(line) }
    }
}

/// Most dots on one line. The parser bounds nested brackets, not dotted keys, and a key of thousands of parts would
/// exhaust the stack of whatever walks over it.
const MAX_DOTS_ON_A_LINE: usize = 128;

fn dots_of(line: &str) -> usize {
    line.bytes().filter(|byte| *byte == b'.').count()
}

/// Reads a TOML text; what can be read despite mistakes is in the table.
pub(super) fn parse_toml(order: usize, file: &str, text: &str) -> (Table, Vec<Placed>) {
    if let Some(index) = text.lines().position(|line| dots_of(line) > MAX_DOTS_ON_A_LINE) {
        let origin = Origin { order, file: file.into(), line: Some(index + 1) };
        let message = format!("more than {MAX_DOTS_ON_A_LINE} dots on one line");
        return (Table::new(), vec![placed(&origin, message, "break the line")]);
    }
    let line_ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
    let places = Places { order, file: file.into(), line_ends };
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Placed> = errors
        .iter()
        .map(|error| {
            let origin = places.at(error.span().map_or(text.len(), |span| span.start));
            placed(&origin, error.message(), "this is no valid TOML; see https://toml.io")
        })
        .collect();
    // One slip often makes the parser stumble several times over the same line.
    problems.sort_by(|left, right| left.0.cmp(&right.0));
    problems.dedup_by(|later, earlier| later.0 == earlier.0);
    let table = convert_table(table.get_ref(), &places, &mut problems);
    (table, problems)
}

/// Reads a TOML value such as an environment variable holds; a text that is no TOML value is a string.
pub(super) fn parse_value(origin: &Origin, text: &str) -> Node {
    let readable = Some(text).filter(|text| text.lines().all(|line| dots_of(line) <= MAX_DOTS_ON_A_LINE));
    let value = readable.and_then(|text| DeValue::parse(text).ok()).and_then(|value| {
        let places = Places { order: origin.order, file: Arc::clone(&origin.file), line_ends: Vec::new() };
        let mut problems = Vec::new();
        let mut node = convert(&value, &places, &mut problems);
        forget_lines(&mut node, origin);
        problems.is_empty().then_some(node.value)
    });
    Node { origin: origin.clone(), value: value.unwrap_or_else(|| NodeValue::String(text.to_owned())) }
}

fn forget_lines(node: &mut Node, origin: &Origin) {
    node.origin = origin.clone();
    match &mut node.value {
        NodeValue::Array(items) => items.iter_mut().for_each(|item| forget_lines(item, origin)),
        NodeValue::Table(table) => table.values_mut().for_each(|item| forget_lines(item, origin)),
        _ => {}
    }
}

// The parser bounds the depth of nesting, and with it this recursion.
fn convert_table(table: &DeTable<'_>, places: &Places, problems: &mut Vec<Placed>) -> Table {
    let convert_entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let key: &Spanned<std::borrow::Cow<'_, str>> = key;
        let mut node = convert(value, places, problems);
        node.origin = places.at(key.span().start);
        (key.get_ref().to_string(), node)
    };
    table.iter().map(convert_entry).collect()
}

fn convert(value: &Spanned<DeValue<'_>>, places: &Places, problems: &mut Vec<Placed>) -> Node {
    let origin = places.at(value.span().start);
    let converted = match value.get_ref() {
        DeValue::String(text) => NodeValue::String(text.to_string()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            NodeValue::Integer(parsed.unwrap_or_else(|_| {
                problems.push(placed(&origin, format!("the number {number} is out of range"), ""));
                0
            }))
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse();
            NodeValue::Float(parsed.unwrap_or_else(|_| {
                problems.push(placed(&origin, format!("the number {number} cannot be read"), ""));
                0.0
            }))
        }
        DeValue::Boolean(boolean) => NodeValue::Boolean(*boolean),
        DeValue::Datetime(_) => NodeValue::Datetime,
        DeValue::Array(items) => NodeValue::Array(items.iter().map(|item| convert(item, places, problems)).collect()),
        DeValue::Table(table) => NodeValue::Table(convert_table(table, places, problems)),
    };
    Node { origin, value: converted }
}

/// Lays `later` over `earlier`: tables are joined, everything else is replaced.
pub(super) fn merge(earlier: &mut Table, later: Table) {
    for (key, node) in later {
        match (earlier.get_mut(&key), node) {
            (
                Some(Node { value: NodeValue::Table(below), origin }),
                Node { value: NodeValue::Table(above), origin: later_origin },
            ) => {
                *origin = later_origin;
                merge(below, above);
            }
            (_, node) => {
                earlier.insert(key, node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_lines_and_later_files_win_key_by_key() {
        let (mut table, problems) =
            parse_toml(0, "a.toml", "version = 1\n[sink.local]\nurl = \"x\"\nqueue = { max_age = \"1d\" }\n");
        assert!(problems.is_empty());
        let (later, _) = parse_toml(1, "b.toml", "\n[sink.local]\nbase = \"y\"\nqueue.max_bytes = \"1MiB\"\n");
        merge(&mut table, later);
        let Some(Node { value: NodeValue::Table(sinks), .. }) = table.get("sink") else { panic!("no sink") };
        let Some(Node { value: NodeValue::Table(local), .. }) = sinks.get("local") else { panic!("no local") };
        assert_eq!(local["url"].origin.line, Some(3));
        assert_eq!((local["base"].origin.line, &*local["base"].origin.file), (Some(3), "b.toml"));
        let NodeValue::Table(queue) = &local["queue"].value else { panic!("no queue") };
        assert_eq!(queue.keys().collect::<Vec<_>>(), ["max_age", "max_bytes"]);
    }

    #[test]
    fn every_broken_line_is_told() {
        let (table, problems) = parse_toml(0, "a.toml", "a = \nb = 1\nc = ]\nd = 99999999999999999999\n");
        let lines: Vec<_> = problems.iter().map(|(origin, _)| origin.line.unwrap()).collect();
        assert_eq!(lines, [1, 3, 4], "{problems:?}");
        assert!(matches!(table["b"].value, NodeValue::Integer(1)));
    }

    #[test]
    fn text_that_is_no_toml_value_is_a_string() {
        let origin = Origin { order: 0, file: "v".into(), line: None };
        for (text, kind) in [
            ("5", "an integer"),
            ("true", "a boolean"),
            ("[\"a\"]", "an array"),
            ("mqtt://host:1883", "a string"),
            ("30s", "a string"),
            ("", "a string"),
        ] {
            assert_eq!(parse_value(&origin, text).value.kind(), kind, "{text}");
        }
    }
}
