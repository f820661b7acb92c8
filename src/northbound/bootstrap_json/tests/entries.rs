//! Fields of entries: what each takes, and what is said where it does not.

use serde_json::{Value as Json, json};

use super::super::FORMATS;
use super::{entry, entry_problems, entry_refused};
use crate::model::bootstrap::{AccountOrName, DeviceEntry, WriteBy};
use crate::model::path::Path;

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

#[test]
fn an_empty_entry_has_every_default() {
    assert_eq!(entry(&json!({})), DeviceEntry::default());
    let all_null = json!({
        "servers": null, "writes": null, "deletes": null, "acls": null, "format": null, "write_by": null, "order": null,
        "verify": null,
    });
    assert_eq!(entry(&all_null), DeviceEntry::default());
}

#[test]
fn every_field_is_read() {
    let read = entry(&json!({
        "servers": ["management-psk", {"ssid": 7}], "writes": {"/3/0/15": "Europe/Oslo"}, "deletes": ["/"],
        "acls": [{"object": 3, "instance": 0, "owner": 7, "acl": {"7": 31, "0": 1}}], "format": "tlv",
        "write_by": "object", "order": [1, 0], "verify": false,
    }));
    assert!(matches!(&read.servers[0], AccountOrName::Named(name) if name.as_str() == "management-psk"));
    assert!(matches!(&read.servers[1], AccountOrName::Inline(account) if account.ssid == Some(7)));
    assert_eq!(read.writes, [(path("/3/0/15"), json!("Europe/Oslo"))]);
    assert_eq!(read.deletes, Some(vec![Path::ROOT]));
    let control = &read.access_control[0];
    assert_eq!((control.object, control.instance, control.owner), (3, 0, 7));
    assert_eq!(control.rights.iter().map(|(id, bits)| (*id, *bits)).collect::<Vec<_>>(), [(0, 1), (7, 31)]);
    assert_eq!((read.format, read.write_by, read.order.as_slice()), (Some(11_542), WriteBy::Object, [1, 0].as_slice()));
    assert_eq!(read.verify, Some(false));
}

#[test]
fn problems_of_inline_accounts_say_where_they_stand() {
    let found =
        entry_problems(&json!({"servers": ["a", {"ssid": 0}, {"psk_key": "00", "provision": {"type": "leshan"}}]}));
    let fields: Vec<&str> = found.iter().map(|text| text.split(": ").next().unwrap()).collect();
    assert_eq!(fields, ["servers[1].ssid", "servers[2].provision.url", "servers[2].psk_key"]);
}

#[test]
fn servers_are_names_or_accounts() {
    for (server, words) in [
        (json!("a b"), "is no name of an account"),
        (json!(""), "is no name of an account"),
        (json!(7), "is a number, not the name of an account or an account"),
    ] {
        entry_refused(&json!({ "servers": [server] }), "servers[0]", words);
    }
    entry_refused(&json!({"servers": ["a", "b", "a"]}), "servers[2]", "stands there twice");
    entry_refused(&json!({"servers": "a"}), "servers", "is a text, not a list");
    let many: Vec<Json> = (0..33).map(|index| json!(format!("s{index}"))).collect();
    entry_refused(&json!({ "servers": many }), "servers", "has 33 items, more than 32");
}

#[test]
fn writes_take_paths_by_number_or_name_and_whole_instances() {
    let read = entry(&json!({"writes": {
        "/device/0/timezone": "Europe/Oslo",
        "/5/1": {"package_uri": "coap://a.example/fw", "3": 2},
        "/33000/7/1": {"0": "a", "1": "b"},
        "/33000/7/2/5": 4,
    }}));
    let expected = [
        (path("/3/0/15"), json!("Europe/Oslo")),
        (path("/5/1"), json!({"1": "coap://a.example/fw", "3": 2})),
        (path("/33000/7/1"), json!({"0": "a", "1": "b"})),
        (path("/33000/7/2/5"), json!(4)),
    ];
    assert_eq!(read.writes, expected);
}

#[test]
fn wrong_writes_are_refused_where_they_stand() {
    for (text, value, field, words) in [
        ("/3", json!({"0": 1}), "writes./3", "is no path of an instance, a resource or a resource instance"),
        ("/", json!({}), "writes./", "is no path of an instance"),
        ("3/0/1", json!(1), "writes.3/0/1", "is no path: a path begins with '/'"),
        ("/3/0/99999", json!(1), "writes./3/0/99999", "is no path"),
        ("/devise/0/timezone", json!(1), "writes./devise/0/timezone", "device"),
        ("/3/0", json!(1), "writes./3/0", "is a number; the value of an instance is an object"),
        ("/3/0", json!({}), "writes./3/0", "has no resource"),
        ("/3/0", json!({"timezon": 1}), "writes./3/0.timezon", "timezone"),
        ("/3/0", json!({"15/0": 1}), "writes./3/0.15/0", "is no resource"),
        ("/3/0", json!({"15": null}), "writes./3/0.15", "is null"),
        ("/3/0/15", json!(null), "writes./3/0/15", "is null"),
        ("/3/0/15", json!([1]), "writes./3/0/15", "is a list"),
        ("/3/0/15", json!({"a": 1}), "writes./3/0/15", "keys are no numbers of resource instances"),
        ("/3/0/15", json!({"65535": 1}), "writes./3/0/15", "keys are no numbers of resource instances"),
        ("/3/0/15", json!({"0": [1]}), "writes./3/0/15", "values are not all texts, numbers or booleans"),
        ("/3/0/15/0", json!({"0": 1}), "writes./3/0/15/0", "is an object; a resource instance has one value"),
        ("/21/0/1", json!({"secret": true}), "writes./21/0/1", "give the secret anew"),
        ("/21/0", json!({"secret": true}), "writes./21/0", "give the secret anew"),
    ] {
        entry_refused(&json!({"writes": {text: value}}), field, words);
    }
    entry_refused(&json!({"writes": {"/3/0/15": 1, "/device/0/15": 2}}), "writes./device/0/15", "is given twice");
    entry_refused(
        &json!({"writes": {"/3/0/15": {"0": 1}, "/3/0/15/1": 2}}),
        "writes",
        "has values for /3/0/15 and for /3/0/15/1, which is a part of it",
    );
    entry_refused(&json!({"writes": []}), "writes", "is a list, not an object of values by path");
    let many: serde_json::Map<String, Json> = (0..1_025).map(|index| (format!("/33000/{index}/1"), json!(1))).collect();
    entry_refused(&json!({ "writes": many }), "writes", "has more than 1024 values");
}

#[test]
fn deletes_are_instances_objects_or_everything() {
    let read = entry(&json!({"deletes": ["/", "/0", "/device/0"]}));
    assert_eq!(read.deletes, Some(vec![Path::ROOT, path("/0"), path("/3/0")]));
    assert_eq!(entry(&json!({"deletes": []})).deletes, Some(vec![]));
    entry_refused(&json!({"deletes": ["/3/0/1"]}), "deletes[0]", "is a resource");
    entry_refused(&json!({"deletes": ["/0", "/0"]}), "deletes[1]", "stands there twice");
    entry_refused(&json!({"deletes": [0]}), "deletes[0]", "is a number, not a path");
    entry_refused(&json!({"deletes": ["everything"]}), "deletes[0]", "is no path");
    entry_refused(&json!({"deletes": "/"}), "deletes", "is a text, not a list");
}

#[test]
fn access_control_has_its_ranges() {
    let read = entry(&json!({"acls": [{"object": 3, "instance": 65_535}]}));
    let control = &read.access_control[0];
    assert_eq!((control.instance, control.owner, control.rights.len()), (65_535, 65_535, 0));
    let of = |acl: Json| json!({"acls": [{"object": 3, "instance": 1}, acl]});
    for (acl, field, words) in [
        (json!({"instance": 0}), "acls[1].object", "is missing: 1 to 65534"),
        (json!({"object": 3}), "acls[1].instance", "is missing: 0 to 65535"),
        (json!({"object": 0, "instance": 0}), "acls[1].object", "is 0, not an integer from 1 to 65534"),
        (json!({"object": 3, "instance": 65_536}), "acls[1].instance", "is 65536"),
        (json!({"object": 3, "instance": 1}), "acls[1].instance", "stands for the same instance as in acls[0]"),
        (json!({"object": 3, "instance": 0, "owner": 65_536}), "acls[1].owner", "is 65536"),
        (json!({"object": 3, "instance": 0, "acl": {"70000": 1}}), "acls[1].acl.70000", "is no short server id"),
        (json!({"object": 3, "instance": 0, "acl": {"65535": 1}}), "acls[1].acl.65535", "is no short server id"),
        (json!({"object": 3, "instance": 0, "acl": {"01": 1}}), "acls[1].acl.01", "is no short server id"),
        (json!({"object": 3, "instance": 0, "acl": {"1": 32}}), "acls[1].acl.1", "is no sum from 0 to 31"),
        (json!({"object": 3, "instance": 0, "acl": {"1": "r"}}), "acls[1].acl.1", "is no sum from 0 to 31"),
        (json!({"object": 3, "instance": 0, "acl": [1]}), "acls[1].acl", "is a list, not an object of rights"),
        (
            json!({"object": 3, "instance": 0, "rights": {}}),
            "acls[1].rights",
            "is no field of an access control instance",
        ),
        (json!(3), "acls[1]", "an access control instance is a JSON object, not a number"),
    ] {
        entry_refused(&of(acl), field, words);
    }
}

#[test]
fn formats_are_those_that_carry_instances() {
    for (name, number) in FORMATS {
        assert_eq!(entry(&json!({ "format": name })).format, Some(number));
        assert_eq!(entry(&json!({ "format": number })).format, Some(number));
        assert_eq!(entry(&json!({ "format": number.to_string() })).format, Some(number));
    }
    for format in [json!("text"), json!(0), json!("cbor"), json!(-1), json!(true)] {
        entry_refused(&json!({ "format": format }), "format", "tlv, senml-json, senml-cbor, lwm2m-cbor, json");
    }
    entry_refused(&json!({"format": "senml_json"}), "format", "did you mean senml-json?");
}

#[test]
fn order_and_the_rest_are_checked() {
    assert_eq!(entry(&json!({"order": [1, 0, "device"]})).order, [1, 0, 3]);
    entry_refused(&json!({"order": [1, 1]}), "order[1]", "stands there twice");
    entry_refused(&json!({"order": [65_535]}), "order[0]", "is no object");
    entry_refused(&json!({"order": ["no such object"]}), "order[0]", "is no object");
    entry_refused(&json!({"write_by": "instances"}), "write_by", "did you mean instance?");
    entry_refused(&json!({"verify": 1}), "verify", "is a number, not true or false");
    entry_refused(&json!({"server": []}), "server", "is no field of a device entry; did you mean servers?");
    entry_refused(&json!("a"), "", "a device entry is a JSON object, not a text");
}
