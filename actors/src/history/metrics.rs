//! The health and the metrics of a store, for the operator.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::kept_bytes::KeptBytes;
use crate::histogram::Histogram;
use crate::stage::Stage;

/// The metrics of a store. Without a store they stay at zero.
///
/// The store receives them when it is opened and updates them. `/metrics` and `/readyz` read them.
#[derive(Debug)]
pub struct HistoryMetrics {
    /// Whether the store can write. `/readyz` shows the reason of a failure.
    pub health: StoreHealth,
    /// Messages that are queued or being written. One unit of work is one message; the busy time is the writer
    /// thread's.
    pub writer: Arc<Stage>,
    /// Page reads and searches that are queued or running.
    pub reader: Arc<Stage>,
    /// The duration of a commit, from the start of the batch to the commit's end.
    pub commit_seconds: Histogram,
    /// The part of it in which the database writes the commit to the disk and syncs it.
    pub sync_seconds: Histogram,
    /// The duration of a checkpoint, which moves the write-ahead log into the database.
    pub checkpoint_seconds: Histogram,
    /// The messages in memory, once the chat has been made.
    pub memory: OnceLock<KeptBytes>,
    /// Messages per commit. A private message counts once for each of its two inboxes.
    pub commit_messages: Histogram,
    /// Commits that failed.
    pub failures: AtomicU64,
    /// Messages that retention dropped, because a room had too many, they were too old, or the database was too large.
    pub dropped: AtomicU64,
    /// Notes of read positions that were dropped because too many waited for a storage that fails.
    pub positions_lost: AtomicU64,
    /// Bytes in use on the disk, at the last retention check.
    pub bytes: AtomicU64,
}

impl Default for HistoryMetrics {
    fn default() -> Self {
        Self {
            health: StoreHealth::default(),
            writer: Arc::default(),
            reader: Arc::default(),
            commit_seconds: Histogram::of_durations(),
            sync_seconds: Histogram::of_durations(),
            checkpoint_seconds: Histogram::of_durations(),
            memory: OnceLock::new(),
            commit_messages: Histogram::of_counts(),
            failures: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            positions_lost: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }
}

/// Whether a store can write. It is healthy until it reports a failure.
#[derive(Debug, Default)]
pub struct StoreHealth(Mutex<Option<String>>);

impl StoreHealth {
    /// The reason that the store cannot write, as text for the operator. `None` while it works.
    pub fn failure(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the reason that the store cannot write. `None` reports that it works.
    pub fn set(&self, failure: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}
