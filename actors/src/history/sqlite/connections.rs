//! The connections to a database: their rights and settings, and the checks before the first of them writes.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::SqliteSettings;
use super::file::{beside, open_without_log};
use super::open_error::OpenError;
use super::ownership;
use super::schema::{self, APPLICATION_ID, VERSION};
use super::settings::synchronous;

/// How long a connection waits for a lock of another connection, in this process or in an operator's command.
const BUSY: Duration = Duration::from_secs(2);

/// A database up to this size is checked completely before it is opened. `starling history check` checks larger ones.
const CHECKED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Pages of 4 KiB in the write-ahead log at which the writer itself checkpoints. The background checkpoints keep the
/// log far below this.
const LOG_PAGES_MAX: u32 = 16_384;

/// How the writing connection deletes, but for commits that remove texts.
pub(super) const SECURE_DELETE: &str = "FAST";

/// Rolls back a transaction that the end of a process has interrupted, for example during the first start.
///
/// Before the database uses a write-ahead log, a rollback needs the journal beside it. A read-only connection cannot
/// roll back, and therefore cannot read.
pub(super) fn recover(path: &Path) -> rusqlite::Result<()> {
    if !path.exists() || !fs::metadata(beside(path, "-journal")).is_ok_and(|journal| journal.len() > 0) {
        return Ok(());
    }
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

/// Inspects a database with a read-only connection. A missing or empty file is accepted as a new database.
pub(super) fn inspect(path: &Path) -> Result<(), OpenError> {
    let of = |error| OpenError::File { path: path.to_owned(), error };
    ownership::check_database(path)?;
    // The rollback comes first, because it may leave an empty database.
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
    inspect_through(&connection, path, size)
}

/// Inspects a database of this many bytes through an open connection.
fn inspect_through(connection: &Connection, path: &Path, size: u64) -> Result<(), OpenError> {
    let looked = || -> rusqlite::Result<_> {
        let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((application, tables, schema::version(connection)?))
    };
    let (application, tables, version) = looked().map_err(|error| OpenError::of(path, error))?;
    if application != APPLICATION_ID {
        // A process that was killed while it created the database leaves no tables.
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
            let reason = found.lines().last().unwrap_or_default().to_owned();
            return Err(OpenError::Damaged { path: path.to_owned(), reason });
        }
    }
    Ok(())
}

/// Opens a database whose server was stopped, without writing: the disk may be read-only or full, or the caller may not
/// write. `None`: it has a log or a journal, or a server holds it.
///
/// The lock keeps servers away for as long as it is held.
pub(super) fn open_at_rest(path: &Path) -> Result<Option<(Connection, Option<File>)>, OpenError> {
    if ["-wal", "-journal"].iter().any(|ending| fs::metadata(beside(path, ending)).is_ok_and(|file| file.len() > 0)) {
        return Ok(None);
    }
    let lock = match File::open(beside(path, ".lock")) {
        Ok(lock) if lock.try_lock().is_ok() => Some(lock),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Ok(_) | Err(_) => return Ok(None),
    };
    let connection = open_without_log(path).map_err(|error| OpenError::of(path, error))?;
    let size = fs::metadata(path).map_err(|error| OpenError::of_file(path, error))?.len();
    inspect_through(&connection, path, size)?;
    Ok(Some((connection, lock)))
}

/// Opens a connection with these flags.
pub(super) fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// Opens the writing connection and migrates the schema. Without `create` the database must exist.
pub(super) fn open_writer(settings: &SqliteSettings, create: bool) -> rusqlite::Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
    let mut connection = connect(&settings.path, flags)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "secure_delete", SECURE_DELETE)?;
    connection.pragma_update(None, "synchronous", synchronous(settings.durability))?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES_MAX)?;
    connection.pragma_update(None, "journal_size_limit", u64::from(LOG_PAGES_MAX) * 4_096)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Also without a migration this transaction detects another process that holds the database.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    schema::migrate(&transaction)?;
    transaction.commit()?;
    Ok(connection)
}

/// Opens a read-only connection.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.pragma_update(None, "cache_size", -4_096)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}
