//! The bots' share of memory traffic: the allocations of a delivery in steady operation.
//!
//! A test program of its own: it counts the allocations of the whole process, so no other test may run in it.

#![allow(clippy::unwrap_used, reason = "a test ends with what is wrong")]

use bot_swarm::{Config, StopHandle, progress};
use test_kit::{Process, Program};

#[global_allocator]
static COUNTED: dhat::Alloc = dhat::Alloc;

const BOTS: u32 = 500;

/// Runs two bots that talk and many that listen. Returns the number of messages that came back, and the deliveries and
/// allocations that they caused.
async fn swarm(server: &Process, messages_per_second: f64) -> (u64, u64) {
    let config = Config {
        server_url: format!("ws://{}/ws", server.address()),
        count: BOTS,
        behaviours: "chatter=2,lurker=498".parse().unwrap(),
        messages_per_second,
        ramp_per_second: 2_000.0,
        seconds: 3.0,
        ..Config::default()
    };
    let before = dhat::HeapStats::get().total_blocks;
    let outcome = bot_swarm::run(&config, &StopHandle::new(), &mut progress::Silent).await.unwrap();
    let blocks = dhat::HeapStats::get().total_blocks - before;
    assert!(outcome.is_clean(), "{outcome}");
    (outcome.stats.counters.deliveries, blocks)
}

#[actix_web::test]
async fn a_delivery_allocates_nothing_once_the_bots_are_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        ("CHAT_BIND", "127.0.0.1:0"),
        ("CHAT_WORKERS", "2"),
        ("CHAT_DRAIN_SECONDS", "0"),
        ("CHAT_MESSAGES_PER_SECOND", "0"),
    ];
    let server = Program::new(env!("CARGO_BIN_EXE_starling")).start(folder.path(), &variables);
    let _counting = dhat::Profiler::builder().testing().build();
    // The cost of connecting and of the run itself is the same in both, and the cost of a message is shared by 500
    // deliveries.
    let (few, at_first) = swarm(&server, 2.0).await;
    let (many, in_all) = swarm(&server, 40.0).await;
    let deliveries = many - few;
    assert!(deliveries > 50_000, "{few} and {many} deliveries");
    let each = (in_all as f64 - at_first as f64) / deliveries as f64;
    assert!(each < 0.1, "{each:.3} allocations for each of {deliveries} deliveries");
    server.stop();
}
