//! Whether the log can be written.

use std::time::{Duration, Instant};

/// The log counts as out of reach when it could not be written for this long.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

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
