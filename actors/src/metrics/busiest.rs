//! The slowest clients and the busiest rooms of each hub, for the page of the lab.
//!
//! They are not metrics: a label never has the number of a session or a room. Each hub replaces its own lists about
//! once a second; the [`ChatServer`](crate::ChatServer) knows the names.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::ids::{RoomId, SessionId};

/// Most entries of each list.
pub const MOST: usize = 5;

/// A connection with unsent bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowSession {
    /// The session of the connection.
    pub session: SessionId,
    /// Bytes in its outbox.
    pub bytes: usize,
    /// The time for which the oldest frame has waited.
    pub waited: Duration,
}

/// A room of one hub.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BusyRoom {
    /// A room or an inbox.
    pub room: RoomId,
    /// Messages offered to the members of this hub, each member counted, per second.
    pub deliveries_per_second: f64,
}

/// The lists of one hub.
#[derive(Debug, Clone, Default)]
pub struct Busiest {
    /// Those with the longest waiting frame come first.
    pub sessions: Vec<SlowSession>,
    /// Over about five seconds, the busiest first.
    pub rooms: Vec<BusyRoom>,
}

/// The newest lists of one hub.
#[derive(Debug, Default)]
pub struct NewestBusiest(Mutex<Busiest>);

impl NewestBusiest {
    pub(crate) fn set_sessions(&self, mut sessions: Vec<SlowSession>) {
        sessions.sort_by_key(|it| std::cmp::Reverse(it.waited));
        sessions.truncate(MOST);
        self.change(|lists| lists.sessions = sessions);
    }

    pub(crate) fn set_rooms(&self, mut rooms: Vec<BusyRoom>) {
        rooms.sort_by(|a, b| b.deliveries_per_second.total_cmp(&a.deliveries_per_second));
        self.change(|lists| lists.rooms = rooms);
    }

    fn change(&self, change: impl FnOnce(&mut Busiest)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The lists as they are now.
    pub fn get(&self) -> Busiest {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
