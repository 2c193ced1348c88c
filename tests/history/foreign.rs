//! Paths that lead to files of somebody else: refused, and no such file is changed, locked, made or removed.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::tempdir;

use super::harness::starling;

/// A file of somebody else, and what is said of it.
struct Case {
    what: &'static str,
    make: fn(&Path),
    path: &'static str,
    reason: &'static str,
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

fn database(folder: &Path, name: &str, mode: &str) {
    let database = Connection::open(folder.join(name)).unwrap();
    database.pragma_update(None, "journal_mode", mode).unwrap();
    database.execute_batch("CREATE TABLE cats (name); INSERT INTO cats VALUES ('Tom')").unwrap();
}

const CASES: [Case; 14] = [
    Case { what: "a text", make: |folder| write(folder, "passwd", "root:x:0:0\n"), path: "passwd", reason: "damaged" },
    Case {
        what: "a text with its lock",
        make: |folder| {
            write(folder, "passwd", "root:x:0:0\n");
            write(folder, "passwd.lock", "4711");
        },
        path: "passwd",
        reason: "it does not begin as a database does",
    },
    Case {
        what: "a text with an empty lock",
        make: |folder| {
            write(folder, "passwd", "root:x:0:0\n");
            write(folder, "passwd.lock", "");
        },
        path: "passwd",
        reason: "it does not begin as a database does",
    },
    Case {
        what: "a lock alone",
        make: |folder| write(folder, "cargo.lock", "4711"),
        path: "cargo",
        reason: "cargo.lock is there, and not of this program",
    },
    Case {
        what: "a long lock alone",
        make: |folder| write(folder, "cargo.lock", &format!("{:016x} {:016x}\n[package]\n", 1, 1)),
        path: "cargo",
        reason: "cargo.lock is there, and not of this program",
    },
    Case {
        what: "a lock that is a link",
        make: |folder| {
            write(folder, "shadow", "");
            symlink("shadow", folder.join("new.lock")).unwrap();
        },
        path: "new",
        reason: "new.lock is there, and not of this program",
    },
    Case {
        what: "a lock that is a folder",
        make: |folder| fs::create_dir(folder.join("new.lock")).unwrap(),
        path: "new",
        reason: "new.lock is there, and not of this program",
    },
    Case {
        what: "a log of something else",
        make: |folder| write(folder, "report-wal", "how the walls were built"),
        path: "report",
        reason: "report-wal is there, and not of this program",
    },
    Case {
        what: "a journal of something else",
        make: |folder| write(folder, "report-journal", "dear diary"),
        path: "report",
        reason: "report-journal is there, and not of this program",
    },
    Case {
        what: "a log that is a link",
        make: |folder| {
            write(folder, "target", "");
            symlink("target", folder.join("report-shm")).unwrap();
        },
        path: "report",
        reason: "report-shm is there, and not of this program",
    },
    Case {
        what: "another program's database",
        make: |folder| database(folder, "cats.db", "DELETE"),
        path: "cats.db",
        reason: "not a history of this program",
    },
    Case {
        what: "another program's database with a log",
        make: |folder| database(folder, "cats.db", "WAL"),
        path: "cats.db",
        reason: "not a history of this program",
    },
    Case { what: "a device", make: |_| {}, path: "/dev/null", reason: "it is not a file" },
    Case {
        what: "a folder in which nothing can be made",
        make: |_| {},
        path: "/proc/starling.db",
        reason: "cannot be",
    },
];

/// All files in a folder: what they are, their contents, and when they were changed.
fn files(folder: &Path) -> Vec<(PathBuf, i64, i64, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            (path, metadata.mtime(), metadata.mtime_nsec(), content)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_path_with_files_of_somebody_else_is_refused_and_they_stay_as_they_are() {
    let backups = tempdir().unwrap();
    starling().start(backups.path(), &[]).stop();
    let backup = backups.path().join("data/starling.db");
    for Case { what, make, path, reason } in CASES {
        let folder = tempdir().unwrap();
        make(folder.path());
        let before = files(folder.path());
        // Whoever it belongs to holds it: a refusal waits for nobody, and takes no lock.
        let held: Vec<_> = before.iter().filter_map(|(path, ..)| File::open(path).ok()).collect();
        for file in &held {
            file.lock_shared().unwrap();
        }
        let restore = ["restore", backup.to_str().unwrap(), "--replace"];
        for arguments in [&[][..], &restore, &["history", "vacuum"], &["history", "drop", "--room", "lobby"]] {
            let output = starling().command(folder.path(), arguments, &[("CHAT_HISTORY_PATH", path)]).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success(), "{what}, {arguments:?}");
            // There is nothing to make small or to drop where there is only what stands beside it.
            let is_missing = said.contains("there is no history at") && arguments.first() == Some(&"history");
            assert!(said.contains(reason) || is_missing, "{what}, {arguments:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{what}, {arguments:?}: one line: {said}");
            assert!(files(folder.path()) == before, "{what}, {arguments:?}: the files are as they were");
        }
    }
}

#[test]
fn a_restore_that_would_overwrite_another_file_is_refused() {
    let folder = tempdir().unwrap();
    starling().start(folder.path(), &[]).stop();
    assert!(starling().command(folder.path(), &["backup", "kept.db"], &[]).output().unwrap().status.success());
    let unfinished = folder.path().join("data/starling.db.restoring");
    fs::write(&unfinished, "what I wanted to restore").unwrap();
    let output = starling().command(folder.path(), &["restore", "kept.db", "--replace"], &[]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("starling.db.restoring is there, and not of this program"), "{said}");
    assert_eq!(fs::read_to_string(&unfinished).unwrap(), "what I wanted to restore");
    // A history whose beginning is lost is still known as one, by the file that locks it.
    fs::remove_file(&unfinished).unwrap();
    let database = folder.path().join("data/starling.db");
    let mut content = fs::read(&database).unwrap();
    content[..100].fill(0xa5);
    fs::write(&database, content).unwrap();
    let output = starling().command(folder.path(), &["restore", "kept.db", "--replace"], &[]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    starling().start(folder.path(), &[]).stop();
}
