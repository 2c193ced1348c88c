//! The message history of all rooms and inboxes, as the `ChatServer` uses it.
//!
//! [`History`] implements the part that every store needs: it keeps the newest messages in memory and answers reads
//! from them. Below it is a [`HistoryStore`], or nothing; without a store, only the messages in memory exist.
//! [`sqlite`] is a store in one file.

mod changes;
mod content;
mod kept_bytes;
mod message;
mod metrics;
mod read;
mod recent;
mod search;
pub mod sqlite;
mod store;
mod thread;
mod view;
mod wall_clock;

use std::sync::Arc;

use starling_protocol::Seq;

pub use self::changes::{Changes, TooManyReactions};
pub use self::content::Content;
pub use self::kept_bytes::KeptBytes;
pub use self::message::{Draft, RoomKey, StoredMessage, Twin};
pub use self::metrics::{HistoryMetrics, StoreHealth};
pub use self::read::{Page, ReadError, ReadPurpose, ReadRequest, ReadToken, SearchTerm, SearchText};
pub use self::store::{
    CannotOpen, Completion, Durability, Entry, EntryCopy, EntryNumber, HistoryStore, LogMark, OwnLimits, Receipt,
    ReportSink, Restored, Standing, StoreReport, StoredCopy, StoredId, StoredPosition, StoredRoom, UnclaimedInbox,
};

use self::recent::Recent;
use self::search::{Search, Searcher};
use self::view::View;
use crate::clock::Now;
use crate::identity::IdOwner;
use crate::ids::RoomId;
use crate::moderation::Row;
use crate::vitals::Vitals;

/// The history of all rooms and inboxes.
///
/// It has the methods of a [`HistoryStore`], with the same contract.
pub struct History {
    recent: Recent,
    below: Below,
}

/// The storage of the messages that are not in memory.
enum Below {
    /// No store: a search reads the messages in memory.
    Nothing(Searcher),
    /// The log: it decides which messages there are, and numbers them.
    Store(Box<dyn HistoryStore>),
    /// A store that follows the log of several nodes.
    View(View),
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
        Self { recent: Recent::new(messages_max, bytes_max), below: Below::Nothing(Searcher::default()) }
    }

    /// No history: a message is delivered but not kept, and every page is empty.
    pub fn off() -> Self {
        Self::in_memory(0, 0)
    }

    /// A history in a store. The newest messages are also kept in memory, within the limits of
    /// [`in_memory`](Self::in_memory).
    pub fn over(store: impl HistoryStore + 'static, messages_max: u32, bytes_max: u64) -> Self {
        Self { recent: Recent::new(messages_max, bytes_max), below: Below::Store(Box::new(store)) }
    }

    /// Follows the log of several nodes from now on: the log places the messages, and [`keep`](Self::keep) stores them.
    /// Called before [`restore`](Self::restore).
    #[must_use]
    pub fn following_a_log(self) -> Self {
        let Self { recent, below } = self;
        let below = match below {
            Below::Store(store) => Below::View(View::over(store)),
            below @ (Below::Nothing(_) | Below::View(_)) => below,
        };
        Self { recent, below }
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
            Below::View(view) => view.store.restore(),
        }
    }

    /// See [`HistoryStore::connect`].
    pub fn connect(&mut self, sink: ReportSink, vitals: &Vitals) {
        match &mut self.below {
            Below::Nothing(_) if self.recent.keeps_nothing() => {}
            Below::Nothing(searcher) => searcher.start(sink, vitals),
            Below::Store(store) => store.connect(sink, vitals),
            Below::View(view) => view.store.connect(sink, vitals),
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
            Below::View(view) => {
                self.recent.follow(done, |done| view.ask(done, |store, done| store.reported(report, done)));
            }
        }
    }

    /// See [`HistoryStore::append`]. Not for a history that [follows a log](Self::following_a_log).
    pub fn append(&mut self, entry: Entry, done: &mut Vec<Completion>) {
        match &mut self.below {
            Below::Nothing(_) => self.recent.commit(entry, done),
            Below::Store(store) => self.recent.follow(done, |done| store.append(entry, done)),
            Below::View(_) => {
                debug_assert!(false, "the log places the messages");
                done.push(Completion::Refused { number: entry.number });
            }
        }
    }

    /// Stores a message that the log of several nodes has placed. It can be read at once.
    ///
    /// A store must commit it: see [`lacks_a_message`](Self::lacks_a_message).
    pub fn keep(&mut self, entry: Entry, placed: &[Arc<StoredMessage>], done: &mut Vec<Completion>) {
        let is_all = matches!(self.below, Below::Nothing(_));
        let mut trimmed = |room, oldest| done.extend(is_all.then_some(Completion::Trimmed { room, oldest }));
        for (copy, message) in entry.copies.iter().zip(placed) {
            self.recent.keep_placed(copy.room, copy.epoch, Arc::clone(message), &mut trimmed);
        }
        if let Below::View(view) = &mut self.below {
            self.recent.follow(done, |done| view.keep(entry, done));
        }
    }

    /// See [`HistoryStore::mark`].
    pub fn mark(&mut self, mark: LogMark) {
        match &mut self.below {
            Below::Nothing(_) => {}
            Below::Store(store) => store.mark(mark),
            Below::View(view) => view.mark(mark),
        }
    }

    /// Whether the store has refused a message that the log of several nodes has placed. The process must stop: it has
    /// shown a message that the next process will not find.
    pub fn lacks_a_message(&self) -> bool {
        matches!(&self.below, Below::View(view) if view.lacks_a_message)
    }

    /// See [`HistoryStore::note_sent`].
    pub fn note_sent(&mut self, room: RoomId, seq: Seq) {
        match &mut self.below {
            Below::Nothing(_) => {}
            Below::Store(store) => store.note_sent(room, seq),
            Below::View(view) => view.store.note_sent(room, seq),
        }
    }

    /// See [`HistoryStore::note_read`].
    pub fn note_read(&mut self, owner: IdOwner, room: RoomId, standing: Option<Standing>) {
        match &mut self.below {
            Below::Nothing(_) => {}
            Below::Store(store) => store.note_read(owner, room, standing),
            Below::View(view) => view.store.note_read(owner, room, standing),
        }
    }

    /// See [`HistoryStore::keep_moderation`]. A history that [follows a log](Self::following_a_log) keeps none: the log
    /// has the decisions. In memory, they live as long as the process.
    pub fn keep_moderation(&mut self, rows: Vec<Row>, receipt: Option<Receipt>, done: &mut Vec<Completion>) {
        match &mut self.below {
            Below::Nothing(_) | Below::View(_) => {
                done.extend(receipt.map(|receipt| Completion::Decided { receipt, is_kept: true }));
            }
            Below::Store(store) => self.recent.follow(done, |done| store.keep_moderation(rows, receipt, done)),
        }
    }

    /// See [`HistoryStore::limit`]. In memory, the limits of memory bound a room, too.
    pub fn limit(&mut self, room: RoomId, limits: OwnLimits) {
        match &mut self.below {
            Below::Nothing(_) => self.recent.limit(room, limits),
            Below::Store(store) => store.limit(room, limits),
            Below::View(view) => view.store.limit(room, limits),
        }
    }

    /// Drops messages beyond the [limits](Self::limit) of rooms, a bounded number of them. Called four times a second
    /// while rooms have such limits. A store does that by itself.
    pub fn drop_excess(&mut self, now: Now, done: &mut Vec<Completion>) {
        if matches!(self.below, Below::Nothing(_)) {
            self.recent.drop_excess(now, |room, oldest| done.push(Completion::Trimmed { room, oldest }));
        }
    }

    /// See [`HistoryStore::has_queued`].
    pub fn has_queued(&self) -> bool {
        match &self.below {
            Below::Nothing(_) => false,
            Below::Store(store) => store.has_queued(),
            Below::View(view) => view.store.has_queued(),
        }
    }

    /// See [`HistoryStore::end_turn`].
    pub fn end_turn(&mut self, done: &mut Vec<Completion>) {
        match &mut self.below {
            Below::Nothing(_) => {}
            Below::Store(store) => self.recent.follow(done, |done| store.end_turn(done)),
            Below::View(view) => self.recent.follow(done, |done| view.ask(done, |store, done| store.end_turn(done))),
        }
    }

    /// See [`HistoryStore::read`]. A read that the memory can answer does not reach the store.
    pub fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>) {
        if let Below::Nothing(searcher) = &mut self.below {
            let messages = self.recent.messages(request.room);
            if request.search.is_some() {
                return done.extend(searcher.begin(request, messages));
            }
            let page = self.recent.page(&request);
            return done.push(Completion::Read { request: Box::new(request), page });
        }
        if let Some(page) = self.recent.answer(&request) {
            return done.push(Completion::Read { request: Box::new(request), page });
        }
        match &mut self.below {
            Below::Nothing(_) => {}
            Below::Store(store) => self.recent.follow(done, |done| store.read(request, done)),
            Below::View(view) => self.recent.follow(done, |done| view.read(request, done)),
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
            Below::View(view) => self.recent.follow(done, |done| view.forget(room, receipt, done)),
        }
    }
}

#[cfg(test)]
mod tests;
