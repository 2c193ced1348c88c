//! The actions of each behaviour, and the ledger's view of them.

use bot_swarm::Config;
use bot_swarm::behaviour::BehaviourKind;
use bot_swarm::census::BotState;

use crate::server::{Lie, Options, TestServer};
use crate::{config, run_until, wait_until};

/// A swarm with this mix of behaviours.
fn mixed(server: &TestServer, count: u32, mix: &str) -> Config {
    Config { behaviours: mix.parse().unwrap(), hop_seconds: 0.1, churn_seconds: 0.3, ..config(server, count) }
}

#[actix_rt::test]
async fn hoppers_visit_other_rooms_and_hear_what_is_said_there() {
    for rooms in [1, 3] {
        let server = TestServer::start().await;
        let config = Config { rooms, ..mixed(&server, 12, "chatter=1,hopper=1") };
        let report = run_until(&config, wait_until("visits", || server.visits() >= 30)).await;
        assert!(report.is_clean(), "{report}");
        assert!(report.stats.errors.is_empty(), "{report}");
        assert_eq!(report.tally.expected, report.tally.received, "{report}");
    }
}

#[actix_rt::test]
async fn a_hopper_asks_once_to_leave_a_room_however_late_the_answer_is() {
    let lie = Some(Lie::LeavesUnanswered);
    let server = TestServer::with(Options { lie, ..Options::default() }).await;
    let config = Config { rooms: 3, ..mixed(&server, 12, "chatter=1,hopper=1") };
    // Every hopper would have asked several times meanwhile.
    let report = run_until(&config, async {
        wait_until("visits", || server.visits() == 6).await;
        let taken = server.taken();
        wait_until("messages", || server.taken() >= taken + 100).await;
    })
    .await;
    assert_eq!(server.visits(), 6);
    assert!(report.stats.errors.is_empty(), "{report}");
}

#[actix_rt::test]
async fn what_editors_reactors_and_readers_ask_for_is_done_or_refused_with_reason_also_across_lost_connections() {
    let server = TestServer::start().await;
    let config = Config { change_seconds: 0.1, ..mixed(&server, 12, "chatter=1,editor=2,reactor=2,reader=1") };
    let report = run_until(&config, async {
        for (asked, welcomed) in [(100, 12), (200, 24), (300, 36)] {
            wait_until("changes", || server.asked_to_change() >= asked && server.welcomed() >= welcomed).await;
            // The second time, all messages that the bots want to change are gone.
            if asked == 200 { server.forget_everything() } else { server.drop_everyone() }
        }
        wait_until("more changes", || server.asked_to_change() >= 400 && server.welcomed() >= 48).await;
    })
    .await;
    let counters = &report.stats.counters;
    let lost = report.tally.lost_and_told;
    assert_eq!(report.faults(), if lost > 0 { vec![("lost", lost)] } else { Vec::new() }, "{report}");
    assert_eq!(counters.sent, counters.acked + counters.refused, "{report}");
    assert_eq!(counters.reconnects, 3 * 12, "{report}");
}

#[actix_rt::test]
async fn churners_leave_and_come_back_and_miss_nothing() {
    let server = TestServer::start().await;
    let config = mixed(&server, 12, "chatter=2,churner=1");
    let report = run_until(&config, wait_until("departures", || server.welcomed() >= 40)).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.stats.counters.reconnects, 0, "nobody was thrown out\n{report}");
    // The newest return of a churner may not be complete when the run stops.
    assert!(report.stats.resume.count() >= 20, "{report}");
    assert!(server.goodbyes() > 12, "some left with a goodbye before the end: {}", server.goodbyes());
    let rested = report.points.iter().any(|point| point.census.of(BehaviourKind::Churner, BotState::Resting) > 0);
    assert!(rested, "{report}");
}

#[actix_rt::test]
async fn slow_bots_read_slowly_and_do_not_spoil_the_latencies() {
    let server = TestServer::start().await;
    let config = Config { slow_bytes_per_second: 200, ..mixed(&server, 10, "chatter=4,slow=1") };
    let report = run_until(&config, wait_until("messages", || server.taken() >= 400)).await;
    assert!(report.is_clean(), "{report}");
    let counters = &report.stats.counters;
    assert!(counters.untimed > 200, "what slow bots receive is counted and not timed\n{report}");
    assert_eq!(report.stats.delivery.count() + counters.untimed, counters.deliveries, "{report}");
    // Slow bots read the waiting messages in the drain, when no new ones come.
    let drained = report.phases.last().unwrap().stats.counters.untimed;
    assert!(drained > counters.untimed * 9 / 10, "{drained} of {} came in the drain", counters.untimed);
}

#[actix_rt::test]
async fn flooders_are_not_impressed_by_refusals() {
    let server = TestServer::with(Options { refuse_every: 2, ..Options::default() }).await;
    let config = Config { flood_per_second: 500.0, ..mixed(&server, 5, "flooder=1") };
    let report = run_until(&config, wait_until("messages", || server.taken() >= 1_000)).await;
    assert!(report.is_clean(), "{report}");
    let counters = &report.stats.counters;
    assert!(counters.refused >= 900, "what is refused is not sent again\n{report}");
    assert_eq!((report.stats.ack.count(), report.stats.delivery.count()), (0, 0), "who floods is not timed\n{report}");
}

#[actix_rt::test]
async fn lurkers_say_nothing_and_private_bots_nothing_to_rooms() {
    let server = TestServer::start().await;
    let config = mixed(&server, 10, "lurker=1,private=1");
    let report = run_until(&config, wait_until("messages", || server.taken() >= 200)).await;
    assert!(report.is_clean(), "{report}");
    // A private message causes two deliveries; one in a room would cause ten.
    assert_eq!(report.stats.counters.deliveries, 2 * server.taken(), "{report}");
    assert_eq!(report.stats.completion.count(), 0, "{report}");
}

#[actix_rt::test]
async fn bots_come_and_go_as_the_profile_says() {
    let server = TestServer::start().await;
    let profile = "ramp 500ms to 10, ramp 500ms to 4, hold 2s, spike 500ms to 8, hold 2s";
    let config = Config { profile: Some(profile.parse().unwrap()), ..config(&server, 1) };
    let stop = bot_swarm::StopHandle::new();
    let report = bot_swarm::run(&config, &stop, &mut bot_swarm::progress::Silent).await.unwrap();
    assert!(report.is_clean(), "{report}");
    let connected = |phase| {
        let points = report.points.iter().filter(move |point| point.phase == phase);
        points.map(|point| point.census.in_state(BotState::Connected)).collect::<Vec<_>>()
    };
    // At the end of a phase, bots may still be connecting; during a hold they are not.
    assert!(connected(2).contains(&4), "{:?}", connected(2));
    assert!(connected(4).contains(&4), "{:?}", connected(4));
    assert_eq!(server.welcomed(), 14, "ten, and four that came for the spike");
    assert_eq!(server.goodbyes(), 14);
    let names: Vec<&str> = report.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(names, ["ramp 500ms to 10", "ramp 500ms to 4", "hold 2s", "spike 500ms to 8", "hold 2s", "drain"]);
}
