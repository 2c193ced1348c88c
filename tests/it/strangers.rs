//! Unknown clients create no permanent state at others' cost: no label, no log line, no full table, no name.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::{Value, json};
use test_kit::raw::{self, Raw};
use test_kit::token::{self, JWT};
use test_kit::{Client, Exposition, figures_when};

use crate::harness::{TestServer, starling};

const ADMIN: &str = "letmein-letmein-letmein";

fn token(name: &str) -> String {
    token::issue(&starling(), &[name])
}

fn jwt() -> [(&'static str, &'static str); 3] {
    [JWT[0], JWT[1], ("CHAT_ADMIN_TOKEN", ADMIN)]
}

fn of(name: &str) -> String {
    format!("/ws?token={}", token(name))
}

async fn as_operator(address: std::net::SocketAddr, method: &str, path: &str) -> raw::HttpAnswer {
    raw::http(address, method, path, &format!("Authorization: Bearer {ADMIN}\r\nConnection: close\r\n")).await
}

/// Stops a server, and waits until its history is unlocked.
async fn stopped(mut server: TestServer) {
    server.stop();
    assert_eq!(server.outcome().await, Ok(()));
}

#[actix::test]
async fn invented_methods_and_paths_make_no_series() {
    let server = TestServer::start(&[]);
    let before = raw::get(&server, "/metrics").await.body.len();
    for number in 0..200 {
        let method = format!("X{}-{number}", "LONG".repeat(number));
        for path in ["/", "/healthz", "/api/rooms", "/api/rooms/lobby/messages", "/web/1/2", "/metrics", "/nowhere"] {
            raw::http(server.address(), &method, path, "Connection: close\r\n").await;
        }
        raw::http(server.address(), "GET", &format!("/nowhere-{number}"), "Connection: close\r\n").await;
    }
    let figures = raw::get(&server, "/metrics").await;
    let text = figures.body;
    let values = |label: &str| -> BTreeSet<&str> {
        let key = format!("{label}=\"");
        let of_http = text.lines().filter(|line| line.starts_with("chat_http_"));
        of_http.filter_map(|line| line.split(&key).nth(1)?.split('"').next()).collect()
    };
    assert_eq!(values("method"), BTreeSet::from(["GET", "other"]));
    assert!(values("endpoint").iter().all(|endpoint| !endpoint.contains("nowhere")), "{:?}", values("endpoint"));
    assert!(text.len() < before + 60_000, "{before} bytes before, {} after", text.len());
}

#[actix::test]
async fn what_a_client_sends_is_counted_and_not_logged() {
    const TIMES: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let mut server = starling().start(folder.path(), &[("CHAT_BIND", "127.0.0.1:0"), ("CHAT_DRAIN_SECONDS", "0")]);
    let malformed: [&[u8]; 6] = [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnot hexadecimal\r\n",
    ];
    let harmless: [&[u8]; 4] = [
        b"",
        b"GET / HTTP/1.1\r\nHost",
        b"POST /api/rooms/lobby/messages HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf",
        b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ];
    for _ in 0..TIMES {
        for bytes in malformed {
            let mut client = Raw::open(server.address()).await;
            client.send(bytes).await;
            client.end().await;
        }
        for bytes in harmless {
            let mut client = Raw::open(server.address()).await;
            client.send(bytes).await;
            client.reset();
        }
    }
    let figures = raw::http(server.address(), "GET", "/metrics", "Connection: close\r\n").await;
    let figures = Exposition::parse(&figures.body);
    let counted = figures.value("chat_broken_connections_total", &[("reason", "malformed")]);
    assert!(counted > (4 * TIMES) as f64, "{counted} malformed requests");
    server.signal(Signal::TERM);
    server.exit_code().await;
    let lines = server.further_lines();
    assert!(lines.len() < 10, "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains("ERROR") && !line.contains("WARN")), "{lines:#?}");
}

#[actix::test]
async fn a_client_that_writes_to_invented_names_keeps_no_newcomer_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("starling.db");
    let mut variables = jwt().to_vec();
    variables.extend([("CHAT_HISTORY", "sqlite"), ("CHAT_HISTORY_PATH", path.to_str().unwrap())]);
    variables.extend([("CHAT_INBOXES", "20"), ("CHAT_INBOXES_PER_CLIENT", "15"), ("CHAT_MESSAGES_PER_SECOND", "0")]);
    let mallory_path = of("mallory");
    for life in ["before a restart", "after it"] {
        let server = TestServer::start(&variables);
        let mut mallory = Client::connect(&server, &mallory_path).await;
        let mut refused = 0;
        for number in 0..40 {
            let id = format!("{life} {number}");
            mallory.send_json(&json!({"Message": "x", "to": format!("invented-{number}"), "id": id})).await;
            // Errors alone would close the connection. A message is acknowledged when it is stored, possibly after the
            // pong.
            mallory.send_json(&json!({"type": "ping"})).await;
            loop {
                let answer: Value = serde_json::from_str(&mallory.text().await).unwrap();
                match answer["type"].as_str() {
                    Some("pong") => break,
                    Some("error") => {
                        assert_eq!(answer["code"], "too_many_inboxes");
                        refused += 1;
                    }
                    _ => {}
                }
            }
        }
        // After the restart, earlier newcomers have replaced inboxes of hers.
        assert!(refused >= 25, "{life}: whoever fills the table is refused, {refused} times");
        for newcomer in 0..10 {
            let name = format!("newcomer-{newcomer}");
            let mut client = Client::connect(&server, &of(&name)).await;
            client.send_json(&json!({"Message": "me", "to": "invented-by-nobody", "id": life})).await;
            let told = [client.text().await, client.text().await];
            assert!(told.iter().any(|frame| frame.contains(r#""type":"ack""#)), "{told:?}");
        }
        let figures = figures_when(&server, "the figures are fresh", |f| f.value("chat_inboxes", &[]) > 10.5).await;
        assert!(figures.value("chat_inboxes_limit", &[]) > 19.5);
        stopped(server).await;
    }
}

#[actix::test]
async fn rooms_that_somebody_leaves_behind_keep_nobody_out() {
    let server = TestServer::start(&[("CHAT_ROOMS", "10"), ("CHAT_JOINS_PER_MINUTE", "0")]);
    let mut mallory = Client::connect(&server, "/ws/mallory?clientId=mallory").await;
    for number in 0..50 {
        let room = format!("invented-{number}");
        mallory.send_json(&json!({"type": "join", "room": room})).await;
        mallory.expect(&json!({"type": "joined", "room": room}).to_string()).await;
        mallory.send_json(&json!({"type": "leave", "room": room})).await;
        mallory.expect(r#"{"type":"left"}"#).await;
    }
    Client::connect(&server, "/ws/new?clientId=alice").await.expect_chat_works().await;
    Client::connect(&server, "/ws?clientId=bob").await.expect_chat_works().await;
}

#[actix::test]
async fn an_operator_drops_a_room_and_an_inbox_and_they_stay_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("starling.db");
    let mut variables = jwt().to_vec();
    variables.extend([("CHAT_HISTORY", "sqlite"), ("CHAT_HISTORY_PATH", path.to_str().unwrap())]);
    let (alice_path, bob_path) = (of("alice"), of("bob"));
    let server = TestServer::start(&variables);
    let mut alice = Client::connect(&server, &alice_path).await;
    alice.send_json(&json!({"type": "join", "room": "dev"})).await;
    let joined = alice.expect(r#"{"type":"joined","room":"dev"}"#).await;
    alice.send_json(&json!({"Message": "hello", "room": "dev"})).await;
    alice.expect(r#"{"type":"message","seq":1,"room":"dev"}"#).await;
    alice.send_json(&json!({"Message": "psst", "to": "bob"})).await;
    alice.expect(r#"{"type":"message","to":"bob"}"#).await;
    for (path, code) in [("/api/rooms/nowhere", "no_such_room"), ("/api/inboxes/nobody", "no_such_client")] {
        as_operator(server.address(), "DELETE", path).await.expect_refusal(404, code);
    }
    for path in ["/api/rooms/dev", "/api/inboxes/bob"] {
        raw::http(server.address(), "DELETE", path, "Connection: close\r\n").await.expect_refusal(401, "unauthorized");
        assert_eq!(as_operator(server.address(), "DELETE", path).await.status, 204, "{path}");
    }
    alice.expect(r#"{"type":"left","room":"dev"}"#).await;
    as_operator(server.address(), "GET", "/api/rooms/dev/messages").await.expect_refusal(404, "no_such_room");
    stopped(server).await;

    let server = TestServer::start(&variables);
    as_operator(server.address(), "GET", "/api/rooms/dev/messages").await.expect_refusal(404, "no_such_room");
    Client::open(&server, &bob_path).await.expect(r#"{"type":"welcome","inbox":{"seq":0}}"#).await;
    let mut alice = Client::connect(&server, &alice_path).await;
    alice.send_json(&json!({"type": "join", "room": "dev"})).await;
    let again = alice.expect(r#"{"type":"joined","room":"dev","seq":0}"#).await;
    assert_ne!(joined["epoch"], again["epoch"]);
    alice.send_json(&json!({"Message": "one", "room": "dev"})).await;
    alice.expect(r#"{"type":"message","seq":1,"room":"dev"}"#).await;
    drop(alice);
    stopped(server).await;

    // The same commands on the file of a stopped server.
    let history = |arguments: &[&str]| {
        let output = starling().run(folder.path(), &[&["history"], arguments].concat(), &variables);
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(history(&["drop", "--room", "dev"]), (true, "dev is dropped: 1 message\n".into()));
    assert_eq!(history(&["drop", "--inbox", "alice"]), (true, "@alice is dropped: 1 message\n".into()));
    assert!(!history(&["drop", "--room", "dev"]).0 && !history(&["drop"]).0);
    assert!(!history(&["drop", "--room", "dev", "--inbox", "alice"]).0);
    assert!(history(&["check"]).0);
    assert_eq!(history(&["export"]), (true, String::new()));
}

#[actix::test]
async fn without_a_token_a_program_is_refused_before_the_upgrade_and_a_page_may_still_say_hello() {
    let server = TestServer::start(&jwt());
    for path in ["/ws", "/ws/dev", "/ws?clientId=alice", "/ws?token="] {
        raw::handshake(&server, path).await.expect_refusal(401, "unauthorized");
    }
    let mut page = Raw::open(server.address()).await;
    assert_eq!(page.ask_for_websocket("/ws", "Origin: http://localhost\r\n").await.status, 101);
    assert!(page.frame().await.unwrap().text().contains(r#""code":"unauthorized""#));
    page.send_text(&json!({"type": "hello", "token": token("alice")}).to_string()).await;
    assert!(page.frame().await.unwrap().text().contains(r#""type":"welcome""#));
}

#[actix::test]
async fn what_is_remembered_belongs_to_the_client_and_not_to_whoever_has_its_name_next() {
    let server = TestServer::start(&[]);
    let mut bob = Client::connect(&server, "/ws?clientId=bob").await;
    let mut alice = Client::open(&server, "/ws?clientId=alice").await;
    let welcome = alice.expect(r#"{"type":"welcome"}"#).await;
    alice.send_json(&json!({"Message": "secret", "to": "bob", "id": "1"})).await;
    bob.expect(r#"{"type":"message","to":"bob"}"#).await;
    alice.expect(r#"{"type":"message"}"#).await;
    alice.expect(r#"{"type":"ack","id":"1"}"#).await;
    drop(alice);
    figures_when(&server, "alice has gone", |figures| figures.value("chat_sessions", &[]) < 1.5).await;

    let mut mallory = Client::connect(&server, "/ws?clientId=alice").await;
    mallory.send_json(&json!({"Message": "is it you?", "id": "1"})).await;
    bob.expect(r#"{"type":"message","Message":"is it you?","seq":1}"#).await;
    let told = [mallory.text().await, mallory.text().await];
    assert!(told.iter().all(|frame| !frame.contains("duplicate") && !frame.contains("\"to\"")), "{told:?}");
    drop(mallory);
    figures_when(&server, "mallory has gone", |figures| figures.value("chat_sessions", &[]) < 1.5).await;

    let path = format!("/ws?clientId=alice&key={}", welcome["key"].as_str().unwrap());
    let mut alice = Client::connect(&server, &path).await;
    alice.send_json(&json!({"Message": "secret", "to": "bob", "id": "1"})).await;
    alice.expect(r#"{"type":"ack","id":"1","to":"bob","duplicate":true}"#).await;
}

#[actix::test]
async fn a_message_that_is_refused_takes_no_name() {
    let server = TestServer::start(&[]);
    let mut guest = Client::connect(&server, "/ws").await;
    guest.send_json(&json!({"clientId": "alice", "Message": "psst", "to": "nobody", "id": "m1"})).await;
    guest.expect(r#"{"type":"error","code":"no_such_client","id":"m1"}"#).await;
    Client::connect(&server, "/ws?clientId=alice").await.expect_chat_works().await;
}
