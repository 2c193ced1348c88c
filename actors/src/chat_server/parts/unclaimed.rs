//! Unclaimed inboxes: inboxes whose owner has never connected. Each was created by its maker, the first client that
//! wrote to the owner.
//!
//! A client that writes to invented names could fill the table of inboxes for everybody. So each maker has a limit. In
//! a full table, the maker with the most inboxes loses its oldest one to a maker with fewer, and the owner of a new
//! inbox always gets one. An inbox that several clients have written into is never dropped for another one, but still
//! counts for its maker.

use std::collections::{BTreeSet, HashMap, VecDeque};

use rustc_hash::{FxHashMap, FxHashSet};
use starling_protocol::ClientId;

use crate::ids::RoomId;

/// The inboxes that one client has created.
#[derive(Debug, Default)]
struct Made {
    /// The inboxes that no other client has written into, the oldest first.
    alone: VecDeque<RoomId>,
    /// The number of all its inboxes, including shared ones.
    count: usize,
}

/// The unclaimed inboxes.
#[derive(Debug, Default)]
pub(crate) struct Unclaimed {
    makers: FxHashMap<RoomId, ClientId>,
    made: HashMap<ClientId, Made>,
    /// The makers, by the number of their inboxes that no other client has written into.
    by_count: BTreeSet<(usize, ClientId)>,
}

impl Unclaimed {
    /// The unclaimed inboxes, each with its maker and whether no other client has written into it. Those of one maker that
    /// no other client has written into come in the order in which it has made them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RoomId, &ClientId, bool)> {
        let alone: FxHashSet<_> = self.made.values().flat_map(|made| &made.alone).copied().collect();
        let in_order =
            self.made.iter().flat_map(|(maker, made)| made.alone.iter().map(move |inbox| (*inbox, maker, true)));
        let shared = self.makers.iter().filter(move |(inbox, _)| !alone.contains(inbox));
        in_order.chain(shared.map(|(inbox, maker)| (*inbox, maker, false)))
    }

    /// The number of inboxes that this client has made and that are still unclaimed.
    pub(crate) fn made_by(&self, maker: &ClientId) -> usize {
        self.made.get(maker).map_or(0, |made| made.count)
    }

    /// Adds an inbox that this client has made.
    pub(crate) fn insert(&mut self, inbox: RoomId, maker: &ClientId) {
        self.makers.insert(inbox, maker.clone());
        self.change(maker, |made| {
            made.alone.push_back(inbox);
            made.count += 1;
        });
    }

    /// Notes that a client writes into an inbox. If it is not the maker, the inbox is shared from then on.
    pub(crate) fn written_by(&mut self, inbox: RoomId, sender: &ClientId) {
        if self.makers.get(&inbox).is_some_and(|maker| maker != sender) {
            self.share(inbox);
        }
    }

    /// Marks the inbox as shared: other clients than its maker have written into it.
    pub(crate) fn share(&mut self, inbox: RoomId) {
        if let Some(maker) = self.makers.get(&inbox).cloned() {
            self.change(&maker, |made| made.alone.retain(|other| *other != inbox));
        }
    }

    /// Removes an inbox that its owner has claimed, or that has ended.
    pub(crate) fn remove(&mut self, inbox: RoomId) {
        let Some(maker) = self.makers.remove(&inbox) else { return };
        self.change(&maker, |made| {
            made.alone.retain(|other| *other != inbox);
            made.count -= 1;
        });
        if self.made_by(&maker) == 0 {
            self.made.remove(&maker);
        }
    }

    /// The oldest unshared inbox of the maker with the most of these, and their number.
    pub(crate) fn first_to_drop(&self) -> Option<(usize, RoomId)> {
        let (count, maker) = self.by_count.last()?;
        Some((*count, *self.made.get(maker)?.alone.front()?))
    }

    fn change(&mut self, maker: &ClientId, change: impl FnOnce(&mut Made)) {
        let made = self.made.entry(maker.clone()).or_default();
        let before = made.alone.len();
        change(made);
        let after = made.alone.len();
        if before != after {
            self.by_count.remove(&(before, maker.clone()));
            if after > 0 {
                self.by_count.insert((after, maker.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str) -> ClientId {
        ClientId::parse(name).unwrap()
    }

    #[test]
    fn the_maker_of_the_most_loses_its_oldest_first() {
        let (alice, bob) = (client("alice"), client("bob"));
        let mut unclaimed = Unclaimed::default();
        for number in 0..3 {
            unclaimed.insert(RoomId(number), &alice);
        }
        unclaimed.insert(RoomId(10), &bob);
        assert_eq!(unclaimed.first_to_drop(), Some((3, RoomId(0))));
        unclaimed.remove(RoomId(0));
        unclaimed.written_by(RoomId(1), &alice);
        assert_eq!(unclaimed.first_to_drop(), Some((2, RoomId(1))));
        unclaimed.written_by(RoomId(1), &bob);
        assert_eq!((unclaimed.made_by(&alice), unclaimed.first_to_drop()), (2, Some((1, RoomId(10)))));
        for inbox in [1, 2, 10, 99] {
            unclaimed.remove(RoomId(inbox));
        }
        assert_eq!((unclaimed.made_by(&alice), unclaimed.first_to_drop()), (0, None));
        assert!(unclaimed.made.is_empty() && unclaimed.makers.is_empty());
    }
}
