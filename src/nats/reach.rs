//! Whether the log can be written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The log counts as out of reach when it could not be written for this long.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// Whether the log can be written, for those that want to know. Handles of one log share it.
#[derive(Debug, Clone, Default)]
pub struct LogReach(Arc<AtomicU8>);

/// The values of a [`LogReach`], which begins with the first one.
const CATCHES_UP: u8 = 0;
const IN_REACH: u8 = 1;
const OUT_OF_REACH: u8 = 2;

impl LogReach {
    /// The reason that nobody can be let in, if there is one.
    pub fn failure(&self) -> Option<&'static str> {
        match self.0.load(SeqCst) {
            CATCHES_UP => Some("catching up"),
            IN_REACH => None,
            _ => Some("the log cannot be reached"),
        }
    }

    pub(super) fn is_in_reach(&self) -> bool {
        self.failure().is_none()
    }

    pub(super) fn set(&self, is_in_reach: bool) {
        self.0.store(if is_in_reach { IN_REACH } else { OUT_OF_REACH }, SeqCst);
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// The newest time at which the log could be written.
    proof: Option<Instant>,
    /// Whether all records have been read that were in the log when the node started.
    is_caught_up: bool,
    is_reachable: bool,
}

impl Reach {
    /// The log could be written just now.
    pub(super) fn proved(&mut self, now: Instant) {
        self.proof = Some(now);
    }

    /// All records have been read that were in the log when the node started.
    pub(super) fn caught_up(&mut self) {
        self.is_caught_up = true;
    }

    /// Whether the log can be written, where that has changed since the last call. It begins as `false`.
    pub(super) fn changed(&mut self, now: Instant) -> Option<bool> {
        let is_proved = self.proof.is_some_and(|proof| now.saturating_duration_since(proof) < WRITTEN_WITHIN);
        let is_reachable = is_proved && self.is_caught_up;
        (std::mem::replace(&mut self.is_reachable, is_reachable) != is_reachable).then_some(is_reachable)
    }
}

#[cfg(test)]
mod tests {
    use starling_actors::clock;

    use super::*;

    #[test]
    fn the_log_is_in_reach_once_it_is_read_and_for_a_second_after_each_write() {
        let now = clock::now();
        let mut reach = Reach::default();
        assert_eq!(reach.changed(now), None);
        reach.proved(now);
        assert_eq!(reach.changed(now), None, "it is not read");
        reach.caught_up();
        assert_eq!(reach.changed(now), Some(true));
        assert_eq!(reach.changed(now + WRITTEN_WITHIN / 2), None);
        assert_eq!(reach.changed(now + WRITTEN_WITHIN), Some(false));
        assert_eq!(reach.changed(now + WRITTEN_WITHIN), None);
        reach.proved(now + WRITTEN_WITHIN);
        assert_eq!(reach.changed(now + WRITTEN_WITHIN), Some(true));
    }
}
