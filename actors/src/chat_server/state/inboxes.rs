//! Private messages where they are kept: every authenticated client has an inbox, a room that only its own connections
//! are in.
//!
//! A private message stands in two inboxes, its sender's and its receiver's. What no connection of the owner was sent
//! waits: the next that comes is sent it. How far that is, is noted a few times a second and when the last connection
//! goes, so after a crash the owner may be sent a little again, and never too little.

use starling_protocol::{ClientId, Epoch, ErrorCode, HistoryPage, MessageId, Refusal, Resume, Seq};

use super::{CatchingUp, ChatState};
use crate::chat_server::command::{Effect, OpenRefusal};
use crate::clock::Now;
use crate::history::{ReadRequest, Reader, RoomKey};
use crate::ids::{RoomId, SessionId};
use crate::room::Room;

impl ChatState {
    pub(super) fn find_or_make_inbox(&mut self, owner: &ClientId, now: Now) -> Result<RoomId, OpenRefusal> {
        if let Some(inbox) = self.inboxes.get(owner) {
            return Ok(*inbox);
        }
        if self.inboxes.len() >= self.config.inboxes as usize {
            return Err(OpenRefusal::TooManyInboxes);
        }
        let epoch = Epoch(self.numbers.draw());
        let slot = self.rooms.insert(Room::new(RoomKey::Inbox(owner.clone()), epoch, now.at));
        let inbox = RoomId(u32::try_from(slot).map_err(|_| OpenRefusal::TooManyInboxes)?);
        self.inboxes.insert(owner.clone(), inbox);
        self.note_may_end(inbox);
        Ok(inbox)
    }

    /// The inbox that a message to this client goes into, whether or not the client is here.
    pub(super) fn inbox_to_write_to(&mut self, to: &ClientId, now: Now) -> Result<RoomId, Refusal> {
        if to.is_guest() {
            return Err(Refusal::new(
                ErrorCode::NoSuchClient,
                format!("nobody is called {to}, there are no guests here"),
            ));
        }
        self.find_or_make_inbox(to, now).map_err(|refusal| Refusal::new(refusal.error_code(), refusal.to_string()))
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
