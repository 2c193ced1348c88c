//! The thread that writes: commits what has queued in one transaction, and drops what is too much in between.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::{error, info, warn};
use rusqlite::{Connection, TransactionBehavior};
use rustc_hash::FxHashMap;
use starling_protocol::{Epoch, Seq};

use super::retention::Retention;
use super::schema::{self, DbRoom, place};
use super::{Report, SqliteSettings, StoreHealth, open};
use crate::chat_server::command::{DropError, DropReply};
use crate::clock;
use crate::history::{ReportSink, StoreReport, StoredMessage};
use crate::ids::RoomId;
use crate::log_interval::LogInterval;
use crate::metrics::HistoryMetrics;
use crate::vitals::{VitalPart, Vitals};

/// Most messages in one commit.
const BATCH_MESSAGES_MAX: usize = 1_024;

/// Most weight of the messages in one commit, in bytes.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// How often a storage that fails is tried again.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// What a trial writes: less room than that is as good as none.
const PROBE_BYTES: u32 = 128 * 1024;

/// How often what was written is taken from the write-ahead log into the database.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// Clients cause these as often as they write and come and go.
static UNFORGOTTEN: LogInterval = LogInterval::new();
static UNNOTED: LogInterval = LogInterval::new();

/// What the writer is to do.
#[derive(Debug)]
pub(super) enum WriterCommand {
    Append(Append),
    /// The owner of an inbox was sent everything up to this message.
    Delivered(DbRoom, Seq),
    /// The room has ended; whoever waits for that is told.
    Forget(DbRoom, Option<DropReply>),
}

/// A message that is to be stored.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) room: RoomId,
    pub(super) db: DbRoom,
    pub(super) epoch: Epoch,
    pub(super) generation: u32,
    pub(super) message: Arc<StoredMessage>,
    pub(super) queued: Instant,
}

/// The newest and the oldest message of every room that is stored.
pub(super) type Bounds = FxHashMap<DbRoom, (Seq, Seq)>;

struct Writer {
    connection: Connection,
    settings: Arc<SqliteSettings>,
    metrics: Arc<HistoryMetrics>,
    health: StoreHealth,
    sink: ReportSink,
    turns: Receiver<Vec<WriterCommand>>,
    /// What has come and is not done yet.
    queue: VecDeque<WriterCommand>,
    bounds: Bounds,
    retention: Retention,
    /// Appends of this generation and older ones are covered by a failure that was reported.
    failed_generation: Option<u32>,
    /// When a storage that fails is tried again.
    probe_at: Option<Instant>,
}

/// Starts the writer, which knows the bounds of the stored rooms, and the rooms that were dropped and still have messages.
pub(super) fn start(
    connection: Connection,
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
        settings,
        metrics,
        health,
        sink,
        turns,
        queue: VecDeque::new(),
        bounds,
        retention,
        failed_generation: None,
        probe_at: None,
    };
    (sender, spawn("history", vitals, move || writer.run()))
}

/// Starts a thread without which the history is not whole.
#[expect(clippy::expect_used, reason = "a process that cannot have another thread cannot start")]
pub(super) fn spawn(name: &str, vitals: &Vitals, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let pulse = vitals.pulse(VitalPart::History);
    let run = move || {
        run();
        pulse.rest();
    };
    thread::Builder::new().name(name.into()).spawn(run).expect("the system gives another thread")
}

/// Starts the thread that keeps the write-ahead log short; it ends when the sender is dropped.
pub(super) fn start_checkpoints(
    connection: Connection,
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
                // It waits for nobody and takes what it can; a full disk shows at the next commit.
                connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap_or_default();
            }
        }
    });
    (stop, thread)
}

impl Writer {
    fn run(mut self) {
        loop {
            if self.queue.is_empty() {
                let due = self.probe_at.unwrap_or(self.retention.due());
                match self.turns.recv_timeout(due.saturating_duration_since(clock::now())) {
                    Ok(turn) => self.queue.extend(turn),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            // One commit, and then what is due: also where there is always more to commit.
            if !self.queue.is_empty() {
                self.take();
            }
            if self.probe_at.is_some_and(|at| clock::now() >= at) {
                self.probe();
            } else if self.probe_at.is_none() && clock::now() >= self.retention.due() {
                self.retain();
            }
        }
    }

    /// Commits what has queued, or as much of it as one commit may have.
    fn take(&mut self) {
        let started = clock::now();
        while self.queue.len() < BATCH_MESSAGES_MAX {
            let Ok(turn) = self.turns.try_recv() else { break };
            self.queue.extend(turn);
        }
        let (mut batch, mut bytes, mut forgotten) = (Vec::new(), 0, None);
        let mut delivered = FxHashMap::default();
        while batch.len() < BATCH_MESSAGES_MAX && bytes < BATCH_BYTES_MAX {
            let Some(command) = self.queue.pop_front() else { break };
            match command {
                WriterCommand::Append(append) if self.failed_generation.is_some_and(|of| append.generation <= of) => {
                    self.metrics.writer.complete_n(1);
                }
                WriterCommand::Append(append) => {
                    self.metrics.writer.waited(started.saturating_duration_since(append.queued), 1);
                    bytes += append.message.weight();
                    batch.push(append);
                }
                WriterCommand::Delivered(room, seq) => {
                    delivered.insert(room, seq);
                }
                WriterCommand::Forget(room, reply) => {
                    // A commit of its own, after what came before it.
                    forgotten = Some((room, reply));
                    break;
                }
            }
        }
        if !batch.is_empty() {
            self.store(batch, started);
        }
        if !delivered.is_empty() {
            self.mark(&delivered);
        }
        if let Some((room, reply)) = forgotten {
            self.forget(room, reply);
        }
    }

    /// Takes a room's name away at once, and leaves its messages to the retention, which drops a few at a time.
    fn forget(&mut self, room: DbRoom, reply: Option<DropReply>) {
        let bounds = self.bounds.remove(&room);
        let outcome = schema::mark_dropped(&self.connection, room);
        if let Err(error) = &outcome {
            // The room is back after the next start.
            UNFORGOTTEN.warn(|| format!("a room that has ended stays in the history: {error}"));
        } else if bounds.is_some() {
            self.retention.drop_room(room, clock::now());
        }
        if let Some(reply) = reply {
            // Whoever asked may have gone.
            reply.send(outcome.map_err(|_| DropError::NotStored)).unwrap_or_default();
        }
    }

    fn mark(&mut self, delivered: &FxHashMap<DbRoom, Seq>) {
        let mut write = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut mark = transaction.prepare_cached("UPDATE rooms SET delivered = ?2 WHERE id = ?1")?;
                for (db, seq) in delivered {
                    mark.execute((db.0, seq.0.cast_signed()))?;
                }
            }
            transaction.commit()
        };
        if let Err(error) = write() {
            // Then its owner is sent some of it again after the next start.
            UNNOTED.warn(|| format!("what was delivered in private is not noted: {error}"));
        }
    }

    fn store(&mut self, batch: Vec<Append>, started: Instant) {
        let count = batch.len() as u64;
        let outcome = commit(&mut self.connection, &batch, &self.bounds);
        let took = clock::now().saturating_duration_since(started);
        self.metrics.writer.worked(took);
        match outcome {
            Ok(()) => {
                self.metrics.commit_seconds.observe(took);
                self.metrics.commit_messages.observe_n(count as f64, 1);
                for append in &batch {
                    let bounds = self.bounds.entry(append.db).or_insert((Seq(0), Seq(1)));
                    bounds.0 = append.message.seq;
                    self.retention.note(append.db, *bounds);
                }
                let stored = batch.into_iter().map(|append| (append.room, append.message)).collect();
                (self.sink)(StoreReport(Report::Committed(stored)));
            }
            Err(error) => {
                let generation = batch.iter().map(|append| append.generation).max().unwrap_or(0);
                self.fail(&error, generation);
            }
        }
        self.metrics.writer.complete_n(count);
    }

    fn fail(&mut self, error: &rusqlite::Error, generation: u32) {
        self.metrics.failures.fetch_add(1, Relaxed);
        self.metrics.failing.store(1, Relaxed);
        if self.probe_at.is_none() {
            error!("nothing can be stored, messages are refused until it can: {error}");
        }
        self.health.set(Some(format!("the history cannot be stored: {error}")));
        self.failed_generation = Some(generation);
        self.probe_at = Some(clock::now() + PROBE_INTERVAL);
        (self.sink)(StoreReport(Report::Failed { generation }));
    }

    /// Tries whether storing works again, with a connection that knows nothing of the failure.
    fn probe(&mut self) {
        match try_storage(&self.settings) {
            Ok(connection) => {
                self.connection = connection;
                self.probe_at = None;
                self.metrics.failing.store(0, Relaxed);
                info!("storing works again");
                // Whoever is told that it works then finds that it does.
                (self.sink)(StoreReport(Report::Recovered));
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
        match self.retention.step(&mut self.connection, &mut self.bounds, &self.metrics, started) {
            Ok(trimmed) => {
                if !trimmed.is_empty() {
                    (self.sink)(StoreReport(Report::Trimmed(trimmed)));
                }
            }
            Err(error) => {
                warn!("old messages cannot be dropped: {error}");
                self.retention.postpone(started);
            }
        }
        self.metrics.writer.worked(clock::now().saturating_duration_since(started));
    }
}

fn try_storage(settings: &SqliteSettings) -> rusqlite::Result<Connection> {
    let connection = open::open_writer(settings, false)?;
    // A log that was taken back gives its room to others; where that fails, the trial says why.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap_or_default();
    connection.execute("INSERT OR REPLACE INTO probe (id, filler) VALUES (1, randomblob(?1))", [PROBE_BYTES])?;
    connection.execute("DELETE FROM probe", [])?;
    Ok(connection)
}

fn commit(connection: &mut Connection, batch: &[Append], bounds: &Bounds) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut message = transaction.prepare_cached(
            "INSERT INTO messages (place, at, client_id, id, text, peer, owner) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        let mut text = transaction.prepare_cached("INSERT INTO messages_text (rowid, text) VALUES (?1, ?2)")?;
        let mut newest: FxHashMap<DbRoom, &Append> = FxHashMap::default();
        for append in batch {
            let stored = &append.message;
            let place = place(append.db, stored.seq.0);
            let id = stored.id.as_ref().map(starling_protocol::MessageId::as_str);
            let peer = stored.peer().map(starling_protocol::ClientId::as_str);
            let owner = stored.owner.map(|owner| owner.0.cast_signed());
            let (at, sender) = (stored.at.cast_signed(), stored.client_id.as_str());
            message.execute((place, at, sender, id, &*stored.text, peer, owner))?;
            text.execute((place, &*stored.text))?;
            newest.insert(append.db, append);
        }
        let mut advance = transaction.prepare_cached("UPDATE rooms SET seq = ?2 WHERE id = ?1")?;
        let mut make = transaction
            .prepare_cached("INSERT INTO rooms (id, name, epoch, seq, oldest) VALUES (?1, ?2, ?3, ?4, 1)")?;
        for (db, append) in newest {
            let seq = append.message.seq.0.cast_signed();
            if bounds.contains_key(&db) {
                advance.execute((db.0, seq))?;
            } else {
                make.execute((db.0, append.message.room.to_string(), append.epoch.0.cast_signed(), seq))?;
            }
        }
    }
    transaction.commit()
}
