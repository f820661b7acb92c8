//! The spool of one sink as the core sees it: ids, bounds, and the window of rows held in memory.
//!
//! While the sink keeps up, rows go from [`Spool::append`] through memory to the sink and the store is never read.
//! When more rows wait than memory may hold, the rest stays in the store alone and is read back in pages. Dropping goes
//! by whole segments of [`ROWS_PER_SEGMENT`] rows, so that the bound needs no look at single old rows.

use std::collections::VecDeque;
use std::time::Duration;

use crate::gateway::configuration::WhenFull;
use crate::gateway::store::{ROWS_PER_SEGMENT, SpoolExtent, SpoolRow, SpoolSegment, StoreSequence};
use crate::model::time::WallTime;

/// Bounds of a spool.
#[derive(Clone, Copy, Debug)]
pub struct SpoolBounds {
    /// Charged bytes, on disk and in memory together.
    pub max_bytes: u64,
    /// Age of a row.
    pub max_age: Duration,
    /// What gives way at `max_bytes`.
    pub when_full: WhenFull,
    /// Rows kept in memory.
    pub max_rows_in_memory: usize,
}

/// A row and the batch that makes it durable.
#[derive(Clone, Debug)]
struct Queued {
    row: SpoolRow,
    sequence: StoreSequence,
}

/// Rows and bytes that a policy dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Rows.
    pub rows: u64,
    /// All rows up to this id are gone.
    pub up_to: u64,
}

/// The rows that wait for one sink.
#[derive(Debug)]
pub struct Spool {
    bounds: SpoolBounds,
    /// Rows after the cursor, consecutive; complete unless `behind`.
    queue: VecDeque<Queued>,
    /// Whether rows wait in the store that `queue` does not hold.
    behind: bool,
    /// Highest id handed to the sink.
    cursor: u64,
    last_id: u64,
    /// Rows up to here were dropped by the policy, also those that were in flight.
    dropped_up_to: u64,
    segments: VecDeque<SpoolSegment>,
    bytes: u64,
    rows: u64,
}

impl Spool {
    /// A spool as the store left it.
    pub fn new(bounds: SpoolBounds, extent: &SpoolExtent) -> Self {
        let (rows, bytes) =
            extent.segments.iter().fold((0, 0), |(rows, bytes), segment| (rows + segment.rows, bytes + segment.bytes));
        Self {
            bounds,
            queue: VecDeque::new(),
            behind: rows > 0,
            cursor: 0,
            last_id: extent.last,
            dropped_up_to: 0,
            segments: extent.segments.iter().copied().collect(),
            bytes,
            rows,
        }
    }

    /// Rows that are not acknowledged yet.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Their charged bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The id that the next row gets.
    pub fn next_id(&self) -> u64 {
        self.last_id + 1
    }

    /// Highest id used so far.
    pub fn last_id(&self) -> u64 {
        self.last_id
    }

    /// What must go so that `incoming` more bytes fit. `None`: nothing. With [`WhenFull::DropNewest`] the caller drops
    /// the incoming row instead: [`Spool::refuses`].
    pub fn make_room(&mut self, incoming: u64) -> Option<Dropped> {
        if self.bounds.when_full == WhenFull::DropNewest {
            return None;
        }
        let mut dropped = Dropped::default();
        while self.bytes + incoming > self.bounds.max_bytes {
            let Some(segment) = self.segments.pop_front() else { break };
            self.forget(segment, &mut dropped);
        }
        self.finish_drop(dropped)
    }

    /// Drops segments whose newest row is too old.
    pub fn drop_aged(&mut self, now: WallTime) -> Option<Dropped> {
        let max_age = i64::try_from(self.bounds.max_age.as_millis()).unwrap_or(i64::MAX);
        let mut dropped = Dropped::default();
        while let Some(segment) = self.segments.front().copied()
            && now.millis().saturating_sub(segment.newest.millis()) > max_age
        {
            self.segments.pop_front();
            self.forget(segment, &mut dropped);
        }
        self.finish_drop(dropped)
    }

    /// Whether a row of so many bytes is refused by the policy [`WhenFull::DropNewest`], or can never fit.
    pub fn refuses(&self, incoming: u64) -> bool {
        incoming > self.bounds.max_bytes
            || (self.bounds.when_full == WhenFull::DropNewest && self.bytes + incoming > self.bounds.max_bytes)
    }

    fn forget(&mut self, segment: SpoolSegment, dropped: &mut Dropped) {
        self.bytes -= segment.bytes;
        self.rows -= segment.rows;
        dropped.rows += segment.rows;
        dropped.up_to = dropped.up_to.max(segment.last);
    }

    fn finish_drop(&mut self, dropped: Dropped) -> Option<Dropped> {
        if dropped.rows == 0 {
            return None;
        }
        while self.queue.front().is_some_and(|queued| queued.row.id <= dropped.up_to) {
            self.queue.pop_front();
        }
        self.cursor = self.cursor.max(dropped.up_to);
        self.dropped_up_to = dropped.up_to;
        Some(dropped)
    }

    /// Adds a row, made durable by the batch `sequence`. Its id must be [`Spool::next_id`].
    pub fn append(&mut self, row: SpoolRow, sequence: StoreSequence) {
        let bytes = row.charged_bytes();
        self.last_id = row.id;
        self.bytes += bytes;
        self.rows += 1;
        match self.segments.back_mut() {
            Some(segment) if segment.last / ROWS_PER_SEGMENT == row.id / ROWS_PER_SEGMENT => {
                segment.last = row.id;
                segment.rows += 1;
                segment.bytes += bytes;
                segment.newest = row.queued_at;
            }
            _ => {
                self.segments.push_back(SpoolSegment { last: row.id, rows: 1, bytes, newest: row.queued_at });
            }
        }
        if self.behind || self.queue.len() >= self.bounds.max_rows_in_memory {
            self.behind = true;
        } else {
            self.queue.push_back(Queued { row, sequence });
        }
    }

    /// The next row for the sink, if its batch is durable.
    pub fn pop_ready(&mut self, is_durable: impl Fn(StoreSequence) -> bool) -> Option<SpoolRow> {
        if !is_durable(self.queue.front()?.sequence) {
            return None;
        }
        let row = self.queue.pop_front()?.row;
        self.cursor = row.id;
        Some(row)
    }

    /// Whether rows must be read from the store, and above which id.
    pub fn wants_rows_after(&self) -> Option<u64> {
        (self.behind && self.queue.is_empty()).then_some(self.cursor)
    }

    /// Takes rows that were read; they are durable. `complete`: the store had no more.
    pub fn take_rows(&mut self, rows: Vec<SpoolRow>, complete: bool) {
        let last_read = rows.last().map_or(self.cursor, |row| row.id);
        let cursor = self.cursor;
        self.queue.extend(
            rows.into_iter().filter(|row| row.id > cursor).map(|row| Queued { row, sequence: StoreSequence(0) }),
        );
        // Rows appended after the read are not in the answer; then the next read brings them.
        let nothing_waits = self.queue.is_empty() && self.rows == 0;
        if complete && (last_read >= self.last_id || nothing_waits) {
            self.behind = false;
        }
    }

    /// The store has nothing above the cursor: it need not be asked again. Returns how many rows were counted and are
    /// not there, once none is in flight.
    pub fn settle(&mut self, nothing_in_flight: bool) -> u64 {
        self.behind = false;
        if !nothing_in_flight || !self.queue.is_empty() {
            return 0;
        }
        self.segments.clear();
        self.bytes = 0;
        std::mem::take(&mut self.rows)
    }

    /// Puts unacknowledged rows back in front, in ascending order.
    pub fn rewind(&mut self, rows: impl DoubleEndedIterator<Item = SpoolRow>) {
        for row in rows.rev().filter(|row| row.id > self.dropped_up_to) {
            self.cursor = self.cursor.min(row.id.saturating_sub(1));
            self.queue.push_front(Queued { row, sequence: StoreSequence(0) });
        }
    }

    /// Notes that a row is delivered.
    pub fn acknowledge(&mut self, row: &SpoolRow) {
        // A row that the policy dropped while it was in flight is accounted for already.
        let number = row.id / ROWS_PER_SEGMENT;
        let segment = self.segments.iter_mut().find(|segment| segment.last / ROWS_PER_SEGMENT == number);
        let Some(segment) = segment.filter(|_| row.id > self.dropped_up_to) else { return };
        if segment.rows == 0 {
            return;
        }
        let bytes = row.charged_bytes().min(segment.bytes);
        segment.rows -= 1;
        segment.bytes -= bytes;
        self.rows -= 1;
        self.bytes -= bytes;
        while self.segments.front().is_some_and(|segment| segment.rows == 0) {
            self.segments.pop_front();
        }
    }

    /// Rows in memory, for writing them again after the store was broken.
    pub fn rows_in_memory(&self) -> impl Iterator<Item = &SpoolRow> {
        self.queue.iter().map(|queued| &queued.row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::{Message, QualityOfService};

    fn bounds(max_bytes: u64, when_full: WhenFull, max_rows_in_memory: usize) -> SpoolBounds {
        SpoolBounds { max_bytes, max_age: Duration::from_secs(60), when_full, max_rows_in_memory }
    }

    fn row(id: u64) -> SpoolRow {
        SpoolRow {
            id,
            queued_at: WallTime::from_secs(i64::try_from(id).unwrap()),
            estimated: false,
            endpoint: None,
            message: Message {
                topic: "t".into(),
                payload: vec![0; 35].into(),
                qos: QualityOfService::AtLeastOnce,
                retain: false,
                correlation: None,
            },
        }
    }

    fn filled(spool: &mut Spool, ids: std::ops::RangeInclusive<u64>) {
        for id in ids {
            spool.append(row(id), StoreSequence(0));
        }
    }

    fn drain(spool: &mut Spool) -> Vec<u64> {
        std::iter::from_fn(|| spool.pop_ready(|_| true)).map(|row| row.id).collect()
    }

    #[test]
    fn a_row_leaves_only_when_durable_and_in_order() {
        let mut spool = Spool::new(bounds(10_000, WhenFull::DropOldest, 10), &SpoolExtent::default());
        spool.append(row(1), StoreSequence(1));
        spool.append(row(2), StoreSequence(2));
        assert!(spool.pop_ready(|sequence| sequence <= StoreSequence(0)).is_none());
        assert_eq!(spool.pop_ready(|sequence| sequence <= StoreSequence(1)).unwrap().id, 1);
        assert!(spool.pop_ready(|sequence| sequence <= StoreSequence(1)).is_none());
    }

    #[test]
    fn rows_beyond_memory_are_read_back_in_order() {
        let mut spool = Spool::new(bounds(1_000_000, WhenFull::DropOldest, 3), &SpoolExtent::default());
        filled(&mut spool, 1..=10);
        assert_eq!(drain(&mut spool), [1, 2, 3]);
        assert_eq!(spool.wants_rows_after(), Some(3));
        spool.take_rows((4..=7).map(row).collect(), false);
        assert_eq!(drain(&mut spool), [4, 5, 6, 7]);
        assert_eq!(spool.wants_rows_after(), Some(7));
        filled(&mut spool, 11..=11);
        spool.take_rows((8..=10).map(row).collect(), true);
        assert_eq!(drain(&mut spool), [8, 9, 10]);
        assert_eq!(spool.wants_rows_after(), Some(10));
        spool.take_rows(vec![row(11)], true);
        assert_eq!(drain(&mut spool), [11]);
        assert_eq!(spool.wants_rows_after(), None);
    }

    #[test]
    fn a_full_spool_drops_its_oldest_segment_and_counts_it() {
        // 100 charged bytes a row.
        let mut spool = Spool::new(bounds(60_000, WhenFull::DropOldest, 10_000), &SpoolExtent::default());
        filled(&mut spool, 1..=600);
        assert_eq!(spool.bytes(), 60_000);
        let dropped = spool.make_room(100).unwrap();
        assert_eq!(dropped, Dropped { rows: 255, up_to: 255 });
        assert_eq!(spool.rows(), 345);
        assert_eq!(drain(&mut spool).first(), Some(&256));
    }

    #[test]
    fn drop_newest_refuses_the_incoming_row() {
        let mut spool = Spool::new(bounds(250, WhenFull::DropNewest, 10), &SpoolExtent::default());
        filled(&mut spool, 1..=2);
        assert!(spool.refuses(100));
        assert_eq!(spool.make_room(100), None);
    }

    #[test]
    fn rows_older_than_the_bound_go() {
        let mut spool = Spool::new(bounds(1_000_000, WhenFull::DropOldest, 10_000), &SpoolExtent::default());
        filled(&mut spool, 1..=300);
        assert_eq!(spool.drop_aged(WallTime::from_secs(300)), None);
        assert_eq!(spool.drop_aged(WallTime::from_secs(255 + 61)), Some(Dropped { rows: 255, up_to: 255 }));
    }

    #[test]
    fn rows_that_vanished_from_the_store_are_not_waited_for() {
        let mut spool = Spool::new(bounds(1_000_000, WhenFull::DropOldest, 2), &SpoolExtent::default());
        filled(&mut spool, 1..=5);
        let sent: Vec<SpoolRow> = std::iter::from_fn(|| spool.pop_ready(|_| true)).collect();
        for row in &sent {
            spool.acknowledge(row);
        }
        assert_eq!(spool.wants_rows_after(), Some(2));
        spool.take_rows(Vec::new(), true);
        assert_eq!((spool.settle(true), spool.rows(), spool.wants_rows_after()), (3, 0, None));
    }

    #[test]
    fn a_row_dropped_in_flight_neither_leaves_again_nor_counts_for_another() {
        let mut spool = Spool::new(bounds(60_000, WhenFull::DropOldest, 10_000), &SpoolExtent::default());
        filled(&mut spool, 1..=600);
        let sent: Vec<SpoolRow> = (0..3).filter_map(|_| spool.pop_ready(|_| true)).collect();
        spool.make_room(100);
        spool.acknowledge(&sent[0]);
        assert_eq!(spool.rows(), 345);
        spool.rewind(sent.into_iter().skip(1));
        assert_eq!(drain(&mut spool).first(), Some(&256));
    }

    #[test]
    fn unacknowledged_rows_leave_again_after_a_rewind() {
        let mut spool = Spool::new(bounds(1_000_000, WhenFull::DropOldest, 10), &SpoolExtent::default());
        filled(&mut spool, 1..=4);
        let sent: Vec<SpoolRow> = std::iter::from_fn(|| spool.pop_ready(|_| true)).collect();
        spool.acknowledge(&sent[0]);
        spool.rewind(sent.into_iter().skip(1));
        assert_eq!(drain(&mut spool), [2, 3, 4]);
        assert_eq!(spool.rows(), 3);
    }
}
