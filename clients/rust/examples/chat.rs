//! A chat for the terminal: a room, private messages (`/msg bob psst`), `/history`, and automatic reconnection.
//!
//! `cargo run -p starling-client --example chat -- ws://127.0.0.1:8080 alice dev`

#![allow(clippy::print_stdout, clippy::wildcard_enum_match_arm, reason = "it shows what it knows, in a terminal")]

use std::error::Error;

use futures_util::TryStreamExt;
use starling_client::{Client, Options, PrivateEvent, RoomEvent, RoomHandle, State};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let [url, name, room] = std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "URL NAME ROOM")?;
    let client = Client::connect(Options::new([url]).client_id(name.parse()?));
    let (dev, mut events) = client.room(&room)?.split();
    let (mut private, mut state) = (client.private_messages(), client.watch());
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            Some(event) = events.next() => match event {
                RoomEvent::Joined { recovered, count, .. } => println!("* {count} here, all seen: {recovered}"),
                RoomEvent::Message(message) => println!("[{room}] {}: {}", message.client_id, message.text),
                other => println!("* {other:?}"),
            },
            Some(PrivateEvent::Message(message)) = private.next() => println!("({}) {}", message.client_id, message.text),
            Ok(()) = state.changed() => match &*state.borrow_and_update() {
                State::Waiting { reason, .. } => println!("* not connected: {reason}"),
                State::Closed(why) => return Err(why.clone().into()),
                _ => {}
            },
            line = lines.next_line() => {
                let Some(line) = line? else { break };
                carry_out(&client, &dev, &line).await.unwrap_or_else(|error| println!("* {error}"));
            }
        }
    }
    client.close().await;
    Ok(())
}

async fn carry_out(client: &Client, dev: &RoomHandle, line: &str) -> Result<(), Box<dyn Error>> {
    if line == "/history" {
        println!("* {} messages", dev.history().into_stream().try_collect::<Vec<_>>().await?.len());
    } else if let Some((to, text)) = line.strip_prefix("/msg ").and_then(|rest| rest.split_once(' ')) {
        client.private_with(to)?.send(text).await?;
    } else {
        dev.send(line).await?;
    }
    Ok(())
}
