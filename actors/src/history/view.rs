//! A store below the history of a node of several. The log of all nodes decides; the store follows it.
//!
//! Invariants:
//! - a message is shown when the log has placed it, and committed by the store later: a read reaches the store once it
//!   has committed everything that was kept before the read;
//! - no outcome of an entry leaves this module, because nobody waits for it.

use std::collections::VecDeque;

use super::read::{Page, ReadRequest};
use super::store::{Completion, Entry, HistoryStore, LogMark, Receipt, StoredCopy};
use crate::ids::RoomId;

/// See the [module](self).
pub(super) struct View {
    pub(super) store: Box<dyn HistoryStore>,
    /// Messages that were given to the store.
    given: u64,
    /// Messages that the store has committed.
    committed: u64,
    /// Reads that need the store, each with the number of messages that it must have committed before. Bounded like all
    /// reads: by the credits of their clients, and by requests over HTTP.
    reads: VecDeque<(u64, ReadRequest)>,
    /// Whether the store has refused a message.
    pub(super) lacks_a_message: bool,
}

impl View {
    pub(super) fn over(store: Box<dyn HistoryStore>) -> Self {
        Self { store, given: 0, committed: 0, reads: VecDeque::new(), lacks_a_message: false }
    }

    /// Passes a message to the store, unless the store has refused an earlier one: the next process reads both from the
    /// log.
    pub(super) fn keep(&mut self, entry: Entry, done: &mut Vec<Completion>) {
        if self.lacks_a_message {
            return;
        }
        self.given += 1;
        self.ask(done, |store, done| store.append(entry, done));
    }

    /// Notes the store's position in the log.
    pub(super) fn mark(&mut self, mark: LogMark) {
        if !self.lacks_a_message {
            self.store.mark(mark);
        }
    }

    /// Reads from the store, once it has committed all messages so far.
    pub(super) fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>) {
        self.reads.push_back((self.given, request));
        self.ask(done, |_, _| ());
    }

    /// Drops a room. A waiting read of it finds nothing, because another room may get its number from now on.
    pub(super) fn forget(&mut self, room: RoomId, receipt: Option<Receipt>, done: &mut Vec<Completion>) {
        let waiting = self.reads.iter();
        if waiting.into_iter().any(|(_, request)| request.room == room) {
            let (gone, others) = self.reads.drain(..).partition(|(_, request)| request.room == room);
            self.reads = others;
            let gone: VecDeque<(u64, ReadRequest)> = gone;
            let empty = |request| Completion::Read { request: Box::new(request), page: Page::default() };
            done.extend(gone.into_iter().map(|(_, request)| empty(request)));
        }
        self.ask(done, |store, done| store.forget(room, receipt, done));
    }

    /// Calls the store, and then starts the reads that waited for it.
    pub(super) fn ask(
        &mut self,
        done: &mut Vec<Completion>,
        act: impl FnOnce(&mut dyn HistoryStore, &mut Vec<Completion>),
    ) {
        let mut completed = Vec::new();
        act(&mut *self.store, &mut completed);
        loop {
            for completion in completed.drain(..) {
                self.completed(completion, done);
            }
            let committed = self.committed;
            let Some((_, request)) = self.reads.pop_front_if(|(needed, _)| *needed <= committed) else { break };
            self.store.read(request, &mut completed);
        }
    }

    fn completed(&mut self, completion: Completion, done: &mut Vec<Completion>) {
        match completion {
            Completion::Committed { copies, .. } => {
                self.committed += 1;
                for StoredCopy { room, oldest, .. } in copies {
                    done.extend(oldest.map(|oldest| Completion::Trimmed { room, oldest }));
                }
            }
            Completion::Refused { .. } => self.lacks_a_message = true,
            completion @ (Completion::Trimmed { .. }
            | Completion::Read { .. }
            | Completion::Unread { .. }
            | Completion::Forgotten { .. }
            | Completion::Decided { .. }) => done.push(completion),
        }
    }
}
