//! The Leshan-compatible API on a real socket, with a core of a few lines.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::client::{Response, request};
use super::{assert_error, json_of};
use crate::gateway::vocabulary::{Answer, CommandProgress, Input, Query};
use crate::instrumentation::metrics::Metrics;
use crate::io::http::{HttpConfiguration, HttpServer, MAX_DELAYED, Token};
use crate::model::command::{CommandResult, Outcome};
use crate::model::endpoint::Endpoint;
use crate::model::object::ObjectModel;
use crate::model::report::DeviceFacts;
use crate::model::time::WallTime;

fn result(outcome: Outcome) -> Answer {
    Answer::Command(CommandProgress::Result(CommandResult {
        id: "7".to_owned(),
        endpoint: Endpoint::new("ep").unwrap(),
        operation: "read".to_owned(),
        path: None,
        key: None,
        ts: WallTime::from_secs(1),
        outcome,
    }))
}

/// A server whose core knows the device `ep` and answers commands so. What it was commanded is sent on.
fn start(commands: Vec<Answer>) -> (HttpServer, SocketAddr, mpsc::Receiver<Value>) {
    let (core, mut inputs) = mpsc::channel::<Vec<Input>>(16);
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let configuration = HttpConfiguration { leshan_listen: listen, ..HttpConfiguration::default() };
    let server = HttpServer::start(configuration, core, Metrics::new()).unwrap();
    let answers = server.answers();
    let (told, commanded) = mpsc::channel(2 * MAX_DELAYED);
    let model = Arc::new(ObjectModel::built_in());
    std::thread::spawn(move || {
        while let Some(batch) = inputs.blocking_recv() {
            for input in batch {
                let Input::Request { request, query } = input else { continue };
                let all = match query {
                    Query::Registrations { endpoint: None } => vec![Answer::Body(json!([{ "endpoint": "ep" }]))],
                    Query::Registrations { endpoint: Some(name) } if name == "ep" => {
                        vec![Answer::Body(json!({ "endpoint": "ep" }))]
                    }
                    Query::Model { .. } => {
                        vec![Answer::Model { model: model.clone(), facts: Box::new(DeviceFacts::default()) }]
                    }
                    Query::Command { body, .. } => {
                        let cancels = body["operation"] == "cancel";
                        let _ = told.try_send(body);
                        if cancels { vec![Answer::UnknownDevice] } else { commands.clone() }
                    }
                    _ => vec![Answer::UnknownDevice],
                };
                for answer in all {
                    answers.try_send((request, answer)).unwrap();
                }
            }
        }
    });
    let address = server.leshan_addresses()[0];
    (server, address, commanded)
}

fn get(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path, None).unwrap()
}

#[test]
fn a_read_is_a_command_and_its_result_a_node() {
    let done =
        Outcome::Done { code: "2.05".to_owned(), answer: [("value".to_owned(), json!(95))].into_iter().collect() };
    let (server, address, mut commanded) = start(vec![result(done)]);
    let response = get(address, "/api/clients/ep/3/0/9?timeout=3&format=TLV");
    assert_eq!(response.status, 200);
    assert_eq!(json_of(&response)["content"]["value"], "95");
    let mut command = commanded.try_recv().unwrap();
    let id = command.as_object_mut().unwrap().remove("id").unwrap();
    assert!(id.as_str().unwrap().starts_with("leshan-"), "{id}");
    assert_eq!(command, json!({ "operation": "read", "path": "/3/0/9", "format": "tlv", "timeout": "3000ms" }));
    server.stop();
}

#[test]
fn unknown_clients_are_400_and_what_the_other_server_has_is_404() {
    let (server, address, _commanded) = start(Vec::new());
    assert_eq!(json_of(&get(address, "/api/clients")), json!([{ "endpoint": "ep" }]));
    for path in ["/api/clients/x", "/api/clients/x/3", "/api/objectspecs/x"] {
        let response = get(address, path);
        assert_eq!((response.status, response.body.as_str()), (400, "no registered client with id 'x'"), "{path}");
    }
    assert_eq!(request(address, "POST", "/api/bootstrap/ep", Some("{}")).unwrap().status, 404);
    assert_eq!(get(address, "/api/v1/devices").status, 404, "the own API is elsewhere");
    assert_eq!(get(address, "/healthz").status, 404);
    server.stop();
}

#[test]
fn a_silent_device_is_504_and_its_command_withdrawn() {
    let accepted = CommandProgress::Accepted { endpoint: Endpoint::new("ep").unwrap(), id: "7".to_owned() };
    let (server, address, mut commanded) = start(vec![Answer::Command(accepted)]);
    let response = get(address, "/api/clients/ep/3?timeout=0");
    assert_eq!((response.status, response.body.as_str()), (504, "Request timeout"));
    let read = commanded.try_recv().unwrap();
    assert_eq!(commanded.try_recv().unwrap(), json!({ "operation": "cancel", "command": read["id"] }));
    server.stop();
}

#[test]
fn promised_results_are_bounded_by_max_delayed() {
    let (server, address, _commanded) = start(vec![result(Outcome::Queued)]);
    for _ in 0..MAX_DELAYED {
        let response = get(address, "/api/clients/ep/3");
        assert_eq!((response.status, &json_of(&response)["delayed"]), (200, &json!(true)));
    }
    assert_error(&get(address, "/api/clients/ep/3"), 503, "busy");
    server.stop();
}

#[test]
fn beyond_loopback_it_needs_tokens_and_with_them_every_request_does() {
    let (core, _inputs) = mpsc::channel(1);
    let beyond =
        HttpConfiguration { leshan_listen: vec!["0.0.0.0:0".parse().unwrap()], ..HttpConfiguration::default() };
    let refused = HttpServer::start(beyond.clone(), core.clone(), Metrics::new()).unwrap_err();
    assert!(refused.to_string().contains("not loopback"), "{refused}");
    let tokens = vec![Token::new("ops", crate::gateway::configuration::Role::Operator, "sesame")];
    let server = HttpServer::start(HttpConfiguration { tokens, ..beyond }, core, Metrics::new()).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], server.leshan_addresses()[0].port()));
    for path in ["/api/clients", "/api/event", "/api/security/clients", "/nothing"] {
        assert_error(&get(address, path), 401, "unauthorized");
    }
    server.stop();
}
