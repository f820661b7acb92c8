//! A device that has a credential of its own speaks in the name of another one, whose location and tokens it learnt.

use std::time::Duration;

use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageType, Token};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use lwm2mqtt::simulator::world::{World, WorldScript};
use serde_json::Value as Json;

use super::super::checks::{counting_device, retained, telemetry_numbers};
use super::{counted, reports, security, world_of};

/// What the store holds of a device.
fn record(world: &World, endpoint: &str) -> Json {
    let stored = world.store.stored();
    let (_, record) = stored.devices.iter().find(|(known, _)| known.as_str() == endpoint).unwrap();
    serde_json::from_slice(record).unwrap()
}

fn request(code: Code, id: u16, path: &[&str], query: &[&str]) -> Vec<u8> {
    let mut message = Message::new(MessageType::Confirmable, code, id, Token::new(&[9, 9]).unwrap());
    for segment in path {
        message.push_option(OptionNumber::URI_PATH, segment.as_bytes());
    }
    for argument in query {
        message.push_option(OptionNumber::URI_QUERY, argument.as_bytes());
    }
    message.encode()
}

#[test]
fn nobody_updates_ends_or_reports_for_a_device_but_who_registered_it() {
    let mut world = world_of(WorldScript::new(1), ["dev", "thief"]);
    let device = world.add_secure_device(counting_device("dev"), security("dev"));
    let thief = world.add_secure_device(counting_device("thief"), security("thief"));
    world.run_for(Duration::from_secs(10));
    let known = record(&world, "dev");
    let location = known["registration"]["location"].as_str().unwrap().to_owned();
    let token = data_encoding::HEXLOWER.decode(known["observations"][0]["token"].as_str().unwrap().as_bytes()).unwrap();

    let mut forged = Message::new(MessageType::Confirmable, Code::CONTENT, 903, Token::new(&token).unwrap());
    forged.push_uint(OptionNumber::OBSERVE, 5_000);
    forged.push_uint(OptionNumber::CONTENT_FORMAT, 0);
    forged.payload = b"666".to_vec();
    for message in [
        request(Code::POST, 901, &["rd", &location], &["lt=1"]),
        request(Code::DELETE, 902, &["rd", &location], &[]),
        forged.encode(),
    ] {
        world.with_session(thief, |session, now| session.send(now, message));
        world.run_for(Duration::from_secs(2));
    }
    assert_eq!(counted(&world, Occurrence::Refused("identity_mismatch")), 1, "the Update");
    assert_eq!(counted(&world, Occurrence::Request("deregister", 4)), 1);
    assert_eq!(counted(&world, Occurrence::DatagramDropped("unknown_token")), 1, "the notification");
    world.run_for(Duration::from_secs(60));
    assert_eq!(record(&world, "dev")["registration"]["location"], location.as_str());
    assert_eq!(retained(&world, "lwm2m/dev/state").unwrap()["state"], "online");
    assert!(!telemetry_numbers(&world, "dev").contains(&666));
    assert!(reports(&mut world, device, 7));
}

#[test]
fn the_location_of_a_device_with_a_credential_is_worth_nothing_without_it() {
    let mut world = world_of(WorldScript::new(1), ["dev"]);
    let device = world.add_secure_device(counting_device("dev"), security("dev"));
    let plain = world.add_device(counting_device("plain"));
    world.run_for(Duration::from_secs(10));
    let location = record(&world, "dev")["registration"]["location"].as_str().unwrap().to_owned();
    let message = request(Code::DELETE, 902, &["rd", &location], &[]);
    world.network.send(world.now(), plain, lwm2mqtt::simulator::world::GATEWAY, message);
    world.run_for(Duration::from_secs(2));
    assert_eq!(counted(&world, Occurrence::Request("deregister", 4)), 1);
    assert!(reports(&mut world, device, 7));
}
