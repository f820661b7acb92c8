//! The bootstrap section of ThingsBoard's device profiles, and the credentials of devices.
//!
//! A profile says which servers there are, the credentials of a device by what it proves itself there. So servers
//! without security become accounts that stand by themselves, and those with security accounts of each device. A file
//! may hold a profile alone, or in a list, or as `{"profile", "credentials"}`, credentials beside it.

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Map, Value as Json, json};

use super::{Imported, account_name};
use crate::northbound::field_reader::FieldReader;

/// Numbers of a server, by their name there and ours, and what they are where a profile gives none.
const NUMBERS: [(&str, &str, u64); 2] = [("lifetime", "lifetime", 300), ("defaultMinPeriod", "default_min_period", 1)];

/// The identity that a device has at a server where the profile gives none.
const DEFAULT_SHORT_ID: u64 = 123;

const MODES: [(&str, u64); 4] = [("PSK", 0), ("RPK", 1), ("X509", 2), ("NO_SEC", 3)];

/// The number of the mode without security.
const NO_SEC: u64 = 3;

/// A server of a profile.
struct Server {
    /// What it is called in notes.
    about: String,
    mode: u64,
    is_bootstrap: bool,
    /// The account without what the device proves itself by.
    account: Map<String, Json>,
}

pub(super) fn import(file: &Json, endpoint: Option<&str>) -> Result<Imported, String> {
    let (profiles, credentials) = documents(file);
    let [profile] = profiles.as_slice() else {
        return Err(match profiles.len() {
            0 => "holds no LwM2M device profile: there is no list 'bootstrap'".to_owned(),
            _ => "holds more than one device profile; import them one by one".to_owned(),
        });
    };
    let mut imported = Imported::default();
    if profile.maps {
        imported.note("observeAttr", "what is observed, and under which keys, is no part of this");
    }
    let servers = imported.servers_of(profile.servers);
    let mut common = Vec::new();
    for server in servers.iter().filter(|server| server.mode == NO_SEC) {
        let id = server.account.get("ssid").and_then(Json::as_u64);
        let id = id.map_or_else(|| "bootstrap".to_owned(), |id| id.to_string());
        let name = account_name(&format!("{}-{id}", profile.name));
        imported.servers.insert(name.clone(), Json::Object(server.account.clone()));
        common.push(name);
    }
    for credentials in &credentials {
        imported.device(credentials, &servers, &common);
    }
    let names = endpoint.map_or_else(|| if credentials.is_empty() { Some("*") } else { None }, Some);
    if let Some(name) = names {
        for server in servers.iter().filter(|server| server.mode != NO_SEC) {
            let what = "its keys are those of each device: give the credentials of the devices in the same file";
            imported.note(&server.about, what);
        }
        if name == "*" {
            let what =
                "the profile names no device: the entry is for '*', which counts with unknown_devices = \"template\"";
            imported.note("profile", what);
        }
        imported.devices.insert(name.to_owned(), json!({ "servers": common }));
    }
    Ok(imported)
}

/// A profile by its name and its list of servers.
struct Profile<'a> {
    name: &'a str,
    servers: &'a [Json],
    /// Whether it says what becomes of values, too.
    maps: bool,
}

/// All profiles and credentials of a file.
fn documents(file: &Json) -> (Vec<Profile<'_>>, Vec<Json>) {
    let (mut profiles, mut credentials) = (Vec::new(), Vec::new());
    let parts: Vec<&Json> = match file {
        Json::Array(parts) => parts.iter().collect(),
        _ => match (file.get("profile"), file.get("credentials")) {
            (None, None) => vec![file],
            (profile, given) => {
                let given =
                    given.map(|given| given.as_array().map_or_else(|| vec![given], |list| list.iter().collect()));
                profile.into_iter().chain(given.unwrap_or_default()).collect()
            }
        },
    };
    for part in parts {
        let configuration = part.pointer("/profileData/transportConfiguration");
        let configuration = configuration.or_else(|| part.get("transportConfiguration")).unwrap_or(part);
        if let Some(servers) = configuration["bootstrap"].as_array() {
            profiles.push(Profile {
                name: part["name"].as_str().unwrap_or("thingsboard"),
                servers,
                maps: configuration["observeAttr"].is_object(),
            });
        } else if let Some(text) = part["credentialsValue"].as_str() {
            let mut value: Json = serde_json::from_str(text).unwrap_or_default();
            if value["client"].get("endpoint").is_none() && part["credentialsId"].is_string() {
                value["client"]["endpoint"] = part["credentialsId"].clone();
            }
            credentials.push(value);
        } else if part.get("client").is_some() {
            credentials.push(part.clone());
        }
    }
    (profiles, credentials)
}

impl Imported {
    fn servers_of(&mut self, list: &[Json]) -> Vec<Server> {
        let mut servers = Vec::new();
        for (position, item) in list.iter().enumerate() {
            let about = format!("bootstrap[{position}]");
            let Some(fields) = item.as_object() else {
                self.note(&about, "is no object");
                continue;
            };
            let mut reader = FieldReader::new(fields);
            let server = server(&mut reader, &about);
            for problem in reader.finish() {
                self.note(&about, &problem);
            }
            servers.extend(server);
        }
        servers
    }

    /// The entry of one device.
    fn device(&mut self, credentials: &Json, servers: &[Server], common: &[String]) {
        let Some(endpoint) = credentials["client"]["endpoint"].as_str().filter(|text| !text.is_empty()) else {
            self.note("credentials", "name no endpoint");
            return;
        };
        let mut names = common.iter();
        let mut list: Vec<Json> = Vec::new();
        for server in servers {
            if server.mode == NO_SEC {
                list.extend(names.next().map(|name| name.as_str().into()));
                continue;
            }
            let key = if server.is_bootstrap { "bootstrapServer" } else { "lwm2mServer" };
            match proven(server, &credentials["bootstrap"][key]) {
                Ok(account) => list.push(account),
                Err(reason) => {
                    let about = format!("device {endpoint}, {}", server.about);
                    self.note(&about, &format!("credentials.bootstrap.{key}: {reason}; the account is left out"));
                }
            }
        }
        if credentials["client"]["securityConfigClientMode"].as_str().is_some_and(|mode| mode != "NO_SEC") {
            let what =
                "by what it proves itself to the servers is no part of the configuration: put it with device import";
            self.note(&format!("device {endpoint}"), what);
        }
        self.devices.insert(endpoint.to_owned(), json!({ "servers": list }));
    }
}

fn server(reader: &mut FieldReader<'_>, about: &str) -> Option<Server> {
    let mode = reader.named_or("securityMode", &MODES, NO_SEC)?;
    let is_bootstrap = reader.boolean("bootstrapServerIs").unwrap_or(false);
    let short_id = reader.number_or("shortServerId", DEFAULT_SHORT_ID);
    let (host, port) = (reader.text("host"), reader.number("port"));
    let hold_off = reader.number_or("clientHoldOffTime", 1);
    let timeout = reader.number_or("bootstrapServerAccountTimeout", 0);
    let (public_key, certificate) = (reader.text("serverPublicKey"), reader.text("serverCertificate"));
    let mut account = Map::new();
    for (theirs, ours, default) in NUMBERS {
        let number = reader.number_or(theirs, default);
        account.extend(number.filter(|_| !is_bootstrap).map(|number| (ours.to_owned(), number.into())));
    }
    let storing = reader.boolean("notifIfDisabled").unwrap_or(true);
    let binding = reader.text("binding");
    let Some(host) = host else {
        reader.problem("host", "is missing; the server is left out");
        return None;
    };
    if matches!(host, "0.0.0.0" | "localhost" | "127.0.0.1") {
        reader.problem("host", "stands for ThingsBoard's own machine; write its address into uri");
    }
    let scheme = if mode == NO_SEC { "coap" } else { "coaps" };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let mut put = |name: &str, value: Json| account.insert(name.to_owned(), value);
    put("type", if is_bootstrap { "bootstrap" } else { "management" }.into());
    put("provision", "none".into());
    put("uri", format!("{scheme}://{host}{port}").into());
    if let Some(hold_off) = hold_off {
        put("client_hold_off_time", hold_off.into());
    }
    if is_bootstrap {
        if let Some(timeout) = timeout {
            put("bootstrap_server_account_timeout", timeout.into());
        }
    } else {
        put("notification_storing", storing.into());
        if let Some(short_id) = short_id {
            put("ssid", short_id.into());
        }
        if let Some(binding) = binding {
            put("binding", binding.into());
        }
    }
    match mode {
        0 => put("security_mode", "psk".into()),
        1 => {
            if let Some(key) = public_key {
                put("server_public_key", joined(key).into());
            }
            put("security_mode", "rpk".into())
        }
        2 => {
            // Older profiles have the certificate in the place of the public key.
            if let Some(certificate) = certificate.or(public_key) {
                put("server_certificate", joined(certificate).into());
            }
            put("security_mode", "x509".into())
        }
        _ => put("security_mode", "nosec".into()),
    };
    Some(Server { about: about.to_owned(), mode, is_bootstrap, account })
}

/// The account of one device: what it proves itself by is added.
fn proven(server: &Server, proof: &Json) -> Result<Json, &'static str> {
    let (wanted, ours): (&str, (&str, &str)) = match server.mode {
        0 => ("PSK", ("psk_identity", "psk_key")),
        1 => ("RPK", ("client_public_key", "client_private_key")),
        _ => ("X509", ("client_certificate", "client_private_key")),
    };
    if proof["securityMode"] != wanted {
        return Err("have another security mode than the profile");
    }
    let text = |field: &str| proof[field].as_str().map(joined).filter(|text| !text.is_empty());
    let (public, secret) = (text("clientPublicKeyOrId"), text("clientSecretKey"));
    let (public, secret) = (public.ok_or("have no clientPublicKeyOrId")?, secret.ok_or("have no clientSecretKey")?);
    let mut account = server.account.clone();
    if server.mode == 0 {
        // The identity is text and the key hex, in spite of the names.
        let identity = proof["clientPublicKeyOrId"].as_str().unwrap_or_default();
        account.insert(ours.0.to_owned(), identity.into());
        account.insert(ours.1.to_owned(), secret.into());
    } else {
        account.insert(ours.0.to_owned(), hex(&public)?.into());
        account.insert(ours.1.to_owned(), hex(&secret)?.into());
    }
    Ok(Json::Object(account))
}

/// Base64 without line breaks.
fn joined(text: &str) -> String {
    text.split_whitespace().collect()
}

/// Base64 as hex, which nothing else can be taken for.
fn hex(text: &str) -> Result<String, &'static str> {
    BASE64.decode(text.as_bytes()).map(|bytes| HEXLOWER.encode(&bytes)).map_err(|_| "hold a key that is no base64")
}
