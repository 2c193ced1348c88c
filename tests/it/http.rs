//! The routes other than `/ws`.

use serde_json::{Value, json};
use test_kit::Client;
use test_kit::raw::{self, HttpAnswer};

use crate::harness::TestServer;

async fn get_json(server: &TestServer, path: &str) -> Value {
    let answer = raw::get(server, path).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

#[actix::test]
async fn the_server_says_that_it_is_alive_and_ready() {
    let server = TestServer::start(&[]);
    for (path, body) in [("/healthz", "alive\n"), ("/readyz", "ready\n")] {
        let answer = raw::get(&server, path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, body));
    }
}

#[actix::test]
async fn the_page_says_how_to_connect_and_may_load_only_itself() {
    let server = TestServer::start(&[]);
    let page = raw::get(&server, "/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.body.starts_with("<!doctype html>") && page.body.contains("/ws"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    // The resources that the page loads exist.
    let links = page.body.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let links: Vec<_> = links.filter(|link| !link.starts_with('#')).collect();
    assert!(
        ["/css/theme.css", "/js/main.js"].iter().all(|file| links.iter().any(|link| link.ends_with(file))),
        "{links:?}"
    );
    for link in links {
        let answer = raw::get(&server, &format!("/{link}")).await;
        assert_eq!(answer.status, 200, "{link}: {answer:?}");
    }
}

#[actix::test]
async fn the_stats_count_what_happens() {
    let server = TestServer::start(&[]);
    let before = get_json(&server, "/api/stats").await;
    assert!(before["server"].as_str().unwrap().starts_with("starling/"), "{before}");
    assert_eq!((&before["connections"], &before["messages"], &before["deliveries"]), (&json!(0), &json!(0), &json!(0)));
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    let mut bob = Client::connect(&server, "/ws?clientId=bob").await;
    alice.send_json(&json!({"Message": "one"})).await;
    alice.expect(r#"{"type":"message"}"#).await;
    bob.expect(r#"{"type":"message"}"#).await;
    alice.send_json(&json!({"Message": "two", "to": "bob"})).await;
    alice.expect(r#"{"type":"message"}"#).await;
    bob.expect(r#"{"type":"message"}"#).await;
    let after = get_json(&server, "/api/stats").await;
    assert_eq!((&after["connections"], &after["messages"], &after["deliveries"]), (&json!(2), &json!(2), &json!(4)));
    assert!(after["uptimeSeconds"].is_u64() && after["backlog"].is_u64(), "{after}");
}

#[actix::test]
async fn the_rooms_are_those_of_the_chat() {
    let server = TestServer::start(&[]);
    assert_eq!(get_json(&server, "/api/rooms").await, json!({"rooms": [], "truncated": false, "type": "rooms"}));
    let mut alice = Client::connect(&server, "/ws/dev?clientId=alice").await;
    alice.send_json(&json!({"Message": "one"})).await;
    alice.expect(r#"{"type":"message"}"#).await;
    let rooms = get_json(&server, "/api/rooms").await;
    assert_eq!(rooms, json!({"rooms": [{"room": "dev", "count": 1, "seq": 1}], "truncated": false, "type": "rooms"}));
}

#[actix::test]
async fn the_messages_of_a_room_come_in_pages() {
    let server = TestServer::start(&[]);
    let mut alice = Client::connect(&server, "/ws/dev?clientId=alice").await;
    for number in 1..=5 {
        alice.send_json(&json!({"Message": format!("m{number}")})).await;
        alice.expect(r#"{"type":"message"}"#).await;
    }
    let page = async |query: &str| {
        let page = get_json(&server, &format!("/api/rooms/dev/messages{query}")).await;
        let seqs: Vec<u64> = page["messages"].as_array().unwrap().iter().map(|m| m["seq"].as_u64().unwrap()).collect();
        (seqs, page["hasMore"].as_bool().unwrap())
    };
    assert_eq!(page("").await, (vec![1, 2, 3, 4, 5], false));
    assert_eq!(page("?limit=2").await, (vec![4, 5], true));
    assert_eq!(page("?before=3").await, (vec![1, 2], false));
    assert_eq!(page("?before=5&limit=1").await, (vec![4], true));
    assert_eq!(page("?after=1&limit=2").await, (vec![2, 3], true));
    assert_eq!(page("?after=5").await, (vec![], false));
    assert_eq!(page("?limit=200").await.0.len(), 5);
    let whole = get_json(&server, "/api/rooms/dev/messages?after=4").await;
    let message = &whole["messages"][0];
    assert_eq!((&whole["type"], &whole["room"]), (&json!("history"), &json!("dev")));
    assert_eq!((&message["clientId"], &message["Message"]), (&json!("alice"), &json!("m5")));
}

#[actix::test]
async fn what_cannot_be_answered_is_refused_with_a_code() {
    let server = TestServer::start(&[]);
    let _alice = Client::connect(&server, "/ws/dev?clientId=alice").await;
    for (path, status, code) in [
        ("/nothing", 404, "no_such_path"),
        ("/api", 404, "no_such_path"),
        ("/ws/dev/more", 404, "no_such_path"),
        ("/api/rooms/nowhere/messages", 404, "no_such_room"),
        ("/api/rooms/a%20b/messages", 400, "bad_room"),
        ("/api/rooms/dev/messages?limit=0", 400, "bad_request"),
        ("/api/rooms/dev/messages?limit=201", 400, "bad_request"),
        ("/api/rooms/dev/messages?limit=70000", 400, "bad_request"),
        ("/api/rooms/dev/messages?limit=many", 400, "bad_request"),
        ("/api/rooms/dev/messages?before=-1", 400, "bad_request"),
        ("/api/rooms/dev/messages?before=1&after=2", 400, "bad_request"),
        ("/ws", 426, "upgrade_required"),
        ("/ws/dev", 426, "upgrade_required"),
    ] {
        raw::get(&server, path).await.expect_refusal(status, code);
    }
    for path in ["/", "/healthz", "/api/rooms", "/nothing"] {
        let answer = raw::http(server.address(), "DELETE", path, "Connection: close\r\n").await;
        assert!([404, 405].contains(&answer.status) && answer.json()["code"].is_string(), "{path}: {answer:?}");
    }
}

#[actix::test]
async fn a_handshake_that_is_broken_is_refused_with_a_code() {
    let server = TestServer::start(&[]);
    let shake = async |method: &str, headers: &str| -> HttpAnswer {
        raw::http(&server, method, "/ws?clientId=alice", headers).await
    };
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let whole = format!("{upgrade}Sec-WebSocket-Version: 13\r\n{key}");
    let old = shake("GET", &format!("{upgrade}Sec-WebSocket-Version: 8\r\n{key}")).await;
    old.expect_refusal(426, "upgrade_required");
    assert_eq!(old.header("sec-websocket-version"), Some("13"), "it says what is spoken here");
    shake("GET", &format!("{upgrade}{key}")).await.expect_refusal(400, "bad_request");
    shake("GET", &format!("{upgrade}Sec-WebSocket-Version: 13\r\n")).await.expect_refusal(400, "bad_request");
    shake("GET", "Connection: Upgrade\r\nUpgrade: h2c\r\n").await.expect_refusal(426, "upgrade_required");
    shake("POST", &whole).await.expect_refusal(405, "method_not_allowed");
    // Header names and values are case-insensitive, and a list of tokens is accepted.
    let other = "connection: keep-alive, upgrade\r\nUPGRADE: WebSocket\r\nsec-websocket-version: 13\r\n";
    assert_eq!(shake("GET", &format!("{other}{key}")).await.status, 101);
    // An upgrade request on another route is ignored.
    let answer = raw::http(&server, "GET", "/healthz", &whole).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "alive\n"));
}
