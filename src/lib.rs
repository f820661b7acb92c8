//! lwm2mqtt: an edge gateway that ends LwM2M sessions on the spot and speaks MQTT and HTTP to the cloud.
//!
//! Device traffic, commands and delivery are deterministic state machines in one core loop that knows no socket, file
//! or clock; [`io`] turns it into a daemon. Everything outside `io`, `daemon`, `cli` and `main.rs` is pure:
//!
//! ```text
//!  main → cli → daemon → config
//!                  │
//!                 io              sockets, timers, SQLite, MQTT, HTTP
//!                  │
//!               gateway           core: devices · dispatch · delivery · twin · events
//!            ╱     │     ╲
//!     protocol  mapping  northbound    instrumentation
//!            ╲     │     ╱            ╱
//!                model                the words that all share
//! ```
//!
//! ARCHITECTURE.md in the repository tells the whole shape with its invariants.

pub mod cli;
pub mod config;
pub mod daemon;
pub mod gateway;
pub mod instrumentation;
pub mod io;
pub mod mapping;
pub mod model;
pub mod northbound;
pub mod protocol;
pub mod simulator;
