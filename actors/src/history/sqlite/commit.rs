//! One commit: the writes of one transaction.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use starling_protocol::Seq;

use super::change;
use super::command::{Append, NewCopy};
use super::connections;
use super::due_positions::DuePositions;
use super::schema::{self, Bounds, DbRoom, SEQ_MAX, place};
use crate::clock;
use crate::history::{Content, LogMark, Receipt, Standing, Twin};

/// A room that has ended.
#[derive(Debug)]
pub(super) struct Forgotten {
    pub(super) room: DbRoom,
    /// Whether messages of the room are still stored. Then the commit only removes its name, and retention drops the
    /// messages.
    pub(super) has_messages: bool,
    /// Returned with the outcome, if the caller waits for it.
    pub(super) receipt: Option<Receipt>,
}

/// Whether the database rejects a single message. Otherwise it can store nothing.
pub(super) fn is_of_a_message(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    matches!(error.sqlite_error_code(), Some(ConstraintViolation | TooBig | TypeMismatch))
}

/// Assigns sequence numbers: each message gets the number after the newest one of its room.
pub(super) struct Numbering<'a> {
    bounds: &'a Bounds,
    /// The newest assigned number of each room that has messages in this batch.
    given: FxHashMap<DbRoom, Seq>,
}

impl<'a> Numbering<'a> {
    pub(super) fn new(bounds: &'a Bounds) -> Self {
        Self { bounds, given: FxHashMap::default() }
    }

    fn newest(&self, room: DbRoom) -> Seq {
        let stored = || self.bounds.get(&room).map_or(Seq(0), |(seq, _)| *seq);
        self.given.get(&room).copied().unwrap_or_else(stored)
    }

    /// Numbers a message. Returns `false` if a room has no more numbers.
    pub(super) fn number(&mut self, append: &mut Append) -> bool {
        for copy in &mut append.copies {
            copy.seq = copy.given.unwrap_or_else(|| self.newest(copy.db).next());
        }
        if append.copies.iter().any(|copy| copy.seq.0 > SEQ_MAX) {
            return false;
        }
        self.given.extend(append.copies.iter().map(|copy| (copy.db, copy.seq)));
        true
    }

    /// Takes the numbers of a message back: it is not stored, and the next message gets them.
    fn take_back(&mut self, append: &Append) {
        self.given.extend(append.copies.iter().map(|copy| (copy.db, Seq(copy.seq.0.saturating_sub(1)))));
    }
}

/// The other content of a commit.
#[derive(Debug, Clone, Copy)]
pub(super) struct DuePart<'a> {
    /// Rooms that have ended.
    pub(super) forgotten: &'a [Forgotten],
    /// The delivery positions of inboxes.
    pub(super) delivered: &'a FxHashMap<DbRoom, Seq>,
    /// The read positions of clients.
    pub(super) read: &'a DuePositions,
    /// The rows of the moderation that have changed.
    pub(super) moderation: &'a BTreeMap<String, Option<String>>,
    /// The position in the log of several nodes.
    pub(super) mark: Option<LogMark>,
}

/// Stores everything in one commit, or nothing. Returns the time in which the commit was written and synced.
pub(super) fn write(
    connection: &mut Connection,
    batch: &mut [Append],
    bounds: &Bounds,
    due: DuePart<'_>,
) -> rusqlite::Result<Duration> {
    let removes_texts = removes_texts(batch);
    wiping_texts(connection, removes_texts, |connection| write_all(connection, batch, bounds, due))
}

fn write_all(
    connection: &mut Connection,
    batch: &mut [Append],
    bounds: &Bounds,
    due: DuePart<'_>,
) -> rusqlite::Result<Duration> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    write_due(&transaction, due)?;
    let mut rooms = FxHashMap::default();
    for append in batch {
        insert(&transaction, append)?;
        let append: &Append = append;
        for copy in &append.copies {
            let (_, newest) = rooms.entry(copy.db).or_insert((copy.seq, copy));
            *newest = copy;
        }
    }
    for (oldest, newest) in rooms.into_values() {
        let is_new = !bounds.contains_key(&newest.db);
        advance(&transaction, newest, is_new.then_some(oldest))?;
    }
    write_positions(&transaction, due.read)?;
    let started = clock::now();
    transaction.commit()?;
    Ok(clock::now().saturating_duration_since(started))
}

/// Stores in one commit all messages that the database accepts. They stay in `batch`, with new numbers; the rejected
/// ones are returned. After a rejected message that the log of several nodes has placed, no further such message is
/// stored.
pub(super) fn write_singly(
    connection: &mut Connection,
    batch: &mut Vec<Append>,
    bounds: &Bounds,
    due: DuePart<'_>,
) -> rusqlite::Result<Vec<Append>> {
    let removes_texts = removes_texts(batch);
    wiping_texts(connection, removes_texts, |connection| write_accepted(connection, batch, bounds, due))
}

fn write_accepted(
    connection: &mut Connection,
    batch: &mut Vec<Append>,
    bounds: &Bounds,
    due: DuePart<'_>,
) -> rusqlite::Result<Vec<Append>> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mark = due.mark.filter(|_| !batch.iter().any(Append::is_placed));
    write_due(&transaction, DuePart { mark, ..due })?;
    let mut numbering = Numbering::new(bounds);
    let (mut fault, mut lacks_placed) = (None, false);
    // New rooms that have a row.
    let mut made = FxHashSet::default();
    let refused = batch.extract_if(.., |append| {
        if fault.is_some() || (lacks_placed && append.is_placed()) || !numbering.number(append) {
            return true;
        }
        let mut store = || -> rusqlite::Result<()> {
            let savepoint = transaction.savepoint()?;
            insert(&savepoint, append)?;
            for copy in &append.copies {
                let is_new = !bounds.contains_key(&copy.db) && !made.contains(&copy.db);
                advance(&savepoint, copy, is_new.then_some(copy.seq))?;
            }
            savepoint.commit()
        };
        let Err(error) = store() else {
            made.extend(append.copies.iter().map(|copy| copy.db));
            return false;
        };
        numbering.take_back(append);
        lacks_placed |= append.is_placed();
        if !is_of_a_message(&error) {
            fault = Some(error);
        }
        true
    });
    let refused = refused.collect();
    if let Some(error) = fault {
        return Err(error);
    }
    write_positions(&transaction, due.read)?;
    transaction.commit()?;
    Ok(refused)
}

fn write_due(connection: &Connection, due: DuePart<'_>) -> rusqlite::Result<()> {
    let DuePart { forgotten, delivered, read: _, moderation, mark } = due;
    if let Some(LogMark { log, position, at_nanos }) = mark {
        let mut note = connection
            .prepare_cached("INSERT OR REPLACE INTO log_mark (id, log, position, at_nanos) VALUES (1, ?1, ?2, ?3)")?;
        note.execute((log.cast_signed(), position.cast_signed(), at_nanos.map(u64::cast_signed)))?;
    }
    for Forgotten { room, has_messages, .. } in forgotten {
        connection.prepare_cached("DELETE FROM read_positions WHERE room = ?1")?.execute([room.0])?;
        if *has_messages {
            schema::mark_dropped(connection, *room)?;
        } else {
            connection.prepare_cached("DELETE FROM rooms WHERE id = ?1")?.execute([room.0])?;
        }
    }
    for (key, value) in moderation {
        if let Some(value) = value {
            let mut put =
                connection.prepare_cached("INSERT OR REPLACE INTO moderation (key, value) VALUES (?1, ?2)")?;
            put.execute((key, value))?;
        } else {
            connection.prepare_cached("DELETE FROM moderation WHERE key = ?1")?.execute([key])?;
        }
    }
    for (room, seq) in delivered {
        let mut mark = connection.prepare_cached("UPDATE rooms SET delivered = ?2 WHERE id = ?1")?;
        mark.execute((room.0, seq.0.cast_signed()))?;
    }
    Ok(())
}

/// Stores how far clients have read. It comes last: a room of several nodes may have its first message in this commit.
fn write_positions(connection: &Connection, read: &DuePositions) -> rusqlite::Result<()> {
    for (room, owner, standing) in read.iter() {
        let owner = owner.0.cast_signed();
        if let Some(Standing { upto, since }) = standing {
            // Another `id` than before: the rows are in the order of their notes.
            let mut note = connection.prepare_cached(
                "INSERT OR REPLACE INTO read_positions (owner, room, seq, since) VALUES (?1, ?2, ?3, ?4)",
            )?;
            note.execute((owner, room.0, upto.0.cast_signed(), since.0.cast_signed()))?;
        } else {
            let mut forget = connection.prepare_cached("DELETE FROM read_positions WHERE room = ?2 AND owner = ?1")?;
            forget.execute((owner, room.0))?;
        }
    }
    Ok(())
}

/// Runs a commit. If the batch removes texts, SQLite overwrites their bytes meanwhile, wherever they are. In other
/// commits and in the retention it overwrites only what needs no further writes: a copy that a text leaves behind when
/// it moves to another page.
fn wiping_texts<T>(
    connection: &mut Connection,
    removes_texts: bool,
    run: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    if !removes_texts {
        return run(connection);
    }
    connection.pragma_update(None, "secure_delete", "ON")?;
    let outcome = run(connection);
    // If it fails, later commits overwrite more than they need to.
    connection.pragma_update(None, "secure_delete", connections::SECURE_DELETE).unwrap_or_default();
    outcome
}

fn removes_texts(batch: &[Append]) -> bool {
    let removes = |copy: &NewCopy| matches!(copy.draft.content, Content::Edit { .. } | Content::Deletion { .. });
    batch.iter().flat_map(|append| &append.copies).any(removes)
}

fn insert(connection: &Connection, append: &mut Append) -> rusqlite::Result<()> {
    let places: SmallVec<[Twin; 2]> =
        append.copies.iter().map(|copy| Twin { epoch: copy.epoch, seq: copy.seq }).collect();
    let mut message = connection.prepare_cached(
        "INSERT INTO messages (place, at, client_id, id, text, peer, owner, reply_to, twin_epoch, twin_seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for (index, copy) in append.copies.iter_mut().enumerate() {
        let Content::Message { text, reply_to } = &copy.draft.content else {
            change::insert(connection, copy)?;
            continue;
        };
        let stored = &copy.draft;
        let place = place(copy.db, copy.seq.0);
        let id = stored.id.as_ref().map(starling_protocol::MessageId::as_str);
        let peer = stored.peer(&copy.key).map(starling_protocol::ClientId::as_str);
        let owner = stored.owner.map(|owner| owner.0.cast_signed());
        let (at, sender) = (stored.at.cast_signed(), stored.client_id.as_str());
        let reply_to = reply_to.map(|of| of.0.cast_signed());
        let twin = Twin::of(index, &places).map(|twin| (twin.epoch.0.cast_signed(), twin.seq.0.cast_signed())).unzip();
        message.execute((place, at, sender, id, &**text, peer, owner, reply_to, twin.0, twin.1))?;
    }
    Ok(())
}

/// Updates the newest message of a room. `oldest`: the room has no row yet, and this is its first message.
fn advance(connection: &Connection, newest: &NewCopy, oldest: Option<Seq>) -> rusqlite::Result<()> {
    let seq = newest.seq.0.cast_signed();
    if let Some(oldest) = oldest {
        // A room with the same name may have ended and still have its row.
        let mut make = connection.prepare_cached(
            "INSERT OR REPLACE INTO rooms (id, name, epoch, seq, oldest) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        let (name, epoch) = (newest.key.to_string(), newest.epoch.0.cast_signed());
        make.execute((newest.db.0, name, epoch, seq, oldest.0.cast_signed()))?;
    } else {
        connection.prepare_cached("UPDATE rooms SET seq = ?2 WHERE id = ?1")?.execute((newest.db.0, seq))?;
    }
    Ok(())
}
