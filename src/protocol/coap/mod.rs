//! CoAP over UDP (RFC 7252) and over TCP (RFC 8323), Observe (RFC 7641) and block-wise transfer (RFC 7959).
//!
//! [`message`] and [`tcp_frame`] turn bytes into meaning once; the machines beside them decide what is sent when.

pub mod block;
pub mod connection;
pub mod exchange;
pub mod message;
pub mod observe_order;
pub mod option;
pub mod signalling;
pub mod tcp_frame;
