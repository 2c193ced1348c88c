//! A slow bot reads slowly, like a client on a bad network or one that hangs.

use super::Behaviour;

/// Reads no faster than its limit, and sends nothing.
pub(super) struct Slow;

impl Behaviour for Slow {}
