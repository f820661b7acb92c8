//! `[[example]]`: what a file promises, run against the plan.
//!
//! An example runs with all files of the plan. Facts of the device that it does not state are taken as fitting its own
//! file, and as unknown to the others. `expect = {}` means that nothing leaves; else only the kinds that are named are
//! compared, each exactly.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::matching::Unknown;
use super::plan::{Plan, Selection};
use super::problem::{Problem, Severity};
use super::uplink::KeyKind;
use crate::model::report::{DeviceFacts, Sample};

/// A compiled example.
#[derive(Clone, Debug)]
pub(super) struct Example {
    pub(super) file: usize,
    pub(super) line: usize,
    pub(super) facts: DeviceFacts,
    pub(super) samples: Vec<Sample>,
    pub(super) telemetry: Option<BTreeMap<String, Json>>,
    pub(super) attributes: Option<BTreeMap<String, Json>>,
    pub(super) messages: Option<Vec<ExpectedMessage>>,
}

/// A message that an example promises.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedMessage {
    /// Its topic.
    pub topic: String,
    /// Its body as JSON; `None`: any.
    pub payload: Option<serde_json::Value>,
}

/// An example about messages, which only the layers that know layouts can check.
#[derive(Clone, Debug)]
pub struct ExampleMessages {
    /// The file that it stands in.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// The device.
    pub facts: DeviceFacts,
    /// The files that apply to the device.
    pub selection: Selection,
    /// What the device reports, in order.
    pub samples: Vec<Sample>,
    /// What leaves for a reference sink, exactly.
    pub messages: Vec<ExpectedMessage>,
}

impl Plan {
    /// Runs the examples of all files as far as telemetry and attributes go; a problem for each that fails.
    #[must_use]
    pub fn run_examples(&self) -> Vec<Problem> {
        self.examples.iter().flat_map(|example| self.run(example)).collect()
    }

    /// The examples that promise messages.
    #[must_use]
    pub fn example_messages(&self) -> Vec<ExampleMessages> {
        self.examples
            .iter()
            .filter_map(|example| {
                Some(ExampleMessages {
                    file: self.files.get(example.file)?.name.clone(),
                    line: example.line,
                    facts: example.facts.clone(),
                    selection: self.selection_of(example).ok()?,
                    samples: example.samples.clone(),
                    messages: example.messages.clone()?,
                })
            })
            .collect()
    }

    fn selection_of(&self, example: &Example) -> Result<Selection, String> {
        let mut selection = self.select(&example.facts);
        let file = self.files.get(example.file).ok_or_else(String::new)?;
        if let Some(why) = file.devices.mismatch(&example.facts, Unknown::Fits) {
            return Err(why);
        }
        selection.add(example.file);
        Ok(selection)
    }

    fn run(&self, example: &Example) -> Vec<Problem> {
        let file = self.files.get(example.file).map_or("", |file| file.name.as_str());
        let problem = |message: String, hint: &str| Problem {
            severity: Severity::Error,
            file: file.to_owned(),
            line: Some(example.line),
            message,
            hint: hint.to_owned(),
        };
        let selection = match self.selection_of(example) {
            Ok(selection) => selection,
            Err(why) => {
                let message = format!("example: its device does not fit [match] of the file: {why}");
                return vec![problem(message, "change the example or [match]")];
            }
        };
        let mut found = [BTreeMap::new(), BTreeMap::new()];
        let mut failures = Vec::new();
        for sample in &example.samples {
            let uplink = self.uplink(&selection, &example.facts, sample);
            failures.extend(uplink.failures);
            for value in uplink.values {
                let [telemetry, attributes] = &mut found;
                let map = if value.kind == KeyKind::Telemetry { telemetry } else { attributes };
                map.insert(value.key, value.value);
            }
        }
        let nothing = example.telemetry.is_none() && example.attributes.is_none() && example.messages.is_none();
        let empty = BTreeMap::new();
        let hint = failures.first().map_or("`lwm2mqtt explain` tells which rule took it", String::as_str);
        let mut problems = Vec::new();
        let [telemetry, attributes] = &found;
        for (kind, expected, found) in
            [("telemetry", &example.telemetry, telemetry), ("attributes", &example.attributes, attributes)]
        {
            let Some(expected) = expected.as_ref().or(nothing.then_some(&empty)) else { continue };
            if !same(expected, found) {
                problems.push(problem(
                    format!("example: expected {kind} {}, found {}", shown(expected), shown(found)),
                    hint,
                ));
            }
        }
        problems
    }
}

fn shown(values: &BTreeMap<String, Json>) -> String {
    serde_json::to_string(values).unwrap_or_default()
}

fn same(expected: &BTreeMap<String, Json>, found: &BTreeMap<String, Json>) -> bool {
    expected.len() == found.len()
        && expected.iter().zip(found).all(|((key, value), (other, found))| key == other && equal(value, found))
}

/// Equality of JSON where 5 and 5.0 are one number. Depth is that of what was parsed within bounds.
fn equal(expected: &Json, found: &Json) -> bool {
    match (expected, found) {
        (Json::Number(expected), Json::Number(found)) => expected == found || expected.as_f64() == found.as_f64(),
        (Json::Array(expected), Json::Array(found)) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(expected, found)| equal(expected, found))
        }
        (Json::Object(expected), Json::Object(found)) => {
            expected.len() == found.len()
                && expected.iter().all(|(key, value)| found.get(key).is_some_and(|found| equal(value, found)))
        }
        _ => expected == found,
    }
}
