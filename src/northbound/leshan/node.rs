//! Nodes: the tree of objects, instances, resources and resource instances in Leshan's JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::value::{type_name, written, written_value};
use crate::model::object::{DeviceModel, ResourceTypes};
use crate::model::path::Path;
use crate::model::report::Sample;
use crate::model::value::ResourceType;

/// Values by the path of their resource or resource instance, in Leshan's form.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Leaves {
    leaves: BTreeMap<Path, (ResourceType, Json)>,
}

impl Leaves {
    /// The values of a result: `value` for `asked`, else `values`.
    pub(super) fn of_answer(asked: Option<Path>, answer: &Map<String, Json>, types: &DeviceModel<'_>) -> Self {
        let mut leaves = Self::default();
        if let (Some(path), Some(value)) = (asked, answer.get("value")) {
            leaves.insert(path, value, types);
        }
        for (path, value) in answer.get("values").and_then(Json::as_object).into_iter().flatten() {
            if let Ok(path) = path.parse() {
                leaves.insert(path, value, types);
            }
        }
        leaves
    }

    /// The newest sample of each path.
    pub(super) fn of_samples(samples: &[Sample]) -> Self {
        let mut newest: BTreeMap<Path, &Sample> = BTreeMap::new();
        for sample in samples {
            let known = newest.entry(sample.path).or_insert(sample);
            // Without a time it is of now.
            let replaces = match (sample.ts, known.ts) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(ts), Some(known)) => ts >= known,
            };
            if replaces {
                *known = sample;
            }
        }
        Self { leaves: newest.into_iter().map(|(path, sample)| (path, written_value(&sample.value))).collect() }
    }

    fn insert(&mut self, path: Path, value: &Json, types: &DeviceModel<'_>) {
        let wanted = types.shape(&path).and_then(|shape| shape.resource_type);
        match value {
            // A multiple-instance resource.
            Json::Object(instances) if path.depth() == 3 => {
                for (instance, value) in instances {
                    let child = instance.parse().ok().and_then(|id| path.child(id));
                    if let Some(child) = child {
                        self.leaves.insert(child, written(value, wanted));
                    }
                }
            }
            value => drop(self.leaves.insert(path, written(value, wanted))),
        }
    }

    /// Paths and their nodes, each value by itself.
    pub(super) fn by_path(&self) -> Map<String, Json> {
        self.leaves.keys().filter_map(|path| Some((path.to_string(), self.node(path)?))).collect()
    }

    /// The node at a path; `None` if there is nothing at or below it.
    pub(super) fn node(&self, path: &Path) -> Option<Json> {
        let below: Vec<(&Path, &(ResourceType, Json))> =
            self.leaves.range(*path..).take_while(|(leaf, _)| path.contains(leaf)).collect();
        let first = below.first()?;
        let id = path.ids().last();
        let children = || -> Vec<Json> {
            let mut children: Vec<Path> =
                below.iter().filter_map(|(leaf, _)| leaf.truncated(path.depth() + 1)).collect();
            children.dedup();
            children.iter().filter_map(|child| self.node(child)).collect()
        };
        Some(match path.depth() {
            0 => json!({ "kind": "root", "objects": children() }),
            1 => json!({ "kind": "obj", "id": id, "instances": children() }),
            2 => json!({ "kind": "instance", "id": id, "resources": children() }),
            3 => {
                if let Some((resource_type, value)) = self.leaves.get(path) {
                    json!({ "kind": "singleResource", "id": id, "type": type_name(*resource_type), "value": value })
                } else {
                    let values: Map<String, Json> = below
                        .iter()
                        .filter_map(|(leaf, (_, value))| {
                            Some((leaf.resource_instance_id()?.to_string(), value.clone()))
                        })
                        .collect();
                    let resource_type = type_name(first.1.0);
                    json!({ "kind": "multiResource", "id": id, "type": resource_type, "values": values })
                }
            }
            _ => {
                let (resource_type, value) = first.1;
                json!({ "kind": "resourceInstance", "id": id, "type": type_name(*resource_type), "value": value })
            }
        })
    }
}

/// The node of an answer to a read of one path. What the device answered without any value is an empty node.
pub(super) fn node_of_answer(path: Path, answer: &Map<String, Json>, types: &DeviceModel<'_>) -> Option<Json> {
    if let Some(node) = Leaves::of_answer(Some(path), answer, types).node(&path) {
        return Some(node);
    }
    let id = path.ids().last();
    let resource_type = types.shape(&path).and_then(|shape| shape.resource_type).unwrap_or(ResourceType::String);
    match path.depth() {
        1 => Some(json!({ "kind": "obj", "id": id, "instances": [] })),
        2 => Some(json!({ "kind": "instance", "id": id, "resources": [] })),
        3 => Some(json!({ "kind": "multiResource", "id": id, "type": type_name(resource_type), "values": {} })),
        _ => None,
    }
}
