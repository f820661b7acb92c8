//! What the secure transports have in common: who the server is, and how peers prove who they are.
//!
//! [`identity`] reads certificate, keys and authorities and checks them; [`own`] makes a self-signed certificate where
//! none is configured. Contexts of the TLS library are built from a [`identity::ServerIdentity`]. [`authority`] makes the
//! keys and certificates that the bootstrap server hands out.

pub mod attempts;
pub mod authority;
pub mod context;
pub mod identity;
pub mod negotiation;
pub mod own;
pub mod peer;
pub mod proofs;

#[cfg(test)]
mod authority_tests;
#[cfg(test)]
mod identity_tests;
#[cfg(test)]
mod own_tests;
