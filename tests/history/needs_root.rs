//! Disks that are full, fail, or can only be read: refused, told, nothing lost, and the chat goes on when the disk does.
//!
//! These tests mount file systems, so they need root, or sudo without a password. `scripts/test` leaves this module out
//! where neither is there, and says so.

use serde_json::json;

use super::disk::{Disk, SmallDisk, ThinDisk};
use super::harness::{Client, Process, run, seqs};

#[actix_web::test]
async fn on_a_full_disk_sending_is_refused_and_goes_on_by_itself_when_there_is_room() {
    check(&SmallDisk::new(), "normal").await;
}

#[actix_web::test]
async fn on_an_io_error_sending_is_refused_and_goes_on_by_itself_when_the_disk_does() {
    // Only who waits for the disk learns that it failed.
    check(&ThinDisk::new(), "full").await;
}

/// Breaks and mends the disk twice while two clients talk; then everything acknowledged is there, once.
async fn check(disk: &impl Disk, sync: &str) {
    let variables = [("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_HISTORY_SYNC", sync)];
    let server = Process::start(disk.folder(), &variables);
    let (mut alice, _) = Client::open(&server, "/ws?clientId=alice").await;
    let (mut bob, _) = Client::open(&server, "/ws?clientId=bob").await;
    let mut acknowledged = 0;
    for round in 1..=2 {
        assert!(alice.send(json!({"Message": "x".repeat(4_000), "id": format!("before-{round}")})).await);
        acknowledged += 1;
        assert_eq!(alice.expect("ack").await["seq"], acknowledged);
        disk.fail();
        // What the log has reserved may still take a few.
        let mut number = 0;
        let refused = loop {
            number += 1;
            let id = format!("{round}-{number}");
            assert!(alice.send(json!({"Message": "x".repeat(4_000), "id": id})).await);
            let answer = loop {
                let answer = alice.next().await.unwrap();
                if answer["id"] == id && answer["type"] != "message" {
                    break answer;
                }
            };
            if answer["type"] == "error" {
                break answer;
            }
            acknowledged += 1;
            assert_eq!(answer["seq"], acknowledged);
        };
        assert_eq!(refused["code"], "unavailable");
        let reason = server.status_becomes("/readyz", 503).await;
        assert!(reason.contains("the history cannot be stored"), "{reason}");
        // The rest of the chat works.
        assert!(bob.send(json!({"Message": "psst", "to": "alice"})).await);
        assert_eq!(server.get("/healthz").0, 200);
        disk.mend();
        server.status_becomes("/readyz", 200).await;
        // The refused one was not taken: sent again, it gets the next place.
        assert!(alice.send(json!({"Message": "again", "id": refused["id"]})).await);
        acknowledged += 1;
        let ack = alice.expect("ack").await;
        assert_eq!((&ack["seq"], &ack["duplicate"]), (&json!(acknowledged), &json!(null)));
    }
    for seq in 1..=acknowledged {
        loop {
            let message = bob.expect("message").await;
            if message["room"] == "lobby" {
                assert_eq!(message["seq"], seq);
                break;
            }
        }
    }
    server.kill();
    let server = Process::start(disk.folder(), &[]);
    let mut kept = Vec::new();
    while let (messages, true) = server.page(&format!("/api/rooms/lobby/messages?after={}", kept.len())) {
        kept.extend(seqs(&messages));
    }
    kept.extend(seqs(&server.page(&format!("/api/rooms/lobby/messages?after={}", kept.len())).0));
    assert_eq!(kept, (1..=acknowledged).collect::<Vec<u64>>());
    server.stop();
    assert!(run(disk.folder(), &["history", "check"]).status.success());
}

#[actix_web::test]
async fn on_a_file_system_that_became_read_only_sending_is_refused_and_what_was_said_can_be_read() {
    let disk = ThinDisk::new();
    // What is acknowledged has reached the disk: it survives that its file system does not.
    let variables = [("CHAT_HISTORY_SYNC", "full")];
    let server = Process::start(disk.folder(), &variables);
    let (mut alice, _) = Client::open(&server, "/ws?clientId=alice").await;
    alice.send(json!({"Message": "before", "id": "1"})).await;
    alice.expect("ack").await;
    disk.becomes_read_only();
    alice.send(json!({"Message": "after", "id": "2"})).await;
    let refused = alice.expect("error").await;
    assert_eq!((&refused["code"], &refused["id"]), (&json!("unavailable"), &json!("2")));
    let reason = server.status_becomes("/readyz", 503).await;
    assert!(reason.contains("the history cannot be stored"), "{reason}");
    let (messages, _) = server.page("/api/rooms/lobby/messages");
    assert_eq!(messages[0]["Message"], "before");
    server.stop();
    // Mended by whoever looks after it, as such a file system has to be.
    let disk = disk.mounted_again();
    let server = Process::start(disk.folder(), &variables);
    let (mut alice, welcome) = Client::open(&server, "/ws?clientId=alice").await;
    assert_eq!(welcome["seq"], 1);
    alice.send(json!({"Message": "after", "id": "2"})).await;
    assert_eq!(alice.expect("ack").await["seq"], 2);
}
