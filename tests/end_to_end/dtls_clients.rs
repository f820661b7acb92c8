//! Programs of others register over DTLS, each suite and kind of credential with each library that knows it.

use std::process::Output;

use serde_json::json;

use super::dtls_site::{KEY, KEY_TEXT, Site};
use super::harness::{DeviceClient, DtlsClient, Shown};

fn openssl_registers_with_a_key(cipher: &str) {
    let site = Site::start("node");
    site.know_key("node");
    site.registers("node", site.openssl_with_key("node", KEY, cipher, &[])).update();
    assert_eq!(site.is_seen("node")["identity"], "node");
    site.expect_no_secret_in_the_log();
}

#[test]
fn openssl_registers_with_a_key_and_ccm_8() {
    openssl_registers_with_a_key("PSK-AES128-CCM8");
}

#[test]
fn openssl_registers_with_a_key_and_gcm() {
    openssl_registers_with_a_key("PSK-AES128-GCM-SHA256");
}

#[test]
fn openssl_registers_with_a_key_and_cbc() {
    openssl_registers_with_a_key("PSK-AES128-CBC-SHA256");
}

fn openssl_registers_with_a_certificate(cipher: &str, more: &[&str]) {
    let site = Site::start("node");
    site.registers("node", site.openssl_with_certificate(cipher, more)).update();
    let record = site.is_seen("node");
    assert!(record["identity"].as_str().is_some_and(|identity| identity.contains("CN=node")), "{record}");
    site.expect_no_secret_in_the_log();
}

#[test]
fn openssl_registers_with_a_certificate_and_ccm_8() {
    openssl_registers_with_a_certificate("ECDHE-ECDSA-AES128-CCM8", &[]);
}

#[test]
fn openssl_registers_with_a_certificate_and_gcm() {
    openssl_registers_with_a_certificate("ECDHE-ECDSA-AES128-GCM-SHA256", &[]);
}

#[test]
fn openssl_registers_with_a_certificate_and_cbc() {
    openssl_registers_with_a_certificate("ECDHE-ECDSA-AES128-SHA256", &[]);
}

#[test]
fn openssl_registers_through_a_path_with_short_datagrams() {
    openssl_registers_with_a_certificate("ECDHE-ECDSA-AES128-CCM8", &["-mtu", "256"]);
}

#[test]
fn gnutls_registers_with_a_key() {
    let site = Site::start("node");
    site.know_key("node");
    let priority = "-KX-ALL:+PSK:-CIPHER-ALL:+AES-128-CCM-8";
    let arguments = ["--pskusername", "node", "--pskkey", KEY];
    let server = site.gateway.dtls_address();
    site.registers("node", DtlsClient::gnutls(server, site.files(), priority, &arguments)).update();
}

#[test]
fn gnutls_registers_with_a_certificate() {
    let site = Site::start("node");
    let arguments = [
        "--verify-hostname=server.example.com",
        "--x509cafile=ca.crt",
        "--x509certfile=device.crt",
        "--x509keyfile=device.key",
    ];
    let server = site.gateway.dtls_address();
    site.registers("node", DtlsClient::gnutls(server, site.files(), "+AES-128-CCM-8", &arguments)).update();
}

#[test]
fn gnutls_registers_with_a_raw_public_key() {
    let site = Site::start("node");
    site.know_public_key("node");
    let priority = "-CTYPE-X509:+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK";
    // It has nothing to hold the gateway's raw key against.
    let arguments = ["--insecure", "--rawpkkeyfile=device.key", "--rawpkfile=device.pub"];
    let server = site.gateway.dtls_address();
    site.registers("node", DtlsClient::gnutls(server, site.files(), priority, &arguments)).update();
    let record = site.is_seen("node");
    assert!(record["identity"].as_str().is_some_and(|identity| identity.starts_with("rpk:")), "{record}");
}

fn expect_registered(site: &Site, output: &Output) {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("2.01"), "{text}");
    // It has said goodbye to its session by now, not to its registration.
    site.gateway.wait_for_json("/api/v1/devices/node", |record| record["transport"] == "dtls");
}

fn libcoap_registers_with_a_key(library: &str) {
    let site = Site::start("node");
    site.know(
        "node",
        &json!({"mode": "psk", "identity": "other than its name", "key": KEY_TEXT, "key_format": "text"}),
    );
    expect_registered(&site, &site.coap_client(library, "node", &["-u", "other than its name", "-k", KEY_TEXT]));
    site.expect_no_secret_in_the_log();
}

#[test]
fn libcoap_with_openssl_registers_with_a_key() {
    libcoap_registers_with_a_key("openssl");
}

#[test]
fn libcoap_with_gnutls_registers_with_a_key() {
    libcoap_registers_with_a_key("gnutls");
}

fn libcoap_registers_with_a_certificate(library: &str) {
    let site = Site::start("node");
    let output = site.coap_client(library, "node", &["-c", "device.pem", "-C", "ca.crt", "-R", "ca.crt"]);
    expect_registered(&site, &output);
}

#[test]
fn libcoap_with_openssl_registers_with_a_certificate() {
    libcoap_registers_with_a_certificate("openssl");
}

#[test]
fn libcoap_with_gnutls_registers_with_a_certificate() {
    libcoap_registers_with_a_certificate("gnutls");
}

#[test]
fn libcoap_with_gnutls_registers_with_a_raw_public_key() {
    let site = Site::start("node");
    site.know_public_key("node");
    expect_registered(&site, &site.coap_client("gnutls", "node", &["-M", "device.rpk"]));
}

#[test]
fn mbedtls_registers_with_a_key() {
    let site = Site::start("node");
    site.know_key("node");
    let session = DtlsClient::mbedtls(site.gateway.dtls_address(), site.files(), &Shown::Key("node", KEY), None);
    site.registers("node", session).update();
}

#[test]
fn mbedtls_registers_with_a_certificate_and_a_connection_id() {
    let site = Site::start("node");
    let session = DtlsClient::mbedtls(site.gateway.dtls_address(), site.files(), &Shown::Certificate, Some("c1d0"));
    site.registers("node", session).update();
}

#[test]
fn webrtc_registers_with_a_key() {
    let site = Site::start("node");
    site.know_key("node");
    let session = DtlsClient::webrtc(site.gateway.dtls_address(), site.files(), &Shown::Key("node", KEY));
    site.registers("node", session).update();
}

#[test]
fn webrtc_registers_with_a_certificate() {
    let site = Site::start("node");
    let session = DtlsClient::webrtc(site.gateway.dtls_address(), site.files(), &Shown::Certificate);
    site.registers("node", session).update();
}

/// It is observed, read and written, and goes on from another port: Leshan always has a connection id.
fn leshan_is_served(site: Site, security: &[&str]) {
    let mut cloud = site.broker.subscribe("lwm2m/node/#");
    let Site { broker, gateway, folder, .. } = site;
    let mut device = DeviceClient::start_secure(gateway.dtls_address(), "node", folder, security);
    device.expect("registered", |_| true);
    for (value, moves) in [(20.5, false), (21.5, false), (22.5, true)] {
        if moves {
            device.move_to_another_port();
            device.update();
        }
        // The first value is there from the beginning.
        if value > 20.5 {
            device.set("/3303/0/5700", value);
        }
        cloud.expect(&format!("temperature {value}"), |topic, payload| {
            topic == "lwm2m/node/telemetry" && payload["values"]["temperature"] == value
        });
        let command = json!({"id": format!("read {value}"), "operation": "read", "path": "/3308/0/5900"});
        broker.publish("lwm2m/node/command", &command);
        let result = cloud.expect("the result", |topic, payload| {
            topic == "lwm2m/node/response" && payload["id"] == command["id"] && payload["status"] != "queued"
        });
        assert_eq!(result.payload["value"], 18.5, "{}", result.payload);
    }
    device.deregister();
}

#[test]
fn leshan_is_served_with_a_key_and_a_connection_id() {
    let site = Site::start("node");
    site.know_key("node");
    leshan_is_served(site, &["psk", "node", KEY]);
}

#[test]
fn leshan_is_served_with_a_certificate() {
    leshan_is_served(Site::start("node"), &["x509", "device.crt.der", "device.key.der", "server.crt.der"]);
}

#[test]
fn leshan_is_served_with_a_raw_public_key() {
    let site = Site::start("node");
    site.know_public_key("node");
    leshan_is_served(site, &["rpk", "device.pub.der", "device.key.der", "server.pub.der"]);
}
