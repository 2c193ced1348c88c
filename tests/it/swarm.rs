//! Bots against the real server: nothing lost, doubled, reordered or misdelivered.

use std::net::SocketAddr;

use bot_swarm::ledger::Tally;
use bot_swarm::report::document::{Judgement, Report};
use bot_swarm::report::folder;
use bot_swarm::{Config, Outcome, StopHandle, progress};
use tempfile::TempDir;
use test_kit::process::Signal;
use test_kit::{Client, Process, figures_when, raw};

use crate::harness::{TestServer, bot_swarm, starling};
use crate::shutdown::everybody_talks;

/// The number of bots of each process of a swarm with several.
const BOTS: u32 = 20;

/// Runs bots against a server until there are this many deliveries.
async fn run(server: &TestServer, config: Config, deliveries: f64) -> Outcome {
    let config = Config { server_url: format!("ws://{}/ws", server.address()), ..config };
    run_until(config, delivered(server, deliveries)).await
}

async fn delivered(server: &TestServer, deliveries: f64) {
    figures_when(server, "enough deliveries", |figures| figures.value("chat_deliveries_total", &[]) >= deliveries)
        .await;
}

/// Runs bots until this is done.
async fn run_until(config: Config, done: impl Future<Output = ()>) -> Outcome {
    let config = Config { name_prefix: "bot".into(), ramp_per_second: 10_000.0, ..config };
    let stop = StopHandle::new();
    let mut silent = progress::Silent;
    let running = bot_swarm::run(&config, &stop, &mut silent);
    let stopping = async {
        done.await;
        stop.stop();
    };
    let (report, ()) = tokio::join!(running, stopping);
    report.unwrap()
}

const OPERATOR: &str = "letmein-letmein-letmein";

/// An operator's request.
async fn operates(server: &TestServer, method: &str, path: &str, body: &str) {
    let head = format!("Authorization: Bearer {OPERATOR}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answer = raw::http(server, method, path, &head).await;
    assert!((200..300).contains(&answer.status), "{method} {path}: {}", answer.body);
}

#[actix::test]
async fn three_hundred_bots_get_everything_once_and_in_order() {
    let server = TestServer::start(&[]);
    let config = Config {
        count: 300,
        rooms: 6,
        messages_per_second: 2.0,
        behaviours: "chatter=9,private=1".parse().unwrap(),
        ..Config::default()
    };
    let report = run(&server, config, 50_000.0).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.stats.counters.ever_connected, 300);
    assert!(report.tally.received >= 50_000, "{report}");
    assert_eq!(report.tally.expected, report.tally.received, "{report}");
}

#[actix::test]
async fn the_printed_report_names_what_limited_the_server_without_a_folder_for_it() {
    let server = TestServer::start(&[]);
    let server_url = format!("ws://{}/ws", server.address());
    // The server's metrics are read once a second.
    let config = Config { server_url, count: 2, seconds: 4.0, ..Config::default() };
    let report = bot_swarm::run(&config, &StopHandle::new(), &mut progress::Silent).await.unwrap().to_string();
    assert!(report.lines().any(|line| line.starts_with("server      ") && line.len() > 20), "{report}");
}

#[actix::test]
async fn bots_that_edit_delete_and_react_get_every_change_once_in_order_and_no_deleted_text() {
    let server = TestServer::start(&[]);
    let config = Config {
        count: 60,
        rooms: 2,
        messages_per_second: 2.0,
        change_seconds: 0.2,
        churn_seconds: 0.5,
        behaviours: "editor=2,reactor=2,churner=1,chatter=1".parse().unwrap(),
        ..Config::default()
    };
    let report = run(&server, config, 20_000.0).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.tally.expected, report.tally.received, "{report}");
    for kind in ["edit", "deletion", "reaction"] {
        figures_when(&server, kind, |figures| figures.value("chat_changes_total", &[("kind", kind)]) > 10.0).await;
    }
}

#[actix::test]
async fn bots_that_say_how_far_they_have_read_are_told_the_same() {
    let server = TestServer::start(&[("CHAT_SEEN_BY", "true")]);
    let config = Config {
        count: 40,
        rooms: 2,
        messages_per_second: 2.0,
        change_seconds: 0.2,
        behaviours: "reader=3,chatter=1".parse().unwrap(),
        ..Config::default()
    };
    let report = run(&server, config, 4_000.0).await;
    assert!(report.is_clean(), "{report}");
    figures_when(&server, "the readers", |figures| figures.value("chat_read_positions", &[]) >= 30.0).await;
}

#[actix::test]
async fn bots_that_type_are_seen_to_type() {
    let server = TestServer::start(&[]);
    let (mut watcher, _) = Client::enter(&server, "/ws?clientId=watcher").await;
    let config = Config {
        count: 20,
        rooms: 1,
        messages_per_second: 2.0,
        behaviours: "typist=3,chatter=1".parse().unwrap(),
        ..Config::default()
    };
    let watching = async {
        let told = watcher.next_of("typing").await;
        let typists = told["clientIds"].as_array().unwrap();
        assert!(!typists.is_empty() && typists.iter().all(|it| it.as_str().unwrap().starts_with("bot")), "{told}");
    };
    let (report, ()) = tokio::join!(run(&server, config, 1_000.0), watching);
    assert!(report.is_clean(), "{report}");
    let typing = report.stats.counters.typing_sent;
    assert!(typing > 0 && report.to_string().contains(&format!("\ntyping      {typing} sent\n")), "{report}");
}

#[actix::test]
async fn bots_that_come_back_to_rooms_that_hide_their_history_miss_nothing_of_what_is_for_them() {
    let server = TestServer::start(&[("CHAT_ADMIN_TOKEN", OPERATOR)]);
    for room in ["room-0", "room-1"] {
        let body = r#"{"newcomersSeeHistory":false,"retention":{"messages":100000}}"#;
        operates(&server, "POST", &format!("/api/rooms/{room}/settings"), body).await;
    }
    let config = Config {
        count: 60,
        rooms: 2,
        messages_per_second: 2.0,
        change_seconds: 0.2,
        churn_seconds: 0.5,
        behaviours: "editor=2,reactor=1,churner=3,reader=1,hopper=1".parse().unwrap(),
        ..Config::default()
    };
    let report = run(&server, config, 20_000.0).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.tally.expected, report.tally.received, "{report}");
    assert!(report.stats.resume.count() > 20, "{report}");
}

#[actix::test]
async fn bots_that_have_to_leave_their_room_say_nothing_there_and_the_report_names_the_reason() {
    const BOTS_HERE: u32 = 10;
    let ban = r#"{"measure":"ban","address":"127.0.0.1","room":"talk"}"#;
    // What an operator does, the code of the refusal, and whether the bots come back.
    for (method, path, body, code, come_back) in [
        ("POST", "/api/rooms/talk/settings", r#"{"access":"invited"}"#, Some("not_invited"), false),
        ("POST", "/api/moderation/sanctions", ban, Some("banned"), false),
        ("DELETE", "/api/rooms/talk", "", None, true),
    ] {
        let server = TestServer::start(&[("CHAT_ADMIN_TOKEN", OPERATOR)]);
        let server_url = format!("ws://{}/ws/talk", server.address());
        let config =
            Config { server_url, count: BOTS_HERE, messages_per_second: 20.0, drain_seconds: 1.0, ..Config::default() };
        let report = run_until(config, async {
            delivered(&server, 500.0).await;
            operates(&server, method, path, body).await;
            if come_back {
                delivered(&server, 5_000.0).await;
            } else {
                figures_when(&server, "nobody is here", |figures| figures.value("chat_connections", &[]) == 0.0).await;
            }
        });
        let report = report.await;
        let told = report.to_string();
        assert_eq!(report.stats.counters.refused_unprovoked, 0, "{told}");
        assert_eq!(report.away, if come_back { 0 } else { BOTS_HERE.into() }, "{told}");
        assert_eq!(report.stats.errors["had to leave its room"], u64::from(BOTS_HERE), "{told}");
        assert!(told.contains("\n  had to leave its room: an operator has "), "{told}");
        let Tally { expected, received, lost, lost_and_told, .. } = report.tally;
        assert_eq!((lost, lost), (lost_and_told, expected - received), "{told}");
        if let Some(code) = code {
            assert_eq!(report.stats.errors[code], u64::from(BOTS_HERE), "{told}");
            assert!(report.stats.errors.contains_key(&format!("HTTP 403 {code}")), "{told}");
            assert!(told.contains(&format!("\n  {code}: ")), "{told}");
        }
    }
}

#[actix::test]
async fn bots_that_flood_one_room_lose_nothing() {
    // Outboxes large enough for as long as a busy machine may keep the bots from reading.
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_OUTBOX_BYTES", "67108864")]);
    let config = Config {
        count: 50,
        messages_per_second: 100.0,
        message_bytes: (48..=2_048).into(),
        workers: 2,
        // The bots plan more messages than any server can handle here; the sent ones must be delivered nevertheless.
        drain_seconds: 40.0,
        ..Config::default()
    };
    let report = run(&server, config, 100_000.0).await;
    assert!(report.tally.is_clean(), "{report}");
    assert_eq!((report.unanswered, report.away), (0, 0), "{report}");
    assert_eq!(report.tally.expected, report.tally.received, "{report}");
}

/// One process of a swarm; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct SwarmProcess {
    process: Process,
    folder: TempDir,
}

impl SwarmProcess {
    /// Starts twenty bots that send until they are stopped, in rooms that they share with the bots of other processes.
    fn start(name_prefix: &str, server: SocketAddr) -> Self {
        Self::start_with(&[
            ("BOT_SERVER_URL", &format!("ws://{server}/ws")),
            ("BOT_NAME_PREFIX", name_prefix),
            ("BOT_COUNT", &BOTS.to_string()),
            ("BOT_ROOMS", "4"),
            ("BOT_BEHAVIOURS", "chatter=3,lurker=1"),
            ("BOT_MESSAGES_PER_SECOND", "5"),
        ])
    }

    /// Starts bots with these settings; all connect at once, and the swarm's own delays are tolerated.
    pub(crate) fn start_with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let patient = [
            ("BOT_REPORT", folder.path().to_str().unwrap()),
            ("BOT_RAMP_PER_SECOND", "1000"),
            ("BOT_DRAIN_SECONDS", "20"),
            ("BOT_LATENESS_MAX_SECONDS", "3600"),
            ("BOT_SERVER_METRICS", "off"),
        ];
        let process = Process::spawn(bot_swarm().with(&patient).command(folder.path(), &[], settings));
        Self { process, folder }
    }

    /// Tells it to stop.
    pub(crate) fn stop(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Waits for its end, and returns its exit code and its report.
    pub(crate) async fn report(mut self) -> (Option<i32>, Report) {
        let code = self.process.exit_code().await;
        (code, folder::read(self.folder.path()).unwrap())
    }
}

#[actix::test]
async fn a_swarm_of_many_processes_comes_through_a_restart_and_a_crash_of_the_server_with_clean_ledgers() {
    let folder = tempfile::tempdir().unwrap();
    let start = |bind: &str| starling().start(folder.path(), &[("CHAT_BIND", bind), ("CHAT_DRAIN_SECONDS", "2")]);
    let mut server = start("127.0.0.1:0");
    let address = server.address();
    let swarm = ["anna", "bert", "cleo"].map(|name_prefix| SwarmProcess::start(name_prefix, address));
    for (signal, code) in [(Signal::TERM, Some(0)), (Signal::KILL, None)] {
        everybody_talks(address, 3 * BOTS).await;
        server.signal(signal);
        assert_eq!(server.exit_code().await, code);
        server = start(&address.to_string());
    }
    everybody_talks(address, 3 * BOTS).await;
    swarm.iter().for_each(SwarmProcess::stop);
    for process in swarm {
        let (_, report) = process.report().await;
        assert_eq!(report.verdict.judgement, Judgement::Kept, "{report}");
        assert!(report.ledger.faults().iter().all(|(_, count)| *count == 0), "{report}");
        assert_eq!(report.ledger.expected, report.ledger.received, "{report}");
        assert_eq!((report.messages.unanswered, report.bots.away), (0, 0), "{report}");
        let twice = 2 * u64::from(BOTS);
        assert_eq!(report.bots.reconnects, twice, "{report}");
        // A bot that had not resumed yet when the server crashed has one resume instead of two.
        let resumed = report.latencies["resume"].percentiles.count;
        assert!((u64::from(BOTS)..=twice).contains(&resumed), "{report}");
    }
}
