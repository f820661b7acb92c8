//! Loss, duplicates and reordering between devices and gateway.

use std::time::Duration;

use lwm2mqtt::simulator::device::DeviceEvent;
use lwm2mqtt::simulator::network::Conditions;
use lwm2mqtt::simulator::world::{World, WorldScript};

use super::checks::{Counters, counting_device, retained, telemetry_numbers};
use super::for_each_seed;

#[test]
fn nothing_acknowledged_is_lost_and_order_is_kept_over_a_bad_network() {
    for_each_seed(|seed| {
        let mut script = WorldScript::new(seed);
        script.conditions = Conditions::lossy();
        let mut world = World::new(script);
        let mut counters = Counters::new();
        for number in 0..3 {
            counters.add(&mut world, counting_device(&format!("dev-{number}")));
        }
        world.run_for(Duration::from_secs(120));
        counters.run(&mut world, 30, Duration::from_secs(5));
        world.network.set_conditions(Conditions::perfect());
        world.run_for(Duration::from_secs(300));
        counters.follow(&world);
        counters.check(&world);
        assert!(counters.total() >= 30, "only {} notifications were acknowledged", counters.total());
        for number in 0..3 {
            let endpoint = format!("dev-{number}");
            assert_eq!(retained(&world, &format!("lwm2m/{endpoint}/state")).unwrap()["state"], "online");
        }
    });
}

#[test]
fn a_duplicated_datagram_has_one_effect() {
    for_each_seed(|seed| {
        let mut script = WorldScript::new(seed);
        script.conditions = Conditions { duplicate: 1.0, ..Conditions::perfect() };
        let mut world = World::new(script);
        let mut counters = Counters::new();
        counters.add(&mut world, counting_device("dev"));
        world.run_for(Duration::from_secs(10));
        counters.run(&mut world, 10, Duration::from_secs(3));
        world.run_for(Duration::from_secs(10));
        let numbers = telemetry_numbers(&world, "dev");
        let mut once = numbers.clone();
        once.dedup();
        assert_eq!(numbers, once, "a notification was told twice");
        let registered =
            world.events.iter().filter(|event| event.kind == lwm2mqtt::model::event::EventKind::Registered).count();
        assert_eq!(registered, 1);
        let observed =
            world.device_events.iter().filter(|(_, _, event)| matches!(event, DeviceEvent::Observed { .. })).count();
        assert_eq!(observed, 1);
    });
}

#[test]
fn a_device_that_moves_to_another_port_is_still_heard_and_written() {
    let mut world = World::new(WorldScript::new(1));
    let mut counters = Counters::new();
    let address = counters.add(&mut world, counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    world.network.rebind(address, "10.9.9.9:1111".parse().unwrap());
    counters.run(&mut world, 5, Duration::from_secs(3));
    world.run_for(Duration::from_secs(10));
    counters.follow(&world);
    counters.check(&world);
    assert!(counters.total() >= 4, "{}", counters.total());
    world.downlink("lwm2m/dev/command", r#"{"id":"1","operation":"read","path":"/3303/0/5700"}"#);
    world.run_for(Duration::from_secs(120));
    assert_eq!(super::checks::terminal(&world, "dev", "1")["status"], "done");
}
