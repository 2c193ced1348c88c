//! A database that is damaged while the server runs.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use serde_json::json;
use tempfile::tempdir;

use super::harness::{Client, Process};

#[actix_web::test]
async fn who_catches_up_from_a_disk_that_cannot_be_read_is_closed_with_1013_and_others_chat_on() {
    let folder = tempdir().unwrap();
    let variables = [("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_HISTORY_MESSAGES", "10")];
    let server = Process::start(folder.path(), &variables);
    let (mut alice, welcome) = Client::open(&server, "/ws?clientId=alice").await;
    for number in 1..=500 {
        alice.send(json!({"Message": "x".repeat(1_000), "id": number.to_string()})).await;
        alice.expect("ack").await;
    }
    server.stop();
    let server = Process::start(folder.path(), &variables);
    let file = OpenOptions::new().write(true).open(folder.path().join("data/starling.db")).unwrap();
    let size = file.metadata().unwrap().len();
    // All but the first pages, which say what is where.
    let kept = 64 * 1_024;
    file.write_all_at(&vec![0xa5; usize::try_from(size - kept).unwrap()], kept).unwrap();
    let (mut alice, _) = Client::open(&server, "/ws?clientId=alice").await;
    let (mut bob, _) = Client::open(&server, "/ws/elsewhere?clientId=bob").await;
    alice.send(json!({"type": "join", "room": "lobby", "after": 0, "epoch": welcome["epoch"]})).await;
    assert_eq!(alice.closed().await, 1013);
    let (status, body) = server.get("/api/rooms/lobby/messages?after=0&limit=200");
    assert_eq!(status, 503, "{body}");
    bob.send(json!({"Message": "psst", "to": "bob"})).await;
    assert_eq!(bob.expect("message").await["Message"], "psst");
}
