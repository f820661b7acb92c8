//! From a `BootstrapConfig` to a device entry.

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Map, Value as Json, json};

use super::{
    CERTIFICATE_USAGES, FORMATS, MATCHING_TYPES, OSCORE, OSCORE_BYTES, OSCORE_NUMBERS, SECURITY_MODES, SERVER_BOOLEANS,
    SERVER_NUMBERS, SMS_SECURITY_MODES,
};
use crate::model::path::RESERVED_ID;
use crate::northbound::field_reader::FieldReader;

/// What a configuration becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// A device entry with all that could be carried over, in the shape of the own API. Holds secrets.
    pub json: Json,
    /// What could not, or is wrong, each with its place. Holds no secret.
    pub problems: Vec<String>,
}

/// Reads a configuration.
#[must_use]
pub fn entry_of(configuration: &Json) -> Entry {
    let Some(fields) = configuration.as_object() else {
        return Entry { json: json!({}), problems: vec!["a configuration is an object".to_owned()] };
    };
    let mut reader = FieldReader::new(fields);
    let mut entry = json!({ "verify": false });
    let servers = servers(&mut reader);
    let accounts = accounts(&mut reader, servers);
    entry["servers"] = Json::Array(accounts);
    entry["deletes"] = deletes(&mut reader);
    let acls = access_control(&mut reader);
    if !acls.is_empty() {
        entry["acls"] = Json::Array(acls);
    }
    let writes = oscore(&mut reader);
    if !writes.is_empty() {
        entry["writes"] = Json::Object(writes);
    }
    if let Some(format) = format_name(&mut reader) {
        entry["format"] = format.into();
    }
    // Ids are always chosen: asking for it changes nothing.
    reader.boolean("autoIdForSecurityObject");
    Entry { json: entry, problems: reader.finish() }
}

/// A server instance, and where it stood.
struct Server {
    at: String,
    account: Map<String, Json>,
}

/// The server instances by short id, each with what it has to say of an account.
fn servers(configuration: &mut FieldReader<'_>) -> BTreeMap<u64, Server> {
    let mut servers = BTreeMap::new();
    for (id, instance) in configuration.instances("servers") {
        let at = format!("servers.{id}");
        let mut reader = configuration.within(&at, instance);
        let short_id = reader.number("shortId");
        let account = server(&mut reader);
        match short_id {
            None | Some(0) => reader.problem("shortId", "is missing: a number from 1 to 65534"),
            Some(id) if servers.contains_key(&id) => reader.problem("shortId", "is that of another server too"),
            Some(id) => drop(servers.insert(id, Server { at, account })),
        }
        configuration.close(reader);
    }
    servers
}

fn server(reader: &mut FieldReader<'_>) -> Map<String, Json> {
    let mut account = Map::new();
    for (theirs, ours) in SERVER_NUMBERS {
        let number = match theirs {
            "lifetime" => reader.number_or(theirs, 86_400),
            "defaultMinPeriod" => reader.number_or(theirs, 1),
            _ => reader.number(theirs),
        };
        account.extend(number.map(|number| (ours.to_owned(), number.into())));
    }
    for (theirs, ours) in SERVER_BOOLEANS {
        account.extend(reader.boolean(theirs).map(|value| (ours.to_owned(), value.into())));
    }
    let apn = reader.number("apnLink");
    for (ours, text) in [
        ("binding", reader.text("binding").map(str::to_owned)),
        ("preferred_transport", reader.text("preferredTransport").map(str::to_owned)),
        ("apn_link", apn.map(|instance| format!("11:{instance}"))),
    ] {
        account.extend(text.map(|text| (ours.to_owned(), text.into())));
    }
    account
}

/// An account for each security instance, with the server that it names.
fn accounts(configuration: &mut FieldReader<'_>, mut servers: BTreeMap<u64, Server>) -> Vec<Json> {
    let mut accounts = Vec::new();
    for (id, instance) in configuration.instances("security") {
        let mut reader = configuration.within(&format!("security.{id}"), instance);
        let account = account(&mut reader, &mut servers);
        configuration.close(reader);
        accounts.extend(account.map(Json::Object));
    }
    for server in servers.values() {
        configuration.problem(&server.at, "no security instance has its shortId");
    }
    accounts
}

fn account(reader: &mut FieldReader<'_>, servers: &mut BTreeMap<u64, Server>) -> Option<Map<String, Json>> {
    let is_bootstrap = reader.boolean("bootstrapServer").unwrap_or(false);
    let short_id = reader.number("serverId");
    let mut account = match short_id.filter(|_| !is_bootstrap) {
        _ if is_bootstrap => Some(Map::new()),
        None => {
            reader.problem("serverId", "is missing: the shortId of a server");
            None
        }
        Some(id) => {
            let server = servers.remove(&id);
            if server.is_none() {
                reader.problem("serverId", "no server has this shortId, or another security instance took it");
            }
            server.map(|server| server.account)
        }
    };
    let uri = reader.text("uri");
    if uri.is_none() {
        reader.problem("uri", "is missing");
    }
    let security = security(reader);
    let further = further(reader, is_bootstrap);
    let sms = sms(reader, account.as_ref().and_then(|account| account.get("binding")));
    for (name, message) in [
        ("cipherSuite", "cipher suites are not handed out"),
        ("oscoreSecurityMode", "a link to an OSCORE instance is not handed out"),
    ] {
        if reader.get(name).is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty())) {
            reader.problem(name, message);
        }
    }
    // All of them are read before one that is missing ends it.
    let (fields, security, uri) = (account.as_mut()?, security?, uri?);
    let over_tcp = uri.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("coap+tcp"))
        || uri.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("coaps+tcp"));
    fields.insert("type".to_owned(), if is_bootstrap { "bootstrap" } else { "management" }.into());
    fields.insert("transport".to_owned(), if over_tcp { "tcp" } else { "udp" }.into());
    fields.insert("uri".to_owned(), uri.into());
    fields.insert("provision".to_owned(), "none".into());
    if let Some(short_id) = short_id.filter(|_| !is_bootstrap) {
        fields.insert("ssid".to_owned(), short_id.into());
    }
    fields.extend(security.into_iter().chain(further).chain(sms));
    account
}

/// Mode and keys. Keys are written in hex, which is read before base64.
fn security(reader: &mut FieldReader<'_>) -> Option<Map<String, Json>> {
    let modes: Vec<(&str, u64)> = (0..).zip(SECURITY_MODES).map(|(number, (name, _))| (name, number)).collect();
    if reader.get("securityMode").is_none() {
        reader.problem("securityMode", "is missing: PSK, RPK, X509 or NO_SEC");
    }
    let number = reader.named("securityMode", &modes);
    let public = reader.bytes("publicKeyOrId");
    let server = reader.bytes("serverPublicKey");
    let secret = reader.bytes("secretKey");
    let (_, mode) = *SECURITY_MODES.get(usize::try_from(number?).ok()?)?;
    let mut account = Map::new();
    account.insert("security_mode".to_owned(), mode.into());
    if mode == "nosec" {
        let given = public.is_some() || server.is_some() || secret.is_some();
        if given {
            reader.problem("securityMode", "NO_SEC goes without keys");
        }
        return Some(account).filter(|_| !given);
    }
    if secret.is_none() {
        reader.problem("secretKey", "is missing: secrets are not shown, so what was read cannot be put again");
    }
    if public.is_none() {
        reader.problem("publicKeyOrId", "is missing");
    }
    if server.is_none() && mode != "psk" {
        reader.problem("serverPublicKey", "is missing");
    }
    let (public, secret) = (public?, HEXLOWER.encode(&secret?));
    let mut put = |name: &str, text: String| account.insert(name.to_owned(), text.into());
    if mode == "psk" {
        let Ok(identity) = String::from_utf8(public) else {
            reader.problem("publicKeyOrId", "an identity is text in UTF-8");
            return None;
        };
        put("psk_identity", identity);
        put("psk_key", secret);
    } else {
        let (ours, theirs) = match mode {
            "rpk" => ("client_public_key", "server_public_key"),
            _ => ("client_certificate", "server_certificate"),
        };
        put(theirs, HEXLOWER.encode(&server?));
        put(ours, HEXLOWER.encode(&public));
        put("client_private_key", secret);
    }
    Some(account)
}

/// What goes with each mode.
fn further(reader: &mut FieldReader<'_>, is_bootstrap: bool) -> Vec<(String, Json)> {
    let hold_off = reader.number_or("clientOldOffTime", 1);
    let timeout = reader.number_or("bootstrapServerAccountTimeout", 0).filter(|_| is_bootstrap);
    let usage = reader.named("certificateUsage", &CERTIFICATE_USAGES);
    let matching = reader.named("matchingType", &MATCHING_TYPES);
    let sni = reader.text("sni");
    let numbers = [
        ("client_hold_off_time", hold_off),
        ("bootstrap_server_account_timeout", timeout),
        ("certificate_usage", usage),
        ("matching_type", matching),
    ];
    let numbers = numbers.into_iter().filter_map(|(name, number)| Some((name.to_owned(), number?.into())));
    numbers.chain(sni.map(|sni| ("sni".to_owned(), sni.into()))).collect()
}

/// What the SMS binding needs. Leshan's page always writes these; without an S in the binding they mean nothing.
fn sms(reader: &mut FieldReader<'_>, binding: Option<&Json>) -> Vec<(String, Json)> {
    let mode = reader.named("smsSecurityMode", &SMS_SECURITY_MODES);
    let parameters = reader.bytes("smsBindingKeyParam").map(|bytes| HEXLOWER.encode(&bytes));
    let secret = reader.bytes("smsBindingKeySecret").map(|bytes| HEXLOWER.encode(&bytes));
    let number = reader.text("serverSmsNumber");
    let is_used = binding.and_then(Json::as_str).is_some_and(|letters| letters.contains('S'));
    if !is_used {
        if number.is_some() || parameters.is_some() || secret.is_some() {
            reader.problem("serverSmsNumber", "SMS needs a binding with an S");
        }
        return Vec::new();
    }
    let fields = [
        ("sms_security_mode", mode.map(Json::from)),
        ("sms_binding_key_parameters", parameters.map(Json::from)),
        ("sms_binding_secret_key", secret.map(Json::from)),
        ("sms_number", number.map(Json::from)),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Nothing is deleted but what is named, as in Leshan.
fn deletes(reader: &mut FieldReader<'_>) -> Json {
    let Some(value) = reader.get("toDelete") else { return json!([]) };
    let paths = value.as_array().filter(|paths| paths.iter().all(Json::is_string));
    if paths.is_none() {
        reader.problem("toDelete", "is no list of paths");
    }
    paths.cloned().unwrap_or_default().into()
}

fn access_control(configuration: &mut FieldReader<'_>) -> Vec<Json> {
    let mut all = Vec::new();
    for (id, instance) in configuration.instances("acls") {
        let mut reader = configuration.within(&format!("acls.{id}"), instance);
        // The bootstrap server is the owner of what has none.
        let owner = reader.number("AccessControlOwner").unwrap_or_else(|| RESERVED_ID.into());
        let numbers = ["objectId", "objectInstanceId"].map(|name| {
            let number = reader.number(name);
            if number.is_none() {
                reader.problem(name, "is missing");
            }
            number
        });
        let rights = reader.get("acls").cloned().unwrap_or_else(|| json!({}));
        configuration.close(reader);
        if let [Some(object), Some(object_instance)] = numbers {
            all.push(json!({ "object": object, "instance": object_instance, "owner": owner, "acl": rights }));
        }
    }
    all
}

/// OSCORE instances as further writes.
fn oscore(configuration: &mut FieldReader<'_>) -> Map<String, Json> {
    let mut writes = Map::new();
    for (id, instance) in configuration.instances("oscore") {
        let mut reader = configuration.within(&format!("oscore.{id}"), instance);
        let mut resources = Map::new();
        for (name, resource) in OSCORE_BYTES {
            let bytes = reader.bytes(name);
            if bytes.is_none() && resource == 0 {
                reader.problem(name, "is missing: secrets are not shown, so what was read cannot be put again");
            }
            resources.extend(bytes.map(|bytes| (resource.to_string(), BASE64.encode(&bytes).into())));
        }
        for (name, resource) in OSCORE_NUMBERS {
            resources.extend(reader.number(name).map(|number| (resource.to_string(), number.into())));
        }
        configuration.close(reader);
        if resources.contains_key("0") {
            let resources = resources.into_iter();
            writes.extend(resources.map(|(resource, value)| (format!("/{OSCORE}/{id}/{resource}"), value)));
        }
    }
    writes
}

/// By number, by name, or as the object that Leshan shows.
fn format_name(reader: &mut FieldReader<'_>) -> Option<&'static str> {
    let value = reader.get("contentFormat")?;
    let value = value.get("code").unwrap_or(value);
    let known = FORMATS.iter().find(|(number, _, name, _)| {
        value.as_u64() == Some(*number) || value.as_str().is_some_and(|text| text == *name)
    });
    if known.is_none() {
        reader.problem("contentFormat", "is none of 11542 (TLV), 11543 (JSON), 110 and 112 (SenML)");
    }
    known.map(|(_, name, ..)| *name)
}
