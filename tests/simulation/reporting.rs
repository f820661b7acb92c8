//! Observations and values: watchdog, time stamps, unmapped values, reload.

use std::time::Duration;

use lwm2mqtt::gateway::vocabulary::{Answer, Query};
use lwm2mqtt::mapping::{MappingFile, Plan};
use lwm2mqtt::model::event::EventKind;
use lwm2mqtt::model::object::ObjectModel;
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::report::Sample;
use lwm2mqtt::model::time::WallTime;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::simulator::device::DeviceEvent;
use lwm2mqtt::simulator::world::{World, WorldScript};

use super::checks::{COUNTER, Counters, bodies, counting_device};

#[test]
fn samples_of_a_send_keep_their_own_times() {
    let mut world = World::new(WorldScript::new(1));
    let address = world.add_device(counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    let before = bodies(&world, "lwm2m/dev/telemetry").len();
    let base = world.wall().millis() - 100_000;
    let samples: Vec<Sample> = (0..5)
        .map(|number| Sample {
            path: COUNTER,
            value: Value::Float(f64::from(number)),
            ts: Some(WallTime::from_millis(base + i64::from(number) * 1_000)),
        })
        .collect();
    world.with_device(address, |device, now| device.send(now, &samples).unwrap());
    world.run_for(Duration::from_secs(5));
    let told = &bodies(&world, "lwm2m/dev/telemetry")[before..];
    let times: Vec<i64> = told.iter().map(|body| body["ts"].as_i64().unwrap()).collect();
    assert_eq!(times, (0..5).map(|number| base + number * 1_000).collect::<Vec<_>>());
    assert!(
        world
            .device_events
            .iter()
            .any(|(_, _, event)| matches!(event, DeviceEvent::SendAnswered { code } if code.to_string() == "2.04"))
    );
}

#[test]
fn the_watchdog_observes_anew_what_went_quiet_while_updates_arrive() {
    let mut world = World::new(WorldScript::new(1));
    let mut counters = Counters::new();
    let mut script = counting_device("dev");
    script.update_interval = Some(Duration::from_secs(30));
    let address = counters.add(&mut world, script);
    world.run_for(Duration::from_secs(10));
    world.with_device(address, |device, _| device.forget_observations());
    world.run_for(Duration::from_secs(1_200));
    let observed = world
        .device_events
        .iter()
        .filter(|(_, _, event)| matches!(event, DeviceEvent::Observed { path } if *path == COUNTER));
    assert_eq!(observed.count(), 2);
    counters.run(&mut world, 2, Duration::from_secs(3));
    world.run_for(Duration::from_secs(5));
    assert_eq!(super::checks::telemetry_numbers(&world, "dev").last(), Some(&2));
}

#[test]
fn a_value_that_no_rule_takes_is_counted_and_visible() {
    let mut world = World::new(WorldScript::new(1));
    let address = world.add_device(counting_device("dev").with(Path::resource(31_024, 0, 1), Value::Integer(7)));
    world.run_for(Duration::from_secs(10));
    let sample = Sample { path: Path::resource(31_024, 0, 1), value: Value::Integer(8), ts: None };
    world.with_device(address, |device, now| device.send(now, &[sample]).unwrap());
    world.run_for(Duration::from_secs(5));
    let Some(Answer::Body(unmapped)) = world.ask(Query::Unmapped { device: "dev".into() }) else { panic!() };
    assert_eq!((&unmapped["items"][0]["path"], &unmapped["items"][0]["value"]), (&"/31024/0/1".into(), &8.into()));
    assert!(world.events.iter().any(|event| event.kind == EventKind::Unmapped));
}

#[test]
fn a_new_plan_changes_only_what_differs() {
    let mut world = World::new(WorldScript::new(1));
    let humidity = Path::resource(3304, 0, 5700);
    world.add_device(counting_device("dev").with(humidity, Value::Float(50.0)));
    world.run_for(Duration::from_secs(10));
    let before = world.device_events.len();
    let text = "version = 1\n[[ignore]]\npath = \"/3304/*/*\"\n".to_owned();
    let files = [MappingFile { name: "a.toml".into(), text }];
    let plan = Plan::compile(&files, &ObjectModel::built_in(), true).plan.unwrap();
    world.load_plan(plan);
    world.run_for(Duration::from_secs(10));
    let after: Vec<&DeviceEvent> = world.device_events[before..]
        .iter()
        .map(|(_, _, event)| event)
        .filter(|event| matches!(event, DeviceEvent::Observed { .. } | DeviceEvent::ObservationCancelled { .. }))
        .collect();
    assert_eq!(after, [&DeviceEvent::ObservationCancelled { path: humidity }]);
}
