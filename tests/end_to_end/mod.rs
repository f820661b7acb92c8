//! The real binary between a real mosquitto and LwM2M clients that others wrote.
//!
//! `tests/run` installs mosquitto and the clients, builds the release binary and names it in `LWM2MQTT_BINARY`;
//! without that variable the binary of the test profile is used. Each test has its own broker, ports and folder.

mod bootstrap_clients;
mod bootstrap_keys;
mod bootstrap_provisioning;
mod broker_credentials;
mod broker_outage;
mod broker_tls;
mod coap_tcp;
mod coap_tls;
mod command_line;
mod credentials;
mod daemon;
mod demo_bootstrap;
mod documented_commands;
mod dtls_clients;
mod dtls_flood;
mod dtls_refusals;
mod dtls_sessions;
pub(crate) mod dtls_site;
mod fleet;
pub(crate) mod harness;
mod http_api;
mod http_commands;
mod joining;
mod kill_nine;
mod leshan_api;
mod leshan_bootstrap_api;
mod mqtt_sink;
mod mqtt_versions;
mod openapi;
mod real_clients;
mod remote;
mod secure_fleet;
mod tls_clients;
