//! Credentials and what they prove: who a peer is after a handshake, and which endpoint names that lets it use.
//!
//! Keys are [`SecretBytes`]: they have no text form, so that neither a log line nor a debug output can show one.

use std::fmt;
use std::sync::Arc;

/// Bytes that must not be shown. Compared like bytes; cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Arc<[u8]>);

impl SecretBytes {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for cryptography and for the store alone.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Longest pre-shared key, in bytes (Core TS 1.2.2, Security object; OpenSSL takes more).
pub const MAX_KEY_BYTES: usize = 64;

/// Longest identity of a pre-shared key, in bytes (RFC 4279 section 5.3; OpenSSL's bound).
pub const MAX_IDENTITY_BYTES: usize = 255;

/// Which server a credential opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The LwM2M server.
    #[default]
    Server,
    /// The bootstrap server.
    Bootstrap,
}

/// One of something for each server.
#[derive(Clone, Debug, Default)]
pub struct ByScope<T> {
    server: T,
    bootstrap: T,
}

impl<T> ByScope<T> {
    /// That of one server.
    pub const fn of(&self, scope: Scope) -> &T {
        match scope {
            Scope::Server => &self.server,
            Scope::Bootstrap => &self.bootstrap,
        }
    }

    /// Both.
    pub const fn both(&self) -> [&T; 2] {
        [&self.server, &self.bootstrap]
    }

    /// That of one server, to change it.
    pub const fn of_mut(&mut self, scope: Scope) -> &mut T {
        match scope {
            Scope::Server => &mut self.server,
            Scope::Bootstrap => &mut self.bootstrap,
        }
    }
}

/// What a peer has to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A pre-shared key.
    Psk {
        /// Identity, any bytes.
        identity: Arc<[u8]>,
        /// Key.
        key: SecretBytes,
    },
    /// The private half of a raw public key.
    PublicKey {
        /// Its SubjectPublicKeyInfo, DER.
        spki: Arc<[u8]>,
    },
    /// One certificate and no other.
    Certificate {
        /// SHA-256 of its DER.
        fingerprint: [u8; 32],
    },
    /// A certificate of a trusted authority with this subject.
    Subject {
        /// `CN=..`, as [`CertificateIdentity::subject`] writes it.
        subject: Arc<str>,
    },
}

/// Who a peer proved to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// It has the key of this identity.
    Psk(#[serde(with = "hex_bytes")] Arc<[u8]>),
    /// It has the private half of this key: SubjectPublicKeyInfo, DER.
    PublicKey(#[serde(with = "hex_bytes")] Arc<[u8]>),
    /// It has the private key of a certificate.
    Certificate(Arc<CertificateIdentity>),
    /// Nobody: the peer need not show a certificate and did not.
    Anonymous,
}

/// What a certificate says of its holder.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct CertificateIdentity {
    /// SHA-256 of its DER.
    #[serde(with = "hex_array")]
    pub fingerprint: [u8; 32],
    /// Whether a trusted authority vouches for its names. Else the certificate itself is known, and its names say
    /// nothing.
    pub trusted: bool,
    /// The subject, attributes in the certificate's order: `CN=node-1, O=ACME`.
    pub subject: String,
    /// The last common name of the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common_name: Option<String>,
    /// DNS names and URIs among the subject's alternative names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternative_names: Vec<String>,
}

impl CertificateIdentity {
    /// What tells holders apart: a renewed certificate of an authority is the same holder.
    fn holder(&self) -> (Option<&[u8; 32]>, Option<&str>) {
        if self.trusted { (None, Some(&self.subject)) } else { (Some(&self.fingerprint), None) }
    }
}

impl PartialEq for CertificateIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.holder() == other.holder()
    }
}

impl Eq for CertificateIdentity {}

impl std::hash::Hash for CertificateIdentity {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.holder().hash(state);
    }
}

/// As the interfaces show it; an identity of a pre-shared key that is no plain text is written in hex behind `hex:`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Psk(identity) => f.write_str(&shown_identity(identity)),
            Self::PublicKey(spki) => write!(f, "rpk:{}", data_encoding::BASE64.encode(spki)),
            Self::Certificate(certificate) => f.write_str(&certificate.subject),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// The identity of a pre-shared key as text.
#[must_use]
pub fn shown_identity(identity: &[u8]) -> String {
    match std::str::from_utf8(identity) {
        Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) && !text.starts_with("hex:") => {
            text.to_owned()
        }
        _ => format!("hex:{}", data_encoding::HEXLOWER.encode(identity)),
    }
}

mod hex_bytes {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Arc<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::HEXLOWER.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[u8]>, D::Error> {
        let text = String::deserialize(deserializer)?;
        data_encoding::HEXLOWER.decode(text.as_bytes()).map(Into::into).map_err(serde::de::Error::custom)
    }
}

mod hex_array {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::HEXLOWER.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        bytes.try_into().map_err(|_| serde::de::Error::custom("a fingerprint has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(trusted: bool, subject: &str, first: u8) -> Identity {
        let mut fingerprint = [0; 32];
        fingerprint[0] = first;
        Identity::Certificate(Arc::new(CertificateIdentity {
            fingerprint,
            trusted,
            subject: subject.to_owned(),
            common_name: None,
            alternative_names: Vec::new(),
        }))
    }

    #[test]
    fn a_secret_has_no_text_form() {
        assert_eq!(format!("{:?}", SecretBytes::new(b"hunter2")), "[secret]");
    }

    #[test]
    fn an_identity_that_is_no_text_is_shown_in_hex() {
        assert_eq!(shown_identity(b"node-1"), "node-1");
        assert_eq!(shown_identity(b"a\0b"), "hex:610062");
        assert_eq!(shown_identity(&[0xff]), "hex:ff");
        assert_eq!(shown_identity(b"hex:61"), "hex:6865783a3631");
        assert_eq!(shown_identity(b""), "hex:");
    }

    #[test]
    fn a_renewed_certificate_of_an_authority_is_the_same_holder_and_a_pinned_one_is_not() {
        assert_eq!(certificate(true, "CN=a", 1), certificate(true, "CN=a", 2));
        assert_ne!(certificate(true, "CN=a", 1), certificate(true, "CN=b", 1));
        assert_ne!(certificate(false, "CN=a", 1), certificate(false, "CN=a", 2));
        assert_ne!(certificate(true, "CN=a", 1), certificate(false, "CN=a", 1));
    }

    #[test]
    fn an_identity_survives_its_json() {
        let identities = [
            Identity::Psk(b"a\0\xff".as_slice().into()),
            Identity::PublicKey([1, 2].as_slice().into()),
            certificate(true, "CN=a", 7),
            Identity::Anonymous,
        ];
        for identity in identities {
            let json = serde_json::to_string(&identity).unwrap();
            assert_eq!(serde_json::from_str::<Identity>(&json).unwrap(), identity);
        }
    }
}
