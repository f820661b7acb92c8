//! The next request to a device: commands, observations and reads take turns, one at a time.

use std::time::Duration;

use super::Devices;
use super::TokenOwner;
use super::commands::Silence;
use super::device::{Device, State, is_update_trigger};
use super::exchange::{ActiveExchange, Job};
use super::observation::{Phase, Target};
use super::responses::target_of;
use crate::gateway::dispatch::attempt::{self, Request};
use crate::gateway::services::Services;
use crate::gateway::transfer::{self, Receiving, Sending};
use crate::gateway::vocabulary::Peer;
use crate::instrumentation::occurrence::Occurrence;
use crate::model::command::{ErrorKind, Operation, Outcome};
use crate::model::time::Instant;
use crate::protocol::coap::exchange::{Elapsed, TransmissionParameters, free_message_id};
use crate::protocol::coap::message::{Code, Token};

/// MAX_TRANSMIT_WAIT of RFC 7252 section 4.8.2: how long a separate response may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(93);

impl Devices {
    /// Sends the next request if one may be sent, and puts the device under its deadline.
    pub fn advance(&mut self, services: &mut Services, key: usize) {
        self.advance_alone(services, key);
        for other in self.next_on_line(key) {
            if self.line_is_busy(other) {
                break;
            }
            self.advance_alone(services, other);
        }
    }

    fn advance_alone(&mut self, services: &mut Services, key: usize) {
        while !self.line_is_busy(key) {
            let Some((job, request, token)) = self.next_job(services, key) else { break };
            self.start(services, key, job, request, token);
        }
        self.schedule(services, key);
    }

    fn next_job(&mut self, services: &mut Services, key: usize) -> Option<(Job, Request, Option<Token>)> {
        let now = services.now;
        let device = self.table.get_mut(key)?;
        device.registration.as_ref().filter(|_| !device.disconnected)?;
        let quiet = device.quiet_until.is_some_and(|quiet_until| now < quiet_until);
        let listens = device.listens(now);
        let background_first = std::mem::take(&mut device.background_turn);
        if listens
            && !quiet
            && background_first
            && let Some(job) = next_background(device, now)
        {
            return Some(job);
        }
        if let Some(job) = self.next_command(services, key, listens) {
            if let Some(device) = self.table.get_mut(key) {
                device.background_turn = true;
            }
            return Some(job);
        }
        let device = self.table.get_mut(key)?;
        if listens && !quiet { next_background(device, now) } else { None }
    }

    /// The first command that may leave now. Those that turn out impossible end at once.
    fn next_command(
        &mut self,
        services: &mut Services,
        key: usize,
        listens: bool,
    ) -> Option<(Job, Request, Option<Token>)> {
        let model = services.model.clone();
        let ids: Vec<String> = self.table.get(key)?.commands.iter().map(|queued| queued.command.id.clone()).collect();
        for id in ids {
            let device = self.table.get(key)?;
            let Some(queued) = device.commands.get(&id) else { continue };
            let may_go = (listens || queued.disturbs())
                && !queued.handed_over
                && !device.rests_from(&queued.command.operation, services.now);
            let due = queued.command.not_before.is_none_or(|at| services.clock.instant_of(at) <= services.now);
            if !may_go || !due || !services.journal.is_durable(queued.accepted) {
                continue;
            }
            let repeatable = queued.command.operation.is_idempotent();
            let started = queued.started;
            match started {
                None if !repeatable => {
                    self.mark_started(services, key, &id);
                    continue;
                }
                Some(sequence) if !services.journal.is_durable(sequence) => continue,
                _ => {}
            }
            if let Some(job) = self.command_job(services, key, &id, &model) {
                return Some(job);
            }
        }
        None
    }

    fn command_job(
        &mut self,
        services: &mut Services,
        key: usize,
        id: &str,
        model: &crate::model::object::ObjectModel,
    ) -> Option<(Job, Request, Option<Token>)> {
        let device = self.table.get_mut(key)?;
        let queued = device.commands.get(id)?;
        let (operation, format) = (queued.command.operation.clone(), queued.command.format);
        if let Some(error) = attempt::beyond_version(device, &operation) {
            if operation == Operation::Bootstrap && self.bootstrap_unasked(services, key, id) {
                return None;
            }
            self.finish_command(services, key, id, Outcome::Failed { code: None, error: Some(error) });
            return None;
        }
        let target = target_of(&operation);
        let mut token = None;
        let mut effective = operation.clone();
        match (&operation, target) {
            (Operation::Observe { .. } | Operation::ObserveComposite { .. }, Some(target)) => {
                if let Some(observation) = device.observations.get_mut(&target) {
                    // The mapping observes it already: the values only go to one more place.
                    observation.by_command = true;
                    if matches!(observation.phase, Phase::Active { .. } | Phase::Wanted { .. }) {
                        effective = match target {
                            Target::Path(path) => Operation::Read { path },
                            Target::Composite(paths) => Operation::ReadComposite { paths: paths.to_vec() },
                        };
                    }
                } else if device.observations.len() >= services.configuration.limits.max_observations_per_device {
                    services.count(Occurrence::BoundReached("max_observations_per_device"));
                    let message = format!("the device has {} observations already", device.observations.len());
                    self.finish_command(services, key, id, Outcome::failed(ErrorKind::QueueFull, message));
                    return None;
                }
            }
            (
                Operation::CancelObserve { passive, .. } | Operation::CancelObserveComposite { passive, .. },
                Some(target),
            ) => match self.stop_observing(services, key, id, &target, *passive) {
                Some(observed) => token = Some(observed),
                None => return None,
            },
            _ => {}
        }
        let device = self.table.get(key)?;
        match attempt::request_for(device, &effective, format, model) {
            Ok(request) if !services.can_carry(device.peer, request.payload.len()) => {
                let message = "the value exceeds limits.max_transfer or what the device takes in one message";
                let outcome = Outcome::failed(ErrorKind::TooLarge, message);
                self.finish_command(services, key, id, outcome);
                None
            }
            Ok(request) => Some((Job::Command { id: id.to_owned() }, request, token)),
            Err(error) => {
                self.finish_command(services, key, id, Outcome::Failed { code: None, error: Some(error) });
                None
            }
        }
    }

    /// The sender no longer wants an observation: its token where the device has to be told, else the command ends.
    fn stop_observing(
        &mut self,
        services: &mut Services,
        key: usize,
        id: &str,
        target: &Target,
        passive: bool,
    ) -> Option<Token> {
        let device = self.table.get_mut(key)?;
        let done = || Outcome::Done { code: Code::CONTENT.to_string(), answer: serde_json::Map::new() };
        let Some(observation) = device.observations.get_mut(target) else {
            let outcome = Outcome::failed(ErrorKind::Invalid, format!("path {target} is not observed"));
            self.finish_command(services, key, id, outcome);
            return None;
        };
        observation.by_command = false;
        let token = observation.token();
        if observation.by_mapping {
            self.finish_command(services, key, id, done());
            return None;
        }
        if passive || token.is_none() {
            // The next notification carries an unknown token and is rejected with a reset (RFC 7641 section 3.6).
            self.observation_cancelled(key, target);
            self.persist(services, key);
            self.finish_command(services, key, id, done());
            return None;
        }
        token
    }

    /// Sends a request and makes it the one under way. `token`: for cancelling an observation by its own token.
    fn start(&mut self, services: &mut Services, key: usize, job: Job, request: Request, token: Option<Token>) {
        let give_up_at = match &job {
            Job::Command { id } => {
                let queued = self.table.get(key).and_then(|device| device.commands.get(id));
                queued.and_then(|queued| queued.command.timeout).map(|timeout| services.now + timeout)
            }
            _ => None,
        };
        let Some(peer) = self.table.get(key).map(|device| device.peer) else { return };
        let sending = services.sending_for(peer, &request.payload);
        if let Some(device) = self.table.get_mut(key)
            && request.code == Code::POST
            && is_update_trigger(&request.path)
        {
            device.triggered_at = Some(services.now);
        }
        let active = (job, request, peer, sending, give_up_at, false);
        self.transmit_request(services, key, active, None, token);
    }

    /// Sends one message of a request: the whole, or one piece of it.
    fn transmit_request(
        &mut self,
        services: &mut Services,
        key: usize,
        (job, request, peer, sending, give_up_at, tried_other_words): Words,
        receiving: Option<Receiving>,
        token: Option<Token>,
    ) {
        let token = token.unwrap_or_else(|| self.new_token(services));
        let Some(device) = self.table.get_mut(key) else { return };
        // Several devices may share an address: an id that is in use there is passed over.
        let id = free_message_id(device.next_message_id, |id| self.outstanding.contains_key(&(peer.place(), id)));
        device.next_message_id = id.wrapping_add(1);
        let message = transfer::message_of(&request, device.root(), id, token, sending.as_ref(), receiving.as_ref());
        let received = receiving.as_ref().map_or(0, Receiving::received_bytes);
        let parameters = TransmissionParameters {
            ack_timeout: device.settings.ack_timeout.unwrap_or(services.configuration.lwm2m.ack_timeout),
            max_retransmit: services.configuration.lwm2m.max_retransmit,
            response_timeout: RESPONSE_TIMEOUT,
        };
        let (exchange, datagram) = services.begin_exchange(peer, &message, parameters, give_up_at);
        device.bytes_out = device.bytes_out.saturating_add(datagram.len() as u64);
        device.exchange =
            Some(ActiveExchange { exchange, job, request, peer, receiving, sending, tried_other_words, give_up_at });
        self.receiving_bytes += received;
        self.outstanding.insert((peer.place(), id), key);
        self.tokens.entry(token).or_insert(TokenOwner::Exchange(key));
        services.transmit(peer, datagram);
    }

    /// Asks again in other words or for the next piece; the job goes on.
    pub(super) fn continue_request(
        &mut self,
        services: &mut Services,
        key: usize,
        active: ActiveExchange,
        receiving: Option<Receiving>,
    ) {
        let ActiveExchange { job, request, peer, sending, give_up_at, tried_other_words, .. } = active;
        self.transmit_request(
            services,
            key,
            (job, request, peer, sending, give_up_at, tried_other_words),
            receiving,
            None,
        );
    }

    /// Everything that is due at a device.
    pub fn handle_deadline(&mut self, services: &mut Services, key: usize) {
        let now = services.now;
        let Some(device) = self.table.get_mut(key) else { return };
        let expired = device.registration.as_ref().and_then(|registration| registration.expires_at);
        if expired.is_some_and(|expires_at| expires_at <= now) {
            self.expire(services, key);
        }
        self.expire_commands(services, key);
        self.elapse_exchange(services, key);
        let Some(device) = self.table.get_mut(key) else { return };
        if device.quiet_until.is_some_and(|quiet_until| quiet_until <= now) {
            device.quiet_until = None;
        }
        let window_over = device.awake_until.is_some_and(|awake_until| awake_until <= now);
        if window_over && device.state == State::Online && device.registration.is_some() && device.exchange.is_none() {
            self.fall_asleep(services, key);
        } else if window_over && let Some(active) = self.table.get_mut(key).and_then(|device| device.exchange.as_ref())
        {
            // The request under way decides: its answer keeps the device awake, its end lets it sleep.
            let deadline = active.exchange.deadline();
            if let Some(device) = self.table.get_mut(key) {
                device.awake_until = Some(deadline + Duration::from_millis(1));
            }
        }
        self.watch_observations(key, now);
        self.queue_periodic_reads(key, now);
        self.report_due_keys(services, key);
        self.publish_due_values(services, key);
        self.advance(services, key);
    }

    fn elapse_exchange(&mut self, services: &mut Services, key: usize) {
        let now = services.now;
        let Some(active) = self.table.get_mut(key).and_then(|device| device.exchange.as_mut()) else { return };
        if active.exchange.deadline() > now {
            return;
        }
        match active.exchange.elapse(now) {
            Elapsed::Retransmit => {
                let (peer, datagram) = (active.peer, active.exchange.datagram().to_vec());
                services.count(Occurrence::Retransmission);
                services.transmit(peer, datagram);
            }
            Elapsed::NotAcknowledged => self.not_answered(services, key, false),
            Elapsed::NotAnswered => self.not_answered(services, key, true),
        }
    }

    fn not_answered(&mut self, services: &mut Services, key: usize, acknowledged: bool) {
        services.count(Occurrence::ExchangeTimedOut);
        let Some(mut active) = self.end_exchange(key) else { return };
        let now = services.now;
        let Some(device) = self.table.get_mut(key) else { return };
        let out_of_time = active.give_up_at.is_some_and(|give_up_at| give_up_at <= now);
        let repeatable = match &active.job {
            Job::Command { id } => {
                device.commands.get(id).is_some_and(|queued| queued.command.operation.is_idempotent())
            }
            _ => true,
        };
        if repeatable && !acknowledged && !out_of_time && active.takes_second_try() {
            let receiving = active.receiving.take();
            self.continue_request(services, key, active, receiving);
            return;
        }
        let silent = !acknowledged && active.exchange.other_token().is_none();
        if silent && !active.tried_other_words && !out_of_time {
            if let Some(alternate) = device.alternate_peer.take() {
                // Heard from elsewhere since it registered: a NAT may have moved it.
                active.tried_other_words = true;
                active.peer = alternate;
                self.continue_request(services, key, active, None);
                return;
            }
            let heard_meanwhile =
                device.heard_at.is_some_and(|heard_at| now.saturating_since(heard_at) < RESPONSE_TIMEOUT);
            if active.request.accept.is_some() && heard_meanwhile {
                // Some clients drop a request whose Accept they do not know.
                device.formats.no_accept = true;
                services.note_quirk(device, "drops_unknown_accept");
                active.tried_other_words = true;
                active.request.accept = None;
                self.continue_request(services, key, active, None);
                return;
            }
        }
        device.last_error = Some(format!(
            "no answer to {} {}",
            if acknowledged { "an acknowledged request for" } else { "a request for" },
            active.request.path
        ));
        let queue_mode = device.in_queue_mode();
        if let Job::Command { id } = &active.job {
            let silence = match active.exchange.other_token() {
                Some(theirs) => Silence::OtherToken { ours: active.exchange.token(), theirs },
                None if acknowledged => Silence::AfterAcknowledgement,
                None => Silence::Complete,
            };
            self.command_unanswered(services, key, id, silence, queue_mode);
        }
        if let (Job::Observe { target: Target::Composite(_) }, true) = (&active.job, acknowledged) {
            // Some clients acknowledge a FETCH and then say nothing; what they take is tried next.
            self.composite_refused(services, key, "the device acknowledged it and stayed silent");
            return;
        }
        self.did_not_answer(services, key);
    }

    /// The job of an exchange that was ended from outside goes back to where it came from.
    pub(super) fn requeue(&mut self, services: &mut Services, key: usize, ended: &ActiveExchange) {
        if let Job::Command { id } = &ended.job {
            let repeatable = self
                .table
                .get(key)
                .and_then(|device| device.commands.get(id))
                .is_some_and(|queued| queued.command.operation.is_idempotent());
            if !repeatable {
                // It was sent and the device started anew: it may have run, as with a reboot.
                self.finish_command(services, key, id, Outcome::Unknown);
            }
        }
    }

    /// Observes anew what went quiet although its device is heard.
    fn watch_observations(&mut self, key: usize, now: Instant) {
        let Some(device) = self.table.get_mut(key) else { return };
        let device_heard_at = device.heard_at;
        for (target, observation) in &mut device.observations {
            if let Phase::Wanted { not_before, .. } = &mut observation.phase {
                // From now on it waits for the device, not for the clock.
                *not_before = not_before.filter(|at| *at > now);
            }
            if observation.watchdog_at().is_none_or(|watchdog_at| watchdog_at > now) {
                continue;
            }
            if let Phase::Active { token, heard_at, newest } = observation.phase {
                if device_heard_at.is_some_and(|device_heard_at| device_heard_at > heard_at) {
                    device.last_error = Some(format!("{target} went quiet and is observed anew"));
                    observation.phase = Phase::Cancelling { token };
                } else {
                    observation.phase = Phase::Active { token, newest, heard_at: now };
                }
            }
        }
    }

    fn queue_periodic_reads(&mut self, key: usize, now: Instant) {
        let Some(device) = self.table.get_mut(key) else { return };
        let mut due = Vec::new();
        for read in &mut device.periodic_reads {
            if read.due <= now {
                read.due = now + read.interval;
                due.push(read.path);
            }
        }
        for path in due {
            device.request_read(Target::Path(path));
        }
    }
}

/// A request with everything that stays the same while it is repeated in other words or pieces.
type Words = (Job, Request, Peer, Option<Sending>, Option<Instant>, bool);

/// What the mapping wants next: observations to end, attributes and observations to make, reads.
fn next_background(device: &mut Device, now: Instant) -> Option<(Job, Request, Option<Token>)> {
    let cancelling = device.observations.iter().find_map(|(target, observation)| match observation.phase {
        Phase::Cancelling { token } => Some((target.clone(), token)),
        _ => None,
    });
    if let Some((target, token)) = cancelling {
        let request = request_of(device, &target, Some(1))?;
        return Some((Job::Cancel { target }, Request { accept: None, ..request }, Some(token)));
    }
    let wanted = device.observations.iter().find_map(|(target, observation)| match observation.phase {
        Phase::Wanted { attributes_written, not_before } if not_before.is_none_or(|at| at <= now) => {
            let mut rest = target.paths().iter().enumerate().skip(attributes_written);
            let unwritten = rest.find(|(position, _)| !observation.attributes_of(*position).is_empty());
            let written =
                unwritten.map(|(position, path)| (position, *path, observation.attributes_of(position).to_query()));
            Some((target.clone(), written))
        }
        _ => None,
    });
    if let Some((target, unwritten)) = wanted {
        if let Some((position, path, query)) = unwritten {
            let request = Request { query, ..Request::new(Code::PUT, path) };
            return Some((Job::WriteAttributes { target, position }, request, None));
        }
        let request = request_of(device, &target, Some(0))?;
        return Some((Job::Observe { target }, request, None));
    }
    let target = device.reads.pop_front()?;
    let request = request_of(device, &target, None)?;
    Some((Job::Read { target }, request, None))
}

/// A read or observe in the format that the device takes.
fn request_of(device: &Device, target: &Target, observe: Option<u32>) -> Option<Request> {
    match target {
        Target::Path(path) => {
            let accept = attempt::accept_for(device);
            Some(Request { observe, accept, ..Request::new(Code::GET, *path) })
        }
        Target::Composite(paths) => attempt::composite(device, paths, observe, None).ok(),
    }
}
