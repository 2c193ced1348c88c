//! Against the real server: restart, kill, several nodes, tokens, take-over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use starling_client::protocol::{ErrorCode, Seq};
use starling_client::{Client, ClosedBy, Options, RoomEvent, RoomOptions, SendError, State};
use test_kit::process::Signal;
use test_kit::{token, within};

use crate::harness::{connect, joined, message, name, next, options, private, starling, start, start_at, state};

#[tokio::test]
async fn a_room_a_private_conversation_and_the_history() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[]);
    let (alice, bob) = (connect(server.address(), "alice"), connect(server.address(), "bob"));
    let (mut of_alice, mut of_bob) = (alice.room("dev").unwrap(), bob.room("dev").unwrap());
    assert!(joined(&mut of_alice).await && joined(&mut of_bob).await);
    let receipt = of_alice.send("hello").await.unwrap();
    assert_eq!((receipt.seq, receipt.duplicate), (Some(Seq(1)), false));
    for room in [&mut of_alice, &mut of_bob] {
        let message = message(room).await;
        assert_eq!((message.client_id.as_str(), &*message.text, message.seq), ("alice", "hello", Some(Seq(1))));
    }

    let (mut with_bob, mut with_alice) = (alice.private_with("bob").unwrap(), bob.private_with("alice").unwrap());
    assert_eq!(with_bob.send("psst").await.unwrap().seq, None);
    assert_eq!((private(&mut with_bob).await, private(&mut with_alice).await), ("psst".into(), "psst".into()));
    let error = alice.private_with("carol").unwrap().send("psst").await.unwrap_err();
    assert!(matches!(&error, SendError::Refused(refusal) if refusal.code == ErrorCode::NoSuchClient), "{error}");

    let members = of_bob.members().await.unwrap();
    assert_eq!(members.client_ids, [name("alice"), name("bob")]);
    assert!(alice.rooms().await.unwrap().iter().any(|room| room.room.as_str() == "dev" && room.count == 2));

    // More than the burst and more than a page: the client keeps to the rate, and reads page by page.
    let texts: Vec<String> = (2..=450).map(|number| number.to_string()).collect();
    let sent = join_all(texts.iter().map(|text| of_alice.send(text.as_str()))).await;
    let seqs: Vec<u64> = sent.iter().map(|sent| sent.as_ref().unwrap().seq.unwrap().0).collect();
    assert_eq!(seqs, (2..=450).collect::<Vec<_>>(), "in the order of the calls");
    let history: Vec<_> = of_bob.history().into_stream().try_collect().await.unwrap();
    let seqs: Vec<u64> = history.iter().map(|message| message.seq.unwrap().0).collect();
    assert_eq!(seqs, (1..=450).rev().collect::<Vec<_>>());
    for (history, wanted) in [
        (of_bob.history_before(Seq(301)), (1..=300).rev().collect::<Vec<u64>>()),
        (of_bob.history_after(Seq(100)), (101..=450).collect()),
        (of_bob.history_after(Seq(450)), vec![]),
    ] {
        let messages: Vec<_> = history.into_stream().try_collect().await.unwrap();
        assert_eq!(messages.iter().map(|message| message.seq.unwrap().0).collect::<Vec<_>>(), wanted);
    }

    alice.close().await;
    drop(bob);
    assert_eq!(of_alice.send("gone").await, Err(SendError::Closed));
    while of_alice.next().await.is_some() {}
}

#[tokio::test]
async fn a_killed_server_costs_no_message_and_delivers_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[]);
    let address = server.address();
    let (alice, bob) = (connect(address, "alice"), connect(address, "bob"));
    let (to_dev, _events) = alice.room("dev").unwrap().split();
    let mut of_bob = bob.room("dev").unwrap();
    assert!(joined(&mut of_bob).await);
    let sending = tokio::spawn(async move {
        let mut seqs = Vec::new();
        for number in 1..=120 {
            seqs.push(to_dev.send(number.to_string()).await.unwrap().seq.unwrap().0);
        }
        seqs
    });
    let mut texts: Vec<String> = Vec::new();
    let mut server = Some(server);
    for round in 1..=3 {
        while texts.len() < round * 30 {
            texts.push(message(&mut of_bob).await.text.into_owned());
        }
        server.take().unwrap().kill();
        state(&bob, "the client notices", |state| !matches!(state, State::Online { .. })).await;
        server = Some(start_at(folder.path(), address, &[]));
    }
    while texts.len() < 120 {
        texts.push(message(&mut of_bob).await.text.into_owned());
    }
    assert_eq!(texts, (1..=120).map(|number| number.to_string()).collect::<Vec<_>>());
    let seqs = within("every message is acknowledged", sending).await.unwrap();
    assert_eq!(seqs, (1..=120).collect::<Vec<_>>(), "none was stored twice");
}

#[tokio::test]
async fn a_restarted_server_without_a_stored_history_says_that_messages_are_lost() {
    let folder = tempfile::tempdir().unwrap();
    let memory = [("CHAT_HISTORY", "memory")];
    let server = start(folder.path(), &memory);
    let address = server.address();
    let alice = connect(address, "alice");
    let mut dev = alice.room("dev").unwrap();
    assert!(joined(&mut dev).await);
    dev.send("before").await.unwrap();
    assert_eq!(message(&mut dev).await.text, "before");
    server.kill();
    let _server = start_at(folder.path(), address, &memory);
    assert!(!joined(&mut dev).await, "the room has begun anew");
    assert_eq!(dev.send("after").await.unwrap().seq, Some(Seq(1)));
    assert_eq!(message(&mut dev).await.text, "after");
}

#[tokio::test]
async fn an_application_goes_on_after_the_position_that_it_has_stored() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[]);
    let alice = connect(server.address(), "alice");
    let mut dev = alice.room("dev").unwrap();
    assert!(joined(&mut dev).await);
    for text in ["one", "two", "three"] {
        dev.send(text).await.unwrap();
    }
    assert_eq!(message(&mut dev).await.text, "one");
    let stored = dev.position().unwrap();
    assert_eq!(stored.seq, Seq(1));
    drop(dev);

    let mut again = alice.room_from("dev", stored).unwrap();
    assert!(joined(&mut again).await);
    assert_eq!((message(&mut again).await.text, message(&mut again).await.text), ("two".into(), "three".into()));

    // A position of another life of the room.
    let mut forged = stored;
    forged.at = stored.at.map(|at| at + 1);
    let mut elsewhere = alice.room_from("dev", forged).unwrap();
    assert!(!joined(&mut elsewhere).await, "the message has another time");
    assert_eq!(again.next().await, None, "the newer stream has replaced this one");
}

#[tokio::test]
async fn a_stream_that_nobody_reads_goes_on_from_the_history() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[]);
    let alice = Client::connect(options(&[server.address()]).client_id(name("alice")).events_max(8));
    let mut dev = alice.room("dev").unwrap();
    assert!(joined(&mut dev).await);
    for number in 1..=100 {
        dev.send(number.to_string()).await.unwrap();
    }
    for number in 1..=100 {
        assert_eq!(message(&mut dev).await.text, number.to_string());
    }
}

#[tokio::test]
async fn a_server_that_stops_is_left_for_the_next_node() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (start(folder.path(), &[]), start(other.path(), &[]));
    let nodes = [first.address(), second.address()];
    let alice = Client::connect(options(&nodes).client_id(name("alice")));
    let mut dev = alice.room("dev").unwrap();
    assert!(joined(&mut dev).await);
    first.signal(Signal::TERM);
    state(
        &alice,
        "the client notices",
        |state| matches!(state, State::Waiting { reason, .. } if reason.starts_with("1001")),
    )
    .await;
    assert!(!joined(&mut dev).await, "the other server knows nothing of the room");
    let (status, members) = second.get("/api/rooms");
    assert!(status == 200 && members.contains("dev"), "{members}");
}

#[tokio::test]
async fn a_name_is_taken_over_from_a_dead_connection_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[]);
    let old = connect(server.address(), "alice");
    old.online().await.unwrap();
    let key = old.key().unwrap();
    let other = connect(server.address(), "alice");
    state(
        &other,
        "the name is in use",
        |state| matches!(state, State::Waiting { reason, .. } if reason.contains("name_taken")),
    )
    .await;
    let new = Client::connect(options(&[server.address()]).client_id(name("alice")).key(key));
    assert_eq!(within("the name is taken back", new.online()).await, Ok(name("alice")));
    let ended = state(&old, "the old connection is closed for good", |state| matches!(state, State::Closed(_))).await;
    let State::Closed(ClosedBy::Server { code, .. }) = ended else { panic!("{ended:?}") };
    assert_eq!(code.as_u16(), 4003);
}

#[tokio::test]
async fn a_server_that_refuses_the_client_for_good_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[("CHAT_ADMIN_TOKEN", "letmein-letmein-letmein")]);
    let bad_name = within("it is refused", connect(server.address(), "guest-alice").online()).await.unwrap_err();
    assert!(matches!(&bad_name, ClosedBy::Refused { status: 400, .. }), "{bad_name}");
    let elsewhere = Client::connect(Options::new([format!("ws://{}/elsewhere", server.address())]));
    let refused = within("it is refused", elsewhere.online()).await.unwrap_err();
    assert!(matches!(refused, ClosedBy::Refused { status: 404, .. }), "{refused}");
    for url in ["", "ftp://chat"] {
        let closed = Client::connect(Options::new([url])).online().await.unwrap_err();
        assert_eq!(closed, ClosedBy::BadUrl(url.into()));
    }
    let removed = connect(server.address(), "alice");
    removed.online().await.unwrap();
    let headers = "Authorization: Bearer letmein-letmein-letmein\r\nConnection: close\r\n";
    let answer = test_kit::raw::http(&server.address(), "DELETE", "/api/clients/alice", headers).await;
    assert_eq!(answer.status, 204);
    let ended = state(&removed, "it does not return", |state| matches!(state, State::Closed(_))).await;
    assert!(matches!(&ended, State::Closed(ClosedBy::Server { code, .. }) if code.as_u16() == 4004), "{ended:?}");
}

#[tokio::test]
async fn a_token_is_got_when_it_is_needed_and_renewed_before_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &token::JWT);
    let variables = starling().with(&token::JWT);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let options = options(&[server.address()]).get_token(move || {
        let (starling, call) = (variables.clone(), counted.fetch_add(1, SeqCst));
        async move {
            match call {
                // The first is refused, the second ends soon.
                0 => Ok("no.token.x".to_owned()),
                1 => Ok(token::issue(&starling, &["alice", "--seconds", "3"])),
                _ => Ok(token::issue(&starling, &["alice"])),
            }
        }
    });
    let alice = Client::connect(options);
    assert_eq!(within("the second token is taken", alice.online()).await, Ok(name("alice")));
    assert_eq!(calls.load(SeqCst), 2);
    let mut dev = alice.room("dev").unwrap();
    assert!(joined(&mut dev).await);
    let renewed = async {
        while calls.load(SeqCst) < 3 {
            tokio::time::sleep(test_kit::LOOK).await;
        }
    };
    within("the token is renewed", renewed).await;
    // Past the end of the second one the connection is still the same.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(matches!(alice.state(), State::Online { .. }), "{:?}", alice.state());
    assert_eq!(dev.send("still here").await.unwrap().seq, Some(Seq(1)));
    assert_eq!(message(&mut dev).await.text, "still here", "without another `joined`");

    // Kept private messages: bob was away.
    alice.private_with("bob").unwrap().send("for later").await.unwrap();
    let issued = token::issue(&starling().with(&token::JWT), &["bob"]);
    let with_token = crate::harness::options(&[server.address()]);
    let bob = Client::connect(with_token.get_token(move || std::future::ready(Ok(issued.clone()))));
    let mut with_alice = bob.private_with("alice").unwrap();
    assert_eq!(private(&mut with_alice).await, "for later");
    assert_eq!(with_alice.history().next().await.unwrap().unwrap().text, "for later");
}

#[tokio::test]
async fn private_messages_are_resumed_where_they_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &token::JWT);
    let address = server.address();
    let client = |name: &str| {
        let issued = token::issue(&starling().with(&token::JWT), &[name]);
        Client::connect(options(&[address]).get_token(move || std::future::ready(Ok(issued.clone()))))
    };
    let (alice, bob) = (client("alice"), client("bob"));
    let (with_bob, mut with_alice) = (alice.private_with("bob").unwrap(), bob.private_with("alice").unwrap());
    with_bob.send("one").await.unwrap();
    assert_eq!(private(&mut with_alice).await, "one");
    server.kill();
    let _server = start_at(folder.path(), address, &token::JWT);
    for text in ["two", "three"] {
        with_bob.send(text).await.unwrap();
    }
    assert_eq!((private(&mut with_alice).await, private(&mut with_alice).await), ("two".into(), "three".into()));
}

#[tokio::test]
async fn how_far_a_client_has_read_is_known_to_its_other_connection_and_to_a_later_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &token::JWT);
    let connect = || {
        let of_alice = token::issue(&starling().with(&token::JWT), &["alice"]);
        Client::connect(options(&[server.address()]).get_token(move || std::future::ready(Ok(of_alice.clone()))))
    };
    let (desk, phone) = (connect(), connect());
    let (mut at_desk, mut on_phone) = (desk.room("dev").unwrap(), phone.room("dev").unwrap());
    assert!(joined(&mut at_desk).await && joined(&mut on_phone).await);
    at_desk.send("one").await.unwrap();
    at_desk.send("two").await.unwrap();
    assert_eq!(at_desk.read(Seq(1)).await, Ok(Seq(1)));
    assert_eq!(on_phone.read(Seq(9)).await, Ok(Seq(2)));
    assert_eq!(on_phone.read(Seq(1)).await, Ok(Seq(2)));
    for (room, wanted) in [(&mut on_phone, [1].as_slice()), (&mut at_desk, &[2])] {
        let mut heard = Vec::new();
        while heard.len() < wanted.len() {
            if let RoomEvent::Read { seq, .. } = next(room).await {
                heard.push(seq.0);
            }
        }
        assert_eq!(heard, wanted, "an answer is no event");
    }
    let mut later = connect().room("dev").unwrap();
    assert!(joined(&mut later).await);
    assert_eq!(next(&mut later).await, RoomEvent::Read { client_id: name("alice"), seq: Seq(2) });
    desk.private_with("alice").unwrap().send("note").await.unwrap();
    assert_eq!(phone.private_with("bob").unwrap().read(Seq(1)).await, Ok(Seq(1)));
}

#[tokio::test]
async fn presence_is_told_to_those_who_ask_and_a_dropped_stream_leaves_the_room() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[]);
    let (alice, bob) = (connect(server.address(), "alice"), connect(server.address(), "bob"));
    let watched = RoomOptions { presence: true, ..RoomOptions::default() };
    let mut dev = alice.room_with("dev", watched).unwrap();
    assert!(joined(&mut dev).await);
    let mut of_bob = bob.room("dev").unwrap();
    assert!(joined(&mut of_bob).await);
    let came = |event: &RoomEvent| matches!(event, RoomEvent::Presence { joined, .. } if joined.contains(&name("bob")));
    while !came(&next(&mut dev).await) {}
    drop(of_bob);
    let went = |event: &RoomEvent| matches!(event, RoomEvent::Presence { left, .. } if left.contains(&name("bob")));
    while !went(&next(&mut dev).await) {}
    assert!(matches!(bob.state(), State::Online { .. }));
    assert!(alice.room("no room").is_err() && alice.private_with("").is_err());
}
