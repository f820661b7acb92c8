//! The side of a device: what it sends goes through a session, which begins when there is something to send.
//!
//! # Flow
//! [`send`](DtlsClient::send) takes a datagram of the device, [`receive`](DtlsClient::receive) one of the network; then
//! drain [`poll_server`](DtlsClient::poll_server) and [`poll_device`](DtlsClient::poll_device); then wait until
//! [`next_deadline`](DtlsClient::next_deadline).
//!
//! ```text
//! ClientHello ─▶ ◀─ HelloVerifyRequest
//! ClientHello ─▶ ◀─ ServerHello, ServerHelloDone        or, resumed: ServerHello, ChangeCipherSpec, Finished
//! ClientKeyExchange, ChangeCipherSpec, Finished ─▶      ChangeCipherSpec, Finished ─▶
//!                ◀─ ChangeCipherSpec, Finished
//! ```
//!
//! # Invariants
//! A flight that is not answered is sent again with doubling waits (RFC 6347 section 4.2.4), in new records: no nonce is
//! used for two. While a handshake is under way at most [`MAX_WAITING_DATAGRAMS`] wait for its end.

use std::collections::VecDeque;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::secrets::{Randoms, Side, master_secret, session_keys, verify_data};
use super::wire::{self, ClientHello, Reassembly, Record, ServerHello, alert, content, message};
use crate::gateway::configuration::Transport;
use crate::model::credential::SecretBytes;
use crate::model::time::Instant;
use crate::protocol::dtls::keys::SessionKeys;
use crate::protocol::dtls::record::{self, PROTECTED_EPOCH};
use crate::protocol::dtls::suite::Suite;
use crate::simulator::account::{Account, Proof};
use crate::simulator::device::DeviceEvent;

/// Datagrams of the device that wait for the end of a handshake; more are lost.
pub const MAX_WAITING_DATAGRAMS: usize = 16;
/// TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746).
const RENEGOTIATION_INFO: u16 = 0x00ff;

/// How a device secures what it sends.
#[derive(Clone, Debug, PartialEq)]
pub struct DtlsScript {
    /// Identity of its key.
    pub identity: Vec<u8>,
    /// Its key.
    pub key: SecretBytes,
    /// Suites that it offers.
    pub suites: Vec<Suite>,
    /// What it wants to be called (RFC 9146); `None`: it knows no connection ids.
    pub connection_id: Option<Vec<u8>>,
    /// Whether it offers to resume its last session.
    pub resumes: bool,
    /// Longest piece of a handshake message in bytes.
    pub piece_bytes: usize,
    /// Wait before a flight is sent again for the first time.
    pub first_timeout: Duration,
    /// How often a flight is sent again before the handshake is given up.
    pub max_retransmit: u32,
}

impl DtlsScript {
    /// A client with a key, a connection id of no bytes, and the suite that all have.
    #[must_use]
    pub fn new(identity: impl Into<Vec<u8>>, key: &[u8]) -> Self {
        Self {
            identity: identity.into(),
            key: SecretBytes::new(key),
            suites: vec![Suite::PskAes128Ccm8],
            connection_id: Some(Vec::new()),
            resumes: false,
            piece_bytes: 1_200,
            first_timeout: Duration::from_secs(1),
            max_retransmit: 5,
        }
    }

    /// The same without connection ids.
    #[must_use]
    pub fn without_connection_id(mut self) -> Self {
        self.connection_id = None;
        self
    }
}

/// What happened to the session of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DtlsEvent {
    /// A session stands.
    Established {
        /// Whether it resumes an earlier one.
        resumed: bool,
        /// What the server calls it; empty without connection ids.
        connection_id: Vec<u8>,
    },
    /// The server sent a fatal alert or close_notify; the session or handshake is over.
    Ended {
        /// Description of the alert.
        alert: u8,
    },
    /// The server did not answer.
    TimedOut,
}

/// A session that can be resumed.
#[derive(Clone)]
struct Resumable {
    id: Vec<u8>,
    master: Vec<u8>,
}

/// Part of a flight.
#[derive(Clone)]
struct Part {
    /// Whether the new keys protect it.
    protected: bool,
    kind: u8,
    bytes: Vec<u8>,
}

/// What the ServerHello decided.
struct Chosen {
    suite: Suite,
    keys: Option<SessionKeys>,
    master: Vec<u8>,
    server_connection_id: Vec<u8>,
    session_id: Vec<u8>,
    resumed: bool,
    extended_master_secret: bool,
}

struct Handshaking {
    hello: ClientHello,
    randoms: Randoms,
    chosen: Option<Chosen>,
    /// Handshake messages that count for Finished.
    messages: Vec<u8>,
    next_message: u16,
    reassembly: Reassembly,
    /// Protected records that came before the keys are known.
    flight: Vec<Part>,
    timeout: Duration,
    deadline: Instant,
    retransmissions: u32,
    write_sequence: u64,
}

struct Session {
    suite: Suite,
    keys: SessionKeys,
    server_connection_id: Vec<u8>,
    write_sequence: u64,
    /// The last flight, where the client spoke last.
    last_flight: Vec<Part>,
}

/// The session of a device, beside the device.
pub struct DtlsClient {
    script: DtlsScript,
    rng: ChaCha8Rng,
    handshaking: Option<Box<Handshaking>>,
    session: Option<Box<Session>>,
    resumable: Option<Resumable>,
    /// Sequence number of the next record of epoch 0.
    sequence: u64,
    waiting: VecDeque<Vec<u8>>,
    to_server: VecDeque<Vec<u8>>,
    to_device: VecDeque<Vec<u8>>,
    events: VecDeque<DtlsEvent>,
}

impl std::fmt::Debug for DtlsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (handshaking, established) = (self.handshaking.is_some(), self.session.is_some());
        f.debug_struct("DtlsClient")
            .field("handshaking", &handshaking)
            .field("established", &established)
            .finish_non_exhaustive()
    }
}

impl DtlsClient {
    /// A client without session.
    #[must_use]
    pub fn new(script: DtlsScript, seed: u64) -> Self {
        Self {
            script,
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x6474_6c73),
            handshaking: None,
            session: None,
            resumable: None,
            sequence: 0,
            waiting: VecDeque::new(),
            to_server: VecDeque::new(),
            to_device: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// What a device needs to speak with a server that it was told of; `None`: it needs no session, or can have none.
    #[must_use]
    pub fn for_account(account: &Account, seed: u64) -> Option<Self> {
        match &account.proof {
            Proof::Psk { identity, key } if account.transport == Transport::Dtls => {
                let script = DtlsScript { resumes: true, ..DtlsScript::new(identity.as_slice(), key.expose()) };
                Some(Self::new(script, seed))
            }
            _ => None,
        }
    }

    /// What the client does from the next handshake on.
    pub fn script_mut(&mut self) -> &mut DtlsScript {
        &mut self.script
    }

    /// Whether a session stands.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        self.session.is_some()
    }

    /// The next datagram for the server.
    pub fn poll_server(&mut self) -> Option<Vec<u8>> {
        self.to_server.pop_front()
    }

    /// The next datagram for the device.
    pub fn poll_device(&mut self) -> Option<Vec<u8>> {
        self.to_device.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.handshaking.as_ref().map(|handshaking| handshaking.deadline)
    }

    /// Takes a datagram of the device.
    pub fn send(&mut self, now: Instant, datagram: Vec<u8>) {
        if let Some(record) = self.seal(content::APPLICATION_DATA, &datagram) {
            self.to_server.push_back(record);
            return;
        }
        if self.waiting.len() < MAX_WAITING_DATAGRAMS {
            self.waiting.push_back(datagram);
        }
        if self.handshaking.is_none() {
            self.begin(now);
        }
    }

    /// A protected record with the next sequence number, as the session would send it; `None` without session.
    pub fn seal(&mut self, kind: u8, plaintext: &[u8]) -> Option<Vec<u8>> {
        let session = self.session.as_mut()?;
        let sequence = session.write_sequence;
        session.write_sequence += 1;
        let id = &session.server_connection_id;
        Some(record::seal(&session.keys, PROTECTED_EPOCH, sequence, id, kind, plaintext))
    }

    /// Says close_notify and forgets the session, but for resuming it.
    pub fn close(&mut self) {
        if let Some(record) = self.seal(content::ALERT, &wire::alert_bytes(alert::CLOSE_NOTIFY)) {
            self.to_server.push_back(record);
        }
        self.forget();
    }

    /// Forgets the session without a word, but for resuming it.
    pub fn forget(&mut self) {
        self.session = None;
        self.handshaking = None;
        self.waiting.clear();
    }

    /// The device was switched off and on: everything is forgotten.
    pub fn reboot(&mut self) {
        self.forget();
        self.resumable = None;
        self.sequence = 0;
    }

    /// Follows what happened to the device: where nobody answers, the session may be one that the server does not have.
    pub fn follow(&mut self, event: &DeviceEvent) {
        match event {
            DeviceEvent::Restarted | DeviceEvent::PowerLost => self.reboot(),
            DeviceEvent::BootstrapFailed { .. }
            | DeviceEvent::UpdateFailed { code: None }
            | DeviceEvent::RegistrationFailed { code: None }
            | DeviceEvent::NotificationLost { .. } => self.forget(),
            _ => {}
        }
    }

    /// Begins a handshake, beside the session that may stand.
    pub fn begin(&mut self, now: Instant) {
        let mut random = [0; 32];
        self.rng.fill_bytes(&mut random);
        let resumable = self.resumable.as_ref().filter(|_| self.script.resumes);
        let hello = ClientHello {
            random,
            session_id: resumable.map(|resumable| resumable.id.clone()).unwrap_or_default(),
            cookie: Vec::new(),
            suites: self.script.suites.iter().map(|suite| suite.id()).chain([RENEGOTIATION_INFO]).collect(),
            connection_id: self.script.connection_id.clone(),
            extended_master_secret: true,
        };
        // Records of a new handshake begin anew, unless a session stands whose epoch goes on.
        if self.session.is_none() {
            self.sequence = 0;
        }
        let mut handshaking = Box::new(Handshaking {
            randoms: Randoms { client: random, server: [0; 32] },
            hello,
            chosen: None,
            messages: Vec::new(),
            next_message: 0,
            reassembly: Reassembly::default(),
            flight: Vec::new(),
            timeout: self.script.first_timeout,
            deadline: now,
            retransmissions: 0,
            write_sequence: 0,
        });
        handshaking.say_hello();
        self.handshaking = Some(handshaking);
        self.transmit_flight(now);
    }

    /// Does what time has come for.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(handshaking) = self.handshaking.as_mut().filter(|handshaking| handshaking.deadline <= now) else {
            return;
        };
        if handshaking.retransmissions >= self.script.max_retransmit {
            self.handshaking = None;
            self.waiting.clear();
            self.events.push_back(DtlsEvent::TimedOut);
            return;
        }
        handshaking.retransmissions += 1;
        handshaking.timeout = handshaking.timeout.saturating_mul(2);
        self.transmit_flight(now);
    }

    /// Takes a datagram of the network.
    pub fn receive(&mut self, now: Instant, datagram: &[u8]) {
        let id_bytes = self.script.connection_id.as_ref().map_or(0, Vec::len);
        let mut rest = datagram;
        while let Some(record) = wire::next_record(&mut rest, id_bytes) {
            match (record.epoch, record.content_type) {
                (0, content::HANDSHAKE) => self.hear_handshake(now, record.body),
                (0, content::ALERT) if self.handshaking.is_some() => self.hear_alert(record.body, true),
                (0, _) => {}
                _ => self.hear_protected(now, &record),
            }
        }
    }

    fn hear_protected(&mut self, now: Instant, record: &Record<'_>) {
        let chosen = self.handshaking.as_ref().and_then(|handshaking| handshaking.chosen.as_ref());
        if let Some(keys) = chosen.and_then(|chosen| chosen.keys.as_ref())
            && let Some((kind, plaintext)) = record::open(keys, record).ok()
        {
            match kind {
                content::HANDSHAKE => self.hear_handshake(now, &plaintext),
                content::ALERT => self.hear_alert(&plaintext, true),
                _ => {}
            }
            return;
        }
        let Some(session) = &self.session else { return };
        let Some((kind, plaintext)) = record::open(&session.keys, record).ok() else { return };
        match kind {
            content::APPLICATION_DATA => self.to_device.push_back(plaintext),
            content::ALERT => self.hear_alert(&plaintext, false),
            // The server's last flight again: it did not hear that of the client.
            content::HANDSHAKE => self.repeat_last_flight(),
            _ => {}
        }
    }

    fn hear_alert(&mut self, bytes: &[u8], in_handshake: bool) {
        let &[level, description] = bytes else { return };
        if level != 2 && description != alert::CLOSE_NOTIFY {
            return;
        }
        if in_handshake {
            self.handshaking = None;
            self.waiting.clear();
        } else {
            self.session = None;
        }
        self.events.push_back(DtlsEvent::Ended { alert: description });
    }

    fn hear_handshake(&mut self, now: Instant, bytes: &[u8]) {
        let Some(mut handshaking) = self.handshaking.take() else { return };
        handshaking.reassembly.take(bytes);
        let mut moved_on = false;
        while let Some(message) = handshaking.reassembly.next_message() {
            let whole = message.to_bytes();
            match message.kind {
                message::HELLO_VERIFY_REQUEST if handshaking.chosen.is_none() => {
                    let Some(cookie) = wire::cookie_of(&message.body) else { continue };
                    handshaking.hello.cookie = cookie.to_vec();
                    handshaking.say_hello();
                    moved_on = true;
                }
                message::SERVER_HELLO => {
                    let Some(hello) = ServerHello::parse(&message.body) else { continue };
                    handshaking.messages.extend_from_slice(&whole);
                    handshaking.choose(hello, self.resumable.as_ref());
                }
                message::SERVER_HELLO_DONE => {
                    handshaking.messages.extend_from_slice(&whole);
                    handshaking.exchange_key(&self.script);
                    moved_on = true;
                }
                message::FINISHED => {
                    if handshaking.is_right(&message.body) {
                        handshaking.messages.extend_from_slice(&whole);
                        self.finish(now, handshaking);
                    } else {
                        self.handshaking = Some(handshaking);
                    }
                    return;
                }
                _ => handshaking.messages.extend_from_slice(&whole),
            }
        }
        if moved_on {
            handshaking.timeout = self.script.first_timeout;
            handshaking.retransmissions = 0;
        }
        self.handshaking = Some(handshaking);
        if moved_on {
            self.transmit_flight(now);
        }
    }

    fn finish(&mut self, now: Instant, mut handshaking: Box<Handshaking>) {
        let resumed = handshaking.chosen.as_ref().is_some_and(|chosen| chosen.resumed);
        if resumed {
            handshaking.finish_flight();
        }
        self.handshaking = Some(handshaking);
        if resumed {
            self.transmit_flight(now);
        }
        let Some(handshaking) = self.handshaking.take() else { return };
        let Some(Chosen { suite, keys: Some(keys), master, server_connection_id, session_id, .. }) = handshaking.chosen
        else {
            return;
        };
        if !session_id.is_empty() {
            self.resumable = Some(Resumable { id: session_id, master });
        }
        self.events.push_back(DtlsEvent::Established { resumed, connection_id: server_connection_id.clone() });
        self.session = Some(Box::new(Session {
            suite,
            keys,
            server_connection_id,
            write_sequence: handshaking.write_sequence,
            last_flight: if resumed { handshaking.flight } else { Vec::new() },
        }));
        for datagram in std::mem::take(&mut self.waiting) {
            self.send(now, datagram);
        }
    }

    /// The suite of the session.
    #[must_use]
    pub fn suite(&self) -> Option<Suite> {
        self.session.as_ref().map(|session| session.suite)
    }

    fn transmit_flight(&mut self, now: Instant) {
        let Some(handshaking) = &mut self.handshaking else { return };
        handshaking.deadline = now + handshaking.timeout;
        let chosen = handshaking.chosen.as_ref();
        let keys = chosen.and_then(|chosen| Some((chosen.keys.as_ref()?, chosen.server_connection_id.as_slice())));
        let numbers = (&mut self.sequence, &mut handshaking.write_sequence);
        let datagrams = records(&handshaking.flight, keys, numbers, self.script.piece_bytes);
        self.to_server.extend(datagrams);
    }

    fn repeat_last_flight(&mut self) {
        let Some(session) = self.session.as_mut().filter(|session| !session.last_flight.is_empty()) else { return };
        let keys = Some((&session.keys, session.server_connection_id.as_slice()));
        let numbers = (&mut self.sequence, &mut session.write_sequence);
        let datagrams = records(&session.last_flight, keys, numbers, self.script.piece_bytes);
        self.to_server.extend(datagrams);
    }
}

/// A flight as datagrams, one for each piece of a ClientHello, else one.
fn records(
    flight: &[Part],
    keys: Option<(&SessionKeys, &[u8])>,
    (sequence, write_sequence): (&mut u64, &mut u64),
    piece_bytes: usize,
) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    let mut one = Vec::new();
    for part in flight {
        match keys.filter(|_| part.protected) {
            Some((keys, id)) => {
                one.extend(record::seal(keys, PROTECTED_EPOCH, *write_sequence, id, part.kind, &part.bytes));
                *write_sequence += 1;
            }
            None if part.kind == content::HANDSHAKE => {
                for piece in wire::fragmented(&part.bytes, piece_bytes) {
                    if !one.is_empty() && one.len() + piece.len() > piece_bytes {
                        datagrams.push(std::mem::take(&mut one));
                    }
                    one.extend(wire::plain(part.kind, *sequence, &piece));
                    *sequence += 1;
                }
            }
            None => {
                one.extend(wire::plain(part.kind, *sequence, &part.bytes));
                *sequence += 1;
            }
        }
    }
    datagrams.push(one);
    datagrams
}

impl Handshaking {
    fn number(&mut self) -> u16 {
        self.next_message += 1;
        self.next_message - 1
    }

    fn say_hello(&mut self) {
        let number = self.number();
        let message = wire::handshake(message::CLIENT_HELLO, number, &self.hello.to_bytes());
        // Neither a ClientHello that was refused nor the request behind it counts (RFC 6347 section 4.2.1).
        self.messages.clone_from(&message);
        self.flight = vec![Part { protected: false, kind: content::HANDSHAKE, bytes: message }];
    }

    fn choose(&mut self, hello: ServerHello, resumable: Option<&Resumable>) {
        self.randoms.server = hello.random;
        let Some(suite) = Suite::of_id(hello.suite) else { return };
        let same = |resumable: &&Resumable| {
            !hello.session_id.is_empty() && resumable.id == hello.session_id && self.hello.session_id == resumable.id
        };
        let resumed = resumable.filter(same);
        let master = resumed.map(|resumable| resumable.master.clone()).unwrap_or_default();
        let keys = resumed.map(|_| session_keys(suite, &master, &self.randoms, Side::Client));
        self.chosen = Some(Chosen {
            suite,
            keys,
            master,
            server_connection_id: hello
                .connection_id
                .filter(|_| self.hello.connection_id.is_some())
                .unwrap_or_default(),
            session_id: hello.session_id,
            resumed: resumed.is_some(),
            extended_master_secret: hello.extended_master_secret,
        });
    }

    fn exchange_key(&mut self, script: &DtlsScript) {
        let mut body = Vec::new();
        wire::put_long(&mut body, &script.identity);
        let number = self.number();
        let message = wire::handshake(message::CLIENT_KEY_EXCHANGE, number, &body);
        self.messages.extend_from_slice(&message);
        let Some(chosen) = &mut self.chosen else { return };
        let messages = chosen.extended_master_secret.then_some(self.messages.as_slice());
        chosen.master = master_secret(script.key.expose(), &self.randoms, messages);
        chosen.keys = Some(session_keys(chosen.suite, &chosen.master, &self.randoms, Side::Client));
        self.finish_flight();
        self.flight.insert(0, Part { protected: false, kind: content::HANDSHAKE, bytes: message });
    }

    /// The flight becomes ChangeCipherSpec and Finished.
    fn finish_flight(&mut self) {
        let Some(chosen) = &self.chosen else { return };
        let body = verify_data(&chosen.master, Side::Client, &self.messages);
        let number = self.number();
        let message = wire::handshake(message::FINISHED, number, &body);
        self.messages.extend_from_slice(&message);
        self.flight = vec![
            Part { protected: false, kind: content::CHANGE_CIPHER_SPEC, bytes: vec![1] },
            Part { protected: true, kind: content::HANDSHAKE, bytes: message },
        ];
    }

    fn is_right(&self, finished: &[u8]) -> bool {
        let Some(chosen) = &self.chosen else { return false };
        verify_data(&chosen.master, Side::Server, &self.messages) == finished
    }
}
