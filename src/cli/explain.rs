//! `explain`: what the mappings make of a value: the rule that takes it, the keys, the messages, or why there are none.

use std::collections::BTreeMap;
use std::io;

use serde_json::Value as Json;

use super::arguments::ExplainArguments;
use super::check::shown;
use super::explanation::Explanation;
use super::gateway_api::{Gateway, NoAnswer, device_path};
use super::{Ending, Terminal, load_settings};
use crate::config::{ReadError, Settings, Sources, read_mappings, read_models};
use crate::gateway::preview::{PreviewSink, preview_messages};
use crate::mapping::{MappingFile, Plan};
use crate::model::object::{DeviceModel, ObjectModel};
use crate::model::path::Path;
use crate::model::report::{DeviceFacts, RegisteredObject, Sample};
use crate::model::time::WallTime;
use crate::model::value::{ResourceType, Value};

/// A complaint and how the command ends by it.
type Refusal = (Ending, String);

/// Prints what becomes of the value. `now` is the time of the messages.
pub(super) fn explain(
    arguments: &ExplainArguments,
    sources: &Sources<'_>,
    now: WallTime,
    terminal: &mut Terminal<'_>,
) -> io::Result<Ending> {
    let Some(settings) = load_settings(&arguments.gateway.config, sources, terminal)? else { return Ok(Ending::Wrong) };
    let (model, problems) = read_models(&settings, sources);
    for problem in &problems {
        terminal.complain(&problem.to_string())?;
    }
    match explained(arguments, &settings, sources, &model, now) {
        Ok(explanation) if arguments.json => terminal.say_json(&explanation.to_json()).map(|()| Ending::Fine),
        Ok(explanation) => terminal.say(explanation.to_text().trim_end()).map(|()| Ending::Fine),
        Err((ending, reason)) => {
            terminal.complain(&reason)?;
            Ok(ending)
        }
    }
}

fn explained(
    arguments: &ExplainArguments,
    settings: &Settings,
    sources: &Sources<'_>,
    model: &ObjectModel,
    now: WallTime,
) -> Result<Explanation, Refusal> {
    let wrong = |reason: String| (Ending::Wrong, reason);
    let path = model.parse_path(&arguments.path).map_err(|error| wrong(format!("error: --path: {error}")))?;
    if path.depth() < 3 {
        return Err(wrong("error: --path: only resources have values; name one, such as /3303/0/5700".to_owned()));
    }
    let files = mapping_files(arguments, settings, sources)?;
    let compiled = Plan::compile(&files, model, settings.gateway.default_mapping);
    let Some(plan) = compiled.plan else {
        let problems: Vec<String> = compiled.problems.iter().map(shown).collect();
        return Err(wrong(problems.join("\n")));
    };
    let facts = match &arguments.device {
        Some(device) => known_facts(device, arguments, sources)?,
        None => assumed_facts(arguments.endpoint.as_deref().unwrap_or("device"), &path),
    };
    let view = DeviceModel { model, objects: &facts.objects, enabler: facts.lwm2m_version };
    let resource_type = view.resource(&path).and_then(|resource| resource.resource_type);
    let value = match &arguments.value {
        Some(text) => Some(typed(text, resource_type).map_err(|error| wrong(format!("error: --value: {error}")))?),
        None => None,
    };
    let selection = plan.select(&facts);
    let steps = plan.explain(&selection, &facts, &path, value.as_ref());
    let (value, value_assumed) = value.map_or_else(|| (example_of(resource_type), true), |value| (value, false));
    let samples = [Sample { path, value: value.clone(), ts: None }];
    let uplink = samples.first().map(|sample| plan.uplink(&selection, &facts, sample)).unwrap_or_default();
    let messages = settings.sinks.iter().map(|sink| {
        let sink = PreviewSink { name: &sink.core.name, base: &sink.core.base };
        (sink.name.to_owned(), preview_messages(&plan, &selection, &facts, &samples, sink, now))
    });
    let messages = messages.collect();
    Ok(Explanation { path, facts, value, value_assumed, steps, uplink, messages })
}

/// The mapping files of the configuration, or the one to try instead.
fn mapping_files(
    arguments: &ExplainArguments,
    settings: &Settings,
    sources: &Sources<'_>,
) -> Result<Vec<MappingFile>, Refusal> {
    if let Some(path) = &arguments.mapping {
        let name = path.display().to_string();
        return match (sources.read_text)(path) {
            Ok(text) => Ok(vec![MappingFile { name, text }]),
            Err(ReadError::NotFound) => Err((Ending::Wrong, format!("{name}: error: there is no such file"))),
            Err(ReadError::Other(reason)) => Err((Ending::Wrong, format!("{name}: error: cannot be read: {reason}"))),
        };
    }
    let (files, problems) = read_mappings(settings, sources);
    if problems.is_empty() {
        return Ok(files);
    }
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err((Ending::Wrong, problems.join("\n")))
}

/// A device of which only the endpoint and the object are known.
fn assumed_facts(endpoint: &str, path: &Path) -> DeviceFacts {
    let object = path
        .object_id()
        .zip(path.instance_id())
        .map(|(object, instance)| (object, RegisteredObject { version: None, instances: vec![instance] }));
    DeviceFacts {
        endpoint: endpoint.to_owned(),
        device: endpoint.to_owned(),
        objects: object.into_iter().collect(),
        ..DeviceFacts::default()
    }
}

/// A device as the running gateway knows it.
fn known_facts(device: &str, arguments: &ExplainArguments, sources: &Sources<'_>) -> Result<DeviceFacts, Refusal> {
    let record = Gateway::of(&arguments.gateway, sources)
        .and_then(|gateway| gateway.ask("GET", &device_path(device), None))
        .map_err(|error| match error {
            NoAnswer::Wrong(reason) => (Ending::Wrong, reason),
            NoAnswer::Failed(reason) => (Ending::Failed, reason),
        })?;
    Ok(facts_of_record(&record))
}

/// The facts in a device record of the HTTP API.
pub(super) fn facts_of_record(record: &Json) -> DeviceFacts {
    let text = |key: &str| record.get(key).and_then(Json::as_str).map(str::to_owned);
    let version = |json: Option<&Json>| json.and_then(Json::as_str).and_then(|text| text.parse().ok());
    let identifier = |json: &Json| json.as_u64().and_then(|id| u16::try_from(id).ok());
    let mut objects = BTreeMap::new();
    for (id, object) in record.get("objects").and_then(Json::as_object).into_iter().flatten() {
        let Ok(id) = id.parse() else { continue };
        let instances = object.get("instances").and_then(Json::as_array).into_iter().flatten();
        let instances = instances.filter_map(identifier).collect();
        objects.insert(id, RegisteredObject { version: version(object.get("version")), instances });
    }
    let tags = record.get("tags").and_then(Json::as_array).into_iter().flatten();
    let endpoint = text("endpoint").unwrap_or_default();
    DeviceFacts {
        device: text("name").unwrap_or_else(|| endpoint.clone()),
        endpoint,
        objects,
        tags: tags.filter_map(Json::as_str).map(str::to_owned).collect(),
        manufacturer: text("manufacturer"),
        model: text("model"),
        firmware: text("firmware"),
        lwm2m_version: version(record.get("lwm2m_version")),
        identity: text("identity"),
    }
}

/// The value that a text means: JSON where it is JSON, else the text itself.
fn typed(text: &str, resource_type: Option<ResourceType>) -> Result<Value, String> {
    let json = serde_json::from_str(text).unwrap_or_else(|_| Json::from(text));
    let Some(wanted) = resource_type else {
        return Value::from_untyped_json(&json).map_err(|error| error.to_string());
    };
    // A string resource takes `21` as well, without quotes.
    Value::from_json(&json, wanted)
        .or_else(|error| Value::from_json(&Json::from(text), wanted).map_err(|_| error.to_string()))
}

/// Some value of a type, for a question without one.
fn example_of(resource_type: Option<ResourceType>) -> Value {
    match resource_type {
        Some(ResourceType::String | ResourceType::CoreLink) => Value::String(String::new()),
        Some(ResourceType::Boolean) => Value::Boolean(false),
        Some(ResourceType::Opaque) => Value::Opaque(Vec::new()),
        Some(ResourceType::Time) => Value::Time(0),
        Some(ResourceType::Integer) => Value::Integer(0),
        Some(ResourceType::UnsignedInteger) => Value::UnsignedInteger(0),
        Some(ResourceType::ObjectLink) => Value::ObjectLink(0, 0),
        Some(ResourceType::Float) | None => Value::Float(0.0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_device_record_becomes_facts() {
        let facts = facts_of_record(&json!({
            "endpoint": "urn:1", "name": "weather", "tags": ["a"], "lwm2m_version": "1.1",
            "objects": { "3": { "version": "1.2", "instances": [0] }, "3303": { "instances": [0, 70_000, 2] } },
        }));
        assert_eq!((facts.endpoint.as_str(), facts.device.as_str()), ("urn:1", "weather"));
        assert_eq!(facts.objects[&3].version, "1.2".parse().ok());
        assert_eq!(facts.objects[&3303].instances, [0, 2]);
        assert_eq!(facts.lwm2m_version, "1.1".parse().ok());
        assert_eq!(facts_of_record(&json!({ "endpoint": "e" })).device, "e");
        assert_eq!(facts_of_record(&Json::Null), DeviceFacts::default());
    }

    #[test]
    fn values_are_read_by_the_type_of_the_resource() {
        assert_eq!(typed("21", Some(ResourceType::String)), Ok(Value::String("21".to_owned())));
        assert_eq!(typed("21", Some(ResourceType::Float)), Ok(Value::Float(21.0)));
        assert_eq!(typed("on", None), Ok(Value::String("on".to_owned())));
        assert!(typed("warm", Some(ResourceType::Float)).is_err());
    }
}
