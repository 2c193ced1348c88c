//! A bot's membership in one room: its position, and whether it is there.

use super::position::Position;

/// A bot's membership in one room.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) position: Position,
    pub(super) is_away: bool,
    /// Whether it is away by its own choice.
    pub(super) rests: bool,
}
