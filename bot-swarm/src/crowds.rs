//! How many bots are to be in each room: the receivers that a message would have had that nobody could send.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Bots by their room, of all workers. Clones count the same bots.
#[derive(Debug, Clone)]
pub(crate) struct Crowds(Arc<[AtomicU32]>);

impl Crowds {
    /// Nobody in any of so many rooms.
    pub(crate) fn new(rooms: u32) -> Self {
        Self((0..rooms).map(|_| AtomicU32::new(0)).collect())
    }

    /// A bot is to be in a room from now on.
    pub(crate) fn come(&self, room: u32) {
        if let Some(crowd) = self.0.get(room as usize) {
            crowd.fetch_add(1, Relaxed);
        }
    }

    /// A bot is not to be there any more.
    pub(crate) fn go(&self, room: u32) {
        if let Some(crowd) = self.0.get(room as usize) {
            crowd.fetch_sub(1, Relaxed);
        }
    }

    /// How many bots are to be in a room.
    pub(crate) fn of(&self, room: u32) -> u64 {
        self.0.get(room as usize).map_or(0, |crowd| crowd.load(Relaxed).into())
    }
}
