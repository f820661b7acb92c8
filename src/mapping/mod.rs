//! Mapping files: which paths become which keys, what is observed and read, what the cloud may set.
//!
//! Files (TOML, one or more) are compiled once into an immutable [`Plan`]; all problems of all files are reported at
//! once. At run time a device is matched against the files ([`Plan::select`]) and the resulting [`Selection`] answers
//! every question about that device. The first rule that fits wins for each kind; the built-in default mapping stands
//! last.

mod compile;
mod downlink;
mod examples;
mod explain;
mod file;
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
mod template;
mod uplink;
mod wishes;

pub use compile::{DEFAULT_MAPPING, DEFAULT_MAPPING_NAME, MAX_RULES};
pub use downlink::DesiredWrite;
pub use examples::{ExampleMessages, ExpectedMessage};
pub use explain::{ExplainStep, Verdict};
pub use plan::{DeviceSettings, Plan, QueueMode, Selection};
pub use problem::{Compiled, MappingFile, Problem, Severity};
pub use publish::{OwnMessage, PublishSource};
pub use schema::json_schema;
pub use uplink::{KeyKind, MappedValue, ReportPolicy, Uplink};
pub use wishes::{ObservationWish, ReadWhen, ReadWish, Wishes};

#[cfg(test)]
mod tests;
