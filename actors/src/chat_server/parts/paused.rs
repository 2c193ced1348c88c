//! Sessions whose later commands wait, because an earlier one waits for a read of the history.
//!
//! Invariant: while a session is paused, all its commands wait, in their order. The session's credits limit their number.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::chat_server::command::Command;
use crate::ids::SessionId;

/// The waiting commands of each paused session.
#[derive(Debug, Default)]
pub(crate) struct Paused(FxHashMap<SessionId, VecDeque<Command>>);

impl Paused {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets the later commands of a session wait.
    pub(crate) fn pause(&mut self, session: SessionId) {
        self.0.entry(session).or_default();
    }

    /// Takes a command that must wait. Returns any other one.
    pub(crate) fn hold(&mut self, command: Command) -> Option<Command> {
        match command.session().and_then(|session| self.0.get_mut(&session)) {
            Some(waiting) => {
                waiting.push_back(command);
                None
            }
            None => Some(command),
        }
    }

    /// Ends the pause of a session. Returns the commands that have waited.
    pub(crate) fn resume(&mut self, session: SessionId) -> VecDeque<Command> {
        self.0.remove(&session).unwrap_or_default()
    }
}
