//! Credentials as operators handle them: put, listed, changed, removed, blocked; over restarts.

use std::time::Duration;

use lwm2mqtt::gateway::vocabulary::{Answer, Query};
use lwm2mqtt::model::command::{CommandError, ErrorKind};
use lwm2mqtt::model::credential::{Proof, Scope, SecretBytes};
use lwm2mqtt::model::credential_wish::{CredentialWish, Means};
use lwm2mqtt::model::endpoint::Endpoint;
use lwm2mqtt::simulator::device::SimulatedDevice;
use lwm2mqtt::simulator::world::{World, WorldScript};
use serde_json::{Value, json};

use super::checks::{bodies, counting_device, retained};

fn wish(endpoint: &str, means: Means) -> CredentialWish {
    CredentialWish::new(Endpoint::new(endpoint).unwrap(), means)
}

fn psk(endpoint: &str, identity: &str) -> CredentialWish {
    let key = SecretBytes::new(b"a key that nobody sees");
    wish(endpoint, Means::Proof(Proof::Psk { identity: identity.as_bytes().into(), key }))
}

/// Asks and waits until the answer is durable.
fn ask(world: &mut World, query: Query) -> Result<Value, CommandError> {
    world.answers.clear();
    let answer = world.ask(query).or_else(|| {
        world.run_for(Duration::from_millis(200));
        world.answers.pop()
    });
    match answer.expect("an answer") {
        Answer::Body(body) => Ok(body),
        Answer::Failed(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

fn put(world: &mut World, wish: CredentialWish) -> Result<Value, CommandError> {
    ask(world, Query::PutCredential(Box::new(wish)))
}

fn list(world: &mut World, search: &str, after: Option<&str>, limit: usize) -> (Vec<String>, Option<String>) {
    let after = after.map(str::to_owned);
    let query = Query::Credentials { search: search.to_owned(), scope: None, after, limit };
    let page = ask(world, query).unwrap();
    let item = |item: &Value| format!("{}/{}", item["scope"].as_str().unwrap(), item["endpoint"].as_str().unwrap());
    (page["items"].as_array().unwrap().iter().map(item).collect(), page["next"].as_str().map(str::to_owned))
}

fn is_online(world: &World, device: &str) -> bool {
    retained(world, &format!("lwm2m/{device}/state")).is_some_and(|state| state["state"] == "online")
}

fn request(world: &mut World, what: &str, body: &Value) -> Value {
    world.downlink(&format!("lwm2m/bridge/request/{what}"), &body.to_string());
    world.run_for(Duration::from_secs(5));
    bodies(world, &format!("lwm2m/bridge/response/{what}")).pop().expect("a response")
}

#[test]
fn credentials_are_put_told_without_keys_and_kept_over_a_power_cut() {
    let mut world = World::new(WorldScript::new(1));
    let made = put(&mut world, psk("node-1", "id-1")).unwrap();
    assert_eq!((&made["created"], &made["mode"], &made["identity"]), (&json!(true), &json!("psk"), &json!("id-1")));
    let changed = CredentialWish { keep_old: Some(Duration::from_secs(60)), ..psk("node-1", "a\0b") };
    let changed = put(&mut world, changed).unwrap();
    assert_eq!((&changed["created"], &changed["identity_hex"]), (&json!(false), &json!("610062")));
    assert_eq!((&changed["old"]["identity"], &changed["old"]["mode"]), (&json!("id-1"), &json!("psk")));
    world.cut_power();
    world.switch_on();
    let kept = ask(&mut world, Query::Credential { scope: Scope::Server, endpoint: "node-1".to_owned() }).unwrap();
    assert_eq!((&kept["identity_hex"], &kept["old"]), (&json!("610062"), &changed["old"]));
    for answer in [&made, &changed, &kept] {
        assert!(!answer.to_string().contains("nobody sees") && answer.get("key").is_none(), "{answer}");
    }
    world.run_for(Duration::from_secs(61));
    let kept = ask(&mut world, Query::Credential { scope: Scope::Server, endpoint: "node-1".to_owned() }).unwrap();
    assert_eq!(kept.get("old"), None, "the time of the former key is over");
}

#[test]
fn a_list_goes_by_name_and_scope_in_pages() {
    let mut world = World::new(WorldScript::new(1));
    for (endpoint, scope) in
        [("b", Scope::Server), ("a", Scope::Bootstrap), ("a", Scope::Server), ("c", Scope::Bootstrap)]
    {
        put(&mut world, CredentialWish { scope, ..psk(endpoint, &format!("of {endpoint}")) }).unwrap();
    }
    let all = ["server/a", "bootstrap/a", "server/b", "bootstrap/c"];
    assert_eq!(list(&mut world, "", None, 10).0, all);
    for limit in 1..=4 {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let (mut page, next) = list(&mut world, "", after.as_deref(), limit);
            assert!(page.len() <= limit);
            found.append(&mut page);
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, all, "limit {limit}");
    }
    assert_eq!(list(&mut world, "of c", None, 10).0, ["bootstrap/c"]);
    let query = Query::Credentials { search: String::new(), scope: None, after: Some("x".to_owned()), limit: 1 };
    assert_eq!(ask(&mut world, query).unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn an_identity_in_use_and_a_name_in_use_are_conflicts() {
    let mut world = World::new(WorldScript::new(1));
    put(&mut world, psk("a", "same")).unwrap();
    let error = put(&mut world, psk("b", "same")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.message.starts_with("identity: 'same' is in use by the credential 'a'"), "{error}");
    world.add_device(counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    let named = CredentialWish { name: Some("dev".to_owned()), ..psk("b", "b") };
    assert_eq!(put(&mut world, named).unwrap_err().kind, ErrorKind::Conflict);
    let remove = |scope| Query::RemoveCredential { scope, endpoint: "a".to_owned() };
    assert_eq!(ask(&mut world, remove(Scope::Bootstrap)).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(ask(&mut world, remove(Scope::Server)).unwrap()["endpoint"], "a");
    assert_eq!(list(&mut world, "", None, 10).0, [] as [&str; 0]);
}

#[test]
fn a_list_of_wishes_is_put_whole_in_part_or_only_tried() {
    let mut world = World::new(WorldScript::new(1));
    put(&mut world, psk("a", "a")).unwrap();
    let unread = || Err(CommandError::new(ErrorKind::Invalid, "key: is no hexadecimal text"));
    let wishes = || vec![Ok(psk("a", "new")), Ok(psk("b", "b")), unread(), Ok(psk("c", "b")), Ok(psk("d", "a"))];
    let many = |world: &mut World, all_or_nothing, dry_run| {
        let answer = ask(world, Query::PutCredentials { wishes: wishes(), all_or_nothing, dry_run }).unwrap();
        let items = answer["items"].as_array().unwrap().iter();
        let words: Vec<String> = items.map(|item| item["status"].as_str().unwrap().to_owned()).collect();
        (words.join(" "), answer["failed"].as_u64().unwrap())
    };
    assert_eq!(many(&mut world, false, true), ("changed created failed failed failed".to_owned(), 3));
    assert_eq!(many(&mut world, true, false), ("not_taken not_taken failed failed failed".to_owned(), 3));
    assert_eq!(list(&mut world, "", None, 10).0, ["server/a"]);
    // Put one by one, the first makes room for the last.
    assert_eq!(many(&mut world, false, false), ("changed created failed failed created".to_owned(), 2));
    assert_eq!(list(&mut world, "", None, 10).0, ["server/a", "server/b", "server/d"]);
}

#[test]
fn a_known_device_has_the_name_and_tags_of_its_credential_at_once() {
    let mut world = World::new(WorldScript::new(1));
    world.add_device(counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    let open =
        CredentialWish { name: Some("hall".to_owned()), tags: Some(vec!["x".to_owned()]), ..wish("dev", Means::NoSec) };
    put(&mut world, open).unwrap();
    world.run_for(Duration::from_secs(1));
    assert!(is_online(&world, "hall"));
}

#[test]
fn a_device_that_becomes_known_has_the_name_and_tags_of_its_credential() {
    let mut world = World::new(WorldScript::new(1));
    let named = |endpoint: &str| CredentialWish {
        name: Some("hall".to_owned()),
        tags: Some(vec!["x".to_owned()]),
        ..wish(endpoint, Means::NoSec)
    };
    put(&mut world, named("one")).unwrap();
    put(&mut world, named("other")).unwrap();
    world.add_device(counting_device("one"));
    world.run_for(Duration::from_secs(10));
    assert!(is_online(&world, "hall") && retained(&world, "lwm2m/one/state").is_none());
    let record = ask(&mut world, Query::Device { device: "hall".to_owned() }).unwrap();
    assert_eq!((&record["endpoint"], &record["tags"]), (&json!("one"), &json!(["x"])));
    world.add_device(counting_device("other"));
    world.run_for(Duration::from_secs(10));
    let record = ask(&mut world, Query::Device { device: "other".to_owned() }).unwrap();
    assert_eq!((&record["name"], &record["tags"]), (&Value::Null, &json!(["x"])));
    assert!(record["last_error"].as_str().unwrap().contains("'hall'"), "{record}");
    let response = request(&mut world, "device/options", &json!({ "device": "hall", "name": null, "tags": [] }));
    assert_eq!(response["status"], "ok");
    let address = *world.devices.keys().next().unwrap();
    world.with_device(address, SimulatedDevice::restart);
    world.run_for(Duration::from_secs(30));
    let record = ask(&mut world, Query::Device { device: "one".to_owned() }).unwrap();
    assert_eq!((&record["name"], &record["tags"]), (&Value::Null, &json!([])), "operators have the last word");
}

#[test]
fn a_blocked_device_is_turned_away_until_the_block_is_lifted() {
    let mut world = World::new(WorldScript::new(1));
    let address = world.add_device(counting_device("dev"));
    world.run_for(Duration::from_secs(10));
    assert!(is_online(&world, "dev"));
    let response = request(&mut world, "device/block", &json!({ "device": "dev", "id": "1" }));
    assert_eq!((&response["status"], &response["data"]["endpoint"]), (&json!("ok"), &json!("dev")));
    assert!(!is_online(&world, "dev"), "its registration ended");
    world.with_device(address, SimulatedDevice::restart);
    world.run_for(Duration::from_secs(30));
    assert!(!is_online(&world, "dev"));
    let refused = ask(&mut world, Query::Refused).unwrap();
    assert!(refused["items"][0]["reason"].as_str().unwrap().contains("blocked"), "{refused}");

    let lifted = Query::RemoveCredential { scope: Scope::Server, endpoint: "dev".to_owned() };
    ask(&mut world, lifted).unwrap();
    world.run_for(Duration::from_secs(60));
    assert!(is_online(&world, "dev"));
    let response = request(&mut world, "device/block", &json!({ "device": "a\nb" }));
    assert_eq!(response["error"]["kind"], "invalid");
    let response = request(&mut world, "device/block", &json!({ "device": "never-seen" }));
    assert_eq!(response["data"]["endpoint"], "never-seen");
}

#[test]
fn a_removed_device_stays_away_only_if_it_had_a_credential() {
    let mut world = World::new(WorldScript::new(1));
    let (with, without) = (world.add_device(counting_device("with")), world.add_device(counting_device("without")));
    put(&mut world, wish("with", Means::NoSec)).unwrap();
    world.run_for(Duration::from_secs(10));
    assert!(is_online(&world, "with") && is_online(&world, "without"));
    for device in ["with", "without"] {
        assert_eq!(request(&mut world, "device/remove", &json!({ "device": device }))["status"], "ok");
    }
    assert_eq!(list(&mut world, "", None, 10).0, [] as [&str; 0]);
    let response = request(&mut world, "device/remove", &json!({ "device": "nobody" }));
    assert_eq!(response["error"]["kind"], "unknown_device");
    world.cut_power();
    world.switch_on();
    for address in [with, without] {
        world.with_device(address, SimulatedDevice::restart);
    }
    world.run_for(Duration::from_secs(30));
    assert!(!is_online(&world, "with"), "everybody may join, but not who was removed");
    assert!(is_online(&world, "without"));

    request(&mut world, "permit_join", &json!({ "for": "5m" }));
    world.run_for(Duration::from_secs(60));
    assert!(is_online(&world, "with"));
    world.run_for(Duration::from_secs(600));
    world.with_device(with, SimulatedDevice::restart);
    world.run_for(Duration::from_secs(30));
    assert!(is_online(&world, "with"), "whoever was let in again stays in");
}

#[test]
fn a_device_without_a_name_yet_is_removed_by_its_credential() {
    let mut world = World::new(WorldScript::new(1));
    put(&mut world, psk("never-seen", "i")).unwrap();
    let response = request(&mut world, "device/remove", &json!({ "device": "never-seen" }));
    assert_eq!(response["data"]["endpoint"], "never-seen");
    assert_eq!(list(&mut world, "", None, 10).0, [] as [&str; 0]);
}
