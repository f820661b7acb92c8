//! The only part that touches the operating system: sockets, clock, SQLite, MQTT, HTTP.

pub mod fleet;
