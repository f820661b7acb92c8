//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// Longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Pause before the first repetition: long enough for a restarting broker to close its sockets.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Counts failures; forgets them once a connection has proved itself.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next pause: short at first, then from 1 s doubling to 30 s, each shortened by up to a half at random so that
    /// gateways do not come back in step.
    pub(super) fn next_pause(&mut self, random: u32) -> Duration {
        let pause = match self.failures {
            0 => FIRST_PAUSE,
            failures => MAX_PAUSE.min(Duration::from_secs(1 << (failures - 1).min(5))),
        };
        self.failures = self.failures.saturating_add(1);
        pause.mul_f64(1.0 - f64::from(random) / f64::from(u32::MAX) / 2.0)
    }

    /// The connection held.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound_and_start_over() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..8).map(|_| backoff.next_pause(0).as_millis()).collect();
        assert_eq!(pauses, [200, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(backoff.next_pause(u32::MAX), Duration::from_secs(15));
        backoff.reset();
        assert_eq!(backoff.next_pause(u32::MAX), Duration::from_millis(100));
    }
}
