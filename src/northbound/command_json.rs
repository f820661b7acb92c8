//! Commands as JSON: the one shape that MQTT, HTTP and everything else share.
//!
//! `{"id":"42","operation":"write","path":"/3303/0/5601","value":12.5,"ttl":"1h"}`. Errors name the field at fault.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::attributes::NotificationAttributes;
use crate::model::command::{
    Command, CommandError, CommandResult, DEFAULT_TTL, ErrorKind, MAX_COMPOSITE_PATHS, MAX_ID_BYTES, Operation,
    WhenAsleep,
};
use crate::model::object::ObjectModel;
use crate::model::path::Path;
use crate::model::time::WallTime;
use crate::model::units::parse_duration;
use crate::model::value::ResourceType;

/// A request that names content formats: by the words of the interfaces or by number.
pub type ParseFormat = fn(&str) -> Option<u16>;

fn invalid(message: impl Into<String>) -> CommandError {
    CommandError::new(ErrorKind::Invalid, message)
}

/// Parses a command. `fallback_id` is used when the command brings none.
///
/// # Errors
/// `invalid`, with the name of the field.
pub fn parse_command(
    json: &Value,
    fallback_id: &str,
    model: &ObjectModel,
    parse_format: ParseFormat,
) -> Result<Command, CommandError> {
    let body = json.as_object().ok_or_else(|| invalid("a command is a JSON object"))?;
    let id = parse_id(body)?.unwrap_or_else(|| fallback_id.to_owned());
    let operation = parse_operation(body, model)?;
    if let Some(unknown) = body.keys().find(|key| !is_known_field(key)) {
        return Err(invalid(format!("{unknown} is no field of a command")));
    }
    let format = match body.get("format") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => {
            Some(parse_format(name).ok_or_else(|| invalid(format!("format '{name}' is not known")))?)
        }
        Some(number) => Some(
            number
                .as_u64()
                .and_then(|number| u16::try_from(number).ok())
                .ok_or_else(|| invalid("format is no content format"))?,
        ),
    };
    Ok(Command {
        id,
        operation,
        format,
        ttl: duration(body, "ttl")?.unwrap_or(DEFAULT_TTL),
        timeout: duration(body, "timeout")?,
        priority: match body.get("priority") {
            None | Some(Value::Null) => 0,
            Some(number) => number
                .as_i64()
                .and_then(|number| i32::try_from(number).ok())
                .ok_or_else(|| invalid("priority is no integer"))?,
        },
        not_before: match body.get("not_before") {
            None | Some(Value::Null) => None,
            Some(number) => Some(WallTime::from_millis(
                number.as_i64().ok_or_else(|| invalid("not_before is no integer of milliseconds since 1970"))?,
            )),
        },
        when_asleep: match body.get("when_asleep").map(|value| value.as_str().unwrap_or_default()) {
            None | Some("queue") => WhenAsleep::Queue,
            Some("try") => WhenAsleep::Try,
            Some("fail") => WhenAsleep::Fail,
            Some(_) => return Err(invalid("when_asleep is none of queue, try, fail")),
        },
    })
}

/// The `id` of a request, if there is one.
///
/// # Errors
/// If it is no string or number, empty, or too long.
pub fn parse_id(body: &Map<String, Value>) -> Result<Option<String>, CommandError> {
    let id = match body.get("id") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(_) => return Err(invalid("id is no string")),
    };
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(invalid(format!("id has {} bytes, not 1 to {MAX_ID_BYTES}", id.len())));
    }
    Ok(Some(id))
}

/// All fields that a command may have.
pub const FIELDS: [&str; 22] = [
    "id",
    "operation",
    "path",
    "value",
    "values",
    "type",
    "arguments",
    "attributes",
    "command",
    "name",
    "params",
    "format",
    "ttl",
    "timeout",
    "priority",
    "not_before",
    "when_asleep",
    "paths",
    "depth",
    "passive",
    "transaction",
    "key",
];

fn is_known_field(key: &str) -> bool {
    FIELDS.contains(&key)
}

fn duration(body: &Map<String, Value>, field: &str) -> Result<Option<Duration>, CommandError> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let text = value.as_str().ok_or_else(|| invalid(format!("{field} is no duration such as \"30s\"")))?;
            parse_duration(text).map(Some).map_err(|error| invalid(format!("{field}: {error}")))
        }
    }
}

fn parse_operation(body: &Map<String, Value>, model: &ObjectModel) -> Result<Operation, CommandError> {
    let Some(operation) = body.get("operation") else {
        let name = body.get("name").and_then(Value::as_str).ok_or_else(|| invalid("operation is missing"))?;
        let params = match body.get("params") {
            None | Some(Value::Null) => BTreeMap::new(),
            Some(Value::Object(params)) => params.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            Some(_) => return Err(invalid("params is no object")),
        };
        return Ok(Operation::Named { name: name.to_owned(), params });
    };
    let operation = operation.as_str().ok_or_else(|| invalid("operation is no string"))?;
    let path = |least: usize, most: usize| path_field(body, model, least, most);
    Ok(match operation {
        "read" => Operation::Read { path: path(1, 4)? },
        "discover" => Operation::Discover { path: path(1, 3)?, depth: depth_field(body)? },
        "observe" => Operation::Observe {
            path: path(1, 4)?,
            attributes: if body.contains_key("attributes") { attributes_field(body)? } else { BTreeMap::new() },
        },
        "cancel_observe" => Operation::CancelObserve { path: path(1, 4)?, passive: flag(body, "passive")? },
        "read_composite" => Operation::ReadComposite { paths: paths_field(body, model)? },
        "observe_composite" => Operation::ObserveComposite { paths: paths_field(body, model)? },
        "cancel_observe_composite" => {
            Operation::CancelObserveComposite { paths: paths_field(body, model)?, passive: flag(body, "passive")? }
        }
        "write_composite" => Operation::WriteComposite { values: composite_values(body, model)? },
        "bootstrap" => Operation::Bootstrap,
        "delete" => Operation::Delete { path: path(2, 4)? },
        "write" => {
            let path = path(2, 4)?;
            Operation::Write { path, values: values_field(body, model, path)?, value_type: type_field(body)? }
        }
        "write_update" => {
            let path = path(2, 3)?;
            Operation::WriteUpdate { path, values: values_field(body, model, path)?, value_type: type_field(body)? }
        }
        "execute" => Operation::Execute {
            path: path(3, 3)?,
            arguments: match body.get("arguments") {
                None | Some(Value::Null) => None,
                Some(Value::String(text)) => Some(text.clone()),
                Some(_) => return Err(invalid("arguments is no string")),
            },
        },
        "create" => {
            let path = path(1, 2)?;
            Operation::Create { path, values: values_field(body, model, path)? }
        }
        "write_attributes" => Operation::WriteAttributes { attributes: attributes_field(body)?, path: path(1, 4)? },
        "set" => Operation::Set {
            key: body
                .get("key")
                .and_then(Value::as_str)
                .ok_or_else(|| invalid("key is missing: the key of a [[desired]] rule"))?
                .to_owned(),
            value: body.get("value").cloned().ok_or_else(|| invalid("value is missing"))?,
        },
        "cancel" => Operation::Cancel {
            command: body
                .get("command")
                .and_then(Value::as_str)
                .ok_or_else(|| invalid("command is missing: the id of the command to cancel"))?
                .to_owned(),
        },
        _ => return Err(invalid(format!("operation '{operation}' is not known"))),
    })
}

fn path_field(body: &Map<String, Value>, model: &ObjectModel, least: usize, most: usize) -> Result<Path, CommandError> {
    let text = body.get("path").and_then(Value::as_str).ok_or_else(|| invalid("path is missing or no string"))?;
    let path = model.parse_path(text).map_err(|error| invalid(format!("path '{text}': {error}")))?;
    if (least..=most).contains(&path.depth()) {
        return Ok(path);
    }
    let level = |depth| ["the root", "an object", "an instance", "a resource", "a resource instance"][depth];
    let wanted = if least == most { level(least).to_owned() } else { format!("{} to {}", level(least), level(most)) };
    Err(invalid(format!("path '{text}' is {}, this operation takes {wanted}", level(path.depth()))))
}

fn attributes_field(body: &Map<String, Value>) -> Result<BTreeMap<String, Value>, CommandError> {
    let attributes = body
        .get("attributes")
        .and_then(Value::as_object)
        .ok_or_else(|| invalid("attributes is missing or no object"))?;
    let attributes = attributes.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    NotificationAttributes::query_of_command(&attributes).map_err(invalid)?;
    Ok(attributes)
}

fn depth_field(body: &Map<String, Value>) -> Result<Option<u8>, CommandError> {
    match body.get("depth") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let depth = value.as_u64().and_then(|depth| u8::try_from(depth).ok()).filter(|depth| *depth <= 3);
            depth.map(Some).ok_or_else(|| invalid("depth is no integer from 0 to 3"))
        }
    }
}

fn flag(body: &Map<String, Value>, field: &str) -> Result<bool, CommandError> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(invalid(format!("{field} is no boolean"))),
    }
}

/// `paths` of a composite operation: sorted, each once.
fn paths_field(body: &Map<String, Value>, model: &ObjectModel) -> Result<Vec<Path>, CommandError> {
    let texts = body.get("paths").and_then(Value::as_array).ok_or_else(|| invalid("paths is missing or no list"))?;
    let mut paths = Vec::with_capacity(texts.len().min(MAX_COMPOSITE_PATHS));
    for text in texts {
        let text = text.as_str().ok_or_else(|| invalid("paths holds what is no string"))?;
        paths.push(model.parse_path(text).map_err(|error| invalid(format!("paths: '{text}': {error}")))?);
    }
    paths.sort_unstable();
    paths.dedup();
    if paths.is_empty() || paths.len() > MAX_COMPOSITE_PATHS {
        return Err(invalid(format!("paths has {} paths, not 1 to {MAX_COMPOSITE_PATHS}", paths.len())));
    }
    Ok(paths)
}

/// `values` of a Write-Composite: full paths of any object; null deletes a resource instance.
fn composite_values(body: &Map<String, Value>, model: &ObjectModel) -> Result<BTreeMap<Path, Value>, CommandError> {
    let Some(Value::Object(entries)) = body.get("values") else {
        return Err(invalid("values is missing or no object"));
    };
    let mut values = BTreeMap::new();
    for (text, value) in entries {
        let path = model.parse_path(text).map_err(|error| invalid(format!("values: '{text}': {error}")))?;
        if path.depth() < 3 {
            return Err(invalid(format!("values: '{text}' is no resource or resource instance")));
        }
        insert_value(&mut values, path, value)?;
    }
    if let Some(path) = values.iter().find(|(path, value)| value.is_null() && path.depth() != 4).map(|(path, _)| path) {
        return Err(invalid(format!("values: {path} is null, and only a resource instance can be deleted so")));
    }
    if values.is_empty() || values.len() > MAX_COMPOSITE_PATHS {
        return Err(invalid(format!("values has {} values, not 1 to {MAX_COMPOSITE_PATHS}", values.len())));
    }
    Ok(values)
}

fn type_field(body: &Map<String, Value>) -> Result<Option<ResourceType>, CommandError> {
    match body.get("type") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value.clone()).map(Some).map_err(|_| {
            invalid("type is none of string, integer, unsigned_integer, float, boolean, opaque, time, object_link, core_link")
        }),
    }
}

/// `value` for one target, or `values` with full or relative paths; an object stands for resource instances.
fn values_field(
    body: &Map<String, Value>,
    model: &ObjectModel,
    target: Path,
) -> Result<BTreeMap<Path, Value>, CommandError> {
    // Values of a Create on an object belong to an instance that has no number yet: 0 stands for it.
    let base = if target.depth() == 1 { target.child(0).unwrap_or(target) } else { target };
    let mut values = BTreeMap::new();
    match (body.get("value"), body.get("values")) {
        (Some(_), Some(_)) => return Err(invalid("value and values exclude each other")),
        (Some(value), None) => {
            if target.depth() < 3 {
                return Err(invalid("value needs the path of a resource; use values for instances"));
            }
            insert_value(&mut values, base, value)?;
        }
        (None, Some(Value::Object(entries))) => {
            for (text, value) in entries {
                let path = relative_path(model, base, text)
                    .ok_or_else(|| invalid(format!("values: '{text}' is no path below {target}")))?;
                insert_value(&mut values, path, value)?;
            }
            if values.is_empty() && base.depth() != 2 {
                return Err(invalid("values is empty"));
            }
        }
        (None, Some(_)) => return Err(invalid("values is no object")),
        (None, None) => return Err(invalid("value or values is missing")),
    }
    Ok(values)
}

fn relative_path(model: &ObjectModel, base: Path, text: &str) -> Option<Path> {
    let full = if text.starts_with('/') {
        model.parse_path(text).ok()?
    } else {
        // Names of resources below an instance resolve against their object.
        model
            .parse_path(&format!("{}/{text}", if base.depth() == 0 { String::new() } else { base.to_string() }))
            .ok()?
    };
    (base.contains(&full) && full.depth() >= 3).then_some(full)
}

fn insert_value(values: &mut BTreeMap<Path, Value>, path: Path, value: &Value) -> Result<(), CommandError> {
    let Value::Object(instances) = value else {
        values.insert(path, value.clone());
        return Ok(());
    };
    for (instance, value) in instances {
        let child = instance.parse().ok().and_then(|id| path.child(id)).filter(|child| child.depth() == 4);
        let child = child.ok_or_else(|| invalid(format!("value of {path}: '{instance}' is no resource instance")))?;
        values.insert(child, value.clone());
    }
    Ok(())
}

/// A result as JSON.
pub fn result_json(result: &CommandResult) -> Value {
    serde_json::to_value(result).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(json: &Value) -> Result<Command, CommandError> {
        parse_command(json, "made", &ObjectModel::default(), |name| (name == "tlv").then_some(11542))
    }

    #[test]
    fn a_write_has_its_value_under_its_full_path() {
        let command = parse(&json!({"id": "42", "operation": "write", "path": "/3303/0/5601", "value": 12.5, "ttl": "1h", "format": "tlv"})).unwrap();
        let Operation::Write { path, values, .. } = &command.operation else { panic!("{command:?}") };
        assert_eq!(values.get(path), Some(&json!(12.5)));
        assert_eq!((command.id.as_str(), command.ttl, command.format), ("42", Duration::from_secs(3_600), Some(11542)));
    }

    #[test]
    fn values_may_be_relative_full_or_by_resource_instance() {
        let command = parse(&json!({"operation": "write_update", "path": "/3/0", "values": {"14": "+02", "/3/0/15": "CET", "7": {"0": 1, "1": 2}}})).unwrap();
        let Operation::WriteUpdate { values, .. } = &command.operation else { panic!("{command:?}") };
        let paths: Vec<String> = values.keys().map(ToString::to_string).collect();
        assert_eq!(paths, ["/3/0/7/0", "/3/0/7/1", "/3/0/14", "/3/0/15"]);
        assert_eq!(command.id, "made");
    }

    #[test]
    fn composite_operations_take_paths_and_values_of_any_object() {
        let command =
            parse(&json!({"operation": "read_composite", "paths": ["/3303/0/5700", "/3/0/9", "/3/0/9", "/"]}));
        let Operation::ReadComposite { paths } = command.unwrap().operation else { panic!() };
        let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["/", "/3/0/9", "/3303/0/5700"], "sorted, each once");
        let many: Vec<String> = (0..65).map(|id| format!("/3303/{id}/5700")).collect();
        let refused = parse(&json!({"operation": "read_composite", "paths": many})).unwrap_err();
        assert!(refused.message.contains("65 paths, not 1 to 64"), "{refused}");
        let values = json!({"/1/0/1": 60, "/16/0/0": {"0": "a", "1": null}});
        let command = parse(&json!({"operation": "write_composite", "values": values})).unwrap();
        let Operation::WriteComposite { values } = command.operation else { panic!() };
        assert_eq!(values.get(&Path::resource_instance(16, 0, 0, 1)), Some(&json!(null)));
    }

    #[test]
    fn errors_name_the_field() {
        for (body, named) in [
            (json!([]), "JSON object"),
            (json!({}), "operation is missing"),
            (json!({"operation": "fly"}), "operation 'fly'"),
            (json!({"operation": "read"}), "path is missing"),
            (json!({"operation": "read", "path": "3303"}), "path '3303'"),
            (json!({"operation": "execute", "path": "/3/0"}), "path '/3/0' is an instance"),
            (json!({"operation": "write", "path": "/3/0/1"}), "value or values"),
            (json!({"operation": "write", "path": "/3/0", "value": 1}), "value needs"),
            (json!({"operation": "write", "path": "/3/0", "values": {"/4/0/1": 1}}), "'/4/0/1'"),
            (json!({"operation": "read", "path": "/3", "ttl": 5}), "ttl"),
            (json!({"operation": "read", "path": "/3", "ttl": "soon"}), "ttl"),
            (json!({"operation": "read", "path": "/3", "priority": "high"}), "priority"),
            (json!({"operation": "read", "path": "/3", "when_asleep": 1}), "when_asleep"),
            (json!({"operation": "read", "path": "/3", "format": "xml"}), "format 'xml'"),
            (json!({"operation": "read", "path": "/3", "speed": 1}), "speed"),
            (json!({"operation": "read", "path": "/3", "id": ""}), "id has 0 bytes"),
            (json!({"operation": "write_attributes", "path": "/3", "attributes": {"gt": "x"}}), "attributes.gt"),
            (json!({"operation": "cancel"}), "command is missing"),
            (json!({"operation": "read_composite"}), "paths is missing"),
            (json!({"operation": "read_composite", "paths": []}), "paths has 0 paths"),
            (json!({"operation": "observe_composite", "paths": ["/3", 3]}), "paths holds"),
            (json!({"operation": "read_composite", "paths": ["3"]}), "paths: '3'"),
            (json!({"operation": "write_composite", "values": {"/3/0": 1}}), "'/3/0' is no resource"),
            (json!({"operation": "write_composite", "values": {"/3/0/1": null}}), "/3/0/1 is null"),
            (json!({"operation": "write_composite", "values": {}}), "values has 0 values"),
            (json!({"operation": "discover", "path": "/3", "depth": 4}), "depth"),
            (json!({"operation": "cancel_observe", "path": "/3", "passive": 1}), "passive"),
            (json!({"operation": "observe", "path": "/3", "attributes": {"speed": 1}}), "attributes.speed"),
        ] {
            let refused = parse(&body).unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Invalid);
            assert!(refused.message.contains(named), "{body}: {refused}");
        }
    }
}
