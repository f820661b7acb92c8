//! What an API caller may ask: [`Input::Request`](super::vocabulary::Input::Request) carries one of these, and an
//! [`Answer`](super::vocabulary::Answer) comes back.

use std::time::Duration;

use super::bootstrap_query::BootstrapQuery;
use super::configuration::Role;
use crate::model::command::CommandError;
use crate::model::credential::Scope;
use crate::model::credential_wish::CredentialWish;

/// What an API caller may ask.
#[derive(Clone, Debug)]
pub enum Query {
    /// A page of device records, by endpoint.
    Devices {
        /// Only those whose endpoint or name contains this.
        search: String,
        /// Only those after this endpoint.
        after: Option<String>,
        /// At most so many.
        limit: usize,
    },
    /// One device by name or endpoint.
    Device {
        /// Name or endpoint.
        device: String,
    },
    /// Latest values of mapped keys.
    Values {
        /// Name or endpoint.
        device: String,
    },
    /// Values that no rule took.
    Unmapped {
        /// Name or endpoint.
        device: String,
    },
    /// Peers that were turned away.
    Refused,
    /// Opens (or with zero closes) the join window.
    PermitJoin {
        /// For how long.
        duration: Duration,
    },
    /// Whether every part works.
    Ready,
    /// What is known of one device beyond its record.
    View {
        /// Name or endpoint.
        device: String,
        /// What to look at.
        view: DeviceView,
    },
    /// Which objects have a definition, in which versions.
    Objects,
    /// The definition of an object.
    Object {
        /// Its id.
        id: u16,
        /// A version such as `1.1`, or `latest`.
        version: String,
    },
    /// A page of commands, waiting ones and those that ended in the last day, the latest first.
    Commands {
        /// Only of this device: name or endpoint.
        device: Option<String>,
        /// Only those that stand so: `accepted`, `queued`, or a word of a terminal result.
        status: Option<String>,
        /// Only those after this one: `next` of the page before.
        after: Option<String>,
        /// At most so many.
        limit: usize,
    },
    /// How one command stands or ended.
    CommandOf {
        /// Its id.
        id: String,
        /// Name or endpoint, where several devices have a command of this id.
        device: Option<String>,
    },
    /// Withdraws a waiting command, answered by [`Answer::Command`](super::vocabulary::Answer::Command) with the result of
    /// that.
    CancelCommand {
        /// Its id.
        id: String,
        /// Name or endpoint, where several devices have a command of this id.
        device: Option<String>,
        /// What the caller may do.
        role: Role,
    },
    /// A command as JSON (the same shape as over MQTT), answered by
    /// [`Answer::Command`](super::vocabulary::Answer::Command) once or more.
    Command {
        /// Name or endpoint.
        device: String,
        /// The command.
        body: serde_json::Value,
        /// What the caller may do.
        role: Role,
    },
    /// The registrations in force as Leshan's demo server tells them: an array of all, or the one of an endpoint.
    Registrations {
        /// Endpoint name, not the operator's name.
        endpoint: Option<String>,
    },
    /// A request that no route of the gateway itself took: the mapping's own endpoints (`[[http]]`). Answered like
    /// [`Query::Command`], by [`Answer::Body`](super::vocabulary::Answer::Body) with a last known value, or by
    /// [`Answer::NoEndpoint`](super::vocabulary::Answer::NoEndpoint).
    Own {
        /// Method of HTTP.
        method: String,
        /// Path of the URL without its query, percent-encoded.
        path: String,
        /// The body; null if there was none.
        body: serde_json::Value,
        /// What the caller may do.
        role: Role,
    },
    /// A request of the bridge, as over MQTT: `mapping/put`, `device/options`, `reload` and the like.
    Bridge {
        /// Which.
        what: String,
        /// Its fields.
        body: serde_json::Value,
        /// What the caller may do.
        role: Role,
    },
    /// The object definitions that apply to a device, answered by [`Answer::Model`](super::vocabulary::Answer::Model).
    Model {
        /// Name or endpoint.
        device: String,
    },
    /// A page of credentials, by name and then scope.
    Credentials {
        /// Only those whose name, identity or subject contains this.
        search: String,
        /// Only those of one scope.
        scope: Option<Scope>,
        /// Only those after this one: `next` of the page before.
        after: Option<String>,
        /// At most so many.
        limit: usize,
    },
    /// One credential.
    Credential {
        /// Its scope.
        scope: Scope,
        /// Its name.
        endpoint: String,
    },
    /// Puts a credential; answered with it and whether it is `created`, once that is durable.
    PutCredential(Box<CredentialWish>),
    /// Puts many, in order, each with an own result; answered once that is durable.
    PutCredentials {
        /// The wishes; those that could not even be read stand as why.
        wishes: Vec<Result<CredentialWish, CommandError>>,
        /// Put nothing unless all can be put.
        all_or_nothing: bool,
        /// Put nothing, only tell what would be.
        dry_run: bool,
    },
    /// Of the bootstrap server.
    Bootstrap(BootstrapQuery),
    /// Removes a credential, with what stands by it.
    RemoveCredential {
        /// Its scope.
        scope: Scope,
        /// Its name.
        endpoint: String,
    },
}

/// What of a device an API caller looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceView {
    /// Desired keys with what is reported and the last attempt.
    Twin,
    /// What is observed, by which rule, and how that stands.
    Observations,
    /// What the mapping wants.
    Plan,
    /// Whether it is up, and if not, why.
    Diagnosis,
    /// Last known values.
    Cached {
        /// A path in numbers or names.
        path: String,
    },
}
