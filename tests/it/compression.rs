//! permessage-deflate (RFC 7692) over real sockets: negotiation, compression, and the cost of a decompression bomb.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use test_kit::Exposition;
use test_kit::raw::{self, Raw, RawFrame};

use crate::harness::TestServer;

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
const COMPRESSED_TEXT: u8 = 0xc1;

fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 100);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

/// The text of a frame, inflated on its own: it depends on no other frame.
fn inflated(frame: &RawFrame) -> String {
    if frame.opcode != COMPRESSED_TEXT {
        assert_eq!(frame.opcode, raw::TEXT);
        return frame.text().to_owned();
    }
    let mut out = Vec::with_capacity(1_000_000);
    let input = [&frame.payload[..], &[0, 0, 0xff, 0xff]].concat();
    Decompress::new(false).decompress_vec(&input, &mut out, FlushDecompress::Sync).unwrap();
    String::from_utf8(out).unwrap()
}

/// A client that accepts compressed frames and has read its welcome.
async fn connect(server: &TestServer, path: &str) -> Raw {
    let mut raw = Raw::open(server.address()).await;
    let answer = raw.ask_for_websocket(path, OFFER).await;
    assert_eq!(answer.status, 101);
    let accepted = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(answer.header("sec-websocket-extensions"), Some(accepted));
    // The welcome contains the client's key, so it is not compressed: a compressed length could reveal it.
    let welcome = raw.frame().await.unwrap();
    assert!(welcome.opcode == raw::TEXT && welcome.payload.len() > 256 && welcome.says("\"welcome\""), "{welcome:?}");
    raw
}

fn message(text: &str) -> Vec<u8> {
    format!(r#"{{"Message":"{text}"}}"#).into_bytes()
}

#[actix::test]
async fn a_message_is_compressed_once_for_all_who_take_it_and_plain_for_the_others() {
    let server = TestServer::start(&[]);
    let mut plain = Raw::connect(&server, "/ws?clientId=plain").await;
    let mut takers = Vec::new();
    for number in 0..20 {
        takers.push(connect(&server, &format!("/ws?clientId=taker{number}")).await);
    }
    let before = Exposition::scrape(&server).await.value("chat_compression_input_bytes_total", &[]);
    let text = "the quick brown fox ".repeat(30);
    let said = message(&text);
    takers[0].send(&raw::frame(COMPRESSED_TEXT, &deflate(&said))).await;
    let as_it_is = plain.frame().await.unwrap();
    assert_eq!(as_it_is.opcode, raw::TEXT);
    assert!(as_it_is.says(&text));
    let mut shared = None;
    for taker in &mut takers {
        let frame = taker.frame().await.unwrap();
        assert_eq!(frame.opcode, COMPRESSED_TEXT);
        assert_eq!(inflated(&frame), as_it_is.text());
        assert!(frame.payload.len() < as_it_is.payload.len() / 2);
        assert_eq!(shared.get_or_insert_with(|| frame.payload.clone()), &frame.payload);
    }
    let figures = Exposition::scrape(&server).await;
    let input = figures.value("chat_compression_input_bytes_total", &[]) - before;
    let frame_bytes = as_it_is.payload.len() as f64 + 4.0;
    assert!((frame_bytes - input).abs() < 0.5, "{input} bytes were compressed, one frame has {frame_bytes}");
    assert!(figures.value("chat_compression_output_bytes_total", &[]) > 0.0);
    assert!(figures.value("chat_compression_busy_seconds_total", &[]) > 0.0);
}

#[actix::test]
async fn small_frames_are_plain_and_order_holds_among_both_kinds() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_COMPRESSION_BYTES", "300")]);
    let mut alice = connect(&server, "/ws?clientId=alice").await;
    let text = |number: usize| if number.is_multiple_of(2) { "short".to_owned() } else { "long ".repeat(100) };
    let asked: Vec<u8> = (0..100).flat_map(|number| raw::frame(raw::TEXT, &message(&text(number)))).collect();
    alice.send(&asked).await;
    for number in 0..100 {
        let frame = alice.frame().await.unwrap();
        let read: serde_json::Value = serde_json::from_str(&inflated(&frame)).unwrap();
        assert_eq!((read["seq"].as_u64(), read["Message"].as_str()), (Some(number as u64 + 1), Some(&*text(number))));
        assert_eq!(frame.opcode == COMPRESSED_TEXT, number % 2 == 1, "{number}");
    }
    // A long answer for one client is compressed too.
    alice.send_text(r#"{"type":"history","room":"lobby","limit":50}"#).await;
    let page = alice.frame().await.unwrap();
    assert_eq!(page.opcode, COMPRESSED_TEXT);
    assert!(inflated(&page).contains("\"history\"") && page.payload.len() < 3_000);
}

#[actix::test]
async fn people_and_private_messages_get_what_they_can_read() {
    let server = TestServer::start(&[]);
    let mut alice = connect(&server, "/ws?clientId=alice").await;
    let mut person = Raw::open(server.address()).await;
    assert_eq!(person.ask_for_websocket("/ws?clientId=person&format=text", OFFER).await.status, 101);
    assert!(person.frame().await.unwrap().says("welcome"));
    let text = "psst ".repeat(100);
    alice.send_text(&format!(r#"{{"Message":"{text}","to":"person"}}"#)).await;
    assert!(inflated(&person.frame().await.unwrap()).contains(&text));
    let copy = alice.frame().await.unwrap();
    assert_eq!(copy.opcode, COMPRESSED_TEXT);
    assert!(inflated(&copy).contains(&text));
    alice.send(&raw::frame(raw::TEXT, &message(&text))).await;
    let line = person.frame().await.unwrap();
    assert!(line.says("[lobby] alice: psst"), "{line:?}");
}

#[actix::test]
async fn what_a_client_compresses_is_read_within_the_bounds_of_a_frame() {
    let server = TestServer::start(&[]);
    let long = message(&"x".repeat(10_000));
    let good = deflate(&long);
    let (head, tail) = good.split_at(7);
    let not_utf8 = deflate(b"{\"Message\":\"\xff\"}");
    let ping = raw::frame(raw::PING, b"?");
    // In one frame, in fragments with a ping between them, and uncompressed.
    let mut alice = connect(&server, "/ws").await;
    for bytes in [
        raw::frame(COMPRESSED_TEXT, &good),
        [raw::frame(0x41, head), ping, raw::frame(0x00, b""), raw::frame(0x80, tail)].concat(),
        raw::frame(raw::TEXT, &long),
    ] {
        alice.send(&bytes).await;
        let mut frame = alice.frame().await.unwrap();
        if frame.payload == b"?" {
            frame = alice.frame().await.unwrap();
        }
        assert!(inflated(&frame).contains(&"x".repeat(10_000)));
    }
    let bomb = deflate(&vec![b' '; 200 * 1024 * 1024]);
    assert!(bomb.len() > 131_072, "{} bytes", bomb.len());
    let small_bomb = deflate(&vec![b' '; 131_073]);
    let bad = [
        ("a small bomb", raw::frame(COMPRESSED_TEXT, &small_bomb), 1009),
        ("a bomb as large as a frame may be", raw::frame(COMPRESSED_TEXT, &bomb[..131_072]), 1009),
        ("a bomb in parts", [raw::frame(0x41, &small_bomb[..9]), raw::frame(0x80, &small_bomb[9..])].concat(), 1009),
        ("a zlib stream", raw::frame(COMPRESSED_TEXT, &[&[0x78, 0xda], &good[..]].concat()), 1002),
        ("a block of no type", raw::frame(COMPRESSED_TEXT, &[0x06, 0x00]), 1002),
        ("a stored block of two lengths", raw::frame(COMPRESSED_TEXT, b"\x00\x05\x00\x00\x00hello"), 1002),
        ("no DEFLATE", raw::frame(COMPRESSED_TEXT, b"\xff\xff\xff"), 1002),
        ("a text that is not UTF-8", raw::frame(COMPRESSED_TEXT, &not_utf8), 1007),
        ("a compressed part that is not the first", [raw::frame(0x41, head), raw::frame(0xc0, tail)].concat(), 1002),
        ("a compressed part of a plain text", [raw::frame(0x01, b"{"), raw::frame(0xc0, tail)].concat(), 1002),
        ("a compressed ping", raw::frame(raw::PING | 0x40, b""), 1002),
        ("a compressed close", raw::frame(raw::CLOSE | 0x40, b""), 1002),
        ("a text that is cut short", raw::frame(COMPRESSED_TEXT, head), 1002),
        ("a text that lacks its last byte", raw::frame(COMPRESSED_TEXT, &good[..good.len() - 2]), 1002),
        ("a cut text in parts", [raw::frame(0x41, &head[..3]), raw::frame(0x80, &head[3..])].concat(), 1002),
        ("another reserved bit", raw::frame(raw::TEXT | 0x20, b"{}"), 1002),
        ("the third reserved bit", raw::frame(raw::TEXT | 0x10, b"{}"), 1002),
        ("a compressed text with another reserved bit", raw::frame(COMPRESSED_TEXT | 0x20, &good), 1002),
        ("a compressed frame of no known kind", raw::frame(0xc3, &good), 1002),
        ("a compressed control frame of no known kind", raw::frame(0xcb, b""), 1002),
        ("a compressed part of nothing", raw::frame(0xc0, &good), 1002),
        (
            "a compressed text within another",
            [raw::frame(0x41, head), raw::frame(COMPRESSED_TEXT, &good)].concat(),
            1002,
        ),
        (
            "a length in a longer form than it needs",
            [&[COMPRESSED_TEXT, 0xfe, 0, 2, 0, 0, 0, 0][..], b"xx"].concat(),
            1002,
        ),
        ("a compressed part of a binary message", raw::frame(0x42, &good), 1003),
        ("another reserved bit of a compressed text", raw::frame(COMPRESSED_TEXT | 0x10, &good), 1002),
        ("all reserved bits", raw::frame(0xf1, &good), 1002),
        ("a reserved opcode", raw::frame(0x83, b""), 1002),
        ("a reserved opcode, compressed", raw::frame(0xc3, &good), 1002),
        ("a reserved control opcode, compressed", raw::frame(0xcb, b""), 1002),
        ("a compressed binary frame", raw::frame(raw::BINARY | 0x40, &good), 1003),
    ];
    for (name, bytes, code) in bad {
        let mut mallory = connect(&server, "/ws").await;
        mallory.send(&bytes).await;
        assert_eq!(mallory.drain().await, (vec![], Some(code)), "{name}");
    }
    // An empty message, and a text that is not JSON.
    alice.send(&raw::frame(COMPRESSED_TEXT, &[0x00])).await;
    assert!(alice.frame().await.unwrap().says("message_empty") || alice.frame().await.is_some());
    let mut bare = Raw::connect(&server, "/ws").await;
    bare.send(&raw::frame(COMPRESSED_TEXT, &good)).await;
    assert_eq!(bare.drain().await, (vec![], Some(1002)), "it was not negotiated");
}

#[actix::test]
async fn a_compressed_text_that_is_cut_short_is_never_taken_as_a_shorter_text() {
    let server = TestServer::start(&[]);
    let mut witness = connect(&server, "/ws?clientId=witness").await;
    // Console lines: any prefix of a line is also a line.
    for text in ["pay 1000 to bob, and not to eve".to_owned(), "the quick brown fox ".repeat(40)] {
        let good = deflate(text.as_bytes());
        for length in (1..good.len() - 1).step_by((good.len() / 20).max(1)) {
            let mut raw = connect(&server, "/ws").await;
            raw.send(&raw::frame(COMPRESSED_TEXT, &good[..length])).await;
            assert_eq!(raw.drain().await, (vec![], Some(1002)), "{length} bytes of {}", good.len());
        }
    }
    witness.send_text(r#"{"Message":"nothing before this"}"#).await;
    assert!(witness.frame().await.unwrap().says("nothing before this"));
}

#[actix::test]
async fn an_offer_is_answered_as_rfc_7692_has_it() {
    let (on, off) = (TestServer::start(&[]), TestServer::start(&[("CHAT_COMPRESSION_BYTES", "0")]));
    let accepted = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let with_window = format!("{accepted}; server_max_window_bits=15");
    for (offer, answer) in [
        ("permessage-deflate", Some(accepted)),
        ("permessage-deflate; client_max_window_bits=9", Some(accepted)),
        ("permessage-deflate; server_max_window_bits=15", Some(&*with_window)),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", Some(accepted)),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; mystery", None),
        ("x-webkit-deflate-frame", None),
    ] {
        for (server, expected) in [(&on, answer), (&off, None)] {
            let mut raw = Raw::open(server.address()).await;
            let got = raw.ask_for_websocket("/ws", &format!("Sec-WebSocket-Extensions: {offer}\r\n")).await;
            assert_eq!((got.status, got.header("sec-websocket-extensions")), (101, expected), "{offer}");
            assert!(inflated(&raw.frame().await.unwrap()).contains("welcome"));
        }
    }
}
