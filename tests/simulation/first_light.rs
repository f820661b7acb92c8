//! One device in a perfect world: register, observe, notify, publish, write back.

use std::time::Duration;

use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::simulator::device::DeviceEvent;
use lwm2mqtt::simulator::script::DeviceScript;
use lwm2mqtt::simulator::world::{World, WorldScript};
use serde_json::{Value as Json, json};

const TEMPERATURE: Path = Path::resource(3303, 0, 5700);
const SET_POINT: Path = Path::resource(3308, 0, 5900);

fn weather(endpoint: &str) -> DeviceScript {
    DeviceScript::new(endpoint)
        .with(TEMPERATURE, Value::Float(21.5))
        .with(Path::resource(3, 0, 0), Value::String("ACME".into()))
        .with_writable(SET_POINT, Value::Float(20.0))
}

fn bodies(world: &World, topic: &str) -> Vec<Json> {
    let on_topic = world.broker.received.iter().filter(|(_, message)| message.topic == topic);
    on_topic.map(|(_, message)| serde_json::from_slice(&message.payload).unwrap()).collect()
}

#[test]
fn a_device_registers_is_observed_and_its_values_reach_the_broker() {
    let mut world = World::new(WorldScript::new(1));
    let device = world.add_device(weather("weather-1"));
    world.run_for(Duration::from_secs(10));
    assert_eq!(bodies(&world, "lwm2m/weather-1/state").last().unwrap()["state"], "online");
    assert!(
        world
            .device_events
            .iter()
            .any(|(_, _, event)| matches!(event, DeviceEvent::Observed { path } if *path == TEMPERATURE))
    );
    world.with_device(device, |device, now| device.set_value(now, TEMPERATURE, Value::Float(22.25)));
    world.run_for(Duration::from_secs(10));
    let telemetry = bodies(&world, "lwm2m/weather-1/telemetry");
    assert_eq!(telemetry.first().unwrap()["values"]["temperature_0"], json!(21.5), "{telemetry:?}");
    assert!(telemetry.iter().any(|body| body["values"]["temperature_0"] == json!(22.25)), "{telemetry:?}");
    assert_eq!(bodies(&world, "lwm2m/weather-1/values").last().unwrap()["values"]["temperature_0"], json!(22.25));
    assert!(
        world.device_events.iter().any(|(_, _, event)| matches!(event, DeviceEvent::NotificationAcknowledged { .. }))
    );
}

#[test]
fn a_command_writes_to_the_device_and_ends_with_one_result() {
    let mut world = World::new(WorldScript::new(1));
    world.add_device(weather("weather-1"));
    world.run_for(Duration::from_secs(5));
    world.downlink("lwm2m/weather-1/command", r#"{"id":"42","operation":"write","path":"/3308/0/5900","value":23.5}"#);
    world.run_for(Duration::from_secs(5));
    let written = world.device_events.iter().filter(|(_, _, event)| {
        matches!(event, DeviceEvent::Written { path, value } if *path == SET_POINT && *value == Value::Float(23.5))
    });
    assert_eq!(written.count(), 1);
    let results = bodies(&world, "lwm2m/weather-1/response");
    assert_eq!(results.len(), 1, "{results:?}");
    assert_eq!(
        (&results[0]["id"], &results[0]["status"], &results[0]["code"]),
        (&json!("42"), &json!("done"), &json!("2.04"))
    );
    assert_eq!(world.broker.unacknowledged(), 0);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let mut world = World::new(WorldScript::new(seed));
        world.add_device(weather("weather-1"));
        world.run_for(Duration::from_secs(60));
        world.trace
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
