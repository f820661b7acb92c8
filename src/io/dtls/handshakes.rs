//! All handshakes of the server: orders of the core in, what becomes of them out. Runs on a thread of its own; has no
//! other time than the library's timers.
//!
//! Bounds: the core says how many handshakes there are and how long each may take. [`MAX_LIBRARY_SESSIONS`] and
//! [`MAX_RESUMABLE`] are kept here; the oldest goes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{SslContext, SslSession, SslSessionRef};

use super::handshake::{Finished, Handshake, Opened, Progress};
use crate::gateway::handshakes::{Established, HandshakeFailure, HandshakeInput, HandshakeOrder, Resumable, TicketKey};
use crate::gateway::vocabulary::{Authenticated, Peer, SessionId};
use crate::io::clock::wall_now;
use crate::io::dtls_handshake::{session_data, set_session_data};
use crate::io::secure::attempts::Attempts;
use crate::io::secure::context::{Carrier, Face, server_context};
use crate::io::secure::identity::ServerIdentity;
use crate::io::secure::negotiation::{Negotiation, decode, encode};
use crate::io::secure::peer;
use crate::io::secure::proofs::Proofs;
use crate::model::credential::Scope;
use crate::protocol::dtls::hello::{ClientHello, Fragment, HelloStart};
use crate::protocol::dtls::record::{alert, plain_alert, split_first};

/// Sessions whose records the library keeps: about 72 KiB each.
pub const MAX_LIBRARY_SESSIONS: usize = 1_000;

/// Sessions that can be resumed by their id.
pub const MAX_RESUMABLE: usize = 20_000;

/// Alert of a peer whose key is another one.
const DECRYPT_ERROR: u8 = 51;

/// Sequence number of an alert that is not the library's: beyond those of its flights.
const ALERT_SEQUENCE: u64 = 1 << 20;

struct Running {
    session: SessionId,
    handshake: Handshake,
}

/// See the module.
pub struct Handshakes {
    identity: ServerIdentity,
    /// Contexts by what they show and which key of tickets they have.
    contexts: HashMap<(Face, Option<usize>), SslContext>,
    ticket_keys: Vec<TicketKey>,
    proofs: Arc<Proofs>,
    first_timeout: Duration,
    running: HashMap<Peer, Running>,
    /// Sessions whose records the library keeps, in the order of their beginnings.
    kept: BTreeMap<u64, (SessionId, Handshake)>,
    kept_by_session: HashMap<SessionId, u64>,
    next_kept: u64,
    /// As DER: a tenth of what the library's own form takes.
    resumable: HashMap<Vec<u8>, Box<[u8]>>,
    resumable_order: VecDeque<Vec<u8>>,
    /// How many keys back the next handshake of an identity begins, where the newest did not fit.
    attempts: Attempts,
    outputs: VecDeque<HandshakeInput>,
}

impl Handshakes {
    /// None yet. `first_timeout`: how long until a flight is repeated first.
    pub fn new(identity: ServerIdentity, first_timeout: Duration) -> Self {
        Self {
            identity,
            contexts: HashMap::new(),
            ticket_keys: Vec::new(),
            proofs: Arc::new(Proofs::default()),
            first_timeout,
            running: HashMap::new(),
            kept: BTreeMap::new(),
            kept_by_session: HashMap::new(),
            next_kept: 0,
            resumable: HashMap::new(),
            resumable_order: VecDeque::new(),
            attempts: Attempts::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Another identity, for handshakes that begin from now on.
    pub fn set_identity(&mut self, identity: ServerIdentity) {
        self.identity = identity;
        self.contexts.clear();
    }

    /// The next thing to tell.
    pub fn poll(&mut self) -> Option<HandshakeInput> {
        self.outputs.pop_front()
    }

    /// How long until [`Self::handle_timeouts`] is due.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.running.values().filter_map(|running| running.handshake.timeout()).min()
    }

    /// Repeats flights that were not answered.
    pub fn handle_timeouts(&mut self) {
        let due: Vec<Peer> = self
            .running
            .iter()
            .filter(|(_, running)| running.handshake.timeout().is_some_and(|left| left.is_zero()))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in due {
            if let Some(running) = self.running.get_mut(&peer) {
                running.handshake.handle_timeout();
            }
            self.settle(peer);
        }
    }

    /// Takes an order.
    pub fn handle(&mut self, order: HandshakeOrder) {
        match order {
            HandshakeOrder::Begin { peer, session, scope, hello, connection_id } => {
                let id = connection_id.map(|id| id.as_bytes().to_vec());
                self.begin(peer, session, scope, &hello, id);
            }
            HandshakeOrder::Continue { peer, datagram } => {
                if let Some(running) = self.running.get_mut(&peer) {
                    running.handshake.receive(&datagram);
                    self.settle(peer);
                }
            }
            HandshakeOrder::Abandon { peer } => {
                if let Some(running) = self.running.remove(&peer) {
                    self.try_another_key(&running.handshake);
                    let failure = given_up(running.handshake.negotiation());
                    let session = running.session;
                    self.outputs.push_back(HandshakeInput::Failed { peer, session, failure });
                }
            }
            HandshakeOrder::Admit { scope, proof, generation } => {
                Arc::make_mut(&mut self.proofs).admit(scope, proof, generation);
            }
            HandshakeOrder::Revoke { scope, proof } => Arc::make_mut(&mut self.proofs).revoke(scope, &proof),
            HandshakeOrder::TicketKeys(keys) => {
                self.ticket_keys = keys;
                self.contexts.clear();
            }
            HandshakeOrder::Resumable(resumable) => match SslSession::from_der(&resumable.state) {
                Ok(session) if !is_over(&session) => self.keep_resumable(resumable.id, &resumable.state),
                _ => self.outputs.push_back(HandshakeInput::NotResumable { id: resumable.id }),
            },
            HandshakeOrder::Seal { session, peer, plaintext } => {
                if let Some(datagram) = self.kept_session(session).and_then(|library| library.seal(&plaintext)) {
                    self.outputs.push_back(HandshakeInput::Transmit { peer, datagram });
                }
            }
            HandshakeOrder::Open { session, peer, record } => {
                match self.kept_session(session).map(|library| library.open(&record)) {
                    Some(Opened::Message(plaintext)) => {
                        self.outputs.push_back(HandshakeInput::Opened { session, peer, plaintext });
                    }
                    Some(Opened::Nothing) => {}
                    Some(Opened::Ended) => {
                        self.drop_kept(session);
                        self.outputs.push_back(HandshakeInput::Closed { session });
                    }
                    None => self.outputs.push_back(HandshakeInput::Closed { session }),
                }
            }
            HandshakeOrder::Drop { session } => self.drop_kept(session),
        }
    }

    fn begin(&mut self, peer: Peer, session: SessionId, scope: Scope, hello: &[u8], connection_id: Option<Vec<u8>>) {
        let body =
            split_first(hello, 0).and_then(|(record, _)| Fragment::split_first(record.body)).map(|(part, _)| part.body);
        let parsed = body.and_then(ClientHello::parse).unwrap_or_default();
        let start = body.and_then(HelloStart::parse);
        let face = if parsed.takes_raw_public_key && self.identity.raw_public_key.is_some() {
            Face::RawPublicKey
        } else {
            Face::Certificate
        };
        let ticket_key = parsed
            .ticket
            .as_deref()
            .and_then(|ticket| self.ticket_keys.iter().position(|key| ticket.starts_with(&key.0[..16])))
            .or_else(|| (!self.ticket_keys.is_empty()).then_some(0));
        let resumable = start
            .filter(|start| !start.session_id.is_empty())
            .and_then(|start| self.resumable.get(start.session_id))
            .and_then(|state| SslSession::from_der(state).ok())
            .filter(|session| self.may_resume(scope, session));
        let negotiation = Negotiation {
            scope,
            proofs: Arc::clone(&self.proofs),
            connection_id,
            resumable,
            first_timeout: self.first_timeout,
            attempts: self.attempts.clone(),
            offered: parsed.suites,
            ..Negotiation::default()
        };
        let begun = self.context(face, ticket_key).and_then(|context| Handshake::accept(&context, negotiation, hello));
        match begun {
            Ok(handshake) => {
                self.running.insert(peer, Running { session, handshake });
                self.settle(peer);
            }
            Err(error) => {
                let failure =
                    HandshakeFailure { word: "protocol", detail: format!("the TLS library: {error}"), claimed: None };
                self.outputs.push_back(HandshakeInput::Failed { peer, session, failure });
            }
        }
    }

    fn may_resume(&self, scope: Scope, session: &SslSession) -> bool {
        session_data(session).and_then(|data| decode(&data)).is_some_and(|who| self.proofs.is_current(scope, &who))
    }

    fn context(&mut self, face: Face, ticket_key: Option<usize>) -> Result<SslContext, ErrorStack> {
        if let Some(context) = self.contexts.get(&(face, ticket_key)) {
            return Ok(context.clone());
        }
        let key = ticket_key.and_then(|key| self.ticket_keys.get(key));
        let context = server_context(Carrier::Datagrams, face, &self.identity, key)?;
        self.contexts.insert((face, ticket_key), context.clone());
        Ok(context)
    }

    /// Sends what waits, and ends a handshake that is through or failed.
    fn settle(&mut self, peer: Peer) {
        let Some(running) = self.running.get_mut(&peer) else { return };
        let mut datagrams = Vec::new();
        while let Some(datagram) = running.handshake.poll_transmit() {
            datagrams.push(HandshakeInput::Transmit { peer, datagram });
        }
        match running.handshake.progress().clone() {
            Progress::Pending => self.outputs.extend(datagrams),
            Progress::Failed(reason) => {
                let failure = peer::failure(running.handshake.negotiation(), &reason);
                let session = running.session;
                self.running.remove(&peer);
                // The alert goes before the news of it.
                self.outputs.extend(datagrams);
                self.outputs.push_back(HandshakeInput::Failed { peer, session, failure });
            }
            Progress::WrongKey => {
                let failure = self.wrong_key(peer);
                self.outputs.extend(datagrams);
                self.outputs.extend(failure);
            }
            Progress::Done => {
                // The core has to know the session before its peer's first record can come.
                self.established(peer);
                self.outputs.extend(datagrams);
            }
        }
    }

    fn wrong_key(&mut self, peer: Peer) -> Option<HandshakeInput> {
        let running = self.running.remove(&peer)?;
        self.try_another_key(&running.handshake);
        let failure = peer::wrong_key(running.handshake.negotiation()?);
        let datagram = plain_alert(ALERT_SEQUENCE, alert::FATAL, DECRYPT_ERROR);
        self.outputs.push_back(HandshakeInput::Transmit { peer, datagram });
        Some(HandshakeInput::Failed { peer, session: running.session, failure })
    }

    /// An identity may have a former key for a while: the next handshake tries that one.
    fn try_another_key(&mut self, handshake: &Handshake) {
        let Some(negotiation) = handshake.negotiation() else { return };
        let Some((identity, _)) = negotiation.used_key.get() else { return };
        self.attempts.try_another(&self.proofs, negotiation.scope, identity);
    }

    fn established(&mut self, peer: Peer) {
        let Some(Running { session, handshake }) = self.running.remove(&peer) else { return };
        let who = handshake.negotiation().and_then(|negotiation| negotiation.authenticated(handshake.ssl()));
        let (Some(who), Some(suite)) = (who, handshake.suite()) else {
            let failure = HandshakeFailure {
                word: "credential_gone",
                detail: "the credential of the device was removed while it used it".to_owned(),
                claimed: None,
            };
            self.outputs.push_back(HandshakeInput::Failed { peer, session, failure });
            return;
        };
        let resumed = handshake.ssl().session_reused();
        if let Some(new_session) =
            handshake.negotiation().and_then(|negotiation| negotiation.new_session.get()).cloned()
        {
            self.tell_resumable(&new_session, &who);
        }
        let peer_connection_id = handshake
            .negotiation()
            .filter(|negotiation| negotiation.connection_id.is_some())
            .and_then(|negotiation| negotiation.peer_connection_id.get())
            .cloned();
        let Finished { keys, flight, next_write, newest_read, library } = handshake.finish();
        let established = Established {
            peer,
            session,
            identity: who.identity,
            generation: who.generation,
            suite,
            resumed,
            peer_connection_id: peer_connection_id.filter(|_| keys.is_some()),
            next_write_sequence: next_write,
            newest_read_sequence: newest_read,
            last_flight: if resumed { Vec::new() } else { flight },
            keys,
        };
        if established.keys.is_none() {
            self.keep(session, library);
        }
        self.outputs.push_back(HandshakeInput::Established(Box::new(established)));
    }

    fn tell_resumable(&mut self, session: &SslSessionRef, who: &Authenticated) {
        let id = session.id().to_vec();
        let Some(data) = encode(who).filter(|_| !id.is_empty()) else { return };
        if !set_session_data(session, &data) {
            return;
        }
        let Ok(state) = session.to_der() else { return };
        self.keep_resumable(id.clone(), &state);
        self.outputs.push_back(HandshakeInput::Resumable(Resumable { id, state }));
    }

    fn keep_resumable(&mut self, id: Vec<u8>, state: &[u8]) {
        if self.resumable.insert(id.clone(), state.into()).is_none() {
            self.resumable_order.push_back(id);
        }
        while self.resumable.len() > MAX_RESUMABLE
            && let Some(id) = self.resumable_order.pop_front()
        {
            self.resumable.remove(&id);
            self.outputs.push_back(HandshakeInput::NotResumable { id });
        }
    }

    fn keep(&mut self, session: SessionId, library: Handshake) {
        if self.kept.len() >= MAX_LIBRARY_SESSIONS
            && let Some((_, (oldest, _))) = self.kept.pop_first()
        {
            self.kept_by_session.remove(&oldest);
            self.outputs.push_back(HandshakeInput::Closed { session: oldest });
        }
        self.kept_by_session.insert(session, self.next_kept);
        self.kept.insert(self.next_kept, (session, library));
        self.next_kept += 1;
    }

    fn kept_session(&mut self, session: SessionId) -> Option<&mut Handshake> {
        let number = self.kept_by_session.get(&session)?;
        self.kept.get_mut(number).map(|(_, library)| library)
    }

    fn drop_kept(&mut self, session: SessionId) {
        if let Some(number) = self.kept_by_session.remove(&session) {
            self.kept.remove(&number);
        }
    }
}

/// Whether a session is too old to be resumed.
fn is_over(session: &SslSession) -> bool {
    let now = wall_now().millis() / 1_000;
    session.time().saturating_add(session.timeout()) < now
}

/// A handshake that took too long.
fn given_up(negotiation: Option<&Negotiation>) -> HandshakeFailure {
    let claimed = negotiation
        .and_then(|negotiation| negotiation.claimed.get())
        .map(|identity| crate::model::credential::shown_identity(identity).into());
    let detail = match negotiation {
        Some(negotiation) if negotiation.used_key.get().is_some() => {
            "the device did not finish its handshake in time: its key may be another one, or the network loses much"
        }
        _ => "the device did not finish its handshake in time",
    };
    HandshakeFailure { word: "timeout", detail: detail.to_owned(), claimed }
}
