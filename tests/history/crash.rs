//! A server is killed under load again and again. Acknowledged or received messages are still stored, once, with the
//! same seq.
//!
//! `CRASH_KILLS`, `CRASH_CLIENTS` and `CRASH_STARTS` make the test longer, see `scripts/crash-test`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::tempdir;
use test_kit::{Client, LOOK, token, within};

use super::harness::{page, run, starling};

const ROOMS: usize = 5;

/// The shared knowledge of all clients.
#[derive(Default)]
struct Ledger {
    address: Cell<Option<SocketAddr>>,
    is_over: Cell<bool>,
    sent: Cell<u64>,
    resumes: Cell<u64>,
    /// The room and seq of every acknowledged message.
    acknowledged: RefCell<HashMap<String, (String, u64)>>,
    /// The message at each seq of a room, as clients saw it.
    seen: RefCell<HashMap<(String, u64), String>>,
    received: Cell<u64>,
}

pub(crate) fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// A client that sends messages, and reconnects whenever the server is back.
async fn client(number: usize, ledger: Rc<Ledger>) {
    let (name, room) = (format!("bot-{number}"), format!("room-{}", number % ROOMS));
    let (mut last, mut epoch): (Option<u64>, Value) = (None, Value::Null);
    let (mut waiting, mut count): (Option<String>, u32) = (None, 0);
    let mut key = None;
    while !ledger.is_over.get() {
        let shown: String = key.as_ref().map_or_else(String::new, |key| format!("&key={key}"));
        let path = format!("/ws/{room}?clientId={name}{shown}");
        let opened = match ledger.address.get() {
            Some(address) => Client::try_enter(address, &path).await,
            None => None,
        };
        let Some((mut connection, welcome)) = opened else {
            tokio::time::sleep(LOOK).await;
            continue;
        };
        key = welcome["key"].as_str().map(str::to_owned);
        if let Some(after) = last {
            assert_eq!(welcome["epoch"], epoch, "the epoch must not change");
            assert!(welcome["seq"].as_u64() >= last, "{name} saw {after}, the room is at {}", welcome["seq"]);
            if !connection.try_send_json(&json!({"type": "join", "room": room, "after": after, "epoch": epoch})).await {
                continue;
            }
            // Messages before `joined` are sent again after it.
            let recovered = loop {
                match connection.next().await {
                    Some(event) if event["type"] == "joined" => break event["recovered"].as_bool(),
                    Some(_) => {}
                    None => break None,
                }
            };
            let Some(recovered) = recovered else { continue };
            assert!(recovered, "{name} resumes after {after}");
            ledger.resumes.set(ledger.resumes.get() + 1);
        } else {
            epoch = welcome["epoch"].clone();
            last = welcome["seq"].as_u64();
        }
        if let Some(id) = &waiting {
            // The message may or may not have been stored before the kill, so the client sends it again.
            connection.try_send_json(&json!({"Message": id, "id": id})).await;
        }
        let mut pause = Box::pin(tokio::time::sleep(Duration::from_millis(fastrand::u64(20..400))));
        while !ledger.is_over.get() {
            let event = tokio::select! {
                event = connection.next() => event,
                () = &mut pause => {
                    pause = Box::pin(tokio::time::sleep(Duration::from_millis(fastrand::u64(100..400))));
                    if waiting.is_none() {
                        count += 1;
                        let id = format!("{name}-{count}");
                        ledger.sent.set(ledger.sent.get() + 1);
                        connection.try_send_json(&json!({"Message": id, "id": id})).await;
                        waiting = Some(id);
                    }
                    continue;
                }
            };
            let Some(event) = event else { break };
            let seq = event["seq"].as_u64();
            if event["type"] == "ack" {
                let id = event["id"].as_str().unwrap().to_owned();
                assert_eq!(waiting.take().as_deref(), Some(id.as_str()));
                ledger.acknowledged.borrow_mut().insert(id, (room.clone(), seq.unwrap()));
            } else if event["type"] == "message" {
                assert_eq!(seq, last.map(|last| last + 1), "{name} gets all of {room}, once, in order");
                last = seq;
                ledger.received.set(ledger.received.get() + 1);
                let text = event["Message"].as_str().unwrap().to_owned();
                let before = ledger.seen.borrow_mut().insert((room.clone(), seq.unwrap()), text.clone());
                assert!(before.is_none_or(|before| before == text), "{room} has two messages {}", seq.unwrap());
            }
        }
    }
}

#[actix_web::test]
async fn a_server_that_is_killed_under_load_loses_nothing_that_was_acknowledged_or_seen() {
    let (kills, clients) = (from_environment("CRASH_KILLS", 3), from_environment("CRASH_CLIENTS", 50));
    let folder = tempdir().unwrap();
    let ledger = Rc::new(Ledger::default());
    let tasks: Vec<_> = (0..usize::try_from(clients).unwrap())
        .map(|number| actix_rt::spawn(client(number, Rc::clone(&ledger))))
        .collect();
    for _ in 0..kills {
        let server = starling().start(folder.path(), &[]);
        ledger.address.set(Some(server.address()));
        // A random time instead of a condition, because the moment of the kill is random. At least one message must be
        // acknowledged before it.
        let before = ledger.acknowledged.borrow().len();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(300..1_500))).await;
        within("something is acknowledged", async {
            while ledger.acknowledged.borrow().len() == before {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
        ledger.address.set(None);
        server.kill();
    }
    let server = starling().start(folder.path(), &[]);
    ledger.address.set(Some(server.address()));
    let resumes = ledger.resumes.get();
    within("all clients have resumed", async {
        while ledger.resumes.get() < resumes + clients {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    ledger.is_over.set(true);
    for task in tasks {
        within("a client ends", task).await.unwrap();
    }
    let mut stored: HashMap<String, (String, u64)> = HashMap::new();
    for room in (0..ROOMS).map(|number| format!("room-{number}")) {
        let mut last = 0;
        loop {
            let (messages, more) = page(&server, &format!("/api/rooms/{room}/messages?after={last}&limit=200"));
            for message in messages {
                assert_eq!(message["seq"], last + 1, "{room} has no gap");
                last += 1;
                let text = message["Message"].as_str().unwrap().to_owned();
                if let Some(seen) = ledger.seen.borrow().get(&(room.clone(), last)) {
                    assert_eq!(*seen, text, "the message seen at seq {last} of {room}");
                }
                let twice = stored.insert(text, (room.clone(), last));
                assert_eq!(twice, None, "a message is stored once");
            }
            if !more {
                break;
            }
        }
    }
    for (id, place) in &*ledger.acknowledged.borrow() {
        assert_eq!(stored.get(id), Some(place), "{id} was acknowledged");
    }
    for ((room, seq), text) in &*ledger.seen.borrow() {
        assert_eq!(stored.get(text), Some(&(room.clone(), *seq)), "{text} was seen");
    }
    server.stop();
    assert!(run(folder.path(), &["history", "check"]).status.success());
    println!(
        "{kills} kills, {clients} clients: {} sent, {} acknowledged, {} received, {} different ones seen, {} resumes, \
         {} stored; lost 0, twice 0, out of order 0",
        ledger.sent.get(),
        ledger.acknowledged.borrow().len(),
        ledger.received.get(),
        ledger.seen.borrow().len(),
        ledger.resumes.get(),
        stored.len(),
    );
}

pub(crate) const JWT: [(&str, &str); 3] = [token::JWT[0], token::JWT[1], ("CHAT_MESSAGES_PER_SECOND", "0")];

/// A token for this name.
pub(crate) fn token(name: &str) -> String {
    token::issue(&starling(), &[name])
}

#[actix_web::test]
async fn after_a_kill_a_private_message_is_in_both_inboxes_or_in_none() {
    let folder = tempdir().unwrap();
    let (alice, bob) = (token("alice"), token("bob"));
    let mut acknowledged = std::collections::HashSet::new();
    for kill in 0..from_environment("CRASH_KILLS", 3) {
        let server = starling().start(folder.path(), &JWT);
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(Client::enter(&server, &format!("/ws?token={alice}")).await.0);
        }
        let (_bob, _) = Client::enter(&server, &format!("/ws?token={bob}")).await;
        for (number, client) in clients.iter_mut().enumerate() {
            for message in 0..60 {
                let text = format!("{kill}-{number}-{message}-{}", "x".repeat(15_000));
                let id = format!("{kill}-{number}-{message}");
                if !client.try_send_json(&json!({"to": "bob", "Message": text, "id": id})).await {
                    break;
                }
            }
        }
        // The kill interrupts the messages that are in flight.
        for _ in 0..fastrand::usize(1..60) {
            acknowledged.insert(clients[0].next_of("ack").await["id"].as_str().unwrap().to_owned());
        }
        server.kill();
    }
    let exported = String::from_utf8(run(folder.path(), &["history", "export"]).stdout).unwrap();
    let mut copies: HashMap<String, Vec<String>> = HashMap::new();
    for line in exported.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let inbox = line["room"].as_str().unwrap().to_owned();
        copies.entry(line["id"].as_str().unwrap().to_owned()).or_default().push(inbox);
    }
    for (id, inboxes) in &copies {
        assert_eq!(*inboxes, ["@alice", "@bob"], "{id}");
    }
    for id in &acknowledged {
        assert!(copies.contains_key(id), "{id} was acknowledged");
    }
    println!("{} acknowledged, {} stored, each in both inboxes", acknowledged.len(), copies.len());
}
