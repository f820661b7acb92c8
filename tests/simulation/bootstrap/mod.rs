//! Devices that know nothing but a bootstrap server, in virtual time: they are told where to register and with which key,
//! over bad networks, power cuts on both sides, and whatever devices do wrong.

mod arriving;
mod many;
mod misbehaving;
mod power_cuts;
mod secrets;
mod turned_away;

use std::net::SocketAddr;
use std::time::Duration;

use lwm2mqtt::gateway::configuration::{BootstrapConfiguration, UnknownBootstrap};
use lwm2mqtt::gateway::query::Query;
use lwm2mqtt::gateway::vocabulary::{Answer, BootstrapQuery, Input, RequestId};
use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::model::bootstrap::{AccountOrName, DeviceEntry, EntryName, PskKey, Security, ServerAccount, ServerKind};
use lwm2mqtt::model::credential::{Proof, Scope, SecretBytes};
use lwm2mqtt::model::credential_wish::{CredentialWish, Means};
use lwm2mqtt::model::endpoint::Endpoint;
use lwm2mqtt::simulator::account::{Account, Proof as AccountProof};
use lwm2mqtt::simulator::bootstrap_script::{BootstrapScript, FactoryKey};
use lwm2mqtt::simulator::device::DeviceEvent;
use lwm2mqtt::simulator::dtls::client::{DtlsClient, DtlsEvent};
use lwm2mqtt::simulator::script::DeviceScript;
use lwm2mqtt::simulator::world::{GATEWAY_BOOTSTRAP, GATEWAY_BOOTSTRAP_DTLS, World, WorldScript};
use serde_json::Value as Json;

use super::checks::counting_device;

/// close_notify, which is no failure.
const CLOSE_NOTIFY: u8 = 0;

/// The entry of all devices: an account of this gateway, proven by a key that is made for each.
fn entry_for_all() -> (EntryName, DeviceEntry) {
    let security = Security::Psk { identity: None, key: PskKey::Random(16) };
    let account = ServerAccount::new(ServerKind::Management, security);
    let servers = vec![AccountOrName::Inline(Box::new(account))];
    (EntryName::new("*").unwrap(), DeviceEntry { servers, ..DeviceEntry::default() })
}

/// A gateway that tells every device to register with a key that is made for it.
fn generous(script: WorldScript) -> WorldScript {
    script.with_bootstrap(BootstrapConfiguration {
        unknown_devices: UnknownBootstrap::Template,
        servers: Vec::new(),
        devices: vec![entry_for_all()],
    })
}

/// A device that proves nothing to its bootstrap server.
fn plain(endpoint: &str, bootstrap: BootstrapScript) -> DeviceScript {
    let uri = format!("coap://{GATEWAY_BOOTSTRAP}");
    counting_device(endpoint).with_bootstrap(bootstrap, 0, &uri, FactoryKey::NoSec)
}

/// The key that a device has from its factory.
fn factory_key(endpoint: &str) -> Vec<u8> {
    format!("factory key of {endpoint}").into_bytes()
}

/// A device that proves by its factory key who it is.
fn secure(endpoint: &str, bootstrap: BootstrapScript) -> DeviceScript {
    let key = factory_key(endpoint);
    let proof = FactoryKey::Psk { identity: endpoint.as_bytes(), key: &key };
    counting_device(endpoint).with_bootstrap(bootstrap, 0, &format!("coaps://{GATEWAY_BOOTSTRAP_DTLS}"), proof)
}

/// The gateway learns the factory key of a device.
fn know(world: &mut World, endpoint: &str) {
    let key = SecretBytes::new(&factory_key(endpoint));
    let proof = Proof::Psk { identity: endpoint.as_bytes().into(), key };
    let mut wish = CredentialWish::new(Endpoint::new(endpoint).unwrap(), Means::Proof(proof));
    wish.scope = Scope::Bootstrap;
    world.input(Input::Request { request: RequestId(1), query: Query::PutCredential(Box::new(wish)) });
}

/// Identity and key that a device was told for its LwM2M server.
fn told_key(world: &World, device: SocketAddr) -> Option<(Vec<u8>, Vec<u8>)> {
    match Account::management(world.devices[&device].tree())?.proof {
        AccountProof::Psk { identity, key } => Some((identity, key.expose().to_vec())),
        AccountProof::NoSec | AccountProof::Asymmetric => None,
    }
}

fn events_of(world: &World, device: SocketAddr) -> impl Iterator<Item = &DeviceEvent> {
    world.device_events.iter().filter(move |(_, address, _)| *address == device).map(|(_, _, event)| event)
}

fn bootstraps(world: &World, device: SocketAddr) -> usize {
    events_of(world, device).filter(|event| **event == DeviceEvent::Bootstrapped).count()
}

fn registrations(world: &World, device: SocketAddr) -> usize {
    events_of(world, device).filter(|event| matches!(event, DeviceEvent::Registered { .. })).count()
}

/// The device is registered over DTLS, with the key that it was told.
fn is_there(world: &World, device: SocketAddr) -> bool {
    let registered = world.devices[&device].is_registered() && bootstraps(world, device) > 0;
    registered && world.sessions.get(&device).is_some_and(DtlsClient::is_established)
}

/// Handshakes that the gateway refused.
fn refused_handshakes(world: &World) -> usize {
    let refused = |event: &DtlsEvent| matches!(event, DtlsEvent::Ended { alert } if *alert != CLOSE_NOTIFY);
    world.session_events.iter().filter(|(_, _, event)| refused(event)).count()
}

/// How often the gateway counted something.
fn counted(world: &World, occurrence: Occurrence) -> u64 {
    world.occurrences.get(&occurrence).copied().unwrap_or_default()
}

/// Runs the world until something holds, at most for so long. Whether it holds.
fn runs_until(world: &mut World, most: Duration, holds: impl Fn(&World) -> bool) -> bool {
    const STEP: Duration = Duration::from_millis(50);
    let end = world.now() + most;
    while !holds(world) {
        if world.now() >= end {
            return false;
        }
        world.run_for(STEP);
    }
    true
}

/// Asks the bootstrap server something; what is written is durable when it is answered.
fn ask(world: &mut World, query: BootstrapQuery) -> Json {
    let answer = world.ask(Query::Bootstrap(query)).or_else(|| {
        world.run_for(Duration::from_millis(500));
        world.answers.pop()
    });
    match answer {
        Some(Answer::Body(body)) => body,
        other => panic!("{other:?}"),
    }
}

/// What became of the sessions, the latest first: outcome and reason.
fn outcomes(world: &mut World) -> Vec<(String, String)> {
    let sessions = ask(world, BootstrapQuery::Sessions { endpoint: None, after: None, limit: 100 });
    let text = |session: &Json, field: &str| session[field].as_str().unwrap_or_default().to_owned();
    let items = sessions["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|session| (text(session, "outcome"), text(session, "reason"))).collect()
}
