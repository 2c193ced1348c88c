//! Notifies the others of a room, or the receiver of a private message, that a client types.

use starling_protocol::{ClientId, ErrorCode, Refusal, ServerEvent, Target, TypingEvent, limits};

use super::ChatState;
use super::direct::nobody;
use crate::chat_server::effect::{Effect, NodeEffect, Turn};
use crate::chat_server::parts::participants::Participant;
use crate::chat_server::parts::room::Room;
use crate::chat_server::parts::typing::{Place, Typists};
use crate::ids::{RoomId, SessionId};
use crate::nodes::typing::{TypedAt, TypingNotice};

impl ChatState {
    /// Handles a client's `typing`.
    ///
    /// # Errors
    /// The connection may not write in the room, or not to the client.
    pub(super) fn is_typing(&mut self, session: SessionId, target: Target, turn: &mut Turn) -> Result<(), Refusal> {
        let place = match target {
            Target::FirstRoom => Place::Room(self.first_room(session)?),
            Target::Room(name) => Place::Room(self.own_room(session, &name)?),
            Target::Client(to) => Place::Client(to),
        };
        let room = if let Place::Room(room) = &place { Some(*room) } else { None };
        self.check_speech(session, None, room, turn)?;
        room.map_or(Ok(()), |room| self.check_writer(session, room))?;
        let Some(name) = self.participants.get(session).map(Participant::name).cloned() else { return Ok(()) };
        let at = match &place {
            Place::Room(room) => {
                let told = self.rooms.get(*room).filter(|room| is_told(room));
                told.and_then(|room| room.key().room().cloned()).map(TypedAt::Room)
            }
            Place::Client(to) => {
                self.check_told(session, &name, to, turn)?;
                Some(TypedAt::Client(to.clone()))
            }
        };
        let Some(at) = at else { return Ok(()) };
        if !self.typing.counts(session, &place, turn.now.at) {
            return Ok(());
        }
        let notice = TypingNotice { client_id: name, at };
        if self.cluster.is_some() {
            // It comes back like those of other nodes.
            turn.push(Effect::Node(NodeEffect::Typing(notice)));
        } else {
            self.tell_typing(notice, turn);
        }
        Ok(())
    }

    /// Whether a session may tell a client that it types: a client that it may write to.
    fn check_told(&self, session: SessionId, own: &ClientId, to: &ClientId, turn: &mut Turn) -> Result<(), Refusal> {
        if self.participants.get(session).is_some_and(|participant| participant.inbox.is_some()) {
            return self.check_inbox_to_write_to(own, to, turn);
        }
        let is_there = match &self.cluster {
            Some(cluster) => !cluster.names.holders(to).is_empty(),
            None => !self.participants.holders(to).is_empty(),
        };
        if is_there { Ok(()) } else { Err(Refusal::new(ErrorCode::NoSuchClient, nobody(to))) }
    }

    /// Notifies the clients of this node that a client of any node types.
    pub(super) fn tell_typing(&mut self, notice: TypingNotice, turn: &mut Turn) {
        let TypingNotice { client_id, at } = notice;
        match at {
            TypedAt::Room(name) => {
                let room = self.rooms.find(name.as_str());
                let typists = room.and_then(|room| self.typing.note(room, client_id, turn.now.at));
                if let Some((room, typists)) = room.zip(typists) {
                    self.tell_typists(room, typists, turn);
                }
            }
            TypedAt::Client(to) if to == client_id => {}
            TypedAt::Client(to) => {
                let sessions = self.participants.holders(&to).to_vec();
                let names = vec![client_id.clone()];
                let event = TypingEvent { room: None, from: Some(client_id), client_ids: names, more: false };
                tell(sessions, event, turn);
            }
        }
    }

    /// Notifies the members of the rooms whose second is over.
    pub(super) fn tell_typing_of_a_second(&mut self, turn: &mut Turn) {
        for (room, typists) in self.typing.take_due(turn.now.at) {
            self.tell_typists(room, typists, turn);
        }
    }

    fn tell_typists(&self, room: RoomId, Typists { names, more }: Typists, turn: &mut Turn) {
        let Some((room, key)) = self.rooms.get(room).filter(|room| is_told(room)).map(|room| (room, room.key())) else {
            return;
        };
        // A client that types alone is told nothing.
        let alone = match names.as_slice() {
            [name] => self.participants.holders(name),
            _ => &[],
        };
        let sessions = room.members().filter(|member| !alone.contains(member)).collect();
        tell(sessions, TypingEvent { room: key.room().cloned(), from: None, client_ids: names, more }, turn);
    }
}

/// Whether the members of a room are told who types: it has not too many.
fn is_told(room: &Room) -> bool {
    room.count() <= limits::TYPING_MEMBERS_MAX
}

fn tell(sessions: Vec<SessionId>, event: TypingEvent, turn: &mut Turn) {
    if !sessions.is_empty() {
        turn.push(Effect::TellMany { sessions, event: Box::new(ServerEvent::Typing(event)) });
    }
}
