//! TLS towards the broker, by OpenSSL.

use native_tls::{Certificate, Identity, TlsConnector};
use openssl::pkey::PKey;

use super::{MqttConfiguration, MqttError};

/// A connector that trusts the configured authorities, or those of the system, and shows our certificate.
pub(super) fn connector(configuration: &MqttConfiguration) -> Result<TlsConnector, MqttError> {
    let mut builder = TlsConnector::builder();
    if let Some(ca) = &configuration.ca {
        let wrong = |reason: String| MqttError::Pem { setting: "ca", reason };
        let certificates = Certificate::stack_from_pem(ca).map_err(|error| wrong(error.to_string()))?;
        if certificates.is_empty() {
            return Err(wrong("it holds no certificate".to_owned()));
        }
        for certificate in certificates {
            builder.add_root_certificate(certificate);
        }
        // An own authority is given to trust nobody else.
        builder.disable_built_in_roots(true);
    }
    match (&configuration.certificate, &configuration.private_key) {
        (None, None) => {}
        (Some(certificate), Some(key)) => {
            let wrong = |setting| move |reason: String| MqttError::Pem { setting, reason };
            // Only PKCS#8 is taken below; tools also write PKCS#1 and SEC1. An encrypted key fails instead of asking
            // for a passphrase on a terminal.
            let key = PKey::private_key_from_pem_callback(key, |_| Ok(0))
                .and_then(|key| key.private_key_to_pem_pkcs8())
                .map_err(|error| wrong("private_key")(error.to_string()))?;
            let identity =
                Identity::from_pkcs8(certificate, &key).map_err(|error| wrong("certificate")(error.to_string()))?;
            builder.identity(identity);
        }
        _ => return Err(MqttError::HalfIdentity),
    }
    let alpn: Vec<&str> = configuration.alpn.iter().map(String::as_str).collect();
    if !alpn.is_empty() {
        builder.request_alpns(&alpn);
    }
    builder.build().map_err(MqttError::Tls)
}
