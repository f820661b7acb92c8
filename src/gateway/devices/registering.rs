//! Register, Update and De-register (Core TS 1.2.2 section 6.2), expiry, and what the mapping then wants.

use std::time::Duration;

use super::Devices;
use super::admission::{NotAdmitted, name_by_identity};
use super::device::{Device, Registration, State};
use super::end_devices::GATEWAY_OBJECT;
use super::grouping;
use super::observation::{Observation, Phase, Target};
use super::requests::Reply;
use crate::gateway::services::Services;
use crate::gateway::vocabulary::Peer;
use crate::instrumentation::occurrence::Occurrence;
use crate::mapping::QueueMode;
use crate::model::endpoint::Endpoint;
use crate::model::event::EventKind;
use crate::model::path::Path;
use crate::protocol::coap::message::Code;
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::lwm2m::binding::Binding;
use crate::protocol::lwm2m::profile_id;
use crate::protocol::lwm2m::registration::{MAX_PARAMETERS, ObjectList, RegisterRequest, parse_register, parse_update};

/// How old the stored expiry may be when an Update only moves it: spares the SD card.
const LAZY_WRITE: Duration = Duration::from_secs(60);

/// What a device is told whose profile says nothing here (Core TS 1.2.2 section 6.2.1).
const UNKNOWN_PROFILE: &str = "the profile is not known: the device has to send its object list";

impl Devices {
    pub(super) fn register(
        &mut self,
        services: &mut Services,
        peer: Peer,
        query: &[String],
        format: Option<u16>,
        body: &[u8],
        bytes: usize,
    ) -> Option<Reply> {
        let mut request = match parse_register(query, format, body) {
            Ok(request) => request,
            Err(refused) => {
                services.refuse(&endpoint_of_query(query), peer, "bad_register", &refused.reason);
                return Some(Reply::now(refused.code));
            }
        };
        let listed = !request.objects.objects.is_empty();
        if !profile_id::add_objects(&request.profile_ids, &mut request.objects.objects) {
            if !listed {
                services.refuse(&endpoint_of_query(query), peer, "unknown_profile", UNKNOWN_PROFILE);
                return Some(Reply::now(Code::CONFLICT));
            }
            request.quirks.push("unknown_profile");
        }
        let name = request.endpoint.clone().or_else(|| name_by_identity(services, peer)).unwrap_or_default();
        let endpoint = match Endpoint::new(&name) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                services.refuse(&name, peer, "bad_endpoint", &error.to_string());
                return Some(Reply::now(Code::BAD_REQUEST));
            }
        };
        let known = self.key_of_endpoint(endpoint.as_str());
        if let Err(NotAdmitted(code)) = self.admit(services, peer, &endpoint) {
            return code.map(Reply::now);
        }
        if known.is_none() && self.table.len() >= services.configuration.limits.max_devices {
            services.count(Occurrence::BoundReached("max_devices"));
            services.refuse(endpoint.as_str(), peer, "max_devices", "the gateway holds as many devices as it may");
            return None;
        }
        let key = known.unwrap_or_else(|| {
            use rand_core::Rng as _;
            let mut device = Device::new(endpoint, peer, services.wall());
            device.next_message_id = services.random.next_u32() as u16;
            self.insert(device)
        });
        if known.is_none() {
            self.name_by_credential(services, key);
        }
        self.admitted(services, key, peer);
        let location = self.begin_registration(services, key, peer, request);
        self.heard(services, key, peer, bytes);
        self.select_mapping(services, key);
        self.restart_end_devices(services, key);
        if let Some(device) = self.table.get_mut(key) {
            for path in device.reads_on_register.clone() {
                device.request_read(Target::Path(path));
            }
        }
        self.persist(services, key);
        self.publish_info(services, key);
        self.device_event(services, key, EventKind::Registered, "");
        self.tell_registration(services, key, EventKind::Registered);
        self.membership_changed = true;
        // Nothing is asked of the device before it has its answer.
        let mut reply = Reply { asked_next: Some(key), ..Reply::when_durable(Code::CREATED) };
        reply.options.push((OptionNumber::LOCATION_PATH, b"rd".to_vec()));
        reply.options.push((OptionNumber::LOCATION_PATH, location.into_bytes()));
        Some(reply)
    }

    /// Puts a registration in force. An earlier one of the same endpoint ends: its observations and tokens die, its
    /// waiting commands stay.
    fn begin_registration(
        &mut self,
        services: &mut Services,
        key: usize,
        peer: Peer,
        request: RegisterRequest,
    ) -> String {
        if let Some(ended) = self.end_exchange(key) {
            self.requeue(services, key, &ended);
        }
        self.forget_observations(key);
        self.tell_registration(services, key, EventKind::Deregistered);
        self.move_to(services, key, peer);
        let location = self.new_location(services);
        let configuration = services.configuration.clone();
        let lifetime = request
            .lifetime_secs
            .map_or(Some(configuration.lwm2m.default_lifetime), |secs| (secs != 0).then(|| Duration::from_secs(secs)));
        let Some(device) = self.table.get_mut(key) else { return location };
        if let Some(previous) = device.registration.take() {
            self.by_location.remove(&previous.location);
        }
        self.by_location.insert(location.clone(), key);
        // Whoever registers by itself is behind nobody.
        device.behind = None;
        let former = [Some(device.peer), device.alternate_peer.take()];
        for former in former.into_iter().flatten().map(|former| former.place()) {
            if self.by_place.get(&former) == Some(&key) {
                self.by_place.remove(&former);
            }
        }
        self.by_place.insert(peer.place(), key);
        device.peer = peer;
        device.answer_pending = true;
        device.reads.clear();
        device.disabled_until = None;
        device.facts.lwm2m_version = Some(request.version);
        device.facts.objects = request.objects.objects;
        // What was learnt about formats belongs to the firmware that registered before.
        let same_version = device.formats_of == Some(request.version);
        if !same_version {
            device.formats = super::device::FormatMemory::default();
            device.formats_of = Some(request.version);
        }
        for quirk in request.quirks.into_iter().chain(request.objects.quirks) {
            services.note_quirk(device, quirk);
        }
        device.registration = Some(Registration {
            location: location.clone(),
            lifetime,
            version: request.version,
            only_sms: request.binding.as_ref().is_some_and(Binding::is_only_sms),
            binding: request.binding.map(|binding| binding.text),
            queue_mode: request.queue_mode,
            sms: request.sms,
            parameters: request.parameters,
            root: request.objects.root,
            formats: request.objects.formats,
            registered_at: services.wall(),
            expires_at: lifetime.map(|lifetime| services.now + lifetime + configuration.lwm2m.lifetime_grace),
        });
        location
    }

    /// The instance byte and 40 random bits: 12 characters, which every client can hold.
    fn new_location(&self, services: &mut Services) -> String {
        use rand_core::Rng as _;
        loop {
            let random = services.random.next_u64() >> 24;
            let location = format!("{:02x}{random:010x}", self.instance_byte);
            if !self.by_location.contains_key(&location) {
                return location;
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request, taken apart by the only caller")]
    pub(super) fn update(
        &mut self,
        services: &mut Services,
        peer: Peer,
        location: &str,
        query: &[String],
        format: Option<u16>,
        body: &[u8],
        bytes: usize,
    ) -> Reply {
        let Some(key) = self.by_location.get(location).copied() else {
            services.refuse("", peer, "unknown_location", &format!("Update of rd/{location}, which is not registered"));
            return Reply::now(Code::NOT_FOUND);
        };
        if !self.is_from(services, key, peer) {
            let reason = format!("Update of rd/{location} by another identity than registered");
            services.refuse("", peer, "identity_mismatch", &reason);
            return Reply::now(Code::NOT_FOUND);
        }
        let mut request = match parse_update(query, format, body) {
            Ok(request) => request,
            Err(refused) => {
                if let Some(device) = self.table.get_mut(key) {
                    device.last_error = Some(format!("Update refused: {}", refused.reason));
                }
                return Reply::now(refused.code);
            }
        };
        let grace = services.configuration.lwm2m.lifetime_grace;
        let Some(device) = self.table.get_mut(key) else { return Reply::now(Code::NOT_FOUND) };
        if !request.profile_ids.is_empty() {
            let listed = request.objects.is_some();
            // A profile says nothing of the root link.
            let mut list = request.objects.take().unwrap_or_else(|| ObjectList {
                root: device.root().to_owned(),
                formats: device.registration.as_ref().map(|known| known.formats.clone()).unwrap_or_default(),
                ..ObjectList::default()
            });
            if !profile_id::add_objects(&request.profile_ids, &mut list.objects) {
                if !listed {
                    device.last_error = Some(format!("Update refused: {UNKNOWN_PROFILE}"));
                    return Reply::now(Code::CONFLICT);
                }
                request.quirks.push("unknown_profile");
            }
            request.objects = Some(list);
        }
        let Some(registration) = device.registration.as_mut() else { return Reply::now(Code::NOT_FOUND) };
        let mut changed = false;
        if let Some(secs) = request.lifetime_secs {
            let lifetime = (secs != 0).then(|| Duration::from_secs(secs));
            changed |= registration.lifetime != lifetime;
            registration.lifetime = lifetime;
        }
        if let Some(binding) = request.binding {
            changed |= registration.binding.as_ref() != Some(&binding.text);
            registration.only_sms = binding.is_only_sms();
            registration.binding = Some(binding.text);
        }
        if let Some(queue_mode) = request.queue_mode {
            changed |= registration.queue_mode != queue_mode;
            registration.queue_mode = queue_mode;
        }
        if let Some(sms) = request.sms {
            changed |= registration.sms.as_ref() != Some(&sms);
            registration.sms = Some(sms);
        }
        for (name, value) in request.parameters {
            // Ever new names in Updates must not fill the memory.
            if registration.parameters.len() < MAX_PARAMETERS || registration.parameters.contains_key(&name) {
                registration.parameters.insert(name, value);
            }
        }
        registration.expires_at = registration.lifetime.map(|lifetime| services.now + lifetime + grace);
        let mut new_objects = false;
        if let Some(list) = request.objects {
            new_objects = device.facts.objects != list.objects;
            registration.formats = list.formats;
            registration.root = list.root;
            device.facts.objects = list.objects;
        }
        for quirk in request.quirks {
            services.note_quirk(device, quirk);
        }
        self.move_to(services, key, peer);
        self.remember_address(key, peer);
        self.heard(services, key, peer, bytes);
        if new_objects {
            if let Some(device) = self.table.get_mut(key).filter(|device| device.is_gateway()) {
                device.request_read(Target::Path(Path::object(GATEWAY_OBJECT)));
            }
            self.select_mapping(services, key);
            self.publish_info(services, key);
        }
        let written_at = self.table.get(key).and_then(|device| device.written_at);
        let stale = written_at.is_none_or(|at| services.now.saturating_since(at) >= LAZY_WRITE);
        if changed || new_objects || stale {
            self.persist(services, key);
        }
        self.device_event(services, key, EventKind::Updated, "");
        self.tell_registration(services, key, EventKind::Updated);
        self.schedule(services, key);
        Reply { when_durable: changed || new_objects, asked_next: Some(key), ..Reply::now(Code::CHANGED) }
    }

    /// Two addresses of a device are known: that of its Register and the one heard last. Some clients send every
    /// Update from another port.
    fn remember_address(&mut self, key: usize, peer: Peer) {
        let former = self.table.get(key).and_then(|device| device.alternate_peer);
        if let Some(former) = former {
            self.forget_place(key, former.place());
        }
        self.by_place.insert(peer.place(), key);
    }

    pub(super) fn deregister(&mut self, services: &mut Services, peer: Peer, location: &str, bytes: usize) -> Reply {
        let Some(key) = self.by_location.get(location).copied().filter(|key| self.is_from(services, *key, peer)) else {
            return Reply::now(Code::NOT_FOUND);
        };
        self.heard(services, key, peer, bytes);
        self.end_registration(services, key, EventKind::Deregistered, "deregistered");
        Reply::when_durable(Code::DELETED)
    }

    /// A lifetime and its grace have passed.
    pub(super) fn expire(&mut self, services: &mut Services, key: usize) {
        self.end_registration(services, key, EventKind::Expired, "expired");
    }

    pub(super) fn end_registration(&mut self, services: &mut Services, key: usize, kind: EventKind, reason: &str) {
        if let Some(ended) = self.end_exchange(key) {
            self.requeue(services, key, &ended);
        }
        self.forget_observations(key);
        self.tell_registration(services, key, kind);
        self.end_end_devices(services, key, kind, reason);
        if let Some(device) = self.table.get_mut(key) {
            services.streams.leave(services.now, device.peer, key);
            if let Some(session) = device.peer.session {
                services.sessions.leave(session, key, false);
            }
            if let Some(registration) = device.registration.take() {
                self.by_location.remove(&registration.location);
            }
            device.reads.clear();
            device.awake_until = None;
            device.quiet_until = None;
        }
        let disabled = self.table.get(key).is_some_and(|device| device.disabled_until.is_some());
        self.set_state(services, key, State::Offline, if disabled { "disabled" } else { reason });
        self.persist(services, key);
        self.device_event(services, key, kind, "");
        self.membership_changed = true;
        self.schedule(services, key);
    }

    /// Matches the device against the plan anew and brings its observations in line with it.
    pub(super) fn select_mapping(&mut self, services: &mut Services, key: usize) {
        let (plan, model) = (services.plan.clone(), services.model.clone());
        let Some(device) = self.table.get_mut(key) else { return };
        device.selection = plan.select(&device.facts);
        device.settings = plan.settings(&device.selection);
        if let Some(own) = &device.own_settings {
            own.apply(&mut device.settings);
        }
        if device.settings.queue_mode == QueueMode::Auto {
            device.settings.queue_mode = services.configuration.lwm2m.queue_mode;
        }
        if device.registration.is_none() {
            return;
        }
        let wishes = plan.wishes(&device.selection, &device.facts, &device.model(&model));
        device.set_reads(services.now, &wishes.reads);
        for observation in device.observations.values_mut() {
            observation.by_mapping = false;
        }
        let limit = services.configuration.limits.max_observations_per_device;
        for group in grouping::group(wishes.observations, device.takes_composite()) {
            if let Some(existing) = device.observations.get_mut(&group.target) {
                existing.by_mapping = true;
                if existing.attributes != group.attributes || existing.own_attributes != group.own_attributes {
                    // Core TS 1.2.2 section 5.1.2 leaves the effect of new attributes on a live observation open.
                    existing.attributes = group.attributes;
                    existing.own_attributes = group.own_attributes;
                    match existing.phase {
                        Phase::Active { token, .. } => existing.phase = Phase::Cancelling { token },
                        Phase::Cancelling { .. } => {}
                        Phase::Wanted { .. } | Phase::Refused { .. } => existing.reset(),
                    }
                }
            } else if device.observations.len() < limit {
                let mut observation = Observation::wanted(group.attributes);
                observation.own_attributes = group.own_attributes;
                observation.by_mapping = true;
                device.observations.insert(group.target, observation);
            } else {
                services.count(Occurrence::BoundReached("max_observations_per_device"));
                device.last_error =
                    Some(format!("{} is not observed: the device has {limit} observations", group.target));
            }
        }
        device.want_end_devices();
        device.observations.retain(|_, observation| {
            if observation.is_wanted() {
                return true;
            }
            if let Phase::Active { token, .. } = observation.phase {
                observation.phase = Phase::Cancelling { token };
            }
            matches!(observation.phase, Phase::Cancelling { .. })
        });
    }
}

/// The endpoint name of a Register that is refused for something else.
fn endpoint_of_query(query: &[String]) -> String {
    let name = query.iter().find_map(|argument| argument.strip_prefix("ep=")).unwrap_or_default();
    name.chars().filter(|character| !character.is_control()).take(Endpoint::MAX_BYTES / 4).collect()
}
