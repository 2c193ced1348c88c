//! Sessions that catch up: sessions that are sent their missed messages, and `join`s whose resume is not yet verified.
//!
//! A session that catches up in a room is not admitted to live messages there until it has caught up.

use rustc_hash::FxHashMap;
use starling_protocol::{HistoryPage, Resume, Seq};

use crate::chat_server::command::Frame;
use crate::ids::{RoomId, SessionId};

/// The progress of a session that catches up in a room.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// The newest message that the session was sent.
    after: Seq,
    /// True while the history reads the next page; false while the session writes the previous page.
    is_reading: bool,
}

/// A `join` that resumes. It is answered once the history has read the message that it resumes from.
#[derive(Debug)]
pub(crate) struct UnprovenJoin {
    pub(crate) frame: Frame,
    pub(crate) resume: Resume,
    /// Whether the session was already a member of the room.
    pub(crate) was_member: bool,
}

/// All sessions that catch up, by session and room.
#[derive(Debug, Default)]
pub(crate) struct CatchingUp {
    progress: FxHashMap<(SessionId, RoomId), Progress>,
    unproven: FxHashMap<(SessionId, RoomId), UnprovenJoin>,
}

impl CatchingUp {
    /// Whether the session is being sent missed messages in the room.
    pub(crate) fn is_catching_up(&self, session: SessionId, room: RoomId) -> bool {
        self.progress.contains_key(&(session, room))
    }

    /// Whether the session depends on a read of the history in this room; if that read fails, the session is closed.
    pub(crate) fn needs_history(&self, session: SessionId, room: RoomId) -> bool {
        self.is_catching_up(session, room) || self.unproven.contains_key(&(session, room))
    }

    /// Makes a session catch up after a message. Returns whether the caller must read the history now. While the
    /// session still writes a page, the next read follows that page. A page that is being read for an earlier resume is
    /// dropped when it comes.
    pub(crate) fn begin(&mut self, session: SessionId, room: RoomId, after: Seq) -> bool {
        let before = self.progress.get(&(session, room));
        let is_reading = before.is_none_or(|before| before.is_reading);
        self.progress.insert((session, room), Progress { after, is_reading });
        is_reading
    }

    /// Ends the catching up of a session in a room. Returns whether the session was catching up.
    pub(crate) fn end(&mut self, session: SessionId, room: RoomId) -> bool {
        self.progress.remove(&(session, room)).is_some()
    }

    /// Called when the session has written the previous page. Returns the message after which to read the next page;
    /// `None` if that read has begun already.
    pub(crate) fn go_on(&mut self, session: SessionId, room: RoomId) -> Option<Seq> {
        let progress = self.progress.get_mut(&(session, room))?;
        let was_reading = std::mem::replace(&mut progress.is_reading, true);
        (!was_reading).then_some(progress.after)
    }

    /// Returns the message after which a page was read, if the page is the one that the session asked for last.
    pub(crate) fn was_read(&self, session: SessionId, room: RoomId, asked: HistoryPage) -> Option<Seq> {
        let progress = self.progress.get(&(session, room))?;
        (asked == HistoryPage::After(progress.after)).then_some(progress.after)
    }

    /// Notes that the session is sent a page whose last message is `last`.
    pub(crate) fn sent(&mut self, session: SessionId, room: RoomId, last: Seq) {
        self.progress.insert((session, room), Progress { after: last, is_reading: false });
    }

    /// Keeps a `join` until its resume is verified.
    pub(crate) fn wait_for_proof(&mut self, room: RoomId, join: UnprovenJoin) {
        self.unproven.insert((join.frame.session, room), join);
    }

    /// Takes the unverified `join` of a session in a room, whatever message it resumes from.
    pub(crate) fn take_unproven(&mut self, session: SessionId, room: RoomId) -> Option<UnprovenJoin> {
        self.unproven.remove(&(session, room))
    }

    /// Takes the `join` for which this page was read.
    pub(crate) fn take_proven(&mut self, session: SessionId, room: RoomId, asked: HistoryPage) -> Option<UnprovenJoin> {
        let waits = self.unproven.get(&(session, room)).is_some_and(|join| proof_page(join.resume.after) == asked);
        waits.then(|| self.take_unproven(session, room))?
    }

    /// Removes the session from the room, for example because it has left.
    pub(crate) fn forget(&mut self, session: SessionId, room: RoomId) {
        self.progress.remove(&(session, room));
        self.unproven.remove(&(session, room));
    }

    /// All sessions that catch up or wait for their proof. For tests.
    pub(crate) fn all(&self) -> impl Iterator<Item = (SessionId, RoomId)> + '_ {
        self.progress.keys().chain(self.unproven.keys()).copied()
    }
}

/// The page whose first message is the one that the client resumes from.
pub(crate) fn proof_page(after: Seq) -> HistoryPage {
    HistoryPage::After(Seq(after.0.saturating_sub(1)))
}
