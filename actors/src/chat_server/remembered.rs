//! The `id`s of messages that were taken lately, so that the same message sent again is delivered once.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
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

/// What is remembered, for a time and up to a number.
///
/// At the number the owners with the most `id`s lose their oldest, until a sixteenth is free again: a client that fills
/// the memory loses its own, and whoever has few keeps all of them.
///
/// Of an `id` a keyed hash is kept: a memory of a fixed size whatever clients put into an `id`, and no client can choose
/// two that are taken for one.
#[derive(Debug)]
pub(crate) struct RememberedIds {
    kept_for: Duration,
    count_max: usize,
    hasher: RandomState,
    /// Each with its number in the order in which they were taken.
    taken: HashMap<Key, (u64, Taken)>,
    /// The same, the oldest first. An entry whose number is not that in `taken` speaks of one that was forgotten since.
    by_age: VecDeque<(Instant, Key, u64)>,
    next_number: u64,
}

impl RememberedIds {
    pub(crate) fn new(kept_for: Duration, count_max: usize) -> Self {
        let (hasher, taken, by_age) = (RandomState::new(), HashMap::new(), VecDeque::new());
        Self { kept_for, count_max, hasher, taken, by_age, next_number: 0 }
    }

    fn key(&self, owner: IdOwner, id: &MessageId) -> Key {
        (owner, self.hasher.hash_one(id))
    }

    pub(crate) fn find(&mut self, owner: IdOwner, id: &MessageId, now: Instant) -> Option<Taken> {
        self.expire(now);
        self.taken.get(&self.key(owner, id)).map(|(_, taken)| taken.clone())
    }

    pub(crate) fn insert(&mut self, owner: IdOwner, id: &MessageId, taken: Taken, now: Instant) {
        let key = self.key(owner, id);
        let number = self.next_number;
        self.next_number += 1;
        // One that is taken again although it is remembered, as its room has ended, has its time anew.
        self.taken.insert(key, (number, taken));
        self.by_age.push_back((now, key, number));
        if self.taken.len() > self.count_max {
            self.make_space();
        }
        self.compact();
    }

    /// Forgets one that was not stored after all.
    pub(crate) fn remove(&mut self, owner: IdOwner, id: &MessageId) {
        self.taken.remove(&self.key(owner, id));
        self.compact();
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((at, key, number)) = self.by_age.front().copied()
            && now.saturating_duration_since(at) >= self.kept_for
        {
            self.by_age.pop_front();
            if self.is_current(&key, number) {
                self.taken.remove(&key);
            }
        }
    }

    fn is_current(&self, key: &Key, number: u64) -> bool {
        self.taken.get(key).is_some_and(|(current, _)| *current == number)
    }

    /// Keeps the order in proportion to what is remembered. An entry is looked at once for each that was forgotten.
    fn compact(&mut self) {
        if self.by_age.len() > 2 * self.taken.len() + 1_024 {
            self.drop_stale();
        }
    }

    /// Drops the entries of what was forgotten since.
    fn drop_stale(&mut self) {
        let taken = &self.taken;
        self.by_age.retain(|(_, key, number)| taken.get(key).is_some_and(|(current, _)| current == number));
    }

    /// Lets the owners with the most forget their oldest. One pass over all frees many places, so each insertion at the
    /// bound costs little.
    fn make_space(&mut self) {
        self.drop_stale();
        let mut counts: FxHashMap<IdOwner, usize> = FxHashMap::default();
        for (_, (owner, _), _) in &self.by_age {
            *counts.entry(*owner).or_default() += 1;
        }
        let kept = self.count_max - self.count_max.div_ceil(16);
        let mut excess = self.by_age.len() - kept;
        let level = level(counts.values().copied().collect(), kept);
        let taken = &mut self.taken;
        // From the oldest on: whoever is above the level comes down to it.
        self.by_age.retain(|(_, key, _)| {
            let Some(count) = counts.get_mut(&key.0).filter(|count| excess > 0 && **count > level) else { return true };
            (*count, excess) = (*count - 1, excess - 1);
            taken.remove(key);
            false
        });
    }
}

/// The largest number that each owner may keep so that all keep at most `total`.
fn level(mut counts: Vec<usize>, total: usize) -> usize {
    counts.sort_unstable();
    let (mut left, mut owners) = (total, counts.len());
    for count in counts {
        let share = left / owners;
        if count > share {
            return share;
        }
        left -= count;
        owners -= 1;
    }
    usize::MAX
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

    #[test]
    fn an_id_is_remembered_for_its_time_and_only_for_its_owner() {
        let (start, minutes) = (clock::now(), Duration::from_mins(5));
        let mut ids = RememberedIds::new(minutes, 10);
        ids.insert(ALICE, &id(1), taken(7), start);
        let just_before = start + (minutes.saturating_sub(Duration::from_millis(1)));
        assert_eq!(ids.find(ALICE, &id(1), just_before), Some(taken(7)));
        assert_eq!(ids.find(BOB, &id(1), just_before), None);
        assert_eq!(ids.find(ALICE, &id(1), start + minutes), None);
        assert!(ids.taken.is_empty() && ids.by_age.is_empty());
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
        assert_eq!(ids.taken.len(), ids.by_age.len());
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
        assert_eq!(ids.taken.len(), ids.by_age.len());
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
        for (counts, total, expected) in [
            (vec![10, 2], 8, 6),
            (vec![10, 10, 1], 9, 4),
            (vec![3, 3], 6, usize::MAX),
            (vec![5], 1, 1),
            (vec![1; 10], 5, 0),
            (vec![], 5, usize::MAX),
        ] {
            assert_eq!(level(counts.clone(), total), expected, "{counts:?} in {total}");
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
        assert_eq!((ids.taken.len(), ids.by_age.len() <= 2 * 1_000 + 1_024), (1_000, true));
        // Taken again, it has its time anew.
        let later = start + Duration::from_mins(1);
        ids.insert(ALICE, &id(10), taken(7), later);
        assert_eq!(ids.find(ALICE, &id(20), start + minutes), None);
        assert_eq!(ids.find(ALICE, &id(10), start + minutes), Some(taken(7)));
        assert_eq!((ids.taken.len(), ids.by_age.len()), (1, 1));
    }
}
