//! Settings that must be the same on all nodes: where they differ, each node says so.

use test_kit::nats::Nats;
use test_kit::{Exposition, wait_until};

use crate::server::{Server, say, starling};

fn differing(node: &Server) -> f64 {
    let (_, metrics) = node.process.get("/metrics");
    Exposition::parse(&metrics).value("chat_nodes_settings_differing", &[])
}

#[actix::test]
async fn nodes_with_different_settings_name_them_with_both_values_until_they_are_the_same() {
    let nats = Nats::start().await;
    let a = Server::start(&nats, "a", &[]).await;
    let other = [("CHAT_HISTORY_KEEP_MESSAGES", "2"), ("CHAT_MESSAGE_BYTES", "20"), ("CHAT_HISTORY_BYTES", "70000")];
    let b = Server::start(&nats, "b", &other).await;
    for (node, here, there, [keep, bytes]) in
        [(&a, "a", "b", [("0", "2"), ("16384", "20")]), (&b, "b", "a", [("2", "0"), ("20", "16384")])]
    {
        let line = node.process.line_with("have different settings");
        let expected = format!(
            "the nodes {here} and {there} have different settings: CHAT_HISTORY_KEEP_MESSAGES is {} on {here} and {} on \
             {there}, CHAT_MESSAGE_BYTES is {} on {here} and {} on {there}; give all nodes the same values",
            keep.0, keep.1, bytes.0, bytes.1
        );
        assert!(line.contains(" WARN ") && line.ends_with(&expected), "{line}");
        wait_until("the metric says so", || differing(node) == 2.0).await;
    }
    let same: Vec<_> = b.variables().into_iter().filter(|(name, _)| other.iter().all(|(it, _)| it != name)).collect();
    let b = Server::start_again(b.stop(), &same).await;
    wait_until("the metrics say so", || differing(&a) == 0.0).await;
    assert_eq!(differing(&b), 0.0);
    for node in [&a, &b] {
        let lines = node.process.lines_so_far();
        assert!(!lines.iter().any(|line| line.contains("have different settings")), "once: {lines:#?}");
    }
}

#[actix::test]
async fn a_node_that_stores_no_messages_does_not_start_beside_one_that_does() {
    let nats = Nats::start().await;
    let memory = [("CHAT_HISTORY", "memory")];
    let first = Server::start(&nats, "m", &memory).await;
    drop(first);
    let node = Server::start(&nats, "a", &[]).await;
    let (mut alice, _) = node.enter("alice").await;
    say(&mut alice, &["stored"]).await;
    for history in ["memory", "off"] {
        let folder = tempfile::tempdir().unwrap();
        let url = nats.url();
        let variables = [("CHAT_HISTORY", history), ("CHAT_NATS_URL", &*url), ("CHAT_BIND", "127.0.0.1:0")];
        let output = starling().run(folder.path(), &[], &variables);
        let lines = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{lines}");
        assert!(lines.contains("ERROR starling] the node a has CHAT_HISTORY=sqlite and this one has not"), "{lines}");
    }
    assert_eq!(node.history("lobby").len(), 1);
}
