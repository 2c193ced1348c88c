//! Whether the log has lost records that this node has read.
//!
//! A NATS server that has just become the leader reports the records that it has applied; on a slow disk these may be
//! seconds behind. So one look proves nothing: the log counts as lost if it looks lost for some time.

use starling_actors::clock::Instant;
use std::time::Duration;

/// The log counts as lost if the state of the stream shows a loss for this long.
const LOST_TIME: Duration = Duration::from_secs(8);

/// A record's position, and its time in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) position: u64,
    pub(super) nanos: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Loss {
    since: Option<Instant>,
    /// The end of the log at the latest look.
    last: u64,
}

impl Loss {
    /// The log has all that was read.
    pub(super) fn has_all(&mut self) {
        self.since = None;
    }

    /// An answer to a look that was asked at this time looks as if the log was lost. Returns whether it is.
    pub(super) fn looks_lost(&mut self, asked: Instant, now: Instant) -> bool {
        // A server that was cut off answers many looks at once, all with an old state of the stream.
        asked.saturating_duration_since(*self.since.get_or_insert(now)) >= LOST_TIME
    }

    /// An answer to a look that was asked at this time shows the log's end, before a record that was read. Returns
    /// whether the log is lost.
    pub(super) fn ends_before(&mut self, read: End, last: End, asked: Instant, now: Instant) -> bool {
        // A server that applies records which are older than the one that was read is on its way there. Newer records
        // stand in the place of lost ones.
        let has_grown = last.position > std::mem::replace(&mut self.last, last.position);
        if has_grown && last.nanos <= read.nanos {
            self.since = None;
        }
        self.looks_lost(asked, now)
    }
}

#[cfg(test)]
mod tests {
    use starling_actors::clock;

    use super::*;

    /// The seconds after which a log that is looked at four times a second counts as lost.
    fn lost_after(end: impl Fn(u64) -> End, asked: impl Fn(Instant) -> Instant) -> Option<u64> {
        let began = clock::now();
        let mut loss = Loss::default();
        let read = End { position: 1_000, nanos: 1_000 };
        (0..400).find_map(|look| {
            let now = began + Duration::from_millis(250 * look);
            loss.ends_before(read, end(look), asked(now), now).then_some(look / 4)
        })
    }

    #[test]
    fn a_log_that_ends_before_what_was_read_is_lost_unless_its_server_is_on_its_way() {
        let at_once = |now| now;
        let began = clock::now();
        let some = Some(LOST_TIME.as_secs());
        assert_eq!(lost_after(|_| End { position: 10, nanos: 10 }, at_once), some, "nobody writes");
        assert_eq!(lost_after(|look| End { position: 10 + look / 40, nanos: 2_000 + look }, at_once), some, "few");
        assert_eq!(lost_after(|look| End { position: 10 + look, nanos: 2_000 + look }, at_once), some, "many");
        assert_eq!(lost_after(|look| End { position: 10 + look, nanos: 10 + look }, at_once), None, "it applies");
        assert_eq!(lost_after(|_| End { position: 10, nanos: 10 }, |_| began), None, "late answers");
    }

    #[test]
    fn a_log_that_has_all_again_is_not_lost() {
        let (now, mut loss) = (clock::now(), Loss::default());
        assert!(!loss.looks_lost(now, now));
        loss.has_all();
        assert!(!loss.looks_lost(now + LOST_TIME, now + LOST_TIME));
        assert!(loss.looks_lost(now + 2 * LOST_TIME, now + 2 * LOST_TIME));
    }
}
