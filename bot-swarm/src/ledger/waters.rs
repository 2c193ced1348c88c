//! What a swarm knows of the numbers in each epoch of its rooms.

use rustc_hash::FxHashMap;
use starling_protocol::Epoch;

/// A `seq` in each epoch of each room.
type SeqOfEpoch = FxHashMap<(u32, Epoch), u64>;

/// The bounds of each epoch of each room between which bots were told, or must be told, everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waters {
    /// The newest known `seq`.
    high: SeqOfEpoch,
    /// The `seq` at which the first bot entered.
    low: SeqOfEpoch,
}

impl Waters {
    /// Notes that the room has reached at least `seq`.
    pub(super) fn reach(&mut self, room: u32, epoch: Epoch, seq: u64) {
        let high = self.high.entry((room, epoch)).or_default();
        *high = seq.max(*high);
    }

    /// Notes that a bot was told this `seq` as the newest when it entered the room.
    pub(super) fn enter(&mut self, room: u32, epoch: Epoch, seq: u64) {
        let low = self.low.entry((room, epoch)).or_insert(seq);
        *low = seq.min(*low);
    }

    /// The newest `seq` of an epoch; 0 if no bot knows one.
    pub(super) fn high(&self, room: u32, epoch: Epoch) -> u64 {
        self.high.get(&(room, epoch)).copied().unwrap_or_default()
    }

    /// The `seq` at which the first bot entered an epoch, if any did.
    pub(super) fn low(&self, room: u32, epoch: Epoch) -> Option<u64> {
        self.low.get(&(room, epoch)).copied()
    }

    /// Adds what others know.
    pub fn merge(&mut self, other: Self) {
        for ((room, epoch), seq) in other.high {
            self.reach(room, epoch, seq);
        }
        for ((room, epoch), seq) in other.low {
            self.enter(room, epoch, seq);
        }
    }
}
