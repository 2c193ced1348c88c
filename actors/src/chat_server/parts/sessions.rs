//! A table by session: each value stands in the slot that the session's id names, its hub's and its own there.
//!
//! A hub gives a slot again when its session has ended, so the slots stand close together: no hash is computed for a
//! command, and the table is never larger than the most sessions that there were at a time.

use crate::ids::SessionId;

/// Values by session. At most one session is in a slot at a time.
#[derive(Debug)]
pub(crate) struct BySession<T> {
    /// By the hub's number, then by slot.
    slots: Vec<Vec<Option<(SessionId, T)>>>,
    count: usize,
}

impl<T> Default for BySession<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), count: 0 }
    }
}

impl<T> BySession<T> {
    pub(crate) fn get(&self, session: SessionId) -> Option<&T> {
        let slot = self.slots.get(usize::from(session.hub().0))?.get(session.slot().index())?.as_ref();
        slot.filter(|(id, _)| *id == session).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, session: SessionId) -> Option<&mut T> {
        let slot = self.slots.get_mut(usize::from(session.hub().0))?.get_mut(session.slot().index())?;
        slot.as_mut().filter(|(id, _)| *id == session).map(|(_, value)| value)
    }

    /// Adds a session. The one that had its slot before has been [removed](Self::remove): a hub gives a slot again only
    /// after it has said that its session has ended (INV-9).
    pub(crate) fn insert(&mut self, session: SessionId, value: T) {
        let (hub, slot) = (usize::from(session.hub().0), session.slot().index());
        if self.slots.len() <= hub {
            self.slots.resize_with(hub + 1, Vec::new);
        }
        let Some(slots) = self.slots.get_mut(hub) else { return };
        if slots.len() <= slot {
            slots.resize_with(slot + 1, || None);
        }
        let Some(place) = slots.get_mut(slot) else { return };
        let earlier = place.replace((session, value));
        debug_assert!(earlier.is_none(), "a slot is given again when its session has ended");
        self.count += usize::from(earlier.is_none());
    }

    pub(crate) fn remove(&mut self, session: SessionId) -> Option<T> {
        let place = self.slots.get_mut(usize::from(session.hub().0))?.get_mut(session.slot().index())?;
        let (_, value) = place.take_if(|(id, _)| *id == session)?;
        self.count -= 1;
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SessionId, &T)> {
        self.slots.iter().flatten().flatten().map(|(session, value)| (*session, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::HubId;

    #[test]
    fn who_has_a_slot_again_is_not_taken_for_who_had_it_before() {
        let (earlier, later) = (SessionId::new(HubId(2), 5, 1), SessionId::new(HubId(2), 5, 2));
        let mut sessions = BySession::default();
        sessions.insert(earlier, "alice");
        assert!(sessions.remove(earlier).is_some() && sessions.remove(earlier).is_none());
        sessions.insert(later, "bob");
        assert!(sessions.get(earlier).is_none() && sessions.get_mut(earlier).is_none());
        assert!(sessions.remove(earlier).is_none() && sessions.get(later) == Some(&"bob"));
        assert_eq!((sessions.len(), sessions.iter().count()), (1, 1));
    }
}
