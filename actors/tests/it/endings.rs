//! The ends of connections, and their cleanup.

use std::cell::Cell;
use std::sync::{Arc, Once};
use std::time::Duration;

use actix_rt::Arbiter;
use log::{LevelFilter, Log, Metadata, Record};
use starling_actors::LocalHub;
use starling_actors::identity::Caller;
use starling_actors::ids::HubId;
use starling_actors::metrics::DisconnectReason;
use starling_actors::vitals::{Death, VitalPart};
use starling_protocol::{ServerEvent, codec};
use test_kit::raw::{PONG, frame, text_frame};
use test_kit::{wait_until, within};

use crate::client::Client;
use crate::server::{Connect, Server};

#[actix::test]
async fn who_gives_no_sign_of_life_for_two_heartbeats_is_closed_and_who_answers_is_not() {
    let server = Server::start(|config| config.heartbeat = Duration::from_millis(200));
    let mut silent = server.connect(Connect::named("alice")).await;
    let mut alive = server.connect(Connect::named("bob")).await;
    let answering = async {
        for _ in 0..6 {
            assert_eq!(alive.line().await, "ping");
            alive.write(&frame(PONG, b"")).await;
        }
    };
    let sinking = async {
        let mut lines = vec![silent.line().await];
        while lines.last().is_none_or(|line| line != "end") {
            lines.push(silent.line().await);
        }
        lines
    };
    let ((), lines) = futures_util::future::join(answering, sinking).await;
    assert_eq!(lines[lines.len() - 2..], ["closed 4002", "end"]);
    assert!(lines[..lines.len() - 2].iter().all(|line| line == "ping") && lines.len() > 2, "{lines:?}");
    assert_eq!(server.metrics.disconnects(DisconnectReason::NoSignOfLife), 1);
    assert_eq!(server.metrics.connections(), 1);
}

#[actix::test]
async fn the_server_that_goes_away_tells_everybody_when_to_come_back_and_closes_all() {
    let server = Server::start(|_| {});
    let mut clients = server.clients(&["alice", "bob", "carol", "dave"]).await;
    server.chat.drain("the server restarts", Duration::from_secs(2));
    let mut spread: Vec<u64> = Vec::new();
    for client in &mut clients {
        let line = client.line().await;
        spread.push(line.strip_prefix("closing the server restarts ").expect(&line).parse().unwrap());
        assert_eq!(client.lines(2).await, ["closed 1001", "end"]);
    }
    spread.sort_unstable();
    assert_eq!(spread, [0, 500, 1_000, 1_500]);
    drop(clients);
    server.connections(0).await;
    assert_eq!(server.metrics.disconnects(DisconnectReason::GoingAway), 4);
    wait_until("the sessions end", || server.sessions() == 0).await;
    server.quiet().await;
}

#[actix::test]
async fn what_was_said_before_the_server_goes_away_is_still_delivered() {
    let server = Server::start(|_| {});
    let mut clients = server.clients(&["alice", "bob"]).await;
    for number in 1..=5 {
        clients[0].say(&number.to_string()).await;
        assert_eq!(clients[0].line().await, format!("#{number} alice: {number}"));
    }
    server.chat.drain("the end", Duration::ZERO);
    let lines = clients[1].lines(8).await;
    assert_eq!(lines[4..], ["#5 alice: 5", "closing the end 0", "closed 1001", "end"]);
}

#[actix::test]
async fn a_connection_that_the_server_closes_while_it_opens_is_closed_and_counted_once() {
    // Regression: it counted as a connection for ever, and its session continued.
    let server = Server::start(|_| {});
    let opening = server.open(Connect::named("alice")).await.unwrap();
    server.chat.drain("the end", Duration::ZERO);
    server.chat.rooms(Caller::Anyone).await.expect("the chat has told the hub");
    wait_until("the hub has told the connection", || server.metrics.worker(0).hub.backlog() == 0).await;
    let mut client = server.begin(opening);
    assert_eq!(client.lines(4).await, ["welcome alice", "closing the end 0", "closed 1001", "end"]);
    drop(client);
    wait_until("the session ends", || server.sessions() == 0).await;
    server.connections(0).await;
    assert_eq!(server.metrics.disconnects(DisconnectReason::GoingAway), 1);
}

#[actix::test]
async fn a_client_that_shows_its_key_replaces_its_old_connection() {
    let server = Server::start(|_| {});
    let mut clients = server.clients(&["alice", "bob"]).await;
    let welcome = String::from_utf8(clients[0].texts[0].clone()).unwrap();
    let Ok(ServerEvent::Welcome(welcome)) = codec::decode_event(&welcome) else { panic!("no welcome") };
    let again = Connect { key: Some(welcome.key), ..Connect::named("alice") };
    let mut again = server.connect(again).await;
    assert_eq!(clients[0].lines(2).await, ["closed 4003", "end"]);
    again.say("back").await;
    assert_eq!(again.line().await, "#1 alice: back");
    assert_eq!(clients[1].line().await, "#1 alice: back");
    server.connections(2).await;
    assert_eq!(server.metrics.disconnects(DisconnectReason::Replaced), 1);
}

#[actix::test]
async fn twenty_errors_in_a_row_close_the_connection() {
    let server = Server::start(|_| {});
    let mut client = server.connect(Connect::named("alice")).await;
    client.write(&text_frame("{nonsense").repeat(25)).await;
    assert_eq!(client.lines(20).await, vec!["error bad_json"; 20]);
    assert_eq!(client.lines(2).await, ["closed 1008", "end"]);
    server.connections(0).await;
    assert_eq!(server.metrics.disconnects(DisconnectReason::Policy), 1);
}

#[actix::test]
async fn a_client_that_goes_without_a_word_leaves_nothing_behind() {
    let server = Server::start(|_| {});
    let mut stays = server.connect(Connect::named("alice")).await;
    let orderly = server.connect(Connect::named("bob")).await;
    let broken = server.connect(Connect::named("carol")).await;
    drop(orderly);
    broken.reset();
    server.connections(1).await;
    assert_eq!(server.metrics.disconnects(DisconnectReason::Lost), 2);
    server.quiet().await;
    stays.send(r#"{"type":"members","room":"lobby"}"#).await;
    assert_eq!(stays.line().await, "members 1");
    drop(server.connect(Connect::named("bob")).await);
}

#[actix::test]
async fn after_much_coming_and_going_everything_that_is_counted_is_back_to_nothing() {
    let server = Server::start(|_| {});
    for _ in 0..5 {
        let mut clients = server.clients(&["alice", "bob", "carol", "dave"]).await;
        for number in 0..20 {
            clients[number % 4].say("hello").await;
        }
        clients[0].send(r#"{"Message":"psst","to":"bob"}"#).await;
        clients[1].send("{nonsense").await;
        // One client reads everything, one a part, two nothing.
        let line = clients[0].lines(21).await;
        assert_eq!(line.len(), 21);
        clients[1].lines(3).await;
        clients.pop().map(Client::reset).unwrap();
        drop(clients);
        server.connections(0).await;
    }
    wait_until("the sessions end", || server.sessions() == 0).await;
    server.quiet().await;
    wait_until("the chat is empty", || server.gauge("chat_sessions") == 0).await;
}

#[actix::test]
async fn a_hub_whose_thread_ends_is_known_to_have_died() {
    let server = Server::start(|_| {});
    let (chat, metrics) = (server.chat.clone(), Arc::clone(&server.metrics));
    let thread = Arbiter::new();
    // A thread that is stopped before its hub has begun never had one.
    let (tell, begun) = tokio::sync::oneshot::channel();
    thread.spawn_fn(move || {
        LocalHub::start(HubId(1), Arc::default(), chat, metrics);
        tell.send(()).unwrap();
    });
    begun.await.unwrap();
    assert_eq!(server.chat.vitals().dead(), None);
    thread.stop();
    let died = within("the hub dies", server.chat.vitals().death()).await;
    assert_eq!(died, Death::Of(VitalPart::Hub));
}

thread_local! {
    /// Whether the next log line about a broken protocol on this thread must panic.
    static LOG_IS_BROKEN: Cell<bool> = const { Cell::new(false) };
}

/// A logger that panics on request, to cause a fault in the middle of a session.
struct FragileLog;

impl Log for FragileLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let is_hit = record.args().to_string().contains("sent a bad frame");
        assert!(!(is_hit && LOG_IS_BROKEN.replace(false)), "a fault in the middle of a session, on purpose");
    }

    fn flush(&self) {}
}

#[actix::test]
async fn a_session_that_panics_ends_alone() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        log::set_logger(&FragileLog).unwrap();
        log::set_max_level(LevelFilter::Debug);
    });
    let server = Server::start(|_| {});
    let mut clients = server.clients(&["alice", "bob"]).await;
    let mut unmasked = text_frame("hello");
    unmasked[1] &= 0x7f;
    LOG_IS_BROKEN.set(true);
    clients[0].write(&unmasked).await;
    assert_eq!(clients[0].lines(2).await, ["closed 1011", "end"]);
    assert!(!LOG_IS_BROKEN.get());

    server.connections(1).await;
    assert_eq!(server.metrics.disconnects(DisconnectReason::Fault), 1);
    clients[1].say("did you hear that?").await;
    assert_eq!(clients[1].line().await, "#1 bob: did you hear that?");
    clients[1].send(r#"{"type":"members","room":"lobby"}"#).await;
    assert_eq!(clients[1].line().await, "members 1");
    let mut back = server.connect(Connect::named("alice")).await;
    back.say("what happened?").await;
    assert_eq!(back.line().await, "#2 alice: what happened?");
    server.quiet().await;
}
