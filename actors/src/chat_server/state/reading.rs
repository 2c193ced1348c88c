//! Pages of the history, for clients and for readers outside the chat.

use starling_protocol::{
    ClientId, CloseCode, ErrorCode, HistoryEvent, HistoryPage, Refusal, RoomName, ServerEvent, limits,
};
use tokio::sync::oneshot;

use super::{ChatState, who_calls};
use crate::chat_server::command::{Frame, HistoryQuery};
use crate::chat_server::effect::{Answer, Effect, Turn};
use crate::chat_server::parts::reads::Reader;
use crate::history::{Page, ReadError, ReadPurpose, ReadRequest, RoomKey};
use crate::ids::RoomId;

impl ChatState {
    pub(super) fn read_history(
        &mut self,
        frame: &mut Frame,
        name: &RoomName,
        page: HistoryPage,
        limit: u16,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        self.permit(frame.session, name, turn)?;
        match self.lobby_or_existing_room(name)? {
            Some(room) => self.read_page(frame, room, page, limit, None, turn),
            None => tell_page(frame, RoomKey::Room(name.clone()), None, &Page::default(), turn),
        }
        Ok(())
    }

    /// Reads a client's own private messages, perhaps only those with one client.
    pub(super) fn read_inbox(
        &mut self,
        frame: &mut Frame,
        with: Option<ClientId>,
        page: HistoryPage,
        limit: u16,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let inbox = self.own_inbox(frame.session)?;
        self.read_page(frame, inbox, page, limit, with, turn);
        Ok(())
    }

    fn read_page(
        &mut self,
        frame: &mut Frame,
        room: RoomId,
        page: HistoryPage,
        limit: u16,
        with: Option<ClientId>,
        turn: &mut Turn,
    ) {
        let oldest = self.oldest_for(frame.session, room);
        let reader = Reader::Page { frame: frame.take(), with: with.clone() };
        let request = self.begin_read(reader, room, page);
        turn.push(Effect::Read(ReadRequest { oldest, with, limit: limit.into(), ..request }));
    }

    /// Reads for a caller outside the chat. The HTTP route has checked which rooms its token allows.
    pub(super) fn read_from_outside(
        &mut self,
        query: HistoryQuery,
        reply: oneshot::Sender<Result<Page, ReadError>>,
        turn: &mut Turn,
    ) {
        let HistoryQuery { caller, room: name, page, search, with_changes, limit, bytes } = query;
        if who_calls(&caller).is_some_and(|who| !self.moderation.may_see(who, &name)) {
            return turn.reply(Answer::Page(reply, Err(ReadError::NotInvited)));
        }
        let Some(room) = self.rooms.find(name.as_str()) else {
            // The lobby always counts as existing, even while nobody is in it.
            let is_lobby = name.as_str() == limits::LOBBY;
            let outcome = if is_lobby { Ok(Page::default()) } else { Err(ReadError::NoSuchRoom) };
            return turn.reply(Answer::Page(reply, outcome));
        };
        let hidden = self.hidden_from_outside(&caller, room);
        let request = self.begin_read(Reader::Outside(reply), room, page);
        let oldest = request.oldest.max(hidden.next());
        let purpose = if with_changes { ReadPurpose::CatchUp } else { request.purpose };
        turn.push(Effect::Read(ReadRequest { oldest, purpose, search, limit: limit.into(), bytes, ..request }));
    }

    /// Notes the reader of a room's history, and returns a request that covers all messages that may be shown.
    pub(super) fn begin_read(&mut self, reader: Reader, room: RoomId, page: HistoryPage) -> ReadRequest {
        ReadRequest {
            token: self.reads.begin(reader),
            purpose: ReadPurpose::Page,
            room,
            oldest: self.oldest(room),
            newest: self.order.position(room).seq,
            page,
            search: None,
            with: None,
            limit: usize::MAX,
            bytes: self.config.page_bytes(),
        }
    }

    pub(super) fn was_read(&mut self, request: ReadRequest, page: Page, turn: &mut Turn) {
        let room = request.room;
        if self.order.last_deletion(room) > request.newest {
            // The page may have the text of a message that was deleted since the read began.
            let (oldest, newest) = (self.oldest(room).max(request.oldest), self.order.position(room).seq);
            return turn.push(Effect::Read(ReadRequest { oldest, newest, ..request }));
        }
        match self.reads.finish(request.token) {
            Some(Reader::Page { mut frame, with }) => {
                let Some(entry) = self.rooms.get(room) else { return };
                if page.messages.first().is_some_and(|first| first.room != *entry.key()) {
                    // The room was dropped meanwhile, and another room has its number.
                    return turn.refuse(&mut frame, Refusal::new(ErrorCode::NoSuchRoom, "the room was dropped"));
                }
                tell_page(&mut frame, entry.key().clone(), with, &page, turn);
            }
            Some(Reader::Anchor { session }) => self.anchor_was_read(session, room, &page, request.page, turn),
            Some(Reader::Replay { session, ticket }) => {
                self.replay(session, (room, request.page), page, ticket, turn);
            }
            Some(Reader::Changed(asked)) => self.changed_was_read(*asked, &request, &page, turn),
            Some(Reader::Outside(reply)) => turn.reply(Answer::Page(reply, Ok(page))),
            None => debug_assert!(false, "a read is answered once"),
        }
    }

    /// Handles a read that has failed. A client that asked for a page gets an error. A session that catches up is
    /// closed, because it cannot continue without the page.
    pub(super) fn was_not_read(&mut self, request: &ReadRequest, error: ReadError, turn: &mut Turn) {
        match self.reads.finish(request.token) {
            Some(Reader::Page { mut frame, .. }) => {
                turn.refuse(&mut frame, Refusal::new(ErrorCode::Unavailable, error.to_string()));
            }
            Some(Reader::Anchor { session } | Reader::Replay { session, .. }) => {
                if self.catching_up.needs_history(session, request.room) {
                    let reason = "missed messages cannot be read at the moment";
                    self.cut_off(session, CloseCode::TryAgainLater, reason, turn);
                }
            }
            Some(Reader::Changed(asked)) => {
                self.refuse_change(*asked, Refusal::new(ErrorCode::Unavailable, error.to_string()), turn);
            }
            Some(Reader::Outside(reply)) => turn.reply(Answer::Page(reply, Err(error))),
            None => debug_assert!(false, "a read is answered once"),
        }
    }
}

fn tell_page(frame: &mut Frame, of: RoomKey, with: Option<ClientId>, page: &Page, turn: &mut Turn) {
    let (room, inbox) = match of {
        RoomKey::Room(name) => (Some(name), false),
        RoomKey::Inbox(_) => (None, true),
    };
    let messages = page.messages.iter().map(|message| message.to_owned_wire()).collect();
    let (id, has_more) = (frame.id.take(), page.has_more);
    turn.answer(frame, ServerEvent::History(HistoryEvent { id, room, inbox, to: with, messages, has_more }));
}
