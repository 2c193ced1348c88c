//! Swarms against a correct server.

use std::net::SocketAddr;
use std::time::Duration;

use bot_swarm::{Config, RunError, StopHandle, progress};
use test_kit::free_port;

use crate::server::{Options, TestServer};
use crate::{config, run_until, wait_until};

#[actix_rt::test]
async fn an_honest_server_gives_a_clean_ledger() {
    let server = TestServer::start().await;
    let config = Config {
        rooms: 3,
        behaviours: "chatter=4,private=1".parse().unwrap(),
        workers: 2,
        message_bytes: (48..=300).into(),
        ..config(&server, 30)
    };
    let report = run_until(&config, wait_until("600 messages", || server.taken() >= 600)).await;
    assert!(report.is_clean(), "{report}");
    let counters = &report.stats.counters;
    assert_eq!(counters.ever_connected, 30);
    // A private message to a bot that has not connected yet is refused.
    assert_eq!((counters.sent, counters.acked), (server.taken() + counters.refused, server.taken()));
    assert_eq!(report.tally.expected, report.tally.received);
    assert_eq!(report.tally.received, counters.deliveries);
    assert_eq!(report.stats.delivery.count(), counters.deliveries);
    assert_eq!(report.stats.ack.count(), counters.acked);
    assert!(report.stats.completion.quantile(0.5) >= report.stats.delivery.quantile(0.5), "{report}");
}

#[actix_rt::test]
async fn each_message_has_one_last_receiver_on_however_many_threads() {
    let server = TestServer::start().await;
    let config = Config { workers: 3, ..config(&server, 9) };
    let report = run_until(&config, wait_until("300 messages", || server.taken() >= 300)).await;
    assert!(report.is_clean(), "{report}");
    let stats = &report.stats;
    assert_eq!(stats.completion.count(), server.taken(), "{report}");
    assert_eq!(stats.completion.max(), stats.delivery.max(), "the slowest delivery is the last of its message");
    assert!(stats.completion.quantile(0.5) >= stats.delivery.quantile(0.5), "{report}");
    let by_phase: u64 = report.phases.iter().map(|phase| phase.stats.completion.count()).sum();
    let by_second: u64 = report.points.iter().map(|point| point.kind("completion").unwrap().count).sum();
    assert_eq!((by_phase, by_second), (server.taken(), server.taken()));
}

#[actix_rt::test]
async fn bots_that_come_late_expect_only_what_comes_after_them() {
    let server = TestServer::start().await;
    let config = Config { ramp_per_second: 50.0, ..config(&server, 20) };
    let report = run_until(&config, wait_until("all bots", || server.connected() == 20)).await;
    assert!(report.is_clean(), "{report}");
    assert!(report.tally.expected < 20 * server.taken());
}

#[actix_rt::test]
async fn a_stopped_swarm_drains_and_says_goodbye() {
    let server = TestServer::start().await;
    let config = config(&server, 10);
    let report = run_until(&config, wait_until("100 messages", || server.taken() >= 100)).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.unanswered, 0);
    assert_eq!(server.goodbyes(), 10);
    assert_eq!(server.connected(), 0);
    assert!(report.stats.errors.is_empty(), "{report}");
}

#[actix_rt::test]
async fn a_swarm_stops_by_itself_when_its_time_is_over() {
    let server = TestServer::start().await;
    let config = Config { seconds: 0.3, ..config(&server, 5) };
    let report = bot_swarm::run(&config, &StopHandle::new(), &mut progress::Silent).await.unwrap();
    assert!(report.is_clean(), "{report}");
}

#[actix_rt::test]
async fn bots_that_only_listen_send_nothing() {
    let server = TestServer::start().await;
    let config = Config { messages_per_second: 0.0, ..config(&server, 5) };
    let report = run_until(&config, wait_until("all bots", || server.connected() == 5)).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.stats.counters.sent, 0);
}

#[actix_rt::test]
async fn a_refused_message_is_sent_later_and_keeps_its_planned_time() {
    let server = TestServer::with(Options { refuse_every: 10, ..Options::default() }).await;
    let config = Config { behaviours: "chatter=2,private=1".parse().unwrap(), ..config(&server, 10) };
    let report = run_until(&config, wait_until("300 messages", || server.taken() >= 300)).await;
    assert!(report.is_clean(), "{report}");
    assert!(report.stats.errors["rate_limited"] >= 30);
    let counters = &report.stats.counters;
    assert_eq!(counters.sent, counters.acked + counters.refused);
    // The pause of 10 ms is part of the time from the plan to the ack.
    assert!(report.stats.ack.max().as_millis() >= 10, "{report}");
}

#[actix_rt::test]
async fn a_stall_is_charged_to_every_message_that_it_delayed() {
    const STALL: Duration = Duration::from_secs(2);
    let server = TestServer::start().await;
    let report = run_until(&config(&server, 10), async {
        wait_until("some messages", || server.taken() >= 50).await;
        // The server runs on this thread, so it neither reads nor writes meanwhile. 400 messages become due.
        std::thread::sleep(STALL);
        let taken = server.taken();
        wait_until("all that was delayed", || server.taken() >= taken + 450).await;
    })
    .await;
    assert!(report.is_clean(), "{report}");
    // Half of the messages that became due in the stall waited for at least half of it, at the sender and at every
    // receiver.
    let delayed = 180.0 / report.stats.ack.count() as f64;
    for latencies in [&report.stats.ack, &report.stats.delivery, &report.stats.completion] {
        assert!(latencies.quantile(1.0 - delayed) >= STALL / 2, "{report}");
        assert!(latencies.max() >= STALL.mul_f64(0.9), "{report}");
    }
}

#[actix_rt::test]
async fn a_run_in_which_nobody_got_in_is_not_clean() {
    let unused = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = Config {
        server_url: format!("ws://{unused}/ws"),
        seconds: 0.2,
        count: 3,
        name_prefix: "test".into(),
        ..Config::default()
    };
    let report = bot_swarm::run(&config, &StopHandle::new(), &mut progress::Silent).await.unwrap();
    assert_eq!(report.verdict.exit_code(), 1);
    assert!(report.stats.errors.keys().any(|kind| kind.starts_with("connect: ")), "{report}");
}

#[actix_rt::test]
async fn more_bots_than_files_are_refused_before_any_connects() {
    let server = TestServer::start().await;
    let limit = bot_swarm::open_files::raise_limit();
    let Ok(count) = u32::try_from(limit) else { return };
    let config = config(&server, count);
    let refusal = bot_swarm::run(&config, &StopHandle::new(), &mut progress::Silent).await.unwrap_err();
    assert!(matches!(refusal, RunError::TooManyBots(_)));
    assert_eq!(server.welcomed(), 0);
}
