//! Checks the deliveries: each message once at each receiver, those of one sender in their order.

use std::collections::HashMap;
use std::ops::Range;

use serde::Serialize;

/// What has arrived so far.
#[derive(Debug, Clone, Copy, Default, Serialize, PartialEq, Eq)]
pub(crate) struct Counts {
    /// First copies.
    pub(crate) received: u64,
    /// Further copies.
    pub(crate) duplicates: u64,
    /// Messages that came after a later one of the same sender.
    pub(crate) order_violations: u64,
    /// Messages that are missing before a later one of the same sender.
    pub(crate) skipped: u64,
    /// Deliveries to another connection or room than was meant.
    pub(crate) misrouted: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tally {
    senders: usize,
    /// The number of the next message, by receiver and sender.
    next: Vec<u32>,
    /// The missing messages, by receiver and sender. Usually there are none.
    missing: HashMap<usize, Vec<Range<u32>>>,
    pub(crate) counts: Counts,
}

impl Tally {
    pub(crate) fn new(receivers: usize, senders: usize) -> Self {
        Self { senders, next: vec![0; receivers * senders], missing: HashMap::new(), counts: Counts::default() }
    }

    /// Counts a delivery. Returns whether it is the first copy.
    #[inline]
    pub(crate) fn take(&mut self, receiver: usize, sender: usize, number: u32) -> bool {
        let pair = receiver * self.senders + sender;
        let next = &mut self.next[pair];
        if number != *next {
            return self.take_unexpected(pair, number);
        }
        *next = number + 1;
        self.counts.received += 1;
        true
    }

    #[cold]
    fn take_unexpected(&mut self, pair: usize, number: u32) -> bool {
        let next = &mut self.next[pair];
        if number > *next {
            self.missing.entry(pair).or_default().push(*next..number);
            self.counts.skipped += u64::from(number - *next);
            self.counts.received += 1;
            *next = number + 1;
            return true;
        }
        let ranges = self.missing.entry(pair).or_default();
        let Some(at) = ranges.iter().position(|range| range.contains(&number)) else {
            self.counts.duplicates += 1;
            return false;
        };
        let range = ranges.swap_remove(at);
        let rest = [range.start..number, number + 1..range.end];
        ranges.extend(rest.into_iter().filter(|range| !range.is_empty()));
        self.counts.skipped -= 1;
        self.counts.order_violations += 1;
        self.counts.received += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_counted_as_what_it_is() {
        let cases: [(&[u32], Counts); 5] = [
            (&[0, 1, 2], Counts { received: 3, ..Counts::default() }),
            (&[0, 1, 1], Counts { received: 2, duplicates: 1, ..Counts::default() }),
            (&[0, 3], Counts { received: 2, skipped: 2, ..Counts::default() }),
            (&[0, 3, 2, 1], Counts { received: 4, order_violations: 2, ..Counts::default() }),
            (&[2, 1, 1], Counts { received: 2, order_violations: 1, skipped: 1, duplicates: 1, ..Counts::default() }),
        ];
        for (numbers, expected) in cases {
            let mut tally = Tally::new(2, 3);
            for number in numbers {
                tally.take(1, 2, *number);
            }
            assert_eq!(tally.counts, expected, "{numbers:?}");
        }
    }
}
