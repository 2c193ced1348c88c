//! Benchmarks of the stored history that need a whole server: a large file, and many clients that resume at once.
//!
//! `cargo bench --bench history` runs both. `STORED_MESSAGES` (10,000,000) and `STORM_CLIENTS` (1,000) set the sizes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a benchmark stops at the first error"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::tempdir;
use test_kit::{Client, Process, Program};

const ROOMS: u64 = 100;
const BEHIND: u64 = 500;

fn starling() -> Program {
    let variables = [("CHAT_BIND", "127.0.0.1:0"), ("CHAT_WORKERS", "2"), ("CHAT_DRAIN_SECONDS", "0")];
    Program::new(env!("CARGO_BIN_EXE_starling")).with(&variables)
}

/// Reads the messages of a page over HTTP.
fn page(server: &Process, path: &str) -> Vec<Value> {
    let (status, body) = server.get(path);
    assert_eq!(status, 200, "{path}: {body}");
    let mut body: Value = serde_json::from_str(&body).expect("a page is JSON");
    serde_json::from_value(body["messages"].take()).expect("a page has messages")
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[expect(clippy::disallowed_methods, reason = "a measurement of real time")]
fn now() -> Instant {
    Instant::now()
}

fn main() {
    actix_rt::System::new().block_on(async {
        stored();
        storm().await;
    });
}

/// Fills a database faster than the server would, with the newest schema and all messages.
fn fill(folder: &Path, messages: u64) {
    starling().start(folder, &[]).stop();
    let database = Connection::open(folder.join("data/starling.db")).expect("the server has created the database");
    let filled = database.execute_batch(&format!(
        "PRAGMA synchronous = OFF; BEGIN;
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {ROOMS})
         INSERT INTO rooms (id, name, epoch, seq, oldest) SELECT n, 'room-' || n, n, {messages} / {ROOMS}, 1 FROM n;
         WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < {messages} - 1)
         INSERT INTO messages (place, at, client_id, id, text)
            SELECT (1 + n / ({messages} / {ROOMS})) * (1 << 40) + 1 + n % ({messages} / {ROOMS}), 1700000000000 + n,
                'client-' || (n % 1000), NULL, 'message ' || n || ' of so many that were said here, word' || (n % 5000)
            FROM n;
         
         COMMIT; PRAGMA wal_checkpoint(TRUNCATE);"
    ));
    filled.expect("the disk has enough space");
}

fn stored() {
    let messages = from_environment("STORED_MESSAGES", 10_000_000);
    for messages in [1_000, messages] {
        let folder = tempdir().expect("a folder for the database");
        fill(folder.path(), messages);
        let begun = now();
        let server = starling().start(folder.path(), &[]);
        let started = begun.elapsed();
        let size = std::fs::metadata(folder.path().join("data/starling.db")).map_or(0, |file| file.len());
        println!(
            "{messages} messages, {} MB: start {started:?}, {:.1} MiB resident",
            size / 1_000_000,
            server.memory_mib().1
        );
        let newest = messages / ROOMS;
        let mut times = Vec::new();
        for room in 1..=ROOMS {
            for depth in [0, newest / 4, newest / 2, newest * 3 / 4, newest - 1] {
                let path = format!("/api/rooms/room-{room}/messages?before={}&limit=50", newest + 1 - depth);
                let begun = now();
                page(&server, &path);
                times.push(begun.elapsed());
            }
        }
        times.sort_unstable();
        println!("  pages of 50: median {:?}, slowest {:?}", times[times.len() / 2], times[times.len() - 1]);
        for query in ["word77", "message", "message+word77"] {
            let begun = now();
            let found = page(&server, &format!("/api/rooms/room-7/messages?q={query}"));
            println!("  search {query}: {} found in {:?}", found.len(), begun.elapsed());
        }
        println!("  {:.0} MiB resident at most", server.memory_mib().1);
    }
}

async fn storm() {
    let clients = from_environment("STORM_CLIENTS", 1_000);
    let folder = tempdir().expect("a folder for the database");
    let variables = [("CHAT_MESSAGES_PER_SECOND", "0")];
    let server = starling().start(folder.path(), &variables);
    let (mut writer, welcome) = Client::enter(&server, "/ws/storm?clientId=writer").await;
    for number in 1..=BEHIND {
        writer.send_json(&json!({"Message": "x".repeat(128), "id": number.to_string()})).await;
        writer.next_of("ack").await;
    }
    server.stop();
    for warm in [false, true] {
        let server = starling().start(folder.path(), &variables);
        if warm {
            let (mut first, _) = Client::enter(&server, "/ws/storm?clientId=first").await;
            resume(&mut first, &welcome["epoch"]).await;
        }
        let mut connected = Vec::new();
        for number in 0..clients {
            connected.push(Client::enter(&server, &format!("/ws/storm?clientId=c{number}")).await.0);
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let live = {
            let (address, is_over) = (server.address(), Arc::clone(&is_over));
            // A separate thread, so that the work of the thousand clients on this thread is not measured as the
            // server's delay.
            thread::spawn(move || actix_rt::System::new().block_on(live(address, &is_over)))
        };
        let begun = now();
        let tasks: Vec<_> = connected
            .into_iter()
            .map(|mut client| {
                let epoch = welcome["epoch"].clone();
                actix_rt::spawn(async move {
                    resume(&mut client, &epoch).await;
                    client
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("all messages are recovered in order");
        }
        let took = begun.elapsed();
        is_over.store(true, Relaxed);
        let late = live.join().expect("the live room continues");
        println!(
            "{clients} clients {BEHIND} behind{}: all recovered in {took:?}, {:.0} MiB resident at most, {} live messages in another room, median {:?}, p99 {:?}",
            if warm { ", a second time" } else { "" },
            server.memory_mib().1,
            late.len(),
            late[late.len() / 2],
            late[late.len() * 99 / 100],
        );
    }
}

async fn resume(client: &mut Client, epoch: &Value) {
    client.send_json(&json!({"type": "join", "room": "storm", "after": 0, "epoch": epoch})).await;
    assert_eq!(client.next_of("joined").await["recovered"], true);
    for seq in 1..=BEHIND {
        assert_eq!(client.next_of("message").await["seq"], seq);
    }
}

/// Sends a message every 10 ms in another room. Returns the sorted times until each came back.
async fn live(address: SocketAddr, is_over: &AtomicBool) -> Vec<Duration> {
    let (mut client, _) = Client::try_enter(address, "/ws/live?clientId=live").await.expect("a free place");
    let mut late = Vec::new();
    while late.is_empty() || !is_over.load(Relaxed) {
        let begun = now();
        client.send_json(&json!({"Message": "tick"})).await;
        client.next_of("message").await;
        late.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    late.sort_unstable();
    late
}
