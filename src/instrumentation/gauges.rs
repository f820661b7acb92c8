//! Numbers of the moment, as [`Metrics`](super::metrics::Metrics) shows them.

use std::sync::Arc;

/// What is, as opposed to what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Devices that can be reached.
    pub devices_online: usize,
    /// Devices in queue mode, beyond their awake window.
    pub devices_asleep: usize,
    /// Known devices that are not registered.
    pub devices_offline: usize,
    /// Connections of stream transports.
    pub connections: usize,
    /// DTLS sessions.
    pub sessions: usize,
    /// DTLS handshakes under way.
    pub handshakes: usize,
    /// Bootstrap sessions.
    pub bootstrap_sessions: usize,
    /// Sinks.
    pub sinks: Vec<SinkGauges>,
    /// Writes that are not durable yet.
    pub pending_writes: usize,
    /// Their bytes.
    pub pending_write_bytes: usize,
    /// Commands that wait.
    pub waiting_commands: usize,
    /// Whether the store cannot be written.
    pub store_broken: bool,
}

/// Numbers of one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkGauges {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it is connected.
    pub connected: bool,
    /// Messages that wait or are in flight.
    pub rows: u64,
    /// Their charged bytes.
    pub bytes: u64,
    /// Messages in flight.
    pub in_flight: usize,
}
