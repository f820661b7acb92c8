//! The REST API and event stream of Leshan's demo server, as shapes: so that scripts and test suites written for it run
//! against this gateway unchanged.
//!
//! ```text
//!  method, path            → Route ─┐
//!  query, body, DeviceModel         ├→ LeshanCommand: command JSON, and how its result is told
//!  CommandResult, DeviceModel       ┴→ Reply: Leshan's response, or its text for what went wrong
//!  Registration · samples · results → Event: name and data of the stream
//! ```
//!
//! Everything odd here is Leshan's: numbers are strings, a device's refusal is HTTP 200 with `"success": false`, an
//! unknown endpoint is 400, times are milliseconds. Only shapes are known here; the core carries commands out as it
//! does for everybody.

mod bootstrap;
mod coap_log;
mod event;
mod node;
mod registration;
mod reply;
mod request;
mod route;
mod security;
mod specification;
#[cfg(test)]
mod tests;
mod value;

pub use bootstrap::{Entry, configuration_of, entry_of};
pub use event::{Event, EventName};
pub use registration::Registration;
pub use reply::{Reply, delayed, delayed_response, reply, status_of};
pub use request::{LeshanCommand, Parameters, command};
pub use route::{DeviceRequest, Route, Wanted, route};
pub use security::{credential_of, security_info};
pub use specification::specifications;

/// What is told in place of an answer: a status of HTTP and a line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status of HTTP.
    pub status: u16,
    /// What is wrong.
    pub text: String,
}

impl Refusal {
    /// 400 in the words that clients of Leshan look for.
    #[must_use]
    pub fn invalid(reason: impl std::fmt::Display) -> Self {
        Self { status: 400, text: format!("Invalid request: {reason}") }
    }

    /// 400: nobody with this endpoint name is registered.
    #[must_use]
    pub fn no_client(endpoint: &str) -> Self {
        let shown: String = endpoint.chars().filter(|character| !character.is_control()).take(100).collect();
        Self { status: 400, text: format!("no registered client with id '{shown}'") }
    }
}
