//! The history: what was said in the rooms, as the `ChatServer` knows it.
//!
//! [`History`] is what every store needs and stands once above them: the newest messages in memory, and which reads they
//! answer. Below it stands a [`HistoryStore`], or nothing: then the messages in memory are all there are. [`sqlite`] is the
//! store in a file.

mod kept_bytes;
mod message;
mod metrics;
mod read;
mod recent;
mod search;
pub mod sqlite;
mod store;
mod thread;

use starling_protocol::Seq;

pub use self::kept_bytes::KeptBytes;
pub use self::message::{Draft, RoomKey, StoredMessage};
pub use self::metrics::{HistoryMetrics, StoreHealth};
pub use self::read::{Page, ReadError, ReadPurpose, ReadRequest, ReadToken, SearchText};
pub use self::store::{
    CannotOpen, Completion, Durability, Entry, EntryCopy, EntryNumber, HistoryStore, Receipt, ReportSink, Restored,
    StoreReport, StoredCopy, StoredId, StoredRoom, UnclaimedInbox,
};

use self::recent::Recent;
use self::search::{Search, Searcher};
use crate::ids::RoomId;
use crate::vitals::Vitals;

/// The history of all rooms and inboxes.
///
/// Its calls are those of a [`HistoryStore`], with the same contract.
pub struct History {
    recent: Recent,
    below: Below,
}

/// What keeps the messages that are not in memory.
enum Below {
    /// Nothing: who searches looks through the memory.
    Nothing(Searcher),
    Store(Box<dyn HistoryStore>),
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("recent", &self.recent).finish_non_exhaustive()
    }
}

impl History {
    /// A history in memory only: at most `messages_max` messages a room and `bytes_max` bytes in all rooms together, the
    /// newest.
    pub fn in_memory(messages_max: u32, bytes_max: u64) -> Self {
        Self { recent: Recent::new(messages_max, bytes_max), below: Below::Nothing(Searcher::default()) }
    }

    /// No history: a message is delivered and gone, and every page is empty.
    pub fn off() -> Self {
        Self::in_memory(0, 0)
    }

    /// A history in a store, with as many of the newest messages in memory as [`in_memory`](Self::in_memory) keeps.
    pub fn over(store: impl HistoryStore + 'static, messages_max: u32, bytes_max: u64) -> Self {
        Self { recent: Recent::new(messages_max, bytes_max), below: Below::Store(Box::new(store)) }
    }

    /// The bytes of the messages in memory, also after the history was handed on.
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

    /// See [`HistoryStore::delivered`].
    pub fn delivered(&mut self, room: RoomId, seq: Seq) {
        if let Below::Store(store) = &mut self.below {
            store.delivered(room, seq);
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

    /// See [`HistoryStore::read`]. What the memory can answer never reaches the store.
    pub fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>) {
        match &mut self.below {
            Below::Nothing(searcher) if request.search.is_some() => {
                let messages = self.recent.messages(request.room);
                done.extend(searcher.begin(request, messages));
            }
            Below::Nothing(_) => {
                let page = self.recent.page(&request);
                done.push(Completion::Read { request, page });
            }
            Below::Store(store) => match self.recent.answer(&request) {
                Some(page) => done.push(Completion::Read { request, page }),
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
