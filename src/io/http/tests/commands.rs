//! Commands and resources: what the core is asked, and how its answers become status and body.

use serde_json::{Value, json};

use super::client::{Response, request};
use super::{assert_error, json_of, start, start_answering};
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{Answer, CommandProgress, Query};
use crate::model::command::{CommandError, CommandResult, ErrorKind, Outcome};
use crate::model::endpoint::Endpoint;
use crate::model::time::WallTime;

pub(super) fn accepted() -> Answer {
    Answer::Command(CommandProgress::Accepted { endpoint: Endpoint::new("d").unwrap(), id: "7".to_owned() })
}

pub(super) fn result(operation: &str, outcome: Outcome) -> Answer {
    Answer::Command(CommandProgress::Result(CommandResult {
        id: "7".to_owned(),
        endpoint: Endpoint::new("d").unwrap(),
        operation: operation.to_owned(),
        path: None,
        key: None,
        ts: WallTime::from_secs(1),
        outcome,
    }))
}

pub(super) fn done() -> Outcome {
    Outcome::Done { code: "2.05".to_owned(), answer: [("value".to_owned(), json!(21.5))].into_iter().collect() }
}

/// The response to a request on a core that gives these answers.
pub(super) fn ask(answers: &[Answer], method: &str, path: &str, body: Option<&str>) -> Response {
    let answers = answers.to_vec();
    let (server, address) = start_answering(move |_| answers.clone());
    let response = request(address, method, path, body).unwrap();
    server.stop();
    response
}

fn location(response: &Response) -> Option<&str> {
    response.head.lines().find_map(|line| line.strip_prefix("location: "))
}

const READ: &str = "/api/v1/devices/d/resources/3303/0/5700";
const COMMANDS: &str = "/api/v1/devices/d/commands";

#[test]
fn each_method_of_a_resource_is_its_operation() {
    let (server, address) = start(|query| {
        let Query::Command { device, body, role } = query else { return Answer::UnknownDevice };
        let role = if *role >= Role::Operator { "allowed" } else { "viewer" };
        Answer::Failed(CommandError::new(ErrorKind::Internal, format!("{device} {role} {body}")))
    });
    let asked = |method: &str, path: &str, body: Option<&str>| {
        let response = request(address, method, &format!("/api/v1/devices/d{path}"), body).unwrap();
        assert_eq!(response.status, 500, "{response:?}");
        let message = json_of(&response)["error"]["message"].as_str().unwrap().to_owned();
        serde_json::from_str::<Value>(message.strip_prefix("d allowed ").unwrap()).unwrap()
    };
    for (method, path, body, expected) in [
        ("GET", "/resources/temperature/0/5700", None, json!({"operation": "read", "path": "/temperature/0/5700"})),
        (
            "GET",
            "/resources/3?format=110&ttl=5m&id=9&priority=2",
            None,
            json!({"operation": "read", "path": "/3", "format": 110, "ttl": "5m", "id": "9", "priority": 2}),
        ),
        (
            "PUT",
            "/resources/3/0/14?format=tlv",
            Some("{\"value\":\"+02\",\"id\":\"x\"}"),
            json!({"operation": "write", "path": "/3/0/14", "value": "+02", "id": "x", "format": "tlv"}),
        ),
        (
            "PATCH",
            "/resources/3/0",
            Some("{\"values\":{\"14\":\"+02\"}}"),
            json!({"operation": "write_update", "path": "/3/0", "values": {"14": "+02"}}),
        ),
        ("POST", "/resources/3/0/4", None, json!({"operation": "execute", "path": "/3/0/4"})),
        (
            "POST",
            "/resources/3/0/4",
            Some("{\"arguments\":\"0='5'\"}"),
            json!({"operation": "execute", "path": "/3/0/4", "arguments": "0='5'"}),
        ),
        (
            "POST",
            "/resources/3303",
            Some("{\"values\":{\"5700\":1}}"),
            json!({"operation": "create", "path": "/3303", "values": {"5700": 1}}),
        ),
        ("DELETE", "/resources/3303/1", None, json!({"operation": "delete", "path": "/3303/1"})),
        (
            "PUT",
            "/values/set%20point",
            Some("{\"value\":21}"),
            json!({"operation": "set", "key": "set point", "value": 21}),
        ),
        ("POST", "/bootstrap", None, json!({"operation": "bootstrap"})),
        ("POST", "/commands", Some("{\"name\":\"reboot\"}"), json!({"name": "reboot"})),
    ] {
        assert_eq!(asked(method, path, body), expected, "{method} {path}");
    }
    server.stop();
}

#[test]
fn fields_that_the_route_gives_itself_are_refused() {
    for (method, body) in [
        ("PUT", "{\"value\":1,\"operation\":\"delete\"}"),
        ("PUT", "{\"value\":1,\"path\":\"/1\"}"),
        ("POST", "{\"value\":1}"),
        ("PATCH", "[]"),
        ("PATCH", "{"),
    ] {
        assert_error(&ask(&[accepted()], method, READ, Some(body)), 400, "invalid");
    }
    assert_error(&ask(&[accepted()], "PUT", "/api/v1/devices/d/values/k", Some("{}")), 400, "invalid");
}

#[test]
fn a_resource_answers_with_the_result() {
    let response = ask(&[accepted(), result("read", done())], "GET", READ, None);
    assert_eq!(response.status, 200);
    let body = json_of(&response);
    assert_eq!((&body["status"], &body["value"], &body["id"]), (&json!("done"), &json!(21.5), &json!("7")));

    let failed = Outcome::Failed { code: Some("4.05".to_owned()), error: None };
    let response = ask(&[accepted(), result("read", failed)], "GET", READ, None);
    assert_error(&response, 502, "device");
    assert_eq!(json_of(&response)["code"], "4.05");

    let full = Outcome::failed(ErrorKind::QueueFull, "64 commands wait for this device");
    assert_error(&ask(&[result("read", full)], "GET", READ, None), 429, "queue_full");
    assert_error(&ask(&[accepted(), result("execute", Outcome::Unknown)], "POST", READ, None), 504, "timeout");
}

#[test]
fn a_sleeping_device_is_told_at_once_unless_the_request_waits() {
    let queued = [accepted(), result("read", Outcome::Queued)];
    let response = ask(&queued, "GET", READ, None);
    assert_eq!((response.status, location(&response)), (202, Some("/api/v1/commands/7")));
    assert_eq!(json_of(&response)["status"], "queued");

    let later = [accepted(), result("read", Outcome::Queued), result("read", done())];
    assert_eq!(ask(&later, "GET", &format!("{READ}?wait=10s"), None).status, 200);
    assert_eq!(ask(&later, "GET", READ, None).status, 202, "without wait the result is not waited for");

    let response = ask(&queued, "GET", &format!("{READ}?wait=20ms"), None);
    assert_eq!((response.status, &json_of(&response)["status"]), (202, &json!("queued")));
}

#[test]
fn a_command_is_accepted_when_it_is_durable_and_waits_only_when_asked() {
    let body = Some("{\"operation\":\"read\",\"path\":\"/3\"}");
    let response = ask(&[accepted(), result("read", done())], "POST", COMMANDS, body);
    assert_eq!((response.status, location(&response)), (202, Some("/api/v1/commands/7")));
    assert_eq!(json_of(&response), json!({ "id": "7", "endpoint": "d", "status": "accepted" }));

    let waiting = format!("{COMMANDS}?wait=10s");
    assert_eq!(ask(&[accepted(), result("read", done())], "POST", &waiting, body).status, 200);
    let response = ask(&[accepted()], "POST", &format!("{COMMANDS}?wait=20ms"), body);
    assert_eq!((response.status, &json_of(&response)["id"]), (202, &json!("7")));
    for wait in ["soon", "11m", ""] {
        let response = ask(&[accepted()], "POST", &format!("{COMMANDS}?wait={wait}"), body);
        assert_error(&response, 400, "invalid");
        assert_eq!(json_of(&response)["error"]["field"], "wait");
    }
}

#[test]
fn a_device_that_is_awake_and_silent_is_a_timeout_that_names_the_command() {
    let response = ask(&[accepted()], "GET", &format!("{READ}?wait=20ms"), None);
    assert_error(&response, 504, "timeout");
    assert_eq!((&json_of(&response)["id"], location(&response)), (&json!("7"), Some("/api/v1/commands/7")));
}

#[test]
fn refusals_of_the_core_have_their_status_and_name_the_field() {
    let refused = |kind, message: &str| Answer::Failed(CommandError::new(kind, message));
    let response = ask(&[refused(ErrorKind::Invalid, "ttl is no duration")], "POST", COMMANDS, Some("{}"));
    assert_error(&response, 400, "invalid");
    assert_eq!(json_of(&response)["error"]["field"], "ttl");
    let response = ask(&[refused(ErrorKind::UnknownDevice, "no device is called 'd'")], "GET", READ, None);
    assert_error(&response, 404, "unknown_device");
    let response =
        ask(&[refused(ErrorKind::Conflict, "name: another device has it")], "PATCH", "/api/v1/devices/d", None);
    assert_error(&response, 409, "conflict");
}

#[test]
fn a_removed_device_leaves_nothing_to_say() {
    let response = ask(&[Answer::Body(json!({ "endpoint": "d" }))], "DELETE", "/api/v1/devices/d", None);
    assert_eq!((response.status, response.body.as_str()), (204, ""));
}
