//! Own HTTP endpoints of the mapping (`[[http]]`): a request becomes the command that anybody could have sent.
//!
//! ```text
//!  method, path, body ─plan─▶ device and resource ─▶ command JSON ─▶ the way of every command
//!                                   └─ cached, and young enough ─▶ the last known value
//! ```

use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::configuration::Role;
use super::core::Core;
use super::devices::Devices;
use super::devices::device::LastValue;
use super::dispatch::record::Origin;
use super::inbound::demand;
use super::services::Services;
use super::vocabulary::{Answer, RequestId};
use crate::instrumentation::occurrence::Occurrence;
use crate::mapping::{OwnEndpoint, OwnOperation, OwnRequest, OwnRole};
use crate::model::command::{CommandError, ErrorKind};
use crate::model::path::Path;
use crate::model::report::Sample;

/// Texts and opaque values (in base64) that are longer are not kept as last values.
const MAX_LAST_VALUE_BYTES: usize = 16 << 10;

impl Core {
    /// The answer, or `None` where it follows when it is durable.
    pub(super) fn own_endpoint(
        &mut self,
        request: RequestId,
        method: &str,
        path: &str,
        body: &Json,
        role: Role,
    ) -> Option<Answer> {
        let (services, _, _) = self.parts();
        let asked = match services.plan.own_endpoint(method, path) {
            OwnEndpoint::Unknown => return Some(Answer::NoEndpoint { allowed: Vec::new() }),
            OwnEndpoint::OtherMethod(allowed) => return Some(Answer::NoEndpoint { allowed }),
            OwnEndpoint::Found(asked) => asked,
        };
        self.own_request(request, &asked, body, role).unwrap_or_else(|error| Some(Answer::Failed(error)))
    }

    fn own_request(
        &mut self,
        request: RequestId,
        asked: &OwnRequest,
        body: &Json,
        role: Role,
    ) -> Result<Option<Answer>, CommandError> {
        let least = match asked.role {
            OwnRole::Viewer => Role::Viewer,
            OwnRole::Operator => Role::Operator,
            OwnRole::Admin => Role::Admin,
        };
        demand(role, least)?;
        let key = self.key_of(&asked.device)?;
        let (services, devices, _) = self.parts();
        let device =
            devices.table.get_mut(key).filter(|device| services.plan.serves(asked, &device.selection, &device.facts));
        let Some(device) = device else {
            let message = format!("the mapping of this endpoint is not for the device '{}'", asked.device);
            return Err(CommandError::new(ErrorKind::UnknownDevice, message));
        };
        if let Some(within) = asked.cached
            && let Some(value) = cached(&device.last_values, &asked.path, within, services)
        {
            return Ok(Some(Answer::Body(value)));
        }
        let command = command_of(asked, body)?;
        if asked.operation == OwnOperation::Write {
            // Whoever writes and asks again wants to see the new value.
            device.last_values.retain(|path, _| !asked.path.contains(path));
        }
        let origin = Origin { by_api: true, request: Some(request), ..Origin::default() };
        // Its own role decided; commands by other ways need an operator even to read.
        self.command(&asked.device, &command, false, role.max(Role::Operator), &origin)?;
        Ok(None)
    }
}

/// The last value of a resource, or of its instances by number, if all of it is younger than `within`.
fn cached(
    last_values: &std::collections::BTreeMap<Path, LastValue>,
    path: &Path,
    within: Duration,
    services: &Services,
) -> Option<Json> {
    let age = |last: &LastValue| last.age.saturating_add(services.now.saturating_since(last.heard_at));
    let found: Vec<(&Path, &LastValue)> =
        last_values.range(*path..).take_while(|(below, _)| path.contains(below)).collect();
    let oldest = found.iter().map(|(_, last)| age(last)).max().filter(|oldest| *oldest < within)?;
    let ts = found.iter().map(|(_, last)| last.ts).min()?;
    let value = match found.as_slice() {
        [(below, last)] if *below == path => last.value.clone(),
        instances => instances
            .iter()
            .filter_map(|(below, last)| Some((below.resource_instance_id()?.to_string(), last.value.clone())))
            .collect::<Map<String, Json>>()
            .into(),
    };
    let age_ms = u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX);
    Some(json!({ "path": path, "value": value, "ts": ts.millis(), "age_ms": age_ms }))
}

/// The command that a request means, in the shape that all interfaces share.
fn command_of(asked: &OwnRequest, body: &Json) -> Result<Json, CommandError> {
    let (operation, fields): (_, &[&str]) = match asked.operation {
        OwnOperation::Read => ("read", &[]),
        OwnOperation::Write => ("write", &["value", "values"]),
        OwnOperation::Execute => ("execute", &["arguments"]),
    };
    let empty = Map::new();
    let body = match body {
        // A read has no use for a body, and some clients send one all the same.
        _ if asked.operation == OwnOperation::Read => &empty,
        Json::Null => &empty,
        Json::Object(body) => body,
        _ => return Err(CommandError::new(ErrorKind::Invalid, "the body is no JSON object")),
    };
    if let Some(unknown) = body.keys().find(|key| !fields.contains(&key.as_str())) {
        let shown: String = unknown.chars().take(40).collect();
        let message = format!("{shown} is no field of this endpoint; it takes {}", fields.join(" or "));
        return Err(CommandError::new(ErrorKind::Invalid, message));
    }
    let mut command = body.clone();
    command.insert("operation".to_owned(), operation.into());
    command.insert("path".to_owned(), asked.path.to_string().into());
    Ok(Json::Object(command))
}

impl Devices {
    /// Keeps what a device said for endpoints that answer with it; an older value replaces no newer one.
    pub(super) fn keep_last_value(&mut self, services: &mut Services, key: usize, sample: &Sample) {
        let (Some(value), Some(device)) = (sample.value.to_json(), self.table.get_mut(key)) else { return };
        if value.as_str().is_some_and(|text| text.len() > MAX_LAST_VALUE_BYTES) {
            // What was known before is not what the device has now.
            device.last_values.remove(&sample.path);
            return;
        }
        let wall = services.wall();
        let ts = sample.ts.unwrap_or(wall);
        let age = u64::try_from(wall.millis().saturating_sub(ts.millis())).unwrap_or_default();
        let last = LastValue { value, ts, heard_at: services.now, age: Duration::from_millis(age) };
        let full = device.last_values.len() >= services.configuration.limits.max_last_values_per_device;
        match device.last_values.get_mut(&sample.path) {
            Some(known) if known.ts > ts => {}
            Some(known) => *known = last,
            None if full => services.count(Occurrence::BoundReached("max_last_values_per_device")),
            None => drop(device.last_values.insert(sample.path, last)),
        }
    }
}
