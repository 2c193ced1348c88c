//! The contract of a store ([`HistoryStore`]), checked against every history: in memory, off, in a SQLite database, and
//! in the store that was written from the contract alone.

mod subject;

use self::subject::{ALICES, BOBS, EPOCH, KINDS, Kind, LOBBY, OTHER, Subject, answers};
use super::*;

#[test]
fn each_entry_is_answered_once_and_numbered_in_its_rooms_in_the_order_of_the_appends() {
    for kind in KINDS {
        let mut subject = Subject::new(kind);
        assert_eq!(subject.restored, Restored::default(), "{kind:?}");
        let mut done = Vec::new();
        for copies in [&[LOBBY][..], &[OTHER], &[LOBBY], &[ALICES, BOBS], &[BOBS], &[LOBBY], &[ALICES, BOBS]] {
            subject.append(copies, "x", &mut done);
        }
        let done = subject.settle(done, |done| answers(done).len() == 7);
        let expected = [
            vec![(LOBBY.0, 1)],
            vec![(OTHER.0, 1)],
            vec![(LOBBY.0, 2)],
            vec![(ALICES.0, 1), (BOBS.0, 1)],
            vec![(BOBS.0, 2)],
            vec![(LOBBY.0, 3)],
            vec![(ALICES.0, 2), (BOBS.0, 3)],
        ];
        let expected: Vec<_> = (1..).zip(expected.map(Some)).collect();
        assert_eq!(answers(&done), expected, "{kind:?}");
    }
}

#[test]
fn a_page_has_what_was_asked_for_and_nothing_that_the_chat_does_not_know() {
    let (before, after) = (|seq| HistoryPage::Before(Seq(seq)), |seq| HistoryPage::After(Seq(seq)));
    for kind in KINDS {
        let mut subject = Subject::new(kind);
        assert_eq!(subject.read(OTHER.0, |_| ()), Ok((vec![], false)), "{kind:?}: a room without messages");
        subject.say(LOBBY, &["x"; 10]);
        for (page, limit, expected, has_more) in [
            (HistoryPage::Newest, 3, vec![8, 9, 10], true),
            (HistoryPage::Newest, 100, (1..=10).collect(), false),
            (before(3), 5, vec![1, 2], false),
            (before(5), 2, vec![3, 4], true),
            (before(0), 5, vec![], false),
            (after(7), 2, vec![8, 9], true),
            (after(8), 2, vec![9, 10], false),
            (after(99), 2, vec![], false),
        ] {
            for purpose in [ReadPurpose::Page, ReadPurpose::CatchUp] {
                let found =
                    subject.read(LOBBY.0, |read| (read.page, read.limit, read.purpose) = (page, limit, purpose));
                let expected = if kind.keeps() { (expected.clone(), has_more) } else { (vec![], false) };
                assert_eq!(found, Ok(expected), "{kind:?}: {page:?} {limit} {purpose:?}");
            }
        }
        if !kind.keeps() {
            continue;
        }
        let known = subject.read(LOBBY.0, |read| (read.oldest, read.newest) = (Seq(4), Seq(6)));
        let is_within = |read: &Result<(Vec<u64>, bool), _>| *read == Ok((vec![4, 5, 6], false));
        // A history in memory holds nothing that the chat does not know.
        assert!(kind == Kind::Memory || is_within(&known), "{kind:?}: {known:?}");
        let mut done = Vec::new();
        subject.append(&[ALICES, BOBS], "to bob", &mut done);
        subject.settle(done, |done| answers(done).len() == 1);
        for (with, expected) in [("alice", vec![1]), ("carol", vec![])] {
            let found = subject.read(BOBS.0, |read| read.with = Some(ClientId::parse(with).unwrap()));
            assert_eq!(found, Ok((expected, false)), "{kind:?}: with {with}");
        }
    }
}

#[test]
fn a_search_finds_the_newest_first_whatever_was_committed_before_it() {
    for kind in KINDS.into_iter().filter(|kind| kind.keeps()) {
        let mut subject = Subject::new(kind);
        subject.say(LOBBY, &["Green tea", "black tea", "tea, green as grass", "green"]);
        let mut find = |text, page, limit| {
            let search = SearchText::parse(text);
            subject.read(LOBBY.0, |read| (read.search, read.page, read.limit) = (search, page, limit)).unwrap()
        };
        assert_eq!(find("GREEN tea", HistoryPage::Newest, 9), (vec![3, 1], false), "{kind:?}");
        assert_eq!(find("green", HistoryPage::Newest, 2), (vec![4, 3], true), "{kind:?}");
        assert_eq!(find("green", HistoryPage::Before(Seq(3)), 2), (vec![1], false), "{kind:?}");
        assert_eq!(find("coffee", HistoryPage::Newest, 9), (vec![], false), "{kind:?}");
    }
}

#[test]
fn a_forgotten_room_is_gone_and_the_next_with_its_number_begins_anew() {
    for kind in KINDS {
        let mut subject = Subject::new(kind);
        subject.say(LOBBY, &["old"; 5]);
        let mut done = Vec::new();
        subject.history.forget(LOBBY.0, Some(Receipt(4)), &mut done);
        // In the same turn, so after the end of the old room.
        subject.bounds.clear();
        let number = subject.append(&[(LOBBY.0, "new")], "new", &mut done);
        let is_told = |done: &[Completion]| done.iter().any(|done| matches!(done, Completion::Forgotten { .. }));
        let done = subject.settle(done, |done| is_told(done) && !answers(done).is_empty());
        let told: Vec<_> = done.iter().filter(|done| matches!(done, Completion::Forgotten { .. })).collect();
        assert!(
            matches!(told[..], [Completion::Forgotten { receipt: Receipt(4), is_gone: true }]),
            "{kind:?}: {told:?}"
        );
        assert_eq!(answers(&done), [(number, Some(vec![(LOBBY.0, 1)]))], "{kind:?}");
        let expected = if kind.keeps() { vec![1] } else { vec![] };
        assert_eq!(subject.read(LOBBY.0, |_| ()), Ok((expected, false)), "{kind:?}");
        let mut done = Vec::new();
        subject.history.forget(OTHER.0, Some(Receipt(5)), &mut done);
        let done = subject.settle(done, |done| !done.is_empty());
        let is_gone = matches!(done[..], [Completion::Forgotten { receipt: Receipt(5), is_gone: true }]);
        assert!(is_gone, "{kind:?}: a room that had no message is gone: {done:?}");
    }
}

#[test]
fn a_history_with_a_bound_drops_the_oldest_and_says_so() {
    for kind in [Kind::Off, Kind::Memory, Kind::Sqlite(0), Kind::Sqlite(9)] {
        let most = if kind.keeps() { 3 } else { 0 };
        let mut subject = Subject::that_keeps(kind, Some(most));
        subject.say(LOBBY, &["x"; 8]);
        let oldest = Seq(u64::from(9 - most));
        while subject.bounds[&LOBBY.0].0 < oldest {
            subject.settle(Vec::new(), |done| !done.is_empty());
        }
        assert_eq!(subject.bounds[&LOBBY.0], (oldest, Seq(8)), "{kind:?}");
        let expected: Vec<u64> = (oldest.0..=8).collect();
        assert_eq!(subject.read(LOBBY.0, |_| ()), Ok((expected, false)), "{kind:?}");
    }
}

#[test]
fn what_was_appended_before_the_end_is_there_at_the_next_start_if_the_store_is_durable() {
    for kind in KINDS {
        let mut subject = Subject::new(kind);
        subject.say(LOBBY, &["one", "two"]);
        let mut done = Vec::new();
        subject.append(&[ALICES, BOBS], "to bob", &mut done);
        subject.settle(done, |done| answers(done).len() == 1);
        subject.history.note_sent(BOBS.0, Seq(1));
        // In a turn that does not end.
        subject.append(&[LOBBY], "three", &mut Vec::new());
        let mut subject = subject.restart();
        let rooms: Vec<_> = subject
            .restored
            .rooms
            .iter()
            .map(|room| (room.key.to_string(), room.seq.0, room.oldest.0, room.sent.0))
            .collect();
        if !kind.is_durable() {
            assert!(subject.restored == Restored::default(), "{kind:?}");
            continue;
        }
        let expected = [("lobby", 3, 1, 0), ("@alice", 1, 1, 0), ("@bob", 1, 1, 1)];
        let expected: Vec<_> = expected.map(|(key, seq, oldest, sent)| (key.to_owned(), seq, oldest, sent)).into();
        assert_eq!(rooms, expected, "{kind:?}");
        assert!(subject.restored.rooms.iter().all(|room| room.epoch == EPOCH), "{kind:?}");
        let ids: Vec<_> = subject.restored.ids.iter().map(|id| (id.room, id.seq.0)).collect();
        assert_eq!(ids.len(), 4, "{kind:?}: each message once, a private one with the receiver's copy: {ids:?}");
        assert_eq!(subject.read(RoomId(0), |_| ()), Ok((vec![1, 2, 3], false)), "{kind:?}");
        let mut done = Vec::new();
        let number = subject.append(&[LOBBY], "four", &mut done);
        let done = subject.settle(done, |done| !answers(done).is_empty());
        assert_eq!(answers(&done), [(number, Some(vec![(LOBBY.0, 4)]))], "{kind:?}");
    }
}

#[test]
fn a_message_that_the_store_refuses_is_refused_whole_takes_no_number_and_holds_up_no_other() {
    for kind in KINDS.into_iter().filter(|kind| kind.can_fail()) {
        let mut subject = Subject::new(kind);
        if kind.is_durable() {
            subject.change_database(&format!(
                "CREATE TRIGGER fault BEFORE INSERT ON messages WHEN new.text = '{REFUSED}'
                 BEGIN SELECT RAISE(ABORT, 'on purpose'); END"
            ));
        }
        let mut done = Vec::new();
        for (copies, text) in [
            (&[LOBBY][..], "x"),
            (&[LOBBY], REFUSED),
            (&[ALICES, BOBS], REFUSED),
            (&[ALICES, BOBS], "x"),
            (&[LOBBY], "x"),
        ] {
            subject.append(copies, text, &mut done);
        }
        let done = subject.settle(done, |done| answers(done).len() == 5);
        let mut answers = answers(&done);
        answers.sort_unstable();
        let expected = [
            (1, Some(vec![(LOBBY.0, 1)])),
            (2, None),
            (3, None),
            (4, Some(vec![(ALICES.0, 1), (BOBS.0, 1)])),
            (5, Some(vec![(LOBBY.0, 2)])),
        ];
        assert_eq!(answers, expected, "{kind:?}");
        assert_eq!(subject.read(LOBBY.0, |_| ()), Ok((vec![1, 2], false)), "{kind:?}");
        assert_eq!(subject.read(ALICES.0, |_| ()), Ok((vec![1], false)), "{kind:?}");
    }
}

#[test]
fn a_storage_that_fails_refuses_every_entry_and_read_and_goes_on_where_it_was() {
    for kind in KINDS.into_iter().filter(|kind| kind.can_fail()) {
        let mut subject = Subject::new(kind);
        subject.say(LOBBY, &["x"; 5]);
        subject.set_broken(true);
        let mut done = Vec::new();
        let (first, second) = (subject.append(&[LOBBY], "x", &mut done), subject.append(&[OTHER], "x", &mut done));
        let done = subject.settle(done, |done| answers(done).len() == 2);
        let mut refused = answers(&done);
        refused.sort_unstable();
        assert_eq!(refused, [(first, None), (second, None)], "{kind:?}");
        assert_eq!(subject.read(LOBBY.0, |_| ()), Err(ReadError::Failed), "{kind:?}");
        subject.set_broken(false);
        // The store finds out by itself, in its time.
        loop {
            let mut done = Vec::new();
            let number = subject.append(&[LOBBY], "x", &mut done);
            let done = subject.settle(done, |done| !answers(done).is_empty());
            match &answers(&done)[..] {
                [(answered, None)] => assert_eq!(*answered, number, "{kind:?}"),
                [(answered, Some(copies))] => {
                    assert_eq!((*answered, &copies[..]), (number, &[(LOBBY.0, 6)][..]), "{kind:?}");
                    break;
                }
                other => panic!("{kind:?}: an entry is answered once: {other:?}"),
            }
        }
        assert_eq!(subject.read(LOBBY.0, |_| ()), Ok((vec![1, 2, 3, 4, 5, 6], false)), "{kind:?}");
    }
}
