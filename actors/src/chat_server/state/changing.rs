//! Changes of messages: edits, deletions and reactions, and private replies, which depend on a message too.
//!
//! A change is judged by the message in the history, and then given to the log like a message. Meanwhile the later
//! commands of its session wait, so that they keep their order. What a change does to its message is the history's
//! knowledge, see [`Changes`]: it has the same effect wherever it is applied, and none after the deletion.
//!
//! With other nodes, a message may be deleted through another node after this one has judged an edit of it. So an edit
//! says as of which entry of the room it was judged. If any message of the room was deleted since, all nodes void the
//! edit, and this node judges it again. Other changes need no such care: they show no text.

use smallvec::SmallVec;
use starling_protocol::{Change, ChangeMessage, ChangedPlace, ClientId, ErrorCode, Refusal, Seq};

use super::ChatState;
use super::talking::{Said, no_such_message, refuse_all};
use crate::chat_server::command::Frame;
use crate::chat_server::effect::{Effect, Turn};
use crate::chat_server::parts::catching_up::anchor_page;
use crate::chat_server::parts::in_flight::Asker;
use crate::chat_server::parts::participants::Participant;
use crate::chat_server::parts::reads::{Asked, Reader};
use crate::chat_server::parts::room::Room;
use crate::credits::Ticket;
use crate::history::{Changes, Content, Draft, Page, ReadRequest, StoredMessage};
use crate::ids::{RoomId, SessionId};

impl ChatState {
    /// Handles a client's change of a message.
    pub(super) fn ask_for_change(&mut self, mut frame: Frame, change: ChangeMessage<'static>, turn: &mut Turn) {
        let ChangeMessage { place, of, change } = change;
        let content = match change {
            Change::Edit(text) => Content::Edit { of, text: text.into_owned().into() },
            Change::Delete => Content::Deletion { of },
            Change::React { emoji, remove } => Content::Reaction { of, emoji, removed: remove },
        };
        let room = match &place {
            ChangedPlace::Room(name) => self.own_room(frame.session, name),
            ChangedPlace::Inbox => self.own_inbox(frame.session),
        };
        match room {
            Ok(room) => self.read_message_of(frame, room, content, None, turn),
            Err(refusal) => self.conclude(&mut frame, Err(refusal), turn),
        }
    }

    /// Reads the message that a change or a private reply is about. The session waits for it.
    pub(super) fn read_message_of(
        &mut self,
        mut frame: Frame,
        room: RoomId,
        content: Content,
        to: Option<ClientId>,
        turn: &mut Turn,
    ) {
        let session = frame.session;
        let owner = self.participants.get(session).map(Participant::owner);
        let id = owner.zip(frame.id.as_ref()).map(|(owner, id)| self.ids.key(owner, id));
        if let Some(earlier) = id.and_then(|id| self.earlier(&id, Some(session), turn.now)) {
            self.conclude(&mut frame, Ok(()), turn);
            return self.repeat(Asker::Client(frame), earlier, turn);
        }
        let of_room = Some(room).filter(|room| self.rooms.get(*room).is_some_and(|room| room.key().room().is_some()));
        // What would take a place in the history is for those who may write: it makes older messages give way.
        let needs_writer = !matches!(content, Content::Deletion { .. });
        let may_speak = self.check_speech(session, None, of_room, turn);
        let may_change = may_speak.and_then(|()| if needs_writer { self.check_writer(session, room) } else { Ok(()) });
        if let Err(refusal) = may_change {
            return self.conclude(&mut frame, Err(refusal), turn);
        }
        self.paused.pause(session);
        let asked = Asked { asker: Asker::Client(frame), repeats: Vec::new(), room, content, to };
        self.judge_later(asked, turn);
    }

    /// Reads the message of a change, which is judged then.
    pub(super) fn judge_later(&mut self, asked: Asked, turn: &mut Turn) {
        let (room, of) = (asked.room, asked.content.refers_to().unwrap_or(Seq(0)));
        let oldest = match &asked.asker {
            Asker::Client(frame) => self.oldest_for(frame.session, room),
            Asker::Operator(_) => self.oldest(room),
        };
        if of < oldest.max(Seq(1)) || of > self.order.position(room).seq {
            let refusal = no_such_message(of);
            return self.refuse_change(asked, refusal, turn);
        }
        let request = self.begin_read(Reader::Changed(Box::new(asked)), room, anchor_page(of));
        turn.push(Effect::Read(ReadRequest { limit: 1, ..request }));
    }

    /// Judges a change by its message, and gives it to the log.
    pub(super) fn changed_was_read(&mut self, asked: Asked, request: &ReadRequest, page: &Page, turn: &mut Turn) {
        let of = asked.content.refers_to();
        let key = self.rooms.get(asked.room).map(Room::key);
        let found = page.messages.first().filter(|message| Some(message.seq) == of && Some(&message.room) == key);
        let judged = match found {
            Some(message) => self.judge(&asked, message),
            None => Err(no_such_message(of.unwrap_or(Seq(0)))),
        };
        match (judged, found) {
            (Ok(()), Some(message)) => self.append_change(asked, message, request.newest, turn),
            (Ok(()), None) => {}
            (Err(refusal), _) => self.refuse_change(asked, refusal, turn),
        }
    }

    /// Decides whether a client may change a message, or reply to it in private.
    fn judge(&self, asked: &Asked, message: &StoredMessage) -> Result<(), Refusal> {
        let Asker::Client(frame) = &asked.asker else { return Ok(()) };
        let participant = self.participants.get(frame.session);
        let is_its_own = participant.is_some_and(|it| it.owner() == message.owner() || it.is_operator());
        // An older version stored private messages without the place of the other copy.
        let is_half = message.peer().is_some_and(|peer| message.room.owner() != Some(peer)) && message.twin.is_none();
        // A reply does not change its message, so it may come after the deletion.
        let is_gone = message.is_deleted() && !matches!(asked.content, Content::Message { .. });
        if is_gone || is_half || asked.to.as_ref().is_some_and(|to| message.peer() != Some(to)) {
            return Err(no_such_message(message.seq));
        }
        match &asked.content {
            Content::Edit { .. } | Content::Deletion { .. } if !is_its_own => {
                Err(Refusal::new(ErrorCode::Forbidden, format!("message {} is not yours", message.seq)))
            }
            Content::Reaction { emoji, removed: false, .. } => {
                let none = Changes::default();
                let changes = message.changes.as_deref().unwrap_or(&none);
                let client_id = participant.map_or(&message.client_id, |it| it.name());
                let may = changes.may_react(emoji, client_id);
                may.map_err(|full| Refusal::new(ErrorCode::TooManyReactions, full.to_string()))
            }
            Content::Message { .. }
            | Content::Edit { .. }
            | Content::Deletion { .. }
            | Content::Reaction { removed: true, .. } => Ok(()),
        }
    }

    fn append_change(&mut self, asked: Asked, message: &StoredMessage, as_of: Seq, turn: &mut Turn) {
        let Asked { asker, repeats, room, content, to } = asked;
        let Asker::Client(mut frame) = asker else { return };
        let session = frame.session;
        let Some(participant) = self.participants.get(session) else { return self.go_on(session, turn) };
        let (owner, client_id) = (participant.owner(), participant.name().clone());
        let id = frame.id.as_ref().map(|id| self.ids.key(owner, id));
        self.conclude(&mut frame, Ok(()), turn);
        if let Some(earlier) = id.and_then(|id| self.earlier(&id, Some(session), turn.now)) {
            for asker in [Asker::Client(frame)].into_iter().chain(repeats) {
                self.repeat(asker, earlier.clone(), turn);
            }
            return self.go_on(session, turn);
        }
        // The other copy is there as long as its inbox goes on.
        let peer = message.peer().filter(|peer| message.room.owner() != Some(peer));
        let other = peer.and_then(|peer| self.inboxes.find(peer.as_str()));
        let twin = message.twin.zip(other).filter(|(twin, other)| self.order.position(*other).epoch == twin.epoch);
        let rooms: SmallVec<[RoomId; 2]> = match to {
            Some(_) => [room].into_iter().chain(other).collect(),
            None => [room].into_iter().chain(twin.map(|(_, other)| other)).collect(),
        };
        let is_deletion = matches!(content, Content::Deletion { .. });
        let record = if is_deletion { self.deletion_to_record(session, message) } else { None };
        let first_about = content.refers_to();
        let content = if rooms.len() == 2 { content.about(twin.map(|(twin, _)| twin.seq)) } else { content };
        let to = message.peer().cloned();
        let ticket = frame.ticket.take().unwrap_or_else(|| Ticket::without_credit(turn.now.at));
        let (at, frame_id) = (turn.now.unix_ms, frame.id.clone());
        let draft = Draft { to, client_id, content, at, id: frame_id, owner: Some(owner) };
        let number = self.append(&rooms, Said { draft, first_about, as_of }, id, Asker::Client(frame), ticket, turn);
        if let Some(number) = number {
            if let Some(decision) = record {
                self.in_flight.record(number, decision);
            }
            for asker in repeats {
                self.in_flight.repeat(number, asker);
            }
        }
        self.go_on(session, turn);
    }

    /// Refuses a change.
    pub(super) fn refuse_change(&mut self, asked: Asked, refusal: Refusal, turn: &mut Turn) {
        let Asked { asker, repeats, .. } = asked;
        for asker in repeats {
            refuse_all(asker, Vec::new(), refusal.code, &refusal.message, turn);
        }
        if let Asker::Client(mut frame) = asker {
            let session = frame.session;
            if refusal.code == ErrorCode::Unavailable {
                // It is no fault of the client.
                turn.refuse(&mut frame, refusal);
            } else {
                self.conclude(&mut frame, Err(refusal), turn);
            }
            self.go_on(session, turn);
        }
    }

    /// Carries out the commands of a session that have waited.
    fn go_on(&mut self, session: SessionId, turn: &mut Turn) {
        for command in self.paused.resume(session) {
            // A command that has to wait makes the later ones wait, too.
            self.apply(command, turn);
        }
    }
}
