//! What operators see of the inside: metrics, and how often a log line may repeat.
//!
//! Nothing here decides anything: machines tell what happened, [`metrics`] counts it and [`log_limit`] keeps one noisy
//! peer from filling the log.

pub mod log_limit;
pub mod metrics;
