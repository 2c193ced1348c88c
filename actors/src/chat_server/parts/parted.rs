//! A hash map in parts, so that growth moves only one small part at a time.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash};

/// The number of parts. A map of a million entries has about 16,000 in each; a part that grows moves them in a few ms.
const PARTS: usize = 64;

/// A hash map whose slowest operation stays fast, however many entries it has.
///
/// A map that doubles its size moves all entries at once, which takes a third of a second for a million names. This map
/// moves only the entries of the part that is full.
pub(crate) struct PartedMap<K, V> {
    parts: Box<[HashMap<K, V>; PARTS]>,
    /// Chooses the part.
    hasher: RandomState,
    count: usize,
}

impl<K, V> Default for PartedMap<K, V> {
    fn default() -> Self {
        let parts = Box::new(std::array::from_fn(|_| HashMap::new()));
        Self { parts, hasher: RandomState::new(), count: 0 }
    }
}

impl<K, V> fmt::Debug for PartedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartedMap").field("count", &self.count).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq, V> PartedMap<K, V> {
    fn part<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        usize::from(self.hasher.hash_one(key).to_le_bytes()[0]) % PARTS
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.parts.get(self.part(key))?.get(key)
    }

    pub(crate) fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let part = self.part(key);
        self.parts.get_mut(part)?.get_mut(key)
    }

    /// The entries, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.parts.iter().flat_map(HashMap::values)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let part = self.part(&key);
        let before = self.parts.get_mut(part).and_then(|part| part.insert(key, value));
        self.count += usize::from(before.is_none());
    }

    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let part = self.part(key);
        let before = self.parts.get_mut(part).and_then(|part| part.remove(key));
        self.count -= usize::from(before.is_some());
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_replaced_counted_and_removed_in_whatever_part_they_lie() {
        let mut map = PartedMap::default();
        for number in 0..10_000 {
            map.insert(format!("room-{number}"), number);
            map.insert(format!("room-{number}"), number + 1);
        }
        assert_eq!((map.len(), map.get("room-77"), map.get("room-10000")), (10_000, Some(&78), None));
        for number in (0..10_000).chain(0..10) {
            map.remove(format!("room-{number}").as_str());
        }
        assert_eq!((map.len(), map.get("room-77")), (0, None));
    }

    #[test]
    fn no_part_holds_much_more_than_its_share() {
        let mut map = PartedMap::default();
        for number in 0..100_000 {
            map.insert(number, number);
        }
        let largest = map.parts.iter().map(HashMap::len).max();
        assert!(largest.is_some_and(|count| count < 2 * 100_000 / PARTS), "{largest:?}");
    }
}
