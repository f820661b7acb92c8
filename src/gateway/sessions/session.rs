//! One DTLS session after its handshake, and what survives of it.
//!
//! A sequence number is used only below `write_limit`, and that is raised only when a stored record says that a restart
//! begins at least as high: so no number, and with it no nonce, is ever used twice with one key, whatever is lost.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::gateway::handshakes::Established;
use crate::gateway::store::StoreSequence;
use crate::gateway::vocabulary::{Authenticated, Peer, SessionId};
use crate::model::credential::Identity;
use crate::model::time::Instant;
use crate::protocol::dtls::connection_id::ConnectionId;
use crate::protocol::dtls::keys::{SESSION_KEYS_BYTES, SessionKeys};
use crate::protocol::dtls::record::MAX_SEQUENCE;
use crate::protocol::dtls::suite::Suite;
use crate::protocol::dtls::window::ReplayWindow;

/// Sequence numbers that a stored record leaves free for use before it must be stored anew.
pub const RESERVED_SEQUENCES: u64 = 4_096;

/// How often the last flight of a handshake is repeated.
pub const MAX_FLIGHT_REPEATS: u8 = 8;

/// Who protects the records of a session.
#[derive(Clone, Debug)]
pub enum Records {
    /// The core.
    Own(OwnRecords),
    /// The TLS library; such a session ends with the process.
    Library,
}

/// Keys and ids of a session whose records the core protects.
#[derive(Clone, Debug)]
pub struct OwnRecords {
    /// Keys.
    pub keys: SessionKeys,
    /// What the peer calls the session by; `None`: the address alone tells.
    pub connection_id: Option<ConnectionId>,
    /// What the peer is called by; empty: nothing.
    pub peer_connection_id: Box<[u8]>,
    /// The next sequence number to use.
    pub next_write: u64,
    /// The first one that may not be used.
    pub write_limit: u64,
    /// A record on its way to the store, and the limit that it allows.
    pub saving: Option<(StoreSequence, u64)>,
    /// What was received.
    pub window: ReplayWindow,
}

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Where the peer is now; names the session.
    pub peer: Peer,
    /// Who the peer is.
    pub who: Arc<Authenticated>,
    /// The suite.
    pub suite: Suite,
    /// Who protects the records.
    pub records: Records,
    /// The last flight of the handshake, until the peer shows that it has it, and how often it was repeated.
    pub last_flight: Option<Box<(Vec<Vec<u8>>, u8)>>,
    /// When the peer was heard last.
    pub heard_at: Instant,
    /// Devices that are reached by it.
    pub devices: Vec<usize>,
    /// Whether it differs from what is stored.
    pub dirty: bool,
}

impl Session {
    /// A session that begins now.
    #[must_use]
    pub fn begun(now: Instant, established: Established, connection_id: Option<ConnectionId>) -> Self {
        let Established { peer, session, identity, generation, suite, .. } = established;
        let records = established.keys.map_or(Records::Library, |keys| {
            Records::Own(OwnRecords {
                keys,
                connection_id: connection_id.filter(|_| established.peer_connection_id.is_some()),
                peer_connection_id: established.peer_connection_id.unwrap_or_default().into(),
                next_write: established.next_write_sequence,
                // Nothing is stored yet: after a restart there is no such session.
                write_limit: established.next_write_sequence,
                saving: None,
                window: ReplayWindow::after(established.newest_read_sequence),
            })
        });
        let flight = established.last_flight;
        Self {
            peer: Peer { session: Some(session), ..peer },
            who: Arc::new(Authenticated { identity, generation }),
            suite,
            records,
            last_flight: (!flight.is_empty()).then(|| Box::new((flight, 0))),
            heard_at: now,
            devices: Vec::new(),
            dirty: true,
        }
    }

    /// Whether records find the session by its connection id.
    #[must_use]
    pub const fn connection_id(&self) -> Option<ConnectionId> {
        match &self.records {
            Records::Own(records) => records.connection_id,
            Records::Library => None,
        }
    }

    /// The record for the store, and the limit that it allows; `None` for a session that cannot be kept.
    #[must_use]
    pub fn record(&self) -> Option<(Vec<u8>, u64)> {
        let Records::Own(records) = &self.records else { return None };
        let write_limit = records.next_write.saturating_add(RESERVED_SEQUENCES).min(MAX_SEQUENCE);
        let record = SessionRecord {
            listener: self.peer.listener,
            remote: self.peer.remote,
            local: self.peer.local,
            identity: self.who.identity.clone(),
            generation: self.who.generation,
            keys: data_encoding::HEXLOWER.encode(&records.keys.to_bytes()),
            connection_id: records.connection_id.map(|id| data_encoding::HEXLOWER.encode(id.as_bytes())),
            peer_connection_id: data_encoding::HEXLOWER.encode(&records.peer_connection_id),
            next_write: write_limit,
            newest_read: records.window.newest(),
        };
        Some((serde_json::to_vec(&record).ok()?, write_limit))
    }

    /// A session from the store; `None` if the record cannot be read.
    #[must_use]
    pub fn restored(now: Instant, id: SessionId, record: &[u8]) -> Option<Self> {
        let record: SessionRecord = serde_json::from_slice(record).ok()?;
        let decode = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
        let keys: [u8; SESSION_KEYS_BYTES] = decode(&record.keys)?.try_into().ok()?;
        let keys = SessionKeys::from_bytes(&keys)?;
        let connection_id = match &record.connection_id {
            Some(text) => Some(ConnectionId::new(&decode(text)?)?),
            None => None,
        };
        Some(Self {
            peer: Peer { listener: record.listener, remote: record.remote, local: record.local, session: Some(id) },
            who: Arc::new(Authenticated { identity: record.identity, generation: record.generation }),
            suite: keys.suite,
            records: Records::Own(OwnRecords {
                keys,
                connection_id,
                peer_connection_id: decode(&record.peer_connection_id)?.into(),
                next_write: record.next_write,
                // The store still says that numbers from here on are unused.
                write_limit: record.next_write,
                saving: None,
                window: ReplayWindow::closed_up_to(record.newest_read),
            }),
            last_flight: None,
            heard_at: now,
            devices: Vec::new(),
            dirty: false,
        })
    }
}

/// What the store keeps of a session. Fields are only ever added.
#[derive(serde::Serialize, serde::Deserialize)]
struct SessionRecord {
    listener: u16,
    remote: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    local: Option<IpAddr>,
    identity: Identity,
    generation: u64,
    keys: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connection_id: Option<String>,
    peer_connection_id: String,
    /// Where a restart begins: beyond every number that may have been used.
    next_write: u64,
    newest_read: u64,
}
