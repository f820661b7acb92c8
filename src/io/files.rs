//! Files and the environment, for the parts that know only their texts.

use std::io;
use std::path::{Path, PathBuf};

/// Longest configuration, mapping or secret file taken.
pub const MAX_TEXT_BYTES: u64 = 4 << 20;

/// Reads a UTF-8 file of at most [`MAX_TEXT_BYTES`].
///
/// # Errors
/// If it cannot be read, is too long or is no UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(MAX_TEXT_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_TEXT_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {MAX_TEXT_BYTES} bytes")));
    }
    Ok(text)
}

/// Lists what lies in a folder, in no order.
///
/// # Errors
/// If it cannot be read.
pub fn list_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

/// A number that changes when the files of a folder do: when one comes, goes, is renamed, replaced or written.
///
/// Looks at names, lengths, inodes and times of modification, not at contents and not into folders below; 0 if the
/// folder cannot be read. Only for comparison with an earlier call of the same process.
#[must_use]
pub fn fingerprint(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    // A sum, since folders are listed in no order.
    entries.flatten().map(|entry| of_file(&entry)).fold(1, u64::wrapping_add)
}

fn of_file(entry: &std::fs::DirEntry) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    entry.file_name().hash(&mut hasher);
    // The file behind a link counts: mounted configurations are links that are turned.
    if let Ok(metadata) = std::fs::metadata(entry.path()) {
        (metadata.is_file(), metadata.modified().ok()).hash(&mut hasher);
        if metadata.is_file() {
            metadata.len().hash(&mut hasher);
        }
        #[cfg(unix)]
        std::os::unix::fs::MetadataExt::ino(&metadata).hash(&mut hasher);
    }
    hasher.finish()
}

/// Environment variables whose names and values are UTF-8.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Name of this machine.
#[must_use]
pub fn host_name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_long_or_no_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        std::fs::write(&path, "a = 1").unwrap();
        assert_eq!(read_text(&path).unwrap(), "a = 1");
        assert_eq!(list_folder(folder.path()).unwrap(), std::slice::from_ref(&path));
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        std::fs::File::create(&path).unwrap().set_len(MAX_TEXT_BYTES + 1).unwrap();
        assert_eq!(read_text(&path).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_fingerprint_changes_with_the_files_and_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut seen = vec![fingerprint(&path("nowhere")), fingerprint(folder.path())];
        let mut changed = |what: &str| {
            let now = fingerprint(folder.path());
            assert_eq!(now, fingerprint(folder.path()), "{what}");
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
        };
        std::fs::write(path("a.xml"), "one").unwrap();
        changed("a file came");
        std::fs::write(path("b.xml"), "one").unwrap();
        changed("another came");
        std::fs::write(path("a.xml"), "longer").unwrap();
        changed("one became longer");
        let later = std::time::UNIX_EPOCH + std::time::Duration::from_secs(60);
        std::fs::File::options().write(true).open(path("a.xml")).unwrap().set_modified(later).unwrap();
        changed("one was written at another time");
        std::fs::rename(path("b.xml"), path("c.xml")).unwrap();
        changed("one was renamed");
        std::fs::remove_file(path("c.xml")).unwrap();
        changed("one went");
    }
}
