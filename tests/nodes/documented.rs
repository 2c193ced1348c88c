//! The metrics of the log agree with the documents, and count correctly.

use std::collections::BTreeSet;
use std::path::Path;

use prometheus::{Encoder as _, Registry, TextEncoder};
use starling_actors::nodes::log::Log as _;
use test_kit::nats::Nats;
use test_kit::{Exposition, wait_until};

use crate::harness::{Node, record, settings};

fn exposition(registry: &Registry) -> Exposition {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
    Exposition::parse(&String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn every_metric_of_the_log_is_documented_and_counts_what_happens() {
    let mut nats = Nats::start().await;
    let mut node = Node::start(&settings(&nats.url()), 1).await;
    let registry = Registry::new();
    registry.register(Box::new(node.ear.log.metrics())).unwrap();
    node.write_upto(1_000).await;
    nats.kill();
    nats.start_again().await;
    node.write_upto(2_000).await;
    node.ear.log.store_checkpoint(record(&settings(&nats.url()), 1).await, "state".into());
    wait_until("a checkpoint is stored", || {
        exposition(&registry).value("chat_nodes_checkpoint_bytes_count", &[]) == 1.0
    })
    .await;

    let figures = exposition(&registry);
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `chat_nodes_")?.split_once('`'));
    let documented: BTreeSet<String> = rows.map(|(name, _)| format!("chat_nodes_{name}")).collect();
    let exported = figures.families.keys().filter(|name| name.starts_with("chat_nodes_"));
    assert_eq!(exported.cloned().collect::<BTreeSet<_>>(), documented);
    for (name, family) in &figures.families {
        assert!(page.contains(&format!("| `{name}` | {} |", family.kind)), "{name}: {}", family.kind);
    }

    let value = |name: &str| figures.value(name, &[]);
    let records = node.order.len() as f64;
    assert!(value("chat_nodes_records_written_total") >= records);
    assert!(value("chat_nodes_records_read_total") >= records);
    assert!(value("chat_nodes_read_bytes_total") >= 2_000.0 && value("chat_nodes_written_bytes_total") >= 2_000.0);
    assert_eq!(value("chat_nodes_reconnects_total"), 1.0);
    assert_eq!(value("chat_nodes_lag_records"), 0.0);
    assert_eq!(value("chat_nodes_reachable"), 1.0);
    assert_eq!(value("chat_nodes_losses_total"), node.losses as f64);
    let stage = [("stage", "log"), ("worker", "-")];
    assert_eq!(figures.value("chat_stage_arrivals_total", &stage), records, "each once, however often it is written");
    assert_eq!(figures.value("chat_stage_completions_total", &stage), records);
    assert_eq!(figures.value("chat_stage_wait_seconds_count", &stage), records);
    assert_eq!(figures.value("chat_stage_backlog", &stage), 0.0);
}
