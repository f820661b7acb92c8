//! Block-wise transfers in both directions (RFC 7959), by datagrams against the whole core.

use std::fmt::Write as _;

use std::time::Duration;

use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::protocol::coap::message::{Code, Message};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use serde_json::json;

use super::gateway::{
    GOOD_QUERY, Gateway, OBSERVE_TEMPERATURES, answer, block, notification, observed, peer, registration, target,
    text_answer, with_block,
};

const BLOCK1: OptionNumber = OptionNumber::BLOCK1;
const BLOCK2: OptionNumber = OptionNumber::BLOCK2;

/// An object list of some 300 bytes.
fn long_list() -> String {
    let mut list = "</3/0>".to_owned();
    for instance in 0..25 {
        write!(list, ",</3303/{instance}>").unwrap();
    }
    list
}

/// The Register of [`long_list`], cut into pieces.
fn register_pieces(size: usize) -> Vec<Message> {
    let whole = registration(GOOD_QUERY, &long_list());
    let count = whole.payload.len().div_ceil(size);
    let pieces = whole.payload.chunks(size).enumerate().map(|(number, piece)| {
        let mut message = with_block(whole.clone(), BLOCK1, number as u32, number + 1 < count, size);
        message.id = 500 + number as u16;
        message.payload = piece.to_vec();
        message
    });
    pieces.collect()
}

/// A registered device with a command for it, and the request that the gateway sends.
fn commanded(gateway: &mut Gateway, command: &serde_json::Value) -> Message {
    gateway.register(peer(1), GOOD_QUERY, "</3/0>,</3303/0>,</5/0>,</19/0>");
    gateway.downlink("dev/command", command);
    gateway.next_sent().unwrap()
}

fn read(gateway: &mut Gateway) -> Message {
    commanded(gateway, &json!({"id": "r", "operation": "read", "path": "/3/0/0"}))
}

/// A piece of a text answer.
fn piece(request: &Message, number: u32, more: bool, text: &str) -> Message {
    with_block(text_answer(request, text), BLOCK2, number, more, 16)
}

#[test]
fn rfc7959_2_5_a_register_in_blocks_registers_when_the_last_has_come() {
    for size in [16, 64, 128] {
        let mut gateway = Gateway::new();
        let pieces = register_pieces(size);
        let (last, first) = pieces.split_last().unwrap();
        for (number, message) in first.iter().enumerate() {
            let answer = gateway.ask(peer(1), message);
            assert_eq!(answer.code, Code::CONTINUE);
            assert_eq!(block(&answer, BLOCK1), Some((number as u32, true, size)));
        }
        assert_eq!(gateway.gauges().devices_online, 0);
        let answer = gateway.ask(peer(1), last);
        assert_eq!(answer.code, Code::CREATED);
        assert_eq!(block(&answer, BLOCK1), Some((first.len() as u32, false, size)));
        let info = gateway.bodies("dev/info").pop().unwrap();
        assert_eq!(info["objects"]["3303"]["instances"].as_array().map(Vec::len), Some(25), "{info}");
    }
}

#[test]
fn rfc7959_2_5_a_repeated_block_is_answered_the_same_and_counted_once() {
    let mut gateway = Gateway::new();
    let pieces = register_pieces(64);
    for message in &pieces {
        let first = gateway.ask(peer(1), message);
        assert_eq!(gateway.ask(peer(1), message), first);
    }
    assert_eq!(gateway.gauges().devices_online, 1);
}

#[test]
fn rfc7959_2_9_2_a_gap_is_4_08_and_the_first_block_begins_anew() {
    let mut gateway = Gateway::new();
    let pieces = register_pieces(64);
    assert_eq!(gateway.ask(peer(1), &pieces[1]).code, Code::REQUEST_ENTITY_INCOMPLETE, "no first block");
    assert_eq!(gateway.ask(peer(1), &pieces[0]).code, Code::CONTINUE);
    let refused = gateway.ask(peer(1), &pieces[2]);
    assert_eq!((refused.code, refused.payload.len()), (Code::REQUEST_ENTITY_INCOMPLETE, 0));
    for (number, message) in pieces.iter().enumerate() {
        let mut again = message.clone();
        again.id = 600 + number as u16;
        let expected = if number + 1 < pieces.len() { Code::CONTINUE } else { Code::CREATED };
        assert_eq!(gateway.ask(peer(1), &again).code, expected);
    }
}

#[test]
fn rfc7959_2_5_blocks_of_two_devices_are_kept_apart() {
    let mut gateway = Gateway::new();
    let pieces = register_pieces(128);
    assert_eq!(gateway.ask(peer(1), &pieces[0]).code, Code::CONTINUE);
    assert_eq!(gateway.ask(peer(2), &pieces[1]).code, Code::REQUEST_ENTITY_INCOMPLETE);
    assert_eq!(gateway.ask(peer(1), &pieces[1]).code, Code::CONTINUE);
}

#[test]
fn rfc7959_2_9_3_a_body_beyond_the_bound_is_4_13() {
    let mut gateway = Gateway::with("version = 1\n", |to| to.limits.max_transfer_bytes = 128);
    let pieces = register_pieces(64);
    assert_eq!(gateway.ask(peer(1), &pieces[0]).code, Code::CONTINUE);
    assert_eq!(gateway.ask(peer(1), &pieces[1]).code, Code::CONTINUE);
    assert_eq!(gateway.ask(peer(1), &pieces[2]).code, Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(gateway.count(Occurrence::BoundReached("max_transfer_bytes")), 1);
    assert_eq!(gateway.ask(peer(1), &pieces[3]).code, Code::REQUEST_ENTITY_INCOMPLETE, "nothing was kept");
}

#[test]
fn rfc7959_2_2_the_reserved_size_is_4_00() {
    let mut gateway = Gateway::new();
    let mut register = registration(GOOD_QUERY, "</3/0>");
    register.push_option(BLOCK1, vec![0x0f]);
    assert_eq!(gateway.ask(peer(1), &register).code, Code::BAD_REQUEST);
}

#[test]
fn rfc7959_2_4_an_answer_in_blocks_is_put_together() {
    let mut gateway = Gateway::new();
    let first = read(&mut gateway);
    gateway.receive(peer(1), &piece(&first, 0, true, "Advanced Corpora"));
    let second = gateway.next_sent().unwrap();
    assert_eq!((block(&second, BLOCK2), target(&second)), (Some((1, false, 16)), "/3/0/0".to_owned()));
    assert_ne!(second.id, first.id);
    gateway.receive(peer(1), &piece(&second, 1, true, "tion for Making "));
    let third = gateway.next_sent().unwrap();
    assert_eq!(block(&third, BLOCK2), Some((2, false, 16)));
    gateway.receive(peer(1), &piece(&third, 2, false, "Everything"));
    assert_eq!(gateway.result("dev", "r").unwrap()["value"], "Advanced Corporation for Making Everything");
    assert_eq!(gateway.next_sent(), None);
}

#[test]
fn rfc7959_2_4_an_answer_of_a_single_block_is_whole() {
    let mut gateway = Gateway::new();
    let first = read(&mut gateway);
    gateway.receive(peer(1), &piece(&first, 0, false, "ACME"));
    assert_eq!(gateway.result("dev", "r").unwrap()["value"], "ACME");
}

#[test]
fn rfc7959_2_4_the_wrong_block_restarts_once() {
    let mut gateway = Gateway::new();
    let first = read(&mut gateway);
    gateway.receive(peer(1), &piece(&first, 0, true, "Advanced Corpora"));
    let second = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &piece(&second, 5, true, "0123456789abcdef"));
    let again = gateway.next_sent().unwrap();
    assert_eq!(block(&again, BLOCK2), Some((0, false, 16)));
    gateway.receive(peer(1), &piece(&again, 0, true, "Another value of"));
    let rest = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &piece(&rest, 1, false, " it"));
    assert_eq!(gateway.result("dev", "r").unwrap()["value"], "Another value of it");
}

#[test]
fn rfc7959_2_4_the_wrong_block_twice_ends_the_transfer() {
    let mut gateway = Gateway::new();
    let first = read(&mut gateway);
    gateway.receive(peer(1), &piece(&first, 0, true, "Advanced Corpora"));
    let second = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &piece(&second, 5, true, "0123456789abcdef"));
    let again = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &piece(&again, 5, true, "0123456789abcdef"));
    assert_eq!(gateway.result("dev", "r").unwrap()["status"], "failed");
    assert_eq!(gateway.next_sent(), None);
}

#[test]
fn rfc7959_2_4_pieces_of_two_values_are_never_joined() {
    let mut gateway = Gateway::new();
    let with_tag = |mut message: Message, tag: u8| {
        message.push_option(OptionNumber::ETAG, vec![tag]);
        message
    };
    let first = read(&mut gateway);
    gateway.receive(peer(1), &with_tag(piece(&first, 0, true, "Advanced Corpora"), 1));
    let second = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &with_tag(piece(&second, 1, false, "!"), 2));
    let again = gateway.next_sent().unwrap();
    assert_eq!(block(&again, BLOCK2), Some((0, false, 16)));
    gateway.receive(peer(1), &with_tag(piece(&again, 0, true, "What it is since"), 2));
    let rest = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &with_tag(piece(&rest, 1, false, "!"), 2));
    assert_eq!(gateway.result("dev", "r").unwrap()["value"], "What it is since!");
}

#[test]
fn rfc7959_2_4_an_answer_beyond_the_bound_fails() {
    let mut gateway = Gateway::with("version = 1\n", |to| to.limits.max_transfer_bytes = 20);
    let first = read(&mut gateway);
    gateway.receive(peer(1), &piece(&first, 0, true, "Advanced Corpora"));
    let second = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &piece(&second, 1, true, "tion for Making "));
    assert_eq!(gateway.result("dev", "r").unwrap()["status"], "failed");
    assert_eq!(gateway.count(Occurrence::BoundReached("max_transfer_bytes")), 1);
    assert_eq!(gateway.next_sent(), None);
}

#[test]
fn rfc7959_2_6_an_observation_whose_first_answer_has_blocks_keeps_the_token_of_the_observe() {
    for restart in [false, true] {
        let mut gateway = Gateway::with(OBSERVE_TEMPERATURES, |_| {});
        let observe = gateway.register_for_observe(peer(1), GOOD_QUERY);
        gateway.receive(peer(1), &with_block(observed(&observe, 7, "0000000000000020"), BLOCK2, 0, true, 16));
        let mut rest = gateway.next_sent().unwrap();
        assert_eq!(rest.observe(), None);
        if restart {
            gateway.receive(peer(1), &piece(&rest, 4, false, "?"));
            let again = gateway.next_sent().unwrap();
            gateway.receive(peer(1), &piece(&again, 0, true, "0000000000000020"));
            rest = gateway.next_sent().unwrap();
        }
        gateway.receive(peer(1), &piece(&rest, 1, false, ".5"));
        assert_eq!(gateway.values("dev", "t_0"), [20.5]);
        gateway.receive(peer(1), &notification(&observe, 40, 8, "21.5"));
        assert_eq!(gateway.next_sent(), Some(Message::acknowledgement(40)), "restart: {restart}");
        assert_eq!(gateway.values("dev", "t_0"), [20.5, 21.5]);
    }
}

#[test]
fn rfc7959_2_6_a_notification_in_blocks_is_read_as_a_whole() {
    let mut gateway = Gateway::with(OBSERVE_TEMPERATURES, |_| {});
    let observe = gateway.register_for_observe(peer(1), GOOD_QUERY);
    gateway.receive(peer(1), &observed(&observe, 1, "20"));
    gateway.receive(peer(1), &with_block(notification(&observe, 40, 2, "0000000000000021"), BLOCK2, 0, true, 16));
    assert_eq!(gateway.next_sent(), Some(Message::acknowledgement(40)));
    let read = gateway.next_sent().unwrap();
    assert_eq!((read.observe(), target(&read).as_str()), (None, "/3303/0/5700"));
    gateway.receive(peer(1), &piece(&read, 0, true, "0000000000000021"));
    let rest = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &piece(&rest, 1, false, ".25"));
    assert_eq!(gateway.values("dev", "t_0"), [20.0, 21.25]);
}

/// A write of 2,500 bytes to a string resource.
fn large_write(gateway: &mut Gateway) -> (String, Message) {
    let value: String = (0..2_500).map(|index: u32| char::from(b'a' + (index % 26) as u8)).collect();
    let command = json!({"id": "w", "operation": "write", "path": "/3/0/15", "value": value});
    let first = commanded(gateway, &command);
    assert_eq!((first.code, block(&first, BLOCK1)), (Code::PUT, Some((0, true, 1024))));
    assert_eq!(first.uint(OptionNumber::SIZE1), Some(2_500));
    (value, first)
}

#[test]
fn rfc7959_2_5_a_large_write_leaves_in_pieces() {
    let mut gateway = Gateway::new();
    let (value, mut request) = large_write(&mut gateway);
    let mut body = Vec::new();
    for (number, more) in [(0, true), (1, true), (2, false)] {
        assert_eq!(block(&request, BLOCK1), Some((number, more, 1024)));
        body.extend_from_slice(&request.payload);
        let code = if more { Code::CONTINUE } else { Code::CHANGED };
        gateway.receive(peer(1), &with_block(answer(&request, code), BLOCK1, number, more, 1024));
        if more {
            request = gateway.next_sent().unwrap();
        }
    }
    assert_eq!(body, value.as_bytes());
    let result = gateway.result("dev", "w").unwrap();
    assert_eq!((&result["status"], &result["code"]), (&json!("done"), &json!("2.04")));
}

#[test]
fn rfc7959_2_5_a_device_that_wants_smaller_pieces_gets_them_from_where_it_is() {
    let mut gateway = Gateway::new();
    let (value, first) = large_write(&mut gateway);
    let mut body = first.payload.clone();
    gateway.receive(peer(1), &with_block(answer(&first, Code::CONTINUE), BLOCK1, 0, true, 256));
    let mut number = 4;
    loop {
        let request = gateway.next_sent().unwrap();
        let more = body.len() + request.payload.len() < value.len();
        assert_eq!(block(&request, BLOCK1), Some((number, more, 256)));
        body.extend_from_slice(&request.payload);
        let code = if more { Code::CONTINUE } else { Code::CHANGED };
        gateway.receive(peer(1), &with_block(answer(&request, code), BLOCK1, number, more, 256));
        if !more {
            break;
        }
        number += 1;
    }
    assert_eq!(body, value.as_bytes());
    assert_eq!(gateway.result("dev", "w").unwrap()["status"], "done");
}

#[test]
fn rfc7959_2_9_3_a_first_piece_that_is_too_large_is_sent_again_smaller() {
    let mut gateway = Gateway::new();
    let (value, first) = large_write(&mut gateway);
    gateway.receive(peer(1), &with_block(answer(&first, Code::REQUEST_ENTITY_TOO_LARGE), BLOCK1, 0, false, 128));
    let smaller = gateway.next_sent().unwrap();
    assert_eq!(block(&smaller, BLOCK1), Some((0, true, 128)));
    assert_eq!(smaller.payload, &value.as_bytes()[..128]);
    // Without a smaller size it is an answer like any other.
    gateway.receive(peer(1), &answer(&smaller, Code::REQUEST_ENTITY_TOO_LARGE));
    let result = gateway.result("dev", "w").unwrap();
    assert_eq!((&result["status"], &result["code"]), (&json!("failed"), &json!("4.13")));
}

#[test]
fn rfc7959_2_9_2_a_write_begins_anew_once_when_the_device_lost_pieces() {
    let mut gateway = Gateway::new();
    let (_, first) = large_write(&mut gateway);
    gateway.receive(peer(1), &with_block(answer(&first, Code::CONTINUE), BLOCK1, 0, true, 1024));
    let second = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &answer(&second, Code::REQUEST_ENTITY_INCOMPLETE));
    let again = gateway.next_sent().unwrap();
    assert_eq!(block(&again, BLOCK1), Some((0, true, 1024)));
    assert_ne!(again.token, first.token);
    gateway.receive(peer(1), &answer(&again, Code::REQUEST_ENTITY_INCOMPLETE));
    assert_eq!(gateway.result("dev", "w").unwrap()["code"], "4.08");
    assert_eq!(gateway.next_sent(), None);
}

/// Lets a request go unanswered to the end of its retransmissions; what is sent next.
fn given_up(gateway: &mut Gateway, request: &Message) -> Option<Message> {
    for _ in 0..200 {
        gateway.pass(Duration::from_secs(1));
        while let Some(next) = gateway.next_sent() {
            if next.id != request.id {
                return Some(next);
            }
        }
    }
    None
}

#[test]
fn rfc7959_2_5_a_piece_in_the_middle_that_nobody_answers_has_a_second_try_and_the_first_has_none() {
    let mut gateway = Gateway::new();
    let (_, first) = large_write(&mut gateway);
    assert_eq!(given_up(&mut gateway, &first), None);
    assert_eq!(gateway.result("dev", "w").unwrap()["error"]["kind"], "unreachable");
    let mut gateway = Gateway::new();
    let (_, first) = large_write(&mut gateway);
    gateway.receive(peer(1), &with_block(answer(&first, Code::CONTINUE), BLOCK1, 0, true, 1024));
    let second = gateway.next_sent().unwrap();
    let again = given_up(&mut gateway, &second).expect("a second try");
    assert_eq!((block(&again, BLOCK1), &again.payload), (Some((1, true, 1024)), &second.payload));
    gateway.receive(peer(1), &with_block(answer(&again, Code::CONTINUE), BLOCK1, 1, true, 1024));
    let third = gateway.next_sent().unwrap();
    let again = given_up(&mut gateway, &third).expect("each piece has one");
    assert_eq!(given_up(&mut gateway, &again), None);
    assert_eq!(gateway.result("dev", "w").unwrap()["error"]["kind"], "unreachable");
}

#[test]
fn rfc7959_2_9_2_a_second_try_that_does_not_follow_on_is_there_already_and_the_next_piece_decides() {
    let mut gateway = Gateway::new();
    let (_, first) = large_write(&mut gateway);
    gateway.receive(peer(1), &with_block(answer(&first, Code::CONTINUE), BLOCK1, 0, true, 1024));
    let second = gateway.next_sent().unwrap();
    let again = given_up(&mut gateway, &second).expect("a second try");
    gateway.receive(peer(1), &answer(&again, Code::REQUEST_ENTITY_INCOMPLETE));
    let third = gateway.next_sent().unwrap();
    assert_eq!(block(&third, BLOCK1), Some((2, false, 1024)), "only the answers were lost");
    gateway.receive(peer(1), &answer(&third, Code::REQUEST_ENTITY_INCOMPLETE));
    let anew = gateway.next_sent().unwrap();
    assert_eq!(block(&anew, BLOCK1), Some((0, true, 1024)), "the device lost the beginning after all");
}

#[test]
fn rfc7959_2_4_a_piece_that_does_not_come_is_asked_for_once_more() {
    let mut gateway = Gateway::new();
    let first = read(&mut gateway);
    gateway.receive(peer(1), &piece(&first, 0, true, "Advanced Corpora"));
    let second = gateway.next_sent().unwrap();
    let again = given_up(&mut gateway, &second).expect("a second try");
    assert_eq!(block(&again, BLOCK2), Some((1, false, 16)));
    gateway.receive(peer(1), &piece(&again, 1, false, "tion"));
    assert_eq!(gateway.result("dev", "r").unwrap()["value"], "Advanced Corporation");
}

#[test]
fn rfc7959_2_5_a_piece_of_what_must_not_be_repeated_has_no_second_try() {
    let mut gateway = Gateway::new();
    let value = "x".repeat(2_500);
    let command = json!({"id": "c", "operation": "create", "path": "/16", "values": {"0": {"0": value}}});
    let first = commanded(&mut gateway, &command);
    gateway.receive(peer(1), &with_block(answer(&first, Code::CONTINUE), BLOCK1, 0, true, 1024));
    let second = gateway.next_sent().unwrap();
    assert_eq!(given_up(&mut gateway, &second), None);
    assert_eq!(gateway.result("dev", "c").unwrap()["status"], "unknown");
}
