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

/// Writes a file in one step: readers see the old text or the new one, also after a power cut. A file that was there
/// keeps its permissions.
///
/// # Errors
/// As the operating system gives; then the old text stays.
pub fn replace_text(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let written = write_beside(path, &beside, text).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // What could not be finished is of no use; the first failure is the one to tell.
        let _ = std::fs::remove_file(&beside);
    }
    written?;
    sync_folder_of(path)
}

/// The same for a secret: only this user may read the file, from its first byte on.
///
/// # Errors
/// As the operating system gives; then the old text stays.
pub fn replace_private_text(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let beside = path.with_extension("new");
    // One that was left there may have been readable by others.
    let _ = std::fs::remove_file(&beside);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written =
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written?;
    sync_folder_of(path)
}

fn write_beside(path: &Path, beside: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(beside)?;
    if let Ok(metadata) = std::fs::metadata(path) {
        file.set_permissions(metadata.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Makes names durable: a file that was renamed or removed otherwise comes back after a power cut.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

/// A new, empty file to write to, in place of an earlier one.
///
/// # Errors
/// As the operating system gives.
pub fn create(path: &Path) -> io::Result<std::fs::File> {
    std::fs::File::create(path)
}

/// Removes a file, durably.
///
/// # Errors
/// As the operating system gives.
pub fn remove_file(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)?;
    sync_folder_of(path)
}

/// Length of a file in bytes.
///
/// # Errors
/// As the operating system gives.
pub fn length(path: &Path) -> io::Result<u64> {
    std::fs::metadata(path).map(|metadata| metadata.len())
}

/// Where a path really leads, links followed.
///
/// # Errors
/// As the operating system gives; if nothing is there.
pub fn canonical(path: &Path) -> io::Result<PathBuf> {
    std::fs::canonicalize(path)
}

/// Makes a folder and those above it, readable by this user only where they are new.
///
/// # Errors
/// As the operating system gives.
pub fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Removes a folder of this program's own with everything in it.
///
/// # Errors
/// As the operating system gives.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    std::fs::remove_dir_all(path)
}

/// A new folder below the system's one for temporary files.
///
/// # Errors
/// As the operating system gives.
pub fn make_temporary_folder(prefix: &str) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let path = std::env::temp_dir().join(format!("{prefix}-{}", data_encoding::HEXLOWER.encode(&random)));
    make_folder(&path)?;
    Ok(path)
}

/// Memory that this process holds, in bytes; `None` where the system does not tell.
pub fn resident_bytes() -> Option<u64> {
    const PAGE_BYTES: u64 = 4_096;
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}

/// Random bytes from the operating system, for seeding.
///
/// # Errors
/// If the system has none.
pub fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
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
