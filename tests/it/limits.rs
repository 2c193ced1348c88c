//! Each limit exactly at it and one above it, through real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use test_kit::raw::{self, HttpAnswer, Raw};
use test_kit::{Client, Exposition, figures_when, within};

use crate::harness::TestServer;

const HERE: [u8; 4] = [127, 0, 0, 2];
const THERE: [u8; 4] = [127, 0, 0, 3];

/// A handshake from this address; a refused connection cannot be used any more.
async fn shake_hands(source: [u8; 4], address: SocketAddr, headers: &str) -> (Raw, HttpAnswer) {
    let mut raw = Raw::open_from(source, address).await;
    let answer = raw.ask_for_websocket("/ws", headers).await;
    (raw, answer)
}

fn refused(figures: &Exposition, code: &str) -> f64 {
    figures.value("chat_refused_handshakes_total", &[("code", code)])
}

#[actix::test]
async fn an_address_has_as_many_connections_as_it_may_and_the_next_is_refused() {
    let server = TestServer::start(&[("CHAT_CONNECTIONS_PER_ADDRESS", "2")]);
    let (first, answer) = shake_hands(HERE, server.address(), "").await;
    assert_eq!(answer.status, 101);
    let (_second, answer) = shake_hands(HERE, server.address(), "").await;
    assert_eq!(answer.status, 101);
    shake_hands(HERE, server.address(), "").await.1.expect_refusal(429, "too_many_connections");
    // Forwarded headers of an untrusted client are ignored.
    let lie = "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n";
    shake_hands(HERE, server.address(), lie).await.1.expect_refusal(429, "too_many_connections");
    assert_eq!(shake_hands(THERE, server.address(), "").await.1.status, 101, "another address is another");
    assert!(refused(&Exposition::scrape(&server).await, "too_many_connections") > 1.5);
    // A connection that has ended gives its slot back.
    drop(first);
    within("a place is given back", async { while shake_hands(HERE, server.address(), "").await.1.status != 101 {} })
        .await;
}

#[actix::test]
async fn behind_a_trusted_proxy_the_address_it_forwards_counts() {
    let variables = [("CHAT_CONNECTIONS_PER_ADDRESS", "1"), ("CHAT_TRUSTED_PROXIES", "127.0.0.2,127.1.0.0/16")];
    let server = TestServer::start(&variables);
    let mut taken = Vec::new();
    for (source, forwarded, status) in [
        (HERE, "192.0.2.1", 101),
        (HERE, "192.0.2.1", 429),
        (HERE, "9.9.9.9, 192.0.2.1, 127.1.2.3", 429),
        (HERE, "192.0.2.2", 101),
        // For IPv6, a customer counts by network, not by address.
        (HERE, "2001:db8::1", 101),
        (HERE, "2001:db8::ffff:2", 429),
        (HERE, "2001:db8:0:1::1", 101),
        // A client that is not a trusted proxy counts by its own address.
        (THERE, "192.0.2.3", 101),
        (THERE, "192.0.2.4", 429),
    ] {
        let (raw, answer) = shake_hands(source, server.address(), &format!("X-Forwarded-For: {forwarded}\r\n")).await;
        assert_eq!(answer.status, status, "{source:?} {forwarded}: {answer:?}");
        taken.push(raw);
    }
    let server = TestServer::start(&[&variables[..], &[("CHAT_FORWARDED_HEADER", "forwarded")]].concat());
    for (header, status) in [
        ("Forwarded: for=\"[2001:db8::1]:47011\";proto=https", 101),
        ("X-Forwarded-For: 192.0.2.9\r\nForwarded: proto=https;for=\"[2001:db8::2]\"", 429),
    ] {
        let (raw, answer) = shake_hands(HERE, server.address(), &format!("{header}\r\n")).await;
        assert_eq!(answer.status, status, "{header}: {answer:?}");
        taken.push(raw);
    }
}

#[actix::test]
async fn a_connection_of_a_trusted_proxy_counts_for_the_client_of_the_request_that_is_being_answered() {
    let server = TestServer::start(&[
        ("CHAT_CONNECTIONS_PER_ADDRESS", "1"),
        ("CHAT_TRUSTED_PROXIES", "127.0.0.2"),
        ("CHAT_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef"),
    ]);
    let request = |client: &str| format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n");
    let ask = async |raw: &mut Raw, client: &str| {
        raw.send(request(client).as_bytes()).await;
        raw.answer().await.status
    };
    // The client of the last answer may count for a moment longer than its client needs to read the answer.
    let ask_until = async |raw: &mut Raw, client: &str| {
        within(format!("{client} is let in"), async {
            while ask(raw, client).await != 200 {
                // A refusal ends its connection.
                *raw = Raw::open_from(HERE, server.address()).await;
            }
        })
        .await;
    };
    let (_websocket, answer) = shake_hands(HERE, server.address(), "X-Forwarded-For: 192.0.2.1\r\n").await;
    assert_eq!(answer.status, 101);
    // Two kept connections of a proxy: each counts for one client after another, and for none between requests.
    let mut first = Raw::open_from(HERE, server.address()).await;
    let mut second = Raw::open_from(HERE, server.address()).await;
    for client in ["192.0.2.2", "192.0.2.3", "2001:db8::1", "192.0.2.2", "\"unreadable\", 192.0.2.4"] {
        ask_until(&mut first, client).await;
        ask_until(&mut second, client).await;
    }
    let garbage = vec!["203.0.113.9"; 1_000].join(",");
    assert_eq!(ask(&mut first, &format!("{garbage},\u{e4},, ,192.0.2.5")).await, 200);
    // While the body of a request arrives, the connection counts for its client.
    let begun = "POST /api/rooms/lobby/messages HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.6\r\n\
                 Authorization: Bearer 0123456789abcdef0123456789abcdef\r\nContent-Length: 18\r\n\
                 Expect: 100-continue\r\n\r\n";
    first.send(begun.as_bytes()).await;
    assert_eq!(first.answer().await.status, 100, "it is admitted");
    let mut other = Raw::open_from(HERE, server.address()).await;
    assert_eq!(ask(&mut other, "192.0.2.6").await, 429);
    assert_eq!(other.end().await, 0, "a refusal ends its connection");
    assert_eq!(ask(&mut second, "192.0.2.7").await, 200, "it is nobody else's");
    first.send(br#"{"Message":"hello"}"#.get(..18).unwrap()).await;
    first.answer().await.expect_refusal(400, "bad_request");
    // A client with a WebSocket has used its one connection.
    assert_eq!(ask(&mut second, "192.0.2.1").await, 429);
    assert_eq!(second.end().await, 0);
}

#[actix::test]
async fn an_address_shakes_hands_as_often_as_it_may_and_is_told_how_long_to_wait() {
    let server = TestServer::start(&[("CHAT_HANDSHAKES_PER_SECOND", "1")]);
    // Both are connected before, so that both ask at the same moment.
    let (mut first, mut second) =
        (Raw::open_from(HERE, server.address()).await, Raw::open_from(HERE, server.address()).await);
    let (first, second) = tokio::join!(first.ask_for_websocket("/ws", ""), second.ask_for_websocket("/ws", ""));
    let (taken, refusal) = if first.status == 101 { (first, second) } else { (second, first) };
    assert_eq!(taken.status, 101);
    refusal.expect_refusal(429, "rate_limited");
    assert_eq!(refusal.header("retry-after"), Some("1"));
    assert_eq!(shake_hands(THERE, server.address(), "").await.1.status, 101, "another address is another");
    // This wait is the promise itself: a client that waits as long as told is served.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(shake_hands(HERE, server.address(), "").await.1.status, 101);
    assert!((refused(&Exposition::scrape(&server).await, "rate_limited") - 1.0).abs() < 0.5);
}

#[actix::test]
async fn a_handshake_has_as_much_time_as_it_has_and_no_more() {
    let server = TestServer::start(&[("CHAT_HANDSHAKE_SECONDS", "1")]);
    let begin = async || {
        let mut raw = Raw::open(server.address()).await;
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n").await;
        raw
    };
    let within_it = async {
        let mut raw = begin().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        raw.send(b"\r\n").await;
        raw.answer().await.status
    };
    let past_it = async { begin().await.answer().await.status };
    assert_eq!(tokio::join!(within_it, past_it), (200, 408));
}

#[actix::test]
async fn all_connections_together_are_as_many_as_they_may_be() {
    let server = TestServer::start(&[("CHAT_CONNECTIONS", "2")]);
    let first = Raw::connect(&server, "/ws").await;
    let _second = Raw::connect(&server, "/ws").await;
    let refusal = raw::handshake(&server, "/ws").await;
    refusal.expect_refusal(503, "unavailable");
    assert_eq!(refusal.header("retry-after"), Some("1"));
    drop(first);
    within("a place is given back", async { while raw::handshake(&server, "/ws").await.status != 101 {} }).await;
}

#[actix::test]
async fn a_thousand_members_are_listed_and_no_more() {
    let server = TestServer::start(&[]);
    let mut alice = Client::connect(&server, "/ws/full?clientId=alice").await;
    let mut others = Vec::new();
    let mut list = async |others: &mut Vec<Raw>, count: usize| {
        while others.len() + 1 < count {
            others.push(Raw::connect(&server, "/ws/full").await);
        }
        alice.send_text(r#"{"type":"members","room":"full"}"#).await;
        let members = alice.expect(r#"{"type":"members"}"#).await;
        let listed = members["clientIds"].as_array().unwrap().len();
        (members["count"].as_u64().unwrap(), listed, members["truncated"].as_bool().unwrap())
    };
    assert_eq!(list(&mut others, 1_000).await, (1_000, 1_000, false));
    assert_eq!(list(&mut others, 1_001).await, (1_001, 1_000, true));
}

#[actix::test]
async fn nineteen_errors_in_a_row_are_forgiven_and_the_twentieth_closes() {
    let server = TestServer::start(&[]);
    let mut alice = Raw::connect(&server, "/ws?clientId=alice").await;
    let errors = |count| raw::frame(raw::TEXT, b"{").repeat(count);
    let ping = raw::frame(raw::TEXT, br#"{"type":"ping"}"#);
    alice.send(&[errors(19), ping, errors(20)].concat()).await;
    let (frames, code) = alice.drain().await;
    let kinds: Vec<Value> = frames.iter().map(|frame| serde_json::from_str(frame.text()).unwrap()).collect();
    let kinds: Vec<&str> = kinds.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, [vec!["error"; 19], vec!["pong"], vec!["error"; 20]].concat());
    assert_eq!(code, Some(1008));
}

#[actix::test]
async fn what_was_said_before_too_many_errors_in_a_row_is_acknowledged_before_the_close() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("starling.db");
    let server = TestServer::start(&[("CHAT_HISTORY", "sqlite"), ("CHAT_HISTORY_PATH", path.to_str().unwrap())]);
    let mut alice = Raw::connect(&server, "/ws?clientId=alice").await;
    let said = (0..50).map(|id| raw::frame(raw::TEXT, format!(r#"{{"Message":"m","id":"{id}"}}"#).as_bytes()));
    // Without a pause: the messages are being stored when the errors come.
    let errors = raw::frame(raw::TEXT, b"{").repeat(30);
    alice.send(&[said.collect::<Vec<_>>().concat(), errors].concat()).await;
    let (frames, code) = alice.drain().await;
    let kinds: Vec<Value> = frames.iter().map(|frame| serde_json::from_str(frame.text()).unwrap()).collect();
    let count = |kind: &str| kinds.iter().filter(|frame| frame["type"] == kind).count();
    assert_eq!((count("ack"), count("error"), code), (50, 20, Some(1008)));
}

#[actix::test]
async fn past_what_may_wait_for_all_the_one_with_the_most_is_closed_with_1013() {
    const ALL: f64 = 1_048_576.0;
    let server = TestServer::start(&[
        ("CHAT_WORKERS", "1"),
        ("CHAT_MESSAGES_PER_SECOND", "0"),
        ("CHAT_OUTBOX_BYTES", "1048576"),
        ("CHAT_OUTBOXES_BYTES", "1048576"),
    ]);
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    let mut fuller = Raw::open_narrow(server.address()).await.shake_hands("/ws/fuller?clientId=fuller").await;
    let mut other = Raw::open_narrow(server.address()).await.shake_hands("/ws/other?clientId=other").await;
    let text = "x".repeat(8_000);
    // Each client has waiting bytes, because the kernel's buffer for it is full.
    let waits = async |at_least: f64| Exposition::scrape(&server).await.value("chat_outbox_bytes", &[]) > at_least;
    let mut tell = async |name: &str| {
        alice.send_text(&format!(r#"{{"Message":"{text}","to":"{name}"}}"#)).await;
        alice.expect(&format!(r#"{{"type":"message","to":"{name}"}}"#)).await;
    };
    while !waits(100_000.0).await {
        tell("other").await;
    }
    let mut sent = 0;
    let closed = |figures: &Exposition| figures.value("chat_disconnects_total", &[("reason", "overload")]);
    loop {
        tell("fuller").await;
        sent += 1;
        let figures = Exposition::scrape(&server).await;
        let waiting = figures.value("chat_outbox_bytes", &[]);
        assert!(waiting <= ALL, "{waiting} bytes wait");
        if closed(&figures) > 0.5 {
            break;
        }
        assert!(sent < 2_000, "16 MB were written for a client that never reads");
    }
    let (frames, code) = fuller.drain().await;
    assert_eq!(code, Some(1013));
    assert!(frames.len() < sent, "what waited was dropped");
    // The other client receives all of its frames.
    other.send_text(r#"{"type":"ping","id":"the last"}"#).await;
    while !other.frame().await.unwrap().text().contains("the last") {}
    let figures = figures_when(&server, "nothing waits", |figures| figures.value("chat_outbox_bytes", &[]) < 0.5).await;
    assert!((closed(&figures) - 1.0).abs() < 0.5, "one was enough");
}
