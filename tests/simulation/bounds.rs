//! Each bound of the core, filled once: what gives way, and that it is counted.

use std::time::Duration;

use lwm2mqtt::gateway::configuration::{Limits, UnknownDevices};
use lwm2mqtt::gateway::vocabulary::{Peer, Query, StreamOrder};
use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::protocol::coap::message::{Code, Message};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use lwm2mqtt::protocol::coap::tcp_frame;
use serde_json::{Value as Json, json};

use crate::conformance::gateway::{
    GOOD_QUERY, Gateway, OBSERVE_TEMPERATURES, answer, observed, peer, registration, request, target, text_answer,
    with_block,
};
use crate::conformance::stream::{Connection, stream_peer};

const NOTHING: &str = "version = 1\n";
const TAKE_TEMPERATURES: &str = "version = 1\n[[telemetry]]\npath = \"/3303/*/5700\"\nkey = \"t_{instance}\"\n\
                                 observe = false\n";

fn bounded(mapping: &str, change: impl FnOnce(&mut Limits)) -> Gateway {
    Gateway::with(mapping, |configuration| change(&mut configuration.limits))
}

/// The Register of device `number`.
fn register(number: u16) -> Message {
    registration(&format!("ep=dev{number}&lt=300&lwm2m=1.1"), "</3/0>")
}

/// A Send of temperatures: instance and degrees.
fn send(id: u16, values: &[(u16, f64)]) -> Message {
    let mut message = request(Code::POST, id, "dp");
    message.push_uint(OptionNumber::CONTENT_FORMAT, 110);
    let records = values.iter().map(|(instance, value)| json!({"n": format!("/3303/{instance}/5700"), "v": value}));
    message.payload = Json::Array(records.collect()).to_string().into_bytes();
    message
}

/// A gateway with a device `dev` at `peer(1)` that is asked nothing by the mapping.
fn with_device(mapping: &str, change: impl FnOnce(&mut Limits)) -> (Gateway, Peer) {
    let mut gateway = bounded(mapping, change);
    gateway.register(peer(1), GOOD_QUERY, "</3/0>,</3303/0>");
    (gateway, peer(1))
}

fn read(gateway: &mut Gateway, id: &str) {
    gateway.downlink("dev/command", &json!({"id": id, "operation": "read", "path": "/3/0/0"}));
}

fn reached(gateway: &Gateway, bound: &'static str) -> usize {
    gateway.count(Occurrence::BoundReached(bound))
}

#[test]
fn devices_beyond_max_devices_hear_nothing_and_known_ones_come_back() {
    let mut gateway = bounded(NOTHING, |limits| limits.max_devices = 2);
    for number in 1..=2 {
        assert_eq!(gateway.ask(peer(number), &register(number)).code, Code::CREATED);
    }
    gateway.receive(peer(3), &register(3));
    assert_eq!(gateway.next_sent(), None);
    assert_eq!((reached(&gateway, "max_devices"), gateway.count(Occurrence::Refused("max_devices"))), (1, 1));
    let mut again = register(1);
    again.id = 2;
    assert_eq!(gateway.ask(peer(1), &again).code, Code::CREATED);
    gateway.downlink("bridge/request/device/remove", &json!({"device": "dev2"}));
    let mut later = register(3);
    later.id = 2;
    assert_eq!(gateway.ask(peer(3), &later).code, Code::CREATED);
}

#[test]
fn commands_beyond_max_commands_per_device_are_refused_until_there_is_room() {
    let (mut gateway, device) = with_device(NOTHING, |limits| limits.max_commands_per_device = 2);
    for id in ["a", "b", "c"] {
        read(&mut gateway, id);
    }
    assert_eq!(gateway.result("dev", "c").unwrap()["error"]["kind"], "queue_full");
    assert_eq!(reached(&gateway, "max_commands_per_device"), 1);
    let first = gateway.next_sent().unwrap();
    gateway.receive(device, &text_answer(&first, "ACME"));
    read(&mut gateway, "c");
    assert_eq!(gateway.gauges().waiting_commands, 2);
}

#[test]
fn commands_beyond_max_command_bytes_are_refused_until_there_is_room() {
    let (mut gateway, device) = with_device(NOTHING, |limits| limits.max_command_bytes = 1_100);
    for id in ["a", "b", "c"] {
        read(&mut gateway, id);
    }
    assert_eq!(gateway.result("dev", "c").unwrap()["error"]["kind"], "queue_full");
    assert_eq!((reached(&gateway, "max_command_bytes"), gateway.gauges().waiting_commands), (1, 2));
    for _ in 0..2 {
        let request = gateway.next_sent().unwrap();
        gateway.receive(device, &text_answer(&request, "ACME"));
    }
    for id in ["d", "e"] {
        read(&mut gateway, id);
    }
    assert_eq!(gateway.gauges().waiting_commands, 2);
}

#[test]
fn values_beyond_max_transfer_bytes_are_not_sent() {
    let (mut gateway, _) = with_device(NOTHING, |limits| limits.max_transfer_bytes = 100);
    let value = "x".repeat(101);
    let write = json!({"id": "w", "operation": "write", "path": "/3/0/15", "value": value});
    gateway.downlink("dev/command", &write);
    assert_eq!(gateway.result("dev", "w").unwrap()["error"]["kind"], "too_large");
    assert_eq!(gateway.next_sent(), None);
}

#[test]
fn bodies_of_all_devices_stay_below_max_transfers_bytes() {
    let mut gateway = bounded(NOTHING, |limits| limits.max_transfers_bytes = 40);
    let mut first = with_block(register(1), OptionNumber::BLOCK1, 0, true, 16);
    first.payload = vec![b'<'; 16];
    assert_eq!(gateway.ask(peer(1), &first).code, Code::CONTINUE);
    assert_eq!(gateway.ask(peer(2), &first).code, Code::CONTINUE);
    assert_eq!(gateway.ask(peer(3), &first).code, Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(reached(&gateway, "max_transfer_bytes"), 1);
}

#[test]
fn beyond_max_pending_writes_nothing_is_acknowledged_and_all_is_taken_when_the_store_confirms() {
    let (mut gateway, device) = with_device(TAKE_TEMPERATURES, |limits| limits.max_pending_writes = 20);
    gateway.store_holds = true;
    for id in 0..500 {
        gateway.receive(device, &send(1_000 + id, &[(0, f64::from(id))]));
    }
    assert_eq!(gateway.next_sent(), None);
    let pending = gateway.gauges().pending_writes;
    assert!((20..30).contains(&pending), "{pending}");
    let dropped = gateway.count(Occurrence::DatagramDropped("store_full"));
    assert!(dropped > 400, "{dropped}");
    gateway.confirm();
    assert_eq!(gateway.gauges().pending_writes, 0);
    assert_eq!(gateway.sent.drain(..).count(), 500 - dropped);
    // What was not acknowledged comes again.
    for id in 0..500 {
        assert_eq!(gateway.ask(device, &send(1_000 + id, &[(0, f64::from(id))])).code, Code::CHANGED);
    }
    let expected: Vec<f64> = (0..500).map(f64::from).collect();
    assert_eq!(gateway.values("dev", "t_0"), expected);
}

#[test]
fn observations_beyond_max_observations_per_device_are_not_made() {
    let mut gateway = bounded(OBSERVE_TEMPERATURES, |limits| limits.max_observations_per_device = 2);
    gateway.register(peer(1), GOOD_QUERY, "</3/0>,</3303/0>,</3303/1>,</3303/2>,</3303/3>");
    for instance in 0..2 {
        let observe = gateway.next_observe(peer(1));
        assert_eq!(target(&observe), format!("/3303/{instance}/5700"));
        gateway.receive(peer(1), &observed(&observe, 1, "20"));
    }
    assert_eq!(gateway.next_sent(), None);
    assert_eq!(reached(&gateway, "max_observations_per_device"), 2);
    gateway.downlink("dev/command", &json!({"id": "o", "operation": "observe", "path": "/3/0/9"}));
    assert_eq!(gateway.result("dev", "o").unwrap()["error"]["kind"], "queue_full");
    assert_eq!((gateway.next_sent(), reached(&gateway, "max_observations_per_device")), (None, 3));
}

#[test]
fn unmapped_paths_beyond_max_unmapped_per_device_are_only_counted() {
    let (mut gateway, device) = with_device(NOTHING, |limits| limits.max_unmapped_per_device = 2);
    let values: Vec<(u16, f64)> = (0..5).map(|instance| (instance, 1.0)).collect();
    assert_eq!(gateway.ask(device, &send(10, &values)).code, Code::CHANGED);
    let unmapped = gateway.query(Query::Unmapped { device: "dev".into() });
    assert_eq!(unmapped["items"].as_array().map(Vec::len), Some(2), "{unmapped}");
    assert_eq!(reached(&gateway, "max_unmapped_per_device"), 3);
    assert_eq!(gateway.count(Occurrence::Sample("unmapped")), 5);
}

#[test]
fn beyond_max_refused_the_oldest_refusal_is_forgotten() {
    let mut gateway = Gateway::with(NOTHING, |configuration| {
        configuration.limits.max_refused = 2;
        configuration.lwm2m.unknown_devices = UnknownDevices::Refuse;
    });
    (1..=3).for_each(|number| gateway.receive(peer(number), &register(number)));
    let refused = gateway.query(Query::Refused);
    let mut names: Vec<&str> =
        refused["items"].as_array().unwrap().iter().filter_map(|item| item["endpoint"].as_str()).collect();
    names.sort_unstable();
    assert_eq!((names, reached(&gateway, "max_refused")), (vec!["dev2", "dev3"], 1));
}

#[test]
fn no_more_than_max_in_flight_messages_wait_for_a_broker() {
    let (mut gateway, device) = with_device(TAKE_TEMPERATURES, |limits| limits.max_in_flight = 3);
    gateway.broker_holds = true;
    for id in 0..10 {
        assert_eq!(gateway.ask(device, &send(10 + id, &[(0, f64::from(id))])).code, Code::CHANGED);
        assert!(gateway.unacknowledged() <= 3);
    }
    for _ in 0..200 {
        gateway.acknowledge(1);
        assert!(gateway.unacknowledged() <= 3);
    }
    let expected: Vec<f64> = (0..10).map(f64::from).collect();
    assert_eq!((gateway.values("dev", "t_0"), gateway.unacknowledged()), (expected, 0));
}

#[test]
fn rows_beyond_max_spool_rows_in_memory_come_back_from_the_store_in_order() {
    let (mut gateway, device) = with_device(TAKE_TEMPERATURES, |limits| limits.max_spool_rows_in_memory = 5);
    let reads = gateway.spool_reads;
    gateway.disconnect();
    for id in 0..40 {
        assert_eq!(gateway.ask(device, &send(10 + id, &[(0, f64::from(id))])).code, Code::CHANGED);
    }
    assert_eq!(gateway.spool_reads, reads);
    gateway.connect();
    let expected: Vec<f64> = (0..40).map(f64::from).collect();
    assert_eq!(gateway.values("dev", "t_0"), expected);
    assert!(gateway.spool_reads > reads);
}

#[test]
fn keys_beyond_max_keys_per_device_are_not_taken() {
    let (mut gateway, device) = with_device(TAKE_TEMPERATURES, |limits| limits.max_keys_per_device = 2);
    let values: Vec<(u16, f64)> = (0..5).map(|instance| (instance, 1.0)).collect();
    assert_eq!(gateway.ask(device, &send(10, &values)).code, Code::CHANGED);
    let body = gateway.bodies("dev/telemetry").pop().unwrap();
    assert_eq!(body["values"], json!({"t_0": 1.0, "t_1": 1.0}));
    assert_eq!(reached(&gateway, "max_keys_per_device"), 3);
    // Known keys go on.
    assert_eq!(gateway.ask(device, &send(11, &[(1, 2.0)])).code, Code::CHANGED);
    assert_eq!(gateway.values("dev", "t_1"), [1.0, 2.0]);
}

#[test]
fn beyond_max_results_the_oldest_result_is_forgotten() {
    let (mut gateway, device) = with_device(NOTHING, |limits| limits.max_results = 2);
    for id in ["a", "b", "c"] {
        read(&mut gateway, id);
        let request = gateway.next_sent().unwrap();
        gateway.receive(device, &answer(&request, Code::NOT_FOUND));
    }
    assert_eq!(reached(&gateway, "max_results"), 1);
    read(&mut gateway, "c");
    assert_eq!(gateway.next_sent(), None, "answered from memory");
    read(&mut gateway, "a");
    assert_eq!(gateway.next_sent().map(|request| target(&request)), Some("/3/0/0".to_owned()));
}

#[test]
fn only_the_last_address_of_a_device_counts_for_its_sends() {
    let mut gateway = bounded(TAKE_TEMPERATURES, |_| {});
    let location = gateway.register(peer(60), "ep=moving&lt=300&lwm2m=1.1", "</3303/0>");
    for number in 2..50 {
        let update = request(Code::POST, 100, &format!("rd/{location}"));
        assert_eq!(gateway.ask(peer(number), &update).code, Code::CHANGED);
    }
    assert_eq!(gateway.ask(peer(48), &send(200, &[(0, 1.0)])).code, Code::NOT_FOUND);
    assert_eq!(gateway.ask(peer(49), &send(200, &[(0, 1.0)])).code, Code::CHANGED);
    gateway.pass(Duration::from_secs(1));
    assert_eq!(gateway.values("moving", "t_0"), [1.0]);
}

#[test]
fn connections_beyond_max_connections_are_closed_until_there_is_room() {
    let mut gateway = bounded(NOTHING, |limits| limits.max_connections = 2);
    let first = Connection::open(&mut gateway, 1);
    Connection::open(&mut gateway, 2);
    let third = Connection::connect(&mut gateway, stream_peer(3), 3);
    assert_eq!(third.orders(&mut gateway), [StreamOrder::Close]);
    assert_eq!((reached(&gateway, "max_connections"), gateway.gauges().connections), (1, 2));
    first.break_off(&mut gateway);
    Connection::open(&mut gateway, 4);
    assert_eq!(gateway.gauges().connections, 2);
}

#[test]
fn connections_beyond_max_connections_per_address_are_closed_and_other_addresses_are_served() {
    let mut gateway = bounded(NOTHING, |limits| limits.max_connections_per_address = 2);
    let at = |address: &str| Peer { listener: 1, remote: address.parse().unwrap(), local: None, session: None };
    let mut id = 0;
    for (remotes, taken) in [
        (["192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"], [true, true, false]),
        (["192.0.2.2:1", "[2001:db8::1]:1", "[2001:db8::2]:1"], [true, true, true]),
        // One subscriber has a network of 64 bits.
        (["[2001:db8::ffff:1]:1", "[2001:db8:0:1::1]:1", "[2001:db8::1]:2"], [false, true, false]),
    ] {
        for (remote, taken) in remotes.into_iter().zip(taken) {
            id += 1;
            let orders = Connection::connect(&mut gateway, at(remote), id).orders(&mut gateway);
            assert_eq!(orders != [StreamOrder::Close], taken, "{remote}");
        }
    }
    assert_eq!(reached(&gateway, "max_connections_per_address"), 3);
}

#[test]
fn large_messages_beyond_max_stream_bytes_end_their_connection_and_small_ones_are_served() {
    let mut gateway = bounded(NOTHING, |limits| limits.max_stream_bytes = 10_000);
    let devices: Vec<Connection> = (1..=3).map(|number| Connection::open(&mut gateway, number)).collect();
    let mut large = register(9);
    large.payload = vec![b'x'; 20_000];
    let frame = tcp_frame::encode(&large);
    for device in &devices {
        device.say_bytes(&mut gateway, &frame[..5_500]);
    }
    assert!(devices[2].abort(&mut gateway).0.contains("too many large messages"));
    assert_eq!((reached(&gateway, "max_stream_bytes"), gateway.gauges().connections), (1, 2));
    let small = Connection::open(&mut gateway, 4);
    let frame = tcp_frame::encode(&register(4));
    small.say_bytes(&mut gateway, &frame[..20]);
    small.say_bytes(&mut gateway, &frame[20..]);
    assert_eq!(small.next(&mut gateway).code, Code::CREATED);
    // With the end of a connection its bytes are given back.
    devices[0].break_off(&mut gateway);
    let fifth = Connection::open(&mut gateway, 5);
    let frame = tcp_frame::encode(&large);
    fifth.say_bytes(&mut gateway, &frame[..5_500]);
    assert_eq!(fifth.orders(&mut gateway), []);
}

#[test]
fn connections_on_which_nobody_registers_make_room() {
    let mut gateway = bounded(NOTHING, |limits| limits.max_connections = 2);
    let idle = Connection::open(&mut gateway, 1);
    let device = Connection::open(&mut gateway, 2);
    let location = device.register(&mut gateway, "ep=dev&lt=86400&lwm2m=1.1&b=T", "</3/0>");
    for _ in 0..6 {
        gateway.pass(Duration::from_secs(10));
        // Words alone do not keep a place.
        idle.say_bytes(&mut gateway, &[0, 0]);
    }
    assert!(idle.abort(&mut gateway).0.contains("no device registered"));
    assert_eq!(gateway.count(Occurrence::ConnectionClosed("unregistered")), 1);
    device.say(&mut gateway, &request(Code::DELETE, 7, &format!("rd/{location}")));
    assert_eq!(device.next(&mut gateway).code, Code::DELETED);
    gateway.pass(Duration::from_secs(59));
    assert_eq!(device.orders(&mut gateway), []);
    gateway.pass(Duration::from_secs(1));
    device.abort(&mut gateway);
    assert_eq!(gateway.gauges().connections, 0);
}

#[test]
fn messages_that_trickle_in_end_their_connection() {
    let mut gateway = bounded(NOTHING, |_| {});
    let device = Connection::open(&mut gateway, 1);
    let frame = tcp_frame::encode(&register(1));
    for byte in &frame[..15] {
        gateway.pass(Duration::from_secs(2));
        device.say_bytes(&mut gateway, &[*byte]);
    }
    assert_eq!(device.orders(&mut gateway), []);
    gateway.pass(Duration::from_secs(2));
    assert!(device.abort(&mut gateway).0.contains("too long to arrive"));
    assert_eq!(gateway.count(Occurrence::ConnectionClosed("slow_message")), 1);
}
