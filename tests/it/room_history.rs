//! Rooms that hide their history from newcomers, and rooms with a retention of their own: through real sockets, with each
//! kind of history, and after a restart.

use serde_json::{Value, json};
use test_kit::token::{JWT, issue};
use test_kit::{Client, raw, within};

use crate::harness::{TestServer, starling};

const OPERATORS: (&str, &str) = ("CHAT_ADMIN_TOKEN", "letmein-letmein-letmein");

/// Changes settings of the room `dev`.
async fn set(server: &TestServer, settings: Value) {
    let body = settings.to_string();
    let head = format!(
        "Authorization: Bearer {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        OPERATORS.1,
        body.len()
    );
    let answer = raw::http(server, "POST", "/api/rooms/dev/settings", &head).await;
    assert_eq!(answer.status, 200, "{settings}: {}", answer.body);
}

/// The messages of `dev` that a client gets.
async fn history(client: &mut Client, before: Value) -> (Vec<u64>, bool) {
    client.send_json(&json!({"type": "history", "room": "dev", "before": before})).await;
    seqs(&client.next_of("history").await)
}

fn seqs(page: &Value) -> (Vec<u64>, bool) {
    let seq = |message: &Value| message["seq"].as_u64().unwrap();
    (page["messages"].as_array().unwrap().iter().map(seq).collect(), page["hasMore"] == true)
}

/// The messages of `dev` over HTTP, with this token.
async fn over_http(server: &TestServer, query: &str, token: &str) -> Vec<u64> {
    let answer = raw::get(server, &format!("/api/rooms/dev/messages?{query}&token={token}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    seqs(&answer.json()).0
}

async fn says(client: &mut Client, texts: &[&str]) {
    for text in texts {
        client.send_json(&json!({"Message": text, "room": "dev", "id": text})).await;
        // An ack may also be that of an earlier command.
        while client.next_of("ack").await["id"] != *text {}
    }
}

#[actix::test]
async fn a_newcomer_gets_nothing_from_before_it_has_entered_by_any_way_also_after_a_restart() {
    for kept in ["memory", "sqlite"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("starling.db");
        let more = [OPERATORS, ("CHAT_HISTORY", kept), ("CHAT_HISTORY_PATH", path.to_str().unwrap())];
        let variables = [&JWT[..], &more].concat();
        let token = |arguments: &[&str]| issue(&starling(), arguments);
        let (of_alice, of_bob, of_olga) = (token(&["alice"]), token(&["bob"]), token(&["olga", "--admin"]));
        let of_carol = token(&["carol"]);
        let enter =
            async |server: &TestServer, token: &str| Client::enter(server, &format!("/ws/dev?token={token}")).await;
        let mut server = TestServer::start(&variables);
        let (mut alice, _) = enter(&server, &of_alice).await;
        says(&mut alice, &["secret one", "secret two"]).await;
        set(&server, json!({"newcomersSeeHistory": false})).await;
        let (mut bob, _) = enter(&server, &of_bob).await;
        assert_eq!(history(&mut bob, Value::Null).await, (vec![], false), "{kept}");
        says(&mut alice, &["secret three"]).await;
        alice.send_json(&json!({"type": "edit", "room": "dev", "of": 1, "Message": "secret too", "id": "e"})).await;
        let edited = bob.next_of("edited").await;
        assert_eq!((&edited["seq"], &edited["of"], edited.get("Message")), (&json!(4), &json!(1), None), "{kept}");
        drop(bob);
        says(&mut alice, &["secret four"]).await;

        let is_kept = kept == "sqlite";
        if is_kept {
            drop(alice);
            server.stop();
            assert_eq!(server.outcome().await, Ok(()));
            server = TestServer::start(&variables);
        }
        let (mut bob, welcome) = enter(&server, &of_bob).await;
        let resume = json!({"type": "join", "room": "dev", "after": 3, "epoch": welcome["epoch"], "id": "j"});
        bob.send_json(&resume).await;
        let joined = bob.next_of("joined").await;
        assert_eq!((&joined["recovered"], &joined["visibleAfter"]), (&json!(true), &json!(2)), "{kept}: {joined}");
        let edited = bob.next_of("edited").await;
        assert_eq!((&edited["seq"], edited.get("Message")), (&json!(4), None), "{kept}");
        assert_eq!(bob.next_of("message").await["Message"], "secret four", "{kept}");
        for before in [Value::Null, json!(6)] {
            assert_eq!(history(&mut bob, before.clone()).await, (vec![3, 5], false), "{kept}: {before}");
        }
        let (mut carol, _) = enter(&server, &of_carol).await;
        carol.send_json(&resume).await;
        let joined = carol.next_of("joined").await;
        assert_eq!((&joined["recovered"], &joined["visibleAfter"]), (&json!(false), &json!(5)), "{kept}: {joined}");
        for (reader, token, expected) in [
            ("alice", &of_alice, &[1, 2, 3, 5][..]),
            ("bob", &of_bob, &[3, 5]),
            ("carol", &of_carol, &[]),
            ("olga", &of_olga, &[1, 2, 3, 5]),
            ("operator", &OPERATORS.1.to_owned(), &[1, 2, 3, 5]),
        ] {
            let backwards: Vec<_> = expected.iter().rev().copied().collect();
            assert_eq!(over_http(&server, "limit=9", token).await, expected, "{kept}: {reader}");
            assert_eq!(over_http(&server, "after=0", token).await, expected, "{kept}: {reader}");
            assert_eq!(over_http(&server, "q=secret", token).await, backwards, "{kept}: {reader}");
        }
        set(&server, json!({"newcomersSeeHistory": true})).await;
        assert_eq!(history(&mut carol, Value::Null).await, (vec![1, 2, 3, 5], false), "{kept}");
    }
}

#[actix::test]
async fn without_tokens_a_client_is_known_by_its_key_and_other_readers_over_http_see_nothing() {
    let server = TestServer::start(&[OPERATORS]);
    set(&server, json!({"newcomersSeeHistory": false})).await;
    let (mut alice, welcome) = Client::enter(&server, "/ws/dev?clientId=alice").await;
    says(&mut alice, &["one"]).await;
    drop(alice);
    let key = welcome["key"].as_str().unwrap();
    let (mut alice, _) = Client::enter(&server, &format!("/ws/dev?clientId=alice&key={key}")).await;
    assert_eq!(history(&mut alice, Value::Null).await, (vec![1], false));
    drop(alice);
    let another = within("the name is free", async {
        loop {
            if let Some(entered) = Client::try_enter(&server, "/ws/dev?clientId=alice").await {
                return entered;
            }
        }
    });
    let (mut another, _) = another.await;
    assert_eq!(history(&mut another, Value::Null).await, (vec![], false));
    assert_eq!(over_http(&server, "limit=9", "").await, [0_u64; 0]);
    assert_eq!(over_http(&server, "limit=9", OPERATORS.1).await, [1]);
}

#[actix::test]
async fn a_room_keeps_what_its_own_limits_say_also_after_a_restart() {
    for kept in ["memory", "sqlite"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("starling.db");
        let variables = [
            OPERATORS,
            ("CHAT_HISTORY", kept),
            ("CHAT_HISTORY_PATH", path.to_str().unwrap()),
            ("CHAT_HISTORY_KEEP_MESSAGES", "3"),
            ("CHAT_HISTORY_MESSAGES", "4"),
        ];
        let mut server = TestServer::start(&variables);
        let has = async |server: &TestServer, expected: &[u64]| {
            within("as many messages are kept", async {
                while over_http(server, "limit=9", "").await != expected {
                    actix_rt::time::sleep(test_kit::LOOK).await;
                }
            })
            .await;
        };
        let (mut alice, welcome) = Client::enter(&server, "/ws/dev?clientId=alice").await;
        set(&server, json!({"retention": {"messages": 2}})).await;
        says(&mut alice, &["1", "2", "3", "4"]).await;
        has(&server, &[3, 4]).await;
        set(&server, json!({"retention": {"messages": 4}})).await;
        says(&mut alice, &["5", "6", "7"]).await;
        has(&server, &[4, 5, 6, 7]).await;
        let resume = |after| json!({"type": "join", "room": "dev", "after": after, "epoch": welcome["epoch"]});
        for (after, recovered) in [(2, false), (3, true)] {
            alice.send_json(&resume(after)).await;
            assert_eq!(alice.next_of("joined").await["recovered"], recovered, "{kept}: {after}");
        }
        if kept == "sqlite" {
            drop(alice);
            server.stop();
            assert_eq!(server.outcome().await, Ok(()));
            server = TestServer::start(&variables);
            let (mut alice, _) = Client::enter(&server, "/ws/dev?clientId=alice").await;
            says(&mut alice, &["8", "9"]).await;
            has(&server, &[6, 7, 8, 9]).await;
        }
        set(&server, json!({"retention": {}})).await;
        let (mut bob, _) = Client::enter(&server, "/ws/dev?clientId=bob").await;
        says(&mut bob, &["more"]).await;
        // In memory, only the limits of memory hold for all rooms.
        has(&server, if kept == "sqlite" { &[8, 9, 10] } else { &[5, 6, 7, 8] }).await;
        // Of the clock it is enough that it has run for a second.
        set(&server, json!({"retention": {"seconds": 1}})).await;
        has(&server, &[]).await;
    }
}
