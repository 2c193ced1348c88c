//! A slow bot reads slowly: a client on a bad network, or one that hangs.

use super::Behaviour;

/// Reads no faster than it may, and says nothing.
pub(super) struct Slow;

impl Behaviour for Slow {}
