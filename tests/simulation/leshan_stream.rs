//! What the core tells the Leshan-compatible API: registrations, and what devices report before any mapping.

use std::time::Duration;

use lwm2mqtt::gateway::vocabulary::{Answer, Output, Query};
use lwm2mqtt::model::event::EventKind;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::protocol::coap::message::Code;
use lwm2mqtt::protocol::coap::option::OptionNumber;
use serde_json::{Value as Json, json};

use crate::conformance::gateway::{
    GOOD_QUERY, Gateway, OBSERVE_TEMPERATURES, confirmable, observed, peer, registration, request, text_answer,
};

fn streaming(mapping: &str) -> Gateway {
    Gateway::with(mapping, |configuration| configuration.streams_samples = true)
}

/// What happened to registrations, with their ids.
fn registrations(gateway: &Gateway) -> Vec<(EventKind, String)> {
    let told = gateway.streamed.iter().filter_map(|output| match output {
        Output::Registration { kind, registration } => Some((*kind, registration.id.clone())),
        _ => None,
    });
    told.collect()
}

fn clients(gateway: &mut Gateway, endpoint: Option<&str>) -> Answer {
    let answers = gateway.answers_to(Query::Registrations { endpoint: endpoint.map(str::to_owned) });
    let [answer] = <[Answer; 1]>::try_from(answers).unwrap();
    answer
}

#[test]
fn a_registration_is_told_when_it_begins_is_updated_and_ends() {
    let mut gateway = streaming("version = 1\n");
    let first = gateway.register(peer(1), GOOD_QUERY, "</3/0>");
    let update = request(Code::POST, 2, &format!("rd/{first}?lt=600"));

    gateway.ask(peer(1), &update);
    // Registered anew: the registration before it ends first.
    let mut again = registration(GOOD_QUERY, "</3/0>");
    again.id = 3;
    gateway.ask(peer(1), &again);
    let second = registrations(&gateway).last().unwrap().1.clone();
    gateway.ask(peer(1), &request(Code::DELETE, 4, &format!("rd/{second}")));
    assert_eq!(
        registrations(&gateway),
        [
            (EventKind::Registered, first.clone()),
            (EventKind::Updated, first.clone()),
            (EventKind::Deregistered, first),
            (EventKind::Registered, second.clone()),
            (EventKind::Deregistered, second),
        ]
    );
    gateway.streamed.clear();
    let mut last = registration(GOOD_QUERY, "</3/0>");
    last.id = 5;
    gateway.ask(peer(1), &last);
    gateway.pass(Duration::from_secs(330));
    assert_eq!(registrations(&gateway).last().unwrap().0, EventKind::Expired);
}

#[test]
fn registrations_in_force_are_listed_and_tell_their_last_update() {
    let mut gateway = streaming("version = 1\n");
    gateway.register(
        peer(2),
        "ep=b&lt=300&lwm2m=1.1&b=U&x=y",
        "</>;rt=\"oma.lwm2m\";ct=112,</1>;ver=1.1,</1/0>,</3/0>",
    );
    let location = gateway.register(peer(1), "ep=a&lt=300&lwm2m=1.1&b=U&Q", "</3/0>");
    let Answer::Body(all) = clients(&mut gateway, None) else { panic!() };
    let names: Vec<&Json> = all.as_array().unwrap().iter().map(|client| &client["endpoint"]).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(all[1]["objectLinks"][1], json!({"url": "/1", "attributes": {"ver": "1.1"}}));
    assert_eq!(
        (&all[1]["additionalRegistrationAttributes"], &all[1]["address"]),
        (&json!({"x": "y"}), &json!("10.1.0.2:40000"))
    );
    assert_eq!((&all[0]["queuemode"], &all[0]["sleeping"]), (&json!(true), &json!(false)));

    gateway.pass(Duration::from_secs(100));
    let Answer::Body(asleep) = clients(&mut gateway, Some("a")) else { panic!() };
    assert_eq!(asleep["sleeping"], true);
    gateway.ask(peer(1), &request(Code::POST, 9, &format!("rd/{location}?lt=600")));
    let Answer::Body(updated) = clients(&mut gateway, Some("a")) else { panic!() };
    let since = updated["lastUpdate"].as_i64().unwrap() - updated["registrationDate"].as_i64().unwrap();
    assert_eq!((since, &updated["lifetime"]), (100_000, &json!(600)));

    gateway.ask(peer(1), &request(Code::DELETE, 10, &format!("rd/{location}")));
    assert_eq!(clients(&mut gateway, Some("a")), Answer::UnknownDevice, "known, but not registered");
    assert_eq!(clients(&mut gateway, Some("nobody")), Answer::UnknownDevice);
}

#[test]
fn notifications_and_sends_are_told_as_they_came() {
    let mut gateway = streaming(OBSERVE_TEMPERATURES);
    let observe = gateway.register_for_observe(peer(1), GOOD_QUERY);
    gateway.receive(peer(1), &observed(&observe, 1, "20.5"));
    gateway.streamed.clear();
    let mut notification = confirmable(&observe, 77, Code::CONTENT, "21.5");
    notification.push_uint(OptionNumber::OBSERVE, 2);
    gateway.receive(peer(1), &notification);
    let mut send = request(Code::POST, 12, "dp");
    send.push_uint(OptionNumber::CONTENT_FORMAT, 110);
    send.payload = br#"[{"n":"/3303/0/5700","v":22.5}]"#.to_vec();
    gateway.receive(peer(1), &send);
    let told: Vec<(Option<Vec<String>>, Value)> = gateway
        .streamed
        .iter()
        .filter_map(|output| match output {
            Output::Samples { observed, samples, .. } => {
                let paths = observed.as_ref().map(|target| target.paths().iter().map(ToString::to_string).collect());
                Some((paths, samples[0].value.clone()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, [(Some(vec!["/3303/0/5700".to_owned()]), Value::Float(21.5)), (None, Value::Float(22.5))]);
}

#[test]
fn without_the_api_nothing_is_told() {
    let mut gateway = Gateway::with(OBSERVE_TEMPERATURES, |_| {});
    let observe = gateway.register_for_observe(peer(1), GOOD_QUERY);
    gateway.receive(peer(1), &text_answer(&observe, "20.5"));
    assert!(gateway.streamed.is_empty());
}
