//! Handshakes between this server and the library's own client, over a path that loses, doubles and delays. The library
//! has no other clock than the system's: its timers are set to milliseconds, and where nothing else happens a test waits
//! until the first of them has run out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslContext, SslMethod, SslOptions, SslSession, SslVerifyMode};
use openssl::x509::extension::BasicConstraints;
use openssl::x509::{X509, X509NameBuilder};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;

use super::handshake::{Finished, Handshake, Opened, Progress};
use super::handshakes::Handshakes;
use crate::gateway::configuration::{Configuration, Transport};
use crate::gateway::handshakes::{HandshakeInput, HandshakeOrder, Resumable, TicketKey};
use crate::gateway::sessions::session::Session;
use crate::gateway::sessions::{Action, Sessions};
use crate::gateway::vocabulary::{Authenticated, Peer};
use crate::io::secure::context::{Carrier, SUITES, psk_client_context};
use crate::io::secure::identity::{ClientAuthentication, ServerIdentity};
use crate::io::secure::negotiation::Negotiation;
use crate::model::credential::{Identity, Proof, Scope, SecretBytes};
use crate::model::time::Instant;
use crate::protocol::dtls::record::{self, PROTECTED_EPOCH, content, split_first};

const SHORT: Duration = Duration::from_millis(4);
const KEY: &[u8] = b"0123456789abcdef";

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// A certificate for a name; `ends`: days from now.
fn certificate(name: &str, key: &PKey<Private>, issuer: Option<(&X509, &PKey<Private>)>, ends: i64) -> X509 {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    let subject = subject.build();
    let now = crate::io::clock::wall_now().millis() / 1_000;
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(issuer.map_or(&*subject, |(issuer, _)| issuer.subject_name())).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(now - 10 * 86_400).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(now + ends * 86_400).unwrap()).unwrap();
    builder.set_pubkey(key).unwrap();
    if issuer.is_none() {
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    }
    builder.sign(issuer.map_or(key, |(_, key)| key), MessageDigest::sha256()).unwrap();
    builder.build()
}

struct Authority {
    key: PKey<Private>,
    certificate: X509,
}

impl Authority {
    fn new() -> Self {
        let key = key();
        let certificate = certificate("authority", &key, None, 100);
        Self { key, certificate }
    }

    fn issue(&self, name: &str, ends: i64) -> (X509, PKey<Private>) {
        let key = key();
        (certificate(name, &key, Some((&self.certificate, &self.key)), ends), key)
    }
}

fn server_identity(authority: Option<&Authority>) -> ServerIdentity {
    let private_key = key();
    ServerIdentity {
        certificate: certificate("gateway", &private_key, None, 100),
        issuers: Vec::new(),
        raw_public_key: Some(private_key.clone()),
        private_key,
        trust: authority.map(|authority| authority.certificate.clone()).into_iter().collect(),
        client_authentication: ClientAuthentication::Required,
        certificate_name: "test".to_owned(),
    }
}

/// What happens to one datagram, counted over both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Drop(usize),
    Duplicate(usize),
    /// It comes behind its successor.
    Delay(usize),
}

struct World {
    sessions: Sessions,
    server: Handshakes,
    peer: Peer,
    now: Instant,
    fault: Fault,
    sent: usize,
    delayed: Option<(bool, Vec<u8>)>,
    to_server: VecDeque<Vec<u8>>,
    to_client: VecDeque<Vec<u8>>,
    messages: Vec<(Peer, Vec<u8>)>,
    failures: Vec<crate::gateway::handshakes::HandshakeFailure>,
    resumables: Vec<Resumable>,
    begun: Vec<Session>,
}

impl World {
    fn new(identity: ServerIdentity) -> Self {
        let configuration = Configuration { transports: vec![Transport::Dtls], ..Configuration::default() };
        let random = ChaCha8Rng::from_seed([7; 32]);
        let mut world = Self {
            sessions: Sessions::new(Instant::ZERO, Arc::new(configuration), random),
            server: Handshakes::new(identity, SHORT),
            peer: Peer { listener: 0, remote: SocketAddr::from(([127, 0, 0, 1], 40_000)), local: None, session: None },
            now: Instant::ZERO,
            fault: Fault::None,
            sent: 0,
            delayed: None,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            messages: Vec::new(),
            failures: Vec::new(),
            resumables: Vec::new(),
            begun: Vec::new(),
        };
        world.server.handle(HandshakeOrder::TicketKeys(vec![TicketKey([3; 80])]));
        world
    }

    fn admit(&mut self, proof: Proof, generation: u64) {
        self.server.handle(HandshakeOrder::Admit { scope: Scope::Server, proof, generation });
    }

    fn admit_psk(&mut self, identity: &[u8]) {
        self.admit(Proof::Psk { identity: identity.into(), key: SecretBytes::new(KEY) }, 5);
    }

    fn carry(&mut self, to_server: bool, datagram: Vec<u8>) {
        let number = self.sent;
        self.sent += 1;
        let queue = if to_server { &mut self.to_server } else { &mut self.to_client };
        match self.fault {
            Fault::Drop(at) if at == number => {}
            Fault::Delay(at) if at == number => self.delayed = Some((to_server, datagram)),
            fault => {
                if fault == Fault::Duplicate(number) {
                    queue.push_back(datagram.clone());
                }
                queue.push_back(datagram);
                self.release();
            }
        }
    }

    fn release(&mut self) {
        if let Some((to_server, datagram)) = self.delayed.take() {
            if to_server { self.to_server.push_back(datagram) } else { self.to_client.push_back(datagram) }
        }
    }

    /// Lets the server's side take everything that is there for it.
    fn serve(&mut self) {
        loop {
            if let Some(datagram) = self.to_server.pop_front() {
                self.sessions.handle_datagram(self.now, self.peer, &datagram);
            } else if let Some(input) = self.server.poll() {
                match input {
                    HandshakeInput::Resumable(resumable) => self.resumables.push(resumable),
                    input => self.sessions.handle_handshake(self.now, input),
                }
            } else {
                return;
            }
            while let Some(action) = self.sessions.poll_action() {
                match action {
                    Action::Order(order) => self.server.handle(order),
                    Action::Transmit { datagram, .. } => self.carry(false, datagram),
                    Action::Message { peer, plaintext } => self.messages.push((peer, plaintext)),
                    Action::Failed { failure, .. } => self.failures.push(failure),
                    Action::Begun { session, .. } => self.begun.push(self.sessions.get(session).unwrap().clone()),
                    Action::Moved { .. } | Action::Ended { .. } | Action::Count(_) => {}
                }
            }
        }
    }

    /// Brings a handshake to its end on both sides, or until nothing helps any more.
    fn shake_hands(&mut self, client: &mut Handshake) {
        let before = self.begun.len() + self.failures.len();
        for _ in 0..200 {
            while let Some(datagram) = client.poll_transmit() {
                self.carry(true, datagram);
            }
            self.serve();
            while let Some(datagram) = self.to_client.pop_front() {
                client.receive(&datagram);
            }
            let ended = matches!(client.progress(), Progress::Failed(_) | Progress::WrongKey)
                || !self.failures.is_empty()
                || (*client.progress() == Progress::Done && self.begun.len() + self.failures.len() > before);
            if ended && self.to_server.is_empty() {
                return;
            }
            let idle = self.to_server.is_empty() && self.to_client.is_empty();
            if idle {
                self.release();
                let timeouts = [client.timeout(), self.server.next_timeout()];
                wait(timeouts.into_iter().flatten().min().unwrap_or(SHORT));
                client.handle_timeout();
                self.server.handle_timeouts();
            }
        }
    }
}

/// Lets the library's clock go on.
fn wait(time: Duration) {
    let (_sender, receiver) = std::sync::mpsc::sync_channel::<()>(0);
    let _ = receiver.recv_timeout(time);
}

/// A client after its handshake.
struct Client {
    finished: Finished,
    id: Vec<u8>,
    peer_id: Vec<u8>,
}

impl Client {
    fn new(handshake: Handshake) -> Self {
        let negotiation = handshake.negotiation().unwrap();
        let peer_id = negotiation.peer_connection_id.get().cloned().unwrap_or_default();
        let id = negotiation.connection_id.clone().unwrap_or_default();
        Self { finished: handshake.finish(), id, peer_id }
    }

    fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let Some(keys) = &self.finished.keys else { return self.finished.library.seal(plaintext).unwrap() };
        let sequence = self.finished.next_write;
        self.finished.next_write += 1;
        record::seal(keys, PROTECTED_EPOCH, sequence, &self.peer_id, content::APPLICATION_DATA, plaintext)
    }

    fn open(&mut self, datagram: &[u8]) -> Vec<u8> {
        let Some(keys) = &self.finished.keys else {
            let Opened::Message(message) = self.finished.library.open(datagram) else { panic!("not a message") };
            return message;
        };
        let (record, _) = split_first(datagram, self.id.len()).unwrap();
        record::open(keys, &record).unwrap().1
    }
}

/// A message there and back.
fn echo(world: &mut World, client: &mut Client) {
    let before = world.messages.len();
    let datagram = client.seal(b"ping");
    world.to_server.push_back(datagram);
    world.serve();
    world.serve();
    let (peer, message) = world.messages.get(before).cloned().expect("the server opened the record");
    assert_eq!(message, b"ping");
    let session = peer.session.unwrap();
    let limit = u64::MAX;
    if let crate::gateway::sessions::session::Records::Own(records) =
        &mut world.sessions.get_mut(session).unwrap().records
    {
        records.write_limit = limit;
    }
    match world.sessions.seal(session, b"pong", |_| true) {
        crate::gateway::sessions::Sealed::Datagram(_, datagram) => world.to_client.push_back(datagram),
        crate::gateway::sessions::Sealed::Order(order) => {
            world.server.handle(order);
            world.serve();
        }
        other => panic!("{other:?}"),
    }
    let datagram = world.to_client.pop_back().unwrap();
    assert_eq!(client.open(&datagram), b"pong");
}

fn negotiation(connection_id: Option<&[u8]>) -> Negotiation {
    Negotiation { connection_id: connection_id.map(<[u8]>::to_vec), first_timeout: SHORT, ..Negotiation::default() }
}

fn psk_context(suites: &str, identity: &[u8], key: &[u8]) -> SslContext {
    let (identity, key) = (identity.to_vec(), key.to_vec());
    psk_client_context(Carrier::Datagrams, suites, move |_| Some((identity.clone(), key.clone()))).unwrap()
}

fn certificate_context(suites: &str, certificate: &X509, key: &PKey<Private>) -> SslContext {
    let mut context = SslContext::builder(SslMethod::dtls_client()).unwrap();
    context.set_cipher_list(&format!("{suites}:@SECLEVEL=0")).unwrap();
    context.set_options(SslOptions::NO_QUERY_MTU);
    context.set_verify(SslVerifyMode::NONE);
    context.set_certificate(certificate).unwrap();
    context.set_private_key(key).unwrap();
    context.build()
}

/// The three kinds of handshakes that every fault is tried with.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Psk,
    PskWithConnectionId,
    Certificate,
}

fn run(kind: Kind, fault: Fault) -> (World, Handshake) {
    let authority = Authority::new();
    let mut world = World::new(server_identity(Some(&authority)));
    world.admit_psk(b"node");
    world.fault = fault;
    let context = match kind {
        Kind::Psk | Kind::PskWithConnectionId => psk_context("PSK-AES128-CCM8", b"node", KEY),
        Kind::Certificate => {
            let (certificate, key) = authority.issue("node", 10);
            certificate_context("ECDHE-ECDSA-AES128-CCM8", &certificate, &key)
        }
    };
    let id: Option<&[u8]> = matches!(kind, Kind::PskWithConnectionId).then_some(b"me");
    let mut client = Handshake::connect(&context, negotiation(id), None).unwrap();
    world.shake_hands(&mut client);
    (world, client)
}

#[test]
fn every_single_datagram_may_be_lost_doubled_or_late_and_the_handshake_finishes() {
    for kind in [Kind::Psk, Kind::PskWithConnectionId, Kind::Certificate] {
        let (world, _) = run(kind, Fault::None);
        let datagrams = world.sent;
        assert!(datagrams >= 5, "{kind:?}: {datagrams} datagrams");
        for number in 0..datagrams {
            for fault in [Fault::Drop(number), Fault::Duplicate(number), Fault::Delay(number)] {
                let (mut world, client) = run(kind, fault);
                assert_eq!(*client.progress(), Progress::Done, "{kind:?} {fault:?} {:?}", world.failures);
                assert_eq!(world.begun.len(), 1, "{kind:?} {fault:?}");
                echo(&mut world, &mut Client::new(client));
            }
        }
    }
}

#[test]
fn every_suite_carries_messages() {
    let suites = SUITES.split(':').filter(|suite| !suite.starts_with('@'));
    let authority = Authority::new();
    for suite in suites {
        let mut world = World::new(server_identity(Some(&authority)));
        world.admit_psk(b"node");
        let context = if suite.contains("PSK") {
            psk_context(suite, b"node", KEY)
        } else {
            let (certificate, key) = authority.issue("node", 10);
            certificate_context(suite, &certificate, &key)
        };
        let mut client = Handshake::connect(&context, negotiation(None), None).unwrap();
        world.shake_hands(&mut client);
        assert_eq!(*client.progress(), Progress::Done, "{suite}: {:?}", world.failures);
        let mut client = Client::new(client);
        echo(&mut world, &mut client);
        echo(&mut world, &mut client);
    }
}

#[test]
fn an_identity_of_any_bytes_is_found_whole() {
    let mut world = World::new(server_identity(None));
    world.admit_psk(b"a\xff\xfe");
    let context = psk_context("PSK-AES128-CCM8", b"a\xff\xfe", KEY);
    let mut client = Handshake::connect(&context, negotiation(None), None).unwrap();
    world.shake_hands(&mut client);
    let identity = Identity::Psk(b"a\xff\xfe".as_slice().into());
    assert_eq!(*world.begun[0].who, Authenticated { identity, generation: 5 });
}

#[test]
fn a_peer_that_offers_an_empty_connection_id_gets_one_to_use_and_records_without() {
    let mut world = World::new(server_identity(None));
    world.admit_psk(b"node");
    let context = psk_context("PSK-AES128-CCM8", b"node", KEY);
    let mut client = Handshake::connect(&context, negotiation(Some(b"")), None).unwrap();
    world.shake_hands(&mut client);
    let mut client = Client::new(client);
    assert_eq!(client.peer_id.len(), 8);
    world.peer.remote.set_port(1_234);
    echo(&mut world, &mut client);
}

#[test]
fn an_unknown_identity_is_told_so_and_the_log_names_it_and_what_was_offered() {
    let mut world = World::new(server_identity(None));
    let context = psk_context("PSK-AES128-CCM8", b"stranger", KEY);
    let mut client = Handshake::connect(&context, negotiation(None), None).unwrap();
    world.shake_hands(&mut client);
    assert_eq!(world.failures[0].word, "unknown_identity");
    assert_eq!(world.failures[0].claimed.as_deref(), Some("stranger"));
    assert!(world.failures[0].detail.contains("TLS_PSK_WITH_AES_128_CCM_8"), "{}", world.failures[0].detail);
    let Progress::Failed(reason) = client.progress() else { panic!("{:?}", client.progress()) };
    assert!(reason.contains("unknown psk identity"), "{reason}");
}

#[test]
fn another_key_than_the_identity_has_is_told_apart_from_an_unknown_identity() {
    for id in [None, Some(&b"me"[..])] {
        let mut world = World::new(server_identity(None));
        world.admit_psk(b"node");
        let context = psk_context("PSK-AES128-CCM8", b"node", b"another key.....");
        let mut client = Handshake::connect(&context, negotiation(id), None).unwrap();
        world.shake_hands(&mut client);
        assert_eq!(world.failures[0].word, "wrong_key", "{:?}", world.failures);
        assert_eq!(world.failures[0].claimed.as_deref(), Some("node"));
    }
}

#[test]
fn a_former_key_works_from_the_second_try_on_while_it_counts() {
    let mut world = World::new(server_identity(None));
    world.admit_psk(b"node");
    world.admit(Proof::Psk { identity: b"node".as_slice().into(), key: SecretBytes::new(b"the new key") }, 6);
    let context = psk_context("PSK-AES128-CCM8", b"node", KEY);
    let mut client = Handshake::connect(&context, negotiation(None), None).unwrap();
    world.shake_hands(&mut client);
    assert_eq!(world.failures.pop().unwrap().word, "wrong_key");
    let mut client = Handshake::connect(&context, negotiation(None), None).unwrap();
    world.shake_hands(&mut client);
    assert_eq!(*client.progress(), Progress::Done, "{:?}", world.failures);
    assert_eq!(world.begun[0].who.generation, 5);
}

#[test]
fn no_common_suite_names_what_was_offered() {
    let mut world = World::new(server_identity(None));
    let context = psk_context("PSK-AES256-CCM8", b"node", KEY);
    let mut client = Handshake::connect(&context, negotiation(None), None).unwrap();
    world.shake_hands(&mut client);
    assert_eq!(world.failures[0].word, "no_common_suite");
    assert!(world.failures[0].detail.contains("0xc0a9"), "{}", world.failures[0].detail);
}

#[test]
fn certificates_are_taken_by_authority_or_as_they_are_and_refused_with_the_reason() {
    let authority = Authority::new();
    let tries = |world: &mut World, certificate: &X509, key: &PKey<Private>| {
        let context = certificate_context("ECDHE-ECDSA-AES128-GCM-SHA256", certificate, key);
        let mut client = Handshake::connect(&context, negotiation(None), None).unwrap();
        world.shake_hands(&mut client);
    };
    let mut world = World::new(server_identity(Some(&authority)));
    let (trusted, trusted_key) = authority.issue("node", 10);
    tries(&mut world, &trusted, &trusted_key);
    let Identity::Certificate(identity) = &world.begun[0].who.identity else { panic!() };
    assert_eq!((identity.trusted, identity.subject.as_str()), (true, "CN=node"));
    assert_eq!(identity.common_name.as_deref(), Some("node"));

    let (expired, expired_key) = authority.issue("node", -1);
    tries(&mut world, &expired, &expired_key);
    assert_eq!(world.failures.pop().unwrap().word, "expired_certificate");

    let stranger_key = key();
    let stranger = certificate("node", &stranger_key, None, 10);
    tries(&mut world, &stranger, &stranger_key);
    let failure = world.failures.pop().unwrap();
    assert_eq!(failure.word, "bad_certificate", "{failure:?}");
    assert!(failure.detail.contains("CN=node"), "{failure:?}");

    let fingerprint = stranger.digest(MessageDigest::sha256()).unwrap().as_ref().try_into().unwrap();
    world.admit(Proof::Certificate { fingerprint }, 9);
    tries(&mut world, &stranger, &stranger_key);
    assert!(world.failures.is_empty(), "{:?}", world.failures);
    let who = &world.begun.last().unwrap().who;
    let Identity::Certificate(identity) = &who.identity else { panic!() };
    assert_eq!((identity.trusted, who.generation), (false, 9));
}

#[test]
fn a_device_without_a_certificate_is_refused_where_one_is_required() {
    let mut world = World::new(server_identity(None));
    let mut context = SslContext::builder(SslMethod::dtls_client()).unwrap();
    context.set_cipher_list("ECDHE-ECDSA-AES128-GCM-SHA256").unwrap();
    context.set_options(SslOptions::NO_QUERY_MTU);
    context.set_verify(SslVerifyMode::NONE);
    let mut client = Handshake::connect(&context.build(), negotiation(None), None).unwrap();
    world.shake_hands(&mut client);
    assert_eq!(world.failures[0].word, "no_certificate", "{:?}", world.failures);
}

fn session_of(client: &Handshake) -> SslSession {
    client.ssl().session().unwrap().to_owned()
}

#[test]
fn a_session_is_resumed_by_ticket_and_by_id_also_by_a_server_that_starts_anew() {
    let identity = server_identity(None);
    for ticket in [true, false] {
        let mut world = World::new(identity.clone());
        world.admit_psk(b"node");
        let (node, key) = (b"node".to_vec(), KEY.to_vec());
        let context =
            psk_client_context(Carrier::Datagrams, "PSK-AES128-CCM8", move |_| Some((node.clone(), key.clone())))
                .unwrap();
        let context = if ticket {
            context
        } else {
            let mut builder = SslContext::builder(SslMethod::dtls_client()).unwrap();
            builder.set_cipher_list("PSK-AES128-CCM8:@SECLEVEL=0").unwrap();
            builder.set_options(SslOptions::NO_TICKET | SslOptions::NO_QUERY_MTU);
            builder.set_psk_client_callback(|_, _, identity, key| {
                identity[..5].copy_from_slice(b"node\0");
                key[..KEY.len()].copy_from_slice(KEY);
                Ok(KEY.len())
            });
            builder.build()
        };
        let mut client = Handshake::connect(&context, negotiation(None), None).unwrap();
        world.shake_hands(&mut client);
        let session = session_of(&client);
        assert_eq!(world.resumables.len(), usize::from(!ticket));
        drop(client);

        let resumables = std::mem::take(&mut world.resumables);
        let mut world = World::new(identity.clone());
        world.admit_psk(b"node");
        for resumable in resumables {
            world.server.handle(HandshakeOrder::Resumable(resumable));
        }
        let mut client = Handshake::connect(&context, negotiation(None), Some(&session)).unwrap();
        world.shake_hands(&mut client);
        assert!(client.ssl().session_reused(), "ticket: {ticket} {:?} {:?}", client.progress(), world.failures);
        assert_eq!(world.begun.len(), 1, "ticket: {ticket} {:?} {:?}", client.progress(), world.failures);
        assert_eq!(world.begun[0].who.identity, Identity::Psk(b"node".as_slice().into()));
        echo(&mut world, &mut Client::new(client));

        // With another key, the session of the former one is not resumed.
        let former = Proof::Psk { identity: b"node".as_slice().into(), key: SecretBytes::new(KEY) };
        world.server.handle(HandshakeOrder::Revoke { scope: Scope::Server, proof: former.clone() });
        world.admit(former, 6);
        let mut client = Handshake::connect(&context, negotiation(None), Some(&session)).unwrap();
        world.shake_hands(&mut client);
        assert_eq!(*client.progress(), Progress::Done);
        assert!(!client.ssl().session_reused(), "ticket: {ticket}");
    }
}

#[test]
fn a_resumed_handshake_survives_every_lost_datagram() {
    for number in 0..8 {
        let mut world = World::new(server_identity(None));
        world.admit_psk(b"node");
        let context = psk_context("PSK-AES128-CCM8", b"node", KEY);
        let mut client = Handshake::connect(&context, negotiation(Some(b"me")), None).unwrap();
        world.shake_hands(&mut client);
        let session = session_of(&client);
        drop(client);
        world.sent = 0;
        world.fault = Fault::Drop(number);
        let mut client = Handshake::connect(&context, negotiation(Some(b"me")), Some(&session)).unwrap();
        world.shake_hands(&mut client);
        assert!(client.ssl().session_reused());
        assert_eq!(world.begun.len(), 2, "datagram {number}");
        echo(&mut world, &mut Client::new(client));
    }
}
