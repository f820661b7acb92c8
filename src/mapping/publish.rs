//! `[[publish]]`: messages on topics of the mapping's own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value as Json;

use super::json_template::{JsonTemplate, fill_text, written};
use super::pattern::PathPattern;
use super::plan::{Plan, Selection};
use super::template::Part;
use crate::model::message::QualityOfService;
use crate::model::path::Path;
use crate::model::report::DeviceFacts;

/// Longest topic, in bytes: that of MQTT (5.0 section 1.5.4).
const MAX_TOPIC_BYTES: usize = 65_535;

/// What `[[publish]]` rules are matched against and filled from.
#[derive(Clone, Debug)]
pub struct PublishSource<'a> {
    /// `telemetry`, `attribute`, `state`, `event` or `response`.
    pub on: &'static str,
    /// The path, for values and responses.
    pub path: Option<Path>,
    /// Placeholders beside those of the device: `key`, `value`, `ts`, `unit`, `state`, `event`, ...
    pub fields: BTreeMap<&'static str, serde_json::Value>,
    /// The device.
    pub facts: &'a DeviceFacts,
}

/// A message on a topic of the mapping's own.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnMessage {
    /// Sink by name.
    pub sink: String,
    /// Topic, checked: not empty, no wildcards.
    pub topic: String,
    /// Body.
    pub payload: Vec<u8>,
    /// Guarantee.
    pub qos: QualityOfService,
    /// Whether the broker keeps it.
    pub retain: bool,
    /// Whether the layout's own message is left out for this sink.
    pub exclusive: bool,
}

/// A compiled rule.
#[derive(Clone, Debug)]
pub(super) struct PublishRule {
    pub(super) file: usize,
    pub(super) line: usize,
    pub(super) sink: String,
    pub(super) on: String,
    pub(super) pattern: Option<PathPattern>,
    pub(super) topic: Vec<Part>,
    /// `None`: all fields.
    pub(super) payload: Option<JsonTemplate>,
    pub(super) exclusive: bool,
    pub(super) qos: QualityOfService,
    pub(super) retain: bool,
}

/// A place where a mapping file names a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkReference {
    /// The file.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// The name of the sink.
    pub sink: String,
}

impl Plan {
    /// Whether any file has a `[[publish]]` rule: without one nothing needs to be gathered for them.
    #[must_use]
    pub fn has_publish_rules(&self) -> bool {
        !self.publishes.is_empty()
    }

    /// Every place that names a sink, for the check that the configuration has it.
    #[must_use]
    pub fn sink_references(&self) -> Vec<SinkReference> {
        let of_rules = self.rules.iter().flat_map(|rule| {
            let sinks = rule.value().and_then(|value| value.sinks.as_deref()).unwrap_or_default();
            sinks.iter().map(|sink| (rule.file, rule.line, sink))
        });
        let of_publishes = self.publishes.iter().map(|rule| (rule.file, rule.line, &rule.sink));
        of_rules
            .chain(of_publishes)
            .filter_map(|(file, line, sink)| {
                Some(SinkReference { file: self.files.get(file)?.name.clone(), line, sink: sink.clone() })
            })
            .collect()
    }

    /// The messages of all `[[publish]]` rules that fit. A rule whose topic needs what the source does not have makes
    /// none.
    #[must_use]
    pub fn publish(&self, selection: &Selection, source: &PublishSource<'_>) -> Vec<OwnMessage> {
        let fits = |rule: &&PublishRule| {
            selection.has(rule.file)
                && rule.on == source.on
                && rule.pattern.is_none_or(|pattern| {
                    source.path.is_some_and(|path| pattern.fits(&path)) && pattern.fits_version(source.facts)
                })
        };
        self.publishes.iter().filter(fits).filter_map(|rule| rule.message(source)).collect()
    }
}

impl PublishRule {
    fn message(&self, source: &PublishSource<'_>) -> Option<OwnMessage> {
        let topic = fill_text(&self.topic, &mut |name| {
            let text = written(&field(source, name).filter(|value| !value.is_null()).ok_or(())?);
            // A key is written by the author of the mapping, who may want levels in it; the rest comes from devices.
            Ok::<_, ()>(topic_safe(&text, name == "key"))
        });
        let topic = topic.ok().filter(|topic| !topic.is_empty() && topic.len() <= MAX_TOPIC_BYTES)?;
        let payload = match &self.payload {
            None => {
                Json::Object(source.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
            }
            Some(template) => {
                let lookup = &mut |name: &str| Ok(field(source, name).unwrap_or(Json::Null));
                let Ok(json) = template.fill::<std::convert::Infallible>(lookup);
                json
            }
        };
        let payload = match payload {
            Json::String(text) => text.into_bytes(),
            json => json.to_string().into_bytes(),
        };
        let (sink, qos, retain, exclusive) = (self.sink.clone(), self.qos, self.retain, self.exclusive);
        Some(OwnMessage { sink, topic, payload, qos, retain, exclusive })
    }
}

/// What a placeholder stands for.
fn field(source: &PublishSource<'_>, name: &str) -> Option<Json> {
    if let Some(value) = source.fields.get(name) {
        return Some(value.clone());
    }
    let path = source.path.as_ref();
    match name {
        "endpoint" => Some(source.facts.endpoint.as_str().into()),
        "device" => Some(source.facts.device.as_str().into()),
        "path" => path.map(|path| path.to_string().into()),
        "object" => path.and_then(Path::object_id).map(Json::from),
        "instance" => path.and_then(Path::instance_id).map(Json::from),
        "resource" => path.and_then(Path::resource_id).map(Json::from),
        "resource_instance" => path.and_then(Path::resource_instance_id).map(Json::from),
        _ => None,
    }
}

/// Percent-encodes what has a meaning in topics.
fn topic_safe(text: &str, keep_levels: bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '/' if keep_levels => safe.push('/'),
            '%' | '/' | '+' | '#' => {
                let _ = write!(safe, "%{:02X}", u32::from(character));
            }
            _ if character.is_control() => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(safe, "%{byte:02X}");
                }
            }
            _ => safe.push(character),
        }
    }
    safe
}
