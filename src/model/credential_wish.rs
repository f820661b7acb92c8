//! What somebody wants a credential to be: the checked form of a request, before it is put in force.

use std::sync::Arc;
use std::time::Duration;

use super::credential::{Proof, Scope};
use super::endpoint::Endpoint;

/// How a peer may come under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// With a proof.
    Proof(Proof),
    /// Without any.
    NoSec,
    /// Not at all.
    Blocked,
}

impl Means {
    /// The word of the interfaces: `psk`, `rpk`, `x509`, `nosec` or `blocked`.
    #[must_use]
    pub const fn mode(&self) -> &'static str {
        match self {
            Self::Proof(Proof::Psk { .. }) => "psk",
            Self::Proof(Proof::PublicKey { .. }) => "rpk",
            Self::Proof(Proof::Certificate { .. } | Proof::Subject { .. }) => "x509",
            Self::NoSec => "nosec",
            Self::Blocked => "blocked",
        }
    }

    /// What has to be shown, if anything.
    #[must_use]
    pub const fn proof(&self) -> Option<&Proof> {
        match self {
            Self::Proof(proof) => Some(proof),
            Self::NoSec | Self::Blocked => None,
        }
    }
}

/// A credential as somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialWish {
    /// Which server it opens.
    pub scope: Scope,
    /// Its own name, which is the endpoint name of its device unless `endpoints` says otherwise.
    pub endpoint: Endpoint,
    /// What it is.
    pub means: Means,
    /// Subject of the certificate that is pinned, to be shown.
    pub certificate_subject: Option<Arc<str>>,
    /// Glob of the endpoint names that it opens beside its own.
    pub endpoints: Option<String>,
    /// How long the proof before stays valid; `None`: it ends now.
    pub keep_old: Option<Duration>,
    /// Whether the proof before ends as soon as a peer comes with this one.
    pub until_used: bool,
    /// The operator's name for the device, for when it is known; `None` leaves what there is.
    pub name: Option<String>,
    /// Its tags, likewise.
    pub tags: Option<Vec<String>>,
}

impl CredentialWish {
    /// A wish for one device of the LwM2M server, with nothing beside.
    #[must_use]
    pub const fn new(endpoint: Endpoint, means: Means) -> Self {
        Self {
            scope: Scope::Server,
            endpoint,
            means,
            certificate_subject: None,
            endpoints: None,
            keep_old: None,
            until_used: false,
            name: None,
            tags: None,
        }
    }
}
