//! Attacks with clients that read nothing or very little, send incomplete data, or have lost their network.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use test_kit::raw::{TEXT, frame, text_frame};
use tokio::time::Instant;

use crate::attack::Target;
use crate::client::{Client, Saw, codes, connect, open_websocket, run, run_acting};

/// The interval between two long messages (320 kB per second) while other clients do not read.
const TALK: Duration = Duration::from_millis(50);

/// How long the remaining input is read at the end.
const REST: Duration = Duration::from_secs(3);

fn long() -> Vec<u8> {
    text_frame(&json!({"Message": "x".repeat(16_000)}).to_string())
}

/// One client that talks, and a hundred that do not read.
fn talker_and_deaf(address: SocketAddr) -> Vec<Client> {
    let mut clients = vec![Client::new(open_websocket(address, "/ws/loud", false, "").unwrap())];
    clients.extend((0..100).map(|_| Client::new(open_websocket(address, "/ws/loud", true, "").unwrap()).deaf()));
    clients
}

/// Lets the clients that did not read now read the rest.
fn read_rest(clients: &mut [Client]) -> Saw {
    let deaf = &mut clients[1..];
    deaf.iter_mut().for_each(Client::calm_down);
    run(deaf, REST);
    codes(deaf)
}

pub(crate) fn never_reads(target: &Target) -> Saw {
    let mut clients = talker_and_deaf(target.address);
    let long = long();
    run_acting(&mut clients, target.time, TALK, |clients| {
        clients[0].send(&long);
    });
    read_rest(&mut clients)
}

pub(crate) fn a_byte_a_second(target: &Target) -> Saw {
    let mut clients = talker_and_deaf(target.address);
    let (long, mut due) = (long(), Instant::now());
    run_acting(&mut clients, target.time, TALK, |clients| {
        clients[0].send(&long);
        if Instant::now() >= due {
            due = Instant::now() + Duration::from_secs(1);
            clients[1..].iter_mut().for_each(Client::read_byte);
        }
    });
    read_rest(&mut clients)
}

pub(crate) fn cut_off(target: &Target) -> Saw {
    let open = |_| Client::new(open_websocket(target.address, "/ws/loud", false, "").unwrap());
    let mut clients: Vec<_> = (0..200).map(open).collect();
    // The parent process cuts the link when it receives this line.
    println!("connected");
    run(&mut clients, target.time);
    Saw::new()
}

pub(crate) fn half_frames(target: &Target) -> Saw {
    let open = |_| Client::new(open_websocket(target.address, "/ws", false, "").unwrap());
    let mut clients: Vec<_> = (0..1_000).map(open).collect();
    let whole = frame(TEXT, &vec![b'x'; 131_000]);
    for client in &mut clients {
        client.send_all(&whole[..100_000]);
    }
    run(&mut clients, target.time);
    codes(&clients)
}

pub(crate) fn half_handshakes(target: &Target) -> Saw {
    let mut clients: Vec<_> = (0..2_000).map(|_| Client::new(connect(target.address, false).unwrap())).collect();
    for client in &mut clients {
        client.send(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n");
    }
    run(&mut clients, target.time);
    let count = |is: fn(&Client) -> bool| clients.iter().filter(|client| is(client)).count() as f64;
    let answered = count(|client| client.received > 0);
    Saw::from([("408".into(), answered), ("open".into(), count(Client::is_open))])
}
