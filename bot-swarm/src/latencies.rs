//! Latencies as high dynamic range histograms.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest recorded latency, in microseconds: an hour. Longer ones count as this.
const MICROS_MAX: u64 = 3_600_000_000;

/// A set of latencies: microseconds to three digits, up to an hour (longer ones count as an hour).
///
/// Takes memory for the recorded range, 20 to 200 kB.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "a constant number of digits, tried by every test")]
        Self(Histogram::new(3).expect("three digits are possible"))
    }
}

impl Latencies {
    /// Adds one latency.
    #[expect(clippy::missing_panics_doc, reason = "it cannot, see below")]
    pub fn record(&mut self, latency: Duration) {
        #[expect(clippy::expect_used, reason = "it grows, and an hour fits")]
        self.0.record(micros(latency)).expect("the histogram takes up to an hour");
    }

    /// Adds a latency `count` times.
    #[expect(clippy::missing_panics_doc, reason = "it cannot, see below")]
    pub fn record_many(&mut self, latency: Duration, count: u64) {
        #[expect(clippy::expect_used, reason = "it grows, and an hour fits")]
        self.0.record_n(micros(latency), count).expect("the histogram takes up to an hour");
    }

    /// Adds all latencies of another set.
    #[expect(clippy::missing_panics_doc, reason = "it cannot, see below")]
    pub fn merge(&mut self, other: &Self) {
        #[expect(clippy::expect_used, reason = "all have the same digits, and grow")]
        self.0.add(&other.0).expect("histograms of one shape add up");
    }

    /// Removes all latencies and keeps the memory.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// The number of latencies.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that this share of them (0 to 1) does not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(share))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }

    /// The mean, to the three digits that are kept; zero if there are none.
    pub fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.0.mean() / 1e6)
    }

    /// Pairs of microseconds and their count, shortest first. [`of`](Self::of) reverses this.
    pub fn steps(&self) -> Vec<[u64; 2]> {
        self.iter().map(|(latency, count)| [micros(latency), count]).collect()
    }

    /// Builds latencies from their [`steps`](Self::steps).
    pub fn of(steps: &[[u64; 2]]) -> Self {
        let mut latencies = Self::default();
        for [micros, count] in steps {
            latencies.record_many(Duration::from_micros(*micros), *count);
        }
        latencies
    }

    /// These latencies without those of another set. Counts do not go below zero.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Self::default();
        for (latency, count) in self.iter() {
            left.record_many(latency, count.saturating_sub(other.0.count_at(micros(latency))));
        }
        left
    }

    /// A short text: microseconds, the shortest first, then the distance from one to the next, each with `*` and its
    /// count if it is not 1. Empty if there are no latencies. [`unpack`](Self::unpack) reverses this.
    pub fn pack(&self) -> String {
        let (mut packed, mut before) = (String::new(), 0);
        for [micros, count] in self.steps() {
            let distance = micros - std::mem::replace(&mut before, micros);
            let separator = if packed.is_empty() { "" } else { " " };
            // Writing to a String never fails.
            write!(packed, "{separator}{distance}").unwrap_or_default();
            if count != 1 {
                write!(packed, "*{count}").unwrap_or_default();
            }
        }
        packed
    }

    /// Reads the text of [`pack`](Self::pack). `None` if it is invalid.
    pub fn unpack(packed: &str) -> Option<Self> {
        let mut latencies = Self::default();
        let mut micros = 0_u64;
        for step in packed.split_ascii_whitespace() {
            let (distance, count) = step.split_once('*').unwrap_or((step, "1"));
            micros = micros.checked_add(distance.parse().ok()?)?;
            latencies.record_many(Duration::from_micros(micros), count.parse().ok()?);
        }
        Some(latencies)
    }

    /// Each recorded latency with its count, shortest first. If three digits cannot distinguish several, the shortest
    /// stands for all.
    pub fn iter(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.0.iter_recorded().map(|step| {
            let micros = self.0.lowest_equivalent(step.value_iterated_to());
            (Duration::from_micros(micros), step.count_at_value())
        })
    }
}

fn micros(latency: Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(MICROS_MAX).min(MICROS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_three_digits() {
        let mut latencies = Latencies::default();
        for ms in 1..=1_000 {
            latencies.record(Duration::from_millis(ms));
        }
        let close = |is: Duration, should: u64| {
            let should = Duration::from_millis(should).as_secs_f64();
            (is.as_secs_f64() / should - 1.0).abs() < 0.002
        };
        assert!(close(latencies.quantile(0.5), 500));
        assert!(close(latencies.quantile(0.99), 990));
        assert!(close(latencies.max(), 1_000));
        assert_eq!(latencies.iter().map(|(_, count)| count).sum::<u64>(), 1_000);
        latencies.record(Duration::from_secs(10_000));
        assert!(latencies.max() >= Duration::from_secs(3_596), "longer than an hour counts as an hour");
    }

    #[test]
    fn histograms_of_different_ranges_add_up() {
        let (mut short, mut long) = (Latencies::default(), Latencies::default());
        short.record(Duration::from_millis(1));
        long.record(Duration::from_secs(100));
        short.merge(&long);
        assert_eq!(short.count(), 2);
        assert!(short.max() >= Duration::from_secs(99));
        short.reset();
        assert_eq!((short.count(), short.max()), (0, Duration::ZERO));
    }

    #[test]
    fn what_is_packed_is_read_as_it_was_written() {
        for millis in [0..0, 0..1, 5..900] {
            let mut latencies = Latencies::default();
            millis.for_each(|ms| latencies.record_many(Duration::from_millis(ms), 1 + ms % 3));
            assert_eq!(Latencies::unpack(&latencies.pack()).unwrap().steps(), latencies.steps());
        }
        assert_eq!(Latencies::of(&[[7, 1], [9, 30]]).pack(), "7 2*30");
        for wrong in ["a", "1*", "-1", "1 18446744073709551615"] {
            assert!(Latencies::unpack(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn what_is_taken_away_is_gone_and_never_less_than_none() {
        let left = Latencies::of(&[[7, 3], [9, 1]]).without(&Latencies::of(&[[7, 1], [9, 5], [11, 1]]));
        assert_eq!(left.steps(), [[7, 2]]);
    }
}
