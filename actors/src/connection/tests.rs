//! A connection over a real pair of sockets whose kernel buffers are small.

mod closing;
mod queueing;

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use actix_http::ws::{Codec, Frame};
use bytes::BytesMut;
use futures_util::future::join;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::timeout;
use tokio_util::codec::Decoder;

use super::*;
use crate::clock;
use starling_protocol::CloseCode;

/// Longer than any step of these tests.
const DEADLINE: Duration = Duration::from_secs(10);

/// More bytes than the kernel buffers for one connection here.
const MORE_THAN_THE_KERNEL_TAKES: usize = 512 * 1024;

const NO_BOUND: usize = usize::MAX;

/// A connection, and the client at its other end.
struct Pair {
    connection: Connection,
    /// Kept open: dropping it would shut down one direction of the socket.
    read_half: OwnedReadHalf,
    client: Client,
}

/// Reads what the server writes.
struct Client {
    socket: TcpStream,
    unread: BytesMut,
    codec: Codec,
}

/// An open connection with nothing in its outbox.
async fn pair() -> Pair {
    let mut pair = opening_pair(Bytes::new()).await;
    pair.connection.open();
    pair
}

async fn opening_pair(head: Bytes) -> Pair {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    client.set_recv_buffer_size(4_096).unwrap();
    client.connect(&listener.local_addr().unwrap().into()).unwrap();
    let (server, _): (_, SocketAddr) = listener.accept().unwrap();
    SockRef::from(&server).set_send_buffer_size(4_096).unwrap();
    server.set_nonblocking(true).unwrap();
    client.set_nonblocking(true).unwrap();
    let server = TcpStream::from_std(server).unwrap();
    // The runtime does not consider a socket writable before the kernel has reported it once.
    server.writable().await.unwrap();
    let (read_half, write_half) = server.into_split();
    let socket = TcpStream::from_std(client.into()).unwrap();
    let codec = Codec::new().client_mode().max_size(usize::MAX);
    Pair {
        connection: Connection::new(write_half, head, clock::now()),
        read_half,
        client: Client { socket, unread: BytesMut::new(), codec },
    }
}

impl Client {
    /// Reads until `enough` accepts the received bytes, or to the end of the connection.
    async fn read_until(&mut self, enough: impl Fn(&BytesMut) -> bool) {
        let reading = async {
            while !enough(&self.unread) {
                self.socket.readable().await.unwrap();
                let mut buffer = vec![0; 64 * 1024];
                match self.socket.try_read(&mut buffer) {
                    Ok(0) => return,
                    Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            }
        };
        timeout(DEADLINE, reading).await.expect("the server writes");
    }

    /// The next complete frame.
    async fn frame(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.codec.decode(&mut self.unread).expect("complete frames only") {
                return frame;
            }
            let had = self.unread.len();
            self.read_until(|unread| unread.len() > had).await;
            assert!(self.unread.len() > had, "the connection ended within a frame");
        }
    }

    async fn text(&mut self) -> String {
        let frame = self.frame().await;
        let Frame::Text(bytes) = frame else { panic!("not a text: {frame:?}") };
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    async fn close_code(&mut self) -> u16 {
        let frame = self.frame().await;
        let Frame::Close(Some(reason)) = frame else { panic!("not a close frame: {frame:?}") };
        reason.code.into()
    }

    fn has_nothing(&self) -> bool {
        let waiting = SockRef::from(&self.socket).peek(&mut [MaybeUninit::uninit()]);
        self.unread.is_empty() && waiting.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// A text of this length that differs from all others.
fn text(number: u32, length: usize) -> String {
    let text = format!("{number}:");
    text.clone() + &"x".repeat(length.saturating_sub(text.len()))
}

fn chunk(texts: &[String]) -> Chunk {
    let frames: Vec<u8> = texts.iter().flat_map(|text| frame::line(text)).collect();
    let now = clock::now();
    let count = u32::try_from(texts.len()).unwrap();
    Chunk { bytes: frames.into(), frames: count, deliveries: count, passage: Passage::read_at(now), offered_at: now }
}

fn close_frame() -> Bytes {
    frame::close(CloseCode::SlowConsumer, "slow consumer")
}

impl Pair {
    fn offer(&mut self, texts: &[String]) {
        assert_eq!(self.connection.offer(chunk(texts), NO_BOUND), Ok(()));
    }

    fn flush(&mut self) -> Flushed {
        self.connection.flush(clock::now(), &mut Written::default())
    }

    /// Flushes whenever the socket is writable, as the hub does.
    async fn flush_all(connection: &mut Connection) -> Written {
        let mut written = Written::default();
        let flushing = async {
            while connection.flush(clock::now(), &mut written) == Flushed::Blocked {
                poll_fn(|cx| connection.poll_writable(cx)).await.unwrap();
            }
        };
        timeout(DEADLINE, flushing).await.expect("the client reads");
        written
    }

    /// Fills the kernel's buffers with one frame, of which a part stays in the outbox.
    fn begin(&mut self, frame: &str) {
        self.offer(&[frame.into()]);
        let whole = self.connection.queued_bytes();
        assert_eq!(self.flush(), Flushed::Blocked);
        assert!((1..whole).contains(&self.connection.queued_bytes()), "the frame is cut");
    }
}
