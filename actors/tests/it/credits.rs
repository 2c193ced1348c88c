//! Flow control: the work in flight is bounded, and no credit leaks.
use test_kit::raw::text_frame;
use test_kit::wait_until;

use crate::client::Client;
use crate::server::{Connect, Server};

async fn say_all(client: &mut Client, count: usize) {
    let mut frames = Vec::new();
    for number in 1..=count {
        frames.extend_from_slice(&text_frame(&format!(r#"{{"Message":"{number}"}}"#)));
    }
    client.write(&frames).await;
}

#[actix::test]
async fn a_session_whose_messages_wait_to_be_stored_stops_reading_and_goes_on_when_they_are() {
    for credits in [1, 2] {
        let server = Server::start(|config| config.session_credits = credits);
        let mut clients = server.clients(&["alice", "bob"]).await;
        server.history.hold();
        say_all(&mut clients[0], 7).await;
        wait_until("so many are on their way", || server.history.held() == credits as usize).await;

        // Other work meanwhile does not let more of them in.
        clients[1].send(r#"{"type":"ping"}"#).await;
        assert_eq!(clients[1].line().await, "pong");
        assert_eq!(server.history.held(), credits as usize);
        assert!(server.metrics.credits().in_use() >= credits as usize);
        assert!(server.gauge("chat_stage_backlog") >= 1, "the next one waits before its stage");

        server.release_history().await;
        let expected: Vec<String> = (1..=7).map(|number| format!("#{number} alice: {number}")).collect();
        for client in &mut clients {
            assert_eq!(client.lines(7).await, expected);
        }
        server.quiet().await;
    }
}

#[actix::test]
async fn with_all_credits_of_the_server_in_use_every_session_waits_for_one() {
    let server = Server::start(|config| config.server_credits = 3);
    let mut clients = server.clients(&["alice", "bob"]).await;
    server.history.hold();
    say_all(&mut clients[0], 3).await;
    wait_until("all credits are in use", || server.history.held() == 3).await;
    say_all(&mut clients[1], 3).await;
    wait_until("bob waits", || server.gauge("chat_stage_backlog") >= 1).await;
    assert_eq!((server.history.held(), server.metrics.credits().in_use()), (3, 3));

    server.release_history().await;
    for client in &mut clients {
        let lines = client.lines(6).await;
        assert_eq!(lines[..3], ["#1 alice: 1", "#2 alice: 2", "#3 alice: 3"]);
        assert_eq!(lines[3..], ["#4 bob: 1", "#5 bob: 2", "#6 bob: 3"]);
    }
    server.quiet().await;
}

#[actix::test]
async fn idle_connections_hold_no_credits() {
    let server = Server::start(|config| config.server_credits = 2);
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(server.connect(Connect::guest()).await);
    }
    for client in &mut clients {
        client.send(r#"{"type":"ping"}"#).await;
        assert_eq!(client.line().await, "pong");
    }
    server.quiet().await;
    assert_eq!(server.metrics.credits().in_use(), 0);
}

#[actix::test]
async fn all_credits_come_back_after_the_sessions_that_held_them_have_ended() {
    let server = Server::start(|config| {
        config.session_credits = 2;
        config.heartbeat = std::time::Duration::from_millis(400);
    });
    let mut clients = server.clients(&["alice", "bob", "carol"]).await;
    server.history.hold();
    for client in &mut clients {
        say_all(client, 5).await;
    }
    wait_until("all are stuck", || server.history.held() == 6).await;
    // Sessions that do not read notice it when they write.
    clients.into_iter().for_each(Client::reset);
    wait_until("the sessions have ended", || server.sessions() == 0).await;
    server.connections(0).await;
    assert_eq!(server.metrics.credits().in_use(), 6, "held by what waits to be stored");

    server.release_history().await;
    server.quiet().await;
    let mut late = server.connect(Connect::named("dave")).await;
    late.say("anybody here?").await;
    assert_eq!(late.line().await, "#7 dave: anybody here?");
}
