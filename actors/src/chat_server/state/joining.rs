//! Joining and leaving rooms, and the list of members.

use std::collections::BTreeSet;

use starling_protocol::{ClientId, Epoch, ErrorCode, MembersEvent, Refusal, Resume, RoomName, ServerEvent, limits};

use super::ChatState;
use crate::chat_server::command::Frame;
use crate::chat_server::effect::Turn;
use crate::chat_server::parts::participants::Participant;
use crate::chat_server::parts::room::Room;
use crate::ids::{RoomId, SessionId};
use crate::metrics::Limit;

impl ChatState {
    /// The room of this name, if the session is in it.
    pub(super) fn own_room(&self, session: SessionId, name: &RoomName) -> Result<RoomId, Refusal> {
        let participant = self.participants.get(session);
        let room = self.rooms.find(name.as_str()).filter(|room| participant.is_some_and(|it| it.is_in(*room)));
        room.ok_or_else(|| Refusal::new(ErrorCode::NotAMember, format!("you are not in the room {name}")))
    }

    pub(super) fn join(
        &mut self,
        frame: &mut Frame,
        name: &RoomName,
        resume: Option<Resume>,
        presence: bool,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let session = frame.session;
        self.permit(session, name, turn)?;
        let known = self.rooms.find(name.as_str());
        let (rooms, was_member) = self.participants.get(session).map_or((0, false), |participant| {
            (participant.rooms().len(), known.is_some_and(|room| participant.is_in(room)))
        });
        if !was_member && rooms >= self.config.rooms_per_session as usize {
            turn.refused_by(Limit::RoomsPerClient);
            let text = format!("you are in {rooms} rooms: room limit per connection reached");
            return Err(Refusal::new(ErrorCode::TooManyRooms, text));
        }
        let room = self.find_or_make_room(name, turn)?;
        self.enter(session, room, presence, turn);
        self.resume(frame, room, resume, was_member, turn);
        Ok(())
    }

    /// Makes a session a member of a room, without admitting it to live messages.
    pub(super) fn enter(&mut self, session: SessionId, room: RoomId, presence: bool, turn: &mut Turn) {
        let Some(participant) = self.participants.get_mut(session) else { return };
        let wanted = presence || participant.watches_presence;
        if participant.is_in(room) {
            return self.presence.watch(session, room, wanted);
        }
        participant.enter(room);
        let name = participant.name().clone();
        let is_further = self.participants.has_another_in(session, &name, room);
        self.rooms.enter(room, session, is_further);
        if !is_further {
            self.enter_in_log(room, &name);
            if self.is_elsewhere(room, &name) {
                self.rooms.is_here_too(room, true);
            } else {
                // Noted before it watches: a newcomer learns of itself from `joined`, not from `presence`.
                self.note_presence(room, Some(&name), None, turn);
            }
        }
        if wanted {
            self.presence.watch(session, room, true);
        }
        self.note_arrival(session, room, turn);
    }

    pub(super) fn leave(&mut self, frame: &mut Frame, name: &RoomName, turn: &mut Turn) -> Result<(), Refusal> {
        let session = frame.session;
        let room = self.own_room(session, name)?;
        self.go_out(session, room, turn);
        let id = frame.id.take();
        turn.answer(frame, ServerEvent::Left { id, room: name.clone() });
        Ok(())
    }

    /// Takes a session out of a room that it is in.
    pub(super) fn go_out(&mut self, session: SessionId, room: RoomId, turn: &mut Turn) {
        self.answer_without_anchor(session, room, turn);
        let Some(participant) = self.participants.get_mut(session) else { return };
        participant.leave(room);
        let client_id = participant.name().clone();
        turn.dismiss(session, room);
        self.remove_from_room(session, &client_id, room, turn);
    }

    /// Removes a session from a room that is no longer in the session's own list.
    pub(super) fn remove_from_room(&mut self, session: SessionId, client_id: &ClientId, room: RoomId, turn: &mut Turn) {
        self.catching_up.forget(session, room);
        self.presence.watch(session, room, false);
        let was_further = self.participants.has_another_in(session, client_id, room);
        self.rooms.leave(room, session, was_further, turn.now.at);
        if !was_further {
            self.leave_in_log(room, Some(client_id));
            if self.is_elsewhere(room, client_id) {
                self.rooms.is_here_too(room, false);
            } else {
                self.note_presence(room, None, Some(client_id), turn);
            }
        }
    }

    /// Notifies the other nodes that a client has its first connection of this node in a room.
    pub(super) fn enter_in_log(&mut self, room: RoomId, name: &ClientId) {
        if self.cluster.is_none() {
            return;
        }
        // If the room is dropped before the log has this entry, the room begins anew.
        let epoch = Epoch(self.numbers.draw());
        if let Some((cluster, room)) = self.cluster.as_mut().zip(self.rooms.get(room)) {
            cluster.enter(room.key(), name, epoch);
        }
    }

    /// Notifies the other nodes that a client has no connection of this node in a room any more. `None`: the owner of
    /// an inbox.
    pub(super) fn leave_in_log(&mut self, room: RoomId, name: Option<&ClientId>) {
        if let Some((cluster, room)) = self.cluster.as_mut().zip(self.rooms.get(room))
            && let Some(name) = name.or(room.key().owner())
        {
            cluster.leave(room.key(), name);
        }
    }

    /// Whether a client is in a room on another node.
    fn is_elsewhere(&self, room: RoomId, name: &ClientId) -> bool {
        let Some((cluster, room)) = self.cluster.as_ref().zip(self.rooms.get(room)) else { return false };
        room.is_elsewhere(name, cluster.life())
    }

    /// The number of clients in a room; of an inbox, the number of its owner's connections. With other nodes on all of them.
    pub(super) fn count_in(&self, room: RoomId) -> u32 {
        let Some(room) = self.rooms.get(room) else { return 0 };
        match self.cluster.as_ref().zip(room.key().owner()) {
            Some((cluster, owner)) => u32::try_from(cluster.names.holders(owner).len()).unwrap_or(u32::MAX),
            None => room.count(),
        }
    }

    pub(super) fn tell_members(&self, frame: &mut Frame, name: &RoomName, turn: &mut Turn) -> Result<(), Refusal> {
        self.permit(frame.session, name, turn)?;
        let room = self.lobby_or_existing_room(name)?.and_then(|room| self.rooms.get(room));
        let count = room.map_or(0, Room::count);
        let here = room.into_iter().flat_map(Room::members).filter_map(|member| self.participants.get(member));
        let own = self.cluster.as_ref().map(|cluster| cluster.life());
        let elsewhere = room.zip(own).into_iter().flat_map(|(room, own)| room.elsewhere(own));
        let mut listed = BTreeSet::new();
        for name in here.map(Participant::name).chain(elsewhere) {
            if listed.len() == limits::MEMBERS_LISTED_MAX {
                break;
            }
            listed.insert(name);
        }
        let client_ids: Vec<ClientId> = listed.into_iter().cloned().collect();
        let truncated = count as usize > client_ids.len();
        let id = frame.id.take();
        turn.answer(frame, ServerEvent::Members(MembersEvent { id, room: name.clone(), count, client_ids, truncated }));
        Ok(())
    }
}
