//! Clients that read slowly, or not at all.

use std::time::Duration;

use starling_actors::frame::Format;
use starling_actors::metrics::DisconnectReason;
use test_kit::raw::text_frame;
use test_kit::wait_until;

use crate::client::Client;
use crate::server::{Connect, Server};

fn lazy(name: &'static str) -> Connect {
    Connect { small_buffers: true, ..Connect::named(name) }
}

/// Reads until the connection is closed: the messages, which must be the first ones without a gap, and the rest.
async fn read_to_end(client: &mut Client) -> (usize, Vec<String>) {
    let mut messages = 0;
    let mut rest = Vec::new();
    while rest.last().is_none_or(|line| line != "end") {
        let line = client.line().await;
        if let Some(message) = line.strip_prefix('#') {
            messages += 1;
            assert!(rest.is_empty() && message.starts_with(&format!("{messages} ")), "{message:.20}");
        } else {
            rest.push(line);
        }
    }
    (messages, rest)
}

#[actix::test]
async fn a_client_that_never_reads_is_closed_behind_whole_frames_while_the_others_get_everything() {
    const MESSAGES: usize = 300;
    let server = Server::start(|config| config.outbox_bytes = 64 * 1024);
    let mut clients = server.clients(&["alice", "bob"]).await;
    let mut slow = server.connect(lazy("carol")).await;
    let mut slow_person = server.connect(Connect { format: Format::Text, ..lazy("dave") }).await;
    let text = "x".repeat(4_000);
    for number in 1..=MESSAGES {
        clients[0].say(&text).await;
        for client in &mut clients {
            assert!(client.line().await.starts_with(&format!("#{number} alice: x")));
        }
    }
    wait_until("both are closed", || server.metrics.disconnects(DisconnectReason::SlowConsumer) == 2).await;

    let (messages, rest) = read_to_end(&mut slow).await;
    assert!(messages < MESSAGES);
    assert_eq!(rest, ["closed 4001", "end"]);
    while slow_person.line().await.starts_with("[lobby] alice: x") {}
    assert_eq!(slow_person.line().await, "end");
    drop((slow, slow_person));
    clients[0].send(r#"{"type":"members","room":"lobby"}"#).await;
    assert_eq!(clients[0].line().await, "members 2");
    wait_until("their sessions end", || server.sessions() == 2).await;
    server.quiet().await;
}

#[actix::test]
async fn a_burst_that_comes_in_one_turn_is_cut_between_frames() {
    let server = Server::start(|config| config.outbox_bytes = 32 * 1024);
    let mut clients = server.clients(&["alice"]).await;
    let mut slow = server.connect(lazy("carol")).await;
    let mut frames = Vec::new();
    for _ in 0..100 {
        frames.extend_from_slice(&text_frame(&format!(r#"{{"Message":"{}"}}"#, "x".repeat(9_000))));
    }
    clients[0].write(&frames).await;
    clients[0].lines(100).await;
    wait_until("it is closed", || server.metrics.disconnects(DisconnectReason::SlowConsumer) == 1).await;
    let (messages, rest) = read_to_end(&mut slow).await;
    assert!(messages < 100);
    assert_eq!(rest, ["closed 4001", "end"]);
}

#[actix::test]
async fn as_much_as_may_wait_for_a_client_waits_and_one_byte_more_closes_it() {
    // Before its session begins nothing is written, so the number of waiting bytes is known exactly.
    let waiting = async |outbox_bytes: u32| {
        let server = Server::start(|config| config.outbox_bytes = outbox_bytes);
        let mut alice = server.connect(Connect::named("alice")).await;
        let slow = server.open(Connect::named("carol")).await.unwrap();
        for number in 1..=5 {
            alice.say("hello").await;
            assert_eq!(alice.line().await, format!("#{number} alice: hello"));
        }
        (server.gauge("chat_outbox_bytes"), server, slow, alice)
    };
    let (five, ..) = waiting(1024 * 1024).await;
    let five = u32::try_from(five).unwrap();

    let (waits, server, slow, _alice) = waiting(five).await;
    assert_eq!(waits, i64::from(five));
    let mut slow = server.begin(slow);
    assert_eq!(slow.line().await, "welcome carol");
    assert_eq!(slow.lines(5).await.last().unwrap(), "#5 alice: hello");
    server.quiet().await;

    let (waits, server, slow, _alice) = waiting(five - 1).await;
    assert!(waits < 100, "the outbox is dropped for the close frame: {waits}");
    let mut slow = server.begin(slow);
    assert_eq!(slow.lines(2).await, ["closed 4001", "end"]);
}

#[actix::test]
async fn a_client_that_takes_nothing_for_too_long_is_closed_though_its_outbox_has_room() {
    let server = Server::start(|config| {
        config.heartbeat = Duration::from_secs(2);
        config.slow_client = Duration::from_millis(100);
    });
    let mut alice = server.connect(Connect::named("alice")).await;
    let mut slow = server.connect(lazy("carol")).await;
    let text = "x".repeat(10_000);
    let mut sent = 0;
    while server.gauge("chat_outbox_bytes") == 0 {
        alice.say(&text).await;
        alice.line().await;
        sent += 1;
        assert!(sent < 1_000, "the kernel takes everything");
    }
    wait_until("it is closed", || server.metrics.disconnects(DisconnectReason::SlowConsumer) == 1).await;
    let (_, rest) = read_to_end(&mut slow).await;
    assert_eq!(rest, ["closed 4001", "end"]);
}

#[actix::test]
async fn a_client_that_reads_again_in_time_has_lost_nothing() {
    let server = Server::start(|_| {});
    let mut alice = server.connect(Connect::named("alice")).await;
    let mut slow = server.connect(lazy("carol")).await;
    let text = "x".repeat(5_000);
    for _ in 0..100 {
        alice.say(&text).await;
        alice.line().await;
    }
    assert!(server.gauge("chat_outbox_bytes") > 0);
    for number in 1..=100 {
        assert!(slow.line().await.starts_with(&format!("#{number} ")));
    }
    server.quiet().await;
}

#[actix::test]
async fn who_catches_up_gets_more_than_its_outbox_holds_page_by_page_as_it_reads() {
    let server = Server::start(|config| {
        config.outbox_bytes = 64 * 1024;
        config.frame_bytes = 64 * 1024;
    });
    let mut alice = server.connect(Connect::named("alice")).await;
    let mut slow = server.connect(lazy("carol")).await;
    slow.send(r#"{"type":"leave","room":"lobby"}"#).await;
    assert_eq!(slow.line().await, "left lobby");
    let text = "x".repeat(4_000);
    for _ in 0..100 {
        alice.say(&text).await;
        alice.line().await;
    }
    slow.send(r#"{"type":"join","room":"lobby"}"#).await;
    assert_eq!(slow.line().await, "joined lobby");
    let joined = String::from_utf8(slow.texts.last().unwrap().clone()).unwrap();
    let (_, epoch) = joined.split_once(r#""epoch":""#).unwrap();
    slow.send(&format!(r#"{{"type":"join","room":"lobby","after":0,"epoch":"{}"}}"#, &epoch[..16])).await;
    wait_until("it is on its way", || server.gauge("chat_outbox_bytes") > 0).await;
    alice.say("live").await;
    alice.line().await;
    assert_eq!(slow.line().await, "joined lobby");
    for number in 1..=100 {
        assert!(slow.line().await.starts_with(&format!("#{number} alice: x")));
    }
    assert_eq!(slow.line().await, "#101 alice: live");
    server.quiet().await;
}
