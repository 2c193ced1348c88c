//! The search index: a file beside the database that can be rebuilt from it at any time.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::ffi::SQLITE_ERROR;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::super::connections;
use super::super::file::{Rights, SEARCH_ENDING, beside, open_without_log};
use super::super::ownership::{self, INDEX_ID};
use super::super::schema::{self, DROPPED, DbRoom, of_place, place};
use super::words;

/// The version of the index. An index of another version is rebuilt.
const VERSION: u32 = 3;

/// The rowid of a text is the place of its message in the database. A row of `indexed` states which entries of a room
/// the index contains: all from `first` to `last`, in the room's `epoch`, of which so many are messages. A message has
/// the text that its changes up to `last` have made. A row in `removed`: the file still has words of texts that were
/// edited or deleted, although no search finds them.
const TABLES: &str = "
    CREATE TABLE indexed (
        room INTEGER PRIMARY KEY,
        epoch INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        messages INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE removed (id INTEGER PRIMARY KEY) STRICT;
    CREATE VIRTUAL TABLE texts USING fts5 (
        text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
    );";

/// The number of pages that one step of a purge writes.
const PURGED_AT_ONCE: i32 = 64;

/// How long to wait while an operator's command holds the index.
const BUSY: Duration = Duration::from_secs(2);

/// The reason that the index cannot be updated or searched.
#[derive(Debug, thiserror::Error)]
pub(in crate::history::sqlite) enum IndexError {
    #[error("the history cannot be read: {0}")]
    History(rusqlite::Error),
    /// The index is as it was, but this query cannot be carried out.
    #[error("a search cannot be carried out: {0}")]
    Query(rusqlite::Error),
    #[error("the search index cannot be used: {0}")]
    Index(#[from] rusqlite::Error),
    #[error("the search index cannot be used: {0}")]
    File(#[from] io::Error),
    #[error(
        "messages cannot be searched: {} is not a file of this program, or has several hard links; move it away",
        .0.display()
    )]
    Foreign(PathBuf),
}

impl IndexError {
    /// Whether the index file is damaged.
    pub(super) fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let Self::Index(error) = self else { return false };
        matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
    }
}

/// The error of a query. SQLite reports an expression that it cannot parse as an error of SQL, and what is wrong with the
/// file with codes of their own.
fn of_query(error: rusqlite::Error) -> IndexError {
    match error.sqlite_error().map(|error| error.extended_code) {
        Some(SQLITE_ERROR) => IndexError::Query(error),
        _ => IndexError::Index(error),
    }
}

/// The rest of the work that one step may do.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) rows: u64,
    pub(super) bytes: usize,
}

impl Budget {
    pub(super) fn is_spent(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }

    fn spend(&mut self, rows: u64, bytes: usize) {
        (self.rows, self.bytes) = (self.rows.saturating_sub(rows), self.bytes.saturating_sub(bytes));
    }
}

/// The entries of a room in the database, or in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    epoch: i64,
    first: u64,
    last: u64,
    /// The messages among them, if it is the extent of the index.
    messages: u64,
}

/// The indexed part of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Followed {
    /// The newest message that a search can find; 0 if there is none.
    pub(super) last: u64,
    /// Whether the index contains exactly the messages of the room in the database.
    pub(super) is_done: bool,
}

/// An open index.
#[derive(Debug)]
pub(in crate::history::sqlite) struct SearchIndex {
    pub(super) connection: Connection,
    /// Whether the index has just been created.
    pub(super) is_new: bool,
}

impl SearchIndex {
    /// Opens the index of a database. An index that does not exist, or has another version, is created. A file of
    /// another program is not changed, and opening fails.
    pub(in crate::history::sqlite) fn open(database: &Path) -> Result<Self, IndexError> {
        check(database)?;
        match Rights::of(&fs::metadata(database)?).create_new(&beside(database, SEARCH_ENDING)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connect = || -> rusqlite::Result<_> {
            let connection = Connection::open_with_flags(beside(database, SEARCH_ENDING), flags)?;
            connection.busy_timeout(BUSY)?;
            let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
            let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok((connection, tables == 0, (application, version) == (INDEX_ID, VERSION)))
        };
        let (mut connection, mut is_empty, is_ours) = connect()?;
        if !is_empty && !is_ours {
            drop(connection);
            Self::remove(database)?;
            (connection, is_empty, _) = connect()?;
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // Entries that a power failure loses are indexed again.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "journal_size_limit", 4 * 1024 * 1024)?;
        connection.pragma_update(None, "cache_size", -4_096)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "secure_delete", "ON")?;
        if is_empty {
            let transaction = connection.transaction()?;
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", INDEX_ID)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
        }
        Ok(Self { connection, is_new: is_empty })
    }

    /// Removes the index of a database, so that it is rebuilt. If one of its files belongs to another program, no file
    /// is removed.
    pub(in crate::history::sqlite) fn remove(database: &Path) -> Result<(), IndexError> {
        check(database)?;
        for ending in ["", "-wal", "-shm", "-journal"] {
            // Some of them may not exist. If a removal fails, opening the index fails too and is logged.
            fs::remove_file(beside(database, &format!("{SEARCH_ENDING}{ending}"))).unwrap_or_default();
        }
        Ok(())
    }

    /// The numbers of the next indexed rooms, from `from` on.
    pub(super) fn rooms(&self, from: u32, count: u32) -> rusqlite::Result<Vec<DbRoom>> {
        numbers(&self.connection, "SELECT room FROM indexed WHERE room >= ?1 ORDER BY room LIMIT ?2", from, count)
    }

    /// Updates the index of a room within the budget. The caller provides the transaction of the index.
    pub(super) fn follow(
        &self,
        history: &Connection,
        room: DbRoom,
        budget: &mut Budget,
    ) -> Result<Followed, IndexError> {
        budget.spend(1, 0);
        let stored = stored(history, room).map_err(IndexError::History)?;
        let indexed = self.indexed(room)?;
        if let Some(mut indexed) = indexed
            && stored.is_none_or(|stored| {
                stored.epoch != indexed.epoch || stored.last < indexed.last || indexed.last + 1 < stored.first
            })
        {
            // The index has none of the messages that the room has now.
            self.drop_front(room, &mut indexed, u64::MAX, budget)?;
            self.note(room, indexed)?;
            if indexed.first <= indexed.last {
                return Ok(Followed { last: 0, is_done: false });
            }
            return self.extend(history, room, stored, None, budget);
        }
        self.extend(history, room, stored, indexed, budget)
    }

    fn extend(
        &self,
        history: &Connection,
        room: DbRoom,
        stored: Option<Extent>,
        indexed: Option<Extent>,
        budget: &mut Budget,
    ) -> Result<Followed, IndexError> {
        let Some(stored) = stored else { return Ok(Followed { last: 0, is_done: true }) };
        let mut extent = indexed.unwrap_or(Extent {
            epoch: stored.epoch,
            first: stored.first,
            last: stored.first.saturating_sub(1),
            messages: 0,
        });
        if extent.last < stored.last {
            self.add(history, room, &mut extent, stored.last, budget)?;
        }
        self.drop_front(room, &mut extent, stored.first, budget)?;
        if indexed != Some(extent) {
            self.note(room, extent)?;
        }
        let is_done = extent.last == stored.last && extent.first >= stored.first;
        Ok(Followed { last: extent.last, is_done })
    }

    /// Indexes the next messages of a room up to `last`.
    fn add(
        &self,
        history: &Connection,
        room: DbRoom,
        extent: &mut Extent,
        last: u64,
        budget: &mut Budget,
    ) -> Result<(), IndexError> {
        let read = || -> rusqlite::Result<_> {
            history.prepare_cached(
                "SELECT place, NULL, text FROM messages WHERE place BETWEEN ?1 AND ?2
                 UNION ALL SELECT place, of, NULL FROM changes
                    WHERE place BETWEEN ?1 AND ?2 AND kind IN ('edit', 'deletion') ORDER BY 1",
            )
        };
        let mut select = read().map_err(IndexError::History)?;
        let span = (place(room, extent.last + 1), place(room, last));
        let mut rows = select.query(span).map_err(IndexError::History)?;
        while !budget.is_spent() {
            let Some(row) = rows.next().map_err(IndexError::History)? else {
                extent.last = last;
                return Ok(());
            };
            let columns = || -> rusqlite::Result<(i64, Option<i64>)> { Ok((row.get(0)?, row.get(1)?)) };
            let (at, changed) = columns().map_err(IndexError::History)?;
            match changed {
                None => {
                    let text = row.get_ref(2).and_then(|text| Ok(text.as_str()?));
                    self.add_text(at, text.map_err(IndexError::History)?, budget)?;
                    extent.messages += 1;
                }
                // An earlier message is no longer in the index.
                Some(of) if of_place(of).1 >= extent.first && self.remove_text(of)? => {
                    self.connection.prepare_cached("INSERT OR IGNORE INTO removed (id) VALUES (1)")?.execute([])?;
                    self.add_text(of, &newest_text(history, of).map_err(IndexError::History)?, budget)?;
                }
                Some(_) => budget.spend(1, 0),
            }
            extent.last = of_place(at).1;
        }
        Ok(())
    }

    fn add_text(&self, at: i64, text: &str, budget: &mut Budget) -> Result<(), IndexError> {
        let mut insert = self.connection.prepare_cached("INSERT INTO texts (rowid, text) VALUES (?1, ?2)")?;
        insert.execute((at, &*words::apart(text)))?;
        budget.spend(1, text.len());
        Ok(())
    }

    /// Removes the text at this place. Returns whether there was one.
    fn remove_text(&self, at: i64) -> rusqlite::Result<bool> {
        let mut find = self.connection.prepare_cached("SELECT 1 FROM texts_docsize WHERE id = ?1")?;
        if !find.exists([at])? {
            return Ok(false);
        }
        self.connection.prepare_cached("DELETE FROM texts WHERE rowid = ?1")?.execute([at])?;
        Ok(true)
    }

    /// Removes indexed messages before `until`, the oldest first.
    fn drop_front(
        &self,
        room: DbRoom,
        extent: &mut Extent,
        until: u64,
        budget: &mut Budget,
    ) -> Result<(), rusqlite::Error> {
        let until = until.min(extent.last + 1).min(extent.first.saturating_add(budget.rows));
        let Range { start, end } = extent.first..until.max(extent.first);
        for seq in start..end {
            extent.messages -= u64::from(self.remove_text(place(room, seq))?);
        }
        budget.spend(end - start, 0);
        extent.first = end;
        Ok(())
    }

    fn indexed(&self, room: DbRoom) -> rusqlite::Result<Option<Extent>> {
        let mut select =
            self.connection.prepare_cached("SELECT epoch, first, last, messages FROM indexed WHERE room = ?1")?;
        select.query_row([room.0], extent).optional()
    }

    fn note(&self, room: DbRoom, Extent { epoch, first, last, messages }: Extent) -> rusqlite::Result<()> {
        if first > last {
            self.connection.prepare_cached("DELETE FROM indexed WHERE room = ?1")?.execute([room.0])?;
            return Ok(());
        }
        let mut note = self.connection.prepare_cached(
            "INSERT OR REPLACE INTO indexed (room, epoch, first, last, messages) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        note.execute((room.0, epoch, first, last, messages))?;
        Ok(())
    }

    /// Passes the places of the matching messages to `take`, the newest first, until `take` returns `true`.
    pub(super) fn find(
        &self,
        expression: &str,
        (first, last): (i64, i64),
        mut take: impl FnMut(i64) -> Result<bool, IndexError>,
    ) -> Result<(), IndexError> {
        let mut select = self.connection.prepare_cached(
            "SELECT rowid FROM texts WHERE texts MATCH ?1 AND rowid BETWEEN ?2 AND ?3 ORDER BY rowid DESC",
        )?;
        let mut rows = select.query((expression, first, last))?;
        while let Some(row) = rows.next().map_err(of_query)? {
            if take(row.get(0)?)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether the file has words of removed texts.
    pub(super) fn has_removed(&self) -> rusqlite::Result<bool> {
        self.connection.prepare_cached("SELECT 1 FROM removed")?.exists([])
    }

    /// Begins to rewrite all words of the index, so that those of removed texts are gone.
    pub(super) fn begin_purge(&self) -> rusqlite::Result<()> {
        self.merge(-PURGED_AT_ONCE)
    }

    /// Rewrites the next words. Returns whether all are rewritten.
    pub(super) fn go_on_purging(&self) -> rusqlite::Result<bool> {
        let before = self.connection.total_changes();
        self.merge(PURGED_AT_ONCE)?;
        // FTS5 changes its own record in any case.
        let is_done = self.connection.total_changes() - before < 2;
        if is_done {
            self.connection.execute("DELETE FROM removed", [])?;
        }
        Ok(is_done)
    }

    fn merge(&self, pages: i32) -> rusqlite::Result<()> {
        let mut merge = self.connection.prepare_cached("INSERT INTO texts (texts, rank) VALUES ('merge', ?1)")?;
        merge.execute([pages]).map(drop)
    }

    /// Moves the write-ahead log into the index before the end. If it fails, the next process does it.
    pub(super) fn settle(&self) {
        // The close would do it too, but not if an interrupt has come meanwhile.
        let settled = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        settled.unwrap_or_default();
    }

    /// Rewrites the index as compactly as possible.
    pub(super) fn vacuum(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("INSERT INTO texts (texts) VALUES ('optimize'); DELETE FROM removed; VACUUM;")?;
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }
}

/// The text that the message at this place has now; none if retention has dropped it.
fn newest_text(history: &Connection, at: i64) -> rusqlite::Result<String> {
    let mut select = history.prepare_cached("SELECT text FROM messages WHERE place = ?1")?;
    Ok(select.query_row([at], |row| row.get(0)).optional()?.unwrap_or_default())
}

/// Fails if one of the index's files belongs to another program.
fn check(database: &Path) -> Result<(), IndexError> {
    ownership::foreign_index(database)?.map_or(Ok(()), |file| Err(IndexError::Foreign(file)))
}

/// Describes the problems of a database's index; empty if there is no index. A server may be running.
///
/// Where nothing can be written, an index without a log is read as it is: a server that has it open would have made one.
pub(in crate::history::sqlite) fn problems(database: &Path) -> Result<Vec<String>, IndexError> {
    check(database)?;
    let path = beside(database, SEARCH_ENDING);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let has = |ending| fs::metadata(beside(&path, ending)).is_ok_and(|file| file.len() > 0);
    let (connection, version) = match open_with_log(&path) {
        Err(error) if has("-wal") || has("-journal") => return Err(error.into()),
        Err(_) => {
            let connection = open_without_log(&path)?;
            let version = schema::version(&connection)?;
            (connection, version)
        }
        Ok(opened) => opened,
    };
    if version == 0 {
        // The process that created the file was killed before it created the tables.
        return Ok(Vec::new());
    }
    let moment = connection.unchecked_transaction()?;
    let mut integrity = moment.prepare("PRAGMA integrity_check(20)")?;
    let found = integrity.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut problems: Vec<_> = found.into_iter().filter(|line| line != "ok").collect();
    let count = |sql: &str| moment.query_row(sql, [], |row| row.get::<_, u64>(0));
    let noted = count("SELECT coalesce(sum(messages), 0) FROM indexed")?;
    let there = count("SELECT count(*) FROM texts_docsize")?;
    if noted != there {
        problems.push(format!("it should have {noted} messages and has {there}"));
    }
    Ok(problems)
}

/// Opens an index, and reads its version.
fn open_with_log(path: &Path) -> rusqlite::Result<(Connection, u32)> {
    connections::recover(path)?;
    let connection = connections::open_reader(path)?;
    let version = schema::version(&connection)?;
    Ok((connection, version))
}

fn extent(row: &rusqlite::Row<'_>) -> rusqlite::Result<Extent> {
    Ok(Extent { epoch: row.get(0)?, first: row.get(1)?, last: row.get(2)?, messages: row.get(3)? })
}

/// The messages of a room in the database. `None` if the room does not exist, was dropped, or is empty.
fn stored(history: &Connection, room: DbRoom) -> rusqlite::Result<Option<Extent>> {
    let mut select =
        history.prepare_cached("SELECT epoch, oldest, seq, 0, substr(name, 1, 1) = ?2 FROM rooms WHERE id = ?1")?;
    let found = select.query_row((room.0, DROPPED.to_string()), |row| Ok((extent(row)?, row.get::<_, bool>(4)?)));
    Ok(found.optional()?.filter(|(extent, is_dropped)| !is_dropped && extent.first <= extent.last).map(|found| found.0))
}

/// The numbers of the next rooms in the database, from `from` on.
pub(super) fn stored_rooms(history: &Connection, from: u32, count: u32) -> rusqlite::Result<Vec<DbRoom>> {
    numbers(history, "SELECT id FROM rooms WHERE id >= ?1 ORDER BY id LIMIT ?2", from, count)
}

fn numbers(connection: &Connection, sql: &str, from: u32, count: u32) -> rusqlite::Result<Vec<DbRoom>> {
    let mut select = connection.prepare_cached(sql)?;
    select.query_map((from, count), |row| row.get(0).map(DbRoom))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_that_cannot_be_parsed_is_the_fault_of_the_query_and_not_of_the_index() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("starling.db");
        Connection::open(&database).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        let index = SearchIndex::open(&database).unwrap();
        let find = |expression| index.find(expression, (0, 9), |_| Ok(false));
        for expression in ["\"", "\"a", "(", "a AND", "nowhere:a", "*"] {
            assert!(matches!(find(expression), Err(IndexError::Query(_))), "{expression}");
        }
        assert!(find("\"a\"").is_ok());
    }
}
