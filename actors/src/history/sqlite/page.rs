//! Reads one page of the history from the database.

use std::sync::Arc;

use rusqlite::{Connection, Row, Statement, ToSql};
use starling_protocol::{ClientId, Epoch, HistoryPage, MessageId, Seq};

use super::change;
use super::schema::{DbRoom, SEQ_MAX, of_place, place};
use crate::clock::Instant;
use crate::history::{Content, Page, ReadPurpose, ReadRequest, RoomKey, StoredMessage, Twin};
use crate::identity::IdOwner;

/// A read that the memory cannot answer.
#[derive(Debug)]
pub(super) struct DiskRead {
    pub(super) request: ReadRequest,
    pub(super) db: DbRoom,
    pub(super) queued: Instant,
}

/// The columns of a message, as [`entry`] reads them.
pub(super) const MESSAGE: &str =
    "place, at, client_id, id, text, peer, owner, NULL, reply_to, twin_epoch, twin_seq, changes";

/// The same columns of a change.
const CHANGE: &str = "place, at, client_id, id, text, peer, owner, kind, of, NULL, NULL, NULL";

/// The rows collected for one page.
pub(super) struct Collected<'a> {
    read: &'a DiskRead,
    room: RoomKey,
    pub(super) page: Page,
    weight: usize,
}

impl<'a> Collected<'a> {
    pub(super) fn new(connection: &Connection, read: &'a DiskRead) -> rusqlite::Result<Self> {
        let mut select = connection.prepare_cached("SELECT name FROM rooms WHERE id = ?1")?;
        let name: String = select.query_row([read.db.0], |row| row.get(0))?;
        let room = RoomKey::parse(&name).map_err(|_| rusqlite::Error::InvalidQuery)?;
        Ok(Self { read, room, page: Page::default(), weight: 0 })
    }

    /// Adds the rows of a statement until the limits of the page are reached.
    pub(super) fn take(&mut self, statement: &mut Statement<'_>, values: &[&dyn ToSql]) -> rusqlite::Result<()> {
        let mut rows = statement.query(values)?;
        while let Some(row) = rows.next()? {
            let message = entry(&self.room, row)?;
            self.weight += message.weight();
            let is_full = self.page.messages.len() == self.read.request.limit
                || (self.weight > self.read.request.bytes && !self.page.messages.is_empty());
            if is_full {
                self.page.has_more = true;
                return Ok(());
            }
            self.page.messages.push(Arc::new(message));
        }
        Ok(())
    }
}

/// Reads an entry of a room from a row with the columns of a message or a change.
pub(super) fn entry(room: &RoomKey, row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
    let text = |column| row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from);
    let name = |text: &str| ClientId::parse(text).map_err(|_| rusqlite::Error::InvalidQuery);
    let number = |column| row.get::<_, Option<i64>>(column).map(|number| number.map(i64::cast_unsigned));
    let client_id = name(text(2)?.unwrap_or_default())?;
    let peer = text(5)?.map(name).transpose()?;
    let content = match text(7)? {
        None => Content::Message { text: text(4)?.unwrap_or_default().into(), reply_to: number(8)?.map(Seq) },
        Some(kind) => change::content(kind, row.get(8)?, text(4)?)?,
    };
    let changes = row.get_ref(11)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
    Ok(StoredMessage {
        to: receiver(room, &client_id, peer),
        room: room.clone(),
        seq: Seq(of_place(row.get(0)?).1),
        at: row.get::<_, i64>(1)?.cast_unsigned(),
        client_id,
        content,
        id: text(3)?.map(MessageId::parse).transpose().map_err(|_| rusqlite::Error::InvalidQuery)?,
        owner: number(6)?.map(IdOwner),
        twin: number(9)?.zip(number(10)?).map(|(epoch, seq)| Twin { epoch: Epoch(epoch), seq: Seq(seq) }),
        changes: changes.map(|bytes| change::read(11, bytes).map(Box::new)).transpose()?,
    })
}

/// The first and the last place from which the page may contain entries.
pub(super) fn span(read: &DiskRead) -> (i64, i64) {
    let (first, last) = (place(read.db, read.request.oldest.0), place(read.db, read.request.newest.0));
    match read.request.page {
        HistoryPage::Before(seq) => (first, last.min(place(read.db, seq.0.min(SEQ_MAX)) - 1)),
        HistoryPage::After(seq) => (first.max(place(read.db, seq.0.min(SEQ_MAX - 1) + 1)), last),
        HistoryPage::Newest => (first, last),
    }
}

/// Reads a page without a search.
pub(super) fn page(connection: &Connection, read: &DiskRead) -> rusqlite::Result<Page> {
    let (first, last) = span(read);
    let limit = i64::try_from(read.request.limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut collected = Collected::new(connection, read)?;
    let is_onward = matches!(read.request.page, HistoryPage::After(_));
    let order = if is_onward { "ASC" } else { "DESC" };
    let wanted =
        if read.request.with.is_some() { "place BETWEEN ?1 AND ?2 AND peer = ?4" } else { "place BETWEEN ?1 AND ?2" };
    let changes = if read.request.purpose == ReadPurpose::CatchUp {
        format!(" UNION ALL SELECT {CHANGE} FROM changes WHERE {wanted}")
    } else {
        String::new()
    };
    let select = format!("SELECT {MESSAGE} FROM messages WHERE {wanted}{changes} ORDER BY 1 {order} LIMIT ?3");
    let mut statement = connection.prepare_cached(&select)?;
    match &read.request.with {
        Some(with) => collected.take(&mut statement, &[&first, &last, &limit, &with.as_str()])?,
        None => collected.take(&mut statement, &[&first, &last, &limit])?,
    }
    if !is_onward {
        collected.page.messages.reverse();
    }
    Ok(collected.page)
}

/// The receiver of a message in an inbox; `None` for a message in a room.
pub(super) fn receiver(room: &RoomKey, sender: &ClientId, peer: Option<ClientId>) -> Option<ClientId> {
    let owner = room.owner()?;
    if sender == owner { peer } else { Some(owner.clone()) }
}
