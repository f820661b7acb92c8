//! A broker as the gateway sees one: it takes messages, acknowledges them, delivers what the cloud publishes, and can
//! be away.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::gateway::vocabulary::{DeliveryId, ReceiptId, SinkInput};
use crate::model::message::Message;
use crate::model::time::Instant;

/// A message that the cloud published and the gateway has not acknowledged.
#[derive(Clone, Debug)]
struct Downlink {
    receipt: ReceiptId,
    topic: String,
    payload: Bytes,
    delivered: bool,
}

/// The broker of a simulated gateway.
#[derive(Debug)]
pub struct SimulatedBroker {
    latency: Duration,
    connected: bool,
    /// Whether it can be reached.
    pub reachable: bool,
    /// Published and not arrived yet: lost when the connection breaks.
    arriving: VecDeque<(Instant, DeliveryId, Message)>,
    /// Arrived, and the acknowledgement is on its way: when the connection breaks, the message is there twice.
    acknowledgements: VecDeque<(Instant, DeliveryId)>,
    downlinks: Vec<Downlink>,
    next_receipt: u64,
    /// Everything it took, in order.
    pub received: Vec<(Instant, Message)>,
    /// The latest payload of each retained topic.
    pub retained: BTreeMap<String, Bytes>,
}

impl SimulatedBroker {
    /// A reachable broker that acknowledges after `latency`.
    pub fn new(latency: Duration) -> Self {
        Self {
            latency,
            connected: false,
            reachable: true,
            arriving: VecDeque::new(),
            acknowledgements: VecDeque::new(),
            downlinks: Vec::new(),
            next_receipt: 0,
            received: Vec::new(),
            retained: BTreeMap::new(),
        }
    }

    /// The gateway publishes.
    pub fn publish(&mut self, now: Instant, delivery: DeliveryId, message: Message) {
        if self.connected {
            self.arriving.push_back((now + self.latency, delivery, message));
        }
    }

    fn arrive(&mut self, now: Instant, delivery: DeliveryId, message: Message) {
        if message.retain {
            if message.payload.is_empty() {
                self.retained.remove(&message.topic);
            } else {
                self.retained.insert(message.topic.clone(), message.payload.clone());
            }
        }
        self.received.push((now, message));
        self.acknowledgements.push_back((now + self.latency, delivery));
    }

    /// The gateway acknowledges a downlink message.
    pub fn acknowledge_inbound(&mut self, receipt: ReceiptId) {
        self.downlinks.retain(|downlink| downlink.receipt != receipt);
    }

    /// The cloud publishes to the gateway.
    pub fn downlink(&mut self, topic: &str, payload: &str) {
        let receipt = ReceiptId(self.next_receipt);
        self.next_receipt += 1;
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        self.downlinks.push(Downlink { receipt, topic: topic.to_owned(), payload, delivered: false });
    }

    /// Messages that the gateway has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.downlinks.len()
    }

    /// The connection breaks: acknowledgements on their way are lost, unacknowledged downlinks come again.
    pub fn break_connection(&mut self) {
        self.connected = false;
        self.arriving.clear();
        self.acknowledgements.clear();
        for downlink in &mut self.downlinks {
            downlink.delivered = false;
        }
    }

    /// When something is due; `at_once` for what does not wait.
    pub fn next_event(&self, at_once: Instant) -> Option<Instant> {
        if self.connected != self.reachable
            || (self.connected && self.downlinks.iter().any(|downlink| !downlink.delivered))
        {
            return Some(at_once);
        }
        let arrival = self.arriving.front().map(|(at, ..)| *at);
        let acknowledgement = self.acknowledgements.front().map(|(at, _)| *at);
        [arrival, acknowledgement].into_iter().flatten().min()
    }

    /// What the gateway hears now.
    pub fn poll(&mut self, now: Instant) -> Option<SinkInput> {
        while let Some((at, ..)) = self.arriving.front()
            && *at <= now
        {
            let Some((at, delivery, message)) = self.arriving.pop_front() else { break };
            self.arrive(at, delivery, message);
        }
        if self.connected && !self.reachable {
            self.break_connection();
            return Some(SinkInput::Disconnected { reason: "the broker went away".to_owned() });
        }
        if !self.connected && self.reachable {
            self.connected = true;
            return Some(SinkInput::Connected { max_packet_bytes: 1 << 20, receive_maximum: 20 });
        }
        if !self.connected {
            return None;
        }
        if let Some(downlink) = self.downlinks.iter_mut().find(|downlink| !downlink.delivered) {
            downlink.delivered = true;
            return Some(SinkInput::Inbound {
                receipt: downlink.receipt,
                topic: downlink.topic.clone(),
                payload: downlink.payload.clone(),
                retain: false,
                response_topic: None,
                correlation: None,
            });
        }
        let due = self.acknowledgements.front().is_some_and(|(at, _)| *at <= now);
        let (_, delivery) = due.then(|| self.acknowledgements.pop_front()).flatten()?;
        Some(SinkInput::Acknowledged { delivery })
    }
}
