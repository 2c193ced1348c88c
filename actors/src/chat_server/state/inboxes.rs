//! Private messages where they are kept: every authenticated client has an inbox, a room that only its own connections
//! are in.
//!
//! A private message stands in two inboxes, its sender's and its receiver's. What no connection of the owner was sent
//! waits: the next that comes is sent it. How far that is, is noted a few times a second and when the last connection
//! goes, so after a crash the owner may be sent a little again, and never too little.

use starling_protocol::{ClientId, Epoch, ErrorCode, HistoryPage, MessageId, Refusal, Resume, Seq};

use super::{CatchingUp, ChatState};
use crate::chat_server::command::Effect;
use crate::clock::Now;
use crate::history::{ReadRequest, Reader, RoomKey};
use crate::ids::{RoomId, SessionId};
use crate::room::Room;

impl ChatState {
    /// The inbox of a client who is here. It is never refused: where there are as many as there may be, one goes whose
    /// owner has never been here; without one there is one more.
    pub(super) fn find_or_make_inbox(
        &mut self,
        owner: &ClientId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Option<RoomId> {
        if let Some(inbox) = self.inboxes.get(owner).copied() {
            self.unclaimed.remove(inbox);
            return Some(inbox);
        }
        if self.inboxes.len() >= self.config.inboxes as usize {
            self.drop_unclaimed_inbox(0, effects);
        }
        self.make_inbox(owner, now)
    }

    fn make_inbox(&mut self, owner: &ClientId, now: Now) -> Option<RoomId> {
        let epoch = Epoch(self.numbers.draw());
        let slot = self.rooms.insert(Room::new(RoomKey::Inbox(owner.clone()), epoch, now.at));
        let inbox = RoomId(u32::try_from(slot).ok()?);
        self.inboxes.insert(owner.clone(), inbox);
        self.note_may_end(inbox);
        Some(inbox)
    }

    /// Drops the first unclaimed inbox if its maker has more than `count` of them. Returns whether there was one.
    fn drop_unclaimed_inbox(&mut self, count: usize, effects: &mut Vec<Effect>) -> bool {
        let Some((_, inbox)) = self.unclaimed.first_to_drop().filter(|(most, _)| *most > count) else { return false };
        self.dropped_for_space += 1;
        self.end_room(inbox, None, effects);
        true
    }

    /// The inbox that a message of `sender` to this client goes into, whether or not the client is here.
    pub(super) fn inbox_to_write_to(
        &mut self,
        sender: &ClientId,
        to: &ClientId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<RoomId, Refusal> {
        if to.is_guest() {
            return Err(Refusal::new(
                ErrorCode::NoSuchClient,
                format!("nobody is called {to}, there are no guests here"),
            ));
        }
        if let Some(inbox) = self.inboxes.get(to).copied() {
            self.unclaimed.written_by(inbox, sender);
            return Ok(inbox);
        }
        let refused = |text: String| Refusal::new(ErrorCode::TooManyInboxes, text);
        let (made, most) = (self.unclaimed.made_by(sender), self.config.inboxes_per_client);
        if made >= most as usize {
            let text = format!("{made} clients that you wrote to have never been here, as many as there may be");
            return Err(refused(text));
        }
        // Fair to all who write: whoever has made the most gives way to whoever has made fewer.
        if self.inboxes.len() >= self.config.inboxes as usize && !self.drop_unclaimed_inbox(made + 1, effects) {
            return Err(refused("the server keeps the private messages of as many clients as it may".into()));
        }
        let inbox = self.make_inbox(to, now).ok_or_else(|| refused("there are no more numbers".into()))?;
        self.unclaimed.insert(inbox, sender);
        Ok(inbox)
    }

    /// Lets a session have its private messages, first those that its client was not sent.
    pub(super) fn open_inbox(&mut self, session: SessionId, inbox: RoomId, effects: &mut Vec<Effect>) {
        let Some(entry) = self.rooms.get_mut(inbox.0 as usize) else { return };
        entry.insert(session);
        // What the history has dropped meanwhile cannot be sent any more.
        let after = entry.delivered.max(Seq(entry.oldest.0.saturating_sub(1)));
        if after < entry.seq {
            self.replays.insert((session, inbox), CatchingUp { after, is_reading: true });
            effects.push(Effect::Read(self.replay_request(session, inbox, after)));
        } else {
            effects.push(Effect::Admit { session, room: inbox });
        }
    }

    pub(super) fn close_inbox(&mut self, session: SessionId, inbox: RoomId, now: Now, effects: &mut Vec<Effect>) {
        self.replays.remove(&(session, inbox));
        self.unanswered.remove(&(session, inbox));
        let Some(entry) = self.rooms.get_mut(inbox.0 as usize) else { return };
        entry.remove(session, now.at);
        if entry.is_empty() {
            // The process may end before the next tick.
            self.note_delivered(inbox, effects);
            self.note_may_end(inbox);
        }
    }

    /// A connection of the owner was sent everything up to this message.
    pub(super) fn delivered(&mut self, inbox: RoomId, seq: Seq) {
        let Some(entry) = self.rooms.get_mut(inbox.0 as usize).filter(|entry| entry.key.owner().is_some()) else {
            return;
        };
        if seq > entry.delivered {
            if entry.delivered == entry.delivered_noted {
                self.delivered_due.push(inbox);
            }
            entry.delivered = seq;
        }
    }

    pub(super) fn note_delivered(&mut self, inbox: RoomId, effects: &mut Vec<Effect>) {
        // An inbox may have been forgotten meanwhile, and its number given to another.
        let Some(entry) = self.rooms.get_mut(inbox.0 as usize) else { return };
        if entry.delivered > entry.delivered_noted {
            entry.delivered_noted = entry.delivered;
            effects.push(Effect::Delivered { room: inbox, seq: entry.delivered });
        }
    }

    fn own_inbox(&self, session: SessionId) -> Result<RoomId, Refusal> {
        let inbox = self.sessions.get(session).and_then(|member| member.inbox);
        inbox.ok_or_else(|| Refusal::new(ErrorCode::Forbidden, "private messages are not kept here"))
    }

    pub(super) fn join_inbox(
        &mut self,
        session: SessionId,
        id: Option<MessageId>,
        resume: Option<Resume>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let inbox = self.own_inbox(session)?;
        self.resume(session, id, inbox, resume, true, effects);
        Ok(())
    }

    pub(super) fn read_inbox(
        &self,
        session: SessionId,
        id: Option<MessageId>,
        with: Option<ClientId>,
        page: HistoryPage,
        limit: u16,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let room = self.own_inbox(session)?;
        let (limit, bytes) = (usize::from(limit), self.config.page_bytes());
        let reader = Reader::Client { session, id, ticket: None };
        effects.push(Effect::Read(ReadRequest { room, page, search: None, with, limit, bytes, reader }));
        Ok(())
    }
}
