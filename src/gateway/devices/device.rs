//! One device: everything the gateway knows and wants of it.
//!
//! The record that survives a restart is [`DeviceRecord`]; everything else is rebuilt from it and the mapping plan.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::end_devices::Behind;
use super::exchange::{ActiveExchange, Job};
use super::observation::{Observation, Target};
use super::own_settings::OwnSettings;
use crate::gateway::dispatch::queue::CommandQueue;
use crate::gateway::vocabulary::{Authenticated, Peer};
use crate::mapping::{DeviceSettings, KeyKind, ReadWish, ReportPolicy, Selection};
use crate::model::command::Operation;
use crate::model::endpoint::Endpoint;
use crate::model::object::{DeviceModel, ObjectModel};
use crate::model::path::Path;
use crate::model::report::DeviceFacts;
use crate::model::time::{Instant, WallTime};
use crate::model::version::Version;

/// Least time between two requests for an Update: a device that is slow to send one is not asked in between.
pub const TRIGGER_INTERVAL: Duration = Duration::from_secs(15);

/// Whether a path is that of the Registration Update Trigger (/1/x/8).
pub fn is_update_trigger(path: &Path) -> bool {
    matches!(path.ids(), [1, _, 8])
}

/// Whether a path is that of Disable (/1/x/4).
pub fn is_disable(path: &Path) -> bool {
    matches!(path.ids(), [1, _, 4])
}

/// Disable Timeout of the Server object when the device has none or it was never read.
pub const DEFAULT_DISABLE_TIMEOUT_SECS: u32 = 86_400;

/// Whether a device can be expected to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It listens.
    Online,
    /// It registered, and sleeps.
    Asleep,
    /// It does not answer, or is not registered.
    Offline,
}

impl State {
    /// The word of the interfaces.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Asleep => "asleep",
            Self::Offline => "offline",
        }
    }
}

/// A registration in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// Second segment of the location: `rd/{location}`.
    pub location: String,
    /// `lt`; `None` never expires.
    pub lifetime: Option<Duration>,
    /// `lwm2m`.
    pub version: Version,
    /// `b` as written.
    pub binding: Option<String>,
    /// Whether the device announced queue mode.
    pub queue_mode: bool,
    /// Whether the binding names SMS and nothing else: only its own messages open a way to the device.
    pub only_sms: bool,
    /// `sms`.
    pub sms: Option<String>,
    /// Parameters that the standard does not know, kept.
    pub parameters: BTreeMap<String, String>,
    /// Alternate root path, or empty.
    pub root: String,
    /// Content formats of the root link.
    pub formats: Vec<u16>,
    /// When it began.
    pub registered_at: WallTime,
    /// When it ends unless updated, grace included.
    pub expires_at: Option<Instant>,
}

/// The latest value of a mapped key.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyState {
    /// Telemetry or attribute.
    pub kind: KeyKind,
    /// Latest value.
    pub value: serde_json::Value,
    /// Its time.
    pub ts: WallTime,
    /// Where it came from.
    pub path: Option<Path>,
    /// Unit.
    pub unit: Option<Arc<str>>,
    /// Sinks it goes to; `None`: all.
    pub sinks: Option<Arc<[String]>>,
    /// When it leaves.
    pub report: ReportPolicy,
    /// The value that left last.
    pub reported: Option<serde_json::Value>,
    /// When it leaves next by a periodic policy.
    pub due: Option<Instant>,
}

/// A value as the device gave it last.
#[derive(Clone, Debug, PartialEq)]
pub struct LastValue {
    /// The value, in JSON.
    pub value: serde_json::Value,
    /// Its time.
    pub ts: WallTime,
    /// When it came.
    pub heard_at: Instant,
    /// How old it was then.
    pub age: Duration,
}

/// A value that no rule took.
#[derive(Clone, Debug, PartialEq)]
pub struct Unmapped {
    /// Latest value, in JSON.
    pub value: serde_json::Value,
    /// Its time.
    pub ts: WallTime,
    /// How many came.
    pub count: u64,
    /// Why rules that fitted could not use it; empty if none fitted.
    pub failures: Vec<String>,
}

/// What was learnt about the formats that a device takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FormatMemory {
    /// Accept is left out of requests: the device refused or dropped those that had it.
    #[serde(default)]
    pub no_accept: bool,
    /// Format of writes to a single resource that worked or is to be tried next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub single: Option<u16>,
    /// The same for instances and multiple-instance resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple: Option<u16>,
    /// The same for the bodies of composite operations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub composite: Option<u16>,
    /// Paths are observed one by one: the device refused a composite operation, or never answered it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_composite: bool,
}

/// A desired value set by the cloud.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Desired {
    /// What was asked for.
    pub value: serde_json::Value,
    /// The command that carries it out.
    pub command: String,
    /// Whether the device took it.
    pub applied: bool,
}

/// A periodic read.
#[derive(Clone, Debug)]
pub struct PeriodicRead {
    /// What.
    pub path: Path,
    /// How often.
    pub interval: Duration,
    /// When next.
    pub due: Instant,
}

/// One device.
#[derive(Debug)]
pub struct Device {
    /// Endpoint name.
    pub endpoint: Endpoint,
    /// The operator's name.
    pub name: Option<String>,
    /// The operator's label.
    pub label: Option<String>,
    /// Facts for the mapping; also holds tags, objects and version.
    pub facts: DeviceFacts,
    /// The registration, while it lasts.
    pub registration: Option<Registration>,
    /// Where an end device is reached; `None` for a device that registered by itself.
    pub behind: Option<Behind>,
    /// The end devices behind it, as keys.
    pub end_devices: Vec<usize>,
    /// Who the device proved to be when it registered; `None` without security.
    pub who: Option<Arc<Authenticated>>,
    /// Where the device registered from.
    pub peer: Peer,
    /// Where it was heard from last, if elsewhere: tried when the registered address does not answer.
    pub alternate_peer: Option<Peer>,
    /// Whether `peer` was a connection that is gone: nothing can be sent to the device until it connects again.
    pub disconnected: bool,
    /// Online, asleep or offline.
    pub state: State,
    /// Why, in a word.
    pub reason: String,
    /// Since when it is in that state for that reason; after a restart, since it was heard last.
    pub state_since: WallTime,
    /// When the device was heard last.
    pub last_seen: WallTime,
    /// The same on the monotonic clock; `None` before the first message of this run.
    pub heard_at: Option<Instant>,
    /// Queue mode: until when it listens.
    pub awake_until: Option<Instant>,
    /// No requests before this, since the device did not answer.
    pub quiet_until: Option<Instant>,
    /// When it was asked for an Update last (Execute of /1/x/8).
    pub triggered_at: Option<Instant>,
    /// After how many seconds it comes back when it is disabled (/1/x/5), as far as the gateway knows.
    pub disable_timeout_secs: Option<u32>,
    /// It was disabled (Execute of /1/x/4): when it is expected back.
    pub disabled_until: Option<WallTime>,
    /// How often in a row it did not answer.
    pub failures: u32,
    /// The one request under way.
    pub exchange: Option<ActiveExchange>,
    /// Next message id towards the device.
    pub next_message_id: u16,
    /// Observations by what they observe.
    pub observations: BTreeMap<Target, Observation>,
    /// Reads to do at the next occasion.
    pub reads: VecDeque<Target>,
    /// Reads to do at each wake-up.
    pub reads_on_wake: Vec<Path>,
    /// Periodic reads.
    pub periodic_reads: Vec<PeriodicRead>,
    /// Reads to do after a Register.
    pub reads_on_register: Vec<Path>,
    /// Waiting commands.
    pub commands: CommandQueue,
    /// Whether the next free slot belongs to observations and reads rather than to commands.
    pub background_turn: bool,
    /// Which mapping files apply.
    pub selection: Selection,
    /// What the operator set for this device alone.
    pub own_settings: Option<Box<OwnSettings>>,
    /// How the mapping, the configuration and the operator want the device treated.
    pub settings: DeviceSettings,
    /// Latest values by key.
    pub keys: BTreeMap<String, KeyState>,
    /// When the retained `values` were published last.
    pub values_published_at: Option<Instant>,
    /// When they are due again, if they changed since.
    pub values_due: Option<Instant>,
    /// When the retained `info` is due, if the set of keys changed.
    pub info_due: Option<Instant>,
    /// Values no rule took.
    pub unmapped: BTreeMap<Path, Unmapped>,
    /// Last values by path, as the device gave them, where an own endpoint answers with them.
    pub last_values: BTreeMap<Path, LastValue>,
    /// Formats.
    pub formats: FormatMemory,
    /// The enabler version that `formats` was learnt under.
    pub formats_of: Option<Version>,
    /// Whether a Register waits for its answer: nothing is asked of the device before.
    pub answer_pending: bool,
    /// Desired values.
    pub desired: BTreeMap<String, Desired>,
    /// Tolerated deviations.
    pub quirks: BTreeSet<&'static str>,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// The deadline under which the device stands in the timer queue.
    pub scheduled: Option<Instant>,
    /// When the record was written last, for what may be written lazily.
    pub written_at: Option<Instant>,
}

impl Device {
    /// A device that has not registered.
    pub fn new(endpoint: Endpoint, peer: Peer, wall: WallTime) -> Self {
        let facts = DeviceFacts {
            endpoint: endpoint.as_str().to_owned(),
            device: endpoint.as_str().to_owned(),
            ..DeviceFacts::default()
        };
        Self {
            endpoint,
            name: None,
            label: None,
            facts,
            registration: None,
            behind: None,
            end_devices: Vec::new(),
            who: None,
            peer,
            alternate_peer: None,
            disconnected: false,
            state: State::Offline,
            reason: String::new(),
            state_since: wall,
            last_seen: wall,
            heard_at: None,
            awake_until: None,
            quiet_until: None,
            triggered_at: None,
            disable_timeout_secs: None,
            disabled_until: None,
            failures: 0,
            exchange: None,
            next_message_id: 0,
            observations: BTreeMap::new(),
            reads: VecDeque::new(),
            reads_on_wake: Vec::new(),
            periodic_reads: Vec::new(),
            reads_on_register: Vec::new(),
            commands: CommandQueue::default(),
            background_turn: false,
            selection: Selection::default(),
            own_settings: None,
            settings: DeviceSettings::default(),
            keys: BTreeMap::new(),
            values_published_at: None,
            values_due: None,
            info_due: None,
            unmapped: BTreeMap::new(),
            last_values: BTreeMap::new(),
            formats: FormatMemory::default(),
            formats_of: None,
            answer_pending: false,
            desired: BTreeMap::new(),
            quirks: BTreeSet::new(),
            last_error: None,
            bytes_in: 0,
            bytes_out: 0,
            scheduled: None,
            written_at: None,
        }
    }

    /// What the interfaces call it: its name, or its endpoint name.
    pub fn display_name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.endpoint.as_str())
    }

    /// The object model in the versions that the device registered.
    pub fn model<'a>(&'a self, model: &'a ObjectModel) -> DeviceModel<'a> {
        DeviceModel { model, objects: &self.facts.objects, enabler: self.facts.lwm2m_version }
    }

    /// Alternate root path, or empty.
    pub fn root(&self) -> &str {
        self.registration.as_ref().map_or("", |registration| registration.root.as_str())
    }

    /// Whether the device listens now.
    pub fn listens(&self, now: Instant) -> bool {
        self.registration.is_some()
            && !self.disconnected
            && self.awake_until.is_none_or(|awake_until| now < awake_until)
    }

    /// Whether an operation has to wait since the same was asked only just now: Update triggers are spaced.
    pub fn rests_from(&self, operation: &Operation, now: Instant) -> bool {
        matches!(operation, Operation::Execute { path, .. } if is_update_trigger(path))
            && self.triggered_at.is_some_and(|at| now < at + TRIGGER_INTERVAL)
    }

    /// Learns the Disable Timeout (/1/x/5) from a value that was read or written; other paths teach nothing.
    pub fn learn_disable_timeout(&mut self, path: &Path, secs: Option<u64>) {
        if let ([1, _, 5], Some(secs)) = (path.ids(), secs) {
            self.disable_timeout_secs = u32::try_from(secs).ok();
        }
    }

    /// Reads that the mapping wants.
    pub fn set_reads(&mut self, now: Instant, wishes: &[ReadWish]) {
        use crate::mapping::ReadWhen;
        let previous = std::mem::take(&mut self.periodic_reads);
        self.reads_on_register.clear();
        self.reads_on_wake.clear();
        for wish in wishes {
            match wish.when {
                ReadWhen::OnRegister => self.reads_on_register.push(wish.path),
                ReadWhen::OnWake => self.reads_on_wake.push(wish.path),
                ReadWhen::Every(interval) => {
                    let interval = interval.max(Duration::from_secs(1));
                    let due = previous
                        .iter()
                        .find(|read| read.path == wish.path && read.interval == interval)
                        .map_or(now, |read| read.due);
                    self.periodic_reads.push(PeriodicRead { path: wish.path, interval, due });
                }
            }
        }
    }

    /// Asks for a read at the next occasion; asking twice is asking once.
    pub fn request_read(&mut self, target: Target) {
        if !self.reads.contains(&target) {
            self.reads.push_back(target);
        }
    }

    /// The earliest moment at which something is due; `None` if nothing is.
    ///
    /// Nothing here may stay in the past once `handle_deadline` has run, or the device would be due for ever.
    pub fn next_deadline(&self, now: Instant, clock_instant_of: impl Fn(WallTime) -> Instant) -> Option<Instant> {
        let registration = self.registration.as_ref();
        let mut earliest: Option<Instant> = None;
        let mut consider = |candidate: Option<Instant>| {
            if let Some(candidate) = candidate {
                earliest = Some(earliest.map_or(candidate, |earliest| earliest.min(candidate)));
            }
        };
        consider(self.exchange.as_ref().map(|active| active.exchange.deadline()));
        consider(registration.and_then(|registration| registration.expires_at));
        if self.state == State::Online {
            consider(self.awake_until);
        }
        consider(self.quiet_until);
        consider(self.triggered_at.map(|at| at + TRIGGER_INTERVAL).filter(|at| *at > now));
        if registration.is_some() {
            for read in &self.periodic_reads {
                consider(Some(read.due));
            }
            for observation in self.observations.values() {
                consider(observation.next_deadline());
            }
        }
        for key in self.keys.values() {
            consider(key.due);
        }
        consider(self.values_due);
        consider(self.info_due);
        let under_way = self.exchange.as_ref().and_then(|active| match &active.job {
            Job::Command { id } => Some(id.as_str()),
            _ => None,
        });
        consider(self.commands.next_deadline(now, under_way, clock_instant_of));
        earliest
    }
}
