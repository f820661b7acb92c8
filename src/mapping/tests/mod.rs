//! Tests of the plan as a whole: files in, answers out.

mod bounds;
mod default_mapping;
mod documented;
mod downlink;
mod examples;
mod explain;
mod http;
mod invalid;
mod publish;
mod schema;
mod uplink;
mod wishes;

use super::{MappingFile, Plan, Problem, Selection};
use crate::model::object::{DeviceModel, ObjectModel};
use crate::model::report::{DeviceFacts, RegisteredObject, Sample};
use crate::model::value::Value;
use crate::model::version::Version;

/// A plan of one file, which must have no errors, with its problems.
pub(super) fn plan_with_problems(text: &str, default_mapping: bool) -> (Plan, Vec<Problem>) {
    let file = MappingFile { name: "test.toml".to_owned(), text: format!("version = 1\n{text}") };
    let compiled = Plan::compile(&[file], &ObjectModel::built_in(), default_mapping);
    (compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.problems)), compiled.problems)
}

/// A plan of one file without the default mapping; warnings do not matter.
pub(super) fn plan(text: &str) -> Plan {
    plan_with_problems(text, false).0
}

/// A device of LwM2M 1.1 with these objects and instances.
pub(super) fn device(objects: &[(u16, &[u16])]) -> DeviceFacts {
    DeviceFacts {
        endpoint: "weather-1".to_owned(),
        device: "roof".to_owned(),
        objects: objects
            .iter()
            .map(|(id, instances)| (*id, RegisteredObject { version: None, instances: instances.to_vec() }))
            .collect(),
        lwm2m_version: Some(Version::V1_1),
        ..DeviceFacts::default()
    }
}

pub(super) fn sample(path: &str, value: Value) -> Sample {
    Sample { path: path.parse().unwrap(), value, ts: None }
}

/// A plan with a device for it.
pub(super) struct Bench {
    pub(super) plan: Plan,
    pub(super) facts: DeviceFacts,
    pub(super) selection: Selection,
    pub(super) model: ObjectModel,
}

impl Bench {
    pub(super) fn new(plan: Plan, facts: DeviceFacts) -> Self {
        let selection = plan.select(&facts);
        Self { plan, facts, selection, model: ObjectModel::built_in() }
    }

    /// Keys and values of a sample, and whether it was ignored.
    pub(super) fn uplink(&self, path: &str, value: Value) -> super::Uplink {
        self.plan.uplink(&self.selection, &self.facts, &sample(path, value))
    }

    /// `key=value` of a sample.
    pub(super) fn keys(&self, path: &str, value: Value) -> Vec<String> {
        self.uplink(path, value).values.iter().map(|value| format!("{}={}", value.key, value.value)).collect()
    }

    pub(super) fn device_model(&self) -> DeviceModel<'_> {
        DeviceModel { model: &self.model, objects: &self.facts.objects, enabler: self.facts.lwm2m_version }
    }

    pub(super) fn wishes(&self) -> super::Wishes {
        self.plan.wishes(&self.selection, &self.facts, &self.device_model())
    }

    /// The observed paths.
    pub(super) fn observed(&self) -> Vec<String> {
        self.wishes().observations.iter().map(|wish| wish.path.to_string()).collect()
    }
}
