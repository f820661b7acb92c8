//! The one request that is under way to a device: sent, repeated, cut into pieces, answered.
//!
//! What a device cannot do beyond the must is no failure: Discover and Read may be refused, and so may a Delete that
//! nobody asked for.

use super::BootstrapServer;
use super::news::News;
use super::session::{Active, Discovery, Session, Task};
use crate::gateway::devices::Devices;
use crate::gateway::dispatch::attempt::Request;
use crate::gateway::services::Services;
use crate::gateway::transfer::{self, Receiving, Sending, Step, TransferError};
use crate::gateway::vocabulary::Peer;
use crate::instrumentation::occurrence::Occurrence;
use crate::model::object::DeviceModel;
use crate::model::path::Path;
use crate::model::value::Value;
use crate::protocol::coap::exchange::{Elapsed, TransmissionParameters, free_message_id};
use crate::protocol::coap::message::{Code, Message, MessageType, Token};
use crate::protocol::content::{self, ContentFormat, DecodeContext};
use crate::protocol::lwm2m::bootstrap::parse_found;

/// How long a device may take from an empty acknowledgement to its answer.
const RESPONSE_TIME: std::time::Duration = std::time::Duration::from_secs(60);

impl BootstrapServer {
    /// Begins a task.
    ///
    /// # Errors
    /// If it cannot be put into words.
    pub(super) fn send(&mut self, services: &mut Services, number: u64, task: Task) -> Result<(), String> {
        let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
        let request = request_of(session, &task, services)?;
        session.log.begin(task.word(), task.path(), services.wall(), services.now);
        super::tell(services, session, News::Sent { operation: task.word(), path: task.path() });
        let sending = services.sending_for(session.peer, &request.payload);
        self.transmit(services, number, task, request, sending, None);
        Ok(())
    }

    /// Sends one message of a task: the whole, or one piece of it.
    fn transmit(
        &mut self,
        services: &mut Services,
        number: u64,
        task: Task,
        request: Request,
        sending: Option<Sending>,
        receiving: Option<Receiving>,
    ) {
        let token = self.new_token(services);
        let Some(session) = self.sessions.get_mut(&number) else { return };
        let peer = session.peer;
        let id = free_message_id(session.next_message_id, |id| self.outstanding.contains_key(&(peer.place(), id)));
        session.next_message_id = id.wrapping_add(1);
        let root = if task == Task::Finish { "/bs" } else { "" };
        let message = transfer::message_of(&request, root, id, token, sending.as_ref(), receiving.as_ref());
        let parameters = TransmissionParameters {
            ack_timeout: services.configuration.lwm2m.ack_timeout,
            max_retransmit: services.configuration.lwm2m.max_retransmit,
            response_timeout: RESPONSE_TIME,
        };
        let (exchange, datagram) = services.begin_exchange(peer, &message, parameters, None);
        self.receiving_bytes += receiving.as_ref().map_or(0, Receiving::received_bytes);
        session.active = Some(Active { exchange, task, request, sending, receiving });
        self.outstanding.insert((peer.place(), id), number);
        self.tokens.insert(token, number);
        services.transmit(peer, datagram);
    }

    fn new_token(&self, services: &mut Services) -> Token {
        use rand_core::Rng as _;
        loop {
            let mut bytes = [0; 8];
            services.random.fill_bytes(&mut bytes);
            let token = Token::new(&bytes).unwrap_or_default();
            if !self.tokens.contains_key(&token) {
                return token;
            }
        }
    }

    pub(super) fn end_exchange(&mut self, number: u64) -> Option<Active> {
        let session = self.sessions.get_mut(&number)?;
        let active = session.active.take()?;
        let received = active.receiving.as_ref().map_or(0, Receiving::received_bytes);
        self.receiving_bytes = self.receiving_bytes.saturating_sub(received);
        self.outstanding.remove(&(session.peer.place(), active.exchange.message_id()));
        self.tokens.remove(&active.exchange.token());
        Some(active)
    }

    /// The request under way has waited long enough for something.
    pub(super) fn elapse_exchange(&mut self, services: &mut Services, devices: &mut Devices, number: u64) {
        let now = services.now;
        let Some(session) = self.sessions.get_mut(&number) else { return };
        let peer = session.peer;
        let Some(active) = session.active.as_mut().filter(|active| active.exchange.deadline() <= now) else { return };
        match active.exchange.elapse(now) {
            Elapsed::Retransmit => {
                let datagram = active.exchange.datagram().to_vec();
                services.count(Occurrence::Retransmission);
                services.transmit(peer, datagram);
            }
            Elapsed::NotAcknowledged => self.not_answered(services, devices, number, false),
            Elapsed::NotAnswered => self.not_answered(services, devices, number, true),
        }
    }

    fn not_answered(&mut self, services: &mut Services, devices: &mut Devices, number: u64, acknowledged: bool) {
        services.count(Occurrence::ExchangeTimedOut);
        let Some(mut active) = self.end_exchange(number) else { return };
        if !acknowledged && transfer::takes_second_try(&mut active.receiving, &mut active.sending) {
            let Active { task, request, sending, receiving, .. } = active;
            self.transmit(services, number, task, request, sending, receiving);
            return;
        }
        let Some(session) = self.sessions.get_mut(&number) else { return };
        let task = active.task;
        session.log.end(services.now, None, "no answer");
        super::tell(services, session, News::NotAnswered { operation: task.word(), path: task.path() });
        if task == Task::Finish && self.was_taken_up(services, number) {
            // It turned to its server with what it was given, before its answer arrived.
            self.finished(services, number);
            return;
        }
        // A device that takes a question and never answers it does not know it.
        let reason = format!("the device did not answer the {} of {}", task.word(), shown(&task));
        let outcome = if acknowledged { self.not_done(number, &task, reason) } else { Err(reason) };
        self.go_on(services, devices, number, outcome);
    }

    fn go_on(&mut self, services: &mut Services, devices: &mut Devices, number: u64, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.advance(services, devices, number),
            Err(reason) => self.fail(services, number, &reason),
        }
    }

    /// Takes a message that is no request.
    pub(super) fn handle_response(
        &mut self,
        services: &mut Services,
        devices: &mut Devices,
        peer: Peer,
        message: Message,
    ) {
        let key = (peer.place(), message.id);
        match (message.message_type, message.code) {
            (MessageType::Acknowledgement, Code::EMPTY) => {
                let Some(number) = self.outstanding.get(&key).copied() else { return };
                if let Some(session) = self.sessions.get_mut(&number) {
                    session.heard_at = services.now;
                    if let Some(active) = &mut session.active {
                        active.exchange.acknowledge(services.now);
                    }
                }
                self.schedule(number);
            }
            (MessageType::Reset, _) => {
                let Some(number) = self.outstanding.get(&key).copied() else { return };
                self.was_reset(services, devices, number);
            }
            (MessageType::Acknowledgement, _) if !services.is_stream(peer) => {
                let number = self.outstanding.get(&key).copied();
                let Some(number) = number.filter(|number| self.is_answer(*number, message.token)) else {
                    services.count(Occurrence::DatagramDropped("unknown_acknowledgement"));
                    return;
                };
                self.answered(services, devices, number, message);
            }
            _ => self.handle_separate_response(services, devices, peer, message),
        }
    }

    fn is_answer(&self, number: u64, token: Token) -> bool {
        let active = self.sessions.get(&number).and_then(|session| session.active.as_ref());
        active.is_some_and(|active| active.exchange.token() == token)
    }

    fn handle_separate_response(
        &mut self,
        services: &mut Services,
        devices: &mut Devices,
        peer: Peer,
        message: Message,
    ) {
        let number = self.tokens.get(&message.token).copied();
        let of_peer =
            |number: &u64| self.sessions.get(number).is_some_and(|session| session.peer.place() == peer.place());
        let number = number.filter(of_peer);
        if services.is_stream(peer) {
            if let Some(number) = number {
                self.answered(services, devices, number, message);
            }
            return;
        }
        if !devices.is_new(services, peer, message.id) {
            return;
        }
        let Some(number) = number else {
            services.count(Occurrence::DatagramDropped("unknown_token"));
            devices.send_answer(services, peer, message.id, Message::reset(message.id).encode());
            return;
        };
        let confirmable = message.message_type == MessageType::Confirmable;
        devices.acknowledge_now(services, peer, message.id, confirmable);
        self.answered(services, devices, number, message);
    }

    fn was_reset(&mut self, services: &mut Services, devices: &mut Devices, number: u64) {
        let Some(active) = self.end_exchange(number) else { return };
        let Some(session) = self.sessions.get_mut(&number) else { return };
        session.heard_at = services.now;
        session.log.end(services.now, None, "reset");
        if active.task == Task::Discover {
            session.discovery = Discovery::Basic;
        }
        let task = active.task;
        let reason = format!("the device rejected the {} of {} with a reset", task.word(), shown(&task));
        let outcome = self.not_done(number, &task, reason);
        self.go_on(services, devices, number, outcome);
    }

    /// An answer came, or one piece of it.
    fn answered(&mut self, services: &mut Services, devices: &mut Devices, number: u64, message: Message) {
        let Some(mut active) = self.end_exchange(number) else { return };
        let Some(session) = self.sessions.get_mut(&number) else { return };
        session.heard_at = services.now;
        let room = services.room_beside(self.receiving_bytes);
        let over_stream = services.is_stream(session.peer);
        let receiving = active.receiving.take();
        match transfer::step(&active.request.payload, &mut active.sending, receiving, message, over_stream, room) {
            Step::Next(receiving) => {
                let Active { task, request, sending, .. } = active;
                self.transmit(services, number, task, request, sending, receiving);
                self.schedule(number);
            }
            Step::Whole(message) => {
                let outcome = self.task_answered(services, number, active.task, &message);
                self.go_on(services, devices, number, outcome);
            }
            Step::Failed(error) => {
                let text = match error {
                    TransferError::WrongPiece(text) => text,
                    TransferError::TooLarge(bound) => {
                        services.count(Occurrence::BoundReached(bound));
                        format!("the answer exceeds {bound}")
                    }
                };
                session.log.end(services.now, None, text.clone());
                let task = active.task;
                let reason = format!("{} of {}: {text}", task.word(), shown(&task));
                let outcome = self.not_done(number, &task, reason);
                self.go_on(services, devices, number, outcome);
            }
        }
    }

    fn task_answered(
        &mut self,
        services: &mut Services,
        number: u64,
        task: Task,
        message: &Message,
    ) -> Result<(), String> {
        let code = message.code;
        let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
        session.log.end(services.now, Some(code.to_string()), "");
        let success = code.is_success();
        let (operation, path) = (task.word(), task.path());
        super::tell(services, session, News::Answered { operation, path, code: code.to_string(), success });
        let refused =
            |task: &Task| Err(format!("the device answered {code} to the {} of {}", task.word(), shown(task)));
        match task {
            Task::Discover if success => {
                let text = String::from_utf8_lossy(&message.payload);
                if let Ok(found) = parse_found(&text) {
                    session.discovery = Discovery::Found(found);
                } else {
                    if let Some(step) = session.log.steps.last_mut() {
                        "the list cannot be read, and is ignored".clone_into(&mut step.detail);
                    }
                    services.count(Occurrence::Quirk("bad_bootstrap_discover"));
                }
                self.discovered(number);
                Ok(())
            }
            Task::Discover => {
                // Some say so instead of a reset, some beside it.
                if code.class() == 5 {
                    session.discovery = Discovery::Basic;
                }
                self.discovered(number);
                Ok(())
            }
            Task::Delete { path, .. } if success || code == Code::NOT_FOUND => {
                self.deleted(number, path);
                Ok(())
            }
            Task::Delete { asked_for: false, .. } => Ok(()),
            Task::Delete { .. } => refused(&task),
            Task::Write(_) if success => Ok(()),
            Task::Write(write) if matches!(code, Code::UNSUPPORTED_CONTENT_FORMAT | Code::NOT_ACCEPTABLE) => {
                let Some(format) = session.format() else { return refused(&Task::Write(write)) };
                session.refused_formats.push(format);
                if session.format().is_none() {
                    return refused(&Task::Write(write));
                }
                session.tasks.push_front(Task::Write(write));
                Ok(())
            }
            Task::Write(_) => refused(&task),
            Task::Read(1) if success => match kept(session, services, message) {
                Ok(()) => Ok(()),
                Err(why) => self.repair(services, number, &why),
            },
            Task::Read(_) => Ok(()),
            Task::Finish if success => {
                self.finished(services, number);
                Ok(())
            }
            Task::Finish if code == Code::NOT_ACCEPTABLE => {
                self.repair(services, number, "the device answered 4.06 to Finish: it finds its accounts inconsistent")
            }
            Task::Finish => refused(&task),
        }
    }

    /// The device did not do a task: a failure for that reason, unless it need not do it.
    fn not_done(&mut self, number: u64, task: &Task, reason: String) -> Result<(), String> {
        match task {
            Task::Discover => self.discovered(number),
            Task::Read(_) => {}
            Task::Delete { .. } | Task::Write(_) | Task::Finish => return Err(reason),
        }
        Ok(())
    }
}

fn shown(task: &Task) -> String {
    match task {
        Task::Finish => "the session".to_owned(),
        task => task.path(),
    }
}

fn request_of(session: &Session, task: &Task, services: &Services) -> Result<Request, String> {
    Ok(match task {
        Task::Discover => Request { accept: Some(ContentFormat::LINK_FORMAT), ..Request::new(Code::GET, Path::ROOT) },
        Task::Delete { path, .. } => Request::new(Code::DELETE, *path),
        Task::Read(object) => Request { accept: session.format(), ..Request::new(Code::GET, Path::object(*object)) },
        Task::Finish => Request::new(Code::POST, Path::ROOT),
        Task::Write(write) => {
            let format = session.format().ok_or("the device takes no format that can be written")?;
            let payload = encode(format, write.path, &write.values, &session.types(&services.model))
                .map_err(|error| format!("write of {}: {error}", write.path))?;
            Request { format: Some(format), payload, ..Request::new(Code::PUT, write.path) }
        }
    })
}

/// Instances of an object are named also where there is one alone.
pub(super) fn encode(
    format: ContentFormat,
    base: Path,
    values: &[(Path, Value)],
    types: &DeviceModel<'_>,
) -> Result<Vec<u8>, String> {
    use crate::model::report::Sample;
    let sample = |(path, value): &(Path, Value)| Sample { path: *path, value: value.clone(), ts: None };
    let samples: Vec<Sample> = values.iter().map(sample).collect();
    content::encode_samples(format, base, &samples, types).map_err(|error| error.to_string())
}

fn unsigned(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(number) | Value::Time(number) => u64::try_from(*number).ok(),
        Value::UnsignedInteger(number) => Some(*number),
        _ => None,
    }
}

/// Whether the device kept its server accounts.
fn kept(session: &Session, services: &Services, message: &Message) -> Result<(), String> {
    let types = session.types(&services.model);
    let format = message.content_format().map_or(ContentFormat::TLV, ContentFormat);
    let context = DecodeContext { base: Path::object(1), root: "", types: &types, received: services.wall() };
    // What cannot be read proves nothing.
    let Ok(decoded) = content::decode(format, &message.payload, &context) else { return Ok(()) };
    for (instance, ssid, lifetime) in &session.plan.servers {
        let value = |resource| {
            let path = Path::resource(1, *instance, resource);
            decoded.samples.iter().find(|sample| sample.path == path).and_then(|sample| unsigned(&sample.value))
        };
        if value(0) != Some(u64::from(*ssid)) {
            return Err(format!("read back, /1/{instance}/0 is not the short server id {ssid} that was written"));
        }
        if value(1).is_some_and(|kept| kept != u64::from(*lifetime)) {
            return Err(format!("read back, /1/{instance}/1 is not the lifetime {lifetime} that was written"));
        }
    }
    Ok(())
}
