use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::changing::{Change, Claims, Moment};
use super::entry::Row;
use super::*;
use crate::gateway::configuration::CertificateName;
use crate::gateway::handshakes::HandshakeOrder;
use crate::gateway::store::{SecretKind, SecretRow, StoreWrite};
use crate::gateway::vocabulary::Authenticated;
use crate::model::command::ErrorKind;
use crate::model::credential::{CertificateIdentity, Identity, SecretBytes};
use crate::model::credential_wish::CredentialWish;

const HOUR: Duration = Duration::from_secs(3_600);
const RULE: CertificateName = CertificateName::CommonName;
const SERVER: Scope = Scope::Server;

/// The table with a store and handshakes that follow it.
#[derive(Default)]
struct World {
    table: Credentials,
    rows: BTreeMap<Vec<u8>, SecretBytes>,
    known: HashMap<(Scope, String), u64>,
    last_generation: u64,
    wall: WallTime,
}

fn known_as(proof: &Proof) -> String {
    match proof {
        Proof::Psk { identity, key } => format!("{identity:?} {:?}", key.expose()),
        other => format!("{other:?}"),
    }
}

impl World {
    fn follow(&mut self, change: Change) {
        let (writes, orders) = change.into_parts();
        for write in writes {
            match write {
                StoreWrite::PutSecret { kind: SecretKind::Credential, key, value } => {
                    self.rows.insert(key, value);
                }
                StoreWrite::DeleteSecret { kind: SecretKind::Credential, key } => {
                    self.rows.remove(&key);
                }
                other => panic!("{other:?}"),
            }
        }
        for order in orders {
            match order {
                HandshakeOrder::Admit { scope, proof, generation } => {
                    let before = self.known.insert((scope, known_as(&proof)), generation);
                    assert_eq!(before, None, "admitted twice");
                }
                HandshakeOrder::Revoke { scope, proof } => {
                    assert!(self.known.remove(&(scope, known_as(&proof))).is_some(), "revoked without need");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn put(&mut self, wish: CredentialWish) -> Result<(), ErrorKind> {
        self.table.check(&wish, 100, &mut Claims::default()).map_err(|error| error.kind)?;
        self.last_generation += 1;
        let moment = Moment { wall: self.wall, synced: true };
        let change = self.table.put(wish, self.last_generation, moment);
        self.follow(change);
        Ok(())
    }

    fn remove(&mut self, endpoint: &str) {
        self.remove_of(SERVER, endpoint);
    }

    fn remove_of(&mut self, scope: Scope, endpoint: &str) {
        if let Some(change) = self.table.remove(scope, endpoint, self.wall) {
            self.follow(change);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.wall = WallTime::from_millis(self.wall.millis() + i64::try_from(time.as_millis()).unwrap());
        if let Some(change) = self.table.end_former_proofs(self.wall) {
            self.follow(change);
        }
    }

    /// As a handshake sees a peer with this key.
    fn psk(&self, identity: &str, key: u8) -> Authenticated {
        let proof = psk_proof(identity, key);
        let generation = self.known.get(&(SERVER, known_as(&proof))).copied().unwrap_or(u64::MAX);
        Authenticated { identity: Identity::Psk(identity.as_bytes().into()), generation }
    }

    fn access(&self, who: &Authenticated, endpoint: &str) -> &'static str {
        self.table.secure_access(SERVER, who, endpoint, RULE).map_or_else(|denied| denied.word, |()| "in")
    }

    /// What a core that starts now would have.
    fn restored(&self) -> Self {
        let rows = self.rows.iter();
        let rows: Vec<SecretRow> = rows
            .map(|(key, value)| SecretRow { kind: SecretKind::Credential, key: key.clone(), value: value.clone() })
            .collect();
        let mut world = Self { wall: self.wall, last_generation: self.last_generation, ..Self::default() };
        let (change, unreadable) = world.table.restore(&rows, &[]);
        assert_eq!(unreadable, 0);
        world.rows.clone_from(&self.rows);
        world.follow(change);
        world
    }
}

fn psk_proof(identity: &str, key: u8) -> Proof {
    Proof::Psk { identity: identity.as_bytes().into(), key: SecretBytes::new(&[key; 16]) }
}

fn wish(endpoint: &str, means: Means) -> CredentialWish {
    CredentialWish::new(Endpoint::new(endpoint).unwrap(), means)
}

fn psk(endpoint: &str, identity: &str, key: u8) -> CredentialWish {
    wish(endpoint, Means::Proof(psk_proof(identity, key)))
}

fn certificate(trusted: bool, common_name: &str, alternative_names: &[&str]) -> Authenticated {
    let identity = Identity::Certificate(Arc::new(CertificateIdentity {
        fingerprint: [9; 32],
        trusted,
        subject: format!("CN={common_name}"),
        common_name: Some(common_name.to_owned()),
        alternative_names: alternative_names.iter().map(|name| (*name).to_owned()).collect(),
    }));
    Authenticated { identity, generation: 0 }
}

#[test]
fn a_key_opens_its_own_name_and_no_other() {
    let mut world = World::default();
    world.put(psk("node-1", "id-1", 1)).unwrap();
    let who = world.psk("id-1", 1);
    assert_eq!(world.access(&who, "node-1"), "in");
    assert_eq!(world.access(&who, "node-2"), "identity_mismatch");
    assert!(world.table.is_current(SERVER, &who));
    assert!(world.table.is_own(SERVER, &who, "node-1"));
    assert!(!world.table.is_own(SERVER, &who, "node-2"));
    assert_eq!(world.table.endpoint_of(SERVER, &who, RULE).as_deref(), Some("node-1"));
    assert!(!world.table.is_current(Scope::Bootstrap, &who), "the sets are separate");
}

#[test]
fn a_name_with_a_credential_is_closed_to_peers_without() {
    let mut world = World::default();
    assert_eq!(world.table.plain_access("node-1"), PlainAccess::Unknown);
    world.put(psk("node-1", "id-1", 1)).unwrap();
    assert_eq!(world.table.plain_access("node-1"), PlainAccess::NeedsCredential);
    world.put(wish("node-1", Means::NoSec)).unwrap();
    assert_eq!(world.table.plain_access("node-1"), PlainAccess::Allowed);
    world.put(wish("node-1", Means::Blocked)).unwrap();
    assert_eq!(world.table.plain_access("node-1"), PlainAccess::Blocked);
}

#[test]
fn a_pattern_opens_what_fits_but_no_name_that_has_its_own_credential() {
    let mut world = World::default();
    let fleet = CredentialWish { endpoints: Some("nrf-*".to_owned()), ..psk("fleet", "fleet", 1) };
    world.put(fleet).unwrap();
    world.put(psk("nrf-2", "two", 2)).unwrap();
    world.put(wish("nrf-3", Means::Blocked)).unwrap();
    world.put(wish("nrf-4", Means::NoSec)).unwrap();
    let who = world.psk("fleet", 1);
    for (endpoint, expected) in [
        ("nrf-1", "in"),
        ("fleet", "in"),
        ("nrf-2", "identity_mismatch"),
        ("nrf-3", "blocked"),
        ("nrf-4", "in"),
        ("other", "identity_mismatch"),
    ] {
        assert_eq!(world.access(&who, endpoint), expected, "{endpoint}");
    }
    assert!(!world.table.is_own(SERVER, &who, "nrf-1"));
    assert_eq!(world.table.endpoint_of(SERVER, &who, RULE), None);
    assert_eq!(world.table.plain_access("nrf-1"), PlainAccess::NeedsCredential);
    assert_eq!(world.table.plain_access("nrf-4"), PlainAccess::Allowed);
    assert_eq!(world.table.plain_access("other"), PlainAccess::Unknown);
}

#[test]
fn of_patterns_a_block_counts_first_and_then_what_fixes_most() {
    let mut world = World::default();
    let with =
        |means, name: &str, pattern: &str| CredentialWish { endpoints: Some(pattern.to_owned()), ..wish(name, means) };
    world.put(with(Means::Proof(psk_proof("all", 1)), "all", "*")).unwrap();
    world.put(with(Means::NoSec, "lab", "lab-*")).unwrap();
    world.put(with(Means::Blocked, "bad", "*-bad")).unwrap();
    assert_eq!(world.table.plain_access("lab-1"), PlainAccess::Allowed);
    assert_eq!(world.table.plain_access("field-1"), PlainAccess::NeedsCredential);
    assert_eq!(world.table.plain_access("lab-bad"), PlainAccess::Blocked);
    let who = world.psk("all", 1);
    assert_eq!(world.access(&who, "lab-bad"), "blocked");
    assert_eq!(world.access(&who, "lab-1"), "in");
}

#[test]
fn an_identity_belongs_to_one_credential_of_its_scope() {
    let mut world = World::default();
    world.put(psk("a", "same", 1)).unwrap();
    assert_eq!(world.put(psk("b", "same", 2)), Err(ErrorKind::Conflict));
    let elsewhere = CredentialWish { scope: Scope::Bootstrap, ..psk("b", "same", 2) };
    assert_eq!(world.put(elsewhere), Ok(()));
    world.put(CredentialWish { keep_old: Some(HOUR), ..psk("a", "new", 3) }).unwrap();
    assert_eq!(world.put(psk("b", "same", 2)), Err(ErrorKind::Conflict), "the former proof still holds it");
    world.pass(HOUR);
    assert_eq!(world.put(psk("b", "same", 2)), Ok(()));
    assert_eq!(world.put(psk("a", "same", 3)), Err(ErrorKind::Conflict));
}

#[test]
fn a_new_key_ends_the_old_one_at_once() {
    let mut world = World::default();
    world.put(psk("a", "a", 1)).unwrap();
    let old = world.psk("a", 1);
    world.put(psk("a", "a", 2)).unwrap();
    assert!(!world.table.is_current(SERVER, &old));
    assert_eq!(world.access(&old, "a"), "credential_gone");
    assert_eq!(world.access(&world.psk("a", 2), "a"), "in");
}

#[test]
fn the_old_key_goes_on_for_as_long_as_was_asked() {
    let mut world = World::default();
    world.put(psk("a", "a", 1)).unwrap();
    let old = world.psk("a", 1);
    world.put(CredentialWish { keep_old: Some(HOUR), ..psk("a", "a", 2) }).unwrap();
    let new = world.psk("a", 2);
    assert_ne!(old.generation, new.generation);
    world.pass(HOUR.saturating_sub(Duration::from_millis(1)));
    assert_eq!(world.access(&old, "a"), "in");
    assert_eq!(world.access(&new, "a"), "in");
    world.pass(Duration::from_millis(1));
    assert_eq!(world.access(&old, "a"), "credential_gone");
    assert!(world.table.is_current(SERVER, &new));
    assert_eq!(world.known.len(), 1);
}

#[test]
fn going_back_to_the_key_before_keeps_what_stands_by_it() {
    let mut world = World::default();
    world.put(psk("a", "a", 1)).unwrap();
    let first = world.psk("a", 1);
    world.put(CredentialWish { keep_old: Some(HOUR), ..psk("a", "a", 2) }).unwrap();
    world.put(CredentialWish { keep_old: Some(HOUR), ..psk("a", "a", 1) }).unwrap();
    assert!(world.table.is_current(SERVER, &first));
    assert_eq!(world.access(&world.psk("a", 2), "a"), "in");
    world.pass(HOUR);
    assert!(world.table.is_current(SERVER, &first));
    assert_eq!(world.access(&world.psk("a", 2), "a"), "credential_gone");
}

#[test]
fn putting_the_same_proof_again_ends_no_session() {
    let mut world = World::default();
    world.put(psk("a", "a", 1)).unwrap();
    let who = world.psk("a", 1);
    world.put(CredentialWish { endpoints: Some("x-*".to_owned()), ..psk("a", "a", 1) }).unwrap();
    assert!(world.table.is_current(SERVER, &who));
    assert_eq!(world.access(&who, "x-1"), "in");
}

#[test]
fn a_removed_name_comes_back_only_by_a_credential_or_in_a_window() {
    let mut world = World::default();
    world.put(psk("a", "a", 1)).unwrap();
    let who = world.psk("a", 1);
    world.remove("a");
    assert_eq!(world.access(&who, "a"), "credential_gone");
    assert_eq!(world.table.plain_access("a"), PlainAccess::Removed);
    assert_eq!(world.access(&certificate(true, "a", &[]), "a"), "credential_removed");

    let mut restored = world.restored();
    assert_eq!(restored.table.plain_access("a"), PlainAccess::Removed);
    restored.table.readmits_until = Some(Instant::from_micros(1));
    assert_eq!(restored.table.plain_access("a"), PlainAccess::Unknown);
    assert_eq!(restored.access(&certificate(true, "a", &[]), "a"), "in");

    world.put(psk("a", "a", 2)).unwrap();
    assert_eq!(world.table.plain_access("a"), PlainAccess::NeedsCredential);
    world.remove("a");
    world.put(wish("a", Means::Blocked)).unwrap();
    world.remove("a");
    assert_eq!(world.table.plain_access("a"), PlainAccess::Unknown, "lifting a block leaves nothing behind");
    assert!(world.rows.is_empty());
}

#[test]
fn a_trusted_certificate_opens_the_name_that_stands_in_it() {
    let mut world = World::default();
    let who = certificate(true, "a", &["urn:dev:b"]);
    assert_eq!(world.access(&who, "a"), "in");
    assert_eq!(world.access(&who, "urn:dev:b"), "identity_mismatch");
    let by = |rule, endpoint| world.table.secure_access(SERVER, &who, endpoint, rule).is_ok();
    assert!(by(CertificateName::AlternativeName, "urn:dev:b"));
    assert!(!by(CertificateName::AlternativeName, "a"));
    assert!(by(CertificateName::Any, "a") && by(CertificateName::Any, "urn:dev:b"));
    assert_eq!(world.table.endpoint_of(SERVER, &who, RULE).as_deref(), Some("a"));
    assert!(world.table.is_own(SERVER, &who, "a"));

    assert_eq!(world.access(&certificate(false, "a", &[]), "a"), "credential_gone", "its names say nothing");
    let stale = Authenticated { generation: 5, ..who.clone() };
    assert!(!world.table.is_current(SERVER, &stale), "the entry that it proved is gone");

    world.put(psk("a", "a", 1)).unwrap();
    assert_eq!(world.access(&who, "a"), "identity_mismatch", "the device has another credential");
    world.put(wish("a", Means::Blocked)).unwrap();
    assert_eq!(world.access(&who, "a"), "blocked");
    assert!(!world.table.is_current(SERVER, &who));
}

#[test]
fn a_certificate_is_found_by_its_pin_and_then_by_its_subject() {
    let mut world = World::default();
    let pinned = wish("pinned", Means::Proof(Proof::Certificate { fingerprint: [9; 32] }));
    let subject = wish("named", Means::Proof(Proof::Subject { subject: "CN=a".into() }));
    world.put(subject).unwrap();
    let by_subject = Authenticated { generation: 1, ..certificate(true, "a", &[]) };
    assert_eq!(world.access(&by_subject, "named"), "in");
    assert_eq!(world.access(&by_subject, "a"), "identity_mismatch", "the entry speaks, not the name");
    let untrusted = Authenticated { generation: 1, ..certificate(false, "a", &[]) };
    assert_eq!(world.access(&untrusted, "named"), "credential_gone");
    world.put(pinned).unwrap();
    let by_pin = Authenticated { generation: 2, ..certificate(true, "a", &[]) };
    assert_eq!(world.access(&by_pin, "pinned"), "in");
    assert_eq!(world.access(&by_subject, "named"), "credential_gone", "the pin is found first now");
}

#[test]
fn a_subject_of_a_common_name_alone_fits_whatever_else_the_certificate_says() {
    let mut world = World::default();
    world.put(wish("a", Means::Proof(Proof::Subject { subject: "CN=a".into() }))).unwrap();
    let identity = |trusted| {
        Identity::Certificate(Arc::new(CertificateIdentity {
            fingerprint: [9; 32],
            trusted,
            subject: "CN=a, O=ACME".to_owned(),
            common_name: Some("a".to_owned()),
            alternative_names: Vec::new(),
        }))
    };
    let who = Authenticated { identity: identity(true), generation: 0 };
    assert_eq!(world.access(&who, "a"), "in");
    assert!(world.table.is_current(SERVER, &who));
    let untrusted = Authenticated { identity: identity(false), generation: 0 };
    assert_eq!(world.access(&untrusted, "a"), "credential_gone");
    world.put(wish("b", Means::Proof(Proof::Subject { subject: "CN=a, O=ACME".into() }))).unwrap();
    assert_eq!(world.access(&who, "a"), "credential_gone", "the whole subject is found first");
    world.remove("b");
    world.remove("a");
    assert!(!world.table.is_current(SERVER, &who));
    assert_eq!(world.access(&who, "a"), "credential_removed");
}

#[test]
fn who_showed_nothing_has_nothing_to_lose_and_opens_nothing() {
    let world = World::default();
    let who = Authenticated { identity: Identity::Anonymous, generation: 0 };
    assert_eq!(world.access(&who, "a"), "no_credential");
    assert!(world.table.is_current(SERVER, &who));
    assert_eq!(world.table.endpoint_of(SERVER, &who, RULE), None);
}

#[test]
fn a_raw_public_key_opens_its_name() {
    let mut world = World::default();
    let spki: Arc<[u8]> = [1, 2, 3].as_slice().into();
    world.put(wish("a", Means::Proof(Proof::PublicKey { spki: spki.clone() }))).unwrap();
    let who = Authenticated { identity: Identity::PublicKey(spki), generation: 1 };
    assert_eq!(world.access(&who, "a"), "in");
    assert_eq!(world.access(&Authenticated { generation: 2, ..who }, "a"), "credential_gone");
}

#[test]
fn use_is_noted_for_the_newest_proof_and_written_once_an_hour() {
    let mut world = World::default();
    world.put(psk("a", "a", 1)).unwrap();
    world.put(CredentialWish { keep_old: Some(HOUR * 9), ..psk("a", "a", 2) }).unwrap();
    world.pass(HOUR);
    let (old, new) = (world.psk("a", 1), world.psk("a", 2));
    assert!(world.table.used(SERVER, &old, world.wall).is_none());
    assert_eq!(world.table.get(SERVER, "a").unwrap().last_used_at, None);
    assert!(world.table.used(SERVER, &new, world.wall).is_some());
    assert!(world.table.used(SERVER, &new, world.wall).is_none());
    assert_eq!(world.table.get(SERVER, "a").unwrap().last_used_at, Some(world.wall));
    world.pass(HOUR);
    assert!(world.table.used(SERVER, &new, world.wall).is_some());
}

#[test]
fn an_end_reckoned_by_an_unset_clock_moves_with_it() {
    let mut world = World::default();
    world.put(psk("a", "a", 1)).unwrap();
    let moment = Moment { wall: WallTime::from_secs(5), synced: false };
    let change = world.table.put(CredentialWish { keep_old: Some(HOUR), ..psk("a", "a", 2) }, 77, moment);
    world.follow(change);
    let old = world.psk("a", 1);
    let change = world.table.correct_times(1_000_000_000);
    world.follow(change);
    world.wall = WallTime::from_secs(1_000_005);
    world.pass(HOUR.saturating_sub(Duration::from_secs(1)));
    assert!(world.table.is_current(SERVER, &old));
    world.pass(Duration::from_secs(1));
    assert!(!world.table.is_current(SERVER, &old));
}

#[test]
fn bounds_hold_for_credentials_patterns_and_removed_names() {
    let mut world = World::default();
    for number in 0..100 {
        world.put(psk(&format!("n{number}"), &format!("n{number}"), 1)).unwrap();
    }
    assert_eq!(world.put(psk("more", "more", 1)), Err(ErrorKind::QueueFull));
    assert_eq!(world.put(psk("n1", "n1", 2)), Ok(()), "what is there may change");
    let mut claims = Claims::default();
    let check = |wish: &CredentialWish, claims: &mut Claims| world.table.check(wish, 101, claims).map_err(|e| e.kind);
    assert_eq!(check(&psk("m1", "m1", 1), &mut claims), Ok(()));
    assert_eq!(check(&psk("m1", "m1", 1), &mut claims), Ok(()));
    assert_eq!(check(&psk("m2", "m2", 1), &mut claims), Err(ErrorKind::QueueFull), "those before it count");
    assert_eq!(check(&psk("n2", "m1", 1), &mut claims), Err(ErrorKind::Conflict), "those before it count");

    let mut world = World::default();
    let patterned = |number: usize| CredentialWish {
        endpoints: Some("*".to_owned()),
        ..psk(&format!("n{number}"), &format!("n{number}"), 1)
    };
    let mut put = |number| {
        world.table.check(&patterned(number), usize::MAX, &mut Claims::default()).map_err(|error| error.kind)?;
        let moment = Moment { wall: world.wall, synced: true };
        world.table.put(patterned(number), 1, moment);
        Ok(())
    };
    assert_eq!((0..MAX_PATTERNS).try_for_each(&mut put), Ok(()));
    assert_eq!(put(MAX_PATTERNS), Err(ErrorKind::QueueFull));

    let mut world = World::default();
    for number in 0..=MAX_REMOVED {
        world.pass(Duration::from_millis(1));
        world.put(wish(&format!("n{number}"), Means::NoSec)).unwrap();
        world.remove(&format!("n{number}"));
    }
    assert_eq!(world.rows.len(), MAX_REMOVED);
    assert_eq!(world.table.plain_access("n0"), PlainAccess::Unknown, "the oldest is forgotten");
    assert_eq!(world.table.plain_access("n1"), PlainAccess::Removed);
}

#[test]
fn rows_that_cannot_be_read_are_counted_and_the_rest_is_taken() {
    let row =
        |value: &[u8]| SecretRow { kind: SecretKind::Credential, key: Vec::new(), value: SecretBytes::new(value) };
    let other = SecretRow { kind: SecretKind::Session, ..row(b"x") };
    let good = Row::of_removal(SERVER, Endpoint::new("a").unwrap(), WallTime::default());
    let broken = SecretRow { key: b"server/c".to_vec(), ..row(b"{") };
    let rows = [broken, row(br#"{"scope":"server","endpoint":"b"}"#), other, row(good.value().expose())];
    let shut = [(SecretKind::Credential, b"server/d".to_vec()), (SecretKind::Session, b"server/e".to_vec())];
    let mut table = Credentials::default();
    let (_, unreadable) = table.restore(&rows, &shut);
    assert_eq!(unreadable, 2);
    for name in ["a", "c", "d"] {
        assert_eq!(table.plain_access(name), PlainAccess::Removed, "{name} is closed, whatever its credential was");
    }
    assert_eq!(table.plain_access("e"), PlainAccess::Unknown);
    table.put(wish("d", Means::NoSec), 1, Moment { wall: WallTime::default(), synced: true });
    assert_eq!(table.plain_access("d"), PlainAccess::Allowed);
    assert_eq!(table.remove(SERVER, "c", WallTime::default()).map(|_| ()), None);
    table.remove(SERVER, "d", WallTime::default());
    let kept = table.rewrite().into_parts().0;
    assert_eq!(kept.len(), 2, "rows that cannot be read are left alone: {kept:?}");
}

/// Whatever happens, the handshakes know exactly what the table holds, and the store gives the same table back.
#[test]
fn handshakes_and_store_follow_every_change() {
    for seed in 0..40 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut below = |limit: u32| random.next_u32() % limit;
        let mut world = World::default();
        for _ in 0..200 {
            let endpoint = format!("n{}", below(4));
            let scope = if below(4) == 0 { Scope::Bootstrap } else { SERVER };
            let means = match below(8) {
                0 => Means::NoSec,
                1 => Means::Blocked,
                2 => Means::Proof(Proof::PublicKey { spki: vec![below(3) as u8].into() }),
                3 => Means::Proof(Proof::Subject { subject: format!("CN={}", below(3)).into() }),
                4 => Means::Proof(Proof::Certificate { fingerprint: [below(3) as u8; 32] }),
                _ => Means::Proof(psk_proof(&format!("i{}", below(3)), below(3) as u8)),
            };
            let keep_old = (below(2) == 0).then_some(HOUR);
            let endpoints = (below(5) == 0).then(|| "n*".to_owned());
            match below(5) {
                0 => world.remove_of(scope, &endpoint),
                1 => world.pass(HOUR / 2),
                _ => {
                    let _ = world.put(CredentialWish { scope, endpoints, keep_old, ..wish(&endpoint, means) });
                }
            }
            let mut held = HashMap::new();
            for scope in [SERVER, Scope::Bootstrap] {
                for (proof, generation) in world.table.iter(scope).flat_map(Entry::proofs) {
                    held.insert((scope, known_as(proof)), generation);
                }
            }
            assert_eq!(world.known, held, "seed {seed}");
        }
        let restored = world.restored();
        assert_eq!(restored.known, world.known, "seed {seed}");
        for scope in [SERVER, Scope::Bootstrap] {
            assert!(restored.table.iter(scope).eq(world.table.iter(scope)), "seed {seed}");
        }
        for number in 0..4 {
            let endpoint = format!("n{number}");
            assert_eq!(restored.table.plain_access(&endpoint), world.table.plain_access(&endpoint), "seed {seed}");
        }
    }
}
