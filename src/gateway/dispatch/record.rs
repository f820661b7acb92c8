//! What survives of a command: the JSON record in the store.

use super::queue::QueuedCommand;
use crate::gateway::clock::WallClock;
use crate::gateway::store::StoreSequence;
use crate::gateway::vocabulary::RequestId;
use crate::model::command::{Command, CommandResult, Operation};
use crate::model::time::{Instant, WallTime};

/// Who sent a command and where the results go.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Origin {
    /// Name of the sink it came by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Topic for the results instead of the layout's (MQTT 5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_topic: Option<String>,
    /// Correlation data of the request, base64 (MQTT 5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    /// Whether it came by HTTP: its results are asked for there and do not go to the sinks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_api: bool,
    /// The API caller that waits for the results, in this run of the gateway.
    #[serde(skip)]
    pub request: Option<RequestId>,
}

/// The record: waiting without `result`, ended with it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CommandRecord {
    /// What the device gets.
    pub command: Command,
    /// What the sender wrote.
    pub asked: Operation,
    /// Who asked.
    pub origin: Origin,
    /// When it was accepted.
    pub accepted_at: WallTime,
    /// When its `ttl` ends.
    pub expires_at: WallTime,
    /// Whether an operation that must not run twice may have been sent.
    #[serde(default)]
    pub started: bool,
    /// Whether `queued` was reported.
    #[serde(default)]
    pub reported_queued: bool,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<CommandResult>,
}

impl CommandRecord {
    /// The record of a waiting command.
    pub fn of(queued: &QueuedCommand, clock: &WallClock) -> Self {
        Self {
            command: queued.command.clone(),
            asked: queued.asked.clone(),
            origin: queued.origin.clone(),
            accepted_at: queued.accepted_at,
            expires_at: clock.at(queued.expires_at),
            started: queued.started.is_some(),
            reported_queued: queued.reported_queued,
            result: None,
        }
    }

    /// The waiting command of a record. An untrusted clock grants the whole `ttl` anew.
    pub fn into_queued(self, now: Instant, clock: &WallClock) -> QueuedCommand {
        let remaining = if clock.is_synced() {
            clock.instant_of(self.expires_at).saturating_since(now).min(self.command.ttl)
        } else {
            self.command.ttl
        };
        QueuedCommand {
            command: self.command,
            asked: self.asked,
            origin: self.origin,
            accepted_at: self.accepted_at,
            expires_at: now + remaining,
            accepted: StoreSequence(0),
            started: self.started.then_some(StoreSequence(0)),
            reported_queued: self.reported_queued,
            tried: false,
            handed_over: false,
        }
    }

    /// The bytes for the store.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}
