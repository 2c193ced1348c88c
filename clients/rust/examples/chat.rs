//! A chat in thirty lines: a room, private messages, history, and a connection that comes back by itself.
//!
//! `cargo run -p starling-client --example chat -- ws://127.0.0.1:8080 alice dev`

use futures_util::TryStreamExt;
use starling_client::{Client, Options, PrivateEvent, RoomEvent};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [url, name, room] = std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "URL NAME ROOM")?;
    let client = Client::connect(Options::new([url]).client_id(name.parse()?));
    let (handle, mut events) = client.room(&room)?.split();
    let mut private = client.private_messages();
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            Some(event) = events.next() => match event {
                RoomEvent::Joined { recovered, count, .. } => println!("* {count} here, all seen: {recovered}"),
                RoomEvent::Message(message) => println!("[{room}] {}: {}", message.client_id, message.text),
                other => println!("* {other:?}"),
            },
            Some(PrivateEvent::Message(message)) = private.next() => println!("({}) {}", message.client_id, message.text),
            line = lines.next_line() => match line?.as_deref().map(|line| line.split_once(' ').unwrap_or((line, ""))) {
                None => return Ok(client.close().await),
                Some(("/msg", rest)) if let Some((to, text)) = rest.split_once(' ') => drop(client.private_with(to)?.send(text).await?),
                Some(("/history", _)) => println!("* {} messages", handle.history().into_stream().try_collect::<Vec<_>>().await?.len()),
                Some((word, rest)) => println!("* stored as {:?}", handle.send(format!("{word} {rest}").trim_end()).await?.seq),
            },
        }
    }
}
