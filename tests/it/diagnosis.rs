//! The server reports its limit: over HTTP, as a metric, and as docs/diagnosis.md describes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use serde_json::{Value, json};
use starling_process::diagnosis::{RULES, Verdict, What};
use test_kit::{Exposition, raw, within};

use crate::harness::TestServer;

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
    assert!(answer["sentence"].as_str().unwrap().contains("2 of 2 are open"), "{answer}");
    assert!(answer["remedy"].as_str().unwrap().contains("CHAT_CONNECTIONS"), "{answer}");
    let figures = Exposition::scrape(&server).await;
    assert!(figures.value("chat_limit_reached", &[("what", "flood")]) > 0.5);
    assert!(figures.value("chat_limit_reached", &[]) < 1.5, "one limit at a time");
    drop((alice, bob));
    let answer = diagnosed(&server, |answer| answer["what"] == "nothing").await;
    assert!(answer["sentence"].as_str().unwrap().starts_with("Nothing is saturated; the nearest"), "{answer}");
    assert!(Exposition::scrape(&server).await.value("chat_limit_reached", &[]) < 0.5);
}

/// The address of the clients that come again and again.
const HERE: [u8; 4] = [127, 0, 0, 2];

/// What clients do again and again at a limit.
#[derive(Debug, Clone, Copy)]
enum Refused {
    /// Handshakes, at this path.
    Handshake(&'static str),
    /// A command of the client that is connected.
    Command(&'static str),
}

/// The connections that are there before.
#[derive(Debug, Clone, Copy)]
enum Held {
    WebSocket,
    /// Plain connections for HTTP, this number.
    Plain(usize),
}

#[actix::test]
async fn each_limit_that_refuses_is_named_with_the_setting_that_raises_it() {
    use Held::{Plain, WebSocket};
    use Refused::{Command, Handshake};
    let operator = "letmein-letmein-letmein";
    let tokens =
        [("CHAT_AUTH", "jwt"), ("CHAT_JWT_SECRET", "0123456789abcdef0123456789abcdef"), ("CHAT_ADMIN_TOKEN", operator)];
    for (variables, held, refused, pause, subject, setting) in [
        // A small server that refuses seldom.
        (&[("CHAT_CONNECTIONS", "2")][..], Plain(2), Handshake("/ws"), 1_500, "connections", "CHAT_CONNECTIONS"),
        (
            &[("CHAT_CONNECTIONS_PER_ADDRESS", "1")],
            Plain(1),
            Handshake("/ws"),
            100,
            "connections of an address",
            "CHAT_CONNECTIONS_PER_ADDRESS",
        ),
        (
            &[("CHAT_HANDSHAKES_PER_SECOND", "1")],
            Plain(0),
            Handshake("/ws"),
            50,
            "handshakes of an address",
            "CHAT_HANDSHAKES_PER_SECOND",
        ),
        (&tokens, Plain(0), Handshake("/ws?token=wrong"), 20, "tokens", "key"),
        (&[("CHAT_ROOMS", "1")], WebSocket, Command(r#"{"type":"join","room":"tea"}"#), 900, "rooms", "CHAT_ROOMS"),
        (
            &[("CHAT_JOINS_PER_MINUTE", "1")],
            WebSocket,
            Command(r#"{"type":"join","room":"tea"}"#),
            20,
            "commands",
            "CHAT_JOINS_PER_MINUTE",
        ),
    ] {
        let server = TestServer::start(variables);
        let mut plain = Vec::new();
        let (mut holder, mut client) = (None, None);
        match held {
            WebSocket => {
                holder = Some(test_kit::Client::connect(&server, "/ws?clientId=bob").await);
                client = Some(test_kit::Client::connect(&server, "/ws").await);
            }
            Plain(number) => {
                for _ in 0..number {
                    plain.push(raw::Raw::open_from(HERE, server.address()).await);
                }
            }
        }
        if let Some(holder) = &mut holder {
            // Takes the only place of CHAT_ROOMS=1.
            holder.send_text(r#"{"type":"join","room":"coffee"}"#).await;
        }
        let again = async {
            let mut round = 0;
            loop {
                round += 1;
                for raw in &mut plain {
                    assert_eq!(raw.get("/healthz").await.status, 200);
                }
                match (refused, &mut client) {
                    (Command(text), Some(client)) => {
                        let command: Value = serde_json::from_str(text).unwrap();
                        client.send_json(&command).await;
                        // Twenty errors in a row end a connection, and a client that only writes hears of it late.
                        if round % 15 == 0 {
                            *client = test_kit::Client::connect(&server, "/ws").await;
                        }
                    }
                    (Handshake(path), _) => {
                        let mut raw = raw::Raw::open_from(HERE, server.address()).await;
                        raw.ask_for_websocket(path, "").await;
                    }
                    (Command(_), None) => unreachable!("a command needs a client"),
                }
                actix_rt::time::sleep(Duration::from_millis(pause)).await;
            }
        };
        let is_secret = variables.contains(&tokens[2]);
        let bearer = format!("Authorization: Bearer {operator}\r\nConnection: close\r\n");
        let headers = if is_secret { bearer.as_str() } else { "Connection: close\r\n" };
        let named = async {
            loop {
                let answer = raw::http(&server, "GET", "/api/diagnosis", headers).await.json();
                if answer["what"] == "flood" {
                    return answer;
                }
                actix_rt::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let (again, named) = (pin!(again), pin!(named));
        let futures_util::future::Either::Right((answer, _)) =
            within(setting, futures_util::future::select(again, named)).await;
        assert_eq!((&answer["what"], &answer["subject"]), (&json!("flood"), &json!(subject)), "{answer}");
        assert!(answer["remedy"].as_str().unwrap().contains(setting), "{answer}");
    }
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
