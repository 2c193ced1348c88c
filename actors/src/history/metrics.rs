//! What a store tells of itself to the operator: whether it works, and its figures.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use crate::histogram::Histogram;
use crate::stage::Stage;

/// The figures of a store. Without one they stay at zero.
///
/// The store gets them when it is opened and keeps them true; `/metrics` and `/readyz` read them.
#[derive(Debug)]
pub struct HistoryMetrics {
    /// Whether it can store. `/readyz` says why not.
    pub health: StoreHealth,
    /// Messages on their way to the disk; one unit of work is one message, the busy time is the writer thread's.
    pub writer: Arc<Stage>,
    /// Pages on their way from the disk.
    pub reader: Arc<Stage>,
    /// The duration of a commit, from the first message that is written into it.
    pub commit_seconds: Histogram,
    /// How many messages a commit had; a private message counts for each of its inboxes.
    pub commit_messages: Histogram,
    /// Commits that failed.
    pub failures: AtomicU64,
    /// Messages dropped by retention: too many, too old, or too large in total.
    pub dropped: AtomicU64,
    /// Bytes in use on the disk, as of the last look.
    pub bytes: AtomicU64,
}

impl Default for HistoryMetrics {
    fn default() -> Self {
        Self {
            health: StoreHealth::default(),
            writer: Arc::default(),
            reader: Arc::default(),
            commit_seconds: Histogram::of_durations(),
            commit_messages: Histogram::of_counts(),
            failures: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }
}

/// Whether a store works: it does until it says that it fails.
#[derive(Debug, Default)]
pub struct StoreHealth(Mutex<Option<String>>);

impl StoreHealth {
    /// Why nothing can be stored at the moment, if so; for a person.
    pub fn failure(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets why nothing can be stored from now on; `None`: storing works.
    pub fn set(&self, failure: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}
