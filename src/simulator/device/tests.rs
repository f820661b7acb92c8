//! The device against hand-written messages of a server.

use super::*;
use crate::model::report::Sample;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::content::ContentFormat;

pub(super) const TEMPERATURE: Path = Path::resource(3303, 0, 5700);

pub(super) fn script() -> DeviceScript {
    let mut script = DeviceScript::new("urn:dev:1")
        .with(Path::resource(3, 0, 0), Value::String("Acme".to_owned()))
        .with_executable(Path::resource(3, 0, 4))
        .with_writable(Path::resource(1, 0, 1), Value::Integer(300))
        .with_executable(Path::resource(1, 0, 8))
        .with(TEMPERATURE, Value::Float(21.5))
        .with_writable(Path::resource(3306, 0, 5850), Value::Boolean(false));
    script.lifetime_secs = 300;
    script.text_for_single_resources = true;
    script
}

pub(super) fn sent(device: &mut SimulatedDevice) -> Vec<Message> {
    std::iter::from_fn(|| device.poll_transmit()).map(|bytes| Message::decode(&bytes).unwrap()).collect()
}

pub(super) fn only(device: &mut SimulatedDevice) -> Message {
    let mut messages = sent(device);
    assert_eq!(messages.len(), 1, "{messages:?}");
    messages.remove(0)
}

pub(super) fn events(device: &mut SimulatedDevice) -> Vec<DeviceEvent> {
    std::iter::from_fn(|| device.poll_event()).collect()
}

pub(super) fn answer(request: &Message, code: Code) -> Message {
    Message::new(MessageType::Acknowledgement, code, request.id, request.token)
}

fn created(request: &Message) -> Message {
    let mut answer = answer(request, Code::CREATED);
    answer.push_option(OptionNumber::LOCATION_PATH, b"rd".to_vec());
    answer.push_option(OptionNumber::LOCATION_PATH, b"7".to_vec());
    answer
}

pub(super) fn registered_with(script: DeviceScript) -> SimulatedDevice {
    let mut device = SimulatedDevice::new(script, 1);
    device.start(Instant::ZERO);
    let register = sent(&mut device).remove(0);
    device.handle_datagram(Instant::ZERO, &created(&register).encode());
    assert!(events(&mut device).contains(&DeviceEvent::Registered { location: "/rd/7".to_owned() }));
    device
}

pub(super) fn registered() -> SimulatedDevice {
    registered_with(script())
}

pub(super) fn request(code: Code, id: u16, path: &str) -> Message {
    let mut message = Message::new(MessageType::Confirmable, code, id, Token::new(&[9, id as u8]).unwrap());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        message.push_option(OptionNumber::URI_PATH, segment.as_bytes().to_vec());
    }
    message
}

pub(super) fn ask(device: &mut SimulatedDevice, now: Instant, request: &Message) -> Message {
    device.handle_datagram(now, &request.encode());
    only(device)
}

pub(super) fn observe(device: &mut SimulatedDevice, now: Instant, id: u16, path: &str) -> Message {
    let mut message = request(Code::GET, id, path);
    message.push_uint(OptionNumber::OBSERVE, 0);
    ask(device, now, &message)
}

pub(super) fn seconds(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

#[test]
fn registration_carries_query_and_object_list() {
    let mut device = SimulatedDevice::new(script(), 1);
    device.start(Instant::ZERO);
    let register = only(&mut device);
    assert_eq!((register.message_type, register.code), (MessageType::Confirmable, Code::POST));
    assert_eq!(register.uri_path(), ["rd"]);
    assert_eq!(register.uri_query().unwrap(), ["ep=urn:dev:1", "lt=300", "lwm2m=1.1", "b=U"]);
    assert_eq!(register.content_format(), Some(40));
    let links = String::from_utf8(register.payload).unwrap();
    assert_eq!(links, "</>;rt=\"oma.lwm2m\";ct=\"0 42 60 110 112 11542\",</1/0>,</3/0>,</3303/0>,</3306/0>");
}

#[test]
fn queue_mode_is_a_flag_since_1_1_and_part_of_the_binding_before() {
    let queue = DeviceScript { queue_mode: true, ..script() };
    for (script, expected) in [(queue.clone(), vec!["b=U", "Q"]), (queue.with_version(Version::V1_0), vec!["b=UQ"])] {
        let mut device = SimulatedDevice::new(script, 1);
        device.start(Instant::ZERO);
        assert_eq!(only(&mut device).uri_query().unwrap()[3..], expected[..]);
    }
}

#[test]
fn an_unanswered_registration_is_retransmitted_and_later_tried_anew() {
    let mut device = SimulatedDevice::new(script(), 1);
    device.start(Instant::ZERO);
    let first = only(&mut device);
    let mut copies = 0;
    let mut renewed = None;
    while renewed.is_none() {
        device.handle_timeout(device.next_deadline().unwrap());
        for message in sent(&mut device) {
            if message.id == first.id {
                assert_eq!(message, first);
                copies += 1;
            } else {
                renewed = Some(message);
            }
        }
    }
    assert_eq!(copies, 4);
    assert!(events(&mut device).contains(&DeviceEvent::RegistrationFailed { code: None }));
    assert_ne!(renewed.unwrap().token, first.token);
}

#[test]
fn a_refused_version_is_stepped_down_at_once() {
    let mut device = SimulatedDevice::new(script().with_version(Version::V1_2), 1);
    device.start(Instant::ZERO);
    for version in ["lwm2m=1.2", "lwm2m=1.1", "lwm2m=1.0"] {
        let register = only(&mut device);
        assert_eq!(register.uri_query().unwrap()[2], version);
        device.handle_datagram(Instant::ZERO, &answer(&register, Code::PRECONDITION_FAILED).encode());
    }
    assert!(sent(&mut device).is_empty());
    assert!(device.next_deadline().unwrap() >= seconds(10));
}

#[test]
fn service_unavailable_is_waited_for_as_long_as_max_age_says() {
    let mut device = SimulatedDevice::new(script(), 1);
    device.start(Instant::ZERO);
    let register = only(&mut device);
    let mut busy = answer(&register, Code::SERVICE_UNAVAILABLE);
    busy.push_uint(OptionNumber::MAX_AGE, 600);
    device.handle_datagram(Instant::ZERO, &busy.encode());
    assert!(device.next_deadline().unwrap() >= seconds(600));
}

#[test]
fn a_long_object_list_goes_in_blocks_of_the_size_that_the_server_wants() {
    let mut long = script();
    for instance in 0..300 {
        long = long.with(Path::resource(3303, instance, 5700), Value::Float(1.0));
    }
    let mut device = SimulatedDevice::new(long, 1);
    device.start(Instant::ZERO);
    let mut body = Vec::new();
    let mut blocks = 0;
    while !device.is_registered() {
        let message = only(&mut device);
        let block = message.block(OptionNumber::BLOCK1).unwrap().unwrap();
        assert_eq!(block.offset(), body.len());
        body.extend_from_slice(&message.payload);
        blocks += 1;
        let mut reply = if block.more { answer(&message, Code::CONTINUE) } else { created(&message) };
        reply.push_option(OptionNumber::BLOCK1, Block { size_exponent: 4, ..block }.encode());
        device.handle_datagram(Instant::ZERO, &reply.encode());
    }
    let text = String::from_utf8(body).unwrap();
    assert!(text.ends_with("</3306/0>") && text.contains("</3303/299>"), "{text}");
    assert!(blocks > 10);
}

#[test]
fn an_update_leaves_after_half_the_lifetime_and_not_found_leads_to_a_new_registration() {
    let mut device = registered();
    let at = device.next_deadline().unwrap();
    assert_eq!(at, seconds(150));
    device.handle_timeout(at);
    let update = only(&mut device);
    assert_eq!(update.uri_path(), ["rd", "7"]);
    device.handle_datagram(at, &answer(&update, Code::CHANGED).encode());
    assert_eq!(events(&mut device), [DeviceEvent::Updated]);
    device.update(seconds(160));
    let update = only(&mut device);
    device.handle_datagram(seconds(160), &answer(&update, Code::NOT_FOUND).encode());
    assert_eq!(only(&mut device).uri_path(), ["rd"]);
    assert!(!device.is_registered());
}

#[test]
fn deregistration_ends_everything() {
    let mut device = registered();
    device.deregister(seconds(1));
    let request = only(&mut device);
    assert_eq!((request.code, request.uri_path()), (Code::DELETE, vec!["rd".to_owned(), "7".to_owned()]));
    device.handle_datagram(seconds(1), &answer(&request, Code::DELETED).encode());
    assert_eq!(events(&mut device), [DeviceEvent::Deregistered { code: Some(Code::DELETED) }]);
    assert_eq!(device.next_deadline(), None);
}

#[test]
fn exact_codes_for_what_is_missing_or_not_allowed() {
    let mut device = registered();
    let unknown_accept = {
        let mut message = request(Code::GET, 50, "/3303/0/5700");
        message.push_uint(OptionNumber::ACCEPT, 9_999);
        message
    };
    let critical = {
        let mut message = request(Code::GET, 51, "/3303/0/5700");
        message.push_option(OptionNumber(2_001), []);
        message
    };
    for (message, code) in [
        (request(Code::GET, 1, "/3303/0/1"), Code::NOT_FOUND),
        (request(Code::GET, 2, "/9/0"), Code::NOT_FOUND),
        (request(Code::GET, 3, "/name"), Code::NOT_FOUND),
        (request(Code::GET, 4, "/3/0/4"), Code::METHOD_NOT_ALLOWED),
        (request(Code::GET, 5, "/0/0/0"), Code::UNAUTHORIZED),
        (request(Code::POST, 6, "/3303/0/5700"), Code::METHOD_NOT_ALLOWED),
        (request(Code::POST, 7, "/3303/0/9"), Code::NOT_FOUND),
        (request(Code::POST, 8, "/3/0/4"), Code::CHANGED),
        (request(Code::DELETE, 9, "/3303/0"), Code::METHOD_NOT_ALLOWED),
        (request(Code::DELETE, 10, "/3303/9"), Code::NOT_FOUND),
        (unknown_accept, Code::NOT_ACCEPTABLE),
        (critical, Code::BAD_OPTION),
    ] {
        // Each on its own device: one of them reboots it.
        let mut device = if message.id == 8 { registered() } else { std::mem::replace(&mut device, registered()) };
        let reply = ask(&mut device, seconds(1), &message);
        assert_eq!(reply.code, code, "{message:?}");
        assert_eq!(
            (reply.message_type, reply.id, reply.token),
            (MessageType::Acknowledgement, message.id, message.token)
        );
    }
}

#[test]
fn discover_answers_links_with_attributes() {
    let mut device = registered();
    let mut attributes = request(Code::PUT, 1, "/3303/0/5700");
    attributes.push_option(OptionNumber::URI_QUERY, b"pmin=5".to_vec());
    attributes.push_option(OptionNumber::URI_QUERY, b"gt=30.5".to_vec());
    assert_eq!(ask(&mut device, seconds(1), &attributes).code, Code::CHANGED);
    let mut discover = request(Code::GET, 2, "/3303/0");
    discover.push_uint(OptionNumber::ACCEPT, 40);
    let reply = ask(&mut device, seconds(1), &discover);
    assert_eq!(reply.content_format(), Some(40));
    assert_eq!(String::from_utf8(reply.payload).unwrap(), "</3303/0>,</3303/0/5700>;pmin=5;gt=30.5");
    let mut wrong = request(Code::PUT, 3, "/3303/0/5700");
    wrong.push_option(OptionNumber::URI_QUERY, b"pace=5".to_vec());
    assert_eq!(ask(&mut device, seconds(1), &wrong).code, Code::BAD_REQUEST);
}

#[test]
fn rfc7252_4_5_a_repeated_request_is_answered_alike_and_done_once() {
    let mut device = registered();
    let mut execute = request(Code::POST, 1, "/1/0/8");
    execute.payload = b"0='U'".to_vec();
    device.handle_datagram(seconds(1), &execute.encode());
    let first = sent(&mut device).remove(0);
    let executed = DeviceEvent::Executed { path: Path::resource(1, 0, 8), arguments: "0='U'".to_owned() };
    assert!(events(&mut device).contains(&executed));
    device.handle_datagram(seconds(2), &execute.encode());
    assert_eq!(only(&mut device), first);
    assert!(!events(&mut device).contains(&executed));
}

#[test]
fn execute_of_the_update_trigger_sends_an_update_after_the_answer() {
    let mut device = registered();
    device.handle_datagram(seconds(1), &request(Code::POST, 1, "/1/0/8").encode());
    let messages = sent(&mut device);
    assert_eq!(messages[0].code, Code::CHANGED);
    assert_eq!(messages[1].uri_path(), ["rd", "7"]);
}

#[test]
fn execute_of_reboot_registers_anew_after_silence() {
    let mut device = registered();
    ask(&mut device, seconds(1), &request(Code::POST, 1, "/3/0/4"));
    device.handle_datagram(seconds(1), &request(Code::GET, 2, "/3303/0/5700").encode());
    assert!(sent(&mut device).is_empty());
    assert_eq!(device.next_deadline(), Some(seconds(2)));
    device.handle_timeout(seconds(2));
    assert_eq!(only(&mut device).uri_path(), ["rd"]);
    assert!(events(&mut device).contains(&DeviceEvent::Restarted));
}

#[test]
fn malformed_and_foreign_messages_are_reset_and_pings_answered() {
    let mut device = registered();
    device.handle_datagram(seconds(1), &[0x4f, 1, 0, 9]);
    assert_eq!(only(&mut device), Message::reset(9));
    device.handle_datagram(seconds(1), &[0x40, 0, 0, 8]);
    assert_eq!(only(&mut device), Message::reset(8));
    let foreign = Message::new(MessageType::Confirmable, Code::CONTENT, 5, Token::new(&[1]).unwrap());
    assert_eq!(ask(&mut device, seconds(1), &foreign), Message::reset(5));
}

#[test]
fn no_bytes_from_the_network_make_a_device_panic() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut device = registered();
    let mut base = request(Code::PUT, 1, "/3306/0/5850");
    base.push_uint(OptionNumber::OBSERVE, 0);
    base.push_option(OptionNumber::BLOCK1, Block { number: 0, more: true, size_exponent: 0 }.encode());
    base.payload = vec![1; 16];
    let base = base.encode();
    for round in 0..20_000_u64 {
        let mut bytes = base.clone();
        for _ in 0..=rng.next_u32() % 4 {
            let position = rng.next_u32() as usize % bytes.len();
            bytes[position] = (rng.next_u32() >> 24) as u8;
        }
        bytes.truncate(rng.next_u32() as usize % (base.len() + 1));
        device.handle_datagram(Instant::from_millis(round), &bytes);
        while device.poll_transmit().is_some() {}
        while device.poll_event().is_some() {}
    }
}

#[test]
fn a_notification_is_confirmed_before_the_next_leaves_and_the_newest_value_wins() {
    let mut device = registered();
    let first = observe(&mut device, seconds(1), 1, "/3303/0/5700");
    assert_eq!((first.code, first.payload.as_slice()), (Code::CONTENT, &b"21.5"[..]));
    let started = first.observe().unwrap();
    device.set_value(seconds(2), TEMPERATURE, Value::Float(22.5));
    let notification = only(&mut device);
    assert_eq!((notification.message_type, notification.token), (MessageType::Confirmable, first.token));
    assert_eq!(notification.payload, b"22.5");
    device.set_value(seconds(2), TEMPERATURE, Value::Float(23.5));
    device.set_value(seconds(2), TEMPERATURE, Value::Float(24.5));
    assert!(sent(&mut device).is_empty());
    device.handle_datagram(seconds(3), &Message::acknowledgement(notification.id).encode());
    let newest = only(&mut device);
    assert_eq!(newest.payload, b"24.5");
    assert_eq!((notification.observe(), newest.observe()), (Some(started + 1), Some(started + 2)));
    assert!(events(&mut device).contains(&DeviceEvent::NotificationAcknowledged {
        path: TEMPERATURE,
        sequence: started + 1,
        at: seconds(3),
        sent_at: seconds(2),
    }));
}

#[test]
fn pmin_holds_back_and_pmax_repeats() {
    let mut device = registered();
    let mut attributes = request(Code::PUT, 1, "/3303/0");
    attributes.push_option(OptionNumber::URI_QUERY, b"pmin=10".to_vec());
    attributes.push_option(OptionNumber::URI_QUERY, b"pmax=60".to_vec());
    ask(&mut device, seconds(1), &attributes);
    observe(&mut device, seconds(1), 2, "/3303/0/5700");
    device.set_value(seconds(2), TEMPERATURE, Value::Float(30.0));
    assert!(sent(&mut device).is_empty());
    assert_eq!(device.next_deadline(), Some(seconds(11)));
    device.handle_timeout(seconds(11));
    let notification = only(&mut device);
    device.handle_datagram(seconds(12), &Message::acknowledgement(notification.id).encode());
    assert_eq!(device.next_deadline(), Some(seconds(71)));
    device.handle_timeout(seconds(71));
    assert_eq!(only(&mut device).payload, notification.payload);
}

#[test]
fn thresholds_and_steps_decide_what_is_reported() {
    let mut device = registered();
    let mut attributes = request(Code::PUT, 1, "/3303/0/5700");
    attributes.push_option(OptionNumber::URI_QUERY, b"gt=30".to_vec());
    attributes.push_option(OptionNumber::URI_QUERY, b"st=5".to_vec());
    ask(&mut device, seconds(1), &attributes);
    observe(&mut device, seconds(1), 2, "/3303/0/5700");
    let mut reported = Vec::new();
    for (at, value) in [(2, 22.0), (3, 29.0), (4, 30.5), (5, 31.0), (6, 29.5)] {
        device.set_value(seconds(at), TEMPERATURE, Value::Float(value));
        for message in sent(&mut device) {
            reported.push(value);
            device.handle_datagram(seconds(at), &Message::acknowledgement(message.id).encode());
        }
    }
    assert_eq!(reported, [29.0, 30.5, 29.5]);
}

#[test]
fn rfc7641_3_6_a_reset_or_observe_1_cancels() {
    let mut device = registered();
    observe(&mut device, seconds(1), 1, "/3303/0/5700");
    device.set_value(seconds(2), TEMPERATURE, Value::Float(1.0));
    let notification = only(&mut device);
    device.handle_datagram(seconds(2), &Message::reset(notification.id).encode());
    let happened = events(&mut device);
    assert!(happened.contains(&DeviceEvent::NotificationReset { path: TEMPERATURE }));
    assert!(happened.contains(&DeviceEvent::ObservationCancelled { path: TEMPERATURE }));
    observe(&mut device, seconds(3), 2, "/3303/0/5700");
    let mut cancel = request(Code::GET, 3, "/3303/0/5700");
    cancel.push_uint(OptionNumber::OBSERVE, 1);
    assert_eq!(ask(&mut device, seconds(3), &cancel).observe(), None);
    device.set_value(seconds(4), TEMPERATURE, Value::Float(2.0));
    assert!(sent(&mut device).is_empty());
}

#[test]
fn a_lost_notification_asks_for_the_server_and_is_sent_again() {
    let mut device = registered();
    observe(&mut device, seconds(1), 1, "/3303/0/5700");
    device.set_value(seconds(2), TEMPERATURE, Value::Float(1.0));
    let lost = only(&mut device);
    let mut copies = 0;
    loop {
        device.handle_timeout(device.next_deadline().unwrap());
        let messages = sent(&mut device);
        if messages.iter().all(|message| *message == lost) {
            copies += messages.len();
            continue;
        }
        let fresh: Vec<_> = messages.iter().filter(|message| message.id != lost.id).collect();
        assert!(fresh.iter().any(|message| message.uri_path() == ["rd", "7"]));
        break;
    }
    assert_eq!(copies, 4);
    assert!(events(&mut device).contains(&DeviceEvent::NotificationLost { path: TEMPERATURE, sequence: 2 }));
    assert_eq!(device.observed_paths().collect::<Vec<_>>(), [TEMPERATURE]);
}

#[test]
fn a_sleeping_device_hears_nothing_until_it_speaks() {
    let mut sleepy = script();
    sleepy.queue_mode = true;
    sleepy.awake_window = Duration::from_secs(30);
    let mut device = registered_with(sleepy);
    observe(&mut device, seconds(10), 1, "/3303/0/5700");
    assert_eq!(device.next_deadline(), Some(seconds(40)));
    device.handle_timeout(seconds(40));
    assert!(device.is_asleep());
    device.handle_datagram(seconds(41), &request(Code::GET, 2, "/3303/0/5700").encode());
    assert!(sent(&mut device).is_empty());
    device.set_value(seconds(50), TEMPERATURE, Value::Float(3.0));
    let notification = only(&mut device);
    device.handle_datagram(seconds(50), &Message::acknowledgement(notification.id).encode());
    assert!(!device.is_asleep());
    assert_eq!(ask(&mut device, seconds(51), &request(Code::GET, 3, "/3303/0/5700")).code, Code::CONTENT);
    device.handle_timeout(seconds(81));
    assert!(device.is_asleep());
    let happened = events(&mut device);
    assert_eq!(happened.iter().filter(|event| **event == DeviceEvent::FellAsleep).count(), 2);
}

#[test]
fn writes_change_values_and_are_reported() {
    let mut device = registered();
    let mut write = request(Code::PUT, 1, "/3306/0/5850");
    write.push_uint(OptionNumber::CONTENT_FORMAT, 0);
    write.payload = b"1".to_vec();
    assert_eq!(ask(&mut device, seconds(1), &write).code, Code::CHANGED);
    let path = Path::resource(3306, 0, 5850);
    assert!(events(&mut device).contains(&DeviceEvent::Written { path, value: Value::Boolean(true) }));
    assert_eq!(device.tree().value(&path), Some(&Value::Boolean(true)));
    write.id = 2;
    write.payload = b"maybe".to_vec();
    assert_eq!(ask(&mut device, seconds(1), &write).code, Code::BAD_REQUEST);
}

#[test]
fn a_written_lifetime_is_told_by_an_update() {
    let mut device = registered();
    let mut write = request(Code::PUT, 1, "/1/0/1");
    write.push_uint(OptionNumber::CONTENT_FORMAT, 0);
    write.payload = b"60".to_vec();
    device.handle_datagram(seconds(1), &write.encode());
    let messages = sent(&mut device);
    assert_eq!(messages[0].code, Code::CHANGED);
    assert_eq!(messages[1].uri_query().unwrap(), ["lt=60"]);
    device.handle_datagram(seconds(1), &answer(&messages[1], Code::CHANGED).encode());
    assert_eq!(device.next_deadline(), Some(seconds(31)));
}

#[test]
fn rfc7959_2_4_a_large_answer_comes_in_blocks_of_one_state() {
    let long = "x".repeat(2_500);
    let mut device = registered_with(script().with(Path::resource(3, 0, 17), Value::String(long.clone())));
    let mut body = Vec::new();
    for number in 0.. {
        let mut get = request(Code::GET, 10 + number, "/3/0/17");
        if number > 0 {
            let block = Block { number: u32::from(number), more: false, size_exponent: 6 };
            get.push_option(OptionNumber::BLOCK2, block.encode());
        }
        let reply = ask(&mut device, seconds(1), &get);
        assert_eq!(reply.code, Code::CONTENT);
        body.extend_from_slice(&reply.payload);
        if !reply.block(OptionNumber::BLOCK2).unwrap().unwrap().more {
            break;
        }
    }
    assert_eq!(body, long.as_bytes());
}

#[test]
fn a_write_in_blocks_is_applied_at_its_end() {
    let path = Path::resource(3, 0, 14);
    let mut device = registered_with(script().with_writable(path, Value::String("+00:00".to_owned())));
    for (id, number, more, text) in [(1, 0, true, "0123456789abcdef"), (2, 1, false, "gh")] {
        let mut write = request(Code::PUT, id, "/3/0/14");
        write.push_uint(OptionNumber::CONTENT_FORMAT, 0);
        write.push_option(OptionNumber::BLOCK1, Block { number, more, size_exponent: 0 }.encode());
        write.payload = text.as_bytes().to_vec();
        let reply = ask(&mut device, seconds(1), &write);
        assert_eq!(reply.code, if more { Code::CONTINUE } else { Code::CHANGED });
        assert_eq!(reply.block(OptionNumber::BLOCK1).unwrap().unwrap().number, number);
    }
    assert_eq!(device.tree().value(&path), Some(&Value::String("0123456789abcdefgh".to_owned())));
}

#[test]
fn an_instance_is_read_in_the_format_asked_for() {
    let mut device = registered();
    for (format, id) in [(ContentFormat::SENML_CBOR, 1), (ContentFormat::SENML_JSON, 2), (ContentFormat::TLV, 3)] {
        let mut get = request(Code::GET, id, "/3303/0");
        get.push_uint(OptionNumber::ACCEPT, u32::from(format.0));
        let reply = ask(&mut device, seconds(1), &get);
        assert_eq!((reply.code, reply.content_format()), (Code::CONTENT, Some(format.0)));
        assert!(!reply.payload.is_empty());
    }
}

#[test]
fn an_instance_is_created_deleted_and_the_object_list_follows() {
    let mut creatable = script();
    creatable.tree.allow_create(3303);
    let mut device = registered_with(creatable);
    let mut create = request(Code::POST, 1, "/3303");
    create.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(ContentFormat::TLV.0));
    // Resource 5701 of an instance whose number the device chooses.
    create.payload = vec![0xe3, 0x16, 0x45, b'C', b'e', b'l'];
    device.handle_datagram(seconds(1), &create.encode());
    let messages = sent(&mut device);
    assert_eq!(messages[0].code, Code::CREATED);
    let location: Vec<_> = messages[0].option_values(OptionNumber::LOCATION_PATH).collect();
    assert_eq!(location, [b"3303".as_slice(), b"1".as_slice()]);
    assert!(String::from_utf8(messages[1].payload.clone()).unwrap().contains("</3303/1>"));
    device.handle_datagram(seconds(1), &answer(&messages[1], Code::CHANGED).encode());
    device.handle_datagram(seconds(2), &request(Code::DELETE, 2, "/3303/1").encode());
    let messages = sent(&mut device);
    assert_eq!(messages[0].code, Code::DELETED);
    assert!(!String::from_utf8(messages[1].payload.clone()).unwrap().contains("</3303/1>"));
}

#[test]
fn composites_read_what_is_there_and_write_all_or_nothing() {
    let senml = u32::from(ContentFormat::SENML_JSON.0);
    let mut device = registered();
    let mut fetch = request(Code::FETCH, 1, "");
    fetch.push_uint(OptionNumber::CONTENT_FORMAT, senml);
    fetch.payload = br#"[{"n":"/3303/0/5700"},{"n":"/9/0"},{"n":"/0/0"}]"#.to_vec();
    let reply = ask(&mut device, seconds(1), &fetch);
    assert_eq!((reply.code, reply.content_format()), (Code::CONTENT, Some(110)));
    let json: serde_json::Value = serde_json::from_slice(&reply.payload).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert!(reply.payload.windows(4).any(|window| window == b"21.5"));

    let switch = Path::resource(3306, 0, 5850);
    let mut patch = request(Code::IPATCH, 2, "");
    patch.push_uint(OptionNumber::CONTENT_FORMAT, senml);
    patch.payload = br#"[{"n":"/3306/0/5850","vb":true},{"n":"/3303/0/5700","v":1}]"#.to_vec();
    assert_eq!(ask(&mut device, seconds(1), &patch).code, Code::METHOD_NOT_ALLOWED);
    assert_eq!(device.tree().value(&switch), Some(&Value::Boolean(false)));
    patch.id = 3;
    patch.payload = br#"[{"n":"/3306/0/5850","vb":true}]"#.to_vec();
    assert_eq!(ask(&mut device, seconds(1), &patch).code, Code::CHANGED);
    assert_eq!(device.tree().value(&switch), Some(&Value::Boolean(true)));
}

#[test]
fn send_needs_a_registration_and_version_1_1_and_is_bounded() {
    let sample = Sample { path: TEMPERATURE, value: Value::Float(1.0), ts: None };
    let mut off = SimulatedDevice::new(script(), 1);
    assert_eq!(off.send(Instant::ZERO, std::slice::from_ref(&sample)), Err(SendError::NotRegistered));
    let mut old = registered_with(script().with_version(Version::V1_0));
    assert_eq!(old.send(Instant::ZERO, std::slice::from_ref(&sample)), Err(SendError::VersionTooOld));
    let mut device = registered();
    for _ in 0..=MAX_WAITING_REQUESTS {
        assert_eq!(device.send(seconds(1), std::slice::from_ref(&sample)), Ok(()));
    }
    assert_eq!(device.send(seconds(1), std::slice::from_ref(&sample)), Err(SendError::QueueFull));
    let request = only(&mut device);
    assert_eq!((request.uri_path(), request.content_format()), (vec!["dp".to_owned()], Some(112)));
    device.handle_datagram(seconds(1), &answer(&request, Code::CHANGED).encode());
    assert_eq!(events(&mut device), [DeviceEvent::SendAnswered { code: Code::CHANGED }]);
    assert_eq!(only(&mut device).uri_path(), ["dp"]);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = |seed| {
        let mut device = SimulatedDevice::new(script(), seed);
        device.start(Instant::ZERO);
        let mut trace = Vec::new();
        for _ in 0..20 {
            while let Some(bytes) = device.poll_transmit() {
                trace.push(bytes);
            }
            let at = device.next_deadline().unwrap();
            trace.push(at.micros().to_be_bytes().to_vec());
            device.handle_timeout(at);
        }
        trace
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
