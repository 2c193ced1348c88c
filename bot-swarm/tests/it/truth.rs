//! The verdict of the program about a server that fails in a known way: its first line, and its exit code.

use std::process::Output;

use bot_swarm::report::document::Report;
use bot_swarm::report::folder;
use tempfile::TempDir;

use crate::process::{program, stderr, stdout};
use crate::reports::ended;
use crate::server::{Fault, Options, TestServer};

/// Bots of each run, each of which says 20 messages a second for [`SECONDS`].
const BOTS: u32 = 10;
const SECONDS: &str = "1.5";

/// A run of the program against a server, with its report.
struct Run {
    output: Output,
    report: Report,
    server: TestServer,
    _folder: TempDir,
}

impl Run {
    async fn with(options: Options, expect: &str) -> Self {
        let server = TestServer::with(options).await;
        let folder = tempfile::tempdir().unwrap();
        let mut command = program();
        command
            .args(["--server-url", &server.url(), "--count", &BOTS.to_string(), "--ramp-per-second", "1000"])
            .args(["--messages-per-second", "20", "--seconds", SECONDS, "--drain-seconds", "0.5"])
            .args(["--lateness-max-seconds", "60", "--expect", expect, "--server-metrics", "off"])
            .arg("--report")
            .arg(folder.path());
        let output = ended(command).await;
        let report = folder::read(folder.path()).unwrap();
        Self { output, report, server, _folder: folder }
    }

    fn first_line(&self) -> &str {
        stdout(&self.output).lines().next().unwrap_or_default()
    }

    /// The verdict must begin like this, and name all of these.
    fn must_say(&self, code: i32, start: &str, parts: &[&str]) {
        let told = format!("{}{}", stdout(&self.output), stderr(&self.output));
        assert!(self.first_line().starts_with(start), "{told}");
        for part in parts {
            assert!(self.first_line().contains(part), "{part}: {told}");
        }
        assert_eq!(self.output.status.code(), Some(code), "{told}");
    }

    /// A percentile of a latency, in milliseconds.
    fn p99(&self, kind: &str) -> f64 {
        self.report.latencies[kind].percentiles.p99
    }

    /// Every planned message has one outcome.
    fn must_add_up(&self) {
        let messages = &self.report.messages;
        assert_eq!(messages.planned, messages.done + messages.refused + messages.not_done, "{messages:?}");
        // 10 bots, 20 messages a second, 1.5 s; the first of each comes within a twentieth of a second.
        assert!((280..=320).contains(&messages.planned), "{messages:?}");
    }
}

#[actix_rt::test]
async fn a_server_that_keeps_everything_is_said_to() {
    let run = Run::with(Options::default(), "clean, connected>=99%, done>=99.9%, away=0, connected>=10").await;
    run.must_say(0, "KEPT: clean, connected>=99%, done>=99.9%, away=0, connected>=10", &[]);
    run.must_add_up();
    assert_eq!((run.report.messages.not_done, run.report.bots.never_connected), (0, 0));
}

#[actix_rt::test]
async fn a_server_that_stops_and_stays_away_is_charged_with_everything_that_was_not_done() {
    let run =
        Run::with(Options { stops_after: Some(100), ..Options::default() }, "clean, p99<250ms, done>=99.9%").await;
    let parts = ["due and never sent", "10 bots away at the end", "; p99<250ms: ", "; done>=99.9%: 3"];
    run.must_say(1, "BROKEN: clean: ", &parts);
    run.must_add_up();
    let messages = &run.report.messages;
    assert!(messages.done <= 110 && messages.not_done >= 180, "{messages:?}");
    // The server is away for a second, and half a second is waited for it: what was planned at once waits for both.
    for kind in ["delivery", "ack", "completion", "lateness", "resume"] {
        assert!(run.p99(kind) > 1_000.0, "{kind}: {}", run.p99(kind));
    }
    // Every message is charged at each of its receivers.
    assert_eq!(run.report.latencies["ack"].percentiles.count, messages.planned);
    let deliveries = run.report.latencies["delivery"].percentiles.count;
    assert!(deliveries >= messages.planned * 95 / 10 && deliveries <= messages.planned * 10, "{deliveries}");
}

#[actix_rt::test]
async fn a_server_that_takes_only_some_bots_is_charged_with_the_others() {
    let run =
        Run::with(Options { seats: Some(4), ..Options::default() }, "clean, connected>=99%, connect.p99<1s").await;
    let parts =
        ["6 bots never connected", "due and never sent", "connected>=99%: 40.0000% (4 of 10)", "connect.p99<1s: "];
    run.must_say(1, "BROKEN: clean: ", &parts);
    run.must_add_up();
    assert!(run.report.errors["HTTP 503"] >= 6, "{:?}", run.report.errors);
}

#[actix_rt::test]
async fn a_server_that_falls_mute_is_charged_with_what_it_did_not_answer() {
    let run = Run::with(Options { mute_after: Some(100), ..Options::default() }, "clean, ack.p99<250ms").await;
    run.must_say(1, "BROKEN: clean: ", &["sent and never answered", "; ack.p99<250ms: "]);
    run.must_add_up();
    assert!(run.p99("ack") > 1_000.0 && run.p99("delivery") > 1_000.0, "{:?}", run.report.latencies);
}

#[actix_rt::test]
async fn a_server_that_is_mute_from_the_first_is_never_said_to_keep_anything() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = program();
    let url = format!("ws://{}/ws", silent.local_addr().unwrap());
    command.args(["--server-url", &url, "--count", "3", "--seconds", "0.5"]);
    let output = ended(command).await;
    assert!(stdout(&output).starts_with("BROKEN: bots: no bot was connected"), "{}", stdout(&output));
    assert_eq!(output.status.code(), Some(1));
}

#[actix_rt::test]
async fn a_server_that_stalls_and_goes_on_keeps_everything_but_the_latencies() {
    let run = Run::with(Options { stalls_after: Some(100), ..Options::default() }, "clean, p99<250ms").await;
    run.must_say(1, "BROKEN: p99<250ms: ", &[]);
    run.must_add_up();
    assert_eq!(run.report.messages.not_done, 0);
    let run = Run::with(Options { stalls_after: Some(100), ..Options::default() }, "clean").await;
    run.must_say(0, "KEPT: clean", &[]);
}

#[actix_rt::test]
async fn a_server_that_refuses_messages_without_need_is_not_said_to_keep_anything() {
    let run = Run::with(Options { clients_max: Some(0), ..Options::default() }, "clean").await;
    run.must_say(1, "BROKEN: clean: ", &["refused without need"]);
    run.must_add_up();
    assert_eq!(run.report.messages.done, 0);
}

#[actix_rt::test]
async fn a_server_that_drops_one_delivery_in_a_thousand_is_found_out() {
    let run = Run::with(Options { drops_every: 1_000, ..Options::default() }, "clean, p99.99<400ms").await;
    let lost = run.server.dropped();
    assert!(lost >= 2, "{lost}");
    run.must_say(1, &format!("BROKEN: clean: {lost} lost; p99.99<400ms: "), &[]);
    run.must_add_up();
    assert_eq!(run.report.ledger.lost, lost);
    // What did not come is as long under way as anybody waited for it.
    assert_eq!(run.report.latencies["delivery"].percentiles.count, run.report.ledger.expected);
}

#[actix_rt::test]
async fn a_server_that_doubles_or_swaps_deliveries_is_found_out() {
    for (fault, line) in
        [(Fault::DoubleDelivery, "BROKEN: clean: 3 twice"), (Fault::SwapDeliveries, "BROKEN: clean: 3 out of order")]
    {
        let run = Run::with(Options { fault: Some(fault), ..Options::default() }, "clean").await;
        run.must_say(1, line, &[]);
        assert_eq!(run.first_line(), line);
    }
}

#[actix_rt::test]
async fn a_server_that_says_everything_was_recovered_and_gives_nothing_is_found_out() {
    let options = Options { cuts_after: Some(100), forges_recovery: true, ..Options::default() };
    let run = Run::with(options, "clean").await;
    run.must_say(1, "BROKEN: clean: ", &[" lost"]);
    let ledger = &run.report.ledger;
    assert!(ledger.lost > 0 && ledger.lost_and_told == 0, "{ledger:?}");
    let honest = Run::with(Options { forges_recovery: false, ..options }, "clean").await;
    honest.must_say(0, "KEPT: clean", &[]);
}
