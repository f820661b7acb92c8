//! Credentials over HTTP, with a core of a few lines.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::client::{Response, request};
use super::{assert_error, get, json_of};
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{Answer, Input, Query};
use crate::instrumentation::metrics::Metrics;
use crate::io::http::{HttpConfiguration, HttpServer, Token};
use crate::model::command::{CommandError, ErrorKind};
use crate::model::credential::{Proof, Scope};
use crate::model::credential_wish::{CredentialWish, Means};

/// A server, its two addresses, and what its core was asked to put.
struct Put {
    server: HttpServer,
    own: SocketAddr,
    leshan: SocketAddr,
    wishes: mpsc::Receiver<CredentialWish>,
}

/// A core that takes every wish but those for `taken`.
fn start(tokens: Vec<Token>) -> Put {
    let (core, mut inputs) = mpsc::channel::<Vec<Input>>(16);
    let loopback: Vec<SocketAddr> = vec!["127.0.0.1:0".parse().unwrap()];
    let configuration =
        HttpConfiguration { listen: loopback.clone(), leshan_listen: loopback, tokens, ..HttpConfiguration::default() };
    let server = HttpServer::start(configuration, core, Metrics::new()).unwrap();
    let answers = server.answers();
    let (told, wishes) = mpsc::channel(64);
    let put = move |wish: CredentialWish| {
        if wish.endpoint.as_str() == "taken" {
            return Err(CommandError::new(ErrorKind::Conflict, "identity: 'taken' is in use"));
        }
        let created = json!({ "endpoint": wish.endpoint.as_str(), "created": true, "status": "created" });
        told.try_send(wish).unwrap();
        Ok(created)
    };
    std::thread::spawn(move || {
        while let Some(batch) = inputs.blocking_recv() {
            for input in batch {
                let Input::Request { request, query } = input else { continue };
                let answer = match query {
                    Query::PutCredential(wish) => put(*wish).map_or_else(Answer::Failed, Answer::Body),
                    Query::PutCredentials { wishes, all_or_nothing, dry_run } => {
                        let mut failed = 0;
                        let mut item = |wish: Result<CredentialWish, _>| {
                            wish.and_then(&put).unwrap_or_else(|error| {
                                failed += 1;
                                json!({ "status": "failed", "error": error.to_json() })
                            })
                        };
                        let items: Vec<Value> = wishes.into_iter().map(&mut item).collect();
                        Answer::Body(
                            json!({ "items": items, "failed": failed, "all": all_or_nothing, "dry_run": dry_run }),
                        )
                    }
                    Query::Credentials { after: None, scope, .. } => {
                        let item = json!({ "endpoint": "a", "mode": "psk", "identity": "i" });
                        Answer::Body(json!({ "items": [item], "next": "server/a", "asked": format!("{scope:?}") }))
                    }
                    Query::Credentials { .. } => {
                        let blocked = json!({ "endpoint": "b", "mode": "blocked" });
                        let certified = json!({ "endpoint": "c", "mode": "x509" });
                        Answer::Body(json!({ "items": [blocked, certified], "next": null }))
                    }
                    Query::RemoveCredential { scope: Scope::Server, endpoint } if endpoint == "a" => {
                        Answer::Body(json!({}))
                    }
                    Query::RemoveCredential { .. } => {
                        Answer::Failed(CommandError::new(ErrorKind::NotFound, "there is no credential"))
                    }
                    other => Answer::Body(json!({ "asked": format!("{other:?}") })),
                };
                answers.try_send((request, answer)).unwrap();
            }
        }
    });
    let (own, leshan) = (server.addresses()[0], server.leshan_addresses()[0]);
    Put { server, own, leshan, wishes }
}

fn put(address: SocketAddr, path: &str, body: &Value) -> Response {
    request(address, "PUT", path, Some(&body.to_string())).unwrap()
}

fn key_of(wish: &CredentialWish) -> Vec<u8> {
    match &wish.means {
        Means::Proof(Proof::Psk { key, .. }) => key.expose().to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_that_is_made_is_told_once_and_one_that_is_given_never() {
    let Put { server, own, mut wishes, .. } = start(Vec::new());
    let response = put(own, "/api/v1/credentials/node-1", &json!({ "mode": "psk", "key": null }));
    assert_eq!(response.status, 201, "{response:?}");
    let made = wishes.try_recv().unwrap();
    let key = key_of(&made);
    assert_eq!((key.len(), made.scope), (16, Scope::Server));
    assert_eq!(json_of(&response)["key"], data_encoding::HEXLOWER.encode(&key));

    let given = json!({ "mode": "psk", "key": "6b65796b6579", "scope": "bootstrap", "keep_old": "24h" });
    let response = put(own, "/api/v1/credentials/node-1", &given);
    assert!(!response.body.contains("6b6579"), "{}", response.body);
    let wish = wishes.try_recv().unwrap();
    assert_eq!((key_of(&wish), wish.scope), (b"keykey".to_vec(), Scope::Bootstrap));
    server.stop();
}

#[test]
fn what_is_wrong_is_named_with_its_field() {
    let Put { server, own, mut wishes, .. } = start(Vec::new());
    for (body, status, kind, field) in [
        (json!({}), 400, "invalid", Some("mode")),
        (json!({ "mode": "psk", "key": "xyz" }), 400, "invalid", Some("key")),
        (json!({ "mode": "rpk", "public_key": "AQID" }), 400, "invalid", Some("public_key")),
        (json!({ "mode": "x509", "certificate": "no" }), 400, "invalid", Some("certificate")),
        (json!({ "mode": "psk", "endpoint": "b" }), 400, "invalid", Some("endpoint")),
        (json!({ "mode": "psk" }), 409, "conflict", None),
    ] {
        let path = if status == 409 { "/api/v1/credentials/taken" } else { "/api/v1/credentials/a" };
        let response = put(own, path, &body);
        assert_error(&response, status, kind);
        assert_eq!(json_of(&response)["error"].get("field").and_then(Value::as_str), field, "{body}");
    }
    let both = put(own, "/api/v1/credentials/a?scope=server", &json!({ "mode": "nosec", "scope": "bootstrap" }));
    assert_error(&both, 400, "invalid");
    assert_error(&get(own, "/api/v1/credentials?scope=else"), 400, "invalid");
    assert!(wishes.try_recv().is_err());
    server.stop();
}

#[test]
fn a_list_is_put_with_a_result_for_each() {
    let Put { server, own, mut wishes, .. } = start(Vec::new());
    let list = json!([
        { "endpoint": "a", "mode": "psk" },
        { "endpoint": "b", "mode": "psk", "key": "x" },
        { "mode": "psk" },
        7,
        { "endpoint": "taken", "mode": "psk" },
        { "endpoint": "c", "mode": "nosec" },
    ]);
    let response = request(own, "POST", "/api/v1/credentials?dry_run=false", Some(&list.to_string())).unwrap();
    assert_eq!(response.status, 200);
    let answer = json_of(&response);
    let items = answer["items"].as_array().unwrap();
    let statuses: Vec<&str> = items.iter().filter_map(|item| item["status"].as_str()).collect();
    assert_eq!(statuses, ["created", "failed", "failed", "failed", "failed", "created"]);
    assert_eq!(items[0]["key"], data_encoding::HEXLOWER.encode(&key_of(&wishes.try_recv().unwrap())));
    assert_eq!((&items[1]["endpoint"], items[1].get("key")), (&json!("b"), None));
    assert!(items[1]["error"]["message"].as_str().unwrap().starts_with("key: "), "{}", items[1]);
    assert_eq!((items[4].get("key"), items[5].get("key")), (None, None));

    let tried = request(own, "POST", "/api/v1/credentials?dry_run=true", Some(&list.to_string())).unwrap();
    assert_eq!((tried.status, json_of(&tried)["items"][0].get("key")), (200, None), "no key is told that is not put");
    let refused = request(own, "POST", "/api/v1/credentials?all_or_nothing", Some(&list.to_string())).unwrap();
    assert_error(&refused, 409, "conflict");
    assert_eq!(json_of(&refused)["items"].as_array().map(Vec::len), Some(6));

    let many = Value::Array(vec![json!({}); 1_001]);
    assert_error(&request(own, "POST", "/api/v1/credentials", Some(&many.to_string())).unwrap(), 413, "too_large");
    assert_error(&request(own, "POST", "/api/v1/credentials", Some("{}")).unwrap(), 400, "invalid");
    server.stop();
}

#[test]
fn credentials_are_looked_at_and_removed_by_scope() {
    let Put { server, own, .. } = start(Vec::new());
    assert_eq!(json_of(&get(own, "/api/v1/credentials"))["asked"], "None");
    assert_eq!(json_of(&get(own, "/api/v1/credentials?scope=bootstrap"))["asked"], "Some(Bootstrap)");
    let one = json_of(&get(own, "/api/v1/credentials/a%2Fb?scope=bootstrap"));
    assert_eq!(
        one["asked"],
        format!("{:?}", Query::Credential { scope: Scope::Bootstrap, endpoint: "a/b".to_owned() })
    );
    assert_eq!(request(own, "DELETE", "/api/v1/credentials/a", None).unwrap().status, 204);
    assert_error(&request(own, "DELETE", "/api/v1/credentials/b", None).unwrap(), 404, "not_found");
    server.stop();
}

#[test]
fn only_admins_touch_credentials() {
    let Put { server, own, leshan, .. } = start(vec![Token::new("ops", Role::Operator, "sesame")]);
    let ask = |address, method: &str, path: &str| {
        let body = if method == "PUT" { "{}" } else { "[]" };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sesame");
        let rest = format!("Connection: close\r\nContent-Length: 2\r\n\r\n{body}");
        super::exchange(address, format!("{head}\r\n{rest}").as_bytes()).unwrap()
    };
    for (method, path) in [
        ("GET", "/api/v1/credentials"),
        ("POST", "/api/v1/credentials"),
        ("GET", "/api/v1/credentials/a"),
        ("PUT", "/api/v1/credentials/a"),
        ("DELETE", "/api/v1/credentials/a"),
    ] {
        assert_error(&ask(own, method, path), 403, "forbidden");
    }
    for (method, path) in
        [("GET", "/api/security/clients"), ("PUT", "/api/security/clients"), ("DELETE", "/api/security/clients/a")]
    {
        assert_error(&ask(leshan, method, path), 403, "forbidden");
    }
    server.stop();
}

#[test]
fn leshans_shapes_become_credentials() {
    let Put { server, leshan, mut wishes, .. } = start(Vec::new());
    let psk = json!({ "endpoint": "ep", "tls": { "mode": "psk", "details": { "identity": "i", "key": "0a0b" } } });
    let response = put(leshan, "/api/security/clients/", &psk);
    assert_eq!((response.status, response.body.as_str()), (200, ""));
    let wish = wishes.try_recv().unwrap();
    let identity: Arc<[u8]> = b"i".as_slice().into();
    let Means::Proof(Proof::Psk { identity: put_identity, key }) = &wish.means else { panic!() };
    assert_eq!((put_identity, key.expose(), wish.endpoint.as_str()), (&identity, [10, 11].as_slice(), "ep"));

    let taken = json!({ "endpoint": "taken", "tls": { "mode": "x509" } });
    let response = put(leshan, "/api/security/clients/", &taken);
    assert_eq!((response.status, response.body.as_str()), (400, "identity: 'taken' is in use"));
    let list = json_of(&get(leshan, "/api/security/clients"));
    let expected = json!([
        { "endpoint": "a", "tls": { "mode": "psk", "details": { "identity": "i" } } },
        { "endpoint": "c", "tls": { "mode": "x509" } },
    ]);
    assert_eq!(list, expected);
    let remove = |name: &str| request(leshan, "DELETE", &format!("/api/security/clients/{name}"), None).unwrap();
    assert_eq!((remove("a").status, remove("a").body.as_str()), (200, ""));
    assert_eq!((remove("b").status, json_of(&remove("b"))), (200, json!({ "message": "not_found" })));
    server.stop();
}
