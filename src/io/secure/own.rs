//! The identity that a gateway makes for itself where none is configured: a self-signed certificate with a key on
//! P-256, made once and kept in the data folder.
//!
//! Invariant: a key that is there stays. Devices have pinned its public half.

use std::io;
use std::path::Path;

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Name, X509NameBuilder};

use super::identity::NamedPem;
use crate::io::files;
use crate::model::time::WallTime;

/// Name of the key in the data folder.
pub const KEY_FILE: &str = "server.key";
/// Name of the certificate in the data folder.
pub const CERTIFICATE_FILE: &str = "server.crt";

/// How long a certificate holds: as long as devices stand in the field.
const YEARS: i64 = 20;
const DAY_SECS: i64 = 86_400;
/// How long before it was made a certificate holds, for devices whose clocks are behind.
const BEFORE_SECS: i64 = DAY_SECS;

/// Characters of a common name (RFC 5280 appendix A.1: `ub-common-name`).
pub(super) const MAX_COMMON_NAME: usize = 64;

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct OwnIdentity {
    /// The certificate.
    pub certificate: NamedPem,
    /// The key.
    pub private_key: NamedPem,
    /// Whether it was made just now.
    pub is_new: bool,
}

/// Takes the identity in the folder, and makes what is missing of it. `name` becomes the common name; `wall` is the
/// time to begin at, roughly.
///
/// # Errors
/// If a file cannot be read or written, or the key in the folder is none.
pub fn load_or_make(folder: &Path, name: &str, wall: WallTime) -> Result<OwnIdentity, String> {
    let (key_path, certificate_path) = (folder.join(KEY_FILE), folder.join(CERTIFICATE_FILE));
    let (found_key, found_certificate) = (read_if_there(&key_path)?, read_if_there(&certificate_path)?);
    let has_key = found_key.is_some();
    let key_text = if let Some(text) = found_key {
        text
    } else {
        let text = make_key().and_then(|key| private_pem(&key)).map_err(|error| told(&key_path, &error))?;
        files::replace_private_text(&key_path, &text).map_err(|error| told(&key_path, &error))?;
        text
    };
    // A certificate of a key that is gone is of no use.
    let found_certificate = found_certificate.filter(|_| has_key);
    let is_new = found_certificate.is_none();
    let certificate_text = if let Some(text) = found_certificate {
        text
    } else {
        let key = PKey::private_key_from_pem_callback(key_text.as_bytes(), |_| Ok(0))
            .map_err(|_| told(&key_path, &"holds no private key that can be read: remove it for a new one"))?;
        let text = make_certificate(&key, name, wall).map_err(|error| told(&certificate_path, &error))?;
        files::replace_text(&certificate_path, &text).map_err(|error| told(&certificate_path, &error))?;
        text
    };
    Ok(OwnIdentity {
        certificate: NamedPem::new(certificate_path.display().to_string(), &certificate_text),
        private_key: NamedPem::new(key_path.display().to_string(), &key_text),
        is_new,
    })
}

/// An error with the name of the file that it is about.
pub(super) fn told(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

/// The text of a file; `None` if there is none.
pub(super) fn read_if_there(path: &Path) -> Result<Option<String>, String> {
    match files::read_text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(told(path, &error)),
    }
}

/// A new key on P-256, the one curve that every LwM2M device knows.
pub(super) fn make_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

/// A key as the files hold it: PKCS #8.
pub(super) fn private_pem(key: &PKey<Private>) -> Result<String, ErrorStack> {
    let pem = key.private_key_to_pem_pkcs8()?;
    Ok(String::from_utf8_lossy(&pem).into_owned())
}

/// A random serial number of 16 bytes; its first bit is none, so that it is positive as it stands.
pub(super) fn serial_number() -> Result<Asn1Integer, ErrorStack> {
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::ONE, false)?;
    serial.to_asn1_integer()
}

/// A name that has a common name alone.
pub(super) fn named(common_name: &str) -> Result<X509Name, ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_nid(Nid::COMMONNAME, common_name)?;
    Ok(name.build())
}

/// A self-signed certificate for a server.
fn make_certificate(key: &PKey<Private>, name: &str, wall: WallTime) -> Result<String, ErrorStack> {
    let common_name: String = name.chars().take(MAX_COMMON_NAME).collect();
    let subject = named(&common_name)?;
    let begins = wall.millis() / 1_000 - BEFORE_SECS;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(serial_number()?.as_ref())?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(&subject)?;
    builder.set_not_before(Asn1Time::from_unix(begins)?.as_ref())?;
    builder.set_not_after(Asn1Time::from_unix(begins + YEARS * 365 * DAY_SECS)?.as_ref())?;
    builder.set_pubkey(key)?;
    // Clients pin the certificate as their authority too, which it has to be allowed to be.
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    builder.append_extension(KeyUsage::new().critical().digital_signature().key_cert_sign().build()?)?;
    builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
    let host: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).collect();
    if host == name {
        let context = builder.x509v3_context(None, None);
        let alternative = SubjectAlternativeName::new().dns(&host).build(&context)?;
        builder.append_extension(alternative)?;
    }
    builder.sign(key, MessageDigest::sha256())?;
    let pem = builder.build().to_pem()?;
    Ok(String::from_utf8_lossy(&pem).into_owned())
}
