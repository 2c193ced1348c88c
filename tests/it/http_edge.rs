//! Limits apply to every connection, whatever its protocol, and HTTP follows the RFCs (`docs/http.md`).

mod bodies;
mod endings;
mod places;
mod rooms;

use std::net::SocketAddr;

use futures_util::future::join_all;
use test_kit::raw::{self, HttpAnswer, Raw};

use crate::harness::TestServer;

/// Each route with its methods.
const ROUTES: &[(&str, &str)] = &[
    ("/", "GET, HEAD, OPTIONS"),
    ("/lab", "GET, HEAD, OPTIONS"),
    ("/web/x/js/main.js", "GET, HEAD, OPTIONS"),
    ("/web/x/css/theme.css", "GET, HEAD, OPTIONS"),
    ("/healthz", "GET, HEAD, OPTIONS"),
    ("/readyz", "GET, HEAD, OPTIONS"),
    ("/metrics", "GET, HEAD, OPTIONS"),
    ("/ws", "GET, HEAD, OPTIONS"),
    ("/ws/dev", "GET, HEAD, OPTIONS"),
    ("/api/stats", "GET, HEAD, OPTIONS"),
    ("/api/diagnosis", "GET, HEAD, OPTIONS"),
    ("/api/lab", "GET, HEAD, OPTIONS"),
    ("/api/nodes", "GET, HEAD, OPTIONS"),
    ("/api/rooms", "GET, HEAD, OPTIONS"),
    ("/api/rooms/dev/messages", "GET, HEAD, POST, OPTIONS"),
    ("/api/clients/alice", "DELETE, OPTIONS"),
];

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];

/// The headers of every answer (`docs/security.md`).
const COMMON: &[&str] =
    &["x-content-type-options", "referrer-policy", "content-security-policy", "cache-control", "date"];

fn check_common(what: &str, answer: &HttpAnswer) {
    for name in COMMON {
        assert!(answer.header(name).is_some(), "{what}: no {name}: {answer:?}");
    }
}

/// The answer to these bytes; the connection must end after it.
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
        // RFC 9110, 4.2.1: a target of `http` has a host.
        (get("Host:\r\n"), 400, "bad_request"),
        (get("Host: \t \r\n"), 400, "bad_request"),
        (get("Host: :80\r\n"), 400, "bad_request"),
        (shake("1.1", "").replace("Host: x", "Host:"), 400, "bad_request"),
        ("OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n".into(), 400, "bad_request"),
        ("GET / HTTP/1.0\r\nHost:\r\n\r\n".into(), 400, "bad_request"),
        ("GET http:///healthz HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        ("GET http://:80/healthz HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        (get("Host: a b\r\n"), 400, "bad_request"),
        (get("Host: user@a\r\n"), 400, "bad_request"),
        (get("Host: a/b\r\n"), 400, "bad_request"),
        (get("Host: a:port\r\n"), 400, "bad_request"),
        (get("Host: a:+80\r\n"), 400, "bad_request"),
        (get("Host: a:65536\r\n"), 400, "bad_request"),
        (get("Host: [a]\r\n"), 400, "bad_request"),
        ("GET http://a:port/healthz HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        // RFC 9110, 11.6.2: Authorization is one field.
        (get("Host: x\r\nAuthorization: Bearer a\r\nauthorization: Bearer b\r\n"), 400, "bad_request"),
        (shake("1.1", "Authorization: Bearer a\r\nAuthorization: Bearer a\r\n"), 400, "bad_request"),
        // RFC 9112, 3.2: the request target.
        ("GET healthz HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        ("GET * HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        ("GET /healthz#x HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        ("GET /ws/a#/b HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        ("GET http://x/#a HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "bad_request"),
        ("CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n".into(), 405, "method_not_allowed"),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(9_000)), 414, "uri_too_long"),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(200_000)), 414, "uri_too_long"),
        // 5: header fields.
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
        // Requests that another server could read differently, which allows request smuggling past a proxy.
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
        // Not HTTP at all.
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
        // Refused by the routes.
        (head("/nowhere", "Connection: close\r\n\r\n"), 404),
        (head("/api/stats", "Connection: close\r\n\r\n"), 401),
        (head("/ws", "Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"), 405),
        // Refused because of the head, complete or not.
        ("HEAD / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("HEAD / HTTP/9.1\r\nHost: x\r\n\r\n".to_owned(), 400),
        ("\r\nHEAD / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (head("/", "Content-Length: 999999\r\n\r\n"), 413),
        (head("/", "Transfer-Encoding: gzip\r\n\r\n"), 501),
        (head(&format!("/{}", "x".repeat(9_000)), "\r\n"), 414),
        (head(&format!("/{}", "x".repeat(200_000)), ""), 414),
        (head("/", &"X: y\r\n".repeat(50_000)), 431),
        (head("/", "X: "), 408),
        // Refused because of the body.
        (head("/healthz", "Transfer-Encoding: chunked\r\n\r\nzz\r\n"), 400),
        // Refused after another request.
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
async fn an_answer_that_does_not_wait_for_the_body_ends_its_connection_at_once() {
    // Longer than a test waits for anything.
    let server = TestServer::start(&[("CHAT_HANDSHAKE_SECONDS", "60"), ("CHAT_PATH_PREFIX", "/chat")]);
    let cases = [
        ("OPTIONS /api/rooms", 204),
        ("OPTIONS /ws", 204),
        ("OPTIONS *", 204),
        ("GET /chat", 308),
        ("GET /api/rooms", 200),
        ("GET /nowhere", 404),
        ("PUT /api/rooms", 405),
    ];
    join_all(cases.iter().map(async |(request, status)| {
        let mut raw = Raw::open(server.address()).await;
        raw.send(format!("{request} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").as_bytes()).await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, *status, "{request}");
        if answer.header("connection") == Some("close") {
            assert_eq!(raw.end().await, 0, "{request}: a second answer");
        } else {
            // The body came in time to be passed over.
            assert_eq!(raw.get("/healthz").await.status, 200, "{request}");
        }
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
        // As a request, the server would answer it with "alive".
        raw.send(format!("{request}GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        assert_eq!(raw.answer().await.status, *status, "{request}");
        if *status == 101 {
            // As a frame, it has no mask, or a reserved bit.
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
