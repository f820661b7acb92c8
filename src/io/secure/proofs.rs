//! What peers may prove themselves by, as the core told it last.
//!
//! Handshakes look into a snapshot; the table is copied only when it changes while one of them holds it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::gateway::vocabulary::Authenticated;
use crate::model::credential::{ByScope, CertificateIdentity, Identity, Proof, Scope, SecretBytes};

/// A key, and which state of its credential it is.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key.
    pub key: SecretBytes,
    /// State of the credential.
    pub generation: u64,
}

/// Proofs of one scope.
#[derive(Clone, Debug, Default)]
struct Set {
    /// Keys by identity, the newest last: a former one may count beside it for a while.
    keys: HashMap<Arc<[u8]>, Vec<Key>>,
    public_keys: HashMap<Arc<[u8]>, u64>,
    certificates: HashMap<[u8; 32], u64>,
    subjects: HashMap<Arc<str>, u64>,
}

/// All proofs in force.
#[derive(Clone, Debug, Default)]
pub struct Proofs(ByScope<Set>);

impl Proofs {
    /// A proof counts from now on.
    pub fn admit(&mut self, scope: Scope, proof: Proof, generation: u64) {
        let set = self.0.of_mut(scope);
        match proof {
            Proof::Psk { identity, key } => {
                let keys = set.keys.entry(identity).or_default();
                keys.retain(|known| known.key != key);
                keys.push(Key { key, generation });
            }
            Proof::PublicKey { spki } => drop(set.public_keys.insert(spki, generation)),
            Proof::Certificate { fingerprint } => drop(set.certificates.insert(fingerprint, generation)),
            Proof::Subject { subject } => drop(set.subjects.insert(subject, generation)),
        }
    }

    /// A proof counts no more.
    pub fn revoke(&mut self, scope: Scope, proof: &Proof) {
        let set = self.0.of_mut(scope);
        match proof {
            Proof::Psk { identity, key } => {
                if let Some(keys) = set.keys.get_mut(identity) {
                    keys.retain(|known| known.key != *key);
                    if keys.is_empty() {
                        set.keys.remove(identity);
                    }
                }
            }
            Proof::PublicKey { spki } => drop(set.public_keys.remove(spki)),
            Proof::Certificate { fingerprint } => drop(set.certificates.remove(fingerprint)),
            Proof::Subject { subject } => drop(set.subjects.remove(subject)),
        }
    }

    /// The keys of an identity, the newest last.
    pub fn keys(&self, scope: Scope, identity: &[u8]) -> &[Key] {
        self.0.of(scope).keys.get(identity).map_or(&[], Vec::as_slice)
    }

    /// Which state of a credential a raw public key is.
    pub fn public_key(&self, scope: Scope, spki: &[u8]) -> Option<u64> {
        self.0.of(scope).public_keys.get(spki).copied()
    }

    /// Which state of a credential a certificate is.
    pub fn certificate(&self, scope: Scope, fingerprint: &[u8; 32]) -> Option<u64> {
        self.0.of(scope).certificates.get(fingerprint).copied()
    }

    /// Which state of a credential a certificate proves: its own, else that of its subject, else 0 for a trusted one
    /// that no credential speaks of.
    pub fn generation_of(&self, scope: Scope, certificate: &CertificateIdentity) -> Option<u64> {
        let set = self.0.of(scope);
        self.certificate(scope, &certificate.fingerprint).or_else(|| {
            certificate.trusted.then(|| set.subjects.get(certificate.subject.as_str()).copied().unwrap_or_default())
        })
    }

    /// Whether what a session was begun with still counts.
    pub fn is_current(&self, scope: Scope, who: &Authenticated) -> bool {
        match &who.identity {
            Identity::Psk(identity) => self.keys(scope, identity).iter().any(|key| key.generation == who.generation),
            Identity::PublicKey(spki) => self.public_key(scope, spki) == Some(who.generation),
            Identity::Certificate(certificate) => self.generation_of(scope, certificate) == Some(who.generation),
            Identity::Anonymous => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn psk(key: &[u8]) -> Proof {
        Proof::Psk { identity: b"node".as_slice().into(), key: SecretBytes::new(key) }
    }

    fn who(generation: u64) -> Authenticated {
        Authenticated { identity: Identity::Psk(b"node".as_slice().into()), generation }
    }

    #[test]
    fn a_former_key_counts_until_it_is_revoked() {
        let mut proofs = Proofs::default();
        proofs.admit(Scope::Server, psk(b"old"), 1);
        proofs.admit(Scope::Server, psk(b"new"), 2);
        let keys: Vec<u64> = proofs.keys(Scope::Server, b"node").iter().map(|key| key.generation).collect();
        assert_eq!(keys, [1, 2]);
        assert!(proofs.is_current(Scope::Server, &who(1)));
        proofs.revoke(Scope::Server, &psk(b"old"));
        assert!(!proofs.is_current(Scope::Server, &who(1)));
        assert!(proofs.is_current(Scope::Server, &who(2)));
        proofs.revoke(Scope::Server, &psk(b"new"));
        assert!(proofs.keys(Scope::Server, b"node").is_empty());
    }

    #[test]
    fn scopes_are_apart() {
        let mut proofs = Proofs::default();
        proofs.admit(Scope::Bootstrap, psk(b"key"), 1);
        assert!(proofs.keys(Scope::Server, b"node").is_empty());
    }
}
