//! History in a file: an embedded SQLite database, written by one thread and read by others.
//!
//! Invariants:
//! - The `ChatServer`'s thread never waits for the disk: it queues, hands on what has queued at the end of its turn, and
//!   gets reports through its mailbox.
//! - The writer numbers the messages of a room when it commits them, and reports them after the commit, in the order of
//!   the appends. It answers each entry once.
//! - A page never shows a message that has not been reported, so a session that catches up gets nothing twice.
//! - A small memory of recent messages stands in front; it holds the newest of a room without a gap, and nothing that
//!   is not in the file.

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
mod recent;
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
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use smallvec::SmallVec;
use starling_protocol::Seq;

pub use self::open::OpenError;
pub use self::report::StoreHealth;
pub use self::settings::{SqliteSettings, Sync};

use self::command::{Append, NewCopy, WriterCommand};
use self::lock::Lock;
use self::open::Opened;
use self::page::DiskRead;
use self::reader::Readers;
use self::recent::Recent;
use self::report::Report;
use self::schema::{DbRoom, ROOMS_MAX};
use self::search::Searches;
use super::memory::KeptBytes;
use super::{
    Completion, Entry, EntryCopy, HistoryStore, Page, ReadError, ReadRequest, Receipt, ReportSink, Restored,
    StoreReport, StoredCopy,
};
use crate::clock;
use crate::ids::RoomId;
use crate::metrics::HistoryMetrics;
use crate::vitals::Vitals;

/// Messages of one turn that are handed on before it ends, so that a long one does not keep the disk idle.
const TURN_MESSAGES_MAX: usize = 256;

#[derive(Debug)]
struct Room {
    db: DbRoom,
    /// The newest message that is reported as committed.
    seq: Seq,
    oldest: Seq,
}

/// Keeps what was said in a SQLite database.
pub struct SqliteHistory {
    opened: Option<Opened>,
    settings: Arc<SqliteSettings>,
    metrics: Arc<HistoryMetrics>,
    health: StoreHealth,
    // Trees: a hash table of a million rooms takes longer to grow than anything may wait.
    rooms: BTreeMap<RoomId, Room>,
    by_db: BTreeMap<DbRoom, RoomId>,
    next_db: u32,
    recent: Recent,
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

impl std::fmt::Debug for SqliteHistory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteHistory").field("path", &self.settings.path).finish_non_exhaustive()
    }
}

impl SqliteHistory {
    /// Opens the database, makes it where there is none, and brings an older one up to date.
    ///
    /// # Errors
    /// [`OpenError`]; then the database is as it was.
    pub fn open(mut settings: SqliteSettings, metrics: Arc<HistoryMetrics>) -> Result<Self, OpenError> {
        settings.path = file::locate_new(&settings.path)?;
        let (opened, lock) = open::open(&settings)?;
        Ok(Self {
            opened: Some(opened),
            recent: Recent::new(settings.recent_messages, settings.recent_bytes),
            settings: Arc::new(settings),
            metrics,
            health: StoreHealth::default(),
            rooms: BTreeMap::new(),
            by_db: BTreeMap::new(),
            next_db: 1,
            turn: Vec::new(),
            turn_messages: 0,
            threads: None,
            _lock: lock,
        })
    }

    /// The bytes of the messages in memory in front of the disk, also after the store was handed on.
    pub fn kept_bytes(&self) -> KeptBytes {
        self.recent.kept_bytes()
    }

    /// Whether storing works, also after the store was handed on.
    pub fn health(&self) -> StoreHealth {
        self.health.clone()
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
        self.health.set(Some("the history's thread has ended".into()));
        self.metrics.failing.store(1, Relaxed);
        for command in unsent {
            match command {
                WriterCommand::Append(Append { number, .. }) => done.push(Completion::Refused { number }),
                WriterCommand::Forget(_, Some(receipt)) => {
                    done.push(Completion::Forgotten { receipt, is_gone: false });
                }
                WriterCommand::Forget(_, None) | WriterCommand::Delivered(..) | WriterCommand::CheckpointFailed(_) => {}
            }
        }
    }

    /// The number of a room in the database; a new room gets the next one. `None`: there are no more numbers.
    fn db_room(&mut self, room: RoomId) -> Option<DbRoom> {
        if let Some(entry) = self.rooms.get(&room) {
            return Some(entry.db);
        }
        if self.next_db > ROOMS_MAX {
            return None;
        }
        let db = DbRoom(self.next_db);
        self.next_db += 1;
        self.by_db.insert(db, room);
        self.rooms.insert(room, Room { db, seq: Seq(0), oldest: Seq(1) });
        Some(db)
    }

    fn committed(&mut self, append: Append, done: &mut Vec<Completion>) {
        let mut copies = SmallVec::new();
        for NewCopy { room, key, epoch, draft, seq, .. } in append.copies {
            let message = Arc::new(draft.placed(key, seq));
            let Some(entry) = self.rooms.get_mut(&room) else { continue };
            entry.seq = seq;
            copies.push(StoredCopy { room, epoch, message: Arc::clone(&message), oldest: entry.oldest });
            self.recent.push(room, epoch, message);
        }
        done.push(Completion::Committed { number: append.number, copies });
    }
}

impl HistoryStore for SqliteHistory {
    fn restore(&mut self) -> Restored {
        let Some(opened) = &mut self.opened else { return Restored::default() };
        let restored = std::mem::take(&mut opened.restored);
        for (index, (db, stored)) in opened.rooms.iter().zip(&restored.rooms).enumerate() {
            let Ok(index) = u32::try_from(index) else { continue };
            let entry = Room { db: *db, seq: stored.seq, oldest: stored.oldest };
            self.rooms.insert(RoomId(index), entry);
            self.by_db.insert(*db, RoomId(index));
        }
        self.next_db = opened.last_number + 1;
        restored
    }

    fn connect(&mut self, sink: ReportSink, vitals: &Vitals) {
        let Some(opened) = self.opened.take() else { return };
        let known = self.rooms.values().map(|room| (room.db, (room.seq, room.oldest))).collect();
        let (readers, mut others) = Readers::start(opened.readers, &sink, &self.metrics, vitals);
        let (searches, thread) =
            Searches::start(opened.searcher, &self.settings.path, Arc::clone(&sink), &self.metrics, vitals);
        others.push(thread);
        let files = Arc::new(opened.files);
        let (commands, writing) = writer::start(
            (opened.writer, Arc::clone(&files)),
            Arc::clone(&self.settings),
            Arc::clone(&self.metrics),
            self.health.clone(),
            (sink, Arc::clone(&searches)),
            (known, opened.dropped),
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
                for append in appends {
                    self.committed(append, done);
                }
            }
            Some(Report::Refused(numbers)) => {
                done.extend(numbers.into_iter().map(|number| Completion::Refused { number }));
            }
            Some(Report::Trimmed(rooms)) => {
                for (db, oldest) in rooms {
                    let Some(room) = self.by_db.get(&db).copied() else { continue };
                    if let Some(entry) = self.rooms.get_mut(&room) {
                        entry.oldest = oldest;
                        done.push(Completion::Trimmed { room, oldest });
                        self.recent.trim(room, oldest);
                    }
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
        for EntryCopy { room, key, epoch, draft } in copies {
            let Some(db) = self.db_room(room) else { return done.push(Completion::Refused { number }) };
            appended.push(NewCopy { room, db, key, epoch, draft, seq: Seq(0) });
        }
        self.metrics.writer.arrive_n(appended.len() as u64);
        self.turn_messages += appended.len();
        self.turn.push(WriterCommand::Append(Append { number, copies: appended, queued: clock::now() }));
        if self.turn_messages >= TURN_MESSAGES_MAX {
            self.hand_on(done);
        }
    }

    fn delivered(&mut self, room: RoomId, seq: Seq) {
        if let Some(entry) = self.rooms.get(&room) {
            // Without a writer it is not noted, and sent again after the next start.
            self.turn.push(WriterCommand::Delivered(entry.db, seq));
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
        let Some(room) = self.rooms.get(&request.room) else {
            return done.push(Completion::Read { request, page: Page::default() });
        };
        if let Some(page) = self.recent.answer(&request, room.seq, room.oldest) {
            return done.push(Completion::Read { request, page });
        }
        let Some(threads) = &self.threads else {
            return done.push(Completion::Unread { request, error: ReadError::Failed });
        };
        let read = DiskRead { db: room.db, oldest: room.oldest, newest: room.seq, request, queued: clock::now() };
        let is_search = read.request.search.is_some();
        let asked = if is_search { threads.searches.ask(read) } else { threads.readers.ask(read) };
        if let Err(request) = asked {
            done.push(Completion::Unread { request, error: ReadError::Busy });
        }
    }

    fn forget(&mut self, room: RoomId, receipt: Option<Receipt>, done: &mut Vec<Completion>) {
        self.recent.forget(room);
        if let Some(entry) = self.rooms.remove(&room) {
            self.by_db.remove(&entry.db);
            // Without a writer the row stays, and the room is back after the next start.
            self.turn.push(WriterCommand::Forget(entry.db, receipt));
        } else {
            // No message of it was ever stored.
            done.extend(receipt.map(|receipt| Completion::Forgotten { receipt, is_gone: true }));
        }
    }
}

impl Drop for SqliteHistory {
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
