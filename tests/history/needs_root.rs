//! Disks that are full, that fail, or that are read-only. Messages are refused with a reason, nothing is lost, and the
//! chat continues when the disk works again.
//!
//! The last test fills the memory of a container. These tests mount file systems and create control groups, so they
//! need root, or sudo without a password. Without them, `scripts/test` skips this module and says so.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::json;
use tempfile::tempdir;
use test_kit::{Client, LOOK, within};

use super::control_group::ControlGroup;
use super::disk::{Disk, SmallDisk, ThinDisk, run_as_root};
use super::harness::{page, refusal, run, seqs, starling};

#[actix_web::test]
async fn on_a_full_disk_sending_is_refused_and_goes_on_by_itself_when_there_is_room() {
    check(&SmallDisk::new(), "normal").await;
}

#[actix_web::test]
async fn on_an_io_error_sending_is_refused_and_goes_on_by_itself_when_the_disk_does() {
    // Only a writer that syncs notices this fault.
    check(&ThinDisk::new(), "full").await;
}

/// Breaks and repairs the disk twice while two clients chat. Afterwards every acknowledged message is stored once.
async fn check(disk: &impl Disk, sync: &str) {
    let variables = [("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_HISTORY_SYNC", sync)];
    let server = starling().start(disk.folder(), &variables);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    let (mut bob, _) = Client::enter(&server, "/ws?clientId=bob").await;
    let mut acknowledged = 0;
    for round in 1..=2 {
        alice.send_json(&json!({"Message": "x".repeat(4_000), "id": format!("before-{round}")})).await;
        acknowledged += 1;
        assert_eq!(alice.next_of("ack").await["seq"], acknowledged);
        disk.fail();
        // The log may have reserved space for a few more messages.
        let mut number = 0;
        let refused = loop {
            number += 1;
            let id = format!("{round}-{number}");
            alice.send_json(&json!({"Message": "x".repeat(4_000), "id": id})).await;
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
        within("the diagnosis names the history", async {
            let is_named =
                |answer: &str| answer.contains(r#""what":"history""#) && answer.contains("Nothing can be stored");
            while !is_named(&server.get("/api/diagnosis").1) {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
        // The rest of the chat still works.
        bob.send_json(&json!({"Message": "psst", "to": "alice"})).await;
        assert_eq!(server.get("/healthz").0, 200);
        disk.mend();
        server.status_becomes("/readyz", 200).await;
        // The refused message was not stored. When it is sent again, it gets the next seq.
        alice.send_json(&json!({"Message": "again", "id": refused["id"]})).await;
        acknowledged += 1;
        let ack = alice.next_of("ack").await;
        assert_eq!((&ack["seq"], &ack["duplicate"]), (&json!(acknowledged), &json!(null)));
    }
    for seq in 1..=acknowledged {
        loop {
            let message = bob.next_of("message").await;
            if message["room"] == "lobby" {
                assert_eq!(message["seq"], seq);
                break;
            }
        }
    }
    server.kill();
    let server = starling().start(disk.folder(), &[]);
    let mut kept = Vec::new();
    while let (messages, true) = page(&server, &format!("/api/rooms/lobby/messages?after={}", kept.len())) {
        kept.extend(seqs(&messages));
    }
    kept.extend(seqs(&page(&server, &format!("/api/rooms/lobby/messages?after={}", kept.len())).0));
    assert_eq!(kept, (1..=acknowledged).collect::<Vec<u64>>());
    server.stop();
    assert!(run(disk.folder(), &["history", "check"]).status.success());
}

#[actix_web::test]
async fn on_a_file_system_that_became_read_only_sending_is_refused_and_what_was_said_can_be_read() {
    let disk = ThinDisk::new();
    // Acknowledged messages have reached the disk, so they survive the failure of the file system.
    let variables = [("CHAT_HISTORY_SYNC", "full")];
    let server = starling().start(disk.folder(), &variables);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    alice.send_json(&json!({"Message": "before", "id": "1"})).await;
    alice.next_of("ack").await;
    disk.becomes_read_only();
    alice.send_json(&json!({"Message": "after", "id": "2"})).await;
    let refused = alice.next_of("error").await;
    assert_eq!((&refused["code"], &refused["id"]), (&json!("unavailable"), &json!("2")));
    let reason = server.status_becomes("/readyz", 503).await;
    assert!(reason.contains("the history cannot be stored"), "{reason}");
    let (messages, _) = page(&server, "/api/rooms/lobby/messages");
    assert_eq!(messages[0]["Message"], "before");
    server.stop();
    // An operator has to repair such a file system.
    let disk = disk.mounted_again();
    let server = starling().start(disk.folder(), &variables);
    let (mut alice, welcome) = Client::enter(&server, "/ws?clientId=alice").await;
    assert_eq!(welcome["seq"], 1);
    alice.send_json(&json!({"Message": "after", "id": "2"})).await;
    assert_eq!(alice.next_of("ack").await["seq"], 2);
}

#[actix_web::test]
async fn a_log_that_cannot_be_taken_into_the_database_is_told_and_so_is_the_end_of_that() {
    // Only the checkpoint syncs the disk.
    let disk = ThinDisk::new();
    let server = starling().start(disk.folder(), &[("CHAT_HISTORY_SYNC", "normal"), ("CHAT_MESSAGES_PER_SECOND", "0")]);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    disk.fail();
    // A checkpoint follows each of these within a second, until one fails.
    let mut number = 0;
    within("the failed checkpoint is reported", async {
        while server.get("/readyz").0 == 200 {
            number += 1;
            alice.send_json(&json!({"Message": "x".repeat(16_000), "id": number.to_string()})).await;
            let last = number.to_string();
            while alice.next().await.unwrap()["id"] != last {}
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    let reason = server.get("/readyz").1;
    assert!(reason.contains("the history cannot be stored"), "{reason}");
    disk.mend();
    server.status_becomes("/readyz", 200).await;
    alice.send_json(&json!({"Message": "again", "id": "last"})).await;
    while alice.next_of("ack").await["id"] != "last" {}
}

#[actix_web::test]
async fn a_start_on_a_full_disk_says_that_it_is_full_and_leaves_nothing() {
    let disk = SmallDisk::new();
    // One block remains for the folder.
    fs::create_dir(disk.folder().join("data")).unwrap();
    disk.fail();
    let refused = refusal(disk.folder());
    assert!(refused.contains("the disk is full"), "{refused}");
    assert_eq!(fs::read_dir(disk.folder().join("data")).unwrap().count(), 0, "no file is left");
    disk.mend();
    let server = starling().start(disk.folder(), &[]);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    alice.send_json(&json!({"Message": "hello", "id": "1"})).await;
    alice.next_of("ack").await;
    server.stop();
    disk.fail();
    let refused = refusal(disk.folder());
    assert!(refused.contains("the disk is full"), "{refused}");
    disk.mend();
    let server = starling().start(disk.folder(), &[]);
    assert_eq!(seqs(&page(&server, "/api/rooms/lobby/messages").0), [1]);
}

#[actix_web::test]
async fn what_a_stopped_server_has_left_is_read_on_a_full_disk_and_on_one_that_can_only_be_read() {
    let disk = SmallDisk::new();
    let server = starling().start(disk.folder(), &[]);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    alice.send_json(&json!({"Message": "hello", "id": "1"})).await;
    alice.next_of("ack").await;
    server.stop();
    disk.fail();
    for step in ["full", "read-only"] {
        if step == "read-only" {
            disk.mend();
            run_as_root("mount", &["-o", "remount,ro"], &[disk.folder()]);
        }
        let elsewhere = tempdir().unwrap();
        let (kept, left) = (elsewhere.path().join("kept.db"), disk.folder().join("data/starling.db"));
        for (folder, arguments) in [
            (disk.folder(), &["history", "check"][..]),
            (disk.folder(), &["history", "export"]),
            (disk.folder(), &["backup", kept.to_str().unwrap()]),
            (elsewhere.path(), &["restore", left.to_str().unwrap()]),
        ] {
            let output = run(folder, arguments);
            assert!(output.status.success(), "{step}, {arguments:?}: {output:?}");
            let told = String::from_utf8(output.stdout).unwrap();
            assert!(told.contains("1 message\n") || told.contains("hello"), "{step}, {arguments:?}: {told}");
        }
    }
    run_as_root("mount", &["-o", "remount,rw"], &[disk.folder()]);
    starling().start(disk.folder(), &[]).stop();
}

#[actix_web::test]
async fn what_root_does_for_a_server_of_another_user_leaves_all_files_to_that_user() {
    /// Any user other than root and the test's user.
    const OTHER: &str = "54321";
    let root: &[&str] = if rustix::process::geteuid().is_root() { &["env"] } else { &["sudo", "--non-interactive"] };
    let as_root = |folder: &Path, arguments: &[&str]| starling().under(root).run(folder, arguments, &[]);
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    let server = starling().start(folder.path(), &[]);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    alice.send_json(&json!({"Message": "hello", "id": "1"})).await;
    alice.next_of("ack").await;
    server.stop();
    assert!(run(folder.path(), &["backup", "kept.db"]).status.success());
    for file in ["starling.db-search", "starling.db.lock"] {
        fs::remove_file(data.join(file)).unwrap();
    }
    run_as_root("chown", &["-R", &format!("{OTHER}:{OTHER}")], &[&data]);
    let drop = &["history", "drop", "--room", "lobby"][..];
    for arguments in [&["history", "vacuum"][..], drop, &["restore", "kept.db", "--replace"]] {
        let output = as_root(folder.path(), arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        for entry in fs::read_dir(&data).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (54_321, 54_321), "{arguments:?}: {}", path.display());
        }
    }
    run_as_root("rm", &["-r"], &[&data.join("starling.db"), &data.join("starling.db.lock")]);
    let output = as_root(folder.path(), &["restore", "kept.db"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::metadata(data.join("starling.db")).unwrap().uid(), 54_321, "where none was");
    run_as_root("chown", &["-R", &rustix::process::geteuid().as_raw().to_string()], &[&data]);
}

#[actix_web::test]
async fn a_backup_to_a_full_disk_and_a_restore_to_one_are_refused_and_leave_nothing() {
    let (folder, disk) = (tempdir().unwrap(), SmallDisk::new());
    let server = starling().start(folder.path(), &[]);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    alice.send_json(&json!({"Message": "hello", "id": "1"})).await;
    alice.next_of("ack").await;
    server.stop();
    assert!(run(folder.path(), &["backup", "kept.db"]).status.success());
    disk.fail();
    let target = disk.folder().join("new.db");
    let (target, kept) = (target.to_str().unwrap(), folder.path().join("kept.db"));
    for (folder, arguments) in
        [(folder.path(), ["backup", target]), (disk.folder(), ["restore", kept.to_str().unwrap()])]
    {
        let output = run(folder, &arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("full") || said.contains("No space left"), "{said}");
        let files = fs::read_dir(disk.folder()).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = files.filter(|name| name != "filler" && name != "data").collect();
        assert!(left.is_empty(), "{left:?}");
        let in_data = fs::read_dir(disk.folder().join("data")).map_or(0, Iterator::count);
        assert_eq!(in_data, 0);
    }
}

#[actix_web::test]
async fn at_the_limit_of_its_container_a_server_says_what_takes_the_memory_and_the_oldest_messages_give_way() {
    let (folder, group) = (tempdir().unwrap(), ControlGroup::with_memory(96 << 20));
    // Far more than the container's memory.
    let variables = [
        ("CHAT_HISTORY", "memory"),
        ("CHAT_HISTORY_MESSAGES", "1000000"),
        ("CHAT_HISTORY_BYTES", "100000000000"),
        ("CHAT_MESSAGES_PER_SECOND", "0"),
    ];
    let server = starling().under(&group.enter()).start(folder.path(), &variables);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    // These clients read nothing, so their outboxes become full.
    let mut readers = Vec::new();
    for number in 0..10 {
        readers.push(Client::enter(&server, &format!("/ws?clientId=reader-{number}")).await.0);
    }
    // Twice the container's memory.
    let text = "x".repeat(16_000);
    for number in 1..=12_000 {
        assert!(
            alice.try_send_json(&json!({"Message": text, "id": number.to_string()})).await,
            "the server is alive before message {number}"
        );
        assert_eq!(alice.next_of("ack").await["seq"], number);
    }
    let line = server.line_with("MiB are in use");
    assert!(line.contains("of 96 MiB") && line.contains("(CHAT_HISTORY_BYTES), which may not grow now"), "{line}");
    // New clients are accepted again after the server has freed memory.
    server.status_becomes("/readyz", 200).await;
    Client::enter(&server, "/ws?clientId=bob").await;
    let newest = page(&server, "/api/rooms/lobby/messages?limit=5");
    assert_eq!((seqs(&newest.0), newest.1), ((11_996..=12_000).collect(), true));
    let (oldest, _) = page(&server, "/api/rooms/lobby/messages?after=0&limit=1");
    assert!(seqs(&oldest)[0] > 6_000, "{:?}", seqs(&oldest));
    server.stop();
}
