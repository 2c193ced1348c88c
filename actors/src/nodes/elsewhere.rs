//! Who is in which room on other nodes, as they tell each other outside the log.
//!
//! Each node numbers what it tells about its own members. A node that has missed a number asks for everything anew, and
//! until then uses what it has: counts and lists may be old for as long, never the order of messages.

use std::collections::BTreeMap;

use starling_protocol::{ClientId, RoomName};

use super::record::Incarnation;

/// What changed among the members of one node's room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The room.
    pub room: RoomName,
    /// A client that now has so many connections in it; 0: it has left.
    pub client_id: ClientId,
    /// The number of those connections.
    pub connections: u32,
}

/// Something that a node tells of its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// What changed since the last number.
    Changes(Vec<Change>),
    /// All members; what was told before is void.
    Snapshot(Vec<Change>),
}

/// Whether a node's news can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// They were the next ones.
    Applied,
    /// They were heard before.
    Old,
    /// Some are missing: a snapshot is needed.
    Gap,
}

type Members = BTreeMap<RoomName, BTreeMap<ClientId, u32>>;

#[derive(Debug, Default)]
struct Node {
    /// The number of the newest news. `None`: a snapshot is needed first.
    newest: Option<u64>,
    members: Members,
}

/// The members on all other nodes.
#[derive(Debug, Default)]
pub struct Elsewhere(BTreeMap<Incarnation, Node>);

impl Elsewhere {
    /// Takes over a node's news.
    pub fn hear(&mut self, of: Incarnation, number: u64, news: News) -> Heard {
        let node = self.0.entry(of).or_default();
        match news {
            News::Snapshot(all) => {
                if node.newest.is_some_and(|newest| number < newest) {
                    return Heard::Old;
                }
                node.members.clear();
                apply(&mut node.members, all);
            }
            News::Changes(changes) => match node.newest {
                None => return Heard::Gap,
                Some(newest) if number <= newest => return Heard::Old,
                Some(newest) if number > newest + 1 => {
                    node.newest = None;
                    return Heard::Gap;
                }
                Some(_) => apply(&mut node.members, changes),
            },
        }
        node.newest = Some(number);
        Heard::Applied
    }

    /// Forgets a node that is out.
    pub fn forget(&mut self, incarnation: Incarnation) {
        self.0.remove(&incarnation);
    }

    /// Clients in a room, counted on each node.
    pub fn count(&self, room: &RoomName) -> usize {
        self.0.values().filter_map(|node| node.members.get(room)).map(BTreeMap::len).sum()
    }

    /// Names of clients in a room, each as often as nodes have it.
    pub fn members(&self, room: &RoomName) -> impl Iterator<Item = &ClientId> {
        self.0.values().filter_map(|node| node.members.get(room)).flat_map(BTreeMap::keys)
    }
}

fn apply(members: &mut Members, changes: Vec<Change>) {
    for Change { room, client_id, connections } in changes {
        if connections > 0 {
            members.entry(room).or_default().insert(client_id, connections);
        } else if let Some(clients) = members.get_mut(&room) {
            clients.remove(&client_id);
            if clients.is_empty() {
                members.remove(&room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(client_id: &str, connections: u32) -> Change {
        Change { room: RoomName::lobby(), client_id: ClientId::parse(client_id).unwrap(), connections }
    }

    fn changes(changes: &[(&str, u32)]) -> Vec<Change> {
        changes.iter().map(|(client_id, connections)| change(client_id, *connections)).collect()
    }

    #[test]
    fn changes_count_after_a_snapshot_and_in_their_order() {
        let (mut elsewhere, node) = (Elsewhere::default(), Incarnation(1));
        let news = |list: &[(&str, u32)]| News::Changes(changes(list));
        assert_eq!(elsewhere.hear(node, 4, news(&[("alice", 1)])), Heard::Gap, "nothing is known of it yet");
        assert_eq!(elsewhere.hear(node, 5, News::Snapshot(changes(&[("alice", 1), ("bob", 2)]))), Heard::Applied);
        assert_eq!(elsewhere.hear(node, 5, news(&[("bob", 0)])), Heard::Old);
        assert_eq!(elsewhere.hear(node, 6, news(&[("bob", 0), ("carol", 1)])), Heard::Applied);
        let members: Vec<_> = elsewhere.members(&RoomName::lobby()).map(ClientId::as_str).collect();
        assert_eq!(members, ["alice", "carol"]);
        assert_eq!(elsewhere.hear(node, 8, news(&[("alice", 0)])), Heard::Gap);
        assert_eq!(elsewhere.hear(node, 9, news(&[("alice", 0)])), Heard::Gap, "until a snapshot comes");
        assert_eq!(elsewhere.count(&RoomName::lobby()), 2, "what was known stays");
        assert_eq!(elsewhere.hear(node, 9, News::Snapshot(changes(&[("dave", 1)]))), Heard::Applied);
        assert_eq!(elsewhere.hear(Incarnation(2), 1, News::Snapshot(changes(&[("erin", 1)]))), Heard::Applied);
        assert_eq!(elsewhere.count(&RoomName::lobby()), 2);
        elsewhere.forget(node);
        assert_eq!(elsewhere.count(&RoomName::lobby()), 1);
    }
}
