//! Limits how often something may happen, with a token bucket.

use std::time::Duration;

use crate::clock::Instant;

/// A token bucket: up to `burst` tokens at once after a pause, and a fixed rate in the long run.
///
/// It stores only the time at which the bucket would be full again. So taking a token costs one comparison, and the
/// bucket is small; every connection has one.
#[derive(Debug, Clone)]
pub struct RateLimit {
    /// Time for one token; zero: no limit.
    interval_nanos: u64,
    /// The number of tokens that may be missing when another one is taken: `burst - 1`.
    spare: u32,
    full_at: Instant,
}

impl RateLimit {
    /// A full bucket. `per_period` 0: no limit; `burst` 0 counts as 1.
    pub fn new(per_period: u32, period: Duration, burst: u32, now: Instant) -> Self {
        let interval = period.checked_div(per_period).unwrap_or_default();
        let interval_nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Self { interval_nanos, spare: burst.saturating_sub(1), full_at: now }
    }

    /// A full bucket for this many tokens a second.
    pub fn per_second(per_second: u32, burst: u32, now: Instant) -> Self {
        Self::new(per_second, Duration::from_secs(1), burst, now)
    }

    /// Whether the bucket is full, so that it can be forgotten.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The time after which a token is available.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let interval = Duration::from_nanos(self.interval_nanos);
        // The time that the bucket needs to fill up except for one token.
        let tolerance = interval * self.spare;
        let full_at = self.full_at.max(now);
        let missing = full_at.saturating_duration_since(now);
        if missing > tolerance {
            return Err(missing.saturating_sub(tolerance));
        }
        self.full_at = full_at + interval;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_and_one_more_must_wait_exactly_as_long_as_it_is_told() {
        let start = clock_start();
        let mut limit = RateLimit::per_second(50, 100, start);
        for frame in 0..100 {
            assert_eq!(limit.take(start), Ok(()), "frame {frame}");
        }
        assert_eq!(limit.take(start), Err(Duration::from_millis(20)));
        assert_eq!(limit.take(start + Duration::from_millis(19)), Err(Duration::from_millis(1)));
        assert_eq!(limit.take(start + Duration::from_millis(20)), Ok(()));
        assert!(limit.take(start + Duration::from_millis(20)).is_err());
    }

    #[test]
    fn in_the_long_run_the_rate_is_kept() {
        let start = clock_start();
        let mut limit = RateLimit::per_second(50, 100, start);
        let taken = (0..10_000).filter(|ms| limit.take(start + Duration::from_millis(*ms)).is_ok()).count();
        assert_eq!(taken, 100 + 499);
    }

    #[test]
    fn a_bucket_is_full_again_when_its_tokens_are_back() {
        let start = clock_start();
        let mut limit = RateLimit::new(60, Duration::from_mins(1), 60, start);
        assert!(limit.is_full(start));
        assert_eq!(limit.take(start), Ok(()));
        assert!(!limit.is_full(start + Duration::from_millis(999)) && limit.is_full(start + Duration::from_secs(1)));
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let start = clock_start();
        let mut limit = RateLimit::per_second(0, 1, start);
        assert!((0..10_000).all(|_| limit.take(start).is_ok()));
    }

    fn clock_start() -> Instant {
        crate::clock::now()
    }
}
