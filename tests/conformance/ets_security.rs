//! Cases 400 to 499: the secured channels, over real sockets between the binary and clients of OpenSSL and Mbed TLS.

use coap_lite::{CoapOption, Packet, RequestType};
use lwm2mqtt::model::version::Version;
use serde_json::{Value as Json, json};

use super::ets::page::{Case, case};
use super::ets::{ALL, SINCE_1_1, for_versions};
use crate::end_to_end::dtls_site::{KEY, Site};
use crate::end_to_end::harness::{DtlsClient, SecureDevice, Shown, StreamDevice};

pub(crate) const CHAPTER: &[&[Case]] = &[&[
    case!("1.1-int-401", "A pre-shared key over UDP", ets_1_1_int_401_udp_channel_pre_shared_key),
    case!("1.1-int-402", "Certificates over UDP", ets_1_1_int_402_udp_channel_certificate),
    case!("1.1-int-403", "The client wants another name of the server", ets_1_1_int_403_udp_channel_server_identity),
    case!("1.1-int-404", "Certificates over TCP", ets_1_1_int_404_tcp_channel_certificate),
    case!("1.1-int-405", "OSCORE", not "OSCORE is not served"),
    case!("1.1-int-406", "A pre-shared key over TCP", ets_1_1_int_406_tcp_channel_pre_shared_key),
]];

const ENDPOINT: &str = "dev";
const CCM_8: &str = "ECDHE-ECDSA-AES128-CCM8";
const TLV: u16 = 11_542;
/// Object 3, instance 0: manufacturer and model.
const DEVICE: &[u8] = b"\xc3\x00OMA\xc6\x01Client";

/// The operator asks for the device object in TLV.
fn ask_for_the_device_object(site: &Site) {
    let order = json!({"id": "read", "operation": "read", "path": "/3/0", "format": "tlv"});
    let (status, answer) = site.gateway.ask("POST", &format!("/api/v1/devices/{ENDPOINT}/commands"), &order);
    assert_eq!(status, 202, "{answer}");
}

fn expect_the_device_object(site: &Site, request: &Packet) {
    assert_eq!(request.get_first_option(CoapOption::Accept), Some(&TLV.to_be_bytes().to_vec()));
    let result = site.gateway.wait_for_json("/api/v1/commands/read", |command| command["status"] == "done");
    let values = json!({"/3/0/0": "OMA", "/3/0/1": "Client"});
    assert_eq!((&result["code"], &result["values"]), (&json!("2.05"), &values), "{result}");
}

fn registers_and_is_read(site: &Site, session: DtlsClient, version: Version) -> Json {
    let mut device = SecureDevice::new(session);
    device.register_as(ENDPOINT, &version.to_string());
    let record = site.is_seen(ENDPOINT);
    assert_eq!(record["lwm2m_version"], version.to_string(), "{record}");
    ask_for_the_device_object(site);
    let request = device.answer_read("3/0", TLV, DEVICE);
    expect_the_device_object(site, &request);
    record
}

fn registers_and_is_read_over_tcp(site: &Site, mut device: StreamDevice, version: Version) {
    device.register(ENDPOINT, &[&format!("lwm2m={version}"), "lt=300", "b=T"]);
    let record = site.is_seen_over(ENDPOINT, "tls");
    assert_eq!(record["binding"], "T", "{record}");
    ask_for_the_device_object(site);
    let request = device.next_request(RequestType::Get, "3/0");
    device.answer_with_body(&request, TLV, DEVICE);
    expect_the_device_object(site, &request);
}

#[test]
pub(crate) fn ets_1_1_int_401_udp_channel_pre_shared_key() {
    for_versions("1.1-int-401", ALL, |version| {
        let site = Site::start(ENDPOINT);
        site.know_key(ENDPOINT);
        let shown = Shown::Key(ENDPOINT, KEY);
        let session = DtlsClient::mbedtls(site.gateway.dtls_address(), site.files(), &shown, None);
        let record = registers_and_is_read(&site, session, version);
        assert_eq!(record["identity"], ENDPOINT, "{record}");
    });
}

#[test]
pub(crate) fn ets_1_1_int_402_udp_channel_certificate() {
    for_versions("1.1-int-402", SINCE_1_1, |version| {
        let site = Site::start(ENDPOINT);
        registers_and_is_read(&site, site.openssl_with_certificate(CCM_8, &[]), version);
    });
}

#[test]
pub(crate) fn ets_1_1_int_403_udp_channel_server_identity() {
    for_versions("1.1-int-403", SINCE_1_1, |version| {
        let site = Site::start(ENDPOINT);
        let errors = site.openssl_with_certificate(CCM_8, &["-verify_hostname", "other.example.com"]).end();
        assert!(errors.contains("certificate verify failed"), "{errors}");
        assert_eq!(site.gateway.get(&format!("/api/v1/devices/{ENDPOINT}")).0, 404);
        // The gateway goes on.
        registers_and_is_read(&site, site.openssl_with_certificate(CCM_8, &[]), version);
    });
}

#[test]
pub(crate) fn ets_1_1_int_404_tcp_channel_certificate() {
    for_versions("1.1-int-404", SINCE_1_1, |version| {
        let site = Site::start_over_tls(ENDPOINT);
        registers_and_is_read_over_tcp(&site, site.connect_by_tls_with_certificate(&["-tls1_2"]), version);
    });
}

#[test]
pub(crate) fn ets_1_1_int_406_tcp_channel_pre_shared_key() {
    for_versions("1.1-int-406", SINCE_1_1, |version| {
        let site = Site::start_over_tls(ENDPOINT);
        site.know_key(ENDPOINT);
        let device = site.connect_by_tls_with_key(ENDPOINT, "PSK-AES128-CCM8");
        registers_and_is_read_over_tcp(&site, device, version);
    });
}
