//! Power fails at any moment: what was acknowledged is there afterwards, and no device notices.

use std::time::Duration;

use lwm2mqtt::simulator::device::DeviceEvent;
use lwm2mqtt::simulator::network::Conditions;
use lwm2mqtt::simulator::world::{World, WorldScript};

use super::checks::{COUNTER, Counters, counting_device, retained, telemetry_numbers};
use super::for_each_seed;

#[test]
fn nothing_acknowledged_to_a_device_is_lost_by_power_cuts() {
    for_each_seed(|seed| {
        let mut script = WorldScript::new(seed);
        script.conditions = Conditions { latency_max: Duration::from_millis(120), loss: 0.02, ..Conditions::perfect() };
        let mut world = World::new(script);
        let mut counters = Counters::new();
        counters.add(&mut world, counting_device("one"));
        counters.add(&mut world, counting_device("two"));
        world.run_for(Duration::from_secs(20));
        counters.check_over_power_cuts(&mut world, seed, 12);
        assert!(counters.total() >= 10, "{}", counters.total());
    });
}

#[test]
fn a_restart_is_not_noticed_by_an_observed_device() {
    let mut world = World::new(WorldScript::new(1));
    let mut counters = Counters::new();
    counters.add(&mut world, counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    counters.run(&mut world, 3, Duration::from_secs(3));
    let events_before = world.device_events.len();
    world.cut_power();
    world.run_for(Duration::from_secs(2));
    world.switch_on();
    counters.run(&mut world, 5, Duration::from_secs(3));
    world.run_for(Duration::from_secs(30));
    counters.follow(&world);
    counters.check(&world);
    assert_eq!(telemetry_numbers(&world, "dev").last(), Some(&8));
    let noticed: Vec<_> = world.device_events[events_before..]
        .iter()
        .filter(|(_, _, event)| {
            matches!(
                event,
                DeviceEvent::Registered { .. }
                    | DeviceEvent::Observed { .. }
                    | DeviceEvent::ObservationCancelled { .. }
                    | DeviceEvent::NotificationReset { .. }
            )
        })
        .collect();
    assert!(noticed.is_empty(), "{noticed:?}");
    let device = world.devices.values().next().unwrap();
    assert!(device.observed_paths().any(|path| path == COUNTER));
}

#[test]
fn latest_values_survive_a_power_cut() {
    let mut world = World::new(WorldScript::new(1));
    let mut counters = Counters::new();
    let script = counting_device("dev")
        .with(lwm2mqtt::model::path::Path::resource(3304, 0, 5700), lwm2mqtt::model::value::Value::Float(55.0));
    counters.add(&mut world, script);
    world.run_for(Duration::from_secs(10));
    world.cut_power();
    world.switch_on();
    counters.count(&mut world);
    world.run_for(Duration::from_secs(10));
    let values = retained(&world, "lwm2m/dev/values").unwrap();
    assert_eq!((&values["values"]["temperature_0"], &values["values"]["humidity_0"]), (&1.0.into(), &55.0.into()));
}
