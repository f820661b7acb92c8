//! The event stream on a real socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::{assert_error, get, start};
use crate::gateway::vocabulary::{Answer, Query};
use crate::io::http::{HttpServer, MAX_STREAMS, StreamEvent};
use crate::model::endpoint::Endpoint;
use crate::model::event::{Event, EventKind};
use crate::model::time::WallTime;

fn server() -> (HttpServer, SocketAddr) {
    start(|query| match query {
        Query::Device { device } if device == "kitchen" => Answer::Body(json!({ "endpoint": "a" })),
        _ => Answer::UnknownDevice,
    })
}

/// One event as a client reads it.
#[derive(Debug, PartialEq)]
pub(super) struct Told {
    id: Option<String>,
    pub(super) event: String,
    pub(super) data: Value,
}

pub(super) struct Client(BufReader<TcpStream>);

impl Client {
    pub(super) fn open(address: SocketAddr, path: &str, headers: &str) -> Self {
        let mut client = Self::connect(address, path, headers);
        // The comment that every stream of the own API begins with: from here on it reads along.
        while client.line() != "retry: 2000" {}
        client
    }

    /// Opens a stream up to the end of its head.
    pub(super) fn connect(address: SocketAddr, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").unwrap();
        let mut client = Self(BufReader::new(stream));
        assert!(client.line().starts_with("HTTP/1.1 200"));
        let mut head = Vec::new();
        loop {
            let line = client.line();
            if line.is_empty() {
                break;
            }
            head.push(line.to_lowercase());
        }
        assert!(head.contains(&"content-type: text/event-stream".to_owned()), "{head:?}");
        client
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(super) fn next(&mut self) -> Told {
        let mut told = Told { id: None, event: String::new(), data: Value::Null };
        loop {
            let line = self.line();
            match line.split_once(": ") {
                Some(("id", id)) => told.id = Some(id.to_owned()),
                Some(("event", event)) => event.clone_into(&mut told.event),
                Some(("data", data)) => told.data = serde_json::from_str(data).unwrap(),
                _ if line.is_empty() && !told.event.is_empty() => return told,
                // Lengths of chunks, and empty lines around them.
                _ => {}
            }
        }
    }
}

fn value(device: &str, number: i64) -> StreamEvent {
    StreamEvent::Value {
        endpoint: Endpoint::new(device).unwrap(),
        path: "/3303/0/5700".parse().unwrap(),
        key: "t".to_owned(),
        value: number.into(),
        ts: WallTime::from_millis(number),
    }
}

pub(super) fn registered(device: &str) -> StreamEvent {
    StreamEvent::Bridge(Event {
        kind: EventKind::Registered,
        endpoint: Some(Endpoint::new(device).unwrap()),
        name: None,
        ts: WallTime::from_millis(1),
        reason: String::new(),
    })
}

#[test]
fn events_arrive_with_type_and_id_and_are_replayed() {
    let (server, address) = server();
    let mut client = Client::open(address, "/api/v1/events", "");
    assert!(server.events().send(vec![registered("a"), value("a", 1), value("b", 2)]));
    let first = client.next();
    assert_eq!((first.event.as_str(), &first.data["endpoint"]), ("registered", &json!("a")));
    let second = client.next();
    let expected = json!({ "endpoint": "a", "path": "/3303/0/5700", "key": "t", "value": 1, "ts": 1 });
    assert_eq!((second.event.as_str(), &second.data), ("value", &expected));
    let third = client.next();
    drop(client);

    let again = format!("Last-Event-ID: {}\r\n", first.id.unwrap());
    let mut client = Client::open(address, "/api/v1/events", &again);
    assert_eq!((client.next(), client.next()), (second, third));

    let mut stranger = Client::open(address, "/api/v1/events", "Last-Event-ID: other-7\r\n");
    let missed = stranger.next();
    assert_eq!((missed.event.as_str(), missed.id, &missed.data["count"]), ("missed", None, &Value::Null));
    assert_eq!(stranger.next().event, "registered");
    server.stop();
}

#[test]
fn a_stream_may_be_of_one_device_and_some_types() {
    let (server, address) = server();
    let mut of_a = Client::open(address, "/api/v1/events?device=kitchen&type=value,result", "");
    let mut of_stranger = Client::open(address, "/api/v1/events?device=c", "");
    assert!(server.events().send(vec![registered("a"), value("b", 1), value("a", 2), registered("c")]));
    assert_eq!(of_a.next().data["value"], 2);
    assert_eq!(of_stranger.next().data["endpoint"], "c", "a device that is still to come");
    let response = get(address, "/api/v1/events?type=values");
    assert_error(&response, 400, "invalid");
    server.stop();
}

#[test]
fn streams_are_bounded_and_end_with_the_server() {
    let (server, address) = server();
    let mut streams: Vec<Client> = (0..MAX_STREAMS).map(|_| Client::open(address, "/api/v1/events", "")).collect();
    assert_error(&get(address, "/api/v1/events"), 503, "busy");
    server.stop();
    let mut last = streams.pop().unwrap();
    while !last.line().is_empty() {}
}
