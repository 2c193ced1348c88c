//! The approximate planned times of a room's messages: enough to know how long a missing message has been due.

use std::ops::RangeInclusive;

use crate::clock::Nanos;

/// The most samples that are remembered; above that, every second one is dropped, and half as many are taken from then
/// on.
const SAMPLES_MAX: usize = 64;

/// Planned times of some messages of one epoch of a room, by `seq`.
///
/// Takes at most 1 KiB, however many messages there are.
#[derive(Debug)]
pub struct Timeline {
    samples: Vec<(u64, Nanos)>,
    stride: u64,
    /// The lowest `seq` for the next sample.
    next: u64,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { samples: Vec::new(), stride: 1, next: 0 }
    }
}

impl Timeline {
    /// Notes the planned time of a message.
    pub fn note(&mut self, seq: u64, planned: Nanos) {
        if seq < self.next {
            return;
        }
        self.samples.push((seq, planned));
        if self.samples.len() == SAMPLES_MAX {
            let mut is_kept = false;
            self.samples.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.stride *= 2;
        }
        self.next = seq + self.stride;
    }

    /// The planned times of the messages in a range: times, each with the messages for which it stands. A message
    /// counts as planned with the last sampled message before it, so never too late. Empty if nothing is known.
    pub fn planned(&self, range: RangeInclusive<u64>) -> impl Iterator<Item = (Nanos, RangeInclusive<u64>)> {
        let (start, end) = range.into_inner();
        let firsts = self.samples.iter().enumerate();
        firsts.filter_map(move |(index, (seq, planned))| {
            // Messages older than the first sample count as planned with it.
            let from = if index == 0 { start } else { start.max(*seq) };
            let until = self.samples.get(index + 1).map_or(end, |(next, _)| end.min(next.saturating_sub(1)));
            (from <= until).then_some((*planned, from..=until))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_message_counts_as_planned_with_the_last_one_known_before_it() {
        let mut timeline = Timeline::default();
        for (seq, planned) in [(10, 100), (11, 110), (15, 150)] {
            timeline.note(seq, Nanos(planned));
        }
        let planned = |range| timeline.planned(range).map(|(at, seqs)| (at.0, seqs)).collect::<Vec<_>>();
        assert_eq!(planned(9..=17), [(100, 9..=10), (110, 11..=14), (150, 15..=17)]);
        assert_eq!(planned(12..=13), [(110, 12..=13)]);
        assert_eq!(Timeline::default().planned(1..=5).count(), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_spans_the_whole_life() {
        let mut timeline = Timeline::default();
        (1..=1_000_000).for_each(|seq| timeline.note(seq, Nanos(seq)));
        assert!(timeline.samples.len() < SAMPLES_MAX);
        for seq in [1, 500_000, 1_000_000] {
            let (planned, seqs) = timeline.planned(seq..=seq).next().unwrap();
            assert!(planned.0 <= seq && seq - planned.0 <= 40_000 && seqs == (seq..=seq), "{seq}: {planned:?}");
        }
    }
}
