//! How far a bot is with what the server numbers: its room, and its inbox.

use starling_protocol::{Epoch, Resume, Seq};

/// Whether what comes counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// What comes is new.
    #[default]
    Current,
    /// The bot came back and has yet to ask for what it missed.
    MustResume,
    /// It has asked. Until the answer, what comes is left aside: the replay brings it again, in order.
    Resuming,
}

/// How far a bot is with its room, or with its inbox.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reading {
    phase: Phase,
    /// The newest message that it heard: its `seq` and its `at`.
    newest: Option<(u64, u64)>,
}

impl Reading {
    /// The connection is gone: what was missed must be asked for.
    pub(super) fn must_resume(&mut self) {
        self.phase = Phase::MustResume;
    }

    /// Begins with what comes next: nothing is to be asked for.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_current(&self) -> bool {
        self.phase == Phase::Current
    }

    /// Takes note of a message. Answers whether it counts.
    pub(super) fn hears(&mut self, seq: u64, at: u64) -> bool {
        if self.is_current() && self.newest.is_none_or(|(newest, _)| newest < seq) {
            self.newest = Some((seq, at));
        }
        self.is_current()
    }

    /// What to ask for, if the bot has yet to ask.
    pub(super) fn resume_from(&mut self, point: Option<(Epoch, u64)>) -> Option<Resume> {
        let (epoch, seq) = point.filter(|_| self.phase == Phase::MustResume)?;
        self.phase = Phase::Resuming;
        let at = self.newest.filter(|(newest, _)| *newest == seq).map(|(_, at)| at);
        Some(Resume { after: Seq(seq), epoch: Some(epoch), at })
    }

    /// The server answered. Answers whether the bot had asked.
    pub(super) fn resumed(&mut self, recovered: bool) -> bool {
        if self.phase != Phase::Resuming {
            return false;
        }
        self.phase = Phase::Current;
        if !recovered {
            // What it heard is of another life, or before a gap.
            self.newest = None;
        }
        true
    }
}
