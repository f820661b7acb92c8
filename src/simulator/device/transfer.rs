//! Blocks (RFC 7959) and repeated requests (RFC 7252 section 4.5), as a device handles them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::path::Path;
use crate::model::time::Instant;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::message::{Code, Message};
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::content::ContentFormat;

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

/// Adds the block of a request to what came before.
pub(super) fn assemble(slot: &mut Option<IncomingBody>, request: &Message, max_bytes: usize) -> Assembled {
    let block = match request.block(OptionNumber::BLOCK1) {
        Ok(Some(block)) => block,
        Ok(None) => return Assembled::Whole(request.payload.clone()),
        Err(_) => return Assembled::Answer(Code::BAD_REQUEST),
    };
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
        return Assembled::Answer(Code::REQUEST_ENTITY_INCOMPLETE);
    }
    if body.bytes.len().saturating_add(request.payload.len()) > max_bytes {
        return Assembled::Answer(Code::REQUEST_ENTITY_TOO_LARGE);
    }
    body.bytes.extend_from_slice(&request.payload);
    if block.more {
        *slot = Some(body);
        return Assembled::Answer(Code::CONTINUE);
    }
    Assembled::Whole(body.bytes)
}

/// A body that left in blocks, kept so that all blocks come from one state.
#[derive(Clone, Debug)]
pub(super) struct LargeBody {
    pub(super) path: Path,
    pub(super) format: ContentFormat,
    pub(super) bytes: Vec<u8>,
}

/// Puts the block of a body into a message; everything if it fits and nobody asked for blocks. False if the body ends
/// before the block.
pub(super) fn cut_block(message: &mut Message, wanted: Option<Block>, body: &[u8]) -> bool {
    let wanted_or_first = wanted.unwrap_or(Block { number: 0, more: false, size_exponent: Block::MAX_SIZE_EXPONENT });
    let from = wanted_or_first.offset();
    if from > 0 && from >= body.len() {
        return false;
    }
    let to = from.saturating_add(wanted_or_first.size()).min(body.len());
    if wanted.is_some() || to < body.len() {
        let block = Block { more: to < body.len(), ..wanted_or_first };
        message.push_option(OptionNumber::BLOCK2, block.encode());
        if block.number == 0 {
            message.push_uint(OptionNumber::SIZE2, u32::try_from(body.len()).unwrap_or(u32::MAX));
        }
    }
    message.payload = body.get(from..to).unwrap_or_default().to_vec();
    true
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

    #[test]
    fn rfc7959_2_5_blocks_in_order_make_one_body_and_a_gap_is_refused() {
        let mut slot = None;
        assert_eq!(assemble(&mut slot, &block(0, true, &[1; 16]), 100), Assembled::Answer(Code::CONTINUE));
        assert_eq!(
            assemble(&mut slot, &block(1, false, &[2; 3]), 100),
            Assembled::Whole([vec![1; 16], vec![2; 3]].concat())
        );
        assert_eq!(assemble(&mut slot, &block(0, true, &[1; 16]), 100), Assembled::Answer(Code::CONTINUE));
        let gap = assemble(&mut slot, &block(2, false, &[2; 3]), 100);
        assert_eq!(gap, Assembled::Answer(Code::REQUEST_ENTITY_INCOMPLETE));
    }

    #[test]
    fn a_body_beyond_the_bound_is_refused() {
        let mut slot = None;
        assert_eq!(assemble(&mut slot, &block(0, true, &[1; 16]), 20), Assembled::Answer(Code::CONTINUE));
        let beyond = assemble(&mut slot, &block(1, true, &[1; 16]), 20);
        assert_eq!(beyond, Assembled::Answer(Code::REQUEST_ENTITY_TOO_LARGE));
        assert!(slot.is_none());
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
