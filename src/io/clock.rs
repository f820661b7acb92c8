//! The only reader of the clock. Everybody else is told the time.

use std::time::Instant;

/// The monotonic clock of the operating system.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn monotonic_now() -> Instant {
    Instant::now()
}
