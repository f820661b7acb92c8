//! The gateway's own topics: state, info, health, devices, alarms; the join window.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::devices::Devices;
use super::devices::device::State;
use super::services::Services;
use super::store::{StoreWrite, StoredState};
use super::vocabulary::SinkIndex;
use crate::gateway::configuration::UnknownDevices;
use crate::model::credential::Scope;
use crate::model::event::EventKind;
use crate::model::time::{Instant, WallTime};
use crate::northbound::layout::native;

const HEALTH_INTERVAL: Duration = Duration::from_secs(60);
const DEVICES_INTERVAL: Duration = Duration::from_secs(10);
const DROP_EVENT_INTERVAL: Duration = Duration::from_secs(10);
const FIRST_WINDOW: Duration = Duration::from_secs(15 * 60);
const FIRST_STARTED: &str = "first_started_at";
const INSTANCE: &str = "instance";
const ALARMS: &str = "alarms";

/// The most bytes of `bridge/devices`; beyond it the list is empty and `bridge/info` says so.
const MAX_DEVICES_BYTES: usize = 200_000;

/// What the gateway says about itself.
pub struct Bridge {
    version: String,
    started_at: WallTime,
    /// Tells this installation from another one on the same base.
    instance: String,
    first_start: bool,
    first_started_at: Option<WallTime>,
    health_at: Instant,
    devices_at: Instant,
    devices_truncated: bool,
    alarms: BTreeMap<String, (WallTime, String)>,
    /// Alarms of the run before, whose retained messages are cleared at the start.
    former_alarms: Vec<String>,
    drops: BTreeMap<(String, &'static str), Drops>,
}

struct Drops {
    rows: u64,
    told_at: Option<Instant>,
    detail: String,
}

impl Bridge {
    /// The bridge of a core that starts; a fresh store gets its instance id.
    pub fn new(services: &mut Services, stored: &StoredState, version: String) -> Self {
        use rand_core::Rng as _;
        let text = |key: &str| stored.state.get(key).and_then(|value| String::from_utf8(value.clone()).ok());
        let instance = text(INSTANCE).unwrap_or_else(|| {
            let instance = format!("{:016x}", services.random.next_u64());
            services.write(StoreWrite::PutState { key: INSTANCE.to_owned(), value: instance.clone().into_bytes() });
            instance
        });
        let first_started_at = text(FIRST_STARTED).and_then(|text| text.parse().ok()).map(WallTime::from_millis);
        Self {
            version,
            started_at: services.wall(),
            instance,
            first_start: first_started_at.is_none(),
            first_started_at,
            health_at: services.now,
            devices_at: services.now,
            devices_truncated: false,
            alarms: BTreeMap::new(),
            former_alarms: text(ALARMS).and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default(),
            drops: BTreeMap::new(),
        }
    }

    /// Opens the window of the very first start, or what is left of it after a restart.
    pub fn open_first_window(&mut self, services: &mut Services, devices: &mut Devices) {
        if services.configuration.lwm2m.unknown_devices != UnknownDevices::Window {
            return;
        }
        if self.first_start {
            let value = services.wall().millis().to_string().into_bytes();
            services.write(StoreWrite::PutState { key: FIRST_STARTED.to_owned(), value });
            devices.join_until = Some(services.now + FIRST_WINDOW);
        } else if let Some(first) = self.first_started_at {
            let passed = services.wall().millis().saturating_sub(first.millis());
            if let Ok(passed) = u64::try_from(passed)
                && services.clock.is_synced()
                && let Some(left) = FIRST_WINDOW.checked_sub(Duration::from_millis(passed))
            {
                devices.join_until = Some(services.now + left);
            }
        }
    }

    /// This installation's id.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Publishes what stands from the start.
    pub fn publish_start(&mut self, services: &mut Services) {
        services.publish_everywhere(None, "bridge/state", &json!({ "state": "online" }), true);
        self.publish_info(services);
        // An alarm that still stands is raised anew by whoever sees it.
        for name in std::mem::take(&mut self.former_alarms) {
            clear_alarm(services, &name);
        }
    }

    /// A connection is new: the will of the one before may have said `offline`.
    pub fn sink_connected(&mut self, services: &mut Services, sink: SinkIndex) {
        let Some(base) = services.sinks.get(sink.0).map(|sink| sink.configuration.base.clone()) else { return };
        let online = native::message(native::bridge_topic(&base, "state"), &json!({ "state": "online" }), true);
        services.retain(sink.0, None, online);
    }

    /// Says `offline` where a clean stop leaves no will.
    pub fn publish_stop(&mut self, services: &mut Services) {
        services.publish_everywhere(None, "bridge/state", &json!({ "state": "offline" }), true);
    }

    fn publish_info(&self, services: &mut Services) {
        let configuration = services.configuration.clone();
        let sinks: Vec<&str> = configuration.sinks.iter().map(|sink| &*sink.name).collect();
        let mut info = json!({
            "version": self.version,
            "name": configuration.gateway_name,
            "instance": self.instance,
            "started_at": self.started_at.millis(),
            "listeners": configuration.listeners_of(Scope::Server),
            "sinks": sinks,
        });
        if configuration.bootstrap.is_some() {
            info["bootstrap_listeners"] = configuration.listeners_of(Scope::Bootstrap).into();
        }
        if self.devices_truncated {
            info["devices_truncated"] = true.into();
        }
        services.publish_everywhere(None, "bridge/info", &info, true);
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn next_deadline(&self, devices: &Devices) -> Instant {
        if devices.membership_changed { self.health_at.min(self.devices_at) } else { self.health_at }
    }

    /// Periodic topics.
    pub fn handle_timeout(&mut self, services: &mut Services, devices: &mut Devices) {
        if devices.membership_changed && self.devices_at <= services.now {
            devices.membership_changed = false;
            self.devices_at = services.now + DEVICES_INTERVAL;
            self.publish_devices(services, devices);
        }
        if self.health_at <= services.now {
            self.health_at = services.now + HEALTH_INTERVAL;
            let health = self.health(services, devices);
            services.publish_everywhere(None, "bridge/health", &health, true);
        }
    }

    fn publish_devices(&mut self, services: &mut Services, devices: &Devices) {
        let mut members: Vec<(&str, Option<&str>)> =
            devices.table.iter().map(|(_, device)| (device.endpoint.as_str(), device.name.as_deref())).collect();
        members.sort_unstable();
        let bytes: usize = members.iter().map(|(endpoint, name)| endpoint.len() + name.map_or(4, str::len) + 30).sum();
        let truncated = bytes > MAX_DEVICES_BYTES;
        let list = if truncated {
            json!([])
        } else {
            members.iter().map(|(endpoint, name)| json!({ "endpoint": endpoint, "name": name })).collect()
        };
        services.publish_everywhere(None, "bridge/devices", &list, true);
        if truncated != self.devices_truncated {
            self.devices_truncated = truncated;
            self.publish_info(services);
        }
    }

    /// Devices online, asleep, offline.
    pub fn count_states(&self, devices: &Devices) -> (usize, usize, usize) {
        devices.table.iter().fold((0, 0, 0), |(online, asleep, offline), (_, device)| match device.state {
            State::Online => (online + 1, asleep, offline),
            State::Asleep => (online, asleep + 1, offline),
            State::Offline => (online, asleep, offline + 1),
        })
    }

    /// The body of `bridge/health`, and the answer to the request of that name.
    pub fn health(&self, services: &Services, devices: &Devices) -> serde_json::Value {
        let (online, asleep, offline) = self.count_states(devices);
        let sinks: serde_json::Map<String, serde_json::Value> = services
            .sinks
            .iter()
            .map(|sink| {
                let (rows, bytes) = sink.depth();
                let state = json!({ "connected": sink.is_connected(), "queued": rows, "queued_bytes": bytes });
                (sink.configuration.name.to_string(), state)
            })
            .collect();
        let waiting: usize = devices.table.iter().map(|(_, device)| device.commands.len()).sum();
        let (pending_writes, _) = services.journal.pending();
        let mut health = json!({
            "ts": services.wall().millis(),
            "uptime_secs": services.now.saturating_since(Instant::ZERO).as_secs(),
            "devices": { "online": online, "asleep": asleep, "offline": offline },
            "waiting_commands": waiting,
            "pending_writes": pending_writes,
            "sinks": sinks,
            "clock_synced": services.clock.is_synced(),
            "join_window_secs": devices.join_until.map_or(0, |until| until.saturating_since(services.now).as_secs()),
            "alarms": self.alarms.keys().collect::<Vec<_>>(),
        });
        if let Some(bytes) = services.resident_bytes {
            health["memory_bytes"] = bytes.into();
        }
        health
    }

    /// Raises an alarm, or with `None` ends it.
    pub fn alarm(&mut self, services: &mut Services, name: &str, message: Option<String>) {
        let leaf = format!("bridge/alarm/{name}");
        if let Some(message) = message {
            if self.alarms.get(name).is_some_and(|(_, standing)| *standing == message) {
                return;
            }
            let since = self.alarms.get(name).map_or_else(|| services.wall(), |(since, _)| *since);
            tracing::error!(alarm = name, message, "alarm");
            let payload = json!({ "alarm": name, "since": since.millis(), "message": message });
            self.alarms.insert(name.to_owned(), (since, message));
            self.remember_alarms(services);
            services.publish_everywhere(None, &leaf, &payload, true);
        } else {
            if self.alarms.remove(name).is_none() {
                return;
            }
            tracing::info!(alarm = name, "alarm is over");
            clear_alarm(services, name);
            self.remember_alarms(services);
        }
    }

    fn remember_alarms(&self, services: &mut Services) {
        let names: Vec<&str> = self.alarms.keys().map(String::as_str).collect();
        let value = serde_json::to_vec(&names).unwrap_or_default();
        services.write(StoreWrite::PutState { key: ALARMS.to_owned(), value });
    }

    /// Data was dropped: told in sums, and as an alarm where a spool is full.
    pub fn dropped(&mut self, services: &mut Services, sink: &str, rows: u64, reason: &'static str, detail: &str) {
        let now = services.now;
        let drops = self.drops.entry((sink.to_owned(), reason)).or_insert_with(|| Drops {
            rows: 0,
            told_at: None,
            detail: String::new(),
        });
        drops.rows += rows;
        detail.clone_into(&mut drops.detail);
        if drops.told_at.is_some_and(|told_at| now.saturating_since(told_at) < DROP_EVENT_INTERVAL) {
            return;
        }
        drops.told_at = Some(now);
        let text = format!("sink '{sink}': {} messages dropped ({reason}): {}", drops.rows, drops.detail);
        drops.rows = 0;
        tracing::warn!(sink, reason, text, "data was dropped");
        if reason == "queue_full" {
            self.alarm(services, &format!("queue_full_{sink}"), Some(detail.to_owned()));
        }
        services.event(EventKind::Dropped, None, None, text);
    }

    /// Ends the alarm of a full spool once it is half empty.
    pub fn spool_relaxed(&mut self, services: &mut Services) {
        for index in 0..services.sinks.len() {
            let Some(sink) = services.sinks.get(index) else { continue };
            let alarm = format!("queue_full_{}", sink.configuration.name);
            if self.alarms.contains_key(&alarm) && sink.depth().1 < sink.configuration.max_spool_bytes / 2 {
                self.alarm(services, &alarm, None);
            }
        }
    }
}

/// Clears the retained message of an alarm at every sink.
fn clear_alarm(services: &mut Services, name: &str) {
    for index in 0..services.sinks.len() {
        let Some(base) = services.sinks.get(index).map(|sink| sink.configuration.base.clone()) else { continue };
        let topic = native::bridge_topic(&base, &format!("alarm/{name}"));
        services.retain(index, None, native::raw_message(topic, bytes::Bytes::new(), true));
    }
}
