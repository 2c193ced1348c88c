//! A hopper joins and leaves rooms.

use std::time::Duration;

use super::{Behaviour, Move, around};
use crate::plan::Habits;

/// Stays silently in its own room, and visits other rooms one after the other.
pub(super) struct Hopper;

impl Behaviour for Hopper {
    fn next_move(&mut self, habits: &Habits, rng: &mut fastrand::Rng) -> Option<(Duration, Move)> {
        Some((around(habits.hop, rng), Move::Hop))
    }
}
