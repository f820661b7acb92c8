//! How often something may happen, for each source and in all: buckets of tokens that fill with time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::gateway::configuration::Rate;
use crate::model::time::Instant;

/// Sources that are told apart at a time. One that has not asked for a while needs no bucket: it would be full. Beyond
/// the bound a new source is held to the rate of all alone.
pub const MAX_SOURCES: usize = 10_000;

/// What counts as one source: an IPv4 address, or the IPv6 network that one subscriber has at least.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of tokens.
    milli_tokens: u64,
    filled_at: Instant,
}

impl Bucket {
    const fn full(now: Instant, rate: Rate) -> Self {
        Self { milli_tokens: rate.burst as u64 * 1_000, filled_at: now }
    }

    /// Adds what came since; the time of a fraction that is not counted yet stays.
    fn fill(&mut self, now: Instant, rate: Rate) {
        let full = u64::from(rate.burst) * 1_000;
        let passed = now.saturating_since(self.filled_at).as_millis().min(u128::from(u64::MAX)) as u64;
        self.milli_tokens =
            self.milli_tokens.saturating_add(passed.saturating_mul(u64::from(rate.per_second))).min(full);
        self.filled_at = self.filled_at + Duration::from_millis(passed);
    }

    const fn has_one(&self) -> bool {
        self.milli_tokens >= 1_000
    }
}

/// What is limited, by the names of its bounds.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Of all sources together.
    pub all: &'static str,
    /// Of one source.
    pub source: &'static str,
}

/// DTLS handshakes.
pub const HANDSHAKES: Bounds = Bounds { all: "handshakes_per_second", source: "handshakes_per_second_per_source" };
/// Registrations.
pub const REGISTRATIONS: Bounds =
    Bounds { all: "registrations_per_second", source: "registrations_per_second_per_source" };

/// The buckets of one kind of thing.
#[derive(Debug)]
pub struct RateLimiter {
    bounds: Bounds,
    rate: Rate,
    rate_per_source: Rate,
    all: Bucket,
    sources: HashMap<IpAddr, Bucket>,
}

impl RateLimiter {
    /// All buckets full.
    #[must_use]
    pub fn new(now: Instant, bounds: Bounds, rate: Rate, rate_per_source: Rate) -> Self {
        Self { bounds, rate, rate_per_source, all: Bucket::full(now, rate), sources: HashMap::new() }
    }

    /// Takes a token of the source and of all, or none.
    ///
    /// # Errors
    /// The name of the bound whose bucket is empty.
    pub fn take(&mut self, now: Instant, source: IpAddr) -> Result<(), &'static str> {
        self.all.fill(now, self.rate);
        let source = network(source);
        if !self.sources.contains_key(&source) {
            self.make_room(now);
        }
        let may_track = self.sources.len() < MAX_SOURCES || self.sources.contains_key(&source);
        let full = Bucket::full(now, self.rate_per_source);
        let mut untracked = full;
        let bucket = if may_track { self.sources.entry(source).or_insert(full) } else { &mut untracked };
        bucket.fill(now, self.rate_per_source);
        if !bucket.has_one() {
            return Err(self.bounds.source);
        }
        if !self.all.has_one() {
            return Err(self.bounds.all);
        }
        bucket.milli_tokens -= 1_000;
        self.all.milli_tokens -= 1_000;
        Ok(())
    }

    /// Forgets sources whose bucket is full again, once there are many.
    fn make_room(&mut self, now: Instant) {
        if self.sources.len() < MAX_SOURCES {
            return;
        }
        let rate = self.rate_per_source;
        self.sources.retain(|_, bucket| {
            bucket.fill(now, rate);
            bucket.milli_tokens < u64::from(rate.burst) * 1_000
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(number: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(number))
    }

    #[test]
    fn a_source_gets_its_burst_then_its_rate_and_leaves_room_for_others() {
        let rate = Rate { per_second: 10, burst: 10 };
        let mut limiter = RateLimiter::new(Instant::ZERO, HANDSHAKES, rate, Rate { per_second: 2, burst: 4 });
        let taken = (0..10).filter(|_| limiter.take(Instant::ZERO, source(1)).is_ok()).count();
        assert_eq!(taken, 4);
        assert_eq!(limiter.take(Instant::ZERO, source(1)), Err(HANDSHAKES.source));
        assert_eq!(limiter.take(Instant::ZERO, source(2)), Ok(()));
        assert_eq!(limiter.take(Instant::from_secs(1), source(1)), Ok(()));
        assert_eq!(limiter.take(Instant::from_secs(1), source(1)), Ok(()));
        assert_eq!(limiter.take(Instant::from_secs(1), source(1)), Err(HANDSHAKES.source));
    }

    #[test]
    fn all_sources_together_get_no_more_than_the_rate_of_all() {
        let rate = Rate { per_second: 3, burst: 5 };
        let mut limiter = RateLimiter::new(Instant::ZERO, HANDSHAKES, rate, Rate { per_second: 1, burst: 1 });
        let taken = (0..100).filter(|number| limiter.take(Instant::ZERO, source(*number)).is_ok()).count();
        assert_eq!(taken, 5);
        assert_eq!(limiter.take(Instant::ZERO, source(200)), Err(HANDSHAKES.all));
        let later = (300..400).filter(|number| limiter.take(Instant::from_secs(1), source(*number)).is_ok()).count();
        assert_eq!(later, 3);
    }

    #[test]
    fn looking_often_loses_no_fraction_of_a_token() {
        let rate = Rate { per_second: 3, burst: 3 };
        let mut limiter = RateLimiter::new(Instant::ZERO, HANDSHAKES, rate, rate);
        let mut taken = 0;
        for milli in 0..10_000 {
            taken += usize::from(limiter.take(Instant::from_millis(milli), source(1)).is_ok());
        }
        assert_eq!(taken, 3 + 29);
    }

    #[test]
    fn the_table_of_sources_stays_within_its_bound() {
        let rate = Rate { per_second: 1_000_000, burst: 1_000_000 };
        let mut limiter = RateLimiter::new(Instant::ZERO, HANDSHAKES, rate, Rate { per_second: 1, burst: 2 });
        for number in 0..2 * MAX_SOURCES as u32 {
            assert_eq!(limiter.take(Instant::ZERO, source(number)), Ok(()));
        }
        assert_eq!(limiter.sources.len(), MAX_SOURCES);
        assert_eq!(limiter.take(Instant::from_secs(10), source(u32::MAX)), Ok(()));
        assert_eq!(limiter.sources.len(), 1);
    }
}
