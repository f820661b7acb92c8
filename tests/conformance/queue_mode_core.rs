//! Queue mode, presence and the order of commands (Core TS 1.2.2 section 6.5), by datagrams against the whole core.

use std::time::Duration;

use lwm2mqtt::protocol::coap::message::{Code, Message};
use serde_json::{Value as Json, json};

use super::gateway::{GOOD_QUERY, Gateway, answer, peer, registration, request, target};

const SLEEPY: &str = "ep=dev&lt=3000&lwm2m=1.1&b=U&Q";

/// A device in queue mode whose awake window has passed.
fn asleep() -> (Gateway, String) {
    let mut gateway = Gateway::new();
    let location = gateway.register(peer(1), SLEEPY, "</1/0>,</3/0>");
    gateway.pass(Duration::from_secs(94));
    assert_eq!(gateway.bodies("dev/state").last().unwrap()["state"], "asleep");
    (gateway, location)
}

fn command(gateway: &mut Gateway, body: &Json) {
    gateway.downlink("dev/command", body);
}

fn write(id: &str, value: i32) -> Json {
    json!({"id": id, "operation": "write", "path": "/3/0/15", "value": value.to_string()})
}

fn wake(gateway: &mut Gateway, location: &str, id: u16) {
    assert_eq!(gateway.ask(peer(1), &request(Code::POST, id, &format!("rd/{location}"))).code, Code::CHANGED);
}

#[test]
fn the_latest_write_of_a_path_takes_the_place_of_those_that_wait() {
    let (mut gateway, location) = asleep();
    for (id, value) in [("a", 1), ("b", 2), ("c", 3)] {
        command(&mut gateway, &write(id, value));
    }
    for (older, newer) in [("a", "b"), ("b", "c")] {
        let result = gateway.result("dev", older).unwrap();
        assert_eq!((&result["status"], &result["replaced_by"]), (&json!("cancelled"), &json!(newer)), "{result}");
    }
    wake(&mut gateway, &location, 700);
    let sent = gateway.next_sent().unwrap();
    assert_eq!(sent.payload, b"3");
    gateway.receive(peer(1), &answer(&sent, Code::CHANGED));
    assert_eq!(gateway.next_sent(), None);
    assert_eq!(gateway.result("dev", "c").unwrap()["status"], "done");
}

#[test]
fn a_write_that_another_command_waits_to_see_is_kept() {
    let (mut gateway, location) = asleep();
    command(&mut gateway, &write("a", 1));
    command(&mut gateway, &json!({"id": "r", "operation": "read", "path": "/3/0/15"}));
    command(&mut gateway, &write("b", 2));
    wake(&mut gateway, &location, 700);
    let mut sent = Vec::new();
    while let Some(request) = gateway.next_sent() {
        sent.push((request.code, request.payload.clone()));
        gateway.receive(peer(1), &answer(&request, Code::CHANGED));
    }
    assert_eq!(sent, [(Code::PUT, b"1".to_vec()), (Code::GET, Vec::new()), (Code::PUT, b"2".to_vec())]);
}

#[test]
fn writes_to_a_device_that_listens_are_all_sent() {
    let mut gateway = Gateway::new();
    gateway.register(peer(1), GOOD_QUERY, "</3/0>");
    command(&mut gateway, &write("a", 1));
    command(&mut gateway, &write("b", 2));
    command(&mut gateway, &write("c", 3));
    let mut payloads = Vec::new();
    while let Some(request) = gateway.next_sent() {
        payloads.push(request.payload.clone());
        gateway.receive(peer(1), &answer(&request, Code::CHANGED));
    }
    assert_eq!(payloads, [b"1", b"2", b"3"]);
}

#[test]
fn a_try_into_the_sleep_goes_once_and_then_waits_like_any_other() {
    let (mut gateway, location) = asleep();
    command(&mut gateway, &json!({"id": "t", "operation": "read", "path": "/3/0/15", "when_asleep": "try"}));
    let first = gateway.next_sent().expect("it is sent at once");
    gateway.pass(Duration::from_secs(600));
    let mut repeated = 0;
    while let Some(again) = gateway.next_sent() {
        assert_eq!(again.id, first.id, "a retransmission, no new request");
        repeated += 1;
    }
    assert_eq!(repeated, 4);
    assert_eq!(gateway.result("dev", "t").unwrap()["status"], "queued");
    wake(&mut gateway, &location, 700);
    assert_eq!(target(&gateway.next_sent().unwrap()), "/3/0/15");
}

#[test]
fn a_command_that_must_not_wait_fails_at_a_sleeping_device() {
    let (mut gateway, _) = asleep();
    command(&mut gateway, &json!({"id": "f", "operation": "read", "path": "/3/0/15", "when_asleep": "fail"}));
    assert_eq!(gateway.result("dev", "f").unwrap()["error"]["kind"], "asleep");
}

#[test]
fn a_write_that_fails_at_once_takes_no_place_of_one_that_waits() {
    let (mut gateway, location) = asleep();
    command(&mut gateway, &write("a", 1));
    let mut impatient = write("b", 2);
    impatient["when_asleep"] = "fail".into();
    command(&mut gateway, &impatient);
    assert_eq!(gateway.result("dev", "b").unwrap()["error"]["kind"], "asleep");
    assert_eq!(gateway.result("dev", "a").unwrap()["status"], "queued");
    wake(&mut gateway, &location, 700);
    assert_eq!(gateway.next_sent().unwrap().payload, b"1");
}

#[test]
fn nothing_leaves_before_its_time_and_priority_decides_among_the_rest() {
    let (mut gateway, location) = asleep();
    let now = 94_000;
    let later = lwm2mqtt::simulator::world::WORLD_BEGINS.millis() + now + 60_000;
    command(&mut gateway, &json!({"id": "l", "operation": "read", "path": "/3/0/1", "not_before": later}));
    command(&mut gateway, &json!({"id": "p", "operation": "read", "path": "/3/0/2"}));
    command(&mut gateway, &json!({"id": "h", "operation": "read", "path": "/3/0/3", "priority": 5}));
    wake(&mut gateway, &location, 700);
    for expected in ["/3/0/3", "/3/0/2"] {
        let request = gateway.next_sent().unwrap();
        assert_eq!(target(&request), expected);
        gateway.receive(peer(1), &answer(&request, Code::NOT_FOUND));
    }
    assert_eq!(gateway.next_sent(), None);
    gateway.pass(Duration::from_secs(61));
    assert_eq!(target(&gateway.next_sent().unwrap()), "/3/0/1");
}

#[test]
fn update_triggers_are_fifteen_seconds_apart_and_hold_nothing_else_up() {
    let mut gateway = Gateway::new();
    gateway.register(peer(1), "ep=dev&lt=3000&lwm2m=1.1&b=U", "</1/0>,</3/0>");
    for id in ["1", "2"] {
        command(&mut gateway, &json!({"id": id, "operation": "execute", "path": "/1/0/8"}));
    }
    command(&mut gateway, &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    let first = gateway.next_sent().unwrap();
    assert_eq!(target(&first), "/1/0/8");
    gateway.receive(peer(1), &answer(&first, Code::CHANGED));
    let read = gateway.next_sent().unwrap();
    assert_eq!(target(&read), "/3/0/0");
    gateway.receive(peer(1), &answer(&read, Code::NOT_FOUND));
    assert_eq!(gateway.next_sent(), None);
    gateway.pass(Duration::from_millis(14_900));
    assert_eq!(gateway.next_sent(), None);
    gateway.pass(Duration::from_millis(200));
    assert_eq!(target(&gateway.next_sent().unwrap()), "/1/0/8");
}

#[test]
fn a_disabled_device_is_offline_for_that_reason_with_the_time_of_its_return() {
    let mut gateway = Gateway::new();
    let location = gateway.register(peer(1), "ep=dev&lt=3000&lwm2m=1.1&b=U", "</1/0>");
    command(&mut gateway, &json!({"id": "w", "operation": "write", "path": "/1/0/5", "value": 600}));
    let write = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &answer(&write, Code::CHANGED));
    command(&mut gateway, &json!({"id": "x", "operation": "execute", "path": "/1/0/4"}));
    let execute = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &answer(&execute, Code::CHANGED));
    let goodbye = request(Code::DELETE, 701, &format!("rd/{location}"));
    assert_eq!(gateway.ask(peer(1), &goodbye).code, Code::DELETED);
    let state = (*gateway.bodies("dev/state").last().unwrap()).clone();
    assert_eq!((&state["state"], &state["reason"]), (&json!("offline"), &json!("disabled")), "{state}");
    let expected = lwm2mqtt::simulator::world::WORLD_BEGINS.millis() + 600_000;
    assert_eq!(state["expected_at"], expected);
    // A command waits for its return.
    command(&mut gateway, &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    assert_eq!(gateway.result("dev", "r").unwrap()["status"], "queued");
    gateway.pass(Duration::from_secs(600));
    let mut back = registration(GOOD_QUERY, "</1/0>,</3/0>");
    back.id = 702;
    assert_eq!(gateway.ask(peer(1), &back).code, Code::CREATED);
    assert_eq!(target(&gateway.next_sent().unwrap()), "/3/0/0");
    let state = (*gateway.bodies("dev/state").last().unwrap()).clone();
    assert_eq!((&state["state"], &state["expected_at"]), (&json!("online"), &Json::Null), "{state}");
}

#[test]
fn bindings_of_sms_alone_wait_for_the_next_uplink_and_sms_beside_udp_does_not() {
    for (binding, version, sleeps) in
        [("S", "1.1", true), ("SQ", "1.0", true), ("UQS", "1.0", true), ("US", "1.0", false)]
    {
        let mut gateway = Gateway::new();
        let query = format!("ep=dev&lt=3000&lwm2m={version}&b={binding}");
        let location = gateway.register(peer(1), &query, "</3/0>");
        gateway.pass(Duration::from_secs(94));
        command(&mut gateway, &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
        let sent = gateway.next_sent();
        assert_eq!(sent.is_none(), sleeps, "{binding}");
        if sleeps {
            wake(&mut gateway, &location, 700);
            assert_eq!(gateway.next_sent().map(|request: Message| target(&request)).as_deref(), Some("/3/0/0"));
        }
    }
}

#[test]
fn settings_of_one_device_stand_over_those_of_all() {
    let mut gateway = Gateway::new();
    gateway.register(peer(1), GOOD_QUERY, "</3/0>");
    let options = |settings: Json| json!({"id": "o", "device": "dev", "settings": settings});
    gateway.downlink(
        "bridge/request/device/options",
        &options(json!({"queue_mode": "force", "awake_window": "10s", "write_format": "tlv"})),
    );
    let answered = (*gateway.bodies("bridge/response/device/options").last().unwrap()).clone();
    assert_eq!(answered["data"]["settings"]["awake_window"], "10s", "{answered}");
    command(&mut gateway, &json!({"id": "t", "operation": "read", "path": "/3/0/0"}));
    let read = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &answer(&read, Code::NOT_FOUND));
    gateway.pass(Duration::from_secs(11));
    assert_eq!(gateway.bodies("dev/state").last().unwrap()["state"], "asleep");
    command(&mut gateway, &write("w", 1));
    assert_eq!(gateway.result("dev", "w").unwrap()["status"], "queued");
    gateway.downlink("bridge/request/device/options", &options(Json::Null));
    let sent = gateway.next_sent();
    assert_eq!(sent, None, "whether it listens is known when it is heard");
    gateway.downlink("bridge/request/device/options", &options(json!({"speed": 1})));
    let refused = (*gateway.bodies("bridge/response/device/options").last().unwrap()).clone();
    assert_eq!(refused["error"]["kind"], "invalid", "{refused}");
}
