//! How far a bot has come in what the server numbers: a room, or its inbox.

use std::ops::RangeInclusive;

use starling_protocol::Epoch;

use super::sequence::{Arrival, Sequence};
use super::tally::Tally;

/// Where a room or an inbox is, as `welcome` or `joined` tells.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// The life of its numbers.
    pub epoch: Epoch,
    /// Its newest message.
    pub seq: u64,
    /// Whether the server promised everything that was missed.
    pub recovered: bool,
}

/// The messages of one epoch that a bot has received, from where it came in.
#[derive(Debug)]
pub(super) struct Position {
    epoch: Epoch,
    received: Sequence,
    /// Up to here a replay that the server called incomplete may still fill what is missing.
    replay_until: u64,
    lost_and_told: u64,
}

/// How a message stands to those that were received before it, by its `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// After all of them.
    InOrder,
    /// Of those that the server had told as lost: it brings them after all.
    Fills,
    /// Before some of them.
    OutOfOrder,
    /// The same as one of them.
    Twice,
}

impl Position {
    /// Nothing is received of this epoch; everything after `seq` is to come.
    pub(super) fn after(epoch: Epoch, seq: u64) -> Self {
        Self { epoch, received: Sequence::after(seq), replay_until: 0, lost_and_told: 0 }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The newest message that was received or told as lost; that at which the bot came in where there is none.
    pub(super) fn newest(&self) -> u64 {
        self.received.newest()
    }

    /// Takes note of a message.
    pub(super) fn observe(&mut self, seq: u64) -> Step {
        match self.received.observe(seq) {
            Arrival::Next | Arrival::Skipped(_) => Step::InOrder,
            Arrival::Late if seq <= self.replay_until => {
                self.lost_and_told = self.lost_and_told.saturating_sub(1);
                Step::Fills
            }
            Arrival::Late | Arrival::BeforeBase => Step::OutOfOrder,
            Arrival::Twice => Step::Twice,
        }
    }

    /// The server told that what is missing up to here is gone, or as good as gone.
    pub(super) fn tell_lost_until(&mut self, seq: u64) {
        self.lost_and_told += seq.saturating_sub(self.received.newest());
        self.received.skip_to(seq);
        self.replay_until = seq;
    }

    /// How many messages have not come though later ones have.
    pub(super) fn missing(&self) -> u64 {
        self.received.missing()
    }

    /// The messages that have not come, see [`Sequence::missing_until`].
    pub(super) fn missing_until(&self, target: u64) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.received.missing_until(target)
    }

    /// The sums, where everything up to `target` was to come.
    pub(super) fn tally(&self, target: u64) -> Tally {
        let expected = self.received.expected_until(target);
        let received = self.received.count();
        let lost = expected - received;
        Tally { expected, received, lost, lost_and_told: self.lost_and_told.min(lost), ..Tally::default() }
    }
}
