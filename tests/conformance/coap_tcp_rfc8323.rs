//! CoAP over TCP (RFC 8323), by frames against the whole core.

use std::time::Duration;

use lwm2mqtt::gateway::vocabulary::{StreamInput, StreamOrder};
use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::protocol::coap::block::Block;
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageType, Token};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use lwm2mqtt::protocol::coap::signalling::Signal;
use lwm2mqtt::protocol::coap::tcp_frame;
use serde_json::json;

use super::gateway::{Gateway, OBSERVE_TEMPERATURES, block, peer, registration, request, target, with_block};
use super::stream::{Connection, capabilities, stream_answer, stream_notification, stream_peer};

const QUERY: &str = "ep=dev&lt=300&lwm2m=1.1&b=T";
const LONG_QUERY: &str = "ep=dev&lt=86400&lwm2m=1.1&b=T";
const QUEUE_QUERY: &str = "ep=dev&lt=86400&lwm2m=1.1&b=T&Q";
const OBJECTS: &str = "</3/0>,</3303/0>";

/// A gateway that asks nothing by itself, and a registered device.
fn registered() -> (Gateway, Connection, String) {
    let mut gateway = Gateway::new();
    let device = Connection::open(&mut gateway, 1);
    let location = device.register(&mut gateway, QUERY, OBJECTS);
    (gateway, device, location)
}

/// A gateway that observes, and a device whose temperature is observed under this token.
fn observed(query: &str) -> (Gateway, Connection, String, Token) {
    let mut gateway = Gateway::with(OBSERVE_TEMPERATURES, |_| {});
    let device = Connection::open(&mut gateway, 1);
    let location = device.register(&mut gateway, query, OBJECTS);
    let token = observe(&mut gateway, device);
    (gateway, device, location, token)
}

/// Lets the device take attributes and the observation behind them.
fn observe(gateway: &mut Gateway, device: Connection) -> Token {
    let attributes = device.next(gateway);
    assert_eq!((attributes.code, attributes.payload.len()), (Code::PUT, 0));
    device.say(gateway, &stream_answer(&attributes, Code::CHANGED, ""));
    let observe = device.next(gateway);
    assert_eq!((observe.code, observe.observe()), (Code::GET, Some(0)));
    device.say(gateway, &stream_notification(observe.token, "20"));
    observe.token
}

fn command(gateway: &mut Gateway, body: &serde_json::Value) {
    gateway.downlink("dev/command", body);
}

fn state(gateway: &Gateway) -> (String, String) {
    let bodies = gateway.bodies("dev/state");
    let last = bodies.last().expect("a state");
    let text = |field: &str| last[field].as_str().unwrap_or_default().to_owned();
    (text("state"), text("reason"))
}

fn record(gateway: &mut Gateway) -> serde_json::Value {
    gateway.query(lwm2mqtt::gateway::vocabulary::Query::Device { device: "dev".to_owned() })
}

// --- section 3: frames and messages ---------------------------------------------------------------------------------

#[test]
fn rfc8323_3_3_the_gateway_speaks_first_and_says_what_it_takes() {
    let mut gateway = Gateway::new();
    let device = Connection::connect(&mut gateway, stream_peer(1), 1);
    let heard = device.heard(&mut gateway);
    let expected = Signal::Capabilities { max_message_size: Some((1 << 20) + 1_024), block_wise: true };
    assert_eq!(heard, [expected.message()]);
}

#[test]
fn rfc8323_3_3_requests_are_answered_on_the_stream_with_their_token_once_they_are_durable() {
    let mut gateway = Gateway::new();
    let device = Connection::open(&mut gateway, 1);
    gateway.store_holds = true;
    device.say(&mut gateway, &registration(QUERY, OBJECTS));
    assert_eq!(device.heard(&mut gateway), []);
    gateway.confirm();
    let heard = device.heard(&mut gateway);
    assert_eq!((heard[0].code, heard[0].token), (Code::CREATED, registration(QUERY, OBJECTS).token));
    let record = record(&mut gateway);
    assert_eq!(
        (&record["transport"], &record["binding"], &record["state"]),
        (&json!("tcp"), &json!("T"), &json!("online"))
    );
}

#[test]
fn rfc8323_3_3_equal_requests_are_two_requests() {
    // There are no message ids to know a repetition by, and no repetitions.
    let (mut gateway, device, location) = registered();
    for _ in 0..3 {
        device.say(&mut gateway, &request(Code::POST, 9, &format!("rd/{location}")));
        assert_eq!(device.next(&mut gateway).code, Code::CHANGED);
    }
    assert_eq!(gateway.count(Occurrence::Request("update", 2)), 3);
}

#[test]
fn rfc8323_3_3_a_request_with_an_unusable_critical_option_is_answered() {
    let (mut gateway, device, _) = registered();
    let mut strange = request(Code::POST, 9, "rd");
    strange.push_option(OptionNumber(2_001), []);
    device.say(&mut gateway, &strange);
    assert_eq!(device.next(&mut gateway).code, Code::BAD_OPTION);
}

#[test]
fn rfc8323_3_3_responses_count_only_on_the_connection_of_their_request() {
    let (mut gateway, device, _) = registered();
    let other = Connection::open(&mut gateway, 2);
    command(&mut gateway, &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    let read = device.next(&mut gateway);
    other.say(&mut gateway, &stream_answer(&read, Code::CONTENT, "forged"));
    let mut datagram = stream_answer(&read, Code::CONTENT, "forged");
    datagram.id = 77;
    gateway.receive(peer(1), &datagram);
    assert_eq!(gateway.result("dev", "r"), None);
    assert_eq!(gateway.count(Occurrence::DatagramDropped("unknown_token")), 2);
    device.say(&mut gateway, &stream_answer(&read, Code::CONTENT, "ACME"));
    assert_eq!(gateway.result("dev", "r").unwrap()["value"], "ACME");
}

#[test]
fn rfc8323_3_4_empty_messages_are_ignored_whatever_they_carry() {
    let (mut gateway, device, _) = registered();
    device.say_bytes(&mut gateway, &[0, 0, 0x01, 0, 7, 0x20, 0, 0x10, 0x00, 0, 0]);
    assert_eq!(device.orders(&mut gateway), []);
    assert_eq!(gateway.gauges().connections, 1);
}

#[test]
fn rfc8323_3_2_malformed_messages_end_the_connection_with_an_abort() {
    for bytes in [&[0x09, 0x45][..], &[0x00, 0x20], &[0x10, 0x45, 0xff], &[0x10, 0x45, 0xf0]] {
        let (mut gateway, device, _) = registered();
        device.say_bytes(&mut gateway, bytes);
        device.abort(&mut gateway);
        assert_eq!(gateway.count(Occurrence::ConnectionClosed("malformed")), 1, "{bytes:02x?}");
        assert_eq!(state(&gateway), ("offline".to_owned(), "unreachable".to_owned()));
    }
}

// --- section 5: signalling ------------------------------------------------------------------------------------------

#[test]
fn rfc8323_5_3_a_message_before_the_capabilities_aborts_the_connection() {
    for first in [registration(QUERY, OBJECTS), Signal::Ping { token: Token::EMPTY, custody: false }.message()] {
        let mut gateway = Gateway::new();
        let device = Connection::connect(&mut gateway, stream_peer(1), 1);
        device.heard(&mut gateway);
        device.say(&mut gateway, &first);
        device.abort(&mut gateway);
        assert_eq!(gateway.count(Occurrence::ConnectionClosed("no_csm")), 1);
        assert_eq!(gateway.gauges().connections, 0);
        device.say(&mut gateway, &capabilities(None, false));
        assert_eq!(device.orders(&mut gateway), [], "nothing more is heard of it");
    }
}

#[test]
fn rfc8323_5_3_a_peer_without_capabilities_is_given_up_in_time() {
    let mut gateway = Gateway::new();
    let device = Connection::connect(&mut gateway, stream_peer(1), 1);
    device.heard(&mut gateway);
    gateway.pass(Duration::from_secs(9));
    assert_eq!(device.orders(&mut gateway), []);
    gateway.pass(Duration::from_secs(1));
    device.abort(&mut gateway);
}

#[test]
fn rfc8323_5_3_an_unknown_critical_option_of_the_capabilities_aborts_and_is_named() {
    let mut gateway = Gateway::new();
    let device = Connection::connect(&mut gateway, stream_peer(1), 1);
    device.heard(&mut gateway);
    let mut message = capabilities(Some(2_000), true);
    message.push_option(OptionNumber(9), [1]);
    device.say(&mut gateway, &message);
    assert_eq!(device.abort(&mut gateway).1, Some(9));
    assert_eq!(gateway.count(Occurrence::ConnectionClosed("bad_signal")), 1);
}

#[test]
fn rfc8323_5_3_1_larger_bodies_leave_whole_if_the_device_takes_them() {
    let (mut gateway, device, _) = registered();
    let write =
        |id: &str, length| json!({"id": id, "operation": "write", "path": "/3/0/15", "value": "z".repeat(length)});
    // The base value of 1,152 bytes, and no blocks.
    command(&mut gateway, &write("small", 1_024));
    let put = device.next(&mut gateway);
    assert_eq!((put.payload.len(), block(&put, OptionNumber::BLOCK1)), (1_024, None));
    device.say(&mut gateway, &stream_answer(&put, Code::CHANGED, ""));
    command(&mut gateway, &write("large", 1_025));
    assert_eq!(gateway.result("dev", "large").unwrap()["error"]["kind"], "too_large");
    assert_eq!(device.heard(&mut gateway), []);
    // A later message of the device changes that.
    device.say(&mut gateway, &capabilities(Some(5_241), false));
    command(&mut gateway, &write("larger", 5_000));
    let put = device.next(&mut gateway);
    assert_eq!((put.payload.len(), block(&put, OptionNumber::BLOCK1)), (5_000, None));
    assert!(tcp_frame::encode(&put).len() <= 5_241);
}

#[test]
fn rfc8323_5_3_2_bodies_beyond_that_leave_in_blocks_if_the_device_knows_them() {
    let (mut gateway, device, _) = registered();
    device.say(&mut gateway, &capabilities(Some(600), true));
    let body = "z".repeat(1_100);
    command(&mut gateway, &json!({"id": "w", "operation": "write", "path": "/3/0/15", "value": body}));
    let mut received = Vec::new();
    for number in 0..5 {
        let put = device.next(&mut gateway);
        assert!(tcp_frame::encode(&put).len() <= 600);
        let more = number < 4;
        assert_eq!(block(&put, OptionNumber::BLOCK1), Some((number, more, 256)));
        received.extend_from_slice(&put.payload);
        let code = if more { Code::CONTINUE } else { Code::CHANGED };
        let answer = with_block(stream_answer(&put, code, ""), OptionNumber::BLOCK1, number, more, 256);
        device.say(&mut gateway, &answer);
    }
    assert_eq!((received.len(), &gateway.result("dev", "w").unwrap()["status"]), (1_100, &json!("done")));
}

#[test]
fn rfc8323_5_4_a_ping_is_answered_with_its_token() {
    let (mut gateway, device, _) = registered();
    let token = Token::new(&[1, 2, 3]).unwrap();
    let mut ping = Signal::Ping { token, custody: false }.message();
    ping.push_option(OptionNumber(100), [1]);
    device.say(&mut gateway, &ping);
    assert_eq!(device.heard(&mut gateway), [Signal::Pong { token, custody: false }.message()]);
}

#[test]
fn rfc8323_5_4_1_a_pong_with_custody_waits_until_everything_before_it_is_durable() {
    let (mut gateway, device, _, token) = observed(QUERY);
    gateway.store_holds = true;
    device.say(&mut gateway, &stream_notification(token, "21"));
    let ping = Token::new(&[9]).unwrap();
    device.say(&mut gateway, &Signal::Ping { token: ping, custody: true }.message());
    assert_eq!(device.heard(&mut gateway), []);
    gateway.confirm();
    assert_eq!(device.heard(&mut gateway), [Signal::Pong { token: ping, custody: true }.message()]);
}

#[test]
fn rfc8323_5_4_a_silent_device_is_pinged_and_keeps_its_connection_by_any_word() {
    let (mut gateway, device, _) = registered();
    gateway.pass(Duration::from_secs(179));
    assert_eq!(device.heard(&mut gateway), []);
    gateway.pass(Duration::from_secs(1));
    let ping = device.next(&mut gateway);
    assert_eq!(ping.code, Code::PING);
    device.say(&mut gateway, &Signal::Pong { token: ping.token, custody: false }.message());
    gateway.pass(Duration::from_secs(179));
    assert_eq!(device.orders(&mut gateway), []);
}

#[test]
fn rfc8323_5_4_a_half_open_connection_is_given_up_and_the_device_is_unreachable() {
    let mut gateway = Gateway::new();
    let device = Connection::open(&mut gateway, 1);
    device.register(&mut gateway, LONG_QUERY, OBJECTS);
    gateway.pass(Duration::from_secs(300));
    let orders = device.orders(&mut gateway);
    assert_eq!((orders.len(), orders.last()), (3, Some(&StreamOrder::Close)), "ping, abort, end: {orders:?}");
    assert_eq!(gateway.count(Occurrence::ConnectionClosed("silent")), 1);
    assert_eq!(state(&gateway), ("offline".to_owned(), "unreachable".to_owned()));
    assert!(record(&mut gateway)["lifetime_secs"].is_i64(), "the registration stays");
}

#[test]
fn rfc8323_5_4_a_device_that_sleeps_is_neither_pinged_nor_given_up() {
    let mut gateway = Gateway::new();
    let device = Connection::open(&mut gateway, 1);
    device.register(&mut gateway, QUEUE_QUERY, OBJECTS);
    gateway.pass(Duration::from_secs(3_600));
    assert_eq!(state(&gateway).0, "asleep");
    assert_eq!(device.orders(&mut gateway), []);
    assert_eq!(gateway.gauges().connections, 1);
    command(&mut gateway, &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    assert_eq!(gateway.result("dev", "r").unwrap()["status"], "queued");
    device.say(&mut gateway, &request(Code::GET, 9, "nothing"));
    assert_eq!(device.next(&mut gateway).code, Code::NOT_FOUND);
}

#[test]
fn rfc8323_5_5_a_released_connection_is_closed_when_everything_is_answered() {
    let (mut gateway, device, location) = registered();
    gateway.store_holds = true;
    let mut update = request(Code::POST, 9, &format!("rd/{location}?lt=600"));
    update.payload.clear();
    device.say(&mut gateway, &update);
    device.say(&mut gateway, &Signal::Release { hold_off: None }.message());
    assert_eq!(device.orders(&mut gateway), []);
    command(&mut gateway, &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    gateway.confirm();
    let orders = device.orders(&mut gateway);
    assert_eq!((orders.len(), &orders[1]), (2, &StreamOrder::Close), "{orders:?}");
    assert_eq!(gateway.count(Occurrence::ConnectionClosed("released")), 1);
    assert_eq!(gateway.result("dev", "r").unwrap()["status"], "queued");
}

#[test]
fn rfc8323_5_5_the_answer_to_a_request_is_waited_for_after_a_release() {
    let (mut gateway, device, _) = registered();
    command(&mut gateway, &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    let read = device.next(&mut gateway);
    device.say(&mut gateway, &Signal::Release { hold_off: None }.message());
    device.say(&mut gateway, &stream_answer(&read, Code::CONTENT, "ACME"));
    assert_eq!(gateway.result("dev", "r").unwrap()["value"], "ACME");
    gateway.pass(Duration::from_secs(10));
    assert_eq!(device.orders(&mut gateway), [StreamOrder::Close]);
}

#[test]
fn rfc8323_5_6_after_an_abort_of_the_device_nothing_is_said() {
    let (mut gateway, device, _) = registered();
    let abort = Signal::Abort { bad_csm_option: None, diagnostic: "out of memory".to_owned() };
    device.say(&mut gateway, &abort.message());
    assert_eq!(device.orders(&mut gateway), [StreamOrder::Close]);
    assert_eq!(gateway.count(Occurrence::ConnectionClosed("aborted_by_peer")), 1);
    assert_eq!(state(&gateway).0, "offline");
}

#[test]
fn rfc8323_5_6_a_message_beyond_the_announced_size_aborts_by_its_first_bytes() {
    let (mut gateway, device, _) = registered();
    let mut message = registration(QUERY, OBJECTS);
    message.payload = vec![b'x'; (1 << 20) + 1_024];
    device.say_bytes(&mut gateway, &tcp_frame::encode(&message)[..6]);
    assert!(device.abort(&mut gateway).0.contains("more than 1049600"));
    assert_eq!(gateway.count(Occurrence::ConnectionClosed("too_large")), 1);
}

// --- section 6: larger blocks ---------------------------------------------------------------------------------------

/// A block option with this number that stands for several blocks of 1,024 bytes.
fn with_bert(mut message: Message, option: OptionNumber, number: u32, more: bool) -> Message {
    message.push_option(option, Block { number, more, size_exponent: Block::BERT_EXPONENT }.encode());
    message
}

#[test]
fn rfc8323_6_a_registration_may_come_in_bert_blocks() {
    let mut gateway = Gateway::new();
    let device = Connection::open(&mut gateway, 1);
    let links: Vec<String> = (0..400).map(|instance| format!("</3303/{instance}>")).collect();
    let body = links.join(",").into_bytes();
    assert!(body.len() > 4_096);
    let (first, rest) = body.split_at(4_096);
    for (number, more, payload) in [(0, true, first), (4, false, rest)] {
        let mut message = with_bert(registration(QUERY, ""), OptionNumber::BLOCK1, number, more);
        message.payload = payload.to_vec();
        device.say(&mut gateway, &message);
        let answer = device.next(&mut gateway);
        assert_eq!(answer.code, if more { Code::CONTINUE } else { Code::CREATED });
        let echoed = answer.block_over(OptionNumber::BLOCK1, true).unwrap().unwrap();
        assert_eq!((echoed.number, echoed.more, echoed.size_exponent), (number, more, Block::BERT_EXPONENT));
    }
    assert_eq!(record(&mut gateway)["objects"]["3303"]["instances"].as_array().map(Vec::len), Some(400));
}

#[test]
fn rfc8323_6_an_answer_may_come_in_bert_blocks_of_different_sizes() {
    let (mut gateway, device, _) = registered();
    command(&mut gateway, &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    let body = "y".repeat(3_072 + 5_120 + 4_711);
    let mut sent = 0;
    for (number, length, more) in [(0, 3_072, true), (3, 5_120, true), (8, 4_711, false)] {
        let read = device.next(&mut gateway);
        if number > 0 {
            let asked = read.block_over(OptionNumber::BLOCK2, true).unwrap().unwrap();
            assert_eq!((asked.number, asked.size_exponent), (number, Block::BERT_EXPONENT));
        }
        let answer = stream_answer(&read, Code::CONTENT, &body[sent..sent + length]);
        device.say(&mut gateway, &with_bert(answer, OptionNumber::BLOCK2, number, more));
        sent += length;
    }
    assert_eq!(gateway.result("dev", "r").unwrap()["value"], body);
}

#[test]
fn rfc8323_6_bert_is_not_known_to_datagrams() {
    let mut gateway = Gateway::new();
    let message = with_bert(registration(QUERY, ""), OptionNumber::BLOCK1, 0, false);
    assert_eq!(gateway.ask(peer(1), &message).code, Code::BAD_REQUEST);
}

// --- section 7: observing -------------------------------------------------------------------------------------------

#[test]
fn rfc8323_7_1_notifications_are_taken_in_order_whatever_their_observe_says() {
    let (mut gateway, device, _, token) = observed(QUERY);
    for (sequence, text) in [(Some(5), "21"), (Some(4), "22"), (None, "23"), (Some(4), "24")] {
        let mut message = stream_notification(token, text);
        if let Some(sequence) = sequence {
            message.options.remove(0);
            message.push_uint(OptionNumber::OBSERVE, sequence);
        }
        device.say(&mut gateway, &message);
    }
    assert_eq!(gateway.values("dev", "t_0"), [20.0, 21.0, 22.0, 23.0, 24.0]);
    assert_eq!(gateway.count(Occurrence::StaleNotification), 0);
    assert_eq!(device.heard(&mut gateway), [], "there is no acknowledgement");
}

#[test]
fn rfc8323_7_4_a_notification_that_nobody_wants_is_cancelled_by_its_token_once_in_a_while() {
    let (mut gateway, device, _) = registered();
    let token = Token::new(&[5, 5]).unwrap();
    for _ in 0..5 {
        device.say(&mut gateway, &stream_notification(token, "21"));
    }
    let heard = device.heard(&mut gateway);
    assert_eq!(heard.len(), 1);
    assert_eq!((heard[0].code, heard[0].token, heard[0].observe()), (Code::GET, token, Some(1)));
    device.say(&mut gateway, &stream_answer(&heard[0], Code::NOT_FOUND, ""));
    assert_eq!(device.heard(&mut gateway), [], "its answer starts nothing");
    gateway.pass(Duration::from_secs(10));
    device.say(&mut gateway, &stream_notification(token, "21"));
    assert_eq!(device.heard(&mut gateway).len(), 1);
}

#[test]
fn rfc8323_7_4_observations_end_with_their_connection_and_are_made_anew_on_the_next() {
    let (mut gateway, device, location, token) = observed(QUERY);
    device.break_off(&mut gateway);
    assert_eq!(state(&gateway), ("offline".to_owned(), "unreachable".to_owned()));
    let again = Connection::open(&mut gateway, 2);
    again.say(&mut gateway, &request(Code::POST, 9, &format!("rd/{location}")));
    assert_eq!(again.next(&mut gateway).code, Code::CHANGED);
    assert_eq!(state(&gateway).0, "online");
    let new_token = observe(&mut gateway, again);
    assert_ne!(new_token, token);
    again.say(&mut gateway, &stream_notification(token, "99"));
    assert_eq!(again.heard(&mut gateway).len(), 1, "the old token is nobody's");
    again.say(&mut gateway, &stream_notification(new_token, "25"));
    assert_eq!(gateway.values("dev", "t_0"), [20.0, 20.0, 25.0]);
}

// --- what a connection is to the gateway ----------------------------------------------------------------------------

#[test]
fn a_read_under_way_waits_for_the_next_connection_and_an_execute_does_not() {
    let (mut gateway, device, location) = registered();
    command(&mut gateway, &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    assert_eq!(target(&device.next(&mut gateway)), "/3/0/0");
    device.break_off(&mut gateway);
    assert_eq!(gateway.result("dev", "r").unwrap()["status"], "queued");
    let second = Connection::open(&mut gateway, 2);
    second.say(&mut gateway, &request(Code::POST, 9, &format!("rd/{location}")));
    assert_eq!(second.next(&mut gateway).code, Code::CHANGED);
    let read = second.next(&mut gateway);
    second.say(&mut gateway, &stream_answer(&read, Code::CONTENT, "ACME"));
    assert_eq!(gateway.result("dev", "r").unwrap()["value"], "ACME");

    command(&mut gateway, &json!({"id": "e", "operation": "execute", "path": "/3/0/4"}));
    assert_eq!(second.next(&mut gateway).code, Code::POST);
    second.break_off(&mut gateway);
    assert_eq!(gateway.result("dev", "e").unwrap()["status"], "unknown");
}

#[test]
fn a_request_is_not_repeated_and_ends_when_its_answer_does_not_come() {
    let (mut gateway, device, _) = registered();
    command(&mut gateway, &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    gateway.pass(Duration::from_secs(92));
    assert_eq!(device.heard(&mut gateway).len(), 1);
    gateway.pass(Duration::from_secs(2));
    assert_eq!(gateway.result("dev", "r").unwrap()["error"]["kind"], "timeout");
    assert_eq!(gateway.count(Occurrence::Retransmission), 0);
}

#[test]
fn a_register_on_another_connection_takes_the_place_of_the_first() {
    let (mut gateway, device, _) = registered();
    let second = Connection::open(&mut gateway, 2);
    second.register(&mut gateway, QUERY, OBJECTS);
    device.abort(&mut gateway);
    assert_eq!(gateway.count(Occurrence::ConnectionClosed("replaced")), 1);
    assert_eq!(state(&gateway).0, "online", "the end of the first connection is not the end of the device");
    command(&mut gateway, &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    assert_eq!(target(&second.next(&mut gateway)), "/3/0/0");
}

#[test]
fn a_device_moves_between_udp_and_tcp_by_its_updates() {
    let (mut gateway, device, location, _) = observed(QUERY);
    let update = request(Code::POST, 9, &format!("rd/{location}"));
    gateway.receive(peer(3), &update);
    assert_eq!(gateway.next_sent().unwrap().code, Code::CHANGED);
    device.abort(&mut gateway);
    assert_eq!(record(&mut gateway)["transport"], "udp");
    gateway.next_observe(peer(3));
    let second = Connection::open(&mut gateway, 2);
    second.say(&mut gateway, &update);
    assert_eq!(second.next(&mut gateway).code, Code::CHANGED);
    assert_eq!(record(&mut gateway)["transport"], "tcp");
    observe(&mut gateway, second);
}

#[test]
fn the_same_port_again_is_another_connection() {
    let (mut gateway, first, location) = registered();
    gateway.store_holds = true;
    first.say(&mut gateway, &request(Code::POST, 9, &format!("rd/{location}?lt=700")));
    let second = Connection::connect(&mut gateway, first.peer, 77);
    assert_eq!(first.orders(&mut gateway), [StreamOrder::Close]);
    second.say(&mut gateway, &capabilities(None, false));
    assert_eq!(second.heard(&mut gateway).len(), 1);
    gateway.confirm();
    assert_eq!(second.heard(&mut gateway), [], "the answer belonged to the first");
    first.input(&mut gateway, StreamInput::Closed { reason: "late".to_owned() });
    first.say(&mut gateway, &Signal::Ping { token: Token::EMPTY, custody: false }.message());
    assert_eq!((second.orders(&mut gateway), gateway.gauges().connections), (vec![], 1));
}

#[test]
fn a_send_counts_for_the_device_of_its_connection() {
    let (mut gateway, device, _) = registered();
    let mut send = request(Code::POST, 9, "dp");
    send.push_uint(OptionNumber::CONTENT_FORMAT, 110);
    send.payload = br#"[{"n":"/3303/0/5700","v":30}]"#.to_vec();
    device.say(&mut gateway, &send);
    assert_eq!(device.next(&mut gateway).code, Code::CHANGED);
    let stranger = Connection::open(&mut gateway, 2);
    stranger.say(&mut gateway, &send);
    assert_eq!(stranger.next(&mut gateway).code, Code::NOT_FOUND);
}

#[test]
fn a_connection_is_not_read_while_the_store_is_behind_and_nothing_is_lost() {
    let mut gateway = Gateway::with(OBSERVE_TEMPERATURES, |configuration| configuration.limits.max_pending_writes = 20);
    let device = Connection::open(&mut gateway, 1);
    device.register(&mut gateway, LONG_QUERY, OBJECTS);
    let token = observe(&mut gateway, device);
    gateway.store_holds = true;
    let values: Vec<f64> = (100..200).map(f64::from).collect();
    for value in &values {
        device.say(&mut gateway, &stream_notification(token, &value.to_string()));
    }
    assert_eq!(device.orders(&mut gateway), [StreamOrder::Pause]);
    // What was not read is not silence.
    gateway.pass(Duration::from_secs(1_000));
    assert_eq!(device.orders(&mut gateway), []);
    gateway.confirm();
    assert_eq!(device.orders(&mut gateway), [StreamOrder::Resume]);
    assert_eq!(gateway.values("dev", "t_0")[1..], values);
    assert_eq!(gateway.count(Occurrence::DatagramDropped("store_full")), 0);
}

#[test]
fn a_stop_releases_connections() {
    let (mut gateway, device, _) = registered();
    gateway.input(lwm2mqtt::gateway::vocabulary::Input::Stop);
    assert_eq!(device.heard(&mut gateway), [Signal::Release { hold_off: None }.message()]);
}

#[test]
fn a_response_of_the_device_to_nothing_is_left_alone() {
    let (mut gateway, device, _) = registered();
    let stray = Message::new(MessageType::NonConfirmable, Code::CONTENT, 0, Token::new(&[3]).unwrap());
    device.say(&mut gateway, &stray);
    assert_eq!(device.orders(&mut gateway), []);
}
