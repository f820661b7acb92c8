//! The gateway core and one scripted device face to face, with nothing lost and no time on the way: every message
//! between them is written down as a line.
//!
//! A line says method or code, path with query, and the options that matter, each by its short name; a text body
//! stands in quotes, another one as its length: `PUT /1/0/2 ct=text "101"`, `2.05 observe=1 ct=tlv 17 bytes`.

use std::collections::BTreeMap;
use std::time::Duration;

use lwm2mqtt::gateway::configuration::Configuration;
use lwm2mqtt::gateway::vocabulary::Query;
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::time::WallTime;
use lwm2mqtt::model::version::Version;
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageType};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use lwm2mqtt::protocol::content::{self, ContentFormat, DecodeContext};
use lwm2mqtt::simulator::device::SimulatedDevice;
use lwm2mqtt::simulator::script::DeviceScript;
use serde_json::{Value as Json, json};

use crate::conformance::gateway::{Gateway, peer};

/// Endpoint name of every device here.
pub(crate) const ENDPOINT: &str = "dev";

/// A message on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Whether the gateway sent it.
    pub(crate) by_gateway: bool,
    /// Seconds since the beginning.
    pub(crate) at: f64,
    /// The message.
    pub(crate) message: Message,
}

/// The gateway, its device, and what was said.
pub(crate) struct Bench {
    /// The gateway.
    pub(crate) gateway: Gateway,
    /// The device.
    pub(crate) device: SimulatedDevice,
    /// Whether nothing of the device arrives any more.
    pub(crate) cut: bool,
    /// Everything since the last [`Bench::forget`].
    pub(crate) wire: Vec<Seen>,
    commands: u32,
}

impl Bench {
    /// A gateway that wants nothing by itself and a device that is switched off.
    pub(crate) fn off(script: DeviceScript) -> Self {
        Self::configured(script, |_| {})
    }

    /// The same with another configuration of the gateway.
    pub(crate) fn configured(script: DeviceScript, change: impl FnOnce(&mut Configuration)) -> Self {
        let gateway = Gateway::with("version = 1\n", change);
        Self { gateway, device: SimulatedDevice::new(script, 1), cut: false, wire: Vec::new(), commands: 0 }
    }

    /// A device that has registered, and nothing said since.
    pub(crate) fn registered(script: DeviceScript) -> Self {
        let mut bench = Self::off(script);
        bench.switch_on();
        assert!(bench.device.is_registered());
        bench.forget();
        bench
    }

    /// The device registers.
    pub(crate) fn switch_on(&mut self) {
        let now = self.gateway.now();
        self.device.start(now);
        self.settle();
    }

    /// Does something with the device and lets everybody answer.
    pub(crate) fn with_device<T>(
        &mut self,
        action: impl FnOnce(&mut SimulatedDevice, lwm2mqtt::model::time::Instant) -> T,
    ) -> T {
        let now = self.gateway.now();
        let done = action(&mut self.device, now);
        self.settle();
        done
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.gateway.now() + duration;
        loop {
            let device = self.device.next_deadline().unwrap_or(end);
            let next = self.gateway.next_deadline().min(device).max(self.gateway.now());
            if next > end {
                break;
            }
            self.gateway.pass(next.saturating_since(self.gateway.now()));
            if device <= next {
                self.device.handle_timeout(next);
            }
            self.settle();
        }
        self.gateway.pass(end.saturating_since(self.gateway.now()));
        self.settle();
    }

    /// The operator gives a command over MQTT; its result so far, `null` if there is none.
    pub(crate) fn order(&mut self, command: Json) -> Json {
        self.commands += 1;
        let id = format!("c{}", self.commands);
        let mut body = command;
        body["id"] = id.as_str().into();
        self.forget();
        self.gateway.downlink(&format!("{ENDPOINT}/command"), &body);
        self.settle();
        self.gateway.result(ENDPOINT, &id).cloned().unwrap_or(Json::Null)
    }

    /// The same, and the device did it.
    pub(crate) fn done(&mut self, command: Json) -> Json {
        let said = command.to_string();
        let result = self.order(command);
        assert_eq!(result["status"], "done", "{said}: {result}");
        let terminal = self.gateway.bodies(&format!("{ENDPOINT}/response"));
        let same = terminal.iter().filter(|body| body["id"] == result["id"] && body["status"] != "queued").count();
        assert_eq!(same, 1, "one terminal result");
        result
    }

    /// The same, and the device refused it with this code.
    pub(crate) fn refused(&mut self, command: Json, code: &str) {
        let result = self.order(command);
        assert_eq!((&result["status"], &result["code"]), (&json!("failed"), &json!(code)), "{result}");
    }

    /// Reads with a format; the value or the values.
    pub(crate) fn read(&mut self, path: &str, format: &str) -> Json {
        let result = self.done(json!({"operation": "read", "path": path, "format": format}));
        if result["value"].is_null() { result["values"].clone() } else { result["value"].clone() }
    }

    /// The result of an earlier command by its number.
    pub(crate) fn result_of(&self, number: u32) -> Json {
        self.gateway.result(ENDPOINT, &format!("c{number}")).cloned().unwrap_or(Json::Null)
    }

    /// What the gateway knows of the device.
    pub(crate) fn record(&mut self) -> Json {
        self.gateway.query(Query::Device { device: ENDPOINT.to_owned() })
    }

    /// Lets what was said up to now be past.
    pub(crate) fn forget(&mut self) {
        self.wire.clear();
    }

    /// Requests of the gateway.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.lines(|seen| seen.by_gateway && seen.message.code.is_request())
    }

    /// Requests of the device; the location of its registration is `L`.
    pub(crate) fn told(&self) -> Vec<String> {
        self.lines(|seen| !seen.by_gateway && seen.message.code.is_request())
    }

    /// Answers of the device and its notifications.
    pub(crate) fn answered(&self) -> Vec<String> {
        self.lines(|seen| !seen.by_gateway && seen.message.code.is_response())
    }

    /// Answers of the gateway.
    pub(crate) fn replied(&self) -> Vec<String> {
        self.lines(|seen| seen.by_gateway && seen.message.code.is_response())
    }

    /// The only request of the gateway since then.
    pub(crate) fn request(&self) -> &Message {
        let requests: Vec<&Seen> =
            self.wire.iter().filter(|seen| seen.by_gateway && seen.message.code.is_request()).collect();
        assert_eq!(requests.len(), 1, "{:?}", self.asked());
        &requests[0].message
    }

    /// The last message of the device with a body.
    pub(crate) fn last_body(&self) -> &Message {
        let found = self.wire.iter().rev().find(|seen| !seen.by_gateway && !seen.message.payload.is_empty());
        &found.expect("a body").message
    }

    /// Notifications of the device: with which token, when, and what paths.
    pub(crate) fn notifications(&self) -> Vec<&Seen> {
        let is_notification = |seen: &&Seen| {
            !seen.by_gateway
                && seen.message.code == Code::CONTENT
                && seen.message.message_type != MessageType::Acknowledgement
        };
        self.wire.iter().filter(is_notification).collect()
    }

    /// What an answer or a request body in SenML or TLV says, by path.
    pub(crate) fn body_of(&self, message: &Message, base: &str) -> BTreeMap<String, Json> {
        let context = DecodeContext {
            base: base.parse().unwrap(),
            root: "",
            types: self.device.tree(),
            received: WallTime::from_millis(0),
        };
        let format = ContentFormat(message.content_format().expect("a Content-Format"));
        let decoded = content::decode_changes(format, &message.payload, &context).unwrap();
        let json = |value: Option<lwm2mqtt::model::value::Value>| value.and_then(|value| value.to_json());
        decoded.changes.into_iter().map(|(path, value)| (path.to_string(), json(value).unwrap_or_default())).collect()
    }

    /// The paths that a composite request names.
    pub(crate) fn paths_of(message: &Message) -> Vec<String> {
        let format = ContentFormat(message.content_format().expect("a Content-Format"));
        let mut paths: Vec<Path> = content::decode_paths(format, &message.payload, "").unwrap();
        paths.sort_unstable();
        paths.iter().map(ToString::to_string).collect()
    }

    /// A value that the device holds.
    pub(crate) fn holds(&self, path: &str) -> Option<Json> {
        self.device.tree().value(&path.parse().unwrap()).and_then(lwm2mqtt::model::value::Value::to_json)
    }

    fn lines(&self, wanted: impl Fn(&Seen) -> bool) -> Vec<String> {
        self.wire.iter().filter(|seen| wanted(seen)).map(|seen| line(&seen.message)).collect()
    }

    /// Everybody answers until nobody has anything to say.
    fn settle(&mut self) {
        const MOST_ROUNDS: usize = 10_000;
        for _ in 0..MOST_ROUNDS {
            let now = self.gateway.now();
            let at = now.saturating_since(lwm2mqtt::model::time::Instant::ZERO).as_secs_f64();
            if let Some(message) = self.gateway.next_sent() {
                self.device.handle_datagram(now, &message.encode());
                self.wire.push(Seen { by_gateway: true, at, message });
            } else if let Some(bytes) = self.device.poll_transmit() {
                let message = Message::decode(&bytes).expect("what the device sends is CoAP");
                self.wire.push(Seen { by_gateway: false, at, message });
                if !self.cut {
                    self.gateway.receive_bytes(peer(1), &bytes);
                }
            } else {
                return;
            }
        }
        panic!("they never stop: {:?}", self.asked());
    }
}

/// A device of this version with the same objects.
pub(crate) fn of_version(script: DeviceScript, version: Version) -> DeviceScript {
    if version == Version::V1_1 { script } else { script.with_version(version) }
}

/// A message as one line.
pub(crate) fn line(message: &Message) -> String {
    let mut words = Vec::new();
    if message.code.is_request() {
        let method = match message.code {
            Code::GET => "GET",
            Code::POST => "POST",
            Code::PUT => "PUT",
            Code::DELETE => "DELETE",
            Code::FETCH => "FETCH",
            Code::IPATCH => "iPATCH",
            _ => "?",
        };
        let mut segments = message.uri_path();
        if segments.first().is_some_and(|first| first == "rd")
            && let Some(location) = segments.get_mut(1)
        {
            "L".clone_into(location);
        }
        let query = message.uri_query().unwrap_or_default();
        let mark = if query.is_empty() { "" } else { "?" };
        words.push(format!("{method} /{}{mark}{}", segments.join("/"), query.join("&")));
    } else {
        words.push(message.code.to_string());
        let location: Vec<_> =
            message.option_values(OptionNumber::LOCATION_PATH).map(|part| String::from_utf8_lossy(part)).collect();
        match location.as_slice() {
            [] => {}
            [first, ..] if first == "rd" => words.push("location=/rd/L".to_owned()),
            _ => words.push(format!("location=/{}", location.join("/"))),
        }
    }
    if let Some(observe) = message.observe() {
        words.push(format!("observe={observe}"));
    }
    if let Some(format) = message.content_format() {
        words.push(format!("ct={}", ContentFormat(format)));
    }
    if let Some(accept) = message.uint(OptionNumber::ACCEPT).and_then(|accept| u16::try_from(accept).ok()) {
        words.push(format!("accept={}", ContentFormat(accept)));
    }
    for (name, option) in [("block1", OptionNumber::BLOCK1), ("block2", OptionNumber::BLOCK2)] {
        if let Some(block) = message.block(option).unwrap() {
            words.push(format!("{name}={}/{}/{}", block.number, u8::from(block.more), block.size()));
        }
    }
    let is_text = message.content_format().is_some_and(|format| format == 0 || format == 40);
    if is_text {
        words.push(format!("\"{}\"", String::from_utf8_lossy(&message.payload)));
    } else if !message.payload.is_empty() {
        words.push(format!("{} bytes", message.payload.len()));
    }
    words.join(" ")
}
