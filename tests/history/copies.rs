//! Tests of restored databases and backups, and of the answers to clients that resume afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde_json::{Value, json};
use tempfile::tempdir;
use test_kit::{Client, Process};

use super::harness::{page, run, seqs, starling};

/// A path with a new client name.
fn someone() -> String {
    format!("/ws?clientId=someone-{}", fastrand::u32(..))
}

/// Sends these messages to the lobby. Returns the lobby's epoch and the last acknowledgement.
pub(crate) async fn say(server: &Process, texts: &[&str]) -> (Value, Value) {
    let (mut alice, welcome) = Client::enter(server, &someone()).await;
    let mut ack = Value::Null;
    for text in texts {
        alice.send_json(&json!({"Message": text, "id": text})).await;
        ack = alice.next_of("ack").await;
    }
    (welcome["epoch"].clone(), ack)
}

/// Resumes in the lobby, and returns the field `recovered` of `joined`.
pub(crate) async fn resume(server: &Process, epoch: &Value, after: &Value, at: Option<&Value>) -> Value {
    let (mut bob, _) = Client::enter(server, &someone()).await;
    let mut join = json!({"type": "join", "room": "lobby", "after": after, "epoch": epoch});
    if let Some(at) = at {
        join["afterAt"] = at.clone();
    }
    bob.send_json(&join).await;
    bob.next_of("joined").await["recovered"].clone()
}

/// Runs the binary. Returns whether it succeeded, and its output.
pub(crate) fn said(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = run(folder, arguments);
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// A change to a database between two starts, and whether clients may resume afterwards.
struct Case {
    what: &'static str,
    sync: &'static str,
    is_killed: bool,
    /// Changes the folder of the database between two starts.
    happens: fn(&Path),
    recovers: bool,
}

impl Case {
    async fn check(self) {
        let Self { what, sync, is_killed, happens, recovers } = self;
        let folder = tempdir().unwrap();
        let variables = [("CHAT_HISTORY_SYNC", sync)];
        let data = folder.path().join("data");
        let server = starling().start(folder.path(), &variables);
        let (epoch, _) = say(&server, &["1", "2"]).await;
        server.stop();
        fs::copy(data.join("starling.db"), data.join("copy")).unwrap();
        let server = starling().start(folder.path(), &variables);
        let (again, last) = say(&server, &["3", "4"]).await;
        assert_eq!(again, epoch, "{what}");
        if is_killed {
            server.kill();
        } else {
            server.stop();
        }
        happens(&data);
        let server = starling().start(folder.path(), &variables);
        // The seqs of lost messages are assigned again, to other messages.
        say(&server, &["other 3", "other 4", "other 5"]).await;
        assert_eq!(resume(&server, &epoch, &last["seq"], None).await, recovers, "{what}");
        assert_eq!(resume(&server, &epoch, &last["seq"], Some(&last["at"])).await, recovers, "{what}, with proof");
        // New epochs begin only once. From here on the rooms keep their epochs.
        let (epoch, last) = say(&server, &["6"]).await;
        server.kill();
        let server = starling().start(folder.path(), &variables);
        assert_eq!(resume(&server, &epoch, &last["seq"], Some(&last["at"])).await, true, "{what}, afterwards");
    }
}

fn in_another_boot(data: &Path) {
    let database = Connection::open(data.join("starling.db")).unwrap();
    // The last connection that closes would remove the log.
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    assert_eq!(database.execute("UPDATE last_start SET boot = 'another'", []).unwrap(), 1);
}

pub(crate) fn back_from_a_copy(data: &Path) {
    // Overwritten in place, so that the inode stays the same.
    fs::write(data.join("starling.db"), fs::read(data.join("copy")).unwrap()).unwrap();
}

fn as_another_file(data: &Path) {
    fs::copy(data.join("starling.db"), data.join("new")).unwrap();
    fs::rename(data.join("new"), data.join("starling.db")).unwrap();
}

fn without_the_log(data: &Path) {
    fs::remove_file(data.join("starling.db-wal")).unwrap();
}

fn with_an_empty_log(data: &Path) {
    fs::write(data.join("starling.db-wal"), "").unwrap();
}

fn without_the_lock(data: &Path) {
    fs::remove_file(data.join("starling.db.lock")).unwrap();
}

#[test]
fn a_database_that_may_lack_what_was_acknowledged_is_never_resumed_as_if_it_had_it() {
    let case = |what, sync, is_killed, happens, recovers| Case { what, sync, is_killed, happens, recovers };
    let cases = [
        case("stopped", "normal", false, |_| {}, true),
        case("killed", "normal", true, |_| {}, true),
        case("stopped, another boot", "normal", false, in_another_boot, true),
        case("killed, another boot", "normal", true, in_another_boot, false),
        case("killed, another boot, everything synced", "full", true, in_another_boot, true),
        case("restored from a copy", "full", false, back_from_a_copy, false),
        case("another file", "full", false, as_another_file, false),
        case("killed, the log removed", "full", true, without_the_log, false),
        case("killed, the log emptied", "full", true, with_an_empty_log, false),
        case("without its lock file", "normal", false, without_the_lock, false),
    ];
    // A server needs time to stop, so all cases run in parallel.
    let threads = cases.map(|case| std::thread::spawn(move || actix_web::rt::System::new().block_on(case.check())));
    for thread in threads {
        thread.join().unwrap();
    }
}

#[actix_web::test]
async fn a_backup_and_what_is_restored_from_it_are_shown_to_nobody_who_may_not_read_the_history() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    let server = starling().start(folder.path(), &[]);
    say(&server, &["1"]).await;
    server.stop();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    fs::set_permissions(data.join("starling.db"), fs::Permissions::from_mode(0o600)).unwrap();
    for file in ["starling.db-search", "starling.db.lock"] {
        fs::remove_file(data.join(file)).unwrap();
    }
    assert!(said(folder.path(), &["backup", "kept.db"]).0);
    assert!(said(folder.path(), &["history", "vacuum"]).0);
    let private = |what: &str| {
        let files = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
        for file in files.chain([folder.path().join("kept.db")]) {
            assert_eq!(mode(&file), 0o600, "{what}: {}", file.display());
        }
    };
    private("after a vacuum");
    assert!(said(folder.path(), &["restore", "kept.db", "--replace"]).0);
    private("after a restore");
    let server = starling().start(folder.path(), &[]);
    assert_eq!(page(&server, "/api/rooms/lobby/messages?q=1").0.len(), 1);
    private("while it is served");
    server.stop();
    fs::remove_dir_all(&data).unwrap();
    assert!(said(folder.path(), &["restore", "kept.db"]).0);
    assert_eq!(mode(&data.join("starling.db")), 0o600, "where none was");
}

#[actix_web::test]
async fn what_an_operator_does_after_a_kill_is_resumed_as_after_a_clean_stop() {
    let folder = tempdir().unwrap();
    let server = starling().start(folder.path(), &[]);
    let (epoch, last) = say(&server, &["1", "2"]).await;
    server.kill();
    assert!(said(folder.path(), &["history", "vacuum"]).0);
    let (worked, told) = said(folder.path(), &["history", "drop", "--room", "elsewhere"]);
    assert!(!worked && told.contains("there is no room elsewhere"), "{told}");
    let server = starling().start(folder.path(), &[]);
    assert_eq!(resume(&server, &epoch, &last["seq"], Some(&last["at"])).await, true);
}

#[actix_web::test]
async fn a_resume_with_the_at_of_another_message_recovers_nothing_and_with_the_right_one_everything() {
    let folder = tempdir().unwrap();
    for variables in [&[("CHAT_HISTORY", "sqlite")][..], &[("CHAT_HISTORY", "memory")]] {
        let server = starling().start(folder.path(), variables);
        let (epoch, first) = say(&server, &["1"]).await;
        say(&server, &["2", "3"]).await;
        for (shift, recovers) in [(0, true), (1, false), (-1, false)] {
            let at = json!(first["at"].as_i64().unwrap() + shift);
            assert_eq!(resume(&server, &epoch, &first["seq"], Some(&at)).await, recovers, "{variables:?} {shift}");
        }
        let (mut bob, _) = Client::enter(&server, "/ws/dev?clientId=bob").await;
        let join = json!({"type": "join", "room": "lobby", "after": 1, "afterAt": first["at"], "epoch": epoch});
        bob.send_json(&join).await;
        assert_eq!(bob.next_of("joined").await["recovered"], true);
        for seq in [2, 3] {
            assert_eq!(bob.next_of("message").await["seq"], seq);
        }
        server.stop();
    }
    // The messages come from the disk, not from memory.
    let server = starling().start(folder.path(), &[]);
    let (messages, _) = page(&server, "/api/rooms/lobby/messages");
    let (_, welcome) = Client::enter(&server, "/ws?clientId=carol").await;
    let epoch = &welcome["epoch"];
    assert_eq!(resume(&server, epoch, &json!(2), Some(&messages[1]["at"])).await, true);
    assert_eq!(resume(&server, epoch, &json!(2), Some(&json!(7))).await, false);
}

#[actix_web::test]
async fn a_backup_of_a_running_server_is_restored_with_new_epochs_and_goes_on_where_it_was_made() {
    let folder = tempdir().unwrap();
    let server = starling().start(folder.path(), &[]);
    let (epoch, last) = say(&server, &["1", "2"]).await;
    let (worked, told) = said(folder.path(), &["backup", "kept.db"]);
    assert!(worked && told == "kept.db: version 12, 1 room, 2 messages\n", "{told}");
    say(&server, &["3"]).await;
    let (worked, refused) = said(folder.path(), &["restore", "kept.db", "--replace"]);
    assert!(!worked && refused.contains("is held by another process"), "{refused}");
    server.stop();
    let (worked, refused) = said(folder.path(), &["restore", "kept.db"]);
    assert!(!worked && refused.contains("--replace would overwrite it"), "{refused}");
    let server = starling().start(folder.path(), &[]);
    assert_eq!(seqs(&page(&server, "/api/rooms/lobby/messages").0), [1, 2, 3], "the history is unchanged");
    // A log remains beside the database. The restored database must not use it.
    server.kill();
    let (worked, told) = said(folder.path(), &["restore", "kept.db", "--replace"]);
    assert!(worked && told.contains("starling.db: version 12, 1 room, 2 messages"), "{told}");
    let server = starling().start(folder.path(), &[]);
    assert_eq!(seqs(&page(&server, "/api/rooms/lobby/messages").0), [1, 2]);
    assert_eq!(page(&server, "/api/rooms/lobby/messages?q=2").0.len(), 1, "the restored messages can be searched");
    assert_eq!(resume(&server, &epoch, &last["seq"], Some(&last["at"])).await, false);
    say(&server, &["other 3"]).await;
    assert_eq!(seqs(&page(&server, "/api/rooms/lobby/messages").0), [1, 2, 3]);
    server.stop();
    assert!(said(folder.path(), &["history", "check"]).0);
    // Restores into an empty folder, once from a database of a stopped server, and once from a backup that is copied by
    // hand.
    let fresh = tempdir().unwrap();
    let left = folder.path().join("data/starling.db");
    assert!(said(fresh.path(), &["restore", left.to_str().unwrap()]).0);
    let server = starling().start(fresh.path(), &[]);
    let (_, welcome) = Client::enter(&server, "/ws?clientId=carol").await;
    assert_eq!(welcome["seq"], 3);
    assert_ne!(welcome["epoch"], epoch);
    server.stop();
    let by_hand = tempdir().unwrap();
    fs::create_dir(by_hand.path().join("data")).unwrap();
    fs::copy(folder.path().join("kept.db"), by_hand.path().join("data/starling.db")).unwrap();
    let server = starling().start(by_hand.path(), &[]);
    assert_eq!(resume(&server, &epoch, &last["seq"], None).await, false);
}

#[actix_web::test]
async fn what_cannot_be_backed_up_or_restored_is_refused_with_its_reason_and_leaves_no_file() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (worked, refused) = said(folder.path(), &["backup", "early.db"]);
    assert!(!worked && refused.contains("there is no history at"), "{refused}");
    let server = starling().start(folder.path(), &[]);
    say(&server, &["1"]).await;
    server.stop();
    assert!(said(folder.path(), &["backup", "kept.db"]).0);
    let whole = fs::read(path("kept.db")).unwrap();
    let (mut newer, mut damaged) = (whole.clone(), whole.clone());
    damaged[2 * 4_096..].iter_mut().for_each(|byte| *byte = 0xa5);
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    let unfinished = {
        let mut unfinished = whole.clone();
        unfinished[68..72].fill(0);
        unfinished
    };
    for (name, content) in [
        ("newer.db", newer),
        ("damaged.db", damaged),
        ("text.db", b"hello".repeat(1_000)),
        ("empty.db", Vec::new()),
        ("unfinished.db", unfinished),
    ] {
        fs::write(path(name), content).unwrap();
    }
    let names = || {
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.extend(fs::read_dir(path("data")).unwrap().map(|entry| entry.unwrap().file_name()));
        names.sort();
        names
    };
    let (there, history) = (names(), fs::read(path("data/starling.db")).unwrap());
    for (arguments, reason) in [
        (&["backup", "kept.db"][..], "kept.db already exists, and a backup overwrites no file"),
        (&["backup", "nowhere/new.db"], "cannot write nowhere/new.db: No such file"),
        (&["restore", "missing.db", "--replace"], "there is no history at missing.db"),
        (&["restore", "newer.db", "--replace"], "has version 99, newer than 12"),
        (&["restore", "damaged.db", "--replace"], "is damaged"),
        (&["restore", "text.db", "--replace"], "is damaged"),
        (&["restore", "empty.db", "--replace"], "not a history of this program"),
        (&["restore", "unfinished.db", "--replace"], "not a history of this program"),
        (&["restore", "data/starling.db", "--replace"], "is the history itself"),
        (&["restore", "kept.db"], "--replace would overwrite it"),
    ] {
        let (worked, refused) = said(folder.path(), arguments);
        assert!(!worked && refused.contains(reason) && refused.lines().count() == 1, "{arguments:?}: {refused}");
        assert_eq!(names(), there, "{arguments:?}");
        assert!(fs::read(path("data/starling.db")).unwrap() == history, "{arguments:?}");
    }
}

#[actix_web::test]
async fn while_a_server_writes_and_drops_a_backup_and_a_check_see_one_moment_without_a_gap() {
    let folder = tempdir().unwrap();
    let variables = [("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_HISTORY_KEEP_MESSAGES", "300")];
    let server = starling().start(folder.path(), &variables);
    // The room must exist before the first backup, even if the backup is faster than the first message.
    say(&server, &["first"]).await;
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    let mut number = 0;
    for round in 0..4 {
        let name = format!("{round}.db");
        let backup = std::thread::spawn({
            let (folder, name) = (folder.path().to_owned(), name.clone());
            move || said(&folder, &["backup", &name])
        });
        while !backup.is_finished() {
            for _ in 0..50 {
                number += 1;
                alice.send_json(&json!({"Message": "x".repeat(500), "id": number.to_string()})).await;
            }
            let last = number.to_string();
            while alice.next_of("ack").await["id"] != last {}
        }
        // The command checks the backup before it reports success: every room has all messages from its oldest to its
        // newest.
        let (worked, told) = backup.join().unwrap();
        assert!(worked && told.contains("1 room,"), "{told}");
        let checked = std::thread::spawn({
            let folder = folder.path().to_owned();
            move || said(&folder, &["history", "check"])
        });
        while !checked.is_finished() {
            number += 1;
            alice.send_json(&json!({"Message": "x", "id": number.to_string()})).await;
            let last = number.to_string();
            while alice.next_of("ack").await["id"] != last {}
        }
        let (worked, told) = checked.join().unwrap();
        assert!(worked, "a check reads one snapshot: {told}");
    }
}
