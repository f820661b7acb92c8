//! The only part that touches the operating system: sockets, clock, SQLite, MQTT, HTTP.
//!
//! An adapter translates between the words of the core and the outside. What it has to tell goes into the one bounded
//! channel of the core ([`InputSender`]), whole batches at a time, since waking the core costs more than what a batch
//! holds; what it has to do comes over a bounded channel of its own.

pub mod address;
pub mod bootstrap;
#[cfg(feature = "embedded-broker")]
pub mod broker;
pub mod clock;
pub mod credential_proofs;
pub mod dtls;
mod dtls_handshake;
pub mod files;
pub mod fleet;
pub mod http;
pub mod http_client;
pub mod mqtt;
pub mod provisioning;
pub mod secure;
pub mod store;
mod stream_fleet;
pub mod tcp;
pub mod tls;
pub mod udp;

/// Where every adapter puts what happens to the core, in order, one batch for each turn of the adapter.
pub type InputSender = tokio::sync::mpsc::Sender<Vec<crate::gateway::vocabulary::Input>>;
