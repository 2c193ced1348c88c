//! A private bot sends messages to other bots, to one at a time.

use super::{Behaviour, Talk};

/// Talks to a few other bots at the configured rate, and in no room.
pub(super) struct Private;

impl Behaviour for Private {
    fn talk(&self) -> Talk {
        Talk::Friends
    }
}
