//! The broker is away, comes back, breaks in the middle: nothing acknowledged to a device is lost.

use std::time::Duration;

use lwm2mqtt::gateway::configuration::WhenFull;
use lwm2mqtt::model::event::EventKind;
use lwm2mqtt::simulator::world::{World, WorldScript};

use super::checks::{Counters, bodies, counting_device, retained, telemetry_numbers};
use super::for_each_seed;

#[test]
fn everything_arrives_after_hours_without_a_broker() {
    let mut world = World::new(WorldScript::new(1));
    let mut counters = Counters::new();
    counters.add(&mut world, counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    world.broker.reachable = false;
    counters.run(&mut world, 1_500, Duration::from_secs(10));
    world.broker.reachable = true;
    world.run_for(Duration::from_secs(60));
    counters.follow(&world);
    counters.check(&world);
    assert!(counters.total() > 1_400, "{}", counters.total());
    assert_eq!(world.gauges().unwrap().sinks[0].rows, 0);
    assert_eq!(world.store.spooled_rows(), 0);
    // Each sample has the time at which it was taken, not that of its delivery.
    let times: Vec<i64> =
        bodies(&world, "lwm2m/dev/telemetry").iter().map(|body| body["ts"].as_i64().unwrap()).collect();
    assert!(times.is_sorted() && times.last().unwrap() - times.first().unwrap() > 14_000_000);
}

#[test]
fn a_connection_that_breaks_again_and_again_loses_nothing() {
    for_each_seed(|seed| {
        let mut world = World::new(WorldScript::new(seed));
        let mut counters = Counters::new();
        counters.add(&mut world, counting_device("one"));
        counters.add(&mut world, counting_device("two"));
        world.run_for(Duration::from_secs(5));
        for round in 0..10 {
            counters.run(&mut world, 3, Duration::from_millis(1_500));
            if (seed + round) % 3 == 0 {
                world.broker.reachable = false;
                counters.run(&mut world, 2, Duration::from_secs(2));
                world.broker.reachable = true;
            } else {
                world.break_connection();
            }
        }
        world.run_for(Duration::from_secs(20));
        counters.follow(&world);
        counters.check(&world);
        assert!(counters.total() > 20, "{}", counters.total());
        assert_eq!(world.gauges().unwrap().sinks[0].rows, 0);
    });
}

#[test]
fn a_connection_that_breaks_while_messages_are_on_their_way_loses_none_of_them() {
    for_each_seed(|seed| {
        let mut world = World::new(WorldScript::new(seed));
        let mut counters = Counters::new();
        counters.add(&mut world, counting_device("dev"));
        world.run_for(Duration::from_secs(10));
        for round in 0..8 {
            counters.count(&mut world);
            // Committed after 100 ms, at the broker 2 ms later, acknowledged after 2 more: every moment of that.
            world.run_for(Duration::from_millis(99 + (seed + round) % 8));
            world.break_connection();
            world.run_for(Duration::from_secs(6));
            counters.follow(&world);
        }
        counters.check(&world);
        assert!(counters.total() >= 7, "{}", counters.total());
        assert_eq!(world.gauges().unwrap().sinks[0].rows, 0);
    });
}

#[test]
fn a_full_spool_drops_the_oldest_counts_it_and_raises_an_alarm() {
    let mut script = WorldScript::new(1);
    script.configuration.sinks[0].max_spool_bytes = 100_000;
    let mut world = World::new(script);
    let mut counters = Counters::new();
    counters.add(&mut world, counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    world.broker.reachable = false;
    counters.run(&mut world, 1_500, Duration::from_secs(5));
    assert!(world.gauges().unwrap().sinks[0].bytes <= 100_000);
    world.broker.reachable = true;
    world.run_for(Duration::from_secs(60));
    let numbers = telemetry_numbers(&world, "dev");
    assert_eq!(numbers.last(), Some(&1_500));
    assert!(numbers.len() < 1_200 && numbers.len() > 300, "{}", numbers.len());
    assert!(world.events.iter().any(|event| event.kind == EventKind::Dropped));
    assert!(
        bodies(&world, "lwm2m/bridge/alarm/queue_full_local").iter().any(|body| body["alarm"] == "queue_full_local")
    );
    // Room again: the alarm is over.
    world.run_for(Duration::from_secs(120));
    assert_eq!(retained(&world, "lwm2m/bridge/alarm/queue_full_local"), None);
}

#[test]
fn drop_newest_keeps_what_came_first() {
    let mut script = WorldScript::new(1);
    script.configuration.sinks[0].max_spool_bytes = 30_000;
    script.configuration.sinks[0].when_full = WhenFull::DropNewest;
    let mut world = World::new(script);
    let mut counters = Counters::new();
    counters.add(&mut world, counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    world.broker.reachable = false;
    counters.run(&mut world, 500, Duration::from_secs(5));
    world.broker.reachable = true;
    world.run_for(Duration::from_secs(60));
    let numbers = telemetry_numbers(&world, "dev");
    assert!(numbers.contains(&1) && numbers.contains(&50) && !numbers.contains(&499), "{numbers:?}");
}

#[test]
fn retained_state_is_republished_to_a_broker_that_lost_it() {
    let mut world = World::new(WorldScript::new(1));
    let mut counters = Counters::new();
    counters.add(&mut world, counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    counters.count(&mut world);
    world.run_for(Duration::from_secs(10));
    world.broker.reachable = false;
    world.run_for(Duration::from_secs(5));
    let before = std::mem::take(&mut world.broker.retained);
    world.broker.reachable = true;
    world.run_for(Duration::from_secs(5));
    for topic in ["lwm2m/dev/state", "lwm2m/dev/values", "lwm2m/dev/info", "lwm2m/bridge/info", "lwm2m/bridge/state"] {
        assert_eq!(world.broker.retained.get(topic), before.get(topic), "{topic}");
        assert!(before.contains_key(topic), "{topic}");
    }
}
