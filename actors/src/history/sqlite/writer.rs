//! The thread that writes: commits what has queued in one transaction, and drops what is too much in between.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use log::{error, info, warn};
use rusqlite::Connection;
use rustc_hash::FxHashMap;
use starling_protocol::Seq;

use super::command::{Append, WriterCommand};
use super::commit::{Forgotten, Numbering, is_of_a_message, write, write_singly};
use super::continuity::MarkError;
use super::file::{FileFault, OpenFiles};
use super::report::Report;
use super::retention::Retention;
use super::schema::{Bounds, DbRoom};
use super::search::Searches;
use super::written::WrittenDatabase;
use super::{SqliteSettings, open};
use crate::clock;
use crate::history::thread::spawn;
use crate::history::{HistoryMetrics, LogMark, Receipt, ReportSink, StoreReport};
use crate::log_interval::LogInterval;
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

/// Takes what is in the log into the database, as far as no reader is in its way.
const TAKE_LOG: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// A client can cause it as often as it writes.
static REFUSED: LogInterval = LogInterval::new();

/// Comes again with each trial, for as long as the log is not at its path.
static UNSAVED: LogInterval = LogInterval::new();

/// Comes again with each step, for as long as the storage fails.
static UNDROPPED: LogInterval = LogInterval::new();

/// What is to be written beside messages. It stays due until a commit with it has succeeded.
#[derive(Debug, Default)]
struct Due {
    /// Rooms that have ended, in the order of their end.
    forgotten: VecDeque<Forgotten>,
    /// How far inboxes were delivered.
    delivered: FxHashMap<DbRoom, Seq>,
    /// How far the log of several nodes was followed. Written with the next commit, and not worth one of its own.
    mark: Option<LogMark>,
}

impl Due {
    fn is_empty(&self) -> bool {
        self.forgotten.is_empty() && self.delivered.is_empty()
    }
}

struct Writer {
    database: WrittenDatabase,
    files: Arc<OpenFiles>,
    /// Whether the next start is told that it may find less than was acknowledged.
    is_doubted: bool,
    settings: Arc<SqliteSettings>,
    metrics: Arc<HistoryMetrics>,
    sink: ReportSink,
    /// What the search index follows.
    searches: Arc<Searches>,
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
    (database, files): (WrittenDatabase, Arc<OpenFiles>),
    settings: Arc<SqliteSettings>,
    metrics: Arc<HistoryMetrics>,
    (sink, searches): (ReportSink, Arc<Searches>),
    (bounds, dropped): (Bounds, Vec<DbRoom>),
    vitals: &Vitals,
) -> (Sender<Vec<WriterCommand>>, JoinHandle<()>) {
    let (sender, turns) = mpsc::channel();
    let mut retention = Retention::new(&settings, clock::now());
    for room in dropped {
        retention.drop_room(room, clock::now());
    }
    let writer = Writer {
        database,
        files,
        is_doubted: false,
        settings,
        metrics,
        sink,
        searches,
        turns,
        queue: VecDeque::new(),
        due: Due::default(),
        bounds,
        retention,
        probe_at: None,
    };
    (sender, spawn("history", vitals, move || writer.run()))
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
        if self.check_files().is_err() || self.probe_at.is_some() {
            self.database.abandon();
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
                WriterCommand::Mark(mark) => self.due.mark = Some(mark),
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
                        let bounds = self.bounds.entry(copy.db).or_insert((Seq(0), copy.seq));
                        bounds.0 = copy.seq;
                        self.retention.note(copy.db, *bounds);
                    }
                    let changed: Vec<_> = batch.iter().flat_map(|append| &append.copies).map(|copy| copy.db).collect();
                    (self.sink)(StoreReport::new(Report::Committed(batch)));
                    self.searches.changed(changed);
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
        self.check_files()?;
        let mut numbering = Numbering::new(&self.bounds);
        let mut refused: Vec<Append> = batch.extract_if(.., |append| !numbering.number(append)).collect();
        let count = self.due.forgotten.len().min(FORGOTTEN_MAX);
        let forgotten = self.due.forgotten.make_contiguous().get(..count).unwrap_or_default();
        let due = (forgotten, &self.due.delivered, self.due.mark);
        match write(&mut self.database.connection, batch, &self.bounds, due) {
            Ok(()) => {}
            Err(error) if is_of_a_message(&error) && !batch.is_empty() => {
                REFUSED.warn(|| format!("the history refuses a message, its room goes on without it: {error}"));
                let singly = write_singly(&mut self.database.connection, batch, &self.bounds, due);
                refused.extend(singly?);
            }
            Err(error) => return Err(error.into()),
        }
        self.files.note_stored();
        let forgotten: Vec<Forgotten> = self.due.forgotten.drain(..count).collect();
        self.searches.changed(forgotten.iter().map(|forgotten| forgotten.room));
        for Forgotten { room, has_messages, receipt } in forgotten {
            if has_messages {
                self.retention.drop_room(room, clock::now());
            }
            self.forgotten(receipt, true);
        }
        self.due.delivered.clear();
        self.due.mark = None;
        Ok(refused)
    }

    /// Nothing can be stored from now on: entries are refused until it can.
    fn fail(&mut self, error: &dyn Display) {
        // A file that was moved may show itself as an I/O error first.
        let error = self.check_files().err().map_or_else(|| error.to_string(), |moved| moved.to_string());
        self.metrics.failures.fetch_add(1, Relaxed);
        error!("nothing can be stored, messages are refused until it can: {error}");
        self.metrics.health.set(Some(format!("the history cannot be stored: {error}")));
        self.probe_at = Some(clock::now() + PROBE_INTERVAL);
        let receipts: Vec<_> = self.due.forgotten.iter_mut().map(|forgotten| forgotten.receipt.take()).collect();
        for receipt in receipts {
            self.forgotten(receipt, false);
        }
    }

    /// Tries whether storing works again, with a connection that knows nothing of the failure.
    fn probe(&mut self) {
        match self.try_storage() {
            Ok(()) => {
                self.probe_at = None;
                info!("storing works again");
                self.metrics.health.set(None);
            }
            Err(error) => {
                self.metrics.health.set(Some(format!("the history cannot be stored: {error}")));
                self.probe_at = Some(clock::now() + PROBE_INTERVAL);
            }
        }
    }

    fn try_storage(&mut self) -> Result<(), StoreError> {
        if let Err(fault) = self.check_files()
            && !(self.files.is_log_cut(&fault) && self.log()?.is_in_database())
        {
            return Err(fault.into());
        }
        let connection = open::open_writer(&self.settings, false)?;
        // A log that was taken back gives its room to others; where it cannot be taken back, it would only grow.
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        connection.execute("INSERT OR REPLACE INTO probe (id, filler) VALUES (1, randomblob(?1))", [PROBE_BYTES])?;
        connection.execute("DELETE FROM probe", [])?;
        self.database.connection = connection;
        if self.is_doubted {
            self.database.continuity.trust(&mut self.database.connection)?;
            self.is_doubted = false;
        }
        self.files.note_bytes();
        Ok(())
    }

    /// Fails where the next start would not find what is stored now. Then what can be saved is, and where the files that are
    /// there may lack something, the next start is told.
    fn check_files(&mut self) -> Result<(), FileFault> {
        let Err(fault) = self.files.check() else { return Ok(()) };
        let is_cut = matches!(fault, FileFault::Cut(_));
        if is_cut && self.is_whole(&fault).unwrap_or(false) {
            self.files.note_bytes();
            return Ok(());
        }
        let is_without_log = self.files.is_without_log(&fault);
        if !self.is_doubted && (is_without_log || is_cut) {
            self.is_doubted = true;
            if let Err(error) = self.database.continuity.doubt() {
                warn!("that the history may lack messages cannot be noted: {error}");
            }
        }
        // One that was cut would be taken into the database in parts, and damage it.
        if is_without_log && let Err(error) = self.connection().query_row(TAKE_LOG, [], |_| Ok(())) {
            UNSAVED.warn(|| format!("what the write-ahead log has cannot be taken into the database: {error}"));
        }
        Err(fault)
    }

    /// Whether a file that was made shorter has all that belongs in it: another process may have taken the log into the
    /// database, or made that small.
    fn is_whole(&self, fault: &FileFault) -> rusqlite::Result<bool> {
        let log = self.log()?;
        if self.files.is_log_cut(fault) {
            return Ok(self.files.has_log_of(log.pages, log.page_bytes));
        }
        let pages = self.connection().pragma_query_value(None, "page_count", |row| row.get(0))?;
        Ok(log.is_in_database() && self.files.has_database_of(pages, log.page_bytes))
    }

    /// The log as the database takes it to be.
    fn log(&self) -> rusqlite::Result<LogExtent> {
        let connection = self.connection();
        let page_bytes = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| {
            Ok(LogExtent { pages: row.get(1)?, pages_in_database: row.get(2)?, page_bytes })
        })
    }

    fn connection(&self) -> &Connection {
        &self.database.connection
    }

    /// Drops a small part of what is too much.
    fn retain(&mut self) {
        let started = clock::now();
        if let Err(error) = self.check_files() {
            return self.fail(&error);
        }
        match self.retention.step(&mut self.database.connection, &mut self.bounds, &self.metrics, started) {
            Ok(trimmed) => {
                self.files.note_stored();
                if !trimmed.is_empty() {
                    self.searches.changed(trimmed.iter().map(|(room, _)| *room));
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

/// Why nothing can be stored.
#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error(transparent)]
    File(#[from] FileFault),
    #[error(transparent)]
    Mark(#[from] MarkError),
}

/// How much is in the log.
#[derive(Debug, Clone, Copy)]
struct LogExtent {
    pages: u64,
    /// How many of them the database has, too.
    pages_in_database: u64,
    page_bytes: u64,
}

impl LogExtent {
    fn is_in_database(self) -> bool {
        self.pages <= self.pages_in_database
    }
}
