//! Sessions that resume: the phase of each session that is sent its missed messages, and the `join`s whose anchor is
//! being read.
//!
//! A client resumes from an *anchor*: the position of the last message that it has seen, perhaps with that message's
//! time. An anchor with a time is compared with the stored message before the `join` is answered. A session that
//! catches up in a room is not admitted to live messages there until it has caught up.
//!
//! ```text
//!                    join with a recoverable anchor             page read
//!   not catching up ────────────────────────────────▶ Reading ────────────▶ Writing
//!          ▲                                            │  ▲                   │
//!          │                 last page read             │  └───────────────────┘
//!          └────────────────────────────────────────────┘       page written
//! ```
//!
//! A `join` that waits for its anchor may stand beside each of these states: the phase goes on meanwhile, and the
//! answer to the `join` begins it again.

use rustc_hash::FxHashMap;
use starling_protocol::{HistoryPage, Resume, Seq};

use crate::chat_server::command::Frame;
use crate::ids::{RoomId, SessionId};

/// What a session that catches up in a room waits for.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The history reads the page after this message, the newest that the session was sent.
    Reading { after: Seq },
    /// The session writes the page that ends with this message.
    Writing { after: Seq },
}

impl Phase {
    fn after(self) -> Seq {
        match self {
            Self::Reading { after } | Self::Writing { after } => after,
        }
    }
}

/// A `join` that resumes from an anchor with a time. It is answered once the history has read the anchor.
#[derive(Debug)]
pub(crate) struct AnchoredJoin {
    pub(crate) frame: Frame,
    pub(crate) resume: Resume,
    /// Whether the session was already a member of the room.
    pub(crate) was_member: bool,
}

/// All sessions that resume, by session and room.
#[derive(Debug, Default)]
pub(crate) struct CatchingUp {
    phases: FxHashMap<(SessionId, RoomId), Phase>,
    anchored: FxHashMap<(SessionId, RoomId), AnchoredJoin>,
}

impl CatchingUp {
    /// Whether the session is being sent missed messages in the room.
    pub(crate) fn is_catching_up(&self, session: SessionId, room: RoomId) -> bool {
        self.phases.contains_key(&(session, room))
    }

    /// Whether a session in the room is admitted to live messages there.
    pub(crate) fn is_admitted(&self, session: SessionId, room: RoomId) -> bool {
        let waits_for_anchor = self.anchored.get(&(session, room)).is_some_and(|join| !join.was_member);
        !self.is_catching_up(session, room) && !waits_for_anchor
    }

    /// Whether the session depends on a read of the history in this room; if that read fails, the session is closed.
    pub(crate) fn needs_history(&self, session: SessionId, room: RoomId) -> bool {
        self.is_catching_up(session, room) || self.anchored.contains_key(&(session, room))
    }

    /// Makes a session catch up after a message. Returns whether the caller must read the history now. While the
    /// session still writes a page, the next read follows that page. A page that is being read for an earlier resume is
    /// dropped when it comes.
    pub(crate) fn begin(&mut self, session: SessionId, room: RoomId, after: Seq) -> bool {
        let phase = self.phases.entry((session, room)).or_insert(Phase::Reading { after });
        match phase {
            Phase::Reading { .. } => *phase = Phase::Reading { after },
            Phase::Writing { .. } => *phase = Phase::Writing { after },
        }
        matches!(phase, Phase::Reading { .. })
    }

    /// Ends the catching up of a session in a room. Returns whether the session was catching up.
    pub(crate) fn end(&mut self, session: SessionId, room: RoomId) -> bool {
        self.phases.remove(&(session, room)).is_some()
    }

    /// Called when the session has written the previous page. Returns the message after which to read the next page;
    /// `None` if that read has begun already.
    pub(crate) fn go_on(&mut self, session: SessionId, room: RoomId) -> Option<Seq> {
        let phase = self.phases.get_mut(&(session, room))?;
        let Phase::Writing { after } = *phase else { return None };
        *phase = Phase::Reading { after };
        Some(after)
    }

    /// Returns the message after which a page was read, if the page is the one that the session asked for last.
    pub(crate) fn was_read(&self, session: SessionId, room: RoomId, asked: HistoryPage) -> Option<Seq> {
        let after = self.phases.get(&(session, room))?.after();
        (asked == HistoryPage::After(after)).then_some(after)
    }

    /// Notes that the session is sent a page whose last message is `last`.
    pub(crate) fn sent(&mut self, session: SessionId, room: RoomId, last: Seq) {
        self.phases.insert((session, room), Phase::Writing { after: last });
    }

    /// Keeps a `join` until its anchor is read.
    pub(crate) fn wait_for_anchor(&mut self, room: RoomId, join: AnchoredJoin) {
        self.anchored.insert((join.frame.session, room), join);
    }

    /// Takes the `join` of a session in a room that waits for its anchor, whatever its anchor is.
    pub(crate) fn take_anchored(&mut self, session: SessionId, room: RoomId) -> Option<AnchoredJoin> {
        self.anchored.remove(&(session, room))
    }

    /// Takes the `join` whose anchor is the first message of this page.
    pub(crate) fn take_read(&mut self, session: SessionId, room: RoomId, asked: HistoryPage) -> Option<AnchoredJoin> {
        let waits = self.anchored.get(&(session, room)).is_some_and(|join| anchor_page(join.resume.after) == asked);
        waits.then(|| self.take_anchored(session, room))?
    }

    /// Removes the session from the room, for example because it has left.
    pub(crate) fn forget(&mut self, session: SessionId, room: RoomId) {
        self.phases.remove(&(session, room));
        self.anchored.remove(&(session, room));
    }

    /// All sessions that catch up or wait for their anchor. For tests.
    pub(crate) fn all(&self) -> impl Iterator<Item = (SessionId, RoomId)> + '_ {
        self.phases.keys().chain(self.anchored.keys()).copied()
    }
}

/// The page whose first message is the anchor at this position.
pub(crate) fn anchor_page(after: Seq) -> HistoryPage {
    HistoryPage::After(Seq(after.0.saturating_sub(1)))
}
