//! Which of two notifications is newer (RFC 7641 section 3.4): datagrams overtake one another.

use std::time::Duration;

use crate::model::time::Instant;

/// After this time the newer arrival is newer whatever its number: a device cannot have counted half-way round.
pub const MAX_REORDERING: Duration = Duration::from_secs(128);

/// Half of the 24-bit number space: what lies further ahead lies behind.
const HALF: u32 = 1 << 23;

/// Whether the notification numbered `current`, received at `now`, is newer than the newest one so far.
///
/// Numbers are Observe option values of 24 bits.
#[must_use]
pub fn is_newer(previous: u32, previous_at: Instant, current: u32, now: Instant) -> bool {
    let ahead = previous < current && current - previous < HALF;
    let wrapped = previous > current && previous - current > HALF;
    ahead || wrapped || now.saturating_since(previous_at) > MAX_REORDERING
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newer_within(previous: u32, current: u32, elapsed: Duration) -> bool {
        let previous_at = Instant::from_secs(7);
        is_newer(previous, previous_at, current, previous_at + elapsed)
    }

    #[test]
    fn rfc7641_3_4_numbers_order_notifications_around_the_wrap() {
        for (previous, current, newer) in [
            (1, 2, true),
            (2, 1, false),
            (5, 5, false),
            (0, HALF - 1, true),
            (0, HALF, false),
            (HALF, 0, false),
            (HALF + 1, 0, true),
            (0, HALF + 1, false),
            (0x00ff_ffff, 0, true),
            (0, 0x00ff_ffff, false),
        ] {
            assert_eq!(newer_within(previous, current, Duration::ZERO), newer, "{previous} then {current}");
        }
    }

    #[test]
    fn rfc7641_3_4_after_128_seconds_every_arrival_is_newer() {
        assert!(!newer_within(9, 3, MAX_REORDERING));
        assert!(newer_within(9, 3, MAX_REORDERING + Duration::from_micros(1)));
        assert!(newer_within(9, 9, MAX_REORDERING + Duration::from_micros(1)));
    }
}
