//! The server's memory: when it is short, and during searches.

use test_kit::{Client, raw};

use crate::harness::{TestServer, starling};

#[actix::test]
async fn a_server_that_is_short_of_memory_says_what_takes_it_and_refuses_the_new_first() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        ("CHAT_BIND", "127.0.0.1:0"),
        ("CHAT_HISTORY", "memory"),
        ("CHAT_MESSAGES_PER_SECOND", "0"),
        ("CHAT_OUTBOX_BYTES", "67108864"),
        ("CHAT_MEMORY_BYTES", "80000000"),
    ];
    let server = starling().start(folder.path(), &variables);
    let mut alice = Client::connect(server.address(), "/ws?clientId=alice").await;
    // This client reads nothing, and the server may drop none of its frames.
    let mut slow = raw::Raw::open(server.address()).await;
    assert_eq!(slow.ask_for_websocket("/ws?clientId=slow", "").await.status, 101);
    let message = format!(r#"{{"to":"slow","Message":"{}"}}"#, "x".repeat(16_000));
    let ready = async || raw::http(server.address(), "GET", "/readyz", "Connection: close\r\n").await;
    let mut said = 0;
    while ready().await.status == 200 {
        for _ in 0..100 {
            said += 1;
            alice.send_text(&message).await;
            alice.expect(r#"{"type":"message"}"#).await;
        }
        assert!(said < 4_000, "it takes what there is");
    }
    let answer = ready().await;
    answer.expect_refusal(503, "unavailable");
    assert_eq!(answer.json()["message"], "the server is short of memory");
    let mut late = raw::Raw::open(server.address()).await;
    late.ask_for_websocket("/ws", "").await.expect_refusal(503, "unavailable");
    let get = async |path: &str| raw::http(server.address(), "GET", path, "Connection: close\r\n").await;
    get("/api/rooms/lobby/messages?q=needle").await.expect_refusal(503, "unavailable");
    assert_eq!(get("/api/rooms/lobby/messages?limit=1").await.status, 200, "what is there can be read");
    alice.expect_chat_works().await;
    let line = server.line_with("new connections and searches are refused");
    assert!(line.contains("2 connections, outboxes ") && line.contains("(CHAT_HISTORY_BYTES)"), "{line}");
}

#[actix::test]
async fn who_searches_in_memory_holds_up_nobody_who_talks() {
    let variables = [("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_HISTORY_MESSAGES", "100000")];
    let server = TestServer::start(&variables);
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    let text = "lorem ipsum dolor sit amet ".repeat(500);
    for number in 0..3_000 {
        let needle = if number % 1_000 == 10 { "needle" } else { "" };
        alice.send_text(&format!(r#"{{"Message":"{needle} {text}"}}"#)).await;
        alice.expect(r#"{"type":"message"}"#).await;
    }
    let search = async |query: &str| {
        let answer = raw::get(&server, &format!("/api/rooms/lobby/messages?q={query}&limit=200")).await.json();
        answer["messages"].as_array().unwrap().iter().map(|m| m["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let is_over = std::cell::Cell::new(false);
    let searching = async {
        for _ in 0..3 {
            let found = tokio::join!(search("needle"), search("nothing"), search("needle%20lorem"), search("absent"));
            let needles = vec![2_011, 1_011, 11];
            assert_eq!(found, (needles.clone(), vec![], needles, vec![]));
        }
        is_over.set(true);
    };
    let talking = async {
        let mut waits = Vec::new();
        while !is_over.get() {
            let asked = tokio::time::Instant::now();
            alice.send_text(r#"{"type":"ping"}"#).await;
            alice.expect(r#"{"type":"pong"}"#).await;
            waits.push(asked.elapsed());
        }
        waits.sort_unstable();
        waits[waits.len() / 2]
    };
    let started = tokio::time::Instant::now();
    let ((), median) = tokio::join!(searching, talking);
    // Regression: each command waited for whole searches.
    let search = started.elapsed() / 12;
    assert!(median < search / 5, "a command took {median:?} while a search took {search:?}");
}
