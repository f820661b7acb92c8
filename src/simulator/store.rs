//! A store that forgets: what was submitted and not yet committed is gone after a power cut.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::gateway::store::{
    ROWS_PER_SEGMENT, RetainedRow, SecretKind, SecretRow, SpoolExtent, SpoolRow, SpoolSegment, StoreBatch,
    StoreSequence, StoreWrite, StoredState,
};
use crate::model::credential::SecretBytes;
use crate::model::endpoint::Endpoint;
use crate::model::time::Instant;

/// Everything that the core may ask to keep.
#[derive(Clone, Debug, Default)]
struct Contents {
    devices: BTreeMap<Endpoint, Vec<u8>>,
    commands: BTreeMap<(Endpoint, String), Vec<u8>>,
    state: BTreeMap<String, Vec<u8>>,
    secrets: BTreeMap<(SecretKind, Vec<u8>), SecretBytes>,
    spools: BTreeMap<String, BTreeMap<u64, SpoolRow>>,
    last_ids: BTreeMap<String, u64>,
    retained: BTreeMap<(String, String), RetainedRow>,
}

/// The store of a simulated gateway.
#[derive(Debug)]
pub struct SimulatedStore {
    commit_interval: Duration,
    committed: Contents,
    waiting: VecDeque<(Instant, StoreBatch)>,
    /// Whether commits fail, as on a full disk.
    pub failing: bool,
}

impl SimulatedStore {
    /// An empty store that commits after `commit_interval`.
    pub fn new(commit_interval: Duration) -> Self {
        Self { commit_interval, committed: Contents::default(), waiting: VecDeque::new(), failing: false }
    }

    /// Takes a batch; it is durable after the commit interval.
    pub fn submit(&mut self, now: Instant, batch: StoreBatch) {
        self.waiting.push_back((now + self.commit_interval, batch));
    }

    /// When the next batch is due.
    pub fn next_commit(&self) -> Option<Instant> {
        if self.failing { None } else { self.waiting.front().map(|(at, _)| *at) }
    }

    /// Commits what is due; returns the last batch that became durable.
    pub fn commit(&mut self, now: Instant) -> Option<StoreSequence> {
        let mut last = None;
        while let Some((at, _)) = self.waiting.front()
            && *at <= now
            && !self.failing
        {
            let Some((_, batch)) = self.waiting.pop_front() else { break };
            last = Some(batch.sequence);
            self.committed.apply(batch);
        }
        last
    }

    /// Power fails: what is not committed never was.
    pub fn forget(&mut self) {
        self.waiting.clear();
    }

    /// Rows of a spool, also those that wait for their commit.
    pub fn read_spool(&self, sink: &str, after: u64, max_rows: usize) -> Vec<SpoolRow> {
        let seen = self.seen();
        let rows = seen.spools.get(sink).into_iter().flat_map(|rows| rows.range(after + 1..));
        rows.map(|(_, row)| row.clone()).take(max_rows).collect()
    }

    /// Retained rows above a topic.
    pub fn read_retained(&self, sink: &str, after: Option<&str>, max_rows: usize) -> Vec<RetainedRow> {
        let seen = self.seen();
        let fits = |topic: &str| after.is_none_or(|after| topic > after);
        let rows = seen.retained.iter().filter(|((of, topic), _)| of == sink && fits(topic));
        rows.map(|(_, row)| row.clone()).take(max_rows).collect()
    }

    /// Batches that wait for their commit.
    pub fn waiting_batches(&self) -> usize {
        self.waiting.len()
    }

    /// Rows that wait in all spools, durable ones only.
    pub fn spooled_rows(&self) -> usize {
        self.committed.spools.values().map(BTreeMap::len).sum()
    }

    fn seen(&self) -> Contents {
        let mut seen = self.committed.clone();
        for (_, batch) in &self.waiting {
            seen.apply(batch.clone());
        }
        seen
    }

    /// What a gateway that starts now finds.
    pub fn stored(&self) -> StoredState {
        let Contents { devices, commands, state, secrets, spools, last_ids, retained } = self.committed.clone();
        let extents = last_ids.into_iter().map(|(sink, last)| {
            let mut segments: Vec<SpoolSegment> = Vec::new();
            for row in spools.get(&sink).into_iter().flat_map(BTreeMap::values) {
                match segments.last_mut() {
                    Some(segment) if segment.last / ROWS_PER_SEGMENT == row.id / ROWS_PER_SEGMENT => {
                        segment.last = row.id;
                        segment.rows += 1;
                        segment.bytes += row.charged_bytes();
                        segment.newest = row.queued_at;
                    }
                    _ => segments.push(SpoolSegment {
                        last: row.id,
                        rows: 1,
                        bytes: row.charged_bytes(),
                        newest: row.queued_at,
                    }),
                }
            }
            (sink, SpoolExtent { last, segments })
        });
        let latest = |row: &RetainedRow| {
            let topic = &row.message.topic;
            row.endpoint.is_some() && (topic.ends_with("/values") || topic.ends_with("/attributes"))
        };
        StoredState {
            devices: devices.into_iter().collect(),
            commands: commands.into_iter().map(|((endpoint, id), record)| (endpoint, id, record)).collect(),
            state,
            sealed_shut: Vec::new(),
            secrets: secrets.into_iter().map(|((kind, key), value)| SecretRow { kind, key, value }).collect(),
            spools: extents.collect(),
            latest: retained.into_values().filter(latest).collect(),
        }
    }
}

impl Contents {
    fn apply(&mut self, batch: StoreBatch) {
        for write in batch.writes {
            match write {
                StoreWrite::PutDevice { endpoint, record } => {
                    self.devices.insert(endpoint, record);
                }
                StoreWrite::DeleteDevice { endpoint } => {
                    self.devices.remove(&endpoint);
                }
                StoreWrite::PutCommand { endpoint, id, record } => {
                    self.commands.insert((endpoint, id), record);
                }
                StoreWrite::DeleteCommand { endpoint, id } => {
                    self.commands.remove(&(endpoint, id));
                }
                StoreWrite::PutSpool { sink, row } => {
                    let last = self.last_ids.entry(sink.to_string()).or_default();
                    *last = (*last).max(row.id);
                    self.spools.entry(sink.to_string()).or_default().insert(row.id, row);
                }
                StoreWrite::DeleteSpool { sink, up_to } => {
                    if let Some(rows) = self.spools.get_mut(&*sink) {
                        *rows = rows.split_off(&(up_to + 1));
                    }
                }
                StoreWrite::PutRetained { sink, row } => {
                    self.retained.insert((sink.to_string(), row.message.topic.clone()), row);
                }
                StoreWrite::DeleteRetained { sink, topic } => {
                    self.retained.remove(&(sink.to_string(), topic));
                }
                StoreWrite::PutSecret { kind, key, value } => {
                    self.secrets.insert((kind, key), value);
                }
                StoreWrite::DeleteSecret { kind, key } => {
                    self.secrets.remove(&(kind, key));
                }
                StoreWrite::PutState { key, value } => {
                    self.state.insert(key, value);
                }
            }
        }
    }
}
