//! The one request that is under way to a device, and why it was sent.

use super::observation::Target;
use crate::gateway::dispatch::attempt::Request;
use crate::gateway::vocabulary::Peer;
use crate::model::time::Instant;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::exchange::Exchange;
use crate::protocol::coap::message::Message;

/// Why a request was sent: what its end means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Write-Attributes before an Observe.
    WriteAttributes {
        /// What is to be observed.
        target: Target,
        /// Which of its paths got attributes.
        position: usize,
    },
    /// Observe for the mapping.
    Observe {
        /// What.
        target: Target,
    },
    /// End an observation.
    Cancel {
        /// What was observed.
        target: Target,
    },
    /// Read for the mapping.
    Read {
        /// What.
        target: Target,
    },
    /// A command.
    Command {
        /// Its id.
        id: String,
    },
}

/// A body that arrives in Block2 pieces.
#[derive(Clone, Debug)]
pub struct Receiving {
    /// The first answer, whose options count for the whole.
    pub first: Message,
    /// What came so far.
    pub body: Vec<u8>,
    /// The block asked for now.
    pub wanted: Block,
    /// Whether the transfer was begun again already because a piece did not fit.
    pub restarted: bool,
    /// Whether this piece was asked for a second time, as nobody answered.
    pub asked_again: bool,
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
    pub body: Vec<u8>,
    /// Bytes that the device took.
    pub offset: usize,
    /// Size exponent of the pieces.
    pub size_exponent: u8,
    /// Whether the device lost the beginning once already (4.08).
    pub restarted: bool,
    /// Whether this piece was sent a second time, as nobody answered.
    pub asked_again: bool,
}

/// A request under way.
#[derive(Debug)]
pub struct ActiveExchange {
    /// Retransmission.
    pub exchange: Exchange,
    /// Why.
    pub job: Job,
    /// What was asked, for asking again in other words.
    pub request: Request,
    /// Where it went.
    pub peer: Peer,
    /// A large answer.
    pub receiving: Option<Receiving>,
    /// A large request.
    pub sending: Option<Sending>,
    /// Whether another format or address was tried already.
    pub tried_other_words: bool,
    /// When the whole must be over, if the command says so.
    pub give_up_at: Option<Instant>,
}

impl ActiveExchange {
    /// Whether a piece that went unanswered is worth a second try: the device answered the ones before, and this one
    /// had none yet. Each piece has one, so that a long transfer survives a network that loses much.
    pub fn takes_second_try(&mut self) -> bool {
        let asked_again = match (&mut self.receiving, &mut self.sending) {
            (Some(receiving), _) if !receiving.body.is_empty() => &mut receiving.asked_again,
            (_, Some(sending)) if sending.offset > 0 => &mut sending.asked_again,
            _ => return false,
        };
        !std::mem::replace(asked_again, true)
    }
}
