//! Identities from files made here: what is taken, what is refused and in which words.

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::Cipher;
use openssl::x509::{X509, X509NameBuilder};

use super::identity::{ClientAuthentication, IdentityFiles, NamedPem, ServerIdentity};
use crate::model::time::WallTime;

const DAY: i64 = 86_400;
/// Some day of 2026.
const NOW: i64 = 1_793_491_200;

fn key_on(curve: Nid) -> PKey<Private> {
    let group = EcGroup::from_curve_name(curve).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn p256() -> PKey<Private> {
    key_on(Nid::X9_62_PRIME256V1)
}

fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

fn certificate(key: &PKey<Private>, begins: i64, ends: i64) -> X509 {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, "server").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(begins).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(ends).unwrap()).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}

fn certificate_text(key: &PKey<Private>) -> String {
    text(certificate(key, NOW - DAY, NOW + DAY).to_pem())
}

fn key_text(key: &PKey<Private>) -> String {
    text(key.private_key_to_pem_pkcs8())
}

fn text(pem: Result<Vec<u8>, openssl::error::ErrorStack>) -> String {
    String::from_utf8(pem.unwrap()).unwrap()
}

fn files(certificate: &str, key: &str) -> IdentityFiles {
    IdentityFiles {
        certificate: NamedPem::new("s.crt", certificate),
        private_key: NamedPem::new("s.key", key),
        raw_public_key: None,
        trust: Vec::new(),
        client_authentication: ClientAuthentication::Required,
    }
}

fn files_of(key: &PKey<Private>) -> IdentityFiles {
    files(&certificate_text(key), &key_text(key))
}

#[track_caller]
fn refused(files: &IdentityFiles) -> String {
    ServerIdentity::load(files).unwrap_err()
}

#[test]
fn a_chain_a_key_and_authorities_become_an_identity() {
    let (key, issuer) = (p256(), p256());
    let mut files = files(&(certificate_text(&key) + &certificate_text(&issuer)), &key_text(&key));
    files.trust = vec![NamedPem::new("ca.pem", &(certificate_text(&issuer) + &certificate_text(&key)))];
    let identity = ServerIdentity::load(&files).unwrap();
    assert!(identity.certificate.public_key().unwrap().public_eq(&key));
    assert_eq!((identity.issuers.len(), identity.trust.len()), (1, 2));
    assert_eq!(identity.raw_public_key_spki(), Some(key.public_key_to_der().unwrap()));
    assert_eq!(identity.expires_at(), WallTime::from_secs(NOW + DAY));
    assert_eq!(&identity.fingerprint()[..], &*identity.certificate.digest(MessageDigest::sha256()).unwrap());
    assert_eq!(identity.warnings(), [""; 0]);
    let shown = format!("{identity:?} {files:?}");
    assert!(!shown.contains("PRIVATE") && !shown.contains("BEGIN"), "{shown}");
}

#[test]
fn a_raw_public_key_of_its_own_takes_the_place_of_the_certificates_one() {
    let (key, raw) = (p256(), p256());
    let mut files = files_of(&key);
    files.raw_public_key = Some(NamedPem::new("raw.key", &key_text(&raw)));
    let identity = ServerIdentity::load(&files).unwrap();
    assert_eq!(identity.raw_public_key_spki(), Some(raw.public_key_to_der().unwrap()));
    files.raw_public_key = Some(NamedPem::new("raw.key", &key_text(&rsa(2_048))));
    assert!(refused(&files).starts_with("raw.key: raw public keys need a key on a curve"));
}

#[test]
fn a_key_in_the_old_form_with_its_parameters_is_read() {
    let key = p256();
    let old = text(key.ec_key().unwrap().private_key_to_pem());
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    ServerIdentity::load(&files(&certificate_text(&key), &(parameters.to_owned() + &old))).unwrap();
}

#[test]
fn a_key_that_does_not_fit_is_told_apart_from_a_chain_in_the_wrong_order() {
    let (key, other) = (p256(), p256());
    let error = refused(&files(&certificate_text(&other), &key_text(&key)));
    assert_eq!(error, "s.key: is not the private key of s.crt: give the two that were made together");
    let error = refused(&files(&(certificate_text(&other) + &certificate_text(&key)), &key_text(&key)));
    assert!(error.starts_with("s.crt: the server's own certificate has to stand first"), "{error}");
}

#[test]
fn a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it() {
    let key = p256();
    let pkcs8 = text(key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"hunter2"));
    let old = text(key.ec_key().unwrap().private_key_to_pem_passphrase(Cipher::aes_128_cbc(), b"hunter2"));
    for encrypted in [pkcs8, old] {
        let error = refused(&files(&certificate_text(&key), &encrypted));
        assert!(error.starts_with("s.key: the key has a passphrase") && error.contains("openssl pkey"), "{error}");
    }
}

#[test]
fn keys_that_are_too_weak_are_refused_wherever_they_stand() {
    let small = key_on(Nid::SECP224R1);
    assert_eq!(refused(&files_of(&small)), "s.crt: a curve of 224 bits is too small: at least 256");
    let short = rsa(1_024);
    assert_eq!(refused(&files_of(&short)), "s.crt: an RSA key of 1024 bits is too short: at least 2048");
    let mut files = files_of(&p256());
    files.trust = vec![NamedPem::new("ca.pem", &certificate_text(&short))];
    assert_eq!(refused(&files), "ca.pem: an RSA key of 1024 bits is too short: at least 2048");
    files.trust.clear();
    files.raw_public_key = Some(NamedPem::new("raw.key", &key_text(&small)));
    assert_eq!(refused(&files), "raw.key: a curve of 224 bits is too small: at least 256");
}

#[test]
fn an_rsa_certificate_is_taken_with_a_warning() {
    let identity = ServerIdentity::load(&files_of(&rsa(2_048))).unwrap();
    let warnings = identity.warnings();
    assert!(warnings[0].starts_with("s.crt: has an RSA key") && warnings[1].contains("raw_public_key"), "{warnings:?}");
    assert_eq!(identity.raw_public_key_spki(), None);
    let larger = ServerIdentity::load(&files_of(&key_on(Nid::SECP384R1))).unwrap();
    assert!(larger.warnings()[0].contains("not on P-256"));
}

#[test]
fn texts_that_hold_something_else_are_refused() {
    let key = p256();
    let (certificate, key) = (certificate_text(&key), key_text(&key));
    assert!(refused(&files(&key, &key)).starts_with("s.crt: holds no certificate"));
    assert!(refused(&files(&certificate, &certificate)).starts_with("s.key: holds no private key"));
    let half = &certificate[..certificate.len() / 2];
    assert!(refused(&files(half, &key)).starts_with("s.crt: holds no certificate"));
    assert!(refused(&files("", "")).starts_with("s.crt: holds no certificate"));
}

#[test]
fn a_certificate_holds_from_its_first_to_its_last_second() {
    let identity = ServerIdentity::load(&files_of(&p256())).unwrap();
    let at = |secs: i64| identity.check_validity(WallTime::from_secs(secs));
    assert!(at(NOW - DAY - 1).unwrap_err().contains("not valid before"));
    assert_eq!((at(NOW - DAY), at(NOW + DAY - 1)), (Ok(()), Ok(())));
    let expired = at(NOW + DAY).unwrap_err();
    assert!(expired.starts_with("s.crt: the certificate expired at 2026-"), "{expired}");
}
