//! Reading in every format and at every level.

use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::model::version::Version;
use lwm2mqtt::protocol::content::ContentFormat;
use serde_json::{Value as Json, json};

use crate::conformance::ets::bench::Bench;
use crate::conformance::ets::configurations::{c1, c3};
use crate::conformance::ets::page::{Case, case};
use crate::conformance::ets::{ALL, SINCE_1_1, for_versions};

pub(super) const CASES: &[Case] = &[
    case!("1.1-int-201", "Read resources as text", ets_1_1_int_201_querying_basic_information_in_plain_text),
    case!("1.1-int-203", "Read an instance in TLV", ets_1_1_int_203_querying_basic_information_in_tlv),
    case!("1.1-int-204", "Read an instance in JSON of 1.0", ets_1_1_int_204_querying_basic_information_in_json),
    case!("1.1-int-211", "Read resources in CBOR", ets_1_1_int_211_querying_basic_information_in_cbor),
    case!("1.1-int-222", "Read objects", ets_1_1_int_222_read_on_object),
    case!("1.1-int-223", "Read instances", ets_1_1_int_223_read_on_object_instance),
    case!("1.1-int-224", "Read resources", ets_1_1_int_224_read_on_resource),
    case!("1.1-int-225", "Read a resource instance", ets_1_1_int_225_read_on_resource_instance),
    case!("1.1-int-231", "Read in SenML JSON", ets_1_1_int_231_querying_basic_information_in_senml_json),
    case!("1.1-int-232", "Read in SenML CBOR", ets_1_1_int_232_querying_basic_information_in_senml_cbor),
    case!("1.1-int-237", "Read without naming a format", ets_1_1_int_237_read_without_specifying_content_type),
];

/// What C.1 says of object 3.
fn device_values() -> Json {
    json!({
        "/3/0/0": "Acme", "/3/0/1": "Anvil 3", "/3/0/2": "345000123", "/3/0/3": "1.0", "/3/0/11/0": 0, "/3/0/16": "U",
    })
}

/// What C.1 says of object 1.
fn server_values() -> Json {
    json!({"/1/0/0": 1, "/1/0/1": 86_400, "/1/0/6": false, "/1/0/7": "U"})
}

fn assert_read(bench: &mut Bench, path: &str, format: &str, expected: &Json) {
    let value = bench.read(path, format);
    assert_eq!((value, bench.asked()), (expected.clone(), vec![format!("GET {path} accept={format}")]));
    assert!(bench.answered()[0].starts_with(&format!("2.05 ct={format} ")), "{:?}", bench.answered());
}

#[test]
pub(crate) fn ets_1_1_int_201_querying_basic_information_in_plain_text() {
    for_versions("1.1-int-201", ALL, |version| {
        let mut bench = Bench::registered(c1(version));
        for (path, value) in [("/3/0/0", "Acme"), ("/3/0/1", "Anvil 3"), ("/3/0/2", "345000123")] {
            assert_read(&mut bench, path, "text", &json!(value));
            assert_eq!(bench.answered(), [format!("2.05 ct=text \"{value}\"")]);
        }
    });
}

#[test]
pub(crate) fn ets_1_1_int_203_querying_basic_information_in_tlv() {
    for_versions("1.1-int-203", ALL, |version| {
        let mut bench = Bench::registered(c1(version));
        assert_read(&mut bench, "/3/0", "tlv", &device_values());
    });
}

#[test]
pub(crate) fn ets_1_1_int_204_querying_basic_information_in_json() {
    for_versions("1.1-int-204", ALL, |version| {
        let mut bench = Bench::registered(c1(version));
        assert_read(&mut bench, "/3/0", "json", &device_values());
        let body: Json = serde_json::from_slice(&bench.last_body().payload).unwrap();
        assert!(body["e"].as_array().is_some_and(|entries| entries.len() == 6), "{body}");
    });
}

#[test]
pub(crate) fn ets_1_1_int_211_querying_basic_information_in_cbor() {
    for_versions("1.1-int-211", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c1(version));
        for (path, value, bytes) in [
            ("/1/0/0", json!(1), &[0x01][..]),
            ("/1/0/6", json!(false), &[0xf4]),
            ("/1/0/7", json!("U"), &[0x61, b'U']),
        ] {
            assert_read(&mut bench, path, "cbor", &value);
            assert_eq!(bench.last_body().payload, bytes);
        }
    });
}

#[test]
pub(crate) fn ets_1_1_int_222_read_on_object() {
    for_versions("1.1-int-222", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c1(version));
        for format in formats(version) {
            assert_read(&mut bench, "/1", format, &server_values());
            assert_read(&mut bench, "/3", format, &device_values());
        }
    });
}

#[test]
pub(crate) fn ets_1_1_int_223_read_on_object_instance() {
    for_versions("1.1-int-223", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c1(version));
        for format in formats(version) {
            assert_read(&mut bench, "/1/0", format, &server_values());
            assert_read(&mut bench, "/3/0", format, &device_values());
        }
    });
}

/// The formats of this version that carry several values.
fn formats(version: Version) -> Vec<&'static str> {
    let mut formats = vec!["tlv", "senml-json", "senml-cbor"];
    if version >= Version::V1_2 {
        formats.push("lwm2m-cbor");
    }
    formats
}

#[test]
pub(crate) fn ets_1_1_int_224_read_on_resource() {
    for_versions("1.1-int-224", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c1(version));
        for (path, value) in [
            ("/1/0/0", json!(1)),
            ("/1/0/1", json!(86_400)),
            ("/1/0/6", json!(false)),
            ("/1/0/7", json!("U")),
            ("/3/0/16", json!("U")),
        ] {
            for format in formats(version).into_iter().chain(["text", "cbor"]) {
                assert_read(&mut bench, path, format, &value);
            }
        }
    });
}

#[test]
pub(crate) fn ets_1_1_int_225_read_on_resource_instance() {
    for_versions("1.1-int-225", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c3(version).with(Path::resource_instance(3, 0, 11, 1), Value::Integer(3)));
        for format in formats(version).into_iter().chain(["text", "cbor"]) {
            assert_read(&mut bench, "/3/0/11/1", format, &json!(3));
        }
    });
}

fn reads_in(bench: &mut Bench, format: &str) {
    assert_read(bench, "/1", format, &server_values());
    assert_read(bench, "/3/0", format, &device_values());
    assert_read(bench, "/3/0/16", format, &json!("U"));
    assert_read(bench, "/3/0/11/0", format, &json!(0));
}

#[test]
pub(crate) fn ets_1_1_int_231_querying_basic_information_in_senml_json() {
    for_versions("1.1-int-231", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c1(version));
        reads_in(&mut bench, "senml-json");
        let body: Json = serde_json::from_slice(&bench.last_body().payload).unwrap();
        assert_eq!(body[0]["v"], 0);
    });
}

#[test]
pub(crate) fn ets_1_1_int_232_querying_basic_information_in_senml_cbor() {
    for_versions("1.1-int-232", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c1(version));
        reads_in(&mut bench, "senml-cbor");
    });
}

#[test]
pub(crate) fn ets_1_1_int_237_read_without_specifying_content_type() {
    for_versions("1.1-int-237", SINCE_1_1, |version| {
        // Of the formats that a client announces none carries several values: what it answers is its own choice.
        for format in formats(version) {
            let mut script = c1(version);
            script.default_format = ContentFormat::parse(format).unwrap();
            script.formats = vec![ContentFormat::TEXT];
            let mut bench = Bench::registered(script);
            for (path, expected) in [("/1", server_values()), ("/3", device_values())] {
                let result = bench.done(json!({"operation": "read", "path": path}));
                assert_eq!((bench.asked(), &result["values"]), (vec![format!("GET {path}")], &expected), "{format}");
                assert!(bench.answered()[0].starts_with(&format!("2.05 ct={format} ")), "{:?}", bench.answered());
            }
        }
    });
}
