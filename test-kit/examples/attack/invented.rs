//! Attacks that fill the server's tables with invented names.

use std::time::Duration;

use serde_json::json;
use test_kit::{Program, token};

use crate::attack::Target;
use crate::client::{Client, Saw, open_websocket, run_acting};
use crate::floods::json_frame;

/// The number of clients.
const CLIENTS: u32 = 8;

/// The number of frames per batch. A ping after each batch keeps the client below the limit of errors in a row.
const BATCH: usize = 15;

/// Clients send the frames of successive counts, as fast as the server reads. Returns the last count.
fn in_turn(clients: &mut [Client], time: Duration, frames: impl Fn(usize) -> Vec<u8>) -> usize {
    let (mut count, mut unsent) = (0, vec![Vec::new(); clients.len()]);
    let ping = json_frame(&json!({"type": "ping"}));
    run_acting(clients, time, Duration::from_millis(10), |clients| {
        for (client, unsent) in clients.iter_mut().zip(&mut unsent).filter(|(client, _)| client.is_open()) {
            if unsent.is_empty() {
                unsent.extend((count..count + BATCH).flat_map(&frames));
                unsent.extend_from_slice(&ping);
                count += BATCH;
            }
            let sent = client.send(unsent);
            unsent.drain(..sent);
        }
    });
    count
}

/// The number of handshakes that are answered with 101.
fn let_in(target: &Target, paths: impl Iterator<Item = String>) -> f64 {
    paths.filter(|path| open_websocket(target.address, path, false, "").is_ok()).count() as f64
}

pub(crate) fn inboxes(target: &Target) -> Saw {
    let server = Program::new(&target.server);
    let path = |name: String| format!("/ws?token={}", token::issue(&server, &[&name]));
    let open = |number| open_websocket(target.address, &path(format!("mallory-{number}")), false, "").unwrap();
    let mut clients: Vec<_> = (0..CLIENTS).map(open).map(Client::new).collect();
    let message = |count| json_frame(&json!({"Message": "x", "to": format!("invented-{count}")}));
    let written = in_turn(&mut clients, target.time, message);
    let newcomers = (0..20).map(|number| path(format!("new-{number}")));
    Saw::from([("written".into(), written as f64), ("let in".into(), let_in(target, newcomers))])
}

pub(crate) fn rooms(target: &Target) -> Saw {
    let open = |_| open_websocket(target.address, "/ws", false, "").unwrap();
    let mut clients: Vec<_> = (0..CLIENTS).map(open).map(Client::new).collect();
    let visit = |count: usize| {
        let room = format!("invented-{count}");
        let mut frames = json_frame(&json!({"type": "join", "room": room}));
        if !count.is_multiple_of(3) {
            frames.extend(json_frame(&json!({"Message": "x", "room": room})));
        }
        frames.extend(json_frame(&json!({"type": "leave", "room": room})));
        frames
    };
    let made = in_turn(&mut clients, target.time, visit);
    let newcomers = ["/ws", "/ws/calm"].iter().cycle().take(20).map(|path| (*path).to_owned());
    Saw::from([("made".into(), made as f64), ("let in".into(), let_in(target, newcomers))])
}
