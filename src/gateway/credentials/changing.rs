//! Credentials that come, change and go; what that means for the store and for the handshakes.

use std::collections::{HashMap, HashSet};

use rand_core::Rng as _;

use super::entry::{Entry, Former, Holder, Pattern, Row, parse_row_key, row_key, scope_word};
use super::{Credentials, MAX_PATTERNS, MAX_REMOVED};
use crate::gateway::clock::WallClock;
use crate::gateway::handshakes::HandshakeOrder;
use crate::gateway::services::Services;
use crate::gateway::store::{SecretKind, SecretRow, StoreWrite};
use crate::gateway::vocabulary::{Authenticated, Output};
use crate::instrumentation::occurrence::Occurrence;
use crate::model::command::{CommandError, ErrorKind};
use crate::model::credential::{Proof, Scope, shown_identity};
use crate::model::credential_wish::{CredentialWish, Means};
use crate::model::endpoint::Endpoint;
use crate::model::time::{Instant, WallTime};

/// How old the stored time of use may be: spares the SD card.
const LAZY_WRITE_MILLIS: i64 = 60 * 60 * 1_000;

/// What a change asks of the world.
#[derive(Debug, Default)]
pub(super) struct Change {
    writes: Vec<StoreWrite>,
    orders: Vec<HandshakeOrder>,
    /// How many names of removed credentials were forgotten for it.
    forgotten: usize,
}

impl Change {
    #[cfg(test)]
    pub(super) fn into_parts(self) -> (Vec<StoreWrite>, Vec<HandshakeOrder>) {
        (self.writes, self.orders)
    }

    fn put(&mut self, row: &Row) {
        let key = row_key(row.scope, row.endpoint.as_str());
        self.writes.push(StoreWrite::PutSecret { kind: SecretKind::Credential, key, value: row.value() });
    }

    /// Tells the handshakes what counts now: new proofs first, so that a device finds one of them at any time.
    fn tell(&mut self, scope: Scope, before: Option<&Entry>, after: Option<&Entry>) {
        let list = |entry: Option<&Entry>| -> Vec<(Proof, u64)> {
            entry.into_iter().flat_map(Entry::proofs).map(|(proof, generation)| (proof.clone(), generation)).collect()
        };
        let (before, after) = (list(before), list(after));
        for (proof, generation) in after.iter().filter(|proof| !before.contains(proof)) {
            self.orders.push(HandshakeOrder::Admit { scope, proof: proof.clone(), generation: *generation });
        }
        for (proof, _) in before.iter().filter(|proof| !after.contains(proof)) {
            self.orders.push(HandshakeOrder::Revoke { scope, proof: proof.clone() });
        }
    }
}

/// Where the clock stands, for a change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) wall: WallTime,
    pub(super) synced: bool,
}

/// Who takes what in a bulk of wishes that is checked before any is put.
#[derive(Debug, Default)]
pub struct Claims {
    holders: HashMap<(Scope, Holder), Endpoint>,
    names: HashSet<(Scope, Endpoint)>,
    added: usize,
    patterns: usize,
}

impl Credentials {
    /// Whether a wish can be put after those that `claims` remembers; takes it among them.
    ///
    /// # Errors
    /// `Conflict` if its proof is recognized by what another credential of the scope has, `QueueFull` at a bound.
    pub fn check(&self, wish: &CredentialWish, max: usize, claims: &mut Claims) -> Result<(), CommandError> {
        let set = self.sets.of(wish.scope);
        if let Means::Proof(proof) = &wish.means {
            let holder = Holder::of_proof(proof);
            let claimed = claims.holders.get(&(wish.scope, holder.clone()));
            if let Some(other) = set.holder_of(proof).or(claimed)
                && *other != wish.endpoint
            {
                let (field, shown) = shown_proof(proof);
                let scope = scope_word(wish.scope);
                let message = format!(
                    "{field}: {shown} is in use by the credential '{other}' of scope {scope}; remove that first"
                );
                return Err(CommandError::new(ErrorKind::Conflict, message));
            }
            claims.holders.insert((wish.scope, holder), wish.endpoint.clone());
        }
        let before = set.entries.get(&wish.endpoint);
        let claimed = !claims.names.insert((wish.scope, wish.endpoint.clone()));
        if before.is_none() && !claimed {
            if self.len() + claims.added >= max {
                let message = format!("the gateway holds {max} credentials, as many as it may; remove some first");
                return Err(CommandError::new(ErrorKind::QueueFull, message));
            }
            claims.added += 1;
        }
        if wish.endpoints.is_some() && before.is_none_or(|entry| entry.endpoints.is_none()) && !claimed {
            if set.patterns.len() + claims.patterns >= MAX_PATTERNS {
                let message =
                    format!("endpoints: {MAX_PATTERNS} credentials have a pattern, as many as may; remove some first");
                return Err(CommandError::new(ErrorKind::QueueFull, message));
            }
            claims.patterns += 1;
        }
        Ok(())
    }

    /// Puts a wish in force that was checked; `fresh` is a generation that never was.
    pub(super) fn put(&mut self, wish: CredentialWish, fresh: u64, moment: Moment) -> Change {
        let scope = wish.scope;
        let set = self.sets.of_mut(scope);
        set.forget_removal(wish.endpoint.as_str());
        set.unreadable.remove(&wish.endpoint);
        let before = set.take(wish.endpoint.as_str());
        let wall = moment.wall;
        let until = wish.keep_old.map(|keep_old| {
            let millis = i64::try_from(keep_old.as_millis()).unwrap_or(i64::MAX);
            WallTime::from_millis(wall.millis().saturating_add(millis))
        });
        let mut entry = Entry {
            endpoint: wish.endpoint,
            certificate_subject: wish.certificate_subject,
            endpoints: wish.endpoints.as_deref().map(Pattern::new),
            generation: if wish.means.proof().is_some() { fresh } else { 0 },
            means: wish.means,
            former: None,
            created_at: wall,
            changed_at: wall,
            last_used_at: None,
            name: wish.name,
            tags: wish.tags.clone().unwrap_or_default(),
        };
        if let Some(before) = &before {
            entry.created_at = before.created_at;
            entry.name = entry.name.or_else(|| before.name.clone());
            entry.tags = wish.tags.unwrap_or_else(|| before.tags.clone());
            if before.means == entry.means {
                entry.generation = before.generation;
                entry.last_used_at = before.last_used_at;
                entry.former.clone_from(&before.former);
                if let (Some(former), Some(until)) = (&mut entry.former, until) {
                    former.until = until;
                    former.estimated = !moment.synced;
                }
            } else {
                if let Some(former) = &before.former
                    && entry.means.proof() == Some(&former.proof)
                {
                    // Back to the proof before: what stands by it goes on.
                    entry.generation = former.generation;
                }
                entry.former = before.means.proof().zip(until).map(|(proof, until)| Former {
                    proof: proof.clone(),
                    generation: before.generation,
                    until,
                    until_used: wish.until_used,
                    estimated: !moment.synced,
                });
                // Nobody ever came with the proof before: what its device has is still the one before that.
                let never_used = wish.until_used && before.last_used_at.is_none();
                if let (true, Some(former), Some(until)) = (never_used, &before.former, until) {
                    entry.former = Some(Former { until, until_used: true, ..former.clone() });
                }
            }
        }
        let mut change = Change::default();
        change.put(&Row::of_entry(scope, &entry));
        change.tell(scope, before.as_ref(), Some(&entry));
        self.sets.of_mut(scope).insert(entry);
        change
    }

    /// Removes a credential; its name is remembered unless it was a block.
    pub(super) fn remove(&mut self, scope: Scope, endpoint: &str, wall: WallTime) -> Option<Change> {
        let set = self.sets.of_mut(scope);
        let before = set.take(endpoint)?;
        let mut change = Change::default();
        change.tell(scope, Some(&before), None);
        let key = |endpoint: &str| row_key(scope, endpoint);
        let delete = |endpoint: &str| StoreWrite::DeleteSecret { kind: SecretKind::Credential, key: key(endpoint) };
        if before.means == Means::Blocked {
            change.writes.push(delete(endpoint));
            return Some(change);
        }
        set.remember_removal(before.endpoint.clone(), wall);
        change.put(&Row::of_removal(scope, before.endpoint, wall));
        while set.removed.len() > MAX_REMOVED {
            let Some((_, oldest)) = set.removals.pop_first() else { break };
            set.removed.remove(&oldest);
            change.writes.push(delete(oldest.as_str()));
            change.forgotten += 1;
        }
        Some(change)
    }

    /// Ends former proofs whose time is over; `None` if there are none.
    pub(super) fn end_former_proofs(&mut self, wall: WallTime) -> Option<Change> {
        let mut change = None;
        for scope in [Scope::Server, Scope::Bootstrap] {
            let set = self.sets.of_mut(scope);
            while let Some((until, name)) = set.endings.first().cloned()
                && until <= wall
            {
                let Some(before) = set.take(name.as_str()) else {
                    set.endings.remove(&(until, name));
                    continue;
                };
                let entry = Entry { former: None, ..before.clone() };
                let change = change.get_or_insert_with(Change::default);
                change.put(&Row::of_entry(scope, &entry));
                change.tell(scope, Some(&before), Some(&entry));
                set.insert(entry);
            }
        }
        change
    }

    /// The clock was set and moved by so many milliseconds: ends that it had reckoned wrongly move along.
    pub(super) fn correct_times(&mut self, step_millis: i64) -> Change {
        let mut change = Change::default();
        for scope in [Scope::Server, Scope::Bootstrap] {
            let set = self.sets.of_mut(scope);
            for name in set.endings.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>() {
                let Some(mut entry) = set.take(name.as_str()) else { continue };
                if let Some(former) = entry.former.as_mut().filter(|former| former.estimated) {
                    former.until = WallTime::from_millis(former.until.millis().saturating_add(step_millis));
                    former.estimated = false;
                    change.put(&Row::of_entry(scope, &entry));
                }
                set.insert(entry);
            }
        }
        change
    }

    /// Takes the rows of the store; answers what the handshakes have to know, and how many rows cannot be read.
    pub(super) fn restore(&mut self, rows: &[SecretRow], sealed_shut: &[(SecretKind, Vec<u8>)]) -> (Change, usize) {
        let (mut change, mut unreadable) = (Change::default(), 0);
        for stored in rows.iter().filter(|row| row.kind == SecretKind::Credential) {
            let row = serde_json::from_slice::<Row>(stored.value.expose()).ok();
            let removal = row.as_ref().and_then(|row| Some((row.scope, row.endpoint.clone(), row.removed_at?)));
            if let Some((scope, endpoint, removed_at)) = removal {
                self.sets.of_mut(scope).remember_removal(endpoint, removed_at);
            } else if let Some((scope, entry)) = row.and_then(|row| Some((row.scope, row.into_entry()?))) {
                change.tell(scope, None, Some(&entry));
                self.sets.of_mut(scope).insert(entry);
            } else {
                unreadable += 1;
                self.close(&stored.key);
            }
        }
        for (_, key) in sealed_shut.iter().filter(|(kind, _)| *kind == SecretKind::Credential) {
            self.close(key);
        }
        (change, unreadable)
    }

    /// Closes the name of a row that cannot be read.
    fn close(&mut self, key: &[u8]) {
        if let Some((scope, endpoint)) = parse_row_key(key) {
            self.sets.of_mut(scope).unreadable.insert(endpoint);
        }
    }

    /// All rows anew, for a store that lost some.
    pub(super) fn rewrite(&self) -> Change {
        let mut change = Change::default();
        for scope in [Scope::Server, Scope::Bootstrap] {
            let set = self.sets.of(scope);
            for entry in set.entries.values() {
                change.put(&Row::of_entry(scope, entry));
            }
            for (endpoint, at) in &set.removed {
                change.put(&Row::of_removal(scope, endpoint.clone(), *at));
            }
        }
        change
    }

    /// Marks the newest proof of a credential as used, so that a key that was changed shows whether it arrived. A former
    /// one that was kept for that ends.
    pub(super) fn used(&mut self, scope: Scope, who: &Authenticated, wall: WallTime) -> Option<Change> {
        let name = Endpoint::new(self.name_of(scope, who)?).ok()?;
        let entry = self.sets.of_mut(scope).entries.get_mut(&name)?;
        if entry.generation != who.generation {
            return None;
        }
        let mut change = Change::default();
        if entry.former.as_ref().is_some_and(|former| former.until_used) {
            let before = self.sets.of_mut(scope).take(name.as_str())?;
            let entry = Entry { former: None, last_used_at: Some(wall), ..before.clone() };
            change.put(&Row::of_entry(scope, &entry));
            change.tell(scope, Some(&before), Some(&entry));
            self.sets.of_mut(scope).insert(entry);
            return Some(change);
        }
        let stale = |at: WallTime| wall.millis().saturating_sub(at.millis()) >= LAZY_WRITE_MILLIS;
        if !entry.last_used_at.is_none_or(stale) {
            return None;
        }
        entry.last_used_at = Some(wall);
        change.put(&Row::of_entry(scope, entry));
        Some(change)
    }

    /// When [`Services::end_former_proofs`] is due.
    pub fn next_deadline(&self, clock: &WallClock) -> Option<Instant> {
        let endings = self.sets.both().into_iter().filter_map(|set| set.endings.first());
        let ending = endings.map(|(until, _)| clock.instant_of(*until)).min();
        [ending, self.readmits_until].into_iter().flatten().min()
    }
}

/// Changes of credentials: table, store and handshakes together. Whoever calls one that answers `true` tells the devices
/// (`Devices::credentials_changed`).
impl Services {
    /// Puts a credential; answers whether it is the first of its name.
    ///
    /// # Errors
    /// As [`Credentials::check`].
    pub fn put_credential(&mut self, wish: CredentialWish) -> Result<bool, CommandError> {
        self.check_credential(&wish, &mut Claims::default())?;
        let created = self.credentials.get(wish.scope, wish.endpoint.as_str()).is_none();
        let fresh = self.random.next_u64().max(1);
        let moment = Moment { wall: self.wall(), synced: self.clock.is_synced() };
        tracing::info!(
            endpoint = %wish.endpoint,
            scope = scope_word(wish.scope),
            mode = wish.means.mode(),
            created,
            "credential put"
        );
        let change = self.credentials.put(wish, fresh, moment);
        self.follow(change);
        Ok(created)
    }

    /// Whether a credential can be put, after those that `claims` remembers.
    ///
    /// # Errors
    /// As [`Credentials::check`].
    pub fn check_credential(&mut self, wish: &CredentialWish, claims: &mut Claims) -> Result<(), CommandError> {
        let max = self.configuration.limits.max_credentials;
        let checked = self.credentials.check(wish, max, claims);
        if let Err(CommandError { kind: ErrorKind::QueueFull, .. }) = checked {
            self.count(Occurrence::BoundReached("max_credentials"));
        }
        checked
    }

    /// Removes a credential; answers whether there was one.
    pub fn remove_credential(&mut self, scope: Scope, endpoint: &str) -> bool {
        let wall = self.wall();
        let Some(change) = self.credentials.remove(scope, endpoint, wall) else { return false };
        tracing::info!(endpoint, scope = scope_word(scope), "credential removed");
        self.follow(change);
        true
    }

    /// Removes what a name has in either scope; answers whether there was anything.
    pub fn remove_credentials_of(&mut self, endpoint: &str) -> bool {
        let server = self.remove_credential(Scope::Server, endpoint);
        self.remove_credential(Scope::Bootstrap, endpoint) || server
    }

    /// Does what is due: ends former proofs, and the time in which removed names may come again. Answers whether a proof
    /// ended.
    pub fn end_former_proofs(&mut self) -> bool {
        let now = self.now;
        self.credentials.readmits_until.take_if(|until| *until <= now);
        let wall = self.wall();
        let Some(change) = self.credentials.end_former_proofs(wall) else { return false };
        self.follow(change);
        true
    }

    /// An operator opened a join window until then, or closed it: while it is open, names of removed credentials count as
    /// unknown.
    pub fn readmit_removed_until(&mut self, until: Option<Instant>) {
        self.credentials.readmits_until = until;
    }

    /// An endpoint whose credential was removed was let in again: its name is as good as any other.
    pub fn credential_readmitted(&mut self, scope: Scope, endpoint: &str) {
        let set = self.credentials.sets.of_mut(scope);
        set.unreadable.remove(endpoint);
        if set.forget_removal(endpoint) {
            let key = row_key(scope, endpoint);
            self.write(StoreWrite::DeleteSecret { kind: SecretKind::Credential, key });
        }
    }

    /// A peer registered by a credential.
    pub fn credential_used(&mut self, scope: Scope, who: &Authenticated) {
        let wall = self.wall();
        if let Some(change) = self.credentials.used(scope, who, wall) {
            self.credentials_stale |= !change.orders.is_empty();
            self.follow(change);
        }
    }

    /// The clock was set and moved by so many milliseconds.
    pub(in crate::gateway) fn correct_credentials(&mut self, step_millis: i64) {
        let change = self.credentials.correct_times(step_millis);
        self.follow(change);
    }

    /// Takes the rows of the store, at start.
    pub(in crate::gateway) fn restore_credentials(
        &mut self,
        rows: &[SecretRow],
        sealed_shut: &[(SecretKind, Vec<u8>)],
    ) {
        let (change, unreadable) = self.credentials.restore(rows, sealed_shut);
        if unreadable > 0 {
            tracing::error!(unreadable, "stored credentials cannot be read and are ignored");
        }
        self.follow(change);
    }

    /// Writes all credentials again, after the store lost writes.
    pub(in crate::gateway) fn rewrite_credentials(&mut self) {
        let change = self.credentials.rewrite();
        self.follow(change);
    }

    fn follow(&mut self, change: Change) {
        for write in change.writes {
            self.write(write);
        }
        self.outputs.extend(change.orders.into_iter().map(Output::Handshake));
        for _ in 0..change.forgotten {
            self.count(Occurrence::BoundReached("max_removed_credentials"));
        }
    }
}

/// The field of a proof that has to be unique, and its value as it may be shown.
fn shown_proof(proof: &Proof) -> (&'static str, String) {
    match proof {
        Proof::Psk { identity, .. } => ("identity", format!("'{}'", shown_identity(identity))),
        Proof::PublicKey { .. } => ("public_key", "this key".to_owned()),
        Proof::Certificate { .. } => ("certificate", "this certificate".to_owned()),
        Proof::Subject { subject } => ("subject", format!("'{subject}'")),
    }
}
