//! The server's behaviour when the machine's clock is set: durations use the monotonic clock.
//!
//! libfaketime sets the clock of the real binary only, while it runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_http::header::HttpDate;
use rustix::process::Signal;
use serde_json::json;
use test_kit::token::{self, JWT};
use test_kit::{Client, LOOK, Process, raw, within};
use tokio::time::Instant;

use crate::harness::{bot_swarm, starling};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// The library that intercepts a program's calls to the clock.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).filter(|path| path.exists());
    found.next().expect("libfaketime is there: scripts/install-test-tools installs it")
}

/// A server whose wall clock can be set.
struct Server {
    process: Process,
    clock: PathBuf,
    folder: tempfile::TempDir,
}

impl Server {
    fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), 0, variables)
    }

    /// Starts a server in a folder, with its clock off by this many seconds.
    fn start_in(folder: tempfile::TempDir, offset: i64, variables: &[(&str, &str)]) -> Self {
        let clock = folder.path().join("clock");
        set(&clock, offset);
        let library = library();
        let fake = [
            ("LD_PRELOAD", library.to_str().unwrap()),
            ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("CHAT_BIND", "127.0.0.1:0"),
        ];
        let process = starling().start(folder.path(), &[&fake, variables].concat());
        Self { process, clock, folder }
    }

    /// Sets the clock off by this many seconds, and waits until the server reports that time.
    async fn set_clock(&self, offset: i64) {
        set(&self.clock, offset);
        within(format!("the clock is {offset} s off"), async {
            while (self.seconds_off().await - offset).abs() > 5 {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }

    /// The number of seconds by which the server's clock is off.
    async fn seconds_off(&self) -> i64 {
        let answer = raw::http(self.process.address(), "GET", "/healthz", "Connection: close\r\n").await;
        let said: HttpDate = answer.header("date").unwrap().parse().unwrap();
        let seconds = |at: SystemTime| i64::try_from(at.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        seconds(said.into()) - seconds(SystemTime::now())
    }

    /// The stored messages of the lobby.
    async fn stored(&self) -> String {
        raw::http(self.process.address(), "GET", "/api/rooms/lobby/messages", "Connection: close\r\n").await.body
    }
}

/// Sets a clock, atomically for all threads.
fn set(clock: &Path, offset: i64) {
    let new = clock.with_extension("new");
    fs::write(&new, format!("{offset:+}")).unwrap();
    fs::rename(new, clock).unwrap();
}

/// A connection that ends by itself, with the earliest time of its end.
struct Ending {
    what: &'static str,
    not_before: Instant,
    client: Client,
}

/// A page's connection that never presents a token, and one with a token that is valid for ten seconds.
async fn endings(server: &Server) -> [Ending; 2] {
    let address = server.process.address();
    let begun = Instant::now();
    let proven =
        Client::connect(address, &format!("/ws?token={}", token::issue(&starling(), &["alice", "--seconds", "10"])))
            .await;
    // A token expires at a whole second.
    let proven = Ending { what: "whose token expires", not_before: begun + Duration::from_secs(9), client: proven };
    let begun = Instant::now();
    let mut unproven = Client::open_as_page(address, "/ws").await;
    unproven.expect(r#"{"type":"error","code":"unauthorized"}"#).await;
    [proven, Ending { what: "without a token", not_before: begun + Duration::from_secs(10), client: unproven }]
}

#[actix::test]
async fn a_clock_that_is_set_makes_no_connection_longer_or_shorter() {
    let cases = [-HOUR, HOUR, -2 * DAY, 2 * DAY].map(|offset| (offset, Server::start(&JWT)));
    futures_util::future::join_all(cases.map(|(offset, server)| async move {
        let endings = endings(&server).await;
        server.set_clock(offset).await;
        futures_util::future::join_all(endings.map(|Ending { what, not_before, mut client }| async move {
            client.expect(r#"{"type":"error","code":"unauthorized"}"#).await;
            let early = not_before.saturating_duration_since(Instant::now());
            assert!(early.is_zero(), "with the clock {offset} s off a connection {what} ends {early:?} too early");
            client.expect_close(1008).await;
        }))
        .await;
    }))
    .await;
}

#[actix::test]
async fn whether_a_token_holds_follows_the_clock_when_it_is_shown() {
    let server = Server::start(&JWT);
    let path = format!("/ws?token={}", token::issue(&starling(), &["alice", "--seconds", "600"]));
    for (offset, status) in [(0, 101), (HOUR, 401), (-HOUR, 101), (2 * DAY, 401), (0, 101)] {
        server.set_clock(offset).await;
        let mut stream = raw::Raw::open(server.process.address()).await;
        assert_eq!(stream.ask_for_websocket(&path, "").await.status, status, "with the clock {offset} s off");
    }
}

#[actix::test]
async fn a_clock_that_is_wrong_for_a_moment_drops_nothing_that_is_fresh() {
    let server = Server::start(&[("CHAT_HISTORY_KEEP_SECONDS", "6")]);
    let mut alice = Client::connect(server.process.address(), "/ws?clientId=alice").await;
    alice.send_json(&json!({"Message": "old"})).await;
    alice.expect(r#"{"type":"message","Message":"old"}"#).await;
    // Retention works, and has started to trust the clock.
    within("what is old is dropped", async {
        while server.stored().await.contains("old") {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    for (number, offset) in [2 * DAY, -2 * DAY, 2 * DAY].into_iter().enumerate() {
        let fresh = format!("fresh{number}");
        alice.send_json(&json!({"Message": fresh})).await;
        alice.expect(&json!({"type": "message", "Message": fresh}).to_string()).await;
        server.set_clock(offset).await;
        // Retention runs once a second: it must see the wrong clock.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            assert!(server.stored().await.contains(&fresh), "{fresh} is dropped with the clock {offset} s off");
            tokio::time::sleep(LOOK).await;
        }
        server.set_clock(0).await;
        assert!(server.stored().await.contains(&fresh), "{fresh} is dropped after the clock was {offset} s off");
    }
    within("what has become old is dropped once the clock goes evenly", async {
        while server.stored().await.contains("fresh") {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

#[actix::test]
async fn a_start_with_a_clock_that_is_wrong_by_years_says_so_and_drops_nothing() {
    let keep = [("CHAT_HISTORY_KEEP_SECONDS", "86400")];
    let mut server = Server::start(&keep);
    let mut alice = Client::connect(server.process.address(), "/ws?clientId=alice").await;
    alice.send_json(&json!({"Message": "fresh"})).await;
    alice.expect(r#"{"type":"message","Message":"fresh"}"#).await;
    for offset in [3 * 365 * DAY, -3 * 365 * DAY] {
        server.process.signal(Signal::TERM);
        assert_eq!(server.process.exit_code().await, Some(0));
        server = Server::start_in(server.folder, offset, &keep);
        server.process.line_with("the clock may be wrong");
        assert!(server.stored().await.contains("fresh"), "with the clock {offset} s off");
    }
}

#[actix::test]
async fn a_clock_that_is_wrong_at_a_start_forgets_no_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("/ws?token={}", token::issue(&starling(), &["alice", "--seconds", "600"]));
    let mut server = Server::start_in(folder, 0, &JWT);
    let send = json!({"Message": "once", "id": "m"});
    let mut alice = Client::connect(server.process.address(), &path).await;
    alice.send_json(&send).await;
    alice.expect(r#"{"type":"ack","id":"m"}"#).await;
    for offset in [HOUR, 2 * DAY, -HOUR, 0] {
        server.process.signal(Signal::TERM);
        assert_eq!(server.process.exit_code().await, Some(0));
        server = Server::start_in(server.folder, offset, &JWT);
        server.set_clock(0).await;
        let mut alice = Client::connect(server.process.address(), &path).await;
        alice.send_json(&send).await;
        let ack = alice.expect(r#"{"type":"ack","id":"m"}"#).await;
        assert_eq!(ack["duplicate"], true, "started with the clock {offset} s off: {ack}");
    }
}

#[test]
fn a_clock_that_no_date_can_tell_stops_the_start_of_both_programs_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    for offset in [-100 * 365 * DAY, 9_000 * 365 * DAY] {
        set(&clock, offset);
        let server = starling().command(folder.path(), &[], &[("CHAT_BIND", "127.0.0.1:0")]);
        let check = starling().command(folder.path(), &["history", "check"], &[]);
        let bots = bot_swarm().command(folder.path(), &[], &[]);
        for (mut command, code) in [(server, 1), (check, 1), (bots, 3)] {
            command.env("FAKETIME_TIMESTAMP_FILE", &clock).env("LD_PRELOAD", library());
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(code) && said.lines().count() == 1, "{command:?}: {output:?}");
            assert!(said.contains("the clock of this machine is before 1970 or after 9999"), "{said}");
        }
    }
}
