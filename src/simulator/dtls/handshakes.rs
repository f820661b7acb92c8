//! A stand-in for the worker with the TLS library: orders of the core in, what became of them out.
//!
//! It knows pre-shared keys alone. It has no clock: a flight is sent again when the device shows that it did not hear
//! it, and the core says when a handshake took too long. The same seed and orders give the same inputs.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::secrets::{Randoms, Side, master_secret, session_keys, verify_data};
use super::wire::{self, ClientHello, Handshake, Reassembly, Record, ServerHello, alert, content, message};
use crate::gateway::handshakes::{Established, HandshakeFailure, HandshakeInput, HandshakeOrder, Resumable};
use crate::gateway::vocabulary::{Peer, SessionId};
use crate::model::credential::{Identity, Proof, Scope, SecretBytes, shown_identity};
use crate::protocol::dtls::connection_id::ConnectionId;
use crate::protocol::dtls::keys::SessionKeys;
use crate::protocol::dtls::record::{self, PROTECTED_EPOCH};
use crate::protocol::dtls::suite::{Protection, Suite, shown_suite};

/// Sessions that can be resumed; beyond it the one with the lowest id is forgotten.
pub const MAX_RESUMABLE: usize = 10_000;
/// Suites with a pre-shared key, the best first.
const SUITES: [Suite; 4] =
    [Suite::PskAes128Ccm8, Suite::PskAes128GcmSha256, Suite::PskAes128Ccm, Suite::PskAes128CbcSha256];
/// Number of the ServerHello behind a HelloVerifyRequest.
const FIRST_MESSAGE: u16 = 1;

/// What a resumed session goes on with.
#[derive(Clone, PartialEq, Eq)]
struct Earlier {
    scope: Scope,
    suite: Suite,
    generation: u64,
    identity: Vec<u8>,
    master: Vec<u8>,
}

/// A key that counts, and which state of its credential it is.
type Known = (SecretBytes, u64);

/// A key that the peer may have, and what follows from it.
struct Candidate {
    generation: u64,
    master: Vec<u8>,
    keys: SessionKeys,
}

struct UnderWay {
    peer: Peer,
    session: SessionId,
    scope: Scope,
    randoms: Randoms,
    suite: Suite,
    connection_id: Option<ConnectionId>,
    peer_connection_id: Option<Vec<u8>>,
    session_id: Vec<u8>,
    extended_master_secret: bool,
    resumed: bool,
    identity: Vec<u8>,
    candidates: Vec<Candidate>,
    messages: Vec<u8>,
    reassembly: Reassembly,
    /// Handshake messages of the flight, and whether a protected Finished is behind them.
    flight: Vec<u8>,
    finished: Option<Vec<u8>>,
    sequence: u64,
    write_sequence: u64,
}

/// A session whose records stay here.
struct Kept {
    keys: SessionKeys,
    write_sequence: u64,
    newest_read: u64,
    last_flight: Vec<u8>,
}

/// The stand-in.
pub struct SimulatedHandshakes {
    rng: ChaCha8Rng,
    keys: BTreeMap<(Scope, Vec<u8>), Vec<Known>>,
    under_way: BTreeMap<(u16, SocketAddr), UnderWay>,
    earlier: BTreeMap<Vec<u8>, Earlier>,
    kept: BTreeMap<SessionId, Kept>,
    inputs: VecDeque<HandshakeInput>,
}

impl std::fmt::Debug for SimulatedHandshakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedHandshakes").field("under_way", &self.under_way.len()).finish_non_exhaustive()
    }
}

impl SimulatedHandshakes {
    /// Nothing is under way and nobody is known.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            keys: BTreeMap::new(),
            under_way: BTreeMap::new(),
            earlier: BTreeMap::new(),
            kept: BTreeMap::new(),
            inputs: VecDeque::new(),
        }
    }

    /// Handshakes under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether no handshake is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// What the core is told next.
    pub fn poll(&mut self) -> Option<HandshakeInput> {
        self.inputs.pop_front()
    }

    /// Takes an order.
    pub fn handle(&mut self, order: HandshakeOrder) {
        match order {
            HandshakeOrder::Begin { peer, session, scope, hello, connection_id } => {
                self.under_way.remove(&(peer.listener, peer.remote));
                self.begin(peer, session, scope, &hello, connection_id);
            }
            HandshakeOrder::Continue { peer, datagram } => self.go_on(peer, &datagram),
            HandshakeOrder::Abandon { peer } => {
                let Some(under_way) = self.under_way.remove(&(peer.listener, peer.remote)) else { return };
                let detail = "the device did not finish its handshake in time".to_owned();
                let failure = HandshakeFailure { word: "timeout", detail, claimed: under_way.claimed() };
                self.inputs.push_back(HandshakeInput::Failed { peer, session: under_way.session, failure });
            }
            HandshakeOrder::Admit { scope, proof: Proof::Psk { identity, key }, generation } => {
                let known = self.keys.entry((scope, identity.to_vec())).or_default();
                known.retain(|(other, _)| *other != key);
                known.insert(0, (key, generation));
            }
            HandshakeOrder::Revoke { scope, proof: Proof::Psk { identity, key } } => {
                let place = (scope, identity.to_vec());
                if let Some(known) = self.keys.get_mut(&place) {
                    known.retain(|(other, _)| *other != key);
                    if known.is_empty() {
                        self.keys.remove(&place);
                    }
                }
            }
            HandshakeOrder::Resumable(Resumable { id, state }) => {
                if let Some(earlier) = Earlier::from_bytes(&state) {
                    self.earlier.insert(id, earlier);
                }
            }
            HandshakeOrder::Seal { session, peer, plaintext } => {
                let Some(kept) = self.kept.get_mut(&session) else { return };
                let datagram = kept.seal(content::APPLICATION_DATA, &plaintext);
                self.inputs.push_back(HandshakeInput::Transmit { peer, datagram });
            }
            HandshakeOrder::Open { session, peer, record } => self.open_kept(session, peer, &record),
            HandshakeOrder::Drop { session } => {
                self.kept.remove(&session);
            }
            // No other proofs and no tickets are simulated.
            HandshakeOrder::Admit { .. } | HandshakeOrder::Revoke { .. } | HandshakeOrder::TicketKeys(_) => {}
        }
    }

    fn begin(
        &mut self,
        peer: Peer,
        session: SessionId,
        scope: Scope,
        hello: &[u8],
        connection_id: Option<ConnectionId>,
    ) {
        let mut rest = hello;
        let record = wire::next_record(&mut rest, 0);
        let message = record.and_then(|record| Handshake::parse(record.body));
        let parsed = message.as_ref().and_then(|message| ClientHello::parse(&message.body));
        let (Some(message), Some(hello)) = (message, parsed) else {
            self.fail(peer, session, alert::HANDSHAKE_FAILURE, "protocol", "the ClientHello cannot be read", None);
            return;
        };
        let Some(suite) = SUITES.into_iter().find(|suite| hello.suites.contains(&suite.id())) else {
            let offered: Vec<String> = hello.suites.iter().map(|suite| shown_suite(*suite)).collect();
            let detail = format!("it offers {}", offered.join(", "));
            self.fail(peer, session, alert::HANDSHAKE_FAILURE, "no_common_suite", &detail, None);
            return;
        };
        let mut randoms = Randoms { client: hello.random, server: [0; 32] };
        self.rng.fill_bytes(&mut randoms.server);
        let earlier = self.earlier.get(&hello.session_id).filter(|earlier| {
            let known = self.keys.get(&(scope, earlier.identity.clone()));
            let same = |(_, generation): &Known| *generation == earlier.generation;
            earlier.scope == scope && earlier.suite == suite && known.is_some_and(|known| known.iter().any(same))
        });
        let mut session_id = hello.session_id.clone();
        if earlier.is_none() {
            session_id = vec![0; 32];
            self.rng.fill_bytes(&mut session_id);
        }
        // Where the TLS library keeps the records there are no connection ids.
        let named = hello.connection_id.is_some() && suite.protection() != Protection::Cbc;
        let connection_id = connection_id.filter(|_| named);
        let mut under_way = UnderWay {
            peer,
            session,
            scope,
            randoms,
            suite,
            connection_id,
            peer_connection_id: hello.connection_id.filter(|_| connection_id.is_some()),
            session_id: session_id.clone(),
            extended_master_secret: hello.extended_master_secret && earlier.is_none(),
            resumed: earlier.is_some(),
            identity: earlier.map(|earlier| earlier.identity.clone()).unwrap_or_default(),
            candidates: Vec::new(),
            messages: message.to_bytes(),
            reassembly: Reassembly::from(message.sequence.wrapping_add(1)),
            flight: Vec::new(),
            finished: None,
            sequence: record.map_or(0, |record| record.sequence),
            write_sequence: 0,
        };
        let server_hello = ServerHello {
            random: randoms.server,
            session_id,
            suite: suite.id(),
            connection_id: connection_id.map(|id| id.as_bytes().to_vec()),
            extended_master_secret: under_way.extended_master_secret,
        };
        under_way.say(message::SERVER_HELLO, FIRST_MESSAGE, &server_hello.to_bytes());
        if let Some(earlier) = earlier {
            let keys = session_keys(suite, &earlier.master, &randoms, Side::Server);
            let body = verify_data(&earlier.master, Side::Server, &under_way.messages);
            let finished = wire::handshake(message::FINISHED, FIRST_MESSAGE + 1, &body);
            under_way.messages.extend_from_slice(&finished);
            under_way.finished = Some(finished);
            let (generation, master) = (earlier.generation, earlier.master.clone());
            under_way.candidates = vec![Candidate { generation, master, keys }];
        } else {
            under_way.say(message::SERVER_HELLO_DONE, FIRST_MESSAGE + 1, &[]);
        }
        let datagram = under_way.flight_again();
        self.inputs.push_back(HandshakeInput::Transmit { peer, datagram });
        self.under_way.insert((peer.listener, peer.remote), under_way);
    }

    fn go_on(&mut self, peer: Peer, datagram: &[u8]) {
        let Some(mut under_way) = self.under_way.remove(&(peer.listener, peer.remote)) else { return };
        let id_bytes = under_way.connection_id.map_or(0, |id| id.as_bytes().len());
        let (mut rest, mut repeats) = (datagram, false);
        while let Some(record) = wire::next_record(&mut rest, id_bytes) {
            match (record.epoch, record.content_type) {
                (0, content::HANDSHAKE) => {
                    repeats |= under_way.reassembly.take(record.body);
                    while let Some(message) = under_way.reassembly.next_message() {
                        if message.kind == message::CLIENT_KEY_EXCHANGE && !under_way.resumed {
                            let Some(identity) = wire::long_field(&message.body) else { continue };
                            under_way.messages.extend_from_slice(&message.to_bytes());
                            if !self.look_up(&mut under_way, identity) {
                                return;
                            }
                        }
                    }
                }
                (0, content::ALERT) => {
                    let detail = "the peer ended the handshake by an alert".to_owned();
                    let failure = HandshakeFailure { word: "alert", detail, claimed: under_way.claimed() };
                    let session = under_way.session;
                    self.inputs.push_back(HandshakeInput::Failed { peer, session, failure });
                    return;
                }
                (1, content::HANDSHAKE | content::TLS12_CID)
                    if !under_way.candidates.is_empty() && !under_way.is_data(&record) =>
                {
                    self.finish(under_way, &record);
                    return;
                }
                // Data before Finished: the peer is done, and we did not hear it.
                (1, _) => repeats = true,
                _ => {}
            }
        }
        if repeats {
            let datagram = under_way.flight_again();
            self.inputs.push_back(HandshakeInput::Transmit { peer, datagram });
        }
        self.under_way.insert((peer.listener, peer.remote), under_way);
    }

    /// Takes the identity of the peer; false if nobody has it.
    fn look_up(&mut self, under_way: &mut UnderWay, identity: &[u8]) -> bool {
        under_way.identity = identity.to_vec();
        let Some(known) = self.keys.get(&(under_way.scope, identity.to_vec())) else {
            let (peer, session, claimed) = (under_way.peer, under_way.session, under_way.claimed());
            let detail = "no credential has this identity";
            self.fail(peer, session, alert::UNKNOWN_PSK_IDENTITY, "unknown_identity", detail, claimed);
            return false;
        };
        let messages = under_way.extended_master_secret.then_some(under_way.messages.as_slice());
        let candidates = known.iter().map(|(key, generation)| {
            let master = master_secret(key.expose(), &under_way.randoms, messages);
            let keys = session_keys(under_way.suite, &master, &under_way.randoms, Side::Server);
            Candidate { generation: *generation, master, keys }
        });
        under_way.candidates = candidates.collect();
        true
    }

    /// Takes the record that has to be the peer's Finished.
    fn finish(&mut self, mut under_way: UnderWay, record: &Record<'_>) {
        let (peer, session) = (under_way.peer, under_way.session);
        let opens = |candidate: &Candidate| record::open(&candidate.keys, record).is_ok();
        let candidate = under_way.candidates.iter().position(opens).map(|at| under_way.candidates.swap_remove(at));
        let Some(candidate) = candidate else {
            let detail = "the peer has another key";
            self.fail(peer, session, alert::DECRYPT_ERROR, "wrong_key", detail, under_way.claimed());
            return;
        };
        let opened = record::open(&candidate.keys, record).ok();
        let message = opened.and_then(|(_, plaintext)| Handshake::parse(&plaintext));
        let right = verify_data(&candidate.master, Side::Client, &under_way.messages);
        let Some(message) = message.filter(|message| message.kind == message::FINISHED && message.body == right) else {
            let detail = "the peer's Finished does not fit what was said";
            self.fail(peer, session, alert::DECRYPT_ERROR, "protocol", detail, under_way.claimed());
            return;
        };
        if under_way.resumed {
            self.establish(under_way, candidate.generation, candidate.keys, record.sequence, Vec::new());
            return;
        }
        under_way.messages.extend_from_slice(&message.to_bytes());
        let body = verify_data(&candidate.master, Side::Server, &under_way.messages);
        under_way.flight.clear();
        under_way.finished = Some(wire::handshake(message::FINISHED, FIRST_MESSAGE + 2, &body));
        let Candidate { generation, master, keys } = candidate;
        let datagram = under_way.flight(&keys);
        let (scope, suite, identity) = (under_way.scope, under_way.suite, under_way.identity.clone());
        self.remember(under_way.session_id.clone(), Earlier { scope, suite, generation, identity, master });
        // The core has to know the session before its peer's first record can come.
        self.establish(under_way, generation, keys, record.sequence, vec![datagram.clone()]);
        self.inputs.push_back(HandshakeInput::Transmit { peer, datagram });
    }

    fn establish(
        &mut self,
        under_way: UnderWay,
        generation: u64,
        keys: SessionKeys,
        newest_read_sequence: u64,
        last_flight: Vec<Vec<u8>>,
    ) {
        let UnderWay { peer, session, suite, resumed, identity, peer_connection_id, write_sequence, .. } = under_way;
        let kept = suite.protection() == Protection::Cbc;
        if kept {
            let newest_read = newest_read_sequence;
            let last_flight = last_flight.concat();
            self.kept.insert(session, Kept { keys: keys.clone(), write_sequence, newest_read, last_flight });
        }
        self.inputs.push_back(HandshakeInput::Established(Box::new(Established {
            peer,
            session,
            identity: Identity::Psk(identity.into()),
            generation,
            suite,
            resumed,
            keys: (!kept).then_some(keys),
            peer_connection_id,
            next_write_sequence: write_sequence,
            newest_read_sequence,
            last_flight,
        })));
    }

    fn remember(&mut self, id: Vec<u8>, earlier: Earlier) {
        let state = earlier.to_bytes();
        self.earlier.insert(id.clone(), earlier);
        self.inputs.push_back(HandshakeInput::Resumable(Resumable { id, state }));
        if self.earlier.len() > MAX_RESUMABLE
            && let Some((id, _)) = self.earlier.pop_first()
        {
            self.inputs.push_back(HandshakeInput::NotResumable { id });
        }
    }

    fn fail(
        &mut self,
        peer: Peer,
        session: SessionId,
        description: u8,
        word: &'static str,
        detail: &str,
        claimed: Option<Arc<str>>,
    ) {
        let datagram = wire::plain(content::ALERT, u64::from(u16::MAX), &wire::alert_bytes(description));
        self.inputs.push_back(HandshakeInput::Transmit { peer, datagram });
        let failure = HandshakeFailure { word, detail: detail.to_owned(), claimed };
        self.inputs.push_back(HandshakeInput::Failed { peer, session, failure });
    }

    fn open_kept(&mut self, session: SessionId, peer: Peer, bytes: &[u8]) {
        let Some(kept) = self.kept.get_mut(&session) else { return };
        let mut rest = bytes;
        // Such sessions have no connection ids.
        let Some(record) = wire::next_record(&mut rest, 0) else { return };
        if record.epoch == 0 && record.content_type == content::HANDSHAKE {
            let datagram = kept.last_flight.clone();
            self.inputs.push_back(HandshakeInput::Transmit { peer, datagram });
            return;
        }
        if record.epoch != 1 || record.sequence <= kept.newest_read {
            return;
        }
        let Some((kind, plaintext)) = record::open(&kept.keys, &record).ok() else { return };
        kept.newest_read = record.sequence;
        match kind {
            content::APPLICATION_DATA => self.inputs.push_back(HandshakeInput::Opened { session, peer, plaintext }),
            content::ALERT => {
                self.kept.remove(&session);
                self.inputs.push_back(HandshakeInput::Closed { session });
            }
            _ => {}
        }
    }
}

impl UnderWay {
    fn claimed(&self) -> Option<Arc<str>> {
        (!self.identity.is_empty()).then(|| shown_identity(&self.identity).into())
    }

    /// Whether a record holds something else than handshake messages, which may be hidden by a connection id.
    fn is_data(&self, record: &Record<'_>) -> bool {
        let opened = |candidate: &Candidate| record::open(&candidate.keys, record).ok();
        self.candidates.iter().find_map(opened).is_some_and(|(kind, _)| kind != content::HANDSHAKE)
    }

    fn say(&mut self, kind: u8, number: u16, body: &[u8]) {
        let message = wire::handshake(kind, number, body);
        self.messages.extend_from_slice(&message);
        self.flight.extend_from_slice(&message);
    }

    /// The flight in new records; its Finished has the keys of the only candidate.
    fn flight_again(&mut self) -> Vec<u8> {
        match self.candidates.first().map(|candidate| candidate.keys.clone()) {
            Some(keys) => self.flight(&keys),
            None => self.plain_flight(),
        }
    }

    fn plain_flight(&mut self) -> Vec<u8> {
        if self.flight.is_empty() {
            return Vec::new();
        }
        self.sequence += 1;
        wire::plain(content::HANDSHAKE, self.sequence - 1, &self.flight)
    }

    fn flight(&mut self, keys: &SessionKeys) -> Vec<u8> {
        let mut datagram = self.plain_flight();
        if let Some(finished) = &self.finished {
            datagram.extend(wire::plain(content::CHANGE_CIPHER_SPEC, self.sequence, &[1]));
            self.sequence += 1;
            let id = self.peer_connection_id.as_deref().unwrap_or_default();
            let number = self.write_sequence;
            datagram.extend(record::seal(keys, PROTECTED_EPOCH, number, id, content::HANDSHAKE, finished));
            self.write_sequence += 1;
        }
        datagram
    }
}

impl Kept {
    fn seal(&mut self, kind: u8, plaintext: &[u8]) -> Vec<u8> {
        self.write_sequence += 1;
        record::seal(&self.keys, PROTECTED_EPOCH, self.write_sequence - 1, &[], kind, plaintext)
    }
}

impl Earlier {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.scope == Scope::Bootstrap)];
        bytes.extend_from_slice(&self.suite.id().to_be_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        wire::put_long(&mut bytes, &self.identity);
        bytes.extend_from_slice(&self.master);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (scope, rest) = bytes.split_first()?;
        let (suite, rest) = rest.split_first_chunk::<2>()?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let identity = wire::long_field(rest)?.to_vec();
        let master = rest.get(2 + identity.len()..)?.to_vec();
        Some(Self {
            scope: if *scope == 1 { Scope::Bootstrap } else { Scope::Server },
            suite: Suite::of_id(u16::from_be_bytes(*suite))?,
            generation: u64::from_be_bytes(*generation),
            identity,
            master,
        })
    }
}
