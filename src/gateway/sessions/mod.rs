//! DTLS sessions: which datagram belongs to which session or handshake, who may begin one, records and their ids.
//!
//! ```text
//! datagram ─┬─ ClientHello ── cookie? ── no ──▶ HelloVerifyRequest, nothing kept
//!           │                    └────── yes ─▶ rate, bound ──▶ Begin
//!           ├─ other records of a first epoch ─▶ the handshake of its address ──▶ Continue
//!           └─ protected records ── by connection id, else by address ──▶ opened ──▶ message
//! ```
//!
//! [`Sessions`] is a machine of its own: it takes datagrams and what handshakes tell, and gives [`Action`]s; what a
//! session means to devices is the business of `devices::securing`.
//!
//! Invariants: nothing is kept for a peer before its cookie came back; an address has at most one session without
//! connection id and one handshake; a handshake beside a session touches that only when it is through; a session moves
//! only with the newest record that authenticated (RFC 9146 section 6).

pub mod rate;
mod receiving;
pub mod resuming;
pub mod saving;
pub mod session;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::Rng as _;

use super::configuration::Configuration;
use super::handshakes::{Established, HandshakeFailure, HandshakeInput, HandshakeOrder};
use super::store::StoreSequence;
use super::streams::{Address, address_of};
use super::vocabulary::{Authenticated, Peer, SessionId};
use crate::instrumentation::occurrence::Occurrence;
use crate::model::credential::Scope;
use crate::model::time::Instant;
use crate::protocol::dtls::connection_id::ConnectionId;
use crate::protocol::dtls::cookie::CookieSecrets;
use crate::protocol::dtls::hello::Reassembly;
use crate::protocol::dtls::record::{self, MAX_SEQUENCE, PROTECTED_EPOCH, content};
use rate::{HANDSHAKES, RateLimiter};
use session::{RESERVED_SEQUENCES, Records, Session};

/// Sessions that are stored at once, a quarter of what may wait for the store by default.
pub const MAX_SAVED_AT_ONCE: usize = 1_024;

/// Time until the next portion.
const SAVE_PAUSE: Duration = Duration::from_secs(1);

/// How long a session at the bootstrap server stays of which nothing is heard: longer than a bootstrap session.
const BOOTSTRAP_UNUSED_TIMEOUT: Duration = Duration::from_secs(600);

/// What the rest of the core does next.
#[derive(Debug)]
pub enum Action {
    /// Send a datagram as it is.
    Transmit {
        /// To whom.
        peer: Peer,
        /// Its bytes.
        datagram: Vec<u8>,
    },
    /// Tell the handshakes.
    Order(HandshakeOrder),
    /// A message came in a session, which its peer names.
    Message {
        /// From whom.
        peer: Peer,
        /// The message.
        plaintext: Vec<u8>,
    },
    /// A session stands.
    Begun {
        /// Which.
        session: SessionId,
        /// The session of the same address that it replaces.
        replaced: Option<Session>,
    },
    /// A session is reached elsewhere now.
    Moved {
        /// Which.
        session: SessionId,
    },
    /// A session is over.
    Ended {
        /// What it was.
        session: Box<Session>,
        /// Why, for the operator.
        reason: &'static str,
    },
    /// A handshake failed.
    Failed {
        /// The other side.
        peer: Peer,
        /// Why.
        failure: HandshakeFailure,
    },
    /// Count this.
    Count(Occurrence),
}

/// A handshake under way.
#[derive(Debug)]
struct Pending {
    peer: Peer,
    session: SessionId,
    random: [u8; 32],
    connection_id: Option<ConnectionId>,
    /// Sequence number of the record that began the ClientHello, while the rest of it is awaited.
    hello: Option<(u64, Reassembly)>,
    /// Datagrams that were handed on.
    datagrams: usize,
    /// Records that may be of the session to come: a peer that speaks last says more before it is known here that the
    /// handshake is through.
    early: Vec<Vec<u8>>,
}

/// What a connection id names.
#[derive(Clone, Copy, Debug)]
enum Named {
    Session(SessionId),
    Pending(Address),
}

/// All sessions and handshakes.
#[derive(Debug)]
pub struct Sessions {
    configuration: Arc<Configuration>,
    random: ChaCha8Rng,
    cookies: Cookies,
    handshake_rate: RateLimiter,
    pending: HashMap<Address, Pending>,
    /// When each handshake has taken too long: in the order of their beginnings.
    deadlines: VecDeque<(Instant, Address, SessionId)>,
    table: HashMap<SessionId, Session>,
    by_address: HashMap<Address, SessionId>,
    by_connection_id: HashMap<ConnectionId, Named>,
    /// When sessions that changed are stored and unused ones looked for.
    sweep_at: Option<Instant>,
    /// What of the last look is still to be stored.
    to_save: Vec<SessionId>,
    actions: VecDeque<Action>,
}

struct Cookies {
    secrets: CookieSecrets,
    turn_at: Instant,
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// What became of a message for a session.
#[derive(Debug)]
pub enum Sealed {
    /// A datagram to send.
    Datagram(Peer, Vec<u8>),
    /// The TLS library protects it.
    Order(HandshakeOrder),
    /// No sequence number is free until the session is stored anew.
    MustBeSaved,
    /// There is no such session any more, or its numbers are used up.
    Gone,
}

impl Sessions {
    /// None, with randomness of their own.
    pub fn new(now: Instant, configuration: Arc<Configuration>, mut random: ChaCha8Rng) -> Self {
        let mut secret = || {
            let mut bytes = [0; 32];
            random.fill_bytes(&mut bytes);
            bytes
        };
        let secrets = CookieSecrets::new(secret(), secret());
        let sessions = &configuration.lwm2m.sessions;
        Self {
            cookies: Cookies { secrets, turn_at: now + receiving::COOKIE_TURN },
            handshake_rate: RateLimiter::new(
                now,
                HANDSHAKES,
                sessions.handshake_rate,
                sessions.handshake_rate_per_source,
            ),
            configuration,
            random,
            pending: HashMap::new(),
            deadlines: VecDeque::new(),
            table: HashMap::new(),
            by_address: HashMap::new(),
            by_connection_id: HashMap::new(),
            sweep_at: None,
            to_save: Vec::new(),
            actions: VecDeque::new(),
        }
    }

    /// A session by its number.
    pub fn get(&self, session: SessionId) -> Option<&Session> {
        self.table.get(&session)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, session: SessionId) -> Option<&mut Session> {
        self.table.get_mut(&session)
    }

    /// Who the peer of a session is.
    pub fn who(&self, session: SessionId) -> Option<&Arc<Authenticated>> {
        self.get(session).map(|session| &session.who)
    }

    /// All sessions.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.table.iter().map(|(id, session)| (*id, session))
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// How many handshakes are under way.
    pub fn handshakes(&self) -> usize {
        self.pending.len()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let handshake = self.deadlines.front().map(|(deadline, ..)| *deadline);
        [handshake, self.sweep_at].into_iter().flatten().min()
    }

    /// Takes what a handshake told.
    pub fn handle_handshake(&mut self, now: Instant, input: HandshakeInput) {
        match input {
            HandshakeInput::Transmit { peer, datagram } => self.actions.push_back(Action::Transmit { peer, datagram }),
            HandshakeInput::Established(established) => self.establish(now, *established),
            HandshakeInput::Failed { peer, session, failure } => {
                // One that took too long is forgotten already.
                self.forget_pending(address_of(peer), session);
                self.actions.push_back(Action::Failed { peer, failure });
            }
            HandshakeInput::Opened { session, peer, plaintext } => {
                let Some(known) = self.table.get_mut(&session) else { return };
                known.heard_at = now;
                let peer = Peer { session: Some(session), ..peer };
                self.actions.push_back(Action::Message { peer, plaintext });
            }
            HandshakeInput::Closed { session } => self.end(session, "closed"),
            // Kept by whoever holds the store.
            HandshakeInput::Resumable(_) | HandshakeInput::NotResumable { .. } => {}
        }
    }

    fn establish(&mut self, now: Instant, established: Established) {
        let (peer, id) = (established.peer, established.session);
        let address = address_of(peer);
        let Some(pending) = self.forget_pending(address, id) else {
            // It was given up meanwhile.
            self.actions.push_back(Action::Order(HandshakeOrder::Drop { session: id }));
            return;
        };
        let newest_read = established.newest_read_sequence;
        let how = if established.resumed { "resumed" } else { "full" };
        self.count(Occurrence::Handshake(how, established.suite.name()));
        let session = Session::begun(now, established, pending.connection_id);
        let former = self.by_address.get(&address).copied();
        // A session with a connection id is found without its address, and may be of somebody else behind one NAT.
        let replaced = former.filter(|former| {
            self.get(*former)
                .is_some_and(|former| former.connection_id().is_none() || former.who.identity == session.who.identity)
        });
        let replaced = replaced.and_then(|former| self.remove(former));
        self.make_room();
        self.insert(id, session);
        self.actions.push_back(Action::Begun { session: id, replaced });
        self.take_early(now, peer, newest_read, &pending.early);
    }

    pub(super) fn insert(&mut self, id: SessionId, session: Session) {
        self.by_address.insert(address_of(session.peer), id);
        self.sweep_at.get_or_insert(session.heard_at + self.configuration.lwm2m.sessions.save_interval);
        if let Some(connection_id) = session.connection_id() {
            self.by_connection_id.insert(connection_id, Named::Session(id));
        }
        self.table.insert(id, session);
    }

    /// Takes a session out of all tables.
    fn remove(&mut self, id: SessionId) -> Option<Session> {
        let session = self.table.remove(&id)?;
        let address = address_of(session.peer);
        if self.by_address.get(&address) == Some(&id) {
            self.by_address.remove(&address);
        }
        if let Some(connection_id) = session.connection_id() {
            self.by_connection_id.remove(&connection_id);
        }
        if matches!(session.records, Records::Library) {
            self.actions.push_back(Action::Order(HandshakeOrder::Drop { session: id }));
        }
        Some(session)
    }

    /// Ends a session without a word to its peer.
    pub fn end(&mut self, id: SessionId, reason: &'static str) {
        if let Some(session) = self.remove(id) {
            self.count(Occurrence::SessionEnded(reason));
            self.actions.push_back(Action::Ended { session: Box::new(session), reason });
        }
    }

    /// Ends a session and tells its peer, if a sequence number is free for that.
    pub fn close(&mut self, id: SessionId, reason: &'static str) {
        if let Some(session) = self.table.get_mut(&id)
            && let Records::Own(records) = &mut session.records
            && records.next_write < records.write_limit
        {
            let alert = [record::alert::FATAL, record::alert::CLOSE_NOTIFY];
            let datagram = record::seal(
                &records.keys,
                PROTECTED_EPOCH,
                records.next_write,
                &records.peer_connection_id,
                content::ALERT,
                &alert,
            );
            records.next_write += 1;
            let peer = session.peer;
            self.actions.push_back(Action::Transmit { peer, datagram });
        }
        self.end(id, reason);
    }

    /// Protects a message. `is_written` says whether a batch reached the store.
    pub fn seal(&mut self, id: SessionId, plaintext: &[u8], is_written: impl Fn(StoreSequence) -> bool) -> Sealed {
        let Some(session) = self.table.get_mut(&id) else { return Sealed::Gone };
        let peer = session.peer;
        let records = match &mut session.records {
            Records::Own(records) => records,
            Records::Library => {
                return Sealed::Order(HandshakeOrder::Seal { session: id, peer, plaintext: plaintext.to_vec() });
            }
        };
        if let Some((sequence, limit)) = records.saving
            && is_written(sequence)
        {
            records.saving = None;
            records.write_limit = limit;
        }
        if records.next_write >= MAX_SEQUENCE {
            return Sealed::Gone;
        }
        if records.next_write >= records.write_limit {
            return Sealed::MustBeSaved;
        }
        let datagram = record::seal(
            &records.keys,
            PROTECTED_EPOCH,
            records.next_write,
            &records.peer_connection_id,
            content::APPLICATION_DATA,
            plaintext,
        );
        records.next_write += 1;
        Sealed::Datagram(peer, datagram)
    }

    /// Whether a session should be stored soon so that its numbers do not run out.
    pub fn runs_low(&self, id: SessionId) -> bool {
        self.get(id).is_some_and(|session| match &session.records {
            Records::Own(records) => {
                records.saving.is_none()
                    && records.write_limit.saturating_sub(records.next_write) < RESERVED_SEQUENCES / 2
            }
            Records::Library => false,
        })
    }

    /// Where the bound of sessions is reached, the one that was heard least lately goes, those without a device first.
    fn make_room(&mut self) {
        if self.table.len() < self.configuration.limits.max_sessions {
            return;
        }
        self.count(Occurrence::BoundReached("max_sessions"));
        let least = self.table.iter().min_by_key(|(id, session)| (!session.devices.is_empty(), session.heard_at, **id));
        if let Some(id) = least.map(|(id, _)| *id) {
            self.end(id, "max_sessions");
        }
    }

    fn forget_pending(&mut self, address: Address, session: SessionId) -> Option<Pending> {
        if self.pending.get(&address)?.session != session {
            return None;
        }
        let pending = self.pending.remove(&address)?;
        if let Some(connection_id) = pending.connection_id {
            self.by_connection_id.remove(&connection_id);
        }
        Some(pending)
    }

    /// Gives up handshakes that took too long; ends sessions that nobody uses. The sessions to store now.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<SessionId> {
        while let Some((deadline, address, session)) = self.deadlines.front().copied()
            && deadline <= now
        {
            self.deadlines.pop_front();
            if let Some(pending) = self.forget_pending(address, session) {
                // What was learnt of it comes back as its failure.
                self.actions.push_back(Action::Order(HandshakeOrder::Abandon { peer: pending.peer }));
            }
        }
        if self.sweep_at.is_none_or(|at| now < at) {
            return Vec::new();
        }
        if self.to_save.is_empty() {
            self.end_unused(now);
            self.to_save = self.dirty();
        }
        // In portions: a batch of all would fill the queue to the store, and devices would not be heard meanwhile.
        let rest = self.to_save.len().saturating_sub(MAX_SAVED_AT_ONCE);
        let portion = self.to_save.split_off(rest);
        let interval = self.configuration.lwm2m.sessions.save_interval;
        let next = if self.to_save.is_empty() { interval } else { SAVE_PAUSE.min(interval) };
        self.sweep_at = (!self.table.is_empty()).then(|| now + next);
        portion
    }

    /// Sessions that differ from what is stored, in the order of their numbers.
    pub(super) fn dirty(&self) -> Vec<SessionId> {
        let mut dirty: Vec<SessionId> =
            self.table.iter().filter(|(_, session)| session.dirty).map(|(id, _)| *id).collect();
        dirty.sort_unstable();
        dirty
    }

    fn end_unused(&mut self, now: Instant) {
        let configuration = &self.configuration;
        let unused = |session: &Session| {
            let timeout = match configuration.scope(session.peer.listener) {
                Scope::Server => configuration.lwm2m.sessions.unused_timeout,
                Scope::Bootstrap => BOOTSTRAP_UNUSED_TIMEOUT,
            };
            session.devices.is_empty() && now.saturating_since(session.heard_at) >= timeout
        };
        let mut ending: Vec<SessionId> =
            self.table.iter().filter(|(_, session)| unused(session)).map(|(id, _)| *id).collect();
        ending.sort_unstable();
        for id in ending {
            self.end(id, "unused");
        }
    }

    /// A device is reached by a session from now on.
    pub fn join(&mut self, id: SessionId, device: usize) {
        if let Some(session) = self.table.get_mut(&id)
            && !session.devices.contains(&device)
        {
            session.devices.push(device);
        }
    }

    /// A device is reached otherwise. A session without another device has nothing more to do where its peer is reached
    /// by another one.
    pub fn leave(&mut self, id: SessionId, device: usize, moved_on: bool) {
        let Some(session) = self.table.get_mut(&id) else { return };
        session.devices.retain(|known| *known != device);
        if moved_on && session.devices.is_empty() {
            self.end(id, "replaced");
        }
    }

    /// Notes that a session differs from what is stored; it is stored with the next sweep.
    pub(super) fn mark_dirty(&mut self, now: Instant, id: SessionId) {
        let interval = self.configuration.lwm2m.sessions.save_interval;
        if let Some(session) = self.table.get_mut(&id) {
            session.dirty = true;
            self.sweep_at.get_or_insert(now + interval);
        }
    }

    fn count(&mut self, occurrence: Occurrence) {
        self.actions.push_back(Action::Count(occurrence));
    }

    /// Random bytes that nothing outside the sessions draws from.
    pub(super) fn fill_random(&mut self, bytes: &mut [u8]) {
        self.random.fill_bytes(bytes);
    }

    /// A number that no session has: the first byte tells instances apart, as in every identifier handed out.
    fn new_session_id(&mut self) -> SessionId {
        loop {
            let id = SessionId(self.random.next_u64() >> 8);
            if !self.table.contains_key(&id) && self.pending.values().all(|pending| pending.session != id) {
                return id;
            }
        }
    }

    fn new_connection_id(&mut self) -> Option<ConnectionId> {
        let length = self.configuration.lwm2m.sessions.connection_id_bytes;
        loop {
            let mut bytes = [0; crate::protocol::dtls::connection_id::MAX_OWN_BYTES];
            // The first byte is that of this instance.
            let (_, rest) = bytes.split_first_mut()?;
            self.random.fill_bytes(rest);
            let id = ConnectionId::new(bytes.get(..length)?)?;
            if length < 3 || !self.by_connection_id.contains_key(&id) {
                return Some(id).filter(|id| !self.by_connection_id.contains_key(id));
            }
        }
    }
}
