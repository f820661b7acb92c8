//! What both versions of the protocol have in common, seen from the task.

use std::time::Duration;

use bytes::Bytes;
use native_tls::TlsConnector;

use super::MqttConfiguration;
use crate::model::message::Message;

/// What one connection is built with beside the configuration.
pub(super) struct Attempt<'a> {
    pub(super) configuration: &'a MqttConfiguration,
    pub(super) tls: Option<&'a TlsConnector>,
    /// Whether the broker shall forget the session first.
    pub(super) forget_session: bool,
    /// Longest packet that is read.
    pub(super) max_incoming_bytes: usize,
    /// Requests that the client takes while it is not polled.
    pub(super) request_capacity: usize,
    /// Packet ids in use; more than ever in flight, so that an acknowledgement out of order does not meet a used id.
    pub(super) packet_ids: u16,
}

/// How long TCP, TLS and CONNACK may take together.
pub(super) const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);

/// Something that the client tells.
#[derive(Debug)]
pub(super) enum Happening {
    /// CONNACK.
    Connected {
        /// Longest packet that the broker takes.
        max_packet_bytes: usize,
        /// Unacknowledged messages that the broker takes.
        receive_maximum: u16,
        /// The interval that the broker imposed.
        keep_alive: Duration,
    },
    /// SUBACK, with what was refused: position in the request, and why.
    Subscribed(Vec<(usize, String)>),
    /// The next message was written; 0 without a packet id.
    Written(u16),
    /// PUBACK.
    Acknowledged(u16),
    /// PUBACK with an error: the broker will never take this message.
    Rejected(u16, String),
    /// A message came.
    Inbound(Inbound),
    /// Our DISCONNECT was written.
    Goodbye,
    /// Nothing of interest, but a sign of life.
    Other,
}

/// A message from the broker.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) ticket: Ticket,
    /// `None`: not UTF-8.
    pub(super) topic: Option<String>,
    pub(super) payload: Bytes,
    pub(super) retain: bool,
    pub(super) response_topic: Option<String>,
    pub(super) correlation: Option<Bytes>,
}

/// What an acknowledgement needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) packet_id: u16,
    /// Whether the sender insists on QoS 2, against the subscription.
    pub(super) exactly_once: bool,
}

impl Ticket {
    /// Whether the broker waits for an acknowledgement.
    pub(super) fn is_awaited(self) -> bool {
        self.packet_id != 0
    }
}

/// The end of a connection.
#[derive(Debug)]
pub(super) struct Failure {
    /// For the operator.
    pub(super) reason: String,
    /// A packet of this size was refused to be read.
    pub(super) oversized_bytes: Option<usize>,
}

/// The client had no room for a request.
#[derive(Debug)]
pub(super) struct NoRoom;

/// A version of MQTT. Requests never wait; they are written while the events are polled.
pub(super) trait Protocol {
    type Client: Send;
    type Events: Send;

    fn build(attempt: &Attempt<'_>) -> (Self::Client, Self::Events);
    fn publish(client: &Self::Client, message: &Message) -> Result<(), NoRoom>;
    fn subscribe(client: &Self::Client, configuration: &MqttConfiguration) -> Result<(), NoRoom>;
    fn acknowledge(client: &Self::Client, ticket: Ticket) -> Result<(), NoRoom>;
    fn disconnect(client: &Self::Client) -> Result<(), NoRoom>;
    fn poll(events: &mut Self::Events) -> impl Future<Output = Result<Happening, Failure>> + Send;
}
