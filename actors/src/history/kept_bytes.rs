//! The number of bytes that messages may occupy in memory. The memory watch lowers it while memory is short.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// The bytes of messages in memory: the current sum and the limit. Shared with the memory watch.
#[derive(Debug, Clone)]
pub struct KeptBytes(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    kept: AtomicU64,
    allowed: AtomicU64,
    most: u64,
}

impl KeptBytes {
    /// Starts without messages. The limit is `most` bytes.
    pub(super) fn new(most: u64) -> Self {
        Self(Arc::new(Counts { kept: AtomicU64::new(0), allowed: AtomicU64::new(most), most }))
    }

    /// Bytes of all messages in memory, the sum of their [weights](super::StoredMessage::weight).
    pub fn kept(&self) -> u64 {
        self.0.kept.load(Relaxed)
    }

    /// Sets the limit, from the next message on. It never exceeds the initial limit.
    pub fn allow(&self, bytes: u64) {
        self.0.allowed.store(bytes.min(self.0.most), Relaxed);
    }

    pub(super) fn allowed(&self) -> u64 {
        self.0.allowed.load(Relaxed)
    }

    pub(super) fn set_kept(&self, bytes: u64) {
        self.0.kept.store(bytes, Relaxed);
    }
}
