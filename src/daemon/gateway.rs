//! A gateway from its settings: every part is built here, in the order in which it is needed.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;

use super::host::{Host, SinkPort};
use super::identity::IdentityKeeper;
use super::knowledge::Knowledge;
use super::logging::LogControl;
use super::shell::{self, ShellHandle};
use crate::config::{HttpSettings, Listener, MqttVersion, Settings, SinkSettings, Transport};
use crate::gateway::clock::WallClock;
use crate::gateway::configuration as device;
use crate::gateway::core::{Core, Start};
use crate::gateway::store::SecretKind;
use crate::gateway::vocabulary::{Input, SinkIndex};
use crate::instrumentation::metrics::Metrics;
use crate::io::InputSender;
use crate::io::bootstrap::BootstrapThread;
use crate::io::clock::{RunClock, wall_is_trusted, wall_now};
use crate::io::dtls::HandshakeThread;
use crate::io::files;
use crate::io::http::{Addresses, HttpConfiguration, HttpServer, Reachable, Token};
use crate::io::mqtt::{self, BrokerAddress, MqttConfiguration, MqttSink, ProtocolVersion};
use crate::io::store::{self, StoreConfiguration};
use crate::io::tcp::TcpConnections;
use crate::io::tls::{TlsSocket, TlsThread};
use crate::io::udp::UdpListener;
use crate::model::credential::Scope;
use crate::model::time::Instant;
use crate::northbound::layout::native;

/// Input batches that may wait for the core; adapters wait when it is full.
const MAX_WAITING_BATCHES: usize = 1_024;

/// Name of the database in the data folder.
const DATABASE: &str = "state.db";

/// A gateway that is ready to run.
pub struct Gateway {
    host: Host,
    mqtt_thread: Option<std::thread::JoinHandle<()>>,
    http: Option<HttpServer>,
    inputs: InputSender,
    shell: ShellHandle,
    /// Where devices reach it, in the order of the configuration: datagrams first, then connections.
    pub lwm2m_addresses: Vec<SocketAddr>,
    /// The same as URIs, each with the server that is there.
    pub lwm2m_uris: Vec<(Scope, String)>,
    /// Where the API is.
    pub http_addresses: Vec<SocketAddr>,
    /// Where the Leshan-compatible API is.
    pub leshan_addresses: Vec<SocketAddr>,
    /// Where the Leshan-compatible bootstrap API is.
    pub leshan_bootstrap_addresses: Vec<SocketAddr>,
    /// `http`, or `https` with a certificate.
    pub http_scheme: &'static str,
}

impl Gateway {
    /// Builds everything: folder, store, sockets, sinks, API, core. Must be called within the runtime that runs it.
    ///
    /// # Errors
    /// Says which part could not be made and what to do.
    pub fn build(settings: &Settings, knowledge: &Knowledge, log: LogControl) -> Result<Self, String> {
        files::make_folder(&settings.gateway.data_dir)
            .map_err(|error| format!("gateway.data_dir {}: {error}", settings.gateway.data_dir.display()))?;
        let (inputs, receiver) = mpsc::channel(MAX_WAITING_BATCHES);
        let mut configuration = settings.core();
        let (store, stored, notes) = store::open(
            StoreConfiguration {
                commit_interval: settings.store.commit_interval,
                commit_rows: settings.store.commit_rows,
                spool_names: configuration.sinks.iter().map(|sink| sink.name.clone()).collect(),
                ..StoreConfiguration::new(settings.gateway.data_dir.join(DATABASE))
            },
            inputs.clone(),
        )
        .map_err(|error| error.to_string())?;
        for note in &notes {
            tracing::warn!(note, "store");
        }
        let has_credentials = stored.secrets.iter().any(|row| row.kind == SecretKind::Credential);
        for warning in settings.warnings(has_credentials) {
            tracing::warn!("{} ({})", warning.message, warning.hint);
        }
        // Devices are told who the gateway is when they bootstrap, also where the gateway itself listens to plain CoAP.
        let needs_identity = settings.is_secure() || settings.bootstrap.is_some();
        let mut identity = if needs_identity { Some(IdentityKeeper::start(settings)?) } else { None };
        let bootstrap = start_bootstrap(settings, identity.as_mut(), &inputs)?;
        let handshakes = start_handshakes(settings, identity.as_mut(), &inputs)?;
        let Listening { udp: listeners, tcp, tls: tls_sockets } = listen_all(settings, &inputs)?;
        let tls = start_tls(tls_sockets, identity.as_mut(), &tcp, &inputs)?;
        let lwm2m_addresses: Vec<SocketAddr> =
            listeners.iter().map(UdpListener::local_address).chain(tcp.addresses().iter().copied()).collect();
        configuration.addresses.clone_from(&lwm2m_addresses);
        configuration.listeners = lwm2m_addresses
            .iter()
            .zip(&configuration.transports)
            .map(|(address, transport)| format!("{}://{address}", transport.scheme()))
            .collect();
        let lwm2m_uris: Vec<(Scope, String)> =
            configuration.scopes.iter().copied().zip(configuration.listeners.iter().cloned()).collect();
        let addresses = addresses(&configuration);
        let mut ports = Vec::new();
        let mut sinks = Vec::new();
        for (index, sink) in settings.sinks.iter().enumerate() {
            let (handle, task) = mqtt::build(mqtt_configuration(SinkIndex(index), sink), inputs.clone())
                .map_err(|error| format!("sink.{}: {error}", sink.core.name))?;
            ports.push(SinkPort { name: sink.core.name.clone(), handle, waiting: VecDeque::new() });
            sinks.push(task);
        }
        let metrics = Metrics::new();
        let http = if settings.http.is_off() {
            None
        } else {
            let configuration = http_configuration(&settings.http, addresses);
            let server = HttpServer::start(configuration, inputs.clone(), metrics.clone());
            Some(server.map_err(|error| format!("http: {error}"))?)
        };
        let clock = RunClock::start();
        let (wall, synced) = (wall_now(), wall_is_trusted());
        let mut told_clock = WallClock::default();
        told_clock.set(clock.now(), wall, synced);
        let seed = files::random_seed().map_err(|error| format!("the system gives no random bytes: {error}"))?;
        let core = Core::new(
            Instant::ZERO,
            Start {
                configuration,
                model: knowledge.model.clone(),
                plan: knowledge.plan.clone(),
                stored,
                seed,
                wall,
                synced,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                store_damage: (!notes.is_empty()).then(|| notes.join("; ")),
            },
        );
        let shell = shell::start(settings.clone(), identity, log, inputs.clone())
            .map_err(|error| format!("the thread of the shell: {error}"))?;
        let mqtt_thread = start_sinks(sinks)?;
        let answers = http.as_ref().map(HttpServer::answers);
        let events = http.as_ref().map(HttpServer::events);
        let traces = http.as_ref().map(HttpServer::traces);
        let http_addresses = http.as_ref().map(|http| http.addresses().to_vec()).unwrap_or_default();
        let leshan_addresses = http.as_ref().map(|http| http.leshan_addresses().to_vec()).unwrap_or_default();
        let leshan_bootstrap_addresses =
            http.as_ref().map(|http| http.leshan_bootstrap_addresses().to_vec()).unwrap_or_default();
        let http_scheme = if settings.http.tls.is_some() { "https" } else { "http" };
        let host = Host {
            core,
            clock,
            listeners,
            handshakes,
            tcp,
            tls,
            bootstrap,
            store,
            sink_names: settings.sinks.iter().map(|sink| sink.core.name.clone()).collect(),
            sinks: ports,
            inputs: receiver,
            answers,
            shell: shell.clone(),
            events,
            traces,
            metrics,
            told_clock,
        };
        Ok(Self {
            host,
            mqtt_thread: Some(mqtt_thread),
            http,
            inputs,
            shell,
            lwm2m_addresses,
            lwm2m_uris,
            http_addresses,
            leshan_addresses,
            leshan_bootstrap_addresses,
            http_scheme,
        })
    }

    /// Where inputs from beside the adapters go, such as new plans.
    pub fn inputs(&self) -> InputSender {
        self.inputs.clone()
    }

    /// The way to the shell, for reloads asked for by signals.
    pub fn shell(&self) -> ShellHandle {
        self.shell.clone()
    }

    /// Runs until `stop` resolves or a request asks for a restart, then drains and closes everything.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { host, mqtt_thread, http, inputs, .. } = self;
        drop(inputs);
        host.run(stop).await;
        if let Some(http) = http {
            http.stop();
        }
        if let Some(thread) = mqtt_thread {
            let ended = tokio::task::spawn_blocking(move || thread.join());
            // A broker that is away must not hold the process.
            if tokio::time::timeout(Duration::from_secs(2), ended).await.is_err() {
                tracing::warn!("a sink did not say goodbye in time");
            }
        }
    }
}

fn serves_dtls(settings: &Settings) -> bool {
    settings.listeners().iter().any(|listener| listener.transport == device::Transport::Dtls)
}

/// The thread of DTLS handshakes, if a listener needs one.
fn start_handshakes(
    settings: &Settings,
    identity: Option<&mut IdentityKeeper>,
    inputs: &InputSender,
) -> Result<Option<HandshakeThread>, String> {
    let Some(identity) = identity.filter(|_| serves_dtls(settings)) else { return Ok(None) };
    let first_timeout = settings.lwm2m.security.first_retransmission;
    let thread = HandshakeThread::start(identity.identity().clone(), first_timeout, inputs.clone())
        .map_err(|error| format!("the thread of DTLS handshakes: {error}"))?;
    identity.subscribe(thread.identity_setter());
    Ok(Some(thread))
}

/// The thread that makes keys for devices and tells other servers of them, if there is a bootstrap server.
fn start_bootstrap(
    settings: &Settings,
    identity: Option<&mut IdentityKeeper>,
    inputs: &InputSender,
) -> Result<Option<BootstrapThread>, String> {
    let Some(identity) = identity.filter(|_| settings.bootstrap.is_some()) else { return Ok(None) };
    let folder = settings.gateway.data_dir.clone();
    let thread = BootstrapThread::start(folder, identity.identity(), inputs.clone())
        .map_err(|error| format!("the thread of the bootstrap server: {error}"))?;
    identity.subscribe(thread.identity_setter());
    Ok(Some(thread))
}

/// The thread of TLS, if a listener needs one.
fn start_tls(
    sockets: Vec<TlsSocket>,
    identity: Option<&mut IdentityKeeper>,
    tcp: &TcpConnections,
    inputs: &InputSender,
) -> Result<Option<TlsThread>, String> {
    let Some(identity) = identity.filter(|_| !sockets.is_empty()) else { return Ok(None) };
    let thread = TlsThread::start(sockets, identity.identity(), &tcp.acceptor(), inputs)
        .map_err(|error| format!("the thread of TLS: {error}"))?;
    identity.subscribe(thread.identity_setter());
    Ok(Some(thread))
}

/// All sockets of the LwM2M server.
struct Listening {
    udp: Vec<UdpListener>,
    tcp: TcpConnections,
    /// For the thread that shakes hands, with their positions.
    tls: Vec<TlsSocket>,
}

fn listen_all(settings: &Settings, inputs: &InputSender) -> Result<Listening, String> {
    let tcp = TcpConnections::new(settings.limits.max_transfer_bytes);
    let mut listening = Listening { udp: Vec::new(), tcp, tls: Vec::new() };
    for (index, listener) in settings.listeners().into_iter().enumerate() {
        let Listener { scope, transport, address } = listener;
        let section = match scope {
            Scope::Server => "lwm2m",
            Scope::Bootstrap => "bootstrap",
        };
        let failed = |error: &dyn std::fmt::Display| format!("{section}.{}: {error}", transport.as_str());
        let index = u16::try_from(index).map_err(|_| failed(&"too many addresses"))?;
        let Listening { udp, tcp, tls } = &mut listening;
        match transport {
            device::Transport::Udp | device::Transport::Dtls => {
                udp.push(UdpListener::bind(index, address).map_err(|error| failed(&error))?);
            }
            device::Transport::Tcp => tcp.listen(index, address, inputs.clone()).map_err(|error| failed(&error))?,
            device::Transport::Tls => {
                let socket = tcp.bind("tls", address).map_err(|error| failed(&error))?;
                tls.push(TlsSocket { index, scope, socket });
            }
        }
    }
    Ok(listening)
}

/// Where devices may connect, of each server.
fn addresses(configuration: &device::Configuration) -> Addresses {
    let of = |wanted: Scope| {
        let listeners = configuration.addresses.iter().zip(&configuration.transports).zip(&configuration.scopes);
        let wanted = listeners.filter(|(_, scope)| **scope == wanted);
        wanted.map(|((address, transport), _)| Reachable { transport: *transport, address: *address }).collect()
    };
    Addresses { server: of(Scope::Server), bootstrap: of(Scope::Bootstrap) }
}

fn http_configuration(settings: &HttpSettings, addresses: Addresses) -> HttpConfiguration {
    HttpConfiguration {
        listen: settings.listen.clone(),
        tls: settings.tls.clone(),
        tokens: settings
            .tokens
            .iter()
            .map(|token| Token::new(&token.name, token.role, token.secret.expose()))
            .collect(),
        cors_origins: settings.cors_origins.clone(),
        leshan_listen: settings.leshan_listen.clone(),
        leshan_bootstrap_listen: settings.leshan_bootstrap_listen.clone(),
        addresses,
    }
}

fn mqtt_configuration(index: SinkIndex, sink: &SinkSettings) -> MqttConfiguration {
    let address = BrokerAddress {
        host: sink.url.host.clone(),
        port: sink.url.port,
        tls: matches!(sink.url.transport, Transport::Tls),
    };
    MqttConfiguration {
        protocol: match sink.version {
            MqttVersion::V4 => ProtocolVersion::V4,
            MqttVersion::V5 => ProtocolVersion::V5,
        },
        keep_alive: sink.keep_alive,
        session_expiry: sink.session_expiry,
        username: sink.username.clone(),
        password: sink.password.as_ref().map(|secret| secret.expose().to_owned()),
        ca: sink.ca.as_ref().map(|file| file.expose().as_bytes().to_vec()),
        certificate: sink.certificate.as_ref().map(|file| file.expose().as_bytes().to_vec()),
        private_key: sink.private_key.as_ref().map(|file| file.expose().as_bytes().to_vec()),
        alpn: sink.alpn.clone(),
        will: Some(native::offline(&sink.core.base)),
        subscriptions: native::subscriptions(&sink.core.base),
        retain_told: native::subscriptions_that_refuse_retained(&sink.core.base),
        ..MqttConfiguration::new(index, &sink.core.name, address, &sink.client_id)
    }
}

/// All sinks share one thread beside the core's.
fn start_sinks(sinks: Vec<MqttSink>) -> Result<std::thread::JoinHandle<()>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime of the sinks: {error}"))?;
    std::thread::Builder::new()
        .name("mqtt".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                let mut tasks = tokio::task::JoinSet::new();
                for sink in sinks {
                    tasks.spawn(sink.run());
                }
                while tasks.join_next().await.is_some() {}
            });
        })
        .map_err(|error| format!("the thread of the sinks: {error}"))
}

/// Puts an input beside those of the adapters; waits while the core is busy.
pub async fn tell(inputs: &InputSender, input: Input) {
    if inputs.send(vec![input]).await.is_err() {
        tracing::debug!("the core is gone");
    }
}
