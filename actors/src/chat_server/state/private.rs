//! Stored private messages: each is in the inboxes of its sender and its receiver.

use starling_protocol::{ClientId, Epoch, ErrorCode, Refusal, Resume, Seq};

use super::ChatState;
use crate::chat_server::command::Frame;
use crate::chat_server::effect::{Effect, Turn};
use crate::chat_server::parts::inboxes::NoInbox;
use crate::clock::Instant;
use crate::history::RoomKey;
use crate::ids::{RoomId, SessionId};
use crate::metrics::Limit;
use crate::nodes::record::LogEntry;

impl ChatState {
    /// The inbox of a client that is connected. It is never refused: if the table is full and no inbox may be dropped,
    /// the limit is exceeded.
    pub(super) fn claim_inbox(&mut self, owner: &ClientId, turn: &mut Turn) -> Option<RoomId> {
        let known = self.inboxes.claim(owner);
        if known.is_some() || self.cluster.is_some() {
            return known;
        }
        self.make_space_for_owner(turn);
        self.make(RoomKey::Inbox(owner.clone()), turn)
    }

    /// Makes space for the inbox of a client that is connected, if any inbox may be dropped for it.
    pub(super) fn make_space_for_owner(&mut self, turn: &mut Turn) {
        if let Some(first) = self.inboxes.first_to_go_for_owner() {
            self.drop_for_space(first, turn);
        }
    }

    /// Makes the inbox of a client that has never connected, because another one writes to it.
    pub(super) fn make_unclaimed(
        &mut self,
        owner: &ClientId,
        maker: &ClientId,
        (epoch, at): (Epoch, Instant),
        turn: &mut Turn,
    ) -> Result<RoomId, NoInbox> {
        if let Some(first) = self.inboxes.first_to_go_for_maker(maker)? {
            self.drop_for_space(first, turn);
        }
        let inbox = self.make_in(RoomKey::Inbox(owner.clone()), epoch, at).ok_or(NoInbox::Full)?;
        self.inboxes.made_by(inbox, maker);
        Ok(inbox)
    }

    /// The inbox for a message from `sender` to this client, whether or not the client is connected.
    pub(super) fn inbox_to_write_to(
        &mut self,
        sender: &ClientId,
        to: &ClientId,
        turn: &mut Turn,
    ) -> Result<RoomId, Refusal> {
        if let Some(inbox) = self.known_inbox(to)? {
            if self.cluster.is_none() {
                self.inboxes.written_by(inbox, sender);
            }
            return Ok(inbox);
        }
        let made = if self.cluster.is_some() {
            // The log has just refused it, so the reason still holds.
            self.inboxes.first_to_go_for_maker(sender).and(Err(NoInbox::Full))
        } else {
            let epoch = Epoch(self.numbers.draw());
            self.make_unclaimed(to, sender, (epoch, turn.now.at), turn)
        };
        made.map_err(|why| self.no_inbox(why, turn))
    }

    /// Whether a client may write to another one, if private messages are stored. Makes no inbox.
    ///
    /// # Errors
    /// Those of [`inbox_to_write_to`](Self::inbox_to_write_to).
    pub(super) fn check_inbox_to_write_to(
        &self,
        sender: &ClientId,
        to: &ClientId,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        if self.known_inbox(to)?.is_some() {
            return Ok(());
        }
        self.inboxes.first_to_go_for_maker(sender).map(drop).map_err(|why| self.no_inbox(why, turn))
    }

    /// The inbox of a client, if it is made. A guest never has one.
    fn known_inbox(&self, owner: &ClientId) -> Result<Option<RoomId>, Refusal> {
        if owner.is_guest() {
            let text = format!("there is no client {owner}: this server has no guests");
            return Err(Refusal::new(ErrorCode::NoSuchClient, text));
        }
        Ok(self.inboxes.find(owner.as_str()))
    }

    fn no_inbox(&self, why: NoInbox, turn: &mut Turn) -> Refusal {
        let (limit, text) = match why {
            NoInbox::MadeTooMany(made) => (
                Limit::InboxesPerClient,
                format!("you have written to {made} clients that have never connected: limit reached"),
            ),
            NoInbox::Full => (Limit::Inboxes, format!("inbox limit reached (CHAT_INBOXES = {})", self.config.inboxes)),
        };
        turn.refused_by(limit);
        Refusal::new(ErrorCode::TooManyInboxes, text)
    }

    /// Starts the delivery of private messages to a session. The messages that its client missed come first.
    pub(super) fn open_inbox(&mut self, session: SessionId, inbox: RoomId, turn: &mut Turn) {
        self.rooms.enter(inbox, session, false);
        // The history may have dropped some of the missed messages; they cannot be sent any more.
        let after = self.inboxes.sent_upto(inbox).max(Seq(self.oldest(inbox).0.saturating_sub(1)));
        if after < self.order.position(inbox).seq {
            self.catching_up.begin(session, inbox, after);
            self.read_replay(session, inbox, after, None, turn);
        } else {
            turn.admit(session, inbox);
        }
    }

    pub(super) fn close_inbox(&mut self, session: SessionId, inbox: RoomId, turn: &mut Turn) {
        self.catching_up.forget(session, inbox);
        self.rooms.leave(inbox, session, false, turn.now.at);
        if self.rooms.get(inbox).is_some_and(crate::chat_server::parts::room::Room::is_empty) {
            // The process may end before the next tick.
            self.note_sent(inbox, turn);
            self.leave_in_log(inbox, None);
        }
    }

    /// Notes that the owner was sent all messages up to `seq`, if the room is an inbox.
    pub(super) fn sent(&mut self, room: RoomId, seq: Seq) {
        if self.rooms.get(room).is_some_and(|room| room.key().owner().is_some()) {
            self.inboxes.sent(room, seq);
        }
    }

    pub(super) fn note_sent(&mut self, inbox: RoomId, turn: &mut Turn) {
        if let Some(seq) = self.inboxes.note_sent(inbox) {
            let epoch = self.order.position(inbox).epoch;
            let owner = self.rooms.get(inbox).and_then(|room| room.key().owner()).cloned();
            match self.cluster.as_mut().zip(owner) {
                Some((cluster, owner)) => cluster.propose(LogEntry::Sent { owner, epoch, seq }, None),
                None => turn.push(Effect::NoteSent { room: inbox, seq }),
            }
        }
    }

    pub(super) fn own_inbox(&self, session: SessionId) -> Result<RoomId, Refusal> {
        let inbox = self.participants.get(session).and_then(|participant| participant.inbox);
        inbox.ok_or_else(|| Refusal::new(ErrorCode::Forbidden, "private messages are not kept here"))
    }

    pub(super) fn join_inbox(
        &mut self,
        frame: &mut Frame,
        resume: Option<Resume>,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let inbox = self.own_inbox(frame.session)?;
        self.resume(frame, inbox, resume, true, turn);
        Ok(())
    }
}
