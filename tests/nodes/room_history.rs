//! Rooms that hide their history from newcomers, and rooms with a retention of their own: the same on all nodes, after a
//! restart of a node, and on a node that begins later.

use serde_json::{Value, json};
use test_kit::nats::Nats;
use test_kit::{Client, LOOK, within};

use crate::harness::{Scribe, has_checkpoints, settings};
use crate::replays::{CHECKPOINT_RECORDS, PATIENT, wait_trimmed};
use crate::server::{Server, nats, say};

/// Changes settings of the lobby.
async fn set(node: &Server, settings: Value) {
    let (status, body) = node.operator_says("POST", "/api/rooms/lobby/settings", &settings.to_string()).await;
    assert_eq!(status, 200, "{body}");
}

/// The messages of the lobby that a client gets.
async fn history(client: &mut Client) -> Vec<u64> {
    client.send_json(&json!({"type": "history", "room": "lobby"})).await;
    let page = client.next_of("history").await;
    page["messages"].as_array().unwrap().iter().map(|message| message["seq"].as_u64().unwrap()).collect()
}

/// The messages of the lobby that an operator gets, once there are so many.
async fn kept(node: &Server, expected: &[u64]) {
    within(format!("the node has {expected:?}"), async {
        loop {
            let (status, body) = node.operator("GET", "/api/rooms/lobby/messages").await;
            assert_eq!(status, 200, "{body}");
            let page: Value = serde_json::from_str(&body).unwrap();
            let seqs: Vec<_> =
                page["messages"].as_array().unwrap().iter().map(|it| it["seq"].as_u64().unwrap()).collect();
            if seqs == expected {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

/// A client with its secret.
struct Known {
    name: &'static str,
    key: String,
    epoch: Value,
}

impl Known {
    async fn enters(node: &Server, name: &'static str) -> (Self, Client) {
        let (client, welcome) = node.enter(name).await;
        let key = welcome["key"].as_str().unwrap().to_owned();
        (Self { name, key, epoch: welcome["epoch"].clone() }, client)
    }

    async fn comes_back(&self, node: &Server) -> Client {
        Client::enter(node, &format!("/ws?clientId={}&key={}", self.name, self.key)).await.0
    }

    /// Comes back and resumes. Returns its answer, and what it gets then.
    async fn resumes(&self, node: &Server, after: u64, missed: usize) -> (Client, Value, Vec<u64>) {
        let mut client = self.comes_back(node).await;
        client.send_json(&json!({"type": "join", "room": "lobby", "after": after, "epoch": self.epoch})).await;
        let joined = client.next_of("joined").await;
        let mut seqs = Vec::new();
        for _ in 0..missed {
            seqs.push(client.next_of("message").await["seq"].as_u64().unwrap());
        }
        (client, joined, seqs)
    }
}

#[actix::test]
async fn a_newcomer_at_one_node_sees_the_same_at_the_others_and_resumes_there_without_a_hole() {
    let nats = nats().await;
    let (a, b) = (Server::start(&nats, "a", &[]).await, Server::start(&nats, "b", &[]).await);
    let (alice, mut at_a) = Known::enters(&a, "alice").await;
    say(&mut at_a, &["one", "two"]).await;
    kept(&b, &[1, 2]).await;
    set(&b, json!({"newcomersSeeHistory": false})).await;
    at_a.next_of("settings").await;
    let (bob, mut at_b) = Known::enters(&b, "bob").await;
    assert_eq!(history(&mut at_b).await, [0_u64; 0]);
    say(&mut at_a, &["three"]).await;
    assert_eq!(at_b.next_of("message").await["seq"], 3);
    drop(at_b);
    say(&mut at_a, &["four", "five"]).await;
    let (mut at_a_too, joined, missed) = bob.resumes(&a, 3, 2).await;
    assert_eq!((&joined["recovered"], &joined["visibleAfter"], missed), (&json!(true), &json!(2), vec![4, 5]));
    assert_eq!(history(&mut at_a_too).await, [3, 4, 5]);
    // Who was there when the history was hidden sees all, at each node.
    drop(at_a);
    let (mut at_b, joined, missed) = alice.resumes(&b, 3, 2).await;
    assert_eq!((&joined["recovered"], joined.get("visibleAfter"), missed), (&json!(true), None, vec![4, 5]));
    assert_eq!(history(&mut at_b).await, [1, 2, 3, 4, 5]);
    drop((at_a_too, at_b));

    // A node that was killed, and one that begins with the first record of the log.
    let variables = a.variables();
    let a = Server::start_again(a.kill(), &variables).await;
    let c = Server::start(&nats, "c", &[]).await;
    for node in [&a, &c] {
        assert_eq!(history(&mut bob.comes_back(node).await).await, [3, 4, 5]);
        assert_eq!(history(&mut alice.comes_back(node).await).await, [1, 2, 3, 4, 5]);
    }
}

#[actix::test]
async fn a_node_that_begins_at_a_checkpoint_knows_since_when_clients_see_a_room() {
    let nats = Nats::start().await;
    let b = Server::start(&nats, "b", &PATIENT).await;
    let (_, mut alice) = Known::enters(&b, "alice").await;
    say(&mut alice, &["one"]).await;
    set(&b, json!({"newcomersSeeHistory": false})).await;
    let (bob, _) = Known::enters(&b, "bob").await;
    let scribe = Scribe::begin(&nats.url(), u64::MAX - 1).await;
    for count in 1..=3 {
        scribe.write_void(CHECKPOINT_RECORDS).await;
        has_checkpoints(&settings(&nats.url()), count).await;
    }
    wait_trimmed(&nats).await;
    let a = Server::start(&nats, "a", &PATIENT).await;
    say(&mut alice, &["two"]).await;
    kept(&a, &[2]).await;
    assert_eq!(history(&mut bob.comes_back(&a).await).await, [2]);
    let (_, mut carol) = Known::enters(&a, "carol").await;
    assert_eq!(history(&mut carol).await, [0_u64; 0]);
}

#[actix::test]
async fn a_room_with_a_retention_of_its_own_keeps_as_much_on_each_node() {
    let nats = nats().await;
    let more = [("CHAT_HISTORY_KEEP_MESSAGES", "3")];
    let (a, b) = (Server::start(&nats, "a", &more).await, Server::start(&nats, "b", &more).await);
    let (_, mut alice) = Known::enters(&a, "alice").await;
    say(&mut alice, &["1", "2", "3", "4", "5"]).await;
    for (retention, texts, expected) in [
        (json!({"messages": 2}), &[][..], &[4, 5][..]),
        (json!({"messages": 4}), &["6", "7", "8"], &[5, 6, 7, 8]),
        (json!({}), &[], &[6, 7, 8]),
        (json!({"messages": 1}), &[], &[8]),
    ] {
        set(&b, json!({"retention": retention})).await;
        say(&mut alice, texts).await;
        for node in [&a, &b] {
            kept(node, expected).await;
        }
    }
    let variables = a.variables();
    drop(alice);
    let a = Server::start_again(a.kill(), &variables).await;
    let (_, mut bob) = Known::enters(&a, "bob").await;
    say(&mut bob, &["9", "10"]).await;
    for node in [&a, &b] {
        kept(node, &[10]).await;
    }
}
