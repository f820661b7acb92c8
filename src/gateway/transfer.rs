//! Bodies in pieces (RFC 7959) towards and from a device, as the gateway's own requests cause them.
//!
//! ```text
//! answer ──▶ step ──▶ Next: send or ask for another piece
//!                 ├─▶ Whole: the request is over, this is its answer
//!                 └─▶ Failed: the request is over, and its answer cannot be had
//! ```
//!
//! Each piece is a request of its own with a token of its own. What leaves is cut as the device wants it: a smaller size
//! in an answer counts from the next piece on, 4.13 with a smaller size begins anew with that size, 4.08 begins anew
//! once. What arrives must follow on; a wrong piece or another ETag begins the whole anew once, and nothing is ever
//! spliced. A piece in the middle that goes unanswered has a second try, unless the operation must not be repeated; 4.08
//! to that says that the device has it.
//! One body is bounded by `max_transfer_bytes`, all that arrive together by `max_transfers_bytes`.

use super::dispatch::attempt::Request;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::message::{Code, Message, Token};
use crate::protocol::coap::option::OptionNumber;

/// A body that arrives in Block2 pieces.
#[derive(Clone, Debug)]
pub struct Receiving {
    /// The first answer, whose options count for the whole.
    first: Message,
    /// What came so far.
    body: Vec<u8>,
    /// The block asked for now.
    wanted: Block,
    /// Whether the transfer was begun again already because a piece did not fit.
    restarted: bool,
    /// Whether this piece was asked for a second time, as nobody answered.
    asked_again: bool,
}

impl Receiving {
    /// Bytes that came so far.
    pub const fn received_bytes(&self) -> usize {
        self.body.len()
    }
}

/// Why a body did not arrive as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferError {
    /// Twice a piece came that was not asked for; says which.
    WrongPiece(String),
    /// It exceeds a bound, whose name this is.
    TooLarge(&'static str),
}

/// A body that leaves in Block1 pieces.
#[derive(Clone, Debug)]
pub struct Sending {
    /// The whole body.
    body: Vec<u8>,
    /// Bytes that the device took.
    offset: usize,
    /// Size exponent of the pieces.
    size_exponent: u8,
    /// Whether the device lost the beginning once already (4.08).
    restarted: bool,
    /// Whether this piece was sent a second time, as nobody answered.
    asked_again: bool,
}

impl Sending {
    /// A body that is too long for one message; nothing of it has left.
    pub fn new(body: &[u8], size_exponent: u8) -> Self {
        Self { body: body.to_vec(), offset: 0, size_exponent, restarted: false, asked_again: false }
    }

    /// Puts the piece that is to leave now into a message.
    fn put_into(&self, message: &mut Message) {
        let block = Block {
            number: u32::try_from(self.offset >> (self.size_exponent + 4)).unwrap_or(Block::MAX_NUMBER),
            more: false,
            size_exponent: self.size_exponent,
        };
        let end = (self.offset + block.size()).min(self.body.len());
        message.payload = self.body.get(self.offset..end).unwrap_or_default().to_vec();
        message.push_option(OptionNumber::BLOCK1, Block { more: end < self.body.len(), ..block }.encode());
        if self.offset == 0 {
            message.push_uint(OptionNumber::SIZE1, u32::try_from(self.body.len()).unwrap_or(u32::MAX));
        }
    }
}

/// The message of a request: the whole, or the piece of it that is due.
pub fn message_of(
    request: &Request,
    root: &str,
    id: u16,
    token: Token,
    sending: Option<&Sending>,
    receiving: Option<&Receiving>,
) -> Message {
    let mut message = request.message(root, id, token);
    if let Some(sending) = sending {
        sending.put_into(&mut message);
    }
    if let Some(receiving) = receiving {
        message.options.retain(|(number, _)| *number != OptionNumber::OBSERVE);
        message.push_option(OptionNumber::BLOCK2, receiving.wanted.encode());
    }
    message
}

/// Whether a piece that went unanswered is worth a second try: the device answered the ones before, and this one
/// had none yet. Each piece has one, so that a long transfer survives a network that loses much.
pub fn takes_second_try(receiving: &mut Option<Receiving>, sending: &mut Option<Sending>) -> bool {
    let asked_again = match (receiving, sending) {
        (Some(receiving), _) if !receiving.body.is_empty() => &mut receiving.asked_again,
        (_, Some(sending)) if sending.offset > 0 => &mut sending.asked_again,
        _ => return false,
    };
    !std::mem::replace(asked_again, true)
}

/// How much may arrive.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Bytes of one body.
    pub max_transfer_bytes: usize,
    /// Bytes of all bodies that arrive together.
    pub max_transfers_bytes: usize,
    /// What others hold of that.
    pub taken_bytes: usize,
}

/// What an answer leads to.
#[derive(Debug)]
pub enum Step {
    /// Another piece has to leave, or to be asked for.
    Next(Option<Receiving>),
    /// This is the answer to the request.
    Whole(Message),
    /// Its body cannot be had.
    Failed(TransferError),
}

/// Moves a request on by the answer to it or to a piece of it. `whole` is the body of the request.
pub fn step(
    whole: &[u8],
    sending: &mut Option<Sending>,
    receiving: Option<Receiving>,
    message: Message,
    over_stream: bool,
    room: Room,
) -> Step {
    match next_to_send(whole, sending, &message) {
        Ok(true) => return Step::Next(None),
        Ok(false) => {}
        Err(error) => return Step::Failed(error),
    }
    let Ok(Some(block)) = message.block_over(OptionNumber::BLOCK2, over_stream) else {
        return Step::Whole(message);
    };
    let receiving = match receiving {
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
            return Step::Failed(TransferError::WrongPiece(wrong));
        }
        None => return Step::Whole(message),
    };
    take_piece(receiving, message, block, room)
}

fn take_piece(mut receiving: Receiving, message: Message, block: Block, room: Room) -> Step {
    let fits = message.code.is_success()
        && block.offset() == receiving.body.len()
        && (!block.more || block.fits(message.payload.len()))
        && (block.number == 0 || message.option(OptionNumber::ETAG) == receiving.first.option(OptionNumber::ETAG));
    if !fits {
        if receiving.restarted && !message.code.is_success() {
            return Step::Whole(message);
        }
        if receiving.restarted {
            let wrong = format!("block {} does not follow on {} bytes", block.number, receiving.body.len());
            return Step::Failed(TransferError::WrongPiece(wrong));
        }
        // A piece of another value, or the wrong piece: from the beginning, never spliced.
        return Step::Next(Some(Receiving {
            body: Vec::new(),
            wanted: Block { number: 0, more: false, size_exponent: block.size_exponent },
            restarted: true,
            asked_again: false,
            first: receiving.first,
        }));
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
    let announced = message.uint(OptionNumber::SIZE2).map_or(0, |size| size as usize);
    let size = receiving.body.len().max(announced);
    if size > room.max_transfer_bytes {
        return Step::Failed(TransferError::TooLarge("max_transfer_bytes"));
    }
    if room.taken_bytes + receiving.body.len() > room.max_transfers_bytes {
        return Step::Failed(TransferError::TooLarge("max_transfers_bytes"));
    }
    if block.more {
        let number = block.number_at(receiving.body.len());
        receiving.asked_again = false;
        receiving.wanted = Block { number, more: false, size_exponent: block.size_exponent };
        return Step::Next(Some(receiving));
    }
    let mut whole = receiving.first;
    whole.payload = receiving.body;
    Step::Whole(whole)
}

/// Moves a large request on by the answer to a piece of it: whether another piece has to leave.
fn next_to_send(whole: &[u8], sending: &mut Option<Sending>, message: &Message) -> Result<bool, TransferError> {
    let block = message.block(OptionNumber::BLOCK1).ok().flatten();
    let Some(sending) = sending else {
        // A body that went in one message is too much for the device, which says how it wants it.
        let smaller = block.filter(|block| block.size() < whole.len());
        if let (Code::REQUEST_ENTITY_TOO_LARGE, Some(block)) = (message.code, smaller) {
            *sending = Some(Sending::new(whole, block.size_exponent));
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
