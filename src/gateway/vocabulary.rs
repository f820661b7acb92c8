//! Everything that enters and leaves the core: [`Input`] and [`Output`].
//!
//! Contract of the core: one `handle_input`, then `poll_output` until it says `None`, then wait for `next_deadline` or
//! the next input. No input may panic. The same seed and inputs give the same outputs.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;

use super::store::{RetainedRow, SpoolRow, StoreBatch, StoreSequence};
use crate::mapping::Plan;
use crate::model::event::Event;
use crate::model::message::Message;
use crate::model::object::ObjectModel;
use crate::model::time::WallTime;

/// One side of a datagram path: who sent, and on which of our addresses it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// Index of the listener in the configuration.
    pub listener: u16,
    /// The other side.
    pub remote: SocketAddr,
    /// The local address that was asked, so that the answer leaves from it; `None` if the system did not tell.
    pub local: Option<IpAddr>,
}

/// Position of a sink in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkIndex(pub usize);

/// A message handed to a sink, until it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub u64);

/// A message received by a sink, until it is acknowledged to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReceiptId(pub u64);

/// A question of an API caller, until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What happens to the core.
#[derive(Clone, Debug)]
pub enum Input {
    /// A datagram arrived.
    Datagram {
        /// Where from.
        peer: Peer,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// The wall clock, at start and whenever it departed from what the core computes.
    Clock {
        /// Wall time at this instant.
        wall: WallTime,
        /// Whether it can be trusted.
        synced: bool,
    },
    /// All batches up to this one are durable.
    Durable {
        /// The last durable batch.
        up_to: StoreSequence,
    },
    /// The store cannot be written (disk full, damaged), or can again.
    StoreHealth {
        /// `None`: it works. Otherwise the reason, for the alarm.
        failure: Option<String>,
    },
    /// Rows that [`Output::ReadSpool`] asked for, ascending; fewer than asked only at the end.
    SpoolRows {
        /// Which sink.
        sink: SinkIndex,
        /// The rows.
        rows: Vec<SpoolRow>,
    },
    /// Rows that [`Output::ReadRetained`] asked for, by topic; fewer than asked only at the end.
    RetainedRows {
        /// Which sink.
        sink: SinkIndex,
        /// The rows.
        rows: Vec<RetainedRow>,
    },
    /// Something happened at a sink.
    Sink {
        /// Which sink.
        sink: SinkIndex,
        /// What.
        input: SinkInput,
    },
    /// A new mapping plan.
    Plan {
        /// The plan.
        plan: Arc<Plan>,
    },
    /// A new object model.
    Model {
        /// The model.
        model: Arc<ObjectModel>,
    },
    /// Mapping files are broken and the last good plan stays, or are fine again.
    MappingHealth {
        /// `None`: fine. Otherwise the first problem, for the alarm.
        failure: Option<String>,
    },
    /// An API caller asks.
    Request {
        /// For the answer.
        request: RequestId,
        /// What.
        query: Query,
    },
    /// How much memory the process holds, for `bridge/health`.
    ResidentMemory {
        /// Bytes.
        bytes: u64,
    },
    /// The gateway is about to stop: say so where it is retained.
    Stop,
}

/// What happens at a sink.
#[derive(Clone, Debug)]
pub enum SinkInput {
    /// Connected and subscribed anew.
    Connected {
        /// Longest packet that the broker takes, in bytes.
        max_packet_bytes: usize,
        /// Unacknowledged messages that the broker takes.
        receive_maximum: usize,
    },
    /// The connection is gone; nothing in flight counts as delivered.
    Disconnected {
        /// Why, for the operator.
        reason: String,
    },
    /// The broker took responsibility for a message.
    Acknowledged {
        /// Which.
        delivery: DeliveryId,
    },
    /// The broker, or the client before it, refused a message for good.
    Rejected {
        /// Which.
        delivery: DeliveryId,
        /// Why, for the operator.
        reason: String,
    },
    /// A message arrived on a subscription.
    Inbound {
        /// For [`Output::AcknowledgeInbound`].
        receipt: ReceiptId,
        /// Its topic.
        topic: String,
        /// Its body.
        payload: Bytes,
        /// Whether the broker had kept it.
        retain: bool,
        /// Where the answer goes (MQTT 5).
        response_topic: Option<String>,
        /// What the answer carries (MQTT 5).
        correlation: Option<Bytes>,
    },
}

/// What an API caller may ask.
#[derive(Clone, Debug)]
pub enum Query {
    /// A page of device records, by endpoint.
    Devices {
        /// Only those whose endpoint or name contains this.
        search: String,
        /// Only those after this endpoint.
        after: Option<String>,
        /// At most so many.
        limit: usize,
    },
    /// One device by name or endpoint.
    Device {
        /// Name or endpoint.
        device: String,
    },
    /// Latest values of mapped keys.
    Values {
        /// Name or endpoint.
        device: String,
    },
    /// Values that no rule took.
    Unmapped {
        /// Name or endpoint.
        device: String,
    },
    /// Peers that were turned away.
    Refused,
    /// Opens (or with zero closes) the join window.
    PermitJoin {
        /// For how long.
        duration: std::time::Duration,
    },
    /// Whether every part works.
    Ready,
}

/// An answer to an API caller.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The body.
    Body(serde_json::Value),
    /// No such device.
    UnknownDevice,
}

/// What the core wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a datagram.
    Transmit {
        /// To whom, and from which local address.
        peer: Peer,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Make these writes durable, then answer [`Input::Durable`].
    Store(StoreBatch),
    /// Read rows of a spool, answered by [`Input::SpoolRows`].
    ReadSpool {
        /// Which sink.
        sink: SinkIndex,
        /// Only rows above this id.
        after: u64,
        /// At most so many rows.
        max_rows: usize,
    },
    /// Read retained rows, answered by [`Input::RetainedRows`].
    ReadRetained {
        /// Which sink.
        sink: SinkIndex,
        /// Only topics above this one; `None` from the start.
        after: Option<String>,
        /// At most so many rows.
        max_rows: usize,
    },
    /// Hand a message to a sink.
    Publish {
        /// Which sink.
        sink: SinkIndex,
        /// For the acknowledgement; at-most-once messages are acknowledged as soon as they are written.
        delivery: DeliveryId,
        /// The message.
        message: Message,
    },
    /// Acknowledge a received message to its broker.
    AcknowledgeInbound {
        /// Which sink.
        sink: SinkIndex,
        /// Which message.
        receipt: ReceiptId,
    },
    /// Answer an API caller.
    Answer {
        /// Whose question.
        request: RequestId,
        /// The answer.
        answer: Answer,
    },
    /// Something happened that operators and event streams want to know.
    Event(Event),
    /// Somebody asked to load configuration and mappings anew.
    Reload,
}
