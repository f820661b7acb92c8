//! From a device entry, as the own API shows it, to a `BootstrapConfig`.

use std::collections::BTreeSet;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use serde_json::{Map, Value as Json, json};

use super::{
    CERTIFICATE_USAGES, FORMATS, MATCHING_TYPES, OSCORE, OSCORE_BYTES, SECURITY_MODES, SERVER_BOOLEANS, SERVER_NUMBERS,
    SMS_SECURITY_MODES,
};

/// What Leshan would show of the entry `name`. `account` finds accounts that stand by themselves; entries name them.
#[must_use]
pub fn configuration_of<'a>(name: &str, entry: &'a Json, account: impl Fn(&str) -> Option<&'a Json>) -> Json {
    let named = entry["servers"].as_array().into_iter().flatten();
    let accounts: Vec<&Json> = named
        .filter_map(|server| match server {
            Json::String(name) => account(name),
            _ => Some(server),
        })
        .collect();
    let is_bootstrap = |account: &&&Json| account["type"] == "bootstrap";
    let (mut security, mut servers) = (Map::new(), Map::new());
    for bootstrap in accounts.iter().filter(is_bootstrap) {
        security.insert(security.len().to_string(), security_of(name, bootstrap, None));
    }
    let first = security.len().max(1);
    let managing: Vec<&&Json> = accounts.iter().filter(|account| !is_bootstrap(account)).collect();
    for (position, (account, short_id)) in managing.iter().zip(short_ids(&managing)).enumerate() {
        security.insert((first + position).to_string(), security_of(name, account, Some(short_id)));
        servers.insert(position.to_string(), server_of(account, short_id));
    }
    let mut configuration = json!({
        "autoIdForSecurityObject": true,
        "toDelete": entry.get("deletes").filter(|deletes| deletes.is_array()).cloned().unwrap_or_else(|| json!([])),
        "servers": servers,
        "security": security,
        "acls": access_control(entry),
        "oscore": oscore(entry),
    });
    if let Some(format) = format_of(&entry["format"]) {
        configuration["contentFormat"] = format;
    }
    configuration
}

/// Short ids: as given, else the lowest that no other account of the entry has.
fn short_ids(accounts: &[&&Json]) -> Vec<u64> {
    let mut taken: BTreeSet<u64> = accounts.iter().filter_map(|account| account["ssid"].as_u64()).collect();
    let free = |taken: &BTreeSet<u64>| (1..=u64::from(u16::MAX)).find(|id| !taken.contains(id)).unwrap_or_default();
    accounts
        .iter()
        .map(|account| {
            let id = account["ssid"].as_u64().unwrap_or_else(|| free(&taken));
            taken.insert(id);
            id
        })
        .collect()
}

fn security_of(name: &str, account: &Json, short_id: Option<u64>) -> Json {
    let mode = account["security_mode"].as_str().unwrap_or("nosec");
    let shown_mode = SECURITY_MODES.iter().find(|(_, ours)| *ours == mode).map_or("NO_SEC", |(theirs, _)| theirs);
    let (public, server) = match mode {
        "psk" => (account["psk_identity"].as_str().unwrap_or(name).as_bytes().to_vec(), Vec::new()),
        "rpk" => (bytes_of(&account["client_public_key"]), bytes_of(&account["server_public_key"])),
        "x509" => (bytes_of(&account["client_certificate"]), bytes_of(&account["server_certificate"])),
        _ => (Vec::new(), Vec::new()),
    };
    let sms_mode = name_of(&account["sms_security_mode"], &SMS_SECURITY_MODES).unwrap_or("NO_SEC");
    let mut security = json!({
        "bootstrapServer": short_id.is_none(),
        "securityMode": shown_mode,
        "publicKeyOrId": public,
        "serverPublicKey": server,
        // Secrets are not told.
        "secretKey": [],
        "smsSecurityMode": sms_mode,
        "smsBindingKeyParam": bytes_of(&account["sms_binding_key_parameters"]),
        "smsBindingKeySecret": [],
        "serverSmsNumber": account["sms_number"].as_str().unwrap_or_default(),
    });
    for (theirs, value) in [
        ("uri", account["uri"].as_str().map(Json::from)),
        ("serverId", short_id.map(Json::from)),
        ("clientOldOffTime", account["client_hold_off_time"].as_u64().map(Json::from)),
        ("bootstrapServerAccountTimeout", account["bootstrap_server_account_timeout"].as_u64().map(Json::from)),
        ("matchingType", name_of(&account["matching_type"], &MATCHING_TYPES).map(Json::from)),
        ("sni", account["sni"].as_str().map(Json::from)),
        ("certificateUsage", name_of(&account["certificate_usage"], &CERTIFICATE_USAGES).map(Json::from)),
    ] {
        if let Some(value) = value {
            security[theirs] = value;
        }
    }
    security
}

fn server_of(account: &Json, short_id: u64) -> Json {
    let mut server = json!({ "shortId": short_id });
    for (theirs, ours) in SERVER_NUMBERS {
        if account[ours].is_u64() {
            server[theirs] = account[ours].clone();
        }
    }
    for (theirs, ours) in SERVER_BOOLEANS {
        if account[ours].is_boolean() {
            server[theirs] = account[ours].clone();
        }
    }
    for (theirs, ours) in [("binding", "binding"), ("preferredTransport", "preferred_transport")] {
        if let Some(text) = account[ours].as_str() {
            server[theirs] = text.into();
        }
    }
    let apn = account["apn_link"].as_str().and_then(|link| link.split_once(':')?.1.parse::<u16>().ok());
    if let Some(apn) = apn {
        server["apnLink"] = apn.into();
    }
    server
}

fn access_control(entry: &Json) -> Map<String, Json> {
    let shown = |(position, acl): (usize, &Json)| {
        let shown = json!({
            "objectId": acl["object"],
            "objectInstanceId": acl["instance"],
            "acls": acl["acl"],
            "AccessControlOwner": acl["owner"],
        });
        (position.to_string(), shown)
    };
    entry["acls"].as_array().into_iter().flatten().enumerate().map(shown).collect()
}

/// Which OSCORE instances are written. All of them is secret; writes to other objects have no place here.
fn oscore(entry: &Json) -> Map<String, Json> {
    let mut instances = Map::new();
    for path in entry["writes"].as_object().into_iter().flat_map(Map::keys) {
        let mut ids = path.split('/').skip(1).map_while(|id| id.parse::<u16>().ok());
        if let (Some(OSCORE), Some(instance)) = (ids.next(), ids.next()) {
            let shown = OSCORE_BYTES.map(|(name, _)| (name.to_owned(), json!([])));
            instances.insert(instance.to_string(), Json::Object(shown.into_iter().collect()));
        }
    }
    instances
}

fn format_of(format: &Json) -> Option<Json> {
    let fits = |(number, name, ..): &&(u64, &str, &str, &str)| {
        format.as_str().is_some_and(|text| text == *name) || format.as_u64() == Some(*number)
    };
    let (number, _, name, media_type) = FORMATS.iter().find(fits)?;
    Some(json!({ "name": name, "mediaType": media_type, "code": number }))
}

fn name_of(value: &Json, names: &[(&'static str, u64)]) -> Option<&'static str> {
    let number = value.as_u64()?;
    names.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

/// Bytes as accounts have them: PEM, hex or base64; none where they are made for each device, or are secret.
fn bytes_of(value: &Json) -> Vec<u8> {
    let Some(text) = value.as_str() else { return Vec::new() };
    if let Ok(bytes) = HEXLOWER_PERMISSIVE.decode(text.as_bytes()) {
        return bytes;
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    BASE64.decode(lines.collect::<String>().as_bytes()).unwrap_or_default()
}
