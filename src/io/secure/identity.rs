//! The server's identity: certificate chain, private key, raw public key, and the authorities of devices.
//!
//! All come as PEM texts with the names of their files, so that every error can name the file and what to do. What is
//! too weak is refused here: the contexts of the secure transports have to switch off the library's own bounds, since
//! those forbid the short tags of CCM-8.
//!
//! Errors and debug output never hold anything of a private key.

use std::fmt;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private};
use openssl::x509::{X509, X509Ref};

use crate::model::credential::SecretBytes;
use crate::model::time::WallTime;

/// Shortest modulus of an RSA key, in bits (NIST SP 800-57 part 1: 112 bits of security).
pub const MIN_RSA_BITS: u32 = 2_048;

/// Smallest curve, in bits; P-256 is what every LwM2M device has to know (Core TS 1.2.2 section 5.2.9).
pub const MIN_CURVE_BITS: u32 = 256;

/// Whether peers that have no pre-shared key have to show a certificate or raw public key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// The handshake fails without.
    #[default]
    Required,
    /// Who shows none is nobody: an unknown device.
    Optional,
}

/// A PEM text and what to call it in messages: mostly its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPem {
    /// Its path, or where else it came from.
    pub name: String,
    /// The text, which may hold a key.
    pub pem: SecretBytes,
}

impl NamedPem {
    /// A text with its name.
    #[must_use]
    pub fn new(name: impl Into<String>, pem: &str) -> Self {
        Self { name: name.into(), pem: SecretBytes::new(pem.as_bytes()) }
    }
}

/// The texts that an identity is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// Certificate chain, own certificate first.
    pub certificate: NamedPem,
    /// Its private key.
    pub private_key: NamedPem,
    /// A private key of its own for raw public keys.
    pub raw_public_key: Option<NamedPem>,
    /// Authorities of devices' certificates.
    pub trust: Vec<NamedPem>,
    /// Whether devices have to show a certificate.
    pub client_authentication: ClientAuthentication,
}

/// Who the server is, and whom it trusts. Cheap to clone: the library counts references.
#[derive(Clone)]
pub struct ServerIdentity {
    /// The own certificate.
    pub certificate: X509,
    /// The certificates that lead from it towards an authority.
    pub issuers: Vec<X509>,
    /// The private key of the certificate.
    pub private_key: PKey<Private>,
    /// The key whose public half is the raw public key: on a curve. `None`: the certificate has an RSA key and no other
    /// is configured, so that raw public keys are not served.
    pub raw_public_key: Option<PKey<Private>>,
    /// Authorities of devices' certificates; none: only certificates that are known themselves are taken.
    pub trust: Vec<X509>,
    /// Whether devices have to show a certificate.
    pub client_authentication: ClientAuthentication,
    /// What the certificate is called in messages.
    pub certificate_name: String,
}

impl ServerIdentity {
    /// Reads and checks the texts; times of validity are checked apart, by [`Self::check_validity`].
    ///
    /// # Errors
    /// Names the file, what is wrong and what to do.
    pub fn load(files: &IdentityFiles) -> Result<Self, String> {
        let mut chain = certificates(&files.certificate)?.into_iter();
        let name = &files.certificate.name;
        let certificate = chain.next().ok_or_else(|| format!("{name}: holds no certificate"))?;
        let issuers: Vec<X509> = chain.collect();
        let private_key = private_key(&files.private_key)?;
        let of_certificate =
            |certificate: &X509Ref| certificate.public_key().is_ok_and(|public| public.public_eq(&private_key));
        if !of_certificate(&certificate) {
            let key = &files.private_key.name;
            return Err(if issuers.iter().any(|issuer| of_certificate(issuer)) {
                format!("{name}: the server's own certificate has to stand first, those of its issuers behind it")
            } else {
                format!("{key}: is not the private key of {name}: give the two that were made together")
            });
        }
        let raw_public_key = match &files.raw_public_key {
            Some(pem) => Some(raw_public_key(pem)?),
            None => Some(private_key.clone()).filter(|key| key.id() == Id::EC),
        };
        let mut trust = Vec::new();
        for pem in &files.trust {
            trust.extend(certificates(pem)?);
        }
        Ok(Self {
            certificate,
            issuers,
            private_key,
            raw_public_key,
            trust,
            client_authentication: files.client_authentication,
            certificate_name: name.clone(),
        })
    }

    /// Whether the certificate holds at this time, which must be one to trust.
    ///
    /// # Errors
    /// Names the file and the time.
    pub fn check_validity(&self, wall: WallTime) -> Result<(), String> {
        let name = &self.certificate_name;
        let begins = wall_time(self.certificate.not_before());
        let ends = self.expires_at();
        if wall < begins {
            return Err(format!("{name}: the certificate is not valid before {}", begins.to_rfc3339()));
        }
        if wall >= ends {
            return Err(format!("{name}: the certificate expired at {}: replace it and reload", ends.to_rfc3339()));
        }
        Ok(())
    }

    /// When the certificate ends to be valid.
    #[must_use]
    pub fn expires_at(&self) -> WallTime {
        wall_time(self.certificate.not_after())
    }

    /// What works less than an operator may expect, in sentences.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let name = &self.certificate_name;
        let mut warnings = Vec::new();
        if self.private_key.id() == Id::RSA {
            warnings.push(format!(
                "{name}: has an RSA key, which clients of TLS 1.3 can use but no device over DTLS or TLS 1.2: the suites \
                 of LwM2M need an ECDSA key, P-256 best"
            ));
        } else if curve(&self.private_key) != Some(Nid::X9_62_PRIME256V1) {
            warnings.push(format!("{name}: its key is not on P-256, the one curve that every LwM2M device knows"));
        }
        if self.raw_public_key.is_none() {
            warnings.push("raw public keys are not served: lwm2m.raw_public_key has to name a key on P-256".to_owned());
        }
        warnings
    }

    /// The raw public key: SubjectPublicKeyInfo, DER (RFC 7250 section 3).
    #[must_use]
    pub fn raw_public_key_spki(&self) -> Option<Vec<u8>> {
        self.raw_public_key.as_ref()?.public_key_to_der().ok()
    }

    /// The same in base64, as the interfaces show it: public information.
    #[must_use]
    pub fn raw_public_key_base64(&self) -> Option<String> {
        self.raw_public_key_spki().map(|spki| data_encoding::BASE64.encode(&spki))
    }

    /// The date on which the certificate ends, as `2026-11-27`, in UTC.
    #[must_use]
    pub fn last_day(&self) -> String {
        let mut text = self.expires_at().to_rfc3339();
        text.truncate(text.find('T').unwrap_or(text.len()));
        text
    }

    /// SHA-256 of the certificate's DER.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let digest = self.certificate.digest(MessageDigest::sha256()).ok();
        digest.and_then(|digest| digest.as_ref().try_into().ok()).unwrap_or_default()
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity")
            .field("certificate_name", &self.certificate_name)
            .field("fingerprint", &data_encoding::HEXLOWER.encode(&self.fingerprint()))
            .field("trust", &self.trust.len())
            .field("client_authentication", &self.client_authentication)
            .finish_non_exhaustive()
    }
}

/// The certificates of a text, each with a key that is strong enough.
///
/// # Errors
/// If the text holds none, or one with a key that is too weak.
pub fn certificates(pem: &NamedPem) -> Result<Vec<X509>, String> {
    let name = &pem.name;
    let unreadable = "holds no certificate that can be read: it needs lines -----BEGIN CERTIFICATE-----";
    let certificates = X509::stack_from_pem(pem.pem.expose()).map_err(|_| format!("{name}: {unreadable}"))?;
    if certificates.is_empty() {
        return Err(format!("{name}: {unreadable}"));
    }
    for certificate in &certificates {
        let key = certificate.public_key().map_err(|_| format!("{name}: holds a certificate with an unknown key"))?;
        check_strength(name, &key)?;
    }
    Ok(certificates)
}

/// The private key of a raw public key.
///
/// # Errors
/// If the text holds none, or one that devices cannot use.
pub fn raw_public_key(pem: &NamedPem) -> Result<PKey<Private>, String> {
    let key = private_key(pem)?;
    if key.id() == Id::EC {
        return Ok(key);
    }
    let make = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256";
    Err(format!("{}: raw public keys need a key on a curve: make one by {make}", pem.name))
}

/// A private key that is strong enough.
///
/// # Errors
/// If the text holds none that can be read without a passphrase.
pub fn private_key(pem: &NamedPem) -> Result<PKey<Private>, String> {
    let name = &pem.name;
    let text = pem.pem.expose();
    let encrypted = text.windows(b"ENCRYPTED".len()).any(|part| part == b"ENCRYPTED");
    if encrypted {
        return Err(format!(
            "{name}: the key has a passphrase, which a service cannot type: write it without one by openssl pkey -in \
             OLD -out NEW, and let only the gateway read it"
        ));
    }
    // Without a callback the library would ask the terminal for a passphrase.
    let key = PKey::private_key_from_pem_callback(text, |_| Ok(0)).map_err(|_| {
        format!("{name}: holds no private key that can be read: it needs lines -----BEGIN PRIVATE KEY-----")
    })?;
    check_strength(name, &key)?;
    Ok(key)
}

fn check_strength<T: HasPublic>(name: &str, key: &PKeyRef<T>) -> Result<(), String> {
    match key.id() {
        Id::EC => {
            let bits = key.ec_key().map(|key| key.group().degree()).unwrap_or_default();
            if bits < MIN_CURVE_BITS {
                return Err(format!("{name}: a curve of {bits} bits is too small: at least {MIN_CURVE_BITS}"));
            }
            if curve(key).is_none() {
                return Err(format!("{name}: the key's curve has no name: make a key with a named curve, P-256 best"));
            }
            Ok(())
        }
        Id::RSA if key.bits() < MIN_RSA_BITS => {
            Err(format!("{name}: an RSA key of {} bits is too short: at least {MIN_RSA_BITS}", key.bits()))
        }
        Id::RSA | Id::ED25519 | Id::ED448 => Ok(()),
        _ => Err(format!("{name}: this kind of key cannot be used: take ECDSA on P-256")),
    }
}

fn curve<T: HasPublic>(key: &PKeyRef<T>) -> Option<Nid> {
    key.ec_key().ok()?.group().curve_name()
}

/// A time of a certificate; the beginning of time where it cannot be read, which makes the certificate invalid.
fn wall_time(time: &Asn1TimeRef) -> WallTime {
    let since = Asn1Time::from_unix(0).and_then(|epoch| epoch.diff(time));
    since.map_or(WallTime::from_millis(0), |since| {
        WallTime::from_secs(i64::from(since.days) * 86_400 + i64::from(since.secs))
    })
}
