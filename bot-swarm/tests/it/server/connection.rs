//! One connection of the test server: a handshake by hand, and frames by the framework's codec.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use actix_codec::{AsyncRead as _, AsyncWrite as _, Framed, ReadBuf};
use actix_http::ws::hash_key;
use actix_rt::net::{TcpListener, TcpStream};
use awc::ws::{Codec, Frame, Message};
use futures_util::{SinkExt as _, StreamExt as _};
use starling_protocol::{ClientId, RoomName};
use tokio::sync::mpsc::unbounded_channel;

use super::chat::{Chat, NotIn};

/// Listens on a free port and serves each connection; returns the port.
pub(super) async fn listen<S: Future<Output = ()> + 'static>(serve: impl Fn(TcpStream) -> S + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    actix_rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            actix_rt::spawn(serve(stream));
        }
    });
    port
}

/// Serves one connection until either side ends it.
pub(crate) async fn serve(mut stream: TcpStream, chat: Rc<RefCell<Chat>>) {
    let Some(head) = read_head(&mut stream).await else { return };
    let Some(request) = read_request(&head) else { return };
    chat.borrow_mut().newest_request.clone_from(&head);
    let (outbox, mut outgoing) = unbounded_channel();
    let entered = chat.borrow_mut().enter(request.client, request.room, request.key, outbox);
    let id = match entered {
        Ok(id) => id,
        Err(why) => {
            let status = if why == NotIn::Full { "503 Service Unavailable" } else { "409 Conflict" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            return write(&mut stream, answer.as_bytes()).await;
        }
    };
    let Some(()) = accept(&mut stream, &head).await else { return };
    let mut socket = Framed::new(stream, Codec::new());
    let with_goodbye = loop {
        tokio::select! {
            frame = socket.next() => match frame {
                Some(Ok(Frame::Text(text))) => chat.borrow_mut().ask(id, std::str::from_utf8(&text).unwrap()),
                Some(Ok(Frame::Close(reason))) => {
                    let is_normal = reason.as_ref().is_some_and(|reason| u16::from(reason.code) == 1000);
                    drop(socket.send(Message::Close(reason)).await);
                    break is_normal;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break false,
            },
            message = outgoing.recv() => match message {
                Some(close @ Message::Close(_)) => {
                    drop(socket.send(close).await);
                    // Wait for the answer before the connection ends; otherwise the client might not read the close
                    // frame.
                    while let Some(Ok(frame)) = socket.next().await {
                        if matches!(frame, Frame::Close(_)) { break }
                    }
                    break false;
                }
                Some(message) => if socket.send(message).await.is_err() { break false },
                None => break false,
            },
        }
    };
    chat.borrow_mut().leave(id, with_goodbye);
}

struct Request {
    room: RoomName,
    client: ClientId,
    key: Option<starling_protocol::ClientKey>,
}

/// Accepts the handshake of a request.
pub(super) async fn accept(stream: &mut TcpStream, head: &str) -> Option<()> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let key = lines.filter(|(key, _)| key.eq_ignore_ascii_case("sec-websocket-key")).map(|(_, value)| value).next()?;
    let accept = hash_key(key.as_bytes());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {}\r\n\r\n",
        std::str::from_utf8(&accept).unwrap()
    );
    write(stream, response.as_bytes()).await;
    Some(())
}

/// Reads the head of a request.
pub(super) async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        std::future::poll_fn(|cx| std::pin::Pin::new(&mut *stream).poll_read(cx, &mut buffer)).await.ok()?;
        head.push(*buffer.filled().first()?);
    }
    Some(String::from_utf8(head).unwrap())
}

fn read_request(head: &str) -> Option<Request> {
    let target = head.split(' ').nth(1)?;
    let (path, query) = target.split_once('?')?;
    let query: HashMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    Some(Request {
        // The chat may be at a path prefix.
        room: path.split_once("/ws/").map_or_else(RoomName::lobby, |(_, room)| RoomName::parse(room).unwrap()),
        client: ClientId::parse(query.get("clientId")?).unwrap(),
        key: query.get("key").map(|key| key.parse().unwrap()),
    })
}

pub(super) async fn write(stream: &mut TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let writing = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *stream).poll_write(cx, bytes)).await;
        let Ok(written) = writing else { return };
        bytes = &bytes[written..];
    }
}
