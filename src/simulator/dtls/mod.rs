//! DTLS 1.2 as simulated devices speak it, and a stand-in for the TLS library of the gateway.
//!
//! [`client`] is the side of a device: a handshake with a pre-shared key (RFC 4279), sessions with and without a
//! connection id (RFC 9146), resumption by session id, retransmission, close_notify. It is real: against a gateway that
//! is served over sockets it shakes hands with the gateway's TLS library. [`handshakes`] is the other side in virtual
//! time: it takes the orders of the core that go to the worker with the TLS library otherwise; [`worker`] gives it that
//! worker's pace, and [`tap`] listens to what leaves. [`wire`] has the bytes
//! of both, [`secrets`] what follows from the key.
//!
//! Pure like everything here: randomness comes from a seed, and time is an argument. Nothing here defends itself
//! against attacks: it is what attacks are tried with.

pub mod client;
pub mod handshakes;
pub mod secrets;
pub mod tap;
pub mod wire;
pub mod worker;

#[cfg(test)]
mod tests;
