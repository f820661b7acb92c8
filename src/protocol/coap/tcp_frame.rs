//! The CoAP message over TCP: frames of a byte stream to messages and back (RFC 8323 section 3.2).
//!
//! A frame has a length in place of version, type and message id. [`decode`] reads the first frame of what has arrived,
//! or says that it is not whole yet; it looks at the length before anything else, so that a frame beyond the limit is
//! found by its first bytes. Type and id of a decoded message mean nothing: requests are confirmable, since each is
//! answered, everything else is not, and the id is zero.

use super::message::{Code, Message, MessageError, MessageType, Token, decode_options};

/// Bytes before the token at most: length, its extension, code.
const LONGEST_HEADER: usize = 6;

/// Why a stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame is longer than the reader announced.
    #[error("a message of {length} bytes, more than {limit}")]
    TooLarge {
        /// Bytes of the whole frame.
        length: u64,
        /// Bytes that the reader takes.
        limit: usize,
    },
    /// A token length, code or option that the format does not have.
    #[error("malformed message: {0}")]
    Malformed(#[from] MessageError),
}

/// The fixed part of a frame.
struct Header {
    /// Bytes before the token.
    length: usize,
    token_length: u8,
    code: Code,
    /// Bytes of options, marker and payload.
    body_length: u64,
}

impl Header {
    fn frame_length(&self) -> u64 {
        (self.length + usize::from(self.token_length)) as u64 + self.body_length
    }
}

/// `None` while the header is not whole.
fn header(bytes: &[u8]) -> Result<Option<Header>, MessageError> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let token_length = first & 0x0f;
    if token_length > 8 {
        return Err(MessageError::TokenTooLong(token_length));
    }
    let (extension, base) = match first >> 4 {
        13 => (1, 13),
        14 => (2, 269),
        15 => (4, 65_805),
        small => (0, u64::from(small)),
    };
    let Some(extended) = bytes.get(1..=extension) else { return Ok(None) };
    let Some(&code) = bytes.get(1 + extension) else { return Ok(None) };
    let body_length = extended.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte)) + base;
    Ok(Some(Header { length: 2 + extension, token_length, code: Code(code), body_length }))
}

/// Length of the first frame in bytes, once enough of it has arrived to tell.
///
/// # Errors
/// For a token length that the format does not have.
pub fn frame_length(bytes: &[u8]) -> Result<Option<u64>, FrameError> {
    Ok(header(bytes)?.map(|header| header.frame_length()))
}

/// The first frame and its length in bytes; `None` while it is not whole.
///
/// # Errors
/// If the frame is longer than `limit` bytes or breaks the format. Nothing behind it can be read then.
pub fn decode(bytes: &[u8], limit: usize) -> Result<Option<(Message, usize)>, FrameError> {
    let Some(header) = header(bytes)? else { return Ok(None) };
    let length = header.frame_length();
    let Some(whole) = usize::try_from(length).ok().filter(|length| *length <= limit) else {
        return Err(FrameError::TooLarge { length, limit });
    };
    let Some(frame) = bytes.get(..whole) else { return Ok(None) };
    let code = header.code;
    if !(code == Code::EMPTY || code.is_request() || code.is_response() || code.is_signal()) {
        return Err(MessageError::ReservedClass(code.class()).into());
    }
    let rest = frame.get(header.length..).unwrap_or_default();
    let (token, body) = rest.split_at_checked(usize::from(header.token_length)).ok_or(MessageError::Truncated)?;
    let (options, payload) = decode_options(body)?;
    let message_type = if code.is_request() { MessageType::Confirmable } else { MessageType::NonConfirmable };
    let token = Token::new(token).unwrap_or_default();
    Ok(Some((Message { message_type, code, id: 0, token, options, payload }, whole)))
}

/// The frame of a message; its type and id are left out.
#[must_use]
pub fn encode(message: &Message) -> Vec<u8> {
    let mut body = Vec::with_capacity(16 + message.payload.len() + message.options.len() * 8);
    message.encode_body(&mut body);
    let token = message.token.as_bytes();
    let mut frame = Vec::with_capacity(LONGEST_HEADER + token.len() + body.len());
    let token_length = token.len() as u8;
    match body.len() {
        length @ 0..=12 => frame.push((length as u8) << 4 | token_length),
        length @ 13..=268 => frame.extend_from_slice(&[13 << 4 | token_length, (length - 13) as u8]),
        length @ 269..=65_804 => {
            frame.push(14 << 4 | token_length);
            frame.extend_from_slice(&((length - 269) as u16).to_be_bytes());
        }
        length => {
            frame.push(15 << 4 | token_length);
            frame.extend_from_slice(&u32::try_from(length - 65_805).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
    frame.push(message.code.0);
    frame.extend_from_slice(token);
    frame.append(&mut body);
    frame
}

#[cfg(test)]
mod tests {
    use super::super::option::OptionNumber;
    use super::*;

    const LIMIT: usize = 1 << 20;

    fn message(payload: usize) -> Message {
        let mut message = Message::new(MessageType::NonConfirmable, Code::CONTENT, 0, Token::new(&[1, 2, 3]).unwrap());
        message.push_uint(OptionNumber::CONTENT_FORMAT, 112);
        message.payload = vec![0xa5; payload];
        message
    }

    #[test]
    fn rfc8323_3_2_the_example_of_a_get_is_read_and_written() {
        // Figure 6: a message with code 2.03, token 7f and neither options nor payload.
        let (message, length) = decode(&[0x01, 0x43, 0x7f], LIMIT).unwrap().unwrap();
        assert_eq!((message.code, message.token.as_bytes(), length), (Code::new(2, 3), &[0x7f][..], 3));
        assert_eq!(encode(&message), [0x01, 0x43, 0x7f]);
    }

    #[test]
    fn rfc8323_3_2_every_length_class_survives_at_its_edges() {
        // Two bytes of options and one of marker stand before the payload.
        for body in [0, 3, 12, 13, 14, 268, 269, 270, 65_804, 65_805, 65_806, 200_000_usize] {
            let mut original = message(body.saturating_sub(3));
            if body == 0 {
                original.options.clear();
            }
            let frame = encode(&original);
            let nibble = match body {
                0..=12 => body as u8,
                13..=268 => 13,
                269..=65_804 => 14,
                _ => 15,
            };
            if body != 3 {
                assert_eq!(frame[0] >> 4, nibble, "body of {body}");
            }
            assert_eq!(frame_length(&frame), Ok(Some(frame.len() as u64)));
            assert_eq!(decode(&frame, LIMIT), Ok(Some((original, frame.len()))), "body of {body}");
        }
    }

    #[test]
    fn rfc8323_3_2_a_frame_cut_anywhere_is_not_whole_yet() {
        for payload in [0, 9, 10, 300, 70_000] {
            let frame = encode(&message(payload));
            for cut in 0..frame.len().min(400) {
                assert_eq!(decode(&frame[..cut], LIMIT), Ok(None), "{cut} of {}", frame.len());
            }
            assert_eq!(decode(&frame[..frame.len() - 1], LIMIT), Ok(None));
        }
    }

    #[test]
    fn frames_stand_one_behind_the_other() {
        let (first, second) = (message(5), message(500));
        let stream = [encode(&first), encode(&second)].concat();
        let (read, length) = decode(&stream, LIMIT).unwrap().unwrap();
        assert_eq!(read, first);
        assert_eq!(decode(&stream[length..], LIMIT).unwrap().unwrap().0, second);
    }

    #[test]
    fn a_frame_beyond_the_limit_is_found_by_its_first_bytes() {
        let frame = encode(&message(2_000));
        assert!(decode(&frame, frame.len()).unwrap().is_some());
        let error = FrameError::TooLarge { length: frame.len() as u64, limit: frame.len() - 1 };
        assert_eq!(decode(&frame[..4], frame.len() - 1), Err(error));
        let longest = [0xf0, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(decode(&longest, LIMIT), Err(FrameError::TooLarge { length: 4_295_033_106, limit: LIMIT }));
    }

    #[test]
    fn what_the_format_does_not_have_is_an_error() {
        for token_length in 9..=15 {
            assert_eq!(
                decode(&[token_length, 0x45], LIMIT),
                Err(FrameError::Malformed(MessageError::TokenTooLong(token_length)))
            );
        }
        for class in [1, 3, 6] {
            let code = Code::new(class, 1).0;
            assert_eq!(decode(&[0, code], LIMIT), Err(MessageError::ReservedClass(class).into()));
        }
        assert_eq!(decode(&[0x10, 0x45, 0xff], LIMIT), Err(MessageError::EmptyPayload.into()));
        assert_eq!(decode(&[0x10, 0x45, 0xf0], LIMIT), Err(MessageError::ReservedOptionNibble.into()));
        assert_eq!(decode(&[0x10, 0x45, 0x02], LIMIT), Err(MessageError::Truncated.into()));
    }

    #[test]
    fn mutated_frames_never_panic_and_what_is_read_can_be_written() {
        use rand_core::{Rng as _, SeedableRng as _};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(8_323);
        let seeds = [encode(&message(0)), encode(&message(20)), encode(&message(400)), vec![0x01, 0xe2, 0x42]];
        let mut read = 0;
        for _ in 0..20_000 {
            let mut bytes = seeds[random.next_u32() as usize % seeds.len()].clone();
            for _ in 0..=random.next_u32() % 4 {
                let at = random.next_u32() as usize % bytes.len();
                bytes[at] = random.next_u32() as u8;
            }
            if let Ok(Some((message, length))) = decode(&bytes, 4_096) {
                read += 1;
                assert!(length <= bytes.len());
                let frame = encode(&message);
                assert_eq!(decode(&frame, 8_192).unwrap().unwrap(), (message, frame.len()));
            }
        }
        assert!(read > 1_000, "only {read} mutants were readable");
    }
}
