//! Paths that lead to files of other programs. They are refused, and no such file is changed, locked, created or
//! removed.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::json;
use tempfile::tempdir;
use test_kit::Client;

use super::harness::{page, run, starling};

/// A file of another program, and the reason of the refusal.
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
        reason: "it does not start with the header of an SQLite database",
    },
    Case {
        what: "a text with an empty lock",
        make: |folder| {
            write(folder, "passwd", "root:x:0:0\n");
            write(folder, "passwd.lock", "");
        },
        path: "passwd",
        reason: "it does not start with the header of an SQLite database",
    },
    Case {
        what: "a lock alone",
        make: |folder| write(folder, "cargo.lock", "4711"),
        path: "cargo",
        reason: "cargo.lock exists but is not a file of this program",
    },
    Case {
        what: "a long lock alone",
        make: |folder| write(folder, "cargo.lock", &format!("{:016x} {:016x}\n[package]\n", 1, 1)),
        path: "cargo",
        reason: "cargo.lock exists but is not a file of this program",
    },
    Case {
        what: "a lock that is a link",
        make: |folder| {
            write(folder, "shadow", "");
            symlink("shadow", folder.join("new.lock")).unwrap();
        },
        path: "new",
        reason: "new.lock exists but is not a file of this program",
    },
    Case {
        what: "a lock that is a folder",
        make: |folder| fs::create_dir(folder.join("new.lock")).unwrap(),
        path: "new",
        reason: "new.lock exists but is not a file of this program",
    },
    Case {
        what: "a log of something else",
        make: |folder| write(folder, "report-wal", "how the walls were built"),
        path: "report",
        reason: "report-wal exists but is not a file of this program",
    },
    Case {
        what: "a journal of something else",
        make: |folder| write(folder, "report-journal", "dear diary"),
        path: "report",
        reason: "report-journal exists but is not a file of this program",
    },
    Case {
        what: "a log that is a link",
        make: |folder| {
            write(folder, "target", "");
            symlink("target", folder.join("report-shm")).unwrap();
        },
        path: "report",
        reason: "report-shm exists but is not a file of this program",
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
    Case { what: "a device", make: |_| {}, path: "/dev/null", reason: "it is not a regular file" },
    Case {
        what: "a folder in which nothing can be made",
        make: |_| {},
        path: "/proc/starling.db",
        reason: "cannot be",
    },
];

/// All files in a folder: path, time of the last change, and content.
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
        // The files are locked as their owner may have them. A refusal waits for no lock, and takes none.
        let held: Vec<_> = before.iter().filter_map(|(path, ..)| File::open(path).ok()).collect();
        for file in &held {
            file.lock_shared().unwrap();
        }
        let restore = ["restore", backup.to_str().unwrap(), "--replace"];
        for arguments in [&[][..], &restore, &["history", "vacuum"], &["history", "drop", "--room", "lobby"]] {
            let output = starling().command(folder.path(), arguments, &[("CHAT_HISTORY_PATH", path)]).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success(), "{what}, {arguments:?}");
            // Commands that need a history report that there is none, if only files beside it exist.
            let is_missing = said.contains("there is no history at") && arguments.first() == Some(&"history");
            assert!(said.contains(reason) || is_missing, "{what}, {arguments:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{what}, {arguments:?}: one line: {said}");
            assert!(files(folder.path()) == before, "{what}, {arguments:?}: the files are unchanged");
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
    assert!(said.contains("starling.db.restoring exists but is not a file of this program"), "{said}");
    assert_eq!(fs::read_to_string(&unfinished).unwrap(), "what I wanted to restore");
    // A history whose header is lost is still recognized by its lock file.
    fs::remove_file(&unfinished).unwrap();
    let database = folder.path().join("data/starling.db");
    let mut content = fs::read(&database).unwrap();
    content[..100].fill(0xa5);
    fs::write(&database, content).unwrap();
    let output = starling().command(folder.path(), &["restore", "kept.db", "--replace"], &[]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    starling().start(folder.path(), &[]).stop();
}

/// Makes files in a folder.
type Make = fn(&Path);

/// Files of other programs at the names of the search index, and the ending of the file that is reported.
const AT_THE_INDEX: [(&str, Make, &str); 11] = [
    ("a text", |data| write(data, "starling.db-search", "where I looked"), "-search"),
    ("another program's database", |data| database(data, "starling.db-search", "DELETE"), "-search"),
    ("another program's database with a log", |data| database(data, "starling.db-search", "WAL"), "-search"),
    ("another history", |data| drop(fs::copy(data.join("starling.db"), data.join("starling.db-search"))), "-search"),
    (
        "the index of another history, by a link",
        |data| symlink("other.db-search", data.join("starling.db-search")).unwrap(),
        "-search",
    ),
    (
        "the index of another history, by a second name",
        |data| fs::hard_link(data.join("other.db-search"), data.join("starling.db-search")).unwrap(),
        "-search",
    ),
    ("a folder", |data| fs::create_dir(data.join("starling.db-search")).unwrap(), "-search"),
    ("a log", |data| write(data, "starling.db-search-wal", "a log"), "-search-wal"),
    ("an index of a log", |data| write(data, "starling.db-search-shm", "an index"), "-search-shm"),
    ("a journal", |data| write(data, "starling.db-search-journal", "dear diary"), "-search-journal"),
    (
        "a journal that is a folder",
        |data| fs::create_dir(data.join("starling.db-search-journal")).unwrap(),
        "-search-journal",
    ),
];

/// A folder with copies of a history, of another one with its search index, and of a backup. No server has used these
/// copies.
fn copy_of(original: &Path) -> tempfile::TempDir {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    for name in ["kept.db", "data/starling.db", "data/other.db", "data/other.db-search"] {
        fs::copy(original.join(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn a_file_of_somebody_else_at_the_search_indexs_name_stays_and_refuses_searches_only() {
    let original = tempdir().unwrap();
    let said = |path: &'static str| {
        let server = starling().start(original.path(), &[("CHAT_HISTORY_PATH", path)]);
        actix_web::rt::System::new().block_on(async {
            let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
            assert!(alice.try_send_json(&json!({"Message": "hello", "id": "1"})).await);
            alice.next_of("ack").await;
        });
        assert_eq!(page(&server, "/api/rooms/lobby/messages?q=hello").0.len(), 1);
        server.stop();
    };
    said("data/other.db");
    said("data/starling.db");
    assert!(run(original.path(), &["backup", "kept.db"]).status.success());
    let check = |(what, make, ending): (&str, Make, &str)| {
        let folder = copy_of(original.path());
        let data = folder.path().join("data");
        make(&data);
        let file = data.join(format!("starling.db{ending}"));
        let is_theirs = |(path, ..): &&(PathBuf, i64, i64, Vec<u8>)| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("starling.db-search") || name.starts_with("other.db")
        };
        let theirs = || files(&data).iter().filter(is_theirs).cloned().collect::<Vec<_>>();
        let before = theirs();
        let server = starling().start(folder.path(), &[]);
        let line = server.line_with("messages cannot be searched");
        assert!(line.contains(&format!("{} is not a file of this program", file.display())), "{what}: {line}");
        let (status, refused) = server.get("/api/rooms/lobby/messages?q=hello");
        assert!(status == 503 && refused.contains("unavailable"), "{what}: {status} {refused}");
        assert_eq!((server.get("/readyz").0, page(&server, "/api/rooms/lobby/messages").0.len()), (200, 1), "{what}");
        server.stop();
        for arguments in [&["history", "check"][..], &["history", "vacuum"], &["restore", "kept.db", "--replace"]] {
            let output = run(folder.path(), arguments);
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert!(!output.status.success(), "{what}, {arguments:?}: {said}");
            assert!(said.contains(file.to_str().unwrap()), "{what}, {arguments:?}: {said}");
        }
        assert!(theirs() == before, "{what}: the files are unchanged");
        // The index is created as soon as its name is free.
        fs::remove_file(&file).or_else(|_| fs::remove_dir(&file)).unwrap();
        assert!(run(folder.path(), &["history", "vacuum"]).status.success(), "{what}");
    };
    std::thread::scope(|scope| {
        for case in AT_THE_INDEX {
            scope.spawn(move || check(case));
        }
    });
}

#[actix_web::test]
async fn a_journal_of_somebody_else_beside_a_history_stays_whatever_the_command() {
    let folder = tempdir().unwrap();
    let server = starling().start(folder.path(), &[]);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    assert!(alice.try_send_json(&json!({"Message": "hello", "id": "1"})).await);
    alice.next_of("ack").await;
    server.stop();
    for (ending, is_empty) in [("-journal", false), ("-journal", true), ("-wal", false), ("-shm", false)] {
        let history = folder.path().join("data/starling.db");
        let whole = fs::read(&history).unwrap();
        if is_empty {
            // SQLite removes a journal beside an empty database.
            fs::write(&history, "").unwrap();
        }
        let file = folder.path().join(format!("data/starling.db{ending}"));
        fs::write(&file, "dear diary").unwrap();
        let before = files(&folder.path().join("data"));
        let path = history.to_str().unwrap();
        for arguments in [
            &["history", "check"][..],
            &["history", "export"],
            &["history", "vacuum"],
            &["history", "drop", "--room", "lobby"],
            &["backup", "new.db"],
            &["restore", path],
            &[],
        ] {
            let output = run(folder.path(), arguments);
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success(), "{ending}, {arguments:?}");
            assert!(said.contains("exists but is not a file of this program"), "{ending}, {arguments:?}: {said}");
            assert!(files(&folder.path().join("data")) == before, "{ending}, {arguments:?}: the files are unchanged");
        }
        fs::remove_file(&file).unwrap();
        fs::write(&history, whole).unwrap();
    }
}

#[test]
fn no_command_makes_a_file_with_a_name_that_belongs_to_a_history_or_beside_which_is_a_part_of_another() {
    let folder = tempdir().unwrap();
    starling().start(folder.path(), &[]).stop();
    let endings =
        ["-wal", "-shm", "-journal", ".lock", ".restoring", "-search", "-search-wal", "-search-shm", "-search-journal"];
    let before = files(&folder.path().join("data"));
    for name in endings.map(|ending| format!("starling.db{ending}")).into_iter().chain(["other.db-journal".into()]) {
        let path = format!("data/{name}");
        let is_there = folder.path().join(&path).exists();
        for (arguments, variables) in [
            (&["backup", &path][..], &[][..]),
            // A history at such a path would use a file of the other history.
            (&[], &[("CHAT_HISTORY_PATH", path.as_str())]),
            (&["restore", "data/starling.db"], &[("CHAT_HISTORY_PATH", path.as_str())]),
        ] {
            let output = starling().command(folder.path(), arguments, variables).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success(), "{name}, {arguments:?}");
            let reason = "these endings are reserved for the files of a history";
            assert!(said.contains(reason) && said.lines().count() == 1, "{name}, {arguments:?}: {said}");
            assert!(files(&folder.path().join("data")) == before, "{name}, {arguments:?}: {is_there}");
        }
    }
    for path in [":memory:", "file:new.db", "..", "data/"] {
        let output = run(folder.path(), &["backup", path]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("cannot write"), "{path}: {said}");
    }
    // An existing file that SQLite would use as a part of the new file belongs to another program.
    for ending in ["-wal", "-shm", "-journal"] {
        let beside = [
            ("new.db", &["backup", "new.db"][..]),
            ("data/starling.db.restoring", &["restore", "kept.db", "--replace"]),
        ];
        assert!(folder.path().join("kept.db").exists() || run(folder.path(), &["backup", "kept.db"]).status.success());
        for (name, arguments) in beside {
            let file = folder.path().join(format!("{name}{ending}"));
            fs::write(&file, "dear diary").unwrap();
            let output = run(folder.path(), arguments);
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(
                !output.status.success() && said.contains("exists but is not a file of this program"),
                "{ending}: {said}"
            );
            assert_eq!(fs::read_to_string(&file).unwrap(), "dear diary");
            fs::remove_file(&file).unwrap();
        }
    }
}
