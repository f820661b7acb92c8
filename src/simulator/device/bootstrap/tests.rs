//! The device against hand-written messages of a bootstrap server.

use super::super::tests::{answer, ask, events, only, request, seconds, sent};
use super::*;
use crate::model::credential::SecretBytes;
use crate::model::object::NoTypes;
use crate::simulator::account::Proof;
use crate::simulator::bootstrap_script::{BootstrapScript, FactoryKey, Outage, Support};
use crate::simulator::script::DeviceScript;

const SERVER: &str = "coaps://10.0.0.1:5684";

fn device_with(bootstrap: BootstrapScript, version: Version) -> DeviceScript {
    DeviceScript::new("node-1")
        .with_version(version)
        .with(Path::resource(3, 0, 0), Value::String("Acme".to_owned()))
        .with(Path::resource(3303, 0, 5700), Value::Float(21.5))
        .with_bootstrap(bootstrap, 0, "coap://10.0.0.1:5783", FactoryKey::NoSec)
}

/// A device whose request was accepted.
fn served_with(bootstrap: BootstrapScript, version: Version) -> SimulatedDevice {
    let mut device = SimulatedDevice::new(device_with(bootstrap, version), 1);
    device.start(Instant::ZERO);
    let asked = only(&mut device);
    assert_eq!((asked.code, asked.uri_path()), (Code::POST, vec!["bs".to_owned()]));
    device.handle_datagram(Instant::ZERO, &answer(&asked, Code::CHANGED).encode());
    events(&mut device);
    device
}

fn served() -> SimulatedDevice {
    served_with(BootstrapScript::default(), Version::V1_1)
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// The values of an account that is proven by a key.
fn account(security: u16, server: u16) -> [(Path, Vec<(Path, Value)>); 2] {
    let of = |object, instance, values: Vec<(u16, Value)>| {
        let values = values.into_iter().map(|(id, value)| (Path::resource(object, instance, id), value)).collect();
        (Path::instance(object, instance), values)
    };
    let opaque = |bytes: &[u8]| Value::Opaque(bytes.to_vec());
    [
        of(
            0,
            security,
            vec![
                (0, text(SERVER)),
                (1, Value::Boolean(false)),
                (2, Value::Integer(0)),
                (3, opaque(b"node-1")),
                (4, opaque(b"")),
                (5, opaque(b"0123456789abcdef")),
                (10, Value::Integer(123)),
            ],
        ),
        of(
            1,
            server,
            vec![(0, Value::Integer(123)), (1, Value::Integer(600)), (6, Value::Boolean(true)), (7, text("U"))],
        ),
    ]
}

fn put(id: u16, path: Path, format: ContentFormat, values: &[(Path, Value)]) -> Message {
    let mut message = request(Code::PUT, id, &path.to_string());
    message.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(format.0));
    let samples: Vec<_> = values
        .iter()
        .map(|(path, value)| crate::model::report::Sample { path: *path, value: value.clone(), ts: None })
        .collect();
    message.payload = content::encode_samples(format, path, &samples, &NoTypes).unwrap();
    message
}

fn write_account(device: &mut SimulatedDevice, now: Instant, format: ContentFormat) {
    for (index, (path, values)) in account(1, 0).into_iter().enumerate() {
        let wrote = ask(device, now, &put(100 + index as u16, path, format, &values));
        assert_eq!(wrote.code, Code::CHANGED, "{path} in {format}");
    }
}

fn finish(device: &mut SimulatedDevice, now: Instant, id: u16) -> Code {
    ask(device, now, &request(Code::POST, id, "/bs")).code
}

fn discover(id: u16, path: &str) -> Message {
    let mut message = request(Code::GET, id, path);
    message.push_uint(OptionNumber::ACCEPT, 40);
    message
}

#[test]
fn core_6_1_a_device_asks_is_written_to_and_registers_with_its_account() {
    let formats = [
        (Version::V1_0, ContentFormat::TLV),
        (Version::V1_0, ContentFormat::OMA_JSON),
        (Version::V1_1, ContentFormat::TLV),
        (Version::V1_1, ContentFormat::SENML_CBOR),
        (Version::V1_1, ContentFormat::SENML_JSON),
        (Version::V1_2, ContentFormat::LWM2M_CBOR),
    ];
    for (version, format) in formats {
        let mut device = served_with(BootstrapScript::default(), version);
        write_account(&mut device, Instant::ZERO, format);
        assert_eq!(finish(&mut device, Instant::ZERO, 200), Code::CHANGED);
        assert!(events(&mut device).contains(&DeviceEvent::Bootstrapped));
        assert_eq!(finish(&mut device, Instant::ZERO, 201), Code::CHANGED, "its answer may have been lost");
        device.handle_timeout(seconds(1));
        let chosen = device.account().unwrap();
        assert_eq!(chosen.address(), Some("10.0.0.1:5684".parse().unwrap()));
        let key = SecretBytes::new(b"0123456789abcdef");
        assert_eq!(chosen.proof, Proof::Psk { identity: b"node-1".to_vec(), key });
        assert!(matches!(&events(&mut device)[..], [.., DeviceEvent::ServerChosen { .. }]));
        let register = only(&mut device);
        assert_eq!(register.uri_path(), ["rd"]);
        let query = register.uri_query().unwrap();
        assert!(query.contains(&"ep=node-1".to_owned()) && query.contains(&"lt=600".to_owned()), "{query:?}");
    }
}

#[test]
fn a_request_without_an_answer_is_repeated_and_given_up_and_begun_anew() {
    let mut device = SimulatedDevice::new(device_with(BootstrapScript::default(), Version::V1_1), 1);
    device.start(Instant::ZERO);
    let mut asked = sent(&mut device);
    let until = |device: &mut SimulatedDevice, end: u64| {
        while let Some(at) = device.next_deadline().filter(|at| *at <= seconds(end)) {
            device.handle_timeout(at);
        }
        sent(device)
    };
    asked.extend(until(&mut device, 93));
    assert_eq!(asked.len(), 5);
    assert!(asked.iter().all(|message| message == &asked[0]));
    assert!(events(&mut device).contains(&DeviceEvent::BootstrapFailed { code: None }));
    let again = until(&mut device, 140);
    assert_ne!(again[0].id, asked[0].id);
}

#[test]
fn core_6_1_without_finish_in_time_the_objects_are_as_before() {
    let mut device = served();
    let before = device.tree().clone();
    write_account(&mut device, Instant::ZERO, ContentFormat::TLV);
    assert_ne!(device.tree(), &before);
    assert_eq!(device.next_deadline(), Some(seconds(247)));
    device.handle_timeout(seconds(247));
    assert_eq!(device.tree(), &before);
    assert_eq!(events(&mut device).last(), Some(&DeviceEvent::BootstrapFailed { code: None }));
    device.handle_datagram(seconds(248), &request(Code::POST, 300, "/bs").encode());
    assert_eq!(sent(&mut device), [], "it does not listen");
    let again = device.next_deadline().unwrap();
    device.handle_timeout(again);
    assert_eq!(only(&mut device).uri_path(), ["bs"]);
}

#[test]
fn core_6_1_bootstrap_discover_shows_accounts_in_the_form_of_the_version() {
    let links = |version, path: &str| {
        let mut device = served_with(BootstrapScript::default(), version);
        write_account(&mut device, Instant::ZERO, ContentFormat::TLV);
        let found = ask(&mut device, Instant::ZERO, &discover(7, path));
        assert_eq!((found.code, found.content_format()), (Code::CONTENT, Some(40)));
        String::from_utf8(found.payload).unwrap()
    };
    assert_eq!(
        links(Version::V1_1, "/"),
        "</>;lwm2m=1.1,</0/0>,</0/1>;ssid=123;uri=\"coaps://10.0.0.1:5684\",</1/0>;ssid=123,</3/0>,</3303/0>"
    );
    assert_eq!(links(Version::V1_0, "/0"), "lwm2m=\"1.0\",</0/0>,</0/1>;ssid=123");
    let refusing = BootstrapScript { discover: Support::Refused(Code::NOT_FOUND), ..BootstrapScript::default() };
    let mut device = served_with(refusing, Version::V1_1);
    assert_eq!(ask(&mut device, Instant::ZERO, &discover(7, "/")).code, Code::NOT_FOUND);
    let silent = BootstrapScript { discover: Support::Silent, ..BootstrapScript::default() };
    let mut device = served_with(silent, Version::V1_1);
    assert_eq!(ask(&mut device, Instant::ZERO, &discover(7, "/")).code, Code::EMPTY);
}

#[test]
fn core_6_1_delete_spares_the_bootstrap_account_the_device_object_and_sensors() {
    let mut device = served();
    write_account(&mut device, Instant::ZERO, ContentFormat::TLV);
    assert_eq!(ask(&mut device, Instant::ZERO, &request(Code::DELETE, 7, "/0/0")).code, Code::BAD_REQUEST);
    assert_eq!(ask(&mut device, Instant::ZERO, &request(Code::DELETE, 8, "/1/0")).code, Code::DELETED);
    assert!(!device.tree().exists(&Path::object(1)));
    assert_eq!(ask(&mut device, Instant::ZERO, &request(Code::DELETE, 9, "/")).code, Code::DELETED);
    let left: Vec<String> = device.tree().instances().map(|path| path.to_string()).collect();
    assert_eq!(left, ["/0/0", "/3/0", "/3303/0"]);
}

#[test]
fn core_6_1_bootstrap_read_shows_the_objects_1_and_2_alone_since_1_1() {
    for (version, server) in [(Version::V1_1, Code::CONTENT), (Version::V1_0, Code::METHOD_NOT_ALLOWED)] {
        let mut device = served_with(BootstrapScript::default(), version);
        write_account(&mut device, Instant::ZERO, ContentFormat::TLV);
        assert_eq!(ask(&mut device, Instant::ZERO, &request(Code::GET, 7, "/1")).code, server);
        assert_eq!(ask(&mut device, Instant::ZERO, &request(Code::GET, 8, "/0/1")).code, Code::METHOD_NOT_ALLOWED);
    }
}

#[test]
fn core_6_1_finish_is_refused_until_the_accounts_are_whole_or_as_often_as_the_script_says() {
    let mut device = served();
    assert_eq!(finish(&mut device, Instant::ZERO, 50), Code::NOT_ACCEPTABLE);
    write_account(&mut device, Instant::ZERO, ContentFormat::TLV);
    assert_eq!(finish(&mut device, Instant::ZERO, 51), Code::CHANGED);
    let mut device = served_with(BootstrapScript { refuses_finish: 1, ..BootstrapScript::default() }, Version::V1_1);
    write_account(&mut device, Instant::ZERO, ContentFormat::TLV);
    assert_eq!(finish(&mut device, Instant::ZERO, 50), Code::NOT_ACCEPTABLE);
    assert_eq!(finish(&mut device, Instant::ZERO, 51), Code::CHANGED);
}

#[test]
fn writes_may_name_an_object_or_a_resource_and_one_path_may_be_refused() {
    let refused = (Path::instance(1, 0), Code::BAD_REQUEST);
    let script = BootstrapScript { refuses_write: Some(refused), ..BootstrapScript::default() };
    let mut device = served_with(script, Version::V1_1);
    let [(security, security_values), (server, server_values)] = account(1, 0);
    let whole = put(1, Path::object(0), ContentFormat::TLV, &security_values);
    assert_eq!(ask(&mut device, Instant::ZERO, &whole).code, Code::CHANGED);
    assert!(device.tree().exists(&Path::instance(0, 0)), "other instances stay");
    assert!(device.tree().exists(&security));
    let refused = put(2, server, ContentFormat::TLV, &server_values);
    assert_eq!(ask(&mut device, Instant::ZERO, &refused).code, Code::BAD_REQUEST);
    let identity = Path::resource(0, 1, 3);
    let one = [(identity, Value::Opaque(b"other".to_vec()))];
    assert_eq!(ask(&mut device, Instant::ZERO, &put(3, identity, ContentFormat::TLV, &one)).code, Code::CHANGED);
    assert_eq!(device.tree().value(&identity), Some(&one[0].1));
    let mut wrong = put(4, identity, ContentFormat::TLV, &one);
    wrong.payload = vec![0xff];
    assert_eq!(ask(&mut device, Instant::ZERO, &wrong).code, Code::BAD_REQUEST);
    let unknown = put(5, security, ContentFormat::LWM2M_CBOR, &security_values);
    assert_eq!(ask(&mut device, Instant::ZERO, &unknown).code, Code::UNSUPPORTED_CONTENT_FORMAT);
}

#[test]
fn a_long_write_comes_in_blocks() {
    let mut device = served();
    let [(security, mut values), _] = account(1, 0);
    values[5].1 = Value::Opaque(vec![7; 100]);
    let whole = put(1, security, ContentFormat::TLV, &values);
    let last = whole.payload.len() / 64;
    for (number, piece) in whole.payload.chunks(64).enumerate() {
        let mut block = Message { payload: piece.to_vec(), id: 10 + number as u16, ..whole.clone() };
        let option = Block { number: number as u32, more: number < last, size_exponent: 2 };
        block.push_option(OptionNumber::BLOCK1, option.encode());
        let wanted = if number < last { Code::CONTINUE } else { Code::CHANGED };
        assert_eq!(ask(&mut device, Instant::ZERO, &block).code, wanted);
    }
    assert_eq!(device.tree().value(&Path::resource(0, 1, 5)), Some(&Value::Opaque(vec![7; 100])));
}

#[test]
fn a_loss_of_power_in_the_middle_leaves_nothing_and_the_device_begins_anew() {
    let outage = Some(Outage { after_finished: 0, at_request: 2, lasts: Duration::from_secs(5) });
    let mut device = served_with(BootstrapScript { outage, ..BootstrapScript::default() }, Version::V1_1);
    let before = device.tree().clone();
    let [(security, security_values), (server, server_values)] = account(1, 0);
    ask(&mut device, Instant::ZERO, &put(1, security, ContentFormat::TLV, &security_values));
    let second = put(2, server, ContentFormat::TLV, &server_values).encode();
    device.handle_datagram(Instant::ZERO, &second);
    assert_eq!(events(&mut device).last(), Some(&DeviceEvent::PowerLost));
    device.handle_datagram(seconds(3), &second);
    assert_eq!(sent(&mut device), []);
    assert_eq!(device.next_deadline(), Some(seconds(5)));
    device.handle_timeout(seconds(5));
    assert_eq!(device.tree(), &before);
    let asked = only(&mut device);
    device.handle_datagram(seconds(5), &answer(&asked, Code::CHANGED).encode());
    write_account(&mut device, seconds(6), ContentFormat::TLV);
    assert_eq!(finish(&mut device, seconds(6), 200), Code::CHANGED);
}

#[test]
fn core_6_1_a_pct_that_is_refused_is_left_out() {
    let script = BootstrapScript { pct: Some(ContentFormat::SENML_CBOR), ..BootstrapScript::default() };
    let mut device = SimulatedDevice::new(device_with(script, Version::V1_1), 1);
    device.start(Instant::ZERO);
    let asked = only(&mut device);
    assert_eq!(asked.uri_query().unwrap(), ["ep=node-1", "pct=112"]);
    device.handle_datagram(Instant::ZERO, &answer(&asked, Code::UNSUPPORTED_CONTENT_FORMAT).encode());
    assert_eq!(only(&mut device).uri_query().unwrap(), ["ep=node-1"]);
}

#[test]
fn core_6_1_a_pack_comes_in_blocks_and_needs_no_finish() {
    let script = BootstrapScript { pack: Some(ContentFormat::SENML_CBOR), ..BootstrapScript::default() };
    let mut device = SimulatedDevice::new(device_with(script, Version::V1_2), 1);
    device.start(Instant::ZERO);
    let mut asked = only(&mut device);
    assert_eq!(asked.uri_path(), ["bspack"]);
    let mut samples: Vec<_> = account(1, 0).into_iter().flat_map(|(_, values)| values).collect();
    samples.extend([0, 1, 2].map(|id| {
        (
            Path::resource(0, 0, id),
            [text("coap://10.0.0.1:5783"), Value::Boolean(true), Value::Integer(3)][id as usize].clone(),
        )
    }));
    let pack = put(1, Path::ROOT, ContentFormat::SENML_CBOR, &samples).payload;
    for (number, piece) in pack.chunks(64).enumerate() {
        if number > 0 {
            let wanted = asked.block(OptionNumber::BLOCK2).unwrap().unwrap();
            assert_eq!((wanted.number, wanted.size_exponent), (number as u32, 2));
        }
        let mut part = answer(&asked, Code::CONTENT);
        part.push_uint(OptionNumber::CONTENT_FORMAT, 112);
        let more = (number + 1) * 64 < pack.len();
        part.push_option(OptionNumber::BLOCK2, Block { number: number as u32, more, size_exponent: 2 }.encode());
        part.payload = piece.to_vec();
        device.handle_datagram(Instant::ZERO, &part.encode());
        if more {
            asked = only(&mut device);
        }
    }
    assert!(events(&mut device).contains(&DeviceEvent::Bootstrapped));
    device.handle_timeout(seconds(1));
    assert_eq!(only(&mut device).uri_path(), ["rd"]);
    assert_eq!(Account::bootstrap(device.tree()).unwrap().host, "10.0.0.1");
}

#[test]
fn core_6_1_a_pack_that_is_refused_leads_to_the_usual_request() {
    let script = BootstrapScript { pack: Some(ContentFormat::SENML_CBOR), ..BootstrapScript::default() };
    let mut device = SimulatedDevice::new(device_with(script, Version::V1_2), 1);
    device.start(Instant::ZERO);
    let asked = only(&mut device);
    device.handle_datagram(Instant::ZERO, &answer(&asked, Code::NOT_IMPLEMENTED).encode());
    assert_eq!(only(&mut device).uri_path(), ["bs"]);
}

#[test]
fn a_server_may_begin_during_the_hold_off_time() {
    let held = |seconds| {
        device_with(BootstrapScript::default(), Version::V1_0).with(Path::resource(0, 0, 11), Value::Integer(seconds))
    };
    let mut device = SimulatedDevice::new(held(20), 1);
    device.start(Instant::ZERO);
    assert_eq!(sent(&mut device), []);
    write_account(&mut device, seconds(10), ContentFormat::TLV);
    assert_eq!(finish(&mut device, seconds(11), 200), Code::CHANGED);
    let mut device = SimulatedDevice::new(held(20), 1);
    device.start(Instant::ZERO);
    device.handle_timeout(seconds(20));
    assert_eq!(only(&mut device).uri_path(), ["bs"]);
}

fn registered() -> SimulatedDevice {
    let mut device = served();
    write_account(&mut device, Instant::ZERO, ContentFormat::TLV);
    finish(&mut device, Instant::ZERO, 200);
    device.handle_timeout(seconds(1));
    let mut created = answer(&only(&mut device), Code::CREATED);
    created.push_option(OptionNumber::LOCATION_PATH, b"rd".to_vec());
    created.push_option(OptionNumber::LOCATION_PATH, b"7".to_vec());
    device.handle_datagram(seconds(1), &created.encode());
    assert!(device.is_registered());
    events(&mut device);
    device
}

#[test]
fn core_e_2_the_trigger_of_the_server_object_begins_a_session_and_a_failed_one_ends_at_the_old_account() {
    let mut device = registered();
    let old = device.tree().clone();
    assert_eq!(ask(&mut device, seconds(2), &request(Code::POST, 300, "/1/0/9")).code, Code::CHANGED);
    device.handle_timeout(seconds(3));
    let asked = only(&mut device);
    assert_eq!(asked.uri_path(), ["bs"]);
    assert_eq!(device.account().unwrap().server, None);
    device.handle_datagram(seconds(3), &answer(&asked, Code::BAD_REQUEST).encode());
    let again = device.next_deadline().unwrap();
    device.handle_timeout(again);
    assert_eq!(only(&mut device).uri_path(), ["rd"]);
    assert_eq!(device.tree(), &old);
}

#[test]
fn core_6_2_registrations_that_fail_lead_back_to_the_bootstrap_server() {
    let mut device = registered();
    device.restart(seconds(10));
    for attempt in 0..3 {
        let register = only(&mut device);
        assert_eq!(register.uri_path(), ["rd"], "attempt {attempt}");
        let now = device.next_deadline().unwrap();
        device.handle_datagram(now, &answer(&register, Code::FORBIDDEN).encode());
        if attempt < 2 {
            let next = device.next_deadline().unwrap();
            device.handle_timeout(next);
        }
    }
    assert_eq!(only(&mut device).uri_path(), ["bs"]);
}
