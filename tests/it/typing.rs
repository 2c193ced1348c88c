//! Who types: told to the others at once, to nobody who reads lines, and refused where a message would be.

use serde_json::json;
use test_kit::Client;

use crate::harness::TestServer;

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
