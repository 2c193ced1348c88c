//! What an operator relies on: signals work whatever becomes of the log, mistakes are told, secrets are not.

use std::fs;
use std::io::{PipeReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use starling::Config;
use test_kit::certificate::Certificate;
use test_kit::{Client, Exposition, Process, raw, within};

use crate::harness::{TestServer, bot_swarm, starling, start_at};
use crate::log_levels::{ReservedPort, converse};

/// A pipe that takes nothing more; its reading end keeps it open.
fn full_pipe() -> (PipeReader, Stdio) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[b'x'; 4_096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader, writer.into())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The one line with which a start ends, and its exit code.
fn refused(output: &Output) -> (String, Option<i32>) {
    let stderr = text(&output.stderr);
    assert_eq!((stderr.lines().count(), output.stdout.len()), (1, 0), "{stderr}");
    (stderr.trim_end().to_owned(), output.status.code())
}

#[actix::test]
async fn a_log_that_nobody_reads_holds_up_neither_the_chat_nor_a_signal() {
    for (signals, code) in
        [(&[Signal::HUP, Signal::TERM][..], 0), (&[Signal::INT], 0), (&[Signal::TERM, Signal::TERM], 1)]
    {
        for level in ["info", "trace"] {
            let (folder, port, (_unread, stderr)) = (tempfile::tempdir().unwrap(), ReservedPort::new(), full_pipe());
            let bind = port.address().to_string();
            let variables = [("CHAT_BIND", bind.as_str()), ("CHAT_LOG", level), ("CHAT_DRAIN_SECONDS", "600")];
            let mut server = start_at(port.address(), folder.path(), &variables, stderr).await;
            let clients = converse(port.address()).await;
            let stays = raw::Raw::open(port.address()).await.shake_hands("/ws?clientId=stays").await;
            let mut stays = Some(stays);
            for (place, signal) in signals.iter().enumerate() {
                server.signal(*signal);
                if place == 0 && code == 1 {
                    let stays = stays.as_mut().unwrap();
                    while !stays.frame().await.unwrap().text().contains("\"closing\"") {}
                }
            }
            if code == 0 {
                drop(stays.take());
            }
            drop(clients);
            assert_eq!(server.exit_code().await, Some(code), "{signals:?}, CHAT_LOG={level}");
        }
    }
}

#[actix::test]
async fn a_start_that_fails_ends_though_nobody_reads_why() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    for variable in [("CHAT_BIND", bind.as_str()), ("CHAT_HISTORY_PATH", "/proc/no/such/folder")] {
        let (folder, (_unread, stderr)) = (tempfile::tempdir().unwrap(), full_pipe());
        let bind = ("CHAT_BIND", "127.0.0.1:0");
        let mut child = starling().command(folder.path(), &[], &[bind, variable]).stderr(stderr).spawn().unwrap();
        let ended = actix_web::web::block(move || child.wait().unwrap());
        assert_eq!(within(format!("{variable:?} ends"), ended).await.unwrap().code(), Some(1));
    }
}

#[actix::test]
async fn lines_that_are_dropped_are_counted_and_told_when_somebody_reads_again() {
    let (folder, port, (mut unread, stderr)) = (tempfile::tempdir().unwrap(), ReservedPort::new(), full_pipe());
    let bind = port.address().to_string();
    let variables = [("CHAT_BIND", bind.as_str()), ("CHAT_LOG", "trace")];
    let _server = start_at(port.address(), folder.path(), &variables, stderr).await;
    within("lines are dropped", async {
        loop {
            let answer = raw::http(port.address(), "GET", "/metrics", "Connection: close\r\n").await;
            if Exposition::parse(&answer.body).value("chat_log_lines_dropped_total", &[]) > 0.5 {
                return;
            }
        }
    })
    .await;
    let told = actix_web::web::block(move || {
        let (mut all, mut part) = (Vec::new(), [0; 8_192]);
        while !String::from_utf8_lossy(&all).contains("log lines were dropped: ") {
            let count = unread.read(&mut part).unwrap();
            assert!(count > 0, "the server has ended");
            // What is older than this cannot have the line.
            all.drain(..all.len().saturating_sub(1_000));
            all.extend_from_slice(&part[..count]);
        }
    });
    within("the log says so", told).await.unwrap();
}

#[actix::test]
async fn a_log_whose_reader_has_gone_loses_its_lines_and_makes_no_new_ones() {
    let (folder, port) = (tempfile::tempdir().unwrap(), ReservedPort::new());
    let (reader, writer) = std::io::pipe().unwrap();
    let bind = port.address().to_string();
    let server = start_at(port.address(), folder.path(), &[("CHAT_BIND", &*bind)], Stdio::from(writer)).await;
    drop(reader);
    server.signal(Signal::HUP);
    let dropped = async || {
        let answer = raw::http(port.address(), "GET", "/metrics", "Connection: close\r\n").await;
        Exposition::parse(&answer.body).value("chat_log_lines_dropped_total", &[])
    };
    within("the line of the signal is lost", async { while dropped().await < 0.5 {} }).await;
    let before = dropped().await;
    for _ in 0..20 {
        dropped().await;
    }
    assert!(dropped().await <= before + 1.0, "lines of nothing are dropped");
}

#[actix::test]
async fn bots_whose_log_nobody_reads_do_their_work_and_stop_when_asked() {
    let server = TestServer::start(&[]);
    let url = format!("ws://{}/ws", server.address());
    for (name, seconds, signals) in [("timed", "1", 0), ("asked", "0", 1)] {
        let (_unread, stderr) = full_pipe();
        let mut child = Command::new(bot_swarm().path())
            .args(["--server-url", &url, "--name-prefix", name, "--count", "5", "--messages-per-second", "5"])
            .args(["--seconds", seconds, "--lateness-max-seconds", "3600"])
            .env_clear()
            .env("RUST_LOG", "trace")
            .current_dir(tempfile::tempdir().unwrap().path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        if signals > 0 {
            test_kit::figures_when(&server, "they talk", |f| f.value("chat_connections", &[]) > 4.5).await;
            kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        }
        let ended = actix_web::web::block(move || child.wait().unwrap());
        assert_eq!(within("the bots end", ended).await.unwrap().code(), Some(0), "{name}");
    }
}

#[actix::test]
async fn a_hangup_ends_no_server_however_early_it_comes() {
    // It once ended a server without TLS at any time, and one with TLS in the first moments.
    for has_tls in [false, true] {
        let (folder, port) = (tempfile::tempdir().unwrap(), ReservedPort::new());
        let path = |name: &str| folder.path().join(name);
        let mut variables = format!("CHAT_BIND={}\n", port.address());
        if has_tls {
            let identity = Certificate::self_signed(&["localhost"]);
            fs::write(path("cert.pem"), identity.cert).unwrap();
            fs::write(path("key.pem"), identity.key).unwrap();
            variables += "CHAT_TLS_CERT=cert.pem\nCHAT_TLS_KEY=key.pem\n";
        }
        // A start that waits for its .env: the first thing that it reads.
        assert!(Command::new("mkfifo").arg(path(".env")).status().unwrap().success());
        let child = starling().command(folder.path(), &[], &[]).stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let dotenv = path(".env");
        let opened = actix_web::web::block(move || fs::File::options().write(true).open(dotenv).unwrap());
        let mut dotenv = within("the server reads its .env", opened).await.unwrap();
        kill_process(pid, Signal::HUP).unwrap();
        dotenv.write_all(variables.as_bytes()).unwrap();
        drop(dotenv);
        let mut server = Process::of(child).reached(port.address()).await;
        server.signal(Signal::HUP);
        server.line_with(if has_tls { "certificate and key are read again" } else { "SIGHUP changes nothing" });
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code().await, Some(0), "TLS: {has_tls}");
    }
}

#[test]
fn a_mistake_is_told_in_one_line_by_both_programs() {
    let folder = tempfile::tempdir().unwrap();
    for (variables, words) in [
        (&[("CHAT_LOG", "warning")][..], "CHAT_LOG=warning: must be a level (off, error, warn, info, debug, trace)"),
        (&[("CHAT_LOG", "inf0")], "CHAT_LOG=inf0: must be a level"),
        (&[("CHAT_LOG", "")], "CHAT_LOG=: must be a level"),
        (&[("CHAT_LOG_FORMAT", "xml")], "CHAT_LOG_FORMAT=xml: must be text or json"),
        (
            &[("CHAT_PORT", "21001")],
            "CHAT_PORT=21001 is the port that compose.yaml publishes; did you mean CHAT_BIND=127.0.0.1:21001?",
        ),
        (
            &[("CHAT_PORT", "x")],
            "CHAT_PORT=x is the port that compose.yaml publishes; did you mean CHAT_BIND=127.0.0.1:8080?",
        ),
        (&[("CHAT_HOST", "0.0.0.0")], "CHAT_HOST is not known; did you mean CHAT_BIND?"),
        (&[("CHAT_LOG_LEVEL", "info")], "CHAT_LOG_LEVEL is not known; did you mean CHAT_LOG?"),
        (&[("CHAT_MESSAGE_BYTES", "21505")], "CHAT_FRAME_BYTES=131072 is too small: it must be at least 131078"),
    ] {
        let (line, code) = refused(&starling().run(folder.path(), &[], variables));
        assert_eq!(code, Some(1), "{line}");
        assert!(line.starts_with(&format!("starling: {words}")), "{line}");
    }
    for level in ["warning", "inf0", ""] {
        let bots = Command::new(bot_swarm().path()).env("RUST_LOG", level).current_dir(folder.path()).output().unwrap();
        let (line, code) = refused(&bots);
        assert_eq!(code, Some(3), "{line}");
        assert!(line.starts_with(&format!("bot-swarm: RUST_LOG={level:?} is not valid: it must be a level")), "{line}");
    }
}

#[test]
fn a_stack_variable_in_the_dotenv_file_is_for_compose_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".env"), "CHAT_PORT=21001\nCHAT_CPUS=2\n").unwrap();
    let output = starling().run(folder.path(), &["--print-config"], &[]);
    assert_eq!(text(&output.stdout), Config::default().to_string());
    // Whoever says where to listen has made no mistake.
    let output = starling().run(folder.path(), &["--print-config"], &[("CHAT_PORT", "1"), ("CHAT_BIND", "[::1]:9")]);
    assert!(text(&output.stdout).contains("CHAT_BIND=[::1]:9\n"), "{output:?}");
}

#[test]
fn what_kubernetes_adds_for_a_service_of_our_name_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let injected = |prefix: &str| {
        [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_PORT", "8080"),
            ("SERVICE_PORT_HTTP", "8080"),
            ("PORT", "tcp://10.0.0.1:8080"),
            ("PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("PORT_8080_TCP_PROTO", "tcp"),
            ("PORT_8080_TCP_PORT", "8080"),
            ("PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("SERVER_SERVICE_HOST", "10.0.0.2"),
            ("SERVER_PORT", "tcp://10.0.0.2:80"),
        ]
        .map(|(name, value)| (format!("{prefix}_{name}"), value))
    };
    let of_chat = injected("CHAT");
    let variables: Vec<(&str, &str)> = of_chat.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let output = starling().run(folder.path(), &["--print-config"], &variables);
    assert_eq!(text(&output.stdout), Config::default().to_string(), "{output:?}");
    let bots = |variables: &[(String, &str)]| {
        let mut command = Command::new(bot_swarm().path());
        command.arg("--print-config").env_clear().current_dir(folder.path());
        text(&command.envs(variables.iter().map(|(name, value)| (name, value))).output().unwrap().stdout)
    };
    assert_eq!(bots(&injected("BOT")), bots(&[]));
    assert!(bots(&[]).contains("BOT_COUNT=100\n"));
}

#[test]
fn no_fault_of_a_dotenv_file_shows_a_secret_and_each_names_its_line() {
    const SECRET: &str = "hunter2-hunter2-hunter2-hunter2-hunter2";
    for (file, words) in [
        (format!("CHAT_LOG=\"info\nCHAT_JWT_SECRET={SECRET}\nCHAT_ADMIN_TOKEN={SECRET}\n"), "line 1: cannot be read"),
        (format!("CHAT_BURST=1\nCHAT_JWT_SECRET='{SECRET}\n"), "line 2: cannot be read"),
        (format!("# ok\n\nCHAT_JWT_SECRET={SECRET} {SECRET}\n"), "line 3: cannot be read"),
        (format!("{SECRET}\n"), "line 1: cannot be read"),
        (format!("CHAT_JWT_SECRET={SECRET}$x\n"), "line 1: CHAT_JWT_SECRET has a $"),
        (format!("CHAT_JWT_SECRET=\"{SECRET}${{HOME}}\"\n"), "line 1: CHAT_JWT_SECRET has a $"),
        (
            format!("CHAT_JWT_SECRET={SECRET}\nCHAT_BURST=1\nCHAT_JWT_SECRET=x{SECRET}\n"),
            "line 3: CHAT_JWT_SECRET is set already in line 1; remove one of the two",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".env"), &file).unwrap();
        let (line, code) = refused(&starling().run(folder.path(), &[], &[]));
        assert_eq!(code, Some(1), "{line}");
        assert!(line.starts_with(&format!("starling: .env, {words}")) && !line.contains("hunter2"), "{line}");
        // The bots read the same file, and a scenario by the same rules.
        let bots = |name: &str, arguments: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), &file).unwrap();
            let mut command = Command::new(bot_swarm().path());
            let output = command.args(arguments).env_clear().current_dir(folder.path()).output().unwrap();
            let (line, code) = refused(&output);
            assert_eq!(code, Some(3), "{line}");
            line
        };
        assert_eq!(bots(".env", &[]), line.replace("starling: ", "bot-swarm: "));
        let scenario = bots("night.env", &["--scenario", "night.env"]);
        assert_eq!(scenario, line.replace("starling: .env", "bot-swarm: BOT_SCENARIO: night.env"));
    }
}

/// What a program prints as its configuration, once with these variables and once with what was printed as its `.env`.
fn printed_twice(program: &Path, variables: &[(&str, &str)]) -> [String; 2] {
    let folder = tempfile::tempdir().unwrap();
    let print = |variables: &[(&str, &str)]| {
        let mut command = Command::new(program);
        command.arg("--print-config").env_clear().current_dir(folder.path()).envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{variables:?}");
        text(&output.stdout)
    };
    let first = print(variables);
    fs::write(folder.path().join(".env"), &first).unwrap();
    [first, print(&[])]
}

#[test]
fn the_printed_configuration_can_be_read_back_whatever_the_values() {
    let server = Path::new(env!("CARGO_BIN_EXE_starling"));
    let awkward =
        ["a b", " a ", "#a", "a #b", "$HOME", "a$", "it's", "say \"hi\"", "back\\slash\\", "a\nb", "'\"$\\ #", "ü 🦉"];
    for value in awkward {
        let [first, again] = printed_twice(server, &[("CHAT_HISTORY_PATH", value)]);
        assert_eq!(first, again, "{value:?}");
        assert!(!first.contains("CHAT_HISTORY_PATH=data/starling.db\n"), "{value:?}: {first}");
        let [first, again] = printed_twice(bot_swarm().path(), &[("BOT_REPORT", value.trim())]);
        assert_eq!(first, again, "{value:?}");
    }
    for (variable, value) in [
        ("BOT_PROFILE", "ramp 30s to 500, hold 60s, spike 5s to 2000, hold 30s"),
        ("BOT_EXPECT", "clean, p99<250ms, connect.p99<1s, completion.max<=5s, reconnects=0"),
        ("BOT_BEHAVIOURS", "chatter=60,lurker=25,private=10,hopper=3,slow=1,churner=1,flooder=0"),
        ("BOT_SERVER_URL", "ws://[::1]:8080/ws?token=x&y=$z"),
    ] {
        let [first, again] = printed_twice(bot_swarm().path(), &[(variable, value)]);
        assert_eq!(first, again, "{variable}={value}");
        assert_ne!(first, printed_twice(bot_swarm().path(), &[])[0], "{variable}={value}");
    }
}

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let starling = env!("CARGO_BIN_EXE_starling");
    for (limit, refused_at) in [("384", true), ("385", false)] {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -n $1 && exec timeout --preserve-status 2 \"$2\"", "sh", limit, starling]);
        let output = shell.env("CHAT_BIND", "127.0.0.1:0").current_dir(folder.path()).output().unwrap();
        let stderr = text(&output.stderr);
        if refused_at {
            assert_eq!(output.status.code(), Some(1), "{stderr}");
            assert!(stderr.starts_with("starling: the limit of open files is 384 and leaves none"), "{stderr}");
        } else {
            assert!(stderr.contains("up to 1 connections"), "{stderr}");
        }
    }
}

#[actix::test]
async fn log_lines_are_json_where_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let port = ReservedPort::new();
    let bind = port.address().to_string();
    let variables = [("CHAT_BIND", bind.as_str()), ("CHAT_LOG_FORMAT", "json")];
    let server = start_at(port.address(), folder.path(), &variables, Stdio::piped()).await;
    let line = server.line_with("listening on ");
    let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["target"], "starling::server");
    assert!(line["message"].as_str().unwrap().starts_with(&format!("listening on {bind}: ")), "{line}");
    assert!(line["at"].as_str().unwrap().ends_with('Z'), "{line}");
    assert_eq!(line.as_object().unwrap().len(), 4, "{line}");
}

#[test]
fn a_key_that_no_token_can_fit_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    };
    for bits in ["1024", "2048"] {
        openssl(&["genrsa", "-out", &format!("private-{bits}"), bits]);
        openssl(&["rsa", "-in", &format!("private-{bits}"), "-pubout", "-out", &format!("public-{bits}")]);
        openssl(&["rsa", "-in", &format!("private-{bits}"), "-RSAPublicKey_out", "-out", &format!("pkcs1-{bits}")]);
    }
    for (kind, name) in [("ed25519", "ed"), ("ed448", "ed448"), ("x25519", "x")] {
        openssl(&["genpkey", "-algorithm", kind, "-out", &format!("private-{name}")]);
        openssl(&["pkey", "-in", &format!("private-{name}"), "-pubout", "-out", &format!("public-{name}")]);
    }
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "private-ec"]);
    openssl(&["pkey", "-in", "private-ec", "-pubout", "-out", "public-ec"]);
    openssl(&["req", "-x509", "-key", "private-2048", "-subj", "/CN=a", "-out", "certificate"]);
    fs::write(path("empty"), "").unwrap();
    fs::write(path("garbage"), "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").unwrap();
    let variables = |name: &str| {
        [("CHAT_BIND", "127.0.0.1:0".to_owned()), ("CHAT_AUTH", "jwt".into()), ("CHAT_JWT_PUBLIC_KEY_FILE", path(name))]
    };
    for name in [
        "private-1024",
        "private-2048",
        "private-ed",
        "private-ec",
        "public-1024",
        "pkcs1-1024",
        "public-ed448",
        "public-x",
        "public-ec",
        "empty",
        "garbage",
    ] {
        let variables = variables(name);
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (line, code) = refused(&starling().run(folder.path(), &[], &variables));
        assert_eq!(code, Some(1), "{line}");
        assert!(line.contains(&format!("{name}: not a public key of RSA (RS256, 2048 to 8192 bits)")), "{line}");
    }
    for name in ["public-2048", "pkcs1-2048", "public-ed", "certificate"] {
        let variables = variables(name);
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        drop(starling().start(folder.path(), &variables));
    }
}

#[actix::test]
async fn a_server_that_is_short_of_memory_says_what_takes_it_and_refuses_the_new_first() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        ("CHAT_BIND", "127.0.0.1:0"),
        ("CHAT_HISTORY", "memory"),
        ("CHAT_MESSAGES_PER_SECOND", "0"),
        ("CHAT_OUTBOX_BYTES", "67108864"),
        ("CHAT_MEMORY_BYTES", "80000000"),
    ];
    let server = starling().start(folder.path(), &variables);
    let mut alice = Client::connect(server.address(), "/ws?clientId=alice").await;
    // It reads nothing, and nothing of what waits for it may be dropped.
    let mut slow = raw::Raw::open(server.address()).await;
    assert_eq!(slow.ask_for_websocket("/ws?clientId=slow", "").await.status, 101);
    let message = format!(r#"{{"to":"slow","Message":"{}"}}"#, "x".repeat(16_000));
    let ready = async || raw::http(server.address(), "GET", "/readyz", "Connection: close\r\n").await;
    let mut said = 0;
    while ready().await.status == 200 {
        for _ in 0..100 {
            said += 1;
            alice.send_text(&message).await;
            alice.expect(r#"{"type":"message"}"#).await;
        }
        assert!(said < 4_000, "it takes what there is");
    }
    let answer = ready().await;
    answer.expect_refusal(503, "unavailable");
    assert_eq!(answer.json()["message"], "the server is short of memory");
    let mut late = raw::Raw::open(server.address()).await;
    late.ask_for_websocket("/ws", "").await.expect_refusal(503, "unavailable");
    let get = async |path: &str| raw::http(server.address(), "GET", path, "Connection: close\r\n").await;
    get("/api/rooms/lobby/messages?q=needle").await.expect_refusal(503, "unavailable");
    assert_eq!(get("/api/rooms/lobby/messages?limit=1").await.status, 200, "what is there can be read");
    alice.expect_chat_works().await;
    let line = server.line_with("new connections and searches are refused");
    assert!(line.contains("2 connections, outboxes ") && line.contains("(CHAT_HISTORY_BYTES)"), "{line}");
}

#[actix::test]
async fn who_searches_in_memory_holds_up_nobody_who_talks() {
    let variables = [("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_HISTORY_MESSAGES", "100000")];
    let server = TestServer::start(&variables);
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    let text = "lorem ipsum dolor sit amet ".repeat(500);
    for number in 0..3_000 {
        let needle = if number % 1_000 == 10 { "needle" } else { "" };
        alice.send_text(&format!(r#"{{"Message":"{needle} {text}"}}"#)).await;
        alice.expect(r#"{"type":"message"}"#).await;
    }
    let search = async |query: &str| {
        let answer = raw::get(&server, &format!("/api/rooms/lobby/messages?q={query}&limit=200")).await.json();
        answer["messages"].as_array().unwrap().iter().map(|m| m["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let is_over = std::cell::Cell::new(false);
    let searching = async {
        for _ in 0..3 {
            let found = tokio::join!(search("needle"), search("nothing"), search("needle%20lorem"), search("absent"));
            let needles = vec![2_011, 1_011, 11];
            assert_eq!(found, (needles.clone(), vec![], needles, vec![]));
        }
        is_over.set(true);
    };
    let talking = async {
        let mut waits = Vec::new();
        while !is_over.get() {
            let asked = tokio::time::Instant::now();
            alice.send_text(r#"{"type":"ping"}"#).await;
            alice.expect(r#"{"type":"pong"}"#).await;
            waits.push(asked.elapsed());
        }
        waits.sort_unstable();
        waits[waits.len() / 2]
    };
    let started = tokio::time::Instant::now();
    let ((), median) = tokio::join!(searching, talking);
    // Once each command waited for whole searches.
    let search = started.elapsed() / 12;
    assert!(median < search / 5, "a command took {median:?} while a search took {search:?}");
}

#[actix::test]
async fn a_service_manager_is_told_that_the_server_is_ready_lives_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let manager = tokio::net::UnixDatagram::bind(&socket).unwrap();
    let told = async || {
        let mut text = [0; 256];
        let length = within("the service manager is told", manager.recv(&mut text)).await.unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let variables =
        [("CHAT_BIND", "127.0.0.1:0"), ("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "100000")];
    let mut server = starling().start(folder.path(), &variables);
    assert_eq!(told().await, "READY=1");
    for _ in 0..3 {
        assert_eq!(told().await, "WATCHDOG=1");
    }
    server.signal(Signal::TERM);
    while told().await != "STOPPING=1" {}
    assert_eq!(server.exit_code().await, Some(0));
}

#[test]
fn the_unit_of_systemd_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let unit = fs::read_to_string(crate::tidy::root().join("packaging/starling.service")).unwrap();
    let installed = "ExecStart=/usr/local/bin/starling\n";
    assert!(unit.contains(installed));
    // Where it is tested nothing is installed. The path of the program may have blanks.
    let program = folder.path().join("starling");
    symlink(env!("CARGO_BIN_EXE_starling"), &program).unwrap();
    let unit = unit.replace(installed, &format!("ExecStart={}\n", program.display()));
    let path = folder.path().join("starling.service");
    fs::write(&path, unit).unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg(&path).output();
    let output = output.unwrap_or_else(|error| panic!("systemd-analyze: {error}; see scripts/install-test-tools"));
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}
