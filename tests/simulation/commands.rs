//! Commands: exactly one terminal result, whatever happens in between.

use std::time::Duration;

use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::simulator::device::DeviceEvent;
use lwm2mqtt::simulator::network::Conditions;
use lwm2mqtt::simulator::script::DeviceScript;
use lwm2mqtt::simulator::world::{World, WorldScript};
use serde_json::json;

use super::checks::{bodies, results, terminal};
use super::for_each_seed;

const SET_POINT: Path = Path::resource(3308, 0, 5900);
const REBOOT: Path = Path::resource(3, 0, 4);

fn thermostat(endpoint: &str) -> DeviceScript {
    let mut script = DeviceScript::new(endpoint)
        .with(Path::resource(3303, 0, 5700), Value::Float(21.0))
        .with(Path::resource(3, 0, 0), Value::String("ACME".into()))
        .with_writable(SET_POINT, Value::Float(20.0))
        .with_executable(REBOOT);
    script.tree.allow_create(3308);
    script.registration_retry = Duration::from_secs(2);
    script
}

fn command(world: &mut World, endpoint: &str, body: &serde_json::Value) {
    world.downlink(&format!("lwm2m/{endpoint}/command"), &body.to_string());
}

fn executions(world: &World) -> usize {
    world.device_events.iter().filter(|(_, _, event)| matches!(event, DeviceEvent::Executed { .. })).count()
}

#[test]
fn every_command_has_one_terminal_result_through_loss_and_power_cuts() {
    for_each_seed(|seed| {
        let mut script = WorldScript::new(seed);
        script.conditions = Conditions { loss: 0.1, latency_max: Duration::from_millis(200), ..Conditions::perfect() };
        let mut world = World::new(script);
        world.add_device(thermostat("dev"));
        world.run_for(Duration::from_secs(60));
        for round in 0..6_u32 {
            command(
                &mut world,
                "dev",
                &json!({"id": format!("w{round}"), "operation": "write", "path": "/3308/0/5900", "value": 20.0 + f64::from(round)}),
            );
            command(
                &mut world,
                "dev",
                &json!({"id": format!("r{round}"), "operation": "read", "path": "/3303/0/5700"}),
            );
            world.run_for(Duration::from_millis((seed * 37 + u64::from(round) * 61) % 500));
            if (seed + u64::from(round)) % 2 == 0 {
                world.cut_power();
                world.run_for(Duration::from_millis(300));
                world.switch_on();
            }
            world.run_for(Duration::from_secs(2));
        }
        world.network.set_conditions(Conditions::perfect());
        world.run_for(Duration::from_secs(400));
        assert_eq!(world.broker.unacknowledged(), 0);
        for round in 0..6 {
            terminal(&world, "dev", &format!("w{round}"));
            terminal(&world, "dev", &format!("r{round}"));
        }
    });
}

#[test]
fn an_execute_never_runs_twice() {
    for_each_seed(|seed| {
        let mut script = WorldScript::new(seed);
        script.conditions = Conditions { loss: 0.2, latency_max: Duration::from_millis(200), ..Conditions::perfect() };
        let mut world = World::new(script);
        world.add_device(thermostat("dev").with_executable(Path::resource(3, 0, 12)));
        world.run_for(Duration::from_secs(60));
        command(&mut world, "dev", &json!({"id": "x", "operation": "execute", "path": "/3/0/12"}));
        world.run_for(Duration::from_millis(seed * 13 % 900));
        world.cut_power();
        world.run_for(Duration::from_millis(200));
        world.switch_on();
        world.network.set_conditions(Conditions::perfect());
        world.run_for(Duration::from_secs(400));
        let result = terminal(&world, "dev", "x");
        assert!(executions(&world) <= 1, "{}", executions(&world));
        if result["status"] == "done" {
            assert_eq!(executions(&world), 1);
        }
    });
}

#[test]
fn a_repeated_id_gets_the_stored_result_and_another_body_a_conflict() {
    let mut world = World::new(WorldScript::new(1));
    world.add_device(thermostat("dev"));
    world.run_for(Duration::from_secs(5));
    let write = json!({"id": "1", "operation": "write", "path": "/3308/0/5900", "value": 22});
    command(&mut world, "dev", &write);
    world.run_for(Duration::from_secs(5));
    command(&mut world, "dev", &write);
    world.run_for(Duration::from_secs(5));
    assert_eq!(bodies(&world, "lwm2m/dev/response").len(), 2);
    assert_eq!(results(&world, "dev", "1").len(), 1);
    let writes =
        world.device_events.iter().filter(|(_, _, event)| matches!(event, DeviceEvent::Written { .. })).count();
    assert_eq!(writes, 1);
    command(&mut world, "dev", &json!({"id": "1", "operation": "write", "path": "/3308/0/5900", "value": 25}));
    world.run_for(Duration::from_secs(5));
    let last = bodies(&world, "lwm2m/dev/response").pop().unwrap();
    assert_eq!((&last["status"], &last["error"]["kind"]), (&json!("failed"), &json!("conflict")));
}

#[test]
fn device_errors_and_bad_commands_end_failed_with_code_or_field() {
    let mut world = World::new(WorldScript::new(1));
    world.add_device(thermostat("dev"));
    world.run_for(Duration::from_secs(5));
    for (id, body, code, kind) in [
        ("a", json!({"id": "a", "operation": "read", "path": "/3303/7/5700"}), json!("4.04"), json!(null)),
        ("b", json!({"id": "b", "operation": "write", "path": "/3303/0/5700", "value": 1}), json!("4.05"), json!(null)),
        (
            "c",
            json!({"id": "c", "operation": "write", "path": "/3308/0/5900", "value": "hot"}),
            json!(null),
            json!("invalid"),
        ),
        ("d", json!({"id": "d", "operation": "fly"}), json!(null), json!("invalid")),
        (
            "e",
            json!({"id": "e", "operation": "discover", "path": "/3", "depth": 2}),
            json!(null),
            json!("not_supported"),
        ),
        ("f", json!({"id": "f", "name": "no such command"}), json!(null), json!("invalid")),
        ("g", json!({"id": "g", "operation": "cancel", "command": "none"}), json!(null), json!("invalid")),
    ] {
        command(&mut world, "dev", &body);
        world.run_for(Duration::from_secs(5));
        let result = terminal(&world, "dev", id);
        assert_eq!(
            (&result["status"], &result["code"], &result["error"]["kind"]),
            (&json!("failed"), &code, &kind),
            "{result}"
        );
    }
    world.downlink("lwm2m/dev/command", "this is no JSON");
    world.downlink("lwm2m/nobody/command", r#"{"id":"n","operation":"read","path":"/3"}"#);
    world.run_for(Duration::from_secs(5));
    assert!(
        bodies(&world, "lwm2m/dev/response").last().unwrap()["error"]["message"].as_str().unwrap().contains("no JSON")
    );
    assert_eq!(terminal(&world, "nobody", "n")["error"]["kind"], "unknown_device");
    assert_eq!(world.broker.unacknowledged(), 0);
}

#[test]
fn all_operations_do_what_they_say() {
    let mut world = World::new(WorldScript::new(1));
    world.add_device(thermostat("dev"));
    world.run_for(Duration::from_secs(5));
    let mut ask = |body: serde_json::Value| {
        let id = body["id"].as_str().unwrap().to_owned();
        command(&mut world, "dev", &body);
        world.run_for(Duration::from_secs(5));
        terminal(&world, "dev", &id)
    };
    let read = ask(json!({"id": "1", "operation": "read", "path": "/temperature/0/sensor_value"}));
    assert_eq!((&read["code"], &read["value"], &read["path"]), (&json!("2.05"), &json!(21.0), &json!("/3303/0/5700")));
    let instance = ask(json!({"id": "2", "operation": "read", "path": "/3303/0"}));
    assert_eq!(instance["values"]["/3303/0/5700"], json!(21.0));
    let discover = ask(json!({"id": "3", "operation": "discover", "path": "/3303"}));
    assert!(discover["links"].as_array().unwrap().iter().any(|link| link["path"] == "/3303/0/5700"), "{discover}");
    let attributes = ask(
        json!({"id": "4", "operation": "write_attributes", "path": "/3308/0/5900", "attributes": {"pmin": 2, "pmax": 9}}),
    );
    assert_eq!(attributes["code"], "2.04");
    let observe = ask(json!({"id": "5", "operation": "observe", "path": "/3308/0/5900"}));
    assert_eq!((&observe["status"], &observe["value"]), (&json!("done"), &json!(20.0)));
    let execute = ask(json!({"id": "6", "operation": "execute", "path": "/3/0/4"}));
    assert_eq!(execute["status"], "done", "{execute}");
    let create = ask(json!({"id": "7", "operation": "create", "path": "/3308/5", "values": {"5900": 7.5}}));
    assert_eq!(create["code"], "2.01", "{create}");
    let update = ask(json!({"id": "8", "operation": "write_update", "path": "/3308/0", "values": {"5900": 19.5}}));
    assert_eq!(update["code"], "2.04", "{update}");
    let delete = ask(json!({"id": "9", "operation": "delete", "path": "/3308/5"}));
    assert_eq!(delete["code"], "2.02", "{delete}");
}

#[test]
fn values_of_an_observation_by_command_reach_the_notify_topic_until_it_is_cancelled() {
    let mut world = World::new(WorldScript::new(1));
    let address = world.add_device(thermostat("dev").with(Path::resource(3303, 0, 5701), Value::String("Cel".into())));
    let unit = Path::resource(3303, 0, 5701);
    world.run_for(Duration::from_secs(5));
    command(&mut world, "dev", &json!({"id": "o", "operation": "observe", "path": "/3303/0/5701"}));
    world.run_for(Duration::from_secs(5));
    assert_eq!(terminal(&world, "dev", "o")["status"], "done");
    world.with_device(address, |device, now| device.set_value(now, unit, Value::String("K".into())));
    world.run_for(Duration::from_secs(5));
    assert_eq!(bodies(&world, "lwm2m/dev/notify").last().unwrap()["value"], "K");
    command(&mut world, "dev", &json!({"id": "c", "operation": "cancel_observe", "path": "/3303/0/5701"}));
    world.run_for(Duration::from_secs(5));
    assert_eq!(terminal(&world, "dev", "c")["status"], "done");
    let before = bodies(&world, "lwm2m/dev/notify").len();
    world.with_device(address, |device, now| device.set_value(now, unit, Value::String("F".into())));
    world.run_for(Duration::from_secs(5));
    assert_eq!(bodies(&world, "lwm2m/dev/notify").len(), before);
}

#[test]
fn the_queue_of_a_device_is_bounded_and_says_so() {
    let mut script = WorldScript::new(1);
    script.configuration.limits.max_commands_per_device = 3;
    let mut world = World::new(script);
    let address = world.add_device(thermostat("dev"));
    world.run_for(Duration::from_secs(5));
    world.with_device(address, lwm2mqtt::simulator::device::SimulatedDevice::deregister);
    world.run_for(Duration::from_secs(5));
    for id in 0..5 {
        command(&mut world, "dev", &json!({"id": format!("{id}"), "operation": "read", "path": "/3/0/0"}));
    }
    world.run_for(Duration::from_secs(5));
    assert_eq!(results(&world, "dev", "2")[0]["status"], "queued");
    assert_eq!(terminal(&world, "dev", "3")["error"]["kind"], "queue_full");
    world.with_device(address, lwm2mqtt::simulator::device::SimulatedDevice::start);
    world.run_for(Duration::from_secs(20));
    assert_eq!(terminal(&world, "dev", "2")["status"], "done");
}

#[test]
fn set_writes_the_newest_value_and_get_reads() {
    let mut world = World::new(WorldScript::new(1));
    let address = world.add_device(thermostat("dev"));
    world.run_for(Duration::from_secs(5));
    world.with_device(address, lwm2mqtt::simulator::device::SimulatedDevice::deregister);
    world.run_for(Duration::from_secs(5));
    world.downlink("lwm2m/dev/set", r#"{"setpoint_0": 18}"#);
    world.run_for(Duration::from_secs(1));
    world.downlink("lwm2m/dev/set", r#"{"setpoint_0": 19}"#);
    world.run_for(Duration::from_secs(1));
    world.with_device(address, lwm2mqtt::simulator::device::SimulatedDevice::start);
    world.run_for(Duration::from_secs(20));
    let written: Vec<&Value> = world
        .device_events
        .iter()
        .filter_map(|(_, _, event)| match event {
            DeviceEvent::Written { value, .. } => Some(value),
            _ => None,
        })
        .collect();
    assert_eq!(written, [&Value::Float(19.0)]);
    let responses = bodies(&world, "lwm2m/dev/response");
    assert!(
        responses.iter().any(|body| body["status"] == "cancelled" && body["replaced_by"].is_string()),
        "{responses:?}"
    );
    assert!(
        responses
            .iter()
            .any(|body| body["operation"] == "set" && body["key"] == "setpoint_0" && body["status"] == "done")
    );
    let before = bodies(&world, "lwm2m/dev/telemetry").len();
    world.downlink("lwm2m/dev/get", r#"{"keys":["temperature_0"]}"#);
    world.run_for(Duration::from_secs(5));
    assert_eq!(bodies(&world, "lwm2m/dev/telemetry").len(), before + 1);
}

#[test]
fn a_ttl_that_ends_while_the_command_is_under_way_neither_stops_time_nor_the_command() {
    let mut world = World::new(WorldScript::new(1));
    let address = world.add_device(thermostat("dev"));
    world.run_for(Duration::from_secs(5));
    world.network.cut(address);
    let write = json!({"id": "w", "operation": "write", "path": "/3308/0/5900", "value": 22, "ttl": "5s"});
    command(&mut world, "dev", &write);
    world.run_for(Duration::from_secs(20));
    assert_eq!(results(&world, "dev", "w").len(), 0);
    world.run_for(Duration::from_secs(100));
    assert_eq!(terminal(&world, "dev", "w")["error"]["kind"], "unreachable");
}

#[test]
fn a_command_for_later_waits_for_a_device_that_sleeps_when_its_time_comes() {
    let mut world = World::new(WorldScript::new(1));
    let mut script = thermostat("dev");
    script.queue_mode = true;
    script.update_interval = Some(Duration::from_secs(600));
    world.add_device(script);
    world.run_for(Duration::from_secs(120));
    let later = world.wall().millis() + 60_000;
    let write =
        json!({"id": "w", "operation": "write", "path": "/3308/0/5900", "value": 22, "not_before": later, "ttl": "2h"});
    command(&mut world, "dev", &write);
    world.run_for(Duration::from_secs(150));
    assert_eq!(results(&world, "dev", "w").last().unwrap()["status"], "queued");
    world.run_for(Duration::from_secs(600));
    assert_eq!(terminal(&world, "dev", "w")["status"], "done");
}
