//! A fault that the test causes fires its alert.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use serde_json::json;
use test_kit::{Client, Raw};

use crate::compose::{address, containers, docker};
use crate::prometheus::{wait_for_alert, wait_until};
use crate::{disturb, expect_clean_ledger, start};

/// So little CPU that four clients that request metrics are too many, and enough to answer Prometheus in time.
const TOO_FEW_CPUS: f64 = 0.05;

/// A container with too little CPU, until this is dropped: also if a test fails.
struct Throttled<'a>(&'a str);

impl<'a> Throttled<'a> {
    fn begin(container: &'a str) -> Self {
        docker(&["update", "--cpus", &TOO_FEW_CPUS.to_string(), container]);
        Self(container)
    }
}

impl Drop for Throttled<'_> {
    fn drop(&mut self) {
        docker(&["update", "--cpus", "0.5", self.0]);
    }
}

/// Four clients request metrics as fast as they are answered: as much as the server can do. Metrics take only a
/// worker's time.
async fn ask_without_pause() {
    let url = format!("http://{}/metrics", address("chat", 8080));
    let client = awc::Client::builder().timeout(Duration::from_mins(1)).finish();
    let ask = async || {
        loop {
            let mut answer = client.get(&url).send().await.unwrap();
            answer.body().limit(1 << 20).await.unwrap();
        }
    };
    join_all((0..4).map(|_| ask())).await;
}

#[actix::test]
async fn too_little_cpu_is_told_as_throttling_and_as_a_saturated_stage() {
    start().await;
    disturb();
    let chat = &containers("chat")[0];
    let throttled = Throttled::begin(chat);
    let told = async {
        wait_for_alert("CpuThrottled", r#"service="chat""#).await;
        wait_for_alert("StageSaturated", r#"job="chat""#).await;
        wait_until(r#"container:cpu_cores:rate1m{service="chat"}"#, |cores| cores < 1.2 * TOO_FEW_CPUS).await;
    };
    match select(pin!(told), pin!(ask_without_pause())).await {
        Either::Left(_) => {}
        Either::Right(_) => unreachable!("it does not end"),
    }
    drop(throttled);
    // The alert ends when the cause ends, and nothing was lost meanwhile.
    wait_until(r#"count(ALERTS{alertstate="firing", alertname="StageSaturated"}) or vector(0)"#, |n| n < 0.5).await;
    expect_clean_ledger().await;
}

#[actix::test]
async fn a_client_that_does_not_read_is_closed_and_told() {
    start().await;
    let address = address("chat", 8080);
    // This client reads nothing; only it and the talker are in the room.
    let silent = Raw::open_narrow(address).await.shake_hands("/ws/quiet").await;
    let (mut talker, _) = Client::enter(address, "/ws/quiet").await;
    let text = json!({"Message": "x".repeat(16_000)});
    // The buffers on the way can hold far less than this.
    for _ in 0..4_000 {
        talker.send_json(&text).await;
        // The sender waits for its own message, so it writes at the server's pace.
        talker.next_of("message").await;
    }
    wait_until(r#"chat_disconnects_total{reason="slow_consumer"}"#, |closed| closed > 0.5).await;
    wait_for_alert("SlowConsumersClosed", r#"job="chat""#).await;
    drop(silent);
}
