//! What operators see of the inside: one type for each event, log line and metric together.

pub mod occurrence;
