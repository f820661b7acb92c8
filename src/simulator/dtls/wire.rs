//! Handshake messages as bytes, and unprotected records (RFC 6347 section 4).

use std::collections::BTreeMap;

pub use crate::protocol::dtls::record::{Record, VERSION_1_2 as VERSION, content};

use crate::protocol::dtls::hello::{Fragment, MESSAGE_HEADER_BYTES};
use crate::protocol::dtls::record;

/// Types of handshake messages.
pub mod message {
    /// ClientHello.
    pub const CLIENT_HELLO: u8 = 1;
    /// ServerHello.
    pub const SERVER_HELLO: u8 = 2;
    /// HelloVerifyRequest.
    pub const HELLO_VERIFY_REQUEST: u8 = 3;
    /// ServerKeyExchange.
    pub const SERVER_KEY_EXCHANGE: u8 = 12;
    /// ServerHelloDone.
    pub const SERVER_HELLO_DONE: u8 = 14;
    /// ClientKeyExchange.
    pub const CLIENT_KEY_EXCHANGE: u8 = 16;
    /// Finished.
    pub const FINISHED: u8 = 20;
}
/// Descriptions of alerts that simulated peers send.
pub mod alert {
    pub use crate::protocol::dtls::record::alert::CLOSE_NOTIFY;
    /// handshake_failure.
    pub const HANDSHAKE_FAILURE: u8 = 40;
    /// decrypt_error.
    pub const DECRYPT_ERROR: u8 = 51;
    /// unknown_psk_identity.
    pub const UNKNOWN_PSK_IDENTITY: u8 = 115;
}

/// Handshake messages that came too early and are kept.
const MAX_EARLY_MESSAGES: u16 = 8;
/// Longest handshake message that is put together.
const MAX_MESSAGE_BYTES: usize = 4_096;

/// The next record of a datagram whose connection ids, if any, have so many bytes. `None` at its end, or before
/// something that is no record.
pub fn next_record<'a>(datagram: &mut &'a [u8], connection_id_bytes: usize) -> Option<Record<'a>> {
    let (record, rest) = record::split_first(datagram, connection_id_bytes)?;
    *datagram = rest;
    Some(record)
}

/// A record of epoch 0.
#[must_use]
pub fn plain(kind: u8, sequence: u64, fragment: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&VERSION);
    bytes.extend_from_slice(&(sequence & record::MAX_SEQUENCE).to_be_bytes());
    bytes.extend_from_slice(&(fragment.len() as u16).to_be_bytes());
    bytes.extend_from_slice(fragment);
    bytes
}

/// An alert.
#[must_use]
pub const fn alert_bytes(description: u8) -> [u8; 2] {
    [if description == alert::CLOSE_NOTIFY { 1 } else { 2 }, description]
}

/// A handshake message in one piece.
#[must_use]
pub fn handshake(kind: u8, sequence: u16, body: &[u8]) -> Vec<u8> {
    fragment_of(kind, sequence, body, 0, body.len())
}

/// A handshake message in pieces of at most so many bytes of its body.
#[must_use]
pub fn fragmented(message: &[u8], piece_bytes: usize) -> Vec<Vec<u8>> {
    let Some((header, body)) = message.split_at_checked(MESSAGE_HEADER_BYTES) else { return Vec::new() };
    let (Some(kind), Some(sequence)) = (header.first(), header.get(4..6)) else { return Vec::new() };
    let sequence = u16::from_be_bytes(sequence.try_into().unwrap_or_default());
    if body.len() <= piece_bytes {
        return vec![message.to_vec()];
    }
    let starts = (0..body.len()).step_by(piece_bytes.max(1));
    starts.map(|from| fragment_of(*kind, sequence, body, from, body.len().min(from + piece_bytes.max(1)))).collect()
}

fn fragment_of(kind: u8, sequence: u16, body: &[u8], from: usize, to: usize) -> Vec<u8> {
    let three = |number: usize| (number as u32).to_be_bytes().into_iter().skip(1);
    let mut bytes = vec![kind];
    bytes.extend(three(body.len()));
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend(three(from));
    bytes.extend(three(to - from));
    bytes.extend_from_slice(body.get(from..to).unwrap_or_default());
    bytes
}

/// A whole handshake message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Its type.
    pub kind: u8,
    /// Its number.
    pub sequence: u16,
    /// Its body.
    pub body: Vec<u8>,
}

impl Handshake {
    /// The whole message at the beginning of what a record holds.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let sequence = u16::from_be_bytes(bytes.get(4..6)?.try_into().ok()?);
        let mut reassembly = Reassembly::from(sequence);
        reassembly.take(bytes);
        reassembly.next_message()
    }

    /// As it counts for Finished: in one piece.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        handshake(self.kind, self.sequence, &self.body)
    }
}

/// Puts handshake messages together and in order.
#[derive(Debug, Default)]
pub struct Reassembly {
    next: u16,
    parts: BTreeMap<u16, (u8, Vec<Option<u8>>)>,
}

impl Reassembly {
    /// Expects the message of this number next.
    #[must_use]
    pub const fn from(next: u16) -> Self {
        Self { next, parts: BTreeMap::new() }
    }

    /// Takes what a handshake record holds; whether a message in it came before.
    pub fn take(&mut self, mut bytes: &[u8]) -> bool {
        let mut repeated = false;
        while let Some((fragment, rest)) = Fragment::split_first(bytes) {
            bytes = rest;
            let (sequence, length) = (fragment.message_sequence, fragment.length);
            repeated |= sequence < self.next;
            let early = sequence.wrapping_sub(self.next);
            if sequence < self.next || early > MAX_EARLY_MESSAGES || length > MAX_MESSAGE_BYTES {
                continue;
            }
            let (_, parts) = self.parts.entry(sequence).or_insert_with(|| (fragment.message_type, vec![None; length]));
            for (to, byte) in parts.iter_mut().skip(fragment.offset).zip(fragment.body) {
                *to = Some(*byte);
            }
        }
        repeated
    }

    /// The next message, when it is whole.
    pub fn next_message(&mut self) -> Option<Handshake> {
        let (kind, parts) = self.parts.get(&self.next)?;
        let body: Vec<u8> = parts.iter().copied().collect::<Option<_>>()?;
        let whole = Handshake { kind: *kind, sequence: self.next, body };
        self.parts.remove(&self.next);
        self.next = self.next.wrapping_add(1);
        Some(whole)
    }
}

/// Extension numbers.
pub mod extension {
    /// extended_master_secret.
    pub const EXTENDED_MASTER_SECRET: u16 = 23;
    /// connection_id.
    pub const CONNECTION_ID: u16 = crate::protocol::dtls::connection_id::EXTENSION;
}

/// A ClientHello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Its random.
    pub random: [u8; 32],
    /// The session to resume; empty without.
    pub session_id: Vec<u8>,
    /// The cookie; empty without.
    pub cookie: Vec<u8>,
    /// Numbers of suites.
    pub suites: Vec<u16>,
    /// What the client wants to be called; `None`: without connection ids.
    pub connection_id: Option<Vec<u8>>,
    /// Whether the master secret may be extended.
    pub extended_master_secret: bool,
}

impl ClientHello {
    /// The body of the message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_vec();
        bytes.extend_from_slice(&self.random);
        put_short(&mut bytes, &self.session_id);
        put_short(&mut bytes, &self.cookie);
        bytes.extend_from_slice(&((self.suites.len() * 2) as u16).to_be_bytes());
        bytes.extend(self.suites.iter().flat_map(|suite| suite.to_be_bytes()));
        put_short(&mut bytes, &[0]);
        put_extensions(&mut bytes, self.connection_id.as_deref(), self.extended_master_secret);
        bytes
    }

    /// Reads the body of a message.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let rest = body.strip_prefix(&VERSION)?;
        let (random, mut rest) = rest.split_first_chunk::<32>()?;
        let session_id = take_short(&mut rest)?.to_vec();
        let cookie = take_short(&mut rest)?.to_vec();
        let suites = take_long(&mut rest)?;
        let suites = suites.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        take_short(&mut rest)?;
        let (connection_id, extended_master_secret) = extensions(rest)?;
        Some(Self { random: *random, session_id, cookie, suites, connection_id, extended_master_secret })
    }
}

/// A ServerHello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHello {
    /// Its random.
    pub random: [u8; 32],
    /// What the session is resumed by; empty: it is not.
    pub session_id: Vec<u8>,
    /// Number of the suite.
    pub suite: u16,
    /// What the server wants to be called; `None`: without connection ids.
    pub connection_id: Option<Vec<u8>>,
    /// Whether the master secret is extended.
    pub extended_master_secret: bool,
}

impl ServerHello {
    /// The body of the message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_vec();
        bytes.extend_from_slice(&self.random);
        put_short(&mut bytes, &self.session_id);
        bytes.extend_from_slice(&self.suite.to_be_bytes());
        bytes.push(0);
        put_extensions(&mut bytes, self.connection_id.as_deref(), self.extended_master_secret);
        bytes
    }

    /// Reads the body of a message.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let rest = body.strip_prefix(&VERSION)?;
        let (random, mut rest) = rest.split_first_chunk::<32>()?;
        let session_id = take_short(&mut rest)?.to_vec();
        let (suite, rest) = rest.split_first_chunk::<2>()?;
        let (_, rest) = rest.split_first()?;
        let (connection_id, extended_master_secret) = extensions(rest)?;
        let suite = u16::from_be_bytes(*suite);
        Some(Self { random: *random, session_id, suite, connection_id, extended_master_secret })
    }
}

/// The body of a HelloVerifyRequest: its cookie.
#[must_use]
pub fn cookie_of(body: &[u8]) -> Option<&[u8]> {
    let (_, mut rest) = body.split_first_chunk::<2>()?;
    take_short(&mut rest)
}

/// The body of a message that is one field with its length in two bytes: the identity in a ClientKeyExchange.
#[must_use]
pub fn long_field(body: &[u8]) -> Option<&[u8]> {
    let mut rest = body;
    take_long(&mut rest)
}

/// The same to write.
pub fn put_long(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&(field.len() as u16).to_be_bytes());
    bytes.extend_from_slice(field);
}

fn put_short(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.push(field.len() as u8);
    bytes.extend_from_slice(field);
}

fn take_short<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first()?;
    let (field, after) = after.split_at_checked(usize::from(*length))?;
    *rest = after;
    Some(field)
}

fn take_long<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<2>()?;
    let (field, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *rest = after;
    Some(field)
}

fn put_extensions(bytes: &mut Vec<u8>, connection_id: Option<&[u8]>, extended_master_secret: bool) {
    let mut all = Vec::new();
    if extended_master_secret {
        all.extend_from_slice(&extension::EXTENDED_MASTER_SECRET.to_be_bytes());
        put_long(&mut all, &[]);
    }
    if let Some(id) = connection_id {
        all.extend_from_slice(&extension::CONNECTION_ID.to_be_bytes());
        let mut field = Vec::new();
        put_short(&mut field, id);
        put_long(&mut all, &field);
    }
    if !all.is_empty() {
        put_long(bytes, &all);
    }
}

/// Connection id and whether the master secret is extended.
fn extensions(mut rest: &[u8]) -> Option<(Option<Vec<u8>>, bool)> {
    let (mut connection_id, mut extended) = (None, false);
    if rest.is_empty() {
        return Some((connection_id, extended));
    }
    let mut all = take_long(&mut rest)?;
    while let Some((kind, after)) = all.split_first_chunk::<2>() {
        all = after;
        let mut field = take_long(&mut all)?;
        match u16::from_be_bytes(*kind) {
            extension::CONNECTION_ID => connection_id = Some(take_short(&mut field)?.to_vec()),
            extension::EXTENDED_MASTER_SECRET => extended = true,
            _ => {}
        }
    }
    Some((connection_id, extended))
}
