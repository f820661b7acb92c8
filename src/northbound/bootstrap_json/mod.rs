//! Server accounts and device entries as JSON, as the HTTP API, the configuration and the store have them.
//!
//! ```text
//! JSON ──fields──▶ keys, addresses ──▶ ServerAccount, DeviceEntry      all problems at once, or the whole
//! ServerAccount, DeviceEntry ──▶ JSON                                  with secrets for the store, without for people
//! ```
//!
//! What is shown with its secrets reads back as the same. No problem holds a secret: it names the field and what is
//! wanted, never what stood there.

mod accounts;
mod addresses;
mod entries;
mod fields;
mod keys;
mod provisioning;
mod security;
mod showing;
#[cfg(test)]
mod tests;

pub use accounts::{FIELDS as ACCOUNT_FIELDS, parse_account};
pub use entries::{FIELDS as ENTRY_FIELDS, FORMATS, parse_entry};
pub use showing::{account_json, entry_json};

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

/// What the interfaces tell of accounts and entries beside their own fields. It may come back, so that what was told can
/// be changed and put, and counts for nothing.
const TOLD_FIELDS: [&str; 5] = ["name", "id", "source", "created_at", "changed_at"];
