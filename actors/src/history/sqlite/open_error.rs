//! Why a database is not opened.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::schema::VERSION;

/// The reason that a database was not opened, as one line for the operator. The database was not changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the lock file cannot be created.
    #[error("the history {path} cannot be opened: {error}")]
    File { path: PathBuf, error: io::Error },
    /// No database can be used at this path.
    #[error("the history {path} cannot be used: {reason}")]
    Unfit { path: PathBuf, reason: &'static str },
    /// The disk has no space left.
    #[error("the history {path} cannot be opened: the disk is full")]
    DiskFull { path: PathBuf },
    /// Another process uses it.
    #[error("the history {path} is held by another process; stop that process first")]
    Held { path: PathBuf },
    /// A newer version of this program has written it.
    #[error("the history {path} has version {version}, newer than {VERSION}, the newest that this program knows")]
    Newer { path: PathBuf, version: u32 },
    /// The database belongs to another program.
    #[error("{path} is a database, but not a history of this program")]
    Foreign { path: PathBuf },
    /// A file beside the database has a reserved name but belongs to another program.
    #[error("the history {path} cannot be used: {file} exists but is not a file of this program")]
    ForeignBeside { path: PathBuf, file: PathBuf },
    /// The database was removed, and its log was not: SQLite would delete it.
    #[error(
        "the history {path} is not there, but its log {log} is, with messages: put the history back, or move the log away"
    )]
    LogAlone { path: PathBuf, log: PathBuf },
    /// A copy was put in the place of the database, beside the log of the one before.
    #[error(
        "the history {path} is a copy, and {log} the log of another one: put a backup back with starling restore, or \
        move the log away"
    )]
    LogOfAnother { path: PathBuf, log: PathBuf },
    /// The file is not a database, or it is incomplete.
    #[error("the history {path} is damaged: {reason}")]
    Damaged { path: PathBuf, reason: String },
    /// SQLite cannot open the database.
    #[error("the history {path} cannot be opened: {error}")]
    Database { path: PathBuf, error: rusqlite::Error },
}

impl OpenError {
    pub(super) fn of_file(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        if error.kind() == io::ErrorKind::StorageFull { Self::DiskFull { path } } else { Self::File { path, error } }
    }

    pub(super) fn of(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Held { path },
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { path, reason: error.to_string() }
            }
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            // SQLite allocates the index of the log at its full size. If that fails, the disk is full.
            _ if error.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => {
                Self::DiskFull { path }
            }
            _ => Self::Database { path, error },
        }
    }
}
