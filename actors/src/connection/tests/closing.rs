//! Ways in which a connection ends: closed by the server, too slow, or broken.

use super::*;

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
    // Regression: the handshake response was dropped with the frames behind it.
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
    // A closing connection discards frames, whatever the bound.
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
            // The write that follows reports the error.
            poll_fn(|cx| connection.poll_writable(cx)).await.unwrap_or_default();
        }
        connection.flush(clock::now(), &mut written)
    };
    assert_eq!(timeout(DEADLINE, breaking).await, Ok(Flushed::All), "nothing is queued after the break");
    assert_eq!((connection.queued(), connection.stalled_since()), (Queued::default(), None));
    assert!(written.chunks.is_empty(), "unwritten bytes do not count as written");

    assert!(connection.is_clear());
    assert_eq!(connection.write_through(chunk(&[text(2, 100)]), 0), Ok(()), "the reading half reports the end");
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
                Ok(count) => assert_ne!(count, 0, "expected a reset, not an orderly end"),
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
