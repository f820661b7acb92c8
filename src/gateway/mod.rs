//! The state machines of the gateway and the core that joins them. Pure: no socket, file, clock or randomness of its own.

pub mod configuration;
pub mod store;
pub mod vocabulary;
