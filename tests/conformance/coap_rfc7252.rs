//! The message layer and requests of RFC 7252, by datagrams against the whole core.

use std::time::Duration;

use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageType, Token};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use serde_json::json;

use super::gateway::{
    GOOD_QUERY, Gateway, answer, confirmable, non_confirmable, peer, registration, request, target, text_answer,
};

/// A registered device and the request of a read command to it.
fn asked(gateway: &mut Gateway) -> Message {
    gateway.register(peer(1), GOOD_QUERY, "</3/0>");
    gateway.downlink("dev/command", &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    let request = gateway.next_sent().unwrap();
    assert_eq!((request.code, target(&request).as_str()), (Code::GET, "/3/0/0"));
    request
}

#[test]
fn rfc7252_3_another_version_is_ignored_in_silence() {
    for version in [0, 2, 3] {
        let mut gateway = Gateway::new();
        gateway.receive_bytes(peer(1), &[version << 6, 1, 0, 7]);
        assert_eq!(gateway.next_sent(), None);
        assert_eq!(gateway.count(Occurrence::DatagramDropped("malformed")), 1);
    }
}

#[test]
fn rfc7252_4_2_a_malformed_confirmable_message_is_reset() {
    let mut gateway = Gateway::new();
    let malformed: [&[u8]; 6] = [
        &[0x49, 1, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8, 9], // token length 9
        &[0x42, 1, 0, 7, 1],                         // ends inside the token
        &[0x40, 1, 0, 7, 0xf1, 0],                   // reserved delta
        &[0x40, 1, 0, 7, 0xff],                      // payload marker, no payload
        &[0x40, 0x20, 0, 7],                         // reserved class 1
        &[0x40, 0, 0, 7, 0xff, 1],                   // empty with a payload
    ];
    for bytes in malformed {
        gateway.receive_bytes(peer(1), bytes);
        assert_eq!(gateway.next_sent(), Some(Message::reset(7)), "{bytes:02x?}");
        assert_eq!(gateway.next_sent(), None);
    }
}

#[test]
fn rfc7252_4_3_malformed_messages_that_are_not_confirmable_are_ignored() {
    let mut gateway = Gateway::new();
    for bytes in [&[0x50, 1, 0, 7, 0xff][..], &[0x60, 1, 0, 7], &[0x70, 1, 0, 7], &[0x50, 0, 0, 7], &[0x40, 1, 0], &[]]
    {
        gateway.receive_bytes(peer(1), bytes);
        assert_eq!(gateway.next_sent(), None, "{bytes:02x?}");
    }
    assert_eq!(gateway.count(Occurrence::DatagramDropped("malformed")), 6);
}

#[test]
fn rfc7252_4_3_a_ping_is_answered_by_a_reset() {
    let mut gateway = Gateway::new();
    gateway.receive_bytes(peer(1), &[0x40, 0, 0x12, 0x34]);
    assert_eq!(gateway.next_sent(), Some(Message::reset(0x1234)));
}

#[test]
fn rfc7252_4_5_a_repeated_request_gets_the_same_answer_and_acts_once() {
    let mut gateway = Gateway::new();
    let register = registration(GOOD_QUERY, "</3/0>");
    let first = gateway.ask(peer(1), &register);
    let second = gateway.ask(peer(1), &register);
    assert_eq!(first, second);
    assert_eq!((first.message_type, first.code), (MessageType::Acknowledgement, Code::CREATED));
    assert_eq!(gateway.count(Occurrence::Request("register", 2)), 1);
    assert_eq!(gateway.count(Occurrence::DuplicateAnswered), 1);
    // Another peer with the same message id is another device; the same peer after EXCHANGE_LIFETIME asks anew.
    let other = gateway.ask(peer(2), &registration("ep=other&lt=300&lwm2m=1.1", "</3/0>"));
    assert_ne!(other.options, first.options);
    gateway.pass(Duration::from_secs(247));
    assert_ne!(gateway.ask(peer(1), &register).options, first.options);
}

#[test]
fn rfc7252_4_5_a_repetition_is_silent_while_the_first_is_not_durable() {
    let mut gateway = Gateway::new();
    let register = registration(GOOD_QUERY, "</3/0>");
    gateway.store_holds = true;
    gateway.receive(peer(1), &register);
    gateway.receive(peer(1), &register);
    assert_eq!(gateway.next_sent(), None);
    assert_eq!(gateway.count(Occurrence::DatagramDropped("duplicate_pending")), 1);
    gateway.confirm();
    assert_eq!(gateway.next_sent().map(|answer| answer.code), Some(Code::CREATED));
    assert_eq!(gateway.next_sent(), None);
}

#[test]
fn rfc7252_4_5_a_repeated_non_confirmable_request_acts_once_and_is_answered_once_or_the_same() {
    let mut gateway = Gateway::new();
    let register = non_confirmable(registration(GOOD_QUERY, "</3/0>"), 9);
    let first = gateway.ask(peer(1), &register);
    assert_eq!((first.message_type, first.code), (MessageType::NonConfirmable, Code::CREATED));
    assert_eq!(gateway.ask(peer(1), &register), first);
    assert_eq!(gateway.count(Occurrence::Request("register", 2)), 1);
}

#[test]
fn rfc7252_5_4_1_an_unknown_critical_option_is_4_02_when_confirmable_and_silence_otherwise() {
    let mut gateway = Gateway::new();
    // If-Match, Observe's critical neighbours, Proxy-Uri, and a number that nobody has.
    for (index, option) in [1, 5, 9, 35, 39, 65_001].into_iter().enumerate() {
        let mut register = registration(GOOD_QUERY, "</3/0>");
        register.id = 100 + index as u16;
        register.push_option(OptionNumber(option), if option == 5 { vec![] } else { vec![1] });
        assert_eq!(gateway.ask(peer(1), &register).code, Code::BAD_OPTION, "{option}");
        gateway.receive(peer(1), &non_confirmable(register, 200 + index as u16));
        assert_eq!(gateway.next_sent(), None, "{option}");
    }
    assert_eq!(gateway.gauges().devices_online, 0);
}

#[test]
fn rfc7252_5_4_5_a_critical_option_that_stands_twice_is_4_02() {
    let mut gateway = Gateway::new();
    let mut get = request(Code::GET, 1, ".well-known/core");
    get.push_uint(OptionNumber::ACCEPT, 40);
    get.push_uint(OptionNumber::ACCEPT, 40);
    assert_eq!(gateway.ask(peer(1), &get).code, Code::BAD_OPTION);
}

#[test]
fn rfc7252_5_4_1_unknown_elective_options_are_ignored() {
    let mut gateway = Gateway::new();
    let mut register = registration(GOOD_QUERY, "</3/0>");
    register.push_option(OptionNumber(258), vec![0]);
    register.push_option(OptionNumber(65_000), b"anything".to_vec());
    assert_eq!(gateway.ask(peer(1), &register).code, Code::CREATED);
}

#[test]
fn rfc7252_5_3_1_tokens_of_zero_to_eight_bytes_are_echoed() {
    let mut gateway = Gateway::new();
    for length in 0..=8_u8 {
        let token = Token::new(&(1..=length).collect::<Vec<u8>>()).unwrap();
        let mut get = request(Code::GET, u16::from(length), ".well-known/core");
        get.token = token;
        let answer = gateway.ask(peer(1), &get);
        assert_eq!((answer.token, answer.id, answer.code), (token, u16::from(length), Code::CONTENT));
    }
}

#[test]
fn rfc7252_5_2_1_a_piggybacked_answer_ends_the_request() {
    let mut gateway = Gateway::new();
    let read = asked(&mut gateway);
    gateway.receive(peer(1), &text_answer(&read, "ACME"));
    assert_eq!(gateway.result("dev", "r").unwrap()["status"], "done");
    gateway.pass(Duration::from_secs(100));
    assert_eq!(gateway.next_sent(), None);
}

#[test]
fn rfc7252_5_2_2_a_separate_answer_is_acknowledged_and_so_is_its_repetition() {
    let mut gateway = Gateway::new();
    let read = asked(&mut gateway);
    gateway.receive(peer(1), &Message::acknowledgement(read.id));
    gateway.pass(Duration::from_secs(60));
    assert_eq!(gateway.next_sent(), None, "an acknowledged request is not repeated");
    let separate = confirmable(&read, 900, Code::CONTENT, "ACME");
    for _ in 0..2 {
        gateway.receive(peer(1), &separate);
        assert_eq!(gateway.next_sent(), Some(Message::acknowledgement(900)));
    }
    assert_eq!(gateway.next_sent(), None);
    assert_eq!(gateway.bodies("dev/response").len(), 1);
    assert_eq!(gateway.result("dev", "r").unwrap()["status"], "done");
}

#[test]
fn rfc7252_5_2_2_a_separate_answer_counts_even_if_the_acknowledgement_was_lost() {
    let mut gateway = Gateway::new();
    let read = asked(&mut gateway);
    gateway.receive(peer(1), &confirmable(&read, 900, Code::CONTENT, "ACME"));
    assert_eq!(gateway.next_sent(), Some(Message::acknowledgement(900)));
    assert_eq!(gateway.result("dev", "r").unwrap()["status"], "done");
    // The acknowledgement that comes after all changes nothing.
    gateway.receive(peer(1), &Message::acknowledgement(read.id));
    gateway.pass(Duration::from_secs(100));
    assert_eq!(gateway.next_sent(), None);
}

#[test]
fn rfc7252_5_2_3_a_separate_answer_may_be_non_confirmable() {
    let mut gateway = Gateway::new();
    let read = asked(&mut gateway);
    gateway.receive(peer(1), &Message::acknowledgement(read.id));
    gateway.receive(peer(1), &non_confirmable(confirmable(&read, 0, Code::CONTENT, "ACME"), 901));
    assert_eq!(gateway.next_sent(), None);
    assert_eq!(gateway.result("dev", "r").unwrap()["status"], "done");
}

#[test]
fn rfc7252_4_2_a_reset_ends_the_request() {
    let mut gateway = Gateway::new();
    let read = asked(&mut gateway);
    gateway.receive(peer(1), &Message::reset(read.id));
    let result = gateway.result("dev", "r").unwrap();
    assert_eq!((&result["status"], &result["error"]["kind"]), (&json!("failed"), &json!("bad_answer")));
    gateway.pass(Duration::from_secs(100));
    assert_eq!(gateway.next_sent(), None);
}

#[test]
fn rfc7252_5_3_2_an_answer_needs_the_right_token_and_the_right_peer() {
    let mut gateway = Gateway::new();
    let read = asked(&mut gateway);
    let mut wrong_token = text_answer(&read, "false");
    wrong_token.token = Token::new(&[1]).unwrap();
    gateway.receive(peer(1), &wrong_token);
    gateway.receive(peer(2), &text_answer(&read, "false"));
    gateway.receive(peer(2), &Message::reset(read.id));
    assert_eq!(gateway.result("dev", "r"), None);
    assert_eq!(gateway.count(Occurrence::DatagramDropped("wrong_token")), 1);
    assert_eq!(gateway.count(Occurrence::DatagramDropped("unknown_acknowledgement")), 1);
    gateway.receive(peer(1), &text_answer(&read, "ACME"));
    assert_eq!(gateway.result("dev", "r").unwrap()["value"], "ACME");
}

#[test]
fn rfc7252_5_3_2_answers_under_another_token_alone_are_told_apart_from_silence() {
    let mut gateway = Gateway::new();
    let read = asked(&mut gateway);
    let mut wrong_token = text_answer(&read, "false");
    wrong_token.token = Token::new(&[1]).unwrap();
    gateway.receive(peer(1), &wrong_token);
    gateway.pass(Duration::from_secs(100));
    let result = gateway.result("dev", "r").unwrap();
    assert_eq!((&result["status"], &result["error"]["kind"]), (&json!("failed"), &json!("bad_answer")), "{result}");
    assert!(result["error"]["message"].as_str().unwrap().contains("another token"), "{result}");
}

#[test]
fn rfc7252_4_2_an_answer_under_an_unknown_token_is_reset() {
    let mut gateway = Gateway::new();
    let unknown = confirmable(&request(Code::GET, 5, ""), 77, Code::CONTENT, "1");
    gateway.receive(peer(1), &unknown);
    assert_eq!(gateway.next_sent(), Some(Message::reset(77)));
    gateway.receive(peer(1), &unknown);
    assert_eq!(gateway.next_sent(), Some(Message::reset(77)), "a repetition hears the same");
    gateway.receive(peer(1), &answer(&unknown, Code::CONTENT));
    assert_eq!(gateway.next_sent(), None);
}

#[test]
fn rfc7252_5_8_methods_and_paths_that_are_not_served_are_4_05_and_4_04() {
    let mut gateway = Gateway::new();
    let location = gateway.register(peer(1), GOOD_QUERY, "</3/0>");
    let known = format!("rd/{location}");
    let cases = [
        (Code::GET, "rd", Code::METHOD_NOT_ALLOWED),
        (Code::PUT, "rd", Code::METHOD_NOT_ALLOWED),
        (Code::DELETE, "rd", Code::METHOD_NOT_ALLOWED),
        (Code::GET, &known, Code::METHOD_NOT_ALLOWED),
        (Code::PUT, &known, Code::METHOD_NOT_ALLOWED),
        (Code::FETCH, "dp", Code::METHOD_NOT_ALLOWED),
        (Code::GET, "dp", Code::METHOD_NOT_ALLOWED),
        (Code::new(0, 31), "rd", Code::METHOD_NOT_ALLOWED),
        (Code::POST, "bs", Code::NOT_FOUND),
        (Code::POST, "", Code::NOT_FOUND),
        (Code::POST, "rd/a/b", Code::NOT_FOUND),
        (Code::GET, "RD", Code::NOT_FOUND),
    ];
    for (id, (method, path, expected)) in (300..).zip(cases) {
        assert_eq!(gateway.ask(peer(1), &request(method, id, path)).code, expected, "{method} {path}");
    }
}

#[test]
fn rfc7252_5_10_1_a_query_that_is_no_utf_8_is_4_00() {
    let mut gateway = Gateway::new();
    let mut register = registration(GOOD_QUERY, "</3/0>");
    register.push_option(OptionNumber::URI_QUERY, vec![b'x', b'=', 0xff]);
    assert_eq!(gateway.ask(peer(1), &register).code, Code::BAD_REQUEST);
}

#[test]
fn rfc7252_4_2_requests_are_repeated_at_doubling_times_byte_for_byte() {
    let mut gateway = Gateway::new();
    let begin = gateway.now();
    // A device of 1.0 is asked without Accept; with one, a second round would follow without it.
    gateway.register(peer(1), "ep=dev&lt=300", "</3/0>");
    gateway.downlink("dev/command", &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    let read = gateway.next_sent().unwrap();
    gateway.pass(Duration::from_secs(100));
    let sent: Vec<_> = gateway.sent.drain(..).collect();
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|(_, to, message)| *to == peer(1) && *message == read));
    let times: Vec<f64> = sent.iter().map(|(at, ..)| at.saturating_since(begin).as_secs_f64()).collect();
    let first = times[0];
    assert!((2.0..=3.0).contains(&first), "{times:?}");
    for (time, expected) in times.iter().zip([1.0, 3.0, 7.0, 15.0]) {
        assert!((time - first * expected).abs() < 1e-3, "{times:?}");
    }
    let result = gateway.result("dev", "r").unwrap();
    assert_eq!((&result["status"], &result["error"]["kind"]), (&json!("failed"), &json!("unreachable")));
    assert_eq!(gateway.count(Occurrence::Retransmission), 4);
    assert_eq!(gateway.count(Occurrence::ExchangeTimedOut), 1);
}

#[test]
fn rfc7252_4_7_one_request_is_under_way_to_a_device() {
    let mut gateway = Gateway::new();
    let read = asked(&mut gateway);
    gateway.downlink("dev/command", &json!({"id": "s", "operation": "read", "path": "/3/0/1"}));
    assert_eq!(gateway.next_sent(), None);
    gateway.receive(peer(1), &text_answer(&read, "ACME"));
    let next = gateway.next_sent().unwrap();
    assert_eq!(target(&next), "/3/0/1");
    assert_ne!((next.id, next.token), (read.id, read.token));
}
