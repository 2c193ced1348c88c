//! Comparisons of two reports.

use std::path::Path;

use bot_swarm::report::document::Judgement;
use bot_swarm::report::folder;

use crate::process::{program, stderr, stdout};
use crate::reports::{ended, reported};
use crate::server::{Fault, Options, TestServer};

#[actix_rt::test]
async fn two_reports_are_compared_and_what_got_worse_ends_with_1() {
    let (good, bad) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    reported(&TestServer::start().await, good.path()).await;
    let losing = TestServer::with(Options { fault: Some(Fault::LoseDelivery), ..Options::default() }).await;
    reported(&losing, bad.path()).await;

    let compare = async |before: &Path, now: &Path| {
        let mut command = program();
        command.arg("compare").arg(before.join(folder::JSON)).arg(now);
        ended(command).await
    };
    let worse = compare(good.path(), bad.path()).await;
    assert_eq!(worse.status.code(), Some(1), "{}{}", stdout(&worse), stderr(&worse));
    assert!(stdout(&worse).starts_with("WORSE: "), "{}", stdout(&worse));
    assert!(stdout(&worse).lines().any(|line| line.starts_with("worse   lost ")), "{}", stdout(&worse));
    let mut invalid = folder::read(good.path()).unwrap();
    invalid.verdict.judgement = Judgement::Invalid;
    let other = tempfile::tempdir().unwrap();
    folder::write(other.path(), &invalid).unwrap();
    for (before, now, line) in
        [(good.path(), other.path(), "INVALID: the run now "), (other.path(), good.path(), "INVALID: the run before ")]
    {
        let nothing = compare(before, now).await;
        assert_eq!(
            (nothing.status.code(), stdout(&nothing).starts_with(line)),
            (Some(2), true),
            "{}",
            stdout(&nothing)
        );
    }
    let dead = tempfile::tempdir().unwrap();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = program();
    command.args(["--server-url", &format!("ws://{unused}/ws"), "--count", "2", "--seconds", "0.3", "--report"]);
    command.arg(dead.path());
    assert_eq!(ended(command).await.status.code(), Some(1));
    for (before, now, line, code) in [
        (dead.path(), dead.path(), "INVALID: no bot was connected in both runs, ", 2),
        (dead.path(), good.path(), "INVALID: no bot was connected in the run before, ", 2),
        (good.path(), dead.path(), "WORSE: ", 1),
    ] {
        let output = compare(before, now).await;
        assert_eq!(
            (output.status.code(), stdout(&output).starts_with(line)),
            (Some(code), true),
            "{}",
            stdout(&output)
        );
    }
    let same = compare(good.path(), good.path()).await;
    assert_eq!((same.status.code(), stdout(&same).starts_with("SAME: ")), (Some(0), true), "{}", stdout(&same));
}

#[actix_rt::test]
async fn what_is_no_report_is_said_in_one_line_and_ends_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    let other = write("other.json", r#"{"schemaVersion":99}"#);
    let cases = [
        (folder.path().join("nowhere.json"), "nowhere.json"),
        (write("empty.json", "{}"), "is not a report"),
        (other, "is a report of version 99"),
    ];
    for (path, reason) in cases {
        let mut command = program();
        command.arg("compare").arg(&path).arg(&path);
        let output = ended(command).await;
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
}
