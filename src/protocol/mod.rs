//! Protocols as deterministic code: bytes and times in, meanings and bytes out. Errors say who is at fault.
//!
//! [`content`] and [`coap`] know nothing of LwM2M; [`lwm2m`] uses both; [`dtls`] carries bytes for anyone. None of them knows a topic, a mapping or a sink.

pub mod coap;
pub mod content;
pub mod dtls;
pub mod lwm2m;
