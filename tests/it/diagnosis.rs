//! The server reports its limit: over HTTP, as a metric, and as docs/diagnosis.md describes.

use std::fs;
use std::path::Path;

use starling_process::diagnosis::{RULES, Verdict, What};
use test_kit::{Exposition, raw};

use crate::harness::TestServer;

/// The answer once the server has read its metrics often enough.
async fn diagnosed(server: &TestServer, wanted: &str) -> serde_json::Value {
    loop {
        let answer = raw::get(server, "/api/diagnosis").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        if answer.get("what").is_some_and(|what| what == wanted) {
            return answer;
        }
        actix_rt::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[actix::test]
async fn a_full_server_says_that_there_is_no_place_and_then_that_there_is() {
    let server = TestServer::start(&[("CHAT_CONNECTIONS", "2")]);
    let alice = test_kit::Client::connect(&server, "/ws?clientId=alice").await;
    let bob = test_kit::Client::connect(&server, "/ws?clientId=bob").await;
    let answer = diagnosed(&server, "connections").await;
    assert_eq!(answer["sentence"], "There is no place for more connections: 2 of 2 are open.");
    assert_eq!(answer["confidence"], "sure");
    assert!(answer["evidence"][0]["value"].as_f64().unwrap() > 1.9, "{answer}");
    assert!(answer["remedy"].as_str().unwrap().contains("CHAT_CONNECTIONS"), "{answer}");
    assert!(answer["forSeconds"].is_u64() && answer["wouldRefute"].is_string(), "{answer}");
    let figures = Exposition::scrape(&server).await;
    assert!(figures.value("chat_limit_reached", &[("what", "connections")]) > 0.5);
    assert!(figures.value("chat_limit_reached", &[]) < 1.5, "one limit at a time");
    drop((alice, bob));
    let answer = diagnosed(&server, "nothing").await;
    assert!(answer["sentence"].as_str().unwrap().starts_with("Nothing is saturated; the nearest"), "{answer}");
    assert!(Exposition::scrape(&server).await.value("chat_limit_reached", &[]) < 0.5);
}

#[test]
fn the_page_has_the_rules_in_their_order() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diagnosis.md")).unwrap();
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| `") && !line.starts_with("| `what`")).collect();
    let rules: Vec<String> =
        RULES.iter().map(|rule| format!("| `{}` | {} | {} |", rule.what.as_str(), rule.when, rule.remedy)).collect();
    assert_eq!(rows, rules);
    let example = page.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let example: Verdict = serde_json::from_str(example).unwrap();
    let rule = RULES.iter().find(|rule| rule.what == example.what).unwrap();
    assert_eq!((&*example.remedy, &*example.would_refute), (rule.remedy, rule.would_refute));
    for what in What::ALL {
        assert!(page.contains(&format!("`{}`", what.as_str())), "{what:?}");
    }
}
