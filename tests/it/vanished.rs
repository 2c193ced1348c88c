//! Clients whose network fails: the server receives nothing from them any more, not even their end.
//!
//! The test has a network of its own (see [`Network`]); the server and the healthy clients are on its near side.

use std::time::Duration;

use serde_json::Value;
use test_kit::network::Network;
use test_kit::raw::{self, Raw, RawFrame};
use test_kit::{Bystander, Client, Exposition, figures_when, within};

use crate::harness::TestServer;

fn disconnects(figures: &Exposition, reason: &str) -> f64 {
    figures.value("chat_disconnects_total", &[("reason", reason)])
}

fn sessions(figures: &Exposition) -> f64 {
    figures.value("chat_sessions", &[])
}

async fn far_client(network: &Network, server: &TestServer, path: &str) -> (Raw, Value) {
    let mut far = network.connect(server.address()).shake_hands(path).await;
    let welcome = far.frame().await.unwrap();
    (far, serde_json::from_str(welcome.text()).unwrap())
}

/// Waits until the kernel keeps at most this many of the far clients' connections.
async fn forgotten_by_the_kernel(network: &Network, kept: usize) {
    within("the kernel has given up the connections", async {
        while network.kept_connections() > kept {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[actix::test]
async fn who_is_cut_off_is_closed_with_4002_and_leaves_nothing_behind() {
    let Some(network) = Network::own("vanished::who_is_cut_off_is_closed_with_4002_and_leaves_nothing_behind") else {
        return;
    };
    let server = TestServer::start(&[("CHAT_BIND", &network.bind()), ("CHAT_HEARTBEAT_SECONDS", "1")]);
    let near = Bystander::arrive(server.address()).unwrap();
    // One client is in the chat, one in the middle of a frame, one in the middle of its handshake.
    let (_in_chat, _) = far_client(&network, &server, "/ws?clientId=far").await;
    let (mut in_frame, _) = far_client(&network, &server, "/ws/dev?clientId=half").await;
    in_frame.send(&raw::frame(raw::TEXT, br#"{"Message":"never to be whole"}"#)[..20]).await;
    let mut in_handshake = network.connect(server.address());
    in_handshake.send(b"GET /ws?clientId=late HTTP/1.1\r\nHost: localhost\r\n").await;
    assert_eq!(network.kept_connections(), 3);
    network.cut();

    let gone = |figures: &Exposition| disconnects(figures, "no_sign_of_life") > 1.5 && sessions(figures) < 1.5;
    figures_when(&server, "both are closed", gone).await;
    // Their names are free, and their outboxes are dropped with the close frame that no client accepts.
    drop(Client::connect(&server, "/ws?clientId=far").await);
    // The half handshake was answered with 408; the kernel keeps its connection while it tries to send that.
    forgotten_by_the_kernel(&network, 1).await;
    figures_when(&server, "nothing waits for them", |figures| figures.value("chat_outbox_bytes", &[]) < 0.5).await;
    // The near client has continued to chat, and is alive.
    assert!(near.count() > 20, "{} messages", near.count());
    near.leave().unwrap();
}

#[actix::test]
async fn who_is_cut_off_while_much_is_said_is_closed_with_4001_and_the_others_lose_nothing() {
    let name = "vanished::who_is_cut_off_while_much_is_said_is_closed_with_4001_and_the_others_lose_nothing";
    let Some(network) = Network::own(name) else { return };
    let bind = network.bind();
    let variables = [("CHAT_BIND", bind.as_str()), ("CHAT_MESSAGES_PER_SECOND", "0")];
    let server = TestServer::start(&[&variables[..], &[("CHAT_OUTBOX_BYTES", "262144")]].concat());
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    let mut bob = Client::connect(&server, "/ws?clientId=bob").await;
    let (_far, _) = far_client(&network, &server, "/ws?clientId=far").await;
    network.cut();
    let text = "x".repeat(16_000);
    let mut sent = 0;
    while disconnects(&Exposition::scrape(&server).await, "slow_consumer") < 0.5 {
        assert!(sent < 1_000, "16 MB were written into the void");
        for _ in 0..10 {
            sent += 1;
            alice.send_text(&format!(r#"{{"Message":"{text}"}}"#)).await;
            alice.expect(&format!(r#"{{"type":"message","seq":{sent}}}"#)).await;
            bob.expect(&format!(r#"{{"type":"message","seq":{sent}}}"#)).await;
        }
    }
    let nothing_is_left =
        |figures: &Exposition| sessions(figures) < 2.5 && figures.value("chat_outbox_bytes", &[]) < 0.5;
    figures_when(&server, "it is gone", nothing_is_left).await;
    forgotten_by_the_kernel(&network, 0).await;
}

#[actix::test]
async fn who_comes_back_from_a_dead_network_takes_its_name_at_once() {
    let Some(network) = Network::own("vanished::who_comes_back_from_a_dead_network_takes_its_name_at_once") else {
        return;
    };
    // With the heartbeat of 25 s, the server does not know yet that the connection is dead.
    let server = TestServer::start(&[("CHAT_BIND", &network.bind())]);
    let (mut far, welcome) = far_client(&network, &server, "/ws?clientId=alice").await;
    network.cut();
    raw::handshake(&server, "/ws?clientId=alice").await.expect_refusal(409, "name_taken");
    let path = format!("/ws?clientId=alice&key={}", welcome["key"].as_str().unwrap());
    let mut back = Client::connect(&server, &path).await;
    back.expect_chat_works().await;
    let figures = figures_when(&server, "the dead one is gone", |figures| sessions(figures) < 1.5).await;
    assert!((disconnects(&figures, "replaced") - 1.0).abs() < 0.5);
    // If the network recovers in time, the old connection gets its close frame.
    network.mend();
    assert_eq!(far.drain().await, (vec![], Some(4003)));
}

#[actix::test]
async fn who_was_cut_off_for_a_moment_has_missed_nothing() {
    let Some(network) = Network::own("vanished::who_was_cut_off_for_a_moment_has_missed_nothing") else { return };
    let server = TestServer::start(&[("CHAT_BIND", &network.bind())]);
    let (mut far, _) = far_client(&network, &server, "/ws?clientId=far").await;
    let mut near = Client::connect(&server, "/ws?clientId=near").await;
    network.cut();
    far.send_text(r#"{"Message":"from far"}"#).await;
    for _ in 0..50 {
        near.expect_chat_works().await;
    }
    network.mend();
    near.expect(r#"{"type":"message","clientId":"far","seq":51}"#).await;
    for seq in 1..=51 {
        let RawFrame { payload, .. } = far.frame().await.unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap()["seq"], seq);
    }
}
