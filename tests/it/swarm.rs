//! Bots against the real server: nothing lost, doubled, reordered or misdelivered.

use bot_swarm::{Config, Outcome, StopHandle, progress};

use crate::harness::{TestServer, figures_when};

/// Runs bots against a server until it has made so many deliveries.
async fn run(server: &TestServer, config: Config, deliveries: f64) -> Outcome {
    let config = Config {
        server_url: format!("ws://{}/ws", server.address()),
        name_prefix: "bot".into(),
        ramp_per_second: 10_000.0,
        ..config
    };
    let stop = StopHandle::new();
    let mut silent = progress::Silent;
    let running = bot_swarm::run(&config, &stop, &mut silent);
    let stopping = async {
        figures_when(server, "enough deliveries", |figures| figures.value("chat_deliveries_total", &[]) >= deliveries)
            .await;
        stop.stop();
    };
    let (report, ()) = tokio::join!(running, stopping);
    report.unwrap()
}

#[actix::test]
async fn three_hundred_bots_get_everything_once_and_in_order() {
    let server = TestServer::start(&[]);
    let config = Config {
        count: 300,
        rooms: 6,
        messages_per_second: 2.0,
        behaviours: "chatter=9,private=1".parse().unwrap(),
        ..Config::default()
    };
    let report = run(&server, config, 50_000.0).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.stats.counters.ever_connected, 300);
    assert!(report.tally.received >= 50_000, "{report}");
    assert_eq!(report.tally.expected, report.tally.received, "{report}");
}

#[actix::test]
async fn bots_that_flood_one_room_lose_nothing() {
    // Room in the outboxes for as long as a busy machine may keep the bots from reading.
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_OUTBOX_BYTES", "67108864")]);
    let config = Config {
        count: 50,
        messages_per_second: 100.0,
        message_bytes: (40..=2_048).into(),
        workers: 2,
        ..Config::default()
    };
    let report = run(&server, config, 100_000.0).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.tally.expected, report.tally.received, "{report}");
}
