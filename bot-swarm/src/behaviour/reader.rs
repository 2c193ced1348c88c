//! A reader says how far it has read.

use std::time::Duration;

use super::{Behaviour, Move, around};
use crate::plan::Habits;

/// Reads silently in its room, and tells the server how far it has read from time to time.
pub(super) struct Reader;

impl Behaviour for Reader {
    fn next_move(&mut self, habits: &Habits, rng: &mut fastrand::Rng) -> Option<(Duration, Move)> {
        Some((around(habits.change, rng), Move::Read))
    }
}
