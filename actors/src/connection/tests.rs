//! A connection over a real pair of sockets whose kernel buffers are small.

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

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(10);

/// More than the kernel takes of one connection here.
const MORE_THAN_THE_KERNEL_TAKES: usize = 512 * 1024;

const NO_BOUND: usize = usize::MAX;

/// A connection, and the client at its other end.
struct Pair {
    connection: Connection,
    /// Kept: without it the socket would not be whole.
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
    // The runtime takes no socket for writable before the kernel has said so once.
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
    /// Reads until `enough` of what has come, or to the end of the connection.
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

    /// The next frame, whole.
    async fn frame(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.codec.decode(&mut self.unread).expect("whole frames only") {
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

/// A text that is as long as it says and cannot be taken for another.
fn text(number: u32, length: usize) -> String {
    let text = format!("{number}:");
    text.clone() + &"x".repeat(length.saturating_sub(text.len()))
}

fn chunk(texts: &[String]) -> Chunk {
    let frames: Vec<u8> = texts.iter().flat_map(|text| frame::line(text)).collect();
    let now = clock::now();
    let count = u32::try_from(texts.len()).unwrap();
    Chunk { bytes: frames.into(), frames: count, deliveries: count, read_at: now, offered_at: now }
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

    /// Flushes as often as the kernel takes more, as the hub does.
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

#[actix::test]
async fn frames_leave_whole_and_in_the_order_in_which_they_were_accepted() {
    let mut pair = pair().await;
    // Of every kind of length, one in a chunk and several; more chunks than one write takes.
    let texts: Vec<String> =
        (0..120).map(|number| text(number, [1, 125, 126, 3_000, 70_000][number as usize % 5])).collect();
    for three in texts.chunks(3) {
        pair.offer(&three[..1]);
        pair.offer(&three[1..]);
    }
    let Pair { connection, client, .. } = &mut pair;
    let reading = async {
        for text in &texts {
            assert_eq!(client.text().await, *text);
        }
    };
    let (written, ()) = join(Pair::flush_all(connection), reading).await;
    assert_eq!(written.chunks.iter().map(|chunk| chunk.frames).sum::<u32>(), 120);
    assert_eq!(connection.queued(), Queued::default());
}

#[actix::test]
async fn nothing_is_written_before_the_connection_is_open_and_then_the_handshake_first() {
    let head = Bytes::from_static(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
    let mut pair = opening_pair(head.clone()).await;
    assert!(!pair.connection.is_clear());
    pair.offer(&[text(1, 10)]);
    assert_eq!(pair.connection.queued(), Queued { bytes: head.len() + 12, frames: 1 });
    assert_eq!(pair.flush(), Flushed::All);
    assert!(pair.client.has_nothing());

    pair.connection.open();
    assert_eq!(pair.flush(), Flushed::All);
    assert_eq!(pair.connection.queued(), Queued::default());
    pair.client.read_until(|unread| unread.len() == head.len() + 12).await;
    assert_eq!(pair.client.unread.split_to(head.len()), head);
    assert_eq!(pair.client.text().await, text(1, 10));
}

#[actix::test]
async fn what_waits_is_counted_as_it_comes_and_goes() {
    let mut pair = pair().await;
    let (small, large) = (text(1, 100), text(2, MORE_THAN_THE_KERNEL_TAKES));
    pair.offer(&[small.clone(), small.clone()]);
    assert_eq!(pair.connection.queued(), Queued { bytes: 204, frames: 2 });
    pair.offer(std::slice::from_ref(&large));
    assert_eq!(pair.connection.queued(), Queued { bytes: 204 + large.len() + 10, frames: 3 });
    assert!(pair.connection.stalled_since().is_none());

    assert_eq!(pair.flush(), Flushed::Blocked);
    let left = pair.connection.queued();
    assert_eq!(left.frames, 1, "the small ones are written");
    assert!((1..large.len() + 10).contains(&left.bytes));
    let stalled_since = pair.connection.stalled_since().expect("the kernel is full");
    assert_eq!(pair.flush(), Flushed::Blocked);
    assert_eq!((pair.connection.queued(), pair.connection.stalled_since()), (left, Some(stalled_since)));

    let Pair { connection, client, .. } = &mut pair;
    let reading = async { [client.text().await, client.text().await, client.text().await] };
    let (written, texts) = join(Pair::flush_all(connection), reading).await;
    assert!(texts == [small.clone(), small, large]);
    assert_eq!(written.chunks.len(), 1);
    assert_eq!((connection.queued(), connection.stalled_since()), (Queued::default(), None));
}

#[actix::test]
async fn frames_are_written_past_an_empty_outbox_and_nothing_waits() {
    let mut pair = pair().await;
    assert!(pair.connection.is_clear());
    assert_eq!(pair.connection.write_through(chunk(&[text(1, 50), text(2, 50)]), 0), Ok(()));
    assert!(pair.connection.is_clear());
    assert_eq!(pair.client.text().await, text(1, 50));
    assert_eq!(pair.client.text().await, text(2, 50));
}

#[actix::test]
async fn what_the_kernel_does_not_take_of_a_frame_waits_and_the_next_one_waits_behind_it() {
    let mut pair = pair().await;
    let large = text(1, MORE_THAN_THE_KERNEL_TAKES);
    assert_eq!(pair.connection.write_through(chunk(std::slice::from_ref(&large)), MORE_THAN_THE_KERNEL_TAKES), Ok(()));
    let rest = pair.connection.queued();
    assert_eq!(rest.frames, 1);
    assert!((1..large.len() + 10).contains(&rest.bytes), "{rest:?}");
    assert!(!pair.connection.is_clear() && pair.connection.stalled_since().is_some());

    pair.offer(&[text(2, 20)]);
    assert_eq!(pair.connection.queued(), Queued { bytes: rest.bytes + 22, frames: 2 });
    let Pair { connection, client, .. } = &mut pair;
    let reading = async { (client.text().await, client.text().await) };
    let (_, (first, second)) = join(Pair::flush_all(connection), reading).await;
    assert!(first == large && second == text(2, 20));
}

#[actix::test]
async fn exactly_as_much_as_may_wait_is_accepted_and_one_byte_more_is_refused() {
    let mut pair = pair().await;
    let outbox_bytes = 1_000;
    // A frame of 125 bytes and less has a header of 2.
    for _ in 0..9 {
        assert_eq!(pair.connection.offer(chunk(&[text(1, 98)]), outbox_bytes), Ok(()));
    }
    assert_eq!(pair.connection.queued_bytes(), 900);
    assert_eq!(pair.connection.offer(chunk(&[text(2, 99)]), outbox_bytes), Err(Overflow));
    assert_eq!(pair.connection.queued(), Queued { bytes: 900, frames: 9 }, "the refused one is not there");
    assert_eq!(pair.connection.offer(chunk(&[text(3, 98)]), outbox_bytes), Ok(()));
    assert_eq!(pair.connection.queued(), Queued { bytes: 1_000, frames: 10 });
    assert_eq!(pair.connection.offer(chunk(&[text(4, 2)]), outbox_bytes), Err(Overflow));

    assert_eq!(pair.flush(), Flushed::All);
    assert_eq!(pair.connection.offer(chunk(&[text(5, 98)]), 100), Ok(()), "there is place again");
}

#[actix::test]
async fn what_is_left_of_a_frame_written_past_the_outbox_may_be_as_much_as_may_wait_and_no_more() {
    let large = text(1, MORE_THAN_THE_KERNEL_TAKES);
    // What the kernel takes differs a little from time to time: as much as is left fits exactly.
    let mut pair = pair().await;
    assert_eq!(pair.connection.write_through(chunk(std::slice::from_ref(&large)), 1_000), Err(Overflow));
    let left = pair.connection.queued();
    assert_eq!(left.frames, 1, "the rest of what was begun is kept, so that it can be ended");
    assert!(left.bytes > 1_000);

    pair.connection.close_dropping(close_frame(), clock::now());
    assert_eq!(pair.connection.queued(), Queued { bytes: left.bytes + close_frame().len(), frames: 1 });
    let Pair { connection, client, .. } = &mut pair;
    let reading = async { (client.text().await, client.close_code().await) };
    let (_, (first, code)) = join(Pair::flush_all(connection), reading).await;
    assert!(first == large && code == 4001);
}

#[actix::test]
async fn a_slow_client_gets_the_rest_of_the_frame_that_was_begun_and_then_the_close_frame() {
    let mut pair = pair().await;
    let begun = text(1, MORE_THAN_THE_KERNEL_TAKES);
    pair.begin(&begun);
    let rest = pair.connection.queued_bytes();
    pair.offer(&[text(2, 100), text(3, 100)]);
    pair.offer(&[text(4, 100)]);

    pair.connection.close_dropping(close_frame(), clock::now());
    assert!(pair.connection.is_closing());
    assert_eq!(pair.connection.queued(), Queued { bytes: rest + close_frame().len(), frames: 1 });
    let Pair { connection, client, .. } = &mut pair;
    let reading = async { (client.text().await, client.close_code().await) };
    let (_, (first, code)) = join(Pair::flush_all(connection), reading).await;
    assert!(first == begun && code == 4001);
    connection.shut_down();
    pair.client.read_until(|unread| !unread.is_empty()).await;
    assert!(pair.client.unread.is_empty(), "nothing follows the close frame");
}

#[actix::test]
async fn of_a_chunk_of_several_frames_only_the_begun_one_is_ended() {
    let mut pair = pair().await;
    let texts: Vec<String> = (0..100).map(|number| text(number, 20_000)).collect();
    pair.offer(&texts);
    let whole = pair.connection.queued_bytes();
    assert_eq!(pair.flush(), Flushed::Blocked);
    let taken = whole - pair.connection.queued_bytes();
    assert!(taken > 0);

    pair.connection.close_dropping(close_frame(), clock::now());
    let frame_bytes = whole / texts.len();
    let begun_bytes = taken.next_multiple_of(frame_bytes) - taken;
    assert_eq!(pair.connection.queued(), Queued { bytes: begun_bytes + close_frame().len(), frames: 1 });
    let Pair { connection, client, .. } = &mut pair;
    let reading = async {
        for text in &texts[..taken.div_ceil(frame_bytes)] {
            assert!(client.text().await == *text);
        }
        client.close_code().await
    };
    let (_, code) = join(Pair::flush_all(connection), reading).await;
    assert_eq!(code, 4001);
}

#[test]
fn the_rest_of_the_begun_frame_is_found_wherever_the_kernel_stopped() {
    // Frames of 2 + 10, 4 + 300 and 2 + 20 bytes.
    let chunk = chunk(&[text(1, 10), text(2, 300), text(3, 20)]);
    for written in 0..=chunk.bytes.len() {
        let end = [0, 12, 316, 338].into_iter().find(|end| *end >= written).unwrap();
        let rest = rest_of_begun_frame(&chunk, written);
        let expected = chunk.bytes.slice(written..end);
        assert_eq!(rest, (!expected.is_empty()).then_some(expected), "{written}");
    }
}

#[test]
fn the_answer_to_the_handshake_is_one_whole() {
    let chunk = Chunk { frames: 0, bytes: Bytes::from_static(b"HTTP/1.1 101"), ..chunk(&[]) };
    assert_eq!(rest_of_begun_frame(&chunk, 0), Some(chunk.bytes.clone()));
    assert_eq!(rest_of_begun_frame(&chunk, 5), Some(Bytes::from_static(b"1.1 101")));
    assert_eq!(rest_of_begun_frame(&chunk, 12), None);
}

#[actix::test]
async fn a_slow_client_of_whom_nothing_was_begun_gets_the_close_frame_alone() {
    let mut pair = pair().await;
    pair.offer(&[text(1, 100)]);
    pair.offer(&[text(2, 100)]);
    pair.connection.close_dropping(close_frame(), clock::now());
    assert_eq!(pair.connection.queued(), Queued { bytes: close_frame().len(), frames: 1 });
    assert_eq!(pair.flush(), Flushed::All);
    assert_eq!(pair.client.close_code().await, 4001);
}

#[actix::test]
async fn a_handshake_that_was_begun_is_ended_before_the_close_frame() {
    let head = Bytes::from(vec![b'h'; MORE_THAN_THE_KERNEL_TAKES]);
    let mut pair = opening_pair(head.clone()).await;
    pair.connection.open();
    assert_eq!(pair.flush(), Flushed::Blocked);
    pair.offer(&[text(1, 100)]);
    pair.connection.close_dropping(close_frame(), clock::now());
    let Pair { connection, client, .. } = &mut pair;
    let reading = async {
        client.read_until(|unread| unread.len() == head.len() + close_frame().len()).await;
        assert!(client.unread.split_to(head.len()) == head);
        client.close_code().await
    };
    let (_, code) = join(Pair::flush_all(connection), reading).await;
    assert_eq!(code, 4001);
}

#[actix::test]
async fn a_client_that_is_too_slow_before_its_handshake_is_answered_gets_the_answer_and_the_close_frame() {
    // The answer was dropped with what waited behind it.
    let head = Bytes::from_static(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
    let mut pair = opening_pair(head.clone()).await;
    pair.offer(&[text(1, 100)]);
    pair.connection.close_dropping(close_frame(), clock::now());
    assert_eq!(pair.connection.queued(), Queued { bytes: head.len() + close_frame().len(), frames: 1 });
    pair.connection.open();
    assert_eq!(pair.flush(), Flushed::All);
    pair.client.read_until(|unread| unread.len() == head.len() + close_frame().len()).await;
    assert_eq!(pair.client.unread.split_to(head.len()), head);
    assert_eq!(pair.client.close_code().await, 4001);
}

#[actix::test]
async fn what_waits_is_written_before_the_close_frame_of_an_ordinary_end_and_nothing_comes_after_it() {
    let mut pair = pair().await;
    pair.offer(&[text(1, 100)]);
    pair.connection.close(frame::close(CloseCode::GoingAway, ""), clock::now());
    let queued = pair.connection.queued();
    assert_eq!(queued.frames, 2);
    // Taken and forgotten, whatever the bound.
    assert_eq!(pair.connection.offer(chunk(&[text(2, 100)]), 0), Ok(()));
    pair.connection.close(close_frame(), clock::now());
    pair.connection.close_dropping(close_frame(), clock::now());
    assert_eq!(pair.connection.queued(), queued);
    assert_eq!(pair.flush(), Flushed::All);
    assert_eq!(pair.client.text().await, text(1, 100));
    assert_eq!(pair.client.close_code().await, 1001);
    assert!(pair.client.has_nothing());
}

#[actix::test]
async fn a_peer_that_is_gone_breaks_the_connection_and_nothing_waits_for_it() {
    let mut pair = pair().await;
    pair.begin(&text(1, MORE_THAN_THE_KERNEL_TAKES));
    let Pair { mut connection, read_half: _read_half, client } = pair;
    SockRef::from(&client.socket).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let mut written = Written::default();
    let breaking = async {
        while connection.flush(clock::now(), &mut written) == Flushed::Blocked {
            // An error is for the write to find.
            poll_fn(|cx| connection.poll_writable(cx)).await.unwrap_or_default();
        }
        connection.flush(clock::now(), &mut written)
    };
    assert_eq!(timeout(DEADLINE, breaking).await, Ok(Flushed::All), "broken once, then nothing waits");
    assert_eq!((connection.queued(), connection.stalled_since()), (Queued::default(), None));
    assert!(written.chunks.is_empty(), "what was not written does not count as written");

    assert!(connection.is_clear());
    assert_eq!(connection.write_through(chunk(&[text(2, 100)]), 0), Ok(()), "the reading half tells");
    assert_eq!(connection.queued(), Queued::default());
    assert_eq!(connection.offer(chunk(&[text(3, 100)]), NO_BOUND), Ok(()));
    assert_eq!(connection.flush(clock::now(), &mut written), Flushed::Broken);
    assert_eq!(connection.queued(), Queued::default());
}

#[actix::test]
async fn a_connection_that_is_reset_does_not_wait_for_its_client_to_read() {
    let mut pair = pair().await;
    pair.begin(&text(1, MORE_THAN_THE_KERNEL_TAKES));
    pair.connection.reset_on_drop();
    drop((pair.connection, pair.read_half));
    let error = timeout(DEADLINE, async {
        loop {
            pair.client.socket.readable().await.unwrap();
            let mut buffer = [0; 4_096];
            match pair.client.socket.try_read(&mut buffer) {
                Ok(count) => assert_ne!(count, 0, "an orderly end"),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return error,
            }
        }
    });
    assert_eq!(error.await.unwrap().kind(), io::ErrorKind::ConnectionReset);
}

#[actix::test]
async fn a_connection_that_is_closed_while_it_opens_writes_nothing_until_it_is_open() {
    let mut pair = opening_pair(Bytes::from_static(b"HTTP/1.1 101")).await;
    pair.connection.close(close_frame(), clock::now());
    assert_eq!(pair.flush(), Flushed::All);
    assert!(pair.client.has_nothing() && !pair.connection.has_said_goodbye());
    pair.connection.open();
    assert_eq!(pair.flush(), Flushed::All);
    assert!(pair.connection.has_said_goodbye());
    pair.client.read_until(|unread| unread.len() == 12 + close_frame().len()).await;
}
