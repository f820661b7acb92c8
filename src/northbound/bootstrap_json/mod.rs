//! Server accounts and device entries as JSON, as the HTTP API, the configuration and the store have them.

use serde_json::Value as Json;

use crate::model::bootstrap::{DeviceEntry, ServerAccount};
use crate::model::object::ObjectModel;

/// Something that is wrong with an account or entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `psk_key`, `servers[0].uri`; empty for the whole.
    pub field: String,
    /// What is wrong, and what to do. Holds no secret.
    pub message: String,
}

/// Whether JSON holds what is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// It does, for the store.
    Shown,
    /// It says `{"secret": true}` in their place.
    Hidden,
}

/// Reads a server account.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_account(body: &Json) -> Result<ServerAccount, Vec<Problem>> {
    let _ = body;
    todo!()
}

/// Reads a device entry; paths may have the names of the object model.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_entry(body: &Json, model: &ObjectModel) -> Result<DeviceEntry, Vec<Problem>> {
    let _ = (body, model);
    todo!()
}

/// A server account; with [`Secrets::Shown`] it reads back as the same.
#[must_use]
pub fn account_json(account: &ServerAccount, secrets: Secrets) -> Json {
    let _ = (account, secrets);
    todo!()
}

/// A device entry; with [`Secrets::Shown`] it reads back as the same.
#[must_use]
pub fn entry_json(entry: &DeviceEntry, secrets: Secrets) -> Json {
    let _ = (entry, secrets);
    todo!()
}
