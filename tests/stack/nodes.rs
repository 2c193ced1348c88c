//! Three nodes behind HAProxy: compose.yaml with compose.nodes.yaml. `scripts/test-stack` runs these tests apart from the
//! others, with `COMPOSE_FILE` set to both files.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::answered::{expect_answers, expect_rules, expect_values_of_variables, is_of_nodes};
use crate::compose::{compose, containers, docker};
use crate::expect_clean_ledger;
use crate::prometheus::{Series, now, sum, wait_for_alert, wait_until};
use crate::shown::{dashboards, rules};

const NODES: u32 = 3;

/// The number of containers of bots.
const CONTAINERS: u32 = 6;

/// The number of bots, with as many in each container as `scripts/test-stack` sets.
const BOTS: u32 = 10 * CONTAINERS;

/// Whether all nodes are running.
static STARTED: AtomicBool = AtomicBool::new(false);

fn is(wanted: u32) -> impl Fn(f64) -> bool {
    move |value| (value - f64::from(wanted)).abs() < 0.5
}

/// Waits until this number of nodes is scraped and can write the log, and every bot is connected to one of them.
async fn expect_nodes(count: u32) {
    wait_until(r#"count(up{job="chat"} == 1)"#, is(count)).await;
    wait_until("sum(chat_nodes_reachable)", is(count)).await;
    wait_until(r#"sum(swarm_bots{job="bots", state="connected"})"#, is(BOTS)).await;
    wait_until(r#"sum(chat_connections{job="chat"})"#, is(BOTS)).await;
}

/// Starts the stack of several nodes if it is not healthy, and waits until every bot is connected.
async fn start() {
    if STARTED.load(Ordering::Relaxed) {
        return;
    }
    let (nodes, bots) = (format!("chat={NODES}"), format!("bots={CONTAINERS}"));
    let up = ["up", "--detach", "--no-build", "--no-recreate", "--scale", &nodes];
    compose(&[&up[..], &["--wait", "--wait-timeout", "180", "chat", "haproxy", "prometheus"]].concat());
    // Bots that stayed at their node while another one was away are not spread evenly.
    compose(&["rm", "--force", "--stop", "bots"]);
    compose(&[&up[..], &["--scale", &bots, "bots", "cadvisor"]].concat());
    wait_until(r#"count(up{job="bots"} == 1)"#, is(CONTAINERS)).await;
    expect_nodes(NODES).await;
    STARTED.store(true, Ordering::Relaxed);
}

/// Waits until the bots have received this many more messages.
async fn expect_deliveries(more: f64) {
    let before = sum("sum(swarm_deliveries_total)").await.unwrap();
    wait_until("sum(swarm_deliveries_total)", |deliveries| deliveries > before + more).await;
}

/// The names of the alerts that fire.
async fn alerts() -> Vec<String> {
    let firing = now(r#"ALERTS{alertstate="firing"}"#).await;
    firing.into_iter().map(|series| series.labels["alertname"].clone()).collect()
}

#[actix::test]
async fn three_nodes_are_one_chat_and_share_its_connections() {
    start().await;
    assert_eq!(containers("chat").len(), NODES as usize);
    // HAProxy gives a connection to the node with the fewest. Bots that come at once may differ a little.
    let each = now(r#"chat_connections{job="chat"}"#).await;
    let even = f64::from(BOTS / NODES);
    let is_even = |series: &Series| (series.values[0] - even).abs() <= even / 4.0;
    assert!(each.len() == NODES as usize && each.iter().all(is_even), "{each:?}");
    // A room's bots are at all nodes, and see each other's messages.
    expect_deliveries(1_000.0).await;
    expect_clean_ledger().await;
    assert_eq!(sum("sum(chat_session_panics_total)").await, Some(0.0));
    assert_eq!(sum("min(chat_nodes_synced)").await, Some(1.0), "NATS syncs each record, and every node sees it");
    assert_eq!(alerts().await, Vec::<String>::new());
}

#[actix::test]
async fn every_panel_and_rule_of_the_nodes_is_answered() {
    start().await;
    // A window of 20 s is full of scrapes.
    wait_until(r#"min(count_over_time(up{job="chat"}[1m]))"#, |scrapes| scrapes > 5.5).await;
    let mut dashboards = dashboards();
    dashboards.retain(|dashboard| dashboard.file == "nodes.json");
    assert_eq!(dashboards.len(), 1);
    expect_answers(&dashboards).await;
    expect_values_of_variables(&dashboards, NODES as usize).await;
    let mut rules = rules();
    rules.retain(is_of_nodes);
    expect_rules(&rules).await;
}

#[actix::test]
async fn a_node_that_was_killed_is_told_and_costs_no_message() {
    start().await;
    STARTED.store(false, Ordering::Relaxed);
    let victim = &containers("chat")[1];
    docker(&["kill", victim]);
    // Its bots resume at the two others.
    expect_nodes(NODES - 1).await;
    expect_deliveries(200.0).await;
    expect_clean_ledger().await;
    wait_for_alert("NodeOut", r#"severity="critical""#).await;

    docker(&["start", victim]);
    // It reads the records that it missed, and gets the next connections: those of new bots.
    wait_until("sum(chat_nodes_reachable)", is(NODES)).await;
    wait_until(r#"count(ALERTS{alertstate="firing", alertname="NodeOut"}) or vector(0)"#, is(0)).await;
    let bots = CONTAINERS + 1;
    let more = format!("bots={bots}");
    compose(&["up", "--detach", "--no-build", "--no-recreate", "--no-deps", "--scale", &more, "bots"]);
    wait_until(r#"min(chat_connections{job="chat"})"#, |connections| connections >= 8.0).await;
    expect_clean_ledger().await;
}
