//! Each field with what it takes and refuses; what is shown reads back; no secret in what is said.

mod accounts;
mod entries;
mod keys;
mod round_trip;

use serde_json::{Value as Json, json};

use super::{Problem, parse_account, parse_entry};
use crate::model::bootstrap::{DeviceEntry, ServerAccount};
use crate::model::object::ObjectModel;

/// An element of DER with short or long length.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => der.push(short),
        _ => der.extend([0x82, u8::try_from(length >> 8).unwrap(), u8::try_from(length & 0xff).unwrap()]),
    }
    der.extend(content);
    der
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

/// What has the form of a SubjectPublicKeyInfo.
fn public_key(key: &[u8]) -> Vec<u8> {
    sequence(&[sequence(&[]), element(3, key)])
}

/// What has the form of a certificate.
fn certificate(key: &[u8]) -> Vec<u8> {
    sequence(&[sequence(&[element(2, key)]), sequence(&[]), element(3, key)])
}

/// What has the form of PKCS #8.
fn private_key(key: &[u8]) -> Vec<u8> {
    sequence(&[element(2, &[0]), sequence(&[]), element(4, key)])
}

fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

/// `base` with the fields of `more`.
fn with(base: &Json, more: &Json) -> Json {
    let mut joined = base.clone();
    for (field, value) in more.as_object().unwrap() {
        joined[field] = value.clone();
    }
    joined
}

fn account(body: &Json) -> ServerAccount {
    parse_account(body).unwrap_or_else(|problems| panic!("{body}: {problems:?}"))
}

/// The problems of an account as `field: message`.
fn problems(body: &Json) -> Vec<String> {
    texts(parse_account(body).expect_err("no problem"))
}

/// The built-in object model, made once.
fn model() -> &'static ObjectModel {
    static MODEL: std::sync::LazyLock<ObjectModel> = std::sync::LazyLock::new(ObjectModel::built_in);
    &MODEL
}

fn entry(body: &Json) -> DeviceEntry {
    parse_entry(body, model()).unwrap_or_else(|problems| panic!("{body}: {problems:?}"))
}

fn entry_problems(body: &Json) -> Vec<String> {
    texts(parse_entry(body, model()).expect_err("no problem"))
}

fn texts(problems: Vec<Problem>) -> Vec<String> {
    problems.into_iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect()
}

/// An account whose one problem is in `field` and holds `words`.
#[track_caller]
fn refused(body: &Json, field: &str, words: &str) {
    let found = problems(body);
    let fits = found.iter().any(|text| text.starts_with(&format!("{field}: ")) && text.contains(words));
    assert!(fits && found.len() == 1, "{body}: {found:#?}");
}

#[track_caller]
fn entry_refused(body: &Json, field: &str, words: &str) {
    let found = entry_problems(body);
    let fits = found.iter().any(|text| text.starts_with(&format!("{field}: ")) && text.contains(words));
    assert!(fits && found.len() == 1, "{body}: {found:#?}");
}

/// Raw public keys, all given.
fn raw_public_key() -> Json {
    json!({
        "security_mode": "rpk",
        "client_public_key": base64(&public_key(b"device")),
        "client_private_key": base64(&private_key(b"device secret")),
        "server_public_key": base64(&public_key(b"server")),
    })
}

/// Certificates, all given.
fn x509() -> Json {
    json!({
        "security_mode": "x509",
        "client_certificate": base64(&certificate(b"device")),
        "client_private_key": base64(&private_key(b"device secret")),
        "server_certificate": base64(&certificate(b"server")),
    })
}
