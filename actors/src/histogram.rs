//! A histogram that records many equal observations in one call.
//!
//! One message to a thousand members means a thousand deliveries with nearly the same latency. Recording them must not
//! cost a thousand calls, so this histogram has [`observe_n`](Histogram::observe_n), which the one in `prometheus`
//! lacks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus::proto;
use starling_process::exposition;

use crate::clock::nanos;

/// Upper bounds of the buckets of a duration, in microseconds: 10 µs to 30 s.
const DURATION_BUCKETS: [u64; 25] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    1_500_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000, 7_500_000, 10_000_000, 15_000_000, 30_000_000,
];

/// Upper bounds of the buckets of a size, in bytes: 16 B to 4 MiB.
const SIZE_BUCKETS: [u64; 10] = [16, 64, 128, 256, 1_024, 4_096, 16_384, 65_536, 1_048_576, 4_194_304];

/// Upper bounds of the buckets of a number of things: 1 to 1,024.
const COUNT_BUCKETS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// Counts of observations by size. All threads may observe at once; a scrape may see a bucket before its sum.
///
/// Observations are whole numbers: microseconds, bytes or things. A message makes some ten observations, and a
/// floating-point number would cost several times as many instructions.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// The whole numbers in one unit of the exposition.
    per_unit: u32,
    /// One per bound, and one for values above the last bound.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// An empty histogram of durations: observed in microseconds, exposed in seconds.
    pub fn of_durations() -> Self {
        Self::new(&DURATION_BUCKETS, 1_000_000)
    }

    /// An empty histogram of sizes in bytes.
    pub fn of_sizes() -> Self {
        Self::new(&SIZE_BUCKETS, 1)
    }

    /// An empty histogram of counts.
    pub fn of_counts() -> Self {
        Self::new(&COUNT_BUCKETS, 1)
    }

    fn new(bounds: &'static [u64], per_unit: u32) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, per_unit, counts, sum: AtomicU64::new(0) }
    }

    /// Counts `n` observations of the same value.
    pub fn observe_n(&self, value: u64, n: u64) {
        if n == 0 {
            return;
        }
        // From the smallest bound: most observations are small.
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(n, Relaxed);
        }
        self.sum.fetch_add(value.saturating_mul(n), Relaxed);
    }

    /// Counts `n` observations of the same duration, to the nearest microsecond.
    pub fn observe_duration_n(&self, duration: Duration, n: u64) {
        let micros = nanos(duration).saturating_add(500) / 1_000;
        self.observe_n(micros, n);
    }

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        self.observe_duration_n(duration, 1);
    }

    /// The number of observations.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Converts to the exposition's type.
    pub fn to_proto(&self) -> proto::Histogram {
        let counts: Vec<_> = self.counts.iter().map(|count| count.load(Relaxed)).collect();
        let exposed = |value: u64| value as f64 / f64::from(self.per_unit);
        let sum = exposed(self.sum.load(Relaxed));
        let buckets = self.bounds.iter().map(|bound| exposed(*bound)).zip(counts.iter().copied());
        exposition::histogram(buckets, counts.iter().sum(), sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::of_sizes();
        histogram.observe_n(16, 3);
        histogram.observe_n(17, 2);
        histogram.observe_n(5_000_000, 1);
        let proto = histogram.to_proto();
        assert_eq!(proto.get_bucket()[0].cumulative_count(), 3);
        assert_eq!(proto.get_bucket()[1].cumulative_count(), 5);
        assert_eq!(proto.get_bucket()[9].cumulative_count(), 5);
        assert_eq!(proto.get_sample_count(), 6);
        assert!((proto.get_sample_sum() - 5_000_082.0).abs() < 0.001);
    }

    #[test]
    fn a_duration_is_observed_to_the_nearest_microsecond_and_exposed_in_seconds() {
        let histogram = Histogram::of_durations();
        for nanos in [10_499, 10_500, 1_500_000_000] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        let proto = histogram.to_proto();
        let bounds: Vec<String> = proto.get_bucket().iter().map(|bucket| bucket.upper_bound().to_string()).collect();
        assert_eq!(bounds[..4], ["0.00001", "0.000025", "0.00005", "0.0001"]);
        assert_eq!((proto.get_bucket()[0].cumulative_count(), proto.get_bucket()[1].cumulative_count()), (1, 2));
        assert!((proto.get_sample_sum() - 1.500_021).abs() < 1e-9);
    }
}
