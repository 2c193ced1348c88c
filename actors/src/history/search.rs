//! Searching the messages that are kept in memory, by a thread of its own.
//!
//! Looking for words in a message costs far more than anything that the `ChatServer` does with one, so it only hands the
//! thread a step at a time: the next older messages of the room, by reference.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{SendError, Sender, channel};
use std::time::{Duration, Instant};

use starling_protocol::{HistoryPage, Seq};

use super::message::{RoomKey, StoredMessage};
use super::read::{Page, ReadError, ReadRequest, SearchText};
use super::recent::StoredMessages;
use super::store::{Completion, ReportSink, StoreReport};
use super::thread::spawn;
use crate::clock;
use crate::ids::RoomId;
use crate::vitals::Vitals;

/// Most messages of one step.
const STEP_MESSAGES: usize = 1_000;

/// Most searches at a time; the next is refused as busy.
pub(super) const SEARCHES_MAX: usize = 64;

/// Longest time that a search may take: nobody waits for longer.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(5);

/// A search on its way.
#[derive(Debug)]
pub(super) struct Search {
    request: ReadRequest,
    began: Instant,
    /// What all messages must have, in lower case.
    terms: Vec<String>,
    found: Page,
    found_bytes: usize,
    /// Which room it began in: its number may be given to another one meanwhile.
    key: Option<RoomKey>,
    /// The next messages to look at, the newest first.
    messages: Vec<Arc<StoredMessage>>,
    is_over: bool,
    took_too_long: bool,
}

impl Search {
    /// The room that is searched.
    pub(super) fn room(&self) -> RoomId {
        self.request.room
    }

    fn new(request: ReadRequest) -> Self {
        let terms = request.search.iter().flat_map(SearchText::terms).map(|term| term.to_lowercase()).collect();
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
            return Completion::Unread { request: self.request, error: ReadError::Busy };
        }
        Completion::Read { request: self.request, page: self.found }
    }

    /// Takes the next messages of the room; false where there are none.
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
        let end = messages.partition_point(|message| message.seq < before);
        self.messages.extend(messages.range(end.saturating_sub(STEP_MESSAGES)..end).rev().cloned());
        !self.messages.is_empty()
    }

    /// Looks at the messages at hand.
    fn look(&mut self) {
        if clock::now().saturating_duration_since(self.began) > SEARCH_TIME_MAX {
            (self.is_over, self.took_too_long) = (true, true);
            return;
        }
        for message in &self.messages {
            let text = message.text.to_lowercase();
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

/// The way to the thread that searches; it ends when this is dropped.
#[derive(Default)]
pub(super) struct Searcher {
    /// Without a thread a search is carried out at once.
    thread: Option<Sender<Search>>,
    /// Searches on their way: each has one step with the thread.
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
        // It ends by itself.
        drop(thread);
        self.thread = Some(steps);
    }

    /// Begins a search. Its answer comes at once where there is nothing to look at, or too many are on their way.
    pub(super) fn begin(&mut self, request: ReadRequest, room: Option<&StoredMessages>) -> Option<Completion> {
        if self.running >= SEARCHES_MAX {
            return Some(Completion::Unread { request, error: ReadError::Busy });
        }
        self.running += 1;
        self.go_on(Search::new(request), room)
    }

    /// Goes on with a search whose step was looked at. Returns the answer where it is over.
    pub(super) fn go_on(&mut self, mut search: Search, room: Option<&StoredMessages>) -> Option<Completion> {
        while !search.is_over && search.take_step(room) {
            let Some(thread) = &self.thread else {
                search.look();
                continue;
            };
            match thread.send(search) {
                Ok(()) => return None,
                // The thread has ended, and the process ends with it.
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
