//! What was said before: pages of it, and what a session missed.

use starling_protocol::{CloseCode, ErrorCode, HistoryPage, MessageId, Refusal, Resume, RoomName, Seq, ServerEvent};

use super::{CatchingUp, ChatState, Unanswered, give_to_answer, tell};
use crate::chat_server::command::{Effect, PageOf};
use crate::clock::Now;
use crate::credits::Ticket;
use crate::history::{Page, ReadError, ReadRequest, Reader, RoomKey};
use crate::ids::{RoomId, SessionId};

impl ChatState {
    pub(super) fn read_history(
        &self,
        session: SessionId,
        id: Option<MessageId>,
        name: &RoomName,
        page: HistoryPage,
        limit: u16,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        self.permit(session, name)?;
        let Some(room) = self.lobby_or_existing_room(name)? else {
            let (of, messages) = (PageOf::Room(name.clone()), Vec::new());
            effects.push(Effect::TellHistory { session, id, of, messages, has_more: false, ticket: None });
            return Ok(());
        };
        let (limit, bytes) = (usize::from(limit), self.config.page_bytes());
        let reader = Reader::Client { session, id, ticket: None };
        effects.push(Effect::Read(ReadRequest { room, page, search: None, with: None, limit, bytes, reader }));
        Ok(())
    }

    /// What is read to hold a resume against it: the message that the client goes on from.
    pub(super) fn proof_request(&self, session: SessionId, room: RoomId, after: Seq) -> ReadRequest {
        ReadRequest {
            room,
            page: HistoryPage::After(Seq(after.0.saturating_sub(1))),
            search: None,
            with: None,
            limit: 1,
            bytes: self.config.page_bytes(),
            reader: Reader::Proof { session, ticket: None },
        }
    }

    /// The message that a client goes on from has been read: now its `join` is answered.
    fn was_proven(
        &mut self,
        session: SessionId,
        room: RoomId,
        page: &Page,
        asked: HistoryPage,
        effects: &mut Vec<Effect>,
    ) {
        let waits = |waiting: &Unanswered| asked == HistoryPage::After(Seq(waiting.resume.after.0.saturating_sub(1)));
        if !self.unanswered.get(&(session, room)).is_some_and(waits) {
            // The answer to what it asked for before it left the room or resumed anew.
            return;
        }
        let Some(Unanswered { id, resume, is_member }) = self.unanswered.remove(&(session, room)) else { return };
        // Where the message was dropped meanwhile, there is nothing that contradicts.
        let kept = page.messages.first().filter(|message| message.seq == resume.after);
        let is_other = kept.is_some_and(|message| Some(message.at) != resume.at);
        let resume = if is_other { Resume { epoch: None, ..resume } } else { resume };
        self.tell_joined(session, id, room, Some(resume), is_member, effects);
    }

    /// Answers a `join` whose proof is not looked at yet, as another command of the session needs the answer first:
    /// nothing is recovered.
    pub(super) fn answer_unproven(&mut self, session: SessionId, room: RoomId, effects: &mut Vec<Effect>) {
        if let Some(Unanswered { id, resume, is_member }) = self.unanswered.remove(&(session, room)) {
            self.tell_joined(session, id, room, Some(Resume { epoch: None, ..resume }), is_member, effects);
        }
    }

    pub(super) fn replay_request(&self, session: SessionId, room: RoomId, after: Seq) -> ReadRequest {
        ReadRequest {
            room,
            page: HistoryPage::After(after),
            search: None,
            with: None,
            limit: usize::MAX,
            bytes: self.config.page_bytes(),
            reader: Reader::Replay { session, ticket: None },
        }
    }

    pub(super) fn continue_replay(&mut self, session: SessionId, room: RoomId, effects: &mut Vec<Effect>) {
        if let Some(progress) = self.replays.get_mut(&(session, room))
            && !std::mem::replace(&mut progress.is_reading, true)
        {
            let after = progress.after;
            effects.push(Effect::Read(self.replay_request(session, room, after)));
        } else {
            effects.push(nothing_to_replay(session, room));
        }
    }

    pub(super) fn was_read(&mut self, request: ReadRequest, page: Page, now: Now, effects: &mut Vec<Effect>) {
        let room = request.room;
        match request.reader {
            Reader::Client { session, id, ticket } => {
                let Some(entry) = self.rooms.get(room.0 as usize) else { return };
                // Read for a room that was dropped meanwhile, whose number is another's now.
                if page.messages.first().is_some_and(|first| first.room != entry.key) {
                    let refusal = Refusal::new(ErrorCode::NoSuchRoom, "the room was dropped").with_id(id);
                    return effects.push(tell(session, ServerEvent::Error(refusal)));
                }
                let of = match &entry.key {
                    RoomKey::Room(name) => PageOf::Room(name.clone()),
                    RoomKey::Inbox(_) => PageOf::Inbox { with: request.with },
                };
                let Page { messages, has_more } = page;
                effects.push(Effect::TellHistory { session, id, of, messages, has_more, ticket });
            }
            Reader::Proof { session, ticket } => {
                let first = effects.len();
                self.was_proven(session, room, &page, request.page, effects);
                if let (Some(ticket), Some(effects)) = (ticket, effects.get_mut(first..)) {
                    give_to_answer(ticket, session, effects);
                }
            }
            Reader::Replay { session, ticket } => {
                self.replay(session, room, request.page, page, ticket, now, effects);
            }
            // Whoever asked may have gone.
            Reader::Outside(reply) => drop(reply.send(Ok(page))),
        }
    }

    /// Who asks for history is told that it cannot be had; who catches up cannot go on without it.
    pub(super) fn was_not_read(&mut self, request: ReadRequest, error: ReadError, now: Now, effects: &mut Vec<Effect>) {
        match request.reader {
            Reader::Client { session, id, .. } => {
                let refusal = Refusal::new(ErrorCode::Unavailable, error.to_string()).with_id(id);
                effects.push(tell(session, ServerEvent::Error(refusal)));
            }
            Reader::Proof { session, .. } | Reader::Replay { session, .. } => {
                let key = (session, request.room);
                if self.replays.contains_key(&key) || self.unanswered.contains_key(&key) {
                    self.close_session(session, now, effects);
                    let reason = "what was missed cannot be read at the moment";
                    effects.push(Effect::Close { session, code: CloseCode::TryAgainLater, reason });
                }
            }
            // Whoever asked may have gone.
            Reader::Outside(reply) => drop(reply.send(Err(error))),
        }
    }

    /// Writes the next part of what a session missed, and admits it when nothing is left.
    #[expect(clippy::too_many_arguments, reason = "what was asked for, by whom, and the answer")]
    pub(super) fn replay(
        &mut self,
        session: SessionId,
        room: RoomId,
        asked: HistoryPage,
        page: Page,
        ticket: Option<Ticket>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let progress =
            self.replays.get_mut(&(session, room)).filter(|progress| asked == HistoryPage::After(progress.after));
        let Some(CatchingUp { after, is_reading }) = progress else {
            // The answer to what it asked for before it left the room or resumed anew.
            effects.push(nothing_to_replay(session, room));
            return;
        };
        let Some(entry) = self.rooms.get(room.0 as usize) else { return };
        let continues = page.messages.first().is_none_or(|first| first.seq == after.next());
        let last = page.messages.last().map_or(*after, |last| last.seq);
        if !continues || (page.messages.is_empty() && last < entry.seq) {
            // The history dropped what this session was still to get: rather no connection than a silent gap.
            self.close_session(session, now, effects);
            let reason = "catching up was slower than the room";
            effects.push(Effect::Close { session, code: CloseCode::SlowConsumer, reason });
            return;
        }
        let more = last < entry.seq;
        (*after, *is_reading) = (last, false);
        effects.push(Effect::Replay { session, room, messages: page.messages, more, ticket });
        self.delivered(room, last);
        if !more {
            self.replays.remove(&(session, room));
            effects.push(Effect::Admit { session, room });
        }
    }
}

/// Nothing follows for a room that a hub waits for: it goes on with the next.
fn nothing_to_replay(session: SessionId, room: RoomId) -> Effect {
    Effect::Replay { session, room, messages: Vec::new(), more: false, ticket: None }
}
