//! The Leshan-compatible bootstrap API as scripts for Leshan's bootstrap server use it, and what devices then get.

use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use super::harness::{Gateway, Mosquitto, Setup, free_port};
use super::leshan_api::Leshan;

/// Seconds that a simulated device has for bootstrap and registration.
const SECONDS: &str = "4";

/// A gateway with the bootstrap server and the API, where that is, and the port of the bootstrap server.
fn start() -> (Mosquitto, Gateway, Leshan, u16) {
    let broker = Mosquitto::start();
    let (api, bootstrap) = (free_port(), free_port());
    let gateway = Setup::new(&broker)
        .http(&format!("leshan_bootstrap_listen = \"127.0.0.1:{api}\"\n"))
        .file("conf.d/bootstrap.toml", &format!("[bootstrap]\nudp = \"127.0.0.1:{bootstrap}\"\ndtls = \"off\"\n"))
        .start();
    (broker, gateway, Leshan(SocketAddr::from(([127, 0, 0, 1], api))), bootstrap)
}

/// What the helper of Zephyr's suites puts, for a server without security.
fn configuration(gateway: &Gateway) -> Json {
    json!({
        "servers": { "0": {
            "binding": "U", "defaultMinPeriod": 1, "lifetime": 86400, "notifIfDisabled": false, "shortId": 1,
        } },
        "security": { "1": {
            "bootstrapServer": false, "clientOldOffTime": 1, "publicKeyOrId": [], "secretKey": [],
            "securityMode": "NO_SEC", "serverId": 1, "serverSmsNumber": "", "smsBindingKeyParam": [],
            "smsBindingKeySecret": [], "smsSecurityMode": "NO_SEC", "uri": format!("coap://{}", gateway.lwm2m_address()),
        } },
        "oscore": {},
        "toDelete": ["/0", "/1"],
    })
}

/// Lets a simulated device bootstrap; what it reports.
fn simulate(gateway: &Gateway, bootstrap: u16) -> Json {
    let server = format!("coap://127.0.0.1:{bootstrap}");
    let mut command = gateway.bare_command();
    command.args(["simulate", "--bootstrap", "--server", &server, "--devices", "1", "--seconds", SECONDS, "--json"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_device_gets_what_a_script_put_and_its_session_is_told() {
    let (_broker, gateway, leshan, bootstrap) = start();
    let endpoint = "sim-000000";
    let endpoints = leshan.get("/server/endpoint");
    assert_eq!(endpoints[0]["uri"]["full"], format!("coap://127.0.0.1:{bootstrap}"), "{endpoints}");

    let (status, text) =
        leshan.request("POST", &format!("/bootstrap/{endpoint}"), "", &configuration(&gateway).to_string());
    assert_eq!((status, text.as_str()), (200, ""));
    let shown = leshan.get("/bootstrap");
    assert_eq!(shown[endpoint]["toDelete"], json!(["/0", "/1"]));
    assert_eq!(shown[endpoint]["servers"]["0"]["lifetime"], 86_400);
    assert_eq!(shown[endpoint]["security"]["1"]["uri"], configuration(&gateway)["security"]["1"]["uri"]);

    let mut events = leshan.events(&format!("ep={endpoint}"));
    let report = simulate(&gateway, bootstrap);
    assert_eq!(report["registered"], 1, "{report:#}");
    let mut names = Vec::new();
    while names.last().is_none_or(|name| name != "finished") {
        let told = events.next("BSSESSION");
        assert_eq!(told["endpoint"], endpoint);
        names.push(told["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(names[..2], ["new session", "authorized"], "{names:?}");
    for name in ["send delete", "send write", "send request", "receive success response"] {
        assert!(names.iter().any(|told| told == name), "{name} {names:?}");
    }
    let (status, device) = gateway.get(&format!("/api/v1/devices/{endpoint}"));
    assert_eq!((status, &device["reason"]), (200, &json!("deregistered")), "it came where it was sent: {device}");

    let delete = || leshan.request("DELETE", &format!("/bootstrap/{endpoint}"), "", "").0;
    assert_eq!((delete(), delete()), (204, 404));
    assert_eq!(leshan.get("/bootstrap"), json!({}));
}

#[test]
fn credentials_open_the_bootstrap_server_alone_and_are_not_told() {
    let (_broker, gateway, leshan, _) = start();
    let psk = json!({ "endpoint": "a", "tls": { "mode": "psk", "details": { "identity": "a", "key": "000102" } } });
    assert_eq!(leshan.request("PUT", "/security/clients/", "", &psk.to_string()).0, 200);
    let told = json!([{ "endpoint": "a", "tls": { "mode": "psk", "details": { "identity": "a" } } }]);
    assert_eq!(leshan.get("/security/clients"), told);
    let (_, own) = gateway.get("/api/v1/credentials?scope=bootstrap");
    assert_eq!(own["items"][0]["endpoint"], "a", "{own}");
    let (_, own) = gateway.get("/api/v1/credentials?scope=server");
    assert_eq!(own["items"], json!([]));
    assert_eq!(leshan.request("DELETE", "/security/clients/a", "", "").0, 200);
    assert_eq!(leshan.request("DELETE", "/security/clients/a", "", "").0, 200);
    assert_eq!(leshan.get("/security/clients"), json!([]));
}

#[test]
fn what_does_not_fit_together_is_400_and_puts_nothing() {
    let (_broker, gateway, leshan, _) = start();
    let mut wrong = configuration(&gateway);
    wrong["security"]["1"]["uri"] = "coaps://127.0.0.1".into();
    let (status, text) = leshan.request("POST", "/bootstrap/a", "", &wrong.to_string());
    assert_eq!(status, 400);
    assert!(text.contains("uri"), "{text}");
    let (status, _) = leshan.request("POST", "/bootstrap/a", "", "{\"security\": {\"1\": {}}}");
    assert_eq!(status, 400);
    assert_eq!(leshan.get("/bootstrap"), json!({}));
}
