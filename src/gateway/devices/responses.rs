//! Answers and notifications of devices.
//!
//! An answer is matched by the message id it acknowledges or by its token; a notification by its token alone, from
//! whatever address it comes: devices change theirs. A confirmable notification is acknowledged when its values are
//! durable and for no other reason later; one whose token is unknown is rejected with a reset.

use std::time::Duration;

use super::Devices;
use super::TokenOwner;
use super::answers::Seen;
use super::exchange::{ActiveExchange, Job, Receiving};
use super::observation::Phase;
use crate::gateway::dispatch::attempt;
use crate::gateway::services::{Held, Services};
use crate::gateway::vocabulary::{Observed, Peer};
use crate::instrumentation::occurrence::Occurrence;
use crate::model::command::{ErrorKind, Operation, Outcome};
use crate::model::path::Path;
use crate::model::report::{ReportSource, Sample};
use crate::protocol::coap::block::Block;
use crate::protocol::coap::message::{Code, Message, MessageType};
use crate::protocol::coap::observe_order::is_newer;
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::content::{self, ContentFormat, DecodeContext};

/// After an observation ended by the device's own error: when to try again.
const OBSERVE_AGAIN: Duration = Duration::from_secs(60);

impl Devices {
    pub(super) fn handle_acknowledgement(&mut self, services: &mut Services, peer: Peer, id: u16) {
        let Some(key) = self.outstanding.get(&(peer.listener, peer.remote, id)).copied() else { return };
        self.heard(services, key, peer, 4);
        if let Some(active) = self.table.get_mut(key).and_then(|device| device.exchange.as_mut()) {
            active.exchange.acknowledge(services.now);
        }
        self.schedule(services, key);
    }

    pub(super) fn handle_reset(&mut self, services: &mut Services, peer: Peer, id: u16) {
        let Some(key) = self.outstanding.get(&(peer.listener, peer.remote, id)).copied() else { return };
        self.heard(services, key, peer, 4);
        let Some(active) = self.end_exchange(key) else { return };
        match &active.job {
            Job::Command { id } => {
                let outcome = Outcome::failed(ErrorKind::BadAnswer, "the device rejected the request with a reset");
                self.finish_command(services, key, id, outcome);
            }
            Job::Cancel { path } => self.observation_cancelled(key, *path),
            Job::Observe { path } => self.observe_refused(services, key, *path, Code::BAD_REQUEST),
            Job::WriteAttributes { path } => self.attributes_done(key, *path),
            Job::Read { .. } => {}
        }
        self.advance(services, key);
    }

    pub(super) fn handle_response(&mut self, services: &mut Services, peer: Peer, message: Message, bytes: usize) {
        if message.message_type == MessageType::Acknowledgement {
            let Some(key) = self.outstanding.get(&(peer.listener, peer.remote, message.id)).copied() else {
                services.count(Occurrence::DatagramDropped("unknown_acknowledgement"));
                return;
            };
            let expected =
                self.table.get(key).and_then(|device| device.exchange.as_ref()).map(|active| active.exchange.token());
            if expected != Some(message.token) {
                services.count(Occurrence::DatagramDropped("wrong_token"));
                return;
            }
            self.heard(services, key, peer, bytes);
            self.handle_answer(services, key, message);
            return;
        }
        if Self::store_is_full(services) {
            return;
        }
        let confirmable = message.message_type == MessageType::Confirmable;
        match self.answers.see(services.now, peer, message.id) {
            Seen::New => {}
            Seen::Pending => return services.count(Occurrence::DatagramDropped("duplicate_pending")),
            Seen::Answered(answer) => {
                services.count(Occurrence::DuplicateAnswered);
                if !answer.is_empty() {
                    services.transmit(peer, answer);
                }
                return;
            }
        }
        match self.tokens.get(&message.token).copied() {
            Some(TokenOwner::Exchange(key)) => {
                self.heard(services, key, peer, bytes);
                self.acknowledge_now(services, peer, message.id, confirmable);
                self.handle_answer(services, key, message);
            }
            Some(TokenOwner::Observation(key, path)) => {
                self.heard(services, key, peer, bytes);
                let cancelling = self.table.get(key).is_some_and(|device| {
                    device.exchange.as_ref().is_some_and(|active| active.exchange.token() == message.token)
                });
                if cancelling && message.observe().is_none() {
                    self.acknowledge_now(services, peer, message.id, confirmable);
                    self.handle_answer(services, key, message);
                } else {
                    self.handle_notification(services, key, path, peer, &message, confirmable);
                }
            }
            None => {
                services.count(Occurrence::DatagramDropped("unknown_token"));
                let reset = Message::reset(message.id).encode();
                self.send_answer(services, peer, message.id, reset);
            }
        }
    }

    fn acknowledge_now(&mut self, services: &mut Services, peer: Peer, id: u16, confirmable: bool) {
        if confirmable {
            self.send_answer(services, peer, id, Message::acknowledgement(id).encode());
        } else {
            self.answers.answered(peer, id, &[]);
        }
    }

    fn handle_notification(
        &mut self,
        services: &mut Services,
        key: usize,
        path: Path,
        peer: Peer,
        message: &Message,
        confirmable: bool,
    ) {
        services.count(Occurrence::Notification);
        let now = services.now;
        let Some(device) = self.table.get_mut(key) else { return };
        let Some(observation) = device.observations.get_mut(&path) else { return };
        if !message.code.is_success() {
            // RFC 7641 section 4.2: an error ends the observation at the device.
            let token = message.token;
            device.last_error = Some(format!("the observation of {path} ended with {}", message.code));
            if observation.is_wanted() {
                let attributes_written = observation.attributes.is_empty();
                observation.phase = Phase::Wanted { attributes_written, not_before: Some(now + OBSERVE_AGAIN) };
            } else {
                device.observations.remove(&path);
            }
            self.tokens.remove(&token);
            self.acknowledge_now(services, peer, message.id, confirmable);
            self.schedule(services, key);
            return;
        }
        let by_command = observation.by_command;
        if let Phase::Active { newest, heard_at, .. } = &mut observation.phase {
            *heard_at = now;
            if let Some(sequence) = message.observe() {
                let fresh = newest.is_none_or(|(previous, at)| is_newer(previous, at, sequence, now));
                if !fresh {
                    services.count(Occurrence::StaleNotification);
                    self.acknowledge_now(services, peer, message.id, confirmable);
                    return;
                }
                *newest = Some((sequence, now));
            } else {
                services.note_quirk(device, "no_observe_option");
            }
        }
        let rest = message.block(OptionNumber::BLOCK2).ok().flatten().filter(|block| block.more);
        if rest.is_some() {
            // RFC 7959 section 2.6: the rest is fetched by plain requests. The whole is read anew, so that no piece of
            // an older value is joined to it.
            if let Some(device) = self.table.get_mut(key) {
                device.request_read(path);
            }
            self.acknowledge_now(services, peer, message.id, confirmable);
        } else {
            match self.decode_body(services, key, path, message) {
                Ok(samples) => {
                    let observed = Some(Observed::Single(path));
                    self.tell_samples(services, key, ReportSource::Notify, observed, &samples);
                    self.report(services, key, &samples, ReportSource::Notify, by_command);
                }
                Err(error) => {
                    if let Some(device) = self.table.get_mut(key) {
                        device.last_error = Some(format!("notification of {path}: {error}"));
                    }
                }
            }
            if confirmable {
                let datagram = Message::acknowledgement(message.id).encode();
                services.journal.when_durable(Held::Answer { peer, message_id: message.id, datagram });
            } else {
                self.answers.answered(peer, message.id, &[]);
            }
        }
        let idle = self.table.get(key).is_some_and(|device| device.exchange.is_none());
        if idle {
            self.advance_after_notification(services, key);
        }
    }

    /// After a notification there is often nothing to send: then the timer queue need not be touched either.
    fn advance_after_notification(&mut self, services: &mut Services, key: usize) {
        let Some(device) = self.table.get(key) else { return };
        let idle = device.commands.is_empty()
            && device.reads.is_empty()
            && !device
                .observations
                .values()
                .any(|observation| matches!(observation.phase, Phase::Wanted { .. } | Phase::Cancelling { .. }))
            && device.keys.values().all(|key_state| key_state.due.is_none());
        if idle { self.schedule_lazily(services, key) } else { self.advance(services, key) }
    }

    /// The answer to the request under way, or one piece of it.
    fn handle_answer(&mut self, services: &mut Services, key: usize, message: Message) {
        let Some(active) = self.end_exchange(key) else { return };
        if let Some(message) = self.assemble(services, key, active, message) {
            let (active, message) = message;
            self.finish(services, key, &active, &message);
        }
        self.advance(services, key);
    }

    /// Block-wise transfer: asks for the next piece, or hands the whole on.
    fn assemble(
        &mut self,
        services: &mut Services,
        key: usize,
        mut active: ActiveExchange,
        mut message: Message,
    ) -> Option<(ActiveExchange, Message)> {
        if let Some(sending) = &mut active.sending {
            let block = message.block(OptionNumber::BLOCK1).ok().flatten();
            let size_exponent =
                block.map_or(sending.size_exponent, |block| block.size_exponent.min(sending.size_exponent));
            if message.code == Code::CONTINUE {
                sending.offset += 16 << sending.size_exponent;
                sending.size_exponent = size_exponent;
                if sending.offset < sending.body.len() {
                    self.continue_request(services, key, active, None);
                    return None;
                }
            } else if message.code == Code::REQUEST_ENTITY_TOO_LARGE
                && sending.offset == 0
                && size_exponent < sending.size_exponent
            {
                sending.size_exponent = size_exponent;
                self.continue_request(services, key, active, None);
                return None;
            }
        }
        let Ok(Some(block)) = message.block(OptionNumber::BLOCK2) else { return Some((active, message)) };
        let limit = services.configuration.limits.max_transfer_bytes;
        let mut receiving = match active.receiving.take() {
            Some(receiving) => receiving,
            None if block.more && block.number == 0 && message.code.is_success() => Receiving {
                first: message.clone(),
                body: Vec::new(),
                wanted: Block { number: 0, more: false, size_exponent: block.size_exponent },
                restarted: false,
            },
            None => return Some((active, message)),
        };
        let fits = block.offset() == receiving.body.len()
            && (!block.more || message.payload.len() == block.size())
            && (block.number == 0 || message.option(OptionNumber::ETAG) == receiving.first.option(OptionNumber::ETAG))
            && message.code.is_success();
        if !fits {
            if receiving.restarted {
                message.code = Code::REQUEST_ENTITY_INCOMPLETE;
                return Some((active, message));
            }
            // A piece of another value, or the wrong piece: from the beginning, never spliced.
            receiving = Receiving {
                body: Vec::new(),
                wanted: Block { number: 0, more: false, size_exponent: block.size_exponent },
                restarted: true,
                first: receiving.first,
            };
            self.continue_request(services, key, active, Some(receiving));
            return None;
        }
        if block.number == 0 {
            // Begun anew or not: an observation is known by the token of its Observe.
            let begun = std::mem::replace(&mut receiving.first, message.clone());
            receiving.first.token = begun.token;
            if let (Some(sequence), None) = (begun.observe(), message.observe()) {
                receiving.first.push_uint(OptionNumber::OBSERVE, sequence);
            }
        }
        receiving.body.extend_from_slice(&message.payload);
        if receiving.body.len() > limit {
            services.count(Occurrence::BoundReached("max_transfer_bytes"));
            message.code = Code::REQUEST_ENTITY_TOO_LARGE;
            return Some((active, message));
        }
        if block.more {
            let number = u32::try_from(receiving.body.len() >> (block.size_exponent + 4)).unwrap_or(Block::MAX_NUMBER);
            receiving.wanted = Block { number, more: false, size_exponent: block.size_exponent };
            self.continue_request(services, key, active, Some(receiving));
            return None;
        }
        let mut whole = receiving.first;
        whole.payload = receiving.body;
        Some((active, whole))
    }

    fn finish(&mut self, services: &mut Services, key: usize, active: &ActiveExchange, message: &Message) {
        if self.ask_in_another_format(services, key, active, message.code) {
            return;
        }
        match active.job.clone() {
            Job::WriteAttributes { path } => {
                if !message.code.is_success() {
                    tracing::debug!(%path, code = %message.code, "attributes were not taken");
                    if let Some(device) = self.table.get_mut(key) {
                        services.note_quirk(device, "attributes_refused");
                    }
                }
                self.attributes_done(key, path);
            }
            Job::Observe { path } => self.observe_answered(services, key, path, message),
            Job::Cancel { path } => self.observation_cancelled(key, path),
            Job::Read { path } => {
                if message.code.is_success() {
                    self.report_body(services, key, path, message, ReportSource::Read);
                } else {
                    tracing::debug!(%path, code = %message.code, "a read was refused");
                }
            }
            Job::Command { id } => self.command_answered(services, key, &id, active, message),
        }
    }

    /// 4.06 and 4.15 are answered once by another format, which is remembered; other refusals of a read with Accept
    /// that some clients give are answered by leaving it out.
    fn ask_in_another_format(
        &mut self,
        services: &mut Services,
        key: usize,
        active: &ActiveExchange,
        code: Code,
    ) -> bool {
        let format_refused = matches!(code, Code::NOT_ACCEPTABLE | Code::UNSUPPORTED_CONTENT_FORMAT);
        let accept_refused = active.request.accept.is_some()
            && matches!(code, Code::BAD_OPTION | Code::INTERNAL_SERVER_ERROR | Code::NOT_IMPLEMENTED);
        if active.tried_other_words || !(format_refused || accept_refused) {
            return false;
        }
        let Some(device) = self.table.get_mut(key) else { return false };
        let mut request = active.request.clone();
        if request.accept.take().is_some() {
            device.formats.no_accept = true;
        } else if let Some(format) = attempt::next_write_format(&request) {
            let Job::Command { id } = &active.job else { return false };
            let Some(queued) = device.commands.get(id) else { return false };
            let operation = queued.command.operation.clone();
            let Ok(retry) = attempt::request_for(device, &operation, Some(format.0), &services.model) else {
                return false;
            };
            if matches!(active.request.format, Some(ContentFormat::TEXT | ContentFormat::OPAQUE)) {
                device.formats.single = Some(format.0);
            } else {
                device.formats.multiple = Some(format.0);
            }
            request = retry;
        } else {
            return false;
        }
        let retry = ActiveExchange {
            exchange: active.exchange.clone(),
            job: active.job.clone(),
            request,
            peer: active.peer,
            receiving: None,
            sending: None,
            tried_other_words: true,
            give_up_at: active.give_up_at,
        };
        self.continue_request(services, key, retry, None);
        true
    }

    pub(super) fn attributes_done(&mut self, key: usize, path: Path) {
        let observation = self.table.get_mut(key).and_then(|device| device.observations.get_mut(&path));
        if let Some(Phase::Wanted { attributes_written, .. }) = observation.map(|observation| &mut observation.phase) {
            *attributes_written = true;
        }
    }

    fn observe_answered(&mut self, services: &mut Services, key: usize, path: Path, message: &Message) {
        if !message.code.is_success() {
            self.observe_refused(services, key, path, message.code);
            return;
        }
        // That of the Observe, also where later pieces were asked for under others.
        let token = message.token;
        let now = services.now;
        let Some(device) = self.table.get_mut(key) else { return };
        let Some(observation) = device.observations.get_mut(&path) else { return };
        if let Some(sequence) = message.observe() {
            observation.phase = Phase::Active { token, newest: Some((sequence, now)), heard_at: now };
            self.tokens.insert(token, TokenOwner::Observation(key, path));
            self.persist(services, key);
        } else {
            // The value is welcome; the device will not report changes.
            observation.phase = Phase::Refused { code: message.code.0 };
            services.note_quirk(device, "observe_without_effect");
        }
        self.report_body(services, key, path, message, ReportSource::Notify);
    }

    pub(super) fn observation_cancelled(&mut self, key: usize, path: Path) {
        let Some(device) = self.table.get_mut(key) else { return };
        let Some(observation) = device.observations.get_mut(&path) else { return };
        if let Some(token) = observation.token() {
            self.tokens.remove(&token);
        }
        if observation.is_wanted() {
            observation.reset();
        } else {
            device.observations.remove(&path);
        }
    }

    fn command_answered(
        &mut self,
        services: &mut Services,
        key: usize,
        id: &str,
        active: &ActiveExchange,
        message: &Message,
    ) {
        let Some(queued) = self.table.get(key).and_then(|device| device.commands.get(id)) else { return };
        let operation = queued.command.operation.clone();
        let mut samples = Ok(Vec::new());
        let mut links = None;
        if message.code.is_success() {
            match &operation {
                Operation::Read { path } | Operation::Observe { path, .. } => {
                    samples = self.decode_body(services, key, *path, message);
                }
                Operation::Discover { .. } => links = Some(super::commands::links_json(&message.payload)),
                _ => {}
            }
            if let Operation::Observe { path, .. } = &operation {
                self.observed_by_command(services, key, *path, active, message);
            }
            if let Operation::CancelObserve { path, .. } = &operation {
                self.observation_cancelled(key, *path);
            }
        }
        if let Ok(samples) = &samples
            && !samples.is_empty()
        {
            // What a command read is news like any other.
            self.report(services, key, samples, ReportSource::Read, false);
        }
        let outcome = attempt::outcome_of(&operation, message, samples, links);
        self.finish_command(services, key, id, outcome);
    }

    fn observed_by_command(
        &mut self,
        services: &mut Services,
        key: usize,
        path: Path,
        active: &ActiveExchange,
        message: &Message,
    ) {
        let (Some(sequence), Some(0)) = (message.observe(), active.request.observe) else { return };
        let token = message.token;
        let Some(device) = self.table.get_mut(key) else { return };
        let observation = device.observations.entry(path).or_insert_with(|| {
            super::observation::Observation::wanted(crate::model::attributes::NotificationAttributes::default())
        });
        observation.by_command = true;
        observation.phase = Phase::Active { token, newest: Some((sequence, services.now)), heard_at: services.now };
        self.tokens.insert(token, TokenOwner::Observation(key, path));
        self.persist(services, key);
    }

    fn report_body(
        &mut self,
        services: &mut Services,
        key: usize,
        path: Path,
        message: &Message,
        source: ReportSource,
    ) {
        match self.decode_body(services, key, path, message) {
            Ok(samples) => self.report(services, key, &samples, source, false),
            Err(error) => {
                if let Some(device) = self.table.get_mut(key) {
                    device.last_error = Some(format!("answer for {path}: {error}"));
                }
            }
        }
    }

    /// The samples of a body, by the format that the message names; devices that name none mean text or TLV.
    pub(super) fn decode_body(
        &mut self,
        services: &mut Services,
        key: usize,
        base: Path,
        message: &Message,
    ) -> Result<Vec<Sample>, String> {
        let format = message.content_format().map(ContentFormat);
        self.decode_payload(services, key, base, format, &message.payload)
    }

    pub(super) fn decode_payload(
        &mut self,
        services: &mut Services,
        key: usize,
        base: Path,
        format: Option<ContentFormat>,
        payload: &[u8],
    ) -> Result<Vec<Sample>, String> {
        let received = services.wall();
        let model = services.model.clone();
        let Some(device) = self.table.get_mut(key) else { return Err("the device is gone".to_owned()) };
        let mut quirks = Vec::new();
        let format = format.unwrap_or_else(|| {
            quirks.push("no_content_format");
            if base.depth() >= 3 { ContentFormat::TEXT } else { ContentFormat::TLV }
        });
        let types = device.model(&model);
        let context = DecodeContext { base, root: device.root(), types: &types, received };
        let decoded = content::decode(format, payload, &context);
        let samples = match decoded {
            Ok(decoded) => {
                quirks.extend(decoded.quirks);
                Ok(decoded.samples)
            }
            Err(error) => {
                services.count(Occurrence::ContentError(format.0));
                Err(format!("{error} (format {format})"))
            }
        };
        for quirk in quirks {
            services.note_quirk(device, quirk);
        }
        samples
    }

    /// Send (`POST /dp`, Core TS 1.2.2 section 6.4.4).
    pub(super) fn receive_send(
        &mut self,
        services: &mut Services,
        peer: Peer,
        format: Option<u16>,
        body: &[u8],
        bytes: usize,
    ) -> super::requests::Reply {
        use super::requests::Reply;
        let Some(key) = self.by_address.get(&(peer.listener, peer.remote)).copied() else {
            services.refuse("", peer, "unknown_sender", "Send from an address that registered nothing");
            return Reply::now(Code::NOT_FOUND);
        };
        if self.table.get(key).is_none_or(|device| device.registration.is_none()) {
            return Reply::now(Code::NOT_FOUND);
        }
        self.heard(services, key, peer, bytes);
        let format = format.map_or(ContentFormat::SENML_CBOR, ContentFormat);
        let mut reply = match self.decode_payload(services, key, Path::ROOT, Some(format), body) {
            Ok(samples) => {
                self.tell_samples(services, key, ReportSource::Send, None, &samples);
                self.report(services, key, &samples, ReportSource::Send, false);
                Reply::when_durable(Code::CHANGED)
            }
            Err(error) => {
                if let Some(device) = self.table.get_mut(key) {
                    device.last_error = Some(format!("Send: {error}"));
                }
                let unsupported = ![110, 112, 11544, 11542, 11543].contains(&format.0);
                Reply::now(if unsupported { Code::UNSUPPORTED_CONTENT_FORMAT } else { Code::BAD_REQUEST })
            }
        };
        reply.asked_next = Some(key);
        reply
    }
}
