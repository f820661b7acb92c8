use serde_json::json;

use super::*;
use crate::mapping::PublishSource;
use crate::model::message::QualityOfService;

fn source(facts: &DeviceFacts) -> PublishSource<'_> {
    let fields = [("key", json!("t_0")), ("value", json!(21.5)), ("ts", json!(12)), ("unit", json!(null))].into();
    PublishSource { on: "telemetry", path: Some("/3303/0/5700".parse().unwrap()), fields, facts }
}

#[test]
fn every_rule_that_fits_makes_a_message() {
    let plan = plan(
        r#"
        [[publish]]
        sink = "cloud"
        on = "telemetry"
        path = "/3303/*/5700"
        topic = "plant/{device}/{key}"
        payload = { v = "{value}", t = "{ts}", u = "{unit}", p = "{path}" }
        [[publish]]
        sink = "local"
        on = "telemetry"
        topic = "raw/{object}/{instance}"
        payload = "{value}"
        exclusive = true
        qos = 0
        retain = true
        [[publish]]
        sink = "local"
        on = "state"
        topic = "state/{device}"
        [[publish]]
        sink = "local"
        on = "telemetry"
        path = "/3304"
        topic = "humidity"
        [[publish]]
        sink = "local"
        on = "telemetry"
        topic = "unit/{unit}"
        "#,
    );
    let mut facts = device(&[(3303, &[0])]);
    facts.device = "a/b+#%\n".to_owned();
    let messages = plan.publish(&plan.select(&facts), &source(&facts));
    let [first, second] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((first.sink.as_str(), first.topic.as_str()), ("cloud", "plant/a%2Fb%2B%23%25%0A/t_0"));
    let payload: serde_json::Value = serde_json::from_slice(&first.payload).unwrap();
    assert_eq!(payload, json!({"v": 21.5, "t": 12, "u": null, "p": "/3303/0/5700"}));
    assert_eq!((first.qos, first.retain, first.exclusive), (QualityOfService::AtLeastOnce, false, false));
    assert_eq!((second.topic.as_str(), second.payload.as_slice()), ("raw/3303/0", b"21.5".as_slice()));
    assert_eq!((second.qos, second.retain, second.exclusive), (QualityOfService::AtMostOnce, true, true));
}

#[test]
fn every_place_that_names_a_sink_is_known() {
    let plan = plan(
        "[[telemetry]]\npath = \"/3/0/9\"\nkey = \"b\"\nsinks = [\"x\", \"y\"]\n\
         [[publish]]\nsink = \"z\"\non = \"state\"\ntopic = \"t\"",
    );
    let references = plan.sink_references();
    let told: Vec<_> = references.iter().map(|place| (place.line, place.sink.as_str())).collect();
    assert_eq!(told, [(2, "x"), (2, "y"), (6, "z")]);
    assert!(references.iter().all(|place| place.file == "test.toml"));
}

#[test]
fn without_a_payload_all_fields_leave() {
    let plan = plan("[[publish]]\nsink = \"s\"\non = \"telemetry\"\ntopic = \"t\"");
    let facts = device(&[]);
    let messages = plan.publish(&plan.select(&facts), &source(&facts));
    let payload: serde_json::Value = serde_json::from_slice(&messages[0].payload).unwrap();
    assert_eq!(payload, json!({"key": "t_0", "value": 21.5, "ts": 12, "unit": null}));
}
