//! Keys and certificates for devices: what the bootstrap server hands out, made here.
//!
//! Certificates are signed by a small authority of the gateway's own, made at first need and kept in the data folder.
//!
//! # Invariants
//! - An authority that is there stays. Files of it that cannot be used are an error, never the reason for another one:
//!   servers elsewhere trust its certificate.
//! - All keys are on P-256, private ones are PKCS #8, and neither a log nor an error holds anything of them.

use std::path::Path;

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, PKeyRef, Private};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509NameRef};

use super::identity::{NamedPem, certificates, private_key};
use super::own::{MAX_COMMON_NAME, make_key, named, private_pem, read_if_there, serial_number, told};
use super::peer::certificate_identity;
use crate::gateway::bootstrap::orders::KeyPair;
use crate::io::files;
use crate::model::credential::SecretBytes;
use crate::model::time::WallTime;

/// Name of the authority's key in the data folder.
pub const KEY_FILE: &str = "bootstrap-ca.key";
/// Name of its certificate in the data folder.
pub const CERTIFICATE_FILE: &str = "bootstrap-ca.crt";

/// How long before it was made a certificate holds, for devices whose clocks are behind.
const BEFORE_MILLIS: i64 = -86_400_000;
/// From when a certificate holds that was made while nobody knew the time: 2000-01-01, where clocks begin that nobody
/// set.
const EARLIEST: WallTime = WallTime::from_secs(946_684_800);
/// Until when: no end is known (RFC 5280 section 4.1.2.5). A device cannot renew a certificate by itself.
const NO_END: &str = "99991231235959Z";

/// What signs the certificates of devices.
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

impl Authority {
    /// Takes the authority in the folder, and makes one where there is none.
    ///
    /// # Errors
    /// Names the file and what to do.
    pub fn load_or_make(folder: &Path) -> Result<Self, String> {
        if let Some(found) = Self::find(folder)? {
            return Ok(found);
        }
        let (key_path, certificate_path) = (folder.join(KEY_FILE), folder.join(CERTIFICATE_FILE));
        let key = if let Some(text) = read_if_there(&key_path)? {
            // Its certificate was not written any more, or is lost: the key is what it stands by.
            read_key(&key_path, &text)?
        } else {
            let key = make_key().map_err(|error| told(&key_path, &error))?;
            let text = private_pem(&key).map_err(|error| told(&key_path, &error))?;
            files::replace_private_text(&key_path, &text).map_err(|error| told(&key_path, &error))?;
            key
        };
        let made = make_authority(&key).and_then(|certificate| Ok((certificate.to_pem()?, certificate)));
        let (pem, certificate) = made.map_err(|error| told(&certificate_path, &error))?;
        let written = files::replace_text(&certificate_path, &String::from_utf8_lossy(&pem));
        written.map_err(|error| told(&certificate_path, &error))?;
        tracing::info!(file = %certificate_path.display(), "an authority for the certificates of devices was made");
        Ok(Self { certificate, key })
    }

    /// Takes the authority in the folder; `None` if its certificate is not there.
    ///
    /// # Errors
    /// Names the file and what to do.
    pub fn find(folder: &Path) -> Result<Option<Self>, String> {
        let (key_path, certificate_path) = (folder.join(KEY_FILE), folder.join(CERTIFICATE_FILE));
        let Some(certificate) = read_if_there(&certificate_path)? else { return Ok(None) };
        let Some(key) = read_if_there(&key_path)? else {
            return Err(told(
                &key_path,
                &format!(
                    "is missing, the key of {CERTIFICATE_FILE}: put it back, or remove {CERTIFICATE_FILE} too for a \
                     new authority"
                ),
            ));
        };
        let key = read_key(&key_path, &key)?;
        let certificate = certificates(&NamedPem::new(certificate_path.display().to_string(), &certificate))
            .map_err(|error| format!("{error}; {}", what_to_do()))?
            .into_iter()
            .next()
            .ok_or_else(|| told(&certificate_path, &"holds no certificate"))?;
        if !certificate.public_key().is_ok_and(|public| public.public_eq(&key)) {
            let mismatch = format!("is not the certificate of {KEY_FILE} beside it; {}", what_to_do());
            return Err(told(&certificate_path, &mismatch));
        }
        Ok(Some(Self { certificate, key }))
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &X509 {
        &self.certificate
    }

    /// A key pair with a certificate for an endpoint name, for client and server authentication. `wall`: the time, if it
    /// can be trusted.
    ///
    /// # Errors
    /// If the library fails.
    pub fn make_certificate(&self, endpoint: &str, wall: Option<WallTime>) -> Result<KeyPair, String> {
        let make = || {
            let key = make_key()?;
            let certificate = self.sign(&key, endpoint, wall)?;
            let subject = certificate_identity(&certificate, false).map(|identity| identity.subject.into());
            pair(certificate.to_der()?, &key, subject)
        };
        make().map_err(|error| format!("a certificate could not be made: {error}"))
    }

    fn sign(&self, key: &PKeyRef<Private>, endpoint: &str, wall: Option<WallTime>) -> Result<X509, ErrorStack> {
        let begins = wall.map_or(EARLIEST, |wall| wall.shifted(BEFORE_MILLIS));
        let subject = named(&common_name(endpoint))?;
        let mut builder = begun(&subject, self.certificate.subject_name(), key, begins)?;
        builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
        builder.append_extension(ExtendedKeyUsage::new().client_auth().server_auth().build()?)?;
        if let Some(names) = alternative_names(endpoint) {
            let names = names.build(&builder.x509v3_context(None, None))?;
            builder.append_extension(names)?;
        }
        if self.certificate.subject_key_id().is_some() {
            let context = builder.x509v3_context(Some(&self.certificate), None);
            let issuer = AuthorityKeyIdentifier::new().keyid(true).build(&context)?;
            builder.append_extension(issuer)?;
        }
        builder.sign(&self.key, MessageDigest::sha256())?;
        Ok(builder.build())
    }
}

/// A key pair whose public half is known as it is.
///
/// # Errors
/// If the library fails.
pub fn make_raw_public_key() -> Result<KeyPair, String> {
    make_key()
        .and_then(|key| pair(key.public_key_to_der()?, &key, None))
        .map_err(|error| format!("a key could not be made: {error}"))
}

fn pair(public: Vec<u8>, key: &PKeyRef<Private>, subject: Option<std::sync::Arc<str>>) -> Result<KeyPair, ErrorStack> {
    Ok(KeyPair { public: public.into(), private: SecretBytes::new(&key.private_key_to_pkcs8()?), subject })
}

fn what_to_do() -> String {
    format!("put back what was there, or remove {CERTIFICATE_FILE} and {KEY_FILE} for a new authority")
}

fn read_key(path: &Path, text: &str) -> Result<PKey<Private>, String> {
    let key = private_key(&NamedPem::new(path.display().to_string(), text));
    let key = key.map_err(|error| format!("{error}; {}", what_to_do()))?;
    if key.id() == Id::EC {
        return Ok(key);
    }
    // What an RSA key signs is too long for small devices.
    Err(told(path, &format!("is no key on a curve, such as P-256; {}", what_to_do())))
}

fn make_authority(key: &PKeyRef<Private>) -> Result<X509, ErrorStack> {
    // The name goes with the key and not with the gateway, which may be renamed: issuers are found by their names.
    let digest = openssl::hash::hash(MessageDigest::sha256(), &key.public_key_to_der()?)?;
    let short = digest.get(..8).unwrap_or_default();
    let name = named(&format!("lwm2mqtt devices {}", data_encoding::HEXLOWER.encode(short)))?;
    let mut builder = begun(&name, &name, key, EARLIEST)?;
    builder.append_extension(BasicConstraints::new().critical().ca().pathlen(0).build()?)?;
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().build()?)?;
    let context = builder.x509v3_context(None, None);
    let identifier = SubjectKeyIdentifier::new().build(&context)?;
    builder.append_extension(identifier)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}

/// What all certificates have.
fn begun(
    subject: &X509NameRef,
    issuer: &X509NameRef,
    key: &PKeyRef<Private>,
    begins: WallTime,
) -> Result<X509Builder, ErrorStack> {
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(serial_number()?.as_ref())?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_not_before(Asn1Time::from_unix(begins.millis().div_euclid(1_000))?.as_ref())?;
    builder.set_not_after(Asn1Time::from_str_x509(NO_END)?.as_ref())?;
    builder.set_pubkey(key)?;
    Ok(builder)
}

/// The endpoint name; of one that is too long, its SHA-256 in hex. The beginning of the name would be the name of
/// another device.
fn common_name(endpoint: &str) -> String {
    if endpoint.chars().count() <= MAX_COMMON_NAME {
        return endpoint.to_owned();
    }
    let digest = openssl::sha::sha256(endpoint.as_bytes());
    data_encoding::HEXLOWER.encode(&digest)
}

/// The endpoint name once more, as URI if it begins with a scheme and else as DNS name, where X.509 has characters for it.
fn alternative_names(endpoint: &str) -> Option<SubjectAlternativeName> {
    if !endpoint.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut names = SubjectAlternativeName::new();
    let is_scheme = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    if endpoint.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme)) {
        names.uri(endpoint);
    } else {
        names.dns(endpoint);
    }
    Some(names)
}
