//! One MQTT sink: a task that joins the core's delivery and dispatch with a broker, by rumqttc.
//!
//! Flow: [`build`] checks the configuration and gives a [`MqttHandle`] for orders and a [`MqttSink`], whose
//! [`MqttSink::run`] the daemon spawns. The task connects, subscribes, says `Connected`, hands messages over while
//! there is room in flight, and tells what the broker acknowledged, refused and sent.
//!
//! Invariants
//! - Every lost connection is told by `Disconnected`, and every error ends the connection *and* the client: a new
//!   client is built for the next attempt, so no packet id, half-sent message or collision of the old one survives.
//!   Nothing in flight counts as delivered; the core sends it again under new delivery ids.
//! - `Connected` follows CONNACK and the acceptance of all subscriptions, at every connection.
//! - The future that polls the client is never cancelled while the connection lives, since that can lose a packet.
//! - What is in flight stays below the receive maximum of the broker and the configured bound.
//! - Messages received are acknowledged to the broker only when the core says so.
//! - A message received that is larger than the bound is acknowledged, counted and dropped: it cannot come back for ever.
//!
//! Sections: MQTT 5.0 (OASIS) 3.1 to 3.14 and 4.4, MQTT 3.1.1 likewise.

mod address;
mod backoff;
mod protocol;
mod task;
mod tls;
mod v4;
mod v5;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use native_tls::TlsConnector;
use tokio::sync::mpsc;

pub use address::BrokerAddress;

use super::InputSender;
use crate::gateway::vocabulary::{DeliveryId, ReceiptId, SinkIndex};
use crate::model::message::Message;

/// Which version of MQTT is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProtocolVersion {
    /// MQTT 3.1.1, protocol level 4.
    V4,
    /// MQTT 5.
    #[default]
    V5,
}

/// What a sink is configured with. `Debug` shows no secrets.
#[derive(Clone)]
pub struct MqttConfiguration {
    /// Position of the sink, as the core knows it.
    pub sink: SinkIndex,
    /// Its name, for log lines.
    pub name: String,
    /// Where the broker is.
    pub address: BrokerAddress,
    /// Client identifier; not empty, since the broker keeps the session under it.
    pub client_id: String,
    /// Version of MQTT.
    pub protocol: ProtocolVersion,
    /// Longest silence towards the broker; at least 5 s.
    pub keep_alive: Duration,
    /// How long the broker keeps subscriptions and waiting commands after the connection is lost; zero: not at all.
    /// MQTT 3.1.1 knows only "not at all" and "as long as the broker likes".
    pub session_expiry: Duration,
    /// User name, if the broker wants one.
    pub username: Option<String>,
    /// Password, if the broker wants one.
    pub password: Option<String>,
    /// Certificates of the authorities that may vouch for the broker, PEM; `None`: those of the system.
    pub ca: Option<Vec<u8>>,
    /// Our certificate and those between it and the authority, PEM.
    pub certificate: Option<Vec<u8>>,
    /// Our private key, PEM (PKCS#8, PKCS#1 or SEC1, not encrypted).
    pub private_key: Option<Vec<u8>>,
    /// Application protocols to ask for in the TLS handshake.
    pub alpn: Vec<String>,
    /// What the broker publishes when we are gone without a word.
    pub will: Option<Message>,
    /// Topic filters, all with QoS 1.
    pub subscriptions: Vec<String>,
    /// Those of the subscriptions whose messages say that they were published as retained, also when they arrive at once.
    /// Only MQTT 5 can.
    pub retain_told: Vec<String>,
    /// Longest packet sent or received, in bytes; the broker may lower it for what is sent.
    pub max_packet_bytes: usize,
    /// Messages on the way to the broker; the broker may lower it.
    pub in_flight: u16,
}

impl std::fmt::Debug for MqttConfiguration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MqttConfiguration")
            .field("sink", &self.sink)
            .field("name", &self.name)
            .field("address", &self.address)
            .field("client_id", &self.client_id)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

impl MqttConfiguration {
    /// The default settings for a broker.
    #[must_use]
    pub fn new(sink: SinkIndex, name: &str, address: BrokerAddress, client_id: &str) -> Self {
        Self {
            sink,
            name: name.to_owned(),
            address,
            client_id: client_id.to_owned(),
            protocol: ProtocolVersion::V5,
            keep_alive: Duration::from_secs(60),
            session_expiry: Duration::from_secs(24 * 60 * 60),
            username: None,
            password: None,
            ca: None,
            certificate: None,
            private_key: None,
            alpn: Vec::new(),
            will: None,
            subscriptions: Vec::new(),
            retain_told: Vec::new(),
            max_packet_bytes: 1 << 20,
            in_flight: 256,
        }
    }
}

/// Why a sink cannot be built. Each names the setting to change.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// The URL cannot be used.
    #[error("{url:?} is no address of an MQTT broker: {reason}; write it like mqtt://host:1883 or mqtts://host:8883")]
    Address {
        /// The URL.
        url: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// MQTT over WebSocket is asked for.
    #[error("{0:?}: MQTT over WebSocket is not available; use the broker's mqtt:// or mqtts:// listener")]
    WebSocket(String),
    /// No client identifier.
    #[error("client_id is empty; the broker needs one to keep the session")]
    EmptyClientId,
    /// The keep-alive interval cannot be sent.
    #[error("keep_alive is {0:?}; it must be between 5 s and 65535 s")]
    KeepAlive(Duration),
    /// Nothing may be in flight.
    #[error("in_flight is 0; at least 1 message must be allowed on its way")]
    NothingInFlight,
    /// The packet bound is beyond what MQTT can carry, or too small for anything.
    #[error("max_packet_bytes is {0}; it must be between 256 and 268435455")]
    PacketBytes(usize),
    /// A subscription is no topic filter.
    #[error("{0:?} is no topic filter")]
    Filter(String),
    /// A password without a user name, which MQTT 3.1.1 cannot express and brokers refuse.
    #[error("a password is set but no username")]
    PasswordAlone,
    /// Certificate and private key come together.
    #[error("certificate and private_key must both be set or both be absent")]
    HalfIdentity,
    /// A PEM file is not usable.
    #[error("{setting} cannot be used: {reason}; it must be PEM")]
    Pem {
        /// Which.
        setting: &'static str,
        /// What the TLS library says.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(native_tls::Error),
}

/// What a sink counts. All values only rise.
#[derive(Debug, Default)]
pub struct MqttCounters {
    /// Connections that became ready.
    pub connections: AtomicU64,
    /// Connections or attempts that failed.
    pub failures: AtomicU64,
    /// Messages handed to the client.
    pub published: AtomicU64,
    /// Messages that the broker acknowledged, or that were written with QoS 0.
    pub acknowledged: AtomicU64,
    /// Messages that were refused for good.
    pub rejected: AtomicU64,
    /// Messages received.
    pub received: AtomicU64,
    /// Messages received that were dropped, being too large or without a readable topic.
    pub dropped: AtomicU64,
}

/// What the core wants from a sink.
#[derive(Clone, Debug)]
pub enum MqttOrder {
    /// Hand over a message. Answered by `Acknowledged`, `Rejected`, or not at all when the connection is lost.
    Publish {
        /// For the answer.
        delivery: DeliveryId,
        /// The message.
        message: Message,
    },
    /// Acknowledge a received message.
    AcknowledgeInbound {
        /// Which.
        receipt: ReceiptId,
    },
    /// Wait for what is in flight, then say goodbye, so that the will is not published.
    Shutdown {
        /// How long to wait at most.
        within: Duration,
    },
}

/// Orders that wait beside those in flight: acknowledgements and the shutdown.
const QUEUED_ORDERS: usize = 1_024;

/// The core's end of a sink. When all are dropped the task ends without a goodbye, and the broker publishes the will.
#[derive(Clone, Debug)]
pub struct MqttHandle {
    orders: mpsc::Sender<MqttOrder>,
    counters: Arc<MqttCounters>,
}

impl MqttHandle {
    /// Gives an order. Never blocks.
    ///
    /// # Errors
    /// The order comes back if the queue is full or the task has ended.
    pub fn order(&self, order: MqttOrder) -> Result<(), MqttOrder> {
        self.orders.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(order) | mpsc::error::TrySendError::Closed(order) => order,
        })
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &MqttCounters {
        &self.counters
    }
}

/// A sink that is ready to run.
pub struct MqttSink {
    configuration: MqttConfiguration,
    tls: Option<TlsConnector>,
    inputs: InputSender,
    orders: mpsc::Receiver<MqttOrder>,
    counters: Arc<MqttCounters>,
}

/// Checks the configuration and joins a sink with the core's channel.
///
/// # Errors
/// If the configuration cannot work, whatever the broker does.
pub fn build(configuration: MqttConfiguration, inputs: InputSender) -> Result<(MqttHandle, MqttSink), MqttError> {
    check(&configuration)?;
    let tls = configuration.address.tls.then(|| tls::connector(&configuration)).transpose()?;
    let (sender, orders) = mpsc::channel(usize::from(configuration.in_flight) + QUEUED_ORDERS);
    let counters = Arc::new(MqttCounters::default());
    let handle = MqttHandle { orders: sender, counters: Arc::clone(&counters) };
    Ok((handle, MqttSink { configuration, tls, inputs, orders, counters }))
}

impl MqttSink {
    /// Keeps the sink connected until the shutdown order came or nobody is left to give orders or take inputs.
    pub async fn run(self) {
        match self.configuration.protocol {
            ProtocolVersion::V4 => task::Task::<v4::Version4>::new(self).run().await,
            ProtocolVersion::V5 => task::Task::<v5::Version5>::new(self).run().await,
        }
    }
}

fn check(configuration: &MqttConfiguration) -> Result<(), MqttError> {
    if configuration.client_id.is_empty() {
        return Err(MqttError::EmptyClientId);
    }
    if !(5..=u64::from(u16::MAX)).contains(&configuration.keep_alive.as_secs()) {
        return Err(MqttError::KeepAlive(configuration.keep_alive));
    }
    if configuration.in_flight == 0 {
        return Err(MqttError::NothingInFlight);
    }
    if !(256..=268_435_455).contains(&configuration.max_packet_bytes) {
        return Err(MqttError::PacketBytes(configuration.max_packet_bytes));
    }
    if let Some(filter) = configuration.subscriptions.iter().find(|filter| !rumqttc::valid_filter(filter)) {
        return Err(MqttError::Filter(filter.clone()));
    }
    if configuration.password.is_some() && configuration.username.is_none() {
        return Err(MqttError::PasswordAlone);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration() -> MqttConfiguration {
        let address = BrokerAddress::parse("mqtt://localhost").unwrap();
        MqttConfiguration::new(SinkIndex(0), "local", address, "client")
    }

    fn refusal(change: impl FnOnce(&mut MqttConfiguration)) -> String {
        let mut configuration = configuration();
        change(&mut configuration);
        build(configuration, mpsc::channel(1).0).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn settings_that_cannot_work_are_refused_with_their_name() {
        assert_eq!(refusal(|_| {}), "");
        assert!(refusal(|c| c.client_id.clear()).contains("client_id"));
        assert!(refusal(|c| c.keep_alive = Duration::from_secs(1)).contains("keep_alive"));
        assert!(refusal(|c| c.in_flight = 0).contains("in_flight"));
        assert!(refusal(|c| c.max_packet_bytes = 1 << 30).contains("max_packet_bytes"));
        assert!(refusal(|c| c.subscriptions = vec!["a/#/b".to_owned()]).contains("a/#/b"));
        assert!(refusal(|c| c.password = Some("secret".to_owned())).contains("username"));
        let tls = |c: &mut MqttConfiguration| c.address = BrokerAddress::parse("mqtts://localhost").unwrap();
        assert!(
            refusal(|c| {
                tls(c);
                c.ca = Some(b"nonsense".to_vec());
            })
            .starts_with("ca ")
        );
        assert!(
            refusal(|c| {
                tls(c);
                c.certificate = Some(Vec::new());
            })
            .contains("private_key")
        );
    }

    #[test]
    fn queue_of_orders_is_bounded_and_gives_orders_back() {
        let (handle, _sink) = build(configuration(), mpsc::channel(1).0).unwrap();
        let order = || MqttOrder::AcknowledgeInbound { receipt: ReceiptId(1) };
        for _ in 0..256 + QUEUED_ORDERS {
            handle.order(order()).unwrap();
        }
        assert!(handle.order(order()).is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", MqttConfiguration { password: Some("hunter2".to_owned()), ..configuration() });
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
