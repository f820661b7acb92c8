//! Handshake messages as far as they are read before a handshake begins: the ClientHello, in one piece or in fragments
//! (RFC 6347 section 4.2), and the HelloVerifyRequest that answers it.

use super::connection_id;
use super::cookie::COOKIE_BYTES;
use super::record::{HEADER_BYTES, VERSION_1_0, VERSION_1_2, content};

/// Handshake message types.
pub mod message {
    /// ClientHello.
    pub const CLIENT_HELLO: u8 = 1;
    /// HelloVerifyRequest.
    pub const HELLO_VERIFY_REQUEST: u8 = 3;
    /// ClientKeyExchange.
    pub const CLIENT_KEY_EXCHANGE: u8 = 16;
    /// Finished.
    pub const FINISHED: u8 = 20;
}

/// Bytes of a handshake message's header.
pub const MESSAGE_HEADER_BYTES: usize = 12;

/// Longest ClientHello that is put together, in bytes of its body.
pub const MAX_CLIENT_HELLO_BYTES: usize = 4_096;

/// Extension `client_certificate_type` (RFC 7250).
const CLIENT_CERTIFICATE_TYPE: u16 = 19;
/// Extension `session_ticket` (RFC 5077).
const SESSION_TICKET: u16 = 35;
/// Extension `server_certificate_type` (RFC 7250).
const SERVER_CERTIFICATE_TYPE: u16 = 20;
/// `RawPublicKey` in these.
const RAW_PUBLIC_KEY: u8 = 2;

/// A handshake message or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// Type.
    pub message_type: u8,
    /// Bytes of the whole message's body.
    pub length: usize,
    /// Number of the message.
    pub message_sequence: u16,
    /// Where this part begins.
    pub offset: usize,
    /// This part.
    pub body: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// The first fragment in the body of a record, and what follows it.
    #[must_use]
    pub fn split_first(body: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[kind, l2, l1, l0, q1, q0, o2, o1, o0, f2, f1, f0], rest) =
            body.split_first_chunk::<MESSAGE_HEADER_BYTES>()?;
        let number = |high: u8, middle: u8, low: u8| u32::from_be_bytes([0, high, middle, low]) as usize;
        let (length, offset) = (number(l2, l1, l0), number(o2, o1, o0));
        let (part, rest) = rest.split_at_checked(number(f2, f1, f0))?;
        let fits = offset + part.len() <= length;
        let message_sequence = u16::from_be_bytes([q1, q0]);
        fits.then_some((Self { message_type: kind, length, message_sequence, offset, body: part }, rest))
    }

    /// Whether it is a whole message.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.offset == 0 && self.body.len() == self.length
    }
}

/// The beginning of a ClientHello, which every first fragment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloStart<'a> {
    /// Random.
    pub random: [u8; 32],
    /// Session to resume; empty: none.
    pub session_id: &'a [u8],
    /// Cookie; empty: none yet.
    pub cookie: &'a [u8],
    rest: &'a [u8],
}

impl<'a> HelloStart<'a> {
    /// Reads the beginning of a ClientHello's body.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (&[major, _], rest) = body.split_first_chunk::<2>()?;
        let (random, rest) = rest.split_first_chunk::<32>()?;
        let (session_id, rest) = split_short(rest)?;
        let (cookie, rest) = split_short(rest)?;
        (major == 0xFE && session_id.len() <= 32).then_some(Self { random: *random, session_id, cookie, rest })
    }
}

/// A whole ClientHello, as far as the gateway looks into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Suites in the client's order.
    pub suites: Vec<u16>,
    /// What the client wants to be called; `None`: it does not know connection ids.
    pub connection_id: Option<Vec<u8>>,
    /// Ticket of a session to resume.
    pub ticket: Option<Vec<u8>>,
    /// Whether it can show a raw public key.
    pub shows_raw_public_key: bool,
    /// Whether it takes a raw public key from the server.
    pub takes_raw_public_key: bool,
}

impl ClientHello {
    /// Reads a whole body.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let start = HelloStart::parse(body)?;
        let (suites, rest) = split_long(start.rest)?;
        let (_compressions, rest) = split_short(rest)?;
        let suites = suites.as_chunks::<2>().0.iter().map(|suite| u16::from_be_bytes(*suite)).collect();
        let mut hello = Self { suites, ..Self::default() };
        let Some((mut extensions, _)) = split_long(rest) else { return rest.is_empty().then_some(hello) };
        while let Some((number, rest)) = extensions.split_first_chunk::<2>() {
            let (value, rest) = split_long(rest)?;
            match u16::from_be_bytes(*number) {
                connection_id::EXTENSION => hello.connection_id = Some(split_short(value)?.0.to_vec()),
                SESSION_TICKET => hello.ticket = Some(value.to_vec()),
                CLIENT_CERTIFICATE_TYPE => {
                    hello.shows_raw_public_key = split_short(value)?.0.contains(&RAW_PUBLIC_KEY);
                }
                SERVER_CERTIFICATE_TYPE => {
                    hello.takes_raw_public_key = split_short(value)?.0.contains(&RAW_PUBLIC_KEY);
                }
                _ => {}
            }
            extensions = rest;
        }
        Some(hello)
    }
}

/// Splits off what a length of one byte announces.
fn split_short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// The same for two bytes.
fn split_long(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

fn push_message_header(out: &mut Vec<u8>, message_type: u8, length: usize, message_sequence: u16) {
    let length = (length as u32).to_be_bytes();
    out.push(message_type);
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&message_sequence.to_be_bytes());
    out.extend_from_slice(&[0; 3]);
    out.extend_from_slice(&length[1..]);
}

fn push_record_header(out: &mut Vec<u8>, version: [u8; 2], sequence: u64, length: usize) {
    out.push(content::HANDSHAKE);
    out.extend_from_slice(&version);
    // Epoch 0.
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&(length as u16).to_be_bytes());
}

/// The HelloVerifyRequest in answer to a record with this sequence number: 60 bytes, shorter than any ClientHello.
#[must_use]
pub fn hello_verify_request(sequence: u64, cookie: &[u8; COOKIE_BYTES], version_1_2: bool) -> Vec<u8> {
    let version = if version_1_2 { VERSION_1_2 } else { VERSION_1_0 };
    let length = 2 + 1 + COOKIE_BYTES;
    let mut out = Vec::with_capacity(HEADER_BYTES + MESSAGE_HEADER_BYTES + length);
    push_record_header(&mut out, version, sequence, MESSAGE_HEADER_BYTES + length);
    push_message_header(&mut out, message::HELLO_VERIFY_REQUEST, length, 0);
    out.extend_from_slice(&version);
    out.push(COOKIE_BYTES as u8);
    out.extend_from_slice(cookie);
    out
}

/// A message of the first epoch as one record in one piece, whatever pieces it came in.
#[must_use]
pub fn whole_record(sequence: u64, message_type: u8, message_sequence: u16, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + MESSAGE_HEADER_BYTES + body.len());
    push_record_header(&mut out, VERSION_1_2, sequence, MESSAGE_HEADER_BYTES + body.len());
    push_message_header(&mut out, message_type, body.len(), message_sequence);
    out.extend_from_slice(body);
    out
}

/// A ClientHello that comes in fragments. Its first one showed a cookie, so this is no state for strangers.
#[derive(Clone, Debug)]
pub struct Reassembly {
    /// Number of the message.
    pub message_sequence: u16,
    body: Vec<u8>,
    /// Which bytes are there.
    present: Vec<bool>,
}

impl Reassembly {
    /// For the message of a fragment; `None` if it is too long.
    #[must_use]
    pub fn new(fragment: &Fragment<'_>) -> Option<Self> {
        (fragment.length <= MAX_CLIENT_HELLO_BYTES).then(|| Self {
            message_sequence: fragment.message_sequence,
            body: vec![0; fragment.length],
            present: vec![false; fragment.length],
        })
    }

    /// Adds a fragment; the whole body once it is there. Fragments of another message change nothing.
    pub fn add(&mut self, fragment: &Fragment<'_>) -> Option<&[u8]> {
        if fragment.message_sequence != self.message_sequence || fragment.length != self.body.len() {
            return None;
        }
        let range = fragment.offset..fragment.offset + fragment.body.len();
        if let (Some(body), Some(present)) = (self.body.get_mut(range.clone()), self.present.get_mut(range)) {
            body.copy_from_slice(fragment.body);
            present.fill(true);
        }
        self.present.iter().all(|present| *present).then_some(self.body.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::split_first;
    use super::*;

    /// A ClientHello's body with a cookie, two suites, a connection id and certificate types.
    fn hello(cookie: &[u8]) -> Vec<u8> {
        let mut body = VERSION_1_2.to_vec();
        body.extend([9; 32]);
        body.push(0);
        body.push(cookie.len() as u8);
        body.extend_from_slice(cookie);
        body.extend([0, 4, 0xC0, 0xA8, 0x00, 0xAE, 1, 0]);
        let extensions = [0, 54, 0, 3, 2, 0xAA, 0xBB, 0, 19, 0, 2, 1, 2, 0, 20, 0, 2, 1, 0];
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        body
    }

    #[test]
    fn a_client_hello_tells_suites_connection_id_and_certificate_types() {
        let hello = ClientHello::parse(&hello(b"")).unwrap();
        assert_eq!(hello.suites, [0xC0A8, 0x00AE]);
        assert_eq!(hello.connection_id.as_deref(), Some(&[0xAA, 0xBB][..]));
        assert!(hello.shows_raw_public_key && !hello.takes_raw_public_key);
    }

    #[test]
    fn every_shortened_hello_is_refused_or_read_without_extensions() {
        let whole = hello(b"cookie");
        for length in 0..whole.len() {
            if let Some(parsed) = ClientHello::parse(&whole[..length]) {
                assert_eq!(parsed.connection_id, None, "{length}");
            }
        }
    }

    #[test]
    fn the_answer_to_a_hello_repeats_its_number_and_is_no_longer_than_it() {
        let answer = hello_verify_request(7, &[5; COOKIE_BYTES], false);
        assert_eq!(answer.len(), 60);
        let (record, rest) = split_first(&answer, 0).unwrap();
        assert_eq!((record.sequence, record.version, rest.len()), (7, VERSION_1_0, 0));
        let (fragment, _) = Fragment::split_first(record.body).unwrap();
        assert_eq!((fragment.message_type, fragment.is_whole()), (message::HELLO_VERIFY_REQUEST, true));
        // The least that a client can send has a header, a random, a suite and a compression method.
        assert!(answer.len() < 2 * (HEADER_BYTES + MESSAGE_HEADER_BYTES + 2 + 32 + 1 + 1 + 4 + 2));
    }

    #[test]
    fn fragments_in_any_order_make_the_message_whole() {
        let body = hello(b"cookie");
        let part = |offset: usize, end: usize| Fragment {
            message_type: message::CLIENT_HELLO,
            length: body.len(),
            message_sequence: 1,
            offset,
            body: &body[offset..end],
        };
        let mut reassembly = Reassembly::new(&part(0, 40)).unwrap();
        assert_eq!(reassembly.add(&part(60, body.len())), None);
        assert_eq!(reassembly.add(&part(0, 40)), None);
        assert_eq!(reassembly.add(&Fragment { message_sequence: 2, ..part(40, 60) }), None);
        assert_eq!(reassembly.add(&part(30, 60)), Some(&body[..]));
        let record = whole_record(3, message::CLIENT_HELLO, 1, &body);
        let (record, _) = split_first(&record, 0).unwrap();
        let (fragment, _) = Fragment::split_first(record.body).unwrap();
        assert!(fragment.is_whole());
        assert_eq!(ClientHello::parse(fragment.body), ClientHello::parse(&body));
    }

    #[test]
    fn a_fragment_beyond_its_message_or_of_a_huge_one_is_refused() {
        let mut bytes = vec![1, 0, 0, 4, 0, 0, 0, 0, 2, 0, 0, 3, 1, 2, 3];
        assert_eq!(Fragment::split_first(&bytes), None);
        bytes[8] = 1;
        let (fragment, _) = Fragment::split_first(&bytes).unwrap();
        assert!(Reassembly::new(&Fragment { length: MAX_CLIENT_HELLO_BYTES + 1, ..fragment }).is_none());
    }
}
