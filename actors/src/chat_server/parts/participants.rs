//! The connected sessions, and the names that they hold.
//!
//! Invariants:
//! - every session holds one name, and every name that is held has a session;
//! - a name that is not authenticated has one holder; an authenticated name may have several.

use std::sync::Arc;

use smallvec::SmallVec;
use starling_protocol::{ClientId, ClientKey, RoomName, Seq, limits};

use super::parted::PartedMap;
use crate::chat_server::command::OpenRefusal;
use crate::client_address::ClientAddress;
use crate::identity::{Claims, IdOwner, RoomGlobs};
use crate::ids::{RoomId, SessionId};

/// The state of a name that a client may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameClaim {
    /// Nobody holds the name.
    Free,
    /// This older session of the same client holds it.
    HeldByItself(SessionId),
}

/// For some rooms of a session the entry behind which it sees them.
type SeenBehind = SmallVec<[(RoomId, Seq); 1]>;

/// One session that takes part in the chat.
#[derive(Debug)]
pub(crate) struct Participant {
    name: ClientId,
    key: ClientKey,
    /// The namespace of the session's message `id`s. Derived from the name and the key.
    owner: IdOwner,
    /// The claims of its token, where names are authenticated.
    claims: Option<Arc<Claims>>,
    address: ClientAddress,
    /// The inbox of its client, where private messages are kept.
    pub(crate) inbox: Option<RoomId>,
    /// In the order of joining. The first one receives messages that name no room.
    rooms: SmallVec<[RoomId; 1]>,
    /// The entry behind which it sees each of its rooms that has hidden its history meanwhile; usually `None`.
    sees_behind: Option<Box<SeenBehind>>,
    /// Whether the session gets the presence of all its rooms, because a person reads its output.
    pub(crate) watches_presence: bool,
    errors_in_a_row: u32,
}

impl Participant {
    pub(crate) fn new(name: ClientId, key: ClientKey, claims: Option<Arc<Claims>>, address: ClientAddress) -> Self {
        let owner = owner_of_ids(&name, key, claims.is_some());
        Self {
            name,
            key,
            owner,
            claims,
            address,
            inbox: None,
            rooms: SmallVec::new(),
            sees_behind: None,
            watches_presence: false,
            errors_in_a_row: 0,
        }
    }

    pub(crate) fn name(&self) -> &ClientId {
        &self.name
    }

    pub(crate) fn key(&self) -> ClientKey {
        self.key
    }

    /// The namespace of the message `id`s of this session.
    pub(crate) fn owner(&self) -> IdOwner {
        self.owner
    }

    pub(crate) fn is_authenticated(&self) -> bool {
        self.claims.is_some()
    }

    /// Whether it may do what operators do.
    pub(crate) fn is_operator(&self) -> bool {
        self.claims.as_ref().is_some_and(|claims| claims.is_admin)
    }

    /// Whether it may decide about this room as an operator; without a room, about the whole server.
    pub(crate) fn operates(&self, room: Option<&RoomName>) -> bool {
        self.claims.as_ref().is_some_and(|claims| claims.operates(room))
    }

    /// The address that it connects from.
    pub(crate) fn address(&self) -> ClientAddress {
        self.address
    }

    /// The rooms that the session may join and read.
    pub(crate) fn allowed_rooms(&self) -> &RoomGlobs {
        self.claims.as_ref().map_or(&RoomGlobs::ALL, |claims| &claims.rooms)
    }

    /// The rooms it is in, in the order of joining.
    pub(crate) fn rooms(&self) -> &[RoomId] {
        &self.rooms
    }

    pub(crate) fn is_in(&self, room: RoomId) -> bool {
        self.rooms.contains(&room)
    }

    pub(crate) fn enter(&mut self, room: RoomId) {
        self.rooms.push(room);
    }

    pub(crate) fn leave(&mut self, room: RoomId) {
        self.rooms.retain(|other| *other != room);
        if let Some(rooms) = &mut self.sees_behind {
            rooms.retain(|(other, _)| *other != room);
        }
    }

    /// The entry behind which it sees a room, if that was [noted](Self::see_behind) while it was there.
    pub(crate) fn sees_behind(&self, room: RoomId) -> Option<Seq> {
        self.sees_behind.as_ref()?.iter().find(|(of, _)| *of == room).map(|(_, since)| *since)
    }

    /// Notes that it sees one of its rooms behind this entry, or behind an earlier one that was noted before.
    pub(crate) fn see_behind(&mut self, room: RoomId, since: Seq) {
        let rooms = self.sees_behind.get_or_insert_default();
        match rooms.iter_mut().find(|(of, _)| *of == room) {
            Some((_, known)) => *known = since.min(*known),
            None => rooms.push((room, since)),
        }
    }
}

fn owner_of_ids(name: &ClientId, key: ClientKey, is_authenticated: bool) -> IdOwner {
    if is_authenticated { IdOwner::authenticated(name) } else { IdOwner::keyed(name, key) }
}

/// Counts an error, or resets the count if the frame was none. Returns whether the limit is reached.
pub(crate) fn count_errors(errors_in_a_row: &mut u32, is_error: bool) -> bool {
    *errors_in_a_row = if is_error { *errors_in_a_row + 1 } else { 0 };
    *errors_in_a_row >= limits::ERRORS_IN_A_ROW_MAX
}

/// All sessions that take part, and the names they hold.
#[derive(Debug, Default)]
pub(crate) struct Participants {
    sessions: BySession<Participant>,
    holders: PartedMap<ClientId, SmallVec<[SessionId; 1]>>,
}

impl Participants {
    pub(crate) fn get(&self, session: SessionId) -> Option<&Participant> {
        self.sessions.get(session)
    }

    pub(crate) fn get_mut(&mut self, session: SessionId) -> Option<&mut Participant> {
        self.sessions.get_mut(session)
    }

    pub(crate) fn contains(&self, session: SessionId) -> bool {
        self.sessions.get(session).is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The sessions that hold a name, the oldest first.
    pub(crate) fn holders(&self, name: &ClientId) -> &[SessionId] {
        self.holders.get(name).map_or(&[], |holders| holders)
    }

    /// Adds a session, which then holds its name.
    pub(crate) fn add(&mut self, session: SessionId, participant: Participant) {
        self.hold(&participant.name, session);
        self.sessions.insert(session, participant);
    }

    /// Removes a session and frees its name.
    pub(crate) fn remove(&mut self, session: SessionId) -> Option<Participant> {
        let participant = self.sessions.remove(session)?;
        self.free(&participant.name, session);
        Some(participant)
    }

    fn hold(&mut self, name: &ClientId, session: SessionId) {
        match self.holders.get_mut(name) {
            Some(holders) => holders.push(session),
            None => self.holders.insert(name.clone(), SmallVec::from_elem(session, 1)),
        }
    }

    fn free(&mut self, name: &ClientId, session: SessionId) {
        if let Some(holders) = self.holders.get_mut(name) {
            holders.retain(|holder| *holder != session);
            if holders.is_empty() {
                self.holders.remove(name);
            }
        }
    }

    /// Renames a session, and replaces its key if a new one was shown. Returns the old name.
    pub(crate) fn rename(&mut self, session: SessionId, name: &ClientId, key: Option<ClientKey>) -> Option<ClientId> {
        let participant = self.sessions.get_mut(session)?;
        let old = std::mem::replace(&mut participant.name, name.clone());
        participant.key = key.unwrap_or(participant.key);
        participant.owner = owner_of_ids(name, participant.key, participant.is_authenticated());
        self.free(&old, session);
        self.hold(name, session);
        Some(old)
    }

    /// Replaces the claims of a session by those of a newer token.
    pub(crate) fn prove_again(&mut self, session: SessionId, claims: &Arc<Claims>) {
        if let Some(participant) = self.sessions.get_mut(session) {
            participant.claims = Some(Arc::clone(claims));
        }
    }

    /// Whether a client that shows `key` may have `name`.
    ///
    /// # Errors
    /// [`OpenRefusal::NameTaken`] if another client holds the name, [`OpenRefusal::NameReserved`] if it is a guest
    /// name.
    pub(crate) fn check_claim(&self, name: &ClientId, key: Option<ClientKey>) -> Result<NameClaim, OpenRefusal> {
        let holder = self.holders(name).first().copied();
        let holds_key = holder.is_some_and(|holder| self.get(holder).is_some_and(|held| Some(held.key) == key));
        match holder {
            Some(holder) if holds_key => Ok(NameClaim::HeldByItself(holder)),
            None if !name.is_guest() => Ok(NameClaim::Free),
            Some(_) | None if name.is_guest() => Err(OpenRefusal::NameReserved),
            Some(_) | None => Err(OpenRefusal::NameTaken(name.clone())),
        }
    }

    /// The session that holds this name with this key.
    pub(crate) fn holder_with_key(&self, name: &ClientId, key: Option<ClientKey>) -> Option<SessionId> {
        let mut holders = self.holders(name).iter();
        holders.find(|holder| self.get(**holder).is_some_and(|held| Some(held.key) == key)).copied()
    }

    /// Whether another session of the same client is in the room.
    pub(crate) fn has_another_in(&self, session: SessionId, name: &ClientId, room: RoomId) -> bool {
        let others = self.holders(name).iter().filter(|other| **other != session);
        others.filter_map(|other| self.get(*other)).any(|other| other.is_in(room))
    }

    /// Counts the outcome of a frame. Returns whether the session has reached the limit of consecutive errors. `None`:
    /// it does not take part.
    pub(crate) fn count_errors(&mut self, session: SessionId, is_error: bool) -> Option<bool> {
        self.sessions.get_mut(session).map(|it| count_errors(&mut it.errors_in_a_row, is_error))
    }

    /// Panics if an invariant of this module does not hold. For tests.
    pub(crate) fn check(&self) {
        for (session, participant) in self.sessions.iter() {
            let owner = owner_of_ids(&participant.name, participant.key, participant.is_authenticated());
            assert_eq!(participant.owner, owner, "the owner of {session:?} is that of its name and key");
            let holders = self.holders(&participant.name);
            assert_eq!(holders.iter().filter(|holder| **holder == session).count(), 1, "the name of {session:?}");
            assert!(
                holders.len() == 1 || participant.is_authenticated(),
                "a name that anybody may take has one holder"
            );
        }
        let held: usize = self.holders.values().map(SmallVec::len).sum();
        assert_eq!(held, self.sessions.len(), "every session holds one name");
        assert!(self.holders.values().all(|holders| !holders.is_empty()), "every name that is held has a session");
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SessionId, &Participant)> {
        self.sessions.iter()
    }
}

/// Values by session, each in the slot that the session's id names: its hub's, and there its own.
///
/// A hub reuses a slot after its session has ended, so the table is dense: a lookup computes no hash, and the table is
/// never larger than the highest number of sessions at one time.
#[derive(Debug)]
struct BySession<T> {
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
    fn get(&self, session: SessionId) -> Option<&T> {
        let slot = self.slots.get(usize::from(session.hub().0))?.get(session.slot().index())?.as_ref();
        slot.filter(|(id, _)| *id == session).map(|(_, value)| value)
    }

    fn get_mut(&mut self, session: SessionId) -> Option<&mut T> {
        let slot = self.slots.get_mut(usize::from(session.hub().0))?.get_mut(session.slot().index())?;
        slot.as_mut().filter(|(id, _)| *id == session).map(|(_, value)| value)
    }

    /// Adds a session. The previous session in its slot must have been [removed](Self::remove): a hub reuses a slot
    /// only after it has reported the end of that session (INV-9).
    fn insert(&mut self, session: SessionId, value: T) {
        let (hub, slot) = (usize::from(session.hub().0), session.slot().index());
        if self.slots.len() <= hub {
            self.slots.resize_with(hub + 1, Vec::new);
        }
        let Some(slots) = self.slots.get_mut(hub) else { return };
        if slots.len() <= slot {
            slots.resize_with(slot + 1, || None);
        }
        let Some(entry) = slots.get_mut(slot) else { return };
        let earlier = entry.replace((session, value));
        debug_assert!(earlier.is_none(), "a slot is reused only after its session has ended");
        self.count += usize::from(earlier.is_none());
    }

    fn remove(&mut self, session: SessionId) -> Option<T> {
        let entry = self.slots.get_mut(usize::from(session.hub().0))?.get_mut(session.slot().index())?;
        let (_, value) = entry.take_if(|(id, _)| *id == session)?;
        self.count -= 1;
        Some(value)
    }

    fn len(&self) -> usize {
        self.count
    }

    fn iter(&self) -> impl Iterator<Item = (SessionId, &T)> {
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
