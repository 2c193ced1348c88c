//! The log level changes nothing else: both programs behave the same at every level.
//!
//! A log line below the level evaluates none of its arguments. If an argument has a side effect, the program works at
//! `info` and fails at `warn`: the server once ended at its start, because it awaited its stop signal within a log
//! line.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use test_kit::{Client, within};

use crate::harness::{bot_swarm, start_at};
use crate::tidy;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A port that no other socket of this machine gets while this value lives. It is bound but does not listen, so a
/// server that sets `SO_REUSEADDR` can use it.
pub(crate) struct ReservedPort(Socket);

impl ReservedPort {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }
}

/// A complete conversation: rooms, private messages, history, errors, pings, and an end.
pub(crate) async fn converse(server: SocketAddr) -> [Client; 2] {
    let mut alice = Client::connect(server, "/ws?clientId=alice").await;
    let mut bob = Client::connect(server, "/ws/dev?clientId=bob").await;
    alice.send_text(r#"{"type":"join","room":"dev","id":"j"}"#).await;
    alice.expect(r#"{"type":"joined","room":"dev","id":"j","count":2}"#).await;
    bob.send_text(r#"{"Message":"hello"}"#).await;
    alice.expect(r#"{"type":"message","clientId":"bob","room":"dev","Message":"hello"}"#).await;
    bob.expect(r#"{"type":"message","room":"dev"}"#).await;
    alice.send_text(r#"{"to":"bob","Message":"psst"}"#).await;
    alice.expect(r#"{"type":"message","to":"bob"}"#).await;
    bob.expect(r#"{"type":"message","clientId":"alice","Message":"psst"}"#).await;
    for (question, answer) in [
        (r#"{"type":"history","room":"dev"}"#, r#"{"type":"history","messages":[{"Message":"hello"}]}"#),
        (r#"{"type":"members","room":"dev"}"#, r#"{"type":"members","count":2}"#),
        (r#"{"type":"rooms"}"#, r#"{"type":"rooms"}"#),
        (r#"{"type":"ping","id":"p"}"#, r#"{"type":"pong","id":"p"}"#),
        ("{", r#"{"type":"error","code":"bad_json"}"#),
        (r#"{"type":"leave","room":"dev"}"#, r#"{"type":"left","room":"dev"}"#),
    ] {
        alice.send_text(question).await;
        alice.expect(answer).await;
    }
    [alice, bob]
}

#[actix::test]
async fn the_server_does_the_same_at_every_log_level() {
    for level in LEVELS {
        let (folder, port) = (tempfile::tempdir().unwrap(), ReservedPort::new());
        let bind = port.address().to_string();
        let variables = [("CHAT_BIND", bind.as_str()), ("CHAT_LOG", level), ("CHAT_DRAIN_SECONDS", "600")];
        let mut server = start_at(port.address(), folder.path(), &variables, Stdio::piped()).await;
        let clients = converse(port.address()).await;
        server.signal(Signal::TERM);
        for mut client in clients {
            client.expect(r#"{"type":"closing"}"#).await;
            client.expect_close(1001).await;
        }
        assert_eq!(server.exit_code().await, Some(0), "CHAT_LOG={level}");
    }
}

#[actix::test]
async fn a_second_signal_ends_the_server_at_every_log_level() {
    for level in LEVELS {
        let (folder, port) = (tempfile::tempdir().unwrap(), ReservedPort::new());
        let bind = port.address().to_string();
        let variables = [("CHAT_BIND", bind.as_str()), ("CHAT_LOG", level), ("CHAT_DRAIN_SECONDS", "600")];
        let mut server = start_at(port.address(), folder.path(), &variables, Stdio::piped()).await;
        let mut stays = test_kit::raw::Raw::open(port.address()).await.shake_hands("/ws?clientId=stays").await;
        assert!(stays.frame().await.unwrap().text().contains("\"welcome\""));
        server.signal(Signal::TERM);
        assert!(stays.frame().await.unwrap().text().contains("\"closing\""));
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code().await, Some(1), "CHAT_LOG={level}");
    }
}

#[actix::test]
async fn the_bots_do_the_same_at_every_log_level() {
    let server = crate::harness::TestServer::start(&[]);
    for level in LEVELS {
        let url = format!("ws://{}/ws", server.address());
        let bots = Command::new(bot_swarm().path())
            .args(["--server-url", &url, "--name-prefix", level, "--count", "5", "--messages-per-second", "5"])
            .args(["--seconds", "1", "--lateness-max-seconds", "3600", "--metrics-bind", "127.0.0.1:0"])
            .env_clear()
            .env("RUST_LOG", level)
            .current_dir(tempfile::tempdir().unwrap().path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let ended = actix_web::web::block(|| bots.wait_with_output().unwrap());
        let output = within(format!("the bots end with RUST_LOG={level}"), ended).await.unwrap();
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(report.starts_with("KEPT: "), "RUST_LOG={level}: {report}");
        assert_eq!(output.status.code(), Some(0), "RUST_LOG={level}");
    }
}

/// The arguments of every log macro in a file, each with its line.
fn log_arguments(source: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for name in ["trace!(", "debug!(", "info!(", "warn!(", "error!("] {
        for (at, _) in source.match_indices(name) {
            let before = source[..at].chars().next_back();
            if before.is_some_and(|character| character.is_alphanumeric() || character == '_') {
                continue;
            }
            let arguments = &source[at + name.len()..];
            let mut depth = 1;
            let end = arguments.char_indices().find(|(_, character)| {
                depth += match character {
                    '(' => 1,
                    ')' => -1,
                    _ => 0,
                };
                depth == 0
            });
            let end = end.map_or(arguments.len(), |(end, _)| end);
            found.push((1 + source[..at].matches('\n').count(), &arguments[..end]));
        }
    }
    found
}

/// Code that has a side effect anywhere.
const SIDE_EFFECTS: [&str; 17] = [
    ".await",
    "&mut ",
    "?",
    " = ",
    "+= ",
    "-= ",
    ".take()",
    ".next()",
    ".pop",
    ".push",
    ".insert(",
    ".remove(",
    ".send(",
    ".recv(",
    ".fetch_",
    ".replace(",
    ".swap(",
];

#[test]
fn no_log_line_has_an_argument_with_a_side_effect() {
    let arguments = log_arguments("warn!(\"{}\", f(x).await); xinfo!(1); info!(\"a\")");
    assert_eq!(arguments, [(1, "\"a\""), (1, "\"{}\", f(x).await")], "it finds what it looks for");
    let mut found = Vec::new();
    for path in tidy::files().into_iter().filter(|path| is_source(path)) {
        let source = fs::read_to_string(&path).unwrap();
        for (line, arguments) in log_arguments(&source) {
            // The text of the line is not an argument.
            let code: String = arguments.split('"').step_by(2).collect();
            let effects = SIDE_EFFECTS.iter().filter(|effect| code.contains(*effect));
            found.extend(effects.map(|effect| format!("{}:{line}: {effect}", path.display())));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Whether this file is part of a program, not of its tests.
fn is_source(path: &Path) -> bool {
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    is_rust && path.components().any(|part| part.as_os_str() == "src")
}
