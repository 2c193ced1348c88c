//! For any bytes, a client gets an error or is closed with a code, and other clients do not notice.

use std::time::Duration;

use test_kit::raw::{self, HttpAnswer, Raw};
use test_kit::{Client, figures_when};

use crate::harness::TestServer;

/// A server with a bystander that only chats.
struct Scene {
    bystander: Client,
    server: TestServer,
}

impl Scene {
    async fn set() -> Self {
        let server = TestServer::start(&[]);
        Self { bystander: Client::connect(&server, "/ws/calm?clientId=bystander").await, server }
    }

    /// Sends these bytes after a handshake. Returns all frames up to the end, and the close code.
    async fn send(&mut self, bytes: &[u8]) -> (Vec<String>, Option<u16>) {
        let mut mallory = Raw::connect(&self.server, "/ws?clientId=mallory").await;
        mallory.send(bytes).await;
        self.see_off(mallory).await
    }

    /// The same for a client that sends these bytes and then nothing more.
    async fn send_and_vanish(&mut self, bytes: &[u8]) -> (Vec<String>, Option<u16>) {
        let mut mallory = Raw::connect(&self.server, "/ws?clientId=mallory").await;
        mallory.send(bytes).await;
        mallory.shut_down().await;
        self.see_off(mallory).await
    }

    async fn see_off(&mut self, mut mallory: Raw) -> (Vec<String>, Option<u16>) {
        let (frames, code) = mallory.drain().await;
        drop(mallory);
        self.bystander.expect_chat_works().await;
        // The name is free again, so nothing of the connection is left.
        figures_when(&self.server, "mallory is gone", |figures| figures.value("chat_sessions", &[]) < 1.5).await;
        (frames.iter().map(|frame| String::from_utf8_lossy(&frame.payload).into_owned()).collect(), code)
    }

    async fn expect_close(&mut self, bytes: &[u8], code: u16) {
        assert_eq!(self.send(bytes).await, (vec![], Some(code)), "after {:?}", &bytes[..bytes.len().min(16)]);
    }

    /// The code of the only error in the answer to this text; the connection lives until the test closes it.
    async fn error_after(&mut self, text: &str) -> String {
        let close = raw::frame(raw::CLOSE, &1000_u16.to_be_bytes());
        let mut mallory = Raw::connect(&self.server, "/ws?clientId=mallory").await;
        mallory.send_text(text).await;
        let answer: serde_json::Value = serde_json::from_str(mallory.frame().await.unwrap().text()).unwrap();
        mallory.send(&close).await;
        assert_eq!(mallory.drain().await, (vec![], Some(1000)));
        self.bystander.expect_chat_works().await;
        assert_eq!(answer["type"], "error", "{answer}");
        answer["code"].as_str().unwrap().to_owned()
    }
}

#[actix::test]
async fn a_client_that_breaks_websocket_itself_is_closed_with_1002() {
    let mut scene = Scene::set().await;
    let text = br#"{"Message":"x"}"#;
    let unmasked = [&[raw::TEXT, 15][..], text].concat();
    scene.expect_close(&unmasked, 1002).await;
    for reserved in [0x40, 0x20, 0x10] {
        scene.expect_close(&raw::frame(raw::TEXT | reserved, text), 1002).await;
    }
    for opcode in [0x83, 0x87, 0x8b, 0x8f] {
        scene.expect_close(&raw::frame(opcode, text), 1002).await;
    }
    // Continuations without a beginning, and a text within another.
    scene.expect_close(&raw::frame(0x00, text), 1002).await;
    scene.expect_close(&raw::frame(0x80, text), 1002).await;
    scene.expect_close(&[raw::frame(0x01, b"{"), raw::frame(0x01, b"}")].concat(), 1002).await;
    scene.expect_close(&[raw::frame(0x01, b"{"), raw::frame(raw::TEXT, text)].concat(), 1002).await;
    // Control frames are short and not fragmented; a close code has two bytes.
    scene.expect_close(&raw::frame(raw::PING, &[b'x'; 126]), 1002).await;
    scene.expect_close(&raw::frame(0x09, b"x"), 1002).await;
    scene.expect_close(&raw::frame(raw::CLOSE, &[3]), 1002).await;
    // The server reads nothing after the error.
    scene.expect_close(&[unmasked, raw::frame(raw::TEXT, text)].concat(), 1002).await;
}

#[actix::test]
async fn text_that_is_not_utf8_closes_with_1007() {
    let mut scene = Scene::set().await;
    scene.expect_close(&raw::frame(raw::TEXT, b"\xff\xfe"), 1007).await;
    scene.expect_close(&raw::frame(raw::TEXT, b"{\"Message\":\"\xc3\"}"), 1007).await;
    // An overlong form, and half of a surrogate pair.
    scene.expect_close(&raw::frame(raw::TEXT, b"{\"Message\":\"\xc0\xaf\xed\xa0\x80\"}"), 1007).await;
    let fragments = [raw::frame(0x01, b"{\"Message\":\"\xc3"), raw::frame(0x80, b"\"}")].concat();
    scene.expect_close(&fragments, 1007).await;
    // A character in two fragments is complete.
    let whole = [raw::frame(0x01, b"{\"Message\":\"\xc3"), raw::frame(0x80, b"\xa9\"}")].concat();
    let (frames, code) = scene.send(&[whole, raw::frame(raw::CLOSE, b"")].concat()).await;
    assert!(frames.iter().all(|frame| frame.contains("\"Message\":\"é\"")), "{frames:?}");
    assert_eq!(code, Some(1000));
}

#[actix::test]
async fn a_binary_frame_closes_with_1003_whole_or_in_pieces() {
    let mut scene = Scene::set().await;
    scene.expect_close(&raw::frame(raw::BINARY, b"{}"), 1003).await;
    scene.expect_close(&raw::frame(raw::BINARY, b""), 1003).await;
    scene.expect_close(&raw::frame(0x02, b"{}"), 1003).await;
}

#[actix::test]
async fn a_frame_that_only_says_that_it_is_large_closes_with_1009() {
    let mut scene = Scene::set().await;
    for length in [131_073, 1 << 31, (1 << 32) + 1, (1 << 63) - 1] {
        // The payload never comes: the header is enough.
        let mut mallory = Raw::connect(&scene.server, "/ws?clientId=mallory").await;
        mallory.send(&raw::header(raw::TEXT, length)).await;
        assert_eq!(mallory.drain().await, (vec![], Some(1009)), "{length}");
    }
    scene.bystander.expect_chat_works().await;
}

#[actix::test]
async fn fragments_without_end_close_with_1009() {
    let mut scene = Scene::set().await;
    let mut flood = raw::frame(0x01, &[b'x'; 1_000]);
    for _ in 0..131 {
        flood.extend(raw::frame(0x00, &[b'x'; 1_000]));
    }
    scene.expect_close(&flood, 1009).await;
    // Empty fragments do not end a message either: frames after them are still answered, within their rate.
    let mut mallory = Raw::connect(&scene.server, "/ws?clientId=mallory").await;
    mallory.send(&raw::frame(0x01, b"")).await;
    mallory.send(&raw::frame(0x00, b"").repeat(3_000)).await;
    mallory.send(&raw::frame(raw::PING, b"?")).await;
    assert_eq!(mallory.frame().await.unwrap().payload, b"?");
}

#[actix::test]
async fn json_that_means_harm_is_an_error() {
    let mut scene = Scene::set().await;
    for text in [
        "{",
        "{\"Message\":",
        "{\"Message\":\"x\",}",
        "{'Message':'x'}",
        "{\"Message\":\"\\ud800\"}",
        "{\"Message\":\"\u{0}\"}",
        "{\"after\":1e999}",
        "{\"Message\":NaN}",
    ] {
        assert_eq!(scene.error_after(text).await, "bad_json", "{text}");
    }
    let nines = "9".repeat(100_000);
    for (text, code) in [
        (format!("{{\"x\":{}", "[".repeat(100_000)), "bad_json"),
        (format!("{{\"x\":{}{}}}", "[".repeat(60_000), "]".repeat(60_000)), "bad_json"),
        (format!("{{\"room\":{}", "{\"a\":".repeat(20_000)), "bad_json"),
        (format!("{{\"type\":\"history\",\"room\":\"a\",\"after\":{nines}}}"), "bad_json"),
        ("{\"type\":\"history\",\"room\":\"a\",\"after\":18446744073709551616}".to_owned(), "bad_request"),
        (format!("{{\"type\":\"{}\"}}", "x".repeat(100_000)), "unknown_type"),
        (format!("{{\"clientId\":\"{}\",\"Message\":\"x\"}}", "x".repeat(100_000)), "bad_name"),
        (format!("{{\"id\":\"{}\",\"type\":\"ping\"}}", "x".repeat(100_000)), "bad_request"),
        (format!("{{\"epoch\":\"{}\",\"type\":\"join\",\"room\":\"a\"}}", "x".repeat(100_000)), "bad_request"),
    ] {
        let got = scene.error_after(&text).await;
        assert!(got == code || got == "bad_request", "{got} for {}", &text[..40]);
    }
}

#[actix::test]
async fn a_client_that_vanishes_in_the_middle_of_a_frame_is_forgotten() {
    let mut scene = Scene::set().await;
    let whole = raw::frame(raw::TEXT, &[b'x'; 300]);
    for part in [1, 2, 3, 5, 7, 8, 100, whole.len() - 1] {
        let (frames, code) = scene.send_and_vanish(&whole[..part]).await;
        assert_eq!((frames.len(), code), (0, Some(1000)), "{part} bytes");
    }
    let (frames, code) = scene.send_and_vanish(&raw::frame(0x01, b"a fragment")).await;
    assert_eq!((frames.len(), code), (0, Some(1000)));
    let lost = |figures: &test_kit::Exposition| figures.value("chat_disconnects_total", &[("reason", "lost")]);
    figures_when(&scene.server, "nine are lost", |figures| lost(figures) > 8.5).await;
}

#[actix::test]
async fn who_says_nothing_more_still_gets_its_answers() {
    // Regression: they were dropped with the connection.
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_CLIENT_CREDITS", "4")]);
    let mut alice = Raw::connect(&server, "/ws?clientId=alice").await;
    let asked = |number| raw::frame(raw::TEXT, format!(r#"{{"Message":"{number}","id":"m-{number}"}}"#).as_bytes());
    alice.send(&(1..=200).flat_map(asked).collect::<Vec<u8>>()).await;
    alice.shut_down().await;
    let (frames, code) = alice.drain().await;
    let of = |kind: &str| frames.iter().filter(|frame| frame.text().contains(&format!("\"type\":\"{kind}\""))).count();
    assert_eq!((of("message"), of("ack"), code), (200, 200, Some(1000)));
    let figures = figures_when(&server, "it is gone", |figures| figures.value("chat_sessions", &[]) < 0.5).await;
    assert!(figures.value("chat_disconnects_total", &[("reason", "lost")]) > 0.5);
}

#[actix::test]
async fn half_a_handshake_and_a_request_that_never_ends_are_given_up() {
    let scene = Scene::set().await;
    let address = scene.server.address();
    let half = async {
        let mut mallory = Raw::open(address).await;
        mallory.send(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n").await;
        mallory.answer().await
    };
    let endless = async {
        let mut mallory = Raw::open(address).await;
        mallory.send(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n").await;
        let (mut writing, mut reading) = mallory.split();
        // One more header at intervals, without end.
        let headers = async {
            loop {
                writing.send(b"X: y\r\n").await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            answer = reading.answer() => answer,
            () = headers => unreachable!("headers have no end"),
        }
    };
    let silent = async { Raw::open(address).await.end().await };
    let (half, endless, silent) = tokio::join!(half, endless, silent);
    let timed_out = |answer: &HttpAnswer| answer.status == 408;
    assert!(timed_out(&half) && timed_out(&endless), "{half:?} {endless:?}");
    assert!(silent < 200, "who says nothing is told at most that it took too long");
    let mut bystander = scene.bystander;
    bystander.expect_chat_works().await;
}

#[actix::test]
async fn http_that_is_none_is_refused() {
    let mut scene = Scene::set().await;
    for request in [
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\r\n\r\n".to_owned(),
        "hello\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "GET /ws HTTP/1.1\r\nno colon\r\n\r\n".to_owned(),
        "GET /ws HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(200_000)),
        format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(50_000)),
    ] {
        let mut mallory = Raw::open(scene.server.address()).await;
        mallory.send(request.as_bytes()).await;
        let answer = mallory.answer().await;
        assert!((400..500).contains(&answer.status), "{answer:?} to {:?}", &request[..request.len().min(40)]);
        scene.bystander.expect_chat_works().await;
    }
}

#[actix::test]
async fn a_body_that_never_comes_is_not_waited_for() {
    let mut scene = Scene::set().await;
    for (path, status, code) in [
        ("/api/rooms", 405, "method_not_allowed"),
        ("/ws", 405, "method_not_allowed"),
        ("/nothing", 404, "no_such_path"),
    ] {
        let mut mallory = Raw::open(scene.server.address()).await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx");
        mallory.send(head.as_bytes()).await;
        mallory.answer().await.expect_refusal(status, code);
        assert_eq!(mallory.end().await, 0, "the answer is the end");
        scene.bystander.expect_chat_works().await;
    }
}

#[actix::test]
async fn what_comes_right_behind_the_handshake_is_read() {
    let scene = Scene::set().await;
    let mut alice = Raw::open(scene.server.address()).await;
    let mut bytes = b"GET /ws?clientId=alice HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    bytes.extend(raw::frame(raw::TEXT, br#"{"Message":"early"}"#));
    alice.send(&bytes).await;
    let answer = alice.answer().await;
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(alice.frame().await.unwrap().text().contains("\"welcome\""));
    assert!(alice.frame().await.unwrap().text().contains("\"early\""));
}
