//! A server that plays a script, over streams in memory, so that time can be paused.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use starling_client::{ByteStream, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_async};

/// The streams that a client opens.
pub(crate) struct Script {
    streams: mpsc::UnboundedReceiver<Option<DuplexStream>>,
    /// The time at which each stream was opened.
    pub(crate) opened: Arc<Mutex<Vec<Instant>>>,
    refuse: Arc<Mutex<usize>>,
}

impl Script {
    /// A script and the options of its client.
    pub(crate) fn new() -> (Self, Options) {
        let (tell, streams) = mpsc::unbounded_channel();
        let (opened, refuse) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let (to_opened, to_refuse) = (Arc::clone(&opened), Arc::clone(&refuse));
        let options = Options::new(["ws://script"]).client_id("alice".parse().unwrap()).dial_with(move |_, _| {
            to_opened.lock().unwrap().push(Instant::now());
            let mut refuse = to_refuse.lock().unwrap();
            let stream = if *refuse > 0 {
                *refuse -= 1;
                Err(std::io::ErrorKind::ConnectionRefused.into())
            } else {
                let (ours, theirs) = duplex(64 * 1024);
                tell.send(Some(theirs)).unwrap();
                Ok(Box::new(ours) as Box<dyn ByteStream>)
            };
            std::future::ready(stream)
        });
        (Self { streams, opened, refuse }, options)
    }

    /// This many next attempts find no server.
    pub(crate) fn refuse(&self, attempts: usize) {
        *self.refuse.lock().unwrap() = attempts;
    }

    /// The next stream, before its handshake.
    pub(crate) async fn stream(&mut self) -> DuplexStream {
        self.streams.recv().await.unwrap().unwrap()
    }

    /// Answers the next handshake with these bytes.
    pub(crate) async fn answer(&mut self, bytes: &str) {
        let mut stream = self.stream().await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    }

    /// Takes the next connection and welcomes it.
    pub(crate) async fn accept(&mut self) -> Peer {
        let mut peer = Peer { socket: accept_async(self.stream().await).await.unwrap() };
        peer.welcome("alice").await;
        peer
    }

    /// The time between the last two attempts.
    pub(crate) fn last_pause(&self) -> Duration {
        let opened = self.opened.lock().unwrap();
        opened[opened.len() - 1] - opened[opened.len() - 2]
    }
}

/// The server's end of a connection.
pub(crate) struct Peer {
    pub(crate) socket: WebSocketStream<DuplexStream>,
}

impl Peer {
    /// The heartbeat of the script.
    pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);

    pub(crate) async fn send(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn welcome(&mut self, name: &str) {
        let welcome = json!({
            "type": "welcome", "protocol": 1, "server": "script/1", "clientId": name, "room": "dev", "seq": 0,
            "epoch": "0000000000000001", "key": "00000000000000000000000000000005",
            "heartbeatMs": Self::HEARTBEAT.as_secs() * 1_000,
            "limits": {"messageBytes": 16_384, "messagesPerSecond": 0, "burst": 100, "rooms": 64},
        });
        self.send(welcome).await;
    }

    /// The next frame of the client, with its `id` taken out.
    pub(crate) async fn receive(&mut self) -> (Option<String>, Value) {
        loop {
            match self.socket.next().await.unwrap().unwrap() {
                Message::Text(text) => {
                    let mut frame: Value = serde_json::from_str(&text).unwrap();
                    let id = frame.as_object_mut().unwrap().remove("id");
                    return (id.map(|id| id.as_str().unwrap().to_owned()), frame);
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits for exactly this frame, and returns its `id`.
    pub(crate) async fn expect(&mut self, expected: Value) -> String {
        let (id, frame) = self.receive().await;
        assert_eq!(frame, expected);
        id.unwrap()
    }

    /// Lets the client into the room `dev`.
    pub(crate) async fn let_in(&mut self, seq: u64) {
        let id = self.expect(json!({"type": "join", "room": "dev"})).await;
        self.joined(&id, seq, None).await;
    }

    pub(crate) async fn joined(&mut self, id: &str, seq: u64, recovered: Option<bool>) {
        let mut joined = json!({
            "type": "joined", "id": id, "room": "dev", "seq": seq, "epoch": "0000000000000001", "count": 1,
        });
        if let Some(recovered) = recovered {
            joined["recovered"] = recovered.into();
        }
        self.send(joined).await;
    }

    pub(crate) async fn say(&mut self, seq: u64) {
        let text = format!("message {seq}");
        let message = json!({
            "type": "message", "clientId": "bob", "Message": text, "room": "dev", "seq": seq, "at": 1_000 + seq,
        });
        self.send(message).await;
    }

    pub(crate) async fn ping(&mut self) {
        self.socket.send(Message::Ping(Vec::new().into())).await.unwrap();
    }

    /// Waits until the client closes the connection.
    pub(crate) async fn expect_close(&mut self) {
        let message = self.socket.next().await.unwrap().unwrap();
        assert!(matches!(message, Message::Close(_)), "{message:?}");
    }

    /// Closes the connection with a code.
    pub(crate) async fn close(&mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::from_static("as scripted") };
        self.socket.close(Some(frame)).await.unwrap();
    }
}
