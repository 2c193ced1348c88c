//! Who types: told to the others at once, to nobody who reads lines, and refused where a message would be.

use serde_json::json;
use test_kit::Client;
use test_kit::token::{self, JWT};

use crate::harness::{TestServer, starling};

#[actix::test]
async fn who_types_is_told_to_programs_and_not_to_people_at_a_console() {
    let server = TestServer::start(&[]);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    let (mut bob, _) = Client::enter(&server, "/ws?clientId=bob").await;
    let mut person = Client::connect(&server, "/ws?clientId=carol&format=text").await;
    alice.send_json(&json!({"type": "typing", "room": "lobby"})).await;
    let told = bob.next_of("typing").await;
    assert_eq!(told, json!({"type": "typing", "room": "lobby", "clientIds": ["alice"]}));
    bob.send_json(&json!({"type": "typing", "to": "alice"})).await;
    let told = alice.next_of("typing").await;
    assert_eq!(told, json!({"type": "typing", "from": "bob", "clientIds": ["bob"]}));
    person.expect_nothing().await;
}

#[actix::test]
async fn a_typing_that_could_be_no_message_is_refused() {
    let server = TestServer::start(&[]);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    let cases = [
        (json!({"type": "typing", "room": "lobby", "to": "bob", "id": "1"}), "bad_request"),
        (json!({"type": "typing", "room": "not a room", "id": "2"}), "bad_room"),
        (json!({"type": "typing", "to": "no name", "id": "3"}), "bad_name"),
        (json!({"type": "typing", "to": "nobody", "id": "4"}), "no_such_client"),
        (json!({"type": "typing", "room": "elsewhere", "id": "5"}), "not_a_member"),
    ];
    for (frame, code) in cases {
        alice.send_json(&frame).await;
        let error = alice.next_of("error").await;
        assert_eq!((&error["code"], &error["id"]), (&code.into(), &frame["id"]), "{frame}");
    }
}

#[actix::test]
async fn a_private_typing_to_a_client_that_cannot_be_written_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("starling.db");
    let history = [("CHAT_HISTORY", "sqlite"), ("CHAT_HISTORY_PATH", path.to_str().unwrap())];
    let server = TestServer::start(&[&JWT[..], &history, &[("CHAT_INBOXES_PER_CLIENT", "1")]].concat());
    let token = token::issue(&starling(), &["alice"]);
    let (mut alice, _) = Client::enter(&server, &format!("/ws?token={token}")).await;
    alice.send_json(&json!({"Message": "hello", "to": "carol", "id": "m"})).await;
    alice.next_of("ack").await;
    alice.send_json(&json!({"type": "typing", "to": "dave", "id": "t"})).await;
    let error = alice.next_of("error").await;
    assert_eq!((&error["code"], &error["id"]), (&"too_many_inboxes".into(), &"t".into()));
    alice.send_json(&json!({"type": "typing", "to": "carol"})).await;
    alice.expect_nothing().await;
}
