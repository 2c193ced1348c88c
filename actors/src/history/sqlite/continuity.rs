//! Decides whether a database is the one that was written last, so that its rooms may continue in their epochs.
//!
//! A database that was restored from a copy, or that lost its last commits in a power failure, would assign seqs again
//! that clients have already seen. Its rooms begin new epochs, and a client that resumes learns that nothing can be
//! recovered. The same applies to the rooms of a node of several servers whose history continues alone: the other nodes
//! continue in the old epochs, with other messages.
//!
//! Every start and every clean stop writes a random stamp into the database and into its lock file. A copy has an older
//! stamp, another inode, or no lock file beside it.
//!
//! The stamp also tells whether the write-ahead log belongs to the database beside it: SQLite would apply the log of
//! one database to another, and damage it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use log::warn;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::file::{FileIdentity, beside, open_without_log};
use super::open_error::OpenError;
use super::settings::synchronous;
use crate::history::Durability;

/// The row that the last start or clean stop wrote into the database.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LastStart {
    stamp: Stamp,
    inode: u64,
    /// The id of the machine's boot; empty if it is not known.
    boot: String,
    /// Whether each commit was on the disk before it was reported.
    is_durable: bool,
    /// Whether the process stopped cleanly, with everything stored.
    is_closed: bool,
}

/// A random number that is written into the database and into its lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(i64);

/// The reason that the rooms of a database begin new epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Doubt {
    #[error("it is a copy, or was restored from one")]
    Copy,
    #[error("the machine stopped without a clean stop of the server, and CHAT_HISTORY_SYNC was normal")]
    PowerCut,
    #[error("the server was not stopped cleanly, and its write-ahead log is missing or empty")]
    NoLog,
    #[error("the write-ahead log was removed, replaced or made shorter while the server ran")]
    Incomplete,
}

/// The stamps in the lock file. They differ only while the database is being given a new stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotedStamps {
    stamps: [Stamp; 2],
    /// Whether the file of the database has one of them, even without its log.
    are_in_file: bool,
}

/// Bytes of the stamps in the lock file.
const NOTED_BYTES: usize = 39;

/// Marks that the file of the database has one of the stamps. The other word has the same length.
const IN_FILE: &str = "file";
const IN_LOG: &str = "log ";

impl NotedStamps {
    /// Written instead of stamps when the database is known to lack acknowledged messages.
    const INCOMPLETE: Self = Self { stamps: [Stamp(0); 2], are_in_file: false };

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let mut stamp = || Some(Stamp(u64::from_str_radix(words.next()?, 16).ok()?.cast_signed()));
        Some(Self { stamps: [stamp()?, stamp()?], are_in_file: words.next() == Some(IN_FILE) })
    }

    fn read(lock: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; NOTED_BYTES];
        let length = lock.read_at(&mut bytes, 0)?;
        Ok(bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(Self::parse))
    }

    /// Whether a file contains only stamps, or nothing: then it is a lock file of this program. After a power failure
    /// it may contain zeros.
    pub(super) fn are_all_of(lock: &File) -> io::Result<bool> {
        let mut bytes = [0; NOTED_BYTES];
        let length = lock.read_at(&mut bytes, 0)?;
        let is_all = lock.metadata()?.len() <= bytes.len() as u64;
        let is_blank = bytes.iter().take(length).all(|byte| *byte == 0);
        Ok(is_all && (is_blank || Self::read(lock)?.is_some()))
    }

    /// Whether the lock file of a database contains stamps.
    pub(super) fn are_beside(database: &Path) -> bool {
        Self::beside(database).is_some()
    }

    fn beside(database: &Path) -> Option<Self> {
        File::open(beside(database, ".lock")).ok().and_then(|lock| Self::read(&lock).ok().flatten())
    }

    /// Writes both stamps in one call, so that a killed process leaves the old ones or the new ones.
    fn write(self, lock: &File) -> io::Result<()> {
        let [first, second] = self.stamps.map(|stamp| stamp.0.cast_unsigned());
        let place = if self.are_in_file { IN_FILE } else { IN_LOG };
        lock.write_all_at(format!("{first:016x} {second:016x} {place}\n").as_bytes(), 0)?;
        lock.sync_all()
    }
}

/// Whether the write-ahead log beside a database belongs to another database: somebody has replaced a database that was
/// not stopped cleanly with a copy.
pub(super) fn has_log_of_another(database: &Path) -> bool {
    if !fs::metadata(beside(database, "-wal")).is_ok_and(|log| log.len() > 0) {
        return false;
    }
    let before = NotedStamps::beside(database);
    // An unreadable file, as in the middle of a checkpoint, proves nothing.
    let Ok(Some(last)) = open_without_log(database).and_then(|file| last_start(&file)) else { return false };
    // A server may start meanwhile.
    let noted = [before, NotedStamps::beside(database)];
    noted.iter().all(|noted| noted.is_some_and(|noted| noted.are_in_file && !noted.stamps.contains(&last.stamp)))
}

/// The reason to doubt that a database contains everything that was acknowledged. `None` if there is no reason, or if
/// the database is of a version without stamps.
fn doubt(last: Option<&LastStart>, noted: Option<NotedStamps>, found: &Found<'_>) -> Option<Doubt> {
    let Found { inode, boot, has_log } = *found;
    let Some(last) = last else { return noted.map(|_| Doubt::Copy) };
    if noted == Some(NotedStamps::INCOMPLETE) {
        return Some(Doubt::Incomplete);
    }
    if last.inode != inode || !noted.is_some_and(|noted| noted.stamps.contains(&last.stamp)) {
        return Some(Doubt::Copy);
    }
    let is_same_boot = !boot.is_empty() && last.boot == boot;
    if last.is_closed {
        None
    } else if !last.is_durable && !is_same_boot {
        Some(Doubt::PowerCut)
    } else {
        (!has_log).then_some(Doubt::NoLog)
    }
}

/// The state that a start finds.
#[derive(Debug, Clone, Copy)]
struct Found<'a> {
    inode: u64,
    /// The id of the current boot; empty if it is not known.
    boot: &'a str,
    /// Whether a non-empty write-ahead log was beside the database. It always is while a server runs.
    has_log: bool,
}

/// Marks the database that this process writes.
#[derive(Debug)]
pub(super) struct Continuity {
    lock: File,
    inode: u64,
    boot: String,
    is_durable: bool,
}

/// How a database is opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    /// Whether a non-empty write-ahead log existed before.
    pub(super) had_log: bool,
    /// Whether the database follows no log of several nodes from now on.
    pub(super) goes_alone: bool,
    pub(super) durability: Durability,
}

/// Gives every room a new epoch.
const RENEW: &str = "UPDATE rooms SET epoch = random()";

/// Drops the read positions: they are numbers of the earlier epochs.
const DROP_POSITIONS: &str = "DELETE FROM read_positions";

/// The reason that a database cannot be marked.
#[derive(Debug, thiserror::Error)]
pub(super) enum MarkError {
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error(transparent)]
    Lock(#[from] io::Error),
}

impl MarkError {
    /// The reason that the database at this path is not opened.
    pub(super) fn at(self, path: &Path) -> OpenError {
        match self {
            Self::Database(error) => OpenError::of(path, error),
            Self::Lock(error) => OpenError::of_file(path, error),
        }
    }
}

impl Continuity {
    /// Marks a database as written by this process. If needed, its rooms begin new epochs first.
    pub(super) fn begin(
        connection: &mut Connection,
        lock: &File,
        identity: FileIdentity,
        opening: Opening,
    ) -> Result<Self, MarkError> {
        let Opening { had_log, goes_alone, durability } = opening;
        // Only Linux has this file. On other systems every unclean stop counts as a power failure.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let (inode, is_durable) = (identity.inode(), durability == Durability::Machine);
        let this = Self { lock: lock.try_clone()?, inode, boot, is_durable };
        // A power failure after the first message must not lose the mark.
        connection.pragma_update(None, "synchronous", "FULL")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let last = last_start(&transaction)?;
        let found = Found { inode, boot: &this.boot, has_log: had_log };
        if goes_alone && transaction.execute("DELETE FROM log_mark", [])? > 0 {
            let rooms = transaction.execute(RENEW, [])?;
            transaction.execute(DROP_POSITIONS, [])?;
            warn!(
                "the history was that of a node of several servers; from here on it is this server's alone, and its \
                 {rooms} rooms begin new epochs"
            );
        } else if let Some(doubt) = doubt(last.as_ref(), NotedStamps::read(lock)?, &found) {
            // A history that follows the log of several nodes gets its missing messages from the log.
            let rooms = transaction.execute(&format!("{RENEW} WHERE NOT EXISTS (SELECT 1 FROM log_mark)"), [])?;
            if rooms > 0 {
                transaction.execute(DROP_POSITIONS, [])?;
                warn!("the history may lack its last messages: {doubt}; its {rooms} rooms begin new epochs");
            }
        }
        let stamp = this.mark(transaction, false)?;
        this.note(connection, stamp)?;
        connection.pragma_update(None, "synchronous", synchronous(durability))?;
        Ok(this)
    }

    /// Records a clean stop: everything is stored.
    pub(super) fn end(&self, connection: &mut Connection) -> Result<(), MarkError> {
        let stamp = self.mark(connection.transaction_with_behavior(TransactionBehavior::Immediate)?, true)?;
        self.note(connection, stamp)
    }

    /// Records that the next start may lack acknowledged messages.
    pub(super) fn doubt(&self) -> io::Result<()> {
        NotedStamps::INCOMPLETE.write(&self.lock)
    }

    /// Revokes the record of [`doubt`](Self::doubt): all messages are stored after all.
    pub(super) fn trust(&self, connection: &mut Connection) -> Result<(), MarkError> {
        let stamp = self.mark(connection.transaction_with_behavior(TransactionBehavior::Immediate)?, false)?;
        self.note(connection, stamp)
    }

    /// Commits a transaction with a new stamp.
    fn mark(&self, transaction: Transaction<'_>, is_closed: bool) -> Result<Stamp, MarkError> {
        let new = random_stamp(&transaction)?;
        let old = last_start(&transaction)?.map_or(new, |last| last.stamp);
        let are_in_file = NotedStamps::read(&self.lock)? == Some(NotedStamps { stamps: [old; 2], are_in_file: true });
        // After a kill the database has one of the two stamps, and the lock file contains both.
        NotedStamps { stamps: [new, old], are_in_file }.write(&self.lock)?;
        let Self { inode, boot, is_durable, .. } = self;
        let start = LastStart { stamp: new, inode: *inode, boot: boot.clone(), is_durable: *is_durable, is_closed };
        write_last_start(&transaction, &start)?;
        transaction.commit()?;
        Ok(new)
    }

    /// Notes that the database has only this stamp, in the database file if the log can be checkpointed into it.
    fn note(&self, connection: &Connection, stamp: Stamp) -> Result<(), MarkError> {
        let taken = connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok(row.get::<_, i64>(1)? == row.get::<_, i64>(2)?));
        // The first message detects a full disk.
        Ok(NotedStamps { stamps: [stamp; 2], are_in_file: taken.unwrap_or(false) }.write(&self.lock)?)
    }
}

/// Marks a database as a copy: the next start with it begins new epochs, unless it follows the log of several nodes.
pub(super) fn mark_as_copy(connection: &Connection) -> rusqlite::Result<()> {
    let stamp = random_stamp(connection)?;
    let start = LastStart { stamp, inode: 0, boot: String::new(), is_durable: false, is_closed: true };
    write_last_start(connection, &start)
}

fn random_stamp(connection: &Connection) -> rusqlite::Result<Stamp> {
    connection.query_row("SELECT random()", [], |row| row.get(0).map(Stamp))
}

fn last_start(connection: &Connection) -> rusqlite::Result<Option<LastStart>> {
    let select = "SELECT stamp, inode, boot, is_durable, is_closed FROM last_start";
    let read = connection.query_row(select, [], |row| {
        Ok(LastStart {
            stamp: Stamp(row.get(0)?),
            inode: row.get::<_, i64>(1)?.cast_unsigned(),
            boot: row.get(2)?,
            is_durable: row.get(3)?,
            is_closed: row.get(4)?,
        })
    });
    read.optional()
}

fn write_last_start(connection: &Connection, start: &LastStart) -> rusqlite::Result<()> {
    let replace = "INSERT OR REPLACE INTO last_start (id, stamp, inode, boot, is_durable, is_closed)
        VALUES (1, ?1, ?2, ?3, ?4, ?5)";
    let LastStart { stamp, inode, boot, is_durable, is_closed } = start;
    connection.execute(replace, (stamp.0, inode.cast_signed(), boot, is_durable, is_closed))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_begin_new_epochs_where_the_database_may_lack_what_was_stored_last() {
        let last = LastStart { stamp: Stamp(7), inode: 1, boot: "b".into(), is_durable: false, is_closed: false };
        let durable = || LastStart { is_durable: true, ..last.clone() };
        let closed = || LastStart { is_closed: true, ..last.clone() };
        let noted = |stamps: [i64; 2]| Some(NotedStamps { stamps: stamps.map(Stamp), are_in_file: false });
        let here = Found { inode: 1, boot: "b", has_log: true };
        let (elsewhere, without_log) = (Found { boot: "c", ..here }, Found { has_log: false, ..here });
        let (copy, cut, no_log) = (Some(Doubt::Copy), Some(Doubt::PowerCut), Some(Doubt::NoLog));
        let cases = [
            ("killed, in the same boot", last.clone(), noted([7, 7]), here, None),
            ("killed while it was given a new stamp", last.clone(), noted([8, 7]), here, None),
            ("a copy from before the last start or stop", last.clone(), noted([8, 8]), here, copy),
            ("no lock file beside it", last.clone(), None, here, copy),
            ("another inode", last.clone(), noted([7, 7]), Found { inode: 2, ..here }, copy),
            ("another boot", last.clone(), noted([7, 7]), elsewhere, cut),
            ("an unknown boot", last.clone(), noted([7, 7]), Found { boot: "", ..here }, cut),
            ("another boot, and every commit was synced", durable(), noted([7, 7]), elsewhere, None),
            ("another boot after a clean stop", closed(), noted([7, 7]), elsewhere, None),
            ("killed, and the log is gone", durable(), noted([7, 7]), without_log, no_log),
            ("a clean stop removes the log", closed(), noted([7, 7]), without_log, None),
            ("the log was truncated while the server ran", closed(), noted([0, 0]), here, Some(Doubt::Incomplete)),
        ];
        for (what, last, noted, found, expected) in cases {
            assert_eq!(doubt(Some(&last), noted, &found), expected, "{what}");
        }
        assert_eq!(doubt(None, None, &here), None, "a new database, or a version without stamps");
        assert_eq!(doubt(None, noted([7, 7]), &here), copy, "a copy of a version without stamps");
    }

    #[test]
    fn noted_stamps_are_read_as_they_were_written() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(NotedStamps::read(&file).unwrap(), None);
        for (stamps, are_in_file) in [([i64::MIN, -1], true), ([0, i64::MAX], false)] {
            let noted = NotedStamps { stamps: stamps.map(Stamp), are_in_file };
            noted.write(&file).unwrap();
            assert_eq!(NotedStamps::read(&file).unwrap(), Some(noted));
            assert!(NotedStamps::are_all_of(&file).unwrap());
        }
        for garbage in ["x", "7", "7 x"] {
            assert_eq!(NotedStamps::parse(garbage), None);
        }
    }
}
