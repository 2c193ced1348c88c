//! Attacks with many clients: they come and go, end in the middle of anything, or send too much together.

use std::time::Duration;

use fastrand::Rng;
use serde_json::json;
use test_kit::raw::{CLOSE, FIRST_PART, LAST_PART, PING, TEXT, frame, handshake_request};
use tokio::time::Instant;

use crate::attack::Target;
use crate::client::{Client, Saw, codes, open_websocket, reset, run};
use crate::floods::json_frame;
use crate::http::one_after_the_other;

pub(crate) fn cut_points(target: &Target) -> Saw {
    let everything = [
        handshake_request("/ws").into_bytes(),
        json_frame(&json!({"Message": "hello", "id": "1"})),
        json_frame(&json!({"type": "join", "room": "dev"})),
        frame(FIRST_PART, br#"{"Message":"in "#),
        frame(PING, b""),
        frame(LAST_PART, br#"two parts"}"#),
        frame(TEXT, b"/who"),
        json_frame(&json!({"type": "history", "room": "lobby"})),
        frame(TEXT, b"{nonsense"),
        frame(CLOSE, &1000_u16.to_be_bytes()),
    ]
    .concat();
    let mut chance = Rng::with_seed(2026);
    one_after_the_other(target, 200, |_| (everything[..chance.usize(..=everything.len())].to_vec(), chance.f64() < 0.3))
}

/// Counts the occurrences of `part`.
fn occurrences(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).filter(|window| *window == part).count()
}

/// The number of names in the first list of members.
fn listed(told: &[u8]) -> usize {
    let told = String::from_utf8_lossy(told);
    let list = told.split_once(r#""type":"members""#).and_then(|(_, rest)| rest.split_once(r#""clientIds":["#));
    list.and_then(|(_, rest)| rest.split_once(']')).map_or(0, |(list, _)| list.matches(',').count() + 1)
}

pub(crate) fn crowd(target: &Target) -> Saw {
    let pause = Duration::from_millis(1_500);
    let mut watcher = [Client::new(open_websocket(target.address, "/ws/crowded", false, "").unwrap()).keeping()];
    watcher[0].send(&json_frame(&json!({"type": "join", "room": "crowded", "presence": true})));
    let begun = Instant::now();
    while begun.elapsed() < target.time {
        let open = |_| open_websocket(target.address, "/ws/crowded", false, "").unwrap();
        let members: Vec<_> = (0..5_000).map(open).collect();
        watcher[0].send(&json_frame(&json!({"type": "members", "room": "crowded"})));
        run(&mut watcher, pause);
        drop(members);
        run(&mut watcher, pause);
    }
    let presence = occurrences(watcher[0].kept(), br#""type":"presence""#);
    Saw::from([
        ("presence".into(), presence as f64),
        ("seconds".into(), begun.elapsed().as_secs_f64()),
        ("listed".into(), listed(watcher[0].kept()) as f64),
    ])
}

pub(crate) fn overload(target: &Target) -> Saw {
    let message = json_frame(&json!({"Message": "x".repeat(200)}));
    let path = |number: u32| format!("/ws/room-{}", number % 10);
    let open = |number| Client::new(open_websocket(target.address, &path(number), false, "").unwrap());
    let mut clients: Vec<_> = (0..100).map(|number| open(number).flooding(&message)).collect();
    run(&mut clients, target.time);
    let mib = clients.iter().map(|client| client.received).sum::<u64>() >> 20;
    let mut saw = codes(&clients);
    saw.insert("received MiB".into(), mib as f64);
    saw
}

pub(crate) fn handshakes(target: &Target) -> Saw {
    let (mut seen, end) = (Saw::new(), Instant::now() + target.time);
    while Instant::now() < end {
        let answer = match open_websocket(target.address, "/ws", false, "") {
            Ok(socket) => {
                reset(&socket);
                "101".to_owned()
            }
            Err(error) => {
                let told = error.to_string();
                told.strip_prefix("HTTP/1.1 ").map_or("none", |rest| rest.get(..3).unwrap_or(rest)).to_owned()
            }
        };
        *seen.entry(answer).or_default() += 1.0;
    }
    seen
}
