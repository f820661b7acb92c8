//! What device and server trust each other by: the fields of each security mode, and none of another.

use serde_json::Value as Json;

use super::addresses::mistyped_variable;
use super::fields::{Fields, HIDDEN_MESSAGE, Told, is_hidden, kind};
use super::keys::{DerKind, bytes, der};
use crate::model::bootstrap::{ClientKeys, Provision, PskKey, Security, SecurityMode, Template};
use crate::model::credential::{MAX_IDENTITY_BYTES, MAX_KEY_BYTES, SecretBytes};

/// Bytes of a key that is made where nobody said how many: the suites of LwM2M have 128 bits, and small devices often
/// take no longer key.
const MADE_KEY_BYTES: u8 = 16;

/// Another server's word for [`PskKey::Random`]; the number of bytes stands between both.
const RANDOM_TEXT: (&str, &str) = ("${string.secureRandom(", ")}");

/// Words for security modes.
pub(super) const MODES: [(&str, SecurityMode); 4] = [
    ("nosec", SecurityMode::NoSec),
    ("psk", SecurityMode::Psk),
    ("rpk", SecurityMode::RawPublicKey),
    ("x509", SecurityMode::X509),
];

/// Fields that belong to some modes alone.
const FIELDS_OF_MODES: [(&str, &[SecurityMode]); 9] = [
    ("psk_identity", &[SecurityMode::Psk]),
    ("psk_key", &[SecurityMode::Psk]),
    ("client_public_key", &[SecurityMode::RawPublicKey]),
    ("server_public_key", &[SecurityMode::RawPublicKey]),
    ("client_certificate", &[SecurityMode::X509]),
    ("server_certificate", &[SecurityMode::X509]),
    ("certificate_usage", &[SecurityMode::X509]),
    ("client_private_key", &[SecurityMode::RawPublicKey, SecurityMode::X509]),
    ("matching_type", &[SecurityMode::RawPublicKey, SecurityMode::X509]),
];

/// The word for a mode.
pub(super) fn mode_word(mode: SecurityMode) -> &'static str {
    MODES.iter().find(|(_, listed)| *listed == mode).map_or("", |(word, _)| word)
}

/// Notes the fields that do not go with a mode.
pub(super) fn refuse_fields_of_others(fields: &mut Fields<'_, '_>, mode: SecurityMode) {
    for (field, modes) in FIELDS_OF_MODES.into_iter().filter(|(_, modes)| !modes.contains(&mode)) {
        if fields.has(field) {
            let belongs = modes.iter().map(|mode| mode_word(*mode)).collect::<Vec<_>>().join(" or ");
            let message = if fields.has("security_mode") {
                format!("goes with security_mode {belongs}, not {}", mode_word(mode))
            } else {
                format!("goes with security_mode {belongs}; say so")
            };
            fields.wrong::<()>(field, message);
        }
    }
    if mode == SecurityMode::NoSec && fields.has("sni") {
        fields.wrong::<()>("sni", "is said in a handshake of DTLS or TLS, and security_mode nosec has none");
    }
}

/// Reads what a mode needs. `is_foreign`: the server is another than this gateway.
pub(super) fn security(
    fields: &mut Fields<'_, '_>,
    mode: SecurityMode,
    provision: Option<&Provision>,
    is_foreign: bool,
) -> Option<Security> {
    match mode {
        SecurityMode::NoSec => Some(Security::NoSec),
        SecurityMode::Psk => {
            let identity = identity(fields);
            let key = psk_key(fields).ok();
            if matches!(key, Some(PskKey::Random(_))) {
                refuse_unknown_keys(fields, "psk_key", provision);
            }
            Some(Security::Psk { identity, key: key? })
        }
        SecurityMode::RawPublicKey => {
            let client = client(fields, "client_public_key", DerKind::PublicKey);
            if client == Some(ClientKeys::Made) {
                refuse_unknown_keys(fields, "client_private_key", provision);
            }
            let server = der(fields, "server_public_key", DerKind::PublicKey);
            require_of_others(fields, "server_public_key", is_foreign);
            Some(Security::RawPublicKey { client: client?, server })
        }
        SecurityMode::X509 => {
            let client = client(fields, "client_certificate", DerKind::Certificate);
            if client == Some(ClientKeys::Made) {
                refuse_unknown_keys(fields, "client_private_key", provision);
            }
            let server = der(fields, "server_certificate", DerKind::Certificate);
            require_of_others(fields, "server_certificate", is_foreign);
            let certificate_usage = fields.integer("certificate_usage", 0..=3);
            Some(Security::X509 { client: client?, server, certificate_usage })
        }
    }
}

fn identity(fields: &mut Fields<'_, '_>) -> Option<Template> {
    let text = fields.text("psk_identity", 1..=MAX_IDENTITY_BYTES)?;
    match mistyped_variable(text) {
        Some(problem) => fields.wrong("psk_identity", problem),
        None => Some(Template::new(text)),
    }
}

/// What `{"random": N}` may be.
const MOST_RANDOM: u32 = MAX_KEY_BYTES as u32;

fn psk_key(fields: &mut Fields<'_, '_>) -> Result<PskKey, Told> {
    match fields.get("psk_key") {
        None => Ok(PskKey::Random(MADE_KEY_BYTES)),
        Some(value) if is_hidden(value) => Err(fields.told("psk_key", HIDDEN_MESSAGE)),
        Some(Json::Object(_)) => {
            let mut random = fields.nested("psk_key", "a key to be made", &["random"]).ok_or(Told)?;
            if !random.has("random") {
                return Err(random.told("random", format!("is missing: how many bytes, 1 to {MOST_RANDOM}")));
            }
            random.integer("random", 1..=MOST_RANDOM).map(PskKey::Random).ok_or(Told)
        }
        Some(Json::String(text)) if text.starts_with("${") => {
            let (begin, end) = RANDOM_TEXT;
            let count = text.trim_end().strip_prefix(begin).and_then(|rest| rest.strip_suffix(end));
            let count = count.and_then(|digits| digits.parse::<u8>().ok());
            let count = count.filter(|count| (1..=MOST_RANDOM).contains(&u32::from(*count)));
            count.map(PskKey::Random).ok_or_else(|| {
                let message = format!("holds a variable other than {begin}N{end}, N from 1 to {MOST_RANDOM}");
                fields.told("psk_key", message)
            })
        }
        Some(Json::String(_)) => {
            let key = bytes(fields, "psk_key", 1..=MAX_KEY_BYTES).ok_or(Told)?;
            Ok(PskKey::Given(SecretBytes::new(&key)))
        }
        Some(other) => {
            let message = format!("is {}, not a text or {{\"random\": bytes}}", kind(other));
            Err(fields.told("psk_key", message))
        }
    }
}

/// The device's pair: both halves, or neither.
fn client(fields: &mut Fields<'_, '_>, public_field: &str, public_kind: DerKind) -> Option<ClientKeys> {
    const PRIVATE_FIELD: &str = "client_private_key";
    let has = (fields.has(public_field), fields.has(PRIVATE_FIELD));
    let public = der(fields, public_field, public_kind);
    let private = der(fields, PRIVATE_FIELD, DerKind::PrivateKey);
    match has {
        (false, false) => Some(ClientKeys::Made),
        (true, true) => Some(ClientKeys::Given { public: public?, private: SecretBytes::new(&private?) }),
        (true, false) => fields.wrong(
            PRIVATE_FIELD,
            format!("is missing: it goes with {public_field}; give both, or neither to have them made"),
        ),
        (false, true) => fields.wrong(
            public_field,
            format!("is missing: it goes with {PRIVATE_FIELD}; give both, or neither to have them made"),
        ),
    }
}

/// A key made here that no server is told of opens nothing.
fn refuse_unknown_keys(fields: &mut Fields<'_, '_>, field: &str, provision: Option<&Provision>) {
    if provision == Some(&Provision::None) {
        fields.wrong::<()>(
            field,
            "is made for each device, and nobody but the device would know it: give it, or set provision",
        );
    }
}

fn require_of_others(fields: &mut Fields<'_, '_>, field: &str, is_foreign: bool) {
    if is_foreign && !fields.has(field) {
        fields.wrong::<()>(
            field,
            "is missing: uri is that of another server, whose own is not known here; where it is this gateway, set \
             provision to self",
        );
    }
}
