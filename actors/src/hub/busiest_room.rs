//! The share of the busiest room in a hub's deliveries. Counted once per room and turn, so a message costs nothing.

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
}

impl BusiestRoom {
    /// Counts deliveries of a room.
    pub(super) fn count(&mut self, room: &mut RoomDeliveries, deliveries: u64) {
        if room.span != self.span {
            *room = RoomDeliveries { span: self.span, count: 0 };
        }
        room.count = room.count.saturating_add(u32::try_from(deliveries).unwrap_or(u32::MAX));
        self.all += deliveries;
        self.most = self.most.max(room.count);
    }

    /// The share in thousandths: of the span before, or of the current one if that was the first. 0: no deliveries.
    pub(super) fn permille(&self) -> u64 {
        self.permille_before.unwrap_or_else(|| self.current())
    }

    fn current(&self) -> u64 {
        (u64::from(self.most) * 1_000).checked_div(self.all).unwrap_or(0)
    }

    /// Begins a new span.
    pub(super) fn turn(&mut self) {
        let permille_before = Some(self.current());
        *self = Self { span: self.span.wrapping_add(1), permille_before, ..Self::default() };
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
        busiest.count(&mut hot, 60);
        busiest.count(&mut calm, 20);
        assert_eq!(busiest.permille(), 750);
        busiest.turn();
        busiest.count(&mut calm, 10);
        assert_eq!(busiest.permille(), 750, "a whole span counts");
        busiest.turn();
        assert_eq!(busiest.permille(), 1_000, "a span forgets the one before");
        busiest.turn();
        assert_eq!(busiest.permille(), 0);
    }
}
