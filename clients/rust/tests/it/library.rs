//! A conversation by `tokio-tungstenite` alone: messages, fragments, pings, a close.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use test_kit::within;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::harness::start;

#[tokio::test]
async fn tokio_tungstenite_talks_in_whole_messages_and_in_fragments() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[("CHAT_COMPRESSION_BYTES", "1")]);
    let url = format!("ws://{}/ws?clientId=alice", server.address());
    let (mut socket, response) = connect_async(url).await.unwrap();
    assert!(response.headers().get("sec-websocket-extensions").is_none(), "it offers no compression");
    let conversation = async {
        let welcome = socket.next().await.unwrap().unwrap();
        assert!(welcome.to_text().unwrap().contains("\"welcome\""));
        for text in ["short".to_owned(), "grüße 👋 ".repeat(50), "the quick brown fox ".repeat(400)] {
            let frame = json!({ "Message": text }).to_string();
            socket.send(Message::text(frame.clone())).await.unwrap();
            let bytes = frame.into_bytes();
            let (first, last) = bytes.split_at(9);
            let text_part = OpCode::Data(Data::Text);
            let next_part = OpCode::Data(Data::Continue);
            socket.send(Message::Frame(Frame::message(first.to_vec(), text_part, false))).await.unwrap();
            socket.send(Message::Ping(b"payload".to_vec().into())).await.unwrap();
            socket.send(Message::Frame(Frame::message(last.to_vec(), next_part, true))).await.unwrap();
            let (mut texts, mut pongs) = (0, 0);
            while texts < 2 || pongs < 1 {
                match socket.next().await.unwrap().unwrap() {
                    Message::Text(frame) => {
                        let frame: Value = serde_json::from_str(&frame).unwrap();
                        assert_eq!(frame["Message"], text.as_str());
                        texts += 1;
                    }
                    Message::Pong(payload) => {
                        assert_eq!(payload.as_ref(), b"payload");
                        pongs += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        let goodbye = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::from_static("goodbye") };
        socket.close(Some(goodbye)).await.unwrap();
        let answer = socket.next().await.unwrap().unwrap();
        let Message::Close(Some(close)) = answer else { panic!("{answer:?}") };
        assert_eq!(close.code, CloseCode::Normal);
        assert!(socket.next().await.is_none());
    };
    within("the conversation", conversation).await;
}
