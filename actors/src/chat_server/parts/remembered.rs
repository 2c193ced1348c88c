//! Recent message `id`s, so that a message that is sent again is delivered once.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};
use std::time::Duration;

use rustc_hash::FxHashMap;
use starling_protocol::MessageId;

use crate::clock::Instant;
use crate::identity::IdOwner;

/// An `id` of an owner: the owner's hash, and a keyed hash of the `id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct IdKey(pub(crate) IdOwner, pub(crate) u64);

/// Computes the keys of `id`s.
///
/// A hash has a fixed size, however long the `id` is. It is keyed, so that no client can choose two `id`s with the same
/// hash.
#[derive(Debug, Clone)]
pub(crate) struct IdHasher {
    /// It has hashed the secret.
    keyed: DefaultHasher,
}

impl Default for IdHasher {
    fn default() -> Self {
        Self { keyed: RandomState::new().build_hasher() }
    }
}

impl IdHasher {
    /// Computes the same keys on every node that shares the secret.
    pub(crate) fn shared(secret: u64) -> Self {
        let mut keyed = DefaultHasher::new();
        secret.hash(&mut keyed);
        Self { keyed }
    }

    #[inline]
    pub(crate) fn key(&self, owner: IdOwner, id: &MessageId) -> IdKey {
        let mut hasher = self.keyed.clone();
        id.hash(&mut hasher);
        IdKey(owner, hasher.finish())
    }
}

/// Most entries that one sweep step examines, and so the most that one message causes.
const SWEPT_AT_ONCE: usize = 128;

/// Most `id`s that one call expires. The rest expires with the following messages and ticks.
const EXPIRED_AT_ONCE: usize = 4_096;

/// Remembers `id`s with the outcome of their message, for a limited time and up to a limited number.
///
/// Shortly below the limit, the owners with the most `id`s lose their oldest ones until there is space again. So a
/// client that fills the memory loses its own `id`s, and an owner with few keeps all of them.
///
/// No operation examines all `id`s at once. A sweep makes space and removes stale entries, one small step with each
/// message.
#[derive(Debug)]
pub(crate) struct RememberedIds<T> {
    kept_for: Duration,
    count_max: usize,
    taken: TakenIds<T>,
    counts: Counts,
    /// Entries that the sweep has examined, the oldest first. An entry is stale if `taken` has another time for its
    /// `id`, which was forgotten or replaced since.
    swept: VecDeque<(Instant, IdKey)>,
    /// Newer entries that the sweep has yet to examine.
    unswept: VecDeque<(Instant, IdKey)>,
    sweep: Option<Sweep>,
}

/// The number of parts of the map: a part that grows moves only its own entries.
const PARTS: usize = 256;

/// The `id`s, each with the time it was inserted. Keys are already keyed hashes, so a fast hasher is safe.
#[derive(Debug)]
struct TakenIds<T> {
    parts: Vec<FxHashMap<IdKey, (Instant, T)>>,
    count: usize,
}

impl<T> Default for TakenIds<T> {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| FxHashMap::default()).collect(), count: 0 }
    }
}

impl<T> TakenIds<T> {
    fn part(key: &IdKey) -> usize {
        usize::from(key.1.to_le_bytes()[0]) % PARTS
    }

    fn len(&self) -> usize {
        self.count
    }

    fn get(&self, key: &IdKey) -> Option<&(Instant, T)> {
        self.parts.get(Self::part(key))?.get(key)
    }

    /// Returns whether the `id` is new.
    #[inline]
    fn insert(&mut self, key: IdKey, taken: (Instant, T)) -> bool {
        let Some(part) = self.parts.get_mut(Self::part(&key)) else { return false };
        let is_new = part.insert(key, taken).is_none();
        self.count += usize::from(is_new);
        is_new
    }

    /// Returns whether the `id` was there.
    fn remove(&mut self, key: &IdKey) -> bool {
        let Some(part) = self.parts.get_mut(Self::part(key)) else { return false };
        let was_there = part.remove(key).is_some();
        self.count -= usize::from(was_there);
        was_there
    }
}

/// A pass over all entries.
#[derive(Debug, Default)]
struct Sweep {
    /// The number of `id`s that are still to be forgotten.
    excess: usize,
    /// Owners with more lose their oldest.
    level: usize,
}

/// The number of `id`s of each owner.
#[derive(Debug, Default)]
struct Counts {
    of: FxHashMap<IdOwner, usize>,
    /// `owners_with[n]` is the number of owners with exactly `n` `id`s.
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

    /// The largest number of `id`s per owner with which all owners together keep at most `total`.
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

impl<T: Clone> RememberedIds<T> {
    pub(crate) fn new(kept_for: Duration, count_max: usize) -> Self {
        Self {
            kept_for,
            count_max,
            taken: TakenIds::default(),
            counts: Counts::default(),
            swept: VecDeque::new(),
            unswept: VecDeque::new(),
            sweep: None,
        }
    }

    /// Finds the outcome of the message with this `id`, if it is still remembered.
    pub(crate) fn find(&mut self, key: &IdKey, now: Instant) -> Option<T> {
        if self.taken.len() == 0 {
            return None;
        }
        self.expire(now);
        let (at, taken) = self.taken.get(key)?;
        (now.saturating_duration_since(*at) < self.kept_for).then(|| taken.clone())
    }

    /// Like [`find`](Self::find), but expires no `id`, because other nodes do not perform this lookup.
    pub(crate) fn peek(&self, key: &IdKey, now: Instant) -> Option<T> {
        let (at, taken) = self.taken.get(key)?;
        (now.saturating_duration_since(*at) < self.kept_for).then(|| taken.clone())
    }

    /// All `id`s in the order of the sweep, first those that the current sweep has examined, and the number of these.
    /// `None`: forgotten or replaced since.
    pub(crate) fn all(&self) -> (impl Iterator<Item = (Instant, IdKey, Option<&T>)>, usize) {
        let current = |at: Instant, key: &IdKey| {
            self.taken.get(key).filter(|(current, _)| *current == at).map(|(_, taken)| taken)
        };
        let entries = self.swept.iter().chain(&self.unswept).map(move |(at, key)| (*at, *key, current(*at, key)));
        (entries, self.swept.len())
    }

    /// The current sweep: the number of `id`s that it must still forget, and the number that an owner may keep.
    pub(crate) fn sweep(&self) -> Option<(usize, usize)> {
        self.sweep.as_ref().map(|sweep| (sweep.excess, sweep.level))
    }

    /// Restores the state that [`all`](Self::all) and [`sweep`](Self::sweep) have returned for another memory.
    pub(crate) fn restore(
        &mut self,
        entries: impl Iterator<Item = (Instant, IdKey, Option<T>)>,
        swept: usize,
        sweep: Option<(usize, usize)>,
    ) {
        for (number, (at, key, taken)) in entries.enumerate() {
            if let Some(taken) = taken
                && self.taken.insert(key, (at, taken))
            {
                self.counts.add(key.0);
            }
            let queue = if number < swept { &mut self.swept } else { &mut self.unswept };
            queue.push_back((at, key));
        }
        self.sweep = sweep.map(|(excess, level)| Sweep { excess, level });
    }

    /// Remembers the outcome of a message that was accepted at `now`.
    pub(crate) fn insert(&mut self, key: IdKey, taken: T, now: Instant) {
        // An `id` that is used again after its room has ended is remembered for the whole time again.
        if self.taken.insert(key, (now, taken)) {
            self.counts.add(key.0);
        }
        self.unswept.push_back((now, key));
        self.step();
        // The slack is larger than the inserts during a sweep, unless the memory is full of stale entries.
        while self.taken.len() > self.count_max {
            self.step();
        }
    }

    /// Forgets `id`s that are older than `kept_for`, at most [`EXPIRED_AT_ONCE`] of them.
    pub(crate) fn expire(&mut self, now: Instant) {
        let Some(expired) = now.checked_sub(self.kept_for) else { return };
        for _ in 0..EXPIRED_AT_ONCE {
            let queue = if self.swept.is_empty() { &mut self.unswept } else { &mut self.swept };
            let Some((at, key)) = queue.front().copied() else { break };
            if at > expired {
                break;
            }
            queue.pop_front();
            if self.is_current(at, &key) {
                self.forget(&key);
            }
        }
    }

    fn forget(&mut self, key: &IdKey) {
        if self.taken.remove(key) {
            self.counts.remove(key.0);
        }
    }

    fn is_current(&self, at: Instant, key: &IdKey) -> bool {
        self.taken.get(key).is_some_and(|(current, _)| *current == at)
    }

    /// Continues the sweep, or starts one if the memory is nearly full or most entries are stale.
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
            // The oldest entries come first: an owner above the level loses them until it is at the level.
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
mod tests;
