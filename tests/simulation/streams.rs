//! Devices on TCP in virtual time: connections break and power fails at any moment.

use std::time::Duration;

use lwm2mqtt::gateway::vocabulary::{Answer, Query};
use lwm2mqtt::simulator::device::DeviceEvent;
use lwm2mqtt::simulator::world::{World, WorldScript};

use super::checks::{Counters, counting_device, telemetry_numbers};
use super::for_each_seed;

fn state(world: &mut World, device: &str) -> (String, String) {
    match world.ask(Query::Device { device: device.to_owned() }) {
        Some(Answer::Body(body)) => {
            let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
            (text("state"), text("transport"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_device_on_tcp_registers_reports_and_keeps_its_registration_over_broken_connections() {
    let mut world = World::new(WorldScript::new(1));
    let mut counters = Counters::new();
    let address = counters.add_streamed(&mut world, counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    assert_eq!(state(&mut world, "dev"), ("online".to_owned(), "tcp".to_owned()));
    counters.run(&mut world, 3, Duration::from_secs(3));
    let now = world.now();
    world.streams.break_off(now, address, true);
    world.run_for(Duration::from_secs(1));
    assert_eq!(state(&mut world, "dev").0, "offline");
    world.run_for(Duration::from_secs(10));
    assert_eq!(state(&mut world, "dev").0, "online");
    counters.run(&mut world, 3, Duration::from_secs(3));
    world.run_for(Duration::from_secs(30));
    counters.follow(&world);
    counters.check(&world);
    assert_eq!(telemetry_numbers(&world, "dev").last(), Some(&6));
    let registered = |event: &DeviceEvent| matches!(event, DeviceEvent::Registered { .. });
    assert_eq!(world.device_events.iter().filter(|(_, _, event)| registered(event)).count(), 1);
    assert_eq!(world.gauges().map(|gauges| gauges.connections), Some(1));
}

#[test]
fn nothing_that_a_pong_with_custody_took_is_lost_by_power_cuts_and_broken_connections() {
    for_each_seed(|seed| {
        let mut world = World::new(WorldScript::new(seed));
        let mut counters = Counters::new();
        let one = counters.add_streamed(&mut world, counting_device("one"));
        let two = counters.add_streamed(&mut world, counting_device("two"));
        world.run_for(Duration::from_secs(20));
        for round in 0..12_u64 {
            counters.count(&mut world);
            // Somewhere between the frame, the commit, the pong and the broker.
            world.run_for(Duration::from_millis((seed.wrapping_mul(2_654_435_761).wrapping_add(round * 97)) % 400));
            counters.follow(&world);
            // Observations made anew count from the beginning.
            counters.begin_sequences_anew(one);
            if round % 2 == 0 {
                let now = world.now();
                world.streams.break_off(now, one, round % 4 == 0);
            } else {
                counters.begin_sequences_anew(two);
                world.cut_power();
                world.run_for(Duration::from_millis(700));
                world.switch_on();
            }
            world.run_for(Duration::from_secs(10));
            counters.follow(&world);
            // Whole again, it reports undisturbed.
            counters.run(&mut world, 1, Duration::from_secs(8));
        }
        world.run_for(Duration::from_secs(300));
        counters.follow(&world);
        counters.check(&world);
        assert!(counters.total() >= 10, "{}", counters.total());
    });
}
