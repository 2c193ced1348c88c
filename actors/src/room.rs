//! One room as the `ChatServer` holds it: who is in it, how far it has come, who wants to know who comes and goes.
//!
//! An inbox, in which a client's private messages are kept, is a room too: its members are the client's connections.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashSet;
use starling_protocol::{ClientId, Epoch, MessageId, PresenceEvent, Refusal, Resume, Seq, limits};
use tokio::sync::oneshot;

use crate::chat_server::command::{DropReply, Posted};
use crate::credits::Ticket;
use crate::history::{RoomKey, StoredMessage};
use crate::ids::{HubId, HubSet, SessionId};

/// `presence` of one room comes at most this often.
pub(crate) const PRESENCE_INTERVAL: Duration = Duration::from_secs(1);

/// A message that has its place and waits to be stored.
#[derive(Debug)]
pub(crate) struct PendingMessage {
    pub(crate) message: Arc<StoredMessage>,
    /// Who wants to know what becomes of it, the sender first.
    pub(crate) acks: Vec<PendingAck>,
    pub(crate) ticket: Ticket,
}

#[derive(Debug)]
pub(crate) struct PendingAck {
    pub(crate) asker: Asker,
    /// Without it only a failure is told.
    pub(crate) id: Option<MessageId>,
    /// Whether it is a repetition.
    pub(crate) duplicate: bool,
}

/// Who has sent a message.
#[derive(Debug)]
pub(crate) enum Asker {
    Session(SessionId),
    /// An operator, over HTTP.
    Operator(oneshot::Sender<Result<Posted, Refusal>>),
}

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) key: RoomKey,
    pub(crate) epoch: Epoch,
    /// The newest message that is stored and delivered.
    pub(crate) seq: Seq,
    /// The oldest message that the history keeps; one past `seq` where it keeps none.
    pub(crate) oldest: Seq,
    /// Messages that have their place after `seq`, in order, and wait to be stored.
    pub(crate) pending: VecDeque<PendingMessage>,
    members: FxHashSet<SessionId>,
    /// How many members are further connections of a client that is here already.
    pub(crate) doubles: u32,
    /// Of an inbox: the newest message that its owner was sent, and the one up to which that is noted.
    pub(crate) delivered: Seq,
    pub(crate) delivered_noted: Seq,
    /// How many members each hub has, by its number.
    members_by_hub: Vec<u32>,
    hubs: HubSet,
    /// Whether it has ended: nobody finds it, and it is forgotten when nothing of it waits to be stored.
    pub(crate) ends: bool,
    /// The operator who dropped it.
    pub(crate) drop_reply: Option<DropReply>,
    /// Since when nobody is in the room.
    pub(crate) empty_since: Option<Instant>,
    presence: Presence,
}

impl Room {
    pub(crate) fn new(key: RoomKey, epoch: Epoch, now: Instant) -> Self {
        Self {
            key,
            epoch,
            seq: Seq(0),
            oldest: Seq(1),
            pending: VecDeque::new(),
            members: FxHashSet::default(),
            doubles: 0,
            delivered: Seq(0),
            delivered_noted: Seq(0),
            members_by_hub: Vec::new(),
            hubs: HubSet::default(),
            ends: false,
            drop_reply: None,
            empty_since: Some(now),
            presence: Presence::default(),
        }
    }

    /// The place of the next message.
    pub(crate) fn next_seq(&self) -> Seq {
        self.pending.back().map_or(self.seq, |pending| pending.message.seq).next()
    }

    pub(crate) fn insert(&mut self, session: SessionId) {
        if !self.members.insert(session) {
            return;
        }
        self.empty_since = None;
        let hub = usize::from(session.hub().0);
        if self.members_by_hub.len() <= hub {
            self.members_by_hub.resize(hub + 1, 0);
        }
        if let Some(count) = self.members_by_hub.get_mut(hub) {
            *count += 1;
        }
        self.hubs.insert(session.hub());
    }

    pub(crate) fn remove(&mut self, session: SessionId, now: Instant) {
        if !self.members.remove(&session) {
            return;
        }
        self.presence.watchers.remove(&session);
        if self.members.is_empty() {
            self.empty_since = Some(now);
        }
        let HubId(hub) = session.hub();
        if let Some(count) = self.members_by_hub.get_mut(usize::from(hub)) {
            *count -= 1;
            if *count == 0 {
                self.hubs.remove(session.hub());
            }
        }
    }

    /// How many clients are in the room.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX).saturating_sub(self.doubles)
    }

    /// How many messages the history keeps of it.
    pub(crate) fn kept_messages(&self) -> u64 {
        (self.seq.0 + 1).saturating_sub(self.oldest.0)
    }

    /// Whether nobody is in it and nothing was said in it.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_empty() && self.seq == Seq(0) && self.pending.is_empty()
    }

    /// Whether no connection is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.members.iter().copied()
    }

    /// The hubs that have members of this room.
    pub(crate) fn hubs(&self) -> HubSet {
        self.hubs
    }

    /// Whether all messages after the one that a client goes on from are kept, as far as seq and epoch tell.
    pub(crate) fn can_recover(&self, from: Resume) -> bool {
        from.epoch == Some(self.epoch) && self.keeps_all_after(from.after)
    }

    fn keeps_all_after(&self, seq: Seq) -> bool {
        seq <= self.seq && seq.next() >= self.oldest
    }

    pub(crate) fn watch(&mut self, session: SessionId, wanted: bool) {
        if wanted {
            let is_new = self.presence.watchers.insert(session);
            self.presence.is_seen_between |= is_new && self.presence.changed;
        } else {
            self.presence.watchers.remove(&session);
        }
    }

    /// Notes who came or went. Nothing is noted where nobody watches.
    pub(crate) fn note_presence(&mut self, joined: Option<&ClientId>, left: Option<&ClientId>) {
        if !self.presence.watchers.is_empty() {
            self.presence.note(joined, left);
        }
    }

    /// The `presence` that is due and who gets it; then none is due for a second.
    pub(crate) fn take_presence(&mut self, now: Instant) -> PresenceDue {
        let count = self.count();
        let presence = &mut self.presence;
        if !presence.changed {
            return PresenceDue::Nothing;
        }
        if presence.last_sent.is_some_and(|last| now.saturating_duration_since(last) < PRESENCE_INTERVAL) {
            return PresenceDue::Later;
        }
        presence.changed = false;
        presence.is_seen_between = false;
        let (joined, left) = (std::mem::take(&mut presence.joined).names, std::mem::take(&mut presence.left).names);
        let says_nothing = joined.is_empty() && left.is_empty() && presence.last_count == count;
        if presence.watchers.is_empty() || says_nothing {
            return PresenceDue::Nothing;
        }
        presence.last_sent = Some(now);
        presence.last_count = count;
        let Some(room) = self.key.room().cloned() else { return PresenceDue::Nothing };
        let event = PresenceEvent { room, joined, left, count };
        PresenceDue::Now(event, presence.watchers.iter().copied().collect())
    }
}

/// Whether a `presence` is to be sent.
#[derive(Debug)]
pub(crate) enum PresenceDue {
    Nothing,
    /// Something changed, but the last one is less than a second old.
    Later,
    Now(PresenceEvent, Vec<SessionId>),
}

#[derive(Debug, Default)]
struct Presence {
    watchers: FxHashSet<SessionId>,
    joined: Names,
    left: Names,
    changed: bool,
    /// Whether somebody has begun to watch after something was noted: to that one, what undoes it is news.
    is_seen_between: bool,
    last_sent: Option<Instant>,
    /// What the last `presence` told. With more names than one may hold, the count alone can have changed.
    last_count: u32,
}

#[derive(Debug, Default)]
struct Names {
    names: Vec<ClientId>,
    /// Whether there were more than one frame may hold.
    is_cut: bool,
}

impl Presence {
    fn note(&mut self, joined: Option<&ClientId>, left: Option<&ClientId>) {
        self.changed = true;
        if let Some(name) = joined {
            note_one(name, &mut self.joined, &mut self.left, self.is_seen_between);
        }
        if let Some(name) = left {
            note_one(name, &mut self.left, &mut self.joined, self.is_seen_between);
        }
    }
}

/// Notes a name on one list, unless that undoes what the other list says, or might: it may be among those that were
/// too many for the other list. Where somebody has begun to watch in between, it is told all the same: who knew of the
/// one before learns nothing wrong by it. Past the names that one frame may hold the count alone tells.
fn note_one(name: &ClientId, list: &mut Names, opposite: &mut Names, is_seen_between: bool) {
    let undone = opposite.names.iter().position(|other| other == name);
    if let Some(at) = undone {
        opposite.names.remove(at);
    }
    if undone.is_some() && !is_seen_between {
        return;
    }
    if list.names.len() == limits::PRESENCE_NAMES_MAX {
        list.is_cut = true;
    } else if undone.is_some() || !opposite.is_cut {
        list.names.push(name.clone());
    }
}

#[cfg(test)]
mod tests {
    use starling_protocol::RoomName;

    use super::*;
    use crate::clock;

    fn room() -> Room {
        Room::new(RoomKey::Room(RoomName::lobby()), Epoch(1), clock::now())
    }

    fn session(hub: u8, slot: u32) -> SessionId {
        SessionId::new(HubId(hub), slot, 1)
    }

    fn name(text: &str) -> ClientId {
        ClientId::parse(text).unwrap()
    }

    #[test]
    fn a_hub_belongs_to_a_room_for_as_long_as_it_has_a_member_there() {
        let (mut room, now) = (room(), clock::now());
        for member in [session(0, 1), session(5, 1), session(5, 2), session(63, 1), session(5, 2)] {
            room.insert(member);
        }
        assert_eq!((room.count(), room.hubs().len()), (4, 3));
        room.remove(session(5, 1), now);
        room.remove(session(5, 1), now);
        assert!(room.hubs().contains(HubId(5)), "one is left");
        room.remove(session(5, 2), now);
        assert!(!room.hubs().contains(HubId(5)));
        room.remove(session(7, 1), now);
        assert_eq!((room.count(), room.hubs().len()), (2, 2));
    }

    #[test]
    fn a_room_knows_since_when_it_is_empty() {
        let start = clock::now();
        let mut room = Room::new(RoomKey::Room(RoomName::lobby()), Epoch(1), start);
        assert_eq!(room.empty_since, Some(start));
        room.insert(session(0, 1));
        room.insert(session(0, 2));
        assert_eq!(room.empty_since, None);
        let later = start + Duration::from_secs(9);
        room.remove(session(0, 1), later);
        assert_eq!(room.empty_since, None);
        room.remove(session(0, 2), later);
        room.remove(session(0, 2), later + Duration::from_secs(1));
        assert_eq!(room.empty_since, Some(later), "who was not there does not leave");
    }

    #[test]
    fn what_was_missed_is_kept_from_one_before_the_oldest_to_the_newest() {
        let mut room = room();
        assert!(room.keeps_all_after(Seq(0)), "nothing was said, nothing was missed");
        assert!(!room.keeps_all_after(Seq(1)));
        (room.oldest, room.seq) = (Seq(4), Seq(9));
        for (after, kept) in [(2, false), (3, true), (9, true), (10, false), (u64::MAX, false)] {
            assert_eq!(room.keeps_all_after(Seq(after)), kept, "{after}");
        }
        (room.oldest, room.seq) = (Seq(10), Seq(9));
        assert!(!room.keeps_all_after(Seq(8)) && room.keeps_all_after(Seq(9)), "the history keeps nothing");
    }

    #[test]
    fn nothing_is_noted_where_nobody_watches() {
        let (mut room, now) = (room(), clock::now());
        room.note_presence(Some(&name("alice")), None);
        assert!(matches!(room.take_presence(now), PresenceDue::Nothing));
        room.watch(session(0, 1), true);
        assert!(matches!(room.take_presence(now), PresenceDue::Nothing), "nothing has changed since");
        room.watch(session(0, 1), false);
        room.note_presence(Some(&name("bob")), None);
        assert!(matches!(room.take_presence(now), PresenceDue::Nothing));
    }

    #[test]
    fn presence_is_due_a_second_after_the_last_and_not_before() {
        let (mut room, start) = (room(), clock::now());
        room.watch(session(0, 1), true);
        room.note_presence(Some(&name("alice")), None);
        let PresenceDue::Now(event, to) = room.take_presence(start) else { panic!("the first is due at once") };
        assert_eq!((event.joined, event.left, to), (vec![name("alice")], vec![], vec![session(0, 1)]));
        room.note_presence(None, Some(&name("alice")));
        assert!(matches!(room.take_presence(start + Duration::from_millis(999)), PresenceDue::Later));
        assert!(matches!(room.take_presence(start + PRESENCE_INTERVAL), PresenceDue::Now(..)));
        assert!(matches!(room.take_presence(start + 2 * PRESENCE_INTERVAL), PresenceDue::Nothing));
    }
}
