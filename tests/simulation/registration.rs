//! Register, Update, De-register, expiry, and who may join.

use std::time::Duration;

use lwm2mqtt::gateway::configuration::UnknownDevices;
use lwm2mqtt::gateway::vocabulary::{Answer, Query};
use lwm2mqtt::model::event::EventKind;
use lwm2mqtt::model::version::Version;
use lwm2mqtt::simulator::device::DeviceEvent;
use lwm2mqtt::simulator::world::{World, WorldScript};

use super::checks::{COUNTER, Counters, counting_device, retained};

fn kinds(world: &World) -> Vec<EventKind> {
    world.events.iter().map(|event| event.kind).collect()
}

#[test]
fn devices_of_every_version_register_and_are_observed() {
    for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
        let mut world = World::new(WorldScript::new(1));
        let mut counters = Counters::new();
        counters.add(&mut world, counting_device("dev").with_version(version));
        world.run_for(Duration::from_secs(10));
        counters.run(&mut world, 3, Duration::from_secs(3));
        world.run_for(Duration::from_secs(5));
        assert_eq!(super::checks::telemetry_numbers(&world, "dev").last(), Some(&3), "{version}");
        let info = retained(&world, "lwm2m/dev/info").unwrap();
        assert_eq!(info["lwm2m_version"], version.to_string());
    }
}

#[test]
fn a_second_register_replaces_the_first_and_observes_anew() {
    let mut world = World::new(WorldScript::new(1));
    let mut counters = Counters::new();
    let address = counters.add(&mut world, counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    world.with_device(address, lwm2mqtt::simulator::device::SimulatedDevice::restart);
    world.run_for(Duration::from_secs(20));
    counters.run(&mut world, 3, Duration::from_secs(3));
    world.run_for(Duration::from_secs(5));
    counters.follow(&world);
    counters.check(&world);
    assert!(counters.total() >= 3);
    let observed = world
        .device_events
        .iter()
        .filter(|(_, _, event)| matches!(event, DeviceEvent::Observed { path } if *path == COUNTER));
    assert_eq!(observed.count(), 2);
}

#[test]
fn an_empty_update_touches_nothing() {
    let mut world = World::new(WorldScript::new(1));
    let mut counters = Counters::new();
    let address = counters.add(&mut world, counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    let before = world.device_events.len();
    world.with_device(address, lwm2mqtt::simulator::device::SimulatedDevice::update);
    world.run_for(Duration::from_secs(10));
    let after: Vec<&DeviceEvent> = world.device_events[before..].iter().map(|(_, _, event)| event).collect();
    assert!(after.contains(&&DeviceEvent::Updated), "{after:?}");
    assert!(
        !after
            .iter()
            .any(|event| matches!(event, DeviceEvent::Observed { .. } | DeviceEvent::ObservationCancelled { .. }))
    );
}

#[test]
fn a_silent_device_expires_after_lifetime_and_grace_and_comes_back_by_registering() {
    let mut world = World::new(WorldScript::new(1));
    let mut counters = Counters::new();
    let mut script = counting_device("dev");
    script.lifetime_secs = 60;
    let address = counters.add(&mut world, script);
    world.run_for(Duration::from_secs(10));
    world.network.cut(address);
    world.run_for(Duration::from_secs(60));
    assert!(!kinds(&world).contains(&EventKind::Expired));
    world.run_for(Duration::from_secs(60));
    assert!(kinds(&world).contains(&EventKind::Expired));
    let state = retained(&world, "lwm2m/dev/state").unwrap();
    assert_eq!((state["state"].as_str(), state["reason"].as_str()), (Some("offline"), Some("expired")));
    world.network.restore(address);
    world.run_for(Duration::from_secs(300));
    assert_eq!(retained(&world, "lwm2m/dev/state").unwrap()["state"], "online");
}

#[test]
fn a_deregistered_device_is_offline_and_stays_known() {
    let mut world = World::new(WorldScript::new(1));
    let address = world.add_device(counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    world.with_device(address, lwm2mqtt::simulator::device::SimulatedDevice::deregister);
    world.run_for(Duration::from_secs(10));
    let state = retained(&world, "lwm2m/dev/state").unwrap();
    assert_eq!((state["state"].as_str(), state["reason"].as_str()), (Some("offline"), Some("deregistered")));
    let Some(Answer::Body(body)) = world.ask(Query::Device { device: "dev".into() }) else { panic!() };
    assert_eq!(body["state"], "offline");
}

#[test]
fn unknown_devices_join_in_the_first_quarter_of_an_hour_then_only_by_permission() {
    let mut script = WorldScript::new(1);
    script.configuration.lwm2m.unknown_devices = UnknownDevices::Window;
    let mut world = World::new(script);
    world.add_device(counting_device("early"));
    world.run_for(Duration::from_secs(16 * 60));
    world.add_device(counting_device("late"));
    world.run_for(Duration::from_secs(60));
    assert!(retained(&world, "lwm2m/early/state").is_some());
    assert!(retained(&world, "lwm2m/late/state").is_none());
    let Some(Answer::Body(refused)) = world.ask(Query::Refused) else { panic!() };
    assert_eq!(refused["items"][0]["endpoint"], "late");
    world.downlink("lwm2m/bridge/request/permit_join", r#"{"id":"j","for":"5m"}"#);
    world.run_for(Duration::from_secs(200));
    assert!(retained(&world, "lwm2m/late/state").is_some());
    // Known devices stay known when the window is closed and the gateway restarted.
    world.run_for(Duration::from_secs(600));
    world.cut_power();
    world.switch_on();
    let addresses: Vec<_> = world.devices.keys().copied().collect();
    for address in addresses {
        world.with_device(address, lwm2mqtt::simulator::device::SimulatedDevice::restart);
    }
    let before = world.device_events.len();
    world.run_for(Duration::from_secs(60));
    let registered =
        world.device_events[before..].iter().filter(|(_, _, event)| matches!(event, DeviceEvent::Registered { .. }));
    assert_eq!(registered.count(), 2);
}

#[test]
fn a_device_is_named_and_removed_by_request() {
    let mut world = World::new(WorldScript::new(1));
    world.add_device(counting_device("urn:dev:1"));
    world.run_for(Duration::from_secs(10));
    world.downlink(
        "lwm2m/bridge/request/device/options",
        r#"{"transaction":7,"device":"urn:dev:1","name":"hall/a","label":"Hall","tags":["x"]}"#,
    );
    world.run_for(Duration::from_secs(5));
    let response = super::checks::bodies(&world, "lwm2m/bridge/response/device/options");
    assert_eq!((response[0]["status"].as_str(), response[0]["transaction"].as_i64()), (Some("ok"), Some(7)));
    assert_eq!(retained(&world, "lwm2m/urn:dev:1/state"), None);
    assert_eq!(retained(&world, "lwm2m/hall%2Fa/state").unwrap()["state"], "online");
    assert_eq!(retained(&world, "lwm2m/hall%2Fa/info").unwrap()["tags"][0], "x");
    assert_eq!(retained(&world, "lwm2m/hall%2Fa/values").unwrap()["values"]["temperature_0"], 0.0);
    world.downlink("lwm2m/bridge/request/device/remove", r#"{"device":"hall/a"}"#);
    world.run_for(Duration::from_secs(15));
    for leaf in ["state", "info", "values", "attributes"] {
        assert_eq!(retained(&world, &format!("lwm2m/hall%2Fa/{leaf}")), None, "{leaf}");
    }
    assert_eq!(world.ask(Query::Device { device: "urn:dev:1".into() }), Some(Answer::UnknownDevice));
    assert_eq!(retained(&world, "lwm2m/bridge/devices").unwrap(), serde_json::json!([]));
}
