//! A thread that keeps the write-ahead log short.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::command::WriterCommand;
use super::command_queue::CommandSender;
use super::file::OpenFiles;
use crate::clock;
use crate::history::HistoryMetrics;
use crate::history::thread::spawn;
use crate::vitals::Vitals;

/// The interval between two checkpoints, which move the write-ahead log into the database.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// Starts the thread. It ends when the returned sender is dropped.
pub(super) fn start(
    (connection, files): (Connection, Arc<OpenFiles>),
    writer: CommandSender,
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
                // A checkpoint would move only a part of a truncated log, and so damage the database. The writer
                // reports the fault.
                if files.check().is_err() {
                    continue;
                }
                let started = clock::now();
                // A passive checkpoint blocks nobody and moves as much as it can.
                if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
                    // Sending fails only without a writer, and then the process ends.
                    writer.send(vec![WriterCommand::CheckpointFailed(error)]).unwrap_or_default();
                }
                metrics.checkpoint_seconds.observe(clock::now().saturating_duration_since(started));
            }
        }
    });
    (stop, thread)
}
