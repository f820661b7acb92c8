//! Messages from sinks: commands, desired values, reads, and requests to the gateway itself.
//!
//! What cannot be used is answered where an answer is possible, counted otherwise, and never stops what follows.

use bytes::Bytes;
use serde_json::{Map, Value as Json, json};

use super::configuration::Role;
use super::core::Core;
use super::devices::commands::{new_id, publish_result};
use super::dispatch::record::Origin;
use super::vocabulary::Output;
use crate::instrumentation::occurrence::Occurrence;
use crate::model::command::{CommandError, ErrorKind};
use crate::model::units::parse_duration;
use crate::northbound::command_json::{parse_command, parse_id};
use crate::northbound::layout::native::{self, Inbound};
use crate::northbound::topic::encode_level;
use crate::protocol::content::ContentFormat;

/// The longest body taken from a sink.
const MAX_INBOUND_BYTES: usize = 2 << 20;

/// Names, labels and tags have at most so many bytes each; a device has at most so many tags.
const MAX_TEXT_BYTES: usize = 252;
const MAX_TAGS: usize = 32;

/// A message as it came.
#[derive(Debug)]
pub struct InboundMessage {
    /// Position of its sink.
    pub sink: usize,
    /// Topic.
    pub topic: String,
    /// Body.
    pub payload: Bytes,
    /// Whether the broker had kept it.
    pub retain: bool,
    /// Where the answer goes (MQTT 5).
    pub response_topic: Option<String>,
    /// What the answer carries (MQTT 5).
    pub correlation: Option<Bytes>,
}

impl InboundMessage {
    fn origin(&self, sink: &str) -> Origin {
        Origin {
            sink: Some(sink.to_owned()),
            response_topic: self.response_topic.clone(),
            correlation: self.correlation.as_ref().map(|bytes| data_encoding::BASE64.encode(bytes)),
        }
    }
}

impl Core {
    /// Takes a message from a sink.
    pub(super) fn handle_inbound(&mut self, inbound: &InboundMessage) {
        let (services, _, _) = self.parts();
        let Some(sink) = services.sinks.get(inbound.sink).map(|sink| sink.configuration.clone()) else { return };
        let Some(asked) = native::parse_topic(&sink.base, &inbound.topic) else {
            services.count(Occurrence::InboundIgnored("unknown_topic"));
            return;
        };
        if asked == Inbound::Info {
            self.look_at_info(inbound);
            return;
        }
        let origin = inbound.origin(&sink.name);
        let body = if inbound.payload.len() > MAX_INBOUND_BYTES {
            Err(CommandError::new(ErrorKind::TooLarge, format!("the message has more than {MAX_INBOUND_BYTES} bytes")))
        } else if inbound.payload.is_empty() {
            Ok(Json::Object(Map::new()))
        } else {
            serde_json::from_slice(&inbound.payload)
                .map_err(|error| CommandError::new(ErrorKind::Invalid, format!("the message is no JSON: {error}")))
        };
        match asked {
            Inbound::Request(what) => self.handle_bridge_request(inbound, &what, body, sink.role, &origin),
            Inbound::Command(device) => {
                let done = body.and_then(|body| self.command(&device, &body, inbound.retain, sink.role, &origin));
                self.tell_failure(&device, "command", inbound, done, &origin);
            }
            Inbound::Set(device) => {
                if inbound.payload.is_empty() {
                    // A cleared retained topic.
                    return;
                }
                let done = body.and_then(|body| self.set(&device, &body, inbound.retain, sink.role, &origin));
                self.tell_failure(&device, "set", inbound, done, &origin);
            }
            Inbound::Get(device) => {
                let done = body.and_then(|body| self.get(&device, &body, &origin));
                self.tell_failure(&device, "get", inbound, done, &origin);
            }
            Inbound::Info => {}
        }
    }

    /// Another gateway on the same base would overwrite everything that this one says.
    fn look_at_info(&mut self, inbound: &InboundMessage) {
        let (services, _, bridge) = self.parts();
        let Ok(info) = serde_json::from_slice::<Json>(&inbound.payload) else { return };
        let Some(instance) = info.get("instance").and_then(Json::as_str) else { return };
        // What the broker kept may be from an installation that this one replaces; a live message is not.
        if inbound.retain || instance == bridge.instance() {
            return;
        }
        let name = info.get("name").and_then(Json::as_str).unwrap_or("?").to_owned();
        let message = format!(
            "another gateway ('{name}', instance {instance}) publishes below the same base; give each its own base, such as \"lwm2m/{{gateway}}\""
        );
        bridge.alarm(services, "base_conflict", Some(message));
    }

    fn key_of(&mut self, device: &str) -> Result<usize, CommandError> {
        let (_, devices, _) = self.parts();
        devices
            .key_of(device)
            .ok_or_else(|| CommandError::new(ErrorKind::UnknownDevice, format!("no device is called '{device}'")))
    }

    fn command(
        &mut self,
        device: &str,
        body: &Json,
        retained: bool,
        role: Role,
        origin: &Origin,
    ) -> Result<(), CommandError> {
        if retained {
            return Err(CommandError::new(
                ErrorKind::Invalid,
                "a retained command is refused: it would run again at every connection",
            ));
        }
        demand(role, Role::Operator)?;
        let key = self.key_of(device)?;
        let (services, devices, _) = self.parts();
        let fallback = new_id(services);
        let parse_format = |name: &str| ContentFormat::parse(name).map(|format| format.0);
        let command = parse_command(body, &fallback, &services.model, parse_format)?;
        devices.accept_command(services, key, command, origin.clone());
        Ok(())
    }

    fn set(
        &mut self,
        device: &str,
        body: &Json,
        retained: bool,
        role: Role,
        origin: &Origin,
    ) -> Result<(), CommandError> {
        demand(role, Role::Operator)?;
        let key = self.key_of(device)?;
        let values = body
            .as_object()
            .ok_or_else(|| CommandError::new(ErrorKind::Invalid, "set takes an object {key: value}"))?;
        let (services, devices, _) = self.parts();
        devices.accept_set(services, key, values, retained, origin);
        Ok(())
    }

    fn get(&mut self, device: &str, body: &Json, origin: &Origin) -> Result<(), CommandError> {
        let key = self.key_of(device)?;
        let keys: Option<Vec<String>> = body
            .get("keys")
            .and_then(Json::as_array)
            .and_then(|keys| keys.iter().map(|key| key.as_str().map(str::to_owned)).collect());
        let keys =
            keys.ok_or_else(|| CommandError::new(ErrorKind::Invalid, "keys is missing or no list of strings"))?;
        let (services, devices, _) = self.parts();
        devices.accept_get(services, key, &keys, origin);
        Ok(())
    }

    /// A message that never became a command still gets a `failed` result, with the sender's id where it had one.
    fn tell_failure(
        &mut self,
        device: &str,
        operation: &str,
        inbound: &InboundMessage,
        done: Result<(), CommandError>,
        origin: &Origin,
    ) {
        let Err(error) = done else { return };
        let (services, _, _) = self.parts();
        services.count(Occurrence::Command("refused"));
        let body: Json = serde_json::from_slice(&inbound.payload).unwrap_or_default();
        let id = body.as_object().and_then(|body| parse_id(body).ok().flatten()).unwrap_or_default();
        let operation = body.get("operation").and_then(Json::as_str).unwrap_or(operation);
        let result = json!({
            "id": id,
            "endpoint": device,
            "operation": operation,
            "ts": services.wall().millis(),
            "status": "failed",
            "error": { "kind": error.kind.as_str(), "message": error.message },
        });
        publish_result(services, None, device, origin, &result);
    }

    fn handle_bridge_request(
        &mut self,
        inbound: &InboundMessage,
        what: &str,
        body: Result<Json, CommandError>,
        role: Role,
        origin: &Origin,
    ) {
        let body_or_null = body.as_ref().cloned().unwrap_or_default();
        let answer = body.and_then(|body| {
            if inbound.retain {
                return Err(CommandError::new(ErrorKind::Invalid, "a retained request is refused"));
            }
            self.serve_request(what, &body, role)
        });
        let (services, _, _) = self.parts();
        let mut response = match answer {
            Ok(data) => json!({ "status": "ok", "data": data }),
            Err(error) => {
                json!({ "status": "error", "error": { "kind": error.kind.as_str(), "message": error.message } })
            }
        };
        for echoed in ["id", "transaction"] {
            if let Some(value) = body_or_null.get(echoed) {
                response[echoed] = value.clone();
            }
        }
        let Some(base) = services.sinks.get(inbound.sink).map(|sink| sink.configuration.base.clone()) else { return };
        let topic = origin
            .response_topic
            .clone()
            .filter(|topic| crate::northbound::topic::is_publishable(topic))
            .unwrap_or_else(|| native::bridge_topic(&base, &format!("response/{what}")));
        let mut message = native::message(topic, &response, false);
        message.correlation.clone_from(&inbound.correlation);
        services.spool(inbound.sink, None, message);
    }

    fn serve_request(&mut self, what: &str, body: &Json, role: Role) -> Result<Json, CommandError> {
        match what {
            "health" => {
                let (services, devices, bridge) = self.parts();
                Ok(bridge.health(services, devices))
            }
            "permit_join" => {
                demand(role, Role::Operator)?;
                let text = body.get("for").and_then(Json::as_str);
                let text =
                    text.ok_or_else(|| CommandError::new(ErrorKind::Invalid, "for is missing, such as \"60s\""))?;
                let duration = parse_duration(text)
                    .map_err(|error| CommandError::new(ErrorKind::Invalid, format!("for: {error}")))?;
                self.permit_join(duration);
                Ok(json!({ "for": text }))
            }
            "device/options" => {
                demand(role, Role::Operator)?;
                self.device_options(body)
            }
            "device/remove" => {
                demand(role, Role::Admin)?;
                self.device_remove(body)
            }
            "reload" => {
                demand(role, Role::Admin)?;
                let (services, _, _) = self.parts();
                services.outputs.push_back(Output::Reload);
                Ok(json!({}))
            }
            _ => Err(CommandError::new(
                ErrorKind::NotSupported,
                format!("request '{what}' is not served by this version"),
            )),
        }
    }

    /// Opens the join window, or with zero closes it.
    pub(super) fn permit_join(&mut self, duration: std::time::Duration) {
        let (services, devices, _) = self.parts();
        devices.join_until = (!duration.is_zero()).then(|| services.now + duration);
    }

    fn named_device(&mut self, body: &Json) -> Result<usize, CommandError> {
        let device = body.get("device").and_then(Json::as_str);
        let device = device.ok_or_else(|| CommandError::new(ErrorKind::Invalid, "device is missing"))?;
        self.key_of(device)
    }

    fn device_options(&mut self, body: &Json) -> Result<Json, CommandError> {
        let key = self.named_device(body)?;
        let name = text_change(body, "name")?;
        let label = text_change(body, "label")?;
        let tags = optional_tags(body)?;
        if body.get("settings").is_some_and(|settings| !settings.is_null()) {
            return Err(CommandError::new(
                ErrorKind::NotSupported,
                "settings are given by mapping files in this version",
            ));
        }
        let (services, devices, _) = self.parts();
        let old = devices.table.get(key).map(|device| device.display_name().to_owned()).unwrap_or_default();
        if !matches!(name, TextChange::Unchanged) {
            let mut new = None;
            name.apply(&mut new);
            if !devices.rename(key, new) {
                return Err(CommandError::new(ErrorKind::Conflict, "name: another device has it"));
            }
            let renamed = devices.table.get(key).is_some_and(|device| device.display_name() != old);
            if renamed {
                clear_retained(services, &old);
            }
        }
        if let Some(device) = devices.table.get_mut(key) {
            label.apply(&mut device.label);
            if let Some(tags) = tags {
                device.facts.tags = tags;
            }
        }
        devices.persist(services, key);
        devices.reselect(services, key);
        devices.republish(services, key);
        let device = devices.table.get(key);
        Ok(json!({
            "endpoint": device.map(|device| device.endpoint.as_str()),
            "name": device.and_then(|device| device.name.clone()),
            "label": device.and_then(|device| device.label.clone()),
            "tags": device.map(|device| device.facts.tags.clone()),
        }))
    }

    fn device_remove(&mut self, body: &Json) -> Result<Json, CommandError> {
        let key = self.named_device(body)?;
        let (services, devices, _) = self.parts();
        devices.settle_commands(services, key);
        let Some(device) = devices.remove(services, key) else { return Ok(json!({})) };
        clear_retained(services, device.display_name());
        Ok(json!({ "endpoint": device.endpoint.as_str() }))
    }
}

/// Clears the retained topics of a device name at every sink.
fn clear_retained(services: &mut super::services::Services, device: &str) {
    for index in 0..services.sinks.len() {
        let Some(base) = services.sinks.get(index).map(|sink| sink.configuration.base.clone()) else { continue };
        for leaf in ["state", "values", "attributes", "info"] {
            let topic = format!("{base}/{}/{leaf}", encode_level(device));
            services.retain(index, None, native::raw_message(topic, Bytes::new(), true));
        }
    }
}

fn demand(role: Role, least: Role) -> Result<(), CommandError> {
    if role >= least {
        return Ok(());
    }
    let word = if least == Role::Admin { "admin" } else { "operator" };
    Err(CommandError::new(ErrorKind::Forbidden, format!("the role of this sink must be {word} for that")))
}

/// What a request says of a text of the device.
enum TextChange {
    Unchanged,
    Removed,
    Set(String),
}

impl TextChange {
    fn apply(self, text: &mut Option<String>) {
        match self {
            Self::Unchanged => {}
            Self::Removed => *text = None,
            Self::Set(new) => *text = Some(new),
        }
    }
}

fn text_change(body: &Json, field: &str) -> Result<TextChange, CommandError> {
    match body.get(field) {
        None => Ok(TextChange::Unchanged),
        Some(Json::Null) => Ok(TextChange::Removed),
        Some(Json::String(text))
            if !text.is_empty() && text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control) =>
        {
            Ok(TextChange::Set(text.clone()))
        }
        Some(_) => Err(CommandError::new(
            ErrorKind::Invalid,
            format!("{field} is no text of 1 to {MAX_TEXT_BYTES} bytes without control characters"),
        )),
    }
}

fn optional_tags(body: &Json) -> Result<Option<Vec<String>>, CommandError> {
    let Some(tags) = body.get("tags") else { return Ok(None) };
    let tags: Option<Vec<String>> = tags.as_array().and_then(|tags| {
        tags.iter().map(|tag| tag.as_str().filter(|tag| tag.len() <= MAX_TEXT_BYTES).map(str::to_owned)).collect()
    });
    tags.filter(|tags| tags.len() <= MAX_TAGS)
        .map(Some)
        .ok_or_else(|| CommandError::new(ErrorKind::Invalid, format!("tags is no list of at most {MAX_TAGS} strings")))
}
