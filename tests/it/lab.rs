//! The lab: the page, its figures, and their viewers.

use std::pin::Pin;

use awc::Client as HttpClient;
use awc::error::PayloadError;
use awc::http::header::HeaderMap;
use awc::http::{StatusCode, header};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use test_kit::raw::{self, Raw};
use test_kit::token::{self, JWT};
use test_kit::{Client, Exposition, figures_when, within};

use crate::harness::{TestServer, starling};

/// The most viewers at a time, and the operators beyond them (`docs/diagnosis.md`).
const VIEWERS: usize = 32;
const OPERATORS: usize = 8;

const ADMIN_TOKEN: &str = "letmein-letmein-letmein";

type Body = Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>;

/// The answer to a request for the stream.
struct Asked {
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
}

/// Asks for the stream.
async fn ask(server: &TestServer, token: Option<&str>) -> Asked {
    let url = format!("http://{}/api/lab", server.address());
    let client = HttpClient::builder().disable_timeout().finish();
    let mut request = client.get(url).insert_header((header::ACCEPT, "text/event-stream"));
    if let Some(token) = token {
        request = request.insert_header((header::AUTHORIZATION, format!("Bearer {token}")));
    }
    let answer = within("the stream is answered", request.send()).await.unwrap();
    Asked { status: answer.status(), headers: answer.headers().clone(), body: Box::pin(answer) }
}

/// A reader of the stream.
struct Viewer {
    body: Body,
    unread: String,
}

impl Viewer {
    async fn open(server: &TestServer, token: Option<&str>) -> Self {
        let Asked { status, headers, body } = ask(server, token).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers.get(header::CONTENT_TYPE).unwrap(), "text/event-stream");
        assert_eq!(headers.get(header::CACHE_CONTROL).unwrap(), "no-store");
        Self { body, unread: String::new() }
    }

    /// The next event; `None` when the stream has ended in order.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let figures = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
                self.unread = rest.to_owned();
                return Some(figures);
            }
            let Some(bytes) = within("an event", self.body.next()).await else {
                assert_eq!(self.unread, "", "the stream ends within an event");
                return None;
            };
            self.unread.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
        }
    }

    /// Waits for the first event for which this holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let event = self.next().await.unwrap_or_else(|| panic!("the stream has ended: {what}"));
                if holds(&event) {
                    return event;
                }
            }
        };
        within(what, found).await
    }
}

fn seconds_of(figures: &Value) -> Vec<f64> {
    figures["points"].as_array().unwrap().iter().map(|point| point["second"].as_f64().unwrap()).collect()
}

async fn figures(server: &TestServer, path: &str) -> Value {
    let answer = raw::get(server, path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[actix::test]
async fn a_viewer_gets_what_was_before_at_once_and_then_every_second() {
    let server = TestServer::start(&[]);
    let mut early = Viewer::open(&server, None).await;
    let first = early.until("there is a point", |figures| !seconds_of(figures).is_empty()).await;
    let mut all = seconds_of(&first);
    for _ in 0..3 {
        let next = early.next().await.unwrap();
        let seconds = seconds_of(&next);
        assert_eq!(seconds.len(), 1, "only the newest second");
        if all.last() != seconds.last() {
            all.extend(seconds);
        }
    }
    assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
    let mut late = Viewer::open(&server, None).await;
    let before = late.next().await.unwrap();
    let before_seconds = seconds_of(&before);
    assert!(all.iter().all(|second| before_seconds.contains(second)), "{before} has {all:?}");

    let stages: Vec<_> =
        before["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(
        stages,
        ["session", "chat_server", "history", "hub", "socket_write", "history_read", "http", "worker_loop"],
        "{before}"
    );
    let worker = &before["stages"][0]["worker"];
    assert!(["0", "1"].contains(&worker.as_str().unwrap()), "{worker}");
    assert!(before["diagnosis"]["sentence"].is_string() && before["diagnosis"]["wouldRefute"].is_string(), "{before}");
    assert!(before["limits"].as_array().unwrap().len() > 4, "{before}");
    assert!(before["points"][0]["memoryBytes"].as_f64().unwrap() > 1e6, "{before}");
}

#[actix::test]
async fn a_message_shows_in_the_points_and_in_the_parts_of_the_latency() {
    let server = TestServer::start(&[]);
    let mut viewer = Viewer::open(&server, None).await;
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    let is_counted = |figures: &Value| {
        let point = figures["points"].as_array().unwrap().last().cloned().unwrap_or_default();
        let names = ["messagesPerSecond", "deliveriesPerSecond", "deliveryP50Seconds", "deliveryP99Seconds"];
        names.iter().all(|name| point[name].as_f64().is_some_and(|value| value > 0.0))
    };
    let said = async {
        loop {
            alice.send_text(r#"{"Message":"hello"}"#).await;
            let figures = viewer.next().await.unwrap();
            if is_counted(&figures) {
                return figures;
            }
        }
    };
    let figures = within("a message is counted in a point", said).await;
    assert!(figures["latency"]["meanSeconds"].as_f64().unwrap() > 0.0, "{figures}");
    let parts = figures["latency"]["parts"].as_array().unwrap();
    let names: Vec<_> = parts.iter().map(|part| part["part"].as_str().unwrap()).collect();
    assert_eq!(names, ["session", "chat_server_wait", "commit", "chat_server", "hub_wait", "socket_write"]);
}

#[actix::test]
async fn names_are_for_those_who_may_know_them_and_figures_for_readers() {
    let issue = |arguments: &[&str]| token::issue(&starling(), arguments);
    let (client, operator) = (issue(&["alice"]), issue(&["root", "--admin"]));
    let with_admin = ("CHAT_ADMIN_TOKEN", ADMIN_TOKEN);
    let open = TestServer::start(&[]);
    let with_operators = TestServer::start(&[with_admin]);
    let authenticated = TestServer::start(&[&JWT[..], &[with_admin]].concat());
    let cases = [
        (&open, None, 200, true),
        (&with_operators, None, 200, true),
        (&with_operators, Some(ADMIN_TOKEN), 200, true),
        (&authenticated, None, 401, false),
        (&authenticated, Some("x.y.z"), 401, false),
        (&authenticated, Some(&*client), 200, false),
        (&authenticated, Some(&*operator), 200, true),
        (&authenticated, Some(ADMIN_TOKEN), 200, true),
    ];
    join_all(cases.into_iter().zip(0..).map(async |((server, token, status, sees_names), case)| {
        let what = format!("case {case}, {token:?}");
        let bearer = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        let once = raw::http(server, "GET", "/api/lab", &format!("Connection: close\r\n{bearer}")).await;
        let in_query = raw::get(server, &format!("/api/lab?token={}", token.unwrap_or_default())).await;
        assert_eq!((once.status, token.is_none() || in_query.status == status), (status, true), "{what}: {once:?}");
        if status != 200 {
            once.expect_refusal(status, "unauthorized");
            assert_eq!(ask(server, token).await.status.as_u16(), status, "{what}");
            assert!(!once.body.contains("stages"), "{what}: {once:?}");
            return;
        }
        assert_eq!(once.json()["names"].is_object(), sees_names, "{what}");
        let mut viewer = Viewer::open(server, token).await;
        for _ in 0..2 {
            assert_eq!(viewer.next().await.unwrap()["names"].is_object(), sees_names, "{what}");
        }
    }))
    .await;
}

#[actix::test]
async fn the_slowest_client_and_the_busiest_room_are_named() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_OUTBOX_BYTES", "16777216")]);
    let mut viewer = Viewer::open(&server, None).await;
    // It reads nothing, so that messages wait for it.
    let mut silent = Raw::open_narrow(server.address()).await;
    silent.send(raw::handshake_request("/ws/loud?clientId=silent").as_bytes()).await;
    let mut speaker = Client::connect(&server, "/ws/loud?clientId=speaker").await;
    let mut calm = Client::connect(&server, "/ws/calm?clientId=calm").await;
    calm.send_text(r#"{"Message":"hello"}"#).await;
    let text = json!({"Message": "x".repeat(4_000)}).to_string();
    let is_named = |figures: &Value| {
        figures["names"]["clients"][0]["clientId"] == "silent" && figures["names"]["rooms"][0]["room"] == "loud"
    };
    let named = async {
        loop {
            for _ in 0..200 {
                speaker.send_text(&text).await;
            }
            speaker.barrier().await;
            let figures = viewer.next().await.unwrap();
            if is_named(&figures) {
                return figures;
            }
        }
    };
    let figures = within("both are named", named).await;
    let client = &figures["names"]["clients"][0];
    assert!(client["bytes"].as_u64().unwrap() > 0 && client["waitedSeconds"].as_f64().unwrap() > 0.0, "{client}");
    assert!(figures["names"]["rooms"][0]["deliveriesPerSecond"].as_f64().unwrap() > 1.0, "{figures}");
}

#[actix::test]
async fn past_the_places_of_viewers_only_operators_get_in_until_somebody_leaves() {
    let server = TestServer::start(&[("CHAT_ADMIN_TOKEN", ADMIN_TOKEN), ("CHAT_CONNECTIONS_PER_ADDRESS", "100")]);
    let mut viewers = join_all((0..VIEWERS).map(|_| Viewer::open(&server, None))).await;
    let refused = async |token| {
        let mut answer = ask(&server, token).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
        let body = within("the refusal", answer.body.next()).await.unwrap().unwrap();
        let refusal: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(refusal, json!({"code": "unavailable", "message": "the limit of 32 viewers is reached"}));
    };
    refused(None).await;
    let operators = join_all((0..OPERATORS).map(|_| Viewer::open(&server, Some(ADMIN_TOKEN)))).await;
    refused(Some(ADMIN_TOKEN)).await;
    assert!(figures(&server, "/api/lab").await["stages"].is_array(), "once is answered all the same");
    assert!(viewers[0].next().await.is_some(), "nobody was pushed out");
    drop(operators);
    viewers.truncate(VIEWERS - 1);
    let admitted = async {
        while ask(&server, None).await.status != StatusCode::OK {
            tokio::time::sleep(test_kit::LOOK).await;
        }
    };
    within("the place of the viewer that has left is free", admitted).await;
    drop(viewers);
    let refused = [("endpoint", "/api/lab"), ("status", "503")];
    let figures =
        figures_when(&server, "all viewers have left", |figures| figures.value("chat_connections_open", &[]) < 1.5)
            .await;
    assert!(figures.value("chat_http_requests_total", &refused) >= 2.0, "refusals are counted");
    assert!(figures.value("chat_http_requests_total", &[("endpoint", "/api/lab"), ("status", "200")]) >= 40.0);
    assert!(figures.value("chat_broken_connections_total", &[]) < 0.5, "a viewer that leaves is no fault");
}

#[actix::test]
async fn a_viewer_that_reads_nothing_is_cut_and_the_others_go_on() {
    let server = TestServer::start(&[("CHAT_SLOW_CLIENT_SECONDS", "1")]);
    let mut other = Viewer::open(&server, None).await;
    let mut slow = Raw::open_narrow(server.address()).await;
    slow.send(b"GET /api/lab HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n").await;
    let is_open = |figures: &Exposition| figures.value("chat_connections_open", &[]) > 2.5;
    figures_when(&server, "the viewer is there", is_open).await;
    figures_when(&server, "the viewer is cut", |figures| !is_open(figures)).await;
    assert!(other.next().await.is_some());
    assert!(other.next().await.is_some());
}

#[actix::test]
async fn the_streams_end_in_order_when_the_server_stops() {
    let mut server = TestServer::start(&[]);
    let mut viewers = [Viewer::open(&server, None).await, Viewer::open(&server, None).await];
    for viewer in &mut viewers {
        viewer.next().await.unwrap();
    }
    server.stop();
    for viewer in &mut viewers {
        while viewer.next().await.is_some() {}
    }
    server.outcome().await.unwrap();
}

#[actix::test]
async fn a_stream_ends_with_the_token_of_its_viewer() {
    let server = TestServer::start(&JWT);
    let token = token::issue(&starling(), &["root", "--admin", "--seconds", "3"]);
    let mut viewer = Viewer::open(&server, Some(&token)).await;
    viewer.next().await.unwrap();
    while viewer.next().await.is_some() {}
}

#[actix::test]
async fn only_a_get_of_the_lab_that_accepts_events_is_a_stream() {
    let server = TestServer::start(&[("CHAT_PATH_PREFIX", "/chat")]);
    let events = "Accept: text/event-stream\r\n";
    let cases = [
        ("GET", "/api/lab", events, "text/event-stream"),
        ("GET", "/chat/api/lab?a=b", events, "text/event-stream"),
        ("GET", "/api/lab", "Accept: text/html, Text/Event-Stream;q=0.5\r\n", "text/event-stream"),
        ("GET", "/api/lab", "", "application/json"),
        ("GET", "/api/lab", "Accept: */*\r\n", "application/json"),
        ("HEAD", "/api/lab", events, "application/json"),
        ("GET", "/api/diagnosis", events, "application/json"),
        ("GET", "/healthz", events, "text/plain; charset=utf-8"),
        ("GET", "/api/%6cab", events, "application/json"),
    ];
    for (method, path, accept, content_type) in cases {
        let what = format!("{method} {path} {accept:?}");
        let mut raw = Raw::open(server.address()).await;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n");
        raw.send(request.as_bytes()).await;
        let is_stream = content_type == "text/event-stream";
        let answer = if is_stream || method == "HEAD" { raw.head().await } else { raw.answer().await };
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)), "{what}");
        if is_stream {
            assert_eq!(answer.header("connection"), Some("close"), "{what}");
        } else {
            assert_eq!(raw.get("/healthz").await.body, "alive\n", "{what}: the next request is answered");
        }
    }
}

#[actix::test]
async fn a_viewer_that_sends_anything_more_is_ended() {
    let server = TestServer::start(&[]);
    let mut raw = Raw::open(server.address()).await;
    let request = "GET /api/lab HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    raw.send(request.as_bytes()).await;
    assert_eq!(raw.head().await.status, 200);
    raw.send(request.as_bytes()).await;
    within("the stream ends", raw.end()).await;
}

#[actix::test]
async fn the_page_may_load_and_run_no_more_than_the_chats_page() {
    let server = TestServer::start(&[("CHAT_PATH_PREFIX", "/chat")]);
    let (chat, lab) = (raw::get(&server, "/chat/").await, raw::get(&server, "/chat/lab").await);
    assert_eq!((lab.status, lab.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for name in ["content-security-policy", "cache-control", "referrer-policy", "x-content-type-options"] {
        assert!(lab.header(name).is_some(), "{name}");
        assert_eq!(lab.header(name), chat.header(name), "{name}");
    }
    assert!(!lab.body.contains("VERSION") && !lab.body.contains("MODULES"), "{}", lab.body);
    let files = lab.body.split('"').filter(|part| part.starts_with("web/"));
    let files: std::collections::BTreeSet<&str> = files.collect();
    assert!(files.iter().any(|file| file.ends_with("/js/lab/main.js")), "{files:?}");
    for file in files {
        assert_eq!(raw::get(&server, &format!("/chat/{file}")).await.status, 200, "{file}");
    }
    for other in ["src=\"http", "href=\"http", "style=", "onclick"] {
        assert!(!lab.body.contains(other), "{other}");
    }
    let version = lab.body.split("\"web/").nth(1).unwrap().split('/').next().unwrap();
    raw::get(&server, &format!("/web/{version}/lab.html")).await.expect_refusal(404, "no_such_path");
}
