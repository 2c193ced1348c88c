//! Proofs of identity, where names are authenticated: connections that have yet to show a token, and the expiry of
//! tokens.
//!
//! A connection that has not shown a token is no participant: no rule of the chat reaches it.

use std::collections::BTreeSet;
use std::time::Duration;

use rustc_hash::FxHashMap;
use starling_protocol::limits;

use super::participants::count_errors;
use crate::chat_server::command::OpenSession;
use crate::clock::{Instant, Now};
use crate::identity::Claims;
use crate::ids::SessionId;

/// Longest time that a token is valid here. A connection with a longer token ends after ten years.
const TOKEN_TIME_MAX: Duration = Duration::from_hours(87_600);

/// A connection that has not shown a token.
#[derive(Debug)]
struct Unproven {
    open: OpenSession,
    errors_in_a_row: u32,
}

/// Connections that have yet to show a token, and the time at which each connection must show one or a newer one.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    unproven: FxHashMap<SessionId, Unproven>,
    /// The end of each proof: the deadline for the first token, or the expiry of the token.
    ends: FxHashMap<SessionId, Instant>,
    by_end: BTreeSet<(Instant, SessionId)>,
}

impl Proofs {
    /// Gives a connection [`limits::PROOF_SECONDS`] to show a token.
    pub(crate) fn wait_for(&mut self, open: OpenSession, now: Now) {
        let session = open.session;
        self.set_end(session, now.at + Duration::from_secs(limits::PROOF_SECONDS));
        self.unproven.insert(session, Unproven { open, errors_in_a_row: 0 });
    }

    /// Notes the validity of a token. The rest of its time is measured on the monotonic clock, so that setting the wall
    /// clock neither shortens nor extends a session.
    pub(crate) fn hold(&mut self, session: SessionId, claims: &Claims, now: Now) {
        let left = Duration::from_millis(claims.expires_at.saturating_sub(now.unix_ms)).min(TOKEN_TIME_MAX);
        self.unproven.remove(&session);
        self.set_end(session, now.at + left);
    }

    fn set_end(&mut self, session: SessionId, end: Instant) {
        if let Some(before) = self.ends.insert(session, end) {
            self.by_end.remove(&(before, session));
        }
        self.by_end.insert((end, session));
    }

    /// Forgets a connection that has closed.
    pub(crate) fn remove(&mut self, session: SessionId) {
        self.unproven.remove(&session);
        if let Some(end) = self.ends.remove(&session) {
            self.by_end.remove(&(end, session));
        }
    }

    /// The request of a connection that has not shown a token.
    pub(crate) fn unproven(&self, session: SessionId) -> Option<&OpenSession> {
        self.unproven.get(&session).map(|unproven| &unproven.open)
    }

    pub(crate) fn watch_presence(&mut self, session: SessionId, wanted: bool) {
        if let Some(unproven) = self.unproven.get_mut(&session) {
            unproven.open.watch_presence = wanted;
        }
    }

    /// The number of connections that have not shown a token.
    pub(crate) fn unproven_count(&self) -> usize {
        self.unproven.len()
    }

    /// The first session whose proof has ended, and whether it never showed a token.
    pub(crate) fn first_ended(&self, now: Instant) -> Option<(SessionId, bool)> {
        let (_, session) = self.by_end.first().filter(|(end, _)| *end <= now)?;
        Some((*session, self.unproven.contains_key(session)))
    }

    /// Counts the outcome of a frame. Returns whether the connection has reached the limit of consecutive errors.
    pub(crate) fn count_errors(&mut self, session: SessionId, is_error: bool) -> bool {
        self.unproven.get_mut(&session).is_some_and(|it| count_errors(&mut it.errors_in_a_row, is_error))
    }

    /// Panics if an invariant does not hold; `proven` is the number of participants that have shown a token. For tests.
    pub(crate) fn check(&self, proven: usize, is_participant: impl Fn(SessionId) -> bool) {
        assert!(self.unproven.keys().all(|session| !is_participant(*session)), "no participant is unproven");
        assert_eq!(self.ends.len(), proven + self.unproven.len(), "every proof has an end");
        assert_eq!(self.ends.len(), self.by_end.len());
    }
}
