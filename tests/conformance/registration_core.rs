//! Register, Update and De-register with their exact codes (Core TS 1.2.2 section 6.2), by datagrams.

use std::time::Duration;

use lwm2mqtt::gateway::configuration::{Refusal, UnknownDevices};
use lwm2mqtt::gateway::vocabulary::Query;
use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::protocol::coap::message::{Code, Message};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use serde_json::json;

use super::gateway::{
    GOOD_QUERY, Gateway, OBSERVE_TEMPERATURES, answer, notification, observed, peer, registration, request, target,
};

/// The code of a Register of a fresh gateway.
fn code_of(query: &str, format: Option<u32>, objects: &str) -> Code {
    let mut register = request(Code::POST, 1, &format!("rd?{query}"));
    if let Some(format) = format {
        register.push_uint(OptionNumber::CONTENT_FORMAT, format);
    }
    register.payload = objects.as_bytes().to_vec();
    Gateway::new().ask(peer(1), &register).code
}

fn update(id: u16, location: &str, query: &str) -> Message {
    request(Code::POST, id, &format!("rd/{location}?{query}"))
}

#[test]
fn core_6_2_1_register_is_2_01_with_a_location_that_every_client_can_hold() {
    let mut gateway = Gateway::new();
    let first = gateway.ask(peer(1), &registration(GOOD_QUERY, "</1/0>,</3/0>"));
    assert_eq!((first.code, first.payload.len()), (Code::CREATED, 0));
    let location: Vec<&[u8]> = first.option_values(OptionNumber::LOCATION_PATH).collect();
    assert_eq!((location.len(), location[0]), (2, &b"rd"[..]));
    assert!((1..=16).contains(&location[1].len()) && location[1].iter().all(u8::is_ascii_alphanumeric));
    assert!(first.options.iter().all(|(number, _)| *number == OptionNumber::LOCATION_PATH));
    let second = gateway.register(peer(2), "ep=other&lt=300&lwm2m=1.1", "</3/0>");
    assert_ne!(second.as_bytes(), location[1]);
}

#[test]
fn core_6_2_1_every_supported_version_registers_and_its_old_forms_too() {
    for query in [
        "ep=dev",
        "ep=dev&lt=60&b=UQ",
        "ep=dev&lwm2m=1.0",
        GOOD_QUERY,
        "ep=dev&lt=300&lwm2m=1.1&Q",
        "ep=dev&lt=0&lwm2m=1.2&b=UT",
        "ep=dev&lt=300&lwm2m=1.2&sms=491701234567&pid=6:27354b9a",
        "ep=dev&lt=300&lwm2m=1.1&apn=iot&x",
        "lwm2m=1.1&lt=4294967295&ep=dev",
    ] {
        assert_eq!(code_of(query, Some(40), "</1/0>,</3/0>"), Code::CREATED, "{query}");
    }
    assert_eq!(code_of(GOOD_QUERY, None, "</3/0>"), Code::CREATED, "a missing Content-Format is tolerated");
    assert_eq!(code_of("ep=dev&lt=300&lwm2m=1.2&pid=6:27354b9a", None, ""), Code::CREATED);
}

#[test]
fn core_6_2_1_bad_or_missing_parameters_are_4_00() {
    for query in [
        "lt=300",
        "lt=300&lwm2m=1.1",
        "ep=&lt=300&lwm2m=1.1",
        "ep&lt=300&lwm2m=1.1",
        "ep=dev&lwm2m=1.1",
        "ep=dev&lwm2m=1.2",
        "ep=dev&lt=&lwm2m=1.1",
        "ep=dev&lt=-1&lwm2m=1.1",
        "ep=dev&lt=300s&lwm2m=1.1",
        "ep=dev&lt=18446744073709551616&lwm2m=1.1",
        "ep=dev&ep=dev&lt=300&lwm2m=1.1",
        "ep=dev&lt=300&lt=300&lwm2m=1.1",
        "ep=dev&lt=300&lwm2m=1.1&b=Z",
    ] {
        assert_eq!(code_of(query, Some(40), "</3/0>"), Code::BAD_REQUEST, "{query}");
    }
    assert_eq!(code_of(GOOD_QUERY, Some(40), ""), Code::BAD_REQUEST, "no list");
    assert_eq!(code_of(GOOD_QUERY, Some(40), "</3/0"), Code::BAD_REQUEST, "a broken list");
    let many = "&p=1".repeat(40);
    assert_eq!(code_of(&format!("{GOOD_QUERY}{many}"), Some(40), "</3/0>"), Code::BAD_REQUEST);
}

#[test]
fn core_6_2_1_other_versions_are_4_12_and_nothing_else_is() {
    for version in ["0.9", "1.3", "2.0", "abc"] {
        let query = format!("ep=dev&lwm2m={version}");
        assert_eq!(code_of(&query, Some(40), "</3/0>"), Code::PRECONDITION_FAILED, "{version}");
    }
}

#[test]
fn core_6_2_1_a_list_in_another_format_is_4_15_and_no_list_at_all_in_1_2_is_4_09() {
    assert_eq!(code_of(GOOD_QUERY, Some(0), "</3/0>"), Code::UNSUPPORTED_CONTENT_FORMAT);
    assert_eq!(code_of(GOOD_QUERY, Some(112), "</3/0>"), Code::UNSUPPORTED_CONTENT_FORMAT);
    assert_eq!(code_of("ep=dev&lt=300&lwm2m=1.2", None, ""), Code::CONFLICT);
}

#[test]
fn core_6_2_1_a_refused_register_leaves_no_device_behind() {
    let mut gateway = Gateway::new();
    let register = registration("ep=dev&lt=x&lwm2m=1.1", "</3/0>");
    assert_eq!(gateway.ask(peer(1), &register).code, Code::BAD_REQUEST);
    let gauges = gateway.gauges();
    assert_eq!(gauges.devices_online + gauges.devices_asleep + gauges.devices_offline, 0);
    assert_eq!(gateway.query(Query::Refused)["items"][0]["endpoint"], "dev");
}

#[test]
fn core_6_2_1_unknown_devices_hear_nothing_or_4_03_as_configured() {
    let mapping = "version = 1\n";
    let register = registration(GOOD_QUERY, "</3/0>");
    let mut silent = Gateway::with(mapping, |to| to.lwm2m.unknown_devices = UnknownDevices::Refuse);
    silent.receive(peer(1), &register);
    silent.receive(peer(1), &register);
    assert_eq!(silent.next_sent(), None);
    assert_eq!(silent.count(Occurrence::Refused("unknown_device")), 1);
    let mut outspoken = Gateway::with(mapping, |to| {
        to.lwm2m.unknown_devices = UnknownDevices::Refuse;
        to.lwm2m.refusal = Refusal::Answer;
    });
    assert_eq!(outspoken.ask(peer(1), &register).code, Code::FORBIDDEN);
}

#[test]
fn core_6_2_2_update_is_2_04_with_nothing_else_and_4_04_where_unknown() {
    let mut gateway = Gateway::new();
    let location = gateway.register(peer(1), GOOD_QUERY, "</3/0>");
    for (id, query) in (10..).zip(["", "lt=600", "b=U", "sms=491701234567", "Q", "unknown=1"]) {
        let answer = gateway.ask(peer(1), &update(id, &location, query));
        assert_eq!((answer.code, answer.options.len(), answer.payload.len()), (Code::CHANGED, 0, 0), "{query}");
    }
    for (id, query) in (20..).zip(["lt=x", "b=Z", "lt=1&lt=2"]) {
        assert_eq!(gateway.ask(peer(1), &update(id, &location, query)).code, Code::BAD_REQUEST, "{query}");
    }
    assert_eq!(gateway.ask(peer(1), &update(30, "0123456789ab", "")).code, Code::NOT_FOUND);
    let mut list = update(31, &location, "");
    list.push_uint(OptionNumber::CONTENT_FORMAT, 0);
    list.payload = b"</3/0>".to_vec();
    assert_eq!(gateway.ask(peer(1), &list).code, Code::UNSUPPORTED_CONTENT_FORMAT);
    // From a new address too: the location says who it is.
    assert_eq!(gateway.ask(peer(2), &update(32, &location, "")).code, Code::CHANGED);
}

#[test]
fn core_6_2_2_a_list_in_an_update_is_the_whole_new_list() {
    let mut gateway = Gateway::new();
    let location = gateway.register(peer(1), GOOD_QUERY, "</1/0>,</3/0>");
    let mut list = update(10, &location, "");
    list.push_uint(OptionNumber::CONTENT_FORMAT, 40);
    list.payload = b"</3/0>,</3303/0>".to_vec();
    assert_eq!(gateway.ask(peer(1), &list).code, Code::CHANGED);
    let info = gateway.bodies("dev/info").last().copied().cloned().unwrap();
    assert!(info["objects"].get("3303").is_some() && info["objects"].get("1").is_none(), "{info}");
}

#[test]
fn core_6_2_3_de_register_is_2_02_once_and_4_04_afterwards() {
    let mut gateway = Gateway::new();
    let location = gateway.register(peer(1), GOOD_QUERY, "</3/0>");
    let target = format!("rd/{location}");
    assert_eq!(gateway.ask(peer(1), &request(Code::DELETE, 10, &target)).code, Code::DELETED);
    assert_eq!(gateway.ask(peer(1), &request(Code::DELETE, 11, &target)).code, Code::NOT_FOUND);
    assert_eq!(gateway.ask(peer(1), &update(12, &location, "")).code, Code::NOT_FOUND);
    assert_eq!(gateway.bodies("dev/state").last().unwrap()["reason"], "deregistered");
}

#[test]
fn core_6_2_1_a_second_register_replaces_the_first() {
    let mut gateway = Gateway::with(OBSERVE_TEMPERATURES, |_| {});
    let first = gateway.register(peer(1), GOOD_QUERY, "</3303/0>");
    let observe = gateway.next_observe(peer(1));
    gateway.receive(peer(1), &observed(&observe, 1, "20"));
    gateway.downlink("dev/command", &json!({"id": "w", "operation": "read", "path": "/3/0/0"}));
    assert_eq!(target(&gateway.next_sent().unwrap()), "/3/0/0");
    let mut again = registration(GOOD_QUERY, "</3303/0>");
    again.id = 2;
    again.token = observe.token;
    let answer = gateway.ask(peer(2), &again);
    assert_eq!(answer.code, Code::CREATED);
    assert_ne!(answer.option_values(OptionNumber::LOCATION_PATH).nth(1), Some(first.as_bytes()));
    // The waiting command goes to the new address, before or after the observation is made anew.
    let mut asked = Vec::new();
    while let Some((_, to, message)) = gateway.sent.pop_front() {
        assert_eq!(to, peer(2));
        asked.push((target(&message), message.observe()));
        gateway.receive(peer(2), &observed(&message, 1, "21"));
    }
    asked.sort();
    let of_temperature = |observe| ("/3303/0/5700".to_owned(), observe);
    assert_eq!(asked, [("/3/0/0".to_owned(), None), of_temperature(None), of_temperature(Some(0))]);
    assert_eq!(gateway.result("dev", "w").unwrap()["status"], "done");
    // What was observed before is no more; the old location neither.
    gateway.receive(peer(1), &notification(&observe, 50, 2, "99"));
    assert_eq!(gateway.next_sent(), Some(Message::reset(50)));
    assert!(!gateway.values("dev", "t_0").contains(&99.0));
    assert_eq!(gateway.ask(peer(1), &update(60, &first, "")).code, Code::NOT_FOUND);
}

#[test]
fn core_6_2_1_a_registration_lives_for_its_lifetime_and_the_grace() {
    let mut gateway = Gateway::new();
    let location = gateway.register(peer(1), GOOD_QUERY, "</3/0>");
    gateway.pass(Duration::from_secs(319));
    assert_eq!(gateway.ask(peer(1), &update(10, &location, "")).code, Code::CHANGED);
    gateway.pass(Duration::from_secs(319));
    assert_eq!(gateway.gauges().devices_online, 1);
    gateway.pass(Duration::from_secs(1));
    assert_eq!(gateway.gauges().devices_online, 0);
    assert_eq!(gateway.bodies("dev/state").last().unwrap()["reason"], "expired");
    assert_eq!(gateway.ask(peer(1), &update(11, &location, "")).code, Code::NOT_FOUND);
}

#[test]
fn core_6_2_1_without_lt_the_default_counts_and_zero_never_ends() {
    let mut gateway = Gateway::with("version = 1\n", |to| to.lwm2m.default_lifetime = Duration::from_secs(1_000));
    gateway.register(peer(1), "ep=default", "</3/0>");
    gateway.register(peer(2), "ep=forever&lt=0&lwm2m=1.1", "</3/0>");
    gateway.pass(Duration::from_secs(1_019));
    assert_eq!(gateway.gauges().devices_online, 2);
    gateway.pass(Duration::from_secs(1));
    assert_eq!(gateway.gauges().devices_online, 1);
    gateway.pass(Duration::from_secs(3 * 24 * 60 * 60));
    assert_eq!(gateway.gauges().devices_online, 1);
}

#[test]
fn core_6_2_1_awkward_endpoint_names_are_kept_and_escaped_in_topics() {
    let mut gateway = Gateway::new();
    gateway.register(peer(1), "ep=a/b+c#d%e f=g\u{fc}&lt=300&lwm2m=1.1", "</3/0>");
    let info = gateway.published.iter().find(|(topic, _)| topic.ends_with("/info") && topic.contains("a%2F"));
    let (topic, body) = info.unwrap();
    assert_eq!(body["endpoint"], "a/b+c#d%e f=g\u{fc}");
    assert!(!topic.contains(['+', '#']) && topic.matches('/').count() == 2, "{topic}");
    assert!(topic.contains("a%2Fb%2Bc%23d%25e"), "{topic}");
}

#[test]
fn core_6_2_1_endpoint_names_with_control_characters_or_of_a_thousand_bytes_are_4_00() {
    let mut gateway = Gateway::new();
    for (id, name) in (1..).zip(["a\u{0}b", "a\nb", "a\u{7f}", "a\u{85}"]) {
        let mut register = registration(&format!("ep={name}&lt=300&lwm2m=1.1"), "</3/0>");
        register.id = id;
        assert_eq!(gateway.ask(peer(1), &register).code, Code::BAD_REQUEST, "{name:?}");
    }
    // An option of 255 bytes or fewer, as Uri-Query must be: the name alone is too long.
    let mut long = registration(&format!("ep={}&lt=300&lwm2m=1.1", "a".repeat(252)), "</3/0>");
    long.id = 20;
    assert_eq!(gateway.ask(peer(1), &long).code, Code::CREATED);
    // Beyond 255 bytes Uri-Query is an unusable critical option (RFC 7252 section 5.4.3).
    let mut longer = registration(&format!("ep={}&lt=300&lwm2m=1.1", "a".repeat(1_000)), "</3/0>");
    longer.id = 21;
    assert_eq!(gateway.ask(peer(1), &longer).code, Code::BAD_OPTION);
    assert_eq!(gateway.gauges().devices_online, 1);
}

#[test]
fn core_6_2_1_nothing_is_sent_to_a_device_before_its_answer() {
    let mut gateway = Gateway::with(OBSERVE_TEMPERATURES, |_| {});
    gateway.store_holds = true;
    gateway.receive(peer(1), &registration(GOOD_QUERY, "</3303/0>"));
    gateway.downlink("dev/command", &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    gateway.pass(Duration::from_secs(1));
    assert_eq!(gateway.next_sent(), None, "the registration is not durable");
    gateway.confirm();
    assert_eq!(gateway.next_sent().map(|first| first.code), Some(Code::CREATED));
    assert_eq!(gateway.next_sent().map(|second| second.code), Some(Code::GET));
}

#[test]
fn core_6_2_2_an_update_is_answered_before_what_waited_for_it() {
    let mut gateway = Gateway::new();
    let location = gateway.register(peer(1), "ep=dev&lt=300&lwm2m=1.1&Q", "</3/0>");
    gateway.pass(Duration::from_secs(100));
    gateway.downlink("dev/command", &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    assert_eq!(gateway.result("dev", "r").unwrap()["status"], "queued");
    for (id, query) in [(10, ""), (11, "lt=600")] {
        assert_eq!(gateway.ask(peer(1), &update(id, &location, query)).code, Code::CHANGED, "{query}");
        let read = gateway.next_sent().unwrap();
        assert_eq!(target(&read), "/3/0/0");
        gateway.receive(peer(1), &answer(&read, Code::CONTENT));
        gateway.pass(Duration::from_secs(100));
        gateway.downlink("dev/command", &json!({"id": "s", "operation": "read", "path": "/3/0/0"}));
    }
}

#[test]
fn core_6_2_1_a_command_that_was_accepted_before_waits_for_the_answer_to_a_new_register_too() {
    let mut gateway = Gateway::new();
    gateway.register(peer(1), GOOD_QUERY, "</3/0>");
    gateway.store_holds = true;
    gateway.downlink("dev/command", &json!({"id": "r", "operation": "read", "path": "/3/0/0"}));
    let mut again = registration(GOOD_QUERY, "</3/0>");
    again.id = 2;
    gateway.receive(peer(1), &again);
    gateway.confirm();
    assert_eq!(gateway.next_sent().map(|first| first.code), Some(Code::CREATED));
    assert_eq!(gateway.next_sent().map(|second| second.code), Some(Code::GET));
}
