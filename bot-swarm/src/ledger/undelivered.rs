//! The deliveries of rooms that were due and did not come, with when they were planned.

use std::ops::RangeInclusive;

use rustc_hash::FxHashMap;
use starling_protocol::Epoch;

use super::sequence::union;
use super::{HighWaters, Ledger};
use crate::clock::Nanos;
use crate::last_receivers::PlaceKey;

/// Newest places of a room among which messages that did not come to all are told one by one. A server may claim any
/// `seq`, so older ones are not looked for.
pub(super) const INCOMPLETE_MAX: u64 = 1 << 20;

/// Deliveries that were due and did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// To one member.
    Delivery {
        /// The number of the member that did not get them.
        bot: u32,
        /// When the messages were planned, or a little earlier.
        planned: Nanos,
        /// How many there are.
        count: u64,
    },
    /// A message of a room that did not come to all of its members.
    Completion {
        /// Where it stands in its room.
        place: PlaceKey,
        /// When it was planned, or a little earlier.
        planned: Nanos,
    },
}

impl Ledger {
    /// Tells the deliveries of rooms that were due to members and did not come: what is lost, and what bots miss that
    /// lost their connection and did not come back.
    pub fn undelivered(&self, targets: &HighWaters, mut tell: impl FnMut(Undelivered)) {
        let mut missed: FxHashMap<(u32, Epoch), Vec<RangeInclusive<u64>>> = FxHashMap::default();
        for ((bot, room), member) in self.members.iter().filter(|(_, member)| !member.rests) {
            let Some(record) = self.rooms.get(room) else { continue };
            let epoch = member.position.epoch();
            let target = targets.get(&(*room, epoch)).copied().unwrap_or_default();
            for range in member.position.missing_until(target) {
                for (planned, seqs) in record.planned(epoch, range.clone()) {
                    tell(Undelivered::Delivery { bot: *bot, planned, count: seqs.end() - seqs.start() + 1 });
                }
                missed.entry((*room, epoch)).or_default().push(range);
            }
        }
        for ((room, epoch), ranges) in missed {
            let Some((record, tag)) = self.rooms.get(&room).zip(self.tags.get(&room)) else { continue };
            let newest = ranges.iter().map(|range| *range.end()).max().unwrap_or_default();
            let oldest = newest.saturating_sub(INCOMPLETE_MAX - 1);
            for (planned, seqs) in union(ranges).into_iter().flat_map(|range| record.planned(epoch, range)) {
                for seq in *seqs.start().max(&oldest)..=*seqs.end() {
                    tell(Undelivered::Completion { place: PlaceKey::of(room, *tag, epoch, seq), planned });
                }
            }
        }
    }
}
