use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::*;
use crate::gateway::store::{RetainedRow, SecretKind, SpoolExtent, SpoolRow, SpoolSegment, StoreSequence, StoreWrite};
use crate::gateway::vocabulary::Input;
use crate::model::credential::SecretBytes;
use crate::model::endpoint::Endpoint;
use crate::model::message::{Message, QualityOfService};
use crate::model::time::WallTime;

const PATIENCE: Duration = Duration::from_secs(20);

/// A store with the core's end of its channel.
struct Host {
    store: StoreHandle,
    inputs: mpsc::Receiver<Vec<Input>>,
    waiting: Vec<Input>,
    runtime: tokio::runtime::Runtime,
    sequence: u64,
}

impl Host {
    fn open(configuration: StoreConfiguration) -> (Self, StoredState, Vec<String>) {
        Self::open_with_room(configuration, 64)
    }

    fn open_with_room(configuration: StoreConfiguration, room: usize) -> (Self, StoredState, Vec<String>) {
        let (sender, inputs) = mpsc::channel(room);
        let (store, state, notes) = open(configuration, sender).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        (Self { store, inputs, waiting: Vec::new(), runtime, sequence: 0 }, state, notes)
    }

    fn submit(&mut self, writes: Vec<StoreWrite>) -> StoreSequence {
        self.sequence += 1;
        let sequence = StoreSequence(self.sequence);
        self.store.submit(StoreBatch { sequence, writes }).unwrap();
        sequence
    }

    fn next(&mut self) -> Input {
        while self.waiting.is_empty() {
            let wait = async { tokio::time::timeout(PATIENCE, self.inputs.recv()).await };
            self.waiting = self.runtime.block_on(wait).expect("the store is silent").expect("the store is gone");
        }
        self.waiting.remove(0)
    }

    fn wait_until_durable(&mut self, sequence: StoreSequence) {
        loop {
            if let Input::Durable { up_to } = self.next()
                && up_to >= sequence
            {
                return;
            }
        }
    }

    fn write(&mut self, writes: Vec<StoreWrite>) {
        let sequence = self.submit(writes);
        self.wait_until_durable(sequence);
    }

    fn spool(&mut self, after: u64, max_rows: usize) -> Vec<SpoolRow> {
        self.store.read_spool(SinkIndex(3), "local".into(), after, max_rows).unwrap();
        loop {
            if let Input::SpoolRows { sink, rows } = self.next() {
                assert_eq!(sink, SinkIndex(3));
                return rows;
            }
        }
    }

    fn retained(&mut self, after: Option<&str>, max_rows: usize) -> Vec<String> {
        self.store.read_retained(SinkIndex(0), "local".into(), after.map(str::to_owned), max_rows).unwrap();
        loop {
            if let Input::RetainedRows { rows, .. } = self.next() {
                return rows
                    .iter()
                    .map(|row| format!("{}={}", row.message.topic, String::from_utf8_lossy(&row.message.payload)))
                    .collect();
            }
        }
    }

    fn next_health(&mut self) -> Option<String> {
        loop {
            if let Input::StoreHealth { failure } = self.next() {
                return failure;
            }
        }
    }
}

fn at_once(directory: &Path) -> StoreConfiguration {
    StoreConfiguration {
        commit_interval: Duration::ZERO,
        spool_names: vec!["local".into()],
        ..StoreConfiguration::new(directory.join("state.db"))
    }
}

fn message(topic: &str, payload: &[u8]) -> Message {
    Message {
        topic: topic.to_owned(),
        payload: Bytes::copy_from_slice(payload),
        qos: QualityOfService::AtLeastOnce,
        retain: false,
        correlation: None,
    }
}

fn row(id: u64, payload: &[u8]) -> SpoolRow {
    SpoolRow {
        id,
        queued_at: WallTime::from_millis(1_700_000_000_000),
        estimated: false,
        endpoint: Some(endpoint("weather-1")),
        message: message("lwm2m/weather-1/up", payload),
    }
}

fn segment(last: u64, rows: u64, bytes: u64) -> SpoolSegment {
    SpoolSegment { last, rows, bytes, newest: WallTime::from_millis(1_700_000_000_000) }
}

fn put(id: u64) -> StoreWrite {
    StoreWrite::PutSpool { sink: "local".into(), row: row(id, b"{}") }
}

fn delete(up_to: u64) -> StoreWrite {
    StoreWrite::DeleteSpool { sink: "local".into(), up_to }
}

fn put_retained(topic: &str, payload: &[u8]) -> StoreWrite {
    let message = Message { retain: true, ..message(topic, payload) };
    StoreWrite::PutRetained { sink: "local".into(), row: RetainedRow { endpoint: None, message } }
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint::new(name).unwrap()
}

fn ids(rows: &[SpoolRow]) -> Vec<u64> {
    rows.iter().map(|row| row.id).collect()
}

#[test]
fn every_write_survives_closing_and_opening() {
    let directory = tempfile::tempdir().unwrap();
    let (mut host, state, notes) = Host::open(at_once(directory.path()));
    assert_eq!((state.devices.len(), state.spools["local"].clone()), (0, SpoolExtent::default()));
    assert_eq!(notes, Vec::<String>::new());
    let peculiar = SpoolRow {
        id: 2,
        queued_at: WallTime::from_millis(-5),
        estimated: true,
        endpoint: None,
        message: Message {
            topic: "t/ü".to_owned(),
            payload: Bytes::from_static(&[0, 255]),
            qos: QualityOfService::AtMostOnce,
            retain: true,
            correlation: Some(Bytes::from_static(b"c")),
        },
    };
    host.write(vec![
        StoreWrite::PutDevice { endpoint: endpoint("a"), record: b"{\"a\":1}".to_vec() },
        StoreWrite::PutDevice { endpoint: endpoint("b"), record: b"{}".to_vec() },
        StoreWrite::PutCommand { endpoint: endpoint("a"), id: "1".to_owned(), record: b"c1".to_vec() },
        StoreWrite::PutCommand { endpoint: endpoint("a"), id: "2".to_owned(), record: b"c2".to_vec() },
        StoreWrite::PutState { key: "k".to_owned(), value: vec![7] },
        put(1),
        StoreWrite::PutSpool { sink: "local".into(), row: peculiar.clone() },
        StoreWrite::PutSpool { sink: "later".into(), row: row(9, b"x") },
        put_retained("t/1", b"one"),
        put_retained("t/2", b"two"),
    ]);
    host.write(vec![
        StoreWrite::DeleteDevice { endpoint: endpoint("b") },
        StoreWrite::DeleteCommand { endpoint: endpoint("a"), id: "1".to_owned() },
        StoreWrite::DeleteRetained { sink: "local".into(), topic: "t/1".to_owned() },
    ]);
    host.store.close().unwrap();

    let (mut host, state, _) = Host::open(at_once(directory.path()));
    assert_eq!(state.devices, [(endpoint("a"), b"{\"a\":1}".to_vec())]);
    assert_eq!(state.commands, [(endpoint("a"), "2".to_owned(), b"c2".to_vec())]);
    assert_eq!(state.state["k"], [7]);
    let bytes = row(1, b"{}").charged_bytes() + peculiar.charged_bytes();
    assert_eq!(state.spools["local"], SpoolExtent { last: 2, segments: vec![segment(2, 2, bytes)] });
    assert_eq!(
        state.spools["later"],
        SpoolExtent { last: 9, segments: vec![segment(9, 1, row(9, b"x").charged_bytes())] }
    );
    assert_eq!(host.spool(0, 10), [row(1, b"{}"), peculiar]);
    assert_eq!(host.retained(None, 10), ["t/2=two"]);
    let mode = fs::metadata(directory.path().join("state.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn highest_id_survives_the_removal_of_all_rows() {
    let directory = tempfile::tempdir().unwrap();
    let (mut host, ..) = Host::open(at_once(directory.path()));
    host.write(vec![put(41), put(42)]);
    host.write(vec![delete(42)]);
    // Put and removed within one commit: the row is never written, its id stays used.
    host.write(vec![put(43), delete(43)]);
    host.store.close().unwrap();
    let (_host, state, _) = Host::open(at_once(directory.path()));
    assert_eq!(state.spools["local"], SpoolExtent { last: 43, segments: Vec::new() });
}

#[test]
fn writes_of_one_interval_become_one_commit_and_one_row_for_each_key() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = StoreConfiguration {
        commit_interval: Duration::from_secs(3_600),
        commit_rows: 50,
        ..at_once(directory.path())
    };
    let (mut host, ..) = Host::open(configuration);
    let mut last = StoreSequence(0);
    for number in 0..50 {
        last = host.submit(vec![put_retained("t", number.to_string().as_bytes())]);
    }
    host.wait_until_durable(last);
    let counters = host.store.counters();
    assert_eq!(counters.commits.load(Ordering::Relaxed), 1);
    assert_eq!(counters.writes.load(Ordering::Relaxed), 50);
    assert_eq!(counters.rows.load(Ordering::Relaxed), 1);
    assert_eq!(host.retained(None, 10), ["t=49"]);
}

#[test]
fn first_waiting_write_is_committed_after_the_interval() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = StoreConfiguration { commit_interval: Duration::from_millis(30), ..at_once(directory.path()) };
    let (mut host, ..) = Host::open(configuration);
    host.write(vec![put(1)]);
    assert_eq!(host.store.counters().commits.load(Ordering::Relaxed), 1);
}

#[test]
fn removals_alone_wait_and_go_with_the_next_row() {
    let directory = tempfile::tempdir().unwrap();
    let (mut host, ..) = Host::open(at_once(directory.path()));
    host.write(vec![put(1), put(2)]);
    host.submit(vec![delete(1)]);
    host.submit(vec![delete(2)]);
    // The read comes after the removals and sees them, though nothing was committed for them.
    assert_eq!(ids(&host.spool(0, 10)), Vec::<u64>::new());
    assert_eq!(host.store.counters().commits.load(Ordering::Relaxed), 1);
    host.write(vec![put(3)]);
    assert_eq!(host.store.counters().commits.load(Ordering::Relaxed), 2);
    assert_eq!(ids(&host.spool(0, 10)), [3]);
    // Without a further row they are made durable by themselves.
    host.write(vec![delete(3)]);
    assert_eq!(host.store.counters().commits.load(Ordering::Relaxed), 3);
}

#[test]
fn reads_see_submitted_rows_before_their_commit_in_order_and_in_pages() {
    let directory = tempfile::tempdir().unwrap();
    let mut configuration = at_once(directory.path());
    let (mut host, ..) = Host::open(configuration.clone());
    host.write(vec![
        put(2),
        put(4),
        put(6),
        put_retained("b", b"old"),
        put_retained("d", b"d"),
        put_retained("e", b"e"),
    ]);
    host.store.close().unwrap();

    configuration.commit_interval = Duration::from_secs(3_600);
    configuration.commit_rows = 1_000;
    let (mut host, ..) = Host::open(configuration);
    let changed = row(4, b"changed");
    host.submit(vec![
        delete(2),
        put(3),
        StoreWrite::PutSpool { sink: "local".into(), row: changed.clone() },
        put(7),
        put_retained("a", b"a"),
        put_retained("b", b"new"),
        put_retained("c", b"c"),
        StoreWrite::DeleteRetained { sink: "local".into(), topic: "d".to_owned() },
        put_retained("f", b"f"),
    ]);
    let rows = host.spool(0, 3);
    assert_eq!(ids(&rows), [3, 4, 6]);
    assert_eq!(rows[1], changed);
    assert_eq!(ids(&host.spool(4, 10)), [6, 7]);
    assert_eq!(ids(&host.spool(3, 1)), [4]);
    assert_eq!(host.retained(None, 3), ["a=a", "b=new", "c=c"]);
    assert_eq!(host.retained(Some("c"), 3), ["e=e", "f=f"]);
    assert_eq!(host.retained(Some("f"), 3), Vec::<String>::new());
    assert_eq!(host.store.counters().commits.load(Ordering::Relaxed), 0);
}

#[test]
fn queue_that_is_full_gives_batches_back_without_blocking() {
    let directory = tempfile::tempdir().unwrap();
    let configuration =
        StoreConfiguration { max_queued_batches: 4, max_file_bytes: Some(4096 * 24), ..at_once(directory.path()) };
    let (mut host, ..) = Host::open(configuration);
    let big = vec![0; 1 << 20];
    let batch = |sequence| StoreBatch {
        sequence: StoreSequence(sequence),
        writes: vec![StoreWrite::PutSpool { sink: "local".into(), row: row(sequence, &big) }],
    };
    // The file cannot hold even one of these, so they fill the memory of the writer and then the queue.
    let mut taken = 0;
    let refused = loop {
        match host.store.submit(batch(taken + 1)) {
            Ok(()) => taken += 1,
            Err(refused) => {
                let waits_in_vain = host.store.shared.queued_batches.load(Ordering::Acquire) == 4
                    && taken as usize * big.len() > MAX_PENDING_BYTES;
                if waits_in_vain {
                    break refused;
                }
                std::thread::yield_now();
            }
        }
        assert!(taken < 100, "nothing was refused");
    };
    assert_eq!(refused.sequence, StoreSequence(taken + 1));
    assert!(host.next_health().is_some());
    assert!(matches!(host.store.close(), Err(StoreError::Unwritten { .. })));
}

#[test]
fn full_disk_is_told_once_and_removals_make_room() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = StoreConfiguration { max_file_bytes: Some(4096 * 60), ..at_once(directory.path()) };
    let (mut host, ..) = Host::open(configuration);
    let payload = vec![b'x'; 1_000];
    let mut id = 0;
    let mut next_row = || {
        id += 1;
        StoreWrite::PutSpool { sink: "local".into(), row: row(id, &payload) }
    };
    let mut submitted = StoreSequence(0);
    for _ in 0..400 {
        submitted = host.submit(vec![next_row()]);
    }
    let reason = host.next_health().expect("a failure");
    assert!(reason.contains("disk is full"), "{reason}");
    // Rows that could not be written yet can be read and delivered all the same.
    let readable = ids(&host.spool(0, 1_000));
    assert_eq!(readable, (1..=400).collect::<Vec<u64>>());
    host.submit(vec![delete(380)]);
    assert_eq!(host.next_health(), None);
    host.wait_until_durable(submitted);
    assert!(host.store.counters().failures.load(Ordering::Relaxed) >= 1);
    host.store.close().unwrap();
    let (_host, state, _) = Host::open(at_once(directory.path()));
    let extent = &state.spools["local"];
    assert_eq!((extent.last, extent.segments.iter().map(|segment| segment.rows).sum::<u64>()), (400, 20));
}

#[test]
fn core_that_does_not_listen_delays_nothing_and_hears_the_newest_watermark() {
    let directory = tempfile::tempdir().unwrap();
    let (mut host, ..) = Host::open_with_room(at_once(directory.path()), 1);
    let mut last = StoreSequence(0);
    for id in 1..=100 {
        last = host.submit(vec![put(id)]);
        while host.store.counters().rows.load(Ordering::Relaxed) < id {
            std::thread::yield_now();
        }
    }
    host.wait_until_durable(last);
    assert_eq!(host.spool(0, 1_000).len(), 100);
}

#[test]
fn file_that_is_no_database_is_set_aside_and_the_store_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    fs::write(&path, vec![b'?'; 8_192]).unwrap();
    let (mut host, state, notes) = Host::open(at_once(directory.path()));
    assert_eq!(state.devices.len(), 0);
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("state.db.damaged-1"), "{notes:?}");
    assert_eq!(fs::read(directory.path().join("state.db.damaged-1")).unwrap(), vec![b'?'; 8_192]);
    host.write(vec![put(1)]);
}

/// Overwrites every page of the spool's table but its first with nonsense.
fn damage_spool_pages(path: &Path) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap_or(());
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    drop(connection);
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    // The small tables are created first and lie at the front.
    for page in 40..u64::try_from(pages).unwrap() {
        file.seek(SeekFrom::Start(page * 4_096)).unwrap();
        file.write_all(&[0xA5; 4_096]).unwrap();
    }
}

fn fill_for_damage(directory: &Path) {
    let (mut host, ..) = Host::open(at_once(directory));
    let mut writes =
        vec![StoreWrite::PutDevice { endpoint: endpoint("a"), record: b"record".to_vec() }, put_retained("t", b"kept")];
    writes.extend((1..=1_000).map(|id| StoreWrite::PutSpool { sink: "local".into(), row: row(id, &[b'x'; 500]) }));
    host.write(writes);
    host.store.close().unwrap();
}

#[test]
fn damage_found_at_start_loses_only_what_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    fill_for_damage(directory.path());
    damage_spool_pages(&directory.path().join("state.db"));
    let (mut host, state, notes) = Host::open(at_once(directory.path()));
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(state.devices, [(endpoint("a"), b"record".to_vec())]);
    assert_eq!(host.retained(None, 10), ["t=kept"]);
    let rows = host.spool(0, 2_000);
    assert!(rows.len() < 1_000 && rows.iter().all(|row| row.message.payload.len() == 500), "{}", rows.len());
}

#[test]
fn damage_found_while_running_sets_the_file_aside_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    fill_for_damage(directory.path());
    let path = directory.path().join("state.db");
    let configuration = at_once(directory.path());
    let (mut host, _, notes) = Host::open(configuration);
    assert_eq!(notes, Vec::<String>::new());
    damage_spool_pages(&path);
    // Another connection changed the file, so that the writer's page cache is stale and pages are read again.
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let rows = host.spool(0, 2_000);
    assert!(rows.len() < 1_000);
    assert_eq!(host.store.counters().set_aside.load(Ordering::Relaxed), 1);
    host.write(vec![put(2_000)]);
    host.store.close().unwrap();
    let (_host, state, notes) = Host::open(at_once(directory.path()));
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!((state.devices.len(), state.spools["local"].last), (1, 2_000));
}

fn put_secret(key: &[u8], value: &[u8]) -> StoreWrite {
    StoreWrite::PutSecret { kind: SecretKind::Credential, key: key.to_vec(), value: SecretBytes::new(value) }
}

fn secrets(state: &StoredState) -> Vec<(Vec<u8>, Vec<u8>)> {
    state.secrets.iter().map(|row| (row.key.clone(), row.value.expose().to_vec())).collect()
}

/// A store that was closed with these secrets in it.
fn sealed_store(keys: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (mut host, ..) = Host::open(at_once(directory.path()));
    host.write(keys.iter().map(|key| put_secret(key.as_bytes(), b"the secret value")).collect());
    host.store.close().unwrap();
    directory
}

fn assert_nowhere(directory: &Path, text: &[u8]) {
    for file in fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let shown = fs::read(&path).unwrap().windows(text.len()).any(|window| window == text);
        assert!(!shown, "{}", path.display());
    }
}

#[test]
fn secrets_come_back_by_kind_and_key_and_are_nowhere_in_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let (mut host, ..) = Host::open(at_once(directory.path()));
    let session = |number: u8| (SecretKind::Session, vec![number]);
    host.write(vec![
        put_secret(b"b", b"the secret value"),
        put_secret(b"a", b"the secret before"),
        StoreWrite::PutSecret { kind: session(1).0, key: session(1).1, value: SecretBytes::new(b"the secret session") },
    ]);
    host.write(vec![
        put_secret(b"a", b"the secret after"),
        put_secret(b"c", b"the secret of c"),
        StoreWrite::DeleteSecret { kind: session(1).0, key: session(1).1 },
        StoreWrite::PutSecret { kind: session(2).0, key: session(2).1, value: SecretBytes::new(b"the secret session") },
    ]);
    host.write(vec![StoreWrite::DeleteSecret { kind: SecretKind::Credential, key: b"c".to_vec() }]);
    assert_nowhere(directory.path(), b"the secret");
    host.store.close().unwrap();
    assert_nowhere(directory.path(), b"the secret");
    let (_host, state, notes) = Host::open(at_once(directory.path()));
    assert_eq!(notes, Vec::<String>::new());
    let rows: Vec<_> = state.secrets.iter().map(|row| (row.kind, row.key.clone(), row.value.expose())).collect();
    let expected: [(_, _, &[u8]); 3] = [
        (SecretKind::Credential, b"a".to_vec(), b"the secret after"),
        (SecretKind::Credential, b"b".to_vec(), b"the secret value"),
        (SecretKind::Session, vec![2], b"the secret session"),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn secrets_under_another_key_file_stay_and_are_told() {
    let directory = sealed_store(&["a", "b"]);
    let key_file = directory.path().join(KEY_FILE);
    let key = fs::read(&key_file).unwrap();
    fs::write(&key_file, [7; 32]).unwrap();
    let (mut host, state, notes) = Host::open(at_once(directory.path()));
    assert_eq!(secrets(&state), []);
    let shut = [(SecretKind::Credential, b"a".to_vec()), (SecretKind::Credential, b"b".to_vec())];
    assert_eq!(state.sealed_shut, shut);
    assert!(notes.len() == 1 && notes[0].starts_with("2 credentials and sessions"), "{notes:?}");
    host.write(vec![put(1), put_secret(b"c", b"new")]);
    host.store.close().unwrap();

    fs::write(&key_file, &key).unwrap();
    let (_host, state, notes) = Host::open(at_once(directory.path()));
    let value = b"the secret value".to_vec();
    assert_eq!(secrets(&state), [(b"a".to_vec(), value.clone()), (b"b".to_vec(), value)]);
    assert!(notes.len() == 1 && notes[0].starts_with("1 credentials and sessions"), "{notes:?}");
}

#[test]
fn a_secret_that_was_changed_or_moved_is_not_opened() {
    let directory = sealed_store(&["a", "b", "c"]);
    let connection = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
    let sealed: Vec<u8> =
        connection.query_row("SELECT sealed FROM secrets WHERE key = x'61'", [], |row| row.get(0)).unwrap();
    connection.execute("UPDATE secrets SET sealed = ?1 WHERE key = x'62'", [&sealed]).unwrap();
    let mut changed = sealed.clone();
    *changed.last_mut().unwrap() ^= 1;
    connection.execute("UPDATE secrets SET sealed = ?1 WHERE key = x'63'", [&changed]).unwrap();
    drop(connection);
    let (_host, state, notes) = Host::open(at_once(directory.path()));
    assert_eq!(secrets(&state), [(b"a".to_vec(), b"the secret value".to_vec())]);
    assert!(notes.len() == 1 && notes[0].starts_with("2 credentials and sessions"), "{notes:?}");
}

#[test]
fn secrets_are_carried_over_from_a_damaged_file() {
    let directory = tempfile::tempdir().unwrap();
    fill_for_damage(directory.path());
    let (mut host, ..) = Host::open(at_once(directory.path()));
    host.write(vec![put_secret(b"a", b"the secret value")]);
    host.store.close().unwrap();
    damage_spool_pages(&directory.path().join("state.db"));
    let (_host, state, notes) = Host::open(at_once(directory.path()));
    assert!(notes.len() == 1 && notes[0].contains("damaged"), "{notes:?}");
    assert_eq!(secrets(&state), [(b"a".to_vec(), b"the secret value".to_vec())]);
}

#[test]
fn torn_tail_of_the_log_costs_only_the_commit_that_was_torn() {
    let directory = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (mut host, ..) = Host::open(at_once(directory.path()));
    host.write(vec![put(1)]);
    host.write(vec![put(2)]);
    let before = fs::metadata(directory.path().join("state.db-wal")).unwrap().len();
    host.write(vec![put(3)]);
    // A copy of the running files is what a power cut leaves behind.
    for name in ["state.db", "state.db-wal"] {
        fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
    }
    let log = fs::OpenOptions::new().write(true).open(copy.path().join("state.db-wal")).unwrap();
    let after = log.metadata().unwrap().len();
    assert!(after > before);
    log.set_len(after - 100).unwrap();
    drop(log);
    let (mut host, state, notes) = Host::open(at_once(copy.path()));
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(state.spools["local"].last, 2);
    assert_eq!(ids(&host.spool(0, 10)), [1, 2]);
}

#[test]
fn newer_schema_and_foreign_databases_are_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let (host, ..) = Host::open(at_once(directory.path()));
    host.store.close().unwrap();
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let refusal = open(at_once(directory.path()), mpsc::channel(1).0).err().unwrap();
    assert!(matches!(refusal, StoreError::NewerSchema { found: 99, supported: 2, .. }), "{refusal}");

    let foreign = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(foreign.path().join("state.db")).unwrap();
    connection.execute_batch("CREATE TABLE mails (id)").unwrap();
    drop(connection);
    let refusal = open(at_once(foreign.path()), mpsc::channel(1).0).err().unwrap();
    assert!(matches!(refusal, StoreError::Foreign { found: 0, .. }), "{refusal}");

    let missing = open(at_once(&directory.path().join("nowhere")), mpsc::channel(1).0).err().unwrap();
    assert!(missing.to_string().contains("cannot create"), "{missing}");
}
