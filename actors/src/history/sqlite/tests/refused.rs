//! Tests of messages that the database refuses, and of a storage that fails.

use super::*;

#[test]
fn both_copies_of_a_private_message_are_in_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(&folder));
    // An extra message before them, so that a limit of a commit or a turn does not fall exactly between two private
    // messages.
    store.history.append(message(1), &mut Vec::new());
    let (alice, bob) = (RoomId(1), RoomId(2));
    for seq in 1..=500 {
        let draft = Draft {
            to: ClientId::parse("bob").ok(),
            content: Content::message("x".repeat(15_000)),
            id: None,
            ..draft(seq)
        };
        let copies = [(alice, "@alice", draft.clone()), (bob, "@bob", draft)];
        store.history.append(entry(1 + seq, copies), &mut Vec::new());
    }
    store.history.end_turn(&mut Vec::new());
    let mut reached = FxHashMap::default();
    let mut commits = 0;
    while reached.get(&bob) != Some(&500) {
        reached.extend(committed(&store.next()));
        commits += 1;
        assert_eq!(reached.get(&alice), reached.get(&bob), "commit {commits}");
    }
    assert!(commits > 5, "{commits}");
}

/// Installs a trigger that makes the database reject some statements.
pub(super) fn refuse(settings: &SqliteSettings, trigger: &str) {
    Connection::open(&settings.path).unwrap().execute_batch(trigger).unwrap();
}

#[test]
fn a_message_that_the_database_refuses_fails_alone_and_takes_no_number() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(&folder));
    store.append(1..=1);
    refuse(
        &settings(&folder),
        "CREATE TRIGGER fault BEFORE INSERT ON messages WHEN new.text = 'says number3' BEGIN SELECT RAISE(ABORT, 'on purpose'); END",
    );
    let elsewhere = RoomId(1);
    for seq in 2..=5 {
        store.history.append(message(seq), &mut Vec::new());
        let fine = Draft { content: Content::message("fine"), ..draft(seq) };
        store.history.append(entry(100 + seq, [(elsewhere, "elsewhere", fine)]), &mut Vec::new());
    }
    store.history.end_turn(&mut Vec::new());
    let (mut stored, mut refused) = (Vec::new(), Vec::new());
    while refused.is_empty() {
        let done = store.next();
        stored.extend(committed(&done));
        refused.extend(
            done.into_iter().filter_map(
                |done| {
                    if let Completion::Refused { number } = done { Some(number.0) } else { None }
                },
            ),
        );
    }
    assert_eq!(refused, [3]);
    stored.sort_unstable();
    assert_eq!(
        stored,
        [(ROOM, 2), (ROOM, 3), (ROOM, 4), (elsewhere, 1), (elsewhere, 2), (elsewhere, 3), (elsewhere, 4)]
    );
    assert_eq!(store.metrics.health.failure(), None);
    store.history.append(message(6), &mut Vec::new());
    store.history.end_turn(&mut Vec::new());
    assert_eq!(committed(&store.next()), [(ROOM, 5)]);
    assert_eq!(store.read(HistoryPage::Newest, None, 9), (vec![1, 2, 3, 4, 5], false));
    assert_eq!(store.read(HistoryPage::Newest, Some("number6"), 9), (vec![5], false));
}

#[test]
fn what_is_due_when_the_storage_fails_is_done_when_it_works_again() {
    let folder = tempfile::tempdir().unwrap();
    let keep_for = Some(Duration::ZERO);
    let mut store = Store::open(SqliteSettings { keep_for, ..settings(&folder) });
    store.append(1..=1);
    while !store.next().iter().any(|done| matches!(done, Completion::Trimmed { .. })) {}
    refuse(
        &settings(&folder),
        "CREATE TRIGGER fault BEFORE DELETE ON rooms BEGIN SELECT RAISE(ABORT, 'on purpose'); END",
    );
    let receipt = Receipt(4);
    store.history.forget(ROOM, Some(receipt), &mut Vec::new());
    store.history.end_turn(&mut Vec::new());
    assert!(matches!(store.next()[..], [Completion::Forgotten { receipt: Receipt(4), is_gone: false }]));
    assert!(store.metrics.health.failure().is_some());
    store.history.append(message(1), &mut Vec::new());
    store.history.end_turn(&mut Vec::new());
    assert!(matches!(store.next()[..], [Completion::Refused { number: EntryNumber(1) }]), "refused at once");
    refuse(&settings(&folder), "DROP TRIGGER fault");
    while store.metrics.health.failure().is_some() {
        std::thread::yield_now();
    }
    // The room is created again, before or after the old one is dropped.
    store.append(1..=1);
    drop(store);
    assert_eq!(Store::open(settings(&folder)).restored.rooms.len(), 1);
}
