//! Public keys and certificates of credentials, read with the TLS library, and keys made from the system's randomness:
//! what a request leaves open is settled here before the core sees it.

use std::sync::Arc;

use openssl::pkey::{Id, PKey, Public};
use openssl::x509::X509;

use super::secure::peer::certificate_identity;
use crate::model::credential::{Proof, Scope, SecretBytes};
use crate::model::credential_wish::{CredentialWish, Means};
use crate::northbound::credential_json::{
    CredentialProblems, CredentialRequest, FieldProblem, MADE_KEY_BYTES, RequestedMeans,
};

/// Smallest group of an elliptic curve key, in bits (Core TS 1.2.2, Transport section 5.2.8).
const MIN_CURVE_BITS: u32 = 255;

/// A request that is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// What is to be put.
    pub wish: CredentialWish,
    /// The key that was made, to be told once.
    pub made_key: Option<SecretBytes>,
}

/// Reads what has to be read and makes what has to be made. Without a scope the credential is for the LwM2M server.
///
/// # Errors
/// The field at fault.
pub fn settle(request: CredentialRequest) -> Result<Settled, CredentialProblems> {
    let CredentialRequest { scope, endpoint, means, endpoints, keep_old, name, tags } = request;
    let wrong =
        |field: &str, message: String| CredentialProblems(vec![FieldProblem { field: field.to_owned(), message }]);
    let (mut made_key, mut certificate_subject) = (None, None);
    let means = match means {
        RequestedMeans::Psk { identity, key } => {
            let key = match key {
                Some(key) => key,
                None => made_key.insert(make_key().map_err(|reason| wrong("key", reason))?).clone(),
            };
            Means::Proof(Proof::Psk { identity: identity.into(), key })
        }
        RequestedMeans::PublicKey(bytes) => {
            let spki = read_public_key(&bytes).map_err(|reason| wrong("public_key", reason))?;
            Means::Proof(Proof::PublicKey { spki })
        }
        RequestedMeans::Certificate(pem) => {
            let (fingerprint, subject) = read_certificate(&pem).map_err(|reason| wrong("certificate", reason))?;
            certificate_subject = Some(subject);
            Means::Proof(Proof::Certificate { fingerprint })
        }
        RequestedMeans::Subject(subject) => Means::Proof(Proof::Subject { subject: subject.into() }),
        RequestedMeans::NoSec => Means::NoSec,
        RequestedMeans::Blocked => Means::Blocked,
    };
    let scope = scope.unwrap_or(Scope::Server);
    let until_used = false;
    let wish =
        CredentialWish { scope, endpoint, means, certificate_subject, endpoints, keep_old, until_used, name, tags };
    Ok(Settled { wish, made_key })
}

fn make_key() -> Result<SecretBytes, String> {
    let mut key = [0; MADE_KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| format!("cannot be made: the system gives no random bytes: {error}"))?;
    Ok(SecretBytes::new(&key))
}

/// The SubjectPublicKeyInfo of a key in DER or PEM, written as the TLS library writes it: a peer's key is compared byte
/// by byte.
///
/// # Errors
/// Why it cannot be used.
pub fn read_public_key(bytes: &[u8]) -> Result<Arc<[u8]>, String> {
    let is_pem = bytes.trim_ascii_start().starts_with(b"-----BEGIN");
    if is_pem && bytes.windows(11).any(|window| window == b"PRIVATE KEY") {
        return Err("is a private key: the device keeps that for itself; give its public key".to_owned());
    }
    let key = if is_pem { PKey::public_key_from_pem(bytes) } else { PKey::public_key_from_der(bytes) };
    let key = key.map_err(|_| "is no SubjectPublicKeyInfo".to_owned())?;
    check_kind(&key)?;
    key.public_key_to_der().map(Into::into).map_err(|error| format!("cannot be written: {error}"))
}

/// The suites of LwM2M take keys of elliptic curves alone.
fn check_kind(key: &PKey<Public>) -> Result<(), String> {
    match key.id() {
        Id::EC if key.bits() >= MIN_CURVE_BITS => Ok(()),
        Id::EC => Err(format!("is a key of {} bits, fewer than {MIN_CURVE_BITS}", key.bits())),
        _ => Err("is no key of an elliptic curve, such as P-256".to_owned()),
    }
}

/// Fingerprint and subject of a certificate; of several in one text, the first.
///
/// # Errors
/// Why it cannot be used.
pub fn read_certificate(pem: &str) -> Result<([u8; 32], Arc<str>), String> {
    let certificate = X509::from_pem(pem.as_bytes()).map_err(|_| "is no certificate in PEM".to_owned())?;
    let identity = certificate_identity(&certificate, false);
    let identity = identity.ok_or_else(|| "has a subject that cannot be read".to_owned())?;
    Ok((identity.fingerprint, identity.subject.into()))
}

#[cfg(test)]
mod tests {
    use openssl::asn1::Asn1Time;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::rsa::Rsa;
    use openssl::x509::{X509Builder, X509NameBuilder};

    use super::*;
    use crate::model::endpoint::Endpoint;

    fn key(curve: Nid) -> PKey<openssl::pkey::Private> {
        let group = EcGroup::from_curve_name(curve).unwrap();
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    }

    fn request(means: RequestedMeans) -> CredentialRequest {
        let endpoint = Endpoint::new("a").unwrap();
        CredentialRequest { scope: None, endpoint, means, endpoints: None, keep_old: None, name: None, tags: None }
    }

    #[test]
    fn a_public_key_is_the_same_in_der_and_pem() {
        let key = key(Nid::X9_62_PRIME256V1);
        let der = key.public_key_to_der().unwrap();
        assert_eq!(*read_public_key(&der).unwrap(), *der);
        assert_eq!(*read_public_key(&key.public_key_to_pem().unwrap()).unwrap(), *der);
    }

    #[test]
    fn keys_that_no_suite_takes_are_refused() {
        let rsa = PKey::from_rsa(Rsa::generate(2_048).unwrap()).unwrap();
        let short = key(Nid::X9_62_PRIME192V1);
        let private = key(Nid::X9_62_PRIME256V1).private_key_to_pem_pkcs8().unwrap();
        for (bytes, part) in [
            (rsa.public_key_to_der().unwrap(), "no key of an elliptic curve"),
            (short.public_key_to_der().unwrap(), "192 bits"),
            (private, "private key"),
            (vec![1, 2, 3], "no SubjectPublicKeyInfo"),
            (b"-----BEGIN PUBLIC KEY-----\n".to_vec(), "no SubjectPublicKeyInfo"),
        ] {
            let reason = read_public_key(&bytes).unwrap_err();
            assert!(reason.contains(part), "{reason}");
        }
    }

    #[test]
    fn a_certificate_is_known_by_its_fingerprint_and_shown_by_its_subject() {
        let key = key(Nid::X9_62_PRIME256V1);
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "a, b").unwrap();
        name.append_entry_by_text("O", "ACME").unwrap();
        let mut builder = X509Builder::new().unwrap();
        builder.set_subject_name(&name.build()).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build();
        let pem = String::from_utf8(certificate.to_pem().unwrap()).unwrap();
        let (fingerprint, subject) = read_certificate(&pem).unwrap();
        assert_eq!(fingerprint, *certificate.digest(MessageDigest::sha256()).unwrap());
        assert_eq!(&*subject, "CN=a\\, b, O=ACME");
        assert!(read_certificate("-----BEGIN CERTIFICATE-----").is_err());

        let settled = settle(request(RequestedMeans::Certificate(pem))).unwrap();
        assert_eq!(settled.wish.means, Means::Proof(Proof::Certificate { fingerprint }));
        assert_eq!(settled.wish.certificate_subject.as_deref(), Some("CN=a\\, b, O=ACME"));
    }

    #[test]
    fn a_key_is_made_only_where_none_is_given() {
        let psk = |key| settle(request(RequestedMeans::Psk { identity: b"a".to_vec(), key })).unwrap();
        let (one, other) = (psk(None), psk(None));
        assert_eq!(one.made_key.as_ref().map(|key| key.expose().len()), Some(MADE_KEY_BYTES));
        assert_ne!(one.made_key, other.made_key);
        let Means::Proof(Proof::Psk { key, .. }) = &one.wish.means else { panic!() };
        assert_eq!(Some(key), one.made_key.as_ref());
        assert_eq!(psk(Some(SecretBytes::new(b"k"))).made_key, None);
    }
}
