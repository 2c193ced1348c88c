//! The number of wanted bots in each room: the receivers that an unsent message would have had.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// The number of bots by room, of all workers. Clones share the counts.
#[derive(Debug, Clone)]
pub(crate) struct Crowds(Arc<[AtomicU32]>);

impl Crowds {
    /// No bots in any of this many rooms.
    pub(crate) fn new(rooms: u32) -> Self {
        Self((0..rooms).map(|_| AtomicU32::new(0)).collect())
    }

    /// Adds a bot to a room.
    pub(crate) fn come(&self, room: u32) {
        if let Some(crowd) = self.0.get(room as usize) {
            crowd.fetch_add(1, Relaxed);
        }
    }

    /// Removes a bot from a room.
    pub(crate) fn go(&self, room: u32) {
        if let Some(crowd) = self.0.get(room as usize) {
            crowd.fetch_sub(1, Relaxed);
        }
    }

    /// The number of bots that are wanted in a room.
    pub(crate) fn of(&self, room: u32) -> u64 {
        self.0.get(room as usize).map_or(0, |crowd| crowd.load(Relaxed).into())
    }
}
