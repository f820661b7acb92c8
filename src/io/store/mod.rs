//! The store: one SQLite file, written by one thread, committed in groups.
//!
//! Flow: [`StoreHandle::submit`] puts a batch into a bounded channel and never blocks. The writer thread drains the
//! channel, folds what it finds into [`pending::Pending`] (several writes of one key become one) and commits when
//! `commit_rows` writes wait or `commit_interval` has passed since the first of them. Then `Input::Durable` names the
//! last batch. Reads run on the same thread and see every write that was submitted before them, committed or not.
//!
//! Invariants
//! - WAL with `synchronous = FULL`: a commit that was reported survives a power cut.
//! - A commit that fails is kept and tried again every second for as long as it takes; the core hears of it once, and
//!   once when it works again. What waits meanwhile is bounded, then [`StoreHandle::submit`] gives batches back.
//! - Removals from spools come first in a transaction, so that a full disk can make room; alone they never cause a
//!   commit earlier than after [`DELETE_INTERVAL`].
//! - A damaged file is set aside under another name; what can still be read of it is carried over into a new file.
//! - Secrets are sealed by the key in [`KEY_FILE`] beside the database. A row that does not open stays where it is, and is
//!   told.
//! - The writer never waits for the core: what the core has not taken yet is kept and offered again.

mod pending;
mod schema;
mod seal;
mod statements;
mod writer;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

pub use seal::KEY_FILE;

use super::InputSender;
use crate::gateway::store::{SinkName, StoreBatch, StoredState};
use crate::gateway::vocabulary::SinkIndex;

/// How long removals from spools may wait for a commit that happens anyway.
pub const DELETE_INTERVAL: Duration = Duration::from_secs(1);

/// Pause between attempts to write after a failure.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Writes folded into one transaction, and the most that waits in memory while the file cannot be written.
pub const MAX_PENDING_WRITES: usize = 16_384;

/// Bytes of the same.
pub const MAX_PENDING_BYTES: usize = 32 << 20;

/// What the store is configured with.
#[derive(Clone, Debug)]
pub struct StoreConfiguration {
    /// The database file; its directory must exist.
    pub path: PathBuf,
    /// How long a write may wait for others; zero commits whenever the channel is drained.
    pub commit_interval: Duration,
    /// So many waiting writes are committed without waiting longer.
    pub commit_rows: usize,
    /// Sinks whose spools exist from the start; further ones come into being with their first row.
    pub spool_names: Vec<SinkName>,
    /// Batches that wait for the writer thread.
    pub max_queued_batches: usize,
    /// The file does not grow beyond this; `None` as far as the disk allows. At the bound it behaves like a full disk.
    pub max_file_bytes: Option<u64>,
}

impl StoreConfiguration {
    /// The default settings for a file.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            commit_interval: Duration::from_millis(100),
            commit_rows: 64,
            spool_names: Vec::new(),
            max_queued_batches: 8_192,
            max_file_bytes: None,
        }
    }
}

/// Why the store does not work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused something.
    #[error("cannot {action} {path}: {cause}; check that the directory exists and that this user may write to it")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A newer version of the program wrote the file.
    #[error(
        "{path} has schema version {found}, this program knows versions up to {supported}; \
         install the newer program again or restore the copy that it made before migrating"
    )]
    NewerSchema {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that can be read.
        supported: i64,
    },
    /// A database of another program.
    #[error("{path} is a database of another program (application id {found:#x}); name another file")]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// Its application id.
        found: i64,
    },
    /// The thread could not be started.
    #[error("cannot start the thread of the store: {0}")]
    Thread(std::io::Error),
    /// The thread is gone.
    #[error("the thread of the store ended early; the log tells why")]
    WriterGone,
    /// Some batches were not written before the end.
    #[error("{writes} writes were not stored before the stop: {reason}")]
    Unwritten {
        /// How many.
        writes: usize,
        /// Why.
        reason: String,
    },
    /// SQLite reports an error.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// What the store counts. All values only rise.
#[derive(Debug, Default)]
pub struct StoreCounters {
    /// Transactions that became durable.
    pub commits: AtomicU64,
    /// Writes asked for.
    pub writes: AtomicU64,
    /// Rows inserted or replaced; fewer than asked for when several concerned one key.
    pub rows: AtomicU64,
    /// Attempts to commit that failed.
    pub failures: AtomicU64,
    /// Damaged files that were set aside while running.
    pub set_aside: AtomicU64,
}

impl StoreCounters {
    fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// The store is too busy to take a question; ask again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue of the store is full")]
pub struct StoreBusy;

/// An order for the writer thread.
enum Order {
    Batch(StoreBatch),
    ReadSpool { sink: SinkIndex, name: SinkName, after: u64, max_rows: usize },
    ReadRetained { sink: SinkIndex, name: SinkName, after: Option<String>, max_rows: usize },
}

/// What handle and writer share beside the channel.
#[derive(Default)]
struct Shared {
    counters: StoreCounters,
    queued_batches: AtomicUsize,
    closing: AtomicBool,
}

/// The owner's end of the store. Dropping it lets the writer finish in the background; [`StoreHandle::close`] waits.
pub struct StoreHandle {
    orders: Option<SyncSender<Order>>,
    shared: Arc<Shared>,
    max_queued_batches: usize,
    thread: Option<JoinHandle<Result<(), StoreError>>>,
}

/// Questions that fit into the queue beside the batches; the core has at most two open for each sink.
const QUEUED_READS: usize = 256;

/// Opens the file, creating or migrating it, reads what the core needs and starts the writer.
///
/// The texts are notes for the log, such as a damaged file that was set aside.
///
/// # Errors
/// If the file can neither be used nor set aside, or was written by a newer or another program.
pub fn open(
    configuration: StoreConfiguration,
    inputs: InputSender,
) -> Result<(StoreHandle, StoredState, Vec<String>), StoreError> {
    let (database, state, notes) = schema::open_or_set_aside(&configuration)?;
    let shared = Arc::new(Shared::default());
    let max_queued_batches = configuration.max_queued_batches.max(1);
    let (orders, queue) = sync_channel(max_queued_batches + QUEUED_READS);
    let writer = writer::Writer::new(configuration, database, inputs, queue, Arc::clone(&shared));
    let thread =
        std::thread::Builder::new().name("store".to_owned()).spawn(move || writer.run()).map_err(StoreError::Thread)?;
    let handle = StoreHandle { orders: Some(orders), shared, max_queued_batches, thread: Some(thread) };
    Ok((handle, state, notes))
}

impl StoreHandle {
    /// Hands a batch over; answered by `Input::Durable`. Never blocks.
    ///
    /// # Errors
    /// The batch comes back if the queue is full or the writer is gone.
    pub fn submit(&self, batch: StoreBatch) -> Result<(), StoreBatch> {
        let Some(orders) = &self.orders else { return Err(batch) };
        if self.shared.queued_batches.load(Ordering::Acquire) >= self.max_queued_batches {
            return Err(batch);
        }
        self.shared.queued_batches.fetch_add(1, Ordering::AcqRel);
        match orders.try_send(Order::Batch(batch)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) => {
                self.shared.queued_batches.fetch_sub(1, Ordering::AcqRel);
                match order {
                    Order::Batch(batch) => Err(batch),
                    Order::ReadSpool { .. } | Order::ReadRetained { .. } => Ok(()),
                }
            }
        }
    }

    /// Asks for spool rows above `after`; answered by `Input::SpoolRows`.
    ///
    /// # Errors
    /// If the queue is full.
    pub fn read_spool(&self, sink: SinkIndex, name: SinkName, after: u64, max_rows: usize) -> Result<(), StoreBusy> {
        self.ask(Order::ReadSpool { sink, name, after, max_rows })
    }

    /// Asks for retained rows whose topic is above `after`; answered by `Input::RetainedRows`.
    ///
    /// # Errors
    /// If the queue is full.
    pub fn read_retained(
        &self,
        sink: SinkIndex,
        name: SinkName,
        after: Option<String>,
        max_rows: usize,
    ) -> Result<(), StoreBusy> {
        self.ask(Order::ReadRetained { sink, name, after, max_rows })
    }

    fn ask(&self, order: Order) -> Result<(), StoreBusy> {
        let orders = self.orders.as_ref().ok_or(StoreBusy)?;
        orders.try_send(order).map_err(|_| StoreBusy)
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &StoreCounters {
        &self.shared.counters
    }

    /// Writes what waits, moves the write-ahead log into the file and ends the writer. Blocks for as long as that takes.
    ///
    /// # Errors
    /// If something could not be written.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.begin_close();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Err(StoreError::WriterGone),
        }
    }

    fn begin_close(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        self.orders = None;
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for StoreHandle {
    fn drop(&mut self) {
        self.begin_close();
    }
}
