//! Cases 0 to 99: the bootstrap interface, with simulated devices in virtual time.

use std::net::SocketAddr;
use std::time::Duration;

use lwm2mqtt::gateway::configuration::BootstrapConfiguration;
use lwm2mqtt::gateway::vocabulary::{Answer, BootstrapQuery, Input, Query, RequestId};
use lwm2mqtt::model::credential::{Proof, Scope, SecretBytes};
use lwm2mqtt::model::credential_wish::{CredentialWish, Means};
use lwm2mqtt::model::endpoint::Endpoint;
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::model::version::Version;
use lwm2mqtt::protocol::coap::message::Code;
use lwm2mqtt::protocol::content::ContentFormat;
use lwm2mqtt::simulator::bootstrap_script::{BootstrapScript, FactoryKey};
use lwm2mqtt::simulator::device::DeviceEvent;
use lwm2mqtt::simulator::script::DeviceScript;
use lwm2mqtt::simulator::world::{GATEWAY, GATEWAY_BOOTSTRAP, GATEWAY_BOOTSTRAP_DTLS, World, WorldScript};
use serde_json::{Value as Json, json};

use super::ets::page::{Case, case};
use super::ets::{ALL, SINCE_1_1, SINCE_1_2, for_versions};
use crate::simulation::checks::terminal;

pub(crate) const CHAPTER: &[&[Case]] = &[&[
    case!("1.1-int-0", "A client asks and gets its account", ets_1_1_int_0_client_initiated_bootstrap),
    case!("1.1-int-1", "The same with a pre-shared key", ets_1_1_int_1_bootstrap_with_a_pre_shared_key),
    case!(
        "1.1-int-2",
        "The same with certificates, up to Finish; registering by one is 402",
        ets_1_1_int_2_bootstrap_with_certificates
    ),
    case!("1.1-int-3", "An account from a smartcard", ets_1_1_int_3_account_from_a_smartcard),
    case!("1.1-int-4", "Accounts are deleted and made anew", ets_1_1_int_4_bootstrap_delete),
    case!("1.1-int-5", "The server asks for it", ets_1_1_int_5_server_initiated_bootstrap),
    case!("1.1-int-6", "The order of ways to bootstrap", not "it judges the client alone"),
    case!("1.1-int-7", "The server that was known does not answer", ets_1_1_int_7_fallback_to_bootstrap),
    case!("1.1-int-8", "What was written is read back", ets_1_1_int_8_bootstrap_read),
    case!("1.1-int-9", "The client finds its accounts inconsistent", ets_1_1_int_9_inconsistent_accounts),
    case!("1.1-int-10", "Enrolment over secure transport", not "EST is not served"),
    case!("1.2-int-11", "Bootstrap over OSCORE", not "OSCORE is not served"),
    case!("1.2-int-12", "Everything in one pack", ets_1_2_int_12_bootstrap_pack),
    case!("1.2-int-19", "Bootstrap over MQTT", not "the MQTT binding is not served"),
]];

const ENDPOINT: &str = "dev";
const KEY: &[u8] = b"a key from the factory";

/// A world with a bootstrap server and this entry for the device.
fn world(entry: &Json) -> World {
    let mut world = World::new(WorldScript::new(1).with_bootstrap(BootstrapConfiguration::default()));
    put_device(&mut world, entry);
    world
}

fn put_device(world: &mut World, entry: &Json) {
    let query = BootstrapQuery::PutDevice { name: ENDPOINT.to_owned(), body: entry.clone(), dry_run: false };
    world.input(Input::Request { request: RequestId(1), query: Query::Bootstrap(query) });
    world.run_for(Duration::from_secs(1));
    match world.answers.pop() {
        Some(Answer::Body(body)) => assert!(body["created"].is_boolean(), "{body}"),
        other => panic!("{other:?}"),
    }
}

fn device(version: Version) -> DeviceScript {
    let mut script = DeviceScript::new(ENDPOINT)
        .with_version(version)
        .with(Path::resource(3, 0, 0), Value::String("ACME".to_owned()));
    script.registration_retry = Duration::from_secs(5);
    script
}

fn bootstrap_script(version: Version) -> BootstrapScript {
    let pct = (version > Version::V1_0).then_some(ContentFormat::SENML_CBOR);
    BootstrapScript { pct, ..BootstrapScript::default() }
}

fn plain(version: Version) -> DeviceScript {
    let uri = format!("coap://{GATEWAY_BOOTSTRAP}");
    device(version).with_bootstrap(bootstrap_script(version), 0, &uri, FactoryKey::NoSec)
}

fn count(world: &World, device: SocketAddr, event: &DeviceEvent) -> usize {
    world.device_events.iter().filter(|(_, address, of)| *address == device && of == event).count()
}

fn bootstraps(world: &World, device: SocketAddr) -> usize {
    count(world, device, &DeviceEvent::Bootstrapped)
}

fn sessions(world: &mut World) -> Json {
    let query = BootstrapQuery::Sessions { endpoint: Some(ENDPOINT.to_owned()), after: None, limit: 10 };
    match world.ask(Query::Bootstrap(query)) {
        Some(Answer::Body(body)) => body["items"].clone(),
        other => panic!("{other:?}"),
    }
}

/// Operation, path and code of each step of the latest session.
fn steps(world: &mut World) -> Vec<(String, String, String)> {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let sessions = sessions(world);
    let steps = sessions[0]["steps"].as_array().expect("a session");
    steps.iter().map(|step| (text(&step["operation"]), text(&step["path"]), text(&step["code"]))).collect()
}

fn step<'a>(steps: &'a [(String, String, String)], operation: &str, path: &str) -> &'a str {
    let found = steps.iter().find(|step| step.0 == operation && step.1 == path);
    &found.unwrap_or_else(|| panic!("{operation} {path} in {steps:?}")).2
}

#[test]
pub(crate) fn ets_1_1_int_0_client_initiated_bootstrap() {
    for_versions("1.1-int-0", ALL, |version| {
        let mut world = world(&json!({ "servers": ["management-nosec"] }));
        let device = world.add_device(plain(version));
        world.run_for(Duration::from_secs(20));
        assert_eq!(bootstraps(&world, device), 1);
        let steps = steps(&mut world);
        assert_eq!(step(&steps, "discover", "/"), "2.05");
        assert_eq!((step(&steps, "write", "/0/1"), step(&steps, "write", "/1/0")), ("2.04", "2.04"));
        assert_eq!(step(&steps, "finish", ""), "2.04");
        let tree = world.devices[&device].tree();
        assert_eq!(tree.value(&Path::resource(0, 1, 0)), Some(&Value::String(format!("coap://{GATEWAY}"))));
        assert!(world.devices[&device].is_registered());
    });
}

#[test]
pub(crate) fn ets_1_1_int_1_bootstrap_with_a_pre_shared_key() {
    for_versions("1.1-int-1", SINCE_1_1, |version| {
        let mut world = world(&json!({ "servers": ["management-psk"] }));
        let proof = Proof::Psk { identity: ENDPOINT.as_bytes().into(), key: SecretBytes::new(KEY) };
        let mut wish = CredentialWish::new(Endpoint::new(ENDPOINT).unwrap(), Means::Proof(proof));
        wish.scope = Scope::Bootstrap;
        world.input(Input::Request { request: RequestId(2), query: Query::PutCredential(Box::new(wish)) });
        world.run_for(Duration::from_secs(1));
        let uri = format!("coaps://{GATEWAY_BOOTSTRAP_DTLS}");
        let key = FactoryKey::Psk { identity: ENDPOINT.as_bytes(), key: KEY };
        let device = world.add_device(device(version).with_bootstrap(bootstrap_script(version), 0, &uri, key));
        world.run_for(Duration::from_secs(30));
        assert_eq!(bootstraps(&world, device), 1);
        let session = sessions(&mut world)[0].clone();
        assert_eq!((&session["transport"], &session["identity"]), (&json!("dtls"), &json!(ENDPOINT)));
        assert!(world.devices[&device].is_registered());
        let Some(Answer::Body(record)) = world.ask(Query::Device { device: ENDPOINT.to_owned() }) else { panic!() };
        assert_eq!((&record["transport"], &record["identity"]), (&json!("dtls"), &json!(ENDPOINT)), "{record}");
    });
}

#[test]
pub(crate) fn ets_1_1_int_2_bootstrap_with_certificates() {
    for_versions("1.1-int-2", SINCE_1_1, |version| {
        let account = json!({ "security_mode": "x509", "provision": "self" });
        let mut world = world(&json!({ "servers": [account] }));
        let device = world.add_device(plain(version));
        world.run_for(Duration::from_secs(30));
        assert_eq!(bootstraps(&world, device), 1);
        let tree = world.devices[&device].tree();
        let value = |resource| tree.value(&Path::resource(0, 1, resource));
        assert_eq!(value(2), Some(&Value::Integer(2)));
        for resource in [3, 4, 5] {
            assert!(matches!(value(resource), Some(Value::Opaque(bytes)) if !bytes.is_empty()), "/0/1/{resource}");
        }
        // That a device registers by a certificate is the case 402.
        let credential = Query::Credential { scope: Scope::Server, endpoint: ENDPOINT.to_owned() };
        let Some(Answer::Body(credential)) = world.ask(credential) else { panic!() };
        assert_eq!(credential["mode"], "x509");
    });
}

#[test]
pub(crate) fn ets_1_1_int_3_account_from_a_smartcard() {
    for_versions("1.1-int-3", SINCE_1_1, |version| {
        for lifetime in [86_400, 43_200] {
            let mut world = World::new(WorldScript::new(1));
            let mut script = device(version)
                .with(Path::resource(1, 0, 0), Value::Integer(101))
                .with(Path::resource(1, 0, 1), Value::Integer(lifetime));
            script.lifetime_secs = u32::try_from(lifetime).unwrap();
            let device = world.add_device(script);
            world.run_for(Duration::from_secs(5));
            assert!(world.devices[&device].is_registered());
            let order = json!({"id": "read", "operation": "read", "path": "/1/0/1"});
            world.downlink("lwm2m/dev/command", &order.to_string());
            world.run_for(Duration::from_secs(5));
            let done = terminal(&world, ENDPOINT, "read");
            assert_eq!(done["value"], lifetime, "{done}");
        }
    });
}

#[test]
pub(crate) fn ets_1_1_int_4_bootstrap_delete() {
    for_versions("1.1-int-4", SINCE_1_1, |version| {
        let mut world = world(&json!({ "servers": ["management-nosec"], "deletes": ["/0", "/1"] }));
        let mut script = plain(version);
        // Accounts from before, one of them at an id that nobody would choose.
        for (path, value) in [
            (Path::resource(0, 7, 0), Value::String("coap://10.9.9.9:5683".to_owned())),
            (Path::resource(0, 7, 1), Value::Boolean(false)),
            (Path::resource(0, 7, 10), Value::Integer(99)),
            (Path::resource(1, 4, 0), Value::Integer(99)),
        ] {
            script.tree.set(path, value);
        }
        let device = world.add_device(script);
        world.run_for(Duration::from_secs(120));
        assert_eq!(bootstraps(&world, device), 1);
        let steps = steps(&mut world);
        assert_eq!((step(&steps, "delete", "/0"), step(&steps, "delete", "/1")), ("2.02", "2.02"));
        assert_eq!(step(&steps, "read", "/1"), "2.05");
        let tree = world.devices[&device].tree();
        assert_eq!(tree.instances_of(0).collect::<Vec<u16>>(), [0, 1]);
        assert_eq!(tree.instances_of(1).collect::<Vec<u16>>(), [0]);
        assert_eq!(tree.value(&Path::resource(0, 0, 1)), Some(&Value::Boolean(true)), "the bootstrap account stays");
        assert!(world.devices[&device].is_registered());
    });
}

#[test]
pub(crate) fn ets_1_1_int_5_server_initiated_bootstrap() {
    for_versions("1.1-int-5", SINCE_1_1, |version| {
        let mut world = world(&json!({ "servers": ["management-nosec"] }));
        let device = world.add_device(plain(version));
        world.run_for(Duration::from_secs(20));
        assert_eq!(bootstraps(&world, device), 1);
        world.downlink("lwm2m/dev/command", &json!({"id": "b", "operation": "bootstrap"}).to_string());
        world.run_for(Duration::from_secs(60));
        let done = terminal(&world, ENDPOINT, "b");
        assert_eq!(done["code"], "2.04", "{done}");
        assert_eq!(bootstraps(&world, device), 2);
        assert!(world.devices[&device].is_registered());
    });
}

#[test]
pub(crate) fn ets_1_1_int_7_fallback_to_bootstrap() {
    for_versions("1.1-int-7", SINCE_1_1, |version| {
        let mut world = world(&json!({ "servers": ["management-nosec"] }));
        let mut script = plain(version);
        for (path, value) in [
            (Path::resource(0, 1, 0), Value::String("coap://10.9.9.9:5683".to_owned())),
            (Path::resource(0, 1, 1), Value::Boolean(false)),
            (Path::resource(0, 1, 2), Value::Integer(3)),
            (Path::resource(0, 1, 3), Value::Opaque(Vec::new())),
            (Path::resource(0, 1, 4), Value::Opaque(Vec::new())),
            (Path::resource(0, 1, 5), Value::Opaque(Vec::new())),
            (Path::resource(0, 1, 10), Value::Integer(1)),
            (Path::resource(1, 0, 0), Value::Integer(1)),
            (Path::resource(1, 0, 1), Value::Integer(300)),
            (Path::resource(1, 0, 6), Value::Boolean(true)),
            (Path::resource(1, 0, 7), Value::String("U".to_owned())),
        ] {
            script.tree.set(path, value);
        }
        let device = world.add_device(script);
        world.run_for(Duration::from_secs(60));
        assert_eq!(bootstraps(&world, device), 0, "it tries the server that it knows first");
        world.run_for(Duration::from_secs(900));
        let failed = world.device_events.iter().any(|(_, address, event)| {
            *address == device && matches!(event, DeviceEvent::RegistrationFailed { code: None })
        });
        assert!(failed);
        assert_eq!(bootstraps(&world, device), 1);
        assert!(world.devices[&device].is_registered());
    });
}

#[test]
pub(crate) fn ets_1_1_int_8_bootstrap_read() {
    for_versions("1.1-int-8", SINCE_1_1, |version| {
        let acls = json!([{ "object": 3, "instance": 0, "owner": 65535, "acl": { "0": 31 } }]);
        let mut world = world(&json!({ "servers": ["management-nosec"], "acls": acls, "verify": true }));
        let device = world.add_device(plain(version));
        world.run_for(Duration::from_secs(20));
        assert_eq!(bootstraps(&world, device), 1);
        let steps = steps(&mut world);
        assert_eq!(step(&steps, "write", "/2/0"), "2.04");
        assert_eq!((step(&steps, "read", "/1"), step(&steps, "read", "/2")), ("2.05", "2.05"));
        assert_eq!(step(&steps, "finish", ""), "2.04");
        let tree = world.devices[&device].tree();
        assert_eq!(tree.value(&Path::resource(2, 0, 3)), Some(&Value::Integer(65_535)));
        assert_eq!(tree.value(&Path::resource_instance(2, 0, 2, 0)), Some(&Value::Integer(31)));
    });
}

#[test]
pub(crate) fn ets_1_1_int_9_inconsistent_accounts() {
    for_versions("1.1-int-9", SINCE_1_1, |version| {
        let mut world = world(&json!({ "servers": [], "deletes": [], "writes": { "/1/0/5": 60 } }));
        let device = world.add_device(plain(version));
        world.run_for(Duration::from_secs(20));
        assert_eq!(bootstraps(&world, device), 0);
        let session = sessions(&mut world)[0].clone();
        assert_eq!(session["outcome"], "failed");
        assert!(session["reason"].as_str().unwrap().contains("4.06"), "{session}");
        let finishes = steps(&mut world).into_iter().filter(|step| step.0 == "finish");
        let refused = Code::NOT_ACCEPTABLE.to_string();
        assert_eq!(finishes.map(|step| step.2).collect::<Vec<_>>(), [refused.clone(), refused], "repaired once");
        put_device(&mut world, &json!({ "servers": ["management-nosec"] }));
        world.run_for(Duration::from_secs(900));
        assert_eq!(bootstraps(&world, device), 1);
        assert!(world.devices[&device].is_registered());
    });
}

#[test]
pub(crate) fn ets_1_2_int_12_bootstrap_pack() {
    for_versions("1.2-int-12", SINCE_1_2, |version| {
        for format in [ContentFormat::SENML_CBOR, ContentFormat::SENML_JSON, ContentFormat::LWM2M_CBOR] {
            let mut world = world(&json!({ "servers": ["management-nosec"] }));
            let script = BootstrapScript { pack: Some(format), ..bootstrap_script(version) };
            let uri = format!("coap://{GATEWAY_BOOTSTRAP}");
            let device = world.add_device(device(version).with_bootstrap(script, 0, &uri, FactoryKey::NoSec));
            world.run_for(Duration::from_secs(20));
            assert_eq!(bootstraps(&world, device), 1);
            let steps = steps(&mut world);
            assert_eq!(step(&steps, "pack", "/"), "2.05");
            assert!(steps.iter().all(|step| step.0 != "finish"), "there is no Finish");
            assert!(world.devices[&device].is_registered());
        }
    });
}
