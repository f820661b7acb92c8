//! Sessions that outlive sleep, addresses, restarts of the gateway and of the device.

use std::net::SocketAddr;
use std::time::Duration;

use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::protocol::dtls::suite::Suite;
use lwm2mqtt::simulator::device::{DeviceEvent, SimulatedDevice};
use lwm2mqtt::simulator::dtls::client::{DtlsEvent, DtlsScript};
use lwm2mqtt::simulator::script::DeviceScript;
use lwm2mqtt::simulator::world::WorldScript;

use super::super::checks::{results, terminal};
use super::super::for_some_seeds;
use super::{counted, handshakes, registrations, reports, security, updates, when, world_of, world_with_device};

/// What happens to the gateway while a device sleeps.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gateway {
    Stays,
    IsRestarted,
    LosesPower,
}

fn sleeper() -> DeviceScript {
    let mut script = DeviceScript::new("sleeper").with_writable(Path::resource(3308, 0, 5900), Value::Float(20.0));
    script.queue_mode = true;
    script.awake_window = Duration::from_secs(20);
    script.lifetime_secs = 3_600;
    script.update_interval = Some(Duration::from_secs(630));
    script
}

fn elsewhere(number: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 7], 10_000 + number))
}

/// A device sleeps for ten minutes, is behind another address afterwards, and wakes to say so.
fn sleep_and_move(seed: u64, gateway: Gateway, client: DtlsScript) {
    let mut world = world_of(WorldScript::new(seed), ["sleeper"]);
    let device = world.add_secure_device(sleeper(), client);
    world.run_for(Duration::from_secs(120));
    assert!(world.devices[&device].is_asleep());
    world.downlink("lwm2m/sleeper/command", r#"{"id":"1","operation":"write","path":"/3308/0/5900","value":23}"#);
    world.run_for(Duration::from_secs(seed % 60));
    match gateway {
        Gateway::Stays => {}
        Gateway::IsRestarted => world.shut_down(),
        Gateway::LosesPower => world.cut_power(),
    }
    if gateway != Gateway::Stays {
        world.run_for(Duration::from_secs(3));
        world.switch_on();
    }
    for number in 0..3 {
        world.network.rebind(device, elsewhere(number));
    }
    world.run_for(Duration::from_secs(600));
    let context = format!("{gateway:?}: {:?}", world.device_events);
    let woke = when(&world, device, |event| matches!(event, DeviceEvent::Woke));
    let updated = when(&world, device, |event| matches!(event, DeviceEvent::Updated));
    let (Some(woke), Some(updated)) = (woke.first(), updated.first()) else { panic!("{context}") };
    assert!(updated.saturating_since(*woke) < Duration::from_secs(1), "{context}");
    assert_eq!((registrations(&world, device), handshakes(&world, device)), (1, 1), "{context}");
    assert_eq!(counted(&world, Occurrence::SessionMoved), 1);
    // What waited for it reaches it where it is now.
    assert_eq!(results(&world, "sleeper", "1")[0]["status"], "queued");
    assert_eq!(terminal(&world, "sleeper", "1")["status"], "done");
    let asked = world.tap.as_ref().unwrap().sent.iter().filter(|sent| sent.to == elsewhere(2)).count();
    assert!(asked >= 2, "{asked}");
}

#[test]
fn the_update_of_a_device_that_moved_in_a_sleep_of_ten_minutes_is_answered_at_once() {
    for_some_seeds(20, |seed| sleep_and_move(seed, Gateway::Stays, security("sleeper")));
}

#[test]
fn the_same_over_a_restart_of_the_gateway() {
    for_some_seeds(20, |seed| sleep_and_move(seed, Gateway::IsRestarted, security("sleeper")));
}

#[test]
fn the_same_over_a_power_cut() {
    for_some_seeds(20, |seed| {
        let client = DtlsScript { connection_id: Some(vec![9, 9]), ..security("sleeper") };
        sleep_and_move(seed, Gateway::LosesPower, client);
    });
}

#[test]
fn a_device_without_connection_id_that_moved_shakes_hands_anew_and_its_update_keeps_its_observations() {
    let (mut world, device) = world_with_device(1, security("dev").without_connection_id());
    world.network.rebind(device, elsewhere(1));
    world.with_session(device, |session, _| session.forget());
    world.with_device(device, SimulatedDevice::update);
    world.run_for(Duration::from_secs(1));
    assert_eq!((registrations(&world, device), updates(&world, device), handshakes(&world, device)), (1, 1, 2));
    let observed = when(&world, device, |event| matches!(event, DeviceEvent::Observed { .. }));
    assert!(reports(&mut world, device, 7));
    assert_eq!(when(&world, device, |event| matches!(event, DeviceEvent::Observed { .. })), observed);
    assert_eq!(world.gauges().unwrap().sessions, 1);
}

#[test]
fn a_device_without_connection_id_that_does_not_know_that_it_moved_comes_back_by_itself() {
    let (mut world, device) = world_with_device(1, security("dev").without_connection_id());
    world.network.rebind(device, elsewhere(1));
    world.with_device(device, SimulatedDevice::update);
    world.run_for(Duration::from_secs(200));
    assert!(reports(&mut world, device, 7));
    assert_eq!(world.gauges().unwrap().sessions, 1);
}

#[test]
fn a_session_is_resumed_over_a_restart_of_the_gateway_and_carries_an_update() {
    for client in [security("dev"), security("dev").without_connection_id()] {
        let (mut world, device) = world_with_device(1, DtlsScript { resumes: true, ..client });
        world.shut_down();
        world.switch_on();
        world.network.rebind(device, elsewhere(1));
        world.with_session(device, |session, _| session.forget());
        world.with_device(device, SimulatedDevice::update);
        world.run_for(Duration::from_secs(1));
        let (_, _, last) = world.session_events.last().unwrap();
        assert!(matches!(last, DtlsEvent::Established { resumed: true, .. }), "{last:?}");
        assert_eq!((registrations(&world, device), updates(&world, device)), (1, 1));
        assert!(reports(&mut world, device, 7));
        assert_eq!(counted(&world, Occurrence::Handshake("resumed", Suite::PskAes128Ccm8.name())), 1);
    }
}

#[test]
fn a_device_that_reboots_replaces_its_session() {
    let (mut world, device) = world_with_device(1, security("dev"));
    world.with_device(device, SimulatedDevice::restart);
    world.run_for(Duration::from_secs(10));
    assert_eq!((registrations(&world, device), handshakes(&world, device)), (2, 2));
    assert!(reports(&mut world, device, 7));
    assert_eq!(world.gauges().unwrap().sessions, 1);
}

#[test]
fn a_closed_session_is_gone_and_the_next_one_goes_on_with_the_registration() {
    let (mut world, device) = world_with_device(1, security("dev"));
    world.with_session(device, |session, _| session.close());
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.gauges().unwrap().sessions, 0);
    assert_eq!(counted(&world, Occurrence::SessionEnded("closed_by_peer")), 1);
    assert!(reports(&mut world, device, 7));
    assert_eq!((registrations(&world, device), handshakes(&world, device)), (1, 2));
}

#[test]
fn a_session_of_a_suite_with_cbc_works_and_ends_with_the_gateway() {
    let client = DtlsScript { suites: vec![Suite::PskAes128CbcSha256], ..security("dev") }.without_connection_id();
    let (mut world, device) = world_with_device(1, client);
    assert!(reports(&mut world, device, 7));
    world.shut_down();
    world.switch_on();
    world.run_for(Duration::from_secs(2));
    assert!(!reports(&mut world, device, 8));
    world.run_for(Duration::from_secs(200));
    assert!(reports(&mut world, device, 9));
    assert_eq!(handshakes(&world, device), 2);
}

#[test]
fn hellos_in_pieces_and_every_suite_with_a_key_are_served() {
    for suite in [Suite::PskAes128Ccm8, Suite::PskAes128Ccm, Suite::PskAes128GcmSha256, Suite::PskAes128CbcSha256] {
        let client = DtlsScript { suites: vec![suite], piece_bytes: 80, ..security("dev") };
        let (mut world, device) = world_with_device(1, client);
        assert!(reports(&mut world, device, 7), "{suite}");
        assert_eq!(counted(&world, Occurrence::Handshake("full", suite.name())), 1);
    }
}
