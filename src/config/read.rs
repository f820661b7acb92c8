//! The sections of a configuration file, key by key: names, kinds, defaults, bounds and meanings.
//!
//! Parts that are still to come are read and checked like all others; a value that would switch one on is refused.

use std::net::SocketAddr;
use std::time::Duration;

use super::read_bootstrap::read_bootstrap;
use super::read_http::read_http;
use super::read_sink::read_sinks;
use super::section::Section;
use super::security::{
    REGISTRATIONS, REGISTRATIONS_PER_SOURCE, read_certificate_name, read_rate, read_security, read_sessions,
};
use super::settings::{
    BrokerSettings, GatewaySettings, LogFormat, LogSettings, Lwm2mSettings, Settings, StoreSettings,
};
use crate::gateway::configuration::{Limits, Lwm2mConfiguration, Refusal, StreamConfiguration, UnknownDevices};
use crate::mapping::QueueMode;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// Longest lifetime and similar spans: the ten years of a battery.
const TEN_YEARS: Duration = Duration::from_secs(3_650 * 86_400);

/// Reads the root table.
pub(super) fn read_settings(root: &mut Section<'_, '_>) -> Settings {
    root.integer("version", 1, 1..=1, "Version of this file format.");
    let gateway = root.section("gateway", read_gateway);
    let store = root.section("store", read_store);
    let limits = root.section("limits", read_limits);
    let log = root.section("log", read_log);
    let lwm2m = root.section("lwm2m", read_lwm2m);
    let bootstrap = root.section("bootstrap", |section| read_bootstrap(section, &lwm2m, &gateway.models));
    let http = root.section("http", read_http);
    let broker = root.section("broker", read_broker);
    let sinks = read_sinks(root, &gateway.name);
    Settings { gateway, store, limits, log, lwm2m, bootstrap, http, broker, sinks, in_force: serde_json::Value::Null }
}

fn read_gateway(section: &mut Section<'_, '_>) -> GatewaySettings {
    let name = section.optional_text("name", "Name of this gateway in topics and client ids; the host name if absent.");
    if let Some(name) = &name
        && !is_topic_safe(name)
    {
        let hint = "use up to 64 characters without '/', '+', '#', '{', '}' and control characters";
        section.problem("name", format!("\"{}\" cannot stand in a topic", name.escape_debug()), hint);
    }
    let host_name = &section.sources().host_name;
    let host_name = if is_topic_safe(host_name) { host_name } else { "gateway" };
    GatewaySettings {
        name: name.unwrap_or_else(|| host_name.to_owned()),
        data_dir: section.path("data_dir", "/var/lib/lwm2mqtt", "Folder of the durable state."),
        mappings: section.path("mappings", "mappings", "Folder of mapping files, read in name order."),
        default_mapping: section.boolean(
            "default_mapping",
            true,
            "Whether the built-in mapping of the device object and IPSO sensors stands last.",
        ),
        models: section.path("models", "models", "Folder of further OMA object definitions (DDF XML)."),
    }
}

fn is_topic_safe(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || matches!(c, '/' | '+' | '#' | '{' | '}');
    !name.is_empty() && name.len() <= 64 && !name.contains(forbidden)
}

fn read_store(section: &mut Section<'_, '_>) -> StoreSettings {
    StoreSettings {
        commit_interval: section.duration(
            "commit_interval",
            Duration::from_millis(100),
            Duration::ZERO..=SECOND,
            "How long a durable write may wait for others; longer spares SD cards, shorter cuts latency.",
        ),
        commit_rows: section.integer(
            "commit_rows",
            64,
            1..=4_096,
            "So many waiting writes are committed without waiting longer.",
        ) as usize,
    }
}

fn read_limits(section: &mut Section<'_, '_>) -> Limits {
    let built_in = Limits::default();
    let commands = section.integer("commands_per_device", 64, 1..=10_000, "Waiting commands of one device.");
    let transfer = section.size("max_transfer", 1 << 20, 1 << 10..=64 << 20, "Longest block-wise read or write.");
    let max_transfer_bytes = usize::try_from(transfer).unwrap_or(built_in.max_transfer_bytes);
    let connections = section.integer("connections", 10_000, 1..=1_000_000, "Connections over TCP.");
    let per_address = section.integer(
        "connections_per_address",
        256,
        1..=1_000_000,
        "The same from one IPv4 address or one IPv6 network of 64 bits.",
    );
    Limits {
        max_commands_per_device: commands as usize,
        max_connections: connections as usize,
        max_connections_per_address: per_address as usize,
        max_transfer_bytes,
        max_transfers_bytes: built_in.max_transfers_bytes.max(max_transfer_bytes),
        ..built_in
    }
}

fn read_log(section: &mut Section<'_, '_>) -> LogSettings {
    let level = section.text("level", "info", "What is logged, in the filter syntax of tracing: info, lwm2mqtt=debug.");
    if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&level) {
        let hint = "write off, error, warn, info, debug or trace, or a filter such as \"info,lwm2mqtt=debug\"";
        section.problem("level", format!("\"{}\": {error}", level.escape_debug()), hint);
    }
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let format = section.choice("format", "text", &formats, "Form of the log lines.");
    LogSettings { level, format: format.unwrap_or(LogFormat::Text) }
}

fn read_lwm2m(section: &mut Section<'_, '_>) -> Lwm2mSettings {
    let built_in = Lwm2mConfiguration::default();
    let udp = section.listeners("udp", "[::]:5683", "Addresses for CoAP over UDP; [::] serves IPv4 too.");
    let dtls = section.listeners("dtls", "[::]:5684", "Addresses for CoAP over DTLS; [::] serves IPv4 too.");
    refuse_shared(section, "dtls", &dtls, "lwm2m.udp", &udp);
    let tcp = section.listeners("tcp", "off", "Addresses for CoAP over TCP; [::] serves IPv4 too.");
    let tls = section.listeners("tls", "off", "Addresses for CoAP over TLS; [::] serves IPv4 too.");
    refuse_shared(section, "tls", &tls, "lwm2m.tcp", &tcp);
    let policies =
        [("accept", UnknownDevices::Accept), ("window", UnknownDevices::Window), ("refuse", UnknownDevices::Refuse)];
    let unknown_devices = section.choice(
        "unknown_devices",
        "window",
        &policies,
        "Peers without credentials; window: 15 minutes after the very first start, then by permit-join.",
    );
    let refusals = [("silent", Refusal::Silent), ("answer", Refusal::Answer)];
    let refusal = section.choice(
        "refusal",
        "silent",
        &refusals,
        "What refused peers hear; some clients give up for good when answered.",
    );
    let queue_mode = section.choice(
        "queue_mode",
        "auto",
        &QueueMode::NAMES,
        "Which devices sleep, where no mapping says otherwise: those that say so, all, or none.",
    );
    let core = Lwm2mConfiguration {
        unknown_devices: unknown_devices.unwrap_or(built_in.unknown_devices),
        refusal: refusal.unwrap_or(built_in.refusal),
        default_lifetime: section.duration(
            "default_lifetime",
            built_in.default_lifetime,
            SECOND..=TEN_YEARS,
            "Lifetime of a registration that names none.",
        ),
        lifetime_grace: section.duration(
            "lifetime_grace",
            built_in.lifetime_grace,
            Duration::ZERO..=DAY,
            "Time beyond the lifetime before a device counts as expired.",
        ),
        queue_mode: queue_mode.unwrap_or(built_in.queue_mode),
        awake_window: section.duration(
            "awake_window",
            built_in.awake_window,
            SECOND..=DAY,
            "Queue mode: how long a device counts as awake after its last message.",
        ),
        ack_timeout: section.duration(
            "ack_timeout",
            built_in.ack_timeout,
            Duration::from_millis(100)..=60 * SECOND,
            "ACK_TIMEOUT of CoAP, RFC 7252 section 4.8.",
        ),
        max_retransmit: section.integer(
            "max_retransmit",
            built_in.max_retransmit,
            0..=20,
            "MAX_RETRANSMIT of CoAP, RFC 7252 section 4.8.",
        ),
        streams: read_streams(section),
        sessions: read_sessions(section),
        x509_endpoint: read_certificate_name(section),
        registration_rate: read_rate(section, &REGISTRATIONS, built_in.registration_rate),
        registration_rate_per_source: read_rate(
            section,
            &REGISTRATIONS_PER_SOURCE,
            built_in.registration_rate_per_source,
        ),
    };
    let security = read_security(section);
    Lwm2mSettings { udp, dtls, tcp, tls, core, security }
}

/// Two listeners cannot share a socket.
pub(super) fn refuse_shared(
    section: &mut Section<'_, '_>,
    key: &str,
    addresses: &[SocketAddr],
    other: &str,
    taken: &[SocketAddr],
) {
    if let Some(address) = addresses.iter().find(|address| address.port() != 0 && taken.contains(address)) {
        section.problem(key, format!("{address} stands in {other} too"), "give it a port of its own, or \"off\"");
    }
}

/// Connections over TCP.
fn read_streams(section: &mut Section<'_, '_>) -> StreamConfiguration {
    let built_in = StreamConfiguration::default();
    let keep_alive = section.duration(
        "tcp_keep_alive",
        built_in.keep_alive.unwrap_or_default(),
        Duration::ZERO..=DAY,
        "CoAP over TCP: after so long without a word from a device it is pinged; 0s: never.",
    );
    let idle_timeout = section.duration(
        "tcp_idle_timeout",
        built_in.idle_timeout,
        SECOND..=30 * DAY,
        "CoAP over TCP: after so long without a word its connection is closed, unless the device sleeps.",
    );
    if keep_alive >= idle_timeout {
        let message = "is not shorter than tcp_idle_timeout: the connection would be closed before the ping";
        section.problem("tcp_keep_alive", message, "write a shorter time, or \"0s\" for no pings");
    }
    StreamConfiguration { keep_alive: Some(keep_alive).filter(|time| !time.is_zero()), idle_timeout, ..built_in }
}

fn read_broker(section: &mut Section<'_, '_>) -> BrokerSettings {
    let enabled = section.boolean("enabled", false, "Whether the embedded MQTT broker runs.");
    let listen = section.listeners("listen", "127.0.0.1:1883", "Its addresses for MQTT 3.1.1.");
    let listen_v5 = section.listeners("listen_v5", "off", "Its addresses for MQTT 5.");
    let mut users = Vec::new();
    for name in section.names("user") {
        section.named("user", &name, |user| match user.secret("password", "Password of this user.") {
            Some(password) => users.push((name.clone(), password)),
            None if user.is_describing() || user.has("password") => {}
            None => user.problem("", "has no password", "add password = \"..\" or password = { file = \"..\" }"),
        });
    }
    let outside = |address: &&SocketAddr| !address.ip().is_loopback();
    if enabled && users.is_empty() {
        for (key, addresses) in [("listen", &listen), ("listen_v5", &listen_v5)] {
            if let Some(address) = addresses.iter().find(outside) {
                let message = format!("{address} is reachable from outside, and the broker has no users");
                section.problem(key, message, "add [broker.user.NAME] with a password, or listen on loopback");
            }
        }
    }
    if enabled && !cfg!(feature = "embedded-broker") {
        section.problem("enabled", "this program was built without the embedded broker", "use a broker of its own");
    }
    BrokerSettings { enabled, listen, listen_v5, users }
}
