//! Devices that refuse, repeat, fall silent or answer late.

use std::time::Duration;

use lwm2mqtt::model::event::EventKind;
use lwm2mqtt::model::path::Path;
use lwm2mqtt::protocol::coap::message::Code;
use lwm2mqtt::simulator::bootstrap_script::{BootstrapScript, Support};
use lwm2mqtt::simulator::network::Conditions;
use lwm2mqtt::simulator::script::{DeviceScript, Misbehaviour};
use lwm2mqtt::simulator::world::{World, WorldScript};

use super::super::for_some_seeds;
use super::{bootstraps, generous, is_there, outcomes, plain, refused_handshakes, runs_until};

fn refuses(path: Path, code: Code) -> BootstrapScript {
    BootstrapScript { refuses_write: Some((path, code)), ..BootstrapScript::default() }
}

#[test]
fn devices_that_know_less_or_answer_otherwise_arrive_in_one_session() {
    let no_discover = |discover| BootstrapScript { discover, ..BootstrapScript::default() };
    let no_read = |read| BootstrapScript { read, ..BootstrapScript::default() };
    let with = |misbehaviour| DeviceScript { misbehaviour, ..plain("dev", BootstrapScript::default()) };
    let mut small_blocks = plain("dev", BootstrapScript::default());
    small_blocks.block_size_exponent = 1;
    let mut strict_blocks = small_blocks.clone();
    strict_blocks.refuses_larger_blocks = true;
    let scripts = [
        plain("dev", no_discover(Support::Refused(Code::NOT_FOUND))),
        plain("dev", no_discover(Support::Refused(Code::METHOD_NOT_ALLOWED))),
        plain("dev", no_read(Support::Refused(Code::NOT_FOUND))),
        plain("dev", no_read(Support::Refused(Code::METHOD_NOT_ALLOWED))),
        plain("dev", BootstrapScript { refuses_finish: 1, ..BootstrapScript::default() }),
        small_blocks,
        strict_blocks,
        with(Misbehaviour { duplicates_datagrams: true, ..Misbehaviour::default() }),
        with(Misbehaviour { answers_after: Some(Duration::from_secs(5)), ..Misbehaviour::default() }),
        with(Misbehaviour { answers_after: Some(Duration::from_millis(1)), ..Misbehaviour::default() }),
        with(Misbehaviour { refuses_tlv: true, ..Misbehaviour::default() }),
    ];
    for (number, script) in scripts.into_iter().enumerate() {
        let mut world = World::new(generous(WorldScript::new(1)));
        let device = world.add_device(script);
        let there = runs_until(&mut world, Duration::from_secs(240), |world| is_there(world, device));
        assert!(there, "{number}: {:?}", outcomes(&mut world));
        assert_eq!(outcomes(&mut world), [("done".to_owned(), String::new())], "{number}");
    }
}

#[test]
fn a_device_that_answers_everything_twice_over_a_bad_network_arrives() {
    for_some_seeds(50, |seed| {
        let mut script = generous(WorldScript::new(seed));
        script.conditions = Conditions { duplicate: 0.3, ..Conditions::lossy() };
        let mut world = World::new(script);
        let bootstrap = BootstrapScript { registration_attempts: u32::MAX, ..BootstrapScript::default() };
        let mut device = plain("dev", bootstrap);
        device.misbehaviour.duplicates_datagrams = true;
        let device = world.add_device(device);
        let there = runs_until(&mut world, Duration::from_secs(3_600), |world| is_there(world, device));
        assert!(there, "{:?}", outcomes(&mut world));
    });
}

#[test]
fn a_device_that_refuses_a_write_is_told_of_and_begins_anew_and_others_are_not_held_up() {
    for (path, code) in [
        (Path::instance(0, 1), Code::BAD_REQUEST),
        (Path::instance(1, 0), Code::METHOD_NOT_ALLOWED),
        (Path::instance(1, 0), Code::INTERNAL_SERVER_ERROR),
    ] {
        let mut world = World::new(generous(WorldScript::new(1)));
        let refusing = world.add_device(plain("refusing", refuses(path, code)));
        let honest = world.add_device(plain("honest", BootstrapScript::default()));
        assert!(runs_until(&mut world, Duration::from_secs(20), |world| is_there(world, honest)));
        world.run_for(Duration::from_secs(1_000));
        assert_eq!(bootstraps(&world, refusing), 0, "{path} {code}");
        let told = |event: &&lwm2mqtt::model::event::Event| {
            event.kind == EventKind::BootstrapFailed && event.reason.contains(&path.to_string())
        };
        assert!(world.events.iter().filter(told).count() >= 2, "{:?}", world.events);
        assert_eq!(refused_handshakes(&world), 0);
    }
}

#[test]
fn a_device_that_acknowledges_what_it_does_not_know_and_falls_silent_arrives_all_the_same() {
    for (discover, read) in [(Support::Silent, Support::Full), (Support::Full, Support::Silent)] {
        let mut world = World::new(generous(WorldScript::new(1)));
        let bootstrap = BootstrapScript { discover, read, ..BootstrapScript::default() };
        let device = world.add_device(plain("dev", bootstrap));
        let there = runs_until(&mut world, Duration::from_secs(247), |world| is_there(world, device));
        assert!(there, "{discover:?}, {read:?}: {:?}", outcomes(&mut world));
    }
}
