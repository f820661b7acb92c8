//! What the core and the handshakes tell one another.
//!
//! A handshake is the one part of DTLS that the core does not do: it needs a TLS library, which has its own clock and
//! randomness. The core decides who may begin one and when it has taken too long, and gives the session its number and
//! its connection id; the handshakes turn datagrams into datagrams until a session stands or not. Simulations put a
//! scripted stand-in in their place.
//!
//! ```text
//! Begin, Continue ──▶ handshakes ──▶ Transmit .. then Established or Failed, once
//! ```

use std::sync::Arc;

use super::vocabulary::{Peer, SessionId};
use crate::model::credential::{Identity, Proof, Scope};
use crate::protocol::dtls::connection_id::ConnectionId;
use crate::protocol::dtls::keys::SessionKeys;
use crate::protocol::dtls::suite::Suite;

/// What the core wants of the handshakes.
#[derive(Clone, Debug)]
pub enum HandshakeOrder {
    /// Begin one. Another one of the same peer is given up.
    Begin {
        /// The other side.
        peer: Peer,
        /// The number that the session will have.
        session: SessionId,
        /// Which server the peer speaks to.
        scope: Scope,
        /// The ClientHello with its verified cookie, as one record that holds one whole message.
        hello: Vec<u8>,
        /// What the peer may call the session by; `None`: connection ids are switched off.
        connection_id: Option<ConnectionId>,
    },
    /// A datagram of the peer for its handshake.
    Continue {
        /// The other side.
        peer: Peer,
        /// Its bytes.
        datagram: Vec<u8>,
    },
    /// It took too long: give it up in silence towards the peer, and answer with [`HandshakeInput::Failed`].
    Abandon {
        /// The other side.
        peer: Peer,
    },
    /// A proof counts from now on. A pre-shared key that is known already stays valid beside a new one of the same
    /// identity until it is revoked.
    Admit {
        /// Where it counts.
        scope: Scope,
        /// What a peer has to show.
        proof: Proof,
        /// Which state of the credential this is: sessions that began under another one are not resumed.
        generation: u64,
    },
    /// A proof counts no more.
    Revoke {
        /// Where it counted.
        scope: Scope,
        /// What a peer had to show.
        proof: Proof,
    },
    /// Keys that session tickets are sealed with, the newest first; those before open tickets that were handed out
    /// earlier.
    TicketKeys(Vec<TicketKey>),
    /// A session that can be resumed by its id: from the store, at start.
    Resumable(Resumable),
    /// Protect a message of a session whose records the TLS library keeps; answered by [`HandshakeInput::Transmit`].
    Seal {
        /// Which session.
        session: SessionId,
        /// Where it goes.
        peer: Peer,
        /// The message.
        plaintext: Vec<u8>,
    },
    /// Open a record of such a session; answered by [`HandshakeInput::Opened`] if it authenticates.
    Open {
        /// Which session.
        session: SessionId,
        /// Where it came from.
        peer: Peer,
        /// The record.
        record: Vec<u8>,
    },
    /// Forget such a session.
    Drop {
        /// Which session.
        session: SessionId,
    },
}

/// Keys of session tickets: name, HMAC key, cipher key.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKey(pub [u8; 80]);

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// A session that can be resumed by its id.
#[derive(Clone, PartialEq, Eq)]
pub struct Resumable {
    /// The id of RFC 5246 section 7.4.1.2.
    pub id: Vec<u8>,
    /// What the handshakes keep of it, with its secret; opaque to the core.
    pub state: Vec<u8>,
}

impl std::fmt::Debug for Resumable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resumable({})", data_encoding::HEXLOWER.encode(&self.id))
    }
}

/// What the handshakes tell.
#[derive(Clone, Debug)]
pub enum HandshakeInput {
    /// Send a datagram.
    Transmit {
        /// To whom.
        peer: Peer,
        /// Its bytes.
        datagram: Vec<u8>,
    },
    /// A session stands: the peer proved who it is.
    Established(Box<Established>),
    /// A handshake failed; the peer was told by an alert where it may know why.
    Failed {
        /// The other side.
        peer: Peer,
        /// The number that the session would have had.
        session: SessionId,
        /// Why.
        failure: HandshakeFailure,
    },
    /// A session can be resumed: to be kept over restarts.
    Resumable(Resumable),
    /// A session can be resumed no more.
    NotResumable {
        /// Its id.
        id: Vec<u8>,
    },
    /// A message of a session whose records the TLS library keeps.
    Opened {
        /// Which session.
        session: SessionId,
        /// Where it came from.
        peer: Peer,
        /// The message.
        plaintext: Vec<u8>,
    },
    /// The peer ended such a session, or its records cannot be read any more.
    Closed {
        /// Which session.
        session: SessionId,
    },
}

/// A session that has just begun.
#[derive(Clone, Debug)]
pub struct Established {
    /// The other side.
    pub peer: Peer,
    /// Its number.
    pub session: SessionId,
    /// Who the peer is.
    pub identity: Identity,
    /// Which state of its credential it proved that by.
    pub generation: u64,
    /// The suite.
    pub suite: Suite,
    /// Whether it resumes an earlier session.
    pub resumed: bool,
    /// Keys; `None`: the TLS library keeps the session.
    pub keys: Option<SessionKeys>,
    /// What the peer wants to be called; empty: its records have no connection id. `None`: the peer does not know
    /// connection ids, and ours is not used either.
    pub peer_connection_id: Option<Vec<u8>>,
    /// The sequence number of the next record to the peer.
    pub next_write_sequence: u64,
    /// The highest sequence number that the peer used in its epoch.
    pub newest_read_sequence: u64,
    /// The last flight, in case the peer did not hear it; empty where the peer spoke last.
    pub last_flight: Vec<Vec<u8>>,
}

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeFailure {
    /// For counters: `unknown_identity`, `wrong_key`, `no_common_suite`, `bad_certificate`, `expired_certificate`,
    /// `no_certificate`, `unknown_public_key`, `alert`, `protocol`; over TLS also `timeout` and `gave_way`.
    pub word: &'static str,
    /// For the operator, with what was offered.
    pub detail: String,
    /// Who the peer claimed to be, as far as it said; shown like an identity.
    pub claimed: Option<Arc<str>>,
}
