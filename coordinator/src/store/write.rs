//! One run of writes as one transaction.

use std::path::Path;

use nodemedic_coordinator_core::Write;
use rusqlite::{Connection, Transaction, params};
use serde::Serialize;

use super::StoreError;

/// Entries that the journal keeps: months of an ordinary fleet, about 100 MB of disk.
pub(super) const JOURNAL_KEEP: u64 = 200_000;

/// The journal is cut once per so many entries, so that cutting costs nothing per entry.
const JOURNAL_CUT_EVERY: u64 = 1000;

/// There is one brake.
pub(super) const BRAKE_KEY: &str = "storm";

/// All of them, or none.
pub(super) fn apply(
    database: &mut Connection,
    path: &Path,
    writes: &[Write],
) -> Result<(), StoreError> {
    let error = StoreError::sqlite("write to", path);
    let transaction = database.transaction().map_err(&error)?;
    for write in writes {
        one(&transaction, write).map_err(&error)?;
    }
    transaction.commit().map_err(&error)
}

fn one(to: &Transaction<'_>, write: &Write) -> rusqlite::Result<()> {
    match write {
        Write::Node(node) => put(to, "node", node.node.as_str(), node),
        Write::RemoveNode(name) => {
            remove(to, "node", name.as_str())?;
            remove(to, "event_mark", name.as_str())
        }
        Write::Work(spec) => put(to, "work", spec.name.as_str(), spec),
        Write::RemoveWork(name) => remove(to, "work", name.as_str()),
        Write::Grant(grant) => put(to, "held", &String::from(grant.key.clone()), grant),
        Write::EndGrant(key) => remove(to, "held", &String::from(key.clone())),
        Write::HighestGeneration { work, generation } => to
            .prepare_cached("INSERT OR REPLACE INTO generation (key, value) VALUES (?1, ?2)")?
            .execute(params![work.as_str(), integer(generation.0)?])
            .map(drop),
        Write::Journal(entry) => {
            let number = integer(entry.number)?;
            to.prepare_cached("INSERT INTO journal (number, node, value) VALUES (?1, ?2, ?3)")?
                .execute(params![
                    number,
                    entry.node.as_ref().map(|n| n.as_str()),
                    json(entry)?
                ])?;
            if entry.number % JOURNAL_CUT_EVERY == 0 && entry.number > JOURNAL_KEEP {
                let last_cut = integer(entry.number - JOURNAL_KEEP)?;
                to.execute("DELETE FROM journal WHERE number <= ?1", params![last_cut])?;
            }
            Ok(())
        }
        Write::EventMark { node, mark } => put(to, "event_mark", node.as_str(), mark),
        Write::Alert(alert) => put(to, "alert", &alert.key, alert),
        Write::ForgetAlert(key) => remove(to, "alert", key),
        Write::Brake(brake) => put(to, "brake", BRAKE_KEY, brake),
        Write::FenceDevice(device) => put(to, "fence_device", device.device.as_str(), device),
        Write::ForgetBrake => remove(to, "brake", BRAKE_KEY),
    }
}

fn put(
    to: &Transaction<'_>,
    table: &'static str,
    key: &str,
    value: &impl Serialize,
) -> rusqlite::Result<()> {
    to.prepare_cached(&format!(
        "INSERT OR REPLACE INTO {table} (key, value) VALUES (?1, ?2)"
    ))?
    .execute(params![key, json(value)?])
    .map(drop)
}

fn remove(to: &Transaction<'_>, table: &'static str, key: &str) -> rusqlite::Result<()> {
    to.prepare_cached(&format!("DELETE FROM {table} WHERE key = ?1"))?
        .execute(params![key])
        .map(drop)
}

fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn integer(number: u64) -> rusqlite::Result<i64> {
    i64::try_from(number).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}
