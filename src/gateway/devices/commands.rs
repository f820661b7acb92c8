//! Commands of one device: acceptance, results, expiry. The state machine is told in [`crate::gateway::dispatch`].

use serde_json::{Value as Json, json};

use super::Devices;
use super::device::{Desired, Device};
use super::observation::Target;
use crate::gateway::bootstrap::Inbound;
use crate::gateway::configuration::Transport;
use crate::gateway::dispatch::queue::QueuedCommand;
use crate::gateway::dispatch::record::{CommandRecord, Origin};
use crate::gateway::dispatch::results::KeptResult;
use crate::gateway::services::{Held, Services};
use crate::gateway::store::StoreWrite;
use crate::gateway::vocabulary::{Answer, CommandProgress, Peer, RequestId};
use crate::instrumentation::occurrence::Occurrence;
use crate::model::command::{Command, CommandError, CommandResult, ErrorKind, Operation, Outcome, WhenAsleep};
use crate::model::credential::Scope;
use crate::model::endpoint::Endpoint;
use crate::model::message::Message;
use crate::northbound::command_json::result_json;
use crate::northbound::layout::native;
use crate::northbound::topic::{encode_level, is_publishable};
use crate::protocol::coap::message::Token;
use crate::protocol::lwm2m::link_format;

/// What came of a request that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Nothing.
    Complete,
    /// An empty acknowledgement, and then nothing.
    AfterAcknowledgement,
    /// Answers that cannot be told to be ours.
    OtherToken {
        /// The token of the request.
        ours: Token,
        /// That of the answer.
        theirs: Token,
    },
}

impl Devices {
    /// Takes a command for a device. Whatever becomes of it is told to its origin; the caller acknowledges the sender
    /// when this input is durable.
    pub fn accept_command(&mut self, services: &mut Services, key: usize, asked: Command, origin: Origin) {
        let Some(device) = self.table.get(key) else { return };
        let (endpoint, id) = (device.endpoint.clone(), asked.id.clone());
        if let Some(kept) = self.results.get(&endpoint, &id) {
            let result = if kept.asked == asked.operation {
                kept.result.clone()
            } else {
                result_of(services, &endpoint, &id, &asked.operation, conflict())
            };
            self.publish_result(services, key, &origin, &result);
            return;
        }
        if let Some(waiting) = device.commands.get(&id) {
            // The same again: it waits already. Something else under the same id: refused, without touching the first.
            if waiting.asked != asked.operation {
                let result = result_of(services, &endpoint, &id, &asked.operation, conflict());
                self.publish_result(services, key, &origin, &result);
            } else if let Some(request) = origin.request {
                // Whoever asks again waits in place of the one before.
                self.accepted(services, key, &id, request);
                let waiting = self.table.get_mut(key).and_then(|device| device.commands.get_mut(&id));
                if let Some(waiting) = waiting {
                    waiting.origin.request = Some(request);
                    if waiting.reported_queued {
                        let result = result_of(services, &endpoint, &id, &asked.operation, Outcome::Queued);
                        let answer = Answer::Command(CommandProgress::Result(result));
                        services.journal.when_durable(Held::ApiAnswer { request, answer });
                    }
                }
            }
            return;
        }
        if let Operation::Cancel { command } = &asked.operation {
            let outcome = self.cancel_command(services, key, &command.clone());
            let result = result_of(services, &endpoint, &id, &asked.operation, outcome);
            self.end_with(services, key, &origin, asked.operation.clone(), result);
            return;
        }
        let resolved = match self.resolve(services, key, &asked) {
            Ok(operation) => operation,
            Err(error) => {
                let outcome = Outcome::Failed { code: None, error: Some(error) };
                let result = result_of(services, &endpoint, &id, &asked.operation, outcome);
                self.end_with(services, key, &origin, asked.operation.clone(), result);
                return;
            }
        };
        self.supersede_desired(services, key, &asked);
        self.supersede_writes(services, key, &asked, &resolved);
        if let Some(refusal) = self.refusal_of(services, key, &asked) {
            let result = result_of(services, &endpoint, &id, &asked.operation, refusal);
            // Not kept: the sender may try the same id again when there is room.
            services.count(Occurrence::Command("refused"));
            self.publish_result(services, key, &origin, &result);
            return;
        }
        self.enqueue(services, key, asked, resolved, origin);
    }

    fn refusal_of(&self, services: &mut Services, key: usize, asked: &Command) -> Option<Outcome> {
        let device = self.table.get(key)?;
        let limits = services.configuration.limits.clone();
        if device.commands.len() >= limits.max_commands_per_device {
            services.count(Occurrence::BoundReached("max_commands_per_device"));
            let message = format!("{} commands wait for this device", device.commands.len());
            return Some(Outcome::failed(ErrorKind::QueueFull, message));
        }
        if self.command_bytes + charged_bytes(asked) > limits.max_command_bytes {
            services.count(Occurrence::BoundReached("max_command_bytes"));
            return Some(Outcome::failed(
                ErrorKind::QueueFull,
                "the waiting commands of all devices reached their bound",
            ));
        }
        let sleeps = !device.listens(services.now);
        if sleeps && asked.when_asleep == WhenAsleep::Fail {
            return Some(Outcome::failed(
                ErrorKind::Asleep,
                "the device sleeps or is not registered, and when_asleep is fail",
            ));
        }
        None
    }

    fn enqueue(&mut self, services: &mut Services, key: usize, asked: Command, resolved: Operation, origin: Origin) {
        let Some(device) = self.table.get_mut(key) else { return };
        let waits = !device.listens(services.now) && asked.when_asleep != WhenAsleep::Try;
        let id = asked.id.clone();
        let mut queued = QueuedCommand {
            accepted_at: services.wall(),
            expires_at: services.now + asked.ttl,
            accepted: crate::gateway::store::StoreSequence(services.journal.sealed_sequence().0 + 1),
            started: None,
            reported_queued: waits,
            tried: false,
            handed_over: false,
            asked: asked.operation.clone(),
            command: Command { operation: resolved, ..asked },
            origin,
        };
        self.command_bytes += charged_bytes(&queued.command);
        if let Operation::Set { key: desired, value } = &queued.asked {
            let wanted = Desired { value: value.clone(), command: id.clone(), applied: false };
            device.desired.insert(desired.clone(), wanted);
        }
        let result = waits.then(|| {
            let mut result = result_of(services, &device.endpoint, &id, &queued.asked, Outcome::Queued);
            result.path = result.path.or_else(|| queued.command.operation.path().copied());
            result
        });
        let record = CommandRecord::of(&queued, &services.clock).encode();
        services.write(StoreWrite::PutCommand { endpoint: device.endpoint.clone(), id, record });
        queued.accepted = services.journal.sequence();
        let (origin, id) = (queued.origin.clone(), queued.command.id.clone());
        device.commands.push(queued);
        if let Some(request) = origin.request {
            self.accepted(services, key, &id, request);
        }
        if let Some(result) = result {
            services.count(Occurrence::Command("queued"));
            self.publish_result(services, key, &origin, &result);
        }
        services.journal.when_durable(Held::Device(key));
    }

    /// What the device gets: named commands and desired values become operations.
    fn resolve(&self, services: &Services, key: usize, asked: &Command) -> Result<Operation, CommandError> {
        let Some(device) = self.table.get(key) else {
            return Err(CommandError::new(ErrorKind::UnknownDevice, "the device is gone"));
        };
        match &asked.operation {
            Operation::Named { name, params } => services.plan.command(&device.selection, name, params),
            Operation::Set { key, value } => {
                let types = device.model(&services.model);
                let write = services.plan.desired(&device.selection, &device.facts, &types, key, value)?;
                let json = write.value.to_json().ok_or_else(|| {
                    CommandError::new(ErrorKind::Invalid, format!("key '{key}': the value is not a finite number"))
                })?;
                Ok(Operation::Write {
                    path: write.path,
                    values: [(write.path, json)].into(),
                    value_type: Some(write.value.resource_type()),
                })
            }
            other => Ok(other.clone()),
        }
    }

    /// A newer desired value takes the place of one that still waits.
    fn supersede_desired(&mut self, services: &mut Services, key: usize, asked: &Command) {
        let Operation::Set { key: desired, .. } = &asked.operation else { return };
        let Some(device) = self.table.get(key) else { return };
        let under_way = device.exchange.as_ref().and_then(|active| match &active.job {
            super::exchange::Job::Command { id } => Some(id.clone()),
            _ => None,
        });
        let older: Vec<String> = device
            .commands
            .iter()
            .filter(|queued| queued.key() == Some(desired) && Some(&queued.command.id) != under_way.as_ref())
            .map(|queued| queued.command.id.clone())
            .collect();
        for id in older {
            let outcome = Outcome::Cancelled { replaced_by: Some(asked.id.clone()) };
            self.finish_command(services, key, &id, outcome);
        }
    }

    /// A device that does not listen gets the latest write of a path only: earlier ones that still wait end as
    /// cancelled. Anything else that waits for the same path in between keeps them, since it was meant to see them.
    fn supersede_writes(&mut self, services: &mut Services, key: usize, asked: &Command, resolved: &Operation) {
        let Some(device) = self.table.get(key) else { return };
        if device.listens(services.now) || asked.not_before.is_some() || device.exchange.is_some() {
            return;
        }
        if asked.when_asleep == WhenAsleep::Fail {
            // It is about to be refused, and takes nobody's place.
            return;
        }
        let Some(path) = resolved.path().copied() else { return };
        let mut older = Vec::new();
        for queued in device.commands.iter() {
            if queued.is_overwritten_by(resolved) {
                older.push(queued.command.id.clone());
            } else if queued.command.operation.path().is_none_or(|other| other.contains(&path) || path.contains(other))
            {
                older.clear();
            }
        }
        for id in older {
            let outcome = Outcome::Cancelled { replaced_by: Some(asked.id.clone()) };
            self.finish_command(services, key, &id, outcome);
        }
    }

    fn cancel_command(&mut self, services: &mut Services, key: usize, id: &str) -> Outcome {
        let Some(device) = self.table.get(key) else {
            return Outcome::failed(ErrorKind::UnknownDevice, "the device is gone");
        };
        if device.commands.get(id).is_none() {
            return Outcome::failed(ErrorKind::Invalid, format!("command '{id}' does not wait"));
        }
        let under_way = device
            .exchange
            .as_ref()
            .is_some_and(|active| matches!(&active.job, super::exchange::Job::Command { id: sent } if sent == id));
        if under_way {
            return Outcome::failed(ErrorKind::Conflict, format!("command '{id}' is with the device already"));
        }
        self.finish_command(services, key, id, Outcome::Cancelled { replaced_by: None });
        Outcome::Done { code: "2.04".to_owned(), answer: serde_json::Map::new() }
    }

    /// Says durably that an operation which must not run twice is about to be sent.
    pub(super) fn mark_started(&mut self, services: &mut Services, key: usize, id: &str) {
        let Some(device) = self.table.get_mut(key) else { return };
        let endpoint = device.endpoint.clone();
        let Some(queued) = device.commands.get_mut(id) else { return };
        queued.started = Some(crate::gateway::store::StoreSequence(u64::MAX));
        let record = CommandRecord::of(queued, &services.clock).encode();
        services.write(StoreWrite::PutCommand { endpoint, id: id.to_owned(), record });
        queued.started = Some(services.journal.sequence());
        services.journal.when_durable(Held::Device(key));
    }

    /// A command was sent and never answered.
    pub(super) fn command_unanswered(
        &mut self,
        services: &mut Services,
        key: usize,
        id: &str,
        silence: Silence,
        queue_mode: bool,
    ) {
        let Some(queued) = self.table.get(key).and_then(|device| device.commands.get(id)) else { return };
        let repeatable = queued.command.operation.is_idempotent();
        let gave_up = queued.command.timeout.is_some();
        if !repeatable {
            self.finish_command(services, key, id, Outcome::Unknown);
        } else if gave_up {
            self.finish_command(services, key, id, Outcome::failed(ErrorKind::Timeout, "no answer within timeout"));
        } else if let Silence::OtherToken { ours, theirs } = silence {
            let message = format!("the device answered under another token, {theirs:?} where {ours:?} was asked under");
            self.finish_command(services, key, id, Outcome::failed(ErrorKind::BadAnswer, message));
        } else if queue_mode {
            self.report_queued(services, key, id);
        } else {
            let outcome = if silence == Silence::AfterAcknowledgement {
                Outcome::failed(ErrorKind::Timeout, "the device acknowledged the request and never answered it")
            } else {
                Outcome::failed(ErrorKind::Unreachable, "the device did not answer")
            };
            self.finish_command(services, key, id, outcome);
        }
    }

    /// The connection ended under a command: it waits for the next one, unless it may have been carried out.
    pub(super) fn command_interrupted(&mut self, services: &mut Services, key: usize, id: &str) {
        let Some(queued) = self.table.get(key).and_then(|device| device.commands.get(id)) else { return };
        if queued.command.operation.is_idempotent() {
            self.report_queued(services, key, id);
        } else {
            self.finish_command(services, key, id, Outcome::Unknown);
        }
    }

    fn report_queued(&mut self, services: &mut Services, key: usize, id: &str) {
        let Some(device) = self.table.get_mut(key) else { return };
        let endpoint = device.endpoint.clone();
        let Some(queued) = device.commands.get_mut(id) else { return };
        queued.tried = true;
        if std::mem::replace(&mut queued.reported_queued, true) {
            return;
        }
        let (asked, origin) = (queued.asked.clone(), queued.origin.clone());
        let path = queued.command.operation.path().copied();
        let record = CommandRecord::of(queued, &services.clock).encode();
        services.write(StoreWrite::PutCommand { endpoint: endpoint.clone(), id: id.to_owned(), record });
        services.count(Occurrence::Command("queued"));
        let mut result = result_of(services, &endpoint, id, &asked, Outcome::Queued);
        result.path = result.path.or(path);
        self.publish_result(services, key, &origin, &result);
    }

    /// Ends a waiting command: the result is kept, told and durable in one batch.
    pub(in crate::gateway) fn finish_command(
        &mut self,
        services: &mut Services,
        key: usize,
        id: &str,
        outcome: Outcome,
    ) {
        let Some(device) = self.table.get_mut(key) else { return };
        let Some(queued) = device.commands.remove(id) else { return };
        self.command_bytes = self.command_bytes.saturating_sub(charged_bytes(&queued.command));
        if let Some(desired) = queued.key()
            && let Some(state) = device.desired.get_mut(desired)
            && state.command == id
        {
            state.applied = matches!(outcome, Outcome::Done { .. });
            self.persist(services, key);
        }
        let Some(device) = self.table.get(key) else { return };
        let mut result = result_of(services, &device.endpoint, id, &queued.asked, outcome);
        result.path = result.path.or_else(|| queued.command.operation.path().copied());
        self.end_with(services, key, &queued.origin, queued.asked, result);
    }

    /// A device of version 1.0 cannot be asked to bootstrap: the bootstrap server writes to it unasked (Core TS 1.0.2
    /// section 5.2.5.4), if it is one for datagrams without security. `false`: it does not.
    pub(super) fn bootstrap_unasked(&mut self, services: &mut Services, key: usize, id: &str) -> bool {
        let Some(device) = self.table.get_mut(key) else { return false };
        let configuration = &services.configuration;
        let is_plain = |peer: Peer| peer.session.is_none() && configuration.transport(peer.listener) == Transport::Udp;
        let fits = |index: &u16| {
            configuration.scope(*index) == Scope::Bootstrap && configuration.transport(*index) == Transport::Udp
        };
        let listeners = u16::try_from(configuration.scopes.len()).unwrap_or(u16::MAX);
        let Some(listener) = (0..listeners).find(fits).filter(|_| is_plain(device.peer)) else { return false };
        let peer = Peer { listener, ..device.peer };
        let endpoint = device.endpoint.clone();
        let Some(queued) = device.commands.get_mut(id) else { return false };
        queued.handed_over = true;
        services.bootstrap_inbox.push_back(Inbound::Unasked { endpoint, peer, command: id.to_owned() });
        true
    }

    fn end_with(
        &mut self,
        services: &mut Services,
        key: usize,
        origin: &Origin,
        asked: Operation,
        result: CommandResult,
    ) {
        services.count(Occurrence::Command(status_word(&result.outcome)));
        let record = CommandRecord {
            command: Command::new(result.id.clone(), asked.clone()),
            asked: asked.clone(),
            origin: origin.clone(),
            accepted_at: result.ts,
            expires_at: result.ts,
            started: false,
            reported_queued: false,
            result: Some(result.clone()),
        };
        let (endpoint, id) = (result.endpoint.clone(), result.id.clone());
        services.write(StoreWrite::PutCommand { endpoint, id, record: record.encode() });
        self.publish_result(services, key, origin, &result);
        let full = self.results.is_full();
        for (endpoint, id) in self.results.keep(KeptResult { asked, result }, services.wall()) {
            if full {
                services.count(Occurrence::BoundReached("max_results"));
            }
            services.write(StoreWrite::DeleteCommand { endpoint, id });
        }
    }

    /// Ends all waiting commands of a device that is about to be forgotten.
    pub fn settle_commands(&mut self, services: &mut Services, key: usize) {
        let Some(device) = self.table.get(key) else { return };
        let waiting: Vec<String> = device.commands.iter().map(|queued| queued.command.id.clone()).collect();
        for id in waiting {
            let outcome = Outcome::failed(ErrorKind::UnknownDevice, "the device was removed");
            self.finish_command(services, key, &id, outcome);
        }
    }

    /// Ends commands whose `ttl` has passed, except the one under way.
    pub(super) fn expire_commands(&mut self, services: &mut Services, key: usize) {
        let Some(device) = self.table.get(key) else { return };
        let under_way = device.exchange.as_ref().map(|active| &active.job);
        let expired: Vec<String> = device
            .commands
            .expired(services.now)
            .into_iter()
            .filter(|id| !matches!(under_way, Some(super::exchange::Job::Command { id: sent }) if sent == id))
            .collect();
        for id in expired {
            self.finish_command(services, key, &id, Outcome::Expired);
        }
    }

    /// Tells an API caller, when this input is durable, that its command will have a result.
    fn accepted(&self, services: &mut Services, key: usize, id: &str, request: RequestId) {
        let Some(device) = self.table.get(key) else { return };
        let progress = CommandProgress::Accepted { endpoint: device.endpoint.clone(), id: id.to_owned() };
        services.journal.when_durable(Held::ApiAnswer { request, answer: Answer::Command(progress) });
    }

    fn publish_result(&self, services: &mut Services, key: usize, origin: &Origin, result: &CommandResult) {
        let Some(device) = self.table.get(key) else { return };
        let name = device.display_name().to_owned();
        services.journal.when_durable(Held::Result(result.clone()));
        if let Some(request) = origin.request {
            let answer = Answer::Command(CommandProgress::Result(result.clone()));
            services.journal.when_durable(Held::ApiAnswer { request, answer });
        }
        publish_result(services, Some(&device.endpoint), &name, origin, &result_json(result));
        let fields = [("status", Json::from(status_word(&result.outcome))), ("id", result.id.as_str().into())];
        self.publish_own(services, key, "response", result.path, &fields);
    }

    /// Takes desired values (`set`). A retained one that was applied already is no news.
    pub fn accept_set(
        &mut self,
        services: &mut Services,
        key: usize,
        values: &serde_json::Map<String, Json>,
        retained: bool,
        origin: &Origin,
    ) {
        for (desired, value) in values {
            let same = self
                .table
                .get(key)
                .and_then(|device: &Device| device.desired.get(desired))
                .is_some_and(|state| state.value == *value);
            if retained && same {
                continue;
            }
            let command = Command::new(new_id(services), Operation::Set { key: desired.clone(), value: value.clone() });
            self.accept_command(services, key, command, origin.clone());
        }
    }

    /// Reads keys from the device (`get`); they are reported like any other value.
    pub fn accept_get(&mut self, services: &mut Services, key: usize, keys: &[String], origin: &Origin) {
        for wanted in keys {
            let Some(device) = self.table.get_mut(key) else { return };
            let paths = services.plan.paths_of_key(&device.selection, &device.facts, wanted);
            if paths.is_empty() {
                let endpoint = device.endpoint.clone();
                let operation = Operation::Get { keys: vec![wanted.clone()] };
                let outcome =
                    Outcome::failed(ErrorKind::Invalid, format!("key '{wanted}': no rule of this device reads it"));
                let id = new_id(services);
                let result = result_of(services, &endpoint, &id, &operation, outcome);
                self.publish_result(services, key, origin, &result);
                continue;
            }
            for path in paths {
                device.request_read(Target::Path(path));
            }
        }
        self.advance(services, key);
    }
}

/// Sends a result to the sink that its command came by; without an origin to every sink; for the API to none.
pub fn publish_result(
    services: &mut Services,
    endpoint: Option<&Endpoint>,
    device: &str,
    origin: &Origin,
    result: &Json,
) {
    if origin.by_api {
        return;
    }
    for index in 0..services.sinks.len() {
        let Some(sink) = services.sinks.get(index).map(|sink| sink.configuration.clone()) else { continue };
        if origin.sink.as_ref().is_some_and(|name| **name != *sink.name) {
            continue;
        }
        let own_topic = origin.response_topic.clone().filter(|topic| is_publishable(topic));
        let topic = own_topic.unwrap_or_else(|| format!("{}/{}/response", sink.base, encode_level(device)));
        let correlation = origin
            .correlation
            .as_ref()
            .and_then(|text| data_encoding::BASE64.decode(text.as_bytes()).ok())
            .map(bytes::Bytes::from);
        let message = Message { correlation, ..native::message(topic, result, false) };
        services.spool(index, endpoint, message);
    }
}

/// A result message.
pub fn result_of(
    services: &Services,
    endpoint: &Endpoint,
    id: &str,
    asked: &Operation,
    outcome: Outcome,
) -> CommandResult {
    CommandResult {
        id: id.to_owned(),
        endpoint: endpoint.clone(),
        operation: asked.name().to_owned(),
        path: asked.path().copied(),
        key: match asked {
            Operation::Set { key, .. } => Some(key.clone()),
            _ => None,
        },
        ts: services.wall(),
        outcome,
    }
}

/// An id for a command that brought none.
pub fn new_id(services: &mut Services) -> String {
    use rand_core::Rng as _;
    format!("{:016x}", services.random.next_u64())
}

fn conflict() -> Outcome {
    Outcome::failed(ErrorKind::Conflict, "id: another command of the last 24 hours has it")
}

pub(super) fn charged_bytes(command: &Command) -> usize {
    const COMMAND_COST: usize = 512;
    let values = match &command.operation {
        Operation::Write { values, .. }
        | Operation::WriteUpdate { values, .. }
        | Operation::Create { values, .. }
        | Operation::WriteComposite { values } => {
            values.values().map(|value| value.as_str().map_or(16, str::len)).sum()
        }
        Operation::ReadComposite { paths }
        | Operation::ObserveComposite { paths }
        | Operation::CancelObserveComposite { paths, .. } => paths.len() * size_of::<crate::model::path::Path>(),
        Operation::Execute { arguments, .. } => arguments.as_ref().map_or(0, String::len),
        _ => 0,
    };
    COMMAND_COST + command.id.len() + values
}

fn status_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Queued => "queued",
        Outcome::Done { .. } => "done",
        Outcome::Failed { .. } => "failed",
        Outcome::Expired => "expired",
        Outcome::Cancelled { .. } => "cancelled",
        Outcome::Unknown => "unknown",
    }
}

/// The links of a Discover answer.
pub(super) fn links_json(payload: &[u8]) -> Json {
    let Ok(text) = std::str::from_utf8(payload) else { return json!([]) };
    let Ok(links) = link_format::parse(text) else { return json!([]) };
    links
        .into_iter()
        .map(|link| {
            let attributes: serde_json::Map<String, Json> = link
                .parameters
                .into_iter()
                .map(|(name, value)| {
                    let json = value.map_or(Json::Null, |value| {
                        value.parse::<i64>().map_or_else(|_| Json::from(value), Json::from)
                    });
                    (name, json)
                })
                .collect();
            json!({ "path": link.target, "attributes": attributes })
        })
        .collect()
}
