//! End devices behind a gateway device through power cuts and the end of their gateway.

use std::time::Duration;

use lwm2mqtt::gateway::vocabulary::{Answer, Query};
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::simulator::script::DeviceScript;
use lwm2mqtt::simulator::world::{World, WorldScript};
use serde_json::{Value as Json, json};

/// A device that lists one end device.
fn hub() -> DeviceScript {
    DeviceScript::new("hub")
        .with(Path::resource(3, 0, 0), Value::String("ACME".into()))
        .with(Path::resource(25, 0, 0), Value::String("serial".into()))
        .with(Path::resource(25, 0, 1), Value::String("d01".into()))
        .with(Path::resource(25, 0, 3), Value::CoreLink("</3/0>,</3303/0>".into()))
}

fn about(world: &mut World, device: &str) -> Json {
    match world.ask(Query::Device { device: device.to_owned() }) {
        Some(Answer::Body(body)) => body,
        other => panic!("{device}: {other:?}"),
    }
}

#[test]
fn an_end_device_is_still_behind_its_gateway_after_a_power_cut() {
    let mut world = World::new(WorldScript::new(1));
    let address = world.add_device(hub());
    world.run_for(Duration::from_secs(10));
    let before = about(&mut world, "hub:d01");
    assert_eq!((&before["state"], &before["gateway"]), (&json!("online"), &json!("hub")), "{before}");
    world.cut_power();
    world.run_for(Duration::from_secs(5));
    world.switch_on();
    world.run_for(Duration::from_secs(5));
    let after = about(&mut world, "hub:d01");
    assert_eq!((&after["state"], &after["gateway"]), (&json!("online"), &json!("hub")), "{after}");
    assert_eq!(after["objects"]["3303"]["instances"], json!([0]), "{after}");
    // It is asked over the line of its gateway, which knows no such path here: an answer all the same.
    let read = json!({"id": "r", "operation": "read", "path": "/3303/0/5700"}).to_string();
    world.downlink("lwm2m/hub:d01/command", &read);
    world.run_for(Duration::from_secs(5));
    let result = super::checks::terminal(&world, "hub:d01", "r");
    assert_eq!((&result["status"], &result["code"]), (&json!("failed"), &json!("4.04")), "{result}");
    world.with_device(address, lwm2mqtt::simulator::device::SimulatedDevice::deregister);
    world.run_for(Duration::from_secs(5));
    let gone = about(&mut world, "hub:d01");
    assert_eq!((&gone["state"], &gone["reason"]), (&json!("offline"), &json!("deregistered")), "{gone}");
}
