//! How a bot reads what the server numbers: its room, and its inbox. After a lost connection it asks for what it missed.

use starling_protocol::{ClientCommand, Epoch, InboxPosition, JoinedEvent, MessageId, Resume, Seq};

use super::Bot;
use crate::census::BotState;
use crate::ledger::Standing;

/// The `id` of the frame that asks to resume the room; messages have others.
const ROOM_ID: &str = "resume";

/// The `id` of the frame that asks to resume the inbox.
const INBOX_ID: &str = "resume-inbox";

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

    /// Nothing is to be asked for.
    pub(super) fn is_at_the_beginning(&mut self) {
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
    fn resume_from(&mut self, point: Option<(Epoch, u64)>) -> Option<Resume> {
        let (epoch, seq) = point.filter(|_| self.phase == Phase::MustResume)?;
        self.phase = Phase::Resuming;
        let at = self.newest.filter(|(newest, _)| *newest == seq).map(|(_, at)| at);
        Some(Resume { after: Seq(seq), epoch: Some(epoch), at })
    }

    /// The server answered. Answers whether the bot had asked.
    fn resumed(&mut self, recovered: bool) -> bool {
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

impl Bot {
    /// Whether the bot has been told what it missed.
    pub(super) fn is_caught_up(&self) -> bool {
        self.home.is_current() && self.inbox.is_current()
    }

    /// Counts the bot as connected, once it has been told what it missed.
    pub(super) fn note_whether_back(&mut self) {
        if self.is_caught_up() {
            self.enter_state(BotState::Connected);
        }
    }

    /// Asks for what the bot missed in its room and in its inbox, as far as it has yet to.
    pub(super) fn ask_for_missed(&mut self) {
        let ledger = self.worker.ledger.borrow();
        let room = self.home.resume_from(ledger.resume_point(self.number, self.room));
        let inbox = self.inbox.resume_from(ledger.inbox_resume_point(self.number));
        drop(ledger);
        if room.is_some() {
            let room_name = self.worker.roster.room(self.room).name.clone();
            let command = ClientCommand::Join { room: room_name, resume: room, presence: false };
            self.ask(MessageId::parse(ROOM_ID).ok(), command);
        }
        if inbox.is_some() {
            self.ask(MessageId::parse(INBOX_ID).ok(), ClientCommand::JoinInbox { resume: inbox });
        }
    }

    /// The server told in its welcome where the bot's inbox is. `None`: it keeps none.
    pub(super) fn finds_inbox(&mut self, position: Option<&InboxPosition>) {
        let Some(position) = position else { return self.inbox.is_at_the_beginning() };
        let mut ledger = self.worker.ledger.borrow_mut();
        if ledger.inbox_resume_point(self.number).is_none_or(|(epoch, _)| epoch != position.epoch) {
            // The server sends of itself what waits for a client.
            ledger.has_inbox(self.number, Standing { epoch: position.epoch, seq: position.seq.0, recovered: false });
            self.inbox.is_at_the_beginning();
        }
    }

    /// The server answered how much of what was missed it will bring.
    pub(super) fn was_told_of_missed(&mut self, joined: &JoinedEvent) {
        let recovered = joined.recovered == Some(true);
        let standing = Standing { epoch: joined.epoch, seq: joined.seq.0, recovered };
        let mut ledger = self.worker.ledger.borrow_mut();
        if joined.inbox {
            // Not asked for, it is another one: an operator has dropped the old one.
            if !self.inbox.resumed(recovered) && !self.inbox.is_current() {
                return;
            }
            ledger.has_inbox(self.number, standing);
        } else if self.home.resumed(recovered) {
            ledger.entered(self.number, self.room, standing);
        } else {
            return;
        }
        drop(ledger);
        if self.is_caught_up()
            && let Some(since) = self.missed_since.take()
        {
            self.worker.stats.borrow_mut().resume.record(self.worker.now().since(since));
        }
        self.note_whether_back();
    }

    /// The server refused what was asked under this id. Answers whether it was to resume.
    pub(super) fn resume_was_refused(&mut self, id: &MessageId) -> bool {
        let refused = match id.as_str() {
            ROOM_ID => &mut self.home,
            INBOX_ID => &mut self.inbox,
            _ => return false,
        };
        refused.must_resume();
        true
    }
}
