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
