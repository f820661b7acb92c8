//! Who may come under which endpoint name, and how: the table of credentials.
//!
//! ```text
//! put, remove ──▶ table ──▶ rows for the store, and Admit and Revoke for the handshakes
//!                   ▲
//!                   └── plain_access, secure_access, is_current: asked for each registration and session
//! ```
//!
//! [`changing`] puts, removes and restores; [`access`] answers. A credential stands under its own name, one for each name
//! and scope. What it is recognized by (identity, key, certificate) belongs to one credential of its scope, so that a
//! peer is never two devices. The newest proof may have one former proof beside it for a while.
//!
//! A removed credential leaves its name behind: such an endpoint does not come in again as an unknown device, until it
//! gets a credential or an operator opens a join window.
//!
//! Invariants: the handshakes know exactly the proofs that stand here; every change is in the batch of the input that
//! caused it; a proof that came anew has a generation that never was before.

pub mod access;
pub mod changing;
pub mod entry;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::model::credential::{ByScope, Proof, Scope};
use crate::model::credential_wish::Means;
use crate::model::endpoint::Endpoint;
use crate::model::time::{Instant, WallTime};
use entry::{Entry, Holder, Pattern};

pub use entry::scope_word;

/// Credentials with a pattern of endpoint names, of each scope: every registration looks at all of them.
pub const MAX_PATTERNS: usize = 1_000;

/// Names of removed credentials that are remembered, of each scope; the oldest go.
pub const MAX_REMOVED: usize = 10_000;

/// How a peer that proves nothing may come under an endpoint name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainAccess {
    /// Nothing is known: what holds for unknown devices decides.
    Unknown,
    /// A credential of mode `nosec` lets it in.
    Allowed,
    /// The name belongs to a credential that has to be proven.
    NeedsCredential,
    /// The name is blocked.
    Blocked,
    /// Its credential was removed: it does not come in as an unknown device.
    Removed,
}

/// Why a peer that proved who it is may not come under an endpoint name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// For counters: `identity_mismatch`, `blocked`, `credential_gone`, `credential_removed` or `no_credential`.
    pub word: &'static str,
    /// For the operator.
    pub reason: String,
}

/// The credentials of one scope.
#[derive(Debug, Default)]
struct Set {
    entries: BTreeMap<Endpoint, Entry>,
    /// Whose a proof is.
    holders: HashMap<Holder, Endpoint>,
    /// Patterns by the name of their credential.
    patterns: BTreeMap<Endpoint, Pattern>,
    /// When former proofs end.
    endings: BTreeSet<(WallTime, Endpoint)>,
    /// Names whose credential was removed, and when.
    removed: HashMap<Endpoint, WallTime>,
    /// The same, the oldest first.
    removals: BTreeSet<(WallTime, Endpoint)>,
    /// Names whose stored credential could not be read: they are as closed as removed ones, so that losing the key of the
    /// store opens nothing. Their rows are left alone.
    unreadable: HashSet<Endpoint>,
}

/// All credentials.
#[derive(Debug, Default)]
pub struct Credentials {
    sets: ByScope<Set>,
    /// While it is open, names of removed credentials count as unknown.
    readmits_until: Option<Instant>,
}

impl Credentials {
    /// How many there are, over both scopes.
    pub fn len(&self) -> usize {
        self.sets.both().map(|set| set.entries.len()).iter().sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The credential of a name.
    pub fn get(&self, scope: Scope, endpoint: &str) -> Option<&Entry> {
        self.sets.of(scope).entries.get(endpoint)
    }

    /// All of a scope, by name.
    pub fn iter(&self, scope: Scope) -> impl Iterator<Item = &Entry> {
        self.sets.of(scope).entries.values()
    }

    /// Those of a scope from a name on, by name.
    pub fn iter_from<'a>(
        &'a self,
        scope: Scope,
        first: std::ops::Bound<&str>,
    ) -> impl Iterator<Item = &'a Entry> + use<'a> {
        self.sets.of(scope).entries.range::<str, _>((first, std::ops::Bound::Unbounded)).map(|(_, entry)| entry)
    }

    /// The operator's name and the tags that a device has from its credential when it becomes known.
    pub fn name_and_tags_of(&self, endpoint: &str) -> (Option<&str>, &[String]) {
        let of = |scope| self.get(scope, endpoint).map(|entry| (entry.name.as_deref(), entry.tags.as_slice()));
        of(Scope::Server).or_else(|| of(Scope::Bootstrap)).unwrap_or_default()
    }
}

impl Set {
    /// Takes an entry in; the one before of its name was taken out.
    fn insert(&mut self, entry: Entry) {
        let name = entry.endpoint.clone();
        for (proof, _) in entry.proofs() {
            self.holders.insert(Holder::of_proof(proof), name.clone());
        }
        if let Some(pattern) = &entry.endpoints {
            self.patterns.insert(name.clone(), pattern.clone());
        }
        if let Some(former) = &entry.former {
            self.endings.insert((former.until, name.clone()));
        }
        self.entries.insert(name, entry);
    }

    /// Takes an entry out with all that leads to it.
    fn take(&mut self, endpoint: &str) -> Option<Entry> {
        let entry = self.entries.remove(endpoint)?;
        for (proof, _) in entry.proofs() {
            self.holders.remove(&Holder::of_proof(proof));
        }
        self.patterns.remove(endpoint);
        if let Some(former) = &entry.former {
            self.endings.remove(&(former.until, entry.endpoint.clone()));
        }
        Some(entry)
    }

    fn remember_removal(&mut self, endpoint: Endpoint, at: WallTime) {
        self.forget_removal(endpoint.as_str());
        self.removals.insert((at, endpoint.clone()));
        self.removed.insert(endpoint, at);
    }

    fn forget_removal(&mut self, endpoint: &str) -> bool {
        let Some((endpoint, at)) = self.removed.remove_entry(endpoint) else { return false };
        self.removals.remove(&(at, endpoint));
        true
    }

    /// What stands for a name in the absence of a credential of its own: a blocking pattern, else the pattern that
    /// fixes most characters, else nothing.
    fn by_pattern(&self, endpoint: &str) -> Option<&Entry> {
        let fitting = self.patterns.iter().filter(|(_, pattern)| pattern.fits(endpoint));
        let entries = fitting.filter_map(|(name, pattern)| Some((pattern, self.entries.get(name)?)));
        entries
            .max_by_key(|(pattern, entry)| {
                let strictness = match entry.means {
                    Means::NoSec => 0,
                    Means::Proof(_) | Means::Blocked => 1,
                };
                (entry.means == Means::Blocked, pattern.fixed_characters(), strictness)
            })
            .map(|(_, entry)| entry)
    }

    fn is_blocked(&self, endpoint: &str) -> bool {
        let entry = self.entries.get(endpoint).or_else(|| self.by_pattern(endpoint));
        entry.is_some_and(|entry| entry.means == Means::Blocked)
    }

    fn holder_of(&self, proof: &Proof) -> Option<&Endpoint> {
        self.holders.get(&Holder::of_proof(proof))
    }
}
