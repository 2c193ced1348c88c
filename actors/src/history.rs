//! The message history of all rooms and inboxes, as the `ChatServer` uses it.
//!
//! [`History`] implements the part that every store needs: it keeps the newest messages in memory and answers reads
//! from them. Below it is a [`HistoryStore`], or nothing; without a store, only the messages in memory exist.
//! [`sqlite`] is a store in one file.

mod kept_bytes;
mod message;
mod metrics;
mod read;
mod recent;
mod search;
pub mod sqlite;
mod store;
mod thread;

use std::collections::VecDeque;
use std::sync::Arc;

use starling_protocol::Seq;

pub use self::kept_bytes::KeptBytes;
pub use self::message::{Draft, RoomKey, StoredMessage};
pub use self::metrics::{HistoryMetrics, StoreHealth};
pub use self::read::{Page, ReadError, ReadPurpose, ReadRequest, ReadToken, SearchTerm, SearchText};
pub use self::store::{
    CannotOpen, Completion, Durability, Entry, EntryCopy, EntryNumber, HistoryStore, LogMark, Receipt, ReportSink,
    Restored, StoreReport, StoredCopy, StoredId, StoredRoom, UnclaimedInbox,
};

use self::recent::Recent;
use self::search::{Search, Searcher};
use crate::ids::RoomId;
use crate::vitals::Vitals;

/// The history of all rooms and inboxes.
///
/// It has the methods of a [`HistoryStore`], with the same contract.
pub struct History {
    recent: Recent,
    below: Below,
    view: View,
}

/// With other nodes, a store follows what their log has placed: it commits messages that were shown already.
#[derive(Debug, Default)]
struct View {
    /// Messages that were given to the store.
    given: u64,
    /// Messages that the store has committed.
    committed: u64,
    /// Reads that need the store, each with the number of messages that it must have committed before.
    reads: VecDeque<(u64, ReadRequest)>,
    /// Whether the store has refused a message, so that it lacks what others have.
    is_broken: bool,
}

/// The storage of the messages that are not in memory.
enum Below {
    /// No store: a search reads the messages in memory.
    Nothing(Searcher),
    Store(Box<dyn HistoryStore>),
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("recent", &self.recent).finish_non_exhaustive()
    }
}

impl History {
    /// A history in memory only. It keeps the newest messages: at most `messages_max` per room, and at most `bytes_max`
    /// bytes in all rooms together.
    pub fn in_memory(messages_max: u32, bytes_max: u64) -> Self {
        Self {
            recent: Recent::new(messages_max, bytes_max),
            below: Below::Nothing(Searcher::default()),
            view: View::default(),
        }
    }

    /// No history: a message is delivered but not kept, and every page is empty.
    pub fn off() -> Self {
        Self::in_memory(0, 0)
    }

    /// A history in a store. The newest messages are also kept in memory, within the limits of
    /// [`in_memory`](Self::in_memory).
    pub fn over(store: impl HistoryStore + 'static, messages_max: u32, bytes_max: u64) -> Self {
        Self {
            recent: Recent::new(messages_max, bytes_max),
            below: Below::Store(Box::new(store)),
            view: View::default(),
        }
    }

    /// The count of bytes in memory. The handle stays valid after the history has moved to another owner.
    pub fn kept_bytes(&self) -> KeptBytes {
        self.recent.kept_bytes()
    }

    /// See [`HistoryStore::restore`].
    pub fn restore(&mut self) -> Restored {
        match &mut self.below {
            Below::Nothing(_) => Restored::default(),
            Below::Store(store) => store.restore(),
        }
    }

    /// See [`HistoryStore::connect`].
    pub fn connect(&mut self, sink: ReportSink, vitals: &Vitals) {
        match &mut self.below {
            Below::Nothing(_) if self.recent.keeps_nothing() => {}
            Below::Nothing(searcher) => searcher.start(sink, vitals),
            Below::Store(store) => store.connect(sink, vitals),
        }
    }

    /// See [`HistoryStore::reported`].
    pub fn reported(&mut self, report: StoreReport, done: &mut Vec<Completion>) {
        match &mut self.below {
            Below::Nothing(searcher) => {
                if let Some(search) = report.open::<Search>() {
                    let messages = self.recent.messages(search.room());
                    done.extend(searcher.go_on(search, messages));
                }
            }
            Below::Store(store) => self.recent.follow(done, |done| store.reported(report, done)),
        }
    }

    /// See [`HistoryStore::append`].
    pub fn append(&mut self, entry: Entry, done: &mut Vec<Completion>) {
        match &mut self.below {
            Below::Nothing(_) => self.recent.commit(entry, done),
            Below::Store(store) => self.recent.follow(done, |done| store.append(entry, done)),
        }
    }

    /// Keeps a message that the log of all nodes has placed. It can be read at once.
    ///
    /// A store must commit it: see [`has_failed`](Self::has_failed).
    pub fn keep(&mut self, entry: Entry, placed: &[Arc<StoredMessage>], done: &mut Vec<Completion>) {
        let trims = matches!(self.below, Below::Nothing(_));
        let mut trimmed = |room, oldest| done.extend(trims.then_some(Completion::Trimmed { room, oldest }));
        for (copy, message) in entry.copies.iter().zip(placed) {
            self.recent.keep_placed(copy.room, copy.epoch, Arc::clone(message), &mut trimmed);
        }
        if !trims {
            self.view.given += 1;
            self.ask_as_view(done, |store, done| store.append(entry, done));
        }
    }

    /// See [`HistoryStore::mark`].
    pub fn mark(&mut self, mark: LogMark) {
        if let Below::Store(store) = &mut self.below {
            store.mark(mark);
        }
    }

    /// Whether the store lacks a message that the log of all nodes has placed. The process must not go on then.
    pub fn has_failed(&self) -> bool {
        self.view.is_broken
    }

    /// Lets the store do something, as the view of a log.
    fn ask_as_view(
        &mut self,
        done: &mut Vec<Completion>,
        act: impl FnOnce(&mut dyn HistoryStore, &mut Vec<Completion>),
    ) {
        let Below::Store(store) = &mut self.below else { return };
        let mut completed = Vec::new();
        act(&mut **store, &mut completed);
        while let Some((needed, _)) = self.view.reads.front() {
            if *needed > self.view.committed {
                break;
            }
            let Some((_, request)) = self.view.reads.pop_front() else { break };
            store.read(request, &mut completed);
        }
        for completion in completed {
            match completion {
                Completion::Committed { copies, .. } => {
                    self.view.committed += 1;
                    for StoredCopy { room, oldest, .. } in copies {
                        done.extend(oldest.map(|oldest| Completion::Trimmed { room, oldest }));
                    }
                }
                Completion::Refused { .. } => self.view.is_broken = true,
                completion @ (Completion::Trimmed { .. }
                | Completion::Read { .. }
                | Completion::Unread { .. }
                | Completion::Forgotten { .. }) => done.push(completion),
            }
        }
    }

    /// See [`HistoryStore::note_sent`].
    pub fn note_sent(&mut self, room: RoomId, seq: Seq) {
        if let Below::Store(store) = &mut self.below {
            store.note_sent(room, seq);
        }
    }

    /// See [`HistoryStore::has_queued`].
    pub fn has_queued(&self) -> bool {
        if let Below::Store(store) = &self.below { store.has_queued() } else { false }
    }

    /// See [`HistoryStore::end_turn`].
    pub fn end_turn(&mut self, done: &mut Vec<Completion>) {
        if let Below::Store(store) = &mut self.below {
            self.recent.follow(done, |done| store.end_turn(done));
        }
    }

    /// See [`HistoryStore::read`]. A read that the memory can answer does not reach the store.
    pub fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>) {
        match &mut self.below {
            Below::Nothing(searcher) if request.search.is_some() => {
                let messages = self.recent.messages(request.room);
                done.extend(searcher.begin(request, messages));
            }
            Below::Nothing(_) => {
                let page = self.recent.page(&request);
                done.push(Completion::Read { request: Box::new(request), page });
            }
            Below::Store(store) => match self.recent.answer(&request) {
                Some(page) => done.push(Completion::Read { request: Box::new(request), page }),
                None => self.recent.follow(done, |done| store.read(request, done)),
            },
        }
    }

    /// See [`HistoryStore::forget`].
    pub fn forget(&mut self, room: RoomId, receipt: Option<Receipt>, done: &mut Vec<Completion>) {
        self.recent.forget(room);
        match &mut self.below {
            Below::Nothing(_) => {
                done.extend(receipt.map(|receipt| Completion::Forgotten { receipt, is_gone: true }));
            }
            Below::Store(store) => self.recent.follow(done, |done| store.forget(room, receipt, done)),
        }
    }
}

#[cfg(test)]
mod tests;
