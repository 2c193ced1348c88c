//! The invariants that involve several parts, for tests.

use std::collections::HashSet;

use super::ChatState;
use crate::chat_server::parts::participants::Participant;
use crate::history::RoomKey;

impl ChatState {
    /// Panics if an invariant does not hold. For tests.
    #[doc(hidden)]
    pub fn check(&self) {
        self.participants.check();
        self.rooms.check();
        self.positions.check();
        let proven = self.participants.iter().filter(|(_, participant)| participant.is_authenticated()).count();
        self.proofs.check(proven, |session| self.participants.contains(session));
        for (session, participant) in self.participants.iter() {
            let keeps_private = participant.is_authenticated() && self.config.private_is_kept;
            assert_eq!(participant.inbox.is_some(), keeps_private, "{session:?}");
            for room in participant.rooms().iter().chain(&participant.inbox) {
                let is_member =
                    self.rooms.get(*room).is_some_and(|room| room.members().any(|member| member == session));
                assert!(is_member, "{session:?} is in {room:?}");
            }
        }
        for (id, room) in self.rooms.iter().filter(|(_, room)| !room.has_ended()) {
            if let RoomKey::Inbox(owner) = room.key() {
                assert_eq!(self.inboxes.find(owner.as_str()), Some(id), "an inbox has its owner");
            }
            let mut clients = HashSet::new();
            for session in room.members() {
                let participant = self.participants.get(session);
                let is_in = participant.is_some_and(|it| it.is_in(id) || it.inbox == Some(id));
                assert!(is_in, "{session:?} takes part and knows that it is in {id:?}");
                let name = participant.map(Participant::name);
                assert!(room.key().owner().is_none_or(|owner| name == Some(owner)), "its own inbox");
                clients.insert(name);
            }
            if room.key().room().is_some() {
                let own = self.cluster.as_ref().map(|cluster| cluster.life());
                let others = own.into_iter().flat_map(|own| room.elsewhere(own));
                let others = others.filter(|name| !clients.contains(&Some(*name))).count();
                assert_eq!(room.count() as usize, clients.len() + others, "a client is counted once");
            }
            let names = self.cluster.as_ref().map(|cluster| &cluster.names);
            for (name, node) in room.present().flat_map(|(name, nodes)| nodes.iter().map(move |node| (name, node))) {
                let holds_name = names.is_some_and(|names| names.is_held_on(name, node.life));
                assert_eq!(node.holds_name, holds_name, "a member of a room holds its name: {name} in {}", room.key());
            }
        }
        for (session, room) in self.catching_up.all() {
            let participant = self.participants.get(session);
            let is_member = participant.is_some_and(|it| it.is_in(room) || it.inbox == Some(room));
            assert!(is_member, "a session that catches up is a member");
        }
    }
}
