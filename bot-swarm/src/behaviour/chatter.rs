//! A chatter talks to its room.

use super::{Behaviour, Talk};

/// Talks to its room, at its pace.
pub(super) struct Chatter;

impl Behaviour for Chatter {
    fn talk(&self) -> Talk {
        Talk::Room
    }
}
