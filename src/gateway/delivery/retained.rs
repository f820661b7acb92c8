//! The latest payload of each retained topic, on its way to one sink.
//!
//! Payloads live in the store. Memory holds only what changed and is not acknowledged, and a page of the replay that
//! every new connection begins with: the broker may have lost what it kept. A topic that changes during the replay
//! leaves with its new payload only; the older page row is skipped.

use std::collections::{BTreeMap, HashSet, VecDeque};

use crate::gateway::store::RetainedRow;

/// Changed topics and the replay of one sink.
#[derive(Debug, Default)]
pub struct Retained {
    changed: BTreeMap<String, RetainedRow>,
    order: VecDeque<String>,
    replay: Option<Replay>,
}

#[derive(Debug, Default)]
struct Replay {
    page: VecDeque<RetainedRow>,
    /// The last topic read; the next page begins above it.
    after: Option<String>,
    reading: bool,
    exhausted: bool,
    /// Topics that left with a newer payload since the replay began.
    superseded: HashSet<String>,
}

impl Retained {
    /// Begins the replay of everything; changes so far are in the store and come with it.
    pub fn connected(&mut self) {
        self.disconnected();
        self.replay = Some(Replay::default());
    }

    /// Forgets what is on its way; the next connection replays it from the store.
    pub fn disconnected(&mut self) {
        self.changed.clear();
        self.order.clear();
        self.replay = None;
    }

    /// A topic has a new payload; an unsent older one is replaced.
    pub fn change(&mut self, row: RetainedRow) {
        let topic = row.message.topic.clone();
        if self.changed.insert(topic.clone(), row).is_none() {
            self.order.push_back(topic);
        }
    }

    /// The next payload to send.
    pub fn pop(&mut self) -> Option<RetainedRow> {
        while let Some(topic) = self.order.pop_front() {
            if let Some(row) = self.changed.remove(&topic) {
                if let Some(replay) = &mut self.replay {
                    replay.superseded.insert(topic);
                }
                return Some(row);
            }
        }
        let replay = self.replay.as_mut()?;
        while let Some(row) = replay.page.pop_front() {
            if !replay.superseded.contains(&row.message.topic) {
                return Some(row);
            }
        }
        if replay.exhausted {
            self.replay = None;
        }
        None
    }

    /// Whether a page of the replay is wanted, and above which topic. Counts as asked for.
    pub fn poll_read(&mut self) -> Option<Option<String>> {
        let replay = self.replay.as_mut()?;
        if replay.reading || replay.exhausted || !replay.page.is_empty() {
            return None;
        }
        replay.reading = true;
        Some(replay.after.clone())
    }

    /// Takes a page. `complete`: the store has no more.
    pub fn take_page(&mut self, rows: Vec<RetainedRow>, complete: bool) {
        let Some(replay) = &mut self.replay else { return };
        replay.reading = false;
        replay.exhausted = complete;
        if let Some(row) = rows.last() {
            replay.after = Some(row.message.topic.clone());
        }
        replay.page.extend(rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::{Message, QualityOfService};

    fn row(topic: &str, payload: &'static str) -> RetainedRow {
        let message = Message {
            topic: topic.into(),
            payload: payload.into(),
            qos: QualityOfService::AtLeastOnce,
            retain: true,
            correlation: None,
        };
        RetainedRow { endpoint: None, message }
    }

    fn drain(retained: &mut Retained) -> Vec<(String, String)> {
        std::iter::from_fn(|| retained.pop())
            .map(|row| (row.message.topic, String::from_utf8(row.message.payload.to_vec()).unwrap()))
            .collect()
    }

    #[test]
    fn only_the_latest_payload_of_a_topic_leaves() {
        let mut retained = Retained::default();
        retained.change(row("a", "1"));
        retained.change(row("b", "1"));
        retained.change(row("a", "2"));
        assert_eq!(drain(&mut retained), [("a".into(), "2".into()), ("b".into(), "1".into())]);
    }

    #[test]
    fn a_new_connection_replays_everything_page_by_page_and_skips_what_changed_meanwhile() {
        let mut retained = Retained::default();
        retained.connected();
        assert_eq!(retained.poll_read(), Some(None));
        assert_eq!(retained.poll_read(), None);
        retained.change(row("b", "new"));
        assert_eq!(drain(&mut retained), [("b".into(), "new".into())]);
        retained.take_page(vec![row("a", "old"), row("b", "old")], false);
        assert_eq!(drain(&mut retained), [("a".into(), "old".into())]);
        assert_eq!(retained.poll_read(), Some(Some("b".into())));
        retained.take_page(vec![], true);
        assert_eq!(drain(&mut retained), []);
        assert_eq!(retained.poll_read(), None);
    }
}
