//! The server on a real loopback socket, with a core of a few lines.

mod access;
mod api_client;
mod bootstrap;
mod client;
mod commands;
mod credentials;
mod events;
mod leshan;
mod leshan_bootstrap;
mod own;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{ANSWER_TIME, HttpConfiguration, HttpServer, MAX_BODY_BYTES, MAX_CONNECTIONS, REQUEST_TIME, Times};
use crate::gateway::vocabulary::{Answer, Input, Query};
use crate::instrumentation::metrics::Metrics;
use crate::instrumentation::occurrence::Occurrence;
use client::{Response, exchange, request};

fn listening(address: &str) -> HttpConfiguration {
    HttpConfiguration { listen: vec![address.parse().unwrap()], ..HttpConfiguration::default() }
}

fn loopback() -> HttpConfiguration {
    listening("127.0.0.1:0")
}

/// A server whose core answers by `answer`.
fn start(answer: impl Fn(&Query) -> Answer + Send + 'static) -> (HttpServer, SocketAddr) {
    start_answering(move |query| vec![answer(query)])
}

/// A server whose core answers a question as often as `answers` says.
fn start_answering(answers_to: impl Fn(&Query) -> Vec<Answer> + Send + 'static) -> (HttpServer, SocketAddr) {
    start_configured(loopback(), answers_to)
}

fn start_configured(
    configuration: HttpConfiguration,
    answers_to: impl Fn(&Query) -> Vec<Answer> + Send + 'static,
) -> (HttpServer, SocketAddr) {
    let (core, mut inputs) = mpsc::channel::<Vec<Input>>(16);
    let metrics = Metrics::new();
    for _ in 0..42 {
        metrics.record(&Occurrence::DatagramReceived, &[]);
    }
    let server = HttpServer::start(configuration, core, metrics).unwrap();
    let answers = server.answers();
    std::thread::spawn(move || {
        while let Some(batch) = inputs.blocking_recv() {
            for input in batch {
                let Input::Request { request, query } = input else { continue };
                for answer in answers_to(&query) {
                    answers.try_send((request, answer)).unwrap();
                }
            }
        }
    });
    let address = server.addresses()[0];
    (server, address)
}

/// A core that tells what it was asked.
fn echo(query: &Query) -> Answer {
    match query {
        Query::Device { device } | Query::Values { device } | Query::Unmapped { device } if device == "nobody" => {
            Answer::UnknownDevice
        }
        Query::Ready => Answer::Body(json!({ "ready": true })),
        Query::Own { .. } => Answer::NoEndpoint { allowed: Vec::new() },
        other => Answer::Body(json!({ "asked": format!("{other:?}") })),
    }
}

fn get(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path, None).unwrap()
}

fn json_of(response: &Response) -> Value {
    assert!(response.head.to_lowercase().contains("content-type: application/json"), "{}", response.head);
    serde_json::from_str(&response.body).unwrap()
}

#[track_caller]
fn assert_error(response: &Response, status: u16, kind: &str) {
    assert_eq!(response.status, status, "{response:?}");
    let error = &json_of(response)["error"];
    assert_eq!(error["kind"], kind);
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
}

#[test]
fn questions_reach_the_core_with_their_parameters() {
    let (server, address) = start(echo);
    for (path, query) in [
        ("/api/v1/devices", Query::Devices { search: String::new(), after: None, limit: 100 }),
        (
            "/api/v1/devices?q=we%20a&after=x%2Fy&limit=7&later=1",
            Query::Devices { search: "we a".to_owned(), after: Some("x/y".to_owned()), limit: 7 },
        ),
        ("/api/v1/devices/a%2Fb%20%C3%A4", Query::Device { device: "a/b ä".to_owned() }),
        ("/api/v1/devices/urn:imei:1/values", Query::Values { device: "urn:imei:1".to_owned() }),
        ("/api/v1/devices/d/unmapped", Query::Unmapped { device: "d".to_owned() }),
        ("/api/v1/refused", Query::Refused),
    ] {
        let response = get(address, path);
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(json_of(&response)["asked"], format!("{query:?}"));
    }
    server.stop();
}

#[test]
fn joining_is_permitted_for_a_duration_and_mistakes_name_the_field() {
    let (server, address) = start(echo);
    let post = |body: &str| request(address, "POST", "/api/v1/permit_join", Some(body)).unwrap();
    let response = post("{\"for\":\"60s\"}");
    assert_eq!(response.status, 200);
    assert_eq!(json_of(&response)["asked"], "PermitJoin { duration: 60s }");
    assert_eq!(post("{\"for\":\"0s\"}").status, 200);
    for body in ["{}", "{\"for\":60}", "{\"for\":\"soon\"}", "{\"for\":\"25h\"}"] {
        let response = post(body);
        assert_error(&response, 400, "invalid");
        assert_eq!(json_of(&response)["error"]["field"], "for", "{body}");
    }
    for body in ["", "[]", "{\"for\":", "{\"for\":\"1s\",\"four\":1}"] {
        assert_error(&post(body), 400, "invalid");
    }
    assert_error(&post(&" ".repeat(MAX_BODY_BYTES + 1)), 413, "too_large");
    server.stop();
}

#[test]
fn one_object_is_put_under_its_own_number_and_version_alone() {
    let (server, address) = start(echo);
    let pump = "<LWM2M><Object><Name>Pump</Name><ObjectID>33000</ObjectID><ObjectVersion>1.1</ObjectVersion>\
                <Resources/></Object></LWM2M>";
    let put = |path: &str, body: &str| request(address, "PUT", path, Some(body)).unwrap();
    let response = put("/api/v1/objects/33000/1.1", pump);
    assert_eq!(response.status, 200, "{response:?}");
    let asked = json_of(&response)["asked"].to_string();
    assert!(asked.contains("model/put") && asked.contains("33000-1.1.xml"), "{asked}");
    for (path, body) in [
        ("/api/v1/objects/33001/1.1", pump),
        ("/api/v1/objects/33000/1.0", pump),
        ("/api/v1/objects/33000/..%2Fx", pump),
        ("/api/v1/objects/70000/1.1", pump),
        ("/api/v1/objects/33000/1.1", "no XML"),
    ] {
        assert_error(&put(path, body), 400, "invalid");
    }
    let gone = request(address, "DELETE", "/api/v1/objects/33000/1.1", None).unwrap();
    let asked = json_of(&gone)["asked"].to_string();
    assert!(asked.contains("model/delete") && asked.contains("33000-1.1.xml"), "{asked}");
    server.stop();
}

#[test]
fn wrong_paths_methods_and_parameters_have_their_status_and_a_json_body() {
    let (server, address) = start(echo);
    for path in ["/", "/api/v1/", "/api/v2", "/api/v1/devices/d/nothing", "/healthz/x"] {
        assert_error(&get(address, path), 404, "not_found");
    }
    assert_error(&get(address, "/api/v1/devices/nobody"), 404, "unknown_device");
    for (method, path, allowed) in
        [("POST", "/api/v1/devices", "GET"), ("GET", "/api/v1/permit_join", "POST"), ("DELETE", "/healthz", "GET")]
    {
        let response = request(address, method, path, None).unwrap();
        assert_error(&response, 405, "method_not_allowed");
        let allow = response.head.lines().find(|line| line.to_lowercase().starts_with("allow:"));
        assert!(allow.is_some_and(|allow| allow.contains(allowed)), "{}", response.head);
    }
    for path in ["/api/v1/devices?limit=0", "/api/v1/devices?limit=1001", "/api/v1/devices?limit=x"] {
        let response = get(address, path);
        assert_error(&response, 400, "invalid");
        assert_eq!(json_of(&response)["error"]["field"], "limit");
    }
    assert_error(&get(address, "/api/v1/devices/%ff"), 400, "invalid");
    server.stop();
}

#[test]
fn health_metrics_and_links_answer() {
    let (server, address) = start(echo);
    assert_eq!(json_of(&get(address, "/healthz")), json!({ "status": "ok" }));
    assert_eq!(get(address, "/readyz").status, 200);
    let metrics = get(address, "/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.head.to_lowercase().contains("content-type: application/openmetrics-text"));
    assert!(metrics.body.contains("lwm2mqtt_datagrams_received_total 42"));
    let links = json_of(&get(address, "/api/v1"));
    // The stream of events has no end.
    let ends = |path: &&str| *path != "/api/v1/events" && !path.ends_with("/trace");
    for path in links["links"].as_object().unwrap().values().filter_map(Value::as_str).filter(ends) {
        let response = get(address, &path.replace("{device}", "d").replace("{path}", "3/0/0"));
        assert!(!response.body.contains("there is nothing at"), "{path}");
    }
    assert_eq!(request(address, "HEAD", "/healthz", None).unwrap().body, "");
    server.stop();
}

#[test]
fn what_is_not_ready_says_so() {
    let (server, address) = start(|_| Answer::Body(json!({ "ready": false, "store": "damaged" })));
    let response = get(address, "/readyz");
    assert_eq!((response.status, json_of(&response)["store"].as_str()), (503, Some("damaged")));
    server.stop();
}

#[test]
fn web_pages_elsewhere_are_refused() {
    let (server, address) = start(echo);
    let ask = |headers: &str| {
        let text = format!("GET /api/v1/refused HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        exchange(address, text.as_bytes()).unwrap()
    };
    assert_eq!(ask("Host: localhost:1\r\n").status, 200);
    assert_error(&ask("Host: rebound.example\r\n"), 403, "forbidden");
    assert_error(&ask("Host: localhost\r\nOrigin: http://evil.example\r\n"), 403, "forbidden");
    assert_error(&ask("Host: localhost\r\nOrigin: null\r\n"), 403, "forbidden");
    server.stop();
}

#[test]
fn a_core_that_takes_nothing_is_busy_and_one_that_is_gone_too() {
    let (core, mut inputs) = mpsc::channel::<Vec<Input>>(1);
    core.try_send(Vec::new()).unwrap();
    let server = HttpServer::start(loopback(), core, Metrics::new()).unwrap();
    let address = server.addresses()[0];
    assert_error(&get(address, "/api/v1/refused"), 503, "busy");
    assert_eq!(get(address, "/readyz").status, 503);
    inputs.close();
    drop(inputs);
    assert_error(&get(address, "/api/v1/refused"), 503, "busy");
    assert_eq!(get(address, "/healthz").status, 200, "the process is alive all the same");
    server.stop();
}

#[test]
fn addresses_beyond_loopback_are_refused_and_a_taken_port_is_named() {
    let (core, _inputs) = mpsc::channel(1);
    let refused = HttpServer::start(listening("0.0.0.0:0"), core.clone(), Metrics::new()).unwrap_err();
    assert!(refused.to_string().contains("not loopback"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let refused = HttpServer::start(listening(&address.to_string()), core, Metrics::new()).unwrap_err();
    assert!(refused.to_string().contains(&address.to_string()), "{refused}");
}

#[test]
fn a_stopped_server_closes_idle_connections() {
    use std::io::Read as _;
    let (server, address) = start(echo);
    let mut idle = std::net::TcpStream::connect(address).unwrap();
    assert_eq!(get(address, "/healthz").status, 200, "the idle connection was accepted before this one");
    server.stop();
    assert!(matches!(idle.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn connections_beyond_the_bound_wait_until_one_ends() {
    use std::io::{Read as _, Write as _};
    let (server, address) = start(echo);
    let connect = || std::net::TcpStream::connect(address).unwrap();
    let mut idle: Vec<_> = (0..MAX_CONNECTIONS).map(|_| connect()).collect();
    let mut waiting = connect();
    waiting.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    waiting.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    assert!(waiting.read(&mut [0]).is_err(), "nothing comes while all places are taken");
    drop(idle.pop());
    waiting.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(idle);
    server.stop();
}

#[test]
fn a_core_that_does_not_answer_is_a_timeout_and_a_late_answer_harms_nothing() {
    let (core, mut inputs) = mpsc::channel::<Vec<Input>>(4);
    let times = Times { request: REQUEST_TIME, answer: std::time::Duration::from_millis(20) };
    let server = HttpServer::start_with(loopback(), core, Metrics::new(), times).unwrap();
    let address = server.addresses()[0];
    assert_error(&get(address, "/api/v1/refused"), 504, "timeout");
    let Some(Input::Request { request, .. }) = inputs.blocking_recv().unwrap().pop() else { panic!("no request") };
    server.answers().try_send((request, Answer::UnknownDevice)).unwrap();
    assert_eq!(get(address, "/readyz").status, 503);
    assert_eq!(get(address, "/healthz").status, 200);
    server.stop();
}

#[test]
fn a_body_that_never_ends_is_a_timeout() {
    let (core, _inputs) = mpsc::channel::<Vec<Input>>(4);
    let times = Times { request: std::time::Duration::from_millis(20), answer: ANSWER_TIME };
    let server = HttpServer::start_with(loopback(), core, Metrics::new(), times).unwrap();
    let address = server.addresses()[0];
    let head = "POST /api/v1/permit_join HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{";
    assert_error(&exchange(address, head.as_bytes()).unwrap(), 408, "timeout");
    server.stop();
}

#[test]
fn the_openapi_document_describes_what_is_linked_and_names_no_operation_twice() {
    let (server, address) = start(echo);
    let document = json_of(&get(address, "/api/openapi.json"));
    assert_eq!(document["openapi"], "3.1.0");
    let links = json_of(&get(address, "/api/v1"));
    let linked: std::collections::BTreeSet<&str> =
        links["links"].as_object().unwrap().values().filter_map(Value::as_str).collect();
    let paths = document["paths"].as_object().unwrap();
    for path in paths.keys().filter(|path| *path != "/api/v1") {
        assert!(linked.contains(path.as_str()), "{path} is not linked");
    }
    let described = |path: &&str| !paths.contains_key(*path) && *path != "/api/openapi.json";
    assert_eq!(linked.iter().copied().find(described), None, "linked and not described");
    let mut names = std::collections::BTreeSet::new();
    for operation in paths.values().flat_map(|item| item.as_object().unwrap().values()) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "{name} stands twice");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name} has no success");
    }
    let text = document.to_string();
    for (position, _) in text.match_indices("#/components/schemas/") {
        let name = text[position + "#/components/schemas/".len()..].split('"').next().unwrap();
        assert!(!document["components"]["schemas"][name].is_null(), "{name} is not described");
    }
    server.stop();
}

#[test]
fn lists_are_paged_and_searched() {
    let (server, address) = start(|_| {
        let items: Vec<Value> = (0..5).map(|n| json!({ "path": format!("/3303/{n}/5700") })).collect();
        Answer::Body(json!({ "items": items, "next": null }))
    });
    let page = |query: &str| json_of(&get(address, &format!("/api/v1/devices/d/unmapped?{query}")));
    let first = page("limit=2");
    assert_eq!((first["items"].as_array().unwrap().len(), &first["next"]), (2, &json!("2")));
    let last = page("limit=3&after=2");
    assert_eq!((&last["items"][0]["path"], &last["next"]), (&json!("/3303/2/5700"), &Value::Null));
    assert_eq!(page("q=/3303/4")["items"].as_array().unwrap().len(), 1);
    let wrong = get(address, "/api/v1/devices/d/unmapped?after=x");
    assert_error(&wrong, 400, "invalid");
    server.stop();
}
