//! A bot's position in a numbered stream: a room, or its inbox.

use std::ops::RangeInclusive;

use starling_protocol::Epoch;

use super::sequence::{Arrival, Sequence};
use super::tally::Tally;

/// The position of a room or an inbox in `welcome` or `joined`.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// The epoch of its numbers.
    pub epoch: Epoch,
    /// Its newest message.
    pub seq: u64,
    /// Whether the server promised all missed messages.
    pub recovered: bool,
}

/// The messages of one epoch that a bot has received since it joined.
#[derive(Debug)]
pub(super) struct Position {
    epoch: Epoch,
    received: Sequence,
    /// Up to this `seq`, an incomplete replay may still fill gaps.
    replay_until: u64,
    lost_and_told: u64,
}

/// The relation of a message's `seq` to those received before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// After all of them.
    InOrder,
    /// One that the server had reported as lost, but now delivers.
    Fills,
    /// Before some of them.
    OutOfOrder,
    /// Equal to one of them.
    Twice,
}

impl Position {
    /// A position at which nothing of this epoch is received; everything after `seq` is to come.
    pub(super) fn after(epoch: Epoch, seq: u64) -> Self {
        Self { epoch, received: Sequence::after(seq), replay_until: 0, lost_and_told: 0 }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The newest message that was received or reported as lost; initially the `seq` at joining.
    pub(super) fn newest(&self) -> u64 {
        self.received.newest()
    }

    /// Notes a message.
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

    /// Notes the server's report that missing messages up to here are gone, or probably gone.
    pub(super) fn tell_lost_until(&mut self, seq: u64) {
        self.lost_and_told += seq.saturating_sub(self.received.newest());
        self.received.skip_to(seq);
        self.replay_until = seq;
    }

    /// The number of messages that are missing although later ones arrived.
    pub(super) fn missing(&self) -> u64 {
        self.received.missing()
    }

    /// The missing messages, see [`Sequence::missing_until`].
    pub(super) fn missing_until(&self, target: u64) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.received.missing_until(target)
    }

    /// The sums, if everything up to `target` should have arrived.
    pub(super) fn tally(&self, target: u64) -> Tally {
        let expected = self.received.expected_until(target);
        let received = self.received.count();
        let lost = expected - received;
        Tally { expected, received, lost, lost_and_told: self.lost_and_told.min(lost), ..Tally::default() }
    }
}
