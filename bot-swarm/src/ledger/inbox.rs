//! The inbox of one bot: its private messages, which the server keeps and numbers.
//!
//! A bot that has its inbox for the first time receives the messages that waited for it, but the server does not tell
//! their number. So the first message that arrives determines where the bot begins.

use starling_protocol::Epoch;

use super::position::{Position, Standing, Step};

/// The messages that a bot received of its inbox.
#[derive(Debug)]
pub(super) struct Inbox {
    position: Position,
    /// Whether no message of this epoch has come.
    is_unread: bool,
    /// The newest message that the server named in this epoch.
    told: u64,
    /// The losses of earlier epochs.
    ended: Lost,
}

/// Lost messages, by their positions.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lost {
    pub(super) count: u64,
    /// Those that the server reported as gone.
    pub(super) told: u64,
}

impl Inbox {
    pub(super) fn new(standing: Standing) -> Self {
        let position = Position::after(standing.epoch, standing.seq);
        Self { position, is_unread: true, told: standing.seq, ended: Lost::default() }
    }

    /// Handles the server's statement of the inbox's position.
    pub(super) fn stands_at(&mut self, standing: Standing) {
        let Standing { epoch, seq, recovered } = standing;
        if epoch != self.position.epoch() {
            // The inbox has a new epoch: missing messages of the old one will not come.
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

    /// The position at which the bot resumes. If it lost its connection before any waiting message arrived, it begins
    /// with the first one that exists.
    pub(super) fn resume_point(&self) -> (Epoch, u64) {
        (self.position.epoch(), if self.is_unread { 0 } else { self.position.newest() })
    }

    /// Notes a message.
    pub(super) fn observe(&mut self, seq: u64) -> Step {
        if std::mem::take(&mut self.is_unread) && seq <= self.position.newest() {
            self.position = Position::after(self.position.epoch(), seq.saturating_sub(1));
        }
        self.position.observe(seq)
    }

    /// The number of messages that are missing although later ones arrived.
    pub(super) fn missing(&self) -> u64 {
        self.ended.count + self.position.missing()
    }

    /// The lost messages; with `is_here`, everything up to the server's newest position should have arrived.
    pub(super) fn lost(&self, is_here: bool) -> Lost {
        let tally = self.position.tally(if is_here { self.told } else { 0 });
        Lost { count: self.ended.count + tally.lost, told: self.ended.told + tally.lost_and_told }
    }
}
