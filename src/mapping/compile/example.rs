//! `[[example]]`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{Context, unknown_word};
use crate::mapping::examples::{Example, ExpectedMessage};
use crate::mapping::file::section::to_json;
use crate::mapping::file::{Diagnostics, Section};
use crate::model::path::Path;
use crate::model::report::{DeviceFacts, Sample};
use crate::model::time::WallTime;
use crate::model::value::{ResourceType, Value};

const TYPES: [(&str, ResourceType); 9] = [
    ("string", ResourceType::String),
    ("integer", ResourceType::Integer),
    ("unsigned_integer", ResourceType::UnsignedInteger),
    ("float", ResourceType::Float),
    ("boolean", ResourceType::Boolean),
    ("opaque", ResourceType::Opaque),
    ("time", ResourceType::Time),
    ("object_link", ResourceType::ObjectLink),
    ("core_link", ResourceType::CoreLink),
];

/// Compiles an example; `None` if it cannot be run.
pub(super) fn compile(section: &Section<'_>, context: &Context<'_>, diagnostics: &mut Diagnostics) -> Option<Example> {
    let mut facts = facts(section, diagnostics);
    let mut samples = Vec::new();
    for report in section.tables("report", diagnostics) {
        samples.extend(self::samples(&report, context, diagnostics).unwrap_or_default());
    }
    for sample in &samples {
        let (Some(object), Some(instance)) = (sample.path.object_id(), sample.path.instance_id()) else { continue };
        let registered = facts.objects.entry(object).or_default();
        if let Err(place) = registered.instances.binary_search(&instance) {
            registered.instances.insert(place, instance);
        }
    }
    let expect = section.tables("expect", diagnostics).into_iter().next()?;
    let mut map = |key: &str| -> Option<BTreeMap<String, Json>> {
        expect.raw(key)?;
        let entries = expect.entries(key, diagnostics).into_iter();
        Some(entries.filter_map(|(name, value)| Some((name.value.to_owned(), to_json(value.get_ref())?))).collect())
    };
    let (telemetry, attributes) = (map("telemetry"), map("attributes"));
    let messages = expect.raw("messages").map(|_| {
        let sections = expect.tables("messages", diagnostics);
        let message = |message: Section<'_>, diagnostics: &mut Diagnostics| {
            let topic = message.text("topic", diagnostics)?.value.to_owned();
            Some(ExpectedMessage { topic, payload: message.raw("payload").and_then(|value| to_json(value.get_ref())) })
        };
        sections.into_iter().filter_map(|section| message(section, diagnostics)).collect()
    });
    let line = diagnostics.line(section.offset);
    Some(Example { file: context.file, line, facts, samples, telemetry, attributes, messages })
}

fn facts(section: &Section<'_>, diagnostics: &mut Diagnostics) -> DeviceFacts {
    let mut text = |key: &str| section.text(key, diagnostics).map(|text| text.value.to_owned());
    let endpoint = text("endpoint").unwrap_or_default();
    let device = text("device").unwrap_or_else(|| endpoint.clone());
    let (manufacturer, model, firmware) = (text("manufacturer"), text("model"), text("firmware"));
    let identity = text("identity");
    let version = section.text("lwm2m_version", diagnostics).and_then(|version| match version.value.parse() {
        Ok(version) => Some(version),
        Err(error) => {
            let error: crate::model::version::VersionError = error;
            diagnostics.error(version.offset, format!("lwm2m_version in [[example]]: {error}"), "");
            None
        }
    });
    let tags = section.texts("tags", diagnostics).unwrap_or_default();
    DeviceFacts {
        endpoint,
        device,
        objects: BTreeMap::new(),
        tags: tags.into_iter().map(|tag| tag.value.to_owned()).collect(),
        manufacturer,
        model,
        firmware,
        lwm2m_version: version,
        identity,
    }
}

/// The samples of a report: one, or one for each resource instance of a table.
fn samples(report: &Section<'_>, context: &Context<'_>, diagnostics: &mut Diagnostics) -> Option<Vec<Sample>> {
    let text = report.text("path", diagnostics)?;
    let path = match context.model.parse_path(text.value) {
        Ok(path) if path.depth() >= 3 => path,
        Ok(path) => {
            let message = format!("path in report: {path} is no resource");
            diagnostics.error(text.offset, message, "an example reports one resource");
            return None;
        }
        Err(problem) => {
            diagnostics.error(text.offset, format!("path in report: {problem}"), "");
            return None;
        }
    };
    let stated = report.text("type", diagnostics).and_then(|word| {
        let known = TYPES.iter().find(|(name, _)| *name == word.value);
        if known.is_none() {
            let hint = unknown_word(word.value, &TYPES.map(|(name, _)| name));
            diagnostics.error(word.offset, format!("type in report: \"{}\" is no type", word.value), hint);
        }
        known.map(|(_, resource_type)| *resource_type)
    });
    let ts = report.integer("ts", i64::MIN..=i64::MAX, diagnostics).map(|ts| WallTime::from_millis(ts.value));
    let raw = report.raw("value")?;
    let Some(json) = to_json(raw.get_ref()) else {
        report.mismatch("value", raw, "a finite value", diagnostics);
        return None;
    };
    let definition = path.object_id().zip(path.resource_id());
    let definition = definition.and_then(|(object, resource)| context.model.resource(object, None, None, resource));
    let wanted = stated.or_else(|| definition.and_then(|definition| definition.resource_type));
    let parts: Vec<(Option<Path>, Json)> = match json {
        Json::Object(parts) => {
            parts.into_iter().map(|(id, value)| (id.parse().ok().and_then(|id| path.child(id)), value)).collect()
        }
        single => vec![(Some(path), single)],
    };
    let mut samples = Vec::with_capacity(parts.len());
    for (path, json) in parts {
        let Some(path) = path else {
            report.mismatch("value", raw, "a table of resource instances such as { \"0\" = 1 }", diagnostics);
            return None;
        };
        let value = match wanted {
            Some(wanted) => Value::from_json(&json, wanted),
            None => Value::from_untyped_json(&json),
        };
        match value {
            Ok(value) => samples.push(Sample { path, value, ts }),
            Err(mismatch) => {
                let message = format!("value in report of {path}: {mismatch}");
                diagnostics.error(raw.span().start, message, "type = \"..\" states another type");
                return None;
            }
        }
    }
    Some(samples)
}
