//! The state machines of the gateway and the core that joins them. Pure: no socket, file, clock or randomness of its own.

pub mod clock;
pub mod configuration;
pub mod delivery;
pub mod journal;
pub mod store;
pub mod vocabulary;
