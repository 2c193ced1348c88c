//! The deliveries of rooms that were due and did not come, with when they were planned.

use std::ops::RangeInclusive;

use rustc_hash::FxHashMap;
use starling_protocol::Epoch;

use super::{HighWaters, Ledger};
use crate::clock::Nanos;

/// Deliveries that were due and did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// To one member.
    Delivery {
        /// The bot.
        bot: u32,
        /// When the messages were planned, or a little earlier.
        planned: Nanos,
        /// How many there are.
        count: u64,
    },
    /// Messages of a room that did not come to all of its members.
    Completion {
        /// When they were planned, or a little earlier.
        planned: Nanos,
        /// How many there are.
        count: u64,
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
                for (planned, count) in record.planned(epoch, range.clone()) {
                    tell(Undelivered::Delivery { bot: *bot, planned, count });
                }
                missed.entry((*room, epoch)).or_default().push(range);
            }
        }
        for ((room, epoch), ranges) in missed {
            let Some(record) = self.rooms.get(&room) else { continue };
            for (planned, count) in union(ranges).into_iter().flat_map(|range| record.planned(epoch, range)) {
                tell(Undelivered::Completion { planned, count });
            }
        }
    }
}

/// The same numbers in ranges that do not overlap.
fn union(mut ranges: Vec<RangeInclusive<u64>>) -> Vec<RangeInclusive<u64>> {
    ranges.sort_unstable_by_key(|range| *range.start());
    let mut union: Vec<RangeInclusive<u64>> = Vec::new();
    for range in ranges {
        match union.last_mut() {
            Some(last) if range.start() <= last.end() => *last = *last.start()..=*last.end().max(range.end()),
            _ => union.push(range),
        }
    }
    union
}
