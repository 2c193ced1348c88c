//! The search for the limit with the real program, against servers with a known limit.

use std::path::Path;
use std::process::Output;

use bot_swarm::find_limit::LimitReport;
use bot_swarm::report::document::Judgement;
use bot_swarm::report::folder;

use crate::process::{program, stderr, stdout};
use crate::reports::{ended, valid_json};
use crate::server::{Options, TestServer};

/// Searches from 8 to 32 bots for the limit of a server that serves at most `clients_max` clients.
async fn find_limit(clients_max: Option<usize>, folder: &Path) -> (Output, LimitReport) {
    let server = TestServer::with(Options { clients_max, ..Options::default() }).await;
    let mut command = program();
    command
        .args(["find-limit", "--server-url", &server.url(), "--find", "bots", "--expect", "clean, refused=0"])
        .args(["--find-start", "8", "--find-most", "32", "--find-seconds", "0.2"])
        .args(["--ramp-per-second", "10000", "--messages-per-second", "20", "--lateness-max-seconds", "60"])
        .arg("--report")
        .arg(folder);
    let output = ended(command).await;
    let found = serde_json::from_value(valid_json(&folder.join("limit.json"), "swarm-limit.schema.json"));
    (output, found.unwrap())
}

/// The number of bots in the run whose full report was kept.
fn bots_in(folder: &Path) -> u64 {
    assert!(folder.join(folder::PAGE).exists());
    folder::read(folder).unwrap().bots.connected
}

#[actix_rt::test]
async fn the_limit_that_is_found_is_the_limit_that_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let (output, found) = find_limit(Some(12), folder.path()).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(
        stdout(&output).starts_with("LIMIT: 12 bots keep clean, refused=0, 13 do not\n"),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    assert_eq!((found.highest_kept, found.lowest_broken, found.lowest_invalid), (Some(12), Some(13), None));
    for run in &found.loads {
        let should = if run.load <= 12 { Judgement::Kept } else { Judgement::Broken };
        assert_eq!(run.judgement, should, "{run:?}");
    }
    assert_eq!(bots_in(&folder.path().join("kept")), 12);
    assert_eq!(bots_in(&folder.path().join("not-kept")), 13);
}

#[actix_rt::test]
async fn a_server_that_does_not_keep_even_the_least_load_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let (output, found) = find_limit(Some(0), folder.path()).await;
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).starts_with("BROKEN: not even a load of 1 (bots) keeps "), "{}", stdout(&output));
    assert_eq!((found.highest_kept, found.lowest_broken), (None, Some(1)));
    assert_eq!(bots_in(&folder.path().join("not-kept")), 1);
    assert!(!folder.path().join("kept").exists());
}

#[actix_rt::test]
async fn a_server_that_keeps_even_the_most_ends_with_0_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (output, found) = find_limit(None, folder.path()).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).starts_with("NO LIMIT: even 32 bots, the most allowed, keep "), "{}", stdout(&output));
    assert_eq!((found.highest_kept, found.lowest_broken), (Some(32), None));
    assert_eq!(bots_in(&folder.path().join("kept")), 32);
    assert!(!folder.path().join("not-kept").exists());
}

/// Runs a search against this URL, and returns its output.
async fn search_at(url: &str, arguments: &[&str]) -> Output {
    let mut command = program();
    command
        .args(["find-limit", "--server-url", url, "--find-start", "8", "--find-most", "32", "--find-seconds", "0.2"])
        .args(["--ramp-per-second", "10000", "--lateness-max-seconds", "60", "--drain-seconds", "0.5"])
        .args(arguments);
    ended(command).await
}

#[actix_rt::test]
async fn a_server_that_is_not_there_has_no_limit_and_ends_with_4() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = search_at(&format!("ws://{unused}/ws"), &[]).await;
    assert_eq!(output.status.code(), Some(4), "{}{}", stdout(&output), stderr(&output));
    let line = stdout(&output).lines().next().unwrap();
    assert!(line.starts_with("INVALID: no bot was connected (") && line.contains("no server listens"), "{line}");
    assert!(
        line.ends_with("(at 8 bots); bots that keep p99<250ms, clean: none known, that do not: none known"),
        "{line}"
    );
    assert!(stdout(&output).contains("\n         8  invalid "), "{}", stdout(&output));
}

#[actix_rt::test]
async fn a_server_that_dies_during_the_search_is_no_limit_and_what_was_known_is_told() {
    let server = TestServer::with(Options { stops_after: Some(150), ..Options::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().to_str().unwrap();
    let arguments = ["--messages-per-second", "20", "--expect", "connected>=1, done>=50%", "--report", report];
    let output = search_at(&server.url(), &arguments).await;
    assert_eq!(output.status.code(), Some(4), "{}{}", stdout(&output), stderr(&output));
    let line = stdout(&output).lines().next().unwrap();
    assert!(line.starts_with("INVALID: no bot was connected ("), "{line}");
    assert!(
        line.contains("; bots that keep connected>=1, done>=50%: ") && !line.contains(": none known, that"),
        "{line}"
    );
    let json = valid_json(&folder.path().join("limit.json"), "swarm-limit.schema.json");
    assert_eq!((json["isUnmeasured"].as_bool(), json["lowestBroken"].as_u64()), (Some(true), None));
}

#[actix_rt::test]
async fn a_load_in_which_nothing_happens_is_not_called_broken() {
    let server = TestServer::start().await;
    let output = search_at(&server.url(), &["--messages-per-second", "0"]).await;
    assert_eq!(output.status.code(), Some(4), "{}{}", stdout(&output), stderr(&output));
    let line = stdout(&output).lines().next().unwrap();
    assert!(line.starts_with("INVALID: nothing was measured of p99<250ms: hold each load longer"), "{line}");
}

#[actix_rt::test]
async fn a_load_that_kept_what_was_expected_and_was_none_is_told_in_the_first_line() {
    let seats = Options { seats: Some(4), ..Options::default() };
    let cases =
        [(seats, "20", "4 of 32 bots were connected; not clean: "), (Options::default(), "0", "no message was sent)")];
    for (options, rate, unsaid) in cases {
        let server = TestServer::with(options).await;
        let output = search_at(&server.url(), &["--messages-per-second", rate, "--expect", "lost=0"]).await;
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
        let line = stdout(&output).lines().next().unwrap();
        let kept = "NO LIMIT: even 32 bots, the most allowed, keep lost=0 (at 32 bots: ";
        assert!(line.strip_prefix(kept).is_some_and(|rest| rest.starts_with(unsaid)), "{line}");
    }
}
