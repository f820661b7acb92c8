//! The thread that the TLS library has to itself, in virtual time: orders are done one after the other, and each
//! handshake takes a while.

use std::collections::VecDeque;
use std::time::Duration;

use super::handshakes::SimulatedHandshakes;
use crate::gateway::handshakes::{HandshakeInput, HandshakeOrder};
use crate::model::time::Instant;

/// How long it takes to begin a handshake or to go on with one: 1,000 full handshakes in a second.
const WORK: Duration = Duration::from_micros(500);

/// A worker and what it has done.
#[derive(Debug)]
pub struct Worker {
    handshakes: SimulatedHandshakes,
    free_at: Instant,
    done: VecDeque<(Instant, HandshakeInput)>,
    most: usize,
}

impl Worker {
    /// A worker that knows nobody.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { handshakes: SimulatedHandshakes::new(seed), free_at: Instant::ZERO, done: VecDeque::new(), most: 0 }
    }

    /// Takes an order of the core.
    pub fn order(&mut self, now: Instant, order: HandshakeOrder) {
        let works = matches!(order, HandshakeOrder::Begin { .. } | HandshakeOrder::Continue { .. });
        self.free_at = self.free_at.max(now);
        if works {
            self.free_at = self.free_at + WORK;
        }
        self.handshakes.handle(order);
        self.most = self.most.max(self.handshakes.len());
        while let Some(input) = self.handshakes.poll() {
            self.done.push_back((self.free_at, input));
        }
    }

    /// When the core is told something next.
    #[must_use]
    pub fn next_event(&self) -> Option<Instant> {
        self.done.front().map(|(at, _)| *at)
    }

    /// What the core is told by now.
    pub fn poll(&mut self, now: Instant) -> Option<HandshakeInput> {
        self.next_event().filter(|at| *at <= now)?;
        self.done.pop_front().map(|(_, input)| input)
    }

    /// Handshakes under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.handshakes.len()
    }

    /// The most handshakes that were under way at a time.
    #[must_use]
    pub const fn most_under_way(&self) -> usize {
        self.most
    }
}
