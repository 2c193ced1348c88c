//! Warnings that clients or a failing disk can cause often: at most one per interval, with the number of suppressed
//! ones.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{self, Instant};

/// Shortest time between two lines of one kind.
const INTERVAL: Duration = Duration::from_mins(1);

/// The time of the last line of one kind, and the number suppressed since then.
#[derive(Debug)]
pub(crate) struct LogInterval(Mutex<(Option<Instant>, u64)>);

impl LogInterval {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new((None, 0)))
    }

    /// Writes a line at `warn`, unless one was written less than an interval ago.
    pub(crate) fn warn(&self, line: impl FnOnce() -> String) {
        if let Some(left_out) = self.due(clock::now()) {
            log::warn!("{} ({left_out} such lines suppressed before this one)", line());
        }
    }

    fn due(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, left_out) = &mut *state;
        if last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            *left_out += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_an_interval_tells_how_many_were_left_out() {
        let (lines, start) = (LogInterval::new(), clock::now());
        assert_eq!(lines.due(start), Some(0));
        for _ in 0..3 {
            assert_eq!(lines.due(start + Duration::from_secs(59)), None);
        }
        assert_eq!(lines.due(start + INTERVAL), Some(3));
        assert_eq!(lines.due(start + 2 * INTERVAL), Some(0));
    }
}
