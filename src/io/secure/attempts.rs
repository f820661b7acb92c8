//! Which of several keys of an identity the next handshake tries: a former one may count beside the newest for a while,
//! and nothing but a failure tells which one a device has.

use std::collections::HashMap;
use std::sync::Arc;

use super::proofs::Proofs;
use crate::model::credential::Scope;

/// Identities that are remembered; beyond it all begin with their newest key again.
const MAX_IDENTITIES: usize = 1_000;

/// How many keys back from the newest each identity is tried with. Cheap to clone for a handshake.
#[derive(Clone, Debug, Default)]
pub struct Attempts(Arc<HashMap<Vec<u8>, usize>>);

impl Attempts {
    /// How many keys back an identity is tried with.
    pub fn back(&self, identity: &[u8]) -> usize {
        self.0.get(identity).copied().unwrap_or_default()
    }

    /// The key that was tried did not fit: the next handshake of the identity tries another one, if it has several.
    pub fn try_another(&mut self, proofs: &Proofs, scope: Scope, identity: &[u8]) {
        let keys = proofs.keys(scope, identity).len();
        if keys < 2 {
            return;
        }
        let attempts = Arc::make_mut(&mut self.0);
        if attempts.len() >= MAX_IDENTITIES && !attempts.contains_key(identity) {
            attempts.clear();
        }
        let back = attempts.entry(identity.to_vec()).or_default();
        *back = (*back + 1) % keys;
    }
}
