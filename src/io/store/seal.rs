//! The seal of secrets: what lies in the database file can be read only with the key file beside it.
//!
//! A copy of the database, a backup medium or a file sent to somebody for help so gives no key of a device away. It is no
//! protection from whoever reads both files.
//!
//! Each value is sealed by AES-256-GCM under a key of its own: HMAC-SHA256 of the key in the file over 24 random bytes,
//! which stand in front of it. Random nonces alone would do for some thousand million writes, and sessions are written
//! often. Kind and key of the row are authenticated, so that rows cannot be exchanged.
//!
//! ```text
//! 1 | 24 random bytes | ciphertext | 16 bytes of tag
//! ```

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::StoreError;
use crate::gateway::store::SecretKind;
use crate::model::credential::SecretBytes;

/// The key file, in the directory of the database.
pub const KEY_FILE: &str = "store.key";

const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 24;
const VERSION: u8 = 1;

/// The most names tried for a key file that is set aside.
const MAX_SET_ASIDE: u32 = 1_000;

/// Seals and opens values.
#[derive(Clone)]
pub(super) struct Seal {
    key: SecretBytes,
}

impl Seal {
    /// The seal of the database at `path`; its key is made at the first start. The text is a note for the log: a key file
    /// that is none was set aside.
    pub(super) fn beside(path: &Path) -> Result<(Self, Option<String>), StoreError> {
        let file = path.with_file_name(KEY_FILE);
        let mut note = None;
        match read_key(&file) {
            Ok(Some(key)) => return Ok((Self { key }, None)),
            Ok(None) => {
                let aside = set_aside(&file)?;
                note = Some(format!(
                    "the key of the store {} has not {KEY_BYTES} bytes; it was set aside as {} and a new one was made, so \
                     that credentials and sessions sealed before cannot be opened: put the right file back and start again",
                    file.display(),
                    aside.display()
                ));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(cause) => return Err(StoreError::File { action: "read", path: file, cause }),
        }
        Ok((Self { key: make_key(&file)? }, note))
    }

    /// Seals a value for its row.
    pub(super) fn seal(&self, kind: SecretKind, key: &[u8], value: &SecretBytes) -> Result<Vec<u8>, NotSealed> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_| NotSealed)?;
        let additional = additional_data(kind.as_str(), key);
        let payload = Payload { msg: value.expose(), aad: &additional };
        let sealed = self.cipher(&salt)?.encrypt(&Nonce::default(), payload).map_err(|_| NotSealed)?;
        Ok([&[VERSION], salt.as_slice(), &sealed].concat())
    }

    /// Opens the value of a row; `None` if it was sealed by another key, or changed.
    pub(super) fn open(&self, kind: &str, key: &[u8], sealed: &[u8]) -> Option<SecretBytes> {
        let (&VERSION, rest) = sealed.split_first()? else { return None };
        let (salt, sealed) = rest.split_first_chunk::<SALT_BYTES>()?;
        let additional = additional_data(kind, key);
        let payload = Payload { msg: sealed, aad: &additional };
        let value = self.cipher(salt).ok()?.decrypt(&Nonce::default(), payload).ok()?;
        Some(SecretBytes::new(&value))
    }

    /// The cipher of one value. Its key is used once, so that its nonce may be zero.
    fn cipher(&self, salt: &[u8; SALT_BYTES]) -> Result<Aes256Gcm, NotSealed> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose()).map_err(|_| NotSealed)?;
        mac.update(b"lwm2mqtt store row");
        mac.update(salt);
        Aes256Gcm::new_from_slice(&mac.finalize().into_bytes()).map_err(|_| NotSealed)
    }
}

/// A value could not be sealed: the system gives no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret cannot be sealed: the system gives no random bytes")]
pub(super) struct NotSealed;

impl From<NotSealed> for rusqlite::Error {
    fn from(error: NotSealed) -> Self {
        Self::ToSqlConversionFailure(Box::new(error))
    }
}

fn additional_data(kind: &str, key: &[u8]) -> Vec<u8> {
    // No word of a kind holds a zero byte.
    [kind.as_bytes(), &[0], key].concat()
}

/// The key in a file; `None` if the file has another length. Nobody else may read it from then on.
fn read_key(file: &Path) -> std::io::Result<Option<SecretBytes>> {
    let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
    File::open(file)?.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    fs::set_permissions(file, Permissions::from_mode(0o600))?;
    Ok((bytes.len() == KEY_BYTES).then(|| SecretBytes::new(&bytes)))
}

/// Makes a key and a file for it, which is on the disk before anything is sealed by it.
fn make_key(file: &Path) -> Result<SecretBytes, StoreError> {
    let failed = |cause| StoreError::File { action: "create", path: file.to_owned(), cause };
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| failed(std::io::Error::other(error)))?;
    let half_made = file.with_extension("key.new");
    let write = || {
        match fs::remove_file(&half_made) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half_made)?;
        new.write_all(&key)?;
        new.sync_all()?;
        fs::rename(&half_made, file)?;
        match file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            Some(directory) => File::open(directory)?.sync_all(),
            None => File::open(".")?.sync_all(),
        }
    };
    write().map_err(failed)?;
    Ok(SecretBytes::new(&key))
}

fn set_aside(file: &Path) -> Result<PathBuf, StoreError> {
    let candidates = (1..=MAX_SET_ASIDE).map(|number| file.with_extension(format!("key.damaged-{number}")));
    let aside = candidates.into_iter().find(|candidate| !candidate.exists());
    let aside = aside.unwrap_or_else(|| file.with_extension("key.damaged-1"));
    fs::rename(file, &aside).map_err(|cause| StoreError::File { action: "set aside", path: file.to_owned(), cause })?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal_in(directory: &Path) -> Seal {
        Seal::beside(&directory.join("state.db")).unwrap().0
    }

    #[test]
    fn a_value_opens_only_in_its_row_with_its_key_and_unchanged() {
        let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let seal = seal_in(directory.path());
        let value = SecretBytes::new(b"value");
        let sealed = seal.seal(SecretKind::Credential, b"key", &value).unwrap();
        assert_eq!(seal.open("credential", b"key", &sealed), Some(value.clone()));
        assert_eq!(seal.open("session", b"key", &sealed), None);
        assert_eq!(seal.open("credential", b"kez", &sealed), None);
        assert_eq!(seal_in(other.path()).open("credential", b"key", &sealed), None);
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(seal.open("credential", b"key", &changed), None, "byte {index}");
            assert_eq!(seal.open("credential", b"key", &sealed[..index]), None, "first {index} bytes");
        }
        assert_ne!(seal.seal(SecretKind::Credential, b"key", &value).unwrap(), sealed, "never the same bytes");
    }

    #[test]
    fn the_key_file_is_made_once_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(KEY_FILE);
        seal_in(directory.path());
        let key = fs::read(&file).unwrap();
        assert_eq!(key.len(), KEY_BYTES);
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        seal_in(directory.path());
        assert_eq!(fs::read(&file).unwrap(), key);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_file_of_another_length_is_set_aside_and_told() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(KEY_FILE), b"short").unwrap();
        let (_, note) = Seal::beside(&directory.path().join("state.db")).unwrap();
        assert!(note.unwrap().contains("store.key.damaged-1"));
        assert_eq!(fs::read(directory.path().join("store.key.damaged-1")).unwrap(), b"short");
        let (_, note) = Seal::beside(&directory.path().join("state.db")).unwrap();
        assert_eq!(note, None);
    }
}
