//! Pages of the fleet's journal.

use std::path::Path;

use nodemedic_protocol::NodeId;
use nodemedic_protocol::api::{EventsPage, JournalEntry};
use rusqlite::{Connection, params};

use super::StoreError;

/// Which part of the journal is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalQuery {
    /// Where the page begins.
    pub from: Begin,
    /// At most so many entries.
    pub limit: u32,
    /// Only those of one node.
    pub node: Option<NodeId>,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the first entry after this number.
    After(u64),
    /// So that it holds the newest ones.
    Newest,
}

/// A page, oldest first.
pub(super) fn read(
    database: &Connection,
    path: &Path,
    query: &JournalQuery,
) -> Result<EventsPage, StoreError> {
    let error = StoreError::sqlite("read the journal of", path);
    // Both reads see the same moment: an entry that comes between them must not be skipped.
    let moment = database.unchecked_transaction().map_err(&error)?;
    let newest: i64 = moment
        .query_row("SELECT coalesce(max(number), 0) FROM journal", [], |row| {
            row.get(0)
        })
        .map_err(&error)?;
    let rows = rows(&moment, query).map_err(&error)?;
    let full = rows.len() == query.limit as usize;
    let mut entries = Vec::with_capacity(rows.len());
    for (number, value) in rows {
        let entry: JournalEntry =
            serde_json::from_str(&value).map_err(|cause| StoreError::Record {
                path: path.to_owned(),
                table: "journal",
                key: number.to_string(),
                cause: cause.to_string(),
            })?;
        entries.push(entry);
    }
    // A page that is not full has seen all there is, also what its filter left out.
    let last = match (query.from, entries.last()) {
        (Begin::After(_), Some(entry)) if full => entry.number,
        _ => newest.unsigned_abs(),
    };
    Ok(EventsPage { entries, last })
}

fn rows(database: &Connection, query: &JournalQuery) -> rusqlite::Result<Vec<(i64, String)>> {
    let node = query.node.as_ref().map(NodeId::as_str);
    let of_node = if node.is_some() {
        "node = ?3"
    } else {
        "?3 IS NULL"
    };
    let (order, after) = match query.from {
        Begin::After(after) => ("ASC", after),
        Begin::Newest => ("DESC", 0),
    };
    let mut statement = database.prepare_cached(&format!(
        "SELECT number, value FROM journal WHERE number > ?1 AND {of_node} \
         ORDER BY number {order} LIMIT ?2"
    ))?;
    // A number beyond what SQLite can hold lies after every entry.
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = statement
        .query_map(params![after, query.limit, node], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<Vec<(i64, String)>>>()?;
    if query.from == Begin::Newest {
        rows.reverse();
    }
    Ok(rows)
}
