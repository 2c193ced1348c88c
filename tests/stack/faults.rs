//! What goes wrong is told: a fault that is made here fires its alert.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use awc::ws::{Frame, Message};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::compose::{address, containers, docker};
use crate::prometheus::{wait_for_alert, wait_until};
use crate::{expect_clean_ledger, start};

/// The CPU that is too little, even for the few bots of this test.
const TOO_FEW_CPUS: &str = "0.01";

#[actix::test]
async fn too_little_cpu_is_told_as_throttling_and_as_a_saturated_stage() {
    start().await;
    let chat = &containers("chat")[0];
    docker(&["update", "--cpus", TOO_FEW_CPUS, chat]);
    wait_for_alert("CpuThrottled", r#"service="chat""#).await;
    wait_for_alert("StageSaturated", r#"job="chat""#).await;
    docker(&["update", "--cpus", "0.5", chat]);
    // Nothing was lost meanwhile, and it is over when the cause is.
    wait_until(r#"count(ALERTS{alertstate="firing", alertname="StageSaturated"}) or vector(0)"#, |n| n < 0.5).await;
    expect_clean_ledger().await;
}

#[actix::test]
async fn a_client_that_does_not_read_is_closed_and_told() {
    start().await;
    let address = address("chat", 8080);
    // It asks for the connection, and reads nothing of what comes; the room is its own and the talker's.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut silent: TcpStream = socket.into();
    let handshake = "GET /ws/quiet HTTP/1.1\r\nHost: chat\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    std::io::Write::write_all(&mut silent, handshake.as_bytes()).unwrap();
    let mut status = [0; 12];
    silent.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 101");

    let url = format!("ws://{address}/ws/quiet");
    let (_, mut talker) = awc::Client::new().ws(url).max_frame_size(1 << 20).connect().await.unwrap();
    let text = json!({"Message": "x".repeat(16_000)}).to_string();
    // As much as all buffers on the way may hold is far less than this.
    for _ in 0..4_000 {
        talker.send(Message::Text(text.clone().into())).await.unwrap();
        let closed = async {
            // Its own message comes back: it is written at the pace at which the server takes it.
            while let Some(Ok(frame)) = talker.next().await {
                if matches!(&frame, Frame::Text(text) if text.windows(9).any(|part| part == b"\"Message\"")) {
                    return;
                }
            }
            panic!("the one that reads is not closed");
        };
        tokio::time::timeout(Duration::from_secs(30), closed).await.expect("its own message comes back");
    }
    wait_until(r#"chat_disconnects_total{reason="slow_consumer"}"#, |closed| closed > 0.5).await;
    wait_for_alert("SlowConsumersClosed", r#"job="chat""#).await;
    drop(silent);
}
