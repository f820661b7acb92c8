//! Keys of a session and what they do to a record (RFC 5246 section 6.3; RFC 6655, 5288; RFC 9146 section 5).
//!
//! Nonces are the fixed part of the key block and the record's epoch and sequence number, so a nonce never comes twice
//! as long as no sequence number does: that is the caller's duty, also over restarts.

use std::fmt;

use aes::Aes128;
use aes_gcm::Aes128Gcm;
use aes_gcm::aead::{AeadCore, AeadInOut, KeyInit, KeySizeUser};
use ccm::Ccm;
use ccm::consts::{U8, U12, U16};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::suite::{Protection, Suite};

type AesCcm8 = Ccm<Aes128, U8, U12>;
type AesCcm16 = Ccm<Aes128, U16, U12>;

/// What the AEADs of the suites have in common.
trait Cipher: KeyInit + KeySizeUser<KeySize = U16> + AeadInOut + AeadCore<NonceSize = U12> {}

impl<C: KeyInit + KeySizeUser<KeySize = U16> + AeadInOut + AeadCore<NonceSize = U12>> Cipher for C {}

/// Bytes of an AES-128 key.
const KEY_BYTES: usize = 16;
/// Bytes of the part of a nonce that the key block gives.
const SALT_BYTES: usize = 4;
/// Bytes of the part of a nonce that stands in each record.
pub const EXPLICIT_NONCE_BYTES: usize = 8;
/// Bytes of a nonce.
const NONCE_BYTES: usize = SALT_BYTES + EXPLICIT_NONCE_BYTES;

/// Keys of one direction.
#[derive(Clone, PartialEq, Eq)]
pub struct DirectionKeys {
    key: [u8; KEY_BYTES],
    salt: [u8; SALT_BYTES],
}

/// Keys of a session whose records are protected by an AEAD, from the side that writes with `write`.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKeys {
    /// The suite.
    pub suite: Suite,
    /// Protects what leaves.
    pub write: DirectionKeys,
    /// Opens what comes.
    pub read: DirectionKeys,
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKeys({})", self.suite)
    }
}

/// The record does not authenticate, or is too short to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record does not authenticate")]
pub struct NotAuthentic;

impl DirectionKeys {
    fn nonce(&self, explicit: [u8; EXPLICIT_NONCE_BYTES]) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        nonce[..SALT_BYTES].copy_from_slice(&self.salt);
        nonce[SALT_BYTES..].copy_from_slice(&explicit);
        nonce
    }

    /// Appends explicit nonce, ciphertext and tag.
    pub fn seal(
        &self,
        suite: Suite,
        explicit: [u8; EXPLICIT_NONCE_BYTES],
        additional: &[u8],
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&explicit);
        let start = out.len();
        out.extend_from_slice(plaintext);
        let nonce = self.nonce(explicit);
        let body = out.get_mut(start..).unwrap_or_default();
        let tag = match suite.protection() {
            Protection::Ccm8 => encrypt::<AesCcm8>(&self.key, &nonce, additional, body),
            Protection::Ccm => encrypt::<AesCcm16>(&self.key, &nonce, additional, body),
            Protection::Gcm => encrypt::<Aes128Gcm>(&self.key, &nonce, additional, body),
            Protection::Cbc => Vec::new(),
        };
        out.extend_from_slice(&tag);
    }

    /// Opens what [`Self::seal`] wrote. `additional` is made from the length of the plaintext.
    ///
    /// # Errors
    /// If the tag is wrong. The tag is compared in constant time.
    pub fn open(
        &self,
        suite: Suite,
        sealed: &[u8],
        additional: impl FnOnce(usize) -> Vec<u8>,
    ) -> Result<Vec<u8>, NotAuthentic> {
        let (explicit, rest) = sealed.split_first_chunk::<EXPLICIT_NONCE_BYTES>().ok_or(NotAuthentic)?;
        let length = rest.len().checked_sub(suite.tag_bytes()).ok_or(NotAuthentic)?;
        let (ciphertext, tag) = rest.split_at(length);
        let (nonce, additional, mut body) = (self.nonce(*explicit), additional(length), ciphertext.to_vec());
        match suite.protection() {
            Protection::Ccm8 => decrypt::<AesCcm8>(&self.key, &nonce, &additional, &mut body, tag)?,
            Protection::Ccm => decrypt::<AesCcm16>(&self.key, &nonce, &additional, &mut body, tag)?,
            Protection::Gcm => decrypt::<Aes128Gcm>(&self.key, &nonce, &additional, &mut body, tag)?,
            Protection::Cbc => return Err(NotAuthentic),
        }
        Ok(body)
    }
}

/// Encrypts in place; the tag. The lengths of keys and nonces are right by their types, and no record is too long.
fn encrypt<C: Cipher>(key: &[u8; KEY_BYTES], nonce: &[u8; NONCE_BYTES], additional: &[u8], body: &mut [u8]) -> Vec<u8> {
    let cipher = C::new(&(*key).into());
    cipher.encrypt_inout_detached(&(*nonce).into(), additional, body.into()).map(|tag| tag.to_vec()).unwrap_or_default()
}

/// Decrypts in place, if the tag is right.
fn decrypt<C: Cipher>(
    key: &[u8; KEY_BYTES],
    nonce: &[u8; NONCE_BYTES],
    additional: &[u8],
    body: &mut [u8],
    tag: &[u8],
) -> Result<(), NotAuthentic> {
    let tag = tag.try_into().map_err(|_| NotAuthentic)?;
    let cipher = C::new(&(*key).into());
    cipher.decrypt_inout_detached(&(*nonce).into(), additional, body.into(), tag).map_err(|_| NotAuthentic)
}

impl Suite {
    /// Bytes of the tag at the end of a record.
    #[must_use]
    pub const fn tag_bytes(self) -> usize {
        match self.protection() {
            Protection::Ccm8 => 8,
            Protection::Ccm | Protection::Gcm => 16,
            Protection::Cbc => 32,
        }
    }
}

/// Bytes of [`SessionKeys::to_bytes`].
pub const SESSION_KEYS_BYTES: usize = 2 + 2 * (KEY_BYTES + SALT_BYTES);

impl SessionKeys {
    /// The keys that master secret and randoms give (RFC 5246 section 6.3), as `server` sees them.
    #[must_use]
    pub fn derive(
        suite: Suite,
        master_secret: &[u8],
        client_random: &[u8; 32],
        server_random: &[u8; 32],
        server: bool,
    ) -> Self {
        let mut seed = Vec::with_capacity(64);
        seed.extend_from_slice(server_random);
        seed.extend_from_slice(client_random);
        let block = prf(master_secret, b"key expansion", &seed, 2 * (KEY_BYTES + SALT_BYTES));
        let part = |from: usize, into: &mut [u8]| {
            for (to, from) in into.iter_mut().zip(block.iter().skip(from)) {
                *to = *from;
            }
        };
        let mut client = DirectionKeys { key: [0; KEY_BYTES], salt: [0; SALT_BYTES] };
        let mut own = client.clone();
        part(0, &mut client.key);
        part(KEY_BYTES, &mut own.key);
        part(2 * KEY_BYTES, &mut client.salt);
        part(2 * KEY_BYTES + SALT_BYTES, &mut own.salt);
        let (write, read) = if server { (own, client) } else { (client, own) };
        Self { suite, write, read }
    }

    /// For the store.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SESSION_KEYS_BYTES] {
        let mut bytes = [0; SESSION_KEYS_BYTES];
        let parts = [&self.write.key[..], &self.write.salt, &self.read.key, &self.read.salt];
        let all = self.suite.id().to_be_bytes().into_iter().chain(parts.into_iter().flatten().copied());
        for (to, from) in bytes.iter_mut().zip(all) {
            *to = from;
        }
        bytes
    }

    /// From the store; `None` for a suite that is not known or has no keys of this kind.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; SESSION_KEYS_BYTES]) -> Option<Self> {
        let (suite, rest) = bytes.split_first_chunk::<2>()?;
        let suite = Suite::of_id(u16::from_be_bytes(*suite)).filter(|suite| suite.protection() != Protection::Cbc)?;
        let (write, read) = rest.split_at_checked(KEY_BYTES + SALT_BYTES)?;
        let direction = |bytes: &[u8]| {
            let (key, salt) = bytes.split_first_chunk::<KEY_BYTES>()?;
            Some(DirectionKeys { key: *key, salt: salt.try_into().ok()? })
        };
        Some(Self { suite, write: direction(write)?, read: direction(read)? })
    }
}

/// `P_SHA256` (RFC 5246 section 5).
#[must_use]
pub fn prf(secret: &[u8], label: &[u8], seed: &[u8], length: usize) -> Vec<u8> {
    let mac = |parts: &[&[u8]]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
        for part in parts {
            mac.update(part);
        }
        Some(mac.finalize().into_bytes().to_vec())
    };
    let mut out = Vec::with_capacity(length + 32);
    // An HMAC takes a key of any length.
    let mut step = mac(&[label, seed]).unwrap_or_default();
    for _ in 0..length.div_ceil(32) {
        out.extend(mac(&[&step, label, seed]).unwrap_or_default());
        step = mac(&[&step]).unwrap_or_default();
    }
    out.truncate(length);
    out
}
