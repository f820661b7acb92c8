//! Store-and-forward towards each sink.
//!
//! ```text
//! append ─▶ spool (journal + memory) ─durable─▶ in flight ─acknowledged─▶ deleted below the watermark
//! retain ─▶ latest payload of a topic ─────────▶ in flight ─acknowledged─▶ kept for the next connection
//! ```
//!
//! Two ways lead to a sink: [`spool`] carries every sample in order, [`retained`] carries the latest payload of each
//! retained topic and is never queued behind old data. [`sink`] joins them under one window of unacknowledged messages.
//!
//! Beside them [`transient`] carries what nobody needs later, such as log lines; it is neither stored nor repeated.
//!
//! Invariants: a row leaves only when durable and is deleted only when acknowledged or dropped by the policy; rows
//! leave in the order of their ids; after a lost connection everything unacknowledged leaves again.

pub mod retained;
pub mod sink;
pub mod spool;
pub mod transient;
