//! Commands: from acceptance to exactly one terminal result.
//!
//! ```text
//! accepted ─durable─▶ waiting ─▶ (not repeatable: start durable) ─▶ sent ─▶ done · failed · unknown
//!     │                  └─ device asleep or away: queued            └ no answer: waiting again, if repeatable
//!     └─ invalid · conflict · queue_full: failed at once         ttl passed: expired   withdrawn: cancelled
//! ```
//!
//! Invariants: a command is acknowledged to its sender when it is durable, and sent to the device only after that; an
//! Execute or Create is marked as started, durably, before its first byte leaves, so that a crash ends it as `unknown`
//! and never runs it twice; each command has one terminal result, which is durable in the same transaction as the
//! message that tells it.

pub mod attempt;
pub mod queue;
pub mod record;
pub mod results;
