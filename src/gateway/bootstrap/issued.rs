//! What was made for a device: kept, durably, before the device can learn it, and given again until it arrived.
//!
//! A session that ends in the middle leaves its keys here. The next one gives the same, so that whatever the device
//! already wrote down stays right. Only after what was given was used are new ones made.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::orders::{KeyPair, KeyWish};
use crate::gateway::store::{SecretKind, SecretRow, StoreWrite};
use crate::model::bootstrap::{ClientKeys, PskKey, Security, ServerAccount};
use crate::model::credential::SecretBytes;
use crate::model::endpoint::Endpoint;

/// Devices that something was made for; further sessions fail.
pub(super) const MAX_ISSUED: usize = 200_000;

/// One secret that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IssuedSecret {
    /// A pre-shared key.
    Key(SecretBytes),
    /// A raw public key.
    PublicKey(KeyPair),
    /// A certificate.
    Certificate(KeyPair),
}

/// What an account wants to be made for each device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// So many random bytes.
    Random(u8),
    /// A key pair.
    Pair(KeyWish),
}

impl Wish {
    /// What an account wants, if anything.
    pub(super) fn of(account: &ServerAccount) -> Option<Self> {
        match &account.security {
            Security::Psk { key: PskKey::Random(bytes), .. } => Some(Self::Random(*bytes)),
            Security::RawPublicKey { client: ClientKeys::Made, .. } => Some(Self::Pair(KeyWish::RawPublicKey)),
            Security::X509 { client: ClientKeys::Made, .. } => Some(Self::Pair(KeyWish::Certificate)),
            Security::NoSec | Security::Psk { .. } | Security::RawPublicKey { .. } | Security::X509 { .. } => None,
        }
    }

    /// Whether a secret is what this wants.
    pub(super) fn is_met_by(self, secret: &IssuedSecret) -> bool {
        match (self, secret) {
            (Self::Random(bytes), IssuedSecret::Key(key)) => key.expose().len() == usize::from(bytes),
            (Self::Pair(KeyWish::RawPublicKey), IssuedSecret::PublicKey(_))
            | (Self::Pair(KeyWish::Certificate), IssuedSecret::Certificate(_)) => true,
            _ => false,
        }
    }
}

/// What was made for one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Issued {
    /// By the word of the account.
    pub(super) secrets: BTreeMap<String, IssuedSecret>,
    /// Whether a session that gave it came to its end.
    pub(super) delivered: bool,
}

/// What was made for all devices.
#[derive(Debug, Default)]
pub(super) struct Issuance {
    by_endpoint: HashMap<Endpoint, Issued>,
}

/// Bytes are in base64.
#[derive(Serialize, Deserialize)]
struct Row {
    delivered: bool,
    secrets: BTreeMap<String, SecretRowValue>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SecretRowValue {
    Key(String),
    PublicKey { public: String, private: String },
    Certificate { public: String, private: String, subject: Option<Arc<str>> },
}

fn text(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

impl SecretRowValue {
    fn of(secret: &IssuedSecret) -> Self {
        match secret {
            IssuedSecret::Key(key) => Self::Key(text(key.expose())),
            IssuedSecret::PublicKey(pair) => {
                Self::PublicKey { public: text(&pair.public), private: text(pair.private.expose()) }
            }
            IssuedSecret::Certificate(pair) => Self::Certificate {
                public: text(&pair.public),
                private: text(pair.private.expose()),
                subject: pair.subject.clone(),
            },
        }
    }

    fn into_secret(self) -> Option<IssuedSecret> {
        let bytes = |text: String| data_encoding::BASE64.decode(text.as_bytes()).ok();
        let pair = |public: String, private: String, subject: Option<Arc<str>>| {
            Some(KeyPair { public: bytes(public)?.into(), private: SecretBytes::new(&bytes(private)?), subject })
        };
        Some(match self {
            Self::Key(key) => IssuedSecret::Key(SecretBytes::new(&bytes(key)?)),
            Self::PublicKey { public, private } => IssuedSecret::PublicKey(pair(public, private, None)?),
            Self::Certificate { public, private, subject } => {
                IssuedSecret::Certificate(pair(public, private, subject)?)
            }
        })
    }
}

fn row(endpoint: &Endpoint, issued: &Issued) -> StoreWrite {
    let secrets = issued.secrets.iter().map(|(word, secret)| (word.clone(), SecretRowValue::of(secret))).collect();
    let row = Row { delivered: issued.delivered, secrets };
    let value = SecretBytes::new(&serde_json::to_vec(&row).unwrap_or_default());
    StoreWrite::PutSecret { kind: SecretKind::Issued, key: endpoint.as_str().as_bytes().to_vec(), value }
}

impl Issuance {
    /// What was made for a device.
    pub(super) fn get(&self, endpoint: &Endpoint) -> Option<&Issued> {
        self.by_endpoint.get(endpoint)
    }

    /// Whether something can be made for this device.
    pub(super) fn has_room_for(&self, endpoint: &Endpoint) -> bool {
        self.by_endpoint.len() < MAX_ISSUED || self.by_endpoint.contains_key(endpoint)
    }

    /// Keeps what was made; what is to be written.
    pub(super) fn put(&mut self, endpoint: &Endpoint, issued: Issued) -> StoreWrite {
        let write = row(endpoint, &issued);
        self.by_endpoint.insert(endpoint.clone(), issued);
        write
    }

    /// The device has what was made for it; what is to be written.
    pub(super) fn delivered(&mut self, endpoint: &Endpoint) -> Option<StoreWrite> {
        let issued = self.by_endpoint.get_mut(endpoint).filter(|issued| !issued.delivered)?;
        issued.delivered = true;
        Some(row(endpoint, issued))
    }

    /// Takes the rows of the store; how many cannot be read. What was in those is made anew.
    pub(super) fn restore(&mut self, rows: &[SecretRow]) -> usize {
        let mut unreadable = 0;
        for stored in rows.iter().filter(|row| row.kind == SecretKind::Issued) {
            let endpoint = std::str::from_utf8(&stored.key).ok().and_then(|name| Endpoint::new(name).ok());
            let row = serde_json::from_slice::<Row>(stored.value.expose()).ok();
            let (Some(endpoint), Some(row)) = (endpoint, row) else {
                unreadable += 1;
                continue;
            };
            let secrets = row.secrets.into_iter().filter_map(|(word, value)| Some((word, value.into_secret()?)));
            self.by_endpoint.insert(endpoint, Issued { secrets: secrets.collect(), delivered: row.delivered });
        }
        unreadable
    }

    /// All rows anew, for a store that lost some.
    pub(super) fn rewrite(&self) -> impl Iterator<Item = StoreWrite> {
        self.by_endpoint.iter().map(|(endpoint, issued)| row(endpoint, issued))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_survives_its_row() {
        let pair = |subject: Option<&str>| KeyPair {
            public: [1, 2].as_slice().into(),
            private: SecretBytes::new(&[3]),
            subject: subject.map(Into::into),
        };
        let secrets = [
            ("a".to_owned(), IssuedSecret::Key(SecretBytes::new(&[7; 16]))),
            ("b".to_owned(), IssuedSecret::PublicKey(pair(None))),
            ("c".to_owned(), IssuedSecret::Certificate(pair(Some("CN=x")))),
        ];
        let issued = Issued { secrets: secrets.into(), delivered: true };
        let endpoint = Endpoint::new("node").unwrap();
        let mut issuance = Issuance::default();
        let StoreWrite::PutSecret { kind, key, value } = issuance.put(&endpoint, issued.clone()) else { panic!() };
        let mut restored = Issuance::default();
        assert_eq!(restored.restore(&[SecretRow { kind, key, value }]), 0);
        assert_eq!(restored.get(&endpoint), Some(&issued));
    }
}
