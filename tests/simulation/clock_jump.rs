//! A gateway that starts in 1970: timers work, and what was labelled before the clock was set is corrected.

use std::time::Duration;

use lwm2mqtt::simulator::world::{World, WorldScript};

use super::checks::{Counters, bodies, counting_device, retained, telemetry_numbers};
use super::for_each_seed;

#[test]
fn samples_taken_before_the_clock_was_set_leave_with_the_right_time() {
    for_each_seed(|seed| {
        let mut script = WorldScript::new(seed);
        script.clock_is_right = false;
        let mut world = World::new(script);
        world.broker.reachable = false;
        let mut counters = Counters::new();
        counters.add(&mut world, counting_device("dev"));
        let begin = world.wall().millis();
        counters.run(&mut world, 20, Duration::from_secs(3));
        world.set_clock();
        let set_at = world.wall().millis();
        counters.run(&mut world, 5, Duration::from_secs(3));
        world.broker.reachable = true;
        world.run_for(Duration::from_secs(30));
        counters.follow(&world);
        counters.check(&world);
        let telemetry = bodies(&world, "lwm2m/dev/telemetry");
        assert_eq!(telemetry_numbers(&world, "dev").last(), Some(&25));
        let mut previous = begin - 1;
        for body in &telemetry {
            let ts = body["ts"].as_i64().unwrap();
            assert!(ts > previous && body.get("ts_quality").is_none(), "{body} after {previous}");
            previous = ts;
        }
        assert!(telemetry.iter().filter(|body| body["ts"].as_i64().unwrap() < set_at).count() >= 8);
        assert_eq!(retained(&world, "lwm2m/dev/state").unwrap()["state"], "online");
    });
}

#[test]
fn samples_that_left_before_carry_the_mark() {
    let mut script = WorldScript::new(1);
    script.clock_is_right = false;
    let mut world = World::new(script);
    world.add_device(counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    let telemetry = bodies(&world, "lwm2m/dev/telemetry");
    assert!(!telemetry.is_empty() && telemetry.iter().all(|body| body["ts_quality"] == "estimated"));
}

#[test]
fn a_jump_of_the_clock_expires_nobody() {
    let mut script = WorldScript::new(1);
    script.clock_is_right = false;
    let mut world = World::new(script);
    let mut device = counting_device("dev");
    device.lifetime_secs = 300;
    world.add_device(device);
    world.run_for(Duration::from_secs(100));
    world.set_clock();
    world.run_for(Duration::from_secs(100));
    assert!(!world.events.iter().any(|event| event.kind == lwm2mqtt::model::event::EventKind::Expired));
    world.cut_power();
    world.switch_on();
    world.run_for(Duration::from_secs(600));
    assert!(!world.events.iter().any(|event| event.kind == lwm2mqtt::model::event::EventKind::Expired));
}
