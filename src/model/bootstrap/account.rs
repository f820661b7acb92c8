//! Server accounts: what a device has to know of one server.

use std::fmt;
use std::sync::Arc;

use super::Template;
use crate::model::credential::SecretBytes;

/// Name of an account: 1 to 64 letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(Arc<str>);

/// A text that cannot be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 64 letters, digits, '-', '_' and '.'")]
pub struct WrongName;

impl AccountName {
    /// Checks a name.
    ///
    /// # Errors
    /// If it has other characters or is too long.
    pub fn new(text: &str) -> Result<Self, WrongName> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if text.is_empty() || text.len() > 64 || !text.bytes().all(fits) {
            return Err(WrongName);
        }
        Ok(Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of server an account is for (/0/x/1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerKind {
    /// An LwM2M server.
    #[default]
    Management,
    /// A bootstrap server.
    Bootstrap,
}

/// What carries CoAP to the server; with the security mode it makes the scheme of the URI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccountTransport {
    /// UDP, or DTLS over it.
    #[default]
    Udp,
    /// TCP, or TLS over it.
    Tcp,
}

/// How device and server prove who they are (/0/x/2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityMode {
    /// Pre-shared key: 0.
    Psk,
    /// Raw public key: 1.
    RawPublicKey,
    /// Certificate: 2.
    X509,
    /// Not at all: 3.
    NoSec,
}

impl SecurityMode {
    /// The value of /0/x/2.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Psk => 0,
            Self::RawPublicKey => 1,
            Self::X509 => 2,
            Self::NoSec => 3,
        }
    }
}

/// A pre-shared key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PskKey {
    /// The same for every device that gets the account.
    Given(SecretBytes),
    /// So many random bytes, 1 to 64, made for each device.
    Random(u8),
}

/// Public and private half of what a device proves itself by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientKeys {
    /// Made for each device: a key pair on P-256, and for X.509 a certificate with the endpoint name as common name that
    /// the gateway's own authority signs.
    Made,
    /// The same for every device that gets the account.
    Given {
        /// SubjectPublicKeyInfo, or the certificate: DER.
        public: Arc<[u8]>,
        /// PKCS #8, DER.
        private: SecretBytes,
    },
}

/// What device and server need to trust each other (/0/x/3 to /0/x/5 and what goes with them).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// Nothing.
    NoSec,
    /// Pre-shared key.
    Psk {
        /// Identity; `None`: the endpoint name.
        identity: Option<Template>,
        /// Key.
        key: PskKey,
    },
    /// Raw public keys.
    RawPublicKey {
        /// The device's.
        client: ClientKeys,
        /// The server's SubjectPublicKeyInfo, DER; `None`: that of this gateway.
        server: Option<Arc<[u8]>>,
    },
    /// Certificates.
    X509 {
        /// The device's.
        client: ClientKeys,
        /// The server's certificate or that of an authority, DER; `None`: that of this gateway.
        server: Option<Arc<[u8]>>,
        /// /0/x/15, 0 to 3; `None`: left to the device.
        certificate_usage: Option<u8>,
    },
}

impl Security {
    /// The mode of these.
    #[must_use]
    pub const fn mode(&self) -> SecurityMode {
        match self {
            Self::NoSec => SecurityMode::NoSec,
            Self::Psk { .. } => SecurityMode::Psk,
            Self::RawPublicKey { .. } => SecurityMode::RawPublicKey,
            Self::X509 { .. } => SecurityMode::X509,
        }
    }
}

/// What the SMS binding needs (/0/x/6 to /0/x/9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sms {
    /// The server's number (/0/x/9).
    pub number: Option<String>,
    /// /0/x/6, 0 to 255.
    pub security_mode: Option<u8>,
    /// /0/x/7, 6 bytes.
    pub binding_key_parameters: Option<Arc<[u8]>>,
    /// /0/x/8, 16 to 48 bytes.
    pub binding_secret_key: Option<SecretBytes>,
}

/// How a device goes about registering: resources of the Server object since 1.1. `None`: not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registration {
    /// /1/x/13.
    pub priority: Option<u32>,
    /// /1/x/14, seconds.
    pub initial_delay_secs: Option<u32>,
    /// /1/x/15.
    pub failure_block: Option<bool>,
    /// /1/x/16.
    pub bootstrap_on_failure: Option<bool>,
    /// /1/x/17.
    pub communication_retry_count: Option<u32>,
    /// /1/x/18, seconds.
    pub communication_retry_timer_secs: Option<u32>,
    /// /1/x/19, seconds.
    pub communication_sequence_delay_timer_secs: Option<u32>,
    /// /1/x/20.
    pub communication_sequence_retry_count: Option<u32>,
}

/// Which API a provisioning target has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvisionKind {
    /// Leshan's demo server.
    Leshan,
    /// ThingsBoard.
    ThingsBoard,
    /// Coiote IoT DM.
    Coiote,
}

/// Another server that has to know a device before the device comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionTarget {
    /// Which API it has.
    pub kind: ProvisionKind,
    /// `http://` or `https://` and what follows, without the path of the API.
    pub url: String,
    /// Who asks.
    pub user: Option<String>,
    /// With which password.
    pub password: Option<SecretBytes>,
    /// Domain or tenant, where the server has such.
    pub domain: Option<String>,
}

/// Who is told of a device before its bootstrap ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Provision {
    /// Nobody.
    #[default]
    None,
    /// This gateway.
    Own,
    /// Another server.
    Target(Arc<ProvisionTarget>),
}

/// One server account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAccount {
    /// Management or bootstrap.
    pub kind: ServerKind,
    /// Transport.
    pub transport: AccountTransport,
    /// Short server id, 1 to 65,534; `None`: the lowest that the device's other accounts leave free.
    pub ssid: Option<u16>,
    /// `host`, `host:port` or a whole URI; `None`: this gateway, by the address under which the device reached it.
    pub uri: Option<Template>,
    /// Trust.
    pub security: Security,
    /// Server name indication (/0/x/14, since 1.1).
    pub sni: Option<String>,
    /// How a device holds the server's key or certificate (/0/x/13, since 1.1): 0 as it is, 1 its SHA-256, 2 its SHA-384,
    /// 3 its SHA-512. The account holds it as it is.
    pub matching_type: Option<u8>,
    /// /0/x/11, seconds.
    pub client_hold_off_time_secs: Option<u32>,
    /// /0/x/12, seconds; bootstrap accounts.
    pub bootstrap_server_account_timeout_secs: Option<u32>,
    /// As it was written: `U`, `UQ`, `S`, `SQ`, `US`, `UQS` or letters of 1.1. What a device gets depends on its version.
    pub binding: String,
    /// SMS; only with a binding that has an S.
    pub sms: Sms,
    /// /1/x/1, seconds.
    pub lifetime_secs: u32,
    /// /1/x/2, seconds.
    pub default_min_period_secs: Option<u32>,
    /// /1/x/3, seconds.
    pub default_max_period_secs: Option<u32>,
    /// /1/x/5, seconds.
    pub disable_timeout_secs: u32,
    /// /1/x/6.
    pub notification_storing: bool,
    /// /1/x/10 (since 1.1): object and instance.
    pub apn_link: Option<(u16, u16)>,
    /// Since 1.1.
    pub registration: Registration,
    /// /1/x/21 (since 1.1).
    pub trigger: Option<bool>,
    /// /1/x/22 (since 1.1): one letter.
    pub preferred_transport: Option<String>,
    /// /1/x/23 (since 1.1).
    pub mute_send: Option<bool>,
    /// Who is told of the device.
    pub provision: Provision,
}

impl ServerAccount {
    /// Seconds of a lifetime or disable timeout that nobody gave: a day, as in Core TS 1.2.2 Appendix E.2.
    pub const DEFAULT_SECONDS: u32 = 86_400;

    /// An account of this gateway with everything at its default.
    #[must_use]
    pub fn new(kind: ServerKind, security: Security) -> Self {
        Self {
            kind,
            transport: AccountTransport::Udp,
            ssid: None,
            uri: None,
            security,
            sni: None,
            matching_type: None,
            client_hold_off_time_secs: None,
            bootstrap_server_account_timeout_secs: None,
            binding: "U".to_owned(),
            sms: Sms::default(),
            lifetime_secs: Self::DEFAULT_SECONDS,
            default_min_period_secs: None,
            default_max_period_secs: None,
            disable_timeout_secs: Self::DEFAULT_SECONDS,
            notification_storing: true,
            apn_link: None,
            registration: Registration::default(),
            trigger: None,
            preferred_transport: None,
            mute_send: None,
            provision: Provision::Own,
        }
    }
}
