//! Who a certificate says its holder is, and whether it is good enough.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use openssl::error::{Error, ErrorStack};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::Id;
use openssl::ssl::SslRef;
use openssl::x509::{X509Ref, X509StoreContext, X509StoreContextRef};

use super::identity::{MIN_CURVE_BITS, MIN_RSA_BITS};
use super::negotiation::Negotiation;
use crate::gateway::handshakes::HandshakeFailure;
use crate::io::dtls_handshake::{public_key_to_verify, verify_result};
use crate::model::credential::{CertificateIdentity, shown_identity};
use crate::protocol::dtls::suite::shown_suite;

/// X509_V_ERR_CERT_NOT_YET_VALID.
const NOT_YET_VALID: i32 = 9;
/// X509_V_ERR_CERT_HAS_EXPIRED.
const EXPIRED: i32 = 10;
/// X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, SELF_SIGNED_CERT_IN_CHAIN, UNABLE_TO_GET_ISSUER_CERT,
/// UNABLE_TO_GET_ISSUER_CERT_LOCALLY, UNABLE_TO_VERIFY_LEAF_SIGNATURE: nobody vouches for it.
const UNTRUSTED: [i32; 5] = [18, 19, 2, 20, 21];
/// X509_V_ERR_EE_KEY_TOO_SMALL, CA_KEY_TOO_SMALL, CA_MD_TOO_WEAK.
const KEY_TOO_SMALL: i32 = 66;
const AUTHORITY_KEY_TOO_SMALL: i32 = 67;
const DIGEST_TOO_WEAK: i32 = 68;
/// X509_V_ERR_RPK_UNTRUSTED: said of every raw public key, since the library itself knows none.
const PUBLIC_KEY_UNTRUSTED: i32 = 95;

/// What a certificate says; `None` if it cannot be read.
#[must_use]
pub fn certificate_identity(certificate: &X509Ref, trusted: bool) -> Option<CertificateIdentity> {
    let mut subject = String::new();
    let mut common_name = None;
    for entry in certificate.subject_name().entries() {
        let value = entry.data().to_string().ok()?;
        if !subject.is_empty() {
            subject.push_str(", ");
        }
        subject.push_str(entry.object().nid().short_name().unwrap_or("?"));
        subject.push('=');
        // A name must not pass for further attributes.
        subject.push_str(&escaped(&value));
        if entry.object().nid() == Nid::COMMONNAME {
            common_name = Some(value);
        }
    }
    let alternative_names = certificate
        .subject_alt_names()
        .into_iter()
        .flatten()
        .filter_map(|name| name.dnsname().or_else(|| name.uri()).map(str::to_owned))
        .collect();
    Some(CertificateIdentity {
        fingerprint: fingerprint(certificate)?,
        trusted,
        subject,
        common_name,
        alternative_names,
    })
}

/// A value within a subject: a comma or backslash has a backslash before it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,")
}

/// SHA-256 of a certificate's DER.
fn fingerprint(certificate: &X509Ref) -> Option<[u8; 32]> {
    certificate.digest(MessageDigest::sha256()).ok()?.as_ref().try_into().ok()
}

/// Decides on one certificate of a chain, or on a raw public key. `sound` is what the library found.
pub(super) fn verify(sound: bool, context: &mut X509StoreContextRef, clock_is_trusted: bool) -> bool {
    let Ok(index) = X509StoreContext::ssl_idx() else { return false };
    let error = context.error().as_raw();
    let depth = context.error_depth();
    let Some(negotiation) = context.ex_data(index).and_then(|ssl: &SslRef| Negotiation::of(ssl)) else { return false };
    if error == PUBLIC_KEY_UNTRUSTED {
        let Some(spki) = public_key_to_verify(context) else { return false };
        let known = negotiation.proofs.public_key(negotiation.scope, &spki).is_some();
        if !known {
            let _ = negotiation.unknown_public_key.set(spki);
        }
        return known;
    }
    let certificate = context.current_cert().map(ToOwned::to_owned);
    let known = depth == 0
        && certificate
            .as_deref()
            .and_then(fingerprint)
            .is_some_and(|print| negotiation.proofs.certificate(negotiation.scope, &print).is_some());
    let code = if !sound {
        error
    } else if let Some(certificate) = &certificate {
        weakness(certificate, depth)
    } else {
        0
    };
    let accepted = match code {
        0 => true,
        NOT_YET_VALID => !clock_is_trusted,
        // The certificate itself is a credential; who signed it does not matter, when it ends does.
        code if UNTRUSTED.contains(&code) => known,
        _ => false,
    };
    if accepted {
        if code != 0 && UNTRUSTED.contains(&code) {
            negotiation.certificate_error.store(code, Ordering::Relaxed);
        }
        return true;
    }
    let reason = verify_result(code).error_string();
    let subject = certificate
        .as_deref()
        .and_then(|certificate| certificate_identity(certificate, false))
        .map(|identity| identity.subject)
        .unwrap_or_default();
    negotiation.refuse_certificate(code, format!("certificate '{subject}': {reason}"));
    context.set_error(verify_result(code));
    false
}

/// The library's own floor is switched off for the sake of CCM_8, so keys and digests are looked at here.
fn weakness(certificate: &X509Ref, depth: u32) -> i32 {
    let too_small = if depth == 0 { KEY_TOO_SMALL } else { AUTHORITY_KEY_TOO_SMALL };
    let Ok(key) = certificate.public_key() else { return too_small };
    let least = match key.id() {
        Id::RSA | Id::RSA_PSS | Id::DSA | Id::DH => MIN_RSA_BITS,
        Id::EC => MIN_CURVE_BITS,
        _ => 0,
    };
    if key.bits() < least {
        return too_small;
    }
    let digest = certificate.signature_algorithm().object().nid();
    let weak = [Nid::MD5WITHRSAENCRYPTION, Nid::SHA1WITHRSAENCRYPTION, Nid::ECDSA_WITH_SHA1, Nid::DSAWITHSHA1];
    if weak.contains(&digest) { DIGEST_TOO_WEAK } else { 0 }
}

/// Why a handshake failed, from what was learnt in it and what the library says.
#[must_use]
pub fn failure(negotiation: Option<&Negotiation>, library: &str) -> HandshakeFailure {
    let Some(known) = negotiation else {
        return HandshakeFailure { word: "protocol", detail: library.to_owned(), claimed: None };
    };
    let claimed = known.claimed.get().map(|identity| Arc::from(shown_identity(identity)));
    let because = |word, detail: String| HandshakeFailure { word, detail, claimed: claimed.clone() };
    if let Some(identity) = known.unknown_identity.get() {
        let shown = shown_identity(identity);
        let detail = format!("there is no credential for the identity '{shown}'; offered: {}", offered(known));
        return HandshakeFailure { word: "unknown_identity", detail, claimed: Some(Arc::from(shown)) };
    }
    if let Some(spki) = known.unknown_public_key.get() {
        let detail = format!("there is no credential for the raw public key {}", data_encoding::BASE64.encode(spki));
        return because("unknown_public_key", detail);
    }
    if let Some(reason) = known.refused_certificate.get() {
        let expired = known.certificate_error.load(Ordering::Relaxed) == EXPIRED;
        return because(if expired { "expired_certificate" } else { "bad_certificate" }, reason.clone());
    }
    let has = |text: &str| library.contains(text);
    if has("no shared cipher") {
        return because("no_common_suite", format!("no cipher suite in common; offered: {}", offered(known)));
    }
    if has("peer did not return a certificate") {
        return because("no_certificate", "the device showed no certificate".to_owned());
    }
    if has("bad record mac") || has("digest check failed") || has("decryption failed") {
        return wrong_key(known);
    }
    if has("alert") {
        return because("alert", format!("the device broke it off: {library}"));
    }
    because("protocol", format!("{library}; offered: {}", offered(known)))
}

/// The peer has another key than its identity.
#[must_use]
pub fn wrong_key(negotiation: &Negotiation) -> HandshakeFailure {
    let identity = negotiation.used_key.get().map(|(identity, _)| shown_identity(identity)).unwrap_or_default();
    HandshakeFailure {
        word: "wrong_key",
        detail: format!("the identity '{identity}' is known, but the device has another key for it"),
        claimed: Some(Arc::from(identity)),
    }
}

/// What the library says went wrong, in one line.
#[must_use]
pub fn told(errors: &ErrorStack) -> String {
    let reasons: Vec<&str> = errors.errors().iter().filter_map(Error::reason).collect();
    if reasons.is_empty() { "the library gives no reason".to_owned() } else { reasons.join(", ") }
}

/// The suites that a peer offered, for people.
#[must_use]
pub fn offered(negotiation: &Negotiation) -> String {
    let suites: Vec<String> = negotiation.offered.iter().map(|suite| shown_suite(*suite)).collect();
    suites.join(", ")
}
