//! One bootstrap session: where it stands, and what is still to be done.
//!
//! ```text
//!            ┌─ Approval ─┐
//! request ───┴────────────┴─▶ Steps ───▶ Making ─▶ Storing ─▶ Steps ──▶ Telling ─▶ Confirming ─▶ Steps ──▶ over
//!                             Discover    keys     durable    Delete,    others     durable      Finish
//!                                                       ▲     Write,     know it                   │
//!                                                       │     Read                                 │ 4.06, once
//!                                                       └──────────────────────────────────────────┘
//!
//! Discover comes before the keys: for an address that nobody answers at nothing is made, and nothing kept.
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::log::SessionLog;
use super::orders::OrderId;
use super::plan::{OwnServer, Plan, Write};
use crate::gateway::dispatch::attempt::Request;
use crate::gateway::transfer::{Receiving, Sending};
use crate::gateway::vocabulary::Peer;
use crate::model::bootstrap::{DeviceEntry, ServerAccount};
use crate::model::endpoint::Endpoint;
use crate::model::object::{DeviceModel, ObjectModel};
use crate::model::path::Path;
use crate::model::report::RegisteredObject;
use crate::model::time::Instant;
use crate::model::version::Version;
use crate::protocol::coap::exchange::Exchange;
use crate::protocol::coap::message::Message;
use crate::protocol::content::ContentFormat;
use crate::protocol::lwm2m::bootstrap::Found;

/// Something that a session does with its device.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Task {
    /// Bootstrap-Discover.
    Discover,
    /// Bootstrap-Delete; `asked_for`: the entry names it, so that a refusal counts.
    Delete { path: Path, asked_for: bool },
    /// Bootstrap-Write.
    Write(Write),
    /// Bootstrap-Read of an object.
    Read(u16),
    /// Bootstrap-Finish.
    Finish,
}

impl Task {
    /// The word of logs.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Delete { .. } => "delete",
            Self::Write(_) => "write",
            Self::Read(_) => "read",
            Self::Finish => "finish",
        }
    }

    /// The path of logs.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Discover => "/".to_owned(),
            Self::Delete { path, .. } => path.to_string(),
            Self::Write(write) => write.path.to_string(),
            Self::Read(object) => Path::object(*object).to_string(),
            Self::Finish => String::new(),
        }
    }
}

/// Where a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// An operator has to let the device in, until then.
    Approval { until: Instant },
    /// Key pairs are being made.
    Making,
    /// What was made is not durable yet.
    Storing,
    /// Tasks are carried out.
    Steps,
    /// Others have to know the device: what was ordered, with its step in the log.
    Telling(BTreeMap<OrderId, usize>),
    /// What they and this gateway have to know is not durable yet.
    Confirming,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) exchange: Exchange,
    pub(super) task: Task,
    pub(super) request: Request,
    pub(super) sending: Option<Sending>,
    pub(super) receiving: Option<Receiving>,
}

/// How far it is known what a session writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prepared {
    /// Nothing is made.
    Nothing,
    /// What has to be made is there and durable; what is to be deleted stands among the tasks.
    Made,
    /// What is written stands among the tasks.
    Planned,
}

/// What a device told of itself.
#[derive(Debug)]
pub(super) enum Discovery {
    /// What it has, less what was deleted.
    Found(Found),
    /// Nothing.
    Nothing,
    /// It failed at the question, or rejected it as something that it has never heard of: it knows no more than version
    /// 1.0 demands.
    Basic,
}

impl Discovery {
    /// What the device has, if it said so.
    pub(super) const fn found(&self) -> Option<&Found> {
        match self {
            Self::Found(found) => Some(found),
            Self::Nothing | Self::Basic => None,
        }
    }
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) endpoint: Endpoint,
    pub(super) peer: Peer,
    /// `None` while the device is not let in.
    pub(super) entry: Option<Arc<DeviceEntry>>,
    pub(super) accounts: Vec<(String, Arc<ServerAccount>)>,
    pub(super) stage: Stage,
    pub(super) own: OwnServer,
    /// What the device prefers.
    pub(super) preferred: Option<ContentFormat>,
    /// What it refused.
    pub(super) refused_formats: Vec<ContentFormat>,
    /// What it told of itself.
    pub(super) discovery: Discovery,
    /// Its version, as far as it is known.
    pub(super) version: Option<Version>,
    /// How far it is known what is written.
    pub(super) prepared: Prepared,
    pub(super) plan: Plan,
    pub(super) tasks: VecDeque<Task>,
    pub(super) active: Option<Active>,
    /// Whether others were told.
    pub(super) told: bool,
    /// Whether a refused Finish was repaired.
    pub(super) repaired: bool,
    pub(super) next_message_id: u16,
    /// When the device was heard last.
    pub(super) heard_at: Instant,
    pub(super) scheduled: Option<Instant>,
    /// The request for a pack that is to be answered.
    pub(super) pack: Option<Box<Message>>,
    /// The command that wanted it, where the device did not ask.
    pub(super) command: Option<String>,
    /// What happened.
    pub(super) log: SessionLog,
}

/// Nothing is known of the versions of a device's objects before it registers.
static NO_OBJECTS: BTreeMap<u16, RegisteredObject> = BTreeMap::new();

impl Session {
    /// The types of the device's resources, as far as its enabler version tells.
    pub(super) fn types<'a>(&self, model: &'a ObjectModel) -> DeviceModel<'a> {
        DeviceModel { model, objects: &NO_OBJECTS, enabler: self.version }
    }

    /// The format of writes: what the entry says, else what the device prefers, else what its version has. One that it
    /// refused gives way to the next.
    pub(super) fn format(&self) -> Option<ContentFormat> {
        let since_1_1 = self.version.is_some_and(|version| version >= Version::V1_1);
        let by_version: &[ContentFormat] = if since_1_1 {
            &[ContentFormat::SENML_CBOR, ContentFormat::TLV, ContentFormat::SENML_JSON, ContentFormat::LWM2M_CBOR]
        } else {
            &[ContentFormat::TLV, ContentFormat::OMA_JSON, ContentFormat::SENML_CBOR, ContentFormat::SENML_JSON]
        };
        let of_entry = self.entry.as_ref().and_then(|entry| entry.format).map(ContentFormat);
        if let Some(format) = of_entry {
            return (!self.refused_formats.contains(&format)).then_some(format);
        }
        let candidates = self.preferred.into_iter().chain(by_version.iter().copied());
        candidates.into_iter().find(|format| !self.refused_formats.contains(format))
    }
}
