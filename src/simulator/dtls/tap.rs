//! Everything that a gateway sent over DTLS, and the keys of all its sessions: so that a test can tell whether a nonce
//! was used for two records.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::wire;
use crate::gateway::handshakes::{Established, HandshakeInput};
use crate::model::time::Instant;
use crate::protocol::dtls::keys::SessionKeys;
use crate::protocol::dtls::record;

/// A datagram that left the gateway.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When.
    pub at: Instant,
    /// Where to.
    pub to: SocketAddr,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What was heard on the line. Grows without bound: for tests that look at it.
#[derive(Debug, Default)]
pub struct Tap {
    /// What left, in order.
    pub sent: Vec<Sent>,
    /// Keys of the gateway's sessions, in the order in which they began.
    pub keys: Vec<SessionKeys>,
}

impl Tap {
    /// Learns the keys of a session.
    pub fn learn(&mut self, input: &HandshakeInput) {
        if let HandshakeInput::Established(established) = input
            && let Established { keys: Some(keys), .. } = &**established
        {
            self.keys.push(keys.clone());
        }
    }

    /// Protected records that left, by session and sequence number: how many different ones each number protects. The
    /// ids that devices want to be called by have so many bytes.
    #[must_use]
    pub fn nonces(&self, connection_id_bytes: usize) -> HashMap<(usize, u64), Vec<Vec<u8>>> {
        let mut nonces: HashMap<(usize, u64), Vec<Vec<u8>>> = HashMap::new();
        for sent in &self.sent {
            let mut rest = sent.bytes.as_slice();
            while let Some(record) = wire::next_record(&mut rest, connection_id_bytes) {
                if record.epoch == 0 {
                    continue;
                }
                let opens = |keys: &SessionKeys| {
                    let SessionKeys { suite, write, read } = keys.clone();
                    record::open(&SessionKeys { suite, write: read, read: write }, &record).is_ok()
                };
                let Some(session) = self.keys.iter().position(opens) else { continue };
                let records = nonces.entry((session, record.sequence)).or_default();
                if !records.iter().any(|known| known == record.whole) {
                    records.push(record.whole.to_vec());
                }
            }
        }
        nonces
    }
}
