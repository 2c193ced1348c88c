//! A bot's position in a numbered stream: its room, or its inbox.

use starling_protocol::{Epoch, Resume, Seq};

/// Whether a received message counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// Received messages are new.
    #[default]
    Current,
    /// The bot has reconnected and has not requested the missed messages yet.
    MustResume,
    /// The bot has requested them. Messages that come before the answer are ignored: the replay contains them again, in
    /// order.
    Resuming,
}

/// A bot's position in its room, or in its inbox.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reading {
    phase: Phase,
    /// The `seq` and the `at` of the newest message that it received.
    newest: Option<(u64, u64)>,
}

impl Reading {
    /// Notes that the connection is lost: missed messages must be requested.
    pub(super) fn must_resume(&mut self) {
        self.phase = Phase::MustResume;
    }

    /// Starts with the next message, without a request.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_current(&self) -> bool {
        self.phase == Phase::Current
    }

    /// Notes a message. Returns whether it counts.
    pub(super) fn hears(&mut self, seq: u64, at: u64) -> bool {
        if self.is_current() && self.newest.is_none_or(|(newest, _)| newest < seq) {
            self.newest = Some((seq, at));
        }
        self.is_current()
    }

    /// Returns the request to resume, unless the bot has sent it already.
    pub(super) fn resume_from(&mut self, point: Option<(Epoch, u64)>) -> Option<Resume> {
        let (epoch, seq) = point.filter(|_| self.phase == Phase::MustResume)?;
        self.phase = Phase::Resuming;
        let at = self.newest.filter(|(newest, _)| *newest == seq).map(|(_, at)| at);
        Some(Resume { after: Seq(seq), epoch: Some(epoch), at })
    }

    /// Handles the server's answer. Returns whether the bot had asked.
    pub(super) fn resumed(&mut self, recovered: bool) -> bool {
        if self.phase != Phase::Resuming {
            return false;
        }
        self.phase = Phase::Current;
        if !recovered {
            // The newest message is from another epoch, or from before a gap.
            self.newest = None;
        }
        true
    }
}
