//! An MQTT broker inside the process, by rumqttd: for the demo and for gateways without a broker.
//!
//! It keeps everything in memory: a restart forgets retained messages and sessions, and a sink's spool, not this
//! broker, is what survives. Messages of each subscribed filter are kept in a log of [`SEGMENTS`] segments of
//! [`SEGMENT_BYTES`] at most; a subscriber that is further behind loses the oldest ones.
//!
//! What users of it should know, as rumqttd 0.20 stands
//! - A new subscriber with QoS 1 is sent at most 100 retained messages, with QoS 0 at most [`READ_MESSAGES`]; the rest
//!   is left out in silence.
//! - It cannot be stopped: its threads end with the process.
//! - It reports ordinary events as errors; [`LOG_DIRECTIVE`] keeps the log quiet.

use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

/// What the log filter should hold, for example before everything else that is configured.
pub const LOG_DIRECTIVE: &str = "rumqttd=off";

/// Clients at the same time.
pub const MAX_CONNECTIONS: usize = 256;

/// Longest packet, in bytes.
pub const MAX_PACKET_BYTES: usize = 1 << 20;

/// Bytes of one segment of a filter's log.
pub const SEGMENT_BYTES: usize = 1 << 20;

/// Segments of a filter's log.
pub const SEGMENTS: usize = 4;

/// Messages read for a subscriber in one go.
pub const READ_MESSAGES: u64 = 10_000;

/// Time for a client to say CONNECT.
const CONNECT_TIMEOUT_MS: u16 = 10_000;

/// How often a listener is tried before it counts as failed, and the pause between.
const START_ATTEMPTS: u32 = 500;
const START_PAUSE: Duration = Duration::from_millis(10);

/// Why the broker does not run.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address cannot be used.
    #[error("the embedded broker cannot listen on {address}: {cause}; choose another address or stop what uses it")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Everybody on the network could command the devices.
    #[error("the embedded broker listens on {0}, beyond this machine, without users; add users or listen on 127.0.0.1")]
    OpenToNetwork(SocketAddr),
    /// The thread could not be started.
    #[error("cannot start the thread of the embedded broker: {0}")]
    Thread(std::io::Error),
    /// It ended right away.
    #[error("the embedded broker ended while starting on {0}")]
    Ended(SocketAddr),
}

/// A running broker. Dropping this changes nothing: it runs until the process ends.
#[derive(Clone, Debug)]
pub struct BrokerHandle {
    address: SocketAddr,
    address_v5: Option<SocketAddr>,
}

impl BrokerHandle {
    /// Where MQTT 3.1.1 is spoken; never port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where MQTT 5 is spoken.
    #[must_use]
    pub fn address_v5(&self) -> Option<SocketAddr> {
        self.address_v5
    }
}

/// Starts a broker and waits until it listens. Port 0 becomes a free one. `users` maps names to passwords; without
/// users everybody on this machine may connect.
///
/// # Errors
/// If an address cannot be used, or is open to the network without users.
pub fn start(
    listen: SocketAddr,
    listen_v5: Option<SocketAddr>,
    users: &BTreeMap<String, String>,
) -> Result<BrokerHandle, BrokerError> {
    for address in std::iter::once(listen).chain(listen_v5) {
        if users.is_empty() && !address.ip().is_loopback() {
            return Err(BrokerError::OpenToNetwork(address));
        }
    }
    // Both are held until both are known, so that they differ.
    let reserved = reserve(listen)?;
    let reserved_v5 = listen_v5.map(reserve).transpose()?;
    let (address, address_v5) = (reserved.1, reserved_v5.as_ref().map(|reserved| reserved.1));
    drop((reserved, reserved_v5));

    let server = |name: &str, listen| {
        let settings = ServerSettings {
            name: name.to_owned(),
            listen,
            tls: None,
            next_connection_delay_ms: 1,
            connections: ConnectionSettings {
                connection_timeout_ms: CONNECT_TIMEOUT_MS,
                max_payload_size: MAX_PACKET_BYTES,
                max_inflight_count: 256,
                auth: (!users.is_empty()).then(|| users.clone().into_iter().collect()),
                external_auth: None,
                dynamic_filters: true,
            },
        };
        HashMap::from([(name.to_owned(), settings)])
    };
    let config = Config {
        router: RouterConfig {
            max_connections: MAX_CONNECTIONS,
            max_outgoing_packet_count: READ_MESSAGES,
            max_segment_size: SEGMENT_BYTES,
            max_segment_count: SEGMENTS,
            ..RouterConfig::default()
        },
        v4: Some(server("broker-v4", address)),
        v5: address_v5.map(|address| server("broker-v5", address)),
        ..Config::default()
    };
    let (ended, end) = sync_channel::<()>(0);
    std::thread::Builder::new()
        .name("broker".to_owned())
        .spawn(move || {
            // Tells its end by being dropped.
            let _ended = ended;
            if let Err(error) = Broker::new(config).start() {
                tracing::error!(%error, "embedded broker ended");
            }
        })
        .map_err(BrokerError::Thread)?;
    for address in std::iter::once(address).chain(address_v5) {
        let mut attempts = 0;
        while TcpStream::connect(address).is_err() {
            attempts += 1;
            let has_ended = end.recv_timeout(START_PAUSE) == Err(RecvTimeoutError::Disconnected);
            if has_ended || attempts >= START_ATTEMPTS {
                return Err(BrokerError::Ended(address));
            }
        }
    }
    tracing::info!(%address, "embedded broker listens");
    Ok(BrokerHandle { address, address_v5 })
}

/// Finds out whether an address is free, and which port it has; rumqttd itself would only log a failure.
fn reserve(address: SocketAddr) -> Result<(TcpListener, SocketAddr), BrokerError> {
    let failed = |cause| BrokerError::Listen { address, cause };
    let listener = TcpListener::bind(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, Publish, QoS};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn local(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    fn client(name: &str, address: SocketAddr) -> (AsyncClient, EventLoop) {
        AsyncClient::new(MqttOptions::new(name, address.ip().to_string(), address.port()), 100)
    }

    async fn next_publish(events: &mut EventLoop) -> Publish {
        let wait = async {
            loop {
                if let Event::Incoming(Packet::Publish(publish)) = events.poll().await.unwrap() {
                    return publish;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("no message came")
    }

    async fn wait_for_puback(events: &mut EventLoop) {
        let wait = async { while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::PubAck(_))) {} };
        tokio::time::timeout(PATIENCE, wait).await.expect("no acknowledgement came");
    }

    #[tokio::test]
    async fn later_subscriber_receives_what_was_retained_and_then_what_comes() {
        let broker = start(local(0), None, &BTreeMap::new()).unwrap();
        assert_ne!(broker.address().port(), 0);
        let (sender, mut sender_events) = client("sender", broker.address());
        sender.try_publish("a/b", QoS::AtLeastOnce, true, "kept").unwrap();
        wait_for_puback(&mut sender_events).await;

        let (receiver, mut events) = client("receiver", broker.address());
        receiver.try_subscribe("a/+", QoS::AtLeastOnce).unwrap();
        let kept = next_publish(&mut events).await;
        assert_eq!((kept.topic.as_str(), &kept.payload[..], kept.retain), ("a/b", &b"kept"[..], true));
        sender.try_publish("a/c", QoS::AtLeastOnce, false, "live").unwrap();
        wait_for_puback(&mut sender_events).await;
        assert_eq!(next_publish(&mut events).await.payload, "live");
        // An empty payload clears.
        sender.try_publish("a/b", QoS::AtLeastOnce, true, "").unwrap();
        wait_for_puback(&mut sender_events).await;
        let (late, mut late_events) = client("late", broker.address());
        late.try_subscribe("a/+", QoS::AtLeastOnce).unwrap();
        while !matches!(late_events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
        sender.try_publish("a/d", QoS::AtLeastOnce, false, "after").unwrap();
        wait_for_puback(&mut sender_events).await;
        assert_eq!(next_publish(&mut late_events).await.topic, "a/d");
    }

    #[tokio::test]
    async fn subscriber_receives_hundreds_of_retained_messages_with_qos_0() {
        let broker = start(local(0), None, &BTreeMap::new()).unwrap();
        let (sender, mut sender_events) = client("sender", broker.address());
        for number in 0..300 {
            sender.try_publish(format!("a/{number}"), QoS::AtLeastOnce, true, "kept").unwrap();
            wait_for_puback(&mut sender_events).await;
        }
        let (receiver, mut events) = client("receiver", broker.address());
        receiver.try_subscribe("#", QoS::AtMostOnce).unwrap();
        let mut topics = std::collections::BTreeSet::new();
        while topics.len() < 300 {
            topics.insert(next_publish(&mut events).await.topic);
        }
    }

    #[tokio::test]
    async fn users_are_asked_for_their_password() {
        let users = BTreeMap::from([("anna".to_owned(), "right".to_owned())]);
        let broker = start(local(0), Some(local(0)), &users).unwrap();
        assert_ne!(Some(broker.address()), broker.address_v5());
        for (password, welcome) in [("wrong", false), ("right", true)] {
            let mut options = MqttOptions::new("anna", "127.0.0.1", broker.address().port());
            options.set_credentials("anna", password);
            let (_client, mut events) = AsyncClient::new(options, 1);
            assert_eq!(events.poll().await.is_ok(), welcome, "{password}");
        }
    }

    #[test]
    fn addresses_that_are_taken_or_open_to_everybody_are_refused() {
        let taken = TcpListener::bind(local(0)).unwrap();
        let refusal = start(taken.local_addr().unwrap(), None, &BTreeMap::new()).unwrap_err();
        assert!(matches!(refusal, BrokerError::Listen { .. }), "{refusal}");
        let open = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        assert!(matches!(start(open, None, &BTreeMap::new()), Err(BrokerError::OpenToNetwork(_))));
        assert!(matches!(start(local(0), Some(open), &BTreeMap::new()), Err(BrokerError::OpenToNetwork(_))));
    }
}
