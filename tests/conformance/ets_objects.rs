//! Cases 500 to 1999 that only need a device, connectivity, location or portfolio object.

use std::time::Duration;

use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::model::version::Version;
use serde_json::{Value as Json, json};

use super::ets::bench::Bench;
use super::ets::configurations::{c1, c5, c6, c7, c12};
use super::ets::page::{Case, case};
use super::ets::{self, ALL, for_versions};

pub(crate) const CHAPTER: &[&[Case]] = &[&[
    case!("1.1-int-651", "Write time, offset and time zone", ets_1_1_int_651_device_check_access_to_the_resources),
    case!("1.1-int-652", "Read the firmware version", ets_1_1_int_652_querying_the_firmware_version),
    case!("1.1-int-680", "A second device object is refused", ets_1_1_int_680_device_create_object_instance),
    case!("1.1-int-685", "The device object cannot be deleted", ets_1_1_int_685_device_delete_object_instance),
    case!("1.1-int-701", "Read connectivity monitoring", ets_1_1_int_701_connectivity_querying_the_readable_resources),
    case!("1.1-int-710", "Observe connectivity monitoring", ets_1_1_int_710_connectivity_basic_observation),
    case!("1.1-int-801", "Read the location", ets_1_1_int_801_location_querying_the_readable_resources),
    case!("1.1-int-810", "Observe the location", ets_1_1_int_810_location_basic_observation),
    case!("1.1-int-1630", "Create a portfolio instance", ets_1_1_int_1630_create_portfolio_object_instance),
    case!("1.1-int-1635", "Delete portfolio instances", ets_1_1_int_1635_delete_portfolio_object_instance),
]];

#[test]
pub(crate) fn ets_1_1_int_651_device_check_access_to_the_resources() {
    for_versions("1.1-int-651", ALL, |version| {
        let mut bench = Bench::registered(c6(version));
        let values = json!({"13": 1_367_491_215, "14": "+02:00", "15": "Europe/Paris"});
        bench.done(json!({"operation": "write_update", "path": "/3/0", "values": values, "format": "tlv"}));
        assert!(bench.asked()[0].starts_with("POST /3/0 ct=tlv "), "{:?}", bench.asked());
        assert_eq!(bench.request().payload, ets::vector("tlv-ets-651"));
        let held = bench.read("/3/0", "tlv");
        assert_eq!((&held["/3/0/13"], &held["/3/0/15"]), (&json!(1_367_491_215), &json!("Europe/Paris")));
        let back = json!({"13": 0, "14": "+01:00", "15": "UTC"});
        bench.done(json!({"operation": "write", "path": "/3/0", "values": back, "format": "tlv"}));
        assert!(bench.asked()[0].starts_with("PUT /3/0 ct=tlv "), "{:?}", bench.asked());
        assert_eq!((bench.holds("/3/0/13"), bench.holds("/3/0/14")), (Some(json!(0)), Some(json!("+01:00"))));
    });
}

#[test]
pub(crate) fn ets_1_1_int_652_querying_the_firmware_version() {
    for_versions("1.1-int-652", ALL, |version| {
        let mut bench = Bench::registered(c6(version));
        assert_eq!(bench.read("/3/0/3", "text"), "1.0");
        assert_eq!(bench.asked(), ["GET /3/0/3 accept=text"]);
    });
}

#[test]
pub(crate) fn ets_1_1_int_680_device_create_object_instance() {
    for_versions("1.1-int-680", ALL, |version| {
        let mut bench = Bench::registered(c1(version));
        let create = json!({"operation": "create", "path": "/3", "values": {"0": "Second"}, "format": "tlv"});
        bench.refused(create, "4.05");
        assert!(bench.asked()[0].starts_with("POST /3 ct=tlv "), "{:?}", bench.asked());
    });
}

#[test]
pub(crate) fn ets_1_1_int_685_device_delete_object_instance() {
    for_versions("1.1-int-685", ALL, |version| {
        let mut bench = Bench::registered(c1(version));
        bench.refused(json!({"operation": "delete", "path": "/3/0"}), "4.05");
        assert_eq!((bench.asked(), bench.holds("/3/0/0")), (vec!["DELETE /3/0".to_owned()], Some(json!("Acme"))));
    });
}

/// Attributes, an observation of an instance, and a notification when one of its values changes.
fn observes(bench: &mut Bench, path: &str, changed: Path, value: Value) {
    let attributes = json!({"pmin": 5, "pmax": 15});
    bench.done(json!({"operation": "write_attributes", "path": path, "attributes": attributes}));
    assert_eq!(bench.asked(), [format!("PUT {path}?pmax=15&pmin=5")]);
    let observed = bench.done(json!({"operation": "observe", "path": path}));
    assert!(bench.asked()[0].starts_with(&format!("GET {path} observe=0")), "{:?}", bench.asked());
    assert!(observed["values"].as_object().is_some_and(|values| values.len() > 1), "{observed}");
    bench.forget();
    let expected = value.to_json().unwrap();
    bench.with_device(|device, now| device.set_value(now, changed, value));
    bench.pass(Duration::from_secs(21));
    let times: Vec<f64> = bench.notifications().iter().map(|seen| seen.at).collect();
    assert_eq!(times, [5.0, 20.0], "after pmin, then after pmax");
    assert_eq!(bench.body_of(bench.last_body(), path)[&changed.to_string()], expected);
}

#[test]
pub(crate) fn ets_1_1_int_701_connectivity_querying_the_readable_resources() {
    for_versions("1.1-int-701", ALL, |version| {
        let mut bench = Bench::registered(c5(version));
        let expected = json!({"/4/0/0": 0, "/4/0/1/0": 0, "/4/0/2": 92, "/4/0/3": 2, "/4/0/4/0": "192.168.0.100"});
        assert_eq!(bench.read("/4/0", "tlv"), expected);
    });
}

#[test]
pub(crate) fn ets_1_1_int_710_connectivity_basic_observation() {
    for_versions("1.1-int-710", ALL, |version| {
        let mut bench = Bench::registered(c5(version));
        observes(&mut bench, "/4/0", Path::resource(4, 0, 2), Value::Integer(80));
    });
}

#[test]
pub(crate) fn ets_1_1_int_801_location_querying_the_readable_resources() {
    for_versions("1.1-int-801", ALL, |version| {
        let mut bench = Bench::registered(c7(version));
        let expected = json!({"/6/0/0": 43.612_33, "/6/0/1": 7.050_83, "/6/0/5": 1_367_491_215});
        assert_eq!(bench.read("/6/0", "tlv"), expected);
    });
}

#[test]
pub(crate) fn ets_1_1_int_810_location_basic_observation() {
    for_versions("1.1-int-810", ALL, |version| {
        let mut bench = Bench::registered(c7(version));
        observes(&mut bench, "/6/0", Path::resource(6, 0, 0), Value::Float(43.5));
    });
}

fn discovered(bench: &mut Bench) -> Vec<Json> {
    let result = bench.done(json!({"operation": "discover", "path": "/16"}));
    result["links"].as_array().unwrap().iter().map(|link| link["path"].clone()).collect()
}

#[test]
pub(crate) fn ets_1_1_int_1630_create_portfolio_object_instance() {
    for_versions("1.1-int-1630", ALL, |version| {
        let usual = if version == Version::V1_0 { "tlv" } else { "senml-cbor" };
        for (format, used) in [(json!("tlv"), "tlv"), (json!(null), usual)] {
            let mut bench = Bench::registered(c12(version));
            let values = json!({"0": {"0": "host", "1": "maker", "2": "model", "3": "serial"}});
            let create = json!({"operation": "create", "path": "/16", "values": values, "format": format});
            let created = bench.done(create);
            assert!(bench.asked()[0].starts_with(&format!("POST /16 ct={used} ")), "{:?}", bench.asked());
            assert_eq!((&created["code"], &created["location"]), (&json!("2.01"), &json!("/16/1")));
            assert_eq!(discovered(&mut bench), ["/16", "/16/0", "/16/0/0", "/16/1", "/16/1/0"]);
            let both = bench.read("/16", "tlv");
            assert_eq!((&both["/16/0/0/3"], &both["/16/1/0/3"]), (&json!("identity 3"), &json!("serial")));
            assert_eq!(both.as_object().unwrap().len(), 8);
        }
    });
}

#[test]
pub(crate) fn ets_1_1_int_1635_delete_portfolio_object_instance() {
    for_versions("1.1-int-1635", ALL, |version| {
        let mut bench = Bench::registered(c12(version));
        bench.done(json!({"operation": "create", "path": "/16/1", "values": {"0": {"0": "host"}}}));
        for instance in ["/16/0", "/16/1"] {
            let deleted = bench.done(json!({"operation": "delete", "path": instance}));
            assert_eq!((&deleted["code"], bench.asked()), (&json!("2.02"), vec![format!("DELETE {instance}")]));
        }
        assert_eq!(discovered(&mut bench), ["/16"]);
        assert_eq!(bench.record()["objects"]["16"]["instances"], json!([]));
    });
}
