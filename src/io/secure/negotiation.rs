//! What one handshake has to go by, and what it learns: lives beside the library's own state, where its callbacks find
//! it.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{Ssl, SslRef, SslSession};

use super::attempts::Attempts;
use super::peer;
use super::proofs::Proofs;
use crate::gateway::vocabulary::Authenticated;
use crate::io::dtls_handshake::Callbacks;
use crate::model::credential::{Identity, Scope};

/// See the module.
#[derive(Default)]
pub struct Negotiation {
    /// Which server the peer speaks to.
    pub scope: Scope,
    /// What peers may prove themselves by.
    pub proofs: Arc<Proofs>,
    /// What the peer may call this side by (RFC 9146); empty where it needs no id.
    pub connection_id: Option<Vec<u8>>,
    /// The session that the peer wants to resume by its id.
    pub resumable: Option<SslSession>,
    /// First time until a flight is repeated.
    pub first_timeout: Duration,
    /// How many keys back from the newest an identity is tried with, where it has several.
    pub attempts: Attempts,
    /// Suites that the peer offered, for the log.
    pub offered: Vec<u16>,
    /// The identity as it stands in the ClientKeyExchange: the library cuts it at the first zero byte.
    pub claimed: OnceLock<Vec<u8>>,
    /// What the peer wants to be called.
    pub peer_connection_id: OnceLock<Vec<u8>>,
    /// The identity whose key was used, and the state of its credential.
    pub used_key: OnceLock<(Vec<u8>, u64)>,
    /// An identity that has no key.
    pub unknown_identity: OnceLock<Vec<u8>>,
    /// A raw public key that is not known.
    pub unknown_public_key: OnceLock<Vec<u8>>,
    /// A session that can be resumed by its id.
    pub new_session: OnceLock<SslSession>,
    /// Why a certificate was refused: a code of X509_V_ERR, 0 for none.
    pub certificate_error: AtomicI32,
    /// What was wrong with it.
    pub refused_certificate: OnceLock<String>,
}

static INDEX: OnceLock<Option<Index<Ssl, Negotiation>>> = OnceLock::new();

fn index() -> Option<Index<Ssl, Negotiation>> {
    *INDEX.get_or_init(|| Ssl::new_ex_index().ok())
}

impl Negotiation {
    /// Puts it beside a handshake.
    ///
    /// # Errors
    /// If the library has no room.
    pub fn attach(self, ssl: &mut Ssl) -> Result<(), ErrorStack> {
        ssl.set_ex_data(index().ok_or_else(ErrorStack::get)?, self);
        Ok(())
    }

    /// That of a handshake.
    #[must_use]
    pub fn of(ssl: &SslRef) -> Option<&Self> {
        ssl.ex_data(index()?)
    }

    /// Notes why a certificate is refused.
    pub(super) fn refuse_certificate(&self, code: i32, what: String) {
        self.certificate_error.store(code, Ordering::Relaxed);
        // The first reason is the one to tell.
        let _ = self.refused_certificate.set(what);
    }

    /// Who the peer proved to be in this handshake or in the one whose session it resumes; `None`: nobody whom the proofs
    /// know.
    #[must_use]
    pub fn authenticated(&self, ssl: &SslRef) -> Option<Authenticated> {
        if ssl.session_reused() {
            let data = crate::io::dtls_handshake::session_data(ssl.session()?)?;
            return decode(&data).filter(|who| self.proofs.is_current(self.scope, who));
        }
        self.proven(ssl)
    }

    fn proven(&self, ssl: &SslRef) -> Option<Authenticated> {
        if let Some((identity, generation)) = self.used_key.get() {
            return Some(Authenticated {
                identity: Identity::Psk(identity.as_slice().into()),
                generation: *generation,
            });
        }
        if let Some(spki) = crate::io::dtls_handshake::peer_public_key(ssl) {
            let generation = self.proofs.public_key(self.scope, &spki)?;
            return Some(Authenticated { identity: Identity::PublicKey(spki.into()), generation });
        }
        let Some(certificate) = ssl.peer_certificate() else {
            return Some(Authenticated { identity: Identity::Anonymous, generation: 0 });
        };
        let trusted = ssl.verify_result() == openssl::x509::X509VerifyResult::OK
            && self.certificate_error.load(Ordering::Relaxed) == 0;
        let identity = peer::certificate_identity(&certificate, trusted)?;
        let generation = self.proofs.generation_of(self.scope, &identity)?;
        Some(Authenticated { identity: Identity::Certificate(Arc::new(identity)), generation })
    }
}

/// For the store and for tickets.
#[must_use]
pub fn encode(who: &Authenticated) -> Option<Vec<u8>> {
    serde_json::to_vec(&(&who.identity, who.generation)).ok()
}

/// From there.
#[must_use]
pub fn decode(data: &[u8]) -> Option<Authenticated> {
    let (identity, generation) = serde_json::from_slice(data).ok()?;
    Some(Authenticated { identity, generation })
}

impl Callbacks for Negotiation {
    fn of(ssl: &SslRef) -> Option<&Self> {
        Self::of(ssl)
    }

    fn first_timeout(&self) -> Duration {
        self.first_timeout
    }

    fn ticket_data(&self, ssl: &SslRef) -> Option<Vec<u8>> {
        encode(&self.authenticated(ssl)?)
    }

    fn may_resume(&self, ticket_data: &[u8]) -> bool {
        decode(ticket_data).is_some_and(|who| self.proofs.is_current(self.scope, &who))
    }
}
