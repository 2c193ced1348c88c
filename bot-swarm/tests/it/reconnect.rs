//! Lost connections: the bots return, resume, and send unacknowledged messages again.

use bot_swarm::Config;

use crate::server::{Options, TestServer};
use crate::{config, run_until, wait_until};

#[actix_rt::test]
async fn bots_resume_after_the_server_dropped_everyone_and_nothing_is_lost_or_doubled() {
    let server = TestServer::start().await;
    let config =
        Config { rooms: 2, workers: 2, behaviours: "chatter=9,private=1".parse().unwrap(), ..config(&server, 20) };
    let report = run_until(&config, async {
        for round in 1..=3 {
            wait_until("a hundred messages a round", || server.taken() >= round * 100).await;
            server.drop_everyone();
            wait_until("everybody back", || server.connected() == 20).await;
        }
        wait_until("messages after the last round", || server.taken() >= 500).await;
    })
    .await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.stats.counters.reconnects, 60, "{report}");
    assert_eq!(report.away, 0);
    assert_eq!(report.tally.expected, report.tally.received);
}

#[actix_rt::test]
async fn a_server_that_goes_away_in_order_is_left_and_found_again() {
    let server = TestServer::start().await;
    let report = run_until(&config(&server, 10), async {
        wait_until("all bots", || server.connected() == 10).await;
        server.close_everyone();
        wait_until("everybody back", || server.connected() == 10).await;
        let taken = server.taken();
        wait_until("messages after it", || server.taken() >= taken + 100).await;
    })
    .await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.stats.errors["close 1001"], 10, "{report}");
}

#[actix_rt::test]
async fn what_the_server_cannot_recover_is_lost_and_told() {
    let server = TestServer::with(Options { recovers_nothing: true, ..Options::default() }).await;
    let report = run_until(&config(&server, 10), async {
        wait_until("messages", || server.taken() >= 100).await;
        server.drop_everyone();
        wait_until("everybody back", || server.connected() == 10).await;
        let taken = server.taken();
        wait_until("messages after it", || server.taken() >= taken + 100).await;
    })
    .await;
    assert!(report.tally.lost > 0, "{report}");
    assert_eq!(report.tally.lost, report.tally.lost_and_told, "{report}");
    assert_eq!(report.faults(), [("lost", report.tally.lost)], "{report}");
}

#[actix_rt::test]
async fn a_room_that_began_anew_is_followed_in_its_new_epoch() {
    let server = TestServer::start().await;
    let report = run_until(&config(&server, 10), async {
        wait_until("messages", || server.taken() >= 100).await;
        server.forget_everything();
        wait_until("everybody back", || server.connected() == 10).await;
        let taken = server.taken();
        wait_until("messages after it", || server.taken() >= taken + 200).await;
    })
    .await;
    let tally = &report.tally;
    assert_eq!(tally.lost, tally.lost_and_told, "{report}");
    assert_eq!((tally.twice, tally.out_of_order, tally.contradictions), (0, 0, 0), "{report}");
    assert_eq!(report.unanswered, 0, "{report}");
}
