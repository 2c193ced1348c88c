//! Tests of a store that follows the log of several nodes.

use super::*;
use crate::history::StoredMessage;

const LOG: u64 = 9;

/// A history that follows a log, and keeps three messages of a room in memory.
fn follow(folder: &TempDir) -> Store {
    let metrics = Arc::<HistoryMetrics>::default();
    let store =
        SqliteStore::open(SqliteSettings { follows_log: true, ..settings(folder) }, Arc::clone(&metrics)).unwrap();
    let mut history = History::over(store, 3, 1_000_000).following_a_log();
    let restored = history.restore();
    let (tell, reports) = mpsc::channel();
    history.connect(Arc::new(move |report| tell.send(report).unwrap_or_default()), &Vitals::default());
    Store { history, metrics, reports, restored, bounds: (Seq(1), Seq(0)) }
}

/// The mark behind the record of this number.
fn mark(position: u64) -> LogMark {
    LogMark { log: LOG, position, at_nanos: Some(u64::MAX - position) }
}

impl Store {
    /// Keeps these messages of the lobby; the log has each in the record of its number.
    fn keep(&mut self, seqs: std::ops::RangeInclusive<u64>) {
        for seq in seqs {
            let mut entry = message(seq);
            entry.copies[0].seq = Some(Seq(seq));
            let placed = draft(seq).placed(entry.copies[0].key.clone(), Seq(seq), None);
            let placed: [Arc<StoredMessage>; 1] = [Arc::new(placed)];
            self.history.keep(entry, &placed, &mut Vec::new());
            self.history.mark(mark(seq));
            self.bounds.1 = Seq(seq);
        }
    }

    fn ask(&mut self, limit: usize) -> Vec<Completion> {
        let (token, purpose, page) = (ReadToken(0), ReadPurpose::Page, HistoryPage::Newest);
        let ((oldest, newest), bytes) = (self.bounds, usize::MAX);
        let request =
            ReadRequest { token, purpose, room: ROOM, oldest, newest, page, search: None, with: None, limit, bytes };
        let mut done = Vec::new();
        self.history.read(request, &mut done);
        done
    }

    /// The page of a requested read.
    fn answer(&mut self) -> Vec<u64> {
        loop {
            for done in self.next() {
                if let Completion::Read { page, .. } = done {
                    return page.messages.iter().map(|message| message.seq.0).collect();
                }
            }
        }
    }
}

#[test]
fn what_was_kept_is_read_at_once_and_found_by_the_next_process_with_its_place_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = follow(&folder);
    assert_eq!(store.restored.mark, None);
    store.keep(1..=10);
    assert_eq!(store.ask(3).len(), 1, "the memory has them");
    assert!(store.ask(9).is_empty(), "nothing is committed yet");
    store.keep(11..=12);
    store.history.end_turn(&mut Vec::new());
    assert_eq!(store.answer(), (2..=10).collect::<Vec<_>>(), "what was asked for, whatever came behind it");
    drop(store);
    let store = follow(&folder);
    assert_eq!(store.restored.mark, Some(mark(12)));
    assert_eq!((store.restored.rooms[0].seq, store.restored.rooms[0].oldest), (Seq(12), Seq(1)));
}

#[test]
fn a_mark_of_a_version_that_noted_no_times_is_kept_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut database = Connection::open(settings(&folder).path).unwrap();
    let transaction = database.transaction().unwrap();
    schema::make(&transaction, 7).unwrap();
    transaction.pragma_update(None, "application_id", schema::APPLICATION_ID).unwrap();
    transaction.execute("INSERT INTO log_mark (id, log, position) VALUES (1, ?1, 5)", [LOG]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let mut store = follow(&folder);
    assert_eq!(store.restored.mark, Some(LogMark { at_nanos: None, ..mark(5) }));
    store.keep(1..=1);
    drop(store);
    assert_eq!(follow(&folder).restored.mark, Some(mark(1)));
}

#[test]
fn a_backup_lacks_no_message_of_a_record_up_to_its_mark_while_the_node_stores_others() {
    const BACKUPS: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let path = settings(&folder).path;
    let mut store = follow(&folder);
    let mut next = 1;
    store.keep(next..=next);
    store.history.end_turn(&mut Vec::new());
    store.next();
    let copies = std::thread::spawn(move || {
        let copies = (0..BACKUPS).map(|number| path.with_extension(number.to_string()));
        copies.inspect(|copy| drop(backup::backup(&path, copy).unwrap())).collect::<Vec<_>>()
    });
    while !copies.is_finished() {
        store.keep(next + 1..=next + 1);
        next += 1;
        store.history.end_turn(&mut Vec::new());
        // Otherwise the history grows faster than it is copied.
        store.next();
    }
    for copy in copies.join().unwrap() {
        let copy = Connection::open(copy).unwrap();
        let number = |select: &str| copy.query_row(select, [], |row| row.get::<_, Option<u64>>(0)).unwrap();
        let (seq, newest) = (number("SELECT seq FROM rooms"), number("SELECT count(*) FROM messages"));
        assert_eq!(seq, newest);
        let mark = number("SELECT max(position) FROM log_mark");
        assert!(mark <= seq, "{mark:?}, but the messages end at {seq:?}");
    }
}

#[test]
fn a_read_of_a_room_that_ends_meanwhile_finds_nothing_and_nothing_of_the_next_room_with_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = follow(&folder);
    store.keep(1..=5);
    assert!(store.ask(9).is_empty());
    let mut done = Vec::new();
    store.history.forget(ROOM, None, &mut done);
    let [Completion::Read { page, .. }] = &done[..] else { panic!("{done:?}") };
    assert!(page.messages.is_empty());
    store.keep(1..=4);
    assert!(store.ask(9).is_empty());
    store.history.end_turn(&mut Vec::new());
    assert_eq!(store.answer(), [1, 2, 3, 4]);
    drop(store);
    let restored = follow(&folder).restored;
    assert_eq!(restored.rooms.iter().map(|room| room.seq.0).collect::<Vec<_>>(), [4], "in one commit or in several");
}

#[test]
fn nothing_is_stored_behind_a_message_that_the_log_has_and_the_store_refuses() {
    let faults = [
        "CREATE TRIGGER fault BEFORE INSERT ON messages WHEN new.text = 'says number4' BEGIN SELECT RAISE(ABORT, 'on purpose'); END",
        "CREATE TRIGGER fault BEFORE UPDATE ON rooms BEGIN SELECT RAISE(FAIL, 'on purpose'); END",
    ];
    for fault in faults {
        let folder = tempfile::tempdir().unwrap();
        let mut store = follow(&folder);
        store.keep(1..=2);
        store.history.end_turn(&mut Vec::new());
        store.next();
        super::refused::refuse(&settings(&folder), fault);
        for seqs in [3..=4, 5..=6] {
            store.keep(seqs);
            store.history.end_turn(&mut Vec::new());
        }
        while !store.history.lacks_a_message() {
            store.next();
        }
        super::refused::refuse(&settings(&folder), "DROP TRIGGER fault");
        // Even if storing works again.
        store.keep(7..=9);
        store.history.end_turn(&mut Vec::new());
        drop(store);
        let Restored { rooms, mark, .. } = follow(&folder).restored;
        let (seq, mark) = (rooms[0].seq.0, mark.unwrap());
        assert!((2..=3).contains(&seq), "{fault}: {seq}");
        assert!(mark.position <= seq, "{fault}: the next process reads the rest again from {mark:?}");
    }
}

#[test]
fn rooms_begin_new_epochs_once_when_their_store_follows_no_log_any_more_even_if_nothing_is_said_then() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = follow(&folder);
    store.keep(1..=2);
    drop(store);
    let room = |restored: &Restored| (restored.rooms[0].epoch, restored.rooms[0].seq);
    let again = follow(&folder).restored;
    assert_eq!(room(&again), (EPOCH, Seq(2)), "a node that comes back goes on in its epochs");
    assert_eq!(crate::history::sqlite::operator::vacuum(&settings(&folder)).map(|_| ()).ok(), Some(()));
    assert!(follow(&folder).restored.mark.is_some(), "a command without the node's settings changes nothing of it");
    let alone = Store::open(settings(&folder)).restored;
    let (epoch, seq) = room(&alone);
    assert_eq!((alone.mark, seq), (None, Seq(2)));
    assert_ne!(epoch, EPOCH);
    let later = Store::open(settings(&folder)).restored;
    assert_eq!((later.mark, room(&later)), (None, (epoch, Seq(2))), "its own epochs stay");
    assert_eq!(follow(&folder).restored.mark, None, "and it is no node's any more");
}
