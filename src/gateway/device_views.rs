//! What the gateway knows of one device beyond its record: what is wanted of it, what it said, and why it is not up.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::core::Core;
use super::devices::device::{Device, LastValue, State};
use super::devices::observation::{Observation, Phase};
use super::dispatch::results::Results;
use super::queries::{name_target, refused_json};
use super::services::Services;
use super::vocabulary::{Answer, DeviceView};
use crate::mapping::{Provenance, ReadWhen};
use crate::model::command::{CommandError, ErrorKind};
use crate::model::path::Path;
use crate::model::units::format_duration;
use crate::northbound::command_json::result_json;

impl Core {
    /// A look at one device.
    pub(super) fn device_view(&mut self, name: &str, view: &DeviceView) -> Answer {
        let (services, devices, _) = self.parts();
        let Some(device) = devices.key_of(name).and_then(|key| devices.table.get(key)) else {
            return match view {
                // Whoever was turned away is no device yet, and has a reason all the same.
                DeviceView::Diagnosis => refused_only(services, name),
                _ => Answer::UnknownDevice,
            };
        };
        Answer::Body(match view {
            DeviceView::Twin => twin(device, services, &devices.results),
            DeviceView::Observations => observations(device, services),
            DeviceView::Plan => plan(device, services),
            DeviceView::Diagnosis => diagnosis(device, services),
            DeviceView::Cached { path } => match cached(device, services, path) {
                Ok(found) => found,
                Err(error) => return Answer::Failed(error),
            },
        })
    }
}

fn refused_only(services: &Services, name: &str) -> Answer {
    let refused = refused_json(services, Some(name));
    let Some(reason) = refused.first().and_then(|peer| peer["reason"].as_str()) else { return Answer::UnknownDevice };
    let summary = format!("it is not known here: it was turned away, because {reason}");
    Answer::Body(json!({ "endpoint": name, "up": false, "state": "unknown", "summary": summary, "refused": refused }))
}

/// Desired keys: what is wanted, what the device reports, and how the last attempt went.
fn twin(device: &Device, services: &Services, results: &Results) -> Json {
    let keys = device.desired.iter().map(|(key, desired)| {
        let target = services.plan.desired_target(&device.selection, &device.facts, key);
        let reported = device.keys.get(key).or_else(|| {
            let same_path = |state: &&super::devices::device::KeyState| target.is_some() && state.path == target;
            device.keys.values().find(same_path)
        });
        let last = results.get(&device.endpoint, &desired.command).map(|kept| result_json(&kept.result));
        let waiting = device.commands.get(&desired.command).map(|queued| {
            json!({
                "id": desired.command,
                "status": if queued.reported_queued { "queued" } else { "accepted" },
                "ts": queued.accepted_at.millis(),
            })
        });
        let about = json!({
            "desired": desired.value,
            "applied": desired.applied,
            "path": target,
            "reported": reported.map(|state| json!({ "value": state.value, "ts": state.ts.millis() })),
            "last_attempt": last.or(waiting),
        });
        (key.clone(), about)
    });
    Json::Object(keys.collect())
}

fn observations(device: &Device, services: &Services) -> Json {
    let provenance = provenance(device, services);
    let items = device.observations.iter().map(|(target, observation)| {
        let rules: Vec<Json> = provenance
            .iter()
            .filter(|asked| observation.by_mapping && asked.observe.is_some() && target.paths().contains(&asked.path))
            .map(rule_json)
            .collect();
        let mut by = Vec::new();
        by.extend(observation.by_mapping.then_some("mapping"));
        by.extend(observation.by_command.then_some("command"));
        let mut about = json!({ "attributes": observation.attributes, "by": by, "rules": rules });
        name_target(&mut about, target);
        tell_phase(&mut about, observation, services);
        about
    });
    json!({ "items": items.collect::<Vec<_>>(), "next": null })
}

fn tell_phase(about: &mut Json, observation: &Observation, services: &Services) {
    match observation.phase {
        Phase::Wanted { not_before, .. } => {
            about["state"] = "wanted".into();
            if let Some(not_before) = not_before {
                about["next_try_at"] = services.clock.at(not_before).millis().into();
            }
        }
        Phase::Active { heard_at, .. } => {
            about["state"] = "active".into();
            about["heard_at"] = services.clock.at(heard_at).millis().into();
        }
        Phase::Cancelling { .. } => about["state"] = "cancelling".into(),
        Phase::Refused { code } => {
            about["state"] = "refused".into();
            about["code"] = code_text(code).into();
        }
    }
}

/// A CoAP code as it is written: class, dot, two digits of detail (RFC 7252 section 5.9).
fn code_text(code: u8) -> String {
    format!("{}.{:02}", code >> 5, code & 31)
}

fn provenance(device: &Device, services: &Services) -> Vec<Provenance> {
    services.plan.provenance(&device.selection, &device.facts, &device.model(&services.model))
}

fn rule_json(asked: &Provenance) -> Json {
    json!({ "file": asked.file, "line": asked.line, "rule": asked.rule })
}

/// What the mapping wants of the device, whether it has it or not.
fn plan(device: &Device, services: &Services) -> Json {
    let provenance = provenance(device, services);
    let observe = provenance.iter().filter_map(|asked| {
        let attributes = asked.observe.as_ref()?;
        Some(json!({ "path": asked.path, "attributes": attributes, "rule": rule_json(asked) }))
    });
    let read = provenance.iter().filter_map(|asked| {
        let when = match asked.read? {
            ReadWhen::OnRegister => Json::from("on_register"),
            ReadWhen::OnWake => "on_wake".into(),
            ReadWhen::Every(interval) => json!({ "every": format_duration(interval) }),
        };
        Some(json!({ "path": asked.path, "when": when, "rule": rule_json(asked) }))
    });
    let settings = &device.settings;
    json!({
        "files": services.plan.selected_files(&device.selection),
        "settings": {
            "queue_mode": settings.queue_mode.as_str(),
            "awake_window": settings.awake_window.map(format_duration),
            "ack_timeout": settings.ack_timeout.map(format_duration),
            "write_format": settings.write_format,
        },
        "observe": observe.collect::<Vec<_>>(),
        "read": read.collect::<Vec<_>>(),
    })
}

/// Is it up, and if not, why.
fn diagnosis(device: &Device, services: &Services) -> Json {
    let registration = device.registration.as_ref();
    let now = services.now;
    let at = |instant| services.clock.at(instant).millis();
    let refused_observations: Vec<Json> = device
        .observations
        .iter()
        .filter_map(|(target, observation)| {
            let Phase::Refused { code } = observation.phase else { return None };
            let mut about = json!({ "code": code_text(code) });
            name_target(&mut about, target);
            Some(about)
        })
        .collect();
    let oldest = device.commands.iter().map(|queued| queued.accepted_at.millis()).min();
    let nat = nat_suspicion(device);
    let whole_seconds = |since: Duration| format_duration(Duration::from_secs(since.as_secs()));
    let heard_ago = device.heard_at.map(|heard| whole_seconds(now.saturating_since(heard)));
    json!({
        "endpoint": device.endpoint.as_str(),
        "name": device.name,
        "up": device.state == State::Online,
        "state": device.state.as_str(),
        "reason": device.reason,
        "since": device.state_since.millis(),
        "summary": summary(device, heard_ago.as_deref()),
        "registered_at": registration.map(|registration| registration.registered_at.millis()),
        "expires_at": registration.and_then(|registration| registration.expires_at).map(at),
        "last_seen_at": device.last_seen.millis(),
        "queue_mode": device.in_queue_mode(),
        "awake_until": device.awake_until.filter(|until| *until > now).map(at),
        "next_try_at": device.quiet_until.filter(|until| *until > now).map(at),
        "unanswered": device.failures,
        "under_way": device.exchange.as_ref().map(|active| active.request.path.to_string()),
        "queue": { "waiting": device.commands.len(), "oldest_at": oldest },
        "refused_observations": refused_observations,
        "unmapped": device.unmapped.len(),
        "address": device.peer.remote.to_string(),
        "other_address": device.alternate_peer.map(|peer| peer.remote.to_string()),
        "nat": { "suspected": nat.is_some(), "why": nat },
        "quirks": device.quirks,
        "last_error": device.last_error,
        "refused": refused_json(services, Some(device.endpoint.as_str())),
    })
}

/// The state in a sentence, with what would change it.
fn summary(device: &Device, heard_ago: Option<&str>) -> String {
    let heard =
        heard_ago.map_or_else(|| "not heard since the gateway started".to_owned(), |ago| format!("heard {ago} ago"));
    let waiting = device.commands.len();
    match (device.state, &device.registration) {
        (State::Online, _) => format!("it is registered and listens; {heard}"),
        (State::Asleep, _) => {
            format!("it is registered and sleeps; {heard}; {waiting} commands wait until it is heard again")
        }
        (State::Offline, None) if device.reason.is_empty() => format!("it is not registered; {heard}"),
        (State::Offline, None) => format!("it is not registered: {}; {heard}", device.reason),
        (State::Offline, Some(_)) => {
            let times = device.failures;
            format!("it is registered and did not answer {times} times in a row ({}); {heard}", device.reason)
        }
    }
}

/// Signs that a network address translator stands between.
fn nat_suspicion(device: &Device) -> Option<&'static str> {
    if device.alternate_peer.is_some() {
        return Some("it was heard from another address than it registered from");
    }
    (device.failures > 0 && !device.in_queue_mode() && device.registration.is_some()).then_some(
        "requests stay unanswered while its registration lives; a translator forgets the way after some time of \
         silence, and shorter update intervals, queue mode or TCP help",
    )
}

/// Last known values at or below a path.
fn cached(device: &Device, services: &Services, path: &str) -> Result<Json, CommandError> {
    let parsed = services.model.parse_path(path);
    let path = parsed.map_err(|error| CommandError::new(ErrorKind::Invalid, format!("path '{path}': {error}")))?;
    let known = |last: &LastValue| {
        let age = last.age.saturating_add(services.now.saturating_since(last.heard_at));
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        json!({ "value": last.value, "ts": last.ts.millis(), "age_ms": age_ms })
    };
    let found: Vec<(&Path, &LastValue)> =
        device.last_values.range(path..).take_while(|(below, _)| path.contains(below)).collect();
    if found.is_empty() {
        let message = format!("the device gave no value of {path} yet; without ?cached=true it is asked");
        return Err(CommandError::new(ErrorKind::NotFound, message));
    }
    if let [(at, last)] = found.as_slice()
        && **at == path
    {
        let mut about = known(last);
        about["path"] = path.to_string().into();
        return Ok(about);
    }
    let values: Map<String, Json> = found.iter().map(|(at, last)| (at.to_string(), known(last))).collect();
    Ok(json!({ "path": path, "values": values }))
}
