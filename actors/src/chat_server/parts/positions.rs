//! Read positions: how far each client has read, in each of its rooms and in its inbox.
//!
//! A position belongs to a client as an `id` of a message does: to the name in a token, otherwise to a name and a key. It
//! never goes back, and it goes with its room. A new position is *fresh* until it is noted, at most once a second: in the
//! history, or in the log of all nodes.
//!
//! Invariants:
//! - the noted positions depend only on the notes and their order;
//! - at most [`POSITIONS_MAX`] positions are noted, at most [`POSITIONS_OF_A_CLIENT_MAX`] of one client. Beyond that the
//!   client loses the position that it changed the longest ago, or the client that has read nothing for the longest loses
//!   all of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use starling_protocol::{ClientId, Seq};

use crate::clock::Instant;
use crate::identity::IdOwner;
use crate::ids::RoomId;

/// Most noted positions.
const POSITIONS_MAX: usize = 1_000_000;

/// Most noted positions of one client.
const POSITIONS_OF_A_CLIENT_MAX: usize = 1_000;

/// The least time between two notes of one position.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);

/// A client and a room.
pub(crate) type Place = (IdOwner, RoomId);

/// A position that is to be noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FreshPosition {
    pub(crate) owner: IdOwner,
    /// The client's name when it read.
    pub(crate) client_id: ClientId,
    pub(crate) room: RoomId,
    pub(crate) seq: Seq,
}

/// The fresh position of a client in a room.
#[derive(Debug)]
struct Fresh {
    room: RoomId,
    seq: Seq,
    is_taken: bool,
}

/// The positions of one client, the one that was changed the longest ago first.
#[derive(Debug, Default)]
struct OfClient {
    /// Its place in `by_age`.
    age: u64,
    noted: SmallVec<[(RoomId, Seq); 2]>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Positions {
    clients: FxHashMap<IdOwner, OfClient>,
    /// The client that has read nothing for the longest first.
    by_age: BTreeMap<u64, IdOwner>,
    next_age: u64,
    readers: FxHashMap<RoomId, FxHashSet<IdOwner>>,
    count: usize,
    fresh: FxHashMap<IdOwner, (ClientId, SmallVec<[Fresh; 1]>)>,
    /// The time from which fresh positions may be noted.
    due: Option<Instant>,
    most: (usize, usize),
}

impl Default for Positions {
    fn default() -> Self {
        Self::bounded(POSITIONS_MAX, POSITIONS_OF_A_CLIENT_MAX)
    }
}

impl Positions {
    fn bounded(most: usize, most_of_one: usize) -> Self {
        Self {
            clients: FxHashMap::default(),
            by_age: BTreeMap::new(),
            next_age: 0,
            readers: FxHashMap::default(),
            count: 0,
            fresh: FxHashMap::default(),
            due: None,
            most: (most, most_of_one),
        }
    }

    /// The number of noted positions.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// How far a client has read; 0: it has read nothing.
    pub(crate) fn upto(&self, owner: IdOwner, room: RoomId) -> Seq {
        let noted = self.clients.get(&owner).into_iter().flat_map(|client| &client.noted);
        let noted = noted.filter(|(of, _)| *of == room).map(|(_, seq)| *seq);
        let fresh = self.fresh.get(&owner).into_iter().flat_map(|(_, fresh)| fresh);
        let fresh = fresh.filter(|fresh| fresh.room == room).map(|fresh| fresh.seq);
        noted.chain(fresh).max().unwrap_or(Seq(0))
    }

    /// A client of this server has read up to `seq`. Returns whether that is new.
    pub(crate) fn read(&mut self, owner: IdOwner, client_id: &ClientId, room: RoomId, seq: Seq) -> bool {
        if seq <= self.upto(owner, room) {
            return false;
        }
        let (_, fresh) = self.fresh.entry(owner).or_insert_with(|| (client_id.clone(), SmallVec::new()));
        fresh.retain(|fresh| fresh.room != room);
        fresh.push(Fresh { room, seq, is_taken: false });
        true
    }

    /// Takes the positions that are to be noted now. They stay fresh until they [are noted](Self::note).
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<FreshPosition> {
        if self.fresh.is_empty() || self.due.is_some_and(|due| now < due) {
            return Vec::new();
        }
        self.due = Some(now + NOTE_INTERVAL);
        self.fresh.iter_mut().flat_map(|(owner, (client_id, fresh))| take(*owner, client_id, fresh)).collect()
    }

    /// Takes the positions of a client that are to be noted.
    pub(crate) fn take_of(&mut self, owner: IdOwner) -> Vec<FreshPosition> {
        let fresh = self.fresh.get_mut(&owner);
        fresh.map_or_else(Vec::new, |(client_id, fresh)| take(owner, client_id, fresh).collect())
    }

    /// Notes how far a client has read. Returns the positions that were lost for it; `None`: nothing is new.
    pub(crate) fn note(&mut self, owner: IdOwner, room: RoomId, seq: Seq) -> Option<Vec<Place>> {
        if let Some((_, fresh)) = self.fresh.get_mut(&owner) {
            fresh.retain(|fresh| fresh.room != room || fresh.seq > seq);
            if fresh.is_empty() {
                self.fresh.remove(&owner);
            }
        }
        let client = self.clients.entry(owner).or_default();
        let earlier = client.noted.iter().position(|(of, _)| *of == room);
        if earlier.and_then(|index| client.noted.get(index)).is_some_and(|(_, noted)| seq <= *noted) {
            return None;
        }
        match earlier {
            Some(index) => drop(client.noted.remove(index)),
            None => self.count += 1,
        }
        client.noted.push((room, seq));
        self.by_age.remove(&client.age);
        self.next_age += 1;
        client.age = self.next_age;
        self.by_age.insert(client.age, owner);
        self.readers.entry(room).or_default().insert(owner);
        let (most, most_of_one) = self.most;
        let too_many = client.noted.len() > most_of_one;
        let mut lost: Vec<Place> =
            client.noted.first().filter(|_| too_many).map(|(room, _)| (owner, *room)).into_iter().collect();
        if !too_many
            && self.count > most
            && let Some((_, oldest)) = self.by_age.first_key_value()
        {
            let oldest = *oldest;
            lost = self.of(oldest).map(|(room, _)| (oldest, room)).collect();
        }
        for (owner, room) in &lost {
            self.remove(*owner, *room);
        }
        Some(lost)
    }

    /// The noted positions of a client, the one that was changed the longest ago first.
    fn of(&self, owner: IdOwner) -> impl Iterator<Item = (RoomId, Seq)> {
        self.clients.get(&owner).into_iter().flat_map(|client| client.noted.iter().copied())
    }

    /// All noted positions. [Noting](Self::note) them in this order makes the same table.
    pub(crate) fn all(&self) -> impl Iterator<Item = (IdOwner, RoomId, Seq)> {
        self.by_age.values().flat_map(|owner| self.of(*owner).map(|(room, seq)| (*owner, room, seq)))
    }

    fn remove(&mut self, owner: IdOwner, room: RoomId) {
        let Some(client) = self.clients.get_mut(&owner) else { return };
        let before = client.noted.len();
        client.noted.retain(|(of, _)| *of != room);
        self.count -= before - client.noted.len();
        if client.noted.is_empty() {
            self.by_age.remove(&client.age);
            self.clients.remove(&owner);
        }
        if let Some(readers) = self.readers.get_mut(&room) {
            readers.remove(&owner);
            if readers.is_empty() {
                self.readers.remove(&room);
            }
        }
    }

    /// The room has ended, with all positions in it.
    pub(crate) fn forget_room(&mut self, room: RoomId) {
        for owner in self.readers.get(&room).cloned().unwrap_or_default() {
            self.remove(owner, room);
        }
        self.fresh.retain(|_, (_, fresh)| {
            fresh.retain(|fresh| fresh.room != room);
            !fresh.is_empty()
        });
    }

    /// Forgets what was not noted: the notes of this node do not count any more.
    pub(crate) fn forget_fresh(&mut self) {
        self.fresh.clear();
    }

    /// Panics if an invariant of this module does not hold. For tests.
    pub(crate) fn check(&self) {
        let noted: usize = self.clients.values().map(|client| client.noted.len()).sum();
        assert_eq!(noted, self.count, "the count is that of the clients");
        assert_eq!(self.readers.values().map(FxHashSet::len).sum::<usize>(), self.count, "every reader has a position");
        assert_eq!(self.by_age.len(), self.clients.len(), "every client has an age");
        assert!(self.count <= self.most.0, "there are not too many");
    }
}

fn take(owner: IdOwner, client_id: &ClientId, fresh: &mut [Fresh]) -> impl Iterator<Item = FreshPosition> {
    fresh.iter_mut().filter(|fresh| !fresh.is_taken).map(move |fresh| {
        fresh.is_taken = true;
        FreshPosition { owner, client_id: client_id.clone(), room: fresh.room, seq: fresh.seq }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn name() -> ClientId {
        ClientId::parse("alice").unwrap()
    }

    fn all(positions: &Positions) -> Vec<(u64, u32, u64)> {
        positions.check();
        positions.all().map(|(owner, room, seq)| (owner.0, room.0, seq.0)).collect()
    }

    #[test]
    fn a_position_never_goes_back() {
        let (mut positions, owner, room) = (Positions::default(), IdOwner(1), RoomId(4));
        for (seq, is_new, upto) in [(5, true, 5), (3, false, 5), (5, false, 5), (7, true, 7), (0, false, 7)] {
            assert_eq!(positions.read(owner, &name(), room, Seq(seq)), is_new, "{seq}");
            assert_eq!(positions.upto(owner, room), Seq(upto), "{seq}");
        }
        for (seq, is_new) in [(6, true), (2, false), (6, false), (9, true)] {
            assert_eq!(positions.note(owner, room, Seq(seq)).is_some(), is_new, "{seq}");
            assert_eq!(positions.upto(owner, room), Seq(seq.max(7)), "{seq}: what is fresh stays");
        }
        assert_eq!(all(&positions), [(1, 4, 9)]);
        assert!(positions.fresh.is_empty(), "what is noted is not fresh any more");
    }

    #[test]
    fn a_position_is_noted_at_most_once_a_second_or_when_its_client_goes() {
        let (mut positions, start) = (Positions::default(), clock::now());
        let (alice, room) = (IdOwner(1), RoomId(4));
        let seqs = |taken: Vec<FreshPosition>| taken.iter().map(|fresh| fresh.seq.0).collect::<Vec<_>>();
        let due = |positions: &mut Positions, ms| seqs(positions.take_due(start + Duration::from_millis(ms)));
        positions.read(alice, &name(), room, Seq(1));
        assert_eq!(due(&mut positions, 0), [1]);
        assert_eq!(due(&mut positions, 2_000), [0_u64; 0], "it was taken, and comes back with its note");
        for seq in 2..5 {
            positions.read(alice, &name(), room, Seq(seq));
        }
        assert_eq!(due(&mut positions, 2_999), [0_u64; 0]);
        assert_eq!(due(&mut positions, 3_000), [4]);
        positions.read(alice, &name(), room, Seq(5));
        assert_eq!(seqs(positions.take_of(IdOwner(2))), [0_u64; 0]);
        assert_eq!(seqs(positions.take_of(alice)), [5]);
    }

    #[test]
    fn the_limits_take_from_the_client_itself_and_then_from_the_one_that_read_the_longest_ago() {
        let mut positions = Positions::bounded(4, 2);
        let none: &[(u64, u32)] = &[];
        let steps = [
            ((1, 10, 1), none),
            ((1, 11, 1), none),
            ((1, 10, 2), none),
            ((1, 12, 1), &[(1, 11)][..]),
            ((2, 10, 1), none),
            ((2, 11, 1), none),
            ((3, 10, 1), &[(1, 10), (1, 12)][..]),
            ((2, 10, 2), none),
        ];
        for ((owner, room, seq), expected) in steps {
            let lost = positions.note(IdOwner(owner), RoomId(room), Seq(seq)).unwrap();
            let lost: Vec<_> = lost.into_iter().map(|(owner, room)| (owner.0, room.0)).collect();
            assert_eq!(lost, expected, "{owner} in {room}");
        }
        assert_eq!(all(&positions), [(3, 10, 1), (2, 11, 1), (2, 10, 2)]);
        positions.forget_room(RoomId(10));
        assert_eq!(all(&positions), [(2, 11, 1)]);
    }
}
