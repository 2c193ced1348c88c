//! Nodes that die, leave, return, and lose the log.

use rusqlite::Connection;
use serde_json::json;
use test_kit::nats::Nats;
use test_kit::process::Signal;
use test_kit::{Client, Listens as _, Process, raw, wait_until};

use crate::faults::{Proxy, Way};
use crate::harness::operator;
use crate::server::{Server, enters, members, nats, say, starling};

#[actix::test]
async fn after_the_death_of_a_node_its_clients_resume_at_another_and_its_names_are_free() {
    let nats = nats().await;
    let (a, b) = (Server::start(&nats, "a", &[]).await, Server::start(&nats, "b", &[]).await);
    let (mut alice, welcome) = a.enter("alice").await;
    let (_carol, _) = a.enter("carol").await;
    let (mut bob, _) = b.enter("bob").await;
    say(&mut alice, &["one", "two"]).await;
    let _folder = a.kill();
    // With its key, a client is accepted at once; without a key, its name is free once the node was declared dead.
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

/// A client took its name back from a node that had died, and hung up. It stayed in the lists of the rooms that it was in
/// at the dead node, and so did the next client with the name.
#[actix::test]
async fn a_client_that_takes_its_name_back_from_a_dead_node_is_in_the_rooms_that_it_enters_and_in_no_other() {
    let nats = nats().await;
    // Longer than the test: the node is not declared dead.
    let timeout = [("CHAT_NODE_TIMEOUT_SECONDS", "300")];
    let (a, b) = (Server::start(&nats, "a", &timeout).await, Server::start(&nats, "b", &timeout).await);
    let c = Server::start(&nats, "c", &timeout).await;
    let (mut alice, _) = a.enter("alice").await;
    let (mut bob, welcome) = Client::enter(&c, "/ws/r3?clientId=bob").await;
    bob.send_json(&json!({"type": "join", "room": "lobby"})).await;
    bob.next_of("joined").await;
    let (_carol, _) = Client::enter(&c, "/ws/r3?clientId=carol").await;
    let listed = |names: &[&str]| (names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), names.len() as u64);
    let _folder = c.kill();
    assert_eq!(members(&mut alice, "r3").await, listed(&["bob", "carol"]), "nobody knows yet");
    let path = format!("/ws?clientId=bob&key={}", welcome["key"].as_str().unwrap());
    let (mut bob, _) = Client::enter(&b, &path).await;
    for client in [&mut bob, &mut alice] {
        assert_eq!(members(client, "lobby").await, listed(&["alice", "bob"]));
        assert_eq!(members(client, "r3").await, listed(&["carol"]));
    }
    bob.send_close(1000).await;
    bob.expect_close(1000).await;
    // As on one server, the name is free once its connection has ended.
    let (mut stranger, _) = enters(&a, "/ws/dev?clientId=bob").await;
    for client in [&mut stranger, &mut alice] {
        assert_eq!(members(client, "lobby").await, listed(&["alice"]));
        assert_eq!(members(client, "r3").await, listed(&["carol"]));
        assert_eq!(members(client, "dev").await, listed(&["bob"]));
    }
    raw::handshake(&a, "/ws?clientId=carol").await.expect_refusal(409, "name_taken");
}

#[actix::test]
async fn a_node_that_dies_while_nobody_says_anything_is_out_after_the_timeout() {
    let nats = nats().await;
    let (a, b) = (Server::start(&nats, "a", &[]).await, Server::start(&nats, "b", &[]).await);
    let (mut anna, _) = a.enter("anna").await;
    let (_bert, _) = b.enter("bert").await;
    let _folder = b.kill();
    // A request for the rooms writes nothing into the log.
    wait_until("the dead node's client is no member any more", || {
        let (_, body) = a.process.get("/api/rooms");
        body.contains(r#""count":1"#)
    })
    .await;
    anna.send_json(&json!({"type": "members", "room": "lobby"})).await;
    assert_eq!(anna.next_of("members").await["clientIds"], json!(["anna"]));
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
        // It continues correctly: no number is assigned twice.
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
    // Its name is free at the other node once it was declared dead.
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

#[actix::test]
async fn a_node_that_was_cut_off_declares_only_the_dead_out_when_it_returns() {
    let nats = nats().await;
    let way = Proxy::start(nats.address()).await;
    let (a, c) = (Server::start(&nats, "a", &[]).await, Server::start(&nats, "c", &[]).await);
    let url = way.url();
    // The proxy is on this thread.
    let begin = move || Server::begin(tempfile::tempdir().unwrap(), &url, "b", &[]);
    let b = tokio::task::spawn_blocking(begin).await.unwrap();
    b.is_ready().await;
    let (mut alice, _) = a.enter("alice").await;
    let (mut bob, _) = b.enter("bob").await;
    let (carol, _) = c.enter("carol").await;
    way.set(Way::Cut);
    assert_eq!(bob.closed().await, 1001);
    // Its name is free once the others have declared it dead.
    let (_second, _) = enters(&a, "/ws?clientId=bob").await;
    way.set(Way::Open);
    b.is_ready().await;
    // A node that really is dead is declared so, later than one that `b` took for dead would be.
    drop(carol);
    let _folder = c.kill();
    let (mut carol, _) = enters(&b, "/ws?clientId=carol").await;
    say(&mut carol, &["one"]).await;
    say(&mut alice, &["two"]).await;
    assert_eq!(alice.next_of("message").await["Message"], "two", "she is still connected");
}

#[actix::test]
async fn a_node_that_was_paused_and_thrown_out_by_nats_is_ready_once_it_has_what_was_said_meanwhile() {
    // NATS ends the connection of a client that does not answer, and what it has sent to the client is lost.
    let nats = Nats::with("ping_interval: \"200ms\"\nping_max: 1\njetstream {}").await;
    let variables =
        [("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_MESSAGE_BYTES", "60000"), ("CHAT_FRAME_BYTES", "400000")];
    let (a, b) = (Server::start(&nats, "a", &variables).await, Server::start(&nats, "b", &variables).await);
    let (mut alice, _) = a.enter("alice").await;
    let (_bob, _) = b.enter("bob").await;
    say(&mut alice, &["one"]).await;
    wait_until("both have it", || a.history("lobby") == b.history("lobby")).await;
    b.process.signal(Signal::STOP);
    // More than the buffers on the way hold.
    let text = "x".repeat(50_000);
    for _ in 0..40 {
        for _ in 0..10 {
            alice.send_json(&json!({"type": "message", "Message": text})).await;
        }
        for _ in 0..10 {
            alice.next_of("message").await;
        }
    }
    // The name is free once the node was declared dead, which takes longer than the log may be out of reach.
    let (_bob, _) = enters(&a, "/ws?clientId=bob").await;
    b.process.signal(Signal::CONT);
    // The first answer is not the one of before the pause.
    b.is_ready().await;
    assert_eq!(a.history("lobby").last().unwrap().0, 401);
    assert_eq!(a.history("lobby").last(), b.history("lobby").last());
}

#[actix::test]
async fn a_node_that_nats_does_not_let_in_again_says_why_and_comes_back_when_it_may() {
    let mut nats = Nats::with("jetstream {}").await;
    let a = Server::start(&nats, "a", &[("CHAT_NODE_TIMEOUT_SECONDS", "300")]).await;
    let (mut alice, _) = a.enter("alice").await;
    nats.kill();
    nats.change("jetstream {}\nauthorization { user: chat, password: secret }").await;
    a.is_not_ready("the log cannot be reached").await;
    a.process.line_with("cannot connect to NATS again: nats: authorization violation");
    nats.kill();
    nats.change("jetstream {}").await;
    a.is_ready().await;
    say(&mut alice, &["one"]).await;
}

#[actix::test]
async fn a_node_whose_log_is_full_says_so_and_goes_on_when_there_is_space() {
    let nats = nats().await;
    let a = Server::start(&nats, "a", &[("CHAT_NODE_TIMEOUT_SECONDS", "300")]).await;
    let (mut alice, _) = a.enter("alice").await;
    let operator = operator(&nats.url()).await;
    let stream = operator.get_stream("starling").await.unwrap();
    let mut config = stream.cached_info().config.clone();
    let limit = std::mem::replace(&mut config.max_bytes, 1);
    operator.update_stream(&config).await.unwrap();
    // The node sees it although it has nothing to write.
    a.is_not_ready("the log takes no records").await;
    a.process.line_with("the log takes no records: the stream is full");
    raw::handshake(&a, "/ws?clientId=bob").await.expect_refusal(503, "unavailable");
    alice.send_json(&json!({"type": "message", "Message": "one", "id": "m-1"})).await;
    a.process.line_with("maximum bytes exceeded");
    config.max_bytes = limit;
    operator.update_stream(&config).await.unwrap();
    alice.next_of("ack").await;
    a.is_ready().await;
}

#[actix::test]
async fn a_nats_that_takes_smaller_records_than_before_ends_no_node() {
    let mut nats = nats().await;
    let a = Server::start(&nats, "a", &[("CHAT_NODE_TIMEOUT_SECONDS", "300")]).await;
    let (mut alice, _) = a.enter("alice").await;
    nats.kill();
    nats.change("max_payload: 2000\njetstream {}").await;
    a.is_not_ready("the log takes no records").await;
    a.process.line_with("the max_payload of NATS is smaller than the largest record");
    alice.send_json(&json!({"type": "message", "Message": "x".repeat(3_000), "id": "m-1"})).await;
    a.process.line_with("and NATS takes at most 2000");
    nats.kill();
    nats.change("jetstream {}").await;
    alice.next_of("ack").await;
    a.is_ready().await;
}

#[actix::test]
async fn a_server_that_cannot_be_a_node_says_why_and_ends() {
    let nats = nats().await;
    let folder = tempfile::tempdir().unwrap();
    let alone = [("CHAT_BIND", "127.0.0.1:0"), ("CHAT_DRAIN_SECONDS", "0")];
    let run = |more: &[(&str, &str)]| {
        let output = starling().run(folder.path(), &[], &[&alone, more].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    // A server without others has a history of its own, which the log does not have.
    let server = starling().start(folder.path(), &alone);
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    say(&mut alice, &["mine"]).await;
    server.stop();
    let url = nats.url();
    let line = run(&[("CHAT_NATS_URL", &url)]);
    assert!(line.contains("the history has messages of a server without other nodes"), "{line}");
    // The history is unchanged.
    let server = starling().start(folder.path(), &alone);
    assert!(server.get("/api/rooms/lobby/messages").1.contains("mine"));
    server.stop();
}

#[actix::test]
async fn a_node_that_goes_on_alone_keeps_its_history_in_new_epochs_and_is_no_node_any_more() {
    let nats = nats().await;
    let a = Server::start(&nats, "a", &[]).await;
    let (mut alice, of_log) = a.enter("alice").await;
    say(&mut alice, &["together"]).await;
    let variables = a.variables();
    let folder = a.stop();
    let alone: Vec<_> = variables.iter().filter(|(name, _)| name != "CHAT_NATS_URL").cloned().collect();
    let a = Server::start_again(folder, &alone).await;
    a.process.line_with("from here on it is this server's alone, and its 1 rooms begin new epochs");
    let (mut alice, own) = a.enter("alice").await;
    assert_ne!(own["epoch"], of_log["epoch"]);
    // The next message has the number of another message at the other nodes.
    say(&mut alice, &["alone"]).await;
    alice.send_json(&json!({"type": "join", "room": "lobby", "after": 1, "epoch": of_log["epoch"]})).await;
    assert_eq!(alice.next_of("joined").await["recovered"], false);
    assert_eq!(a.history("lobby"), [(1, "together".to_owned()), (2, "alone".to_owned())]);
    let folder = a.stop();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let output = starling().run(folder.path(), &[], &variables);
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("the history has messages of a server without other nodes"), "{line}");
}

#[actix::test]
async fn no_command_changes_the_history_of_a_single_node() {
    let nats = nats().await;
    let a = Server::start(&nats, "a", &[]).await;
    let (mut alice, _) = a.enter("alice").await;
    say(&mut alice, &["one"]).await;
    let variables = a.variables();
    let folder = a.stop();
    let output = starling().run(folder.path(), &["history", "drop", "--room", "lobby"], &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("is the history of a node: without the room it would differ"), "{said}");
    let a = Server::start_again(folder, &variables).await;
    assert_eq!(a.history("lobby").len(), 1);
}

#[actix::test]
async fn a_node_that_is_asked_to_stop_while_it_waits_for_nats_stops_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = format!("nats://127.0.0.1:{}", test_kit::free_port());
    let variables = [("CHAT_BIND", "127.0.0.1:0"), ("CHAT_NATS_URL", nobody.as_str())];
    let mut server = Process::spawn(starling().command(folder.path(), &[], &variables));
    server.line_with("waiting up to 30 s for NATS");
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code().await, Some(0));
}

#[actix::test]
async fn a_node_whose_disk_refuses_what_the_log_has_ends_and_finds_it_when_the_disk_takes_it_again() {
    let nats = nats().await;
    let (mut a, b) = (Server::start(&nats, "a", &[]).await, Server::start(&nats, "b", &[]).await);
    let (mut alice, _) = a.enter("alice").await;
    let (mut bob, _) = b.enter("bob").await;
    say(&mut alice, &["one"]).await;
    let file = a.file();
    let trigger = "CREATE TRIGGER fault BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'on purpose'); END";
    wait_until("the first message is committed", || stored(&file) == 1).await;
    Connection::open(&file).unwrap().execute_batch(trigger).unwrap();
    say(&mut bob, &["two", "three"]).await;
    a.process.line_with("the history lacks a message that the log has");
    assert_eq!(a.process.exit_code().await, Some(1));
    Connection::open(&file).unwrap().execute_batch("DROP TRIGGER fault").unwrap();
    let variables = a.variables();
    let a = Server::start_again(a.kill(), &variables).await;
    assert_eq!(a.history("lobby"), b.history("lobby"));
    assert_eq!(a.history("lobby").len(), 3);
}

fn stored(file: &std::path::Path) -> u32 {
    Connection::open(file).unwrap().query_one("SELECT count(*) FROM messages", [], |row| row.get(0)).unwrap()
}
