//! Answers kept for repeated requests (RFC 7252 section 4.5).
//!
//! A confirmable request is known by its peer and message id for EXCHANGE_LIFETIME. While its effect is not durable it
//! is pending and repetitions stay silent; afterwards they get the same answer again. The table is bounded: the oldest
//! entries give way, which at worst makes a very late repetition look new.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::gateway::vocabulary::{Peer, Place};
use crate::model::time::Instant;
use crate::protocol::coap::message::Message;

/// EXCHANGE_LIFETIME of RFC 7252 section 4.8.2 with default parameters.
pub const EXCHANGE_LIFETIME: Duration = Duration::from_secs(247);

type Key = (Place, u16);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kept {
    Pending,
    /// An empty acknowledgement, which is rebuilt from the message id.
    Empty,
    /// A reset, which is rebuilt likewise.
    Reset,
    Datagram(Box<[u8]>),
    /// A non-confirmable message: nothing was answered.
    Silent,
}

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is new; it counts as pending from now on.
    New,
    /// It is being handled: stay silent.
    Pending,
    /// It was answered: say this again. Empty for a message that wanted no answer.
    Answered(Vec<u8>),
}

/// The table.
#[derive(Debug)]
pub struct Answers {
    bound: usize,
    kept: HashMap<Key, (Kept, Instant)>,
    order: VecDeque<(Key, Instant)>,
}

impl Answers {
    /// An empty table of at most `max_answers`.
    pub fn new(max_answers: usize) -> Self {
        Self { bound: max_answers, kept: HashMap::new(), order: VecDeque::new() }
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Looks a request up and notes it if it is new.
    pub fn see(&mut self, now: Instant, peer: Peer, message_id: u16) -> Seen {
        let key = (peer.place(), message_id);
        if let Some((kept, since)) = self.kept.get(&key)
            && now.saturating_since(*since) < EXCHANGE_LIFETIME
        {
            return match kept {
                Kept::Pending => Seen::Pending,
                Kept::Silent => Seen::Answered(Vec::new()),
                Kept::Empty => Seen::Answered(Message::acknowledgement(message_id).encode()),
                Kept::Reset => Seen::Answered(Message::reset(message_id).encode()),
                Kept::Datagram(bytes) => Seen::Answered(bytes.to_vec()),
            };
        }
        self.make_room(now);
        self.kept.insert(key, (Kept::Pending, now));
        self.order.push_back((key, now));
        Seen::New
    }

    /// Notes the answer to a request that was seen; empty for a message that wants none.
    pub fn answered(&mut self, peer: Peer, message_id: u16, datagram: &[u8]) {
        if let Some((kept, _)) = self.kept.get_mut(&(peer.place(), message_id)) {
            *kept = match datagram {
                [] => Kept::Silent,
                datagram if *datagram == Message::acknowledgement(message_id).encode() => Kept::Empty,
                datagram if *datagram == Message::reset(message_id).encode() => Kept::Reset,
                datagram => Kept::Datagram(datagram.into()),
            };
        }
    }

    /// Forgets a request that was not handled after all, so that its repetition counts as new.
    pub fn forget(&mut self, peer: Peer, message_id: u16) {
        self.kept.remove(&(peer.place(), message_id));
    }

    fn make_room(&mut self, now: Instant) {
        while let Some((key, since)) = self.order.front().copied() {
            let expired = now.saturating_since(since) >= EXCHANGE_LIFETIME;
            if !expired && self.order.len() < self.bound {
                break;
            }
            self.order.pop_front();
            // A newer entry of the same key stands further back and stays.
            if self.kept.get(&key).is_some_and(|(_, kept_since)| *kept_since == since) {
                self.kept.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer { listener: 0, remote: "127.0.0.1:1".parse().unwrap(), local: None, session: None }
    }

    #[test]
    fn rfc7252_4_5_a_repetition_is_silent_while_pending_and_then_gets_the_same_answer() {
        let mut answers = Answers::new(10);
        assert_eq!(answers.see(Instant::ZERO, peer(), 7), Seen::New);
        assert_eq!(answers.see(Instant::from_secs(2), peer(), 7), Seen::Pending);
        answers.answered(peer(), 7, &[1, 2, 3, 4, 5]);
        assert_eq!(answers.see(Instant::from_secs(6), peer(), 7), Seen::Answered(vec![1, 2, 3, 4, 5]));
        assert_eq!(answers.see(Instant::from_secs(247), peer(), 7), Seen::New);
    }

    #[test]
    fn the_oldest_answers_give_way_at_the_bound() {
        let mut answers = Answers::new(3);
        for id in 0..5 {
            assert_eq!(answers.see(Instant::ZERO, peer(), id), Seen::New);
        }
        assert_eq!(answers.len(), 3);
        assert_eq!(answers.see(Instant::ZERO, peer(), 4), Seen::Pending);
        assert_eq!(answers.see(Instant::ZERO, peer(), 0), Seen::New);
    }
}
