//! What the core is configured with. The file format lives in `config`; here are only checked values.

use std::net::SocketAddr;
use std::time::Duration;

use super::store::SinkName;
use crate::mapping::QueueMode;
use crate::model::bootstrap::{AccountName, DeviceEntry, EntryName, ServerAccount};
use crate::model::credential::Scope;

/// Who may register without credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownDevices {
    /// Everybody.
    Accept,
    /// Everybody for 15 minutes after the very first start, then while a join window is open.
    #[default]
    Window,
    /// Nobody.
    Refuse,
}

/// How a refused peer is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refusal {
    /// No answer at all: some clients give up for good when answered.
    #[default]
    Silent,
    /// 4.03.
    Answer,
}

/// What carries CoAP between a listener and its peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    #[default]
    Udp,
    /// Datagrams in DTLS records.
    Dtls,
    /// Connections (RFC 8323).
    Tcp,
    /// Connections over TLS.
    Tls,
}

impl Transport {
    /// The word of the interfaces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Dtls => "dtls",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// The scheme of addresses.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Udp => "coap",
            Self::Dtls => "coaps",
            Self::Tcp => "coap+tcp",
            Self::Tls => "coaps+tcp",
        }
    }

    /// Whether peers have connections.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }

    /// Whether peers prove who they are.
    #[must_use]
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Dtls | Self::Tls)
    }
}

/// Connections of stream transports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConfiguration {
    /// After so long without a word from a device it is pinged; `None`: never.
    pub keep_alive: Option<Duration>,
    /// After so long without a word from a device its connection is closed, unless it sleeps.
    pub idle_timeout: Duration,
    /// How long the first message of a connection may take.
    pub capabilities_timeout: Duration,
    /// How long a message may take from its first byte to its last; a second more for each KiB that has arrived.
    pub message_timeout: Duration,
    /// How long a connection may stand without a registered device.
    pub register_timeout: Duration,
}

impl Default for StreamConfiguration {
    fn default() -> Self {
        Self {
            keep_alive: Some(Duration::from_secs(180)),
            idle_timeout: Duration::from_secs(300),
            capabilities_timeout: Duration::from_secs(10),
            message_timeout: Duration::from_secs(30),
            register_timeout: Duration::from_secs(60),
        }
    }
}

/// Longest connection id that is handed out, in bytes.
pub const MAX_CONNECTION_ID_BYTES: usize = crate::protocol::dtls::connection_id::MAX_OWN_BYTES;

/// DTLS sessions and handshakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfiguration {
    /// Bytes of the connection ids handed out (RFC 9146), at most [`MAX_CONNECTION_ID_BYTES`]; 0: none.
    pub connection_id_bytes: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How often the state of a session that changed is stored; what came since is open to replay after a power cut.
    pub save_interval: Duration,
    /// How long a session stays that no registered device uses.
    pub unused_timeout: Duration,
    /// Whether a record of a session that is not known is answered by a fatal alert, so that its device begins anew.
    /// Anybody on the network can so be told to: for trusted networks.
    pub alert_unknown: bool,
    /// Whether HelloVerifyRequest says DTLS 1.2; else 1.0, as RFC 6347 section 4.2.1 advises.
    pub hello_verify_1_2: bool,
    /// Handshakes that may begin in a second, and at once after a quiet time, over all sources.
    pub handshake_rate: Rate,
    /// The same from one IPv4 address or IPv6 network of 64 bits.
    pub handshake_rate_per_source: Rate,
}

impl Default for SessionConfiguration {
    fn default() -> Self {
        Self {
            connection_id_bytes: 8,
            handshake_timeout: Duration::from_secs(30),
            save_interval: Duration::from_secs(60),
            unused_timeout: Duration::from_secs(24 * 60 * 60),
            alert_unknown: false,
            hello_verify_1_2: false,
            handshake_rate: Rate { per_second: 400, burst: 400 },
            handshake_rate_per_source: Rate { per_second: 200, burst: 200 },
        }
    }
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once, after a quiet time.
    pub burst: u32,
}

/// The LwM2M server.
#[derive(Clone, Debug, PartialEq)]
pub struct Lwm2mConfiguration {
    /// Peers without credentials.
    pub unknown_devices: UnknownDevices,
    /// What refused peers hear.
    pub refusal: Refusal,
    /// Lifetime of a registration that names none.
    pub default_lifetime: Duration,
    /// Time beyond the lifetime before a device counts as expired.
    pub lifetime_grace: Duration,
    /// When queue mode applies, where no mapping says otherwise.
    pub queue_mode: QueueMode,
    /// Queue mode: time awake after the device's last message.
    pub awake_window: Duration,
    /// ACK_TIMEOUT of RFC 7252 section 4.8.
    pub ack_timeout: Duration,
    /// MAX_RETRANSMIT of RFC 7252 section 4.8.
    pub max_retransmit: u32,
    /// Connections of stream transports.
    pub streams: StreamConfiguration,
    /// DTLS sessions.
    pub sessions: SessionConfiguration,
    /// Where the endpoint name stands in certificates of a trusted authority.
    pub x509_endpoint: CertificateName,
    /// Registrations that may begin in a second, over all sources.
    pub registration_rate: Rate,
    /// The same from one IPv4 address or IPv6 network of 64 bits.
    pub registration_rate_per_source: Rate,
}

/// Where the endpoint name stands in a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateName {
    /// The common name of the subject.
    #[default]
    CommonName,
    /// A DNS name or URI among the alternative names.
    AlternativeName,
    /// Either.
    Any,
}

impl Default for Lwm2mConfiguration {
    fn default() -> Self {
        Self {
            unknown_devices: UnknownDevices::Window,
            refusal: Refusal::Silent,
            default_lifetime: Duration::from_secs(24 * 60 * 60),
            lifetime_grace: Duration::from_secs(20),
            queue_mode: QueueMode::Auto,
            awake_window: Duration::from_secs(93),
            ack_timeout: Duration::from_secs(2),
            max_retransmit: 4,
            streams: StreamConfiguration::default(),
            sessions: SessionConfiguration::default(),
            x509_endpoint: CertificateName::CommonName,
            registration_rate: Rate { per_second: 2_000, burst: 4_000 },
            registration_rate_per_source: Rate { per_second: 1_000, burst: 2_000 },
        }
    }
}

/// Bounds of the core. Each is a count unless its name has a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Registered devices; further ones are not answered. About 2 KiB each.
    pub max_devices: usize,
    /// Waiting commands of one device.
    pub max_commands_per_device: usize,
    /// Bytes of all waiting commands.
    pub max_command_bytes: usize,
    /// Bytes of one block-wise transfer.
    pub max_transfer_bytes: usize,
    /// Bytes of all block-wise transfers in progress.
    pub max_transfers_bytes: usize,
    /// Writes that the store has not confirmed; beyond it, devices are not acknowledged and send again.
    pub max_pending_writes: usize,
    /// Bytes of such writes.
    pub max_pending_write_bytes: usize,
    /// Answers kept for repeated requests, over all peers.
    pub max_cached_answers: usize,
    /// Observations of one device.
    pub max_observations_per_device: usize,
    /// Different unmapped paths remembered for one device.
    pub max_unmapped_per_device: usize,
    /// Refused peers remembered.
    pub max_refused: usize,
    /// Messages on the way to one broker.
    pub max_in_flight: usize,
    /// Rows of a spool kept in memory while its sink keeps up.
    pub max_spool_rows_in_memory: usize,
    /// Mapped keys remembered for one device.
    pub max_keys_per_device: usize,
    /// Last values kept for own endpoints, of one device; without one they read from the device.
    pub max_last_values_per_device: usize,
    /// Results kept for repeated command ids, over all devices.
    pub max_results: usize,
    /// Requests of the bridge whose work the shell has not done yet.
    pub max_shell_tasks: usize,
    /// DTLS sessions; beyond it the one that was heard least lately goes, those without a device first.
    pub max_sessions: usize,
    /// DTLS handshakes at a time; beyond it a ClientHello is not answered.
    pub max_handshakes: usize,
    /// Credentials; further ones are refused.
    pub max_credentials: usize,
    /// Connections of stream transports; further ones are closed at once.
    pub max_connections: usize,
    /// The same from one IPv4 address or one IPv6 network of 64 bits.
    pub max_connections_per_address: usize,
    /// Bytes of messages that have not arrived whole, over all connections.
    pub max_stream_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_devices: 100_000,
            max_commands_per_device: 64,
            max_command_bytes: 64 << 20,
            max_transfer_bytes: 1 << 20,
            max_transfers_bytes: 16 << 20,
            max_pending_writes: 4_096,
            max_pending_write_bytes: 8 << 20,
            max_cached_answers: 100_000,
            max_observations_per_device: 256,
            max_unmapped_per_device: 64,
            max_refused: 1_000,
            max_in_flight: 256,
            max_spool_rows_in_memory: 4_096,
            max_keys_per_device: 1_024,
            max_last_values_per_device: 256,
            max_results: 10_000,
            max_shell_tasks: 64,
            max_sessions: 100_000,
            max_handshakes: 256,
            max_credentials: 200_000,
            max_connections: 10_000,
            max_connections_per_address: 256,
            max_stream_bytes: 16 << 20,
        }
    }
}

/// What a spool does when it reached a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest rows go.
    #[default]
    DropOldest,
    /// The new row is not taken.
    DropNewest,
}

/// What requests over a sink may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Read.
    Viewer,
    /// Also write, command, permit joining.
    #[default]
    Operator,
    /// Everything.
    Admin,
}

/// One sink, as the core sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkConfiguration {
    /// Its name.
    pub name: SinkName,
    /// Topic prefix, `{gateway}` filled in.
    pub base: String,
    /// What requests over it may do.
    pub role: Role,
    /// Bound of its spool in bytes.
    pub max_spool_bytes: u64,
    /// Bound of its spool in age.
    pub max_spool_age: Duration,
    /// Policy at the bound.
    pub when_full: WhenFull,
}

/// The whole core; by default without listeners and sinks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration {
    /// Name of this gateway.
    pub gateway_name: String,
    /// The LwM2M server.
    pub lwm2m: Lwm2mConfiguration,
    /// Bounds.
    pub limits: Limits,
    /// Sinks.
    pub sinks: Vec<SinkConfiguration>,
    /// Listening addresses as text, for `bridge/info`.
    pub listeners: Vec<String>,
    /// Listening addresses, by index.
    pub addresses: Vec<SocketAddr>,
    /// What each listener carries, by its index; those beyond carry datagrams.
    pub transports: Vec<Transport>,
    /// Which server each listener belongs to, by its index; those beyond belong to the LwM2M server.
    pub scopes: Vec<Scope>,
    /// The bootstrap server; `None`: there is none.
    pub bootstrap: Option<BootstrapConfiguration>,
    /// Whether values go to event streams too ([`Output::Value`](super::vocabulary::Output::Value)).
    pub streams_values: bool,
    /// Whether registrations and samples go to the Leshan-compatible event stream
    /// ([`Output::Registration`](super::vocabulary::Output::Registration),
    /// [`Output::Samples`](super::vocabulary::Output::Samples)).
    pub streams_samples: bool,
    /// Whether what happens in bootstrap sessions goes to the Leshan-compatible event stream
    /// ([`Output::BootstrapNews`](super::vocabulary::Output::BootstrapNews)).
    pub streams_bootstrap: bool,
}

/// What a bootstrap server does with devices that no entry fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownBootstrap {
    /// 4.00.
    #[default]
    Refuse,
    /// They wait for an operator.
    Approve,
    /// They get what the entry `*` says.
    Template,
}

/// The bootstrap server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BootstrapConfiguration {
    /// Devices that no entry fits.
    pub unknown_devices: UnknownBootstrap,
    /// Server accounts that the configuration holds, by name.
    pub servers: Vec<(AccountName, ServerAccount)>,
    /// Device entries that the configuration holds, in its order; they stand before those of the interfaces.
    pub devices: Vec<(EntryName, DeviceEntry)>,
}

impl Configuration {
    /// Listening addresses of one server, as text.
    #[must_use]
    pub fn listeners_of(&self, scope: Scope) -> Vec<&str> {
        let of_scope = |(index, _): &(usize, &String)| self.scopes.get(*index).copied().unwrap_or_default() == scope;
        self.listeners.iter().enumerate().filter(of_scope).map(|(_, text)| text.as_str()).collect()
    }

    /// Which server a listener belongs to.
    #[must_use]
    pub fn scope(&self, listener: u16) -> Scope {
        self.scopes.get(usize::from(listener)).copied().unwrap_or_default()
    }

    /// What a listener carries.
    #[must_use]
    pub fn transport(&self, listener: u16) -> Transport {
        self.transports.get(usize::from(listener)).copied().unwrap_or_default()
    }
}
