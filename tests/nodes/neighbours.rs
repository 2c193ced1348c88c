//! What nodes tell each other beside the log.

use starling_actors::nodes::heard::{Heard, RelayedMessage};
use starling_actors::nodes::log::Log as _;
use starling_actors::nodes::record::Incarnation;
use starling_protocol::ClientId;
use test_kit::nats::Nats;

use crate::harness::{Ear, settings};

fn message() -> RelayedMessage {
    let client = |name| ClientId::parse(name).unwrap();
    RelayedMessage { client_id: client("alice"), to: client("bob"), text: "hi".into(), at: 5, id: None }
}

/// Two nodes that hear each other.
async fn two(nats: &Nats) -> (Ear, Ear) {
    let settings = settings(&nats.url());
    let (mut one, mut two) = (Ear::behind(&settings, 0).await, Ear::behind(&settings, 0).await);
    one.log.begin(Incarnation(1));
    two.log.begin(Incarnation(2));
    one.until(|heard| matches!(heard, Heard::Alive(Incarnation(2)))).await;
    two.until(|heard| matches!(heard, Heard::Alive(Incarnation(1)))).await;
    (one, two)
}

#[tokio::test]
async fn a_life_is_heard_several_times_in_a_timeout_by_others_and_another_one_after_it() {
    let nats = Nats::start().await;
    let (mut one, mut two) = two(&nats).await;
    let began = std::time::SystemTime::now();
    for _ in 0..5 {
        let before = one.until(|heard| matches!(heard, Heard::Alive(Incarnation(2)))).await;
        assert!(!before.iter().any(|heard| matches!(heard, Heard::Alive(Incarnation(1)))), "not by itself");
    }
    // The timeout is 2 s. A busy machine delays, but does not speed up.
    assert!(began.elapsed().unwrap().as_secs_f64() > 1.2, "and not all the time");
    two.log.begin(Incarnation(3));
    one.until(|heard| matches!(heard, Heard::Alive(Incarnation(3)))).await;
    let mut after = Vec::new();
    for _ in 0..3 {
        after.extend(one.until(|heard| matches!(heard, Heard::Alive(_))).await);
    }
    assert!(!after.iter().any(|heard| matches!(heard, Heard::Alive(Incarnation(2)))), "{after:?}");
}

#[tokio::test]
async fn a_relay_is_delivered_once_and_its_answer_comes_back() {
    let nats = Nats::start().await;
    let (mut one, mut two) = two(&nats).await;
    for (number, delivered) in [(7, true), (8, false)] {
        one.log.relay(Incarnation(2), number, message());
        let heard = two.until(|heard| matches!(heard, Heard::Relay { .. })).await.pop().unwrap();
        let Heard::Relay { from, number: got, message: told } = heard else { panic!("{heard:?}") };
        assert_eq!((from, got, *told), (Incarnation(1), number, message()));
        two.log.answer(from, got, delivered);
        let answer = one.until(|heard| matches!(heard, Heard::RelayAnswer { .. })).await.pop().unwrap();
        let Heard::RelayAnswer { from, number: got, is_delivered } = answer else { panic!("{answer:?}") };
        assert_eq!((from, got, is_delivered), (Incarnation(2), number, delivered));
    }
    // Without a number there is no answer, not even a late one.
    one.log.relay(Incarnation(2), 0, message());
    two.until(|heard| matches!(heard, Heard::Relay { number: 0, .. })).await;
    one.log.relay(Incarnation(2), 9, message());
    let heard = two.until(|heard| matches!(heard, Heard::Relay { .. })).await;
    assert!(matches!(heard.last(), Some(Heard::Relay { number: 9, .. })), "each once: {heard:?}");
    let answers = one.until(|heard| matches!(heard, Heard::RelayAnswer { .. })).await;
    assert!(
        matches!(answers.last(), Some(Heard::RelayAnswer { number: 9, is_delivered: false, .. })),
        "nobody has answered, so after a time it counts as not delivered: {answers:?}"
    );
}

#[tokio::test]
async fn a_relay_to_a_life_that_nobody_lives_or_without_nats_is_not_delivered() {
    let mut nats = Nats::start().await;
    let (mut one, _two) = two(&nats).await;
    one.log.relay(Incarnation(77), 1, message());
    let answers = one.until(|heard| matches!(heard, Heard::RelayAnswer { .. })).await;
    assert!(matches!(
        answers.last(),
        Some(Heard::RelayAnswer { from: Incarnation(77), number: 1, is_delivered: false })
    ));
    nats.kill();
    one.reachable(false).await;
    one.log.relay(Incarnation(2), 2, message());
    let answers = one.until(|heard| matches!(heard, Heard::RelayAnswer { .. })).await;
    assert!(matches!(answers.last(), Some(Heard::RelayAnswer { number: 2, is_delivered: false, .. })));
    nats.start_again().await;
    one.reachable(true).await;
    one.log.relay(Incarnation(2), 3, message());
    one.until(|heard| matches!(heard, Heard::RelayAnswer { number: 3, .. })).await;
}

#[tokio::test]
async fn what_no_node_tells_is_ignored() {
    let nats = Nats::start().await;
    let (mut one, _two) = two(&nats).await;
    let stranger = async_nats::connect(nats.url()).await.unwrap();
    for subject in ["starling.alive", "starling.node.0000000000000001"] {
        for bytes in [&b""[..], b"hello", &[9, 9, 9]] {
            stranger.publish(subject, bytes.to_vec().into()).await.unwrap();
        }
    }
    stranger.flush().await.unwrap();
    for _ in 0..3 {
        one.until(|heard| matches!(heard, Heard::Alive(Incarnation(2)))).await;
    }
    assert_eq!(one.vitals.dead(), None);
}
