//! Observations from beginning to end (RFC 7641), by datagrams against the whole core.

use std::time::Duration;

use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageType};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use serde_json::json;

use super::gateway::{
    GOOD_QUERY, Gateway, OBSERVE_TEMPERATURES, answer, confirmable, non_confirmable, notification, observed, peer,
    target, text_answer,
};

/// A registered device whose temperature is observed, 20 degrees under sequence number 10; the Observe.
fn observing() -> (Gateway, Message) {
    let mut gateway = Gateway::with(OBSERVE_TEMPERATURES, |_| {});
    let observe = gateway.register_for_observe(peer(1), GOOD_QUERY);
    gateway.receive(peer(1), &observed(&observe, 10, "20"));
    assert_eq!(gateway.next_sent(), None);
    (gateway, observe)
}

/// Lets a notification arrive and expects it to be acknowledged.
fn notify(gateway: &mut Gateway, message: &Message) {
    gateway.receive(peer(1), message);
    assert_eq!(gateway.next_sent(), Some(Message::acknowledgement(message.id)));
}

fn temperatures(gateway: &Gateway) -> Vec<f64> {
    gateway.values("dev", "t_0")
}

#[test]
fn rfc7641_3_1_an_observe_is_made_once_and_its_answer_is_a_value() {
    let (mut gateway, observe) = observing();
    assert_eq!(target(&observe), "/3303/0/5700");
    assert_eq!(temperatures(&gateway), [20.0]);
    gateway.pass(Duration::from_secs(60));
    assert_eq!(gateway.next_sent(), None);
}

#[test]
fn rfc7641_3_2_notifications_are_acknowledged_and_published() {
    let (mut gateway, observe) = observing();
    for (index, text) in (0..).zip(["21", "22.5", "-3"]) {
        notify(&mut gateway, &notification(&observe, 800 + index, 11 + u32::from(index), text));
    }
    assert_eq!(temperatures(&gateway), [20.0, 21.0, 22.5, -3.0]);
    assert_eq!(gateway.count(Occurrence::Notification), 3);
}

#[test]
fn rfc7641_3_4_a_late_notification_is_acknowledged_and_not_published() {
    let (mut gateway, observe) = observing();
    notify(&mut gateway, &notification(&observe, 800, 15, "25"));
    notify(&mut gateway, &notification(&observe, 801, 14, "24"));
    notify(&mut gateway, &notification(&observe, 802, 15, "25"));
    assert_eq!(temperatures(&gateway), [20.0, 25.0]);
    assert_eq!(gateway.count(Occurrence::StaleNotification), 2);
}

#[test]
fn rfc7641_3_4_the_sequence_wraps_at_24_bits_and_means_nothing_after_128_seconds() {
    let (mut gateway, observe) = observing();
    notify(&mut gateway, &notification(&observe, 800, 0x80_0009, "21"));
    notify(&mut gateway, &notification(&observe, 801, 0xff_ffff, "22"));
    notify(&mut gateway, &notification(&observe, 802, 0, "23"));
    assert_eq!(temperatures(&gateway), [20.0, 21.0, 22.0, 23.0]);
    // The half of the circle behind is older.
    notify(&mut gateway, &notification(&observe, 803, 0x80_0001, "99"));
    assert_eq!(temperatures(&gateway).last(), Some(&23.0));
    gateway.pass(Duration::from_secs(129));
    notify(&mut gateway, &notification(&observe, 804, 0x80_0001, "24"));
    assert_eq!(temperatures(&gateway).last(), Some(&24.0));
}

#[test]
fn rfc7641_3_5_a_repeated_notification_is_acknowledged_again_and_published_once() {
    let (mut gateway, observe) = observing();
    for _ in 0..3 {
        notify(&mut gateway, &notification(&observe, 800, 11, "21"));
    }
    assert_eq!(temperatures(&gateway), [20.0, 21.0]);
    assert_eq!(gateway.count(Occurrence::DuplicateAnswered), 2);
}

#[test]
fn rfc7641_4_2_non_confirmable_notifications_are_taken_in_silence() {
    let (mut gateway, observe) = observing();
    for _ in 0..2 {
        gateway.receive(peer(1), &non_confirmable(notification(&observe, 0, 11, "21"), 800));
        assert_eq!(gateway.next_sent(), None);
    }
    assert_eq!(temperatures(&gateway), [20.0, 21.0]);
}

#[test]
fn rfc7641_4_2_an_error_ends_the_observation_which_is_made_anew_later() {
    let (mut gateway, observe) = observing();
    notify(&mut gateway, &confirmable(&observe, 800, Code::NOT_FOUND, ""));
    // The token is dead from now on.
    gateway.receive(peer(1), &notification(&observe, 801, 12, "99"));
    assert_eq!(gateway.next_sent(), Some(Message::reset(801)));
    gateway.pass(Duration::from_secs(59));
    assert_eq!(gateway.next_sent(), None);
    gateway.pass(Duration::from_secs(2));
    let again = gateway.next_observe(peer(1));
    assert_ne!(again.token, observe.token);
    gateway.receive(peer(1), &observed(&again, 1, "30"));
    assert_eq!(temperatures(&gateway), [20.0, 30.0]);
}

#[test]
fn rfc7641_4_2_an_observation_without_attributes_is_made_anew_without_writing_any() {
    let mut gateway = Gateway::new();
    gateway.register(peer(1), GOOD_QUERY, "</3303/0>");
    gateway.downlink("dev/command", &json!({"id": "o", "operation": "observe", "path": "/3303/0/5700"}));
    let observe = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &observed(&observe, 10, "20"));
    notify(&mut gateway, &confirmable(&observe, 800, Code::INTERNAL_SERVER_ERROR, ""));
    gateway.pass(Duration::from_secs(61));
    let again = gateway.next_sent().unwrap();
    assert_eq!((again.code, again.observe()), (Code::GET, Some(0)), "a PUT without anything would be a write");
}

#[test]
fn rfc7641_4_2_an_observation_that_ends_while_nobody_wants_it_is_not_made_anew() {
    let (mut gateway, observe) = observing();
    gateway.load("version = 1\n");
    let cancel = gateway.next_sent().unwrap();
    assert_eq!(cancel.observe(), Some(1));
    // The device says by itself that it is over, before it sees the cancellation.
    let mut over = confirmable(&observe, 800, Code::NOT_FOUND, "");
    over.push_uint(OptionNumber::OBSERVE, 12);
    notify(&mut gateway, &over);
    gateway.receive(peer(1), &text_answer(&cancel, "20"));
    gateway.pass(Duration::from_secs(120));
    assert_eq!(gateway.next_sent(), None);
}

#[test]
fn rfc7641_3_2_a_notification_without_the_option_is_tolerated() {
    let (mut gateway, observe) = observing();
    notify(&mut gateway, &confirmable(&observe, 800, Code::CONTENT, "21"));
    notify(&mut gateway, &confirmable(&observe, 801, Code::CONTENT, "22"));
    assert_eq!(temperatures(&gateway), [20.0, 21.0, 22.0]);
    assert_eq!(gateway.count(Occurrence::Quirk("no_observe_option")), 2);
}

#[test]
fn rfc7641_3_2_a_notification_from_another_address_is_accepted() {
    let (mut gateway, observe) = observing();
    gateway.receive(peer(2), &notification(&observe, 800, 11, "21"));
    let (_, to, message) = gateway.sent.pop_front().unwrap();
    assert_eq!((to, message), (peer(2), Message::acknowledgement(800)));
    assert_eq!(temperatures(&gateway), [20.0, 21.0]);
}

#[test]
fn rfc7641_4_5_a_notification_is_acknowledged_only_when_it_is_durable() {
    let (mut gateway, observe) = observing();
    gateway.store_holds = true;
    let message = notification(&observe, 800, 11, "21");
    gateway.receive(peer(1), &message);
    gateway.receive(peer(1), &message);
    assert_eq!(gateway.next_sent(), None);
    assert_eq!(temperatures(&gateway), [20.0], "nothing leaves to the broker before it is durable");
    gateway.confirm();
    assert_eq!(gateway.next_sent(), Some(Message::acknowledgement(800)));
    assert_eq!(gateway.next_sent(), None);
    assert_eq!(temperatures(&gateway), [20.0, 21.0]);
}

#[test]
fn rfc7641_3_6_what_the_mapping_no_longer_wants_is_cancelled_with_its_own_token() {
    let (mut gateway, observe) = observing();
    gateway.load("version = 1\n");
    let cancel = gateway.next_sent().unwrap();
    assert_eq!((cancel.code, cancel.observe()), (Code::GET, Some(1)));
    assert_eq!((cancel.token, target(&cancel)), (observe.token, target(&observe)));
    assert_ne!(cancel.id, observe.id);
    gateway.receive(peer(1), &text_answer(&cancel, "20"));
    gateway.receive(peer(1), &notification(&observe, 800, 11, "21"));
    assert_eq!(gateway.next_sent(), Some(Message::reset(800)));
    assert_eq!(temperatures(&gateway), [20.0]);
}

#[test]
fn rfc7641_3_6_a_cancellation_may_be_answered_separately() {
    let (mut gateway, observe) = observing();
    gateway.load("version = 1\n");
    let cancel = gateway.next_sent().unwrap();
    gateway.receive(peer(1), &Message::acknowledgement(cancel.id));
    // A last notification crosses it.
    notify(&mut gateway, &notification(&observe, 800, 11, "21"));
    notify(&mut gateway, &confirmable(&observe, 801, Code::CONTENT, "22"));
    gateway.receive(peer(1), &notification(&observe, 802, 12, "23"));
    assert_eq!(gateway.next_sent(), Some(Message::reset(802)));
    gateway.pass(Duration::from_secs(100));
    assert_eq!(gateway.next_sent(), None);
}

#[test]
fn rfc7641_4_1_an_observe_that_is_refused_is_left_alone_and_one_without_effect_is_a_read() {
    let mut gateway = Gateway::with(OBSERVE_TEMPERATURES, |_| {});
    let observe = gateway.register_for_observe(peer(1), GOOD_QUERY);
    gateway.receive(peer(1), &answer(&observe, Code::METHOD_NOT_ALLOWED));
    gateway.pass(Duration::from_secs(200));
    assert_eq!(gateway.next_sent(), None);
    let observe = gateway.register_for_observe(peer(2), "ep=other&lt=300&lwm2m=1.1");
    gateway.receive(peer(2), &text_answer(&observe, "20"));
    assert_eq!(gateway.values("other", "t_0"), [20.0]);
    assert_eq!(gateway.next_sent(), None);
    gateway.receive(peer(2), &notification(&observe, 800, 11, "21"));
    assert_eq!(gateway.next_sent(), Some(Message::reset(800)));
}

#[test]
fn rfc7641_4_1_the_first_answer_may_come_separately_and_before_its_acknowledgement() {
    let mut gateway = Gateway::with(OBSERVE_TEMPERATURES, |_| {});
    let observe = gateway.register_for_observe(peer(1), GOOD_QUERY);
    notify(&mut gateway, &notification(&observe, 800, 10, "20"));
    gateway.receive(peer(1), &Message::acknowledgement(observe.id));
    notify(&mut gateway, &notification(&observe, 801, 11, "21"));
    assert_eq!(temperatures(&gateway), [20.0, 21.0]);
    assert_eq!(notification(&observe, 801, 11, "21").message_type, MessageType::Confirmable);
}
