//! The file: opening, versions, damage.
//!
//! `PRAGMA user_version` counts the steps of [`MIGRATIONS`] that were applied. Before an existing file is changed by a
//! step, a copy of it is kept beside it. A file that SQLite calls damaged is renamed; a new one takes its place, and
//! what can be read of the old one is carried over, table by table, up to the first damaged page of each.

use std::fs::{self, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, params_from_iter};

use super::seal::{KEY_FILE, Seal};
use super::statements::Database;
use super::{StoreConfiguration, StoreError};
use crate::gateway::store::StoredState;

/// `L2MQ`: tells a file of ours from one of another program.
const APPLICATION_ID: i64 = 0x4C32_4D51;

/// Steps from each version to the next. Never change a step that was released; append one.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE devices (endpoint TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE commands (
        endpoint TEXT NOT NULL, id TEXT NOT NULL, record BLOB NOT NULL,
        PRIMARY KEY (endpoint, id)
    ) WITHOUT ROWID;
    CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE retained (
        sink TEXT NOT NULL, topic TEXT NOT NULL, endpoint TEXT, payload BLOB NOT NULL, qos INTEGER NOT NULL,
        correlation BLOB, PRIMARY KEY (sink, topic)
    ) WITHOUT ROWID;
    -- Rows of a spool live in the table `spool_<number>`; `last` is the highest id ever used.
    CREATE TABLE spools (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last INTEGER NOT NULL);
", "
    -- Values sealed by the key file, see `seal`.
    CREATE TABLE secrets (kind TEXT NOT NULL, key BLOB NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
"];

/// Files up to this size are checked page by page at start; of larger ones, only the pages that are read.
const QUICK_CHECK_MAX_BYTES: u64 = 16 << 20;

/// Pages of the write-ahead log before it is moved into the file: 8 MiB, so that a busy spool is not written twice.
const CHECKPOINT_PAGES: i64 = 2_048;

/// How long another reader of the file, such as a backup, may hold up a write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The most names tried for a file that is set aside.
const MAX_SET_ASIDE: u32 = 1_000;

/// Opens the file; a damaged one is set aside first.
pub(super) fn open_or_set_aside(
    configuration: &StoreConfiguration,
) -> Result<(Database, StoredState, Vec<String>), StoreError> {
    let (seal, key_note) = Seal::beside(&configuration.path)?;
    let mut notes: Vec<String> = key_note.into_iter().collect();
    let opened = match open(configuration, &seal) {
        Err(StoreError::Sqlite(error)) if is_damage(&error) => {
            let (database, note) = replace_damaged(configuration, &seal, &error.to_string())?;
            notes.push(note);
            let opened = database.load()?;
            (database, opened)
        }
        opened => opened?,
    };
    let (database, state) = opened;
    let sealed_shut = state.sealed_shut.len();
    if sealed_shut > 0 {
        notes.push(format!(
            "{sealed_shut} credentials and sessions in the store {} cannot be opened: the key in {KEY_FILE} beside it is \
             another one, or they were changed; put the right key file back and start again, or give the devices new \
             credentials",
            configuration.path.display()
        ));
    }
    Ok((database, state, notes))
}

/// Sets the damaged file aside and opens a new one with what could be rescued. The text is a note for the log.
pub(super) fn replace_damaged(
    configuration: &StoreConfiguration,
    seal: &Seal,
    reason: &str,
) -> Result<(Database, String), StoreError> {
    let aside = set_aside(&configuration.path)?;
    let (mut database, _) = open(configuration, seal)?;
    let rescued = rescue(&aside, &mut database);
    let note = format!(
        "the store {} is damaged ({reason}); it was set aside as {} and a new one was begun with {rescued} rows that \
         could still be read",
        configuration.path.display(),
        aside.display(),
    );
    Ok((database, note))
}

/// Whether SQLite says that the file itself is bad.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn open(configuration: &StoreConfiguration, seal: &Seal) -> Result<(Database, StoredState), StoreError> {
    let path = &configuration.path;
    create_private(path)?;
    let connection = connect(path)?;
    check_owner(&connection, path)?;
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() <= QUICK_CHECK_MAX_BYTES) {
        quick_check(&connection)?;
    }
    migrate(&connection, path, MIGRATIONS)?;
    if let Some(max_file_bytes) = configuration.max_file_bytes {
        let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = i64::try_from(max_file_bytes).unwrap_or(i64::MAX) / page_bytes.max(1);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    let mut database = Database::new(connection, seal.clone())?;
    for name in &configuration.spool_names {
        database.spool(name)?;
    }
    let loaded = database.load()?;
    Ok((database, loaded))
}

/// The file holds keys of devices and payloads: nobody else may read it. SQLite gives its side files the same mode.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let failed = |action| move |cause| StoreError::File { action, path: path.to_owned(), cause };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed("restrict the permissions of"))
        }
        Err(error) => Err(failed("create")(error)),
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn check_owner(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if found != APPLICATION_ID && tables > 0 {
        return Err(StoreError::Foreign { path: path.to_owned(), found });
    }
    Ok(())
}

fn quick_check(connection: &Connection) -> Result<(), StoreError> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        return Ok(());
    }
    let damage = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(StoreError::Sqlite(rusqlite::Error::SqliteFailure(damage, Some(verdict))))
}

/// Applies the steps that are missing, each in its own transaction.
fn migrate(connection: &Connection, path: &Path, steps: &[&str]) -> Result<(), StoreError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let supported = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    if found > supported {
        return Err(StoreError::NewerSchema { path: path.to_owned(), found, supported });
    }
    if found > 0 && found < supported {
        keep_copy(connection, path, found)?;
    }
    for (version, step) in (1_i64..).zip(steps) {
        if version > found {
            let transaction = connection.unchecked_transaction()?;
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()?;
        }
    }
    Ok(())
}

/// Keeps the file as it was before a migration, replacing an older copy of the same version.
fn keep_copy(connection: &Connection, path: &Path, version: i64) -> Result<(), StoreError> {
    let copy = beside(path, &format!(".v{version}"));
    match fs::remove_file(&copy) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            return Err(StoreError::File { action: "replace", path: copy, cause });
        }
        Ok(()) | Err(_) => {}
    }
    // SQLite takes an existing empty file as the target, and this one nobody else can read.
    create_private(&copy)?;
    connection.execute("VACUUM INTO ?1", [copy.to_string_lossy()])?;
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Renames the file with its write-ahead log, so that both can be looked at later.
fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let aside = (1..=MAX_SET_ASIDE)
        .map(|number| beside(path, &format!(".damaged-{number}")))
        .find(|candidate| !candidate.exists())
        .unwrap_or_else(|| beside(path, ".damaged-1"));
    fs::rename(path, &aside).map_err(|cause| StoreError::File { action: "set aside", path: path.to_owned(), cause })?;
    for suffix in ["-wal", "-shm"] {
        let side_file = beside(path, suffix);
        match fs::rename(&side_file, beside(&aside, suffix)) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                return Err(StoreError::File { action: "set aside", path: side_file, cause });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(aside)
}

/// Copies what can still be read; answers how many rows that were.
fn rescue(aside: &Path, database: &mut Database) -> usize {
    let Ok(old) = Connection::open_with_flags(aside, OpenFlags::SQLITE_OPEN_READ_ONLY) else { return 0 };
    let version = old.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    // The tables of all versions so far have the same columns.
    let newest = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if !version.is_ok_and(|version| (1..=newest).contains(&version)) {
        return 0;
    }
    let mut rescued = 0;
    for table in ["devices", "commands", "state", "retained", "secrets"] {
        rescued += rescue_table(&old, table, &database.connection, table);
    }
    for (number, name, last) in spools(&old) {
        let Ok(new_number) = database.spool(&name) else { continue };
        rescued += rescue_table(&old, &format!("spool_{number}"), &database.connection, &format!("spool_{new_number}"));
        let _ = database.raise_last(&name, u64::try_from(last).unwrap_or(0));
    }
    rescued
}

fn spools(old: &Connection) -> Vec<(i64, String, i64)> {
    let Ok(mut statement) = old.prepare("SELECT number, name, last FROM spools") else { return Vec::new() };
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.map(|rows| rows.map_while(Result::ok).collect()).unwrap_or_default()
}

fn rescue_table(old: &Connection, from: &str, new: &Connection, to: &str) -> usize {
    let copy = || -> Result<usize, rusqlite::Error> {
        let mut select = old.prepare(&format!("SELECT * FROM {from}"))?;
        let columns = select.column_count();
        let marks = vec!["?"; columns].join(", ");
        let transaction = new.unchecked_transaction()?;
        let mut copied = 0;
        {
            let mut insert = transaction.prepare(&format!("INSERT OR IGNORE INTO {to} VALUES ({marks})"))?;
            let mut rows = select.query([])?;
            // The first damaged page ends the table; what came before it is kept.
            while let Ok(Some(row)) = rows.next() {
                let values = (0..columns)
                    .map(|column| row.get::<_, rusqlite::types::Value>(column))
                    .collect::<Result<Vec<_>, _>>();
                let Ok(values) = values else { break };
                copied += insert.execute(params_from_iter(values))?;
            }
        }
        transaction.commit()?;
        Ok(copied)
    };
    copy().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migration_keeps_a_private_copy_of_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        create_private(&path).unwrap();
        let connection = connect(&path).unwrap();
        migrate(&connection, &path, MIGRATIONS).unwrap();
        connection.execute("INSERT INTO state VALUES ('k', x'01')", []).unwrap();
        let mut steps = MIGRATIONS.to_vec();
        steps.push("ALTER TABLE state ADD COLUMN added INTEGER");
        migrate(&connection, &path, &steps).unwrap();

        assert_eq!(connection.query_row("SELECT count(added) FROM state", [], |row| row.get::<_, i64>(0)).unwrap(), 0);
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, i64::try_from(steps.len()).unwrap());
        let copy = beside(&path, &format!(".v{}", MIGRATIONS.len()));
        assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
        let old = connect(&copy).unwrap();
        assert_eq!(old.query_row("SELECT key FROM state", [], |row| row.get::<_, String>(0)).unwrap(), "k");
        assert!(old.prepare("SELECT added FROM state").is_err());
    }
}
