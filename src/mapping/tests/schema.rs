use serde_json::Value as Json;

use crate::mapping::{DEFAULT_MAPPING, json_schema};

/// Whether every key of `value` is a property of some alternative of `schema`.
fn knows(schema: &Json, value: &Json, place: &str) {
    if let Some(alternatives) = schema.get("oneOf").and_then(Json::as_array) {
        let wanted = if value.is_array() {
            "array"
        } else if value.is_object() {
            "object"
        } else {
            return;
        };
        let fitting = alternatives.iter().find(|alternative| {
            alternative["type"] == wanted
                && value
                    .as_object()
                    .is_none_or(|map| map.keys().all(|key| alternative["properties"].get(key).is_some()))
        });
        return knows(fitting.unwrap_or_else(|| panic!("{place}: no alternative")), value, place);
    }
    match value {
        Json::Array(items) => {
            let items_schema = &schema["items"];
            for item in items {
                knows(items_schema, item, place);
            }
        }
        Json::Object(map) => {
            for (key, value) in map {
                if schema["additionalProperties"] == false {
                    let property = schema["properties"].get(key);
                    knows(property.unwrap_or_else(|| panic!("{place}.{key}")), value, &format!("{place}.{key}"));
                }
            }
        }
        _ => {}
    }
}

fn check(text: &str, place: &str) {
    let value: Json = toml::from_str(text).unwrap();
    knows(&json_schema(), &value, place);
    for required in json_schema()["required"].as_array().unwrap() {
        assert!(value.get(required.as_str().unwrap()).is_some());
    }
}

#[test]
fn the_schema_knows_every_key_of_every_mapping_of_the_repository() {
    check(DEFAULT_MAPPING, "default");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/examples");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        check(&std::fs::read_to_string(&path).unwrap(), &path.display().to_string());
    }
}

#[test]
fn the_schema_lists_every_key_of_the_documented_sections() {
    let schema = json_schema();
    let telemetry = &schema["properties"]["telemetry"]["oneOf"][1]["items"]["properties"];
    for key in [
        "path", "key", "decode", "extract", "scale", "offset", "round", "unit", "names", "as", "observe", "read",
        "report", "sinks", "also",
    ] {
        assert!(telemetry.get(key).is_some(), "{key}");
    }
    for section in [
        "version",
        "match",
        "settings",
        "defaults",
        "telemetry",
        "attribute",
        "ignore",
        "desired",
        "command",
        "publish",
        "subscribe",
        "http",
        "example",
    ] {
        assert!(schema["properties"].get(section).is_some(), "{section}");
    }
    assert_eq!(schema["additionalProperties"], false);
}
