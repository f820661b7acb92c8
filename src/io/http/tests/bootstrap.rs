//! The routes of the bootstrap server, with a core of a few lines.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::client::{Response, exchange, request};
use super::{assert_error, echo, get, json_of, loopback, start, start_configured};
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{Answer, BootstrapQuery, Query};
use crate::io::http::{HttpConfiguration, Token};
use crate::model::command::{CommandError, ErrorKind};

fn send(address: SocketAddr, method: &str, path: &str, body: &Value) -> Response {
    let body = if body.is_null() { None } else { Some(body.to_string()) };
    request(address, method, &format!("/api/v1/bootstrap{path}"), body.as_deref()).unwrap()
}

fn asked(query: BootstrapQuery) -> Value {
    format!("{:?}", Query::Bootstrap(query)).into()
}

#[test]
fn what_is_looked_at_reaches_the_core_with_its_parameters() {
    let (server, address) = start(echo);
    let text = str::to_owned;
    for (path, query) in [
        ("/servers", BootstrapQuery::Servers),
        ("/servers/site-a.psk", BootstrapQuery::Server { name: text("site-a.psk") }),
        ("/devices", BootstrapQuery::Devices { search: String::new(), after: None, limit: 100 }),
        (
            "/devices?q=meter&after=a%2Fb&limit=7",
            BootstrapQuery::Devices { search: text("meter"), after: Some(text("a/b")), limit: 7 },
        ),
        ("/devices/*", BootstrapQuery::Device { name: text("*") }),
        ("/devices/urn:imei:%2A", BootstrapQuery::Device { name: text("urn:imei:*") }),
        ("/devices/a%2Fb%3F", BootstrapQuery::Device { name: text("a/b?") }),
        ("/sessions", BootstrapQuery::Sessions { endpoint: None, after: None, limit: 100 }),
        (
            "/sessions?endpoint=m%201&after=7&limit=1000",
            BootstrapQuery::Sessions { endpoint: Some(text("m 1")), after: Some(text("7")), limit: 1_000 },
        ),
        ("/sessions/b-7", BootstrapQuery::Session { id: text("b-7") }),
        ("/pending", BootstrapQuery::Pending),
    ] {
        let response = send(address, "GET", path, &Value::Null);
        assert_eq!((response.status, &json_of(&response)["asked"]), (200, &asked(query)), "{path}");
    }
    for path in ["/devices?limit=0", "/sessions?limit=1001", "/servers?limit=x", "/pending?after=x"] {
        assert_error(&send(address, "GET", path, &Value::Null), 400, "invalid");
    }
    server.stop();
}

#[test]
fn what_is_changed_reaches_the_core_with_its_body() {
    let (server, address) = start(echo);
    let text = str::to_owned;
    let account = json!({ "security_mode": "psk", "psk_key": { "random": 32 } });
    let entry = json!({ "servers": ["management_psk"] });
    let put_server = |dry_run| BootstrapQuery::PutServer { name: text("site"), body: account.clone(), dry_run };
    let put_device = |dry_run| BootstrapQuery::PutDevice { name: text("meter-*"), body: entry.clone(), dry_run };
    let add = |server: Value| BootstrapQuery::AddServer { device: text("meter-*"), server };
    for (method, path, body, query) in [
        ("PUT", "/servers/site", &account, put_server(false)),
        ("PUT", "/servers/site?dry_run=true", &account, put_server(true)),
        ("PUT", "/devices/meter-%2A", &entry, put_device(false)),
        ("PUT", "/devices/meter-*?dry_run", &entry, put_device(true)),
        ("DELETE", "/devices", &Value::Null, BootstrapQuery::RemoveDevices),
        ("POST", "/devices/meter-*/servers", &json!({ "server": "site" }), add("site".into())),
        ("POST", "/devices/meter-*/servers", &json!({ "server": account.clone() }), add(account.clone())),
        ("POST", "/pending/m-1", &Value::Null, BootstrapQuery::Approve { endpoint: text("m-1"), body: json!({}) }),
        ("POST", "/pending/m%2F1", &entry, BootstrapQuery::Approve { endpoint: text("m/1"), body: entry.clone() }),
    ] {
        let response = send(address, method, path, body);
        assert_eq!((response.status, &json_of(&response)["asked"]), (200, &asked(query)), "{method} {path}");
    }
    for (method, path, body) in [
        ("PUT", "/servers/site", json!([])),
        ("PUT", "/servers/site?dry_run=perhaps", json!({})),
        ("PUT", "/devices/d", json!("site")),
        ("DELETE", "/servers/site?cascade=2", Value::Null),
        ("POST", "/devices/d/servers", json!({})),
        ("POST", "/devices/d/servers", json!({ "server": 7 })),
        ("POST", "/devices/d/servers", json!({ "server": "site", "servers": [] })),
        ("POST", "/pending/d", json!({ "servers": "site" })),
        ("POST", "/pending/d", json!({ "server": "site" })),
    ] {
        assert_error(&send(address, method, path, &body), 400, "invalid");
    }
    server.stop();
}

#[test]
fn what_is_removed_is_answered_without_a_body() {
    let (server, address) = start(|query| {
        let told = format!("{query:?}");
        for expected in [
            "RemoveServer { name: \"a\", cascade: false }",
            "RemoveServer { name: \"b\", cascade: true }",
            "RemoveDevice { name: \"meter-*\" }",
            "TakeServer { device: \"meter-*\", server: \"a\" }",
        ] {
            if told.contains(expected) {
                return Answer::Body(json!({}));
            }
        }
        Answer::Failed(CommandError::new(ErrorKind::NotFound, format!("there is no {told}")))
    });
    for path in ["/servers/a", "/servers/b?cascade=true", "/devices/meter-%2A", "/devices/meter-*/servers/a"] {
        let response = send(address, "DELETE", path, &Value::Null);
        assert_eq!((response.status, response.body.as_str()), (204, ""), "{path}");
    }
    for path in ["/servers/c", "/devices/d", "/devices/d/servers/0"] {
        assert_error(&send(address, "DELETE", path, &Value::Null), 404, "not_found");
    }
    server.stop();
}

#[test]
fn what_is_created_is_201_what_is_wrong_400_with_every_problem_and_what_is_used_409() {
    let (server, address) = start(|query| match query {
        Query::Bootstrap(BootstrapQuery::RemoveServer { .. }) => {
            Answer::Failed(CommandError::new(ErrorKind::Conflict, "meter-* and valve-1 use it"))
        }
        Query::Bootstrap(BootstrapQuery::PutServer { name, .. }) if name == "wrong" => {
            let problems = json!([
                { "field": "psk_key", "message": "is missing" },
                { "field": "uri", "message": "is coap://, which has no security" },
            ]);
            let error = CommandError::new(ErrorKind::Invalid, "psk_key: is missing; uri: is coap://");
            Answer::Failed(CommandError { problems: Some(Box::new(problems)), ..error })
        }
        Query::Bootstrap(BootstrapQuery::PutDevice { name, .. }) if name == "old" => {
            Answer::Body(json!({ "name": name, "created": false }))
        }
        _ => Answer::Body(json!({ "name": "x", "created": true })),
    });
    let empty = json!({});
    let added = json!({ "server": "site" });
    for (method, path, body, status) in [
        ("PUT", "/servers/new", &empty, 201),
        ("PUT", "/servers/new?dry_run=true", &empty, 200),
        ("PUT", "/devices/new", &empty, 201),
        ("PUT", "/devices/old", &empty, 200),
        ("POST", "/devices/new/servers", &added, 201),
    ] {
        assert_eq!(send(address, method, path, body).status, status, "{method} {path}");
    }
    let used = send(address, "DELETE", "/servers/site", &Value::Null);
    assert_error(&used, 409, "conflict");
    assert!(used.body.contains("meter-* and valve-1"), "{}", used.body);
    let wrong = send(address, "PUT", "/servers/wrong", &empty);
    assert_error(&wrong, 400, "invalid");
    let error = &json_of(&wrong)["error"];
    assert_eq!((error["field"].as_str(), error["problems"].as_array().map(Vec::len)), (Some("psk_key"), Some(2)));
    server.stop();
}

#[test]
fn accounts_and_pending_devices_are_paged() {
    let (server, address) = start(|query| {
        let items: Vec<Value> =
            (0..5).map(|n| json!({ "name": format!("n{n}"), "endpoint": format!("e{n}") })).collect();
        assert!(matches!(query, Query::Bootstrap(BootstrapQuery::Servers | BootstrapQuery::Pending)), "{query:?}");
        Answer::Body(json!({ "items": items, "next": null }))
    });
    let page = |path: &str| json_of(&get(address, &format!("/api/v1/bootstrap{path}")));
    let first = page("/servers?limit=2");
    assert_eq!((&first["items"][1]["name"], &first["next"]), (&json!("n1"), &json!("2")));
    assert_eq!(page("/servers?limit=2&after=4")["next"], Value::Null);
    assert_eq!(page("/servers?q=n3")["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(page("/pending?q=e3")["items"][0]["endpoint"], "e3");
    server.stop();
}

#[test]
fn admins_say_what_is_handed_out_operators_let_devices_in_and_viewers_look_on() {
    let tokens = vec![
        Token::new("eyes", Role::Viewer, "v"),
        Token::new("hands", Role::Operator, "o"),
        Token::new("ops", Role::Admin, "a"),
    ];
    let (server, address) = start_configured(HttpConfiguration { tokens, ..loopback() }, |query| vec![echo(query)]);
    let inline = "{\"servers\":[\"site\",{\"security_mode\":\"nosec\"}]}";
    for (method, path, body, least) in [
        ("GET", "/servers", "", Role::Admin),
        ("GET", "/servers/a", "", Role::Admin),
        ("PUT", "/servers/a", "{}", Role::Admin),
        ("DELETE", "/servers/a", "", Role::Admin),
        ("GET", "/devices", "", Role::Admin),
        ("DELETE", "/devices", "", Role::Admin),
        ("GET", "/devices/a", "", Role::Admin),
        ("PUT", "/devices/a", "{}", Role::Admin),
        ("DELETE", "/devices/a", "", Role::Admin),
        ("POST", "/devices/a/servers", "{\"server\":\"b\"}", Role::Admin),
        ("DELETE", "/devices/a/servers/b", "", Role::Admin),
        ("POST", "/pending/a", inline, Role::Admin),
        ("POST", "/pending/a", "{\"servers\":[\"site\"]}", Role::Operator),
        ("POST", "/pending/a", "", Role::Operator),
        ("GET", "/pending", "", Role::Viewer),
        ("GET", "/sessions", "", Role::Viewer),
        ("GET", "/sessions/1", "", Role::Viewer),
    ] {
        let ask = |token: &str| {
            let length = body.len();
            let text = format!(
                "{method} /api/v1/bootstrap{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            exchange(address, text.as_bytes()).unwrap()
        };
        for (token, role) in [("v", Role::Viewer), ("o", Role::Operator), ("a", Role::Admin)] {
            let response = ask(token);
            if role >= least {
                assert!((200..300).contains(&response.status), "{method} {path} {token}: {response:?}");
            } else {
                assert_error(&response, 403, "forbidden");
            }
        }
    }
    server.stop();
}
