//! End devices behind a gateway device (LwM2M Gateway TS 1.1.1, object 25), by datagrams against the whole core.

use std::time::Duration;

use lwm2mqtt::gateway::vocabulary::Query;
use lwm2mqtt::model::object::NoTypes;
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageType};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use lwm2mqtt::protocol::content::{self, ContentFormat};
use serde_json::json;

use super::gateway::{Gateway, OBSERVE_TEMPERATURES, answer, peer, registration, request, target};
use super::stream::Connection;

const QUERY: &str = "ep=hub&lt=3000&lwm2m=1.1&b=U";

fn senml(mut message: Message, root: &str, values: &[(Path, Value)]) -> Message {
    message.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(ContentFormat::SENML_CBOR.0));
    message.payload =
        content::encode_below_root(ContentFormat::SENML_CBOR, root, Path::ROOT, values, &NoTypes).unwrap();
    message
}

/// What /25 holds: an instance for each prefix, each with a temperature.
fn listing(prefixes: &[&str]) -> Vec<(Path, Value)> {
    let mut values = Vec::new();
    for (instance, prefix) in (0..).zip(prefixes) {
        values.push((Path::resource(25, instance, 0), Value::String(format!("serial-{prefix}"))));
        values.push((Path::resource(25, instance, 1), Value::String((*prefix).to_owned())));
        values.push((Path::resource(25, instance, 3), Value::CoreLink("</3/0>,</3303/0>".to_owned())));
    }
    values
}

/// A registered gateway device that was asked for its end devices; the Observe of /25.
fn registered(mapping: &str) -> (Gateway, Message, String) {
    let mut gateway = Gateway::with(mapping, |_| {});
    let location = gateway.register(peer(1), QUERY, "</3/0>,</25/0>");
    let observe = gateway.next_sent().expect("an Observe of the list");
    assert_eq!((observe.observe(), target(&observe).as_str()), (Some(0), "/25"));
    (gateway, observe, location)
}

fn listed(observe: &Message, sequence: u32, prefixes: &[&str]) -> Message {
    let mut message = answer(observe, Code::CONTENT);
    message.push_uint(OptionNumber::OBSERVE, sequence);
    senml(message, "", &listing(prefixes))
}

fn device(gateway: &mut Gateway, name: &str) -> serde_json::Value {
    gateway.query(Query::Device { device: name.to_owned() })
}

#[test]
fn each_instance_of_object_25_is_a_device_of_its_own_that_is_online_with_its_gateway() {
    let (mut gateway, observe, location) = registered("version = 1\n");
    gateway.receive(peer(1), &listed(&observe, 1, &["d01", "d02"]));
    for prefix in ["d01", "d02"] {
        let about = device(&mut gateway, &format!("hub:{prefix}"));
        assert_eq!(
            (&about["state"], &about["gateway"], &about["prefix"]),
            (&json!("online"), &json!("hub"), &json!(prefix))
        );
        assert_eq!(about["objects"]["3303"]["instances"], json!([0]), "{about}");
    }
    assert_eq!(gateway.ask(peer(1), &request(Code::DELETE, 900, &format!("rd/{location}"))).code, Code::DELETED);
    let about = device(&mut gateway, "hub:d01");
    assert_eq!((&about["state"], &about["reason"]), (&json!("offline"), &json!("deregistered")));
}

#[test]
fn an_end_device_is_read_and_written_behind_its_prefix_also_by_the_path_at_its_gateway() {
    let (mut gateway, observe, _) = registered("version = 1\n");
    gateway.receive(peer(1), &listed(&observe, 1, &["d01"]));
    for (id, device, path) in [("a", "hub:d01", "/3/0/0"), ("b", "hub", "/d01/3/0/0")] {
        gateway.downlink(&format!("{device}/command"), &json!({"id": id, "operation": "read", "path": path}));
        let read = gateway.next_sent().unwrap();
        assert_eq!((read.code, read.uri_path()), (Code::GET, vec!["d01".into(), "3".into(), "0".into(), "0".into()]));
        let value = [(Path::resource(3, 0, 0), Value::String("ACME".into()))];
        gateway.receive(peer(1), &senml(answer(&read, Code::CONTENT), "/d01", &value));
        assert_eq!(gateway.result("hub:d01", id).unwrap()["value"], "ACME", "{id}");
    }
    let write = json!({"id": "w", "operation": "write", "path": "/3303/0", "values": {"5750": "attic"}});
    gateway.downlink("hub:d01/command", &write);
    let sent = gateway.next_sent().unwrap();
    assert_eq!(sent.uri_path().first().map(String::as_str), Some("d01"));
    let text = String::from_utf8_lossy(&sent.payload).into_owned();
    assert!(text.contains("/d01/3303/0/"), "names carry the prefix: {text}");
}

#[test]
fn values_of_end_devices_arrive_by_observation_and_by_send_under_their_own_names() {
    let (mut gateway, observe, _) = registered(OBSERVE_TEMPERATURES);
    gateway.receive(peer(1), &listed(&observe, 1, &["d01", "d02"]));
    let mut tokens = Vec::new();
    for prefix in ["d01", "d02"] {
        let attributes = gateway.next_sent().expect("Write-Attributes");
        assert_eq!(attributes.uri_path()[0], prefix, "one line: one request at a time, in turn");
        assert_eq!(gateway.next_sent(), None);
        gateway.receive(peer(1), &answer(&attributes, Code::CHANGED));
        let sent = gateway.next_sent().unwrap();
        tokens.push((prefix, sent));
        let (_, sent) = tokens.last().unwrap();
        let mut observed = answer(sent, Code::CONTENT);
        observed.push_uint(OptionNumber::OBSERVE, 1);
        let temperature = [(Path::resource(3303, 0, 5700), Value::Float(20.0))];
        let root = format!("/{}", sent.uri_path()[0]);
        gateway.receive(peer(1), &senml(observed, &root, &temperature));
    }
    assert_eq!(gateway.values("hub:d01", "t_0"), [20.0]);
    assert_eq!(gateway.values("hub:d02", "t_0"), [20.0]);
    // One Send speaks for several.
    let mut send = request(Code::POST, 910, "dp");
    send.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(ContentFormat::SENML_JSON.0));
    send.payload = br#"[{"bn":"/d01/3303/0/","n":"5700","v":21},{"bn":"/d02/3303/0/","n":"5700","v":22}]"#.to_vec();
    assert_eq!(gateway.ask(peer(1), &send).code, Code::CHANGED);
    assert_eq!(gateway.values("hub:d01", "t_0"), [20.0, 21.0]);
    assert_eq!(gateway.values("hub:d02", "t_0"), [20.0, 22.0]);
}

#[test]
fn an_instance_that_is_gone_ends_its_device_and_one_that_comes_makes_one() {
    let (mut gateway, observe, _) = registered("version = 1\n");
    gateway.receive(peer(1), &listed(&observe, 1, &["d01"]));
    let mut changed = listed(&observe, 2, &["d02"]);
    (changed.message_type, changed.id) = (MessageType::Confirmable, 920);
    gateway.receive(peer(1), &changed);
    assert_eq!(gateway.next_sent(), Some(Message::acknowledgement(920)));
    let gone = device(&mut gateway, "hub:d01");
    assert_eq!((&gone["state"], &gone["reason"]), (&json!("offline"), &json!("left_gateway")));
    assert_eq!(device(&mut gateway, "hub:d02")["state"], "online");
}

#[test]
fn end_devices_sleep_with_their_gateway_and_their_commands_wait_for_it() {
    let mut gateway = Gateway::new();
    let location = gateway.register(peer(1), "ep=hub&lt=3000&lwm2m=1.1&b=U&Q", "</25/0>");
    let observe = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &listed(&observe, 1, &["d01"]));
    gateway.pass(Duration::from_secs(94));
    assert_eq!(device(&mut gateway, "hub:d01")["state"], "asleep");
    gateway.downlink("hub:d01/command", &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    assert_eq!(gateway.result("hub:d01", "r").unwrap()["status"], "queued");
    assert_eq!(gateway.ask(peer(1), &request(Code::POST, 930, &format!("rd/{location}"))).code, Code::CHANGED);
    assert_eq!(target(&gateway.next_sent().unwrap()), "/d01/3/0/0");
    assert_eq!(device(&mut gateway, "hub:d01")["state"], "online");
}

#[test]
fn a_register_of_the_gateway_makes_the_observations_of_its_end_devices_anew() {
    let (mut gateway, observe, _) = registered(OBSERVE_TEMPERATURES);
    gateway.receive(peer(1), &listed(&observe, 1, &["d01"]));
    let first = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &answer(&first, Code::CHANGED));
    let observed = gateway.next_sent().unwrap();
    let mut again = registration(QUERY, "</3/0>,</25/0>");
    again.id = 940;
    assert_eq!(gateway.ask(peer(1), &again).code, Code::CREATED);
    assert_eq!(target(&gateway.next_sent().unwrap()), "/25", "first who is there");
    let mut stale = answer(&observed, Code::CONTENT);
    (stale.message_type, stale.id) = (MessageType::Confirmable, 941);
    gateway.receive(peer(1), &stale);
    assert_eq!(gateway.next_sent(), Some(Message::reset(941)));
}

#[test]
fn listings_that_make_no_sense_are_left_out_and_told_and_many_end_at_the_bound() {
    let (mut gateway, observe, _) = registered("version = 1\n");
    gateway.receive(peer(1), &listed(&observe, 1, &["", "3303", "a/b", "ok"]));
    let hub = device(&mut gateway, "hub");
    assert!(hub["last_error"].as_str().unwrap().contains("is no prefix"), "{hub}");
    assert_eq!(device(&mut gateway, "hub:ok")["state"], "online");
    gateway.broker_holds = true;
    let many: Vec<String> = (0..300).map(|number| format!("n{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut changed = listed(&observe, 2, &many);
    (changed.message_type, changed.id) = (MessageType::NonConfirmable, 950);
    gateway.receive(peer(1), &changed);
    let items = gateway.query(Query::Devices { search: "hub:n".into(), after: None, limit: 1_000 });
    assert_eq!(items["items"].as_array().unwrap().len(), 255, "one place is taken already");
    let reached = lwm2mqtt::instrumentation::occurrence::Occurrence::BoundReached("max_end_devices");
    assert_eq!(gateway.count(reached), 45);
}

#[test]
fn end_devices_lose_and_regain_the_connection_of_their_gateway() {
    let mut gateway = Gateway::with("version = 1\n", |_| {});
    let first = Connection::open(&mut gateway, 1);
    let location = first.register(&mut gateway, "ep=hub&lt=3000&lwm2m=1.1&b=T", "</3/0>,</25/0>");
    let observe = first.next(&mut gateway);
    assert_eq!((observe.observe(), target(&observe).as_str()), (Some(0), "/25"));
    first.say(&mut gateway, &listed(&observe, 1, &["d01"]));
    assert_eq!(device(&mut gateway, "hub:d01")["transport"], "tcp");
    gateway.downlink("hub:d01/command", &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    assert_eq!(first.next(&mut gateway).uri_path()[0], "d01");
    first.break_off(&mut gateway);
    assert_eq!(device(&mut gateway, "hub:d01")["state"], "offline");
    assert_eq!(gateway.result("hub:d01", "r").unwrap()["status"], "queued");
    let second = Connection::open(&mut gateway, 2);
    second.say(&mut gateway, &request(Code::POST, 9, &format!("rd/{location}")));
    assert_eq!(second.next(&mut gateway).code, Code::CHANGED);
    assert_eq!(device(&mut gateway, "hub:d01")["state"], "online");
    let mut asked = Vec::new();
    for _ in 0..2 {
        let message = second.next(&mut gateway);
        asked.push(target(&message));
        let value = [(Path::resource(3, 0, 0), Value::String("ACME".into()))];
        let reply = if message.observe() == Some(0) {
            listed(&message, 2, &["d01"])
        } else {
            senml(answer(&message, Code::CONTENT), "/d01", &value)
        };
        second.say(&mut gateway, &reply);
    }
    asked.sort();
    assert_eq!(asked, ["/25", "/d01/3/0/0"]);
    assert_eq!(gateway.result("hub:d01", "r").unwrap()["value"], "ACME");
}
