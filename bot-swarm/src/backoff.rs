//! The wait before a bot reconnects: exponential backoff with full jitter.
//!
//! Full jitter means a random time between zero and the exponential bound, so that bots that a server dropped together
//! do not return together.

use std::time::Duration;

/// The bound of the first wait.
const FIRST: Duration = Duration::from_millis(250);

/// The upper limit of the bound, however often connecting fails.
const LONGEST: Duration = Duration::from_secs(30);

/// The waits between attempts to connect.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Returns the wait before the next attempt: `at_least`, which a server may request, plus a random time.
    pub fn next(&mut self, at_least: Duration, rng: &mut fastrand::Rng) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        at_least.saturating_add(bound.mul_f64(rng.f64()))
    }

    /// Starts again with the first bound, because the server has welcomed the bot.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_anew_after_a_welcome() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut longest = |backoff: &Backoff| {
            let one = |_| Backoff { failures: backoff.failures }.next(Duration::ZERO, &mut rng);
            (0..500).map(one).max().unwrap()
        };
        let mut backoff = Backoff::default();
        assert!(longest(&backoff) <= FIRST);
        backoff.failures = 3;
        assert!(longest(&backoff) > FIRST * 4 && longest(&backoff) <= FIRST * 8);
        backoff.failures = u32::MAX;
        assert!(longest(&backoff) > LONGEST / 2 && longest(&backoff) <= LONGEST);
        backoff.reset();
        assert!(longest(&backoff) <= FIRST);
    }

    #[test]
    fn what_the_server_asks_for_is_the_least() {
        let mut rng = fastrand::Rng::with_seed(1);
        let asked = Duration::from_secs(40);
        for _ in 0..100 {
            assert!(Backoff::default().next(asked, &mut rng) >= asked);
        }
    }
}
