//! What a swarm knows of the numbers in each epoch of its rooms.

use rustc_hash::FxHashMap;
use starling_protocol::Epoch;

use crate::clock::Nanos;

/// The beginning of an epoch, as the first bot that entered it knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Beginning {
    seq: u64,
    at: Nanos,
}

/// The bounds of each epoch of each room between which bots were told, or must be told, everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waters {
    /// The newest known `seq`.
    high: FxHashMap<(u32, Epoch), u64>,
    /// By room, so that a return looks at the epochs of its room only.
    low: FxHashMap<u32, FxHashMap<Epoch, Beginning>>,
}

impl Waters {
    /// Notes that the room has reached at least `seq`.
    pub(super) fn reach(&mut self, room: u32, epoch: Epoch, seq: u64) {
        let high = self.high.entry((room, epoch)).or_default();
        *high = seq.max(*high);
    }

    /// Notes that a bot was told this `seq` as the newest when it entered the room at this time.
    pub(super) fn enter(&mut self, room: u32, epoch: Epoch, seq: u64, at: Nanos) {
        let low = self.low.entry(room).or_default().entry(epoch).or_insert(Beginning { seq, at });
        *low = Beginning { seq: seq.min(low.seq), at: at.min(low.at) };
    }

    /// The newest `seq` of an epoch; 0 if no bot knows one.
    pub(super) fn high(&self, room: u32, epoch: Epoch) -> u64 {
        self.high.get(&(room, epoch)).copied().unwrap_or_default()
    }

    /// The number of messages that a bot missed which came from the older epoch into the newer one, at this `seq`: those
    /// before it in the newer one, and all of the epochs between.
    pub(super) fn missed(&self, room: u32, from: Epoch, to: Epoch, seq: u64) -> u64 {
        let Some(epochs) = self.low.get(&room) else { return 0 };
        let Some((older, newer)) = epochs.get(&from).zip(epochs.get(&to)) else { return 0 };
        let between =
            epochs.iter().filter(|(epoch, low)| ![from, to].contains(epoch) && (older.at..newer.at).contains(&low.at));
        let skipped = between.map(|(epoch, low)| self.high(room, *epoch).saturating_sub(low.seq));
        skipped.fold(seq.saturating_sub(newer.seq), u64::saturating_add)
    }

    /// Adds what others know.
    pub fn merge(&mut self, other: Self) {
        for ((room, epoch), seq) in other.high {
            self.reach(room, epoch, seq);
        }
        for (room, epochs) in other.low {
            for (epoch, Beginning { seq, at }) in epochs {
                self.enter(room, epoch, seq, at);
            }
        }
    }
}
