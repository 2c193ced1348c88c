//! The pause before the next attempt to connect: exponential, with full jitter.

use std::time::Duration;

use crate::options::Pauses;

/// Counts failed attempts.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause before the next attempt: at least `at_least`, which the server may ask for, and a random time on top.
    ///
    /// The random time is anything from zero to a bound that doubles with each failure. So clients that a server has
    /// dropped together do not reconnect together.
    pub(crate) fn next(&mut self, at_least: Duration, pauses: &Pauses) -> Duration {
        let bound = pauses.first.saturating_mul(1 << self.failures.min(16)).min(pauses.longest);
        self.failures = self.failures.saturating_add(1);
        at_least.saturating_add(bound.mul_f64(fastrand::f64()))
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_grows_from_half_a_second_to_twenty() {
        let pauses = Pauses::default();
        let longest = |failures| {
            let pause = |_| Backoff { failures }.next(Duration::ZERO, &pauses);
            (0..2_000).map(pause).max().unwrap_or_default().as_secs_f64()
        };
        for (failures, bound) in [(0, 0.5), (1, 1.0), (4, 8.0), (6, 20.0), (u32::MAX, 20.0)] {
            let longest = longest(failures);
            assert!(longest <= bound && longest > bound * 0.9, "{failures}: {longest}");
        }
    }

    #[test]
    fn the_time_that_the_server_asks_for_is_the_least() {
        let asked = Duration::from_secs(40);
        assert!((0..100).all(|_| Backoff::default().next(asked, &Pauses::default()) >= asked));
    }
}
