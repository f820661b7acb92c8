//! Devices that answer nonsense or fall silent: each command has its result with what was seen, and the next goes on.

use std::time::Duration;

use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::protocol::coap::message::Code;
use lwm2mqtt::protocol::content::ContentFormat;
use lwm2mqtt::simulator::script::{DeviceScript, Misbehaviour};
use lwm2mqtt::simulator::world::{World, WorldScript};
use serde_json::{Value as Json, json};

use super::checks::terminal;

fn device() -> DeviceScript {
    let mut script = DeviceScript::new("dev")
        .with(Path::resource(3303, 0, 5700), Value::Float(21.0))
        .with(Path::resource(3303, 0, 5701), Value::String("Cel".to_owned()))
        .with(Path::resource(3, 0, 0), Value::String("x".repeat(100)))
        .with_writable(Path::resource(3308, 0, 5900), Value::Float(20.0));
    script.block_size_exponent = 1;
    script
}

/// The results of a command, of the one behind it, and of one after the device has come to its senses.
fn results(misbehaviour: Misbehaviour, command: Json) -> [Json; 3] {
    let mut world = World::new(WorldScript::new(1));
    // It registers and is observed as a good device would be, and bends the standard from then on.
    let address = world.add_device(device());
    world.run_for(Duration::from_secs(10));
    world.with_device(address, |device, _| device.misbehave(misbehaviour));
    let order = |world: &mut World, id: &str, mut command: Json| {
        command["id"] = id.into();
        world.downlink("lwm2m/dev/command", &command.to_string());
    };
    order(&mut world, "first", command);
    let write = json!({"operation": "write", "path": "/3308/0/5900", "value": 22.0});
    order(&mut world, "second", write.clone());
    world.run_for(Duration::from_secs(400));
    let [first, second] = ["first", "second"].map(|id| terminal(&world, "dev", id));
    world.with_device(address, |device, _| device.misbehave(Misbehaviour::default()));
    order(&mut world, "third", write);
    world.run_for(Duration::from_secs(100));
    assert_eq!(world.devices[&address].tree().value(&Path::resource(3308, 0, 5900)), Some(&Value::Float(22.0)));
    let third = terminal(&world, "dev", "third");
    [first, second, third]
}

fn read(path: &str) -> Json {
    json!({"operation": "read", "path": path})
}

fn read_composite() -> Json {
    json!({"operation": "read_composite", "paths": ["/3303/0/5700", "/3/0/0"]})
}

/// Three results: the first failed with this code and error, the other two are done.
#[track_caller]
fn assert_fails(misbehaviour: Misbehaviour, command: Json, code: Option<&str>, error: Option<(&str, &str)>) {
    let [first, second, third] = results(misbehaviour, command);
    assert_failure(&first, code, error);
    assert_eq!((&second["status"], &third["status"]), (&json!("done"), &json!("done")), "{second} {third}");
}

#[track_caller]
fn assert_failure(result: &Json, code: Option<&str>, error: Option<(&str, &str)>) {
    assert_eq!((&result["status"], &result["code"]), (&json!("failed"), &json!(code)), "{result}");
    assert_eq!(result["error"]["kind"], json!(error.map(|(kind, _)| kind)), "{result}");
    let message = result["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains(error.map_or("", |(_, message)| message)), "{result}");
}

const NONE: fn() -> Misbehaviour = Misbehaviour::default;

#[test]
fn an_empty_acknowledgement_and_then_silence_is_a_timeout_of_that_command() {
    let silence = Some(("timeout", "acknowledged the request and never answered"));
    let wakaama = Misbehaviour { acknowledges_composites_and_falls_silent: true, ..NONE() };
    assert_fails(wakaama, read_composite(), None, silence);
    let silent = Misbehaviour { acknowledges_and_falls_silent: true, ..NONE() };
    let [first, second, third] = results(silent, read("/3303/0"));
    assert_failure(&first, None, silence);
    assert_failure(&second, None, silence);
    assert_eq!(third["status"], "done", "{third}");
}

#[test]
fn a_refused_composite_has_the_code_of_the_device() {
    for code in [Code::NOT_FOUND, Code::METHOD_NOT_ALLOWED] {
        let old = Misbehaviour { refuses_composites: Some(code), ..NONE() };
        assert_fails(old, read_composite(), Some(&code.to_string()), None);
    }
}

#[test]
fn answers_under_another_token_are_no_answers_and_the_result_says_so() {
    let strange = Misbehaviour { answers_under_other_token: true, ..NONE() };
    let [first, second, third] = results(strange, read("/3303/0"));
    for result in [first, second] {
        assert_failure(&result, None, Some(("bad_answer", "under another token")));
    }
    assert_eq!(third["status"], "done", "{third}");
}

#[test]
fn the_wrong_block_is_named() {
    let ahead = Misbehaviour { answers_with_next_block: true, ..NONE() };
    assert_fails(ahead, read("/3/0/0"), None, Some(("bad_answer", "block 1 came where block 0 was asked for")));
}

#[test]
fn a_path_that_was_not_asked_for_is_named() {
    let elsewhere = || Misbehaviour { answers_for_next_instance: true, ..NONE() };
    let outside = Some(("bad_answer", "/3303/1/5700 lies outside /3303/0"));
    assert_fails(elsewhere(), read("/3303/0"), Some("2.05"), outside);
    let not_asked_for = Some(("bad_answer", "/3/1/0, which was not asked for"));
    assert_fails(elsewhere(), read_composite(), Some("2.05"), not_asked_for);
}

#[test]
fn a_body_without_format_or_in_another_one_says_how_it_was_taken() {
    let vague = || Misbehaviour { omits_content_format: true, ..NONE() };
    let unnamed = Some(("bad_answer", "the answer names no Content-Format and was taken for tlv"));
    assert_fails(vague(), read("/3303/0"), Some("2.05"), unnamed);
    assert_fails(vague(), read_composite(), Some("2.05"), unnamed);
    let liar = Misbehaviour { claims_format: Some(ContentFormat::TLV), ..NONE() };
    assert_fails(liar, read("/3303/0"), Some("2.05"), Some(("bad_answer", "(format tlv)")));
    let wrong_type = Misbehaviour { claims_format: Some(ContentFormat::TEXT), ..NONE() };
    assert_fails(wrong_type, read("/3303/0/5700"), Some("2.05"), Some(("bad_answer", "(format text)")));
}

#[test]
fn a_body_that_changes_midway_is_read_anew_once() {
    let changing = |changes_etags| Misbehaviour { changes_etags, ..NONE() };
    let [first, ..] = results(changing(1), read("/3/0/0"));
    assert_eq!((&first["status"], &first["value"]), (&json!("done"), &json!("x".repeat(100))), "{first}");
    let moving = Some(("bad_answer", "block 1 does not follow on 32 bytes"));
    assert_fails(changing(9), read("/3/0/0"), None, moving);
}
