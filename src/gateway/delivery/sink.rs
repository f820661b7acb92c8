//! One sink: the window of unacknowledged messages over its spool and its retained topics.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::retained::Retained;
use super::spool::{Spool, SpoolBounds};
use super::transient::Transient;
use crate::gateway::configuration::SinkConfiguration;
use crate::gateway::store::{RetainedRow, SpoolExtent, SpoolRow, StoreSequence, StoreWrite};
use crate::gateway::vocabulary::{DeliveryId, Output, SinkIndex};
use crate::model::endpoint::Endpoint;
use crate::model::message::Message;
use crate::model::time::{Instant, WallTime};

/// Rows asked for in one page.
pub const ROWS_PER_READ: usize = 512;

/// How long acknowledged rows may wait for a batch that deletes them on the side.
const DELETE_INTERVAL: Duration = Duration::from_secs(1);

/// What operators should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A policy or the broker dropped data.
    Dropped {
        /// How many messages.
        rows: u64,
        /// Fixed word: `queue_full`, `too_old`, `too_large`, `rejected`, `store_broken`.
        reason: &'static str,
        /// Words for the operator.
        detail: String,
    },
    /// Messages were acknowledged by the broker.
    Delivered {
        /// How many.
        messages: u64,
    },
}

/// A correction of timestamps that were taken before the clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ClockCorrection {
    /// First row it concerns.
    pub from: u64,
    /// Last row it concerns.
    pub to: u64,
    /// Milliseconds to add.
    pub delta_millis: i64,
}

#[derive(Debug)]
struct Connection {
    max_packet_bytes: usize,
    window: usize,
}

#[derive(Debug)]
struct SentRow {
    row: SpoolRow,
    delivery: DeliveryId,
    acknowledged: bool,
}

/// Delivery to one sink.
#[derive(Debug)]
pub struct SinkDelivery {
    index: SinkIndex,
    /// Its configuration.
    pub configuration: SinkConfiguration,
    connection: Option<Connection>,
    spool: Spool,
    retained: Retained,
    transient: Transient,
    sent_rows: VecDeque<SentRow>,
    sent_retained: HashMap<DeliveryId, RetainedRow>,
    next_delivery: u64,
    max_in_flight: usize,
    reading_rows: bool,
    /// Highest id in use when rows were asked for: an empty answer means that up to there nothing waits.
    read_horizon: u64,
    /// Rows up to here are acknowledged or dropped and not yet deleted from the store.
    delete_up_to: Option<u64>,
    delete_at: Option<Instant>,
    retained_turn: bool,
    corrections: Vec<ClockCorrection>,
    /// First row of this run whose timestamps are estimated.
    estimated_from: Option<u64>,
    notices: Vec<Notice>,
}

/// Shifts the timestamps of a payload that was labelled before the clock was set.
pub type CorrectTimestamps = fn(&[u8], i64) -> Option<Vec<u8>>;

impl SinkDelivery {
    /// Bytes that an MQTT PUBLISH needs beside topic and payload, generously.
    const PACKET_OVERHEAD_BYTES: usize = 64;

    /// A sink, not connected, with what its spool held at start.
    pub fn new(
        index: SinkIndex,
        configuration: SinkConfiguration,
        extent: &SpoolExtent,
        corrections: Vec<ClockCorrection>,
        max_rows_in_memory: usize,
        max_in_flight: usize,
    ) -> Self {
        let bounds = SpoolBounds {
            max_bytes: configuration.max_spool_bytes,
            max_age: configuration.max_spool_age,
            when_full: configuration.when_full,
            max_rows_in_memory,
        };
        Self {
            index,
            configuration,
            connection: None,
            spool: Spool::new(bounds, extent),
            retained: Retained::default(),
            transient: Transient::default(),
            sent_rows: VecDeque::new(),
            sent_retained: HashMap::new(),
            next_delivery: 0,
            max_in_flight,
            reading_rows: false,
            read_horizon: 0,
            delete_up_to: None,
            delete_at: None,
            retained_turn: true,
            corrections,
            estimated_from: None,
            notices: Vec::new(),
        }
    }

    /// Whether the sink is connected.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Rows and charged bytes that wait or are in flight.
    pub fn depth(&self) -> (u64, u64) {
        (self.spool.rows(), self.spool.bytes())
    }

    /// Messages in flight.
    pub fn in_flight(&self) -> usize {
        self.sent_rows.len() + self.sent_retained.len()
    }

    /// What happened since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Puts a message in the spool; `write` takes the writes, `sequence` is the batch they will be in.
    pub fn append(
        &mut self,
        queued_at: WallTime,
        estimated: bool,
        endpoint: Option<Endpoint>,
        message: Message,
        sequence: StoreSequence,
        write: &mut impl FnMut(StoreWrite),
    ) {
        let row = SpoolRow { id: self.spool.next_id(), queued_at, estimated, endpoint, message };
        let bytes = row.charged_bytes();
        if self.spool.refuses(bytes) {
            self.dropped(1, "queue_full", "the spool is full and its policy keeps the older data".to_owned());
            return;
        }
        if let Some(dropped) = self.spool.make_room(bytes) {
            self.dropped(dropped.rows, "queue_full", "the spool reached max_bytes; the oldest data went".to_owned());
            self.delete_up_to(dropped.up_to, write);
        }
        if estimated && self.estimated_from.is_none() {
            self.estimated_from = Some(row.id);
        }
        write(StoreWrite::PutSpool { sink: self.configuration.name.clone(), row: row.clone() });
        self.spool.append(row, sequence);
    }

    /// Sets the latest payload of a retained topic; an empty payload clears it.
    pub fn retain(&mut self, endpoint: Option<Endpoint>, message: Message, write: &mut impl FnMut(StoreWrite)) {
        let row = RetainedRow { endpoint, message };
        write(StoreWrite::PutRetained { sink: self.configuration.name.clone(), row: row.clone() });
        if self.connection.is_some() {
            self.retained.change(row);
        }
    }

    /// Sends a message now or never; `false` if it was dropped.
    pub fn send_now(&mut self, message: Message) -> bool {
        self.connection.is_some() && self.transient.push(message)
    }

    /// The wall clock was set: estimated rows of this run are corrected by `delta_millis` when they leave. Returns the
    /// corrections to keep.
    pub fn correct_clock(&mut self, delta_millis: i64) -> Option<&[ClockCorrection]> {
        const MAX_CORRECTIONS: usize = 16;
        let from = self.estimated_from.take()?;
        self.corrections.push(ClockCorrection { from, to: self.spool.last_id(), delta_millis });
        let excess = self.corrections.len().saturating_sub(MAX_CORRECTIONS);
        self.corrections.drain(..excess);
        Some(&self.corrections)
    }

    /// The sink connected.
    pub fn connected(&mut self, max_packet_bytes: usize, receive_maximum: usize) {
        self.rewind();
        self.connection = Some(Connection { max_packet_bytes, window: receive_maximum.clamp(1, self.max_in_flight) });
        self.retained.connected();
    }

    /// The sink lost its connection: nothing in flight counts as delivered.
    pub fn disconnected(&mut self) {
        self.connection = None;
        self.rewind();
        self.retained.disconnected();
    }

    fn rewind(&mut self) {
        let unacknowledged = std::mem::take(&mut self.sent_rows);
        self.spool.rewind(unacknowledged.into_iter().filter(|sent| !sent.acknowledged).map(|sent| sent.row));
        self.sent_retained.clear();
        self.transient.clear();
    }

    /// The broker has a message.
    pub fn acknowledged(&mut self, now: Instant, delivery: DeliveryId, write: &mut impl FnMut(StoreWrite)) {
        if self.finish(now, delivery, write) {
            self.notices.push(Notice::Delivered { messages: 1 });
        }
    }

    /// The broker refused a message for good: it is dropped and counted.
    pub fn rejected(&mut self, now: Instant, delivery: DeliveryId, reason: &str, write: &mut impl FnMut(StoreWrite)) {
        if self.finish(now, delivery, write) {
            self.dropped(1, "rejected", format!("the broker refused a message: {reason}"));
        }
    }

    fn finish(&mut self, now: Instant, delivery: DeliveryId, write: &mut impl FnMut(StoreWrite)) -> bool {
        if self.transient.finish(delivery) {
            return true;
        }
        if let Some(row) = self.sent_retained.remove(&delivery) {
            if row.message.payload.is_empty() {
                let sink = self.configuration.name.clone();
                write(StoreWrite::DeleteRetained { sink, topic: row.message.topic });
            }
            return true;
        }
        // Deliveries rise along the queue.
        let Ok(position) = self.sent_rows.binary_search_by_key(&delivery, |sent| sent.delivery) else { return false };
        let Some(sent) = self.sent_rows.get_mut(position) else { return false };
        if sent.acknowledged {
            return false;
        }
        sent.acknowledged = true;
        self.spool.acknowledge(&sent.row);
        while self.sent_rows.front().is_some_and(|sent| sent.acknowledged) {
            if let Some(sent) = self.sent_rows.pop_front() {
                self.delete_up_to = self.delete_up_to.max(Some(sent.row.id));
            }
        }
        if self.delete_up_to.is_some() && self.delete_at.is_none() {
            self.delete_at = Some(now + DELETE_INTERVAL);
        }
        true
    }

    /// Rows read from the store.
    pub fn take_rows(&mut self, rows: Vec<SpoolRow>) {
        self.reading_rows = false;
        let complete = rows.len() < ROWS_PER_READ;
        let nothing_left = rows.is_empty() && self.read_horizon == self.spool.last_id();
        self.spool.take_rows(rows, complete);
        if nothing_left {
            let missing = self.spool.settle(self.sent_rows.is_empty());
            if missing > 0 {
                self.dropped(missing, "store_broken", "rows are not in the store any more".to_owned());
            }
        }
    }

    /// Retained rows read from the store.
    pub fn take_retained(&mut self, rows: Vec<RetainedRow>) {
        let complete = rows.len() < ROWS_PER_READ;
        self.retained.take_page(rows, complete);
    }

    /// Drops what is older than the bound.
    pub fn drop_aged(&mut self, now: WallTime, write: &mut impl FnMut(StoreWrite)) {
        if let Some(dropped) = self.spool.drop_aged(now) {
            self.dropped(dropped.rows, "too_old", "rows reached max_age before the sink took them".to_owned());
            self.delete_up_to(dropped.up_to, write);
        }
    }

    fn delete_up_to(&mut self, up_to: u64, write: &mut impl FnMut(StoreWrite)) {
        let up_to = self.delete_up_to.take().map_or(up_to, |earlier| earlier.max(up_to));
        self.delete_at = None;
        write(StoreWrite::DeleteSpool { sink: self.configuration.name.clone(), up_to });
    }

    /// Adds the deletion of acknowledged rows to a batch that is written anyway, or to one of its own when it waited
    /// long enough.
    pub fn flush_deletions(&mut self, now: Instant, batch_is_written: bool, write: &mut impl FnMut(StoreWrite)) {
        let due = self.delete_at.is_some_and(|delete_at| delete_at <= now);
        if (batch_is_written || due)
            && let Some(up_to) = self.delete_up_to
        {
            self.delete_up_to(up_to, write);
        }
    }

    /// When [`Self::flush_deletions`] is due by itself.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.delete_at
    }

    /// Hands messages to the sink as far as its window allows, and asks the store for what is missing in memory.
    pub fn poll(
        &mut self,
        is_durable: impl Fn(StoreSequence) -> bool,
        correct: CorrectTimestamps,
        emit: &mut impl FnMut(Output),
    ) {
        let Some(Connection { max_packet_bytes, window }) = self.connection else { return };
        while self.in_flight() < window {
            self.retained_turn = !self.retained_turn;
            let first = if self.retained_turn { self.next_retained() } else { None };
            let next = match first {
                Some(next) => Some(next),
                None => match self.next_row(&is_durable, correct) {
                    Some(next) => Some(next),
                    None => self.next_retained(),
                },
            };
            let Some(leaving) = next else { break };
            let message = leaving.message().clone();
            let delivery = DeliveryId(self.next_delivery);
            self.next_delivery += 1;
            let bytes = message.topic.len() + message.payload.len() + Self::PACKET_OVERHEAD_BYTES;
            match leaving {
                Leaving::Row(row) => self.sent_rows.push_back(SentRow { row, delivery, acknowledged: false }),
                Leaving::Retained(row) => {
                    self.sent_retained.insert(delivery, row);
                }
            }
            if bytes > max_packet_bytes {
                let topic = &message.topic;
                let detail = format!(
                    "a message of {bytes} bytes for '{topic}' exceeds the broker's limit of {max_packet_bytes}"
                );
                self.dropped(1, "too_large", detail);
                // Counts as settled; its deletion rides along with the next batch.
                self.finish(Instant::ZERO, delivery, &mut |_| {});
                continue;
            }
            emit(Output::Publish { sink: self.index, delivery, message });
        }
        while let Some(message) = self.transient.pop(DeliveryId(self.next_delivery)) {
            let delivery = DeliveryId(self.next_delivery);
            self.next_delivery += 1;
            if message.topic.len() + message.payload.len() + Self::PACKET_OVERHEAD_BYTES > max_packet_bytes {
                self.transient.finish(delivery);
                continue;
            }
            emit(Output::Publish { sink: self.index, delivery, message });
        }
        if !self.reading_rows
            && let Some(after) = self.spool.wants_rows_after()
        {
            self.reading_rows = true;
            self.read_horizon = self.spool.last_id();
            emit(Output::ReadSpool { sink: self.index, after, max_rows: ROWS_PER_READ });
        }
        if let Some(after) = self.retained.poll_read() {
            emit(Output::ReadRetained { sink: self.index, after, max_rows: ROWS_PER_READ });
        }
    }

    fn next_retained(&mut self) -> Option<Leaving> {
        self.retained.pop().map(Leaving::Retained)
    }

    fn next_row(&mut self, is_durable: &impl Fn(StoreSequence) -> bool, correct: CorrectTimestamps) -> Option<Leaving> {
        let mut row = self.spool.pop_ready(is_durable)?;
        if row.estimated
            && let Some(correction) =
                self.corrections.iter().find(|correction| (correction.from..=correction.to).contains(&row.id))
            && let Some(payload) = correct(&row.message.payload, correction.delta_millis)
        {
            row.message.payload = payload.into();
        }
        Some(Leaving::Row(row))
    }

    /// A row will not be written. If memory does not hold it either, it is lost, and counted as dropped.
    pub fn lost_unless_in_memory(&mut self, row: &SpoolRow) {
        let in_flight = self.sent_rows.iter().any(|sent| sent.row.id == row.id);
        if !in_flight && !self.spool.rows_in_memory().any(|held| held.id == row.id) {
            self.spool.acknowledge(row);
            self.dropped(1, "store_broken", "nothing can be written and memory is full".to_owned());
        }
    }

    /// Rows that only memory may hold, for writing them again after the store was broken.
    pub fn rewrite(&self, write: &mut impl FnMut(StoreWrite)) {
        let unacknowledged = self.sent_rows.iter().filter(|sent| !sent.acknowledged).map(|sent| &sent.row);
        for row in unacknowledged.chain(self.spool.rows_in_memory()) {
            write(StoreWrite::PutSpool { sink: self.configuration.name.clone(), row: row.clone() });
        }
    }

    fn dropped(&mut self, rows: u64, reason: &'static str, detail: String) {
        self.notices.push(Notice::Dropped { rows, reason, detail });
    }
}

enum Leaving {
    Row(SpoolRow),
    Retained(RetainedRow),
}

impl Leaving {
    fn message(&self) -> &Message {
        match self {
            Self::Row(row) => &row.message,
            Self::Retained(row) => &row.message,
        }
    }
}
