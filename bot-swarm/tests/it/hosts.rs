//! Messages between hosts: each host has a clock of its own, and both are compared with the server's.

use std::time::Duration;

use bot_swarm::clock::Host;
use bot_swarm::dialect::Dialect;
use bot_swarm::{Config, Outcome, StopHandle, progress};

use crate::server::{Options, PlainServer, TestServer};
use crate::{config, wait_until};

/// The offset of the other host's clock: far more than any latency.
const AHEAD: Duration = Duration::from_secs(5);

/// The server's delay of each delivery: far more than the possible error of the clocks.
const DELAY: Duration = Duration::from_millis(300);

/// The largest difference between the median deliveries of the two swarms, on a busy machine.
const BUSY: Duration = Duration::from_millis(50);

/// Runs two swarms, one on this host and one on another, until `enough` is ready.
async fn here_and_there(config: &Config, enough: impl Future<Output = ()>) -> [Outcome; 2] {
    let stop = StopHandle::new();
    let swarm = async |host, prefix: &str| {
        let config = Config { name_prefix: prefix.to_owned(), ..config.clone() };
        bot_swarm::run_on(host, &config, &stop, &mut progress::Silent).await.unwrap()
    };
    let stopping = async {
        enough.await;
        stop.stop();
    };
    let there = Host::pretended(Host::this().tag() ^ 1, AHEAD);
    let (here, there, ()) = tokio::join!(swarm(Host::this(), "here"), swarm(there, "there"), stopping);
    [here, there]
}

#[actix_rt::test]
async fn deliveries_from_another_host_are_timed_by_the_servers_clock_and_are_off_by_no_more_than_is_said() {
    let server = TestServer::with(Options { delay: DELAY, ..Options::default() }).await;
    let config = config(&server, 5);
    for report in here_and_there(&config, wait_until("messages", || server.taken() >= 500)).await {
        assert!(report.is_clean(), "{report}");
        let stats = &report.stats;
        let off_by = stats.clocks_off_max;
        assert!(!off_by.is_zero() && off_by < DELAY, "{off_by:?}\n{report}");
        assert!(stats.remote.count() > 1_000 && stats.delivery.count() > 1_000, "{report}");
        assert_eq!(
            stats.delivery.count() + stats.remote.count() + stats.counters.untimed,
            stats.counters.deliveries,
            "{report}"
        );
        // The histogram has three digits.
        assert!(stats.remote.quantile(0.0) + off_by > DELAY.mul_f64(0.998), "{report}");
        let (remote, exact) = (stats.remote.quantile(0.5), stats.delivery.quantile(0.5));
        assert!(remote.abs_diff(exact) <= off_by + BUSY, "{remote:?} and {exact:?}\n{report}");
        assert_eq!(stats.counters.remote_negative, 0, "{report}");
    }
}

#[actix_rt::test]
async fn where_the_server_does_not_tell_its_time_deliveries_from_another_host_are_not_timed() {
    let server = PlainServer::start(false).await;
    let config = Config {
        server_url: server.url(),
        dialect: Dialect::Seed,
        count: 3,
        ramp_per_second: 10_000.0,
        messages_per_second: 20.0,
        drain_seconds: 1.0,
        lateness_max_seconds: 3_600.0,
        ..Config::default()
    };
    for report in here_and_there(&config, wait_until("messages", || server.taken() >= 200)).await {
        let stats = &report.stats;
        assert!(stats.counters.untimed > 100 && stats.delivery.count() > 100, "{report}");
        assert_eq!((stats.remote.count(), stats.clocks_off_max), (0, Duration::ZERO), "{report}");
    }
}
