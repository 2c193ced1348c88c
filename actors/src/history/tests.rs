//! Tests of the history in memory: limits, pages and searches. A submodule tests the same above a store.

mod contract;
mod over_a_store;
mod remote;

use std::sync::Arc;

use starling_protocol::{ClientId, Epoch, HistoryPage, RoomName};

use super::*;

pub(super) const ROOM: RoomId = RoomId(3);

/// The text of a message that a store with a fault refuses.
const REFUSED: &str = "refused";

pub(super) fn entry(room: RoomId, text: &str) -> Entry {
    let client_id = ClientId::parse("alice").unwrap();
    let draft = Draft { to: None, client_id, content: Content::message(text), at: 0, id: None, owner: None };
    let copy = EntryCopy { room, key: RoomKey::Room(RoomName::lobby()), epoch: Epoch(1), draft, seq: None };
    Entry { number: EntryNumber(0), copies: vec![copy] }
}

fn weight() -> usize {
    entry(ROOM, "x").copies[0].draft.weight()
}

fn filled(messages_max: u32, bytes_max: u64, count: u64) -> History {
    let mut history = History::in_memory(messages_max, bytes_max);
    for _ in 0..count {
        history.append(entry(ROOM, "x"), &mut Vec::new());
    }
    history
}

fn request(page: HistoryPage, search: Option<&str>, limit: usize, bytes: usize) -> ReadRequest {
    let (token, purpose, search) = (ReadToken(0), ReadPurpose::Page, search.and_then(SearchText::parse));
    let (oldest, newest) = (Seq(1), Seq(u64::MAX));
    ReadRequest { token, purpose, room: ROOM, oldest, newest, page, search, with: None, limit, bytes }
}

fn read_at_once(history: &mut History, request: ReadRequest) -> (Vec<u64>, bool) {
    let mut done = Vec::new();
    history.read(request, &mut done);
    let Some(Completion::Read { page, .. }) = done.pop() else { panic!("no answer") };
    (page.messages.iter().map(|message| message.seq.0).collect(), page.has_more)
}

fn read(history: &mut History, page: HistoryPage, limit: usize, bytes: usize) -> (Vec<u64>, bool) {
    read_at_once(history, request(page, None, limit, bytes))
}

#[test]
fn a_room_keeps_its_newest_messages_and_tells_the_oldest() {
    let mut history = filled(3, u64::MAX, 4);
    let mut done = Vec::new();
    history.append(entry(ROOM, "x"), &mut done);
    let Some(Completion::Committed { copies, .. }) = done.pop() else { panic!("not committed at once") };
    assert_eq!((copies[0].message.seq, copies[0].oldest), (Seq(5), Some(Seq(3))));
    assert_eq!(read(&mut history, HistoryPage::Newest, 9, usize::MAX), (vec![3, 4, 5], false));
}

#[test]
fn all_rooms_together_keep_so_many_bytes_and_the_oldest_message_of_all_goes_first() {
    let weight = weight() as u64;
    let mut history = filled(100, 3 * weight, 2);
    let other = RoomId(4);
    history.append(entry(other, "x"), &mut Vec::new());
    let mut done = Vec::new();
    history.append(entry(other, "x"), &mut done);
    assert!(matches!(done[1], Completion::Trimmed { room: ROOM, oldest: Seq(2) }));
    assert_eq!(history.kept_bytes().kept(), 3 * weight);
}

#[test]
fn a_page_goes_in_the_direction_asked_for_and_says_whether_there_is_more() {
    let mut history = filled(100, u64::MAX, 10);
    assert_eq!(read(&mut history, HistoryPage::Newest, 3, usize::MAX), (vec![8, 9, 10], true));
    assert_eq!(read(&mut history, HistoryPage::Before(Seq(3)), 5, usize::MAX), (vec![1, 2], false));
    assert_eq!(read(&mut history, HistoryPage::Before(Seq(5)), 2, usize::MAX), (vec![3, 4], true));
    assert_eq!(read(&mut history, HistoryPage::After(Seq(7)), 2, usize::MAX), (vec![8, 9], true));
    assert_eq!(read(&mut history, HistoryPage::After(Seq(8)), 2, usize::MAX), (vec![9, 10], false));
    assert_eq!(read(&mut history, HistoryPage::After(Seq(99)), 2, usize::MAX), (vec![], false));
}

#[test]
fn a_page_holds_at_most_so_many_bytes_but_always_one_message() {
    let mut history = filled(100, u64::MAX, 10);
    let weight = weight();
    assert_eq!(read(&mut history, HistoryPage::After(Seq(0)), 9, 2 * weight), (vec![1, 2], true));
    assert_eq!(read(&mut history, HistoryPage::Newest, 9, 2 * weight), (vec![9, 10], true));
    assert_eq!(read(&mut history, HistoryPage::Newest, 9, 0), (vec![10], true));
}

#[test]
fn a_search_finds_the_newest_first_and_says_whether_there_is_more() {
    let mut history = History::in_memory(100, u64::MAX);
    for text in ["Green tea", "black tea", "tea, green as grass", "green"] {
        history.append(entry(ROOM, text), &mut Vec::new());
    }
    let mut find = |query, page, limit| read_at_once(&mut history, request(page, Some(query), limit, usize::MAX));
    assert_eq!(find("GREEN tea", HistoryPage::Newest, 9), (vec![3, 1], false));
    assert_eq!(find("green", HistoryPage::Newest, 2), (vec![4, 3], true));
    assert_eq!(find("green", HistoryPage::Before(Seq(3)), 2), (vec![1], false));
}

#[test]
fn searches_past_their_bound_are_refused_and_answered_ones_make_room() {
    let mut history = History::in_memory(10_000, u64::MAX);
    let (report, reports) = std::sync::mpsc::channel();
    let report = std::sync::Mutex::new(report);
    history.connect(Arc::new(move |found| report.lock().unwrap().send(found).unwrap()), &Vitals::default());
    // Two steps each, so that one step is followed by another.
    for seq in 1..=1_500 {
        history.append(entry(ROOM, if seq == 7 { "Green tea" } else { "x" }), &mut Vec::new());
    }
    let mut done = Vec::new();
    let ask = |history: &mut History, done: &mut Vec<Completion>| {
        history.read(request(HistoryPage::Newest, Some("green"), 9, 9_999), done);
    };
    for _ in 0..search::SEARCHES_MAX {
        ask(&mut history, &mut done);
    }
    assert!(done.is_empty(), "all searches are running");
    ask(&mut history, &mut done);
    assert!(matches!(done.pop(), Some(Completion::Unread { error: ReadError::Busy, .. })));
    while done.is_empty() {
        history.reported(reports.recv().unwrap(), &mut done);
    }
    let Some(Completion::Read { page, .. }) = done.pop() else { panic!("no answer") };
    assert_eq!(page.messages.iter().map(|message| message.seq.0).collect::<Vec<_>>(), [7]);
    ask(&mut history, &mut done);
    assert!(done.is_empty(), "one more search may run");
}

#[test]
fn a_forgotten_room_leaves_nothing_behind() {
    let mut history = filled(100, u64::MAX, 10);
    history.forget(ROOM, None, &mut Vec::new());
    assert_eq!(history.kept_bytes().kept(), 0);
    assert_eq!(read(&mut history, HistoryPage::Newest, 9, usize::MAX), (vec![], false));
}

#[test]
fn a_history_that_is_off_numbers_messages_and_keeps_none() {
    let mut history = History::off();
    for seq in 1..=3 {
        let mut done = Vec::new();
        history.append(entry(ROOM, "x"), &mut done);
        let Some(Completion::Committed { copies, .. }) = done.pop() else { panic!("not committed at once") };
        assert_eq!((copies[0].message.seq, copies[0].oldest), (Seq(seq), Some(Seq(seq + 1))));
    }
    assert_eq!(read(&mut history, HistoryPage::Newest, 9, usize::MAX), (vec![], false));
    assert_eq!(history.kept_bytes().kept(), 0);
    history.forget(ROOM, None, &mut Vec::new());
    let mut done = Vec::new();
    history.append(entry(ROOM, "x"), &mut done);
    let Some(Completion::Committed { copies, .. }) = done.pop() else { panic!("not committed at once") };
    assert_eq!(copies[0].message.seq, Seq(1), "the next room with this number begins at 1");
}
