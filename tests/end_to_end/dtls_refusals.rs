//! Handshakes that fail: the peer hears an alert, the operator reads why, and nobody reads a key.

use serde_json::{Value, json};

use super::dtls_site::{KEY, Site};
use super::harness::{DtlsClient, SecureDevice};

/// A handshake of this session fails; what the operator can read.
fn fails(site: &Site, session: DtlsClient, word: &str) -> Value {
    let errors = session.end();
    assert!(errors.contains("alert"), "the peer was told nothing: {errors}");
    let entry =
        site.expect_refused(|item| item["reason"].as_str().is_some_and(|reason| reason.to_lowercase().contains(word)));
    assert!(entry["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")), "{entry}");
    site.expect_no_secret_in_the_log();
    entry
}

#[test]
fn unknown_identity_is_named() {
    let site = Site::start("node");
    let entry = fails(&site, site.openssl_with_key("stranger", KEY, "PSK-AES128-CCM8", &[]), "identity");
    assert!(entry.to_string().contains("stranger"), "{entry}");
}

#[test]
fn wrong_key_is_told_with_the_identity() {
    let site = Site::start("node");
    site.know_key("node");
    let wrong = "ff".repeat(16);
    let entry = fails(&site, site.openssl_with_key("node", &wrong, "PSK-AES128-CCM8", &[]), "another key");
    assert_eq!(entry["endpoint"], "node", "{entry}");
    assert!(!site.gateway.log().contains(&wrong));
    // The right key is not held back by the wrong one.
    site.registers("node", site.openssl_with_key("node", KEY, "PSK-AES128-CCM8", &[]));
}

#[test]
fn offered_suites_are_told_when_none_is_common() {
    let site = Site::start("node");
    site.know_key("node");
    let entry = fails(&site, site.openssl_with_key("node", KEY, "PSK-CHACHA20-POLY1305", &[]), "suite");
    assert!(entry.to_string().to_lowercase().contains("ccab") || entry.to_string().contains("CHACHA"), "{entry}");
}

#[test]
fn expired_certificate_is_refused_with_the_reason() {
    let site = Site::start("node");
    site.authority.issue_expired("node").write(site.files(), "device");
    let entry = fails(&site, site.openssl_with_certificate("ECDHE-ECDSA-AES128-CCM8", &[]), "expired");
    assert!(entry.to_string().contains("node"), "{entry}");
}

#[test]
fn certificate_of_another_authority_is_refused_with_the_reason() {
    let site = Site::start("node");
    super::harness::Authority::make("stranger").issue("node").write(site.files(), "device");
    fails(&site, site.openssl_with_certificate("ECDHE-ECDSA-AES128-CCM8", &[]), "certificate");
}

#[test]
fn unknown_raw_public_key_is_refused_with_the_reason() {
    let site = Site::start("node");
    let server = site.gateway.dtls_address();
    let arguments = ["--insecure", "--rawpkkeyfile=device.key", "--rawpkfile=device.pub"];
    let priority = "-CTYPE-X509:+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK";
    let session = DtlsClient::gnutls(server, site.files(), priority, &arguments);
    site.expect_refused(|item| item["reason"].as_str().is_some_and(|reason| reason.contains("public key")));
    drop(session);
}

#[test]
fn client_that_wants_another_name_of_the_server_leaves_and_others_are_served() {
    let site = Site::start("node");
    site.know_key("other");
    let mut arguments = vec!["-cert", "device.crt", "-key", "device.key", "-CAfile", "ca.crt", "-verify_return_error"];
    arguments.extend(["-verify_hostname", "elsewhere", "-cipher", "ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0"]);
    let session = DtlsClient::openssl(site.gateway.dtls_address(), site.files(), &arguments);
    let errors = session.end();
    assert!(errors.contains("certificate verify failed"), "{errors}");
    site.expect_refused(|item| item["reason"].as_str().is_some_and(|reason| reason.contains("alert")));
    site.registers("other", site.openssl_with_key("other", KEY, "PSK-AES128-CCM8", &[]));
}

#[test]
fn identity_may_not_register_under_the_name_of_another() {
    let site = Site::start("node");
    site.know_key("node");
    site.know("other", &json!({"mode": "psk", "key": "00".repeat(16), "key_format": "hex"}));
    let mut device = SecureDevice::new(site.openssl_with_key("node", KEY, "PSK-AES128-CCM8", &[]));
    device.session().send(&register_bytes("other"));
    let entry = site.expect_refused(|item| item["endpoint"] == "other");
    assert!(entry["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{entry}");
    assert_eq!(site.gateway.get("/api/v1/devices/other").0, 404);
    // Its own name is still its own.
    site.registers("node", site.openssl_with_key("node", KEY, "PSK-AES128-CCM8", &[]));
}

/// A confirmable Register by hand: POST /rd?ep=..&lt=300&lwm2m=1.1 with one object.
fn register_bytes(endpoint: &str) -> Vec<u8> {
    let mut bytes = vec![0x42, 0x02, 0x71, 0x01, 0xaa, 0xbb, 0xb2];
    bytes.extend(b"rd");
    bytes.extend([0x11, 40]);
    let mut previous = 0x30;
    for query in [format!("ep={endpoint}"), "lt=300".to_owned(), "lwm2m=1.1".to_owned()] {
        bytes.push(previous | u8::try_from(query.len()).unwrap());
        bytes.extend(query.as_bytes());
        previous = 0;
    }
    bytes.push(0xff);
    bytes.extend(b"</3/0>");
    bytes
}

#[test]
fn no_secret_is_logged_even_when_everything_is() {
    let site = Site::start_with("node", "[log]\nlevel = \"trace\"\n");
    site.know_key("node");
    drop(site.registers("node", site.openssl_with_key("node", KEY, "PSK-AES128-CCM8", &[])));
    site.know_public_key("node");
    let Site { gateway, folder, .. } = &site;
    let arguments = ["--insecure", "--rawpkkeyfile=device.key", "--rawpkfile=device.pub"];
    let priority = "-CTYPE-X509:+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK";
    let session = DtlsClient::gnutls(gateway.dtls_address(), folder.path(), priority, &arguments);
    drop(site.registers("node", session));
    let output = site.coap_client("openssl", "node", &["-c", "device.pem", "-C", "ca.crt", "-R", "ca.crt"]);
    assert!(output.status.code().is_some());
    site.expect_no_secret_in_the_log();
    for path in ["/api/v1/refused", "/api/v1/credentials", "/api/v1/credentials/node", "/api/v1/devices/node"] {
        let (_, text) = gateway.get_text(path);
        assert!(!text.contains(KEY) && !text.contains(&site.device.secret_hex()), "{path}: {text}");
    }
}
