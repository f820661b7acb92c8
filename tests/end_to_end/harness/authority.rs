//! Certificates and raw public keys for both sides of a handshake, as files in all the forms that clients want.

use std::path::Path;

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};

const DAY_SECS: i64 = 24 * 60 * 60;
/// Long enough for no alarm that one ends soon.
const VALID_DAYS: i64 = 100;

/// An authority that vouches for certificates.
pub(crate) struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

/// A certificate and its private key; also a raw public key, when the certificate is left aside.
pub(crate) struct Credentials {
    certificate: X509,
    key: PKey<Private>,
}

impl Authority {
    /// A new one.
    pub(crate) fn make(name: &str) -> Self {
        let key = new_key();
        let subject = common_name(name);
        let mut builder = builder(&key, &subject, &subject, VALID_DAYS);
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        let usage = KeyUsage::new().critical().key_cert_sign().crl_sign().build().unwrap();
        builder.append_extension(usage).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self { certificate: builder.build(), key }
    }

    /// Its certificate, PEM.
    pub(crate) fn certificate(&self) -> String {
        text(self.certificate.to_pem())
    }

    /// Its certificate, DER.
    pub(crate) fn der(&self) -> Vec<u8> {
        self.certificate.to_der().unwrap()
    }

    /// Credentials of somebody of this name, a DNS name.
    pub(crate) fn issue(&self, name: &str) -> Credentials {
        self.issue_for(name, VALID_DAYS)
    }

    /// Credentials that were good until yesterday.
    pub(crate) fn issue_expired(&self, name: &str) -> Credentials {
        self.issue_for(name, -1)
    }

    /// Credentials that are good for so many days from now on.
    pub(crate) fn issue_for(&self, name: &str, days: i64) -> Credentials {
        let key = new_key();
        let mut builder = builder(&key, &common_name(name), self.certificate.subject_name(), days);
        let names = SubjectAlternativeName::new()
            .dns(name)
            .build(&builder.x509v3_context(Some(&self.certificate), None))
            .unwrap();
        builder.append_extension(names).unwrap();
        builder.append_extension(KeyUsage::new().critical().digital_signature().build().unwrap()).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        Credentials { certificate: builder.build(), key }
    }
}

impl Credentials {
    /// Certificate and private key, both PEM.
    pub(crate) fn pems(&self) -> (String, String) {
        (self.certificate_pem(), self.key_pem())
    }

    /// The certificate, PEM.
    pub(crate) fn certificate_pem(&self) -> String {
        text(self.certificate.to_pem())
    }

    /// The private key as PKCS#8, PEM.
    pub(crate) fn key_pem(&self) -> String {
        text(self.key.private_key_to_pem_pkcs8())
    }

    /// The `SubjectPublicKeyInfo` in base64.
    pub(crate) fn public_key_base64(&self) -> String {
        data_encoding::BASE64.encode(&self.key.public_key_to_der().unwrap())
    }

    /// The private key's secret number, which no log may show: in hex.
    pub(crate) fn secret_hex(&self) -> String {
        self.key.ec_key().unwrap().private_key().to_hex_str().unwrap().to_lowercase()
    }

    /// Writes `NAME.crt`, `NAME.key` (PKCS#8) and `NAME.pub`, each PEM and with `.der` behind it DER; `NAME.pem` with
    /// certificate and private key; `NAME.rpk` with the private key in the form of SEC 1 (RFC 5915).
    pub(crate) fn write(&self, folder: &Path, name: &str) {
        let write = |ending: &str, content: &[u8]| {
            std::fs::write(folder.join(format!("{name}.{ending}")), content).expect("a writable folder");
        };
        write("crt", self.certificate_pem().as_bytes());
        write("key", self.key_pem().as_bytes());
        write("pub", &self.key.public_key_to_pem().unwrap());
        write("crt.der", &self.certificate.to_der().unwrap());
        write("key.der", &self.key.private_key_to_pkcs8().unwrap());
        write("pub.der", &self.key.public_key_to_der().unwrap());
        write("pem", format!("{}{}", self.certificate_pem(), self.key_pem()).as_bytes());
        write("rpk", &self.key.ec_key().unwrap().private_key_to_pem().unwrap());
    }
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn common_name(name: &str) -> X509Name {
    let mut builder = X509NameBuilder::new().unwrap();
    builder.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    builder.build()
}

/// A certificate that began two days ago and ends so many days from now.
fn builder(key: &PKey<Private>, subject: &X509Name, issuer: &openssl::x509::X509NameRef, days: i64) -> X509Builder {
    let now = Asn1Time::days_from_now(0).unwrap();
    // The library counts from now only in days that are to come.
    let epoch = Asn1Time::from_unix(0).unwrap();
    let since = epoch.diff(&now).unwrap();
    let now_secs = i64::from(since.days) * DAY_SECS + i64::from(since.secs);
    let at = |days: i64| Asn1Time::from_unix(now_secs + days * DAY_SECS).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(64, openssl::bn::MsbOption::MAYBE_ZERO, false).unwrap();
    builder.set_serial_number(&Asn1Integer::from_bn(&serial).unwrap()).unwrap();
    builder.set_subject_name(subject).unwrap();
    builder.set_issuer_name(issuer).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&at(-2)).unwrap();
    builder.set_not_after(&at(days)).unwrap();
    builder
}

fn text(pem: Result<Vec<u8>, openssl::error::ErrorStack>) -> String {
    String::from_utf8(pem.unwrap()).unwrap()
}
