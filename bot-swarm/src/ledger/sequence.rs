//! The numbers of a growing sequence that have arrived.

use std::ops::RangeInclusive;

/// The most holes that a sequence remembers; above that, it gives up the oldest: its numbers are missing for good.
const HOLES_MAX: usize = 256;

/// The numbers that have arrived after a base: all up to the newest, except those in the holes.
///
/// Takes 56 bytes while nothing is missing, whatever its length.
#[derive(Debug, Clone, Default)]
pub struct Sequence {
    base: u64,
    newest: u64,
    holes: Vec<RangeInclusive<u64>>,
    given_up: u64,
}

/// The relation of a number to those that arrived before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Exactly the next one.
    Next,
    /// Newer, with this many missing in between.
    Skipped(u64),
    /// A missing one: newer ones arrived before it.
    Late,
    /// One that had arrived before (or was given up, see [`Sequence`]).
    Twice,
    /// One at or before the base.
    BeforeBase,
}

impl Sequence {
    /// An empty sequence; it begins after `base`.
    pub fn after(base: u64) -> Self {
        Self { base, newest: base, holes: Vec::new(), given_up: 0 }
    }

    /// The newest number that arrived; the base if none did.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Notes a number.
    pub fn observe(&mut self, number: u64) -> Arrival {
        if number > self.newest {
            let missing = number - self.newest - 1;
            self.skip_to(number - 1);
            self.newest = number;
            return if missing == 0 { Arrival::Next } else { Arrival::Skipped(missing) };
        }
        if number <= self.base {
            return Arrival::BeforeBase;
        }
        if self.fill(number) { Arrival::Late } else { Arrival::Twice }
    }

    /// Marks all numbers up to `number` that have not arrived as missing.
    pub fn skip_to(&mut self, number: u64) {
        if number <= self.newest {
            return;
        }
        if self.holes.len() == HOLES_MAX {
            self.given_up += length(&self.holes.remove(0));
        }
        self.holes.push(self.newest + 1..=number);
        self.newest = number;
    }

    fn fill(&mut self, number: u64) -> bool {
        let Some(index) = self.holes.iter().rposition(|hole| hole.contains(&number)) else { return false };
        let hole = self.holes.remove(index);
        let (before, after) = (*hole.start()..=number - 1, number + 1..=*hole.end());
        for rest in [after, before] {
            if !rest.is_empty() {
                self.holes.insert(index, rest);
            }
        }
        true
    }

    /// Whether the number has arrived.
    pub fn contains(&self, number: u64) -> bool {
        number > self.base && number <= self.newest && !self.holes.iter().any(|hole| hole.contains(&number))
    }

    /// Whether the number is missing from those up to `target` or the newest.
    pub fn lacks(&self, number: u64, target: u64) -> bool {
        number > self.base && number <= self.newest.max(target) && !self.contains(number)
    }

    /// The number of numbers that have arrived.
    pub fn count(&self) -> u64 {
        self.newest - self.base - self.missing()
    }

    /// The number of numbers that are missing although newer ones arrived.
    pub fn missing(&self) -> u64 {
        self.given_up + self.holes.iter().map(length).sum::<u64>()
    }

    /// The missing numbers up to `target` or the newest, whichever is higher; oldest first, without those that were
    /// given up.
    pub fn missing_until(&self, target: u64) -> impl Iterator<Item = RangeInclusive<u64>> {
        let tail = self.newest + 1..=target;
        self.holes.iter().cloned().chain((!tail.is_empty()).then_some(tail))
    }

    /// The number of numbers up to `target` or the newest, whichever is higher, if nothing were missing.
    pub fn expected_until(&self, target: u64) -> u64 {
        self.newest.max(target) - self.base
    }

    /// The number of numbers of this sequence that are missing in the other. Both have the same base.
    pub fn count_not_in(&self, other: &Self) -> u64 {
        let beyond = self.newest.saturating_sub(other.newest.max(self.base));
        let holes_beyond: u64 = self.holes.iter().map(|hole| overlap(hole, &(other.newest + 1..=self.newest))).sum();
        // Those in a hole of the other and not in one of ours.
        let in_holes: u64 = other
            .holes
            .iter()
            .map(|theirs| {
                let arrived = overlap(theirs, &(self.base + 1..=self.newest));
                arrived - self.holes.iter().map(|ours| overlap(theirs, ours)).sum::<u64>()
            })
            .sum();
        beyond - holes_beyond + in_holes
    }
}

fn length(range: &RangeInclusive<u64>) -> u64 {
    if range.is_empty() { 0 } else { range.end() - range.start() + 1 }
}

fn overlap(a: &RangeInclusive<u64>, b: &RangeInclusive<u64>) -> u64 {
    length(&(*a.start().max(b.start())..=*a.end().min(b.end())))
}

/// The same numbers as ranges that do not overlap.
pub fn union(mut ranges: Vec<RangeInclusive<u64>>) -> Vec<RangeInclusive<u64>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: impl IntoIterator<Item = u64>) -> Sequence {
        let mut sequence = Sequence::after(0);
        for number in numbers {
            sequence.observe(number);
        }
        sequence
    }

    #[test]
    fn each_arrival_is_told_for_what_it_is() {
        let mut sequence = Sequence::after(10);
        let arrivals: Vec<Arrival> =
            [11, 12, 15, 14, 14, 12, 13, 10, 16].into_iter().map(|number| sequence.observe(number)).collect();
        let expected = [
            Arrival::Next,
            Arrival::Next,
            Arrival::Skipped(2),
            Arrival::Late,
            Arrival::Twice,
            Arrival::Twice,
            Arrival::Late,
            Arrival::BeforeBase,
            Arrival::Next,
        ];
        assert_eq!(arrivals, expected);
        assert_eq!((sequence.count(), sequence.missing()), (6, 0));
    }

    #[test]
    fn what_is_missing_is_counted_to_the_newest_and_what_is_expected_to_the_target() {
        let sequence = of([1, 2, 5]);
        assert_eq!((sequence.missing(), sequence.count()), (2, 3));
        assert_eq!(sequence.expected_until(3), 5);
        assert_eq!(sequence.expected_until(9), 9);
        assert!(sequence.contains(5) && !sequence.contains(4) && !sequence.contains(6) && !sequence.contains(0));
    }

    #[test]
    fn the_difference_of_two_sequences_is_counted() {
        let sets: [&[u64]; 6] = [&[], &[1, 2, 3], &[1, 2, 3, 4, 5, 6], &[2, 5], &[1, 4, 6], &[3, 4, 5, 9]];
        for a in sets {
            for b in sets {
                let expected = a.iter().filter(|n| !b.contains(n)).count() as u64;
                assert_eq!(of(a.iter().copied()).count_not_in(&of(b.iter().copied())), expected, "{a:?} without {b:?}");
            }
        }
    }

    #[test]
    fn a_random_order_is_judged_as_a_set_would() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..200 {
            let mut sequence = Sequence::after(0);
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..60 {
                let number = rng.u64(1..40);
                let is_newest = seen.last().is_none_or(|last| number > *last);
                let arrival = sequence.observe(number);
                let is_new = seen.insert(number);
                assert_eq!(arrival == Arrival::Twice, !is_new);
                assert_eq!(arrival == Arrival::Late, is_new && !is_newest);
                assert_eq!(sequence.count(), seen.len() as u64);
                assert_eq!(sequence.count() + sequence.missing(), *seen.last().unwrap());
            }
        }
    }

    #[test]
    fn a_sequence_with_too_many_holes_gives_the_oldest_up_and_still_counts_them() {
        let losses = HOLES_MAX as u64 + 10;
        let mut sequence = of((1..=losses).map(|k| 2 * k));
        assert_eq!((sequence.missing(), sequence.count()), (losses, losses));
        assert_eq!(sequence.observe(1), Arrival::Twice);
        assert_eq!(sequence.observe(2 * losses - 1), Arrival::Late);
    }
}
