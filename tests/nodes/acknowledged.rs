//! A client that is closed while its messages are on their way through the log gets their acknowledgements first.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use test_kit::process::Signal;
use test_kit::{Client, Received, within};

use crate::server::{Server, nats};

/// Why the server closes the client.
#[derive(Debug, Clone, Copy)]
enum Cause {
    /// Too many errors in a row.
    Errors,
    /// An operator removes it.
    Removed,
    /// Another connection takes its name over with its key.
    TakenOver,
}

impl Cause {
    fn code(self) -> u16 {
        match self {
            Self::Errors => 1008,
            Self::Removed => 4004,
            Self::TakenOver => 4003,
        }
    }

    /// Makes the server close bob, while the log stands still. What the server answers at once has come then.
    async fn happen(self, bob: &mut Client) {
        match self {
            Self::Errors => {
                for _ in 0..20 {
                    bob.send_text("{").await;
                }
                for _ in 0..20 {
                    bob.next_of("error").await;
                }
            }
            // The log decides, see `finish`.
            Self::Removed | Self::TakenOver => {}
        }
    }

    /// Waits for the end of what the log decides.
    async fn finish(self, node: &Server, key: &str) {
        match self {
            Self::Errors => {}
            Self::Removed => assert_eq!(node.operator("DELETE", "/api/clients/bob").await.0, 204),
            Self::TakenOver => drop(Client::enter(node, &format!("/ws?clientId=bob&key={key}")).await),
        }
    }
}

/// The acknowledged `id`s up to the close frame, and its code.
async fn acknowledged(bob: &mut Client) -> (BTreeSet<String>, Option<u16>) {
    let mut ids = BTreeSet::new();
    loop {
        match bob.receive().await {
            Received::Text(text) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                if event["type"] == "ack" {
                    ids.insert(event["id"].as_str().unwrap().to_owned());
                }
            }
            Received::Close(code, _) => return (ids, code),
            Received::Pong(_) => {}
            Received::End => return (ids, None),
        }
    }
}

#[actix::test]
async fn what_was_accepted_is_acknowledged_before_the_client_is_closed_for_errors_removed_or_taken_over() {
    for cause in [Cause::Errors, Cause::Removed, Cause::TakenOver] {
        println!("{cause:?}");
        let nats = nats().await;
        let node = Server::start(&nats, "a", &[("CHAT_NODE_TIMEOUT_SECONDS", "300")]).await;
        let (_carol, _) = node.enter("carol").await;
        let (mut bob, welcome) = node.enter("bob").await;
        bob.send_json(&json!({"type": "join", "room": "dev"})).await;
        bob.next_of("joined").await;
        nats.signal(Signal::STOP);
        let messages = [
            json!({"type": "message", "room": "lobby", "Message": "m", "id": "in a room"}),
            json!({"type": "message", "room": "dev", "Message": "m", "id": "in a room that it leaves"}),
            json!({"type": "message", "to": "carol", "Message": "m", "id": "in private"}),
            json!({"type": "message", "to": "bob", "Message": "m", "id": "to itself"}),
        ];
        for message in &messages {
            bob.send_json(message).await;
        }
        bob.send_json(&json!({"type": "leave", "room": "dev"})).await;
        // The messages before it are on their way to the log.
        bob.next_of("left").await;
        cause.happen(&mut bob).await;
        let rest = async {
            nats.signal(Signal::CONT);
            acknowledged(&mut bob).await
        };
        let key = welcome["key"].as_str().unwrap();
        let ((), (ids, code)) = within("the close", futures_util::future::join(cause.finish(&node, key), rest)).await;
        let sent: BTreeSet<_> = messages.iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!((ids, code), (sent, Some(cause.code())), "{cause:?}");
    }
}
