//! Layouts: reports become messages, messages become commands. Pure text and JSON; who sends what when is the
//! gateway's business.

pub mod bootstrap_json;
pub mod command_json;
pub mod credential_json;
mod field_reader;
pub mod import;
pub mod layout;
pub mod leshan;
pub mod topic;
