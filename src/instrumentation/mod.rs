//! What operators see of the inside: what can be counted, the metrics, and how often a log line may repeat.
//!
//! Nothing here decides anything: machines tell what happened ([`occurrence`]) and what is ([`gauges`]), [`metrics`]
//! counts and shows it, and [`log_limit`] keeps one noisy peer from filling the log.

pub mod gauges;
pub mod log_limit;
pub mod metrics;
pub mod occurrence;
