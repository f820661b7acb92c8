//! Clients that others wrote, from their registration to their deregistration.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::harness::{DeviceClient, Gateway, Library, Mosquitto, Subscriber, free_port};

/// Some clients are silent to a format they do not know; the next format should be tried soon.
const QUICK: &str = "ack_timeout = \"300ms\"\nmax_retransmit = 2";

#[test]
fn node_lib_client_is_served_from_register_to_deregister() {
    serves_from_register_to_deregister(Library::NodeLib);
}

#[test]
fn coap_node_client_is_served_from_register_to_deregister() {
    serves_from_register_to_deregister(Library::CoapNode);
}

#[test]
fn leshan_client_is_served_from_register_to_deregister() {
    serves_from_register_to_deregister(Library::Leshan);
}

#[test]
fn java_coap_client_is_served_over_tcp_from_register_to_deregister() {
    serves_from_register_to_deregister(Library::JavaCoapTcp);
}

fn serves_from_register_to_deregister(library: Library) {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let over_tcp = library == Library::JavaCoapTcp;
    let stream_address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let gateway = Gateway::start(&broker, &format!("{QUICK}\ntcp = \"{stream_address}\""));
    let endpoint = format!("real-{library:?}").to_lowercase();
    let address = if over_tcp { stream_address } else { gateway.lwm2m_address() };
    let mut device = DeviceClient::start(library, address, &endpoint);

    device.expect("registered", |_| true);
    expect_state(&mut cloud, &endpoint, "online", 0);

    // Observed by the mapping, and a change arrives.
    device.expect("observed", |event| event["path"] == "/3303/0/5700");
    expect_temperature(&mut cloud, &endpoint, 20.5);
    device.set("/3303/0/5700", 23.25);
    expect_temperature(&mut cloud, &endpoint, 23.25);

    let read = run(&broker, &mut cloud, &endpoint, &json!({"id": "r1", "operation": "read", "path": "/3308/0/5900"}));
    assert_eq!(read["value"], 18.5, "{read}");

    let write = json!({"id": "w1", "operation": "write", "path": "/3308/0/5900", "value": 21.5});
    run(&broker, &mut cloud, &endpoint, &write);
    device.expect("written", |event| event["path"] == "/3308/0/5900" && number(&event["value"]) == Some(21.5));
    let read = run(&broker, &mut cloud, &endpoint, &json!({"id": "r2", "operation": "read", "path": "/3308/0/5900"}));
    assert_eq!(read["value"], 21.5, "{read}");

    run(&broker, &mut cloud, &endpoint, &json!({"id": "e1", "operation": "execute", "path": "/3303/0/5605"}));
    device.expect("executed", |event| event["path"] == "/3303/0/5605");

    // The npm clients send Update from a new port and go on notifying from the old one.
    device.update();
    device.set("/3303/0/5700", 24.75);
    expect_temperature(&mut cloud, &endpoint, 24.75);
    let (status, record) = gateway.get(&format!("/api/v1/devices/{endpoint}"));
    assert_eq!((status, &record["state"]), (200, &json!("online")), "{record}");
    let transport = if over_tcp { "tcp" } else { "udp" };
    assert_eq!(record["transport"], transport, "{record}");
    if matches!(library, Library::Leshan | Library::JavaCoapTcp) {
        reports_and_is_read_composite(&broker, &mut cloud, &mut device, &endpoint);
    }
    if over_tcp {
        device.expect("composite", |event| event["paths"] == "/3303/0/5700 /3308/0/5900");
    }
    if library == Library::Leshan {
        is_written_and_observed_composite(&broker, &mut cloud, &mut device, &endpoint);
    }

    let seen = cloud.count();
    device.deregister();
    expect_state(&mut cloud, &endpoint, "offline", seen);
}

fn reports_and_is_read_composite(
    broker: &Mosquitto,
    cloud: &mut Subscriber,
    device: &mut DeviceClient,
    endpoint: &str,
) {
    device.set("/3303/0/5700", 26.5);
    expect_temperature(cloud, endpoint, 26.5);
    let seen = cloud.count();
    device.send("/3303/0/5700");
    let wanted = format!("lwm2m/{endpoint}/telemetry");
    cloud.expect_after(seen, "the sent value", |topic, payload| {
        topic == wanted && payload["values"]["temperature"] == 26.5
    });
    let paths = ["/3303/0/5700", "/3308/0/5900"];
    let read = run(broker, cloud, endpoint, &json!({"id": "c1", "operation": "read_composite", "paths": paths}));
    assert_eq!((&read["values"][paths[0]], &read["values"][paths[1]]), (&json!(26.5), &json!(21.5)), "{read}");
}

fn is_written_and_observed_composite(
    broker: &Mosquitto,
    cloud: &mut Subscriber,
    device: &mut DeviceClient,
    endpoint: &str,
) {
    let write = json!({"id": "c2", "operation": "write_composite", "values": {"/3308/0/5900": 19.5}});
    run(broker, cloud, endpoint, &write);
    device.expect("written", |event| event["path"] == "/3308/0/5900" && number(&event["value"]) == Some(19.5));

    let paths = ["/3303/0/5700", "/3308/0/5900"];
    let observe = json!({"id": "c3", "operation": "observe_composite", "paths": paths});
    let observed = run(broker, cloud, endpoint, &observe);
    assert_eq!(observed["values"][paths[1]], 19.5, "{observed}");
    let seen = cloud.count();
    device.set("/3308/0/5900", 20.25);
    let wanted = format!("lwm2m/{endpoint}/notify");
    for (path, value) in [(paths[1], 20.25), (paths[0], 26.5)] {
        cloud.expect_after(seen, &format!("{path} on {wanted}"), |topic, payload| {
            topic == wanted && payload["path"] == path && payload["value"] == value
        });
    }
    let cancel = json!({"id": "c4", "operation": "cancel_observe_composite", "paths": paths});
    run(broker, cloud, endpoint, &cancel);
}

fn expect_state(cloud: &mut Subscriber, endpoint: &str, state: &str, after: usize) {
    let wanted = format!("lwm2m/{endpoint}/state");
    cloud.expect_after(after, &format!("{state} on {wanted}"), |topic, payload| {
        topic == wanted && payload["state"] == state && payload["ts"].is_i64()
    });
}

fn expect_temperature(cloud: &mut Subscriber, endpoint: &str, value: f64) {
    let wanted = format!("lwm2m/{endpoint}/telemetry");
    cloud.expect(&format!("temperature {value} on {wanted}"), |topic, payload| {
        topic == wanted && payload["values"]["temperature"] == value && payload["ts"].is_i64()
    });
}

/// Sends a command, waits for its one terminal result, which must be `done`, and answers it.
fn run(broker: &Mosquitto, cloud: &mut Subscriber, endpoint: &str, command: &Value) -> Value {
    broker.publish(&format!("lwm2m/{endpoint}/command"), command);
    let wanted = format!("lwm2m/{endpoint}/response");
    let terminal = cloud.expect(&format!("the result of {command}"), |topic, payload| {
        topic == wanted && payload["id"] == command["id"] && payload["status"] != "queued"
    });
    assert_eq!(terminal.payload["status"], "done", "{command} ended as {}", terminal.payload);
    assert!(!terminal.retained, "a result is of its moment and must not be retained");
    terminal.payload
}

/// Some drivers report a number, others the text that came over the wire.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}
