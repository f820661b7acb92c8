//! A device bootstraps towards another server, which has to know it first: the real binary, a server of the same shape on
//! loopback for each kind, and a simulated device.

use std::net::SocketAddr;
use std::sync::mpsc::sync_channel;

use lwm2mqtt::model::version::Version;
use lwm2mqtt::simulator::bootstrap_script::{BootstrapScript, FactoryKey};
use lwm2mqtt::simulator::script::DeviceScript;
use serde_json::{Value, json};

use super::harness::{Asked, Gateway, Mosquitto, PATIENCE, RestServer, ScriptedDevice, Setup, free_port};

const ENDPOINT: &str = "urn:dev:meter-1";
const PASSWORD: &str = "a-password-of-tests";
const TOKEN: &str = "a-token-of-tests";

struct Site {
    _broker: Mosquitto,
    gateway: Gateway,
    bootstrap: SocketAddr,
}

impl Site {
    /// A gateway with a bootstrap server that hands out one account with a key made here, of a server that is told.
    fn start(provision: &Value) -> Self {
        let broker = Mosquitto::start();
        let port = free_port();
        let section = format!("[bootstrap]\nudp = \"127.0.0.1:{port}\"\ndtls = \"off\"\n");
        let gateway = Setup::new(&broker).file("conf.d/bootstrap.toml", &section).start();
        let account = json!({
            "uri": "coaps://127.0.0.1:5999",
            "security_mode": "psk",
            "psk_identity": "of {endpoint}",
            "psk_key": { "random": 16 },
            "provision": provision,
        });
        let (status, answer) = gateway.ask("PUT", "/api/v1/bootstrap/servers/elsewhere", &account);
        assert_eq!(status, 201, "{answer}");
        assert!(!answer.to_string().contains(PASSWORD), "{answer}");
        let entry = json!({ "servers": ["elsewhere"] });
        let (status, answer) = gateway.ask("PUT", "/api/v1/bootstrap/devices/urn:dev:meter-*", &entry);
        assert_eq!(status, 201, "{answer}");
        Self { _broker: broker, gateway, bootstrap: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// A device that asks for its accounts.
    fn device(&self) -> ScriptedDevice {
        let uri = format!("coap://{}", self.bootstrap);
        let script = DeviceScript::new(ENDPOINT).with_version(Version::V1_1);
        let script = script.with_bootstrap(BootstrapScript::default(), 0, &uri, FactoryKey::NoSec);
        ScriptedDevice::start(self.bootstrap, script)
    }

    /// The device's first session with its steps, once it fits.
    fn session(&self, fits: impl Fn(&Value) -> bool) -> Value {
        let path = "/api/v1/bootstrap/sessions";
        let sessions = self.gateway.wait_for_json(path, |sessions| sessions["items"][0]["id"].is_string());
        let id = sessions["items"][0]["id"].as_str().expect("an id");
        self.gateway.wait_for_json(&format!("{path}/{id}"), fits)
    }

    /// Nothing that the gateway wrote or answers holds a secret.
    fn keeps(&self, secrets: &[&str]) {
        let sessions = self.session(|_| true);
        let (_, accounts) = self.gateway.get("/api/v1/bootstrap/servers");
        for text in [self.gateway.log(), sessions.to_string(), accounts.to_string()] {
            for secret in secrets {
                assert!(!text.contains(secret), "{secret} is in {text}");
            }
        }
    }
}

fn outcome_is(outcome: &'static str) -> impl Fn(&Value) -> bool {
    move |session| session["outcome"] == outcome
}

fn operations(session: &Value) -> Vec<&str> {
    session["steps"].as_array().into_iter().flatten().filter_map(|step| step["operation"].as_str()).collect()
}

fn target(kind: &str, server: &RestServer) -> Value {
    json!({ "type": kind, "url": server.url, "user": "ops", "password": PASSWORD })
}

#[test]
fn a_device_gets_finish_only_when_leshan_knows_it() {
    let (go_on, gate) = sync_channel(1);
    let server = RestServer::start(move |_| {
        gate.recv_timeout(PATIENCE).expect("a test that goes on");
        (200, String::new())
    });
    let site = Site::start(&json!({ "type": "leshan", "url": server.url }));
    let _device = site.device();
    // Everything is written, and the session waits for the server.
    let session = site.session(|session| operations(session).contains(&"provision"));
    assert_eq!(session["outcome"], "running", "{session}");
    assert!(!operations(&session).contains(&"finish"), "{session}");
    go_on.send(()).unwrap();
    let asked = server.asked();
    assert_eq!(asked.line, "PUT /api/security/clients/");
    let body = asked.json();
    assert_eq!((&body["endpoint"], &body["tls"]["mode"]), (&json!(ENDPOINT), &json!("psk")));
    let details = &body["tls"]["details"];
    assert_eq!(details["identity"], format!("of {ENDPOINT}"));
    let key = details["key"].as_str().unwrap();
    assert_eq!(key.len(), 32, "{key}");
    site.session(outcome_is("done"));
    site.keeps(&[key]);
}

fn thingsboard(asked: &Asked) -> (u16, String) {
    let id = |kind: &str, id: &str| json!({ "entityType": kind, "id": id });
    let path = asked.line.split(['?', ' ']).nth(1).unwrap_or_default();
    let answer = match path {
        "/api/auth/login" => json!({ "token": TOKEN, "refreshToken": "r" }),
        "/api/tenant/devices" => return (404, json!({ "message": "Requested item wasn't found!" }).to_string()),
        "/api/deviceProfileInfos" => json!({ "data": [{ "id": id("DEVICE_PROFILE", "p"), "name": "lwm2m" }] }),
        "/api/device" => json!({ "id": id("DEVICE", "d") }),
        "/api/device/d/credentials" => json!({ "id": { "id": "c" }, "deviceId": id("DEVICE", "d") }),
        "/api/device/credentials" => json!({}),
        _ => return (404, String::new()),
    };
    (200, answer.to_string())
}

#[test]
fn thingsboard_is_told_of_a_device_that_it_does_not_know() {
    let server = RestServer::start(thingsboard);
    let site = Site::start(&target("thingsboard", &server));
    let _device = site.device();
    assert_eq!(server.asked().json(), json!({ "username": "ops", "password": PASSWORD }));
    let mut last = server.asked();
    while last.line != "POST /api/device/credentials" {
        assert!(last.headers.contains(&format!("x-authorization: bearer {TOKEN}")), "{}", last.headers);
        last = server.asked();
    }
    let credentials = last.json();
    assert_eq!(credentials["credentialsType"], "LWM2M_CREDENTIALS");
    let value: Value = serde_json::from_str(credentials["credentialsValue"].as_str().unwrap()).unwrap();
    assert_eq!(value["client"]["identity"], format!("of {ENDPOINT}"));
    let key = value["client"]["key"].as_str().unwrap().to_owned();
    site.session(outcome_is("done"));
    site.keeps(&[&key, PASSWORD, TOKEN]);
}

fn coiote(asked: &Asked) -> (u16, String) {
    let path = asked.line.split(['?', ' ']).nth(1).unwrap_or_default();
    let answer = match path {
        "/api/auth/oauth_password" => json!({ "access_token": TOKEN, "expires_in": 1_800 }),
        "/api/coiotedm/v3/devices/find/details" => {
            json!({ "devices": [{ "id": "known", "connectorType": "management", "blacklisted": false }] })
        }
        _ => json!({}),
    };
    (200, answer.to_string())
}

#[test]
fn coiote_is_told_of_the_new_key_of_a_device_that_it_knows() {
    let server = RestServer::start(coiote);
    let site = Site::start(&target("coiote", &server));
    let _device = site.device();
    assert!(server.asked().body.contains("grant%5Ftype=password"));
    assert!(server.asked().line.contains("find/details"));
    let update = server.asked();
    assert_eq!(update.line, "PUT /api/coiotedm/v3/devices/known");
    let key = update.json()["dtlsPsk"]["HexadecimalPsk"].as_str().unwrap().to_owned();
    site.session(outcome_is("done"));
    site.keeps(&[&key, PASSWORD, TOKEN]);
}

#[test]
fn a_server_that_refuses_fails_the_session_with_its_reason_and_no_secret() {
    let server = RestServer::start(|_| (500, format!("{{\"message\":\"cannot log in with {PASSWORD}\"}}")));
    let site = Site::start(&target("thingsboard", &server));
    let _device = site.device();
    let session = site.session(outcome_is("failed"));
    let reason = session["reason"].as_str().unwrap();
    assert!(reason.contains("the login was refused with 500: look into the server's own log"), "{reason}");
    assert!(!operations(&session).contains(&"finish"), "{session}");
    site.gateway.wait_for_log("bootstrap_failed");
    site.keeps(&[PASSWORD]);
}
