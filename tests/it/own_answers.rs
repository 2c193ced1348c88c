//! A client's own requests never make it a slow consumer: its next command waits until there is room.

use std::fmt::Write as _;

use test_kit::Client;
use test_kit::raw::{self, Raw};

use crate::harness::TestServer;

/// Sends all questions on one connection at once and reads as fast as possible: each must be answered, in order.
async fn ask_at_once(server: &TestServer, path: &str, questions: Vec<String>, is_answer: impl Fn(&str) -> bool) {
    let mut asking = Raw::open_narrow(server.address()).await.shake_hands(path).await;
    asking.frame().await.unwrap();
    let (mut writing, mut reading) = asking.split();
    let frames: Vec<u8> = questions.iter().flat_map(|question| raw::frame(raw::TEXT, question.as_bytes())).collect();
    let answering = async {
        let mut answers = 0;
        while answers < questions.len() {
            let frame = reading.frame().await.unwrap_or_else(|| panic!("{path}: ended after {answers} answers"));
            assert_eq!(frame.close_code(), None, "{path}: after {answers} answers of {}", questions.len());
            answers += usize::from(is_answer(frame.text()));
        }
    };
    tokio::join!(writing.send(&frames), answering);
}

/// Sends this many messages of this many bytes in a room, and returns its epoch.
async fn fill(server: &TestServer, room: &str, messages: usize, bytes: usize) -> String {
    let mut alice = Client::connect(server, &format!("/ws?clientId=alice-{room}")).await;
    alice.send_text(&format!(r#"{{"type":"join","room":"{room}"}}"#)).await;
    let joined = alice.expect(r#"{"type":"joined"}"#).await;
    let text = "x".repeat(bytes);
    for _ in 0..messages {
        alice.send_text(&format!(r#"{{"room":"{room}","Message":"{text}"}}"#)).await;
        alice.expect(r#"{"type":"message"}"#).await;
    }
    joined["epoch"].as_str().unwrap().to_owned()
}

/// No rate limit for questions; otherwise the defaults.
const ANY_RATE: (&str, &str) = ("CHAT_MESSAGES_PER_SECOND", "0");
/// The smallest outbox.
const SMALL_OUTBOX: (&str, &str) = ("CHAT_OUTBOX_BYTES", "262144");

#[actix::test]
async fn pages_of_history_that_are_asked_for_at_once_all_come() {
    for (history, small) in [("memory", false), ("sqlite", false), ("memory", true)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        let mut variables = vec![("CHAT_HISTORY", history), ("CHAT_HISTORY_PATH", path.to_str().unwrap()), ANY_RATE];
        variables.extend(small.then_some(SMALL_OUTBOX));
        let server = TestServer::start(&variables);
        fill(&server, "dev", 200, 1_024).await;
        let questions = |question: &str| vec![question.to_owned(); 60];
        let json = questions(r#"{"type":"history","room":"dev","limit":200}"#);
        ask_at_once(&server, "/ws/dev", json, |text| text.starts_with(r#"{"type":"history""#)).await;
        let lines = questions("/history 200");
        ask_at_once(&server, "/ws/dev?format=text", lines, |text| text.contains("alice-dev: x")).await;
    }
}

#[actix::test]
async fn lists_that_are_asked_for_at_once_all_come() {
    let server = TestServer::start(&[ANY_RATE, SMALL_OUTBOX]);
    let mut members = Vec::new();
    for number in 0..300 {
        members.push(Raw::connect(&server, &format!("/ws/crowded?clientId={number:0>64}")).await);
    }
    let mut rooms = Client::connect(&server, "/ws?clientId=bob").await;
    for number in 0..63 {
        rooms.send_text(&format!(r#"{{"type":"join","room":"{number:0>64}"}}"#)).await;
        rooms.expect(r#"{"type":"joined"}"#).await;
    }
    let members = vec![r#"{"type":"members","room":"crowded"}"#.to_owned(); 60];
    ask_at_once(&server, "/ws", members, |text| text.starts_with(r#"{"type":"members""#)).await;
    let rooms = vec![r#"{"type":"rooms"}"#.to_owned(); 60];
    ask_at_once(&server, "/ws", rooms, |text| text.starts_with(r#"{"type":"rooms""#)).await;
}

#[actix::test]
async fn what_a_client_says_comes_back_to_it_however_much_it_says_at_once() {
    for (bytes, count) in [(14_000, 200), (10, 20_000)] {
        let credits = ("CHAT_CLIENT_CREDITS", "65536");
        let server = TestServer::start(&[ANY_RATE, SMALL_OUTBOX, credits, ("CHAT_SERVER_CREDITS", "100000")]);
        let message = format!(r#"{{"Message":"{}"}}"#, "x".repeat(bytes));
        let messages = vec![message; count];
        ask_at_once(&server, "/ws", messages, |text| text.starts_with(r#"{"type":"message""#)).await;
        let pings = vec![format!(r#"{{"type":"ping","id":"{}"}}"#, "p".repeat(64)); count];
        ask_at_once(&server, "/ws", pings, |text| text.starts_with(r#"{"type":"pong""#)).await;
    }
}

#[actix::test]
async fn what_was_missed_in_many_rooms_comes_though_all_are_joined_at_once() {
    let server = TestServer::start(&[ANY_RATE, SMALL_OUTBOX]);
    let mut questions = Vec::new();
    for number in 0..30 {
        let epoch = fill(&server, &format!("room-{number}"), 100, 1_000).await;
        let mut question = String::new();
        write!(question, r#"{{"type":"join","room":"room-{number}","after":0,"epoch":"{epoch}"}}"#).unwrap();
        questions.push(question);
    }
    let mut asking = Raw::open_narrow(server.address()).await.shake_hands("/ws").await;
    asking.frame().await.unwrap();
    let (mut writing, mut reading) = asking.split();
    let frames: Vec<u8> = questions.iter().flat_map(|question| raw::frame(raw::TEXT, question.as_bytes())).collect();
    let answering = async {
        let (mut joined, mut messages) = (0, 0);
        while (joined, messages) != (30, 3_000) {
            let frame = reading.frame().await.unwrap_or_else(|| panic!("ended: {joined} rooms, {messages} messages"));
            assert_eq!(frame.close_code(), None, "{joined} rooms, {messages} messages");
            joined += usize::from(frame.says(r#""recovered":true"#));
            messages += usize::from(frame.says(r#""type":"message""#));
        }
    };
    tokio::join!(writing.send(&frames), answering);
}

#[actix::test]
async fn a_message_as_long_as_may_be_fits_into_the_smallest_frame_that_goes_with_it_however_it_is_escaped() {
    for bytes in [1_u64, 500, 10_000] {
        let frame_bytes = (6 * bytes + 2_048).max(4_096).to_string();
        let message_bytes = bytes.to_string();
        let variables = [("CHAT_MESSAGE_BYTES", message_bytes.as_str()), ("CHAT_FRAME_BYTES", frame_bytes.as_str())];
        let server = TestServer::start(&variables);
        let escaped = |character: char, count: usize| format!("\\u{:04x}", u32::from(character)).repeat(count);
        let name = escaped('n', 64);
        let mut client = Client::connect(&server, "/ws").await;
        client.send_text(&format!(r#"{{"type":"join","room":"{}"}}"#, escaped('r', 64))).await;
        client.expect(r#"{"type":"joined"}"#).await;
        let (room, id) = (escaped('r', 64), "\\ud83e\\udd89".repeat(64));
        let text = escaped('\u{1}', usize::try_from(bytes).unwrap());
        let message =
            format!(r#"{{"type":"message","clientId":"{name}","room":"{room}","id":"{id}","Message":"{text}"}}"#);
        client.send_text(&message).await;
        // Either the message or its ack comes first.
        while !client.text().await.starts_with(r#"{"type":"message""#) {}
    }
}
