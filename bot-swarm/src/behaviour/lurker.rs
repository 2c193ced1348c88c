//! A lurker only reads: most members of most rooms.

use super::Behaviour;

/// Reads, and says nothing.
pub(super) struct Lurker;

impl Behaviour for Lurker {}
