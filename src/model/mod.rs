//! The words that every other module shares: endpoints, paths, values, objects, commands, reports, messages and time.
//!
//! This module uses nothing else of the crate. A type belongs here only if two layers that do not know one another
//! exchange it.

pub mod attributes;
pub mod bootstrap;
pub mod command;
pub mod credential;
pub mod credential_wish;
pub mod ddf;
pub mod endpoint;
pub mod event;
pub mod message;
pub mod nearest;
pub mod object;
pub mod path;
pub mod report;
pub mod time;
pub mod units;
pub mod value;
pub mod version;
