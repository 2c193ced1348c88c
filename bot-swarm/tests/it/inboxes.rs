//! Private messages that the server keeps: bots resume their inboxes, and the ledger judges the deliveries.

use bot_swarm::ledger::Tally;
use bot_swarm::{Config, Outcome};

use crate::server::{InboxFault, Options, TestServer};
use crate::{config, run_until, wait_until};

const BOTS: u32 = 12;

/// Bots of which half write private messages.
fn private_config(server: &TestServer) -> Config {
    Config {
        workers: 2,
        behaviours: "private=1,chatter=1".parse().unwrap(),
        drain_seconds: 5.0,
        ..config(server, BOTS)
    }
}

/// Cuts every connection, and waits until all bots are connected and send.
async fn interrupt(server: &TestServer) {
    let taken = server.taken();
    wait_until("messages", || server.taken() >= taken + 100).await;
    server.drop_everyone();
    wait_until("everybody back", || server.connected() == BOTS as usize).await;
}

/// Runs a swarm until the server has committed all its faults with inboxes.
async fn run(fault: InboxFault) -> (u64, Outcome) {
    let options = Options { keeps_private: true, inbox_fault: Some(fault), ..Options::default() };
    let server = TestServer::with(options).await;
    let report = run_until(&private_config(&server), async {
        while server.wrong_in_inboxes() < 3 {
            interrupt(&server).await;
        }
    })
    .await;
    (server.wrong_in_inboxes(), report)
}

#[actix_rt::test]
async fn bots_resume_their_inboxes_and_no_private_message_is_lost_or_doubled_or_unknown() {
    let server = TestServer::with(Options { keeps_private: true, ..Options::default() }).await;
    let config = Config {
        // Some bots leave and return by their own choice.
        behaviours: "private=4,chatter=1,churner=1".parse().unwrap(),
        churn_seconds: 0.3,
        ..private_config(&server)
    };
    let report = run_until(&config, async {
        let is_enough = |(resumed, waited)| resumed >= 50 && waited >= 20;
        while !is_enough(server.resumed_and_waited()) {
            let taken = server.taken();
            wait_until("messages", || server.taken() >= taken + 100).await;
            server.drop_everyone();
        }
        let taken = server.taken();
        wait_until("messages after the last cut", || server.taken() >= taken + 100).await;
    })
    .await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.tally.expected, report.tally.received, "{report}");
    assert_eq!(report.stats.counters.refused, 0, "{report}");
    // Only messages for a churner that rests at the end are unknown.
    assert!(report.tally.private_unknown < 20, "{report}");
}

#[actix_rt::test]
async fn what_a_server_does_wrong_when_an_inbox_is_resumed_is_found() {
    type Found = fn(u64) -> Tally;
    let cases: [(InboxFault, Found); 5] = [
        (InboxFault::Lose, |lost| Tally { lost, ..Tally::default() }),
        (InboxFault::Double, |twice| Tally { twice, ..Tally::default() }),
        (InboxFault::Swap, |out_of_order| Tally { out_of_order, ..Tally::default() }),
        (InboxFault::ForgeRecovery, |lost| Tally { lost, ..Tally::default() }),
        (InboxFault::RecoverNothing, |lost| Tally { lost, lost_and_told: lost, ..Tally::default() }),
    ];
    for (fault, found) in cases {
        let (wrong, report) = run(fault).await;
        let tally = Tally { expected: 0, received: 0, ..report.tally };
        assert_eq!(tally, found(wrong), "{fault:?}\n{report}");
        assert_eq!(report.tally.expected, report.tally.received + report.tally.lost, "{fault:?}\n{report}");
        assert_eq!(report.verdict.exit_code(), 1, "{fault:?}");
    }
}

#[actix_rt::test]
async fn a_bot_that_is_never_told_what_it_missed_is_away() {
    let (_, report) = {
        let options = Options { keeps_private: true, inbox_fault: Some(InboxFault::Ignore), ..Options::default() };
        let server = TestServer::with(options).await;
        let config = Config { drain_seconds: 0.5, ..private_config(&server) };
        let report = run_until(&config, async {
            interrupt(&server).await;
            wait_until("three resumes are ignored", || server.wrong_in_inboxes() == 3).await;
        });
        (server.wrong_in_inboxes(), report.await)
    };
    assert_eq!(report.away, 3, "{report}");
    assert_eq!(report.verdict.exit_code(), 1, "{report}");
}

#[actix_rt::test]
async fn inboxes_that_began_anew_are_followed_and_what_was_not_received_is_lost() {
    let server = TestServer::with(Options { keeps_private: true, ..Options::default() }).await;
    let report = run_until(&private_config(&server), async {
        interrupt(&server).await;
        server.forget_inboxes();
        wait_until("everybody back", || server.connected() == BOTS as usize).await;
        let taken = server.taken();
        wait_until("messages after it", || server.taken() >= taken + 200).await;
    })
    .await;
    let tally = &report.tally;
    assert_eq!((tally.twice, tally.out_of_order, tally.misdelivered), (0, 0, 0), "{report}");
    assert_eq!((report.unanswered, report.away, tally.private_unknown), (0, 0, 0), "{report}");
    assert_eq!(tally.expected, tally.received + tally.lost, "{report}");
}
