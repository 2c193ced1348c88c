//! Notifies the watchers of a room about clients that have joined and left.

use starling_protocol::{ClientId, PresenceEvent, ServerEvent};

use super::ChatState;
use crate::chat_server::effect::{Effect, Turn};
use crate::chat_server::parts::room::Room;
use crate::ids::{RoomId, SessionId};

impl ChatState {
    /// Starts or stops watching all rooms of a session for it.
    pub(super) fn watch_presence(&mut self, session: SessionId, wanted: bool) {
        self.proofs.watch_presence(session, wanted);
        let Some(participant) = self.participants.get_mut(session) else { return };
        participant.watches_presence = wanted;
        for room in participant.rooms() {
            self.presence.watch(session, *room, wanted);
        }
    }

    pub(super) fn note_presence(
        &mut self,
        room: RoomId,
        joined: Option<&ClientId>,
        left: Option<&ClientId>,
        turn: &mut Turn,
    ) {
        self.presence.note(room, joined, left);
        self.tell_presence(room, turn);
    }

    pub(super) fn tell_presence(&mut self, room: RoomId, turn: &mut Turn) {
        let count = self.rooms.get(room).map_or(0, Room::count);
        let Some(changes) = self.presence.take(room, count, turn.now.at) else { return };
        let Some(name) = self.rooms.get(room).and_then(|room| room.key().room()) else { return };
        let event = PresenceEvent { room: name.clone(), joined: changes.joined, left: changes.left, count };
        turn.push(Effect::TellMany { sessions: changes.watchers, event: Box::new(ServerEvent::Presence(event)) });
    }
}
