//! The power of the gateway goes at any moment of a session, also between a key and its first use.

use std::net::SocketAddr;
use std::time::Duration;

use lwm2mqtt::simulator::bootstrap_script::{BootstrapScript, Outage};
use lwm2mqtt::simulator::device::{DeviceEvent, SimulatedDevice};
use lwm2mqtt::simulator::dtls::client::{DtlsClient, DtlsScript};
use lwm2mqtt::simulator::world::{World, WorldScript};

use super::super::for_some_seeds;
use super::{
    bootstraps, events_of, generous, is_there, know, outcomes, plain, refused_handshakes, registrations, runs_until,
    secure, told_key,
};

/// A device that stays with its bootstrapped account as long as it takes: a key that does not open the gateway keeps it
/// out for ever.
fn patient() -> BootstrapScript {
    BootstrapScript { registration_attempts: u32::MAX, ..BootstrapScript::default() }
}

/// A moment in the first second or so after something began: a session over a good network takes less.
fn moment(seed: u64, round: u64) -> Duration {
    Duration::from_millis((seed.wrapping_mul(2_654_435_761).wrapping_add(round.wrapping_mul(7_919))) % 600)
}

fn cut_and_restore(world: &mut World) {
    world.cut_power();
    world.run_for(Duration::from_millis(700));
    world.switch_on();
}

/// Whether a key opens the gateway now, tried by another host.
fn opens(world: &mut World, (identity, key): (Vec<u8>, Vec<u8>)) -> bool {
    let prober: SocketAddr = "10.9.9.9:4000".parse().unwrap();
    world.sessions.insert(prober, DtlsClient::new(DtlsScript::new(identity, &key), 99));
    world.with_session(prober, DtlsClient::begin);
    world.run_for(Duration::from_secs(5));
    let established = world.sessions.get(&prober).is_some_and(DtlsClient::is_established);
    world.with_session(prober, |session, _| session.close());
    world.sessions.remove(&prober);
    established
}

#[test]
fn a_device_gets_there_whenever_the_power_goes_and_every_key_it_was_told_opens_the_gateway() {
    for_some_seeds(100, |seed| {
        let mut world = World::new(generous(WorldScript::new(seed)));
        know(&mut world, "secure");
        world.run_for(Duration::from_secs(1));
        let plain = world.add_device(plain("plain", patient()));
        let secure = world.add_device(secure("secure", patient()));
        world.run_for(moment(seed, 0));
        for round in 1..4 {
            cut_and_restore(&mut world);
            // The next session begins after minutes; its middle is to be hit too.
            let begins = |world: &World| world.devices.values().any(SimulatedDevice::is_being_bootstrapped);
            runs_until(&mut world, Duration::from_secs(400), begins);
            world.run_for(moment(seed, round));
        }
        let there = |world: &World| is_there(world, plain) && is_there(world, secure);
        assert!(runs_until(&mut world, Duration::from_secs(7_200), there), "{:?}", outcomes(&mut world));
        assert_eq!(refused_handshakes(&world), 0, "{:?}", world.session_events);
        for device in [plain, secure] {
            let key = told_key(&world, device).unwrap();
            assert!(opens(&mut world, key));
        }
    });
}

/// A registered device whose LwM2M server asks it to bootstrap again.
fn triggered(seed: u64, bootstrap: BootstrapScript) -> (World, SocketAddr, (Vec<u8>, Vec<u8>)) {
    let mut world = World::new(generous(WorldScript::new(seed)));
    let device = world.add_device(plain("dev", bootstrap));
    assert!(runs_until(&mut world, Duration::from_secs(30), |world| is_there(world, device)));
    let first = told_key(&world, device).unwrap();
    // The key was used, so that the next one is another.
    world.run_for(Duration::from_secs(5));
    world.downlink("lwm2m/dev/command", r#"{"id":"b","operation":"bootstrap"}"#);
    // Its power may go with the first request, sooner than anybody looks.
    let begins = |world: &World| {
        let went = events_of(world, device).any(|event| *event == DeviceEvent::PowerLost);
        went || world.devices[&device].is_being_bootstrapped()
    };
    assert!(runs_until(&mut world, Duration::from_secs(10), begins));
    (world, device, first)
}

#[test]
fn the_key_before_opens_the_gateway_until_the_new_one_did_whenever_the_power_goes() {
    for_some_seeds(100, |seed| {
        let (mut world, device, first) = triggered(seed, patient());
        world.run_for(moment(seed, 0));
        if seed % 4 != 0 {
            cut_and_restore(&mut world);
        }
        if told_key(&world, device).as_ref() == Some(&first) && registrations(&world, device) == 1 {
            // Whatever the gateway has made and stored by now, the device has the old one only.
            assert!(opens(&mut world, first.clone()));
        }
        let another = |world: &World| is_there(world, device) && told_key(world, device).as_ref() != Some(&first);
        let waited = runs_until(&mut world, Duration::from_secs(700), another);
        if !waited {
            // The session failed: the device went back to the account that it had.
            assert!(is_there(&world, device), "{:?}", outcomes(&mut world));
            world.downlink("lwm2m/dev/command", r#"{"id":"c","operation":"bootstrap"}"#);
            assert!(runs_until(&mut world, Duration::from_secs(700), another), "{:?}", outcomes(&mut world));
        }
        assert_eq!(refused_handshakes(&world), 0, "{:?}", world.session_events);
        world.run_for(Duration::from_secs(5));
        assert!(!opens(&mut world, first.clone()), "the new one was used");
        let second = told_key(&world, device).unwrap();
        assert!(opens(&mut world, second));
    });
}

#[test]
fn a_device_that_loses_power_in_the_middle_begins_anew_or_goes_back_to_the_account_it_had() {
    // Discover, two deletes, two writes, one read, Finish.
    for at_request in 1..=7 {
        for lasts in [1, 600] {
            let outage = Some(Outage { after_finished: 0, at_request, lasts: Duration::from_secs(lasts) });
            let mut world = World::new(generous(WorldScript::new(1)));
            let device = world.add_device(plain("dev", BootstrapScript { outage, ..patient() }));
            assert!(runs_until(&mut world, Duration::from_secs(1_200), |world| is_there(world, device)));
            assert_eq!((bootstraps(&world, device), refused_handshakes(&world)), (1, 0), "{at_request}, {lasts} s");
            assert_eq!(outcomes(&mut world).len(), 2);
        }
    }
    for at_request in 1..=7 {
        let outage = Some(Outage { after_finished: 1, at_request, lasts: Duration::from_secs(5) });
        let (mut world, device, first) = triggered(1, BootstrapScript { outage, ..patient() });
        world.run_for(Duration::from_secs(20));
        assert!(events_of(&world, device).any(|event| *event == DeviceEvent::PowerLost));
        // With Finish the gateway knows the new key already.
        assert!(is_there(&world, device), "{at_request}");
        assert_eq!((told_key(&world, device), refused_handshakes(&world)), (Some(first), 0), "{at_request}");
        assert_eq!(registrations(&world, device), 2);
    }
}
