//! Tests of a database that is damaged while the server runs.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::json;
use tempfile::tempdir;
use test_kit::Client;

use super::harness::{page, run, starling};

#[actix_web::test]
async fn who_catches_up_from_a_disk_that_cannot_be_read_is_closed_with_1013_and_others_chat_on() {
    let folder = tempdir().unwrap();
    let variables = [("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_HISTORY_MESSAGES", "10")];
    let server = starling().start(folder.path(), &variables);
    let (mut alice, welcome) = Client::enter(&server, "/ws?clientId=alice").await;
    for number in 1..=500 {
        alice.send_json(&json!({"Message": "x".repeat(1_000), "id": number.to_string()})).await;
        alice.next_of("ack").await;
    }
    server.stop();
    let server = starling().start(folder.path(), &variables);
    let file = OpenOptions::new().write(true).open(folder.path().join("data/starling.db")).unwrap();
    let size = file.metadata().unwrap().len();
    // Everything except the first pages, which contain the schema.
    let kept = 64 * 1_024;
    file.write_all_at(&vec![0xa5; usize::try_from(size - kept).unwrap()], kept).unwrap();
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    let (mut bob, _) = Client::enter(&server, "/ws/elsewhere?clientId=bob").await;
    alice.send_json(&json!({"type": "join", "room": "lobby", "after": 0, "epoch": welcome["epoch"]})).await;
    assert_eq!(alice.closed().await, 1013);
    let (status, body) = server.get("/api/rooms/lobby/messages?after=0&limit=200");
    assert_eq!(status, 503, "{body}");
    bob.send_json(&json!({"Message": "psst", "to": "bob"})).await;
    assert_eq!(bob.next_of("message").await["Message"], "psst");
}

#[actix_web::test]
async fn a_search_index_that_is_missing_or_damaged_after_a_kill_is_made_anew_and_finds_what_was_acknowledged() {
    type Happens = fn(&Path);
    let cases: [(&str, Happens); 3] = [
        ("as the kill left it", |_| {}),
        ("missing, but its log exists", |index| fs::remove_file(index).unwrap()),
        ("damaged", |index| {
            let behind_the_header = 1_024;
            OpenOptions::new()
                .write(true)
                .open(index)
                .unwrap()
                .write_all_at(&[0xa5; 8_192], behind_the_header)
                .unwrap();
        }),
    ];
    for (what, happens) in cases {
        let folder = tempdir().unwrap();
        let server = starling().start(folder.path(), &[]);
        let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
        let say = async |alice: &mut Client, number: u32| {
            alice.send_json(&json!({"Message": format!("it is number{number}"), "id": number.to_string()})).await;
            alice.next_of("ack").await;
        };
        say(&mut alice, 1).await;
        assert_eq!(page(&server, "/api/rooms/lobby/messages?q=number1").0.len(), 1, "{what}");
        // This message may or may not be indexed before the kill.
        say(&mut alice, 2).await;
        server.kill();
        happens(&folder.path().join("data/starling.db-search"));
        let server = starling().start(folder.path(), &[]);
        let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
        say(&mut alice, 3).await;
        for number in 1..=3 {
            let path = format!("/api/rooms/lobby/messages?q=number{number}");
            // The search that detects the damage is refused.
            let found = server.status_becomes(&path, 200).await;
            assert_eq!(found.matches(r#""Message""#).count(), 1, "{what}: {found}");
            assert!(found.contains(&format!("it is number{number}")), "{what}: {found}");
        }
        server.stop();
        let check = run(folder.path(), &["history", "check"]);
        assert!(check.status.success(), "{what}: {check:?}");
    }
}
