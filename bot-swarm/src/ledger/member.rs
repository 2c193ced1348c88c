//! A bot's place in one room: what it has of it, and whether it is there.

use super::position::Position;

/// A bot's place in one room.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) position: Position,
    pub(super) is_away: bool,
    /// Whether it is away by its own will.
    pub(super) rests: bool,
}
