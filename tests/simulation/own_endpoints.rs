//! Endpoints of the mapping (`[[http]]`): a request over HTTP reaches the device and comes back, or is answered with
//! the last known value.

use std::time::Duration;

use lwm2mqtt::gateway::configuration::Role;
use lwm2mqtt::gateway::vocabulary::{Answer, CommandProgress, Query};
use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::model::command::{ErrorKind, Outcome};
use lwm2mqtt::protocol::coap::message::{Code, Message};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use serde_json::{Value as Json, json};

use crate::conformance::gateway::{GOOD_QUERY, Gateway, answer, peer, request, target, text_answer};

const PLANT: &str = r#"
version = 1

[[telemetry]]
path = "/3308/*/5900"
key = "setpoint_{instance}"
scale = 10
observe = false

[[http]]
route = "/plant/{device}/setpoint"
path = "/3308/0/5900"
methods = ["GET", "PUT"]
cached = "30s"

[[http]]
route = "/plant/{device}/setpoint/{instance}"
path = "/3308/*/5900"
cached = "30s"

[[http]]
route = "/plant/{device}/reboot"
path = "/3/0/4"
methods = ["POST"]
role = "admin"
"#;

fn plant() -> Gateway {
    let mut gateway = Gateway::with(PLANT, |_| {});
    gateway.register(peer(1), GOOD_QUERY, "</3/0>,</3308/0>,</3308/1>");
    gateway
}

fn own(method: &str, path: &str, body: Json, role: Role) -> Query {
    Query::Own { method: method.to_owned(), path: path.to_owned(), body, role }
}

fn get(gateway: &mut Gateway, path: &str) -> Vec<Answer> {
    gateway.answers_to(own("GET", path, Json::Null, Role::Viewer))
}

fn failure(answers: &[Answer]) -> ErrorKind {
    match answers {
        [Answer::Failed(error)] => error.kind,
        other => panic!("{other:?}"),
    }
}

fn value_of(answers: &[Answer]) -> Json {
    match answers.last() {
        Some(Answer::Command(CommandProgress::Result(result))) => match &result.outcome {
            Outcome::Done { answer, .. } => answer["value"].clone(),
            other => panic!("{other:?}"),
        },
        Some(Answer::Body(body)) => body["value"].clone(),
        other => panic!("{other:?}"),
    }
}

/// A Send of set points: instance and value.
fn send(id: u16, records: &Json) -> Message {
    let mut message = request(Code::POST, id, "dp");
    message.push_uint(OptionNumber::CONTENT_FORMAT, 110);
    message.payload = records.to_string().into_bytes();
    message
}

#[test]
fn a_get_reads_the_device_and_a_second_one_is_answered_from_memory_while_it_is_young() {
    let mut gateway = plant();
    assert!(matches!(
        get(&mut gateway, "/plant/dev/setpoint")[..],
        [Answer::Command(CommandProgress::Accepted { .. })]
    ));
    let read = gateway.next_sent().unwrap();
    assert_eq!((read.code, target(&read).as_str()), (Code::GET, "/3308/0/5900"));
    gateway.receive(peer(1), &text_answer(&read, "21.5"));
    assert_eq!(value_of(&gateway.take_answers()), json!(21.5), "as the device has it, whatever the mapping scales");

    gateway.pass(Duration::from_secs(29));
    let cached = get(&mut gateway, "/plant/dev/setpoint");
    let [Answer::Body(body)] = &cached[..] else { panic!("{cached:?}") };
    assert_eq!(
        (&body["value"], &body["age_ms"], &body["path"]),
        (&json!(21.5), &json!(29_000), &json!("/3308/0/5900"))
    );
    assert_eq!(gateway.next_sent(), None);

    gateway.pass(Duration::from_secs(1));
    get(&mut gateway, "/plant/dev/setpoint");
    assert!(gateway.next_sent().is_some(), "30 s old is too old");
}

#[test]
fn a_put_writes_and_the_value_before_it_is_forgotten() {
    let mut gateway = plant();
    gateway.ask(peer(1), &send(2, &json!([{"n": "/3308/0/5900", "v": 20}])));
    assert_eq!(value_of(&get(&mut gateway, "/plant/dev/setpoint")), json!(20.0));
    let asked = own("PUT", "/plant/dev/setpoint", json!({"value": 22}), Role::Operator);
    gateway.answers_to(asked);
    let write = gateway.next_sent().unwrap();
    assert_eq!(
        (write.code, target(&write).as_str(), write.payload.as_slice()),
        (Code::PUT, "/3308/0/5900", &b"22"[..])
    );
    gateway.receive(peer(1), &answer(&write, Code::CHANGED));
    get(&mut gateway, "/plant/dev/setpoint");
    assert_eq!(gateway.next_sent().unwrap().code, Code::GET, "asked anew");
}

#[test]
fn a_late_value_is_as_old_as_the_device_says() {
    let mut gateway = plant();
    gateway.pass(Duration::from_secs(10));
    // 40 s before now, which is longer ago than this gateway runs.
    gateway.ask(peer(1), &send(2, &json!([{"n": "/3308/0/5900", "v": 20, "t": -40}])));
    get(&mut gateway, "/plant/dev/setpoint");
    assert!(gateway.next_sent().is_some());
}

#[test]
fn a_placeholder_is_the_instance() {
    let mut gateway = plant();
    get(&mut gateway, "/plant/dev/setpoint/1");
    assert_eq!(target(&gateway.next_sent().unwrap()), "/3308/1/5900");
}

#[test]
fn roles_methods_devices_and_bodies_are_checked_before_anything_is_sent() {
    let mut gateway = plant();
    for (method, path, body, role, expected) in [
        ("PUT", "/plant/dev/setpoint", json!({"value": 1}), Role::Viewer, ErrorKind::Forbidden),
        ("POST", "/plant/dev/reboot", Json::Null, Role::Operator, ErrorKind::Forbidden),
        ("GET", "/plant/nobody/setpoint", Json::Null, Role::Admin, ErrorKind::UnknownDevice),
        ("PUT", "/plant/dev/setpoint", Json::Null, Role::Admin, ErrorKind::Invalid),
        ("PUT", "/plant/dev/setpoint", json!(22), Role::Admin, ErrorKind::Invalid),
        ("PUT", "/plant/dev/setpoint", json!({"value": 1, "path": "/3/0/4"}), Role::Admin, ErrorKind::Invalid),
        ("POST", "/plant/dev/reboot", json!({"value": 1}), Role::Admin, ErrorKind::Invalid),
    ] {
        let answers = gateway.answers_to(own(method, path, body.clone(), role));
        assert_eq!(failure(&answers), expected, "{method} {path} {body}");
    }
    assert_eq!(get(&mut gateway, "/plant/dev/nothing"), [Answer::NoEndpoint { allowed: vec![] }]);
    assert_eq!(get(&mut gateway, "/plant/dev/reboot"), [Answer::NoEndpoint { allowed: vec!["POST"] }]);
    assert_eq!(gateway.next_sent(), None);
    gateway.answers_to(own("POST", "/plant/dev/reboot", json!({"arguments": "0='5'"}), Role::Admin));
    let execute = gateway.next_sent().unwrap();
    assert_eq!((execute.code, execute.payload.as_slice()), (Code::POST, &b"0='5'"[..]));
}

#[test]
fn values_beyond_max_last_values_per_device_are_read_from_the_device() {
    let mut gateway = Gateway::with(PLANT, |configuration| configuration.limits.max_last_values_per_device = 1);
    gateway.register(peer(1), GOOD_QUERY, "</3/0>,</3308/0>,</3308/1>");
    let records = json!([{"n": "/3308/0/5900", "v": 20}, {"n": "/3308/1/5900", "v": 21}]);
    gateway.ask(peer(1), &send(2, &records));
    assert_eq!(gateway.count(Occurrence::BoundReached("max_last_values_per_device")), 1);
    assert_eq!(value_of(&get(&mut gateway, "/plant/dev/setpoint")), json!(20.0));
    get(&mut gateway, "/plant/dev/setpoint/1");
    assert_eq!(target(&gateway.next_sent().unwrap()), "/3308/1/5900");
}
