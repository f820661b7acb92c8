//! CoAP over UDP (RFC 7252), Observe (RFC 7641) and block-wise transfer (RFC 7959).
//!
//! [`message`] turns bytes into meaning once; the machines beside it decide what is sent when.

pub mod block;
pub mod exchange;
pub mod message;
pub mod observe_order;
pub mod option;
