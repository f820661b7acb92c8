//! The JSON Schema of mapping files, made of the table of keys that the compiler itself checks against.

use serde_json::{Map, Value as Json, json};

use super::file::keys::{OBSERVE, ROOT, SectionKeys, Shape};

/// The JSON Schema (draft 2020-12) of a mapping file.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    let mut schema = section(&ROOT);
    if let Json::Object(map) = &mut schema {
        map.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        map.insert("title".to_owned(), "lwm2mqtt mapping file".into());
    }
    schema
}

/// The table of keys nests only as deep as it is written.
fn section(keys: &SectionKeys) -> Json {
    let mut properties = Map::new();
    for key in keys.keys {
        let mut property = shape(key.shape);
        if let Json::Object(map) = &mut property {
            map.insert("description".to_owned(), key.about.into());
        }
        properties.insert(key.name.to_owned(), property);
    }
    let required: Vec<&str> = keys.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn shape(shape: Shape) -> Json {
    let duration = json!({"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$"});
    let period = |name: &str| json!({"type": "object", "properties": {name: duration}, "required": [name], "additionalProperties": false});
    match shape {
        Shape::Text => json!({"type": "string"}),
        Shape::OneOf(words) => json!({"type": "string", "enum": words}),
        Shape::Texts => json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
        Shape::TextsOf(words) => {
            let word = json!({"type": "string", "enum": words});
            json!({"oneOf": [word, {"type": "array", "items": word, "minItems": 1}]})
        }
        Shape::Integer => json!({"type": "integer"}),
        Shape::Integers => json!({"type": "array", "items": {"type": "integer"}}),
        Shape::Number => json!({"type": "number"}),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::Pattern => json!({"type": "string", "pattern": "^/[^/]+(/[^/]+){0,3}$"}),
        Shape::TextTable => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Shape::AnyTable => json!({"type": "object"}),
        Shape::Any => json!({}),
        Shape::Observe => json!({"oneOf": [{"type": "boolean"}, section(&OBSERVE)]}),
        Shape::Read => json!({"oneOf": [{"type": "string", "enum": ["on_register", "on_wake"]}, period("every")]}),
        Shape::Report => json!({"oneOf": [
            {"type": "string", "enum": ["on_receive", "on_change"]},
            period("every"),
            period("on_change_or_every"),
        ]}),
        Shape::Format => json!({"oneOf": [{"type": "string"}, {"type": "integer", "minimum": 0, "maximum": 65535}]}),
        Shape::Table(keys) => section(keys),
        Shape::Tables(keys) => {
            let table = section(keys);
            json!({"oneOf": [table, {"type": "array", "items": table}]})
        }
        Shape::Duration => duration,
    }
}
