//! Terminal results of the last 24 hours, for senders that repeat an id.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::model::command::{CommandResult, Operation};
use crate::model::endpoint::Endpoint;
use crate::model::time::WallTime;

/// How long a result is kept.
pub const RESULT_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// A kept result.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptResult {
    /// What was asked, for telling a repetition from a conflict.
    pub asked: Operation,
    /// How it ended.
    pub result: CommandResult,
}

/// Results by device and id, oldest first.
#[derive(Debug)]
pub struct Results {
    bound: usize,
    by_id: HashMap<(Endpoint, String), KeptResult>,
    order: VecDeque<(Endpoint, String, WallTime)>,
}

impl Results {
    /// An empty table of at most `max_results`.
    pub fn new(max_results: usize) -> Self {
        Self { bound: max_results, by_id: HashMap::new(), order: VecDeque::new() }
    }

    /// A kept result.
    pub fn get(&self, endpoint: &Endpoint, id: &str) -> Option<&KeptResult> {
        self.by_id.get(&(endpoint.clone(), id.to_owned()))
    }

    /// All kept results, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &KeptResult> {
        self.by_id.values()
    }

    /// Whether a further result makes the oldest go.
    pub fn is_full(&self) -> bool {
        self.order.len() >= self.bound
    }

    /// Keeps a result; returns those that had to go, for deletion from the store.
    pub fn keep(&mut self, kept: KeptResult, now: WallTime) -> Vec<(Endpoint, String)> {
        let key = (kept.result.endpoint.clone(), kept.result.id.clone());
        let ts = kept.result.ts;
        if self.by_id.insert(key.clone(), kept).is_none() {
            self.order.push_back((key.0, key.1, ts));
        }
        self.collect(now)
    }

    /// Takes out what is too old or too many.
    pub fn collect(&mut self, now: WallTime) -> Vec<(Endpoint, String)> {
        let kept_millis = i64::try_from(RESULT_KEPT.as_millis()).unwrap_or(i64::MAX);
        let mut gone = Vec::new();
        while let Some((_, _, ts)) = self.order.front() {
            let old = now.millis().saturating_sub(ts.millis()) > kept_millis;
            if !old && self.order.len() <= self.bound {
                break;
            }
            if let Some((endpoint, id, _)) = self.order.pop_front() {
                self.by_id.remove(&(endpoint.clone(), id.clone()));
                gone.push((endpoint, id));
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::command::Outcome;
    use crate::model::path::Path;

    fn kept(id: &str, ts_secs: i64) -> KeptResult {
        KeptResult {
            asked: Operation::Read { path: Path::object(3) },
            result: CommandResult {
                id: id.to_owned(),
                endpoint: Endpoint::new("a").unwrap(),
                operation: "read".into(),
                path: None,
                key: None,
                ts: WallTime::from_secs(ts_secs),
                outcome: Outcome::Unknown,
            },
        }
    }

    #[test]
    fn results_go_when_they_are_a_day_old_or_too_many() {
        let mut results = Results::new(2);
        assert!(results.keep(kept("1", 0), WallTime::from_secs(0)).is_empty());
        assert!(results.keep(kept("2", 1), WallTime::from_secs(1)).is_empty());
        assert_eq!(results.keep(kept("3", 2), WallTime::from_secs(2)).len(), 1);
        let endpoint = Endpoint::new("a").unwrap();
        assert!(results.get(&endpoint, "1").is_none() && results.get(&endpoint, "3").is_some());
        assert_eq!(results.collect(WallTime::from_secs(86_402)).len(), 1);
    }
}
