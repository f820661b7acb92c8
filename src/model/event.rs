//! The bridge events: what happened to devices and to the gateway, as every interface names it.

use std::fmt;

use super::endpoint::Endpoint;
use super::time::WallTime;

/// The kinds of bridge events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// A device registered.
    Registered,
    /// A registration was updated.
    Updated,
    /// A device said good-bye.
    Deregistered,
    /// A lifetime ended without an update.
    Expired,
    /// A sleeping device was heard.
    Awake,
    /// The awake window of a device ended.
    Asleep,
    /// A device did not answer.
    Unreachable,
    /// A peer was turned away.
    Refused,
    /// A peer wanted the name of a device that is somebody else.
    EndpointConflict,
    /// A device got its server accounts.
    Bootstrapped,
    /// A device did not get its server accounts.
    BootstrapFailed,
    /// An unknown device waits for approval at the bootstrap server.
    JoinRequested,
    /// A device would not be observed.
    ObserveFailed,
    /// A value came that no rule takes.
    Unmapped,
    /// A device bent the standard and was tolerated.
    Quirk,
    /// The wall clock became valid.
    ClockSynced,
    /// A sink connected.
    SinkUp,
    /// A sink lost its connection.
    SinkDown,
    /// Data was dropped by a policy.
    Dropped,
    /// Configuration or mappings were loaded anew.
    Reloaded,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Registered,
        Self::Updated,
        Self::Deregistered,
        Self::Expired,
        Self::Awake,
        Self::Asleep,
        Self::Unreachable,
        Self::Refused,
        Self::EndpointConflict,
        Self::Bootstrapped,
        Self::BootstrapFailed,
        Self::JoinRequested,
        Self::ObserveFailed,
        Self::Unmapped,
        Self::Quirk,
        Self::ClockSynced,
        Self::SinkUp,
        Self::SinkDown,
        Self::Dropped,
        Self::Reloaded,
    ];

    /// The word of the interfaces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Updated => "updated",
            Self::Deregistered => "deregistered",
            Self::Expired => "expired",
            Self::Awake => "awake",
            Self::Asleep => "asleep",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::EndpointConflict => "endpoint_conflict",
            Self::Bootstrapped => "bootstrapped",
            Self::BootstrapFailed => "bootstrap_failed",
            Self::JoinRequested => "join_requested",
            Self::ObserveFailed => "observe_failed",
            Self::Unmapped => "unmapped",
            Self::Quirk => "quirk",
            Self::ClockSynced => "clock_synced",
            Self::SinkUp => "sink_up",
            Self::SinkDown => "sink_down",
            Self::Dropped => "dropped",
            Self::Reloaded => "reloaded",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The device it concerns.
    pub endpoint: Option<Endpoint>,
    /// The operator's name of that device.
    pub name: Option<String>,
    /// When.
    pub ts: WallTime,
    /// Why, in words for an operator; empty when the kind says it all. Never holds a secret.
    pub reason: String,
}

impl Event {
    /// The JSON form of the `bridge/event` topic.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::json!({ "event": self.kind.as_str(), "ts": self.ts.millis() });
        if let Some(endpoint) = &self.endpoint {
            json["endpoint"] = endpoint.as_str().into();
        }
        if let Some(name) = &self.name {
            json["name"] = name.as_str().into();
        }
        if !self.reason.is_empty() {
            json["reason"] = self.reason.as_str().into();
        }
        json
    }
}
