//! A sink in each version of MQTT, and what only version 5 has: an answer goes where the question says.

use std::time::Duration;

use serde_json::{Value, json};

use super::fleet::PAUSE;
use super::harness::{Gateway, Mosquitto, NotifyingDevice, Setup, Subscriber};

const ENDPOINT: &str = "thermometer";
const COMMAND: &str = "lwm2m/thermometer/command";
const RESPONSE: &str = "lwm2m/thermometer/response";

#[test]
fn sink_in_mqtt_3_1_1_delivers_and_takes_commands() {
    delivers_and_takes_commands(4, " (p2, ");
}

#[test]
fn sink_in_mqtt_5_delivers_and_takes_commands() {
    delivers_and_takes_commands(5, " (p5, ");
}

fn delivers_and_takes_commands(protocol: u8, logged: &str) {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let (mut gateway, device) = start(&broker, &mut cloud, protocol);
    broker.wait_for_log(&format!(" as lwm2mqtt-under-test-local{logged}"), 1);
    broker.publish(COMMAND, &read("plain"));
    let result = expect_result(&mut cloud, 0, RESPONSE, "plain");
    assert_eq!(result["status"], "done", "{result}");
    assert!(result["value"].is_number(), "{result}");

    let seen = cloud.count();
    gateway.kill_nine();
    // The will, in both versions.
    cloud
        .expect_after(seen, "offline", |topic, payload| topic == "lwm2m/bridge/state" && payload["state"] == "offline");
    device.stop();
}

#[test]
fn answer_goes_to_the_response_topic_with_the_correlation_data_of_mqtt_5() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let (_gateway, device) = start(&broker, &mut cloud, 5);
    let mut caller = broker.subscribe_with("answers/#", &["-V", "5", "-F", "%t %D %p"]);
    let properties =
        ["-V", "5", "-D", "publish", "response-topic", "answers/7", "-D", "publish", "correlation-data", "question-7"];
    broker.publish_with(COMMAND, &read("elsewhere"), &properties);
    let line = caller.next_line("the answer");
    let (topic, rest) = line.split_once(' ').unwrap();
    let (correlation, payload) = rest.split_once(' ').unwrap();
    assert_eq!((topic, correlation), ("answers/7", "question-7"), "{line}");
    let result: Value = serde_json::from_str(payload).unwrap();
    assert_eq!((&result["id"], &result["status"]), (&json!("elsewhere"), &json!("done")), "{result}");

    // The next command is answered at the usual place, and nothing of the first one was.
    broker.publish(COMMAND, &read("here"));
    expect_result(&mut cloud, 0, RESPONSE, "here");
    assert!(!cloud.has_seen(|topic, payload| topic == RESPONSE && payload["id"] == "elsewhere"));

    // So is a request to the gateway itself.
    broker.publish_with("lwm2m/bridge/request/health", &json!({ "id": "h" }), &properties);
    let line = caller.next_line("the gateway's health");
    assert!(line.starts_with("answers/7 question-7 {"), "{line}");
    device.stop();
}

#[test]
fn retained_command_that_arrives_at_once_is_refused_in_mqtt_5() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let (_gateway, device) = start(&broker, &mut cloud, 5);
    broker.publish_with(COMMAND, &read("kept"), &["-r"]);
    expect_refusal(&mut cloud, 0, "kept");
    device.stop();
}

#[test]
fn retained_command_that_waits_at_the_broker_is_refused_in_mqtt_3_1_1() {
    retained_command_that_waits_is_refused(4);
}

#[test]
fn retained_command_that_waits_at_the_broker_is_refused_in_mqtt_5() {
    retained_command_that_waits_is_refused(5);
}

fn retained_command_that_waits_is_refused(protocol: u8) {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    // Without a session the broker keeps nothing for the gateway but what is retained.
    let setup = Setup::new(&broker).sink(&format!("protocol = {protocol}\nsession_expiry = \"0s\""));
    let mut gateway = setup.start();
    let device = NotifyingDevice::start(gateway.lwm2m_address(), ENDPOINT, PAUSE);
    expect_telemetry(&mut cloud);
    assert_eq!(gateway.exit_code_of_stop(Duration::from_secs(5)), Some(0));
    broker.publish_with(COMMAND, &read("kept"), &["-r"]);
    let seen = cloud.count();
    gateway.restart();
    expect_refusal(&mut cloud, seen, "kept");
    device.stop();
}

fn start(broker: &Mosquitto, cloud: &mut Subscriber, protocol: u8) -> (Gateway, NotifyingDevice) {
    let gateway = Setup::new(broker).sink(&format!("protocol = {protocol}")).start();
    let device = NotifyingDevice::start(gateway.lwm2m_address(), ENDPOINT, PAUSE);
    expect_telemetry(cloud);
    (gateway, device)
}

fn read(id: &str) -> Value {
    json!({ "id": id, "operation": "read", "path": "/3303/0/5700", "format": "senml-json" })
}

fn expect_telemetry(cloud: &mut Subscriber) {
    cloud.expect("telemetry", |topic, payload| {
        topic == "lwm2m/thermometer/telemetry" && payload["values"]["temperature"].is_number()
    });
}

/// The terminal result with this id.
fn expect_result(cloud: &mut Subscriber, after: usize, response: &str, id: &str) -> Value {
    let result = cloud.expect_after(after, &format!("the result of {id}"), |topic, payload| {
        topic == response && payload["id"] == id && payload["status"] != "queued"
    });
    result.payload
}

fn expect_refusal(cloud: &mut Subscriber, after: usize, id: &str) {
    let result = expect_result(cloud, after, RESPONSE, id);
    assert_eq!((&result["status"], &result["error"]["kind"]), (&json!("failed"), &json!("invalid")), "{result}");
    assert!(result["error"]["message"].as_str().is_some_and(|message| message.contains("retained")), "{result}");
}
