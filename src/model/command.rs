//! Commands from the cloud and their results: the vocabulary shared by MQTT, HTTP and the dispatch machine.
//!
//! Each accepted command has exactly one terminal [`Outcome`]; `Queued` may precede it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::path::Path;
use super::time::WallTime;

/// How long a command waits for its device when it does not say.
pub const DEFAULT_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest command id, in bytes.
pub const MAX_ID_BYTES: usize = 128;

/// The most paths or values of one composite operation: their names fit into one block.
pub const MAX_COMPOSITE_PATHS: usize = 64;

/// What a command asks of the device.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "operation")]
pub enum Operation {
    /// Read a resource, instance or object.
    Read {
        /// What to read.
        path: Path,
    },
    /// List what the device has there, with its attributes.
    Discover {
        /// Where to look.
        path: Path,
        /// How many levels below the path are listed, 0 to 3 (1.2); `None`: as many as the device sees fit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        depth: Option<u8>,
    },
    /// Observe on behalf of the sender; values arrive on the `notify` topic.
    Observe {
        /// What to observe.
        path: Path,
        /// Attributes of this observation alone, by name (1.2).
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        attributes: BTreeMap<String, serde_json::Value>,
    },
    /// End an observation that a command made.
    CancelObserve {
        /// What was observed.
        path: Path,
        /// Forget it here and reject the next notification, instead of telling the device now.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        passive: bool,
    },
    /// Read several paths in one exchange (1.1).
    ReadComposite {
        /// What to read, each path once.
        paths: Vec<Path>,
    },
    /// Observe several paths as one (1.1); values arrive on the `notify` topic.
    ObserveComposite {
        /// What to observe, each path once.
        paths: Vec<Path>,
    },
    /// End an observation of several paths that a command made.
    CancelObserveComposite {
        /// The same paths, in any order.
        paths: Vec<Path>,
        /// Forget it here and reject the next notification, instead of telling the device now.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        passive: bool,
    },
    /// Write resources of several instances, all or none (1.1).
    WriteComposite {
        /// Values by full path; null deletes a resource instance (1.2).
        values: BTreeMap<Path, serde_json::Value>,
    },
    /// Ask the device to bootstrap again.
    Bootstrap,
    /// Replace a resource or an instance.
    Write {
        /// Target.
        path: Path,
        /// Values by full path.
        values: BTreeMap<Path, serde_json::Value>,
        /// Type for targets that no object model knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value_type: Option<super::value::ResourceType>,
    },
    /// Change some resources of an instance and leave the others.
    WriteUpdate {
        /// Target.
        path: Path,
        /// Values by full path.
        values: BTreeMap<Path, serde_json::Value>,
        /// Type for targets that no object model knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value_type: Option<super::value::ResourceType>,
    },
    /// Execute a resource.
    Execute {
        /// The executable resource.
        path: Path,
        /// Arguments as the standard writes them: `0='text',1`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arguments: Option<String>,
    },
    /// Create an object instance.
    Create {
        /// The object, or the instance to create.
        path: Path,
        /// Values by path; where `path` is an object, relative to the new instance with instance 0 standing for it.
        values: BTreeMap<Path, serde_json::Value>,
    },
    /// Delete an object instance or a resource instance.
    Delete {
        /// What to delete.
        path: Path,
    },
    /// Set or remove notification attributes.
    WriteAttributes {
        /// Object, instance, resource or resource instance.
        path: Path,
        /// Attribute name to number, or null to remove it.
        attributes: BTreeMap<String, serde_json::Value>,
    },
    /// Withdraw a waiting command.
    Cancel {
        /// Its id.
        command: String,
    },
    /// A `[[command]]` of the mapping.
    Named {
        /// Its name.
        name: String,
        /// What its `{placeholders}` stand for.
        params: BTreeMap<String, serde_json::Value>,
    },
    /// Write a desired value by its key (`set` topic).
    Set {
        /// The key of a `[[desired]]` rule.
        key: String,
        /// The wanted value, in the unit of the key.
        value: serde_json::Value,
    },
    /// Read keys from the device and report them like any other value (`get` topic).
    Get {
        /// Telemetry or attribute keys.
        keys: Vec<String>,
    },
}

impl Operation {
    /// The word of the interfaces.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Discover { .. } => "discover",
            Self::Observe { .. } => "observe",
            Self::CancelObserve { .. } => "cancel_observe",
            Self::ReadComposite { .. } => "read_composite",
            Self::ObserveComposite { .. } => "observe_composite",
            Self::CancelObserveComposite { .. } => "cancel_observe_composite",
            Self::WriteComposite { .. } => "write_composite",
            Self::Bootstrap => "bootstrap",
            Self::Write { .. } => "write",
            Self::WriteUpdate { .. } => "write_update",
            Self::Execute { .. } => "execute",
            Self::Create { .. } => "create",
            Self::Delete { .. } => "delete",
            Self::WriteAttributes { .. } => "write_attributes",
            Self::Cancel { .. } => "cancel",
            Self::Named { .. } => "command",
            Self::Set { .. } => "set",
            Self::Get { .. } => "get",
        }
    }

    /// The path it concerns, if it has one.
    #[must_use]
    pub const fn path(&self) -> Option<&Path> {
        match self {
            Self::Read { path }
            | Self::Discover { path, .. }
            | Self::Observe { path, .. }
            | Self::CancelObserve { path, .. }
            | Self::Write { path, .. }
            | Self::WriteUpdate { path, .. }
            | Self::Execute { path, .. }
            | Self::Create { path, .. }
            | Self::Delete { path }
            | Self::WriteAttributes { path, .. } => Some(path),
            Self::ReadComposite { .. }
            | Self::ObserveComposite { .. }
            | Self::CancelObserveComposite { .. }
            | Self::WriteComposite { .. }
            | Self::Bootstrap
            | Self::Cancel { .. }
            | Self::Named { .. }
            | Self::Set { .. }
            | Self::Get { .. } => None,
        }
    }

    /// Whether asking twice does what asking once does, so that a lost answer may be repeated.
    #[must_use]
    pub const fn is_idempotent(&self) -> bool {
        !matches!(self, Self::Execute { .. } | Self::Create { .. } | Self::Named { .. } | Self::Bootstrap)
    }
}

/// What to do with a command for a device that sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenAsleep {
    /// Keep it until the device is heard.
    #[default]
    Queue,
    /// Send it at once all the same.
    Try,
    /// Fail it.
    Fail,
}

/// A command, checked.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Command {
    /// Unique for its device within 24 hours.
    pub id: String,
    /// What to do.
    #[serde(flatten)]
    pub operation: Operation,
    /// Content format to use instead of the learnt one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<u16>,
    /// How long it may wait for the device.
    pub ttl: Duration,
    /// How long to wait for the answer once sent; `None`: the exchange's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Higher goes first.
    #[serde(default)]
    pub priority: i32,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<WallTime>,
    /// What to do when the device sleeps.
    #[serde(default)]
    pub when_asleep: WhenAsleep,
}

impl Command {
    /// A command that says nothing but what to do: everything else has its default.
    pub fn new(id: String, operation: Operation) -> Self {
        Self {
            id,
            operation,
            format: None,
            ttl: DEFAULT_TTL,
            timeout: None,
            priority: 0,
            not_before: None,
            when_asleep: WhenAsleep::default(),
        }
    }
}

/// Why a command failed, by the fixed words of the interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request is wrong; the message names the field.
    Invalid,
    /// No such device.
    UnknownDevice,
    /// The gateway or the device's version cannot do it.
    NotSupported,
    /// The device sleeps and the command would not wait.
    Asleep,
    /// No answer in time.
    Timeout,
    /// The device cannot be reached.
    Unreachable,
    /// A payload exceeds a limit.
    TooLarge,
    /// The device's answer makes no sense.
    BadAnswer,
    /// The id was used with another body, or the state does not allow it.
    Conflict,
    /// Too many commands wait.
    QueueFull,
    /// The sender's role does not allow it.
    Forbidden,
    /// There is no such file.
    NotFound,
    /// A fault of the gateway.
    Internal,
}

impl ErrorKind {
    /// The word of the interfaces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::UnknownDevice => "unknown_device",
            Self::NotSupported => "not_supported",
            Self::Asleep => "asleep",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::TooLarge => "too_large",
            Self::BadAnswer => "bad_answer",
            Self::Conflict => "conflict",
            Self::QueueFull => "queue_full",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Internal => "internal",
        }
    }
}

/// A failure with its words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    /// The fixed word.
    pub kind: ErrorKind,
    /// What is wrong and what to do.
    pub message: String,
    /// Everything that is wrong with files, a list of `{severity, file, line, message, hint}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problems: Option<Box<serde_json::Value>>,
}

impl CommandError {
    /// An error of `kind` with its message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), problems: None }
    }

    /// The body of `error` in responses: `{"kind","message"}`, and `problems` where a file has some.
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::json!({ "kind": self.kind.as_str(), "message": self.message });
        if let Some(problems) = &self.problems {
            json["problems"] = (**problems).clone();
        }
        json
    }
}

/// How a command stands or ended.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum Outcome {
    /// Waiting, durably, for a device that sleeps or is not registered.
    Queued,
    /// The device did it.
    Done {
        /// CoAP code such as `2.05`.
        code: String,
        /// What it answered: `value`, `values`, `records`, `location` or `links`, ready for JSON.
        #[serde(flatten)]
        answer: serde_json::Map<String, serde_json::Value>,
    },
    /// It did not happen.
    Failed {
        /// The device's code, if it answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// The gateway's reason, if it was not the device's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<CommandError>,
    },
    /// Its `ttl` passed.
    Expired,
    /// Withdrawn, or replaced by a newer write.
    Cancelled {
        /// The id of the newer write.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaced_by: Option<String>,
    },
    /// Sent, never answered, and not safe to repeat.
    Unknown,
}

impl Outcome {
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        !matches!(self, Self::Queued)
    }

    /// A failure by the gateway.
    pub fn failed(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Failed { code: None, error: Some(CommandError::new(kind, message)) }
    }
}

/// A result message.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CommandResult {
    /// The command's id.
    pub id: String,
    /// The device.
    pub endpoint: Endpoint,
    /// The operation's word.
    pub operation: String,
    /// The path it concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Path>,
    /// The desired key it concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When this result came to be.
    pub ts: WallTime,
    /// The result.
    #[serde(flatten)]
    pub outcome: Outcome,
}
