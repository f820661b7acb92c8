//! Messages that are worth something only now: log lines and traces for somebody who looks on.
//!
//! They leave at most once, are never stored, and are dropped while the sink is away or does not keep up.

use std::collections::{HashSet, VecDeque};

use crate::gateway::vocabulary::DeliveryId;
use crate::model::message::Message;

/// Messages that wait for one sink; further ones are dropped.
pub const MAX_TRANSIENT_WAITING: usize = 512;

/// Messages handed to the adapter of one sink that it has not written yet.
pub const MAX_TRANSIENT_SENT: usize = 64;

/// The transient messages of one sink.
#[derive(Debug, Default)]
pub struct Transient {
    waiting: VecDeque<Message>,
    sent: HashSet<DeliveryId>,
}

impl Transient {
    /// Takes a message; `false` if there is no room.
    pub fn push(&mut self, message: Message) -> bool {
        if self.waiting.len() >= MAX_TRANSIENT_WAITING {
            return false;
        }
        self.waiting.push_back(message);
        true
    }

    /// The next message, if one may leave; `delivery` is what it leaves as.
    pub fn pop(&mut self, delivery: DeliveryId) -> Option<Message> {
        if self.sent.len() >= MAX_TRANSIENT_SENT {
            return None;
        }
        let message = self.waiting.pop_front()?;
        self.sent.insert(delivery);
        Some(message)
    }

    /// Whether a delivery was one of these; it is over.
    pub fn finish(&mut self, delivery: DeliveryId) -> bool {
        self.sent.remove(&delivery)
    }

    /// Forgets everything: the connection is gone.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.sent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::northbound::layout::native;

    fn message(number: usize) -> Message {
        native::message(format!("t/{number}"), &number.into(), false)
    }

    #[test]
    fn what_waits_and_what_is_under_way_is_bounded() {
        let mut transient = Transient::default();
        let taken = (0..MAX_TRANSIENT_WAITING + 5).filter(|number| transient.push(message(*number))).count();
        assert_eq!(taken, MAX_TRANSIENT_WAITING);
        let left = (0..).map(DeliveryId).map_while(|delivery| transient.pop(delivery)).count();
        assert_eq!(left, MAX_TRANSIENT_SENT);
        assert!(transient.finish(DeliveryId(0)));
        assert!(!transient.finish(DeliveryId(0)));
        let next = transient.pop(DeliveryId(1_000)).unwrap();
        assert_eq!(next.topic, format!("t/{MAX_TRANSIENT_SENT}"), "in the order in which they came");
        transient.clear();
        assert_eq!(transient.pop(DeliveryId(1_001)), None);
    }
}
