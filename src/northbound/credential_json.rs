//! Credentials as JSON: what HTTP takes, and import files with it.
//!
//! ```text
//! {"mode":"psk","identity":"node-1","key":"00112233..","endpoints":"nrf-*","keep_old":"24h"} ──▶ CredentialRequest
//! ```
//!
//! Public keys and certificates are read by whoever has a library for them; a key that is `null` is made by whoever has
//! randomness. Errors name every field at fault, and never show a key.

use std::fmt;
use std::time::Duration;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use serde_json::{Map, Value};

use crate::model::command::{CommandError, ErrorKind};
use crate::model::credential::{MAX_IDENTITY_BYTES, MAX_KEY_BYTES, Scope, SecretBytes};
use crate::model::endpoint::Endpoint;
use crate::model::units::parse_duration;

/// Bytes of a key that the gateway makes. The suites of LwM2M have 128 bits, so that more gains nothing, and small
/// devices often take no longer key.
pub const MADE_KEY_BYTES: usize = 16;

/// Longest public key or certificate taken, in bytes of its text.
pub const MAX_PROOF_TEXT_BYTES: usize = 16 << 10;

/// Longest subject, pattern, name and tag in bytes; most tags.
const MAX_TEXT_BYTES: usize = 252;
const MAX_SUBJECT_BYTES: usize = 1_024;
const MAX_TAGS: usize = 32;

/// Longest time that a former proof may stay.
const MAX_KEEP_OLD: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// All fields of a credential.
pub const FIELDS: [&str; 14] = [
    "endpoint",
    "mode",
    "scope",
    "identity",
    "identity_hex",
    "key",
    "key_format",
    "public_key",
    "subject",
    "certificate",
    "endpoints",
    "keep_old",
    "name",
    "tags",
];

/// A credential as a request gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRequest {
    /// Which server it opens, if the request says.
    pub scope: Option<Scope>,
    /// Its own name.
    pub endpoint: Endpoint,
    /// What it is.
    pub means: RequestedMeans,
    /// Glob of the endpoint names that it opens.
    pub endpoints: Option<String>,
    /// How long the proof before stays.
    pub keep_old: Option<Duration>,
    /// The operator's name for the device.
    pub name: Option<String>,
    /// Its tags.
    pub tags: Option<Vec<String>>,
}

/// What a requested credential is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestedMeans {
    /// A pre-shared key.
    Psk {
        /// Its identity.
        identity: Vec<u8>,
        /// The key; `None`: one is to be made.
        key: Option<SecretBytes>,
    },
    /// A raw public key: SubjectPublicKeyInfo in DER or PEM.
    PublicKey(Vec<u8>),
    /// One certificate, PEM.
    Certificate(String),
    /// The subject of a certificate of a trusted authority.
    Subject(String),
    /// None.
    NoSec,
    /// The name is blocked.
    Blocked,
}

/// A field and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// Its name.
    pub field: String,
    /// Why.
    pub message: String,
}

/// Everything that is wrong with a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialProblems(pub Vec<FieldProblem>);

impl fmt::Display for CredentialProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(f, "{separator}{}: {}", problem.field, problem.message)?;
        }
        Ok(())
    }
}

impl From<CredentialProblems> for CommandError {
    fn from(problems: CredentialProblems) -> Self {
        Self::new(ErrorKind::Invalid, problems.to_string())
    }
}

/// How the text of a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// Hexadecimal; blanks and colons are skipped.
    Hex,
    /// Base64, of either alphabet, padded or not.
    Base64,
    /// Its bytes are the key.
    Text,
}

impl KeyFormat {
    /// By its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "hex" => Some(Self::Hex),
            "base64" => Some(Self::Base64),
            "text" => Some(Self::Text),
            _ => None,
        }
    }
}

/// Reads the text of a key.
///
/// # Errors
/// What is wrong, without the text.
pub fn parse_key(text: &str, format: KeyFormat) -> Result<SecretBytes, String> {
    let bytes = match format {
        KeyFormat::Hex => {
            let plain: String = text.chars().filter(|character| !matches!(character, ' ' | ':')).collect();
            let read = HEXLOWER_PERMISSIVE.decode(plain.as_bytes());
            read.map_err(|_| "is no hexadecimal text; say key_format if it is base64 or text".to_owned())?
        }
        KeyFormat::Base64 => base64(text).ok_or_else(|| "is no base64".to_owned())?,
        KeyFormat::Text => text.as_bytes().to_vec(),
    };
    if bytes.is_empty() || bytes.len() > MAX_KEY_BYTES {
        return Err(format!("has {} bytes, not 1 to {MAX_KEY_BYTES}", bytes.len()));
    }
    Ok(SecretBytes::new(&bytes))
}

/// Base64 of either alphabet, padded or not; white space is skipped.
fn base64(text: &str) -> Option<Vec<u8>> {
    let plain: String = text.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    let encodings = [BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD];
    encodings.iter().find_map(|encoding| encoding.decode(plain.as_bytes()).ok())
}

/// Parses a credential. `endpoint` is the name that the URL says; without one the body has to.
///
/// # Errors
/// Every field that is wrong.
pub fn parse_credential(
    body: &Map<String, Value>,
    endpoint: Option<&str>,
) -> Result<CredentialRequest, CredentialProblems> {
    let mut reader = Reader { body, problems: Vec::new() };
    if let Some(unknown) = body.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        let shown: String = unknown.chars().take(40).collect();
        reader.wrong::<()>(&shown, format!("is no field of a credential; known are {}", FIELDS.join(", ")));
    }
    let endpoint = reader.endpoint(endpoint);
    let scope = match reader.text("scope") {
        None => None,
        Some("server") => Some(Scope::Server),
        Some("bootstrap") => Some(Scope::Bootstrap),
        Some(_) => reader.wrong("scope", "is neither server nor bootstrap"),
    };
    let means = reader.means(endpoint.as_ref());
    let request = CredentialRequest {
        scope,
        endpoints: reader.bounded_text("endpoints", MAX_TEXT_BYTES),
        keep_old: reader.keep_old(),
        name: reader.bounded_text("name", MAX_TEXT_BYTES),
        tags: reader.tags(),
        // Both stand unless something is wrong, which then is told.
        endpoint: match endpoint {
            Some(endpoint) => endpoint,
            None => return Err(CredentialProblems(reader.problems)),
        },
        means: match means {
            Some(means) => means,
            None => return Err(CredentialProblems(reader.problems)),
        },
    };
    if reader.problems.is_empty() { Ok(request) } else { Err(CredentialProblems(reader.problems)) }
}

/// A problem that was noted.
struct Told;

struct Reader<'a> {
    body: &'a Map<String, Value>,
    problems: Vec<FieldProblem>,
}

impl<'a> Reader<'a> {
    /// Notes a problem; answers nothing.
    fn wrong<T>(&mut self, field: &str, message: impl Into<String>) -> Option<T> {
        self.problems.push(FieldProblem { field: field.to_owned(), message: message.into() });
        None
    }

    fn has(&self, field: &str) -> bool {
        self.body.get(field).is_some_and(|value| !value.is_null())
    }

    fn text(&mut self, field: &'static str) -> Option<&'a str> {
        match self.body.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => self.wrong(field, "is no text"),
        }
    }

    /// A text for people or for matching: neither empty nor with control characters.
    fn bounded_text(&mut self, field: &'static str, most: usize) -> Option<String> {
        let text = self.text(field)?;
        if text.is_empty() || text.len() > most || text.chars().any(char::is_control) {
            return self.wrong(field, format!("is no text of 1 to {most} bytes without control characters"));
        }
        Some(text.to_owned())
    }

    fn endpoint(&mut self, named: Option<&str>) -> Option<Endpoint> {
        let text = self.text("endpoint");
        let name = match (named, text) {
            (Some(named), Some(text)) if named != text => {
                return self.wrong("endpoint", format!("is '{text}', but the request is for '{named}'"));
            }
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => return self.wrong("endpoint", "is missing"),
        };
        match Endpoint::new(name) {
            Ok(endpoint) => Some(endpoint),
            Err(error) => self.wrong("endpoint", error.to_string()),
        }
    }

    fn means(&mut self, endpoint: Option<&Endpoint>) -> Option<RequestedMeans> {
        const MODES: &str = "psk, rpk, x509, nosec or blocked";
        let Some(mode) = self.text("mode") else {
            return if self.has("mode") { None } else { self.wrong("mode", format!("is missing: {MODES}")) };
        };
        let own: &[&str] = match mode {
            "psk" => &["identity", "identity_hex", "key", "key_format", "keep_old"],
            "rpk" => &["public_key", "keep_old"],
            "x509" => &["subject", "certificate", "keep_old"],
            "nosec" | "blocked" => &[],
            _ => {
                let shown: String = mode.chars().take(40).collect();
                return self.wrong("mode", format!("is '{shown}', not {MODES}"));
            }
        };
        for field in
            ["identity", "identity_hex", "key", "key_format", "public_key", "subject", "certificate", "keep_old"]
        {
            if self.has(field) && !own.contains(&field) {
                self.wrong::<()>(field, format!("does not go with mode {mode}"));
            }
        }
        match mode {
            "psk" => {
                let (identity, key) = (self.identity(endpoint), self.key());
                Some(RequestedMeans::Psk { identity: identity?, key: key.ok()? })
            }
            "rpk" => match self.text("public_key") {
                Some(text) if text.len() > MAX_PROOF_TEXT_BYTES => {
                    self.wrong("public_key", format!("has more than {MAX_PROOF_TEXT_BYTES} bytes"))
                }
                Some(text) if text.trim_start().starts_with("-----BEGIN") => {
                    Some(RequestedMeans::PublicKey(text.as_bytes().to_vec()))
                }
                Some(text) => match base64(text) {
                    Some(der) if !der.is_empty() => Some(RequestedMeans::PublicKey(der)),
                    _ => self.wrong("public_key", "is neither base64 of a SubjectPublicKeyInfo nor PEM"),
                },
                None if self.has("public_key") => None,
                None => self.wrong("public_key", "is missing: base64 of a SubjectPublicKeyInfo, or PEM"),
            },
            "x509" => match (self.text("subject").is_some(), self.text("certificate")) {
                (true, None) => {
                    let subject = self.bounded_text("subject", MAX_SUBJECT_BYTES)?;
                    match normal_subject(&subject) {
                        Some(subject) => Some(RequestedMeans::Subject(subject)),
                        None => self.wrong("subject", "is not written as \"CN=..\", or \"CN=.., O=..\" and so on"),
                    }
                }
                (false, Some(text)) if text.len() > MAX_PROOF_TEXT_BYTES => {
                    self.wrong("certificate", format!("has more than {MAX_PROOF_TEXT_BYTES} bytes"))
                }
                (false, Some(text)) => Some(RequestedMeans::Certificate(text.to_owned())),
                (true, Some(_)) => self.wrong("subject", "and certificate cannot both be given"),
                (false, None) => {
                    self.wrong("subject", "is missing: the subject of a certificate such as \"CN=..\", or certificate")
                }
            },
            "nosec" => Some(RequestedMeans::NoSec),
            _ => Some(RequestedMeans::Blocked),
        }
    }

    fn identity(&mut self, endpoint: Option<&Endpoint>) -> Option<Vec<u8>> {
        let (text, hex) = (self.text("identity"), self.text("identity_hex"));
        let (field, identity) = match (text, hex) {
            (Some(_), Some(_)) => return self.wrong("identity", "and identity_hex cannot both be given"),
            (Some(text), None) => ("identity", text.as_bytes().to_vec()),
            (None, Some(hex)) => match HEXLOWER_PERMISSIVE.decode(hex.as_bytes()) {
                Ok(identity) => ("identity_hex", identity),
                Err(_) => return self.wrong("identity_hex", "is no hexadecimal text"),
            },
            (None, None) => ("identity", endpoint?.as_str().as_bytes().to_vec()),
        };
        if identity.is_empty() || identity.len() > MAX_IDENTITY_BYTES {
            return self.wrong(field, format!("has {} bytes, not 1 to {MAX_IDENTITY_BYTES}", identity.len()));
        }
        Some(identity)
    }

    /// The key, or that one is to be made.
    fn key(&mut self) -> Result<Option<SecretBytes>, Told> {
        let format = match self.text("key_format").map(KeyFormat::parse) {
            None => KeyFormat::Hex,
            Some(Some(format)) => format,
            Some(None) => return Err(self.told("key_format", "is none of hex, base64, text")),
        };
        match self.text("key").map(|text| parse_key(text, format)) {
            Some(Ok(key)) => Ok(Some(key)),
            Some(Err(reason)) => Err(self.told("key", reason)),
            None if self.has("key") => Err(Told),
            None => Ok(None),
        }
    }

    fn told(&mut self, field: &str, message: impl Into<String>) -> Told {
        self.wrong::<()>(field, message);
        Told
    }

    fn keep_old(&mut self) -> Option<Duration> {
        match parse_duration(self.text("keep_old")?) {
            Ok(keep_old) if keep_old > MAX_KEEP_OLD => self.wrong("keep_old", "is longer than 366 days"),
            Ok(keep_old) => (!keep_old.is_zero()).then_some(keep_old),
            Err(error) => self.wrong("keep_old", error.to_string()),
        }
    }

    fn tags(&mut self) -> Option<Vec<String>> {
        let tags = match self.body.get("tags") {
            None | Some(Value::Null) => return None,
            Some(Value::Array(tags)) => tags,
            Some(_) => return self.wrong("tags", "is no list"),
        };
        let text = |tag: &Value| tag.as_str().filter(|tag| tag.len() <= MAX_TEXT_BYTES).map(str::to_owned);
        let read: Option<Vec<String>> = tags.iter().map(text).collect();
        match read.filter(|tags| tags.len() <= MAX_TAGS) {
            Some(tags) => Some(tags),
            None => {
                self.wrong("tags", format!("is no list of at most {MAX_TAGS} texts of at most {MAX_TEXT_BYTES} bytes"))
            }
        }
    }
}

/// A subject as certificates are shown: `CN=a, O=b`, one blank behind each comma; `None` if an attribute has no `=`. A
/// comma within a value has a backslash before it.
fn normal_subject(text: &str) -> Option<String> {
    let mut attributes = vec![String::new()];
    let mut escaped = false;
    for character in text.chars() {
        if character == ',' && !escaped {
            attributes.push(String::new());
        } else if let Some(attribute) = attributes.last_mut() {
            attribute.push(character);
        }
        escaped = character == '\\' && !escaped;
    }
    let attributes: Option<Vec<String>> = attributes
        .iter()
        .map(|attribute| {
            let (kind, value) = attribute.trim().split_once('=')?;
            let (kind, value) = (kind.trim_end(), value.trim_start());
            (!kind.is_empty() && !value.is_empty()).then(|| format!("{kind}={value}"))
        })
        .collect();
    Some(attributes?.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(body: Value) -> Result<CredentialRequest, Vec<String>> {
        let Value::Object(body) = body else { panic!("{body}") };
        parse_credential(&body, Some("node-1"))
            .map_err(|problems| problems.0.into_iter().map(|problem| problem.field).collect())
    }

    fn psk(body: Value) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        match parse(body).ok()?.means {
            RequestedMeans::Psk { identity, key } => Some((identity, key.map(|key| key.expose().to_vec()))),
            _ => None,
        }
    }

    #[test]
    fn keys_come_as_hex_base64_or_text() {
        let key = Some((b"node-1".to_vec(), Some(vec![0, 0xff, 0x10])));
        for body in [
            json!({ "mode": "psk", "key": "00ff10" }),
            json!({ "mode": "psk", "key": "00:FF:10", "key_format": "hex" }),
            json!({ "mode": "psk", "key": "AP8Q", "key_format": "base64" }),
            json!({ "mode": "psk", "key": "00 ff10", "identity": null }),
        ] {
            assert_eq!(psk(body.clone()), key, "{body}");
        }
        let text = psk(json!({ "mode": "psk", "key": "00ff", "key_format": "text", "identity": "i" }));
        assert_eq!(text, Some((b"i".to_vec(), Some(b"00ff".to_vec()))));
        for text in ["_-8=", "_-8", "/+8=", "/+8"] {
            let read = psk(json!({ "mode": "psk", "key": text, "key_format": "base64" }));
            assert_eq!(read.unwrap().1, Some(vec![0xff, 0xef]), "{text}");
        }
        assert_eq!(psk(json!({ "mode": "psk", "key": null })), Some((b"node-1".to_vec(), None)));
        let hex = psk(json!({ "mode": "psk", "key": null, "identity_hex": "00Ff" }));
        assert_eq!(hex, Some((vec![0, 0xff], None)));
    }

    #[test]
    fn lengths_have_bounds() {
        let key = |bytes: usize| psk(json!({ "mode": "psk", "key": "ab".repeat(bytes) })).is_some();
        assert!(!key(0) && key(1) && key(MAX_KEY_BYTES) && !key(MAX_KEY_BYTES + 1));
        let identity = |bytes: usize| psk(json!({ "mode": "psk", "identity": "i".repeat(bytes) })).is_some();
        assert!(!identity(0) && identity(1) && identity(MAX_IDENTITY_BYTES) && !identity(MAX_IDENTITY_BYTES + 1));
    }

    #[test]
    fn every_wrong_field_is_named_and_no_key_is_shown() {
        for (body, fields) in [
            (json!({}), vec!["mode"]),
            (json!({ "mode": "spk" }), vec!["mode"]),
            (json!({ "mode": 1 }), vec!["mode"]),
            (json!({ "mode": "psk", "kee": 1 }), vec!["kee"]),
            (json!({ "mode": "psk", "key": "xy", "identity": "", "scope": "x" }), vec!["scope", "identity", "key"]),
            (json!({ "mode": "psk", "key": 5 }), vec!["key"]),
            (json!({ "mode": "psk", "key_format": "raw" }), vec!["key_format"]),
            (json!({ "mode": "psk", "identity": "a", "identity_hex": "00" }), vec!["identity"]),
            (json!({ "mode": "psk", "identity_hex": "0" }), vec!["identity_hex"]),
            (json!({ "mode": "psk", "endpoint": "other" }), vec!["endpoint"]),
            (json!({ "mode": "psk", "public_key": "AA==" }), vec!["public_key"]),
            (json!({ "mode": "rpk" }), vec!["public_key"]),
            (json!({ "mode": "rpk", "public_key": "%" }), vec!["public_key"]),
            (json!({ "mode": "rpk", "public_key": 7 }), vec!["public_key"]),
            (json!({ "mode": "x509" }), vec!["subject"]),
            (json!({ "mode": "x509", "subject": "CN=a", "certificate": "x" }), vec!["subject"]),
            (json!({ "mode": "x509", "subject": "node-1" }), vec!["subject"]),
            (json!({ "mode": "nosec", "key": "00", "keep_old": "1h" }), vec!["key", "keep_old"]),
            (json!({ "mode": "psk", "keep_old": "soon" }), vec!["keep_old"]),
            (json!({ "mode": "psk", "keep_old": "367d" }), vec!["keep_old"]),
            (json!({ "mode": "psk", "endpoints": "", "name": "a\nb", "tags": [1] }), vec!["endpoints", "name", "tags"]),
        ] {
            let fields = fields.into_iter().map(str::to_owned).collect();
            assert_eq!(parse(body.clone()), Err(fields), "{body}");
        }
        let Value::Object(body) = json!({ "mode": "psk", "key": "hunter2" }) else { panic!() };
        let problems = parse_credential(&body, Some("a")).unwrap_err();
        let told = CommandError::from(problems).message;
        assert_eq!(told, "key: is no hexadecimal text; say key_format if it is base64 or text");
        let Value::Object(body) = json!({ "mode": "psk", "key": "0123456789abcdef", "key_format": "hex" }) else {
            panic!()
        };
        assert!(!format!("{:?}", parse_credential(&body, Some("a"))).contains("18, 52"));
        assert!(parse_credential(&body, None).is_err(), "a bulk names each endpoint");
    }

    #[test]
    fn a_subject_is_written_as_certificates_are_shown() {
        for (text, expected) in [
            ("CN=a", Some("CN=a")),
            (" CN = a ,O=b", Some("CN=a, O=b")),
            ("CN=a\\, b,  O=c", Some("CN=a\\, b, O=c")),
            ("a", None),
            ("CN=", None),
            ("CN=a,", None),
        ] {
            assert_eq!(normal_subject(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn every_mode_has_its_shape() {
        let pem = "-----BEGIN CERTIFICATE-----\n..";
        for (body, means) in [
            (json!({ "mode": "rpk", "public_key": "AQID" }), RequestedMeans::PublicKey(vec![1, 2, 3])),
            (json!({ "mode": "x509", "subject": "CN=a,O=b" }), RequestedMeans::Subject("CN=a, O=b".to_owned())),
            (json!({ "mode": "x509", "certificate": pem }), RequestedMeans::Certificate(pem.to_owned())),
            (json!({ "mode": "nosec" }), RequestedMeans::NoSec),
            (json!({ "mode": "blocked" }), RequestedMeans::Blocked),
        ] {
            assert_eq!(parse(body).unwrap().means, means);
        }
        let all = parse(json!({
            "mode": "psk", "scope": "bootstrap", "endpoints": "nrf-*", "keep_old": "24h", "name": "n", "tags": ["a"],
        }))
        .unwrap();
        assert_eq!((all.scope, all.endpoints.as_deref()), (Some(Scope::Bootstrap), Some("nrf-*")));
        assert_eq!((all.keep_old, all.name.as_deref()), (Some(Duration::from_secs(86_400)), Some("n")));
        assert_eq!(all.tags, Some(vec!["a".to_owned()]));
    }
}
