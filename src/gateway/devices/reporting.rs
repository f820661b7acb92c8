//! From samples to messages: mapping, report policies, merging, and what nobody wanted.
//!
//! Every sample either becomes a value under a key, is ignored by a rule, or is remembered as unmapped with a counter
//! and an event: nothing is dropped without a trace. Values of one time stamp leave in one message, oldest first.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::Devices;
use super::device::{KeyState, Unmapped};
use crate::gateway::services::Services;
use crate::gateway::vocabulary::Output;
use crate::instrumentation::occurrence::Occurrence;
use crate::mapping::{KeyKind, MappedValue, PublishSource, ReportPolicy};
use crate::model::event::EventKind;
use crate::model::message::Message;
use crate::model::path::Path;
use crate::model::report::{ReportSource, Sample};
use crate::model::time::WallTime;
use crate::northbound::layout::native;
use crate::northbound::topic::encode_level;

/// Manufacturer, model and firmware: resources of the device object that mappings may match on.
const FACT_RESOURCES: [(u16, u8); 3] = [(0, 0), (1, 1), (3, 2)];

/// 2020: absolute times of devices are later, those that count from an unset clock are earlier.
const NOT_BEFORE: WallTime = WallTime::from_secs(1_577_836_800);

/// Least time between two publications of the retained `values` of a device.
const VALUES_INTERVAL: Duration = Duration::from_secs(1);

impl Devices {
    /// Takes the samples of one payload. `to_notify`: they came by an observation that a command made.
    pub(super) fn report(
        &mut self,
        services: &mut Services,
        key: usize,
        samples: &[Sample],
        source: ReportSource,
        to_notify: bool,
    ) {
        let now_wall = services.wall();
        let plan = services.plan.clone();
        let mut leaving: Vec<(WallTime, MappedValue)> = Vec::new();
        for sample in samples {
            self.learn_fact(services, key, sample);
            let Some(device) = self.table.get(key) else { return };
            if services.configuration.streams_values || plan.keeps_last_value(&device.selection, &sample.path) {
                self.keep_last_value(services, key, sample);
            }
            let Some(device) = self.table.get(key) else { return };
            let uplink = plan.uplink(&device.selection, &device.facts, sample);
            let ts = sample.ts.unwrap_or(now_wall);
            if to_notify && source == ReportSource::Notify {
                self.publish_notify(services, key, sample, ts);
            }
            for failure in &uplink.failures {
                services.count(Occurrence::Sample("failed"));
                tracing::debug!(path = %sample.path, failure, "a rule could not use the value");
            }
            if uplink.values.is_empty() {
                if uplink.ignored {
                    services.count(Occurrence::Sample("ignored"));
                } else {
                    self.remember_unmapped(services, key, sample, ts, uplink.failures);
                }
                continue;
            }
            services.count(Occurrence::Sample("mapped"));
            leaving.extend(uplink.values.into_iter().map(|value| (value.ts.unwrap_or(ts), value)));
        }
        // Stable: values of one time stamp keep the order of the payload.
        leaving.sort_by_key(|(ts, _)| *ts);
        self.publish_values(services, key, leaving);
    }

    fn learn_fact(&mut self, services: &mut Services, key: usize, sample: &Sample) {
        if let crate::model::value::Value::Integer(secs) = &sample.value
            && let Some(device) = self.table.get_mut(key)
        {
            device.learn_disable_timeout(&sample.path, u64::try_from(*secs).ok());
        }
        let [3, 0, resource] = *sample.path.ids() else { return };
        let Some((_, which)) = FACT_RESOURCES.iter().find(|(id, _)| *id == resource) else { return };
        let crate::model::value::Value::String(text) = &sample.value else { return };
        let Some(device) = self.table.get_mut(key) else { return };
        let fact = match which {
            0 => &mut device.facts.manufacturer,
            1 => &mut device.facts.model,
            _ => &mut device.facts.firmware,
        };
        if fact.as_ref() == Some(text) {
            return;
        }
        *fact = Some(text.clone());
        self.select_mapping(services, key);
        self.persist(services, key);
        self.publish_info(services, key);
    }

    fn remember_unmapped(
        &mut self,
        services: &mut Services,
        key: usize,
        sample: &Sample,
        ts: WallTime,
        failures: Vec<String>,
    ) {
        services.count(Occurrence::Sample("unmapped"));
        let limit = services.configuration.limits.max_unmapped_per_device;
        let Some(device) = self.table.get_mut(key) else { return };
        let value = sample.value.to_json().unwrap_or_else(|| "not a finite number".into());
        if let Some(known) = device.unmapped.get_mut(&sample.path) {
            *known = Unmapped { value, ts, count: known.count + 1, failures };
            return;
        }
        if device.unmapped.len() >= limit {
            services.count(Occurrence::BoundReached("max_unmapped_per_device"));
            return;
        }
        let reason = match failures.first() {
            Some(failure) => format!("{}: {failure}", sample.path),
            None => format!("{}: no rule takes it", sample.path),
        };
        device.unmapped.insert(sample.path, Unmapped { value, ts, count: 1, failures });
        self.device_event(services, key, EventKind::Unmapped, &reason);
    }

    /// Applies the report policies and publishes what leaves now.
    fn publish_values(&mut self, services: &mut Services, key: usize, values: Vec<(WallTime, MappedValue)>) {
        let limit = services.configuration.limits.max_keys_per_device;
        let now = services.now;
        let mut telemetry: Vec<(WallTime, Vec<MappedValue>)> = Vec::new();
        let mut attributes_changed = false;
        let mut values_changed = false;
        let mut new_keys = false;
        let streams = services.configuration.streams_values;
        let Some(device) = self.table.get_mut(key) else { return };
        for (ts, value) in values {
            let known = device.keys.contains_key(&value.key);
            if !known && device.keys.len() >= limit {
                services.count(Occurrence::BoundReached("max_keys_per_device"));
                device.last_error = Some(format!("key '{}' is not taken: the device has {limit} keys", value.key));
                continue;
            }
            new_keys |= !known;
            let state = device.keys.entry(value.key.clone()).or_insert_with(|| KeyState {
                kind: value.kind,
                value: Json::Null,
                ts,
                path: Some(value.path),
                unit: value.unit.clone(),
                sinks: value.sinks.clone(),
                report: value.report,
                reported: None,
                due: None,
            });
            // Newest wins: a late sample still leaves as telemetry, but is no latest value.
            if ts >= state.ts || !known {
                values_changed |= value.kind == KeyKind::Telemetry;
                attributes_changed |= value.kind == KeyKind::Attribute && state.value != value.value;
                state.value = value.value.clone();
                state.ts = ts;
                state.path = Some(value.path);
                state.unit.clone_from(&value.unit);
                state.sinks.clone_from(&value.sinks);
                state.report = value.report;
                state.kind = value.kind;
            }
            if streams {
                services.outputs.push_back(Output::Value {
                    endpoint: device.endpoint.clone(),
                    path: value.path,
                    key: value.key.clone(),
                    value: value.value.clone(),
                    ts,
                });
            }
            if value.kind == KeyKind::Attribute {
                continue;
            }
            let changed = state.reported.as_ref() != Some(&value.value);
            let leaves = value.report.leaves(changed, state.due.is_some());
            if let ReportPolicy::Every(interval) | ReportPolicy::OnChangeOrEvery(interval) = value.report
                && (leaves || state.due.is_none())
            {
                state.due = Some(now + interval);
            }
            if leaves {
                state.reported = Some(value.value.clone());
                match telemetry.last_mut() {
                    Some((last, group)) if *last == ts => group.push(value),
                    _ => telemetry.push((ts, vec![value])),
                }
            }
        }
        for (ts, group) in &telemetry {
            self.publish_telemetry(services, key, *ts, group);
        }
        if values_changed {
            self.publish_values_soon(services, key);
        }
        if attributes_changed {
            self.publish_latest(services, key, KeyKind::Attribute);
        }
        if new_keys {
            // A device that comes up brings its keys one by one.
            let due = services.now + VALUES_INTERVAL;
            if let Some(device) = self.table.get_mut(key) {
                device.info_due = Some(due);
            }
            self.schedule_by(key, due);
        }
    }

    /// The retained `values` are what a newcomer sees; whoever wants every sample has `telemetry`. So they follow a
    /// device that reports quickly at a pace that spares broker and disk.
    fn publish_values_soon(&mut self, services: &mut Services, key: usize) {
        let Some(device) = self.table.get_mut(key) else { return };
        let next = device.values_published_at.map(|at| at + VALUES_INTERVAL);
        match next {
            Some(next) if next > services.now => {
                if device.values_due.is_none() {
                    device.values_due = Some(next);
                    self.schedule_by(key, next);
                }
            }
            _ => {
                device.values_published_at = Some(services.now);
                device.values_due = None;
                self.publish_latest(services, key, KeyKind::Telemetry);
            }
        }
    }

    /// Publishes values that waited for their turn.
    pub(super) fn publish_due_values(&mut self, services: &mut Services, key: usize) {
        let Some(device) = self.table.get_mut(key) else { return };
        if device.values_due.is_some_and(|due| due <= services.now) {
            device.values_published_at = Some(services.now);
            device.values_due = None;
            self.publish_latest(services, key, KeyKind::Telemetry);
        }
        let Some(device) = self.table.get_mut(key) else { return };
        if device.info_due.is_some_and(|due| due <= services.now) {
            self.publish_info(services, key);
        }
    }

    /// After a change of the plan: keys that no rule makes of their path any more are forgotten.
    pub(super) fn forget_stale_keys(&mut self, services: &mut Services, key: usize) {
        let plan = services.plan.clone();
        let Some(device) = self.table.get_mut(key) else { return };
        let (selection, facts) = (&device.selection, &device.facts);
        let before = device.keys.len();
        device.keys.retain(|name, state| {
            let Some(path) = state.path else { return true };
            plan.keys_of_path(selection, facts, &path).iter().any(|(_, made)| made == name)
        });
        if device.keys.len() != before {
            self.publish_latest(services, key, KeyKind::Telemetry);
            self.publish_latest(services, key, KeyKind::Attribute);
        }
    }

    /// Publishes all values that wait for their turn: the gateway stops.
    pub fn publish_waiting_values(&mut self, services: &mut Services) {
        let waiting: Vec<usize> =
            self.table.iter().filter(|(_, device)| device.values_due.is_some()).map(|(key, _)| key).collect();
        for key in waiting {
            if let Some(device) = self.table.get_mut(key) {
                device.values_due = None;
            }
            self.publish_latest(services, key, KeyKind::Telemetry);
        }
    }

    fn publish_telemetry(&mut self, services: &mut Services, key: usize, ts: WallTime, group: &[MappedValue]) {
        let Some(device) = self.table.get(key) else { return };
        let leaf = format!("{}/telemetry", encode_level(device.display_name()));
        let endpoint = device.endpoint.clone();
        // Times that the device gave are its own. One before any device of this kind was made is relative to ours.
        let own_time = group.iter().all(|value| value.ts.is_some()) && ts >= NOT_BEFORE;
        let estimated = !services.clock.is_synced() && !own_time;
        let mut shared: Option<bytes::Bytes> = None;
        for index in 0..services.sinks.len() {
            let exclusive = self.exclusive_keys(services, key, index, group, ts);
            let Some(sink) = services.configuration.sinks.get(index) else { continue };
            let everything = exclusive.is_empty() && group.iter().all(|value| value.sinks.is_none());
            let goes = |value: &&MappedValue| {
                !exclusive.contains(&value.key)
                    && value.sinks.as_ref().is_none_or(|sinks| sinks.iter().any(|name| **name == *sink.name))
            };
            let body = if everything {
                shared
                    .get_or_insert_with(|| {
                        native::timed_values(
                            ts,
                            estimated,
                            group.iter().map(|value| (value.key.as_str(), &value.value)),
                        )
                    })
                    .clone()
            } else {
                let mut chosen = group.iter().filter(goes).peekable();
                if chosen.peek().is_none() {
                    continue;
                }
                native::timed_values(ts, estimated, chosen.map(|value| (value.key.as_str(), &value.value)))
            };
            let topic = format!("{}/{leaf}", sink.base);
            let message = native::raw_message(topic, body, false);
            services.spool_labelled(index, Some(&endpoint), message, estimated);
        }
    }

    /// Publishes the mapping's own messages for one sink; returns the keys whose layout message is left out there.
    fn exclusive_keys(
        &self,
        services: &mut Services,
        key: usize,
        sink: usize,
        group: &[MappedValue],
        ts: WallTime,
    ) -> Vec<String> {
        if !services.plan.has_publish_rules() {
            return Vec::new();
        }
        let mut exclusive = Vec::new();
        for value in group {
            let fields = [
                ("key", Json::from(value.key.as_str())),
                ("value", value.value.clone()),
                ("ts", ts.millis().into()),
                ("unit", value.unit.as_deref().unwrap_or_default().into()),
            ];
            let on = if value.kind == KeyKind::Telemetry { "telemetry" } else { "attribute" };
            if self.publish_own_at(services, key, sink, on, Some(value.path), &fields) {
                exclusive.push(value.key.clone());
            }
        }
        exclusive
    }

    /// Publishes the mapping's own messages at every sink.
    pub(super) fn publish_own(
        &self,
        services: &mut Services,
        key: usize,
        on: &'static str,
        path: Option<Path>,
        fields: &[(&'static str, Json)],
    ) {
        if services.plan.has_publish_rules() {
            for sink in 0..services.sinks.len() {
                self.publish_own_at(services, key, sink, on, path, fields);
            }
        }
    }

    fn publish_own_at(
        &self,
        services: &mut Services,
        key: usize,
        sink: usize,
        on: &'static str,
        path: Option<Path>,
        fields: &[(&'static str, Json)],
    ) -> bool {
        let Some(device) = self.table.get(key) else { return false };
        let plan = services.plan.clone();
        let mut all: BTreeMap<&'static str, Json> = fields.iter().cloned().collect();
        all.entry("ts").or_insert_with(|| services.wall().millis().into());
        let source = PublishSource { on, path, fields: all, facts: &device.facts };
        let messages = plan.publish(&device.selection, &source);
        let name = services.sinks.get(sink).map(|sink| sink.configuration.name.clone());
        let mut exclusive = false;
        for own in messages {
            if name.as_deref() != Some(own.sink.as_str()) {
                continue;
            }
            exclusive |= own.exclusive;
            let message = Message {
                topic: own.topic,
                payload: own.payload.into(),
                qos: own.qos,
                retain: own.retain,
                correlation: None,
            };
            if own.retain {
                services.retain(sink, Some(&device.endpoint), message);
            } else {
                services.spool(sink, Some(&device.endpoint), message);
            }
        }
        exclusive
    }

    /// Publishes the retained `values` or `attributes`: everything known, merged.
    pub(super) fn publish_latest(&mut self, services: &mut Services, key: usize, kind: KeyKind) {
        let Some(device) = self.table.get(key) else { return };
        let level = encode_level(device.display_name());
        let endpoint = device.endpoint.clone();
        for index in 0..services.sinks.len() {
            let Some(sink) = services.sinks.get(index).map(|sink| sink.configuration.clone()) else { continue };
            let of_kind = || {
                device.keys.iter().filter(|(_, state)| {
                    state.kind == kind
                        && state.sinks.as_ref().is_none_or(|sinks| sinks.iter().any(|name| **name == *sink.name))
                })
            };
            let Some(ts) = of_kind().map(|(_, state)| state.ts).max() else { continue };
            let message = match kind {
                KeyKind::Telemetry => {
                    let estimated = !services.clock.is_synced();
                    let latest = of_kind().map(|(key, state)| (key.as_str(), &state.value));
                    let body = native::timed_values(ts, estimated, latest);
                    native::raw_message(format!("{}/{level}/values", sink.base), body, true)
                }
                KeyKind::Attribute => {
                    let all: serde_json::Map<String, Json> =
                        of_kind().map(|(key, state)| (key.clone(), state.value.clone())).collect();
                    native::message(format!("{}/{level}/attributes", sink.base), &Json::Object(all), true)
                }
            };
            services.retain(index, Some(&endpoint), message);
        }
        if kind == KeyKind::Attribute && services.plan.has_publish_rules() {
            let Some(device) = self.table.get(key) else { return };
            let attributes: Vec<_> = device
                .keys
                .iter()
                .filter(|(_, state)| state.kind == KeyKind::Attribute)
                .map(|(name, state)| (name.clone(), state.clone()))
                .collect();
            for (name, state) in attributes {
                let fields = [("key", name.into()), ("value", state.value), ("ts", state.ts.millis().into())];
                self.publish_own(services, key, "attribute", state.path, &fields);
            }
        }
    }

    fn publish_notify(&self, services: &mut Services, key: usize, sample: &Sample, ts: WallTime) {
        let Some(device) = self.table.get(key) else { return };
        let Some(value) = sample.value.to_json() else { return };
        let payload = json!({ "path": sample.path.to_string(), "value": value, "ts": ts.millis() });
        let leaf = format!("{}/notify", encode_level(device.display_name()));
        let endpoint = device.endpoint.clone();
        services.publish_everywhere(Some(&endpoint), &leaf, &payload, false);
    }

    /// Keys with a periodic policy that are due.
    pub(super) fn report_due_keys(&mut self, services: &mut Services, key: usize) {
        let now = services.now;
        let Some(device) = self.table.get_mut(key) else { return };
        let mut due = Vec::new();
        for (name, state) in &mut device.keys {
            let (Some(at), ReportPolicy::Every(interval) | ReportPolicy::OnChangeOrEvery(interval)) =
                (state.due, state.report)
            else {
                continue;
            };
            if at > now {
                continue;
            }
            // The latest value stands for the period; when nothing new came since, the period is passed over.
            let fresh = state.reported.as_ref() != Some(&state.value)
                || matches!(state.report, ReportPolicy::OnChangeOrEvery(_));
            state.due = Some(now + interval);
            if fresh {
                state.reported = Some(state.value.clone());
                due.push((
                    state.ts,
                    MappedValue {
                        kind: state.kind,
                        key: name.clone(),
                        value: state.value.clone(),
                        ts: Some(state.ts),
                        path: state.path.unwrap_or_default(),
                        unit: state.unit.clone(),
                        report: state.report,
                        sinks: state.sinks.clone(),
                    },
                ));
            }
        }
        for (ts, value) in due {
            self.publish_telemetry(services, key, ts, &[value]);
        }
    }

    /// Publishes the retained `info`.
    pub(super) fn publish_info(&mut self, services: &mut Services, key: usize) {
        let Some(device) = self.table.get_mut(key) else { return };
        device.info_due = None;
        let facts = &device.facts;
        let keys: serde_json::Map<String, Json> = device
            .keys
            .iter()
            .map(|(name, state)| {
                let kind = if state.kind == KeyKind::Telemetry { "telemetry" } else { "attribute" };
                let mut about = json!({ "kind": kind });
                if let Some(path) = state.path {
                    about["path"] = path.to_string().into();
                }
                if let Some(unit) = &state.unit {
                    about["unit"] = (**unit).into();
                }
                (name.clone(), about)
            })
            .collect();
        let payload = json!({
            "endpoint": device.endpoint.as_str(),
            "name": device.name,
            "label": device.label,
            "tags": facts.tags,
            "lwm2m_version": facts.lwm2m_version.map(|version| version.to_string()),
            "objects": facts.objects,
            "manufacturer": facts.manufacturer,
            "model": facts.model,
            "firmware": facts.firmware,
            "keys": keys,
        });
        let leaf = format!("{}/info", encode_level(device.display_name()));
        let endpoint = device.endpoint.clone();
        services.publish_everywhere(Some(&endpoint), &leaf, &payload, true);
    }
}
