//! One credential, and the row of the store that holds it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use crate::model::credential::{CertificateIdentity, Identity, Proof, Scope, SecretBytes};
use crate::model::credential_wish::Means;
use crate::model::endpoint::Endpoint;
use crate::model::time::WallTime;

/// A credential that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its own name.
    pub endpoint: Endpoint,
    /// What it is.
    pub means: Means,
    /// Subject of the certificate that is pinned, to be shown.
    pub certificate_subject: Option<Arc<str>>,
    /// The endpoint names that it opens beside its own.
    pub endpoints: Option<Pattern>,
    /// Which state of it this is; 0 where there is no proof.
    pub generation: u64,
    /// The proof before, while it is still valid.
    pub former: Option<Former>,
    /// When it came.
    pub created_at: WallTime,
    /// When it changed last.
    pub changed_at: WallTime,
    /// When a peer registered by it last.
    pub last_used_at: Option<WallTime>,
    /// The operator's name for the device, for when it is known.
    pub name: Option<String>,
    /// Its tags, likewise.
    pub tags: Vec<String>,
}

/// A proof that is about to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// What it is.
    pub proof: Proof,
    /// Which state of the credential it was.
    pub generation: u64,
    /// When it ends.
    pub until: WallTime,
    /// Whether it ends as soon as a peer comes with the newer one.
    pub until_used: bool,
    /// Whether `until` was reckoned by a clock that was not set. Not stored.
    pub estimated: bool,
}

impl Entry {
    /// The proofs in force with their generations, the newest first.
    pub fn proofs(&self) -> impl Iterator<Item = (&Proof, u64)> {
        let current = self.means.proof().map(|proof| (proof, self.generation));
        let former = self.former.as_ref().map(|former| (&former.proof, former.generation));
        current.into_iter().chain(former)
    }

    /// Whether it opens an endpoint name, its own or one that fits its pattern.
    pub fn opens(&self, endpoint: &str) -> bool {
        self.endpoint.as_str() == endpoint || self.endpoints.as_ref().is_some_and(|pattern| pattern.fits(endpoint))
    }
}

/// A glob of endpoint names.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    text: Arc<str>,
    glob: WildMatch,
}

impl Pattern {
    /// Compiles a glob of `*` and `?`.
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), glob: WildMatch::new(text) }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a name fits.
    pub fn fits(&self, endpoint: &str) -> bool {
        self.glob.matches(endpoint)
    }

    /// How many characters it fixes: of two patterns, the one that fixes more says more.
    pub fn fixed_characters(&self) -> usize {
        self.text.chars().filter(|character| !matches!(character, '*' | '?')).count()
    }
}

/// What a proof is recognized by: unique within a scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    Psk(Arc<[u8]>),
    PublicKey(Arc<[u8]>),
    Certificate([u8; 32]),
    Subject(Arc<str>),
}

impl Holder {
    pub(super) fn of_proof(proof: &Proof) -> Self {
        match proof {
            Proof::Psk { identity, .. } => Self::Psk(identity.clone()),
            Proof::PublicKey { spki } => Self::PublicKey(spki.clone()),
            Proof::Certificate { fingerprint } => Self::Certificate(*fingerprint),
            Proof::Subject { subject } => Self::Subject(subject.clone()),
        }
    }

    /// By what a peer may be recognized, the most exact first.
    pub(super) fn of_identity(identity: &Identity) -> [Option<Self>; 2] {
        match identity {
            Identity::Psk(identity) => [Some(Self::Psk(identity.clone())), None],
            Identity::PublicKey(spki) => [Some(Self::PublicKey(spki.clone())), None],
            Identity::Certificate(certificate) => {
                let CertificateIdentity { fingerprint, trusted, subject, .. } = &**certificate;
                [Some(Self::Certificate(*fingerprint)), trusted.then(|| Self::Subject(subject.as_str().into()))]
            }
            Identity::Anonymous => [None, None],
        }
    }

    /// A trusted certificate by its common name alone: a credential that says no more than `CN=..` leaves the rest of
    /// the subject open.
    pub(super) fn of_common_name(identity: &Identity) -> Option<Self> {
        let Identity::Certificate(certificate) = identity else { return None };
        let common_name = certificate.common_name.as_ref().filter(|_| certificate.trusted)?;
        let escaped = common_name.replace('\\', "\\\\").replace(',', "\\,");
        Some(Self::Subject(format!("CN={escaped}").into()))
    }
}

/// The key of a row: scope and name.
pub(super) fn row_key(scope: Scope, endpoint: &str) -> Vec<u8> {
    format!("{}/{endpoint}", scope_word(scope)).into_bytes()
}

/// Scope and name of a key.
pub(super) fn parse_row_key(key: &[u8]) -> Option<(Scope, Endpoint)> {
    let (word, name) = std::str::from_utf8(key).ok()?.split_once('/')?;
    let scope = [Scope::Server, Scope::Bootstrap].into_iter().find(|scope| scope_word(*scope) == word)?;
    Some((scope, Endpoint::new(name).ok()?))
}

/// The word of the interfaces.
pub const fn scope_word(scope: Scope) -> &'static str {
    match scope {
        Scope::Server => "server",
        Scope::Bootstrap => "bootstrap",
    }
}

/// The value of a row.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) scope: Scope,
    pub(super) endpoint: Endpoint,
    /// A credential was removed then, and nothing took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) removed_at: Option<WallTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credential: Option<CredentialRow>,
}

#[derive(Serialize, Deserialize)]
struct CredentialRow {
    means: MeansRow,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate_subject: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoints: Option<String>,
    generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    former: Option<FormerRow>,
    created_at: WallTime,
    changed_at: WallTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_used_at: Option<WallTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct FormerRow {
    proof: MeansRow,
    generation: u64,
    until: WallTime,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    until_used: bool,
}

/// Bytes are in hex.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MeansRow {
    Psk { identity: String, key: String },
    PublicKey { spki: String },
    Certificate { fingerprint: String },
    Subject { subject: Arc<str> },
    NoSec,
    Blocked,
}

impl MeansRow {
    fn of(means: &Means) -> Self {
        match means {
            Means::Proof(proof) => Self::of_proof(proof),
            Means::NoSec => Self::NoSec,
            Means::Blocked => Self::Blocked,
        }
    }

    fn of_proof(proof: &Proof) -> Self {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        match proof {
            Proof::Psk { identity, key } => Self::Psk { identity: hex(identity), key: hex(key.expose()) },
            Proof::PublicKey { spki } => Self::PublicKey { spki: hex(spki) },
            Proof::Certificate { fingerprint } => Self::Certificate { fingerprint: hex(fingerprint) },
            Proof::Subject { subject } => Self::Subject { subject: subject.clone() },
        }
    }

    fn into_means(self) -> Option<Means> {
        let bytes = |hex: String| data_encoding::HEXLOWER.decode(hex.as_bytes()).ok();
        Some(Means::Proof(match self {
            Self::Psk { identity, key } => {
                Proof::Psk { identity: bytes(identity)?.into(), key: SecretBytes::new(&bytes(key)?) }
            }
            Self::PublicKey { spki } => Proof::PublicKey { spki: bytes(spki)?.into() },
            Self::Certificate { fingerprint } => {
                Proof::Certificate { fingerprint: bytes(fingerprint)?.try_into().ok()? }
            }
            Self::Subject { subject } => Proof::Subject { subject },
            Self::NoSec => return Some(Means::NoSec),
            Self::Blocked => return Some(Means::Blocked),
        }))
    }
}

impl Row {
    pub(super) fn of_entry(scope: Scope, entry: &Entry) -> Self {
        let former = entry.former.as_ref().map(|former| FormerRow {
            proof: MeansRow::of_proof(&former.proof),
            generation: former.generation,
            until: former.until,
            until_used: former.until_used,
        });
        let credential = CredentialRow {
            means: MeansRow::of(&entry.means),
            certificate_subject: entry.certificate_subject.clone(),
            endpoints: entry.endpoints.as_ref().map(|pattern| pattern.as_str().to_owned()),
            generation: entry.generation,
            former,
            created_at: entry.created_at,
            changed_at: entry.changed_at,
            last_used_at: entry.last_used_at,
            name: entry.name.clone(),
            tags: entry.tags.clone(),
        };
        Self { scope, endpoint: entry.endpoint.clone(), removed_at: None, credential: Some(credential) }
    }

    pub(super) const fn of_removal(scope: Scope, endpoint: Endpoint, removed_at: WallTime) -> Self {
        Self { scope, endpoint, removed_at: Some(removed_at), credential: None }
    }

    /// The credential; `None` if there is none or it cannot be read.
    pub(super) fn into_entry(self) -> Option<Entry> {
        let row = self.credential?;
        let former = row.former.and_then(|former| {
            let Some(Means::Proof(proof)) = former.proof.clone().into_means() else { return None };
            let FormerRow { generation, until, until_used, .. } = former;
            Some(Former { proof, generation, until, until_used, estimated: false })
        });
        Some(Entry {
            endpoint: self.endpoint,
            means: row.means.into_means()?,
            certificate_subject: row.certificate_subject,
            endpoints: row.endpoints.as_deref().map(Pattern::new),
            generation: row.generation,
            former,
            created_at: row.created_at,
            changed_at: row.changed_at,
            last_used_at: row.last_used_at,
            name: row.name,
            tags: row.tags,
        })
    }

    pub(super) fn value(&self) -> SecretBytes {
        SecretBytes::new(&serde_json::to_vec(self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_credential_survives_its_row() {
        let proofs = [
            Proof::Psk { identity: b"a\0\xff".as_slice().into(), key: SecretBytes::new(&[7; 16]) },
            Proof::PublicKey { spki: [1, 2].as_slice().into() },
            Proof::Certificate { fingerprint: [3; 32] },
            Proof::Subject { subject: "CN=a, O=b".into() },
        ];
        let former = Former {
            proof: proofs[0].clone(),
            generation: u64::MAX,
            until: WallTime::from_secs(9),
            until_used: true,
            estimated: false,
        };
        let means = proofs.into_iter().map(Means::Proof).chain([Means::NoSec, Means::Blocked]);
        for means in means {
            let entry = Entry {
                endpoint: Endpoint::new("a").unwrap(),
                means,
                certificate_subject: Some("CN=x".into()),
                endpoints: Some(Pattern::new("a-*")),
                generation: 1,
                former: Some(former.clone()),
                created_at: WallTime::from_secs(1),
                changed_at: WallTime::from_secs(2),
                last_used_at: Some(WallTime::from_secs(3)),
                name: Some("n".to_owned()),
                tags: vec!["t".to_owned()],
            };
            let value = Row::of_entry(Scope::Bootstrap, &entry).value();
            let row: Row = serde_json::from_slice(value.expose()).unwrap();
            assert_eq!(row.scope, Scope::Bootstrap);
            assert_eq!(row.into_entry(), Some(entry));
        }
    }
}
