//! The program's verdict about a server that fails in a known way: first line and exit code.

use std::time::Duration;

use bot_swarm::Config;
use futures_util::future::join_all;
use starling_protocol::ErrorCode;

use crate::process::{program, stderr, stdout};
use crate::reports::ended;
use crate::run::Run;
use crate::server::{Alteration, Fault, Options, TestServer};
use crate::{config, run_until, wait_until};

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
    // The server is away for a second, and the drain takes another half: the first planned messages wait for both.
    for kind in ["delivery", "ack", "completion", "lateness", "resume"] {
        assert!(run.p99(kind) > 1_000.0, "{kind}: {}", run.p99(kind));
    }
    // Every message is charged at each of its receivers.
    assert_eq!(run.report.latencies["ack"].percentiles.count, messages.planned);
    let deliveries = run.report.latencies["delivery"].percentiles.count;
    assert!(deliveries >= messages.planned * 95 / 10 && deliveries <= messages.planned * 10, "{deliveries}");
}

#[actix_rt::test]
async fn a_run_that_ends_before_all_bots_are_due_says_so() {
    let server = TestServer::with(Options::default()).await;
    let mut command = program();
    command
        .args(["--server-url", &server.url(), "--count", "10", "--ramp-per-second", "4", "--seconds", "1.5"])
        .args(["--messages-per-second", "20", "--lateness-max-seconds", "60", "--server-metrics", "off"]);
    let output = ended(command).await;
    assert!(stdout(&output).starts_with("KEPT: clean (only 6 of 10 bots were due)\n"), "{}", stdout(&output));
    assert!(stderr(&output).contains("only 6 of 10 bots were due when the run ends"), "{}", stderr(&output));
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
    // The drain ends when everything is in, on a busy machine as well.
    let stalling = Options { stalls_after: Some(100), ..Options::default() };
    let run = |expect| Run::of(stalling, expect, "1.5", &["--drain-seconds", "30"]);
    let late = run("clean, p99<250ms").await;
    late.must_say(1, "BROKEN: p99<250ms: ", &[]);
    late.must_add_up();
    assert_eq!(late.report.messages.not_done, 0);
    run("clean").await.must_say(0, "KEPT: clean", &[]);
}

#[actix_rt::test]
async fn what_comes_after_the_end_of_the_run_changes_nothing() {
    // The stall begins shortly before the end of the plan and ends after that of the drain, while the bots leave.
    let run = Run::with(Options { stalls_after: Some(250), ..Options::default() }, "clean").await;
    run.must_say(1, "BROKEN: clean: ", &["sent and never answered"]);
    run.must_add_up();
    assert_eq!(run.report.latencies["ack"].percentiles.count, run.report.messages.planned, "each message has one ack");
}

#[actix_rt::test]
async fn a_server_that_refuses_messages_without_need_is_not_said_to_keep_anything() {
    let (for_good, for_now) = ("refused without reason", "refused for now and not accepted later");
    for (code, said, unsaid) in [
        (ErrorCode::Forbidden, for_good, for_now),
        (ErrorCode::NoSuchRoom, for_good, for_now),
        (ErrorCode::RateLimited, for_now, for_good),
        (ErrorCode::Unavailable, for_now, for_good),
    ] {
        let run = Run::with(Options { refuses_upto: Some((u64::MAX, code)), ..Options::default() }, "clean").await;
        run.must_say(1, "BROKEN: clean: ", &[said]);
        assert!(run.report.errors[code.as_str()] > 0, "{code:?}: {:?}", run.report.errors);
        assert!(!run.first_line().contains(unsaid), "{code:?}: {}", run.first_line());
        run.must_add_up();
        assert_eq!(run.report.messages.done, 0, "{code:?}");
    }
}

#[actix_rt::test]
async fn a_message_that_a_server_cannot_take_for_a_while_is_sent_again_and_counts_as_refused_for_now() {
    for code in [ErrorCode::RateLimited, ErrorCode::Unavailable] {
        let refusing = Options { refuses_upto: Some((20, code)), ..Options::default() };
        let run = Run::of(refusing, "clean, refused=0, deferred=0", "1.5", &["--drain-seconds", "30"]).await;
        run.must_say(0, "KEPT: clean, refused=0, deferred=0", &[]);
        run.must_add_up();
        let refused = run.report.counters["refused_for_now"];
        assert_eq!((refused, run.report.errors[code.as_str()]), (20, 20), "{code:?}");
        assert_eq!((run.report.messages.sent_again, run.report.messages.not_done), (20, 0), "{code:?}");
    }
}

#[actix_rt::test]
async fn a_server_that_drops_one_delivery_in_a_thousand_is_found_out() {
    let run = Run::with(Options { drops_every: 1_000, ..Options::default() }, "clean, p99.99<400ms").await;
    let lost = run.server.dropped();
    assert!(lost >= 2, "{lost}");
    run.must_say(1, &format!("BROKEN: clean: {lost} lost; p99.99<400ms: "), &[]);
    run.must_add_up();
    assert_eq!(run.report.ledger.lost, lost);
    // Missing deliveries count with the time until the end of the run.
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

#[actix_rt::test]
async fn a_server_that_alters_a_message_on_the_way_is_found_out() {
    for how in Alteration::ALL {
        // Nothing in the message shows that a bot wrote it, but the deliveries to other receivers do.
        let contradicts = how == Alteration::TextAndSender;
        let to_one = Run::with(Options { fault: Some(Fault::Alter(how)), ..Options::default() }, "clean").await;
        let line = if contradicts {
            "BROKEN: clean: 3 contradictory positions"
        } else {
            "BROKEN: clean: 3 altered on the way"
        };
        to_one.must_say(1, line, &[]);
        assert_eq!(to_one.first_line(), line, "{how:?}");
        let to_all = Run::with(Options { fault: Some(Fault::AlterForAll(how)), ..Options::default() }, "clean").await;
        let line = if contradicts { line } else { "BROKEN: clean: 30 altered on the way" };
        to_all.must_say(1, line, &[]);
        assert_eq!(to_all.first_line(), line, "{how:?}");
    }
}

#[actix_rt::test]
async fn what_a_person_says_in_the_bots_rooms_breaks_nothing() {
    let run = Run::with(Options { person_every: 5, ..Options::default() }, "clean").await;
    run.must_say(0, "KEPT: clean", &[]);
    assert_eq!(run.first_line(), "KEPT: clean");
    assert!(run.report.ledger.untimed > 100, "{:?}", run.report.ledger);
}

#[actix_rt::test]
async fn messages_that_were_refused_for_their_rate_are_not_called_unanswered() {
    let run = Run::with(Options { limits_after: Some(100), ..Options::default() }, "clean").await;
    run.must_say(1, "BROKEN: clean: ", &["refused for now and not accepted later", "due and never sent"]);
    assert!(!run.first_line().contains("never answered"), "{}", run.first_line());
    run.must_add_up();
    let messages = &run.report.messages;
    assert_eq!((messages.unanswered, messages.sent_again), (0, 0), "{messages:?}");
    assert!(messages.deferred > 0 && run.report.counters["refused_for_now"] == messages.deferred, "{messages:?}");
    assert!(stdout(&run.output).contains("0 never answered, "), "{}", stdout(&run.output));
    assert!(stdout(&run.output).contains(&format!("{} refused for now), 0 sent again", messages.deferred)));
    // If the message is accepted in the end, the report counts it as sent again.
    let again = Run::with(Options { refuse_every: 10, ..Options::default() }, "clean, deferred=0").await;
    again.must_say(0, "KEPT: clean, deferred=0", &[]);
    let refused = again.report.counters["refused_for_now"];
    assert!(refused >= 25 && again.report.messages.sent_again == refused, "{refused} {:?}", again.report.messages);
}

#[actix_rt::test]
async fn the_bots_own_pause_before_they_connect_again_is_not_charged_to_the_server() {
    let mut longest_pause = Duration::ZERO;
    let server = TestServer::with(Options { refuses_first: 4, ..Options::default() }).await;
    let config = Config { seconds: 8.0, ..config(&server, 20) };
    let started = actix_rt::time::Instant::now();
    let report = run_until(&config, async {
        wait_until("all bots", || server.connected() == 20).await;
        longest_pause = started.elapsed();
    })
    .await;
    // The fifth attempt comes up to two seconds after the fourth, and only the time up to the fourth is the server's.
    // The bots behave the same in every run, see BOT_SEED.
    let charged = report.stats.connect.max();
    assert!(longest_pause > server.longest_refused() + Duration::from_millis(900), "{longest_pause:?}");
    assert!(charged < server.longest_refused() + Duration::from_millis(500), "{charged:?} {longest_pause:?}");
    assert!(report.stats.connect.quantile(0.1) > Duration::from_millis(100), "{report}");
    // Messages that were planned meanwhile waited for the bots, and their latencies exclude that time, at every
    // receiver.
    for latencies in [&report.stats.ack, &report.stats.delivery, &report.stats.lateness] {
        assert!(latencies.max() < server.longest_refused() + Duration::from_millis(500), "{report}");
    }
}

/// A listener whose queue is full, so that no packet is answered any more; and the connections that fill it.
fn full_listener() -> (String, (actix_rt::net::TcpListener, Vec<std::net::TcpStream>)) {
    let socket = actix_rt::net::TcpSocket::new_v4().unwrap();
    socket.bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let connections = std::iter::from_fn(connect).collect();
    (format!("ws://{address}/ws"), (listener, connections))
}

/// A server that resets every connection: it closes what it has not read.
fn resetting() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            stream.peek(&mut [0]).unwrap_or_default();
        }
    });
    url
}

/// The verdict about a server at this URL that never accepts a bot.
async fn verdict_on(url: &str, arguments: &[&str]) -> (String, String) {
    let mut command = program();
    command.args(["--server-url", url, "--count", "3", "--seconds", "1", "--drain-seconds", "0.5"]).args(arguments);
    let output = ended(command).await;
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    (stdout(&output).lines().next().unwrap().to_owned(), stdout(&output).to_owned())
}

#[actix_rt::test]
async fn where_no_bot_was_connected_the_first_line_says_why_and_what_to_do() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = |listener: &std::net::TcpListener| format!("ws://{}/ws", listener.local_addr().unwrap());
    let (nobody, silent_url) = (at(&closed), at(&silent));
    drop(closed);
    let answering = async |answer: &'static str| {
        let listener = actix_rt::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        actix_rt::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                TestServer::refuse(&mut stream, answer).await;
            }
        });
        url
    };
    let no_http = answering("SSH-2.0-OpenSSH_9.9\r\n").await;
    let https = answering("\x15\x03\x03\x00\x02\x02\x16").await;
    let nothing = answering("").await;
    let mute = mute_after_handshake(None).await;
    let socket_io = mute_after_handshake(Some(r#"0{"sid":"x","upgrades":[],"pingInterval":25000}"#)).await;
    let starling = mute_after_handshake(Some(r#"{"type":"welcome","protocol":1}"#)).await;
    let (full, _connections) = full_listener();
    let reset = resetting();
    let moved = answering("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n").await;
    let no_upgrade = answering("HTTP/1.1 101 Switching Protocols\r\n\r\n").await;
    let other_version = mute_after_handshake(Some(r#"{"type":"welcome","protocol":9,"seq":-1}"#)).await;
    let cases: [(&str, &[&str], &str, &str); 15] = [
        (&full, &[], "connect: no answer by the end of the run", "a firewall may drop the packets"),
        (&reset, &[], "connect: connection reset", "every connection is closed at once"),
        (&moved, &[], "HTTP 302", "set BOT_SERVER_URL to that address"),
        (&no_upgrade, &[], "handshake: Invalid", "answers the WebSocket handshake incorrectly"),
        (&nobody, &[], "connect: connection refused", "no server listens at BOT_SERVER_URL"),
        (&silent_url, &[], "handshake: no answer by the end of the run", "does not answer the WebSocket handshake"),
        (&no_http, &[], "handshake: the answer is not HTTP", "does not speak HTTP"),
        (&https, &[], "handshake: the answer is not HTTP", "wss:// instead of ws://"),
        (&nothing, &[], "handshake: the connection ended", "wss:// instead of ws://"),
        ("ws://no-such-host.invalid/ws", &[], "connect: unknown host", "has no known address"),
        (&mute, &[], "no welcome by the end of the run", "check BOT_DIALECT"),
        (&other_version, &[], "a welcome that cannot be read", "another version of the protocol"),
        (&socket_io, &[], "the server speaks socket.io, and not BOT_DIALECT=starling", "set BOT_DIALECT"),
        (&starling, &["--dialect", "nats"], "the server speaks starling, and not BOT_DIALECT=nats", "set BOT_DIALECT"),
        (&starling, &["--dialect", "socket.io"], "speaks starling, and not BOT_DIALECT=socket.io", "set BOT_DIALECT"),
    ];
    let verdicts = join_all(cases.map(|(url, arguments, ..)| verdict_on(url, arguments))).await;
    for ((url, _, kind, advice), (line, text)) in cases.into_iter().zip(verdicts) {
        assert!(
            line.starts_with("BROKEN: bots: no bot was connected (") && line.contains(kind),
            "{url} {kind}: {line}"
        );
        assert!(line.contains(advice), "{kind}: {line}");
        // No expectation counts as kept.
        assert!(text.contains("\n  BROKEN    clean: not judged\n") && !text.contains("  kept "), "{text}");
    }
}

#[actix_rt::test]
async fn where_bots_come_in_and_are_not_understood_the_first_line_says_so() {
    let starling = mute_after_handshake(Some(r#"{"type":"welcome","protocol":1}"#)).await;
    let arguments = ["--dialect", "echo", "--messages-per-second", "20", "--lateness-max-seconds", "60"];
    let (line, _) = verdict_on(&starling, &arguments).await;
    assert!(line.starts_with("BROKEN: clean: ") && line.contains(" sent and never answered"), "{line}");
    assert!(line.ends_with(" (the server speaks starling, and not BOT_DIALECT=echo)"), "{line}");
}

/// The URL of a server that accepts every handshake, and then sends at most this.
async fn mute_after_handshake(says: Option<&'static str>) -> String {
    let listener = actix_rt::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    actix_rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            actix_rt::spawn(TestServer::shake_hands(stream, says));
        }
    });
    url
}

#[actix_rt::test]
async fn a_verdict_of_kept_says_what_it_leaves_unsaid() {
    let few = Run::with(Options { seats: Some(4), ..Options::default() }, "lost=0").await;
    few.must_say(0, "KEPT: lost=0 (4 of 10 bots were connected; not clean: ", &["due and never sent"]);
    let server = TestServer::start().await;
    let mut command = program();
    command.args(["--server-url", &server.url(), "--count", "2", "--messages-per-second", "0", "--seconds", "0.5"]);
    command.args(["--lateness-max-seconds", "60"]);
    let silent = ended(command).await;
    assert!(stdout(&silent).starts_with("KEPT: clean (no message was sent)\n"), "{}", stdout(&silent));
    let mut command = program();
    command.args(["--server-url", &server.url(), "--count", "5", "--messages-per-second", "20", "--seconds", "60"]);
    command.args(["--lateness-max-seconds", "60"]);
    let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let taken = server.taken();
    wait_until("messages", || server.taken() >= taken + 50).await;
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let stopped = actix_rt::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let line = stdout(&stopped).lines().next().unwrap();
    assert!(line.starts_with("KEPT: clean (stopped after ") && line.ends_with(" s of 60.0 s)"), "{line}");
}
