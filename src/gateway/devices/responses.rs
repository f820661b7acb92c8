//! Answers of devices to the requests of the gateway, and what becomes of the work that asked.
//!
//! An answer is matched by the message id it acknowledges or by its token. What carries the token of an observation goes
//! to [`observing`](super::observing); what carries an unknown one is rejected with a reset. A refused format is
//! answered once by another one, which is remembered, unless the command named its format.

use super::Devices;
use super::TokenOwner;
use super::device::is_disable;
use super::exchange::{ActiveExchange, Job};
use super::observation::Target;
use crate::gateway::dispatch::attempt::{self, Request};
use crate::gateway::services::Services;
use crate::gateway::transfer::TransferError;
use crate::gateway::vocabulary::Peer;
use crate::instrumentation::occurrence::Occurrence;
use crate::model::command::{ErrorKind, Operation, Outcome};
use crate::model::path::Path;
use crate::model::report::{ReportSource, Sample};
use crate::protocol::coap::message::{Code, Message, MessageType};
use crate::protocol::content::{self, ContentFormat, DecodeContext};

impl Devices {
    pub(super) fn handle_acknowledgement(&mut self, services: &mut Services, peer: Peer, id: u16) {
        let Some(key) = self.outstanding.get(&(peer.place(), id)).copied() else { return };
        self.heard(services, key, peer, 4);
        if let Some(active) = self.table.get_mut(key).and_then(|device| device.exchange.as_mut()) {
            active.exchange.acknowledge(services.now);
        }
        self.schedule(services, key);
    }

    pub(super) fn handle_reset(&mut self, services: &mut Services, peer: Peer, id: u16) {
        let Some(key) = self.outstanding.get(&(peer.place(), id)).copied() else { return };
        self.heard(services, key, peer, 4);
        let Some(active) = self.end_exchange(key) else { return };
        match &active.job {
            Job::Command { id } => {
                let outcome = Outcome::failed(ErrorKind::BadAnswer, "the device rejected the request with a reset");
                self.finish_command(services, key, id, outcome);
            }
            Job::Cancel { target } => self.observation_cancelled(key, target),
            Job::Observe { target } => self.observe_refused(services, key, target, Code::BAD_REQUEST),
            Job::WriteAttributes { target, position } => self.attributes_done(key, target, *position),
            Job::Read { .. } => {}
        }
        self.advance(services, key);
    }

    pub(super) fn handle_response(&mut self, services: &mut Services, peer: Peer, message: Message, bytes: usize) {
        if message.message_type == MessageType::Acknowledgement {
            let Some(key) = self.outstanding.get(&(peer.place(), message.id)).copied() else {
                services.count(Occurrence::DatagramDropped("unknown_acknowledgement"));
                return;
            };
            let Some(active) = self.table.get_mut(key).and_then(|device| device.exchange.as_mut()) else { return };
            if active.exchange.token() != message.token {
                active.exchange.note_other_token(message.token);
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
        if !self.is_new(services, peer, message.id) {
            return;
        }
        match self.tokens.get(&message.token).cloned() {
            Some(owner) if !self.is_on_stream(services, &owner) && self.is_from(services, owner.key(), peer) => {
                self.handle_owned_response(services, peer, owner, message, bytes, confirmable);
            }
            _ => {
                services.count(Occurrence::DatagramDropped("unknown_token"));
                let reset = Message::reset(message.id).encode();
                self.send_answer(services, peer, message.id, reset);
            }
        }
    }

    /// A response or notification whose token belongs to a device that may use it from there.
    pub(super) fn handle_owned_response(
        &mut self,
        services: &mut Services,
        peer: Peer,
        owner: TokenOwner,
        message: Message,
        bytes: usize,
        confirmable: bool,
    ) {
        match owner {
            TokenOwner::Exchange(key) => {
                self.heard(services, key, peer, bytes);
                self.acknowledge_now(services, peer, message.id, confirmable);
                self.handle_answer(services, key, message);
            }
            TokenOwner::Observation(key, target) => {
                self.heard(services, key, peer, bytes);
                let cancelling = self.table.get(key).is_some_and(|device| {
                    device.exchange.as_ref().is_some_and(|active| active.exchange.token() == message.token)
                });
                if cancelling && message.observe().is_none() {
                    self.acknowledge_now(services, peer, message.id, confirmable);
                    self.handle_answer(services, key, message);
                } else {
                    self.handle_notification(services, key, &target, peer, &message, confirmable);
                }
            }
        }
    }

    pub(in crate::gateway) fn acknowledge_now(
        &mut self,
        services: &mut Services,
        peer: Peer,
        id: u16,
        confirmable: bool,
    ) {
        if confirmable {
            self.send_answer(services, peer, id, Message::acknowledgement(id).encode());
        } else {
            self.answers.answered(peer, id, &[]);
        }
    }

    /// The answer to the request under way, or one piece of it.
    fn handle_answer(&mut self, services: &mut Services, key: usize, message: Message) {
        let Some(active) = self.end_exchange(key) else { return };
        match self.assemble(services, key, active, message) {
            None => {}
            Some((active, Ok(message))) => self.finish(services, key, &active, &message),
            Some((active, Err(error))) => self.transfer_failed(services, key, &active, &error),
        }
        self.advance(services, key);
    }

    /// The device answered, and its body cannot be had.
    fn transfer_failed(&mut self, services: &mut Services, key: usize, active: &ActiveExchange, error: &TransferError) {
        let (kind, text) = match error {
            TransferError::WrongPiece(text) => {
                (ErrorKind::BadAnswer, format!("the answer came in wrong pieces: {text}"))
            }
            TransferError::TooLarge(bound) => (ErrorKind::TooLarge, format!("the answer exceeds {bound}")),
        };
        if let Some(device) = self.table.get_mut(key) {
            device.last_error = Some(text.clone());
        }
        match &active.job {
            Job::Command { id } => self.finish_command(services, key, id, Outcome::failed(kind, text)),
            Job::Observe { target } => self.observe_refused(services, key, target, Code::REQUEST_ENTITY_INCOMPLETE),
            Job::Cancel { target } => self.observation_cancelled(key, target),
            Job::WriteAttributes { target, position } => self.attributes_done(key, target, *position),
            Job::Read { .. } => {}
        }
    }

    fn finish(&mut self, services: &mut Services, key: usize, active: &ActiveExchange, message: &Message) {
        if self.ask_in_another_format(services, key, active, message.code) {
            return;
        }
        match active.job.clone() {
            Job::WriteAttributes { target, position } => {
                if !message.code.is_success() {
                    tracing::debug!(%target, code = %message.code, "attributes were not taken");
                    if let Some(device) = self.table.get_mut(key) {
                        services.note_quirk(device, "attributes_refused");
                    }
                }
                self.attributes_done(key, &target, position);
            }
            Job::Observe { target } => self.observe_answered(services, key, &target, message),
            Job::Cancel { target } => self.observation_cancelled(key, &target),
            Job::Read { target } => {
                if message.code.is_success() {
                    self.report_body(services, key, &target, message, ReportSource::Read, false);
                } else {
                    tracing::debug!(%target, code = %message.code, "a read was refused");
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
        let queued = match &active.job {
            Job::Command { id } => device.commands.get(id),
            _ => None,
        };
        if queued.is_some_and(|queued| queued.command.format.is_some()) {
            return false;
        }
        let mut request = active.request.clone();
        let of_body = code == Code::UNSUPPORTED_CONTENT_FORMAT && request.format.is_some();
        if !of_body && request.accept.take().is_some() {
            device.formats.no_accept = true;
        } else if let Some(format) = attempt::next_write_format(&request) {
            let operation = match (&active.job, queued) {
                (Job::Observe { target } | Job::Cancel { target } | Job::Read { target }, _) => {
                    Operation::ReadComposite { paths: target.paths().to_vec() }
                }
                (_, Some(queued)) => queued.command.operation.clone(),
                _ => return false,
            };
            let Ok(retry) = attempt::request_for(device, &operation, Some(format.0), &services.model) else {
                return false;
            };
            match (active.request.code, active.request.format) {
                (Code::FETCH | Code::IPATCH, _) => device.formats.composite = Some(attempt::without_etch(format).0),
                (_, Some(ContentFormat::TEXT | ContentFormat::OPAQUE)) => device.formats.single = Some(format.0),
                _ => device.formats.multiple = Some(format.0),
            }
            request = Request { observe: request.observe, ..retry };
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
        let target = target_of(&operation);
        if message.code.is_success() {
            match (&operation, &target) {
                (Operation::Discover { .. }, _) => links = Some(super::commands::links_json(&message.payload)),
                (Operation::CancelObserve { .. } | Operation::CancelObserveComposite { .. }, Some(target)) => {
                    self.observation_cancelled(key, target);
                }
                (_, Some(target)) => {
                    samples = self.decode_body(services, key, target.base(), message);
                    if let Some(beyond) = samples.iter().flatten().find(|sample| !target.covers(&sample.path)) {
                        samples = Err(format!("the device answered with {}, which was not asked for", beyond.path));
                    }
                    self.observed_by_command(services, key, target, active, message);
                }
                _ => {}
            }
        }
        if let Ok(samples) = &samples
            && !samples.is_empty()
        {
            // What a command read is news like any other.
            self.report(services, key, samples, ReportSource::Read, false);
        }
        if message.code.is_success() {
            self.learn_from(services, key, &operation);
        }
        let outcome = attempt::outcome_of(&operation, message, samples, links);
        self.finish_command(services, key, id, outcome);
    }

    /// What a command that the device carried out means for what can be expected of it.
    fn learn_from(&mut self, services: &mut Services, key: usize, operation: &Operation) {
        match operation {
            Operation::Execute { path, .. } if is_disable(path) => self.disabled(services, key),
            Operation::Write { values, .. }
            | Operation::WriteUpdate { values, .. }
            | Operation::WriteComposite { values } => {
                let Some(device) = self.table.get_mut(key) else { return };
                for (path, value) in values {
                    device.learn_disable_timeout(path, value.as_u64());
                }
            }
            _ => {}
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
        let named = format;
        let format = named.unwrap_or_else(|| {
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
                Err(match named {
                    Some(_) => format!("{error} (format {format})"),
                    None => format!("the answer names no Content-Format and was taken for {format}: {error}"),
                })
            }
        };
        for quirk in quirks {
            services.note_quirk(device, quirk);
        }
        samples
    }
}

/// What an operation reads or observes.
pub(super) fn target_of(operation: &Operation) -> Option<Target> {
    Some(match operation {
        Operation::Read { path } | Operation::Observe { path, .. } | Operation::CancelObserve { path, .. } => {
            Target::Path(*path)
        }
        Operation::ReadComposite { paths }
        | Operation::ObserveComposite { paths }
        | Operation::CancelObserveComposite { paths, .. } => Target::composite(paths),
        _ => return None,
    })
}
