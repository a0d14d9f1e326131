//! What can be wrong with the store, and what a person does about it.

use std::path::{Path, PathBuf};

use nodemedic_edge::files::FileError;
use rusqlite::ErrorCode;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made.
    #[error(transparent)]
    Directory(#[from] FileError),
    /// The lock file cannot be opened.
    #[error(
        "cannot open {}: {cause}. Make {} writable for the user that runs the coordinator, or set \
         [state] directory to one that is",
        path.display(), directory_of(path).display()
    )]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The system's word.
        cause: std::io::Error,
    },
    /// Somebody else has the directory.
    #[error(
        "another nodemedic-coordinator already uses {}; two would give the same work twice. Stop \
         that one (`fuser {}/coordinator.lock` names it), or set [state] directory to another one",
        .0.display(), .0.display()
    )]
    Taken(PathBuf),
    /// SQLite refuses.
    #[error("cannot {action} the database {}: {cause}. {}", path.display(), remedy(cause, path))]
    Sqlite {
        /// What was tried, as a verb.
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// SQLite's word.
        cause: rusqlite::Error,
    },
    /// SQLite's own check found damage.
    #[error("the database {} is damaged: {finding}. {}", path.display(), restore(path))]
    Damaged {
        /// The database.
        path: PathBuf,
        /// The first finding.
        finding: String,
    },
    /// A later version wrote it.
    #[error(
        "the database {} has layout {found}, this program knows up to {known}: a newer nodemedic \
         wrote it. Install that version again, or restore the copy from before the upgrade",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its layout.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A record is not what it was when it was written.
    #[error(
        "the record {key:?} in table {table} of {} cannot be read: {cause}. {}",
        path.display(), restore(path)
    )]
    Record {
        /// The database.
        path: PathBuf,
        /// Where in it.
        table: &'static str,
        /// Under which key.
        key: String,
        /// Why not.
        cause: String,
    },
    /// The system gives no thread.
    #[error(
        "cannot start a thread for the store in {}: {cause}. Raise the limit of tasks for this \
         service",
        directory.display()
    )]
    Thread {
        /// The store.
        directory: PathBuf,
        /// The system's word.
        cause: std::io::Error,
    },
    /// The store's thread has ended.
    #[error("the store has ended; nothing can be written any more. The log says why")]
    Gone,
}

impl StoreError {
    /// Wraps SQLite's word with what was tried where.
    pub(super) fn sqlite(
        action: &'static str,
        path: &Path,
    ) -> impl Fn(rusqlite::Error) -> Self + use<> {
        let path = path.to_owned();
        move |cause| StoreError::Sqlite {
            action,
            path: path.clone(),
            cause,
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn restore(path: &Path) -> String {
    format!(
        "Restore {} from a copy. Without one: stop all work that was placed, move the file away, \
         start again, and declare the works again",
        path.display()
    )
}

fn remedy(cause: &rusqlite::Error, path: &Path) -> String {
    let directory = directory_of(path).display();
    match cause.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => restore(path),
        Some(ErrorCode::DiskFull) => format!("Free space on the filesystem of {directory}"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => format!(
            "Another program has it open; close it (`fuser {}` names it)",
            path.display()
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => format!(
            "Make {directory} and the files in it writable for the user that runs the \
             coordinator, or set [state] directory to one that is"
        ),
        Some(ErrorCode::SystemIoFailure) => {
            format!("The disk under {directory} fails; `dmesg` has more")
        }
        _ => format!("Look at the files in {directory}"),
    }
}
