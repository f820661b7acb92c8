//! Which session or handshake a datagram belongs to, and what its records hold.

use std::time::Duration;

use super::session::{MAX_FLIGHT_REPEATS, Records};
use super::{Action, Named, Pending, Sessions, address_of};
use crate::gateway::handshakes::HandshakeOrder;
use crate::gateway::vocabulary::{Peer, SessionId};
use crate::instrumentation::occurrence::Occurrence;
use crate::model::time::Instant;
use crate::protocol::dtls::connection_id::ConnectionId;
use crate::protocol::dtls::hello::{
    ClientHello, Fragment, HelloStart, Reassembly, hello_verify_request, message, whole_record,
};
use crate::protocol::dtls::record::{self, PROTECTED_EPOCH, Record, alert, content, plain_alert, split_first};

/// How long the secret of cookies lasts; the one before it counts too.
pub(super) const COOKIE_TURN: Duration = Duration::from_secs(60);

/// Datagrams of one handshake that are handed on; a certificate chain with every fragment sent ten times fits.
const MAX_HANDSHAKE_DATAGRAMS: usize = 256;

/// Records kept for the session that a handshake ends with; further ones are lost, and CoAP repeats them.
const MAX_EARLY_RECORDS: usize = 4;

impl Sessions {
    /// Takes a datagram that came to a DTLS listener.
    pub fn handle_datagram(&mut self, now: Instant, peer: Peer, datagram: &[u8]) {
        let id_bytes = self.configuration.lwm2m.sessions.connection_id_bytes;
        let mut rest = datagram;
        while let Some((record, following)) = split_first(rest, id_bytes) {
            if record.epoch == 0 && record.content_type != content::TLS12_CID {
                // What belongs to a handshake comes together, its Finished included.
                self.handle_first_epoch(now, peer, &record, rest);
                return;
            }
            if !self.handle_protected(now, peer, &record, rest) {
                return;
            }
            rest = following;
        }
        if !rest.is_empty() || datagram.is_empty() {
            self.count(Occurrence::RecordDropped("malformed"));
        }
    }

    /// Takes records that begin with one of the first epoch.
    fn handle_first_epoch(&mut self, now: Instant, peer: Peer, record: &Record<'_>, datagram: &[u8]) {
        let address = address_of(peer);
        if record.content_type == content::HANDSHAKE {
            let fragment = Fragment::split_first(record.body).map(|(fragment, _)| fragment);
            let Some(fragment) = fragment else {
                self.count(Occurrence::RecordDropped("malformed"));
                return;
            };
            if fragment.message_type == message::CLIENT_HELLO {
                self.handle_hello(now, peer, record, &fragment);
                return;
            }
        }
        if self.pending.contains_key(&address) {
            self.continue_handshake(peer, datagram);
            return;
        }
        // The last flight of the handshake was lost, and the peer repeats its own.
        let repeats_flight = matches!(record.content_type, content::HANDSHAKE | content::CHANGE_CIPHER_SPEC);
        let session = self.by_address.get(&address).copied();
        if !(repeats_flight && session.is_some_and(|session| self.repeat_flight(session))) {
            self.count(Occurrence::RecordDropped("no_handshake"));
        }
    }

    fn repeat_flight(&mut self, session: SessionId) -> bool {
        let Some(session) = self.table.get_mut(&session) else { return false };
        let (peer, Some(flight)) = (session.peer, &mut session.last_flight) else { return false };
        if flight.1 >= MAX_FLIGHT_REPEATS {
            return false;
        }
        flight.1 += 1;
        let datagrams = flight.0.iter().map(|datagram| Action::Transmit { peer, datagram: datagram.clone() });
        self.actions.extend(datagrams);
        true
    }

    fn continue_handshake(&mut self, peer: Peer, datagram: &[u8]) {
        let Some(pending) = self.pending.get_mut(&address_of(peer)) else { return };
        if pending.hello.is_some() || pending.datagrams >= MAX_HANDSHAKE_DATAGRAMS {
            self.count(Occurrence::RecordDropped("no_handshake"));
            return;
        }
        pending.datagrams += 1;
        let order = HandshakeOrder::Continue { peer: pending.peer, datagram: datagram.to_vec() };
        self.actions.push_back(Action::Order(order));
    }

    /// A ClientHello or a fragment of one. Its first fragment holds random and cookie.
    fn handle_hello(&mut self, now: Instant, peer: Peer, record: &Record<'_>, fragment: &Fragment<'_>) {
        let address = address_of(peer);
        if fragment.offset > 0 {
            self.add_to_hello(address, fragment);
            return;
        }
        let Some(start) = HelloStart::parse(fragment.body) else {
            self.count(Occurrence::RecordDropped("malformed"));
            return;
        };
        if self.cookies.turn_at <= now {
            self.cookies.turn_at = now + COOKIE_TURN;
            let mut secret = [0; 32];
            self.fill_random(&mut secret);
            self.cookies.secrets.turn(secret);
        }
        let secrets = &self.cookies.secrets;
        if !secrets.verify(peer.listener, peer.remote, &start.random, start.cookie) {
            let cookie = secrets.cookie(peer.listener, peer.remote, &start.random);
            let version_1_2 = self.configuration.lwm2m.sessions.hello_verify_1_2;
            let datagram = hello_verify_request(record.sequence, &cookie, version_1_2);
            self.count(Occurrence::HelloVerify);
            self.actions.push_back(Action::Transmit { peer, datagram });
            return;
        }
        if let Some(pending) = self.pending.get(&address) {
            if pending.random == start.random {
                // Repeated: the answer was lost.
                if pending.hello.is_some() {
                    self.add_to_hello(address, fragment);
                } else {
                    self.continue_handshake(peer, record.whole);
                }
                return;
            }
            let session = pending.session;
            self.forget_pending(address, session);
        }
        if self.pending.len() >= self.configuration.limits.max_handshakes {
            self.count(Occurrence::BoundReached("max_handshakes"));
            return;
        }
        if let Err(bound) = self.handshake_rate.take(now, peer.remote.ip()) {
            self.count(Occurrence::BoundReached(bound));
            return;
        }
        self.begin(now, peer, record, fragment, start.random);
    }

    fn begin(&mut self, now: Instant, peer: Peer, record: &Record<'_>, fragment: &Fragment<'_>, random: [u8; 32]) {
        let address = address_of(peer);
        let hello = if fragment.is_whole() {
            None
        } else {
            let Some(mut reassembly) = Reassembly::new(fragment) else {
                self.count(Occurrence::RecordDropped("malformed"));
                return;
            };
            reassembly.add(fragment);
            Some((record.sequence, reassembly))
        };
        let session = self.new_session_id();
        let whole = hello.is_none();
        let pending = Pending { peer, session, random, connection_id: None, hello, datagrams: 0, early: Vec::new() };
        self.pending.insert(address, pending);
        let deadline = now + self.configuration.lwm2m.sessions.handshake_timeout;
        self.deadlines.push_back((deadline, address, session));
        if whole {
            self.hand_over(address, fragment.body, record.whole.to_vec());
        }
    }

    /// A further fragment of a ClientHello whose first one came with its cookie.
    fn add_to_hello(&mut self, address: super::Address, fragment: &Fragment<'_>) {
        let reassembly = self.pending.get_mut(&address).and_then(|pending| pending.hello.as_mut());
        let Some((sequence, reassembly)) = reassembly else {
            self.count(Occurrence::RecordDropped("no_handshake"));
            return;
        };
        let (sequence, number) = (*sequence, reassembly.message_sequence);
        if let Some(body) = reassembly.add(fragment).map(<[u8]>::to_vec) {
            let record = whole_record(sequence, message::CLIENT_HELLO, number, &body);
            self.hand_over(address, &body, record);
        }
    }

    /// The ClientHello is whole.
    fn hand_over(&mut self, address: super::Address, body: &[u8], record: Vec<u8>) {
        let connection_id =
            ClientHello::parse(body).and_then(|hello| hello.connection_id).and_then(|_| self.new_connection_id());
        let Some(pending) = self.pending.get_mut(&address) else { return };
        pending.hello = None;
        pending.connection_id = connection_id;
        let (peer, session) = (pending.peer, pending.session);
        let scope = self.configuration.scope(peer.listener);
        if let Some(connection_id) = connection_id {
            self.by_connection_id.insert(connection_id, Named::Pending(address));
        }
        self.actions.push_back(Action::Order(HandshakeOrder::Begin {
            peer,
            session,
            scope,
            hello: record,
            connection_id,
        }));
    }

    /// Takes a record of a later epoch; `false` if it took the rest of the datagram with it.
    fn handle_protected(&mut self, now: Instant, peer: Peer, record: &Record<'_>, datagram: &[u8]) -> bool {
        let address = address_of(peer);
        let session = if record.content_type == content::TLS12_CID {
            let named = ConnectionId::new(record.connection_id).and_then(|id| self.by_connection_id.get(&id).copied());
            match named {
                Some(Named::Session(session)) => Some(session),
                Some(Named::Pending(of)) if of == address => {
                    // Only its keys tell a Finished from data.
                    self.keep_early(peer, record);
                    self.continue_handshake(peer, datagram);
                    return false;
                }
                Some(Named::Pending(_)) => {
                    self.count(Occurrence::RecordDropped("no_handshake"));
                    return true;
                }
                None => None,
            }
        } else {
            let session = self.by_address.get(&address).copied();
            if self.pending.contains_key(&address) && record.content_type == content::APPLICATION_DATA {
                // Of the session there is, or of the one to come: the keys will tell.
                self.keep_early(peer, record);
                if session.is_none() {
                    return true;
                }
            }
            // A Finished belongs to a handshake; so does everything where there is nothing else.
            if self.pending.contains_key(&address) && (record.content_type == content::HANDSHAKE || session.is_none()) {
                self.continue_handshake(peer, datagram);
                return false;
            }
            session.filter(|session| self.get(*session).is_some_and(|known| known.connection_id().is_none()))
        };
        match session {
            Some(session) => self.open(now, session, peer, record),
            None => self.refuse_unknown(peer, record),
        }
        true
    }

    fn keep_early(&mut self, peer: Peer, record: &Record<'_>) {
        let Some(pending) = self.pending.get_mut(&address_of(peer)) else { return };
        if pending.early.len() < MAX_EARLY_RECORDS {
            pending.early.push(record.whole.to_vec());
        } else {
            self.count(Occurrence::RecordDropped("early"));
        }
    }

    /// Takes the records that came for a session before it stood. The handshake has read up to `newest_read`.
    pub(super) fn take_early(&mut self, now: Instant, peer: Peer, newest_read: u64, records: &[Vec<u8>]) {
        let id_bytes = self.configuration.lwm2m.sessions.connection_id_bytes;
        for whole in records {
            if let Some((record, _)) = split_first(whole, id_bytes)
                && record.sequence > newest_read
            {
                self.handle_protected(now, peer, &record, whole);
            }
        }
    }

    /// A record of a session that is not known. Nobody but its peer could read an answer, and none could be protected.
    fn refuse_unknown(&mut self, peer: Peer, record: &Record<'_>) {
        self.count(Occurrence::RecordDropped("unknown_session"));
        if self.configuration.lwm2m.sessions.alert_unknown && record.content_type != content::ALERT {
            let datagram = plain_alert(0, alert::FATAL, alert::UNEXPECTED_MESSAGE);
            self.actions.push_back(Action::Transmit { peer, datagram });
        }
    }

    fn open(&mut self, now: Instant, id: SessionId, from: Peer, record: &Record<'_>) {
        let Some(session) = self.table.get_mut(&id) else { return };
        let records = match &mut session.records {
            Records::Own(records) => records,
            Records::Library => {
                let order = HandshakeOrder::Open { session: id, peer: from, record: record.whole.to_vec() };
                self.actions.push_back(Action::Order(order));
                return;
            }
        };
        let refused = if record.epoch != PROTECTED_EPOCH {
            Some("old_epoch")
        } else if records.window.may_be_new(record.sequence) {
            None
        } else {
            Some("replayed")
        };
        if let Some(reason) = refused {
            self.count(Occurrence::RecordDropped(reason));
            return;
        }
        let Ok((content_type, plaintext)) = record::open(&records.keys, record) else {
            self.count(Occurrence::RecordDropped("not_authentic"));
            return;
        };
        let newest = records.window.note(record.sequence);
        let has_id = records.connection_id.is_some();
        session.heard_at = now;
        if content_type != content::HANDSHAKE {
            session.last_flight = None;
        }
        let (former, here) = (address_of(session.peer), address_of(from));
        let moves = newest && has_id && former != here;
        if moves || former == here {
            session.peer = Peer { session: Some(id), ..from };
        }
        let peer = session.peer;
        if moves {
            if self.by_address.get(&former) == Some(&id) {
                self.by_address.remove(&former);
            }
            self.by_address.insert(here, id);
            self.count(Occurrence::SessionMoved);
            self.actions.push_back(Action::Moved { session: id });
        }
        self.mark_dirty(now, id);
        match (content_type, plaintext.as_slice()) {
            (content::APPLICATION_DATA, []) => {}
            (content::APPLICATION_DATA, _) => self.actions.push_back(Action::Message { peer, plaintext }),
            (content::ALERT, [_, alert::CLOSE_NOTIFY]) => self.close(id, "closed_by_peer"),
            (content::ALERT, [alert::FATAL, _]) => self.end(id, "fatal_alert"),
            (content::ALERT, [alert::WARNING, _]) => {}
            // The peer did not hear the end of the handshake.
            (content::HANDSHAKE, _) if self.repeat_flight(id) => {}
            _ => self.count(Occurrence::RecordDropped("unexpected")),
        }
    }
}
