//! Whether a database is the one that was written last, so that its rooms go on in their epochs.
//!
//! A database that was put back from a copy, or that lost its last commits with the power, gives seqs again that
//! clients have seen. Its rooms begin new epochs: whoever resumes is told that nothing can be recovered.
//!
//! Every start and every clean stop writes a random stamp into the database, and into the file that locks it. A copy
//! has an older stamp, or another inode, or no such file beside it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use log::warn;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::file::{FileIdentity, beside};
use super::settings::synchronous;
use crate::history::Durability;

/// What the database says of the start that wrote it last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LastStart {
    stamp: Stamp,
    inode: u64,
    /// Which boot of the machine it was in; empty where that is not known.
    boot: String,
    /// Whether each commit was on the disk before it counted.
    is_durable: bool,
    /// Whether it has ended with everything stored.
    is_closed: bool,
}

/// A random number that is written into the database and beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(i64);

/// Why the rooms of a database begin new epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Doubt {
    #[error("it is a copy, or was put back from one")]
    Copy,
    #[error("the machine stopped without a clean stop of the server, and CHAT_HISTORY_SYNC was normal")]
    PowerCut,
    #[error("the server was not stopped cleanly, and its write-ahead log is not there or empty")]
    NoLog,
    #[error("the write-ahead log was removed, replaced or made shorter while the server ran")]
    Incomplete,
}

/// The stamps that stand in the file that locks the database: two while the database is given a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotedStamps([Stamp; 2]);

/// Bytes of a stamp as it is noted, with what follows it.
const NOTED_BYTES: usize = 17;

impl NotedStamps {
    /// Stands in place of the stamps where the database is known to lack what was acknowledged.
    const INCOMPLETE: Self = Self([Stamp(0); 2]);

    fn parse(text: &str) -> Option<Self> {
        let mut stamps = text.split_whitespace().map(|stamp| u64::from_str_radix(stamp, 16).ok());
        let (first, second) = (stamps.next()??, stamps.next()??);
        Some(Self([first, second].map(|stamp| Stamp(stamp.cast_signed()))))
    }

    fn read(lock: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; 2 * NOTED_BYTES];
        let length = lock.read_at(&mut bytes, 0)?;
        Ok(bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(Self::parse))
    }

    /// Whether a file has nothing but stamps, or nothing: a file that this program locks, and no other's. After a power cut
    /// it may have zeros.
    pub(super) fn are_all_of(lock: &File) -> io::Result<bool> {
        let mut bytes = [0; 2 * NOTED_BYTES];
        let length = lock.read_at(&mut bytes, 0)?;
        let is_all = lock.metadata()?.len() <= bytes.len() as u64;
        let is_blank = bytes.iter().take(length).all(|byte| *byte == 0);
        Ok(is_all && (is_blank || Self::read(lock)?.is_some()))
    }

    /// Whether there are some beside a database.
    pub(super) fn are_beside(database: &Path) -> bool {
        File::open(beside(database, ".lock")).is_ok_and(|lock| Self::read(&lock).is_ok_and(|noted| noted.is_some()))
    }

    /// Writes them at once, so that a kill leaves the old ones or the new ones.
    fn write(self, lock: &File) -> io::Result<()> {
        let [first, second] = self.0.map(|stamp| stamp.0.cast_unsigned());
        lock.write_all_at(format!("{first:016x} {second:016x}\n").as_bytes(), 0)?;
        lock.sync_all()
    }
}

/// Why it is not certain that a database ends with what was stored last. `None`: it does, or it is of a version that
/// noted nothing.
fn doubt(last: Option<&LastStart>, noted: Option<NotedStamps>, found: &Found<'_>) -> Option<Doubt> {
    let Found { inode, boot, has_log } = *found;
    let Some(last) = last else { return noted.map(|_| Doubt::Copy) };
    if noted == Some(NotedStamps::INCOMPLETE) {
        return Some(Doubt::Incomplete);
    }
    if last.inode != inode || !noted.is_some_and(|noted| noted.0.contains(&last.stamp)) {
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

/// What a start finds.
#[derive(Debug, Clone, Copy)]
struct Found<'a> {
    inode: u64,
    /// Which boot of the machine it is in; empty where that is not known.
    boot: &'a str,
    /// Whether a write-ahead log with something in it was beside the database. A server that runs has one.
    has_log: bool,
}

/// The database as this process writes it.
#[derive(Debug)]
pub(super) struct Continuity {
    lock: File,
    inode: u64,
    boot: String,
    is_durable: bool,
}

/// Why a database cannot be marked as ours.
#[derive(Debug, thiserror::Error)]
pub(super) enum MarkError {
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error(transparent)]
    Lock(#[from] io::Error),
}

impl Continuity {
    /// Marks a database as written by this process, after its rooms have begun new epochs where that is needed. `had_log`:
    /// whether a write-ahead log with something in it was there before the database was opened.
    pub(super) fn begin(
        connection: &mut Connection,
        lock: &File,
        identity: FileIdentity,
        had_log: bool,
        durability: Durability,
    ) -> Result<Self, MarkError> {
        // Not readable on other systems than Linux; then every stop that is not clean counts as a power cut.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let (inode, is_durable) = (identity.inode(), durability == Durability::Machine);
        let this = Self { lock: lock.try_clone()?, inode, boot, is_durable };
        // Before the first message: a power cut must not take the mark with it.
        connection.pragma_update(None, "synchronous", "FULL")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let last = last_start(&transaction)?;
        let found = Found { inode, boot: &this.boot, has_log: had_log };
        if let Some(doubt) = doubt(last.as_ref(), NotedStamps::read(lock)?, &found) {
            let rooms = transaction.execute("UPDATE rooms SET epoch = random()", [])?;
            if rooms > 0 {
                warn!("the history may lack what was stored last: {doubt}; its {rooms} rooms begin new epochs");
            }
        }
        this.mark(transaction, false)?;
        connection.pragma_update(None, "synchronous", synchronous(durability))?;
        Ok(this)
    }

    /// Notes that everything is stored.
    pub(super) fn end(&self, connection: &mut Connection) -> Result<(), MarkError> {
        self.mark(connection.transaction_with_behavior(TransactionBehavior::Immediate)?, true)
    }

    /// Notes that the next start may find less than was acknowledged.
    pub(super) fn doubt(&self) -> io::Result<()> {
        NotedStamps::INCOMPLETE.write(&self.lock)
    }

    /// Takes such a note back: everything is there after all.
    pub(super) fn trust(&self, connection: &mut Connection) -> Result<(), MarkError> {
        self.mark(connection.transaction_with_behavior(TransactionBehavior::Immediate)?, false)
    }

    fn mark(&self, transaction: Transaction<'_>, is_closed: bool) -> Result<(), MarkError> {
        let new = random_stamp(&transaction)?;
        let old = last_start(&transaction)?.map_or(new, |last| last.stamp);
        // Whichever of the two the database has after a kill, it is known.
        NotedStamps([new, old]).write(&self.lock)?;
        let Self { inode, boot, is_durable, .. } = self;
        let start = LastStart { stamp: new, inode: *inode, boot: boot.clone(), is_durable: *is_durable, is_closed };
        write_last_start(&transaction, &start)?;
        transaction.commit()?;
        Ok(NotedStamps([new, new]).write(&self.lock)?)
    }
}

/// Marks a database as a copy: whoever starts with it begins new epochs.
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
        let noted = |stamps: [i64; 2]| Some(NotedStamps(stamps.map(Stamp)));
        let here = Found { inode: 1, boot: "b", has_log: true };
        let (elsewhere, without_log) = (Found { boot: "c", ..here }, Found { has_log: false, ..here });
        let (copy, cut, no_log) = (Some(Doubt::Copy), Some(Doubt::PowerCut), Some(Doubt::NoLog));
        let cases = [
            ("killed, in the same boot", last.clone(), noted([7, 7]), here, None),
            ("killed while it was given a new stamp", last.clone(), noted([8, 7]), here, None),
            ("a copy from before the last start or stop", last.clone(), noted([8, 8]), here, copy),
            ("no file beside it", last.clone(), None, here, copy),
            ("another inode", last.clone(), noted([7, 7]), Found { inode: 2, ..here }, copy),
            ("another boot", last.clone(), noted([7, 7]), elsewhere, cut),
            ("a boot that is not known", last.clone(), noted([7, 7]), Found { boot: "", ..here }, cut),
            ("another boot, and nothing can be lost", durable(), noted([7, 7]), elsewhere, None),
            ("another boot after a clean stop", closed(), noted([7, 7]), elsewhere, None),
            ("killed, and the log is gone", durable(), noted([7, 7]), without_log, no_log),
            ("a clean stop takes the log along", closed(), noted([7, 7]), without_log, None),
            ("the log was cut while the server ran", closed(), noted([0, 0]), here, Some(Doubt::Incomplete)),
        ];
        for (what, last, noted, found, expected) in cases {
            assert_eq!(doubt(Some(&last), noted, &found), expected, "{what}");
        }
        assert_eq!(doubt(None, None, &here), None, "new, or of a version that noted nothing");
        assert_eq!(doubt(None, noted([7, 7]), &here), copy, "a copy of such a version");
    }

    #[test]
    fn noted_stamps_are_read_as_they_were_written() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(NotedStamps::read(&file).unwrap(), None);
        for stamps in [[i64::MIN, -1], [0, i64::MAX]] {
            let noted = NotedStamps(stamps.map(Stamp));
            noted.write(&file).unwrap();
            assert_eq!(NotedStamps::read(&file).unwrap(), Some(noted));
        }
        for garbage in ["x", "7", "7 x"] {
            assert_eq!(NotedStamps::parse(garbage), None);
        }
    }
}
