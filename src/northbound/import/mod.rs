//! Bootstrap configuration of neighbours as a fragment of our configuration file.
//!
//! ```text
//! JSON of a neighbour ──▶ server accounts, device entries, notes ──checked──▶ [bootstrap.server.*], [bootstrap.device.*]
//!                                                            └── what could not be carried over, a line each
//! ```
//!
//! Keys go over as they were. What is written always reads back: an account or entry that would not is left out, and a
//! note says why. Notes hold no secret.

mod bs_server;
mod leshan;
#[cfg(test)]
mod tests;
mod thingsboard;

use serde_json::{Map, Value as Json, json};

use super::bootstrap_json::{Problem, parse_account, parse_entry};
use crate::model::bootstrap::{AccountName, DeviceEntry, ServerAccount};
use crate::model::object::ObjectModel;

/// Everything that is wrong with an entry among the accounts that it may name.
pub type Judge<'a> = &'a dyn Fn(&DeviceEntry, &[(AccountName, ServerAccount)]) -> Vec<Problem>;

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// Leshan's bootstrap server: its file, what `GET /api/bootstrap` answers, or one configuration of these.
    Leshan,
    /// `lwm2m-bs-server`: what `configure` takes, or `list` gives.
    BsServer,
    /// ThingsBoard: a device profile, credentials of devices.
    ThingsBoard,
}

/// What a file becomes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    /// Server accounts by name.
    pub servers: Map<String, Json>,
    /// Device entries by endpoint name or pattern.
    pub devices: Map<String, Json>,
    /// What could not be carried over, or has to be known.
    pub notes: Vec<String>,
}

/// Reads the configuration of a neighbour. `endpoint` is whose it is, where the file does not say; `judge` says whether
/// what is left of an entry holds together.
///
/// # Errors
/// If it is not what the neighbour has.
pub fn import(
    of: Neighbour,
    file: &Json,
    endpoint: Option<&str>,
    model: &ObjectModel,
    judge: Judge<'_>,
) -> Result<Imported, String> {
    let imported = match of {
        Neighbour::Leshan => leshan::import(file, endpoint),
        Neighbour::BsServer => bs_server::import(file, endpoint),
        Neighbour::ThingsBoard => thingsboard::import(file, endpoint),
    };
    imported.map(|imported| imported.checked(model, judge))
}

impl Imported {
    fn note(&mut self, about: &str, what: &str) {
        let about: String = about.chars().filter(|character| !character.is_control()).take(120).collect();
        self.notes.push(format!("{about}: {what}"));
    }

    /// Leaves out what the configuration would not take.
    fn checked(mut self, model: &ObjectModel, judge: Judge<'_>) -> Self {
        let mut accounts = Vec::new();
        for (name, account) in std::mem::take(&mut self.servers) {
            let read = self.takes(&format!("account {name}"), &account);
            if let (Ok(known), Some(read)) = (AccountName::new(&name), read) {
                accounts.push((known, read));
                self.servers.insert(name, account);
            }
        }
        for (name, mut entry) in std::mem::take(&mut self.devices) {
            let about = format!("device {name}");
            let servers = entry["servers"].as_array_mut().map(std::mem::take).unwrap_or_default();
            let servers: Vec<Json> = servers
                .into_iter()
                .filter(|server| match server {
                    Json::String(name) => self.servers.contains_key(name),
                    account => self.takes(&format!("{about}, account {}", shown_uri(account)), account).is_some(),
                })
                .collect();
            entry["servers"] = servers.into();
            let problems = match parse_entry(&entry, model) {
                Ok(entry) if entry.servers.is_empty() && entry.writes.is_empty() => {
                    self.note(&about, "nothing is left to hand out; there is no entry for it");
                    continue;
                }
                Ok(entry) => judge(&entry, &accounts),
                Err(problems) => problems,
            };
            for problem in &problems {
                self.note(&about, &format!("{}: {}; there is no entry for it", problem.field, problem.message));
            }
            if problems.is_empty() {
                self.devices.insert(name, entry);
            }
        }
        self
    }

    fn takes(&mut self, about: &str, account: &Json) -> Option<ServerAccount> {
        let read = parse_account(account);
        for problem in read.as_ref().err().into_iter().flatten() {
            self.note(about, &format!("{}: {}; the account is left out", problem.field, problem.message));
        }
        read.ok()
    }

    /// A fragment of a configuration file; notes are comments.
    ///
    /// # Errors
    /// If a value has no TOML.
    pub fn to_toml(&self) -> Result<String, String> {
        let mut text = String::new();
        for note in &self.notes {
            text.push_str("# ");
            text.push_str(note);
            text.push('\n');
        }
        if !text.is_empty() {
            text.push('\n');
        }
        let tables = [("server", &self.servers), ("device", &self.devices)];
        let tables = tables.into_iter().filter(|(_, table)| !table.is_empty());
        let bootstrap: Map<String, Json> =
            tables.map(|(name, table)| (name.to_owned(), Json::Object(table.clone()))).collect();
        if !bootstrap.is_empty() {
            let fragment = toml::to_string(&json!({ "bootstrap": bootstrap })).map_err(|error| error.to_string())?;
            text.push_str(&fragment);
        }
        Ok(text)
    }
}

/// What tells an account from others where it has no name.
fn shown_uri(account: &Json) -> &str {
    account["uri"].as_str().unwrap_or("without uri")
}

/// A name of an account made of what a neighbour calls it: other characters become dashes.
fn account_name(text: &str) -> String {
    const MOST: usize = 48;
    let fits = |character: char| {
        if character.is_ascii_alphanumeric() || "-_.".contains(character) { character } else { '-' }
    };
    let name: String = text.chars().map(fits).take(MOST).collect();
    if name.is_empty() { "imported".to_owned() } else { name }
}
