//! Commands over HTTP to devices that answer, and what becomes of them when things break.

use serde_json::{Value, json};

use super::harness::{Gateway, Mosquitto, Setup, SimulatedDevices};

const DEVICE: &str = "/api/v1/devices/sim-000000";

fn wait_until_online(gateway: &Gateway) {
    gateway.wait_for_json(DEVICE, |record| record["state"] == "online");
}

fn command(gateway: &Gateway, body: &Value) -> (u16, Value) {
    gateway.ask("POST", &format!("{DEVICE}/commands"), body)
}

#[test]
fn a_device_is_read_written_and_executed_by_http() {
    let broker = Mosquitto::start();
    let gateway = Setup::new(&broker).start();
    let _devices = SimulatedDevices::start(gateway.lwm2m_address(), 1);
    wait_until_online(&gateway);

    let (status, result) = gateway.get(&format!("{DEVICE}/resources/3/0/0"));
    assert_eq!((status, &result["status"], &result["code"]), (200, &json!("done"), &json!("2.05")), "{result}");
    assert!(result["value"].is_string(), "{result}");
    let (status, by_name) = gateway.get(&format!("{DEVICE}/resources/device/0/manufacturer"));
    assert_eq!((status, &by_name["value"]), (200, &result["value"]));
    let (status, cached) = gateway.get(&format!("{DEVICE}/resources/3/0/0?cached=true"));
    assert_eq!((status, &cached["value"]), (200, &result["value"]), "{cached}");
    assert!(cached["age_ms"].is_u64() && cached["ts"].is_i64(), "{cached}");

    let (status, refused) = gateway.get(&format!("{DEVICE}/resources/9999/0/1"));
    assert_eq!((status, &refused["code"]), (502, &json!("4.04")), "{refused}");
    let (status, wrong) = gateway.get(&format!("{DEVICE}/resources/nothing/0/1"));
    assert_eq!((status, &wrong["error"]["field"]), (400, &json!("path")), "{wrong}");

    let read = json!({ "operation": "read", "path": "/3/0/0", "id": "mine" });
    let (status, accepted) = command(&gateway, &read);
    assert_eq!((status, &accepted["id"]), (202, &json!("mine")), "{accepted}");
    let ended = gateway.wait_for_json("/api/v1/commands/mine", |command| command["status"] == "done");
    assert_eq!(ended["value"], result["value"]);
    let (status, again) = command(&gateway, &read);
    assert_eq!((status, &again["status"]), (200, &json!("done")), "the stored result again: {again}");
    let (status, other) = command(&gateway, &json!({ "operation": "read", "path": "/3/0/1", "id": "mine" }));
    assert_eq!((status, &other["error"]["kind"]), (409, &json!("conflict")), "{other}");
}

#[test]
fn a_command_accepted_by_http_has_its_result_though_the_gateway_is_killed() {
    let broker = Mosquitto::start();
    let mut gateway = Setup::new(&broker).start();
    let mut devices = SimulatedDevices::start(gateway.lwm2m_address(), 1);
    wait_until_online(&gateway);
    devices.vanish();
    let (status, accepted) = command(&gateway, &json!({ "operation": "read", "path": "/3/0/0", "id": "survivor" }));
    gateway.kill_nine();
    assert_eq!((status, &accepted["id"]), (202, &json!("survivor")), "{accepted}");
    gateway.restart();
    let (status, waiting) = gateway.get("/api/v1/commands/survivor");
    assert_eq!(status, 200, "{waiting}");
    let _devices = SimulatedDevices::start(gateway.lwm2m_address(), 1);
    let ended = gateway.wait_for_json("/api/v1/commands/survivor", |command| command["status"] == "done");
    assert_eq!(ended["code"], "2.05", "{ended}");
}

#[test]
fn a_full_queue_is_429_and_a_waiting_command_can_be_withdrawn() {
    let broker = Mosquitto::start();
    let gateway = Setup::new(&broker).file("conf.d/limits.toml", "[limits]\ncommands_per_device = 1\n").start();
    let _devices = SimulatedDevices::start(gateway.lwm2m_address(), 1);
    wait_until_online(&gateway);
    let later =
        |id: &str| json!({ "operation": "read", "path": "/3/0/0", "id": id, "not_before": 4_102_444_800_000_i64 });
    assert_eq!(command(&gateway, &later("first")).0, 202);
    let (status, refused) = command(&gateway, &later("second"));
    assert_eq!((status, &refused["error"]["kind"]), (429, &json!("queue_full")), "{refused}");
    let (status, list) = gateway.get("/api/v1/commands?device=sim-000000&status=accepted");
    assert_eq!((status, &list["items"][0]["id"], &list["next"]), (200, &json!("first"), &Value::Null), "{list}");
    let (status, cancelled) = gateway.ask("DELETE", "/api/v1/commands/first", &Value::Null);
    assert_eq!((status, &cancelled["status"]), (200, &json!("cancelled")), "{cancelled}");
    let (status, ended) = gateway.ask("DELETE", "/api/v1/commands/first", &Value::Null);
    assert_eq!((status, &ended["error"]["kind"]), (409, &json!("conflict")), "{ended}");
    assert_eq!(command(&gateway, &later("second")).0, 202, "there is room again");
}
