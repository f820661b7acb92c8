//! Time as the machines see it: an own monotonic [`Instant`] and a separate [`WallTime`].
//!
//! Lifetimes, retransmissions and every other timer use [`Instant`]; [`WallTime`] is only what a sample is labelled
//! with. An edge box often starts without a valid clock, so nothing that must work may depend on wall time.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on the monotonic clock, in microseconds since the process (or the simulation) began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant {
    micros: u64,
}

impl Instant {
    /// The beginning of the clock.
    pub const ZERO: Self = Self { micros: 0 };

    /// The point `micros` microseconds after the beginning.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    /// The point `millis` milliseconds after the beginning.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self { micros: millis * 1_000 }
    }

    /// The point `secs` seconds after the beginning.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self { micros: secs * 1_000_000 }
    }

    /// Microseconds since the beginning.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.micros
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros.saturating_sub(earlier.micros))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self { micros: self.micros.saturating_add(micros) }
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self { micros: self.micros.saturating_sub(micros) }
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.micros / 1_000_000, self.micros % 1_000_000)
    }
}

/// A point in civil time, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct WallTime {
    millis: i64,
}

impl WallTime {
    /// The point `millis` milliseconds after the epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self { millis }
    }

    /// The point `secs` seconds after the epoch; out-of-range values saturate.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self { millis: secs.saturating_mul(1_000) }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.millis
    }

    /// This point moved by `millis` milliseconds, saturating.
    #[must_use]
    pub const fn shifted(self, millis: i64) -> Self {
        Self { millis: self.millis.saturating_add(millis) }
    }

    /// RFC 3339 text in UTC with milliseconds, for example `2023-11-14T22:13:20.000Z`.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let days = self.millis.div_euclid(86_400_000);
        let rest = self.millis.rem_euclid(86_400_000);
        let (year, month, day) = civil_from_days(days);
        let (hours, minutes) = (rest / 3_600_000, rest / 60_000 % 60);
        let (seconds, millis) = (rest / 1_000 % 60, rest % 1_000);
        format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z")
    }
}

/// The date of a day number counted from 1970-01-01, in the proleptic Gregorian calendar.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    // Years are counted from 1 March of year 0, so that the leap day ends the year.
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_text_of_known_days() {
        assert_eq!(WallTime::from_millis(0).to_rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(WallTime::from_millis(1_700_000_000_123).to_rfc3339(), "2023-11-14T22:13:20.123Z");
        assert_eq!(WallTime::from_secs(951_782_400).to_rfc3339(), "2000-02-29T00:00:00.000Z");
        assert_eq!(WallTime::from_millis(-1).to_rfc3339(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        let _ = WallTime::from_millis(i64::MAX).to_rfc3339();
        let _ = WallTime::from_millis(i64::MIN).to_rfc3339();
        assert_eq!(Instant::from_micros(u64::MAX) + Duration::MAX, Instant::from_micros(u64::MAX));
    }
}
