//! How many bytes of messages the memory may keep, which is less while memory is short.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// The bytes of messages in memory: how many there are, and how many may be. Shared with whoever watches the memory.
#[derive(Debug, Clone)]
pub struct KeptBytes(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    kept: AtomicU64,
    allowed: AtomicU64,
    most: u64,
}

impl KeptBytes {
    /// No messages yet, and at most `most` bytes of them.
    pub(super) fn new(most: u64) -> Self {
        Self(Arc::new(Counts { kept: AtomicU64::new(0), allowed: AtomicU64::new(most), most }))
    }

    /// Bytes of all messages in memory, by their [weight](super::StoredMessage::weight).
    pub fn kept(&self) -> u64 {
        self.0.kept.load(Relaxed)
    }

    /// Allows at most so many from the next message on; never more than were allowed at the beginning.
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
