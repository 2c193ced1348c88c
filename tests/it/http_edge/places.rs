//! The number of HTTP connections, and the duration of an answer.

use std::time::Duration;

use futures_util::future::join_all;
use test_kit::raw::{self, Raw};
use test_kit::{Exposition, LOOK, figures_when, within};

use crate::harness::TestServer;

const ATTACKER: [u8; 4] = [127, 0, 0, 2];

#[actix::test]
async fn limits_hold_for_connections_that_never_shake_hands() {
    let server = TestServer::start(&[("CHAT_CONNECTIONS_PER_ADDRESS", "2")]);
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(Raw::open_from(ATTACKER, server.address()).await);
    }
    // A third connection sends a plain request.
    figures_when(&server, "both are counted", |figures| figures.value("chat_connections_open", &[]) > 2.5).await;
    let mut third = Raw::open_from(ATTACKER, server.address()).await;
    third.get("/healthz").await.expect_refusal(429, "too_many_connections");
    assert_eq!(raw::get(&server, "/healthz").await.status, 200, "another address is another");
    open.clear();
    within("the places are free again", async {
        while Raw::open_from(ATTACKER, server.address()).await.get("/healthz").await.status != 200 {}
    })
    .await;
}

#[actix::test]
async fn a_full_server_answers_plain_http_and_refuses_websockets() {
    let server = TestServer::start(&[("CHAT_CONNECTIONS", "2")]);
    let _first = Raw::connect(&server, "/ws").await;
    let _second = Raw::connect(&server, "/ws").await;
    for path in ["/healthz", "/readyz", "/metrics", "/api/stats"] {
        assert_eq!(raw::get(&server, path).await.status, 200, "{path}");
    }
    raw::handshake(&server, "/ws").await.expect_refusal(503, "unavailable");
}

#[actix::test]
async fn a_prompt_reader_gets_every_large_answer() {
    let server = TestServer::start(&[("CHAT_SLOW_CLIENT_SECONDS", "1")]);
    let mut raw = Raw::open(server.address()).await;
    raw.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200).as_bytes()).await;
    for number in 0..200 {
        assert_eq!(raw.answer().await.status, 200, "answer {number}");
    }
}

#[actix::test]
async fn a_slow_reader_that_goes_on_reading_gets_all_of_a_large_answer() {
    let server = TestServer::start(&[("CHAT_SLOW_CLIENT_SECONDS", "1")]);
    let length = raw::get(&server, "/metrics").await.body.len();
    let answers = 200_000 / length + 1;
    let mut raw = Raw::open_narrow(server.address()).await;
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n";
    let last = format!("{request}Connection: close\r\n\r\n");
    raw.send(format!("{}{last}", format!("{request}\r\n").repeat(answers - 1)).as_bytes()).await;
    // 40 KiB a second, for five times as long as a client may accept nothing: this wait is the promise itself.
    let came = within("all answers", raw.read_slowly(2 * 1024, Duration::from_millis(50))).await;
    assert!(came > answers * length, "{came} bytes of {answers} answers with {length} bytes each");
}

#[actix::test]
async fn past_the_places_of_plain_http_and_of_refusals_a_connection_is_closed_at_once_and_counted() {
    const RESERVE: usize = 128;
    let server = TestServer::start(&[("CHAT_CONNECTIONS", "2")]);
    let websockets = (Raw::connect(&server, "/ws").await, Raw::connect(&server, "/ws").await);
    let mut others = Vec::new();
    for _ in 0..2 * RESERVE + 20 {
        others.push(Raw::open(server.address()).await);
    }
    within("those without a place are closed", async {
        while others.iter().filter(|other| other.has_ended()).count() < 20 {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    others.retain(|other| !other.has_ended());
    assert_eq!(others.len(), 2 * RESERVE, "the others wait for a request");
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = join_all(others.iter_mut().map(async |other| {
        other.send(request).await;
        other.answer().await
    }))
    .await;
    let (served, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((served.len(), refused.len()), (RESERVE, RESERVE));
    for answer in refused {
        answer.expect_refusal(503, "unavailable");
    }
    join_all(others.iter_mut().map(Raw::end)).await;
    drop((others, websockets));
    within("places are free again", async {
        let mut raw = Raw::open(server.address()).await;
        raw.send(request).await;
        while raw.end().await == 0 {
            raw = Raw::open(server.address()).await;
            raw.send(request).await;
        }
    })
    .await;
    let figures = Exposition::scrape(&server).await;
    assert!(figures.value("chat_closed_at_accept_total", &[]) > 19.5);
    assert!(figures.value("chat_refused_handshakes_total", &[("code", "unavailable")]) > 127.5);
}
