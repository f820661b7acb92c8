//! Cases 100 to 199: Register, Update, De-register, queue mode.

use std::time::Duration;

use lwm2mqtt::gateway::vocabulary::Query;
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::version::Version;
use lwm2mqtt::protocol::coap::message::Code;
use lwm2mqtt::simulator::device::{DeviceEvent, SimulatedDevice};
use lwm2mqtt::simulator::script::{DeviceScript, Profile};
use serde_json::json;

use super::ets::bench::{Bench, ENDPOINT, line};
use super::ets::configurations::{c1, c3, c5};
use super::ets::page::{Case, case};
use super::ets::{ALL, SINCE_1_1, SINCE_1_2, for_versions};
use super::gateway::{Gateway, registration};
use super::stream::{Connection, capabilities, stream_peer};

pub(crate) const CHAPTER: &[&[Case]] = &[&[
    case!("1.1-int-101", "Register is accepted", ets_1_1_int_101_initial_registration),
    case!("1.1-int-102", "Update with a new lifetime, then in time or too late", ets_1_1_int_102_registration_update),
    case!("1.1-int-103", "Disable makes the device de-register", ets_1_1_int_103_deregistration),
    case!("1.1-int-104", "Executing the trigger makes the device update", ets_1_1_int_104_registration_update_trigger),
    case!("1.1-int-105", "Update of a forgotten registration", ets_1_1_int_105_discarded_register_update),
    case!("1.1-int-106", "Register over TCP", ets_1_1_int_106_tcp_binding),
    case!("1.1-int-107", "A longer lifetime", ets_1_1_int_107_extending_the_lifetime_of_a_registration),
    case!("1.1-int-108", "Register in queue mode", ets_1_1_int_108_turn_on_queue_mode),
    case!("1.1-int-109", "A read waits for a device in queue mode", ets_1_1_int_109_behavior_in_queue_mode),
    case!("1.2-int-110", "A profile instead of a list", ets_1_2_int_110_initial_registration_using_profile_id),
    case!("1.2-int-111", "A profile beside a list", ets_1_2_int_111_registration_using_profile_id_and_object_list),
]];

const LEAF_EVENT: &str = "bridge/event";

fn events(bench: &Bench) -> Vec<String> {
    let mine = bench.gateway.bodies(LEAF_EVENT).into_iter().filter(|body| body["endpoint"] == ENDPOINT);
    mine.filter_map(|body| body["event"].as_str().map(str::to_owned)).collect()
}

#[test]
pub(crate) fn ets_1_1_int_101_initial_registration() {
    for_versions("1.1-int-101", ALL, |version| {
        let mut script = c1(version);
        script.register_arguments = vec!["sms=491701234567".to_owned()];
        let mut bench = Bench::off(script);
        bench.switch_on();
        let register = &bench.told()[0];
        let query = format!("POST /rd?ep=dev&lt=86400&lwm2m={version}&b=U&sms=491701234567 ct=link \"");
        assert!(register.starts_with(&query), "{register}");
        assert!(register.contains("</1/0>,</3/0>") && !register.contains("</0"), "{register}");
        assert_eq!(bench.replied(), ["2.01 location=/rd/L"]);
        let record = bench.record();
        assert_eq!((&record["state"], &record["lwm2m_version"]), (&json!("online"), &json!(version.to_string())));
        assert_eq!((&record["binding"], &record["sms"]), (&json!("U"), &json!("491701234567")));
        assert_eq!(record["objects"]["3"]["instances"], json!([0]));
        assert_eq!(events(&bench), ["registered"]);
    });
}

#[test]
pub(crate) fn ets_1_1_int_102_registration_update() {
    for_versions("1.1-int-102", ALL, |version| {
        let mut bench = Bench::registered(c1(version));
        bench.done(json!({"operation": "write", "path": "/1/0/1", "value": 20, "format": "text"}));
        assert_eq!(bench.asked(), ["PUT /1/0/1 ct=text \"20\""]);
        assert_eq!(bench.told(), ["POST /rd/L?lt=20"]);
        assert_eq!(bench.replied(), ["2.04"]);
        assert_eq!(bench.record()["lifetime_secs"], 20);
        bench.forget();
        bench.pass(Duration::from_secs(20));
        assert_eq!(bench.told()[0], "POST /rd/L");
        assert_eq!(bench.replied()[0], "2.04");
        assert_eq!(bench.record()["state"], "online");
        // From here on no Update arrives in time.
        bench.cut = true;
        bench.pass(Duration::from_secs(39));
        assert!(!bench.record()["registered_at"].is_null());
        bench.pass(Duration::from_secs(2));
        assert_eq!((&bench.record()["registered_at"], events(&bench).last()), (&json!(null), Some(&"expired".into())));
    });
}

#[test]
pub(crate) fn ets_1_1_int_103_deregistration() {
    for_versions("1.1-int-103", ALL, |version| {
        let mut bench = Bench::registered(c3(version));
        bench.done(json!({"operation": "execute", "path": "/1/0/4"}));
        assert_eq!(bench.asked(), ["POST /1/0/4"]);
        assert_eq!(bench.told(), ["DELETE /rd/L"]);
        assert_eq!(bench.replied(), ["2.02"]);
        let record = bench.record();
        assert_eq!((&record["state"], &record["registered_at"]), (&json!("offline"), &json!(null)));
        assert_eq!(record["reason"], "disabled");
        assert_eq!(events(&bench).last(), Some(&"deregistered".into()));
        bench.forget();
        bench.pass(Duration::from_secs(86_401));
        assert!(bench.told()[0].starts_with("POST /rd?ep=dev"), "after the disable timeout: {:?}", bench.told());
        assert_eq!(bench.record()["state"], "online");
    });
}

#[test]
pub(crate) fn ets_1_1_int_104_registration_update_trigger() {
    for_versions("1.1-int-104", ALL, |version| {
        let mut script = c1(version);
        script.lifetime_secs = 60;
        script.update_interval = Some(Duration::from_secs(59));
        let mut bench = Bench::registered(script);
        bench.pass(Duration::from_secs(40));
        bench.done(json!({"operation": "execute", "path": "/1/0/8"}));
        assert_eq!(bench.asked(), ["POST /1/0/8"]);
        assert_eq!((bench.told(), bench.replied()), (vec!["POST /rd/L".to_owned()], vec!["2.04".to_owned()]));
        bench.forget();
        bench.cut = true;
        // The first lifetime and its grace end after 80 seconds; the Update moved that to 120.
        bench.pass(Duration::from_secs(50));
        assert!(!bench.record()["registered_at"].is_null());
        bench.pass(Duration::from_secs(31));
        assert!(bench.record()["registered_at"].is_null());
    });
}

#[test]
pub(crate) fn ets_1_1_int_105_discarded_register_update() {
    for_versions("1.1-int-105", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c1(version));
        bench.gateway.downlink("bridge/request/device/remove", &json!({"device": ENDPOINT}));
        let answer = bench.gateway.bodies("bridge/response/device/remove");
        assert_eq!(answer.last().map(|body| &body["status"]), Some(&json!("ok")));
        bench.with_device(SimulatedDevice::update);
        let told = bench.told();
        assert_eq!(told[0], "POST /rd/L");
        assert!(told[1].starts_with("POST /rd?ep=dev"), "{told:?}");
        assert_eq!(bench.replied(), ["4.04", "2.01 location=/rd/L"]);
        assert_eq!(bench.record()["state"], "online");
    });
}

#[test]
pub(crate) fn ets_1_1_int_106_tcp_binding() {
    for_versions("1.1-int-106", SINCE_1_1, |version| {
        let mut gateway = Gateway::new();
        let device = Connection::connect(&mut gateway, stream_peer(1), 1);
        device.say(&mut gateway, &capabilities(Some(1_152), true));
        let heard = device.heard(&mut gateway);
        assert_eq!(heard.iter().map(|message| message.code).collect::<Vec<_>>(), [Code::CSM], "its capabilities");
        let query = format!("ep=dev&lt=86400&lwm2m={version}&b=T");
        device.say(&mut gateway, &registration(&query, "</1/0>,</3/0>"));
        let heard = device.heard(&mut gateway);
        assert_eq!(heard.iter().map(line).collect::<Vec<_>>(), ["2.01 location=/rd/L"]);
        let record = gateway.query(Query::Device { device: ENDPOINT.to_owned() });
        assert_eq!((&record["transport"], &record["binding"]), (&json!("tcp"), &json!("T")));
        assert_eq!((&record["state"], &record["objects"]["3"]["instances"]), (&json!("online"), &json!([0])));
    });
}

#[test]
pub(crate) fn ets_1_1_int_107_extending_the_lifetime_of_a_registration() {
    for_versions("1.1-int-107", SINCE_1_1, |version| {
        let mut script = c1(version);
        script.lifetime_secs = 60;
        let mut bench = Bench::registered(script);
        bench.done(json!({"operation": "write", "path": "/1/0/1", "value": 120}));
        assert_eq!((bench.told(), bench.replied()), (vec!["POST /rd/L?lt=120".to_owned()], vec!["2.04".to_owned()]));
        assert_eq!(bench.record()["lifetime_secs"], 120);
        bench.forget();
        bench.pass(Duration::from_secs(100));
        assert_eq!((bench.told(), bench.replied()), (vec!["POST /rd/L".to_owned()], vec!["2.04".to_owned()]));
        assert_eq!(bench.record()["state"], "online");
    });
}

fn in_queue_mode(version: Version) -> Bench {
    let mut script = c1(version);
    script.queue_mode = true;
    Bench::registered(script)
}

#[test]
pub(crate) fn ets_1_1_int_108_turn_on_queue_mode() {
    for_versions("1.1-int-108", SINCE_1_1, |version| {
        let mut script = c1(version);
        script.queue_mode = true;
        let mut bench = Bench::off(script);
        bench.switch_on();
        let register = &bench.told()[0];
        assert!(register.starts_with(&format!("POST /rd?ep=dev&lt=86400&lwm2m={version}&b=U&Q ")), "{register}");
        assert_eq!(bench.replied(), ["2.01 location=/rd/L"]);
        assert_eq!(bench.record()["queue_mode"], true);
    });
}

#[test]
pub(crate) fn ets_1_1_int_109_behavior_in_queue_mode() {
    for_versions("1.1-int-109", SINCE_1_1, |version| {
        let mut bench = in_queue_mode(version);
        bench.pass(Duration::from_secs(92));
        assert_eq!(bench.read("/3/0/0", "text"), "Acme");
        bench.pass(Duration::from_secs(94));
        assert!(bench.device.is_asleep());
        assert_eq!(bench.record()["state"], "asleep");
        let queued = bench.order(json!({"operation": "read", "path": "/3/0/0", "format": "text"}));
        assert_eq!(queued["status"], "queued");
        bench.pass(Duration::from_secs(600));
        assert!(bench.wire.is_empty(), "{:?}", bench.asked());
        bench.with_device(SimulatedDevice::update);
        let order: Vec<bool> = bench.wire.iter().map(|seen| seen.by_gateway).collect();
        assert_eq!(order, [false, true, true, false], "Update, its answer, then the request and its answer");
        assert_eq!((bench.replied(), bench.asked()), (vec!["2.04".into()], vec!["GET /3/0/0 accept=text".into()]));
        let result = bench.result_of(2);
        assert_eq!((&result["status"], &result["value"]), (&json!("done"), &json!("Acme")));
        let woke = std::iter::from_fn(|| bench.device.poll_event()).filter(|event| *event == DeviceEvent::Woke);
        assert_eq!(woke.count(), 1);
    });
}

fn with_profile(version: Version, id: &str) -> DeviceScript {
    let mut script = c5(version);
    script.profile = Some(Profile { id: id.to_owned(), objects: vec![1, 3] });
    script
}

/// The objects that the gateway knows of.
fn objects(bench: &mut Bench) -> Vec<String> {
    bench.record()["objects"].as_object().unwrap().keys().cloned().collect()
}

#[test]
pub(crate) fn ets_1_2_int_110_initial_registration_using_profile_id() {
    for_versions("1.2-int-110", SINCE_1_2, |version| {
        let mut script = with_profile(version, "6:27354b9a");
        script.tree.remove(Path::object(4));
        let mut bench = Bench::off(script);
        bench.switch_on();
        assert_eq!(bench.told(), ["POST /rd?ep=dev&lt=86400&lwm2m=1.2&b=U&pid=6:27354b9a"]);
        assert_eq!(
            (bench.replied(), objects(&mut bench)),
            (vec!["2.01 location=/rd/L".to_owned()], vec!["1".into(), "3".into()])
        );
        assert_eq!(bench.read("/3/0/0", "text"), "Acme");
        // A profile that nobody here knows: the device sends its list.
        let mut script = with_profile(version, "6:00000000");
        script.tree.remove(Path::object(4));
        let mut bench = Bench::off(script);
        bench.switch_on();
        assert_eq!(bench.told()[0], "POST /rd?ep=dev&lt=86400&lwm2m=1.2&b=U&pid=6:00000000");
        assert!(bench.told()[1].ends_with("</1/0>,</3/0>\""), "{:?}", bench.told());
        assert_eq!(bench.replied(), ["4.09", "2.01 location=/rd/L"]);
    });
}

#[test]
pub(crate) fn ets_1_2_int_111_registration_using_profile_id_and_object_list() {
    for_versions("1.2-int-111", SINCE_1_2, |version| {
        let mut bench = Bench::off(with_profile(version, "6:27354b9a"));
        bench.switch_on();
        let register = &bench.told()[0];
        assert!(register.starts_with("POST /rd?ep=dev&lt=86400&lwm2m=1.2&b=U&pid=6:27354b9a ct=link"), "{register}");
        assert!(register.ends_with(",</4/0>\"") && !register.contains("</3"), "{register}");
        assert_eq!(bench.replied(), ["2.01 location=/rd/L"]);
        assert_eq!(objects(&mut bench), ["1", "3", "4"]);
    });
}
