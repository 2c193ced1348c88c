//! History in a file: an embedded SQLite database, written by one thread and read by others.
//!
//! Invariants:
//! - The `ChatServer`'s thread never waits for the disk: it queues, hands on what has queued at the end of its turn, and
//!   gets reports through its mailbox.
//! - The writer numbers the messages of a room when it commits them, and reports them after the commit, in the order of
//!   the appends. It answers each entry once.
//! - A room of the chat has another number in the file, for a number of the chat is used again when its room has ended.

pub mod backup;
mod checkpoints;
mod command;
mod commit;
mod continuity;
mod file;
mod lock;
mod open;
pub mod operator;
mod ownership;
mod page;
mod reader;
mod report;
mod restored;
mod retention;
mod schema;
mod search;
mod settings;
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
use self::lock::Lock;
use self::open::{OpenError, Opened};
use self::page::DiskRead;
use self::reader::Readers;
use self::report::Report;
use self::schema::{Bounds, DbRoom, ROOMS_MAX};
use self::search::Searches;
use super::{
    CannotOpen, Completion, Entry, EntryCopy, HistoryMetrics, HistoryStore, LogMark, Page, ReadError, ReadRequest,
    Receipt, ReportSink, Restored, StoreReport, StoredCopy,
};
use crate::clock;
use crate::ids::RoomId;
use crate::vitals::Vitals;

/// Messages of one turn that are handed on before it ends, so that a long one does not keep the disk idle.
const TURN_MESSAGES_MAX: usize = 256;

/// Keeps what was said in a SQLite database.
pub struct SqliteStore {
    opened: Option<Opened>,
    settings: Arc<SqliteSettings>,
    metrics: Arc<HistoryMetrics>,
    /// Of the restored rooms, until the writer gets them.
    bounds: Bounds,
    // Trees: a hash table of a million rooms takes longer to grow than anything may wait.
    rooms: BTreeMap<RoomId, DbRoom>,
    by_db: BTreeMap<DbRoom, RoomId>,
    next_db: u32,
    /// What this turn asks of the writer, and how many messages are among it.
    turn: Vec<WriterCommand>,
    turn_messages: usize,
    threads: Option<Threads>,
    /// Held for as long as any thread may touch the database: a field is dropped after `drop` has ended them.
    _lock: Lock,
}

struct Threads {
    writer: Option<Sender<Vec<WriterCommand>>>,
    /// Dropped to end the checkpoints.
    checkpoints: Option<Sender<()>>,
    readers: Readers,
    searches: Arc<Searches>,
    /// The thread that writes.
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
    /// Opens the database, makes it where there is none, and brings an older one up to date.
    ///
    /// # Errors
    /// [`CannotOpen`]; then the database is as it was.
    pub fn open(settings: SqliteSettings, metrics: Arc<HistoryMetrics>) -> Result<Self, CannotOpen> {
        Self::try_open(settings, metrics).map_err(CannotOpen::because)
    }

    fn try_open(mut settings: SqliteSettings, metrics: Arc<HistoryMetrics>) -> Result<Self, OpenError> {
        settings.path = file::locate_new(&settings.path)?;
        let (opened, lock) = open::open(&settings)?;
        let stored = opened.rooms.iter().zip(&opened.restored.rooms);
        let bounds = stored.map(|(db, room)| (*db, (room.seq, room.oldest))).collect();
        Ok(Self {
            opened: Some(opened),
            settings: Arc::new(settings),
            metrics,
            bounds,
            rooms: BTreeMap::new(),
            by_db: BTreeMap::new(),
            next_db: 1,
            turn: Vec::new(),
            turn_messages: 0,
            threads: None,
            _lock: lock,
        })
    }

    /// Hands the turn to the writer. Without one nothing of it is stored.
    fn hand_on(&mut self, done: &mut Vec<Completion>) {
        let turn = std::mem::take(&mut self.turn);
        self.turn_messages = 0;
        let unsent = match self.threads.as_ref().and_then(|threads| threads.writer.as_ref()) {
            Some(writer) => writer.send(turn).err().map(|error| error.0),
            None => Some(turn),
        };
        let Some(unsent) = unsent else { return };
        self.metrics.writer.complete_n(unsent.iter().map(WriterCommand::messages).sum::<usize>() as u64);
        self.metrics.health.set(Some("the history's thread has ended".into()));
        for command in unsent {
            match command {
                WriterCommand::Append(Append { number, .. }) => done.push(Completion::Refused { number }),
                WriterCommand::Forget(_, Some(receipt)) => {
                    done.push(Completion::Forgotten { receipt, is_gone: false });
                }
                WriterCommand::Forget(_, None)
                | WriterCommand::Delivered(..)
                | WriterCommand::Mark(_)
                | WriterCommand::CheckpointFailed(_) => {}
            }
        }
    }

    /// The number of a room in the database; a new room gets the next one. `None`: there are no more numbers.
    fn db_room(&mut self, room: RoomId) -> Option<DbRoom> {
        if let Some(db) = self.rooms.get(&room) {
            return Some(*db);
        }
        if self.next_db > ROOMS_MAX {
            return None;
        }
        let db = DbRoom(self.next_db);
        self.next_db += 1;
        self.by_db.insert(db, room);
        self.rooms.insert(room, db);
        Some(db)
    }
}

/// An entry with the numbers that its messages got. Its rooms may drop messages later, not with this commit.
fn committed(append: Append) -> Completion {
    let copies = append.copies.into_iter().map(|NewCopy { room, key, epoch, draft, seq, .. }| {
        let message = Arc::new(draft.placed(key, seq));
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
        self.next_db = opened.last_number + 1;
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
        let (writer, checkpoints) = (Some(commands), Some(checkpoints));
        self.threads = Some(Threads { writer, checkpoints, readers, searches, writing: Some(writing), others });
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
                    // A room that was forgotten meanwhile is nobody's.
                    done.extend(self.by_db.get(&db).map(|room| Completion::Trimmed { room: *room, oldest }));
                }
            }
            Some(Report::Forgotten(receipt, is_gone)) => done.push(Completion::Forgotten { receipt, is_gone }),
            Some(Report::Read { request, outcome: Ok(page) }) => done.push(Completion::Read { request, page }),
            Some(Report::Read { request, outcome: Err(error) }) => done.push(Completion::Unread { request, error }),
            None => debug_assert!(false, "the report of another store"),
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

    fn delivered(&mut self, room: RoomId, seq: Seq) {
        if let Some(db) = self.rooms.get(&room) {
            // Without a writer it is not noted, and sent again after the next start.
            self.turn.push(WriterCommand::Delivered(*db, seq));
        }
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
            // Where the writer shares this core, it commits now: what is said in the meantime then travels with this.
            // With a core of its own for it, nothing is waited for.
            std::thread::yield_now();
        }
    }

    fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>) {
        let Some(db) = self.rooms.get(&request.room).copied() else {
            return done.push(Completion::Read { request, page: Page::default() });
        };
        let Some(threads) = &self.threads else {
            return done.push(Completion::Unread { request, error: ReadError::Failed });
        };
        let read = DiskRead { db, request, queued: clock::now() };
        let is_search = read.request.search.is_some();
        let asked = if is_search { threads.searches.ask(read) } else { threads.readers.ask(read) };
        if let Err(request) = asked {
            done.push(Completion::Unread { request, error: ReadError::Busy });
        }
    }

    fn forget(&mut self, room: RoomId, receipt: Option<Receipt>, done: &mut Vec<Completion>) {
        if let Some(db) = self.rooms.remove(&room) {
            self.by_db.remove(&db);
            // Without a writer the row stays, and the room is back after the next start.
            self.turn.push(WriterCommand::Forget(db, receipt));
        } else {
            // No message of it was ever stored.
            done.extend(receipt.map(|receipt| Completion::Forgotten { receipt, is_gone: true }));
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        if self.has_queued() {
            // Nobody is left to be told how it went.
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
        // The writer commits what is queued. Its connection is the last, so that it takes the write-ahead log back into
        // the database: one that only reads could not.
        drop(threads.writer.take());
        threads.writing.take().into_iter().for_each(join);
    }
}

#[cfg(test)]
mod tests;
