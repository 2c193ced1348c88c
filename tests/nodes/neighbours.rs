//! The signals between nodes outside the log.

use starling_actors::nodes::heard::Heard;
use starling_actors::nodes::log::Log as _;
use starling_actors::nodes::record::Incarnation;
use test_kit::nats::Nats;

use crate::harness::{Ear, settings};

/// Two nodes that hear each other.
async fn two(nats: &Nats) -> (Ear, Ear) {
    let settings = settings(&nats.url());
    let (mut one, mut two) = (Ear::behind(&settings, 0).await, Ear::behind(&settings, 0).await);
    one.log.begin(Incarnation(1));
    two.log.begin(Incarnation(2));
    one.until(|heard| matches!(heard, Heard::Alive { life: Incarnation(2), .. })).await;
    two.until(|heard| matches!(heard, Heard::Alive { life: Incarnation(1), .. })).await;
    (one, two)
}

#[tokio::test]
async fn a_life_is_heard_several_times_in_a_timeout_by_all_and_another_one_after_it() {
    let nats = Nats::start().await;
    let (mut one, mut two) = two(&nats).await;
    let began = std::time::SystemTime::now();
    let mut before = Vec::new();
    for _ in 0..5 {
        before.extend(one.until(|heard| matches!(heard, Heard::Alive { life: Incarnation(2), .. })).await);
    }
    assert!(before.iter().any(|heard| matches!(heard, Heard::Alive { life: Incarnation(1), .. })), "by itself too");
    // The timeout is 2 s. A busy machine delays, but does not speed up.
    assert!(began.elapsed().unwrap().as_secs_f64() > 1.2, "and not all the time");
    two.log.begin(Incarnation(3));
    one.until(|heard| matches!(heard, Heard::Alive { life: Incarnation(3), .. })).await;
    let mut after = Vec::new();
    for _ in 0..6 {
        after.extend(one.until(|heard| matches!(heard, Heard::Alive { .. })).await);
    }
    assert!(!after.iter().any(|heard| matches!(heard, Heard::Alive { life: Incarnation(2), .. })), "{after:?}");
}

#[tokio::test]
async fn what_no_node_tells_is_ignored() {
    let nats = Nats::start().await;
    let (mut one, _two) = two(&nats).await;
    let stranger = async_nats::connect(nats.url()).await.unwrap();
    for bytes in [&b""[..], b"hello", &[9, 9, 9]] {
        stranger.publish("starling.alive", bytes.to_vec().into()).await.unwrap();
    }
    stranger.flush().await.unwrap();
    for _ in 0..3 {
        one.until(|heard| matches!(heard, Heard::Alive { life: Incarnation(2), .. })).await;
    }
    assert_eq!(one.vitals.dead(), None);
}
