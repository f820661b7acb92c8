//! Everything that enters and leaves the core: [`Input`] and [`Output`].
//!
//! Contract of the core: one `handle_input`, then `poll_output` until it says `None`, then wait for `next_deadline` or
//! the next input. No input may panic. The same seed and inputs give the same outputs.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::bootstrap::news::SessionNews;
use super::bootstrap::orders::{BootstrapInput, BootstrapOrder};
pub use super::bootstrap_query::BootstrapQuery;
use super::devices::observation::Target;
use super::handshakes::{HandshakeFailure, HandshakeInput, HandshakeOrder};
pub use super::query::{DeviceView, Query};
use super::store::{RetainedRow, SpoolRow, StoreBatch, StoreSequence};
use crate::mapping::Plan;
use crate::model::command::{CommandError, CommandResult};
use crate::model::credential::Identity;
use crate::model::endpoint::Endpoint;
use crate::model::event::{Event, EventKind};
use crate::model::message::Message;
use crate::model::object::ObjectModel;
use crate::model::path::Path;
use crate::model::report::{DeviceFacts, Sample};
use crate::model::time::WallTime;
use crate::northbound::leshan::Registration;

/// The other side: who sent, and on which of our addresses it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// Index of the listener in the configuration.
    pub listener: u16,
    /// The other side, as far as it is known: that of a session may have moved since.
    pub remote: SocketAddr,
    /// The local address that was asked, so that the answer leaves from it; `None` if the system did not tell.
    pub local: Option<IpAddr>,
    /// The DTLS session that carries the messages; `None` for plain datagrams and for connections.
    pub session: Option<SessionId>,
}

/// A DTLS session. A number never comes again, also over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct SessionId(pub u64);

/// What tells a peer from all others, and what message ids and tokens belong to: an address, or a session wherever it
/// is reached (RFC 7252 section 9.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Listener and the other side's address.
    Address(u16, SocketAddr),
    /// A DTLS session.
    Session(SessionId),
}

impl Peer {
    /// What tells this peer from all others.
    #[must_use]
    pub const fn place(&self) -> Place {
        match self.session {
            Some(session) => Place::Session(session),
            None => Place::Address(self.listener, self.remote),
        }
    }
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

/// Work of the shell that the core asked for, until it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub u64);

/// What would be in force after a change that was only tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// All mapping files, compiled.
    pub plan: Arc<Plan>,
    /// All object definitions.
    pub model: Arc<ObjectModel>,
}

/// A connection of a stream transport. A number never comes again, unlike the addresses of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    /// What stands in place of a message id for messages of this connection: an answer that waited is dropped if its
    /// connection is not the same any more.
    #[must_use]
    pub const fn message_id(self) -> u16 {
        self.0 as u16
    }
}

/// Who a peer proved to be, and by which state of its credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    /// Who.
    pub identity: Identity,
    /// Which state of the credential; see [`HandshakeOrder::Admit`].
    pub generation: u64,
}

/// What happens to a connection of a stream transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamInput {
    /// The peer connected. It is refused by [`StreamOrder::Close`].
    Opened {
        /// Who it proved to be, over TLS.
        identity: Option<Box<Authenticated>>,
    },
    /// A peer did not prove who it is: its connection is closed already, and nothing else is told of it.
    Refused(Box<HandshakeFailure>),
    /// Bytes arrived, in order.
    Bytes(Vec<u8>),
    /// It is gone, unless the core had it closed.
    Closed {
        /// Why, for the operator.
        reason: String,
    },
}

/// What the core wants of a connection of a stream transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamOrder {
    /// Write these bytes, behind all earlier ones.
    Send(Vec<u8>),
    /// Write what waits, then end the connection. Nothing is told of it any more.
    Close,
    /// Read nothing more for now.
    Pause,
    /// Read again.
    Resume,
}

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
    /// Something happened to a DTLS handshake.
    Handshake(HandshakeInput),
    /// What the bootstrap server asked for is done, or cannot be.
    Bootstrap(BootstrapInput),
    /// Something happened to a connection of a stream transport.
    Stream {
        /// The other side.
        peer: Peer,
        /// Which connection.
        connection: ConnectionId,
        /// What.
        input: StreamInput,
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
    /// How the server's identity stands, at start and when it changes.
    IdentityHealth {
        /// `None`: its files are in force. Otherwise why they are not, for the alarm.
        failure: Option<String>,
        /// What is to be said of its certificate's end, if that is near, for the alarm.
        expiry: Option<String>,
    },
    /// An API caller asks.
    Request {
        /// For the answer.
        request: RequestId,
        /// What.
        query: Query,
    },
    /// The shell did what [`Output::Shell`] asked for, or could not.
    ShellDone {
        /// Which task.
        task: TaskId,
        /// What to tell whoever asked: the `data` of the response, or why not.
        answer: Result<serde_json::Value, CommandError>,
        /// For a dry run: what would be in force. The core adds which observations would change.
        trial: Option<Trial>,
    },
    /// A line of the log, while somebody asked for them.
    LogLine {
        /// `{ts, level, target, message, ..}`.
        line: serde_json::Value,
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

/// Files and switches that live in the shell: what a request of the bridge may want of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShellWork {
    /// Names, sizes and problems of the mapping files.
    MappingList,
    /// The text of a mapping file.
    MappingGet {
        /// Its name within the folder of mappings.
        file: String,
    },
    /// Puts or deletes a mapping file, if all files together then compile.
    MappingPut {
        /// Its name within the folder of mappings.
        file: String,
        /// The new text; `None` deletes it.
        text: Option<String>,
        /// Only tell what would happen.
        dry_run: bool,
    },
    /// Names of the files of object definitions.
    ModelList,
    /// The text of a file of object definitions.
    ModelGet {
        /// Its name within the folder of models.
        file: String,
    },
    /// Puts or deletes a file of object definitions (DDF XML).
    ModelPut {
        /// Its name within the folder of models.
        file: String,
        /// The new text; `None` deletes it.
        text: Option<String>,
        /// Only tell what would happen.
        dry_run: bool,
    },
    /// The configuration in force, without secrets.
    ConfigGet,
    /// Changes the filter of the log for a while, and sends its lines to the sinks meanwhile.
    LogLevel {
        /// A filter in the syntax of `tracing`; `None`: the configured one again, and no more lines.
        level: Option<String>,
        /// For how long.
        duration: Duration,
    },
    /// Ends the process cleanly so that the service manager starts it anew.
    Restart,
}

/// An answer to an API caller.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The body.
    Body(serde_json::Value),
    /// No such device.
    UnknownDevice,
    /// The mapping has no endpoint there, or only one for these methods.
    NoEndpoint {
        /// Methods that the path takes; empty if it is no endpoint at all.
        allowed: Vec<&'static str>,
    },
    /// It was not done; the kind decides on the status of the caller.
    Failed(CommandError),
    /// How a command goes on. More answers to the same request follow until a terminal result.
    Command(CommandProgress),
    /// Object definitions, what the device registered, and its alternate root path.
    Model {
        /// All definitions.
        model: Arc<ObjectModel>,
        /// What is known of the device: objects with versions, enabler version.
        facts: Box<DeviceFacts>,
    },
}

/// What an API caller hears of its command.
#[derive(Clone, Debug, PartialEq)]
pub enum CommandProgress {
    /// It is durable: it will have exactly one terminal result, whatever happens.
    Accepted {
        /// The device.
        endpoint: Endpoint,
        /// The id of the command.
        id: String,
    },
    /// `queued`, or the terminal result, durable.
    Result(CommandResult),
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
    /// Do this with the DTLS handshakes; the orders that concern proofs are for TLS listeners too.
    Handshake(HandshakeOrder),
    /// Do this for the bootstrap server.
    Bootstrap(BootstrapOrder),
    /// Do this with a connection of a stream transport.
    Stream {
        /// Which connection.
        connection: ConnectionId,
        /// What.
        order: StreamOrder,
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
    /// Something happened in a bootstrap session: for the Leshan-compatible stream. Only while
    /// [`Configuration::streams_bootstrap`](super::configuration::Configuration::streams_bootstrap) is set.
    BootstrapNews(SessionNews),
    /// A value came under a key: for event streams. Only while [`Configuration::streams_values`] is set.
    ///
    /// [`Configuration::streams_values`]: super::configuration::Configuration::streams_values
    Value {
        /// The device.
        endpoint: Endpoint,
        /// Where the value came from.
        path: Path,
        /// Its key.
        key: String,
        /// The value.
        value: serde_json::Value,
        /// Its time.
        ts: WallTime,
    },
    /// A registration began, was updated, or is about to end: for the Leshan-compatible event stream. Only while
    /// [`Configuration::streams_samples`] is set.
    ///
    /// [`Configuration::streams_samples`]: super::configuration::Configuration::streams_samples
    Registration {
        /// [`EventKind::Registered`], [`EventKind::Updated`], or what ended it.
        kind: EventKind,
        /// The registration.
        registration: Box<Registration>,
    },
    /// What a device reported by itself, before any mapping: for the Leshan-compatible event stream. Only while
    /// [`Configuration::streams_samples`] is set.
    ///
    /// [`Configuration::streams_samples`]: super::configuration::Configuration::streams_samples
    Samples {
        /// The device.
        endpoint: Endpoint,
        /// What was observed, for notifications; `None`: it came by a Send.
        observed: Option<Target>,
        /// The samples of one payload.
        samples: Vec<Sample>,
    },
    /// A result of a command, durable: for event streams.
    Result(CommandResult),
    /// A message to or from a device that is traced, for event streams.
    Trace {
        /// The device.
        endpoint: Endpoint,
        /// When.
        ts: WallTime,
        /// Whether it came from the device.
        incoming: bool,
        /// Our address, as far as it is known.
        local: Option<SocketAddr>,
        /// The device's address.
        remote: SocketAddr,
        /// The CoAP message as it would be in a UDP datagram; payloads that may hold credentials are zeros.
        bytes: Vec<u8>,
        /// The same for people: `{ts, direction, remote, type, code, id, token, options, path, payload, summary}`.
        line: serde_json::Value,
    },
    /// A line of the log, for event streams.
    Log {
        /// `{ts, level, target, message, ..}`.
        line: serde_json::Value,
    },
    /// Do this outside the core, then answer [`Input::ShellDone`].
    Shell {
        /// For the answer.
        task: TaskId,
        /// What.
        work: ShellWork,
    },
    /// Somebody asked to load configuration and mappings anew.
    Reload,
}
