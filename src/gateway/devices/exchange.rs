//! The one request that is under way to a device, and why it was sent.

use super::observation::Target;
use crate::gateway::dispatch::attempt::Request;
use crate::gateway::transfer::{self, Receiving, Sending};
use crate::gateway::vocabulary::Peer;
use crate::model::time::Instant;
use crate::protocol::coap::exchange::Exchange;

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
    /// Whether a piece that went unanswered is worth a second try.
    pub fn takes_second_try(&mut self) -> bool {
        transfer::takes_second_try(&mut self.receiving, &mut self.sending)
    }
}
