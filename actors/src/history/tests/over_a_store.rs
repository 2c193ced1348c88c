//! What every store gets from the history above it, shown with a store that was written from the contract alone.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;

/// Keeps all messages of one room, and commits and reads only when its report comes back, as a store on another host
/// would.
#[derive(Default)]
struct Remote {
    stored: Vec<Arc<StoredMessage>>,
    oldest: Seq,
    sink: Option<ReportSink>,
    reads: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Reported {
    Append(Entry),
    Read(ReadRequest),
    /// The store drops what is older.
    Trim(Seq),
}

impl Remote {
    fn later(&self, report: Reported) {
        self.sink.as_ref().unwrap()(StoreReport::new(report));
    }
}

impl HistoryStore for Remote {
    fn connect(&mut self, sink: ReportSink, _: &Vitals) {
        self.sink = Some(sink);
    }

    fn reported(&mut self, report: StoreReport, done: &mut Vec<Completion>) {
        match report.open::<Reported>().unwrap() {
            Reported::Append(Entry { number, copies }) => {
                let copies = copies.into_iter().map(|EntryCopy { room, key, epoch, draft, seq: _ }| {
                    let message = Arc::new(draft.placed(key, Seq(self.stored.len() as u64 + 1)));
                    self.stored.push(Arc::clone(&message));
                    StoredCopy { room, epoch, message, oldest: None }
                });
                done.push(Completion::Committed { number, copies: copies.collect() });
            }
            Reported::Read(request) => {
                let is_shown = |message: &&Arc<StoredMessage>| {
                    message.seq >= request.oldest.max(self.oldest)
                        && message.seq <= request.newest
                        && match request.page {
                            HistoryPage::Newest => true,
                            HistoryPage::Before(seq) => message.seq < seq,
                            HistoryPage::After(seq) => message.seq > seq,
                        }
                };
                let mut messages: Vec<_> = self.stored.iter().filter(is_shown).cloned().collect();
                let has_more = messages.len() > request.limit;
                if matches!(request.page, HistoryPage::After(_)) {
                    messages.truncate(request.limit);
                } else {
                    messages.drain(..messages.len().saturating_sub(request.limit));
                }
                done.push(Completion::Read { request, page: Page { messages, has_more } });
            }
            Reported::Trim(oldest) => {
                self.oldest = oldest;
                done.push(Completion::Trimmed { room: ROOM, oldest });
            }
        }
    }

    fn append(&mut self, entry: Entry, _: &mut Vec<Completion>) {
        self.later(Reported::Append(entry));
    }

    fn read(&mut self, request: ReadRequest, _: &mut Vec<Completion>) {
        self.reads.fetch_add(1, Relaxed);
        self.later(Reported::Read(request));
    }

    fn forget(&mut self, _: RoomId, receipt: Option<Receipt>, done: &mut Vec<Completion>) {
        self.stored.clear();
        done.extend(receipt.map(|receipt| Completion::Forgotten { receipt, is_gone: true }));
    }
}

/// A history over such a store, which carries its reports as the `ChatServer` does.
struct OverRemote {
    history: History,
    reports: Arc<Mutex<Vec<StoreReport>>>,
    reads: Arc<AtomicUsize>,
    bounds: (Seq, Seq),
}

impl OverRemote {
    fn new(recent_messages: u32, recent_bytes: u64) -> Self {
        let (remote, reports) = (Remote::default(), Arc::new(Mutex::new(Vec::new())));
        let reads = Arc::clone(&remote.reads);
        let mut history = History::over(remote, recent_messages, recent_bytes);
        assert_eq!(history.restore(), Restored::default());
        let sink = Arc::clone(&reports);
        history.connect(Arc::new(move |report| sink.lock().unwrap().push(report)), &Vitals::default());
        Self { history, reports, reads, bounds: (Seq(1), Seq(0)) }
    }

    /// Carries all reports and returns what they complete.
    fn settle(&mut self) -> Vec<Completion> {
        let mut done = Vec::new();
        for report in std::mem::take(&mut *self.reports.lock().unwrap()) {
            self.history.reported(report, &mut done);
        }
        for done in &done {
            match done {
                Completion::Committed { copies, .. } => self.bounds.1 = copies[0].message.seq,
                Completion::Trimmed { oldest, .. } => self.bounds.0 = *oldest,
                Completion::Refused { .. }
                | Completion::Read { .. }
                | Completion::Unread { .. }
                | Completion::Forgotten { .. } => {}
            }
        }
        done
    }

    fn append(&mut self, count: usize) {
        for _ in 0..count {
            self.history.append(entry(ROOM, "x"), &mut Vec::new());
        }
        assert_eq!(self.settle().len(), count);
    }

    fn trim(&mut self, oldest: u64) {
        self.reports.lock().unwrap().push(StoreReport::new(Reported::Trim(Seq(oldest))));
        self.settle();
    }

    /// A page, and whether the store was asked for it.
    fn read(&mut self, page: HistoryPage, limit: usize) -> (Vec<u64>, bool, bool) {
        let before = self.reads.load(Relaxed);
        let (oldest, newest) = self.bounds;
        let mut done = Vec::new();
        self.history.read(ReadRequest { oldest, newest, ..request(page, None, limit, usize::MAX) }, &mut done);
        done.extend(self.settle());
        let [Completion::Read { page, .. }] = &done[..] else { panic!("one answer, and not {done:?}") };
        let seqs = page.messages.iter().map(|message| message.seq.0).collect();
        (seqs, page.has_more, self.reads.load(Relaxed) > before)
    }
}

#[test]
fn a_page_is_the_same_from_memory_and_from_the_store_which_is_asked_only_for_what_the_memory_lacks() {
    let mut over = OverRemote::new(3, u64::MAX);
    over.append(10);
    let newest = HistoryPage::Newest;
    let (before, after) = (|seq| HistoryPage::Before(Seq(seq)), |seq| HistoryPage::After(Seq(seq)));
    for (page, limit, expected, has_more, asked) in [
        (newest, 2, vec![9, 10], true, false),
        (newest, 3, vec![8, 9, 10], true, false),
        (newest, 4, vec![7, 8, 9, 10], true, true),
        (newest, 99, (1..=10).collect(), false, true),
        (before(10), 2, vec![8, 9], true, false),
        (before(10), 3, vec![7, 8, 9], true, true),
        (before(1), 3, vec![], false, true),
        (after(7), 99, vec![8, 9, 10], false, false),
        (after(7), 2, vec![8, 9], true, false),
        (after(6), 2, vec![7, 8], true, true),
        (after(10), 5, vec![], false, false),
        (after(99), 5, vec![], false, false),
    ] {
        assert_eq!(over.read(page, limit), (expected, has_more, asked), "{page:?} {limit}");
    }
}

#[test]
fn a_room_without_messages_is_not_asked_for() {
    let mut over = OverRemote::new(3, u64::MAX);
    assert_eq!(over.read(HistoryPage::Newest, 9), (vec![], false, false));
    over.append(2);
    over.trim(3);
    assert_eq!(over.read(HistoryPage::Newest, 9), (vec![], false, false), "all were dropped");
}

#[test]
fn what_the_store_has_dropped_is_not_shown_from_memory() {
    let mut over = OverRemote::new(9, u64::MAX);
    over.append(5);
    over.trim(4);
    assert_eq!(over.read(HistoryPage::Newest, 9), (vec![4, 5], false, false));
    assert_eq!(over.read(HistoryPage::After(Seq(1)), 9), (vec![4, 5], false, true), "the store knows what is missing");
}

#[test]
fn what_the_memory_drops_the_store_still_has_and_nobody_is_told() {
    let weight = weight() as u64;
    let mut over = OverRemote::new(9, 2 * weight);
    over.append(5);
    assert_eq!(over.bounds, (Seq(1), Seq(5)));
    assert_eq!(over.history.kept_bytes().kept(), 2 * weight);
    assert_eq!(over.read(HistoryPage::Newest, 2), (vec![4, 5], true, false));
    assert_eq!(over.read(HistoryPage::Newest, 9), ((1..=5).collect(), false, true));
}

#[test]
fn a_message_is_shown_when_it_was_reported_and_not_before() {
    let mut over = OverRemote::new(0, 0);
    over.append(2);
    over.history.append(entry(ROOM, "x"), &mut Vec::new());
    let (oldest, newest) = over.bounds;
    let read = ReadRequest { oldest, newest, ..request(HistoryPage::Newest, None, 9, usize::MAX) };
    over.history.read(read, &mut Vec::new());
    let done = over.settle();
    let [Completion::Committed { .. }, Completion::Read { page, .. }] = &done[..] else { panic!("{done:?}") };
    assert_eq!(page.messages.iter().map(|message| message.seq.0).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_room_that_has_the_number_of_a_forgotten_one_shows_nothing_of_it() {
    let mut over = OverRemote::new(9, u64::MAX);
    over.append(3);
    let mut done = Vec::new();
    over.history.forget(ROOM, Some(Receipt(4)), &mut done);
    assert!(matches!(done[..], [Completion::Forgotten { receipt: Receipt(4), is_gone: true }]));
    over.bounds = (Seq(1), Seq(0));
    over.append(1);
    assert_eq!(over.read(HistoryPage::Newest, 9), (vec![1], false, false));
}
