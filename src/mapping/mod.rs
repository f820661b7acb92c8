//! Mapping files: which paths become which keys, what is observed and read, what the cloud may set.
//!
//! ```text
//!  text → file (tables with places, keys checked) → compile (one pass tells every problem) → Plan
//!  Plan + facts of a device → Selection
//!  Plan + Selection → wishes · uplink · desired · command · publish · explain
//!  Plan + request over HTTP → own endpoint
//! ```
//!
//! Files (TOML, one or more) are compiled once into an immutable [`Plan`]; all problems of all files are reported at
//! once. At run time a device is matched against the files ([`Plan::select`]) and the resulting [`Selection`] answers
//! every question about that device.
//!
//! Invariants:
//! - Rules are searched in the order of the files and of their places in them, the built-in default mapping last. For
//!   each kind the first rule that fits wins; `also` lets the search go on; `[[ignore]]` ends the searches of telemetry
//!   and attributes. A rule that fits and cannot use a value has won all the same: the failure is told, no other rule
//!   guesses.
//! - A path is wanted (observed, read) for a rule only if that rule would take its values.
//! - A pattern takes what lies below it: `/3/0/7` also takes `/3/0/7/1`. Where a pattern leaves the resource instance
//!   open and the key does not name it, `_N` is appended to the key, so that instances never overwrite one another.
//! - A fact that is not known yet fits no condition of `[match]`; the device is selected anew when it becomes known.
//! - Nothing here reads a clock or the network, and no text and no value makes it panic.

mod compile;
mod downlink;
mod examples;
mod explain;
mod file;
mod http;
mod index;
mod json_template;
mod matching;
mod names;
mod pattern;
mod payload;
mod plan;
mod problem;
mod publish;
mod rule;
mod schema;
mod starter;
mod template;
mod uplink;
mod wishes;

pub use compile::{DEFAULT_MAPPING, DEFAULT_MAPPING_NAME, MAX_RULES};
pub use downlink::DesiredWrite;
pub use examples::{ExampleMessages, ExpectedMessage};
pub use explain::{ExplainStep, Verdict};
pub use http::{OwnEndpoint, OwnOperation, OwnRequest, OwnRole};
pub use plan::{DeviceSettings, ObserveStrategy, Plan, QueueMode, Selection};
pub use problem::{Compiled, MappingFile, Problem, Severity};
pub use publish::{OwnMessage, PublishSource, SinkReference};
pub use schema::json_schema;
pub use starter::starter;
pub use uplink::{KeyKind, MappedValue, ReportPolicy, Uplink};
pub use wishes::{ObservationWish, Provenance, ReadWhen, ReadWish, Wishes};

#[cfg(test)]
mod tests;
