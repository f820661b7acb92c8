//! Whether a device can be expected to answer, and since when not.
//!
//! Only a message from the device itself makes it present; nothing that the gateway does on its own refreshes it.

use std::time::Duration;

use super::Devices;
use super::device::{DEFAULT_DISABLE_TIMEOUT_SECS, Device, State};
use super::observation::Target;
use crate::gateway::configuration::Configuration;
use crate::gateway::services::Services;
use crate::gateway::vocabulary::Peer;
use crate::mapping::QueueMode;
use crate::model::event::EventKind;
use crate::northbound::topic::encode_level;

/// Waits after a device did not answer: doubled each time up to the last.
const FIRST_QUIET: Duration = Duration::from_secs(30);
const LONGEST_QUIET: Duration = Duration::from_secs(600);

impl Device {
    /// Whether queue mode applies: as the mapping forces, else as the device registered.
    pub fn in_queue_mode(&self) -> bool {
        match self.settings.queue_mode {
            QueueMode::Force => true,
            QueueMode::Never => false,
            QueueMode::Auto => {
                self.registration.as_ref().is_some_and(|registration| registration.queue_mode || registration.only_sms)
            }
        }
    }

    fn awake_window(&self, configuration: &Configuration) -> Duration {
        self.settings.awake_window.unwrap_or(configuration.lwm2m.awake_window)
    }
}

impl Devices {
    /// A message came from the device itself.
    pub(super) fn heard(&mut self, services: &mut Services, key: usize, peer: Peer, bytes: usize) {
        if peer.session.is_some() {
            // The session of an end device is that of its gateway.
            self.move_to(services, self.line_of(key), peer);
        }
        let Some(device) = self.table.get_mut(key) else { return };
        let now = services.now;
        device.last_seen = services.wall();
        device.heard_at = Some(now);
        device.bytes_in = device.bytes_in.saturating_add(bytes as u64);
        device.failures = 0;
        device.quiet_until = None;
        if peer.place() != device.peer.place() && peer.session.is_none() {
            device.alternate_peer = Some(peer);
        }
        if device.behind.is_some() {
            // Its gateway carried the message; whether it listens is decided there.
            self.gateway_heard(services, key);
            return;
        }
        if device.registration.is_none() {
            return;
        }
        device.awake_until = device.in_queue_mode().then(|| now + device.awake_window(&services.configuration));
        if device.state == State::Online {
            self.follow_gateway(services, key);
            return;
        }
        let was_asleep = device.state == State::Asleep;
        if was_asleep {
            for path in device.reads_on_wake.clone() {
                device.request_read(Target::Path(path));
            }
        }
        self.set_state(services, key, State::Online, "");
        if was_asleep {
            self.device_event(services, key, EventKind::Awake, "");
        }
    }

    /// Changes the state and tells of it; nothing happens if it is the same already.
    pub(super) fn set_state(&mut self, services: &mut Services, key: usize, state: State, reason: &str) {
        let Some(device) = self.table.get_mut(key) else { return };
        if device.state == state && device.reason == reason {
            return;
        }
        device.state = state;
        device.state_since = services.wall();
        reason.clone_into(&mut device.reason);
        self.publish_state(services, key);
        self.follow_gateway(services, key);
    }

    /// Publishes the retained state.
    pub(super) fn publish_state(&mut self, services: &mut Services, key: usize) {
        let Some(device) = self.table.get(key) else { return };
        let mut payload = serde_json::json!({ "state": device.state.as_str(), "ts": services.wall().millis() });
        if !device.reason.is_empty() {
            payload["reason"] = device.reason.as_str().into();
        }
        if let Some(until) = device.disabled_until {
            payload["expected_at"] = until.millis().into();
        }
        let leaf = format!("{}/state", encode_level(device.display_name()));
        let endpoint = device.endpoint.clone();
        services.publish_everywhere(Some(&endpoint), &leaf, &payload, true);
        self.publish_own(services, key, "state", None, &[("state", payload["state"].clone())]);
    }

    /// Tells of something that happened to a device.
    pub(super) fn device_event(&self, services: &mut Services, key: usize, kind: EventKind, reason: &str) {
        let Some(device) = self.table.get(key) else { return };
        let (endpoint, name) = (device.endpoint.clone(), device.name.clone());
        services.event(kind, Some(&endpoint), name.as_deref(), reason);
        self.publish_own(services, key, "event", None, &[("event", kind.as_str().into()), ("reason", reason.into())]);
    }

    /// The awake window ended.
    pub(super) fn fall_asleep(&mut self, services: &mut Services, key: usize) {
        if let Some(device) = self.table.get_mut(key) {
            device.awake_until = Some(services.now);
        }
        if self.table.get(key).is_some_and(|device| device.state != State::Asleep) {
            self.set_state(services, key, State::Asleep, "");
            self.device_event(services, key, EventKind::Asleep, "");
        }
    }

    /// The device was told to go away for a while (Execute of /1/x/4): whatever it does next, that is the reason.
    pub(super) fn disabled(&mut self, services: &mut Services, key: usize) {
        let wall = services.wall();
        if let Some(device) = self.table.get_mut(key) {
            let secs = device.disable_timeout_secs.unwrap_or(DEFAULT_DISABLE_TIMEOUT_SECS);
            device.disabled_until = Some(wall.shifted(i64::from(secs) * 1_000));
            self.persist(services, key);
        }
    }

    /// A request was never answered.
    pub(super) fn did_not_answer(&mut self, services: &mut Services, key: usize) {
        let Some(device) = self.table.get_mut(key) else { return };
        if device.disabled_until.is_some() {
            device.quiet_until = Some(services.now + LONGEST_QUIET);
            self.set_state(services, key, State::Offline, "disabled");
            return;
        }
        if device.in_queue_mode() {
            self.fall_asleep(services, key);
            return;
        }
        let quiet = (FIRST_QUIET * 2_u32.saturating_pow(device.failures.min(8))).min(LONGEST_QUIET);
        device.failures = device.failures.saturating_add(1);
        device.quiet_until = Some(services.now + quiet);
        if device.state == State::Online {
            self.set_state(services, key, State::Offline, "unreachable");
            self.device_event(services, key, EventKind::Unreachable, "the device did not answer a request");
        }
    }
}
