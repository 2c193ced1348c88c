//! A bot's place in one room: what it has of it, and whether it is there.

use starling_protocol::Epoch;

use super::sequence::Sequence;
use super::tally::Tally;

/// A room that a bot came into, as `welcome` or `joined` tells.
#[derive(Debug, Clone, Copy)]
pub struct Entrance {
    /// The bot.
    pub bot: u32,
    /// The room's number.
    pub room: u32,
    /// The life of the room's numbers.
    pub epoch: Epoch,
    /// The newest message of the room.
    pub seq: u64,
    /// Whether the server promised everything that was missed.
    pub recovered: bool,
}

/// A bot's place in one room.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) epoch: Epoch,
    pub(super) received: Sequence,
    /// Up to here a replay that the server called incomplete may still fill what is missing.
    pub(super) replay_until: u64,
    pub(super) lost_and_told: u64,
    pub(super) is_away: bool,
    /// Whether it is away by its own will.
    pub(super) rests: bool,
}

impl Member {
    /// The server told that what is missing up to here is gone, or as good as gone.
    pub(super) fn tell_lost_until(&mut self, seq: u64) {
        self.lost_and_told += seq.saturating_sub(self.received.newest());
        self.received.skip_to(seq);
        self.replay_until = seq;
    }

    /// What it should have up to `target`, and what it has.
    pub(super) fn tally(&self, target: u64) -> Tally {
        let expected = self.received.expected_until(target);
        let received = self.received.count();
        let lost = expected - received;
        Tally { expected, received, lost, lost_and_told: self.lost_and_told.min(lost), ..Tally::default() }
    }
}
