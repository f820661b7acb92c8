//! Answers for API callers: what the gateway knows, without asking a device.

use serde_json::{Value as Json, json};

use super::bridge_requests::Asker;
use super::core::Core;
use super::devices::device::Device;
use super::devices::observation::{Phase, Target};
use super::dispatch::record::Origin;
use super::object_views::{list_objects, show_object};
use super::services::Services;
use super::vocabulary::{Answer, Query, RequestId};
use crate::model::command::{CommandError, ErrorKind};
use crate::model::time::WallTime;

impl Core {
    /// The answer, or `None` where it follows when it is durable.
    pub(super) fn answer_query(&mut self, request: RequestId, query: Query) -> Option<Answer> {
        Some(match query {
            Query::Devices { search, after, limit } => self.list_devices(&search, after.as_deref(), limit),
            Query::Device { device } => self.about(&device, device_json),
            Query::Values { device } => self.about(&device, |device, _| values_json(device)),
            Query::Unmapped { device } => self.about(&device, |device, _| unmapped_json(device)),
            Query::Refused => {
                let (services, _, _) = self.parts();
                Answer::Body(json!({ "items": refused_json(services, None), "next": null }))
            }
            Query::View { device, view } => self.device_view(&device, &view),
            Query::Objects => Answer::Body(list_objects(&self.services().model)),
            Query::Object { id, version } => {
                let message = || format!("there is no definition of object {id} in version '{version}'");
                let unknown = || Answer::Failed(CommandError::new(ErrorKind::NotFound, message()));
                show_object(&self.services().model, id, &version).map_or_else(unknown, Answer::Body)
            }
            Query::Commands { device, status, after, limit } => {
                self.list_commands(device.as_deref(), status.as_deref(), after.as_deref(), limit)
            }
            Query::CommandOf { id, device } => self.show_command(&id, device.as_deref()),
            Query::CancelCommand { id, device, role } => {
                return self.cancel_by_api(request, &id, device.as_deref(), role).err().map(Answer::Failed);
            }
            Query::PermitJoin { duration } => {
                self.permit_join(duration);
                Answer::Body(json!({ "for_secs": duration.as_secs() }))
            }
            Query::Ready => {
                let gauges = self.gauges();
                let sinks: serde_json::Map<String, Json> = gauges
                    .sinks
                    .iter()
                    .map(|sink| {
                        (sink.name.to_string(), Json::from(if sink.connected { "connected" } else { "disconnected" }))
                    })
                    .collect();
                let store = if gauges.store_broken { "broken" } else { "open" };
                Answer::Body(json!({ "ready": !gauges.store_broken, "store": store, "sinks": sinks }))
            }
            Query::Command { device, body, role } => {
                let origin = Origin { by_api: true, request: Some(request), ..Origin::default() };
                return self.command(&device, &body, false, role, &origin).err().map(Answer::Failed);
            }
            Query::Registrations { endpoint } => self.registrations(endpoint.as_deref()),
            Query::Own { method, path, body, role } => {
                return self.own_endpoint(request, &method, &path, &body, role);
            }
            Query::Bridge { what, body, role } => {
                self.bridge_request(Asker::Api(request), &what, &body, role);
                return None;
            }
            Query::Credentials { search, scope, after, limit } => {
                self.list_credentials(&search, scope, after.as_deref(), limit)
            }
            Query::Credential { scope, endpoint } => self.show_credential(scope, &endpoint),
            Query::PutCredential(wish) => {
                let answer = self.put_credential(*wish);
                return self.answer_when_durable(request, answer);
            }
            Query::PutCredentials { wishes, all_or_nothing, dry_run } => {
                let answer = self.put_credentials(wishes, all_or_nothing, dry_run);
                return self.answer_when_durable(request, Ok(answer));
            }
            Query::RemoveCredential { scope, endpoint } => {
                let answer = self.remove_credential(scope, &endpoint);
                return self.answer_when_durable(request, answer);
            }
            Query::Bootstrap(query) => return self.answer_bootstrap(request, query),
            Query::Model { device } => {
                let (services, devices, _) = self.parts();
                match devices.key_of(&device).and_then(|key| devices.table.get(key)) {
                    Some(device) => {
                        Answer::Model { model: services.model.clone(), facts: Box::new(device.facts.clone()) }
                    }
                    None => Answer::UnknownDevice,
                }
            }
        })
    }

    fn about(&mut self, device: &str, tell: impl Fn(&Device, &Services) -> Json) -> Answer {
        let (services, devices, _) = self.parts();
        match devices.key_of(device).and_then(|key| devices.table.get(key)) {
            Some(device) => Answer::Body(tell(device, services)),
            None => Answer::UnknownDevice,
        }
    }

    fn list_devices(&mut self, search: &str, after: Option<&str>, limit: usize) -> Answer {
        let (services, devices, _) = self.parts();
        let fits = |device: &Device| {
            search.is_empty()
                || device.endpoint.as_str().contains(search)
                || device.name.as_deref().is_some_and(|name| name.contains(search))
        };
        let mut found: Vec<&Device> = devices
            .table
            .iter()
            .map(|(_, device)| device)
            .filter(|device| fits(device) && after.is_none_or(|after| device.endpoint.as_str() > after))
            .collect();
        found.sort_unstable_by(|one, other| one.endpoint.cmp(&other.endpoint));
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|device| device.endpoint.as_str());
        let items: Vec<Json> = found.iter().map(|device| device_json(device, services)).collect();
        Answer::Body(json!({ "items": items, "next": next }))
    }
}

/// Peers that were turned away, the latest first; those of one endpoint alone if one is named.
pub(super) fn refused_json(services: &Services, endpoint: Option<&str>) -> Vec<Json> {
    let peers = services.refused.iter().rev();
    peers
        .filter(|peer| endpoint.is_none_or(|endpoint| peer.endpoint == endpoint))
        .map(|peer| {
            json!({
                "endpoint": peer.endpoint,
                "address": peer.address,
                "reason": peer.reason,
                "count": peer.count,
                "first_at": peer.first.millis(),
                "last_at": peer.last.millis(),
            })
        })
        .collect()
}

/// Says what an observation is of: `path`, or `paths`.
pub(super) fn name_target(about: &mut Json, target: &Target) {
    match target {
        Target::Path(path) => about["path"] = path.to_string().into(),
        Target::Composite(paths) => about["paths"] = json!(paths),
    }
}

/// What the operator set for this device alone.
pub(super) fn own_settings_json(device: &Device) -> Json {
    device.own_settings.as_ref().map_or_else(|| json!({}), |settings| settings.to_json())
}

fn device_json(device: &Device, services: &Services) -> Json {
    let registration = device.registration.as_ref();
    let objects: serde_json::Map<String, Json> = device
        .facts
        .objects
        .iter()
        .map(|(id, object)| {
            let version = device.model(&services.model).object(*id).map(|definition| definition.version);
            let version = object.version.or(version).map(|version| version.to_string());
            (id.to_string(), json!({ "version": version, "instances": object.instances }))
        })
        .collect();
    let observations: Vec<Json> = device
        .observations
        .iter()
        .map(|(target, observation)| {
            let state = match observation.phase {
                Phase::Wanted { .. } => "wanted",
                Phase::Active { .. } => "active",
                Phase::Cancelling { .. } => "cancelling",
                Phase::Refused { .. } => "refused",
            };
            let mut about = json!({ "state": state, "attributes": observation.attributes });
            name_target(&mut about, target);
            about
        })
        .collect();
    json!({
        "endpoint": device.endpoint.as_str(),
        "name": device.name,
        "label": device.label,
        "tags": device.facts.tags,
        "settings": own_settings_json(device),
        "state": device.state.as_str(),
        "reason": device.reason,
        "expected_at": device.disabled_until.map(WallTime::millis),
        "registered_at": registration.map(|registration| registration.registered_at.millis()),
        "last_seen_at": device.last_seen.millis(),
        "lifetime_secs": registration.map(|registration| registration.lifetime.map_or(0, |lifetime| lifetime.as_secs())),
        "expires_at": registration
            .and_then(|registration| registration.expires_at)
            .map(|expires_at| services.clock.at(expires_at).millis()),
        "lwm2m_version": device.facts.lwm2m_version.map(|version| version.to_string()),
        "binding": registration.and_then(|registration| registration.binding.clone()),
        "queue_mode": device.in_queue_mode(),
        "transport": services.configuration.transport(device.peer.listener).as_str(),
        "address": device.peer.remote.to_string(),
        "identity": device.facts.identity,
        "gateway": device.behind.as_ref().map(|behind| behind.gateway.as_str()),
        "prefix": device.behind.as_ref().map(|behind| behind.prefix.as_str()),
        "sms": registration.and_then(|registration| registration.sms.clone()),
        "parameters": registration.map(|registration| registration.parameters.clone()),
        "objects": objects,
        "observations": observations,
        "pending_commands": device.commands.len(),
        "bytes_in": device.bytes_in,
        "bytes_out": device.bytes_out,
        "quirks": device.quirks,
        "last_error": device.last_error,
    })
}

fn values_json(device: &Device) -> Json {
    let values: serde_json::Map<String, Json> = device
        .keys
        .iter()
        .map(|(key, state)| {
            let mut about = json!({ "value": state.value, "ts": state.ts.millis() });
            if let Some(path) = state.path {
                about["path"] = path.to_string().into();
            }
            if let Some(unit) = &state.unit {
                about["unit"] = (**unit).into();
            }
            (key.clone(), about)
        })
        .collect();
    Json::Object(values)
}

fn unmapped_json(device: &Device) -> Json {
    let items: Vec<Json> = device
        .unmapped
        .iter()
        .map(|(path, unmapped)| {
            json!({
                "path": path.to_string(),
                "value": unmapped.value,
                "ts": unmapped.ts.millis(),
                "count": unmapped.count,
                "failures": unmapped.failures,
            })
        })
        .collect();
    json!({ "items": items, "next": null })
}
