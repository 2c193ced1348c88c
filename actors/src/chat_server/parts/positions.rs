//! Read positions: how far each client has read, in each of its rooms and in its inbox; and since when it sees a room whose
//! history is hidden from newcomers.
//!
//! A position belongs to a client as an `id` of a message does: to the name in a token, otherwise to a name and a key. It
//! never goes back, and it goes with its room; that of a guest goes with the guest, because nobody gets a guest's name
//! again. A new position is *fresh* until it is noted, at most once a second: in the history, or in the log of all nodes.
//! A client that has a position in a room was there when the position was noted first, or when it entered before that.
//!
//! Invariants:
//! - the noted positions depend only on the notes and their order, and on which guests have gone;
//! - at most [`POSITIONS_MAX`] positions are noted, at most [`POSITIONS_OF_A_CLIENT_MAX`] of one client. Beyond that the
//!   client loses the position that it changed the longest ago, or the client that has read nothing for the longest loses
//!   all of its own: a guest if there is one, so that guests push out nobody else.

use std::collections::BTreeMap;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use starling_protocol::{ClientId, Seq};

use crate::clock::Instant;
use crate::history::Standing;
use crate::identity::IdOwner;
use crate::ids::RoomId;

/// Most noted positions.
const POSITIONS_MAX: usize = 1_000_000;

/// Most noted positions of one client.
const POSITIONS_OF_A_CLIENT_MAX: usize = 1_000;

/// The least time between two notes of one position.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);

/// A client that reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reader {
    pub(crate) owner: IdOwner,
    pub(crate) is_guest: bool,
}

impl Reader {
    pub(crate) fn new(owner: IdOwner, name: &ClientId) -> Self {
        Self { owner, is_guest: name.is_guest() }
    }
}

/// A position that a client has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostPosition {
    pub(crate) reader: Reader,
    pub(crate) room: RoomId,
}

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

/// The place of a client in the order in which clients lose their positions: guests first, then by the time of the last
/// note.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Age {
    is_kept: bool,
    note: u64,
}

/// The positions of one client, the one that was changed the longest ago first.
#[derive(Debug, Default)]
struct OfClient {
    age: Age,
    noted: SmallVec<[(RoomId, Standing); 2]>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Positions {
    clients: FxHashMap<IdOwner, OfClient>,
    by_age: BTreeMap<Age, IdOwner>,
    notes: u64,
    /// The clients with a noted or fresh position in each room.
    readers: FxHashMap<RoomId, FxHashSet<IdOwner>>,
    count: usize,
    lost: u64,
    fresh: FxHashMap<IdOwner, (ClientId, SmallVec<[Fresh; 1]>)>,
    /// With other nodes: since when clients of this node see rooms, until that is noted.
    arrived: FxHashMap<(IdOwner, RoomId), Seq>,
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
    /// With other limits than the usual ones: on all clients, and on each.
    pub(crate) fn bounded(most: usize, most_of_one: usize) -> Self {
        Self {
            clients: FxHashMap::default(),
            by_age: BTreeMap::new(),
            notes: 0,
            readers: FxHashMap::default(),
            count: 0,
            lost: 0,
            fresh: FxHashMap::default(),
            arrived: FxHashMap::default(),
            due: None,
            most: (most, most_of_one),
        }
    }

    /// The number of noted positions.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The number of positions that clients have lost to the limits.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// How far a client has read; 0: it has read nothing.
    pub(crate) fn upto(&self, owner: IdOwner, room: RoomId) -> Seq {
        let noted = self.standing(owner, room).map(|standing| standing.upto);
        let fresh = self.fresh.get(&owner).into_iter().flat_map(|(_, fresh)| fresh);
        let fresh = fresh.filter(|fresh| fresh.room == room).map(|fresh| fresh.seq);
        noted.into_iter().chain(fresh).max().unwrap_or(Seq(0))
    }

    /// What is noted of a client in a room.
    pub(crate) fn standing(&self, owner: IdOwner, room: RoomId) -> Option<Standing> {
        self.of(owner).find(|(of, _)| *of == room).map(|(_, standing)| standing)
    }

    /// The entry of a room behind which a client sees it. `None`: the client was never there, as far as is known.
    pub(crate) fn since(&self, owner: IdOwner, room: RoomId) -> Option<Seq> {
        let arrived = self.arrived.get(&(owner, room)).copied();
        self.standing(owner, room).map(|standing| standing.since).into_iter().chain(arrived).min()
    }

    /// With other nodes: a client of this node sees a room behind this entry. The log [notes](Self::admit) it later.
    pub(crate) fn arrive(&mut self, owner: IdOwner, room: RoomId, since: Seq) {
        let arrived = self.arrived.entry((owner, room)).or_insert(since);
        *arrived = since.min(*arrived);
    }

    /// A client of this server has read up to `seq`. Returns whether that is new.
    pub(crate) fn read(&mut self, owner: IdOwner, client_id: &ClientId, room: RoomId, seq: Seq) -> bool {
        if seq <= self.upto(owner, room) {
            return false;
        }
        let (_, fresh) = self.fresh.entry(owner).or_insert_with(|| (client_id.clone(), SmallVec::new()));
        fresh.retain(|fresh| fresh.room != room);
        fresh.push(Fresh { room, seq, is_taken: false });
        self.readers.entry(room).or_default().insert(owner);
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

    /// Notes how far a client has read. One that was never there sees the room behind `since` from now on. Returns the
    /// positions that were lost for it; `None`: nothing is new.
    pub(crate) fn note(&mut self, reader: Reader, room: RoomId, upto: Seq, since: Seq) -> Option<Vec<LostPosition>> {
        self.forget_fresh_in(reader.owner, room, upto);
        match self.standing(reader.owner, room) {
            Some(known) if upto <= known.upto => None,
            Some(known) => Some(self.put(reader, room, Standing { upto, ..known })),
            None => Some(self.put(reader, room, Standing { upto, since })),
        }
    }

    /// Notes that a client sees a room behind this entry, or behind an earlier one that was noted before. Returns the
    /// positions that were lost for it; `None`: nothing is new.
    pub(crate) fn admit(&mut self, reader: Reader, room: RoomId, since: Seq) -> Option<Vec<LostPosition>> {
        if self.arrived.get(&(reader.owner, room)).is_some_and(|arrived| since <= *arrived) {
            self.arrived.remove(&(reader.owner, room));
        }
        let known = self.standing(reader.owner, room);
        if known.is_some_and(|known| known.since <= since) {
            return None;
        }
        let upto = known.map_or(Seq(0), |known| known.upto);
        Some(self.put(reader, room, Standing { upto, since }))
    }

    /// Notes all that is known of a client in a room. Returns the positions that were lost for it.
    pub(crate) fn put(&mut self, reader: Reader, room: RoomId, standing: Standing) -> Vec<LostPosition> {
        let Reader { owner, is_guest } = reader;
        let client = self.clients.entry(owner).or_default();
        match client.noted.iter().position(|(of, _)| *of == room) {
            Some(index) => drop(client.noted.remove(index)),
            None => self.count += 1,
        }
        client.noted.push((room, standing));
        self.by_age.remove(&client.age);
        self.notes += 1;
        client.age = Age { is_kept: !is_guest, note: self.notes };
        self.by_age.insert(client.age, owner);
        self.readers.entry(room).or_default().insert(owner);
        let lost = self.beyond_limits(reader);
        for LostPosition { reader, room } in &lost {
            self.remove(reader.owner, *room);
        }
        self.lost += lost.len() as u64;
        lost
    }

    /// The positions that are too many after a note of this client.
    fn beyond_limits(&self, reader: Reader) -> Vec<LostPosition> {
        let (most, most_of_one) = self.most;
        let own = self.clients.get(&reader.owner).filter(|client| client.noted.len() > most_of_one);
        if let Some((room, _)) = own.and_then(|client| client.noted.first()) {
            return vec![LostPosition { reader, room: *room }];
        }
        let oldest = self.by_age.first_key_value().filter(|_| self.count > most);
        let of_oldest = oldest.into_iter().flat_map(|(age, owner)| {
            let reader = Reader { owner: *owner, is_guest: !age.is_kept };
            self.of(*owner).map(move |(room, _)| LostPosition { reader, room })
        });
        of_oldest.collect()
    }

    /// The noted positions of a client, the one that was changed the longest ago first.
    fn of(&self, owner: IdOwner) -> impl Iterator<Item = (RoomId, Standing)> {
        self.clients.get(&owner).into_iter().flat_map(|client| client.noted.iter().copied())
    }

    /// All noted positions. [Putting](Self::put) them in this order makes the same table.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Reader, RoomId, Standing)> {
        self.by_age.iter().flat_map(|(age, owner)| {
            let reader = Reader { owner: *owner, is_guest: !age.is_kept };
            self.of(*owner).map(move |(room, standing)| (reader, room, standing))
        })
    }

    /// Removes a position, noted or fresh.
    fn remove(&mut self, owner: IdOwner, room: RoomId) {
        self.forget_fresh_in(owner, room, Seq(u64::MAX));
        if let Some(client) = self.clients.get_mut(&owner) {
            let before = client.noted.len();
            client.noted.retain(|(of, _)| *of != room);
            self.count -= before - client.noted.len();
            if client.noted.is_empty() {
                self.by_age.remove(&client.age);
                self.clients.remove(&owner);
            }
        }
        if let Some(readers) = self.readers.get_mut(&room) {
            readers.remove(&owner);
            if readers.is_empty() {
                self.readers.remove(&room);
            }
        }
    }

    /// Forgets the fresh position of a client in a room, unless it is beyond `upto`.
    fn forget_fresh_in(&mut self, owner: IdOwner, room: RoomId, upto: Seq) {
        if let Some((_, fresh)) = self.fresh.get_mut(&owner) {
            fresh.retain(|fresh| fresh.room != room || fresh.seq > upto);
            if fresh.is_empty() {
                self.fresh.remove(&owner);
            }
        }
    }

    /// The room has ended, with all positions in it.
    pub(crate) fn forget_room(&mut self, room: RoomId) {
        self.arrived.retain(|(_, other), _| *other != room);
        for owner in self.readers.remove(&room).unwrap_or_default() {
            self.remove(owner, room);
        }
    }

    /// A guest has gone, and nobody gets its name again.
    pub(crate) fn forget_guest(&mut self, guest: IdOwner) {
        self.arrived.retain(|(owner, _), _| *owner != guest);
        let noted = self.of(guest).map(|(room, _)| room);
        let fresh = self.fresh.get(&guest).into_iter().flat_map(|(_, fresh)| fresh).map(|fresh| fresh.room);
        for room in noted.chain(fresh).collect::<SmallVec<[RoomId; 2]>>() {
            self.remove(guest, room);
        }
    }

    /// Forgets what was not noted: the notes of this node do not count any more.
    pub(crate) fn forget_fresh(&mut self) {
        self.arrived.clear();
        for (owner, (_, fresh)) in std::mem::take(&mut self.fresh) {
            for Fresh { room, .. } in fresh {
                if !self.of(owner).any(|(noted, _)| noted == room) {
                    self.remove(owner, room);
                }
            }
        }
    }

    /// Panics if an invariant of this module does not hold. For tests.
    pub(crate) fn check(&self) {
        let noted: usize = self.clients.values().map(|client| client.noted.len()).sum();
        assert_eq!(noted, self.count, "the count is that of the clients");
        let fresh = self.fresh.iter().flat_map(|(owner, (_, fresh))| fresh.iter().map(|fresh| (fresh.room, *owner)));
        let noted = self.all().map(|(reader, room, _)| (room, reader.owner));
        let positions: FxHashSet<_> = noted.chain(fresh).collect();
        let readers = self.readers.iter().flat_map(|(room, owners)| owners.iter().map(|owner| (*room, *owner)));
        assert_eq!(
            readers.collect::<FxHashSet<_>>(),
            positions,
            "the readers of a room are those with a position there"
        );
        assert!(self.readers.values().all(|readers| !readers.is_empty()), "a room without positions has no readers");
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

    fn client(owner: u64) -> Reader {
        Reader { owner: IdOwner(owner), is_guest: false }
    }

    fn guest(owner: u64) -> Reader {
        Reader { is_guest: true, ..client(owner) }
    }

    fn all(positions: &Positions) -> Vec<(u64, u32, u64)> {
        positions.check();
        positions.all().map(|(reader, room, standing)| (reader.owner.0, room.0, standing.upto.0)).collect()
    }

    #[test]
    fn a_position_never_goes_back() {
        let (mut positions, owner, room) = (Positions::default(), IdOwner(1), RoomId(4));
        for (seq, is_new, upto) in [(5, true, 5), (3, false, 5), (5, false, 5), (7, true, 7), (0, false, 7)] {
            assert_eq!(positions.read(owner, &name(), room, Seq(seq)), is_new, "{seq}");
            assert_eq!(positions.upto(owner, room), Seq(upto), "{seq}");
        }
        for (seq, is_new) in [(6, true), (2, false), (6, false), (9, true)] {
            assert_eq!(positions.note(client(1), room, Seq(seq), Seq(0)).is_some(), is_new, "{seq}");
            assert_eq!(positions.upto(owner, room), Seq(seq.max(7)), "{seq}: what is fresh stays");
        }
        assert_eq!(all(&positions), [(1, 4, 9)]);
        assert!(positions.fresh.is_empty(), "what is noted is not fresh any more");
    }

    #[test]
    fn a_client_sees_a_room_from_the_earliest_entry_that_was_noted_whatever_it_has_read() {
        let (mut positions, owner, room) = (Positions::default(), IdOwner(1), RoomId(4));
        assert_eq!(positions.since(owner, room), None);
        positions.arrive(owner, room, Seq(7));
        positions.arrive(owner, room, Seq(9));
        assert_eq!((positions.since(owner, room), positions.count()), (Some(Seq(7)), 0));
        for (since, is_new, then, arrived) in [(8, true, 7, 1), (9, false, 7, 1), (7, true, 7, 0), (5, true, 5, 0)] {
            assert_eq!(positions.admit(client(1), room, Seq(since)).is_some(), is_new, "{since}");
            assert_eq!(positions.since(owner, room), Some(Seq(then)), "{since}");
            assert_eq!(positions.arrived.len(), arrived, "{since}");
        }
        assert!(positions.note(client(1), room, Seq(20), Seq(20)).is_some());
        assert_eq!(positions.standing(owner, room), Some(Standing { upto: Seq(20), since: Seq(5) }));
        assert!(positions.note(client(2), room, Seq(3), Seq(20)).is_some());
        assert_eq!(positions.standing(IdOwner(2), room), Some(Standing { upto: Seq(3), since: Seq(20) }));
        positions.arrive(IdOwner(3), room, Seq(7));
        positions.arrive(IdOwner(3), RoomId(5), Seq(7));
        positions.forget_room(room);
        assert_eq!((positions.since(owner, room), positions.since(IdOwner(3), room)), (None, None));
        assert_eq!(positions.since(IdOwner(3), RoomId(5)), Some(Seq(7)));
        positions.forget_guest(IdOwner(3));
        assert_eq!(positions.since(IdOwner(3), RoomId(5)), None);
        positions.check();
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
    fn the_limits_take_from_the_client_itself_then_from_guests_then_from_the_one_that_read_the_longest_ago() {
        let mut positions = Positions::bounded(4, 2);
        let none: &[(u64, u32)] = &[];
        let steps = [
            (client(1), 10, 1, none),
            (client(1), 11, 1, none),
            (client(1), 10, 2, none),
            (client(1), 12, 1, &[(1, 11)][..]),
            (guest(7), 10, 1, none),
            (guest(8), 10, 1, none),
            (guest(7), 10, 2, none),
            (client(2), 10, 1, &[(8, 10)][..]),
            (guest(9), 10, 1, &[(7, 10)][..]),
            (guest(8), 10, 1, &[(9, 10)][..]),
            (client(2), 11, 1, &[(8, 10)][..]),
            (client(3), 10, 1, &[(1, 10), (1, 12)][..]),
            (client(2), 10, 2, none),
        ];
        for (reader, room, seq, expected) in steps {
            let lost = positions.note(reader, RoomId(room), Seq(seq), Seq(0)).unwrap();
            let lost: Vec<_> = lost.into_iter().map(|lost| (lost.reader.owner.0, lost.room.0)).collect();
            assert_eq!(lost, expected, "{reader:?} in {room}");
            positions.check();
        }
        assert_eq!(all(&positions), [(3, 10, 1), (2, 11, 1), (2, 10, 2)]);
        assert_eq!(positions.lost(), 7);
        positions.forget_room(RoomId(10));
        assert_eq!(all(&positions), [(2, 11, 1)]);
    }

    #[test]
    fn a_room_that_ends_a_guest_that_goes_and_a_node_that_is_cut_off_take_their_positions_along() {
        let mut positions = Positions::default();
        let begin = |positions: &mut Positions| {
            for (reader, room) in [(client(1), 10), (client(1), 11), (guest(7), 10)] {
                positions.note(reader, RoomId(room), Seq(1), Seq(0));
            }
            for (owner, room, seq) in [(1, 10, 2), (2, 10, 1), (7, 10, 3), (7, 11, 1)] {
                positions.read(IdOwner(owner), &name(), RoomId(room), Seq(seq));
            }
            positions.check();
        };
        begin(&mut positions);
        positions.forget_room(RoomId(10));
        assert_eq!(all(&positions), [(1, 11, 1)]);
        assert_eq!(positions.upto(IdOwner(2), RoomId(10)), Seq(0));
        assert_eq!(positions.upto(IdOwner(7), RoomId(11)), Seq(1));
        begin(&mut positions);
        positions.forget_guest(IdOwner(7));
        assert_eq!(all(&positions), [(1, 11, 1), (1, 10, 1)]);
        assert_eq!(positions.upto(IdOwner(7), RoomId(10)), Seq(0));
        assert_eq!(positions.upto(IdOwner(1), RoomId(10)), Seq(2));
        begin(&mut positions);
        positions.forget_fresh();
        assert_eq!(all(&positions), [(7, 10, 1), (1, 11, 1), (1, 10, 1)]);
        assert_eq!(positions.upto(IdOwner(1), RoomId(10)), Seq(1));
    }
}
