//! The share of the busiest room in a hub's deliveries, and the rooms with the most deliveries. Counted once per room
//! and turn, so the cost per message is zero.

use crate::ids::RoomId;
use crate::metrics::busiest::MOST;

/// The deliveries of a room in a span of time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RoomDeliveries {
    span: u32,
    count: u32,
}

/// Compares the deliveries of all rooms of a hub.
#[derive(Debug, Default)]
pub(super) struct BusiestRoom {
    span: u32,
    all: u64,
    most: u32,
    permille_before: Option<u64>,
    /// The rooms with the most deliveries in this span, in no order.
    top: Vec<(RoomId, u32)>,
    /// The deliveries that a room must exceed to enter a full `top`; 0 while it is not full.
    least: u32,
}

impl BusiestRoom {
    /// Counts deliveries of a room.
    pub(super) fn count(&mut self, id: RoomId, room: &mut RoomDeliveries, deliveries: u64) {
        if room.span != self.span {
            *room = RoomDeliveries { span: self.span, count: 0 };
        }
        room.count = room.count.saturating_add(u32::try_from(deliveries).unwrap_or(u32::MAX));
        self.all += deliveries;
        self.most = self.most.max(room.count);
        if room.count > self.least {
            self.rank(id, room.count);
        }
    }

    /// Puts a room among those with the most deliveries.
    fn rank(&mut self, id: RoomId, count: u32) {
        let before = if let Some(known) = self.top.iter_mut().find(|(room, _)| *room == id) {
            std::mem::replace(&mut known.1, count)
        } else if self.top.len() < MOST {
            self.top.push((id, count));
            0
        } else if let Some(last) = self.top.iter_mut().min_by_key(|(_, count)| *count) {
            std::mem::replace(last, (id, count)).1
        } else {
            0
        };
        // The threshold changes only when the last entry changes, or when the list has just become full.
        if before <= self.least && self.top.len() == MOST {
            self.least = self.top.iter().map(|(_, count)| *count).min().unwrap_or(0);
        }
    }

    /// The share in thousandths: of the span before, or of the current one if that was the first. 0: no deliveries.
    pub(super) fn permille(&self) -> u64 {
        self.permille_before.unwrap_or_else(|| self.current())
    }

    fn current(&self) -> u64 {
        (u64::from(self.most) * 1_000).checked_div(self.all).unwrap_or(0)
    }

    /// Begins a new span. Returns the rooms with the most deliveries in the one that ends, in no order.
    pub(super) fn turn(&mut self) -> Vec<(RoomId, u32)> {
        let permille_before = Some(self.current());
        let ended = std::mem::take(self);
        *self = Self { span: ended.span.wrapping_add(1), permille_before, ..Self::default() };
        ended.top
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_room_is_compared_with_all_others() {
        let mut busiest = BusiestRoom::default();
        let (mut hot, mut calm) = (RoomDeliveries::default(), RoomDeliveries::default());
        assert_eq!(busiest.permille(), 0, "nothing was delivered");
        busiest.count(RoomId(1), &mut hot, 60);
        busiest.count(RoomId(2), &mut calm, 20);
        assert_eq!(busiest.permille(), 750);
        busiest.turn();
        busiest.count(RoomId(2), &mut calm, 10);
        assert_eq!(busiest.permille(), 750, "a whole span counts");
        busiest.turn();
        assert_eq!(busiest.permille(), 1_000, "a span forgets the one before");
        busiest.turn();
        assert_eq!(busiest.permille(), 0);
    }
    #[test]
    fn the_rooms_with_the_most_deliveries_are_known_and_no_others() {
        let mut busiest = BusiestRoom::default();
        let mut rooms = [RoomDeliveries::default(); 20];
        // Each room speaks several times, the higher ones more; the order of the rooms changes.
        for round in 0..3_u32 {
            for step in 0..20_u32 {
                let number = (step * 7 + round) % 20;
                busiest.count(RoomId(number), &mut rooms[number as usize], u64::from(number) + 1);
            }
        }
        let mut top = busiest.turn();
        top.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let expected: Vec<_> = (0..20).rev().take(MOST).map(|number| (RoomId(number), 3 * (number + 1))).collect();
        assert_eq!(top, expected);
        busiest.count(RoomId(3), &mut rooms[3], 1);
        assert_eq!(busiest.turn(), [(RoomId(3), 1)], "a span forgets the one before");
    }
}
