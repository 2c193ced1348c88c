//! Databases that are refused with one clear line. Their files stay unchanged.

use std::fs;

use rusqlite::Connection;
use serde_json::json;
use tempfile::{TempDir, tempdir};
use test_kit::Client;

use super::harness::{refusal, run, starling};

/// A folder with a database that contains messages.
async fn with_history() -> TempDir {
    let folder = tempdir().unwrap();
    let server = starling().start(folder.path(), &[]);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    for _ in 0..40 {
        alice.send_json(&json!({"Message": "x".repeat(500)})).await;
        alice.next_of("message").await;
    }
    server.stop();
    assert!(!folder.path().join("data/starling.db-wal").exists(), "a stopped server leaves a single file");
    folder
}

/// Checks that a start on this folder is refused with this text, and leaves the folder unchanged.
fn check_refused(folder: &TempDir, text: &str) {
    let path = folder.path().join("data/starling.db");
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (before, there) = (fs::read(&path).unwrap(), names());
    let refusal = refusal(folder.path());
    assert!(refusal.contains(text), "{refusal}");
    assert_eq!(names(), there, "no file was added or removed");
    assert!(fs::read(&path).unwrap() == before, "the database is unchanged");
}

#[actix_web::test]
async fn a_database_of_a_newer_version_is_refused() {
    let folder = with_history().await;
    let database = Connection::open(folder.path().join("data/starling.db")).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    drop(database);
    check_refused(&folder, "has version 99, newer than 12");
}

#[actix_web::test]
async fn a_damaged_database_is_refused() {
    let folder = with_history().await;
    let path = folder.path().join("data/starling.db");
    let whole = fs::read(&path).unwrap();
    // An overwritten page, a missing end, and a file that is not a database.
    let mut damaged = whole.clone();
    damaged[3 * 4_096..].iter_mut().for_each(|byte| *byte = 0xa5);
    for damaged in [damaged, whole[..whole.len() / 2].to_vec(), b"hello".repeat(1_000)] {
        fs::write(&path, damaged).unwrap();
        check_refused(&folder, "is damaged");
        assert!(!run(folder.path(), &["history", "check"]).status.success());
    }
}

#[actix_web::test]
async fn a_database_of_another_program_is_refused() {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    let database = Connection::open(folder.path().join("data/starling.db")).unwrap();
    database.execute_batch("CREATE TABLE cats (name)").unwrap();
    drop(database);
    check_refused(&folder, "not a history of this program");
}

#[actix_web::test]
async fn a_database_that_another_process_holds_is_refused() {
    let folder = with_history().await;
    let server = starling().start(folder.path(), &[]);
    check_refused(&folder, "is held by another process");
    server.stop();
    // Another program that writes, instead of a server.
    let database = Connection::open(folder.path().join("data/starling.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    check_refused(&folder, "is held by another process");
}
