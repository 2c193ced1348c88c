//! Catching up: after a lost connection, a bot requests the messages that it missed in its room and in its inbox.

use starling_protocol::{ClientCommand, InboxPosition, JoinedEvent, MessageId};

use super::Bot;
use crate::census::BotState;
use crate::ledger::Standing;

/// The `id` of the frame that asks to resume the room. Messages have other ids.
const ROOM_ID: &str = "resume";

/// The `id` of the frame that asks to resume the inbox.
const INBOX_ID: &str = "resume-inbox";

impl Bot {
    /// Whether the bot has received everything that it missed.
    pub(super) fn is_caught_up(&self) -> bool {
        self.reading.home.is_current() && self.reading.inbox.is_current()
    }

    /// Counts the bot as connected if it has caught up.
    pub(super) fn note_whether_back(&mut self) {
        if self.is_caught_up() {
            self.enter_state(BotState::Connected);
        }
    }

    /// Requests the messages that the bot missed in its room and in its inbox, unless it has done so.
    pub(super) fn ask_for_missed(&mut self) {
        let ledger = self.worker.ledger.borrow();
        let room = self.reading.home.resume_from(ledger.resume_point(self.identity.number, self.identity.room));
        let inbox = self.reading.inbox.resume_from(ledger.inbox_resume_point(self.identity.number));
        drop(ledger);
        if room.is_some() {
            let room_name = self.worker.roster.room(self.identity.room).name.clone();
            let command = ClientCommand::Join { room: room_name, resume: room, presence: false };
            self.ask(MessageId::parse(ROOM_ID).ok(), command);
        }
        if inbox.is_some() {
            self.ask(MessageId::parse(INBOX_ID).ok(), ClientCommand::JoinInbox { resume: inbox });
        }
    }

    /// Handles the inbox position in the server's welcome. `None`: the server keeps no inbox.
    pub(super) fn finds_inbox(&mut self, position: Option<&InboxPosition>) {
        let Some(position) = position else { return self.reading.inbox.begin_anew() };
        let mut ledger = self.worker.ledger.borrow_mut();
        if ledger.inbox_resume_point(self.identity.number).is_none_or(|(epoch, _)| epoch != position.epoch) {
            // The server sends waiting messages without a request.
            ledger.has_inbox(
                self.identity.number,
                Standing { epoch: position.epoch, seq: position.seq.0, recovered: false },
            );
            self.reading.inbox.begin_anew();
        }
    }

    /// Handles the server's answer to a request to resume.
    pub(super) fn was_told_of_missed(&mut self, joined: &JoinedEvent) {
        let recovered = joined.recovered == Some(true);
        let standing = Standing { epoch: joined.epoch, seq: joined.seq.0, recovered };
        let mut ledger = self.worker.ledger.borrow_mut();
        if joined.inbox {
            // Without a request, it is a new inbox, because an operator has deleted the old one.
            if !self.reading.inbox.resumed(recovered) && !self.reading.inbox.is_current() {
                return;
            }
            ledger.has_inbox(self.identity.number, standing);
        } else if self.reading.home.resumed(recovered) {
            ledger.entered(self.identity.number, self.identity.room, standing, self.worker.now());
        } else {
            return;
        }
        drop(ledger);
        if self.is_caught_up()
            && let Some(since) = self.attendance.take_missed()
        {
            let own_wait = self.attendance.waited().after(since);
            let resumed_in = self.worker.now().since(since).saturating_sub(own_wait);
            self.worker.stats.borrow_mut().resume.record(resumed_in);
        }
        self.note_whether_back();
    }

    /// Handles a refusal of the request with this id. Returns whether it was a request to resume.
    pub(super) fn resume_was_refused(&mut self, id: &MessageId) -> bool {
        let refused = match id.as_str() {
            ROOM_ID => &mut self.reading.home,
            INBOX_ID => &mut self.reading.inbox,
            _ => return false,
        };
        refused.must_resume();
        true
    }
}
