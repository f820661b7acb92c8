//! Compiled `[[telemetry]]`, `[[attribute]]` and `[[ignore]]` rules.

use std::sync::Arc;

use super::pattern::PathPattern;
use super::payload::{Conversion, Decode};
use super::plan::ObserveStrategy;
use super::template::KeyTemplate;
use super::uplink::{KeyKind, ReportPolicy};
use super::wishes::ReadWhen;
use crate::model::attributes::NotificationAttributes;

/// A rule and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// Position of its file in the plan.
    pub(super) file: usize,
    /// Its line, from 1.
    pub(super) line: usize,
    pub(super) pattern: PathPattern,
    pub(super) action: Action,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Ends both searches.
    Ignore,
    /// Makes values.
    Value(Box<ValueRule>),
}

/// A telemetry or attribute rule.
#[derive(Clone, Debug)]
pub(super) struct ValueRule {
    pub(super) kind: KeyKind,
    pub(super) keys: Keys,
    pub(super) decode: Option<Decode>,
    pub(super) conversion: Conversion,
    pub(super) unit: Option<Arc<str>>,
    /// `None`: no observation.
    pub(super) observe: Option<NotificationAttributes>,
    /// How it is observed, for devices that know composite operations.
    pub(super) strategy: ObserveStrategy,
    pub(super) read: Option<ReadWhen>,
    pub(super) report: ReportPolicy,
    pub(super) sinks: Option<Arc<[String]>>,
    pub(super) also: bool,
}

/// The keys of a rule.
#[derive(Clone, Debug)]
pub(super) enum Keys {
    /// One key for the whole value.
    Single(KeyTemplate),
    /// A key for each JSON pointer.
    Extract(Vec<(KeyTemplate, String)>),
}

impl Keys {
    /// All templates.
    pub(super) fn templates(&self) -> impl Iterator<Item = &KeyTemplate> {
        let (single, extract) = match self {
            Self::Single(template) => (Some(template), None),
            Self::Extract(keys) => (None, Some(keys)),
        };
        single.into_iter().chain(extract.into_iter().flatten().map(|(template, _)| template))
    }
}

impl Rule {
    /// The value rule, if it is one.
    pub(super) fn value(&self) -> Option<&ValueRule> {
        match &self.action {
            Action::Ignore => None,
            Action::Value(value) => Some(value),
        }
    }

    /// As its section is written.
    pub(super) fn section(&self) -> &'static str {
        match self.value().map(|value| value.kind) {
            None => "[[ignore]]",
            Some(KeyKind::Telemetry) => "[[telemetry]]",
            Some(KeyKind::Attribute) => "[[attribute]]",
        }
    }
}
