//! Identities and pre-shared keys of simulated devices, which the fleet and whoever registers their credentials compute
//! alike.
//!
//! The identity of a device is its endpoint name. Its key is HMAC-SHA-256 of the identity (RFC 2104) under the secret of
//! the fleet; without a secret, the first 16 bytes of SHA-256 of the identity, which anybody can compute: for tests.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::model::credential::SecretBytes;

/// Length of the keys that need no secret, in bytes.
pub const TEST_KEY_BYTES: usize = 16;

/// The key that belongs to an identity.
#[must_use]
pub fn key(identity: &[u8], secret: Option<&SecretBytes>) -> SecretBytes {
    let hmac = secret.and_then(|secret| Hmac::<Sha256>::new_from_slice(secret.expose()).ok());
    match hmac {
        Some(mut hmac) => {
            hmac.update(identity);
            SecretBytes::new(&hmac.finalize().into_bytes())
        }
        None => SecretBytes::new(Sha256::digest(identity).get(..TEST_KEY_BYTES).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(key: &SecretBytes) -> String {
        data_encoding::HEXLOWER.encode(key.expose())
    }

    #[test]
    fn a_key_without_a_secret_is_the_beginning_of_a_digest() {
        assert_eq!(hex(&key(b"abc", None)), "ba7816bf8f01cfea414140de5dae2223");
    }

    #[test]
    fn a_key_under_a_secret_is_that_of_rfc_4231() {
        let secret = SecretBytes::new(&[0x0b; 20]);
        assert_eq!(
            hex(&key(b"Hi There", Some(&secret))),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }
}
