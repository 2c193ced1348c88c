//! The history in a file: an embedded SQLite database with one writer thread and several reader threads.
//!
//! Invariants:
//! - The `ChatServer`'s thread never waits for the disk. It queues commands, hands them to the writer at the end of its
//!   turn, and receives reports through its mailbox.
//! - The writer numbers the messages of a room when it commits them. After the commit it reports them, in the order of
//!   the appends. It answers each entry once.
//! - A room has a different number in the file than in the chat, because the chat reuses a room's number after the room
//!   has ended.

pub mod backup;
mod change;
mod checkpoints;
mod command;
mod command_queue;
mod commit;
mod connections;
mod continuity;
mod due_positions;
mod file;
mod lock;
mod log_extent;
mod numbers;
mod open;
mod open_error;
pub mod operator;
mod ownership;
mod pacing;
mod page;
mod reader;
mod report;
mod restored;
mod retention;
mod schema;
mod search;
mod settings;
mod store_error;
mod writer;
mod written;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use smallvec::SmallVec;
use starling_protocol::Seq;

pub use self::settings::SqliteSettings;

use self::command::{Append, NewCopy, WriterCommand};
use self::command_queue::CommandSender;
use self::lock::Lock;
use self::numbers::FreeNumbers;
use self::open::Opened;
use self::open_error::OpenError;
use self::page::DiskRead;
use self::reader::Readers;
use self::report::Report;
use self::schema::{Bounds, DbRoom};
use self::search::Searches;
use super::{
    CannotOpen, Completion, Entry, EntryCopy, HistoryMetrics, HistoryStore, LogMark, OwnLimits, Page, ReadError,
    ReadRequest, Receipt, ReportSink, Restored, Standing, StoreReport, StoredCopy, Twin,
};
use crate::clock;
use crate::identity::IdOwner;
use crate::ids::RoomId;
use crate::log_interval::LogInterval;
use crate::moderation::Row;
use crate::vitals::Vitals;

/// A turn is handed to the writer early when it has this many messages, so that a long turn does not leave the disk
/// idle.
const TURN_MESSAGES_MAX: usize = 256;

/// Comes with each new room, for as long as there is none.
static NO_NUMBER: LogInterval = LogInterval::new();

/// A [`HistoryStore`] in a SQLite database.
pub struct SqliteStore {
    opened: Option<Opened>,
    settings: Arc<SqliteSettings>,
    metrics: Arc<HistoryMetrics>,
    /// The bounds of the restored rooms, until the writer takes them.
    bounds: Bounds,
    // Trees, because a hash table of a million rooms would block the thread for too long while it grows.
    rooms: BTreeMap<RoomId, DbRoom>,
    by_db: BTreeMap<DbRoom, RoomId>,
    numbers: FreeNumbers,
    /// The commands of this turn for the writer, and the number of messages in them.
    turn: Vec<WriterCommand>,
    turn_messages: usize,
    threads: Option<Threads>,
    /// Held while any thread may use the database. Fields are dropped after `drop` has joined the threads.
    _lock: Lock,
}

struct Threads {
    writer: CommandSender,
    /// Dropped to stop the checkpoint thread.
    checkpoints: Option<Sender<()>>,
    readers: Readers,
    searches: Arc<Searches>,
    /// The writer thread.
    writing: Option<JoinHandle<()>>,
    /// All other threads.
    others: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.settings.path).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the database. Creates it if it does not exist, and migrates an older version.
    ///
    /// # Errors
    /// [`CannotOpen`]; then the database is unchanged.
    pub fn open(settings: SqliteSettings, metrics: Arc<HistoryMetrics>) -> Result<Self, CannotOpen> {
        Self::try_open(settings, metrics).map_err(CannotOpen::because)
    }

    fn try_open(mut settings: SqliteSettings, metrics: Arc<HistoryMetrics>) -> Result<Self, OpenError> {
        settings.path = file::locate_new(&settings.path)?;
        let (mut opened, lock) = open::open(&settings)?;
        let stored = opened.rooms.iter().zip(&opened.restored.rooms);
        let numbers = std::mem::take(&mut opened.numbers);
        let bounds = stored.map(|(db, room)| (*db, (room.seq, room.oldest))).collect();
        Ok(Self {
            opened: Some(opened),
            settings: Arc::new(settings),
            metrics,
            bounds,
            rooms: BTreeMap::new(),
            by_db: BTreeMap::new(),
            numbers,
            turn: Vec::new(),
            turn_messages: 0,
            threads: None,
            _lock: lock,
        })
    }

    /// Hands the turn to the writer. If there is no writer, every entry is refused.
    fn hand_on(&mut self, done: &mut Vec<Completion>) {
        let turn = std::mem::take(&mut self.turn);
        self.turn_messages = 0;
        let unsent = match &self.threads {
            Some(threads) => threads.writer.send(turn).err(),
            None => Some(turn),
        };
        let Some(unsent) = unsent else { return };
        self.metrics.writer.complete_n(unsent.iter().map(WriterCommand::messages).sum::<usize>() as u64);
        self.metrics.health.set(Some("the history's writer thread has ended".into()));
        for command in unsent {
            match command {
                WriterCommand::Append(Append { number, .. }) => done.push(Completion::Refused { number }),
                WriterCommand::Forget(_, Some(receipt)) => {
                    done.push(Completion::Forgotten { receipt, is_gone: false });
                }
                WriterCommand::KeepModeration(_, Some(receipt)) => {
                    done.push(Completion::Decided { receipt, is_kept: false });
                }
                WriterCommand::Forget(_, None)
                | WriterCommand::KeepModeration(_, None)
                | WriterCommand::NoteSent(..)
                | WriterCommand::NoteRead(..)
                | WriterCommand::Limit(..)
                | WriterCommand::Mark(_)
                | WriterCommand::FindNumbers(_)
                | WriterCommand::CheckpointFailed(_) => {}
            }
        }
    }

    /// The number of a room in the database. A new room gets the next number. `None` if all numbers are used.
    fn db_room(&mut self, room: RoomId) -> Option<DbRoom> {
        if let Some(db) = self.rooms.get(&room) {
            return Some(*db);
        }
        if let Some(from) = self.numbers.wanted() {
            self.turn.push(WriterCommand::FindNumbers(from));
        }
        let Some(db) = self.numbers.take(|number| self.by_db.contains_key(&number)) else {
            NO_NUMBER.warn(|| "no number is free for a new room in the history: its first message is refused".into());
            return None;
        };
        self.by_db.insert(db, room);
        self.rooms.insert(room, db);
        Some(db)
    }
}

/// The completion of a committed entry. A commit of this store drops no messages, so `oldest` is `None`.
fn committed(append: Append) -> Completion {
    let places: SmallVec<[Twin; 2]> =
        append.copies.iter().map(|copy| Twin { epoch: copy.epoch, seq: copy.seq }).collect();
    let copies = append.copies.into_iter().enumerate().map(|(index, copy)| {
        let NewCopy { room, key, epoch, draft, seq, .. } = copy;
        let message = Arc::new(draft.placed(key, seq, Twin::of(index, &places)));
        StoredCopy { room, epoch, message, oldest: None }
    });
    Completion::Committed { number: append.number, copies: copies.collect() }
}

impl HistoryStore for SqliteStore {
    fn restore(&mut self) -> Restored {
        let Some(opened) = &mut self.opened else { return Restored::default() };
        let restored = std::mem::take(&mut opened.restored);
        for (room, db) in (0..).map(RoomId).zip(&opened.rooms) {
            self.rooms.insert(room, *db);
            self.by_db.insert(*db, room);
        }
        restored
    }

    fn connect(&mut self, sink: ReportSink, vitals: &Vitals) {
        let Some(opened) = self.opened.take() else { return };
        let (readers, mut others) = Readers::start(opened.readers, &sink, &self.metrics, vitals);
        let (searches, thread) =
            Searches::start(opened.searcher, &self.settings.path, Arc::clone(&sink), &self.metrics, vitals);
        others.push(thread);
        let files = Arc::new(opened.files);
        let (commands, writing) = writer::start(
            (opened.writer, Arc::clone(&files)),
            Arc::clone(&self.settings),
            Arc::clone(&self.metrics),
            (sink, Arc::clone(&searches)),
            (std::mem::take(&mut self.bounds), opened.dropped),
            vitals,
        );
        let (checkpoints, thread) =
            checkpoints::start((opened.checkpoints, files), commands.clone(), &self.metrics, vitals);
        others.push(thread);
        let checkpoints = Some(checkpoints);
        self.threads =
            Some(Threads { writer: commands, checkpoints, readers, searches, writing: Some(writing), others });
    }

    fn reported(&mut self, report: StoreReport, done: &mut Vec<Completion>) {
        match report.open::<Report>() {
            Some(Report::Committed(appends)) => {
                done.extend(appends.into_iter().map(committed));
            }
            Some(Report::Refused(numbers)) => {
                done.extend(numbers.into_iter().map(|number| Completion::Refused { number }));
            }
            Some(Report::Trimmed(rooms)) => {
                for (db, oldest) in rooms {
                    // The room was forgotten in the meantime.
                    done.extend(self.by_db.get(&db).map(|room| Completion::Trimmed { room: *room, oldest }));
                }
            }
            Some(Report::Numbers(found)) => self.numbers.add(found),
            Some(Report::Forgotten(receipt, is_gone)) => done.push(Completion::Forgotten { receipt, is_gone }),
            Some(Report::Decided(receipt, is_kept)) => done.push(Completion::Decided { receipt, is_kept }),
            Some(Report::Read { request, outcome: Ok(page) }) => {
                done.push(Completion::Read { request: Box::new(request), page });
            }
            Some(Report::Read { request, outcome: Err(error) }) => {
                done.push(Completion::Unread { request: Box::new(request), error });
            }
            None => debug_assert!(false, "a report from another type of store"),
        }
    }

    fn append(&mut self, entry: Entry, done: &mut Vec<Completion>) {
        let Entry { number, copies } = entry;
        let mut appended = SmallVec::new();
        for EntryCopy { room, key, epoch, draft, seq } in copies {
            let Some(db) = self.db_room(room) else { return done.push(Completion::Refused { number }) };
            appended.push(NewCopy { room, db, key, epoch, draft, given: seq, seq: Seq(0) });
        }
        self.metrics.writer.arrive_n(appended.len() as u64);
        self.turn_messages += appended.len();
        self.turn.push(WriterCommand::Append(Append { number, copies: appended, queued: clock::now() }));
        if self.turn_messages >= TURN_MESSAGES_MAX {
            self.hand_on(done);
        }
    }

    fn note_sent(&mut self, room: RoomId, seq: Seq) {
        if let Some(db) = self.rooms.get(&room) {
            // Without a writer the note is lost, and the messages are sent again after the next start.
            self.turn.push(WriterCommand::NoteSent(*db, seq));
        }
    }

    fn note_read(&mut self, owner: IdOwner, room: RoomId, standing: Option<Standing>) {
        // A client may be there before the first message.
        let is_there = standing.is_some() || self.rooms.contains_key(&room);
        if let Some(db) = is_there.then(|| self.db_room(room)).flatten() {
            // Without a writer the note is lost, and the client has read less after the next start.
            self.turn.push(WriterCommand::NoteRead(owner, db, standing));
        }
    }

    fn keep_moderation(&mut self, rows: Vec<Row>, receipt: Option<Receipt>, _: &mut Vec<Completion>) {
        self.turn.push(WriterCommand::KeepModeration(rows, receipt));
    }

    fn limit(&mut self, room: RoomId, limits: OwnLimits) {
        // A room without messages has no number yet; it needs none if it has no limits either.
        let is_limited = limits != OwnLimits::default();
        let db = if is_limited { self.db_room(room) } else { self.rooms.get(&room).copied() };
        self.turn.extend(db.map(|db| WriterCommand::Limit(db, limits)));
    }

    fn mark(&mut self, mark: LogMark) {
        match self.turn.last_mut() {
            // Nothing came between them.
            Some(WriterCommand::Mark(last)) => *last = mark,
            _ => self.turn.push(WriterCommand::Mark(mark)),
        }
    }

    fn has_queued(&self) -> bool {
        !self.turn.is_empty()
    }

    fn end_turn(&mut self, done: &mut Vec<Completion>) {
        if self.has_queued() {
            self.hand_on(done);
            // If the writer shares this core and does not wait for more messages, it commits now, and messages that
            // arrive meanwhile join the next commit. Otherwise this returns at once.
            std::thread::yield_now();
        }
    }

    fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>) {
        let Some(db) = self.rooms.get(&request.room).copied() else {
            return done.push(Completion::Read { request: Box::new(request), page: Page::default() });
        };
        let Some(threads) = &self.threads else {
            return done.push(Completion::Unread { request: Box::new(request), error: ReadError::Failed });
        };
        let read = DiskRead { db, request, queued: clock::now() };
        let is_search = read.request.search.is_some();
        let asked = if is_search { threads.searches.ask(read) } else { threads.readers.ask(read) };
        if let Err(request) = asked {
            done.push(Completion::Unread { request: Box::new(request), error: ReadError::Busy });
        }
    }

    fn forget(&mut self, room: RoomId, receipt: Option<Receipt>, done: &mut Vec<Completion>) {
        if let Some(db) = self.rooms.remove(&room) {
            self.by_db.remove(&db);
            // Without a writer the row stays, and the room exists again after the next start.
            self.turn.push(WriterCommand::Forget(db, receipt));
        } else {
            // No message of the room was ever stored.
            done.extend(receipt.map(|receipt| Completion::Forgotten { receipt, is_gone: true }));
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        if self.has_queued() {
            // No receiver is left for the completions.
            self.hand_on(&mut Vec::new());
        }
        drop(self.opened.take());
        let Some(mut threads) = self.threads.take() else { return };
        let join = |thread: JoinHandle<()>| {
            if thread.join().is_err() {
                log::error!("a thread of the history panicked");
            }
        };
        drop(threads.checkpoints.take());
        threads.readers.stop();
        threads.searches.stop();
        threads.others.drain(..).for_each(join);
        // The writer commits its queue. Its connection must be the last to close: a read-only connection cannot
        // checkpoint the write-ahead log.
        threads.writer.close();
        threads.writing.take().into_iter().for_each(join);
    }
}

#[cfg(test)]
mod tests;
