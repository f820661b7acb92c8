//! What the bootstrap server and the world around the core tell one another: key pairs, and other servers that have to
//! know a device.
//!
//! ```text
//! Make ──▶ Made, once        Provision ──▶ Provisioned, once
//! ```
//!
//! Simulations put a stand-in in their place.

use std::sync::Arc;

use crate::model::bootstrap::ProvisionTarget;
use crate::model::credential::SecretBytes;
use crate::model::endpoint::Endpoint;

/// Something asked for, until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderId(pub u64);

/// What the bootstrap server wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootstrapOrder {
    /// Make key pairs; answered by [`BootstrapInput::Made`], which also tells who this gateway is to devices.
    Make {
        /// For the answer.
        order: OrderId,
        /// Whose keys.
        endpoint: Endpoint,
        /// Which, in order; may be empty where only the gateway's own identity is wanted.
        wishes: Vec<KeyWish>,
    },
    /// Tell another server of a device; answered by [`BootstrapInput::Provisioned`].
    Provision {
        /// For the answer.
        order: OrderId,
        /// Which server.
        target: Arc<ProvisionTarget>,
        /// The device.
        endpoint: Endpoint,
        /// By what it will prove itself.
        credential: ProvisionCredential,
    },
}

/// A key pair to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyWish {
    /// A raw public key.
    RawPublicKey,
    /// A certificate of the gateway's own authority, with the endpoint name as common name.
    Certificate,
}

/// A key pair that was made, on P-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// SubjectPublicKeyInfo, or the certificate: DER.
    pub public: Arc<[u8]>,
    /// PKCS #8, DER.
    pub private: SecretBytes,
    /// Subject of the certificate as the interfaces write it; `None` for a raw public key.
    pub subject: Option<Arc<str>>,
}

/// By what a device will prove itself at another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProvisionCredential {
    /// Not at all.
    NoSec,
    /// A pre-shared key.
    Psk {
        /// Its identity.
        identity: String,
        /// The key.
        key: SecretBytes,
    },
    /// A raw public key: SubjectPublicKeyInfo, DER.
    RawPublicKey(Arc<[u8]>),
    /// A certificate: DER.
    Certificate(Arc<[u8]>),
}

/// What the bootstrap server hears.
#[derive(Clone, Debug)]
pub enum BootstrapInput {
    /// Key pairs are made, in the order of the wishes, or cannot be.
    Made {
        /// Which order.
        order: OrderId,
        /// The pairs, or why there are none.
        result: Result<Made, String>,
    },
    /// Another server knows the device, or why not.
    Provisioned {
        /// Which order.
        order: OrderId,
        /// Why not, for the operator. Holds no secret.
        result: Result<(), String>,
    },
}

/// Key pairs, and who this gateway is to devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The pairs, in the order of the wishes.
    pub pairs: Vec<KeyPair>,
    /// This gateway's raw public key: SubjectPublicKeyInfo, DER. Empty: it has none, since its certificate has an RSA key
    /// and no other key is configured.
    pub server_public_key: Arc<[u8]>,
    /// This gateway's certificate, DER.
    pub server_certificate: Arc<[u8]>,
}
