//! The coordinator's memory: SQLite in one directory, one writer, one reader.
//!
//! A run of writes is one transaction, on disk (WAL, synchronous=FULL) before [`Store::commit`]
//! answers. Both connections live on threads of their own, so a slow disk never holds up the event
//! loop's other work. Records are JSON values under their keys: the core owns their shape.

mod error;
mod journal;
mod open;
mod schema;
mod write;

use std::path::Path;
use std::thread;

use nodemedic_coordinator_core::{Stored, Write};
use nodemedic_protocol::api::EventsPage;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

pub use error::StoreError;
pub use journal::{Begin, JournalQuery};

/// Commits under way: the event loop waits for each, so more than one is a second asker.
const COMMITS_MAX: usize = 4;

/// Journal questions under way; further askers wait in line at the API.
const QUESTIONS_MAX: usize = 64;

/// Writes. There is one, with the event loop; when it is dropped, the directory is free for a
/// successor.
#[derive(Debug)]
pub struct Store {
    commits: mpsc::Sender<Commit>,
}

/// Reads the fleet's journal, and can write nothing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal {
    questions: mpsc::Sender<Question>,
}

struct Commit {
    writes: Vec<Write>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

struct Question {
    query: JournalQuery,
    answer: oneshot::Sender<Result<EventsPage, StoreError>>,
}

impl Store {
    /// Opens (or makes) the database in `directory`, takes the directory for this process alone,
    /// raises the epoch, and reads everything back. Blocks: call it before the loop runs.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(directory: &Path) -> Result<(Store, Journal, Stored), StoreError> {
        let (lock, mut writer, path) = open::open(directory)?;
        let stored = open::take_over(&mut writer, &path)?;
        let reader = open::reader(&path)?;
        let (commits, commit_requests) = mpsc::channel(COMMITS_MAX);
        let (questions, question_requests) = mpsc::channel(QUESTIONS_MAX);
        let writer_path = path.clone();
        spawn("store", directory, move || {
            write_all(writer, &writer_path, commit_requests);
            // Another coordinator may begin only when this one writes no more.
            drop(lock);
        })?;
        spawn("journal", directory, move || {
            answer_all(&reader, &path, question_requests)
        })?;
        Ok((Store { commits }, Journal { questions }, stored))
    }

    /// Writes all of these, or none, and answers when they are on disk.
    ///
    /// # Errors
    /// When the disk refuses. The caller must stop then: what it has decided is not written.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let (done, answer) = oneshot::channel();
        self.commits
            .send(Commit { writes, done })
            .await
            .map_err(|_| StoreError::Gone)?;
        answer.await.map_err(|_| StoreError::Gone)?
    }
}

impl Journal {
    /// A page of the fleet's journal.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn page(&self, query: JournalQuery) -> Result<EventsPage, StoreError> {
        let (answer, page) = oneshot::channel();
        self.questions
            .send(Question { query, answer })
            .await
            .map_err(|_| StoreError::Gone)?;
        page.await.map_err(|_| StoreError::Gone)?
    }
}

fn spawn(
    name: &str,
    directory: &Path,
    run: impl FnOnce() + Send + 'static,
) -> Result<(), StoreError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map(drop)
        .map_err(|cause| StoreError::Thread {
            directory: directory.to_owned(),
            cause,
        })
}

fn write_all(mut writer: Connection, path: &Path, mut requests: mpsc::Receiver<Commit>) {
    while let Some(Commit { writes, done }) = requests.blocking_recv() {
        // Nobody waiting for the answer any more changes nothing: it is written.
        let _ = done.send(write::apply(&mut writer, path, &writes));
    }
}

fn answer_all(reader: &Connection, path: &Path, mut requests: mpsc::Receiver<Question>) {
    while let Some(Question { query, answer }) = requests.blocking_recv() {
        if !answer.is_closed() {
            // The asker may have hung up while its page was read.
            let _ = answer.send(journal::read(reader, path, &query));
        }
    }
}

#[cfg(test)]
mod tests;
