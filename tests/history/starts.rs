//! Starts: where the database is, and that a start may be cut off at any moment.

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
        // The moment is random, so it is a time and no condition.
        tokio::time::sleep(Duration::from_micros(fastrand::u64(3_000..40_000))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        if folder.path().join("data/starling.db").exists() {
            let checked = run(folder.path(), &["history", "check"]);
            let said = String::from_utf8_lossy(&checked.stderr).into_owned();
            // Killed before there was a table: there is nothing to check yet.
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
    // A small cache: what is written goes to the file before it is committed, as with a death in the middle of that.
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
    assert_eq!(tables, 1, "the transaction is undone");
}

/// What a server says that does not start with this path.
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
        (":memory:", "it is not taken for the path of a file"),
        ("file:x.db", "it is not taken for the path of a file"),
        ("folder.db", "it is not a file"),
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
        assert!(said.contains("several names"), "{path}: {said}");
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
        assert!(reason.contains("is not there any more, or is another one"), "{reason}");
        if replaced {
            fs::remove_dir_all(&data).unwrap();
        }
        fs::rename(&moved, &data).unwrap();
        server.status_becomes("/readyz", 200).await;
        let id = format!("after-{replaced}");
        alice.send_json(&json!({"Message": "after", "id": id})).await;
        assert_eq!(alice.next_of("ack").await["id"], id);
    }
    // Also where nobody says anything.
    fs::rename(&data, &moved).unwrap();
    server.status_becomes("/readyz", 503).await;
    fs::rename(&moved, &data).unwrap();
    server.status_becomes("/readyz", 200).await;
    server.kill();
    let server = starling().start(folder.path(), &[]);
    let (messages, _) = page(&server, "/api/rooms/lobby/messages");
    assert_eq!(messages.len(), 3);
}
