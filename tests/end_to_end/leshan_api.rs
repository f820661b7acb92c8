//! The Leshan-compatible API as scripts for Leshan's demo server use it: the same requests, headers and reading of
//! answers as test suites have, among them Zephyr's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::model::version::Version;
use lwm2mqtt::simulator::script::DeviceScript;
use serde_json::{Value as Json, json};

use super::harness::{Gateway, Mosquitto, PATIENCE, ScriptedDevice, Setup, free_port};

/// Times that a stream may say it lives, every 15 s, instead of the event that is waited for.
const MAX_SILENCES: usize = 4;

const ENDPOINT: &str = "urn:dev:os:1";

/// A client of 1.1 with the objects that the suites use.
fn script() -> DeviceScript {
    let mut script = DeviceScript::new(ENDPOINT)
        .with_version(Version::V1_1)
        .with(Path::resource(1, 0, 0), Value::Integer(1))
        .with_writable(Path::resource(1, 0, 1), Value::Integer(300))
        .with_writable(Path::resource(1, 0, 2), Value::Integer(1))
        .with_writable(Path::resource(1, 0, 6), Value::Boolean(false))
        .with_writable(Path::resource(1, 0, 7), Value::String("U".to_owned()))
        .with_executable(Path::resource(1, 0, 8))
        .with(Path::resource(3, 0, 0), Value::String("Zephyr".to_owned()))
        .with_executable(Path::resource(3, 0, 5))
        .with(Path::resource_instance(3, 0, 7, 0), Value::Integer(3_800))
        .with(Path::resource_instance(3, 0, 7, 1), Value::Integer(5_000))
        .with(Path::resource(3, 0, 9), Value::Integer(95))
        .with_writable(Path::resource(3, 0, 13), Value::Time(1_700_000_000))
        .with(Path::resource(3303, 0, 5700), Value::Float(21.0))
        .with_writable(Path::resource_instance(16, 0, 0, 0), Value::String("a".to_owned()))
        .with_writable(Path::resource(19, 0, 3), Value::String("x".to_owned()))
        .with_writable(Path::resource_instance(19, 0, 0, 0), Value::Opaque(vec![1, 2]));
    script.tree.allow_create(16);
    script
}

/// A gateway with the API, and where that is.
fn start(options: &str) -> (Mosquitto, Gateway, Leshan) {
    let broker = Mosquitto::start();
    let port = free_port();
    let gateway = Setup::new(&broker).http(&format!("leshan_listen = \"127.0.0.1:{port}\"\n{options}")).start();
    (broker, gateway, Leshan(SocketAddr::from(([127, 0, 0, 1], port))))
}

/// The API as a script sees it.
pub(super) struct Leshan(pub(super) SocketAddr);

impl Leshan {
    pub(super) fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.0).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} /api{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}",
            self.0
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The JSON of a response with 200.
    pub(super) fn json(&self, method: &str, path: &str, body: &Json) -> Json {
        let (headers, body) = match body {
            Json::Null => ("", String::new()),
            body => ("Content-Type: application/json\r\n", body.to_string()),
        };
        let (status, text) = self.request(method, path, headers, &body);
        assert_eq!(status, 200, "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {path}: {error}: {text}"))
    }

    pub(super) fn get(&self, path: &str) -> Json {
        self.json("GET", path, &Json::Null)
    }

    /// A request to the device, as the helper of the suites forms it.
    fn ask(&self, method: &str, path: &str, body: &Json) -> Json {
        let separator = if path.contains('?') { '&' } else { '?' };
        self.json(method, &format!("/clients/{ENDPOINT}/{path}{separator}timeout=10&format=SENML_CBOR"), body)
    }

    fn content(&self, path: &str) -> Json {
        let response = self.ask("GET", path, &Json::Null);
        assert_eq!((&response["status"], &response["success"]), (&json!("CONTENT(205)"), &json!(true)), "{response}");
        response["content"].clone()
    }

    fn status(&self, method: &str, path: &str, body: &Json) -> String {
        self.ask(method, path, body)["status"].as_str().unwrap().to_owned()
    }

    fn wait_for_client(&self, fits: impl Fn(&Json) -> bool) -> Json {
        // Each turn asks over a connection of its own; the device registers within a second.
        for _ in 0..3_000 {
            let (status, text) = self.request("GET", &format!("/clients/{ENDPOINT}"), "", "");
            if status == 200 {
                let client: Json = serde_json::from_str(&text).unwrap();
                if fits(&client) {
                    return client;
                }
            }
        }
        panic!("the device never was as wanted");
    }

    pub(super) fn events(&self, query: &str) -> Events {
        let mut stream = TcpStream::connect(self.0).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /api/event?{query} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n", self.0)
            .unwrap();
        let mut events = Events(BufReader::new(stream));
        assert!(events.line().starts_with("HTTP/1.1 200"));
        while !events.line().is_empty() {}
        events
    }
}

/// The event stream, read line by line like the suites read it.
pub(super) struct Events(BufReader<TcpStream>);

impl Events {
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended");
        line.trim_end().to_owned()
    }

    /// The data of the next event of this name.
    pub(super) fn next(&mut self, name: &str) -> Json {
        // The log of messages may bring any number of other events before it.
        let wanted = format!("event: {name}");
        let mut silences = 0;
        loop {
            let line = self.line();
            if line == wanted {
                break;
            }
            silences += usize::from(line.starts_with(':'));
            assert!(silences <= MAX_SILENCES, "no event {name}");
        }
        loop {
            if let Some(data) = self.line().strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}

fn single(id: u16, kind: &str, value: impl Into<Json>) -> Json {
    json!({ "id": id.to_string(), "kind": "singleResource", "type": kind, "value": value.into() })
}

#[test]
fn clients_object_definitions_and_the_server_are_told() {
    let (_broker, gateway, leshan) = start("");
    assert_eq!(leshan.get("/clients"), json!([]));
    assert_eq!(leshan.get("/security/clients"), json!([]));
    let mut events = leshan.events("");
    let device = ScriptedDevice::start(gateway.lwm2m_address(), script());
    let registered = events.next("REGISTRATION");
    assert_eq!((&registered["endpoint"], &registered["lwM2mVersion"]), (&json!(ENDPOINT), &json!("1.1")));
    let client = leshan.wait_for_client(|_| true);
    assert_eq!(client["registrationId"], registered["registrationId"]);
    assert_eq!(client["availableInstances"]["3303"], json!([0]), "{client}");
    assert_eq!(leshan.get("/clients").as_array().map(Vec::len), Some(1));

    let before = client["lastUpdate"].as_i64().unwrap();
    device.update();
    let updated = events.next("UPDATED");
    assert!(updated["registration"]["lastUpdate"].as_i64().unwrap() >= before, "{updated}");
    assert_eq!(updated["update"]["registrationId"], client["registrationId"]);

    let specifications = leshan.get(&format!("/objectspecs/{ENDPOINT}"));
    let temperature = specifications.as_array().unwrap().iter().find(|object| object["id"] == 3303).unwrap();
    assert_eq!(temperature["name"], "Temperature");
    let endpoint = &leshan.get("/server/endpoint")[0];
    assert_eq!(endpoint["uri"]["full"], format!("coap://{}", gateway.lwm2m_address()));

    let (status, text) = leshan.request("GET", "/clients/nobody", "", "");
    assert_eq!((status, text.as_str()), (400, "no registered client with id 'nobody'"));
    let (status, text) = leshan.request("GET", "/clients/nobody/3/0/0", "", "");
    assert_eq!((status, text.as_str()), (400, "no registered client with id 'nobody'"));
    assert_eq!(leshan.request("POST", "/bootstrap/ep", "", "{}").0, 404);
    assert_eq!(leshan.request("GET", "/clients", "Origin: http://elsewhere.example\r\n", "").0, 403);
}

#[test]
fn credentials_are_stored_told_without_keys_and_removed() {
    let (_broker, _gateway, leshan) = start("");
    let psk = |endpoint: &str| {
        let details = json!({ "identity": "i", "key": "00112233445566778899aabbccddeeff" });
        json!({ "endpoint": endpoint, "tls": { "mode": "psk", "details": details } }).to_string()
    };
    assert_eq!(leshan.request("PUT", "/security/clients/", "", &psk("a")).0, 200);
    let (status, text) = leshan.request("PUT", "/security/clients/", "", &psk("b"));
    assert!(status == 400 && text.contains("'i' is in use"), "{status} {text}");
    let told = json!([{ "endpoint": "a", "tls": { "mode": "psk", "details": { "identity": "i" } } }]);
    assert_eq!(leshan.get("/security/clients"), told);
    assert_eq!(leshan.request("DELETE", "/security/clients/a", "", ""), (200, String::new()));
    assert_eq!(leshan.request("DELETE", "/security/clients/a", "", "").0, 200, "that there is none is no failure");
    assert_eq!(leshan.get("/security/clients"), json!([]));
}

#[test]
fn every_operation_of_device_management_answers_as_leshan_does() {
    let (_broker, gateway, leshan) = start("");
    let _device = ScriptedDevice::start(gateway.lwm2m_address(), script());
    leshan.wait_for_client(|_| true);

    // Read, at every level.
    assert_eq!(
        leshan.content("3/0/0"),
        json!({"id": 0, "kind": "singleResource", "type": "STRING", "value": "Zephyr"})
    );
    assert_eq!(leshan.content("3303/0/5700")["value"], "21.0");
    assert_eq!(leshan.content("3/0/7")["values"], json!({"0": "3800", "1": "5000"}));
    assert_eq!(
        leshan.content("3/0/7/1"),
        json!({"id": 1, "kind": "resourceInstance", "type": "INTEGER", "value": "5000"})
    );
    assert_eq!(leshan.content("3/0/13")["value"], 1_700_000_000_000_i64);
    assert_eq!(leshan.content("3/0")["kind"], "instance");
    let server = leshan.content("1");
    assert_eq!(
        (&server["kind"], server["instances"][0]["resources"].as_array().map(Vec::len)),
        (&json!("obj"), Some(5))
    );
    assert_eq!(leshan.content("19/0/0/0")["value"], "0102");

    // Write: a resource, its instance, an instance both ways, text.
    assert_eq!(leshan.status("PUT", "1/0/2", &single(2, "integer", 101)), "CHANGED(204)");
    assert_eq!(leshan.content("1/0/2")["value"], "101");
    let instance = json!({"id": "0", "kind": "resourceInstance", "type": "string", "value": "test"});
    assert_eq!(leshan.status("PUT", "16/0/0/0", &instance), "CHANGED(204)");
    assert_eq!(leshan.content("16/0/0")["values"], json!({"0": "test"}));
    let update =
        json!({"kind": "instance", "id": 0, "resources": [single(1, "integer", 60), single(6, "boolean", true)]});
    assert_eq!(leshan.status("PUT", "1/0?replace=false", &update), "CHANGED(204)");
    assert_eq!(
        (leshan.content("1/0/1")["value"].clone(), leshan.content("1/0/6")["value"].clone()),
        (json!("60"), json!(true))
    );
    let path = format!("/clients/{ENDPOINT}/19/0/3?timeout=10");
    assert_eq!(leshan.request("PUT", &path, "Content-Type: text/plain\r\n", "plain").0, 200);
    assert_eq!(leshan.content("19/0/3")["value"], "plain");

    // The device refuses: 200 all the same.
    let refused = leshan.ask("PUT", "1/0/0", &single(0, "integer", 7));
    assert_eq!(refused, json!({"status": "METHOD_NOT_ALLOWED(405)", "valid": true, "success": false, "failure": true}));
    assert_eq!(leshan.status("GET", "3/0/99", &Json::Null), "NOT_FOUND(404)");

    // Execute, Create, Delete.
    assert_eq!(leshan.status("POST", "1/0/8", &Json::Null), "CHANGED(204)");
    let created = json!({"kind": "instance", "id": 3, "resources": [
        {"id": 0, "kind": "multiResource", "type": "string", "values": {"0": "x", "1": "y"}}]});
    assert_eq!(leshan.status("POST", "16", &created), "CREATED(201)");
    assert_eq!(leshan.content("16/3/0")["values"], json!({"0": "x", "1": "y"}));
    assert_eq!(leshan.status("DELETE", "16/3", &Json::Null), "DELETED(202)");

    // Attributes and Discover.
    assert_eq!(leshan.status("PUT", "3/0/9/attributes?pmin=10&pmax=200", &Json::Null), "CHANGED(204)");
    let links = leshan.ask("GET", "3/0/discover", &Json::Null)["objectLinks"].clone();
    let battery = links.as_array().unwrap().iter().find(|link| link["url"] == "/3/0/9").unwrap().clone();
    assert_eq!(battery["attributes"], json!({"pmin": "10", "pmax": "200"}));
    let voltage = links.as_array().unwrap().iter().find(|link| link["url"] == "/3/0/7").unwrap();
    assert_eq!(voltage["attributes"]["dim"], "2");

    // What Leshan answers with text.
    for (method, path, body, status) in
        [("PUT", "3/0/13", "{", 400), ("PUT", "3", "{}", 400), ("GET", "composite", "", 400), ("GET", "3/0/x", "", 400)]
    {
        let path = format!("/clients/{ENDPOINT}/{path}");
        let (answered, text) = leshan.request(method, &path, "Content-Type: application/json\r\n", body);
        assert_eq!(answered, status, "{method} {path}: {text}");
    }
}

#[test]
fn composite_operations_answer_with_nodes_by_path() {
    let (_broker, gateway, leshan) = start("");
    let device = ScriptedDevice::start(gateway.lwm2m_address(), script());
    leshan.wait_for_client(|_| true);
    let composite = |method: &str, rest: &str, body: &Json| {
        let path = format!("/clients/{ENDPOINT}/composite{rest}");
        leshan.json(method, &path, body)
    };
    let formats = "pathformat=SENML_CBOR&nodeformat=SENML_CBOR&timeout=10";
    let read = composite(
        "GET",
        &format!("?{formats}&paths=%2F1%2F0%2F1%2C%2F3%2F0%2F7%2F0%2C%2F3303%2C%2F3353%2F0%2F6030"),
        &Json::Null,
    );
    assert_eq!(read["status"], "CONTENT(205)", "{read}");
    let content = read["content"].as_object().unwrap();
    assert_eq!(content.keys().collect::<Vec<_>>(), ["/1/0/1", "/3/0/7/0", "/3303"], "what is not there is left out");
    assert_eq!(content["/3303"]["instances"][0]["resources"][0]["value"], "21.0");

    let nodes = json!({"/1/0/1": single(1, "integer", 77), "/1/0/6": single(6, "boolean", true)});
    assert_eq!(composite("PUT", &format!("?{formats}"), &nodes)["status"], "CHANGED(204)");
    assert_eq!(leshan.content("1/0/1")["value"], "77");

    let mut events = leshan.events(&format!("ep={ENDPOINT}"));
    let observed = composite("POST", &format!("/observe?{formats}&paths=/3/0/9,/3303/0/5700"), &Json::Null);
    assert_eq!(observed["content"]["/3/0/9"]["value"], "95");
    device.set("/3/0/9", Value::Integer(50));
    let notified = events.next("NOTIFICATION");
    assert_eq!(
        (&notified["kind"], &notified["paths"]),
        (&json!("composite"), &json!(["/3/0/9", "/3303/0/5700"])),
        "{notified}"
    );
    assert_eq!(notified["val"]["/3/0/9"]["value"], "50");
    let path = format!("/clients/{ENDPOINT}/composite/observe?paths=/3/0/9,/3303/0/5700");
    assert_eq!(leshan.request("DELETE", &path, "", ""), (200, String::new()));
    let (status, text) = leshan.request("DELETE", &format!("{path}&active"), "", "");
    assert_eq!(status, 404, "{text}");
}

#[test]
fn observations_and_sends_reach_the_event_stream() {
    let (_broker, gateway, leshan) = start("");
    let device = ScriptedDevice::start(gateway.lwm2m_address(), script());
    leshan.wait_for_client(|_| true);
    // Without `ep=` the stream is of all devices; suites put the endpoint there without a name.
    let mut events = leshan.events(ENDPOINT);
    let mut of_another = leshan.events("ep=another");
    let observed = leshan.ask("POST", "3/0/9/observe", &Json::Null);
    assert_eq!((&observed["status"], &observed["content"]["value"]), (&json!("CONTENT(205)"), &json!("95")));
    device.set("/3/0/9", Value::Integer(94));
    let notified = events.next("NOTIFICATION");
    assert_eq!(
        notified,
        json!({"ep": ENDPOINT, "kind": "single", "res": "/3/0/9",
               "val": {"id": 9, "kind": "singleResource", "type": "INTEGER", "value": "94"}})
    );
    device.send("/3303/0/5700", Value::Float(22.5));
    let sent = events.next("SEND");
    assert_eq!(
        sent["val"]["/3303/0/5700"],
        json!({"id": 5700, "kind": "singleResource", "type": "FLOAT", "value": "22.5"})
    );

    let path = format!("/clients/{ENDPOINT}/3/0/9/observe");
    let (status, text) = leshan.request("DELETE", &format!("{path}?active"), "", "");
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("CONTENT(205)"), "{text}");
    assert_eq!(leshan.request("DELETE", &path, "", ""), (200, String::new()), "none any more, which is no error");
    assert_eq!(leshan.request("DELETE", &format!("{path}?active"), "", "").0, 404);

    let mut traced = leshan.events(&format!("ep={ENDPOINT}"));
    leshan.content("3/0/0");
    let request = traced.next("COAPLOG");
    assert_eq!(
        (&request["code"], &request["incoming"], &request["ep"]),
        (&json!("GET"), &json!(false), &json!(ENDPOINT)),
        "{request}"
    );
    assert!(request["options"].as_str().unwrap().starts_with("Uri-Path: \"3\", \"0\", \"0\""), "{request}");
    let answer = traced.next("COAPLOG");
    assert_eq!((&answer["code"], &answer["incoming"]), (&json!("2.05"), &json!(true)), "{answer}");

    let mut another = DeviceScript::new("another");
    another = another.with(Path::resource(3, 0, 0), Value::String("x".to_owned()));
    let _another = ScriptedDevice::start(gateway.lwm2m_address(), another);
    assert_eq!(of_another.next("REGISTRATION")["endpoint"], "another", "nothing of the first device came before");
}

#[test]
fn a_sleeping_device_answers_later_on_the_event_stream() {
    let (_broker, gateway, leshan) = start("");
    gateway.wait_for_json("/healthz", |_| true);
    let mut script = script();
    script.queue_mode = true;
    script.awake_window = Duration::from_secs(1);
    gateway.write_file("mappings/awake.toml", "version = 1\n[settings]\nawake_window = \"1s\"\n");
    gateway.signal("HUP");
    gateway.wait_for_log("reloaded");
    let device = ScriptedDevice::start(gateway.lwm2m_address(), script);
    let mut events = leshan.events(&format!("ep={ENDPOINT}"));
    assert_eq!(events.next("SLEEPING"), json!({ "ep": ENDPOINT }));
    let client = leshan.wait_for_client(|client| client["sleeping"] == true);
    assert_eq!(client["queuemode"], true);
    let promised = leshan.ask("GET", "3/0/0", &Json::Null);
    let id = promised["requestId"].as_str().unwrap().to_owned();
    assert_eq!(promised, json!({"ep": ENDPOINT, "path": "/3/0/0", "requestId": id, "delayed": true}));
    device.update();
    assert_eq!(events.next("AWAKE"), json!({ "ep": ENDPOINT }));
    let answered = events.next("REQUEST_RESPONSE");
    assert_eq!(
        (&answered["requestId"], &answered["delayed"], &answered["path"]),
        (&json!(id), &json!(true), &json!("/3/0/0"))
    );
    assert_eq!(answered["response"]["content"]["value"], "Zephyr");
}

#[test]
fn a_device_that_does_not_answer_is_504_with_text() {
    let (_broker, gateway, leshan) = start("");
    let device = ScriptedDevice::start(gateway.lwm2m_address(), script());
    leshan.wait_for_client(|_| true);
    drop(device);
    let (status, text) = leshan.request("GET", &format!("/clients/{ENDPOINT}/3/0/0?timeout=1"), "", "");
    assert_eq!((status, text.as_str()), (504, "Request timeout"));
}

#[test]
fn with_tokens_it_demands_one() {
    let tokens = "[http.token.look]\nrole = \"viewer\"\nsecret = \"look\"\n[http.token.ops]\nrole = \"operator\"\nsecret = \"ops\"\n";
    let (_broker, gateway, leshan) = start(tokens);
    let _device = ScriptedDevice::start(gateway.lwm2m_address(), script());
    let with = |token: &str, method: &str, path: &str| {
        let path = format!("/clients/{ENDPOINT}/{path}");
        leshan.request(method, &path, &format!("Authorization: Bearer {token}\r\n"), "").0
    };
    for path in ["/clients", "/event", "/security/clients"] {
        assert_eq!(leshan.request("GET", path, "", "").0, 401, "{path}");
    }
    for _ in 0..3_000 {
        if with("ops", "GET", "") == 200 {
            break;
        }
    }
    assert_eq!((with("look", "GET", "3/0/0"), with("look", "POST", "1/0/8")), (200, 403));
    assert_eq!((with("ops", "POST", "1/0/8"), with("wrong", "GET", "3/0/0")), (200, 401));
}
