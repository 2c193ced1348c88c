//! Tests of the search index: it is updated from the database, and nothing waits for it.

use std::fs;
use std::path::Path;

use super::*;

/// The number of messages in the search index; 0 if it does not exist yet.
fn indexed(path: &Path) -> u64 {
    let count = |index: Connection| index.query_row("SELECT count(*) FROM texts_docsize", [], |row| row.get(0));
    connections::open_reader(&file::beside(path, file::SEARCH_ENDING)).and_then(count).unwrap_or(0)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = clock::now() + Duration::from_secs(30);
    while !holds() {
        assert!(clock::now() < until, "{what}");
        std::thread::yield_now();
    }
}

fn find(store: &mut Store, text: &str) -> Vec<u64> {
    store.read(HistoryPage::Newest, Some(text), 5).0
}

#[test]
fn a_search_finds_whatever_was_acknowledged_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(&folder));
    for seq in 1..=30 {
        store.append(seq..=seq);
        assert_eq!(find(&mut store, &format!("number{seq}")), [seq]);
    }
    // These messages take more than one step of the index.
    store.append(31..=5_000);
    assert_eq!(find(&mut store, "number5000"), [5_000]);
    assert_eq!(store.read(HistoryPage::Newest, Some("says"), 5), (vec![5_000, 4_999, 4_998, 4_997, 4_996], true));
    assert_eq!(store.read(HistoryPage::Before(Seq(3)), Some("says"), 5), (vec![2, 1], false));
}

#[test]
fn messages_are_stored_and_dropped_while_the_search_index_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(SqliteSettings { keep_messages: Some(100), ..settings(&folder) });
    store.append(1..=1);
    assert_eq!(find(&mut store, "says"), [1]);
    let holder = Connection::open(file::beside(&settings(&folder).path, file::SEARCH_ENDING)).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    store.append(2..=1_000);
    let mut oldest = Seq(1);
    while oldest < Seq(901) {
        for done in store.next() {
            if let Completion::Trimmed { oldest: trimmed, .. } = done {
                oldest = trimmed;
            }
        }
    }
    assert_eq!(store.try_read(HistoryPage::Newest, Some("says"), 5), Err(ReadError::Failed));
    assert_eq!(store.metrics.health.failure(), None);
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(find(&mut store, "says"), [1_000, 999, 998, 997, 996]);
    assert_eq!(find(&mut store, "number900"), [0; 0], "message 900 was dropped");
    until("dropped messages leave the index", || indexed(&settings(&folder).path) == 100);
}

#[test]
fn whatever_the_search_index_is_at_a_start_every_message_is_found_and_no_other() {
    type Happens = fn(&Path, &Path);
    let cases: [(&str, Happens); 9] = [
        ("as it was left", |_, _| {}),
        ("not there", |_, index| fs::remove_file(index).unwrap()),
        ("empty", |_, index| fs::write(index, "").unwrap()),
        ("blank, as after a power cut", |_, index| fs::write(index, [0; 8_192]).unwrap()),
        ("damaged", |_, index| {
            let mut bytes = fs::read(index).unwrap();
            bytes[4_096..].iter_mut().for_each(|byte| *byte = 0xa5);
            fs::write(index, bytes).unwrap();
        }),
        ("of another version", |_, index| {
            Connection::open(index).unwrap().pragma_update(None, "user_version", 99).unwrap();
        }),
        ("older than the database", |database, _| {
            let database = Connection::open(database).unwrap();
            let message = "INSERT INTO messages (place, at, client_id, text) VALUES (?1, 1, 'alice', 'says number11')";
            database.execute(message, [schema::place(DbRoom(1), 11)]).unwrap();
            database.execute("UPDATE rooms SET seq = 11", []).unwrap();
        }),
        ("newer than the database", |database, _| {
            let database = Connection::open(database).unwrap();
            database.execute("DELETE FROM messages WHERE place = ?1", [schema::place(DbRoom(1), 10)]).unwrap();
            database.execute("UPDATE rooms SET seq = 9", []).unwrap();
        }),
        ("of another history", |database, _| {
            let database = Connection::open(database).unwrap();
            database.execute("UPDATE messages SET text = replace(text, 'number', 'other')", []).unwrap();
            database.execute("UPDATE rooms SET epoch = epoch + 1", []).unwrap();
        }),
    ];
    for (what, happens) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = settings(&folder).path;
        let mut store = Store::open(settings(&folder));
        store.append(1..=10);
        assert_eq!(find(&mut store, "number10"), [10], "{what}");
        drop(store);
        happens(&path, &file::beside(&path, file::SEARCH_ENDING));
        let mut store = Store::open(settings(&folder));
        let newest = store.restored.rooms[0].seq.0;
        for text in ["number", "other"] {
            for seq in 1..=newest {
                let is_there = (text == "other") == (what == "of another history");
                let expected = if is_there { vec![seq] } else { Vec::new() };
                assert_eq!(find(&mut store, &format!("\"{text}{seq}\"")), expected, "{what}: {text}{seq}");
            }
        }
        // The next message reuses the seq, and the search finds its text.
        store.append(newest + 1..=newest + 1);
        assert_eq!(find(&mut store, &format!("number{}", newest + 1)), [newest + 1], "{what}");
        until(what, || indexed(&path) == newest + 1);
        drop(store);
        assert_eq!(operator::check(&path).unwrap().problems, [""; 0], "{what}");
    }
}

#[test]
fn a_search_index_that_cannot_be_made_refuses_searches_only_and_is_made_when_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let path = settings(&folder).path;
    let index = file::beside(&path, file::SEARCH_ENDING);
    fs::create_dir(&index).unwrap();
    let mut store = Store::open(settings(&folder));
    store.append(1..=10);
    assert_eq!(store.try_read(HistoryPage::Newest, Some("says"), 5), Err(ReadError::Failed));
    assert_eq!(store.read(HistoryPage::Newest, None, 2), (vec![9, 10], true));
    fs::remove_dir(&index).unwrap();
    assert_eq!(find(&mut store, "number7"), [7]);
    drop(store);
    // The check reports an index that lacks a message.
    let index = Connection::open(&index).unwrap();
    index.execute("DELETE FROM texts WHERE rowid = ?1", [schema::place(DbRoom(1), 7)]).unwrap();
    let problems = operator::check(&path).unwrap().problems;
    assert!(problems.len() == 1 && problems[0].ends_with("should have 10 messages and has 9"), "{problems:?}");
}

#[test]
fn what_many_rooms_said_is_indexed_without_a_search() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(&folder));
    let say = |store: &mut Store, rooms: std::ops::Range<u32>| {
        for number in rooms.clone() {
            let name = format!("room-{number}");
            store.history.append(entry(number.into(), [(RoomId(number), &name, draft(1))]), &mut Vec::new());
        }
        store.history.end_turn(&mut Vec::new());
        let mut stored = 0;
        while stored < rooms.len() {
            stored += store.next().len();
        }
    };
    let path = settings(&folder).path;
    say(&mut store, 0..3_000);
    until("updated by itself", || indexed(&path) == 3_000);
    drop(store);
    // After a start all rooms are compared, which takes several batches, no matter which rooms are missing.
    for missing in [1..=3_000, 1..=2_500, 700..=2_500, 2_500..=3_000] {
        let mut index = Connection::open(file::beside(&path, file::SEARCH_ENDING)).unwrap();
        let transaction = index.transaction().unwrap();
        for room in missing.clone() {
            transaction.execute("DELETE FROM texts WHERE rowid = ?1", [schema::place(DbRoom(room), 1)]).unwrap();
            transaction.execute("DELETE FROM indexed WHERE room = ?1", [room]).unwrap();
        }
        transaction.commit().unwrap();
        drop(index);
        let store = Store::open(settings(&folder));
        until(&format!("{missing:?}, after a start"), || indexed(&path) == 3_000);
        drop(store);
    }
}

#[test]
fn searches_that_fail_do_not_keep_messages_from_being_indexed() {
    let folder = tempfile::tempdir().unwrap();
    let path = settings(&folder).path;
    let mut store = Store::open(settings(&folder));
    store.append(1..=1);
    assert_eq!(find(&mut store, "says"), [1]);
    // A text that is not UTF-8 cannot be read.
    Connection::open(&path).unwrap().execute("UPDATE messages SET text = CAST(x'ff' AS TEXT)", []).unwrap();
    store.history.append(entry(2, [(RoomId(1), "other", draft(1))]), &mut Vec::new());
    store.history.end_turn(&mut Vec::new());
    store.next();
    until("the message of the other room is indexed", || {
        assert_eq!(store.try_read(HistoryPage::Newest, Some("says"), 5), Err(ReadError::Failed));
        indexed(&path) == 2
    });
}

#[test]
fn an_older_database_is_brought_up_to_date_and_searched() {
    for version in 1..=u32::from(schema::VERSION) {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Connection::open(settings(&folder).path).unwrap();
        let transaction = database.transaction().unwrap();
        schema::make(&transaction, version).unwrap();
        transaction.pragma_update(None, "application_id", schema::APPLICATION_ID).unwrap();
        let room = "INSERT INTO rooms (id, name, epoch, seq, oldest) VALUES (1, 'lobby', 7, 1, 1)";
        transaction.execute(room, []).unwrap();
        let message = "INSERT INTO messages (place, at, client_id, text) VALUES (?1, 5, 'alice', 'from before')";
        transaction.execute(message, [schema::place(DbRoom(1), 1)]).unwrap();
        if (2..=5).contains(&version) {
            transaction
                .execute("INSERT INTO messages_text (rowid, text) SELECT place, text FROM messages", [])
                .unwrap();
        }
        transaction.commit().unwrap();
        drop(database);
        let mut store = Store::open(settings(&folder));
        assert_eq!(find(&mut store, "before"), [1], "{version}");
        store.append(2..=2);
        assert_eq!(store.read(HistoryPage::Newest, None, 5), (vec![1, 2], false), "{version}");
        drop(store);
        assert_eq!(operator::check(&settings(&folder).path).unwrap().problems, [""; 0], "{version}");
    }
}

#[test]
fn a_dropped_room_stays_dropped_whenever_the_process_ends_and_its_number_is_not_given_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(&folder));
    store.append(1..=600);
    store.history.forget(ROOM, Some(Receipt(9)), &mut Vec::new());
    store.history.end_turn(&mut Vec::new());
    assert!(matches!(store.next()[..], [Completion::Forgotten { receipt: Receipt(9), is_gone: true }]));
    // The store ends at once, while most messages of the room are still there.
    drop(store);
    let mut store = Store::open(settings(&folder));
    assert!(store.restored.rooms.is_empty() && store.restored.ids.is_empty());
    store.append(1..=1);
    assert_eq!(store.read(HistoryPage::Newest, None, 5), (vec![1], false));
    let path = settings(&folder).path;
    let rows = || {
        let count = |path: &std::path::Path, sql| {
            let database = connections::open_reader(path).unwrap();
            database.query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap()
        };
        let all = "SELECT (SELECT count(*) FROM rooms) + (SELECT count(*) FROM messages) + (SELECT count(*) FROM dropped_ids)";
        count(&path, all) + indexed(&path)
    };
    let until = clock::now() + Duration::from_secs(30);
    while rows() != 3 {
        assert!(clock::now() < until, "{} rows are left", rows());
        std::thread::yield_now();
    }
    drop(store);
    assert_eq!(operator::check(&path).unwrap().problems, [""; 0]);
}

#[test]
fn the_words_of_a_removed_text_leave_the_files_of_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(&folder));
    store.append(1..=300);
    let mut say = |seq: u64, content| {
        let draft = Draft { content, ..draft(seq) };
        store.history.append(entry(seq, [(ROOM, "lobby", draft)]), &mut Vec::new());
        store.history.end_turn(&mut Vec::new());
        while !committed(&store.next()).contains(&(ROOM, seq)) {}
        find(&mut store, "secretword")
    };
    assert_eq!(say(301, Content::message("a secretword")), [301]);
    assert_eq!(say(302, Content::message("another secretword")), [302, 301]);
    assert_eq!(say(303, Content::Deletion { of: Seq(301) }), [302]);
    assert_eq!(say(304, Content::Edit { of: Seq(302), text: "harmless".into() }), [0; 0]);
    let path = settings(&folder).path;
    let index = connections::open_reader(&file::beside(&path, file::SEARCH_ENDING)).unwrap();
    let is_purged = || index.query_row("SELECT NOT EXISTS (SELECT 1 FROM removed)", [], |row| row.get(0)).unwrap();
    until("the index forgets the words", is_purged);
    assert_eq!(find(&mut store, "harmless"), [302]);
    drop((index, store));
    assert_eq!(operator::check(&path).unwrap().problems, [""; 0]);
    for file in fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()) {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(10).any(|bytes| bytes == b"secretword"), "{}", file.display());
    }
}
