//! Copies of a database: backup and restore.
//!
//! A copy shows the moment at which its rooms are read. Messages are then read in small parts, up to the newest message
//! that each room had at that moment. So a running server is never blocked, no matter how long the copy takes. Messages
//! that the server drops meanwhile are not in the copy.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OpenFlags, Params, params_from_iter};

use super::SqliteSettings;
use super::connections;
use super::continuity::{has_log_of_another, mark_as_copy};
use super::file::{self, FileIdentity, Rights, UNFINISHED, beside};
use super::lock::Lock;
use super::open_error::OpenError;
use super::operator::{CheckReport, OperatorError, check_database, reader};
use super::ownership;
use super::schema::{self, APPLICATION_ID, CHANGES, CHANGES_SINCE, DbRoom, LOG_MARK, READ_POSITIONS, SEQ_MAX, place};
use super::search::SearchIndex;

/// The largest number of rows that one read returns.
const PART: usize = 256;

/// Writes a backup of a database to a new file. A server may be running.
///
/// # Errors
/// [`OperatorError`]; then no file is left behind.
pub fn backup(path: &Path, target: &Path) -> Result<CheckReport, OperatorError> {
    file::check_new_name(target).map_err(|reason| OperatorError::UnfitTarget { path: target.to_owned(), reason })?;
    let source = reader(path)?;
    ownership::check_new(target)?;
    let rights = fs::metadata(path).map(|metadata| Rights::of(&metadata)).map_err(|error| target_error(path, error))?;
    match rights.new_file().open(target) {
        Ok(_) => copy(&source, target),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(OperatorError::Exists(target.to_owned())),
        Err(error) => Err(target_error(target, error)),
    }
}

/// Creates the database of the settings from a backup or another database. No server may be running. With `replace` an
/// existing database is overwritten. At the next start the rooms begin new epochs, unless a node of several servers
/// starts with the copy of a node's database: it continues behind the record up to which the copy goes.
///
/// # Errors
/// [`OperatorError`]; then the database is unchanged.
pub fn restore(settings: &SqliteSettings, from: &Path, replace: bool) -> Result<CheckReport, OperatorError> {
    file::check_new_name(&settings.path)
        .map_err(|reason| OperatorError::UnfitTarget { path: settings.path.clone(), reason })?;
    let source = reader(from)?;
    if schema::version(&source)? == 0 {
        return Err(OpenError::Foreign { path: from.to_owned() }.into());
    }
    let found = check_database(&source)?;
    if !found.problems.is_empty() {
        return Err(OperatorError::Damaged { path: from.to_owned(), problems: found.problems.len() });
    }
    let path = file::locate_new(&settings.path)?;
    let there = FileIdentity::at(&path).ok();
    if there.is_some() && there == FileIdentity::at(from).ok() {
        return Err(OperatorError::Itself(from.to_owned()));
    }
    let is_there = fs::metadata(&path).is_ok_and(|metadata| metadata.len() > 0) || ownership::is_log_alone(&path);
    if !replace && is_there {
        return Err(OperatorError::WouldReplace(path));
    }
    ownership::check_replaceable(&path)?;
    let _lock = Lock::take(&path)?;
    settle(&path)?;
    // An unfinished file of an earlier restore is overwritten.
    let unfinished = beside(&path, UNFINISHED);
    ownership::check_new(&unfinished)?;
    fs::remove_file(&unfinished)
        .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
        .and_then(|()| rights_in_place(from, &path)?.create_new(&unfinished))
        .map_err(|error| target_error(&unfinished, error))?;
    let report = copy(&source, &unfinished)?;
    replace_with(&unfinished, &path).map_err(|error| target_error(&path, error))?;
    Ok(report)
}

/// The rights of the database that is replaced. If there is none, the rights of the backup, with the owner of the
/// folder.
fn rights_in_place(from: &Path, path: &Path) -> io::Result<Rights> {
    if let Ok(there) = fs::metadata(path) {
        return Ok(Rights::of(&there));
    }
    Ok(Rights::of(&fs::metadata(from)?).in_folder(&fs::metadata(folder(path))?))
}

/// Checkpoints the write-ahead log, so that the database file alone is complete. A damaged database stays unchanged.
fn settle(path: &Path) -> Result<(), OperatorError> {
    let settle = || -> rusqlite::Result<bool> {
        let connection = connections::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // Any read rolls back a transaction that was interrupted.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
    };
    if fs::metadata(path).map_or(0, |metadata| metadata.len()) == 0 || has_log_of_another(path) {
        return Ok(());
    }
    match settle() {
        Ok(false) => Ok(()),
        Ok(true) => Err(OpenError::Held { path: path.to_owned() }.into()),
        Err(error)
            if matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)) =>
        {
            Ok(())
        }
        Err(error) => Err(copy_error(path, error)),
    }
}

/// Renames a copy to the name of the database. If the process is killed at any point, a complete database has the name:
/// the old one or the copy.
fn replace_with(unfinished: &Path, path: &Path) -> io::Result<()> {
    // The index belongs to the old database.
    SearchIndex::remove(path).map_err(io::Error::other)?;
    // SQLite would apply another database's log to the copy.
    for ending in ["-wal", "-shm", "-journal"] {
        match fs::remove_file(beside(path, ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    sync_folder(path)?;
    fs::rename(unfinished, path)?;
    sync_folder(path)
}

fn target_error(path: &Path, error: io::Error) -> OperatorError {
    OperatorError::Target { path: path.to_owned(), error }
}

/// Fills an empty file with a copy and checks it. On failure it removes the file.
fn copy(source: &Connection, target: &Path) -> Result<CheckReport, OperatorError> {
    let write = || -> Result<CheckReport, OperatorError> {
        let mut connection = Connection::open_with_flags(target, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .map_err(|error| copy_error(target, error))?;
        fill(source, &mut connection).map_err(|error| match error {
            CopyError::Source(error) => OperatorError::Database(error),
            CopyError::Target(error) => copy_error(target, error),
        })?;
        connection.close().map_err(|(_, error)| copy_error(target, error))?;
        let synced = File::open(target).and_then(|file| file.sync_all()).and_then(|()| sync_folder(target));
        synced.map_err(|error| target_error(target, error))?;
        let report = check_database(&*reader(target)?)?;
        match report.problems.len() {
            0 => Ok(report),
            problems => Err(OperatorError::Damaged { path: target.to_owned(), problems }),
        }
    };
    let outcome = write();
    if outcome.is_err() {
        // If the removal fails too, no start and no restore accepts the file that is left.
        fs::remove_file(target).unwrap_or_default();
    }
    outcome
}

fn copy_error(path: &Path, error: rusqlite::Error) -> OperatorError {
    OperatorError::Copy { path: path.to_owned(), error }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The side on which a copy failed.
enum CopyError {
    Source(rusqlite::Error),
    Target(rusqlite::Error),
}

fn fill(source: &Connection, target: &mut Connection) -> Result<(), CopyError> {
    use CopyError::{Source, Target};
    // No rollback is needed: on failure the file is removed.
    target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;").map_err(Target)?;
    let version = schema::version(source).map_err(Source)?;
    let transaction = target.transaction().map_err(Target)?;
    schema::make(&transaction, version).map_err(Target)?;
    copy_state(source, &transaction)?;
    let tables: &[&str] = if version >= CHANGES_SINCE { &["messages", CHANGES] } else { &["messages"] };
    for (room, seq) in rooms(&transaction).map_err(Target)? {
        copy_entries(source, &transaction, tables, (room, seq))?;
    }
    copy_ids(source, &transaction, tables)?;
    transaction.commit().map_err(Target)?;
    // From here on the file is recognized as a history.
    let transaction = target.transaction().map_err(Target)?;
    schema::migrate(&transaction).map_err(Target)?;
    mark_as_copy(&transaction).map_err(Target)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(Target)?;
    transaction.commit().map_err(Target)
}

/// Copies the rooms, the read positions, and the place of a node in the log of the nodes. All are of the same moment, so the copy lacks no
/// message of a record up to that place.
fn copy_state(source: &Connection, target: &Connection) -> Result<(), CopyError> {
    let moment = source.unchecked_transaction().map_err(CopyError::Source)?;
    copy_rows(&moment, target, "rooms", "SELECT * FROM rooms", ())?;
    // Older versions have no such tables.
    for table in [LOG_MARK, READ_POSITIONS] {
        if moment.table_exists(None, table).map_err(CopyError::Source)? {
            copy_rows(&moment, target, table, &format!("SELECT * FROM {table}"), ())?;
        }
    }
    moment.finish().map_err(CopyError::Source)
}

/// All rooms, with the newest message of each.
fn rooms(connection: &Connection) -> rusqlite::Result<Vec<(DbRoom, u64)>> {
    let mut rooms = connection.prepare("SELECT id, seq FROM rooms")?;
    rooms.query_map([], |row| Ok((DbRoom(row.get(0)?), row.get(1)?)))?.collect()
}

/// Copies the entries of a room up to `seq` from these tables, in parts.
fn copy_entries(
    source: &Connection,
    target: &Connection,
    tables: &[&str],
    (room, seq): (DbRoom, u64),
) -> Result<(), CopyError> {
    use CopyError::{Source, Target};
    for table in tables {
        let (mut first, last) = (place(room, 0), place(room, seq));
        let select = format!("SELECT * FROM {table} WHERE place BETWEEN ?1 AND ?2 ORDER BY place LIMIT ?3");
        while let Some(newest) = copy_rows(source, target, table, &select, (first, last, PART))? {
            first = newest + 1;
        }
    }
    // Entries that the server dropped meanwhile leave a gap after the first parts. The entries before the gap are
    // deleted, from all tables up to the same one.
    let mut oldest = source.prepare_cached("SELECT oldest FROM rooms WHERE id = ?1").map_err(Source)?;
    let oldest = match oldest.query_row([room.0], |row| row.get::<_, u64>(0)) {
        Ok(oldest) => oldest.min(seq + 1),
        Err(rusqlite::Error::QueryReturnedNoRows) => seq + 1,
        Err(error) => return Err(Source(error)),
    };
    let run = |sql: &str, parameters: (i64, i64)| -> Result<(), CopyError> {
        target.prepare_cached(sql).and_then(|mut statement| statement.execute(parameters)).map(drop).map_err(Target)
    };
    for table in tables {
        let kept = (place(room, 0), place(room, oldest));
        run(&format!("DELETE FROM {table} WHERE place >= ?1 AND place < ?2"), kept)?;
    }
    run("UPDATE rooms SET oldest = ?2 WHERE id = ?1", (i64::from(room.0), oldest.cast_signed()))
}

/// Copies the `id`s of dropped messages, in parts.
fn copy_ids(source: &Connection, target: &Connection, tables: &[&str]) -> Result<(), CopyError> {
    let mut after = i64::MIN;
    let select = "SELECT * FROM dropped_ids WHERE place > ?1 ORDER BY place LIMIT ?2";
    while let Some(newest) = copy_rows(source, target, "dropped_ids", select, (after, PART))? {
        after = newest;
    }
    // Deletes the `id`s of messages that the copy contains, that are newer than the copy, or whose room is not in it.
    let copied: Vec<_> = tables.iter().map(|table| format!("SELECT place FROM {table}")).collect();
    let surplus = format!(
        "DELETE FROM dropped_ids WHERE place IN ({})
        OR place > (SELECT coalesce(max(seq), -1) + (place & ~?1) FROM rooms WHERE id = place >> ?2)",
        copied.join(" UNION ALL ")
    );
    let (mask, bits) = (SEQ_MAX.cast_signed(), schema::SEQ_BITS);
    target.execute(&surplus, (mask, bits)).map(drop).map_err(CopyError::Target)
}

/// Copies the rows of a query into a table with the same columns. Returns the first column of the last row.
fn copy_rows(
    source: &Connection,
    target: &Connection,
    table: &str,
    select: &str,
    parameters: impl Params,
) -> Result<Option<i64>, CopyError> {
    use CopyError::{Source, Target};
    let mut select = source.prepare_cached(select).map_err(Source)?;
    let columns = select.column_count();
    let names = select.column_names().collect::<Vec<_>>().join(", ");
    let values = vec!["?"; columns].join(", ");
    let mut insert =
        target.prepare_cached(&format!("INSERT INTO {table} ({names}) VALUES ({values})")).map_err(Target)?;
    let mut rows = select.query(parameters).map_err(Source)?;
    let mut last = None;
    while let Some(row) = rows.next().map_err(Source)? {
        let values: Vec<Value> =
            (0..columns).map(|column| row.get(column)).collect::<Result<_, _>>().map_err(Source)?;
        last = if let Some(Value::Integer(key)) = values.first() { Some(*key) } else { None };
        insert.execute(params_from_iter(values)).map_err(Target)?;
    }
    Ok(last)
}
