//! The client of the command line against the server: HTTPS, tokens, streams.

use std::net::SocketAddr;

use openssl::x509::X509;
use serde_json::{Value, json};

use super::access::self_signed;
use super::{loopback, start_configured};
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{Answer, Query};
use crate::io::http::api_client::ApiClient;
use crate::io::http::{HttpConfiguration, HttpServer, Tls, Token, TraceLine, TraceSender};
use crate::io::http_client::{Remote, Trust};
use crate::model::endpoint::Endpoint;

fn start(configuration: HttpConfiguration) -> (HttpServer, SocketAddr) {
    start_configured(configuration, |query| {
        vec![match query {
            Query::Bridge { what, body, .. } if what == "device/trace" => {
                Answer::Body(json!({ "endpoint": body["device"], "for": "1s" }))
            }
            _ => Answer::Body(json!({ "items": [], "next": null })),
        }]
    })
}

fn client(address: SocketAddr, trust: Trust, token: Option<&str>) -> ApiClient {
    let remote = Remote { host: address.ip().to_string(), port: address.port(), trust };
    ApiClient { remote, token: token.map(str::to_owned) }
}

#[test]
fn a_gateway_is_believed_by_its_own_certificate_or_its_authority_and_by_nothing_else() {
    let (certificate, key) = self_signed();
    let (other, _) = self_signed();
    let tls = Tls::new(&certificate, &key).unwrap();
    let own = tls.certificate().expect("the certificate that it was made of");
    let tokens = vec![Token::new("ops", Role::Admin, "t")];
    let (server, address) = start(HttpConfiguration { tls: Some(tls), tokens, ..loopback() });
    let ask = |trust, token| client(address, trust, token).request("GET", "/api/v1/devices", None);
    let exactly = |certificate: &X509| Trust::Exactly(Box::new(certificate.clone()));
    assert_eq!(ask(exactly(&own), Some("t")).unwrap().status, 200);
    assert_eq!(ask(exactly(&own), None).unwrap().status, 401, "without its token");
    let stranger = X509::from_pem(other.as_bytes()).unwrap();
    assert!(ask(exactly(&stranger), Some("t")).is_err(), "another certificate of the same name");
    assert!(ask(Trust::Authorities(None), Some("t")).is_err(), "no authority of this system signed it");
    assert!(ask(Trust::Authorities(Some(other.into_bytes())), Some("t")).is_err());
    assert!(ask(Trust::Plain, Some("t")).is_err(), "plain text is no handshake");
    server.stop();
}

/// Follows the trace of `device` and answers the kinds of the first events.
fn followed(address: SocketAddr, sender: &TraceSender, lines: &[TraceLine]) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    let client = client(address, Trust::Plain, None);
    let refused = client.follow("/api/v1/devices/meter/trace?for=1s", &mut |event| {
        if event.kind == "begin" {
            for line in lines {
                sender.send(line.clone());
            }
        }
        let over = event.kind == "end";
        events.push((event.kind, serde_json::from_str(&event.data).unwrap()));
        !over
    });
    assert_eq!(refused.unwrap(), None);
    events
}

#[test]
fn a_trace_has_the_lines_of_its_device_and_ends() {
    let (server, address) = start(loopback());
    let line =
        |endpoint: &str| TraceLine { endpoint: Endpoint::new(endpoint).unwrap(), line: json!({ "of": endpoint }) };
    let events = followed(address, &server.traces(), &[line("other"), line("meter")]);
    let kinds: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["begin", "trace", "end"]);
    assert_eq!(events[1].1, json!({ "of": "meter" }));
    server.stop();
}

#[test]
fn a_trace_needs_the_role_operator() {
    let tokens = vec![Token::new("eyes", Role::Viewer, "v")];
    let (server, address) = start(HttpConfiguration { tokens, ..loopback() });
    let client = client(address, Trust::Plain, Some("v"));
    let refused = client.follow("/api/v1/devices/meter/trace", &mut |_| true).unwrap().unwrap();
    assert_eq!(refused.status, 403, "{}", refused.body);
    server.stop();
}
