//! Resuming: a session that returns gets its missed messages, and then live messages. The states of such a session are
//! drawn in [`catching_up`](crate::chat_server::parts::catching_up).

use starling_protocol::{CloseCode, HistoryPage, JoinedEvent, Resume, Seq, ServerEvent};

use super::ChatState;
use crate::chat_server::command::Frame;
use crate::chat_server::effect::{Effect, Turn};
use crate::chat_server::parts::catching_up::{AnchoredJoin, anchor_page};
use crate::chat_server::parts::reads::Reader;
use crate::chat_server::parts::room::Room;
use crate::credits::Ticket;
use crate::history::{Page, ReadPurpose, ReadRequest};
use crate::hub::Replay;
use crate::ids::{RoomId, SessionId};

impl ChatState {
    /// The oldest message of a room in the history. If there is none, the seq after the newest message.
    pub(super) fn oldest(&self, room: RoomId) -> Seq {
        let kept = self.rooms.get(room).map_or(0, Room::kept);
        Seq((self.order.position(room).seq.0 + 1).saturating_sub(kept))
    }

    /// The number of kept messages of a room whose oldest kept message is `oldest`.
    pub(super) fn kept_since(&self, room: RoomId, oldest: Seq) -> u64 {
        // A node that reads the log again may have more messages of the room in its history than it has read.
        let stored_upto = self.rooms.get(room).map_or(Seq(0), Room::stored_upto);
        let newest = self.order.position(room).seq.max(stored_upto);
        (newest.0 + 1).saturating_sub(oldest.0)
    }

    /// Whether the history has all messages after the one that a client resumes from, and the client sees them, judged by
    /// `seq` and `epoch` alone.
    fn can_recover(&self, session: SessionId, room: RoomId, from: Resume) -> bool {
        let position = self.order.position(room);
        let is_kept = from.after <= position.seq && from.after.next() >= self.oldest_for(session, room);
        from.epoch == Some(position.epoch) && is_kept
    }

    /// Resumes a session in a room that it is a member of, or in its inbox. If the client gave the time of its anchor,
    /// the history first reads the anchor.
    pub(super) fn resume(
        &mut self,
        frame: &mut Frame,
        room: RoomId,
        resume: Option<Resume>,
        was_member: bool,
        turn: &mut Turn,
    ) {
        self.answer_without_anchor(frame.session, room, turn);
        let session = frame.session;
        let has_anchor = |from: &Resume| {
            from.at.is_some() && self.can_recover(session, room, *from) && from.after >= self.oldest_for(session, room)
        };
        let Some(resume) = resume.filter(has_anchor) else {
            return self.tell_joined(frame, room, resume, was_member, turn);
        };
        let reader = Reader::Anchor { session };
        self.catching_up.wait_for_anchor(room, AnchoredJoin { frame: frame.take(), resume, was_member });
        self.read(room, anchor_page(resume.after), 1, reader, turn);
    }

    /// Answers with `joined`, starts to catch up if the session resumes, and admits it to live messages: at once if it
    /// has missed nothing, otherwise once it has caught up.
    fn tell_joined(
        &mut self,
        frame: &mut Frame,
        room: RoomId,
        resume: Option<Resume>,
        was_member: bool,
        turn: &mut Turn,
    ) {
        let session = frame.session;
        let recovered = resume.map(|from| self.can_recover(session, room, from));
        let hidden = self.hidden_from(session, room);
        let Some(entry) = self.rooms.get(room) else { return };
        let position = self.order.position(room);
        let joined = ServerEvent::Joined(JoinedEvent {
            id: frame.id.take(),
            room: entry.key().room().cloned(),
            inbox: entry.key().owner().is_some(),
            seq: position.seq,
            epoch: position.epoch,
            count: self.count_in(room),
            recovered,
            settings: self.own_settings(room).cloned().map(Box::new),
            visible_after: Some(hidden).filter(|hidden| *hidden > Seq(0)),
        });
        let missed_after = resume.filter(|_| recovered == Some(true)).map(|from| from.after);
        let Some(after) = missed_after.filter(|after| *after < position.seq) else {
            turn.answer(frame, joined);
            self.tell_positions(session, room, turn);
            // A session that resumes again and has missed nothing more is admitted at once.
            let has_caught_up = resume.is_some() && self.catching_up.end(session, room);
            if !was_member || has_caught_up {
                turn.admit(session, room);
            }
            return;
        };
        if was_member && !self.catching_up.is_catching_up(session, room) {
            // Live messages must follow the missed ones.
            turn.dismiss(session, room);
        }
        if self.catching_up.begin(session, room, after) {
            turn.tell(session, joined);
            self.tell_positions(session, room, turn);
            self.read_replay(session, room, after, frame.ticket.take(), turn);
        } else {
            turn.answer(frame, joined);
            self.tell_positions(session, room, turn);
        }
    }

    /// Answers a `join` whose anchor has not been read yet, because another command of the session needs that answer
    /// first. The answer says that nothing was recovered.
    pub(super) fn answer_without_anchor(&mut self, session: SessionId, room: RoomId, turn: &mut Turn) {
        if let Some(mut join) = self.catching_up.take_anchored(session, room) {
            let resume = Resume { epoch: None, ..join.resume };
            self.tell_joined(&mut join.frame, room, Some(resume), join.was_member, turn);
        }
    }

    /// Answers a `join`, because its anchor has been read. A client whose anchor is another message than the stored one
    /// has seen another history, so nothing is recovered.
    pub(super) fn anchor_was_read(
        &mut self,
        session: SessionId,
        room: RoomId,
        page: &Page,
        asked: HistoryPage,
        turn: &mut Turn,
    ) {
        // Otherwise the session has left the room since, or has resumed anew.
        let Some(mut join) = self.catching_up.take_read(session, room, asked) else { return };
        // The anchor may have been dropped meanwhile; a missing message does not contradict the client.
        let kept = page.messages.first().filter(|message| message.seq == join.resume.after);
        let is_other = kept.is_some_and(|message| Some(message.at) != join.resume.at);
        let resume = if is_other { Resume { epoch: None, ..join.resume } } else { join.resume };
        self.tell_joined(&mut join.frame, room, Some(resume), join.was_member, turn);
    }

    pub(super) fn read_replay(
        &mut self,
        session: SessionId,
        room: RoomId,
        after: Seq,
        ticket: Option<Ticket>,
        turn: &mut Turn,
    ) {
        self.read(room, HistoryPage::After(after), usize::MAX, Reader::Replay { session, ticket }, turn);
    }

    /// Reads a page for a session that cannot continue without it.
    fn read(&mut self, room: RoomId, page: HistoryPage, limit: usize, reader: Reader, turn: &mut Turn) {
        let request = self.begin_read(reader, room, page);
        turn.push(Effect::Read(ReadRequest { purpose: ReadPurpose::CatchUp, limit, ..request }));
    }

    /// Reads the next page for a session that has written the previous one.
    pub(super) fn continue_replay(&mut self, session: SessionId, room: RoomId, turn: &mut Turn) {
        match self.catching_up.go_on(session, room) {
            Some(after) => self.read_replay(session, room, after, None, turn),
            None => turn.replay(session, Replay::nothing(room)),
        }
    }

    /// Sends a session the next page of its missed messages, and admits it to live messages after the last page.
    pub(super) fn replay(
        &mut self,
        session: SessionId,
        asked: (RoomId, HistoryPage),
        mut page: Page,
        ticket: Option<Ticket>,
        turn: &mut Turn,
    ) {
        let (room, asked) = asked;
        let Some(after) = self.catching_up.was_read(session, room, asked) else {
            // The session has left the room since, or has resumed anew.
            return turn.replay(session, Replay::nothing(room));
        };
        let newest = self.order.position(room).seq;
        let continues = page.messages.first().is_none_or(|first| first.seq == after.next());
        let last = page.messages.last().map_or(after, |last| last.seq);
        if !continues || (page.messages.is_empty() && last < newest) {
            // The history has dropped messages that this session needs next: a closed connection is better than a
            // silent gap.
            return self.cut_off(
                session,
                CloseCode::SlowConsumer,
                "the client caught up more slowly than new messages arrived",
                turn,
            );
        }
        let more = last < newest;
        self.catching_up.sent(session, room, last);
        self.without_hidden_texts(session, room, &mut page.messages);
        turn.replay(session, Replay { room, messages: page.messages, more, ticket });
        self.sent(room, last);
        if !more {
            self.catching_up.end(session, room);
            turn.admit(session, room);
        }
    }

    /// Closes a session that cannot catch up.
    pub(super) fn cut_off(&mut self, session: SessionId, code: CloseCode, reason: &'static str, turn: &mut Turn) {
        self.close_session(session, turn);
        turn.close(session, code, reason);
    }
}
