//! Writing in every format and at every level, and what it leads to.

use std::time::Duration;

use lwm2mqtt::model::version::Version;
use serde_json::{Value as Json, json};

use crate::conformance::ets::configurations::{c1, c3, c12};
use crate::conformance::ets::page::{Case, case};
use crate::conformance::ets::{self, bench::Bench};
use crate::conformance::ets::{ALL, SINCE_1_1, for_versions};

pub(super) const CASES: &[Case] = &[
    case!("1.1-int-205", "Write resources as text", ets_1_1_int_205_setting_basic_information_in_plain_text),
    case!("1.1-int-212", "Write resources in CBOR", ets_1_1_int_212_setting_basic_information_in_cbor),
    case!("1.1-int-215", "Write an instance in TLV", ets_1_1_int_215_setting_basic_information_in_tlv),
    case!("1.1-int-220", "Write an instance in JSON of 1.0", ets_1_1_int_220_setting_basic_information_in_json),
    case!("1.1-int-221", "The security object is refused", ets_1_1_int_221_attempt_to_perform_operations_on_security),
    case!("1.1-int-226", "Change a part of an instance", ets_1_1_int_226_write_partial_update_on_object_instance),
    case!("1.1-int-227", "Replace a resource", ets_1_1_int_227_write_replace_on_resource),
    case!("1.1-int-228", "Write a resource instance", ets_1_1_int_228_write_on_resource_instance),
    case!("1.1-int-233", "Write in SenML CBOR", ets_1_1_int_233_setting_basic_information_in_senml_cbor),
    case!("1.1-int-234", "Write in SenML JSON", ets_1_1_int_234_setting_basic_information_in_senml_json),
    case!("1.1-int-241", "Reboot", ets_1_1_int_241_rebooting_the_device),
    case!("1.1-int-256", "A write that fails", ets_1_1_int_256_write_operation_failure),
];

fn write(path: &str, value: &Json, format: &str) -> Json {
    json!({"operation": "write", "path": path, "value": value, "format": format})
}

/// What C.3 holds before.
const SAVED: [(&str, i64); 3] = [("2", 1), ("3", 10), ("5", 86_400)];

fn assert_server_object(bench: &mut Bench, pmin: i64, pmax: i64, disable: i64) {
    let values = bench.read("/1/0", "tlv");
    assert_eq!((&values["/1/0/2"], &values["/1/0/3"]), (&json!(pmin), &json!(pmax)));
    assert_eq!(values["/1/0/5"], disable);
}

#[test]
pub(crate) fn ets_1_1_int_205_setting_basic_information_in_plain_text() {
    for_versions("1.1-int-205", ALL, |version| {
        let mut bench = Bench::registered(c3(version));
        for (resource, value) in [(2, 101), (3, 1_010), (5, 2_000)] {
            bench.done(write(&format!("/1/0/{resource}"), &json!(value), "text"));
            assert_eq!(bench.asked(), [format!("PUT /1/0/{resource} ct=text \"{value}\"")]);
            assert_eq!(bench.answered(), ["2.04"]);
        }
        assert_server_object(&mut bench, 101, 1_010, 2_000);
        for (resource, value) in SAVED {
            bench.done(write(&format!("/1/0/{resource}"), &json!(value), "text"));
        }
        assert_server_object(&mut bench, 1, 10, 86_400);
    });
}

#[test]
pub(crate) fn ets_1_1_int_212_setting_basic_information_in_cbor() {
    for_versions("1.1-int-212", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c3(version));
        for (path, value, bytes) in [
            ("/1/0/2", json!(101), &[0x18, 101][..]),
            ("/1/0/3", json!(1_010), &[0x19, 0x03, 0xf2]),
            ("/1/0/6", json!(true), &[0xf5]),
        ] {
            bench.done(write(path, &value, "cbor"));
            assert_eq!(bench.asked(), [format!("PUT {path} ct=cbor {} bytes", bytes.len())]);
            assert_eq!(bench.request().payload, bytes);
        }
        assert_server_object(&mut bench, 101, 1_010, 86_400);
        assert_eq!(bench.read("/1/0/6", "cbor"), true);
    });
}

/// The set of values of cases 215 and 220 as one partial update, then the saved ones as a replacement.
fn set_and_restore(version: Version, format: &str) {
    let mut bench = Bench::registered(c3(version));
    let values = json!({"2": 101, "3": 1_010, "5": 2_000, "6": true, "7": "U"});
    bench.done(json!({"operation": "write_update", "path": "/1/0", "values": values, "format": format}));
    assert!(bench.asked()[0].starts_with(&format!("POST /1/0 ct={format} ")), "{:?}", bench.asked());
    if format == "tlv" {
        assert_eq!(bench.request().payload, ets::vector("tlv-ets-215"));
    }
    let said = bench.body_of(bench.request(), "/1/0");
    assert_eq!(json!(said), json!({"/1/0/2": 101, "/1/0/3": 1_010, "/1/0/5": 2_000, "/1/0/6": true, "/1/0/7": "U"}));
    assert_eq!(bench.answered(), ["2.04"]);
    assert_server_object(&mut bench, 101, 1_010, 2_000);
    assert_eq!(bench.read("/1/0/6", format), true);
    let saved = json!({"1": 86_400, "2": 1, "3": 10, "5": 86_400, "6": false, "7": "U"});
    bench.done(json!({"operation": "write", "path": "/1/0", "values": saved, "format": format}));
    assert!(bench.asked()[0].starts_with(&format!("PUT /1/0 ct={format} ")), "{:?}", bench.asked());
    assert_server_object(&mut bench, 1, 10, 86_400);
    assert_eq!(bench.read("/1/0/6", format), false);
}

#[test]
pub(crate) fn ets_1_1_int_215_setting_basic_information_in_tlv() {
    for_versions("1.1-int-215", ALL, |version| set_and_restore(version, "tlv"));
}

#[test]
pub(crate) fn ets_1_1_int_220_setting_basic_information_in_json() {
    for_versions("1.1-int-220", ALL, |version| set_and_restore(version, "json"));
}

#[test]
pub(crate) fn ets_1_1_int_221_attempt_to_perform_operations_on_security() {
    for_versions("1.1-int-221", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c1(version));
        bench.refused(json!({"operation": "read", "path": "/0", "format": "tlv"}), "4.01");
        assert_eq!(bench.asked(), ["GET /0 accept=tlv"]);
        bench.refused(write("/0/0/0", &json!("coap://elsewhere"), "text"), "4.01");
        assert_eq!(bench.asked(), ["PUT /0/0/0 ct=text \"coap://elsewhere\""]);
        bench.refused(json!({"operation": "write_attributes", "path": "/0", "attributes": {"pmin": 10}}), "4.01");
        assert_eq!(bench.asked(), ["PUT /0?pmin=10"]);
        assert_eq!(bench.holds("/0/0/0"), Some(json!("coap://server")));
    });
}

#[test]
pub(crate) fn ets_1_1_int_226_write_partial_update_on_object_instance() {
    for_versions("1.1-int-226", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c1(version));
        bench.done(json!({"operation": "write_update", "path": "/1/0", "values": {"1": 61, "6": true}}));
        assert_eq!(bench.asked().len(), 1);
        assert!(bench.asked()[0].starts_with("POST /1/0 ct=senml-cbor "), "{:?}", bench.asked());
        assert_eq!(json!(bench.body_of(bench.request(), "/1/0")), json!({"/1/0/1": 61, "/1/0/6": true}));
        assert_eq!((bench.told(), bench.replied()), (vec!["POST /rd/L?lt=61".into()], vec!["2.04".to_owned()]));
        assert_eq!(bench.record()["lifetime_secs"], 61);
        assert_eq!(bench.read("/1/0", "tlv"), json!({"/1/0/0": 1, "/1/0/1": 61, "/1/0/6": true, "/1/0/7": "U"}));
        bench.done(json!({"operation": "write_update", "path": "/1/0", "values": {"1": 86_400, "6": false}}));
        assert_eq!(bench.record()["lifetime_secs"], 86_400);
    });
}

#[test]
pub(crate) fn ets_1_1_int_227_write_replace_on_resource() {
    for_versions("1.1-int-227", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c1(version));
        bench.done(json!({"operation": "write", "path": "/1/0/1", "value": 63}));
        assert_eq!(bench.asked(), ["PUT /1/0/1 ct=text \"63\""]);
        assert_eq!((bench.told(), bench.replied()), (vec!["POST /rd/L?lt=63".into()], vec!["2.04".to_owned()]));
        assert_eq!(bench.read("/1/0/1", "text"), 63);
    });
}

#[test]
pub(crate) fn ets_1_1_int_228_write_on_resource_instance() {
    for_versions("1.1-int-228", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c12(version));
        bench.done(json!({"operation": "write", "path": "/16/0/0/2", "value": "test"}));
        assert_eq!(bench.asked(), ["PUT /16/0/0/2 ct=text \"test\""]);
        assert_eq!(bench.read("/16/0/0/2", "text"), "test");
        assert_eq!(bench.asked(), ["GET /16/0/0/2 accept=text"]);
        let others: Vec<_> = [0, 1, 3].map(|identity| bench.holds(&format!("/16/0/0/{identity}"))).into();
        assert_eq!(others, [0, 1, 3].map(|identity| Some(json!(format!("identity {identity}")))));
    });
}

/// An instance, a resource instance and a resource in one format, and the Update that the lifetime leads to.
fn writes_in(version: Version, format: &str) {
    let mut bench = Bench::registered(c12(version));
    let values = json!({"1": 61, "6": true});
    bench.done(json!({"operation": "write_update", "path": "/1/0", "values": values, "format": format}));
    assert!(bench.asked()[0].starts_with(&format!("POST /1/0 ct={format} ")), "{:?}", bench.asked());
    assert_eq!((bench.told(), bench.replied()), (vec!["POST /rd/L?lt=61".into()], vec!["2.04".to_owned()]));
    bench.done(write("/16/0/0", &json!({"0": "one", "1": "two"}), format));
    assert!(bench.asked()[0].starts_with(&format!("PUT /16/0/0 ct={format} ")), "{:?}", bench.asked());
    assert_eq!(bench.read("/16/0/0", format), json!({"0": "one", "1": "two"}));
    bench.done(write("/1/0/1", &json!(86_400), format));
    assert!(bench.asked()[0].starts_with(&format!("PUT /1/0/1 ct={format} ")), "{:?}", bench.asked());
    assert_eq!(json!(bench.body_of(bench.request(), "/1/0/1")), json!({"/1/0/1": 86_400}));
    assert_eq!((bench.told(), bench.replied()), (vec!["POST /rd/L?lt=86400".into()], vec!["2.04".to_owned()]));
    assert_eq!(bench.record()["lifetime_secs"], 86_400);
}

#[test]
pub(crate) fn ets_1_1_int_233_setting_basic_information_in_senml_cbor() {
    for_versions("1.1-int-233", SINCE_1_1, |version| writes_in(version, "senml-cbor"));
}

#[test]
pub(crate) fn ets_1_1_int_234_setting_basic_information_in_senml_json() {
    for_versions("1.1-int-234", SINCE_1_1, |version| writes_in(version, "senml-json"));
}

#[test]
pub(crate) fn ets_1_1_int_241_rebooting_the_device() {
    for_versions("1.1-int-241", ALL, |version| {
        let mut bench = Bench::registered(c1(version));
        bench.done(json!({"operation": "observe", "path": "/3/0/16"}));
        bench.done(json!({"operation": "execute", "path": "/3/0/4"}));
        assert_eq!((bench.asked(), bench.answered()), (vec!["POST /3/0/4".to_owned()], vec!["2.04".to_owned()]));
        let before = bench.record()["registered_at"].as_i64().unwrap();
        bench.pass(Duration::from_secs(2));
        assert!(bench.told()[0].starts_with("POST /rd?ep=dev"), "{:?}", bench.told());
        assert_eq!(bench.replied(), ["2.01 location=/rd/L"]);
        let record = bench.record();
        assert!(record["registered_at"].as_i64().unwrap() > before);
        assert_eq!((&record["state"], &record["observations"]), (&json!("online"), &json!([])));
    });
}

#[test]
pub(crate) fn ets_1_1_int_256_write_operation_failure() {
    for_versions("1.1-int-256", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c1(version));
        bench.refused(write("/1/0/0", &json!(2), "text"), "4.05");
        assert_eq!(bench.asked(), ["PUT /1/0/0 ct=text \"2\""]);
        assert_eq!(bench.read("/1/0/0", "text"), 1);
    });
}
