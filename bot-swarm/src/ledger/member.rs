//! A bot's membership in one room: its position, and whether it is there.

use super::position::Position;
use super::read_position::ReadPosition;

/// A bot's membership in one room.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) position: Position,
    pub(super) read: ReadPosition,
    /// The newest entry of the room when it last joined.
    pub(super) joined_at: u64,
    pub(super) is_away: bool,
    /// Whether it is away by its own choice.
    pub(super) rests: bool,
}
