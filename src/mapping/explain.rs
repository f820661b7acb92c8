//! Why a path becomes what it becomes: the rules in the order of search, each with its verdict.

use std::fmt;

use super::matching::Unknown;
use super::plan::{Plan, Selection};
use super::rule::{Action, Rule};
use super::uplink::{KeyKind, map, suffix};
use crate::model::path::Path;
use crate::model::report::{DeviceFacts, Sample};
use crate::model::value::Value;

/// What became of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The device is not one of the file's; says why.
    OtherDevice(String),
    /// The pattern does not fit the path.
    OtherPath,
    /// The pattern asks for another version of the object.
    OtherVersion,
    /// A rule before it took the path, or ended the search.
    TooLate,
    /// It takes the path: `key`, or `key = value` where a value was given.
    Takes(Vec<String>),
    /// It takes the path and cannot use the value; says why.
    Fails(String),
    /// It ends the search.
    Ignores,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherDevice(why) => write!(f, "is not for this device: {why}"),
            Self::OtherPath => f.write_str("does not fit the path"),
            Self::OtherVersion => f.write_str("asks for another version of the object"),
            Self::TooLate => f.write_str("comes after the rule that won"),
            Self::Takes(keys) => write!(f, "takes it: {}", keys.join(", ")),
            Self::Fails(why) => write!(f, "takes it and cannot use the value: {why}"),
            Self::Ignores => f.write_str("ignores it"),
        }
    }
}

/// One rule that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainStep {
    /// The file of the rule.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// Its section and pattern, such as `[[telemetry]] /3303/*/5700`.
    pub rule: String,
    /// What became of it.
    pub verdict: Verdict,
}

impl fmt::Display for ExplainStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} {}", self.file, self.line, self.rule, self.verdict)
    }
}

impl Plan {
    /// The rules for the object of a path in the order of search, with what became of each. Without a value, keys are
    /// told and nothing is decoded; the keys of `extract` are then all that could come.
    #[must_use]
    pub fn explain(
        &self,
        selection: &Selection,
        facts: &DeviceFacts,
        path: &Path,
        value: Option<&Value>,
    ) -> Vec<ExplainStep> {
        let takers = self.takers(selection, facts, path);
        let mut steps = Vec::new();
        for (position, rule) in self.rules.iter().enumerate() {
            if rule.pattern.object().id().is_some_and(|object| Some(object) != path.object_id()) {
                continue;
            }
            let Some(file) = self.files.get(rule.file) else { continue };
            let verdict = if !selection.has(rule.file) {
                let why = file.devices.mismatch(facts, Unknown::DoesNotFit);
                Verdict::OtherDevice(why.unwrap_or_else(|| "the file was not selected".to_owned()))
            } else if !rule.pattern.fits(path) {
                Verdict::OtherPath
            } else if !rule.pattern.fits_version(facts) {
                Verdict::OtherVersion
            } else if takers.rules.iter().any(|(taker, ..)| *taker == position) {
                taken(rule, facts, path, value)
            } else if matches!(rule.action, Action::Ignore) && takers.ignored_by == Some(position) {
                Verdict::Ignores
            } else {
                Verdict::TooLate
            };
            let rule_text = format!("{} {}", rule.section(), rule.pattern);
            steps.push(ExplainStep { file: file.name.clone(), line: rule.line, rule: rule_text, verdict });
        }
        steps
    }

    /// The keys that a path has, with their kind, placeholders filled in, in rule order.
    #[must_use]
    pub fn keys_of_path(&self, selection: &Selection, facts: &DeviceFacts, path: &Path) -> Vec<(KeyKind, String)> {
        let takers = self.takers(selection, facts, path);
        let keys = |(_, rule, value): &(usize, &Rule, &super::rule::ValueRule)| {
            let fill =
                |template: &super::template::KeyTemplate| template.fill(path, facts, suffix(rule, template, path));
            value.keys.templates().map(|template| (value.kind, fill(template))).collect::<Vec<_>>()
        };
        takers.rules.iter().flat_map(keys).collect()
    }
}

fn taken(rule: &Rule, facts: &DeviceFacts, path: &Path, value: Option<&Value>) -> Verdict {
    let Some(action) = rule.value() else { return Verdict::TooLate };
    let Some(value) = value else {
        let templates = action.keys.templates();
        return Verdict::Takes(
            templates.map(|template| template.fill(path, facts, suffix(rule, template, path))).collect(),
        );
    };
    let sample = Sample { path: *path, value: value.clone(), ts: None };
    let mut values = Vec::new();
    match map(rule, action, facts, &sample, &mut values) {
        Ok(()) => Verdict::Takes(values.into_iter().map(|value| format!("{} = {}", value.key, value.value)).collect()),
        Err(problem) => Verdict::Fails(problem),
    }
}
