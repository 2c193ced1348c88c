//! The work that is still outstanding when a swarm has become quiet.

use std::time::Duration;

use crate::clock::Nanos;
use crate::ledger::Waters;

/// The time to wait for private deliveries that may never come, after everything else has arrived.
const PRIVATE_GRACE: Duration = Duration::from_secs(1);

/// Outstanding work.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    /// Messages that the server has not answered, or has refused temporarily.
    pub(crate) unanswered: u64,
    /// Messages that were due and are not sent, plus one for each bot that has not counted its own yet.
    pub(crate) left_to_say: u64,
    /// Bots that have lost their connection.
    pub(crate) away: u64,
    /// Bots that connect for the first time.
    pub(crate) connecting: u64,
    /// Room deliveries that connected members have not received yet.
    pub(crate) room_deliveries: u64,
    /// Private deliveries; only the sum over all workers is meaningful.
    pub(crate) private_deliveries: i64,
    /// Whether private deliveries may never come, because bots are away.
    pub(crate) may_lack_private: bool,
    /// The bounds of the rooms' epochs, as far as this worker knows.
    pub(crate) waters: Waters,
}

impl Outstanding {
    /// Adds another worker's outstanding work.
    pub(crate) fn merge(&mut self, other: Self) {
        self.unanswered += other.unanswered;
        self.left_to_say += other.left_to_say;
        self.away += other.away;
        self.connecting += other.connecting;
        self.room_deliveries += other.room_deliveries;
        self.private_deliveries += other.private_deliveries;
        self.may_lack_private |= other.may_lack_private;
        self.waters.merge(other.waters);
    }

    /// Whether nothing is outstanding. `since` keeps the time at which everything but private deliveries had arrived.
    pub(crate) fn is_settled(&self, now: Nanos, since: &mut Option<Nanos>) -> bool {
        let is_due = [self.unanswered, self.left_to_say, self.away, self.connecting, self.room_deliveries];
        if is_due.iter().any(|due| *due > 0) {
            *since = None;
            return false;
        }
        let since = *since.get_or_insert(now);
        self.private_deliveries <= 0 || (self.may_lack_private && now.since(since) > PRIVATE_GRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Nanos = Nanos(10_000_000_000);

    #[test]
    fn a_swarm_is_settled_when_nothing_more_is_to_come() {
        let settled = |outstanding: Outstanding| outstanding.is_settled(NOW, &mut None);
        assert!(settled(Outstanding::default()));
        assert!(!settled(Outstanding { unanswered: 1, ..Outstanding::default() }));
        assert!(!settled(Outstanding { left_to_say: 1, ..Outstanding::default() }));
        assert!(!settled(Outstanding { away: 1, ..Outstanding::default() }));
        assert!(!settled(Outstanding { connecting: 1, ..Outstanding::default() }));
        assert!(!settled(Outstanding { room_deliveries: 1, ..Outstanding::default() }));
        assert!(!settled(Outstanding { private_deliveries: 1, ..Outstanding::default() }));
    }

    #[test]
    fn after_a_lost_connection_private_deliveries_are_not_awaited_for_long() {
        let outstanding = Outstanding { private_deliveries: 1, may_lack_private: true, ..Outstanding::default() };
        assert!(!outstanding.is_settled(NOW, &mut None));
        assert!(outstanding.is_settled(NOW, &mut Some(Nanos::default())));
    }
}
