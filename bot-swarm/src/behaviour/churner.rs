//! A churner leaves and comes back, resuming where it was.

use std::time::Duration;

use super::{Behaviour, Move, around};
use crate::plan::Habits;

/// Stays for a while and goes for half as long; with a goodbye one time, cut off the next.
#[derive(Default)]
pub(super) struct Churner {
    departures: u32,
}

impl Behaviour for Churner {
    fn next_move(&mut self, habits: &Habits, rng: &mut fastrand::Rng) -> Option<(Duration, Move)> {
        self.departures = self.departures.wrapping_add(1);
        let politely = !self.departures.is_multiple_of(2);
        let rest = around(habits.churn / 2, rng);
        Some((around(habits.churn, rng), Move::Depart { politely, rest }))
    }
}
