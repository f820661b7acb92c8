//! End devices behind a gateway device (LwM2M Gateway TS 1.1.1, object 25): each is a device of its own here.
//!
//! Flow: a device that registers object 25 is observed there; each instance names an end device by its prefix and lists
//! its objects. It becomes the device `{endpoint of the gateway}:{prefix}` with the prefix behind the gateway's own
//! root: paths, names in SenML and object lists then need nothing else. Instances that are gone end their device.
//!
//! Invariants: an end device is online, asleep or offline with its gateway; all of them share one line, so one request
//! is under way on it at a time, and they take turns; a Register of the gateway makes their observations anew. At most
//! [`MAX_END_DEVICES`] of one gateway device.

use std::collections::BTreeMap;

use super::Devices;
use super::device::{Device, Registration, State};
use super::observation::{Observation, Target};
use crate::gateway::services::Services;
use crate::instrumentation::occurrence::Occurrence;
use crate::model::attributes::NotificationAttributes;
use crate::model::endpoint::Endpoint;
use crate::model::event::EventKind;
use crate::model::path::Path;
use crate::model::report::Sample;
use crate::model::value::Value;
use crate::model::version::Version;
use crate::protocol::lwm2m::registration::ObjectList;

/// End devices of one gateway device; further ones are left out and told by `last_error`.
pub const MAX_END_DEVICES: usize = 256;

/// Longest prefix, in bytes.
const MAX_PREFIX_BYTES: usize = 64;

/// The object that lists end devices.
pub const GATEWAY_OBJECT: u16 = 25;
const DEVICE_ID: u16 = 0;
const PREFIX: u16 = 1;
const DEVICE_OBJECTS: u16 = 3;

/// Where an end device is reached.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Behind {
    /// The gateway device.
    pub gateway: Endpoint,
    /// Its name for the end device: the first segment of paths.
    pub prefix: String,
}

/// One instance of object 25.
#[derive(Debug, Default)]
struct Listed {
    id: Option<String>,
    prefix: Option<String>,
    objects: Option<String>,
}

impl Device {
    /// Whether it lists end devices.
    pub(super) fn is_gateway(&self) -> bool {
        self.behind.is_none()
            && self.facts.objects.contains_key(&GATEWAY_OBJECT)
            && self.facts.lwm2m_version.is_some_and(|version| version >= Version::V1_1)
    }

    /// Has the list of end devices observed beside what the mapping wants.
    pub(super) fn want_end_devices(&mut self) {
        if self.is_gateway() {
            let target = Target::Path(Path::object(GATEWAY_OBJECT));
            let observation = self
                .observations
                .entry(target)
                .or_insert_with(|| Observation::wanted(NotificationAttributes::default()));
            observation.by_mapping = true;
        }
    }
}

impl Devices {
    /// The device that holds the line: the gateway of an end device, else the device itself.
    pub(super) fn line_of(&self, key: usize) -> usize {
        let behind = self.table.get(key).and_then(|device| device.behind.as_ref());
        behind.and_then(|behind| self.key_of_endpoint(behind.gateway.as_str())).unwrap_or(key)
    }

    /// The end devices of a gateway device.
    pub fn end_devices_of(&self, key: usize) -> Vec<usize> {
        self.table.get(key).map(|device| device.end_devices.clone()).unwrap_or_default()
    }

    /// The end device of a gateway device that has this prefix.
    pub fn end_device(&self, key: usize, prefix: &str) -> Option<usize> {
        self.table.get(key)?.end_devices.iter().copied().find(|end| {
            let behind = self.table.get(*end).and_then(|device| device.behind.as_ref());
            behind.is_some_and(|behind| behind.prefix == prefix)
        })
    }

    /// Whether a request is under way on the line of a device, or its gateway waits for the answer to its Register.
    pub(super) fn line_is_busy(&self, key: usize) -> bool {
        let line = self.line_of(key);
        let Some(gateway) = self.table.get(line) else { return false };
        gateway.exchange.is_some()
            || gateway.answer_pending
            || gateway
                .end_devices
                .iter()
                .any(|end| self.table.get(*end).is_some_and(|device| device.exchange.is_some()))
    }

    /// Those on the same line that come after `key`, in turn; empty for a device that has its line alone.
    pub(super) fn next_on_line(&self, key: usize) -> Vec<usize> {
        let line = self.line_of(key);
        let Some(gateway) = self.table.get(line) else { return Vec::new() };
        if gateway.end_devices.is_empty() {
            return Vec::new();
        }
        let mut all: Vec<usize> = std::iter::once(line).chain(gateway.end_devices.iter().copied()).collect();
        let at = all.iter().position(|member| *member == key).unwrap_or(0);
        all.rotate_left(at);
        all.split_off(1)
    }

    /// An end device was heard, and so was its gateway.
    pub(super) fn gateway_heard(&mut self, services: &mut Services, key: usize) {
        let line = self.line_of(key);
        if line != key
            && let Some(peer) = self.table.get(line).map(|gateway| gateway.peer)
        {
            self.heard(services, line, peer, 0);
        }
    }

    /// End devices listen and sleep with their gateway.
    pub(super) fn follow_gateway(&mut self, services: &mut Services, key: usize) {
        let Some(gateway) = self.table.get(key) else { return };
        if gateway.end_devices.is_empty() {
            return;
        }
        let (state, reason, awake_until) = (gateway.state, gateway.reason.clone(), gateway.awake_until);
        let (heard_at, peer, disconnected) = (gateway.heard_at, gateway.peer, gateway.disconnected);
        for end in gateway.end_devices.clone() {
            let Some(device) = self.table.get_mut(end) else { continue };
            device.peer = peer;
            device.disconnected = disconnected;
            device.awake_until = awake_until;
            device.heard_at = device.heard_at.max(heard_at);
            if device.registration.is_some() {
                self.set_state(services, end, state, &reason);
            }
        }
    }

    /// The gateway registered anew: what it knew of observations is gone, for its end devices too.
    pub(super) fn restart_end_devices(&mut self, services: &mut Services, key: usize) {
        for end in self.end_devices_of(key) {
            if let Some(ended) = self.end_exchange(end) {
                self.requeue(services, end, &ended);
            }
            self.forget_observations(end);
            self.select_mapping(services, end);
        }
    }

    /// The registration of the gateway ended, and with it those of its end devices.
    pub(super) fn end_end_devices(&mut self, services: &mut Services, key: usize, kind: EventKind, reason: &str) {
        for end in self.end_devices_of(key) {
            if self.table.get(end).is_some_and(|device| device.registration.is_some()) {
                self.end_registration(services, end, kind, reason);
            }
        }
    }

    /// Finds the end devices of all gateway devices again, after a start.
    pub fn join_end_devices(&mut self) {
        let behind: Vec<(usize, usize)> = self
            .table
            .iter()
            .filter(|(_, device)| device.behind.is_some())
            .map(|(key, _)| (self.line_of(key), key))
            .filter(|(line, key)| line != key)
            .collect();
        for (line, key) in behind {
            if let Some(gateway) = self.table.get_mut(line) {
                gateway.end_devices.push(key);
            }
        }
    }

    /// Brings the end devices in line with what the gateway device listed: all samples of object 25.
    pub(super) fn list_end_devices(&mut self, services: &mut Services, key: usize, samples: &[Sample]) {
        if self.table.get(key).is_none_or(|device| !device.is_gateway()) {
            return;
        }
        let mut listed: BTreeMap<u16, Listed> = BTreeMap::new();
        for sample in samples {
            let ([GATEWAY_OBJECT, instance, resource], Value::String(text) | Value::CoreLink(text)) =
                (sample.path.ids(), &sample.value)
            else {
                continue;
            };
            let entry = listed.entry(*instance).or_default();
            match *resource {
                DEVICE_ID => entry.id = Some(text.clone()),
                PREFIX => entry.prefix = Some(text.clone()),
                DEVICE_OBJECTS => entry.objects = Some(text.clone()),
                _ => {}
            }
        }
        let mut present = Vec::new();
        for (instance, entry) in listed {
            match self.take_end_device(services, key, &entry) {
                Ok(end) => present.push(end),
                Err(problem) => {
                    if let Some(device) = self.table.get_mut(key) {
                        device.last_error = Some(format!("the end device of /25/{instance} is left out: {problem}"));
                    }
                }
            }
        }
        for end in self.end_devices_of(key) {
            let registered = self.table.get(end).is_some_and(|device| device.registration.is_some());
            if registered && !present.contains(&end) {
                self.end_registration(services, end, EventKind::Deregistered, "left_gateway");
            }
        }
        self.follow_gateway(services, key);
    }

    fn take_end_device(&mut self, services: &mut Services, key: usize, entry: &Listed) -> Result<usize, String> {
        let prefix = entry.prefix.as_deref().unwrap_or_default().trim_matches('/');
        let numeric = prefix.bytes().all(|byte| byte.is_ascii_digit());
        if numeric || prefix.len() > MAX_PREFIX_BYTES || prefix.contains(['/', '?', '#']) {
            return Err(format!("'{}' is no prefix", prefix.chars().take(MAX_PREFIX_BYTES).collect::<String>()));
        }
        let Some(gateway) = self.table.get(key) else { return Err("its gateway is gone".to_owned()) };
        let Some(own) = gateway.registration.clone() else { return Err("its gateway is not registered".to_owned()) };
        let endpoint = Endpoint::new(&format!("{}:{prefix}", gateway.endpoint)).map_err(|error| error.to_string())?;
        let behind = Behind { gateway: gateway.endpoint.clone(), prefix: prefix.to_owned() };
        let list = match &entry.objects {
            Some(text) => ObjectList::decode(text.as_bytes()).map_err(|error| error.to_string())?,
            None => ObjectList::default(),
        };
        let (peer, queue_mode) = (gateway.peer, gateway.in_queue_mode());
        let end = match self.key_of_endpoint(endpoint.as_str()) {
            Some(known) if self.table.get(known).is_some_and(|device| device.behind.as_ref() == Some(&behind)) => known,
            Some(_) => return Err(format!("a device that registered by itself is called {endpoint}")),
            None => self.add_end_device(services, key, endpoint, behind)?,
        };
        let registration = Registration {
            location: String::new(),
            lifetime: None,
            queue_mode,
            only_sms: false,
            sms: None,
            parameters: entry.id.iter().map(|id| ("device_id".to_owned(), id.clone())).collect(),
            root: format!("{}/{prefix}", own.root),
            expires_at: None,
            ..own
        };
        let Some(device) = self.table.get_mut(end) else { return Err("it is gone".to_owned()) };
        let is_new = device.registration.is_none();
        let changed = is_new || device.facts.objects != list.objects || device.root() != registration.root;
        device.peer = peer;
        device.facts.lwm2m_version = Some(registration.version);
        device.formats_of = Some(registration.version);
        if changed {
            device.facts.objects = list.objects;
            device.registration = Some(registration);
            self.select_mapping(services, end);
            if is_new && let Some(device) = self.table.get_mut(end) {
                for path in device.reads_on_register.clone() {
                    device.request_read(Target::Path(path));
                }
            }
            self.persist(services, end);
            self.publish_info(services, end);
            self.membership_changed = true;
        }
        if is_new {
            self.device_event(services, end, EventKind::Registered, "");
            self.tell_registration(services, end, EventKind::Registered);
        }
        Ok(end)
    }

    fn add_end_device(
        &mut self,
        services: &mut Services,
        key: usize,
        endpoint: Endpoint,
        behind: Behind,
    ) -> Result<usize, String> {
        use rand_core::Rng as _;
        let Some(gateway) = self.table.get(key) else { return Err("its gateway is gone".to_owned()) };
        if gateway.end_devices.len() >= MAX_END_DEVICES {
            services.count(Occurrence::BoundReached("max_end_devices"));
            return Err(format!("its gateway has {MAX_END_DEVICES} end devices already"));
        }
        if self.table.len() >= services.configuration.limits.max_devices {
            services.count(Occurrence::BoundReached("max_devices"));
            return Err("the gateway holds as many devices as it may".to_owned());
        }
        let mut device = Device::new(endpoint, gateway.peer, services.wall());
        device.next_message_id = services.random.next_u32() as u16;
        device.behind = Some(behind);
        device.state = State::Offline;
        let end = self.insert(device);
        if let Some(gateway) = self.table.get_mut(key) {
            gateway.end_devices.push(end);
        }
        Ok(end)
    }
}
