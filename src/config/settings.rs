//! A checked configuration: every path absolute or relative to the process, every secret resolved, every bound kept.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::secret::{PemFile, Secret};
use super::security::SecuritySettings;
use super::url::BrokerUrl;
use crate::gateway::configuration::{
    BootstrapConfiguration, Configuration, Limits, Lwm2mConfiguration, Role, SinkConfiguration, Transport,
    UnknownDevices,
};
use crate::io::http::Tls;
use crate::model::credential::Scope;

/// Everything a configuration says.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `[gateway]`.
    pub gateway: GatewaySettings,
    /// `[store]`.
    pub store: StoreSettings,
    /// `[limits]`, over the built-in bounds of the core.
    pub limits: Limits,
    /// `[log]`.
    pub log: LogSettings,
    /// `[lwm2m]`.
    pub lwm2m: Lwm2mSettings,
    /// `[bootstrap]`; `None`: there is no bootstrap server.
    pub bootstrap: Option<BootstrapSettings>,
    /// `[http]`.
    pub http: HttpSettings,
    /// `[broker]`.
    pub broker: BrokerSettings,
    /// `[sink.*]` by name; at least one.
    pub sinks: Vec<SinkSettings>,
    /// Every key with its value or default, secrets replaced: for whoever asks what is in force.
    pub in_force: serde_json::Value,
}

/// `[gateway]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySettings {
    /// Name of this gateway, fit for topics and client ids.
    pub name: String,
    /// Folder of the durable state.
    pub data_dir: PathBuf,
    /// Folder of mapping files.
    pub mappings: PathBuf,
    /// Whether the built-in mapping stands last.
    pub default_mapping: bool,
    /// Folder of further object definitions.
    pub models: PathBuf,
}

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// How long a write may wait for others.
    pub commit_interval: Duration,
    /// So many waiting writes are committed at once.
    pub commit_rows: usize,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// A filter in the syntax of `tracing`, checked.
    pub level: String,
    /// Form of the lines.
    pub format: LogFormat,
}

/// `[lwm2m]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Lwm2mSettings {
    /// Addresses for plain CoAP over UDP.
    pub udp: Vec<SocketAddr>,
    /// Addresses for CoAP over DTLS.
    pub dtls: Vec<SocketAddr>,
    /// Addresses for plain CoAP over TCP.
    pub tcp: Vec<SocketAddr>,
    /// Addresses for CoAP over TLS.
    pub tls: Vec<SocketAddr>,
    /// What the core needs of the section.
    pub core: Lwm2mConfiguration,
    /// What the secure transports prove themselves by, and demand.
    pub security: SecuritySettings,
}

/// `[bootstrap]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BootstrapSettings {
    /// Addresses for plain CoAP over UDP.
    pub udp: Vec<SocketAddr>,
    /// Addresses for CoAP over DTLS.
    pub dtls: Vec<SocketAddr>,
    /// Addresses for plain CoAP over TCP.
    pub tcp: Vec<SocketAddr>,
    /// Addresses for CoAP over TLS.
    pub tls: Vec<SocketAddr>,
    /// What the core needs of the section.
    pub core: BootstrapConfiguration,
}

/// An address on which devices are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Which server is there.
    pub scope: Scope,
    /// What carries CoAP.
    pub transport: Transport,
    /// The address.
    pub address: SocketAddr,
}

/// `[http]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Addresses of the API; loopback only while there are no tokens.
    pub listen: Vec<SocketAddr>,
    /// Certificate and key: HTTPS instead of HTTP.
    pub tls: Option<Tls>,
    /// Web origins that may use the API from a browser; `*` for all.
    pub cors_origins: Vec<String>,
    /// `[http.token.*]` by name.
    pub tokens: Vec<HttpToken>,
    /// Addresses of the Leshan-compatible API; loopback only while there are no tokens.
    pub leshan_listen: Vec<SocketAddr>,
    /// Addresses of the Leshan-compatible bootstrap API; loopback only while there are no tokens.
    pub leshan_bootstrap_listen: Vec<SocketAddr>,
}

impl HttpSettings {
    /// Whether nothing is served over HTTP.
    #[must_use]
    pub fn is_off(&self) -> bool {
        [&self.listen, &self.leshan_listen, &self.leshan_bootstrap_listen].iter().all(|listen| listen.is_empty())
    }
}

/// `[http.token.*]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpToken {
    /// Its name, for the log.
    pub name: String,
    /// What requests with it may do.
    pub role: Role,
    /// What requests prove themselves by.
    pub secret: Secret,
}

/// `[broker]`: the embedded MQTT broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerSettings {
    /// Whether it runs.
    pub enabled: bool,
    /// Addresses for MQTT 3.1.1.
    pub listen: Vec<SocketAddr>,
    /// Addresses for MQTT 5.
    pub listen_v5: Vec<SocketAddr>,
    /// Users by name; none: everybody.
    pub users: Vec<(String, Secret)>,
}

/// Version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 3.1.1.
    V4,
    /// MQTT 5.
    V5,
}

/// One `[sink.*]`.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkSettings {
    /// What the core needs: name, base, role, spool bounds.
    pub core: SinkConfiguration,
    /// The broker.
    pub url: BrokerUrl,
    /// Client id, placeholders filled in.
    pub client_id: String,
    /// MQTT version.
    pub version: MqttVersion,
    /// Longest silence on the connection.
    pub keep_alive: Duration,
    /// How long the broker keeps the session without connection.
    pub session_expiry: Duration,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// CA certificates to trust instead of the system's.
    pub ca: Option<PemFile>,
    /// Own certificate chain.
    pub certificate: Option<PemFile>,
    /// Its private key.
    pub private_key: Option<PemFile>,
    /// Application protocols to ask for in the TLS handshake.
    pub alpn: Vec<String>,
}

/// Something that works, but perhaps not as it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "warning: {}\n  hint: {}", self.message, self.hint)
    }
}

impl Settings {
    /// All listeners in the order of their indices: those for datagrams first.
    #[must_use]
    pub fn listeners(&self) -> Vec<Listener> {
        let server = &self.lwm2m;
        let mut by_transport = vec![
            (Scope::Server, Transport::Udp, &server.udp),
            (Scope::Server, Transport::Dtls, &server.dtls),
            (Scope::Server, Transport::Tcp, &server.tcp),
            (Scope::Server, Transport::Tls, &server.tls),
        ];
        if let Some(bootstrap) = &self.bootstrap {
            by_transport.extend([
                (Scope::Bootstrap, Transport::Udp, &bootstrap.udp),
                (Scope::Bootstrap, Transport::Dtls, &bootstrap.dtls),
                (Scope::Bootstrap, Transport::Tcp, &bootstrap.tcp),
                (Scope::Bootstrap, Transport::Tls, &bootstrap.tls),
            ]);
        }
        by_transport.sort_by_key(|(_, transport, _)| transport.is_stream());
        let listener = |scope, transport| move |address: &SocketAddr| Listener { scope, transport, address: *address };
        by_transport
            .into_iter()
            .flat_map(|(scope, transport, addresses)| addresses.iter().map(listener(scope, transport)))
            .collect()
    }

    /// Whether a listener of a secure transport is configured.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.listeners().iter().any(|listener| listener.transport.is_secure())
    }

    /// What works, but perhaps not as it is meant. `has_credentials`: whether devices have credentials, as far as that
    /// is known; they are in the store, not in files.
    #[must_use]
    pub fn warnings(&self, has_credentials: bool) -> Vec<Warning> {
        let security = &self.lwm2m.security;
        let mut warnings = Vec::new();
        if self.lwm2m.core.unknown_devices == UnknownDevices::Accept && (has_credentials || security.is_configured()) {
            warnings.push(Warning {
                message:
                    "lwm2m.unknown_devices: \"accept\" lets everybody register, also in the name of a device that \
                          has no credentials yet"
                        .to_owned(),
                hint: "write \"refuse\" or \"window\" where devices prove who they are".to_owned(),
            });
        }
        if !self.is_secure() && self.bootstrap.is_none() && security.is_configured() {
            warnings.push(Warning {
                message: "lwm2m: certificates and keys are configured, but neither dtls nor tls is on".to_owned(),
                hint: "give dtls or tls an address".to_owned(),
            });
        }
        if self.bootstrap.is_none() && !self.http.leshan_bootstrap_listen.is_empty() {
            warnings.push(Warning {
                message: "http.leshan_bootstrap_listen is on, but there is no bootstrap server".to_owned(),
                hint: "add the section [bootstrap]".to_owned(),
            });
        }
        warnings
    }

    /// The part that the core is made of.
    #[must_use]
    pub fn core(&self) -> Configuration {
        let listeners = self.listeners();
        Configuration {
            gateway_name: self.gateway.name.clone(),
            lwm2m: self.lwm2m.core.clone(),
            limits: self.limits.clone(),
            sinks: self.sinks.iter().map(|sink| sink.core.clone()).collect(),
            streams_values: !self.http.listen.is_empty(),
            streams_samples: !self.http.leshan_listen.is_empty(),
            streams_bootstrap: !self.http.leshan_bootstrap_listen.is_empty(),
            listeners: listeners.iter().map(|on| format!("{}://{}", on.transport.scheme(), on.address)).collect(),
            addresses: listeners.iter().map(|on| on.address).collect(),
            transports: listeners.iter().map(|on| on.transport).collect(),
            scopes: listeners.iter().map(|on| on.scope).collect(),
            bootstrap: self.bootstrap.as_ref().map(|bootstrap| bootstrap.core.clone()),
        }
    }
}
