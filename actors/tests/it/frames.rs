//! From frames to members and back.

use starling_actors::frame::Format;
use starling_actors::metrics::DisconnectReason;
use starling_protocol::console;
use test_kit::raw::{BINARY, CLOSE, PING, fragments, frame, text_frame};
use test_kit::wait_until;

use crate::server::{Connect, Server};

#[actix::test]
async fn every_member_gets_every_message_in_the_same_order() {
    let server = Server::start(|_| {});
    let mut clients = server.clients(&["alice", "bob", "carol"]).await;
    for _ in 0..40 {
        clients.push(server.connect(Connect::guest()).await);
    }
    for client in &mut clients[..3] {
        let mut frames = Vec::new();
        for number in 0..20 {
            frames.extend_from_slice(&text_frame(&format!(r#"{{"Message":"{number}"}}"#)));
        }
        client.write(&frames).await;
    }
    let first = clients[0].lines(60).await;
    for (number, line) in first.iter().enumerate() {
        assert!(line.starts_with(&format!("#{} ", number + 1)), "{line}");
    }
    for sender in ["alice", "bob", "carol"] {
        let own = first.iter().filter_map(|line| line.split_once(&format!("{sender}: "))).map(|(_, text)| text);
        assert!(own.eq((0..20).map(|number| number.to_string())), "the order of {sender}: {first:?}");
    }
    for client in &mut clients[1..] {
        assert_eq!(client.lines(60).await, first);
    }
    assert_eq!(server.metrics.deliveries(), 60 * 43);
    server.quiet().await;
}

#[actix::test]
async fn a_message_is_the_same_frame_for_all_programs_and_the_same_line_for_all_people() {
    let server = Server::start(|_| {});
    let mut programs = server.clients(&["alice", "bob"]).await;
    let person = Connect { format: Format::Text, ..Connect::named("carol") };
    let mut people = vec![server.connect(person.clone()).await];
    people.push(server.connect(Connect { name: Some("dave"), ..person }).await);
    programs[0].say("one").await;
    programs[0].send(r#"{"Message":"two","id":"m2"}"#).await;
    programs[1].lines(2).await;
    for (reader, expected) in people.iter_mut().zip(["carol", "dave"]) {
        assert!(reader.texts[0].starts_with(b"* welcome to starling"), "{expected}");
        assert_eq!(reader.lines(2).await, ["[lobby] alice: one", "[lobby] alice: two"]);
    }
    let mut own = programs[0].lines(3).await;
    own.sort();
    assert_eq!(own, ["#1 alice: one", "#2 alice: two", "ack m2"]);
    for text in &programs[1].texts[1..] {
        assert!(programs[0].texts.contains(text), "{text:?}");
    }
}

#[actix::test]
async fn a_person_who_types_into_a_connection_for_programs_is_answered_in_lines_until_it_sends_json_again() {
    let server = Server::start(|_| {});
    let mut client = server.connect(Connect::named("alice")).await;
    client.send("hello\n").await;
    assert_eq!(client.line().await, "[lobby] alice: hello");
    client.send("/who").await;
    assert_eq!(client.line().await, "* 1 in lobby: alice");
    client.send("/join dev").await;
    assert_eq!(client.line().await, "* you are in dev, 1 here");
    client.send("in here").await;
    assert_eq!(client.line().await, "[dev] alice: in here");
    client.send("/help").await;
    // One line a frame.
    let help: Vec<&str> = console::HELP.lines().collect();
    assert_eq!(client.lines(help.len()).await, help);
    client.send(r#"{"type":"ping"}"#).await;
    assert_eq!(client.line().await, "pong");
    client.send("/quit").await;
    assert_eq!(client.lines(2).await, ["closed 1000", "end"]);
}

#[actix::test]
async fn a_text_in_fragments_is_one_message_and_a_ping_between_them_is_answered() {
    let server = Server::start(|_| {});
    let mut clients = server.clients(&["alice", "bob"]).await;
    let parts = fragments(&[r#"{"Mess"#, r#"age":"in th"#, "", "ree p", r#"arts"}"#]);
    let first_part = text_frame(r#"{"Mess"#).len();
    let mut frames = parts[..first_part].to_vec();
    frames.extend_from_slice(&frame(PING, b"still here?"));
    frames.extend_from_slice(&parts[first_part..]);
    clients[0].write(&frames).await;
    assert_eq!(clients[0].lines(2).await, ["pong still here?", "#1 alice: in three parts"]);
    assert_eq!(clients[1].line().await, "#1 alice: in three parts");
}

#[actix::test]
async fn a_frame_that_comes_byte_by_byte_is_one_message() {
    let server = Server::start(|_| {});
    let mut clients = server.clients(&["alice", "bob"]).await;
    let mut frames = text_frame(r#"{"Message":"slowly"}"#);
    // A long one, whose header has a length of its own.
    let long = "y".repeat(300);
    frames.extend_from_slice(&text_frame(&format!(r#"{{"Message":"{long}"}}"#)));
    for byte in frames.chunks(1) {
        clients[0].write(byte).await;
        // Other clients are served between the bytes.
        tokio::task::yield_now().await;
    }
    for client in &mut clients {
        assert_eq!(client.lines(2).await, ["#1 alice: slowly".to_owned(), format!("#2 alice: {long}")]);
    }
}

#[actix::test]
async fn many_frames_in_one_write_are_answered_in_their_order() {
    let server = Server::start(|_| {});
    let mut client = server.connect(Connect::named("alice")).await;
    let mut frames = Vec::new();
    for number in 1..=200 {
        let room = number % 10;
        frames.extend_from_slice(&text_frame(&format!(r#"{{"type":"join","room":"room-{room}"}}"#)));
        frames.extend_from_slice(&text_frame(&format!(r#"{{"Message":"{number}","room":"room-{room}"}}"#)));
        frames.extend_from_slice(&text_frame(&format!(r#"{{"type":"leave","room":"room-{room}"}}"#)));
        if number % 50 == 0 {
            frames.extend_from_slice(&text_frame("{nonsense"));
        }
    }
    client.write(&frames).await;
    for number in 1..=200 {
        let (room, seq) = (number % 10, (number - 1) / 10 + 1);
        let expected = [format!("joined room-{room}"), format!("#{seq} alice: {number}"), format!("left room-{room}")];
        assert_eq!(client.lines(3).await, expected);
        if number % 50 == 0 {
            assert_eq!(client.line().await, "error bad_json");
        }
    }
    server.quiet().await;
}

#[actix::test]
async fn a_frame_may_be_as_large_as_a_frame_may_be_and_not_one_byte_larger() {
    let sized = |bytes: usize| format!(r#"{{"type":"ping"{}}}"#, " ".repeat(bytes - 15));
    assert_eq!(sized(1_000).len(), 1_000);
    for in_fragments in [false, true] {
        let server = Server::start(|config| config.frame_bytes = 1_000);
        let mut client = server.connect(Connect::guest()).await;
        let encode = |text: &str| {
            if in_fragments { fragments(&[&text[..600], &text[600..]]) } else { text_frame(text) }
        };
        client.write(&encode(&sized(1_000))).await;
        assert_eq!(client.line().await, "pong");
        client.write(&encode(&sized(1_001))).await;
        assert_eq!(client.lines(2).await, ["closed 1009", "end"], "{in_fragments}");
        server.connections(0).await;
        assert_eq!(server.metrics.disconnects(DisconnectReason::FrameTooLarge), 1);
    }
}

#[actix::test]
async fn a_frame_that_only_says_it_is_large_is_closed_before_it_has_come() {
    let server = Server::start(|config| config.frame_bytes = 1_000);
    let mut client = server.connect(Connect::guest()).await;
    let mut frame = text_frame(&"x".repeat(100_000));
    frame.truncate(2_000);
    client.write(&frame).await;
    assert_eq!(client.line().await, "closed 1009");
}

#[actix::test]
async fn a_message_may_be_as_long_as_a_message_may_be_and_not_one_byte_longer() {
    let server = Server::start(|config| config.message_bytes = 100);
    let mut client = server.connect(Connect::named("alice")).await;
    // Bytes count, not characters.
    let fits = "ü".repeat(50);
    client.say(&fits).await;
    assert_eq!(client.line().await, format!("#1 alice: {fits}"));
    client.say(&format!("{fits}!")).await;
    assert_eq!(client.line().await, "error message_too_large");
}

#[actix::test]
async fn what_breaks_the_rules_of_websocket_is_closed_with_the_code_that_says_which_one() {
    let unmasked = {
        let mut bytes = text_frame("hello");
        bytes[1] &= 0x7f;
        bytes
    };
    let not_utf8 = {
        let mut bytes = text_frame("hello");
        bytes[7] ^= 0x80;
        bytes
    };
    let mut fragments_not_utf8 = fragments(&["hello ", "world"]);
    *fragments_not_utf8.last_mut().unwrap() ^= 0x80;
    let binary = frame(BINARY, b"hello");
    let goodbye = frame(CLOSE, &1000_u16.to_be_bytes());
    let continuation_of_nothing = fragments(&["a", "b"])[text_frame("a").len()..].to_vec();
    for (bytes, code, reason) in [
        (unmasked, 1002, DisconnectReason::ProtocolError),
        (continuation_of_nothing, 1002, DisconnectReason::ProtocolError),
        (not_utf8, 1007, DisconnectReason::NotUtf8),
        (fragments_not_utf8, 1007, DisconnectReason::NotUtf8),
        (binary, 1003, DisconnectReason::BinaryFrame),
        (goodbye, 1000, DisconnectReason::Client),
    ] {
        let server = Server::start(|_| {});
        let mut clients = server.clients(&["alice", "bob"]).await;
        let mut frames = bytes;
        // Later frames are ignored, even if they arrive together with it.
        frames.extend_from_slice(&text_frame(r#"{"Message":"too late"}"#));
        clients[0].write(&frames).await;
        assert_eq!(clients[0].lines(2).await, [format!("closed {code}"), "end".into()]);
        clients[1].say("what was that?").await;
        assert_eq!(clients[1].line().await, "#1 bob: what was that?", "{code}");
        server.connections(1).await;
        assert_eq!(server.metrics.disconnects(reason), 1, "{code}");
    }
}

#[actix::test]
async fn a_private_message_goes_to_two_connections_and_a_name_that_is_taken_opens_none() {
    let server = Server::start(|_| {});
    let mut clients = server.clients(&["alice", "bob", "carol"]).await;
    clients[0].send(r#"{"Message":"psst","to":"bob"}"#).await;
    assert_eq!(clients[0].line().await, "private alice: psst");
    assert_eq!(clients[1].line().await, "private alice: psst");
    clients[2].send(r#"{"type":"ping"}"#).await;
    assert_eq!(clients[2].line().await, "pong");
    assert!(server.open(Connect::named("alice")).await.is_err());
    assert_eq!(server.metrics.connections(), 3);
}

#[actix::test]
async fn frames_above_the_rate_are_refused_and_pings_above_it_are_not_answered() {
    let server = Server::start(|config| (config.messages_per_second, config.burst) = (1, 3));
    let mut client = server.connect(Connect::named("alice")).await;
    let mut frames = Vec::new();
    for number in 1..=5 {
        frames.extend_from_slice(&text_frame(&format!(r#"{{"Message":"{number}","id":"m{number}"}}"#)));
    }
    frames.extend_from_slice(&frame(PING, b""));
    client.write(&frames).await;
    let mut lines = client.lines(8).await;
    lines.sort();
    let expected = [
        "#1 alice: 1",
        "#2 alice: 2",
        "#3 alice: 3",
        "ack m1",
        "ack m2",
        "ack m3",
        "error rate_limited",
        "error rate_limited",
    ];
    assert_eq!(lines, expected);
    wait_until("all is read", || server.metrics.backlog() == 0).await;
}
