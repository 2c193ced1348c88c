//! What a database says of the time before: its rooms, and the `id`s that are still remembered.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Statement};
use starling_protocol::{ClientId, Epoch, MessageId, Seq};

use super::SqliteSettings;
use super::schema::{self, DROPPED, DbRoom};
use crate::clock;
use crate::history::{LogMark, Restored, RoomKey, StoredId, StoredRoom, UnclaimedInbox};
use crate::identity::IdOwner;
use crate::ids::RoomId;

/// How many messages of an inbox are looked at for who wrote them; one with more is not taken for one sender's.
const SENDERS_LOOKED_AT: u32 = 100;

fn damaged_value(column: usize, error: impl std::error::Error + Send + std::marker::Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

/// The rooms, one row each, and the `id`s of the last minutes: never a look at all messages.
pub(super) fn restore(
    connection: &Connection,
    settings: &SqliteSettings,
) -> rusqlite::Result<(Vec<DbRoom>, Restored, Vec<DbRoom>)> {
    let (mut numbers, mut restored, mut dropped) = (Vec::new(), Restored::default(), Vec::new());
    let mut senders =
        connection.prepare("SELECT client_id FROM messages WHERE place BETWEEN ?1 AND ?2 ORDER BY place LIMIT ?3")?;
    let mut places = rustc_hash::FxHashMap::default();
    let mut select = connection.prepare("SELECT id, name, epoch, seq, oldest, delivered FROM rooms ORDER BY id")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let number = DbRoom(row.get(0)?);
        let name: String = row.get(1)?;
        if name.starts_with(DROPPED) {
            dropped.push(number);
            continue;
        }
        let key = RoomKey::parse(&name).map_err(|error| damaged_value(1, error))?;
        let delivered = Seq(row.get::<_, i64>(5)?.cast_unsigned());
        let unclaimed = match key.owner().filter(|_| delivered == Seq(0)) {
            Some(owner) => unclaimed(&mut senders, number, owner)?,
            None => None,
        };
        places.insert(number, numbers.len());
        numbers.push(number);
        restored.rooms.push(StoredRoom {
            key,
            unclaimed,
            epoch: Epoch(row.get::<_, i64>(2)?.cast_unsigned()),
            seq: Seq(row.get::<_, i64>(3)?.cast_unsigned()),
            oldest: Seq(row.get::<_, i64>(4)?.cast_unsigned()),
            delivered,
        });
    }
    // From the newest message on, where the clock is ahead of it: the time in which no server ran forgets no `id`, and
    // neither does a clock that was wrong at this start.
    let newest =
        "SELECT max(coalesce((SELECT max(at) FROM messages), 0), coalesce((SELECT max(at) FROM dropped_ids), 0))";
    let newest: i64 = connection.query_row(newest, [], |row| row.get(0))?;
    let reference = clock::unix_ms().min(newest.cast_unsigned());
    let kept = u64::try_from(settings.ids_kept.as_millis()).unwrap_or(u64::MAX);
    let since = reference.saturating_sub(kept).cast_signed();
    // Of a private message the receiver's copy counts: in the sender's own, `peer` is another one.
    let mut select = connection.prepare(
        "SELECT place, at, client_id, id, owner FROM (
            SELECT place, at, client_id, id, owner FROM messages
                WHERE at >= ?1 AND id IS NOT NULL AND (peer IS NULL OR peer = client_id)
            UNION ALL SELECT place, at, client_id, id, owner FROM dropped_ids WHERE at >= ?1
        ) ORDER BY at DESC, place DESC LIMIT ?2",
    )?;
    restored.mark = connection
        .query_row("SELECT log, position FROM log_mark", [], |row| {
            Ok(LogMark { log: row.get::<_, i64>(0)?.cast_unsigned(), position: row.get::<_, i64>(1)?.cast_unsigned() })
        })
        .optional()?;
    let mut rows = select.query((since, settings.ids_max))?;
    while let Some(row) = rows.next()? {
        let (number, seq) = schema::of_place(row.get(0)?);
        let Some(room) = places.get(&number).copied() else { continue };
        let (client_id, id): (String, String) = (row.get(2)?, row.get(3)?);
        let client_id = ClientId::parse(&client_id).map_err(|error| damaged_value(2, error))?;
        // A version that stored no owner remembered by name: that is right only where names are authenticated.
        let owner: Option<i64> = row.get(4)?;
        let owner = owner.map_or_else(|| IdOwner::authenticated(&client_id), |owner| IdOwner(owner.cast_unsigned()));
        let at = row.get::<_, i64>(1)?.cast_unsigned();
        restored.ids.push(StoredId {
            owner,
            age: Duration::from_millis(reference.saturating_sub(at)),
            room: RoomId(u32::try_from(room).unwrap_or(u32::MAX)),
            seq: Seq(seq),
            at,
            id: MessageId::parse(&id).map_err(|error| damaged_value(3, error))?,
        });
    }
    restored.ids.reverse();
    Ok((numbers, restored, dropped))
}

/// Who made an inbox of which nothing was delivered; `None` where its owner has written, so was here.
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
