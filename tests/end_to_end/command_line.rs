//! Commands of the command line against a gateway that runs.

use std::process::{Command, Output};

use serde_json::Value;

use super::fleet::PAUSE;
use super::harness::{Gateway, Mosquitto, NotifyingDevice, Setup};

/// Runs `lwm2mqtt COMMAND.. --config FILE`, as somebody on the gateway's machine does.
fn run(gateway: &Gateway, line: &[&str]) -> Output {
    let mut command: Command = gateway.bare_command();
    command.args(line).arg("--config").arg(gateway.path("config.toml"));
    command.output().expect("the binary runs")
}

#[track_caller]
fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

fn registered(broker: &Mosquitto) -> (Gateway, NotifyingDevice) {
    let gateway = Setup::new(broker).sink("role = \"admin\"").start();
    let device = NotifyingDevice::start(gateway.lwm2m_address(), "thermometer", PAUSE);
    gateway.wait_for_json("/api/v1/devices/thermometer", |record| {
        let mut observations = record["observations"].as_array().into_iter().flatten();
        observations.any(|one| one["path"] == "/3303/0/5700" && one["state"] == "active")
    });
    (gateway, device)
}

#[test]
fn devices_are_listed_shown_read_and_removed() {
    let broker = Mosquitto::start();
    let (gateway, device) = registered(&broker);
    let list = said(&run(&gateway, &["device", "list"]));
    assert!(list.lines().next().unwrap().starts_with("DEVICE"), "{list}");
    assert!(list.lines().nth(1).unwrap().starts_with("thermometer  online"), "{list}");
    let none: Value = serde_json::from_str(&said(&run(&gateway, &["device", "list", "nobody", "--json"]))).unwrap();
    assert_eq!(none, Value::Array(Vec::new()));
    let record: Value = serde_json::from_str(&said(&run(&gateway, &["device", "show", "thermometer"]))).unwrap();
    assert_eq!(record["endpoint"], "thermometer");

    let why = said(&run(&gateway, &["device", "why", "thermometer"]));
    assert!(why.starts_with("thermometer is online"), "{why}");

    let value = said(&run(&gateway, &["device", "read", "thermometer", "/temperature/0/sensor_value"]));
    assert!(value.trim().parse::<f64>().is_ok(), "{value}");
    let refused = run(&gateway, &["device", "read", "thermometer", "/3/0/0"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("4.04"), "{refused:?}");
    let unknown = run(&gateway, &["device", "show", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));

    device.stop();
    said(&run(&gateway, &["device", "remove", "thermometer"]));
    assert_eq!(gateway.get("/api/v1/devices/thermometer").0, 404);
}

#[test]
fn a_new_mapping_file_passes_the_check() {
    let broker = Mosquitto::start();
    let (gateway, device) = registered(&broker);
    let file = said(&run(&gateway, &["mapping", "new", "thermometer"]));
    assert!(file.contains("key = \"temperature_{instance}\""), "{file}");
    gateway.write_file("mappings/temperature.toml", &file);
    let check = said(&run(&gateway, &["check"]));
    assert!(check.trim_end().ends_with("and 1 mapping file: fine") && check.lines().count() == 1, "{check}");
    let line = ["explain", "--device", "thermometer", "--path", "/3303/0/5700", "--value", "21.5"];
    let explained = said(&run(&gateway, &line));
    assert!(explained.contains("temperature_0"), "{explained}");
    device.stop();
}

#[test]
fn a_trace_shows_messages_and_writes_a_capture() {
    let broker = Mosquitto::start();
    let (gateway, device) = registered(&broker);
    let capture = gateway.path("device.pcapng");
    let line = ["trace", "thermometer", "--for", "2s", "--pcap", capture.to_str().unwrap()];
    let text = said(&run(&gateway, &line));
    assert!(text.contains("<- CON 2.05 /3303/0/5700 ["), "{text}");
    assert!(text.contains("-> ACK empty ["), "{text}");
    let bytes = std::fs::read(capture).unwrap();
    assert_eq!(bytes[..4], [0x0a, 0x0d, 0x0d, 0x0a], "a section header of pcapng");
    let senml = br#"[{"bn":"/3303/0/5700""#;
    assert!(bytes.windows(senml.len()).any(|window| window == senml), "the payload as the device sent it");
    device.stop();
}
