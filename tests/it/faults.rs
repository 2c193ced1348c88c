//! Slow, silent and fast clients: the server keeps its limits, and the others lose nothing.

use std::cell::Cell;
use std::time::Duration;

use serde_json::Value;
use test_kit::raw::{self, Raw, RawFrame};
use test_kit::{Client, Exposition, figures_when};

use crate::harness::TestServer;

fn disconnects(figures: &Exposition, reason: &str) -> f64 {
    figures.value("chat_disconnects_total", &[("reason", reason)])
}

fn seqs(frames: &[RawFrame]) -> Vec<u64> {
    let values = frames.iter().map(|frame| serde_json::from_str::<Value>(frame.text()).unwrap());
    values.filter(|value| value["type"] == "message").map(|value| value["seq"].as_u64().unwrap()).collect()
}

#[actix::test]
async fn a_client_that_never_reads_is_closed_with_4001_and_the_others_lose_nothing() {
    let server = TestServer::start(&[("CHAT_OUTBOX_BYTES", "262144"), ("CHAT_MESSAGES_PER_SECOND", "0")]);
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    let mut bob = Client::connect(&server, "/ws?clientId=bob").await;
    let mut slow = Raw::open_narrow(server.address()).await.shake_hands("/ws?clientId=slow").await;
    bob.send_text(r#"{"type":"join","room":"lobby","presence":true}"#).await;
    bob.expect(r#"{"type":"joined"}"#).await;

    let text = "x".repeat(16_000);
    let mut sent = 0;
    // The kernel buffers a few megabytes for the client, then the outbox fills.
    while disconnects(&Exposition::scrape(&server).await, "slow_consumer") < 0.5 {
        assert!(sent < 3_000, "48 MB were written for a client that never reads");
        for _ in 0..20 {
            sent += 1;
            alice.send_text(&format!(r#"{{"Message":"{text}"}}"#)).await;
            alice.expect(&format!(r#"{{"type":"message","seq":{sent}}}"#)).await;
            let mut got = bob.text().await;
            if got.contains("\"presence\"") {
                got = bob.text().await;
            }
            assert!(got.contains(&format!("\"seq\":{sent},")), "bob misses {sent}");
        }
    }
    // The delivered messages have no gap, and the close frame is the last.
    let (frames, code) = slow.drain().await;
    let got = seqs(&frames);
    assert!(got.iter().copied().eq(1..=got.len() as u64), "{} messages", got.len());
    assert_eq!(code, Some(4001));
    assert!(got.len() < sent, "it was closed, not waited for");
    // The server keeps nothing of the client.
    let figures = figures_when(&server, "it is gone", |figures| figures.value("chat_sessions", &[]) < 2.5).await;
    assert!(disconnects(&figures, "slow_consumer") < 1.5);
    figures_when(&server, "the outboxes are empty", |figures| figures.value("chat_outbox_bytes", &[]) < 0.5).await;
    alice.expect_nothing().await;
}

#[actix::test]
async fn a_client_whose_socket_takes_nothing_for_too_long_is_closed_with_4001() {
    let variables = [("CHAT_SLOW_CLIENT_SECONDS", "1"), ("CHAT_HEARTBEAT_SECONDS", "1")];
    let server = TestServer::start(&[&variables[..], &[("CHAT_MESSAGES_PER_SECOND", "0")]].concat());
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    let mut slow = Raw::open_narrow(server.address()).await.shake_hands("/ws?clientId=slow").await;
    let text = "x".repeat(16_000);
    let mut sent = 0_u32;
    let waits = |figures: &Exposition| figures.value("chat_outbox_bytes", &[]) > 100_000.0;
    // The waiting bytes are far fewer than the outbox limit, but the client is closed nevertheless.
    while !waits(&Exposition::scrape(&server).await) {
        for _ in 0..10 {
            sent += 1;
            alice.send_text(&format!(r#"{{"Message":"{text}"}}"#)).await;
            alice.expect(&format!(r#"{{"type":"message","seq":{sent}}}"#)).await;
        }
        // The client shows that it is alive, but reads nothing.
        slow.send(&raw::frame(0x8a, b"")).await;
    }
    let gone = |figures: &Exposition| disconnects(figures, "slow_consumer") > 0.5;
    let seen = async {
        loop {
            slow.send(&raw::frame(0x8a, b"")).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let answers = async {
        // Reading answers the pings.
        loop {
            alice.receive().await;
        }
    };
    let closed = figures_when(&server, "the slow one is closed", gone);
    tokio::select! {
        figures = closed => assert!(disconnects(&figures, "no_sign_of_life") < 0.5),
        () = seen => {}
        () = answers => {}
    }
}

#[actix::test]
async fn a_silent_client_is_closed_with_4002_and_one_that_answers_pings_is_not() {
    let server = TestServer::start(&[("CHAT_HEARTBEAT_SECONDS", "1")]);
    let mut alice = Client::open(&server, "/ws?clientId=alice").await;
    alice.expect(r#"{"type":"welcome","heartbeatMs":1000}"#).await;
    alice.send_text(r#"{"type":"join","room":"lobby","presence":true}"#).await;
    alice.expect(r#"{"type":"joined"}"#).await;
    let mut silent = Raw::connect(&server, "/ws?clientId=silent").await;
    alice.expect(r#"{"type":"presence","joined":["silent"]}"#).await;
    // Alice sends nothing from here on: only her pongs keep the connection.
    alice.expect(r#"{"type":"presence","left":["silent"]}"#).await;
    assert!(alice.pings >= 1, "she was pinged");
    let (frames, code) = silent.drain().await;
    assert!(!frames.is_empty() && frames.iter().all(|frame| frame.opcode == raw::PING), "{frames:?}");
    assert_eq!(code, Some(4002));
    alice.expect_chat_works().await;
    let figures = figures_when(&server, "it is counted", |f| disconnects(f, "no_sign_of_life") > 0.5).await;
    assert!((figures.value("chat_connections", &[]) - 1.0).abs() < 0.5);
}

/// The number of messages in the mailboxes of all actors, now or at most.
fn mailboxes(figures: &Exposition, name: &str) -> [f64; 3] {
    ["chat_server", "hub", "session"].map(|actor| figures.value(name, &[("actor", actor)]))
}

fn is_quiet(figures: &Exposition) -> bool {
    figures.value("chat_credits_in_use", &[]) < 0.5
        && mailboxes(figures, "chat_mailbox_messages").iter().sum::<f64>() < 0.5
        && figures.value("chat_outbox_bytes", &[]) < 0.5
}

#[actix::test]
async fn a_flood_without_a_rate_limit_is_slowed_by_credits_and_leaves_nothing_behind() {
    const FLOOD: usize = 20_000;
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_CLIENT_CREDITS", "8")]);
    let mut bob = Client::connect(&server, "/ws/calm?clientId=bob").await;
    let mallory = Raw::connect(&server, "/ws?clientId=mallory").await;
    let mut flood = raw::frame(raw::TEXT, br#"{"Message":"x"}"#).repeat(FLOOD);
    flood.extend(raw::frame(raw::CLOSE, &1000_u16.to_be_bytes()));
    // Writing and reading are separate, because neither may wait for the other.
    let (mut writing, mut reading) = mallory.split();
    let ((), (frames, code)) = tokio::join!(writing.send(&flood), async {
        bob.expect_chat_works().await;
        reading.drain().await
    });
    let got = seqs(&frames);
    assert!(got.iter().copied().eq(1..=got.len() as u64), "no message is lost or out of order");
    assert_eq!(code, Some(1000));
    bob.expect_chat_works().await;

    let highest = Cell::new([0.0_f64; 3]);
    let quiet = |figures: &Exposition| {
        let now = mailboxes(figures, "chat_mailbox_messages_highest");
        highest.set(std::array::from_fn(|actor| highest.get()[actor].max(now[actor])));
        is_quiet(figures)
    };
    let figures = figures_when(&server, "everything is given back", quiet).await;
    let messages = figures.value("chat_messages_total", &[("kind", "global")]);
    assert!((messages - FLOOD as f64).abs() < 0.5, "{messages} of {FLOOD} messages were taken");
    // Commands that hold a credit, plus sessions that open and close.
    let [chat_server, hub, session] = highest.get();
    assert!(chat_server <= 12.0 && hub <= 12.0 && session <= 2.0, "{:?}", highest.get());
}

#[actix::test]
async fn a_flood_of_questions_is_slowed_by_credits_too() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_CLIENT_CREDITS", "8")]);
    let mallory = Raw::connect(&server, "/ws?clientId=mallory").await;
    let mut flood = raw::frame(raw::TEXT, br#"{"type":"rooms"}"#).repeat(20_000);
    flood.extend(raw::frame(raw::CLOSE, &1000_u16.to_be_bytes()));
    let (mut writing, mut reading) = mallory.split();
    let ((), (_, code)) = tokio::join!(writing.send(&flood), reading.drain());
    assert_eq!(code, Some(1000));
    let figures = figures_when(&server, "everything is given back", |figures| {
        let [chat_server, hub, session] = mailboxes(figures, "chat_mailbox_messages_highest");
        assert!(chat_server <= 12.0 && hub <= 12.0 && session <= 2.0, "{chat_server} {hub} {session}");
        is_quiet(figures)
    });
    drop(figures.await);
}

#[actix::test]
async fn who_asked_for_nothing_holds_no_credit() {
    let server = TestServer::start(&[("CHAT_SERVER_CREDITS", "1")]);
    let mut alice = Client::connect(&server, "/ws?clientId=alice&format=text").await;
    alice.send_text("/help").await;
    // One line a frame.
    while !alice.text().await.contains("/help") {}
    let mut bob = Client::connect(&server, "/ws/dev?clientId=bob").await;
    bob.expect_chat_works().await;
    // The client is closed but continues to send: the server reads and discards its frames, long before it gives up the
    // socket.
    let mut mallory = Raw::connect(&server, "/ws/dev?clientId=mallory").await;
    mallory.send(&[raw::frame(raw::BINARY, b"x"), raw::frame(raw::TEXT, b"{}").repeat(3)].concat()).await;
    assert_eq!(mallory.drain().await.1, Some(1003));
    let soon = tokio::time::timeout(Duration::from_secs(3), bob.expect_chat_works()).await;
    assert!(soon.is_ok(), "bob waits for a credit of somebody who was closed");
    figures_when(&server, "every credit is given back", is_quiet).await;
}
