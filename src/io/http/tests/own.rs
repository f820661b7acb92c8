//! Endpoints of the mapping: what the core is asked, and the responses.

use serde_json::{Value, json};

use super::client::request;
use super::commands::{accepted, ask, done, result};
use super::{assert_error, json_of, start};
use crate::gateway::vocabulary::{Answer, Query};
use crate::model::command::{CommandError, ErrorKind};

const SETPOINT: &str = "/plant/roof%2F1/setpoint";

#[test]
fn paths_that_no_route_takes_are_put_to_the_core_as_they_are() {
    let (server, address) = start(|query| {
        let Query::Own { method, path, body, .. } = query else { return Answer::UnknownDevice };
        Answer::Body(json!({ "method": method, "path": path, "body": body }))
    });
    for (method, body, expected) in [
        ("GET", None, Value::Null),
        ("PUT", Some("{\"value\":21.5}"), json!({ "value": 21.5 })),
        ("POST", Some("{"), json!("no JSON")),
    ] {
        let response = request(address, method, &format!("{SETPOINT}?later=1"), body).unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(json_of(&response), json!({ "method": method, "path": SETPOINT, "body": expected }));
    }
    server.stop();
}

#[test]
fn an_own_endpoint_answers_like_a_resource() {
    let response = ask(&[accepted(), result("read", done())], "GET", SETPOINT, None);
    assert_eq!((response.status, &json_of(&response)["value"]), (200, &json!(21.5)));
    let queued = [accepted(), result("write", crate::model::command::Outcome::Queued)];
    assert_eq!(ask(&queued, "PUT", SETPOINT, Some("{\"value\":1}")).status, 202);
    let unknown = Answer::Failed(CommandError::new(ErrorKind::UnknownDevice, "no device is called 'x'"));
    assert_error(&ask(&[unknown], "GET", SETPOINT, None), 404, "unknown_device");
}

#[test]
fn without_an_endpoint_it_is_404_and_with_other_methods_405() {
    let nothing = Answer::NoEndpoint { allowed: Vec::new() };
    assert_error(&ask(&[nothing], "GET", SETPOINT, None), 404, "not_found");
    let response = ask(&[Answer::NoEndpoint { allowed: vec!["GET", "PUT"] }], "POST", SETPOINT, None);
    assert_error(&response, 405, "method_not_allowed");
    assert!(response.head.contains("allow: GET, PUT"), "{}", response.head);
}
