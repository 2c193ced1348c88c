//! The stack starts, scales, keeps within its limits, stops in order and loses nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::compose::{address, compose, containers, docker, inspect};
use crate::prometheus::{sum, wait_for_alert, wait_until};

/// The number of containers of bots.
const CONTAINERS: u32 = 20;

/// The number of bots in each container, as set by `scripts/test-stack`.
const BOTS_EACH: u32 = 10;

/// Whether the stack is healthy.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Called by a test before it changes something that other tests need.
pub(crate) fn disturb() {
    STARTED.store(false, Ordering::Relaxed);
}

/// Starts the whole stack if it is not healthy, and waits until Prometheus sees every bot.
pub(crate) async fn start() {
    if STARTED.load(Ordering::Relaxed) {
        return;
    }
    compose(&["up", "--detach", "--no-build", "--wait", "--wait-timeout", "180", "chat", "prometheus"]);
    let scale = format!("bots={CONTAINERS}");
    compose(&["up", "--detach", "--no-build", "--no-recreate", "--scale", &scale, "bots", "cadvisor"]);
    let as_wanted = |wanted: u32| move |value: f64| (value - f64::from(wanted)).abs() < 0.5;
    wait_until(r#"count(up{job="bots"} == 1)"#, as_wanted(CONTAINERS)).await;
    let bots = CONTAINERS * BOTS_EACH;
    wait_until(r#"sum(swarm_bots{job="bots", state="connected"})"#, as_wanted(bots)).await;
    wait_until(r#"sum(chat_connections{job="chat"})"#, as_wanted(bots)).await;
    STARTED.store(true, Ordering::Relaxed);
}

/// Checks that nothing is lost, doubled, reordered or misdelivered. Messages in transit may be missing for a moment.
pub(crate) async fn expect_clean_ledger() {
    assert_eq!(sum(r#"sum(swarm_ledger_findings{finding!="lost"})"#).await, Some(0.0));
    wait_until(r#"sum(min_over_time(swarm_ledger_findings{finding="lost"}[15s]))"#, |lost| lost < 0.5).await;
}

/// A page of the chat's HTTP API.
async fn get(path: &str) -> Value {
    let url = format!("http://{}{path}", address("chat", 8080));
    let request = awc::Client::builder().timeout(Duration::from_secs(20)).finish().get(&url);
    let mut answer = request.send().await.unwrap_or_else(|error| panic!("{url}: {error}"));
    assert_eq!(answer.status(), 200, "{url}");
    answer.json().await.unwrap()
}

#[actix::test]
async fn twenty_containers_of_bots_connect_and_their_ledger_stays_clean() {
    start().await;
    assert_eq!(containers("bots").len(), CONTAINERS as usize);
    let before = sum("sum(swarm_deliveries_total)").await.unwrap();
    wait_until("sum(swarm_deliveries_total)", |deliveries| deliveries > before + 1_000.0).await;
    expect_clean_ledger().await;
    assert_eq!(sum("sum(chat_session_panics_total)").await, Some(0.0));
    assert_eq!(inspect("chat")["State"]["Health"]["Status"], "healthy");
}

#[actix::test]
async fn the_containers_have_the_limits_that_they_were_given() {
    start().await;
    let files: f64 = std::env::var("CHAT_NOFILE").unwrap().parse().unwrap();
    for (expr, limit) in [
        (r#"container:cpu_limit_cores{service="chat"}"#, 0.5),
        (r#"container_spec_memory_limit_bytes{service="chat"}"#, 256.0 * 1_048_576.0),
        (r#"process_max_fds{job="chat"}"#, files),
        (r#"count(container:cpu_limit_cores{service="bots"} == 0.5)"#, f64::from(CONTAINERS)),
        (r#"count(container_spec_memory_limit_bytes{service="bots"} == 64 * 2^20)"#, f64::from(CONTAINERS)),
    ] {
        wait_until(expr, |value| (value - limit).abs() < 1e-6).await;
    }
    for service in ["chat", "prometheus"] {
        let container = inspect(service);
        assert_eq!(container["HostConfig"]["ReadonlyRootfs"], true, "{service}");
        assert_eq!(container["HostConfig"]["CapDrop"], json!(["ALL"]), "{service}");
        let user = container["Config"]["User"].as_str().unwrap();
        assert!(!["", "0", "root"].contains(&user.split(':').next().unwrap()), "{service}: {user}");
    }
}

#[test]
fn the_images_are_small_and_say_what_they_are() {
    for (image, title) in [("starling", "starling"), ("starling-bots", "bot-swarm")] {
        let described: Value = serde_json::from_str(&docker(&["image", "inspect", image])).unwrap();
        let (size, config) = (&described[0]["Size"], &described[0]["Config"]);
        // Those of the profile `quick`, which are twice as large as released ones, because they keep their symbols.
        assert!(size.as_u64().unwrap() < 52_000_000, "{image}: {size} bytes");
        assert_eq!(config["User"], "65532:65532", "{image}");
        assert_eq!(config["StopSignal"], "SIGTERM", "{image}");
        for (label, value) in [("title", json!(title)), ("licenses", json!("MIT OR Apache-2.0"))] {
            assert_eq!(config["Labels"][format!("org.opencontainers.image.{label}")], value, "{image}: {label}");
        }
    }
}

#[actix::test]
async fn a_stop_drains_and_what_was_said_is_there_afterwards() {
    start().await;
    let newest = "/api/rooms/room-0/messages?limit=1";
    let said = get(newest).await["messages"][0].clone();
    let seq = said["seq"].as_u64().expect("the bots of the first room have said something");

    disturb();
    compose(&["stop", "chat"]);
    let state = inspect("chat")["State"].clone();
    assert_eq!((&state["ExitCode"], &state["OOMKilled"]), (&0.into(), &false.into()), "{state}");
    assert!(compose(&["logs", "--no-color", "chat"]).trim_end().ends_with("stopped"), "it came to its own end");
    wait_for_alert("TargetDown", r#"job="chat""#).await;

    start().await;
    let page = get(&format!("/api/rooms/room-0/messages?after={}&limit=1", seq - 1)).await;
    assert_eq!(page["messages"][0], said);
    // The bots have reconnected and resumed, and miss nothing.
    expect_clean_ledger().await;
}

#[actix::test]
async fn bots_that_are_too_many_leave_in_order() {
    start().await;
    disturb();
    compose(&["up", "--detach", "--no-build", "--no-recreate", "--scale", "bots=15", "bots"]);
    assert_eq!(containers("bots").len(), 15);
    wait_until(r#"count(up{job="bots"})"#, |targets| (targets - 15.0).abs() < 0.5).await;
    compose(&["stop", "bots"]);
    for container in containers("bots") {
        let code = docker(&["inspect", "--format", "{{.State.ExitCode}}", &container]);
        assert_eq!(code.trim(), "0", "a clean run: {}", docker(&["logs", "--tail", "25", &container]));
    }
}
