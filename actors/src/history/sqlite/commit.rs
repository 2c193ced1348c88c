//! One commit: what is stored and dropped together.

use rusqlite::{Connection, TransactionBehavior};
use rustc_hash::{FxHashMap, FxHashSet};
use starling_protocol::Seq;

use super::command::{Append, StoredCopy};
use super::schema::{self, DbRoom, place};
use super::writer::{Bounds, Forgotten};
use crate::ids::RoomId;

/// Whether the database refuses what one message says, rather than being unable to store anything.
pub(super) fn is_of_a_message(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    matches!(error.sqlite_error_code(), Some(ConstraintViolation | TooBig | TypeMismatch))
}

/// Splits into the messages that pass, and the rooms of the others.
pub(super) fn split(batch: Vec<Append>, mut passes: impl FnMut(&Append) -> bool) -> (Vec<Append>, Vec<RoomId>) {
    let (mut kept, mut rooms) = (Vec::with_capacity(batch.len()), Vec::new());
    for append in batch {
        if passes(&append) {
            kept.push(append);
        } else {
            rooms.extend(append.copies.iter().map(|copy| copy.room));
        }
    }
    (kept, rooms)
}

/// Stores everything in one commit, or nothing.
pub(super) fn write(
    connection: &mut Connection,
    batch: &[Append],
    bounds: &Bounds,
    forgotten: &[Forgotten],
    delivered: &FxHashMap<DbRoom, Seq>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    write_due(&transaction, forgotten, delivered)?;
    let mut newest = FxHashMap::default();
    for append in batch {
        insert(&transaction, append)?;
        newest.extend(append.copies.iter().map(|copy| (copy.db, copy)));
    }
    for copy in newest.into_values() {
        advance(&transaction, copy, bounds.contains_key(&copy.db))?;
    }
    transaction.commit()
}

/// Stores in one commit the messages that the database takes. Gives those, and the rooms of the others.
pub(super) fn write_singly(
    connection: &mut Connection,
    batch: Vec<Append>,
    bounds: &Bounds,
    forgotten: &[Forgotten],
    delivered: &FxHashMap<DbRoom, Seq>,
) -> rusqlite::Result<(Vec<Append>, Vec<RoomId>)> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    write_due(&transaction, forgotten, delivered)?;
    let (mut known, mut broken): (FxHashSet<DbRoom>, FxHashSet<DbRoom>) = Default::default();
    let mut fault = None;
    let outcome = split(batch, |append| {
        let mut store = || -> rusqlite::Result<()> {
            let savepoint = transaction.savepoint()?;
            insert(&savepoint, append)?;
            for copy in &append.copies {
                advance(&savepoint, copy, bounds.contains_key(&copy.db) || known.contains(&copy.db))?;
            }
            savepoint.commit()
        };
        let is_cut_off = fault.is_some() || append.copies.iter().any(|copy| broken.contains(&copy.db));
        let rooms = append.copies.iter().map(|copy| copy.db);
        match if is_cut_off { None } else { Some(store()) } {
            Some(Ok(())) => {
                known.extend(rooms);
                true
            }
            Some(Err(error)) if !is_of_a_message(&error) => {
                fault = Some(error);
                false
            }
            Some(Err(_)) | None => {
                broken.extend(rooms);
                false
            }
        }
    });
    if let Some(error) = fault {
        return Err(error);
    }
    transaction.commit()?;
    Ok(outcome)
}

fn write_due(
    connection: &Connection,
    forgotten: &[Forgotten],
    delivered: &FxHashMap<DbRoom, Seq>,
) -> rusqlite::Result<()> {
    for Forgotten { room, has_messages, .. } in forgotten {
        if *has_messages {
            schema::mark_dropped(connection, *room)?;
        } else {
            connection.prepare_cached("DELETE FROM rooms WHERE id = ?1")?.execute([room.0])?;
        }
    }
    for (room, seq) in delivered {
        let mut mark = connection.prepare_cached("UPDATE rooms SET delivered = ?2 WHERE id = ?1")?;
        mark.execute((room.0, seq.0.cast_signed()))?;
    }
    Ok(())
}

fn insert(connection: &Connection, append: &Append) -> rusqlite::Result<()> {
    let mut message = connection.prepare_cached(
        "INSERT INTO messages (place, at, client_id, id, text, peer, owner) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for copy in &append.copies {
        let stored = &copy.message;
        let place = place(copy.db, stored.seq.0);
        let id = stored.id.as_ref().map(starling_protocol::MessageId::as_str);
        let peer = stored.peer().map(starling_protocol::ClientId::as_str);
        let owner = stored.owner.map(|owner| owner.0.cast_signed());
        let (at, sender) = (stored.at.cast_signed(), stored.client_id.as_str());
        message.execute((place, at, sender, id, &*stored.text, peer, owner))?;
    }
    Ok(())
}

/// Notes the newest message of a room, and makes the room's row with the first one.
fn advance(connection: &Connection, copy: &StoredCopy, is_known: bool) -> rusqlite::Result<()> {
    let seq = copy.message.seq.0.cast_signed();
    if is_known {
        connection.prepare_cached("UPDATE rooms SET seq = ?2 WHERE id = ?1")?.execute((copy.db.0, seq))?;
    } else {
        // An earlier room of this name has ended, though it may still have its row.
        let mut make = connection
            .prepare_cached("INSERT OR REPLACE INTO rooms (id, name, epoch, seq, oldest) VALUES (?1, ?2, ?3, ?4, 1)")?;
        make.execute((copy.db.0, copy.message.room.to_string(), copy.epoch.0.cast_signed(), seq))?;
    }
    Ok(())
}
