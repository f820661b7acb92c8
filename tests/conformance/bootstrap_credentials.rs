//! What bootstrapping does to the credentials of this gateway: new ones at once, old ones until the new were used.

use std::time::Duration;

use lwm2mqtt::gateway::configuration::UnknownBootstrap;
use lwm2mqtt::gateway::handshakes::HandshakeOrder;
use lwm2mqtt::gateway::vocabulary::{Answer, BootstrapQuery, Output, Query};
use lwm2mqtt::model::credential::{Proof, Scope};
use lwm2mqtt::protocol::coap::message::Code;
use serde_json::{Value as Json, json};

use super::bootstrap_core::{begin, bootstrap_gateway, next, peer, put_device, shape, value, written};
use super::gateway::{Gateway, answer};

/// Leads a session up to Finish; the key that was written, and the Finish.
fn up_to_finish(gateway: &mut Gateway) -> (String, lwm2mqtt::protocol::coap::message::Message) {
    let mut sent = begin(gateway, peer(1), "ep=dev");
    let mut key = None;
    loop {
        let code = match sent.code {
            Code::GET => Code::NOT_FOUND,
            Code::DELETE => Code::DELETED,
            Code::POST => return (key.expect("a key"), sent),
            _ => Code::CHANGED,
        };
        if shape(&sent) == "PUT /0/1" {
            key = Some(value(&written(&sent), "/0/1/5").as_str().unwrap().to_owned());
        }
        sent = next(gateway, peer(1), &sent, code);
    }
}

fn finish(gateway: &mut Gateway) -> String {
    let (key, finish) = up_to_finish(gateway);
    gateway.receive(peer(1), &answer(&finish, Code::CHANGED));
    // The next request has the same message id.
    gateway.pass(Duration::from_secs(300));
    key
}

fn credential(gateway: &mut Gateway) -> Json {
    gateway.query(Query::Credential { scope: Scope::Server, endpoint: "dev".to_owned() })
}

/// The keys in force, the newest last.
fn keys_in_force(gateway: &Gateway) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for order in &gateway.handshake_orders {
        let key_of = |proof: &Proof| match proof {
            Proof::Psk { key, .. } => data_encoding::HEXLOWER.encode(key.expose()),
            other => panic!("{other:?}"),
        };
        match order {
            Output::Handshake(HandshakeOrder::Admit { scope: Scope::Server, proof, .. }) => keys.push(key_of(proof)),
            Output::Handshake(HandshakeOrder::Revoke { scope: Scope::Server, proof }) => {
                let gone = key_of(proof);
                keys.retain(|key| *key != gone);
            }
            _ => {}
        }
    }
    keys
}

#[test]
fn the_credential_is_there_before_finish_and_the_device_is_known() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-psk"] }));
    let (key, _) = up_to_finish(&mut gateway);
    assert_eq!(credential(&mut gateway)["mode"], "psk");
    assert_eq!(keys_in_force(&gateway), [key]);
    assert_eq!(gateway.query(Query::Device { device: "dev".to_owned() })["endpoint"], "dev");
}

#[test]
fn nothing_is_said_of_finish_before_the_credential_is_durable() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-psk"], "deletes": [] }));
    let discover = begin(&mut gateway, peer(1), "ep=dev");
    let security = next(&mut gateway, peer(1), &discover, Code::NOT_FOUND);
    let server = next(&mut gateway, peer(1), &security, Code::CHANGED);
    gateway.store_holds = true;
    gateway.receive(peer(1), &answer(&server, Code::CHANGED));
    assert!(gateway.sent.is_empty());
    gateway.confirm();
    assert_eq!(shape(&gateway.next_sent().unwrap()), "POST /bs");
}

#[test]
fn a_key_that_was_delivered_and_never_used_is_given_again_and_the_old_one_stays() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    gateway.put_psk("dev", "000102030405060708090a0b0c0d0e0f");
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-psk"] }));
    let first = finish(&mut gateway);
    let old = "000102030405060708090a0b0c0d0e0f".to_owned();
    assert_eq!(keys_in_force(&gateway), [old.clone(), first.clone()]);
    let second = finish(&mut gateway);
    assert_eq!(first, second, "nobody ever came with it");
    assert_eq!(keys_in_force(&gateway), [old.clone(), first.clone()]);
    // And also another key leaves the one that the device has.
    let given = json!({ "security_mode": "psk", "psk_key": "c0ffee00", "provision": "self" });
    put_device(&mut gateway, "dev", &json!({ "servers": [given] }));
    finish(&mut gateway);
    assert_eq!(keys_in_force(&gateway), [old, "c0ffee00".to_owned()]);
}

#[test]
fn the_old_key_ends_when_it_is_kept_long_enough() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    gateway.put_psk("dev", "000102030405060708090a0b0c0d0e0f");
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-psk"] }));
    let key = finish(&mut gateway);
    gateway.pass(Duration::from_secs(25 * 60 * 60));
    assert_eq!(keys_in_force(&gateway), [key]);
}

#[test]
fn an_identity_of_another_device_fails_the_session_and_changes_nothing() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    gateway.put_psk("other", "000102030405060708090a0b0c0d0e0f");
    let account = json!({ "security_mode": "psk", "psk_identity": "other" });
    put_device(&mut gateway, "dev", &json!({ "servers": [account], "deletes": [] }));
    let discover = begin(&mut gateway, peer(1), "ep=dev");
    let security = next(&mut gateway, peer(1), &discover, Code::NOT_FOUND);
    let server = next(&mut gateway, peer(1), &security, Code::CHANGED);
    gateway.receive(peer(1), &answer(&server, Code::CHANGED));
    assert!(gateway.sent.is_empty(), "no Finish");
    let query = BootstrapQuery::Sessions { endpoint: None, after: None, limit: 1 };
    let sessions = gateway.query(Query::Bootstrap(query));
    assert_eq!(sessions["items"][0]["outcome"], "failed");
    assert!(sessions["items"][0]["reason"].as_str().unwrap().contains("other"), "{sessions}");
    let own = gateway.answers_to(Query::Credential { scope: Scope::Server, endpoint: "dev".to_owned() });
    assert!(matches!(own[0], Answer::Failed(_)));
}

#[test]
fn no_secret_stands_in_sessions_events_or_answers() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    let given = json!({ "security_mode": "psk", "psk_key": "c0ffee00c0ffee00", "provision": "self" });
    let put = put_device(
        &mut gateway,
        "dev",
        &json!({ "servers": [given],
        "writes": { "/21/0": { "0": "c2VjcmV0LW1hc3Rlcg==", "1": "AQ==", "2": "Ag==" } } }),
    );
    let mut shown = vec![put.to_string()];
    finish(&mut gateway);
    for query in [
        BootstrapQuery::Sessions { endpoint: None, after: None, limit: 10 },
        BootstrapQuery::Device { name: "dev".to_owned() },
        BootstrapQuery::Servers,
        BootstrapQuery::Devices { search: String::new(), after: None, limit: 10 },
    ] {
        shown.push(gateway.query(Query::Bootstrap(query)).to_string());
    }
    shown.extend(gateway.published.iter().map(|(_, body)| body.to_string()));
    assert!(shown.iter().any(|text| text.contains("bootstrapped")));
    for text in &shown {
        for secret in ["c0ffee00c0ffee00", "wP/uAMD/7gA=", "c2VjcmV0LW1hc3Rlcg", "secret-master"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
