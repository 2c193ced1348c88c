//! The search of the messages in memory, in a thread of its own.
//!
//! To search a message's text costs far more than anything else that the `ChatServer` does with a message. So the
//! `ChatServer` only hands the thread one step at a time: references to the room's next older messages.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{SendError, Sender, channel};
use std::time::Duration;

use starling_protocol::{HistoryPage, Seq};

use super::message::{RoomKey, StoredMessage};
use super::read::{Page, ReadError, ReadRequest, SearchText};
use super::recent::StoredMessages;
use super::store::{Completion, ReportSink, StoreReport};
use super::thread::spawn;
use crate::clock::{self, Instant};
use crate::ids::RoomId;
use crate::vitals::Vitals;

/// The largest number of messages in one step.
const STEP_MESSAGES: usize = 1_000;

/// The largest number of searches at a time. The next search is refused with [`ReadError::Busy`].
pub(super) const SEARCHES_MAX: usize = 64;

/// The longest duration of a search. A longer one ends with [`ReadError::Busy`].
const SEARCH_TIME_MAX: Duration = Duration::from_secs(5);

/// A running search.
#[derive(Debug)]
pub(super) struct Search {
    request: ReadRequest,
    began: Instant,
    /// A message must contain all of them. In lower case.
    terms: Vec<String>,
    found: Page,
    found_bytes: usize,
    /// The room at the start of the search. Its number may belong to another room by the next step.
    key: Option<RoomKey>,
    /// The messages of the next step, the newest first.
    messages: Vec<Arc<StoredMessage>>,
    is_over: bool,
    took_too_long: bool,
}

impl Search {
    /// The room in which the search runs.
    pub(super) fn room(&self) -> RoomId {
        self.request.room
    }

    fn new(request: ReadRequest) -> Self {
        let terms = request.search.iter().flat_map(SearchText::terms).map(|term| term.text.to_lowercase()).collect();
        let (found, messages) = (Page::default(), Vec::new());
        Self {
            request,
            began: clock::now(),
            terms,
            found,
            found_bytes: 0,
            key: None,
            messages,
            is_over: false,
            took_too_long: false,
        }
    }

    fn answer(self) -> Completion {
        if self.took_too_long {
            return Completion::Unread { request: Box::new(self.request), error: ReadError::Busy };
        }
        Completion::Read { request: Box::new(self.request), page: self.found }
    }

    /// Loads the next messages of the room; `false` if there are none.
    fn take_step(&mut self, room: Option<&StoredMessages>) -> bool {
        let before = match (self.messages.last(), self.request.page) {
            (Some(last), _) => last.seq,
            (None, HistoryPage::Before(seq)) => seq,
            (None, HistoryPage::Newest | HistoryPage::After(_)) => Seq(u64::MAX),
        };
        self.messages.clear();
        let Some(newest) = room.and_then(StoredMessages::back) else { return false };
        if *self.key.get_or_insert_with(|| newest.room.clone()) != newest.room {
            return false;
        }
        let Some(messages) = room else { return false };
        let from = |seq| messages.partition_point(|message| message.seq < seq);
        let (first, end) = (from(self.request.oldest), from(before));
        let first = first.max(end.saturating_sub(STEP_MESSAGES));
        self.messages.extend(messages.range(first..end.max(first)).rev().cloned());
        !self.messages.is_empty()
    }

    /// Searches the messages of the current step.
    fn look(&mut self) {
        if clock::now().saturating_duration_since(self.began) > SEARCH_TIME_MAX {
            (self.is_over, self.took_too_long) = (true, true);
            return;
        }
        for message in self.messages.iter().filter(|entry| entry.is_message()) {
            let text = message.text().to_lowercase();
            if !self.terms.iter().all(|term| text.contains(term)) {
                continue;
            }
            self.found_bytes += message.weight();
            let is_full = self.found.messages.len() == self.request.limit;
            if is_full || (self.found_bytes > self.request.bytes && !self.found.messages.is_empty()) {
                (self.found.has_more, self.is_over) = (true, true);
                return;
            }
            self.found.messages.push(Arc::clone(message));
        }
    }
}

/// Hands searches to the thread. The thread ends when this is dropped.
#[derive(Default)]
pub(super) struct Searcher {
    /// Without a thread, a search runs at once on the caller's thread.
    thread: Option<Sender<Search>>,
    /// Searches that are not answered yet. Each has one step with the thread.
    running: usize,
}

impl fmt::Debug for Searcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Searcher").field("running", &self.running).finish_non_exhaustive()
    }
}

impl Searcher {
    /// Starts the thread.
    pub(super) fn start(&mut self, sink: ReportSink, vitals: &Vitals) {
        let (steps, next) = channel::<Search>();
        let thread = spawn("history-search", vitals, move || {
            for mut search in next {
                search.look();
                sink(StoreReport::new(search));
            }
        });
        // The thread ends by itself when the channel closes, so it is not joined.
        drop(thread);
        self.thread = Some(steps);
    }

    /// Begins a search. Returns the answer at once if the room has no messages, or too many searches are running.
    pub(super) fn begin(&mut self, request: ReadRequest, room: Option<&StoredMessages>) -> Option<Completion> {
        if self.running >= SEARCHES_MAX {
            return Some(Completion::Unread { request: Box::new(request), error: ReadError::Busy });
        }
        self.running += 1;
        self.go_on(Search::new(request), room)
    }

    /// Continues a search after a step. Returns the answer if the search is over.
    pub(super) fn go_on(&mut self, mut search: Search, room: Option<&StoredMessages>) -> Option<Completion> {
        while !search.is_over && search.take_step(room) {
            let Some(thread) = &self.thread else {
                search.look();
                continue;
            };
            match thread.send(search) {
                Ok(()) => return None,
                // The thread has ended, so the process is about to end.
                Err(SendError(unsent)) => {
                    search = unsent;
                    break;
                }
            }
        }
        self.running -= 1;
        Some(search.answer())
    }
}
