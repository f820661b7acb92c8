//! Devices on DTLS in virtual time: sessions over sleep, moves, restarts and reboots; hostile peers beside honest ones;
//! credentials that change under a session.

mod credentials;
mod hostile;
mod impersonation;
mod moving;
mod nonces;
mod storms;

use std::net::SocketAddr;
use std::time::Duration;

use lwm2mqtt::gateway::query::Query;
use lwm2mqtt::gateway::vocabulary::{Input, RequestId};
use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::model::credential::{Proof, SecretBytes};
use lwm2mqtt::model::credential_wish::{CredentialWish, Means};
use lwm2mqtt::model::endpoint::Endpoint;
use lwm2mqtt::model::time::Instant;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::simulator::device::DeviceEvent;
use lwm2mqtt::simulator::dtls::client::{DtlsEvent, DtlsScript};
use lwm2mqtt::simulator::dtls::tap::Tap;
use lwm2mqtt::simulator::world::{World, WorldScript};

use super::checks::{COUNTER, counting_device, telemetry_numbers};

/// The key of an endpoint.
fn key_of(endpoint: &str) -> Vec<u8> {
    format!("the key of {endpoint}").into_bytes()
}

/// The script of a client with the key of its endpoint.
fn security(endpoint: &str) -> DtlsScript {
    DtlsScript::new(endpoint, &key_of(endpoint))
}

/// A credential of an endpoint with a key under its own name.
fn wish(endpoint: &str, key: &[u8]) -> CredentialWish {
    let proof = Proof::Psk { identity: endpoint.as_bytes().into(), key: SecretBytes::new(key) };
    CredentialWish::new(Endpoint::new(endpoint).unwrap(), Means::Proof(proof))
}

/// Puts a credential.
fn put(world: &mut World, wish: CredentialWish) {
    world.input(Input::Request { request: RequestId(1), query: Query::PutCredential(Box::new(wish)) });
}

/// A world whose gateway knows the keys of these endpoints, and what it sends is listened to.
fn world_of<'a>(script: WorldScript, endpoints: impl IntoIterator<Item = &'a str>) -> World {
    let mut world = World::new(script);
    for endpoint in endpoints {
        put(&mut world, wish(endpoint, &key_of(endpoint)));
    }
    world.run_for(Duration::from_secs(1));
    world.tap = Some(Tap::default());
    world
}

/// A world with one counting device `dev` that is registered and observed.
fn world_with_device(seed: u64, security: DtlsScript) -> (World, SocketAddr) {
    let mut world = world_of(WorldScript::new(seed), ["dev"]);
    let device = world.add_secure_device(counting_device("dev"), security);
    world.run_for(Duration::from_secs(10));
    assert!(world.devices[&device].observed_paths().any(|path| path == COUNTER));
    (world, device)
}

/// How often the gateway counted something.
fn counted(world: &World, occurrence: Occurrence) -> u64 {
    world.occurrences.get(&occurrence).copied().unwrap_or_default()
}

/// The device measures another number; whether it reaches the broker without another datagram being repeated.
fn reports(world: &mut World, device: SocketAddr, number: u32) -> bool {
    let endpoint = world.devices[&device].endpoint().to_owned();
    world.with_device(device, |device, now| device.set_value(now, COUNTER, Value::Float(f64::from(number))));
    world.run_for(Duration::from_millis(1_500));
    telemetry_numbers(world, &endpoint).last() == Some(&number)
}

/// Handshakes of a device that ended in a session.
fn handshakes(world: &World, device: SocketAddr) -> usize {
    let established = |event: &DtlsEvent| matches!(event, DtlsEvent::Established { .. });
    world.session_events.iter().filter(|(_, address, event)| *address == device && established(event)).count()
}

/// Events of a device that fit, with their times.
fn when(world: &World, device: SocketAddr, fits: impl Fn(&DeviceEvent) -> bool) -> Vec<Instant> {
    let events = world.device_events.iter().filter(|(_, address, event)| *address == device && fits(event));
    events.map(|(at, ..)| *at).collect()
}

fn registrations(world: &World, device: SocketAddr) -> usize {
    when(world, device, |event| matches!(event, DeviceEvent::Registered { .. })).len()
}

fn updates(world: &World, device: SocketAddr) -> usize {
    when(world, device, |event| matches!(event, DeviceEvent::Updated)).len()
}
