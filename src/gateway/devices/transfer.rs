//! Bodies in pieces on behalf of a device: which piece is next is said by [`transfer`](crate::gateway::transfer).

use super::Devices;
use super::exchange::ActiveExchange;
use crate::gateway::services::Services;
use crate::gateway::transfer::{self, Step, TransferError};
use crate::instrumentation::occurrence::Occurrence;
use crate::protocol::coap::message::Message;

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
        let room = services.room_beside(self.receiving_bytes);
        let over_stream = services.is_stream(active.peer);
        let receiving = active.receiving.take();
        match transfer::step(&active.request.payload, &mut active.sending, receiving, message, over_stream, room) {
            Step::Next(receiving) => {
                self.continue_request(services, key, active, receiving);
                None
            }
            Step::Whole(message) => Some((active, Ok(message))),
            Step::Failed(error) => {
                if let TransferError::TooLarge(bound) = &error {
                    services.count(Occurrence::BoundReached(bound));
                }
                Some((active, Err(error)))
            }
        }
    }
}
