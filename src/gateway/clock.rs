//! The core's idea of wall time: an offset to the monotonic clock, corrected from outside.

use crate::model::time::{Instant, WallTime};

/// Wall time computed from the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock {
    /// Milliseconds to add to the monotonic clock.
    offset_millis: i64,
    synced: bool,
}

impl WallClock {
    /// Wall time at `now`.
    pub fn at(&self, now: Instant) -> WallTime {
        let elapsed = i64::try_from(now.micros() / 1_000).unwrap_or(i64::MAX);
        WallTime::from_millis(self.offset_millis.saturating_add(elapsed))
    }

    /// The monotonic instant at which the wall clock shows `wall`; the past becomes the beginning of the clock.
    pub fn instant_of(&self, wall: WallTime) -> Instant {
        let millis = wall.millis().saturating_sub(self.offset_millis);
        Instant::from_micros(u64::try_from(millis).unwrap_or(0).saturating_mul(1_000))
    }

    /// Whether wall time can be trusted.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Sets the clock; returns by how many milliseconds it moved.
    pub fn set(&mut self, now: Instant, wall: WallTime, synced: bool) -> i64 {
        let step = wall.millis().saturating_sub(self.at(now).millis());
        self.offset_millis = self.offset_millis.saturating_add(step);
        self.synced = synced;
        step
    }
}
