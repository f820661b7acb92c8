//! The message codec against coap-lite, an independent implementation, on random and mutated datagrams.
//!
//! Where the two differ, the difference is named in [`NAMED`] with its reason; any other one fails. Each seed is fixed
//! and a failure prints the datagram.

use std::collections::BTreeMap;
use std::panic::catch_unwind;

use coap_lite::{MessageType as OracleType, Packet};
use data_encoding::HEXLOWER;
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageError, MessageType, Token};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Datagrams that this program refuses and coap-lite takes, with the clause of RFC 7252 that decides.
const NAMED: [(&str, &str); 5] = [
    ("unknown version", "section 3: other versions must be ignored; coap-lite does not look"),
    ("empty payload", "section 3: a marker before nothing is a format error; coap-lite takes it for no payload"),
    ("empty with content", "section 4.1: an empty message is four bytes; coap-lite reads on"),
    ("reserved class", "section 3: classes 1, 6 and 7 are reserved; coap-lite leaves them to its caller"),
    ("type and code", "section 4.2 and 4.3: no request in an acknowledgement, nothing in a reset; neither is checked"),
];

/// The name of a refusal that coap-lite does not share.
fn name(error: MessageError) -> Option<&'static str> {
    Some(match error {
        MessageError::UnknownVersion(_) => "unknown version",
        MessageError::EmptyPayload => "empty payload",
        MessageError::EmptyWithContent => "empty with content",
        MessageError::ReservedClass(_) => "reserved class",
        MessageError::TypeCodeMismatch(..) => "type and code",
        MessageError::TooShort
        | MessageError::TokenTooLong(_)
        | MessageError::Truncated
        | MessageError::ReservedOptionNibble
        | MessageError::OptionNumberTooLarge => return None,
    })
}

struct Random(ChaCha8Rng);

impl Random {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0.next_u32() as usize % bound
    }

    fn byte(&mut self) -> u8 {
        self.0.next_u32() as u8
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn message(&mut self) -> Message {
        let requests = [Code::GET, Code::POST, Code::PUT, Code::DELETE, Code::FETCH, Code::IPATCH];
        let responses =
            [Code::CREATED, Code::CHANGED, Code::CONTENT, Code::CONTINUE, Code::BAD_REQUEST, Code::new(5, 31)];
        let id = u16::from_be_bytes([self.byte(), self.byte()]);
        let (message_type, code) = match self.below(8) {
            0 => return Message::acknowledgement(id),
            1 => return Message::reset(id),
            2 | 3 => (MessageType::Acknowledgement, self.pick(&responses)),
            4 => (MessageType::NonConfirmable, self.pick(&responses)),
            _ => (MessageType::Confirmable, self.pick(&requests)),
        };
        let length = self.below(9);
        let token = Token::new(&self.bytes(length)).expect("at most eight bytes");
        let mut message = Message::new(message_type, code, id, token);
        for _ in 0..self.below(6) {
            let number = match self.below(4) {
                0 => u16::from_be_bytes([self.byte(), self.byte()]),
                1 => self.pick(&[0, 13, 268, 269, 281, 282, 65_535]),
                _ => self.pick(&[6, 8, 11, 12, 15, 17, 23, 27, 60]),
            };
            let length = match self.below(8) {
                0 => self.pick(&[12, 13, 14, 268, 269, 270, 700]),
                _ => self.below(9),
            };
            message.push_option(OptionNumber(number), self.bytes(length));
        }
        message.options.sort_by_key(|(number, _)| *number);
        let length = self.pick(&[0, 0, 1, 2, 5, 40, 1_100]);
        message.payload = self.bytes(length);
        message
    }

    /// A datagram that is mostly like a message.
    fn mutated(&mut self) -> Vec<u8> {
        let mut datagram = self.message().encode();
        for _ in 0..=self.below(3) {
            let place = self.below(datagram.len().clamp(1, 24));
            match self.below(6) {
                0 => datagram.truncate(place),
                1 => datagram.insert(place.min(datagram.len()), 0xff),
                2 => datagram.push(0xff),
                3 => {
                    let byte = self.byte();
                    datagram.insert(place.min(datagram.len()), byte);
                }
                4 => {
                    let bit = self.below(8);
                    datagram.get_mut(place).into_iter().for_each(|byte| *byte ^= 1 << bit);
                }
                _ => {
                    let special = self.pick(&[0x00, 0x0d, 0x0e, 0x0f, 0xd0, 0xdd, 0xe0, 0xee, 0xf0]);
                    datagram.get_mut(place).into_iter().for_each(|byte| *byte = special);
                }
            }
        }
        datagram
    }
}

/// What coap-lite makes of a datagram; `None` if it refuses. A panic of the oracle fails the test with its datagram.
fn oracle(datagram: &[u8]) -> Option<Message> {
    let result = catch_unwind(|| Packet::from_bytes(datagram));
    let packet = result.unwrap_or_else(|_| panic!("coap-lite panics at {}", HEXLOWER.encode(datagram))).ok()?;
    let message_type = match packet.header.get_type() {
        OracleType::Confirmable => MessageType::Confirmable,
        OracleType::NonConfirmable => MessageType::NonConfirmable,
        OracleType::Acknowledgement => MessageType::Acknowledgement,
        OracleType::Reset => MessageType::Reset,
    };
    let token = Token::new(packet.get_token())?;
    let mut message = Message::new(message_type, Code(packet.header.code.into()), packet.header.message_id, token);
    for (number, values) in packet.options() {
        message.options.extend(values.iter().map(|value| (OptionNumber(*number), value.clone())));
    }
    message.payload = packet.payload;
    Some(message)
}

/// Compares both readings of a datagram; names the difference if it is a known one.
fn difference(datagram: &[u8]) -> Option<&'static str> {
    let ours = Message::decode(datagram);
    let theirs = oracle(datagram);
    match (ours, theirs) {
        (Ok(ours), Some(theirs)) => {
            assert_eq!(ours, theirs, "{}", HEXLOWER.encode(datagram));
            None
        }
        (Err(_), None) => None,
        (Err(error), Some(theirs)) => Some(name(error).unwrap_or_else(|| {
            panic!("refused with '{error}', while coap-lite reads {theirs:?}: {}", HEXLOWER.encode(datagram))
        })),
        (Ok(ours), None) => panic!("taken as {ours:?}, while coap-lite refuses: {}", HEXLOWER.encode(datagram)),
    }
}

#[test]
fn rfc7252_3_what_is_written_here_is_read_and_written_alike_by_coap_lite() {
    let mut random = Random::new(1);
    for _ in 0..5_000 {
        let message = random.message();
        let datagram = message.encode();
        assert_eq!(Message::decode(&datagram).as_ref(), Ok(&message), "{}", HEXLOWER.encode(&datagram));
        assert_eq!(difference(&datagram), None, "{}", HEXLOWER.encode(&datagram));
        let written = Packet::from_bytes(&datagram).unwrap().to_bytes_unlimited().unwrap();
        assert_eq!(HEXLOWER.encode(&written), HEXLOWER.encode(&datagram));
    }
}

#[test]
fn rfc7252_3_mutated_datagrams_are_refused_by_both_or_for_a_named_reason() {
    let mut random = Random::new(2);
    let mut differences: BTreeMap<&str, u32> = BTreeMap::new();
    let mut taken = 0;
    for _ in 0..60_000 {
        let datagram = random.mutated();
        if let Some(name) = difference(&datagram) {
            *differences.entry(name).or_default() += 1;
        }
        taken += u32::from(Message::decode(&datagram).is_ok());
    }
    let named: BTreeMap<&str, &str> = NAMED.into_iter().collect();
    assert_eq!(differences.keys().collect::<Vec<_>>(), named.keys().collect::<Vec<_>>(), "{differences:?}");
    assert!((6_000..54_000).contains(&taken), "{taken} datagrams were taken: the mutations test little");
}

#[test]
fn rfc7252_3_random_bytes_are_read_alike() {
    let mut random = Random::new(3);
    for _ in 0..60_000 {
        let length = random.below(40);
        let mut datagram = random.bytes(length);
        // Otherwise three of four would end at the version.
        datagram.first_mut().into_iter().for_each(|first| *first = 0x40 | *first & 0x3f);
        difference(&datagram);
    }
}

#[test]
fn rfc7252_4_6_messages_longer_than_coap_lite_writes_are_written_here() {
    let mut message = Message::new(MessageType::Confirmable, Code::PUT, 1, Token::EMPTY);
    message.payload = vec![7; 1_280];
    let datagram = message.encode();
    assert_eq!(difference(&datagram), None);
    assert!(Packet::from_bytes(&datagram).unwrap().to_bytes().is_err(), "coap-lite caps messages at 1,280 bytes");
}

#[test]
fn rfc7252_3_token_lengths_above_eight_are_refused_by_both() {
    for length in 9..=15_u8 {
        let mut datagram = vec![0x40 | length, 0x01, 0, 1];
        datagram.extend(vec![0; usize::from(length)]);
        assert_eq!(Message::decode(&datagram), Err(MessageError::TokenTooLong(length)));
        assert_eq!(oracle(&datagram), None);
    }
}
