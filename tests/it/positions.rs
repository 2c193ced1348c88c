//! Read positions: the same on all connections of a client, after a restart if the history is stored.

use serde_json::{Value, json};
use test_kit::token::{self, JWT};
use test_kit::{Client, within};

use crate::harness::{TestServer, starling};

/// A connection of a client, with its `welcome`.
async fn enter(server: &TestServer, name: &str) -> Client {
    Client::enter(server, &format!("/ws?token={}", token::issue(&starling(), &[name]))).await.0
}

async fn reads(client: &mut Client, frame: Value) -> Value {
    client.send_json(&frame).await;
    client.next_of("read").await
}

#[actix::test]
async fn a_position_is_the_same_on_all_connections_and_lives_as_long_as_the_history() {
    for history in ["memory", "sqlite"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("starling.db");
        let more = [("CHAT_HISTORY", history), ("CHAT_HISTORY_PATH", path.to_str().unwrap()), ("CHAT_SEEN_BY", "true")];
        let variables = [&JWT[..], &more].concat();
        let mut server = TestServer::start(&variables);
        let (mut alice, mut bob) = (enter(&server, "alice").await, enter(&server, "bob").await);
        let mut phone = enter(&server, "alice").await;
        for text in ["one", "two", "three"] {
            bob.send_json(&json!({"Message": text})).await;
            bob.next_of("message").await;
        }
        let position = |seq: u64| json!({"type": "read", "room": "lobby", "seq": seq, "clientId": "alice"});
        for (seq, upto) in [(2, 2), (1, 2), (99, 3), (0, 3)] {
            let told = reads(&mut alice, json!({"type": "read", "room": "lobby", "seq": seq})).await;
            assert_eq!(told, position(upto), "{history}: {seq}");
        }
        for upto in [2, 3] {
            assert_eq!(phone.next_of("read").await, position(upto), "{history}: another connection");
        }
        let seen = within("the others are told", async {
            loop {
                let seen = bob.next_of("read").await;
                if seen["seq"] == 3 {
                    return seen;
                }
            }
        });
        assert_eq!(seen.await, position(3), "{history}");
        assert_eq!(enter(&server, "alice").await.next_of("read").await, position(3), "{history}: a further connection");
        drop((alice, bob, phone));
        if history == "sqlite" {
            server.stop();
            assert_eq!(server.outcome().await, Ok(()));
            let server = TestServer::start(&variables);
            assert_eq!(enter(&server, "alice").await.next_of("read").await, position(3), "after a restart");
        }
    }
}

#[actix::test]
async fn a_position_where_the_client_is_not_is_refused() {
    let server = TestServer::start(&[]);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    let cases = [
        (json!({"type": "read", "room": "elsewhere", "seq": 1, "id": "1"}), "not_a_member"),
        (json!({"type": "read", "inbox": true, "seq": 1, "id": "2"}), "forbidden"),
        (json!({"type": "read", "room": "lobby", "id": "3"}), "bad_request"),
        (json!({"type": "read", "seq": 1, "id": "4"}), "bad_request"),
        (json!({"type": "read", "room": "not a room", "seq": 1, "id": "5"}), "bad_room"),
    ];
    for (frame, code) in cases {
        alice.send_json(&frame).await;
        let error = alice.next_of("error").await;
        assert_eq!((&error["code"], &error["id"]), (&code.into(), &frame["id"]), "{frame}");
    }
}

#[actix::test]
async fn a_connection_whose_token_does_not_allow_a_room_is_not_told_of_a_position_there() {
    let server = TestServer::start(&JWT);
    let as_alice = |rooms| token::issue(&starling(), &["alice", "--rooms", rooms]);
    let enter =
        async |path: &str, rooms| Client::enter(&server, &format!("/ws{path}?token={}", as_alice(rooms))).await.0;
    let mut alice = enter("/dev", "*").await;
    let mut connections = [(enter("", "lobby,dev").await, true), (enter("", "lobby").await, false)];
    alice.send_json(&json!({"Message": "one"})).await;
    alice.next_of("message").await;
    reads(&mut alice, json!({"type": "read", "room": "dev", "seq": 1})).await;
    for (connection, is_told) in &mut connections {
        if *is_told {
            assert_eq!(connection.next_of("read").await["room"], "dev");
        }
        connection.expect_nothing().await;
    }
}
