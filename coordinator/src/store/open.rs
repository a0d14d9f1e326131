//! Opening: the directory for us alone, a sound database, the next epoch, and everything read back.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nodemedic_coordinator_core::Stored;
use nodemedic_edge::files::ensure_dir;
use nodemedic_protocol::{Epoch, Generation};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use serde::de::DeserializeOwned;

use super::write::BRAKE_KEY;
use super::{StoreError, schema};

const LOCK_FILE: &str = "coordinator.lock";
const DATABASE_FILE: &str = "coordinator.db";

/// The state names hosts and holds what they reported: not for everybody's eyes.
const DIRECTORY_MODE: u32 = 0o750;

/// For a person with a sqlite3 shell: long enough for a look, short of the lease term.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The writer, sound and migrated, and the lock that keeps others out.
pub(super) fn open(directory: &Path) -> Result<(File, Connection, PathBuf), StoreError> {
    ensure_dir(directory, DIRECTORY_MODE)?;
    let lock_path = directory.join(LOCK_FILE);
    let lock_error = |cause| StoreError::Lock {
        path: lock_path.clone(),
        cause,
    };
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(lock_error)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            return Err(StoreError::Taken(directory.to_owned()));
        }
        Err(std::fs::TryLockError::Error(cause)) => return Err(lock_error(cause)),
    }
    let path = directory.join(DATABASE_FILE);
    let error = StoreError::sqlite("open", &path);
    let mut database = Connection::open(&path).map_err(&error)?;
    database.busy_timeout(BUSY_TIMEOUT).map_err(&error)?;
    let mode: String = database
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(&error)?;
    if mode != "wal" {
        return Err(StoreError::Damaged {
            path,
            finding: format!("journal mode {mode} instead of WAL"),
        });
    }
    database
        .pragma_update(None, "synchronous", "FULL")
        .map_err(&error)?;
    let finding: String = database
        .pragma_query_value(None, "quick_check", |row| row.get(0))
        .map_err(&error)?;
    if finding != "ok" {
        return Err(StoreError::Damaged { path, finding });
    }
    schema::migrate(&mut database, &path)?;
    Ok((lock, database, path))
}

/// A second connection, for reading only.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let error = StoreError::sqlite("open for reading", path);
    let database = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(&error)?;
    database.busy_timeout(BUSY_TIMEOUT).map_err(&error)?;
    Ok(database)
}

/// Raises the epoch and reads everything back: one transaction, on disk before anybody is told.
pub(super) fn take_over(database: &mut Connection, path: &Path) -> Result<Stored, StoreError> {
    let error = StoreError::sqlite("take over", path);
    let transaction = database
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(&error)?;
    let epoch: i64 = transaction
        .query_row(
            "UPDATE meta SET value = value + 1 WHERE key = 'epoch' RETURNING value",
            [],
            |row| row.get(0),
        )
        .map_err(&error)?;
    let journal_last: i64 = transaction
        .query_row("SELECT coalesce(max(number), 0) FROM journal", [], |row| {
            row.get(0)
        })
        .map_err(&error)?;
    let read = Reader {
        database: &transaction,
        path,
    };
    let stored = Stored {
        epoch: Epoch(epoch.unsigned_abs()),
        nodes: read.values("node")?,
        works: read.values("work")?,
        grants: read.values("held")?,
        generations: read.generations()?,
        marks: read.values("event_mark")?,
        alerts: read.values("alert")?,
        brake: read.values::<String, _>("brake")?.remove(BRAKE_KEY),
        fence_devices: read.values("fence_device")?,
        journal_last: journal_last.unsigned_abs(),
    };
    transaction.commit().map_err(&error)?;
    Ok(stored)
}

struct Reader<'a> {
    database: &'a Connection,
    path: &'a Path,
}

impl Reader<'_> {
    fn values<K, V>(&self, table: &'static str) -> Result<BTreeMap<K, V>, StoreError>
    where
        K: TryFrom<String> + Ord,
        K::Error: ToString,
        V: DeserializeOwned,
    {
        let mut values = BTreeMap::new();
        for (key, value) in self.rows::<String>(table)? {
            let bad = |cause: String| self.bad(table, &key, cause);
            let value = serde_json::from_str(&value).map_err(|e| bad(e.to_string()))?;
            let name = K::try_from(key.clone()).map_err(|e| bad(e.to_string()))?;
            values.insert(name, value);
        }
        Ok(values)
    }

    fn generations<K>(&self) -> Result<BTreeMap<K, Generation>, StoreError>
    where
        K: TryFrom<String> + Ord,
        K::Error: ToString,
    {
        let mut values = BTreeMap::new();
        for (key, value) in self.rows::<i64>("generation")? {
            let name = K::try_from(key.clone())
                .map_err(|e| self.bad("generation", &key, e.to_string()))?;
            values.insert(name, Generation(value.unsigned_abs()));
        }
        Ok(values)
    }

    fn rows<T: rusqlite::types::FromSql>(
        &self,
        table: &'static str,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let error = StoreError::sqlite("read", self.path);
        let mut statement = self
            .database
            .prepare(&format!("SELECT key, value FROM {table} ORDER BY key"))
            .map_err(&error)?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(&error)?;
        rows.collect::<Result<Vec<_>, _>>().map_err(&error)
    }

    fn bad(&self, table: &'static str, key: &str, cause: String) -> StoreError {
        StoreError::Record {
            path: self.path.to_owned(),
            table,
            key: key.to_owned(),
            cause,
        }
    }
}
