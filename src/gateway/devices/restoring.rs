//! Taking up where a stopped or killed gateway left off, and following changes of the plan and the clock.

use serde_json::Value as Json;

use super::Devices;
use super::device::{KeyState, State};
use crate::gateway::dispatch::record::CommandRecord;
use crate::gateway::services::Services;
use crate::gateway::store::{RetainedRow, StoreWrite};
use crate::mapping::{KeyKind, ReportPolicy};
use crate::model::command::Outcome;
use crate::model::endpoint::Endpoint;
use crate::model::time::WallTime;

impl Devices {
    /// A waiting command of the run before.
    pub fn restore_command(&mut self, services: &mut Services, endpoint: &Endpoint, record: CommandRecord) {
        let Some(key) = self.key_of_endpoint(endpoint.as_str()) else { return };
        let queued = record.into_queued(services.now, &services.clock);
        self.command_bytes += super::commands::charged_bytes(&queued.command);
        if let Some(device) = self.table.get_mut(key) {
            device.commands.push(queued);
        }
    }

    /// The latest values of the run before, from the retained topics that told them.
    pub fn restore_latest(&mut self, latest: &[RetainedRow]) {
        for row in latest {
            let Some(key) = row.endpoint.as_ref().and_then(|endpoint| self.key_of_endpoint(endpoint.as_str())) else {
                continue;
            };
            let Ok(Json::Object(body)) = serde_json::from_slice::<Json>(&row.message.payload) else { continue };
            let telemetry = row.message.topic.ends_with("/values");
            let (kind, ts, values) = if telemetry {
                let ts = body.get("ts").and_then(Json::as_i64).unwrap_or_default();
                let Some(Json::Object(values)) = body.get("values").cloned() else { continue };
                (KeyKind::Telemetry, WallTime::from_millis(ts), values)
            } else {
                (KeyKind::Attribute, WallTime::default(), body)
            };
            let Some(device) = self.table.get_mut(key) else { continue };
            for (name, value) in values {
                device.keys.entry(name).or_insert(KeyState {
                    kind,
                    reported: Some(value.clone()),
                    value,
                    ts,
                    path: None,
                    unit: None,
                    sinks: None,
                    report: ReportPolicy::OnReceive,
                    due: None,
                });
            }
        }
    }

    /// A device of the run before: its observations stand, its interrupted commands are settled.
    pub fn resume(&mut self, services: &mut Services, key: usize) {
        self.select_mapping(services, key);
        let Some(device) = self.table.get_mut(key) else { return };
        if device.registration.is_some() && device.in_queue_mode() {
            // Whether it listens now nobody knows; its next message tells.
            device.awake_until = Some(services.now);
            device.state = State::Asleep;
        } else if device.registration.is_some() && device.disconnected {
            device.state = State::Offline;
            "unreachable".clone_into(&mut device.reason);
        } else if device.registration.is_some() {
            device.state = State::Online;
            device.reason.clear();
        }
        let interrupted: Vec<String> = device
            .commands
            .iter()
            .filter(|queued| queued.started.is_some())
            .map(|queued| queued.command.id.clone())
            .collect();
        for id in interrupted {
            self.finish_command(services, key, &id, Outcome::Unknown);
        }
        self.publish_state(services, key);
        self.advance(services, key);
    }

    /// The plan, the model or the facts of a device changed.
    pub fn reselect(&mut self, services: &mut Services, key: usize) {
        self.select_mapping(services, key);
        self.forget_stale_keys(services, key);
        self.publish_info(services, key);
        self.advance(services, key);
    }

    /// Everything retained of a device, under its name of now.
    pub fn republish(&mut self, services: &mut Services, key: usize) {
        self.publish_state(services, key);
        self.publish_info(services, key);
        self.publish_latest(services, key, KeyKind::Telemetry);
        self.publish_latest(services, key, KeyKind::Attribute);
    }

    /// The answer to a Register left: the device may be asked things.
    pub fn answer_sent(&mut self, key: usize) {
        if let Some(device) = self.table.get_mut(key) {
            device.answer_pending = false;
        }
    }

    /// The wall clock was set: times taken before move with it.
    pub fn correct_times(&mut self, step_millis: i64) {
        for (_, device) in &mut self.table {
            device.last_seen = device.last_seen.shifted(step_millis);
            device.state_since = device.state_since.shifted(step_millis);
            if let Some(registration) = &mut device.registration {
                registration.registered_at = registration.registered_at.shifted(step_millis);
            }
            for state in device.keys.values_mut() {
                state.ts = state.ts.shifted(step_millis);
            }
        }
    }

    /// Writes the waiting commands of a device anew.
    pub fn persist_commands(&mut self, services: &mut Services, key: usize) {
        let Some(device) = self.table.get(key) else { return };
        for queued in device.commands.iter() {
            let record = CommandRecord::of(queued, &services.clock).encode();
            let (endpoint, id) = (device.endpoint.clone(), queued.command.id.clone());
            services.write(StoreWrite::PutCommand { endpoint, id, record });
        }
    }
}
