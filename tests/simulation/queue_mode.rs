//! Devices that sleep: commands wait, durably, and go one at a time when the device is heard.

use std::time::Duration;

use lwm2mqtt::mapping::MappingFile;
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::simulator::device::DeviceEvent;
use lwm2mqtt::simulator::script::DeviceScript;
use lwm2mqtt::simulator::world::{World, WorldScript};
use serde_json::json;

use super::checks::{results, retained, terminal};
use super::for_each_seed;

fn sleeper() -> DeviceScript {
    let mut script = DeviceScript::new("sleeper")
        .with(Path::resource(3303, 0, 5700), Value::Float(21.0))
        .with_writable(Path::resource(3308, 0, 5900), Value::Float(20.0));
    script.queue_mode = true;
    script.awake_window = Duration::from_secs(93);
    script.lifetime_secs = 3_600;
    script.update_interval = Some(Duration::from_secs(900));
    script
}

/// A world whose mapping observes nothing on the sleeper, so that only its updates wake it.
fn quiet_world(seed: u64) -> World {
    let mut script = WorldScript::new(seed);
    let text = "version = 1\n[match]\nendpoint = \"sleeper\"\n[[ignore]]\npath = \"/3303/*/*\"\n[[ignore]]\npath = \"/3308/*/*\"\n";
    script.mappings.push(MappingFile { name: "quiet.toml".into(), text: text.into() });
    World::new(script)
}

#[test]
fn write_to_sleeping_device_waits_for_update_and_survives_a_power_cut() {
    for_each_seed(|seed| {
        let mut world = quiet_world(seed);
        world.add_device(sleeper());
        world.run_for(Duration::from_secs(300));
        assert_eq!(retained(&world, "lwm2m/sleeper/state").unwrap()["state"], "asleep");
        world.downlink("lwm2m/sleeper/command", r#"{"id":"1","operation":"write","path":"/3308/0/5900","value":23}"#);
        world.run_for(Duration::from_secs(5));
        assert_eq!(results(&world, "sleeper", "1").len(), 1);
        assert_eq!(results(&world, "sleeper", "1")[0]["status"], "queued");
        world.run_for(Duration::from_millis(seed * 7 % 300));
        world.cut_power();
        world.run_for(Duration::from_secs(10));
        world.switch_on();
        world.run_for(Duration::from_secs(1_000));
        assert_eq!(terminal(&world, "sleeper", "1")["status"], "done");
        let written = world.device_events.iter().filter(|(_, _, event)| matches!(event, DeviceEvent::Written { .. }));
        assert_eq!(written.count(), 1);
    });
}

#[test]
fn nothing_is_sent_to_a_sleeping_device() {
    let mut world = quiet_world(1);
    world.add_device(sleeper());
    world.run_for(Duration::from_secs(300));
    let before = world.network.statistics().sent;
    world.downlink("lwm2m/sleeper/command", r#"{"id":"1","operation":"read","path":"/3303/0/5700"}"#);
    world.run_for(Duration::from_secs(300));
    assert_eq!(world.network.statistics().sent, before);
}

#[test]
fn a_command_that_would_not_wait_fails_and_one_with_a_short_ttl_expires() {
    let mut world = quiet_world(1);
    world.add_device(sleeper());
    world.run_for(Duration::from_secs(300));
    world.downlink(
        "lwm2m/sleeper/command",
        r#"{"id":"1","operation":"read","path":"/3303/0/5700","when_asleep":"fail"}"#,
    );
    world.downlink("lwm2m/sleeper/command", r#"{"id":"2","operation":"read","path":"/3303/0/5700","ttl":"30s"}"#);
    world.run_for(Duration::from_secs(60));
    assert_eq!(terminal(&world, "sleeper", "1")["error"]["kind"], "asleep");
    assert_eq!(terminal(&world, "sleeper", "2")["status"], "expired");
}

#[test]
fn a_waiting_command_can_be_cancelled() {
    let mut world = quiet_world(1);
    world.add_device(sleeper());
    world.run_for(Duration::from_secs(300));
    world.downlink("lwm2m/sleeper/command", r#"{"id":"1","operation":"read","path":"/3303/0/5700"}"#);
    world.run_for(Duration::from_secs(1));
    world.downlink("lwm2m/sleeper/command", r#"{"id":"2","operation":"cancel","command":"1"}"#);
    world.run_for(Duration::from_secs(1));
    assert_eq!(terminal(&world, "sleeper", "1")["status"], "cancelled");
    assert_eq!(terminal(&world, "sleeper", "2")["status"], json!("done"));
}
