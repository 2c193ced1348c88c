//! The rate limits of a client, with exact times.

use std::time::Duration;

use serde_json::Value;
use test_kit::Client;
use test_kit::raw::{self, Raw};

use crate::harness::TestServer;

/// This many frames, one after the other, for a single write.
fn pings(count: usize) -> Vec<u8> {
    let one = |number| raw::frame(raw::TEXT, format!(r#"{{"type":"ping","id":"{number}"}}"#).as_bytes());
    (1..=count).flat_map(one).collect()
}

async fn next(client: &mut Raw) -> Value {
    serde_json::from_str(client.frame().await.unwrap().text()).unwrap()
}

#[actix::test]
async fn what_exceeds_the_burst_by_one_must_wait_exactly_for_one_frame() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "10"), ("CHAT_BURST", "5")]);
    let mut alice = Raw::connect(&server, "/ws?clientId=alice").await;
    // They are read together, so they count as sent at the same moment.
    alice.send(&pings(7)).await;
    for number in 1..=5 {
        assert_eq!(next(&mut alice).await["id"], number.to_string());
    }
    for number in 6..=7 {
        let refused = next(&mut alice).await;
        assert_eq!((refused["code"].as_str(), &refused["id"]), (Some("rate_limited"), &number.to_string().into()));
        assert_eq!(refused["retryAfterMs"], 100, "a refused frame costs nothing");
    }
    // This wait is the promise itself: a client that waits as long as told is served.
    tokio::time::sleep(Duration::from_millis(100)).await;
    alice.send(&pings(1)).await;
    assert_eq!(next(&mut alice).await["type"], "pong");
}

#[actix::test]
async fn one_join_past_those_of_a_minute_must_wait_exactly_for_the_next() {
    let server = TestServer::start(&[("CHAT_JOINS_PER_MINUTE", "3")]);
    let mut alice = Raw::connect(&server, "/ws?clientId=alice").await;
    let join = |room| raw::frame(raw::TEXT, format!(r#"{{"type":"join","room":"{room}","id":"{room}"}}"#).as_bytes());
    // They are read together, so they count as sent at the same moment.
    alice.send(&["a", "b", "a", "c", "d"].map(join).concat()).await;
    for room in ["a", "b", "a"] {
        let joined = next(&mut alice).await;
        assert_eq!((&joined["type"], &joined["room"]), (&"joined".into(), &room.into()));
    }
    for room in ["c", "d"] {
        let refused = next(&mut alice).await;
        assert_eq!((&refused["code"], &refused["id"]), (&"rate_limited".into(), &room.into()));
        assert_eq!(refused["retryAfterMs"], 20_000, "a refused join costs nothing");
    }
    // Other commands still work.
    alice.send(&pings(1)).await;
    assert_eq!(next(&mut alice).await["type"], "pong");
}

#[actix::test]
async fn a_rate_of_zero_is_no_limit() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_BURST", "1")]);
    let mut alice = Raw::connect(&server, "/ws?clientId=alice").await;
    alice.send(&pings(500)).await;
    for number in 1..=500 {
        assert_eq!(next(&mut alice).await["id"], number.to_string());
    }
}

#[actix::test]
async fn of_the_pings_past_the_rate_only_the_newest_gets_a_pong_and_nothing_is_closed() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "1"), ("CHAT_BURST", "3")]);
    let mut alice = Raw::connect(&server, "/ws?clientId=alice").await;
    let flood: Vec<u8> = (0..100).flat_map(|_| raw::frame(raw::PING, b"x")).collect();
    alice.send(&flood).await;
    alice.send(&raw::frame(raw::CLOSE, &1000_u16.to_be_bytes())).await;
    let (frames, code) = alice.drain().await;
    // On a slow machine, another second may have begun.
    assert!((3..10).contains(&frames.len()), "{} pongs", frames.len());
    assert_eq!(code, Some(1000));
}

#[actix::test]
async fn a_flood_of_frames_that_are_all_refused_ends_with_1008() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "1"), ("CHAT_BURST", "3")]);
    let mut bob = Client::connect(&server, "/ws?clientId=bob").await;
    let mut alice = Raw::connect(&server, "/ws?clientId=alice").await;
    alice.send(&pings(1_000)).await;
    let (frames, code) = alice.drain().await;
    assert_eq!(code, Some(1008));
    let answers: Vec<Value> = frames.iter().map(|frame| serde_json::from_str(frame.text()).unwrap()).collect();
    let refused = answers.iter().rev().take_while(|answer| answer["code"] == "rate_limited").count();
    assert_eq!(refused, 20, "the last answers are the twenty errors");
    bob.expect_chat_works().await;
}
