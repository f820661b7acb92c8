//! The Leshan-compatible bootstrap API on a real socket, with a core that keeps entries without looking at them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::client::{Response, request};
use super::events::Client;
use super::{assert_error, json_of, loopback, start_configured};
use crate::gateway::bootstrap::news::{News, SessionNews};
use crate::gateway::configuration::{Role, Transport};
use crate::gateway::vocabulary::{Answer, BootstrapQuery, Query};
use crate::io::http::{Addresses, HttpConfiguration, HttpServer, Reachable, StreamEvent, Token};
use crate::model::command::{CommandError, ErrorKind};
use crate::model::credential::Scope;
use crate::model::endpoint::Endpoint;
use crate::model::time::WallTime;
use crate::northbound::leshan::Event;

/// A core of a few lines.
struct Keeper {
    entries: RefCell<BTreeMap<String, Value>>,
    /// What was put, by the name of its entry, or by scope and name of its credential.
    told: mpsc::Sender<(String, Value)>,
}

/// Entries by name, a page for each; what is secret is hidden as the core hides it.
fn answer(Keeper { entries, told }: &Keeper, query: &Query) -> Answer {
    let mut entries = entries.borrow_mut();
    let shown = |name: &str, entry: &Value| {
        let mut shown = entry.clone();
        for account in shown["servers"].as_array_mut().unwrap() {
            if account.get("psk_key").is_some() {
                account["psk_key"] = json!({ "secret": true });
            }
        }
        shown["name"] = name.into();
        shown
    };
    let none = || Answer::Failed(CommandError::new(ErrorKind::NotFound, "there is no such entry"));
    match query {
        Query::Bootstrap(BootstrapQuery::PutDevice { name, .. }) if name == "wrong" => {
            Answer::Failed(CommandError::new(ErrorKind::Invalid, "servers[0].uri: has no host"))
        }
        Query::Bootstrap(BootstrapQuery::PutDevice { name, .. }) if name == "off" => {
            Answer::Failed(CommandError::new(ErrorKind::NotSupported, "there is no bootstrap server"))
        }
        Query::Bootstrap(BootstrapQuery::PutDevice { name, body, dry_run: false }) => {
            entries.insert(name.clone(), body.clone());
            told.try_send((name.clone(), body.clone())).unwrap();
            Answer::Body(json!({ "created": true }))
        }
        Query::Bootstrap(BootstrapQuery::RemoveDevice { name }) => {
            entries.remove(name).map_or_else(none, |_| Answer::Body(json!({})))
        }
        Query::Bootstrap(BootstrapQuery::Device { name }) => {
            entries.get(name).map_or_else(none, |entry| Answer::Body(shown(name, entry)))
        }
        Query::Bootstrap(BootstrapQuery::Devices { after, .. }) => {
            let after = after.clone().unwrap_or_default();
            let next = entries.iter().find(|(name, _)| **name > after);
            let items: Vec<Value> = next.iter().map(|(name, entry)| shown(name, entry)).collect();
            Answer::Body(json!({ "items": items, "next": next.map(|(name, _)| name) }))
        }
        Query::Bootstrap(BootstrapQuery::Servers) => {
            let central = json!({ "name": "central", "type": "management", "uri": "coap://central" });
            Answer::Body(json!({ "items": [central], "next": null }))
        }
        Query::PutCredential(wish) => {
            told.try_send((format!("{:?} {}", wish.scope, wish.endpoint), Value::Null)).unwrap();
            Answer::Body(json!({}))
        }
        Query::RemoveCredential { scope: Scope::Bootstrap, .. } => Answer::Body(json!({})),
        Query::Credentials { scope: Some(Scope::Bootstrap), .. } => {
            let item = json!({ "endpoint": "a", "mode": "psk", "identity": "i" });
            Answer::Body(json!({ "items": [item], "next": null }))
        }
        other => panic!("{other:?}"),
    }
}

/// A server, its address, and what is put; an entry may be there from the start.
fn start(first: Option<(&str, Value)>) -> (HttpServer, SocketAddr, mpsc::Receiver<(String, Value)>) {
    let entries = first.into_iter().map(|(name, entry)| (name.to_owned(), entry)).collect();
    let (told, put) = mpsc::channel(16);
    let keeper = Keeper { entries: RefCell::new(entries), told };
    let address = |text: &str| text.parse().unwrap();
    let configuration = HttpConfiguration {
        leshan_listen: vec![address("127.0.0.1:0")],
        leshan_bootstrap_listen: vec![address("127.0.0.1:0")],
        addresses: Addresses {
            server: vec![Reachable { transport: Transport::Udp, address: address("127.0.0.1:5683") }],
            bootstrap: vec![
                Reachable { transport: Transport::Udp, address: address("127.0.0.1:5783") },
                Reachable { transport: Transport::Dtls, address: address("[::1]:5784") },
            ],
        },
        ..loopback()
    };
    let (server, _) = start_configured(configuration, move |query| vec![answer(&keeper, query)]);
    let address = server.leshan_bootstrap_addresses()[0];
    (server, address, put)
}

fn ask(address: SocketAddr, method: &str, path: &str, body: Option<&Value>) -> Response {
    request(address, method, path, body.map(Value::to_string).as_deref()).unwrap()
}

fn configuration() -> Value {
    json!({
        "servers": { "0": { "binding": "U", "defaultMinPeriod": 1, "lifetime": 86400, "notifIfDisabled": false, "shortId": 1 } },
        "security": { "1": {
            "bootstrapServer": false, "clientOldOffTime": 1, "publicKeyOrId": [101, 112], "secretKey": [115, 51, 99],
            "securityMode": "PSK", "serverId": 1, "serverSmsNumber": "", "smsBindingKeyParam": [],
            "smsBindingKeySecret": [], "smsSecurityMode": "NO_SEC", "uri": "coaps://192.0.2.2:5684",
        } },
        "oscore": {},
        "toDelete": ["/0", "/1"],
    })
}

#[test]
fn a_configuration_is_put_listed_and_removed_as_scripts_do_it() {
    let (server, address, mut put) = start(None);
    let response = ask(address, "POST", "/api/bootstrap/urn%3Aep?timeout=10&format=TLV", Some(&configuration()));
    assert_eq!((response.status, response.body.as_str()), (200, ""));
    let (name, entry) = put.try_recv().unwrap();
    assert_eq!((name.as_str(), &entry["servers"][0]["psk_key"]), ("urn:ep", &json!("733363")));
    ask(address, "POST", "/api/bootstrap/other", Some(&json!({ "toDelete": ["/"] })));
    assert_eq!(put.try_recv().unwrap().0, "other");
    let list = json_of(&ask(address, "GET", "/api/bootstrap", None));
    assert_eq!(list.as_object().unwrap().keys().collect::<Vec<_>>(), ["other", "urn:ep"], "all pages");
    assert_eq!(list["other"]["toDelete"], json!(["/"]));
    assert_eq!(list["urn:ep"]["servers"], configuration()["servers"]);
    assert_eq!(list["urn:ep"]["security"]["1"]["secretKey"], json!([]), "no key is told");
    assert_eq!(json_of(&ask(address, "GET", "/api/bootstrap/urn%3Aep", None)), list["urn:ep"]);

    let again = ask(address, "POST", "/api/bootstrap/urn%3Aep", Some(&list["urn:ep"]));
    assert_eq!(again.status, 400, "{}", again.body);
    assert!(put.try_recv().is_err(), "the key stays");

    assert_eq!(ask(address, "DELETE", "/api/bootstrap/urn%3Aep", None).status, 204);
    assert_eq!(ask(address, "DELETE", "/api/bootstrap/urn%3Aep", None).status, 404);
    assert_eq!(ask(address, "GET", "/api/bootstrap/urn%3Aep", None).status, 404);
    server.stop();
}

#[test]
fn an_account_that_an_entry_names_is_shown() {
    let (server, address, _) = start(Some(("meter-*", json!({ "servers": ["central"] }))));
    let list = json_of(&ask(address, "GET", "/api/bootstrap", None));
    assert_eq!(list["meter-*"]["security"]["1"]["uri"], "coap://central");
    server.stop();
}

#[test]
fn what_is_wrong_is_400_with_every_problem_and_no_key() {
    let (server, address, mut put) = start(None);
    let mut wrong = configuration();
    wrong["security"]["1"]["serverId"] = json!(2);
    wrong["contentFormat"] = json!(7);
    for (path, body, told) in [
        ("/api/bootstrap/ep", wrong.to_string(), vec!["security.1.serverId:", "servers.0:", "contentFormat:"]),
        ("/api/bootstrap/ep", "{\"security\": s3c}".to_owned(), vec!["Invalid request: no JSON at line 1"]),
        ("/api/bootstrap/ep", String::new(), vec!["Invalid request"]),
        ("/api/bootstrap/wrong", configuration().to_string(), vec!["servers[0].uri: has no host"]),
        ("/api/bootstrap", configuration().to_string(), vec!["endpoint name should be specified in the URL"]),
        ("/api/bootstrap/a/b", configuration().to_string(), vec!["nothing more"]),
    ] {
        let response = request(address, "POST", path, Some(&body)).unwrap();
        assert_eq!(response.status, 400, "{path} {body}");
        for part in told {
            assert!(response.body.contains(part), "{part} {}", response.body);
        }
        assert!(!response.body.contains("s3c") && !response.body.contains("733363"), "{}", response.body);
    }
    assert!(put.try_recv().is_err());
    assert_eq!(ask(address, "POST", "/api/bootstrap/off", Some(&configuration())).status, 501);
    assert_eq!(ask(address, "PUT", "/api/bootstrap/ep", Some(&configuration())).status, 405);
    for path in ["/api/clients", "/api/clients/ep/3/0", "/api/objectspecs/ep", "/api/v1/devices"] {
        assert_eq!(ask(address, "GET", path, None).status, 404, "{path}");
    }
    server.stop();
}

#[test]
fn credentials_are_those_of_the_bootstrap_server() {
    let (server, address, mut put) = start(None);
    let psk = json!({ "endpoint": "ep", "tls": { "mode": "psk", "details": { "identity": "ep", "key": "7333" } } });
    assert_eq!(ask(address, "PUT", "/api/security/clients/", Some(&psk)).status, 200);
    assert_eq!(put.try_recv().unwrap().0, "Bootstrap ep");
    let list = json_of(&ask(address, "GET", "/api/security/clients", None));
    assert_eq!(list[0]["tls"]["details"], json!({ "identity": "i" }));
    assert!(ask(address, "DELETE", "/api/security/clients/ep", None).status < 300);
    assert_eq!(json_of(&ask(address, "GET", "/api/security/server", None)), json!({}));
    assert_eq!(json_of(&ask(address, "GET", "/api/server/security", None)), json!({}));
    let endpoints = json_of(&ask(address, "GET", "/api/server/endpoint", None));
    assert_eq!(
        endpoints,
        json!([
            { "uri": { "full": "coap://127.0.0.1:5783", "scheme": "coap", "host": "127.0.0.1", "port": 5783 },
              "description": "CoAP over UDP" },
            { "uri": { "full": "coaps://[::1]:5784", "scheme": "coaps", "host": "::1", "port": 5784 },
              "description": "CoAP over DTLS" },
        ])
    );
    server.stop();
}

#[test]
fn each_server_tells_its_own_events_alone() {
    let (server, address, _) = start(None);
    let news = |endpoint: &str, what| {
        StreamEvent::of_bootstrap(&SessionNews {
            session: "1".to_owned(),
            endpoint: Endpoint::new(endpoint).unwrap(),
            ts: WallTime::from_millis(1_700_000_000_123),
            what,
        })
    };
    let mut of_all = Client::connect(address, "/api/event", "");
    let mut of_one = Client::connect(address, "/api/event?ep=b", "");
    let mut own = Client::open(server.addresses()[0], "/api/v1/events", "");
    let mut of_server = Client::connect(server.leshan_addresses()[0], "/api/event", "");
    let bridge = |endpoint: &str| super::events::registered(endpoint);
    let awake = |endpoint: &str| StreamEvent::Leshan(Box::new(Event::presence(true, endpoint)));
    let batch = vec![bridge("a"), awake("a"), news("a", News::New), news("b", News::Finished), bridge("b"), awake("b")];
    assert!(server.events().send(batch));
    let first = of_all.next();
    assert_eq!(first.event, "BSSESSION");
    assert_eq!(
        first.data,
        json!({ "name": "new session", "endpoint": "a", "time": 1_700_000_000_123_i64, "message": "Bootstrap Request" })
    );
    assert_eq!(of_all.next().data["name"], "finished");
    assert_eq!(of_one.next().data["endpoint"], "b");
    assert_eq!([own.next().event, own.next().event], ["registered", "registered"]);
    assert_eq!([of_server.next().event, of_server.next().event], ["AWAKE", "AWAKE"]);
    server.stop();
}

#[test]
fn it_needs_an_admin_where_there_are_tokens_and_them_beyond_loopback() {
    let tokens = vec![Token::new("ops", Role::Operator, "sesame"), Token::new("root", Role::Admin, "open")];
    let listen: Vec<SocketAddr> = vec!["0.0.0.0:0".parse().unwrap()];
    let configuration = HttpConfiguration { leshan_bootstrap_listen: listen.clone(), ..loopback() };
    let (core, _inputs) = mpsc::channel(1);
    let refused = HttpServer::start(configuration, core, crate::instrumentation::metrics::Metrics::new()).unwrap_err();
    assert!(refused.to_string().contains("not loopback"), "{refused}");

    let configuration = HttpConfiguration { leshan_bootstrap_listen: listen, tokens, ..loopback() };
    let (told, _put) = mpsc::channel(16);
    let keeper = Keeper { entries: RefCell::default(), told };
    let (server, _) = start_configured(configuration, move |query| vec![answer(&keeper, query)]);
    let address = SocketAddr::from(([127, 0, 0, 1], server.leshan_bootstrap_addresses()[0].port()));
    let with = |token: &str, method: &str, path: &str| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        super::client::exchange(address, head.as_bytes()).unwrap()
    };
    for (method, path) in [
        ("GET", "/api/bootstrap"),
        ("GET", "/api/bootstrap/ep"),
        ("POST", "/api/bootstrap/ep"),
        ("DELETE", "/api/bootstrap/ep"),
        ("GET", "/api/security/clients"),
        ("DELETE", "/api/security/clients/ep"),
    ] {
        assert_error(&with("wrong", method, path), 401, "unauthorized");
        assert_error(&with("sesame", method, path), 403, "forbidden");
        assert_ne!(with("open", method, path).status, 403, "{method} {path}");
    }
    server.stop();
}
