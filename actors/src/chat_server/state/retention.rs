//! Rooms that keep their messages for as long as their own settings say.
//!
//! The history drops the messages, and knows the limits only for as long as the process runs. So it is told them when they
//! change, and at the next tick after a start and after a room with such settings has begun.

use std::time::Duration;

use starling_protocol::Retention;

use super::ChatState;
use crate::chat_server::effect::{Effect, Turn};
use crate::history::OwnLimits;
use crate::ids::RoomId;

impl ChatState {
    /// A room begins. It may have limits of its own.
    pub(super) fn limit_new_room(&mut self, room: RoomId) {
        if self.retention(room) != Retention::default() {
            self.limit_history(room);
        }
    }

    /// A room has got limits of its own, other ones, or has them no more.
    pub(super) fn limit_history(&mut self, room: RoomId) {
        self.rooms.keep_at_most(room, self.retention(room).messages);
        self.limits_due.push(room);
    }

    fn retention(&self, room: RoomId) -> Retention {
        self.own_settings(room).map_or(Retention::default(), |settings| settings.retention)
    }

    /// Tells the history the limits that it does not know yet, and lets it drop what is beyond them.
    pub(super) fn tell_limits(&mut self, turn: &mut Turn) {
        for room in std::mem::take(&mut self.limits_due) {
            let Retention { messages, seconds } = self.retention(room);
            let limits = OwnLimits { messages, keep_for: seconds.map(Duration::from_secs) };
            turn.push(Effect::Limit { room, limits });
        }
        if self.moderation.has_settings() {
            turn.push(Effect::DropExcess);
        }
    }
}
