//! A crowd joins one room and leaves it within seconds.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use test_kit::raw::Raw;
use test_kit::{Bystander, Client, figures_when, within};
use tokio::time::{Instant, sleep};

use crate::harness::TestServer;

const CROWD: usize = 2_000;
const AT_A_TIME: usize = 100;

/// Reads frames until the next `presence` event, and returns it.
async fn watch(client: &mut Client) -> Value {
    loop {
        let frame: Value = serde_json::from_str(&client.text().await).unwrap();
        if frame["type"] == "presence" {
            return frame;
        }
    }
}

#[actix::test]
async fn two_thousand_who_come_and_go_cost_one_presence_a_second_and_nobody_waits() {
    let server = TestServer::start(&[]);
    let bystander = Bystander::arrive(server.address()).unwrap();
    within("the bystander chats", async {
        while bystander.count() < 20 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let before = bystander.round_trips().p99();

    let mut watcher = Client::connect(&server, "/ws/crowded?clientId=watcher").await;
    watcher.send_text(r#"{"type":"join","room":"crowded","presence":true}"#).await;
    watcher.expect(r#"{"type":"joined","count":1}"#).await;
    let begun = Instant::now();
    let mut crowd: Vec<Raw> = Vec::new();
    let coming = async {
        for some in 0..CROWD / AT_A_TIME {
            let paths = (0..AT_A_TIME).map(|one| format!("/ws/crowded?clientId=c{}", some * AT_A_TIME + one));
            crowd.extend(join_all(paths.map(async |path| Raw::connect(&server, &path).await)).await);
        }
    };
    let mut told: Vec<Value> = Vec::new();
    let watching = async {
        while told.last().is_none_or(|last| last["count"] != CROWD + 1) {
            told.push(watch(&mut watcher).await);
        }
    };
    let ((), ()) = tokio::join!(coming, watching);
    let come_in = begun.elapsed();
    let counts: Vec<u64> = told.iter().map(|presence| presence["count"].as_u64().unwrap()).collect();
    assert!(counts.is_sorted(), "{counts:?}");
    assert!(told.len() as f64 <= come_in.as_secs_f64() + 2.0, "{} times in {come_in:?}", told.len());
    for presence in &told {
        let names = |list: &str| presence[list].as_array().unwrap().len();
        assert!(names("joined") <= 50 && names("left") <= 50, "{presence}");
    }

    // A list of members is bounded for everybody, and says that it is truncated.
    watcher.send_text(r#"{"type":"members","room":"crowded"}"#).await;
    let members = watcher.expect(r#"{"type":"members","truncated":true}"#).await;
    assert_eq!((members["count"].as_u64(), members["clientIds"].as_array().map(Vec::len)), (Some(2_001), Some(1_000)));
    // Members without presence receive no presence events; a message reaches all of them first.
    watcher.expect_chat_works().await;
    let hear = crowd.iter_mut().map(async |client| client.frame().await.unwrap().text().contains("still here"));
    assert!(join_all(hear).await.into_iter().all(|heard| heard), "the first frame is the message");

    let begun = Instant::now();
    drop(crowd);
    let mut told = 0.0;
    while watch(&mut watcher).await["count"] != 1 {
        told += 1.0;
    }
    assert!(told <= begun.elapsed().as_secs_f64() + 2.0, "{told} times in {:?}", begun.elapsed());
    watcher.expect_chat_works().await;

    let during = bystander.round_trips().p99();
    assert!(during <= before * 20 + Duration::from_millis(400), "before {before:?}, during {during:?}");
    bystander.leave().unwrap();
    let gone = |figures: &test_kit::Exposition| figures.value("chat_sessions", &[]) < 1.5;
    let figures = figures_when(&server, "all are gone", gone).await;
    let lost = figures.value("chat_disconnects_total", &[("reason", "lost")]);
    assert!((lost - CROWD as f64 - 1.0).abs() < 0.5, "{lost} are known to have gone, with the bystander");
}
