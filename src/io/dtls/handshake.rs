//! One handshake: datagrams in, datagrams out, until there are keys. For both roles; the client's is for simulated
//! devices.
//!
//! The library knows no connection ids. It negotiates them as a foreign extension, and what they change is done here
//! (RFC 9146 section 5): a protected record that comes with an id is opened and handed on as one without; one that leaves
//! is wrapped the other way round. Both need the keys of the session, which are derived from the master secret as soon
//! as that is there.
//!
//! ```text
//! peer ─ tls12_cid record ─▶ open ─▶ seal without id ─▶ library ─▶ open ─▶ seal with id ─▶ peer
//! ```

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, ShutdownState, Ssl, SslContext, SslRef, SslSession, SslStream};

use crate::io::dtls_handshake as library;
use crate::io::secure::negotiation::Negotiation;
use crate::io::secure::peer;
use crate::protocol::dtls::hello::{Fragment, message};
use crate::protocol::dtls::keys::SessionKeys;
use crate::protocol::dtls::record::{self, PROTECTED_EPOCH, Record, content, split_first};
use crate::protocol::dtls::suite::{Protection, Suite};

/// Longest datagram of a handshake: every IPv6 path carries 1,280 bytes with 48 of headers.
const MTU_BYTES: u32 = 1_232;

/// Protected records that came before the keys were there, at most.
const MAX_EARLY_RECORDS: usize = 4;

/// Datagrams between this side and the library. A read gives one whole datagram.
#[derive(Debug, Default)]
struct Pipe {
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
}

impl Read for Pipe {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let Some(datagram) = self.incoming.pop_front() else { return Err(io::ErrorKind::WouldBlock.into()) };
        let length = datagram.len().min(room.len());
        for (to, from) in room.iter_mut().zip(&datagram) {
            *to = *from;
        }
        Ok(length)
    }
}

impl Write for Pipe {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.outgoing.push_back(datagram.to_vec());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a handshake stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Pending,
    /// It is through.
    Done,
    /// It failed: what the library says.
    Failed(String),
    /// The peer's Finished does not open with the keys of its identity.
    WrongKey,
}

/// What a record held that the library opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A message.
    Message(Vec<u8>),
    /// Nothing, or it does not authenticate.
    Nothing,
    /// The peer ended the session.
    Ended,
}

/// See the module.
pub struct Handshake {
    stream: SslStream<Pipe>,
    server: bool,
    keys: Option<SessionKeys>,
    /// Records with an id that came before the keys were there.
    early: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
    /// Datagrams of the flight that left last.
    flight: Vec<Vec<u8>>,
    /// Whether the next datagram to leave begins another flight.
    heard: bool,
    next_write: u64,
    newest_read: u64,
    /// Finished messages that did not open.
    unreadable: u32,
    progress: Progress,
}

impl Handshake {
    /// Begins as server, with a ClientHello whose cookie was verified.
    ///
    /// # Errors
    /// If the library has no room.
    pub fn accept(context: &SslContext, negotiation: Negotiation, hello: &[u8]) -> Result<Self, ErrorStack> {
        let mut handshake = Self::new(context, negotiation, true)?;
        handshake.stream.get_mut().incoming.push_back(hello.to_vec());
        if library::listen(handshake.stream.ssl()) {
            handshake.drive();
        } else {
            handshake.progress = Progress::Failed(peer::told(&ErrorStack::get()));
        }
        Ok(handshake)
    }

    /// Begins as client.
    ///
    /// # Errors
    /// If the library has no room.
    pub fn connect(
        context: &SslContext,
        negotiation: Negotiation,
        resumed: Option<&SslSession>,
    ) -> Result<Self, ErrorStack> {
        let mut handshake = Self::new(context, negotiation, false)?;
        if let Some(session) = resumed {
            handshake.resume(session)?;
        }
        handshake.drive();
        Ok(handshake)
    }

    fn new(context: &SslContext, negotiation: Negotiation, server: bool) -> Result<Self, ErrorStack> {
        let mut ssl = Ssl::new(context)?;
        negotiation.attach(&mut ssl)?;
        ssl.set_mtu(MTU_BYTES)?;
        let stream = SslStream::new(ssl, Pipe::default())?;
        library::set_timer::<Negotiation>(stream.ssl());
        Ok(Self {
            stream,
            server,
            keys: None,
            early: VecDeque::new(),
            outgoing: VecDeque::new(),
            flight: Vec::new(),
            heard: true,
            next_write: 0,
            newest_read: 0,
            unreadable: 0,
            progress: Progress::Pending,
        })
    }

    fn resume(&mut self, session: &SslSession) -> Result<(), ErrorStack> {
        library::set_session(self.stream.ssl(), session)
    }

    /// What it had to go by, and learnt.
    pub fn negotiation(&self) -> Option<&Negotiation> {
        Negotiation::of(self.stream.ssl())
    }

    /// The library's state, to ask it.
    pub fn ssl(&self) -> &SslRef {
        self.stream.ssl()
    }

    /// How it stands.
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    /// The flight that left last.
    pub fn last_flight(&self) -> &[Vec<u8>] {
        &self.flight
    }

    /// How long until the flight is repeated.
    pub fn timeout(&self) -> Option<Duration> {
        (self.progress == Progress::Pending).then(|| library::timeout(self.stream.ssl())).flatten()
    }

    /// Repeats the flight if it is time.
    pub fn handle_timeout(&mut self) {
        self.heard = true;
        if self.progress == Progress::Pending && !library::repeat_flight(self.stream.ssl()) {
            self.progress = Progress::Failed("the peer answered no repetition".to_owned());
        }
        self.collect();
    }

    /// Takes a datagram of the peer.
    pub fn receive(&mut self, datagram: &[u8]) {
        self.heard = true;
        let id_bytes =
            self.negotiation().and_then(|negotiation| negotiation.connection_id.as_ref()).map_or(0, Vec::len);
        let mut plain = Vec::new();
        let mut rest = datagram;
        while let Some((record, following)) = split_first(rest, id_bytes) {
            if record.epoch == 0 && record.content_type == content::HANDSHAKE {
                self.note_identity(record.body);
            }
            if record.content_type == content::TLS12_CID || record.epoch == PROTECTED_EPOCH {
                self.feed(std::mem::take(&mut plain));
                self.take_protected(&record);
            } else {
                plain.extend_from_slice(record.whole);
            }
            rest = following;
        }
        self.feed(plain);
        while self.keys().is_some()
            && let Some(early) = self.early.pop_front()
        {
            if let Some((record, _)) = split_first(&early, id_bytes) {
                self.take_protected(&record);
            }
        }
    }

    fn feed(&mut self, datagram: Vec<u8>) {
        if !datagram.is_empty() {
            self.stream.get_mut().incoming.push_back(datagram);
            self.drive();
        }
    }

    /// The identity in a ClientKeyExchange, all of it: with PSK suites it begins the message.
    fn note_identity(&self, mut body: &[u8]) {
        while let Some((fragment, rest)) = Fragment::split_first(body) {
            if fragment.message_type == message::CLIENT_KEY_EXCHANGE && fragment.is_whole() {
                let identity = fragment.body.split_first_chunk::<2>().and_then(|(length, rest)| {
                    rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).map(|(identity, _)| identity)
                });
                if let (Some(identity), Some(negotiation)) = (identity, self.negotiation()) {
                    // A repetition says the same.
                    let _ = negotiation.claimed.set(identity.to_vec());
                }
            }
            body = rest;
        }
    }

    /// A record of the protected epoch: a Finished, or data that came before the handshake was through here.
    fn take_protected(&mut self, record: &Record<'_>) {
        let with_id = record.content_type == content::TLS12_CID;
        if self.keys().is_none() {
            if !with_id {
                // A suite whose records the library keeps, or a record that came early: it sorts that out.
                self.feed(record.whole.to_vec());
            } else if self.early.len() < MAX_EARLY_RECORDS {
                self.early.push_back(record.whole.to_vec());
            }
            return;
        }
        let Some(keys) = self.keys.clone() else { return };
        let Ok((content_type, plaintext)) = record::open(&keys, record) else {
            self.unreadable += 1;
            // One may be forged or damaged; the peer's own repetition is not.
            if self.unreadable > 1 && self.progress == Progress::Pending {
                self.progress = Progress::WrongKey;
            }
            return;
        };
        if content_type == content::APPLICATION_DATA {
            // The core keeps that for the session.
            return;
        }
        self.newest_read = self.newest_read.max(record.sequence);
        if with_id {
            let peers = mirrored(&keys);
            self.feed(record::seal(&peers, record.epoch, record.sequence, &[], content_type, &plaintext));
        } else {
            self.feed(record.whole.to_vec());
        }
    }

    fn drive(&mut self) {
        if self.progress == Progress::Pending {
            let result = if self.server { self.stream.accept() } else { self.stream.connect() };
            match result {
                Ok(()) => self.progress = Progress::Done,
                Err(error) if error.code() == ErrorCode::WANT_READ || error.code() == ErrorCode::WANT_WRITE => {}
                Err(error) => {
                    self.progress = Progress::Failed(error.ssl_error().map_or_else(|| error.to_string(), peer::told));
                }
            }
        } else if self.progress == Progress::Done {
            // The peer repeats its flight: the library answers with its own when it is asked for data.
            let _ = self.stream.ssl_read(&mut [0]);
        }
        self.collect();
    }

    /// Takes what the library wrote.
    fn collect(&mut self) {
        while let Some(datagram) = self.stream.get_mut().outgoing.pop_front() {
            let datagram = self.wrapped(&datagram);
            if std::mem::take(&mut self.heard) {
                self.flight.clear();
            }
            self.flight.push(datagram.clone());
            self.outgoing.push_back(datagram);
        }
    }

    /// A datagram of the library with the peer's connection id where it belongs.
    fn wrapped(&mut self, datagram: &[u8]) -> Vec<u8> {
        let peer_id = self
            .negotiation()
            .filter(|negotiation| negotiation.connection_id.is_some())
            .and_then(|negotiation| negotiation.peer_connection_id.get())
            .cloned()
            .unwrap_or_default();
        let mut out = Vec::with_capacity(datagram.len() + 16);
        let mut rest = datagram;
        while let Some((record, following)) = split_first(rest, 0) {
            let protected = record.epoch == PROTECTED_EPOCH;
            if protected {
                self.next_write = self.next_write.max(record.sequence + 1);
            }
            let keys = if protected && !peer_id.is_empty() { self.keys().cloned() } else { None };
            let opened = keys.and_then(|keys| Some((record::open(&mirrored(&keys), &record).ok()?, keys)));
            match opened {
                Some(((content_type, plaintext), keys)) => {
                    let (epoch, sequence) = (record.epoch, record.sequence);
                    out.extend(record::seal(&keys, epoch, sequence, &peer_id, content_type, &plaintext));
                }
                None => out.extend_from_slice(record.whole),
            }
            rest = following;
        }
        out
    }

    /// The keys of the session, once both sides have the master secret; `None` also for suites without an AEAD.
    fn keys(&mut self) -> Option<&SessionKeys> {
        if self.keys.is_none() {
            self.keys = self.derive();
        }
        self.keys.as_ref()
    }

    fn derive(&self) -> Option<SessionKeys> {
        let ssl = self.stream.ssl();
        let suite = self.suite().filter(|suite| suite.protection() != Protection::Cbc)?;
        let mut master = [0; 48];
        if ssl.session()?.master_key(&mut master) != master.len() {
            return None;
        }
        let (mut client, mut server) = ([0; 32], [0; 32]);
        ssl.client_random(&mut client);
        ssl.server_random(&mut server);
        // A client that wants to resume has a master secret before anything is agreed.
        if server == [0; 32] {
            return None;
        }
        Some(SessionKeys::derive(suite, &master, &client, &server, self.server))
    }

    /// The suite that was agreed.
    pub fn suite(&self) -> Option<Suite> {
        let [high, low] = self.stream.ssl().current_cipher()?.protocol_id();
        Suite::of_id(u16::from_be_bytes([high, low]))
    }

    /// What remains of a handshake that is through, to protect records with.
    pub fn finish(mut self) -> Finished {
        let keys = self.keys().cloned();
        let flight = std::mem::take(&mut self.flight);
        Finished { keys, flight, next_write: self.next_write, newest_read: self.newest_read, library: self }
    }

    /// Protects a message by the library.
    pub fn seal(&mut self, plaintext: &[u8]) -> Option<Vec<u8>> {
        self.stream.ssl_write(plaintext).ok()?;
        self.stream.get_mut().outgoing.pop_back()
    }

    /// Opens a record by the library.
    pub fn open(&mut self, record: &[u8]) -> Opened {
        self.stream.get_mut().incoming.push_back(record.to_vec());
        let mut message = vec![0; record.len()];
        match self.stream.ssl_read(&mut message) {
            Ok(length) => {
                message.truncate(length);
                Opened::Message(message)
            }
            Err(error) if error.code() == ErrorCode::WANT_READ => Opened::Nothing,
            Err(_) => Opened::Ended,
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        if self.progress == Progress::Done {
            // Else the library takes the session for broken, and it cannot be resumed.
            self.stream.set_shutdown(ShutdownState::SENT | ShutdownState::RECEIVED);
        }
    }
}

/// A handshake that is through.
pub struct Finished {
    /// Keys; `None`: the library keeps the session.
    pub keys: Option<SessionKeys>,
    /// The last flight.
    pub flight: Vec<Vec<u8>>,
    /// The next sequence number to use.
    pub next_write: u64,
    /// The highest one that the peer used.
    pub newest_read: u64,
    /// The library's state, for sessions that it keeps.
    pub library: Handshake,
}

/// The keys as the other side has them.
fn mirrored(keys: &SessionKeys) -> SessionKeys {
    SessionKeys { suite: keys.suite, write: keys.read.clone(), read: keys.write.clone() }
}
