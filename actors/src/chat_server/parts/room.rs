//! One room: its members, and the number of its messages that the history keeps.
//!
//! An inbox, which keeps a client's private messages, is a room too. Its members are the client's own connections.

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use starling_protocol::{ClientId, Seq, limits};

use crate::chat_server::command::DropReply;
use crate::clock::Instant;
use crate::history::RoomKey;
use crate::ids::{HubId, HubSet, SessionId};
use crate::nodes::record::Incarnation;

/// A room or an inbox.
#[derive(Debug)]
pub(crate) struct Room {
    key: RoomKey,
    members: FxHashSet<SessionId>,
    /// The number of members that are additional connections of a client already in the room.
    pub(super) further_connections: u32,
    /// The number of members on each hub, indexed by the hub's number.
    members_by_hub: Vec<u32>,
    hubs: HubSet,
    /// The number of messages that the history keeps.
    pub(super) kept: u64,
    /// The largest number of messages that the history keeps, if the room has a limit of its own.
    pub(super) kept_at_most: Option<u64>,
    /// The number of messages that were ever stored, as the numbers of this epoch count them.
    pub(super) said: u64,
    /// With other nodes: whether this node began from a checkpoint behind messages of the room, and does not have these.
    pub(super) lacks_messages: bool,
    /// With other nodes: the newest message that the history had when this process started.
    pub(super) stored_upto: Seq,
    /// The number of messages in flight.
    pub(super) in_flight: u32,
    /// Whether there are other nodes: then the log alone says since when the room is empty, by its own clock.
    follows_log: bool,
    pub(super) empty_since: Option<Instant>,
    /// The clients in the room on all nodes, as the log says; empty on a server without other nodes.
    present: Present,
    /// Set when the room has ended. It is forgotten once no message is in flight.
    pub(super) ended: Option<Ended>,
    /// The room's entries in the ordered sets of [`Vacancies`](super::vacancies::Vacancies).
    pub(super) noted: Noted,
}

/// The clients in a room, and their nodes.
#[derive(Debug, Default)]
struct Present {
    by_client: FxHashMap<ClientId, SmallVec<[OnNode; 1]>>,
    /// Clients that are in the room on another node, and have no connection here.
    elsewhere_only: u32,
}

/// A client in a room on the node of one life, as the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnNode {
    pub(crate) life: Incarnation,
    /// Whether a session of that node holds the client's name. If not, a connection to another node has taken the name
    /// over: the client is no member through this node any more. The entry stays until the node has written that the
    /// client leaves, or is dead, because other clients may have entered the room there meanwhile.
    pub(crate) holds_name: bool,
}

/// The worth of an empty room: 0 if no message was ever stored in it, otherwise one more than its kept messages.
pub(super) type Worth = usize;

/// The keys of a room in the ordered sets of the vacancies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) ends_at: Option<Instant>,
    pub(super) disposable: Option<(Worth, Instant)>,
    pub(super) listed: Option<u32>,
}

/// The viewpoint of this node on a change of the clients in a room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Viewer {
    /// The life of this node.
    pub(crate) own: Incarnation,
    /// Whether the client has a connection to this node in the room.
    pub(crate) is_here: bool,
    /// The time of the change, by the log's clock.
    pub(crate) at: Instant,
}

/// The end of a room.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Set if an operator has dropped the room and waits for the outcome.
    pub(crate) reply: Option<DropReply>,
}

impl Room {
    pub(super) fn new(key: RoomKey, now: Instant, follows_log: bool) -> Self {
        Self {
            key,
            members: FxHashSet::default(),
            further_connections: 0,
            members_by_hub: Vec::new(),
            hubs: HubSet::default(),
            kept: 0,
            kept_at_most: None,
            said: 0,
            lacks_messages: false,
            stored_upto: Seq(0),
            in_flight: 0,
            follows_log,
            empty_since: Some(now),
            present: Present::default(),
            ended: None,
            noted: Noted::default(),
        }
    }

    pub(crate) fn key(&self) -> &RoomKey {
        &self.key
    }

    pub(super) fn insert(&mut self, session: SessionId) {
        if !self.members.insert(session) {
            return;
        }
        if !self.follows_log {
            self.empty_since = None;
        }
        let hub = usize::from(session.hub().0);
        if self.members_by_hub.len() <= hub {
            self.members_by_hub.resize(hub + 1, 0);
        }
        if let Some(count) = self.members_by_hub.get_mut(hub) {
            *count += 1;
        }
        self.hubs.insert(session.hub());
    }

    pub(super) fn remove(&mut self, session: SessionId, now: Instant) {
        if !self.members.remove(&session) {
            return;
        }
        if self.members.is_empty() && !self.follows_log {
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

    /// The largest number of members on one hub.
    pub(crate) fn most_on_one_hub(&self) -> u32 {
        self.members_by_hub.iter().copied().max().unwrap_or(0)
    }

    /// The number of clients in the room. Several connections of one client count once.
    pub(crate) fn count(&self) -> u32 {
        let here = u32::try_from(self.members.len()).unwrap_or(u32::MAX).saturating_sub(self.further_connections);
        here.saturating_add(self.present.elsewhere_only)
    }

    /// Whether a client is in the room on another node than that of the life `own`.
    pub(crate) fn is_elsewhere(&self, name: &ClientId, own: Incarnation) -> bool {
        self.present.by_client.get(name).is_some_and(|nodes| is_on_another(nodes, own))
    }

    /// The clients that are in the room on other nodes than that of the life `own`.
    pub(crate) fn elsewhere(&self, own: Incarnation) -> impl Iterator<Item = &ClientId> {
        self.present().filter(move |(_, nodes)| is_on_another(nodes, own)).map(|(name, _)| name)
    }

    /// Notes that a client with connections on another node has got its first connection here, or lost its last.
    pub(super) fn is_here_too(&mut self, is_here: bool) {
        let count = &mut self.present.elsewhere_only;
        *count = if is_here { count.saturating_sub(1) } else { *count + 1 };
    }

    /// Whether no client is in the room on any node, according to the log.
    pub(crate) fn is_vacant(&self) -> bool {
        self.present.by_client.is_empty()
    }

    /// The clients in the room on all nodes, and the nodes that they are on.
    pub(crate) fn present(&self) -> impl Iterator<Item = (&ClientId, &[OnNode])> {
        self.present.by_client.iter().map(|(name, nodes)| (name, nodes.as_slice()))
    }

    /// Applies the log's entry that a client is in the room on a node, or is not. Returns whether this changes the set of
    /// clients in the room.
    pub(super) fn set_present(&mut self, name: &ClientId, on: OnNode, is_in: bool, of: &Viewer) -> bool {
        let was_elsewhere = self.is_elsewhere(name, of.own);
        if is_in {
            let nodes = self.present.by_client.entry(name.clone()).or_default();
            match nodes.iter_mut().find(|node| node.life == on.life) {
                Some(node) => *node = on,
                None => nodes.push(on),
            }
        } else if let Some(nodes) = self.present.by_client.get_mut(name) {
            nodes.retain(|node| node.life != on.life);
            if nodes.is_empty() {
                self.present.by_client.remove(name);
            }
        }
        self.empty_since = self.is_vacant().then(|| self.empty_since.unwrap_or(of.at));
        let is_elsewhere = self.is_elsewhere(name, of.own);
        if of.is_here || was_elsewhere == is_elsewhere {
            return false;
        }
        let count = &mut self.present.elsewhere_only;
        *count = if is_elsewhere { *count + 1 } else { count.saturating_sub(1) };
        true
    }

    /// Whether no connection is in the room.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The time since which nobody is in the room; `None` while somebody is. With other nodes as the log says.
    pub(crate) fn empty_since(&self) -> Option<Instant> {
        self.empty_since
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.members.iter().copied()
    }

    /// The hubs that have members of this room.
    pub(crate) fn hubs(&self) -> HubSet {
        self.hubs
    }

    /// Whether the room has ended, so that no lookup finds it.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// The number of messages that the history keeps: the newest ones, without a gap.
    pub(crate) fn kept(&self) -> u64 {
        self.kept
    }

    /// With other nodes: the newest message that the history had when this process started.
    pub(crate) fn stored_upto(&self) -> Seq {
        self.stored_upto
    }

    /// Whether it is a named room other than the lobby, which may be dropped for another room.
    pub(super) fn is_ordinary(&self) -> bool {
        self.key.room().is_some_and(|name| name.as_str() != limits::LOBBY)
    }

    /// Whether the list of rooms shows the room.
    pub(super) fn is_listed(&self) -> bool {
        self.key.room().is_some() && (self.count() > 0 || self.said > 0)
    }
}

fn is_on_another(nodes: &[OnNode], own: Incarnation) -> bool {
    nodes.iter().any(|node| node.life != own && node.holds_name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use starling_protocol::RoomName;

    use super::*;
    use crate::clock;

    fn session(hub: u8, slot: u32) -> SessionId {
        SessionId::new(HubId(hub), slot, 1)
    }

    #[test]
    fn a_hub_belongs_to_a_room_for_as_long_as_it_has_a_member_there() {
        let now = clock::now();
        let mut room = Room::new(RoomKey::Room(RoomName::lobby()), now, false);
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
        let mut room = Room::new(RoomKey::Room(RoomName::lobby()), start, false);
        assert_eq!(room.empty_since, Some(start));
        room.insert(session(0, 1));
        room.insert(session(0, 2));
        assert_eq!(room.empty_since, None);
        let later = start + Duration::from_secs(9);
        room.remove(session(0, 1), later);
        assert_eq!(room.empty_since, None);
        room.remove(session(0, 2), later);
        room.remove(session(0, 2), later + Duration::from_secs(1));
        assert_eq!(room.empty_since, Some(later), "a session that was not there does not leave");
    }
}
