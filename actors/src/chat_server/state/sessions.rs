//! The sessions of the chat, each in the place that its id names: its hub, and its slot there.
//!
//! A hub gives a slot again when its session has ended, so the places stand close together: no hash is computed for a
//! command, and no room is kept for more sessions than there ever were at a time.

use super::Member;
use crate::ids::SessionId;

/// All sessions. At most one is in a slot at a time.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// By the hub's number, then by slot.
    slots: Vec<Vec<Option<(SessionId, Member)>>>,
    count: usize,
}

impl Sessions {
    fn slot(&self, session: SessionId) -> Option<&(SessionId, Member)> {
        self.slots.get(usize::from(session.hub().0))?.get(session.slot() as usize)?.as_ref()
    }

    pub(super) fn get(&self, session: SessionId) -> Option<&Member> {
        self.slot(session).filter(|(id, _)| *id == session).map(|(_, member)| member)
    }

    pub(super) fn get_mut(&mut self, session: SessionId) -> Option<&mut Member> {
        let slot = self.slots.get_mut(usize::from(session.hub().0))?.get_mut(session.slot() as usize)?;
        slot.as_mut().filter(|(id, _)| *id == session).map(|(_, member)| member)
    }

    pub(super) fn contains_key(&self, session: SessionId) -> bool {
        self.get(session).is_some()
    }

    /// Adds a session. Whoever had its slot before has been [removed](Self::remove): a hub gives a slot again after it
    /// has said so (INV-9).
    pub(super) fn insert(&mut self, session: SessionId, member: Member) {
        let (hub, slot) = (usize::from(session.hub().0), session.slot() as usize);
        if self.slots.len() <= hub {
            self.slots.resize_with(hub + 1, Vec::new);
        }
        let Some(slots) = self.slots.get_mut(hub) else { return };
        if slots.len() <= slot {
            slots.resize_with(slot + 1, || None);
        }
        let Some(place) = slots.get_mut(slot) else { return };
        let earlier = place.replace((session, member));
        debug_assert!(earlier.is_none(), "a slot is given again when its session has ended");
        self.count += usize::from(earlier.is_none());
    }

    pub(super) fn remove(&mut self, session: SessionId) -> Option<Member> {
        let place = self.slots.get_mut(usize::from(session.hub().0))?.get_mut(session.slot() as usize)?;
        let (_, member) = place.take_if(|(id, _)| *id == session)?;
        self.count -= 1;
        Some(member)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&SessionId, &Member)> {
        self.slots.iter().flatten().flatten().map(|(session, member)| (session, member))
    }
}

#[cfg(test)]
mod tests {
    use smallvec::SmallVec;
    use starling_protocol::{ClientId, ClientKey};

    use super::*;
    use crate::identity::IdOwner;
    use crate::ids::HubId;

    fn member(name: &str) -> Member {
        Member {
            client_id: ClientId::parse(name).unwrap(),
            key: ClientKey(0),
            owner: IdOwner(0),
            claims: None,
            proven_until: None,
            inbox: None,
            rooms: SmallVec::new(),
            watch_presence: false,
            errors_in_a_row: 0,
        }
    }

    #[test]
    fn who_has_a_slot_again_is_not_taken_for_who_had_it_before() {
        let (earlier, later) = (SessionId::new(HubId(2), 5, 1), SessionId::new(HubId(2), 5, 2));
        let mut sessions = Sessions::default();
        sessions.insert(earlier, member("alice"));
        assert!(sessions.remove(earlier).is_some() && sessions.remove(earlier).is_none());
        sessions.insert(later, member("bob"));
        assert!(sessions.get(earlier).is_none() && sessions.get_mut(earlier).is_none());
        assert!(sessions.remove(earlier).is_none() && sessions.contains_key(later));
        assert_eq!((sessions.len(), sessions.iter().count()), (1, 1));
    }
}
