//! Clients of two nodes are in one chat: the protocol's guarantees hold between them.

use serde_json::{Value, json};
use test_kit::nats::Nats;
use test_kit::token::{JWT, issue};
use test_kit::{Client, figures_when, wait_until, within};

use crate::server::{Server, enters, members, nats, starling};

/// Two nodes of one chat.
async fn two(more: &[(&str, &str)]) -> (Nats, Server, Server) {
    let nats = nats().await;
    let (a, b) = (Server::start(&nats, "a", more).await, Server::start(&nats, "b", more).await);
    (nats, a, b)
}

#[actix::test]
async fn a_message_reaches_the_clients_of_all_nodes_with_the_same_seq_and_time() {
    let (_nats, a, b) = two(&[]).await;
    let (mut alice, _) = a.enter("alice").await;
    let (mut bob, _) = b.enter("bob").await;
    for (number, is_from_a) in [(1, true), (2, false), (3, true), (4, false)] {
        let (sender, receiver) = if is_from_a { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        sender
            .send_json(&json!({"type": "message", "Message": format!("m{number}"), "id": format!("m{number}")}))
            .await;
        let sent = sender.next_of("message").await;
        let received = receiver.next_of("message").await;
        assert_eq!(received["Message"], format!("m{number}"));
        let of = |event: &Value| (event["seq"].as_u64(), event["at"].as_u64(), event["clientId"].clone());
        assert_eq!(of(&received), of(&sent));
        assert_eq!(received["seq"], number);
    }
    assert_eq!(a.history("lobby"), b.history("lobby"));
    assert_eq!(a.history("lobby").len(), 4);
}

#[actix::test]
async fn a_private_message_reaches_its_receiver_on_another_node_and_nobody_where_there_is_none() {
    let (_nats, a, b) = two(&[]).await;
    let (mut alice, _) = a.enter("alice").await;
    let (mut bob, _) = b.enter("bob").await;
    alice.send_json(&json!({"type": "message", "to": "bob", "Message": "psst", "id": "p-1"})).await;
    let received = bob.next_of("message").await;
    assert_eq!(
        (&received["Message"], &received["to"], &received["clientId"]),
        (&"psst".into(), &"bob".into(), &"alice".into())
    );
    let ack = alice.next_of("ack").await;
    assert_eq!((&ack["id"], &ack["to"]), (&"p-1".into(), &"bob".into()));
    alice.send_json(&json!({"type": "message", "to": "carol", "Message": "psst", "id": "p-2"})).await;
    let error = alice.next_of("error").await;
    assert_eq!((&error["code"], &error["id"]), (&"no_such_client".into(), &"p-2".into()));
    bob.expect_nothing().await;
}

#[actix::test]
async fn who_types_is_told_to_the_members_on_all_nodes_and_to_the_receiver_of_a_private_message() {
    let (_nats, a, b) = two(&[]).await;
    let (mut alice, _) = a.enter("alice").await;
    let (mut bob, _) = b.enter("bob").await;
    let (mut carol, _) = b.enter("carol").await;
    alice.send_json(&json!({"type": "typing"})).await;
    for other in [&mut bob, &mut carol] {
        let told = other.next_of("typing").await;
        assert_eq!((&told["room"], &told["clientIds"]), (&"lobby".into(), &json!(["alice"])));
    }
    bob.send_json(&json!({"type": "typing", "to": "alice"})).await;
    let told = alice.next_of("typing").await;
    assert_eq!((&told["from"], &told["clientIds"], &told["room"]), (&"bob".into(), &json!(["bob"]), &Value::Null));
    alice.send_json(&json!({"type": "typing", "to": "nobody", "id": "y-1"})).await;
    let error = alice.next_of("error").await;
    assert_eq!((&error["code"], &error["id"]), (&"no_such_client".into(), &"y-1".into()));
    carol.expect_nothing().await;
}

#[actix::test]
async fn a_position_is_known_to_the_clients_connections_on_all_nodes_and_to_the_others_of_the_room() {
    let (_nats, a, b) = two(&[JWT[0], JWT[1], ("CHAT_SEEN_BY", "true")]).await;
    let of = |name: &str| format!("/ws?token={}", issue(&starling(), &[name]));
    let (mut alice, _) = enters(&a, &of("alice")).await;
    let (mut phone, _) = enters(&b, &of("alice")).await;
    let (mut bob, _) = enters(&b, &of("bob")).await;
    for text in ["one", "two"] {
        bob.send_json(&json!({"Message": text})).await;
        alice.next_of("message").await;
    }
    alice.send_json(&json!({"type": "read", "room": "lobby", "seq": 2})).await;
    let position = json!({"type": "read", "room": "lobby", "seq": 2, "clientId": "alice"});
    for told in [&mut alice, &mut phone, &mut bob] {
        assert_eq!(told.next_of("read").await, position);
    }
    drop((alice, phone));
    let (mut again, _) = enters(&b, &of("alice")).await;
    assert_eq!(again.next_of("read").await, position);
}

#[actix::test]
async fn the_positions_of_guests_go_with_them_on_all_nodes_also_if_their_node_dies() {
    let (_nats, a, b) = two(&[("CHAT_NODE_TIMEOUT_SECONDS", "3")]).await;
    let (mut named, _) = b.enter("alice").await;
    named.send_json(&json!({"Message": "one"})).await;
    named.next_of("message").await;
    let (mut here, _) = enters(&a, "/ws").await;
    let (mut there, _) = enters(&b, "/ws").await;
    for client in [&mut named, &mut here, &mut there] {
        client.send_json(&json!({"type": "read", "room": "lobby", "seq": 1})).await;
        client.next_of("read").await;
    }
    let are = async |node: &Server, count: f64| {
        let what = format!("{count} positions");
        figures_when(node, &what, |figures| (figures.value("chat_read_positions", &[]) - count).abs() < 0.5).await;
    };
    for node in [&a, &b] {
        are(node, 3.0).await;
    }
    drop(there);
    for node in [&a, &b] {
        are(node, 2.0).await;
    }
    a.kill();
    are(&b, 1.0).await;
}

#[actix::test]
async fn a_name_is_one_client_on_all_nodes_and_its_key_takes_it_over_from_another_node() {
    let (_nats, a, b) = two(&[]).await;
    let (mut alice, welcome) = a.enter("alice").await;
    let refused = test_kit::raw::handshake(&b, "/ws?clientId=alice").await;
    refused.expect_refusal(409, "name_taken");
    let path = format!("/ws?clientId=alice&key={}", welcome["key"].as_str().unwrap());
    let (mut again, second) = Client::enter(&b, &path).await;
    assert_eq!((&second["clientId"], &second["key"]), (&"alice".into(), &welcome["key"]));
    alice.expect_close(4003).await;
    assert_eq!(members(&mut again, "lobby").await, (vec!["alice".to_owned()], 1));
    drop(again);
    let (_free, _) = enters(&a, "/ws?clientId=alice").await;
}

#[actix::test]
async fn a_client_that_lost_its_node_resumes_at_another_one_and_its_message_is_there_once() {
    let (_nats, a, b) = two(&[]).await;
    let (mut alice, welcome) = a.enter("alice").await;
    let (mut bob, _) = b.enter("bob").await;
    alice.send_json(&json!({"type": "message", "Message": "one", "id": "m-1"})).await;
    let acked = alice.next_of("ack").await;
    assert_eq!(bob.next_of("message").await["seq"], acked["seq"]);
    drop(alice);
    for text in ["two", "three"] {
        bob.send_json(&json!({"type": "message", "Message": text})).await;
        bob.next_of("message").await;
    }
    let path = format!("/ws?clientId=alice&key={}", welcome["key"].as_str().unwrap());
    let (mut alice, second) = Client::enter(&b, &path).await;
    assert_eq!(second["epoch"], welcome["epoch"], "the room is the same on every node");
    alice.send_json(&json!({"type": "join", "room": "lobby", "after": 1, "epoch": welcome["epoch"]})).await;
    let joined = alice.next_of("joined").await;
    assert_eq!(joined["recovered"], true, "{joined}");
    for (seq, text) in [(2, "two"), (3, "three")] {
        let missed = alice.next_of("message").await;
        assert_eq!((&missed["seq"], &missed["Message"]), (&seq.into(), &text.into()));
    }
    // It does not know whether its message was accepted, and sends it again.
    alice.send_json(&json!({"type": "message", "Message": "one", "id": "m-1"})).await;
    let again = alice.next_of("ack").await;
    assert_eq!((&again["seq"], &again["duplicate"]), (&acked["seq"], &true.into()), "{again}");
    assert_eq!(b.history("lobby").len(), 3);
}

#[actix::test]
async fn changes_are_the_same_on_all_nodes_and_a_client_that_lost_its_node_ends_equal() {
    let (nats, a, b) = two(&[]).await;
    let (mut alice, _) = a.enter("alice").await;
    let (mut bob, welcome) = b.enter("bob").await;
    let said = |text: &str, id: &str| json!({"type": "message", "Message": text, "id": id});
    for (text, id) in [("one", "m-1"), ("two", "m-2")] {
        alice.send_json(&said(text, id)).await;
        alice.next_of("ack").await;
        bob.next_of("message").await;
    }
    // Bob's node dies, and the changes are made meanwhile.
    b.kill();
    for (change, event) in [
        (json!({"type": "edit", "of": 1, "Message": "first"}), "edited"),
        (json!({"type": "react", "of": 2, "emoji": "👍"}), "reaction"),
        (json!({"type": "edit", "of": 2, "Message": "secret"}), "edited"),
        (json!({"type": "delete", "of": 2}), "deleted"),
    ] {
        let mut change = change;
        (change["id"], change["room"]) = (format!("{event}-{}", change["of"]).into(), "lobby".into());
        alice.send_json(&change).await;
        alice.next_of("ack").await;
        alice.next_of(event).await;
    }
    let c = Server::start(&nats, "c", &[]).await;
    let path = format!("/ws?clientId=bob&key={}", welcome["key"].as_str().unwrap());
    let (mut bob, _) = Client::enter(&c, &path).await;
    bob.send_json(&json!({"type": "join", "room": "lobby", "after": 2, "epoch": welcome["epoch"]})).await;
    assert_eq!(bob.next_of("joined").await["recovered"], true);
    for (seq, kind, of, text) in [
        (3, "edited", 1, json!("first")),
        (4, "reaction", 2, json!(null)),
        (5, "edited", 2, json!(null)),
        (6, "deleted", 2, json!(null)),
    ] {
        let event = bob.next_of(kind).await;
        assert_eq!((&event["seq"], &event["of"], &event["Message"]), (&seq.into(), &of.into(), &text), "{event}");
    }
    let expected = a.messages("lobby");
    assert_eq!((&expected[0]["Message"], &expected[1]["deleted"]), (&"first".into(), &true.into()), "{expected:?}");
    assert_eq!(c.messages("lobby"), expected);
    // A reaction at one node reaches the client of the other, whose page has it too.
    bob.send_json(&json!({"type": "react", "room": "lobby", "of": 1, "emoji": "🎉"})).await;
    let event = alice.next_of("reaction").await;
    assert_eq!((&event["clientId"], &event["seq"]), (&"bob".into(), &7.into()));
    assert_eq!(a.messages("lobby"), c.messages("lobby"));
}

#[actix::test]
async fn members_rooms_and_presence_are_those_of_all_nodes() {
    let (_nats, a, b) = two(&[]).await;
    let (mut alice, _) = a.enter("alice").await;
    alice.send_json(&json!({"type": "join", "room": "dev", "presence": true})).await;
    alice.next_of("joined").await;
    let (mut bob, _) = Client::enter(&b, "/ws/dev?clientId=bob").await;
    let presence = alice.next_of("presence").await;
    assert_eq!(
        (&presence["room"], &presence["joined"], &presence["count"]),
        (&"dev".into(), &json!(["bob"]), &2.into())
    );
    assert_eq!(members(&mut bob, "dev").await, (vec!["alice".to_owned(), "bob".to_owned()], 2));
    bob.send_json(&json!({"type": "rooms"})).await;
    let rooms = bob.next_of("rooms").await;
    let counts: Vec<_> = rooms["rooms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|room| (room["room"].as_str().unwrap().to_owned(), room["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(counts, [("dev".to_owned(), 2), ("lobby".to_owned(), 1)]);
    drop(bob);
    let presence = alice.next_of("presence").await;
    assert_eq!((&presence["left"], &presence["count"]), (&json!(["bob"]), &1.into()));
}

#[actix::test]
async fn a_search_and_old_pages_are_the_same_on_every_node() {
    // The memory holds two messages, so that the others come from the file.
    let (_nats, a, b) = two(&[("CHAT_HISTORY_MESSAGES", "2")]).await;
    let (mut alice, _) = a.enter("alice").await;
    for number in 1..=20 {
        let text = if number % 5 == 0 { format!("needle {number}") } else { format!("hay {number}") };
        alice.send_json(&json!({"type": "message", "Message": text, "id": format!("m-{number}")})).await;
        // Read at once: an acknowledged message is found, whether it is in memory or in the file.
        assert_eq!(alice.next_of("ack").await["seq"], number);
        alice.send_json(&json!({"type": "history", "room": "lobby", "limit": 100})).await;
        let page = alice.next_of("history").await;
        assert_eq!(page["messages"].as_array().unwrap().len(), number, "{page}");
    }
    let (mut bob, _) = b.enter("bob").await;
    for client in [&mut alice, &mut bob] {
        client.send_json(&json!({"type": "history", "room": "lobby", "limit": 100})).await;
        assert_eq!(client.next_of("history").await["messages"].as_array().unwrap().len(), 20);
    }
    for server in [&a, &b] {
        let (status, body) = server.process.get("/api/rooms/lobby/messages?q=needle&limit=100");
        let found: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, found["messages"].as_array().unwrap().len()), (200, 4), "{body}");
    }
}

#[actix::test]
async fn an_operator_reaches_every_node() {
    let (_nats, a, b) = two(&[]).await;
    let (mut bob, _) = b.enter("bob").await;
    let (status, body) = a.operator("DELETE", "/api/clients/bob").await;
    assert!((200..300).contains(&status), "{status} {body}");
    assert_eq!(bob.closed().await, 4004);
    let (mut carol, _) = Client::enter(&b, "/ws/dev?clientId=carol").await;
    carol.send_json(&json!({"type": "message", "Message": "hi", "id": "m"})).await;
    carol.next_of("ack").await;
    let (status, body) = a.operator("DELETE", "/api/rooms/dev").await;
    assert_eq!(status, 204, "{body}");
    assert_eq!(carol.next_of("left").await["room"], "dev");
    wait_until("the room is gone on both nodes", || {
        [&a, &b].iter().all(|server| server.process.get("/api/rooms/dev/messages").0 == 404)
    })
    .await;
}

#[actix::test]
async fn where_names_are_authenticated_private_messages_are_kept_for_whoever_comes_at_another_node() {
    let (_nats, a, b) = two(&JWT).await;
    let path = |name: &str| format!("/ws?token={}", issue(&starling(), &[name]));
    let (mut alice, _) = Client::enter(&a, &path("alice")).await;
    alice.send_json(&json!({"type": "message", "to": "bob", "Message": "for later", "id": "p-1"})).await;
    let ack = alice.next_of("ack").await;
    assert_eq!(ack["to"], "bob", "{ack}");
    let (mut bob, welcome) = Client::enter(&b, &path("bob")).await;
    assert_eq!(welcome["inbox"]["seq"], 1, "{welcome}");
    let kept = within("the kept message", bob.next_of("message")).await;
    assert_eq!((&kept["Message"], &kept["to"]), (&"for later".into(), &"bob".into()));
}

#[actix::test]
async fn nodes_of_two_streams_of_one_nats_are_two_chats() {
    let nats = nats().await;
    let of = |stream| [("CHAT_NATS_STREAM", stream)];
    let (a, b) = (Server::start(&nats, "a", &of("one")).await, Server::start(&nats, "b", &of("two")).await);
    // The name is free in each of them.
    let ((mut here, _), (mut there, _)) = (a.enter("alice").await, b.enter("alice").await);
    here.send_json(&json!({"type": "message", "Message": "hi", "id": "m1"})).await;
    assert_eq!(here.next_of("ack").await["seq"], 1);
    there.send_json(&json!({"type": "message", "Message": "ho", "id": "m1"})).await;
    assert_eq!(there.next_of("ack").await["seq"], 1);
    assert_eq!((a.history("lobby"), b.history("lobby")), (vec![(1, "hi".into())], vec![(1, "ho".into())]));
}
