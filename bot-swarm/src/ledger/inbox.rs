//! The inbox of one bot: its own private messages, which the server keeps and numbers.
//!
//! A bot that has its inbox for the first time is sent what waited for it: how much that is, the server does not tell. So
//! the first message that comes says where the bot begins.

use starling_protocol::Epoch;

use super::position::{Position, Standing, Step};

/// What a bot got of its inbox.
#[derive(Debug)]
pub(super) struct Inbox {
    position: Position,
    /// Whether no message of this epoch has come.
    is_unread: bool,
    /// The newest message that the server named in this epoch.
    told: u64,
    /// What is missing of earlier epochs.
    ended: Lost,
}

/// Messages that did not come, by their places.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lost {
    pub(super) count: u64,
    /// Those of them of which the server told that they were gone.
    pub(super) told: u64,
}

impl Inbox {
    pub(super) fn new(standing: Standing) -> Self {
        let position = Position::after(standing.epoch, standing.seq);
        Self { position, is_unread: true, told: standing.seq, ended: Lost::default() }
    }

    /// The server tells the bot again where its inbox is.
    pub(super) fn stands_at(&mut self, standing: Standing) {
        let Standing { epoch, seq, recovered } = standing;
        if epoch != self.position.epoch() {
            // The inbox began anew: what was not received of the old life will not come.
            if !self.is_unread {
                self.position.tell_lost_until(self.told);
            }
            let ended = self.lost(true);
            *self = Self { ended, ..Self::new(standing) };
            return;
        }
        if !recovered && !self.is_unread {
            self.position.tell_lost_until(seq);
        }
        self.told = self.told.max(seq);
    }

    /// Where the bot resumes. It may have lost its connection before anything came that had waited for it: then it begins
    /// with the first message that there is.
    pub(super) fn resume_point(&self) -> (Epoch, u64) {
        (self.position.epoch(), if self.is_unread { 0 } else { self.position.newest() })
    }

    /// Takes note of a message.
    pub(super) fn observe(&mut self, seq: u64) -> Step {
        if std::mem::take(&mut self.is_unread) && seq <= self.position.newest() {
            self.position = Position::after(self.position.epoch(), seq.saturating_sub(1));
        }
        self.position.observe(seq)
    }

    /// How many messages have not come though later ones have.
    pub(super) fn missing(&self) -> u64 {
        self.ended.count + self.position.missing()
    }

    /// What was lost; `is_here`: everything that the server named should have come.
    pub(super) fn lost(&self, is_here: bool) -> Lost {
        let tally = self.position.tally(if is_here { self.told } else { 0 });
        Lost { count: self.ended.count + tally.lost, told: self.ended.told + tally.lost_and_told }
    }
}
