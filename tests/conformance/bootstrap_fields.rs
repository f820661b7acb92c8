//! What each field of a server account and of a device entry puts on the wire (Core TS 1.2.2 Appendix E.1 to E.3).

use lwm2mqtt::gateway::configuration::UnknownBootstrap;
use lwm2mqtt::protocol::coap::message::{Code, Message};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use serde_json::{Value as Json, json};

use super::bootstrap_core::{begin, bootstrap_gateway, next, peer, put_device, shape, value, written};
use super::gateway::answer;

/// What has the form of a SubjectPublicKeyInfo, of a certificate and of PKCS #8, of the device or of a server.
const CLIENT_KEY: &str = "3006300003020001";
const SERVER_KEY: &str = "3006300003020002";
const CLIENT_CERTIFICATE: &str = "30083000300003020001";
const SERVER_CERTIFICATE: &str = "30083000300003020002";
const PRIVATE_KEY: &str = "30080201003000040101";

fn raw_public_key() -> Json {
    json!({ "security_mode": "rpk", "client_public_key": CLIENT_KEY, "client_private_key": PRIVATE_KEY,
        "server_public_key": SERVER_KEY })
}

fn certificate() -> Json {
    json!({ "security_mode": "x509", "client_certificate": CLIENT_CERTIFICATE, "client_private_key": PRIVATE_KEY,
        "server_certificate": SERVER_CERTIFICATE })
}

/// All requests of a session whose device does what it is asked, in order.
fn session(version: &str, entry: &Json) -> Vec<Message> {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev-1", entry);
    let query = if version == "1.0" { "ep=dev-1" } else { "ep=dev-1&pct=112" };
    let discover = begin(&mut gateway, peer(1), query);
    let mut list = answer(&discover, Code::CONTENT);
    list.push_uint(OptionNumber::CONTENT_FORMAT, 40);
    list.payload = format!("</>;lwm2m={version},</0/0>,</3/0>").into_bytes();
    gateway.receive(peer(1), &list);
    let mut requests = vec![discover];
    let mut sent = gateway.next_sent().expect("a request");
    loop {
        requests.push(sent.clone());
        let code = match (sent.code, shape(&sent).as_str()) {
            (_, "POST /bs") => return requests,
            (Code::DELETE, _) => Code::DELETED,
            (Code::GET, _) => Code::METHOD_NOT_ALLOWED,
            _ => Code::CHANGED,
        };
        sent = next(&mut gateway, peer(1), &sent, code);
    }
}

/// Everything that is written to a device with one account.
fn writes_of(version: &str, account: &Json) -> Vec<(String, Json)> {
    let mut account = account.clone();
    if account.get("uri").is_none() && account.get("provision").is_none() {
        account["provision"] = "self".into();
    }
    let mut servers = vec![account.clone()];
    if account["type"] == "bootstrap" {
        servers.push(json!("management-nosec"));
    }
    let requests = session(version, &json!({ "servers": servers }));
    requests.iter().filter(|request| request.code == Code::PUT).flat_map(written).collect()
}

fn hex(text: &str) -> Json {
    data_encoding::HEXLOWER.encode(text.as_bytes()).into()
}

#[test]
fn each_field_of_an_account_becomes_its_resource() {
    let cases: Vec<(Json, &str, Json)> = vec![
        (json!({ "type": "management" }), "/0/1/1", json!(false)),
        (json!({ "type": "bootstrap" }), "/0/0/1", json!(true)),
        (json!({ "type": "bootstrap" }), "/0/0/0", json!("coap://192.0.2.1:5783")),
        (json!({ "transport": "tcp" }), "/0/1/0", json!("coap+tcp://192.0.2.1:5683")),
        (json!({ "ssid": 65534 }), "/0/1/10", json!(65534)),
        (json!({ "ssid": 200 }), "/1/0/0", json!(200)),
        (json!({ "uri": "s.example" }), "/0/1/0", json!("coap://s.example:5683")),
        (json!({ "uri": "s.example:1" }), "/0/1/0", json!("coap://s.example:1")),
        (json!({ "uri": "coap://{endpoint}.example" }), "/0/1/0", json!("coap://dev-1.example:5683")),
        (json!({ "uri": "coap://{host}:99" }), "/0/1/0", json!("coap://192.0.2.1:99")),
        (
            json!({ "uri": "s.example", "security_mode": "psk", "psk_key": "00ff", "transport": "tcp" }),
            "/0/1/0",
            json!("coaps+tcp://s.example:5684"),
        ),
        (json!({ "client_hold_off_time": 7 }), "/0/1/11", json!(7)),
        (json!({ "type": "bootstrap", "bootstrap_server_account_timeout": 60 }), "/0/0/12", json!(60)),
        (json!({ "binding": "UQS", "sms_number": "+4712345678" }), "/0/1/9", json!("+4712345678")),
        (json!({ "binding": "S", "sms_security_mode": 3 }), "/0/1/6", json!(3)),
        (json!({ "binding": "S", "sms_binding_key_parameters": "010203040506" }), "/0/1/7", json!("010203040506")),
        (
            json!({ "binding": "S", "sms_binding_secret_key": "000102030405060708090a0b0c0d0e0f" }),
            "/0/1/8",
            json!("000102030405060708090a0b0c0d0e0f"),
        ),
        (json!({ "security_mode": "nosec" }), "/0/1/2", json!(3)),
        (json!({ "security_mode": "psk" }), "/0/1/2", json!(0)),
        (json!({ "security_mode": "psk" }), "/0/1/3", hex("dev-1")),
        (json!({ "security_mode": "psk", "psk_identity": "id-{serial}" }), "/0/1/3", hex("id-dev-1")),
        (json!({ "security_mode": "psk", "psk_key": "c0ffee" }), "/0/1/5", json!("c0ffee")),
        (raw_public_key(), "/0/1/2", json!(1)),
        (raw_public_key(), "/0/1/3", json!(CLIENT_KEY)),
        (raw_public_key(), "/0/1/4", json!(SERVER_KEY)),
        (raw_public_key(), "/0/1/5", json!(PRIVATE_KEY)),
        (certificate(), "/0/1/2", json!(2)),
        (certificate(), "/0/1/3", json!(CLIENT_CERTIFICATE)),
        (certificate(), "/0/1/4", json!(SERVER_CERTIFICATE)),
        (certificate(), "/0/1/5", json!(PRIVATE_KEY)),
        (json!({ "lifetime": 300 }), "/1/0/1", json!(300)),
        (json!({}), "/1/0/1", json!(86_400)),
        (json!({ "default_min_period": 5 }), "/1/0/2", json!(5)),
        (json!({ "default_max_period": 60 }), "/1/0/3", json!(60)),
        (json!({ "disable_timeout": 120 }), "/1/0/5", json!(120)),
        (json!({}), "/1/0/5", json!(86_400)),
        (json!({ "notification_storing": false }), "/1/0/6", json!(false)),
        (json!({}), "/1/0/6", json!(true)),
    ];
    for (account, path, wanted) in &cases {
        for version in ["1.0", "1.1"] {
            let writes = writes_of(version, account);
            assert_eq!(value(&writes, path), wanted, "{account} in {version}");
        }
    }
}

#[test]
fn fields_of_1_1_go_to_devices_of_1_1_alone() {
    let with = |field: &str, value: Json| {
        let mut account = certificate();
        account[field] = value;
        account
    };
    let cases: Vec<(Json, &str, Json)> = vec![
        (with("matching_type", json!(1)), "/0/1/13", json!(1)),
        (with("sni", json!("s.example")), "/0/1/14", json!("s.example")),
        (with("certificate_usage", json!(3)), "/0/1/15", json!(3)),
        (json!({ "apn_link": "11:0" }), "/1/0/10", json!("11:0")),
        (json!({ "registration_priority": 1 }), "/1/0/13", json!(1)),
        (json!({ "initial_registration_delay": 2 }), "/1/0/14", json!(2)),
        (json!({ "registration_failure_block": true }), "/1/0/15", json!(true)),
        (json!({ "bootstrap_on_registration_failure": false }), "/1/0/16", json!(false)),
        (json!({ "communication_retry_count": 3 }), "/1/0/17", json!(3)),
        (json!({ "communication_retry_timer": 4 }), "/1/0/18", json!(4)),
        (json!({ "communication_sequence_delay_timer": 5 }), "/1/0/19", json!(5)),
        (json!({ "communication_sequence_retry_count": 6 }), "/1/0/20", json!(6)),
        (json!({ "trigger": true }), "/1/0/21", json!(true)),
        (json!({ "preferred_transport": "U" }), "/1/0/22", json!("U")),
        (json!({ "mute_send": true }), "/1/0/23", json!(true)),
    ];
    for (account, path, wanted) in &cases {
        assert_eq!(value(&writes_of("1.1", account), path), wanted, "{account}");
        let old = writes_of("1.0", account);
        assert!(old.iter().all(|(at, _)| at != path), "{account} in 1.0");
    }
}

#[test]
fn a_matching_type_wants_a_hash_of_the_certificate_from_1_1_on() {
    use sha2::Digest as _;
    let hex = |bytes: &[u8]| Json::from(data_encoding::HEXLOWER.encode(bytes));
    let der = data_encoding::HEXLOWER.decode(SERVER_CERTIFICATE.as_bytes()).unwrap();
    let hashes = [
        (0, json!(SERVER_CERTIFICATE)),
        (1, hex(&sha2::Sha256::digest(&der))),
        (2, hex(&sha2::Sha384::digest(&der))),
        (3, hex(&sha2::Sha512::digest(&der))),
    ];
    for (matching_type, wanted) in hashes {
        let mut account = certificate();
        account["matching_type"] = matching_type.into();
        assert_eq!(value(&writes_of("1.1", &account), "/0/1/4"), &wanted, "{matching_type}");
        assert_eq!(value(&writes_of("1.0", &account), "/0/1/4"), SERVER_CERTIFICATE, "1.0 has no matching types");
    }
}

#[test]
fn an_endpoint_name_that_makes_no_host_fails_the_session() {
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    let account = json!({ "uri": "coap://{endpoint}" });
    put_device(&mut gateway, "urn:a/b", &json!({ "servers": [account], "deletes": [] }));
    let discover = begin(&mut gateway, peer(1), "ep=urn:a/b");
    gateway.receive(peer(1), &answer(&discover, Code::NOT_FOUND));
    assert!(gateway.sent.is_empty());
}

#[test]
fn a_binding_is_written_in_the_words_of_the_version() {
    let cases = [
        ("U", "U", "U"),
        ("UQ", "UQ", "U"),
        ("SQ", "SQ", "S"),
        ("US", "US", "US"),
        ("UQS", "UQS", "US"),
        ("USQ", "UQS", "US"),
    ];
    for (given, old, new) in cases {
        let account = json!({ "binding": given });
        assert_eq!(value(&writes_of("1.0", &account), "/1/0/7"), old, "{given}");
        assert_eq!(value(&writes_of("1.1", &account), "/1/0/7"), new, "{given}");
    }
    for (given, old) in [("UT", "U"), ("T", "U"), ("NQ", "UQ")] {
        let account = json!({ "binding": given });
        assert_eq!(value(&writes_of("1.0", &account), "/1/0/7"), old, "{given}");
        assert_eq!(value(&writes_of("1.1", &account), "/1/0/7"), &given.replace('Q', ""), "{given}");
    }
}

#[test]
fn a_made_key_has_the_length_that_was_asked_for_and_differs_between_devices() {
    let key = |bytes: u8| {
        let account = json!({ "security_mode": "psk", "psk_key": { "random": bytes } });
        value(&writes_of("1.1", &account), "/0/1/5").as_str().unwrap().to_owned()
    };
    assert_eq!((key(1).len(), key(32).len(), key(64).len()), (2, 64, 128));
    let mut gateway = bootstrap_gateway(UnknownBootstrap::Refuse);
    put_device(&mut gateway, "dev-*", &json!({ "servers": ["management-psk"], "deletes": [] }));
    let mut keys = Vec::new();
    for number in 1..=2 {
        let discover = begin(&mut gateway, peer(number), &format!("ep=dev-{number}"));
        let write = next(&mut gateway, peer(number), &discover, Code::NOT_FOUND);
        let values = written(&write);
        assert_eq!(value(&values, "/0/1/3"), &hex(&format!("dev-{number}")));
        keys.push(value(&values, "/0/1/5").clone());
        gateway.sent.clear();
    }
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn free_server_ids_are_the_lowest_that_no_account_names() {
    let servers = json!(["management-nosec", { "ssid": 1, "uri": "a.example" }, { "uri": "b.example" }]);
    let requests = session("1.1", &json!({ "servers": servers }));
    let written: Vec<(String, Json)> =
        requests.iter().filter(|request| request.code == Code::PUT).flat_map(written).collect();
    let ids = ["/0/1/10", "/0/2/10", "/0/3/10"].map(|path| value(&written, path).clone());
    assert_eq!(ids, [json!(2), json!(1), json!(3)]);
}

#[test]
fn fields_of_an_entry_say_what_is_deleted_written_and_how() {
    let shapes = |entry: &Json| -> Vec<String> {
        let requests = session("1.1", entry);
        requests.iter().skip(1).map(shape).filter(|shape| shape != "GET /1" && shape != "POST /bs").collect()
    };
    assert_eq!(shapes(&json!({ "servers": ["management-nosec"] })), ["DELETE /0", "DELETE /1", "PUT /0/1", "PUT /1/0"]);
    assert_eq!(
        shapes(&json!({ "servers": ["management-nosec"], "deletes": ["/", "/5/0"] })),
        ["DELETE /", "DELETE /5/0", "PUT /0/1", "PUT /1/0"]
    );
    assert_eq!(
        shapes(&json!({ "servers": ["management-nosec"], "deletes": [], "write_by": "object" })),
        ["PUT /0", "PUT /1"]
    );
    assert_eq!(
        shapes(&json!({ "servers": ["management-nosec"], "deletes": [], "order": [1, 3, 0],
            "writes": { "/3/0/14": "+01", "/5/0": { "3": 1 } } })),
        ["PUT /1/0", "PUT /3/0/14", "PUT /0/1", "PUT /5/0"]
    );
    let acls = json!([{ "object": 3, "instance": 0, "owner": 65535, "acl": { "0": 31, "1": 1 } }]);
    let entry = json!({ "servers": ["management-nosec"], "acls": acls });
    assert!(shapes(&entry).contains(&"DELETE /2".to_owned()));
    let requests = session("1.1", &entry);
    let acl = requests.iter().find(|request| shape(request) == "PUT /2/0").expect("access control");
    let values = written(acl);
    assert_eq!((value(&values, "/2/0/0"), value(&values, "/2/0/1")), (&json!(3), &json!(0)));
    assert_eq!((value(&values, "/2/0/2/0"), value(&values, "/2/0/2/1")), (&json!(31), &json!(1)));
    assert_eq!(value(&values, "/2/0/3"), 65535);
    assert!(requests.iter().any(|request| shape(request) == "GET /2"), "what was written is read back");
    let quiet = session("1.1", &json!({ "servers": ["management-nosec"], "verify": false }));
    assert!(quiet.iter().skip(1).all(|request| request.code != Code::GET));
    let format = session("1.1", &json!({ "servers": ["management-nosec"], "format": "tlv" }));
    let write = format.iter().find(|request| request.code == Code::PUT).unwrap();
    assert_eq!(write.content_format(), Some(11_542), "the entry's format comes before what the device prefers");
}

#[test]
fn several_instances_of_an_object_go_in_one_write() {
    let servers = json!(["management-nosec", { "uri": "b.example" }]);
    for version in ["1.0", "1.1"] {
        let entry = json!({ "servers": servers, "write_by": "object" });
        let requests = session(version, &entry);
        let write = requests.iter().find(|request| shape(request) == "PUT /0").expect("one write");
        let values = written(write);
        assert_eq!(value(&values, "/0/1/10"), 1);
        assert_eq!((value(&values, "/0/2/10"), value(&values, "/0/2/0")), (&json!(2), &json!("coap://b.example:5683")));
    }
}

#[test]
fn keys_and_ids_of_oscore_are_bytes_in_every_version() {
    for version in ["1.1", "1.2"] {
        let entry =
            json!({ "servers": ["management-nosec"], "writes": { "/21/0": { "0": "AP8=", "1": "AQ==", "3": 10 } } });
        let requests = session(version, &entry);
        let request = requests.iter().find(|request| shape(request) == "PUT /21/0").expect("a write to it");
        let holds = |bytes: &[u8]| request.payload.windows(bytes.len()).any(|part| part == bytes);
        assert!(holds(&[0x00, 0xff]) && !holds(b"AP8="), "{version} {:02x?}", request.payload);
    }
}
