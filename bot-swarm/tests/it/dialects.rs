//! Servers other than Starling: messages are recognized by their markers, and judged by the senders' own numbering.

use bot_swarm::dialect::Dialect;
use bot_swarm::ledger::Tally;
use bot_swarm::{Config, Outcome};

use crate::server::{PlainFault, PlainServer};
use crate::{run_until, wait_until};

/// Runs a swarm against a plain server that misbehaves once the bots have listened for a while.
async fn run(dialect: Dialect, fault: Option<PlainFault>, mix: &str) -> (u64, Outcome) {
    let server = PlainServer::start(dialect == Dialect::Echo).await;
    let config = Config {
        server_url: server.url(),
        dialect,
        count: 8,
        behaviours: mix.parse().unwrap(),
        name_prefix: "test".into(),
        ramp_per_second: 10_000.0,
        messages_per_second: 20.0,
        churn_seconds: 0.3,
        drain_seconds: 1.0,
        lateness_max_seconds: 3_600.0,
        ..Config::default()
    };
    let report = run_until(&config, async {
        // Nothing can be expected of the server until the bots have been connected for a second. Eight bots send at
        // most 160 messages in a second, so after 160 and the first ones that second is over, however busy the machine.
        wait_until("messages", || server.taken() >= 260).await;
        if let Some(fault) = fault {
            server.misbehave(fault);
            wait_until("faults", || server.wrong() == 3).await;
        }
        let taken = server.taken();
        wait_until("more messages", || server.taken() >= taken + 100).await;
    })
    .await;
    (server.wrong(), report)
}

async fn check(dialect: Dialect, fault: PlainFault, expected: impl Fn(u64) -> Tally) {
    let (wrong, report) = run(dialect, Some(fault), "chatter=1").await;
    let found = Tally { expected: 0, received: 0, ..report.tally };
    assert_eq!(found, expected(wrong), "{dialect} {fault:?}\n{report}");
    assert_eq!(report.verdict.exit_code(), 1, "{report}");
}

#[actix_rt::test]
async fn an_honest_plain_server_gives_a_clean_ledger() {
    for (dialect, mix) in
        [(Dialect::Seed, "chatter=1,lurker=1"), (Dialect::Echo, "chatter=1"), (Dialect::Seed, "chatter=3,churner=1")]
    {
        let (_, report) = run(dialect, None, mix).await;
        assert!(report.is_clean(), "{dialect}\n{report}");
        assert!(report.tally.received >= 100 && report.tally.expected == report.tally.received, "{dialect}\n{report}");
        assert!(report.stats.delivery.count() >= report.tally.received, "{dialect}\n{report}");
    }
}

#[actix_rt::test]
async fn what_a_plain_server_loses_doubles_or_reorders_is_found() {
    for dialect in [Dialect::Seed, Dialect::Echo] {
        check(dialect, PlainFault::Double, |twice| Tally { twice, ..Tally::default() }).await;
        check(dialect, PlainFault::Swap, |out_of_order| Tally { out_of_order, ..Tally::default() }).await;
    }
    check(Dialect::Seed, PlainFault::Lose, |lost| Tally { lost, ..Tally::default() }).await;
}

#[actix_rt::test]
async fn what_an_echo_server_loses_or_misdelivers_is_found() {
    check(Dialect::Echo, PlainFault::Misdeliver, |misdelivered| Tally { misdelivered, ..Tally::default() }).await;
    let (wrong, report) = run(Dialect::Echo, Some(PlainFault::Lose), "chatter=1").await;
    assert_eq!((report.tally.lost, report.unanswered), (wrong, wrong), "{report}");
}
