//! Several paths observed as one, through loss, duplicates and power cuts: the properties of single observations hold.

use std::net::SocketAddr;
use std::time::Duration;

use lwm2mqtt::mapping::MappingFile;
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::simulator::device::DeviceEvent;
use lwm2mqtt::simulator::network::Conditions;
use lwm2mqtt::simulator::script::DeviceScript;
use lwm2mqtt::simulator::world::{World, WorldScript};

use super::checks::{COUNTER, Counters, counting_device, retained, telemetry_numbers};
use super::for_some_seeds;

const BATTERY: Path = Path::resource(3, 0, 9);

/// Observes counter and battery as one.
const AS_ONE: &str = r#"
version = 1
[defaults]
observe = { pmin = "0s", pmax = "5m" }
observe_strategy = "composite_all"
[[telemetry]]
path = "/3303/*/5700"
key = "temperature_{instance}"
[[telemetry]]
path = "/3/0/9"
key = "battery"
"#;

fn world(seed: u64, conditions: Conditions) -> World {
    let mut script = WorldScript::new(seed);
    script.conditions = conditions;
    script.mappings = vec![MappingFile { name: "as_one.toml".to_owned(), text: AS_ONE.to_owned() }];
    World::new(script)
}

fn device(endpoint: &str) -> DeviceScript {
    counting_device(endpoint).with(BATTERY, Value::Integer(80))
}

fn is_observed_as_one(world: &World, address: SocketAddr) -> bool {
    world.devices[&address].observed_composites().any(|paths| paths == [BATTERY, COUNTER])
}

#[test]
fn nothing_acknowledged_of_several_paths_is_lost_and_order_is_kept_over_a_bad_network() {
    for_some_seeds(60, |seed| {
        let mut world = world(seed, Conditions::lossy());
        let mut counters = Counters::new();
        let addresses: Vec<_> =
            (0..2).map(|number| counters.add(&mut world, device(&format!("dev-{number}")))).collect();
        world.run_for(Duration::from_secs(300));
        counters.run(&mut world, 20, Duration::from_secs(5));
        world.network.set_conditions(Conditions::perfect());
        world.run_for(Duration::from_secs(300));
        counters.follow(&world);
        counters.check(&world);
        assert!(counters.total() >= 10, "only {} notifications were acknowledged", counters.total());
        for address in addresses {
            assert!(is_observed_as_one(&world, address));
        }
    });
}

#[test]
fn a_duplicated_datagram_of_several_paths_has_one_effect() {
    for_some_seeds(60, |seed| {
        let mut world = world(seed, Conditions { duplicate: 1.0, ..Conditions::perfect() });
        let mut counters = Counters::new();
        let address = counters.add(&mut world, device("dev"));
        world.run_for(Duration::from_secs(10));
        counters.run(&mut world, 10, Duration::from_secs(3));
        world.run_for(Duration::from_secs(10));
        counters.follow(&world);
        counters.check(&world);
        let numbers = telemetry_numbers(&world, "dev");
        assert_eq!(numbers, (0..=10).collect::<Vec<_>>(), "each once");
        assert!(is_observed_as_one(&world, address));
        let observed = world.device_events.iter().filter(|(_, _, event)| matches!(event, DeviceEvent::Observed { .. }));
        assert_eq!(observed.count(), 1);
    });
}

#[test]
fn nothing_acknowledged_of_several_paths_is_lost_by_power_cuts() {
    for_some_seeds(60, |seed| {
        let conditions = Conditions { latency_max: Duration::from_millis(120), loss: 0.02, ..Conditions::perfect() };
        let mut world = world(seed, conditions);
        let mut counters = Counters::new();
        let address = counters.add(&mut world, device("dev"));
        world.run_for(Duration::from_secs(20));
        counters.check_over_power_cuts(&mut world, seed, 8);
        assert!(counters.total() >= 4, "{}", counters.total());
        assert!(is_observed_as_one(&world, address));
        assert_eq!(retained(&world, "lwm2m/dev/state").unwrap()["state"], "online");
    });
}

#[test]
fn a_device_without_several_paths_is_observed_path_by_path() {
    let refuses = |change: fn(&mut DeviceScript)| {
        let mut script = device("dev");
        change(&mut script);
        let mut world = world(1, Conditions::perfect());
        let mut counters = Counters::new();
        let address = counters.add(&mut world, script);
        world.run_for(Duration::from_secs(200));
        let observed: Vec<_> = world.devices[&address].observed_paths().collect();
        assert_eq!(observed, [BATTERY, COUNTER]);
        counters.run(&mut world, 3, Duration::from_secs(3));
        counters.check(&world);
        assert_eq!(counters.total(), 3);
    };
    refuses(|script| {
        script.misbehaviour.refuses_composites = Some(lwm2mqtt::protocol::coap::message::Code::NOT_FOUND);
    });
    refuses(|script| {
        script.misbehaviour.refuses_composites = Some(lwm2mqtt::protocol::coap::message::Code::METHOD_NOT_ALLOWED);
    });
    refuses(|script| script.misbehaviour.acknowledges_composites_and_falls_silent = true);
}
