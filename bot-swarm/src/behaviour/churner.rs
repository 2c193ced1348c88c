//! A churner disconnects and returns, and resumes each time.

use std::time::Duration;

use super::{Behaviour, Move, around};
use crate::plan::Habits;

/// Stays for a while and leaves for about half as long. It closes the WebSocket one time and drops the connection the
/// next.
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
