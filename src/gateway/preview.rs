//! Which messages would leave for a sink, without a device or a broker: what `explain` shows and what examples with
//! messages are held against.
//!
//! ```text
//! samples ──Plan::uplink──▶ values by key ──report policy──▶ telemetry · values · attributes · [[publish]]
//! ```
//!
//! The samples count as one payload of a device of which no value is known yet. Told are the messages that carry its
//! values; what the gateway says of itself and of devices (`info`, `state`, events) does not depend on a mapping.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::mapping::{
    ExampleMessages, ExpectedMessage, KeyKind, MappedValue, Plan, Problem, PublishSource, Selection, Severity,
};
use crate::model::message::Message;
use crate::model::path::Path;
use crate::model::report::{DeviceFacts, Sample};
use crate::model::time::WallTime;
use crate::northbound::layout::native;

/// A sink as far as messages depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviewSink<'a> {
    /// Its name, which rules may ask for.
    pub name: &'a str,
    /// Topic prefix.
    pub base: &'a str,
}

/// The sink that examples are held against.
pub const REFERENCE_SINK: PreviewSink<'static> = PreviewSink { name: "local", base: "lwm2m" };

/// The messages that leave for a sink, in the order in which they do. A retained topic stands there once, with its last
/// payload. Samples without a time of their own are of `now`.
#[must_use]
pub fn preview_messages(
    plan: &Plan,
    selection: &Selection,
    facts: &DeviceFacts,
    samples: &[Sample],
    sink: PreviewSink<'_>,
    now: WallTime,
) -> Vec<Message> {
    let mut values: Vec<(WallTime, MappedValue)> = samples
        .iter()
        .flat_map(|sample| plan.uplink(selection, facts, sample).values)
        .map(|value| (value.ts.unwrap_or(now), value))
        .collect();
    // Stable: values of one time stamp keep the order of the payload.
    values.sort_by_key(|(ts, _)| *ts);
    let mut preview = Preview { plan, selection, facts, sink, now, keys: BTreeMap::new(), messages: Vec::new() };
    preview.publish(values);
    preview.messages
}

/// Holds the examples that promise messages against [`REFERENCE_SINK`]; a problem for each that fails.
///
/// Topics must be exactly those that leave, each with its payloads in order. Only `values`, which repeats telemetry, may
/// go unmentioned. Without a time in the report, a payload need not say one.
#[must_use]
pub fn run_message_examples(plan: &Plan) -> Vec<Problem> {
    plan.example_messages().iter().filter_map(|example| run(plan, example)).collect()
}

struct Latest {
    kind: KeyKind,
    value: Json,
    ts: WallTime,
    path: Path,
    here: bool,
    reported: Option<Json>,
}

struct Preview<'a> {
    plan: &'a Plan,
    selection: &'a Selection,
    facts: &'a DeviceFacts,
    sink: PreviewSink<'a>,
    now: WallTime,
    keys: BTreeMap<String, Latest>,
    messages: Vec<Message>,
}

impl Preview<'_> {
    fn publish(&mut self, values: Vec<(WallTime, MappedValue)>) {
        let mut telemetry: Vec<(WallTime, Vec<MappedValue>)> = Vec::new();
        for (ts, value) in values {
            let here = value.sinks.as_ref().is_none_or(|sinks| sinks.iter().any(|name| *name == *self.sink.name));
            let latest = self.keys.entry(value.key.clone()).or_insert_with(|| Latest {
                kind: value.kind,
                value: Json::Null,
                ts,
                path: value.path,
                here,
                reported: None,
            });
            // Ascending times: each value is newer than what is known.
            let reported = latest.reported.take();
            *latest = Latest { kind: value.kind, value: value.value.clone(), ts, path: value.path, here, reported };
            if value.kind == KeyKind::Attribute {
                continue;
            }
            let changed = latest.reported.as_ref() != Some(&value.value);
            let leaves = value.report.leaves(changed, latest.reported.is_some());
            if leaves {
                latest.reported = Some(value.value.clone());
                match telemetry.last_mut() {
                    Some((last, group)) if *last == ts => group.push(value),
                    _ => telemetry.push((ts, vec![value])),
                }
            }
        }
        for (ts, group) in &telemetry {
            self.publish_telemetry(*ts, group);
        }
        self.publish_latest();
    }

    fn publish_telemetry(&mut self, ts: WallTime, group: &[MappedValue]) {
        let mut chosen = Vec::with_capacity(group.len());
        for value in group {
            let fields = [
                ("key", Json::from(value.key.as_str())),
                ("value", value.value.clone()),
                ("ts", ts.millis().into()),
                ("unit", value.unit.as_deref().unwrap_or_default().into()),
            ];
            let exclusive = self.publish_own("telemetry", value.path, fields.into());
            let here = value.sinks.as_ref().is_none_or(|sinks| sinks.iter().any(|name| *name == *self.sink.name));
            if here && !exclusive {
                chosen.push(value);
            }
        }
        if !chosen.is_empty() {
            let body =
                native::timed_values(ts, false, chosen.into_iter().map(|value| (value.key.as_str(), &value.value)));
            self.push(native::raw_message(self.topic("telemetry"), body, false));
        }
    }

    fn publish_latest(&mut self) {
        let of_kind = |kind: KeyKind| self.keys.iter().filter(move |(_, latest)| latest.kind == kind && latest.here);
        let mut messages = Vec::new();
        if let Some(ts) = of_kind(KeyKind::Telemetry).map(|(_, latest)| latest.ts).max() {
            let latest = of_kind(KeyKind::Telemetry).map(|(key, latest)| (key.as_str(), &latest.value));
            messages.push(native::raw_message(self.topic("values"), native::timed_values(ts, false, latest), true));
        }
        let attributes: Map<String, Json> =
            of_kind(KeyKind::Attribute).map(|(key, latest)| (key.clone(), latest.value.clone())).collect();
        if !attributes.is_empty() {
            messages.push(native::message(self.topic("attributes"), &Json::Object(attributes), true));
        }
        for message in messages {
            self.push(message);
        }
        let attributes: Vec<_> = self
            .keys
            .iter()
            .filter(|(_, latest)| latest.kind == KeyKind::Attribute)
            .map(|(key, latest)| (key.clone(), latest.value.clone(), latest.ts, latest.path))
            .collect();
        for (key, value, ts, path) in attributes {
            let fields = [("key", key.into()), ("value", value), ("ts", ts.millis().into())];
            self.publish_own("attribute", path, fields.into());
        }
    }

    /// The mapping's own messages; whether they stand in the place of the layout's.
    fn publish_own(&mut self, on: &'static str, path: Path, mut fields: BTreeMap<&'static str, Json>) -> bool {
        if !self.plan.has_publish_rules() {
            return false;
        }
        fields.entry("ts").or_insert_with(|| self.now.millis().into());
        let source = PublishSource { on, path: Some(path), fields, facts: self.facts };
        let mut exclusive = false;
        for own in self.plan.publish(self.selection, &source) {
            if own.sink != self.sink.name {
                continue;
            }
            exclusive |= own.exclusive;
            let (topic, payload, qos, retain) = (own.topic, own.payload.into(), own.qos, own.retain);
            self.push(Message { topic, payload, qos, retain, correlation: None });
        }
        exclusive
    }

    fn topic(&self, leaf: &str) -> String {
        native::device_topic(self.sink.base, &self.facts.device, leaf)
    }

    fn push(&mut self, message: Message) {
        if message.retain {
            self.messages.retain(|earlier| !earlier.retain || earlier.topic != message.topic);
        }
        self.messages.push(message);
    }
}

fn run(plan: &Plan, example: &ExampleMessages) -> Option<Problem> {
    let now = WallTime::default();
    let found = preview_messages(plan, &example.selection, &example.facts, &example.samples, REFERENCE_SINK, now);
    let values = native::device_topic(REFERENCE_SINK.base, &example.facts.device, "values");
    let promised = |topic: &str| example.messages.iter().any(|expected| expected.topic == topic);
    let any_time = example.samples.iter().any(|sample| sample.ts.is_none());
    let mut left: Vec<(String, Json)> = found
        .into_iter()
        .filter(|message| message.topic != values || promised(&values))
        .map(|message| (message.topic, shown_payload(&message.payload)))
        .collect();
    let problem = |message: String, hint: &str| Problem {
        severity: Severity::Error,
        file: example.file.clone(),
        line: Some(example.line),
        message,
        hint: hint.to_owned(),
    };
    for expected in &example.messages {
        let Some(place) = left.iter().position(|(topic, _)| *topic == expected.topic) else {
            let others: Vec<&str> = left.iter().map(|(topic, _)| topic.as_str()).collect();
            let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
            let message = format!("example: no message on {}; those not promised yet: {others}", expected.topic);
            let hint = if example.facts.endpoint.is_empty() {
                "the topics of an example with messages need its endpoint"
            } else {
                "`lwm2mqtt explain` tells which messages leave"
            };
            return Some(problem(message, hint));
        };
        let (topic, payload) = left.remove(place);
        if !is_promised(expected, &payload, any_time) {
            let wanted = expected.payload.as_ref().unwrap_or(&Json::Null);
            return Some(problem(format!("example: expected {wanted} on {topic}, found {payload}"), ""));
        }
    }
    let (topic, payload) = left.first()?;
    Some(problem(format!("example: {payload} leaves on {topic} and is not promised"), "add it to messages"))
}

fn is_promised(expected: &ExpectedMessage, found: &Json, any_time: bool) -> bool {
    let Some(wanted) = &expected.payload else { return true };
    match (wanted, found) {
        (Json::Object(wanted), Json::Object(found)) if any_time && !wanted.contains_key("ts") => {
            let mut found = found.clone();
            found.remove("ts");
            is_equal(&Json::Object(wanted.clone()), &Json::Object(found))
        }
        _ => is_equal(wanted, found),
    }
}

/// A payload as JSON where it is JSON, else as a text.
#[must_use]
pub fn shown_payload(payload: &[u8]) -> Json {
    serde_json::from_slice(payload).unwrap_or_else(|_| String::from_utf8_lossy(payload).into())
}

/// Equality of JSON where 5 and 5.0 are one number. The parsers of both sides bound the depth.
fn is_equal(wanted: &Json, found: &Json) -> bool {
    match (wanted, found) {
        (Json::Number(wanted), Json::Number(found)) => wanted == found || wanted.as_f64() == found.as_f64(),
        (Json::Array(wanted), Json::Array(found)) => {
            wanted.len() == found.len() && wanted.iter().zip(found).all(|(wanted, found)| is_equal(wanted, found))
        }
        (Json::Object(wanted), Json::Object(found)) => {
            wanted.len() == found.len()
                && wanted.iter().all(|(key, value)| found.get(key).is_some_and(|found| is_equal(value, found)))
        }
        _ => wanted == found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::MappingFile;
    use crate::model::object::ObjectModel;
    use crate::model::value::Value;

    const RULES: &str = r#"
version = 1
[[telemetry]]
path = "/3303/*/5700"
key = "t_{instance}"
unit = "Cel"
[[telemetry]]
path = "/3304/0/5700"
key = "humidity"
sinks = ["cloud"]
[[telemetry]]
path = "/3323/0/5700"
key = "pressure"
report = "on_change"
[[attribute]]
path = "/3/0/0"
key = "maker"
"#;

    fn plan(more: &str) -> Plan {
        let file = MappingFile { name: "a.toml".to_owned(), text: format!("{RULES}{more}") };
        let compiled = Plan::compile(&[file], &ObjectModel::built_in(), false);
        compiled.plan.unwrap_or_else(|| panic!("{:?}", compiled.problems))
    }

    fn sample(path: &str, value: f64, ts: Option<i64>) -> Sample {
        let (path, value) = (path.parse().unwrap(), Value::Float(value));
        Sample { path, value, ts: ts.map(WallTime::from_millis) }
    }

    /// `topic payload`, with a star for retained ones.
    fn previewed(plan: &Plan, samples: &[Sample], sink: &str) -> Vec<String> {
        let facts = DeviceFacts { endpoint: "e".to_owned(), device: "a/b".to_owned(), ..DeviceFacts::default() };
        let sink = PreviewSink { name: sink, base: "up" };
        preview_messages(plan, &plan.select(&facts), &facts, samples, sink, WallTime::from_millis(9))
            .iter()
            .map(|message| {
                let star = if message.retain { "*" } else { "" };
                format!("{}{star} {}", message.topic, String::from_utf8_lossy(&message.payload))
            })
            .collect()
    }

    #[test]
    fn one_message_for_each_time_oldest_first_then_the_latest_values() {
        let samples = [
            sample("/3303/0/5700", 3.0, Some(30)),
            sample("/3303/0/5700", 1.0, Some(10)),
            sample("/3303/1/5700", 2.0, Some(10)),
        ];
        let expected = [
            r#"up/a%2Fb/telemetry {"ts":10,"values":{"t_0":1.0,"t_1":2.0}}"#,
            r#"up/a%2Fb/telemetry {"ts":30,"values":{"t_0":3.0}}"#,
            r#"up/a%2Fb/values* {"ts":30,"values":{"t_0":3.0,"t_1":2.0}}"#,
        ];
        assert_eq!(previewed(&plan(""), &samples, "local"), expected);
    }

    #[test]
    fn rules_may_ask_for_other_sinks_and_for_changes_only() {
        let samples = [sample("/3304/0/5700", 40.0, None)];
        assert_eq!(previewed(&plan(""), &samples, "local"), [""; 0]);
        assert_eq!(previewed(&plan(""), &samples, "cloud").len(), 2);
        let samples = [(1, 5.0), (2, 5.0), (3, 6.0)].map(|(ts, value)| sample("/3323/0/5700", value, Some(ts)));
        let messages = previewed(&plan(""), &samples, "local");
        assert_eq!(messages.len(), 3, "{messages:?}");
        assert!(messages[1].contains(r#"{"ts":3,"#), "{messages:?}");
    }

    #[test]
    fn own_messages_stand_beside_or_in_place_of_the_layout() {
        let own = |exclusive: bool| {
            format!(
                "[[publish]]\nsink = \"local\"\non = \"telemetry\"\ntopic = \"plant/{{device}}/{{key}}\"\n\
                 payload = {{ v = \"{{value}}\", t = \"{{ts}}\", u = \"{{unit}}\" }}\nexclusive = {exclusive}\n"
            )
        };
        let samples = [sample("/3303/0/5700", 1.5, None)];
        let beside = previewed(&plan(&own(false)), &samples, "local");
        assert_eq!(beside[0], r#"plant/a%2Fb/t_0 {"t":9,"u":"Cel","v":1.5}"#);
        assert_eq!(beside.len(), 3);
        let instead = previewed(&plan(&own(true)), &samples, "local");
        assert!(!instead.iter().any(|message| message.contains("telemetry")), "{instead:?}");
        assert_eq!(previewed(&plan(&own(true)), &samples, "cloud").len(), 2);
    }

    fn failures(examples: &str) -> Vec<String> {
        run_message_examples(&plan(examples)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn examples_with_messages_are_held_against_the_reference_sink() {
        let fine = r#"
[[example]]
endpoint = "weather-1"
report = { path = "/3303/0/5700", value = 21, ts = 5 }
expect = { messages = [{ topic = "lwm2m/weather-1/telemetry", payload = { ts = 5, values = { t_0 = 21 } } }] }
[[example]]
endpoint = "weather-1"
report = { path = "/3303/0/5700", value = 21 }
expect = { messages = [
    { topic = "lwm2m/weather-1/values" },
    { topic = "lwm2m/weather-1/telemetry", payload = { values = { t_0 = 21 } } },
] }
[[example]]
endpoint = "weather-1"
report = { path = "/3/0/0", value = "ACME" }
expect = { messages = [{ topic = "lwm2m/weather-1/attributes", payload = { maker = "ACME" } }] }
[[example]]
endpoint = "weather-1"
report = { path = "/3304/0/5700", value = 1 }
expect = { messages = [] }
"#;
        assert_eq!(failures(fine), [""; 0]);
    }

    #[test]
    fn messages_that_are_missing_different_or_not_promised_are_problems() {
        let broken = r#"
[[example]]
endpoint = "w"
report = { path = "/3303/0/5700", value = 21, ts = 5 }
expect = { messages = [{ topic = "lwm2m/w/telemetry", payload = { values = { t_0 = 21 } } }] }
[[example]]
endpoint = "w"
report = { path = "/3303/0/5700", value = 21 }
expect = { messages = [] }
[[example]]
report = { path = "/3303/0/5700", value = 21 }
expect = { messages = [{ topic = "lwm2m/w/telemetry" }] }
"#;
        let failures = failures(broken);
        assert_eq!(failures.len(), 3, "{failures:?}");
        assert!(failures[0].starts_with(r#"a.toml:19: error: example: expected {"values":{"t_0":21}} on lwm2m/w/"#));
        assert!(failures[1].contains("leaves on lwm2m/w/telemetry and is not promised"), "{failures:?}");
        assert!(failures[2].contains("no message on lwm2m/w/telemetry"), "{failures:?}");
        assert!(failures[2].contains("need its endpoint"), "{failures:?}");
    }
}
