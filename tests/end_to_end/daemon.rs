//! The life of the process: what keeps it from starting, what it reads anew while it runs, how it ends.

use std::time::Duration;

use serde_json::{Value, json};

use super::fleet::PAUSE;
use super::harness::{Mosquitto, NotifyingDevice, Setup, Subscriber};

const WARMTH: &str = "version = 1\n[[telemetry]]\npath = \"/3303/*/5700\"\nkey = \"warmth\"\n";
const BROKEN: &str = "version = 1\n[[telemetry]]\npath = \"/3303/*/5700\"\nkee = \"warmth\"\n";
const MAPPING_FILE: &str = "mappings/temperature.toml";
const ALARM: &str = "lwm2m/bridge/alarm/mapping_invalid";

/// What makes resource 1 of the devices' unknown object a number.
const DEFINITION: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<LWM2M><Object ObjectType="MODefinition">
<Name>Counter of a test</Name><ObjectID>42001</ObjectID><MultipleInstances>Single</MultipleInstances>
<Resources><Item ID="1">
<Name>Count</Name><Operations>R</Operations><MultipleInstances>Single</MultipleInstances><Mandatory>Mandatory</Mandatory>
<Type>Integer</Type>
</Item></Resources>
</Object></LWM2M>
"#;

#[test]
fn broken_configuration_ends_the_start_with_every_problem() {
    let broker = Mosquitto::start();
    let mut gateway = Setup::new(&broker).prepare();
    gateway.write_file(
        "config.toml",
        "version = 1\n[store]\ncommit_intervall = \"1s\"\n[lwm2m]\nack_timeout = \"soon\"\n[sink.local]\nprotocol = 6\n",
    );
    let (code, errors) = gateway.launch_to_its_end();
    assert_eq!(code, Some(2), "{errors}");
    for problem in [
        "config.toml:3: error: store.commit_intervall",
        "config.toml:5: error: lwm2m.ack_timeout",
        "config.toml:7: error: sink.local.protocol",
    ] {
        assert!(errors.contains(problem), "`{problem}` is not among:\n{errors}");
    }
}

#[test]
fn broken_mapping_ends_a_strict_start_with_its_line() {
    let broker = Mosquitto::start();
    let mut gateway = Setup::new(&broker).argument("--strict").file(MAPPING_FILE, BROKEN).prepare();
    let (code, errors) = gateway.launch_to_its_end();
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("temperature.toml:4: error: unknown key 'kee'"), "{errors}");
}

#[test]
fn broken_mapping_leaves_the_last_good_one_in_force_until_it_is_repaired() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let mut gateway = Setup::new(&broker).sink("role = \"admin\"").file(MAPPING_FILE, WARMTH).start();
    let device = NotifyingDevice::start(gateway.lwm2m_address(), "thermometer", PAUSE);
    expect_key(&mut cloud, 0, "warmth");
    gateway.stop();

    gateway.write_file(MAPPING_FILE, BROKEN);
    let seen = cloud.count();
    gateway.restart();
    let alarm = cloud.expect_after(seen, "the alarm", |topic, _| topic == ALARM).payload;
    assert_eq!((&alarm["alarm"], alarm["since"].is_i64()), (&json!("mapping_invalid"), true), "{alarm}");
    assert!(alarm["message"].as_str().is_some_and(|message| message.contains("temperature.toml:")), "{alarm}");
    let late = broker.subscribe(ALARM).expect("the alarm as a retained message", |_, _| true);
    assert!(late.retained);
    let seen = cloud.count();
    expect_key(&mut cloud, seen, "warmth");

    // A reload that finds the same mistake changes nothing; one that finds none ends the alarm.
    request_reload(&broker, &mut cloud, "1");
    gateway.write_file(MAPPING_FILE, &WARMTH.replace("warmth", "heat"));
    let seen = cloud.count();
    request_reload(&broker, &mut cloud, "2");
    cloud.expect_after(seen, "the end of the alarm", |topic, payload| topic == ALARM && payload == "");
    expect_key(&mut cloud, seen, "heat");
    device.stop();
}

#[test]
fn mapping_broken_while_running_raises_the_alarm_and_changes_nothing() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let gateway = Setup::new(&broker).file(MAPPING_FILE, WARMTH).start();
    let device = NotifyingDevice::start(gateway.lwm2m_address(), "thermometer", PAUSE);
    expect_key(&mut cloud, 0, "warmth");
    gateway.write_file(MAPPING_FILE, BROKEN);
    gateway.signal("HUP");
    cloud.expect("the alarm", |topic, payload| topic == ALARM && payload["alarm"] == "mapping_invalid");
    let seen = cloud.count();
    expect_key(&mut cloud, seen, "warmth");
    device.stop();
}

#[test]
fn hangup_reads_the_mapping_anew() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let gateway = Setup::new(&broker).start();
    let device = NotifyingDevice::start(gateway.lwm2m_address(), "thermometer", PAUSE);
    expect_key(&mut cloud, 0, "temperature");
    gateway.write_file(MAPPING_FILE, WARMTH);
    gateway.signal("HUP");
    expect_key(&mut cloud, 0, "warmth");
    device.stop();
}

#[test]
fn object_definition_laid_into_the_models_folder_is_used_without_a_restart() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let gateway = Setup::new(&broker).start();
    let device = NotifyingDevice::start(gateway.lwm2m_address(), "counter", PAUSE);
    expect_key(&mut cloud, 0, "temperature");
    let unknown = read(&broker, &mut cloud, "before");
    assert_eq!(unknown["value"], "ASw=", "opaque, as base64: {unknown}");

    let seen = cloud.count();
    gateway.write_file("models/42001.xml", DEFINITION);
    cloud.expect_after(seen, "a reload", |topic, payload| {
        topic == "lwm2m/bridge/event" && payload["event"] == "reloaded"
    });
    let known = read(&broker, &mut cloud, "after");
    assert_eq!(known["value"], 300, "{known}");
    device.stop();
}

#[test]
fn termination_says_goodbye_and_ends_well_within_5_seconds() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let mut gateway = Setup::new(&broker).start();
    let device = NotifyingDevice::start(gateway.lwm2m_address(), "thermometer", PAUSE);
    expect_key(&mut cloud, 0, "temperature");
    let seen = cloud.count();
    assert_eq!(gateway.exit_code_of_stop(Duration::from_secs(5)), Some(0));
    let goodbye = "lwm2m/bridge/state";
    cloud.expect_after(seen, "offline", |topic, payload| topic == goodbye && *payload == json!({"state": "offline"}));
    device.stop();
}

#[test]
fn termination_ends_well_within_5_seconds_though_the_broker_is_away() {
    let mut broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let mut gateway = Setup::new(&broker).start();
    let mut device = NotifyingDevice::start(gateway.lwm2m_address(), "thermometer", PAUSE);
    expect_key(&mut cloud, 0, "temperature");
    broker.stop();
    device.expect_acknowledged(5);
    assert_eq!(gateway.exit_code_of_stop(Duration::from_secs(5)), Some(0));
    device.stop();
}

#[test]
fn second_gateway_on_one_base_raises_an_alarm_at_the_first() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/bridge/#");
    let first = Setup::new(&broker).name("first").start();
    first.wait_for_json("/readyz", |ready| ready["sinks"]["local"] == "connected");
    let second = Setup::new(&broker).name("second").start();
    let alarm = cloud.expect("the alarm", |topic, _| topic == "lwm2m/bridge/alarm/base_conflict").payload;
    assert_eq!(alarm["alarm"], "base_conflict", "{alarm}");
    assert!(alarm["message"].as_str().is_some_and(|message| message.contains("second")), "{alarm}");
    first.wait_for_log("base_conflict");
    drop(second);
}

fn expect_key(cloud: &mut Subscriber, after: usize, key: &str) {
    cloud.expect_after(after, &format!("telemetry `{key}`"), |topic, payload| {
        topic.ends_with("/telemetry") && payload["values"][key].is_number()
    });
}

fn request_reload(broker: &Mosquitto, cloud: &mut Subscriber, id: &str) {
    broker.publish("lwm2m/bridge/request/reload", &json!({ "id": id }));
    let answer = cloud.expect("the answer to the reload", |topic, payload| {
        topic == "lwm2m/bridge/response/reload" && payload["id"] == id
    });
    assert_eq!(answer.payload["status"], "ok", "{}", answer.payload);
}

/// Reads the unknown object's resource and answers the result, which must be `done`.
fn read(broker: &Mosquitto, cloud: &mut Subscriber, id: &str) -> Value {
    let command = json!({ "id": id, "operation": "read", "path": "/42001/0/1", "format": "tlv" });
    broker.publish("lwm2m/counter/command", &command);
    let result = cloud.expect(&format!("the result of {command}"), |topic, payload| {
        topic == "lwm2m/counter/response" && payload["id"] == id && payload["status"] != "queued"
    });
    assert_eq!(result.payload["status"], "done", "{}", result.payload);
    result.payload
}
