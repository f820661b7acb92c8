//! Everything that a datagram or a deadline of a device can cause.
//!
//! Flow: [`Devices::handle_datagram`] decodes, deduplicates and routes; requests go to [`requests`] and
//! [`registering`], answers to [`responses`], notifications to [`observing`], values to [`reporting`]. Whenever something happened to
//! a device, [`work`] looks for the next request to send: at most one is under way to each device (NSTART = 1, RFC 7252
//! section 4.7).
//!
//! Invariants: a location, a token and an outstanding message id belong to one device; every device with something due
//! stands in the timer queue under its earliest deadline or an earlier one.

pub(super) mod admission;
pub mod answers;
pub mod commands;
pub mod device;
pub mod end_devices;
pub mod exchange;
pub(in crate::gateway) mod grouping;
mod naming;
pub mod observation;
mod observing;
pub mod own_settings;
pub mod presence;
pub mod record;
pub mod registering;
pub mod reporting;
pub mod requests;
pub mod responses;
pub mod restoring;
mod securing;
#[cfg(test)]
mod securing_tests;
mod send;
pub mod streaming;
mod transfer;
pub mod work;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use slab::Slab;

use super::bootstrap::Inbound;
use super::dispatch::results::Results;
use super::services::Services;
use super::store::StoreWrite;
use super::transfer::Receiving;
use super::vocabulary::{Peer, Place};
use crate::instrumentation::occurrence::Occurrence;
use crate::model::credential::{Identity, Scope};
use crate::model::endpoint::Endpoint;
use crate::model::time::Instant;
use crate::protocol::coap::message::{Code, Message, MessageError, MessageType, Token};
use answers::{Answers, Seen};
use device::Device;
use observation::Target;
use record::DeviceRecord;
use requests::Uploads;

/// Least time between two looks at a device by its deadlines.
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// What a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenOwner {
    /// The request under way.
    Exchange(usize),
    /// An observation.
    Observation(usize, Target),
}

/// All devices.
pub struct Devices {
    /// The devices; an index is a key for as long as the device exists.
    pub table: Slab<Device>,
    by_endpoint: HashMap<Endpoint, usize>,
    by_name: HashMap<String, usize>,
    by_location: HashMap<String, usize>,
    /// Who registered or updated from an address last: whose a Send from there is.
    by_place: HashMap<Place, usize>,
    /// Devices by who they proved to be.
    by_identity: HashMap<Identity, Vec<usize>>,
    tokens: HashMap<Token, TokenOwner>,
    outstanding: HashMap<(Place, u16), usize>,
    timers: BTreeSet<(Instant, usize)>,
    answers: Answers,
    uploads: Uploads,
    /// Terminal results, kept for repeated ids.
    pub results: Results,
    /// First byte of every identifier handed out: tells instances apart that share the work.
    instance_byte: u8,
    /// Bytes of all bodies that devices send in pieces now.
    receiving_bytes: usize,
    /// Charged bytes of all waiting commands.
    pub(super) command_bytes: usize,
    /// Until when unknown devices may register, if a window is open.
    pub join_until: Option<Instant>,
    /// Whether the set of registered devices changed since `bridge/devices` was published.
    pub membership_changed: bool,
}

impl Devices {
    /// No devices.
    pub fn new(services: &Services) -> Self {
        let limits = &services.configuration.limits;
        Self {
            table: Slab::new(),
            by_endpoint: HashMap::new(),
            by_name: HashMap::new(),
            by_location: HashMap::new(),
            by_place: HashMap::new(),
            by_identity: HashMap::new(),
            tokens: HashMap::new(),
            outstanding: HashMap::new(),
            timers: BTreeSet::new(),
            answers: Answers::new(limits.max_cached_answers),
            uploads: Uploads::new(limits.max_transfer_bytes, limits.max_transfers_bytes),
            results: Results::new(limits.max_results),
            instance_byte: 0,
            receiving_bytes: 0,
            command_bytes: 0,
            join_until: None,
            membership_changed: false,
        }
    }

    /// The device of an endpoint name.
    pub fn key_of_endpoint(&self, endpoint: &str) -> Option<usize> {
        self.by_endpoint.get(endpoint).copied()
    }

    /// The device that the interfaces call so: by its name, else by its endpoint name.
    pub fn key_of(&self, device: &str) -> Option<usize> {
        self.by_name.get(device).copied().or_else(|| self.key_of_endpoint(device))
    }

    /// What operators call the device of an endpoint name.
    pub fn name_of_endpoint(&self, endpoint: &str) -> Option<&str> {
        self.table.get(self.key_of_endpoint(endpoint)?)?.name.as_deref()
    }

    /// A device will register: it is known from now on, so that commands can wait for it.
    pub fn know(&mut self, services: &mut Services, endpoint: &Endpoint, peer: Peer) {
        use rand_core::Rng as _;
        if self.by_endpoint.contains_key(endpoint) || self.table.len() >= services.configuration.limits.max_devices {
            return;
        }
        let mut device = Device::new(endpoint.clone(), peer, services.wall());
        device.next_message_id = services.random.next_u32() as u16;
        let key = self.insert(device);
        self.persist(services, key);
    }

    /// A device from a record, at start.
    pub fn restore(&mut self, services: &mut Services, endpoint: Endpoint, record: DeviceRecord) {
        let grace = services.configuration.lwm2m.lifetime_grace;
        let mut device = record.into_device(endpoint, services.now, &services.clock, grace);
        if services.is_stream(device.peer) {
            Self::restore_disconnected(&mut device);
        }
        if let Some(session) = device.peer.session {
            match services.sessions.get(session) {
                Some(session) => device.peer = session.peer,
                None => device.disconnected = true,
            }
        }
        device.next_message_id = random_u16(services.now, device.endpoint.as_str());
        let session = device.peer.session.filter(|_| device.behind.is_none());
        let key = self.insert(device);
        if let Some(session) = session {
            services.sessions.join(session, key);
        }
    }

    /// Takes a device into all tables.
    pub fn insert(&mut self, device: Device) -> usize {
        let entry = self.table.vacant_entry();
        let key = entry.key();
        self.by_endpoint.insert(device.endpoint.clone(), key);
        if let Some(name) = &device.name {
            self.by_name.insert(name.clone(), key);
        }
        if let Some(registration) = &device.registration
            && device.behind.is_none()
        {
            self.by_location.insert(registration.location.clone(), key);
            self.by_place.insert(device.peer.place(), key);
        }
        for (target, observation) in &device.observations {
            if let Some(token) = observation.token() {
                self.tokens.insert(token, TokenOwner::Observation(key, target.clone()));
            }
        }
        if let Some(who) = &device.who {
            self.by_identity.entry(who.identity.clone()).or_default().push(key);
        }
        entry.insert(device);
        self.membership_changed = true;
        key
    }

    /// A device is not at a place any more, if it was the last one there.
    fn forget_place(&mut self, key: usize, place: Place) {
        if self.by_place.get(&place) == Some(&key) {
            self.by_place.remove(&place);
        }
    }

    /// Forgets a device everywhere, its stored record included.
    pub fn remove(&mut self, services: &mut Services, key: usize) -> Option<Device> {
        self.end_exchange(key);
        self.forget_observations(key);
        let mut device = self.table.try_remove(key)?;
        if let Some(gateway) = device.behind.as_ref().and_then(|behind| self.key_of_endpoint(behind.gateway.as_str()))
            && let Some(gateway) = self.table.get_mut(gateway)
        {
            gateway.end_devices.retain(|end| *end != key);
        }
        services.streams.leave(services.now, device.peer, key);
        if let Some(session) = device.peer.session {
            services.sessions.leave(session, key, false);
        }
        self.forget_identity(key, device.who.as_ref().map(|who| &who.identity));
        self.by_endpoint.remove(&device.endpoint);
        if let Some(name) = &device.name {
            self.by_name.remove(name);
        }
        if let Some(registration) = device.registration.take() {
            self.by_location.remove(&registration.location);
        }
        self.by_place.retain(|_, owner| *owner != key);
        if let Some(scheduled) = device.scheduled.take() {
            self.timers.remove(&(scheduled, key));
        }
        services.write(StoreWrite::DeleteDevice { endpoint: device.endpoint.clone() });
        self.membership_changed = true;
        Some(device)
    }

    /// Gives a device another name; `false` if another device has it.
    pub fn rename(&mut self, key: usize, name: Option<String>) -> bool {
        if let Some(name) = &name
            && self.key_of(name).is_some_and(|other| other != key)
        {
            return false;
        }
        let Some(device) = self.table.get_mut(key) else { return false };
        if let Some(old) = device.name.take() {
            self.by_name.remove(&old);
        }
        if let Some(name) = &name {
            self.by_name.insert(name.clone(), key);
        }
        device.name = name;
        device.facts.device = device.display_name().to_owned();
        self.membership_changed = true;
        true
    }

    /// Writes the record of a device into this input's batch.
    pub fn persist(&mut self, services: &mut Services, key: usize) {
        let Some(device) = self.table.get_mut(key) else { return };
        device.written_at = Some(services.now);
        let record = serde_json::to_vec(&DeviceRecord::of(device, &services.clock)).unwrap_or_default();
        services.write(StoreWrite::PutDevice { endpoint: device.endpoint.clone(), record });
    }

    /// Drops all observations and their tokens: the device forgot them, or is gone.
    pub(super) fn forget_observations(&mut self, key: usize) {
        let Some(device) = self.table.get_mut(key) else { return };
        for observation in device.observations.values() {
            if let Some(token) = observation.token() {
                self.tokens.remove(&token);
            }
        }
        device.observations.clear();
    }

    /// Ends the request under way without an answer.
    pub(super) fn end_exchange(&mut self, key: usize) -> Option<exchange::ActiveExchange> {
        let active = self.table.get_mut(key)?.exchange.take()?;
        let received = active.receiving.as_ref().map_or(0, Receiving::received_bytes);
        self.receiving_bytes = self.receiving_bytes.saturating_sub(received);
        self.outstanding.remove(&(active.peer.place(), active.exchange.message_id()));
        let token = active.exchange.token();
        if self.tokens.get(&token) == Some(&TokenOwner::Exchange(key)) {
            self.tokens.remove(&token);
        }
        Some(active)
    }

    /// A new token: the instance byte and seven random bytes, unused here.
    pub(super) fn new_token(&self, services: &mut Services) -> Token {
        use rand_core::Rng as _;
        loop {
            let mut bytes = [0; 8];
            services.random.fill_bytes(&mut bytes);
            bytes[0] = self.instance_byte;
            let token = Token::new(&bytes).unwrap_or_default();
            if !self.tokens.contains_key(&token) {
                return token;
            }
        }
    }

    /// Puts a device under its earliest deadline.
    pub(super) fn schedule(&mut self, services: &Services, key: usize) {
        let Some(device) = self.table.get_mut(key) else { return };
        let deadline = device.next_deadline(services.now, |wall| services.clock.instant_of(wall));
        // Whatever a deadline leaves undone, the core never goes round without time passing.
        let deadline = deadline.map(|deadline| deadline.max(services.now + LEAST_WAIT));
        if device.scheduled == deadline {
            return;
        }
        if let Some(scheduled) = device.scheduled {
            self.timers.remove(&(scheduled, key));
        }
        device.scheduled = deadline;
        if let Some(deadline) = deadline {
            self.timers.insert((deadline, key));
        }
    }

    /// Puts a device under a deadline unless it already stands under an earlier one: enough where deadlines only move
    /// away, as with each notification.
    pub(super) fn schedule_lazily(&mut self, services: &Services, key: usize) {
        let scheduled = self.table.get(key).and_then(|device| device.scheduled);
        if scheduled.is_none() {
            self.schedule(services, key);
        }
    }

    /// Puts a device under `deadline` unless it already stands under an earlier one.
    pub(super) fn schedule_by(&mut self, key: usize, deadline: Instant) {
        let Some(device) = self.table.get_mut(key) else { return };
        if device.scheduled.is_some_and(|scheduled| scheduled <= deadline) {
            return;
        }
        if let Some(scheduled) = device.scheduled.replace(deadline) {
            self.timers.remove(&(scheduled, key));
        }
        self.timers.insert((deadline, key));
    }

    /// When the next device is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(deadline, _)| *deadline)
    }

    /// A device whose deadline has come.
    pub fn poll_due(&mut self, now: Instant) -> Option<usize> {
        let (deadline, key) = *self.timers.first()?;
        if deadline > now {
            return None;
        }
        self.timers.pop_first();
        if let Some(device) = self.table.get_mut(key) {
            device.scheduled = None;
        }
        Some(key)
    }

    /// Takes one datagram.
    pub fn handle_datagram(&mut self, services: &mut Services, peer: Peer, bytes: &[u8]) {
        services.count(Occurrence::DatagramReceived);
        self.handle_message(services, peer, bytes);
    }

    /// Takes one message as it stands in a datagram, or in a record of a session.
    fn handle_message(&mut self, services: &mut Services, peer: Peer, bytes: &[u8]) {
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(error) => {
                Self::refuse_malformed(services, peer, bytes, error);
                return;
            }
        };
        self.trace_incoming(services, peer, &message);
        let is_ping = (message.message_type, message.code) == (MessageType::Confirmable, Code::EMPTY);
        if services.scope_of(peer) == Scope::Bootstrap && !message.code.is_request() && !is_ping {
            services.bootstrap_inbox.push_back(Inbound::Message { peer, message });
            return;
        }
        match (message.message_type, message.code) {
            (MessageType::Acknowledgement, Code::EMPTY) => self.handle_acknowledgement(services, peer, message.id),
            (MessageType::Reset, _) => self.handle_reset(services, peer, message.id),
            // CoAP ping (RFC 7252 section 4.3).
            (MessageType::Confirmable, Code::EMPTY) => services.transmit(peer, Message::reset(message.id).encode()),
            (_, code) if code.is_request() => self.handle_request_message(services, peer, &message, bytes.len()),
            _ => self.handle_response(services, peer, message, bytes.len()),
        }
    }

    /// The device that a message is from, as far as it says before anything is done with it.
    pub(super) fn sender_of(&self, peer: Peer, message: &Message) -> Option<&Device> {
        let place = peer.place();
        let by_message = if message.code.is_request() {
            let path = message.uri_path();
            match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["rd"] => {
                    let query = message.uri_query().unwrap_or_default();
                    let endpoint = query.iter().find_map(|argument| argument.strip_prefix("ep="));
                    endpoint.and_then(|endpoint| self.key_of_endpoint(endpoint))
                }
                ["rd", location] => self.by_location.get(*location).copied(),
                _ => None,
            }
        } else if message.code.is_response() {
            self.tokens.get(&message.token).map(|owner| match owner {
                TokenOwner::Exchange(key) | TokenOwner::Observation(key, _) => *key,
            })
        } else {
            self.outstanding.get(&(peer.place(), message.id)).copied()
        };
        self.table.get(by_message.or_else(|| self.by_place.get(&place).copied())?)
    }

    /// What a token stands for.
    pub(super) fn owner_of_token(&self, token: Token) -> Option<&TokenOwner> {
        self.tokens.get(&token)
    }

    /// RFC 7252 section 4.2: a malformed confirmable message is rejected with a reset; another version is ignored.
    fn refuse_malformed(services: &mut Services, peer: Peer, bytes: &[u8], error: MessageError) {
        services.count(Occurrence::DatagramDropped("malformed"));
        tracing::debug!(peer = %peer.remote, %error, "datagram is no CoAP message");
        if let Some((MessageType::Confirmable, id)) = Message::peek(bytes) {
            services.transmit(peer, Message::reset(id).encode());
        }
    }

    fn handle_request_message(&mut self, services: &mut Services, peer: Peer, message: &Message, bytes: usize) {
        if Self::store_is_full(services) {
            return;
        }
        if self.is_new(services, peer, message.id) {
            self.handle_request(services, peer, message, bytes);
        }
    }

    /// Whether a message was not seen before. A repetition is served here: by silence, or by the same answer again.
    pub(in crate::gateway) fn is_new(&mut self, services: &mut Services, peer: Peer, id: u16) -> bool {
        match self.answers.see(services.now, peer, id) {
            Seen::New => return true,
            Seen::Pending => services.count(Occurrence::DatagramDropped("duplicate_pending")),
            Seen::Answered(answer) => {
                services.count(Occurrence::DuplicateAnswered);
                if !answer.is_empty() {
                    services.transmit(peer, answer);
                }
            }
        }
        false
    }

    /// Whether the store is so far behind that no datagram may be taken: unacknowledged, devices send again.
    fn store_is_full(services: &mut Services) -> bool {
        let full = Self::store_is_behind(services);
        if full {
            services.count(Occurrence::DatagramDropped("store_full"));
        }
        full
    }

    /// Whether the store is so far behind that nothing more may be taken.
    fn store_is_behind(services: &Services) -> bool {
        let (writes, bytes) = services.journal.pending();
        let limits = &services.configuration.limits;
        !services.journal.is_broken()
            && (writes >= limits.max_pending_writes || bytes >= limits.max_pending_write_bytes)
    }
}

/// A first message id that differs between devices and runs; ids only have to be unlike recent ones.
fn random_u16(now: Instant, text: &str) -> u16 {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    (now, text).hash(&mut hasher);
    hasher.finish() as u16
}
