//! The only reader of the clocks. Everybody else is told the time.

use std::time::{Instant as SystemInstant, SystemTime, UNIX_EPOCH};

use crate::model::time::{Instant, WallTime};

/// No machine that runs this program is older than it: an earlier wall time means that nobody set the clock.
pub const NOT_BEFORE: WallTime = WallTime::from_secs(1_793_491_200);

/// Made by systemd-timesyncd once it set the clock; its folder tells that timesyncd is there at all.
const TIMESYNC_FOLDER: &str = "/run/systemd/timesync";
const TIMESYNC_MARK: &str = "/run/systemd/timesync/synchronized";

/// The monotonic clock of the operating system.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn monotonic_now() -> SystemInstant {
    SystemInstant::now()
}

/// Wall time as the operating system has it, right or wrong.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn wall_now() -> WallTime {
    let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
    };
    WallTime::from_millis(millis)
}

/// Whether wall time can be trusted: it is not before this program was made, and timesyncd, where it runs, has set it.
#[must_use]
pub fn wall_is_trusted() -> bool {
    let timesyncd_runs = std::path::Path::new(TIMESYNC_FOLDER).exists();
    wall_now() >= NOT_BEFORE && (!timesyncd_runs || std::path::Path::new(TIMESYNC_MARK).exists())
}

/// Counts the time of one run.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    started: SystemInstant,
}

impl RunClock {
    /// A clock that shows [`Instant::ZERO`] now.
    #[must_use]
    pub fn start() -> Self {
        Self { started: monotonic_now() }
    }

    /// The time of the run.
    #[must_use]
    pub fn now(&self) -> Instant {
        let micros = monotonic_now().saturating_duration_since(self.started).as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The operating system's instant for a time of the run.
    #[must_use]
    pub fn system_instant(&self, instant: Instant) -> SystemInstant {
        let after = instant.saturating_since(Instant::ZERO);
        // Far deadlines mean "not soon"; a day is far enough for one wait.
        self.started.checked_add(after).unwrap_or_else(|| monotonic_now() + std::time::Duration::from_secs(86_400))
    }
}
