//! The loop around the core: waits for datagrams, inputs and deadlines, and carries out what the core wants.
//!
//! One turn takes everything that is there up to its budget, then hands the writes of all of it to the store as one
//! batch and flushes the sockets: a wake-up costs more than what it brings. Nothing here waits for a sink, the store or
//! the shell.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;

use super::shell::ShellHandle;
use crate::gateway::clock::WallClock;
use crate::gateway::core::Core;
use crate::gateway::devices::observation::Target;
use crate::gateway::store::{SinkName, StoreBatch};
use crate::gateway::vocabulary::{Answer, Input, Output, Peer, RequestId, ShellWork, SinkIndex, SinkInput, TaskId};
use crate::instrumentation::metrics::Metrics;
use crate::instrumentation::occurrence::Occurrence;
use crate::io::bootstrap::{self, BootstrapThread};
use crate::io::clock::{RunClock, wall_is_trusted, wall_now};
use crate::io::dtls::HandshakeThread;
use crate::io::files::resident_bytes;
use crate::io::http::{EventSender, StreamEvent, TraceLine, TraceSender};
use crate::io::mqtt::{MqttHandle, MqttOrder};
use crate::io::store::StoreHandle;
use crate::io::tcp::TcpConnections;
use crate::io::tls::TlsThread;
use crate::io::udp::UdpListener;
use crate::northbound::leshan;

/// Datagrams taken from one listener in one turn.
const DATAGRAMS_PER_TURN: usize = 64;

/// Input batches taken in one turn.
const BATCHES_PER_TURN: usize = 64;

/// How often the wall clock is compared with the core's idea of it, and memory is measured.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How far the wall clock may drift from the core's idea before the core is told.
const CLOCK_TOLERANCE_MILLIS: u64 = 500;

/// How long a stop waits for sinks to take what is in flight.
const DRAIN_TIME: Duration = Duration::from_secs(3);

/// One sink as the host sees it.
pub struct SinkPort {
    /// Its name.
    pub name: SinkName,
    /// Its task.
    pub handle: MqttHandle,
    /// Orders that found the queue full.
    pub waiting: VecDeque<MqttOrder>,
}

/// The parts that the core works with.
pub struct Host {
    /// The core.
    pub core: Core,
    /// Time.
    pub clock: RunClock,
    /// Sockets, in the order of the configuration.
    pub listeners: Vec<UdpListener>,
    /// DTLS handshakes, where a listener needs them.
    pub handshakes: Option<HandshakeThread>,
    /// Connections, whose listeners come after those.
    pub tcp: TcpConnections,
    /// Connections over TLS, if there are such listeners; their orders go through `tcp`.
    pub tls: Option<TlsThread>,
    /// Keys for devices, and other servers that have to know them, if there is a bootstrap server.
    pub bootstrap: Option<BootstrapThread>,
    /// The store.
    pub store: StoreHandle,
    /// Sinks, in the order of the configuration.
    pub sinks: Vec<SinkPort>,
    /// Their names, for metrics.
    pub sink_names: Vec<SinkName>,
    /// What adapters have to tell.
    pub inputs: mpsc::Receiver<Vec<Input>>,
    /// Where answers to API callers go.
    pub answers: Option<mpsc::Sender<(RequestId, Answer)>>,
    /// Files, log and process.
    pub shell: ShellHandle,
    /// Where events for streams go.
    pub events: Option<EventSender>,
    /// Where lines of traced devices go.
    pub traces: Option<TraceSender>,
    /// Counters.
    pub metrics: Metrics,
    /// The wall clock as the core was told it.
    pub told_clock: WallClock,
}

impl Host {
    /// Runs until `stop` resolves or a request asks for a restart, then says `offline`, drains and closes.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut turn = Turn::default();
        let mut look_at = self.clock.now() + LOOK_INTERVAL;
        tokio::pin!(stop);
        self.drain(&mut turn);
        self.finish_turn(&mut turn);
        loop {
            let deadline = self.core.next_deadline().min(look_at);
            let wake_at = tokio::time::Instant::from_std(self.clock.system_instant(deadline));
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = any_ready(&self.listeners) => {}
                batch = self.inputs.recv() => match batch {
                    Some(batch) => self.take(batch, &mut turn),
                    None => break,
                },
                () = tokio::time::sleep_until(wake_at) => {}
            }
            self.receive(&mut turn);
            for _ in 1..BATCHES_PER_TURN {
                let Ok(batch) = self.inputs.try_recv() else { break };
                self.take(batch, &mut turn);
            }
            let now = self.clock.now();
            if self.core.next_deadline() <= now {
                self.core.handle_timeout(now);
                self.drain(&mut turn);
            }
            if look_at <= now {
                look_at = now + LOOK_INTERVAL;
                self.look_around(&mut turn);
            }
            let late = std::mem::take(&mut turn.late);
            self.take(late, &mut turn);
            self.finish_turn(&mut turn);
            if turn.restarting {
                tracing::info!("a restart was asked for");
                break;
            }
        }
        self.stop(turn).await;
    }

    /// Takes datagrams from every listener.
    fn receive(&mut self, turn: &mut Turn) {
        for index in 0..self.listeners.len() {
            let Some(listener) = self.listeners.get_mut(index) else { continue };
            let mut datagrams = std::mem::take(&mut turn.datagrams);
            if let Err(error) = listener.try_receive(DATAGRAMS_PER_TURN, &mut datagrams) {
                tracing::warn!(%error, "receiving from a socket failed");
            }
            for (peer, bytes) in datagrams.drain(..) {
                self.core.handle_input(self.clock.now(), Input::Datagram { peer, bytes });
                self.drain(turn);
            }
            turn.datagrams = datagrams;
        }
    }

    fn take(&mut self, batch: Vec<Input>, turn: &mut Turn) {
        for input in batch {
            if let Input::Sink { sink, input: SinkInput::Disconnected { .. } } = &input
                && let Some(port) = self.sinks.get_mut(sink.0)
            {
                // The core sends everything unacknowledged anew.
                port.waiting.clear();
            }
            let done = if let Input::ShellDone { task, answer: Ok(_), .. } = &input { Some(*task) } else { None };
            self.core.handle_input(self.clock.now(), input);
            self.drain(turn);
            turn.restarting |= done.is_some() && done == turn.restart;
        }
    }

    fn drain(&mut self, turn: &mut Turn) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Transmit { peer, bytes } => {
                    if let Some(listener) = self.listeners.get_mut(usize::from(peer.listener)) {
                        listener.try_send(&peer, &bytes);
                    }
                }
                Output::Handshake(order) => {
                    if let Some(tls) = &mut self.tls {
                        tls.order(&order);
                    }
                    let taken = self.handshakes.as_mut().is_none_or(|handshakes| handshakes.order(order));
                    if !taken {
                        self.metrics.record(&Occurrence::BoundReached("handshake_orders"), &self.sink_names);
                    }
                }
                Output::Stream { connection, order } => self.tcp.order(connection, order),
                Output::Store(batch) => turn.add(batch),
                Output::ReadSpool { sink, after, max_rows } => {
                    turn.reads.push(Read::Spool { sink, after, max_rows });
                }
                Output::ReadRetained { sink, after, max_rows } => {
                    turn.reads.push(Read::Retained { sink, after, max_rows });
                }
                Output::Publish { sink, delivery, message } => {
                    self.order(sink, MqttOrder::Publish { delivery, message });
                }
                Output::AcknowledgeInbound { sink, receipt } => {
                    self.order(sink, MqttOrder::AcknowledgeInbound { receipt });
                }
                Output::Answer { request, answer } => {
                    if let Some(answers) = &self.answers
                        && answers.try_send((request, answer)).is_err()
                    {
                        self.metrics.record(&Occurrence::BoundReached("http_answers"), &self.sink_names);
                        tracing::warn!("an API caller is gone or too many answers wait");
                    }
                }
                Output::Event(event) => {
                    self.metrics.event(event.kind);
                    tracing::info!(
                        event = event.kind.as_str(),
                        endpoint = event.endpoint.as_ref().map_or("", |endpoint| endpoint.as_str()),
                        reason = event.reason,
                        "event"
                    );
                    turn.events.push(StreamEvent::Bridge(event));
                }
                Output::Value { endpoint, path, key, value, ts } => {
                    if self.events.as_ref().is_none_or(|events| !events.keeps_value()) {
                        continue;
                    }
                    turn.events.push(StreamEvent::Value { endpoint, path, key, value, ts });
                }
                Output::Bootstrap(order) => turn.late.extend(match &self.bootstrap {
                    Some(bootstrap) => bootstrap.order(order),
                    None => Some(bootstrap::refused(&order, "the bootstrap server is off")),
                }),
                Output::BootstrapNews(news) => turn.events.push(StreamEvent::of_bootstrap(&news)),
                Output::Result(result) => turn.events.push(StreamEvent::Result(result)),
                Output::Registration { kind, registration } => {
                    let event = leshan::Event::of_registration(kind, &registration);
                    turn.events.push(StreamEvent::Leshan(Box::new(event)));
                }
                Output::Samples { endpoint, observed, samples } => {
                    let event = match &observed {
                        Some(target) => {
                            let composite = matches!(target, Target::Composite(_));
                            leshan::Event::notification(endpoint.as_str(), target.paths(), composite, &samples)
                        }
                        None => Some(leshan::Event::send(endpoint.as_str(), &samples)),
                    };
                    turn.events.extend(event.map(|event| StreamEvent::Leshan(Box::new(event))));
                }
                Output::Log { line } => turn.events.push(StreamEvent::Log(line)),
                Output::Trace { endpoint, local, bytes, mut line, .. } => {
                    if let Some(traces) = &self.traces {
                        line["local"] = local.map(|local| local.to_string()).into();
                        line["raw"] = data_encoding::HEXLOWER.encode(&bytes).into();
                        traces.send(TraceLine { endpoint, line });
                    }
                }
                Output::Shell { task, work } => {
                    if work == ShellWork::Restart {
                        turn.restart = Some(task);
                    }
                    if let Err(answer) = self.shell.work(task, work) {
                        turn.late.push(*answer);
                    }
                }
                Output::Reload => self.shell.reload(),
            }
        }
    }

    fn order(&mut self, sink: SinkIndex, order: MqttOrder) {
        let Some(port) = self.sinks.get_mut(sink.0) else { return };
        if !port.waiting.is_empty() {
            port.waiting.push_back(order);
        } else if let Err(order) = port.handle.order(order) {
            port.waiting.push_back(order);
        }
    }

    /// Hands over what the turn gathered.
    fn finish_turn(&mut self, turn: &mut Turn) {
        if let Some(batch) = turn.batch.take()
            && let Err(batch) = self.store.submit(batch)
        {
            // The core bounds what may wait here: it stops acknowledging.
            turn.batch = Some(batch);
        }
        if turn.batch.is_none() {
            turn.reads.retain(|read| !self.ask(read));
        }
        for port in &mut self.sinks {
            while let Some(order) = port.waiting.pop_front() {
                if let Err(order) = port.handle.order(order) {
                    port.waiting.push_front(order);
                    break;
                }
            }
        }
        for listener in &mut self.listeners {
            listener.flush();
        }
        if let Some(handshakes) = &mut self.handshakes {
            handshakes.flush();
        }
        if let Some(tls) = &mut self.tls {
            tls.flush();
        }
        let events = std::mem::take(&mut turn.events);
        if let Some(streams) = &self.events
            && !events.is_empty()
            && !streams.send(events)
        {
            self.metrics.record(&Occurrence::BoundReached("event_stream"), &self.sink_names);
        }
        for occurrence in self.core.take_occurrences() {
            self.metrics.record(&occurrence, &self.sink_names);
        }
    }

    /// Puts a read to the store; `false` if its queue is full.
    fn ask(&self, read: &Read) -> bool {
        let name = |sink: &SinkIndex| self.sinks.get(sink.0).map(|port| port.name.clone());
        match read {
            Read::Spool { sink, after, max_rows } => {
                name(sink).is_none_or(|name| self.store.read_spool(*sink, name, *after, *max_rows).is_ok())
            }
            Read::Retained { sink, after, max_rows } => {
                name(sink).is_none_or(|name| self.store.read_retained(*sink, name, after.clone(), *max_rows).is_ok())
            }
        }
    }

    /// The wall clock, memory and gauges.
    fn look_around(&mut self, turn: &mut Turn) {
        let now = self.clock.now();
        let (wall, synced) = (wall_now(), wall_is_trusted());
        let drift = wall.millis().abs_diff(self.told_clock.at(now).millis());
        if drift > CLOCK_TOLERANCE_MILLIS || synced != self.told_clock.is_synced() {
            self.told_clock.set(now, wall, synced);
            self.core.handle_input(now, Input::Clock { wall, synced });
            self.drain(turn);
        }
        if let Some(bytes) = resident_bytes() {
            self.core.handle_input(now, Input::ResidentMemory { bytes });
            self.drain(turn);
        }
        self.metrics.set_gauges(&self.core.gauges());
        let counters = self.store.counters();
        self.metrics.set_store(counters.commits.load(Ordering::Relaxed), counters.failures.load(Ordering::Relaxed));
    }

    async fn stop(mut self, mut turn: Turn) {
        tracing::info!("stopping: what is in flight is delivered first");
        self.core.handle_input(self.clock.now(), Input::Stop);
        self.drain(&mut turn);
        self.finish_turn(&mut turn);
        let until = self.clock.now() + DRAIN_TIME;
        while self.clock.now() < until && !self.core.is_delivered() {
            let wake_at = tokio::time::Instant::from_std(self.clock.system_instant(until));
            tokio::select! {
                batch = self.inputs.recv() => match batch {
                    Some(batch) => self.take(batch, &mut turn),
                    None => break,
                },
                () = tokio::time::sleep_until(wake_at) => break,
            }
            self.finish_turn(&mut turn);
        }
        for port in &self.sinks {
            // A queue that is full at the very end belongs to a sink that is away: it has no goodbye to say.
            let _ = port.handle.order(MqttOrder::Shutdown { within: Duration::from_secs(1) });
        }
        if let Err(error) = self.store.close() {
            tracing::error!(%error, "the store could not be closed cleanly");
        }
    }
}

/// What one turn gathers.
#[derive(Default)]
struct Turn {
    datagrams: Vec<(Peer, Vec<u8>)>,
    batch: Option<StoreBatch>,
    reads: Vec<Read>,
    events: Vec<StreamEvent>,
    /// Inputs that came up while outputs were drained.
    late: Vec<Input>,
    /// The task of a restart that was asked for.
    restart: Option<TaskId>,
    /// Whether it was answered, so that the process may end.
    restarting: bool,
}

impl Turn {
    /// Writes of a turn become durable together; the last number stands for all.
    fn add(&mut self, batch: StoreBatch) {
        match &mut self.batch {
            Some(gathered) => {
                gathered.sequence = batch.sequence;
                gathered.writes.extend(batch.writes);
            }
            None => self.batch = Some(batch),
        }
    }
}

enum Read {
    Spool { sink: SinkIndex, after: u64, max_rows: usize },
    Retained { sink: SinkIndex, after: Option<String>, max_rows: usize },
}

/// Resolves when a listener has something, or can send what waits.
async fn any_ready(listeners: &[UdpListener]) {
    let mut waiting: Vec<_> = listeners
        .iter()
        .map(|listener| {
            Box::pin(async move {
                let ready = if listener.has_queued() {
                    tokio::select! {
                        readable = listener.readable() => readable,
                        writable = listener.writable() => writable,
                    }
                } else {
                    listener.readable().await
                };
                if ready.is_err() {
                    // The runtime gives this socket up; turning round and round would help nobody.
                    std::future::pending::<()>().await;
                }
            })
        })
        .collect();
    std::future::poll_fn(|context| {
        let ready = waiting.iter_mut().any(|future| future.as_mut().poll(context).is_ready());
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
