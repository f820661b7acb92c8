//! Devices on CoAP over TLS, by the `openssl` command of Debian; and the server's own identity over its life.

use std::net::SocketAddr;

use coap_lite::{MessageClass, ResponseType};
use serde_json::{Value, json};

use super::harness::{Authority, Gateway, Mosquitto, Setup, StreamDevice, Subscriber, TlsClient, free_port};

const MAX_MESSAGE_SIZE: u32 = 100_003;
/// Suites of certificates that LwM2M names.
const CERTIFICATE_SUITE: [&str; 3] = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"];
const CERTIFICATE_FILES: [&str; 4] = ["-cert", "device.crt", "-key", "device.key"];

struct Tls {
    gateway: Gateway,
    address: SocketAddr,
    cloud: Subscriber,
    _broker: Mosquitto,
}

/// A gateway with a listener of TLS alone, beside that for datagrams.
fn start(lines: &str, files: &[(&str, &str)]) -> Tls {
    let broker = Mosquitto::start();
    let cloud = broker.subscribe("lwm2m/#");
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut setup = Setup::new(&broker).unknown_devices("refuse").lwm2m(&format!("tls = \"{address}\"\n{lines}"));
    for (name, text) in files {
        setup = setup.file(name, text);
    }
    Tls { gateway: setup.start(), address, cloud, _broker: broker }
}

fn expect_alarm(cloud: &mut Subscriber, name: &str) -> Value {
    let topic = format!("lwm2m/bridge/alarm/{name}");
    let standing = |payload: &Value| payload["alarm"] == *name;
    cloud.expect(name, |seen, payload| seen == topic && standing(payload)).payload
}

fn expect_no_alarm(cloud: &mut Subscriber, after: usize, name: &str) {
    let topic = format!("lwm2m/bridge/alarm/{name}");
    cloud.expect_after(after, "the end of the alarm", |seen, payload| seen == topic && payload == "");
}

/// The certificate that the gateway shows, as the openssl command prints it.
fn shown_certificate(address: SocketAddr) -> String {
    let output = std::process::Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl; run `tests/run packages`");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("no certificate: {text}"));
    let (body, _) = rest.split_once("-----END CERTIFICATE-----").expect("a whole certificate");
    body.split_whitespace().collect()
}

/// The base64 of a PEM file's first certificate.
fn body_of(pem: &str) -> String {
    let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----").expect("a certificate");
    rest.split_once("-----END").expect("a whole certificate").0.split_whitespace().collect()
}

#[test]
fn devices_with_certificates_of_a_trusted_authority_register_over_tls_1_2_and_1_3() {
    let (servers, devices) = (Authority::make("servers"), Authority::make("devices"));
    let (server_certificate, server_key) = servers.issue("localhost").pems();
    let mut tls = start(
        "certificate = \"s.crt\"\nprivate_key = \"s.key\"\ntrust = \"devices.crt\"\n",
        &[("s.crt", &server_certificate), ("s.key", &server_key), ("devices.crt", &devices.certificate())],
    );
    for (endpoint, version) in [("node-12", &CERTIFICATE_SUITE[..]), ("node-13", &["-tls1_3"])] {
        let (certificate, key) = devices.issue(endpoint).pems();
        let files = [("device.crt", &*certificate), ("device.key", &*key), ("ca.crt", &*servers.certificate())];
        let arguments = [&CERTIFICATE_FILES[..], &["-CAfile", "ca.crt", "-verify_return_error"], version].concat();
        let client = TlsClient::connect(tls.address, &arguments, &files);
        let mut device = StreamDevice::over(client, MAX_MESSAGE_SIZE);
        let location = device.register(endpoint, &["lwm2m=1.1", "lt=300", "b=T"]);
        device.wait_for_observation();
        device.notify("21.5");
        let topic = format!("lwm2m/{endpoint}/telemetry");
        tls.cloud.expect("the value", |seen, payload| seen == topic && payload["values"]["temperature"] == 21.5);
        let record =
            tls.gateway.wait_for_json(&format!("/api/v1/devices/{endpoint}"), |record| record["state"] == "online");
        assert_eq!(record["transport"], "tls", "{record}");
        assert!(record["identity"].as_str().unwrap().contains(endpoint), "{record}");
        assert_eq!(device.deregister(&location), MessageClass::Response(ResponseType::Deleted));
    }
}

#[test]
fn devices_without_a_certificate_that_counts_are_turned_away_with_the_reason() {
    let (devices, strangers) = (Authority::make("devices"), Authority::make("strangers"));
    let tls = start("trust = \"devices.crt\"\n", &[("devices.crt", &devices.certificate())]);
    let (certificate, key) = strangers.issue("node-1").pems();
    let arguments = [&CERTIFICATE_FILES[..], &CERTIFICATE_SUITE[..]].concat();
    let files = [("device.crt", &*certificate), ("device.key", &*key)];
    let told = TlsClient::connect(tls.address, &arguments, &files).wait_for_end();
    assert!(told.contains("alert"), "{told}");
    let told = TlsClient::connect(tls.address, &CERTIFICATE_SUITE, &[]).wait_for_end();
    assert!(told.contains("alert"), "{told}");
    let reasons = |refused: &Value| -> Vec<String> {
        let items = refused["items"].as_array().unwrap().iter();
        items.map(|peer| peer["reason"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let refused = tls.gateway.wait_for_json("/api/v1/refused", |refused| reasons(refused).len() == 2);
    let reasons = reasons(&refused).join("; ");
    assert!(reasons.contains("CN=node-1") && reasons.contains("showed no certificate"), "{refused}");
    let (_, metrics) = tls.gateway.get_text("/metrics");
    assert!(
        metrics.contains("reason=\"bad_certificate\"") && metrics.contains("reason=\"no_certificate\""),
        "{metrics}"
    );
}

#[test]
fn without_a_configured_certificate_one_is_made_and_kept_over_restarts() {
    let mut tls = start("", &[]);
    let made = tls.gateway.read_file("data/server.crt").expect("a certificate");
    assert_eq!(shown_certificate(tls.address), body_of(&made));
    tls.gateway.wait_for_log("raw public key of this server: ");
    tls.gateway.stop();
    tls.gateway.restart();
    tls.gateway.wait_for("/readyz");
    assert_eq!(tls.gateway.read_file("data/server.crt").as_deref(), Some(&*made));
    assert_eq!(shown_certificate(tls.address), body_of(&made));
    assert!(!tls.gateway.log().contains("PRIVATE"));
}

#[test]
fn a_reload_takes_a_good_certificate_and_stays_with_the_former_one_beside_a_broken_one() {
    let authority = Authority::make("servers");
    let (first, second) = (authority.issue("localhost").pems(), authority.issue("localhost").pems());
    let lines = "certificate = \"s.crt\"\nprivate_key = \"s.key\"\n";
    let mut tls = start(lines, &[("s.crt", &first.0), ("s.key", &first.1)]);
    assert_eq!(shown_certificate(tls.address), body_of(&first.0));

    tls.gateway.write_file("s.crt", &second.0);
    tls.gateway.signal("HUP");
    let alarm = expect_alarm(&mut tls.cloud, "certificate_invalid");
    let message = alarm["message"].as_str().unwrap();
    assert!(message.contains("s.key: is not the private key of"), "{message}");
    assert_eq!(shown_certificate(tls.address), body_of(&first.0));

    let seen = tls.cloud.count();
    tls.gateway.write_file("s.key", &second.1);
    tls.gateway.signal("HUP");
    expect_no_alarm(&mut tls.cloud, seen, "certificate_invalid");
    assert_eq!(shown_certificate(tls.address), body_of(&second.0));
}

#[test]
fn a_certificate_that_ends_soon_raises_an_alarm_until_it_is_replaced() {
    let authority = Authority::make("servers");
    let (soon, later) = (authority.issue_for("localhost", 10).pems(), authority.issue_for("localhost", 400).pems());
    let lines = "certificate = \"s.crt\"\nprivate_key = \"s.key\"\n";
    let mut tls = start(lines, &[("s.crt", &soon.0), ("s.key", &soon.1)]);
    let message = expect_alarm(&mut tls.cloud, "certificate_expires")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("s.crt: the certificate expires on 20"), "{message}");

    let seen = tls.cloud.count();
    tls.gateway.write_file("s.crt", &later.0);
    tls.gateway.write_file("s.key", &later.1);
    tls.gateway.signal("HUP");
    expect_no_alarm(&mut tls.cloud, seen, "certificate_expires");
}

/// The key of a simulated device without a secret: the first 16 bytes of SHA-256 of its identity, in hex.
fn test_key(identity: &str) -> String {
    data_encoding::HEXLOWER.encode(&openssl::sha::sha256(identity.as_bytes())[..16])
}

impl Tls {
    fn put_key(&self, endpoint: &str, key: &str) {
        let wish = json!({"mode": "psk", "key": key});
        let (status, answer) = self.gateway.ask("PUT", &format!("/api/v1/credentials/{endpoint}"), &wish);
        assert!((200..300).contains(&status), "{status} {answer}");
    }
}

#[test]
fn a_device_with_a_pre_shared_key_registers_in_each_suite_and_another_name_is_refused() {
    let mut tls = start("", &[]);
    tls.put_key("node-1", &test_key("node-1"));
    for suite in ["PSK-AES128-CCM8", "PSK-AES128-CCM", "PSK-AES128-GCM-SHA256", "PSK-AES128-CBC-SHA256"] {
        let (key, suite) = (test_key("node-1"), format!("{suite}:@SECLEVEL=0"));
        let arguments = ["-tls1_2", "-cipher", &suite, "-psk_identity", "node-1", "-psk", &key];
        let client = TlsClient::connect(tls.address, &arguments, &[]);
        let mut device = StreamDevice::over(client, MAX_MESSAGE_SIZE);
        let seen = tls.cloud.count();
        let location = device.register("node-1", &["lwm2m=1.1", "lt=300", "b=T"]);
        device.wait_for_observation();
        tls.cloud.expect_after(seen, "the value", |topic, _| topic == "lwm2m/node-1/telemetry");
        let record = tls.gateway.wait_for_json("/api/v1/devices/node-1", |record| record["state"] == "online");
        assert_eq!((&record["transport"], &record["identity"]), (&json!("tls"), &json!("node-1")), "{record}");
        assert_eq!(device.deregister(&location), MessageClass::Response(ResponseType::Deleted));
    }
    let arguments = ["-tls1_2", "-cipher", "PSK-AES128-CCM8:@SECLEVEL=0", "-psk_identity", "node-1", "-psk", "00ff"];
    let told = TlsClient::connect(tls.address, &arguments, &[]).wait_for_end();
    assert!(told.contains("alert"), "{told}");
    tls.gateway.wait_for_json("/api/v1/refused", |refused| refused.to_string().contains("has another key for it"));
}

#[test]
fn simulated_devices_prove_who_they_are_over_tls() {
    let mut tls = start("", &[]);
    for number in 0..3 {
        let identity = format!("meter-{number:06}");
        tls.put_key(&identity, &test_key(&identity));
    }
    let server = format!("coaps+tcp://{}", tls.address);
    let mut command = tls.gateway.bare_command();
    command.args(["simulate", "--server", &server, "--devices", "3", "--psk-prefix", "meter-"]);
    let ran = command.args(["--interval", "100ms", "--seconds", "2", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!((&report["registered"], &report["lost"]), (&json!(3), &json!(0)), "{report}");
    tls.cloud.expect("a value", |topic, _| topic == "lwm2m/meter-000002/telemetry");
}
