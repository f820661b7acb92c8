//! Client and stand-in against each other, with a network between them that a test bends.

use std::net::SocketAddr;
use std::time::Duration;

use super::client::{DtlsClient, DtlsEvent, DtlsScript};
use super::handshakes::SimulatedHandshakes;
use super::wire::{self, content};
use crate::gateway::handshakes::{Established, HandshakeFailure, HandshakeInput, HandshakeOrder, Resumable};
use crate::gateway::vocabulary::{Peer, SessionId};
use crate::model::credential::{Identity, Proof, Scope, SecretBytes};
use crate::model::time::Instant;
use crate::protocol::dtls::connection_id::ConnectionId;
use crate::protocol::dtls::record::{self, PROTECTED_EPOCH};
use crate::protocol::dtls::suite::Suite;

const KEY: &[u8] = b"0123456789abcdef";
const COOKIE: &[u8] = b"cookie";

fn peer() -> Peer {
    Peer { listener: 2, remote: SocketAddr::from(([10, 0, 0, 9], 4_000)), local: None, session: None }
}

fn proof(key: &[u8]) -> Proof {
    Proof::Psk { identity: b"dev".as_slice().into(), key: SecretBytes::new(key) }
}

/// A client, a stand-in, and in place of the core what brings a cookie and orders.
struct Pair {
    client: DtlsClient,
    handshakes: SimulatedHandshakes,
    now: Instant,
    sessions: u64,
    established: Vec<Established>,
    failed: Vec<HandshakeFailure>,
    resumable: Vec<Resumable>,
    /// Each so-many-th datagram is lost.
    loses: Option<usize>,
    datagrams: usize,
    under_way: bool,
}

impl Pair {
    fn new(script: DtlsScript) -> Self {
        let mut pair = Self {
            client: DtlsClient::new(script, 1),
            handshakes: SimulatedHandshakes::new(2),
            now: Instant::from_secs(1),
            sessions: 0,
            established: Vec::new(),
            failed: Vec::new(),
            resumable: Vec::new(),
            loses: None,
            datagrams: 0,
            under_way: false,
        };
        pair.admit(KEY, 1);
        pair
    }

    fn admit(&mut self, key: &[u8], generation: u64) {
        self.handshakes.handle(HandshakeOrder::Admit { scope: Scope::Server, proof: proof(key), generation });
    }

    fn lost(&mut self) -> bool {
        self.datagrams += 1;
        self.loses.is_some_and(|every| self.datagrams.is_multiple_of(every))
    }

    fn send(&mut self, datagram: &[u8]) {
        self.client.send(self.now, datagram.to_vec());
        self.exchange();
    }

    /// Lets the handshake go on with its retransmissions, for a minute at most.
    fn exchange(&mut self) {
        let end = self.now + Duration::from_secs(60);
        loop {
            self.move_datagrams();
            let Some(deadline) = self.client.next_deadline().filter(|deadline| *deadline <= end) else { return };
            self.now = deadline;
            self.client.handle_timeout(self.now);
        }
    }

    fn move_datagrams(&mut self) {
        loop {
            let Some(datagram) = self.client.poll_server() else { return };
            if !self.lost() {
                self.serve(datagram);
            }
            while let Some(input) = self.handshakes.poll() {
                match input {
                    HandshakeInput::Transmit { datagram, .. } => {
                        if !self.lost() {
                            self.client.receive(self.now, &datagram);
                        }
                    }
                    HandshakeInput::Established(established) => {
                        self.under_way = false;
                        self.established.push(*established);
                    }
                    HandshakeInput::Failed { failure, .. } => {
                        self.under_way = false;
                        self.failed.push(failure);
                    }
                    HandshakeInput::Resumable(resumable) => self.resumable.push(resumable),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// What the core does with a datagram.
    fn serve(&mut self, datagram: Vec<u8>) {
        let mut rest = datagram.as_slice();
        let record = wire::next_record(&mut rest, 8).unwrap();
        let message = (record.epoch == 0 && record.content_type == content::HANDSHAKE)
            .then(|| wire::Handshake::parse(record.body))
            .flatten();
        if let Some(message) = message.filter(|message| message.kind == wire::message::CLIENT_HELLO) {
            let hello = wire::ClientHello::parse(&message.body).unwrap();
            if hello.cookie.is_empty() {
                let mut body = wire::VERSION.to_vec();
                body.push(COOKIE.len() as u8);
                body.extend_from_slice(COOKIE);
                let request = wire::handshake(wire::message::HELLO_VERIFY_REQUEST, 0, &body);
                if !self.lost() {
                    self.client.receive(self.now, &wire::plain(content::HANDSHAKE, record.sequence, &request));
                }
                return;
            }
            assert_eq!(hello.cookie, COOKIE);
            if !self.under_way {
                self.sessions += 1;
                self.under_way = true;
                let session = SessionId(self.sessions);
                let connection_id = ConnectionId::new(&[1, 2, 3, 4, 5, 6, 7, self.sessions as u8]);
                let hello = datagram;
                let scope = Scope::Server;
                self.handshakes.handle(HandshakeOrder::Begin { peer: peer(), session, scope, hello, connection_id });
                return;
            }
        }
        // A session that stands repeats its last flight.
        let last = self.established.last().filter(|_| !self.under_way && record.epoch == 0);
        if let Some(flight) = last.map(|established| established.last_flight.clone()) {
            for datagram in &flight {
                self.client.receive(self.now, datagram);
            }
            return;
        }
        self.handshakes.handle(HandshakeOrder::Continue { peer: peer(), datagram });
    }

    /// The newest session opens what the client sent last, and says something.
    fn talk(&mut self) {
        let established = self.established.last().unwrap();
        let keys = established.keys.as_ref().unwrap();
        let id = established.peer_connection_id.clone().unwrap_or_default();
        let own = if established.peer_connection_id.is_some() { 8 } else { 0 };
        let record = self.client.seal(content::APPLICATION_DATA, b"question").unwrap();
        let mut rest = record.as_slice();
        let record = wire::next_record(&mut rest, own).unwrap();
        assert_eq!(record.connection_id.len(), own);
        assert!(record.sequence > established.newest_read_sequence);
        assert_eq!(record::open(keys, &record).ok(), Some((content::APPLICATION_DATA, b"question".to_vec())));
        let sequence = established.next_write_sequence;
        let answer = record::seal(keys, PROTECTED_EPOCH, sequence, &id, content::APPLICATION_DATA, b"answer");
        self.client.receive(self.now, &answer);
        assert_eq!(self.client.poll_device().as_deref(), Some(b"answer".as_slice()));
    }
}

fn script() -> DtlsScript {
    DtlsScript::new("dev", KEY)
}

#[test]
fn a_session_stands_with_and_without_connection_ids_and_in_every_suite_with_keys() {
    for suite in [Suite::PskAes128Ccm8, Suite::PskAes128Ccm, Suite::PskAes128GcmSha256] {
        for connection_id in [None, Some(vec![]), Some(vec![7, 8, 9])] {
            let mut pair =
                Pair::new(DtlsScript { suites: vec![suite], connection_id: connection_id.clone(), ..script() });
            pair.send(b"hello");
            let [established] = &pair.established[..] else { panic!("{:?}", pair.failed) };
            assert_eq!(established.identity, Identity::Psk(b"dev".as_slice().into()));
            assert_eq!((established.suite, established.generation, established.resumed), (suite, 1, false));
            assert_eq!(established.peer_connection_id, connection_id);
            pair.talk();
        }
    }
}

#[test]
fn a_hello_in_pieces_is_put_together() {
    let message = wire::handshake(1, 3, &[5; 100]);
    let mut reassembly = wire::Reassembly::from(3);
    let pieces = wire::fragmented(&message, 40);
    assert_eq!(pieces.len(), 3);
    for piece in pieces.iter().rev() {
        assert_eq!(reassembly.next_message(), None);
        assert!(!reassembly.take(piece));
    }
    assert_eq!(reassembly.next_message().map(|message| message.to_bytes()), Some(message));
    assert!(reassembly.take(&pieces[0]));
}

#[test]
fn a_handshake_survives_the_loss_of_every_third_to_seventh_datagram() {
    for every in 3..8 {
        let mut pair = Pair::new(script());
        pair.loses = Some(every);
        pair.send(b"hello");
        assert!(pair.client.is_established(), "each {every}th is lost: {:?}", pair.failed);
        pair.talk();
    }
}

#[test]
fn who_is_not_known_or_has_another_key_fails_with_the_word_for_it() {
    for (script, word, alert) in [
        (DtlsScript::new("other", KEY), "unknown_identity", 115),
        (DtlsScript::new("dev", b"wrong"), "wrong_key", 51),
        (DtlsScript { suites: vec![Suite::EcdheEcdsaAes128Ccm8], ..script() }, "no_common_suite", 40),
    ] {
        let mut pair = Pair::new(script);
        pair.send(b"hello");
        assert_eq!(pair.failed.iter().map(|failure| failure.word).collect::<Vec<_>>(), [word]);
        assert_eq!(pair.client.poll_event(), Some(DtlsEvent::Ended { alert }));
        assert!(pair.established.is_empty());
    }
}

#[test]
fn a_session_is_resumed_as_long_as_its_credential_is_the_same_also_by_a_stand_in_that_was_told_of_it() {
    let mut pair = Pair::new(DtlsScript { resumes: true, ..script() });
    pair.send(b"hello");
    pair.client.forget();
    pair.send(b"again");
    assert!(pair.established[1].resumed);
    assert_eq!(pair.established[1].last_flight, Vec::<Vec<u8>>::new());
    pair.talk();

    let mut restarted = SimulatedHandshakes::new(3);
    pair.resumable.iter().cloned().for_each(|resumable| restarted.handle(HandshakeOrder::Resumable(resumable)));
    pair.handshakes = restarted;
    pair.admit(KEY, 1);
    pair.client.forget();
    pair.send(b"again");
    assert!(pair.established[2].resumed);

    pair.admit(KEY, 2);
    pair.client.forget();
    pair.send(b"again");
    assert!(!pair.established[3].resumed);
    assert_eq!(pair.established[3].generation, 2);
    pair.talk();
}

#[test]
fn a_resumed_session_stands_though_the_last_flight_of_the_client_was_lost() {
    let mut pair = Pair::new(DtlsScript { resumes: true, ..script() });
    pair.send(b"hello");
    pair.client.forget();
    // Both hellos and two answers, then the flight of the client with its data behind it.
    pair.datagrams = 0;
    pair.loses = Some(5);
    pair.send(b"again");
    pair.loses = None;
    pair.send(b"more");
    assert!(pair.established.len() == 2 && pair.established[1].resumed, "{:?}", pair.established);
}

#[test]
fn an_old_key_counts_beside_the_new_one_until_it_is_revoked() {
    let mut pair = Pair::new(script());
    pair.admit(b"a new key", 2);
    pair.send(b"hello");
    assert_eq!(pair.established[0].generation, 1);
    pair.handshakes.handle(HandshakeOrder::Revoke { scope: Scope::Server, proof: proof(KEY) });
    pair.client.forget();
    pair.send(b"hello");
    assert_eq!(pair.failed[0].word, "wrong_key");
    pair.client.script_mut().key = SecretBytes::new(b"a new key");
    pair.send(b"hello");
    assert_eq!(pair.established[1].generation, 2);
}

#[test]
fn records_of_a_suite_with_cbc_are_sealed_and_opened_by_the_stand_in() {
    let mut pair =
        Pair::new(DtlsScript { suites: vec![Suite::PskAes128CbcSha256], ..script() }.without_connection_id());
    pair.send(b"hello");
    assert!(pair.established[0].keys.is_none());
    let (session, peer) = (SessionId(1), peer());
    let record = pair.client.seal(content::APPLICATION_DATA, b"question").unwrap();
    pair.handshakes.handle(HandshakeOrder::Open { session, peer, record: record.clone() });
    // The same again is a replay.
    pair.handshakes.handle(HandshakeOrder::Open { session, peer, record });
    pair.handshakes.handle(HandshakeOrder::Seal { session, peer, plaintext: b"answer".to_vec() });
    let Some(HandshakeInput::Opened { plaintext, .. }) = pair.handshakes.poll() else { panic!() };
    assert_eq!(plaintext, b"question");
    let Some(HandshakeInput::Transmit { datagram, .. }) = pair.handshakes.poll() else { panic!() };
    pair.client.receive(pair.now, &datagram);
    assert_eq!(pair.client.poll_device().as_deref(), Some(b"answer".as_slice()));
    pair.client.close();
    let record = pair.client.poll_server().unwrap();
    pair.handshakes.handle(HandshakeOrder::Open { session, peer, record });
    assert!(matches!(pair.handshakes.poll(), Some(HandshakeInput::Closed { .. })));
}
