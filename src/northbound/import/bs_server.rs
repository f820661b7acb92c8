//! Configurations of the npm package `lwm2m-bs-server`, by client name.
//!
//! A text is written to the device as it stands, so that the bytes of a pre-shared key are those of its text; what Node
//! shows of a buffer, `{"type":"Buffer","data":[..]}`, are its bytes. Keys and certificates of the other modes may also
//! be texts in PEM, hex or base64.

use data_encoding::HEXLOWER;
use serde_json::{Map, Value as Json, json};

use super::Imported;
use crate::northbound::field_reader::FieldReader;

/// Numbers, by their name there and ours.
const NUMBERS: [(&str, &str); 7] = [
    ("shortServerId", "ssid"),
    ("clientHoldOffTime", "client_hold_off_time"),
    ("lifetime", "lifetime"),
    ("defaultMinPeriod", "default_min_period"),
    ("defaultMaxPeriod", "default_max_period"),
    ("disableTimeout", "disable_timeout"),
    ("smsSecurityMode", "sms_security_mode"),
];

/// Modes by number.
const MODES: [(&str, u64); 4] = [("psk", 0), ("rpk", 1), ("x509", 2), ("nosec", 3)];

const CLIENT_NAME: &str = "clientName";
const SERVER_URI: &str = "serverURI";

pub(super) fn import(file: &Json, endpoint: Option<&str>) -> Result<Imported, String> {
    let mut imported = Imported::default();
    let own_name = file[CLIENT_NAME].as_str();
    let is_one = file.is_array() || file.get(SERVER_URI).is_some() || own_name.is_some();
    if is_one {
        let name = endpoint.or(own_name).ok_or("is the configuration of one client; name it by --endpoint")?;
        imported.client(name, file);
        return Ok(imported);
    }
    if endpoint.is_some() {
        return Err("names the clients itself; --endpoint has no place".to_owned());
    }
    let clients = file.as_object().ok_or("is no object of configurations by client name")?;
    for (name, configurations) in clients {
        imported.client(name, configurations);
    }
    Ok(imported)
}

impl Imported {
    fn client(&mut self, name: &str, configurations: &Json) {
        let about = format!("device {name}");
        let mut servers = Vec::new();
        for (position, configuration) in listed(configurations).into_iter().enumerate() {
            let place = format!("{about}, configuration {position}");
            let Some(fields) = configuration.as_object() else {
                self.note(&place, "is no object");
                continue;
            };
            let mut reader = FieldReader::new(fields);
            let account = account(&mut reader);
            for problem in reader.finish() {
                self.note(&place, &problem);
            }
            servers.extend(account);
        }
        self.devices.insert(name.to_owned(), json!({ "servers": servers, "deletes": ["/"] }));
    }
}

/// One configuration, a list, or what `list` gives: an object of them by number.
fn listed(configurations: &Json) -> Vec<&Json> {
    match configurations {
        Json::Array(list) => list.iter().collect(),
        Json::Object(fields) if !fields.contains_key(SERVER_URI) => {
            fields.iter().filter(|(name, _)| *name != CLIENT_NAME).map(|(_, configuration)| configuration).collect()
        }
        one => vec![one],
    }
}

fn account(reader: &mut FieldReader<'_>) -> Option<Json> {
    let mut account = Map::new();
    account.insert("type".to_owned(), "management".into());
    account.insert("provision".to_owned(), "none".into());
    // The name of the client may stand in each configuration, too.
    reader.get(CLIENT_NAME);
    let uri = reader.text(SERVER_URI);
    if uri.is_none() {
        reader.problem(SERVER_URI, "is missing; the configuration is left out");
    }
    for (theirs, ours) in NUMBERS {
        account.extend(reader.number(theirs).map(|number| (ours.to_owned(), number.into())));
    }
    account
        .extend(reader.boolean("notificationStoring").map(|value| ("notification_storing".to_owned(), value.into())));
    account.extend(reader.text("binding").map(|text| ("binding".to_owned(), text.into())));
    account.extend(reader.text("lwm2mServerSmsNum").map(|text| ("sms_number".to_owned(), text.into())));
    let number = reader.named_or("securityMode", &MODES, 3);
    let (mode, _) = MODES.iter().find(|(_, known)| Some(*known) == number)?;
    let texts = match *mode {
        "psk" => [("pubKeyId", "psk_identity"), ("serverPubKeyId", ""), ("secretKey", "psk_key")],
        "rpk" => [
            ("pubKeyId", "client_public_key"),
            ("serverPubKeyId", "server_public_key"),
            ("secretKey", "client_private_key"),
        ],
        "x509" => [
            ("pubKeyId", "client_certificate"),
            ("serverPubKeyId", "server_certificate"),
            ("secretKey", "client_private_key"),
        ],
        _ => [("pubKeyId", ""), ("serverPubKeyId", ""), ("secretKey", "")],
    };
    let sms = [("smsBindingKeyParam", "sms_binding_key_parameters"), ("smsBindingSecretKey", "sms_binding_secret_key")];
    for (theirs, ours) in texts.into_iter().chain(sms) {
        let value = value(reader, theirs, ours);
        account.extend(value.filter(|_| !ours.is_empty()).map(|text| (ours.to_owned(), text.into())));
    }
    account.insert("security_mode".to_owned(), (*mode).into());
    account.insert("uri".to_owned(), uri?.into());
    Some(Json::Object(account))
}

/// A text or buffer in the form that `ours` wants.
fn value(reader: &mut FieldReader<'_>, theirs: &'static str, ours: &str) -> Option<String> {
    let value = reader.get(theirs)?;
    if let Some(text) = value.as_str() {
        return Some(text).filter(|text| !text.is_empty()).map(|text| match ours {
            "psk_key" | "sms_binding_key_parameters" | "sms_binding_secret_key" => HEXLOWER.encode(text.as_bytes()),
            _ => text.to_owned(),
        });
    }
    let bytes = value["data"].as_array().filter(|_| value["type"] == "Buffer");
    let bytes =
        bytes.and_then(|bytes| bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect::<Option<_>>());
    let Some(bytes): Option<Vec<u8>> = bytes else {
        reader.problem(theirs, "is neither a text nor a buffer");
        return None;
    };
    if ours != "psk_identity" {
        return Some(HEXLOWER.encode(&bytes)).filter(|text| !text.is_empty());
    }
    let text = String::from_utf8(bytes).ok();
    if text.is_none() {
        reader.problem(theirs, "an identity is text in UTF-8");
    }
    text.filter(|text| !text.is_empty())
}
