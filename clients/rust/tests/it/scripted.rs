//! Against a server that plays a script, with paused time: pauses, deadlines, gaps, repetitions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::json;
use starling_client::protocol::{ErrorCode, RoomSettings, Seq, Writers};
use starling_client::{Client, ClosedBy, PrivateEvent, RoomEvent, SendError, State};
use test_kit::within;
use tokio::time::Instant;

use crate::harness::{joined, message, private, state};
use crate::script::{Peer, Script};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_pauses_are_random_and_their_bound_doubles_from_half_a_second_to_twenty() {
    let (mut script, options) = Script::new();
    script.refuse(40);
    let client = Client::connect(options);
    let mut peer = script.accept().await;
    client.online().await.unwrap();
    let opened = script.opened.lock().unwrap().clone();
    let pauses: Vec<Duration> = opened.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses.len(), 40);
    for (failures, pause) in (0..).zip(&pauses) {
        let bound = (SECOND / 2 * 2_u32.pow(failures.min(10))).min(20 * SECOND) + Duration::from_millis(2);
        assert!(*pause <= bound, "{failures}: {pause:?}");
    }
    let late = &pauses[6..];
    assert!(late.iter().any(|pause| *pause > 10 * SECOND) && late.iter().any(|pause| *pause < 10 * SECOND), "{late:?}");

    // A connection that has lasted starts anew.
    for _ in 0..3 {
        tokio::time::sleep(Peer::HEARTBEAT).await;
        peer.send(json!({"type": "something new", "of": "a later version"})).await;
    }
    drop(peer);
    script.accept().await;
    assert!(script.last_pause() <= 31 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_client_waits_as_long_as_the_server_asks() {
    let (mut script, options) = Script::new();
    let client = Client::connect(options);
    let mut peer = script.accept().await;
    client.online().await.unwrap();
    let closed_at = Instant::now();
    peer.send(json!({"type": "closing", "reason": "the server restarts", "reconnectAfterMs": 7_000})).await;
    peer.close(1001).await;
    script
        .answer("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 9\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .await;
    let pause = closed_at.elapsed();
    assert!(pause >= 7 * SECOND && pause <= 8 * SECOND, "closing: {pause:?}");
    let mut peer = script.accept().await;
    let pause = script.last_pause();
    assert!(pause >= 9 * SECOND && pause <= 11 * SECOND, "Retry-After: {pause:?}");
    // 1013 asks for a longer pause than others.
    peer.close(1013).await;
    script.accept().await;
    assert!(script.last_pause() >= 5 * SECOND, "1013: {:?}", script.last_pause());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_for_two_heartbeats_counts_as_lost() {
    let (mut script, options) = Script::new();
    let client = Client::connect(options);
    let mut peer = script.accept().await;
    client.online().await.unwrap();
    let began = Instant::now();
    for _ in 0..5 {
        tokio::time::sleep(Peer::HEARTBEAT).await;
        peer.ping().await;
    }
    assert!(matches!(client.state(), State::Online { .. }), "pings are signs of life");
    let lost = state(&client, "it notices", |state| matches!(state, State::Waiting { .. })).await;
    let State::Waiting { reason, .. } = lost else { panic!("{lost:?}") };
    assert_eq!(reason, "the server is silent");
    let silence = began.elapsed().saturating_sub(5 * Peer::HEARTBEAT);
    assert!(silence >= 2 * Peer::HEARTBEAT && silence <= 2 * Peer::HEARTBEAT + SECOND, "{silence:?}");

    // A server that takes the connection and never welcomes it.
    let _mute = script.stream().await;
    let began = Instant::now();
    state(&client, "it gives up", |state| matches!(state, State::Waiting { .. })).await;
    assert!(began.elapsed() <= 10 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_message_is_sent_again_with_its_id_until_it_is_acknowledged() {
    let (mut script, options) = Script::new();
    let client = Client::connect(options);
    let mut dev = client.room("dev").unwrap();
    let mut peer = script.accept().await;
    peer.let_in(0).await;
    assert!(joined(&mut dev).await);
    let (handle, mut events) = dev.split();
    let sending = tokio::spawn(async move { handle.send("hello").await });
    let first = peer.expect(json!({"Message": "hello", "room": "dev"})).await;
    drop(peer);

    let mut peer = script.accept().await;
    let join = peer.expect(json!({"type": "join", "room": "dev", "after": 0, "epoch": "0000000000000001"})).await;
    peer.joined(&join, 1, Some(true)).await;
    let again = peer.expect(json!({"Message": "hello", "room": "dev"})).await;
    assert_eq!(again, first);

    // After a refusal for its rate, it is sent after the time that the server states.
    let refused_at = Instant::now();
    peer.send(json!({"type": "error", "code": "rate_limited", "message": "x", "id": again, "retryAfterMs": 4_000}))
        .await;
    let third = peer.expect(json!({"Message": "hello", "room": "dev"})).await;
    let pause = refused_at.elapsed();
    assert!(third == first && pause >= 4 * SECOND && pause < 5 * SECOND, "{pause:?}");
    peer.send(json!({"type": "ack", "id": third, "at": 7, "room": "dev", "seq": 1, "duplicate": true})).await;
    let receipt = sending.await.unwrap().unwrap();
    assert_eq!((receipt.seq, receipt.at, receipt.duplicate), (Some(Seq(1)), 7, true));
    assert!(matches!(events.next().await, Some(RoomEvent::Joined { recovered: true, .. })));
}

#[tokio::test(start_paused = true)]
async fn the_settings_of_a_room_come_when_they_change_and_with_joined() {
    let (mut script, options) = Script::new();
    let client = Client::connect(options);
    let mut dev = client.room("dev").unwrap();
    let mut peer = script.accept().await;
    peer.let_in(0).await;
    let Some(RoomEvent::Joined { settings, .. }) = dev.next().await else { panic!("not joined") };
    assert_eq!(*settings, RoomSettings::PLAIN);
    peer.send(json!({"type": "settings", "room": "dev", "settings": {"slowSeconds": 5}})).await;
    let Some(RoomEvent::Settings(settings)) = dev.next().await else { panic!("not told") };
    assert_eq!(*settings, RoomSettings { slow_seconds: 5, ..RoomSettings::PLAIN });
    drop(peer);

    let mut peer = script.accept().await;
    let id = peer.expect(json!({"type": "join", "room": "dev", "after": 0, "epoch": "0000000000000001"})).await;
    let settings = json!({"topic": "tests", "writers": "operators"});
    let joined = json!({
        "type": "joined", "id": id, "room": "dev", "seq": 0, "epoch": "0000000000000001", "count": 1,
        "recovered": true, "settings": settings,
    });
    peer.send(joined).await;
    let Some(RoomEvent::Joined { settings, .. }) = dev.next().await else { panic!("not joined") };
    assert_eq!((settings.topic.as_str(), settings.writers), ("tests", Writers::Operators));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_could_be_delivered_twice_is_not_sent_again() {
    let (mut script, options) = Script::new();
    let client = Client::connect(options);
    let bob = client.private_with("bob").unwrap();
    let mut peer = script.accept().await;
    leave_first_room(&mut peer).await;
    let (handle, _events) = bob.split();
    let sending = tokio::spawn({
        let handle = handle.clone();
        async move { handle.send("hello").await }
    });
    peer.expect(json!({"Message": "hello", "to": "bob"})).await;
    drop(peer);
    // For five minutes there is no server; then it no longer remembers the `id`.
    script.refuse(60);
    let mut peer = script.accept().await;
    leave_first_room(&mut peer).await;
    assert_eq!(sending.await.unwrap(), Err(SendError::Unconfirmed));
    // One that was never sent is sent now.
    let sending = tokio::spawn(async move { handle.send("later").await });
    let id = peer.expect(json!({"Message": "later", "to": "bob"})).await;
    peer.send(json!({"type": "error", "code": "no_such_client", "message": "nobody", "id": id})).await;
    let error = sending.await.unwrap().unwrap_err();
    assert!(matches!(&error, SendError::Refused(refusal) if refusal.code == ErrorCode::NoSuchClient), "{error}");
}

/// The script's first room is `dev`, which this client does not want.
async fn leave_first_room(peer: &mut Peer) {
    peer.expect(json!({"type": "leave", "room": "dev"})).await;
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_filled_before_anything_newer_is_told_and_nothing_is_told_twice() {
    let (mut script, options) = Script::new();
    let client = Client::connect(options);
    let mut dev = client.room("dev").unwrap();
    let mut peer = script.accept().await;
    peer.let_in(4).await;
    assert!(joined(&mut dev).await);
    // 7 is missing, and 5 comes twice.
    for seq in [5, 5, 6, 8, 9] {
        peer.say(seq).await;
    }
    let join = json!({
        "type": "join", "room": "dev", "after": 6, "epoch": "0000000000000001", "afterAt": 1_006,
    });
    let id = peer.expect(join.clone()).await;
    peer.say(10).await;
    peer.joined(&id, 10, Some(true)).await;
    for seq in [7, 8, 9, 10, 11] {
        peer.say(seq).await;
    }
    assert_eq!((message(&mut dev).await.seq, message(&mut dev).await.seq), (Some(Seq(5)), Some(Seq(6))));
    assert!(joined(&mut dev).await);
    for seq in 7..=11 {
        assert_eq!(message(&mut dev).await.seq, Some(Seq(seq)));
    }
    assert_eq!(dev.position().map(|position| (position.seq, position.at)), Some((Seq(11), Some(1_011))));

    // A gap that the server cannot fill is reported.
    peer.say(20).await;
    let (id, _) = peer.receive().await;
    peer.joined(&id.unwrap(), 20, Some(false)).await;
    peer.say(21).await;
    assert!(!joined(&mut dev).await);
    assert_eq!(message(&mut dev).await.seq, Some(Seq(21)));
}

#[tokio::test(start_paused = true)]
async fn at_most_sixteen_messages_are_on_their_way_and_as_many_wait_as_may() {
    let (mut script, options) = Script::new();
    let client = Client::connect(options.unsent_max(40));
    let mut peer = script.accept().await;
    leave_first_room(&mut peer).await;
    let (bob, _events) = client.private_with("bob").unwrap().split();
    let sending: Vec<_> = (0..41)
        .map(|number: u32| {
            let bob = bob.clone();
            tokio::spawn(async move { bob.send(number.to_string()).await })
        })
        .collect();
    let mut ids = Vec::new();
    for number in 0..16 {
        ids.push(peer.expect(json!({"Message": number.to_string(), "to": "bob"})).await);
    }
    let more = tokio::time::timeout(SECOND, peer.receive()).await;
    assert!(more.is_err(), "{more:?}");
    peer.send(json!({"type": "ack", "id": ids[0], "at": 1, "to": "bob"})).await;
    peer.expect(json!({"Message": "16", "to": "bob"})).await;
    client.close().await;
    let mut outcomes = Vec::new();
    for send in sending {
        outcomes.push(send.await.unwrap());
    }
    assert!(outcomes[0].is_ok() && outcomes[40] == Err(SendError::TooManyUnsent), "{outcomes:?}");
    assert!(outcomes[1..40].iter().all(|outcome| *outcome == Err(SendError::Closed)), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_room_that_is_refused_says_why_and_one_that_is_refused_for_now_is_joined_later() {
    let (mut script, options) = Script::new();
    let client = Client::connect(options);
    let mut dev = client.room("dev").unwrap();
    let mut peer = script.accept().await;
    let id = peer.expect(json!({"type": "join", "room": "dev"})).await;
    let refused_at = Instant::now();
    peer.send(
        json!({"type": "error", "code": "rate_limited", "message": "too many joins", "id": id, "retryAfterMs": 3_000}),
    )
    .await;
    let id = peer.expect(json!({"type": "join", "room": "dev"})).await;
    assert!(refused_at.elapsed() >= 3 * SECOND);
    peer.send(json!({"type": "error", "code": "forbidden", "message": "not yours", "id": id})).await;
    let Some(RoomEvent::Refused(refusal)) = dev.next().await else { panic!("not refused") };
    assert_eq!((refusal.code, dev.next().await), (ErrorCode::Forbidden, None));
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_handles_are_dropped_says_goodbye() {
    let (mut script, options) = Script::new();
    let client = Client::connect(options);
    let mut peer = script.accept().await;
    leave_first_room(&mut peer).await;
    let watch = client.watch();
    drop(client);
    peer.expect_close().await;
    let mut watch = watch;
    let ended = watch.wait_for(|state| matches!(state, State::Closed(_))).await.unwrap().clone();
    assert_eq!(ended, State::Closed(ClosedBy::Application));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_got_once_however_often_connecting_fails() {
    let (mut script, options) = Script::new();
    script.refuse(5);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let client = Client::connect(options.get_token(move || {
        counted.fetch_add(1, SeqCst);
        std::future::ready(Ok("a.token.x".to_owned()))
    }));
    let peer = script.accept().await;
    client.online().await.unwrap();
    assert_eq!(calls.load(SeqCst), 1);
    // Refused, it is got again.
    drop(peer);
    script.answer("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    script.accept().await;
    assert_eq!(calls.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_private_messages_that_nobody_reads_says_that_some_are_missing() {
    let (mut script, options) = Script::new();
    let client = Client::connect(options.events_max(2));
    let mut bob = client.private_with("bob").unwrap();
    let mut peer = script.accept().await;
    leave_first_room(&mut peer).await;
    for (from, text) in [("bob", "1"), ("carol", "not bob's"), ("bob", "2"), ("bob", "3"), ("bob", "4")] {
        peer.send(json!({"type": "message", "clientId": from, "Message": text, "to": "alice", "at": 1})).await;
    }
    // Time advances when all tasks wait.
    tokio::time::sleep(SECOND).await;
    assert_eq!((private(&mut bob).await, private(&mut bob).await), ("1".into(), "2".into()));
    peer.send(json!({"type": "message", "clientId": "bob", "Message": "5", "to": "alice", "at": 1})).await;
    assert_eq!(bob.next().await, Some(PrivateEvent::Gap));
    assert_eq!(private(&mut bob).await, "5");
}

#[tokio::test(start_paused = true)]
async fn the_close_code_decides_whether_the_client_returns() {
    for (code, returns) in [
        (1001, true),
        (1011, true),
        (4001, true),
        (4002, true),
        (4999, true),
        (1008, false),
        (1009, false),
        (4003, false),
        (4004, false),
        (4005, false),
    ] {
        let (mut script, options) = Script::new();
        let client = Client::connect(options);
        let mut peer = script.accept().await;
        client.online().await.unwrap();
        peer.close(code).await;
        if returns {
            let _peer = script.accept().await;
            let online = within(format!("it returns after {code}"), client.online()).await;
            assert!(online.is_ok(), "{code}");
        } else {
            let closed = state(&client, "it ends", |state| matches!(state, State::Closed(_))).await;
            let State::Closed(ClosedBy::Server { code: told, reason }) = closed else { panic!("{code}: {closed:?}") };
            assert_eq!((told.as_u16(), reason.as_str()), (code, "as scripted"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_text_that_is_too_long_is_refused_before_it_costs_the_connection() {
    let (mut script, options) = Script::new();
    let client = Client::connect(options);
    let mut dev = client.room("dev").unwrap();
    let handle = (*dev).clone();
    // Before the server has stated its limit, the text waits.
    let early = tokio::spawn({
        let handle = handle.clone();
        async move { handle.send("x".repeat(16_385)).await }
    });
    let mut peer = script.accept().await;
    peer.let_in(0).await;
    assert!(joined(&mut dev).await);
    for outcome in [early.await.unwrap(), handle.send("\u{e4}".repeat(8_193)).await] {
        let Err(SendError::Refused(refusal)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(refusal.code, ErrorCode::MessageTooLarge);
    }
    let fits = tokio::spawn(async move { handle.send("x".repeat(16_384)).await });
    peer.expect(json!({"Message": "x".repeat(16_384), "room": "dev"})).await;
    fits.abort();
}

#[tokio::test(start_paused = true)]
async fn what_a_room_hides_from_a_newcomer_is_no_loss_and_the_rest_follows() {
    let (mut script, options) = Script::new();
    let client = Client::connect(options);
    let mut dev = client.room("dev").unwrap();
    let mut peer = script.accept().await;
    peer.let_in(3).await;
    assert!(joined(&mut dev).await);
    drop(peer);

    let mut peer = script.accept().await;
    let epoch = "0000000000000001";
    let join = peer.expect(json!({"type": "join", "room": "dev", "after": 3, "epoch": epoch})).await;
    let joined = |id: &str, recovered: bool| {
        json!({
            "type": "joined", "id": id, "room": "dev", "seq": 9, "epoch": epoch, "count": 1, "recovered": recovered,
            "visibleAfter": 8,
        })
    };
    peer.send(joined(&join, false)).await;
    let join = peer.expect(json!({"type": "join", "room": "dev", "after": 8, "epoch": epoch})).await;
    peer.send(joined(&join, true)).await;
    peer.send(json!({"type": "message", "clientId": "bob", "Message": "x", "room": "dev", "seq": 9, "at": 1})).await;
    let Some(RoomEvent::Joined { recovered, visible_after, .. }) = dev.next().await else { panic!("not joined") };
    assert_eq!((recovered, visible_after), (true, Some(Seq(8))));
    let Some(RoomEvent::Message(message)) = dev.next().await else { panic!("the message follows") };
    assert_eq!(message.seq, Some(Seq(9)));
}

#[tokio::test(start_paused = true)]
async fn a_history_goes_on_over_a_lost_connection_and_fails_when_the_numbers_begin_again() {
    for (epoch, goes_on) in [("0000000000000001", true), ("0000000000000002", false)] {
        let (mut script, options) = Script::new();
        let client = Client::connect(options);
        let mut dev = client.room("dev").unwrap();
        let mut peer = script.accept().await;
        peer.let_in(9).await;
        assert!(joined(&mut dev).await);
        let mut pages = dev.history_after(Seq(0));
        let page = |id: &str, seq: u64| {
            json!({"type": "history", "id": id, "room": "dev", "hasMore": true, "messages": [
                {"type": "message", "clientId": "bob", "Message": "x", "room": "dev", "seq": seq, "at": 1},
            ]})
        };
        let reading = tokio::spawn(async move { (pages.next().await, pages.next().await) });
        let id = peer.expect(json!({"type": "history", "room": "dev", "after": 0, "limit": 200})).await;
        peer.send(page(&id, 1)).await;
        peer.expect(json!({"type": "history", "room": "dev", "after": 1, "limit": 200})).await;
        drop(peer);

        let mut peer = script.accept().await;
        let join = peer.expect(json!({"type": "join", "room": "dev", "after": 9, "epoch": "0000000000000001"})).await;
        let joined = json!({
            "type": "joined", "id": join, "room": "dev", "seq": 9, "epoch": epoch, "count": 1, "recovered": goes_on,
        });
        peer.send(joined).await;
        let id = peer.expect(json!({"type": "history", "room": "dev", "after": 1, "limit": 200})).await;
        peer.send(page(&id, 2)).await;
        let (first, second) = within("both are answered", reading).await.unwrap();
        assert_eq!(first.unwrap().unwrap().seq, Some(Seq(1)));
        match second {
            Ok(message) => assert_eq!((goes_on, message.unwrap().seq), (true, Some(Seq(2)))),
            Err(error) => assert_eq!((goes_on, error), (false, SendError::OtherEpoch)),
        }
    }
}
