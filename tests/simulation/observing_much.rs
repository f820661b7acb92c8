//! Many observations of one device: how long it takes until all are set up.

use std::time::Duration;

use lwm2mqtt::mapping::MappingFile;
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::simulator::network::Conditions;
use lwm2mqtt::simulator::script::DeviceScript;
use lwm2mqtt::simulator::world::{World, WorldScript};

use super::for_some_seeds;

const OBSERVATIONS: u16 = 50;

/// Each temperature by itself, with attributes that have to be written first.
const EACH: &str = r#"
version = 1
[[telemetry]]
path = "/3303/*/5700"
key = "t_{instance}"
observe = { pmin = "5s", pmax = "5m", st = 0.5 }
"#;

/// A wireless network at home.
fn local_network() -> Conditions {
    Conditions {
        latency_min: Duration::from_millis(2),
        latency_max: Duration::from_millis(30),
        ..Conditions::perfect()
    }
}

#[test]
fn fifty_observations_of_a_device_in_the_local_network_are_set_up_within_ten_seconds() {
    for_some_seeds(20, |seed| {
        let mut script = WorldScript::new(seed);
        script.conditions = local_network();
        script.mappings = vec![MappingFile { name: "each.toml".to_owned(), text: EACH.to_owned() }];
        let mut world = World::new(script);
        let device = (0..OBSERVATIONS).fold(DeviceScript::new("dev"), |device, instance| {
            device.with(Path::resource(3303, instance, 5700), Value::Float(21.0))
        });
        let address = world.add_device(device);
        let begun = world.now();
        while world.devices[&address].observed_paths().count() < usize::from(OBSERVATIONS) {
            world.run_for(Duration::from_millis(10));
            let elapsed = world.now().saturating_since(begun);
            assert!(elapsed < Duration::from_secs(10), "{}", world.devices[&address].observed_paths().count());
        }
        let attributes = world.devices[&address].attributes(&Path::resource(3303, OBSERVATIONS - 1, 5700));
        assert_eq!(attributes.to_query(), ["pmin=5", "pmax=300", "st=0.5"]);
    });
}
