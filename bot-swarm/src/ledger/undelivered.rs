//! The room deliveries that were due and did not arrive, with their planned times.

use std::ops::RangeInclusive;

use rustc_hash::FxHashMap;
use starling_protocol::Epoch;

use super::sequence::union;
use super::{Ledger, Waters};
use crate::clock::Nanos;
use crate::last_receivers::PlaceKey;

/// The newest positions of a room among which incomplete messages are reported one by one. A server may claim any
/// `seq`, so older ones are skipped.
pub(super) const INCOMPLETE_MAX: u64 = 1 << 20;

/// Deliveries that were due and did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// To one member.
    Delivery {
        /// The number of the member that did not receive them.
        bot: u32,
        /// The planned time of the messages, or a little earlier.
        planned: Nanos,
        /// The number of messages.
        count: u64,
    },
    /// A message of a room that did not arrive at all of its members.
    Completion {
        /// Its position in its room.
        place: PlaceKey,
        /// Its planned time, or a little earlier.
        planned: Nanos,
    },
}

impl Ledger {
    /// Reports the room deliveries that were due and did not arrive: lost ones, and those that are missing at bots that
    /// lost their connection and did not return.
    pub fn undelivered(&self, targets: &Waters, mut tell: impl FnMut(Undelivered)) {
        let mut missed: FxHashMap<(u32, Epoch), Vec<RangeInclusive<u64>>> = FxHashMap::default();
        for ((bot, room), member) in self.members.iter().filter(|(_, member)| !member.rests) {
            let Some(record) = self.rooms.get(room) else { continue };
            let epoch = member.position.epoch();
            for range in member.position.missing_until(targets.high(*room, epoch)) {
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
