//! The threads that read pages. Each has its own read-only connection.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, InterruptHandle};

use super::page::{DiskRead, page};
use super::report::Report;
use crate::clock;
use crate::history::thread::spawn;
use crate::history::{HistoryMetrics, Page, ReadError, ReadPurpose, ReadRequest, ReportSink, StoreReport};
use crate::log_interval::LogInterval;
use crate::vitals::Vitals;

/// The largest number of waiting pages. Reads for catching up are not counted, because a session has at most one for
/// each room.
const WAITING_MAX: usize = 1_024;

#[derive(Debug, Default)]
struct WaitingReads {
    replays: VecDeque<DiskRead>,
    pages: VecDeque<DiskRead>,
    is_over: bool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<WaitingReads>,
    changed: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, WaitingReads> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next read. `None` when the threads are to end.
    fn next(&self) -> Option<DiskRead> {
        let mut waiting = self.lock();
        loop {
            if waiting.is_over {
                return None;
            }
            if let Some(read) = waiting.replays.pop_front().or_else(|| waiting.pages.pop_front()) {
                return Some(read);
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Queues reads for the reader threads.
pub(super) struct Readers {
    queue: Arc<Queue>,
    metrics: Arc<HistoryMetrics>,
    interrupts: Vec<InterruptHandle>,
}

impl Readers {
    /// Starts a thread for each connection.
    pub(super) fn start(
        connections: Vec<Connection>,
        sink: &ReportSink,
        metrics: &Arc<HistoryMetrics>,
        vitals: &Vitals,
    ) -> (Self, Vec<JoinHandle<()>>) {
        let queue = Arc::new(Queue::default());
        let interrupts = connections.iter().map(Connection::get_interrupt_handle).collect();
        let threads = connections.into_iter().map(|connection| {
            let (queue, sink, metrics) = (Arc::clone(&queue), Arc::clone(sink), Arc::clone(metrics));
            spawn("history-read", vitals, move || {
                while let Some(read) = queue.next() {
                    serve(read, &sink, &metrics, |read| {
                        page(&connection, read).map_err(|error| {
                            UNREADABLE.warn(|| format!("the history cannot be read: {error}"));
                            ReadError::Failed
                        })
                    });
                }
            })
        });
        let threads = threads.collect();
        (Self { queue, metrics: Arc::clone(metrics), interrupts }, threads)
    }

    /// Queues a read. Returns it if too many are waiting.
    pub(super) fn ask(&self, read: DiskRead) -> Result<(), ReadRequest> {
        let mut waiting = self.queue.lock();
        let is_replay = read.request.purpose == ReadPurpose::CatchUp;
        if !is_replay && waiting.pages.len() >= WAITING_MAX {
            return Err(read.request);
        }
        let queue = if is_replay { &mut waiting.replays } else { &mut waiting.pages };
        queue.push_back(read);
        drop(waiting);
        self.metrics.reader.arrive_n(1);
        self.queue.changed.notify_one();
        Ok(())
    }

    /// Ends the threads. Waiting reads are discarded.
    pub(super) fn stop(&self) {
        self.queue.lock().is_over = true;
        self.queue.changed.notify_all();
        self.interrupts.iter().for_each(InterruptHandle::interrupt);
    }
}

/// Limits the log lines, because a client can cause them as often as its rate limit allows.
static UNREADABLE: LogInterval = LogInterval::new();

/// Answers a read with the result of `page`.
pub(super) fn serve(
    read: DiskRead,
    sink: &ReportSink,
    metrics: &HistoryMetrics,
    page: impl FnOnce(&DiskRead) -> Result<Page, ReadError>,
) {
    let started = clock::now();
    metrics.reader.waited(started.saturating_duration_since(read.queued), 1);
    let outcome = page(&read);
    metrics.reader.worked(clock::now().saturating_duration_since(started));
    metrics.reader.complete_n(1);
    sink(StoreReport::new(Report::Read { request: read.request, outcome }));
}
