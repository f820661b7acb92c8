//! Who may register, and what becomes of a session whose credential changes.

use std::time::Duration;

use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::protocol::coap::message::Code;
use lwm2mqtt::simulator::device::DeviceEvent;
use lwm2mqtt::simulator::dtls::client::{DtlsEvent, DtlsScript};
use lwm2mqtt::simulator::world::WorldScript;

use super::super::checks::counting_device;
use super::{counted, registrations, reports, security, world_of, world_with_device};

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
    assert_eq!(super::when(&world, device, refused).len(), 1);
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
