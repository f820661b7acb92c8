//! Mapping files: which paths become which keys, what is observed and read, what the cloud may set.
//!
//! Files (TOML, one or more) are compiled once into an immutable [`Plan`]; all problems of all files are reported at
//! once. At run time a device is matched against the files ([`Plan::select`]) and the resulting [`Selection`] answers
//! every question about that device. The first rule that fits wins for each kind; the built-in default mapping stands
//! last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::attributes::NotificationAttributes;
use crate::model::command::{CommandError, ErrorKind, Operation};
use crate::model::message::QualityOfService;
use crate::model::object::{DeviceModel, ObjectModel};
use crate::model::path::Path;
use crate::model::report::{DeviceFacts, Sample};
use crate::model::time::WallTime;
use crate::model::value::Value;

/// One mapping file before compilation.
#[derive(Clone, Debug)]
pub struct MappingFile {
    /// Its name, for messages and for the order.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Whether a problem keeps the plan from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The plan cannot be used.
    Error,
    /// It can, and somebody should look.
    Warning,
}

/// Something wrong in a mapping file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// The file's name.
    pub file: String,
    /// Line, counted from 1; `None` if the whole file is meant.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
}

/// The outcome of a compilation.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The plan, if no problem is an error.
    pub plan: Option<Plan>,
    /// All problems, in the order of the files and lines.
    pub problems: Vec<Problem>,
}

/// All mapping files, compiled.
#[derive(Clone, Debug, Default)]
pub struct Plan {}

/// Which files of a [`Plan`] apply to one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {}

/// When queue mode applies to a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueMode {
    /// As it registered.
    #[default]
    Auto,
    /// Always.
    Force,
    /// Never.
    Never,
}

/// How to treat a device, where the mapping says so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceSettings {
    /// Queue mode.
    pub queue_mode: QueueMode,
    /// Awake window in queue mode.
    pub awake_window: Option<Duration>,
    /// CoAP acknowledgement timeout.
    pub ack_timeout: Option<Duration>,
    /// Content format of writes.
    pub write_format: Option<u16>,
}

/// An observation that the mapping wants.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservationWish {
    /// What to observe.
    pub path: Path,
    /// Attributes to write before.
    pub attributes: NotificationAttributes,
}

/// When the mapping wants a Read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadWhen {
    /// Once after each Register.
    OnRegister,
    /// Each time the device wakes.
    OnWake,
    /// Periodically.
    Every(Duration),
}

/// A Read that the mapping wants.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadWish {
    /// What to read.
    pub path: Path,
    /// When.
    pub when: ReadWhen,
}

/// Everything the mapping wants of one device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    /// Observations, each path once, in rule order.
    pub observations: Vec<ObservationWish>,
    /// Reads, each (path, when) once.
    pub reads: Vec<ReadWish>,
}

/// Telemetry or attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// A time series.
    Telemetry,
    /// A property: retained, sent when changed.
    Attribute,
}

/// When a mapped value leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportPolicy {
    /// Always.
    #[default]
    OnReceive,
    /// When it differs from the one before.
    OnChange,
    /// The latest one, periodically.
    Every(Duration),
    /// When it differs, and periodically.
    OnChangeOrEvery(Duration),
}

/// One value under its key.
#[derive(Clone, Debug, PartialEq)]
pub struct MappedValue {
    /// Telemetry or attribute.
    pub kind: KeyKind,
    /// The key, placeholders filled in.
    pub key: String,
    /// The value after decode, scale, names and the like.
    pub value: serde_json::Value,
    /// The sample's own time; `None` means "now".
    pub ts: Option<WallTime>,
    /// The path it came from.
    pub path: Path,
    /// The unit of the result.
    pub unit: Option<Arc<str>>,
    /// When it leaves.
    pub report: ReportPolicy,
    /// The sinks it goes to; `None`: all.
    pub sinks: Option<Arc<[String]>>,
}

/// What the plan makes of a sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Uplink {
    /// The values that leave.
    pub values: Vec<MappedValue>,
    /// Whether an `[[ignore]]` rule took it.
    pub ignored: bool,
    /// Rules that fitted and could not use the value, in words for the operator.
    pub failures: Vec<String>,
}

/// What a desired value asks of the device.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredWrite {
    /// Where to write.
    pub path: Path,
    /// What to write.
    pub value: Value,
}

/// What `[[publish]]` rules are matched against and filled from.
#[derive(Clone, Debug)]
pub struct PublishSource<'a> {
    /// `telemetry`, `attribute`, `state`, `event` or `response`.
    pub on: &'static str,
    /// The path, for values and responses.
    pub path: Option<Path>,
    /// Placeholders beside those of the device: `key`, `value`, `ts`, `unit`, `state`, `event`, ...
    pub fields: BTreeMap<&'static str, serde_json::Value>,
    /// The device.
    pub facts: &'a DeviceFacts,
}

/// A message on a topic of the mapping's own.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnMessage {
    /// Sink by name.
    pub sink: String,
    /// Topic, checked: not empty, no wildcards.
    pub topic: String,
    /// Body.
    pub payload: Vec<u8>,
    /// Guarantee.
    pub qos: QualityOfService,
    /// Whether the broker keeps it.
    pub retain: bool,
    /// Whether the layout's own message is left out for this sink.
    pub exclusive: bool,
}

impl Plan {
    /// Compiles files, in the order given, with the built-in default mapping last if `default_mapping`.
    #[must_use]
    pub fn compile(files: &[MappingFile], model: &ObjectModel, default_mapping: bool) -> Compiled {
        let _ = (files, model, default_mapping);
        Compiled { plan: Some(Self::default()), problems: Vec::new() }
    }

    /// Which files apply to a device.
    #[must_use]
    pub fn select(&self, facts: &DeviceFacts) -> Selection {
        let _ = facts;
        Selection::default()
    }

    /// How to treat the device: the first file that says something wins, each setting on its own.
    #[must_use]
    pub fn settings(&self, selection: &Selection) -> DeviceSettings {
        let _ = selection;
        DeviceSettings::default()
    }

    /// What to observe and read. Wildcard instances are those of the registration; what the object model says cannot
    /// be read is left out; a path below an observed one is not observed again.
    #[must_use]
    pub fn wishes(&self, selection: &Selection, facts: &DeviceFacts, model: &DeviceModel<'_>) -> Wishes {
        let _ = (selection, facts, model);
        Wishes::default()
    }

    /// What becomes of a sample.
    #[must_use]
    pub fn uplink(&self, selection: &Selection, facts: &DeviceFacts, sample: &Sample) -> Uplink {
        let _ = (selection, facts, sample);
        Uplink::default()
    }

    /// What writing a desired key means.
    ///
    /// # Errors
    /// `invalid` for an unknown key or a value outside its bounds; the message names the key.
    pub fn desired(
        &self,
        selection: &Selection,
        facts: &DeviceFacts,
        model: &DeviceModel<'_>,
        key: &str,
        value: &serde_json::Value,
    ) -> Result<DesiredWrite, CommandError> {
        let _ = (selection, facts, model, value);
        Err(CommandError::new(ErrorKind::Invalid, format!("key '{key}': no [[desired]] rule has it")))
    }

    /// The paths that a key is read from, for `get`.
    #[must_use]
    pub fn paths_of_key(&self, selection: &Selection, facts: &DeviceFacts, key: &str) -> Vec<Path> {
        let _ = (selection, facts, key);
        Vec::new()
    }

    /// What a named command means.
    ///
    /// # Errors
    /// `invalid` for an unknown name or a missing parameter.
    pub fn command(
        &self,
        selection: &Selection,
        name: &str,
        params: &BTreeMap<String, serde_json::Value>,
    ) -> Result<Operation, CommandError> {
        let _ = (selection, params);
        Err(CommandError::new(ErrorKind::Invalid, format!("name '{name}': no [[command]] rule has it")))
    }

    /// Whether any file has a `[[publish]]` rule: without one nothing needs to be gathered for them.
    #[must_use]
    pub fn has_publish_rules(&self) -> bool {
        false
    }

    /// The messages of all `[[publish]]` rules that fit.
    #[must_use]
    pub fn publish(&self, selection: &Selection, source: &PublishSource<'_>) -> Vec<OwnMessage> {
        let _ = (selection, source);
        Vec::new()
    }
}
