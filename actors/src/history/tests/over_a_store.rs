//! Tests of the part that `History` provides for every store. The store here is written from the contract alone.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::remote::{Remote, RemoteReport};
use super::*;

/// A history above this store. It delivers the reports, as the `ChatServer` does.
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

    /// Delivers all reports and returns their completions.
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
                | Completion::Forgotten { .. }
                | Completion::Decided { .. } => {}
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
        self.reports.lock().unwrap().push(StoreReport::new(RemoteReport::Trim(Seq(oldest))));
        self.settle();
    }

    /// Reads a page. Also returns whether the store was asked.
    fn read(&mut self, page: HistoryPage, limit: usize) -> (Vec<u64>, bool, bool) {
        let before = self.reads.load(Relaxed);
        let (oldest, newest) = self.bounds;
        let mut done = Vec::new();
        self.history.read(ReadRequest { oldest, newest, ..request(page, None, limit, usize::MAX) }, &mut done);
        done.extend(self.settle());
        let [Completion::Read { page, .. }] = &done[..] else { panic!("expected one answer, got {done:?}") };
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
    assert_eq!(over.read(HistoryPage::Newest, 9), (vec![], false, false), "all messages were dropped");
}

#[test]
fn what_the_store_has_dropped_is_not_shown_from_memory() {
    let mut over = OverRemote::new(9, u64::MAX);
    over.append(5);
    over.trim(4);
    assert_eq!(over.read(HistoryPage::Newest, 9), (vec![4, 5], false, false));
    assert_eq!(over.read(HistoryPage::After(Seq(1)), 9), (vec![4, 5], false, true), "the store knows the missing ones");
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
