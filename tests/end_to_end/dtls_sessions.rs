//! What outlives an address, a program and a gateway: sessions with a connection id, and sessions that are resumed.

use super::dtls_site::{KEY, Site};
use super::harness::{DtlsClient, SecureDevice, Shown};

/// Handshake messages of RFC 5246 section 7.4.
const CLIENT_HELLO: u8 = 1;
const CLIENT_KEY_EXCHANGE: u8 = 16;
const FINISHED: u8 = 20;

/// A device of Mbed TLS that offers this connection id and has registered.
fn with_connection_id(id: &str) -> (Site, SecureDevice) {
    let site = Site::start("node");
    site.know_key("node");
    let shown = Shown::Key("node", KEY);
    let session = DtlsClient::mbedtls(site.gateway.dtls_address(), site.files(), &shown, Some(id));
    let device = site.registers("node", session);
    (site, device)
}

fn expect_address(site: &Site, port: u16) {
    let address = format!("127.0.0.1:{port}");
    site.gateway.wait_for_json("/api/v1/devices/node", |record| record["address"] == address.as_str());
}

fn update_from_another_port(site: &Site, device: &mut SecureDevice) {
    let port = device.session().move_to_another_port();
    // No answer to this one datagram, no answer at all.
    device.update();
    expect_address(site, port);
}

#[test]
fn update_from_another_port_is_answered_at_the_first_datagram() {
    let (site, mut device) = with_connection_id("c1d0");
    update_from_another_port(&site, &mut device);
    update_from_another_port(&site, &mut device);
}

#[test]
fn device_with_an_empty_connection_id_may_move_too() {
    let (site, mut device) = with_connection_id("");
    update_from_another_port(&site, &mut device);
}

#[test]
fn session_goes_on_after_kill_nine() {
    let (mut site, mut device) = with_connection_id("c1d0");
    device.update();
    for _ in 0..2 {
        site.gateway.kill_nine();
        site.gateway.restart();
        device.update();
    }
}

#[test]
fn device_may_move_while_the_gateway_is_down() {
    let (mut site, mut device) = with_connection_id("c1d0");
    site.gateway.kill_nine();
    let port = device.session().move_to_another_port();
    site.gateway.restart();
    device.update();
    expect_address(&site, port);
    site.gateway.stop();
    site.gateway.restart();
    update_from_another_port(&site, &mut device);
    site.expect_no_secret_in_the_log();
}

/// Types of the handshake messages that the program sent, as it tells them itself: a line for each record, and behind
/// it the bytes in hex.
fn handshake_messages_sent(site: &Site) -> Vec<u8> {
    let text = std::fs::read_to_string(site.files().join("messages")).expect("the program tells its messages");
    let lines: Vec<&str> = text.lines().collect();
    let messages = lines.windows(2).filter(|pair| pair[0].starts_with(">>>") && pair[0].contains("content_type=22"));
    messages.filter_map(|pair| u8::from_str_radix(pair[1].split_whitespace().next()?, 16).ok()).collect()
}

/// Registers, vanishes, and comes back from another port with an Update alone, in a session that it resumes.
fn comes_back(site: &mut Site, session: impl Fn(&Site, &[&str]) -> DtlsClient, more: &[&str], killed: bool) {
    let mut first = more.to_vec();
    first.extend(["-sess_out", "session"]);
    let mut device = site.registers("node", session(site, &first));
    device.session().vanish();
    if killed {
        site.gateway.kill_nine();
        site.gateway.restart();
    }
    let mut second = more.to_vec();
    second.extend(["-sess_in", "session", "-msg", "-msgfile", "messages"]);
    let mut device = device.with_session(session(site, &second));
    device.update();
    let sent = handshake_messages_sent(site);
    assert!(sent.contains(&CLIENT_HELLO) && sent.contains(&FINISHED), "{sent:?}");
    assert!(!sent.contains(&CLIENT_KEY_EXCHANGE), "the session is not resumed: {sent:?}");
    // The session says who it is, as the key or certificate did.
    site.is_seen("node");
    site.expect_no_secret_in_the_log();
}

fn with_key(site: &Site, more: &[&str]) -> DtlsClient {
    site.openssl_with_key("node", KEY, "PSK-AES128-CCM8", more)
}

fn with_certificate(site: &Site, more: &[&str]) -> DtlsClient {
    site.openssl_with_certificate("ECDHE-ECDSA-AES128-CCM8", more)
}

#[test]
fn session_with_a_key_is_resumed_by_ticket() {
    let mut site = Site::start("node");
    site.know_key("node");
    comes_back(&mut site, with_key, &[], false);
}

#[test]
fn session_with_a_key_is_resumed_by_id() {
    let mut site = Site::start("node");
    site.know_key("node");
    comes_back(&mut site, with_key, &["-no_ticket"], false);
}

#[test]
fn session_with_a_certificate_is_resumed_by_ticket_after_kill_nine() {
    comes_back(&mut Site::start("node"), with_certificate, &[], true);
}

#[test]
fn session_with_a_key_is_resumed_by_id_after_kill_nine() {
    let mut site = Site::start("node");
    site.know_key("node");
    comes_back(&mut site, with_key, &["-no_ticket"], true);
}

#[test]
fn update_of_a_session_that_no_longer_counts_needs_a_register() {
    let site = Site::start("node");
    site.know_key("node");
    let mut device = site.registers("node", with_key(&site, &["-sess_out", "session"]));
    device.session().vanish();
    // Another key: what was proved by the old one proves nothing any more.
    let (status, answer) = site.gateway.ask(
        "PUT",
        "/api/v1/credentials/node",
        &serde_json::json!({"mode": "psk", "key": "00".repeat(16), "key_format": "hex"}),
    );
    assert!((200..300).contains(&status), "{answer}");
    let session = with_key(&site, &["-sess_in", "session", "-msg", "-msgfile", "messages"]);
    let errors = device.with_session(session).end();
    assert!(errors.contains("alert"), "{errors}");
}
