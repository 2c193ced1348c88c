//! Starts with various paths, interrupted starts, and files that are changed while a server runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;
use tempfile::tempdir;
use test_kit::Client;

use super::harness::{page, run, starling};

#[actix_web::test]
async fn a_first_start_that_is_killed_at_any_moment_leaves_a_folder_that_starts() {
    for round in 0..super::crash::from_environment("CRASH_STARTS", 12) {
        let folder = tempdir().unwrap();
        let mut child = starling().command(folder.path(), &[], &[]).stderr(Stdio::null()).spawn().unwrap();
        // The moment is random, so this is a time and not a condition.
        tokio::time::sleep(Duration::from_micros(fastrand::u64(3_000..40_000))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        if folder.path().join("data/starling.db").exists() {
            let checked = run(folder.path(), &["history", "check"]);
            let said = String::from_utf8_lossy(&checked.stderr).into_owned();
            // The process was killed before it created a table, so there is nothing to check.
            assert!(checked.status.success() || said.contains("no such table"), "round {round}: {said}");
        }
        starling().start(folder.path(), &[]).kill();
    }
}

#[actix_web::test]
async fn a_transaction_that_was_cut_off_in_the_first_start_is_undone() {
    let folder = tempdir().unwrap();
    let making = tempdir().unwrap();
    let path = making.path().join("starling.db");
    let database = Connection::open(&path).unwrap();
    // With a small cache, uncommitted changes reach the file, as if the process had died in the middle.
    database.execute_batch("PRAGMA cache_size = 1; CREATE TABLE t (x); BEGIN; DROP TABLE t;").unwrap();
    for number in 0..50 {
        database.execute_batch(&format!("CREATE TABLE t{number} (x)")).unwrap();
    }
    fs::create_dir(folder.path().join("data")).unwrap();
    for name in ["starling.db", "starling.db-journal"] {
        fs::copy(making.path().join(name), folder.path().join("data").join(name)).unwrap();
    }
    drop(database);
    let undone = run(folder.path(), &["history", "check"]);
    assert!(String::from_utf8_lossy(&undone.stderr).contains("not a history of this program"), "{undone:?}");
    let database = Connection::open(folder.path().join("data/starling.db")).unwrap();
    let tables: u32 = database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1, "the transaction is rolled back");
}

/// The error line of a server that refuses to start with this path.
fn refusal_of(folder: &Path, path: &str) -> String {
    let output = starling().command(folder, &[], &[("CHAT_HISTORY_PATH", path)]).output().unwrap();
    assert!(!output.status.success(), "{path}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    text
}

#[actix_web::test]
async fn a_path_that_names_no_file_of_its_own_is_refused_and_a_link_is_the_file_that_it_leads_to() {
    let folder = tempdir().unwrap();
    let server = starling().start(folder.path(), &[("CHAT_HISTORY_PATH", "real.db")]);
    symlink("real.db", folder.path().join("link.db")).unwrap();
    fs::create_dir(folder.path().join("folder.db")).unwrap();
    for (path, reason) in [
        (":memory:", "SQLite would not treat it as a file path"),
        ("file:x.db", "SQLite would not treat it as a file path"),
        ("folder.db", "it is not a regular file"),
        ("link.db", "is held by another process"),
        ("./link.db", "is held by another process"),
    ] {
        let said = refusal_of(folder.path(), path);
        assert!(said.contains(reason), "{path}: {said}");
    }
    server.stop();
    fs::hard_link(folder.path().join("real.db"), folder.path().join("second.db")).unwrap();
    for path in ["real.db", "second.db"] {
        let said = refusal_of(folder.path(), path);
        assert!(said.contains("several hard links"), "{path}: {said}");
    }
    fs::remove_file(folder.path().join("second.db")).unwrap();
    starling().start(folder.path(), &[("CHAT_HISTORY_PATH", "link.db")]).stop();
}

#[actix_web::test]
async fn with_its_folder_moved_or_another_file_in_its_place_nothing_is_acknowledged_until_it_is_back() {
    let folder = tempdir().unwrap();
    let server = starling().start(folder.path(), &[]);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    alice.send_json(&json!({"Message": "before", "id": "1"})).await;
    alice.next_of("ack").await;
    let (data, moved) = (folder.path().join("data"), folder.path().join("moved"));
    for replaced in [false, true] {
        fs::rename(&data, &moved).unwrap();
        if replaced {
            fs::create_dir(&data).unwrap();
            fs::copy(moved.join("starling.db"), data.join("starling.db")).unwrap();
        }
        let id = format!("refused-{replaced}");
        alice.send_json(&json!({"Message": "lost", "id": id})).await;
        let refused = alice.next_of("error").await;
        assert_eq!((&refused["code"], &refused["id"]), (&json!("unavailable"), &json!(id)));
        let reason = server.status_becomes("/readyz", 503).await;
        assert!(reason.contains("is missing or was replaced"), "{reason}");
        if replaced {
            fs::remove_dir_all(&data).unwrap();
        }
        fs::rename(&moved, &data).unwrap();
        server.status_becomes("/readyz", 200).await;
        let id = format!("after-{replaced}");
        alice.send_json(&json!({"Message": "after", "id": id})).await;
        assert_eq!(alice.next_of("ack").await["id"], id);
    }
    // The server also notices it without messages.
    fs::rename(&data, &moved).unwrap();
    server.status_becomes("/readyz", 503).await;
    fs::rename(&moved, &data).unwrap();
    server.status_becomes("/readyz", 200).await;
    server.kill();
    let server = starling().start(folder.path(), &[]);
    let (messages, _) = page(&server, "/api/rooms/lobby/messages");
    assert_eq!(messages.len(), 3);
}

/// A change to the files of a history while its server runs, and the expected reaction.
struct Tampering {
    what: &'static str,
    does: fn(&Path),
    reason: &'static str,
    /// Whether the server is then killed or stopped.
    is_killed: bool,
    /// Whether a restart finds the acknowledged messages.
    keeps: bool,
    /// Whether the rooms keep their epochs after the restart.
    recovers: bool,
}

const TAMPERINGS: [Tampering; 11] = [
    Tampering {
        what: "the log is removed, killed",
        does: |data| fs::remove_file(data.join("starling.db-wal")).unwrap(),
        reason: "starling.db-wal is missing or was replaced",
        is_killed: true,
        keeps: true,
        recovers: false,
    },
    Tampering {
        what: "the log is removed, stopped",
        does: |data| fs::remove_file(data.join("starling.db-wal")).unwrap(),
        reason: "starling.db-wal is missing or was replaced",
        is_killed: false,
        keeps: true,
        recovers: false,
    },
    Tampering {
        what: "the log is replaced by a copy",
        does: |data| replace(&data.join("starling.db-wal")),
        reason: "starling.db-wal is missing or was replaced",
        is_killed: false,
        keeps: true,
        recovers: false,
    },
    Tampering {
        what: "the log is emptied",
        does: |data| fs::write(data.join("starling.db-wal"), "").unwrap(),
        reason: "starling.db-wal was truncated",
        is_killed: true,
        keeps: false,
        recovers: false,
    },
    Tampering {
        what: "the end of the log is cut off",
        does: |data| cut(&data.join("starling.db-wal")),
        reason: "starling.db-wal was truncated",
        is_killed: false,
        keeps: false,
        recovers: false,
    },
    Tampering {
        what: "the database is emptied",
        does: |data| fs::write(data.join("starling.db"), "").unwrap(),
        reason: "starling.db was truncated",
        is_killed: true,
        keeps: false,
        recovers: false,
    },
    Tampering {
        what: "the index of the log is removed",
        does: |data| fs::remove_file(data.join("starling.db-shm")).unwrap(),
        reason: "starling.db-shm is missing or was replaced",
        is_killed: true,
        keeps: true,
        recovers: true,
    },
    Tampering {
        what: "the lock is removed",
        does: |data| fs::remove_file(data.join("starling.db.lock")).unwrap(),
        reason: "starling.db.lock is missing or was replaced",
        is_killed: false,
        keeps: true,
        recovers: false,
    },
    Tampering {
        what: "the lock is replaced by a copy",
        does: |data| replace(&data.join("starling.db.lock")),
        reason: "starling.db.lock is missing or was replaced",
        is_killed: true,
        keeps: true,
        recovers: true,
    },
    Tampering {
        what: "the lock is replaced by a folder",
        does: |data| {
            fs::remove_file(data.join("starling.db.lock")).unwrap();
            fs::create_dir(data.join("starling.db.lock")).unwrap();
        },
        reason: "starling.db.lock is missing or was replaced",
        is_killed: true,
        keeps: true,
        recovers: false,
    },
    Tampering {
        what: "the database is moved, and a link leads to it",
        does: |data| {
            fs::create_dir(data.join("moved")).unwrap();
            fs::rename(data.join("starling.db"), data.join("moved/starling.db")).unwrap();
            symlink("moved/starling.db", data.join("starling.db")).unwrap();
        },
        reason: "starling.db is missing or was replaced",
        is_killed: false,
        keeps: true,
        recovers: true,
    },
];

fn replace(file: &Path) {
    let copy = file.with_extension("copy");
    fs::copy(file, &copy).unwrap();
    fs::rename(copy, file).unwrap();
}

/// Leaves two pages of a file. The end of a log may be older than its beginning: it is written anew after a checkpoint.
fn cut(file: &Path) {
    fs::File::options().write(true).open(file).unwrap().set_len(2 * 4_096).unwrap();
}

impl Tampering {
    async fn check(self) {
        let Self { what, does, reason, is_killed, keeps, recovers } = self;
        let folder = tempdir().unwrap();
        let data = folder.path().join("data");
        let server = starling().start(folder.path(), &[]);
        let (mut alice, welcome) = Client::enter(&server, "/ws?clientId=alice").await;
        for id in 1..=5 {
            assert!(alice.try_send_json(&json!({"Message": "kept", "id": id.to_string()})).await);
            alice.next_of("ack").await;
        }
        does(&data);
        // Only the messages before the change are acknowledged.
        assert!(alice.try_send_json(&json!({"Message": "refused", "id": "refused"})).await);
        let refused = alice.next_of("error").await;
        assert_eq!((&refused["code"], &refused["id"]), (&json!("unavailable"), &json!("refused")), "{what}");
        let told = server.status_becomes("/readyz", 503).await;
        assert!(told.contains(reason), "{what}: {told}");
        assert!(server.line_with("nothing can be stored").contains(reason), "{what}");
        if is_killed {
            server.kill();
        } else {
            server.stop();
        }
        // The repair by an operator.
        let link = data.join("starling.db");
        if fs::symlink_metadata(&link).unwrap().is_symlink() {
            fs::rename(data.join("moved/starling.db"), &link).unwrap();
        }
        if data.join("starling.db.lock").is_dir() {
            fs::remove_dir(data.join("starling.db.lock")).unwrap();
        }
        let checked = run(folder.path(), &["history", "check"]);
        assert!(!keeps || checked.status.success(), "{what}: {checked:?}");
        let server = starling().start(folder.path(), &[]);
        let (messages, _) = page(&server, "/api/rooms/lobby/messages");
        let kept: Vec<_> = messages.iter().map(|message| message["Message"].as_str().unwrap()).collect();
        assert!(!keeps || kept == ["kept"; 5], "{what}: {kept:?}");
        let (_, again) = Client::enter(&server, "/ws?clientId=bob").await;
        assert_eq!(again["epoch"] == welcome["epoch"], recovers, "{what}");
    }
}

#[test]
fn whatever_happens_to_the_files_of_a_running_server_it_acknowledges_nothing_that_the_next_start_lacks() {
    // A server needs time to start, so all cases run in parallel.
    let threads =
        TAMPERINGS.map(|case| std::thread::spawn(move || actix_web::rt::System::new().block_on(case.check())));
    for thread in threads {
        thread.join().unwrap();
    }
}

#[actix_web::test]
async fn a_log_that_another_process_takes_into_the_database_and_a_database_that_it_makes_small_are_no_fault() {
    let folder = tempdir().unwrap();
    let server = starling().start(folder.path(), &[]);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    for id in 1..=5 {
        assert!(alice.try_send_json(&json!({"Message": "kept", "id": id.to_string()})).await);
        alice.next_of("ack").await;
        let path = folder.path().join("data/starling.db");
        let tool = Connection::open(path).unwrap();
        tool.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        // The database file also becomes smaller.
        tool.execute_batch("CREATE TABLE large AS SELECT randomblob(1000000); DROP TABLE large; VACUUM").unwrap();
        tool.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }
    assert_eq!(server.get("/readyz").0, 200);
}

#[actix_web::test]
async fn without_its_lock_a_server_stores_nothing_beside_another_one() {
    let folder = tempdir().unwrap();
    let first = starling().start(folder.path(), &[]);
    let (mut alice, _) = Client::enter(&first, "/ws?clientId=alice").await;
    assert!(alice.try_send_json(&json!({"Message": "before", "id": "1"})).await);
    alice.next_of("ack").await;
    fs::remove_file(folder.path().join("data/starling.db.lock")).unwrap();
    let second = starling().start(folder.path(), &[]);
    let (mut bob, _) = Client::enter(&second, "/ws?clientId=bob").await;
    assert!(alice.try_send_json(&json!({"Message": "refused", "id": "2"})).await);
    assert_eq!(alice.next_of("error").await["code"], "unavailable");
    assert!(bob.try_send_json(&json!({"Message": "after", "id": "1"})).await);
    assert_eq!(bob.next_of("ack").await["seq"], 2);
    first.stop();
    assert!(bob.try_send_json(&json!({"Message": "after", "id": "2"})).await);
    assert_eq!(bob.next_of("ack").await["seq"], 3);
    second.stop();
    assert!(run(folder.path(), &["history", "check"]).status.success());
}
