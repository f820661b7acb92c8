//! Who may register, and what becomes of a session whose credential changes.

use std::net::SocketAddr;
use std::time::Duration;

use lwm2mqtt::gateway::configuration::Role;
use lwm2mqtt::gateway::query::Query;
use lwm2mqtt::gateway::vocabulary::{Input, RequestId};
use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::model::credential::{Scope, SecretBytes};
use lwm2mqtt::model::credential_wish::CredentialWish;
use lwm2mqtt::model::event::EventKind;
use lwm2mqtt::protocol::coap::message::Code;
use lwm2mqtt::simulator::device::{DeviceEvent, SimulatedDevice};
use lwm2mqtt::simulator::dtls::client::{DtlsEvent, DtlsScript};
use lwm2mqtt::simulator::world::{World, WorldScript};
use serde_json::json;

use super::super::checks::{counting_device, retained};
use super::{
    counted, handshakes, key_of, put, registrations, reports, security, when, wish, world_of, world_with_device,
};

/// Asks the gateway for something that is answered later.
fn ask(world: &mut World, query: Query) {
    world.input(Input::Request { request: RequestId(1), query });
}

fn remove(world: &mut World) {
    ask(world, Query::RemoveCredential { scope: Scope::Server, endpoint: "dev".to_owned() });
}

fn block(world: &mut World) {
    let query = Query::Bridge { what: "device/block".to_owned(), body: json!({"device": "dev"}), role: Role::Admin };
    ask(world, query);
}

/// The session of the device was ended by the gateway, which said so, and the registration with it.
fn assert_ended_at_once(world: &mut World, device: SocketAddr) {
    world.run_for(Duration::from_millis(300));
    assert_eq!(world.gauges().unwrap().sessions, 0);
    assert_eq!(world.session_events.last().map(|(_, _, event)| event), Some(&DtlsEvent::Ended { alert: 0 }));
    assert_ne!(retained(world, "lwm2m/dev/state").unwrap()["state"], "online");
    assert_eq!((registrations(world, device), handshakes(world, device)), (1, 1));
    assert_eq!(counted(world, Occurrence::SessionEnded("credential_gone")), 1);
}

#[test]
fn a_removed_or_blocked_credential_ends_session_and_registration_at_once_and_the_device_stays_out() {
    for end in [remove as fn(&mut World), block] {
        let (mut world, device) = world_with_device(1, security("dev"));
        end(&mut world);
        assert_ended_at_once(&mut world, device);
        assert!(!reports(&mut world, device, 7));
        world.run_for(Duration::from_secs(300));
        assert_eq!((registrations(&world, device), handshakes(&world, device)), (1, 1));
        assert!(counted(&world, Occurrence::HandshakeFailed("unknown_identity")) >= 1);
        // Without a credential it does not come in either.
        let plain = world.add_device(counting_device("dev"));
        world.run_for(Duration::from_secs(60));
        assert_eq!(registrations(&world, plain), 0);
    }
}

#[test]
fn a_changed_key_ends_what_stood_by_the_old_one_and_the_new_one_opens() {
    let (mut world, device) = world_with_device(1, security("dev"));
    put(&mut world, wish("dev", b"another key"));
    assert_ended_at_once(&mut world, device);
    world.run_for(Duration::from_secs(100));
    assert_eq!(registrations(&world, device), 1);
    world.with_session(device, |session, _| session.script_mut().key = SecretBytes::new(b"another key"));
    world.run_for(Duration::from_secs(600));
    world.with_device(device, SimulatedDevice::restart);
    world.run_for(Duration::from_secs(10));
    assert_eq!(registrations(&world, device), 2);
    assert!(reports(&mut world, device, 7));
}

#[test]
fn a_key_that_is_kept_beside_the_new_one_serves_until_its_time_is_over() {
    let (mut world, device) = world_with_device(1, security("dev"));
    let keep_old = Some(Duration::from_secs(3_600));
    put(&mut world, CredentialWish { keep_old, ..wish("dev", b"another key") });
    world.run_for(Duration::from_secs(3_000));
    assert!(reports(&mut world, device, 7));
    // Also for a new handshake.
    world.with_session(device, |session, _| session.forget());
    world.run_for(Duration::from_secs(10));
    assert!(reports(&mut world, device, 8));
    assert_eq!((registrations(&world, device), handshakes(&world, device)), (1, 2));
    world.run_for(Duration::from_secs(600));
    assert_eq!(world.gauges().unwrap().sessions, 0);
    assert!(!reports(&mut world, device, 9));
}

#[test]
fn a_session_whose_credential_goes_during_its_handshake_never_begins() {
    let mut world = world_of(WorldScript::new(1), ["dev"]);
    let device = world.add_secure_device(counting_device("dev"), security("dev"));
    while world.gauges().unwrap().handshakes == 0 {
        world.run_for(Duration::from_micros(100));
    }
    // The proof of the device is on its way: the worker still knows its key, or does not any more.
    world.run_for(Duration::from_millis(2));
    assert_eq!(world.gauges().unwrap().sessions, 0);
    remove(&mut world);
    world.run_for(Duration::from_secs(30));
    assert_eq!((world.gauges().unwrap().sessions, registrations(&world, device)), (0, 0));
}

#[test]
fn a_name_that_one_device_holds_is_not_taken_by_another_one_of_the_same_group() {
    let mut world = world_of(WorldScript::new(1), []);
    for group in ["first", "second"] {
        put(&mut world, CredentialWish { endpoints: Some("x-*".to_owned()), ..wish(group, &key_of(group)) });
    }
    let holder = world.add_secure_device(counting_device("x-1"), security("first"));
    world.run_for(Duration::from_secs(10));
    let other = world.add_secure_device(counting_device("x-1"), security("second"));
    world.run_for(Duration::from_secs(3));
    let refused = |event: &DeviceEvent| *event == DeviceEvent::RegistrationFailed { code: Some(Code::FORBIDDEN) };
    assert!(!when(&world, other, refused).is_empty());
    assert_eq!(registrations(&world, other), 0);
    assert!(counted(&world, Occurrence::Refused("endpoint_conflict")) >= 1);
    assert!(world.events.iter().any(|event| event.kind == EventKind::EndpointConflict));
    assert!(reports(&mut world, holder, 7));
}

#[test]
fn an_unknown_identity_and_a_wrong_key_are_told_why_and_listed() {
    for (client, word, alert) in [
        (DtlsScript::new("nobody", b"some key"), "unknown_identity", 115),
        (DtlsScript::new("dev", b"some key"), "wrong_key", 51),
    ] {
        let mut world = world_of(WorldScript::new(1), ["dev"]);
        let device = world.add_secure_device(counting_device("dev"), client);
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.session_events.first().map(|(.., event)| event), Some(&DtlsEvent::Ended { alert }));
        assert_eq!(counted(&world, Occurrence::HandshakeFailed(word)), 1);
        assert_eq!((registrations(&world, device), world.gauges().unwrap().sessions), (0, 0));
    }
}

#[test]
fn a_device_registers_under_the_names_of_its_credential_alone() {
    let mut world = world_of(WorldScript::new(1), ["dev", "other"]);
    let device = world.add_secure_device(counting_device("other"), security("dev"));
    world.run_for(Duration::from_secs(1));
    let refused = |event: &DeviceEvent| *event == DeviceEvent::RegistrationFailed { code: Some(Code::BAD_REQUEST) };
    assert_eq!(when(&world, device, refused).len(), 1);
    assert_eq!(counted(&world, Occurrence::Refused("identity_mismatch")), 1);
}

#[test]
fn a_device_that_has_a_credential_does_not_come_in_without_it() {
    let (mut world, device) = world_with_device(1, security("dev"));
    let plain = world.add_device(counting_device("dev"));
    world.run_for(Duration::from_secs(30));
    assert_eq!(registrations(&world, plain), 0);
    assert!(counted(&world, Occurrence::Refused("credential_required")) >= 1);
    assert!(reports(&mut world, device, 7));
}
