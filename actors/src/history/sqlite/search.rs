//! The search: an index beside the database, and the thread that updates and queries it.
//!
//! A full-text index (FTS5) merges its segments, and all entries of one word, in single steps that take longer the more
//! messages exist. So the index is a separate file with its own thread, and no commit of a message waits for it.
//!
//! The thread copies the changes of the database into the index every five seconds, and before a search for the searched
//! room. So a search finds every message that was acknowledged before it. Messages that the database has dropped are
//! not found, because a result is read from the database. After a start and after a failure, all rooms are compared
//! with the index. An index that is missing, damaged or of another version is rebuilt in the background.

mod index;
mod words;

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use log::info;
use rusqlite::{Connection, InterruptHandle};
use rustc_hash::FxHashSet;

use self::index::{Budget, Followed};
pub(super) use self::index::{IndexError, SearchIndex, problems};
use super::page::{Collected, DiskRead, MESSAGE, span};
use super::reader::serve;
use super::schema::DbRoom;
use crate::clock::{self, Instant};
use crate::history::thread::spawn;
use crate::history::{HistoryMetrics, Page, ReadError, ReadRequest, ReportSink, SearchText};
use crate::log_interval::LogInterval;
use crate::vitals::Vitals;

/// The largest number of waiting searches.
const WAITING_MAX: usize = 1_024;

/// How long changes wait before they are indexed, so that one step handles many messages.
const INTERVAL: Duration = Duration::from_secs(5);

/// The pause after a failure before the next attempt.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The longest time that a search waits until its room is indexed.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// The largest number of messages that one step indexes or removes.
const STEP_ROWS: u64 = 2_048;

/// The largest number of text bytes that one step indexes.
const STEP_BYTES: usize = 1024 * 1024;

/// The length of the pause after a step, as a multiple of the step's duration, while more work is due.
const REST: u32 = 2;

/// The number of rooms that are compared at a time after a start.
const LOOKED_AT: u32 = 1_024;

/// The shortest time between two purges of the words of removed texts. A purge rewrites the whole index.
const PURGE_INTERVAL: Duration = Duration::from_hours(1);

/// Limits the log lines: a client can cause a failure with every search, a broken storage once a second.
static FAILING: LogInterval = LogInterval::new();

#[derive(Default)]
struct SearchWork {
    searches: VecDeque<DiskRead>,
    /// Rooms with changes that are not indexed yet, and the time of the first of these changes.
    changed: FxHashSet<DbRoom>,
    changed_since: Option<Instant>,
    interrupts: Vec<InterruptHandle>,
    is_over: bool,
}

/// Queues searches and changes for the search thread.
pub(super) struct Searches {
    waiting: Mutex<SearchWork>,
    woken: Condvar,
    metrics: Arc<HistoryMetrics>,
}

/// The next task of the search thread.
enum Work {
    Search(DiskRead),
    /// Index the changes of these rooms.
    Follow(FxHashSet<DbRoom>),
}

impl Searches {
    /// Starts the thread. `history` is a connection that reads the database at `path`.
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

    fn lock(&self) -> MutexGuard<'_, SearchWork> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a search. Returns it if too many are waiting.
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

    /// Queues rooms whose stored messages have changed.
    pub(super) fn changed(&self, rooms: impl IntoIterator<Item = DbRoom>) {
        let mut waiting = self.lock();
        waiting.changed.extend(rooms);
        if waiting.changed_since.is_none() && !waiting.changed.is_empty() {
            waiting.changed_since = Some(clock::now());
            drop(waiting);
            self.woken.notify_one();
        }
    }

    /// Ends the thread. Waiting searches are discarded; changes that are not indexed yet are indexed after the next
    /// start.
    pub(super) fn stop(&self) {
        let mut waiting = self.lock();
        waiting.is_over = true;
        waiting.interrupts.iter().for_each(InterruptHandle::interrupt);
        drop(waiting);
        self.woken.notify_one();
    }

    /// Waits for the next task. Searches have priority, but after each search the index is updated if an update is due.
    /// `None` when the thread is to end.
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
                        self.search(follower, read).unwrap_or_else(|error| {
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
                    // Leaves the processor and the disk to more urgent work.
                    let rest = REST * now.saturating_duration_since(begun);
                    stepped.map(|is_done| (!is_done).then_some(now + rest))
                }
            };
            continue_at = outcome.unwrap_or_else(|error| {
                if !self.lock().is_over {
                    FAILING.warn(|| error.to_string());
                    follower.fail(&error);
                }
                let retry_at = clock::now() + RETRY_INTERVAL;
                // Searches that fail must not put off the next step.
                Some(continue_at.filter(|at| has_searched && *at < retry_at).unwrap_or(retry_at))
            });
        }
        if let Some(index) = &follower.index {
            index.settle();
        }
    }

    /// Searches in the index. If the index is damaged, in a new one.
    fn search(&self, follower: &mut Follower, read: &DiskRead) -> Result<Result<Page, ReadError>, IndexError> {
        match self.open(follower).and_then(|()| follower.search(read)) {
            Err(error) if error.is_damage() => {
                FAILING.warn(|| error.to_string());
                follower.fail(&error);
                self.open(follower).and_then(|()| follower.search(read))
            }
            outcome => outcome,
        }
    }

    /// Opens the index if it is not open.
    fn open(&self, follower: &mut Follower) -> Result<(), IndexError> {
        if follower.index.is_none() {
            let index = follower.open()?;
            self.lock().interrupts =
                vec![index.connection.get_interrupt_handle(), follower.history.get_interrupt_handle()];
        }
        Ok(())
    }
}

/// Brings the index up to date with the database, step by step.
struct Follower {
    history: Connection,
    path: PathBuf,
    index: Option<SearchIndex>,
    /// Rooms whose index may be outdated.
    due: BTreeSet<DbRoom>,
    /// The first room number that has not been compared since the index was opened. `None`: all were compared.
    unlooked: Option<u32>,
    /// Whether the index is being built, which the log announces at the start and the end.
    is_making: bool,
    /// Whether the words of removed texts are being purged.
    is_purging: bool,
    purged_at: Option<Instant>,
}

impl Follower {
    fn new(history: Connection, path: &Path) -> Self {
        let (path, due) = (path.to_owned(), BTreeSet::new());
        Self {
            history,
            path,
            index: None,
            due,
            unlooked: Some(0),
            is_making: false,
            is_purging: false,
            purged_at: None,
        }
    }

    fn open(&mut self) -> Result<&SearchIndex, IndexError> {
        let index = SearchIndex::open(&self.path)?;
        (self.unlooked, self.is_purging) = (Some(0), false);
        let stored = index::stored_rooms(&self.history, 0, 1).map_err(IndexError::History)?;
        if index.is_new && !stored.is_empty() {
            self.is_making = true;
            info!("the search index is being rebuilt; searches in rooms that it does not contain yet are refused");
        }
        Ok(self.index.insert(index))
    }

    /// After a failure, reopens the index; removes it first if it is damaged.
    fn fail(&mut self, error: &IndexError) {
        if !matches!(error, IndexError::History(_) | IndexError::Query(_)) {
            self.index = None;
        }
        if error.is_damage() {
            // If the removal fails, opening the index fails too and is logged.
            SearchIndex::remove(&self.path).unwrap_or_default();
        }
    }

    /// Indexes the next messages. Returns whether the index is complete.
    fn step(&mut self) -> Result<bool, IndexError> {
        let Some(index) = &self.index else { return Ok(true) };
        if self.is_purging && self.due.is_empty() {
            self.is_purging = !index.go_on_purging()?;
            return Ok(!self.is_purging);
        }
        if self.due.is_empty()
            && let Some(from) = self.unlooked
        {
            self.due.extend(index::stored_rooms(&self.history, from, LOOKED_AT).map_err(IndexError::History)?);
            self.due.extend(index.rooms(from, LOOKED_AT)?);
            // Both lists are complete up to the first `LOOKED_AT` rooms; beyond them, one of the lists may be cut off.
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
        // Ends the read transaction before the index commits and merges: while it is open, the server's log cannot be
        // shortened.
        drop(moment);
        transaction.commit()?;
        for room in done {
            self.due.remove(&room);
        }
        let is_done = self.due.is_empty() && self.unlooked.is_none();
        if is_done && std::mem::take(&mut self.is_making) {
            info!("the search index is complete: all messages can be searched");
        }
        let now = clock::now();
        let may_purge = self.purged_at.is_none_or(|at| now.saturating_duration_since(at) >= PURGE_INTERVAL);
        if is_done && may_purge && index.has_removed()? {
            (self.is_purging, self.purged_at) = (true, Some(now));
            index.begin_purge()?;
            return Ok(false);
        }
        Ok(is_done)
    }

    /// Searches in a room, after the room is indexed up to the newest message that may be shown.
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
            .prepare_cached(&format!("SELECT {MESSAGE} FROM messages WHERE place = ?1"))
            .map_err(history)?;
        index.find(&match_expression(text), span(read), |place| {
            collected.take(&mut message, &[&place]).map_err(history)?;
            Ok(collected.page.has_more)
        })?;
        Ok(Ok(collected.page))
    }
}

/// Completes and compacts the index of a database. No server may be running.
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

/// Whether a word of a query also finds the words that it begins. A shorter one begins too many words of the index: it
/// needs three letters, or two signs of a script that writes syllables, which take three bytes each.
fn finds_beginnings(word: &str) -> bool {
    word.chars().count() >= 3 || word.len() >= 6
}

/// The query in FTS5 syntax. Every word and phrase is quoted, so that no part of it is an operator. A word that is not
/// a phrase also finds the words that it begins.
fn match_expression(text: &SearchText) -> String {
    let quoted = text.terms().iter().map(|term| {
        let is_prefix = !term.is_phrase && finds_beginnings(&term.text);
        format!("\"{}\"{}", words::apart(&term.text).replace('"', "\"\""), if is_prefix { "*" } else { "" })
    });
    quoted.collect::<Vec<_>>().join(" ")
}
