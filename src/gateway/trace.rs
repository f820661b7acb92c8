//! The exchanges of one device, live, for somebody who looks for a fault.
//!
//! ```text
//! datagram of a traced device ──trace_incoming──▶ line ──▶ {base}/{device}/trace of the sink that asked
//! datagram to its address     ──trace_outgoing──▶   └───▶ Output::Trace for event streams
//! ```
//!
//! Invariants: without an open window a message costs one comparison; the number of traced devices, their lines a
//! second and the length of a line are bounded, and what is left out is counted in the next line; payloads that may hold
//! credentials are neither shown nor handed on; a window ends by itself.
//!
//! An outgoing message is attributed by its address: where several devices share one, their messages are in the trace
//! too.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::devices::{Devices, TokenOwner};
use super::services::Services;
use super::shown_message::{shown_content, shown_head, type_word};
use super::vocabulary::{Output, Peer};
use crate::instrumentation::occurrence::Occurrence;
use crate::model::command::{CommandError, ErrorKind};
use crate::model::endpoint::Endpoint;
use crate::model::message::QualityOfService;
use crate::model::object::ObjectModel;
use crate::model::path::Path;
use crate::model::time::{Instant, WallTime};
use crate::northbound::layout::native;
use crate::protocol::coap::message::{Code, Message, MessageType, Token};
use crate::protocol::coap::tcp_frame;
use crate::protocol::content::{self, ContentFormat};

/// Devices traced at a time.
pub const MAX_TRACED_DEVICES: usize = 16;

/// Lines of one device in a second; further messages are counted and left out.
pub const MAX_TRACE_LINES_PER_SECOND: u32 = 50;

/// Addresses remembered of one device, and requests under way to it.
const MAX_PEERS: usize = 4;
const MAX_ASKED: usize = 32;

/// Longest content and longest hexadecimal text of a payload in a line.
const MAX_CONTENT_BYTES: usize = 4_096;
const MAX_HEX_PAYLOAD_BYTES: usize = 512;

/// Objects whose resources hold keys or passwords: LwM2M Security, APN connection profile, WLAN, OSCORE.
const SECRET_OBJECTS: [u16; 4] = [0, 11, 12, 21];

/// Who looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Onlooker {
    /// Whoever asked by this sink.
    Sink(usize),
    /// Event streams.
    Api,
}

/// All open windows.
#[derive(Debug, Default)]
pub(super) struct Traces {
    windows: Vec<Window>,
}

#[derive(Debug)]
struct Window {
    endpoint: Endpoint,
    /// What topics call the device.
    name: String,
    onlookers: Vec<(Onlooker, Instant)>,
    peers: VecDeque<Peer>,
    /// What the requests under way are about, by token.
    asked: VecDeque<(Token, Path)>,
    second: Instant,
    lines_in_second: u32,
    left_out: u64,
    lines: u64,
}

impl Traces {
    /// Opens a window, or moves its end.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        (endpoint, name): (&Endpoint, &str),
        peer: Peer,
        onlooker: Onlooker,
        duration: Duration,
    ) -> Result<(), CommandError> {
        let mut until = now + duration;
        if let Some(window) = self.windows.iter_mut().find(|window| window.endpoint == *endpoint) {
            let known = window.onlookers.iter().position(|(known, _)| *known == onlooker);
            if let Some((_, former)) = known.map(|known| window.onlookers.swap_remove(known))
                && onlooker == Onlooker::Api
            {
                // Several may look on by the API: none ends the window of another.
                until = until.max(former);
            }
            window.onlookers.push((onlooker, until));
            name.clone_into(&mut window.name);
            return Ok(());
        }
        if self.windows.len() >= MAX_TRACED_DEVICES {
            let message = format!("{MAX_TRACED_DEVICES} devices are traced already");
            return Err(CommandError::new(ErrorKind::QueueFull, message));
        }
        self.windows.push(Window {
            endpoint: endpoint.clone(),
            name: name.to_owned(),
            onlookers: vec![(onlooker, until)],
            peers: VecDeque::from([peer]),
            asked: VecDeque::new(),
            second: now,
            lines_in_second: 0,
            left_out: 0,
            lines: 0,
        });
        Ok(())
    }

    /// Ends one onlooker's window at the next look.
    pub(super) fn end(&mut self, now: Instant, endpoint: &Endpoint, onlooker: Onlooker) {
        for window in self.windows.iter_mut().filter(|window| window.endpoint == *endpoint) {
            for (_, until) in window.onlookers.iter_mut().filter(|(known, _)| *known == onlooker) {
                *until = now;
            }
        }
    }

    /// When the next window ends.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.windows.iter().flat_map(|window| window.onlookers.iter().map(|(_, until)| *until)).min()
    }
}

impl Window {
    /// Whether one more line may leave in this second.
    fn may_tell(&mut self, now: Instant) -> bool {
        if now.saturating_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.lines_in_second = 0;
        }
        if self.lines_in_second >= MAX_TRACE_LINES_PER_SECOND {
            self.left_out += 1;
            return false;
        }
        self.lines_in_second += 1;
        self.lines += 1;
        true
    }

    fn heard_from(&mut self, peer: Peer) {
        self.peers.retain(|known| known.place() != peer.place());
        self.peers.push_back(peer);
        if self.peers.len() > MAX_PEERS {
            self.peers.pop_front();
        }
    }

    fn asks(&mut self, token: Token, path: Path) {
        self.asked.retain(|(known, _)| *known != token);
        self.asked.push_back((token, path));
        if self.asked.len() > MAX_ASKED {
            self.asked.pop_front();
        }
    }

    fn path_of(&self, token: Token) -> Option<Path> {
        self.asked.iter().find(|(known, _)| *known == token).map(|(_, path)| *path)
    }
}

impl Devices {
    /// Notes a message that came in, if its device is traced.
    pub(super) fn trace_incoming(&self, services: &mut Services, peer: Peer, message: &Message) {
        if services.traces.windows.is_empty() {
            return;
        }
        let Some(endpoint) = self.sender_of(peer, message).map(|device| device.endpoint.clone()) else { return };
        let Some(index) = services.traces.windows.iter().position(|window| window.endpoint == endpoint) else { return };
        let observed = match self.owner_of_token(message.token) {
            Some(TokenOwner::Observation(_, target)) => Some(target.base()),
            _ => None,
        };
        let Some(window) = services.traces.windows.get_mut(index) else { return };
        window.heard_from(peer);
        let path = if message.code.is_response() { window.path_of(message.token).or(observed) } else { None };
        services.trace(index, true, peer, message, path);
    }
}

impl Services {
    /// Notes a datagram or frame that leaves to a traced device.
    pub(super) fn trace_outgoing(&mut self, peer: Peer, bytes: &[u8]) {
        let to_peer = |window: &Window| window.peers.iter().any(|known| known.place() == peer.place());
        let Some(index) = self.traces.windows.iter().position(to_peer) else { return };
        let message = if self.is_stream(peer) {
            tcp_frame::decode(bytes, usize::MAX).ok().flatten().map(|(message, _)| message)
        } else {
            Message::decode(bytes).ok()
        };
        let Some(message) = message else { return };
        let path = path_of_request(&message);
        if let (Some(path), Some(window)) = (path, self.traces.windows.get_mut(index)) {
            window.asks(message.token, path);
        }
        self.trace(index, false, peer, &message, path);
    }

    fn trace(&mut self, index: usize, incoming: bool, peer: Peer, message: &Message, path: Option<Path>) {
        let (now, ts) = (self.now, self.wall());
        let local = self.local_address(peer);
        let Some(window) = self.traces.windows.get_mut(index) else { return };
        if !window.may_tell(now) {
            self.count(Occurrence::BoundReached("max_trace_lines_per_second"));
            return;
        }
        let left_out = std::mem::take(&mut window.left_out);
        let (endpoint, name) = (window.endpoint.clone(), window.name.clone());
        let sinks = window.sinks();
        let secret = may_hold_secrets(message, path, &self.model);
        let mut line = shown_line(message, path, secret, ts, &self.model);
        line["direction"] = if incoming { "in" } else { "out" }.into();
        line["remote"] = peer.remote.to_string().into();
        if left_out > 0 {
            line["left_out"] = left_out.into();
        }
        self.tell_onlookers(&sinks, &name, &line);
        let mut bytes = message.encode();
        if secret {
            // The length stays, so that a capture is still well-formed.
            let start = bytes.len().saturating_sub(message.payload.len());
            bytes.iter_mut().skip(start).for_each(|byte| *byte = 0);
        }
        self.outputs.push_back(Output::Trace { endpoint, ts, incoming, local, remote: peer.remote, bytes, line });
    }

    fn tell_onlookers(&mut self, sinks: &[usize], name: &str, line: &Json) {
        for index in sinks {
            let Some(sink) = self.sinks.get_mut(*index) else { continue };
            let topic = native::device_topic(&sink.configuration.base, name, "trace");
            let mut message = native::message(topic, line, false);
            message.qos = QualityOfService::AtMostOnce;
            if sink.is_connected() && !sink.send_now(message) {
                self.count(Occurrence::BoundReached("max_transient_waiting"));
            }
        }
    }

    /// The address of ours that the peer talks to, as far as it is known.
    fn local_address(&self, peer: Peer) -> Option<SocketAddr> {
        let listener = self.configuration.listeners.get(usize::from(peer.listener))?;
        let mut address: SocketAddr =
            listener.rsplit_once("://").map_or(listener.as_str(), |(_, at)| at).parse().ok()?;
        if let Some(local) = peer.local {
            address.set_ip(local);
        }
        Some(address)
    }

    /// Ends the windows whose time is over, each with a last line.
    pub(super) fn end_traces(&mut self) {
        let now = self.now;
        let mut index = 0;
        while let Some(window) = self.traces.windows.get_mut(index) {
            let (over, left): (Vec<_>, Vec<_>) =
                std::mem::take(&mut window.onlookers).into_iter().partition(|(_, until)| *until <= now);
            window.onlookers = left;
            let is_over = window.onlookers.is_empty();
            let name = window.name.clone();
            let line = json!({
                "ts": self.clock.at(now).millis(),
                "ended": true,
                "lines": window.lines,
                "left_out": window.left_out,
            });
            let sinks: Vec<usize> = over
                .iter()
                .filter_map(|(onlooker, _)| if let Onlooker::Sink(sink) = onlooker { Some(*sink) } else { None })
                .collect();
            if is_over {
                self.traces.windows.remove(index);
            } else {
                index += 1;
            }
            self.tell_onlookers(&sinks, &name, &line);
        }
    }
}

impl Window {
    fn sinks(&self) -> Vec<usize> {
        let sink = |(onlooker, _): &(Onlooker, Instant)| match onlooker {
            Onlooker::Sink(sink) => Some(*sink),
            Onlooker::Api => None,
        };
        self.onlookers.iter().filter_map(sink).collect()
    }
}

/// The LwM2M path that a request names; `None` for requests of the registration and bootstrap interfaces.
fn path_of_request(message: &Message) -> Option<Path> {
    if !message.code.is_request() {
        return None;
    }
    let segments = message.uri_path();
    // A root path of the device may stand before.
    let numbers = segments.iter().skip_while(|segment| segment.parse::<u16>().is_err());
    let ids: Option<Vec<u16>> = numbers.map(|segment| segment.parse().ok()).collect();
    ids.and_then(|ids| Path::from_ids(&ids))
}

/// Whether the payload may hold keys or passwords: it is about an object that does, or nobody can tell what about.
fn may_hold_secrets(message: &Message, path: Option<Path>, model: &ObjectModel) -> bool {
    if message.payload.is_empty() || message.content_format() == Some(ContentFormat::LINK_FORMAT.0) {
        return false;
    }
    if let Some(object) = path.and_then(|path| path.object_id()) {
        return SECRET_OBJECTS.contains(&object);
    }
    let format = ContentFormat(message.content_format().unwrap_or_default());
    let objects = std::collections::BTreeMap::new();
    let types = crate::model::object::DeviceModel { model, objects: &objects, enabler: None };
    let context = content::DecodeContext { base: Path::ROOT, root: "", types: &types, received: WallTime::default() };
    let about: Vec<Path> = if let Ok(paths) = content::decode_paths(format, &message.payload, "") {
        paths
    } else if let Ok(changes) = content::decode_changes(format, &message.payload, &context) {
        changes.changes.iter().map(|(path, _)| *path).collect()
    } else if let Ok(decoded) = content::decode(format, &message.payload, &context) {
        decoded.samples.iter().map(|sample| sample.path).collect()
    } else {
        // Error answers carry a text for people.
        let is_diagnosis = message.code.is_response() && !message.code.is_success();
        return !(is_diagnosis && message.content_format().is_none());
    };
    about.iter().any(|path| path.object_id().is_none_or(|object| SECRET_OBJECTS.contains(&object)))
}

fn shown_line(message: &Message, path: Option<Path>, secret: bool, ts: WallTime, model: &ObjectModel) -> Json {
    let mut line = shown_head(message);
    line["ts"] = ts.millis().into();
    line["bytes"] = message.encode().len().into();
    line["summary"] = summary(message, path).into();
    if let Some(path) = path {
        line["path"] = path.to_string().into();
    }
    if !message.payload.is_empty() {
        line["payload"] = shown_payload(message, path, secret, ts, model);
    }
    line
}

fn shown_payload(message: &Message, path: Option<Path>, secret: bool, ts: WallTime, model: &ObjectModel) -> Json {
    let format = message.content_format().map(ContentFormat);
    let mut payload = json!({ "bytes": message.payload.len() });
    if let Some(format) = format {
        payload["format"] = format.to_string().into();
    }
    if secret {
        payload["hidden"] = "it may hold credentials".into();
        return payload;
    }
    let in_parts =
        [crate::protocol::coap::option::OptionNumber::BLOCK1, crate::protocol::coap::option::OptionNumber::BLOCK2]
            .into_iter()
            .any(|number| message.option(number).is_some());
    if let Some(format) = format
        && let Ok(content) = shown_content(format, &message.payload, path.unwrap_or(Path::ROOT), model, ts)
    {
        let text = content.to_string();
        if text.len() <= MAX_CONTENT_BYTES {
            payload["content"] = content;
        } else {
            payload["content_cut"] = shortened(&text, MAX_CONTENT_BYTES).into();
        }
    } else if let Ok(text) = std::str::from_utf8(&message.payload)
        && !in_parts
    {
        payload["text"] = shortened(text, MAX_CONTENT_BYTES).into();
    } else {
        let shown = message.payload.get(..MAX_HEX_PAYLOAD_BYTES).unwrap_or(&message.payload);
        payload["hex"] = data_encoding::HEXLOWER.encode(shown).into();
        if shown.len() < message.payload.len() {
            payload["cut"] = true.into();
        }
    }
    payload
}

fn shortened(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// One line for people: `CON GET /3303/0/5700 [0x1234 ab12] observe=0`.
fn summary(message: &Message, path: Option<Path>) -> String {
    let word = match message.code {
        Code::EMPTY if message.message_type == MessageType::Confirmable => "ping".to_owned(),
        Code::EMPTY => "empty".to_owned(),
        Code::GET => "GET".to_owned(),
        Code::POST => "POST".to_owned(),
        Code::PUT => "PUT".to_owned(),
        Code::DELETE => "DELETE".to_owned(),
        Code::FETCH => "FETCH".to_owned(),
        Code::IPATCH => "iPATCH".to_owned(),
        code => code.to_string(),
    };
    let mut words = vec![type_word(message.message_type).to_owned(), word];
    if message.code.is_request() {
        let query = message.uri_query().unwrap_or_default().join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        words.push(format!("/{}{mark}{query}", message.uri_path().join("/")));
    } else if let Some(path) = path {
        words.push(path.to_string());
    }
    let token = data_encoding::HEXLOWER.encode(message.token.as_bytes());
    let blank = if token.is_empty() { "" } else { " " };
    words.push(format!("[{:#06x}{blank}{token}]", message.id));
    if let Some(observe) = message.observe() {
        words.push(format!("observe={observe}"));
    }
    if !message.payload.is_empty() {
        let format = message.content_format().map(|format| ContentFormat(format).to_string());
        words.push(format.unwrap_or_else(|| "payload".to_owned()));
        words.push(format!("{} bytes", message.payload.len()));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::coap::option::OptionNumber;

    fn peer() -> Peer {
        Peer { listener: 0, remote: "192.0.2.7:5683".parse().unwrap(), local: None, session: None }
    }

    fn begin(traces: &mut Traces, endpoint: &str, onlooker: Onlooker) -> Result<(), CommandError> {
        let name = Endpoint::new(endpoint).unwrap();
        traces.begin(Instant::ZERO, (&name, endpoint), peer(), onlooker, Duration::from_secs(300))
    }

    fn message(code: Code, path: &str, format: Option<ContentFormat>, payload: &[u8]) -> Message {
        let token = Token::new(&[0xab]).unwrap();
        let mut message = Message::new(MessageType::Confirmable, code, 0x1234, token);
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            message.push_option(OptionNumber::URI_PATH, segment.as_bytes());
        }
        if let Some(format) = format {
            message.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(format.0));
        }
        message.payload = payload.to_vec();
        message
    }

    #[test]
    fn so_many_devices_are_traced_at_a_time_and_no_more() {
        let mut traces = Traces::default();
        for number in 0..MAX_TRACED_DEVICES {
            begin(&mut traces, &format!("device-{number}"), Onlooker::Api).unwrap();
        }
        let full = begin(&mut traces, "one-more", Onlooker::Api).unwrap_err();
        assert_eq!(full.kind, ErrorKind::QueueFull);
        begin(&mut traces, "device-0", Onlooker::Sink(0)).expect("one that is traced already has another onlooker");
        assert_eq!(traces.windows[0].sinks(), [0]);
    }

    #[test]
    fn lines_of_a_second_are_bounded_and_the_rest_is_counted() {
        let mut traces = Traces::default();
        begin(&mut traces, "chatty", Onlooker::Api).unwrap();
        let window = &mut traces.windows[0];
        let told = (0..MAX_TRACE_LINES_PER_SECOND + 9).filter(|_| window.may_tell(Instant::ZERO)).count();
        assert_eq!(told, MAX_TRACE_LINES_PER_SECOND as usize);
        assert_eq!(window.left_out, 9);
        assert!(window.may_tell(Instant::ZERO + Duration::from_secs(1)), "the next second counts anew");
    }

    #[test]
    fn addresses_and_requests_of_a_device_are_remembered_within_bounds() {
        let mut traces = Traces::default();
        begin(&mut traces, "mobile", Onlooker::Api).unwrap();
        let window = &mut traces.windows[0];
        for port in 1..100 {
            window.heard_from(Peer { remote: SocketAddr::from(([192, 0, 2, 1], port)), ..peer() });
        }
        for number in 0..100 {
            window.asks(Token::new(&[number]).unwrap(), Path::object(u16::from(number)));
        }
        assert_eq!((window.peers.len(), window.asked.len()), (MAX_PEERS, MAX_ASKED));
        assert_eq!(window.path_of(Token::new(&[99]).unwrap()), Some(Path::object(99)));
        assert_eq!(window.path_of(Token::new(&[0]).unwrap()), None);
    }

    #[test]
    fn payloads_that_may_hold_credentials_are_told_apart() {
        let model = ObjectModel::built_in();
        let secret = |message: &Message, path: Option<Path>| may_hold_secrets(message, path, &model);
        let (text, json) = (Some(ContentFormat::TEXT), Some(ContentFormat::SENML_JSON));
        for path in ["0/1/5", "0/1", "21/0/3", "11/0/5", "12/0"] {
            let write = message(Code::PUT, path, text, b"hunter2");
            assert!(secret(&write, path_of_request(&write)), "{path}");
        }
        let harmless = message(Code::PUT, "3/0/15", text, b"Europe/Berlin");
        assert!(!secret(&harmless, path_of_request(&harmless)));
        let composite = |body: &str| message(Code::IPATCH, "", json, body.as_bytes());
        assert!(secret(&composite(r#"[{"n":"/3/0/15","vs":"x"},{"n":"/0/1/5","vd":"aHVudGVy"}]"#), None));
        assert!(!secret(&composite(r#"[{"n":"/3/0/15","vs":"x"}]"#), None));
        assert!(secret(&composite("[{\"n\":"), None), "nobody can tell what a part of it is about");
        let register = message(Code::POST, "rd", Some(ContentFormat::LINK_FORMAT), b"</0/1>,</3/0>");
        assert!(!secret(&register, path_of_request(&register)), "only names");
        let unknown = message(Code::CONTENT, "", text, b"hunter2");
        assert!(secret(&unknown, None), "an answer to who knows what");
        assert!(!secret(&unknown, Some(Path::resource(3, 0, 0))));
        let diagnosis = message(Code::NOT_FOUND, "", None, b"no such object");
        assert!(!secret(&diagnosis, None));
    }

    #[test]
    fn a_line_tells_everything_of_a_message_and_cuts_what_is_long() {
        let model = ObjectModel::built_in();
        let tell = |message: &Message, path| shown_line(message, path, false, WallTime::from_millis(5), &model);
        let read = message(Code::GET, "3303/0/5700", None, b"");
        let line = tell(&read, path_of_request(&read));
        assert_eq!(line["summary"], "CON GET /3303/0/5700 [0x1234 ab]", "{line}");
        assert_eq!((&line["code"], &line["token"], &line["ts"]), (&json!("0.01"), &json!("ab"), &json!(5)), "{line}");
        assert_eq!(line["options"][0], json!({ "number": 11, "name": "Uri-Path", "value": "3303" }), "{line}");
        let answer = message(Code::CONTENT, "", Some(ContentFormat::TEXT), b"21.5");
        let line = tell(&answer, Some(Path::resource(3303, 0, 5700)));
        assert_eq!(line["payload"]["content"]["values"]["/3303/0/5700"], 21.5, "{line}");
        let opaque = message(Code::CONTENT, "", Some(ContentFormat(65_000)), &[0xff; 2_000]);
        let line = tell(&opaque, Some(Path::resource(3303, 0, 5700)));
        let hex = line["payload"]["hex"].as_str().unwrap();
        assert_eq!((hex.len(), &line["payload"]["cut"]), (2 * MAX_HEX_PAYLOAD_BYTES, &json!(true)));
        let long = message(Code::PUT, "9/0/1", Some(ContentFormat(65_000)), "x".repeat(9_000).as_bytes());
        assert_eq!(tell(&long, None)["payload"]["text"].as_str().unwrap().len(), MAX_CONTENT_BYTES);
    }
}
