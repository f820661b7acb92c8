//! What follows from a pre-shared key in a handshake (RFC 4279 section 2, RFC 5246 section 8.1, RFC 7627).

use sha2::{Digest as _, Sha256};

use crate::protocol::dtls::keys::{SessionKeys, prf};
use crate::protocol::dtls::suite::{Protection, Suite};

/// Bytes of a master secret.
const MASTER_SECRET_BYTES: usize = 48;
/// Bytes of a Finished message (RFC 5246 section 7.4.9).
pub const VERIFY_DATA_BYTES: usize = 12;

/// The side of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The device.
    Client,
    /// The gateway.
    Server,
}

/// The randoms of a handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Randoms {
    /// Of the client.
    pub client: [u8; 32],
    /// Of the server.
    pub server: [u8; 32],
}

/// The master secret of a pre-shared key. `messages`: all handshake messages up to ClientKeyExchange, if the master
/// secret is extended (RFC 7627 section 4).
#[must_use]
pub fn master_secret(key: &[u8], randoms: &Randoms, messages: Option<&[u8]>) -> Vec<u8> {
    let length = (key.len() as u16).to_be_bytes();
    let mut premaster = Vec::with_capacity(4 + 2 * key.len());
    premaster.extend_from_slice(&length);
    premaster.resize(2 + key.len(), 0);
    premaster.extend_from_slice(&length);
    premaster.extend_from_slice(key);
    if let Some(messages) = messages {
        return prf(&premaster, b"extended master secret", &Sha256::digest(messages), MASTER_SECRET_BYTES);
    }
    prf(&premaster, b"master secret", &[randoms.client, randoms.server].concat(), MASTER_SECRET_BYTES)
}

/// What the Finished of a side holds after these handshake messages.
#[must_use]
pub fn verify_data(master: &[u8], side: Side, messages: &[u8]) -> Vec<u8> {
    let label: &[u8] = match side {
        Side::Client => b"client finished",
        Side::Server => b"server finished",
    };
    prf(master, label, &Sha256::digest(messages), VERIFY_DATA_BYTES)
}

/// The keys of a session as one side sees them. Suites with CBC are only simulated: their records are protected like
/// those with GCM, which nobody can tell who has not the keys.
#[must_use]
pub fn session_keys(suite: Suite, master: &[u8], randoms: &Randoms, side: Side) -> SessionKeys {
    let by = if suite.protection() == Protection::Cbc { Suite::PskAes128GcmSha256 } else { suite };
    SessionKeys::derive(by, master, &randoms.client, &randoms.server, side == Side::Server)
}
