//! The `id`s of messages that were taken lately, so that the same message sent again is delivered once.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use starling_protocol::{ClientId, Epoch, MessageId, Seq};

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

/// What is remembered, for a time and up to a number; past the number the oldest are forgotten early.
///
/// Sender and `id` are kept as two independent keyed hashes, together 128 bits: a memory of a fixed size whatever
/// clients put into an `id`, and no client can aim at another's.
#[derive(Debug)]
pub(crate) struct RememberedIds {
    kept_for: Duration,
    count_max: usize,
    hashers: (RandomState, RandomState),
    /// Each with its number in the order in which they were taken.
    taken: HashMap<(u64, u64), (u64, Taken)>,
    /// The same, the oldest first. An entry whose number is not that in `taken` speaks of one that was forgotten since.
    by_age: VecDeque<(Instant, (u64, u64), u64)>,
    next_number: u64,
}

impl RememberedIds {
    pub(crate) fn new(kept_for: Duration, count_max: usize) -> Self {
        Self {
            kept_for,
            count_max,
            hashers: (RandomState::new(), RandomState::new()),
            taken: HashMap::new(),
            by_age: VecDeque::new(),
            next_number: 0,
        }
    }

    fn key(&self, sender: &ClientId, id: &MessageId) -> (u64, u64) {
        (self.hashers.0.hash_one((sender, id)), self.hashers.1.hash_one((sender, id)))
    }

    pub(crate) fn find(&mut self, sender: &ClientId, id: &MessageId, now: Instant) -> Option<Taken> {
        self.expire(now);
        self.taken.get(&self.key(sender, id)).map(|(_, taken)| taken.clone())
    }

    pub(crate) fn insert(&mut self, sender: &ClientId, id: &MessageId, taken: Taken, now: Instant) {
        let key = self.key(sender, id);
        let number = self.next_number;
        self.next_number += 1;
        // One that is taken again although it is remembered, as its room has ended, has its time anew.
        self.taken.insert(key, (number, taken));
        self.by_age.push_back((now, key, number));
        while self.taken.len() > self.count_max {
            self.forget_oldest();
        }
        self.compact();
    }

    /// Forgets one that was not stored after all.
    pub(crate) fn remove(&mut self, sender: &ClientId, id: &MessageId) {
        self.taken.remove(&self.key(sender, id));
        self.compact();
    }

    /// Keeps the order in proportion to what is remembered. An entry is looked at once for each that was forgotten.
    fn compact(&mut self) {
        if self.by_age.len() > 2 * self.taken.len() + 1_024 {
            let taken = &self.taken;
            self.by_age.retain(|(_, key, number)| taken.get(key).is_some_and(|(current, _)| current == number));
        }
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        while self.by_age.front().is_some_and(|(at, ..)| now.saturating_duration_since(*at) >= self.kept_for) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key, number)) = self.by_age.pop_front()
            && self.taken.get(&key).is_some_and(|(current, _)| *current == number)
        {
            self.taken.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn name(text: &str) -> ClientId {
        ClientId::parse(text).unwrap()
    }

    fn id(number: u64) -> MessageId {
        MessageId::parse(&number.to_string()).unwrap()
    }

    fn taken(seq: u64) -> Taken {
        (Place::Room(RoomId(0)), Epoch(1), Seq(seq), 0)
    }

    #[test]
    fn an_id_is_remembered_for_its_time_and_only_for_its_sender() {
        let (start, minutes) = (clock::now(), Duration::from_mins(5));
        let mut ids = RememberedIds::new(minutes, 10);
        ids.insert(&name("alice"), &id(1), taken(7), start);
        let just_before = start + (minutes.saturating_sub(Duration::from_millis(1)));
        assert_eq!(ids.find(&name("alice"), &id(1), just_before), Some(taken(7)));
        assert_eq!(ids.find(&name("bob"), &id(1), just_before), None);
        assert_eq!(ids.find(&name("alice"), &id(1), start + minutes), None);
        assert!(ids.taken.is_empty() && ids.by_age.is_empty());
    }

    #[test]
    fn past_the_number_the_oldest_is_forgotten() {
        let now = clock::now();
        let mut ids = RememberedIds::new(Duration::from_mins(5), 2);
        for number in 1..=3 {
            ids.insert(&name("alice"), &id(number), taken(number), now);
        }
        assert_eq!(ids.find(&name("alice"), &id(1), now), None);
        assert_eq!(ids.find(&name("alice"), &id(2), now), Some(taken(2)));
        assert_eq!(ids.taken.len(), 2);
    }

    #[test]
    fn one_that_was_not_stored_is_forgotten_and_leaves_the_others_their_order() {
        let (start, minutes) = (clock::now(), Duration::from_mins(5));
        let mut ids = RememberedIds::new(minutes, 1_000_000);
        for number in 1..=10_000 {
            ids.insert(&name("alice"), &id(number), taken(number), start);
            if number % 10 > 0 {
                ids.remove(&name("alice"), &id(number));
            }
        }
        assert_eq!((ids.taken.len(), ids.by_age.len() <= 2 * 1_000 + 1_024), (1_000, true));
        // Taken again, it has its time anew.
        let later = start + Duration::from_mins(1);
        ids.insert(&name("alice"), &id(10), taken(7), later);
        assert_eq!(ids.find(&name("alice"), &id(20), start + minutes), None);
        assert_eq!(ids.find(&name("alice"), &id(10), start + minutes), Some(taken(7)));
        assert_eq!((ids.taken.len(), ids.by_age.len()), (1, 1));
    }
}
