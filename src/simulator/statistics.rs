//! What a fleet measured: counts and the distribution of latencies.

use std::collections::BTreeMap;
use std::time::Duration;

/// Latencies in buckets of at most 1/32 relative width, so that thousands of small fleets cost little memory.
///
/// At most about 1,900 buckets exist, whatever is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyHistogram {
    buckets: BTreeMap<u16, u64>,
    count: u64,
    max_micros: u64,
}

/// Each power of two is cut into this many buckets.
const STEPS: u64 = 32;

impl LatencyHistogram {
    /// Adds one latency.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        *self.buckets.entry(bucket_of(micros)).or_default() += 1;
        self.count += 1;
        self.max_micros = self.max_micros.max(micros);
    }

    /// Adds what another one recorded.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
        self.count += other.count;
        self.max_micros = self.max_micros.max(other.max_micros);
    }

    /// How many latencies were recorded.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The latency that `percent` of all did not exceed, rounded up to its bucket; zero if there are none.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Duration {
        let rank = u128::from(self.count) * u128::from(percent.min(100));
        let mut seen = 0_u128;
        for (bucket, count) in &self.buckets {
            seen += u128::from(*count) * 100;
            if seen >= rank {
                return Duration::from_micros(upper_bound(*bucket).min(self.max_micros));
            }
        }
        Duration::from_micros(self.max_micros)
    }

    /// The longest latency, exact.
    #[must_use]
    pub const fn max(&self) -> Duration {
        Duration::from_micros(self.max_micros)
    }
}

/// Values below [`STEPS`] have a bucket each; above, the bits after the leading one choose the bucket.
fn bucket_of(micros: u64) -> u16 {
    if micros < STEPS {
        return micros as u16;
    }
    let shift = micros.ilog2() - STEPS.ilog2();
    ((u64::from(shift) + 1) * STEPS + (micros >> shift) - STEPS) as u16
}

/// The largest value of a bucket.
fn upper_bound(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < STEPS {
        return bucket;
    }
    let (shift, step) = (bucket / STEPS - 1, bucket % STEPS);
    let past = u128::from(step + STEPS + 1) << shift;
    u64::try_from(past - 1).unwrap_or(u64::MAX)
}

/// Counts of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetStatistics {
    /// DTLS handshakes that ended in a session.
    pub handshakes: u64,
    /// DTLS handshakes that failed, and sessions that the server ended.
    pub handshake_failures: u64,
    /// Bootstrap sessions that the devices finished.
    pub bootstraps: u64,
    /// Bootstrap sessions refused, not answered or not finished.
    pub bootstrap_failures: u64,
    /// Registrations accepted, renewals after a failure included.
    pub registrations: u64,
    /// Registrations refused or not answered.
    pub registration_failures: u64,
    /// Updates accepted.
    pub updates: u64,
    /// Updates refused or not answered.
    pub update_failures: u64,
    /// Notifications that left, each counted once.
    pub sent: u64,
    /// Confirmable notifications acknowledged.
    pub acknowledged: u64,
    /// Confirmable notifications never acknowledged.
    pub lost: u64,
    /// Notifications answered by a reset.
    pub reset: u64,
    /// Writes received.
    pub writes: u64,
    /// Executes received.
    pub executes: u64,
    /// From the first transmission of a notification to its acknowledgement.
    pub latency: LatencyHistogram,
    /// When the first bootstrap session was finished, in microseconds of the fleet's clock.
    pub first_bootstrap_micros: Option<u64>,
    /// When the last one was.
    pub last_bootstrap_micros: Option<u64>,
    /// When the first registration was accepted, in microseconds of the fleet's clock.
    pub first_registration_micros: Option<u64>,
    /// When the last one was.
    pub last_registration_micros: Option<u64>,
}

impl FleetStatistics {
    /// Adds what another fleet counted by the same clock.
    pub fn merge(&mut self, other: &Self) {
        self.handshakes += other.handshakes;
        self.handshake_failures += other.handshake_failures;
        self.bootstraps += other.bootstraps;
        self.bootstrap_failures += other.bootstrap_failures;
        self.registrations += other.registrations;
        self.registration_failures += other.registration_failures;
        self.updates += other.updates;
        self.update_failures += other.update_failures;
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.reset += other.reset;
        self.writes += other.writes;
        self.executes += other.executes;
        self.latency.merge(&other.latency);
        let (first, last) = (other.first_bootstrap_micros, other.last_bootstrap_micros);
        self.first_bootstrap_micros = self.first_bootstrap_micros.into_iter().chain(first).min();
        self.last_bootstrap_micros = self.last_bootstrap_micros.max(last);
        let (first, last) = (other.first_registration_micros, other.last_registration_micros);
        self.first_registration_micros = self.first_registration_micros.into_iter().chain(first).min();
        self.last_registration_micros = self.last_registration_micros.max(last);
    }
}

/// The report of a fleet in its JSON form.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct FleetReport {
    /// Devices started or to be started.
    pub devices: u64,
    /// Devices registered at the end.
    pub registered: u64,
    /// DTLS handshakes that ended in a session; 0 without DTLS.
    pub handshakes: u64,
    /// DTLS handshakes that failed, and sessions that the server ended.
    pub handshake_failures: u64,
    /// Bootstrap sessions that the devices finished; 0 where they know their server.
    pub bootstraps: u64,
    /// Bootstrap sessions refused, not answered or not finished.
    pub bootstrap_failures: u64,
    /// Bootstrap sessions per second, between the first and the last one that was finished.
    pub bootstraps_per_s: f64,
    /// Registrations accepted.
    pub registrations: u64,
    /// Registrations refused or not answered.
    pub registration_failures: u64,
    /// Registrations accepted per second, between the first and the last one.
    pub registrations_per_s: f64,
    /// Updates accepted.
    pub updates: u64,
    /// Notifications sent.
    pub sent: u64,
    /// Notifications acknowledged.
    pub acknowledged: u64,
    /// Notifications never acknowledged.
    pub lost: u64,
    /// Notifications answered by a reset.
    pub reset: u64,
    /// Acknowledged notifications per second of the whole run.
    pub acknowledged_per_s: f64,
    /// From the first transmission of a notification to its acknowledgement.
    pub latency_ms: LatencyReport,
    /// Length of the run in seconds.
    pub duration_s: f64,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct LatencyReport {
    /// Half were faster.
    pub p50: f64,
    /// Nine of ten were faster.
    pub p90: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

impl FleetReport {
    /// The report of these counts.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "rates are for people; 2^53 notifications are never sent")]
    pub fn new(devices: u64, registered: u64, duration: Duration, statistics: &FleetStatistics) -> Self {
        let per_second = |count: u64, seconds: f64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let millis = |latency: Duration| latency.as_micros() as f64 / 1_000.0;
        let span_s = |first: Option<u64>, last: Option<u64>| {
            first.zip(last).map_or(0.0, |(first, last)| last.saturating_sub(first) as f64 / 1_000_000.0)
        };
        let registering_s = span_s(statistics.first_registration_micros, statistics.last_registration_micros);
        let bootstrapping_s = span_s(statistics.first_bootstrap_micros, statistics.last_bootstrap_micros);
        let latency = &statistics.latency;
        Self {
            devices,
            registered,
            handshakes: statistics.handshakes,
            handshake_failures: statistics.handshake_failures,
            bootstraps: statistics.bootstraps,
            bootstrap_failures: statistics.bootstrap_failures,
            bootstraps_per_s: per_second(statistics.bootstraps, bootstrapping_s),
            registrations: statistics.registrations,
            registration_failures: statistics.registration_failures,
            registrations_per_s: per_second(statistics.registrations, registering_s),
            updates: statistics.updates,
            sent: statistics.sent,
            acknowledged: statistics.acknowledged,
            lost: statistics.lost,
            reset: statistics.reset,
            acknowledged_per_s: per_second(statistics.acknowledged, duration.as_secs_f64()),
            latency_ms: LatencyReport {
                p50: millis(latency.percentile(50)),
                p90: millis(latency.percentile(90)),
                p99: millis(latency.percentile(99)),
                max: millis(latency.max()),
            },
            duration_s: duration.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_thirtysecond() {
        let mut histogram = LatencyHistogram::default();
        for micros in 1..=100_000 {
            histogram.record(Duration::from_micros(micros));
        }
        for percent in [1, 50, 90, 99] {
            let exact = u128::from(percent) * 1_000;
            let found = histogram.percentile(percent).as_micros();
            assert!(found >= exact && found <= exact + exact / 16, "{percent}: {found}");
        }
        assert_eq!(histogram.max(), Duration::from_millis(100));
        assert_eq!(LatencyHistogram::default().percentile(50), Duration::ZERO);
    }

    #[test]
    fn every_latency_lies_in_its_bucket_and_the_number_of_buckets_is_bounded() {
        let mut micros = 0_u64;
        while micros < u64::MAX / 3 {
            let bucket = bucket_of(micros);
            assert!(upper_bound(bucket) >= micros);
            assert!(bucket == 0 || upper_bound(bucket - 1) < micros);
            micros = micros * 2 + micros / 7 + 1;
        }
        assert!(bucket_of(u64::MAX) < 2_000);
        assert_eq!(upper_bound(bucket_of(u64::MAX)), u64::MAX);
    }

    #[test]
    fn merged_statistics_equal_those_of_one_fleet() {
        let (mut one, mut two, mut both) =
            (LatencyHistogram::default(), LatencyHistogram::default(), LatencyHistogram::default());
        for micros in [3, 40, 5_000, 70_000, 70_001] {
            if micros % 2 == 0 {
                one.record(Duration::from_micros(micros));
            } else {
                two.record(Duration::from_micros(micros));
            }
            both.record(Duration::from_micros(micros));
        }
        one.merge(&two);
        assert_eq!(one, both);
    }

    #[test]
    fn the_report_has_the_agreed_names() {
        let report = FleetReport::new(10, 9, Duration::from_secs(2), &FleetStatistics::default());
        let json = serde_json::to_value(report).unwrap();
        for name in ["devices", "registered", "sent", "acknowledged", "lost", "duration_s"] {
            assert!(json.get(name).is_some_and(serde_json::Value::is_number), "{name}");
        }
        for name in ["p50", "p90", "p99", "max"] {
            assert!(json["latency_ms"].get(name).is_some_and(serde_json::Value::is_number), "{name}");
        }
    }
}
