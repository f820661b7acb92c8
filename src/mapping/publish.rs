//! `[[publish]]`: messages on topics of the mapping's own.

use std::collections::BTreeMap;

use super::plan::{Plan, Selection};
use crate::model::message::QualityOfService;
use crate::model::path::Path;
use crate::model::report::DeviceFacts;

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

impl Plan {
    /// Whether any file has a `[[publish]]` rule: without one nothing needs to be gathered for them.
    #[must_use]
    pub fn has_publish_rules(&self) -> bool {
        false
    }

    /// The messages of all `[[publish]]` rules that fit.
    #[must_use]
    pub fn publish(&self, selection: &Selection, source: &PublishSource<'_>) -> Vec<OwnMessage> {
        let _ = (selection, source);
        Vec::new()
    }
}
