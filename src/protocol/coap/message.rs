//! The CoAP message over UDP: bytes to meaning and back (RFC 7252 section 3).
//!
//! [`Message::decode`] takes exactly one datagram. What it returns is well-formed; whether its options are understood
//! is the caller's question ([`Message::first_unusable_option`]). What can be constructed can be encoded, except an
//! option longer than 65,804 bytes, which no caller has.

use std::fmt;

use super::block::{Block, BlockError};
use super::option::OptionNumber;

/// Message types (RFC 7252 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// Wants an acknowledgement.
    Confirmable,
    /// Does not.
    NonConfirmable,
    /// Acknowledges a confirmable message, perhaps with the response in it.
    Acknowledgement,
    /// The receiver lacks the context to use the message.
    Reset,
}

/// A code `class.detail`: a method, a response code, or empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u8);

impl Code {
    /// No request or response: an acknowledgement, a reset, a ping.
    pub const EMPTY: Self = Self::new(0, 0);
    /// 0.01.
    pub const GET: Self = Self::new(0, 1);
    /// 0.02.
    pub const POST: Self = Self::new(0, 2);
    /// 0.03.
    pub const PUT: Self = Self::new(0, 3);
    /// 0.04.
    pub const DELETE: Self = Self::new(0, 4);
    /// 0.05, RFC 8132.
    pub const FETCH: Self = Self::new(0, 5);
    /// 0.07, RFC 8132.
    pub const IPATCH: Self = Self::new(0, 7);
    /// 2.01.
    pub const CREATED: Self = Self::new(2, 1);
    /// 2.02.
    pub const DELETED: Self = Self::new(2, 2);
    /// 2.04.
    pub const CHANGED: Self = Self::new(2, 4);
    /// 2.05.
    pub const CONTENT: Self = Self::new(2, 5);
    /// 2.31, RFC 7959.
    pub const CONTINUE: Self = Self::new(2, 31);
    /// 4.00.
    pub const BAD_REQUEST: Self = Self::new(4, 0);
    /// 4.01.
    pub const UNAUTHORIZED: Self = Self::new(4, 1);
    /// 4.02.
    pub const BAD_OPTION: Self = Self::new(4, 2);
    /// 4.03.
    pub const FORBIDDEN: Self = Self::new(4, 3);
    /// 4.04.
    pub const NOT_FOUND: Self = Self::new(4, 4);
    /// 4.05.
    pub const METHOD_NOT_ALLOWED: Self = Self::new(4, 5);
    /// 4.06.
    pub const NOT_ACCEPTABLE: Self = Self::new(4, 6);
    /// 4.08, RFC 7959.
    pub const REQUEST_ENTITY_INCOMPLETE: Self = Self::new(4, 8);
    /// 4.09, RFC 8132.
    pub const CONFLICT: Self = Self::new(4, 9);
    /// 4.12.
    pub const PRECONDITION_FAILED: Self = Self::new(4, 12);
    /// 4.13.
    pub const REQUEST_ENTITY_TOO_LARGE: Self = Self::new(4, 13);
    /// 4.15.
    pub const UNSUPPORTED_CONTENT_FORMAT: Self = Self::new(4, 15);
    /// 5.00.
    pub const INTERNAL_SERVER_ERROR: Self = Self::new(5, 0);
    /// 5.01.
    pub const NOT_IMPLEMENTED: Self = Self::new(5, 1);
    /// 5.03.
    pub const SERVICE_UNAVAILABLE: Self = Self::new(5, 3);
    /// 7.01, RFC 8323: capabilities and settings.
    pub const CSM: Self = Self::new(7, 1);
    /// 7.02, RFC 8323.
    pub const PING: Self = Self::new(7, 2);
    /// 7.03, RFC 8323.
    pub const PONG: Self = Self::new(7, 3);
    /// 7.04, RFC 8323.
    pub const RELEASE: Self = Self::new(7, 4);
    /// 7.05, RFC 8323.
    pub const ABORT: Self = Self::new(7, 5);

    /// The code `class.detail`; class 0 to 7, detail 0 to 31.
    #[must_use]
    pub const fn new(class: u8, detail: u8) -> Self {
        Self(class << 5 | detail)
    }

    /// The class: 0 request, 2 success, 4 client error, 5 server error.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// Whether this is a method.
    #[must_use]
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.0 != 0
    }

    /// Whether this is a response code.
    #[must_use]
    pub const fn is_response(self) -> bool {
        matches!(self.class(), 2 | 4 | 5)
    }

    /// Whether this is a signalling code of a reliable transport (RFC 8323 section 5.1).
    #[must_use]
    pub const fn is_signal(self) -> bool {
        self.class() == 7
    }

    /// Whether this is a success.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.0 & 31)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A token of zero to eight bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Token {
    bytes: [u8; 8],
    length: u8,
}

impl Token {
    /// The token of zero bytes.
    pub const EMPTY: Self = Self { bytes: [0; 8], length: 0 };

    /// A token of these bytes; `None` for more than eight.
    #[must_use]
    pub fn new(token: &[u8]) -> Option<Self> {
        let mut bytes = [0; 8];
        bytes.get_mut(..token.len())?.copy_from_slice(token);
        Some(Self { bytes, length: u8::try_from(token.len()).ok()? })
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(self.as_bytes()))
    }
}

/// A well-formed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// How it wants to be treated.
    pub message_type: MessageType,
    /// Method, response code or empty.
    pub code: Code,
    /// Message id, unique per peer for the exchange lifetime.
    pub id: u16,
    /// Ties a response to its request.
    pub token: Token,
    /// Options in the order of the wire, which is ascending.
    pub options: Vec<(OptionNumber, Vec<u8>)>,
    /// The body; empty means none.
    pub payload: Vec<u8>,
}

/// Why a datagram is no CoAP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Fewer than four bytes.
    #[error("shorter than the 4-byte header")]
    TooShort,
    /// The version is not 1: RFC 7252 says to ignore such messages in silence.
    #[error("CoAP version {0}, not 1")]
    UnknownVersion(u8),
    /// A token length of 9 to 15.
    #[error("token length {0}, more than 8")]
    TokenTooLong(u8),
    /// The datagram ends inside the token or an option.
    #[error("ends inside the token or an option")]
    Truncated,
    /// An option nibble of 15 that is no payload marker.
    #[error("reserved option nibble 15")]
    ReservedOptionNibble,
    /// An option number above 65,535.
    #[error("option number above 65535")]
    OptionNumberTooLarge,
    /// A payload marker with nothing behind it.
    #[error("payload marker without payload")]
    EmptyPayload,
    /// Code 0.00 with a token, options or payload.
    #[error("an empty message with content")]
    EmptyWithContent,
    /// A code of a reserved class (1, 6, 7).
    #[error("code of reserved class {0}")]
    ReservedClass(u8),
    /// An empty acknowledgement or reset is required, or a type and code that never go together.
    #[error("a {0:?} that carries code {1}")]
    TypeCodeMismatch(MessageType, Code),
}

impl Message {
    /// A request or response without options.
    #[must_use]
    pub const fn new(message_type: MessageType, code: Code, id: u16, token: Token) -> Self {
        Self { message_type, code, id, token, options: Vec::new(), payload: Vec::new() }
    }

    /// An empty acknowledgement of `id`.
    #[must_use]
    pub const fn acknowledgement(id: u16) -> Self {
        Self::new(MessageType::Acknowledgement, Code::EMPTY, id, Token::EMPTY)
    }

    /// A reset of `id`.
    #[must_use]
    pub const fn reset(id: u16) -> Self {
        Self::new(MessageType::Reset, Code::EMPTY, id, Token::EMPTY)
    }

    /// Type and id of a datagram that starts like a CoAP message, for answering a malformed one with a reset.
    #[must_use]
    pub fn peek(datagram: &[u8]) -> Option<(MessageType, u16)> {
        let [first, _, high, low, ..] = *datagram else { return None };
        (first >> 6 == 1).then(|| (message_type(first), u16::from_be_bytes([high, low])))
    }

    /// Reads one datagram.
    ///
    /// # Errors
    /// If it breaks the message format (RFC 7252 section 3).
    pub fn decode(datagram: &[u8]) -> Result<Self, MessageError> {
        let [first, code, high, low, ref rest @ ..] = *datagram else { return Err(MessageError::TooShort) };
        if first >> 6 != 1 {
            return Err(MessageError::UnknownVersion(first >> 6));
        }
        let message_type = message_type(first);
        let token_length = first & 0x0f;
        let code = Code(code);
        if token_length > 8 {
            return Err(MessageError::TokenTooLong(token_length));
        }
        if code == Code::EMPTY && (token_length != 0 || !rest.is_empty()) {
            return Err(MessageError::EmptyWithContent);
        }
        if !(code == Code::EMPTY || code.is_request() || code.is_response()) {
            return Err(MessageError::ReservedClass(code.class()));
        }
        let fits = match message_type {
            MessageType::Confirmable => true,
            MessageType::NonConfirmable => code != Code::EMPTY,
            MessageType::Acknowledgement => !code.is_request(),
            MessageType::Reset => code == Code::EMPTY,
        };
        if !fits {
            return Err(MessageError::TypeCodeMismatch(message_type, code));
        }
        let (token, rest) = rest.split_at_checked(usize::from(token_length)).ok_or(MessageError::Truncated)?;
        let (options, payload) = decode_options(rest)?;
        Ok(Self {
            message_type,
            code,
            id: u16::from_be_bytes([high, low]),
            token: Token::new(token).unwrap_or_default(),
            options,
            payload,
        })
    }

    /// The bytes of this message. Options are put in order; equal numbers keep theirs.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.payload.len() + self.options.len() * 8);
        let type_bits = match self.message_type {
            MessageType::Confirmable => 0,
            MessageType::NonConfirmable => 1,
            MessageType::Acknowledgement => 2,
            MessageType::Reset => 3,
        };
        bytes.push(1 << 6 | type_bits << 4 | self.token.length);
        bytes.push(self.code.0);
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(self.token.as_bytes());
        self.encode_body(&mut bytes);
        bytes
    }

    /// Options, marker and payload, which are the same over every transport.
    pub(super) fn encode_body(&self, bytes: &mut Vec<u8>) {
        let ordered = self.options.is_sorted_by_key(|(number, _)| *number);
        if ordered {
            encode_options(bytes, self.options.iter());
        } else {
            let mut sorted: Vec<_> = self.options.iter().collect();
            sorted.sort_by_key(|(number, _)| *number);
            encode_options(bytes, sorted.into_iter());
        }
        if !self.payload.is_empty() {
            bytes.push(0xff);
            bytes.extend_from_slice(&self.payload);
        }
    }

    /// Adds an option.
    pub fn push_option(&mut self, number: OptionNumber, value: impl Into<Vec<u8>>) {
        self.options.push((number, value.into()));
    }

    /// Adds an option that holds an unsigned integer in its shortest form.
    pub fn push_uint(&mut self, number: OptionNumber, value: u32) {
        self.options.push((number, encode_uint(value)));
    }

    /// The first value of an option.
    #[must_use]
    pub fn option(&self, number: OptionNumber) -> Option<&[u8]> {
        self.option_values(number).next()
    }

    /// All values of an option, in order.
    pub fn option_values(&self, number: OptionNumber) -> impl Iterator<Item = &[u8]> {
        self.options.iter().filter(move |(candidate, _)| *candidate == number).map(|(_, value)| value.as_slice())
    }

    /// An option as an unsigned integer; `None` if absent or longer than the option may be: a wrong length makes an
    /// elective option as good as absent (RFC 7252 section 5.4.3).
    #[must_use]
    pub fn uint(&self, number: OptionNumber) -> Option<u32> {
        let value = self.option(number)?;
        let (least, most) = number.length_bounds().unwrap_or((0, 4));
        if (least..=most).contains(&value.len()) { decode_uint(value) } else { None }
    }

    /// The Content-Format option.
    #[must_use]
    pub fn content_format(&self) -> Option<u16> {
        u16::try_from(self.uint(OptionNumber::CONTENT_FORMAT)?).ok()
    }

    /// The Observe option.
    #[must_use]
    pub fn observe(&self) -> Option<u32> {
        self.uint(OptionNumber::OBSERVE)
    }

    /// A Block1 or Block2 option.
    ///
    /// # Errors
    /// If the option is there and unusable.
    pub fn block(&self, number: OptionNumber) -> Result<Option<Block>, BlockError> {
        self.block_over(number, false)
    }

    /// The same where a reliable transport may bring larger blocks.
    ///
    /// # Errors
    /// If the option is there and unusable.
    pub fn block_over(&self, number: OptionNumber, reliable: bool) -> Result<Option<Block>, BlockError> {
        let decode = if reliable { Block::decode_reliable } else { Block::decode };
        self.option(number).map(decode).transpose()
    }

    /// The Uri-Path segments, lossily as text.
    #[must_use]
    pub fn uri_path(&self) -> Vec<String> {
        self.option_values(OptionNumber::URI_PATH)
            .map(|segment| String::from_utf8_lossy(segment).into_owned())
            .collect()
    }

    /// The Uri-Query arguments; `None` if one is not UTF-8.
    #[must_use]
    pub fn uri_query(&self) -> Option<Vec<String>> {
        self.option_values(OptionNumber::URI_QUERY).map(|argument| String::from_utf8(argument.to_vec()).ok()).collect()
    }

    /// The first critical option that this program does not understand, has an invalid length, or stands too often
    /// (RFC 7252 section 5.4). `understood` says which numbers the caller acts upon.
    #[must_use]
    pub fn first_unusable_option(&self, understood: &[OptionNumber]) -> Option<OptionNumber> {
        let mut previous = None;
        for (number, value) in &self.options {
            let repeated = previous == Some(*number) && !number.is_repeatable();
            previous = Some(*number);
            if !number.is_critical() {
                continue;
            }
            let fits = number.length_bounds().is_some_and(|(least, most)| (least..=most).contains(&value.len()));
            if !understood.contains(number) || !fits || repeated {
                return Some(*number);
            }
        }
        None
    }
}

const fn message_type(first: u8) -> MessageType {
    match first >> 4 & 0b11 {
        0 => MessageType::Confirmable,
        1 => MessageType::NonConfirmable,
        2 => MessageType::Acknowledgement,
        _ => MessageType::Reset,
    }
}

pub(super) type DecodedOptions = (Vec<(OptionNumber, Vec<u8>)>, Vec<u8>);

pub(super) fn decode_options(mut rest: &[u8]) -> Result<DecodedOptions, MessageError> {
    let mut options = Vec::new();
    let mut number = 0_u32;
    while let Some((&first, tail)) = rest.split_first() {
        if first == 0xff {
            if tail.is_empty() {
                return Err(MessageError::EmptyPayload);
            }
            return Ok((options, tail.to_vec()));
        }
        rest = tail;
        number += extended(first >> 4, &mut rest)?;
        let length = extended(first & 0x0f, &mut rest)?;
        let checked = u16::try_from(number).map_err(|_| MessageError::OptionNumberTooLarge)?;
        let (value, tail) = rest.split_at_checked(length as usize).ok_or(MessageError::Truncated)?;
        options.push((OptionNumber(checked), value.to_vec()));
        rest = tail;
    }
    Ok((options, Vec::new()))
}

/// An option delta or length with its extension bytes (RFC 7252 section 3.1).
fn extended(nibble: u8, rest: &mut &[u8]) -> Result<u32, MessageError> {
    match nibble {
        13 => {
            let (&byte, tail) = rest.split_first().ok_or(MessageError::Truncated)?;
            *rest = tail;
            Ok(u32::from(byte) + 13)
        }
        14 => {
            let (bytes, tail) = rest.split_first_chunk::<2>().ok_or(MessageError::Truncated)?;
            *rest = tail;
            Ok(u32::from(u16::from_be_bytes(*bytes)) + 269)
        }
        15 => Err(MessageError::ReservedOptionNibble),
        small => Ok(u32::from(small)),
    }
}

fn encode_options<'a>(bytes: &mut Vec<u8>, options: impl Iterator<Item = &'a (OptionNumber, Vec<u8>)>) {
    let mut previous = 0;
    for (number, value) in options {
        let delta = usize::from(number.0 - previous);
        previous = number.0;
        let (delta_nibble, delta_extension) = nibble(delta);
        let (length_nibble, length_extension) = nibble(value.len());
        bytes.push(delta_nibble << 4 | length_nibble);
        bytes.extend_from_slice(&delta_extension);
        bytes.extend_from_slice(&length_extension);
        bytes.extend_from_slice(value);
    }
}

fn nibble(value: usize) -> (u8, Vec<u8>) {
    match value {
        0..=12 => (value as u8, Vec::new()),
        13..=268 => (13, vec![(value - 13) as u8]),
        _ => (14, u16::try_from(value - 269).unwrap_or(u16::MAX).to_be_bytes().to_vec()),
    }
}

/// The shortest big-endian form of an unsigned integer; zero is no byte at all.
#[must_use]
pub fn encode_uint(value: u32) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let leading_zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    bytes[leading_zeros..].to_vec()
}

/// An unsigned integer of at most four bytes.
#[must_use]
pub fn decode_uint(bytes: &[u8]) -> Option<u32> {
    (bytes.len() <= 4).then(|| bytes.iter().fold(0, |value, &byte| value << 8 | u32::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7252_appendix_a_request_and_response() {
        let request = Message::decode(&[
            0x40, 0x01, 0x7d, 0x34, 0xbb, b't', b'e', b'm', b'p', b'e', b'r', b'a', b't', b'u', b'r', b'e',
        ])
        .unwrap();
        assert_eq!((request.message_type, request.code, request.id), (MessageType::Confirmable, Code::GET, 0x7d34));
        assert_eq!(request.uri_path(), ["temperature"]);
        assert_eq!(Message::decode(&request.encode()), Ok(request));
    }

    #[test]
    fn options_of_every_length_class_survive() {
        for length in [0, 1, 12, 13, 268, 269, 1_000] {
            let mut message = Message::new(MessageType::Confirmable, Code::POST, 1, Token::new(&[1, 2, 3]).unwrap());
            message.push_option(OptionNumber(2_000), vec![7; length]);
            message.push_option(OptionNumber::URI_PATH, vec![b'x'; length]);
            message.payload = vec![9];
            let decoded = Message::decode(&message.encode()).unwrap();
            assert_eq!(decoded.option(OptionNumber(2_000)).unwrap().len(), length);
            assert_eq!(decoded.options[0].0, OptionNumber::URI_PATH);
        }
    }

    #[test]
    fn rfc7252_5_4_3_elective_options_of_wrong_length_are_as_good_as_absent() {
        let mut message = Message::new(MessageType::NonConfirmable, Code::CONTENT, 1, Token::EMPTY);
        message.push_option(OptionNumber::OBSERVE, [0, 0, 0, 1]);
        message.push_option(OptionNumber::CONTENT_FORMAT, [0, 0, 40]);
        assert_eq!((message.observe(), message.content_format()), (None, None));
        message.options = vec![(OptionNumber::OBSERVE, vec![0, 0, 1]), (OptionNumber::CONTENT_FORMAT, vec![0, 40])];
        assert_eq!((message.observe(), message.content_format()), (Some(1), Some(40)));
    }

    #[test]
    fn rfc7252_5_4_unusable_critical_options_are_found_and_elective_ones_ignored() {
        let mut message = Message::new(MessageType::Confirmable, Code::GET, 1, Token::EMPTY);
        message.push_option(OptionNumber(2_000), []);
        assert_eq!(message.first_unusable_option(&[]), None);
        message.push_option(OptionNumber(2_001), []);
        assert_eq!(message.first_unusable_option(&[]), Some(OptionNumber(2_001)));
        let mut twice = Message::new(MessageType::Confirmable, Code::GET, 1, Token::EMPTY);
        twice.push_uint(OptionNumber::ACCEPT, 0);
        twice.push_uint(OptionNumber::ACCEPT, 1);
        assert_eq!(twice.first_unusable_option(&[OptionNumber::ACCEPT]), Some(OptionNumber::ACCEPT));
    }
}
