//! Tokens, origins and HTTPS on a real socket.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use serde_json::json;

use super::client::{Response, exchange};
use super::{assert_error, loopback, start_configured};
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{Answer, Query};
use crate::io::http::{HttpConfiguration, HttpServer, MAX_ATTEMPTS, Tls, Token};

fn start(configuration: HttpConfiguration) -> (HttpServer, SocketAddr) {
    start_configured(configuration, |query| {
        vec![match query {
            Query::Ready => Answer::Body(json!({ "ready": true })),
            other => Answer::Body(json!({ "asked": format!("{other:?}") })),
        }]
    })
}

fn with_tokens() -> HttpConfiguration {
    let tokens = vec![
        Token::new("eyes", Role::Viewer, "v"),
        Token::new("hands", Role::Operator, "o"),
        Token::new("ops", Role::Admin, "a"),
    ];
    HttpConfiguration { tokens, ..loopback() }
}

fn ask(address: SocketAddr, method: &str, path: &str, headers: &str) -> Response {
    let body = if method == "GET" { "" } else { "{\"for\":\"1s\"}" };
    let body = if path.ends_with("permit_join") { body } else { "" };
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: any.example\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    exchange(address, text.as_bytes()).unwrap()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[test]
fn each_role_may_do_what_it_is_for() {
    let (server, address) = start(with_tokens());
    for (method, path, least) in [
        ("GET", "/api/v1", Role::Viewer),
        ("GET", "/api/v1/devices", Role::Viewer),
        ("GET", "/api/v1/devices/d", Role::Viewer),
        ("GET", "/api/v1/devices/d/values", Role::Viewer),
        ("GET", "/api/v1/refused", Role::Viewer),
        ("POST", "/api/v1/permit_join", Role::Operator),
        ("PATCH", "/api/v1/devices/d", Role::Operator),
        ("DELETE", "/api/v1/devices/d", Role::Admin),
    ] {
        for (token, role) in [("v", Role::Viewer), ("o", Role::Operator), ("a", Role::Admin)] {
            let response = ask(address, method, path, &bearer(token));
            if role >= least {
                assert!((200..300).contains(&response.status), "{method} {path} {token}: {response:?}");
            } else {
                assert_error(&response, 403, "forbidden");
            }
        }
        assert_error(&ask(address, method, path, ""), 401, "unauthorized");
    }
    server.stop();
}

#[test]
fn monitoring_and_the_description_need_no_token_and_all_else_does() {
    let (server, address) = start(with_tokens());
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(address, "GET", path, "").status, 200, "{path}");
    }
    for path in ["/api/v1/events", "/api/v1/nothing", "/elsewhere", "/healthz/"] {
        let response = ask(address, "GET", path, "");
        assert_error(&response, 401, "unauthorized");
        assert!(response.head.to_lowercase().contains("www-authenticate: bearer"), "{}", response.head);
    }
    server.stop();
}

#[test]
fn an_address_that_guesses_hears_nothing_but_wait() {
    let (server, address) = start(with_tokens());
    for _ in 0..MAX_ATTEMPTS {
        assert_error(&ask(address, "GET", "/api/v1", &bearer("guess")), 401, "unauthorized");
    }
    let response = ask(address, "GET", "/api/v1", &bearer("a"));
    assert_error(&response, 429, "too_many_attempts");
    assert!(response.head.to_lowercase().contains("retry-after: "), "{}", response.head);
    let metrics = ask(address, "GET", "/metrics", "").body;
    assert!(metrics.contains("lwm2mqtt_api_refused_total{reason=\"wrong_token\"} 10"), "{metrics}");
    server.stop();
}

#[test]
fn browsers_are_told_which_pages_may_ask() {
    let origins = vec!["https://console.example".to_owned()];
    let (server, address) = start(HttpConfiguration { cors_origins: origins, ..with_tokens() });
    let preflight = |origin: &str| {
        let headers = format!(
            "Origin: {origin}\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: authorization\r\n"
        );
        ask(address, "OPTIONS", "/api/v1/devices", &headers)
    };
    let allowed = preflight("https://console.example");
    assert_eq!(allowed.status, 200);
    assert!(allowed.head.contains("access-control-allow-origin: https://console.example"), "{}", allowed.head);
    assert!(allowed.head.to_lowercase().contains("access-control-allow-headers: authorization"), "{}", allowed.head);
    assert!(!preflight("https://evil.example").head.contains("access-control-allow-origin"));
    let headers = format!("{}Origin: https://console.example\r\n", bearer("v"));
    let answered = ask(address, "GET", "/api/v1/refused", &headers);
    assert!(answered.head.contains("access-control-allow-origin: https://console.example"), "{}", answered.head);
    let refused = ask(address, "GET", "/api/v1/refused", "Origin: https://console.example\r\n");
    assert_eq!(refused.status, 401, "an origin is no token");
    server.stop();
}

pub(super) fn self_signed() -> (String, String) {
    use openssl::{asn1, bn, ec, hash, nid, pkey, x509};
    let group = ec::EcGroup::from_curve_name(nid::Nid::X9_62_PRIME256V1).unwrap();
    let key = pkey::PKey::from_ec_key(ec::EcKey::generate(&group).unwrap()).unwrap();
    let mut builder = x509::X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&bn::BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&asn1::Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&asn1::Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(&key, hash::MessageDigest::sha256()).unwrap();
    let text = |pem: Vec<u8>| String::from_utf8(pem).unwrap();
    (text(builder.build().to_pem().unwrap()), text(key.private_key_to_pem_pkcs8().unwrap()))
}

#[test]
fn https_answers_by_http_1_1_and_plain_text_gets_nothing() {
    let (certificate, key) = self_signed();
    let tls = Tls::new(&certificate, &key).unwrap();
    let (server, address) = start(HttpConfiguration { tls: Some(tls), ..with_tokens() });
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    connector.set_alpn_protos(b"\x02h2\x08http/1.1").unwrap();
    let connector = connector.build();
    let mut stream = connector.connect("localhost", TcpStream::connect(address).unwrap()).unwrap();
    assert_eq!(stream.ssl().selected_alpn_protocol(), Some(b"http/1.1".as_slice()));
    let text = format!("GET /api/v1 HTTP/1.1\r\nHost: x\r\n{}Connection: close\r\n\r\n", bearer("v"));
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let mut plain = TcpStream::connect(address).unwrap();
    plain.write_all(text.as_bytes()).unwrap();
    let mut nothing = Vec::new();
    // A reset is as good an end as a closed stream.
    let _ = plain.read_to_end(&mut nothing);
    assert!(!String::from_utf8_lossy(&nothing).contains("HTTP/"), "{nothing:?}");
    server.stop();
}

#[test]
fn with_tokens_the_api_may_leave_loopback() {
    let beyond = HttpConfiguration { listen: vec!["0.0.0.0:0".parse().unwrap()], ..with_tokens() };
    let (server, _) = start(beyond);
    server.stop();
}
