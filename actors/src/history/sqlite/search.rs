//! Searching: an index beside the database, and the thread that keeps it and searches in it.
//!
//! A full-text index (FTS5) merges its parts, and the entries of one word in one step: that takes the longer the more
//! messages there are. So the index is a file of its own with a thread of its own, and no commit of a message waits for it.
//!
//! The index follows the database: each second with what has changed, and before a search with the room that is
//! searched, so a search finds whatever was acknowledged before it. What the database does not have any more is not found:
//! a message is shown as the database has it. After a start, and after a failure, all rooms are compared with the
//! index. An index that is missing, damaged or of another version is made anew, while everything else goes on.

mod index;

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use log::info;
use rusqlite::{Connection, InterruptHandle};
use rustc_hash::FxHashSet;

pub(super) use self::index::{APPLICATION_ID, ENDING, IndexError, SearchIndex, problems};
use self::index::{Budget, Followed};
use super::page::{Collected, DiskRead, span};
use super::reader::serve;
use super::schema::DbRoom;
use crate::clock;
use crate::history::thread::spawn;
use crate::history::{HistoryMetrics, Page, ReadError, ReadRequest, ReportSink, SearchText};
use crate::log_interval::LogInterval;
use crate::vitals::Vitals;

/// Most searches that wait.
const WAITING_MAX: usize = 1_024;

/// How long what has changed waits, so that one step serves many messages.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long after a failure it is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long a search waits at most until its room is indexed.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// Most messages that are indexed or dropped in one step.
const STEP_ROWS: u64 = 2_048;

/// Most bytes of text that are indexed in one step.
const STEP_BYTES: usize = 1024 * 1024;

/// How much longer than a step the pause after it is, while there is more to do.
const REST: u32 = 2;

/// Rooms that are looked at together after a start.
const LOOKED_AT: u32 = 1_024;

/// A client can cause it as often as it searches, a storage that fails each second.
static FAILING: LogInterval = LogInterval::new();

#[derive(Default)]
struct Waiting {
    searches: VecDeque<DiskRead>,
    /// Rooms that have changed since they were followed, and since when there are any.
    changed: FxHashSet<DbRoom>,
    changed_since: Option<Instant>,
    interrupts: Vec<InterruptHandle>,
    is_over: bool,
}

/// The way to the thread that searches.
pub(super) struct Searches {
    waiting: Mutex<Waiting>,
    woken: Condvar,
    metrics: Arc<HistoryMetrics>,
}

/// What the thread does next.
enum Work {
    Search(DiskRead),
    /// These rooms have changed.
    Follow(FxHashSet<DbRoom>),
}

impl Searches {
    /// Starts the thread, with a connection that reads the database at this path.
    pub(super) fn start(
        history: Connection,
        path: &Path,
        sink: ReportSink,
        metrics: &Arc<HistoryMetrics>,
        vitals: &Vitals,
    ) -> (Arc<Self>, JoinHandle<()>) {
        let (waiting, woken, metrics) = (Mutex::default(), Condvar::new(), Arc::clone(metrics));
        let searches = Arc::new(Self { waiting, woken, metrics });
        let mut follower = Follower::new(history, path);
        let thread = spawn("history-search", vitals, {
            let searches = Arc::clone(&searches);
            move || searches.run(&mut follower, &sink)
        });
        (searches, thread)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a search; gives it back where too many wait.
    pub(super) fn ask(&self, read: DiskRead) -> Result<(), ReadRequest> {
        let mut waiting = self.lock();
        if waiting.searches.len() >= WAITING_MAX {
            return Err(read.request);
        }
        waiting.searches.push_back(read);
        drop(waiting);
        self.metrics.reader.arrive_n(1);
        self.woken.notify_one();
        Ok(())
    }

    /// These rooms are not stored as they were.
    pub(super) fn changed(&self, rooms: impl IntoIterator<Item = DbRoom>) {
        let mut waiting = self.lock();
        waiting.changed.extend(rooms);
        if waiting.changed_since.is_none() && !waiting.changed.is_empty() {
            waiting.changed_since = Some(clock::now());
            drop(waiting);
            self.woken.notify_one();
        }
    }

    /// Ends the thread. What waits is not searched any more, and what is not indexed is after the next start.
    pub(super) fn stop(&self) {
        let mut waiting = self.lock();
        waiting.is_over = true;
        waiting.interrupts.iter().for_each(InterruptHandle::interrupt);
        drop(waiting);
        self.woken.notify_one();
    }

    /// What is to be done next; waits for it. Searches go first, but not one after the other where rooms have waited for long
    /// enough. `None`: there will be no more.
    fn next(&self, has_searched: bool, continue_at: Option<Instant>) -> Option<Work> {
        let mut waiting = self.lock();
        loop {
            if waiting.is_over {
                return None;
            }
            let due = continue_at.or(waiting.changed_since.map(|since| since + INTERVAL));
            let left = due.map(|due| due.saturating_duration_since(clock::now()));
            let is_due = left.is_some_and(|left| left.is_zero());
            if !(has_searched && is_due)
                && let Some(read) = waiting.searches.pop_front()
            {
                return Some(Work::Search(read));
            }
            if is_due {
                waiting.changed_since = None;
                return Some(Work::Follow(std::mem::take(&mut waiting.changed)));
            }
            waiting = match left {
                Some(left) => self.woken.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.woken.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn run(&self, follower: &mut Follower, sink: &ReportSink) {
        let (mut has_searched, mut continue_at) = (false, Some(clock::now()));
        while let Some(work) = self.next(has_searched, continue_at) {
            has_searched = matches!(work, Work::Search(_));
            let begun = clock::now();
            let outcome = match work {
                Work::Search(read) => {
                    let mut failure = None;
                    serve(read, sink, &self.metrics, |read| {
                        self.open(follower).and_then(|()| follower.search(read)).unwrap_or_else(|error| {
                            failure = Some(error);
                            Err(ReadError::Failed)
                        })
                    });
                    failure.map_or(Ok(continue_at), Err)
                }
                Work::Follow(changed) => {
                    follower.due.extend(changed);
                    let stepped = self.open(follower).and_then(|()| follower.step());
                    let now = clock::now();
                    // Others need the processor and the disk more.
                    let rest = REST * now.saturating_duration_since(begun);
                    stepped.map(|is_done| (!is_done).then_some(now + rest))
                }
            };
            continue_at = outcome.unwrap_or_else(|error| {
                if !self.lock().is_over {
                    FAILING.warn(|| error.to_string());
                    follower.fail(&error);
                }
                Some(clock::now() + RETRY_INTERVAL)
            });
        }
    }

    /// Opens the index, if it is not open.
    fn open(&self, follower: &mut Follower) -> Result<(), IndexError> {
        if follower.index.is_none() {
            let index = follower.open()?;
            self.lock().interrupts =
                vec![index.connection.get_interrupt_handle(), follower.history.get_interrupt_handle()];
        }
        Ok(())
    }
}

/// Makes the index like the database, step by step.
struct Follower {
    history: Connection,
    path: PathBuf,
    index: Option<SearchIndex>,
    /// Rooms that may differ.
    due: BTreeSet<DbRoom>,
    /// From this number on all rooms may differ; `None`: none but those above.
    unlooked: Option<u32>,
    /// Whether the index is being made, and that is told.
    is_making: bool,
}

impl Follower {
    fn new(history: Connection, path: &Path) -> Self {
        let (path, due) = (path.to_owned(), BTreeSet::new());
        Self { history, path, index: None, due, unlooked: Some(0), is_making: false }
    }

    fn open(&mut self) -> Result<&SearchIndex, IndexError> {
        let index = SearchIndex::open(&self.path)?;
        self.unlooked = Some(0);
        let stored = index::stored_rooms(&self.history, 0, 1).map_err(IndexError::History)?;
        if index.is_new && !stored.is_empty() {
            self.is_making = true;
            info!("the search index is made anew; until it is, searches in rooms that are not in it are refused");
        }
        Ok(self.index.insert(index))
    }

    /// After a failure the index is opened anew, and made anew where it is broken.
    fn fail(&mut self, error: &IndexError) {
        if !matches!(error, IndexError::History(_)) {
            self.index = None;
        }
        if error.is_damage() {
            // What cannot be removed is found when the index is opened, and that is told.
            SearchIndex::remove(&self.path).unwrap_or_default();
        }
    }

    /// Follows the next few messages. Says whether there are no more.
    fn step(&mut self) -> Result<bool, IndexError> {
        let Some(index) = &self.index else { return Ok(true) };
        if self.due.is_empty()
            && let Some(from) = self.unlooked
        {
            self.due.extend(index::stored_rooms(&self.history, from, LOOKED_AT).map_err(IndexError::History)?);
            self.due.extend(index.rooms(from, LOOKED_AT)?);
            // Up to the first so many of all, both have told their rooms; beyond, one of them may have more.
            let last = self.due.iter().nth(LOOKED_AT as usize - 1).copied();
            self.unlooked = last.map(|room| room.0 + 1);
            if let Some(from) = self.unlooked {
                self.due.split_off(&DbRoom(from));
            }
        }
        let transaction = index.connection.unchecked_transaction()?;
        let moment = self.history.unchecked_transaction().map_err(IndexError::History)?;
        let mut budget = Budget { rows: STEP_ROWS, bytes: STEP_BYTES };
        let mut done = Vec::new();
        for room in &self.due {
            if budget.is_spent() || !index.follow(&moment, *room, &mut budget)?.is_done {
                break;
            }
            done.push(*room);
        }
        // Before the index is merged: what a server drops meanwhile stays in the log for as long as this lasts.
        drop(moment);
        transaction.commit()?;
        for room in done {
            self.due.remove(&room);
        }
        let is_done = self.due.is_empty() && self.unlooked.is_none();
        if is_done && std::mem::take(&mut self.is_making) {
            info!("the search index is made: all messages can be searched");
        }
        Ok(is_done)
    }

    /// Searches in a room, once it is indexed up to the newest message that is shown.
    fn search(&self, read: &DiskRead) -> Result<Result<Page, ReadError>, IndexError> {
        let (Some(index), Some(text)) = (&self.index, &read.request.search) else { return Ok(Err(ReadError::Failed)) };
        let until = clock::now() + CATCH_UP_MAX;
        loop {
            let transaction = index.connection.unchecked_transaction()?;
            let moment = self.history.unchecked_transaction().map_err(IndexError::History)?;
            let mut budget = Budget { rows: STEP_ROWS, bytes: STEP_BYTES };
            let Followed { last, is_done } = index.follow(&moment, read.db, &mut budget)?;
            drop(moment);
            transaction.commit()?;
            if is_done || last >= read.request.newest.0 {
                break;
            }
            if clock::now() >= until {
                return Ok(Err(ReadError::Busy));
            }
        }
        let history = |error| IndexError::History(error);
        let mut collected = Collected::new(&self.history, read).map_err(history)?;
        let mut message = self
            .history
            .prepare_cached("SELECT place, at, client_id, id, text, peer FROM messages WHERE place = ?1")
            .map_err(history)?;
        index.find(&match_expression(text), span(read), |place| {
            collected.take(&mut message, &[&place]).map_err(history)?;
            Ok(collected.page.has_more)
        })?;
        Ok(Ok(collected.page))
    }
}

/// Makes the index of a database complete, and as small as it can be. No server may be running.
pub(super) fn vacuum(history: Connection, path: &Path) -> Result<(), IndexError> {
    let mut follower = Follower::new(history, path);
    match follower.open() {
        Err(error) if error.is_damage() => {
            follower.fail(&error);
            follower.open()?;
        }
        opened => drop(opened?),
    }
    while !follower.step()? {}
    Ok(follower.index.iter().try_for_each(SearchIndex::vacuum)?)
}

/// The query in the index's own language: every word and phrase is quoted, so nothing in it is an operator.
fn match_expression(text: &SearchText) -> String {
    let quoted = text.terms().iter().map(|term| format!("\"{}\"", term.replace('"', "\"\"")));
    quoted.collect::<Vec<_>>().join(" ")
}
