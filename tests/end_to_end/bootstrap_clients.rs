//! Clients that others wrote come with one address, get their accounts here, and register with what they were given.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::dtls_site::KEY;
use super::harness::{Authority, DeviceClient, Gateway, Library, Mosquitto, Setup};

/// Some clients are silent to a format they do not know, and deaf while they change sockets.
const QUICK: &str = "ack_timeout = \"300ms\"\nmax_retransmit = 4\n";

/// A bootstrap server beside an LwM2M server that takes only those whom it knows.
fn start(broker: &Mosquitto, unknown_devices: &str) -> Gateway {
    setup(broker, unknown_devices).start()
}

fn setup(broker: &Mosquitto, unknown_devices: &str) -> Setup {
    let lines = format!("unknown_devices = \"{unknown_devices}\"");
    Setup::new(broker).unknown_devices("refuse").dtls().lwm2m(QUICK).bootstrap(&lines)
}

fn put(gateway: &Gateway, path: &str, body: &Value) {
    let (status, answer) = gateway.ask("PUT", path, body);
    assert_eq!((status, &answer["created"]), (201, &json!(true)), "{path}: {answer}");
}

/// Hands this account out to the devices that the pattern fits.
fn hand_out(gateway: &Gateway, pattern: &str, account: &Value) {
    put(gateway, "/api/v1/bootstrap/servers/site", account);
    put(gateway, &format!("/api/v1/bootstrap/devices/{pattern}"), &json!({ "servers": ["site"] }));
}

/// Waits until the latest session of a device has ended well, and answers it with its steps.
fn expect_done(gateway: &Gateway, endpoint: &str) -> Value {
    let page = format!("/api/v1/bootstrap/sessions?endpoint={endpoint}&limit=1");
    let page = gateway.wait_for_json(&page, |page| !page["items"][0]["ended_at"].is_null());
    let id = page["items"][0]["id"].as_str().expect("a session has an id");
    let (status, session) = gateway.get(&format!("/api/v1/bootstrap/sessions/{id}"));
    assert_eq!((status, &session["outcome"]), (200, &json!("done")), "{session}");
    let steps = session["steps"].as_array().expect("a session has steps");
    let finished = steps.iter().any(|step| step["operation"] == "finish" && step["code"] == "2.04");
    assert!(finished, "{session}");
    session
}

fn expect_online(gateway: &Gateway, endpoint: &str, transport: &str) -> Value {
    gateway.wait_for_json(&format!("/api/v1/devices/{endpoint}"), |record| {
        record["state"] == "online" && record["transport"] == transport
    })
}

/// The device reports by its new registration as by any other.
fn expect_served(gateway: &Gateway, device: &mut DeviceClient, endpoint: &str) {
    let values = format!("/api/v1/devices/{endpoint}/values");
    gateway.wait_for_json(&values, |values| values["temperature"]["value"] == 20.5);
    device.set("/3303/0/5700", 23.25);
    gateway.wait_for_json(&values, |values| values["temperature"]["value"] == 23.25);
}

#[test]
fn leshan_bootstraps_over_udp_and_registers_over_dtls_with_the_key_that_was_made_for_it() {
    let broker = Mosquitto::start();
    let gateway = start(&broker, "refuse");
    hand_out(&gateway, "meter-*", &json!({ "security_mode": "psk", "psk_key": { "random": 32 } }));
    let mut device = DeviceClient::bootstrap(Library::Leshan, gateway.bootstrap_addresses().0, "meter-1");
    device.expect("bootstrapped", |_| true);
    let server = format!("coaps://{}", gateway.dtls_address());
    device.expect("registered", |event| event["uri"] == server.as_str());
    let record = expect_online(&gateway, "meter-1", "dtls");
    assert_eq!(record["identity"], "meter-1", "{record}");
    expect_done(&gateway, "meter-1");
    let (status, credential) = gateway.get("/api/v1/credentials/meter-1");
    assert_eq!((status, &credential["mode"]), (200, &json!("psk")), "{credential}");
    expect_served(&gateway, &mut device, "meter-1");
    device.deregister();
}

#[test]
fn leshan_bootstraps_over_dtls_by_a_key_that_opens_nothing_else() {
    let broker = Mosquitto::start();
    let gateway = start(&broker, "refuse");
    hand_out(&gateway, "meter-1", &json!({ "security_mode": "psk", "psk_key": { "random": 16 } }));
    let factory = json!({ "mode": "psk", "key": KEY, "scope": "bootstrap" });
    put(&gateway, "/api/v1/credentials/meter-1", &factory);
    let server = gateway.bootstrap_addresses().1;
    let folder = || TempDir::new().expect("a temporary folder");
    let key = ["psk", "meter-1", KEY];
    let mut elsewhere = DeviceClient::start_secure(gateway.dtls_address(), "meter-1", folder(), &key);
    elsewhere.expect("failed", |_| true);
    drop(elsewhere);

    let mut device = DeviceClient::bootstrap_secure(server, "meter-1", folder(), &key);
    device.expect("registered", |_| true);
    expect_online(&gateway, "meter-1", "dtls");
    let session = expect_done(&gateway, "meter-1");
    assert_eq!((&session["transport"], &session["identity"]), (&json!("dtls"), &json!("meter-1")), "{session}");
    for told in [session.to_string(), gateway.log()] {
        assert!(!told.contains(KEY), "the key is told: {told}");
    }
    expect_served(&gateway, &mut device, "meter-1");
}

#[test]
fn leshan_bootstraps_over_dtls_by_the_certificate_of_its_maker() {
    bootstraps_by_factory_keys(&["x509", "device.crt.der", "device.key.der", "server.crt.der"]);
}

#[test]
fn leshan_bootstraps_over_dtls_by_its_raw_public_key() {
    bootstraps_by_factory_keys(&["rpk", "device.pub.der", "device.key.der", "server.pub.der"]);
}

fn bootstraps_by_factory_keys(security: &[&str]) {
    let broker = Mosquitto::start();
    let authority = Authority::make("maker");
    let (server, device) = (authority.issue("server.example.com"), authority.issue("meter-1"));
    let folder = TempDir::new().expect("a temporary folder");
    device.write(folder.path(), "device");
    server.write(folder.path(), "server");
    let gateway = setup(&broker, "refuse")
        .lwm2m("certificate = \"server.crt\"\nprivate_key = \"server.key\"\nraw_public_key = \"server.key\"\n")
        .lwm2m("trust = [\"maker.crt\"]\n")
        .file("server.crt", &server.certificate_pem())
        .file("server.key", &server.key_pem())
        .file("maker.crt", &authority.certificate())
        .start();
    hand_out(&gateway, "meter-*", &json!({ "security_mode": "psk", "psk_key": { "random": 32 } }));
    if security.contains(&"rpk") {
        let factory = json!({ "mode": "rpk", "public_key": device.public_key_base64(), "scope": "bootstrap" });
        put(&gateway, "/api/v1/credentials/meter-1", &factory);
    }
    let address = gateway.bootstrap_addresses().1;
    let mut device = DeviceClient::bootstrap_secure(address, "meter-1", folder, security);
    device.expect("registered", |_| true);
    let record = expect_online(&gateway, "meter-1", "dtls");
    assert_eq!(record["identity"], "meter-1", "it registers with the key of its account: {record}");
    let session = expect_done(&gateway, "meter-1");
    assert!(session["identity"].as_str().is_some_and(|identity| identity != "meter-1"), "{session}");
    expect_served(&gateway, &mut device, "meter-1");
}

#[test]
fn leshan_takes_each_format_by_instance_and_by_object() {
    let broker = Mosquitto::start();
    let gateway = start(&broker, "refuse");
    put(&gateway, "/api/v1/bootstrap/servers/site", &json!({ "security_mode": "psk", "psk_key": { "random": 32 } }));
    for (number, format) in ["tlv", "senml-cbor", "senml-json", "json"].into_iter().enumerate() {
        for write_by in ["instance", "object"] {
            let endpoint = format!("meter-{number}-{write_by}");
            let entry = json!({
                "servers": ["site"], "format": format, "write_by": write_by, "writes": { "/3/0/15": "Europe/Berlin" },
            });
            put(&gateway, &format!("/api/v1/bootstrap/devices/{endpoint}"), &entry);
            let mut device = DeviceClient::bootstrap(Library::Leshan, gateway.bootstrap_addresses().0, &endpoint);
            device.expect("registered", |_| true);
            expect_done(&gateway, &endpoint);
            let zone = format!("/api/v1/devices/{endpoint}/resources/3/0/15");
            gateway.wait_for_json(&zone, |read| read["value"] == "Europe/Berlin");
        }
    }
}

#[test]
fn leshan_gets_a_certificate_of_the_gateways_own_authority() {
    registers_with_made_keys("x509");
}

#[test]
fn leshan_gets_a_raw_public_key_of_its_own() {
    registers_with_made_keys("rpk");
}

fn registers_with_made_keys(mode: &str) {
    let broker = Mosquitto::start();
    let gateway = start(&broker, "refuse");
    hand_out(&gateway, "meter-*", &json!({ "security_mode": mode }));
    let mut device = DeviceClient::bootstrap(Library::Leshan, gateway.bootstrap_addresses().0, "meter-1");
    device.expect("registered", |_| true);
    let record = expect_online(&gateway, "meter-1", "dtls");
    let identity = record["identity"].as_str().unwrap_or_default();
    let named = if mode == "rpk" { identity.starts_with("rpk:") } else { identity.contains("CN=meter-1") };
    assert!(named, "{record}");
    expect_done(&gateway, "meter-1");
    expect_served(&gateway, &mut device, "meter-1");
}

#[test]
fn coap_node_bootstraps_and_registers_over_udp() {
    let broker = Mosquitto::start();
    let gateway = start(&broker, "refuse");
    put(&gateway, "/api/v1/bootstrap/servers/site", &json!({ "security_mode": "nosec" }));
    // It ends at a Delete of an object, and never answers that of an instance; as it fails at Discover, it gets neither.
    put(&gateway, "/api/v1/bootstrap/devices/node-1", &json!({ "servers": ["site"] }));
    let mut device = DeviceClient::bootstrap(Library::CoapNode, gateway.bootstrap_addresses().0, "node-1");
    device.expect("bootstrapped", |_| true);
    device.expect("registered", |_| true);
    expect_online(&gateway, "node-1", "udp");
    expect_done(&gateway, "node-1");
    expect_served(&gateway, &mut device, "node-1");
    device.deregister();
}

#[test]
fn a_device_that_nobody_knows_waits_until_it_is_let_in() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/bridge/event");
    let gateway = start(&broker, "approve");
    put(&gateway, "/api/v1/bootstrap/servers/site", &json!({ "security_mode": "psk", "psk_key": { "random": 32 } }));
    let mut device = DeviceClient::bootstrap(Library::Leshan, gateway.bootstrap_addresses().0, "newcomer");
    let pending = gateway.wait_for_json("/api/v1/bootstrap/pending", |page| page["items"][0]["waiting"] == true);
    assert_eq!(pending["items"][0]["endpoint"], "newcomer", "{pending}");
    cloud.expect("the event", |_, event| event["event"] == "join_requested" && event["endpoint"] == "newcomer");

    let (status, answer) = gateway.ask("POST", "/api/v1/bootstrap/pending/newcomer", &json!({ "servers": ["site"] }));
    assert_eq!((status, &answer["waiting"]), (200, &json!(true)), "{answer}");
    device.expect("registered", |_| true);
    expect_online(&gateway, "newcomer", "dtls");
    expect_done(&gateway, "newcomer");
    cloud.expect("the event", |_, event| event["event"] == "bootstrapped" && event["endpoint"] == "newcomer");
    let (status, entry) = gateway.get("/api/v1/bootstrap/devices/newcomer");
    assert_eq!((status, &entry["servers"]), (200, &json!(["site"])), "the decision is remembered: {entry}");
    assert_eq!(gateway.get("/api/v1/bootstrap/pending").1["items"], json!([]));
}

#[test]
fn a_registered_device_that_is_told_to_bootstraps_again_and_gets_another_key() {
    let broker = Mosquitto::start();
    let gateway = start(&broker, "refuse");
    hand_out(&gateway, "meter-*", &json!({ "security_mode": "psk", "psk_key": { "random": 32 } }));
    let mut device = DeviceClient::bootstrap(Library::Leshan, gateway.bootstrap_addresses().0, "meter-1");
    device.expect("registered", |_| true);
    expect_online(&gateway, "meter-1", "dtls");
    let first = expect_done(&gateway, "meter-1");
    let credential = gateway.get("/api/v1/credentials/meter-1").1;

    let (status, result) = gateway.ask("POST", "/api/v1/devices/meter-1/bootstrap?wait=30s", &json!({}));
    assert_eq!((status, &result["status"]), (200, &json!("done")), "{result}");
    let sessions = "/api/v1/bootstrap/sessions?endpoint=meter-1";
    let again = |page: &Value| page["items"][0]["id"] != first["id"] && page["items"][0]["outcome"] == "done";
    gateway.wait_for_json(sessions, again);
    let registered_before = first["ended_at"].as_i64().unwrap_or(i64::MAX);
    let record = gateway.wait_for_json("/api/v1/devices/meter-1", |record| {
        record["state"] == "online" && record["registered_at"].as_i64() > Some(registered_before)
    });
    assert_eq!(record["transport"], "dtls", "{record}");
    let changed = gateway.get("/api/v1/credentials/meter-1").1;
    assert!(changed["changed_at"].as_i64() > credential["changed_at"].as_i64(), "{changed}");
    expect_served(&gateway, &mut device, "meter-1");
}

#[test]
fn an_account_in_use_is_kept_and_one_that_is_wrong_is_refused_with_all_its_problems() {
    let broker = Mosquitto::start();
    let mut gateway = start(&broker, "refuse");
    gateway.wait_for_log(&format!("the bootstrap server listens on coaps://{}", gateway.bootstrap_addresses().1));
    hand_out(&gateway, "meter-*", &json!({ "security_mode": "psk", "psk_key": KEY }));
    let (status, answer) = gateway.ask("DELETE", "/api/v1/bootstrap/servers/site", &Value::Null);
    assert_eq!(status, 409, "{answer}");
    assert!(answer["error"]["message"].as_str().is_some_and(|message| message.contains("meter-*")), "{answer}");

    let wrong =
        json!({ "security_mode": "psk", "psk_key": { "random": 65 }, "ssid": 0, "binding": "X", "lifetime": "long" });
    let (status, answer) = gateway.ask("PUT", "/api/v1/bootstrap/servers/wrong", &wrong);
    let fields: Vec<&str> = answer["error"]["problems"]
        .as_array()
        .map(|problems| problems.iter().filter_map(|problem| problem["field"].as_str()).collect())
        .unwrap_or_default();
    for field in ["psk_key.random", "ssid", "binding", "lifetime"] {
        assert!(status == 400 && fields.contains(&field), "{field} is not told: {status} {answer}");
    }

    // What was put is there after a restart, and its secret is told to nobody.
    gateway.kill_nine();
    gateway.restart();
    gateway.wait_for("/readyz");
    let (status, account) = gateway.get("/api/v1/bootstrap/servers/site");
    assert_eq!((status, &account["psk_key"]), (200, &json!({ "secret": true })), "{account}");
    let (_, entry) =
        gateway.ask("POST", "/api/v1/bootstrap/devices/meter-*/servers", &json!({ "server": "management-psk" }));
    assert_eq!(entry["servers"].as_array().map(Vec::len), Some(2), "{entry}");
    assert_eq!(gateway.ask("DELETE", "/api/v1/bootstrap/servers/site?cascade=true", &Value::Null).0, 204);
    let (_, entry) = gateway.get("/api/v1/bootstrap/devices/meter-*");
    assert_eq!(entry["servers"], json!(["management-psk"]), "{entry}");
    let (status, removed) = gateway.ask("DELETE", "/api/v1/bootstrap/devices", &Value::Null);
    assert_eq!((status, removed), (200, json!({ "removed": 1 })));
}
