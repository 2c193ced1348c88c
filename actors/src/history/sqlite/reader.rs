//! The threads that read, each with a connection of its own that cannot write.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::{Connection, InterruptHandle, Row, Statement, ToSql};
use starling_protocol::{ClientId, HistoryPage, MessageId, Seq};

use super::Report;
use super::schema::{DbRoom, SEQ_MAX, of_place, place};
use crate::clock;
use crate::history::thread::spawn;
use crate::history::{
    Page, ReadError, ReadPurpose, ReadRequest, ReportSink, RoomKey, SearchText, StoreReport, StoredMessage,
};
use crate::log_interval::LogInterval;
use crate::metrics::HistoryMetrics;
use crate::vitals::Vitals;

/// Most pages and searches that wait. Who catches up is not counted: a session has one such read for a room.
const WAITING_MAX: usize = 1_024;

/// A part of the history that is to be read from the disk.
#[derive(Debug)]
pub(super) struct DiskRead {
    pub(super) request: ReadRequest,
    pub(super) db: DbRoom,
    /// The bounds of what is shown: nothing that is dropped, nothing that is not reported as stored.
    pub(super) oldest: Seq,
    pub(super) newest: Seq,
    pub(super) queued: Instant,
}

#[derive(Debug, Default)]
struct Waiting {
    replays: VecDeque<DiskRead>,
    pages: VecDeque<DiskRead>,
    searches: VecDeque<DiskRead>,
    is_over: bool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next read; waits for one. `None`: there will be no more.
    fn next(&self, searches: bool) -> Option<DiskRead> {
        let mut waiting = self.lock();
        loop {
            if waiting.is_over {
                return None;
            }
            let next = waiting.replays.pop_front().or_else(|| waiting.pages.pop_front());
            if let Some(read) = next.or_else(|| if searches { waiting.searches.pop_front() } else { None }) {
                return Some(read);
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The way to the threads that read.
pub(super) struct Readers {
    queue: Arc<Queue>,
    metrics: Arc<HistoryMetrics>,
    interrupts: Vec<InterruptHandle>,
}

impl Readers {
    /// Starts a thread for each connection. The first one searches too, so that no search keeps a page waiting.
    pub(super) fn start(
        connections: Vec<Connection>,
        sink: &ReportSink,
        metrics: &Arc<HistoryMetrics>,
        vitals: &Vitals,
    ) -> (Self, Vec<JoinHandle<()>>) {
        let queue = Arc::new(Queue::default());
        let interrupts = connections.iter().map(Connection::get_interrupt_handle).collect();
        let threads = connections.into_iter().enumerate().map(|(index, connection)| {
            let (queue, sink, metrics) = (Arc::clone(&queue), Arc::clone(sink), Arc::clone(metrics));
            spawn("history-read", vitals, move || {
                while let Some(read) = queue.next(index == 0) {
                    serve(&connection, read, &sink, &metrics);
                }
            })
        });
        let threads = threads.collect();
        (Self { queue, metrics: Arc::clone(metrics), interrupts }, threads)
    }

    /// Queues a read; gives it back where too many wait.
    pub(super) fn ask(&self, read: DiskRead) -> Result<(), ReadRequest> {
        let mut waiting = self.queue.lock();
        let is_replay = read.request.purpose == ReadPurpose::CatchUp;
        if !is_replay && waiting.pages.len() + waiting.searches.len() >= WAITING_MAX {
            return Err(read.request);
        }
        let queue = if is_replay {
            &mut waiting.replays
        } else if read.request.search.is_some() {
            &mut waiting.searches
        } else {
            &mut waiting.pages
        };
        queue.push_back(read);
        drop(waiting);
        self.metrics.reader.arrive_n(1);
        // All: the one that is woken may be the one that does not search.
        self.queue.changed.notify_all();
        Ok(())
    }

    /// Ends the threads; what waits is not read any more.
    pub(super) fn stop(&self) {
        self.queue.lock().is_over = true;
        self.queue.changed.notify_all();
        self.interrupts.iter().for_each(InterruptHandle::interrupt);
    }
}

/// A client can ask as often as it may.
static UNREADABLE: LogInterval = LogInterval::new();

fn serve(connection: &Connection, read: DiskRead, sink: &ReportSink, metrics: &HistoryMetrics) {
    let started = clock::now();
    metrics.reader.waited(started.saturating_duration_since(read.queued), 1);
    let outcome = page(connection, &read).map_err(|error| {
        UNREADABLE.warn(|| format!("the history cannot be read: {error}"));
        ReadError::Failed
    });
    metrics.reader.worked(clock::now().saturating_duration_since(started));
    metrics.reader.complete_n(1);
    sink(StoreReport::new(Report::Read { request: read.request, outcome }));
}

/// What is collected of one page.
struct Collected<'a> {
    read: &'a DiskRead,
    room: RoomKey,
    page: Page,
    weight: usize,
}

impl Collected<'_> {
    /// Takes the rows of a statement until there are enough.
    fn take(&mut self, statement: &mut Statement<'_>, values: &[&dyn ToSql]) -> rusqlite::Result<()> {
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

fn page(connection: &Connection, read: &DiskRead) -> rusqlite::Result<Page> {
    let (first, last) = (place(read.db, read.oldest.0), place(read.db, read.newest.0));
    let limit = i64::try_from(read.request.limit).unwrap_or(i64::MAX).saturating_add(1);
    let name: String =
        connection.prepare_cached("SELECT name FROM rooms WHERE id = ?1")?.query_row([read.db.0], |row| row.get(0))?;
    let room = RoomKey::parse(&name).map_err(|_| rusqlite::Error::InvalidQuery)?;
    let mut collected = Collected { read, room, page: Page::default(), weight: 0 };
    let last = match read.request.page {
        HistoryPage::Before(seq) => last.min(place(read.db, seq.0.min(SEQ_MAX)) - 1),
        HistoryPage::Newest | HistoryPage::After(_) => last,
    };
    if let Some(text) = &read.request.search {
        let mut statement = connection.prepare_cached(
            "SELECT m.place, m.at, m.client_id, m.id, m.text, m.peer
             FROM messages_text AS t CROSS JOIN messages AS m ON m.place = t.rowid
             WHERE messages_text MATCH ?1 AND t.rowid BETWEEN ?2 AND ?3 ORDER BY t.rowid DESC LIMIT ?4",
        )?;
        collected.take(&mut statement, &[&match_expression(text), &first, &last, &limit])?;
        return Ok(collected.page);
    }
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

/// To whom a message of an inbox went; `None` for one of a room.
pub(super) fn receiver(room: &RoomKey, sender: &ClientId, peer: Option<ClientId>) -> Option<ClientId> {
    let owner = room.owner()?;
    if sender == owner { peer } else { Some(owner.clone()) }
}

/// The query in the index's own language: every word and phrase is quoted, so nothing in it is an operator.
fn match_expression(text: &SearchText) -> String {
    let quoted = text.terms().iter().map(|term| format!("\"{}\"", term.replace('"', "\"\"")));
    quoted.collect::<Vec<_>>().join(" ")
}
