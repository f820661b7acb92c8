//! Blocks (RFC 7959) and repeated requests (RFC 7252 section 4.5), as a device handles them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::time::Instant;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::message::{Code, Message};
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::content::ContentFormat;

use super::reporting::Target;

/// Requests whose answers are remembered; the oldest are forgotten first.
pub(super) const MAX_RECENT_REQUESTS: usize = 32;
/// EXCHANGE_LIFETIME: how long a message id must be recognised.
const RECENT_LIFETIME: Duration = Duration::from_secs(247);

/// Answers to recent requests, for those that come twice.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentRequests {
    answers: VecDeque<(Instant, u16, Vec<u8>)>,
}

impl RecentRequests {
    /// The datagram that answered message `id`; empty if it was answered by nothing.
    pub(super) fn answer(&self, now: Instant, id: u16) -> Option<&[u8]> {
        let fresh = |at: Instant| now.saturating_since(at) <= RECENT_LIFETIME;
        self.answers.iter().rev().find(|(at, known, _)| *known == id && fresh(*at)).map(|(_, _, bytes)| &**bytes)
    }

    pub(super) fn remember(&mut self, now: Instant, id: u16, answer: Vec<u8>) {
        if self.answers.len() >= MAX_RECENT_REQUESTS {
            self.answers.pop_front();
        }
        self.answers.push_back((now, id, answer));
    }
}

/// A body that arrives in blocks.
#[derive(Clone, Debug)]
pub(super) struct IncomingBody {
    code: Code,
    path: Vec<Vec<u8>>,
    bytes: Vec<u8>,
}

/// What a block led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Assembled {
    /// The whole body is there.
    Whole(Vec<u8>),
    /// This code is to be answered; the Block1 option goes back with it.
    Answer(Code),
}

/// What a device takes of a body in blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intake {
    /// The longest body.
    pub(super) max_bytes: usize,
    /// Size exponent of the largest block that is welcome.
    pub(super) size_exponent: u8,
    /// Whether larger blocks are refused; otherwise the first one is taken and the next are asked for in the right size.
    pub(super) refuses_larger: bool,
}

/// Adds the block of a request to what came before.
pub(super) fn assemble(slot: &mut Option<IncomingBody>, request: &Message, intake: Intake) -> Assembled {
    let welcome = Block { number: 0, more: false, size_exponent: intake.size_exponent }.size();
    let block = match request.block(OptionNumber::BLOCK1) {
        Ok(Some(block)) => block,
        Ok(None) if intake.refuses_larger && request.payload.len() > welcome => {
            return Assembled::Answer(Code::REQUEST_ENTITY_TOO_LARGE);
        }
        Ok(None) => return Assembled::Whole(request.payload.clone()),
        Err(_) => return Assembled::Answer(Code::BAD_REQUEST),
    };
    if intake.refuses_larger && block.number == 0 && block.size() > welcome {
        return Assembled::Answer(Code::REQUEST_ENTITY_TOO_LARGE);
    }
    if block.more && request.payload.len() != block.size() {
        return Assembled::Answer(Code::BAD_REQUEST);
    }
    let path: Vec<Vec<u8>> = request.option_values(OptionNumber::URI_PATH).map(<[u8]>::to_vec).collect();
    if block.number == 0 {
        *slot = Some(IncomingBody { code: request.code, path: path.clone(), bytes: Vec::new() });
    }
    let Some(mut body) = slot.take().filter(|body| body.code == request.code && body.path == path) else {
        return Assembled::Answer(Code::REQUEST_ENTITY_INCOMPLETE);
    };
    if block.offset() != body.bytes.len() {
        // A stray block is no reason to forget those that fit.
        *slot = Some(body);
        return Assembled::Answer(Code::REQUEST_ENTITY_INCOMPLETE);
    }
    if body.bytes.len().saturating_add(request.payload.len()) > intake.max_bytes {
        return Assembled::Answer(Code::REQUEST_ENTITY_TOO_LARGE);
    }
    body.bytes.extend_from_slice(&request.payload);
    if block.more {
        *slot = Some(body);
        return Assembled::Answer(Code::CONTINUE);
    }
    Assembled::Whole(body.bytes)
}

/// How much of a body went into a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// All of it.
    Whole,
    /// One block of several.
    Piece,
    /// Nothing: the body ends before the block that was asked for.
    Beyond,
}

/// A body that may leave in blocks, kept so that all blocks come from one state.
#[derive(Clone, Debug)]
pub(super) struct LargeBody {
    pub(super) target: Target,
    pub(super) format: ContentFormat,
    bytes: Vec<u8>,
    etag: [u8; 4],
}

impl LargeBody {
    pub(super) fn new(target: Target, format: ContentFormat, bytes: Vec<u8>) -> Self {
        // FNV-1a: equal bodies have equal tags, and a changed one another.
        let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        Self { target, format, bytes, etag: hash.to_be_bytes() }
    }

    /// The tag that the body would have after a change.
    pub(super) fn change_etag(&mut self) {
        self.etag = self.etag.map(|byte| !byte);
    }

    /// Puts a block of the body into a message; everything if it fits and nobody asked for blocks. No block is larger
    /// than `size_exponent` says, except later ones of a transfer that began with larger ones.
    pub(super) fn cut(&self, message: &mut Message, wanted: Option<Block>, size_exponent: u8) -> Cut {
        let first = Block { number: 0, more: false, size_exponent };
        let mut block = wanted.unwrap_or(first);
        if block.number == 0 {
            block.size_exponent = block.size_exponent.min(size_exponent);
        }
        let from = block.offset();
        if from > 0 && from >= self.bytes.len() {
            return Cut::Beyond;
        }
        let to = from.saturating_add(block.size()).min(self.bytes.len());
        let cut = if from == 0 && to == self.bytes.len() { Cut::Whole } else { Cut::Piece };
        if wanted.is_some() || cut == Cut::Piece {
            let block = Block { more: to < self.bytes.len(), ..block };
            message.push_option(OptionNumber::ETAG, self.etag.to_vec());
            message.push_option(OptionNumber::BLOCK2, block.encode());
            if block.number == 0 {
                message.push_uint(OptionNumber::SIZE2, u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
            }
        }
        message.payload = self.bytes.get(from..to).unwrap_or_default().to_vec();
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::coap::message::{MessageType, Token};

    fn block(number: u32, more: bool, payload: &[u8]) -> Message {
        let mut message = Message::new(MessageType::Confirmable, Code::PUT, 1, Token::EMPTY);
        message.push_option(OptionNumber::URI_PATH, b"5".to_vec());
        message.push_option(OptionNumber::BLOCK1, Block { number, more, size_exponent: 0 }.encode());
        message.payload = payload.to_vec();
        message
    }

    const fn up_to(max_bytes: usize) -> Intake {
        Intake { max_bytes, size_exponent: Block::MAX_SIZE_EXPONENT, refuses_larger: false }
    }

    #[test]
    fn rfc7959_2_5_blocks_in_order_make_one_body_and_a_gap_is_refused() {
        let mut slot = None;
        assert_eq!(assemble(&mut slot, &block(0, true, &[1; 16]), up_to(100)), Assembled::Answer(Code::CONTINUE));
        assert_eq!(
            assemble(&mut slot, &block(1, false, &[2; 3]), up_to(100)),
            Assembled::Whole([vec![1; 16], vec![2; 3]].concat())
        );
        assert_eq!(assemble(&mut slot, &block(0, true, &[1; 16]), up_to(100)), Assembled::Answer(Code::CONTINUE));
        let gap = assemble(&mut slot, &block(2, false, &[2; 3]), up_to(100));
        assert_eq!(gap, Assembled::Answer(Code::REQUEST_ENTITY_INCOMPLETE));
        let whole = Assembled::Whole([vec![1; 16], vec![2; 3]].concat());
        assert_eq!(assemble(&mut slot, &block(1, false, &[2; 3]), up_to(100)), whole, "the beginning is still there");
    }

    #[test]
    fn a_body_beyond_the_bound_is_refused() {
        let mut slot = None;
        assert_eq!(assemble(&mut slot, &block(0, true, &[1; 16]), up_to(20)), Assembled::Answer(Code::CONTINUE));
        let beyond = assemble(&mut slot, &block(1, true, &[1; 16]), up_to(20));
        assert_eq!(beyond, Assembled::Answer(Code::REQUEST_ENTITY_TOO_LARGE));
        assert!(slot.is_none());
    }

    #[test]
    fn rfc7959_2_9_3_a_block_that_is_too_large_is_refused_or_followed_by_smaller_ones() {
        let large = |number, more, payload: &[u8]| {
            let mut message = block(number, more, payload);
            message.options.retain(|(option, _)| *option != OptionNumber::BLOCK1);
            message.push_option(OptionNumber::BLOCK1, Block { number, more, size_exponent: 1 }.encode());
            message
        };
        let strict = Intake { max_bytes: 100, size_exponent: 0, refuses_larger: true };
        let refused = Assembled::Answer(Code::REQUEST_ENTITY_TOO_LARGE);
        let mut slot = None;
        assert_eq!(assemble(&mut slot, &large(0, true, &[1; 32]), strict), refused);
        let mut plain = Message::new(MessageType::Confirmable, Code::PUT, 1, Token::EMPTY);
        plain.payload = vec![1; 17];
        assert_eq!(assemble(&mut slot, &plain, strict), refused);
        let lenient = Intake { refuses_larger: false, ..strict };
        assert_eq!(assemble(&mut slot, &large(0, true, &[1; 32]), lenient), Assembled::Answer(Code::CONTINUE));
        let whole = assemble(&mut slot, &block(2, false, &[2; 4]), lenient);
        assert_eq!(whole, Assembled::Whole([vec![1; 32], vec![2; 4]].concat()));
    }

    #[test]
    fn recent_requests_forget_the_oldest_when_full_and_all_after_their_lifetime() {
        let mut recent = RecentRequests::default();
        for id in 0..=MAX_RECENT_REQUESTS as u16 {
            recent.remember(Instant::ZERO, id, vec![1]);
        }
        assert_eq!(recent.answer(Instant::ZERO, 0), None);
        assert_eq!(recent.answer(Instant::ZERO, 1), Some(&[1][..]));
        assert_eq!(recent.answer(Instant::from_secs(248), 1), None);
    }
}
