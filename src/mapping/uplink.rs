//! From a sample to values under their keys.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use super::plan::{Plan, Selection};
use super::rule::{Keys, Rule, ValueRule};
use super::template::{Field, KeyTemplate};
use crate::model::path::Path;
use crate::model::report::{DeviceFacts, Sample};
use crate::model::time::WallTime;

/// Telemetry or attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// A time series.
    Telemetry,
    /// A property: retained, sent when changed.
    Attribute,
}

/// When a mapped value leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportPolicy {
    /// Always; what telemetry does unless told otherwise.
    #[default]
    OnReceive,
    /// When it differs from the one before; what attributes do unless told otherwise.
    OnChange,
    /// The latest one, periodically.
    Every(Duration),
    /// When it differs, and periodically.
    OnChangeOrEvery(Duration),
}

impl ReportPolicy {
    /// Whether a value leaves when it comes. `changed`: it differs from the one that left last. `in_period`: a period
    /// has begun with an earlier value and is not over.
    #[must_use]
    pub const fn leaves(self, changed: bool, in_period: bool) -> bool {
        match self {
            Self::OnReceive => true,
            Self::OnChange | Self::OnChangeOrEvery(_) => changed,
            Self::Every(_) => !in_period,
        }
    }
}

/// One value under its key.
#[derive(Clone, Debug, PartialEq)]
pub struct MappedValue {
    /// Telemetry or attribute.
    pub kind: KeyKind,
    /// The key, placeholders filled in.
    pub key: String,
    /// The value after decode, scale, names and the like.
    pub value: serde_json::Value,
    /// The sample's own time; `None` means "now".
    pub ts: Option<WallTime>,
    /// The path it came from.
    pub path: Path,
    /// The unit of the result.
    pub unit: Option<Arc<str>>,
    /// When it leaves.
    pub report: ReportPolicy,
    /// The sinks it goes to; `None`: all.
    pub sinks: Option<Arc<[String]>>,
}

/// What the plan makes of a sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Uplink {
    /// The values that leave.
    pub values: Vec<MappedValue>,
    /// Whether an `[[ignore]]` rule took it.
    pub ignored: bool,
    /// Rules that fitted and could not use the value, in words for the operator.
    pub failures: Vec<String>,
}

impl Plan {
    /// What becomes of a sample.
    ///
    /// `ignored` is set only when no rule took the sample before the ignore rule. All fields empty means that the
    /// sample is unmapped.
    #[must_use]
    pub fn uplink(&self, selection: &Selection, facts: &DeviceFacts, sample: &Sample) -> Uplink {
        let takers = self.takers(selection, facts, &sample.path);
        let mut uplink =
            Uplink { ignored: takers.ignored_by.is_some() && takers.rules.is_empty(), ..Uplink::default() };
        for (_, rule, value) in takers.rules {
            if let Err(problem) = map(rule, value, facts, sample, &mut uplink.values) {
                let file = self.files.get(rule.file).map_or("", |file| file.name.as_str());
                uplink.failures.push(format!("{file}:{}: {} {}: {problem}", rule.line, rule.section(), sample.path));
            }
        }
        uplink
    }
}

/// Makes the values of one rule.
///
/// # Errors
/// In words, if the value cannot be used; values of other pointers of the same rule stay.
pub(super) fn map(
    rule: &Rule,
    value: &ValueRule,
    facts: &DeviceFacts,
    sample: &Sample,
    values: &mut Vec<MappedValue>,
) -> Result<(), String> {
    let decoded = match &value.decode {
        Some(decode) => decode.decode(&sample.value)?,
        None => sample.value.to_json().ok_or("the number is not finite")?,
    };
    let mut push = |template: &KeyTemplate, json: Json| {
        values.push(MappedValue {
            kind: value.kind,
            key: template.fill(&sample.path, facts, suffix(rule, template, &sample.path)),
            value: value.conversion.apply(json)?,
            ts: sample.ts,
            path: sample.path,
            unit: value.unit.clone(),
            report: value.report,
            sinks: value.sinks.clone(),
        });
        Ok::<(), String>(())
    };
    match &value.keys {
        Keys::Single(template) => push(template, decoded),
        Keys::Extract(keys) => {
            let mut problems = Vec::new();
            let mut found = false;
            for (template, pointer) in keys {
                // A payload need not have every part each time.
                let Some(part) = decoded.pointer(pointer) else { continue };
                found = true;
                if let Err(problem) = push(template, part.clone()) {
                    problems.push(format!("{pointer}: {problem}"));
                }
            }
            if !found {
                let pointers: Vec<&str> = keys.iter().map(|(_, pointer)| pointer.as_str()).collect();
                problems.push(format!("the value has none of {}", pointers.join(", ")));
            }
            if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
        }
    }
}

/// The resource instance that a key must carry so that instances do not overwrite one another: when the pattern
/// leaves the instance open and the key does not name it.
pub(super) fn suffix(rule: &Rule, template: &KeyTemplate, path: &Path) -> Option<u16> {
    let open = rule.pattern.resource_instance().is_none_or(|segment| segment.id().is_none());
    path.resource_instance_id().filter(|_| open && !template.has(Field::ResourceInstance))
}
