//! A lurker only reads, as most members of most rooms do.

use super::Behaviour;

/// Reads, and sends nothing.
pub(super) struct Lurker;

impl Behaviour for Lurker {}
