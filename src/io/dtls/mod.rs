//! DTLS handshakes by the TLS library, on a thread of their own: a storm of certificates must not stall the core.
//!
//! The thread takes [`HandshakeOrder`]s over a bounded channel and puts what becomes of them among the inputs of the
//! core. What a peer repeats by itself is dropped where the channel is full; what concerns credentials and beginnings
//! waits.

pub mod handshake;
pub mod handshakes;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use super::InputSender;
use super::secure::identity::ServerIdentity;
use crate::gateway::handshakes::HandshakeOrder;
use crate::gateway::vocabulary::Input;
use handshakes::Handshakes;

/// Orders on their way to the thread.
pub const QUEUED_ORDERS: usize = 4_096;

/// Orders that are taken before what they led to is told.
const ORDERS_PER_TURN: usize = 64;

enum Job {
    Order(HandshakeOrder),
    Identity(Box<ServerIdentity>),
}

/// The way to the thread.
pub struct HandshakeThread {
    jobs: SyncSender<Job>,
    /// What must not be lost and found the channel full.
    waiting: VecDeque<Job>,
}

impl HandshakeThread {
    /// Starts the thread. `first_timeout`: how long until a flight is repeated first.
    ///
    /// # Errors
    /// If the system has no thread.
    pub fn start(identity: ServerIdentity, first_timeout: Duration, inputs: InputSender) -> std::io::Result<Self> {
        let (jobs, orders) = sync_channel(QUEUED_ORDERS);
        std::thread::Builder::new()
            .name("dtls".to_owned())
            .spawn(move || run(Handshakes::new(identity, first_timeout), &orders, &inputs))?;
        Ok(Self { jobs, waiting: VecDeque::new() })
    }

    /// Gives an order; `false` if it was dropped, as the peer will repeat what led to it.
    pub fn order(&mut self, order: HandshakeOrder) -> bool {
        let repeatable = matches!(
            order,
            HandshakeOrder::Continue { .. } | HandshakeOrder::Seal { .. } | HandshakeOrder::Open { .. }
        );
        if repeatable && !self.waiting.is_empty() {
            return false;
        }
        self.put(Job::Order(order), repeatable)
    }

    /// What gives the thread another identity, for handshakes that begin from then on.
    pub fn identity_setter(&self) -> impl Fn(&ServerIdentity) + Send + 'static {
        let jobs = self.jobs.clone();
        move |identity| {
            // The thread is gone only when the process ends.
            let _ = jobs.send(Job::Identity(Box::new(identity.clone())));
        }
    }

    /// Hands over what waits.
    pub fn flush(&mut self) {
        while let Some(job) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(job)) = self.jobs.try_send(job) {
                self.waiting.push_front(job);
                return;
            }
        }
    }

    fn put(&mut self, job: Job, droppable: bool) -> bool {
        if !self.waiting.is_empty() {
            self.waiting.push_back(job);
            return true;
        }
        match self.jobs.try_send(job) {
            Ok(()) => true,
            Err(TrySendError::Full(job)) if !droppable => {
                self.waiting.push_back(job);
                true
            }
            Err(_) => false,
        }
    }
}

fn run(mut handshakes: Handshakes, jobs: &Receiver<Job>, inputs: &InputSender) {
    loop {
        let job = match handshakes.next_timeout() {
            Some(left) => jobs.recv_timeout(left),
            None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match job {
            Ok(job) => take(&mut handshakes, job),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        for _ in 1..ORDERS_PER_TURN {
            let Ok(job) = jobs.try_recv() else { break };
            take(&mut handshakes, job);
        }
        handshakes.handle_timeouts();
        let batch: Vec<Input> = std::iter::from_fn(|| handshakes.poll()).map(Input::Handshake).collect();
        if !batch.is_empty() && inputs.blocking_send(batch).is_err() {
            return;
        }
    }
}

fn take(handshakes: &mut Handshakes, job: Job) {
    match job {
        Job::Order(order) => handshakes.handle(order),
        Job::Identity(identity) => handshakes.set_identity(*identity),
    }
}
