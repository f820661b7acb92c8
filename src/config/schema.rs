//! The file format, described: JSON Schema for editors and `lwm2mqtt schema config`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::read::read_settings;
pub(super) use super::section::KeyDescription;
use super::section::{Kind, Reader};
use super::tree::{Origin, Table};
use super::{ReadError, Sources};

/// All keys, in the order of the contract.
pub(super) fn describe() -> Vec<KeyDescription> {
    let sources = Sources {
        read_text: &|_| Err(ReadError::NotFound),
        list_folder: &|_| Err(ReadError::NotFound),
        variables: BTreeMap::new(),
        host_name: "edge-1".to_owned(),
    };
    let nothing = Table::new();
    let mut reader = Reader {
        sources: &sources,
        folder: std::path::PathBuf::new(),
        problems: Vec::new(),
        described: Vec::new(),
        describing: true,
        in_force: Value::Null,
    };
    let origin = Origin { order: 0, file: "".into(), line: None };
    reader.root(&nothing, origin, read_settings);
    reader.described
}

/// The sections that know a key, in words; empty if none does.
pub(super) fn sections_with(key: &str) -> String {
    let mut sections: Vec<String> = describe()
        .iter()
        .filter(|description| description.key == key && !description.section.is_empty())
        .map(|description| format!("[{}]", description.section.replace('*', "NAME")))
        .collect();
    sections.dedup();
    sections.join(" or ")
}

/// JSON Schema (2020-12) of `config.toml`.
#[must_use]
pub fn json_schema() -> Value {
    let mut root = table_schema();
    for description in describe() {
        let mut table = &mut root;
        for part in description.section.split('.').filter(|part| !part.is_empty()) {
            if part == "*" {
                table = &mut table["additionalProperties"];
                if !table.is_object() {
                    *table = table_schema();
                }
            } else {
                table = &mut table["properties"][part];
                if table.is_null() {
                    *table = table_schema();
                }
            }
        }
        table["properties"][description.key] = key_schema(&description);
    }
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["title"] = "Configuration of lwm2mqtt".into();
    root
}

pub(super) fn table_schema() -> Value {
    json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

pub(super) fn key_schema(description: &KeyDescription) -> Value {
    const DURATION: &str = "^\\s*([0-9]+\\s*(d|h|m|s|ms)\\s*)+$";
    const SIZE: &str = "^\\s*[0-9]+\\s*([KMGT]iB|[kMGT]?B)\\s*$";
    let text = || json!({ "type": "string", "minLength": 1 });
    let list = || json!({ "oneOf": [text(), { "type": "array", "items": text() }] });
    let mut schema = match &description.kind {
        Kind::Text | Kind::Path | Kind::Listener if description.kind != Kind::Listener => text(),
        Kind::Text | Kind::Path | Kind::Listener | Kind::TextList | Kind::PathList => list(),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Integer(bounds) => json!({ "type": "integer", "minimum": bounds.start(), "maximum": bounds.end() }),
        Kind::Duration(_) => json!({ "type": "string", "pattern": DURATION }),
        Kind::Size(_) => json!({ "type": "string", "pattern": SIZE }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Secret | Kind::KeyFile => json!({ "oneOf": [text(), source_schema("file"), source_schema("env")] }),
        Kind::Bootstrap(kind) => kind.schema(),
    };
    schema["description"] = description.meaning.into();
    if let Some(default) = &description.default {
        schema["default"] = default.clone();
    }
    schema
}

/// Schema of `{ file = ".." }` or `{ env = ".." }`.
pub(super) fn source_schema(source: &str) -> Value {
    json!({
        "type": "object",
        "properties": { source: { "type": "string", "minLength": 1 } },
        "required": [source],
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_every_section_and_no_open_table() {
        let schema = json_schema();
        assert_eq!(schema["properties"]["store"]["properties"]["commit_interval"]["default"], "100ms");
        let sink = &schema["properties"]["sink"]["additionalProperties"];
        assert_eq!(sink["properties"]["queue"]["properties"]["max_bytes"]["default"], "256MiB");
        assert_eq!(sink["additionalProperties"], false);
        let token = &schema["properties"]["http"]["properties"]["token"]["additionalProperties"];
        assert!(token["properties"]["secret"]["oneOf"].is_array());
        assert_eq!(schema["additionalProperties"], false);
    }

    #[test]
    fn every_key_has_a_meaning_and_stands_once() {
        let described = describe();
        assert!(described.len() > 60, "{}", described.len());
        for (index, description) in described.iter().enumerate() {
            assert!(description.meaning.ends_with('.'), "{description:?}");
            let twin = described
                .iter()
                .skip(index + 1)
                .find(|other| other.section == description.section && other.key == description.key);
            assert_eq!(twin, None);
        }
    }

    #[test]
    fn a_key_of_another_section_is_found() {
        assert_eq!(sections_with("commit_rows"), "[store]");
        assert_eq!(sections_with("keep_alive"), "[sink.NAME]");
        assert_eq!(sections_with("nothing"), "");
    }
}
