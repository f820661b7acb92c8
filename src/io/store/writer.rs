//! The writer thread: waits, drains, commits, answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use rusqlite::ErrorCode;
use tokio::sync::mpsc::error::TrySendError;

use super::pending::Pending;
use super::seal::Seal;
use super::statements::Database;
use super::{
    DELETE_INTERVAL, InputSender, Order, RETRY_INTERVAL, Shared, StoreConfiguration, StoreCounters, StoreError, schema,
};
use crate::gateway::store::StoreSequence;
use crate::gateway::vocabulary::Input;
use crate::io::clock::monotonic_now;

/// Pause before offering answers again that the core had no room for.
const OFFER_INTERVAL: Duration = Duration::from_millis(2);

/// Whether the file can be written.
enum Health {
    Working,
    Failing { retry_at: Instant, reason: String },
}

pub(super) struct Writer {
    configuration: StoreConfiguration,
    /// Absent only while a damaged file could not be replaced.
    database: Option<Database>,
    /// For a file that takes the place of a damaged one.
    seal: Seal,
    inputs: InputSender,
    queue: Receiver<Order>,
    shared: Arc<Shared>,
    pending: Pending,
    /// When the first waiting write came.
    first_write: Option<Instant>,
    /// When the first waiting removal came.
    first_removal: Option<Instant>,
    health: Health,
    /// Questions that could not be answered because the file failed; bounded like the queue that they came from.
    unanswered: Vec<Order>,
    /// Answers that the core has not taken yet; bounded by its open questions.
    answers: Vec<Input>,
    /// The newest durable batch that the core has not been told.
    durable: Option<StoreSequence>,
}

/// How a drain of the queue ended.
#[derive(PartialEq, Eq)]
enum Queue {
    Open,
    Closed,
}

impl Writer {
    pub(super) fn new(
        configuration: StoreConfiguration,
        database: Database,
        inputs: InputSender,
        queue: Receiver<Order>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            configuration,
            seal: database.seal().clone(),
            database: Some(database),
            inputs,
            queue,
            shared,
            pending: Pending::default(),
            first_write: None,
            first_removal: None,
            health: Health::Working,
            unanswered: Vec::new(),
            answers: Vec::new(),
            durable: None,
        }
    }

    pub(super) fn run(mut self) -> Result<(), StoreError> {
        loop {
            let queue = self.wait_and_drain();
            if queue == Queue::Closed || self.shared.closing.load(Ordering::Acquire) {
                return self.finish();
            }
            if self.commit_at().is_some_and(|at| at <= monotonic_now()) {
                self.commit();
            }
            self.offer_answers();
        }
    }

    /// When the next commit is due; `None` if nothing waits.
    fn commit_at(&self) -> Option<Instant> {
        if let Health::Failing { retry_at, .. } = self.health {
            return Some(retry_at);
        }
        if self.pending.is_empty() {
            return None;
        }
        if self.pending.writes >= self.configuration.commit_rows || self.pending.is_full() {
            return self.first_write.or(self.first_removal);
        }
        let by_write = self.first_write.map(|first| first + self.configuration.commit_interval);
        let by_removal = self.first_removal.map(|first| first + DELETE_INTERVAL);
        match (by_write, by_removal) {
            (Some(write), Some(removal)) => Some(write.min(removal)),
            (one, other) => one.or(other),
        }
    }

    /// Waits for an order or a deadline, then takes what else is there, up to the bound of one transaction.
    fn wait_and_drain(&mut self) -> Queue {
        let offer = (!self.answers.is_empty() || self.durable.is_some()).then_some(OFFER_INTERVAL);
        let commit = self.commit_at().map(|at| at.saturating_duration_since(monotonic_now()));
        let wait = match (offer, commit) {
            (Some(offer), Some(commit)) => Some(offer.min(commit)),
            (one, other) => one.or(other),
        };
        if self.pending.is_full() {
            // Nothing more is taken until something could be written; closing wakes this up.
            if !self.shared.closing.load(Ordering::Acquire) {
                std::thread::park_timeout(wait.unwrap_or(RETRY_INTERVAL));
            }
            return Queue::Open;
        }
        let first = match wait {
            None => self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(wait) => self.queue.recv_timeout(wait),
        };
        match first {
            Ok(order) => self.take(order),
            Err(RecvTimeoutError::Timeout) => return Queue::Open,
            Err(RecvTimeoutError::Disconnected) => return Queue::Closed,
        }
        while !self.pending.is_full() {
            match self.queue.try_recv() {
                Ok(order) => self.take(order),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Queue::Closed,
            }
        }
        Queue::Open
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Batch(batch) => {
                self.shared.queued_batches.fetch_sub(1, Ordering::AcqRel);
                StoreCounters::add(&self.shared.counters.writes, batch.writes.len());
                if batch.writes.is_empty() && self.pending.is_empty() {
                    self.durable = self.durable.max(Some(batch.sequence));
                    return;
                }
                self.pending.add(batch);
                if self.pending.removals > 0 {
                    self.first_removal.get_or_insert_with(monotonic_now);
                }
                if self.pending.writes > 0 || self.pending.removals == 0 {
                    self.first_write.get_or_insert_with(monotonic_now);
                }
            }
            Order::ReadSpool { .. } | Order::ReadRetained { .. } => self.answer(order),
        }
    }

    /// Answers a question. One that cannot be answered is kept for the next attempt, since the core takes a short
    /// answer for the end of the rows.
    fn answer(&mut self, question: Order) {
        let Some(database) = &self.database else {
            self.unanswered.push(question);
            return;
        };
        let answer = match &question {
            Order::Batch(_) => return,
            Order::ReadSpool { sink, name, after, max_rows } => database
                .read_spool(&self.pending, name, *after, *max_rows)
                .map(|rows| Input::SpoolRows { sink: *sink, rows }),
            Order::ReadRetained { sink, name, after, max_rows } => database
                .read_retained(&self.pending, name, after.as_deref(), *max_rows)
                .map(|rows| Input::RetainedRows { sink: *sink, rows }),
        };
        match answer {
            Ok(answer) => self.answers.push(answer),
            Err(error) => {
                self.unanswered.push(question);
                if schema::is_damage(&error) {
                    self.replace_damaged(&error);
                } else {
                    self.fail(format!("the file cannot be read: {error}"));
                }
            }
        }
    }

    fn commit(&mut self) {
        if self.database.is_none() {
            self.replace_damaged(&"it could not be replaced before");
        }
        let Some(database) = &mut self.database else { return };
        match database.commit(&self.pending) {
            Ok(rows) => {
                StoreCounters::add(&self.shared.counters.commits, 1);
                StoreCounters::add(&self.shared.counters.rows, rows);
                let pending = std::mem::take(&mut self.pending);
                self.durable = self.durable.max(pending.up_to);
                self.first_write = None;
                self.first_removal = None;
                self.recover();
                for question in std::mem::take(&mut self.unanswered) {
                    self.answer(question);
                }
            }
            Err(error) => {
                StoreCounters::add(&self.shared.counters.failures, 1);
                if schema::is_damage(&error) {
                    self.replace_damaged(&error);
                } else {
                    if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
                        self.make_room();
                    }
                    self.fail(describe(&error));
                }
            }
        }
    }

    /// On a full disk: removes what may go, without what should come. The log is emptied first, because even a removal
    /// needs space in it.
    fn make_room(&mut self) {
        let Some(database) = &mut self.database else { return };
        let _ = database.checkpoint(false);
        if self.pending.removals > 0 && database.commit_removals(&self.pending).is_ok() {
            self.pending.removals_done();
            self.first_removal = None;
            let _ = database.checkpoint(false);
        }
    }

    fn fail(&mut self, reason: String) {
        if matches!(self.health, Health::Working) {
            tracing::error!(path = %self.configuration.path.display(), reason, "store cannot be written");
            self.answers.push(Input::StoreHealth { failure: Some(reason.clone()) });
        }
        self.health = Health::Failing { retry_at: monotonic_now() + RETRY_INTERVAL, reason };
    }

    fn recover(&mut self) {
        if matches!(self.health, Health::Failing { .. }) {
            tracing::info!(path = %self.configuration.path.display(), "store can be written again");
            self.answers.push(Input::StoreHealth { failure: None });
            self.health = Health::Working;
        }
    }

    /// Puts a new file in the place of the damaged one. What waits stays and is written into the new file at once.
    fn replace_damaged(&mut self, error: &dyn std::fmt::Display) {
        self.database = None;
        match schema::replace_damaged(&self.configuration, &self.seal, &error.to_string()) {
            Ok((database, note)) => {
                StoreCounters::add(&self.shared.counters.set_aside, 1);
                tracing::error!(note, "store replaced");
                self.database = Some(database);
                self.fail(note.clone());
                self.health = Health::Failing { retry_at: monotonic_now(), reason: note };
            }
            Err(cause) => self.fail(cause.to_string()),
        }
    }

    /// Tells the core what is durable and what it asked for. Never waits: a core that is behind is asked again.
    fn offer_answers(&mut self) {
        if self.answers.is_empty() && self.durable.is_none() {
            return;
        }
        let mut batch = std::mem::take(&mut self.answers);
        let durable = self.durable.take();
        batch.extend(durable.map(|up_to| Input::Durable { up_to }));
        if let Err(TrySendError::Full(mut batch)) = self.inputs.try_send(batch) {
            // The watermark is kept apart, so that a later one replaces it.
            if durable.is_some() {
                batch.pop();
            }
            self.durable = durable;
            self.answers = batch;
        }
    }

    /// Takes the rest of the queue, writes it, tidies the file.
    fn finish(mut self) -> Result<(), StoreError> {
        // The second attempt is for a file that turned out damaged in the first and was replaced.
        let mut attempts = 0;
        loop {
            while !self.pending.is_full()
                && let Ok(order) = self.queue.try_recv()
            {
                self.take(order);
            }
            if self.pending.is_empty() {
                break;
            }
            self.commit();
            if let Health::Failing { reason, .. } = &self.health {
                attempts += 1;
                if attempts >= 2 {
                    let reason = reason.clone();
                    self.offer_answers();
                    return Err(StoreError::Unwritten { writes: self.pending.writes + self.pending.removals, reason });
                }
            }
        }
        self.offer_answers();
        if let Some(database) = &self.database {
            database.checkpoint(true)?;
        }
        Ok(())
    }
}

fn describe(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full; free some space or lower the bounds of the spools".to_owned(),
        Some(ErrorCode::ReadOnly) => "the file or its file system is read-only".to_owned(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "another program holds the file locked".to_owned(),
        _ => error.to_string(),
    }
}
