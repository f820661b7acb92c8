//! Several paths in one request.

use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::model::version::Version;
use serde_json::{Value as Json, json};

use crate::conformance::ets::bench::Bench;
use crate::conformance::ets::configurations::{c1, c6, c12};
use crate::conformance::ets::page::{Case, case};
use crate::conformance::ets::{self, SINCE_1_1, for_versions};

pub(super) const CASES: &[Case] = &[
    case!("1.1-int-229", "Read several paths at once", ets_1_1_int_229_read_composite_operation),
    case!("1.1-int-230", "Write several objects at once", ets_1_1_int_230_write_composite_operation),
    case!("1.1-int-235", "Read everything", ets_1_1_int_235_read_composite_operation_on_root_path),
    case!("1.1-int-236", "Paths that are not there", ets_1_1_int_236_read_composite_partial_presence),
    case!("1.1-int-257", "Write-Composite with given bodies", ets_1_1_int_257_write_composite_operation),
    case!("1.1-int-280", "Exactly the paths asked for", ets_1_1_int_280_successful_read_composite_operation),
    case!("1.1-int-281", "What cannot be read is left out", ets_1_1_int_281_partially_successful_read_composite),
];

/// The formats of composite requests of this version; the second is that of their answers.
fn formats(version: Version) -> Vec<(&'static str, &'static str)> {
    let mut formats = vec![("senml-json", "senml-json"), ("senml-cbor", "senml-cbor")];
    if version >= Version::V1_2 {
        formats.extend([("senml-etch-json", "senml-json"), ("senml-etch-cbor", "senml-cbor")]);
    }
    formats
}

/// Reads these paths at once; the values by path.
fn read_composite(bench: &mut Bench, paths: &[&str], (format, accept): (&str, &str)) -> Json {
    let result = bench.done(json!({"operation": "read_composite", "paths": paths, "format": format}));
    let request = bench.request();
    let mut sorted: Vec<Path> = paths.iter().map(|path| path.parse().unwrap()).collect();
    sorted.sort_unstable();
    assert_eq!(Bench::paths_of(request), sorted.iter().map(ToString::to_string).collect::<Vec<_>>());
    let line = &bench.asked()[0];
    assert!(line.starts_with(&format!("FETCH / ct={format} accept={accept} ")), "{line}");
    let answer = &bench.answered()[0];
    assert!(answer.starts_with(&format!("2.05 ct={accept} ")), "{answer}");
    result["values"].clone()
}

#[test]
pub(crate) fn ets_1_1_int_229_read_composite_operation() {
    for_versions("1.1-int-229", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c1(version));
        for format in formats(version) {
            let values = read_composite(&mut bench, &["/3/0/0", "/3/0/11", "/1/0/7"], format);
            assert_eq!(values, json!({"/1/0/7": "U", "/3/0/0": "Acme", "/3/0/11/0": 0}));
        }
    });
}

#[test]
pub(crate) fn ets_1_1_int_230_write_composite_operation() {
    for_versions("1.1-int-230", SINCE_1_1, |version| {
        for (format, _) in formats(version) {
            let mut bench = Bench::registered(c12(version));
            let identities = json!({"0": "a", "1": "b", "2": "c", "3": "d"});
            let values = json!({"/1/0/1": 60, "/1/0/6": true, "/16/0/0": identities});
            bench.done(json!({"operation": "write_composite", "values": values, "format": format}));
            assert!(bench.asked()[0].starts_with(&format!("iPATCH / ct={format} ")), "{:?}", bench.asked());
            let written = json!({
                "/1/0/1": 60, "/1/0/6": true, "/16/0/0/0": "a", "/16/0/0/1": "b", "/16/0/0/2": "c", "/16/0/0/3": "d",
            });
            assert_eq!(json!(bench.body_of(bench.request(), "/")), written);
            assert_eq!(bench.answered(), ["2.04"]);
            assert_eq!((bench.told(), bench.replied()), (vec!["POST /rd/L?lt=60".into()], vec!["2.04".to_owned()]));
            assert_eq!(bench.record()["lifetime_secs"], 60);
            for (path, value) in written.as_object().unwrap() {
                assert_eq!(bench.holds(path).as_ref(), Some(value), "{path}");
            }
        }
    });
}

#[test]
pub(crate) fn ets_1_1_int_235_read_composite_operation_on_root_path() {
    for_versions("1.1-int-235", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c12(version).with(Path::resource(21, 0, 0), Value::Opaque(vec![1])));
        for format in formats(version) {
            let values = read_composite(&mut bench, &["/"], format);
            let mut expected: Vec<String> = ["/1/0/0", "/1/0/1", "/1/0/6", "/1/0/7"].map(str::to_owned).into();
            expected.extend((0..4).map(|identity| format!("/16/0/0/{identity}")));
            expected.extend(["/3/0/0", "/3/0/1", "/3/0/11/0", "/3/0/16", "/3/0/2", "/3/0/3"].map(str::to_owned));
            let paths: Vec<&String> = values.as_object().unwrap().keys().collect();
            assert_eq!(paths, expected.iter().collect::<Vec<_>>());
        }
    });
}

#[test]
pub(crate) fn ets_1_1_int_236_read_composite_partial_presence() {
    for_versions("1.1-int-236", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c1(version));
        for format in formats(version) {
            let values = read_composite(&mut bench, &["/3/0/13", "/1/0/1", "/3442/0/110"], format);
            assert_eq!(values, json!({"/1/0/1": 86_400}));
        }
    });
}

#[test]
pub(crate) fn ets_1_1_int_257_write_composite_operation() {
    for_versions("1.1-int-257", SINCE_1_1, |version| {
        for (format, given) in [("senml-json", "senmljson-ets-257"), ("senml-cbor", "senmlcbor-ets-257")] {
            let script = c6(version);
            let mut bench = Bench::registered(script);
            let values = json!({"/1/0/2": 101, "/1/0/6": true, "/3/0/13": 0});
            bench.done(json!({"operation": "write_composite", "values": values, "format": format}));
            // Names may be split between base name and name as the sender likes: the meaning is what is given.
            let mut given_body = bench.request().clone();
            given_body.payload = ets::vector(given);
            assert_eq!(bench.body_of(bench.request(), "/"), bench.body_of(&given_body, "/"));
            assert_eq!((bench.asked().len(), bench.answered()), (1, vec!["2.04".to_owned()]));
            assert_eq!((bench.holds("/1/0/2"), bench.holds("/3/0/13")), (Some(json!(101)), Some(json!(0))));
            assert_eq!(read_composite(&mut bench, &["/1/0/2", "/1/0/6", "/3/0/13"], (format, format)), values);
        }
    });
}

#[test]
pub(crate) fn ets_1_1_int_280_successful_read_composite_operation() {
    for_versions("1.1-int-280", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c1(version));
        for format in formats(version) {
            let values = read_composite(&mut bench, &["/3/0/16", "/3/0/11/0", "/1/0"], format);
            let server = json!({"/1/0/0": 1, "/1/0/1": 86_400, "/1/0/6": false, "/1/0/7": "U"});
            let mut expected = server;
            expected["/3/0/16"] = "U".into();
            expected["/3/0/11/0"] = 0.into();
            assert_eq!(values, expected);
        }
    });
}

#[test]
pub(crate) fn ets_1_1_int_281_partially_successful_read_composite() {
    for_versions("1.1-int-281", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c1(version));
        for format in formats(version) {
            let values = read_composite(&mut bench, &["/1/0/1", "/1/0/7", "/1/0/8"], format);
            assert_eq!(values, json!({"/1/0/1": 86_400, "/1/0/7": "U"}));
        }
    });
}
