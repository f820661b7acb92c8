//! The one request that is under way to a device, and why it was sent.

use crate::gateway::dispatch::attempt::Request;
use crate::gateway::vocabulary::Peer;
use crate::model::path::Path;
use crate::model::time::Instant;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::exchange::Exchange;
use crate::protocol::coap::message::Message;

/// Why a request was sent: what its end means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Write-Attributes before an Observe.
    WriteAttributes {
        /// The path to be observed.
        path: Path,
    },
    /// Observe for the mapping.
    Observe {
        /// The path.
        path: Path,
    },
    /// End an observation.
    Cancel {
        /// The path.
        path: Path,
    },
    /// Read for the mapping.
    Read {
        /// The path.
        path: Path,
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

/// A body that leaves in Block1 pieces.
#[derive(Clone, Debug)]
pub struct Sending {
    /// The whole body.
    pub body: Vec<u8>,
    /// Bytes that the device took.
    pub offset: usize,
    /// Size exponent of the pieces.
    pub size_exponent: u8,
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
