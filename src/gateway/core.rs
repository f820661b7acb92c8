//! The core: one input, then all outputs, then wait. Daemon, demo and simulation run this and nothing else.
//!
//! ```text
//! host ──Input──▶ handle_input ──▶ machines ──▶ journal, sinks, outputs
//!   ▲                                              │
//!   └────────── poll_output until None ◀───────────┘      next_deadline: when to call handle_timeout
//! ```
//!
//! Invariants: no input panics; the same seed and inputs give the same outputs; after an input all outputs must be
//! drained before the next one, which a debug assertion enforces.

use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;
use serde_json::Value as Json;

use super::bootstrap::BootstrapServer;
use super::bridge::Bridge;
use super::bridge_requests::Tasks;
use super::clock::WallClock;
use super::configuration::{Configuration, Transport};
use super::credentials::Credentials;
use super::delivery::sink::{ClockCorrection, Notice, SinkDelivery};
use super::devices::Devices;
use super::devices::record::DeviceRecord;
use super::dispatch::record::CommandRecord;
use super::dispatch::results::KeptResult;
use super::journal::Journal;
use super::services::{Held, Services};
use super::sessions::Sessions;
use super::sessions::rate::{REGISTRATIONS, RateLimiter};
use super::sessions::resuming::Tickets;
use super::store::{StoreWrite, StoredState};
use super::streams::Streams;
use super::trace::Traces;
use super::vocabulary::{Answer, BootstrapQuery, Input, Output, RequestId, SinkIndex, SinkInput};
use crate::instrumentation::gauges::{Gauges, SinkGauges};
use crate::instrumentation::occurrence::Occurrence;
use crate::mapping::Plan;
use crate::model::command::CommandError;
use crate::model::event::EventKind;
use crate::model::object::ObjectModel;
use crate::model::time::{Instant, WallTime};
use crate::northbound::layout::native;

/// How often old rows and results are looked for.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(60);

/// What the core starts with.
pub struct Start {
    /// Configuration.
    pub configuration: Configuration,
    /// Object definitions.
    pub model: Arc<ObjectModel>,
    /// Mapping plan.
    pub plan: Arc<Plan>,
    /// What the store held.
    pub stored: StoredState,
    /// Seed of all randomness; never the same twice in production.
    pub seed: [u8; 32],
    /// Wall time at `Instant` of the first call.
    pub wall: WallTime,
    /// Whether that can be trusted.
    pub synced: bool,
    /// The version of the program, for `bridge/info`.
    pub version: String,
    /// What was wrong with the stored state, for an alarm; `None`: nothing.
    pub store_damage: Option<String>,
}

/// The gateway without its shell.
pub struct Core {
    services: Services,
    devices: Devices,
    bootstrap: BootstrapServer,
    bridge: Bridge,
    /// Work of the shell under way.
    pub(super) tasks: Tasks,
    housekeeping_at: Instant,
    drained: bool,
}

impl Core {
    /// A core that takes up where the stored state left off.
    pub fn new(now: Instant, start: Start) -> Self {
        let Start { configuration, model, plan, stored, seed, wall, synced, version, store_damage } = start;
        let configuration = Arc::new(configuration);
        let mut clock = WallClock::default();
        clock.set(now, wall, synced);
        let sinks = configuration
            .sinks
            .iter()
            .enumerate()
            .map(|(index, sink)| {
                let extent = stored.spools.get(&*sink.name).cloned().unwrap_or_default();
                let corrections = stored
                    .state
                    .get(&corrections_key(&sink.name))
                    .and_then(|json| serde_json::from_slice::<Vec<ClockCorrection>>(json).ok())
                    .unwrap_or_default();
                let limits = &configuration.limits;
                SinkDelivery::new(
                    SinkIndex(index),
                    sink.clone(),
                    &extent,
                    corrections,
                    limits.max_spool_rows_in_memory,
                    limits.max_in_flight,
                )
            })
            .collect();
        let streams = Streams::new(&configuration);
        // Their own stream of the seed: what they draw changes nothing elsewhere.
        let mut session_random = ChaCha8Rng::from_seed(seed);
        session_random.set_stream(1);
        let sessions = Sessions::new(now, Arc::clone(&configuration), session_random);
        let tickets = Tickets::new(now, &configuration);
        let lwm2m = &configuration.lwm2m;
        let registration_rate =
            RateLimiter::new(now, REGISTRATIONS, lwm2m.registration_rate, lwm2m.registration_rate_per_source);
        let mut services = Services {
            now,
            clock,
            configuration,
            model,
            plan,
            journal: Journal::default(),
            sinks,
            registration_rate,
            tickets,
            sessions,
            streams,
            credentials: Credentials::default(),
            outputs: std::collections::VecDeque::new(),
            random: ChaCha8Rng::from_seed(seed),
            occurrences: Vec::new(),
            refused: std::collections::VecDeque::new(),
            refused_event_at: None,
            traces: Traces::default(),
            bootstrap_inbox: std::collections::VecDeque::new(),
            bootstrap_outcomes: Vec::new(),
            credentials_stale: false,
            resident_bytes: None,
        };
        let mut devices = Devices::new(&services);
        let bootstrap = BootstrapServer::new(&mut services, &stored);
        let mut bridge = Bridge::new(&mut services, &stored, version);
        restore(&mut services, &mut devices, stored);
        bridge.open_first_window(&mut services, &mut devices);
        let mut core = Self {
            services,
            devices,
            bootstrap,
            bridge,
            tasks: Tasks::default(),
            housekeeping_at: now + HOUSEKEEPING_INTERVAL,
            drained: true,
        };
        core.bridge.publish_start(&mut core.services);
        core.bridge.alarm(&mut core.services, "store_damaged", store_damage);
        core.end_of_input();
        core
    }

    /// Takes one input. All outputs of the one before must have been polled.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        debug_assert!(self.drained, "poll_output until None before the next input");
        self.drained = false;
        self.services.now = self.services.now.max(now);
        match input {
            Input::Datagram { peer, bytes } => {
                if self.services.configuration.transport(peer.listener) == Transport::Dtls {
                    self.devices.handle_records(&mut self.services, peer, &bytes);
                } else {
                    self.devices.handle_datagram(&mut self.services, peer, &bytes);
                }
            }
            Input::Bootstrap(input) => self.bootstrap.handle_input(&mut self.services, &mut self.devices, input),
            Input::Handshake(input) => self.devices.handle_handshake(&mut self.services, input),
            Input::Stream { peer, connection, input } => {
                self.devices.handle_stream(&mut self.services, peer, connection, input);
            }
            Input::Clock { wall, synced } => self.set_clock(wall, synced),
            Input::Durable { up_to } => {
                self.services.journal.confirm(up_to);
                self.devices.resume_streams(&mut self.services);
            }
            Input::StoreHealth { failure } => self.store_health(failure),
            Input::SpoolRows { sink, rows } => {
                if let Some(sink) = self.services.sinks.get_mut(sink.0) {
                    sink.take_rows(rows);
                }
            }
            Input::RetainedRows { sink, rows } => {
                if let Some(sink) = self.services.sinks.get_mut(sink.0) {
                    sink.take_retained(rows);
                }
            }
            Input::Sink { sink, input } => self.handle_sink(sink, input),
            Input::Plan { plan } => {
                self.services.plan = plan;
                self.reconcile_all();
                self.services.event(EventKind::Reloaded, None, None, "mappings");
            }
            Input::Model { model } => {
                self.services.model = model;
                self.reconcile_all();
            }
            Input::MappingHealth { failure } => self.bridge.alarm(&mut self.services, "mapping_invalid", failure),
            Input::IdentityHealth { failure, expiry } => {
                self.bridge.alarm(&mut self.services, "certificate_invalid", failure);
                self.bridge.alarm(&mut self.services, "certificate_expires", expiry);
            }
            Input::Request { request, query } => {
                if let Some(answer) = self.answer_query(request, query) {
                    self.services.outputs.push_back(Output::Answer { request, answer });
                }
            }
            Input::ShellDone { task, answer, trial } => self.shell_done(task, answer, trial.as_ref()),
            Input::LogLine { line } => {
                self.services.publish_now("bridge/log", &line);
                self.services.outputs.push_back(Output::Log { line });
            }
            Input::ResidentMemory { bytes } => self.services.resident_bytes = Some(bytes),
            Input::Stop => {
                self.devices.publish_waiting_values(&mut self.services);
                self.devices.release_streams(&mut self.services);
                self.services.save_dirty_sessions();
                self.bridge.publish_stop(&mut self.services);
            }
        }
        self.end_of_input();
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        debug_assert!(self.drained, "poll_output until None before the next input");
        self.drained = false;
        self.services.now = self.services.now.max(now);
        while let Some(key) = self.devices.poll_due(self.services.now) {
            self.devices.handle_deadline(&mut self.services, key);
        }
        self.devices.elapse_streams(&mut self.services);
        self.devices.elapse_sessions(&mut self.services);
        if self.housekeeping_at <= self.services.now {
            self.keep_house();
        }
        self.services.end_traces();
        if self.services.end_former_proofs() {
            self.devices.credentials_changed(&mut self.services);
        }
        self.bootstrap.handle_timeout(&mut self.services, &mut self.devices);
        self.bridge.handle_timeout(&mut self.services, &mut self.devices);
        self.end_of_input();
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn next_deadline(&self) -> Instant {
        let sinks = self.services.sinks.iter().filter_map(SinkDelivery::next_deadline).min();
        let streams = self.services.streams.next_deadline();
        let sessions = self.services.sessions.next_deadline();
        let tickets = self.services.tickets.next_deadline();
        let traces = self.services.traces.next_deadline();
        let credentials = self.services.credentials.next_deadline(&self.services.clock);
        [
            self.devices.next_deadline(),
            sinks,
            streams,
            sessions,
            tickets,
            traces,
            credentials,
            self.bootstrap.next_deadline(),
            Some(self.bridge.next_deadline(&self.devices)),
        ]
        .into_iter()
        .flatten()
        .fold(self.housekeeping_at, Instant::min)
    }

    /// The next thing to do for the host.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.services.outputs.pop_front();
        self.drained = output.is_none();
        output
    }

    /// What was counted since the last call.
    pub fn take_occurrences(&mut self) -> Vec<Occurrence> {
        std::mem::take(&mut self.services.occurrences)
    }

    /// Numbers of the moment, for metrics and health.
    pub fn gauges(&self) -> Gauges {
        let (pending_writes, pending_write_bytes) = self.services.journal.pending();
        let (online, asleep, offline) = self.bridge.count_states(&self.devices);
        Gauges {
            devices_online: online,
            devices_asleep: asleep,
            devices_offline: offline,
            sinks: self
                .services
                .sinks
                .iter()
                .map(|sink| {
                    let (rows, bytes) = sink.depth();
                    SinkGauges {
                        name: sink.configuration.name.clone(),
                        connected: sink.is_connected(),
                        rows,
                        bytes,
                        in_flight: sink.in_flight(),
                    }
                })
                .collect(),
            pending_writes,
            pending_write_bytes,
            connections: self.services.streams.len(),
            sessions: self.services.sessions.len(),
            bootstrap_sessions: self.bootstrap.sessions(),
            handshakes: self.services.sessions.handshakes(),
            waiting_commands: self.devices.table.iter().map(|(_, device)| device.commands.len()).sum(),
            store_broken: self.services.journal.is_broken(),
        }
    }

    /// Whether everything is durable and nothing waits for a connected sink, in memory or in flight.
    pub fn is_delivered(&self) -> bool {
        let journal = &self.services.journal;
        let written = journal.is_broken() || journal.pending().0 == 0;
        written
            && self
                .services
                .sinks
                .iter()
                .all(|sink| !sink.is_connected() || (sink.depth().0 == 0 && sink.in_flight() == 0))
    }

    pub(super) fn services(&mut self) -> &mut Services {
        &mut self.services
    }

    /// Answers a question about the bootstrap server, or `None` where the answer follows.
    pub(super) fn answer_bootstrap(&mut self, request: RequestId, query: BootstrapQuery) -> Option<Answer> {
        self.bootstrap.answer(&mut self.services, &mut self.devices, request, query)
    }

    /// Lets a device in that waits at the bootstrap server.
    pub(super) fn approve_bootstrap(&mut self, device: &str, body: &Json) -> Result<Json, CommandError> {
        self.bootstrap.approve(&mut self.services, &mut self.devices, device, body)
    }

    pub(super) fn parts(&mut self) -> (&mut Services, &mut Devices, &mut Bridge) {
        (&mut self.services, &mut self.devices, &mut self.bridge)
    }

    fn handle_sink(&mut self, index: SinkIndex, input: SinkInput) {
        let now = self.services.now;
        let journal = &mut self.services.journal;
        let Some(sink) = self.services.sinks.get_mut(index.0) else { return };
        match input {
            SinkInput::Connected { max_packet_bytes, receive_maximum } => {
                let name = sink.configuration.name.clone();
                sink.connected(max_packet_bytes, receive_maximum);
                self.bridge.sink_connected(&mut self.services, index);
                self.services.event(EventKind::SinkUp, None, None, format!("sink '{name}' is connected"));
            }
            SinkInput::Disconnected { reason } => {
                let (name, was_connected) = (sink.configuration.name.clone(), sink.is_connected());
                sink.disconnected();
                if was_connected {
                    self.services.event(EventKind::SinkDown, None, None, format!("sink '{name}': {reason}"));
                }
            }
            SinkInput::Acknowledged { delivery } => sink.acknowledged(now, delivery, &mut |write| journal.write(write)),
            SinkInput::Rejected { delivery, reason } => {
                sink.rejected(now, delivery, &reason, &mut |write| journal.write(write));
            }
            SinkInput::Inbound { receipt, topic, payload, retain, response_topic, correlation } => {
                let inbound = super::inbound::InboundMessage {
                    sink: index.0,
                    topic,
                    payload,
                    retain,
                    response_topic,
                    correlation,
                };
                self.handle_inbound(&inbound);
                self.services.journal.when_durable(Held::Inbound { sink: index, receipt });
            }
        }
    }

    fn reconcile_all(&mut self) {
        let keys: Vec<usize> = self.devices.table.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.devices.reselect(&mut self.services, key);
        }
    }

    fn set_clock(&mut self, wall: WallTime, synced: bool) {
        let was_synced = self.services.clock.is_synced();
        let step = self.services.clock.set(self.services.now, wall, synced);
        if was_synced || !synced {
            return;
        }
        for sink in &mut self.services.sinks {
            let name = sink.configuration.name.clone();
            if let Some(corrections) = sink.correct_clock(step) {
                let value = serde_json::to_vec(corrections).unwrap_or_default();
                self.services.journal.write(StoreWrite::PutState { key: corrections_key(&name), value });
            }
        }
        self.devices.correct_times(step);
        self.services.correct_credentials(step);
        self.services.event(EventKind::ClockSynced, None, None, format!("the clock moved by {step} ms"));
    }

    fn store_health(&mut self, failure: Option<String>) {
        let was_broken = self.services.journal.is_broken();
        self.services.journal.set_broken(failure.is_some());
        if was_broken && failure.is_none() {
            // What was discarded while nothing could be written is written now, from memory.
            self.services.save_dirty_sessions();
            let keys: Vec<usize> = self.devices.table.iter().map(|(key, _)| key).collect();
            for key in keys {
                self.devices.persist(&mut self.services, key);
                self.devices.persist_commands(&mut self.services, key);
            }
            self.services.rewrite_credentials();
            self.bootstrap.rewrite(&mut self.services);
            let journal = &mut self.services.journal;
            for sink in &self.services.sinks {
                sink.rewrite(&mut |write| journal.write(write));
            }
        }
        self.bridge.alarm(&mut self.services, "disk_full", failure);
    }

    fn keep_house(&mut self) {
        self.housekeeping_at = self.services.now + HOUSEKEEPING_INTERVAL;
        let wall = self.services.wall();
        self.bridge.spool_relaxed(&mut self.services);
        if self.services.clock.is_synced() {
            let journal = &mut self.services.journal;
            for sink in &mut self.services.sinks {
                sink.drop_aged(wall, &mut |write| journal.write(write));
            }
            for (endpoint, id) in self.devices.results.collect(wall) {
                self.services.write(StoreWrite::DeleteCommand { endpoint, id });
            }
        }
    }

    /// Notices, the batch, released acknowledgements, and what sinks may send: the end of every input.
    fn end_of_input(&mut self) {
        self.follow_bootstrap();
        self.tell_notices();
        let now = self.services.now;
        let journal = &mut self.services.journal;
        let written = journal.has_writes();
        for sink in &mut self.services.sinks {
            sink.flush_deletions(now, written, &mut |write| journal.write(write));
        }
        self.seal();
        self.release();
        let journal = &self.services.journal;
        let outputs = &mut self.services.outputs;
        for sink in &mut self.services.sinks {
            let is_durable = |sequence| journal.is_durable(sequence);
            sink.poll(is_durable, native::correct_timestamps, &mut |output| outputs.push_back(output));
        }
    }

    /// What came for the bootstrap server, and what it did to commands and credentials.
    fn follow_bootstrap(&mut self) {
        while self.services.awaits_bootstrap() {
            self.follow_bootstrap_once();
        }
    }

    fn follow_bootstrap_once(&mut self) {
        while let Some(inbound) = self.services.bootstrap_inbox.pop_front() {
            self.bootstrap.receive(&mut self.services, &mut self.devices, inbound);
        }
        for (endpoint, id, outcome) in std::mem::take(&mut self.services.bootstrap_outcomes) {
            if let Some(key) = self.devices.key_of_endpoint(endpoint.as_str()) {
                self.devices.finish_command(&mut self.services, key, &id, outcome);
            }
        }
        if std::mem::take(&mut self.services.credentials_stale) {
            self.devices.credentials_changed(&mut self.services);
        }
    }

    fn seal(&mut self) {
        let limits = &self.services.configuration.limits;
        let (writes, bytes) = self.services.journal.pending();
        let full = writes >= limits.max_pending_writes || bytes >= limits.max_pending_write_bytes;
        let Some(mut batch) = self.services.journal.seal() else { return };
        if !(self.services.journal.is_broken() && full) {
            self.services.outputs.push_back(Output::Store(batch));
            return;
        }
        // Memory stays bounded: what memory holds is written anew when the store works again, and rows that only the
        // store would have held are lost. Deletions go through, since a full disk recovers by nothing else.
        self.services.journal.discard_sealed();
        self.services.sessions.batch_lost(batch.sequence);
        self.services.count(Occurrence::BoundReached("max_pending_writes"));
        for write in &batch.writes {
            if let StoreWrite::PutSpool { sink, row } = write
                && let Some(sink) = self.services.sinks.iter_mut().find(|known| known.configuration.name == *sink)
            {
                sink.lost_unless_in_memory(row);
            }
        }
        batch.writes.retain(|write| matches!(write, StoreWrite::DeleteSpool { .. }));
        if !batch.writes.is_empty() {
            self.services.outputs.push_back(Output::Store(batch));
        }
    }

    fn release(&mut self) {
        while let Some(held) = self.services.journal.poll_released() {
            match held {
                Held::Answer { peer, message_id, datagram } => {
                    self.devices.send_answer(&mut self.services, peer, message_id, datagram);
                }
                Held::Inbound { sink, receipt } => {
                    self.services.outputs.push_back(Output::AcknowledgeInbound { sink, receipt });
                }
                Held::ApiAnswer { request, answer } => {
                    self.services.outputs.push_back(Output::Answer { request, answer });
                }
                Held::Result(result) => self.services.outputs.push_back(Output::Result(result)),
                Held::Answered(key) => {
                    self.devices.answer_sent(key);
                    self.devices.advance(&mut self.services, key);
                    self.seal();
                }
                Held::Released { peer, connection } => {
                    self.devices.close_released(&mut self.services, peer, connection);
                    self.seal();
                }
                Held::Message { peer, message } => {
                    if let Some(session) = peer.session {
                        self.services.transmit_held(session, &message);
                    }
                    self.devices.follow_sessions(&mut self.services);
                    self.seal();
                }
                Held::Bootstrap(number) => {
                    self.bootstrap.durable(&mut self.services, &mut self.devices, number);
                    self.seal();
                }
                Held::Device(key) => {
                    self.devices.advance(&mut self.services, key);
                    // Marks for operations that must not run twice may have been written just now.
                    self.seal();
                }
            }
            if self.services.awaits_bootstrap() {
                self.follow_bootstrap();
                self.seal();
            }
        }
    }

    fn tell_notices(&mut self) {
        for index in 0..self.services.sinks.len() {
            let Some(sink) = self.services.sinks.get_mut(index) else { continue };
            let name = sink.configuration.name.clone();
            for notice in sink.take_notices() {
                match notice {
                    Notice::Delivered { messages } => self.services.count(Occurrence::Delivered(index, messages)),
                    Notice::Dropped { rows, reason, detail } => {
                        self.services.count(Occurrence::SpoolDropped(index, reason, rows));
                        self.bridge.dropped(&mut self.services, &name, rows, reason, &detail);
                    }
                }
            }
        }
    }
}

fn corrections_key(sink: &str) -> String {
    format!("clock_corrections/{sink}")
}

fn restore(services: &mut Services, devices: &mut Devices, stored: StoredState) {
    services.restore_credentials(&stored.secrets, &stored.sealed_shut);
    services.restore_handshakes(&stored.secrets);
    for (endpoint, record) in stored.devices {
        match serde_json::from_slice::<DeviceRecord>(&record) {
            Ok(record) => devices.restore(services, endpoint, record),
            Err(error) => {
                tracing::error!(%endpoint, %error, "the stored record of a device cannot be read and is ignored");
            }
        }
    }
    let keys: Vec<usize> = devices.table.iter().map(|(key, _)| key).collect();
    for (endpoint, id, record) in stored.commands {
        let Ok(record) = serde_json::from_slice::<CommandRecord>(&record) else {
            tracing::error!(%endpoint, id, "the stored record of a command cannot be read and is ignored");
            continue;
        };
        match record.result.clone() {
            Some(result) => {
                devices.results.keep(KeptResult { asked: record.asked, result }, services.wall());
            }
            None => devices.restore_command(services, &endpoint, record),
        }
    }
    devices.join_end_devices();
    devices.restore_latest(&stored.latest);
    for key in keys {
        devices.resume(services, key);
    }
}
