//! The bootstrap server message by message (Core TS 1.2.2 section 6.1).

use std::net::SocketAddr;
use std::time::Duration;

use lwm2mqtt::gateway::bootstrap::orders::{BootstrapInput, BootstrapOrder, KeyPair, KeyWish, Made};
use lwm2mqtt::gateway::configuration::{BootstrapConfiguration, Role, Transport, UnknownBootstrap};
use lwm2mqtt::gateway::vocabulary::{Answer, BootstrapQuery, Input, Output, Peer, Query};
use lwm2mqtt::model::command::ErrorKind;
use lwm2mqtt::model::credential::{Scope, SecretBytes};
use lwm2mqtt::model::object::{ObjectModel, ResourceTypes as _};
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::time::WallTime;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageType};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use lwm2mqtt::protocol::content::{self, ContentFormat, DecodeContext};
use serde_json::{Value as Json, json};

use super::gateway::{Gateway, answer, request};

/// Where the bootstrap server listens for datagrams.
const LISTENER: u16 = 3;

pub(super) fn bootstrap_gateway(unknown_devices: UnknownBootstrap) -> Gateway {
    Gateway::with("version = 1\n", |configuration| {
        let addresses = ["[::]:5683", "[::]:5683", "[::]:5684", "[::]:5783", "[::]:5784"];
        configuration.addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        configuration.transports =
            vec![Transport::Udp, Transport::Tcp, Transport::Dtls, Transport::Udp, Transport::Dtls];
        configuration.scopes = vec![Scope::Server, Scope::Server, Scope::Server, Scope::Bootstrap, Scope::Bootstrap];
        configuration.bootstrap = Some(BootstrapConfiguration { unknown_devices, ..BootstrapConfiguration::default() });
    })
}

pub(super) fn peer(number: u8) -> Peer {
    let remote = SocketAddr::from(([10, 2, 0, number], 50_000));
    Peer { listener: LISTENER, remote, local: Some([192, 0, 2, 1].into()), session: None }
}

pub(super) fn put_device(gateway: &mut Gateway, name: &str, body: &Json) -> Json {
    let query = BootstrapQuery::PutDevice { name: name.to_owned(), body: body.clone(), dry_run: false };
    gateway.query(Query::Bootstrap(query))
}

/// Asks for bootstrapping; the first request of the session.
pub(super) fn begin(gateway: &mut Gateway, peer: Peer, query: &str) -> Message {
    let message = request(Code::POST, 1, &format!("bs?{query}"));
    gateway.receive(peer, &message);
    let reply = gateway.next_sent().expect("an answer");
    assert_eq!((reply.code, reply.token), (Code::CHANGED, message.token));
    gateway.next_sent().expect("a request")
}

/// Answers a request, and gives the next one.
pub(super) fn next(gateway: &mut Gateway, peer: Peer, request: &Message, code: Code) -> Message {
    gateway.receive(peer, &answer(request, code));
    gateway.next_sent().expect("a request")
}

/// Method and path of a request.
pub(super) fn shape(message: &Message) -> String {
    assert_eq!(message.message_type, MessageType::Confirmable);
    let method = match message.code {
        Code::GET => "GET",
        Code::PUT => "PUT",
        Code::POST => "POST",
        Code::DELETE => "DELETE",
        other => panic!("{other}"),
    };
    format!("{method} /{}", message.uri_path().join("/"))
}

/// What a write holds: path and value as JSON.
pub(super) fn written(message: &Message) -> Vec<(String, Json)> {
    let base: Path = format!("/{}", message.uri_path().join("/")).parse().unwrap();
    let model = ObjectModel::built_in();
    let objects = std::collections::BTreeMap::new();
    let types = lwm2mqtt::model::object::DeviceModel { model: &model, objects: &objects, enabler: None };
    assert!(types.shape(&Path::resource(0, 0, 0)).is_some());
    let context = DecodeContext { base, root: "", types: &types, received: WallTime::from_secs(0) };
    let format = ContentFormat(message.content_format().expect("a format"));
    let decoded = content::decode(format, &message.payload, &context).unwrap();
    decoded
        .samples
        .iter()
        .map(|sample| {
            let json = match &sample.value {
                Value::Opaque(bytes) => data_encoding::HEXLOWER.encode(bytes).into(),
                value => value.to_json().unwrap(),
            };
            (sample.path.to_string(), json)
        })
        .collect()
}

pub(super) fn value<'a>(values: &'a [(String, Json)], path: &str) -> &'a Json {
    &values.iter().find(|(at, _)| at == path).unwrap_or_else(|| panic!("{path} in {values:?}")).1
}

fn found(request: &Message, links: &str) -> Message {
    let mut message = answer(request, Code::CONTENT);
    message.push_uint(OptionNumber::CONTENT_FORMAT, 40);
    message.payload = links.as_bytes().to_vec();
    message
}

fn sessions(gateway: &mut Gateway) -> Json {
    let query = BootstrapQuery::Sessions { endpoint: None, after: None, limit: 10 };
    gateway.query(Query::Bootstrap(query))["items"].clone()
}

#[test]
fn core_6_1_7_a_device_that_says_nothing_of_itself_gets_its_account_in_tlv() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-nosec"] }));
    let discover = begin(&mut gateway, peer(1), "ep=dev");
    assert_eq!((shape(&discover).as_str(), discover.uint(OptionNumber::ACCEPT)), ("GET /", Some(40)));
    let delete = next(&mut gateway, peer(1), &discover, Code::NOT_FOUND);
    assert_eq!(shape(&delete), "DELETE /0");
    let delete = next(&mut gateway, peer(1), &delete, Code::DELETED);
    assert_eq!(shape(&delete), "DELETE /1");
    let security = next(&mut gateway, peer(1), &delete, Code::DELETED);
    // The bootstrap account of a device that does not tell is at instance 0.
    assert_eq!((shape(&security).as_str(), security.content_format()), ("PUT /0/1", Some(11542)));
    let values = written(&security);
    assert_eq!(value(&values, "/0/1/0"), "coap://192.0.2.1:5683");
    assert_eq!((value(&values, "/0/1/1"), value(&values, "/0/1/2")), (&json!(false), &json!(3)));
    assert_eq!((value(&values, "/0/1/3"), value(&values, "/0/1/5")), (&json!(""), &json!("")));
    assert_eq!(value(&values, "/0/1/10"), 1);
    let server = next(&mut gateway, peer(1), &security, Code::CHANGED);
    assert_eq!(shape(&server), "PUT /1/0");
    let values = written(&server);
    assert_eq!((value(&values, "/1/0/0"), value(&values, "/1/0/1")), (&json!(1), &json!(86_400)));
    assert_eq!((value(&values, "/1/0/6"), value(&values, "/1/0/7")), (&json!(true), &json!("U")));
    let finish = next(&mut gateway, peer(1), &server, Code::CHANGED);
    assert_eq!((shape(&finish).as_str(), finish.payload.len()), ("POST /bs", 0));
    gateway.receive(peer(1), &answer(&finish, Code::CHANGED));
    assert!(gateway.sent.is_empty());
    let sessions = sessions(&mut gateway);
    assert_eq!(sessions[0]["outcome"], "done", "{sessions}");
    assert!(gateway.bodies("bridge/event").iter().any(|event| event["event"] == "bootstrapped"));
}

#[test]
fn the_account_of_the_bootstrap_server_itself_is_never_overwritten() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-nosec", "bootstrap-nosec"] }));
    let discover = begin(&mut gateway, peer(1), "ep=dev&pct=112");
    let links = "</>;lwm2m=1.1,</0/0>;ssid=101,</0/1>,</1/0>;ssid=101,</3/0>";
    gateway.receive(peer(1), &found(&discover, links));
    let mut sent = gateway.next_sent().unwrap();
    let mut shapes = Vec::new();
    let mut uris = Vec::new();
    while sent.code != Code::POST && sent.code != Code::GET {
        shapes.push(shape(&sent));
        if sent.code == Code::PUT && sent.uri_path()[0] == "0" {
            assert_eq!(sent.content_format(), Some(112));
            let values = written(&sent);
            uris.push(value(&values, &format!("/0/{}/0", sent.uri_path()[1])).clone());
        }
        let code = if sent.code == Code::PUT { Code::CHANGED } else { Code::DELETED };
        sent = next(&mut gateway, peer(1), &sent, code);
    }
    // Management takes the free instance 0; the bootstrap account is written where it is.
    assert_eq!(shapes, ["DELETE /0", "DELETE /1", "PUT /0/0", "PUT /0/1", "PUT /1/0"]);
    assert_eq!(uris, [json!("coap://192.0.2.1:5683"), json!("coap://192.0.2.1:5783")]);
    assert_eq!(shape(&sent), "GET /1");
    // Reading back is no must.
    let finish = next(&mut gateway, peer(1), &sent, Code::METHOD_NOT_ALLOWED);
    assert_eq!(shape(&finish), "POST /bs");
}

#[test]
fn an_account_whose_delete_is_refused_is_replaced_by_the_one_with_its_id() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    let account = json!({ "type": "management", "ssid": 7, "uri": "coap://s.example" });
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-nosec", account] }));
    let discover = begin(&mut gateway, peer(1), "ep=dev");
    gateway.receive(peer(1), &found(&discover, "</0/0>,</0/1>;ssid=7,</1/4>;ssid=7"));
    let delete = gateway.next_sent().unwrap();
    let delete = next(&mut gateway, peer(1), &delete, Code::BAD_REQUEST);
    let write = next(&mut gateway, peer(1), &delete, Code::METHOD_NOT_ALLOWED);
    let mut shapes = vec![shape(&write)];
    let mut sent = write;
    for _ in 0..3 {
        sent = next(&mut gateway, peer(1), &sent, Code::CHANGED);
        shapes.push(shape(&sent));
    }
    shapes.sort();
    assert_eq!(shapes, ["PUT /0/1", "PUT /0/2", "PUT /1/0", "PUT /1/4"]);
}

#[test]
fn core_6_1_7_5_a_finish_that_is_refused_with_4_06_is_repaired_once() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-nosec"] }));
    let mut sent = begin(&mut gateway, peer(1), "ep=dev");
    let mut finishes = 0;
    let mut writes = 0;
    loop {
        let code = match sent.code {
            Code::GET => Code::NOT_FOUND,
            Code::DELETE => Code::DELETED,
            Code::PUT => {
                writes += 1;
                Code::CHANGED
            }
            _ => {
                finishes += 1;
                if finishes == 2 {
                    break;
                }
                Code::NOT_ACCEPTABLE
            }
        };
        sent = next(&mut gateway, peer(1), &sent, code);
    }
    assert_eq!(writes, 4);
    gateway.receive(peer(1), &answer(&sent, Code::NOT_ACCEPTABLE));
    let sessions = sessions(&mut gateway);
    assert_eq!(sessions[0]["outcome"], "failed");
    assert!(sessions[0]["reason"].as_str().unwrap().contains("4.06"), "{sessions}");
}

#[test]
fn a_format_that_is_refused_gives_way_to_another() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-nosec"], "deletes": ["/0", "/1"] }));
    let discover = begin(&mut gateway, peer(1), "ep=dev&pct=110");
    let delete = next(&mut gateway, peer(1), &discover, Code::NOT_FOUND);
    let delete = next(&mut gateway, peer(1), &delete, Code::DELETED);
    let write = next(&mut gateway, peer(1), &delete, Code::DELETED);
    assert_eq!((shape(&write).as_str(), write.content_format()), ("PUT /0/1", Some(110)));
    let again = next(&mut gateway, peer(1), &write, Code::UNSUPPORTED_CONTENT_FORMAT);
    assert_eq!((shape(&again).as_str(), again.content_format()), ("PUT /0/1", Some(112)));
}

#[test]
fn a_write_that_is_refused_ends_the_session_and_the_device_may_begin_again() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(
        &mut gateway,
        "dev",
        &json!({ "servers": ["management-nosec"], "deletes": [] , "writes": {"/3/0/14": "+01"}}),
    );
    for _ in 0..2 {
        gateway.sent.clear();
        let discover = begin(&mut gateway, peer(1), "ep=dev");
        let write = next(&mut gateway, peer(1), &discover, Code::NOT_FOUND);
        gateway.receive(peer(1), &answer(&write, Code::BAD_REQUEST));
        assert!(gateway.sent.is_empty());
        gateway.pass(Duration::from_secs(300));
    }
    let sessions = sessions(&mut gateway);
    assert!(sessions[0]["reason"].as_str().unwrap().contains("4.00 to the write of /0/1"), "{sessions}");
    assert_eq!(sessions.as_array().unwrap().len(), 2);
}

#[test]
fn a_key_is_durable_before_the_device_can_learn_it_and_is_given_again_until_it_was_delivered() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-psk"], "deletes": [] }));
    let mut keys = Vec::new();
    for _ in 0..2 {
        gateway.sent.clear();
        let discover = begin(&mut gateway, peer(1), "ep=dev");
        gateway.store_holds = true;
        gateway.receive(peer(1), &answer(&discover, Code::NOT_FOUND));
        if keys.is_empty() {
            assert!(gateway.sent.is_empty(), "no write before the key is durable");
        }
        gateway.confirm();
        let write = gateway.next_sent().unwrap();
        let values = written(&write);
        assert_eq!(value(&values, "/0/1/3"), &json!(data_encoding::HEXLOWER.encode(b"dev")));
        assert_eq!(value(&values, "/0/1/0"), "coaps://192.0.2.1:5684");
        keys.push(value(&values, "/0/1/5").as_str().unwrap().to_owned());
        // The device is gone in the middle.
        gateway.pass(Duration::from_secs(400));
    }
    assert_eq!((keys[0].len(), &keys[0]), (32, &keys[1]));
    let credentials = gateway.answers_to(Query::Credential { scope: Scope::Server, endpoint: "dev".to_owned() });
    assert!(matches!(credentials[0], Answer::Failed(_)), "no credential before everything is written");
}

#[test]
fn an_unknown_device_is_refused_or_waits_for_approval_and_then_goes_on() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    assert_eq!(gateway.ask(peer(1), &request(Code::POST, 1, "bs?ep=dev")).code, Code::BAD_REQUEST);
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Approve);
    assert_eq!(gateway.ask(peer(1), &request(Code::POST, 1, "bs?ep=dev")).code, Code::CHANGED);
    gateway.pass(Duration::from_secs(200));
    assert!(gateway.sent.is_empty());
    let pending = gateway.query(Query::Bootstrap(BootstrapQuery::Pending));
    assert_eq!((&pending["items"][0]["endpoint"], &pending["items"][0]["waiting"]), (&json!("dev"), &json!(true)));
    let body = json!({ "servers": ["management-nosec"] });
    gateway.query(Query::Bootstrap(BootstrapQuery::Approve { endpoint: "dev".to_owned(), body }));
    assert_eq!(shape(&gateway.next_sent().unwrap()), "GET /");
    let pending = gateway.query(Query::Bootstrap(BootstrapQuery::Pending));
    assert_eq!(pending["items"], json!([]));
}

#[test]
fn without_a_yes_in_time_nothing_is_written_and_the_next_attempt_finds_it() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Approve);
    gateway.ask(peer(1), &request(Code::POST, 1, "bs?ep=dev"));
    gateway.pass(Duration::from_secs(260));
    assert!(gateway.sent.is_empty());
    let body = json!({ "servers": ["management-nosec"] });
    gateway.query(Query::Bootstrap(BootstrapQuery::Approve { endpoint: "dev".to_owned(), body }));
    assert!(gateway.sent.is_empty());
    assert_eq!(shape(&begin(&mut gateway, peer(1), "ep=dev")), "GET /");
}

#[test]
fn a_device_whose_name_is_a_pattern_is_not_let_in_with_all_that_fit_it() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Approve);
    for (number, name) in [(1, "*"), (2, "meter-*"), (3, "meter-?")] {
        gateway.ask(peer(number), &request(Code::POST, 1, &format!("bs?ep={name}")));
        let body = json!({ "servers": ["management-nosec"] });
        let approve = BootstrapQuery::Approve { endpoint: name.to_owned(), body };
        let answers = gateway.answers_to(Query::Bootstrap(approve));
        assert!(matches!(&answers[0], Answer::Failed(error) if error.kind == ErrorKind::Conflict), "{answers:?}");
    }
    let entries = BootstrapQuery::Devices { search: String::new(), after: None, limit: 10 };
    assert_eq!(gateway.query(Query::Bootstrap(entries))["items"], json!([]));
}

#[test]
fn whoever_may_let_devices_in_may_not_bring_accounts_of_their_own() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Approve);
    gateway.ask(peer(1), &request(Code::POST, 1, "bs?ep=dev"));
    let account = json!({ "uri": "coap://192.0.2.9", "security_mode": "nosec" });
    let own = json!({ "device": "dev", "servers": ["management-nosec", account] });
    let known = json!({ "device": "dev", "servers": ["management-nosec"] });
    for (body, role, lets_in) in
        [(&known, Role::Viewer, false), (&own, Role::Operator, false), (&known, Role::Operator, true)]
    {
        let what = "bootstrap/approve".to_owned();
        let answers = gateway.answers_to(Query::Bridge { what, body: body.clone(), role });
        assert_eq!(matches!(answers[0], Answer::Body(_)), lets_in, "{answers:?}");
    }
    assert_eq!(shape(&gateway.next_sent().unwrap()), "GET /");
}

#[test]
fn core_6_1_7_1_what_is_wrong_with_a_request_is_said_by_its_code() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-nosec"] }));
    let cases = [
        (Code::POST, "bs?ep=dev&pct=0", Code::UNSUPPORTED_CONTENT_FORMAT),
        (Code::POST, "bs?ep=dev&pct=x", Code::BAD_REQUEST),
        (Code::POST, "bs?ep=dev&ep=dev", Code::BAD_REQUEST),
        (Code::POST, "bs", Code::BAD_REQUEST),
        (Code::GET, "bs?ep=dev", Code::METHOD_NOT_ALLOWED),
        (Code::PUT, "bspack?ep=dev", Code::METHOD_NOT_ALLOWED),
        (Code::POST, "rd?ep=dev&lwm2m=1.1&lt=300", Code::NOT_FOUND),
        (Code::GET, "3/0", Code::NOT_FOUND),
    ];
    for (id, (code, target, wanted)) in (1..).zip(cases) {
        assert_eq!(gateway.ask(peer(1), &request(code, id, target)).code, wanted, "{target}");
    }
    // And the LwM2M server does not bootstrap.
    assert_eq!(gateway.ask(super::gateway::peer(1), &request(Code::POST, 99, "bs?ep=dev")).code, Code::NOT_FOUND);
}

#[test]
fn a_repeated_request_is_answered_again_and_begins_nothing() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-nosec"] }));
    begin(&mut gateway, peer(1), "ep=dev");
    let again = gateway.ask(peer(1), &request(Code::POST, 1, "bs?ep=dev"));
    assert_eq!(again.code, Code::CHANGED);
    assert!(gateway.sent.is_empty());
    assert_eq!(sessions(&mut gateway).as_array().unwrap().len(), 1);
}

#[test]
fn a_second_session_of_a_device_ends_the_first() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-nosec"] }));
    let first = begin(&mut gateway, peer(1), "ep=dev");
    gateway.receive(peer(1), &request(Code::POST, 2, "bs?ep=dev"));
    assert_eq!(gateway.next_sent().unwrap().code, Code::CHANGED);
    let second = gateway.next_sent().unwrap();
    assert_ne!(first.token, second.token);
    gateway.receive(peer(1), &answer(&first, Code::NOT_FOUND));
    assert!(gateway.sent.is_empty(), "an answer to the first session is nobody's");
    assert_eq!(shape(&next(&mut gateway, peer(1), &second, Code::NOT_FOUND)), "DELETE /0");
}

#[test]
fn core_6_1_7_3_a_pack_holds_everything_and_comes_in_blocks() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": ["management-psk"] }));
    let mut asked = request(Code::GET, 1, "bspack?ep=dev");
    asked.push_uint(OptionNumber::ACCEPT, 112);
    let whole = gateway.ask(peer(1), &asked);
    assert_eq!((whole.code, whole.content_format()), (Code::CONTENT, Some(112)));
    let text = String::from_utf8_lossy(&whole.payload).into_owned();
    assert!(text.contains("coaps://192.0.2.1:5684"), "{text}");
    assert_eq!(sessions(&mut gateway)[0]["outcome"], "done");
    let credential = gateway.query(Query::Credential { scope: Scope::Server, endpoint: "dev".to_owned() });
    assert_eq!(credential["mode"], "psk");
    // Small blocks.
    let mut payload = Vec::new();
    for number in 0_u32.. {
        let mut asked = request(Code::GET, 10 + number as u16, "bspack?ep=dev");
        asked.push_uint(OptionNumber::ACCEPT, 112);
        let block = lwm2mqtt::protocol::coap::block::Block { number, more: false, size_exponent: 2 };
        asked.push_option(OptionNumber::BLOCK2, block.encode());
        let part = gateway.ask(peer(1), &asked);
        assert_eq!(part.code, Code::CONTENT);
        payload.extend_from_slice(&part.payload);
        if !part.block(OptionNumber::BLOCK2).unwrap().unwrap().more {
            break;
        }
    }
    assert_eq!(payload.len(), whole.payload.len());
    asked.id = 9;
    asked.options.retain(|(number, _)| *number != OptionNumber::ACCEPT);
    asked.push_uint(OptionNumber::ACCEPT, 0);
    assert_eq!(gateway.ask(peer(1), &asked).code, Code::NOT_ACCEPTABLE);
}

#[test]
fn key_pairs_are_ordered_and_written_when_they_are_durable() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    let account = json!({ "type": "management", "security_mode": "x509" });
    put_device(&mut gateway, "dev", &json!({ "servers": [account], "deletes": [] }));
    let discover = begin(&mut gateway, peer(1), "ep=dev");
    assert!(gateway.bootstrap_orders.is_empty(), "nothing is made for an address that nobody answers at");
    gateway.receive(peer(1), &answer(&discover, Code::NOT_FOUND));
    assert!(gateway.sent.is_empty());
    let Some(Output::Bootstrap(BootstrapOrder::Make { order, wishes, .. })) = gateway.bootstrap_orders.pop() else {
        panic!("no order");
    };
    assert_eq!(wishes, [KeyWish::Certificate]);
    let pair = KeyPair {
        public: [1, 2].as_slice().into(),
        private: SecretBytes::new(&[3, 4]),
        subject: Some("CN=dev".into()),
    };
    let made = Made {
        pairs: vec![pair],
        server_public_key: [5].as_slice().into(),
        server_certificate: [6, 7].as_slice().into(),
    };
    gateway.input(Input::Bootstrap(BootstrapInput::Made { order, result: Ok(made) }));
    let write = gateway.next_sent().unwrap();
    let values = written(&write);
    assert_eq!(value(&values, "/0/1/2"), 2);
    assert_eq!((value(&values, "/0/1/3"), value(&values, "/0/1/4")), (&json!("0102"), &json!("0607")));
    assert_eq!(value(&values, "/0/1/5"), "0304");
}

#[test]
fn a_gateway_without_raw_public_key_writes_no_empty_one() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev", &json!({ "servers": [{ "security_mode": "rpk" }], "deletes": [] }));
    let discover = begin(&mut gateway, peer(1), "ep=dev");
    gateway.receive(peer(1), &answer(&discover, Code::NOT_FOUND));
    let Some(Output::Bootstrap(BootstrapOrder::Make { order, .. })) = gateway.bootstrap_orders.pop() else { panic!() };
    let pair = KeyPair { public: [1].as_slice().into(), private: SecretBytes::new(&[2]), subject: None };
    let nothing: &[u8] = &[];
    let made = Made { pairs: vec![pair], server_public_key: nothing.into(), server_certificate: [6].as_slice().into() };
    gateway.input(Input::Bootstrap(BootstrapInput::Made { order, result: Ok(made) }));
    assert!(gateway.sent.is_empty());
    assert!(sessions(&mut gateway)[0]["reason"].as_str().unwrap().contains("no raw public key"));
}
