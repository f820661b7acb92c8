//! DTLS 1.2 (RFC 6347) as far as it is deterministic: the stateless cookie before a handshake, and records with their
//! keys, replay window and connection ids (RFC 9146) after it. The handshake between the two is done elsewhere.

pub mod connection_id;
pub mod cookie;
pub mod hello;
pub mod keys;
pub mod record;
pub mod suite;
pub mod window;
