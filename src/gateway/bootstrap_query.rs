//! What an API caller may ask of the bootstrap server: [`Query::Bootstrap`](super::vocabulary::Query::Bootstrap) carries
//! one of these.

/// What an API caller may ask of the bootstrap server. Bodies are checked by the core, which answers
/// [`Answer::Failed`](super::vocabulary::Answer::Failed) with all problems at once.
#[derive(Clone, Debug)]
pub enum BootstrapQuery {
    /// All accounts by name: `{"items":[..],"next":null}`, nothing secret in them.
    Servers,
    /// One account, nothing secret in it.
    Server {
        /// Its name.
        name: String,
    },
    /// Puts an account; answered with it and whether it is `created`, once that is durable.
    PutServer {
        /// Its name.
        name: String,
        /// The account.
        body: serde_json::Value,
        /// Only tell what is wrong.
        dry_run: bool,
    },
    /// Removes an account; `conflict` while entries name it, unless `cascade` takes it out of them too.
    RemoveServer {
        /// Its name.
        name: String,
        /// Whether entries that name it go on without it.
        cascade: bool,
    },
    /// A page of device entries, by name.
    Devices {
        /// Only those whose name or accounts contain this.
        search: String,
        /// Only those after this one.
        after: Option<String>,
        /// At most so many.
        limit: usize,
    },
    /// One device entry, nothing secret in it.
    Device {
        /// Endpoint name or pattern.
        name: String,
    },
    /// Puts a device entry; answered with it and whether it is `created`, once that is durable.
    PutDevice {
        /// Endpoint name or pattern.
        name: String,
        /// The entry.
        body: serde_json::Value,
        /// Only tell what is wrong.
        dry_run: bool,
    },
    /// Removes a device entry.
    RemoveDevice {
        /// Endpoint name or pattern.
        name: String,
    },
    /// Removes all device entries that came over an interface; answered with how many: `{"removed":2}`.
    RemoveDevices,
    /// Adds an account to a device entry, which is made if it is not there.
    AddServer {
        /// Endpoint name or pattern.
        device: String,
        /// The name of an account as a JSON string, or an account as an object.
        server: serde_json::Value,
    },
    /// Takes an account out of a device entry.
    TakeServer {
        /// Endpoint name or pattern.
        device: String,
        /// The name of the account, or the position of an inline one.
        server: String,
    },
    /// A page of sessions, the latest first.
    Sessions {
        /// Only of this endpoint.
        endpoint: Option<String>,
        /// Only those after this one: `next` of the page before.
        after: Option<String>,
        /// At most so many.
        limit: usize,
    },
    /// One session, step by step.
    Session {
        /// Its id.
        id: String,
    },
    /// Who waits for approval.
    Pending,
    /// Lets a device in; its session goes on if it still waits, and the decision is remembered as its entry.
    Approve {
        /// Its endpoint name.
        endpoint: String,
        /// `{"servers":[..]}`; empty: what the entry `*` says.
        body: serde_json::Value,
    },
}
