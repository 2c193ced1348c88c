//! The contract of a store ([`HistoryStore`]), checked against every history: in memory, off, in a SQLite database, and
//! in the store that was written from the contract alone.

mod subject;

use self::subject::{ALICES, BOBS, EPOCH, KINDS, Kind, LOBBY, OTHER, Subject, answers};
use super::*;

use starling_protocol::{Emoji, RoomName};

use crate::moderation::{Act, Decision, Moderation};
use crate::room_settings::SettingsChange;

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
        for (page, limit, search, expected, has_more) in [
            (before(7), 100, None, vec![4, 5, 6], false),
            (before(7), 2, None, vec![5, 6], true),
            (before(7), 3, None, vec![4, 5, 6], false),
            (before(5), 100, None, vec![4], false),
            (before(3), 100, None, vec![], false),
            (after(0), 2, None, vec![4, 5], true),
            (before(7), 100, Some("x"), vec![6, 5, 4], false),
            (before(7), 3, Some("x"), vec![6, 5, 4], false),
            (before(3), 100, Some("x"), vec![], false),
        ] {
            let found = subject.read(LOBBY.0, |read| {
                (read.oldest, read.newest, read.page, read.limit) = (Seq(4), Seq(6), page, limit);
                read.search = search.and_then(SearchText::parse);
            });
            assert_eq!(found, Ok((expected, has_more)), "{kind:?}: {page:?} {limit} {search:?}");
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
fn the_rows_of_the_moderation_are_kept_and_what_is_durable_has_them_after_a_restart() {
    for kind in KINDS {
        let mut subject = Subject::new(kind);
        let mut moderation = Moderation::default();
        for seconds in [5, 6, 0, 7] {
            let act = Act::Set { room: RoomName::lobby(), change: SettingsChange::slow(seconds) };
            let decision = Decision { by: "root".into(), act, reason: "".into() };
            let rows = moderation.decide(decision, u64::from(seconds)).unwrap();
            let mut done = Vec::new();
            let receipt = Receipt(seconds as usize);
            subject.history.keep_moderation(rows, Some(receipt), &mut done);
            let done = subject.settle(done, |done| !done.is_empty());
            assert!(
                matches!(done[..], [Completion::Decided { receipt: told, is_kept: true }] if told == receipt),
                "{kind:?}: {done:?}"
            );
        }
        if kind.is_durable() {
            assert_eq!(subject.restart().restored.moderation, moderation, "{kind:?}");
        }
    }
}

fn edit(of: u64, text: &str) -> Content {
    Content::Edit { of: Seq(of), text: text.into() }
}

fn deletion(of: u64) -> Content {
    Content::Deletion { of: Seq(of) }
}

fn reaction(of: u64, emoji: &str, removed: bool) -> Content {
    Content::Reaction { of: Seq(of), emoji: Emoji::parse(emoji).unwrap(), removed }
}

/// Appends entries of clients to the lobby, in one turn or each in its own.
fn change(subject: &mut Subject, entries: &[(&str, Content)], is_one_turn: bool) {
    let mut done = Vec::new();
    for (index, (client, content)) in entries.iter().enumerate() {
        subject.append_entry(client, &[(LOBBY, content.clone())], &mut done);
        if !is_one_turn || index + 1 == entries.len() {
            let count = if is_one_turn { entries.len() } else { 1 };
            subject.settle(std::mem::take(&mut done), |done| answers(done).len() == count);
        }
    }
}

fn all(subject: &mut Subject) -> (Vec<String>, Vec<String>) {
    let entries =
        subject.show(LOBBY.0, |read| (read.page, read.purpose) = (HistoryPage::After(Seq(0)), ReadPurpose::CatchUp));
    (subject.show(LOBBY.0, |_| ()), entries)
}

#[test]
fn a_change_is_an_entry_and_its_message_has_its_effect_also_after_a_restart() {
    let reply = Content::Message { text: "fine".into(), reply_to: Some(Seq(1)) };
    let entries = [
        ("alice", Content::message("one")),
        ("alice", Content::message("other")),
        ("bob", reaction(1, "👍", false)),
        ("alice", edit(1, "two")),
        ("carol", reaction(1, "👍", false)),
        ("bob", reply),
        ("alice", edit(1, "three")),
        ("bob", reaction(1, "👍", true)),
        ("alice", edit(2, "gone soon")),
        ("alice", deletion(2)),
        ("alice", edit(2, "too late")),
        ("bob", reaction(2, "👍", false)),
    ];
    let messages = ["1 three by 7 👍carol <8>", "2  deleted <10>", "6 fine re 1"];
    let with_changes = [
        messages[0],
        messages[1],
        "3 +👍 1",
        "4 edits 1: ",
        "5 +👍 1",
        messages[2],
        "7 edits 1: three",
        "8 -👍 1",
        "9 edits 2: ",
        "10 deletes 2",
        "11 edits 2: ",
        "12 +👍 2",
    ];
    for (kind, is_one_turn) in
        KINDS.into_iter().filter(|kind| kind.keeps()).flat_map(|kind| [(kind, true), (kind, false)])
    {
        let mut subject = Subject::new(kind);
        change(&mut subject, &entries, is_one_turn);
        let expected = (messages.map(str::to_owned).to_vec(), with_changes.map(str::to_owned).to_vec());
        assert_eq!(all(&mut subject), expected, "{kind:?}");
        let after = subject.show(LOBBY.0, |read| (read.page, read.limit) = (HistoryPage::After(Seq(2)), 5));
        assert_eq!(after, messages[2..], "{kind:?}: a page has no changes");
        let before = subject.show(LOBBY.0, |read| (read.page, read.limit) = (HistoryPage::Before(Seq(6)), 1));
        assert_eq!(before, messages[1..2], "{kind:?}");
        if kind.is_durable() {
            let mut subject = subject.restart();
            assert_eq!(all(&mut subject), expected, "{kind:?}: after a restart");
        }
    }
}

#[test]
fn a_change_comes_back_as_it_is_shown() {
    for kind in KINDS.into_iter().filter(|kind| kind.keeps()) {
        let mut subject = Subject::new(kind);
        let mut done = Vec::new();
        let contents = [Content::message("one"), deletion(1), edit(1, "too late"), edit(9, "of nothing")];
        for content in contents {
            subject.append_entry("alice", &[(LOBBY, content)], &mut done);
        }
        let done = subject.settle(done, |done| answers(done).len() == 4);
        let texts = done.iter().filter_map(|done| {
            let Completion::Committed { copies, .. } = done else { return None };
            Some(copies[0].message.text().to_owned())
        });
        assert_eq!(texts.collect::<Vec<_>>(), ["one", "", "", "of nothing"], "{kind:?}");
    }
}

#[test]
fn the_text_of_an_edit_goes_also_if_its_message_is_no_longer_kept() {
    for kind in [Kind::Memory, Kind::Sqlite(0), Kind::Sqlite(9)] {
        let mut subject = Subject::that_keeps(kind, Some(3));
        let mut keeps = |entries: &[(&str, Content)], oldest| {
            change(&mut subject, entries, false);
            while subject.bounds[&LOBBY.0].0 < Seq(oldest) {
                subject.settle(Vec::new(), |done| !done.is_empty());
            }
            all(&mut subject).1
        };
        let kept = keeps(&[("alice", Content::message("one")), ("bob", Content::message("x"))], 1);
        assert_eq!(kept, ["1 one", "2 x"], "{kind:?}");
        let kept = keeps(&[("alice", edit(1, "two")), ("bob", Content::message("y"))], 2);
        assert_eq!(kept, ["2 x", "3 edits 1: two", "4 y"], "{kind:?}");
        let kept = keeps(&[("alice", deletion(1))], 3);
        assert_eq!(kept, ["3 edits 1: ", "4 y", "5 deletes 1"], "{kind:?}");
    }
}

#[test]
fn a_text_that_is_gone_is_in_no_file_once_the_index_is_purged() {
    let long = format!("secret{}", "x".repeat(20_000));
    for text in ["secretword one", &long] {
        let mut subject = Subject::new(Kind::Sqlite(9));
        let entries = [
            ("alice", Content::message(text)),
            ("alice", Content::message(text)),
            ("alice", edit(1, text)),
            ("alice", edit(1, "harmless")),
            ("alice", deletion(2)),
        ];
        change(&mut subject, &entries, false);
        // A stop may come before the purge has ended; the next start begins it again.
        let mut subject = subject.restart();
        let mut left = 50;
        while !subject.files_have("secret").is_empty() && left > 0 {
            subject = subject.restart();
            left -= 1;
        }
        assert_eq!(subject.files_have("secret"), [""; 0], "{}", text.len());
    }
}

#[test]
fn a_search_finds_the_newest_text_of_a_message_and_no_change() {
    for kind in KINDS.into_iter().filter(|kind| kind.keeps()) {
        let mut subject = Subject::new(kind);
        let find = |subject: &mut Subject, word| subject.show(LOBBY.0, |read| read.search = SearchText::parse(word));
        change(&mut subject, &[("alice", Content::message("green")), ("bob", Content::message("green too"))], true);
        assert_eq!(find(&mut subject, "green"), ["2 green too", "1 green"], "{kind:?}");
        change(&mut subject, &[("alice", edit(1, "blue")), ("bob", reaction(2, "👍", false))], true);
        assert_eq!(find(&mut subject, "green"), ["2 green too 👍bob <4>"], "{kind:?}");
        assert_eq!(find(&mut subject, "blue"), ["1 blue by 3 <3>"], "{kind:?}");
        change(&mut subject, &[("alice", edit(1, "green again")), ("bob", deletion(2))], false);
        assert_eq!(find(&mut subject, "green"), ["1 green again by 5 <5>"], "{kind:?}");
        for word in ["blue", "too", "👍"] {
            let found = SearchText::parse(word).map_or_else(Vec::new, |_| find(&mut subject, word));
            assert_eq!(found, [""; 0], "{kind:?}: {word}");
        }
    }
}

#[test]
fn each_of_two_copies_knows_the_other() {
    for kind in KINDS.into_iter().filter(|kind| kind.keeps()) {
        let mut subject = Subject::new(kind);
        let mut done = Vec::new();
        subject.append(&[BOBS], "note", &mut done);
        subject.append(&[ALICES, BOBS], "psst", &mut done);
        subject.append_entry("alice", &[(ALICES, edit(1, "pst")), (BOBS, edit(2, "pst"))], &mut done);
        subject.settle(done, |done| answers(done).len() == 3);
        assert_eq!(subject.show(ALICES.0, |_| ()), ["1 pst by 2 <2> twin 2"], "{kind:?}");
        assert_eq!(subject.show(BOBS.0, |_| ()), ["1 note", "2 pst by 3 <3> twin 1"], "{kind:?}");
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
fn whatever_a_query_contains_it_is_searched_and_no_part_of_it_is_syntax() {
    for kind in KINDS.into_iter().filter(|kind| kind.keeps()) {
        let mut subject = Subject::new(kind);
        subject.say(LOBBY, &["green tea", "tea"]);
        let longest = "tea ".repeat(64);
        for (query, found) in [
            ("green\0tea", vec![1]),
            ("\0tea\0", vec![2, 1]),
            ("\"green\0tea\"", vec![1]),
            ("\"tea", vec![2, 1]),
            ("tea - ( ) * ^ : + \"\"", vec![2, 1]),
            ("green OR tea", vec![]),
            ("text:tea", vec![]),
            ("NEAR(green tea)", vec![]),
            (longest.trim(), vec![2, 1]),
        ] {
            let read = |read: &mut ReadRequest| read.search = SearchText::parse(query);
            assert_eq!(subject.read(LOBBY.0, read), Ok((found, false)), "{kind:?}: {query:?}");
        }
        let all_characters =
            (0..=0x2fff).filter_map(char::from_u32).map(|character| format!("te{character}a x{character}"));
        for query in all_characters {
            let read = |read: &mut ReadRequest| read.search = SearchText::parse(&query);
            assert!(subject.read(LOBBY.0, read).is_ok(), "{kind:?}: {query:?}");
        }
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
fn a_room_with_limits_of_its_own_keeps_so_many_as_these_say_from_then_on_until_it_ends() {
    let messages = |messages| OwnLimits { messages: Some(messages), keep_for: None };
    for kind in [Kind::Memory, Kind::Sqlite(0), Kind::Sqlite(9)] {
        let mut subject = Subject::that_keeps(kind, Some(5));
        let mut keeps = |room: (RoomId, &'static str), limits: Option<OwnLimits>, count, expected: u64| {
            if let Some(limits) = limits {
                subject.history.limit(room.0, limits);
            }
            if count > 0 {
                subject.say(room, &vec!["x"; count]);
            }
            let kept = |subject: &Subject| {
                let (oldest, newest) = subject.bounds[&room.0];
                newest.0 + 1 - oldest.0
            };
            while kept(&subject) != expected {
                let mut done = Vec::new();
                subject.history.drop_excess(Now::read(), &mut done);
                subject.settle(done, |done| !done.is_empty());
            }
            let read = subject.read(room.0, |_| ()).unwrap().0.len() as u64;
            assert_eq!(read, expected, "{kind:?} {room:?}");
        };
        keeps(OTHER, None, 9, 5);
        keeps(LOBBY, Some(messages(3)), 9, 3);
        keeps(OTHER, Some(messages(1)), 0, 1);
        // Memory has limits of its own.
        keeps(BOBS, Some(messages(7)), 9, if kind == Kind::Memory { 5 } else { 7 });
        keeps(LOBBY, Some(OwnLimits::default()), 9, 5);
        subject.history.limit(LOBBY.0, messages(3));
        subject.history.forget(LOBBY.0, None, &mut Vec::new());
        subject.bounds.remove(&LOBBY.0);
        subject.say(LOBBY, &["x"; 5]);
        assert_eq!(subject.bounds[&LOBBY.0], (Seq(1), Seq(5)), "{kind:?}: a new room has no limits of its own");
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
fn read_positions_are_there_at_the_next_start_in_their_order_until_they_or_their_room_are_dropped() {
    for kind in KINDS.into_iter().filter(|kind| kind.is_durable()) {
        let mut subject = Subject::new(kind);
        for room in [LOBBY, ALICES, BOBS] {
            subject.say(room, &["one", "two"]);
        }
        let [alice, bob] = [IdOwner(1), IdOwner(u64::MAX)];
        let read = |upto| Standing { upto: Seq(upto), since: Seq(upto / 2) };
        for (owner, (room, _), seq) in [
            (alice, LOBBY, Some(1)),
            (bob, LOBBY, Some(2)),
            (alice, ALICES, Some(1)),
            (bob, BOBS, Some(1)),
            (bob, ALICES, Some(1)),
            (bob, ALICES, None),
        ] {
            subject.history.note_read(owner, room, seq.map(read));
        }
        subject.say(LOBBY, &["three"]);
        subject.history.note_read(alice, LOBBY.0, Some(read(2)));
        subject.history.forget(BOBS.0, None, &mut Vec::new());
        let subject = subject.restart();
        let key = |room: RoomId| subject.restored.rooms[room.0 as usize].key.to_string();
        let mut kept: Vec<_> = subject.restored.read.iter().map(|it| (key(it.room), it.owner, it.standing)).collect();
        let newest = kept.pop();
        kept.sort_by_key(|(_, owner, _)| owner.0);
        assert_eq!(kept, [("@alice".to_owned(), alice, read(1)), ("lobby".to_owned(), bob, read(2))], "{kind:?}");
        assert_eq!(newest, Some(("lobby".to_owned(), alice, read(2))), "{kind:?}: the newest note comes last");
    }
}

#[test]
fn what_is_kept_of_a_client_in_a_room_without_messages_is_for_no_other_room_after_a_restart() {
    for kind in KINDS.into_iter().filter(|kind| kind.is_durable()) {
        let mut subject = Subject::new(kind);
        let standing = Standing { upto: Seq(0), since: Seq(0) };
        subject.history.note_read(IdOwner(1), LOBBY.0, Some(standing));
        let mut subject = subject.restart();
        assert_eq!(subject.restored, Restored::default(), "{kind:?}: the room was never stored");
        subject.say(OTHER, &["one"]);
        subject.history.note_read(IdOwner(2), LOBBY.0, Some(standing));
        subject.say(LOBBY, &["one"]);
        let subject = subject.restart();
        let key = |room: RoomId| subject.restored.rooms[room.0 as usize].key.to_string();
        let kept: Vec<_> = subject.restored.read.iter().map(|it| (key(it.room), it.owner)).collect();
        assert_eq!(kept, [("lobby".to_owned(), IdOwner(2))], "{kind:?}");
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
