//! Restores the content of a database at a start: its rooms, and the `id`s that are still remembered.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Statement};
use rustc_hash::FxHashMap;
use starling_protocol::{ClientId, Epoch, MessageId, Seq};

use super::SqliteSettings;
use super::schema::{self, DROPPED, DbRoom};
use crate::clock;
use crate::history::{LogMark, Restored, RoomKey, Standing, StoredId, StoredPosition, StoredRoom, UnclaimedInbox};
use crate::identity::IdOwner;
use crate::ids::RoomId;
use crate::moderation::{Moderation, Row};

/// The number of messages of an inbox whose senders are checked. An inbox with more is not attributed to a single
/// sender.
const SENDERS_LOOKED_AT: u32 = 100;

fn damaged_value(column: usize, error: impl std::error::Error + Send + std::marker::Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

/// The rooms of a database.
#[derive(Default)]
struct StoredRooms {
    rooms: Vec<StoredRoom>,
    /// The numbers of `rooms` in the database, in the same order.
    numbers: Vec<DbRoom>,
    /// Rooms that were dropped and still have messages.
    dropped: Vec<DbRoom>,
}

/// Reads one row per room, and the `id`s of the last minutes. It never scans all messages. Returns the
/// numbers of the rooms in the database, what is restored, and the numbers of dropped rooms that still have messages.
pub(super) fn restore(
    connection: &Connection,
    settings: &SqliteSettings,
) -> rusqlite::Result<(Vec<DbRoom>, Restored, Vec<DbRoom>)> {
    let StoredRooms { rooms, numbers, dropped } = stored_rooms(connection)?;
    let places = numbers.iter().copied().zip((0..).map(RoomId)).collect();
    let ids = stored_ids(connection, settings, &places)?;
    let (read, mark) = (stored_positions(connection, &places)?, log_mark(connection)?);
    let moderation = moderation(connection)?;
    Ok((numbers, Restored { rooms, ids, read, moderation, mark }, dropped))
}

/// What is kept of clients in the rooms with these numbers. That of a room which never had a message is dropped: another
/// room may get its number.
fn stored_positions(
    connection: &Connection,
    places: &FxHashMap<DbRoom, RoomId>,
) -> rusqlite::Result<Vec<StoredPosition>> {
    let mut select = connection.prepare("SELECT room, owner, seq, since FROM read_positions ORDER BY id")?;
    let mut rows = select.query([])?;
    let (mut stored, mut gone) = (Vec::new(), BTreeSet::new());
    while let Some(row) = rows.next()? {
        let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        let (owner, standing) = (IdOwner(number(1)?), Standing { upto: Seq(number(2)?), since: Seq(number(3)?) });
        let number = DbRoom(row.get(0)?);
        match places.get(&number).copied() {
            Some(room) => stored.push(StoredPosition { owner, room, standing }),
            None => drop(gone.insert(number)),
        }
    }
    for room in gone {
        connection.prepare_cached("DELETE FROM read_positions WHERE room = ?1")?.execute([room.0])?;
    }
    Ok(stored)
}

fn moderation(connection: &Connection) -> rusqlite::Result<Moderation> {
    let mut select = connection.prepare("SELECT key, value FROM moderation")?;
    let rows = select.query_map([], |row| Ok(Row { key: row.get(0)?, value: row.get(1)? }))?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Moderation::restore(rows).map_err(|error| damaged_value(1, error))
}

pub(super) fn log_mark(connection: &Connection) -> rusqlite::Result<Option<LogMark>> {
    let mut select = connection.prepare("SELECT log, position, at_nanos FROM log_mark")?;
    let mark = select.query_row([], |row| {
        Ok(LogMark {
            log: row.get::<_, i64>(0)?.cast_unsigned(),
            position: row.get::<_, i64>(1)?.cast_unsigned(),
            at_nanos: row.get::<_, Option<i64>>(2)?.map(i64::cast_unsigned),
        })
    });
    mark.optional()
}

fn stored_rooms(connection: &Connection) -> rusqlite::Result<StoredRooms> {
    let mut stored = StoredRooms::default();
    let mut senders =
        connection.prepare("SELECT client_id FROM messages WHERE place BETWEEN ?1 AND ?2 ORDER BY place LIMIT ?3")?;
    let mut select = connection.prepare("SELECT id, name, epoch, seq, oldest, delivered FROM rooms ORDER BY id")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let number = DbRoom(row.get(0)?);
        let name: String = row.get(1)?;
        if name.starts_with(DROPPED) {
            stored.dropped.push(number);
            continue;
        }
        let key = RoomKey::parse(&name).map_err(|error| damaged_value(1, error))?;
        let delivered = Seq(row.get::<_, i64>(5)?.cast_unsigned());
        let unclaimed = match key.owner().filter(|_| delivered == Seq(0)) {
            Some(owner) => unclaimed(&mut senders, number, owner)?,
            None => None,
        };
        stored.numbers.push(number);
        stored.rooms.push(StoredRoom {
            key,
            unclaimed,
            epoch: Epoch(row.get::<_, i64>(2)?.cast_unsigned()),
            seq: Seq(row.get::<_, i64>(3)?.cast_unsigned()),
            oldest: Seq(row.get::<_, i64>(4)?.cast_unsigned()),
            sent: delivered,
        });
    }
    Ok(stored)
}

/// The `id`s that are still remembered of the rooms with these numbers, the oldest first.
fn stored_ids(
    connection: &Connection,
    settings: &SqliteSettings,
    places: &FxHashMap<DbRoom, RoomId>,
) -> rusqlite::Result<Vec<StoredId>> {
    let mut ids = Vec::new();
    // Ages are measured back from the newest message that is not in the future. So no `id` is forgotten because no
    // server ran for some time, or because the clock was wrong, at this start or when a message came.
    let newest = "SELECT max(coalesce((SELECT max(at) FROM messages WHERE at <= ?1), 0),
        coalesce((SELECT max(at) FROM changes WHERE at <= ?1), 0),
        coalesce((SELECT max(at) FROM dropped_ids WHERE at <= ?1), 0))";
    let newest: i64 = connection.query_row(newest, [clock::unix_ms().cast_signed()], |row| row.get(0))?;
    let reference = newest.cast_unsigned();
    let kept = u64::try_from(settings.ids_kept.as_millis()).unwrap_or(u64::MAX);
    let since = reference.saturating_sub(kept).cast_signed();
    // For a private message only the receiver's copy counts. In the sender's copy, `peer` is not the sender.
    let mut select = connection.prepare(
        "SELECT place, at, client_id, id, owner FROM (
            SELECT place, at, client_id, id, owner FROM messages
                WHERE at >= ?1 AND id IS NOT NULL AND (peer IS NULL OR peer = client_id)
            UNION ALL SELECT place, at, client_id, id, owner FROM changes
                WHERE at >= ?1 AND id IS NOT NULL AND (peer IS NULL OR peer = client_id)
            UNION ALL SELECT place, at, client_id, id, owner FROM dropped_ids WHERE at >= ?1
        ) ORDER BY at DESC, place DESC LIMIT ?2",
    )?;
    let mut rows = select.query((since, settings.ids_max))?;
    while let Some(row) = rows.next()? {
        let (number, seq) = schema::of_place(row.get(0)?);
        let Some(room) = places.get(&number).copied() else { continue };
        let (client_id, id): (String, String) = (row.get(2)?, row.get(3)?);
        let client_id = ClientId::parse(&client_id).map_err(|error| damaged_value(2, error))?;
        // A version without owners remembered `id`s by name. This is correct only if names are authenticated.
        let owner: Option<i64> = row.get(4)?;
        let owner = owner.map_or_else(|| IdOwner::authenticated(&client_id), |owner| IdOwner(owner.cast_unsigned()));
        let at = row.get::<_, i64>(1)?.cast_unsigned();
        ids.push(StoredId {
            owner,
            age: Duration::from_millis(reference.saturating_sub(at)),
            room,
            seq: Seq(seq),
            at,
            id: MessageId::parse(&id).map_err(|error| damaged_value(3, error))?,
        });
    }
    ids.reverse();
    Ok(ids)
}

/// The creator of an inbox whose owner has received nothing. `None` if the owner has sent messages and has therefore
/// been connected.
fn unclaimed(senders: &mut Statement<'_>, inbox: DbRoom, owner: &ClientId) -> rusqlite::Result<Option<UnclaimedInbox>> {
    let span = (schema::place(inbox, 0), schema::place(inbox, schema::SEQ_MAX), SENDERS_LOOKED_AT);
    let senders = senders.query_map(span, |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let Some(maker) = senders.first().filter(|_| !senders.iter().any(|sender| sender == owner.as_str())) else {
        return Ok(None);
    };
    let is_alone = senders.len() < SENDERS_LOOKED_AT as usize && senders.iter().all(|sender| sender == maker);
    let maker = ClientId::parse(maker).map_err(|error| damaged_value(0, error))?;
    Ok(Some(UnclaimedInbox { maker, is_alone }))
}
