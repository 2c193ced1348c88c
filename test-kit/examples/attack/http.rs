//! Attacks over plain HTTP: connections that send nothing, little, malformed or too much data, and read no answer.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use crate::attack::{SECRET, Target};
use crate::client::{Client, Saw, connect, reset, run, run_acting, told};

/// The seed of the random requests.
const SEED: u64 = 2026;

/// How long the remaining input is read at the end.
const REST: Duration = Duration::from_secs(3);

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Connects up to `count` clients. Each sends `begin` once, and `again` every second.
fn begin(target: &Target, count: usize, begin: &str, again: &[u8]) -> Saw {
    let connect = |_| connect(target.address, false).ok().map(Client::new);
    let mut clients: Vec<_> = (0..count).filter_map(connect).collect();
    for client in &mut clients {
        client.send(begin.as_bytes());
    }
    run_acting(&mut clients, target.time, Duration::from_secs(1), |clients| {
        for client in clients.iter_mut().filter(|_| !again.is_empty()) {
            client.send(again);
        }
    });
    end(clients)
}

/// Connects up to `count` clients. Each sends requests without end and reads nothing.
fn unread(target: &Target, count: usize, requests: &str) -> Saw {
    let connect = |_| connect(target.address, true).ok();
    let flooding = |socket| Client::new(socket).flooding(requests.as_bytes()).deaf();
    let mut clients: Vec<_> = (0..count).filter_map(connect).map(flooding).collect();
    run(&mut clients, target.time);
    end(clients)
}

/// Reads the remaining answers, and counts them.
fn end(mut clients: Vec<Client>) -> Saw {
    clients.iter_mut().for_each(Client::calm_down);
    run(&mut clients, REST);
    told(&clients)
}

pub(crate) fn pipelined(target: &Target) -> Saw {
    unread(target, 40, &GET.repeat(5_000))
}

pub(crate) fn pipelined_many(target: &Target) -> Saw {
    unread(target, 1_000, &GET.repeat(100))
}

pub(crate) fn figures_unread(target: &Target) -> Saw {
    unread(target, 200, &GET.replace("/ ", "/metrics ").repeat(100))
}

pub(crate) fn slow_bodies(target: &Target) -> Saw {
    let head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n";
    begin(target, 1_000, head, b"x")
}

pub(crate) fn slow_posts(target: &Target) -> Saw {
    let head = format!(
        "POST /api/rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\
         Authorization: Bearer {SECRET}\r\n\r\n"
    );
    begin(target, 1_000, &head, b"x")
}

pub(crate) fn silent(target: &Target) -> Saw {
    begin(target, 2_000, "", b"")
}

pub(crate) fn invented_methods(target: &Target) -> Saw {
    let (mut chance, end) = (Rng::with_seed(SEED), Instant::now() + target.time);
    let (mut seen, mut room) = (Saw::from([("requests".to_owned(), 0.0)]), vec![0; 64 * 1024]);
    while Instant::now() < end {
        let mut socket = connect(target.address, false).unwrap();
        for _ in 0..50 {
            let length = if chance.bool() { 5 } else { 2_000 };
            let method: String = (0..length).map(|_| char::from(*chance.choice(b"ABCDEFGHIJ-").unwrap())).collect();
            let path = chance.choice(["", "healthz", "api/rooms", "nowhere"]).unwrap();
            let request = format!("{method} /{path} HTTP/1.1\r\nHost: x\r\n\r\n");
            let count = socket.write_all(request.as_bytes()).and_then(|()| socket.read(&mut room)).unwrap_or(0);
            if count < 12 {
                break;
            }
            for name in ["requests", &String::from_utf8_lossy(&room[9..12])] {
                *seen.entry(name.to_owned()).or_default() += 1.0;
            }
        }
    }
    seen
}

/// Opens connections one after the other. `next` returns the bytes to send, and whether to reset the connection. Up to
/// `open_max` of them stay open.
pub(crate) fn one_after_the_other(
    target: &Target,
    open_max: usize,
    mut next: impl FnMut(usize) -> (Vec<u8>, bool),
) -> Saw {
    let (end, mut count, mut open) = (Instant::now() + target.time, 0, VecDeque::new());
    while Instant::now() < end {
        let mut socket = connect(target.address, false).unwrap();
        let (bytes, is_reset) = next(count);
        socket.write_all(&bytes).unwrap_or_default();
        if is_reset {
            reset(&socket);
        }
        open.push_back(socket);
        if open.len() > open_max {
            open.pop_front();
        }
        count += 1;
    }
    Saw::from([("connections".into(), count as f64)])
}

pub(crate) fn malformed(target: &Target) -> Saw {
    let wrong: [&[u8]; 6] = [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\nHost",
    ];
    one_after_the_other(target, 100, |count| (wrong[count % wrong.len()].to_vec(), count % 3 == 0))
}
