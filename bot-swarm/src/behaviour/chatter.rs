//! A chatter talks in its room.

use super::{Behaviour, Talk};

/// Talks in its room, at the configured rate.
pub(super) struct Chatter;

impl Behaviour for Chatter {
    fn talk(&self) -> Talk {
        Talk::Room
    }
}
