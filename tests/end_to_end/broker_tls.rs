//! A broker behind TLS: trusted by the authority that the sink names, and not otherwise.

use super::fleet::Fleet;
use super::harness::{Authority, Mosquitto, Setup, free_port};

#[test]
fn values_reach_a_broker_that_the_named_authority_vouches_for() {
    let authority = Authority::make("authority");
    let (broker, port) = broker_behind_tls(&authority);
    let mut cloud = broker.subscribe("lwm2m/+/telemetry");
    let gateway = Setup::new(&broker)
        .sink_url(format!("mqtts://localhost:{port}"))
        .sink("ca = \"ca.crt\"")
        .file("ca.crt", &authority.certificate())
        .start();
    gateway.wait_for_json("/readyz", |ready| ready["sinks"]["local"] == "connected");
    let mut fleet = Fleet::start(&gateway);
    fleet.expect_acknowledged(3);
    fleet.expect_everything_arrives(&mut cloud);
}

#[test]
fn broker_of_another_authority_is_not_used_and_the_log_says_why() {
    let (broker, port) = broker_behind_tls(&Authority::make("authority"));
    let gateway = Setup::new(&broker)
        .sink_url(format!("mqtts://localhost:{port}"))
        .sink("ca = \"ca.crt\"")
        .file("ca.crt", &Authority::make("stranger").certificate())
        .start();
    gateway.wait_for_log("certificate verify failed");
    let ready = gateway.wait_for_json("/readyz", |_| true);
    assert_eq!(ready["sinks"]["local"], "disconnected", "{ready}");
    assert!(!broker.has_logged(" as lwm2mqtt-"), "it connected all the same");
}

#[test]
fn broker_that_shows_a_certificate_for_another_name_is_not_used() {
    let authority = Authority::make("authority");
    let (broker, port) = broker_behind_tls(&authority);
    // The certificate is for `localhost`.
    let gateway = Setup::new(&broker)
        .sink_url(format!("mqtts://127.0.0.1:{port}"))
        .sink("ca = \"ca.crt\"")
        .file("ca.crt", &authority.certificate())
        .start();
    gateway.wait_for_log("mismatch");
    assert!(!broker.has_logged(" as lwm2mqtt-"), "it connected all the same");
}

/// A broker with a plain listener for the test's own clients, and the port of another one behind TLS.
fn broker_behind_tls(authority: &Authority) -> (Mosquitto, u16) {
    let port = free_port();
    let (certificate, key) = authority.issue("localhost").pems();
    let lines = format!("listener {port} 127.0.0.1\ncertfile {{dir}}/server.crt\nkeyfile {{dir}}/server.key");
    let files = [("server.crt", certificate.as_bytes()), ("server.key", key.as_bytes())];
    (Mosquitto::start_configured(&lines, &files), port)
}
