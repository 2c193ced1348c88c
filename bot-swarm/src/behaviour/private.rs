//! A private bot talks to other bots, one at a time.

use super::{Behaviour, Talk};

/// Talks to a few others, at its pace, and to no room.
pub(super) struct Private;

impl Behaviour for Private {
    fn talk(&self) -> Talk {
        Talk::Friends
    }
}
