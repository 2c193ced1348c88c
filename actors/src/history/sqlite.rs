//! History in a file: an embedded SQLite database, written by one thread and read by others.
//!
//! Invariants:
//! - The `ChatServer`'s thread never waits for the disk: it queues, hands on what has queued at the end of its turn, and
//!   gets reports through its mailbox.
//! - `Stored` is said after the commit, in the order of the appends.
//! - A page never shows a message that has not been reported as stored, so who catches up gets nothing twice.
//! - What was appended before a failure was reported is covered by that report: the writer skips it by its generation.
//! - A small memory of recent messages stands in front; it holds the newest of a room without a gap, and nothing that
//!   is not in the file.

pub mod backup;
mod continuity;
mod open;
pub mod operator;
mod ownership;
mod reader;
mod recent;
mod retention;
mod schema;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use starling_protocol::{Epoch, Seq};

pub use self::open::OpenError;

use self::open::{Lock, Opened};
use self::reader::{DiskRead, Readers};
use self::recent::Recent;
use self::schema::{DbRoom, ROOMS_MAX, SEQ_MAX};
pub(in crate::history) use self::writer::spawn;
use self::writer::{Append, StoredCopy, WriterCommand};
use super::memory::KeptBytes;
use super::{
    Completion, HistoryStore, NewMessage, Page, ReadError, ReadRequest, ReportSink, Restored, StoreReport,
    StoreReportOf, StoredMessage,
};
use crate::chat_server::command::DropReply;
use crate::clock;
use crate::ids::RoomId;
use crate::metrics::HistoryMetrics;
use crate::vitals::Vitals;

/// Messages of one turn that are handed on before it ends, so that a long one does not keep the disk idle.
const TURN_MESSAGES_MAX: usize = 256;

/// When a commit counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// When the system has it: survives the death of the process.
    Normal,
    /// When the disk has it: survives also the death of the machine.
    Full,
}

impl Sync {
    /// SQLite's name for it.
    fn pragma(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Full => "FULL",
        }
    }
}

/// What the store is told once.
#[derive(Debug, Clone)]
pub struct SqliteSettings {
    /// The database; its folder is made.
    pub path: PathBuf,
    /// When a commit counts as done.
    pub sync: Sync,
    /// Most messages kept of one room; the oldest go first. `None`: all.
    pub keep_messages: Option<u64>,
    /// How long a message is kept. `None`: for ever.
    pub keep_for: Option<Duration>,
    /// Most bytes in use in the database; the oldest messages of all go first. `None`: no bound.
    pub keep_bytes: Option<u64>,
    /// Most messages of one room in the memory in front.
    pub recent_messages: u32,
    /// Most bytes in the memory in front.
    pub recent_bytes: u64,
    /// How long a message's `id` is remembered.
    pub ids_kept: Duration,
    /// Most `id`s that are taken over from before.
    pub ids_max: u32,
}

/// Whether the storage works; shared with whoever answers for readiness.
#[derive(Debug, Clone, Default)]
pub struct StoreHealth(Arc<Mutex<Option<String>>>);

impl StoreHealth {
    /// Why nothing can be stored at the moment, if so.
    pub fn failure(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, failure: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

/// What the threads of the store have finished.
#[derive(Debug)]
pub(super) enum Report {
    /// These are committed.
    Committed(Vec<(RoomId, Arc<StoredMessage>)>),
    /// Nothing that was appended in this generation and is not committed yet will be.
    Failed { generation: u32 },
    /// Nothing that was appended to these rooms and is not committed yet will be.
    RoomsFailed(Vec<RoomId>),
    /// Storing works again.
    Recovered,
    /// The oldest messages of these rooms are gone.
    Trimmed(Vec<(DbRoom, Seq)>),
    /// A part of the history was read, or not.
    Read { request: ReadRequest, outcome: Result<Page, ReadError> },
}

#[derive(Debug)]
struct Room {
    db: DbRoom,
    /// The newest message that is reported as stored.
    seq: Seq,
    oldest: Seq,
    in_flight: u32,
}

impl Room {
    /// Nothing of this room that waits will be stored.
    fn failed(&mut self, room: RoomId, done: &mut Vec<Completion>) {
        if std::mem::take(&mut self.in_flight) > 0 {
            done.push(Completion::Failed { room, seq: self.seq.next() });
        }
    }
}

/// Keeps what was said in a SQLite database.
pub struct SqliteHistory {
    opened: Option<Opened>,
    settings: Arc<SqliteSettings>,
    metrics: Arc<HistoryMetrics>,
    health: StoreHealth,
    rooms: FxHashMap<RoomId, Room>,
    by_db: FxHashMap<DbRoom, RoomId>,
    next_db: u32,
    recent: Recent,
    /// What this turn asks of the writer, and how many messages are among it.
    turn: Vec<WriterCommand>,
    turn_messages: usize,
    /// Raised with every failure that is reported.
    generation: u32,
    is_failing: bool,
    threads: Option<Threads>,
    /// Held for as long as any thread may touch the database: a field is dropped after `drop` has ended them.
    _lock: Lock,
}

struct Threads {
    writer: Option<Sender<Vec<WriterCommand>>>,
    /// Dropped to end the checkpoints.
    checkpoints: Option<Sender<()>>,
    readers: Readers,
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
        settings.path = open::locate(&settings.path)?;
        let (opened, lock) = open::open(&settings)?;
        Ok(Self {
            opened: Some(opened),
            recent: Recent::new(settings.recent_messages, settings.recent_bytes),
            settings: Arc::new(settings),
            metrics,
            health: StoreHealth::default(),
            rooms: FxHashMap::default(),
            by_db: FxHashMap::default(),
            next_db: 1,
            turn: Vec::new(),
            turn_messages: 0,
            generation: 0,
            is_failing: false,
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

    /// Hands the turn to the writer. Where there is none any more, nothing of it is stored.
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
        self.failed(done);
    }

    /// The entry of a room; a new one gets the next number of the database. `None`: there are no more numbers.
    fn room(&mut self, room: RoomId) -> Option<&mut Room> {
        if !self.rooms.contains_key(&room) {
            if self.next_db > ROOMS_MAX {
                return None;
            }
            let db = DbRoom(self.next_db);
            self.next_db += 1;
            self.by_db.insert(db, room);
            self.rooms.insert(room, Room { db, seq: Seq(0), oldest: Seq(1), in_flight: 0 });
        }
        self.rooms.get_mut(&room)
    }

    fn committed(&mut self, batch: Vec<(RoomId, Arc<StoredMessage>)>, done: &mut Vec<Completion>) {
        for (room, message) in batch {
            let Some(entry) = self.rooms.get_mut(&room) else { continue };
            entry.in_flight = entry.in_flight.saturating_sub(1);
            entry.seq = message.seq;
            done.push(Completion::Stored { room, seq: message.seq, oldest: entry.oldest });
            self.recent.push(room, message);
        }
    }

    fn failed(&mut self, done: &mut Vec<Completion>) {
        self.generation += 1;
        self.is_failing = true;
        for (room, entry) in &mut self.rooms {
            entry.failed(*room, done);
        }
    }

    /// Whether the next message of a room can be stored, as far as is known now.
    fn accepts(&mut self, message: &NewMessage) -> bool {
        !self.is_failing && message.message.seq.0 <= SEQ_MAX && self.room(message.room).is_some()
    }

    /// Queues the copies of one message: all of them, or none.
    fn queue(&mut self, copies: SmallVec<[NewMessage; 1]>, done: &mut Vec<Completion>) {
        let mut accepted = SmallVec::new();
        for copy in &copies {
            if !self.accepts(copy) {
                let failed = copies.iter().map(|copy| (copy.room, copy.message.seq));
                return done.extend(failed.map(|(room, seq)| Completion::Failed { room, seq }));
            }
        }
        for NewMessage { room, epoch, message } in copies {
            let Some(entry) = self.room(room) else { continue };
            entry.in_flight += 1;
            accepted.push(StoredCopy { room, db: entry.db, epoch, message });
        }
        self.metrics.writer.arrive_n(accepted.len() as u64);
        self.turn_messages += accepted.len();
        let append = Append { copies: accepted, generation: self.generation, queued: clock::now() };
        self.turn.push(WriterCommand::Append(append));
        if self.turn_messages >= TURN_MESSAGES_MAX {
            self.hand_on(done);
        }
    }
}

impl HistoryStore for SqliteHistory {
    fn restore(&mut self) -> Restored {
        let Some(opened) = &mut self.opened else { return Restored::default() };
        let restored = std::mem::take(&mut opened.restored);
        for (index, (db, stored)) in opened.rooms.iter().zip(&restored.rooms).enumerate() {
            let Ok(index) = u32::try_from(index) else { continue };
            let entry = Room { db: *db, seq: stored.seq, oldest: stored.oldest, in_flight: 0 };
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
        let (commands, writing) = writer::start(
            (opened.writer, opened.identity, opened.continuity),
            Arc::clone(&self.settings),
            Arc::clone(&self.metrics),
            self.health.clone(),
            sink,
            (known, opened.dropped),
            vitals,
        );
        let (checkpoints, thread) =
            writer::start_checkpoints(opened.checkpoints, commands.clone(), &self.metrics, vitals);
        others.push(thread);
        let (writer, checkpoints) = (Some(commands), Some(checkpoints));
        self.threads = Some(Threads { writer, checkpoints, readers, writing: Some(writing), others });
    }

    fn reported(&mut self, StoreReport(report): StoreReport, done: &mut Vec<Completion>) {
        let StoreReportOf::Sqlite(report) = report else { return };
        match report {
            Report::Committed(batch) => self.committed(batch, done),
            Report::Failed { generation } => {
                // A failure of an older generation has been reported already.
                if generation == self.generation {
                    self.failed(done);
                }
            }
            Report::RoomsFailed(rooms) => {
                for room in rooms {
                    if let Some(entry) = self.rooms.get_mut(&room) {
                        entry.failed(room, done);
                    }
                }
            }
            Report::Recovered => self.is_failing = false,
            Report::Trimmed(rooms) => {
                for (db, oldest) in rooms {
                    let Some(room) = self.by_db.get(&db).copied() else { continue };
                    if let Some(entry) = self.rooms.get_mut(&room) {
                        entry.oldest = oldest;
                        done.push(Completion::Trimmed { room, oldest });
                        self.recent.trim(room, oldest);
                    }
                }
            }
            Report::Read { request, outcome: Ok(page) } => done.push(Completion::Read { request, page }),
            Report::Read { request, outcome: Err(error) } => done.push(Completion::Unread { request, error }),
        }
    }

    fn append(&mut self, room: RoomId, epoch: Epoch, message: Arc<StoredMessage>, done: &mut Vec<Completion>) {
        self.queue(SmallVec::from_iter([NewMessage { room, epoch, message }]), done);
    }

    fn append_both(&mut self, copies: [NewMessage; 2], done: &mut Vec<Completion>) {
        self.queue(SmallVec::from_iter(copies), done);
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
        if let Err(request) = threads.readers.ask(read) {
            done.push(Completion::Unread { request, error: ReadError::Busy });
        }
    }

    fn forget(&mut self, room: RoomId, reply: Option<DropReply>) {
        self.recent.forget(room);
        if let Some(entry) = self.rooms.remove(&room) {
            self.by_db.remove(&entry.db);
            // Without a writer the row stays, and the room is back after the next start.
            self.turn.push(WriterCommand::Forget(entry.db, reply));
        } else if let Some(reply) = reply {
            // Nothing was said in it. Whoever asked may have gone.
            reply.send(Ok(())).unwrap_or_default();
        }
    }
}

impl Drop for SqliteHistory {
    fn drop(&mut self) {
        if self.has_queued() {
            // Nobody is left to be told how it went.
            self.hand_on(&mut Vec::new());
        }
        if let Some(mut opened) = self.opened.take() {
            writer::note_end(&opened.continuity, &mut opened.writer);
        }
        let Some(mut threads) = self.threads.take() else { return };
        let join = |thread: JoinHandle<()>| {
            if thread.join().is_err() {
                log::error!("a thread of the history panicked");
            }
        };
        drop(threads.checkpoints.take());
        threads.readers.stop();
        threads.others.drain(..).for_each(join);
        // The writer commits what is queued. Its connection is the last, so that it takes the write-ahead log back into
        // the database: one that only reads could not.
        drop(threads.writer.take());
        threads.writing.take().into_iter().for_each(join);
    }
}

#[cfg(test)]
mod tests;
