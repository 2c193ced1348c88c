//! Measures of the stored history that need a whole server: a large file, and many clients that resume at once.
//!
//! `cargo bench --bench history` runs both, with `STORED_MESSAGES` (10,000,000) and `STORM_CLIENTS` (1,000).

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a test or a measure ends with what is wrong; the harness is shared by both"
)]

#[path = "../tests/history/harness.rs"]
mod harness;

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

use self::harness::{Client, Process};

const ROOMS: u64 = 100;
const BEHIND: u64 = 500;

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

/// Fills a database as the server would have, only faster: the newest schema, all messages, the search index.
fn fill(folder: &Path, messages: u64) {
    Process::start(folder, &[]).stop();
    let database = Connection::open(folder.join("data/starling.db")).expect("the server has made it");
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
    filled.expect("the disk has room for it");
}

fn memory_kib(server: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

fn stored() {
    let messages = from_environment("STORED_MESSAGES", 10_000_000);
    for messages in [1_000, messages] {
        let folder = tempdir().expect("a folder for the database");
        fill(folder.path(), messages);
        let begun = now();
        let server = Process::start(folder.path(), &[]);
        let started = begun.elapsed();
        let size = std::fs::metadata(folder.path().join("data/starling.db")).map_or(0, |file| file.len());
        println!(
            "{messages} messages, {} MB: start {started:?}, {} KiB resident",
            size / 1_000_000,
            memory_kib(&server)
        );
        let newest = messages / ROOMS;
        let mut times = Vec::new();
        for room in 1..=ROOMS {
            for depth in [0, newest / 4, newest / 2, newest * 3 / 4, newest - 1] {
                let path = format!("/api/rooms/room-{room}/messages?before={}&limit=50", newest + 1 - depth);
                let begun = now();
                server.page(&path);
                times.push(begun.elapsed());
            }
        }
        times.sort_unstable();
        println!("  pages of 50: median {:?}, slowest {:?}", times[times.len() / 2], times[times.len() - 1]);
        for query in ["word77", "message", "message+word77"] {
            let begun = now();
            let (found, _) = server.page(&format!("/api/rooms/room-7/messages?q={query}"));
            println!("  search {query}: {} found in {:?}", found.len(), begun.elapsed());
        }
        println!("  {} KiB resident at most", memory_kib(&server));
    }
}

async fn storm() {
    let clients = from_environment("STORM_CLIENTS", 1_000);
    let folder = tempdir().expect("a folder for the database");
    let variables = [("CHAT_MESSAGES_PER_SECOND", "0")];
    let server = Process::start(folder.path(), &variables);
    let (mut writer, welcome) = Client::open(&server, "/ws/storm?clientId=writer").await;
    for number in 1..=BEHIND {
        writer.send(json!({"Message": "x".repeat(128), "id": number.to_string()})).await;
        writer.expect("ack").await;
    }
    server.stop();
    for warm in [false, true] {
        let server = Process::start(folder.path(), &variables);
        if warm {
            let (mut first, _) = Client::open(&server, "/ws/storm?clientId=first").await;
            resume(&mut first, &welcome["epoch"]).await;
        }
        let mut connected = Vec::new();
        for number in 0..clients {
            connected.push(Client::open(&server, &format!("/ws/storm?clientId=c{number}")).await.0);
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let live = {
            let (address, is_over) = (server.address, Arc::clone(&is_over));
            // A thread of its own: the thousand clients that share this one do not count as the server's delay.
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
            task.await.expect("all is recovered, in order");
        }
        let took = begun.elapsed();
        is_over.store(true, Relaxed);
        let late = live.join().expect("the live room goes on");
        println!(
            "{clients} clients {BEHIND} behind{}: all recovered in {took:?}, {} KiB resident at most, {} live messages in another room, median {:?}, p99 {:?}",
            if warm { ", a second time" } else { "" },
            memory_kib(&server),
            late.len(),
            late[late.len() / 2],
            late[late.len() * 99 / 100],
        );
    }
}

async fn resume(client: &mut Client, epoch: &Value) {
    client.send(json!({"type": "join", "room": "storm", "after": 0, "epoch": epoch})).await;
    assert_eq!(client.expect("joined").await["recovered"], true);
    for seq in 1..=BEHIND {
        assert_eq!(client.expect("message").await["seq"], seq);
    }
}

/// Says something every 10 ms in another room, and returns how long each took to come back, sorted.
async fn live(address: SocketAddr, is_over: &AtomicBool) -> Vec<Duration> {
    let (mut client, _) = Client::try_open(address, "/ws/live?clientId=live").await.expect("there is a place");
    let mut late = Vec::new();
    while late.is_empty() || !is_over.load(Relaxed) {
        let begun = now();
        client.send(json!({"Message": "tick"})).await;
        client.expect("message").await;
        late.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    late.sort_unstable();
    late
}
