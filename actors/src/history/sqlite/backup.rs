//! Copies of a database: a backup of it, and a database that is made from one.
//!
//! A copy shows one moment: that in which the rooms are read. Messages are then read in small parts, up to the newest
//! that their rooms had, so a server that goes on writing is never held up, however long the copy takes. What the server
//! drops meanwhile is not in the copy.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OpenFlags, Params, params_from_iter};

use super::continuity::mark_as_copy;
use super::file::{self, FileIdentity, beside};
use super::lock::Lock;
use super::open;
use super::operator::{CheckReport, OperatorError, check_database, reader};
use super::ownership::{self, UNFINISHED};
use super::schema::{self, APPLICATION_ID, DbRoom, SEQ_MAX, place};
use super::search::SearchIndex;
use super::{OpenError, SqliteSettings};

/// Most rows that are read at once.
const PART: usize = 256;

/// Writes a backup of a database to a file that is not there yet. A server may be running.
///
/// # Errors
/// [`OperatorError`]; then there is no such file.
pub fn backup(path: &Path, target: &Path) -> Result<CheckReport, OperatorError> {
    file::check_new_name(target).map_err(|reason| OperatorError::UnfitTarget { path: target.to_owned(), reason })?;
    let source = reader(path)?;
    ownership::check_new(target)?;
    match File::create_new(target) {
        Ok(_) => copy(&source, target),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(OperatorError::Exists(target.to_owned())),
        Err(error) => Err(target_error(target, error)),
    }
}

/// Makes the database of the settings from a backup, or from another database. No server may be running. With `replace`
/// the database that is there is lost. Its rooms begin new epochs with the next start.
///
/// # Errors
/// [`OperatorError`]; then the database is as it was.
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
    if !replace && fs::metadata(&path).is_ok_and(|metadata| metadata.len() > 0) {
        return Err(OperatorError::WouldReplace(path));
    }
    ownership::check_replaceable(&path)?;
    let _lock = Lock::take(&path)?;
    settle(&path)?;
    // What another restore has left is overwritten.
    let unfinished = beside(&path, UNFINISHED);
    ownership::check_new(&unfinished)?;
    File::create(&unfinished).map_err(|error| target_error(&unfinished, error))?;
    let report = copy(&source, &unfinished)?;
    replace_with(&unfinished, &path).map_err(|error| target_error(&path, error))?;
    Ok(report)
}

/// Takes the log of a database into it, so that its file alone is the whole of it. One that is damaged stays as it is.
fn settle(path: &Path) -> Result<(), OperatorError> {
    let settle = || -> rusqlite::Result<bool> {
        let connection = open::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // This alone undoes a transaction that was cut off.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
    };
    if fs::metadata(path).map_or(0, |metadata| metadata.len()) == 0 {
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

/// Gives a copy the name of the database. Whenever the process is killed, the one or the other has it and is whole.
fn replace_with(unfinished: &Path, path: &Path) -> io::Result<()> {
    // Nothing of it would be right.
    SearchIndex::remove(path).map_err(io::Error::other)?;
    // A log that is not this database's would be taken for its own.
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

/// Fills an empty file with a copy, and checks it. Removes the file where that fails.
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
        let report = check_database(&reader(target)?)?;
        match report.problems.len() {
            0 => Ok(report),
            problems => Err(OperatorError::Damaged { path: target.to_owned(), problems }),
        }
    };
    let outcome = write();
    if outcome.is_err() {
        // Whoever cannot remove it finds a file that no start and no restore takes for a history.
        fs::remove_file(target).unwrap_or_default();
    }
    outcome
}

fn copy_error(path: &Path, error: rusqlite::Error) -> OperatorError {
    OperatorError::Copy { path: path.to_owned(), error }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// On which side a copy fails.
enum CopyError {
    Source(rusqlite::Error),
    Target(rusqlite::Error),
}

fn fill(source: &Connection, target: &mut Connection) -> Result<(), CopyError> {
    use CopyError::{Source, Target};
    // Nothing of it is undone: where it fails, the file is removed.
    target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;").map_err(Target)?;
    let version = schema::version(source).map_err(Source)?;
    let transaction = target.transaction().map_err(Target)?;
    schema::make(&transaction, version).map_err(Target)?;
    copy_rows(source, &transaction, "rooms", "SELECT * FROM rooms", ())?;
    for (room, seq) in rooms(&transaction).map_err(Target)? {
        copy_messages(source, &transaction, room, seq)?;
    }
    copy_ids(source, &transaction)?;
    transaction.commit().map_err(Target)?;
    // Only now it is taken for a history.
    let transaction = target.transaction().map_err(Target)?;
    schema::migrate(&transaction).map_err(Target)?;
    mark_as_copy(&transaction).map_err(Target)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(Target)?;
    transaction.commit().map_err(Target)
}

/// The rooms, and the newest message of each.
fn rooms(connection: &Connection) -> rusqlite::Result<Vec<(DbRoom, u64)>> {
    let mut rooms = connection.prepare("SELECT id, seq FROM rooms")?;
    rooms.query_map([], |row| Ok((DbRoom(row.get(0)?), row.get(1)?)))?.collect()
}

/// Copies the messages of a room up to this one, in parts.
fn copy_messages(source: &Connection, target: &Connection, room: DbRoom, seq: u64) -> Result<(), CopyError> {
    use CopyError::{Source, Target};
    let (mut first, last) = (place(room, 0), place(room, seq));
    let select = "SELECT * FROM messages WHERE place BETWEEN ?1 AND ?2 ORDER BY place LIMIT ?3";
    while let Some(newest) = copy_rows(source, target, "messages", select, (first, last, PART))? {
        first = newest + 1;
    }
    // What was dropped in the meantime leaves a gap behind what was copied before: that goes, too.
    let mut oldest = source.prepare_cached("SELECT oldest FROM rooms WHERE id = ?1").map_err(Source)?;
    let oldest = match oldest.query_row([room.0], |row| row.get::<_, u64>(0)) {
        Ok(oldest) => oldest.min(seq + 1),
        Err(rusqlite::Error::QueryReturnedNoRows) => seq + 1,
        Err(error) => return Err(Source(error)),
    };
    let run = |sql: &str, parameters: (i64, i64)| -> Result<(), CopyError> {
        target.prepare_cached(sql).and_then(|mut statement| statement.execute(parameters)).map(drop).map_err(Target)
    };
    let kept = (place(room, 0), place(room, oldest));
    run("DELETE FROM messages WHERE place >= ?1 AND place < ?2", kept)?;
    run("UPDATE rooms SET oldest = ?2 WHERE id = ?1", (i64::from(room.0), oldest.cast_signed()))
}

/// Copies the `id`s of messages that were dropped, in parts.
fn copy_ids(source: &Connection, target: &Connection) -> Result<(), CopyError> {
    let mut after = i64::MIN;
    let select = "SELECT * FROM dropped_ids WHERE place > ?1 ORDER BY place LIMIT ?2";
    while let Some(newest) = copy_rows(source, target, "dropped_ids", select, (after, PART))? {
        after = newest;
    }
    // Those of messages that the copy has, and of rooms that it has not.
    let surplus = "DELETE FROM dropped_ids WHERE place IN (SELECT place FROM messages)
        OR place > (SELECT coalesce(max(seq), -1) + (place & ~?1) FROM rooms WHERE id = place >> ?2)";
    let (mask, bits) = (SEQ_MAX.cast_signed(), schema::SEQ_BITS);
    target.execute(surplus, (mask, bits)).map(drop).map_err(CopyError::Target)
}

/// Copies the rows that a query gives to the table of the same columns. Returns the first column of the last one.
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
