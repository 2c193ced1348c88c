//! The thread that writes: commits what has queued in one transaction, and drops what is too much in between.

use std::collections::VecDeque;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use log::{error, info, warn};
use rusqlite::{Connection, TransactionBehavior};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use starling_protocol::{Epoch, Seq};

use super::continuity::Continuity;
use super::open::FileIdentity;
use super::retention::Retention;
use super::schema::{self, DbRoom, SEQ_MAX, place};
use super::{Report, SqliteSettings, StoreHealth, open};
use crate::clock;
use crate::history::thread::spawn;
use crate::history::{Draft, EntryNumber, Receipt, ReportSink, RoomKey, StoreReport};
use crate::ids::RoomId;
use crate::log_interval::LogInterval;
use crate::metrics::HistoryMetrics;
use crate::vitals::Vitals;

/// Most messages in one commit.
const BATCH_MESSAGES_MAX: usize = 1_024;

/// Most rooms that one commit drops: more of them are dropped with the next commits.
const FORGOTTEN_MAX: usize = 256;

/// Most weight of the messages in one commit, in bytes.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// How often a storage that fails is tried again.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// What a trial writes: less room than that is as good as none.
const PROBE_BYTES: u32 = 128 * 1024;

/// How often what was written is taken from the write-ahead log into the database.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// A client can cause it as often as it writes.
static REFUSED: LogInterval = LogInterval::new();

/// Comes again with each step, for as long as the storage fails.
static UNDROPPED: LogInterval = LogInterval::new();

/// What the writer is to do.
#[derive(Debug)]
pub(super) enum WriterCommand {
    Append(Append),
    /// The owner of an inbox was sent everything up to this message.
    Delivered(DbRoom, Seq),
    /// The room has ended; the receipt comes back with the outcome.
    Forget(DbRoom, Option<Receipt>),
    /// The write-ahead log cannot be taken into the database.
    CheckpointFailed(rusqlite::Error),
}

impl WriterCommand {
    /// How many messages it stores.
    pub(super) fn messages(&self) -> usize {
        if let Self::Append(append) = self { append.copies.len() } else { 0 }
    }
}

/// An entry that is to be committed: all copies of its message, or none.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) number: EntryNumber,
    /// One in a room; of a private message two, in the inboxes of its sender and its receiver.
    pub(super) copies: SmallVec<[NewCopy; 1]>,
    pub(super) queued: Instant,
}

/// A message for one room or inbox.
#[derive(Debug)]
pub(super) struct NewCopy {
    pub(super) room: RoomId,
    pub(super) db: DbRoom,
    pub(super) key: RoomKey,
    pub(super) epoch: Epoch,
    pub(super) draft: Draft,
    /// Its number in the room, from the commit on; 0 before.
    pub(super) seq: Seq,
}

/// What is to be written beside messages. It stays due until a commit with it has succeeded.
#[derive(Debug, Default)]
struct Due {
    /// Rooms that have ended, in the order of their end.
    forgotten: VecDeque<Forgotten>,
    /// How far inboxes were delivered.
    delivered: FxHashMap<DbRoom, Seq>,
}

/// A room that has ended.
#[derive(Debug)]
struct Forgotten {
    room: DbRoom,
    /// Whether messages of it are still stored: then its name goes at once, and the retention drops them.
    has_messages: bool,
    /// Comes back with the outcome, to somebody who waits for it.
    receipt: Option<Receipt>,
}

impl Due {
    fn is_empty(&self) -> bool {
        self.forgotten.is_empty() && self.delivered.is_empty()
    }
}

/// The newest and the oldest message of every room that is stored.
pub(super) type Bounds = FxHashMap<DbRoom, (Seq, Seq)>;

struct Writer {
    connection: Connection,
    /// The file that the connection writes.
    identity: FileIdentity,
    continuity: Continuity,
    settings: Arc<SqliteSettings>,
    metrics: Arc<HistoryMetrics>,
    health: StoreHealth,
    sink: ReportSink,
    turns: Receiver<Vec<WriterCommand>>,
    /// What has come and is not done yet.
    queue: VecDeque<WriterCommand>,
    due: Due,
    bounds: Bounds,
    retention: Retention,
    /// When a storage that fails is tried again.
    probe_at: Option<Instant>,
}

/// Starts the writer, which knows the bounds of the stored rooms, and the rooms that were dropped and still have messages.
pub(super) fn start(
    (connection, identity, continuity): (Connection, FileIdentity, Continuity),
    settings: Arc<SqliteSettings>,
    metrics: Arc<HistoryMetrics>,
    health: StoreHealth,
    sink: ReportSink,
    (bounds, dropped): (Bounds, Vec<DbRoom>),
    vitals: &Vitals,
) -> (Sender<Vec<WriterCommand>>, JoinHandle<()>) {
    let (sender, turns) = mpsc::channel();
    let mut retention = Retention::new(&settings, clock::now());
    for room in dropped {
        retention.drop_room(room, clock::now());
    }
    let writer = Writer {
        connection,
        identity,
        continuity,
        settings,
        metrics,
        health,
        sink,
        turns,
        queue: VecDeque::new(),
        due: Due::default(),
        bounds,
        retention,
        probe_at: None,
    };
    (sender, spawn("history", vitals, move || writer.run()))
}

/// Starts the thread that keeps the write-ahead log short; it ends when the sender is dropped.
pub(super) fn start_checkpoints(
    connection: Connection,
    writer: Sender<Vec<WriterCommand>>,
    metrics: &Arc<HistoryMetrics>,
    vitals: &Vitals,
) -> (Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = mpsc::channel::<()>();
    let metrics = Arc::clone(metrics);
    let thread = spawn("history-log", vitals, move || {
        let mut seen = 0;
        while stopped.recv_timeout(CHECKPOINT_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            let commits = metrics.commit_seconds.count() + metrics.dropped.load(Relaxed);
            if commits != seen {
                seen = commits;
                // It waits for nobody and takes what it can.
                if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
                    // Without a writer the process ends.
                    writer.send(vec![WriterCommand::CheckpointFailed(error)]).unwrap_or_default();
                }
            }
        }
    });
    (stop, thread)
}

impl Writer {
    fn run(mut self) {
        loop {
            // What is due is not tried while the storage fails, and does not wait while it works.
            let is_idle = self.queue.is_empty() && (self.due.is_empty() || self.probe_at.is_some());
            if is_idle {
                let due = self.probe_at.unwrap_or(self.retention.due());
                match self.turns.recv_timeout(due.saturating_duration_since(clock::now())) {
                    Ok(turn) => self.queue.extend(turn),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            // One commit, and then retention: also where there is always more to commit.
            if !self.queue.is_empty() || !self.due.is_empty() {
                self.take();
            }
            if self.probe_at.is_some_and(|at| clock::now() >= at) {
                self.probe();
            } else if self.probe_at.is_none() && clock::now() >= self.retention.due() {
                self.retain();
            }
        }
        if self.probe_at.is_none() {
            note_end(&self.continuity, &mut self.connection);
        }
    }

    /// Commits what has queued, or as much of it as one commit may have.
    fn take(&mut self) {
        let started = clock::now();
        while self.queue.len() < BATCH_MESSAGES_MAX {
            let Ok(turn) = self.turns.try_recv() else { break };
            self.queue.extend(turn);
        }
        let (mut batch, mut messages, mut bytes) = (Vec::new(), 0, 0);
        // A name of a room that has ended is free for the messages that follow: they wait for the commit that frees it.
        while messages < BATCH_MESSAGES_MAX && bytes < BATCH_BYTES_MAX && self.due.forgotten.len() < FORGOTTEN_MAX {
            let Some(command) = self.queue.pop_front() else { break };
            match command {
                WriterCommand::Append(append) => {
                    let count = append.copies.len();
                    self.metrics.writer.waited(started.saturating_duration_since(append.queued), count as u64);
                    messages += count;
                    bytes += append.copies.iter().map(|copy| copy.draft.weight()).sum::<usize>();
                    batch.push(append);
                }
                WriterCommand::Delivered(room, seq) => {
                    self.due.delivered.insert(room, seq);
                }
                WriterCommand::CheckpointFailed(error) if self.probe_at.is_none() => self.fail(&error),
                WriterCommand::CheckpointFailed(_) => {}
                WriterCommand::Forget(room, receipt) => {
                    let bounds = self.bounds.remove(&room);
                    let has_messages = bounds.is_some_and(|(seq, oldest)| oldest <= seq);
                    self.due.delivered.remove(&room);
                    self.due.forgotten.push_back(Forgotten { room, has_messages, receipt });
                }
            }
        }
        if self.probe_at.is_some() {
            // The rest stays due.
            self.refuse(&batch);
            self.metrics.writer.complete_n(messages as u64);
        } else if !batch.is_empty() || !self.due.is_empty() {
            self.store(batch, messages, started);
        }
    }

    fn store(&mut self, mut batch: Vec<Append>, messages: usize, started: Instant) {
        let committed = self.commit(&mut batch);
        self.metrics.writer.worked(clock::now().saturating_duration_since(started));
        match committed {
            Ok(refused) => {
                if !batch.is_empty() {
                    self.metrics.commit_seconds.observe(clock::now().saturating_duration_since(started));
                    let stored = batch.iter().map(|append| append.copies.len()).sum::<usize>();
                    self.metrics.commit_messages.observe_n(stored as f64, 1);
                    for copy in batch.iter().flat_map(|append| &append.copies) {
                        let bounds = self.bounds.entry(copy.db).or_insert((Seq(0), Seq(1)));
                        bounds.0 = copy.seq;
                        self.retention.note(copy.db, *bounds);
                    }
                    (self.sink)(StoreReport::new(Report::Committed(batch)));
                }
                self.refuse(&refused);
            }
            Err(error) => {
                self.fail(&error);
                self.refuse(&batch);
            }
        }
        self.metrics.writer.complete_n(messages as u64);
    }

    fn refuse(&self, appends: &[Append]) {
        if !appends.is_empty() {
            (self.sink)(StoreReport::new(Report::Refused(appends.iter().map(|append| append.number).collect())));
        }
    }

    fn forgotten(&self, receipt: Option<Receipt>, is_gone: bool) {
        if let Some(receipt) = receipt {
            (self.sink)(StoreReport::new(Report::Forgotten(receipt, is_gone)));
        }
    }

    /// Commits messages, which get their numbers, and a part of what is due. Leaves the messages that are stored, and gives
    /// the others.
    ///
    /// Where the database refuses a single message, all others are stored. Where the storage fails, nothing is, and
    /// everything that was due still is.
    fn commit(&mut self, batch: &mut Vec<Append>) -> Result<Vec<Append>, StoreError> {
        check_file(&self.settings.path, self.identity)?;
        let mut numbering = Numbering::new(&self.bounds);
        let mut refused: Vec<Append> = batch.extract_if(.., |append| !numbering.number(append)).collect();
        let count = self.due.forgotten.len().min(FORGOTTEN_MAX);
        let forgotten = self.due.forgotten.make_contiguous().get(..count).unwrap_or_default();
        match write(&mut self.connection, batch, &self.bounds, forgotten, &self.due.delivered) {
            Ok(()) => {}
            Err(error) if is_of_a_message(&error) && !batch.is_empty() => {
                REFUSED.warn(|| format!("the history refuses a message, its room goes on without it: {error}"));
                let singly = write_singly(&mut self.connection, batch, &self.bounds, forgotten, &self.due.delivered);
                refused.extend(singly?);
            }
            Err(error) => return Err(error.into()),
        }
        let forgotten: Vec<Forgotten> = self.due.forgotten.drain(..count).collect();
        for Forgotten { room, has_messages, receipt } in forgotten {
            if has_messages {
                self.retention.drop_room(room, clock::now());
            }
            self.forgotten(receipt, true);
        }
        self.due.delivered.clear();
        Ok(refused)
    }

    /// Nothing can be stored from now on: entries are refused until it can.
    fn fail(&mut self, error: &dyn Display) {
        // A file that was moved may show itself as an I/O error first.
        let moved = check_file(&self.settings.path, self.identity).err();
        let error = moved.map_or_else(|| error.to_string(), |moved| moved.to_string());
        self.metrics.failures.fetch_add(1, Relaxed);
        self.metrics.failing.store(1, Relaxed);
        error!("nothing can be stored, messages are refused until it can: {error}");
        self.health.set(Some(format!("the history cannot be stored: {error}")));
        self.probe_at = Some(clock::now() + PROBE_INTERVAL);
        let receipts: Vec<_> = self.due.forgotten.iter_mut().map(|forgotten| forgotten.receipt.take()).collect();
        for receipt in receipts {
            self.forgotten(receipt, false);
        }
    }

    /// Tries whether storing works again, with a connection that knows nothing of the failure.
    fn probe(&mut self) {
        match try_storage(&self.settings, self.identity) {
            Ok(connection) => {
                self.connection = connection;
                self.probe_at = None;
                self.metrics.failing.store(0, Relaxed);
                info!("storing works again");
                self.health.set(None);
            }
            Err(error) => {
                self.health.set(Some(format!("the history cannot be stored: {error}")));
                self.probe_at = Some(clock::now() + PROBE_INTERVAL);
            }
        }
    }

    /// Drops a small part of what is too much.
    fn retain(&mut self) {
        let started = clock::now();
        if let Err(error) = check_file(&self.settings.path, self.identity) {
            return self.fail(&error);
        }
        match self.retention.step(&mut self.connection, &mut self.bounds, &self.metrics, started) {
            Ok(trimmed) => {
                if !trimmed.is_empty() {
                    (self.sink)(StoreReport::new(Report::Trimmed(trimmed)));
                }
            }
            Err(error) => {
                UNDROPPED.warn(|| format!("old messages cannot be dropped: {error}"));
                self.retention.postpone(started);
            }
        }
        self.metrics.writer.worked(clock::now().saturating_duration_since(started));
    }
}

/// Notes that everything is stored. Where that fails, the next start may find that something is missing.
pub(super) fn note_end(continuity: &Continuity, connection: &mut Connection) {
    if let Err(error) = continuity.end(connection) {
        warn!("that the history is whole cannot be noted, its rooms may begin new epochs: {error}");
    }
}

/// Why nothing can be stored.
#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error("the file {0} is not there any more, or is another one")]
    Moved(PathBuf),
}

/// Fails where the file that was opened is not the one at the path: what is stored in it, the next start does not find.
fn check_file(path: &Path, opened: FileIdentity) -> Result<(), StoreError> {
    if FileIdentity::at(path).is_ok_and(|found| found == opened) {
        return Ok(());
    }
    Err(StoreError::Moved(path.to_owned()))
}

fn try_storage(settings: &SqliteSettings, opened: FileIdentity) -> Result<Connection, StoreError> {
    check_file(&settings.path, opened)?;
    let connection = open::open_writer(settings, false)?;
    // A log that was taken back gives its room to others; where it cannot be taken back, it would only grow.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    connection.execute("INSERT OR REPLACE INTO probe (id, filler) VALUES (1, randomblob(?1))", [PROBE_BYTES])?;
    connection.execute("DELETE FROM probe", [])?;
    Ok(connection)
}

/// Whether the database refuses what one message says, rather than being unable to store anything.
fn is_of_a_message(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    matches!(error.sqlite_error_code(), Some(ConstraintViolation | TooBig | TypeMismatch))
}

/// Gives the messages of each room their numbers: the next after the newest one that is stored.
struct Numbering<'a> {
    bounds: &'a Bounds,
    /// The newest number that was given, where it is not the newest that is stored.
    given: FxHashMap<DbRoom, Seq>,
}

impl<'a> Numbering<'a> {
    fn new(bounds: &'a Bounds) -> Self {
        Self { bounds, given: FxHashMap::default() }
    }

    fn newest(&self, room: DbRoom) -> Seq {
        let stored = || self.bounds.get(&room).map_or(Seq(0), |(seq, _)| *seq);
        self.given.get(&room).copied().unwrap_or_else(stored)
    }

    /// Numbers a message. Returns false where a room has no more numbers.
    fn number(&mut self, append: &mut Append) -> bool {
        for copy in &mut append.copies {
            copy.seq = self.newest(copy.db).next();
        }
        if append.copies.iter().any(|copy| copy.seq.0 > SEQ_MAX) {
            return false;
        }
        self.given.extend(append.copies.iter().map(|copy| (copy.db, copy.seq)));
        true
    }

    /// The message is not stored after all: the next one gets its numbers.
    fn take_back(&mut self, append: &Append) {
        self.given.extend(append.copies.iter().map(|copy| (copy.db, Seq(copy.seq.0.saturating_sub(1)))));
    }
}

/// Stores everything in one commit, or nothing.
fn write(
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

/// Stores in one commit the messages that the database takes. Leaves those, numbered anew, and gives the others.
fn write_singly(
    connection: &mut Connection,
    batch: &mut Vec<Append>,
    bounds: &Bounds,
    forgotten: &[Forgotten],
    delivered: &FxHashMap<DbRoom, Seq>,
) -> rusqlite::Result<Vec<Append>> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    write_due(&transaction, forgotten, delivered)?;
    let mut numbering = Numbering::new(bounds);
    let mut fault = None;
    let refused = batch.extract_if(.., |append| {
        if fault.is_some() || !numbering.number(append) {
            return true;
        }
        let mut store = || -> rusqlite::Result<()> {
            let savepoint = transaction.savepoint()?;
            insert(&savepoint, append)?;
            for copy in &append.copies {
                advance(&savepoint, copy, copy.seq > Seq(1) || bounds.contains_key(&copy.db))?;
            }
            savepoint.commit()
        };
        let Err(error) = store() else { return false };
        numbering.take_back(append);
        if !is_of_a_message(&error) {
            fault = Some(error);
        }
        true
    });
    let refused = refused.collect();
    if let Some(error) = fault {
        return Err(error);
    }
    transaction.commit()?;
    Ok(refused)
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
    let mut text = connection.prepare_cached("INSERT INTO messages_text (rowid, text) VALUES (?1, ?2)")?;
    for copy in &append.copies {
        let stored = &copy.draft;
        let place = place(copy.db, copy.seq.0);
        let id = stored.id.as_ref().map(starling_protocol::MessageId::as_str);
        let peer = stored.peer(&copy.key).map(starling_protocol::ClientId::as_str);
        let owner = stored.owner.map(|owner| owner.0.cast_signed());
        let (at, sender) = (stored.at.cast_signed(), stored.client_id.as_str());
        message.execute((place, at, sender, id, &*stored.text, peer, owner))?;
        text.execute((place, &*stored.text))?;
    }
    Ok(())
}

/// Notes the newest message of a room, and makes the room's row with the first one.
fn advance(connection: &Connection, copy: &NewCopy, is_known: bool) -> rusqlite::Result<()> {
    let seq = copy.seq.0.cast_signed();
    if is_known {
        connection.prepare_cached("UPDATE rooms SET seq = ?2 WHERE id = ?1")?.execute((copy.db.0, seq))?;
    } else {
        // An earlier room of this name has ended, though it may still have its row.
        let mut make = connection
            .prepare_cached("INSERT OR REPLACE INTO rooms (id, name, epoch, seq, oldest) VALUES (?1, ?2, ?3, ?4, 1)")?;
        make.execute((copy.db.0, copy.key.to_string(), copy.epoch.0.cast_signed(), seq))?;
    }
    Ok(())
}
