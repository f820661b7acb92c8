//! Keys of `[lwm2m]` for the secure transports: files, sessions, rates; and what becomes of them.

use std::path::PathBuf;
use std::time::Duration;

use super::Sources;
use super::read::{DAY, SECOND};
use super::secret::{KeySource, PemFile};
use super::section::{Section, Wrong, read_pem_file, read_pem_files};
use crate::gateway::configuration::{CertificateName, MAX_CONNECTION_ID_BYTES, Rate, SessionConfiguration};
use crate::io::secure::identity::{self, ClientAuthentication, IdentityFiles, NamedPem, ServerIdentity};

/// Files of the secure transports, as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecuritySettings {
    /// The server's certificate chain; `None`: the gateway makes one for itself.
    pub certificate: Option<PemFile>,
    /// Its private key.
    pub private_key: Option<KeySource>,
    /// The private key whose public half is the server's raw public key; `None`: that of the certificate.
    pub raw_public_key: Option<KeySource>,
    /// Files and folders with the authorities that sign devices' certificates.
    pub trust_paths: Vec<PathBuf>,
    /// The files that those stood for.
    pub trust: Vec<PemFile>,
    /// Whether peers have to show a certificate.
    pub client_authentication: ClientAuthentication,
    /// First timer of a handshake's retransmission, then doubled each time (RFC 6347 section 4.2.4.1).
    pub first_retransmission: Duration,
}

impl SecuritySettings {
    /// Whether anything is configured that lets devices prove who they are.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.certificate.is_some() || self.raw_public_key.is_some() || !self.trust_paths.is_empty()
    }

    /// The configured certificate and its key.
    #[must_use]
    pub fn configured_pair(&self) -> Option<(NamedPem, NamedPem)> {
        Some((pem_of_file(self.certificate.as_ref()?), pem_of_key(self.private_key.as_ref()?)))
    }

    /// The texts of the server's identity, with a certificate and its key.
    #[must_use]
    pub fn identity_files(&self, (certificate, private_key): (NamedPem, NamedPem)) -> IdentityFiles {
        IdentityFiles {
            certificate,
            private_key,
            raw_public_key: self.raw_public_key.as_ref().map(pem_of_key),
            trust: self.trust.iter().map(pem_of_file).collect(),
            client_authentication: self.client_authentication,
        }
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// Names the file that cannot be read, and what to do.
    pub fn reread(&self, sources: &Sources<'_>) -> Result<Self, String> {
        let shown = |(message, hint): Wrong| if hint.is_empty() { message } else { format!("{message} ({hint})") };
        let file = |file: &PemFile| read_pem_file(sources, &file.path).map_err(shown);
        let key = |source: &KeySource| match source {
            KeySource::File(of) => file(of).map(KeySource::File),
            // The environment of a process stays as it is.
            KeySource::Variable { .. } => Ok(source.clone()),
        };
        Ok(Self {
            certificate: self.certificate.as_ref().map(file).transpose()?,
            private_key: self.private_key.as_ref().map(key).transpose()?,
            raw_public_key: self.raw_public_key.as_ref().map(key).transpose()?,
            trust: read_pem_files(sources, &self.trust_paths).map_err(shown)?,
            ..self.clone()
        })
    }
}

fn pem_of_file(file: &PemFile) -> NamedPem {
    NamedPem::new(file.path.display().to_string(), file.expose())
}

fn pem_of_key(key: &KeySource) -> NamedPem {
    NamedPem::new(key.name(), key.expose())
}

/// A rate as two keys have it: how often in a second, and how much more at once after a quiet time.
pub(super) struct RateKey {
    key: &'static str,
    burst_seconds: u32,
    meaning: &'static str,
}

const HANDSHAKES: RateKey = RateKey {
    key: "handshakes_per_second",
    burst_seconds: 1,
    meaning: "DTLS handshakes that may begin in a second, over all sources.",
};
const HANDSHAKES_PER_SOURCE: RateKey = RateKey {
    key: "handshakes_per_second_per_source",
    burst_seconds: 1,
    meaning: "The same from one IPv4 address or one IPv6 network of 64 bits.",
};
pub(super) const REGISTRATIONS: RateKey = RateKey {
    key: "registrations_per_second",
    burst_seconds: 2,
    meaning: "Registrations that may begin in a second, over all sources.",
};
pub(super) const REGISTRATIONS_PER_SOURCE: RateKey = RateKey {
    key: "registrations_per_second_per_source",
    burst_seconds: 2,
    meaning: "The same from one IPv4 address or one IPv6 network of 64 bits.",
};

pub(super) fn read_rate(section: &mut Section<'_, '_>, rate: &RateKey, default: Rate) -> Rate {
    let per_second = section.integer(rate.key, default.per_second, 1..=1_000_000, rate.meaning);
    Rate { per_second, burst: per_second.saturating_mul(rate.burst_seconds) }
}

pub(super) fn read_certificate_name(section: &mut Section<'_, '_>) -> CertificateName {
    let names =
        [("cn", CertificateName::CommonName), ("san", CertificateName::AlternativeName), ("any", CertificateName::Any)];
    let meaning = "Where a certificate must name the endpoint: common name, alternative names, or either.";
    section.choice("x509_endpoint", "cn", &names, meaning).unwrap_or_default()
}

pub(super) fn read_sessions(section: &mut Section<'_, '_>) -> SessionConfiguration {
    let built_in = SessionConfiguration::default();
    let longest = u32::try_from(MAX_CONNECTION_ID_BYTES).unwrap_or(u32::MAX);
    let connection_id = section.integer(
        "connection_id_length",
        8,
        0..=longest,
        "Length of DTLS connection ids (RFC 9146) in bytes; 0: none.",
    );
    SessionConfiguration {
        connection_id_bytes: connection_id as usize,
        handshake_timeout: section.duration(
            "dtls_handshake_timeout",
            built_in.handshake_timeout,
            SECOND..=600 * SECOND,
            "How long a DTLS handshake may take.",
        ),
        save_interval: section.duration(
            "dtls_save_interval",
            built_in.save_interval,
            SECOND..=DAY,
            "How often the state of DTLS sessions that changed is stored.",
        ),
        unused_timeout: section.duration(
            "dtls_unused_timeout",
            built_in.unused_timeout,
            60 * SECOND..=365 * DAY,
            "How long a DTLS session stays that no registered device uses.",
        ),
        alert_unknown: section.boolean(
            "dtls_alert_unknown",
            built_in.alert_unknown,
            "Whether records of unknown DTLS sessions are answered by an alert; for trusted networks.",
        ),
        hello_verify_1_2: section
            .choice(
                "dtls_hello_verify",
                "1.0",
                &[("1.0", false), ("1.2", true)],
                "Version that a HelloVerifyRequest says; 1.0 is what RFC 6347 advises.",
            )
            .unwrap_or_default(),
        handshake_rate: read_rate(section, &HANDSHAKES, built_in.handshake_rate),
        handshake_rate_per_source: read_rate(section, &HANDSHAKES_PER_SOURCE, built_in.handshake_rate_per_source),
    }
}

pub(super) fn read_security(section: &mut Section<'_, '_>) -> SecuritySettings {
    let certificate =
        section.pem_file("certificate", "PEM file with the server's certificate chain; made at start if absent.");
    let private_key = section.key_source("private_key", "PEM file with its private key.");
    for (key, other) in [("certificate", "private_key"), ("private_key", "certificate")] {
        if section.has(key) && !section.has(other) {
            let hint = "give both, or none for a self-signed certificate that the gateway makes";
            section.problem(key, format!("stands there without {other}"), hint);
        }
    }
    let raw_public_key = section.key_source(
        "raw_public_key",
        "PEM file with the private key whose public half RPK clients pin; that of the certificate if absent.",
    );
    let (trust_paths, trust) =
        section.pem_files("trust", "PEM files or folders with the authorities that sign devices' certificates.");
    let words = [("required", ClientAuthentication::Required), ("optional", ClientAuthentication::Optional)];
    let client_authentication = section
        .choice("client_auth", "required", &words, "Whether peers without a pre-shared key have to show a certificate.")
        .unwrap_or_default();
    let first_retransmission = section.duration(
        "dtls_retransmission",
        SECOND,
        SECOND..=9 * SECOND,
        "First wait before a DTLS handshake's messages are repeated, then doubled each time.",
    );
    let settings = SecuritySettings {
        certificate,
        private_key,
        raw_public_key,
        trust_paths,
        trust,
        client_authentication,
        first_retransmission,
    };
    refuse_unusable(section, &settings);
    settings
}

/// What the files hold is looked at here, so that `check` tells it; times are not, since settings know no clock.
fn refuse_unusable(section: &mut Section<'_, '_>, settings: &SecuritySettings) {
    if let Some((certificate, private_key)) = settings.configured_pair() {
        let alone = SecuritySettings { raw_public_key: None, trust: Vec::new(), ..settings.clone() };
        if let Err(error) = ServerIdentity::load(&alone.identity_files((certificate, private_key))) {
            section.problem("certificate", error, "");
        }
    }
    if let Some(key) = &settings.raw_public_key
        && let Err(error) = identity::raw_public_key(&pem_of_key(key))
    {
        section.problem("raw_public_key", error, "");
    }
    for file in &settings.trust {
        if let Err(error) = identity::certificates(&pem_of_file(file)) {
            section.problem("trust", error, "");
        }
    }
}
