//! A histogram that records many equal observations in one call.
//!
//! One message to a thousand members means a thousand deliveries with nearly the same latency. Recording them must not
//! cost a thousand calls, so this histogram has [`observe_n`](Histogram::observe_n), which the one in `prometheus`
//! lacks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus::proto;
use starling_process::exposition;

/// Upper bounds of the buckets of a duration, in seconds: 10 µs to 30 s.
pub const DURATION_BUCKETS: [f64; 25] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 30.0,
];

/// Upper bounds of the buckets of a size, in bytes: 16 B to 4 MiB.
pub const SIZE_BUCKETS: [f64; 10] =
    [16.0, 64.0, 128.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 1_048_576.0, 4_194_304.0];

/// Upper bounds of the buckets of a number of things: 1 to 1,024.
pub const COUNT_BUCKETS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

/// Counts of observations by size. All threads may observe at once; a scrape may see a bucket before its sum.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One per bound, and one for values above the last bound.
    counts: Box<[AtomicU64]>,
    /// Sum of the observations, in millionths of the unit.
    sum_micros: AtomicU64,
}

impl Histogram {
    /// An empty histogram of durations in seconds.
    pub fn of_durations() -> Self {
        Self::new(&DURATION_BUCKETS)
    }

    /// An empty histogram of sizes in bytes.
    pub fn of_sizes() -> Self {
        Self::new(&SIZE_BUCKETS)
    }

    /// An empty histogram of counts.
    pub fn of_counts() -> Self {
        Self::new(&COUNT_BUCKETS)
    }

    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum_micros: AtomicU64::new(0) }
    }

    /// Counts `n` observations of the same value.
    pub fn observe_n(&self, value: f64, n: u64) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no observation is negative")]
        let micros = (value * 1e6) as u64;
        self.add(value, micros, n);
    }

    /// Counts `n` observations of the same number of microseconds.
    pub fn observe_micros(&self, micros: u32, n: u64) {
        self.add(f64::from(micros) / 1e6, micros.into(), n);
    }

    fn add(&self, value: f64, micros: u64, n: u64) {
        if n == 0 {
            return;
        }
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(n, Relaxed);
        }
        self.sum_micros.fetch_add(micros.saturating_mul(n), Relaxed);
    }

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        self.observe_n(duration.as_secs_f64(), 1);
    }

    /// The number of observations.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Converts to the exposition's type.
    pub fn to_proto(&self) -> proto::Histogram {
        let counts: Vec<_> = self.counts.iter().map(|count| count.load(Relaxed)).collect();
        let sum = self.sum_micros.load(Relaxed) as f64 / 1e6;
        let buckets = self.bounds.iter().copied().zip(counts.iter().copied());
        exposition::histogram(buckets, counts.iter().sum(), sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::of_sizes();
        histogram.observe_n(16.0, 3);
        histogram.observe_n(17.0, 2);
        histogram.observe_n(5_000_000.0, 1);
        let proto = histogram.to_proto();
        assert_eq!(proto.get_bucket()[0].cumulative_count(), 3);
        assert_eq!(proto.get_bucket()[1].cumulative_count(), 5);
        assert_eq!(proto.get_bucket()[9].cumulative_count(), 5);
        assert_eq!(proto.get_sample_count(), 6);
        assert!((proto.get_sample_sum() - 5_000_082.0).abs() < 0.001);
    }
}
