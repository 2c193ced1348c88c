//! The writer thread: commits queued messages in batches, and runs retention between the commits.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use log::{error, info, warn};
use rusqlite::Connection;
use rustc_hash::FxHashMap;
use starling_protocol::Seq;

use super::command::{Append, WriterCommand};
use super::command_queue::{Closed, CommandReceiver, CommandSender, command_queue};
use super::commit::{DuePart, Forgotten, Numbering, is_of_a_message, write, write_singly};
use super::due_positions::DuePositions;
use super::file::{FileFault, OpenFiles};
use super::log_extent::LogExtent;
use super::pacing::{Pacing, SMALL_BELOW};
use super::report::Report;
use super::retention::Retention;
use super::schema::{Bounds, DbRoom};
use super::search::Searches;
use super::store_error::StoreError;
use super::written::WrittenDatabase;
use super::{SqliteSettings, connections, numbers};
use crate::clock::{self, Instant};
use crate::history::thread::spawn;
use crate::history::{HistoryMetrics, LogMark, Receipt, ReportSink, StoreReport};
use crate::log_interval::LogInterval;
use crate::vitals::Vitals;

/// The largest number of messages in one commit.
const BATCH_MESSAGES_MAX: usize = 1_024;

/// The largest number of ended rooms that one commit removes. The next commits remove the others.
const FORGOTTEN_MAX: usize = 256;

/// The largest total weight of the messages in one commit, in bytes.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// The interval between two probes of a storage that has failed.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// The bytes that a probe writes. A disk with less free space counts as full.
const PROBE_BYTES: u32 = 128 * 1024;

/// Checkpoints the write-ahead log, as far as no reader prevents it.
const TAKE_LOG: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// Limits the log lines, because a client can cause them with every message.
static REFUSED: LogInterval = LogInterval::new();

/// Limits the log lines, because they repeat with each probe while the log is not at its path.
static UNSAVED: LogInterval = LogInterval::new();

/// Limits the log lines, because they repeat with each step while the storage fails.
static UNDROPPED: LogInterval = LogInterval::new();

/// Writes that accompany messages. They stay due until a commit that contains them succeeds.
#[derive(Debug, Default)]
struct Due {
    /// Rooms that have ended, in the order of their end.
    forgotten: VecDeque<Forgotten>,
    /// The delivery positions of inboxes.
    delivered: FxHashMap<DbRoom, Seq>,
    /// How far clients have read.
    read: DuePositions,
    /// The rows of the moderation that have changed, by key, and the callers that wait for them.
    moderation: BTreeMap<String, Option<String>>,
    decided: Vec<Receipt>,
    /// The position in the log of several nodes. It waits for the next commit, because it does not need a commit of its
    /// own.
    mark: Option<LogMark>,
}

impl Due {
    fn is_empty(&self) -> bool {
        let Self { forgotten, delivered, read, moderation, .. } = self;
        forgotten.is_empty() && delivered.is_empty() && read.is_empty() && moderation.is_empty()
    }
}

struct Writer {
    database: WrittenDatabase,
    files: Arc<OpenFiles>,
    /// Whether the lock file records that the next start may find less than was acknowledged.
    is_doubted: bool,
    settings: Arc<SqliteSettings>,
    metrics: Arc<HistoryMetrics>,
    sink: ReportSink,
    /// Receives the rooms that have changed.
    searches: Arc<Searches>,
    commands: CommandReceiver,
    /// Received commands that are not processed yet.
    queue: VecDeque<WriterCommand>,
    pacing: Pacing,
    due: Due,
    /// Whether a message that the log of several nodes has placed was refused. Then no later message is stored, so that
    /// the next start has all messages up to one record, and reads the rest from the log again.
    lacks_placed: bool,
    /// The start of the next search for room numbers. It runs after the earlier commands are stored.
    numbers_from: Option<u32>,
    bounds: Bounds,
    retention: Retention,
    /// The time of the next probe. Set while the storage fails.
    probe_at: Option<Instant>,
}

/// Starts the writer. It takes the bounds of the stored rooms, and the dropped rooms that still have messages.
pub(super) fn start(
    (database, files): (WrittenDatabase, Arc<OpenFiles>),
    settings: Arc<SqliteSettings>,
    metrics: Arc<HistoryMetrics>,
    (sink, searches): (ReportSink, Arc<Searches>),
    (bounds, dropped): (Bounds, Vec<DbRoom>),
    vitals: &Vitals,
) -> (CommandSender, JoinHandle<()>) {
    let (sender, commands) = command_queue();
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
        commands,
        queue: VecDeque::new(),
        pacing: Pacing::default(),
        due: Due::default(),
        lacks_placed: false,
        numbers_from: None,
        bounds,
        retention,
        probe_at: None,
    };
    (sender, spawn("history", vitals, move || writer.run()))
}

impl Writer {
    fn run(mut self) {
        loop {
            // Due writes wait while the storage fails. While it works, they are committed without waiting for a
            // command.
            let is_idle = self.queue.is_empty() && (self.due.is_empty() || self.probe_at.is_some());
            if is_idle {
                let due = self.probe_at.unwrap_or(self.retention.due());
                let wait = due.saturating_duration_since(clock::now());
                if self.commands.receive(&mut self.queue, wait) == Err(Closed) {
                    break;
                }
            }
            self.pause();
            // Retention runs after each commit, so that it also makes progress under constant load.
            if !self.queue.is_empty() || !self.due.is_empty() {
                self.take();
            }
            if self.probe_at.is_none()
                && let Some(from) = self.numbers_from.take_if(|_| self.due.is_empty())
            {
                self.find_numbers(from);
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

    /// Commits the queued commands, up to the limits of one commit.
    fn take(&mut self) {
        let started = clock::now();
        self.commands.take(&mut self.queue);
        let (mut batch, mut messages, mut bytes) = (Vec::new(), 0, 0);
        // Messages for a new room may need the name of an ended room. They wait for the commit that frees the name.
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
                WriterCommand::NoteSent(room, seq) => {
                    self.due.delivered.insert(room, seq);
                }
                WriterCommand::NoteRead(owner, room, standing) => {
                    let lost = self.due.read.note(owner, room, standing);
                    self.metrics.positions_lost.fetch_add(lost.into(), Relaxed);
                }
                WriterCommand::Limit(room, limits) => {
                    self.retention.limit(room, limits, self.bounds.get(&room), started);
                }
                WriterCommand::KeepModeration(rows, receipt) => {
                    self.due.moderation.extend(rows.into_iter().map(|row| (row.key, row.value)));
                    self.due.decided.extend(receipt);
                }
                WriterCommand::Mark(_) if self.lacks_placed => {}
                WriterCommand::Mark(mark) => self.due.mark = Some(mark),
                WriterCommand::FindNumbers(from) => self.numbers_from = Some(from),
                WriterCommand::CheckpointFailed(error) if self.probe_at.is_none() => self.fail(&error),
                WriterCommand::CheckpointFailed(_) => {}
                WriterCommand::Forget(room, _) if batch.iter().any(|append: &Append| append.is_for(room)) => {
                    // Its message was placed by a log of several nodes, which does not wait for a commit. The room ends
                    // in the next commit.
                    self.queue.push_front(command);
                    break;
                }
                WriterCommand::Forget(room, receipt) => {
                    let bounds = self.bounds.remove(&room);
                    let has_messages = bounds.is_some_and(|(seq, oldest)| oldest <= seq);
                    self.due.delivered.remove(&room);
                    self.due.read.forget_room(room);
                    self.retention.forget(room);
                    self.due.forgotten.push_back(Forgotten { room, has_messages, receipt });
                }
            }
        }
        if self.probe_at.is_some() || (self.lacks_placed && batch.iter().any(Append::is_placed)) {
            // Deliveries, ended rooms and decisions stay due.
            self.tell_decided(false);
            self.refuse(&batch);
            self.metrics.writer.complete_n(messages as u64);
        } else if !batch.is_empty() || !self.due.is_empty() {
            self.store(batch, messages, started);
        }
    }

    /// Waits for messages that can share the next commit, if that is worth it.
    fn pause(&mut self) {
        if self.probe_at.is_none() {
            // The queue may be long, and a commit with this many messages is not small.
            let messages = self.queue.iter().take(SMALL_BELOW).map(WriterCommand::messages).sum();
            // Sleeping, unlike waiting for the queue, spares the senders the wake-ups.
            std::thread::sleep(self.pacing.pause(messages, clock::now()));
        }
    }

    fn store(&mut self, mut batch: Vec<Append>, messages: usize, started: Instant) {
        self.pacing.start(messages, started);
        let committed = self.commit(&mut batch);
        self.metrics.writer.worked(clock::now().saturating_duration_since(started));
        match committed {
            Ok(refused) => {
                if !batch.is_empty() {
                    self.metrics.commit_seconds.observe(clock::now().saturating_duration_since(started));
                    let stored = batch.iter().map(|append| append.copies.len()).sum::<usize>();
                    self.metrics.commit_messages.observe_n(stored as u64, 1);
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

    fn find_numbers(&mut self, from: u32) {
        match numbers::find(self.connection(), from) {
            Ok(found) => (self.sink)(StoreReport::new(Report::Numbers(found))),
            // The next step meets the failure again and reports it. The writer retries after that.
            Err(error) => {
                self.fail(&error);
                self.numbers_from = Some(from);
            }
        }
    }

    fn refuse(&mut self, appends: &[Append]) {
        if appends.iter().any(Append::is_placed) {
            self.lacks_placed = true;
            self.due.mark = None;
        }
        if !appends.is_empty() {
            (self.sink)(StoreReport::new(Report::Refused(appends.iter().map(|append| append.number).collect())));
        }
    }

    fn forgotten(&self, receipt: Option<Receipt>, is_gone: bool) {
        if let Some(receipt) = receipt {
            (self.sink)(StoreReport::new(Report::Forgotten(receipt, is_gone)));
        }
    }

    /// Tells those that wait for rows of the moderation whether these are stored.
    fn tell_decided(&mut self, is_kept: bool) {
        for receipt in self.due.decided.drain(..) {
            (self.sink)(StoreReport::new(Report::Decided(receipt, is_kept)));
        }
    }

    /// Numbers and commits messages together with a part of the due writes. Committed messages stay in `batch`;
    /// rejected ones are returned.
    ///
    /// If the database rejects a single message, all others are stored. If the storage fails, nothing is stored and all
    /// due writes stay due.
    fn commit(&mut self, batch: &mut Vec<Append>) -> Result<Vec<Append>, StoreError> {
        self.check_files()?;
        let mut numbering = Numbering::new(&self.bounds);
        let mut refused: Vec<Append> = batch.extract_if(.., |append| !numbering.number(append)).collect();
        let count = self.due.forgotten.len().min(FORGOTTEN_MAX);
        let Due { forgotten, delivered, read, moderation, mark, .. } = &mut self.due;
        let forgotten = forgotten.make_contiguous().get(..count).unwrap_or_default();
        let due = DuePart { forgotten, delivered, read, moderation, mark: *mark };
        match write(&mut self.database.connection, batch, &self.bounds, due) {
            Ok(synced) => self.metrics.sync_seconds.observe(synced),
            Err(error) if is_of_a_message(&error) && !batch.is_empty() => {
                REFUSED.warn(|| format!("the database rejects a message; its room continues without it: {error}"));
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
        self.due.read.clear();
        self.due.moderation.clear();
        self.due.mark = None;
        self.tell_decided(true);
        Ok(refused)
    }

    /// The storage fails. From now on entries are refused, until a probe succeeds.
    fn fail(&mut self, error: &dyn Display) {
        // A missing file may appear as an I/O error first.
        let error = self.check_files().err().map_or_else(|| error.to_string(), |moved| moved.to_string());
        self.metrics.failures.fetch_add(1, Relaxed);
        error!("nothing can be stored; messages are refused until storing works again: {error}");
        self.metrics.health.set(Some(format!("the history cannot be stored: {error}")));
        self.probe_at = Some(clock::now() + PROBE_INTERVAL);
        let receipts: Vec<_> = self.due.forgotten.iter_mut().map(|forgotten| forgotten.receipt.take()).collect();
        for receipt in receipts {
            self.forgotten(receipt, false);
        }
        self.tell_decided(false);
    }

    /// Probes whether storing works again. Uses a new connection, without the state of the failed one.
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
            && !(self.files.is_log_cut(&fault) && LogExtent::of(self.connection())?.is_in_database())
        {
            return Err(fault.into());
        }
        let connection = connections::open_writer(&self.settings, false)?;
        // The truncation releases the log's disk space. If it fails, the log would only keep growing.
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

    /// Fails if the next start would not find the messages that are stored now. Then it saves what it can. If the files
    /// may lack acknowledged messages, it records that for the next start.
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
                warn!("cannot record that the history may lack messages: {error}");
            }
        }
        // Only a part of a truncated log would reach the database and damage it.
        if is_without_log && let Err(error) = self.connection().query_row(TAKE_LOG, [], |_| Ok(())) {
            UNSAVED.warn(|| format!("the write-ahead log cannot be checkpointed into the database: {error}"));
        }
        Err(fault)
    }

    /// Whether a file that became shorter is still complete: another process may have checkpointed the log, or vacuumed
    /// the database.
    fn is_whole(&self, fault: &FileFault) -> rusqlite::Result<bool> {
        let log = LogExtent::of(self.connection())?;
        if self.files.is_log_cut(fault) {
            return Ok(self.files.has_log_of(log.pages, log.page_bytes));
        }
        let pages = self.connection().pragma_query_value(None, "page_count", |row| row.get(0))?;
        Ok(log.is_in_database() && self.files.has_database_of(pages, log.page_bytes))
    }

    fn connection(&self) -> &Connection {
        &self.database.connection
    }

    /// Runs one step of retention.
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
