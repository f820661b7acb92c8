//! `[sink.*]`: where data goes.

use std::time::Duration;

use super::read::{DAY, SECOND};
use super::section::Section;
use super::settings::{MqttVersion, SinkSettings};
use super::url::{BrokerUrl, Transport};
use crate::gateway::configuration::{Role, SinkConfiguration, WhenFull};

/// Reads all sinks; without any, the one named `local` with all defaults.
pub(super) fn read_sinks(root: &mut Section<'_, '_>, gateway: &str) -> Vec<SinkSettings> {
    let mut names = root.names("sink");
    if names.is_empty() {
        names.push("local".to_owned());
    }
    let mut sinks: Vec<SinkSettings> = Vec::with_capacity(names.len());
    for name in &names {
        let earlier = sinks.as_slice();
        let sink = root.named("sink", name, |section| {
            let sink = read_sink(section, name, gateway);
            if let Some(twin) = earlier.iter().find(|other| other.url == sink.url && other.client_id == sink.client_id)
            {
                let message = format!(
                    "\"{}\" is also the client id of sink '{}' on the same broker",
                    sink.client_id, twin.core.name
                );
                section.problem("client_id", message, "brokers end the older of two connections: use {sink} in it");
            }
            sink
        });
        sinks.push(sink);
    }
    sinks
}

fn read_sink(section: &mut Section<'_, '_>, name: &str, gateway: &str) -> SinkSettings {
    let kind = section.choice("type", "mqtt", &[("mqtt", true), ("http", false)], "What the sink speaks.");
    let is_mqtt = kind.unwrap_or(true);
    if !is_mqtt {
        section.not_yet_served("type", "http sinks are");
    }
    let url = read_url(section, is_mqtt);
    let layouts = [("lwm2mqtt", true), ("thingsboard", false), ("emqx", false), ("custom", false)];
    if section.choice("layout", "lwm2mqtt", &layouts, "Topics and payloads.") == Some(false) {
        section.not_yet_served("layout", "this layout is");
    }
    let base = section.text("base", "lwm2m", "Start of all topics; {gateway} and {sink} are replaced.");
    let base = fill(section, "base", &base, name, gateway);
    if base.contains(['+', '#']) || base.contains(char::is_control) || base.split('/').any(str::is_empty) {
        let message = format!("\"{}\" cannot start a topic", base.escape_debug());
        section.problem("base", message, "use words joined by '/', without '+' and '#'");
    }
    let roles = [("viewer", Role::Viewer), ("operator", Role::Operator), ("admin", Role::Admin)];
    let role = section.choice("role", "operator", &roles, "What requests over this sink may do.").unwrap_or_default();
    let client_id = section.text("client_id", "lwm2mqtt-{gateway}-{sink}", "MQTT client id.");
    let client_id = fill(section, "client_id", &client_id, name, gateway);
    let version = match section.integer("protocol", 5, 4..=5, "MQTT version: 5, or 4 for MQTT 3.1.1.") {
        4 => MqttVersion::V4,
        _ => MqttVersion::V5,
    };
    let keep_alive = section.duration(
        "keep_alive",
        60 * SECOND,
        5 * SECOND..=Duration::from_secs(65_535),
        "Longest silence on the connection.",
    );
    let session_expiry = section.duration(
        "session_expiry",
        DAY,
        Duration::ZERO..=365 * DAY,
        "How long the broker keeps the session while the gateway is away.",
    );
    let username = section.optional_text("username", "MQTT user name.");
    let password = section.secret("password", "MQTT password.");
    if password.is_some() && username.is_none() && version == MqttVersion::V4 {
        section.problem("password", "MQTT 3.1.1 knows no password without user name", "add username = \"..\"");
    }
    let ca = section.pem_file("ca", "PEM file with the authorities to trust instead of the system's.");
    let certificate = section.pem_file("certificate", "PEM file with the client's certificate chain.");
    let private_key = section.pem_file("private_key", "PEM file with its private key.");
    let alpn = section.texts("alpn", "Application protocols to ask for in the TLS handshake.");
    for (key, other) in [("certificate", "private_key"), ("private_key", "certificate")] {
        if section.has(key) && !section.has(other) {
            section.problem(key, format!("is of no use without {other}"), format!("add {other} = \"..\""));
        }
    }
    if url.transport == Transport::Tcp {
        for key in ["ca", "certificate", "private_key", "alpn"] {
            if section.has(key) {
                section.problem(key, format!("has no effect with {url}"), "use an mqtts:// URL");
            }
        }
    }
    let presets = [("generic", true), ("aws", false), ("azure", false), ("thingsboard", false), ("emqx", false)];
    if section.choice("preset", "generic", &presets, "Keeps QoS, retain, sizes and topics to what a broker takes.")
        == Some(false)
    {
        section.not_yet_served("preset", "this preset is");
    }
    if section.boolean("homeassistant", false, "Whether Home Assistant MQTT discovery is published.") {
        section.not_yet_served("homeassistant", "Home Assistant discovery is");
    }
    let (max_spool_bytes, max_spool_age, when_full) = section.section("queue", read_queue);
    let core = SinkConfiguration { name: name.into(), base, role, max_spool_bytes, max_spool_age, when_full };
    SinkSettings {
        core,
        url,
        client_id,
        version,
        keep_alive,
        session_expiry,
        username,
        password,
        ca,
        certificate,
        private_key,
        alpn,
    }
}

fn read_url(section: &mut Section<'_, '_>, is_mqtt: bool) -> BrokerUrl {
    let local = BrokerUrl { transport: Transport::Tcp, host: "127.0.0.1".to_owned(), port: 1883 };
    let text = section.text("url", &local.to_string(), "The broker: mqtt://host:port or mqtts://host:port.");
    // The address of an http sink is of another kind, and its type has been refused already.
    if !is_mqtt {
        return local;
    }
    match BrokerUrl::parse(&text) {
        Ok(url) => url,
        Err((message, hint)) => {
            section.problem("url", message, hint);
            local
        }
    }
}

fn read_queue(section: &mut Section<'_, '_>) -> (u64, Duration, WhenFull) {
    let max_bytes = section.size("max_bytes", 256 << 20, 64 << 10..=1 << 40, "Bound of the durable queue.");
    let max_age = section.duration("max_age", 7 * DAY, SECOND..=3_650 * DAY, "Older messages are dropped.");
    let policies = [("drop_oldest", WhenFull::DropOldest), ("drop_newest", WhenFull::DropNewest)];
    let when_full = section.choice("when_full", "drop_oldest", &policies, "What goes when the bound is reached.");
    (max_bytes, max_age, when_full.unwrap_or_default())
}

/// Replaces the placeholders of a text.
fn fill(section: &mut Section<'_, '_>, key: &str, text: &str, sink: &str, gateway: &str) -> String {
    let filled = text.replace("{gateway}", gateway).replace("{sink}", sink);
    if filled.contains(['{', '}']) {
        let message = format!("\"{}\" has an unknown placeholder", text.escape_debug());
        section.problem(key, message, "possible: {gateway}, {sink}");
    }
    filled
}
