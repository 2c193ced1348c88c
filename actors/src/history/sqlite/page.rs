//! Reads one page of the history from the database.

use std::sync::Arc;

use rusqlite::{Connection, Row, Statement, ToSql};
use starling_protocol::{ClientId, HistoryPage, MessageId, Seq};

use super::schema::{DbRoom, SEQ_MAX, of_place, place};
use crate::clock::Instant;
use crate::history::{Page, ReadRequest, RoomKey, StoredMessage};

/// A read that the memory cannot answer.
#[derive(Debug)]
pub(super) struct DiskRead {
    pub(super) request: ReadRequest,
    pub(super) db: DbRoom,
    pub(super) queued: Instant,
}

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
            let message = self.message(row)?;
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

    fn message(&self, row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
        let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let id = row.get_ref(3)?.as_str_or_null().map_err(rusqlite::Error::from)?;
        let name = |text: &str| ClientId::parse(text).map_err(|_| rusqlite::Error::InvalidQuery);
        let client_id = name(text(2)?)?;
        let peer = row.get_ref(5)?.as_str_or_null().map_err(rusqlite::Error::from)?.map(name).transpose()?;
        Ok(StoredMessage {
            to: receiver(&self.room, &client_id, peer),
            room: self.room.clone(),
            seq: Seq(of_place(row.get(0)?).1),
            at: row.get::<_, i64>(1)?.cast_unsigned(),
            client_id,
            id: id.map(MessageId::parse).transpose().map_err(|_| rusqlite::Error::InvalidQuery)?,
            owner: None,
            text: text(4)?.into(),
        })
    }
}

/// The first and the last place from which the page may contain messages.
pub(super) fn span(read: &DiskRead) -> (i64, i64) {
    let (first, last) = (place(read.db, read.request.oldest.0), place(read.db, read.request.newest.0));
    let last = match read.request.page {
        HistoryPage::Before(seq) => last.min(place(read.db, seq.0.min(SEQ_MAX)) - 1),
        HistoryPage::Newest | HistoryPage::After(_) => last,
    };
    (first, last)
}

/// Reads a page without a search.
pub(super) fn page(connection: &Connection, read: &DiskRead) -> rusqlite::Result<Page> {
    let (first, last) = span(read);
    let limit = i64::try_from(read.request.limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut collected = Collected::new(connection, read)?;
    if let Some(with) = &read.request.with {
        let is_onward = matches!(read.request.page, HistoryPage::After(_));
        let first = match read.request.page {
            HistoryPage::After(seq) => first.max(place(read.db, seq.0.min(SEQ_MAX - 1) + 1)),
            HistoryPage::Newest | HistoryPage::Before(_) => first,
        };
        let mut statement = connection.prepare_cached(if is_onward {
            "SELECT place, at, client_id, id, text, peer FROM messages
             WHERE peer = ?1 AND place BETWEEN ?2 AND ?3 ORDER BY place LIMIT ?4"
        } else {
            "SELECT place, at, client_id, id, text, peer FROM messages
             WHERE peer = ?1 AND place BETWEEN ?2 AND ?3 ORDER BY place DESC LIMIT ?4"
        })?;
        collected.take(&mut statement, &[&with.as_str(), &first, &last, &limit])?;
        if !is_onward {
            collected.page.messages.reverse();
        }
        return Ok(collected.page);
    }
    if let HistoryPage::After(seq) = read.request.page {
        let first = first.max(place(read.db, seq.0.min(SEQ_MAX - 1) + 1));
        let mut statement = connection.prepare_cached(
            "SELECT place, at, client_id, id, text, peer FROM messages
             WHERE place BETWEEN ?1 AND ?2 ORDER BY place LIMIT ?3",
        )?;
        collected.take(&mut statement, &[&first, &last, &limit])?;
    } else {
        let mut statement = connection.prepare_cached(
            "SELECT place, at, client_id, id, text, peer FROM messages
             WHERE place BETWEEN ?1 AND ?2 ORDER BY place DESC LIMIT ?3",
        )?;
        collected.take(&mut statement, &[&first, &last, &limit])?;
        collected.page.messages.reverse();
    }
    Ok(collected.page)
}

/// The receiver of a message in an inbox; `None` for a message in a room.
pub(super) fn receiver(room: &RoomKey, sender: &ClientId, peer: Option<ClientId>) -> Option<ClientId> {
    let owner = room.owner()?;
    if sender == owner { peer } else { Some(owner.clone()) }
}
