//! From the factory to the first value.

use std::time::Duration;

use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::model::version::Version;
use lwm2mqtt::protocol::content::ContentFormat;
use lwm2mqtt::simulator::bootstrap_script::BootstrapScript;
use lwm2mqtt::simulator::network::Conditions;
use lwm2mqtt::simulator::script::DeviceScript;
use lwm2mqtt::simulator::world::{World, WorldScript};

use super::super::checks::{COUNTER, telemetry_numbers};
use super::super::for_some_seeds;
use super::{bootstraps, counted, generous, is_there, know, outcomes, plain, runs_until, secure, told_key};

#[test]
fn a_device_is_told_a_key_registers_with_it_and_reports() {
    let mut world = World::new(generous(WorldScript::new(1)));
    let device = world.add_device(plain("dev", BootstrapScript::default()));
    world.run_for(Duration::from_secs(20));
    assert!(is_there(&world, device));
    let (identity, key) = told_key(&world, device).unwrap();
    assert_eq!((identity.as_slice(), key.len()), (b"dev".as_slice(), 16));
    assert_eq!(outcomes(&mut world), [("done".to_owned(), String::new())]);
    world.with_device(device, |device, now| device.set_value(now, COUNTER, Value::Float(7.0)));
    world.run_for(Duration::from_secs(5));
    assert_eq!(telemetry_numbers(&world, "dev").last(), Some(&7));
}

#[test]
fn devices_of_all_versions_and_with_all_formats_are_led_to_their_server() {
    let script = |version, pct, pack| {
        let bootstrap = BootstrapScript { pct, pack, ..BootstrapScript::default() };
        DeviceScript { lwm2m: version, ..plain("dev", bootstrap).with_version(version) }
    };
    let formats = [None, Some(ContentFormat::TLV), Some(ContentFormat::SENML_JSON), Some(ContentFormat::SENML_CBOR)];
    let mut scripts = vec![script(Version::V1_0, None, None)];
    for pct in formats {
        scripts.push(script(Version::V1_1, pct, None));
    }
    for format in [ContentFormat::LWM2M_CBOR, ContentFormat::SENML_CBOR, ContentFormat::SENML_JSON] {
        scripts.push(script(Version::V1_2, Some(format), None));
        scripts.push(script(Version::V1_2, None, Some(format)));
    }
    for script in scripts {
        let mut world = World::new(generous(WorldScript::new(1)));
        let device = world.add_device(script.clone());
        world.run_for(Duration::from_secs(20));
        let asked = (script.lwm2m, &script.bootstrap);
        assert!(is_there(&world, device), "{asked:?}: {:?}", outcomes(&mut world));
        assert_eq!(bootstraps(&world, device), 1, "{asked:?}");
    }
}

#[test]
fn every_device_arrives_over_a_lossy_network_whatever_proves_who_it_is() {
    for_some_seeds(100, |seed| {
        let mut script = generous(WorldScript::new(seed));
        script.conditions = Conditions::lossy();
        let mut world = World::new(script);
        know(&mut world, "secure");
        world.run_for(Duration::from_secs(1));
        // Some turn to their server at once, others stay to answer a Finish that comes again.
        let lingers = Duration::from_secs(seed % 4 * 3);
        let bootstrap = BootstrapScript { lingers, registration_attempts: 1_000, ..BootstrapScript::default() };
        let plain = world.add_device(plain("plain", bootstrap.clone()));
        let secure = world.add_device(secure("secure", bootstrap));
        let there = |world: &World| is_there(world, plain) && is_there(world, secure);
        assert!(runs_until(&mut world, Duration::from_secs(3_600), there), "{:?}", outcomes(&mut world));
        // A handshake whose datagrams came twice or in another order may fail; an identity is never unknown.
        assert_eq!(counted(&world, Occurrence::HandshakeFailed("unknown_identity")), 0);
        assert_eq!((bootstraps(&world, plain), bootstraps(&world, secure)), (1, 1));
        // Also those whose answer to Finish was lost: they are there with what they were given.
        world.run_for(Duration::from_secs(300));
        let given_up = world.events.iter().filter(|event| event.reason.contains("did not answer the finish"));
        assert_eq!(given_up.map(|event| event.reason.as_str()).collect::<Vec<_>>(), Vec::<&str>::new());
    });
}
