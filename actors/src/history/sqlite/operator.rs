//! The operator's commands on a database: check, export, vacuum, and drop of a room.

use std::fs::{self, File};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};
use starling_protocol::{Epoch, RoomName};

use super::lock::Lock;
use super::open_error::OpenError;
use super::page::{MESSAGE, entry};
use super::restored::log_mark;
use super::schema::{CHANGES_SINCE, DROPPED, DbRoom, SEQ_MAX, drop_step, mark_dropped, of_place, place, version};
use super::written::{Opener, WrittenDatabase};
use super::{SqliteSettings, connections, file, ownership, search};
use crate::history::{Durability, RoomKey, StoredMessage};

/// The reason that an operator's command failed.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// No database exists at the path.
    #[error("there is no history at {0}")]
    NotThere(PathBuf),
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// SQLite reports an error.
    #[error("the history cannot be used")]
    Database(#[from] rusqlite::Error),
    /// The search index cannot be compacted.
    #[error("the search index cannot be compacted: {0}")]
    Index(String),
    /// The history has no room of this name.
    #[error("there is no room {0} in the history")]
    NoSuchRoom(RoomName),
    /// The history has no such room or inbox to drop.
    #[error("there is no {} in the history", named(.0))]
    NothingToDrop(RoomKey),
    /// The history is the copy of a node, and the change would make it differ from those of the other nodes.
    #[error(
        "{0} is the history of a node: without the room it would differ from those of the other nodes; use the \
         operators' routes of a running node"
    )]
    OfNode(PathBuf),
    /// The target of a backup already exists.
    #[error("{0} already exists, and a backup overwrites no file")]
    Exists(PathBuf),
    /// The name of the target is not allowed.
    #[error("cannot write {path}: {reason}")]
    UnfitTarget {
        /// The path.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// A restore without `--replace` would overwrite a history.
    #[error("a history already exists at {0}; --replace would overwrite it")]
    WouldReplace(PathBuf),
    /// The source of a restore is the history itself.
    #[error("{0} is the history itself")]
    Itself(PathBuf),
    /// The source of a restore, or a finished copy, is damaged.
    #[error("{path} is damaged: {problems} problems")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The number of problems that the check has found.
        problems: usize,
    },
    /// A file cannot be created.
    #[error("cannot write {path}: {error}")]
    Target {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// A copy cannot be written.
    #[error("cannot write {path}: {error}")]
    Copy {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        error: rusqlite::Error,
    },
    /// The exported messages cannot be written to the output.
    #[error("the output cannot be written")]
    Write(#[from] std::io::Error),
}

fn named(key: &RoomKey) -> String {
    key.owner().map_or_else(|| format!("room {key}"), |owner| format!("inbox of {owner}"))
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// The version of the schema.
    pub version: u32,
    /// The number of rooms.
    pub rooms: u64,
    /// The number of messages in these rooms.
    pub messages: u64,
    /// Descriptions of all problems, for the operator.
    pub problems: Vec<String>,
}

/// The first version of the schema with private messages.
const PEER_SINCE: u32 = 3;

/// The largest number of messages that an export reads at once.
const EXPORTED_AT_ONCE: u32 = 128;

/// The largest number of rows that one commit drops: messages, and `id`s of messages that were dropped before.
const DROP_STEP: u64 = 4_096;

/// The beginning of each problem of the search index.
const INDEX: &str = "the search index (the server rebuilds it if its file is removed)";

/// The largest number of reported problems of one kind.
const PROBLEMS_MAX: usize = 20;

/// A connection that reads a database.
#[derive(Debug)]
pub(super) struct Reader {
    connection: Connection,
    /// Keeps servers away from a database at rest.
    _lock: Option<File>,
}

impl Deref for Reader {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Opens a read-only connection to an existing database.
pub(super) fn reader(path: &Path) -> Result<Reader, OperatorError> {
    if !path.exists() {
        return Err(OperatorError::NotThere(path.to_owned()));
    }
    let path = file::locate(path)?;
    ownership::check(&path)?;
    match connections::inspect(&path) {
        Ok(()) => Ok(Reader { connection: connections::open_reader(&path)?, _lock: None }),
        Err(error @ (OpenError::DiskFull { .. } | OpenError::Database { .. })) => {
            match connections::open_at_rest(&path)? {
                Some((connection, lock)) => Ok(Reader { connection, _lock: lock }),
                None => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads the whole database and checks its invariants. Changes nothing; a server may be running.
///
/// # Errors
/// [`OperatorError`], if the database cannot be read at all.
pub fn check(path: &Path) -> Result<CheckReport, OperatorError> {
    let reader = reader(path)?;
    let mut report = check_database(&reader)?;
    match search::problems(&file::locate(path)?) {
        Ok(problems) => report.problems.extend(problems.into_iter().map(|problem| format!("{INDEX}: {problem}"))),
        Err(error) => report.problems.push(format!("{INDEX}: {error}")),
    }
    Ok(report)
}

/// Checks the invariants of a database, without its search index.
pub(super) fn check_database(connection: &Connection) -> Result<CheckReport, OperatorError> {
    let mut report = CheckReport { version: version(connection)?, ..CheckReport::default() };
    // One snapshot of the database, even while a server writes.
    let moment = connection.unchecked_transaction()?;
    let mut integrity = moment.prepare("PRAGMA integrity_check(20)")?;
    let found = integrity.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    report.problems.extend(found.into_iter().filter(|line| line != "ok"));
    let mut rooms = moment.prepare("SELECT id, name, seq, oldest FROM rooms ORDER BY id")?;
    let mut rows = rooms.query([])?;
    // The entries of the rooms: messages, and since a version also changes.
    let (entries, of_messages) = if report.version >= CHANGES_SINCE {
        ("(SELECT place, 1 AS is_message FROM messages UNION ALL SELECT place, 0 FROM changes)", "sum(is_message)")
    } else {
        ("messages", "count(*)")
    };
    let mut of_room = moment.prepare(&format!(
        "SELECT count(*), coalesce(min(place), 0), coalesce(max(place), 0), coalesce({of_messages}, 0) FROM {entries}
         WHERE place BETWEEN ?1 AND ?2"
    ))?;
    while let Some(row) = rows.next()? {
        let (number, name) = (DbRoom(row.get(0)?), row.get::<_, String>(1)?);
        let (seq, oldest): (u64, u64) = (row.get(2)?, row.get(3)?);
        let (count, first, last, messages): (u64, i64, i64, u64) = of_room
            .query_row((place(number, 0), place(number, SEQ_MAX)), |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
        report.rooms += 1;
        report.messages += messages;
        let is_whole = if count == 0 {
            oldest == seq + 1
        } else {
            (of_place(first).1, of_place(last).1, count) == (oldest, seq, seq + 1 - oldest)
        };
        if !is_whole && report.problems.len() < PROBLEMS_MAX {
            let (first, last) = (of_place(first).1, of_place(last).1);
            report.problems.push(format!(
                "room {name} should have the messages {oldest} to {seq} and has {count}, from {first} to {last}"
            ));
        }
    }
    let all: u64 = moment.query_row("SELECT count(*) FROM messages", [], |row| row.get(0))?;
    if all != report.messages {
        report.problems.push(format!("{} messages belong to no room", all.abs_diff(report.messages)));
    }
    Ok(report)
}

/// Passes every message of one room, or of all rooms, to `take`, with all its changes: room by room, in order. Changes nothing; a server may
/// be running. Messages that the server stores or drops during the export may or may not be included.
///
/// # Errors
/// [`OperatorError`], and the errors of `take`.
pub fn export(
    path: &Path,
    room: Option<&RoomName>,
    mut take: impl FnMut(&StoredMessage, Epoch) -> std::io::Result<()>,
) -> Result<(), OperatorError> {
    let connection = reader(path)?;
    // The name of a dropped room is not a valid room name.
    let mut rooms = connection.prepare(
        "SELECT id, name, epoch, seq FROM rooms WHERE name NOT LIKE ?2 AND (?1 IS NULL OR name = ?1) ORDER BY name",
    )?;
    let rooms = rooms.query_map((room.map(RoomName::as_str), format!("{DROPPED}%")), |row| {
        let (number, name): (_, String) = (DbRoom(row.get(0)?), row.get(1)?);
        let epoch = Epoch(row.get::<_, i64>(2)?.cast_unsigned());
        Ok((number, parsed(RoomKey::parse(&name))?, epoch, row.get::<_, u64>(3)?))
    });
    let rooms = rooms?.collect::<rusqlite::Result<Vec<_>>>()?;
    let columns = match version(&connection)? {
        CHANGES_SINCE.. => MESSAGE,
        PEER_SINCE.. => "place, at, client_id, id, text, peer, NULL, NULL, NULL, NULL, NULL, NULL",
        _ => "place, at, client_id, id, text, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
    };
    let select = format!("SELECT {columns} FROM messages WHERE place BETWEEN ?1 AND ?2 ORDER BY place LIMIT ?3");
    let mut messages = connection.prepare(&select)?;
    let is_there = !rooms.is_empty();
    for (number, name, epoch, seq) in rooms {
        // Each part is read completely before it is passed on, so that a slow receiver does not keep the server's log
        // from being checkpointed.
        let (mut first, last) = (place(number, 0), place(number, seq));
        loop {
            let part = messages.query_map((first, last, EXPORTED_AT_ONCE), |row| entry(&name, row))?;
            let part = part.collect::<rusqlite::Result<Vec<_>>>()?;
            let Some(newest) = part.last() else { break };
            first = place(number, newest.seq.0) + 1;
            for message in &part {
                take(message, epoch)?;
            }
        }
    }
    match room {
        Some(room) if !is_there => Err(OperatorError::NoSuchRoom(room.clone())),
        Some(_) | None => Ok(()),
    }
}

fn parsed<T, E: std::error::Error + Send + std::marker::Sync + 'static>(value: Result<T, E>) -> rusqlite::Result<T> {
    value.map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error)))
}

/// Opens the existing database of the settings for writing, like a server does. No server may be running.
///
/// The caller must drop the lock after the database.
fn change(settings: &SqliteSettings) -> Result<(Lock, WrittenDatabase), OpenError> {
    ownership::check(&settings.path)?;
    let mut lock = Lock::take(&settings.path)?;
    let database = WrittenDatabase::open(settings, &lock, Opener::Command)?;
    lock.keep();
    Ok((lock, database))
}

/// Rewrites the database as compactly as possible. Returns its bytes before and after. No server may be running.
///
/// # Errors
/// [`OperatorError`], also if a server holds the database.
pub fn vacuum(settings: &SqliteSettings) -> Result<(u64, u64), OperatorError> {
    let path = settings.path.as_path();
    if !path.exists() {
        return Err(OperatorError::NotThere(path.to_owned()));
    }
    let path = file::locate(path)?;
    let path = path.as_path();
    ownership::check_index(path)?;
    let index = file::beside(path, file::SEARCH_ENDING);
    let size =
        || -> std::io::Result<u64> { Ok(fs::metadata(path)?.len() + fs::metadata(&index).map_or(0, |i| i.len())) };
    let before = size()?;
    let (_lock, database) =
        change(&SqliteSettings { path: path.to_owned(), durability: Durability::Machine, ..settings.clone() })?;
    database.connection.execute_batch("VACUUM")?;
    database.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    search::vacuum(connections::open_reader(path)?, path).map_err(|error| OperatorError::Index(error.to_string()))?;
    drop(database);
    Ok((before, size()?))
}

/// Drops a room or an inbox with all its messages. Returns the number of messages. No server may be running.
///
/// # Errors
/// [`OperatorError`], also if a server holds the database.
pub fn drop_room(settings: &SqliteSettings, key: &RoomKey) -> Result<u64, OperatorError> {
    let path = settings.path.as_path();
    if !path.exists() {
        return Err(OperatorError::NotThere(path.to_owned()));
    }
    let settings = SqliteSettings { path: file::locate(path)?, durability: Durability::Machine, ..settings.clone() };
    let (_lock, mut database) = change(&settings)?;
    let connection = &mut database.connection;
    if log_mark(connection)?.is_some() {
        return Err(OperatorError::OfNode(settings.path));
    }
    let found = connection.query_row("SELECT id FROM rooms WHERE name = ?1", [key.to_string()], |row| row.get(0));
    let room = DbRoom(found.optional()?.ok_or_else(|| OperatorError::NothingToDrop(key.clone()))?);
    mark_dropped(connection, room)?;
    let mut count = 0;
    loop {
        let transaction = connection.transaction()?;
        let step = drop_step(&transaction, room, DROP_STEP)?;
        transaction.commit()?;
        count += step.messages;
        if step.rows < DROP_STEP {
            break;
        }
    }
    Ok(count)
}
