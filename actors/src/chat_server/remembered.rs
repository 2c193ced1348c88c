//! The `id`s of messages that were taken lately, so that the same message sent again is delivered once.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use starling_protocol::{ClientId, Epoch, MessageId, Seq};

use crate::identity::IdOwner;
use crate::ids::RoomId;

/// Where a message went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Room(RoomId),
    /// To one client, and not kept.
    Client(ClientId),
    /// To one client, in whose inbox it is kept.
    Inbox {
        room: RoomId,
        to: ClientId,
    },
}

/// Where a message went, its place in the epoch of the room or inbox (0 where it is not kept), and when it was taken.
pub(crate) type Taken = (Place, Epoch, Seq, u64);

/// An `id` of an owner: the owner's hash, and a keyed hash of the `id`.
type Key = (IdOwner, u64);

/// Most entries that one step of a sweep looks at, and so one message.
const SWEPT_AT_ONCE: usize = 128;

/// Most `id`s that are forgotten at once because their time is over; the others go with the next messages and ticks.
const EXPIRED_AT_ONCE: usize = 4_096;

/// What is remembered, for a time and up to a number.
///
/// A little below the number the owners with the most `id`s lose their oldest, until some places are free again: a client
/// that fills the memory loses its own, and whoever has few keeps all of them.
///
/// Of an `id` a keyed hash is kept: a memory of a fixed size whatever clients put into an `id`, and no client can choose
/// two that are taken for one.
///
/// Nothing here looks at all `id`s at once: sweeps over them, which make space and drop stale entries, go on by a small
/// step with each message.
#[derive(Debug)]
pub(crate) struct RememberedIds {
    kept_for: Duration,
    count_max: usize,
    hasher: RandomState,
    taken: TakenIds,
    counts: Counts,
    /// Entries by age, the oldest first, that the sweep has looked at. An entry with another time than that in `taken` is
    /// stale: it speaks of an `id` that was forgotten since.
    swept: VecDeque<(Instant, Key)>,
    /// The newer entries, which it has yet to look at.
    unswept: VecDeque<(Instant, Key)>,
    sweep: Option<Sweep>,
}

/// In how many parts the `id`s lie: where one grows, only its own move.
const PARTS: usize = 256;

/// The `id`s, each with when it was taken. The hash of an `id` is keyed, so a fast hash of it will do.
#[derive(Debug)]
struct TakenIds {
    parts: Vec<FxHashMap<Key, (Instant, Taken)>>,
    count: usize,
}

impl Default for TakenIds {
    fn default() -> Self {
        Self { parts: vec![FxHashMap::default(); PARTS], count: 0 }
    }
}

impl TakenIds {
    fn part(key: &Key) -> usize {
        usize::from(key.1.to_le_bytes()[0]) % PARTS
    }

    fn len(&self) -> usize {
        self.count
    }

    fn get(&self, key: &Key) -> Option<&(Instant, Taken)> {
        self.parts.get(Self::part(key))?.get(key)
    }

    /// Whether it was not there before.
    fn insert(&mut self, key: Key, taken: (Instant, Taken)) -> bool {
        let Some(part) = self.parts.get_mut(Self::part(&key)) else { return false };
        let is_new = part.insert(key, taken).is_none();
        self.count += usize::from(is_new);
        is_new
    }

    /// Whether it was there.
    fn remove(&mut self, key: &Key) -> bool {
        let Some(part) = self.parts.get_mut(Self::part(key)) else { return false };
        let was_there = part.remove(key).is_some();
        self.count -= usize::from(was_there);
        was_there
    }
}

/// A way through all entries.
#[derive(Debug, Default)]
struct Sweep {
    /// How many `id`s are to be forgotten.
    excess: usize,
    /// Owners with more lose their oldest.
    level: usize,
}

/// How many `id`s each owner has.
#[derive(Debug, Default)]
struct Counts {
    of: FxHashMap<IdOwner, usize>,
    /// How many owners have so many: by that number.
    owners_with: Vec<usize>,
}

impl Counts {
    fn add(&mut self, owner: IdOwner) {
        let count = self.of.entry(owner).or_default();
        *count += 1;
        if self.owners_with.len() <= *count {
            self.owners_with.resize(*count + 1, 0);
        }
        let (before, now) = (*count - 1, *count);
        self.change(before, now);
    }

    fn remove(&mut self, owner: IdOwner) {
        let Some(count) = self.of.get_mut(&owner) else { return };
        *count -= 1;
        let now = *count;
        if now == 0 {
            self.of.remove(&owner);
        }
        self.change(now + 1, now);
    }

    fn change(&mut self, before: usize, now: usize) {
        if let Some(owners) = self.owners_with.get_mut(before).filter(|_| before > 0) {
            *owners -= 1;
        }
        if let Some(owners) = self.owners_with.get_mut(now).filter(|_| now > 0) {
            *owners += 1;
        }
        while self.owners_with.last() == Some(&0) {
            self.owners_with.pop();
        }
    }

    fn get(&self, owner: IdOwner) -> usize {
        self.of.get(&owner).copied().unwrap_or_default()
    }

    /// The largest number that each owner may keep so that all keep at most `total`.
    fn level(&self, total: usize) -> usize {
        let (mut left, mut owners) = (total, self.of.len());
        for (count, with) in self.owners_with.iter().enumerate().filter(|(_, with)| **with > 0) {
            let share = left / owners;
            if count > share {
                return share;
            }
            left -= count * with;
            owners -= with;
        }
        usize::MAX
    }
}

impl RememberedIds {
    pub(crate) fn new(kept_for: Duration, count_max: usize) -> Self {
        Self {
            kept_for,
            count_max,
            hasher: RandomState::new(),
            taken: TakenIds::default(),
            counts: Counts::default(),
            swept: VecDeque::new(),
            unswept: VecDeque::new(),
            sweep: None,
        }
    }

    fn key(&self, owner: IdOwner, id: &MessageId) -> Key {
        (owner, self.hasher.hash_one(id))
    }

    pub(crate) fn find(&mut self, owner: IdOwner, id: &MessageId, now: Instant) -> Option<Taken> {
        self.expire(now);
        let (at, taken) = self.taken.get(&self.key(owner, id))?;
        (now.saturating_duration_since(*at) < self.kept_for).then(|| taken.clone())
    }

    pub(crate) fn insert(&mut self, owner: IdOwner, id: &MessageId, taken: Taken, now: Instant) {
        let key = self.key(owner, id);
        // One that is taken again although it is remembered, as its room has ended, has its time anew.
        if self.taken.insert(key, (now, taken)) {
            self.counts.add(owner);
        }
        self.unswept.push_back((now, key));
        self.step();
        // The slack is larger than what comes during a sweep, but for a memory that is full of stale entries.
        while self.taken.len() > self.count_max {
            self.step();
        }
    }

    /// Forgets one that was not stored after all.
    pub(crate) fn remove(&mut self, owner: IdOwner, id: &MessageId) {
        self.forget(&self.key(owner, id));
        self.step();
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        for _ in 0..EXPIRED_AT_ONCE {
            let queue = if self.swept.is_empty() { &mut self.unswept } else { &mut self.swept };
            let Some((at, key)) = queue.front().copied() else { break };
            if now.saturating_duration_since(at) < self.kept_for {
                break;
            }
            queue.pop_front();
            if self.is_current(at, &key) {
                self.forget(&key);
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        if self.taken.remove(key) {
            self.counts.remove(key.0);
        }
    }

    fn is_current(&self, at: Instant, key: &Key) -> bool {
        self.taken.get(key).is_some_and(|(current, _)| *current == at)
    }

    /// Goes on with the sweep, or begins one where it is due: where the memory is nearly full, or most entries are stale.
    fn step(&mut self) {
        let slack = self.count_max / 16;
        let full = self.count_max - slack;
        if self.sweep.is_none() {
            if self.taken.len() > full {
                let kept = full - full.div_ceil(16);
                self.sweep = Some(Sweep { excess: self.taken.len() - kept, level: self.counts.level(kept) });
            } else if self.swept.len() + self.unswept.len() > 2 * self.taken.len() + 1_024 {
                self.sweep = Some(Sweep::default());
            }
        }
        let Some(mut sweep) = self.sweep.take() else { return };
        for _ in 0..SWEPT_AT_ONCE {
            let Some((at, key)) = self.unswept.pop_front() else {
                // All entries are in `swept`, in their order: the next sweep begins with the oldest.
                std::mem::swap(&mut self.swept, &mut self.unswept);
                return;
            };
            if !self.is_current(at, &key) {
                continue;
            }
            // From the oldest on: whoever is above the level comes down to it.
            if sweep.excess > 0 && self.counts.get(key.0) > sweep.level {
                sweep.excess -= 1;
                self.forget(&key);
            } else {
                self.swept.push_back((at, key));
            }
        }
        self.sweep = Some(sweep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const ALICE: IdOwner = IdOwner(1);
    const BOB: IdOwner = IdOwner(2);

    fn id(number: u64) -> MessageId {
        MessageId::parse(&number.to_string()).unwrap()
    }

    fn taken(seq: u64) -> Taken {
        (Place::Room(RoomId(0)), Epoch(1), Seq(seq), 0)
    }

    impl RememberedIds {
        fn entries(&self) -> usize {
            self.swept.len() + self.unswept.len()
        }
    }

    #[test]
    fn an_id_is_remembered_for_its_time_and_only_for_its_owner() {
        let (start, minutes) = (clock::now(), Duration::from_mins(5));
        let mut ids = RememberedIds::new(minutes, 10);
        ids.insert(ALICE, &id(1), taken(7), start);
        let just_before = start + (minutes.saturating_sub(Duration::from_millis(1)));
        assert_eq!(ids.find(ALICE, &id(1), just_before), Some(taken(7)));
        assert_eq!(ids.find(BOB, &id(1), just_before), None);
        assert_eq!(ids.find(ALICE, &id(1), start + minutes), None);
        assert!(ids.taken.len() == 0 && ids.entries() == 0 && ids.counts.of.is_empty());
    }

    #[test]
    fn past_the_number_the_oldest_is_forgotten() {
        let now = clock::now();
        let mut ids = RememberedIds::new(Duration::from_mins(5), 2);
        for number in 1..=3 {
            ids.insert(ALICE, &id(number), taken(number), now);
        }
        assert_eq!(ids.find(ALICE, &id(1), now), None);
        assert_eq!(ids.find(ALICE, &id(3), now), Some(taken(3)));
        assert_eq!(ids.taken.len(), ids.entries());
    }

    #[test]
    fn a_client_that_fills_the_memory_loses_its_own_ids_and_nobody_elses() {
        let now = clock::now();
        let mut ids = RememberedIds::new(Duration::from_mins(5), 1_000);
        for number in 0..100 {
            ids.insert(BOB, &id(number), taken(number), now);
        }
        for number in 0..100_000 {
            ids.insert(ALICE, &id(number), taken(number), now);
            assert!(ids.taken.len() <= 1_000);
        }
        assert!((0..100).all(|number| ids.find(BOB, &id(number), now).is_some()));
        assert!(ids.find(ALICE, &id(99_999), now).is_some(), "her newest is remembered");
        assert_eq!(ids.taken.len(), ids.entries());
    }

    #[test]
    fn of_many_clients_with_one_id_each_only_the_oldest_are_forgotten() {
        let now = clock::now();
        let mut ids = RememberedIds::new(Duration::from_mins(5), 160);
        for number in 0..161 {
            ids.insert(IdOwner(number), &id(1), taken(number), now);
        }
        let kept: Vec<u64> = (0..161).filter(|number| ids.find(IdOwner(*number), &id(1), now).is_some()).collect();
        assert_eq!(kept, (11..161).collect::<Vec<_>>());
    }

    #[test]
    fn the_level_is_the_largest_at_which_all_fit() {
        for (owners, total, expected) in [
            (vec![10, 2], 8, 6),
            (vec![10, 10, 1], 9, 4),
            (vec![3, 3], 6, usize::MAX),
            (vec![5], 1, 1),
            (vec![1; 10], 5, 0),
            (vec![], 5, usize::MAX),
        ] {
            let mut counts = Counts::default();
            for (owner, count) in (0..).zip(&owners) {
                // One too many, which goes again.
                (0..=*count).for_each(|_| counts.add(IdOwner(owner)));
                counts.remove(IdOwner(owner));
            }
            assert_eq!(counts.level(total), expected, "{owners:?} in {total}");
        }
    }

    type Step = fn(&mut RememberedIds, u64, Instant);

    #[test]
    fn a_message_drops_few_ids_however_many_are_remembered() {
        let (start, minutes, max) = (clock::now(), Duration::from_mins(5), 16_384);
        let taken_for_good: Step = |ids, number, at| ids.insert(ALICE, &id(number), taken(number), at);
        let refused: Step = |ids, number, at| {
            ids.insert(BOB, &id(number), taken(number), at);
            ids.remove(BOB, &id(number));
        };
        let repeated: Step = |ids, number, at| drop(ids.find(ALICE, &id(number), at));
        for (what, step, after, allowed) in [
            ("taken, the bound reached", taken_for_good, Duration::ZERO, SWEPT_AT_ONCE),
            ("refused by the storage", refused, Duration::ZERO, 2 * SWEPT_AT_ONCE),
            ("repeated", repeated, Duration::ZERO, 0),
            ("repeated when all expire", repeated, minutes, EXPIRED_AT_ONCE),
        ] {
            let mut ids = RememberedIds::new(minutes, max);
            for number in 0..15_000 {
                ids.insert(IdOwner(2 + number % 100), &id(number), taken(number), start);
            }
            for number in 0..50_000 {
                let (entries, known) = (ids.entries(), ids.taken.len());
                step(&mut ids, 1_000_000 + number, start + after);
                let dropped = entries.saturating_sub(ids.entries()).max(known.saturating_sub(ids.taken.len()));
                assert!(dropped <= allowed, "{what}: {dropped} at once");
                assert!(ids.taken.len() <= max && ids.entries() <= 3 * max, "{what}");
            }
        }
    }

    #[test]
    fn one_that_was_not_stored_is_forgotten_and_leaves_the_others_their_order() {
        let (start, minutes) = (clock::now(), Duration::from_mins(5));
        let mut ids = RememberedIds::new(minutes, 1_000_000);
        for number in 1..=10_000 {
            ids.insert(ALICE, &id(number), taken(number), start);
            if number % 10 > 0 {
                ids.remove(ALICE, &id(number));
            }
        }
        assert_eq!((ids.taken.len(), ids.entries() <= 2 * 1_000 + 1_024), (1_000, true));
        // Taken again, it has its time anew.
        let later = start + Duration::from_mins(1);
        ids.insert(ALICE, &id(10), taken(7), later);
        assert_eq!(ids.find(ALICE, &id(20), start + minutes), None);
        assert_eq!(ids.find(ALICE, &id(10), start + minutes), Some(taken(7)));
        assert_eq!((ids.taken.len(), ids.entries()), (1, 1));
    }
}
