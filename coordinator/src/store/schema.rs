//! The tables, as a list of steps from one layout to the next. A step that has shipped is never
//! edited: what changes is a new step.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;

/// `user_version` N means that the first N steps have been taken.
const STEPS: [&str; 3] = [
    // 1: one table for each kind of record, its key, and its value as JSON.
    "CREATE TABLE meta       (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE node       (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE work       (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE held       (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE generation (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE event_mark (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE alert      (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE journal    (number INTEGER PRIMARY KEY, node TEXT, value TEXT NOT NULL) STRICT;
     CREATE INDEX journal_by_node ON journal (node, number);
     INSERT INTO meta VALUES ('epoch', 0);",
    // 2: the storm brake, one row at most.
    "CREATE TABLE brake      (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    // 3: fence devices, as far as something must be remembered of them.
    "CREATE TABLE fence_device (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;",
];

/// Brings the tables to this program's layout, in one transaction.
pub(super) fn migrate(database: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let error = StoreError::sqlite("prepare the tables of", path);
    let found: u32 = database
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(&error)?;
    let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    if found == known {
        return Ok(());
    }
    let transaction = database.transaction().map_err(&error)?;
    for step in STEPS.iter().skip(found as usize) {
        transaction.execute_batch(step).map_err(&error)?;
    }
    transaction
        .pragma_update(None, "user_version", known)
        .map_err(&error)?;
    transaction.commit().map_err(&error)
}
