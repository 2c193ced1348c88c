//! A flooder ignores limits: it talks at its own rate, and refusals do not slow it down.

use super::{Behaviour, Talk};

/// Talks in its room, faster than a server allows.
pub(super) struct Flooder;

impl Behaviour for Flooder {
    fn talk(&self) -> Talk {
        Talk::Room
    }

    fn ignores_limits(&self) -> bool {
        true
    }
}
