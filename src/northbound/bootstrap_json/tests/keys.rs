//! Keys and certificates: what is taken, and what stands in the wrong place.

use serde_json::json;

use super::{
    account, base64, certificate, element, private_key, problems, public_key, raw_public_key, refused, sequence, with,
    x509,
};
use crate::model::bootstrap::{ClientKeys, PskKey, Security, ServerAccount};

const CERTIFICATE_PEM: &str = include_str!("../../../../tests/fixtures/certificates/server.crt");
const PRIVATE_KEY_PEM: &str = include_str!("../../../../tests/fixtures/certificates/server.key");

fn pem(label: &str, der: &[u8]) -> String {
    let body = base64(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// SEC1: what openssl ecparam -genkey makes.
fn older_private_key() -> Vec<u8> {
    sequence(&[element(2, &[1]), element(4, b"secret"), element(0xa0, &[])])
}

fn key(account: &ServerAccount) -> &[u8] {
    match &account.security {
        Security::Psk { key: PskKey::Given(key), .. } => key.expose(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pre_shared_key_is_hexadecimal_else_base64() {
    for (text, bytes) in [
        ("00112233", vec![0x00, 0x11, 0x22, 0x33]),
        ("AA:bb cc", vec![0xaa, 0xbb, 0xcc]),
        ("c2VjcmV0IGtleQ==", b"secret key".to_vec()),
        ("c2VjcmV0IGtleQ", b"secret key".to_vec()),
        ("-_-_", vec![0xfb, 0xff, 0xbf]),
        (" deadbeef\n", vec![0xde, 0xad, 0xbe, 0xef]),
    ] {
        assert_eq!(key(&account(&json!({"security_mode": "psk", "psk_key": text}))), bytes, "{text}");
    }
}

#[test]
fn a_key_to_be_made_has_1_to_64_bytes() {
    let random = |key: serde_json::Value| match account(&json!({"security_mode": "psk", "psk_key": key})).security {
        Security::Psk { key: PskKey::Random(bytes), .. } => bytes,
        other => panic!("{other:?}"),
    };
    assert_eq!(random(json!({"random": 32})), 32);
    assert_eq!(random(json!({"random": 64})), 64);
    assert_eq!(random(json!("${string.secureRandom(32)}")), 32);
    assert_eq!(random(json!(null)), 16);
    for (key, field, words) in [
        (json!({"random": 0}), "psk_key.random", "is 0, not an integer from 1 to 64"),
        (json!({"random": 65}), "psk_key.random", "is 65"),
        (json!({"random": "32"}), "psk_key.random", "is a text"),
        (json!({}), "psk_key.random", "is missing"),
        (json!({"random": 1, "randon": 2}), "psk_key.randon", "is no field of a key to be made; did you mean random?"),
        (json!("${string.secureRandom(65)}"), "psk_key", "holds a variable other than ${string.secureRandom(N)}"),
        (json!("${vault.key}"), "psk_key", "holds a variable other than"),
    ] {
        refused(&json!({"security_mode": "psk", "psk_key": key}), field, words);
    }
}

#[test]
fn a_pre_shared_key_that_is_none_is_refused() {
    for (key, words) in [
        (json!(""), "has 0 bytes, not 1 to 64"),
        (json!("00".repeat(65)), "has 65 bytes, not 1 to 64"),
        (json!("0123456789abcde"), "has an odd number of hexadecimal digits"),
        (json!("pass word!"), "is neither hexadecimal nor base64"),
        (json!(PRIVATE_KEY_PEM), "is PEM"),
        (json!(5), "is a number, not a text or {\"random\": bytes}"),
        (json!({"secret": true}), "give the secret anew"),
        (json!("x".repeat(20_000)), "has more than 16384 bytes"),
    ] {
        refused(&json!({"security_mode": "psk", "psk_key": key}), "psk_key", words);
    }
}

#[test]
fn keys_and_certificates_are_pem_hexadecimal_or_base64() {
    let der = private_key(b"device secret");
    for private in [pem("PRIVATE KEY", &der), data_encoding::HEXUPPER.encode(&der), base64(&der)] {
        let body = with(&raw_public_key(), &json!({"client_private_key": private}));
        let Security::RawPublicKey { client: ClientKeys::Given { public, private }, server } = account(&body).security
        else {
            panic!("{body}")
        };
        assert_eq!(private.expose(), der);
        assert_eq!(*public, public_key(b"device"));
        assert_eq!(server.as_deref(), Some(public_key(b"server").as_slice()));
    }
}

#[test]
fn real_certificates_and_keys_are_taken() {
    let text_before = format!("Certificate:\n    Version: 1\n{CERTIFICATE_PEM}");
    let body = with(
        &x509(),
        &json!({
            "client_certificate": text_before,
            "client_private_key": PRIVATE_KEY_PEM.replace('\n', "\r\n"),
            "server_certificate": CERTIFICATE_PEM,
        }),
    );
    let Security::X509 { client: ClientKeys::Given { public, private }, server, .. } = account(&body).security else {
        panic!("{body}")
    };
    assert_eq!(Some(public), server);
    assert_eq!(private.expose()[..2], [0x30, 0x81]);
}

#[test]
fn what_stands_in_the_place_of_a_private_key_is_told() {
    let good = private_key(b"device secret");
    let trailing = [good.as_slice(), b"rubbish"].concat();
    let encrypted = sequence(&[sequence(&[]), element(4, b"secret")]);
    let rsa = sequence(&[element(2, &[0]), element(2, b"n"), element(2, b"e"), element(2, b"d")]);
    let sec1 = format!("{}{}", pem("EC PARAMETERS", &[6, 1, 1]), pem("EC PRIVATE KEY", &older_private_key()));
    for (text, words) in [
        (sec1, "openssl pkcs8 -topk8 -nocrypt"),
        (base64(&older_private_key()), "openssl pkcs8 -topk8 -nocrypt"),
        (pem("RSA PRIVATE KEY", &rsa), "openssl pkcs8 -topk8 -nocrypt"),
        (base64(&rsa), "openssl pkcs8 -topk8 -nocrypt"),
        (pem("ENCRYPTED PRIVATE KEY", &encrypted), "is encrypted"),
        (base64(&encrypted), "is encrypted"),
        (base64(&trailing), "has 7 bytes behind its end"),
        (base64(&good[..good.len() - 1]), "is no DER of a private key (PKCS #8)"),
        (base64(&public_key(b"device")), "is a public key (SubjectPublicKeyInfo), not a private key (PKCS #8)"),
        (base64(&certificate(b"device")), "is a certificate, not a private key"),
        (pem("CERTIFICATE", &certificate(b"device")), "is PEM of CERTIFICATE, not of PRIVATE KEY"),
        (pem("OPENSSH PRIVATE KEY", b"openssh"), "is PEM of OPENSSH PRIVATE KEY, not of PRIVATE KEY"),
        (pem("PRIVATE KEY", &good).replace("-----END", "-----"), "is PEM that ends too early"),
        (pem("PRIVATE KEY", &good).replace("KEY-----\nM", "KEY-----\n?"), "is PEM whose body is no base64"),
        (pem("PRIVATE KEY", &good).replace("KEY-----\nM", "KEY-----\nProc-Type: 4\n\nM"), "has PEM headers"),
        (format!("{}{}", pem("PRIVATE KEY", &good), pem("PRIVATE KEY", &good)), "holds 2 PEM blocks"),
        ("a key".to_owned(), "is no DER of a private key"),
        (String::new(), "is no DER"),
        ("30".to_owned(), "is no DER"),
        ("3085ffffffffff".to_owned(), "is no DER"),
        ("3080".to_owned(), "is no DER"),
        ("3003020100".to_owned(), "is DER, but not of a private key"),
        ("300302ff00".to_owned(), "it is cut or damaged"),
    ] {
        refused(&with(&raw_public_key(), &json!({"client_private_key": text})), "client_private_key", words);
    }
    refused(
        &with(&raw_public_key(), &json!({"client_private_key": 7})),
        "client_private_key",
        "is a number, not a text",
    );
    let hidden = json!({"client_private_key": {"secret": true}});
    refused(&with(&raw_public_key(), &hidden), "client_private_key", "give the secret anew");
}

#[test]
fn a_chain_is_refused_in_the_place_of_a_certificate() {
    let chain = format!("{CERTIFICATE_PEM}{CERTIFICATE_PEM}");
    for field in ["client_certificate", "server_certificate"] {
        refused(&with(&x509(), &json!({ field: chain })), field, "holds 2 PEM blocks; a device gets one certificate");
    }
}

#[test]
fn a_pair_is_given_whole_or_made() {
    let made = json!({"security_mode": "rpk"});
    assert!(matches!(account(&made).security, Security::RawPublicKey { client: ClientKeys::Made, server: None }));
    let made = json!({"security_mode": "x509", "certificate_usage": 3});
    assert!(matches!(
        account(&made).security,
        Security::X509 { client: ClientKeys::Made, server: None, certificate_usage: Some(3) }
    ));
    for (base, public) in [(raw_public_key(), "client_public_key"), (x509(), "client_certificate")] {
        refused(&with(&base, &json!({ public: null })), public, "is missing: it goes with client_private_key");
        let without = json!({"client_private_key": null});
        refused(&with(&base, &without), "client_private_key", &format!("is missing: it goes with {public}"));
    }
}

#[test]
fn a_key_that_is_made_must_be_known_to_somebody() {
    let foreign = json!({"uri": "coaps://server.example"});
    for (mode, field) in [("psk", "psk_key"), ("rpk", "client_private_key"), ("x509", "client_private_key")] {
        let own = json!({"security_mode": mode, "provision": "none"});
        refused(&own, field, "nobody but the device would know it: give it, or set provision");
        let found = problems(&with(&foreign, &json!({"security_mode": mode})));
        assert!(found.iter().any(|text| text.starts_with(field) && text.contains("set provision")), "{found:?}");
        account(&with(&foreign, &json!({"security_mode": mode, "provision": "self"})));
    }
    let target = json!({"type": "leshan", "url": "http://server.example:8080"});
    account(&with(&foreign, &json!({"security_mode": "psk", "provision": target})));
}

#[test]
fn the_key_of_another_server_is_given() {
    for (base, field) in [(raw_public_key(), "server_public_key"), (x509(), "server_certificate")] {
        let elsewhere = with(&base, &json!({"uri": "server.example", "provision": "none"}));
        account(&elsewhere);
        refused(&with(&elsewhere, &json!({ field: null })), field, "uri is that of another server");
        account(&with(&elsewhere, &json!({ field: null, "provision": "self" })));
        account(&with(&base, &json!({ field: null })));
    }
}

#[test]
fn fields_of_another_mode_are_refused() {
    let foreign: [(&str, serde_json::Value, &[&str]); 9] = [
        ("psk_identity", json!("node"), &["psk"]),
        ("psk_key", json!("0011"), &["psk"]),
        ("client_public_key", json!(base64(&public_key(b"a"))), &["rpk"]),
        ("server_public_key", json!(base64(&public_key(b"a"))), &["rpk"]),
        ("client_certificate", json!(base64(&certificate(b"a"))), &["x509"]),
        ("server_certificate", json!(base64(&certificate(b"a"))), &["x509"]),
        ("certificate_usage", json!(1), &["x509"]),
        ("matching_type", json!(1), &["rpk", "x509"]),
        ("sni", json!("server.example"), &["psk", "rpk", "x509"]),
    ];
    let bases = [
        ("nosec", json!({"security_mode": "nosec"})),
        ("psk", json!({"security_mode": "psk", "psk_key": "0011"})),
        ("rpk", raw_public_key()),
        ("x509", x509()),
    ];
    for (mode, base) in &bases {
        for (field, value, modes) in &foreign {
            let body = with(base, &json!({ *field: value }));
            match modes.contains(mode) {
                true => drop(account(&body)),
                false if *field == "sni" => refused(&body, field, "security_mode nosec has none"),
                false => refused(&body, field, &format!("goes with security_mode {}, not {mode}", modes.join(" or "))),
            }
        }
    }
    refused(&json!({"psk_key": "0011"}), "psk_key", "goes with security_mode psk; say so");
    let private = json!({"client_private_key": base64(&private_key(b"a"))});
    refused(&private, "client_private_key", "goes with security_mode rpk or x509; say so");
}
