//! A disk that takes nothing any more: the gateway goes on in bounded memory and says so.

use std::time::Duration;

use lwm2mqtt::gateway::vocabulary::Input;
use lwm2mqtt::simulator::world::{World, WorldScript};

use super::checks::{Counters, counting_device, retained, telemetry_numbers};

#[test]
fn a_store_that_cannot_be_written_stops_nothing_and_is_an_alarm() {
    let mut world = World::new(WorldScript::new(1));
    let mut counters = Counters::new();
    counters.add(&mut world, counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    world.store.failing = true;
    world.input(Input::StoreHealth { failure: Some("the disk is full".into()) });
    counters.run(&mut world, 50, Duration::from_secs(3));
    world.run_for(Duration::from_secs(5));
    assert_eq!(telemetry_numbers(&world, "dev").last(), Some(&50));
    assert_eq!(retained(&world, "lwm2m/bridge/alarm/disk_full").unwrap()["message"], "the disk is full");
    world.store.failing = false;
    world.input(Input::StoreHealth { failure: None });
    world.run_for(Duration::from_secs(5));
    assert_eq!(retained(&world, "lwm2m/bridge/alarm/disk_full"), None);
    // What happened meanwhile survives a power cut from now on.
    world.cut_power();
    world.switch_on();
    counters.run(&mut world, 3, Duration::from_secs(3));
    world.run_for(Duration::from_secs(20));
    assert_eq!(telemetry_numbers(&world, "dev").last(), Some(&53));
}

#[test]
fn memory_stays_bounded_while_nothing_can_be_written_and_the_broker_is_away() {
    let mut script = WorldScript::new(1);
    script.configuration.limits.max_pending_writes = 100;
    script.configuration.limits.max_spool_rows_in_memory = 50;
    let mut world = World::new(script);
    let mut counters = Counters::new();
    counters.add(&mut world, counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    world.broker.reachable = false;
    world.store.failing = true;
    world.input(Input::StoreHealth { failure: Some("the disk is full".into()) });
    counters.run(&mut world, 400, Duration::from_secs(3));
    let gauges = world.gauges().unwrap();
    assert!(gauges.pending_writes <= 120, "{}", gauges.pending_writes);
    assert!(world.store.waiting_batches() <= 130, "{}", world.store.waiting_batches());
    world.store.failing = false;
    world.input(Input::StoreHealth { failure: None });
    world.broker.reachable = true;
    world.run_for(Duration::from_secs(60));
    counters.run(&mut world, 3, Duration::from_secs(3));
    world.run_for(Duration::from_secs(20));
    assert_eq!(telemetry_numbers(&world, "dev").last(), Some(&403));
    // What was lost is counted, and nothing counts as waiting that never comes.
    assert!(world.events.iter().any(|event| event.reason.contains("store_broken")));
    assert_eq!(world.gauges().unwrap().sinks[0].rows, 0);
}
