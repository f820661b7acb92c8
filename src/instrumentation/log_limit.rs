//! How often a log line may repeat: a few at once, then one for each interval, with the number of those left out.
//!
//! Lines are told apart by a fixed reason (`malformed datagram`), never by text that a peer chooses; still the table
//! is bounded: reasons beyond [`LogLimit::MAX_REASONS`] share one allowance.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::time::Instant;

/// What to do with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Write it, and say how many like it were left out since the last one.
    Write {
        /// Lines left out.
        left_out: u64,
    },
    /// Leave it out.
    LeaveOut,
}

#[derive(Debug)]
struct Allowance {
    remaining: u32,
    refilled_at: Instant,
    left_out: u64,
}

/// Allowances by reason.
#[derive(Debug)]
pub struct LogLimit {
    burst: u32,
    interval: Duration,
    allowances: BTreeMap<&'static str, Allowance>,
}

impl LogLimit {
    /// Reasons with an allowance of their own. About 100 bytes each.
    pub const MAX_REASONS: usize = 256;

    /// The shared allowance of all reasons beyond the bound.
    const OTHERS: &'static str = "";

    /// `burst` lines of a reason at once, then one each `interval`. A burst of zero counts as one.
    #[must_use]
    pub const fn new(burst: u32, interval: Duration) -> Self {
        let burst = if burst == 0 { 1 } else { burst };
        Self { burst, interval, allowances: BTreeMap::new() }
    }

    /// Asks for one line.
    pub fn ask(&mut self, now: Instant, reason: &'static str) -> Verdict {
        let known = self.allowances.contains_key(reason);
        let reason = if known || self.allowances.len() < Self::MAX_REASONS { reason } else { Self::OTHERS };
        let (burst, interval) = (self.burst, self.interval);
        let allowance =
            self.allowances.entry(reason).or_insert(Allowance { remaining: burst, refilled_at: now, left_out: 0 });
        let elapsed = now.saturating_since(allowance.refilled_at);
        let earned = if interval.is_zero() {
            burst
        } else {
            u32::try_from(elapsed.as_micros() / interval.as_micros().max(1)).unwrap_or(u32::MAX)
        };
        if earned > 0 {
            allowance.remaining = allowance.remaining.saturating_add(earned).min(burst);
            // What is left of a begun interval counts for the next line.
            allowance.refilled_at = if allowance.remaining == burst {
                now
            } else {
                allowance.refilled_at + interval.saturating_mul(earned)
            };
        }
        if allowance.remaining == 0 {
            allowance.left_out = allowance.left_out.saturating_add(1);
            return Verdict::LeaveOut;
        }
        allowance.remaining -= 1;
        Verdict::Write { left_out: std::mem::take(&mut allowance.left_out) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: Verdict = Verdict::Write { left_out: 0 };

    #[test]
    fn a_burst_passes_then_one_line_each_interval_that_counts_the_others() {
        let mut limit = LogLimit::new(3, Duration::from_secs(10));
        let start = Instant::from_secs(100);
        assert_eq!([limit.ask(start, "a"), limit.ask(start, "a"), limit.ask(start, "a")], [WRITE; 3]);
        for _ in 0..5 {
            assert_eq!(limit.ask(start + Duration::from_secs(9), "a"), Verdict::LeaveOut);
        }
        assert_eq!(limit.ask(start, "b"), WRITE, "another reason has its own allowance");
        assert_eq!(limit.ask(start + Duration::from_secs(10), "a"), Verdict::Write { left_out: 5 });
        assert_eq!(limit.ask(start + Duration::from_secs(19), "a"), Verdict::LeaveOut);
        assert_eq!(limit.ask(start + Duration::from_secs(20), "a"), Verdict::Write { left_out: 1 });
    }

    #[test]
    fn silence_gives_the_whole_burst_back_and_not_more() {
        let mut limit = LogLimit::new(2, Duration::from_secs(1));
        let later = Instant::from_secs(1_000_000);
        assert_eq!([limit.ask(Instant::ZERO, "a"), limit.ask(Instant::ZERO, "a")], [WRITE; 2]);
        assert_eq!([limit.ask(later, "a"), limit.ask(later, "a")], [WRITE; 2]);
        assert_eq!(limit.ask(later, "a"), Verdict::LeaveOut);
    }

    #[test]
    fn the_table_of_reasons_is_bounded() {
        let mut limit = LogLimit::new(1, Duration::from_secs(1));
        for number in 0..LogLimit::MAX_REASONS * 2 {
            limit.ask(Instant::ZERO, Box::leak(format!("reason {number}").into_boxed_str()));
        }
        assert!(limit.allowances.len() <= LogLimit::MAX_REASONS + 1);
        assert_eq!(limit.ask(Instant::ZERO, "one more"), Verdict::LeaveOut, "the shared allowance is used up");
        assert_eq!(limit.ask(Instant::from_secs(1), "reason 0"), WRITE);
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_harms_nothing() {
        let mut limit = LogLimit::new(1, Duration::ZERO);
        assert_eq!(limit.ask(Instant::from_secs(5), "a"), WRITE);
        assert_eq!(limit.ask(Instant::from_secs(1), "a"), WRITE);
        let mut limit = LogLimit::new(0, Duration::MAX);
        assert_eq!(limit.ask(Instant::from_secs(5), "a"), WRITE);
        assert_eq!(limit.ask(Instant::from_secs(1), "a"), Verdict::LeaveOut);
    }
}
