//! The statements: a transaction from what waits, reads that see what waits, the state at start.

use std::collections::HashMap;
use std::ops::Bound;

use bytes::Bytes;
use rusqlite::{Connection, Row, Transaction, params};

use super::pending::{Pending, PendingSpool};
use super::seal::Seal;
use crate::gateway::store::{
    ROWS_PER_SEGMENT, RetainedRow, SecretKind, SecretRow, SinkName, SpoolExtent, SpoolRow, SpoolSegment, StoredState,
};
use crate::model::endpoint::Endpoint;
use crate::model::message::{Message, QualityOfService};
use crate::model::time::WallTime;

/// Fixed part of [`SpoolRow::charged_bytes`], found by asking so that both always agree.
fn charged_row_cost() -> u64 {
    let message = Message {
        topic: String::new(),
        payload: Bytes::new(),
        qos: QualityOfService::AtMostOnce,
        retain: false,
        correlation: None,
    };
    SpoolRow { id: 0, queued_at: WallTime::default(), estimated: false, endpoint: None, message }.charged_bytes()
}

/// One spool's table.
#[derive(Clone, Debug)]
struct Spool {
    number: i64,
    /// Highest id ever used.
    last: u64,
}

/// The open file.
pub(super) struct Database {
    pub(super) connection: Connection,
    spools: HashMap<String, Spool>,
    seal: Seal,
}

/// SQLite's integers are signed; ids beyond them cannot occur, since they rise by one from 1.
fn stored_id(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

fn read_id(id: i64) -> u64 {
    u64::try_from(id).unwrap_or(0)
}

fn stored_qos(qos: QualityOfService) -> i64 {
    match qos {
        QualityOfService::AtMostOnce => 0,
        QualityOfService::AtLeastOnce => 1,
    }
}

fn read_qos(qos: i64) -> QualityOfService {
    if qos == 0 { QualityOfService::AtMostOnce } else { QualityOfService::AtLeastOnce }
}

/// A name that is no endpoint any more (a rule that became stricter) costs the link to the device, not the message.
fn read_endpoint(name: Option<String>) -> Option<Endpoint> {
    name.and_then(|name| Endpoint::new(&name).ok())
}

impl Database {
    pub(super) fn new(connection: Connection, seal: Seal) -> Result<Self, rusqlite::Error> {
        let spools = {
            let mut statement = connection.prepare("SELECT name, number, last FROM spools")?;
            let rows = statement
                .query_map([], |row| Ok((row.get(0)?, Spool { number: row.get(1)?, last: read_id(row.get(2)?) })))?;
            rows.collect::<Result<HashMap<String, Spool>, _>>()?
        };
        let mut database = Self { connection, spools, seal };
        for spool in database.spools.values_mut() {
            let sql = format!("SELECT max(id) FROM spool_{}", spool.number);
            let highest: Option<i64> = database.connection.query_row(&sql, [], |row| row.get(0))?;
            spool.last = spool.last.max(highest.map_or(0, read_id));
        }
        Ok(database)
    }

    /// What its secrets are sealed by.
    pub(super) const fn seal(&self) -> &Seal {
        &self.seal
    }

    /// The number of a spool's table, which is created at the first use of its name.
    pub(super) fn spool(&mut self, name: &str) -> Result<i64, rusqlite::Error> {
        if let Some(spool) = self.spools.get(name) {
            return Ok(spool.number);
        }
        let transaction = self.connection.unchecked_transaction()?;
        let number = transaction.query_row(
            "INSERT INTO spools (name, last) VALUES (?1, 0) RETURNING number",
            [name],
            |row| row.get::<_, i64>(0),
        )?;
        transaction.execute_batch(&format!(
            "CREATE TABLE spool_{number} (
                id INTEGER PRIMARY KEY, queued_at INTEGER NOT NULL, estimated INTEGER NOT NULL, endpoint TEXT,
                topic TEXT NOT NULL, payload BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL,
                correlation BLOB
            )"
        ))?;
        transaction.commit()?;
        self.spools.insert(name.to_owned(), Spool { number, last: 0 });
        Ok(number)
    }

    /// Notes that ids up to `last` were used.
    pub(super) fn raise_last(&mut self, name: &str, last: u64) -> Result<(), rusqlite::Error> {
        self.connection
            .execute("UPDATE spools SET last = max(last, ?2) WHERE name = ?1", params![name, stored_id(last)])?;
        if let Some(spool) = self.spools.get_mut(name) {
            spool.last = spool.last.max(last);
        }
        Ok(())
    }

    /// Makes everything that waits durable in one transaction; answers how many rows were written.
    pub(super) fn commit(&mut self, pending: &Pending) -> Result<usize, rusqlite::Error> {
        let mut numbers = HashMap::with_capacity(pending.spools.len());
        for name in pending.spools.keys() {
            numbers.insert(name, self.spool(name)?);
        }
        let transaction = self.connection.transaction()?;
        for (name, number) in &numbers {
            let Some(waiting) = pending.spools.get(*name) else { continue };
            remove(&transaction, *number, waiting)?;
            let last = self.spools.get(name.as_ref()).map_or(0, |spool| spool.last).max(waiting.last);
            keep_last_of_emptied(&transaction, *number, waiting, last)?;
        }
        let mut rows = 0;
        for (name, number) in &numbers {
            let Some(waiting) = pending.spools.get(*name) else { continue };
            rows += insert_spool(&transaction, *number, waiting)?;
        }
        rows += write_records(&transaction, pending)?;
        rows += write_secrets(&transaction, pending, &self.seal)?;
        rows += write_retained(&transaction, pending)?;
        transaction.commit()?;
        for (name, waiting) in &pending.spools {
            if let Some(spool) = self.spools.get_mut(name.as_ref()) {
                spool.last = spool.last.max(waiting.last);
            }
        }
        Ok(rows)
    }

    /// Only removes condemned rows, to make room; answers whether there were any.
    pub(super) fn commit_removals(&mut self, pending: &Pending) -> Result<bool, rusqlite::Error> {
        let transaction = self.connection.transaction()?;
        let mut removed = 0;
        for (name, waiting) in &pending.spools {
            let Some(spool) = self.spools.get(name.as_ref()) else { continue };
            removed += remove(&transaction, spool.number, waiting)?;
            keep_last_of_emptied(&transaction, spool.number, waiting, spool.last.max(waiting.last))?;
        }
        transaction.commit()?;
        Ok(removed > 0)
    }

    /// Moves the write-ahead log into the file, so that its space can be used again.
    pub(super) fn checkpoint(&self, truncate: bool) -> Result<(), rusqlite::Error> {
        let mode = if truncate { "TRUNCATE" } else { "RESTART" };
        self.connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
    }

    /// Rows of a spool above an id, those that wait among them.
    pub(super) fn read_spool(
        &self,
        pending: &Pending,
        name: &SinkName,
        after: u64,
        max_rows: usize,
    ) -> Result<Vec<SpoolRow>, rusqlite::Error> {
        let mut found = Vec::new();
        let mut waiting = pending.spool_rows_after(name, after).peekable();
        if let Some(spool) = self.spools.get(name.as_ref()) {
            let mut statement = self.connection.prepare_cached(&format!(
                "SELECT id, queued_at, estimated, endpoint, topic, payload, qos, retain, correlation \
                 FROM spool_{} WHERE id > ?1 ORDER BY id",
                spool.number
            ))?;
            let first = after.max(pending.condemned_up_to(name));
            let mut rows = statement.query([stored_id(first)])?;
            while found.len() < max_rows {
                let Some(row) = rows.next()? else { break };
                let stored = spool_row(row)?;
                while let Some(earlier) = waiting.next_if(|row| row.id < stored.id) {
                    found.push(earlier.clone());
                }
                found.push(waiting.next_if(|row| row.id == stored.id).cloned().unwrap_or(stored));
            }
        }
        found.extend(waiting.take(max_rows.saturating_sub(found.len())).cloned());
        found.truncate(max_rows);
        Ok(found)
    }

    /// Retained rows whose topic is above another, those that wait among them.
    pub(super) fn read_retained(
        &self,
        pending: &Pending,
        name: &SinkName,
        after: Option<&str>,
        max_rows: usize,
    ) -> Result<Vec<RetainedRow>, rusqlite::Error> {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut waiting = pending
            .retained
            .get(name)
            .into_iter()
            .flat_map(|rows| rows.range::<str, _>((first, Bound::Unbounded)))
            .peekable();
        let mut statement = self.connection.prepare_cached(
            "SELECT topic, endpoint, payload, qos, correlation FROM retained \
             WHERE sink = ?1 AND topic > ?2 ORDER BY topic",
        )?;
        let mut rows = statement.query(params![name.as_ref(), after.unwrap_or("")])?;
        let mut found = Vec::new();
        while found.len() < max_rows {
            let Some(row) = rows.next()? else { break };
            let stored = retained_row(row)?;
            while let Some((_, earlier)) = waiting.next_if(|(topic, _)| **topic < stored.message.topic) {
                found.extend(earlier.clone());
            }
            match waiting.next_if(|(topic, _)| **topic == stored.message.topic) {
                Some((_, newer)) => found.extend(newer.clone()),
                None => found.push(stored),
            }
        }
        let room = max_rows.saturating_sub(found.len());
        found.extend(waiting.filter_map(|(_, row)| row.clone()).take(room));
        found.truncate(max_rows);
        Ok(found)
    }

    /// Everything that the core needs at start.
    pub(super) fn load(&self) -> Result<StoredState, rusqlite::Error> {
        let mut state = StoredState::default();
        let mut statement = self.connection.prepare("SELECT endpoint, record FROM devices ORDER BY endpoint")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(endpoint) = read_endpoint(row.get(0)?) {
                state.devices.push((endpoint, row.get(1)?));
            }
        }
        let mut statement =
            self.connection.prepare("SELECT endpoint, id, record FROM commands ORDER BY endpoint, id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(endpoint) = read_endpoint(row.get(0)?) {
                state.commands.push((endpoint, row.get(1)?, row.get(2)?));
            }
        }
        let mut statement = self.connection.prepare("SELECT key, value FROM state")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            state.state.insert(row.get(0)?, row.get(1)?);
        }
        for (name, spool) in &self.spools {
            state.spools.insert(name.clone(), self.extent(spool)?);
        }
        state.latest = self.latest()?;
        self.load_secrets(&mut state)?;
        Ok(state)
    }

    /// Opens all secrets. Those of a kind that a newer version wrote are left alone.
    fn load_secrets(&self, state: &mut StoredState) -> Result<(), rusqlite::Error> {
        let mut statement = self.connection.prepare("SELECT kind, key, sealed FROM secrets ORDER BY kind, key")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let word: String = row.get(0)?;
            let Some(kind) = SecretKind::ALL.into_iter().find(|kind| kind.as_str() == word) else { continue };
            let key: Vec<u8> = row.get(1)?;
            let sealed: Vec<u8> = row.get(2)?;
            match self.seal.open(&word, &key, &sealed) {
                Some(value) => state.secrets.push(SecretRow { kind, key, value }),
                None => state.sealed_shut.push((kind, key)),
            }
        }
        Ok(())
    }

    fn extent(&self, spool: &Spool) -> Result<SpoolExtent, rusqlite::Error> {
        let sql = format!(
            "SELECT max(id), count(*), sum(octet_length(topic) + octet_length(payload)), max(queued_at)
             FROM spool_{} GROUP BY id / {ROWS_PER_SEGMENT} ORDER BY 1",
            spool.number
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let mut segments = Vec::new();
        while let Some(row) = rows.next()? {
            let count = read_id(row.get(1)?);
            segments.push(SpoolSegment {
                last: read_id(row.get(0)?),
                rows: count,
                bytes: count.saturating_mul(charged_row_cost()).saturating_add(read_id(row.get(2)?)),
                newest: WallTime::from_millis(row.get(3)?),
            });
        }
        Ok(SpoolExtent { last: spool.last, segments })
    }

    /// The retained values and attributes of devices, which the core takes up again.
    fn latest(&self) -> Result<Vec<RetainedRow>, rusqlite::Error> {
        let mut statement = self.connection.prepare(
            "SELECT topic, endpoint, payload, qos, correlation FROM retained
             WHERE endpoint IS NOT NULL AND (topic LIKE '%/values' OR topic LIKE '%/attributes')",
        )?;
        let rows = statement.query_map([], retained_row)?;
        rows.collect()
    }
}

fn remove(transaction: &Transaction<'_>, number: i64, waiting: &PendingSpool) -> Result<usize, rusqlite::Error> {
    let Some(up_to) = waiting.delete_up_to else { return Ok(0) };
    let mut delete = transaction.prepare_cached(&format!("DELETE FROM spool_{number} WHERE id <= ?1"))?;
    delete.execute([stored_id(up_to)])
}

/// While rows remain, the highest of them tells the last id; only for an emptied spool it has to be written down.
fn keep_last_of_emptied(
    transaction: &Transaction<'_>,
    number: i64,
    waiting: &PendingSpool,
    last: u64,
) -> Result<(), rusqlite::Error> {
    if waiting.delete_up_to.is_none_or(|up_to| up_to < last) {
        return Ok(());
    }
    let mut update = transaction.prepare_cached("UPDATE spools SET last = ?2 WHERE number = ?1 AND last < ?2")?;
    update.execute([number, stored_id(last)])?;
    Ok(())
}

fn insert_spool(transaction: &Transaction<'_>, number: i64, waiting: &PendingSpool) -> Result<usize, rusqlite::Error> {
    if waiting.rows.is_empty() {
        return Ok(0);
    }
    let mut insert = transaction.prepare_cached(&format!(
        "INSERT OR REPLACE INTO spool_{number} \
         (id, queued_at, estimated, endpoint, topic, payload, qos, retain, correlation) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
    ))?;
    for row in waiting.rows.values() {
        insert.execute(params![
            stored_id(row.id),
            row.queued_at.millis(),
            row.estimated,
            row.endpoint.as_ref().map(Endpoint::as_str),
            row.message.topic,
            row.message.payload.as_ref(),
            stored_qos(row.message.qos),
            row.message.retain,
            row.message.correlation.as_deref(),
        ])?;
    }
    Ok(waiting.rows.len())
}

fn write_records(transaction: &Transaction<'_>, pending: &Pending) -> Result<usize, rusqlite::Error> {
    for (endpoint, record) in &pending.devices {
        match record {
            Some(record) => transaction
                .prepare_cached("INSERT OR REPLACE INTO devices (endpoint, record) VALUES (?1, ?2)")?
                .execute(params![endpoint.as_str(), record])?,
            None => {
                transaction.prepare_cached("DELETE FROM devices WHERE endpoint = ?1")?.execute([endpoint.as_str()])?
            }
        };
    }
    for ((endpoint, id), record) in &pending.commands {
        match record {
            Some(record) => transaction
                .prepare_cached("INSERT OR REPLACE INTO commands (endpoint, id, record) VALUES (?1, ?2, ?3)")?
                .execute(params![endpoint.as_str(), id, record])?,
            None => transaction
                .prepare_cached("DELETE FROM commands WHERE endpoint = ?1 AND id = ?2")?
                .execute([endpoint.as_str(), id])?,
        };
    }
    for (key, value) in &pending.state {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO state (key, value) VALUES (?1, ?2)")?
            .execute(params![key, value])?;
    }
    Ok(pending.devices.len() + pending.commands.len() + pending.state.len())
}

fn write_secrets(transaction: &Transaction<'_>, pending: &Pending, seal: &Seal) -> Result<usize, rusqlite::Error> {
    for ((kind, key), value) in &pending.secrets {
        match value {
            Some(value) => {
                let sealed = seal.seal(*kind, key, value)?;
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO secrets (kind, key, sealed) VALUES (?1, ?2, ?3)")?
                    .execute(params![kind.as_str(), key, sealed])?
            }
            None => transaction
                .prepare_cached("DELETE FROM secrets WHERE kind = ?1 AND key = ?2")?
                .execute(params![kind.as_str(), key])?,
        };
    }
    Ok(pending.secrets.len())
}

fn write_retained(transaction: &Transaction<'_>, pending: &Pending) -> Result<usize, rusqlite::Error> {
    let mut written = 0;
    for (sink, rows) in &pending.retained {
        for (topic, row) in rows {
            match row {
                Some(row) => transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO retained (sink, topic, endpoint, payload, qos, correlation) \
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    )?
                    .execute(params![
                        sink.as_ref(),
                        topic,
                        row.endpoint.as_ref().map(Endpoint::as_str),
                        row.message.payload.as_ref(),
                        stored_qos(row.message.qos),
                        row.message.correlation.as_deref(),
                    ])?,
                None => transaction
                    .prepare_cached("DELETE FROM retained WHERE sink = ?1 AND topic = ?2")?
                    .execute([sink.as_ref(), topic])?,
            };
            written += 1;
        }
    }
    Ok(written)
}

fn spool_row(row: &Row<'_>) -> Result<SpoolRow, rusqlite::Error> {
    Ok(SpoolRow {
        id: read_id(row.get(0)?),
        queued_at: WallTime::from_millis(row.get(1)?),
        estimated: row.get(2)?,
        endpoint: read_endpoint(row.get(3)?),
        message: Message {
            topic: row.get(4)?,
            payload: Bytes::from(row.get::<_, Vec<u8>>(5)?),
            qos: read_qos(row.get(6)?),
            retain: row.get(7)?,
            correlation: row.get::<_, Option<Vec<u8>>>(8)?.map(Bytes::from),
        },
    })
}

fn retained_row(row: &Row<'_>) -> Result<RetainedRow, rusqlite::Error> {
    Ok(RetainedRow {
        endpoint: read_endpoint(row.get(1)?),
        message: Message {
            topic: row.get(0)?,
            payload: Bytes::from(row.get::<_, Vec<u8>>(2)?),
            qos: read_qos(row.get(3)?),
            retain: true,
            correlation: row.get::<_, Option<Vec<u8>>>(4)?.map(Bytes::from),
        },
    })
}
