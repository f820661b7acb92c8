//! FETCH and iPATCH, disabling, blocks and the faults around them, against hand-written messages.

use super::tests::{TEMPERATURE, answer, ask, events, observe, only, registered_with, request, script, seconds, sent};
use super::*;
use crate::model::object::NoTypes;
use crate::model::time::WallTime;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::content::{self, ContentFormat, DecodeContext};

const TEXT: Path = Path::resource(16, 0, 0);

fn portfolio() -> DeviceScript {
    let mut script = script()
        .with_version(Version::V1_2)
        .with_writable(TEXT.child(0).unwrap(), Value::String("host".to_owned()))
        .with_writable(TEXT.child(1).unwrap(), Value::String("maker".to_owned()));
    script.tree.allow_create(16);
    script
}

fn composite(code: Code, id: u16, format: ContentFormat, payload: Vec<u8>) -> Message {
    let mut message = request(code, id, "");
    message.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(format.0));
    message.payload = payload;
    message
}

fn fetch(id: u16, paths: &[Path], observe: Option<u32>) -> Message {
    let format = ContentFormat::SENML_CBOR;
    let mut message = composite(Code::FETCH, id, format, content::encode_paths(format, paths, "").unwrap());
    if let Some(observe) = observe {
        message.push_uint(OptionNumber::OBSERVE, observe);
    }
    message
}

fn paths_of(answer: &Message) -> Vec<String> {
    let context = DecodeContext { base: Path::ROOT, root: "", types: &NoTypes, received: WallTime::from_millis(0) };
    let format = ContentFormat(answer.content_format().unwrap());
    let decoded = content::decode(format, &answer.payload, &context).unwrap();
    decoded.samples.iter().map(|sample| sample.path.to_string()).collect()
}

#[test]
fn core_6_3_8_read_composite_leaves_out_what_is_missing_and_what_cannot_be_read() {
    let mut device = registered_with(portfolio().with(Path::resource(0, 0, 0), Value::String("secret".to_owned())));
    let asked = [Path::resource(1, 0, 1), Path::resource(1, 0, 8), Path::resource(9, 0, 0), TEMPERATURE];
    let reply = ask(&mut device, seconds(1), &fetch(1, &asked, None));
    assert_eq!((reply.code, reply.content_format()), (Code::CONTENT, Some(112)));
    assert_eq!(paths_of(&reply), ["/1/0/1", "/3303/0/5700"]);
    let everything = ask(&mut device, seconds(1), &fetch(2, &[Path::ROOT], None));
    let paths = paths_of(&everything);
    assert!(paths.contains(&"/16/0/0/1".to_owned()) && !paths.iter().any(|path| path.starts_with("/0/")), "{paths:?}");
    let mut in_json = fetch(3, &[TEMPERATURE], None);
    in_json.push_uint(OptionNumber::ACCEPT, 110);
    assert_eq!(ask(&mut device, seconds(1), &in_json).content_format(), Some(110));
}

#[test]
fn core_6_4_3_several_paths_are_observed_as_one_until_the_same_paths_are_cancelled() {
    let mut device = registered_with(portfolio());
    let observe = fetch(1, &[TEXT, TEMPERATURE], Some(0));
    assert_eq!(ask(&mut device, seconds(1), &observe).observe(), Some(1));
    assert_eq!(device.observed_composites().collect::<Vec<_>>(), [&[TEXT, TEMPERATURE][..]]);
    device.set_value(seconds(2), TEMPERATURE, Value::Float(1.0));
    let notification = only(&mut device);
    assert_eq!((notification.token, notification.observe()), (observe.token, Some(2)));
    assert_eq!(paths_of(&notification), ["/16/0/0/0", "/16/0/0/1", "/3303/0/5700"]);
    device.handle_datagram(seconds(2), &Message::acknowledgement(notification.id).encode());
    let cancel = ask(&mut device, seconds(3), &fetch(2, &[TEMPERATURE, TEXT], Some(1)));
    assert_eq!((cancel.code, cancel.observe()), (Code::CONTENT, None));
    device.set_value(seconds(4), TEMPERATURE, Value::Float(2.0));
    assert!(sent(&mut device).is_empty());
}

#[test]
fn core_7_3_2_several_paths_take_the_shortest_pmax_among_them() {
    let mut device = registered_with(portfolio());
    for (id, path, argument) in [(1, "/16", "pmax=60"), (2, "/3303", "pmax=20")] {
        let mut attributes = request(Code::PUT, id, path);
        attributes.push_option(OptionNumber::URI_QUERY, argument.as_bytes().to_vec());
        assert_eq!(ask(&mut device, seconds(1), &attributes).code, Code::CHANGED);
    }
    ask(&mut device, seconds(1), &fetch(3, &[TEXT, TEMPERATURE], Some(0)));
    assert_eq!(device.next_deadline(), Some(seconds(21)));
    let mut own = fetch(4, &[TEXT], Some(0));
    own.push_option(OptionNumber::URI_QUERY, b"pmax=5".to_vec());
    ask(&mut device, seconds(1), &own);
    assert_eq!(device.next_deadline(), Some(seconds(6)));
    let mut forbidden = fetch(5, &[TEXT], Some(0));
    forbidden.push_option(OptionNumber::URI_QUERY, b"gt=5".to_vec());
    assert_eq!(ask(&mut device, seconds(1), &forbidden).code, Code::BAD_REQUEST);
}

#[test]
fn core_6_3_9_write_composite_writes_all_or_nothing() {
    let write = |id, text: &str| composite(Code::IPATCH, id, ContentFormat::SENML_JSON, text.as_bytes().to_vec());
    let mut device = registered_with(portfolio());
    let refused = write(1, r#"[{"n":"/16/0/0/0","vs":"new"},{"n":"/3303/0/5700","v":1}]"#);
    assert_eq!(ask(&mut device, seconds(1), &refused).code, Code::METHOD_NOT_ALLOWED);
    assert_eq!(device.tree().value(&TEXT.child(0).unwrap()), Some(&Value::String("host".to_owned())));
    let secret = write(2, r#"[{"n":"/16/0/0/0","vs":"new"},{"n":"/0/0/0","vs":"x"}]"#);
    assert_eq!(ask(&mut device, seconds(1), &secret).code, Code::UNAUTHORIZED);
    let accepted = write(3, r#"[{"n":"/16/0/0/0","vs":"new"},{"n":"/1/0/1","v":60}]"#);
    device.handle_datagram(seconds(1), &accepted.encode());
    let messages = sent(&mut device);
    assert_eq!(messages[0].code, Code::CHANGED);
    assert_eq!(messages[1].uri_query().unwrap(), ["lt=60"]);
}

#[test]
fn core_6_3_9_a_null_deletes_a_resource_instance_in_a_patch_and_nowhere_else() {
    let null = br#"[{"n":"/16/0/0/1","v":null}]"#.to_vec();
    let mut device = registered_with(portfolio());
    let plain = composite(Code::IPATCH, 1, ContentFormat::SENML_JSON, null.clone());
    assert_eq!(ask(&mut device, seconds(1), &plain).code, Code::BAD_REQUEST);
    let patch = composite(Code::IPATCH, 2, ContentFormat::SENML_ETCH_JSON, null.clone());
    assert_eq!(ask(&mut device, seconds(1), &patch).code, Code::CHANGED);
    assert!(!device.tree().exists(&TEXT.child(1).unwrap()));
    let mut older = registered_with(portfolio().with_version(Version::V1_1));
    let patch = composite(Code::IPATCH, 3, ContentFormat::SENML_ETCH_JSON, null);
    assert_eq!(ask(&mut older, seconds(1), &patch).code, Code::UNSUPPORTED_CONTENT_FORMAT);
}

#[test]
fn a_disabled_device_hears_nothing_until_its_timeout_is_over() {
    let script =
        script().with_executable(Path::resource(1, 0, 4)).with_writable(Path::resource(1, 0, 5), Value::Integer(120));
    let mut device = registered_with(script);
    device.handle_datagram(seconds(1), &request(Code::POST, 1, "/1/0/4").encode());
    let messages = sent(&mut device);
    assert_eq!((messages[0].code, messages[1].code), (Code::CHANGED, Code::DELETE));
    device.handle_datagram(seconds(1), &answer(&messages[1], Code::DELETED).encode());
    assert_eq!(events(&mut device).last(), Some(&DeviceEvent::Deregistered { code: Some(Code::DELETED) }));
    device.handle_datagram(seconds(60), &request(Code::GET, 2, "/3303/0/5700").encode());
    assert!(sent(&mut device).is_empty());
    device.handle_timeout(seconds(121));
    assert_eq!(only(&mut device).uri_path(), ["rd"]);
}

#[test]
fn a_muted_device_sends_nothing() {
    let muted = script().with_writable(Path::resource(1, 0, 23), Value::Boolean(true));
    let mut device = registered_with(muted);
    assert_eq!(device.send(seconds(1), &[]), Err(SendError::Muted));
    let mut write = request(Code::PUT, 1, "/1/0/23");
    write.payload = b"0".to_vec();
    assert_eq!(ask(&mut device, seconds(1), &write).code, Code::CHANGED);
    assert_eq!(device.send(seconds(1), &[]), Ok(()));
}

#[test]
fn rfc7959_2_4_the_tag_of_a_large_body_changes_where_the_script_says_so() {
    let long = script().with(Path::resource(3, 0, 1), Value::String("x".repeat(100)));
    let mut device = registered_with(DeviceScript { block_size_exponent: 1, ..long });
    let first = ask(&mut device, seconds(1), &request(Code::GET, 1, "/3/0/1"));
    assert_eq!((first.payload.len(), first.uint(OptionNumber::SIZE2)), (32, Some(100)));
    let later = |id| {
        let mut message = request(Code::GET, id, "/3/0/1");
        message.push_option(OptionNumber::BLOCK2, Block { number: 3, more: false, size_exponent: 1 }.encode());
        message
    };
    let last = ask(&mut device, seconds(1), &later(2));
    assert_eq!((last.payload.len(), last.option(OptionNumber::ETAG)), (4, first.option(OptionNumber::ETAG)));
    device.misbehave(Misbehaviour { changes_etags: 1, ..Misbehaviour::default() });
    let changed = ask(&mut device, seconds(1), &later(3));
    assert_ne!(changed.option(OptionNumber::ETAG), first.option(OptionNumber::ETAG));
    let same = ask(&mut device, seconds(1), &later(4));
    assert_eq!(same.option(OptionNumber::ETAG), changed.option(OptionNumber::ETAG));
}

#[test]
fn further_faults_show_on_the_wire() {
    let faulty = |misbehaviour: Misbehaviour| registered_with(DeviceScript { misbehaviour, ..portfolio() });
    let none = Misbehaviour::default;
    let get = request(Code::GET, 1, "/3303/0");
    let read = fetch(2, &[TEMPERATURE], None);

    let mut silent = faulty(Misbehaviour { acknowledges_and_falls_silent: true, ..none() });
    assert_eq!(ask(&mut silent, seconds(1), &get), Message::acknowledgement(1));
    let mut wakaama = faulty(Misbehaviour { acknowledges_composites_and_falls_silent: true, ..none() });
    assert_eq!(ask(&mut wakaama, seconds(1), &read), Message::acknowledgement(2));
    assert_eq!(ask(&mut wakaama, seconds(1), &read), Message::acknowledgement(2));
    assert_eq!(ask(&mut wakaama, seconds(1), &get).code, Code::CONTENT);

    let mut old = faulty(Misbehaviour { refuses_composites: Some(Code::METHOD_NOT_ALLOWED), ..none() });
    assert_eq!(ask(&mut old, seconds(1), &read).code, Code::METHOD_NOT_ALLOWED);

    let mut strange = faulty(Misbehaviour { answers_under_other_token: true, ..none() });
    assert_ne!(ask(&mut strange, seconds(1), &get).token, get.token);

    let mut vague = faulty(Misbehaviour { omits_content_format: true, ..none() });
    assert_eq!(ask(&mut vague, seconds(1), &get).content_format(), None);

    let mut elsewhere = faulty(Misbehaviour { answers_for_next_instance: true, ..none() });
    assert_eq!(paths_of(&ask(&mut elsewhere, seconds(1), &get)), ["/3303/1/5700"]);

    let mut ahead = faulty(Misbehaviour { answers_with_next_block: true, ..none() });
    let mut blocks = request(Code::GET, 5, "/3303/0");
    blocks.push_option(OptionNumber::BLOCK2, Block { number: 0, more: false, size_exponent: 0 }.encode());
    let reply = ask(&mut ahead, seconds(1), &blocks);
    assert_eq!(reply.block(OptionNumber::BLOCK2).unwrap().map(|block| block.number), Some(1));
}

#[test]
fn a_server_that_wants_nothing_stored_does_not_get_what_was_lost() {
    for (stores, sent_again) in [(true, 1), (false, 0)] {
        let script = script().with_writable(Path::resource(1, 0, 6), Value::Boolean(stores));
        let mut device = registered_with(script);
        observe(&mut device, seconds(1), 1, "/3303/0/5700");
        device.set_value(seconds(2), TEMPERATURE, Value::Float(1.0));
        let lost = loop {
            let now = device.next_deadline().unwrap();
            device.handle_timeout(now);
            if let Some(DeviceEvent::NotificationLost { .. }) = events(&mut device).pop() {
                break now;
            }
        };
        while let Some(bytes) = device.poll_transmit() {
            let update = Message::decode(&bytes).unwrap();
            if update.uri_path().first().is_some_and(|first| first == "rd") {
                device.handle_datagram(lost, &answer(&update, Code::CHANGED).encode());
            }
        }
        device.handle_timeout(lost);
        let again = events(&mut device);
        let again = again.iter().filter(|event| matches!(event, DeviceEvent::NotificationSent { .. }));
        assert_eq!(again.count(), sent_again, "{stores}");
    }
}

#[test]
fn whatever_a_request_holds_the_device_goes_on() {
    let mut device = registered_with(portfolio());
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let patch = br#"[{"n":"/16/0/0/0","vs":"new"},{"n":"/1/0/1","v":60}]"#.to_vec();
    let templates = [
        fetch(1, &[TEXT, TEMPERATURE], Some(0)),
        fetch(2, &[Path::ROOT], None),
        composite(Code::IPATCH, 3, ContentFormat::SENML_JSON, patch),
        request(Code::GET, 4, "/3303/0/5700"),
    ];
    for round in 0..4_000_u32 {
        let mut bytes = templates[(round % 4) as usize].encode();
        for _ in 0..=random.next_u32() % 4 {
            let at = random.next_u32() as usize % bytes.len();
            match random.next_u32() % 3 {
                0 => bytes[at] = random.next_u32() as u8,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, random.next_u32() as u8),
            }
        }
        let now = seconds(u64::from(round / 100));
        device.handle_datagram(now, &bytes);
        device.handle_timeout(now);
        sent(&mut device);
        events(&mut device);
    }
    device.restart(seconds(100));
    let register = only(&mut device);
    assert_eq!(register.uri_path(), ["rd"]);
    device.handle_datagram(seconds(100), &answer(&register, Code::CREATED).encode());
    assert_eq!(ask(&mut device, seconds(101), &fetch(9_999, &[TEMPERATURE], None)).code, Code::CONTENT);
}

#[test]
fn a_device_that_is_told_to_bootstrap_says_so_and_begins_anew() {
    let mut device = registered_with(script().with_executable(Path::resource(1, 0, 9)));
    assert_eq!(ask(&mut device, seconds(1), &request(Code::POST, 1, "/1/0/9")).code, Code::CHANGED);
    assert!(events(&mut device).contains(&DeviceEvent::BootstrapTriggered));
    device.handle_timeout(seconds(2));
    assert_eq!(only(&mut device).uri_path(), ["rd"]);
}
