//! Rooms that are dropped and created again. A new room may reuse the number of a dropped room in the database, but
//! nothing else of it.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::tempdir;
use test_kit::{Client, LOOK, Process, within};

use super::crash::{JWT, token};
use super::harness::{run, starling};

/// The way in which a room ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Retention drops all messages by age; then an operator drops the remaining `id`s of the room.
    TooOld,
    /// An operator drops the room while it has messages.
    Dropped,
    /// An operator drops the room while it has messages and no server runs.
    DroppedOffline,
}

const ADMIN: &str = "an operator's secret";

/// The number of messages in the ended room: more than one step drops.
const OLD: usize = 600;

/// Sends these messages to a room, and returns the acknowledgements.
async fn say(client: &mut Client, room: &str, texts: impl Iterator<Item = (String, String)>) -> Vec<Value> {
    client.send_json(&json!({"type": "join", "room": room})).await;
    client.next_of("joined").await;
    let mut acks = Vec::new();
    for (id, text) in texts {
        client.send_json(&json!({"Message": text, "id": id, "room": room})).await;
        acks.push(client.next_of("ack").await);
    }
    acks
}

fn texts(of: &'static str, count: usize) -> impl Iterator<Item = (String, String)> {
    (1..=count).map(move |number| (format!("m-{number}"), format!("{of} says number {number}")))
}

async fn drop_over_http(server: &Process, room: &str) {
    let request = awc::Client::new().delete(format!("http://{}/api/rooms/{room}", server.address())).bearer_auth(ADMIN);
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

async fn check(end: End) {
    let folder = tempdir().unwrap();
    let alice_is = format!("/ws?token={}", token("alice"));
    let kept_for = if matches!(end, End::TooOld) { "2" } else { "0" };
    let variables = [&JWT[..], &[("CHAT_ADMIN_TOKEN", ADMIN), ("CHAT_HISTORY_KEEP_SECONDS", kept_for)]].concat();
    let after = [&JWT[..], &[("CHAT_ADMIN_TOKEN", ADMIN)]].concat();
    let pause = || std::thread::sleep(Duration::from_millis(fastrand::u64(..20)));

    let server = starling().start(folder.path(), &variables);
    let (mut alice, _) = Client::enter(&server, &alice_is).await;
    let count = if matches!(end, End::TooOld) { 20 } else { OLD };
    say(&mut alice, "old", texts("old", count)).await;
    drop(alice);
    match end {
        End::TooOld => {
            let is_empty = || {
                let database = Connection::open(folder.path().join("data/starling.db")).unwrap();
                database.query_row("SELECT count(*) = 0 FROM messages", [], |row| row.get::<_, bool>(0)).unwrap()
            };
            within("the old messages are dropped", async {
                while !is_empty() {
                    tokio::time::sleep(LOOK).await;
                }
            })
            .await;
            drop_over_http(&server, "old").await;
        }
        End::Dropped => drop_over_http(&server, "old").await,
        End::DroppedOffline => {}
    }
    // The kill interrupts the due work. The moment is random, so this is a time and not a condition.
    pause();
    server.kill();
    if matches!(end, End::DroppedOffline) {
        let dropped = run(folder.path(), &["history", "drop", "--room", "old"]);
        assert!(dropped.status.success(), "{dropped:?}");
    }
    for made in ["new", "old"] {
        let server = starling().start(folder.path(), &after);
        let (mut alice, _) = Client::enter(&server, &alice_is).await;
        // The same `id`s are sent again. Those of an ended room must not count as duplicates in the new room.
        let of = if made == "new" { 1 } else { 101 };
        let numbered = (of..of + 20).map(|number| (format!("m-{number}"), format!("{made} says number {number}")));
        for (seq, ack) in (1..).zip(say(&mut alice, made, numbered).await) {
            let told = (&ack["seq"], &ack["room"], &ack["duplicate"]);
            assert_eq!(told, (&json!(seq), &json!(made), &Value::Null), "{end:?} {made}");
        }
        pause();
        server.kill();
    }
    let server = starling().start(folder.path(), &after);
    within("nothing is left of the ended room", async {
        let left = || {
            let database = Connection::open(folder.path().join("data/starling.db")).unwrap();
            let count = "SELECT (SELECT count(*) FROM rooms WHERE name LIKE '!%') + (SELECT count(*) FROM messages)";
            database.query_row(count, [], |row| row.get::<_, u64>(0)).unwrap()
        };
        while left() > 40 {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    let (mut alice, _) = Client::enter(&server, &alice_is).await;
    for (made, of) in [("new", 1), ("old", 101)] {
        let (status, body) = http_get(&server, &format!("/api/rooms/{made}/messages?limit=100"), &alice_is).await;
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let said: Vec<_> = body["messages"].as_array().unwrap().iter().map(|message| &message["Message"]).collect();
        let expected: Vec<_> = (of..of + 20).map(|number| json!(format!("{made} says number {number}"))).collect();
        assert_eq!(said, expected.iter().collect::<Vec<_>>(), "{end:?} {made}");
        // The `id`s of the new room are remembered.
        let again = [(format!("m-{of}"), "again".to_owned())].into_iter();
        let ack = say(&mut alice, made, again).await.remove(0);
        let told = (&ack["seq"], &ack["room"], &ack["duplicate"]);
        assert_eq!(told, (&json!(1), &json!(made), &json!(true)), "{end:?} {made}");
    }
    server.stop();
    let checked = run(folder.path(), &["history", "check"]);
    assert!(checked.status.success(), "{end:?}: {checked:?}");
}

async fn http_get(server: &Process, path: &str, who: &str) -> (u16, String) {
    let token = who.split_once("token=").unwrap().1;
    let request = awc::Client::new().get(format!("http://{}{path}", server.address())).bearer_auth(token);
    let mut answer = request.send().await.unwrap();
    (answer.status().as_u16(), String::from_utf8(answer.body().await.unwrap().to_vec()).unwrap())
}

#[test]
fn a_room_that_ended_has_no_part_in_a_room_that_is_made_after_it_whatever_kills_come_between() {
    let ends = [End::TooOld, End::Dropped, End::DroppedOffline];
    let threads = ends.map(|end| std::thread::spawn(move || actix_web::rt::System::new().block_on(check(end))));
    for thread in threads {
        thread.join().unwrap();
    }
}
