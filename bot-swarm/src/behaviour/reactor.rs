//! A reactor reacts to messages.

use std::time::Duration;

use super::{Behaviour, Move, around};
use crate::plan::Habits;

/// Reads silently in its room, and reacts to the newest message from time to time.
pub(super) struct Reactor;

impl Behaviour for Reactor {
    fn next_move(&mut self, habits: &Habits, rng: &mut fastrand::Rng) -> Option<(Duration, Move)> {
        Some((around(habits.change, rng), Move::React))
    }
}
