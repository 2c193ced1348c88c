//! Limits hold for every connection, whatever it speaks, and HTTP is what the RFCs say (`docs/http.md`).

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use test_kit::raw::{self, HttpAnswer, Raw};
use test_kit::{Exposition, LOOK, figures_when, within};

use crate::harness::{TestServer, starling};

const ATTACKER: [u8; 4] = [127, 0, 0, 2];

/// What [`ROUTES`] × [`METHODS`] × [`WAYS`] connections at a time may take of the server's memory.
const WALK_MIB: f64 = 60.0;

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
    let with_key = |key: &str| {
        format!(
            "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\n{key}\r\n"
        )
    };
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
        (get("Host: a/b\r\n"), 400, "bad_request"),
        (get("Host: a:port\r\n"), 400, "bad_request"),
        (get("Host: a:+80\r\n"), 400, "bad_request"),
        (get("Host: a:65536\r\n"), 400, "bad_request"),
        (get("Host: [a]\r\n"), 400, "bad_request"),
        ("GET http://a:port/healthz HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        // 3.2: the target.
        ("GET healthz HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        ("GET * HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        ("GET /healthz#x HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        ("GET /ws/a#/b HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        ("GET http://x/#a HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
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
        // What another server could read otherwise: that is how a request is smuggled past a proxy.
        (post("Content-Length: 1\u{a0}\r\n\r\n"), 400, "bad_request"),
        (post("Content-Length: \u{2003}1\r\n\r\n"), 400, "bad_request"),
        (post("Content-Length: 0x1\r\n\r\n"), 400, "bad_request"),
        (post("Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400, "bad_request"),
        (post("Content-Length: 0\r\ntransfer-encoding: chunked\r\n\r\n"), 400, "bad_request"),
        (post("Transfer-Encoding: chunked\u{a0}\r\n\r\n"), 501, "not_implemented"),
        (post("Transfer-Encoding: \u{2003}chunked\r\n\r\n"), 501, "not_implemented"),
        (post("Transfer-Encoding: \u{b}chunked\r\n\r\n"), 400, "bad_request"),
        (post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), 501, "not_implemented"),
        (post("Transfer-Encoding: chunked, identity\r\n\r\n"), 501, "not_implemented"),
        (post("Transfer-Encoding: \"chunked\"\r\n\r\n"), 501, "not_implemented"),
        (post("Transfer-Encoding:\r\n\r\n"), 501, "not_implemented"),
        (post("Transfer-Encoding\r\n : chunked\r\n\r\n"), 400, "bad_request"),
        (get("Host: x\r\nA: b\rContent-Length: 9\r\n"), 400, "bad_request"),
        (get("Host: x\r\nA: b\0c\r\n"), 400, "bad_request"),
        ("GET /healthz HTTP/1.1 \r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        ("GET /healthz\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        ("GET\u{a0}/healthz HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
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
        (with_key(""), 400, "bad_request"),
        (with_key("Sec-WebSocket-Key:\r\n"), 400, "bad_request"),
        (with_key("Sec-WebSocket-Key: x\r\n"), 400, "bad_request"),
        (with_key("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTEy\r\n"), 400, "bad_request"),
        (with_key("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q==\r\n"), 400, "bad_request"),
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
        ("GET /healthz HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", 200),
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
async fn a_refusal_of_head_has_no_body_wherever_the_request_is_refused() {
    let server = TestServer::start(&[
        ("CHAT_HANDSHAKE_SECONDS", "1"),
        ("CHAT_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef"),
        ("CHAT_AUTH", "jwt"),
        ("CHAT_JWT_SECRET", "0123456789abcdef0123456789abcdef"),
    ]);
    let head = |target: &str, fields: &str| format!("HEAD {target} HTTP/1.1\r\nHost: x\r\n{fields}");
    let cases = [
        // By the routes.
        (head("/nowhere", "Connection: close\r\n\r\n"), 404),
        (head("/api/stats", "Connection: close\r\n\r\n"), 401),
        (head("/ws", "Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"), 405),
        // By the head, whole or not.
        ("HEAD / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("HEAD / HTTP/9.1\r\nHost: x\r\n\r\n".to_owned(), 400),
        ("\r\nHEAD / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (head("/", "Content-Length: 999999\r\n\r\n"), 413),
        (head("/", "Transfer-Encoding: gzip\r\n\r\n"), 501),
        (head(&format!("/{}", "x".repeat(9_000)), "\r\n"), 414),
        (head(&format!("/{}", "x".repeat(200_000)), ""), 414),
        (head("/", &"X: y\r\n".repeat(50_000)), 431),
        (head("/", "X: "), 408),
        // By the body.
        (head("/healthz", "Transfer-Encoding: chunked\r\n\r\nzz\r\n"), 400),
        // Behind another request.
        (format!("{}{}", head("/healthz", "\r\n"), head("/", "X: ")), 200),
    ];
    join_all(cases.iter().map(async |(request, status)| {
        let mut raw = Raw::open(server.address()).await;
        raw.send(request.as_bytes()).await;
        let what = &request[..request.len().min(80)];
        let mut answer = raw.head().await;
        assert_eq!(answer.status, *status, "{what}: {answer:?}");
        check_common(what, &answer);
        if request.matches("HEAD").count() > 1 {
            answer = raw.head().await;
            assert_eq!(answer.status, 408, "{what}: {answer:?}");
        }
        assert_eq!(raw.end().await, 0, "{what}: a body");
    }))
    .await;
}

#[actix::test]
async fn nothing_behind_a_handshake_or_a_body_that_nobody_read_is_a_request() {
    let server = TestServer::start(&[]);
    let fields = "Host: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let cases = [
        (format!("GET /ws HTTP/1.1\r\n{fields}\r\n"), 101),
        (format!("GET /ws?format=xml HTTP/1.1\r\n{fields}\r\n"), 400),
        (format!("GET /ws/a%20b HTTP/1.1\r\n{fields}\r\n"), 400),
        (format!("GET /ws/a/b HTTP/1.1\r\n{fields}\r\n"), 404),
        (format!("POST /ws HTTP/1.1\r\n{fields}\r\n"), 405),
        (format!("GET /w%73 HTTP/1.1\r\n{fields}\r\n"), 426),
        (format!("GET /ws HTTP/1.1\r\n{fields}Content-Length: 5\r\n\r\nhello"), 400),
        ("POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n".to_owned(), 404),
        ("POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n".to_owned(), 404),
    ];
    join_all(cases.iter().map(async |(request, status)| {
        let mut raw = Raw::open(server.address()).await;
        // The server would answer it with "alive".
        raw.send(format!("{request}GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        assert_eq!(raw.answer().await.status, *status, "{request}");
        if *status == 101 {
            // To the chat it is a frame without a mask, or with a bit that means nothing.
            let (frames, code) = raw.drain().await;
            assert_eq!(code, Some(1002), "{request}");
            assert!(frames.iter().all(|frame| frame.says("welcome")), "{frames:?}");
        } else {
            assert_eq!(raw.end().await, 0, "{request}: a second answer");
        }
    }))
    .await;
}

#[actix::test]
async fn what_a_proxy_forwards_is_read_however_much_it_is() {
    let server = TestServer::start(&[("CHAT_TRUSTED_PROXIES", "127.0.0.0/8")]);
    let lists = [
        vec!["127.0.0.1"; 1_000].join(", "),
        (0..1_000).map(|number| format!("10.0.{}.{}", number / 256, number % 256)).collect::<Vec<_>>().join(","),
        "::,".repeat(9_000),
        ",".repeat(30_000),
        "1".repeat(30_000),
        "\u{fc}".repeat(10_000),
        "[::1]]]]".to_owned(),
        "1.2.3.4:99999999".to_owned(),
        "fe80::1%eth0".to_owned(),
        vec!["127.0.0.1"; 60].join("\r\nX-Forwarded-For: "),
    ];
    join_all(lists.iter().map(async |list| {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {list}\r\n\r\n");
        let answer = answer_to(server.address(), request.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}: {answer:?}", list.chars().take(40).collect::<String>());
    }))
    .await;
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

#[actix::test]
async fn a_body_that_is_none_is_refused_with_a_code_and_ends_its_connection() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let server = TestServer::start(&[("CHAT_ADMIN_TOKEN", TOKEN), ("CHAT_HANDSHAKE_SECONDS", "1")]);
    let begin = format!("POST /api/rooms/lobby/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n");
    let chunked = |body: &str| format!("{begin}Transfer-Encoding: chunked\r\n\r\n{body}");
    let smuggled = "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
    let cases: &[(String, u16, &str)] = &[
        (chunked(&format!("x\r\n{smuggled}")), 400, "bad_request"),
        (chunked(&format!("-0\r\n\r\n{smuggled}")), 400, "bad_request"),
        (chunked(&format!("0\n\n{smuggled}")), 400, "bad_request"),
        (chunked(&format!("1 \r\na\r\n0\r\n\r\n{smuggled}")), 400, "bad_request"),
        (chunked(&format!("1\r\nab\r\n0\r\n\r\n{smuggled}")), 400, "bad_request"),
        (chunked(&format!("1;a=\n0\r\n\r\n{smuggled}")), 400, "bad_request"),
        (chunked(&format!("1\r\na\r\n0\r\nX: y\rZ\r\n\r\n{smuggled}")), 400, "bad_request"),
        (chunked(&format!("10000000000000001\r\n{smuggled}")), 400, "bad_request"),
        (chunked("fffffff\r\n"), 413, "body_too_large"),
        (chunked(&format!("1;{}\r\n", "x".repeat(70_000))), 413, "body_too_large"),
        (chunked(&format!("0\r\n{}", "X: y\r\n".repeat(20_000))), 413, "body_too_large"),
        (chunked(&"1;x=y\r\na\r\n".repeat(20_000)), 413, "body_too_large"),
        (chunked("1\r\n"), 408, "request_timeout"),
        (format!("{begin}Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"), 413, "body_too_large"),
        (format!("{begin}Content-Length: 10\r\n\r\nnot"), 408, "request_timeout"),
    ];
    join_all(cases.iter().map(async |(request, status, code)| {
        let mut raw = Raw::open(server.address()).await;
        raw.send(request.as_bytes()).await;
        let answer = raw.answer().await;
        let what = &request[begin.len()..request.len().min(begin.len() + 80)];
        assert_eq!(answer.status, *status, "{what}: {answer:?}");
        answer.expect_refusal(*status, code);
        check_common(what, &answer);
        assert_eq!(raw.end().await, 0, "{what}: nothing behind it is a request");
    }))
    .await;
    assert_eq!(raw::get(&server, "/readyz").await.status, 200);
}

#[actix::test]
async fn a_body_that_waits_for_leave_gets_it_and_a_pipeline_may_end_in_a_websocket() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let server = TestServer::start(&[("CHAT_ADMIN_TOKEN", TOKEN)]);
    let mut raw = Raw::open(server.address()).await;
    let head = format!(
        "POST /api/rooms/lobby/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\
         Expect: 100-continue\r\nContent-Length: 19\r\n\r\n"
    );
    raw.send(head.as_bytes()).await;
    assert_eq!(raw.head().await.status, 100);
    raw.send(br#"{"Message":"hello"}"#).await;
    assert_eq!(raw.answer().await.status, 200);
    // On the same connection, all in one write: a request, a handshake, and a frame behind it.
    let get = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let frame = raw::frame(raw::TEXT, br#"{"Message":"at once"}"#);
    raw.send(&[get.as_bytes(), raw::handshake_request("/ws").as_bytes(), &frame].concat()).await;
    assert_eq!(raw.answer().await.body, "alive\n");
    assert_eq!(raw.answer().await.status, 101);
    assert!(raw.frame().await.unwrap().says("welcome"));
    assert!(raw.frame().await.unwrap().says("at once"));
}

#[actix::test]
async fn a_path_leads_nowhere_but_to_its_route_however_it_is_spelt() {
    let folder = tempfile::tempdir().unwrap();
    let web = folder.path().join("web");
    std::fs::create_dir_all(web.join("js/view")).unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    std::fs::write(web.join("index.html"), "<!doctype html>").unwrap();
    std::fs::write(web.join("js/main.js"), "main").unwrap();
    let files = TestServer::start(&[("CHAT_WEB_DIR", web.to_str().unwrap()), ("CHAT_PATH_PREFIX", "/chat")]);
    let compiled = TestServer::start(&[("CHAT_PATH_PREFIX", "/chat")]);
    for server in [&files, &compiled] {
        for path in ["/chat/", "/chat/healthz", "/healthz", "/chat/web/x/js/main.js"] {
            assert_eq!(raw::get(server, path).await.status, 200, "{path}");
        }
        for path in [
            "/chat/%2e%2e/",
            "/chat/../",
            "/chat/%2e%2e/metrics",
            "/chat/..%2fmetrics",
            "/chat//metrics",
            "/chat%2fmetrics",
            "//metrics",
            "/./metrics",
            "/x/../metrics",
            "/metrics%00",
            "/web/x/../secret",
            "/web/x/../../secret",
            "/web/x/%2e%2e/secret",
            "/web/x/%2e%2e%2fsecret",
            "/web/x/js/%2e%2e/%2e%2e/secret",
            "/web/x/..\\secret",
            "/web/x/%5c..%5csecret",
            "/web/x//etc/passwd",
            "/web/x/%2fetc%2fpasswd",
            "/web/x/js/main.js%00.css",
            "/web/x/js",
            "/web/x/",
            "/web/..%2f..%2fsecret/x",
        ] {
            let answer = raw::get(server, path).await;
            assert_eq!(answer.status, 404, "{path}: {answer:?}");
            check_common(path, &answer);
            assert!(!answer.body.contains("secret\n") && answer.body != "secret", "{path}");
        }
    }
}

/// A connection that goes on with its request in one way.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// A whole request, and nothing after its answer.
    Bare,
    /// Half of a head.
    Half,
    /// A head, a byte at a time.
    SlowHead,
    /// A body, a byte at a time.
    SlowBody,
    /// Requests without end, and the answers are read a byte at a time.
    SlowReader,
    /// Requests without end, and nothing is read.
    Pipelined,
    /// Nothing at all.
    Silent,
}

const WAYS: [Way; 7] =
    [Way::Bare, Way::Half, Way::SlowHead, Way::SlowBody, Way::SlowReader, Way::Pipelined, Way::Silent];

#[actix::test]
async fn a_connection_that_comes_to_nothing_ends_whatever_its_route_and_method_and_its_memory_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = starling().start(
        folder.path(),
        &[
            ("CHAT_BIND", "127.0.0.1:0"),
            ("CHAT_HISTORY", "memory"),
            ("CHAT_HANDSHAKE_SECONDS", "1"),
            ("CHAT_SLOW_CLIENT_SECONDS", "1"),
            ("CHAT_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef"),
        ],
    );
    let address = server.address();
    let walk = async || {
        let routes = ROUTES.iter().flat_map(|(path, _)| METHODS.iter().map(move |method| (*path, *method)));
        join_all(routes.map(|(path, method)| join_all(WAYS.map(|way| goes_nowhere(address, method, path, way))))).await;
        within("no place is taken but the scrape's", async {
            let open = async || {
                let answer = raw::http(address, "GET", "/metrics", "Connection: close\r\n").await;
                Exposition::parse(&answer.body).value("chat_connections_open", &[])
            };
            while open().await > 1.5 {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    };
    // What is taken once for all, as the buffers of the threads and the allocator are.
    walk().await;
    let (base, _) = server.memory_mib();
    server.forget_peak();
    walk().await;
    let (after, peak) = server.memory_mib();
    assert!(peak < base + WALK_MIB, "{base:.1} MiB before, {peak:.1} at the most");
    assert!(after < base + WALK_MIB / 4.0, "{base:.1} MiB before, {after:.1} when all have ended");
}

async fn goes_nowhere(address: SocketAddr, method: &str, path: &str, way: Way) {
    let token = "Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n";
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{token}");
    let mut raw = Raw::open_narrow(address).await;
    let what = format!("{method} {path} {way:?} ends");
    match way {
        Way::Silent => {}
        Way::Bare => {
            raw.send(format!("{head}\r\n").as_bytes()).await;
            assert!(raw.head().await.status >= 200, "{what}");
        }
        Way::Half => raw.send(head.as_bytes()).await,
        Way::SlowHead | Way::SlowBody => {
            let begun = if matches!(way, Way::SlowBody) { "Content-Length: 100000\r\n\r\n" } else { "X: " };
            raw.send(format!("{head}{begun}").as_bytes()).await;
            within(what, raw.trickle(Duration::from_millis(100))).await;
            return;
        }
        Way::SlowReader => {
            raw.send_what_goes(format!("{head}\r\n").repeat(2_000).as_bytes());
            within(what, raw.dawdle(Duration::from_millis(100))).await;
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

#[actix::test]
async fn a_slow_reader_that_goes_on_reading_gets_all_of_a_large_answer() {
    let server = TestServer::start(&[("CHAT_SLOW_CLIENT_SECONDS", "1")]);
    let length = raw::get(&server, "/metrics").await.body.len();
    let answers = 200_000 / length + 1;
    let mut raw = Raw::open_narrow(server.address()).await;
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n";
    let last = format!("{request}Connection: close\r\n\r\n");
    raw.send(format!("{}{last}", format!("{request}\r\n").repeat(answers - 1)).as_bytes()).await;
    // 40 KiB a second, for five times as long as a client may take nothing: the wait is the promise itself.
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
