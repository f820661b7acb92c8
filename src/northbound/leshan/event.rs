//! Events of Leshan's stream.

use serde_json::{Value as Json, json};

use super::node::Leaves;
use super::registration::Registration;
use crate::model::credential::Scope;
use crate::model::event::EventKind;
use crate::model::path::Path;
use crate::model::report::Sample;
use crate::model::time::WallTime;

/// What happened, by Leshan's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventName {
    /// A device registered.
    Registration,
    /// A registration was updated.
    Updated,
    /// A registration ended, by the device, by its lifetime or by a new one.
    Deregistration,
    /// A device in queue mode was heard.
    Awake,
    /// Its awake window ended.
    Sleeping,
    /// An observation brought values.
    Notification,
    /// A Send brought values.
    Send,
    /// The result of a request that waited for its device.
    RequestResponse,
    /// A message to or from a device.
    CoapLog,
    /// Something happened in a bootstrap session.
    BootstrapSession,
}

impl EventName {
    /// Leshan's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "REGISTRATION",
            Self::Updated => "UPDATED",
            Self::Deregistration => "DEREGISTRATION",
            Self::Awake => "AWAKE",
            Self::Sleeping => "SLEEPING",
            Self::Notification => "NOTIFICATION",
            Self::Send => "SEND",
            Self::RequestResponse => "REQUEST_RESPONSE",
            Self::CoapLog => "COAPLOG",
            Self::BootstrapSession => "BSSESSION",
        }
    }

    /// Which of Leshan's servers tells of it.
    #[must_use]
    pub const fn server(self) -> Scope {
        match self {
            Self::BootstrapSession => Scope::Bootstrap,
            _ => Scope::Server,
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What happened.
    pub name: EventName,
    /// Endpoint name of the device, for streams of one device.
    pub endpoint: String,
    /// The data.
    pub data: Json,
}

impl Event {
    /// A registration began or was updated; every other kind means that it ended.
    #[must_use]
    pub fn of_registration(kind: EventKind, registration: &Registration) -> Self {
        let name = match kind {
            EventKind::Registered => EventName::Registration,
            EventKind::Updated => EventName::Updated,
            _ => EventName::Deregistration,
        };
        let data = match name {
            EventName::Updated => {
                json!({ "registration": registration.to_json(), "update": registration.update_json() })
            }
            _ => registration.to_json(),
        };
        Self { name, endpoint: registration.endpoint.clone(), data }
    }

    /// A device woke up or fell asleep.
    #[must_use]
    pub fn presence(awake: bool, endpoint: &str) -> Self {
        let name = if awake { EventName::Awake } else { EventName::Sleeping };
        Self { name, endpoint: endpoint.to_owned(), data: json!({ "ep": endpoint }) }
    }

    /// An observation of one or of several paths brought values; only the newest of each path is told. `None` if no
    /// value is below what is observed.
    #[must_use]
    pub fn notification(endpoint: &str, observed: &[Path], composite: bool, samples: &[Sample]) -> Option<Self> {
        let leaves = Leaves::of_samples(samples);
        let data = match observed {
            [path] if !composite => {
                json!({ "ep": endpoint, "kind": "single", "res": path, "val": leaves.node(path)? })
            }
            paths => {
                let nodes: serde_json::Map<String, Json> =
                    paths.iter().filter_map(|path| Some((path.to_string(), leaves.node(path)?))).collect();
                json!({ "ep": endpoint, "kind": "composite", "val": nodes, "paths": paths })
            }
        };
        Some(Self { name: EventName::Notification, endpoint: endpoint.to_owned(), data })
    }

    /// A Send brought values; only the newest of each path is told.
    #[must_use]
    pub fn send(endpoint: &str, samples: &[Sample]) -> Self {
        let data = json!({ "ep": endpoint, "val": Leaves::of_samples(samples).by_path() });
        Self { name: EventName::Send, endpoint: endpoint.to_owned(), data }
    }

    /// Something happened in a bootstrap session: `name` is Leshan's word for it.
    #[must_use]
    pub fn bootstrap_session(name: &str, endpoint: &str, ts: WallTime, message: &str) -> Self {
        let data = json!({ "name": name, "endpoint": endpoint, "time": ts.millis(), "message": message });
        Self { name: EventName::BootstrapSession, endpoint: endpoint.to_owned(), data }
    }
}
