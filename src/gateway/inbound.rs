//! Messages from sinks: commands, desired values, reads, and requests to the gateway itself.
//!
//! What cannot be used is answered where an answer is possible, counted otherwise, and never stops what follows.

use bytes::Bytes;
use serde_json::{Map, Value as Json, json};

use super::configuration::Role;
use super::core::Core;
use super::devices::commands::{new_id, publish_result};
use super::dispatch::record::Origin;
use crate::instrumentation::occurrence::Occurrence;
use crate::model::command::{CommandError, ErrorKind};
use crate::northbound::command_json::{parse_command, parse_id};
use crate::northbound::layout::native::{self, Inbound};
use crate::protocol::content::ContentFormat;

/// The longest body taken from a sink.
const MAX_INBOUND_BYTES: usize = 2 << 20;

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
            ..Origin::default()
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
            Inbound::Request(what) => self.bridge_request_of_sink(inbound, &what, body, sink.role, &origin),
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

    pub(super) fn key_of(&mut self, device: &str) -> Result<usize, CommandError> {
        let (_, devices, _) = self.parts();
        devices
            .key_of(device)
            .ok_or_else(|| CommandError::new(ErrorKind::UnknownDevice, format!("no device is called '{device}'")))
    }

    pub(super) fn command(
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
        let behind = self.behind_prefix(key, body);
        let (key, body) = behind.as_ref().map_or((key, body), |(key, body)| (*key, body));
        let (services, devices, _) = self.parts();
        let fallback = new_id(services);
        let parse_format = |name: &str| ContentFormat::parse(name).map(|format| format.0);
        let command = parse_command(body, &fallback, &services.model, parse_format)?;
        devices.accept_command(services, key, command, origin.clone());
        Ok(())
    }

    /// A command to a gateway device whose path begins with the prefix of an end device is meant for that one: its key,
    /// and the command with the path as the end device has it.
    fn behind_prefix(&mut self, key: usize, body: &Json) -> Option<(usize, Json)> {
        let (_, devices, _) = self.parts();
        devices.table.get(key).filter(|device| !device.end_devices.is_empty())?;
        let (prefix, rest) = body.get("path")?.as_str()?.strip_prefix('/')?.split_once('/')?;
        let end = devices.end_device(key, prefix)?;
        let mut body = body.clone();
        body["path"] = format!("/{rest}").into();
        Some((end, body))
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
}

/// Refuses what the role does not allow.
pub(super) fn demand(role: Role, least: Role) -> Result<(), CommandError> {
    if role >= least {
        return Ok(());
    }
    let word = if least == Role::Admin { "admin" } else { "operator" };
    Err(CommandError::new(ErrorKind::Forbidden, format!("the role of this sink must be {word} for that")))
}
