//! A disk that is full: refused, told, nothing lost, and the chat goes on when there is room. Needs the right to mount.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use tempfile::{TempDir, tempdir};

use super::harness::{Client, Process, run, seqs};

/// A file system in memory of this size; gone when it is dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new(size: &str) -> Self {
        let folder = tempdir().unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).status();
        assert!(mounted.unwrap().success(), "this test mounts a small file system, and needs the right to");
        Self(folder)
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Leaves no room.
    fn fill(&self) {
        let mut file = fs::File::create(self.filler()).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4_096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.path()).status().map(drop).unwrap_or_default();
    }
}

#[actix_web::test]
async fn on_a_full_disk_sending_is_refused_and_goes_on_by_itself_when_there_is_room() {
    let disk = SmallDisk::new("4m");
    let server = Process::start(disk.0.path(), &[("CHAT_MESSAGES_PER_SECOND", "0")]);
    let (mut alice, _) = Client::open(&server, "/ws?clientId=alice").await;
    let (mut bob, _) = Client::open(&server, "/ws?clientId=bob").await;
    let mut acknowledged = 0;
    for round in 1..=2 {
        assert!(alice.send(json!({"Message": "x".repeat(4_000), "id": format!("before-{round}")})).await);
        acknowledged += 1;
        assert_eq!(alice.expect("ack").await["seq"], acknowledged);
        disk.fill();
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
        fs::remove_file(disk.filler()).unwrap();
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
    let server = Process::start(disk.0.path(), &[]);
    let mut kept = Vec::new();
    while let (messages, true) = server.page(&format!("/api/rooms/lobby/messages?after={}", kept.len())) {
        kept.extend(seqs(&messages));
    }
    kept.extend(seqs(&server.page(&format!("/api/rooms/lobby/messages?after={}", kept.len())).0));
    assert_eq!(kept, (1..=acknowledged).collect::<Vec<u64>>());
    server.stop();
    assert!(run(disk.0.path(), &["history", "check"]).status.success());
}
