//! How far this node has come in the log.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use starling_actors::nodes::log::RECORDS_AHEAD_MAX;
use starling_actors::nodes::record::RecordId;
use tokio::sync::Notify;

/// Most bytes of records that are read ahead of the chat, but for a single record.
const BYTES_AHEAD_MAX: usize = 32 * 1024 * 1024;

/// Positions that all parts see.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The newest record of the log, as far as this node knows.
    newest: AtomicU64,
    /// The newest record that was given to the chat.
    read: AtomicU64,
    /// The newest time of a record that was given to the chat.
    read_nanos: AtomicU64,
    /// The newest record that the chat has applied.
    applied: AtomicU64,
    /// Whether the reader waits for the chat.
    waits: AtomicBool,
    moved: Notify,
}

impl Progress {
    pub(super) fn begin(&self, behind: u64) {
        self.read.store(behind, SeqCst);
        self.applied(behind);
    }

    pub(super) fn saw_newest(&self, position: u64) {
        self.newest.fetch_max(position, SeqCst);
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest.load(SeqCst)
    }

    pub(super) fn set_read(&self, id: RecordId) {
        self.read_nanos.fetch_max(id.nanos, SeqCst);
        self.read.store(id.position.0, SeqCst);
        self.saw_newest(id.position.0);
    }

    pub(super) fn read(&self) -> u64 {
        self.read.load(SeqCst)
    }

    /// The newest time of the records that were read, in nanoseconds since the Unix epoch.
    pub(super) fn read_nanos(&self) -> u64 {
        self.read_nanos.load(SeqCst)
    }

    pub(super) fn applied(&self, position: u64) {
        self.applied.store(position, SeqCst);
        if self.waits.swap(false, SeqCst) {
            self.moved.notify_one();
        }
    }

    pub(super) fn applied_upto(&self) -> u64 {
        self.applied.load(SeqCst)
    }

    /// Whether the reader has read as far ahead of the chat as it may.
    pub(super) fn waits_for_chat(&self) -> bool {
        self.waits.load(SeqCst)
    }

    /// Records of the log that the chat has not applied.
    pub(super) fn lag(&self) -> u64 {
        let applied = self.applied_upto();
        self.newest().saturating_sub(applied)
    }
}

/// The records that were read and that the chat has not applied.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    records: VecDeque<(u64, usize)>,
    bytes: usize,
}

impl Ahead {
    /// Adds a record that the chat was given.
    pub(super) fn add(&mut self, position: u64, bytes: usize) {
        self.records.push_back((position, bytes));
        self.bytes += bytes;
    }

    /// Waits until there is space for another record.
    pub(super) async fn has_space(&mut self, progress: &Progress) {
        while self.is_full(progress) {
            progress.waits.store(true, SeqCst);
            // The chat may have moved before it could see that the reader waits.
            if self.is_full(progress) {
                progress.moved.notified().await;
            }
        }
    }

    fn is_full(&mut self, progress: &Progress) -> bool {
        if self.has_space_now() {
            return false;
        }
        let applied = progress.applied_upto();
        while let Some((_, bytes)) = self.records.pop_front_if(|(position, _)| *position <= applied) {
            self.bytes -= bytes;
        }
        !self.has_space_now()
    }

    fn has_space_now(&self) -> bool {
        (self.records.len() as u64) < RECORDS_AHEAD_MAX && self.bytes < BYTES_AHEAD_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_is_a_bounded_number_of_records_and_bytes_ahead_of_the_chat() {
        let progress = Progress::default();
        let mut ahead = Ahead::default();
        progress.begin(10);
        for position in 11..11 + RECORDS_AHEAD_MAX {
            assert!(!ahead.is_full(&progress), "{position}");
            ahead.add(position, 1);
        }
        assert!(ahead.is_full(&progress));
        progress.applied(11);
        assert!(!ahead.is_full(&progress));
        ahead.add(9_999, BYTES_AHEAD_MAX);
        assert!(ahead.is_full(&progress));
        progress.applied(9_999);
        assert!(!ahead.is_full(&progress));
        progress.saw_newest(10_001);
        assert_eq!(progress.lag(), 2);
    }
}
