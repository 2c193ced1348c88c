//! A decision of an operator at one node holds on all: at once, after a restart, and on a node that begins later.

use serde_json::{Value, json};
use test_kit::nats::Nats;
use test_kit::process::Signal;
use test_kit::{Client, LOOK, raw, within};

use crate::harness::{Scribe, has_checkpoints, settings};
use crate::replays::{CHECKPOINT_RECORDS, PATIENT, wait_trimmed};
use crate::server::{Server, nats};

const SANCTIONS: &str = "/api/moderation/sanctions";

/// Decides at a node.
async fn impose(node: &Server, sanction: Value) {
    let (status, body) = node.operator_says("POST", SANCTIONS, &sanction.to_string()).await;
    assert_eq!(status, 200, "{body}");
}

/// What is in force at a node, and what was decided.
async fn known(node: &Server) -> (Value, Value) {
    let read = async |path| serde_json::from_str::<Value>(&node.operator("GET", path).await.1).unwrap();
    (read(SANCTIONS).await, read("/api/moderation/audit").await)
}

/// Mutes alice in the lobby, bans mallory, slows `dev` down, and makes `ops` private for carol.
async fn decide(node: &Server) {
    impose(node, json!({"measure": "mute", "clientId": "alice", "room": "lobby", "seconds": 600, "reason": "spam"}))
        .await;
    impose(node, json!({"measure": "ban", "clientId": "mallory"})).await;
    for (path, change) in [
        ("/api/rooms/dev/settings", json!({"slowSeconds": 60, "topic": "tests"})),
        ("/api/rooms/ops/settings", json!({"access": "invited"})),
        ("/api/rooms/ops/invitations", json!({"clientId": "carol"})),
    ] {
        let (status, body) = node.operator_says("POST", path, &change.to_string()).await;
        assert_eq!(status, 200, "{body}");
    }
}

/// What [`decide`] has decided holds at a node, where alice is not connected.
async fn holds(node: &Server, name: &str) {
    raw::handshake(node, "/ws?clientId=mallory").await.expect_refusal(403, "banned");
    raw::handshake(node, "/ws/ops?clientId=eve").await.expect_refusal(403, "not_invited");
    let (mut carol, _) = Client::enter(node, "/ws/ops?clientId=carol").await;
    assert_eq!(carol.next_of("settings").await["settings"], json!({"access": "invited"}), "{name}");
    carol.send_close(1000).await;
    assert_eq!(carol.closed().await, 1000);
    let (mut alice, _) = Client::enter(node, "/ws?clientId=alice").await;
    alice.send_json(&json!({"Message": "hello", "id": "m1"})).await;
    let refused = alice.next_of("error").await;
    assert_eq!((&refused["code"], &refused["room"]), (&json!("muted"), &json!("lobby")), "{name}: {refused}");
    alice.send_json(&json!({"type": "join", "room": "dev"})).await;
    let joined = alice.next_of("joined").await;
    assert_eq!(joined["settings"], json!({"slowSeconds": 60, "topic": "tests"}), "{name}");
    for (id, answer) in [("d1", "ack"), ("d2", "error")] {
        alice.send_json(&json!({"Message": "hello", "room": "dev", "id": format!("{name}-{id}")})).await;
        assert_eq!(alice.next_of(answer).await["id"], format!("{name}-{id}"));
    }
    alice.send_close(1000).await;
    assert_eq!(alice.closed().await, 1000);
}

#[actix::test]
async fn a_decision_at_one_node_holds_at_the_other_and_a_ban_closes_the_sessions_on_both() {
    let nats = nats().await;
    let (a, b) = (Server::start(&nats, "a", &[]).await, Server::start(&nats, "b", &[]).await);
    let (mut mallory, _) = b.enter("mallory").await;
    let (mut eve, _) = Client::enter(&b, "/ws/ops?clientId=eve").await;
    decide(&a).await;
    assert_eq!(mallory.closed().await, 4005);
    assert_eq!(eve.next_of("error").await["code"], "not_invited");
    assert_eq!(eve.next_of("left").await["room"], "ops");
    within("both know the same", async {
        while known(&b).await != known(&a).await {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    holds(&b, "b").await;
    // An address is the same client at each node.
    let (mut at_a, mut at_b) = (a.enter("one").await.0, b.enter("two").await.0);
    impose(&b, json!({"measure": "ban", "address": "127.0.0.1", "reason": "flood"})).await;
    for client in [&mut at_a, &mut at_b] {
        assert_eq!(client.closed().await, 4005);
    }
    let lift = format!("{SANCTIONS}?measure=ban&address=127.0.0.1");
    assert_eq!(a.operator("DELETE", &lift).await.0, 204);

    // A node that was killed reads it from its history and the log, and one that begins later from the log.
    let variables = a.variables();
    let a = Server::start_again(a.kill(), &variables).await;
    let c = Server::start(&nats, "c", &[]).await;
    let of_b = known(&b).await;
    assert_eq!(of_b.1["entries"].as_array().unwrap().len(), 7);
    for (node, name) in [(&a, "a"), (&c, "c")] {
        assert_eq!(known(node).await, of_b, "{name}");
        holds(node, name).await;
    }
}

#[actix::test]
async fn a_node_that_begins_at_a_checkpoint_knows_the_decisions() {
    let nats = Nats::start().await;
    let b = Server::start(&nats, "b", &PATIENT).await;
    decide(&b).await;
    let scribe = Scribe::begin(&nats.url(), u64::MAX - 1).await;
    for kept in 1..=3 {
        scribe.write_void(CHECKPOINT_RECORDS).await;
        has_checkpoints(&settings(&nats.url()), kept).await;
    }
    wait_trimmed(&nats).await;
    let a = Server::start(&nats, "a", &PATIENT).await;
    assert_eq!(known(&a).await, known(&b).await);
    holds(&a, "a").await;
}

#[actix::test]
async fn a_decision_that_the_log_cannot_take_is_refused_and_does_not_hold() {
    let nats = nats().await;
    let node = Server::start(&nats, "a", &[("CHAT_NODE_TIMEOUT_SECONDS", "300")]).await;
    nats.signal(Signal::STOP);
    node.is_not_ready("the log cannot be reached").await;
    let ban = json!({"measure": "ban", "clientId": "mallory"}).to_string();
    assert_eq!(node.operator_says("POST", SANCTIONS, &ban).await.0, 503);
    nats.signal(Signal::CONT);
    node.is_ready().await;
    assert_eq!(known(&node).await, (json!({"sanctions": []}), json!({"entries": []})));
    Client::enter(&node, "/ws?clientId=mallory").await;
}
