//! Nodes that die, leave, come back, and lose the log.

use serde_json::json;
use test_kit::process::Signal;
use test_kit::{Client, raw, wait_until};

use crate::server::{Server, enters, nats};

/// Says some things, and waits until each is acknowledged.
async fn say(client: &mut Client, texts: &[&str]) {
    for text in texts {
        client.send_json(&json!({"type": "message", "Message": text, "id": text})).await;
        client.next_of("ack").await;
    }
}

#[actix::test]
async fn after_the_death_of_a_node_its_clients_resume_at_another_and_its_names_are_free() {
    let nats = nats().await;
    let (a, b) = (Server::start(&nats, "a", &[]).await, Server::start(&nats, "b", &[]).await);
    let (mut alice, welcome) = a.enter("alice").await;
    let (_carol, _) = a.enter("carol").await;
    let (mut bob, _) = b.enter("bob").await;
    say(&mut alice, &["one", "two"]).await;
    let _folder = a.kill();
    // With its key it is let in at once; a name without one is free once the node is out.
    let path = format!("/ws?clientId=alice&key={}", welcome["key"].as_str().unwrap());
    let (mut alice, _) = Client::enter(&b, &path).await;
    alice.send_json(&json!({"type": "join", "room": "lobby", "after": 1, "epoch": welcome["epoch"]})).await;
    assert_eq!(alice.next_of("joined").await["recovered"], true);
    assert_eq!(alice.next_of("message").await["Message"], "two");
    raw::handshake(&b, "/ws?clientId=carol").await.expect_refusal(409, "name_taken");
    let (_carol, _) = enters(&b, "/ws?clientId=carol").await;
    bob.send_json(&json!({"type": "members", "room": "lobby"})).await;
    assert_eq!(bob.next_of("members").await["count"], 3);
}

#[actix::test]
async fn a_node_that_leaves_in_order_is_out_at_once_and_tells_its_clients_to_go_elsewhere() {
    let nats = nats().await;
    let timeout = [("CHAT_NODE_TIMEOUT_SECONDS", "300")];
    let (mut a, b) = (Server::start(&nats, "a", &timeout).await, Server::start(&nats, "b", &timeout).await);
    let (mut alice, welcome) = a.enter("alice").await;
    say(&mut alice, &["one"]).await;
    let (mut bob, _) = b.enter("bob").await;
    a.process.signal(Signal::TERM);
    assert_eq!(alice.closed().await, 1001);
    let path = format!("/ws?clientId=alice&key={}", welcome["key"].as_str().unwrap());
    let (mut alice, _) = Client::enter(&b, &path).await;
    say(&mut alice, &["two"]).await;
    assert_eq!(a.process.exit_code().await, Some(0));
    drop(alice);
    wait_until("nobody of the node is left", || {
        let (_, body) = b.process.get("/api/rooms");
        body.contains(r#""count":1"#)
    })
    .await;
    bob.send_json(&json!({"type": "members", "room": "lobby"})).await;
    assert_eq!(bob.next_of("members").await["clientIds"], json!(["bob"]));
}

#[actix::test]
async fn a_node_comes_back_with_its_folder_or_with_an_empty_one_and_has_everything() {
    let nats = nats().await;
    let (mut a, b) = (Server::start(&nats, "a", &[]).await, Server::start(&nats, "b", &[]).await);
    let (mut bob, _) = Client::enter(&b, "/ws/dev?clientId=bob").await;
    let mut said = 0;
    for (is_killed, is_empty) in [(true, false), (false, false), (true, true), (false, true)] {
        let (mut alice, _) = enters(&a, "/ws/dev?clientId=alice").await;
        say(&mut alice, &[&format!("from a {said}"), &format!("again {said}")]).await;
        let variables = a.variables();
        let mut folder = if is_killed { a.kill() } else { a.stop() };
        say(&mut bob, &[&format!("meanwhile {said}")]).await;
        if is_empty {
            folder = tempfile::tempdir().unwrap();
        }
        a = Server::start_again(folder, &variables).await;
        said += 3;
        assert_eq!(a.history("dev").len(), said, "killed: {is_killed}, empty: {is_empty}");
        assert_eq!(a.history("dev"), b.history("dev"), "killed: {is_killed}, empty: {is_empty}");
        // It goes on as it should: nothing is numbered twice.
        say(&mut bob, &[&format!("back {said}")]).await;
        said += 1;
        wait_until("both have it", || a.history("dev").len() == said && b.history("dev").len() == said).await;
        assert_eq!(a.history("dev"), b.history("dev"));
    }
}

#[actix::test]
async fn a_node_without_the_log_lets_nobody_in_and_sends_its_clients_away_after_the_timeout() {
    let mut nats = nats().await;
    let a = Server::start(&nats, "a", &[]).await;
    let (mut alice, welcome) = a.enter("alice").await;
    say(&mut alice, &["one"]).await;
    nats.kill();
    a.is_not_ready("the log cannot be reached").await;
    raw::handshake(&a, "/ws?clientId=bob").await.expect_refusal(503, "unavailable");
    alice.send_json(&json!({"type": "message", "Message": "two", "id": "m-2"})).await;
    // Its outcome is unknown, so it is not refused.
    assert_eq!(alice.closed().await, 1001);
    nats.start_again().await;
    a.is_ready().await;
    let path = format!("/ws?clientId=alice&key={}", welcome["key"].as_str().unwrap());
    let (mut alice, _) = enters(&a, &path).await;
    alice.send_json(&json!({"type": "message", "Message": "two", "id": "m-2"})).await;
    alice.next_of("ack").await;
    assert_eq!(a.history("lobby"), [(1, "one".to_owned()), (2, "two".to_owned())]);
}

#[actix::test]
async fn a_node_that_was_paused_finds_itself_out_closes_its_clients_and_begins_anew() {
    let nats = nats().await;
    let (a, b) = (Server::start(&nats, "a", &[]).await, Server::start(&nats, "b", &[]).await);
    let (mut alice, welcome) = a.enter("alice").await;
    say(&mut alice, &["one"]).await;
    a.process.signal(Signal::STOP);
    // Its name is free at the other node once it is out.
    let (mut other, _) = enters(&b, "/ws?clientId=alice").await;
    say(&mut other, &["two"]).await;
    a.process.signal(Signal::CONT);
    assert_eq!(alice.closed().await, 1001);
    a.is_ready().await;
    let (mut carol, _) = enters(&a, "/ws?clientId=carol").await;
    say(&mut carol, &["three"]).await;
    assert_eq!(other.next_of("message").await["Message"], "two");
    assert_eq!(other.next_of("message").await["Message"], "three");
    let refused = raw::handshake(&a, &format!("/ws?clientId=alice&key={}", welcome["key"].as_str().unwrap())).await;
    refused.expect_refusal(409, "name_taken");
    assert_eq!(a.history("lobby"), b.history("lobby"));
}
