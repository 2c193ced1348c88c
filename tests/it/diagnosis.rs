//! The server reports its limit: over HTTP, as a metric, and as docs/diagnosis.md describes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use serde_json::{Value, json};
use starling_process::diagnosis::{RULES, Verdict, What};
use test_kit::{Exposition, Received, raw, within};

use crate::harness::{TestServer, starling};

/// The answer once it is as wanted.
async fn diagnosed(server: &TestServer, is_wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let answer = raw::get(server, "/api/diagnosis").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        if is_wanted(&answer) {
            return answer;
        }
        actix_rt::time::sleep(Duration::from_millis(200)).await;
    }
}

#[actix::test]
async fn a_full_server_says_that_it_is_near_and_then_that_connections_are_refused() {
    let server = TestServer::start(&[("CHAT_CONNECTIONS", "2")]);
    let alice = test_kit::Client::connect(&server, "/ws?clientId=alice").await;
    let bob = test_kit::Client::connect(&server, "/ws?clientId=bob").await;
    let is_full = |answer: &Value| answer["nearest"] == json!({"what": "flood", "used": 1.0});
    let answer = diagnosed(&server, |answer| answer["what"] == "nothing" && is_full(answer)).await;
    assert_eq!(answer["confidence"], 0.9);
    let refused = async {
        loop {
            assert_eq!(raw::handshake(&server, "/ws").await.status, 503);
            actix_rt::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let answer = diagnosed(&server, |answer| answer["what"] == "flood");
    let futures_util::future::Either::Right((answer, _)) =
        futures_util::future::select(pin!(refused), pin!(answer)).await;
    assert_eq!(answer["subject"], "connections");
    assert!(answer["sentence"].as_str().unwrap().contains("CHAT_CONNECTIONS allows 2"), "{answer}");
    assert!(answer["remedy"].as_str().unwrap().contains("CHAT_CONNECTIONS"), "{answer}");
    let figures = Exposition::scrape(&server).await;
    assert!(figures.value("chat_limit_reached", &[("what", "flood")]) > 0.5);
    assert!(figures.value("chat_limit_reached", &[]) < 1.5, "one limit at a time");
    drop((alice, bob));
    let answer = diagnosed(&server, |answer| answer["what"] == "nothing").await;
    assert!(answer["sentence"].as_str().unwrap().starts_with("Nothing is saturated; the nearest"), "{answer}");
    assert!(Exposition::scrape(&server).await.value("chat_limit_reached", &[]) < 0.5);
}

#[actix::test]
async fn a_full_server_names_the_limit_of_open_files_or_the_setting_whichever_it_is() {
    let by_files = ("the limit of open files allows 2,", "Raise the hard limit of open files");
    for (setting, (allows, remedy)) in [
        (None, by_files),
        (Some("0"), by_files),
        (Some("5"), by_files),
        (Some("1"), ("CHAT_CONNECTIONS allows 1,", "Raise CHAT_CONNECTIONS,")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = vec![("CHAT_BIND", "127.0.0.1:0"), ("CHAT_WORKERS", "1")];
        settings.extend(setting.map(|value| ("CHAT_CONNECTIONS", value)));
        // The server keeps 388 for itself.
        let server = starling().under(&["prlimit", "--nofile=390:390"]).start(folder.path(), &settings);
        let mut clients = Vec::new();
        let refused = async {
            loop {
                let mut raw = raw::Raw::open(server.address()).await;
                if raw.ask_for_websocket("/ws", "").await.status == 101 {
                    clients.push(raw);
                }
                actix_rt::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let named = async {
            loop {
                let answer = raw::get(&server, "/api/diagnosis").await.json();
                if answer["what"] == "flood" {
                    return answer;
                }
                actix_rt::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let (refused, named) = (pin!(refused), pin!(named));
        let futures_util::future::Either::Right((answer, _)) =
            within("flood", futures_util::future::select(refused, named)).await;
        assert!(answer["sentence"].as_str().unwrap().contains(allows), "{setting:?}: {answer}");
        assert!(answer["remedy"].as_str().unwrap().starts_with(remedy), "{setting:?}: {answer}");
        let line = server.line_with("diagnosis: There is no place for more connections");
        assert!(line.contains(allows) && line.contains(remedy), "{setting:?}: {line}");
    }
}

#[actix::test]
async fn the_limit_of_all_outboxes_is_the_one_in_force() {
    let mib = |count: u32| f64::from(count) * 1024.0 * 1024.0;
    for (outboxes, limit, is_elsewhere) in [("1073741824", mib(64), 1.0), ("33554432", mib(32), 0.0)] {
        let memory = (128 * 1024 * 1024).to_string();
        let settings =
            [("CHAT_WORKERS", "2"), ("CHAT_MEMORY_BYTES", memory.as_str()), ("CHAT_OUTBOXES_BYTES", outboxes)];
        let figures = Exposition::scrape(&TestServer::start(&settings)).await;
        let elsewhere = figures.value("chat_limit_set_elsewhere", &[("limit", "CHAT_OUTBOXES_BYTES")]);
        let told = [figures.value("chat_outboxes_limit_bytes", &[]), elsewhere];
        assert!(told.iter().zip([limit, is_elsewhere]).all(|(told, is)| (told - is).abs() < 0.5), "{told:?}");
    }
}

/// The address of the clients that come again and again.
const HERE: [u8; 4] = [127, 0, 0, 2];

/// What clients do again and again at a limit.
#[derive(Debug, Clone, Copy)]
enum Refused {
    /// One handshake at this path; it stays if it succeeds.
    Handshake(&'static str),
    /// Many handshakes at once, which end at once.
    Burst(usize),
    /// A connection that sends nothing.
    Silence,
    /// A command of a connected client.
    Command(&'static str),
}

/// The limit of a server that refuses, and what the diagnosis must say.
#[derive(Debug, Clone, Copy)]
struct Case {
    variables: &'static [(&'static str, &'static str)],
    /// Connections for plain HTTP that are there before.
    plain: usize,
    refused: Refused,
    pause_ms: u64,
    subject: &'static str,
    /// What the remedy names.
    setting: &'static str,
}

const OPERATOR: &str = "letmein-letmein-letmein";
const TOKENS: &[(&str, &str)] =
    &[("CHAT_AUTH", "jwt"), ("CHAT_JWT_SECRET", "0123456789abcdef0123456789abcdef"), ("CHAT_ADMIN_TOKEN", OPERATOR)];
const JOIN: Refused = Refused::Command(r#"{"type":"join","room":"tea"}"#);

/// Does the same again and again.
async fn again(case: Case, server: &TestServer) {
    let mut plain = Vec::new();
    for _ in 0..case.plain {
        plain.push(raw::Raw::open_from(HERE, server.address()).await);
    }
    let (mut kept, mut client) = (Vec::new(), None);
    if matches!(case.refused, Refused::Command(_)) {
        // Takes the only place of CHAT_ROOMS=1.
        let mut holder = test_kit::Client::connect(server, "/ws?clientId=bob").await;
        holder.send_text(r#"{"type":"join","room":"coffee"}"#).await;
        client = Some((holder, test_kit::Client::connect(server, "/ws").await));
    }
    let handshake = async |path| {
        let mut raw = raw::Raw::open_from(HERE, server.address()).await;
        let status = raw.ask_for_websocket(path, "").await.status;
        (raw, status)
    };
    loop {
        for raw in &mut plain {
            assert_eq!(raw.get("/healthz").await.status, 200);
        }
        match (case.refused, &mut client) {
            (Refused::Handshake(path), _) => {
                let (raw, status) = handshake(path).await;
                kept.extend(Some(raw).filter(|_| status == 101));
            }
            (Refused::Burst(number), _) => {
                let all = futures_util::future::join_all((0..number).map(|_| handshake("/ws"))).await;
                let refused = all.iter().filter(|(_, status)| *status == 503).count();
                assert!(refused > 0 && refused < number, "{refused} of {number}");
            }
            (Refused::Silence, _) => kept.push(raw::Raw::open_from(HERE, server.address()).await),
            (Refused::Command(text), Some((_, client))) => {
                let command: Value = serde_json::from_str(text).unwrap();
                // Too many errors end a connection.
                if !client.try_send_json(&command).await || !matches!(client.receive().await, Received::Text(_)) {
                    *client = test_kit::Client::connect(server, "/ws").await;
                }
            }
            (Refused::Command(_), None) => unreachable!("a command needs a client"),
        }
        actix_rt::time::sleep(Duration::from_millis(case.pause_ms)).await;
    }
}

#[actix::test]
async fn each_limit_that_refuses_is_named_with_the_setting_that_raises_it() {
    use Refused::{Burst, Handshake, Silence};
    let case = |variables, plain, refused, pause_ms, subject, setting| Case {
        variables,
        plain,
        refused,
        pause_ms,
        subject,
        setting,
    };
    let address = &[("CHAT_CONNECTIONS_PER_ADDRESS", "1")];
    let rooms = &[
        ("CHAT_ROOMS_PER_CLIENT", "1"),
        ("CHAT_JOINS_PER_MINUTE", "100000"),
        ("CHAT_MESSAGES_PER_SECOND", "1000"),
        ("CHAT_BURST", "1000"),
    ];
    let cases = [
        // A small server that refuses seldom, and whose places plain HTTP holds.
        case(&[("CHAT_CONNECTIONS", "2")], 2, Handshake("/ws"), 1_500, "connections", "CHAT_CONNECTIONS"),
        // Full only between two readings.
        case(&[("CHAT_CONNECTIONS", "6")], 0, Burst(24), 600, "connections", "CHAT_CONNECTIONS"),
        case(address, 1, Handshake("/ws"), 100, "connections of an address", "CHAT_CONNECTIONS_PER_ADDRESS"),
        case(address, 0, Silence, 100, "connections of an address", "CHAT_CONNECTIONS_PER_ADDRESS"),
        case(
            &[("CHAT_HANDSHAKES_PER_SECOND", "1")],
            0,
            Handshake("/ws"),
            50,
            "handshakes of an address",
            "CHAT_HANDSHAKES_PER_SECOND",
        ),
        case(TOKENS, 0, Handshake("/ws?token=wrong"), 20, "tokens", "key"),
        case(&[], 0, Handshake("/ws?clientId=guest-1"), 20, "handshakes", "code"),
        case(&[("CHAT_ROOMS", "1")], 0, JOIN, 900, "rooms", "CHAT_ROOMS"),
        case(rooms, 0, JOIN, 20, "commands", "CHAT_ROOMS_PER_CLIENT"),
        case(&[("CHAT_JOINS_PER_MINUTE", "1")], 0, JOIN, 20, "commands", "CHAT_JOINS_PER_MINUTE"),
    ];
    // Before any of them is asked: a start blocks this thread.
    let servers = cases.map(|case| (case, TestServer::start(case.variables)));
    let judged = servers.map(async |(case, server)| {
        let bearer = format!("Authorization: Bearer {OPERATOR}\r\nConnection: close\r\n");
        let headers = if case.variables == TOKENS { bearer.as_str() } else { "Connection: close\r\n" };
        let named = async {
            loop {
                let answer = raw::http(&server, "GET", "/api/diagnosis", headers).await.json();
                if answer["what"] == "flood" {
                    return answer;
                }
                actix_rt::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let (again, named) = (pin!(again(case, &server)), pin!(named));
        let either = within(format!("{case:?}"), futures_util::future::select(again, named)).await;
        let futures_util::future::Either::Right((answer, _)) = either else { unreachable!("it goes on for ever") };
        assert_eq!(answer["subject"], case.subject, "{case:?}: {answer}");
        assert!(answer["remedy"].as_str().unwrap().contains(case.setting), "{case:?}: {answer}");
        for evidence in answer["evidence"].as_array().unwrap().iter().take(1) {
            assert!(evidence["value"].as_f64() >= evidence["limit"].as_f64(), "{case:?}: {answer}");
        }
    });
    futures_util::future::join_all(judged).await;
}

/// A server whose commands wait for each other, because only one may be in flight, and the disk takes its time.
#[actix::test]
async fn commands_that_wait_for_a_credit_are_named() {
    let server =
        TestServer::start(&[("CHAT_SERVER_CREDITS", "1"), ("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_BURST", "1000")]);
    let clients = futures_util::future::join_all((0..16).map(|_| test_kit::Client::connect(&server, "/ws"))).await;
    let talking = futures_util::future::join_all(clients.into_iter().map(async |mut client| {
        loop {
            client.send_text(r#"{"Message":"hello"}"#).await;
            tokio::task::yield_now().await;
        }
    }));
    let named = diagnosed(&server, |answer| answer["subject"] == "commands in flight");
    let (talking, named) = (pin!(talking), pin!(named));
    let either = within("commands in flight", futures_util::future::select(talking, named)).await;
    let futures_util::future::Either::Right((answer, _)) = either else { unreachable!("they never end") };
    assert_eq!(answer["what"], "session", "{answer}");
    assert!(answer["remedy"].as_str().unwrap().contains("CHAT_SERVER_CREDITS"), "{answer}");
}

/// Every field of `GET /api/diagnosis`, as the protocol promises it.
#[actix::test]
async fn the_answer_has_the_fields_of_the_protocol_with_their_types() {
    let server = TestServer::start(&[]);
    let first = raw::get(&server, "/api/diagnosis").await.json();
    if first["confidence"] == 0.0 {
        assert_eq!((&first["what"], &first["nearest"]["what"]), (&json!("nothing"), &json!("nothing")), "{first}");
    }
    let mut alice = test_kit::Client::connect(&server, "/ws?clientId=alice").await;
    let talks = async {
        loop {
            alice.send_text(r#"{"Message":"hello"}"#).await;
            actix_rt::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let answer = diagnosed(&server, |answer| answer["latency"].as_array().is_some_and(|parts| !parts.is_empty()));
    let futures_util::future::Either::Right((answer, _)) =
        futures_util::future::select(pin!(talks), pin!(answer)).await;
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let all = [
        "what",
        "subject",
        "sentence",
        "confidence",
        "since",
        "forSeconds",
        "evidence",
        "remedy",
        "wouldRefute",
        "nearest",
        "latency",
    ];
    assert_eq!(keys(&answer), all.map(str::to_owned).into());
    assert!((0.0..=1.0).contains(&answer["confidence"].as_f64().unwrap()), "{answer}");
    assert!(answer["since"].as_u64().unwrap() > 1_700_000_000_000, "{answer}");
    assert_eq!(keys(&answer["evidence"][0]), ["name", "value", "unit", "limit"].map(str::to_owned).into());
    assert_eq!(keys(&answer["nearest"]), ["what", "used"].map(str::to_owned).into());
    assert_eq!(keys(&answer["latency"][0]), ["part", "p50Ms", "p99Ms", "share"].map(str::to_owned).into());
    let shares = answer["latency"].as_array().unwrap().iter().map(|part| part["share"].as_f64().unwrap());
    assert!((shares.sum::<f64>() - 1.0).abs() < 1e-6, "{answer}");
}

#[test]
fn the_page_has_the_rules_in_their_order() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diagnosis.md")).unwrap();
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `") && !line.starts_with("| `what`"))
        .take(RULES.len())
        .collect();
    let rules: Vec<String> =
        RULES.iter().map(|rule| format!("| `{}` | {} | {} |", rule.what.as_str(), rule.when, rule.remedy)).collect();
    assert_eq!(rows, rules);
    let example = page.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let example: Verdict = serde_json::from_str(example).unwrap();
    let of_rule =
        |rule: &&starling_process::diagnosis::Rule| rule.what == example.what && rule.remedy == example.remedy;
    assert_eq!(RULES.iter().find(of_rule).unwrap().would_refute, example.would_refute);
    for what in What::ALL {
        assert!(page.contains(&format!("`{}`", what.as_str())), "{what:?}");
    }
}
