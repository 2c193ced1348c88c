//! An editor edits and deletes its own messages.

use std::time::Duration;

use super::{Behaviour, Move, Talk, around};
use crate::plan::Habits;

/// Talks in its room like a chatter, and changes its newest message from time to time.
pub(super) struct Editor;

impl Behaviour for Editor {
    fn talk(&self) -> Talk {
        Talk::Room
    }

    fn next_move(&mut self, habits: &Habits, rng: &mut fastrand::Rng) -> Option<(Duration, Move)> {
        Some((around(habits.change, rng), Move::ChangeOwn))
    }
}
