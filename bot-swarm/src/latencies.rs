//! How long things took: high dynamic range histograms.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;

/// What took longer counts as this, in microseconds: an hour.
const MICROS_MAX: u64 = 3_600_000_000;

/// How long things took: microseconds, to three digits, up to an hour (what took longer counts as an hour).
///
/// Takes memory for the range that was seen, 20 to 200 kB.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "a constant number of digits, tried by every test")]
        Self(Histogram::new(3).expect("three digits are possible"))
    }
}

impl Latencies {
    /// Adds one.
    #[expect(clippy::missing_panics_doc, reason = "it cannot, see below")]
    pub fn record(&mut self, latency: Duration) {
        #[expect(clippy::expect_used, reason = "it grows, and an hour fits")]
        self.0.record(micros(latency)).expect("the histogram takes up to an hour");
    }

    /// Adds so many of one length.
    #[expect(clippy::missing_panics_doc, reason = "it cannot, see below")]
    pub fn record_many(&mut self, latency: Duration, count: u64) {
        #[expect(clippy::expect_used, reason = "it grows, and an hour fits")]
        self.0.record_n(micros(latency), count).expect("the histogram takes up to an hour");
    }

    /// Adds all of another.
    #[expect(clippy::missing_panics_doc, reason = "it cannot, see below")]
    pub fn merge(&mut self, other: &Self) {
        #[expect(clippy::expect_used, reason = "all have the same digits, and grow")]
        self.0.add(&other.0).expect("histograms of one shape add up");
    }

    /// Forgets all, and keeps the memory.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that this share of them, 0 to 1, do not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(share))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }

    /// The sum of all divided by how many there are, to the three digits that are kept; zero where there are none.
    pub fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.0.mean() / 1e6)
    }

    /// The same as pairs of microseconds and how often they occurred, shortest first. [`of`](Self::of) makes the same
    /// again of it.
    pub fn steps(&self) -> Vec<[u64; 2]> {
        self.iter().map(|(latency, count)| [micros(latency), count]).collect()
    }

    /// Makes latencies of their [`steps`](Self::steps).
    pub fn of(steps: &[[u64; 2]]) -> Self {
        let mut latencies = Self::default();
        for [micros, count] in steps {
            latencies.record_many(Duration::from_micros(*micros), *count);
        }
        latencies
    }

    /// These without those of another. Of what the other has more of, none is left.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Self::default();
        for (latency, count) in self.iter() {
            left.record_many(latency, count.saturating_sub(other.0.count_at(micros(latency))));
        }
        left
    }

    /// The same as short text: microseconds, the shortest first and then the distance from one to the next, each with
    /// `*` and how many took as long, where it is not one. Empty: there is none. [`unpack`](Self::unpack) reads it.
    pub fn pack(&self) -> String {
        let (mut packed, mut before) = (String::new(), 0);
        for [micros, count] in self.steps() {
            let distance = micros - std::mem::replace(&mut before, micros);
            let separator = if packed.is_empty() { "" } else { " " };
            // A String takes every write.
            write!(packed, "{separator}{distance}").unwrap_or_default();
            if count != 1 {
                write!(packed, "*{count}").unwrap_or_default();
            }
        }
        packed
    }

    /// Reads what [`pack`](Self::pack) wrote. `None`: it is something else.
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

    /// Each latency that occurred, shortest first, with how often it did. Of those that three digits do not tell
    /// apart, the shortest stands for all.
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
