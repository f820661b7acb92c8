//! Devices on CoAP over TCP (RFC 8323), on real sockets.

use std::net::SocketAddr;

use coap_lite::{MessageClass, RequestType, ResponseType};
use serde_json::{Value, json};

use super::harness::{Gateway, Mosquitto, Setup, StreamDevice, Subscriber, free_port};

/// An odd size, as real clients announce.
const MAX_MESSAGE_SIZE: u32 = 100_003;

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
