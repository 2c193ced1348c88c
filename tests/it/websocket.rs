//! WebSocket as in RFC 6455, byte by byte: forbidden frames, and the frames that a client still gets before the close.

use serde_json::Value;
use test_kit::Client;
use test_kit::raw::{self, Raw, RawFrame};

use crate::harness::TestServer;

const CONTINUATION: u8 = 0x00;
const FIRST: u8 = 0x01;
const LAST: u8 = 0x80;
const PONG: u8 = 0x8a;

fn text(text: &str) -> Vec<u8> {
    raw::frame(raw::TEXT, text.as_bytes())
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    raw::frame(raw::CLOSE, &[&code.to_be_bytes()[..], reason].concat())
}

fn said(frames: &[RawFrame]) -> Vec<Value> {
    frames.iter().filter_map(|frame| serde_json::from_slice(&frame.payload).ok()).collect()
}

fn types(frames: &[RawFrame]) -> Vec<String> {
    said(frames).iter().map(|frame| frame["type"].as_str().unwrap().to_owned()).collect()
}

/// A length in a longer form than necessary.
fn long_length(form: u8, length: u64) -> Vec<u8> {
    let mut out = vec![raw::TEXT, 0x80 | form];
    let bytes = length.to_be_bytes();
    out.extend(if form == 126 { &bytes[6..] } else { &bytes[..] });
    out.extend([0; 4]);
    out.extend(vec![b'x'; usize::try_from(length).unwrap_or(0).min(200)]);
    out
}

/// Everything that a client must not send: a name, the bytes, and the expected close code.
fn bad_frames() -> Vec<(&'static str, Vec<u8>, u16)> {
    let mut bad = vec![
        ("an unmasked frame", [&[raw::TEXT, 2][..], b"{}"].concat(), 1002),
        ("an unmasked ping", vec![raw::PING, 0], 1002),
        ("a continuation of nothing", raw::frame(LAST, b"x"), 1002),
        ("a part of nothing", raw::frame(CONTINUATION, b"x"), 1002),
        ("a text within another", [raw::frame(FIRST, b"{"), text("{}")].concat(), 1002),
        ("a first part within a text", [raw::frame(FIRST, b"{"), raw::frame(FIRST, b"{")].concat(), 1002),
        ("a binary within a text", [raw::frame(FIRST, b"{"), raw::frame(raw::BINARY, b"")].concat(), 1002),
        ("a ping in parts", raw::frame(0x09, b"x"), 1002),
        ("a close in parts", raw::frame(0x08, &1000_u16.to_be_bytes()), 1002),
        // Their headers are enough.
        ("a ping of 126 bytes", raw::header(raw::PING, 126), 1002),
        ("a pong of 70,000 bytes", raw::header(PONG, 70_000), 1002),
        ("a close of 126 bytes", raw::header(raw::CLOSE, 126), 1002),
        ("16 bits of length for 0 bytes", long_length(126, 0), 1002),
        ("16 bits of length for 125 bytes", long_length(126, 125), 1002),
        ("64 bits of length for 5 bytes", long_length(127, 5), 1002),
        ("64 bits of length for 65,535 bytes", long_length(127, 65_535), 1002),
        ("a length with its highest bit", raw::header(raw::TEXT, 1 << 63), 1002),
        ("the longest length", raw::header(raw::TEXT, u64::MAX), 1002),
        ("a text that is too long", raw::header(raw::TEXT, 131_073), 1009),
        ("a part that is too long", [raw::frame(FIRST, b"{"), raw::header(LAST, 131_072)].concat(), 1009),
        ("a binary frame", raw::frame(raw::BINARY, b"{}"), 1003),
        ("the header of a large binary frame", raw::header(raw::BINARY, 100_000), 1003),
        ("a binary frame in parts", raw::frame(0x02, b"{}"), 1003),
        ("a close with one byte", raw::frame(raw::CLOSE, &[3]), 1002),
        ("a close reason that is not UTF-8", close(1000, b"\xff"), 1007),
        ("a text that is not UTF-8", raw::frame(raw::TEXT, b"\"\xc3\""), 1007),
        ("a text that ends in a character", raw::frame(raw::TEXT, b"\"\xc3"), 1007),
        ("parts that end in a character", [raw::frame(FIRST, b"\xe2"), raw::frame(LAST, b"\x82")].concat(), 1007),
        ("a surrogate in parts", [raw::frame(FIRST, b"\xed"), raw::frame(LAST, b"\xa0\x80")].concat(), 1007),
    ];
    for bits in [0x10, 0x20, 0x30, 0x40, 0x70] {
        for opcode in [raw::TEXT, raw::PING, raw::CLOSE] {
            bad.push(("a reserved bit", raw::frame(opcode | bits, b""), 1002));
        }
        bad.push(("a reserved bit in a part", [raw::frame(FIRST, b""), raw::frame(LAST | bits, b"")].concat(), 1002));
    }
    for opcode in (0x83..=0x87).chain(0x8b..=0x8f) {
        bad.push(("a reserved opcode", raw::frame(opcode, b""), 1002));
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX] {
        bad.push(("a close code that may not travel", close(code, b""), 1002));
    }
    bad
}

#[actix::test]
async fn a_good_frame_before_a_bad_one_is_answered_before_the_close() {
    let server = TestServer::start(&[]);
    let mut bob = Client::connect(&server, "/ws/calm?clientId=bob").await;
    let good =
        [text(r#"{"Message":"hi","id":"1"}"#), raw::frame(raw::PING, b"?"), text(r#"{"type":"rooms","id":"2"}"#)];
    for (name, bad, code) in bad_frames() {
        let mut mallory = Raw::connect(&server, "/ws").await;
        // The server reads nothing after the bad frame.
        mallory.send(&[good.concat(), bad, text(r#"{"Message":"never","id":"3"}"#)].concat()).await;
        let (frames, closed_with) = mallory.drain().await;
        assert_eq!(closed_with, Some(code), "{name}");
        let mut got = types(&frames);
        got.sort_unstable();
        assert_eq!(got, ["ack", "message", "rooms"], "{name}: {frames:?}");
        assert!(frames.iter().any(|frame| frame.opcode == PONG && frame.payload == b"?"), "{name}: {frames:?}");
    }
    bob.expect_chat_works().await;
}

#[actix::test]
async fn a_message_and_a_goodbye_in_one_write_get_delivery_and_ack_before_the_close() {
    let folder = tempfile::tempdir().unwrap();
    let stored = folder.path().join("chat.db");
    let stored = [("CHAT_HISTORY", "sqlite"), ("CHAT_HISTORY_PATH", stored.to_str().unwrap())];
    // With the stored history, the answers come after a commit.
    for variables in [&[][..], &stored] {
        let server = TestServer::start(variables);
        let mut bob = Raw::connect(&server, "/ws?clientId=bob").await;
        let goodbyes = [
            (close(1000, b"bye"), 1000),
            (raw::frame(raw::CLOSE, b""), 1000),
            (close(3000, b""), 1000),
            (close(4999, b""), 1000),
            // Frames after a close are ignored, however invalid they are.
            ([close(1001, b""), text("x"), vec![0xff; 20]].concat(), 1000),
            (text("/quit"), 1000),
        ];
        for (number, (goodbye, code)) in goodbyes.into_iter().enumerate() {
            let ask = |id: usize| text(&format!(r#"{{"Message":"{number}","id":"{number}-{id}"}}"#));
            let mut alice = Raw::connect(&server, "/ws?clientId=alice").await;
            let asked: Vec<u8> = (0..20).flat_map(ask).collect();
            alice.send(&[asked, goodbye].concat()).await;
            let (frames, closed_with) = alice.drain().await;
            assert_eq!(closed_with, Some(code), "goodbye {number}");
            let count = |kind: &str| types(&frames).iter().filter(|other| *other == kind).count();
            assert!(number == 5 || (count("message"), count("ack")) == (20, 20), "goodbye {number}: {frames:?}");
            for _ in 0..20 {
                let frame: Value = serde_json::from_str(bob.frame().await.unwrap().text()).unwrap();
                let text = number.to_string();
                assert_eq!((frame["clientId"].as_str(), frame["Message"].as_str()), (Some("alice"), Some(&*text)));
            }
        }
    }
}

#[actix::test]
async fn the_newest_of_many_pings_is_always_answered() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "2"), ("CHAT_BURST", "3")]);
    let pings = |count: u32| -> Vec<u8> {
        (1..=count).flat_map(|number| raw::frame(raw::PING, &number.to_be_bytes())).collect()
    };
    for count in [1, 3, 4, 50] {
        // The connection stays, is closed or breaks: the newest ping is answered first.
        for (ending, code) in [(vec![], None), (close(1000, b""), Some(1000)), (vec![0xff; 2], Some(1002))] {
            let mut alice = Raw::connect(&server, "/ws").await;
            alice.send(&[pings(count), ending].concat()).await;
            let newest = count.to_be_bytes();
            let mut pongs = 0;
            loop {
                let pong = alice.frame().await.unwrap();
                assert_eq!(pong.opcode, PONG, "{count} {code:?}");
                pongs += 1;
                if pong.payload == newest {
                    break;
                }
            }
            // On a slow machine, the limit allows some more.
            assert!(pongs <= 10, "{pongs} pongs for {count} pings");
            if code.is_some() {
                assert_eq!(alice.drain().await, (vec![], code), "{count}");
            }
        }
    }
}

#[actix::test]
async fn a_bad_byte_in_a_text_without_end_is_refused_when_it_comes() {
    let server = TestServer::start(&[]);
    let bad = b"\"\xc3\xa9\xff";
    let starts = [
        ("in a first part", raw::frame(FIRST, bad)),
        ("in a later part", [raw::frame(FIRST, b"\"\xc3"), raw::frame(CONTINUATION, b"\xa9\xff")].concat()),
        (
            "at a cut",
            [raw::frame(FIRST, b"\"\xe2"), raw::frame(CONTINUATION, b"\x82"), raw::frame(CONTINUATION, b"x")].concat(),
        ),
        ("in a frame whose rest has not come", [raw::header(raw::TEXT, 100_000), bad.to_vec()].concat()),
        (
            "in a part whose rest has not come",
            [raw::frame(FIRST, b"\xc3"), raw::header(LAST, 9), b"\xa9\xff".to_vec()].concat(),
        ),
    ];
    for (name, start) in starts {
        let mut mallory = Raw::connect(&server, "/ws").await;
        mallory.send(&start).await;
        // No more bytes come, but the connection is closed nevertheless.
        assert_eq!(mallory.drain().await, (vec![], Some(1007)), "{name}");
    }
}

#[actix::test]
async fn json_behind_something_invisible_is_refused_and_never_said() {
    let server = TestServer::start(&[]);
    let mut bob = Raw::connect(&server, "/ws?clientId=bob").await;
    let mut alice = Raw::connect(&server, "/ws?clientId=alice").await;
    let invisible = [
        "\u{feff}",
        "\u{a0}",
        "\u{200b}",
        "\0",
        "\u{2028}",
        "\u{2029}",
        "\u{85}",
        "\u{200e}",
        "\u{2060}",
        "\u{ad}",
        "\u{3000}",
        "\u{1b}",
        "\u{fffe}",
        "\u{fffd}",
        "\u{e0001}",
        "\u{180e}",
        "\u{feff}\u{feff}",
        " \u{feff}\t",
    ];
    for before in invisible {
        alice.send_text(&format!(r#"{before}{{"type":"hello","clientId":"alice","token":"secret"}}"#)).await;
        let answer: Value = serde_json::from_str(alice.frame().await.unwrap().text()).unwrap();
        assert_eq!((&answer["type"], &answer["code"]), (&"error".into(), &"bad_json".into()), "{before:?}: {answer}");
        // A valid JSON frame, so that the errors do not accumulate.
        alice.send_text(r#"{"type":"ping"}"#).await;
        assert!(alice.frame().await.unwrap().says("pong"));
    }
    for blank in ["", " ", "\r\n\t"] {
        alice.send_text(&format!(r#"{blank}{{"Message":"seen"}}"#)).await;
        assert!(alice.frame().await.unwrap().says("seen"));
        assert!(bob.frame().await.unwrap().says("seen"), "bob has read nothing before it");
    }
    // The rule is only for invisible characters: a person may write a brace.
    alice.send_text("\u{feff}so {\"a\"}").await;
    assert!(bob.frame().await.unwrap().says("so {"));
}

#[actix::test]
async fn control_frames_between_the_parts_of_a_text_are_answered_at_once() {
    let server = TestServer::start(&[]);
    let mut alice = Raw::connect(&server, "/ws").await;
    alice
        .send(&[raw::frame(FIRST, b"{\"Message\":"), raw::frame(raw::PING, b"1"), raw::frame(PONG, b"x")].concat())
        .await;
    assert_eq!(alice.frame().await.unwrap().payload, b"1");
    alice
        .send(&[raw::frame(CONTINUATION, b""), raw::frame(raw::PING, b"2"), raw::frame(LAST, b"\"hi\"}")].concat())
        .await;
    let got = [alice.frame().await.unwrap(), alice.frame().await.unwrap()];
    assert!(got.iter().any(|frame| frame.payload == b"2") && got.iter().any(|frame| frame.says("hi")), "{got:?}");
    // A close frame between the fragments is valid.
    alice.send(&[raw::frame(FIRST, b"{"), close(1000, b""), raw::frame(LAST, b"}")].concat()).await;
    assert_eq!(alice.drain().await, (vec![], Some(1000)));
}
