//! The pages that may connect, and the security headers of every answer.

use test_kit::figures_when;
use test_kit::raw::{self, HttpAnswer, Raw};

use crate::harness::TestServer;

/// The answer to the handshake of a page with this origin.
async fn page_connects(server: &TestServer, origin: &str) -> HttpAnswer {
    Raw::open(server.address()).await.ask_for_websocket("/ws", &format!("Origin: {origin}\r\n")).await
}

#[actix::test]
async fn pages_of_the_same_host_may_connect_and_others_may_not() {
    let server = TestServer::start(&[]);
    // The tests use the host `localhost`.
    assert_eq!(page_connects(&server, "http://localhost").await.status, 101);
    assert_eq!(page_connects(&server, "https://LOCALHOST").await.status, 101, "a proxy may speak TLS for the server");
    assert_eq!(raw::handshake(&server, "/ws").await.status, 101, "a tool sends no origin");
    for origin in ["http://evil.example", "http://localhost:81", "http://localhost.evil.example", "null"] {
        page_connects(&server, origin).await.expect_refusal(403, "forbidden");
    }
    let counted =
        |figures: &test_kit::Exposition| figures.value("chat_refused_handshakes_total", &[("code", "forbidden")]) > 3.5;
    figures_when(&server, "they are counted", counted).await;
}

#[actix::test]
async fn a_list_of_origins_stands_alone() {
    let server = TestServer::start(&[("CHAT_ALLOWED_ORIGINS", "https://chat.example,http://localhost:3000")]);
    for origin in ["https://chat.example", "https://chat.example:443", "http://localhost:3000"] {
        assert_eq!(page_connects(&server, origin).await.status, 101, "{origin}");
    }
    for origin in ["http://localhost", "http://chat.example", "https://chat.example:8443"] {
        page_connects(&server, origin).await.expect_refusal(403, "forbidden");
    }
    assert_eq!(raw::handshake(&server, "/ws").await.status, 101);
    let server = TestServer::start(&[("CHAT_ALLOWED_ORIGINS", "*")]);
    assert_eq!(page_connects(&server, "http://evil.example").await.status, 101);
}

#[actix::test]
async fn the_host_that_a_trusted_proxy_names_is_the_one_that_was_asked() {
    let trusting = ("CHAT_TRUSTED_PROXIES", "127.0.0.1");
    let listed = TestServer::start(&[trusting]);
    let standard = TestServer::start(&[trusting, ("CHAT_FORWARDED_HEADER", "forwarded")]);
    let nobody = TestServer::start(&[]);
    // The request reaches the server with the host `localhost`.
    for (server, told, origin, status) in [
        (&listed, "X-Forwarded-Host: chat.example:8443", "https://chat.example:8443", 101),
        (&listed, "X-Forwarded-Host: chat.example:8443", "https://chat.example", 403),
        (&listed, "X-Forwarded-Host: chat.example", "https://chat.example", 101),
        (&listed, "X-Forwarded-Host: chat.example:443", "https://chat.example", 101),
        (&listed, "X-Forwarded-Host: chat.example", "http://localhost", 403),
        (&listed, "X-Forwarded-Host: chat.example\r\nX-Forwarded-Proto: https", "https://chat.example", 101),
        (&listed, "X-Forwarded-Host: chat.example\r\nX-Forwarded-Proto: https", "http://chat.example", 403),
        (&listed, "X-Forwarded-Host: chat.example\r\nX-Forwarded-Proto: http", "http://chat.example", 101),
        // TLS may end at a proxy before the one that sets the header.
        (&listed, "X-Forwarded-Host: chat.example\r\nX-Forwarded-Proto: http", "https://chat.example", 101),
        (&listed, "X-Forwarded-Proto: https", "https://localhost", 101),
        (&listed, "X-Forwarded-Proto: wss", "http://localhost", 403),
        (&listed, "Forwarded: host=chat.example", "https://chat.example", 403),
        (&standard, "Forwarded: for=192.0.2.1;host=\"chat.example:8443\"", "https://chat.example:8443", 101),
        (&standard, "Forwarded: for=192.0.2.1;host=chat.example;proto=https", "http://chat.example", 403),
        (&standard, "X-Forwarded-Host: chat.example", "https://chat.example", 403),
        (&nobody, "X-Forwarded-Host: chat.example", "https://chat.example", 403),
        (&nobody, "X-Forwarded-Host: chat.example", "http://localhost", 101),
        (&nobody, "X-Forwarded-Proto: https", "http://localhost", 101),
    ] {
        let headers = format!("{told}\r\nOrigin: {origin}\r\n");
        let answer = Raw::open(server.address()).await.ask_for_websocket("/ws", &headers).await;
        assert_eq!(answer.status, status, "{told}: {origin}: {answer:?}");
    }
}

#[actix::test]
async fn pages_of_apps_may_connect_where_they_are_listed() {
    let apps =
        ["capacitor://localhost", "ionic://localhost", "tauri://localhost", "app://.", "chrome-extension://abcdef"];
    let listing = TestServer::start(&[("CHAT_ALLOWED_ORIGINS", &apps.join(","))]);
    let server = TestServer::start(&[]);
    for origin in apps {
        assert_eq!(page_connects(&listing, origin).await.status, 101, "{origin}");
        // `localhost` is the name of this server and also that of an app.
        page_connects(&server, origin).await.expect_refusal(403, "forbidden");
    }
    for origin in ["null", "http://localhost", "capacitor://localhost:1", "app://x", "chrome-extension://abcdeg"] {
        page_connects(&listing, origin).await.expect_refusal(403, "forbidden");
    }
}

#[actix::test]
async fn every_answer_tells_the_browser_what_it_may_not_do() {
    let server = TestServer::start(&[]);
    let page = raw::get(&server, "/").await;
    let script =
        page.body.split('"').find(|part| part.ends_with("/js/main.js")).map(|path| format!("/{path}")).unwrap();
    let mut answers = vec![("a refused handshake", page_connects(&server, "http://evil.example").await)];
    for path in ["/", &script, "/healthz", "/readyz", "/metrics", "/api/stats", "/api/rooms", "/nothing", "/ws"] {
        answers.push((path, raw::get(&server, path).await));
    }
    for (what, answer) in answers {
        let header = |name| answer.header(name).unwrap_or_else(|| panic!("{what} has no {name}: {answer:?}"));
        assert_eq!(header("x-content-type-options"), "nosniff", "{what}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{what}");
        assert_eq!(header("cross-origin-opener-policy"), "same-origin", "{what}");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin", "{what}");
        assert!(header("permissions-policy").contains("camera=()"), "{what}");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{what}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{what}: {policy}");
        assert!(!header("cache-control").is_empty(), "{what}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{what}");
    }
}
