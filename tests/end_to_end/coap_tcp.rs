//! Devices on CoAP over TCP (RFC 8323), on real sockets.

use std::net::SocketAddr;

use coap_lite::{MessageClass, RequestType, ResponseType};
use serde_json::{Value, json};

use super::harness::{ABORT, CSM, Frame, Gateway, Mosquitto, PING, PONG, Setup, StreamDevice, Subscriber, free_port};

/// An odd size, as real clients announce.
const MAX_MESSAGE_SIZE: u32 = 100_003;
/// 0.01 of RFC 7252.
const GET: u8 = 0x01;

fn start(broker: &Mosquitto, lines: &str) -> (Gateway, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let gateway = Setup::new(broker).lwm2m(&format!("tcp = \"{address}\"\n{lines}")).start();
    (gateway, address)
}

fn expect_temperature(cloud: &mut Subscriber, endpoint: &str, value: f64) {
    let wanted = format!("lwm2m/{endpoint}/telemetry");
    cloud.expect(&format!("temperature {value}"), |topic, payload| {
        topic == wanted && payload["values"]["temperature"] == value
    });
}

fn expect_state(cloud: &mut Subscriber, after: usize, endpoint: &str, state: &str) -> Value {
    let wanted = format!("lwm2m/{endpoint}/state");
    cloud.expect_after(after, state, |topic, payload| topic == wanted && payload["state"] == state).payload
}

#[test]
fn device_registers_over_tcp_and_its_notifications_reach_the_broker() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let (gateway, address) = start(&broker, "");
    let mut device = StreamDevice::connect(address, MAX_MESSAGE_SIZE);
    let location = device.register("streamed", &["lwm2m=1.1", "lt=300", "b=T"]);
    device.wait_for_observation();
    expect_temperature(&mut cloud, "streamed", 20.5);
    for value in ["21.5", "22.5", "23.5"] {
        device.notify(value);
    }
    expect_temperature(&mut cloud, "streamed", 23.5);
    let record = gateway.wait_for_json("/api/v1/devices/streamed", |record| record["state"] == "online");
    assert_eq!((&record["transport"], &record["binding"]), (&json!("tcp"), &json!("T")), "{record}");

    // 64 KiB leave in one message, as the device takes that much.
    let text = "x".repeat(64 << 10);
    let write = json!({"id": "w", "operation": "write", "path": "/3308/0/5701", "value": text});
    broker.publish("lwm2m/streamed/command", &write);
    let request = device.next_request(RequestType::Put, "3308/0/5701");
    assert!(request.payload.len() >= text.len(), "{} bytes", request.payload.len());
    device.answer_with(&request, ResponseType::Changed);
    cloud.expect("the result", |topic, payload| topic == "lwm2m/streamed/response" && payload["status"] == "done");

    let seen = cloud.count();
    assert_eq!(device.deregister(&location), MessageClass::Response(ResponseType::Deleted));
    assert_eq!(expect_state(&mut cloud, seen, "streamed", "offline")["reason"], "deregistered");
}

#[test]
fn device_that_begins_with_a_request_is_aborted_with_the_reason() {
    let broker = Mosquitto::start();
    let (gateway, address) = start(&broker, "");
    let mut device = StreamDevice::connect_silently(address);
    device.send(&Frame::new(GET, &[1], &[]));
    assert_eq!(device.next().code, CSM);
    let abort = device.next();
    assert_eq!(abort.code, ABORT);
    assert!(String::from_utf8_lossy(&abort.body).contains("the first message was 0.01"), "{abort:?}");
    assert!(device.next_or_end().is_none());
    // The gateway serves others as before, and counts.
    let mut device = StreamDevice::connect(address, MAX_MESSAGE_SIZE);
    device.send(&Frame::new(PING, &[4, 2], &[]));
    let pong = device.next();
    assert_eq!((pong.code, pong.token), (PONG, vec![4, 2]));
    let (_, metrics) = gateway.get_text("/metrics");
    assert!(metrics.contains("lwm2mqtt_connections_closed_total{reason=\"no_csm\"} 1"), "{metrics}");
}

#[test]
fn silent_device_is_pinged_and_then_loses_its_connection() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let (_gateway, address) = start(&broker, "tcp_keep_alive = \"1s\"\ntcp_idle_timeout = \"2s\"\n");
    let mut device = StreamDevice::connect(address, MAX_MESSAGE_SIZE);
    device.register("silent", &["lwm2m=1.1", "lt=300", "b=T"]);
    let seen = cloud.count();
    let mut pinged = false;
    while let Some(frame) = device.next_or_end() {
        pinged |= frame.code == PING;
    }
    assert!(pinged, "the end came without a ping");
    assert_eq!(expect_state(&mut cloud, seen, "silent", "offline")["reason"], "unreachable");
}

#[test]
fn connections_beyond_those_of_an_address_are_closed() {
    let broker = Mosquitto::start();
    let (_gateway, address) = start(&broker, "[limits]\nconnections_per_address = 2\n");
    let mut first = StreamDevice::connect(address, MAX_MESSAGE_SIZE);
    let _second = StreamDevice::connect(address, MAX_MESSAGE_SIZE);
    assert!(StreamDevice::connect_silently(address).next_or_end().is_none());
    first.send(&Frame::new(PING, &[], &[]));
    assert_eq!(first.next().code, PONG);
}

#[test]
fn registration_survives_kill_nine_and_an_update_on_the_next_connection_brings_the_device_back() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let (mut gateway, address) = start(&broker, "");
    let mut device = StreamDevice::connect(address, MAX_MESSAGE_SIZE);
    let location = device.register("steady", &["lwm2m=1.1", "lt=300", "b=T"]);
    device.wait_for_observation();
    expect_temperature(&mut cloud, "steady", 20.5);
    let seen = cloud.count();
    gateway.kill_nine();
    assert!(device.next_until_end(), "the connection ends with the gateway");
    gateway.restart();
    assert_eq!(expect_state(&mut cloud, seen, "steady", "offline")["reason"], "unreachable");

    let command = json!({"id": "r", "operation": "read", "path": "/3303/0/5700"});
    broker.publish("lwm2m/steady/command", &command);
    cloud.expect("queued", |topic, payload| topic == "lwm2m/steady/response" && payload["status"] == "queued");
    let seen = cloud.count();
    let mut device = StreamDevice::connect(address, MAX_MESSAGE_SIZE);
    assert_eq!(device.update(&location), MessageClass::Response(ResponseType::Changed));
    device.wait_for_observation();
    expect_state(&mut cloud, seen, "steady", "online");
    cloud.expect("the value", |topic, payload| topic == "lwm2m/steady/response" && payload["value"] == 20.5);
    device.notify("30.25");
    expect_temperature(&mut cloud, "steady", 30.25);
}

#[test]
fn simulated_devices_register_report_and_leave_over_tcp() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let (gateway, address) = start(&broker, "");
    let server = format!("coap+tcp://{address}");
    let output = gateway
        .program("simulate")
        .args(["--server", &server, "--devices", "3", "--interval", "200ms", "--seconds", "4", "--json"])
        .output()
        .expect("the program");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    assert_eq!(report["registered"], 3, "{output:?}");
    // The mapping asks for few of them.
    assert!(report["acknowledged"].as_u64().is_some_and(|count| count > 0), "{report}");
    assert_eq!((&report["acknowledged"], &report["lost"]), (&report["sent"], &json!(0)), "{report}");
    cloud.expect("a device that leaves", |topic, payload| {
        topic.ends_with("/state") && payload["reason"] == "deregistered"
    });
}
