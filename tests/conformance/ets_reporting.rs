//! Cases 300 to 399: observations, notifications, Send.

mod composites;

use std::time::Duration;

use lwm2mqtt::gateway::vocabulary::Query;
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::report::Sample;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::model::version::Version;
use lwm2mqtt::protocol::coap::message::{Message, MessageType, Token};
use lwm2mqtt::protocol::content::ContentFormat;
use lwm2mqtt::simulator::device::{DeviceEvent, SendError};
use serde_json::{Value as Json, json};

use super::ets::bench::{Bench, ENDPOINT};
use super::ets::configurations::{c1, c4};
use super::ets::page::{Case, case};
use super::ets::{ALL, SINCE_1_1, SINCE_1_2, for_versions};

pub(crate) const CHAPTER: &[&[Case]] = &[CASES, composites::CASES];

const CASES: &[Case] = &[
    case!("1.1-int-301", "Observe with attributes", ets_1_1_int_301_observation_and_notification),
    case!("1.1-int-302", "End an observation by a reset", ets_1_1_int_302_cancel_observations_using_reset),
    case!("1.1-int-303", "End an observation by a request", ets_1_1_int_303_cancel_observations_using_observe),
    case!("1.1-int-306", "Send is accepted", ets_1_1_int_306_send_operation),
    case!("1.1-int-307", "Mute Send", ets_1_1_int_307_muting_send),
    case!("1.1-int-311", "Values of Send are kept", ets_1_1_int_311_send_command),
    case!("1.2-int-312", "Attributes of one observation", ets_1_2_int_312_observe_with_attributes_as_parameters),
    case!("1.2-int-313", "They go before attached ones", ets_1_2_int_313_observe_parameters_override_attributes),
];

fn attach(bench: &mut Bench, path: &str, attributes: &Json) {
    bench.done(json!({"operation": "write_attributes", "path": path, "attributes": attributes}));
}

/// What the sender of an observing command heard of a path.
fn notified(bench: &Bench, path: &str) -> Vec<Json> {
    let bodies = bench.gateway.bodies(&format!("{ENDPOINT}/notify"));
    bodies.into_iter().filter(|body| body["path"] == path).map(|body| body["value"].clone()).collect()
}

fn set(bench: &mut Bench, path: Path, value: Value) {
    bench.with_device(|device, now| device.set_value(now, path, value));
}

/// Two observed resources with attributes; the tokens of the observations.
fn observing(version: Version) -> (Bench, [Token; 2]) {
    let mut bench = Bench::registered(c4(version));
    attach(&mut bench, "/3/0/7", &json!({"pmin": 5, "pmax": 15}));
    attach(&mut bench, "/3/0/8", &json!({"pmin": 10, "pmax": 20}));
    let tokens = ["/3/0/7", "/3/0/8"].map(|path| {
        let result = bench.done(json!({"operation": "observe", "path": path}));
        assert!(bench.asked()[0].starts_with(&format!("GET {path} observe=0")), "{:?}", bench.asked());
        assert!(bench.answered()[0].starts_with("2.05 observe=1 "), "{:?}", bench.answered());
        assert_eq!(result["value"]["1"], if path == "/3/0/7" { 5_000 } else { 900 });
        bench.request().token
    });
    bench.forget();
    (bench, tokens)
}

/// When notifications under a token came.
fn times(bench: &Bench, token: Token) -> Vec<f64> {
    bench.notifications().iter().filter(|seen| seen.message.token == token).map(|seen| seen.at).collect()
}

#[test]
pub(crate) fn ets_1_1_int_301_observation_and_notification() {
    for_versions("1.1-int-301", ALL, |version| {
        let (mut bench, tokens) = observing(version);
        bench.pass(Duration::from_secs(2));
        set(&mut bench, Path::resource_instance(3, 0, 7, 0), Value::Integer(3_700));
        assert!(bench.notifications().is_empty(), "before pmin is over");
        bench.pass(Duration::from_secs(43));
        // A change after pmin, then each pmax; without a change each pmax.
        assert_eq!(times(&bench, tokens[0]), [5.0, 20.0, 35.0]);
        assert_eq!(times(&bench, tokens[1]), [20.0, 40.0]);
        assert_eq!(notified(&bench, "/3/0/7/0"), [json!(3_700), json!(3_700), json!(3_700)]);
        assert_eq!(notified(&bench, "/3/0/8/1"), [json!(900), json!(900)]);
        let acknowledged = bench.wire.iter().filter(|seen| seen.by_gateway);
        assert!(acknowledged.clone().all(|seen| seen.message.message_type == MessageType::Acknowledgement));
        assert_eq!(acknowledged.count(), 5);
    });
}

#[test]
pub(crate) fn ets_1_1_int_302_cancel_observations_using_reset() {
    for_versions("1.1-int-302", ALL, |version| {
        let (mut bench, tokens) = observing(version);
        for path in ["/3/0/7", "/3/0/8"] {
            bench.done(json!({"operation": "cancel_observe", "path": path, "passive": true}));
            assert!(bench.wire.is_empty(), "nothing is said: {:?}", bench.asked());
        }
        bench.pass(Duration::from_secs(60));
        assert_eq!((times(&bench, tokens[0]).len(), times(&bench, tokens[1]).len()), (1, 1));
        let said = bench.wire.iter().filter(|seen| seen.by_gateway).map(|seen| seen.message.message_type);
        assert_eq!(said.collect::<Vec<_>>(), [MessageType::Reset, MessageType::Reset]);
        assert_eq!((bench.device.observed_paths().count(), &bench.record()["observations"]), (0, &json!([])));
    });
}

#[test]
pub(crate) fn ets_1_1_int_303_cancel_observations_using_observe() {
    for_versions("1.1-int-303", ALL, |version| {
        let (mut bench, tokens) = observing(version);
        for (path, token) in ["/3/0/7", "/3/0/8"].into_iter().zip(tokens) {
            bench.done(json!({"operation": "cancel_observe", "path": path}));
            assert!(bench.asked()[0].starts_with(&format!("GET {path} observe=1")), "{:?}", bench.asked());
            assert_eq!(bench.request().token, token, "the token of the observation");
        }
        assert_eq!((bench.device.observed_paths().count(), &bench.record()["observations"]), (0, &json!([])));
        bench.forget();
        bench.pass(Duration::from_secs(60));
        assert!(bench.notifications().is_empty());
    });
}

fn sample(path: Path, value: Value) -> Sample {
    Sample { path, value, ts: None }
}

fn answers_of_send(bench: &mut Bench) -> Vec<String> {
    let events = std::iter::from_fn(|| bench.device.poll_event());
    let answered = events.filter_map(|event| match event {
        DeviceEvent::SendAnswered { code } => Some(code.to_string()),
        _ => None,
    });
    answered.collect()
}

fn is_send(message: &Message) -> bool {
    message.uri_path() == ["dp"]
}

#[test]
pub(crate) fn ets_1_1_int_306_send_operation() {
    for_versions("1.1-int-306", SINCE_1_1, |version| {
        let mut formats = vec![ContentFormat::SENML_CBOR, ContentFormat::SENML_JSON];
        if version >= Version::V1_2 {
            formats.push(ContentFormat::LWM2M_CBOR);
        }
        for format in formats {
            let mut script = c4(version);
            script.send_format = format;
            let mut bench = Bench::registered(script);
            let samples = [sample(Path::resource_instance(3, 0, 7, 0), Value::Integer(3_600))];
            bench.with_device(|device, now| device.send(now, &samples)).unwrap();
            assert!(bench.told()[0].starts_with(&format!("POST /dp ct={format} ")), "{:?}", bench.told());
            let replied = vec!["2.04".to_owned()];
            assert_eq!((bench.replied(), answers_of_send(&mut bench)), (replied.clone(), replied));
        }
    });
}

#[test]
pub(crate) fn ets_1_1_int_307_muting_send() {
    for_versions("1.1-int-307", SINCE_1_1, |version| {
        let mut script = c1(version).with_writable(Path::resource(1, 0, 23), Value::Boolean(false));
        script.lifetime_secs = 86_400;
        let mut bench = Bench::registered(script);
        let samples = [sample(Path::resource(3, 0, 0), Value::String("Acme".to_owned()))];
        bench.done(json!({"operation": "write", "path": "/1/0/23", "value": true}));
        assert_eq!(bench.asked(), ["PUT /1/0/23 ct=text \"1\""]);
        let muted = bench.with_device(|device, now| device.send(now, &samples));
        assert_eq!(muted, Err(SendError::Muted));
        bench.done(json!({"operation": "write", "path": "/1/0/23", "value": false}));
        assert_eq!(bench.asked(), ["PUT /1/0/23 ct=text \"0\""]);
        bench.with_device(|device, now| device.send(now, &samples)).unwrap();
        assert_eq!(bench.wire.iter().filter(|seen| is_send(&seen.message)).count(), 1);
        assert_eq!(answers_of_send(&mut bench), ["2.04"]);
    });
}

#[test]
pub(crate) fn ets_1_1_int_311_send_command() {
    for_versions("1.1-int-311", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c1(version));
        let samples = [
            sample(Path::resource(1, 0, 1), Value::Integer(86_400)),
            sample(Path::resource_instance(3, 0, 11, 0), Value::Integer(0)),
        ];
        bench.with_device(|device, now| device.send(now, &samples)).unwrap();
        assert_eq!(bench.replied(), ["2.04"]);
        let unmapped = bench.gateway.query(Query::Unmapped { device: ENDPOINT.to_owned() });
        let kept: Vec<_> =
            unmapped["items"].as_array().unwrap().iter().map(|item| (&item["path"], &item["value"])).collect();
        assert_eq!(kept, [(&json!("/1/0/1"), &json!(86_400)), (&json!("/3/0/11/0"), &json!(0))]);
    });
}

#[test]
pub(crate) fn ets_1_2_int_312_observe_with_attributes_as_parameters() {
    for_versions("1.2-int-312", SINCE_1_2, |version| {
        let mut bench = Bench::registered(c4(version));
        bench.done(json!({"operation": "observe", "path": "/3/0/7", "attributes": {"pmin": 5, "pmax": 15}}));
        assert_eq!(bench.asked(), ["GET /3/0/7?pmax=15&pmin=5 observe=0 accept=senml-cbor"]);
        let token = bench.request().token;
        assert_eq!(bench.device.attributes(&Path::resource(3, 0, 7)).to_query(), Vec::<String>::new());
        bench.forget();
        bench.pass(Duration::from_secs(16));
        set(&mut bench, Path::resource_instance(3, 0, 7, 0), Value::Integer(3_700));
        bench.pass(Duration::from_secs(20));
        assert_eq!(times(&bench, token), [15.0, 20.0, 35.0]);
    });
}

#[test]
pub(crate) fn ets_1_2_int_313_observe_parameters_override_attributes() {
    for_versions("1.2-int-313", SINCE_1_2, |version| {
        let mut bench = Bench::registered(c4(version));
        attach(&mut bench, "/3/0/7", &json!({"pmax": 60}));
        bench.done(json!({"operation": "observe", "path": "/3/0/7", "attributes": {"pmax": 10}}));
        let token = bench.request().token;
        bench.forget();
        bench.pass(Duration::from_secs(30));
        assert_eq!(times(&bench, token), [10.0, 20.0, 30.0]);
        assert_eq!(bench.device.attributes(&Path::resource(3, 0, 7)).to_query(), ["pmax=60"], "still attached");
    });
}
