//! A server that refuses every handshake: the report contains the status and the code.

use std::cell::Cell;
use std::rc::Rc;

use actix_rt::net::{TcpListener, TcpStream};
use bot_swarm::{Config, StopHandle, progress};

use crate::server::TestServer;
use crate::{config, run_until, wait_until};

/// Starts a server that answers every connection with this text. With `holds`, it then keeps the connection open.
async fn answer_with(text: String, holds: bool) -> (String, Rc<Cell<u32>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let refused = Rc::new(Cell::new(0));
    let count = Rc::clone(&refused);
    actix_rt::spawn(async move {
        let mut held: Vec<TcpStream> = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            if count.get() == 0 || !holds {
                TestServer::refuse(&mut stream, &text).await;
            }
            count.set(count.get() + 1);
            if holds {
                held.push(stream);
            }
        }
    });
    (url, refused)
}

#[actix_rt::test]
async fn a_refused_handshake_is_told_by_its_status_and_the_code_in_its_body() {
    let json = |body: &str| format!("content-length: {}\r\n\r\n{body}", body.len());
    let chunked = |body: &str| format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let unavailable = r#"{"code":"unavailable","message":"the server is full"}"#;
    let cases = [
        ("503 Service Unavailable", json(unavailable), false, "HTTP 503 unavailable"),
        ("503 Service Unavailable", chunked(unavailable), false, "HTTP 503 unavailable"),
        // A body that ends only with the connection is not read.
        ("503 Service Unavailable", format!("connection: close\r\n\r\n{unavailable}"), false, "HTTP 503"),
        ("409 Conflict", json(r#"{"code":"name_taken","message":"x"}"#), false, "HTTP 409 name_taken"),
        ("503 Service Unavailable", json(""), false, "HTTP 503"),
        ("502 Bad Gateway", json("<html>Bad Gateway</html>"), false, "HTTP 502"),
        ("503 Service Unavailable", json(&format!("{unavailable}{}", " ".repeat(100_000))), false, "HTTP 503"),
        ("401 Unauthorized", json(r#"{"code":"no such word","message":"x"}"#), false, "HTTP 401"),
        ("302 Found", "location: /elsewhere\r\ncontent-length: 0\r\n\r\n".to_owned(), false, "HTTP 302"),
        ("200 OK", json("hello"), false, "HTTP 200"),
        // Nothing follows the head, and the connection stays open.
        ("503 Service Unavailable", "content-length: 10\r\n\r\n".to_owned(), true, "HTTP 503"),
    ];
    let server = TestServer::start().await;
    for (status, rest, holds, expected) in cases {
        let (url, refused) = answer_with(format!("HTTP/1.1 {status}\r\n{rest}"), holds).await;
        let config = Config { server_url: url, server_metrics: "off".into(), ..config(&server, 1) };
        // A second attempt shows that the first one was refused.
        let report = run_until(&config, wait_until(expected, || refused.get() >= 2)).await;
        assert!(report.stats.errors.contains_key(expected), "{status} {rest:.80}: {:?}", report.stats.errors);
        let line = report.verdict_line();
        assert!(line.starts_with("BROKEN: bots: no bot was connected (") && line.contains(expected), "{line}");
    }
}

#[actix_rt::test]
async fn a_refused_handshake_is_tried_again_when_the_server_asks_for_it_and_no_sooner() {
    let answer = |wait: &str| format!("HTTP/1.1 429 Too Many Requests\r\n{wait}content-length: 0\r\n\r\n");
    let server = TestServer::start().await;
    let tries = async |wait: &str| {
        let (url, refused) = answer_with(answer(wait), false).await;
        let config = Config { server_url: url, server_metrics: "off".into(), seconds: 3.0, ..config(&server, 1) };
        let report = bot_swarm::run(&config, &StopHandle::new(), &mut progress::Silent).await.unwrap();
        assert!(report.stats.errors["HTTP 429"] >= 1, "{report}");
        refused.get()
    };
    assert!(tries("").await >= 3);
    assert!((2..=3).contains(&tries("retry-after: 1\r\n").await));
    assert_eq!(tries("retry-after: 60\r\n").await, 1);
}
