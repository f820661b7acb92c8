//! Server accounts and device entries: what there is, which entry a device gets, and the rows of the store.
//!
//! Those of the configuration stand beside those of the interfaces. They are not stored, come before the others, and
//! hide what the store has under the same name.
//!
//! Invariant: every change of what the interfaces put is in the batch of the input that caused it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::checking;
use crate::gateway::credentials::entry::Pattern;
use crate::gateway::store::{SecretKind, SecretRow, StoreWrite};
use crate::model::bootstrap::{AccountName, AccountOrName, DeviceEntry, EntryName, ServerAccount};
use crate::model::credential::SecretBytes;
use crate::model::object::ObjectModel;
use crate::model::time::WallTime;
use crate::northbound::bootstrap_json::{Problem, Secrets, account_json, entry_json, parse_account, parse_entry};

/// Server accounts that stand by themselves.
pub(super) const MAX_ACCOUNTS: usize = 1_000;

/// Device entries; half of what credentials may be, since a device has at most one entry and up to two credentials.
pub(super) const MAX_ENTRIES: usize = 100_000;

/// Device entries with a pattern: every unknown name is held against all of them.
pub(super) const MAX_PATTERN_ENTRIES: usize = 1_000;

/// Where something comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    /// The configuration.
    File,
    /// An interface.
    Api,
    /// It was there when the store was fresh.
    BuiltIn,
}

impl Source {
    /// The word of the interfaces.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Api => "api",
            Self::BuiltIn => "built_in",
        }
    }
}

/// An account with what is known about it.
#[derive(Clone, Debug)]
pub(super) struct KnownAccount {
    /// The account.
    pub(super) account: Arc<ServerAccount>,
    /// Stays the same for as long as there is an account of this name.
    pub(super) id: String,
    /// Where it comes from.
    pub(super) source: Source,
    /// When it came.
    pub(super) created_at: WallTime,
    /// When it changed last.
    pub(super) changed_at: WallTime,
}

/// An entry with what is known about it.
#[derive(Clone, Debug)]
pub(super) struct KnownEntry {
    /// The entry.
    pub(super) entry: Arc<DeviceEntry>,
    /// Where it comes from.
    pub(super) source: Source,
    /// Patterns are tried by this.
    pub(super) position: u64,
    /// When it came.
    pub(super) created_at: WallTime,
    /// When it changed last.
    pub(super) changed_at: WallTime,
}

/// All accounts and entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    accounts: BTreeMap<AccountName, KnownAccount>,
    entries: BTreeMap<EntryName, KnownEntry>,
    /// Patterns but `*`: those of the configuration first, then by position.
    patterns: BTreeMap<(bool, u64), (EntryName, Pattern)>,
    next_position: u64,
}

#[derive(Serialize, Deserialize)]
struct AccountRow {
    account: serde_json::Value,
    id: String,
    source: Source,
    created_at: WallTime,
    changed_at: WallTime,
}

#[derive(Serialize, Deserialize)]
struct EntryRow {
    entry: serde_json::Value,
    source: Source,
    position: u64,
    created_at: WallTime,
    changed_at: WallTime,
}

fn row(kind: SecretKind, key: &str, value: &impl Serialize) -> StoreWrite {
    let value = SecretBytes::new(&serde_json::to_vec(value).unwrap_or_default());
    StoreWrite::PutSecret { kind, key: key.as_bytes().to_vec(), value }
}

fn account_row(name: &AccountName, known: &KnownAccount) -> StoreWrite {
    let value = AccountRow {
        account: account_json(&known.account, Secrets::Shown),
        id: known.id.clone(),
        source: known.source,
        created_at: known.created_at,
        changed_at: known.changed_at,
    };
    row(SecretKind::ServerAccount, name.as_str(), &value)
}

fn entry_row(name: &EntryName, known: &KnownEntry) -> StoreWrite {
    let value = EntryRow {
        entry: entry_json(&known.entry, Secrets::Shown),
        source: known.source,
        position: known.position,
        created_at: known.created_at,
        changed_at: known.changed_at,
    };
    row(SecretKind::DeviceEntry, name.as_str(), &value)
}

impl Tables {
    /// All accounts by name.
    pub(super) fn accounts(&self) -> impl Iterator<Item = (&AccountName, &KnownAccount)> {
        self.accounts.iter()
    }

    /// One account.
    pub(super) fn account(&self, name: &str) -> Option<(&AccountName, &KnownAccount)> {
        self.accounts.get_key_value(&AccountName::new(name).ok()?)
    }

    /// Entries by name, behind `after`.
    pub(super) fn entries_after(&self, after: Option<&str>) -> impl Iterator<Item = (&EntryName, &KnownEntry)> {
        let after = after.and_then(EntryName::new);
        let first = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.entries.range((first, std::ops::Bound::Unbounded))
    }

    /// One entry by its own name.
    pub(super) fn entry(&self, name: &str) -> Option<(&EntryName, &KnownEntry)> {
        self.entries.get_key_value(&EntryName::new(name)?)
    }

    /// What an endpoint gets: the entry of its name, else the first pattern that fits but `*`.
    pub(super) fn fitting(&self, endpoint: &str) -> Option<&KnownEntry> {
        if let Some((name, known)) = self.entry(endpoint)
            && !name.is_default()
        {
            return Some(known);
        }
        let (name, _) = self.patterns.values().find(|(_, pattern)| pattern.fits(endpoint))?;
        self.entries.get(name)
    }

    /// The entry `*`.
    pub(super) fn default_entry(&self) -> Option<&KnownEntry> {
        self.entry("*").map(|(_, known)| known)
    }

    /// The entries that name an account.
    pub(super) fn users_of(&self, account: &AccountName) -> Vec<EntryName> {
        let names = |known: &KnownEntry| {
            let named = |server: &AccountOrName| matches!(server, AccountOrName::Named(name) if name == account);
            known.entry.servers.iter().any(named)
        };
        self.entries.iter().filter(|(_, known)| names(known)).map(|(name, _)| name.clone()).collect()
    }

    /// The accounts of an entry, each with the word by which what is made for it is kept.
    ///
    /// # Errors
    /// The names that there are no accounts of.
    pub(super) fn resolve(&self, entry: &DeviceEntry) -> Result<Vec<(String, Arc<ServerAccount>)>, Vec<Problem>> {
        let mut accounts = Vec::with_capacity(entry.servers.len());
        let mut problems = Vec::new();
        for (index, server) in entry.servers.iter().enumerate() {
            match server {
                AccountOrName::Named(name) => match self.accounts.get(name) {
                    Some(known) => accounts.push((name.to_string(), Arc::clone(&known.account))),
                    None => problems.push(Problem {
                        field: format!("servers[{index}]"),
                        message: format!("there is no server account '{name}'"),
                    }),
                },
                AccountOrName::Inline(account) => accounts.push((format!("#{index}"), Arc::new((**account).clone()))),
            }
        }
        if problems.is_empty() { Ok(accounts) } else { Err(problems) }
    }

    /// Everything that is wrong with an entry as it would stand among these accounts.
    pub(super) fn check(&self, entry: &DeviceEntry) -> Vec<Problem> {
        match self.resolve(entry) {
            Ok(accounts) => checking::check(entry, &accounts),
            Err(problems) => problems,
        }
    }

    /// Puts an account; `fresh_id` is for one whose name is new. What is to be written.
    pub(super) fn put_account(
        &mut self,
        name: AccountName,
        account: ServerAccount,
        source: Source,
        fresh_id: String,
        wall: WallTime,
    ) -> StoreWrite {
        let before = self.accounts.remove(&name);
        let known = KnownAccount {
            account: Arc::new(account),
            id: before.as_ref().map_or(fresh_id, |before| before.id.clone()),
            source,
            created_at: before.map_or(wall, |before| before.created_at),
            changed_at: wall,
        };
        let write = account_row(&name, &known);
        self.accounts.insert(name, known);
        write
    }

    /// Removes an account and takes it out of the entries of the interfaces that name it. What is to be written.
    pub(super) fn remove_account(&mut self, name: &AccountName, wall: WallTime) -> Vec<StoreWrite> {
        if self.accounts.remove(name).is_none() {
            return Vec::new();
        }
        let key = name.as_str().as_bytes().to_vec();
        let mut writes = vec![StoreWrite::DeleteSecret { kind: SecretKind::ServerAccount, key }];
        for user in self.users_of(name) {
            let Some(known) = self.entries.get_mut(&user) else { continue };
            let mut entry = (*known.entry).clone();
            entry.servers.retain(|server| !matches!(server, AccountOrName::Named(named) if named == name));
            known.entry = Arc::new(entry);
            known.changed_at = wall;
            if known.source != Source::File {
                writes.push(entry_row(&user, known));
            }
        }
        writes
    }

    /// Whether one more entry of this name has room.
    ///
    /// # Errors
    /// The bound that is reached, by its name, with a message.
    pub(super) fn has_room_for(&self, name: &EntryName) -> Result<(), (&'static str, String)> {
        if self.entries.contains_key(name) {
            return Ok(());
        }
        if self.entries.len() >= MAX_ENTRIES {
            let message = format!("there are {MAX_ENTRIES} entries, as many as may be; remove some first");
            return Err(("max_bootstrap_entries", message));
        }
        if name.is_pattern() && self.patterns.len() >= MAX_PATTERN_ENTRIES {
            let message = format!("there are {MAX_PATTERN_ENTRIES} patterns, as many as may be; remove some first");
            return Err(("max_bootstrap_patterns", message));
        }
        Ok(())
    }

    /// Puts an entry; what is to be written.
    pub(super) fn put_entry(
        &mut self,
        name: EntryName,
        entry: DeviceEntry,
        source: Source,
        wall: WallTime,
    ) -> StoreWrite {
        let before = self.entries.get(&name);
        let known = KnownEntry {
            entry: Arc::new(entry),
            source,
            position: before.map_or(self.next_position, |before| before.position),
            created_at: before.map_or(wall, |before| before.created_at),
            changed_at: wall,
        };
        let write = entry_row(&name, &known);
        self.take_in(name, known);
        write
    }

    fn take_in(&mut self, name: EntryName, known: KnownEntry) {
        self.next_position = self.next_position.max(known.position.saturating_add(1));
        if name.is_pattern() && !name.is_default() {
            let pattern = Pattern::new(name.as_str());
            self.patterns.insert((known.source != Source::File, known.position), (name.clone(), pattern));
        }
        self.entries.insert(name, known);
    }

    /// Removes an entry; what is to be written.
    pub(super) fn remove_entry(&mut self, name: &EntryName) -> Option<StoreWrite> {
        let known = self.entries.remove(name)?;
        self.patterns.remove(&(known.source != Source::File, known.position));
        Some(StoreWrite::DeleteSecret { kind: SecretKind::DeviceEntry, key: name.as_str().as_bytes().to_vec() })
    }

    /// The names of all entries that did not come from the configuration.
    pub(super) fn removable_entries(&self) -> Vec<EntryName> {
        let removable = self.entries.iter().filter(|(_, known)| known.source != Source::File);
        removable.map(|(name, _)| name.clone()).collect()
    }

    /// Takes the rows of the store; how many cannot be read.
    pub(super) fn restore(&mut self, rows: &[SecretRow], model: &ObjectModel) -> usize {
        let mut unreadable = 0;
        for stored in rows {
            let name = std::str::from_utf8(&stored.key).unwrap_or_default();
            let taken = match stored.kind {
                SecretKind::ServerAccount => self.restore_account(name, stored.value.expose()),
                SecretKind::DeviceEntry => self.restore_entry(name, stored.value.expose(), model),
                _ => continue,
            };
            unreadable += usize::from(taken.is_none());
        }
        unreadable
    }

    fn restore_account(&mut self, name: &str, value: &[u8]) -> Option<()> {
        let name = AccountName::new(name).ok()?;
        let row = serde_json::from_slice::<AccountRow>(value).ok()?;
        let account = Arc::new(parse_account(&row.account).ok()?);
        let AccountRow { id, source, created_at, changed_at, .. } = row;
        self.accounts.insert(name, KnownAccount { account, id, source, created_at, changed_at });
        Some(())
    }

    fn restore_entry(&mut self, name: &str, value: &[u8], model: &ObjectModel) -> Option<()> {
        let name = EntryName::new(name)?;
        let row = serde_json::from_slice::<EntryRow>(value).ok()?;
        let entry = Arc::new(parse_entry(&row.entry, model).ok()?);
        let EntryRow { source, position, created_at, changed_at, .. } = row;
        self.take_in(name, KnownEntry { entry, source, position, created_at, changed_at });
        Some(())
    }

    /// All rows anew, for a store that lost some.
    pub(super) fn rewrite(&self) -> Vec<StoreWrite> {
        let accounts = self.accounts.iter().filter(|(_, known)| known.source != Source::File);
        let entries = self.entries.iter().filter(|(_, known)| known.source != Source::File);
        accounts
            .map(|(name, known)| account_row(name, known))
            .chain(entries.map(|(name, known)| entry_row(name, known)))
            .collect()
    }
}
