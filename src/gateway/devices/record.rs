//! What survives of a device: the JSON record in the store.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::device::{Desired, Device, FormatMemory, Registration, State};
use super::end_devices::Behind;
use super::observation::{Observation, Target};
use super::own_settings::OwnSettings;
use crate::gateway::clock::WallClock;
use crate::gateway::vocabulary::{Authenticated, Peer, SessionId};
use crate::model::attributes::NotificationAttributes;
use crate::model::credential::Identity;
use crate::model::endpoint::Endpoint;
use crate::model::path::Path;
use crate::model::report::RegisteredObject;
use crate::model::time::{Instant, WallTime};
use crate::model::version::Version;
use crate::protocol::coap::message::Token;

/// The record. Fields are only ever added; readers ignore what they do not know.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DeviceRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    listener: u16,
    remote: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    local: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<SessionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
    /// Which state of the credential `identity` was proven by.
    #[serde(default)]
    generation: u64,
    state: State,
    reason: String,
    last_seen: WallTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    behind: Option<Behind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registration: Option<RegistrationRecord>,
    #[serde(default)]
    objects: BTreeMap<u16, RegisteredObject>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manufacturer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    firmware: Option<String>,
    #[serde(default)]
    observations: Vec<ObservationRecord>,
    #[serde(default)]
    formats: FormatMemory,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    desired: BTreeMap<String, Desired>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<Box<OwnSettings>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disable_timeout_secs: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disabled_until: Option<WallTime>,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct RegistrationRecord {
    location: String,
    lifetime_secs: Option<u64>,
    version: Version,
    binding: Option<String>,
    queue_mode: bool,
    #[serde(default)]
    only_sms: bool,
    sms: Option<String>,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
    #[serde(default)]
    root: String,
    #[serde(default)]
    formats: Vec<u16>,
    registered_at: WallTime,
    expires_at: Option<WallTime>,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct ObservationRecord {
    /// What is observed; the root where `paths` says it.
    path: Path,
    /// The paths of a composite observation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    paths: Vec<Path>,
    token: String,
    #[serde(default)]
    attributes: NotificationAttributes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    own_attributes: Option<Box<[NotificationAttributes]>>,
    by_mapping: bool,
    by_command: bool,
}

impl DeviceRecord {
    /// The record of a device.
    pub fn of(device: &Device, clock: &WallClock) -> Self {
        let registration = device.registration.as_ref().map(|registration| RegistrationRecord {
            location: registration.location.clone(),
            lifetime_secs: registration.lifetime.map(|lifetime| lifetime.as_secs()),
            version: registration.version,
            binding: registration.binding.clone(),
            queue_mode: registration.queue_mode,
            only_sms: registration.only_sms,
            sms: registration.sms.clone(),
            parameters: registration.parameters.clone(),
            root: registration.root.clone(),
            formats: registration.formats.clone(),
            registered_at: registration.registered_at,
            expires_at: registration.expires_at.map(|expires_at| clock.at(expires_at)),
        });
        let observations = device
            .observations
            .iter()
            .filter_map(|(target, observation)| {
                let paths = match target {
                    Target::Path(_) => Vec::new(),
                    Target::Composite(paths) => paths.to_vec(),
                };
                Some(ObservationRecord {
                    path: target.base(),
                    paths,
                    token: data_encoding::HEXLOWER.encode(observation.token()?.as_bytes()),
                    attributes: observation.attributes.clone(),
                    own_attributes: observation.own_attributes.clone(),
                    by_mapping: observation.by_mapping,
                    by_command: observation.by_command,
                })
            })
            .collect();
        Self {
            name: device.name.clone(),
            label: device.label.clone(),
            tags: device.facts.tags.clone(),
            listener: device.peer.listener,
            remote: device.peer.remote,
            local: device.peer.local,
            session: device.peer.session,
            identity: device.who.as_ref().map(|who| who.identity.clone()),
            generation: device.who.as_ref().map_or(0, |who| who.generation),
            state: device.state,
            reason: device.reason.clone(),
            last_seen: device.last_seen,
            behind: device.behind.clone(),
            registration,
            objects: device.facts.objects.clone(),
            manufacturer: device.facts.manufacturer.clone(),
            model: device.facts.model.clone(),
            firmware: device.facts.firmware.clone(),
            observations,
            formats: device.formats.clone(),
            desired: device.desired.clone(),
            settings: device.own_settings.clone(),
            disable_timeout_secs: device.disable_timeout_secs,
            disabled_until: device.disabled_until,
        }
    }

    /// The device of a record.
    ///
    /// The device cannot be blamed for the time in which the gateway was away: whatever the wall clock says, it gets at
    /// least five minutes (or its lifetime, if that is shorter), and at most its whole lifetime, before it expires.
    pub fn into_device(self, endpoint: Endpoint, now: Instant, clock: &WallClock, grace: Duration) -> Device {
        const LEAST_REMAINING: Duration = Duration::from_secs(300);
        let peer = Peer { listener: self.listener, remote: self.remote, local: self.local, session: self.session };
        let mut device = Device::new(endpoint, peer, self.last_seen);
        let generation = self.generation;
        device.who = self.identity.map(|identity| Arc::new(Authenticated { identity, generation }));
        device.facts.identity = device.who.as_ref().map(|who| who.identity.to_string());
        device.name = self.name;
        device.label = self.label;
        device.facts.tags = self.tags;
        device.facts.device = device.display_name().to_owned();
        device.facts.objects = self.objects;
        device.facts.manufacturer = self.manufacturer;
        device.facts.model = self.model;
        device.facts.firmware = self.firmware;
        device.behind = self.behind;
        device.state = self.state;
        device.reason = self.reason;
        device.formats = self.formats;
        device.desired = self.desired;
        device.own_settings = self.settings;
        device.disable_timeout_secs = self.disable_timeout_secs;
        device.disabled_until = self.disabled_until;
        device.registration = self.registration.map(|record| {
            let lifetime = record.lifetime_secs.map(Duration::from_secs);
            let expires_at = lifetime.map(|lifetime| {
                let by_wall =
                    record.expires_at.map(|at| clock.instant_of(at).saturating_since(now)).unwrap_or_default();
                let remaining = if clock.is_synced() { by_wall } else { lifetime };
                now + remaining.clamp(LEAST_REMAINING.min(lifetime), lifetime + grace)
            });
            device.facts.lwm2m_version = Some(record.version);
            device.formats_of = Some(record.version);
            Registration {
                location: record.location,
                lifetime,
                version: record.version,
                binding: record.binding,
                queue_mode: record.queue_mode,
                only_sms: record.only_sms,
                sms: record.sms,
                parameters: record.parameters,
                root: record.root,
                formats: record.formats,
                registered_at: record.registered_at,
                expires_at,
            }
        });
        for observation in self.observations {
            let token = data_encoding::HEXLOWER.decode(observation.token.as_bytes()).ok();
            if let Some(token) = token.and_then(|token| Token::new(&token)) {
                let mut restored = Observation::restored(token, observation.attributes, now);
                restored.own_attributes = observation.own_attributes;
                restored.by_mapping = observation.by_mapping;
                restored.by_command = observation.by_command;
                let target = if observation.paths.is_empty() {
                    Target::Path(observation.path)
                } else {
                    Target::composite(&observation.paths)
                };
                device.observations.insert(target, restored);
            }
        }
        device
    }
}
