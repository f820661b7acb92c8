//! What the credentials let a peer do.

use super::entry::{Entry, Holder, scope_word};
use super::{Credentials, Denied, PlainAccess, Set};
use crate::gateway::configuration::CertificateName;
use crate::gateway::vocabulary::Authenticated;
use crate::model::credential::{CertificateIdentity, Identity, Scope};
use crate::model::credential_wish::Means;

/// Whose credential a peer showed.
enum Behind<'a> {
    /// An entry, in this state or its former one.
    Entry(&'a Entry),
    /// A certificate that a trusted authority vouches for and no entry speaks of.
    Trusted(&'a CertificateIdentity),
    /// Nothing that counts any more.
    Gone,
    /// The peer showed nothing.
    Nothing,
}

impl Credentials {
    /// How a peer that proves nothing may register at the LwM2M server.
    pub fn plain_access(&self, endpoint: &str) -> PlainAccess {
        self.plain_access_to(Scope::Server, endpoint)
    }

    /// The same of either server: the name's own credential decides, then patterns, then whether it had a credential.
    pub fn plain_access_to(&self, scope: Scope, endpoint: &str) -> PlainAccess {
        let set = self.sets.of(scope);
        let own = set.entries.get(endpoint);
        if own.is_none() && self.is_shut_out(set, endpoint) {
            return PlainAccess::Removed;
        }
        match own.or_else(|| set.by_pattern(endpoint)).map(|entry| &entry.means) {
            None => PlainAccess::Unknown,
            Some(Means::NoSec) => PlainAccess::Allowed,
            Some(Means::Blocked) => PlainAccess::Blocked,
            Some(Means::Proof(_)) => PlainAccess::NeedsCredential,
        }
    }

    /// Whether a peer that proved who it is may register under an endpoint name.
    ///
    /// # Errors
    /// If not, why.
    pub fn secure_access(
        &self,
        scope: Scope,
        who: &Authenticated,
        endpoint: &str,
        rule: CertificateName,
    ) -> Result<(), Denied> {
        let set = self.sets.of(scope);
        let denied = |word, reason| Err(Denied { word, reason });
        let behind = set.behind(who);
        match behind {
            Behind::Nothing => return denied("no_credential", "the peer showed no credential".to_owned()),
            Behind::Gone => {
                let reason = format!("'{}' is no credential of scope {} any more", who.identity, scope_word(scope));
                return denied("credential_gone", reason);
            }
            Behind::Entry(_) | Behind::Trusted(_) => {}
        }
        if set.is_blocked(endpoint) {
            return denied("blocked", format!("endpoint '{endpoint}' is blocked"));
        }
        let own = set.entries.get(endpoint);
        let opens = match &behind {
            Behind::Entry(entry) => entry.opens(endpoint),
            Behind::Trusted(certificate) => names(certificate, rule).any(|name| name == endpoint),
            Behind::Gone | Behind::Nothing => false,
        };
        if !opens {
            return denied("identity_mismatch", mismatch(&behind, who, endpoint, rule));
        }
        let is_own = matches!(&behind, Behind::Entry(entry) if entry.endpoint.as_str() == endpoint);
        if !is_own && own.is_some_and(|own| matches!(own.means, Means::Proof(_))) {
            // A key for many names must not open the name of a device that has its own.
            let reason =
                format!("endpoint '{endpoint}' has a credential of its own, and '{}' is another one", who.identity);
            return denied("identity_mismatch", reason);
        }
        if own.is_none() && self.is_shut_out(set, endpoint) {
            let reason =
                format!("the credential of endpoint '{endpoint}' was removed; give it one again, or permit joining");
            return denied("credential_removed", reason);
        }
        Ok(())
    }

    /// The endpoint name of a peer that names none itself: what its credential is for, if that is one name.
    pub fn endpoint_of(&self, scope: Scope, who: &Authenticated, rule: CertificateName) -> Option<String> {
        match self.sets.of(scope).behind(who) {
            Behind::Entry(entry) => entry.endpoints.is_none().then(|| entry.endpoint.as_str().to_owned()),
            Behind::Trusted(certificate) => names(certificate, rule).next().map(str::to_owned),
            Behind::Gone | Behind::Nothing => None,
        }
    }

    /// Whether what a peer proved, in the state in which it proved it, still counts.
    pub fn is_current(&self, scope: Scope, who: &Authenticated) -> bool {
        let set = self.sets.of(scope);
        match set.behind(who) {
            Behind::Entry(_) => true,
            Behind::Trusted(certificate) => {
                let ended = |name: &str| set.is_blocked(name) || self.is_shut_out(set, name);
                !names(certificate, CertificateName::Any).any(ended)
            }
            Behind::Gone => false,
            // Nothing was proven, so nothing can have ended.
            Behind::Nothing => true,
        }
    }

    /// Whether a peer showed the credential of this very name, or a trusted certificate that holds it; not one for many
    /// names.
    pub fn is_own(&self, scope: Scope, who: &Authenticated, endpoint: &str) -> bool {
        match self.sets.of(scope).behind(who) {
            Behind::Entry(entry) => entry.endpoint.as_str() == endpoint,
            Behind::Trusted(certificate) => names(certificate, CertificateName::Any).any(|name| name == endpoint),
            Behind::Gone | Behind::Nothing => false,
        }
    }

    /// The name of the credential that a peer showed, if it is one of this table.
    pub fn name_of<'a>(&'a self, scope: Scope, who: &'a Authenticated) -> Option<&'a str> {
        match self.sets.of(scope).behind(who) {
            Behind::Entry(entry) => Some(entry.endpoint.as_str()),
            Behind::Trusted(_) | Behind::Gone | Behind::Nothing => None,
        }
    }

    /// Whether the name's credential was removed and no window lets it in again.
    fn is_shut_out(&self, set: &Set, endpoint: &str) -> bool {
        self.readmits_until.is_none() && (set.removed.contains_key(endpoint) || set.unreadable.contains(endpoint))
    }
}

impl Set {
    fn behind<'a>(&'a self, who: &'a Authenticated) -> Behind<'a> {
        if who.identity == Identity::Anonymous {
            return Behind::Nothing;
        }
        for holder in Holder::of_identity(&who.identity).into_iter().flatten() {
            let Some(entry) = self.holders.get(&holder).and_then(|name| self.entries.get(name)) else { continue };
            let counts = entry
                .proofs()
                .any(|(proof, generation)| generation == who.generation && Holder::of_proof(proof) == holder);
            return if counts { Behind::Entry(entry) } else { Behind::Gone };
        }
        if let Some(holder) = Holder::of_common_name(&who.identity)
            && let Some(entry) = self.holders.get(&holder).and_then(|name| self.entries.get(name))
        {
            // The handshakes look for whole subjects: to them nothing speaks of this certificate.
            let counts = who.generation == 0
                || entry
                    .proofs()
                    .any(|(proof, generation)| generation == who.generation && Holder::of_proof(proof) == holder);
            return if counts { Behind::Entry(entry) } else { Behind::Gone };
        }
        match &who.identity {
            // Nothing else has generation 0: an entry that once spoke of the certificate had another one.
            Identity::Certificate(certificate) if certificate.trusted && who.generation == 0 => {
                Behind::Trusted(certificate)
            }
            _ => Behind::Gone,
        }
    }
}

/// The names in a certificate that may be endpoint names.
fn names(certificate: &CertificateIdentity, rule: CertificateName) -> impl Iterator<Item = &str> {
    let common = certificate.common_name.as_deref().filter(|_| rule != CertificateName::AlternativeName);
    let alternative = certificate.alternative_names.iter().filter(move |_| rule != CertificateName::CommonName);
    common.into_iter().chain(alternative.map(String::as_str))
}

fn mismatch(behind: &Behind<'_>, who: &Authenticated, endpoint: &str, rule: CertificateName) -> String {
    match behind {
        Behind::Entry(entry) => match &entry.endpoints {
            Some(pattern) => format!(
                "'{}' is the credential '{}' for '{}', which does not fit endpoint '{endpoint}'",
                who.identity,
                entry.endpoint,
                pattern.as_str()
            ),
            None => {
                format!("'{}' is the credential of endpoint '{}', not of '{endpoint}'", who.identity, entry.endpoint)
            }
        },
        Behind::Trusted(_) | Behind::Gone | Behind::Nothing => {
            let place = match rule {
                CertificateName::CommonName => "common name",
                CertificateName::AlternativeName => "alternative names",
                CertificateName::Any => "common name and alternative names",
            };
            format!(
                "endpoint '{endpoint}' does not stand in the {place} of certificate '{}', and no credential speaks of it",
                who.identity
            )
        }
    }
}
