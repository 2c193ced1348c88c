//! The store with its threads and a file, below a small memory of recent messages, and without a chat.

mod searching;

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rusqlite::Connection;
use rustc_hash::FxHashMap;
use starling_protocol::{ClientId, Epoch, HistoryPage, MessageId};
use tempfile::TempDir;

use super::*;
use crate::history::{
    Draft, Durability, EntryNumber, History, ReadPurpose, ReadToken, RoomKey, SearchText, StoredRoom,
};
use crate::identity::IdOwner;
use crate::vitals::{Died, VitalPart, Vitals};

const ROOM: RoomId = RoomId(0);
const EPOCH: Epoch = Epoch(7);

/// A store in a folder, and what its threads report.
struct Store {
    history: History,
    metrics: Arc<HistoryMetrics>,
    reports: Receiver<StoreReport>,
    restored: Restored,
    /// The oldest and the newest message of the lobby, as the chat knows them.
    bounds: (Seq, Seq),
}

fn settings(folder: &TempDir) -> SqliteSettings {
    SqliteSettings {
        path: folder.path().join("starling.db"),
        durability: Durability::Process,
        keep_messages: None,
        keep_for: None,
        keep_bytes: None,
        ids_kept: Duration::from_mins(5),
        ids_max: 1_000,
    }
}

/// What a message says whose number is expected to be this.
fn draft(seq: u64) -> Draft {
    Draft {
        to: None,
        client_id: ClientId::parse("alice").unwrap(),
        text: format!("says number{seq}").into(),
        at: clock::unix_ms(),
        id: Some(MessageId::parse(&seq.to_string()).unwrap()),
        owner: Some(IdOwner(7)),
    }
}

fn entry<const N: usize>(number: u64, copies: [(RoomId, &str, Draft); N]) -> Entry {
    let copy = |(room, key, draft): (RoomId, &str, Draft)| {
        let key = RoomKey::parse(key).unwrap();
        EntryCopy { room, key, epoch: EPOCH, draft, seq: None }
    };
    Entry { number: EntryNumber(number), copies: copies.into_iter().map(copy).collect() }
}

/// An entry for the lobby, with the number that its message is expected to have.
fn message(seq: u64) -> Entry {
    entry(seq, [(ROOM, "lobby", draft(seq))])
}

impl Store {
    fn open(settings: SqliteSettings) -> Self {
        let metrics = Arc::<HistoryMetrics>::default();
        let mut history = History::over(SqliteStore::open(settings, Arc::clone(&metrics)).unwrap(), 3, 1_000_000);
        let restored = history.restore();
        let bounds = restored.rooms.first().map_or((Seq(1), Seq(0)), |room| (room.oldest, room.seq));
        let (tell, reports) = mpsc::channel();
        history.connect(Arc::new(move |report| tell.send(report).unwrap_or_default()), &Vitals::default());
        Self { history, metrics, reports, restored, bounds }
    }

    /// What the next report completes.
    fn next(&mut self) -> Vec<Completion> {
        let mut done = Vec::new();
        self.history.reported(self.reports.recv_timeout(Duration::from_secs(10)).unwrap(), &mut done);
        let in_lobby = committed(&done).into_iter().filter(|(room, _)| *room == ROOM);
        self.bounds.1 = in_lobby.map(|(_, seq)| Seq(seq)).next_back().unwrap_or(self.bounds.1);
        for done in &done {
            if let Completion::Trimmed { room: ROOM, oldest } = done {
                self.bounds.0 = *oldest;
            }
        }
        done
    }

    fn append(&mut self, seqs: std::ops::RangeInclusive<u64>) {
        let last = *seqs.end();
        for seq in seqs {
            self.history.append(message(seq), &mut Vec::new());
        }
        self.history.end_turn(&mut Vec::new());
        while !committed(&self.next()).contains(&(ROOM, last)) {}
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
        let (token, purpose) = (ReadToken(0), ReadPurpose::Page);
        let (search, bytes) = (search.and_then(SearchText::parse), usize::MAX);
        let (oldest, newest) = self.bounds;
        let mut done = Vec::new();
        let request =
            ReadRequest { token, purpose, room: ROOM, oldest, newest, page, search, with: None, limit, bytes };
        self.history.read(request, &mut done);
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

/// The rooms and numbers of the messages that were committed.
fn committed(done: &[Completion]) -> Vec<(RoomId, u64)> {
    let copies = done
        .iter()
        .filter_map(|done| if let Completion::Committed { copies, .. } = done { Some(copies) } else { None });
    copies.flatten().map(|copy| (copy.room, copy.message.seq.0)).collect()
}

#[test]
fn a_thread_that_panics_is_known_to_have_died_and_one_that_is_told_to_end_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let open = || SqliteStore::open(settings(&folder), Arc::default()).unwrap();
    let (vitals, mut history) = (Vitals::default(), open());
    history.restore();
    history.connect(Arc::new(|_| {}), &vitals);
    history.append(message(1), &mut Vec::new());
    drop(history);
    assert_eq!(vitals.dead(), None);
    let mut history = open();
    history.restore();
    history.connect(Arc::new(|_| panic!("a fault in a thread of the history, on purpose")), &vitals);
    history.append(message(2), &mut Vec::new());
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
            key: RoomKey::parse("lobby").unwrap(),
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
        store.history.append(message(seq), &mut Vec::new());
    }
    assert!(store.history.has_queued());
    store.history.end_turn(&mut Vec::new());
    assert!(!store.history.has_queued());
    assert_eq!(store.next().len(), 20, "one report speaks for all");
    assert_eq!(store.metrics.commit_messages.count(), 1);
}

#[test]
fn a_long_turn_is_handed_on_before_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(&folder));
    for seq in 1..=TURN_MESSAGES_MAX as u64 + 1 {
        store.history.append(message(seq), &mut Vec::new());
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
    store.history.forget(ROOM, None, &mut Vec::new());
    drop(store);
    assert_eq!(Store::open(settings(&folder)).restored.rooms, []);
}

#[test]
fn both_copies_of_a_private_message_are_in_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(&folder));
    // A message before them, so that no bound of a commit or a turn is reached between two messages only.
    store.history.append(message(1), &mut Vec::new());
    let (alice, bob) = (RoomId(1), RoomId(2));
    for seq in 1..=500 {
        let draft = Draft { to: ClientId::parse("bob").ok(), text: "x".repeat(15_000).into(), id: None, ..draft(seq) };
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

/// Lets the database refuse what a trigger says.
fn refuse(settings: &SqliteSettings, trigger: &str) {
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
        let fine = Draft { text: "fine".into(), ..draft(seq) };
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
        let name = format!("room-{number}");
        store.history.append(entry(number.into(), [(RoomId(number), &name, draft(1))]), &mut Vec::new());
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
        store.history.forget(RoomId(number), None, &mut Vec::new());
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
            let to = name(if sender == owner { "alice" } else { owner });
            let draft = Draft { to: Some(to), client_id: name(sender), ..draft(seq) };
            let inbox = format!("@{owner}");
            store.history.append(entry(seq, [(RoomId(number), &inbox, draft)]), &mut Vec::new());
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
