//! Overrides by environment variables: `LWM2MQTT__SINK__LOCAL__URL=mqtt://broker` sets `sink.local.url`.
//!
//! Names are compared without case and with `-` and `_` alike, since variables cannot tell them apart: a name that the
//! files already use is taken as they write it, a new one in small letters.

use std::collections::BTreeMap;

use super::tree::{Node, NodeValue, Origin, Placed, Table, merge, parse_value, placed};

/// What the names of overrides start with.
pub const PREFIX: &str = "LWM2MQTT__";

/// Most parts of a name; no key is so deep.
const MAX_PARTS: usize = 8;

/// Lays the overrides among `variables` over a table.
pub(super) fn override_with(
    table: &mut Table,
    variables: &BTreeMap<String, String>,
    order: usize,
    problems: &mut Vec<Placed>,
) {
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let origin = Origin { order, file: format!("environment variable {name}").into(), line: None };
        let parts: Vec<&str> = rest.split("__").collect();
        if parts.len() > MAX_PARTS || parts.iter().any(|part| part.is_empty()) {
            let hint = "write it like LWM2MQTT__SINK__LOCAL__URL, with two underscores between the parts";
            problems.push(placed(&origin, "names no key", hint));
            continue;
        }
        let names = names_as_written(table, &parts);
        let mut node = parse_value(&origin, text);
        for name in names.into_iter().rev() {
            node = Node { origin: origin.clone(), value: NodeValue::Table(Table::from([(name, node)])) };
        }
        if let NodeValue::Table(later) = node.value {
            merge(table, later);
        }
    }
}

fn names_as_written(table: &Table, parts: &[&str]) -> Vec<String> {
    let mut level = Some(table);
    let mut names = Vec::with_capacity(parts.len());
    for part in parts {
        let wanted = part.to_lowercase();
        let found = level.and_then(|table| {
            table.iter().find(|(key, _)| key.to_lowercase().replace('-', "_") == wanted.replace('-', "_"))
        });
        level = found.and_then(|(_, node)| match &node.value {
            NodeValue::Table(table) => Some(table),
            _ => None,
        });
        names.push(found.map_or(wanted, |(key, _)| key.clone()));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::tree::parse_toml;
    use super::*;

    fn overridden(text: &str, variables: &[(&str, &str)]) -> (Table, Vec<Placed>) {
        let (mut table, mut problems) = parse_toml(0, "a.toml", text);
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        override_with(&mut table, &variables, 1, &mut problems);
        (table, problems)
    }

    #[test]
    fn variables_reach_keys_that_files_spell_with_capitals_and_dashes() {
        let (table, problems) = overridden(
            "[sink.North-Site]\nurl = \"x\"\n",
            &[("LWM2MQTT__SINK__NORTH_SITE__URL", "mqtt://b"), ("LWM2MQTT__STORE__COMMIT_ROWS", "7"), ("HOME", "/")],
        );
        assert!(problems.is_empty());
        let NodeValue::Table(sinks) = &table["sink"].value else { panic!("no sinks") };
        let NodeValue::Table(sink) = &sinks["North-Site"].value else { panic!("no sink") };
        assert!(matches!(&sink["url"].value, NodeValue::String(url) if url == "mqtt://b"));
        assert_eq!(&*sink["url"].origin.file, "environment variable LWM2MQTT__SINK__NORTH_SITE__URL");
        let NodeValue::Table(store) = &table["store"].value else { panic!("no store") };
        assert!(matches!(store["commit_rows"].value, NodeValue::Integer(7)));
        assert!(!table.contains_key("home"));
    }

    #[test]
    fn a_variable_without_key_is_told() {
        let (_, problems) = overridden("", &[("LWM2MQTT__", "1"), ("LWM2MQTT__A____B", "1")]);
        assert_eq!(problems.len(), 2);
        assert!(problems[0].1.file.ends_with("LWM2MQTT__"));
    }
}
