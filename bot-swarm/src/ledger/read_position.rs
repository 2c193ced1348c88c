//! How far a bot has read its room, as the server tells it.
//!
//! The server may lose the last moments of a position when it is killed, so a later connection must only know what was
//! confirmed some time before.

use std::time::Duration;

use crate::clock::Nanos;

/// The time after which a position survives the end of a connection, and of the server.
const KEPT_AFTER: Duration = Duration::from_secs(3);

/// How far a bot has read its room.
#[derive(Debug, Default)]
pub(super) struct ReadPosition {
    /// The furthest that it was told on this connection.
    told: u64,
    /// What a later connection must know.
    kept: u64,
    /// The position that is kept next, and when it was told.
    keeping: Option<(u64, Nanos)>,
    /// Whether this connection has yet to be told.
    is_due: bool,
}

impl ReadPosition {
    /// The bot has lost its connection.
    pub(super) fn interrupted(&mut self) {
        *self = Self { kept: self.kept, told: self.kept, is_due: self.kept > 0, ..Self::default() };
    }

    /// The server tells the position, by itself or as the answer to the bot's statement that it has read up to `said`,
    /// which it has received. Returns whether it went back.
    pub(super) fn is_told(&mut self, seq: u64, said: Option<u64>, now: Nanos) -> bool {
        let least = self.told.max(said.unwrap_or_default());
        self.told = self.told.max(seq);
        self.is_due = false;
        match self.keeping {
            Some((_, since)) if now.since(since) < KEPT_AFTER => {}
            Some((earlier, _)) => (self.kept, self.keeping) = (self.kept.max(earlier), Some((seq, now))),
            None => self.keeping = Some((seq, now)),
        }
        seq < least
    }

    /// Whether the server has kept from this connection how far the bot has read.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Nanos {
        Nanos(1).after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_position_goes_back_if_it_is_less_than_what_was_told_or_answered() {
        for (what, told, went_back) in [
            ("rising", &[(5, None), (7, None), (7, Some(6))][..], false),
            ("the answers to two statements in their order", &[(5, Some(5)), (6, Some(6))], false),
            ("less than said", &[(5, Some(6))], true),
            ("less than told", &[(8, None), (7, None)], true),
            ("less than told, and not less than said", &[(8, None), (7, Some(7))], true),
        ] {
            let mut position = ReadPosition::default();
            let found: Vec<_> = told.iter().map(|(seq, said)| position.is_told(*seq, *said, at(0))).collect();
            assert_eq!(found.contains(&true), went_back, "{what}");
        }
    }

    #[test]
    fn a_later_connection_must_be_told_what_was_confirmed_some_time_ago() {
        let mut position = ReadPosition::default();
        for (seconds, seq) in [(0, 5), (1, 6), (3, 7), (4, 8)] {
            assert!(!position.is_told(seq, None, at(seconds)));
        }
        position.interrupted();
        assert!(position.is_due(), "nothing was told yet");
        assert!(!position.is_told(5, None, at(5)), "5 was told three seconds before the end");
        assert!(!position.is_due());
        position.interrupted();
        assert!(position.is_told(4, None, at(6)), "and still is");
        position.interrupted();
        assert!(position.is_due());
        let mut new = ReadPosition::default();
        new.is_told(5, None, at(0));
        new.interrupted();
        assert!(!new.is_due(), "it may have been lost");
    }
}
