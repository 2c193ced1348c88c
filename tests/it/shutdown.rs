//! The real program: its start, the errors of a failed start, and its end.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use starling::Config;
use tempfile::TempDir;
use test_kit::raw::Raw;
use test_kit::{Client, blocking, figures_when, within};

use crate::harness::{TestServer, starling};

const ANY_PORT: (&str, &str) = ("CHAT_BIND", "127.0.0.1:0");

const ADMIN: (&str, &str) = ("CHAT_ADMIN_TOKEN", "letmein-letmein-letmein");

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The only line of a failed start.
fn expect_one_line(folder: &Path, variables: &[(&str, &str)]) -> String {
    let output = starling().run(folder, &[], variables);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{variables:?}: {stderr}");
    assert_eq!((stderr.lines().count(), output.stdout.len()), (1, 0), "{variables:?}: {stderr}");
    stderr.trim_end().to_owned()
}

#[actix::test]
async fn sigterm_tells_every_client_and_ends_with_success() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = folder();
        let mut server = starling().start(folder.path(), &[ANY_PORT]);
        let mut alice = Client::connect(server.address(), "/ws?clientId=alice").await;
        let mut bob = Client::connect(server.address(), "/ws/dev?clientId=bob").await;
        server.signal(signal);
        for client in [&mut alice, &mut bob] {
            let closing = client.expect(r#"{"type":"closing","reason":"$_","reconnectAfterMs":$ms}"#).await;
            assert!(closing["reconnectAfterMs"].as_u64().unwrap() <= 5_000, "{closing}");
            client.expect_close(1001).await;
        }
        drop((alice, bob));
        assert_eq!(server.exit_code().await, Some(0));
        server.line_with("stopping: SIG");
        server.line_with("stopped");
    }
}

#[actix::test]
async fn a_second_signal_ends_at_once() {
    let folder = folder();
    let mut server = starling().start(folder.path(), &[ANY_PORT, ("CHAT_DRAIN_SECONDS", "600")]);
    let mut silent = Raw::open(server.address()).await.shake_hands("/ws?clientId=silent").await;
    assert!(silent.frame().await.unwrap().text().contains("\"welcome\""));
    server.signal(Signal::TERM);
    assert!(silent.frame().await.unwrap().text().contains("\"closing\""));
    server.signal(Signal::INT);
    assert_eq!(server.exit_code().await, Some(1));
    server.line_with("stopping at once: SIGINT again");
}

#[actix::test]
async fn a_rolling_restart_under_500_bots_loses_and_doubles_nothing() {
    const BOTS: u32 = 500;
    fn variables(bind: &str) -> [(&str, &str); 3] {
        [("CHAT_BIND", bind), ("CHAT_WORKERS", "2"), ("CHAT_DRAIN_SECONDS", "2")]
    }
    let folder = folder();
    let mut server = starling().start(folder.path(), &variables("127.0.0.1:0"));
    let address = server.address();
    let config = bot_swarm::Config {
        server_url: format!("ws://{address}/ws"),
        name_prefix: "bot".into(),
        count: BOTS,
        rooms: 25,
        messages_per_second: 0.2,
        ramp_per_second: 10_000.0,
        drain_seconds: 20.0,
        ..bot_swarm::Config::default()
    };
    let stop = bot_swarm::StopHandle::new();
    let mut silent = bot_swarm::progress::Silent;
    let running = bot_swarm::run(&config, &stop, &mut silent);
    let restarting = async {
        for _ in 0..2 {
            everybody_talks(address, BOTS).await;
            server.signal(Signal::TERM);
            assert_eq!(server.exit_code().await, Some(0));
            server = starling().start(folder.path(), &variables(&address.to_string()));
        }
        everybody_talks(address, BOTS).await;
        stop.stop();
    };
    let (report, ()) = tokio::join!(running, restarting);
    let report = report.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.tally.expected, report.tally.received, "{report}");
    assert_eq!((report.stats.counters.reconnects, report.away), (2 * u64::from(BOTS), 0), "{report}");
}

/// Waits until this many clients are connected and have sent as many messages.
pub(crate) async fn everybody_talks(address: SocketAddr, clients: u32) {
    let clients = f64::from(clients) - 0.5;
    within("everybody is there and talks", async {
        loop {
            let answer = test_kit::raw::http(address, "GET", "/metrics", "Connection: close\r\n").await;
            let figures = test_kit::Exposition::parse(&answer.body);
            let said = ["global", "room"].map(|kind| figures.value("chat_messages_total", &[("kind", kind)]));
            if figures.value("chat_connections", &[]) > clients && said.iter().sum::<f64>() > clients {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[actix::test]
async fn a_client_that_never_goes_does_not_keep_the_server() {
    let folder = folder();
    let mut server = starling().start(folder.path(), &[ANY_PORT, ("CHAT_DRAIN_SECONDS", "1"), ADMIN]);
    let silent = Raw::open(server.address()).await.shake_hands("/ws?clientId=silent").await;
    let half = Raw::open(server.address()).await;
    let posting = begin_to_post(server.address()).await;
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code().await, Some(0));
    drop((silent, half, posting));
}

const POST: &str = r#"{"clientId":"ops","Message":"the last words"}"#;

/// The head of a request whose body is [`POST`], with these fields too.
fn head_of_post(fields: &str) -> String {
    format!(
        "POST /api/rooms/lobby/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n{fields}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        ADMIN.1,
        POST.len()
    )
}

/// Sends the head of a request whose body is [`POST`]. When this returns, the server waits for the body.
async fn begin_to_post(server: SocketAddr) -> Raw {
    let mut posting = Raw::open(server).await;
    posting.write(head_of_post("Expect: 100-continue\r\n").as_bytes()).await;
    assert_eq!(posting.answer().await.status, 100);
    posting
}

#[actix::test]
async fn a_stopping_server_answers_the_requests_that_it_has_and_waits_for_no_others() {
    let folder = folder();
    let mut server = starling().start(folder.path(), &[ANY_PORT, ("CHAT_DRAIN_SECONDS", "600"), ADMIN]);
    let mut idle = Raw::open(server.address()).await;
    idle.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(idle.answer().await.status, 200);
    let unsaid = Raw::open(server.address()).await;
    let mut posting = begin_to_post(server.address()).await;
    server.signal(Signal::TERM);
    server.status_becomes("/readyz", 503).await;
    posting.write(POST.as_bytes()).await;
    let answer = posting.answer().await;
    assert_eq!((answer.status, answer.json()["seq"].as_u64()), (200, Some(1)));
    assert_eq!(server.exit_code().await, Some(0));
    drop((idle, unsaid));
}

#[actix::test]
async fn a_stopping_server_answers_probes_only_and_carries_out_no_request() {
    let mut server = TestServer::start(&[("CHAT_DRAIN_SECONDS", "60"), ADMIN]);
    let mut alice = Raw::connect(&server, "/ws?clientId=alice").await;
    let mut kept: Vec<_> = futures_util::future::join_all([(); 9].map(|()| Raw::open(server.address()))).await;
    for connection in &mut kept {
        assert_eq!(connection.get("/healthz").await.status, 200);
    }
    // A client that does not leave keeps the server running.
    server.stop();
    while alice.frame().await.unwrap().close_code().is_none() {}
    let plain = |target| format!("{target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", ADMIN.1);
    for (request, status) in [
        (plain("GET /healthz"), 200),
        (plain("GET /readyz"), 503),
        (plain("GET /metrics"), 200),
        (plain("HEAD /metrics"), 200),
        (plain("GET /"), 503),
        (plain("GET /api/rooms"), 503),
        (plain("GET /api/rooms/lobby/messages"), 503),
        (head_of_post("") + POST, 503),
        (plain("DELETE /api/clients/alice"), 503),
    ] {
        let mut kept = kept.pop().unwrap();
        let mut new = Raw::open(server.address()).await;
        for (connection, what) in [(&mut kept, "kept"), (&mut new, "new")] {
            connection.write(request.as_bytes()).await;
            let answer = connection.answer().await;
            assert_eq!(answer.status, status, "{what}: {request}");
            assert_eq!(answer.header("retry-after").is_some(), status == 503, "{what}: {request}");
            if status == 503 {
                answer.expect_refusal(503, "unavailable");
                assert_eq!(answer.header("connection"), Some("close"), "{what}: {request}");
            }
        }
    }
    drop(alice);
    server.outcome().await.unwrap();
}

/// Posts messages over one connection until the server accepts no more, and counts those that it has acknowledged.
fn post_until_refused(server: SocketAddr, acknowledged: &AtomicUsize) {
    let mut socket = blocking::open(server, None, test_kit::DEADLINE).unwrap();
    let request = head_of_post("") + POST;
    while socket.write_all(request.as_bytes()).is_ok() {
        let (mut answer, mut room) = (Vec::new(), [0; 4_096]);
        while !answer.ends_with(b"}") && !answer.ends_with(b"}\n") {
            match socket.read(&mut room) {
                Ok(0) | Err(_) => return,
                Ok(count) => answer.extend_from_slice(&room[..count]),
            }
        }
        if !answer.starts_with(b"HTTP/1.1 200") {
            break;
        }
        acknowledged.fetch_add(1, Relaxed);
    }
}

#[actix::test]
async fn whatever_a_stopping_server_has_stored_for_a_request_it_has_acknowledged() {
    const POSTERS: usize = 4;
    let folder = folder();
    let mut stored = 0;
    // The last start only looks at what the stop before it has left.
    for stops in 0..=8 {
        let mut server = starling().start(folder.path(), &[ANY_PORT, ADMIN]);
        let page: Value = serde_json::from_str(&server.get("/api/rooms/lobby/messages?limit=1").1).unwrap();
        assert_eq!(page["messages"][0]["seq"].as_u64().unwrap_or(0), stored, "after {stops} stops");
        if stops == 8 {
            break;
        }
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let posters: Vec<_> = (0..POSTERS)
            .map(|_| {
                let (address, acknowledged) = (server.address(), Arc::clone(&acknowledged));
                std::thread::spawn(move || post_until_refused(address, &acknowledged))
            })
            .collect();
        within("every poster posts", async {
            while acknowledged.load(Relaxed) < 10 * POSTERS {
                tokio::task::yield_now().await;
            }
        })
        .await;
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code().await, Some(0));
        for poster in posters {
            poster.join().unwrap();
        }
        stored += acknowledged.load(Relaxed) as u64;
    }
}

#[actix::test]
async fn a_client_that_lags_behind_still_gets_everything_when_the_server_stops() {
    let mut server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_DRAIN_SECONDS", "10")]);
    let mut lagging = Raw::open_narrow(server.address()).await.shake_hands("/ws?clientId=lagging").await;
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    let text = "x".repeat(16_000);
    let mut sent = 0_usize;
    let waits = |figures: &test_kit::Exposition| figures.value("chat_outbox_bytes", &[]) > 300_000.0;
    while !waits(&test_kit::Exposition::scrape(&server).await) {
        sent += 1;
        alice.send_json(&json!({"Message": text})).await;
        alice.expect(&format!(r#"{{"type":"message","seq":{sent}}}"#)).await;
    }
    server.stop();
    alice.expect(r#"{"type":"closing"}"#).await;
    alice.expect_close(1001).await;
    drop(alice);
    // This is the promise itself: the server waits for this client, although all others have left.
    let over = async {
        while !server.is_over() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(500), over).await.is_err(), "the server did not wait");
    // The client begins to read only now.
    let (frames, code) = lagging.drain().await;
    assert_eq!(code, Some(1001), "after {} of {sent} messages", frames.len());
    let messages = frames.iter().filter(|frame| frame.text().starts_with(r#"{"type":"message""#)).count();
    assert_eq!(messages, sent);
    drop(lagging);
    let over = async {
        while !server.is_over() {
            tokio::task::yield_now().await;
        }
    };
    within("the server ends as soon as everybody has gone", over).await;
}

#[actix::test]
async fn a_stopping_server_takes_nobody_new() {
    let mut server = TestServer::start(&[("CHAT_DRAIN_SECONDS", "10")]);
    let mut alice = Raw::connect(&server, "/ws?clientId=alice").await;
    // A client that is notified but does not leave keeps the server running for a while.
    server.stop();
    assert!(alice.frame().await.unwrap().text().contains("\"closing\""));
    assert_eq!(alice.frame().await.unwrap().close_code(), Some(1001));
    let answer = test_kit::raw::get(&server, "/readyz").await;
    answer.expect_refusal(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    test_kit::raw::handshake(&server, "/ws").await.expect_refusal(503, "unavailable");
    let alive = test_kit::raw::get(&server, "/healthz").await;
    assert_eq!(alive.status, 200);
    let refused = |f: &test_kit::Exposition| f.value("chat_refused_handshakes_total", &[("code", "unavailable")]);
    figures_when(&server, "it is counted", |figures| refused(figures) > 0.5).await;
}

#[actix::test]
async fn a_stopping_server_closes_its_clients_one_after_the_other_and_listens_until_the_end() {
    const CLIENTS: usize = 200;
    // Each of the two workers closes one client per millisecond.
    for (drain_seconds, most) in [("60", Duration::from_secs(10)), ("1", Duration::from_secs(1))] {
        let mut server = TestServer::start(&[("CHAT_DRAIN_SECONDS", drain_seconds)]);
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(Raw::connect(&server, "/ws").await);
        }
        server.stop();
        let mut told = Vec::new();
        let begun = tokio::time::Instant::now();
        let watching = clients.iter_mut().map(async |client| {
            let (frames, code) = client.drain().await;
            assert!(frames.iter().any(|frame| frame.says("\"closing\"")), "{frames:?}");
            assert_eq!(code, Some(1001));
            begun.elapsed()
        });
        told.extend(futures_util::future::join_all(watching).await);
        told.sort_unstable();
        let (first, last) = (told[0], told[CLIENTS - 1]);
        assert!(last < most, "CHAT_DRAIN_SECONDS={drain_seconds}: the last one was told after {last:?}");
        if drain_seconds == "60" {
            let spread = last.saturating_sub(first);
            assert!(spread > Duration::from_millis(50), "all within {spread:?}");
            // The clients are closed, but their sockets still exist.
            let refused = test_kit::raw::handshake(&server, "/ws").await;
            refused.expect_refusal(503, "unavailable");
            assert_eq!(refused.header("retry-after"), Some("1"));
        }
        drop(clients);
        server.outcome().await.unwrap();
    }
}

#[actix::test]
async fn port_0_is_a_free_port_and_the_log_says_which() {
    let folder = folder();
    let server = starling().start(folder.path(), &[ANY_PORT]);
    assert_ne!(server.address().port(), 0);
    Client::connect(server.address(), "/ws?clientId=alice").await.expect_chat_works().await;
}

#[test]
fn a_port_in_use_stops_the_start_with_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = expect_one_line(folder().path(), &[("CHAT_BIND", &address)]);
    assert!(line.contains(&format!("ERROR starling] cannot listen on {address}: Address already in use")), "{line}");
}

#[test]
fn the_cause_of_a_refused_start_is_told_once() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    fs::write(folder.path().join("a-file"), "no folder, no key, no certificate").unwrap();
    let secret = ("CHAT_AUTH", "jwt");
    for (variables, cause) in [
        ([("CHAT_BIND", &*taken), ("CHAT_LOG", "info")], "(os error 98)"),
        ([("CHAT_BIND", "192.0.2.1:8080"), ("CHAT_LOG", "info")], "(os error 99)"),
        ([("CHAT_JWT_PUBLIC_KEY_FILE", "nowhere.pem"), secret], "(os error 2)"),
        ([("CHAT_TLS_CERT", "nowhere.pem"), ("CHAT_TLS_KEY", "nowhere.key")], "(os error 2)"),
        ([("CHAT_TLS_CERT", "a-file"), ("CHAT_TLS_KEY", "a-file")], "a-file"),
        ([("CHAT_HISTORY_PATH", "a-file/starling.db"), ANY_PORT], "(os error"),
        ([("CHAT_HISTORY_PATH", "a-file"), ANY_PORT], "a-file"),
    ] {
        let variables: Vec<_> = [ANY_PORT].into_iter().chain(variables).collect();
        let line = expect_one_line(folder.path(), &variables);
        assert_eq!(line.matches(cause).count(), 1, "{line}");
        let mut parts: Vec<&str> = line.split(": ").collect();
        parts.sort_unstable();
        let count = parts.len();
        parts.dedup();
        assert_eq!(parts.len(), count, "{line}");
    }
}

#[test]
fn a_refused_start_is_told_in_the_format_of_the_log_and_even_where_the_log_is_off() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let reason = format!("cannot listen on {address}: Address already in use");
    for (variable, begins) in
        [(("CHAT_LOG", "error"), "["), (("CHAT_LOG", "off"), "starling: "), (("CHAT_LOG_FORMAT", "json"), r#"{"at":"#)]
    {
        let line = expect_one_line(folder.path(), &[("CHAT_BIND", &address), variable]);
        assert!(line.starts_with(begins) && line.contains(&reason), "{variable:?}: {line}");
    }
}

#[test]
fn an_answer_that_nobody_reads_is_no_panic() {
    let folder = folder();
    let starling = env!("CARGO_BIN_EXE_starling");
    for (arguments, to, words) in [
        ("--print-config", "| true", ""),
        ("token alice", "| true", ""),
        ("--print-config", ">/dev/full", "No space left on device"),
    ] {
        let mut shell = std::process::Command::new("bash");
        shell.args(["-c", &format!("'{starling}' {arguments} {to}")]).current_dir(folder.path()).env_clear();
        shell.env("CHAT_JWT_SECRET", "s".repeat(32)).env("CHAT_AUTH", "jwt").env("PATH", "/usr/bin:/bin");
        let stderr = String::from_utf8(shell.output().unwrap().stderr).unwrap();
        assert!(!stderr.contains("panic") && stderr.contains(words), "{arguments} {to}: {stderr}");
    }
}

#[test]
fn a_wrong_configuration_stops_the_start_with_one_line() {
    let folder = folder();
    for (variable, value, words) in [
        ("CHAT_BURST", "many", "CHAT_BURST=many: must be a whole number from 1 to 1000000"),
        ("CHAT_BURST", "0", "CHAT_BURST=0: must be a whole number from 1 to 1000000"),
        ("CHAT_BIND", "localhost", "CHAT_BIND=localhost: must be an IP address and a port"),
        ("CHAT_LOG", "loud=very", "CHAT_LOG=loud=very: must be a level"),
        ("CHAT_BRUST", "1", "CHAT_BRUST is not known; did you mean CHAT_BURST?"),
        ("CHAT_TLS_CERT", "cert.pem", "CHAT_TLS_CERT is set and CHAT_TLS_KEY is not: TLS needs both"),
        ("CHAT_TRUSTED_PROXIES", "10.0.0.0/33", "CHAT_TRUSTED_PROXIES=10.0.0.0/33: must be IP addresses and networks"),
        ("CHAT_ALLOWED_ORIGINS", "chat.example", "CHAT_ALLOWED_ORIGINS=chat.example: must be origins between commas"),
        ("CHAT_MESSAGE_BYTES", "200000", "CHAT_FRAME_BYTES=131072 is too small: it must be at least 1202048"),
    ] {
        let line = expect_one_line(folder.path(), &[(variable, value)]);
        assert!(line.starts_with(&format!("starling: {words}")), "{line}");
    }
}

#[test]
fn a_dotenv_file_is_read_and_the_environment_goes_before_it() {
    let folder = folder();
    fs::write(folder.path().join(".env"), "# a comment\nCHAT_BURST=7\nCHAT_WORKERS=3\nOTHER=1\n").unwrap();
    let printed = stdout(&starling().run(folder.path(), &["--print-config"], &[("CHAT_WORKERS", "4")]));
    assert!(printed.contains("CHAT_BURST=7\n") && printed.contains("CHAT_WORKERS=4\n"), "{printed}");
    fs::write(folder.path().join(".env"), "CHAT_BURST=7\nwhat is this\n").unwrap();
    let line = expect_one_line(folder.path(), &[]);
    assert!(line.starts_with("starling: .env, line 2: cannot be read as VARIABLE=VALUE"), "{line}");
}

#[test]
fn only_the_dotenv_file_of_the_current_folder_is_read() {
    // Regression: parent folders were searched too, where another program's file may be.
    let folder = folder();
    fs::write(folder.path().join(".env"), "CHAT_BURST=7\n").unwrap();
    let below = folder.path().join("below");
    fs::create_dir(&below).unwrap();
    let printed = stdout(&starling().run(&below, &["--print-config"], &[]));
    assert!(printed.contains("CHAT_BURST=100\n"), "{printed}");
}

#[test]
fn a_flag_goes_before_the_environment_and_the_environment_before_a_dotenv_file() {
    let folder = folder();
    fs::write(folder.path().join(".env"), "CHAT_BURST=7\nCHAT_WORKERS=3\nCHAT_ROOMS=5\n").unwrap();
    let flags = ["--burst", "9", "--print-config"];
    let printed = stdout(&starling().run(folder.path(), &flags, &[("CHAT_BURST", "8"), ("CHAT_WORKERS", "4")]));
    for line in ["CHAT_BURST=9\n", "CHAT_WORKERS=4\n", "CHAT_ROOMS=5\n"] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
}

#[test]
fn a_wrong_flag_is_refused_with_what_to_do() {
    for (flags, code, says) in [
        (&["--burst", "-1"][..], 1, "CHAT_BURST=-1: must be a whole number from 1 to 1000000"),
        (&["--bind", "here"], 1, "CHAT_BIND=here: must be an IP address and a port, like 127.0.0.1:8080 or [::]:8080"),
        (&["--worker", "1"], 2, "a similar argument exists: '--workers'"),
        (&["--port", "1"], 2, "a similar argument exists: '--bind'"),
        (&["--host=x"], 2, "a similar argument exists: '--bind'"),
        (&["--jwt-secret", "tell-nobody"], 2, "a secret has no flag; set the variable CHAT_JWT_SECRET"),
        (&["backup", "--admin-token=tell-nobody", "f"], 2, "a secret has no flag; set the variable CHAT_ADMIN_TOKEN"),
    ] {
        let output = starling().run(folder().path(), flags, &[]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{flags:?}: {stderr}");
        assert!(stderr.contains(says) && !stderr.contains("tell-nobody"), "{flags:?}: {stderr}");
    }
}

#[test]
fn the_printed_configuration_is_what_is_in_force_as_a_dotenv_file() {
    let folder = folder();
    let output = starling().run(folder.path(), &["--print-config"], &[("CHAT_BURST", "7")]);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let changed = stdout(&output);
    assert_eq!(changed, Config::default().to_string().replace("CHAT_BURST=100", "CHAT_BURST=7"));
    // The printed text can be read back.
    fs::write(folder.path().join(".env"), &changed).unwrap();
    assert_eq!(stdout(&starling().run(folder.path(), &["--print-config"], &[])), changed);
}

#[test]
fn the_help_names_every_knob() {
    let output = starling().run(folder().path(), &["--help"], &[]);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    // The lines of the help are as long as the terminal is wide.
    let in_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = in_one_line(&stdout(&output));
    for knob in Config::knobs() {
        for part in [knob.variable, knob.subject, knob.default, &knob.about, &knob.range] {
            assert!(help.contains(&in_one_line(part)), "{part:?} is missing for {}", knob.variable);
        }
    }
    for option in ["--print-config", "--help", "--version"] {
        assert!(help.contains(option), "{option}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let output = starling().run(folder().path(), &["--version"], &[]);
    // A release also names its commit.
    assert_eq!(stdout(&output), concat!("starling ", env!("CARGO_PKG_VERSION"), " (debug)\n"));
    assert_eq!(output.status.code(), Some(0));
    let unknown = starling().run(folder().path(), &["--dance"], &[]);
    assert_eq!((unknown.status.code(), unknown.stdout.len()), (Some(2), 0));
}
