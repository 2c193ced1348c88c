//! Limits hold for every connection, whatever it speaks, and HTTP is what the RFCs say (`docs/http.md`).

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;

use crate::harness::raw::{self, HttpAnswer, Raw};
use crate::harness::{TestServer, figures_when, within};

const ATTACKER: [u8; 4] = [127, 0, 0, 2];

/// Each route with the methods it has.
const ROUTES: &[(&str, &str)] = &[
    ("/", "GET, HEAD, OPTIONS"),
    ("/web/x/js/main.js", "GET, HEAD, OPTIONS"),
    ("/web/x/css/theme.css", "GET, HEAD, OPTIONS"),
    ("/healthz", "GET, HEAD, OPTIONS"),
    ("/readyz", "GET, HEAD, OPTIONS"),
    ("/metrics", "GET, HEAD, OPTIONS"),
    ("/ws", "GET, HEAD, OPTIONS"),
    ("/ws/dev", "GET, HEAD, OPTIONS"),
    ("/api/stats", "GET, HEAD, OPTIONS"),
    ("/api/rooms", "GET, HEAD, OPTIONS"),
    ("/api/rooms/dev/messages", "GET, HEAD, POST, OPTIONS"),
    ("/api/clients/alice", "DELETE, OPTIONS"),
];

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];

/// What every answer says (`docs/security.md`).
const COMMON: &[&str] =
    &["x-content-type-options", "referrer-policy", "content-security-policy", "cache-control", "date"];

fn check_common(what: &str, answer: &HttpAnswer) {
    for name in COMMON {
        assert!(answer.header(name).is_some(), "{what}: no {name}: {answer:?}");
    }
}

/// The answer to these bytes, and whether the connection has ended with it.
async fn answer_to(address: SocketAddr, bytes: &[u8]) -> HttpAnswer {
    let mut raw = Raw::open(address).await;
    raw.send(bytes).await;
    raw.answer().await
}

#[actix::test]
async fn every_route_answers_every_method_as_http_has_it() {
    let server = TestServer::start(&[]);
    let cases = ROUTES.iter().flat_map(|route| METHODS.iter().map(move |method| (*route, *method)));
    join_all(cases.map(async |((path, methods), method)| {
        let mut raw = Raw::open(server.address()).await;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        raw.send(request.as_bytes()).await;
        let what = format!("{method} {path}");
        let answer = raw.head().await;
        check_common(&what, &answer);
        let is_known = methods.split(", ").any(|known| known == method);
        match method {
            "OPTIONS" => assert_eq!(answer.status, 204, "{what}: {answer:?}"),
            _ if is_known => assert_ne!(answer.status, 405, "{what}: {answer:?}"),
            _ => assert_eq!(answer.status, 405, "{what}: {answer:?}"),
        }
        if !is_known || method == "OPTIONS" {
            assert_eq!(answer.header("allow"), Some(methods), "{what}");
        }
        let length = raw.end().await;
        if method == "HEAD" {
            assert_eq!(length, 0, "{what}: no body");
            let get = raw::get(&server, path).await;
            assert_eq!(answer.status, if methods.contains("GET") { get.status } else { 405 }, "{what}");
        } else if let Some(said) = answer.header("content-length") {
            assert_eq!(length.to_string(), said, "{what}");
        }
    }))
    .await;
}

#[actix::test]
async fn what_the_rfcs_tell_a_server_to_refuse_is_refused_with_a_code() {
    let server = TestServer::start(&[]);
    let get = |fields: &str| format!("GET /healthz HTTP/1.1\r\n{fields}\r\n");
    let post = |fields: &str| format!("POST /healthz HTTP/1.1\r\nHost: x\r\n{fields}");
    let shake = |version: &str, fields: &str| {
        let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        format!(
            "GET /ws HTTP/{version}\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\n{key}{fields}\r\n"
        )
    };
    let cases: &[(String, u16, &str)] = &[
        // RFC 9112, 3.2: Host.
        (get(""), 400, "bad_request"),
        (get("Host: a\r\nHost: a\r\n"), 400, "bad_request"),
        (get("Host: a b\r\n"), 400, "bad_request"),
        (get("Host: user@a\r\n"), 400, "bad_request"),
        // 3.2: the target.
        ("GET healthz HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        ("GET * HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        ("CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n".into(), 405, "method_not_allowed"),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(9_000)), 414, "uri_too_long"),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(200_000)), 414, "uri_too_long"),
        // 5: fields.
        (get("Host: x\r\nA: b\r\n c\r\n"), 400, "bad_request"),
        (get("Host: x\r\nA : b\r\n"), 400, "bad_request"),
        (get("Host: x\r\nno colon\r\n"), 400, "bad_request"),
        (get(&format!("Host: x\r\n{}", "X: y\r\n".repeat(50_000))), 431, "head_too_large"),
        (get(&format!("Host: x\r\n{}", "X: y\r\n".repeat(100))), 431, "head_too_large"),
        (get(&format!("Host: x\r\nX: {}\r\n", "y".repeat(40_000))), 431, "head_too_large"),
        // 6: the framing of a body.
        (post("Content-Length: -1\r\n\r\n"), 400, "bad_request"),
        (post("Content-Length: +1\r\n\r\n"), 400, "bad_request"),
        (post("Content-Length: 1\r\nContent-Length: 1\r\n\r\n"), 400, "bad_request"),
        (post("Content-Length: 1, 1\r\n\r\n"), 400, "bad_request"),
        (post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400, "bad_request"),
        (post("Transfer-Encoding: gzip, chunked\r\n\r\n"), 501, "not_implemented"),
        (post("Content-Length: 131073\r\n\r\n"), 413, "body_too_large"),
        (post("Content-Length: 99999999999999999999999\r\n\r\n"), 413, "body_too_large"),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(), 400, "bad_request"),
        ("POST / HTTP/1.0\r\n\r\n".into(), 400, "bad_request"),
        // No HTTP at all.
        ("GET / HTTP/9.9\r\n\r\n".into(), 400, "bad_request"),
        ("\u{16}\u{3}\u{1}\r\n\r\n".into(), 400, "bad_request"),
        // RFC 6455, 4.2.1, and RFC 9110, 7.8.
        (shake("1.0", ""), 426, "upgrade_required"),
        (shake("1.1", "Content-Length: 3\r\n"), 400, "bad_request"),
        (shake("1.1", "Transfer-Encoding: chunked\r\n"), 400, "bad_request"),
        (shake("1.1", "Expect: 100-continue\r\n"), 400, "bad_request"),
        (shake("1.1", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400, "bad_request"),
        (shake("1.1", "Sec-WebSocket-Version: 8\r\n"), 400, "bad_request"),
        (shake("1.1", "Connection: close\r\n"), 426, "upgrade_required"),
    ];
    join_all(cases.iter().map(async |(request, status, code)| {
        let answer = answer_to(server.address(), request.as_bytes()).await;
        let what = &request[..request.len().min(80)];
        assert_eq!(answer.status, *status, "{what}: {answer:?}");
        answer.expect_refusal(*status, code);
        check_common(what, &answer);
    }))
    .await;
}

#[actix::test]
async fn what_the_rfcs_tell_a_server_to_take_is_taken() {
    let server = TestServer::start(&[]);
    for (request, status) in [
        ("GET http://localhost/healthz HTTP/1.1\r\nHost: other\r\n\r\n", 200),
        ("GET http://localhost HTTP/1.1\r\nHost: other\r\n\r\n", 200),
        ("\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 204),
        ("GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: h2c, websocket\r\nConnection: upgrade\r\n\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 200),
        (
            "GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n",
            200,
        ),
        (
            "GET /ws/a%2Db HTTP/1.1\r\nHost: x\r\nUpgrade: h2c, WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            101,
        ),
    ] {
        let answer = answer_to(server.address(), request.as_bytes()).await;
        assert_eq!(answer.status, status, "{request:?}: {answer:?}");
    }
}

#[actix::test]
async fn requests_in_a_row_are_answered_in_order_on_one_connection() {
    let server = TestServer::start(&[]);
    let mut raw = Raw::open(server.address()).await;
    let one = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
    raw.send(one.repeat(500).as_bytes()).await;
    for number in 0..1_000 {
        let body = if number % 2 == 0 { "alive\n" } else { "ready\n" };
        assert_eq!(raw.answer().await.body, body, "answer {number}");
    }
}

#[actix::test]
async fn an_operators_message_is_an_object() {
    let server = TestServer::start(&[("CHAT_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef")]);
    let post = async |body: &str| {
        let head = format!(
            "POST /api/rooms/lobby/messages HTTP/1.1\r\nHost: x\r\n\
             Authorization: Bearer 0123456789abcdef0123456789abcdef\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        answer_to(server.address(), head.as_bytes()).await
    };
    assert_eq!(post(r#"{"Message":"hello"}"#).await.status, 200);
    for body in [r#"[null,"hello",null]"#, r#""hello""#, "null", "7"] {
        post(body).await.expect_refusal(400, "bad_request");
    }
}

/// A connection that goes on with its request in one way.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Half of a head.
    Half,
    /// A body, a byte at a time.
    Slow,
    /// Requests without end, and nothing is read.
    Pipelined,
    /// Nothing at all.
    Silent,
}

#[actix::test]
async fn a_connection_that_comes_to_nothing_ends_whatever_its_route_and_method() {
    let server = TestServer::start(&[
        ("CHAT_HANDSHAKE_SECONDS", "1"),
        ("CHAT_SLOW_CLIENT_SECONDS", "1"),
        ("CHAT_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef"),
    ]);
    let address = server.address();
    let ways = [Way::Half, Way::Slow, Way::Pipelined, Way::Silent];
    let mut ends = Vec::new();
    for (path, _) in ROUTES {
        for method in METHODS {
            for way in ways {
                ends.push(goes_nowhere(address, method, path, way));
            }
        }
    }
    join_all(ends).await;
    // Nothing is left.
    figures_when(&server, "no place is taken but the scrape's", |figures| {
        figures.value("chat_connections_open", &[]) < 1.5
    })
    .await;
}

async fn goes_nowhere(address: SocketAddr, method: &str, path: &str, way: Way) {
    let token = "Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n";
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{token}");
    let mut raw = Raw::open_narrow(address).await;
    let what = format!("{method} {path} {way:?} ends");
    match way {
        Way::Silent => {}
        Way::Half => raw.send(head.as_bytes()).await,
        Way::Slow => {
            raw.send(format!("{head}Content-Length: 100000\r\n\r\n").as_bytes()).await;
            within(what, raw.trickle(Duration::from_millis(100))).await;
            return;
        }
        Way::Pipelined => {
            // The server stops reading, and the kernel stops taking.
            raw.send_what_goes(format!("{head}\r\n").repeat(2_000).as_bytes());
            within(what, raw.closed_unread()).await;
            return;
        }
    }
    within(what, raw.end()).await;
}

#[actix::test]
async fn limits_hold_for_connections_that_never_shake_hands() {
    let server = TestServer::start(&[("CHAT_CONNECTIONS_PER_ADDRESS", "2")]);
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(Raw::open_from(ATTACKER, server.address()).await);
    }
    // A third asks something plain.
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
