//! A chat for the terminal: a room, private messages (`/msg bob psst`), `/history`, and automatic reconnection.
//!
//! `cargo run -p starling-client --example chat -- ws://127.0.0.1:8080 alice dev`

#![allow(clippy::print_stdout, clippy::wildcard_enum_match_arm, reason = "it shows what it knows, in a terminal")]

use futures_util::TryStreamExt;
use starling_client::{Client, Options, PrivateEvent, RoomEvent, RoomHandle, State};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::task::JoinSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Ok([url, name, room]) = <[String; 3]>::try_from(std::env::args().skip(1).collect::<Vec<_>>()) else {
        return Err("usage: chat URL NAME ROOM".into());
    };
    let client = Client::connect(Options::new([url]).client_id(name.parse()?));
    let (dev, mut events) = client.room(&room)?.split();
    let mut private = client.private_messages();
    let mut state = client.watch();
    let mut lines = BufReader::new(stdin()).lines();
    let (mut doing, mut is_over) = (JoinSet::new(), false);
    loop {
        tokio::select! {
            Some(event) = events.next() => match event {
                RoomEvent::Joined { recovered, count, .. } => println!("* {count} here, all seen: {recovered}"),
                RoomEvent::Message(message) => println!("[{room}] {}: {}", message.client_id, message.text),
                other => println!("* {other:?}"),
            },
            Some(PrivateEvent::Message(message)) = private.next() => println!("({}) {}", message.client_id, message.text),
            Ok(()) = state.changed() => match &*state.borrow_and_update() {
                State::Waiting { pause, reason } => println!("* not connected, next attempt in {pause:.1?}: {reason}"),
                State::Closed(why) => return Err(why.clone().into()),
                _ => {}
            },
            Some(_) = doing.join_next() => {}
            line = lines.next_line(), if !is_over => match line? {
                // In a task of its own, because it waits for the server's answer.
                Some(line) => drop(doing.spawn(carry_out(client.clone(), dev.clone(), line))),
                None => is_over = true,
            },
        }
        if is_over && doing.is_empty() {
            break;
        }
    }
    client.close().await;
    Ok(())
}

/// Carries out a line that was typed, and says what came of it.
async fn carry_out(client: Client, dev: RoomHandle, line: String) {
    let done = if line == "/history" {
        let messages = dev.history().into_stream().try_collect::<Vec<_>>().await;
        messages.map(|messages| format!("{} messages", messages.len()))
    } else if let Some((to, text)) = line.strip_prefix("/msg ").and_then(|rest| rest.split_once(' ')) {
        match client.private_with(to) {
            Ok(private) => private.send(text).await.map(|_| format!("sent to {to}")),
            Err(error) => return println!("* {error}"),
        }
    } else {
        dev.send(line).await.map(|_| "sent".to_owned())
    };
    match done {
        Ok(done) => println!("* {done}"),
        Err(error) => println!("* {error}"),
    }
}
