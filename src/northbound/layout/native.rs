//! The layout `lwm2mqtt`: topics under `{base}`, JSON payloads.
//!
//! | topic below `{base}` | retained | meaning |
//! |---|---|---|
//! | `bridge/state`, `bridge/info`, `bridge/health`, `bridge/devices` | yes | the gateway itself |
//! | `bridge/alarm/{name}` | yes | an alarm while it stands |
//! | `bridge/event`, `bridge/response/{what}` | no | what happened; answers to requests |
//! | `{device}/state`, `{device}/values`, `{device}/attributes`, `{device}/info` | yes | the latest of a device |
//! | `{device}/telemetry`, `{device}/response`, `{device}/notify` | no | every sample; results; observed values |

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::model::message::{Message, QualityOfService};
use crate::model::time::WallTime;
use crate::northbound::topic::{BRIDGE, decode_level, encode_level};

/// What an inbound topic asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// `bridge/request/{what}`.
    Request(String),
    /// `{device}/command`.
    Command(String),
    /// `{device}/set`.
    Set(String),
    /// `{device}/get`.
    Get(String),
    /// `bridge/info`: our own echo, or another gateway on the same base.
    Info,
}

/// The topics that a sink with this base subscribes to.
pub fn subscriptions(base: &str) -> Vec<String> {
    vec![
        format!("{base}/{BRIDGE}/request/#"),
        format!("{base}/{BRIDGE}/info"),
        format!("{base}/+/command"),
        format!("{base}/+/set"),
        format!("{base}/+/get"),
    ]
}

/// Those of [`subscriptions`] where a retained message is refused, so that the broker has to say which are.
///
/// Not the gateways' own info: there a message that arrives at once tells of a gateway that lives.
pub fn subscriptions_that_refuse_retained(base: &str) -> Vec<String> {
    vec![format!("{base}/{BRIDGE}/request/#"), format!("{base}/+/command")]
}

/// What a topic asks; `None` if it is none of ours.
pub fn parse_topic(base: &str, topic: &str) -> Option<Inbound> {
    let rest = topic.strip_prefix(base)?.strip_prefix('/')?;
    if rest == "bridge/info" {
        return Some(Inbound::Info);
    }
    if let Some(what) = rest.strip_prefix("bridge/request/") {
        return Some(Inbound::Request(what.to_owned()));
    }
    let (device, verb) = rest.split_once('/')?;
    let device = decode_level(device)?;
    match verb {
        "command" => Some(Inbound::Command(device)),
        "set" => Some(Inbound::Set(device)),
        "get" => Some(Inbound::Get(device)),
        _ => None,
    }
}

/// The topic `{base}/{device}/{leaf}`.
pub fn device_topic(base: &str, device: &str, leaf: &str) -> String {
    format!("{base}/{}/{leaf}", encode_level(device))
}

/// The topic `{base}/bridge/{leaf}`.
pub fn bridge_topic(base: &str, leaf: &str) -> String {
    format!("{base}/{BRIDGE}/{leaf}")
}

/// A message of this layout.
pub fn message(topic: String, payload: &Value, retain: bool) -> Message {
    raw_message(topic, payload.to_string().into(), retain)
}

/// A message with a body that is ready.
pub fn raw_message(topic: String, payload: Bytes, retain: bool) -> Message {
    Message { topic, payload, qos: QualityOfService::AtLeastOnce, retain, correlation: None }
}

/// The will of the connection, and what a clean stop publishes.
pub fn offline(base: &str) -> Message {
    message(bridge_topic(base, "state"), &json!({ "state": "offline" }), true)
}

/// The body of `telemetry` and `values`: `{"ts":ms,"values":{key: value}}`.
///
/// Written by hand, since this is the one payload that every sample becomes.
pub fn timed_values<'a>(ts: WallTime, estimated: bool, values: impl Iterator<Item = (&'a str, &'a Value)>) -> Bytes {
    let mut body = String::with_capacity(96);
    body.push_str("{\"ts\":");
    body.push_str(&ts.millis().to_string());
    if estimated {
        body.push_str(",\"ts_quality\":\"estimated\"");
    }
    body.push_str(",\"values\":{");
    for (position, (key, value)) in values.enumerate() {
        if position > 0 {
            body.push(',');
        }
        body.push_str(&Value::from(key).to_string());
        body.push(':');
        body.push_str(&value.to_string());
    }
    body.push_str("}}");
    body.into()
}

/// Moves the `ts` of a payload that was labelled before the clock was set, and takes the mark away. `None` if the
/// payload is not of this layout.
pub fn correct_timestamps(payload: &[u8], delta_millis: i64) -> Option<Vec<u8>> {
    let mut body: Map<String, Value> = serde_json::from_slice(payload).ok()?;
    let ts = body.get("ts")?.as_i64()?;
    body.insert("ts".to_owned(), ts.saturating_add(delta_millis).into());
    body.remove("ts_quality");
    serde_json::to_vec(&body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbound_topics_are_told_apart_and_names_decoded() {
        let base = "plant/lwm2m";
        assert_eq!(
            parse_topic(base, "plant/lwm2m/bridge/request/device/options"),
            Some(Inbound::Request("device/options".into()))
        );
        assert_eq!(parse_topic(base, "plant/lwm2m/a%2Fb/command"), Some(Inbound::Command("a/b".into())));
        assert_eq!(parse_topic(base, "plant/lwm2m/%62ridge/set"), Some(Inbound::Set("bridge".into())));
        assert_eq!(parse_topic(base, "plant/lwm2m/bridge/info"), Some(Inbound::Info));
        for foreign in ["plant/lwm2mx/a/command", "lwm2m/a/command", "plant/lwm2m/a/b/command", "plant/lwm2m/%zz/get"] {
            assert_eq!(parse_topic(base, foreign), None, "{foreign}");
        }
    }

    #[test]
    fn timed_values_are_the_json_of_the_contract() {
        let (a, b) = (json!(21.5), json!("on \"high\""));
        let body = timed_values(WallTime::from_millis(5), true, [("a", &a), ("b", &b)].into_iter());
        let parsed: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(parsed, json!({"ts": 5, "ts_quality": "estimated", "values": {"a": 21.5, "b": "on \"high\""}}));
    }

    #[test]
    fn an_estimated_timestamp_is_corrected_and_unmarked() {
        let body = timed_values(WallTime::from_millis(5), true, std::iter::empty());
        let corrected: Value = serde_json::from_slice(&correct_timestamps(&body, 1_000).unwrap()).unwrap();
        assert_eq!(corrected, json!({"ts": 1_005, "values": {}}));
        assert_eq!(correct_timestamps(b"7", 1), None);
    }
}
