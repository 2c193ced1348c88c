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
use rusqlite::Connection;
use rustc_hash::FxHashMap;
use starling_protocol::Seq;

use super::command::{Append, WriterCommand};
use super::commit::{Forgotten, Numbering, is_of_a_message, write, write_singly};
use super::continuity::Continuity;
use super::file::FileIdentity;
use super::report::Report;
use super::retention::Retention;
use super::schema::{Bounds, DbRoom};
use super::search::Searches;
use super::{SqliteSettings, open};
use crate::clock;
use crate::history::thread::spawn;
use crate::history::{HistoryMetrics, Receipt, ReportSink, StoreReport};
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

/// A client can cause it as often as it writes.
static REFUSED: LogInterval = LogInterval::new();

/// Comes again with each step, for as long as the storage fails.
static UNDROPPED: LogInterval = LogInterval::new();

/// What is to be written beside messages. It stays due until a commit with it has succeeded.
#[derive(Debug, Default)]
struct Due {
    /// Rooms that have ended, in the order of their end.
    forgotten: VecDeque<Forgotten>,
    /// How far inboxes were delivered.
    delivered: FxHashMap<DbRoom, Seq>,
}

impl Due {
    fn is_empty(&self) -> bool {
        self.forgotten.is_empty() && self.delivered.is_empty()
    }
}

struct Writer {
    connection: Connection,
    /// The file that the connection writes.
    identity: FileIdentity,
    continuity: Continuity,
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
    (connection, identity, continuity): (Connection, FileIdentity, Continuity),
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
        connection,
        identity,
        continuity,
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
        self.searches.changed(forgotten.iter().map(|forgotten| forgotten.room));
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
        match try_storage(&self.settings, self.identity) {
            Ok(connection) => {
                self.connection = connection;
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

    /// Drops a small part of what is too much.
    fn retain(&mut self) {
        let started = clock::now();
        if let Err(error) = check_file(&self.settings.path, self.identity) {
            return self.fail(&error);
        }
        match self.retention.step(&mut self.connection, &mut self.bounds, &self.metrics, started) {
            Ok(trimmed) => {
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
