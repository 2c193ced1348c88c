//! Bytes that the kernel does not accept wait in the outbox, in order and within its bound.

use super::*;

#[actix::test]
async fn frames_leave_whole_and_in_the_order_in_which_they_were_accepted() {
    let mut pair = pair().await;
    // Frames of every length encoding, one or several per chunk, and more chunks than one write accepts.
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
    assert_eq!(left.frames, 1, "the small frames are written");
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
    // A frame with at most 125 bytes of payload has a header of 2 bytes.
    for _ in 0..9 {
        assert_eq!(pair.connection.offer(chunk(&[text(1, 98)]), outbox_bytes), Ok(()));
    }
    assert_eq!(pair.connection.queued_bytes(), 900);
    assert_eq!(pair.connection.offer(chunk(&[text(2, 99)]), outbox_bytes), Err(Overflow));
    assert_eq!(pair.connection.queued(), Queued { bytes: 900, frames: 9 }, "the refused chunk is not queued");
    assert_eq!(pair.connection.offer(chunk(&[text(3, 98)]), outbox_bytes), Ok(()));
    assert_eq!(pair.connection.queued(), Queued { bytes: 1_000, frames: 10 });
    assert_eq!(pair.connection.offer(chunk(&[text(4, 2)]), outbox_bytes), Err(Overflow));

    assert_eq!(pair.flush(), Flushed::All);
    assert_eq!(pair.connection.offer(chunk(&[text(5, 98)]), 100), Ok(()), "the outbox has space again");
}

#[actix::test]
async fn what_is_left_of_a_frame_written_past_the_outbox_may_be_as_much_as_may_wait_and_no_more() {
    let large = text(1, MORE_THAN_THE_KERNEL_TAKES);
    // The kernel's buffer varies a little, so the test uses exactly the bytes that are left.
    let mut pair = pair().await;
    assert_eq!(pair.connection.write_through(chunk(std::slice::from_ref(&large)), 1_000), Err(Overflow));
    let left = pair.connection.queued();
    assert_eq!(left.frames, 1, "the rest of the started frame is kept, so that it can be completed");
    assert!(left.bytes > 1_000);

    pair.connection.close_dropping(close_frame(), clock::now());
    assert_eq!(pair.connection.queued(), Queued { bytes: left.bytes + close_frame().len(), frames: 1 });
    let Pair { connection, client, .. } = &mut pair;
    let reading = async { (client.text().await, client.close_code().await) };
    let (_, (first, code)) = join(Pair::flush_all(connection), reading).await;
    assert!(first == large && code == 4001);
}
