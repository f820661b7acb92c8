//! Writes that wait for their transaction, folded so that each key is written once.
//!
//! Folding keeps the meaning of the order in which the writes came: within a spool a removal drops the rows that wait
//! up to its id, and a row put afterwards stays. So a transaction may apply all removals first and all rows after.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use crate::gateway::store::{RetainedRow, SecretKind, SinkName, SpoolRow, StoreBatch, StoreSequence, StoreWrite};
use crate::model::credential::SecretBytes;
use crate::model::endpoint::Endpoint;

/// What waits for one spool.
#[derive(Debug, Default)]
pub(super) struct PendingSpool {
    /// Rows up to this id go, before `rows` come.
    pub(super) delete_up_to: Option<u64>,
    /// Rows to insert or replace.
    pub(super) rows: BTreeMap<u64, SpoolRow>,
    /// Highest id that was put since the last commit, even if the row went again.
    pub(super) last: u64,
}

/// Changes of one table by key; `None` removes.
type Changes<K, V> = HashMap<K, Option<V>>;

/// All that waits.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) devices: Changes<Endpoint, Vec<u8>>,
    pub(super) commands: Changes<(Endpoint, String), Vec<u8>>,
    pub(super) retained: HashMap<SinkName, BTreeMap<String, Option<RetainedRow>>>,
    pub(super) state: HashMap<String, Vec<u8>>,
    pub(super) secrets: Changes<(SecretKind, Vec<u8>), SecretBytes>,
    pub(super) spools: HashMap<SinkName, PendingSpool>,
    /// The last batch within.
    pub(super) up_to: Option<StoreSequence>,
    /// Writes other than removals from spools; they ask for a commit.
    pub(super) writes: usize,
    /// Removals from spools; they can wait.
    pub(super) removals: usize,
    /// Charged bytes of `writes`.
    pub(super) bytes: usize,
}

impl Pending {
    /// Folds a batch in.
    pub(super) fn add(&mut self, batch: StoreBatch) {
        self.up_to = self.up_to.max(Some(batch.sequence));
        for write in batch.writes {
            if matches!(write, StoreWrite::DeleteSpool { .. }) {
                self.removals += 1;
            } else {
                self.writes += 1;
                self.bytes = self.bytes.saturating_add(write.charged_bytes());
            }
            self.fold(write);
        }
    }

    fn fold(&mut self, write: StoreWrite) {
        match write {
            StoreWrite::PutDevice { endpoint, record } => {
                self.devices.insert(endpoint, Some(record));
            }
            StoreWrite::DeleteDevice { endpoint } => {
                self.devices.insert(endpoint, None);
            }
            StoreWrite::PutCommand { endpoint, id, record } => {
                self.commands.insert((endpoint, id), Some(record));
            }
            StoreWrite::DeleteCommand { endpoint, id } => {
                self.commands.insert((endpoint, id), None);
            }
            StoreWrite::PutSpool { sink, row } => {
                let spool = self.spools.entry(sink).or_default();
                spool.last = spool.last.max(row.id);
                spool.rows.insert(row.id, row);
            }
            StoreWrite::DeleteSpool { sink, up_to } => {
                let spool = self.spools.entry(sink).or_default();
                spool.delete_up_to = spool.delete_up_to.max(Some(up_to));
                spool.rows = match up_to.checked_add(1) {
                    Some(first_kept) => spool.rows.split_off(&first_kept),
                    None => BTreeMap::new(),
                };
            }
            StoreWrite::PutRetained { sink, row } => {
                self.retained.entry(sink).or_default().insert(row.message.topic.clone(), Some(row));
            }
            StoreWrite::DeleteRetained { sink, topic } => {
                self.retained.entry(sink).or_default().insert(topic, None);
            }
            StoreWrite::PutSecret { kind, key, value } => {
                self.secrets.insert((kind, key), Some(value));
            }
            StoreWrite::DeleteSecret { kind, key } => {
                self.secrets.insert((kind, key), None);
            }
            StoreWrite::PutState { key, value } => {
                self.state.insert(key, value);
            }
        }
    }

    /// Whether nothing waits, not even a batch without writes.
    pub(super) fn is_empty(&self) -> bool {
        self.up_to.is_none()
    }

    /// Whether a bound is reached. Removals from spools do not count: they fold into one number for each spool, and a
    /// full disk can only recover if they keep coming.
    pub(super) fn is_full(&self) -> bool {
        self.writes >= super::MAX_PENDING_WRITES || self.bytes >= super::MAX_PENDING_BYTES
    }

    /// Rows of a spool that wait, above an id.
    pub(super) fn spool_rows_after(&self, sink: &str, after: u64) -> impl Iterator<Item = &SpoolRow> {
        self.spools
            .get(sink)
            .into_iter()
            .flat_map(move |spool| spool.rows.range((Bound::Excluded(after), Bound::Unbounded)).map(|(_, row)| row))
    }

    /// The id up to which stored rows of a spool are already condemned.
    pub(super) fn condemned_up_to(&self, sink: &str) -> u64 {
        self.spools.get(sink).and_then(|spool| spool.delete_up_to).unwrap_or(0)
    }

    /// The removals are in the file now, though the rest is not.
    pub(super) fn removals_done(&mut self) {
        for spool in self.spools.values_mut() {
            spool.delete_up_to = None;
        }
        self.removals = 0;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::message::{Message, QualityOfService};
    use crate::model::time::WallTime;

    fn row(id: u64) -> SpoolRow {
        let message = Message {
            topic: "a/b".to_owned(),
            payload: Bytes::from_static(b"1"),
            qos: QualityOfService::AtLeastOnce,
            retain: false,
            correlation: None,
        };
        SpoolRow { id, queued_at: WallTime::from_secs(1), estimated: false, endpoint: None, message }
    }

    fn ids(pending: &Pending) -> Vec<u64> {
        pending.spool_rows_after("local", 0).map(|row| row.id).collect()
    }

    fn batch(sequence: u64, writes: Vec<StoreWrite>) -> StoreBatch {
        StoreBatch { sequence: StoreSequence(sequence), writes }
    }

    #[test]
    fn removal_drops_rows_that_wait_and_later_rows_stay() {
        let sink: SinkName = "local".into();
        let put = |id| StoreWrite::PutSpool { sink: sink.clone(), row: row(id) };
        let delete = |up_to| StoreWrite::DeleteSpool { sink: sink.clone(), up_to };
        let mut pending = Pending::default();
        pending.add(batch(1, vec![put(1), put(2), put(3), delete(2), put(4)]));
        assert_eq!(ids(&pending), [3, 4]);
        assert_eq!(pending.condemned_up_to("local"), 2);
        pending.add(batch(2, vec![delete(u64::MAX), put(1)]));
        assert_eq!(ids(&pending), [1]);
        assert_eq!(pending.spools["local"].last, 4);
        assert_eq!(pending.up_to, Some(StoreSequence(2)));
    }

    #[test]
    fn last_write_of_a_key_wins() {
        let endpoint = Endpoint::new("a").unwrap();
        let mut pending = Pending::default();
        pending.add(batch(
            7,
            vec![
                StoreWrite::PutDevice { endpoint: endpoint.clone(), record: b"1".to_vec() },
                StoreWrite::DeleteDevice { endpoint: endpoint.clone() },
                StoreWrite::PutDevice { endpoint: endpoint.clone(), record: b"2".to_vec() },
            ],
        ));
        assert_eq!(pending.devices.len(), 1);
        assert_eq!(pending.devices[&endpoint].as_deref(), Some(&b"2"[..]));
        assert_eq!(pending.writes, 3);
    }
}
