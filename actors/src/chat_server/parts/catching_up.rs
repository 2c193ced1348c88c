//! Sessions that catch up: who is being sent what it missed, and whose resume is still to be proven.
//!
//! A session that catches up in a room is not admitted to live messages there until it has caught up.

use rustc_hash::FxHashMap;
use starling_protocol::{HistoryPage, Resume, Seq};

use crate::chat_server::command::Frame;
use crate::ids::{RoomId, SessionId};

/// How far a session has caught up in a room.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// The newest message sent so far.
    after: Seq,
    /// Whether the history is being read for it; if not, what was read is being written.
    is_reading: bool,
}

/// A `join` that resumes. It is answered when the message that it goes on from has been read.
#[derive(Debug)]
pub(crate) struct UnprovenJoin {
    pub(crate) frame: Frame,
    pub(crate) resume: Resume,
    /// Whether the session was in the room before.
    pub(crate) was_member: bool,
}

/// All sessions that catch up, by session and room.
#[derive(Debug, Default)]
pub(crate) struct CatchingUp {
    progress: FxHashMap<(SessionId, RoomId), Progress>,
    unproven: FxHashMap<(SessionId, RoomId), UnprovenJoin>,
}

impl CatchingUp {
    /// Whether the session is being sent what it missed.
    pub(crate) fn is_catching_up(&self, session: SessionId, room: RoomId) -> bool {
        self.progress.contains_key(&(session, room))
    }

    /// Whether the session cannot go on in the room without the history.
    pub(crate) fn needs_history(&self, session: SessionId, room: RoomId) -> bool {
        self.is_catching_up(session, room) || self.unproven.contains_key(&(session, room))
    }

    /// Lets a session catch up from a message on. Returns whether the history is to be read now: a page that is being
    /// written goes first, and a page that is being read for an earlier resume will be dropped.
    pub(crate) fn begin(&mut self, session: SessionId, room: RoomId, after: Seq) -> bool {
        let before = self.progress.get(&(session, room));
        let is_reading = before.is_none_or(|before| before.is_reading);
        self.progress.insert((session, room), Progress { after, is_reading });
        is_reading
    }

    /// The session has caught up, or need not. Returns whether it was catching up.
    pub(crate) fn end(&mut self, session: SessionId, room: RoomId) -> bool {
        self.progress.remove(&(session, room)).is_some()
    }

    /// The session has written the last page: the message after which the next one is read, if one is to be read.
    pub(crate) fn go_on(&mut self, session: SessionId, room: RoomId) -> Option<Seq> {
        let progress = self.progress.get_mut(&(session, room))?;
        let was_reading = std::mem::replace(&mut progress.is_reading, true);
        (!was_reading).then_some(progress.after)
    }

    /// The message after which a page was read, if it answers what the session asked for last.
    pub(crate) fn was_read(&self, session: SessionId, room: RoomId, asked: HistoryPage) -> Option<Seq> {
        let progress = self.progress.get(&(session, room))?;
        (asked == HistoryPage::After(progress.after)).then_some(progress.after)
    }

    /// The session is sent a page that ends with this message.
    pub(crate) fn sent(&mut self, session: SessionId, room: RoomId, last: Seq) {
        self.progress.insert((session, room), Progress { after: last, is_reading: false });
    }

    /// Keeps a `join` until its proof has been read.
    pub(crate) fn wait_for_proof(&mut self, room: RoomId, join: UnprovenJoin) {
        self.unproven.insert((join.frame.session, room), join);
    }

    /// Takes a `join` that waits for its proof, whatever it is.
    pub(crate) fn take_unproven(&mut self, session: SessionId, room: RoomId) -> Option<UnprovenJoin> {
        self.unproven.remove(&(session, room))
    }

    /// Takes the `join` whose proof was read with this page.
    pub(crate) fn take_proven(&mut self, session: SessionId, room: RoomId, asked: HistoryPage) -> Option<UnprovenJoin> {
        let waits = self.unproven.get(&(session, room)).is_some_and(|join| proof_page(join.resume.after) == asked);
        waits.then(|| self.take_unproven(session, room))?
    }

    /// The session has left the room.
    pub(crate) fn forget(&mut self, session: SessionId, room: RoomId) {
        self.progress.remove(&(session, room));
        self.unproven.remove(&(session, room));
    }

    /// Everybody who catches up. For tests.
    pub(crate) fn all(&self) -> impl Iterator<Item = (SessionId, RoomId)> + '_ {
        self.progress.keys().chain(self.unproven.keys()).copied()
    }
}

/// The page whose first message is the one that a resume goes on from.
pub(crate) fn proof_page(after: Seq) -> HistoryPage {
    HistoryPage::After(Seq(after.0.saturating_sub(1)))
}
