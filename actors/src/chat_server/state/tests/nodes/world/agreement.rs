//! Nodes that have read the same records have the same state, within the limits of the chat.

use super::World;
use crate::chat_server::state::ChatState;
use crate::nodes::checkpoint::{Checkpoint, UnclaimedThen};

/// Whole states are compared behind each record whose position is a multiple of this; the digest of all that was decided is
/// a part of them.
const COMPARED_EVERY: u64 = 8;

/// The limits of the chat, so low that they are reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) rooms: u32,
    pub(super) inboxes: u32,
}

impl Limits {
    pub(super) fn of(seed: u64) -> Self {
        let between = |least, count: u64| least + u32::try_from(seed % count).unwrap();
        Self { rooms: between(2, 4), inboxes: between(4, 5) }
    }

    pub(super) fn check(self, state: &ChatState) {
        assert!(state.room_count() <= self.rooms as usize, "{} rooms", state.room_count());
        let (inboxes, may_go) = (state.inboxes.count(), state.inboxes.first_to_go_for_owner());
        assert!(inboxes <= self.inboxes as usize || may_go.is_none(), "{inboxes} inboxes, and one may go");
    }
}

impl World {
    /// What a node has made of the log is what the first node has made of it that has read as much.
    pub(super) fn check_agreement(&mut self, node: usize) {
        if !self.nodes[node].read.is_multiple_of(COMPARED_EVERY) {
            return;
        }
        let state = in_order(self.nodes[node].state.checkpoint());
        let (reached, _) = self.nodes[node].state.agreed();
        match self.agreed.get(&reached) {
            Some(first) => assert_eq!(*first, state, "all nodes make the same of the log up to {reached:?}"),
            None => drop(self.agreed.insert(reached, state)),
        }
    }
}

/// The state without the order of what has none.
fn in_order(mut state: Checkpoint) -> Checkpoint {
    let mut order: Vec<_> = (0..state.rooms.len()).collect();
    order.sort_by(|one, other| state.rooms[*one].key.cmp(&state.rooms[*other].key));
    let place = |room: u32| u32::try_from(order.iter().position(|other| *other == room as usize).unwrap()).unwrap();
    for id in &mut state.placed.ids {
        if let Some(placed) = &mut id.message {
            placed.room = placed.room.map(place);
        }
    }
    for (room, _) in &mut state.deletions {
        *room = place(*room);
    }
    state.deletions.sort_unstable();
    for position in &mut state.read {
        position.room = place(position.room);
    }
    for unclaimed in &mut state.unclaimed {
        unclaimed.room = place(unclaimed.room);
    }
    // Only those of one maker that nobody else has written into have an order.
    state.unclaimed.sort_by(|one, other| {
        let shared = |it: &UnclaimedThen| (!it.is_alone).then_some(it.room);
        (&one.maker, shared(one)).cmp(&(&other.maker, shared(other)))
    });
    state.rooms.sort_by(|one, other| one.key.cmp(&other.key));
    for room in &mut state.rooms {
        room.present.sort();
        room.present.iter_mut().for_each(|(_, lives)| lives.sort_unstable());
    }
    state
}
