//! Bodies in pieces (RFC 7959) towards and from a device, as the gateway's own requests cause them.
//!
//! Each piece is a request of its own with a token of its own. What leaves is cut as the device wants it: a smaller size
//! in an answer counts from the next piece on, 4.13 with a smaller size begins anew with that size, 4.08 begins anew
//! once. What arrives must follow on; a wrong piece or another ETag begins the whole anew once, and nothing is ever
//! spliced. A piece in the middle that goes unanswered has a second try, unless the operation must not be repeated; 4.08
//! to that says that the device has it.
//! One body is bounded by `max_transfer_bytes`, all that arrive together by `max_transfers_bytes`.

use super::Devices;
use super::exchange::{ActiveExchange, Receiving, Sending, TransferError};
use crate::gateway::services::Services;
use crate::instrumentation::occurrence::Occurrence;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::message::{Code, Message};
use crate::protocol::coap::option::OptionNumber;

/// A request that came to its end, with the whole answer or why there is none.
pub(super) type Assembled = (ActiveExchange, Result<Message, TransferError>);

impl Devices {
    /// Asks for or sends the next piece, or hands the whole on.
    pub(super) fn assemble(
        &mut self,
        services: &mut Services,
        key: usize,
        mut active: ActiveExchange,
        message: Message,
    ) -> Option<Assembled> {
        match next_piece(&mut active, &message) {
            Ok(true) => {
                self.continue_request(services, key, active, None);
                return None;
            }
            Ok(false) => {}
            Err(error) => return Some((active, Err(error))),
        }
        let Ok(Some(block)) = message.block_over(OptionNumber::BLOCK2, services.is_stream(active.peer)) else {
            return Some((active, Ok(message)));
        };
        let receiving = match active.receiving.take() {
            Some(receiving) => receiving,
            None if block.more && block.number == 0 && message.code.is_success() => Receiving {
                first: message.clone(),
                body: Vec::new(),
                wanted: Block { number: 0, more: false, size_exponent: block.size_exponent },
                restarted: false,
                asked_again: false,
            },
            None if block.number != 0 => {
                let wrong = format!("block {} came where block 0 was asked for", block.number);
                return Some((active, Err(TransferError::WrongPiece(wrong))));
            }
            None => return Some((active, Ok(message))),
        };
        self.take_piece(services, key, active, receiving, message, block)
    }

    fn take_piece(
        &mut self,
        services: &mut Services,
        key: usize,
        active: ActiveExchange,
        mut receiving: Receiving,
        message: Message,
        block: Block,
    ) -> Option<Assembled> {
        let fits = message.code.is_success()
            && block.offset() == receiving.body.len()
            && (!block.more || block.fits(message.payload.len()))
            && (block.number == 0 || message.option(OptionNumber::ETAG) == receiving.first.option(OptionNumber::ETAG));
        if !fits {
            if receiving.restarted && !message.code.is_success() {
                return Some((active, Ok(message)));
            }
            if receiving.restarted {
                let wrong = format!("block {} does not follow on {} bytes", block.number, receiving.body.len());
                return Some((active, Err(TransferError::WrongPiece(wrong))));
            }
            // A piece of another value, or the wrong piece: from the beginning, never spliced.
            let again = Receiving {
                body: Vec::new(),
                wanted: Block { number: 0, more: false, size_exponent: block.size_exponent },
                restarted: true,
                asked_again: false,
                first: receiving.first,
            };
            self.continue_request(services, key, active, Some(again));
            return None;
        }
        if block.number == 0 {
            // Begun anew or not: an observation is known by the token of its Observe.
            let begun = std::mem::replace(&mut receiving.first, message.clone());
            receiving.first.token = begun.token;
            if let (Some(sequence), None) = (begun.observe(), message.observe()) {
                receiving.first.push_uint(OptionNumber::OBSERVE, sequence);
            }
        }
        receiving.body.extend_from_slice(&message.payload);
        let limits = &services.configuration.limits;
        let announced = message.uint(OptionNumber::SIZE2).map_or(0, |size| size as usize);
        let size = receiving.body.len().max(announced);
        let bound = if size > limits.max_transfer_bytes {
            Some("max_transfer_bytes")
        } else if self.receiving_bytes + receiving.body.len() > limits.max_transfers_bytes {
            Some("max_transfers_bytes")
        } else {
            None
        };
        if let Some(bound) = bound {
            services.count(Occurrence::BoundReached(bound));
            return Some((active, Err(TransferError::TooLarge(bound))));
        }
        if block.more {
            let number = block.number_at(receiving.body.len());
            receiving.asked_again = false;
            receiving.wanted = Block { number, more: false, size_exponent: block.size_exponent };
            self.continue_request(services, key, active, Some(receiving));
            return None;
        }
        let mut whole = receiving.first;
        whole.payload = receiving.body;
        Some((active, Ok(whole)))
    }
}

/// Moves a large request on by the answer to a piece of it: whether another piece has to leave.
fn next_piece(active: &mut ActiveExchange, message: &Message) -> Result<bool, TransferError> {
    let block = message.block(OptionNumber::BLOCK1).ok().flatten();
    let Some(sending) = &mut active.sending else {
        // A body that went in one message is too much for the device, which says how it wants it.
        let smaller = block.filter(|block| block.size() < active.request.payload.len());
        if let (Code::REQUEST_ENTITY_TOO_LARGE, Some(block)) = (message.code, smaller) {
            let body = active.request.payload.clone();
            let size_exponent = block.size_exponent;
            active.sending = Some(Sending { body, offset: 0, size_exponent, restarted: false, asked_again: false });
            return Ok(true);
        }
        return Ok(false);
    };
    let wanted = block.map_or(sending.size_exponent, |block| block.size_exponent.min(sending.size_exponent));
    let end = sending.offset + (16 << sending.size_exponent);
    match message.code {
        code if code.is_success() && end < sending.body.len() => {
            // Also 2.04: some devices take each piece by itself (RFC 7959 section 2.3).
            sending.offset = end;
            sending.size_exponent = wanted;
            sending.asked_again = false;
            Ok(true)
        }
        Code::CONTINUE => Err(TransferError::WrongPiece("2.31 came as the answer to the last block".to_owned())),
        Code::REQUEST_ENTITY_INCOMPLETE if sending.asked_again && end < sending.body.len() => {
            // A second try that does not follow on: the device has this piece, and only its answers were lost.
            sending.offset = end;
            sending.asked_again = false;
            Ok(true)
        }
        Code::REQUEST_ENTITY_INCOMPLETE if !sending.restarted => {
            sending.asked_again = false;
            sending.offset = 0;
            sending.restarted = true;
            Ok(true)
        }
        Code::REQUEST_ENTITY_TOO_LARGE if wanted < sending.size_exponent => {
            sending.offset = 0;
            sending.size_exponent = wanted;
            Ok(true)
        }
        _ => Ok(false),
    }
}
