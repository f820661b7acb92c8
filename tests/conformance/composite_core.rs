//! Composite operations of the server (Core TS 1.2.2 sections 6.3.9, 6.3.10 and 6.4.4), by datagrams against the whole
//! core.

use std::time::Duration;

use lwm2mqtt::model::object::NoTypes;
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::protocol::coap::message::{Code, Message};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use lwm2mqtt::protocol::content::{self, ContentFormat};
use serde_json::json;

use super::gateway::{GOOD_QUERY, Gateway, answer, peer, registration, target};

/// Temperature and battery are observed as one.
const AUTO: &str = "version = 1\n[defaults]\nobserve_strategy = \"auto\"\n\
                    [[telemetry]]\npath = \"/3303/*/5700\"\nkey = \"t\"\n[[telemetry]]\npath = \"/3/0/9\"\nkey = \"battery\"\n";

const OBJECTS: &str = "</3/0>,</3303/0>";

fn command(gateway: &mut Gateway, body: &serde_json::Value) {
    gateway.downlink("dev/command", body);
}

/// The paths that a FETCH names.
fn paths_of(request: &Message) -> Vec<String> {
    let format = ContentFormat(request.content_format().unwrap());
    let paths = content::decode_paths(format, &request.payload, "").unwrap();
    paths.iter().map(ToString::to_string).collect()
}

fn pack(values: &[(Path, Value)]) -> Vec<u8> {
    content::encode(ContentFormat::SENML_CBOR, Path::ROOT, values, &NoTypes).unwrap()
}

/// An answer to a FETCH with a temperature and a battery level.
fn with_values(request: &Message, temperature: f64, observe: Option<u32>) -> Message {
    let mut message = answer(request, Code::CONTENT);
    if let Some(sequence) = observe {
        message.push_uint(OptionNumber::OBSERVE, sequence);
    }
    message.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(ContentFormat::SENML_CBOR.0));
    message.payload = pack(&[
        (Path::resource(3, 0, 9), Value::Integer(80)),
        (Path::resource(3303, 0, 5700), Value::Float(temperature)),
    ]);
    message
}

/// Registers and lets the device take attributes for both paths; the Observe-Composite.
fn register_for_composite(gateway: &mut Gateway) -> Message {
    gateway.register(peer(1), GOOD_QUERY, OBJECTS);
    for path in ["/3/0/9", "/3303/0/5700"] {
        let attributes = gateway.next_sent().expect("Write-Attributes");
        assert_eq!((attributes.code, target(&attributes).as_str()), (Code::PUT, path));
        gateway.receive(peer(1), &answer(&attributes, Code::CHANGED));
    }
    let observe = gateway.next_sent().expect("an Observe-Composite");
    assert_eq!((observe.code, observe.observe()), (Code::FETCH, Some(0)));
    observe
}

#[test]
fn core_6_3_9_read_composite_names_its_paths_and_tells_all_values() {
    let mut gateway = Gateway::new();
    gateway.register(peer(1), GOOD_QUERY, OBJECTS);
    command(&mut gateway, &json!({"id": "r", "operation": "read_composite", "paths": ["/3303/0/5700", "/3/0/9"]}));
    let request = gateway.next_sent().unwrap();
    assert_eq!((request.code, request.uri_path().len(), request.observe()), (Code::FETCH, 0, None));
    assert_eq!(request.content_format(), Some(ContentFormat::SENML_CBOR.0));
    assert_eq!(request.uint(OptionNumber::ACCEPT), Some(u32::from(ContentFormat::SENML_CBOR.0)));
    assert_eq!(paths_of(&request), ["/3/0/9", "/3303/0/5700"]);
    gateway.receive(peer(1), &with_values(&request, 21.5, None));
    let result = gateway.result("dev", "r").unwrap();
    assert_eq!(result["values"], json!({"/3/0/9": 80, "/3303/0/5700": 21.5}), "{result}");
}

#[test]
fn core_6_3_9_a_path_that_nobody_asked_for_is_a_bad_answer_and_the_next_command_goes_on() {
    let mut gateway = Gateway::new();
    gateway.register(peer(1), GOOD_QUERY, OBJECTS);
    command(&mut gateway, &json!({"id": "r", "operation": "read_composite", "paths": ["/3/0/9"]}));
    command(&mut gateway, &json!({"id": "next", "operation": "read", "path": "/3/0/9"}));
    let request = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &with_values(&request, 1.0, None));
    let result = gateway.result("dev", "r").unwrap();
    assert_eq!((&result["status"], &result["error"]["kind"]), (&json!("failed"), &json!("bad_answer")), "{result}");
    assert_eq!(result["code"], "2.05");
    assert_eq!(target(&gateway.next_sent().unwrap()), "/3/0/9");
}

#[test]
fn core_6_3_10_write_composite_is_one_patch_and_null_deletes_a_resource_instance() {
    let mut gateway = Gateway::new();
    gateway.register(peer(1), "ep=dev&lt=300&lwm2m=1.2&b=U", OBJECTS);
    let values = json!({"/1/0/1": 60, "/16/0/0": {"0": "a", "1": null}});
    command(&mut gateway, &json!({"id": "w", "operation": "write_composite", "values": values}));
    let request = gateway.next_sent().unwrap();
    assert_eq!((request.code, request.uri_path().len()), (Code::IPATCH, 0));
    assert_eq!(request.content_format(), Some(ContentFormat::SENML_ETCH_CBOR.0), "only a patch has null");
    let context = content::DecodeContext {
        base: Path::ROOT,
        root: "",
        types: &NoTypes,
        received: lwm2mqtt::model::time::WallTime::default(),
    };
    let changes = content::decode_changes(ContentFormat::SENML_ETCH_CBOR, &request.payload, &context).unwrap().changes;
    assert_eq!(
        changes,
        [
            (Path::resource(1, 0, 1), Some(Value::Integer(60))),
            (Path::resource_instance(16, 0, 0, 0), Some(Value::String("a".into()))),
            (Path::resource_instance(16, 0, 0, 1), None),
        ]
    );
    gateway.receive(peer(1), &answer(&request, Code::CHANGED));
    assert_eq!(gateway.result("dev", "w").unwrap()["status"], "done");
}

#[test]
fn core_7_4_a_refused_pack_is_sent_once_in_the_other_spelling_which_is_remembered() {
    let mut gateway = Gateway::new();
    gateway.register(peer(1), GOOD_QUERY, OBJECTS);
    command(&mut gateway, &json!({"id": "1", "operation": "write_composite", "values": {"/1/0/1": 60}}));
    let first = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &answer(&first, Code::UNSUPPORTED_CONTENT_FORMAT));
    let second = gateway.next_sent().unwrap();
    assert_eq!(second.content_format(), Some(ContentFormat::SENML_JSON.0));
    gateway.receive(peer(1), &answer(&second, Code::CHANGED));
    assert_eq!(gateway.result("dev", "1").unwrap()["status"], "done");
    command(&mut gateway, &json!({"id": "2", "operation": "write_composite", "values": {"/1/0/1": 61}}));
    assert_eq!(gateway.next_sent().unwrap().content_format(), Some(ContentFormat::SENML_JSON.0));
}

#[test]
fn a_format_that_the_command_names_is_not_replaced_by_another() {
    let mut gateway = Gateway::new();
    gateway.register(peer(1), GOOD_QUERY, OBJECTS);
    let write = json!({"id": "1", "operation": "write", "path": "/3/0/15", "value": "CET", "format": "tlv"});
    command(&mut gateway, &write);
    let request = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &answer(&request, Code::UNSUPPORTED_CONTENT_FORMAT));
    assert_eq!(gateway.result("dev", "1").unwrap()["code"], "4.15");
    assert_eq!(gateway.next_sent(), None);
}

#[test]
fn core_6_4_4_paths_whose_attributes_agree_are_observed_as_one() {
    let mut gateway = Gateway::with(AUTO, |_| {});
    let observe = register_for_composite(&mut gateway);
    assert_eq!(paths_of(&observe), ["/3/0/9", "/3303/0/5700"]);
    gateway.receive(peer(1), &with_values(&observe, 20.0, Some(1)));
    let mut notification = with_values(&observe, 21.0, Some(2));
    notification.message_type = lwm2mqtt::protocol::coap::message::MessageType::Confirmable;
    notification.id = 900;
    gateway.receive(peer(1), &notification);
    assert_eq!(gateway.next_sent(), Some(Message::acknowledgement(900)));
    assert_eq!(gateway.values("dev", "t"), [20.0, 21.0]);
    assert_eq!(gateway.values("dev", "battery"), [80.0, 80.0]);
}

#[test]
fn a_refused_composite_observation_is_made_path_by_path_for_good() {
    let mut gateway = Gateway::with(AUTO, |_| {});
    let observe = register_for_composite(&mut gateway);
    gateway.receive(peer(1), &answer(&observe, Code::METHOD_NOT_ALLOWED));
    for path in ["/3/0/9", "/3303/0/5700"] {
        let observe = gateway.next_observe(peer(1));
        assert_eq!(target(&observe), path);
        gateway.receive(peer(1), &super::gateway::observed(&observe, 1, "7"));
    }
    let mut again = registration(GOOD_QUERY, OBJECTS);
    again.id = 999;
    assert_eq!(gateway.ask(peer(1), &again).code, Code::CREATED);
    assert_eq!(target(&gateway.next_observe(peer(1))), "/3/0/9", "remembered over a new Register");
}

#[test]
fn a_composite_observation_acknowledged_and_never_answered_is_made_path_by_path() {
    let mut gateway = Gateway::with(AUTO, |_| {});
    let observe = register_for_composite(&mut gateway);
    gateway.receive(peer(1), &Message::acknowledgement(observe.id));
    gateway.pass(Duration::from_secs(94));
    assert_eq!(target(&gateway.next_observe(peer(1))), "/3/0/9");
}

#[test]
fn an_observation_of_a_command_ends_both_ways() {
    for passive in [false, true] {
        let mut gateway = Gateway::new();
        gateway.register(peer(1), GOOD_QUERY, OBJECTS);
        let paths = json!(["/3/0/9", "/3303/0/5700"]);
        command(&mut gateway, &json!({"id": "o", "operation": "observe_composite", "paths": paths}));
        let observe = gateway.next_sent().unwrap();
        assert_eq!(observe.observe(), Some(0));
        gateway.receive(peer(1), &with_values(&observe, 20.0, Some(1)));
        assert_eq!(gateway.result("dev", "o").unwrap()["status"], "done");
        command(
            &mut gateway,
            &json!({"id": "c", "operation": "cancel_observe_composite", "paths": paths, "passive": passive}),
        );
        if !passive {
            let cancel = gateway.next_sent().unwrap();
            assert_eq!((cancel.code, cancel.observe(), cancel.token), (Code::FETCH, Some(1), observe.token));
            assert_eq!(paths_of(&cancel), paths_of(&observe));
            gateway.receive(peer(1), &with_values(&cancel, 20.0, None));
        }
        assert_eq!(gateway.result("dev", "c").unwrap()["status"], "done");
        let mut late = with_values(&observe, 21.0, Some(2));
        (late.message_type, late.id) = (lwm2mqtt::protocol::coap::message::MessageType::Confirmable, 901);
        gateway.receive(peer(1), &late);
        assert_eq!(gateway.next_sent(), Some(Message::reset(901)));
    }
}

#[test]
fn operations_beyond_the_version_of_the_device_are_not_sent() {
    let mut gateway = Gateway::new();
    gateway.register(peer(1), "ep=dev&lt=300&lwm2m=1.0&b=U", OBJECTS);
    for (id, body) in [
        ("1", json!({"id": "1", "operation": "read_composite", "paths": ["/3"]})),
        ("2", json!({"id": "2", "operation": "write_composite", "values": {"/1/0/1": 60}})),
        ("3", json!({"id": "3", "operation": "bootstrap"})),
        ("4", json!({"id": "4", "operation": "observe", "path": "/3/0/9", "attributes": {"pmin": 5}})),
    ] {
        command(&mut gateway, &body);
        let result = gateway.result("dev", id).unwrap();
        assert_eq!(result["error"]["kind"], "not_supported", "{result}");
        assert_eq!(gateway.next_sent(), None);
    }
}

#[test]
fn core_5_1_2_attributes_of_one_observation_and_the_depth_of_discover_are_arguments_since_1_2() {
    let mut gateway = Gateway::new();
    gateway.register(peer(1), "ep=dev&lt=300&lwm2m=1.2&b=U", OBJECTS);
    let observe = json!({"id": "o", "operation": "observe", "path": "/3/0/7", "attributes": {"pmin": 5, "pmax": 15}});
    command(&mut gateway, &observe);
    let request = gateway.next_sent().unwrap();
    assert_eq!((request.observe(), request.uri_query().unwrap()), (Some(0), vec!["pmax=15".into(), "pmin=5".into()]));
    gateway.receive(peer(1), &super::gateway::observed(&request, 1, "7"));
    command(&mut gateway, &json!({"id": "d", "operation": "discover", "path": "/3", "depth": 3}));
    assert_eq!(gateway.next_sent().unwrap().uri_query().unwrap(), ["depth=3"]);
    gateway.pass(Duration::from_secs(1));
    command(&mut gateway, &json!({"id": "b", "operation": "bootstrap"}));
}
