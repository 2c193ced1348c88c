//! Attacks with clients that send as fast as they can, or as fast as their rate limit allows: frames, commands,
//! compressed texts.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde_json::{Value, json};
use test_kit::raw::{COMPRESSED_TEXT, FIRST_PART, NEXT_PART, PING, frame, text_frame};
use tokio::time::Instant;

use crate::attack::Target;
use crate::client::{Client, Saw, codes, open_websocket, run, run_acting};

const MIB: usize = 1 << 20;

/// The header field that offers compression.
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// A text frame with this JSON.
pub(crate) fn json_frame(fields: &Value) -> Vec<u8> {
    text_frame(&fields.to_string())
}

/// Fifty clients send `begin` once, and then `data` without end.
fn flood(target: &Target, begin: &[u8], data: &[u8]) -> Saw {
    let open = |_| Client::new(open_websocket(target.address, "/ws", false, "").unwrap()).flooding(data);
    let mut clients: Vec<_> = (0..50).map(open).collect();
    for client in &mut clients {
        client.send(begin);
    }
    run(&mut clients, target.time);
    codes(&clients)
}

pub(crate) fn pings(target: &Target) -> Saw {
    flood(target, b"", &frame(PING, b""))
}

pub(crate) fn fragments(target: &Target) -> Saw {
    flood(target, &frame(FIRST_PART, b"{"), &frame(NEXT_PART, b""))
}

pub(crate) fn messages(target: &Target) -> Saw {
    flood(target, b"", &json_frame(&json!({"Message": "x".repeat(100)})))
}

pub(crate) fn joins(target: &Target) -> Saw {
    flood(target, b"", &json_frame(&json!({"type": "join", "room": "r"})))
}

pub(crate) fn renames(target: &Target) -> Saw {
    flood(target, b"", &json_frame(&json!({"type": "hello", "clientId": "mal"})))
}

/// Compresses a payload for permessage-deflate.
fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(payload).unwrap();
    encoder.flush().unwrap();
    let mut bytes = encoder.get_ref().clone();
    assert!(bytes.ends_with(&[0, 0, 0xff, 0xff]), "a flush ends with this block");
    bytes.truncate(bytes.len() - 4);
    bytes
}

pub(crate) fn deflate_floods(target: &Target) -> Saw {
    let text = json!({"Message": "x".repeat(128 * 1024 - 14)}).to_string();
    let data = frame(COMPRESSED_TEXT, &deflate(text.as_bytes()));
    let open = |_| Client::new(open_websocket(target.address, "/ws", false, OFFER).unwrap()).flooding(&data);
    let mut clients: Vec<_> = (0..50).map(open).collect();
    run(&mut clients, target.time);
    codes(&clients)
}

/// Fifty connections each send one compressed text. When they are closed, fifty new ones follow.
fn compressed_once(target: &Target, payload: &[u8]) -> Saw {
    let (data, end, mut seen) = (frame(COMPRESSED_TEXT, payload), Instant::now() + target.time, Saw::new());
    while Instant::now() < end {
        let open = |_| Client::new(open_websocket(target.address, "/ws", false, OFFER).unwrap());
        let mut clients: Vec<_> = (0..50).map(open).collect();
        for client in &mut clients {
            client.send_all(&data);
        }
        run(&mut clients, Duration::from_secs(5));
        for (code, count) in codes(&clients) {
            *seen.entry(code).or_default() += count;
        }
    }
    seen
}

pub(crate) fn deflate_bombs(target: &Target) -> Saw {
    compressed_once(target, &deflate(&vec![b' '; 140 * MIB])[..128 * 1024])
}

pub(crate) fn deflate_cut(target: &Target) -> Saw {
    let text: Vec<_> = (0..9_000).map(|number| (number * 7 % 97).to_string()).collect();
    let whole = deflate(text.join(" ").as_bytes());
    compressed_once(target, &whole[..whole.len() - 9])
}

/// Fifty clients send these frames in turn, at a rate slightly below their limit.
fn paced(target: &Target, frames: &[Vec<u8>], per_second: u32) -> Saw {
    let path = |number| format!("/ws/paced?clientId=p{number}");
    let open = |number: u32| Client::new(open_websocket(target.address, &path(number), false, "").unwrap());
    let mut clients: Vec<_> = (0..50).map(open).collect();
    let mut turns = frames.iter().cycle();
    run_acting(&mut clients, target.time, Duration::from_secs(1) / per_second, |clients| {
        let frame = turns.next().unwrap();
        for client in clients {
            client.send(frame);
        }
    });
    Saw::from([("open".into(), clients.iter().filter(|client| client.is_open()).count() as f64)])
}

pub(crate) fn comings(target: &Target) -> Saw {
    let frames = [json!({"type": "join", "room": "r"}), json!({"type": "leave", "room": "r"})];
    paced(target, &frames.map(|fields| json_frame(&fields)), 18)
}

pub(crate) fn questions(target: &Target) -> Saw {
    let frames = [
        json!({"type": "rooms"}),
        json!({"type": "members", "room": "paced"}),
        json!({"type": "history", "room": "paced", "limit": 200}),
    ];
    paced(target, &frames.map(|fields| json_frame(&fields)), 48)
}
