//! The section `[bootstrap]`: listeners, policy, server accounts and device entries.
//!
//! Accounts and entries are tables with the fields that the HTTP API takes as JSON, and are read by the same code:
//!
//! ```text
//! [bootstrap.server.NAME] ──▶ JSON ──▶ parse_account ──▶ problems, each at the line of its field
//! ```

use std::path::Path;

use serde_json::Value as Json;

use super::bootstrap_keys::{Key, account_keys, entry_keys};
use super::in_force::HIDDEN;
use super::json::{Converter, first_origin, origin_of};
use super::models::read_models_of;
use super::read::refuse_shared;
use super::section::Section;
use super::settings::{BootstrapSettings, Lwm2mSettings};
use super::tree::{NodeValue, Table};
use crate::gateway::configuration::{BootstrapConfiguration, UnknownBootstrap};
use crate::model::bootstrap::{AccountName, DeviceEntry, EntryName, ServerAccount};
use crate::northbound::bootstrap_json::{Problem, Secrets, account_json, entry_json, parse_account, parse_entry};

const SERVER: &str = "server";
const DEVICE: &str = "device";

/// The name or pattern of an entry, where its table has another name.
const ENDPOINTS: &str = "endpoints";

/// Reads the section; nothing if it is not there. `lwm2m` has the sockets that are taken, `models` the folder of
/// definitions whose names paths may have.
pub(super) fn read_bootstrap(
    section: &mut Section<'_, '_>,
    lwm2m: &Lwm2mSettings,
    models: &Path,
) -> Option<BootstrapSettings> {
    let udp = section.listeners("udp", "[::]:5783", "Bootstrap server: addresses for CoAP over UDP.");
    let dtls = section.listeners("dtls", "[::]:5784", "Bootstrap server: addresses for CoAP over DTLS.");
    let tcp = section.listeners("tcp", "off", "Bootstrap server: addresses for CoAP over TCP.");
    let tls = section.listeners("tls", "off", "Bootstrap server: addresses for CoAP over TLS.");
    let policies = [
        ("refuse", UnknownBootstrap::Refuse),
        ("approve", UnknownBootstrap::Approve),
        ("template", UnknownBootstrap::Template),
    ];
    let unknown_devices = section.choice(
        "unknown_devices",
        "refuse",
        &policies,
        "Devices that no entry fits: turned away, held until an operator approves them, or given what the entry \"*\" says.",
    );
    if section.is_present() {
        for (key, addresses, others) in [
            ("udp", &udp, [("lwm2m.udp", &lwm2m.udp), ("lwm2m.dtls", &lwm2m.dtls)].as_slice()),
            ("dtls", &dtls, &[("lwm2m.udp", &lwm2m.udp), ("lwm2m.dtls", &lwm2m.dtls), ("bootstrap.udp", &udp)]),
            ("tcp", &tcp, &[("lwm2m.tcp", &lwm2m.tcp), ("lwm2m.tls", &lwm2m.tls)]),
            ("tls", &tls, &[("lwm2m.tcp", &lwm2m.tcp), ("lwm2m.tls", &lwm2m.tls), ("bootstrap.tcp", &tcp)]),
        ] {
            for (other, taken) in others {
                refuse_shared(section, key, addresses, other, taken);
            }
        }
    }
    let core = BootstrapConfiguration {
        unknown_devices: unknown_devices.unwrap_or_default(),
        servers: read_servers(section),
        devices: read_devices(section, models),
    };
    section.is_present().then_some(BootstrapSettings { udp, dtls, tcp, tls, core })
}

fn read_servers(section: &mut Section<'_, '_>) -> Vec<(AccountName, ServerAccount)> {
    let mut servers = Vec::new();
    for text in section.keys_below(SERVER) {
        let read = section.named(SERVER, &text, |table| {
            let name = AccountName::new(&text);
            if let (Err(error), false) = (&name, table.is_describing()) {
                table.problem("", format!("'{}' cannot be a name", text.escape_debug()), error.to_string());
            }
            let account = read_whole(table, account_keys(), parse_account);
            Some((name.ok()?, account?))
        });
        if let Some((name, account)) = read {
            section.show(SERVER, &text, with_hidden_words(account_json(&account, Secrets::Hidden)));
            servers.push((name, account));
        }
    }
    servers
}

fn read_devices(section: &mut Section<'_, '_>, models: &Path) -> Vec<(EntryName, DeviceEntry)> {
    let mut names = section.keys_below(DEVICE);
    // The first pattern that fits wins, so that the order of the file counts.
    let place = |table: Option<&Table>, name: &str| match &table?.get(DEVICE)?.value {
        NodeValue::Table(devices) => devices.get(name).map(first_origin).cloned(),
        _ => None,
    };
    let (table, _) = section.whole();
    names.sort_by_cached_key(|name| place(table, name));
    if names.is_empty() {
        return Vec::new();
    }
    let model = if section.is_describing() { None } else { Some(read_models_of(models, section.sources()).0) };
    let mut devices: Vec<(EntryName, DeviceEntry)> = Vec::new();
    for text in names {
        let read = section.named(DEVICE, &text, |table| {
            let name = entry_name(table, &text);
            let entry = read_whole(table, entry_keys(), |json| {
                model.as_ref().map_or_else(|| Err(Vec::new()), |model| parse_entry(json, model))
            });
            if let Some(name) = name.as_ref().filter(|name| devices.iter().any(|(other, _)| other == *name)) {
                let key = if table.has(ENDPOINTS) { ENDPOINTS } else { "" };
                table.problem(key, format!("\"{name}\" has an entry already"), "join both");
            }
            Some((name?, entry?))
        });
        if let Some((name, entry)) = read {
            let mut shown = with_hidden_words(entry_json(&entry, Secrets::Hidden));
            shown[ENDPOINTS] = name.as_str().into();
            section.show(DEVICE, &text, shown);
            devices.push((name, entry));
        }
    }
    devices
}

/// Whose entry a table is.
fn entry_name(table: &mut Section<'_, '_>, name: &str) -> Option<EntryName> {
    if table.is_describing() {
        return None;
    }
    let (key, text) = match table.whole().0.and_then(|table| table.get(ENDPOINTS)).map(|node| &node.value) {
        Some(NodeValue::String(text)) => (ENDPOINTS, text.as_str()),
        Some(other) => {
            table.problem(ENDPOINTS, format!("is {}, not a string", other.kind()), "write one name or pattern");
            return None;
        }
        None => ("", name),
    };
    let read = EntryName::new(text);
    if read.is_none() {
        table.problem(key, "is no endpoint name or pattern of 1 to 256 characters", "");
    }
    read
}

/// Reads a table by what takes it as JSON.
fn read_whole<'a, T>(
    table: &mut Section<'_, 'a>,
    keys: Vec<Key>,
    parse: impl FnOnce(&Json) -> Result<T, Vec<Problem>>,
) -> Option<T> {
    let known: Vec<&'static str> = keys.iter().map(|key| key.name).collect();
    for Key { name, kind, default, meaning } in keys {
        table.describe(name, kind, default, meaning);
    }
    let (fields, reader) = table.whole();
    let fields: &'a Table = fields?;
    let mut converter = Converter::new(reader);
    let mut json = converter.table(fields, "");
    let unreadable = converter.unreadable;
    for wrong in &unreadable {
        table.problem_at(wrong.origin, &wrong.field, &wrong.message, &wrong.hint);
    }
    if let Json::Object(body) = &mut json {
        // Unknown keys are told by the section, as everywhere in the file, and the name is no part of an entry.
        body.retain(|key, _| known.contains(&key.as_str()) && key != ENDPOINTS);
    }
    let around = table.origin().clone();
    match parse(&json) {
        Ok(value) => unreadable.is_empty().then_some(value),
        Err(problems) => {
            for Problem { field, message } in problems {
                if unreadable.iter().any(|wrong| wrong.field == field) {
                    continue;
                }
                let (message, hint) = message.split_once("; ").unwrap_or((&message, ""));
                table.problem_at(origin_of(fields, &field, &around), &field, message, hint);
            }
            None
        }
    }
}

/// Writes what hides secrets as everywhere in what is in force.
fn with_hidden_words(shown: Json) -> Json {
    match shown {
        Json::Object(fields) if fields.get("secret") == Some(&Json::Bool(true)) => HIDDEN.into(),
        Json::Object(fields) => {
            Json::Object(fields.into_iter().map(|(key, value)| (key, with_hidden_words(value))).collect())
        }
        Json::Array(items) => items.into_iter().map(with_hidden_words).collect(),
        other => other,
    }
}

#[cfg(test)]
#[path = "read_bootstrap_tests.rs"]
mod tests;
