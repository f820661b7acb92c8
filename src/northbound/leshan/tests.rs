//! Every kind of node and every status, both ways.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::*;
use crate::model::command::{CommandError, CommandResult, ErrorKind, Outcome};
use crate::model::credential::Scope;
use crate::model::endpoint::Endpoint;
use crate::model::event::EventKind;
use crate::model::object::{DeviceModel, ObjectModel};
use crate::model::path::Path;
use crate::model::report::{RegisteredObject, Sample};
use crate::model::time::WallTime;
use crate::model::value::Value;
use crate::model::version::Version;

/// The built-in definitions, as a 1.1 device with these objects sees them.
struct Definitions {
    model: ObjectModel,
    objects: BTreeMap<u16, RegisteredObject>,
}

impl Definitions {
    fn new() -> Self {
        let object = |version| RegisteredObject { version, instances: vec![0] };
        let objects = [(1, object(Some(Version::V1_1))), (3, object(None)), (3303, object(None))];
        Self { model: ObjectModel::built_in(), objects: objects.into() }
    }

    fn types(&self) -> DeviceModel<'_> {
        DeviceModel { model: &self.model, objects: &self.objects, enabler: Some(Version::V1_1) }
    }
}

fn request_of(method: &str, url: &str) -> (DeviceRequest, Parameters) {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    match route(Scope::Server, method, &format!("/api/clients/ep/{path}")) {
        Ok(Route::Device(request)) => (request, Parameters::parse(query)),
        other => panic!("{method} {url}: {other:?}"),
    }
}

fn ask_as(method: &str, url: &str, content_type: Option<&str>, body: &[u8]) -> Result<LeshanCommand, Refusal> {
    let (request, parameters) = request_of(method, url);
    command(request, &parameters, content_type, body, &Definitions::new().types())
}

fn ask(method: &str, url: &str, body: &Json) -> LeshanCommand {
    let bytes = if body.is_null() { String::new() } else { body.to_string() };
    ask_as(method, url, Some("application/json; charset=utf-8"), bytes.as_bytes())
        .unwrap_or_else(|refusal| panic!("{method} {url}: {refusal:?}"))
}

/// The command without what every command has.
fn command_json(method: &str, url: &str, body: &Json) -> Json {
    let mut command = ask(method, url, body).command;
    assert_eq!(command.as_object_mut().unwrap().remove("timeout"), Some(json!("5000ms")));
    command
}

fn done(code: &str, answer: Json) -> Outcome {
    let Json::Object(answer) = answer else { panic!("{answer}") };
    Outcome::Done { code: code.to_owned(), answer }
}

fn result(outcome: Outcome) -> CommandResult {
    CommandResult {
        id: "leshan-7".to_owned(),
        endpoint: Endpoint::new("ep").unwrap(),
        operation: String::new(),
        path: None,
        key: None,
        ts: WallTime::from_secs(0),
        outcome,
    }
}

fn told(method: &str, url: &str, outcome: Outcome) -> Reply {
    let asked = match ask_as(method, url, Some("text/plain"), b"") {
        Ok(asked) => asked,
        Err(refusal) => panic!("{refusal:?}"),
    };
    reply(&asked, &result(outcome), &Definitions::new().types())
}

fn json_of(reply: Reply) -> Json {
    match reply {
        Reply::Json(json) => json,
        other => panic!("{other:?}"),
    }
}

fn content(url: &str, answer: Json) -> Json {
    let json = json_of(told("GET", url, done("2.05", answer)));
    assert_eq!(
        (&json["status"], &json["valid"], &json["success"], &json["failure"]),
        (&json!("CONTENT(205)"), &json!(true), &json!(true), &json!(false))
    );
    json["content"].clone()
}

#[test]
fn each_method_and_path_is_its_operation() {
    for (method, url, expected) in [
        ("GET", "3", json!({"operation": "read", "path": "/3"})),
        ("GET", "3/0/0?format=SENML_CBOR", json!({"operation": "read", "path": "/3/0/0", "format": "senml-cbor"})),
        ("GET", "3/0/0?format=tlv", json!({"operation": "read", "path": "/3/0/0", "format": "tlv"})),
        ("GET", "3/0/0?format=XML", json!({"operation": "read", "path": "/3/0/0"})),
        ("GET", "3/0/discover", json!({"operation": "discover", "path": "/3/0"})),
        (
            "GET",
            "composite?paths=/3,1/0/1&nodeformat=SENML_JSON&pathformat=SENML_JSON",
            json!({"operation": "read_composite", "paths": ["/3", "/1/0/1"], "format": "senml-json"}),
        ),
        ("POST", "3/0/4", json!({"operation": "execute", "path": "/3/0/4"})),
        ("POST", "3/0/7/observe", json!({"operation": "observe", "path": "/3/0/7"})),
        (
            "POST",
            "composite/observe?paths=%2F3%2C%2F1",
            json!({"operation": "observe_composite", "paths": ["/3", "/1"]}),
        ),
        ("DELETE", "3303/1", json!({"operation": "delete", "path": "/3303/1"})),
        ("DELETE", "3/0/7/observe", json!({"operation": "cancel_observe", "path": "/3/0/7", "passive": true})),
        ("DELETE", "3/0/7/observe?active", json!({"operation": "cancel_observe", "path": "/3/0/7"})),
        (
            "DELETE",
            "composite/observe?paths=/3",
            json!({"operation": "cancel_observe_composite", "paths": ["/3"], "passive": true}),
        ),
        (
            "PUT",
            "3/0/7/attributes?pmin=10&gt=4.5&st&timeout=5",
            json!({"operation": "write_attributes", "path": "/3/0/7", "attributes": {"pmin": 10, "gt": 4.5, "st": null}}),
        ),
    ] {
        assert_eq!(command_json(method, url, &Json::Null), expected, "{method} {url}");
    }
}

#[test]
fn the_time_to_wait_is_in_seconds_and_bounded() {
    let timeout = |url| ask("GET", url, &Json::Null).timeout;
    assert_eq!(timeout("3"), Duration::from_secs(5));
    assert_eq!(timeout("3?timeout=600"), Duration::from_secs(600));
    assert_eq!(timeout("3?timeout=soon"), Duration::from_secs(5));
    assert_eq!(timeout("3?timeout=18446744073709551615"), Duration::from_secs(3_600));
    assert!(timeout("3?timeout=0") > Duration::ZERO);
}

#[test]
fn each_kind_of_node_is_written() {
    for (method, url, body, expected) in [
        (
            "PUT",
            "3/0/14",
            json!({"kind": "singleResource", "id": "14", "type": "string", "value": "+02"}),
            json!({"operation": "write", "path": "/3/0/14", "value": "+02"}),
        ),
        (
            "PUT",
            "1/0/1?replace=false",
            json!({"id": 1, "type": "INTEGER", "value": "86400"}),
            json!({"operation": "write_update", "path": "/1/0/1", "value": 86_400}),
        ),
        (
            "PUT",
            "3/0/11/0",
            json!({"kind": "resourceInstance", "id": "0", "type": "integer", "value": 3}),
            json!({"operation": "write", "path": "/3/0/11/0", "value": 3}),
        ),
        (
            "PUT",
            "16/0/0",
            json!({"kind": "multiResource", "id": 0, "type": "string", "values": {"0": "a", "1": "b"}}),
            json!({"operation": "write", "path": "/16/0/0", "value": {"0": "a", "1": "b"}}),
        ),
        (
            "PUT",
            "1/0?replace=false&format=TLV",
            json!({"kind": "instance", "id": 0, "resources": [
                {"id": 2, "kind": "singleResource", "type": "integer", "value": 101},
                {"id": "6", "kind": "singleResource", "type": "boolean", "value": true}]}),
            json!({"operation": "write_update", "path": "/1/0", "values": {"2": 101, "6": true}, "format": "tlv"}),
        ),
        (
            "POST",
            "16",
            json!({"kind": "instance", "id": 3, "resources": [
                {"id": 0, "kind": "multiResource", "type": "string", "values": {"0": "a"}}]}),
            json!({"operation": "create", "path": "/16/3", "values": {"0": {"0": "a"}}}),
        ),
        (
            "POST",
            "3303",
            json!({"kind": "instance", "resources": [{"id": 5700, "type": "float", "value": "21.5"}]}),
            json!({"operation": "create", "path": "/3303", "values": {"5700": 21.5}}),
        ),
        ("POST", "3303/2", json!({"resources": []}), json!({"operation": "create", "path": "/3303/2", "values": {}})),
        (
            "PUT",
            "composite?nodeformat=SENML_CBOR",
            json!({"/1/0/1": {"id": 1, "kind": "singleResource", "type": "integer", "value": 60},
                   "/16/0/0": {"id": 0, "kind": "multiResource", "type": "string", "values": {"0": "aa"}},
                   "/3/0/11/0": {"id": 0, "kind": "resourceInstance", "type": "integer", "value": "1"}}),
            json!({"operation": "write_composite", "format": "senml-cbor",
                   "values": {"/1/0/1": 60, "/16/0/0": {"0": "aa"}, "/3/0/11/0": 1}}),
        ),
    ] {
        assert_eq!(command_json(method, url, &body), expected, "{method} {url}");
    }
}

#[test]
fn each_type_is_read_as_the_object_model_wants_it() {
    // Object 31024 is in no registry: the declared type decides, and is told.
    for (url, declared, value, expected) in [
        ("31024/0/1", "string", json!("x"), json!({"value": "x", "type": "string"})),
        ("31024/0/1", "integer", json!("-9223372036854775808"), json!({"value": i64::MIN, "type": "integer"})),
        (
            "31024/0/1",
            "UNSIGNED_INTEGER",
            json!("18446744073709551615"),
            json!({"value": u64::MAX, "type": "unsigned_integer"}),
        ),
        ("31024/0/1", "float", json!("1.5E3"), json!({"value": 1500.0, "type": "float"})),
        ("31024/0/1", "boolean", json!(false), json!({"value": false, "type": "boolean"})),
        ("31024/0/1", "opaque", json!("00fF"), json!({"value": "AP8=", "type": "opaque"})),
        ("31024/0/1", "time", json!(1_700_000_000_123_i64), json!({"value": 1_700_000_000, "type": "time"})),
        (
            "31024/0/1",
            "objlnk",
            json!({"objectId": 3, "objectInstanceId": 0}),
            json!({"value": "3:0", "type": "object_link"}),
        ),
        ("31024/0/1", "corelink", json!("</3>"), json!({"value": "</3>", "type": "core_link"})),
        // Known resources: an integer for a float, text for a number and for a time.
        ("3303/0/5601", "integer", json!(21), json!({"value": 21})),
        ("1/0/1", "string", json!("60"), json!({"value": 60})),
        ("1/0/6", "string", json!("true"), json!({"value": true})),
        ("3/0/13", "time", json!(5_000), json!({"value": 5})),
        ("3/0/13", "string", json!("12"), json!({"value": 12})),
    ] {
        let mut command = command_json("PUT", url, &json!({"id": 1, "type": declared, "value": value}));
        command.as_object_mut().unwrap().retain(|key, _| key == "value" || key == "type");
        assert_eq!(command, expected, "{url} {declared} {value}");
    }
}

#[test]
fn text_is_one_string_resource() {
    let asked = ask_as("PUT", "3/0/14", Some("text/plain;charset=utf-8"), b"+02").unwrap();
    assert_eq!(asked.command["value"], "+02");
    let asked = ask_as("PUT", "1/0/1", Some("text/plain"), b"60").unwrap();
    assert_eq!(asked.command["value"], 60, "for a number it is one");
    let asked = ask_as("POST", "3/0/4", None, b"0='5'").unwrap();
    assert_eq!(asked.command["arguments"], "0='5'");
}

#[test]
fn bodies_that_cannot_be_used_are_400_with_the_reason() {
    for (method, url, content_type, body, reason) in [
        ("PUT", "3/0/14", Some("application/json"), "{", "unable to parse json"),
        ("PUT", "3/0/14", Some("application/xml"), "<a/>", "content type application/xml not supported"),
        ("PUT", "3/0/14", None, "", "content type  not supported"),
        ("PUT", "3/0/14", Some("application/json"), "[]", "Invalid node element"),
        ("PUT", "3/0/14", Some("application/json"), r#"{"value":1}"#, "type '' is not known"),
        ("PUT", "3/0/14", Some("application/json"), r#"{"value":1,"type":"number"}"#, "type 'number' is not known"),
        (
            "PUT",
            "3/0/14",
            Some("application/json"),
            r#"{"value":1,"type":"string"}"#,
            "JSON string is expected for STRING",
        ),
        ("PUT", "1/0/1", Some("application/json"), r#"{"value":"x","type":"integer"}"#, "expected for INTEGER"),
        ("PUT", "1/0/1", Some("application/json"), r#"{"value":"x","type":"string"}"#, "value of /1/0/1"),
        ("PUT", "3303/0/5601", Some("application/json"), r#"{"value":"NaN","type":"float"}"#, "expected for FLOAT"),
        ("PUT", "5/0/0", Some("application/json"), r#"{"value":"abc","type":"opaque"}"#, "hexadecimal"),
        ("PUT", "3/0/14", Some("application/json"), r#"{"resources":[]}"#, "do not match"),
        ("PUT", "3/0", Some("application/json"), r#"{"value":1,"type":"integer"}"#, "do not match"),
        ("PUT", "3/0", Some("application/json"), r#"{"resources":[{"value":1,"type":"integer"}]}"#, "Missing id"),
        (
            "PUT",
            "3/0",
            Some("application/json"),
            r#"{"resources":[{"id":-1,"value":1,"type":"integer"}]}"#,
            "no identifier",
        ),
        ("PUT", "3/0/11", Some("application/json"), r#"{"values":[1],"type":"integer"}"#, "not an object"),
        ("POST", "16", Some("application/json"), r#"{"value":1,"type":"integer"}"#, "must contain an object instance"),
        ("PUT", "3/attributes?pmin=soon", None, "", "attribute pmin has no number"),
        ("GET", "composite", None, "", "'paths' is missing"),
        ("GET", "composite?paths=/3,x", None, "", "path 'x'"),
        ("PUT", "composite", None, r#"{"/3":{"value":1,"type":"integer"}}"#, "do not match"),
        ("PUT", "composite", None, r#"{"3/0":{}}"#, "path '3/0'"),
    ] {
        let refused = ask_as(method, url, content_type, body.as_bytes()).unwrap_err();
        assert_eq!(refused.status, 400, "{body}");
        assert!(
            refused.text.starts_with("Invalid request: ") && refused.text.contains(reason),
            "{refused:?}: {reason}"
        );
    }
}

#[test]
fn routes_that_lead_nowhere_have_their_status() {
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/api", 404),
        ("GET", "/api/devices", 404),
        ("GET", "/api/clients/ep/x", 400),
        ("GET", "/api/clients/ep/3/0/1/2/3", 400),
        ("GET", "/api/clients/ep/65535", 400),
        ("GET", "/api/clients/%ff", 400),
        ("PUT", "/api/clients/ep/3", 400),
        ("POST", "/api/clients/ep", 400),
        ("POST", "/api/clients/ep/3/0/1/2", 400),
        ("DELETE", "/api/clients", 400),
        ("PATCH", "/api/clients/ep/3/0", 405),
        ("POST", "/api/event", 405),
        ("GET", "/api/objectspecs", 400),
        ("POST", "/api/security/clients", 405),
        ("DELETE", "/api/security/clients", 405),
        ("GET", "/api/security/clients/ep", 400),
        ("POST", "/api/bootstrap/ep", 404),
    ] {
        assert_eq!(route(Scope::Server, method, path).unwrap_err().status, status, "{method} {path}");
    }
    assert_eq!(route(Scope::Server, "PUT", "/api/security/clients/"), Ok(Route::PutCredential));
    let removal = Route::RemoveCredential { endpoint: "a/b".to_owned() };
    assert_eq!(route(Scope::Server, "DELETE", "/api/security/clients/a%2Fb"), Ok(removal));
    for (path, expected) in [
        ("/api/clients", Route::Clients),
        ("/api/clients/", Route::Clients),
        ("/api/clients/urn%3Aimei%3A1", Route::Client { endpoint: "urn:imei:1".to_owned() }),
        ("/api/objectspecs/a%2Fb", Route::Specifications { endpoint: "a/b".to_owned() }),
        ("/api/event", Route::Events),
        ("/api/security/clients", Route::Credentials),
        ("/api/server/security", Route::OwnSecurity),
        ("/api/security/server", Route::OwnSecurity),
        ("/api/server/endpoint", Route::OwnEndpoints),
    ] {
        assert_eq!(route(Scope::Server, "GET", path), Ok(expected), "{path}");
    }
}

#[test]
fn each_server_has_its_own_routes_and_both_have_events_and_credentials() {
    let endpoint = || "a/b".to_owned();
    for (method, path, expected) in [
        ("GET", "/api/bootstrap", Route::Configurations),
        ("GET", "/api/bootstrap/a%2Fb", Route::Configuration { endpoint: endpoint() }),
        ("POST", "/api/bootstrap/a%2Fb/", Route::PutConfiguration { endpoint: endpoint() }),
        ("DELETE", "/api/bootstrap/a%2Fb", Route::RemoveConfiguration { endpoint: endpoint() }),
    ] {
        assert_eq!(route(Scope::Bootstrap, method, path), Ok(expected), "{method} {path}");
        assert_eq!(route(Scope::Server, method, path).unwrap_err().status, 404, "{method} {path}");
    }
    for (method, path, status) in [
        ("POST", "/api/bootstrap", 400),
        ("DELETE", "/api/bootstrap/a/b", 400),
        ("PUT", "/api/bootstrap/a", 405),
        ("GET", "/api/clients", 404),
        ("GET", "/api/objectspecs/a", 404),
    ] {
        assert_eq!(route(Scope::Bootstrap, method, path).unwrap_err().status, status, "{method} {path}");
    }
    for path in ["/api/event", "/api/security/clients", "/api/server/security", "/api/server/endpoint"] {
        assert_eq!(route(Scope::Bootstrap, "GET", path), route(Scope::Server, "GET", path), "{path}");
    }
}

#[test]
fn each_kind_of_node_is_told() {
    let battery = json!({"kind": "singleResource", "id": 9, "type": "INTEGER", "value": "95"});
    assert_eq!(content("3/0/9", json!({"value": 95})), battery);
    let sources = json!({"kind": "multiResource", "id": 6, "type": "INTEGER", "values": {"0": "1", "1": "5"}});
    assert_eq!(content("3/0/6", json!({"value": {"0": 1, "1": 5}})), sources);
    assert_eq!(
        content("3/0/6/1", json!({"value": 5})),
        json!({"kind": "resourceInstance", "id": 1, "type": "INTEGER", "value": "5"})
    );
    let values = json!({"/3/0/6/0": 1, "/3/0/6/1": 5, "/3/0/9": 95});
    let instance = json!({"kind": "instance", "id": 0, "resources": [sources, battery]});
    assert_eq!(content("3/0", json!({"values": values})), instance);
    assert_eq!(content("3", json!({"values": values})), json!({"kind": "obj", "id": 3, "instances": [instance]}));
    assert_eq!(content("3", json!({"values": {}})), json!({"kind": "obj", "id": 3, "instances": []}));
    assert_eq!(
        content("3/0/6", json!({"value": {}})),
        json!({"kind": "multiResource", "id": 6, "type": "INTEGER", "values": {}})
    );
}

#[test]
fn composite_answers_are_nodes_by_the_paths_that_were_asked() {
    let values = json!({"/3/0/9": 95, "/3/0/6/0": 1, "/1/0/1": 60});
    let url = "composite?paths=/3,/1/0/1,/3/0/6/0,/4/0/2";
    let nodes = content(url, json!({"values": values}));
    assert_eq!(nodes.as_object().unwrap().keys().collect::<Vec<_>>(), ["/1/0/1", "/3", "/3/0/6/0"]);
    assert_eq!(nodes["/1/0/1"], json!({"kind": "singleResource", "id": 1, "type": "INTEGER", "value": "60"}));
    assert_eq!(nodes["/3/0/6/0"]["kind"], "resourceInstance");
    assert_eq!(nodes["/3"]["instances"][0]["resources"].as_array().unwrap().len(), 2);
    let everything = content("composite?paths=/", json!({"values": values}));
    let root = &everything["/"];
    assert_eq!((&root["kind"], root["objects"].as_array().unwrap().len()), (&json!("root"), 2));
}

#[test]
fn each_type_is_told_in_its_form() {
    for (url, value, kind, expected) in [
        ("3/0/0", json!("ACME"), "STRING", json!("ACME")),
        ("3303/0/5700", json!(21), "FLOAT", json!("21.0")),
        ("3303/0/5700", json!(21.5), "FLOAT", json!("21.5")),
        ("3303/0/5700", json!(0.0001), "FLOAT", json!("1.0E-4")),
        ("3303/0/5700", json!(12_345_678.9), "FLOAT", json!("1.23456789E7")),
        ("3303/0/5700", json!(-0.0), "FLOAT", json!("-0.0")),
        ("3303/0/5700", Json::Null, "FLOAT", json!("NaN")),
        ("1/0/6", json!(true), "BOOLEAN", json!(true)),
        ("3/0/13", json!(1_700_000_000), "TIME", json!(1_700_000_000_000_i64)),
        ("5/0/0", json!("AP8="), "OPAQUE", json!("00ff")),
        ("10262/0/0", json!("x"), "STRING", json!("x")),
        ("31024/0/1", json!("x"), "STRING", json!("x")),
        ("31024/0/1", json!(5), "INTEGER", json!("5")),
        ("31024/0/1", json!(u64::MAX), "UNSIGNED_INTEGER", json!("18446744073709551615")),
        ("31024/0/1", json!(false), "BOOLEAN", json!(false)),
        // A device that answers with another type than the registry's.
        ("3/0/9", json!("full"), "STRING", json!("full")),
    ] {
        let node = content(url, json!({"value": value}));
        assert_eq!((&node["type"], &node["value"]), (&json!(kind), &expected), "{url} {value}");
    }
    let link = Sample { path: Path::resource(31024, 0, 1), value: Value::ObjectLink(3, 0), ts: None };
    let node = Event::send("ep", &[link]).data["val"]["/31024/0/1"].clone();
    assert_eq!(node["value"], json!({"objectId": 3, "objectInstanceId": 0}));
    let link = Sample { path: Path::resource(31024, 0, 1), value: Value::CoreLink("</3>".into()), ts: None };
    assert_eq!(Event::send("ep", &[link]).data["val"]["/31024/0/1"]["type"], "CORELINK");
}

#[test]
fn each_code_of_a_device_is_its_status_with_http_200() {
    for (code, status, valid) in [
        ("4.00", "BAD_REQUEST(400)", true),
        ("4.01", "UNAUTHORIZED(401)", true),
        ("4.03", "FORBIDDEN(403)", true),
        ("4.04", "NOT_FOUND(404)", true),
        ("4.05", "METHOD_NOT_ALLOWED(405)", true),
        ("4.06", "NOT_ACCEPTABLE(406)", true),
        ("4.08", "REQUEST_ENTITY_INCOMPLETE(408)", true),
        ("4.12", "PRECONDITION_FAILED(412)", true),
        ("4.13", "REQUEST_ENTITY_TOO_LARGE(413)", true),
        ("4.15", "UNSUPPORTED_CONTENT_FORMAT(415)", true),
        ("5.00", "INTERNAL_SERVER_ERROR(500)", true),
        ("4.02", "UNKNOWN(402)", false),
    ] {
        let failed = Outcome::Failed { code: Some(code.to_owned()), error: None };
        let json = json_of(told("GET", "3", failed));
        assert_eq!(json, json!({"status": status, "valid": valid, "success": false, "failure": true}));
    }
    for (method, url, code, status) in [
        ("PUT", "3/0/14", "2.04", "CHANGED(204)"),
        ("DELETE", "3303/1", "2.02", "DELETED(202)"),
        ("POST", "3/0/4", "2.04", "CHANGED(204)"),
        ("PUT", "3/attributes?pmin=1", "2.04", "CHANGED(204)"),
    ] {
        let json = json_of(told(method, url, done(code, json!({}))));
        assert_eq!(json, json!({"status": status, "valid": true, "success": true, "failure": false}), "{method} {url}");
    }
}

#[test]
fn what_belongs_to_an_operation_stands_beside_its_status() {
    let asked = ask("POST", "3303", &json!({"resources": []}));
    let created = reply(&asked, &result(done("2.01", json!({"location": "/3303/4"}))), &Definitions::new().types());
    assert_eq!(json_of(created)["location"], "3303/4");
    let links = json!([{"path": "/3", "attributes": {"pmin": 10, "ver": "1.1"}}, {"path": "/3/0/7", "attributes": {"dim": 2, "x": null}}]);
    assert_eq!(
        json_of(told("GET", "3/discover", done("2.05", json!({"links": links}))))["objectLinks"],
        json!([{"url": "/3", "attributes": {"pmin": "10", "ver": "1.1"}}, {"url": "/3/0/7", "attributes": {"dim": "2", "x": null}}])
    );
    let observed = json_of(told("POST", "3/0/9/observe", done("2.05", json!({"value": 95}))));
    assert_eq!(observed["content"]["value"], "95");
    assert_eq!(told("DELETE", "3/0/9/observe", done("2.05", json!({}))), Reply::Empty);
    let cancelled = json_of(told("DELETE", "3/0/9/observe?active", done("2.05", json!({"value": 95}))));
    assert_eq!(cancelled["content"]["value"], "95");
}

#[test]
fn the_end_of_an_observation_that_is_none_is_an_error_only_where_the_device_is_told() {
    let nothing = || Outcome::failed(ErrorKind::Invalid, "path /3/0/9 is not observed");
    assert_eq!(told("DELETE", "3/0/9/observe", nothing()), Reply::Empty);
    assert_eq!(told("DELETE", "3/0/9/observe", Outcome::Queued), Reply::Empty, "needs no device that listens");
    let Reply::Text(refusal) = told("DELETE", "3/0/9/observe?active", nothing()) else { panic!() };
    assert_eq!((refusal.status, refusal.text.as_str()), (404, "no observation for path /3/0/9 for  client 'ep'"));
    let Reply::Text(refusal) = told("DELETE", "composite/observe?paths=/3,/1&active", nothing()) else { panic!() };
    assert_eq!(refusal.text, "no composite observation for paths [/3, /1] for  client 'ep'");
}

#[test]
fn what_never_reached_the_device_has_a_status_and_a_line_of_text() {
    let failed = |kind| Outcome::Failed { code: None, error: Some(CommandError::new(kind, "why")) };
    for (outcome, status, text) in [
        (failed(ErrorKind::UnknownDevice), 400, "no registered client with id 'ep'"),
        (failed(ErrorKind::Invalid), 400, "Invalid request: why"),
        (failed(ErrorKind::NotSupported), 400, "Invalid request: why"),
        (failed(ErrorKind::Asleep), 400, "Invalid request: why"),
        (failed(ErrorKind::TooLarge), 400, "Invalid request: why"),
        (failed(ErrorKind::Timeout), 504, "Request timeout"),
        (failed(ErrorKind::Unreachable), 504, "Request timeout"),
        (failed(ErrorKind::BadAnswer), 500, "Invalid Response: why"),
        (failed(ErrorKind::Conflict), 500, "Request rejected: why"),
        (failed(ErrorKind::QueueFull), 500, "Request rejected: why"),
        (failed(ErrorKind::Internal), 500, "Unexpected exception: why"),
        (failed(ErrorKind::Forbidden), 403, "Request rejected: why"),
        (Outcome::Unknown, 504, "Request timeout"),
        (Outcome::Expired, 504, "Request timeout"),
    ] {
        let Reply::Text(refusal) = told("GET", "3", outcome.clone()) else { panic!("{outcome:?}") };
        assert_eq!((refusal.status, refusal.text.as_str()), (status, text));
    }
    let cancelled = told("GET", "3", Outcome::Cancelled { replaced_by: None });
    assert!(matches!(cancelled, Reply::Text(Refusal { status: 500, .. })));
}

#[test]
fn a_sleeping_device_is_told_of_and_its_answer_follows_under_the_same_id() {
    let asked = ask("GET", "3/0/9", &Json::Null);
    assert_eq!(
        delayed(&asked, "ep", "leshan-7"),
        json!({"ep": "ep", "path": "/3/0/9", "requestId": "leshan-7", "delayed": true})
    );
    let types = Definitions::new();
    let later = delayed_response(&asked, &result(done("2.05", json!({"value": 95}))), &types.types()).unwrap();
    assert_eq!(
        (&later["requestId"], &later["delayed"], &later["path"]),
        (&json!("leshan-7"), &json!(true), &json!("/3/0/9"))
    );
    assert_eq!(later["response"]["content"]["value"], "95");
    assert_eq!(delayed_response(&asked, &result(Outcome::Expired), &types.types()), None);
    let composite = ask("GET", "composite?paths=/3", &Json::Null);
    assert_eq!(delayed(&composite, "ep", "x").get("path"), None);
}

fn registration() -> Registration {
    Registration {
        endpoint: "ep".to_owned(),
        id: "01ab".to_owned(),
        registered_at: WallTime::from_millis(1_000),
        updated_at: WallTime::from_millis(2_000),
        address: "[::1]:40000".parse().unwrap(),
        sms: None,
        version: "1.1".to_owned(),
        lifetime_secs: 300,
        binding: None,
        root: String::new(),
        formats: vec![60, 112],
        objects: [
            (1, RegisteredObject { version: Some(Version::V1_1), instances: vec![0] }),
            (3303, RegisteredObject { version: None, instances: Vec::new() }),
        ]
        .into(),
        secure: false,
        parameters: [("x".to_owned(), "y".to_owned())].into(),
        queue_mode: false,
        sleeping: false,
    }
}

#[test]
fn a_registration_has_all_fields() {
    assert_eq!(
        registration().to_json(),
        json!({
            "endpoint": "ep", "registrationId": "01ab", "registrationDate": 1_000, "lastUpdate": 2_000,
            "address": "::1:40000", "lwM2mVersion": "1.1", "lifetime": 300, "bindingMode": "U", "rootPath": "/",
            "objectLinks": [
                {"url": "/", "attributes": {"rt": "\"oma.lwm2m\"", "ct": "\"60 112\""}},
                {"url": "/1", "attributes": {"ver": "1.1"}},
                {"url": "/1/0", "attributes": {}},
                {"url": "/3303", "attributes": {}}],
            "secure": false, "additionalRegistrationAttributes": {"x": "y"}, "queuemode": false,
            "availableInstances": {"1": [0]},
        })
    );
    let sleeping = Registration { queue_mode: true, sleeping: true, root: "/lwm2m".to_owned(), ..registration() };
    let json = sleeping.to_json();
    assert_eq!((&json["sleeping"], &json["rootPath"]), (&json!(true), &json!("/lwm2m")));
    assert_eq!(json["objectLinks"][2]["url"], "/lwm2m/1/0");
}

#[test]
fn events_have_the_names_and_data_of_the_stream() {
    let begun = Event::of_registration(EventKind::Registered, &registration());
    assert_eq!((begun.name.as_str(), &begun.data), ("REGISTRATION", &registration().to_json()));
    let updated = Event::of_registration(EventKind::Updated, &registration());
    assert_eq!(updated.name.as_str(), "UPDATED");
    assert_eq!(updated.data["registration"]["endpoint"], "ep");
    assert_eq!(updated.data["update"]["registrationId"], "01ab");
    assert_eq!(Event::of_registration(EventKind::Expired, &registration()).name.as_str(), "DEREGISTRATION");
    let awake = Event::presence(true, "ep");
    assert_eq!((awake.name.as_str(), awake.data), ("AWAKE", json!({"ep": "ep"})));
    assert_eq!(Event::presence(false, "ep").name.as_str(), "SLEEPING");
    assert_eq!(EventName::RequestResponse.as_str(), "REQUEST_RESPONSE");
}

#[test]
fn values_of_observations_and_sends_are_nodes_with_the_newest_value_of_each_path() {
    let sample = |path: &str, value: Value, ts: Option<i64>| Sample {
        path: path.parse().unwrap(),
        value,
        ts: ts.map(WallTime::from_secs),
    };
    let samples = [
        sample("/3/0/7/0", Value::Integer(3_000), None),
        sample("/3/0/7/1", Value::Integer(5_000), None),
        sample("/3/0/9", Value::Integer(94), Some(2)),
        sample("/3/0/9", Value::Integer(95), Some(3)),
        sample("/3/0/9", Value::Integer(93), Some(1)),
    ];
    let single =
        Event::notification("ep", "/3/0/7".parse().as_ref().map(std::slice::from_ref).unwrap(), false, &samples)
            .unwrap();
    assert_eq!(
        single.data,
        json!({"ep": "ep", "kind": "single", "res": "/3/0/7",
               "val": {"kind": "multiResource", "id": 7, "type": "INTEGER", "values": {"0": "3000", "1": "5000"}}})
    );
    let paths = ["/3/0/9".parse().unwrap(), "/4/0/2".parse().unwrap()];
    let composite = Event::notification("ep", &paths, true, &samples).unwrap();
    assert_eq!(
        (&composite.data["kind"], &composite.data["paths"]),
        (&json!("composite"), &json!(["/3/0/9", "/4/0/2"]))
    );
    assert_eq!(composite.data["val"]["/3/0/9"]["value"], "95");
    assert_eq!(composite.data["val"].get("/4/0/2"), None);
    assert_eq!(Event::notification("ep", &paths[1..], false, &samples), None);
    let sent = Event::send("ep", &samples);
    assert_eq!(sent.name.as_str(), "SEND");
    let val = sent.data["val"].as_object().unwrap();
    assert_eq!(val.keys().collect::<Vec<_>>(), ["/3/0/7/0", "/3/0/7/1", "/3/0/9"]);
    assert_eq!(val["/3/0/7/0"]["kind"], "resourceInstance");
    assert_eq!(val["/3/0/9"]["value"], "95");
}

#[test]
fn object_definitions_are_those_of_the_registered_objects() {
    let definitions = Definitions::new();
    let told = specifications(&definitions.types());
    let ids: Vec<u64> = told.as_array().unwrap().iter().filter_map(|object| object["id"].as_u64()).collect();
    assert_eq!(ids, [1, 3, 3303]);
    let server = &told[0];
    assert_eq!((&server["version"], &server["urn"]), (&json!("1.1"), &json!("urn:oma:lwm2m:oma:1:1.1")));
    assert_eq!((&server["instancetype"], &server["mandatory"]), (&json!("multiple"), &json!(true)));
    assert_eq!(told[2]["urn"], "urn:oma:lwm2m:ext:3303");
    let resources = server["resourcedefs"].as_array().unwrap();
    let lifetime = resources.iter().find(|resource| resource["id"] == 1).unwrap();
    assert_eq!((&lifetime["operations"], &lifetime["type"]), (&json!("RW"), &json!("integer")));
    assert_eq!((&lifetime["instancetype"], &lifetime["units"]), (&json!("single"), &json!("s")));
    let disable = resources.iter().find(|resource| resource["id"] == 4).unwrap();
    assert_eq!((&disable["operations"], &disable["type"]), (&json!("E"), &json!("none")));
}

#[test]
fn traced_messages_are_told_as_leshan_logs_them() {
    let line = json!({
        "ts": 5, "direction": "out", "type": "CON", "code": "0.01", "id": 7, "token": "ab",
        "options": [
            {"number": 11, "name": "Uri-Path", "value": "3"}, {"number": 11, "name": "Uri-Path", "value": "0"},
            {"number": 17, "name": "Accept", "value": 112}, {"number": 2049, "value": "ff"}],
    });
    let event = Event::coap_log("ep", &line);
    assert_eq!(event.name.as_str(), "COAPLOG");
    assert_eq!(
        event.data,
        json!({"ep": "ep", "timestamp": 5, "incoming": false, "type": "CON", "code": "GET", "mId": 7, "token": "ab",
               "options": "Uri-Path: \"3\", \"0\" - Accept: 112 - Unknown (2049): \"ff\""})
    );
    let answer = |hex: &str| {
        let line = json!({"direction": "in", "type": "ACK", "code": "2.05", "options": [], "payload": {"hex": hex}});
        Event::coap_log("ep", &line).data
    };
    assert_eq!((&answer("3235")["payload"], &answer("3235")["code"]), (&json!("25"), &json!("2.05")));
    assert_eq!((&answer("32ff")["payload"], &answer("32ff")["incoming"]), (&json!("Hex:32ff"), &json!(true)));
    let empty = Event::coap_log("ep", &json!({"direction": "in", "type": "RST", "code": "0.00", "options": []}));
    assert!(empty.data.get("code").is_none() && empty.data.get("options").is_none());
}
