//! All integration tests in one binary: every further binary would link the whole program again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod architecture;
mod config;
mod conformance;
mod end_to_end;
mod simulation;
mod written_page;
