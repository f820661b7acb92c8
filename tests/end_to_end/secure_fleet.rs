//! A fleet of simulated devices on DTLS. They shake hands by code of their own, so this holds it against the library of the
//! gateway, and the library against it.

use lwm2mqtt::simulator::fleet::endpoint_name;
use lwm2mqtt::simulator::psk;
use serde_json::{Value, json};

use super::harness::{Gateway, Mosquitto, Setup, free_port};

const DEVICES: u32 = 40;

/// The gateway learns the keys of all devices.
fn know_fleet(gateway: &Gateway, scope: &str) {
    let credentials: Vec<Value> = (0..DEVICES)
        .map(|number| {
            let endpoint = endpoint_name("fleet-", number);
            let key = data_encoding::HEXLOWER.encode(psk::key(endpoint.as_bytes(), None).expose());
            json!({"endpoint": endpoint, "mode": "psk", "key": key, "key_format": "hex", "scope": scope})
        })
        .collect();
    let (status, answer) = gateway.ask("POST", "/api/v1/credentials?all_or_nothing=true", &Value::Array(credentials));
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn fleet_with_pre_shared_keys_shakes_hands_reports_and_says_goodbye() {
    let broker = Mosquitto::start();
    let gateway = Setup::new(&broker).unknown_devices("refuse").dtls().start();
    know_fleet(&gateway, "server");

    let mut command = gateway.bare_command();
    command.args(["simulate", "--server", &format!("coaps://{}", gateway.dtls_address()), "--psk-prefix", "fleet-"]);
    command.args(["--devices", &DEVICES.to_string(), "--interval", "500ms", "--seconds", "8", "--json"]);
    let output = command.output().expect("the binary runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let count = |field: &str| report[field].as_u64().unwrap_or_default();
    assert_eq!((count("registered"), count("handshakes")), (u64::from(DEVICES), u64::from(DEVICES)), "{report}");
    assert_eq!((count("handshake_failures"), count("lost")), (0, 0), "{report}");
    assert!(count("acknowledged") > 4 * u64::from(DEVICES), "{report}");
    // All have de-registered and closed their sessions.
    gateway.wait_for_json("/api/v1/devices?limit=100", |page| {
        let devices = page["items"].as_array();
        devices.is_some_and(|devices| devices.iter().all(|device| device["state"] == "offline"))
    });
}

#[test]
fn fleet_that_knows_nothing_but_a_bootstrap_server_registers_with_the_keys_it_is_told() {
    let broker = Mosquitto::start();
    let port = free_port();
    let section = format!("[bootstrap]\nudp = \"off\"\ndtls = \"127.0.0.1:{port}\"\n");
    let gateway = Setup::new(&broker).unknown_devices("refuse").dtls().file("conf.d/bootstrap.toml", &section).start();
    know_fleet(&gateway, "bootstrap");
    let entry = json!({"servers": ["management-psk"]});
    let (status, answer) = gateway.ask("PUT", "/api/v1/bootstrap/devices/fleet-*", &entry);
    assert_eq!(status, 201, "{answer}");

    let mut command = gateway.bare_command();
    command.args(["simulate", "--bootstrap", "--server", &format!("coaps://127.0.0.1:{port}")]);
    command.args(["--psk-prefix", "fleet-", "--devices", &DEVICES.to_string()]);
    command.args(["--interval", "500ms", "--seconds", "12", "--json"]);
    let output = command.output().expect("the binary runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let count = |field: &str| report[field].as_u64().unwrap_or_default();
    let devices = u64::from(DEVICES);
    assert_eq!(
        (count("bootstraps"), count("bootstrap_failures"), count("registered")),
        (devices, 0, devices),
        "{report}"
    );
    assert_eq!((count("handshakes"), count("handshake_failures"), count("lost")), (2 * devices, 0, 0), "{report}");
    assert!(count("acknowledged") > devices, "{report}");
}
