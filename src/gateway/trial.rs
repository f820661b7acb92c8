//! What a change of mappings or object definitions would do to the observations, without doing it.
//!
//! Each registered device is asked what the tried plan wishes of it, as [`Devices::select_mapping`] does when a plan
//! comes into force; the difference from its observations of now is told by path. Observations that commands made stay
//! out of it, since no mapping ends them.
//!
//! [`Devices::select_mapping`]: super::devices::Devices::select_mapping

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::devices::Devices;
use super::devices::device::Device;
use super::devices::grouping::{self, Group};
use super::devices::observation::Target;
use super::queries::name_target;
use super::vocabulary::Trial;
use crate::model::object::DeviceModel;

/// Devices told one by one; all of them are counted.
pub const MAX_TRIAL_DEVICES: usize = 100;

/// Paths told of one device and kind of change; all of them are counted.
pub const MAX_TRIAL_PATHS: usize = 50;

/// How the observations of one device would change.
#[derive(Debug, Default)]
struct Difference {
    made: Vec<Json>,
    ended: Vec<Json>,
    changed: Vec<Json>,
}

impl Difference {
    fn is_empty(&self) -> bool {
        self.made.is_empty() && self.ended.is_empty() && self.changed.is_empty()
    }
}

/// The field `observations` of the answer to a dry run: counts over all devices, and the first
/// [`MAX_TRIAL_DEVICES`] devices by endpoint with their paths.
pub fn observation_changes(devices: &Devices, trial: &Trial, max_observations: usize) -> Json {
    let mut registered: Vec<&Device> =
        devices.table.iter().map(|(_, device)| device).filter(|device| device.registration.is_some()).collect();
    registered.sort_unstable_by(|one, other| one.endpoint.cmp(&other.endpoint));
    let (mut made, mut ended, mut changed, mut affected) = (0, 0, 0, 0);
    let mut told = Vec::new();
    for device in registered {
        let difference = difference(device, trial, max_observations);
        if difference.is_empty() {
            continue;
        }
        affected += 1;
        made += difference.made.len();
        ended += difference.ended.len();
        changed += difference.changed.len();
        if told.len() < MAX_TRIAL_DEVICES {
            told.push(json!({
                "endpoint": device.endpoint.as_str(),
                "name": device.name,
                "made": bounded(difference.made),
                "ended": bounded(difference.ended),
                "changed": bounded(difference.changed),
            }));
        }
    }
    json!({
        "made": made,
        "ended": ended,
        "changed": changed,
        "devices_affected": affected,
        "devices_left_out": affected - told.len(),
        "devices": told,
    })
}

fn bounded(mut paths: Vec<Json>) -> Json {
    let left_out = paths.len().saturating_sub(MAX_TRIAL_PATHS);
    paths.truncate(MAX_TRIAL_PATHS);
    if left_out > 0 {
        paths.push(json!({ "left_out": left_out }));
    }
    paths.into()
}

fn difference(device: &Device, trial: &Trial, max_observations: usize) -> Difference {
    let selection = trial.plan.select(&device.facts);
    let model =
        DeviceModel { model: &trial.model, objects: &device.facts.objects, enabler: device.facts.lwm2m_version };
    let wishes = trial.plan.wishes(&selection, &device.facts, &model).observations;
    let mut wanted: BTreeMap<Target, Group> = BTreeMap::new();
    // As when a plan comes into force: what exists counts first, new ones find room or not.
    let mut existing = device.observations.len();
    for group in grouping::group(wishes, device.takes_composite()) {
        let known = device.observations.contains_key(&group.target);
        if known || existing < max_observations {
            existing += usize::from(!known);
            wanted.insert(group.target.clone(), group);
        }
    }
    let mut difference = Difference::default();
    for (target, group) in &wanted {
        let mut about = json!({ "attributes": group.attributes });
        name_target(&mut about, target);
        match device.observations.get(target) {
            Some(observation) if observation.by_mapping && observation.attributes != group.attributes => {
                about["now"] = json!(observation.attributes);
                difference.changed.push(about);
            }
            Some(observation) if observation.by_mapping => {}
            _ => difference.made.push(about),
        }
    }
    for (target, observation) in &device.observations {
        if observation.by_mapping && !wanted.contains_key(target) {
            let mut about = json!({ "kept_by_command": observation.by_command });
            name_target(&mut about, target);
            difference.ended.push(about);
        }
    }
    difference
}
