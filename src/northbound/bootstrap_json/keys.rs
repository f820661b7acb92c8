//! Keys and certificates: PEM, hexadecimal or base64 become bytes.
//!
//! Text in PEM says what it is by its label. Bytes are told apart by the elements of their outermost ASN.1 SEQUENCE
//! (X.690), so that a certificate in the place of a key is found when it is stored, not by a device in the field.

use std::ops::RangeInclusive;
use std::sync::Arc;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use serde_json::Value as Json;

use super::fields::{Fields, HIDDEN_MESSAGE, is_hidden, kind, shown};

/// Longest text of a key or certificate, in bytes.
const MAX_TEXT_BYTES: usize = 16 << 10;

const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_LABEL_END: &str = "-----";

/// What DER is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DerKind {
    Certificate,
    /// SubjectPublicKeyInfo.
    PublicKey,
    /// PKCS #8.
    PrivateKey,
}

impl DerKind {
    const fn label(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::PublicKey => "PUBLIC KEY",
            Self::PrivateKey => "PRIVATE KEY",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Certificate => "a certificate",
            Self::PublicKey => "a public key (SubjectPublicKeyInfo)",
            Self::PrivateKey => "a private key (PKCS #8)",
        }
    }
}

const OLD_PRIVATE_KEY: &str =
    "is a private key of an older form; bring it to PKCS #8 with openssl pkcs8 -topk8 -nocrypt";
const ENCRYPTED: &str = "is encrypted; take off the passphrase with openssl pkcs8 -topk8 -nocrypt";

/// Bytes in hexadecimal or base64, as a secret stands: so many of them.
pub(super) fn bytes(fields: &mut Fields<'_, '_>, field: &str, count: RangeInclusive<usize>) -> Option<Vec<u8>> {
    let text = encoded(fields, field)?;
    if text.contains(PEM_BEGIN) {
        return fields.wrong(field, "is PEM, and this is no key or certificate of a pair: write hex or base64");
    }
    match decode(text) {
        Ok(bytes) if count.contains(&bytes.len()) => Some(bytes),
        Ok(bytes) if count.start() == count.end() => {
            fields.wrong(field, format!("has {} bytes, not {}", bytes.len(), count.start()))
        }
        Ok(bytes) => {
            fields.wrong(field, format!("has {} bytes, not {} to {}", bytes.len(), count.start(), count.end()))
        }
        Err(reason) => fields.wrong(field, reason),
    }
}

/// A key or certificate, as DER.
pub(super) fn der(fields: &mut Fields<'_, '_>, field: &str, wanted: DerKind) -> Option<Arc<[u8]>> {
    let text = encoded(fields, field)?;
    let read = if text.contains(PEM_BEGIN) { from_pem(text, wanted) } else { decode(text) };
    match read.and_then(|der| check(&der, wanted).map(|()| der)) {
        Ok(der) => Some(der.into()),
        Err(reason) => fields.wrong(field, reason),
    }
}

fn encoded<'a>(fields: &mut Fields<'a, '_>, field: &str) -> Option<&'a str> {
    match fields.get(field)? {
        Json::String(text) if text.len() > MAX_TEXT_BYTES => {
            fields.wrong(field, format!("has more than {MAX_TEXT_BYTES} bytes"))
        }
        Json::String(text) => Some(text),
        value if is_hidden(value) => fields.wrong(field, HIDDEN_MESSAGE),
        other => fields.wrong(field, format!("is {}, not a text", kind(other))),
    }
}

/// Hexadecimal, with or without blanks and colons between; else base64 of either alphabet, padded or not.
fn decode(text: &str) -> Result<Vec<u8>, String> {
    let plain: String = text.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    let digits = plain.replace(':', "");
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let read = HEXLOWER_PERMISSIVE.decode(digits.as_bytes());
        return read.map_err(|_| "has an odd number of hexadecimal digits".to_owned());
    }
    let encodings = [BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD];
    let read = encodings.iter().find_map(|encoding| encoding.decode(plain.as_bytes()).ok());
    read.ok_or_else(|| "is neither hexadecimal nor base64".to_owned())
}

/// The one block of the wanted label.
fn from_pem(text: &str, wanted: DerKind) -> Result<Vec<u8>, String> {
    let blocks = blocks(text)?;
    let is = |label: &str| blocks.iter().any(|(found, _)| *found == label);
    if wanted == DerKind::PrivateKey {
        if is("EC PRIVATE KEY") || is("RSA PRIVATE KEY") {
            return Err(OLD_PRIVATE_KEY.to_owned());
        }
        if is("ENCRYPTED PRIVATE KEY") {
            return Err(ENCRYPTED.to_owned());
        }
    }
    let (label, body) = match blocks.as_slice() {
        [block] => *block,
        _ if wanted == DerKind::Certificate => {
            let message = format!(
                "holds {} PEM blocks; a device gets one certificate: give the first of a chain alone, without its \
                 authorities and without a key",
                blocks.len()
            );
            return Err(message);
        }
        _ => return Err(format!("holds {} PEM blocks; give {} alone", blocks.len(), wanted.words())),
    };
    if label != wanted.label() {
        // What is no label may be anything.
        let is_label = label.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ');
        let found = if is_label { shown(label) } else { "something else".to_owned() };
        return Err(format!("is PEM of {found}, not of {}", wanted.label()));
    }
    if body.contains(':') {
        return Err("has PEM headers; give the plain block".to_owned());
    }
    let plain: String = body.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    BASE64.decode(plain.as_bytes()).map_err(|_| "is PEM whose body is no base64".to_owned())
}

/// Label and body of each block.
fn blocks(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, from_label)) = rest.split_once(PEM_BEGIN) {
        let cut = || "is PEM that ends too early".to_owned();
        let (label, from_body) = from_label.split_once(PEM_LABEL_END).ok_or_else(cut)?;
        let end = format!("-----END {label}-----");
        let (body, behind) = from_body.split_once(&end).ok_or_else(cut)?;
        blocks.push((label, body));
        rest = behind;
    }
    Ok(blocks)
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// Whether bytes are one element of the wanted kind and nothing else.
fn check(der: &[u8], wanted: DerKind) -> Result<(), String> {
    let Some((SEQUENCE, mut content, behind)) = element(der) else {
        return Err(format!("is no DER of {}", wanted.words()));
    };
    if !behind.is_empty() {
        return Err(format!("has {} bytes behind its end", behind.len()));
    }
    let mut tags = Vec::new();
    while !content.is_empty() {
        let Some((tag, _, rest)) = element(content) else {
            return Err(format!("is no DER of {}: it is cut or damaged", wanted.words()));
        };
        tags.push(tag);
        content = rest;
    }
    let found = match tags.as_slice() {
        [SEQUENCE, SEQUENCE, BIT_STRING] => DerKind::Certificate,
        [SEQUENCE, BIT_STRING] => DerKind::PublicKey,
        [INTEGER, SEQUENCE, OCTET_STRING, ..] => DerKind::PrivateKey,
        [INTEGER, OCTET_STRING, ..] | [INTEGER, INTEGER, INTEGER, ..] if wanted == DerKind::PrivateKey => {
            return Err(OLD_PRIVATE_KEY.to_owned());
        }
        [SEQUENCE, OCTET_STRING] if wanted == DerKind::PrivateKey => return Err(ENCRYPTED.to_owned()),
        _ => return Err(format!("is DER, but not of {}", wanted.words())),
    };
    if found == wanted { Ok(()) } else { Err(format!("is {}, not {}", found.words(), wanted.words())) }
}

/// Tag and content of the first element of DER, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // Longer than any text that is taken, were there more.
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (
                digits
                    .iter()
                    .try_fold(0usize, |length, digit| length.checked_mul(256)?.checked_add(usize::from(*digit)))?,
                rest,
            )
        }
        _ => return None,
    };
    let (content, behind) = rest.split_at_checked(length)?;
    Some((tag, content, behind))
}
