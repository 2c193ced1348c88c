//! A flooder ignores limits: it talks as fast as it can, and what is refused does not impress it.

use super::{Behaviour, Talk};

/// Talks to its room, much too fast.
pub(super) struct Flooder;

impl Behaviour for Flooder {
    fn talk(&self) -> Talk {
        Talk::Room
    }

    fn ignores_limits(&self) -> bool {
        true
    }
}
