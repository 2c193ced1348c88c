//! The answers to operators are correct while a node loses the log.

use futures_util::future::join_all;
use serde_json::{Value, json};
use test_kit::nats::Nats;
use test_kit::process::Signal;
use test_kit::{Client, wait_until};

use crate::server::{Server, nats, say};

/// The operators' routes that change something, with their bodies.
const CHANGES: [(&str, &str, &str); 3] = [
    ("DELETE", "/api/rooms/dev", ""),
    ("DELETE", "/api/clients/bob", ""),
    ("POST", "/api/rooms/lobby/messages", r#"{"Message":"from the operator","id":"o-1"}"#),
];

/// A node with bob in the room `dev`, which has a message. The log may be unreachable for a long time.
async fn node() -> (Nats, Server, Client) {
    let nats = nats().await;
    let node = Server::start(&nats, "a", &[("CHAT_NODE_TIMEOUT_SECONDS", "300")]).await;
    let (mut bob, _) = Client::enter(&node, "/ws/dev?clientId=bob").await;
    say(&mut bob, &["one"]).await;
    (nats, node, bob)
}

/// Sends all changes at once. Returns the status and the code of each answer.
async fn ask_all(node: &Server) -> Vec<(u16, Value)> {
    let asked = CHANGES.map(|(method, path, body)| node.operator_says(method, path, body));
    let answers = join_all(asked).await.into_iter();
    answers.map(|(status, body)| (status, serde_json::from_str::<Value>(&body).unwrap()["code"].take())).collect()
}

#[actix::test]
async fn a_change_that_is_asked_for_while_the_log_is_out_of_reach_is_refused_and_does_not_happen_later() {
    let (nats, node, mut bob) = node().await;
    nats.signal(Signal::STOP);
    node.is_not_ready("the log cannot be reached").await;
    assert_eq!(ask_all(&node).await, vec![(503, json!("unavailable")); CHANGES.len()]);
    nats.signal(Signal::CONT);
    node.is_ready().await;
    say(&mut bob, &["two"]).await;
    assert_eq!(node.history("dev"), [(1, "one".to_owned()), (2, "two".to_owned())]);
    assert_eq!(node.history("lobby"), []);
}

#[actix::test]
async fn a_change_on_its_way_when_the_log_stops_has_an_unknown_outcome_and_may_still_happen() {
    let (nats, node, mut bob) = node().await;
    nats.signal(Signal::STOP);
    // The node does not know yet.
    assert_eq!(ask_all(&node).await, vec![(504, json!("outcome_unknown")); CHANGES.len()]);
    nats.signal(Signal::CONT);
    assert_eq!(bob.closed().await, 4004);
    wait_until("the room is dropped", || node.process.get("/api/rooms/dev/messages").0 == 404).await;
    wait_until("the message is there", || node.history("lobby") == [(1, "from the operator".to_owned())]).await;
    let (method, path, body) = CHANGES[2];
    let (status, again) = node.operator_says(method, path, body).await;
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!((status, &again["seq"], &again["duplicate"]), (200, &json!(1), &json!(true)), "{again}");
}
