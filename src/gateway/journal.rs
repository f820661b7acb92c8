//! Persist, then acknowledge: collects the writes of one input into a batch and holds back what must wait for it.
//!
//! Flow: machines call [`Journal::write`] and [`Journal::when_durable`] while they handle an input; at its end the
//! core seals the batch; when the host confirms it, [`Journal::confirm`] releases what waited. Invariants: nothing that
//! waits leaves before its batch is durable, and releases keep the order in which they were asked for. While the store
//! is broken nothing waits: the gateway goes on in bounded memory, and says so elsewhere.

use std::collections::VecDeque;

use super::store::{StoreBatch, StoreSequence, StoreWrite};

/// Batches towards the store and what waits for them. `G` is whatever the core wants back.
#[derive(Debug)]
pub struct Journal<G> {
    current: Vec<StoreWrite>,
    sealed: StoreSequence,
    durable: StoreSequence,
    waiting: VecDeque<(StoreSequence, G)>,
    pending: VecDeque<(StoreSequence, usize, usize)>,
    pending_writes: usize,
    pending_bytes: usize,
    broken: bool,
}

impl<G> Default for Journal<G> {
    fn default() -> Self {
        Self {
            current: Vec::new(),
            sealed: StoreSequence(0),
            durable: StoreSequence(0),
            waiting: VecDeque::new(),
            pending: VecDeque::new(),
            pending_writes: 0,
            pending_bytes: 0,
            broken: false,
        }
    }
}

impl<G> Journal<G> {
    /// Adds a write to the batch of this input.
    pub fn write(&mut self, write: StoreWrite) {
        self.current.push(write);
    }

    /// Holds `item` back until everything written so far, this input's writes included, is durable.
    pub fn when_durable(&mut self, item: G) {
        self.waiting.push_back((self.sequence(), item));
    }

    /// The batch that this input's writes go into: the next one if there are any, else the last sealed one.
    pub fn sequence(&self) -> StoreSequence {
        if self.current.is_empty() { self.sealed } else { StoreSequence(self.sealed.0 + 1) }
    }

    /// The last sealed batch.
    pub fn sealed_sequence(&self) -> StoreSequence {
        self.sealed
    }

    /// Whether a batch is durable, or as good as it gets while the store is broken.
    pub fn is_durable(&self, sequence: StoreSequence) -> bool {
        self.broken || sequence <= self.durable
    }

    /// Whether a batch is in the store, or was never handed to it.
    pub fn is_written(&self, sequence: StoreSequence) -> bool {
        sequence <= self.durable
    }

    /// Whether this input wrote anything yet.
    pub fn has_writes(&self) -> bool {
        !self.current.is_empty()
    }

    /// Ends an input: the batch to hand to the store, if anything was written.
    pub fn seal(&mut self) -> Option<StoreBatch> {
        if self.current.is_empty() {
            return None;
        }
        let writes = std::mem::take(&mut self.current);
        self.sealed = StoreSequence(self.sealed.0 + 1);
        let bytes = writes.iter().map(StoreWrite::charged_bytes).sum();
        self.pending.push_back((self.sealed, writes.len(), bytes));
        self.pending_writes += writes.len();
        self.pending_bytes += bytes;
        Some(StoreBatch { sequence: self.sealed, writes })
    }

    /// Takes back the batch that was sealed last, since it is not handed to the store: it charges no bound.
    pub fn discard_sealed(&mut self) {
        if let Some((_, writes, bytes)) = self.pending.pop_back() {
            self.pending_writes -= writes;
            self.pending_bytes -= bytes;
        }
    }

    /// Notes that all batches up to `up_to` are durable.
    pub fn confirm(&mut self, up_to: StoreSequence) {
        self.durable = self.durable.max(up_to.min(self.sealed));
        while let Some((sequence, writes, bytes)) = self.pending.front().copied()
            && sequence <= self.durable
        {
            self.pending.pop_front();
            self.pending_writes -= writes;
            self.pending_bytes -= bytes;
        }
    }

    /// Marks the store broken (nothing waits any more) or working.
    pub fn set_broken(&mut self, broken: bool) {
        self.broken = broken;
    }

    /// Whether the store is broken.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The next item whose batch is durable.
    pub fn poll_released(&mut self) -> Option<G> {
        let (sequence, _) = self.waiting.front()?;
        if !self.is_durable(*sequence) {
            return None;
        }
        self.waiting.pop_front().map(|(_, item)| item)
    }

    /// Writes sealed and not yet durable: count and charged bytes.
    pub fn pending(&self) -> (usize, usize) {
        (self.pending_writes, self.pending_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write() -> StoreWrite {
        StoreWrite::PutState { key: "k".into(), value: vec![1] }
    }

    #[test]
    fn an_item_waits_for_the_batch_of_its_input_and_order_is_kept() {
        let mut journal = Journal::default();
        journal.write(write());
        journal.when_durable('a');
        assert_eq!(journal.seal().unwrap().sequence, StoreSequence(1));
        journal.write(write());
        journal.when_durable('b');
        journal.seal();
        assert_eq!(journal.poll_released(), None);
        journal.confirm(StoreSequence(1));
        assert_eq!((journal.poll_released(), journal.poll_released()), (Some('a'), None));
        journal.confirm(StoreSequence(2));
        assert_eq!(journal.poll_released(), Some('b'));
        assert_eq!(journal.pending(), (0, 0));
    }

    #[test]
    fn an_item_without_a_write_waits_only_for_what_was_written_before() {
        let mut journal = Journal::default();
        journal.when_durable('a');
        assert_eq!(journal.poll_released(), Some('a'));
    }

    #[test]
    fn a_discarded_batch_charges_no_bound_and_leaves_the_others_pending() {
        let mut journal = Journal::<char>::default();
        journal.write(write());
        journal.seal();
        journal.write(write());
        journal.write(write());
        journal.seal();
        journal.discard_sealed();
        assert_eq!(journal.pending().0, 1);
        journal.confirm(StoreSequence(2));
        assert_eq!(journal.pending(), (0, 0));
    }

    #[test]
    fn nothing_waits_while_the_store_is_broken() {
        let mut journal = Journal::default();
        journal.write(write());
        journal.when_durable('a');
        journal.seal();
        journal.set_broken(true);
        assert_eq!(journal.poll_released(), Some('a'));
    }
}
