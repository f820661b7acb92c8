//! Several paths observed as one.

use std::time::Duration;

use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::model::version::Version;
use lwm2mqtt::protocol::coap::message::Token;
use serde_json::{Value as Json, json};

use super::{attach, set};
use crate::conformance::ets::bench::{Bench, ENDPOINT};
use crate::conformance::ets::configurations::{c4, c12};
use crate::conformance::ets::page::{Case, case};
use crate::conformance::ets::{SINCE_1_1, for_versions};

pub(super) const CASES: &[Case] = &[
    case!("1.1-int-304", "Observe several paths as one", ets_1_1_int_304_observe_composite_operation),
    case!("1.1-int-305", "End an observation of several paths", ets_1_1_int_305_cancel_observation_composite_operation),
    case!("1.1-int-308", "An observed instance comes", ets_1_1_int_308_observe_composite_and_creating_object_instance),
    case!("1.1-int-309", "An observed instance goes", ets_1_1_int_309_observe_composite_and_deleting_object_instance),
    case!(
        "1.1-int-310",
        "A shorter period meanwhile",
        ets_1_1_int_310_observe_composite_and_modification_of_parameters
    ),
];

const THREE: [&str; 3] = ["/3/0/7", "/3/0/8", "/3/0/16"];

fn three_values() -> Json {
    json!({"/3/0/7/0": 3_800, "/3/0/7/1": 5_000, "/3/0/8/0": 125, "/3/0/8/1": 900, "/3/0/16": "U"})
}

/// Observes paths as one; the values and the token.
fn observe(bench: &mut Bench, paths: &[&str]) -> (Json, Token) {
    let result = bench.done(json!({"operation": "observe_composite", "paths": paths}));
    assert!(bench.asked()[0].starts_with("FETCH / observe=0 ct=senml-cbor "), "{:?}", bench.asked());
    assert_eq!(Bench::paths_of(bench.request()), paths);
    assert!(bench.answered()[0].starts_with("2.05 observe=1 ct=senml-cbor "), "{:?}", bench.answered());
    let observed = (result["values"].clone(), bench.request().token);
    bench.forget();
    observed
}

/// Three paths of C.4 with periods of 30 and 45 seconds, observed as one.
fn observing(version: Version) -> (Bench, Token) {
    let mut bench = Bench::registered(c4(version));
    attach(&mut bench, "/3", &json!({"pmin": 30, "pmax": 45}));
    let (values, token) = observe(&mut bench, &THREE);
    assert_eq!(values, three_values());
    (bench, token)
}

/// When the notifications under a token came, and what the last one says.
fn heard(bench: &Bench, token: Token) -> (Vec<f64>, Json) {
    let notifications = bench.notifications();
    assert!(notifications.iter().all(|seen| seen.message.token == token));
    let times = notifications.iter().map(|seen| seen.at).collect();
    let last = notifications.last().map(|seen| json!(bench.body_of(&seen.message, "/")));
    (times, last.unwrap_or_default())
}

fn notified(bench: &Bench) -> usize {
    bench.gateway.bodies(&format!("{ENDPOINT}/notify")).len()
}

#[test]
pub(crate) fn ets_1_1_int_304_observe_composite_operation() {
    for_versions("1.1-int-304", SINCE_1_1, |version| {
        let (mut bench, token) = observing(version);
        let before = notified(&bench);
        bench.pass(Duration::from_secs(45));
        assert_eq!(heard(&bench, token), (vec![45.0], three_values()));
        assert_eq!(notified(&bench) - before, 5, "every value reaches whoever observes");
        bench.forget();
        bench.pass(Duration::from_secs(10));
        set(&mut bench, Path::resource_instance(3, 0, 7, 0), Value::Integer(3_700));
        bench.pass(Duration::from_secs(34));
        let mut changed = three_values();
        changed["/3/0/7/0"] = 3_700.into();
        assert_eq!(heard(&bench, token), (vec![75.0], changed), "after the least period");
    });
}

#[test]
pub(crate) fn ets_1_1_int_305_cancel_observation_composite_operation() {
    for_versions("1.1-int-305", SINCE_1_1, |version| {
        let (mut bench, token) = observing(version);
        bench.done(json!({"operation": "cancel_observe_composite", "paths": ["/3/0/16", "/3/0/8", "/3/0/7"]}));
        assert!(bench.asked()[0].starts_with("FETCH / observe=1 ct=senml-cbor "), "{:?}", bench.asked());
        assert_eq!((Bench::paths_of(bench.request()), bench.request().token), (THREE.map(str::to_owned).into(), token));
        assert_eq!((bench.device.observed_composites().count(), &bench.record()["observations"]), (0, &json!([])));
        bench.forget();
        bench.pass(Duration::from_secs(100));
        assert!(bench.notifications().is_empty());
    });
}

/// Two instances of the portfolio object observed as one, the second of which is created.
fn with_second_instance(version: Version) -> (Bench, Token) {
    let mut bench = Bench::registered(c12(version));
    let (values, token) = observe(&mut bench, &["/16/0", "/16/1"]);
    let first: Vec<&String> = values.as_object().unwrap().keys().collect();
    assert_eq!(first, ["/16/0/0/0", "/16/0/0/1", "/16/0/0/2", "/16/0/0/3"]);
    let created = bench.done(json!({"operation": "create", "path": "/16/1", "values": {"0": {"0": "second"}}}));
    assert_eq!((&created["code"], &created["location"]), (&json!("2.01"), &json!("/16/1")));
    assert!(bench.asked()[0].starts_with("POST /16 ct=senml-cbor "), "{:?}", bench.asked());
    (bench, token)
}

#[test]
pub(crate) fn ets_1_1_int_308_observe_composite_and_creating_object_instance() {
    for_versions("1.1-int-308", SINCE_1_1, |version| {
        let (mut bench, token) = with_second_instance(version);
        let (times, last) = heard(&bench, token);
        assert_eq!((times.len(), &last["/16/1/0/0"]), (1, &json!("second")));
        assert_eq!(last.as_object().unwrap().len(), 5);
        assert!(bench.told()[0].contains("</16/0>,</16/1>"), "the list is told anew: {:?}", bench.told());
        assert_eq!(bench.record()["objects"]["16"]["instances"], json!([0, 1]));
    });
}

#[test]
pub(crate) fn ets_1_1_int_309_observe_composite_and_deleting_object_instance() {
    for_versions("1.1-int-309", SINCE_1_1, |version| {
        let (mut bench, token) = with_second_instance(version);
        let deleted = bench.done(json!({"operation": "delete", "path": "/16/1"}));
        assert_eq!((&deleted["code"], bench.asked()), (&json!("2.02"), vec!["DELETE /16/1".to_owned()]));
        let (times, last) = heard(&bench, token);
        assert_eq!((times.len(), last.as_object().unwrap().len()), (1, 4));
        assert!(last["/16/1/0/0"].is_null());
        assert_eq!(bench.record()["objects"]["16"]["instances"], json!([0]));
    });
}

#[test]
pub(crate) fn ets_1_1_int_310_observe_composite_and_modification_of_parameters() {
    for_versions("1.1-int-310", SINCE_1_1, |version| {
        let (mut bench, token) = observing(version);
        attach(&mut bench, "/3", &json!({"pmin": null, "pmax": 5}));
        assert_eq!(bench.asked(), ["PUT /3?pmax=5&pmin"]);
        bench.forget();
        bench.pass(Duration::from_secs(20));
        assert_eq!(heard(&bench, token), (vec![5.0, 10.0, 15.0, 20.0], three_values()));
    });
}
