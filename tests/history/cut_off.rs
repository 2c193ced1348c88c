//! Operators' commands are killed at various moments. The database is then the old one or the new one, and complete.
//!
//! strace kills the command at a system call that changes a file: for each kind of call at the first occurrence, the
//! second, and so on, until the command finishes.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use serde_json::json;
use tempfile::tempdir;
use test_kit::Client;

use super::harness::{run, starling};

/// The system calls with which a command changes or removes a file.
const CALLS: [&str; 6] = [
    "openat",
    "pwrite64",
    "?ftruncate,fallocate",
    "fsync,fdatasync",
    "?unlink,unlinkat",
    "?rename,?renameat,renameat2",
];

/// Prepares a folder: a database with four messages in the lobby, of which the last two are only in the log; 300
/// messages in `dev`; and `kept.db`, a backup that was made after the first two.
async fn prepare(folder: &Path) {
    let server = starling().start(folder, &[("CHAT_MESSAGES_PER_SECOND", "0")]);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    let mut say = async |text: String, room: &str| {
        alice.send_json(&json!({"Message": text, "id": text, "room": room})).await;
        alice.next_of("ack").await;
    };
    for number in 1..=2 {
        say(format!("lobby-{number}"), "lobby").await;
    }
    assert!(run(folder, &["backup", "kept.db"]).status.success());
    let (mut bob, _) = Client::enter(&server, "/ws/dev?clientId=bob").await;
    for number in 1..=300 {
        bob.send_json(&json!({"Message": "x", "id": number.to_string()})).await;
        bob.next_of("ack").await;
    }
    for number in 3..=4 {
        say(format!("lobby-{number}"), "lobby").await;
    }
    server.kill();
    assert!(fs::metadata(folder.join("data/starling.db-wal")).unwrap().len() > 0, "the log is not empty");
}

/// The number of messages in a room. Checks that their seqs rise by one from 1.
fn count(folder: &Path, room: &str) -> usize {
    let exported = run(folder, &["history", "export"]);
    assert!(exported.status.success(), "{exported:?}");
    let lines = String::from_utf8(exported.stdout).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let seqs: Vec<_> = lines.filter(|line| line["room"] == room).map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    seqs.len()
}

/// A command, and the allowed numbers of messages in the lobby and in `dev` after the command was killed.
struct Case {
    arguments: &'static [&'static str],
    outcomes: &'static [(usize, usize)],
}

impl Case {
    async fn check(&self) {
        let prepared = tempdir().unwrap();
        prepare(prepared.path()).await;
        let mut killed = 0;
        for call in CALLS {
            // Later occurrences of a repeated call are only sampled.
            let mut number = 1;
            while !self.is_done(prepared.path(), call, number) {
                killed += 1;
                number = if number < 4 { number + 1 } else { number * 4 };
            }
        }
        println!("{:?}: killed {killed} times", self.arguments);
        assert!(killed >= 10, "the command is killed only {killed} times");
    }

    /// Kills the command at this call. `true` if the command finished before.
    fn is_done(&self, prepared: &Path, call: &str, number: usize) -> bool {
        let Self { arguments, outcomes } = self;
        let folder = tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        for name in ["kept.db", "data/starling.db", "data/starling.db-wal", "data/starling.db.lock"] {
            fs::copy(prepared.join(name), folder.path().join(name)).unwrap();
        }
        let killed = format!("inject={call}:signal=KILL:when={number}");
        let trace = format!("trace={call}");
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &killed];
        let output = starling().under(&strace).command(folder.path(), arguments, &[]).output().unwrap();
        let is_done = output.status.success();
        let what = format!("{arguments:?} killed at {call} number {number}");
        assert!(is_done || output.status.signal() == Some(9), "{what}: {output:?}");
        // Some cases are checked without a start, so that a start cannot hide a fault. A start also takes time.
        if number == 1 || call.contains("unlink") || call.contains("rename") {
            starling().start(folder.path(), &[]).kill();
            assert!(!folder.path().join("data/starling.db.restoring").exists(), "{what}: removed by a start");
        }
        let found = (count(folder.path(), "lobby"), count(folder.path(), "dev"));
        assert!(outcomes.contains(&found), "{what}: {found:?}");
        let checked = run(folder.path(), &["history", "check"]);
        assert!(checked.status.success(), "{what}: {checked:?}");
        if arguments[0] == "backup" && !is_done && folder.path().join("new.db").exists() {
            // The backup may be incomplete or complete. The restore detects which.
            let restored = run(folder.path(), &["restore", "new.db", "--replace"]);
            let said = String::from_utf8_lossy(&restored.stderr).into_owned();
            assert!(restored.status.success() || said.contains("not a history of this program"), "{what}: {said}");
        }
        is_done
    }
}

#[actix_web::test]
async fn a_restore_that_is_killed_leaves_the_old_database_or_the_new_one() {
    Case { arguments: &["restore", "kept.db", "--replace"], outcomes: &[(4, 300), (2, 0)] }.check().await;
}

#[actix_web::test]
async fn a_backup_that_is_killed_leaves_the_database_as_it_is_and_no_half_of_a_backup_is_restored() {
    Case { arguments: &["backup", "new.db"], outcomes: &[(4, 300)] }.check().await;
}

#[actix_web::test]
async fn a_drop_that_is_killed_leaves_the_whole_room_or_nothing_of_it() {
    Case { arguments: &["history", "drop", "--room", "dev"], outcomes: &[(4, 300), (4, 0)] }.check().await;
}

#[actix_web::test]
async fn a_vacuum_that_is_killed_leaves_the_database_as_it_was() {
    Case { arguments: &["history", "vacuum"], outcomes: &[(4, 300)] }.check().await;
}
