//! The server reports its limit: over HTTP, as a metric, and as docs/diagnosis.md describes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use serde_json::{Value, json};
use starling_process::diagnosis::{RULES, Verdict, What};
use test_kit::{Exposition, raw};

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
        let request = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
        loop {
            assert_eq!(raw::http(&server, "GET", "/ws", request).await.status, 503);
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
