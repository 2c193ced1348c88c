//! A typist types all the time.

use std::time::Duration;

use starling_protocol::limits::TYPING_COUNTS_EVERY_MS;

use super::{Behaviour, Move};
use crate::plan::Habits;

/// Reads silently in its room, and tells the server that it types, as often as that counts.
pub(super) struct Typist;

impl Behaviour for Typist {
    fn next_move(&mut self, _: &Habits, rng: &mut fastrand::Rng) -> Option<(Duration, Move)> {
        // A little later each time, so that the frames of many typists spread out.
        Some((Duration::from_millis(TYPING_COUNTS_EVERY_MS).mul_f64(1.0 + rng.f64() / 4.0), Move::Type))
    }
}
