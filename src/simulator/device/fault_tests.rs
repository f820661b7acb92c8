//! Faults, bounds and the less common ways of a device.

use super::tests::{
    TEMPERATURE, answer, ask, events, observe, only, registered, registered_with, request, script, seconds, sent,
};
use super::*;
use crate::model::report::Sample;
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::content::ContentFormat;
use crate::simulator::script::Misbehaviour;

#[test]
fn faults_show_on_the_wire() {
    let faulty = |misbehaviour: Misbehaviour| registered_with(DeviceScript { misbehaviour, ..script() });
    let mut slow = faulty(Misbehaviour { answers_after: Some(Duration::from_secs(5)), ..Misbehaviour::default() });
    let get = request(Code::GET, 1, "/3303/0/5700");
    assert_eq!(ask(&mut slow, seconds(1), &get), Message::acknowledgement(1));
    slow.handle_timeout(seconds(6));
    let separate = only(&mut slow);
    assert_eq!((separate.message_type, separate.token), (MessageType::Confirmable, get.token));
    slow.handle_datagram(seconds(6), &Message::acknowledgement(separate.id).encode());
    assert_eq!(slow.next_deadline(), Some(seconds(150)));

    let mut twice = faulty(Misbehaviour { duplicates_datagrams: true, ..Misbehaviour::default() });
    while twice.poll_transmit().is_some() {}
    twice.handle_datagram(seconds(1), &get.encode());
    assert_eq!(sent(&mut twice).len(), 2);

    let mut mute = faulty(Misbehaviour { drops_unknown_accept: true, ..Misbehaviour::default() });
    let mut unknown = request(Code::GET, 2, "/3303/0/5700");
    unknown.push_uint(OptionNumber::ACCEPT, 9_999);
    mute.handle_datagram(seconds(1), &unknown.encode());
    assert!(sent(&mut mute).is_empty());

    let mut plain = faulty(Misbehaviour { omits_observe_option: true, ..Misbehaviour::default() });
    assert_eq!(observe(&mut plain, seconds(1), 3, "/3303/0/5700").observe(), None);

    let mut liar = faulty(Misbehaviour { claims_format: Some(ContentFormat::TLV), ..Misbehaviour::default() });
    assert_eq!(ask(&mut liar, seconds(1), &get).content_format(), Some(ContentFormat::TLV.0));

    let mut anew = faulty(Misbehaviour { registers_instead_of_update: true, ..Misbehaviour::default() });
    anew.handle_timeout(seconds(150));
    assert_eq!(only(&mut anew).uri_path(), ["rd"]);

    let mut deaf = faulty(Misbehaviour { ignores_reset: true, ..Misbehaviour::default() });
    observe(&mut deaf, seconds(1), 4, "/3303/0/5700");
    deaf.set_value(seconds(2), TEMPERATURE, Value::Float(1.0));
    let notification = only(&mut deaf);
    deaf.handle_datagram(seconds(2), &Message::reset(notification.id).encode());
    deaf.set_value(seconds(3), TEMPERATURE, Value::Float(2.0));
    assert_eq!(only(&mut deaf).token, notification.token);

    let mut picky = faulty(Misbehaviour { refuses_tlv: true, ..Misbehaviour::default() });
    let mut write = request(Code::PUT, 5, "/3306/0/5850");
    write.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(ContentFormat::TLV.0));
    write.payload = vec![0xe1, 0x16, 0xda, 1];
    assert_eq!(ask(&mut picky, seconds(1), &write).code, Code::UNSUPPORTED_CONTENT_FORMAT);
}

#[test]
fn queues_stay_within_their_bounds() {
    let mut device = registered();
    for id in 0..2_000_u16 {
        device.handle_datagram(seconds(1), &request(Code::GET, id, "/9/0").encode());
    }
    assert_eq!(sent(&mut device).len(), MAX_OUTGOING_DATAGRAMS);
    assert_eq!(events(&mut device).len(), MAX_EVENTS);
    assert!(device.dropped_events() > 0);
}

#[test]
fn observations_stay_within_their_bound() {
    let mut wide = script();
    for instance in 0..=MAX_OBSERVATIONS as u16 {
        wide = wide.with(Path::resource(3303, instance, 5700), Value::Float(1.0));
    }
    let mut device = registered_with(wide);
    for instance in 0..=MAX_OBSERVATIONS as u16 {
        let reply = observe(&mut device, seconds(1), instance, &format!("/3303/{instance}/5700"));
        assert_eq!(reply.observe().is_some(), usize::from(instance) < MAX_OBSERVATIONS);
    }
}

#[test]
fn the_con_attribute_decides_between_confirmable_and_not() {
    let mut device = registered_with(DeviceScript { confirmable_notifications: false, ..script() });
    observe(&mut device, seconds(1), 1, "/3303/0/5700");
    device.set_value(seconds(2), TEMPERATURE, Value::Float(1.0));
    device.set_value(seconds(2), TEMPERATURE, Value::Float(2.0));
    let unconfirmed = sent(&mut device);
    assert!(unconfirmed.iter().all(|message| message.message_type == MessageType::NonConfirmable));
    assert_eq!(unconfirmed.len(), 2);
    let mut attributes = request(Code::PUT, 2, "/3303");
    attributes.push_option(OptionNumber::URI_QUERY, b"con=1".to_vec());
    ask(&mut device, seconds(3), &attributes);
    device.set_value(seconds(4), TEMPERATURE, Value::Float(3.0));
    assert_eq!(only(&mut device).message_type, MessageType::Confirmable);
}

#[test]
fn rfc7641_4_5_one_notification_a_day_is_confirmable() {
    let mut script = DeviceScript { confirmable_notifications: false, ..script() };
    script.lifetime_secs = 0;
    let mut device = registered_with(script);
    observe(&mut device, seconds(1), 1, "/3303/0/5700");
    device.set_value(seconds(86_402), TEMPERATURE, Value::Float(1.0));
    assert_eq!(only(&mut device).message_type, MessageType::Confirmable);
}

#[test]
fn rfc7641_4_5_a_strict_device_forgets_the_observer_that_never_answers() {
    let misbehaviour = Misbehaviour { forgets_observation_when_lost: true, ..Misbehaviour::default() };
    let mut device = registered_with(DeviceScript { misbehaviour, ..script() });
    observe(&mut device, seconds(1), 1, "/3303/0/5700");
    device.set_value(seconds(2), TEMPERATURE, Value::Float(1.0));
    while device.observed_paths().next().is_some() {
        device.handle_timeout(device.next_deadline().unwrap());
    }
    assert!(events(&mut device).contains(&DeviceEvent::NotificationLost { path: TEMPERATURE, sequence: 2 }));
}

#[test]
fn a_device_may_sleep_without_having_said_so() {
    let misbehaviour = Misbehaviour { sleeps_unannounced: true, ..Misbehaviour::default() };
    let mut device = registered_with(DeviceScript { misbehaviour, ..script() });
    device.handle_timeout(seconds(93));
    assert!(device.is_asleep());
    device.handle_datagram(seconds(94), &request(Code::GET, 1, "/3303/0/5700").encode());
    assert!(sent(&mut device).is_empty());
}

#[test]
fn an_unconfirmed_send_leaves_the_line_free() {
    let mut device = registered_with(DeviceScript { confirmable_send: false, ..script() });
    let sample = Sample { path: TEMPERATURE, value: Value::Float(1.0), ts: None };
    for _ in 0..2 {
        device.send(seconds(1), std::slice::from_ref(&sample)).unwrap();
        let message = only(&mut device);
        assert_eq!((message.message_type, message.uri_path()), (MessageType::NonConfirmable, vec!["dp".to_owned()]));
    }
    device.update(seconds(1));
    let update = only(&mut device);
    device.handle_datagram(seconds(1), &answer(&update, Code::CHANGED).encode());
    assert_eq!(events(&mut device), [DeviceEvent::Updated]);
}

#[test]
fn an_alternate_root_is_part_of_every_path() {
    let mut device = registered_with(DeviceScript { root: "/lwm2m".to_owned(), ..script() });
    assert_eq!(ask(&mut device, seconds(1), &request(Code::GET, 1, "/lwm2m/3303/0/5700")).code, Code::CONTENT);
    assert_eq!(ask(&mut device, seconds(1), &request(Code::GET, 2, "/3303/0/5700")).code, Code::NOT_FOUND);
}

#[test]
fn an_update_behind_a_full_queue_is_made_up_for() {
    let mut device = registered();
    let sample = Sample { path: TEMPERATURE, value: Value::Float(1.0), ts: None };
    while device.send(seconds(1), std::slice::from_ref(&sample)).is_ok() {}
    device.update(seconds(1));
    let answer_all = |device: &mut SimulatedDevice, now| {
        let mut paths = Vec::new();
        while let Some(bytes) = device.poll_transmit() {
            let message = Message::decode(&bytes).unwrap();
            device.handle_datagram(now, &answer(&message, Code::CHANGED).encode());
            paths.push(message.uri_path().join("/"));
        }
        paths
    };
    assert_eq!(answer_all(&mut device, seconds(1)), vec!["dp"; MAX_WAITING_REQUESTS + 1]);
    assert_eq!(device.next_deadline(), Some(seconds(6)));
    device.handle_timeout(seconds(6));
    assert_eq!(answer_all(&mut device, seconds(6)), ["rd/7"]);
}
