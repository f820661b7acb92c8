//! Programs of others register over TLS (CoAP over TLS, RFC 8323).

use coap_lite::{MessageClass, ResponseType};
use serde_json::json;

use super::dtls_site::Site;
use super::harness::{DeviceClient, StreamDevice};

fn registers(site: &Site, mut device: StreamDevice) {
    let location = device.register("node", &["lwm2m=1.1", "lt=300", "b=T"]);
    site.is_seen_over("node", "tls");
    device.wait_for_observation();
    assert_eq!(device.update(&location), MessageClass::Response(ResponseType::Changed));
    assert_eq!(device.deregister(&location), MessageClass::Response(ResponseType::Deleted));
    site.expect_no_secret_in_the_log();
}

fn openssl_registers_with_a_key(suite: &str) {
    let node = Site::start_over_tls("node");
    node.know_key("node");
    registers(&node, node.connect_by_tls_with_key("node", suite));
}

#[test]
fn openssl_registers_over_tls_with_a_key_and_ccm_8() {
    openssl_registers_with_a_key("PSK-AES128-CCM8");
}

#[test]
fn openssl_registers_over_tls_with_a_key_and_gcm() {
    openssl_registers_with_a_key("PSK-AES128-GCM-SHA256");
}

#[test]
fn openssl_registers_over_tls_1_2_with_a_certificate() {
    let site = Site::start_over_tls("node");
    registers(&site, site.connect_by_tls_with_certificate(&["-tls1_2"]));
}

#[test]
fn openssl_registers_over_tls_with_a_certificate() {
    let site = Site::start_over_tls("node");
    registers(&site, site.connect_by_tls_with_certificate(&[]));
}

#[test]
fn java_coap_is_served_over_tls_with_a_certificate() {
    let site = Site::start_over_tls("node");
    let mut cloud = site.broker.subscribe("lwm2m/node/#");
    let tls = site.tls_address();
    let Site { broker, folder, gateway: _gateway, .. } = site;
    let mut device =
        DeviceClient::start_over_tls(tls, "node", folder, &["device.crt.der", "device.key.der", "ca.crt.der"]);
    for value in [20.5, 21.5] {
        // The first value is there from the beginning.
        if value > 20.5 {
            device.set("/3303/0/5700", value);
        }
        cloud.expect(&format!("temperature {value}"), |topic, payload| {
            topic == "lwm2m/node/telemetry" && payload["values"]["temperature"] == value
        });
    }
    broker.publish("lwm2m/node/command", &json!({"id": "r", "operation": "read", "path": "/3308/0/5900"}));
    let result = cloud.expect("the result", |topic, payload| {
        topic == "lwm2m/node/response" && payload["id"] == "r" && payload["status"] != "queued"
    });
    assert_eq!(result.payload["value"], 18.5, "{}", result.payload);
    device.deregister();
}
