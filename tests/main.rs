//! All integration tests in one binary: every further binary would link the whole program again.

mod architecture;
mod config;
mod conformance;
