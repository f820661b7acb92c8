//! Who gets nothing, and how they get something after all.

use std::time::Duration;

use lwm2mqtt::gateway::configuration::{BootstrapConfiguration, UnknownBootstrap};
use lwm2mqtt::gateway::vocabulary::BootstrapQuery;
use lwm2mqtt::model::event::EventKind;
use lwm2mqtt::protocol::coap::message::Code;
use lwm2mqtt::simulator::bootstrap_script::{BootstrapScript, FactoryKey};
use lwm2mqtt::simulator::device::{DeviceEvent, SimulatedDevice};
use lwm2mqtt::simulator::world::{GATEWAY_BOOTSTRAP_DTLS, World, WorldScript};
use serde_json::json;

use super::super::checks::counting_device;
use super::{ask, bootstraps, events_of, factory_key, generous, is_there, know, outcomes, plain, runs_until};

/// A bootstrap server that knows no device.
fn strict(seed: u64, unknown_devices: UnknownBootstrap) -> World {
    let bootstrap = BootstrapConfiguration { unknown_devices, ..BootstrapConfiguration::default() };
    World::new(WorldScript::new(seed).with_bootstrap(bootstrap))
}

const REFUSED: DeviceEvent = DeviceEvent::BootstrapFailed { code: Some(Code::BAD_REQUEST) };

#[test]
fn an_unknown_device_is_refused_until_it_has_an_entry_and_then_arrives_by_itself() {
    let mut world = strict(1, UnknownBootstrap::Refuse);
    let device = world.add_device(plain("dev", BootstrapScript::default()));
    world.run_for(Duration::from_secs(100));
    assert!(events_of(&world, device).any(|event| *event == REFUSED));
    assert!(!world.devices[&device].is_registered());
    let body = json!({ "servers": ["management-psk"] });
    ask(&mut world, BootstrapQuery::PutDevice { name: "dev".to_owned(), body, dry_run: false });
    assert!(runs_until(&mut world, Duration::from_secs(300), |world| is_there(world, device)));
}

#[test]
fn a_device_that_waits_for_approval_goes_on_in_its_session_or_finds_the_answer_at_the_next_attempt() {
    for after in [Duration::from_secs(200), Duration::from_secs(400)] {
        let mut world = strict(1, UnknownBootstrap::Approve);
        let device = world.add_device(plain("dev", BootstrapScript::default()));
        world.run_for(after);
        assert!(world.events.iter().any(|event| event.kind == EventKind::JoinRequested));
        assert_eq!(bootstraps(&world, device), 0);
        let body = json!({ "servers": ["management-psk"] });
        ask(&mut world, BootstrapQuery::Approve { endpoint: "dev".to_owned(), body });
        assert!(runs_until(&mut world, Duration::from_secs(400), |world| is_there(world, device)), "{after:?}");
    }
}

#[test]
fn a_device_with_a_wrong_credential_gets_nothing_and_disturbs_nobody() {
    let mut world = World::new(generous(WorldScript::new(1)));
    for endpoint in ["dev", "other"] {
        know(&mut world, endpoint);
    }
    world.run_for(Duration::from_secs(1));
    let uri = format!("coaps://{GATEWAY_BOOTSTRAP_DTLS}");
    let as_dev = |proof| counting_device("dev").with_bootstrap(BootstrapScript::default(), 0, &uri, proof);
    let other_key = factory_key("other");
    // The credential of another device, a key that is not its own, none at all.
    let other = world.add_device(as_dev(FactoryKey::Psk { identity: b"other", key: &other_key }));
    let wrong = world.add_device(as_dev(FactoryKey::Psk { identity: b"dev", key: b"a key that is wrong" }));
    let none = world.add_device(plain("dev", BootstrapScript::default()));
    world.run_for(Duration::from_secs(200));
    for impostor in [other, wrong, none] {
        assert_eq!(bootstraps(&world, impostor), 0);
    }
    assert!(events_of(&world, other).any(|event| *event == REFUSED));
    assert!(events_of(&world, none).any(|event| *event == REFUSED));
    let key = factory_key("dev");
    let honest = world.add_device(as_dev(FactoryKey::Psk { identity: b"dev", key: &key }));
    assert!(runs_until(&mut world, Duration::from_secs(30), |world| is_there(world, honest)));
}

#[test]
fn a_second_session_of_a_device_ends_the_first_and_comes_to_its_end() {
    let mut world = World::new(generous(WorldScript::new(1)));
    let device = world.add_device(plain("dev", BootstrapScript::default()));
    world.run_for(Duration::from_millis(60));
    assert!(world.devices[&device].is_being_bootstrapped());
    world.with_device(device, SimulatedDevice::restart);
    assert!(runs_until(&mut world, Duration::from_secs(30), |world| is_there(world, device)));
    let outcomes = outcomes(&mut world);
    assert_eq!(outcomes[0].0, "done");
    assert_eq!(outcomes[1], ("failed".to_owned(), "the device began another session".to_owned()));
}
