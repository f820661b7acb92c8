//! The state machines of the gateway and the core that joins them. Pure: no socket, file, clock or randomness of its own.

pub mod bridge;
mod bridge_requests;
pub mod clock;
mod command_views;
pub mod configuration;
pub mod core;
pub mod credentials;
pub mod delivery;
mod device_views;
pub mod devices;
pub mod dispatch;
pub mod handshakes;
pub mod inbound;
pub mod journal;
mod leshan;
mod object_views;
mod own_endpoints;
pub mod preview;
mod queries;
pub mod services;
pub mod sessions;
pub mod shown_message;
pub mod store;
pub mod streams;
pub mod trace;
pub mod trial;
pub mod vocabulary;
