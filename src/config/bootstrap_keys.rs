//! Keys of server accounts and device entries, described; what they may be is checked by
//! [`bootstrap_json`](crate::northbound::bootstrap_json).

use serde_json::{Value as Json, json};

use super::schema::{KeyDescription, key_schema, source_schema, table_schema};
use super::section::Kind;
use crate::northbound::bootstrap_json::FORMATS;

/// Kinds of values that nothing else in the configuration has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BootstrapKind {
    /// A pre-shared key, or `{ random = bytes }`.
    PskKey,
    /// Who is told of a device.
    Provision,
    /// Accounts by name or as a whole.
    Servers,
    /// Values by path.
    Writes,
    /// A list of paths.
    Paths,
    /// Instances of the Access Control object.
    AccessControl,
    /// A content format by name or number.
    Format,
    /// Objects by number or name.
    Objects,
}

impl BootstrapKind {
    /// Its JSON Schema.
    pub(super) fn schema(self) -> Json {
        let text = || json!({ "type": "string", "minLength": 1 });
        let sources = || [text(), source_schema("file"), source_schema("env")];
        match self {
            Self::PskKey => {
                let random = json!({
                    "type": "object",
                    "properties": { "random": { "type": "integer", "minimum": 1, "maximum": 64 } },
                    "required": ["random"],
                    "additionalProperties": false,
                });
                let kinds: Vec<Json> = sources().into_iter().chain([random]).collect();
                json!({ "oneOf": kinds })
            }
            Self::Provision => json!({ "oneOf": [
                { "enum": ["none", "self"] },
                {
                    "type": "object",
                    "properties": {
                        "type": { "enum": ["leshan", "thingsboard", "coiote"] },
                        "url": { "type": "string", "pattern": "^https?://" },
                        "user": text(),
                        "password": { "oneOf": sources() },
                        "domain": text(),
                    },
                    "required": ["type", "url"],
                    "additionalProperties": false,
                },
            ] }),
            Self::Servers => json!({ "type": "array", "items": { "oneOf": [text(), account_schema()] } }),
            Self::Writes => json!({ "type": "object", "propertyNames": { "pattern": "^/" } }),
            Self::Paths => json!({ "type": "array", "items": { "type": "string", "pattern": "^/" } }),
            Self::AccessControl => {
                let id = |least: u32| json!({ "type": "integer", "minimum": least, "maximum": 65_535 });
                json!({
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "object": id(1),
                            "instance": id(0),
                            "owner": id(0),
                            "acl": {
                                "type": "object",
                                "additionalProperties": { "type": "integer", "minimum": 0, "maximum": 31 },
                            },
                        },
                        "required": ["object", "instance"],
                        "additionalProperties": false,
                    },
                })
            }
            Self::Format => {
                let names = FORMATS.map(|(name, _)| json!(name));
                let words: Vec<Json> = names.into_iter().chain(FORMATS.map(|(_, number)| json!(number))).collect();
                json!({ "enum": words })
            }
            Self::Objects => json!({
                "type": "array",
                "items": { "oneOf": [{ "type": "integer", "minimum": 0, "maximum": 65_534 }, text()] },
            }),
        }
    }
}

/// The schema of an account inside an entry.
fn account_schema() -> Json {
    let mut schema = table_schema();
    for Key { name, kind, default, meaning } in account_keys() {
        let description = KeyDescription { section: String::new(), key: name, kind, default, meaning };
        schema["properties"][name] = key_schema(&description);
    }
    schema
}

/// A key and what it means.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Option<Json>,
    pub(super) meaning: &'static str,
}

const fn key(name: &'static str, kind: Kind, meaning: &'static str) -> Key {
    Key { name, kind, default: None, meaning }
}

fn with_default(name: &'static str, kind: Kind, default: impl Into<Json>, meaning: &'static str) -> Key {
    Key { name, kind, default: Some(default.into()), meaning }
}

fn seconds() -> Kind {
    number(0, u32::MAX)
}

fn number(least: u32, most: u32) -> Kind {
    Kind::Integer(i64::from(least)..=i64::from(most))
}

/// Keys of `[bootstrap.server.NAME]`.
pub(super) fn account_keys() -> Vec<Key> {
    use Kind::{Boolean, Choice, Secret, Text};
    let keys_of_security = [
        with_default(
            "security_mode",
            Choice(vec!["nosec", "psk", "rpk", "x509"]),
            "nosec",
            "How device and server prove who they are (/0/x/2).",
        ),
        key(
            "psk_identity",
            Text,
            "Identity of the pre-shared key (/0/x/3), with variables; by default the endpoint name.",
        ),
        key(
            "psk_key",
            Kind::Bootstrap(BootstrapKind::PskKey),
            "The pre-shared key (/0/x/5), hex or base64; by default 16 random bytes for each device.",
        ),
        key(
            "client_public_key",
            Secret,
            "The device's public key (/0/x/3), PEM, hex or base64; by default one is made for each device.",
        ),
        key(
            "client_certificate",
            Secret,
            "The device's certificate (/0/x/3), PEM, hex or base64; by default one is made for each device.",
        ),
        key("client_private_key", Secret, "The private key of either (/0/x/5): PKCS #8."),
        key("server_public_key", Secret, "The server's public key (/0/x/4); by default that of this gateway."),
        key(
            "server_certificate",
            Secret,
            "The server's certificate or that of its authority (/0/x/4); by default that of this gateway.",
        ),
        key("certificate_usage", number(0, 3), "How the server's certificate counts (/0/x/15, since 1.1)."),
        key(
            "matching_type",
            number(0, 3),
            "As what the device holds the server's key or certificate (/0/x/13, since 1.1).",
        ),
        key("sni", Text, "Name of the server that the device says in handshakes (/0/x/14, since 1.1)."),
    ];
    let keys_of_sms = [
        key("sms_number", Text, "Telephone number of the server (/0/x/9)."),
        key("sms_security_mode", number(0, 255), "Security of SMS (/0/x/6)."),
        key("sms_binding_key_parameters", Secret, "6 bytes for the security of SMS (/0/x/7), hex or base64."),
        key("sms_binding_secret_key", Secret, "Key for the security of SMS (/0/x/8), 16 to 48 bytes, hex or base64."),
    ];
    let keys_of_registration = [
        key(
            "registration_priority",
            seconds(),
            "Order in which the device registers with its servers (/1/x/13, since 1.1).",
        ),
        key("initial_registration_delay", seconds(), "Seconds before the first registration (/1/x/14, since 1.1)."),
        key(
            "registration_failure_block",
            Boolean,
            "Whether a failed registration stops those that follow (/1/x/15, since 1.1).",
        ),
        key(
            "bootstrap_on_registration_failure",
            Boolean,
            "Whether the device bootstraps again when registration fails (/1/x/16, since 1.1).",
        ),
        key("communication_retry_count", seconds(), "Attempts of one sequence (/1/x/17, since 1.1)."),
        key("communication_retry_timer", seconds(), "Seconds between attempts (/1/x/18, since 1.1)."),
        key("communication_sequence_delay_timer", seconds(), "Seconds between sequences (/1/x/19, since 1.1)."),
        key("communication_sequence_retry_count", seconds(), "Sequences of attempts (/1/x/20, since 1.1)."),
    ];
    let keys_of_server = [
        with_default("lifetime", seconds(), 86_400, "Lifetime of the registration in seconds (/1/x/1)."),
        key("default_min_period", seconds(), "Least seconds between notifications (/1/x/2)."),
        key("default_max_period", seconds(), "Most seconds between notifications (/1/x/3)."),
        with_default("disable_timeout", seconds(), 86_400, "Seconds for which the server stays disabled (/1/x/5)."),
        with_default(
            "notification_storing",
            Boolean,
            true,
            "Whether notifications are kept while the server is out of reach (/1/x/6).",
        ),
        key("trigger", Boolean, "Whether messages of the server wake the device by SMS (/1/x/21, since 1.1)."),
        key("preferred_transport", Text, "Letter of the transport that is tried first (/1/x/22, since 1.1)."),
        key("mute_send", Boolean, "Whether the device may not use Send (/1/x/23, since 1.1)."),
        key("apn_link", Text, "Connection profile as \"object:instance\" (/1/x/10, since 1.1)."),
    ];
    let mut keys = vec![
        with_default("type", Choice(vec!["management", "bootstrap"]), "management", "Kind of server (/0/x/1)."),
        with_default(
            "transport",
            Choice(vec!["udp", "tcp"]),
            "udp",
            "What carries CoAP; by default what the scheme of uri says.",
        ),
        key("ssid", number(1, 65_534), "Short server id (/0/x/10, /1/x/0); by default the lowest free one."),
        key(
            "uri",
            Text,
            "Host, host:port or whole URI of the server (/0/x/0), with variables; by default this gateway.",
        ),
        key("binding", Text, "Transports and queue mode (/1/x/7): U, UQ, S, SQ, US, UQS, or letters since 1.1."),
        key("client_hold_off_time", seconds(), "Seconds that the device waits before it bootstraps (/0/x/11)."),
        key(
            "bootstrap_server_account_timeout",
            seconds(),
            "Seconds after which the device forgets a bootstrap account (/0/x/12).",
        ),
    ];
    keys.extend(keys_of_security);
    keys.extend(keys_of_sms);
    keys.extend(keys_of_server);
    keys.extend(keys_of_registration);
    keys.push(key(
        "provision",
        Kind::Bootstrap(BootstrapKind::Provision),
        "Who is told of a device before its bootstrap ends; by default this gateway where uri is absent.",
    ));
    keys
}

/// Keys of `[bootstrap.device.NAME]`.
pub(super) fn entry_keys() -> Vec<Key> {
    use BootstrapKind::{AccessControl, Format, Objects, Paths, Servers, Writes};
    vec![
        key(
            "endpoints",
            Kind::Text,
            "Endpoint name or pattern that the entry is for; by default the name of the table.",
        ),
        key("servers", Kind::Bootstrap(Servers), "Accounts by name, or whole."),
        key("writes", Kind::Bootstrap(Writes), "Further values by path."),
        key("deletes", Kind::Bootstrap(Paths), "What is deleted first; by default what is written anew."),
        key("acls", Kind::Bootstrap(AccessControl), "Instances of the Access Control object (2)."),
        key("format", Kind::Bootstrap(Format), "Content format; by default what the device prefers."),
        with_default("write_by", Kind::Choice(vec!["instance", "object"]), "instance", "How much one write carries."),
        key("order", Kind::Bootstrap(Objects), "Objects in the order in which they are written."),
        key("verify", Kind::Boolean, "Whether what was written is read back; by default from 1.1 on."),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::northbound::bootstrap_json::{ACCOUNT_FIELDS, ENTRY_FIELDS};

    fn names(keys: Vec<Key>) -> BTreeSet<&'static str> {
        keys.into_iter().map(|key| key.name).collect()
    }

    #[test]
    fn the_keys_are_the_fields_of_the_interface() {
        assert_eq!(names(account_keys()), BTreeSet::from(ACCOUNT_FIELDS));
        let fields: BTreeSet<&str> = ENTRY_FIELDS.into_iter().chain(["endpoints"]).collect();
        assert_eq!(names(entry_keys()), fields);
    }

    #[test]
    fn the_docs_have_every_key() {
        let page = include_str!("../../docs/bootstrap.md");
        for Key { name, .. } in account_keys().into_iter().chain(entry_keys()).filter(|key| key.name != "endpoints") {
            assert!(page.contains(&format!("\n| `{name}` | ")), "{name}");
        }
    }
}
