//! Inboxes whose owner has never been here: each was made by the first client that wrote to that name.
//!
//! Whoever writes to invented names fills the table of inboxes for all. So each maker has a share; in a full table the
//! maker with the most loses its oldest to one that has fewer; and the owner of a new inbox always gets one. An inbox
//! that several clients wrote into is never dropped for another, and counts for its maker all the same.

use std::collections::{BTreeSet, HashMap, VecDeque};

use rustc_hash::FxHashMap;
use starling_protocol::ClientId;

use crate::ids::RoomId;

/// What one client has made.
#[derive(Debug, Default)]
struct Made {
    /// Those that nobody else wrote into, the oldest first.
    alone: VecDeque<RoomId>,
    /// How many there are in all.
    count: usize,
}

/// The unclaimed inboxes.
#[derive(Debug, Default)]
pub(crate) struct Unclaimed {
    makers: FxHashMap<RoomId, ClientId>,
    made: HashMap<ClientId, Made>,
    /// The makers of inboxes that nobody else wrote into, by how many.
    by_count: BTreeSet<(usize, ClientId)>,
}

impl Unclaimed {
    /// How many of its inboxes are still unclaimed.
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

    /// A client writes into an inbox: if it is another than its maker, the inbox is no longer the maker's alone.
    pub(crate) fn written_by(&mut self, inbox: RoomId, sender: &ClientId) {
        if self.makers.get(&inbox).is_some_and(|maker| maker != sender) {
            self.share(inbox);
        }
    }

    /// The inbox is not its maker's alone.
    pub(crate) fn share(&mut self, inbox: RoomId) {
        if let Some(maker) = self.makers.get(&inbox).cloned() {
            self.change(&maker, |made| made.alone.retain(|other| *other != inbox));
        }
    }

    /// The inbox is claimed by its owner, or gone.
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

    /// The oldest inbox of the maker that has the most which nobody else wrote into, and how many that has.
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
