//! The task of one sink: connects, orders requests, tells events, starts over.

use std::collections::{HashMap, VecDeque};
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use native_tls::TlsConnector;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::backoff::Backoff;
use super::protocol::{Attempt, Failure, Happening, Inbound, Protocol, Ticket};
use super::{MqttConfiguration, MqttCounters, MqttOrder, MqttSink};
use crate::gateway::vocabulary::{DeliveryId, Input, ReceiptId, SinkInput};
use crate::io::InputSender;
use crate::io::clock::monotonic_now;
use crate::model::message::Message;

/// Inputs collected before they are sent even though more is at hand.
const MAX_BATCH: usize = 64;

/// A connection that held this long starts the pauses over.
const PROOF: Duration = Duration::from_secs(10);

/// Time beyond the keep-alive interval without any sign of life before the connection counts as stuck.
const SILENCE: Duration = Duration::from_secs(15);

/// The largest message that is read only in order to acknowledge and drop it; for a larger one the session is forgotten.
const MAX_DROPPED_BYTES: usize = 64 << 20;

/// Least number of packet ids.
const MIN_PACKET_IDS: u16 = 1_024;

/// How a connection ended.
enum End {
    /// It was lost; try again.
    Lost(Failure),
    /// The sink is at its end.
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Connecting,
    Subscribing,
    Ready,
    /// Shutdown was ordered; nothing more is taken.
    Draining,
    /// The last word is queued.
    Leaving,
}

pub(super) struct Task<P: Protocol> {
    configuration: MqttConfiguration,
    tls: Option<TlsConnector>,
    inputs: InputSender,
    orders: mpsc::Receiver<MqttOrder>,
    counters: Arc<MqttCounters>,
    /// Inputs not sent yet.
    batch: Vec<Input>,
    phase: Phase,
    /// Messages handed to the client and not written, in order.
    queued: VecDeque<DeliveryId>,
    /// Messages written and not acknowledged, by packet id.
    in_flight: HashMap<u16, DeliveryId>,
    /// Messages received and not acknowledged; bounded by what the broker sends unacknowledged.
    receipts: HashMap<ReceiptId, Ticket>,
    next_receipt: u64,
    /// Bound of `queued` and `in_flight` together.
    max_outstanding: usize,
    max_packet_bytes: usize,
    /// Raised for one connection after a packet that was too large.
    max_incoming_bytes: usize,
    forget_session: bool,
    leave_at: Option<tokio::time::Instant>,
    ready_since: Option<Instant>,
    /// What was told last; `None` while connected. Repeated failures with one reason are told once.
    told: Option<String>,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Protocol> Task<P> {
    pub(super) fn new(sink: MqttSink) -> Self {
        let MqttSink { configuration, tls, inputs, orders, counters } = sink;
        Self {
            max_packet_bytes: configuration.max_packet_bytes,
            max_incoming_bytes: configuration.max_packet_bytes,
            configuration,
            tls,
            inputs,
            orders,
            counters,
            batch: Vec::new(),
            phase: Phase::Connecting,
            queued: VecDeque::new(),
            in_flight: HashMap::new(),
            receipts: HashMap::new(),
            next_receipt: 1,
            max_outstanding: 1,
            forget_session: false,
            leave_at: None,
            ready_since: None,
            told: None,
            protocol: PhantomData,
        }
    }

    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let End::Lost(failure) = self.connection().await else { return };
            if self.ready_since.take().is_some_and(|since| monotonic_now().duration_since(since) >= PROOF) {
                backoff.reset();
            }
            if self.phase >= Phase::Draining {
                return;
            }
            self.lose(failure);
            if self.flush().await.is_err() || self.pause(backoff.next_pause(random())).await.is_err() {
                return;
            }
        }
    }

    /// One connection from its attempt to its end.
    async fn connection(&mut self) -> End {
        let (client, mut events) = P::build(&Attempt {
            configuration: &self.configuration,
            tls: self.tls.as_ref(),
            forget_session: std::mem::take(&mut self.forget_session),
            max_incoming_bytes: std::mem::replace(&mut self.max_incoming_bytes, self.configuration.max_packet_bytes),
            request_capacity: usize::from(self.configuration.in_flight).saturating_mul(2) + 1_024,
            packet_ids: self.configuration.in_flight.saturating_mul(4).max(MIN_PACKET_IDS),
        });
        self.phase = Phase::Connecting;
        let mut silence = watchdog(self.configuration.keep_alive);
        let mut silent_ticks = 0;
        loop {
            let happening = {
                let mut poll = pin!(P::poll(&mut events));
                match poll_once(poll.as_mut()).await {
                    Some(result) => result,
                    None => loop {
                        // Nothing is at hand: tell what was collected, then wait. The future stays the same throughout.
                        if self.flush().await.is_err() {
                            return End::Over;
                        }
                        tokio::select! {
                            biased;
                            result = poll.as_mut() => break result,
                            order = self.orders.recv(), if self.takes_orders() => match order {
                                None => return End::Over,
                                Some(order) => {
                                    if let Some(end) = self.take(&client, order).or_else(|| self.take_waiting(&client)) {
                                        return end;
                                    }
                                }
                            },
                            () = until(self.leave_at), if self.leave_at.is_some() => return End::Over,
                            _ = silence.tick() => {
                                silent_ticks += 1;
                                if silent_ticks >= 2 {
                                    return lost("no sign of life from the broker");
                                }
                            }
                        }
                    },
                }
            };
            silent_ticks = 0;
            let end = match happening {
                Err(failure) => Some(End::Lost(failure)),
                Ok(Happening::Connected { max_packet_bytes, receive_maximum, keep_alive }) => {
                    silence = watchdog(keep_alive);
                    self.accept(&client, max_packet_bytes, receive_maximum)
                }
                Ok(Happening::Subscribed(refused)) => self.subscribed(&client, &refused),
                Ok(Happening::Goodbye) => Some(End::Over),
                Ok(happening) => self.handle(&client, happening),
            };
            let end = end.or_else(|| self.take_waiting(&client)).or_else(|| self.leave(&client));
            if end.is_none() && self.batch.len() >= MAX_BATCH && self.flush().await.is_err() {
                return End::Over;
            }
            if let Some(end) = end {
                let _ = self.flush().await;
                return end;
            }
        }
    }

    /// CONNACK came.
    fn accept(&mut self, client: &P::Client, max_packet_bytes: usize, receive_maximum: u16) -> Option<End> {
        self.max_packet_bytes = max_packet_bytes;
        // One below the broker's bound: at the bound itself the client holds back acknowledgements as well.
        let broker_bound = usize::from(receive_maximum).saturating_sub(1).max(1);
        self.max_outstanding = usize::from(self.configuration.in_flight).min(broker_bound);
        if self.configuration.subscriptions.is_empty() {
            return self.ready(client);
        }
        self.phase = Phase::Subscribing;
        match P::subscribe(client, &self.configuration) {
            Ok(()) => None,
            Err(_) => Some(lost("the client took no subscription")),
        }
    }

    fn subscribed(&mut self, client: &P::Client, refused: &[(usize, String)]) -> Option<End> {
        if let Some((at, reason)) = refused.first() {
            let filter = self.configuration.subscriptions.get(*at).map_or("", String::as_str);
            return Some(lost(&format!("the broker refused the subscription to {filter}: {reason}")));
        }
        if self.phase == Phase::Subscribing { self.ready(client) } else { None }
    }

    fn ready(&mut self, client: &P::Client) -> Option<End> {
        // Orders given before the core heard that the last connection was lost; it gives them again.
        let end = self.take_waiting(client);
        if end.is_some() {
            return end;
        }
        self.phase = Phase::Ready;
        self.ready_since = Some(monotonic_now());
        self.told = None;
        count(&self.counters.connections);
        tracing::info!(sink = self.configuration.name, in_flight = self.max_outstanding, "sink connected");
        self.tell(SinkInput::Connected {
            max_packet_bytes: self.max_packet_bytes,
            receive_maximum: self.max_outstanding,
        });
        None
    }

    fn handle(&mut self, client: &P::Client, happening: Happening) -> Option<End> {
        match happening {
            Happening::Written(packet_id) => {
                let delivery = self.queued.pop_front()?;
                if packet_id == 0 {
                    count(&self.counters.acknowledged);
                    self.tell(SinkInput::Acknowledged { delivery });
                } else {
                    self.in_flight.insert(packet_id, delivery);
                }
            }
            Happening::Acknowledged(packet_id) => {
                let delivery = self.in_flight.remove(&packet_id)?;
                count(&self.counters.acknowledged);
                self.tell(SinkInput::Acknowledged { delivery });
            }
            Happening::Rejected(packet_id, reason) => {
                let delivery = self.in_flight.remove(&packet_id)?;
                self.reject(delivery, reason);
            }
            Happening::Inbound(inbound) => return self.receive(client, inbound),
            Happening::Connected { .. } | Happening::Subscribed(_) | Happening::Goodbye | Happening::Other => {}
        }
        None
    }

    fn receive(&mut self, client: &P::Client, inbound: Inbound) -> Option<End> {
        count(&self.counters.received);
        let bytes = inbound.payload.len() + inbound.topic.as_ref().map_or(0, String::len);
        let Some(topic) = inbound.topic.filter(|_| bytes <= self.configuration.max_packet_bytes) else {
            count(&self.counters.dropped);
            tracing::warn!(sink = self.configuration.name, bytes, "received message dropped");
            if inbound.ticket.is_awaited() && P::acknowledge(client, inbound.ticket).is_err() {
                return Some(lost("the client took no acknowledgement"));
            }
            return None;
        };
        let receipt = ReceiptId(self.next_receipt);
        self.next_receipt += 1;
        if inbound.ticket.is_awaited() {
            self.receipts.insert(receipt, inbound.ticket);
        }
        self.tell(SinkInput::Inbound {
            receipt,
            topic,
            payload: inbound.payload,
            retain: inbound.retain,
            response_topic: inbound.response_topic,
            correlation: inbound.correlation,
        });
        None
    }

    fn takes_orders(&self) -> bool {
        match self.phase {
            Phase::Connecting | Phase::Subscribing => true,
            Phase::Ready => self.queued.len() + self.in_flight.len() < self.max_outstanding,
            Phase::Draining | Phase::Leaving => false,
        }
    }

    /// Takes the orders that are there, as far as there is room.
    fn take_waiting(&mut self, client: &P::Client) -> Option<End> {
        while self.takes_orders() {
            let Ok(order) = self.orders.try_recv() else { break };
            let end = self.take(client, order);
            if end.is_some() {
                return end;
            }
        }
        None
    }

    fn take(&mut self, client: &P::Client, order: MqttOrder) -> Option<End> {
        match order {
            MqttOrder::Publish { .. } if self.phase != Phase::Ready => None,
            MqttOrder::Publish { delivery, message } => {
                if let Some(reason) = unsendable(&message, self.max_packet_bytes) {
                    self.reject(delivery, reason);
                    return None;
                }
                if P::publish(client, &message).is_err() {
                    return Some(lost("the client took no message"));
                }
                count(&self.counters.published);
                self.queued.push_back(delivery);
                None
            }
            MqttOrder::AcknowledgeInbound { receipt } => {
                // Unknown receipts belong to an earlier connection; the broker sends those messages again.
                let ticket = self.receipts.remove(&receipt)?;
                P::acknowledge(client, ticket).is_err().then(|| lost("the client took no acknowledgement"))
            }
            MqttOrder::Shutdown { within } => {
                if self.phase != Phase::Ready {
                    return Some(End::Over);
                }
                self.phase = Phase::Draining;
                self.leave_at = Some(tokio::time::Instant::from_std(monotonic_now() + within));
                self.leave(client)
            }
        }
    }

    /// Says goodbye once nothing is in flight any more.
    fn leave(&mut self, client: &P::Client) -> Option<End> {
        if self.phase == Phase::Draining && self.queued.is_empty() && self.in_flight.is_empty() {
            self.phase = Phase::Leaving;
            if P::disconnect(client).is_err() {
                return Some(End::Over);
            }
        }
        None
    }

    fn reject(&mut self, delivery: DeliveryId, reason: String) {
        count(&self.counters.rejected);
        self.tell(SinkInput::Rejected { delivery, reason });
    }

    fn tell(&mut self, input: SinkInput) {
        self.batch.push(Input::Sink { sink: self.configuration.sink, input });
    }

    /// Sends what was collected; waits while the core is behind. Fails when the core is gone.
    async fn flush(&mut self) -> Result<(), ()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.inputs.send(std::mem::take(&mut self.batch)).await.map_err(|_| ())
    }

    /// Forgets everything about a connection and tells the core.
    fn lose(&mut self, failure: Failure) {
        count(&self.counters.failures);
        self.queued.clear();
        self.in_flight.clear();
        self.receipts.clear();
        if let Some(bytes) = failure.oversized_bytes {
            if bytes <= MAX_DROPPED_BYTES {
                self.max_incoming_bytes = bytes.saturating_add(16);
            } else {
                self.forget_session = true;
            }
        }
        if self.told.as_ref() != Some(&failure.reason) {
            tracing::warn!(sink = self.configuration.name, reason = failure.reason, "sink disconnected");
            self.told = Some(failure.reason.clone());
            self.tell(SinkInput::Disconnected { reason: failure.reason });
        }
    }

    /// Waits before the next attempt. Orders of the lost connection are of no use any more.
    async fn pause(&mut self, pause: Duration) -> Result<(), ()> {
        let mut pause = pin!(sleep(pause));
        loop {
            tokio::select! {
                () = pause.as_mut() => return Ok(()),
                order = self.orders.recv() => match order {
                    None | Some(MqttOrder::Shutdown { .. }) => return Err(()),
                    Some(MqttOrder::Publish { .. } | MqttOrder::AcknowledgeInbound { .. }) => {}
                }
            }
        }
    }
}

fn lost(reason: &str) -> End {
    End::Lost(Failure { reason: reason.to_owned(), oversized_bytes: None })
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Ticks so that two of them without anything between mean a stuck connection: the client would have sent a ping.
fn watchdog(keep_alive: Duration) -> tokio::time::Interval {
    let mut ticks = interval(keep_alive + SILENCE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}

async fn until(at: Option<tokio::time::Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

/// Polls a future once without giving it up.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Why a message can never be sent; checked here because the client would end the connection over it.
fn unsendable(message: &Message, max_packet_bytes: usize) -> Option<String> {
    /// Longest topic and correlation data: their length has two bytes.
    const MAX_FIELD_BYTES: usize = 65_535;
    /// Fixed header 5, topic length 2, packet id 2, length of the properties 4, correlation data 3.
    const HEADER_BYTES: usize = 16;
    if message.topic.is_empty() || message.topic.contains(['+', '#', '\0']) {
        return Some(format!("{:?} is no topic to publish on", message.topic));
    }
    let correlation_bytes = message.correlation.as_ref().map_or(0, bytes::Bytes::len);
    if message.topic.len() > MAX_FIELD_BYTES || correlation_bytes > MAX_FIELD_BYTES {
        return Some("its topic or correlation data is longer than 65535 bytes".to_owned());
    }
    let bytes = HEADER_BYTES + message.topic.len() + correlation_bytes + message.payload.len();
    (bytes > max_packet_bytes).then(|| format!("its {bytes} bytes are more than the {max_packet_bytes} of the broker"))
}

/// Spreads the pauses of several gateways; zero if the system has no randomness to give.
fn random() -> u32 {
    getrandom::u32().unwrap_or(0)
}
