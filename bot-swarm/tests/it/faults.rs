//! A server that misbehaves on purpose: the ledger finds every case, and nothing else.

use bot_swarm::ledger::Tally;
use bot_swarm::{Config, Outcome};

use crate::server::{Alteration, Fault, Options, TestServer};
use crate::{config, run_until, wait_until};

/// Runs a swarm against a server with this fault. Returns the number of wrong deliveries, and the outcome.
async fn run(fault: Fault) -> (u64, Outcome) {
    let server = TestServer::with(Options { fault: Some(fault), ..Options::default() }).await;
    let config = Config {
        rooms: 2,
        behaviours: "chatter=2,private=1".parse().unwrap(),
        drain_seconds: 0.5,
        ..config(&server, 12)
    };
    let report = run_until(&config, wait_until("300 messages", || server.taken() >= 300)).await;
    (server.wrong(), report)
}

/// The findings of an outcome, without its correct counts.
fn found(report: &Outcome) -> Tally {
    Tally { expected: 0, received: 0, ..report.tally }
}

async fn check(fault: Fault, tally: impl Fn(u64) -> Tally) {
    let (wrong, report) = run(fault).await;
    assert!(wrong >= 3, "{fault:?} was committed {wrong} times");
    assert_eq!(found(&report), tally(wrong), "{fault:?}\n{report}");
    assert_eq!(report.tally.expected, report.tally.received + report.tally.lost);
    assert_eq!(report.verdict.exit_code(), 1);
    assert_eq!(report.unanswered, 0);
}

#[actix_rt::test]
async fn a_lost_delivery_is_found() {
    check(Fault::LoseDelivery, |lost| Tally { lost, ..Tally::default() }).await;
}

#[actix_rt::test]
async fn a_doubled_delivery_is_found() {
    check(Fault::DoubleDelivery, |twice| Tally { twice, ..Tally::default() }).await;
}

#[actix_rt::test]
async fn deliveries_in_the_wrong_order_are_found() {
    check(Fault::SwapDeliveries, |out_of_order| Tally { out_of_order, ..Tally::default() }).await;
}

#[actix_rt::test]
async fn a_message_that_differs_between_receivers_is_found() {
    check(Fault::Contradict, |contradictions| Tally { contradictions, ..Tally::default() }).await;
}

#[actix_rt::test]
async fn an_acknowledged_message_that_went_nowhere_is_found() {
    check(Fault::AckOnly, |lost| Tally { lost, ..Tally::default() }).await;
}

#[actix_rt::test]
async fn a_message_that_was_stored_twice_is_found() {
    check(Fault::StoreTwice, |twice| Tally { twice, ..Tally::default() }).await;
}

#[actix_rt::test]
async fn a_message_in_another_room_is_found() {
    check(Fault::LeakToOtherRoom, |wrong_room| Tally { wrong_room, ..Tally::default() }).await;
}

#[actix_rt::test]
async fn a_private_message_at_a_stranger_is_found() {
    check(Fault::LeakPrivate, |misdelivered| Tally { misdelivered, ..Tally::default() }).await;
}

#[actix_rt::test]
async fn a_private_message_that_did_not_arrive_is_found() {
    check(Fault::LosePrivate, |lost| Tally { lost, ..Tally::default() }).await;
}

#[actix_rt::test]
async fn a_private_message_that_was_altered_is_found_and_what_was_sent_has_not_come() {
    for how in Alteration::ALL.into_iter().filter(|how| *how != Alteration::TextAndSender) {
        check(Fault::AlterPrivate(how), |wrong| Tally { altered: wrong, lost: wrong, ..Tally::default() }).await;
    }
    // Nothing shows any more that a bot sent this message.
    check(Fault::AlterPrivate(Alteration::TextAndSender), |lost| Tally { lost, ..Tally::default() }).await;
}
