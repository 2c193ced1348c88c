//! The store alone, with its threads and a file, and without a chat.

mod searching;

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rusqlite::Connection;
use rustc_hash::FxHashMap;
use starling_protocol::{ClientId, HistoryPage, MessageId, RoomName};
use tempfile::TempDir;

use super::*;
use crate::history::{Reader, RoomKey, SearchText, StoredRoom};
use crate::identity::IdOwner;
use crate::ids::{HubId, SessionId};
use crate::vitals::{Died, VitalPart, Vitals};

const ROOM: RoomId = RoomId(0);
const EPOCH: Epoch = Epoch(7);

/// A store in a folder, and what its threads report.
struct Store {
    history: SqliteHistory,
    reports: Receiver<StoreReport>,
    restored: Restored,
}

fn settings(folder: &TempDir) -> SqliteSettings {
    SqliteSettings {
        path: folder.path().join("starling.db"),
        sync: Sync::Normal,
        keep_messages: None,
        keep_for: None,
        keep_bytes: None,
        recent_messages: 3,
        recent_bytes: 1_000_000,
        ids_kept: Duration::from_mins(5),
        ids_max: 1_000,
    }
}

fn message(seq: u64) -> Arc<StoredMessage> {
    Arc::new(StoredMessage {
        room: RoomKey::Room(RoomName::lobby()),
        to: None,
        seq: Seq(seq),
        client_id: ClientId::parse("alice").unwrap(),
        text: format!("says number{seq}").into(),
        at: clock::unix_ms(),
        id: Some(MessageId::parse(&seq.to_string()).unwrap()),
        owner: Some(IdOwner(7)),
    })
}

impl Store {
    fn open(settings: SqliteSettings) -> Self {
        let mut history = SqliteHistory::open(settings, Arc::default()).unwrap();
        let restored = history.restore();
        let (tell, reports) = mpsc::channel();
        history.connect(Arc::new(move |report| tell.send(report).unwrap_or_default()), &Vitals::default());
        Self { history, reports, restored }
    }

    /// What the next report completes.
    fn next(&mut self) -> Vec<Completion> {
        let mut done = Vec::new();
        self.history.reported(self.reports.recv_timeout(Duration::from_secs(10)).unwrap(), &mut done);
        done
    }

    fn append(&mut self, seqs: std::ops::RangeInclusive<u64>) {
        let last = *seqs.end();
        for seq in seqs {
            self.history.append(ROOM, EPOCH, message(seq), &mut Vec::new());
        }
        self.history.end_turn(&mut Vec::new());
        while !self.next().iter().any(|done| matches!(done, Completion::Stored { seq, .. } if seq.0 == last)) {}
    }

    fn read(&mut self, page: HistoryPage, search: Option<&str>, limit: usize) -> (Vec<u64>, bool) {
        self.try_read(page, search, limit).unwrap()
    }

    fn try_read(
        &mut self,
        page: HistoryPage,
        search: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<u64>, bool), ReadError> {
        let reader = Reader::Client { session: SessionId::new(HubId(0), 0, 0), id: None, ticket: None };
        let search = search.and_then(SearchText::parse);
        let mut done = Vec::new();
        let bytes = usize::MAX;
        self.history.read(ReadRequest { room: ROOM, page, search, with: None, limit, bytes, reader }, &mut done);
        loop {
            match done.pop() {
                Some(Completion::Read { page, .. }) => {
                    return Ok((page.messages.iter().map(|message| message.seq.0).collect(), page.has_more));
                }
                Some(Completion::Unread { error, .. }) => return Err(error),
                _ => done = self.next(),
            }
        }
    }
}

#[test]
fn a_thread_that_panics_is_known_to_have_died_and_one_that_is_told_to_end_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let open = || SqliteHistory::open(settings(&folder), Arc::default()).unwrap();
    let (vitals, mut history) = (Vitals::default(), open());
    history.restore();
    history.connect(Arc::new(|_| {}), &vitals);
    history.append(ROOM, EPOCH, message(1), &mut Vec::new());
    drop(history);
    assert_eq!(vitals.dead(), None);
    let mut history = open();
    history.restore();
    history.connect(Arc::new(|_| panic!("a fault in a thread of the history, on purpose")), &vitals);
    history.append(RoomId(0), EPOCH, message(2), &mut Vec::new());
    drop(history);
    assert_eq!(vitals.dead(), Some(Died(VitalPart::History)));
}

#[test]
fn a_page_is_the_same_whether_it_comes_from_memory_or_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(&folder));
    store.append(1..=10);
    for _ in 0..2 {
        assert_eq!(store.read(HistoryPage::Newest, None, 2), (vec![9, 10], true));
        assert_eq!(store.read(HistoryPage::Newest, None, 3), (vec![8, 9, 10], true));
        assert_eq!(store.read(HistoryPage::Newest, None, 20), ((1..=10).collect(), false));
        assert_eq!(store.read(HistoryPage::Before(Seq(3)), None, 5), (vec![1, 2], false));
        assert_eq!(store.read(HistoryPage::Before(Seq(0)), None, 5), (vec![], false));
        assert_eq!(store.read(HistoryPage::Before(Seq(u64::MAX)), None, 2), (vec![9, 10], true));
        assert_eq!(store.read(HistoryPage::After(Seq(8)), None, 5), (vec![9, 10], false));
        assert_eq!(store.read(HistoryPage::After(Seq(2)), None, 3), (vec![3, 4, 5], true));
        assert_eq!(store.read(HistoryPage::After(Seq(u64::MAX)), None, 3), (vec![], false));
        assert_eq!(store.read(HistoryPage::Newest, Some("number7 SAYS"), 5), (vec![7], false));
        drop(store);
        store = Store::open(settings(&folder));
        let room = StoredRoom {
            key: RoomKey::Room(RoomName::lobby()),
            epoch: EPOCH,
            seq: Seq(10),
            oldest: Seq(1),
            unclaimed: None,
            delivered: Seq(0),
        };
        assert_eq!(store.restored.rooms, [room]);
        assert_eq!(store.restored.ids.iter().map(|id| id.seq.0).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    }
}

#[test]
fn what_was_said_in_one_turn_is_stored_in_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(&folder));
    for seq in 1..=20 {
        store.history.append(ROOM, EPOCH, message(seq), &mut Vec::new());
    }
    assert!(store.history.has_queued());
    store.history.end_turn(&mut Vec::new());
    assert!(!store.history.has_queued());
    assert_eq!(store.next().len(), 20, "one report speaks for all");
    assert_eq!(store.history.metrics.commit_messages.count(), 1);
}

#[test]
fn a_long_turn_is_handed_on_before_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(&folder));
    for seq in 1..=TURN_MESSAGES_MAX as u64 + 1 {
        store.history.append(ROOM, EPOCH, message(seq), &mut Vec::new());
    }
    assert_eq!(store.next().len(), TURN_MESSAGES_MAX);
    assert!(store.history.has_queued(), "the last one waits for the end of the turn");
    drop(store);
    let stored = &Store::open(settings(&folder)).restored.rooms[0];
    assert_eq!(stored.seq, Seq(TURN_MESSAGES_MAX as u64 + 1), "what waited is stored when the chat ends");
}

#[test]
fn too_many_bytes_drop_the_oldest_until_they_fit() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(SqliteSettings { keep_bytes: Some(400_000), ..settings(&folder) });
    store.append(1..=6_000);
    let database = Connection::open(settings(&folder).path).unwrap();
    let oldest = loop {
        let trimmed = store.next();
        let used = retention::used_bytes(&database).unwrap();
        if let Some(Completion::Trimmed { oldest, .. }) = trimmed.last()
            && used <= 500_000
        {
            break *oldest;
        }
    };
    assert!(oldest > Seq(1) && oldest <= Seq(6_000), "{oldest:?}");
    assert_eq!(store.read(HistoryPage::Newest, None, 1).0, [6_000]);
}

#[test]
fn a_room_that_was_forgotten_leaves_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let keep_for = Some(Duration::ZERO);
    let mut store = Store::open(SqliteSettings { keep_for, ..settings(&folder) });
    store.append(1..=1);
    while !store.next().iter().any(|done| matches!(done, Completion::Trimmed { .. })) {}
    store.history.forget(ROOM, None);
    drop(store);
    assert_eq!(Store::open(settings(&folder)).restored.rooms, []);
}

/// A private message, as it stands in the inbox of its sender or of its receiver.
fn copy(owner: &str, seq: u64) -> NewMessage {
    let name = |text| ClientId::parse(text).unwrap();
    let room = if owner == "alice" { RoomId(0) } else { RoomId(1) };
    let message = StoredMessage {
        room: RoomKey::Inbox(name(owner)),
        to: Some(name("bob")),
        seq: Seq(seq),
        client_id: name("alice"),
        text: "x".repeat(15_000).into(),
        at: clock::unix_ms(),
        id: None,
        owner: None,
    };
    NewMessage { room, epoch: EPOCH, message: Arc::new(message) }
}

#[test]
fn both_copies_of_a_private_message_are_in_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(&folder));
    // A message before them, so that no bound of a commit or a turn is reached between two messages only.
    store.history.append(RoomId(2), EPOCH, message(1), &mut Vec::new());
    for seq in 1..=500 {
        store.history.append_both([copy("alice", seq), copy("bob", seq)], &mut Vec::new());
    }
    store.history.end_turn(&mut Vec::new());
    let mut reached = FxHashMap::default();
    let mut commits = 0;
    while reached.get(&RoomId(1)) != Some(&Seq(500)) {
        for done in store.next() {
            if let Completion::Stored { room, seq, .. } = done {
                reached.insert(room, seq);
            }
        }
        commits += 1;
        assert_eq!(reached.get(&RoomId(0)), reached.get(&RoomId(1)), "commit {commits}");
    }
    assert!(commits > 5, "{commits}");
}

/// Lets the database refuse what a trigger says.
fn refuse(settings: &SqliteSettings, trigger: &str) {
    Connection::open(&settings.path).unwrap().execute_batch(trigger).unwrap();
}

#[test]
fn a_message_that_the_database_refuses_fails_alone_with_what_follows_it_in_its_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(&folder));
    store.append(1..=1);
    refuse(
        &settings(&folder),
        "CREATE TRIGGER fault BEFORE INSERT ON messages WHEN new.text = 'says number3' BEGIN SELECT RAISE(ABORT, 'on purpose'); END",
    );
    for seq in 2..=5 {
        store.history.append(ROOM, EPOCH, message(seq), &mut Vec::new());
        let elsewhere = StoredMessage { room: RoomKey::parse("elsewhere").unwrap(), ..(*message(seq - 1)).clone() };
        let elsewhere = StoredMessage { text: "fine".into(), ..elsewhere };
        store.history.append(RoomId(1), EPOCH, Arc::new(elsewhere), &mut Vec::new());
    }
    store.history.end_turn(&mut Vec::new());
    let (mut stored, mut failed) = (Vec::new(), Vec::new());
    while failed.is_empty() {
        for done in store.next() {
            match done {
                Completion::Stored { room, seq, .. } => stored.push((room.0, seq.0)),
                Completion::Failed { room, seq } => failed.push((room.0, seq.0)),
                Completion::Trimmed { .. } | Completion::Read { .. } | Completion::Unread { .. } => panic!("{done:?}"),
            }
        }
    }
    assert_eq!((stored, failed), (vec![(0, 2), (1, 1), (1, 2), (1, 3), (1, 4)], vec![(0, 3)]));
    assert_eq!(store.history.health().failure(), None);
    // The place is given again.
    let other = StoredMessage { text: "another".into(), ..(*message(3)).clone() };
    store.history.append(ROOM, EPOCH, Arc::new(other), &mut Vec::new());
    store.append(4..=4);
    assert_eq!(store.read(HistoryPage::Newest, None, 9), (vec![1, 2, 3, 4], false));
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
    store.history.forget(ROOM, None);
    store.history.end_turn(&mut Vec::new());
    store.next();
    assert!(store.history.is_failing);
    refuse(&settings(&folder), "DROP TRIGGER fault");
    while store.history.is_failing {
        store.next();
    }
    // The room is made again, before or after the old one is dropped.
    store.append(1..=1);
    drop(store);
    assert_eq!(Store::open(settings(&folder)).restored.rooms.len(), 1);
}

#[test]
fn many_rooms_that_end_together_do_not_take_a_commit_each() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(&folder));
    for number in 0..1_000 {
        let room = RoomKey::parse(&format!("room-{number}")).unwrap();
        let message = StoredMessage { room, ..(*message(1)).clone() };
        store.history.append(RoomId(number), EPOCH, Arc::new(message), &mut Vec::new());
    }
    store.history.end_turn(&mut Vec::new());
    let mut stored = 0;
    while stored < 1_000 {
        stored += store.next().len();
    }
    let database = Connection::open(settings(&folder).path).unwrap();
    let version = || database.pragma_query_value(None, "data_version", |row| row.get::<_, u64>(0)).unwrap();
    let count = || database.query_row("SELECT count(*) FROM rooms", [], |row| row.get::<_, u64>(0)).unwrap();
    for number in 0..1_000 {
        store.history.forget(RoomId(number), None);
    }
    store.history.end_turn(&mut Vec::new());
    let (mut commits, mut last) = (0, version());
    while count() > 0 {
        let now = version();
        commits += u64::from(now != last);
        last = now;
    }
    assert!(commits <= 10, "{commits}");
}

#[test]
fn a_restart_knows_which_inboxes_owner_was_never_here_and_who_made_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(&folder));
    let name = |name: &str| ClientId::parse(name).unwrap();
    let inboxes = [
        ("one", ["alice", "alice"], Some(("alice", true))),
        ("two", ["alice", "bob"], Some(("alice", false))),
        ("was-here", ["alice", "was-here"], None),
    ];
    for (number, (owner, senders, _)) in (10..).zip(inboxes) {
        for (seq, sender) in (1..).zip(senders) {
            let kept = StoredMessage {
                room: RoomKey::Inbox(name(owner)),
                to: Some(name(if sender == owner { "alice" } else { owner })),
                client_id: name(sender),
                ..(*message(seq)).clone()
            };
            store.history.append(RoomId(number), EPOCH, Arc::new(kept), &mut Vec::new());
        }
    }
    drop(store);
    let store = Store::open(settings(&folder));
    for (room, (owner, _, expected)) in store.restored.rooms.iter().zip(inboxes) {
        let unclaimed = room.unclaimed.as_ref().map(|made| (made.maker.as_str(), made.is_alone));
        assert_eq!((room.key.to_string(), unclaimed), (format!("@{owner}"), expected));
    }
    assert_eq!(store.restored.rooms.len(), 3);
}
