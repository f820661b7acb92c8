//! The bootstrap server when something is missing: the store, the device, room, a version that can be asked.

use std::net::SocketAddr;
use std::time::Duration;

use lwm2mqtt::gateway::bootstrap::approval::MAX_WAITING;
use lwm2mqtt::gateway::bootstrap::pack::MAX_PACKS;
use lwm2mqtt::gateway::bootstrap::{IDLE_TIME, MAX_SESSIONS};
use lwm2mqtt::gateway::configuration::{Transport, UnknownBootstrap};
use lwm2mqtt::gateway::vocabulary::{BootstrapQuery, Input, Peer, Query};
use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::model::credential::Scope;
use lwm2mqtt::protocol::coap::block::Block;
use lwm2mqtt::protocol::coap::message::{Code, Message};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use serde_json::{Value as Json, json};

use super::bootstrap_core::{begin, bootstrap_gateway, next, peer, put_device, shape, value, written};
use super::gateway::{Gateway, answer, request};
use super::stream::{Connection, capabilities, stream_answer};

fn sessions(gateway: &mut Gateway) -> Json {
    let query = BootstrapQuery::Sessions { endpoint: None, after: None, limit: 10 };
    gateway.query(Query::Bootstrap(query))["items"].clone()
}

/// One of many devices.
fn one_of_many(number: u16) -> Peer {
    let [high, low] = number.to_be_bytes();
    Peer { remote: SocketAddr::from(([10, 3, high, low], 50_000)), ..peer(0) }
}

#[test]
fn while_nothing_can_be_written_no_device_learns_a_key() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-psk"] }));
    gateway.input(Input::StoreHealth { failure: Some("disk full".to_owned()) });
    let discover = begin(&mut gateway, peer(1), "ep=dev");
    gateway.receive(peer(1), &answer(&discover, Code::NOT_FOUND));
    assert!(gateway.sent.is_empty());
    assert!(sessions(&mut gateway)[0]["reason"].as_str().unwrap().contains("store"));
    // The store breaks between the key and the first request.
    gateway.input(Input::StoreHealth { failure: None });
    put_device(&mut gateway, "other", &json!({ "servers": ["management-psk"] }));
    gateway.store_holds = true;
    let discover = begin(&mut gateway, peer(2), "ep=other");
    gateway.receive(peer(2), &answer(&discover, Code::NOT_FOUND));
    gateway.input(Input::StoreHealth { failure: Some("disk full".to_owned()) });
    assert!(gateway.sent.is_empty(), "{:?}", gateway.sent);
    // And it works again.
    gateway.input(Input::StoreHealth { failure: None });
    gateway.confirm();
    assert_eq!(shape(&begin(&mut gateway, peer(3), "ep=dev")), "GET /");
}

#[test]
fn a_device_that_is_gone_is_given_up_and_its_place_is_free() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-nosec"] }));
    begin(&mut gateway, peer(1), "ep=dev");
    assert_eq!(gateway.gauges().bootstrap_sessions, 1);
    gateway.pass(IDLE_TIME);
    assert_eq!(gateway.gauges().bootstrap_sessions, 0);
    let repeated = gateway.sent.iter().filter(|(_, _, message)| message.code == Code::GET).count();
    assert_eq!(repeated, 4, "as often as CoAP repeats");
    assert!(sessions(&mut gateway)[0]["reason"].as_str().unwrap().contains("did not answer the discover"));
}

#[test]
fn a_device_that_takes_discover_and_never_answers_it_is_written_to_all_the_same() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-nosec"] }));
    let discover = begin(&mut gateway, peer(1), "ep=dev");
    gateway.receive(peer(1), &Message::acknowledgement(discover.id));
    gateway.pass(Duration::from_secs(70));
    assert_eq!(shape(&gateway.next_sent().unwrap()), "DELETE /0");
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-nosec"] }));
    let discover = begin(&mut gateway, peer(1), "ep=dev");
    gateway.receive(peer(1), &Message::reset(discover.id));
    // Whoever has never heard of Discover may not know the delete of an object either.
    let delete = gateway.next_sent().unwrap();
    assert_eq!(shape(&delete), "DELETE /");
    assert_eq!(shape(&next(&mut gateway, peer(1), &delete, Code::DELETED)), "PUT /0/1");
    let discover = begin(&mut gateway, peer(2), "ep=dev");
    assert_eq!(shape(&next(&mut gateway, peer(2), &discover, Code::INTERNAL_SERVER_ERROR)), "DELETE /");
}

#[test]
fn a_device_of_1_0_is_written_to_unasked_when_a_command_wants_it() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "old", &json!({ "servers": ["management-nosec"], "deletes": [] }));
    let device = Peer { local: Some([192, 0, 2, 1].into()), ..super::gateway::peer(1) };
    gateway.register(device, "ep=old&lt=300&lwm2m=1.0", "</3/0>");
    gateway.downlink("old/command", &json!({ "id": "b", "operation": "bootstrap" }));
    let (_, to, discover) = gateway.sent.pop_front().expect("a request");
    assert_eq!((to.listener, to.remote, shape(&discover).as_str()), (3, device.remote, "GET /"));
    let from = Peer { listener: 3, ..device };
    let mut sent = next(&mut gateway, from, &discover, Code::NOT_FOUND);
    while shape(&sent) != "POST /bs" {
        assert!(gateway.result("old", "b").is_none_or(|result| result["status"] == "queued"));
        sent = next(&mut gateway, from, &sent, Code::CHANGED);
    }
    gateway.receive(from, &answer(&sent, Code::CHANGED));
    assert_eq!(gateway.result("old", "b").expect("a result")["status"], "done");
}

#[test]
fn a_device_of_1_0_that_is_not_written_to_ends_the_command_as_not_supported() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    let device = super::gateway::peer(1);
    gateway.register(device, "ep=old&lt=300&lwm2m=1.0", "</3/0>");
    let kind = |gateway: &mut Gateway, id: &str| {
        gateway.downlink("old/command", &json!({ "id": id, "operation": "bootstrap" }));
        gateway.pass(Duration::from_secs(300));
        gateway.sent.clear();
        gateway.result("old", id).expect("a result")["error"]["kind"].clone()
    };
    assert_eq!(kind(&mut gateway, "no-entry"), "not_supported");
    gateway.register(device, "ep=old&lt=3000&lwm2m=1.0", "</3/0>");
    put_device(&mut gateway, "old", &json!({ "servers": ["management-nosec"] }));
    assert_eq!(kind(&mut gateway, "silent"), "not_supported");
}

#[test]
fn a_device_on_tcp_bootstraps_over_its_connection_and_its_end_ends_the_session() {
    let mut gateway = Gateway::with("version = 1\n", |configuration| {
        let addresses = ["[::]:5683", "[::]:5783"];
        configuration.addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        configuration.transports = vec![Transport::Tcp, Transport::Tcp];
        configuration.scopes = vec![Scope::Server, Scope::Bootstrap];
        configuration.bootstrap = Some(lwm2mqtt::gateway::configuration::BootstrapConfiguration::default());
    });
    put_device(&mut gateway, "dev", &json!({ "servers": [{ "transport": "tcp" }], "deletes": [] }));
    let open = |gateway: &mut Gateway, id: u64| {
        let remote = SocketAddr::from(([10, 4, 0, 1], 40_000 + u16::try_from(id).unwrap()));
        let peer = Peer { listener: 1, remote, local: Some([192, 0, 2, 1].into()), session: None };
        let connection = Connection::connect(gateway, peer, id);
        connection.say(gateway, &capabilities(None, false));
        assert_eq!(connection.next(gateway).code, Code::CSM);
        connection.say(gateway, &request(Code::POST, 0, "bs?ep=dev&pct=112"));
        assert_eq!(connection.next(gateway).code, Code::CHANGED);
        connection
    };
    let connection = open(&mut gateway, 1);
    let discover = connection.next(&mut gateway);
    connection.break_off(&mut gateway);
    assert_eq!(gateway.gauges().bootstrap_sessions, 0);
    assert!(sessions(&mut gateway)[0]["reason"].as_str().unwrap().contains("ended its connection"));
    assert_eq!(discover.code, Code::GET);
    // A connection stays while its device waits for its turn, however long that takes.
    let connection = open(&mut gateway, 2);
    let mut sent = connection.next(&mut gateway);
    gateway.pass(Duration::from_secs(50));
    while sent.uri_path() != ["bs"] {
        if sent.uri_path() == ["0", "1"] {
            let mut copy = sent.clone();
            copy.message_type = lwm2mqtt::protocol::coap::message::MessageType::Confirmable;
            assert_eq!(value(&written(&copy), "/0/1/0"), "coap+tcp://192.0.2.1:5683");
        }
        let code = if sent.code == Code::GET { Code::NOT_FOUND } else { Code::CHANGED };
        connection.say(&mut gateway, &stream_answer(&sent, code, ""));
        sent = connection.next(&mut gateway);
    }
    connection.say(&mut gateway, &stream_answer(&sent, Code::CHANGED, ""));
    assert_eq!(sessions(&mut gateway)[0]["outcome"], "done");
}

#[test]
fn beyond_the_bound_of_sessions_requests_are_not_answered_and_succeed_later() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Template);
    put_device(&mut gateway, "*", &json!({ "servers": ["management-nosec"] }));
    let most = u16::try_from(MAX_SESSIONS).unwrap();
    for number in 0..most {
        gateway.receive(one_of_many(number), &request(Code::POST, 1, &format!("bs?ep=dev-{number}")));
        gateway.sent.clear();
        if number % 1_000 == 999 {
            gateway.pass(Duration::from_secs(1));
            gateway.sent.clear();
        }
    }
    assert_eq!(gateway.gauges().bootstrap_sessions, MAX_SESSIONS);
    gateway.sent.clear();
    let late = request(Code::POST, 7, "bs?ep=late");
    gateway.receive(one_of_many(most), &late);
    assert!(gateway.sent.is_empty());
    assert_eq!(gateway.count(Occurrence::BoundReached("max_bootstrap_sessions")), 1);
    gateway.pass(IDLE_TIME);
    gateway.sent.clear();
    gateway.receive(one_of_many(most), &late);
    assert_eq!(gateway.next_sent().expect("the repetition counts as new").code, Code::CHANGED);
}

#[test]
fn the_oldest_that_waits_for_approval_gives_way() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Approve);
    let most = u16::try_from(MAX_WAITING).unwrap();
    for number in 0..=most {
        gateway.receive(one_of_many(number), &request(Code::POST, 1, &format!("bs?ep=dev-{number}")));
    }
    gateway.sent.clear();
    let pending = gateway.query(Query::Bootstrap(BootstrapQuery::Pending));
    let items = pending["items"].as_array().unwrap();
    assert_eq!(items.len(), MAX_WAITING);
    assert!(items.iter().all(|item| item["endpoint"] != "dev-0"));
    assert_eq!(gateway.count(Occurrence::BoundReached("max_bootstrap_waiting")), 1);
    assert_eq!(gateway.gauges().bootstrap_sessions, MAX_WAITING, "its session went with it");
    let told = gateway.bodies("bridge/event").into_iter().filter(|event| event["event"] == "join_requested").count();
    assert_eq!(told, 1, "in the same second");
}

#[test]
fn devices_that_are_turned_away_push_no_other_session_out_of_the_log() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-nosec"] }));
    begin(&mut gateway, peer(1), "ep=dev");
    gateway.pass(IDLE_TIME);
    gateway.sent.clear();
    for number in 0..1_200 {
        let reply = gateway.ask(one_of_many(number), &request(Code::POST, 1, &format!("bs?ep=stranger-{number}")));
        assert_eq!(reply.code, Code::BAD_REQUEST);
    }
    let query = BootstrapQuery::Sessions { endpoint: None, after: None, limit: 1_000 };
    let items = gateway.query(Query::Bootstrap(query))["items"].clone();
    let of = |name: &str| items.as_array().unwrap().iter().filter(|item| item["outcome"] == name).count();
    assert_eq!((of("failed"), of("refused")), (1, 100), "{}", items.as_array().unwrap().len());
    let told = gateway.bodies("bridge/event").into_iter().filter(|event| event["event"] == "refused").count();
    assert_eq!(told, 1, "in the same second");
}

#[test]
fn the_oldest_pack_that_is_not_fetched_gives_way() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Template);
    put_device(&mut gateway, "*", &json!({ "servers": ["management-nosec"] }));
    let ask = |gateway: &mut Gateway, number: u16, block: u32, id: u16| {
        let mut asked = request(Code::GET, id, &format!("bspack?ep=dev-{number}"));
        let block = Block { number: block, more: false, size_exponent: 2 };
        asked.push_option(OptionNumber::BLOCK2, block.encode());
        gateway.ask(one_of_many(number), &asked).code
    };
    let most = u16::try_from(MAX_PACKS).unwrap();
    for number in 0..=most {
        assert_eq!(ask(&mut gateway, number, 0, 1), Code::CONTENT);
        gateway.pass(Duration::from_millis(1));
    }
    assert_eq!(ask(&mut gateway, 0, 1, 2), Code::NOT_FOUND);
    assert_eq!(ask(&mut gateway, 1, 1, 2), Code::CONTENT);
}
