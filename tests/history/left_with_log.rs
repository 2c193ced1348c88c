//! Files beside the log of a killed server: its log is never applied to another database.

use std::fs;
use std::path::Path;

use tempfile::tempdir;

use super::copies::{back_from_a_copy, resume, said, say};
use super::harness::{page, seqs, starling};

/// A file at the path of a history whose server was killed, and the repair.
struct LeftWithLog {
    what: &'static str,
    puts: fn(&Path),
    /// The error of a start, and the repairing command.
    reason: &'static str,
    command: &'static [&'static str],
    mends: fn(&Path),
    /// The files afterwards.
    seqs: &'static [u64],
    recovers: bool,
}

fn restored(folder: &Path) {
    let (worked, told) = said(folder, &["restore", "source.db", "--replace"]);
    assert!(worked, "{told}");
}

const LEFT_WITH_LOG: [LeftWithLog; 4] = [
    LeftWithLog {
        what: "a backup, in place",
        puts: |folder| {
            fs::write(folder.join("data/starling.db"), fs::read(folder.join("kept.db")).unwrap()).unwrap();
        },
        reason: "is a copy, and",
        command: &["history", "check"],
        mends: |folder| fs::rename(folder.join("data/starling.db-wal"), folder.join("data/log")).unwrap(),
        seqs: &[1, 2, 3],
        recovers: false,
    },
    LeftWithLog {
        what: "a backup, as another file",
        puts: |folder| fs::rename(folder.join("kept.db"), folder.join("data/starling.db")).unwrap(),
        reason: "is a copy, and",
        command: &["history", "vacuum"],
        mends: restored,
        seqs: &[1, 2, 3],
        recovers: false,
    },
    LeftWithLog {
        what: "what a server left that was stopped before",
        puts: |folder| back_from_a_copy(&folder.join("data")),
        reason: "is a copy, and",
        command: &["backup", "new.db"],
        mends: restored,
        seqs: &[1, 2, 3],
        recovers: false,
    },
    LeftWithLog {
        what: "nothing",
        puts: |folder| fs::rename(folder.join("data/starling.db"), folder.join("data/away.db")).unwrap(),
        reason: "is not there, but its log",
        command: &["restore", "source.db"],
        mends: |folder| fs::rename(folder.join("data/away.db"), folder.join("data/starling.db")).unwrap(),
        seqs: &[1, 2, 3, 4, 5, 6],
        recovers: true,
    },
];

#[actix_web::test]
async fn the_log_of_a_killed_server_is_never_taken_into_another_database_nor_deleted_with_its_own_gone() {
    let prepared = tempdir().unwrap();
    let data = prepared.path().join("data");
    let server = starling().start(prepared.path(), &[]);
    say(&server, &["1", "2", "3"]).await;
    assert!(said(prepared.path(), &["backup", "kept.db"]).0);
    fs::copy(prepared.path().join("kept.db"), prepared.path().join("source.db")).unwrap();
    say(&server, &["4"]).await;
    server.stop();
    fs::copy(data.join("starling.db"), data.join("copy")).unwrap();
    for LeftWithLog { what, puts, reason, command, mends, seqs: left, recovers } in LEFT_WITH_LOG {
        let folder = tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        for name in ["kept.db", "source.db", "data/copy", "data/starling.db"] {
            fs::copy(prepared.path().join(name), folder.path().join(name)).unwrap();
        }
        let server = starling().start(folder.path(), &[]);
        let (epoch, last) = say(&server, &["5", "6"]).await;
        server.kill();
        let log = fs::read(data.join("starling.db-wal")).unwrap();
        puts(folder.path());
        let put = fs::read(data.join("starling.db")).ok();
        for arguments in [&[][..], command] {
            let (worked, told) = said(folder.path(), arguments);
            let is_kept = arguments.first() == Some(&"restore") && told.contains("--replace would overwrite it");
            assert!(!worked && (told.contains(reason) || is_kept), "{what}, {arguments:?}: {told}");
            assert_eq!(told.lines().count(), 1, "{what}, {arguments:?}: {told}");
        }
        assert_eq!(fs::read(data.join("starling.db")).ok(), put, "{what}");
        assert!(fs::read(data.join("starling.db-wal")).unwrap() == log, "{what}");
        mends(folder.path());
        let server = starling().start(folder.path(), &[]);
        assert_eq!(seqs(&page(&server, "/api/rooms/lobby/messages").0), left, "{what}");
        assert_eq!(resume(&server, &epoch, &last["seq"], None).await, recovers, "{what}");
    }
}
