//! Opening a database, or refusing it without touching it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::SqliteSettings;
use super::continuity::MarkError;
use super::file::{OpenFiles, beside};
use super::lock::Lock;
use super::ownership::{self, UNFINISHED};
use super::restored::restore;
use super::schema::{self, APPLICATION_ID, DbRoom, VERSION};
use super::settings::synchronous;
use super::written::WrittenDatabase;
use crate::history::Restored;

/// How long a connection waits for another one of this process, or for an operator's tool.
const BUSY: Duration = Duration::from_secs(2);

/// Up to this size a database is checked as a whole before it is opened; a larger one by `starling history check`.
const CHECKED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How many threads read pages.
const READERS: usize = 2;

/// The write-ahead log is taken back into the database by the writer itself when it has so many pages of 4 KiB; the
/// checkpoints in the background keep it far below.
const LOG_PAGES_MAX: u32 = 16_384;

/// Why a database is not opened: one line for the operator. It was not changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made, or the file beside the database that locks it.
    #[error("the history {path} cannot be opened: {error}")]
    File { path: PathBuf, error: io::Error },
    /// Nothing can be stored in it.
    #[error("the history {path} cannot be used: {reason}")]
    Unfit { path: PathBuf, reason: &'static str },
    /// Its disk has no room left.
    #[error("the history {path} cannot be opened: the disk is full")]
    DiskFull { path: PathBuf },
    /// Another process works with it.
    #[error("the history {path} is held by another process; stop that one first")]
    Held { path: PathBuf },
    /// It was written by a newer version of this program.
    #[error("the history {path} has version {version}, newer than {VERSION}, the newest that this program knows")]
    Newer { path: PathBuf, version: u32 },
    /// It belongs to another program.
    #[error("{path} is a database, but not a history of this program")]
    Foreign { path: PathBuf },
    /// A file with a name that a file of the history would have belongs to another program.
    #[error("the history {path} cannot be used: {file} is there, and not of this program")]
    ForeignBeside { path: PathBuf, file: PathBuf },
    /// It is no database, or not a whole one.
    #[error("the history {path} is damaged: {reason}")]
    Damaged { path: PathBuf, reason: String },
    /// The database does not let itself be opened.
    #[error("the history {path} cannot be opened: {error}")]
    Database { path: PathBuf, error: rusqlite::Error },
}

impl OpenError {
    pub(super) fn of_file(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        if error.kind() == io::ErrorKind::StorageFull { Self::DiskFull { path } } else { Self::File { path, error } }
    }

    pub(super) fn of_mark(path: &Path, error: MarkError) -> Self {
        match error {
            MarkError::Database(error) => Self::of(path, error),
            MarkError::Lock(error) => Self::of_file(path, error),
        }
    }

    pub(super) fn of(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Held { path },
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { path, reason: error.to_string() }
            }
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            // The index of the log is made as large as it gets when it is made: where that fails, there is no room.
            _ if error.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => {
                Self::DiskFull { path }
            }
            _ => Self::Database { path, error },
        }
    }
}

/// An open database and what it says of the time before.
#[derive(Debug)]
pub(super) struct Opened {
    /// Numbers above this one have nothing in the database: neither a room, nor messages or `id`s of one that has ended.
    pub(super) last_number: u32,
    pub(super) files: OpenFiles,
    pub(super) writer: WrittenDatabase,
    pub(super) readers: Vec<Connection>,
    pub(super) checkpoints: Connection,
    /// Reads for the search.
    pub(super) searcher: Connection,
    /// The numbers of the restored rooms, in their order.
    pub(super) rooms: Vec<DbRoom>,
    pub(super) restored: Restored,
    /// Rooms that were dropped and still have messages.
    pub(super) dropped: Vec<DbRoom>,
}

/// Opens the database of the settings, and makes it where there is none.
pub(super) fn open(settings: &SqliteSettings) -> Result<(Opened, Lock), OpenError> {
    let path = settings.path.as_path();
    ownership::check(path)?;
    let mut lock = Lock::take(path)?;
    let (is_new, had_log) = (!path.exists(), beside(path, "-wal").exists());
    let opened = open_locked(settings, &lock);
    match &opened {
        Ok(_) => {
            lock.keep();
            // A restore that was killed has left it.
            remove(path, &[UNFINISHED]);
        }
        // What another process holds may be its own.
        Err(OpenError::Held { .. }) => {}
        Err(_) if is_new => remove(path, &["", "-wal", "-shm", "-journal"]),
        // Looking at a database makes an empty log. One that is not empty has what was stored last.
        Err(_) if !had_log && fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() == 0) => {
            remove(path, &["-wal", "-shm"]);
        }
        Err(_) => {}
    }
    Ok((opened?, lock))
}

fn open_locked(settings: &SqliteSettings, lock: &Lock) -> Result<Opened, OpenError> {
    let path = settings.path.as_path();
    let of = |error| OpenError::of(path, error);
    let writer = WrittenDatabase::open(settings, lock, true)?;
    let files = OpenFiles::of(path).map_err(|error| OpenError::of_file(path, error))?;
    let readers = (0..READERS).map(|_| open_reader(path)).collect::<rusqlite::Result<_>>().map_err(of)?;
    let checkpoints = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(of)?;
    let searcher = open_reader(path).map_err(of)?;
    let (rooms, restored, dropped) = restore(&writer.connection, settings).map_err(of)?;
    let last_number = schema::last_number(&writer.connection).map_err(of)?;
    Ok(Opened { last_number, files, writer, readers, checkpoints, searcher, rooms, restored, dropped })
}

fn remove(path: &Path, endings: &[&str]) {
    for ending in endings {
        // Not all of them are there.
        fs::remove_file(beside(path, ending)).unwrap_or_default();
    }
}

/// Lets the database undo a transaction that the death of a process has cut off, as a first start's may be.
///
/// Before there is a write-ahead log, a transaction is undone from a journal beside the database. A connection that only
/// reads cannot do that, so it cannot read either.
pub(super) fn recover(path: &Path) -> rusqlite::Result<()> {
    if !path.exists() || !fs::metadata(beside(path, "-journal")).is_ok_and(|journal| journal.len() > 0) {
        return Ok(());
    }
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

/// Looks at a database, without the right to change it. One that is not there, or empty, is a new one.
pub(super) fn inspect(path: &Path) -> Result<(), OpenError> {
    let of = |error| OpenError::File { path: path.to_owned(), error };
    let damaged = |reason: String| OpenError::Damaged { path: path.to_owned(), reason };
    ownership::check_database(path)?;
    // Before anything is read, as what is undone may be all there is.
    recover(path).map_err(|error| OpenError::of(path, error))?;
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(of(error)),
    };
    if size == 0 {
        return Ok(());
    }
    let connection = open_reader(path).map_err(|error| OpenError::of(path, error))?;
    let looked = || -> rusqlite::Result<_> {
        let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((application, tables, schema::version(&connection)?))
    };
    let (application, tables, version) = looked().map_err(|error| OpenError::of(path, error))?;
    if application != APPLICATION_ID {
        // A process that died while it made the database leaves an empty one.
        return if tables == 0 { Ok(()) } else { Err(OpenError::Foreign { path: path.to_owned() }) };
    }
    if version > u32::from(VERSION) {
        return Err(OpenError::Newer { path: path.to_owned(), version });
    }
    if size <= CHECKED_BYTES_MAX {
        let found: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| OpenError::of(path, error))?;
        if found != "ok" {
            return Err(damaged(found.lines().last().unwrap_or_default().to_owned()));
        }
    }
    Ok(())
}

/// A connection with these rights.
pub(super) fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// The connection that writes, with the newest schema. Without `create` the database must be there already.
pub(super) fn open_writer(settings: &SqliteSettings, create: bool) -> rusqlite::Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
    let mut connection = connect(&settings.path, flags)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous(settings.durability))?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES_MAX)?;
    connection.pragma_update(None, "journal_size_limit", u64::from(LOG_PAGES_MAX) * 4_096)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Also where there is nothing to migrate: whoever holds the database is found out now.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    schema::migrate(&transaction)?;
    transaction.commit()?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.pragma_update(None, "cache_size", -4_096)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}
