//! Tests of the store with its threads and a file, below a small memory of recent messages, without a chat.

mod following;
mod refused;
mod searching;

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rusqlite::Connection;
use rustc_hash::FxHashMap;
use starling_protocol::{ClientId, Epoch, HistoryPage, MessageId};
use tempfile::TempDir;

use super::*;
use crate::history::{
    Content, Draft, Durability, EntryNumber, History, ReadPurpose, ReadToken, RoomKey, SearchText, StoredRoom,
};
use crate::identity::IdOwner;
use crate::vitals::{Death, VitalPart, Vitals};

const ROOM: RoomId = RoomId(0);
const EPOCH: Epoch = Epoch(7);

/// A store in a folder, with the reports of its threads.
struct Store {
    history: History,
    metrics: Arc<HistoryMetrics>,
    reports: Receiver<StoreReport>,
    restored: Restored,
    /// The oldest and the newest message of the lobby, as the chat would know them.
    bounds: (Seq, Seq),
}

fn settings(folder: &TempDir) -> SqliteSettings {
    SqliteSettings {
        path: folder.path().join("starling.db"),
        follows_log: false,
        durability: Durability::Process,
        keep_messages: None,
        keep_for: None,
        keep_bytes: None,
        ids_kept: Duration::from_mins(5),
        ids_max: 1_000,
    }
}

/// A message whose text and id contain its expected seq.
fn draft(seq: u64) -> Draft {
    Draft {
        to: None,
        client_id: ClientId::parse("alice").unwrap(),
        content: Content::message(format!("says number{seq}")),
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

/// An entry for the lobby, numbered like its message's expected seq.
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

    /// The completions of the next report.
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

/// The rooms and seqs of the committed messages.
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
    assert_eq!(vitals.dead(), Some(Death::Of(VitalPart::History)));
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
            sent: Seq(0),
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
    assert_eq!(store.next().len(), 20, "one report for all messages");
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
    assert_eq!(stored.seq, Seq(TURN_MESSAGES_MAX as u64 + 1), "the queued message is stored on drop");
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
fn however_many_ids_of_dropped_messages_are_remembered_the_newest_messages_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let settings = || SqliteSettings { keep_bytes: Some(400_000), ..settings(&folder) };
    let mut store = Store::open(settings());
    for last in (2_000..=20_000).step_by(2_000) {
        store.append(last - 1_999..=last);
    }
    let database = Connection::open(settings().path).unwrap();
    let count = |table| {
        let count = format!("SELECT count(*) FROM {table}");
        database.query_row(&count, [], |row| row.get::<_, u64>(0)).unwrap()
    };
    // Dropped until it fits, and not once more.
    while retention::used_bytes(&database).unwrap() > 400_000 && count("messages") > 0 {
        std::thread::yield_now();
    }
    assert!(count("messages") > 500, "{} messages, {} ids", count("messages"), count("dropped_ids"));
    assert_eq!(store.read(HistoryPage::Newest, None, 1).0, [20_000]);
}

#[test]
fn a_new_room_gets_a_number_in_the_file_also_after_the_last_number_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(&folder));
    store.append(1..=1);
    drop(store);
    let database = Connection::open(settings(&folder).path).unwrap();
    database
        .execute_batch(&format!(
            "UPDATE rooms SET id = {last}; UPDATE messages SET place = {place};",
            last = schema::ROOMS_MAX,
            place = schema::place(DbRoom(schema::ROOMS_MAX), 1)
        ))
        .unwrap();
    drop(database);
    let mut store = Store::open(settings(&folder));
    store.append(2..=2);
    for number in 1..=3 {
        let name = format!("new-{number}");
        store.history.append(entry(10 + number, [(RoomId(10), &name, draft(1))]), &mut Vec::new());
        store.history.end_turn(&mut Vec::new());
        let mut done = Vec::new();
        while !done.iter().any(|done| matches!(done, Completion::Committed { .. } | Completion::Refused { .. })) {
            done = store.next();
        }
        assert_eq!(committed(&done), [(RoomId(10), 1)]);
        store.history.forget(RoomId(10), None, &mut Vec::new());
    }
    assert_eq!(store.read(HistoryPage::Newest, None, 9), (vec![1, 2], false));
}

#[test]
fn a_message_of_the_future_makes_a_restart_forget_no_id() {
    let folder = tempfile::tempdir().unwrap();
    let (minute, day) = (60_000, 86_400_000);
    let mut store = Store::open(settings(&folder));
    let late = Draft { at: clock::unix_ms() - 10 * minute, ..draft(1) };
    store.history.append(entry(1, [(ROOM, "lobby", late)]), &mut Vec::new());
    // The clock was wrong for a moment.
    let ahead = Draft { at: clock::unix_ms() + 3 * day, id: None, ..draft(2) };
    store.history.append(entry(2, [(ROOM, "lobby", ahead)]), &mut Vec::new());
    drop(store);
    let ids = Store::open(settings(&folder)).restored.ids;
    assert_eq!(ids.iter().map(|id| (id.seq, id.age)).collect::<Vec<_>>(), [(Seq(1), Duration::ZERO)]);
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
